"""What can be asked of the client by name, and what each name stands on.

Belongs here: the names, their definitions' hashes, and the tickers behind them. Does not belong here: values.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from market_assets.columns import (
    CORRELATION_COLUMNS,
    METRICS,
    VIX_FEAR_INDEX,
    VIX_FEAR_INDEX_SOURCE,
    feature_columns,
    metric_column,
)
from market_assets.crypto_join import CORRELATION_SESSIONS
from market_assets.errors import FeatureRequestError
from market_assets.features import definition_hash
from market_assets.indicators import INDICATORS
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from market_assets.indicators import Indicator
    from market_assets.universe import Universe

_CORRELATION_DEFINITION = (
    "Pearson correlation of daily log total returns of the crypto reference and the ticker over {sessions} sessions, "
    "crypto sampled at the ticker's session close"
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every name that can be asked for in one universe."""

    universe: Universe
    indicators: tuple[Indicator, ...]

    @classmethod
    def whole(cls) -> Catalogue:
        """Return the catalogue of the documented universe."""
        return cls(UNIVERSE, tuple(INDICATORS))

    @property
    def features(self) -> tuple[str, ...]:
        """Columns of the feature row, in order: the default."""
        return feature_columns(self.universe, self.indicators)

    @property
    def correlations(self) -> dict[str, str]:
        """Correlation columns, each with its ticker; their values are per crypto symbol."""
        return {column: ticker for column, ticker in CORRELATION_COLUMNS.items() if ticker in self.universe}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name."""
        alias = (VIX_FEAR_INDEX,) if VIX_FEAR_INDEX_SOURCE in self.features else ()
        return (*self.features, *self.correlations, *alias)

    def chosen(self, features: Sequence[str] | None) -> tuple[str, ...]:
        """Return the names asked for, None meaning the whole feature row; refuse unknown and repeated ones."""
        if features is None:
            return self.features
        if isinstance(features, str):
            raise TypeError(f"features={features!r} is a str; pass a list of names such as [{features!r}]")
        if isinstance(features, AbstractSet):
            raise TypeError("features is a set, whose order is chance; pass a list of names")
        features = tuple(features)
        known = self.names
        for name in features:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else "FeatureStore.features lists the names"
                raise FeatureRequestError(f"features: {name!r} is no feature; {hint}")
        if len(set(features)) != len(features):
            twice = next(name for name in features if features.count(name) > 1)
            raise FeatureRequestError(f"features: {twice!r} is named twice; name each feature once")
        return tuple(map(str, features))

    def tickers_of(self, name: str) -> tuple[str, ...]:
        """Return the feature tickers whose bars go into a value; a correlation also needs its crypto reference's."""
        if name in self.correlations:
            return (self.correlations[name],)
        name = stored_name(name)
        for indicator in self.indicators:
            if indicator.column == name:
                return indicator.inputs
        for ticker in self.universe.features:
            if name.startswith(f"{ticker.column_prefix}_") and name.removeprefix(f"{ticker.column_prefix}_") in METRICS:
                return (ticker.name,)
        raise KeyError(name)

    def price_columns(self, tickers: Collection[str]) -> tuple[str, ...]:
        """Return the price columns of `tickers`, in order."""
        return tuple(metric_column(one, "price") for one in self.universe.features if one.name in tickers)

    def definition(self, name: str) -> str:
        """Return a short hash that changes when the definition of a column does."""
        if name in self.correlations:
            ticker = self.universe[self.correlations[name]]
            text = _CORRELATION_DEFINITION.format(sessions=CORRELATION_SESSIONS)
            parts = (text, ticker.yahoo_symbol, ticker.venue, ticker.feed_lag, ticker.inverted)
            return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]
        return definition_hash(stored_name(name), self.universe, self.indicators)


def stored_name(name: str) -> str:
    """Return the column of the feature row that a name stands for."""
    return VIX_FEAR_INDEX_SOURCE if name == VIX_FEAR_INDEX else name
