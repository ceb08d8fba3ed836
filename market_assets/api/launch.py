"""Starting a collection: by Dagster's GraphQL, or in a process of its own on this machine.

Belongs here: the two ways, behind one interface. Does not belong here: who may start one, and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import httpx2

from market_assets.errors import MarketAssetsError

if TYPE_CHECKING:
    from market_assets.settings import Settings

#: names of Dagster's that the definitions use; they are not imported, for Dagster takes seconds to import
COLLECT_JOB = "collect"
KIND_TAG, PARTITION_TAG = "market_assets/kind", "dagster/partition"
#: kind of the collections that are started here
API_KIND = "api"
_TIMEOUT = httpx2.Timeout(20.0, connect=5.0)
#: seconds that a collection has for an orderly end when the server stops
_GRACE_SECONDS = 20.0


class LaunchError(MarketAssetsError):
    """A collection could not be started, or asked after."""


class RunState(StrEnum):
    """What is known of a run besides its record in the store."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Launcher(Protocol):
    """A way to start collections."""

    async def running(self, day: str) -> str | None:
        """Return the run that collects the UTC day `day` and is queued or under way; None if there is none."""

    async def launch(self, day: str) -> str:
        """Start collecting a UTC day; return the run's id. Raises LaunchError."""

    async def state(self, run_id: str) -> RunState | None:
        """Return what is known of a run; None: it is unknown here."""

    async def close(self) -> None:
        """End what must not outlive the server."""


def launcher_of(settings: Settings) -> Launcher:
    """Return the way that the settings name."""
    if settings.dagster_graphql_url is not None:
        return GraphQLLauncher(settings.dagster_graphql_url)
    return LocalLauncher()


# --- Dagster's webserver ----------------------------------------------------------------------------------------------

_REPOSITORIES = """
query { repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name } jobs { name } } }
  ... on PythonError { message } } }
"""
_RUNS = """
query($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 1) { __typename
  ... on Runs { results { runId } } ... on PythonError { message } ... on InvalidPipelineRunsFilterError { message } } }
"""
_RUN = """
query($id: ID!) { runOrError(runId: $id) { __typename
  ... on Run { status } ... on RunNotFoundError { message } ... on PythonError { message } } }
"""
_LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on PipelineNotFoundError { message } ... on UnauthorizedError { message } ... on InvalidSubsetError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
_UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED")
_STATES = {
    "QUEUED": RunState.QUEUED,
    "NOT_STARTED": RunState.QUEUED,
    "MANAGED": RunState.QUEUED,
    "STARTING": RunState.QUEUED,
    "STARTED": RunState.RUNNING,
    "CANCELING": RunState.RUNNING,
    "SUCCESS": RunState.DONE,
    "FAILURE": RunState.FAILED,
    "CANCELED": RunState.FAILED,
}


@dataclass(slots=True)
class GraphQLLauncher:
    """Asks Dagster's webserver; its daemon starts the run as it starts the scheduled ones."""

    url: str

    async def running(self, day: str) -> str | None:
        """Return the unfinished run of the collect job for the partition `day`."""
        tags = [{"key": PARTITION_TAG, "value": day}]
        wanted = {"pipelineName": COLLECT_JOB, "statuses": list(_UNFINISHED), "tags": tags}
        found = await self._ask(_RUNS, "runsOrError", "Runs", {"filter": wanted})
        return next((str(run["runId"]) for run in found["results"]), None)

    async def launch(self, day: str) -> str:
        """Launch the collect job, wherever it is loaded."""
        location, repository = await self._where()
        selector = {"repositoryLocationName": location, "repositoryName": repository, "jobName": COLLECT_JOB}
        tags = [{"key": PARTITION_TAG, "value": day}, {"key": KIND_TAG, "value": API_KIND}]
        params = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
        found = await self._ask(_LAUNCH, "launchRun", "LaunchRunSuccess", {"params": params})
        return str(found["run"]["runId"])

    async def state(self, run_id: str) -> RunState | None:
        """Return Dagster's own status."""
        found = await self._ask(_RUN, "runOrError", ("Run", "RunNotFoundError"), {"id": run_id})
        return _STATES.get(found["status"]) if found["__typename"] == "Run" else None

    async def close(self) -> None:
        """Do nothing: the runs are Dagster's."""

    async def _where(self) -> tuple[str, str]:
        found = await self._ask(_REPOSITORIES, "repositoriesOrError", "RepositoryConnection", {})
        for node in found["nodes"]:
            if any(job["name"] == COLLECT_JOB for job in node["jobs"]):
                return node["location"]["name"], node["name"]
        raise LaunchError(
            f"{self.url}: no code location has the job {COLLECT_JOB}; is market_assets.definitions loaded?"
        )

    async def _ask(
        self, query: str, field: str, wanted: str | tuple[str, ...], variables: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
                answer = await client.post(self.url, json={"query": query, "variables": variables})
            answer.raise_for_status()
            body = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise LaunchError(f"DAGSTER_GRAPHQL_URL={self.url}: {type(error).__name__}: {error}") from error
        found: dict[str, Any] | None = (body.get("data") or {}).get(field)
        if found is None or found["__typename"] not in ((wanted,) if isinstance(wanted, str) else wanted):
            told = found or body.get("errors") or body
            raise LaunchError(f"DAGSTER_GRAPHQL_URL={self.url}: {field} failed: {' '.join(str(told).split())[:500]}")
        return found


# --- this machine -----------------------------------------------------------------------------------------------------


class LocalLauncher:
    """Starts `python -m market_assets.api.local_run`: what happens to it does not happen to the server."""

    def __init__(self) -> None:
        """Nothing is under way yet."""
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._day: dict[str, str] = {}

    async def running(self, day: str) -> str | None:
        """Return the run of a process that lives."""
        for run_id, process in self._processes.items():
            if process.returncode is None and self._day[run_id] == day:
                return run_id
        return None

    async def launch(self, day: str) -> str:
        """Start a process; its log goes where the server's goes."""
        run_id = str(uuid.uuid4())
        try:
            # A group of its own: Ctrl-C at a terminal ends the server, which then ends this in order.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "market_assets.api.local_run", run_id, day, start_new_session=True
            )
        except OSError as error:
            raise LaunchError(f"a collection could not be started: {error}") from error
        self._processes[run_id], self._day[run_id] = process, day
        return run_id

    async def state(self, run_id: str) -> RunState | None:
        """Return what the process tells."""
        process = self._processes.get(run_id)
        if process is None:
            return None
        if process.returncode is None:
            return RunState.QUEUED
        return RunState.DONE if process.returncode == 0 else RunState.FAILED

    async def close(self) -> None:
        """Ask what still runs to stop, and wait for it: what was stored is whole."""
        alive = [process for process in self._processes.values() if process.returncode is None]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in alive:
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
