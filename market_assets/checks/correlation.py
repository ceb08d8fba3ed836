"""`correlation_within_threshold`: whether the market still does what it is said to do.

Belongs here: the pure judgement of measured against documented correlations, and the check after each run of the
correlations. Does not belong here: the measure (`analysis/`), who is told.

The documented values are folklore. On real data most of them do not hold (docs/correlations.md), so this check warns
most of the time, and that is its message: no model may count on them. It is one warning, not six, and it stays as it
is until every documented value holds, or no longer does: whoever is told of changes is told rarely.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from market_assets.analysis.definitions import Definition
from market_assets.analysis.heatmap import between, signed
from market_assets.analysis.survey import PairAnalysis, Survey
from market_assets.analysis.verdict import Verdict
from market_assets.assets.common import CORRELATIONS_KEY
from market_assets.clock import Clock
from market_assets.collection.days import DayRange
from market_assets.collection.surveyed import survey_stored
from market_assets.correlations import WINDOWS
from market_assets.partitions import days_of_tags
from market_assets.pictures import markdown_table
from market_assets.store import Store
from market_assets.universe import Ticker, Universe

CORRELATION_CHECK = "correlation_within_threshold"
#: the window that decides; an interval of 20 sessions is so wide that it contradicts next to nothing
JUDGED_WINDOW = 90
#: what the documented values are about
REFERENCE = "BTC"


def evaluate_correlation(found: Survey, threshold: float) -> dg.AssetCheckResult:
    """Judge a survey of the documented tickers: observed is how many documented values hold, the threshold is all.

    A documented value holds if the JUDGED_WINDOW's correlation has its sign and its 95 % interval contains it. Values
    that could not be measured are named and not judged; if none could, that proves nothing. `threshold` is the
    absolute correlation from which a pair counts as highly correlated: told, not judged.
    """
    position = found.windows.index(JUDGED_WINDOW)
    judged = [pair for pair in found.pairs if pair.comparisons[position].documented is not None]
    verdicts = {pair.ticker.name: pair.comparisons[position].verdict for pair in judged}
    missing = [name for name, verdict in verdicts.items() if verdict is Verdict.NOT_MEASURED]
    held = [name for name, verdict in verdicts.items() if verdict is Verdict.HOLDS]
    measured = len(judged) - len(missing)
    worst = sorted(
        (pair for pair in judged if verdicts[pair.ticker.name] not in {Verdict.HOLDS, Verdict.NOT_MEASURED}),
        key=lambda pair: -_distance(pair, position),
    )
    metadata: dict[str, Any] = {
        "observed": len(held),
        "threshold": measured,
        "worst_offenders": "; ".join(_offence(pair, position) for pair in worst) or "none",
        "sessions_judged": JUDGED_WINDOW,
        "last_session": found.last.isoformat(),
        "high_correlation_threshold": threshold,
        "documented_as_high": _names(
            pair for pair in judged if abs(pair.comparisons[position].documented or 0.0) >= threshold
        ),
        "measured_as_high": _names(
            pair for pair in judged if abs(pair.windows[position].correlation or 0.0) >= threshold
        ),
        "correlations": dg.MetadataValue.md(_table(judged, found.windows, position)),
    }
    if missing:
        metadata["not_measured"] = "; ".join(
            f"{pair.ticker.name}: {pair.windows[position].interval_reason}"
            for pair in judged
            if pair.ticker.name in missing
        )
    if measured:
        description = f"{len(held)} of {measured} documented values hold over {JUDGED_WINDOW} sessions"
        if worst:
            description += f"; furthest off {_offence(worst[0], position)}"
    elif not judged:
        description = f"no ticker has a documented correlation with {REFERENCE}"
    else:
        description = f"no documented value could be measured over {JUDGED_WINDOW} sessions"
    return dg.AssetCheckResult(
        check_name=CORRELATION_CHECK,
        passed=not worst and (measured > 0 or not judged),
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def build_correlation_check(universe: Universe, threshold: float, clock: Clock) -> dg.AssetChecksDefinition:
    """Return the check. It takes no input, as an unpartitioned check that did would load every partition."""

    @dg.asset_check(
        asset=CORRELATIONS_KEY,
        name=CORRELATION_CHECK,
        blocking=False,
        description=(
            f"The documented correlations with {REFERENCE} lie within the 95 % intervals of the measured ones over "
            f"{JUDGED_WINDOW} sessions. They rarely do; see docs/correlations.md."
        ),
    )
    def correlation_within_threshold(
        context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]
    ) -> dg.AssetCheckResult:
        days = days_of_tags(dict(context.run.tags), clock.now())
        return evaluate_correlation(survey_documented(store, days, universe, clock), threshold)

    return correlation_within_threshold


def survey_documented(store: Store, days: DayRange, universe: Universe, clock: Clock) -> Survey:
    """Measure every ticker with a documented value at the last session of `days`, or before."""
    with store.snapshot() as snapshot:
        return survey_stored(
            snapshot,
            cryptos=[universe[REFERENCE]] if REFERENCE in universe else [],
            tickers=_documented(universe),
            windows=WINDOWS,
            end=days.last,
            now=clock.now(),
            definition=Definition(),
        )


def _documented(universe: Universe) -> list[Ticker]:
    return [ticker for ticker in universe.features if ticker.documented_crypto_correlation is not None]


def _distance(pair: PairAnalysis, position: int) -> float:
    documented, measured = pair.comparisons[position].documented, pair.windows[position].correlation
    return 0.0 if documented is None or measured is None else abs(documented - measured)


def _offence(pair: PairAnalysis, position: int) -> str:
    one, comparison = pair.windows[position], pair.comparisons[position]
    return (
        f"{pair.ticker.name} {signed(one.correlation)} ({between(one)}), documented {signed(comparison.documented)}"
        + (", opposite sign" if comparison.verdict is Verdict.OPPOSITE else "")
    )


def _names(pairs: Iterable[PairAnalysis]) -> str:
    return ", ".join(pair.ticker.name for pair in pairs) or "none"


def _table(pairs: Sequence[PairAnalysis], windows: Sequence[int], position: int) -> str:
    measures = [part for window in windows for part in (f"{window} sessions", "95 % interval")]
    rows = []
    for pair in pairs:
        cells = [part for one in pair.windows for part in (signed(one.correlation), between(one))]
        rows.append(
            [
                pair.ticker.name,
                signed(pair.ticker.documented_crypto_correlation),
                *cells,
                pair.comparisons[position].words,
            ]
        )
    return markdown_table(["ticker", "documented", *measures, "the documented value is"], rows)
