"""The page in a real browser: every state, at a desk's and a phone's width, light and dark."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import uvicorn

from market_assets.api.app import create_app
from market_assets.clock import ManualClock
from market_assets.settings import Settings
from market_assets.store import Store
from market_assets_tests.api.test_operation import good_tick
from market_assets_tests.stocked import NOW, stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.integration

STATES = {
    "healthy": "Healthy",
    "failing": "TLT",
    "stale": "Not healthy",
    "empty": "Nothing was collected yet",
    "down": "The database cannot be read",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium; scripts/install_chromium.sh installs it")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - starts nothing before it is needed

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server in each state."""
    directory = tmp_path_factory.mktemp("states")
    stock(directory / "failing.db")
    stock(directory / "healthy.db")
    for minutes in range(5):
        good_tick(directory / "healthy.db", NOW - timedelta(minutes=minutes), f"good-{minutes}")
    empty = Store.connect(f"sqlite:///{directory / 'empty.db'}")
    empty.migrate()
    empty.close()
    with (
        served(f"sqlite:///{directory / 'healthy.db'}") as healthy,
        served(f"sqlite:///{directory / 'failing.db'}") as failing,
        served(f"sqlite:///{directory / 'healthy.db'}", NOW + timedelta(hours=5)) as stale,
        served(f"sqlite:///{directory / 'empty.db'}") as empty_url,
        served("postgresql+psycopg://user:hunter2secret@127.0.0.1:1/db") as down,
    ):
        yield {"healthy": healthy, "failing": failing, "stale": stale, "empty": empty_url, "down": down}


@contextmanager
def served(database_url: str, now: object = NOW) -> Iterator[str]:
    app = create_app(Settings.load(database_url=database_url), clock=ManualClock(now))  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@contextmanager
def watched(browser: Browser, width: int, scheme: str) -> Iterator[Page]:
    """Open a page that must neither complain nor ask anybody else."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    complaints = [one for one in complaints if "503" not in one]
    assert not complaints
    assert {url.split("/")[2].split(":")[0] for url in asked} == {"127.0.0.1"}
    page.close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")], ids=["desk", "phone"])
def test_the_state_is_told_at_the_top_and_nothing_runs_over_the_edge(
    browser: Browser, addresses: dict[str, str], state: str, look: tuple[int, str], tmp_path: Path
) -> None:
    width, scheme = look
    with watched(browser, width, scheme) as page:
        answer = page.goto(addresses[state])
        assert answer is not None
        assert answer.status == (503 if state == "down" else 200)
        heading = page.locator("h1")
        box = heading.bounding_box()
        assert box is not None
        assert box["y"] < 150
        said = page.locator(".verdict").inner_text()
        assert STATES[state] in said
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # the verdict's colour is not the page's: the style has arrived
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.querySelector('.verdict')).backgroundColor]"
        )
        assert colours[0] != colours[1]
        page.screenshot(path=tmp_path / f"{state}-{width}.png", full_page=True)


def test_text_can_be_read_in_light_and_dark(browser: Browser, addresses: dict[str, str]) -> None:
    for scheme in ("light", "dark"):
        with watched(browser, 1280, scheme) as page:
            page.goto(addresses["failing"])
            worst = page.evaluate(_CONTRAST)
        assert worst["ratio"] >= 4.5, (scheme, worst)


def test_the_page_can_be_walked_through_with_the_keyboard(browser: Browser, addresses: dict[str, str]) -> None:
    with watched(browser, 1280, "light") as page:
        page.goto(addresses["healthy"])
        page.keyboard.press("Tab")
        first = page.evaluate("document.activeElement.textContent")
        assert first == "Skip to the content"
        stops = []
        for _ in range(12):
            page.keyboard.press("Tab")
            stops.append(
                page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
            )
        assert {"API", "Coverage by ticker and day", "Correlations", "Last collections"} <= set(stops)
        unnamed = page.evaluate(
            "[...document.querySelectorAll('svg')].filter(e => !e.getAttribute('aria-label')).length"
        )
        assert unnamed == 0
        # every section is named by its heading
        names = page.evaluate(
            "[...document.querySelectorAll('section')].map(e => "
            "document.getElementById(e.getAttribute('aria-labelledby'))?.textContent.trim())"
        )
        assert all(names)
        assert len(names) >= 5


#: WCAG's contrast of every text with the colour behind it; the worst of the page
_CONTRAST = """
() => {
  const parse = c => {
    const m = c.match(/[\\d.]+/g).map(Number);
    return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1};
  };
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let worst = {ratio: 100};
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || element.closest('.hidden, .skip') || style.visibility === 'hidden') continue;
    let behind = element, colour;
    do { colour = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
    while (colour.a === 0 && behind);
    const [a, b] = [light(parse(style.color).rgb), light(colour.rgb)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst.ratio) worst = {ratio, text: element.textContent.trim().slice(0, 40), of: element.className};
  }
  return worst;
}
"""
