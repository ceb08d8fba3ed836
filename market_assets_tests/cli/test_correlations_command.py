"""`market-assets correlations`: what a person and a program get, and what is refused."""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.analysis.definitions import Definition
from market_assets.cli import console
from market_assets.collection.surveyed import survey_stored
from market_assets.store import Store
from market_assets.universe import UNIVERSE
from market_assets_tests.cli.conftest import NOW
from market_assets_tests.cli.test_features_command import one_line
from market_assets_tests.feature_log import FeatureLog, made_up_bars

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Done, Run

TICKERS = ["QQQ", "GLD", "TLT", "VIX"]
BITCOIN = ["--symbol", "BTC"]


@pytest.fixture(scope="module")
def priced_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a year of days, two months of quarter hours, of four tickers and Bitcoin; nothing of Ether."""
    path = tmp_path_factory.mktemp("priced") / "market.db"
    bars = made_up_bars([*TICKERS, "BTC"], "2025-02-01", "2026-01-05", "2026-03-02")
    log = FeatureLog.open(path, UNIVERSE, bars)
    log.collect_bars(NOW - timedelta(hours=8), date(2025, 2, 1), date(2026, 3, 1))
    log.store.close()
    return path


@pytest.fixture
def priced(priced_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "market.db"
    path.write_bytes(priced_file.read_bytes())
    return path


def rows(done: Done) -> dict[str, list[str]]:
    """Return the words of each ticker's first line."""
    found: dict[str, list[str]] = {}
    for line in done.out.splitlines():
        words = line.split()
        if words and words[0] in UNIVERSE:
            found.setdefault(words[0], words[1:])
    return found


def document(run: Run, *arguments: str) -> dict[str, Any]:
    done = run("correlations", *arguments, "-f", "json")
    assert (done.status, done.err) == (0, "")
    loaded: dict[str, Any] = json.loads(done.out)
    return loaded


def window_of(found: dict[str, Any], ticker: str, position: int = 0, crypto: str = "BTC") -> dict[str, Any]:
    [pair] = [pair for pair in found["pairs"] if (pair["crypto"], pair["ticker"]) == (crypto, ticker)]
    window: dict[str, Any] = pair["windows"][position]
    return window


@pytest.mark.usefixtures("priced")
def test_the_table_has_a_line_per_ticker_with_all_that_was_measured_of_it(run: Run) -> None:
    done = run("correlations", "--symbol", "BTC", "--window", "20")
    assert (done.status, done.err) == (0, "")
    lines = rows(done)
    assert list(lines) == [ticker.name for ticker in UNIVERSE.features]
    expected = window_of(document(run, "--symbol", "BTC", "--window", "20"), "QQQ")
    # documented, measured, low, to, high, rank, four lags, pairs
    assert lines["QQQ"][:2] == ["+0.75", f"{expected['correlation']:+.2f}"]
    assert lines["QQQ"][2:5] == [f"{expected['interval'][0]:+.2f}", "to", f"{expected['interval'][1]:+.2f}"]
    assert lines["QQQ"][5] == f"{expected['rank_correlation']:+.2f}"
    assert lines["QQQ"][6:10] == [f"{lag['correlation']:+.2f}" for lag in expected["lead_lag"] if lag["lag"]]
    assert lines["QQQ"][10] == "20"
    assert " ".join(lines["QQQ"][11:]).startswith("outside of the interval: measured ")
    assert lines["SPY"][:2] == ["none", "0"]
    assert "0 of 20 pairs, 18 are needed" in done.out
    assert lines["VIX"][11:] == ["inside", "the", "interval,", "about", "zero"]
    assert "BTC, 20 sessions: 1 of 3 documented values hold" in done.out
    assert "up to 2026-02-27; crypto sampled at the ticker's own session close. Source: test." in done.out


@pytest.mark.usefixtures("priced")
def test_a_narrow_screen_has_the_same_verdicts_in_fewer_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.output, "width", 80)
    done = run("correlations", "--symbol", "BTC", "--window", "90")
    table = [line for line in done.out.splitlines() if line.split() and line.split()[0] in UNIVERSE]
    assert len(table) == len(UNIVERSE.features)
    assert max(map(len, table)) <= 80
    expected = window_of(document(run, "--symbol", "BTC", "--window", "90"), "TLT")
    assert rows(done)["TLT"][0] == "-0.45"
    assert " ".join(rows(done)["TLT"]).endswith(expected["verdict"])


@pytest.mark.usefixtures("priced")
def test_every_ticker_against_both_references_over_three_windows_is_the_default(run: Run) -> None:
    found = document(run)
    assert found["windows"] == [20, 90, 250]
    assert len(found["pairs"]) == 2 * len(UNIVERSE.features)
    assert (found["source"], found["sampling"], found["returns"]) == ("test", "daily", "log")
    assert window_of(found, "QQQ", 2)["pairs"] == 250
    # Quarter hours begin on 5 January; before them Bitcoin's daily closes stand in.
    assert [window_of(found, "QQQ", position)["approximate_pairs"] for position in range(3)] == [0, 53, 213]
    assert [lag["lag"] for lag in window_of(found, "QQQ")["lead_lag"]] == [-2, -1, 0, 1, 2]
    nothing = window_of(found, "QQQ", 0, "ETH")
    assert (nothing["correlation"], nothing["verdict"]) == (None, "not measured")
    assert nothing["reason"] == "0 of 20 pairs, 18 are needed"


def test_json_holds_every_bit_of_what_was_measured(run: Run, priced: Path) -> None:
    store = Store.connect(f"sqlite:///{priced}")
    with store.snapshot() as snapshot:
        measured = survey_stored(
            snapshot,
            cryptos=[UNIVERSE["BTC"]],
            tickers=[UNIVERSE["GLD"]],
            windows=(90,),
            end=NOW.date(),
            now=NOW,
            definition=Definition(),
        )
    store.close()
    window = window_of(document(run, *BITCOIN), "GLD", 1)
    assert window["correlation"] == measured.pairs[0].windows[0].correlation
    assert measured.pairs[0].windows[0].interval is not None
    assert window["interval"][1] == measured.pairs[0].windows[0].interval.high


@pytest.mark.usefixtures("priced")
def test_sampling_returns_dividends_and_pairing_are_told_and_change_the_numbers(run: Run) -> None:
    usual = window_of(document(run, *BITCOIN), "QQQ", 1)["correlation"]
    values = {usual}
    for arguments, key, told in [
        (["--returns", "simple"], "returns", "simple"),
        (["--pairing", "date"], "pairing", "date"),
        (["--sampling", "weekly", "--window", "20", "--window", "26"], "sampling", "weekly"),
    ]:
        found = document(run, *BITCOIN, *arguments)
        assert found[key] == told
        values.add(window_of(found, "QQQ", 1)["correlation"])
    assert len(values) == 4
    assert document(run, *BITCOIN, "--no-dividends")["dividends"] is False
    weekly = document(run, *BITCOIN, "--sampling", "weekly")
    assert weekly["windows"] == [13, 26, 52]
    assert window_of(weekly, "QQQ")["last"] == "2026-02-23"
    assert "13 weeks" in run("correlations", *BITCOIN, "--sampling", "weekly").out
    assert (
        "hours after the ticker's: for comparison with published figures only"
        in run("correlations", *BITCOIN, "--pairing", "date").out
    )


@pytest.mark.usefixtures("priced")
def test_the_end_and_the_time_of_knowledge_can_be_chosen(run: Run) -> None:
    earlier = document(run, "--symbol", "btc-usd", "--window", "20", "--end", "2026-02-13")
    assert window_of(earlier, "QQQ")["last"] == "2026-02-13"
    assert earlier["end"] == "2026-02-13"
    known = document(run, *BITCOIN, "--as-of", "2026-03-02T15:00Z")
    assert known["as_of"] == "2026-03-02T15:00:00+00:00"
    assert window_of(known, "QQQ") == window_of(document(run, *BITCOIN), "QQQ")
    before = run("correlations", *BITCOIN, "--as-of", "2026-03-01")
    assert before.status == 1
    assert "no bars to correlate up to 2026-03-01" in before.err


class Page(HTMLParser):
    """Collects what a browser would load or run, and the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.usefixtures("priced")
def test_the_page_stands_alone_and_has_every_number_as_text(run: Run, tmp_path: Path) -> None:
    done = run("correlations", "-o", "c.html")
    assert (done.status, done.out, done.err) == (0, "", "written to c.html\n")
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not {"script", "link", "img", "iframe"} & page.tags
    assert not {"src", "href", "onload"} & page.attributes
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert {"caption", "thead", "th"} <= page.tags
    assert "scope" in page.attributes
    found = document(run)
    for position in range(3):
        window = window_of(found, "QQQ", position)
        assert f"{window['correlation']:+.2f}" in page.texts
        assert f"{window['interval'][0]:+.2f} to {window['interval'][1]:+.2f}" in page.texts
        assert window["words"] in page.texts
    assert "0 of 20 pairs, 18 are needed" in page.texts
    assert run("correlations", "-f", "html").out == text


@pytest.mark.usefixtures("priced")
def test_the_picture_is_a_png_as_large_as_what_it_shows(run: Run, tmp_path: Path) -> None:
    sizes = []
    for arguments in (["-o", "c.png"], ["-o", "one.png", "--symbol", "BTC", "--window", "90"]):
        done = run("correlations", *arguments)
        assert (done.status, done.out) == (0, "")
        content = (tmp_path / arguments[1]).read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert content[12:16] == b"IHDR"
        sizes.append((int.from_bytes(content[16:20]), int.from_bytes(content[20:24])))
    assert sizes[0][0] > sizes[1][0] > 1000
    assert sizes[0][1] > 1000


@pytest.mark.usefixtures("priced")
def test_without_matplotlib_the_extra_is_named_and_no_file_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [*(name for name in sys.modules if name.startswith("matplotlib")), "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    done = run("correlations", "-o", "c.png")
    assert done.status == 1
    assert done.err == "Failed. PNG needs the package matplotlib: pip install 'market-assets[plots]'\n"
    assert [one.name for one in tmp_path.iterdir()] == ["market.db"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--symbol", "DOGE"], "--symbol: there is no crypto reference 'DOGE'; choose from BTC, ETH"),
        (["--window", "2"], "Input should be greater than or equal to 3"),
        (["--sampling", "monthly"], "'monthly' is not one of 'daily', 'weekly'"),
        (["--end", "2026-03-03"], "--end: 2026-03-03 lies in the future; it is 2026-03-02"),
        (["--end", "yesterday"], "'yesterday' is not a day; write it as YYYY-MM-DD"),
        (["--as-of", "2027-01-01"], "--as-of: 2027-01-01T00:00Z lies in the future"),
        (["-f", "png"], "png needs a file; add --out correlations.png"),
        (["-o", "c.gif"], "c.gif does not tell the format; end it in .json, .html or .png"),
        (["-o", "c.html", "-f", "table"], "a table is for the screen"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(run: Run, arguments: list[str], said: str) -> None:
    done = run("correlations", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in one_line(done.err)


@pytest.mark.usefixtures("priced")
def test_windows_that_are_longer_than_the_log_say_how_much_is_there(run: Run) -> None:
    done = run("correlations", "--symbol", "BTC", "--window", "400")
    assert (done.status, done.out) == (1, "")
    assert "no window is complete up to 2026-03-02: " in done.err
    assert "of 400 pairs, 360 are needed; choose a shorter --window, or load earlier days" in done.err


def test_without_a_database_or_bars_it_says_what_to_do(run: Run, tmp_path: Path) -> None:
    done = run("correlations")
    assert (done.status, done.out) == (1, "")
    assert f"there is no database {tmp_path / 'market.db'} yet; collect first" in done.err
    assert run("migrate").status == 0
    empty = run("correlations")
    assert empty.status == 1
    assert "no bars to correlate up to 2026-03-02; collect first: market-assets collect" in empty.err


@pytest.mark.usefixtures("priced")
def test_a_file_that_cannot_be_written_is_one_plain_sentence(run: Run) -> None:
    done = run("correlations", "-o", "nowhere/c.json")
    assert done.status == 1
    assert done.err == "Failed. cannot write nowhere/c.json: No such file or directory\n"
