"""Dagster's own UI and daemon over the project: a run and a backfill, launched through GraphQL as the UI does it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from market_assets.api.app import create_app
from market_assets.clock import SystemClock
from market_assets.settings import Settings
from market_assets.sources.simulator import SimulatorServer
from market_assets.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
STATE = """
query State($backfill: String!, $run: ID!) {
  partitionBackfillOrError(backfillId: $backfill) { ... on PartitionBackfill { status runs { runId status } } }
  runOrError(runId: $run) { ... on Run { status } }
}"""
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
CATALOGUE = """
{
  schedulesOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "market_assets"}) {
    ... on Schedules { results { name scheduleState { status } } }
  }
  assetNodes {
    assetKey { path } groupName kinds
    assetMaterializations(limit: 5) {
      partition
      metadataEntries { label ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } }
    }
  }
}"""


class Dagster:
    """A running `dagster dev`, asked as its UI asks it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self._log = process, url, log

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def wait_until_up(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < limit, self._log.read_text()
            try:
                if self.ask("{ assetNodes { id } }")["assetNodes"]:
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.25)

    def stop(self) -> None:
        """Interrupt it as Ctrl-C does; how fast Dagster's own services follow is not what is tested here."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        finally:
            limit = time.monotonic() + 15
            while _group_lives(self.process.pid) and time.monotonic() < limit:
                time.sleep(0.2)
            if _group_lives(self.process.pid):
                os.killpg(self.process.pid, signal.SIGKILL)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def dagster_dev(home: Path, environment: dict[str, str]) -> Iterator[Dagster]:
    """Run `dagster dev` on a free port with `home` as DAGSTER_HOME."""
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    programs = Path(sys.executable).parent
    log = home / "dev.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [programs / "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
            cwd=ROOT,
            env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home), "DAGSTER_HOME": str(home), **environment},
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    dagster = Dagster(process, f"http://127.0.0.1:{port}", log)
    try:
        dagster.wait_until_up(90)
        yield dagster
    finally:
        dagster.stop()


def test_the_ui_materializes_a_day_and_a_range_of_days(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'market.db'}"
    today = datetime.now(UTC).date()
    before = [(today - timedelta(days=days)).isoformat() for days in (2, 1)]
    with SimulatorServer(SystemClock()) as simulator:
        environment = {
            "DATABASE_URL": database,
            "YAHOO_BASE_URL": simulator.url,
            "YFINANCE_REQUEST_DELAY": "0",
            "YAHOO_CACHE_DIR": str(tmp_path / "cache"),
        }
        with dagster_dev(tmp_path, environment) as dagster:
            # a range of one ticker's days, which the daemon turns into one run
            keys = [{"path": ["tick"]}, {"path": ["ticker", "SLV"]}]
            started = dagster.ask(BACKFILL, {"params": {"assetSelection": keys, "partitionNames": before}})
            backfill = started["launchPartitionBackfill"]
            assert backfill["__typename"] == "LaunchBackfillSuccess", backfill
            # and, meanwhile, today's partition of everything
            selector = {
                "repositoryName": "__repository__",
                "repositoryLocationName": "market_assets",
                "pipelineName": "collect",
            }
            tags = [{"key": "dagster/partition", "value": today.isoformat()}]
            params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
            launched = dagster.ask(LAUNCH, {"params": params})["launchPipelineExecution"]
            assert launched["__typename"] == "LaunchRunSuccess", launched

            ids = {"backfill": backfill["backfillId"], "run": launched["run"]["runId"]}
            state = wait_for_both(dagster, ids, seconds=150)
            assert state["runOrError"]["status"] == "SUCCESS"
            assert [run["status"] for run in state["partitionBackfillOrError"]["runs"]] == ["SUCCESS"]
            seen = dagster.ask(CATALOGUE)
            asked_by_the_api(dagster, database, ids["run"])

    assert {
        one["name"]: one["scheduleState"]["status"] for one in seen["schedulesOrError"]["results"]
    } == dict.fromkeys(("collect_tick", "settle", "rebuild_stale_features", "replay", "purge_runs"), "RUNNING")
    nodes = {"/".join(node["assetKey"]["path"]): node for node in seen["assetNodes"]}
    assert nodes["ticker/SLV"]["groupName"] == "commodities"
    assert set(nodes["ticker/SLV"]["kinds"]) == {"yfinance", "table"}
    partitions = {name: {one["partition"] for one in node["assetMaterializations"]} for name, node in nodes.items()}
    assert all(today.isoformat() in partitions[name] for name in nodes), partitions
    assert partitions["ticker/SLV"] >= set(before)
    shown = {
        entry["label"]: entry.get("intValue", entry.get("mdStr"))
        for entry in nodes["ml_features"]["assetMaterializations"][0]["metadataEntries"]
    }
    assert shown["feature_count"] >= 35
    assert "| observed_at | feature_count |" in shown["preview"]
    store = Store.connect(database)
    try:
        kinds = {(run.kind, run.status) for run in store.runs.last_collections(5)}
        assert {("ad_hoc", "ok"), ("api", "ok")} <= kinds
        assert {status for _, status in kinds} == {"ok"}
        assert store.source() == "simulator"
    finally:
        store.close()


def asked_by_the_api(dagster: Dagster, database: str, earlier: str) -> None:
    """Collect once more through `POST /collect`, which asks Dagster's webserver."""
    token = "a token of this test"  # noqa: S105
    settings = Settings.load(
        database_url=database,
        api_token=token,
        dagster_graphql_url=f"{dagster.url}/graphql",
        dagster_ui_url=dagster.url,
    )
    bearer = {"Authorization": f"Bearer {token}"}
    with TestClient(create_app(settings)) as client:
        assert client.get(f"/collect/{earlier}").json()["status"] == "ok"
        started = client.post("/collect", headers=bearer)
        assert started.status_code == 202, started.text
        run = started.json()
        assert run["run_url"] == f"{dagster.url}/runs/{run['run_id']}"
        again = client.post("/collect", headers=bearer).json()
        assert (again["run_id"], again["already_running"]) == (run["run_id"], True)
        limit = time.monotonic() + 90
        while (told := client.get(run["status_url"]).json())["status"] in {"queued", "running"}:
            assert time.monotonic() < limit, told
            time.sleep(0.2)
        assert told["status"] == "ok", told
        assert len(told["tickers"]) == 19
        assert {one["status"] for one in told["tickers"].values()} == {"stored"}
        assert client.get("/collect/11111111-2222-4333-8444-555555555555").status_code == 404
        assert client.get("/ml-features").json()["feature_count"] >= 35


def wait_for_both(dagster: Dagster, ids: dict[str, str], *, seconds: float) -> dict[str, Any]:
    """Wait until the backfill's runs and the run have ended, and return their state."""
    limit = time.monotonic() + seconds
    while True:
        state = dagster.ask(STATE, ids)
        # the daemon calls a backfill completed half a minute after its last run
        runs = [run["status"] for run in state["partitionBackfillOrError"]["runs"]]
        if runs and {*runs, state["runOrError"]["status"]} <= {"SUCCESS", "FAILURE", "CANCELED"}:
            return state
        assert time.monotonic() < limit, state
        time.sleep(0.5)
