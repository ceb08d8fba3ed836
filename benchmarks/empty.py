"""The same graph with empty bodies: what Dagster itself costs.

Belongs here: a collection and an IO manager that do nothing. Does not belong here: measuring. The run has the same
assets, checks, dependencies, partitions and events as a tick; nothing is fetched, computed, stored or judged.
"""

from __future__ import annotations

import argparse
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any
from unittest import mock

import dagster as dg
import pandas as pd

from market_assets.assets import indicators as indicator_assets
from market_assets.automation.jobs import COLLECT_JOB
from market_assets.checks import results as check_results
from market_assets.checks.verdict import Verdict
from market_assets.collection.days import DayRange
from market_assets.collection.outcome import TickerOutcome
from market_assets.collection.write import ScopedWrite
from market_assets.definitions import build_definitions
from market_assets.run import ensure_dagster_home
from market_assets.settings import Settings
from market_assets.store import Replacement
from market_assets.store.tables import ML_FEATURES, ML_INDICATORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets.universe import Ticker

_NO_VALUES = pd.DataFrame({"indicator": [], "observed_at": [], "value": pd.Series(dtype="float64"), "reason": []})


class EmptySession:
    """Answers every question of the assets without doing anything."""

    kind = "tick"

    def __init__(self, settings: Settings, now: datetime) -> None:
        """Stand at `now`."""
        self.settings = settings
        self.now = now
        self.store = mock.MagicMock()

    def collect(self, ticker: Ticker, *_: object) -> TickerOutcome:
        """Return an outcome without a bar."""
        return TickerOutcome(ticker.name, "nowhere", (), write=self.nothing())

    def nothing(self, *_: object) -> ScopedWrite:
        """Return a write without a row."""
        return ScopedWrite((Replacement(ML_FEATURES, pd.DataFrame()),), (), self.now)

    def recent_correlations(self, *_: object) -> pd.DataFrame:
        """Return no row."""
        return pd.DataFrame()

    def ignore(self, *_: object) -> None:
        """Take note of nothing."""

    features = correlations = crypto_rows = nothing
    expect_features = stored = features_written = fail_if_nothing_was_collected = note_check = ignore
    correlations_written = crypto_rows_written = ignore


class EmptyIOManager(dg.IOManager):
    """Stores nothing and loads nothing."""

    def handle_output(self, _context: dg.OutputContext, _obj: object) -> None:
        """Store nothing."""

    def load_input(self, _context: dg.InputContext) -> None:
        """Load nothing."""


def _no_indicator(*arguments: Any, **_: object) -> ScopedWrite:  # noqa: ANN401 - whatever the asset hands over
    now = arguments[3]
    return ScopedWrite((Replacement(ML_INDICATORS, _NO_VALUES),), (), now)


def _no_judgement(
    session: Any,  # noqa: ANN401 - an EmptySession
    key: dg.AssetKey,
    name: str,
    _evaluate: object,
) -> Iterator[check_results.CheckEvent]:
    return _check_events(session, key, name, lambda: Verdict.not_judged("the graph is empty"))


_check_events = check_results.check_events


def run_empty(now: datetime) -> bool:
    """Run the collect job over the day of `now` with empty bodies; return whether it succeeded."""
    ensure_dagster_home()
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    settings = Settings.load()
    graph = build_definitions(settings=settings)
    session = EmptySession(settings, now)
    empty = dg.Definitions(
        assets=graph.assets,
        # The collect job without the checks that read the store: they are no part of what Dagster itself costs.
        jobs=[dg.define_asset_job(COLLECT_JOB, selection=dg.AssetSelection.all())],
        resources={
            "store": dg.ResourceDefinition.hardcoded_resource(None),
            "collection": dg.ResourceDefinition.hardcoded_resource(session),
            "io_manager": dg.IOManagerDefinition.hardcoded_io_manager(EmptyIOManager()),
        },
        executor=dg.in_process_executor,
    )
    with (
        mock.patch.object(indicator_assets, "build_indicator", _no_indicator),
        mock.patch.object(check_results, "check_events", _no_judgement),
        dg.DagsterInstance.get() as instance,
    ):
        result = empty.resolve_job_def(COLLECT_JOB).execute_in_process(
            instance=instance,
            partition_key=DayRange.of(now).first.isoformat(),
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
        )
    return result.success


def main() -> None:
    """Run once; exit with 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    if not run_empty(parser.parse_args().now):
        raise SystemExit("a step of the empty graph failed")


if __name__ == "__main__":
    main()
