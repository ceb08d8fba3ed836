"""What the official Dagster chart makes of `helm-values.yaml`, as far as the tests need it, without the chart.

Belongs here: the instance's configuration, and the environment of the code location's pod. Does not belong here: tests.
Where the chart itself is at hand, a test compares the two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
VALUES = ROOT / "helm-values.yaml"
NAMESPACE = "crypto-data-collection"
RELEASE = "dagster"
#: a kit that starts a real cluster: it has the chart's schema, and a renderer
KIT = Path(os.environ.get("MARKET_ASSETS_K8S_KIT", ROOT.parent / "shared" / "k8s"))
#: the unpacked official chart
CHART = Path(os.environ.get("MARKET_ASSETS_DAGSTER_CHART", ROOT.parent / "shared" / "dagster-chart"))
_HOME = "/opt/dagster/dagster_home"


def load_values() -> dict[str, Any]:
    """Return the values as they are written."""
    values: dict[str, Any] = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    return values


def user_deployment(values: dict[str, Any]) -> dict[str, Any]:
    """Return the one user-code deployment."""
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    found: dict[str, Any] = deployment
    return found


def image_of(part: dict[str, Any]) -> str:
    """Return the name of an image, as a pod has it."""
    return f"{part['repository']}:{part['tag']}"


def instance_config(values: dict[str, Any]) -> dict[str, Any]:
    """Return what the chart writes into `dagster.yaml`."""
    postgres, daemon = values["postgresql"], values["dagsterDaemon"]
    storage = {
        "postgres_db": {
            "username": postgres["postgresqlUsername"],
            "password": {"env": "DAGSTER_PG_PASSWORD"},
            "hostname": postgres["postgresqlHost"],
            "db_name": postgres["postgresqlDatabase"],
            "port": 5432,
            "params": {},
            "scheme": postgres["postgresqlScheme"],
        }
    }
    monitoring = daemon["runMonitoring"]
    pools, runs = values["concurrency"]["pools"], values["concurrency"]["runs"]
    scheduler = values["scheduler"]["config"]["daemonScheduler"]
    return {
        "scheduler": {
            "module": "dagster._core.scheduler",
            "class": "DagsterDaemonScheduler",
            "config": {
                "max_catchup_runs": scheduler["maxCatchupRuns"],
                "max_tick_retries": scheduler["maxTickRetries"],
            },
        },
        "schedule_storage": _postgres("schedule_storage", "PostgresScheduleStorage", storage),
        "run_storage": _postgres("run_storage", "PostgresRunStorage", storage),
        "event_log_storage": _postgres("event_log", "PostgresEventLogStorage", storage),
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": _launcher(values)},
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_use_threads": True, "dequeue_num_workers": 4},
        },
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 300,
            "max_runtime_seconds": monitoring["maxRuntimeSeconds"],
            "max_resume_run_attempts": 0,
            "poll_interval_seconds": monitoring["pollIntervalSeconds"],
            "free_slots_after_run_end_seconds": monitoring["freeSlotsAfterRunEndSeconds"],
        },
        "run_retries": {
            "enabled": True,
            "max_retries": daemon["runRetries"]["maxRetries"],
            "retry_on_asset_or_op_failure": daemon["runRetries"]["retryOnAssetOrOpFailure"],
        },
        "sensors": {"use_threads": True, "num_workers": 4},
        "schedules": {"use_threads": True, "num_workers": 4},
        "telemetry": {"enabled": values["telemetry"]["enabled"]},
        "retention": {
            "schedule": {"purge_after_days": values["retention"]["schedule"]["purgeAfterDays"]},
            "sensor": {"purge_after_days": values["retention"]["sensor"]["purgeAfterDays"]},
            "auto_materialize": {"purge_after_days": {"failure": -1, "skipped": 7, "started": -1, "success": -1}},
        },
        "concurrency": {
            "pools": {"default_limit": pools["defaultLimit"], "granularity": pools["granularity"]},
            "runs": {"max_concurrent_runs": runs["maxConcurrentRuns"]},
        },
    }


def _postgres(module: str, name: str, storage: dict[str, Any]) -> dict[str, Any]:
    return {"module": f"dagster_postgres.{module}", "class": name, "config": storage}


def _launcher(values: dict[str, Any]) -> dict[str, Any]:
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    raw = launcher["runK8sConfig"]
    return {
        "load_incluster_config": True,
        "job_namespace": NAMESPACE,
        "image_pull_policy": launcher["imagePullPolicy"],
        "service_account_name": RELEASE,
        "dagster_home": _HOME,
        "instance_config_map": f"{RELEASE}-instance",
        "postgres_password_secret": "dagster-postgresql-secret",
        "volume_mounts": launcher["volumeMounts"],
        "volumes": launcher["volumes"],
        "labels": launcher["labels"],
        "resources": launcher["resources"],
        "fail_pod_on_run_failure": launcher["failPodOnRunFailure"],
        "security_context": launcher["securityContext"],
        "run_k8s_config": {
            "container_config": raw["containerConfig"],
            "pod_spec_config": raw["podSpecConfig"],
            "job_spec_config": raw["jobSpecConfig"],
        },
    }


def code_arguments(values: dict[str, Any], address: str, port: int) -> list[str]:
    """Return the command of the code location's container, listening on another address."""
    arguments = user_deployment(values)["dagsterApiGrpcArgs"]
    return ["dagster", "api", "grpc", "-h", address, "-p", str(port), "--fixed-server-id", "tests", *arguments]


@dataclass(frozen=True, slots=True)
class Objects:
    """ConfigMaps and Secrets of a namespace: name to key to value."""

    config_maps: dict[str, dict[str, str]]
    secrets: dict[str, dict[str, str]]

    def environment(self, container: dict[str, Any]) -> dict[str, str]:
        """Return a container's environment as a kubelet makes it; KeyError: what a reference names does not exist."""
        found: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            for kind, objects in (("configMapRef", self.config_maps), ("secretRef", self.secrets)):
                if kind in source:
                    name, optional = source[kind]["name"], source[kind].get("optional", False)
                    found |= objects.get(name, {}) if optional else objects[name]
        for entry in container.get("env") or []:
            reference = entry.get("valueFrom") or {}
            if "secretKeyRef" in reference:
                named = reference["secretKeyRef"]
                found[entry["name"]] = self.secrets[named["name"]][named["key"]]
            elif "configMapKeyRef" in reference:
                named = reference["configMapKeyRef"]
                found[entry["name"]] = self.config_maps[named["name"]][named["key"]]
            else:
                found[entry["name"]] = entry["value"]
        return found


def code_environment(values: dict[str, Any], objects: Objects) -> dict[str, str]:
    """Return the environment of the code location's container."""
    deployment = user_deployment(values)
    container = {
        "env": [
            {"name": "DAGSTER_CURRENT_IMAGE", "value": image_of(deployment["image"])},
            {
                "name": "DAGSTER_PG_PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "dagster-postgresql-secret", "key": "postgresql-password"}},
            },
            *deployment["env"],
        ],
        "envFrom": [
            *({"configMapRef": source} for source in deployment["envConfigMaps"]),
            *({"secretRef": source} for source in deployment["envSecrets"]),
        ],
    }
    return {"DAGSTER_HOME": _HOME} | objects.environment(container)
