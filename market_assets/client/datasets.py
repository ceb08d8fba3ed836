"""Data sets from the log: what is read for one, and the frame that is made of it.

Belongs here: reading everything a data set needs from one snapshot, and assembling it; both apart from each other, so
that a receipt can be verified with other values in place of the stored ones. Does not belong here: opening a store,
files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_MINUTE, to_us
from market_assets.client.bases import columns_to_rescale, read_splits, rescaled
from market_assets.client.columns import stored_name
from market_assets.client.joins import gathered, rows_known_at
from market_assets.client.log import Bounds, backfilled_to_us, read_correlations, read_rows, read_rows_before
from market_assets.errors import FeatureRequestError
from market_assets.maths.arrays import utc_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from market_assets.client.columns import Catalogue
    from market_assets.client.entities import Entities
    from market_assets.client.log import CorrelationLog, RowLog
    from market_assets.client.request import Request
    from market_assets.maths.arrays import FloatArray, IntArray
    from market_assets.maths.splits import Splits
    from market_assets.store import Snapshot

#: what a history shows of each row besides its features
HISTORY_COLUMNS = ("feature_count", "core_count", "origin", "known_from")
_AGES = "ages"


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What was read from one snapshot. `request.as_of` is its watermark."""

    request: Request
    rows: RowLog
    #: by crypto reference: positions of its entities; empty if no correlation was asked for
    positions: Mapping[str, IntArray]
    #: by crypto reference and ticker
    correlations: Mapping[str, Mapping[str, CorrelationLog]]
    #: by ticker; empty if nothing is rescaled
    splits: Mapping[str, Splits]

    def on_basis(self, catalogue: Catalogue) -> RowLog:
        """Return the rows on the basis that was asked for."""
        if self.request.basis == "at_T" or self.request.as_of is None:
            return self.rows
        return rescaled(self.rows, self.splits, to_us(self.request.as_of), catalogue)


def age_column(name: str) -> str:
    """Return the column that holds the age of a feature: minutes since the end of the oldest price bar in it."""
    return f"{name}_age_minutes"


def added_columns(request: Request) -> tuple[str, ...]:
    """Return the columns that a training set has besides those of its entities, in order."""
    return request.features + (tuple(age_column(name) for name in request.features) if request.ages else ())


def stored_columns(request: Request, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the columns of the feature row that a request needs, each once."""
    asked = tuple(dict.fromkeys(stored_name(name) for name in request.features if name not in catalogue.correlations))
    return asked + (columns_to_rescale(catalogue, asked) if request.basis == "as_of" else ())


def correlations_of(request: Request, catalogue: Catalogue) -> list[str]:
    """Return the correlations among the features asked for."""
    return [name for name in request.features if name in catalogue.correlations]


# --- training sets ----------------------------------------------------------------------------------------------------


def training_material(
    snapshot: Snapshot,
    request: Request,
    entities: Entities,
    catalogue: Catalogue,
    *,
    before: Material | None = None,
    extra: Sequence[str] = (),
) -> Material:
    """Read what a training set of `entities` needs, but for what is in `before`, read for the same or more of them."""
    request = request.answered(snapshot.watermark)
    bounds = Bounds.of(entities.at_us)
    if before is None:
        wanted = (*extra, _AGES) if request.ages else tuple(extra)
        rows = read_rows_before(snapshot, request, stored_columns(request, catalogue), bounds, extra=wanted)
        splits = read_splits(snapshot, catalogue) if request.basis == "as_of" else {}
        before = Material(request, rows, {}, {}, splits)
    tickers = [catalogue.universe[catalogue.correlations[name]] for name in correlations_of(request, catalogue)]
    positions = entities.references(catalogue.universe) if tickers else {}
    correlations = {crypto: logs for crypto, logs in before.correlations.items() if crypto in positions}
    if positions.keys() - correlations.keys():
        backfilled = backfilled_to_us(snapshot)
        for crypto in positions.keys() - correlations.keys():
            correlations[crypto] = read_correlations(
                snapshot, request, tickers, bounds, crypto=crypto, backfilled_to_us=backfilled
            )
    return Material(request, before.rows, positions, correlations, before.splits)


def training_set(material: Material, entities: Entities, catalogue: Catalogue) -> pd.DataFrame:
    """Return the entities, in their order and with all their columns, beside what was known at their times."""
    request = material.request
    names = added_columns(request)
    # One row of memory per column: the frame takes the block as it is, and nothing is copied.
    block = np.empty((len(names), len(entities.at_us)))
    log = material.on_basis(catalogue)
    used = rows_of(log, entities.at_us, request)
    places = {name: row for row, name in enumerate(names)}
    _put_features(block, places, used, log, request)
    if request.ages:
        _put_ages(block, places, used, entities.at_us, _AgesAtRows.of(log, request, catalogue))
    _put_correlations(block, places, material, entities.at_us, catalogue)
    frame = pd.DataFrame(block.T, index=entities.frame.index, columns=list(names), copy=False)
    for position, name in enumerate(entities.frame.columns):
        frame.insert(position, name, entities.frame[name])
    frame.attrs.update(request.attrs())
    return frame


def rows_of(log: RowLog, at_us: IntArray, request: Request) -> IntArray:
    """Return the position of the feature row that each instant gets; one past the last row where it gets none."""
    max_age = None if request.max_age is None else int(request.max_age.total_seconds() * 1e6)
    return rows_known_at(log.observed_us, log.available_us, at_us, max_age)


def _put_features(block: FloatArray, places: Mapping[str, int], used: IntArray, log: RowLog, request: Request) -> None:
    at = {name: row for row, name in enumerate(log.names)}
    plain = [name for name in request.features if stored_name(name) in at]
    sources = [at[stored_name(name)] for name in plain]
    if plain == list(request.features[: len(plain)]):
        gathered(log.matrix, sources, used, block[: len(plain)])
        return
    for name, source in zip(plain, sources, strict=True):
        gathered(log.matrix, [source], used, block[places[name]][np.newaxis])


def _put_ages(block: FloatArray, places: Mapping[str, int], used: IntArray, at_us: IntArray, ages: _AgesAtRows) -> None:
    waited = (at_us - np.append(ages.observed_us, 0)[used]) / US_PER_MINUTE
    for name, at_rows in ages.minutes.items():
        place = places[age_column(name)]
        np.take(at_rows, used, out=block[place], mode="clip")
        block[place] += waited


def _put_correlations(
    block: FloatArray, places: Mapping[str, int], material: Material, at_us: IntArray, catalogue: Catalogue
) -> None:
    asked = correlations_of(material.request, catalogue)
    for name in asked:
        block[[places[one] for one in (name, age_column(name)) if one in places]] = np.nan
    for crypto, positions in material.positions.items():
        own_us = at_us[positions]
        searched: dict[tuple[bytes, bytes], IntArray] = {}
        for name in asked:
            log = material.correlations[crypto][catalogue.correlations[name]]
            # Tickers of one venue nearly always became known together: one search finds them all.
            times = (log.observed_us.tobytes(), log.available_us.tobytes())
            if times not in searched:
                searched[times] = rows_known_at(log.observed_us, log.available_us, own_us)
            used = searched[times]
            block[places[name], positions] = log.value[used]
            if age_column(name) in places:
                since = np.append(log.observed_us.astype(np.float64), np.nan)[used]
                block[places[age_column(name)], positions] = (own_us - since) / US_PER_MINUTE


@dataclass(frozen=True, slots=True, eq=False)
class _AgesAtRows:
    """How old each feature was at each row's own time."""

    observed_us: IntArray
    #: by feature: minutes since the end of the oldest price bar among its tickers'; the last entry is NaN
    minutes: dict[str, FloatArray]

    @classmethod
    def of(cls, log: RowLog, request: Request, catalogue: Catalogue) -> _AgesAtRows:
        told: list[dict[str, Any]] = [json.loads(text) for text in log.extra[_AGES]]
        groups = {name: catalogue.tickers_of(name) for name in request.features if name not in catalogue.correlations}
        by_ticker = {
            ticker: np.array([row[ticker][0] if ticker in row else np.nan for row in told] + [np.nan])
            for ticker in {ticker for group in groups.values() for ticker in group}
        }
        minutes = {name: np.max([by_ticker[ticker] for ticker in group], axis=0) for name, group in groups.items()}
        return cls(log.observed_us, minutes)


# --- histories --------------------------------------------------------------------------------------------------------


def history_material(
    snapshot: Snapshot, request: Request, catalogue: Catalogue, *, extra: Sequence[str] = ()
) -> Material:
    """Read what a history needs."""
    per_symbol = correlations_of(request, catalogue)
    if per_symbol:
        raise FeatureRequestError(f"{per_symbol[0]} is per crypto symbol and a history has none; use training_set")
    request = request.answered(snapshot.watermark)
    wanted = ("feature_count", "core_count", *((_AGES,) if request.ages else ()), *extra)
    names = stored_columns(request, catalogue)
    rows = read_rows(snapshot, request, names, start=request.start, end=request.end, extra=wanted)
    splits = read_splits(snapshot, catalogue) if request.basis == "as_of" else {}
    return Material(request, rows, {}, {}, splits)


def history(material: Material, catalogue: Catalogue) -> pd.DataFrame:
    """Return one line per feature row: observed_at, the features, then HISTORY_COLUMNS."""
    request, log = material.request, material.on_basis(catalogue)
    at = {name: row for row, name in enumerate(log.names)}
    columns: dict[str, Any] = {"observed_at": utc_index(log.observed_us)}
    columns |= {name: log.matrix[at[stored_name(name)], :-1] for name in request.features}
    if request.ages:
        ages = _AgesAtRows.of(log, request, catalogue)
        columns |= {age_column(name): values[:-1] for name, values in ages.minutes.items()}
    shown = log.extra | {"known_from": utc_index(log.known_from_us)}
    columns |= {name: shown[name] for name in HISTORY_COLUMNS}
    frame = pd.DataFrame(columns)
    frame.attrs.update(request.attrs())
    return frame
