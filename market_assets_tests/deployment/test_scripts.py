"""The two scripts at the top level do what they say, and nothing else: against a kubectl that writes down each call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from market_assets_tests.deployment.chart import ROOT

STUB = Path(__file__).with_name("stub_kubectl.py")
DEPLOY, MONITOR = ROOT / "deploy-ml-market-collector.sh", ROOT / "monitor-ml-market-collector.sh"
CONFIG = {"MYSQL_HOST": "db", "MYSQL_PORT": "3306", "MYSQL_DATABASE": "crypto"}
SECRETS = {"mysql-user": "dXNlcg==", "mysql-password": "c2VjcmV0LXdvcmQ="}
#: verbs that change nothing
LOOKS = {"get", "kustomize", "logs"}


class Cluster:
    """A stub cluster that is well, until a test says otherwise."""

    def __init__(self, directory: Path, manifests: Path) -> None:
        self.directory = directory
        self.answers: dict[str, Any] = {"manifests": str(manifests), "migration": "Complete", "http": well()}
        (directory / "bin").mkdir()
        program = directory / "bin" / "kubectl"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{STUB}" "$@"\n')
        program.chmod(0o755)
        self.put("namespace", "crypto-data-collection", {})
        self.put("configmap", "centralized-db-config", CONFIG)
        self.put("secret", "centralized-db-secrets", SECRETS)
        self.put("secret", "dagster-postgresql-secret", {"postgresql-password": "cGc="})
        self.answers["pods"] = [
            pod("ml-market-collector-1", app="ml-market-collector"),
            pod("dagster-daemon-1", component="dagster-daemon", instance="dagster"),
            pod("code-1", app="ml-market-collector-code", instance="dagster"),
        ]

    def put(self, kind: str, name: str, data: dict[str, str]) -> None:
        path = self.directory / "objects" / kind / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"data": data}))

    def remove(self, kind: str, name: str) -> None:
        (self.directory / "objects" / kind / f"{name}.json").unlink()

    def has(self, kind: str, name: str) -> bool:
        return (self.directory / "objects" / kind / f"{name}.json").exists()

    def run(self, script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.directory / "answers.json").write_text(json.dumps(self.answers))
        (self.directory / "calls").write_text("")
        path = f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", str(script), *arguments],
            env={"PATH": path, "STUB_CLUSTER": str(self.directory), "HOME": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.directory / "calls").read_text().splitlines()]

    @property
    def changes(self) -> list[str]:
        """The calls that changed something, in short."""
        return [
            " ".join(word for word in call if not word.startswith("--") or word.startswith("--selector"))
            for call in self.calls
            if call[0] not in LOOKS and call[:2] != ["rollout", "status"] and "--dry-run=server" not in call
        ]


def pod(
    name: str,
    *,
    phase: str = "Running",
    status: dict[str, Any] | None = None,
    instance: str | None = None,
    app: str | None = None,
    component: str | None = None,
) -> dict[str, Any]:
    named = {"app.kubernetes.io/instance": instance, "app": app, "component": component}
    labels = {key: value for key, value in named.items() if value is not None}
    container = {"name": "main", "restartCount": 0, "state": {"running": {}}} | (status or {})
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {
            "phase": phase,
            "containerStatuses": [container],
            "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}],
        },
    }


def well() -> dict[str, Any]:
    run = {
        "run_id": "r1",
        "kind": "tick",
        "status": "ok",
        "started_at": "2026-01-30T15:31:05Z",
        "seconds": 21.5,
        "failed": {},
        "failed_checks": {},
    }
    row = {
        "observed_at": "2026-01-30T15:30:00Z",
        "feature_count": 58,
        "of": 58,
        "target": 35,
        "minutes_old": 4,
    }
    ready = {"ready": True, "parts": [{"part": "ticks", "ok": True, "detail": "the last good tick began 15:31"}]}
    return {
        "health": {"status": "ok", "version": "0.1.0"},
        "ready": ready,
        "ready?ticks=false": ready,
        "status": {
            "problems": [],
            "next_tick": "2026-01-30T16:01:00Z",
            "latest_row": row,
            "collections": [run],
        },
    }


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which has kustomize, is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "deploy/overlays/production")]
    path = tmp_path_factory.mktemp("manifests") / "production.yaml"
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return path


@pytest.fixture
def cluster(tmp_path: Path, manifests: Path) -> Cluster:
    return Cluster(tmp_path, manifests)


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    checker = str(Path(sys.executable).with_name("shellcheck"))
    done = subprocess.run([checker, str(DEPLOY), str(MONITOR)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# --- deploy -----------------------------------------------------------------------------------------------------------


def test_deploying_migrates_first_and_then_applies_the_rest(cluster: Cluster) -> None:
    done = cluster.run(DEPLOY)
    assert done.returncode == 0, done.stderr
    assert cluster.changes == [
        "create secret generic ml-market-collector-api",
        "delete job ml-market-collector-migrate",
        "apply --selector=app.kubernetes.io/component=migration",
        "apply --selector=app!=ml-market-collector-migrate",
    ]
    for said in ("helm upgrade --install dagster", "monitor-ml-market-collector.sh", "8080:8000", "/collect"):
        assert said in done.stdout


def test_the_token_is_random_long_enough_and_never_an_argument(cluster: Cluster) -> None:
    done = cluster.run(DEPLOY)
    path = cluster.directory / "objects/secret/ml-market-collector-api.json"
    token = json.loads(path.read_text())["data"]["API_TOKEN"]
    assert len(token) >= 40
    assert token not in done.stdout + done.stderr
    assert not any(token in word for call in cluster.calls for word in call)
    path.unlink()
    cluster.run(DEPLOY)
    assert json.loads(path.read_text())["data"]["API_TOKEN"] != token


def test_deploying_twice_keeps_the_token_and_restarts_nobody(cluster: Cluster) -> None:
    cluster.run(DEPLOY)
    token = (cluster.directory / "objects/secret/ml-market-collector-api.json").read_text()
    again = cluster.run(DEPLOY)
    assert again.returncode == 0, again.stderr
    assert (cluster.directory / "objects/secret/ml-market-collector-api.json").read_text() == token
    assert not any("restart" in change or "create" in change for change in cluster.changes)


def test_changed_settings_restart_whoever_reads_them(cluster: Cluster) -> None:
    cluster.run(DEPLOY)
    cluster.put("configmap", "ml-market-collector-config", {"text": "from before"})
    done = cluster.run(DEPLOY)
    assert done.returncode == 0, done.stderr
    assert "rollout restart deployment/ml-market-collector" in cluster.changes
    assert "rollout restart deployment --selector=app=ml-market-collector-code" in cluster.changes


def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    done = cluster.run(DEPLOY, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert cluster.changes == []
    assert "nothing was changed" in done.stdout


def test_everything_that_is_missing_is_named_at_once_and_nothing_is_changed(cluster: Cluster) -> None:
    cluster.put("configmap", "centralized-db-config", CONFIG | {"MYSQL_DATABASE": ""})
    cluster.put("secret", "centralized-db-secrets", {"mysql-user": "dXNlcg=="})
    cluster.remove("secret", "dagster-postgresql-secret")
    done = cluster.run(DEPLOY)
    assert done.returncode == 1
    assert "configmap centralized-db-config has no key MYSQL_DATABASE, or it is empty" in done.stderr
    assert "secret centralized-db-secrets has no key mysql-password" in done.stderr
    assert "secret dagster-postgresql-secret is missing" in done.stderr
    assert cluster.changes == []


def test_a_namespace_that_is_missing_is_told_with_the_command_that_makes_it(cluster: Cluster) -> None:
    cluster.remove("namespace", "crypto-data-collection")
    done = cluster.run(DEPLOY)
    assert done.returncode == 1
    assert "kubectl create namespace crypto-data-collection" in done.stderr
    assert cluster.changes == []


def test_manifests_that_the_cluster_refuses_change_nothing(cluster: Cluster) -> None:
    cluster.answers["refused"] = True
    done = cluster.run(DEPLOY)
    assert done.returncode == 1
    assert "refuses the manifests" in done.stderr
    assert cluster.changes == []


@pytest.mark.parametrize(("outcome", "said"), [("Failed", "the migration failed"), ("", "did not end within 1 s")])
def test_a_migration_that_fails_leaves_the_api_alone(cluster: Cluster, outcome: str, said: str) -> None:
    cluster.answers["migration"] = outcome
    done = cluster.run(DEPLOY, "--timeout", "1")
    assert done.returncode == 1
    assert said in done.stderr
    assert "the API was not touched" in done.stderr
    assert not cluster.has("deployment", "ml-market-collector")


def test_an_api_that_does_not_become_ready_is_rolled_back(cluster: Cluster) -> None:
    cluster.put("deployment", "ml-market-collector", {})
    cluster.put("configmap", "ml-market-collector-config", {"text": "from before"})
    cluster.answers["stuck"] = True
    done = cluster.run(DEPLOY)
    assert done.returncode == 1
    assert cluster.changes[-2].startswith("replace")
    assert cluster.changes[-1] == "rollout undo deployment/ml-market-collector"
    assert "rolled back" in done.stderr


def test_a_first_api_that_does_not_become_ready_is_removed(cluster: Cluster) -> None:
    cluster.answers["stuck"] = True
    done = cluster.run(DEPLOY)
    assert done.returncode == 1
    assert cluster.changes[-1] == "delete deployment ml-market-collector"


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--timeout", "soon"], ["--overlay"]])
def test_bad_usage_is_refused_before_anything_is_asked(cluster: Cluster, arguments: list[str]) -> None:
    done = cluster.run(DEPLOY, *arguments)
    assert done.returncode == 2
    assert cluster.calls == []


# --- monitor ----------------------------------------------------------------------------------------------------------


def test_the_monitor_only_looks(cluster: Cluster) -> None:
    done = cluster.run(MONITOR)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {call[0] for call in cluster.calls} == {"get"}
    assert not any(
        "collect" in word.rpartition("proxy/")[2] for call in cluster.calls for word in call if "proxy/" in word
    )
    for said in ("58 of 58, target 35", "2026-01-30T15:31:05Z, ok", "0 failing", "All is well."):
        assert said in done.stdout


def test_the_monitor_is_silent_for_cron_while_all_is_well(cluster: Cluster) -> None:
    done = cluster.run(MONITOR, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    cluster.answers["http"]["status"]["problems"] = ["12 features are below the target of 35"]
    done = cluster.run(MONITOR, "--quiet")
    assert done.returncode == 1
    assert "PROBLEM 12 features are below the target of 35" in done.stdout


def test_an_api_that_is_away_is_a_problem_and_no_crash(cluster: Cluster) -> None:
    cluster.answers["http"] = {}
    done = cluster.run(MONITOR)
    assert done.returncode == 1
    assert "PROBLEM the API does not answer" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_missed_ticks_are_told_apart_from_a_database_that_is_away(cluster: Cluster) -> None:
    del cluster.answers["http"]["ready"]
    assert "PROBLEM not ready: no good tick for two intervals" in cluster.run(MONITOR).stdout
    del cluster.answers["http"]["ready?ticks=false"]
    assert "PROBLEM not ready: the database cannot be read" in cluster.run(MONITOR).stdout


def test_failing_checks_are_listed_and_only_errors_are_problems(cluster: Cluster) -> None:
    run = cluster.answers["http"]["status"]["collections"][0]
    run["failed_checks"] = {"ticker/GLD bars_are_sane": "warn: a jump"}
    done = cluster.run(MONITOR)
    assert done.returncode == 0
    assert "ticker/GLD bars_are_sane: warn: a jump" in done.stdout
    run["failed_checks"]["ticker/SPY bars_were_fetched"] = "error: timeout"
    done = cluster.run(MONITOR)
    assert done.returncode == 1
    assert "PROBLEM check ticker/SPY bars_were_fetched: error: timeout" in done.stdout


def ended(reason: str, code: int, *, hours_ago: int) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    return {"terminated": {"reason": reason, "exitCode": code, "finishedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ")}}


def test_a_pod_that_ran_out_of_memory_is_a_problem_for_some_hours(cluster: Cluster) -> None:
    def killed(hours: int) -> None:
        state = {"restartCount": 1, "lastState": ended("OOMKilled", 137, hours_ago=hours)}
        cluster.answers["pods"][1] = pod(
            "dagster-daemon-1", component="dagster-daemon", status=state, instance="dagster"
        )

    killed(1)
    done = cluster.run(MONITOR)
    assert done.returncode == 1
    assert "PROBLEM pod dagster-daemon-1: OOMKilled" in done.stdout
    assert "out of memory" in done.stdout
    killed(5)
    done = cluster.run(MONITOR)
    assert done.returncode == 0
    assert "1 restarts" in done.stdout
    assert cluster.run(MONITOR, "--hours", "6").returncode == 1


def test_a_run_pod_that_failed_is_a_problem_and_one_that_ended_well_is_not(cluster: Cluster) -> None:
    label = "ml-market-collector-run"
    fine = pod("run-1", phase="Succeeded", status={"state": ended("Completed", 0, hours_ago=0)}, app=label)
    cluster.answers["pods"].append(fine)
    assert cluster.run(MONITOR).returncode == 0
    cluster.answers["pods"].append(
        pod("run-2", phase="Failed", status={"state": ended("Error", 1, hours_ago=0)}, app=label)
    )
    done = cluster.run(MONITOR)
    assert done.returncode == 1
    assert "PROBLEM pod run-2: Error" in done.stdout


def test_a_secret_key_that_is_missing_is_said_as_kubernetes_says_it(cluster: Cluster) -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "couldn't find key mysql-password"}}
    cluster.answers["pods"].append(
        pod("run-3", phase="Pending", status={"state": waiting}, app="ml-market-collector-run")
    )
    done = cluster.run(MONITOR)
    assert done.returncode == 1
    assert "PROBLEM pod run-3: CreateContainerConfigError: couldn't find key mysql-password" in done.stdout


def test_a_pod_that_makes_way_for_its_successor_is_no_problem(cluster: Cluster) -> None:
    leaving = pod("ml-market-collector-0", phase="Pending", app="ml-market-collector")
    cluster.answers["pods"].append(leaving)
    assert cluster.run(MONITOR).returncode == 1
    leaving["metadata"]["deletionTimestamp"] = "2026-01-30T15:40:00Z"
    done = cluster.run(MONITOR)
    assert done.returncode == 0, done.stdout
    assert "ml-market-collector-0: Pending, ending" in done.stdout


def test_a_daemon_that_is_not_there_is_a_problem(cluster: Cluster) -> None:
    del cluster.answers["pods"][1]
    done = cluster.run(MONITOR)
    assert done.returncode == 1
    assert "there is no pod of the daemon" in done.stdout


def test_a_cluster_that_cannot_be_asked_is_another_exit_status(cluster: Cluster) -> None:
    cluster.answers["down"] = True
    done = cluster.run(MONITOR)
    assert done.returncode == 2
    assert "was refused" in done.stderr
    assert cluster.run(DEPLOY).returncode == 1
