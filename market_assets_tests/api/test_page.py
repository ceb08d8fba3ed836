"""The page for people: what it says in each state, and what a browser may do with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.api.views import age_words, curve, next_tick
from market_assets.columns import feature_columns
from market_assets.universe import UNIVERSE
from market_assets_tests.api.test_operation import good_tick
from market_assets_tests.stocked import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from market_assets.clock import ManualClock
    from market_assets_tests.api.conftest import Serve

_VOID = frozenset({"meta", "link", "polyline", "br"})


class Checked(HTMLParser):
    """Raises for tags that do not close, and gathers what matters."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.words)


def shown(client: TestClient, status: int = 200) -> Checked:
    answer = client.get("/")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = Checked(answer.text)
    assert len(set(page.ids)) == len(page.ids)
    for tag, name, value in page.attributes:
        # nothing runs, nothing is styled in place, nothing comes from elsewhere
        assert tag != "script"
        assert name != "style"
        assert not name.startswith("on")
        if name in {"href", "src"} and (tag, value.startswith("https://dagster.example")) != ("a", True):
            assert value.startswith(("/", "#"))
    return page


def test_a_failing_ticker_is_named_in_the_first_line(serve: Serve, database: Path) -> None:
    good_tick(database, NOW - timedelta(minutes=9))
    page = shown(serve(dagster_ui_url="https://dagster.example"))
    assert ("TLT not collected" in page.text) or ("Not healthy" in page.text)
    assert "timeout: TLT 1d" in page.text
    # markup in a message is a text
    assert "[red]answer[/]" in page.text
    for name in feature_columns()[-7:]:
        assert name in page.text
    for ticker in UNIVERSE.features:
        assert ticker.name in page.words
    assert "19 of 20 returns" in page.text
    assert "57 of 58 (target 35)" in page.text
    assert "https://dagster.example/runs/good" in {value for _, _, value in page.attributes}


def test_what_is_healthy_says_so(client: TestClient, database: Path, clock: ManualClock) -> None:
    for minutes in (9, 8, 7, 6, 5):
        good_tick(database, NOW - timedelta(minutes=minutes))
    page = shown(client)
    del clock
    assert "verdict" in page.ids
    assert "Next tick" in page.words


def test_old_rows_are_not_healthy(client: TestClient, clock: ManualClock) -> None:
    clock.set(NOW + timedelta(hours=3))
    assert "Not healthy" in shown(client).text


def test_an_empty_database_says_what_to_do(serve: Serve, tmp_path: Path) -> None:
    from market_assets.store import Store  # noqa: PLC0415 - this test alone

    store = Store.connect(f"sqlite:///{tmp_path / 'empty.db'}")
    store.migrate()
    store.close()
    for name in ("empty.db", "missing.db"):
        page = shown(serve(database_url=f"sqlite:///{tmp_path / name}"))
        assert "Nothing was collected yet" in page.words
        assert "market-assets collect" in page.text


def test_a_database_that_is_down_is_a_page_too(serve: Serve) -> None:
    page = shown(serve(database_url="postgresql+psycopg://user:hunter2secret@127.0.0.1:1/db"), 503)
    assert "The database cannot be read" in page.words
    assert "hunter2secret" not in page.text


def test_files_of_the_page_may_be_kept_for_ever(client: TestClient) -> None:
    paths = re.findall(r'href="(/static/[^"]+)"', client.get("/").text)
    assert len(paths) == 2
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_the_addresses_are_listed_with_their_parameters(client: TestClient) -> None:
    page = Checked(client.get("/docs").text)
    described = client.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        assert path in page.words
        for route in methods.values():
            assert route["summary"]
            assert all(one["name"] in page.words for one in route.get("parameters", ()))


def test_a_curve_ends_with_the_newest_value_and_spans_its_box() -> None:
    values = pd.Series(np.linspace(5.0, 7.0, 336))
    drawn = curve(values, "ml_x")
    assert drawn is not None
    points = [tuple(map(float, point.split(","))) for point in drawn.points.split()]
    assert points[-1] == (100.0, 2.0)
    assert points[0][0] == 0.0
    assert len(points) == 84
    assert all(0 <= x <= 100 and 2 <= y <= 22 for x, y in points)
    assert "7" in drawn.words


def test_a_curve_leaves_out_what_is_unknown_and_is_level_where_nothing_moves() -> None:
    assert curve(pd.Series([np.nan, 1.0, np.nan]), "x") is None
    level = curve(pd.Series([3.0, np.nan, 3.0]), "x")
    assert level is not None
    assert level.points == "0.0,12.0 100.0,12.0"


@pytest.mark.parametrize(
    ("minutes", "words"), [(0.9, "0 min"), (119, "119 min"), (120, "2 h"), (2879, "47 h"), (2880, "2 days")]
)
def test_ages_in_words(minutes: float, words: str) -> None:
    assert age_words(minutes) == words


def test_the_next_tick_is_on_the_grid_after_the_settle_minutes() -> None:
    half, settle = timedelta(minutes=30), timedelta(minutes=1)
    at = datetime(2026, 3, 2, 15, 0, 30, tzinfo=UTC)
    assert next_tick(at, half, settle) == at.replace(minute=1, second=0)
    assert next_tick(at.replace(minute=1, second=0), half, settle) == at.replace(minute=31, second=0)
    assert next_tick(at, timedelta(minutes=120), settle) == at.replace(hour=16, minute=1, second=0)
