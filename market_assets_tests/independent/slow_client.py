"""Training sets a second time: sqlite3 and plain Python, entity by entity, row by row, version by version.

Belongs here: the independent route from the database file to a training set, and from its bars to a price. It shares no
import with the package under test. Does not belong here: making logs, the comparison.
"""

from __future__ import annotations

import math
import sqlite3
from typing import TYPE_CHECKING, Any

import pandas as pd

from market_assets_tests.independent import reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    Row = dict[str, Any]
    Key = tuple[Any, ...]

#: one settle minute and one minute that a tick is said to take
DELAY_US = 120_000_000
DAY_US = 86_400_000_000
#: of bars that end together, the one that counts
ORDER = {"1d": 2, "15m": 1, "1h": 0}
CORRELATIONS = {"ml_nasdaq_correlation": "QQQ", "ml_arkk_correlation": "ARKK", "ml_gold_correlation": "GLD"}


class SlowClient:
    """Walks the log row by row."""

    def __init__(self, path: Path, as_of: pd.Timestamp | None = None) -> None:
        """Read every version of everything; `as_of`: those that were known then."""
        self.as_of_us = math.inf if as_of is None else as_of.value // 1000
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        self._connection = connection
        self.features = self._versions("ml_features", "observed_at")
        self.correlations = self._versions("crypto_correlations", "crypto", "ticker", "sessions", "session")
        self.bars = self._versions("market_bars", "ticker", "interval", "bar_start")
        self.actions = self._versions("corporate_actions", "ticker", "kind", "ex_date")
        connection.close()

    def _versions(self, table: str, *key: str) -> dict[Key, list[Row]]:
        """Return the versions of each row, oldest first; what ended after `as_of` is still in force."""
        found: dict[Key, list[Row]] = {}
        for name in (table, f"{table}_history"):
            for stored in self._connection.execute(f"SELECT * FROM {name}"):  # noqa: S608 - names of this file
                row = dict(stored)
                if row["known_from"] <= self.as_of_us:
                    ended = row.get("known_to")
                    row["until"] = math.inf if ended is None or ended > self.as_of_us else ended
                    found.setdefault(tuple(row[part] for part in key), []).append(row)
        for rows in found.values():
            rows.sort(key=lambda row: row["known_from"])
        return found

    def row_at(self, at_us: int, vintage: str) -> Row | None:
        """Return the version of the feature row that an entity gets."""
        best: Row | None = None
        for versions in self.features.values():
            row = self._taken(versions, vintage)
            if row is None:
                continue
            known = row["observed_at"] + DELAY_US
            if vintage == "served" and row["origin"] != "backfill":
                known = row["known_from"]
            if known <= at_us and (best is None or row["observed_at"] > best["observed_at"]):
                best = row
        return best

    def correlation_at(self, at_us: int, crypto: str, ticker: str, vintage: str) -> tuple[float, int] | None:
        """Return the correlation that an entity gets, and the close of its session."""
        backfilled_to = max(
            (rows[0]["observed_at"] for rows in self.features.values() if rows[0]["origin"] == "backfill"),
            default=-math.inf,
        )
        best: tuple[float, int] | None = None
        for key, versions in self.correlations.items():
            row = self._taken(versions, vintage)
            if row is None or key[:3] != (crypto, ticker, 20):
                continue
            closed = reference.us(reference.nyse_hours(pd.Timestamp(row["session"]))[1])
            known = closed + DELAY_US
            if vintage == "served" and closed > backfilled_to:
                known = row["known_from"]
            if known <= at_us and (best is None or closed > best[1]):
                value = row["correlation"]
                best = (math.nan if value is None else value, closed)
        return best

    def training_set(
        self, entities: pd.DataFrame, names: Sequence[str], vintage: str, max_age_us: float = math.inf
    ) -> list[list[float]]:
        """Return one line per entity: its features, correlations among them, in the order of `names`."""
        lines = []
        for timestamp, symbol in zip(entities["timestamp"], entities["symbol"], strict=True):
            at_us = timestamp.value // 1000
            row = self.row_at(at_us, vintage)
            if row is not None and at_us - row["observed_at"] > max_age_us:
                row = None
            line = []
            for name in names:
                if name in CORRELATIONS:
                    found = self.correlation_at(at_us, symbol, CORRELATIONS[name], vintage)
                    line.append(math.nan if found is None else found[0])
                else:
                    value = None if row is None else row[name]
                    line.append(math.nan if value is None else value)
            lines.append(line)
        return lines

    def price_at(self, ticker: str, at_us: int, known_us: int) -> tuple[float, int] | None:
        """Return the price at an observation time from the bars known at `known_us`, and the end of its bar.

        On the splits whose ex-date had begun in New York by then; never stale, for that is another question.
        """
        last: Row | None = None
        for row in self._known(self.bars, ticker, known_us):
            if row["bar_end"] <= at_us and (last is None or _rank(row) > _rank(last)):
                last = row
        if last is None:
            return None
        day = pd.Timestamp(last["bar_start"], unit="us", tz="UTC").tz_convert(reference.NEW_YORK).tz_localize(None)
        price = last["close"] * last["basis"]
        for split in self._known(self.actions, ticker, known_us):
            ex_date = pd.Timestamp(split["ex_date"])
            begun = reference.us(ex_date.tz_localize(reference.NEW_YORK)) <= at_us
            if split["kind"] == "split" and begun and day < ex_date:
                price /= split["value"]
        return price, last["bar_end"]

    def _taken(self, versions: list[Row], vintage: str) -> Row | None:
        """Return the version that a vintage takes; none of the revised one if the row was withdrawn."""
        if vintage == "served":
            return versions[0]
        return versions[-1] if versions[-1]["until"] == math.inf else None

    def _known(self, table: dict[Key, list[Row]], ticker: str, known_us: int) -> Iterator[Row]:
        for key, versions in table.items():
            if key[0] == ticker:
                yield from (row for row in versions if row["known_from"] <= known_us < row["until"])


def _rank(bar: Row) -> tuple[int, int]:
    return bar["bar_end"], ORDER[bar["interval"]]
