"""No leak, whatever the log looks like: random versions, late, revised, backfilled, against a loop over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_assets.client import FeatureStore
from market_assets.client.joins import rows_known_at
from market_assets.clock import ManualClock
from market_assets.store import Replacement, Store
from market_assets.store.tables import ML_FEATURES
from market_assets.universe import UNIVERSE, Universe
from market_assets_tests.store.builders import wipe

if TYPE_CHECKING:
    from collections.abc import Iterator

QQQ = Universe((UNIVERSE["QQQ"],))
COLUMNS = ("ml_qqq_price", "ml_qqq_change_1d", "ml_qqq_volatility")
START = datetime(2026, 3, 3, tzinfo=UTC)
STEP, DELAY = timedelta(minutes=30), timedelta(minutes=2)


@dataclass(frozen=True)
class Version:
    """One version of a feature row: its step on the grid, when it was stored (minutes after the start), and why."""

    step: int
    minute: int
    origin: str


versions = st.builds(
    Version,
    step=st.integers(0, 11),
    minute=st.integers(0, 600),
    origin=st.sampled_from(["live", "live", "catch_up", "backfill"]),
)
logs = st.lists(versions, min_size=1, max_size=25, unique_by=lambda one: (one.step, one.minute))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    clock = ManualClock(START)
    url = f"sqlite:///{tmp_path_factory.mktemp('leaks') / 'market.db'}"
    opened = Store.connect(url, clock=clock, feature_columns=COLUMNS)
    opened.migrate()
    yield opened
    opened.close()


def write(store: Store, log: list[Version]) -> list[tuple[datetime, datetime, str, float]]:
    """Store the versions in the order of their times; return (observed_at, known_from, origin, value) of each."""
    wipe(store)
    told, rows = [], {}
    for number, version in enumerate(sorted(log, key=lambda one: one.minute)):
        observed = START + version.step * STEP
        known = max(START + timedelta(minutes=version.minute), observed)
        rows[observed] = {
            "observed_at": pd.Timestamp(observed).as_unit("us"),
            **dict.fromkeys(COLUMNS, float(number)),
            "feature_count": 3,
            "core_count": 3,
            **dict.fromkeys(("reasons", "ages", "resolution", "basis"), "{}"),
            "feature_version": "1",
            "origin": version.origin,
            "read_as_of": pd.Timestamp(known).as_unit("us"),
        }
        store._clock = ManualClock(known)
        frame = pd.DataFrame(list(rows.values()))
        report = store.replace(
            [Replacement(ML_FEATURES, frame)],
            scopes=[ML_FEATURES.scope("", START.date())],
            fetched_at=START + timedelta(minutes=number),
        )
        assert report.known_from is not None
        told.append((observed, report.known_from, version.origin, float(number)))
    return told


def expected(told: list[tuple[datetime, datetime, str, float]], at: datetime, vintage: str, as_of: datetime) -> float:
    """Return the value that an entity at `at` must get, by looking at one version after the other."""
    best: tuple[datetime, float] | None = None
    for observed in {version[0] for version in told}:
        own = [version for version in told if version[0] == observed and version[1] <= as_of]
        if not own:
            continue
        _, known, origin, value = own[0] if vintage == "served" else own[-1]
        available = observed + DELAY if vintage == "revised" or origin == "backfill" else known
        if available <= at and (best is None or observed > best[0]):
            best = (observed, value)
    return float("nan") if best is None else best[1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log=logs,
    vintage=st.sampled_from(["served", "revised"]),
    as_of=st.none() | st.integers(0, 660),
    seed=st.integers(0, 99),
)
def test_each_entity_gets_the_last_row_known_at_its_time(
    store: Store, log: list[Version], vintage: str, as_of: int | None, seed: int
) -> None:
    told = write(store, log)
    known = [version[1] for version in told]
    rng = np.random.default_rng(seed)
    edges = known + [one + DELAY for one, *_ in told]
    times = [edge + timedelta(microseconds=shift) for edge in edges for shift in (-1, 0)]
    times += [START + timedelta(seconds=int(second)) for second in rng.integers(-3600, 43_200, 20)]
    rng.shuffle(times)
    then = max(known) if as_of is None else START + timedelta(minutes=as_of)
    client = FeatureStore(store=store, universe=QQQ, indicators=())
    asked = pd.DataFrame({"timestamp": pd.DatetimeIndex(times).as_unit("us")})
    frame = client.training_set(asked, vintage=vintage, as_of=None if as_of is None else then)  # type: ignore[arg-type]
    np.testing.assert_array_equal(frame["ml_qqq_price"], [expected(told, time, vintage, then) for time in times])


@settings(max_examples=200, deadline=None)
@given(
    available=st.lists(st.integers(0, 50), max_size=12),
    times=st.lists(st.integers(-5, 60), max_size=12),
    max_age=st.none() | st.integers(0, 20),
)
def test_the_join_agrees_with_a_loop(available: list[int], times: list[int], max_age: int | None) -> None:
    observed = list(range(0, 3 * len(available), 3))
    rows = rows_known_at(
        np.array(observed, np.int64), np.array(available, np.int64), np.array(times, np.int64), max_age
    )
    for time, row in zip(times, rows.tolist(), strict=True):
        known = [position for position, since in enumerate(available) if since <= time]
        best = known[-1] if known else len(available)
        if best < len(available) and max_age is not None and time - observed[best] > max_age:
            best = len(available)
        assert row == best
