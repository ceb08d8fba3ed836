"""The eye outside of Dagster, and a database that is away."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.watching import Watch
from market_assets.errors import NoDatabaseError, SchemaOutdatedError, StoreError
from market_assets.settings import Settings
from market_assets.store import Store
from market_assets_tests.alerts.conftest import TWO, Desk, fetched
from market_assets_tests.alerts.receivers import Kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from market_assets.clock import ManualClock


def test_a_look_posts_missed_ticks_and_what_waits(desk: Callable[..., Desk], store: Store, clock: ManualClock) -> None:
    desk().run(fetched(), advance=timedelta(hours=3))
    poster = Kept()
    watching = Watch(lambda: store, Settings.load(alert_urls=TWO), clock, poster)
    look = watching.look()
    assert look.message is not None
    assert look.delivered is not None
    assert poster.titles("json") == poster.titles("xml") == [look.message.title]
    assert watching.look().message is None
    assert poster.tried == 2


def test_a_database_that_is_away_for_long_is_told_from_here_and_so_is_its_return(
    migrated_file: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    away: list[StoreError] = []

    def open_store() -> Store:
        if away:
            raise away[0]
        return Store.connect(f"sqlite:///{migrated_file}")

    poster = Kept(lambda target: "error=500" if target == "xml" else "")
    watching = Watch(open_store, Settings.load(alert_urls=TWO), clock, poster)
    assert watching.look().trouble == ""
    watching.close()
    away.append(StoreError("cannot read postgresql://collector:***@db: connection refused"))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert "connection refused" in watching.look().trouble
            clock.advance(timedelta(minutes=1))
    assert poster.tried == 0
    for _ in range(100):
        watching.look()
        clock.advance(timedelta(minutes=1))
    assert poster.titles("json") == ["Market collector: ERROR the database cannot be used"]
    body = poster.taken[0][1].body
    assert "since 2026-03-02 14:01 UTC; observed 5 min, threshold 5 min" in body
    assert "docs/runbook.md#database_unreachable" in body
    poster.fails = lambda _target: ""
    watching.look()
    assert poster.titles("xml") == ["Market collector: ERROR the database cannot be used"]
    away.clear()
    watching.look()
    watching.look()
    watching.close()
    assert poster.titles("json")[1:] == ["Market collector: OK the database can be used again"]
    assert poster.titles("json") == poster.titles("xml")
    assert "the database cannot be used: cannot read postgresql" in caplog.text


def test_a_short_restart_of_the_database_is_nobodys_business(migrated_file: Path, clock: ManualClock) -> None:
    away: list[StoreError] = [SchemaOutdatedError("run `market-assets migrate`")]

    def open_store() -> Store:
        if away:
            raise away[0]
        return Store.connect(f"sqlite:///{migrated_file}")

    poster = Kept()
    watching = Watch(open_store, Settings.load(alert_urls=TWO), clock, poster)
    for _ in range(4):
        watching.look()
        clock.advance(timedelta(minutes=1))
    away.clear()
    watching.look()
    watching.close()
    assert poster.tried == 0


def test_a_database_that_is_not_there_yet_is_no_outage(clock: ManualClock) -> None:
    def open_store() -> Store:
        raise NoDatabaseError("there is no database market.db yet")

    poster = Kept()
    watching = Watch(open_store, Settings.load(alert_urls=TWO), clock, poster)
    for _ in range(100):
        assert watching.look().trouble == "there is no database market.db yet"
        clock.advance(timedelta(minutes=1))
    assert poster.tried == 0
