"""The HTTP API and the page for people: reads the store, and asks Dagster to collect.

Belongs here: everything that speaks HTTP. Does not belong here: formulas, SQL, assets; nothing here imports Dagster. It
needs the extra `market-assets[api]`.
"""

from __future__ import annotations
