"""The Python client: feature rows and training sets for the person who trains models.

Belongs here: reading the log of versions without leaking what was not known yet. Does not belong here: collecting,
Dagster, the command line.
"""

from market_assets.client.feature_store import FeatureStore

__all__ = ["FeatureStore"]
