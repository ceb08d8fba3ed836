"""`FeatureStore`: the public face of the client.

Belongs here: the public methods and their checks. Does not belong here: how data sets are read and assembled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from market_assets.client import files
from market_assets.client.columns import Catalogue
from market_assets.client.datasets import (
    added_columns,
    correlations_of,
    history,
    history_material,
    stored_columns,
    training_material,
    training_set,
)
from market_assets.client.entities import Entities
from market_assets.client.log import Bounds
from market_assets.client.request import TICK_LATENCY, Basis, Request, Vintage, as_instant
from market_assets.errors import FeatureRequestError
from market_assets.indicators import INDICATORS
from market_assets.opening import open_existing
from market_assets.receipts import FileFormat
from market_assets.settings import Settings
from market_assets.store.tables import CRYPTO_ML_FEATURES
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from pathlib import Path
    from types import TracebackType

    import pandas as pd
    import pyarrow as pa

    from market_assets.client.datasets import Material
    from market_assets.indicators import Indicator
    from market_assets.store import Snapshot, Store
    from market_assets.universe import Universe

    Instant = datetime | date | str

#: how far back the latest row is looked for, step by step; at last everywhere
_LATEST_WITHIN = (timedelta(days=2), timedelta(days=30), None)


@dataclass(frozen=True, slots=True)
class _Window:
    """What decides what is read for a training set."""

    watermark: datetime
    names: tuple[str, ...]
    correlations: tuple[str, ...]
    vintage: Vintage
    basis: Basis
    delay_us: int
    ages: bool
    bounds: Bounds

    @classmethod
    def of(cls, snapshot: Snapshot, request: Request, entities: Entities, catalogue: Catalogue) -> Self:
        """Return the window of a request."""
        return cls(
            watermark=snapshot.watermark,
            names=stored_columns(request, catalogue),
            correlations=tuple(correlations_of(request, catalogue)),
            vintage=request.vintage,
            basis=request.basis,
            delay_us=request.delay_us,
            ages=request.ages,
            bounds=Bounds.of(entities.at_us),
        )

    def of_use(self, other: _Window, material: Material) -> Material | None:
        """Return what of `material`, which was read for `other`, need not be read for this window; None for nothing."""
        first, last = self.bounds
        inside = other.bounds.first_us <= first and last <= other.bounds.last_us
        if not inside or replace(self, bounds=other.bounds, correlations=other.correlations) != other:
            return None
        return material if self.correlations == other.correlations else replace(material, correlations={})


class FeatureStore:
    """Reads features as they were known, from the market database. Needs neither Dagster nor a running collector.

    Thread-safe. Every answer comes from one snapshot; `attrs["as_of"]` of a frame is its watermark, and asking again
    with that `as_of` gives the same bits, whatever has been collected since.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        store: Store | None = None,
        settings: Settings | None = None,
        universe: Universe = UNIVERSE,
        indicators: Sequence[Indicator] = INDICATORS,
        tick_latency: timedelta = TICK_LATENCY,
    ) -> None:
        """Open the database at `url` (SQLAlchemy), by default the one that the settings name; or read from `store`.

        `tick_latency`: what a tick is said to take after its settle minutes; with them it makes the time from which on
        a backfilled row counts as known.

        Raises:
            SettingsError, NoDatabaseError, SchemaOutdatedError, StoreError: the database cannot be used.
        """
        if store is not None and url is not None:
            raise TypeError("url and store both name a database; pass one of them")
        if settings is None:
            settings = Settings.load() if url is None else Settings.load(database_url=url)
        self._owns_store = store is None
        self._store = open_existing(settings) if store is None else store
        self._catalogue = Catalogue(universe, tuple(indicators))
        self._interval_minutes = settings.collection_interval_minutes
        self._settle = timedelta(minutes=settings.settle_minutes)
        self._tick_latency = tick_latency
        # The log up to a watermark never changes: the next training set over the same rows need not read them again.
        self._last_read: tuple[_Window, Material] | None = None

    @property
    def tick_latency(self) -> timedelta:
        """What a tick is said to take after its settle minutes."""
        return self._tick_latency

    @property
    def features(self) -> tuple[str, ...]:
        """Every name that `features=` takes: the feature row's columns, correlations by symbol, `ml_vix_fear_index`."""
        return self._catalogue.names

    def close(self) -> None:
        """Close the connections that this object opened."""
        if self._owns_store:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def latest(
        self, features: Sequence[str] | None = None, *, as_of: Instant | None = None, basis: Basis = "as_of"
    ) -> pd.Series[Any]:
        """Return the newest feature row that was known at `as_of` (default: now); its name is the observation time.

        Raises:
            FeatureRequestError: no row was known, or a feature is unknown.
        """
        request = self._request("history", features, vintage="revised", basis=basis)
        with self._store.snapshot(as_instant(as_of, "as_of")) as snapshot:
            for within in _LATEST_WITHIN:
                start = None if within is None else snapshot.watermark - within
                material = history_material(snapshot, replace(request, start=start), self._catalogue)
                if len(material.rows):
                    break
            else:
                at = snapshot.watermark.isoformat()
                raise FeatureRequestError(f"no feature row was known at {at}; collect first: market-assets collect")
            frame = history(material, self._catalogue).iloc[-1:]
        row = frame[list(request.features)].iloc[0]
        row.name = frame["observed_at"].iloc[0]
        row.attrs = dict(frame.attrs)
        return row

    def history(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        features: Sequence[str] | None = None,
        as_of: Instant | None = None,
        basis: Basis = "as_of",
        vintage: Vintage = "revised",
        ages: bool = False,
    ) -> pd.DataFrame:
        """Return the feature rows with start <= observed_at < end, by observation time.

        Columns: observed_at (datetime64[us, UTC]), one float64 per feature (NaN for NULL), with `ages` the age of each
        in minutes, then feature_count, core_count, origin and known_from. A day as a bound means 00:00 UTC of it.

        Args:
            start: first observation time, included; None is open.
            end: end of the range, not included; None is open.
            features: names, default the whole feature row.
            as_of: show what was known then; default: now.
            basis: "as_of": the whole range on the splits known at as_of, without jumps; "at_T": each row as served.
            vintage: "revised": the newest version of each row known at as_of; "served": the first.
            ages: add `<feature>_age_minutes`.

        Raises:
            NaiveTimestampError: a bound or as_of has no time zone.
            FeatureRequestError: an unknown feature, or one that is per crypto symbol.
        """
        begin, stop = as_instant(start, "start"), as_instant(end, "end")
        if begin is not None and stop is not None and begin > stop:
            raise FeatureRequestError(f"start={begin.isoformat()}: lies after end={stop.isoformat()}; swap them")
        request = self._request("history", features, vintage=vintage, basis=basis, start=begin, end=stop, ages=ages)
        with self._store.snapshot(as_instant(as_of, "as_of")) as snapshot:
            return history(history_material(snapshot, request, self._catalogue), self._catalogue)

    def training_set(
        self,
        entities: pd.DataFrame,
        *,
        features: Sequence[str] | None = None,
        as_of: Instant | None = None,
        vintage: Vintage = "served",
        basis: Basis = "at_T",
        ages: bool = False,
        max_age: timedelta | None = None,
    ) -> pd.DataFrame:
        """Give each entity what was known at its time: an as-of join that never leaks.

        An entity at t gets the feature row with the latest observation time that was known at t. Served: of each row
        the first version, known from the moment it was stored, and never changed by later bars or revisions; a
        backfilled row counts as known at its observation time + settle minutes + `tick_latency`. Revised: the newest
        version known at `as_of`, with that same delay: better data than a model ever sees live, and `attrs["vintage"]`
        says so. Correlations are those of the entity's symbol (BTC, btc-usd, BTCUSDT, ...), by the same rules.

        Args:
            entities: `timestamp` (timezone-aware) and any other columns, such as `symbol` and labels. All of them are
                kept, in their order, and so is the index.
            features: names, default the whole feature row; correlations and `ml_vix_fear_index` by name.
            as_of: use only what was known then; default: now.
            vintage: "served" or "revised".
            basis: "at_T": prices as they were served, which a later split never changes; "as_of": on the splits known
                at as_of, continuous, but the scale of early rows then tells of splits that came later.
            ages: add `<feature>_age_minutes`, the age of the value at t.
            max_age: a feature row older than this at t counts as none; default: no limit.

        Raises:
            NaiveTimestampError: a timestamp, or as_of, has no time zone.
            FeatureRequestError: entities that cannot be used, or an unknown feature.
        """
        request = self._request("training_set", features, vintage=vintage, basis=basis, ages=ages, max_age=max_age)
        checked = Entities.of(entities, added_columns(request))
        with self._store.snapshot(as_instant(as_of, "as_of")) as snapshot:
            window = _Window.of(snapshot, request, checked, self._catalogue)
            before = None if self._last_read is None else window.of_use(*self._last_read)
            material = training_material(snapshot, request, checked, self._catalogue, before=before)
        read = {} if before is None else before.correlations
        if before is None or material.correlations.keys() - read.keys():
            # Without the entities' positions: what is kept is of the log's size, not of theirs.
            self._last_read = window, replace(material, positions={}, correlations={**read, **material.correlations})
        return training_set(material, checked, self._catalogue)

    def crypto(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        symbols: Sequence[str] | None = None,
        as_of: Instant | None = None,
    ) -> pd.DataFrame:
        """Return the rows of `crypto_ml_features_materialized` with start <= timestamp < end, by symbol and time.

        Columns: symbol, timestamp (datetime64[us, UTC]: the end of the bar, when its price was known), price, volume,
        market_cap, the features and correlations that were known then, known_from. They are kept up to date: for the
        versions that were served, join the prices to `training_set`.

        Args:
            start: first timestamp, included; None is open.
            end: end of the range, not included; None is open.
            symbols: as they are stored (BTC, ETH, or those of your own table); default: all.
            as_of: show what was known then; default: now.

        Raises:
            NaiveTimestampError: a bound or as_of has no time zone.
        """
        if isinstance(symbols, str):
            raise TypeError(f"symbols={symbols!r} is a str; pass a list of symbols such as [{symbols!r}]")
        begin, stop = as_instant(start, "start"), as_instant(end, "end")
        with self._store.snapshot(as_instant(as_of, "as_of")) as snapshot:
            frame = snapshot.read(CRYPTO_ML_FEATURES, start=begin, end=stop, series=symbols)
            frame.attrs["as_of"] = snapshot.watermark.isoformat()
        return frame

    # --- files --------------------------------------------------------------------------------------------------------

    def to_parquet(self, frame: pd.DataFrame, path: Path | str) -> Path:
        """Write a frame of this client as Parquet, its receipt beside it; return the receipt's path.

        Raises:
            MissingExtraError: pyarrow is not installed.
            ReceiptError: the frame does not say how it was made.
        """
        return files.export(frame, path, FileFormat.PARQUET, self._store, self._catalogue)

    def to_csv(self, frame: pd.DataFrame, path: Path | str) -> Path:
        """Write a frame of this client as CSV, every float64 with all its bits; otherwise as `to_parquet`."""
        return files.export(frame, path, FileFormat.CSV, self._store, self._catalogue)

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """Return a frame as an Arrow table; raise MissingExtraError if pyarrow is not installed."""
        return files.to_arrow(frame)

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _request(self, dataset: Any, features: Sequence[str] | None, **parts: Any) -> Request:  # noqa: ANN401 - checked
        return Request(
            dataset,
            self._catalogue.chosen(features),
            interval_minutes=self._interval_minutes,
            settle=self._settle,
            tick_latency=self._tick_latency,
            **parts,
        )
