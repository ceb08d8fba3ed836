"""Features in the old system's shape: a line a session, and none before its close was known."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from market_assets.collection.build import build_macro_rows
from market_assets.collection.days import DayRange
from market_assets.columns import feature_columns
from market_assets.indicators import INDICATORS
from market_assets.macro import MACRO_COLUMNS, macro_rows
from market_assets.store import Replacement, Store
from market_assets.store.tables import MACRO_INDICATORS, ML_FEATURES
from market_assets.universe import UNIVERSE
from market_assets_tests.databases import database_url  # noqa: F401 - a fixture
from market_assets_tests.stocked import feature_frame

HALF_HOUR = timedelta(minutes=30)


def features(start: str, end: str, interval: timedelta = HALF_HOUR) -> pd.DataFrame:
    """Return rows whose every value is the number of the row."""
    at = pd.date_range(start, end, freq=interval, inclusive="left", tz="UTC", unit="us")
    return pd.DataFrame({"observed_at": at, **dict.fromkeys(feature_columns(), np.arange(len(at), dtype=np.float64))})


def lines(frame: pd.DataFrame, first: str, last: str | None = None, interval: timedelta = HALF_HOUR) -> pd.DataFrame:
    days = DayRange(date.fromisoformat(first), date.fromisoformat(last or first))
    return macro_rows(frame, days, interval, universe=UNIVERSE, indicators=INDICATORS)


def at(rows: pd.DataFrame, name: str) -> list[str]:
    own = rows[rows["indicator_name"] == name]
    return [f"{session} {when:%m-%d %H:%M}" for session, when in zip(own["session"], own["timestamp"], strict=True)]


def test_each_feature_has_one_line_a_session_at_the_first_time_that_knew_its_close() -> None:
    rows = lines(features("2026-03-03", "2026-03-04"), "2026-03-03")
    assert list(rows.columns) == list(MACRO_COLUMNS)
    assert set(rows["indicator_name"]) == {name.upper() for name in feature_columns()}
    assert not rows.duplicated(["indicator_name", "timestamp"]).any()
    # New York closes at 21:00; VIX trades until 21:15 and is published 15 minutes late
    assert at(rows, "ML_QQQ_PRICE") == ["2026-03-03 03-03 21:00"]
    assert at(rows, "ML_VIX_PRICE") == ["2026-03-03 03-03 21:30"]
    assert at(rows, "ML_EURUSD_PRICE") == ["2026-03-03 03-03 22:00"]
    # what stands on several venues waits for the last of them
    assert at(rows, "ML_TECH_LEADERSHIP") == ["2026-03-03 03-03 21:00"]
    assert at(rows, "ML_RISK_ON_RATIO") == ["2026-03-03 03-03 21:30"]
    (value,) = rows.loc[rows["indicator_name"] == "ML_QQQ_PRICE", "value"]
    assert value == 42.0


def test_there_is_no_line_before_the_close_was_known() -> None:
    assert at(lines(features("2026-03-03", "2026-03-03T21:00"), "2026-03-03"), "ML_QQQ_PRICE") == []
    assert lines(features("2026-03-03", "2026-03-03T15:00"), "2026-03-03").empty


def test_half_days_close_early_and_weekends_have_no_line() -> None:
    # 28 November 2025: New York closes at 13:00, 18:00 UTC
    rows = lines(features("2025-11-28", "2025-12-01"), "2025-11-28", "2025-11-30")
    assert at(rows, "ML_QQQ_PRICE") == ["2025-11-28 11-28 18:00"]
    assert at(rows, "ML_EURUSD_PRICE") == ["2025-11-28 11-28 22:00"]


def test_a_coarse_grid_knows_a_close_at_its_next_time_even_on_the_next_day() -> None:
    day = timedelta(days=1)
    rows = lines(features("2026-03-03", "2026-03-06", day), "2026-03-03", "2026-03-05", day)
    assert at(rows, "ML_QQQ_PRICE") == [
        "2026-03-02 03-03 00:00",
        "2026-03-03 03-04 00:00",
        "2026-03-04 03-05 00:00",
    ]


def test_a_value_or_a_row_that_is_missing_gives_no_line() -> None:
    frame = features("2026-03-03", "2026-03-04")
    frame.loc[42, "ml_qqq_price"] = np.nan
    rows = lines(frame[frame["observed_at"] != pd.Timestamp("2026-03-03T22:00Z")], "2026-03-03")
    assert at(rows, "ML_QQQ_PRICE") == []
    assert at(rows, "ML_QQQ_VOLATILITY") == ["2026-03-03 03-03 21:00"]
    assert at(rows, "ML_EURUSD_PRICE") == []


@pytest.mark.parametrize("season", ["2026-03-06", "2026-03-09"])
def test_summer_time_moves_the_close(season: str) -> None:
    rows = lines(features("2026-03-06", "2026-03-10"), season)
    closes = {"2026-03-06": "03-06 21:00", "2026-03-09": "03-09 20:00"}
    assert at(rows, "ML_QQQ_PRICE") == [f"{season} {closes[season]}"]


def test_lines_are_stored_with_their_versions(database_url: str) -> None:  # noqa: F811
    store = Store.connect(database_url)
    store.migrate()
    day = date(2026, 3, 3)
    now = datetime(2026, 3, 3, 23, 0, tzinfo=UTC)
    frame = feature_frame(46, until=datetime(2026, 3, 3, 22, 30, tzinfo=UTC))
    store.replace([Replacement(ML_FEATURES, frame)], scopes=[ML_FEATURES.scope("", day)], fetched_at=now)
    for revised in (1.0, 2.0):
        frame["ml_qqq_price"] = revised
        store.replace([Replacement(ML_FEATURES, frame)], scopes=[ML_FEATURES.scope("", day)], fetched_at=now)
        with store.snapshot() as snapshot:
            write = build_macro_rows(snapshot, DayRange(day, day), HALF_HOUR, UNIVERSE, INDICATORS)
        store.replace(write.replacements, scopes=write.scopes, fetched_at=write.fetched_at)
    with store.snapshot() as snapshot:
        versions = snapshot.versions(MACRO_INDICATORS)
    qqq = versions[versions["indicator_name"] == "ML_QQQ_PRICE"]
    assert qqq["value"].tolist() == [1.0, 2.0]
    assert qqq["session"].tolist() == [day, day]
    store.close()
