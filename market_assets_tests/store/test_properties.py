"""Properties over random histories, compared with the simple model, and over random doubles."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_assets.store import Replacement, Scope, Store
from market_assets.store.tables import ML_INDICATORS
from market_assets_tests.store.builders import DAY, FETCHED, HOUR, at, indicator_rows, wipe, write_indicator
from market_assets_tests.store.model import Key, Model, Value

SERIES = ("a", "A")
DAYS = (DAY, DAY + timedelta(days=1))
SLOTS = (0, 47)
SCOPES = [(series, day) for series in SERIES for day in DAYS]

# the store is emptied at the start of each example
on_one_store = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
numbers: st.SearchStrategy[float | None] = st.sampled_from([0.0, -0.0, 1.5, -2.25, float("nan"), float("inf")])
values: st.SearchStrategy[Value] = st.tuples(numbers, st.sampled_from([None, "stale"]))


@st.composite
def writes(draw: st.DrawFn) -> tuple[set[tuple[str, date]], dict[tuple[date, Key], Value], int]:
    scopes = draw(st.sets(st.sampled_from(SCOPES), min_size=1))
    places = [(day, (series, slot)) for series, day in sorted(scopes) for slot in SLOTS]
    rows = draw(st.dictionaries(st.sampled_from(places), values))
    return scopes, rows, draw(st.integers(0, 4))


def _frame(rows: dict[tuple[date, Key], Value]) -> pd.DataFrame:
    frames = [indicator_rows([])]
    for (day, (series, slot)), (number, reason) in rows.items():
        one = indicator_rows([number], name=series, day=day, reason=reason)
        frames.append(one.assign(observed_at=one["observed_at"] + timedelta(minutes=30 * slot)))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _read(store: Store, as_of: datetime | None) -> dict[tuple[date, Key], Value]:
    frame = store.read(ML_INDICATORS, as_of=as_of)
    slots = (frame["observed_at"].dt.hour * 60 + frame["observed_at"].dt.minute) // 30
    keys = zip(frame["observed_at"].dt.date, zip(frame["indicator"], slots, strict=True), strict=True)
    numbers = [None if np.isnan(value) else float(value) for value in frame["value"]]
    return dict(zip(keys, zip(numbers, frame["reason"], strict=True), strict=True))


@given(history=st.lists(writes(), min_size=1, max_size=6))
@on_one_store
def test_any_history_of_writes_reads_like_the_simple_model_now_and_as_of_every_instant(
    store: Store, history: list[tuple[set[tuple[str, date]], dict[tuple[date, Key], Value], int]]
) -> None:
    wipe(store)
    model = Model()
    stamps: list[datetime] = []
    for scopes, rows, hours in history:
        fetched_at = FETCHED + hours * HOUR
        expected_skips = {scope for scope in scopes if not model.wins(*scope, fetched_at)}
        report = store.replace(
            [Replacement(ML_INDICATORS, _frame(rows))],
            scopes=[Scope(series, "", day) for series, day in scopes],
            fetched_at=fetched_at,
        )
        assert {(scope.series, scope.day) for scope in report.skipped} == expected_skips
        stamp = report.known_from or (stamps[-1] if stamps else FETCHED)
        assert model.replace(rows, scopes, fetched_at, stamp) == (report.known_from is not None)
        if report.known_from is not None:
            assert not stamps or stamps[-1] < report.known_from
            stamps.append(report.known_from)
        assert _read(store, None) == model.read(None)
    for stamp in stamps:
        for instant in (stamp, stamp - timedelta(microseconds=1)):
            assert _read(store, instant) == model.read(instant)
    with store.snapshot() as snapshot:
        versions = snapshot.versions(ML_INDICATORS)
    assert len(versions) == sum(len(every) for every in model.versions.values())
    assert int(versions["removed"].sum()) == sum(one.removed for every in model.versions.values() for one in every)


@given(numbers=st.lists(st.floats(), min_size=1, max_size=40))
@on_one_store
def test_every_finite_double_comes_back_with_its_bits(store: Store, numbers: list[float]) -> None:
    wipe(store)
    write_indicator(store, list(numbers))
    stored = store.read(ML_INDICATORS)["value"]
    for number, read in zip(numbers, stored, strict=True):
        if np.isfinite(number):
            assert struct.pack("d", read) == struct.pack("d", number + 0.0)
        else:
            assert np.isnan(read)
    assert write_indicator(store, list(numbers), FETCHED + HOUR).known_from is None


# hypothesis wants naive bounds
YEARS = (datetime(1971, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001


@given(instants=st.lists(st.datetimes(*YEARS), min_size=1, max_size=10, unique=True))
@on_one_store
def test_every_microsecond_comes_back_exactly(store: Store, instants: list[datetime]) -> None:
    wipe(store)
    index = pd.DatetimeIndex(sorted(instants)).tz_localize("UTC").as_unit("us")
    frame = pd.DataFrame({"indicator": "x", "observed_at": index, "value": 1.0, "reason": None})
    scopes = [ML_INDICATORS.scope("x", day) for day in sorted({instant.date() for instant in index})]
    store.replace([Replacement(ML_INDICATORS, frame)], scopes=scopes, fetched_at=at(1))
    assert list(store.read(ML_INDICATORS)["observed_at"]) == list(index)
