"""A collector that is judged at every tick as its Dagster run would be, without Dagster.

Belongs here: evaluating the checks and keeping what they said. Does not belong here: assertions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from market_assets.checks.counted import COUNT_CHECK, evaluate_feature_count
from market_assets.checks.evidence import TickerEvidence, read_evidence
from market_assets.checks.identities import IDENTITIES_CHECK, evaluate_identities, read_daily_prices
from market_assets.checks.plausible import PLAUSIBLE_CHECK, evaluate_indicator
from market_assets.checks.tickers import TICKER_CHECKS
from market_assets_tests.verify.live import LiveCollector

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from market_assets.checks.verdict import Verdict
    from market_assets.collection.days import DayRange
    from market_assets.collection.outcome import TickerOutcome
    from market_assets.collection.session import CollectionSession
    from market_assets.universe import Ticker


@dataclass(frozen=True)
class Judged:
    """What one check said of one asset at one tick."""

    at: datetime
    asset: str
    check: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.at:%a %Y-%m-%d %H:%M} {self.asset} {self.check}: {self.verdict.description}"


class CheckedCollector(LiveCollector):
    """A LiveCollector that evaluates the checks of tickers, indicators and the feature row."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.judged: list[Judged] = []

    def failed(self) -> list[Judged]:
        return [one for one in self.judged if not one.verdict.passed]

    def of(self, asset: str, check: str) -> Verdict:
        """Return what `check` said of `asset` last."""
        return next(one for one in reversed(self.judged) if (one.asset, one.check) == (asset, check)).verdict

    def after_ticker(self, session: CollectionSession, ticker: Ticker, outcome: TickerOutcome, days: DayRange) -> None:
        @cache
        def read() -> TickerEvidence:
            return read_evidence(
                self.store,
                ticker,
                outcome,
                days=days,
                now=session.now,
                interval_minutes=self.settings.collection_interval_minutes,
                source=self.settings.source_label,
            )

        for check in TICKER_CHECKS:
            self._note(session, ticker.name, check.name, check.evaluate(outcome, read))

    def after_features(self, session: CollectionSession, days: DayRange, rows: pd.DataFrame) -> None:
        counted = evaluate_feature_count(
            rows, self.settings.ml_feature_count_target, universe=self.universe, indicators=self.indicators
        )
        self._note(session, "ml_features", COUNT_CHECK, counted)
        with self.store.snapshot() as snapshot:
            daily_prices = read_daily_prices(snapshot, self.universe, days.end)
        self._note(session, "ml_features", IDENTITIES_CHECK, evaluate_identities(rows, daily_prices))
        for indicator in self.indicators:
            # The row has the same bits as the indicator's own table, whose reasons are not spelled out in it.
            values = rows[["observed_at", indicator.column]].rename(columns={indicator.column: "value"})
            values["reason"] = values["value"].isna().map({True: "NULL", False: None})
            self._note(session, indicator.name, PLAUSIBLE_CHECK, evaluate_indicator(indicator, values))

    def _note(self, session: CollectionSession, asset: str, check: str, verdict: Verdict) -> None:
        self.judged.append(Judged(session.now, asset, check, verdict))
