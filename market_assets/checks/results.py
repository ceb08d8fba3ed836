"""From a verdict to Dagster's own mechanism.

Belongs here: the one place where verdicts become check results, and the specs that announce them. Does not belong here:
judging.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from market_assets.checks.counted import COUNT_CHECK, COUNT_DESCRIPTION, evaluate_feature_count
from market_assets.checks.evidence import TickerEvidence, read_evidence
from market_assets.checks.identities import (
    IDENTITIES_CHECK,
    IDENTITIES_DESCRIPTION,
    evaluate_identities,
    read_daily_prices,
)
from market_assets.checks.plausible import PLAUSIBLE_CHECK, PLAUSIBLE_DESCRIPTION, evaluate_indicator
from market_assets.checks.tickers import TICKER_CHECKS
from market_assets.checks.verdict import NO_OFFENDERS, Markdown, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from market_assets.collection.days import DayRange
    from market_assets.collection.outcome import TickerOutcome
    from market_assets.collection.session import CollectionSession
    from market_assets.indicators import Indicator
    from market_assets.universe import Ticker

#: what a step yields for each of its checks: an output of the check's name, and the evaluation
CheckEvent = dg.Output[None] | dg.AssetCheckEvaluation

_LOG = logging.getLogger(__name__)
_SEVERITIES = {Severity.ERROR: dg.AssetCheckSeverity.ERROR, Severity.WARN: dg.AssetCheckSeverity.WARN}


def ticker_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks that the ticker asset `key` yields itself."""
    return [dg.AssetCheckSpec(check.name, asset=key, description=check.description) for check in TICKER_CHECKS]


def ticker_check_results(
    key: dg.AssetKey, collection: CollectionSession, ticker: Ticker, outcome: TickerOutcome, days: DayRange
) -> Iterator[CheckEvent]:
    """Evaluate every check of a ticker, whatever became of its fetch; call it once its write is committed."""

    @cache
    def read() -> TickerEvidence:
        return read_evidence(
            collection.store,
            ticker,
            outcome,
            days=days,
            now=collection.now,
            interval_minutes=collection.settings.collection_interval_minutes,
            source=collection.settings.source_label,
        )

    for check in TICKER_CHECKS:
        yield from check_events(collection, key, check.name, lambda check=check: check.evaluate(outcome, read))  # type: ignore[misc]


def indicator_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks that the indicator asset `key` yields itself."""
    return [dg.AssetCheckSpec(PLAUSIBLE_CHECK, asset=key, description=PLAUSIBLE_DESCRIPTION)]


def indicator_check_results(
    key: dg.AssetKey, collection: CollectionSession, indicator: Indicator, rows: pd.DataFrame
) -> Iterator[CheckEvent]:
    """Evaluate the checks of an indicator on the rows that it has just stored."""
    yield from check_events(collection, key, PLAUSIBLE_CHECK, lambda: evaluate_indicator(indicator, rows))


def feature_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks that the feature row `key` yields itself."""
    return [
        dg.AssetCheckSpec(COUNT_CHECK, asset=key, description=COUNT_DESCRIPTION),
        dg.AssetCheckSpec(IDENTITIES_CHECK, asset=key, description=IDENTITIES_DESCRIPTION),
    ]


def feature_check_results(
    key: dg.AssetKey, collection: CollectionSession, days: DayRange, rows: pd.DataFrame
) -> Iterator[CheckEvent]:
    """Evaluate the checks of the feature rows of `days`, which are `rows`; call it once they are committed."""

    def identities() -> Verdict:
        with collection.store.snapshot() as snapshot:
            daily_prices = read_daily_prices(snapshot, collection.universe, days.end)
        return evaluate_identities(rows, daily_prices)

    def count() -> Verdict:
        target = collection.settings.ml_feature_count_target
        return evaluate_feature_count(rows, target, universe=collection.universe, indicators=collection.indicators)

    yield from check_events(collection, key, COUNT_CHECK, count)
    yield from check_events(collection, key, IDENTITIES_CHECK, identities)


class ChecksNoted(Protocol):
    """What keeps the failures of a run's checks; a CollectionSession does."""

    def note_check(self, name: str, failure: str | None) -> None:
        """Note what a check has found, None if it passed."""


def check_events(
    collection: ChecksNoted, key: dg.AssetKey, name: str, evaluate: Callable[[], Verdict]
) -> Iterator[CheckEvent]:
    """Evaluate a check of the asset `key` and yield its outcome; one that cannot be evaluated has failed, and says why.

    One that has failed stands in the record of `collection` too, where a run over past days is looked up.

    A check stands behind a write that is done. Raising would abandon the rest of the run, feature row included, over
    rows that are stored already.

    These are the two events that Dagster makes of an AssetCheckResult, without the search for the materialization that
    was judged: three reads of the event log for each check, a third of what a check costs. It is this run's, and
    Dagster takes it so.
    """
    try:
        verdict = evaluate()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told and fails the check
        _LOG.exception("%s could not be evaluated", name)
        verdict = Verdict(
            passed=False,
            severity=Severity.ERROR,
            description=f"could not be evaluated: {type(error).__name__}: {error}",
            metadata={"observed": type(error).__name__, "threshold": "evaluated", "worst_offenders": NO_OFFENDERS},
            judged=False,
        )
    failure = None if verdict.passed else f"{verdict.severity}: {verdict.description}"
    collection.note_check(f"{key.to_user_string()} {name}", failure)
    metadata: dict[str, Any] = {
        key: dg.MetadataValue.md(value.text) if isinstance(value, Markdown) else value
        for key, value in verdict.metadata.items()
    }
    yield dg.Output(None, output_name=dg.AssetCheckSpec(name, asset=key).get_python_identifier())
    yield dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=verdict.passed,
        severity=_SEVERITIES[verdict.severity],
        description=verdict.description,
        metadata={**metadata, "judged": verdict.judged},
    )
