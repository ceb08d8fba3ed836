"""The jobs: selections of the asset graph under a name.

Belongs here: job definitions and the tags that say why a run was started. Does not belong here: when they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from market_assets.checks.replayed import REPLAY_CHECK_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

#: tag that says why a run was started: tick, catch_up, settle, rebuild, backfill, quickstart, purge; absent: ad_hoc
KIND_TAG = "market_assets/kind"
#: tag of the runs of a backfill that was launched in Dagster's UI
BACKFILL_TAG = "dagster/backfill"
BACKFILL = "backfill"
#: tag by which the queue of runs lets ticks pass a backfill
PRIORITY_TAG = "dagster/priority"
#: tag by which a person accepts that a source withdrew more than a fifth of a closed day
ACCEPT_DELETIONS_TAG = "market_assets/accept_deletions"

#: Where a run's process can be lost, Dagster starts the run again: all of it, because its steps share their fetches.
_RETRY = {"dagster/retry_strategy": "ALL_STEPS"}

COLLECT_JOB = "collect"
REBUILD_JOB = "rebuild_features"
REPLAY_JOB = "replay"
PURGE_JOB = "purge_runs"


def kind_of(tags: Mapping[str, str]) -> str:
    """Return why a run with these tags was started."""
    return tags.get(KIND_TAG, BACKFILL if BACKFILL_TAG in tags else "ad_hoc")


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """Return `collect` (everything), `rebuild_features` (what is derived from stored bars) and `replay` (a proof)."""
    tickers = dg.AssetSelection.key_prefixes("ticker")
    replayed = dg.AssetSelection.checks(REPLAY_CHECK_KEY)
    return [
        dg.define_asset_job(
            COLLECT_JOB,
            selection=dg.AssetSelection.all() - replayed,
            tags=_RETRY,
            description="Fetch every ticker and compute everything derived, for one UTC day or a range of days.",
        ),
        dg.define_asset_job(
            REBUILD_JOB,
            selection=dg.AssetSelection.all() - tickers - replayed,
            tags=_RETRY,
            description="Compute everything derived again from the stored bars, without asking the source.",
        ),
        dg.define_asset_job(
            REPLAY_JOB,
            selection=replayed,
            description="Compute the rows served yesterday again from the log, as it was known then, and compare bits.",
        ),
    ]
