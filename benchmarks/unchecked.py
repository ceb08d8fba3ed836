"""The same collection with its asset checks left out: what they cost is what it takes less.

Belongs here: taking the checks out of the graph, events and all. Does not belong here: measuring, and the collection
(`collect.py`).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from unittest import mock

import dagster as dg

from benchmarks import collect
from market_assets import definitions
from market_assets.assets import features, indicators, tickers
from market_assets.automation.jobs import COLLECT_JOB, build_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator


def _jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """Return the jobs, of which `collect` has no check with a step of its own."""
    without = dg.AssetSelection.all() - dg.AssetSelection.all_asset_checks()
    others = [job for job in build_jobs() if job.name != COLLECT_JOB]
    return [dg.define_asset_job(COLLECT_JOB, selection=without), *others]


def _no_specs(_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return []


def _no_results(*_: object) -> Iterator[dg.AssetCheckResult]:
    return iter(())


def main() -> None:
    """Collect as `collect.py` does, without a check."""
    with ExitStack() as patched:
        patched.enter_context(mock.patch.object(definitions, "build_jobs", _jobs))
        for module, what in ((tickers, "ticker"), (indicators, "indicator"), (features, "feature")):
            patched.enter_context(mock.patch.object(module, f"{what}_check_specs", _no_specs))
            patched.enter_context(mock.patch.object(module, f"{what}_check_results", _no_results))
        collect.main()


if __name__ == "__main__":
    main()
