"""The market-asset collector: traditional-market features for crypto models, correct as they could be known then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market_assets.client import FeatureStore as FeatureStore

__all__ = ["FeatureStore"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import the client when it is asked for: `import market_assets` itself loads nothing."""
    if name == "FeatureStore":
        from market_assets.client import FeatureStore  # noqa: PLC0415

        return FeatureStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
