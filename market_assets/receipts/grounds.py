"""What a data set stands on: which feature rows and correlations it shows, and which bars these were computed from.

Belongs here: working that out. Does not belong here: computing them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import from_us
from market_assets.client.datasets import (
    HISTORY_COLUMNS,
    age_column,
    correlations_of,
    history,
    history_material,
    rows_of,
    training_material,
    training_set,
)
from market_assets.client.entities import Entities
from market_assets.client.joins import rows_known_at
from market_assets.collection.days import DayRange, day_start
from market_assets.correlations import CORRELATION_LOOKBACK_DAYS
from market_assets.errors import ReceiptError
from market_assets.features import FEATURE_LOOKBACK_DAYS
from market_assets.maths.arrays import instants_us
from market_assets.receipts.bars import Basement
from market_assets.receipts.hashes import float_bits
from market_assets.receipts.prints import Series, text_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from market_assets.client.columns import Catalogue
    from market_assets.client.datasets import Material
    from market_assets.client.request import Request
    from market_assets.maths.arrays import BoolArray, IntArray
    from market_assets.store import Store

OBSERVED_AT = "observed_at"
_READ_AS_OF = "read_as_of"
_ROW_EXTRA = (_READ_AS_OF, "feature_version")
_NEVER = np.iinfo(np.int64).min
_ONE_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class Grounds:
    """One data set and what it was made of."""

    request: Request
    catalogue: Catalogue
    material: Material
    #: the entities of a training set; None for a history
    entities: Entities | None
    #: times of a history's lines, microseconds UTC
    observed_us: IntArray
    #: positions in `material.rows` of the feature rows that the data set shows
    rows: IntArray
    #: by crypto reference and ticker: positions in the correlation log that it shows
    sessions: dict[tuple[str, str], IntArray]

    @classmethod
    def of(cls, store: Store, frame: pd.DataFrame, request: Request, catalogue: Catalogue) -> Grounds:
        """Read what `frame`, a data set made by `request`, stands on; its own columns say which lines it has."""
        with store.snapshot(request.as_of) as snapshot:
            if request.dataset == "history":
                if OBSERVED_AT not in frame.columns:
                    raise ReceiptError("a history without the column observed_at cannot be told from others; keep it")
                observed = instants_us(frame[OBSERVED_AT])
                material = history_material(snapshot, request, catalogue, extra=_ROW_EXTRA)
                rows = np.flatnonzero(np.isin(material.rows.observed_us, observed))
                return cls(request, catalogue, material, None, observed, rows, {})
            own = [name for name in frame.columns if name not in _rebuilt_names(frame, request)]
            entities = Entities.of(frame[own])
            material = training_material(snapshot, request, entities, catalogue, extra=_ROW_EXTRA)
        used = np.unique(rows_of(material.rows, entities.at_us, request))
        # A data set of correlations alone shows no feature row.
        rows = used[used < len(material.rows)] if material.rows.names else used[:0]
        sessions = _sessions_shown(material, entities, catalogue)
        return cls(request, catalogue, material, entities, np.empty(0, np.int64), rows, sessions)

    @property
    def times_us(self) -> IntArray:
        """Time of each line, microseconds UTC."""
        return self.observed_us if self.entities is None else self.entities.at_us

    @property
    def in_log(self) -> BoolArray:
        """Which lines of a history the log has a feature row for; all, unless file or log have been changed."""
        if self.entities is not None:
            return np.ones(len(self.entities.at_us), dtype=np.bool_)
        return np.asarray(np.isin(self.observed_us, self.material.rows.observed_us), dtype=np.bool_)

    @property
    def read_as_of_us(self) -> IntArray:
        """Watermark that each of `rows` was computed at, microseconds UTC; the smallest int64 where it is not known."""
        return np.asarray(self.material.rows.extra[_READ_AS_OF][self.rows], dtype=np.int64)

    @property
    def row_tickers(self) -> list[str]:
        """Tickers whose bars go into the feature columns read, in universe order."""
        wanted = {ticker for name in self.material.rows.names for ticker in self.catalogue.tickers_of(name)}
        return [ticker.name for ticker in self.catalogue.universe if ticker.name in wanted]

    def basement(self) -> Basement:
        """Return which bars the feature rows and correlations were computed from."""
        windows: dict[str, tuple[datetime, datetime]] = {}
        known: list[int] = []
        stamped = self.read_as_of_us > _NEVER
        if stamped.any():
            observed = self.material.rows.observed_us[self.rows[stamped]]
            known.append(int(self.read_as_of_us.max()))
            windows = dict.fromkeys(self.row_tickers, feature_window(observed, self.catalogue))
        for (crypto, ticker), positions in self.sessions.items():
            log = self.material.correlations[crypto][ticker]
            known.append(int(log.known_from_us[positions].max()) - 1)
            window = correlation_window(log.session[positions], log.observed_us[positions])
            for name in (crypto, ticker):
                windows[name] = _union(windows.get(name, window), window)
        at = max(known, default=0)
        return Basement(from_us(at), {name: windows[name] for name in sorted(windows)})

    def served(self) -> list[Series]:
        """Return the stored rows that are shown, with what each says of itself: when it was stored, why, from what."""
        log, rows = self.material.rows, self.rows
        words = [text_words(pd.Series(log.extra[name][rows])) for name in ("origin", "basis", "feature_version")]
        words += [log.known_from_us[rows], self.read_as_of_us, *map(float_bits, log.matrix[:, rows])]
        shown = [Series.of("feature row", log.observed_us[rows], *words)]
        for (crypto, ticker), positions in self.sessions.items():
            one = self.material.correlations[crypto][ticker]
            told = (one.known_from_us[positions], float_bits(one.value[positions]))
            shown.append(Series.of(correlation_name(crypto, ticker), one.observed_us[positions], *told))
        return shown

    def rebuilt(self, material: Material | None = None) -> pd.DataFrame:
        """Return what the client puts into the lines that are `in_log`, from `material` or as stored."""
        material = material or self.material
        if self.entities is not None:
            return training_set(material, self.entities, self.catalogue)
        rows = np.searchsorted(material.rows.observed_us, self.observed_us[self.in_log])
        return history(material, self.catalogue).iloc[rows].reset_index(drop=True)

    def rebuilt_names(self, frame: pd.DataFrame) -> list[str]:
        """Return the columns of `frame` that the log can rebuild; the others are the entities' own."""
        return _rebuilt_names(frame, self.request)


def correlation_name(crypto: str, ticker: str) -> str:
    """Return what the correlations of a pair are called in a receipt and in a verdict."""
    return f"correlation of {crypto} with {ticker}"


def feature_window(observed_us: IntArray, catalogue: Catalogue) -> tuple[datetime, datetime]:
    """Return the window of bars that feature rows at these times were computed from, as a collection reads it."""
    first, last = from_us(int(observed_us.min())), from_us(int(observed_us.max()))
    lookback = max([FEATURE_LOOKBACK_DAYS, *(indicator.lookback_days for indicator in catalogue.indicators)])
    return DayRange.of(first).widened(lookback).start, last + _ONE_US


def correlation_window(sessions: Any, complete_us: IntArray) -> tuple[datetime, datetime]:  # noqa: ANN401 - datetime64[D]
    """Return the window of bars that the correlations of these sessions were computed from."""
    first = sessions.min().item() - timedelta(days=CORRELATION_LOOKBACK_DAYS)
    return day_start(first), from_us(int(complete_us.max())) + _ONE_US


def rebuildable(request: Request) -> frozenset[str]:
    """Return the columns that the log can rebuild, if a frame has them."""
    names: Sequence[str] = request.features
    if request.ages:
        names = (*names, *(age_column(name) for name in request.features))
    if request.dataset == "history":
        names = (OBSERVED_AT, *names, *HISTORY_COLUMNS)
    return frozenset(names)


def _rebuilt_names(frame: pd.DataFrame, request: Request) -> list[str]:
    known = rebuildable(request)
    return [str(name) for name in frame.columns if name in known]


def _sessions_shown(material: Material, entities: Entities, catalogue: Catalogue) -> dict[tuple[str, str], IntArray]:
    shown: dict[tuple[str, str], IntArray] = {}
    asked = correlations_of(material.request, catalogue)
    for crypto, positions in material.positions.items():
        for name in asked:
            ticker = catalogue.correlations[name]
            log = material.correlations[crypto][ticker]
            used = np.unique(rows_known_at(log.observed_us, log.available_us, entities.at_us[positions]))
            used = used[used < len(log.observed_us)]
            if len(used):
                shown[crypto, ticker] = used
    return shown


def _union(one: tuple[datetime, datetime], two: tuple[datetime, datetime]) -> tuple[datetime, datetime]:
    return min(one[0], two[0]), max(one[1], two[1])
