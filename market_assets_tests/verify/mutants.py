"""Mistakes that a gate against look-ahead must catch, each as a patch of the package's own source.

Belongs here: the patches, as data. Does not belong here: applying them (`mutation.py`).

A patch must match exactly once: code that moves on makes its mutant fail loudly, not vanish.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    """Replace `old`, which occurs exactly once in `file` (inside of the package), by `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One mistake. `categories`: kinds of cases (see `markets.py`) that show it soonest."""

    name: str
    patches: tuple[Patch, ...]
    categories: tuple[str, ...] = ("plain", "dst_week", "half_day")


BARS, CLOSES, SPLITS = "maths/bars.py", "maths/closes.py", "maths/splits.py"
METRICS, FEATURES, INDICATORS = "metrics.py", "features.py", "indicators/base.py"
CORRELATIONS, JOIN, SNAPSHOTS = "correlations.py", "crypto_join.py", "store/snapshots.py"

_AVAILABLE = "return cls(bars, bars.end_us + lag_us, _next_end(bars, calendar), calendar, lag_us)"
_CHOSEN = 'row = np.searchsorted(self.available_us, at_us, side="right") - 1'
_NEXT = 'row = np.minimum(np.searchsorted(self.available_us, at_us, side="left"), len(self.available_us) - 1)'
_KNOWN = "known_us = np.maximum(usable.end_us[rows], table.close_us[sessions]) + lag_us"
_COMPLETED = 'np.searchsorted(self.complete_us, at_us, side="right") - 1'
_ON_BASIS = "known = (rows >= 0) & (self.known_us[rows] <= at_us)"
_EX_DATE = 'session = np.searchsorted(label, ex_day, side="left")'
_SHARES = "return self.product[first, np.maximum(first, self.count_in_force(at_us))]"
_LAST = "last = int(closes.completed(np.array([instant_us]))[0])"
_RETURNS = "closes.log_return[rows[1:]][closes.return_known_us[rows[1:]] <= instant_us]"
_JOINED = 'known = np.searchsorted(observed_us, at_us, side="right") - 1'
_SESSION_AT = 'completed = np.searchsorted(table.close_us + lag_us, at_us, side="right") - 1'
_CHANGE = "change_values = 100.0 * ((stored + dividend) / before - 1.0)"
_PAIRS_END = 'end = int(np.searchsorted(self._complete_us, instant_us, side="right"))'
_PAIRS_KNOWN = "valid = self._known_us[window] <= instant_us"
_GRID = "chosen = INDICATORS if indicators is None else tuple(indicators)\n    names"
_SINCE = "since = current.columns[KNOWN_FROM] <= self._as_of"
_THEN = "then = sa.and_(history.columns[KNOWN_FROM] <= self._as_of, history.columns[KNOWN_TO] > self._as_of)"
_DAY = "86_400_000_000"

MUTANTS = (
    Mutant("an unfinished bar", (Patch(BARS, _AVAILABLE, _AVAILABLE.replace("bars.end_us", "bars.start_us", 1)),)),
    Mutant("an unlagged VIX bar", (Patch(BARS, _AVAILABLE, _AVAILABLE.replace(" + lag_us", "", 1)),)),
    Mutant(
        "a date join of features",
        (Patch(JOIN, _JOINED, _JOINED.replace("at_us", f"(at_us // {_DAY} + 1) * {_DAY}").replace("right", "left")),),
    ),
    Mutant(
        "a date join of correlations",
        (Patch(JOIN, _SESSION_AT, _SESSION_AT.replace("close_us + lag_us", f"close_us // {_DAY} * {_DAY}")),),
    ),
    Mutant(
        "today's daily close as a price",
        (
            Patch(
                BARS,
                _AVAILABLE,
                _AVAILABLE.replace("bars.end_us", "np.where(bars.interval == DAILY, bars.start_us, bars.end_us)", 1),
            ),
        ),
    ),
    Mutant(
        "today's close as yesterday's",
        (
            Patch(METRICS, "np.where(has, session - 1, -1), at_us", "np.where(has, session, -1), at_us"),
            Patch(CLOSES, _ON_BASIS, "known = rows >= 0"),
        ),
    ),
    Mutant(
        "volatility with the running session",
        (Patch(METRICS, _LAST, _LAST + " + 1"), Patch(METRICS, _RETURNS, "closes.log_return[rows[1:]]")),
    ),
    Mutant(
        "a session that is closed before its feed lag is over",
        (
            Patch(CLOSES, "splits, table.close_us + lag_us, *found", "splits, table.close_us, *found"),
            Patch(CLOSES, _KNOWN, _KNOWN.removesuffix(" + lag_us")),
        ),
        ("feed_lag",),
    ),
    Mutant(
        "a currency day's close before that day is over",
        (Patch(CLOSES, _KNOWN, "known_us = table.close_us[sessions] + lag_us"),),
        ("fx_sunday_evening", "plain", "outage"),
    ),
    Mutant("a dividend a session early", (Patch(CLOSES, _EX_DATE, _EX_DATE + " - 1"),), ("dividend",)),
    Mutant(
        "a dividend of a closed day on the session before",
        (Patch(CLOSES, _EX_DATE, _EX_DATE.replace("left", "right") + " - 1"),),
        ("dividend", "fx_sunday_evening", "holiday"),
    ),
    Mutant("the split basis of the future", (Patch(SPLITS, _SHARES, "return self.product[first, -1]"),), ("split",)),
    Mutant(
        "a split in force a day early",
        (Patch(SPLITS, "np.searchsorted(self.known_us, at_us, ", f"np.searchsorted(self.known_us, at_us + {_DAY}, "),),
        ("split",),
    ),
    Mutant(
        "later splits between two closes",
        (Patch(SPLITS, 'last = np.searchsorted(self.ex_day, until, side="right")', "last = len(self.ex_day)"),),
        ("split",),
    ),
    Mutant(
        "gold against bonds with the running session",
        (
            Patch(INDICATORS, _PAIRS_END, _PAIRS_END + " + 1"),
            Patch(INDICATORS, _PAIRS_KNOWN, _PAIRS_KNOWN.replace("<= instant_us", "< NEVER_US")),
        ),
    ),
    Mutant(
        "the correlation of a session that is not closed",
        (Patch(JOIN, _SESSION_AT, _SESSION_AT.removesuffix(" - 1")),),
    ),
    Mutant(
        "crypto sampled at UTC midnight",
        (
            Patch(
                CORRELATIONS,
                "sampled = crypto.price_at(close_us, ",
                f"sampled = crypto.price_at(-(-close_us // {_DAY}) * {_DAY}, ",
            ),
        ),
        ("crypto_evening",),
    ),
    Mutant("the bar after T", (Patch(BARS, _CHOSEN, _NEXT),)),
    Mutant("the bar that ends at T left out", (Patch(BARS, _CHOSEN, _CHOSEN.replace("right", "left")),)),
    Mutant("the session that closes at T left out", (Patch(CLOSES, _COMPLETED, _COMPLETED.replace("right", "left")),)),
    Mutant("a crypto row without its own time's features", (Patch(JOIN, _JOINED, _JOINED.replace("right", "left")),)),
    Mutant(
        "an age until the log's next bar",
        (
            Patch(
                BARS,
                "age[has] = (at - self.bars.end_us[chosen])",
                "age[has] = (np.append(self.bars.end_us, at[:1])[chosen + 1] - self.bars.end_us[chosen])",
            ),
        ),
    ),
    Mutant(
        "gaps filled from later rows",
        (Patch(FEATURES, "return pd.DataFrame(frame)", "return pd.DataFrame(frame).bfill()"),),
        ("outage", "fx_sunday_evening", "holiday"),
    ),
    Mutant(
        "changes against the mean of the whole window",
        (Patch(METRICS, _CHANGE, _CHANGE + "\n        change_values = change_values - np.nanmean(change_values)"),),
    ),
    Mutant(
        "observation times rounded up to the grid",
        (
            Patch(
                FEATURES,
                _GRID,
                f"at_us = -(-at_us // 1_800_000_000) * 1_800_000_000\n    {_GRID}",
            ),
        ),
    ),
)  # fmt: skip

#: mistakes about what was known when; they are seen where a database is read
STORE_MUTANTS = (
    Mutant(
        "as_of ignored", (Patch(SNAPSHOTS, _SINCE, "since = sa.true()"), Patch(SNAPSHOTS, _THEN, "then = sa.false()"))
    ),
    Mutant("only what was never revised", (Patch(SNAPSHOTS, _THEN, "then = sa.false()"),)),
    Mutant(
        "corporate actions as they are known today",
        (
            Patch(
                SNAPSHOTS,
                "if self._as_of is None:\n            rows",
                "if self._as_of is None or layout.time_is_date:\n            rows",
            ),
        ),
    ),
)
