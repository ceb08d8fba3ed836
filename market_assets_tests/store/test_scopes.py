"""Sets of scopes: order, positions, runs of days. No database."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from market_assets.store import Scope
from market_assets.store.scopes import DayRun, ScopeSet
from market_assets_tests.store.builders import DAY


def test_scopes_are_distinct_and_sorted() -> None:
    scopes = [Scope("b", "", DAY), Scope("a", "1h", DAY), Scope("b", "", DAY), Scope("a", "15m", DAY)]
    assert list(ScopeSet(scopes)) == [scopes[3], scopes[1], scopes[0]]
    assert sorted(set(scopes)) == list(ScopeSet(scopes))


def test_rows_find_their_scope_or_none() -> None:
    scopes = ScopeSet([Scope("a", "1d", DAY), Scope("b", "1d", DAY)])
    series = np.array(["b", "a", "a", "c"], dtype=object)
    intervals = np.array(["1d", "1h", "1d", "1d"], dtype=object)
    days = np.array([DAY] * 4, dtype="datetime64[D]")
    assert list(scopes.positions(series, intervals, days)) == [1, -1, 0, -1]
    assert list(ScopeSet([]).positions(series, intervals, days)) == [-1] * 4


def test_days_close_to_each_other_are_read_as_one_run_and_distant_ones_are_not() -> None:
    days = [DAY, DAY + timedelta(days=20), DAY + timedelta(days=400)]
    runs = ScopeSet([Scope("a", "1d", day) for day in days] + [Scope("b", "1d", DAY)]).runs()
    assert runs == [
        DayRun("a", "1d", days[0], days[1]),
        DayRun("a", "1d", days[2], days[2]),
        DayRun("b", "1d", DAY, DAY),
    ]


def test_a_scope_prints_without_its_empty_parts() -> None:
    assert str(Scope("QQQ", "1d", date(2026, 1, 2))) == "QQQ 1d 2026-01-02"
    assert str(Scope("ml_features", "", date(2026, 1, 2))) == "ml_features 2026-01-02"
