"""Dagster instances on real storage, and what Dagster's UI would show of them.

Belongs here: making an instance, asking its GraphQL, counting its rows. Does not belong here: runs, assertions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_graphql.schema import create_schema
from sqlalchemy.engine import make_url

from market_assets.definitions import build_definitions
from market_assets.settings import Settings
from market_assets_tests.fakes import indicators_of, small_universe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: two ETFs of one indicator and a crypto reference: every kind of asset and check, at a fifth of the cost
UNIVERSE = small_universe(("QQQ", "SPY", "BTC"))
_SCHEMA = create_schema()
_ASSETS = """
query Assets($days: [String!]!) {
  assetNodes {
    assetKey { path }
    partitionStats { numPartitions numMaterialized numFailed numMaterializing }
    assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } }
    latestMaterializationByPartition(partitions: $days) {
      partition runId timestamp stepStats { status startTime endTime } metadataEntries { label }
    }
    assetMaterializations(limit: 1) { partition runId timestamp }
    assetChecksOrError { ... on AssetChecks { checks {
      name
      executionForLatestMaterialization {
        id runId status timestamp partition run { id status } evaluation { success severity timestamp description }
      }
      partitionStatuses { ... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } } }
    } } }
  }
}"""
_LIVE = """
query Live($keys: [AssetKeyInput!]!) {
  assetsLatestInfo(assetKeys: $keys) {
    assetKey { path }
    latestMaterialization { runId timestamp partition }
    unstartedRunIds inProgressRunIds latestRun { id status }
  }
}"""
#: with the variables of one asset and partition filled in, for one question about all of them
_EXECUTION = """
%s: assetCheckExecutions(assetKey: {path: %s}, checkName: "%s", limit: 1%s) {
  id runId status timestamp partition evaluation { success severity timestamp }
}"""
_LATEST_RUN = """
%s: assetNodeOrError(assetKey: {path: %s}) { ... on AssetNode { latestRunForPartition(partition: "%s") { id status } } }
"""
RUN = """
query Run($run: ID!) {
  runOrError(runId: $run) { __typename ... on Run {
    status startTime endTime eventConnection(limit: 1000) { events { __typename } }
  } }
}"""


@dg.definitions
def location() -> dg.Definitions:
    """The code location whose state is asked for; its assets are those of a `Collector` of `UNIVERSE`."""
    return build_definitions(settings=Settings.load(), universe=UNIVERSE, indicators=indicators_of(UNIVERSE))


@contextmanager
def instance_at(home: Path, postgresql: str | None = None) -> Iterator[dg.DagsterInstance]:
    """Open the instance of `home`, on SQLite or in the (existing) PostgreSQL database of the given URL."""
    home.mkdir(exist_ok=True)
    storage = ""
    if postgresql is not None:
        url = make_url(postgresql).set(drivername="postgresql").render_as_string(hide_password=False)
        storage = f'storage: {{postgres: {{postgres_url: "{url}"}}}}\n'
    (home / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{storage}")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def ask(instance: dg.DagsterInstance, query: str, **variables: Any) -> dict[str, Any]:
    """Answer a query of Dagster's UI."""
    with _ui(instance) as answer:
        return answer(query, **variables)


def shown(instance: dg.DagsterInstance, days: list[str], *, afresh: bool = True) -> dict[str, Any]:
    """Return what the UI shows as the state of every asset, partition and check.

    Dagster keeps what it has worked out of partitions; with `afresh` it must work it out again.
    """
    storage: Any = instance.event_log_storage
    keys = sorted(instance.get_asset_keys())
    if afresh:
        for key in keys:
            storage.wipe_asset_cached_status(key)
    inputs = [{"path": list(key.path)} for key in keys]
    with _ui(instance) as answer:
        assets = answer(_ASSETS, days=days)["assetNodes"]
        live = answer(_LIVE, keys=inputs)["assetsLatestInfo"]
        asked = [
            (asset["assetKey"]["path"], check["name"], f', partition: "{day}"' if day else "")
            for asset in assets
            for check in asset["assetChecksOrError"].get("checks", [])
            for day in [None, *days]
        ]
        parts = [
            _EXECUTION % (f"c{number}", json.dumps(path), check, partition)
            for number, (path, check, partition) in enumerate(asked)
        ]
        parts += [
            _LATEST_RUN % (f"r{number}_{place}", json.dumps(key["path"]), day)
            for number, key in enumerate(inputs)
            for place, day in enumerate(days)
        ]
        each = answer("{" + "".join(parts) + "}")
    return {"assets": assets, "live": live, "each": each}


@contextmanager
def _ui(instance: dg.DagsterInstance) -> Iterator[Callable[..., dict[str, Any]]]:
    origin = LoadableTargetOrigin(executable_path=sys.executable, module_name=__name__, attribute="location")
    with ExitStack() as stack:
        with warnings.catch_warnings():
            # of Dagster, about what it asks of its own schedules
            warnings.simplefilter("ignore", DeprecationWarning)
            context = stack.enter_context(in_process_test_workspace(instance, origin))

        def answer(query: str, **variables: Any) -> dict[str, Any]:
            context.loaders.clear()
            result = asyncio.run(_SCHEMA.execute_async(query, context_value=context, variable_values=variables))
            assert not result.errors, result.errors
            data: dict[str, Any] = result.data
            return data

        yield answer


def rows(instance: dg.DagsterInstance) -> dict[str, int]:
    """Return how many rows Dagster's tables of events have."""
    storage: Any = instance.event_log_storage
    tables = ("event_logs", "asset_event_tags", "asset_check_executions")
    with storage.index_connection() as connection:
        return {name: connection.execute(sa.text(f"SELECT COUNT(*) FROM {name}")).scalar_one() for name in tables}  # noqa: S608


def run_files(home: Path) -> dict[str, int]:
    """Return the sizes of the runs' files, by run; nothing where the events are in PostgreSQL."""
    return {path.stem: path.stat().st_size for path in home.glob("history/runs/*.db") if path.stem != "index"}
