"""What `helm-values.yaml` configures, at work: code location, webserver, daemon, and runs as Kubernetes Jobs.

The instance's configuration and every environment are made from the values; the Jobs go to an API server of the tests,
which runs their commands with exactly the environment that their references give them. Dagster's storage is a real
PostgreSQL, the market database a real MariaDB.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.engine import make_url

from market_assets.api.launch import GraphQLLauncher, RunState
from market_assets.settings import Settings
from market_assets.store import Store
from market_assets_tests.databases import MARIADB, POSTGRESQL, empty_database
from market_assets_tests.deployment.chart import (
    NAMESPACE,
    Objects,
    code_arguments,
    code_environment,
    image_of,
    instance_config,
    load_values,
    user_deployment,
)
from market_assets_tests.deployment.kubernetes_api import KubernetesApi
from market_assets_tests.integration.programs import _real_time_simulator, wait_until, yahoo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets.sources.simulator import SimulatorServer

__all__ = ["_real_time_simulator", "yahoo"]

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

BIN = Path(sys.executable).parent
VALUES = load_values()
LAUNCHER = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
SECRET = "a-pass-word-that-nobody-may-see"  # noqa: S105 - of a database that ends with the test
_PATIENCE = 180.0


@dataclass(frozen=True)
class Site:
    """A running deployment."""

    api: KubernetesApi
    launcher: GraphQLLauncher
    directory: Path
    market_url: str
    home: Path

    def state(self, run_id: str) -> RunState | None:
        return asyncio.run(self.launcher.state(run_id))

    def collect(self) -> str:
        """Ask for a collection of today as POST /collect does; return the run."""

        async def ask() -> str:
            # a client of its own in each event loop
            return await GraphQLLauncher(self.launcher.url).launch(datetime.now(UTC).date().isoformat())

        return asyncio.run(ask())

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(BIN / arguments[0]), *arguments[1:]],
            env=environment,
            cwd=log.parent,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(scope="module")
def site(_real_time_simulator: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        storage = make_url(stack.enter_context(empty_database(POSTGRESQL, directory)))
        market_url = stack.enter_context(empty_database(MARIADB, directory))
        market = make_url(market_url)
        store = Store.connect(market)
        store.migrate()
        # the collector's own user, with a password
        store.close()
        engine = sa.create_engine(market, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE OR REPLACE USER collector IDENTIFIED BY '{SECRET}'")
            connection.exec_driver_sql(f"GRANT ALL ON {market.database}.* TO collector")

        home = directory / "home"
        home.mkdir()
        objects = Objects(
            config_maps={
                "centralized-db-config": {
                    "MYSQL_HOST": str(market.host),
                    "MYSQL_PORT": str(market.port),
                    "MYSQL_DATABASE": str(market.database),
                },
                "ml-market-collector-config": {
                    "YAHOO_BASE_URL": _real_time_simulator.url,
                    "YFINANCE_REQUEST_DELAY": "0",
                },
            },
            secrets={
                "centralized-db-secrets": {"mysql-user": "collector", "mysql-password": SECRET},
                "dagster-postgresql-secret": {"postgresql-password": str(storage.password or "none")},
            },
        )
        # what an image and a pod bring: everything else comes from the values
        machine = {"PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": str(directory)}

        def in_pod(container: dict[str, Any]) -> dict[str, str]:
            # the home directory stands in for the mounted ConfigMap of the instance
            return machine | objects.environment(container) | {"DAGSTER_HOME": str(home)}

        api = stack.enter_context(KubernetesApi(in_pod, directory))
        config = instance_config(VALUES)
        for part in ("run_storage", "event_log_storage", "schedule_storage"):
            # where this PostgreSQL is; password, driver and classes are the values'
            config[part]["config"] = {
                "postgres_db": config[part]["config"]["postgres_db"]
                | {
                    "username": storage.username,
                    "db_name": storage.database,
                    "hostname": storage.host or "localhost",
                    "params": dict(storage.query),
                }
            }
        config["run_launcher"]["config"] |= {
            "load_incluster_config": False,
            "kubeconfig_file": str(api.kubeconfig(directory / "kubeconfig")),
        }
        config["run_monitoring"]["poll_interval_seconds"] = 2
        (home / "dagster.yaml").write_text(yaml.safe_dump(config))

        code_port, web_port = free_port(), free_port()
        workspace = directory / "workspace.yaml"
        name = user_deployment(VALUES)["name"]
        grpc = {"host": "127.0.0.1", "port": code_port, "location_name": name}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": grpc}]}))
        code = machine | code_environment(VALUES, objects) | {"DAGSTER_HOME": str(home)}
        system = machine | {"DAGSTER_HOME": str(home), "DAGSTER_PG_PASSWORD": code["DAGSTER_PG_PASSWORD"]}

        stack.enter_context(started(code_arguments(VALUES, "127.0.0.1", code_port), code, directory / "code.log"))
        # the probe that the values give the pod
        probe = [
            word.replace("3030", str(code_port)) for word in user_deployment(VALUES)["startupProbe"]["exec"]["command"]
        ]
        wait_until(
            lambda: subprocess.run(probe, env=machine, capture_output=True, check=False).returncode == 0,
            "the code location answers its probe",
            _PATIENCE,
        )
        arguments = ["dagster-webserver", "-h", "127.0.0.1", "-p", str(web_port), "-w", str(workspace)]
        stack.enter_context(started(arguments, system, directory / "webserver.log"))
        url = f"http://127.0.0.1:{web_port}"
        wait_until(lambda: answers(f"{url}/server_info"), "the webserver answers", _PATIENCE)
        stack.enter_context(started(["dagster-daemon", "run", "-w", str(workspace)], system, directory / "daemon.log"))
        yield Site(api, GraphQLLauncher(f"{url}/graphql"), directory, market_url, home)


def finished(site: Site, run_id: str) -> RunState | None:
    def over() -> bool:
        return asyncio.run(GraphQLLauncher(site.launcher.url).state(run_id)) in {RunState.DONE, RunState.FAILED}

    wait_until(over, f"run {run_id} ends", _PATIENCE)
    return asyncio.run(GraphQLLauncher(site.launcher.url).state(run_id))


@pytest.fixture(scope="module")
def collected(site: Site) -> tuple[str, dict[str, Any]]:
    """One collection through queue, daemon, launcher and Job: the run, and the Job as it was posted."""
    run_id = site.collect()
    state = finished(site, run_id)
    (job,) = [one for one in site.api.jobs if run_id in one["metadata"]["name"]]
    assert state is RunState.DONE, site.api.output(job["metadata"]["name"])
    return run_id, job


def test_a_run_is_a_job_that_kubernetes_takes(collected: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    _, job = collected
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    done = subprocess.run(
        [str(BIN / "kubernetes-validate"), "--strict", "-k", "1.32", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert job["metadata"].get("namespace", NAMESPACE) == NAMESPACE


def test_the_job_is_what_the_values_ask_for(collected: tuple[str, dict[str, Any]]) -> None:
    run_id, job = collected
    spec, raw = job["spec"], LAUNCHER["runK8sConfig"]
    assert spec["ttlSecondsAfterFinished"] == raw["jobSpecConfig"]["ttlSecondsAfterFinished"]
    assert spec["activeDeadlineSeconds"] == raw["jobSpecConfig"]["activeDeadlineSeconds"]
    assert spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == "ml-market-collector-runs"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == raw["podSpecConfig"]["securityContext"]
    labels = spec["template"]["metadata"]["labels"]
    assert labels["app"] == "ml-market-collector-run"
    assert labels["dagster/run-id"] == run_id
    (container,) = pod["containers"]
    assert container["image"] == image_of(user_deployment(VALUES)["image"])
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["resources"] == LAUNCHER["resources"]
    assert container["securityContext"] == LAUNCHER["securityContext"]
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    # the instance's configuration comes with the arguments, not as a file
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {"/tmp": "tmp", "/opt/dagster/dagster_home": "dagster-home"}  # noqa: S108 - the pod's own
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(volumes) == len(set(volumes)), "Kubernetes refuses a name that comes twice"
    assert set(mounts.values()) == set(volumes)


def test_the_jobs_environment_is_references_and_holds_no_secret(collected: tuple[str, dict[str, Any]]) -> None:
    _, job = collected
    (container,) = job["spec"]["template"]["spec"]["containers"]
    database = user_deployment(VALUES)["env"]
    ours = [entry for entry in container["env"] if entry["name"].startswith("MYSQL_")]
    assert ours == database
    names = [entry["name"] for entry in container["env"]]
    assert len(names) == len(set(names))
    assert container["envFrom"] == LAUNCHER["runK8sConfig"]["containerConfig"]["envFrom"]
    assert SECRET not in json.dumps(job)


def test_the_run_stored_every_feature_in_the_database_of_the_references(
    site: Site, collected: tuple[str, dict[str, Any]]
) -> None:
    run_id, _ = collected
    store = Store.connect(site.market_url)
    try:
        record = store.runs.collection(run_id)
        assert record is not None
        assert record.status == "ok"
        assert record.summary["features"]["feature_count"] >= Settings.load().ml_feature_count_target
        assert store.source() == "simulator"
    finally:
        store.close()


def test_a_lost_run_pod_is_run_again_to_a_good_end(site: Site) -> None:
    """The pod is killed in mid-run: monitoring notices, the run is started again as a whole, and succeeds."""
    run_id = site.collect()
    wait_until(lambda: any(run_id in job["metadata"]["name"] for job in site.api.jobs), "its Job", _PATIENCE)
    name = next(job["metadata"]["name"] for job in site.api.jobs if run_id in job["metadata"]["name"])
    wait_until(lambda: "STEP_SUCCESS" in site.api.output(name), "a step has ended", _PATIENCE)
    before = len(site.api.jobs)
    site.api.kill(name)
    assert finished(site, run_id) is RunState.FAILED
    wait_until(lambda: len(site.api.jobs) > before, "another Job", _PATIENCE)
    again = site.api.jobs[before]["spec"]["template"]["metadata"]["labels"]["dagster/run-id"]
    assert again != run_id
    assert finished(site, again) is RunState.DONE, site.api.output(site.api.jobs[before]["metadata"]["name"])


def test_no_secret_is_in_any_log_or_in_the_instances_configuration(
    site: Site, collected: tuple[str, dict[str, Any]]
) -> None:
    assert collected
    assert SECRET not in site.logs()
    assert SECRET not in (site.home / "dagster.yaml").read_text()
