"""The Python client: feature rows and training sets for the person who trains models.

Belongs here: reading the log of versions without leaking what was not known yet. Does not belong here: collecting,
Dagster, the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market_assets.client.feature_store import FeatureStore as FeatureStore

__all__ = ["FeatureStore"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import the client when it is asked for: it writes receipts, and receipts read requests, which are of here."""
    if name == "FeatureStore":
        from market_assets.client.feature_store import FeatureStore  # noqa: PLC0415

        return FeatureStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
