"""Fixtures of the alerts' tests: a migrated database on a clock that is moved by hand."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.alerts.evaluations import Evaluation, FinishedRun, Severity
from market_assets.alerts.service import Alerts
from market_assets.clock import ManualClock
from market_assets.collection.days import DayRange
from market_assets.settings import Settings
from market_assets.store import Store
from market_assets_tests.alerts.receivers import Kept
from market_assets_tests.store.conftest import migrated_file  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: a Monday, a minute after an observation time
NOW = datetime(2026, 3, 2, 14, 1, tzinfo=UTC)
TICK = timedelta(minutes=30)
TWO = "json://one.example.com/ xml://two.example.com/"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store(migrated_file: Path, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:  # noqa: F811
    path = tmp_path / "market.db"
    shutil.copy(migrated_file, path)
    opened = Store.connect(f"sqlite:///{path}", clock=clock)
    yield opened
    opened.close()


class Desk:
    """Where a person sits: alerts of one store, and what arrives."""

    def __init__(self, store: Store, clock: ManualClock, **settings: Any) -> None:
        self.store = store
        self.clock = clock
        self.settings = Settings.load(**{"alert_urls": TWO, **settings})
        self.poster = Kept()
        self.alerts = Alerts(store, self.settings, clock, self.poster)
        self._runs = 0

    @property
    def titles(self) -> list[str]:
        """Titles that reached the first target."""
        return [title.removeprefix("Market collector: ") for title in self.poster.titles("json")]

    @property
    def body(self) -> str:
        """Text of the newest message that reached the first target."""
        return [message.body for name, message in self.poster.taken if name == "json"][-1]

    def run(self, *evaluations: Evaluation, kind: str = "tick", advance: timedelta = TICK, **facts: Any) -> None:
        """Let a run end now, look, post, and move the clock to the next tick."""
        now = self.clock.now()
        self._runs += 1
        days = facts.pop("days", DayRange.of(now))
        run = FinishedRun(f"run-{self._runs}", kind, now, days, evaluations, **facts)
        self.collected("ok" if facts.get("succeeded", True) else "failed", run_id=run.run_id, kind=kind, days=days)
        self.alerts.run_finished(run)
        self.alerts.deliver()
        self.clock.advance(advance)

    def collected(self, status: str, run_id: str, *, kind: str = "tick", days: DayRange | None = None) -> None:
        """Log a collection that started now."""
        now = self.clock.now()
        days = days or DayRange.of(now)
        self.store.runs.start_collection(run_id, kind, now, "yahoo")
        summary = {
            "first_day": days.first.isoformat(),
            "last_day": days.last.isoformat(),
            "complete": status != "failed",
            "features": {"rows": 1, "feature_count": 57},
        }
        self.store.runs.finish_collection(run_id, status, now + timedelta(seconds=4), summary)

    def look(self) -> None:
        """Look and post, as the sensor and `watch` do every minute."""
        self.alerts.review()
        self.alerts.deliver()


@pytest.fixture
def desk(store: Store, clock: ManualClock) -> Callable[..., Desk]:
    """Make desks on the test's store."""

    def make(**settings: Any) -> Desk:
        return Desk(store, clock, **settings)

    return make


def not_fetched(name: str = "TLT", cause: str = "empty", **more: Any) -> Evaluation:
    return Evaluation(
        "bars_were_fetched",
        f"ticker/{name}",
        passed=False,
        severity=Severity.ERROR,
        **{"description": f"{cause}: {name} has no bars", "observed": "2", "threshold": "0", "cause": cause, **more},
    )


def fetched(name: str = "TLT") -> Evaluation:
    return Evaluation("bars_were_fetched", f"ticker/{name}", passed=True, observed="0", threshold="0")
