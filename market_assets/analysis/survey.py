"""Every ticker against every crypto reference, over several windows.

Belongs here: which pairs are measured, from which bars, and the result as plain values. Does not belong here: reading a
store, measuring one window, laying the result out for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from market_assets.analysis.bootstrap import LEVEL, RESAMPLES, SEED
from market_assets.analysis.definitions import UNIT, Definition, Pairing, Sampling
from market_assets.analysis.measures import measure
from market_assets.analysis.series import paired_returns
from market_assets.analysis.sessions import price_series, session_pairs
from market_assets.analysis.verdict import Verdict, compare
from market_assets.maths.windows import required_pairs
from market_assets.metrics import TickerSeries, lookback_days

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from market_assets.analysis.measures import ReturnPairs, WindowCorrelation
    from market_assets.analysis.verdict import Comparison
    from market_assets.metrics import TickerLog
    from market_assets.universe import Ticker

_DAYS_PER_WEEK = 7


@dataclass(frozen=True, slots=True)
class PairAnalysis:
    """One crypto reference and one ticker; windows and comparisons are parallel."""

    crypto: str
    ticker: Ticker
    windows: tuple[WindowCorrelation, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """Measured correlations up to one day."""

    definition: Definition
    windows: tuple[int, ...]
    end: date
    pairs: tuple[PairAnalysis, ...]

    @property
    def last(self) -> date:
        """The last session (or the Monday of the last week) of any pair; `end` if there is none."""
        labels = [window.last for pair in self.pairs for window in pair.windows if window.last is not None]
        return max(labels, default=self.end)

    @property
    def cryptos(self) -> tuple[str, ...]:
        """The crypto references, in order."""
        return tuple(dict.fromkeys(pair.crypto for pair in self.pairs))

    def of(self, crypto: str) -> tuple[PairAnalysis, ...]:
        """Return the pairs of one crypto reference."""
        return tuple(pair for pair in self.pairs if pair.crypto == crypto)

    @property
    def measured(self) -> int:
        """How many windows of all pairs have a correlation."""
        return sum(window.correlation is not None for pair in self.pairs for window in pair.windows)

    def tally(self, crypto: str, window: int) -> tuple[int, int]:
        """Return (how many documented values hold, how many were measured) of one reference and window."""
        verdicts = [
            comparison.verdict
            for pair in self.of(crypto)
            for measured, comparison in zip(pair.windows, pair.comparisons, strict=True)
            if measured.window == window
        ]
        held = sum(verdict is Verdict.HOLDS for verdict in verdicts)
        missing = sum(verdict in {Verdict.UNDOCUMENTED, Verdict.NOT_MEASURED} for verdict in verdicts)
        return held, len(verdicts) - missing

    def unit(self) -> str:
        """Return what a window counts, e.g. `session`."""
        return UNIT[self.definition.sampling]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; what is not known is None, never 0."""
        return {
            "end": self.end.isoformat(),
            "sampling": self.definition.sampling.value,
            "returns": self.definition.returns.value,
            "dividends": self.definition.dividends,
            "pairing": self.definition.pairing.value,
            "windows": list(self.windows),
            "interval": {
                "level": LEVEL,
                "method": "moving-block bootstrap of Fisher's z, Student's t",
                "resamples": RESAMPLES,
                "seed": SEED,
            },
            "lag_sign": "positive: the ticker leads",
            "pairs": [_pair_to_json(pair) for pair in self.pairs],
        }


def survey(
    logs: Mapping[str, TickerLog],
    *,
    cryptos: Sequence[Ticker],
    tickers: Iterable[Ticker],
    windows: Sequence[int],
    end: date,
    now_us: int,
    definition: Definition,
) -> Survey:
    """Measure `tickers` against `cryptos` over the last sessions (or weeks) up to `end`.

    Args:
        logs: by name, `survey_days(...)` of bars in front of `end`.
        cryptos: crypto references.
        tickers: in the order of the result.
        windows: in sessions of the ticker, or weeks.
        end: label of the last session.
        now_us: sessions that are not completed by then are left out; microseconds UTC.
        definition: how returns are taken.

    Raises:
        CorrelationInputError: a window is too short.
    """
    prepared = {name: TickerSeries.prepare(log) for name, log in logs.items()}
    steps = max(windows)
    pairs = []
    for crypto in cryptos:
        for ticker in tickers:
            both = prepared[crypto.name], prepared[ticker.name]
            returns = _pairs(*both, end=end, now_us=now_us, steps=steps, definition=definition)
            measured = tuple(
                measure(returns, window, required=_required(window, definition.pairing)) for window in windows
            )
            compared = tuple(compare(ticker.documented_crypto_correlation, one) for one in measured)
            pairs.append(PairAnalysis(crypto.name, ticker, measured, compared))
    return Survey(definition, tuple(windows), end, tuple(pairs))


def survey_days(windows: Sequence[int], sampling: Sampling) -> int:
    """Return how many days of bars in front of the last day the windows need."""
    steps = max(windows) + 1
    return lookback_days(steps) if sampling is Sampling.DAILY else steps * _DAYS_PER_WEEK + lookback_days(1)


def _pairs(
    crypto: TickerSeries, ticker: TickerSeries, *, end: date, now_us: int, steps: int, definition: Definition
) -> ReturnPairs:
    if definition.pairing is Pairing.SESSION:
        return session_pairs(crypto, ticker, end=end, now_us=now_us, steps=steps, definition=definition)
    prices = [price_series(one, end=end, now_us=now_us, dividends=definition.dividends) for one in (crypto, ticker)]
    return paired_returns(*prices, sampling=definition.sampling, returns=definition.returns)


def _required(window: int, pairing: Pairing) -> int:
    # Joined dates leave no gaps: whatever is not there is in front of the first one.
    return required_pairs(window) if pairing is Pairing.SESSION else window


def _pair_to_json(pair: PairAnalysis) -> dict[str, Any]:
    return {
        "crypto": pair.crypto,
        "ticker": pair.ticker.name,
        "category": pair.ticker.category.value,
        "documented": pair.ticker.documented_crypto_correlation,
        "windows": [_window_to_json(*one) for one in zip(pair.windows, pair.comparisons, strict=True)],
    }


def _window_to_json(one: WindowCorrelation, comparison: Comparison) -> dict[str, Any]:
    return {
        "window": one.window,
        "first": None if one.first is None else one.first.isoformat(),
        "last": None if one.last is None else one.last.isoformat(),
        "pairs": one.pairs,
        "approximate_pairs": one.approximate_pairs,
        "correlation": one.correlation,
        "reason": one.reason,
        "interval": None if one.interval is None else [one.interval.low, one.interval.high],
        "interval_reason": one.interval_reason,
        "block": None if one.interval is None else one.interval.block,
        "rank_correlation": one.rank,
        "lead_lag": [{"lag": lag.lag, "correlation": lag.correlation, "pairs": lag.pairs} for lag in one.lead_lag],
        "noise_bound": one.noise,
        "verdict": comparison.verdict.value,
        "words": comparison.words,
        "sign_agrees": comparison.sign_agrees,
    }
