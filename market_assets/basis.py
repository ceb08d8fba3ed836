"""On which splits stored prices stand: detected from the answer itself, never assumed from the calendar.

Belongs here: the basis of fetched bars and dividends, and recognising a mere rebase. Does not belong here: computing
with bases (`maths/splits.py`), storing.

A source rebases its whole history when a share is split, some hours or days around the ex-date. The basis of a bar is
the product of the ratios (new shares per old) of the splits after its session that the source had applied when it was
fetched: stored price x basis = price as it traded. Splits are taken to be applied in the order of their ex-dates, so
that "the oldest k are applied" are all the hypotheses there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY, to_us, venue_calendar
from market_assets.errors import AmbiguousBasisError
from market_assets.maths.arrays import days, floats, instants_us
from market_assets.maths.splits import Splits

if TYPE_CHECKING:
    from datetime import datetime

    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray
    from market_assets.universe import Ticker

NO_SPLITS = "no_splits"
_PRICES = ("open", "high", "low", "close")
#: largest relative difference of two representations of one native price: what is left of float32 after a rebase
REBASE_TOLERANCE = 2e-6
#: the source rounds dividends to six decimals, volumes to whole shares
_DIVIDEND_ROUNDING = 0.5e-6
_VOLUME_ROUNDING = 0.5
#: median log difference up to which fetched and stored bars stand on the same basis, as a part of the smallest
#: ln(ratio): revisions of a bar are far smaller than any split
_OVERLAP_PART = 0.2
#: a jump decides between ln(1) and ln(ratio) if it lies within this part of their distance from one of them
_JUMP_PART = 0.35
#: two bars further apart do not show what happened at the ex-date between them
_LONGEST_JUMP_US = 7 * US_PER_DAY
#: from this age on a split that nothing in the data speaks of is taken as applied
_SETTLED_AFTER = timedelta(days=10)


@dataclass(frozen=True, slots=True, eq=False)
class AppliedSplits:
    """What was found out about one answer."""

    splits: Splits
    #: how many of the splits, oldest first, the source had applied
    count: int
    #: what decided: `no_splits` (nothing to decide), `overlap`, `jump`, `sibling` or `age`
    evidence: str


def all_splits(answered: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Return the splits of an answer's actions and of the stored ones; the answer wins where both have an ex-date.

    An answer names only the splits inside of its own window; a later one rebases its bars all the same.
    """
    columns = ["kind", "ex_date", "value"]
    parts = [actions.loc[actions["kind"] == "split", columns] for actions in (stored, answered)]
    parts = [part for part in parts if not part.empty]
    if not parts:
        return answered.loc[answered["kind"] == "split", columns]
    return pd.concat(parts, ignore_index=True).drop_duplicates("ex_date", keep="last").sort_values("ex_date")


def detect_applied(
    fetched: pd.DataFrame,
    stored: pd.DataFrame,
    splits: pd.DataFrame,
    ticker: Ticker,
    *,
    sibling: AppliedSplits | None = None,
    fetched_at: datetime | None = None,
) -> AppliedSplits:
    """Find out which splits the source had applied to the prices of one answer.

    Args:
        fetched: bars of one ticker and interval (bar_start, open, close), without basis.
        stored: a bar frame of the same ticker and interval (bar_start, close, basis); may be empty.
        splits: every known split, see `all_splits`.
        ticker: whose bars they are.
        sibling: what was found for another interval in the same collection, from the same `splits`; asked if the bars
            themselves cannot tell.
        fetched_at: start of the request. If nothing else tells, splits of ten days ago and older count as applied, and
            such that lie in the future as not applied.

    Raises:
        AmbiguousBasisError: the bars, the stored bars and the sibling leave it open, or contradict every possibility.
    """
    calendar = venue_calendar(ticker.venue)
    known = Splits.from_actions(splits, calendar)
    if np.isnan(known.ratio).any():
        raise AmbiguousBasisError(
            f"a split of {ticker.name} has no positive ratio: {known.ratio.tolist()}; correct corporate_actions"
        )
    candidates = list(range(len(known.ratio) + 1))
    starts = instants_us(fetched["bar_start"])
    if len(starts) == 0 or _agree(known, starts, candidates):
        # These bars say nothing: what another interval has found stands, for the next one to ask.
        return AppliedSplits(known, candidates[-1], NO_SPLITS) if sibling is None else sibling
    candidates = _by_overlap(known, fetched, stored, candidates, ticker)
    if _agree(known, starts, candidates):
        return AppliedSplits(known, candidates[-1], "overlap")
    candidates = _by_jumps(known, fetched, candidates)
    if candidates and _agree(known, starts, candidates):
        return AppliedSplits(known, candidates[-1], "jump")
    if not candidates:
        raise AmbiguousBasisError(
            f"the bars of {ticker.name} jump as if a later split had been applied and an earlier one not (ex-dates "
            f"{', '.join(map(str, known.ex_day))}); check the ratios in corporate_actions"
        )
    if sibling is not None and sibling.evidence != NO_SPLITS and sibling.count in candidates:
        return AppliedSplits(known, sibling.count, "sibling")
    if fetched_at is not None:
        candidates = _by_age(known, candidates, fetched_at)
        if _agree(known, starts, candidates):
            return AppliedSplits(known, candidates[-1], "age")
    open_dates = ", ".join(str(day) for day in known.ex_day[candidates[0] : candidates[-1]])
    raise AmbiguousBasisError(
        f"cannot tell whether the source had applied the split(s) of {ticker.name} with ex-date {open_dates}: no "
        "stored bars to compare with and no clear jump inside of the answer; fetch a window that spans the ex-date"
    )


def with_basis(fetched: pd.DataFrame, applied: AppliedSplits) -> pd.DataFrame:
    """Return the bars with the column `basis`."""
    bars = fetched.copy()
    bars["basis"] = _basis(applied.splits, instants_us(fetched["bar_start"]), applied.count)
    return bars


def detect_basis(
    fetched: pd.DataFrame,
    stored: pd.DataFrame,
    splits: pd.DataFrame,
    ticker: Ticker,
    *,
    sibling: AppliedSplits | None = None,
    fetched_at: datetime | None = None,
) -> pd.DataFrame:
    """Return the bars with the column `basis`; see `detect_applied`."""
    return with_basis(fetched, detect_applied(fetched, stored, splits, ticker, sibling=sibling, fetched_at=fetched_at))


def keep_rebased(fetched: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Return the fetched bars, in the stored representation where nothing but the basis differs.

    Both frames: bars of one ticker and interval with `basis`. A pure rebase thus makes no new version of the history.
    """
    values = [*_PRICES, "volume", "basis"]
    if fetched.empty or stored.empty:
        return fetched
    was = stored.set_index("bar_start")[values].reindex(fetched["bar_start"]).reset_index(drop=True)
    new_basis, old_basis = floats(fetched["basis"]), floats(was["basis"])
    same = np.isfinite(old_basis) & (new_basis != old_basis)
    for column in _PRICES:
        same &= _equal(floats(fetched[column]) * new_basis, floats(was[column]) * old_basis, np.zeros(len(same)))
    rounding = _VOLUME_ROUNDING * (1.0 / new_basis + 1.0 / old_basis)
    same &= _equal(floats(fetched["volume"]) / new_basis, floats(was["volume"]) / old_basis, rounding)
    kept = fetched.copy()
    for column in values:
        kept[column] = np.where(same, floats(was[column]), floats(fetched[column]))
    return kept


def action_basis(actions: pd.DataFrame, stored: pd.DataFrame, applied: AppliedSplits) -> pd.DataFrame:
    """Return an answer's actions with the column `basis`, in the stored representation where only that differs.

    The source rebases dividends together with prices; a split's ratio stands on no basis (1.0).

    Args:
        actions: kind, ex_date, value of one ticker.
        stored: an action frame of the same ticker; may be empty.
        applied: what was found for the bars of the same answer.
    """
    result = actions.copy()
    dividend = (actions["kind"] == "dividend").to_numpy()
    first = np.searchsorted(applied.splits.ex_day, days(actions["ex_date"]), side="right")
    basis = np.where(dividend, applied.splits.product[first, np.maximum(first, applied.count)], 1.0)
    value = floats(actions["value"])
    if not stored.empty and not actions.empty:
        key = ["kind", "ex_date"]
        was = stored.set_index(key)[["value", "basis"]].reindex(pd.MultiIndex.from_frame(actions[key]))
        old_value, old_basis = floats(was["value"]), floats(was["basis"])
        rounding = _DIVIDEND_ROUNDING * (basis + old_basis)
        same = dividend & (basis != old_basis) & _equal(value * basis, old_value * old_basis, rounding)
        value, basis = np.where(same, old_value, value), np.where(same, old_basis, basis)
    result["value"], result["basis"] = value, basis
    return result


def _basis(splits: Splits, starts: IntArray, count: int) -> FloatArray:
    first = splits.count_in_force(starts)
    return splits.product[first, np.maximum(first, count)]


def _agree(splits: Splits, starts: IntArray, candidates: list[int]) -> bool:
    """Whether it makes no difference to these bars which candidate is true."""
    first, *others = (_basis(splits, starts, count) for count in candidates)
    return all(bool((first == other).all()) for other in others)


def _by_overlap(
    splits: Splits, fetched: pd.DataFrame, stored: pd.DataFrame, candidates: list[int], ticker: Ticker
) -> list[int]:
    """Keep the candidates under which fetched and stored bars have the same native prices."""
    if stored.empty:
        return candidates
    was = stored.set_index("bar_start")[["close", "basis"]].reindex(fetched["bar_start"])
    starts = instants_us(fetched["bar_start"])
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.log(floats(was["close"]) * floats(was["basis"]) / floats(fetched["close"]))
    segment = splits.count_in_force(starts)
    told = np.isfinite(difference) & (segment < len(splits.ratio))
    if not told.any():
        return candidates
    tolerance = _OVERLAP_PART * np.abs(np.log(splits.ratio)).min()
    kept = []
    for count in candidates:
        error = np.abs(difference - np.log(_basis(splits, starts, count)))
        # By stretch between splits: a long right one must not outvote a short wrong one.
        medians = [np.median(error[told & (segment == one)]) for one in np.unique(segment[told])]
        if max(medians) <= tolerance:
            kept.append(count)
    if not kept:
        raise AmbiguousBasisError(
            f"fetched and stored bars of {ticker.name} differ by the factor {np.exp(np.median(difference[told])):.4g}, "
            f"which its known splits (ratios {splits.ratio.tolist()}) do not explain; a split is missing in "
            "corporate_actions, or the source serves another instrument under the symbol"
        )
    return kept


def _by_jumps(splits: Splits, fetched: pd.DataFrame, candidates: list[int]) -> list[int]:
    """Keep the candidates that explain the step from the last bar before each ex-date to the first one after it."""
    order = np.argsort(instants_us(fetched["bar_start"]), kind="stable")
    starts = instants_us(fetched["bar_start"])[order]
    opens, closes = floats(fetched["open"])[order], floats(fetched["close"])[order]
    for split, ex_us in enumerate(splits.known_us.tolist()):
        after = int(np.searchsorted(starts, ex_us, side="left"))
        if after in {0, len(starts)} or starts[after] - starts[after - 1] > _LONGEST_JUMP_US:
            continue
        distance = np.log(splits.ratio[split])
        with np.errstate(invalid="ignore", divide="ignore"):
            jump = np.log(closes[after - 1] / opens[after])
        is_applied = abs(jump) <= _JUMP_PART * abs(distance)
        is_not = abs(jump - distance) <= _JUMP_PART * abs(distance)
        if is_applied or is_not:
            candidates = [count for count in candidates if (count > split) == is_applied]
    return candidates


def _by_age(splits: Splits, candidates: list[int], fetched_at: datetime) -> list[int]:
    at_us = to_us(fetched_at)
    settled = int(np.searchsorted(splits.known_us, at_us - _SETTLED_AFTER // timedelta(microseconds=1), side="right"))
    begun = int(np.searchsorted(splits.known_us, at_us, side="right"))
    return [count for count in candidates if settled <= count <= begun] or candidates


def _equal(one: FloatArray, two: FloatArray, rounding: FloatArray) -> BoolArray:
    """Whether two native values agree within the tolerance of a rebase; NaN equals NaN."""
    both_null = np.isnan(one) & np.isnan(two)
    with np.errstate(invalid="ignore"):
        close = np.abs(one - two) <= REBASE_TOLERANCE * np.maximum(np.abs(one), np.abs(two)) + rounding
    return both_null | close
