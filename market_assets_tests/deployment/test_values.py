"""`helm-values.yaml` is what the official chart understands, and agrees with the rest of the deployment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from market_assets_tests.deployment.chart import (
    CHART,
    KIT,
    NAMESPACE,
    RELEASE,
    ROOT,
    VALUES,
    code_arguments,
    image_of,
    instance_config,
    load_values,
    user_deployment,
)

needs_kit = pytest.mark.skipif(
    not (KIT / "check_values.py").is_file(),
    reason=f"no chart schema at {KIT}; name its folder in MARKET_ASSETS_K8S_KIT",
)
needs_chart = pytest.mark.skipif(
    not ((KIT / "render").is_file() and (CHART / "Chart.yaml").is_file()),
    reason=f"no chart at {CHART} (MARKET_ASSETS_DAGSTER_CHART), or no renderer at {KIT} (MARKET_ASSETS_K8S_KIT)",
)
RESOURCES = {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}}


@cache
def rendered() -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(KIT / "render"), str(CHART), RELEASE, NAMESPACE, str(VALUES)], capture_output=True, text=True, check=True
    )
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [doc for doc in rendered() if doc["kind"] == kind and doc["metadata"]["name"] == name]
    return found


@needs_kit
def test_the_values_fit_the_charts_schema_and_name_no_key_that_it_does_not_know() -> None:
    done = subprocess.run(
        [sys.executable, str(KIT / "check_values.py"), str(VALUES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 schema errors, 0 unknown keys" in done.stdout


@needs_kit
def test_a_typing_error_in_the_values_is_found(tmp_path: Path) -> None:
    # The schema itself takes it, and the chart would render a pod without a command.
    wrong = tmp_path / "values.yaml"
    wrong.write_text(VALUES.read_text(encoding="utf-8").replace("dagsterApiGrpcArgs:", "dagsterApiGrpcArg:"))
    done = subprocess.run(
        [sys.executable, str(KIT / "check_values.py"), str(wrong)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "dagsterApiGrpcArg" in done.stdout


@needs_kit
def test_every_value_differs_from_the_charts_default() -> None:
    defaults = yaml.safe_load((KIT / "helm" / "values.yaml").read_text(encoding="utf-8"))

    def same(ours: object, theirs: object, path: str) -> list[str]:
        if isinstance(ours, dict) and isinstance(theirs, dict) and ours:
            return [
                found
                for key, value in ours.items()
                if key in theirs
                for found in same(value, theirs[key], f"{path}.{key}")
            ]
        return [path] if ours == theirs else []

    # an anchor is one mapping: what it repeats is told once
    assert [path for path in same(load_values(), defaults, "") if not re.search(r"[pP]robe\.", path)] == []


@needs_chart
def test_the_chart_renders_the_instance_that_the_launcher_test_runs_with() -> None:
    made = yaml.safe_load(one("ConfigMap", "dagster-instance")["data"]["dagster.yaml"])
    assert made == json.loads(json.dumps(instance_config(load_values())))


@needs_chart
def test_the_chart_renders_the_code_location_that_the_launcher_test_starts() -> None:
    deployment = one("Deployment", "dagster-dagster-user-deployments-market-assets")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ours = code_arguments(load_values(), "0.0.0.0", 3030)  # noqa: S104 - what the chart listens on
    theirs = container["args"]
    assert [word for word in theirs if not re.fullmatch(r"[0-9a-f]{64}", word)] == [w for w in ours if w != "tests"]
    names = [entry["name"] for entry in container["env"]]
    assert names[:2] == ["DAGSTER_CURRENT_IMAGE", "DAGSTER_PG_PASSWORD"]
    assert container["env"][2:] == user_deployment(load_values())["env"]


@needs_chart
def test_the_rendered_chart_is_valid_and_every_pod_of_it_is_locked_down(tmp_path: Path) -> None:
    path = tmp_path / "chart.yaml"
    path.write_text(yaml.safe_dump_all(rendered()))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "-k", "1.32", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    deployments = [doc for doc in rendered() if doc["kind"] == "Deployment"]
    assert len(deployments) == 3
    for deployment in deployments:
        spec = deployment["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@needs_chart
def test_nothing_secret_is_rendered() -> None:
    assert [doc["metadata"]["name"] for doc in rendered() if doc["kind"] == "Secret"] == []


@needs_chart
def test_the_settings_name_the_service_that_the_chart_makes_for_the_webserver() -> None:
    service = one("Service", "dagster-dagster-webserver")
    (port,) = service["spec"]["ports"]
    settings = yaml.safe_load((ROOT / "deploy/base/settings.yaml").read_text(encoding="utf-8"))
    assert settings["data"]["DAGSTER_GRAPHQL_URL"] == f"http://{service['metadata']['name']}:{port['port']}/graphql"


def test_the_chart_is_of_the_locked_version_of_dagster() -> None:
    named = re.findall(r"--version (\S+)", VALUES.read_text(encoding="utf-8"))
    named += re.findall(r"--version (\S+)", (ROOT / "deploy-ml-market-collector.sh").read_text(encoding="utf-8"))
    assert set(named) == {version("dagster")}


def test_one_image_of_one_tag_serves_everything() -> None:
    values = load_values()
    parts = [values["dagsterWebserver"], values["dagsterDaemon"], values["pipelineRun"], user_deployment(values)]
    assert {image_of(part["image"]) for part in parts} == {
        f"registry.example.com/ml-market-collector:{version('market-assets')}"
    }


def test_runs_and_code_location_have_the_same_database_settings_and_locks() -> None:
    values = load_values()
    code, launcher = user_deployment(values), values["runLauncher"]["config"]["k8sRunLauncher"]
    run = launcher["runK8sConfig"]
    assert run["containerConfig"]["env"] == code["env"]
    assert [source["configMapRef"] for source in run["containerConfig"]["envFrom"][:1]] == code["envConfigMaps"]
    assert [source["secretRef"] for source in run["containerConfig"]["envFrom"][1:]] == code["envSecrets"]
    assert launcher["resources"] == code["resources"] == RESOURCES
    assert launcher["securityContext"] == code["securityContext"]
    assert run["podSpecConfig"]["securityContext"] == code["podSecurityContext"]
    assert run["podSpecConfig"]["serviceAccountName"] != RELEASE
    monitoring = values["dagsterDaemon"]["runMonitoring"]
    assert run["jobSpecConfig"]["activeDeadlineSeconds"] > monitoring["maxRuntimeSeconds"]


def test_the_values_name_the_postgresql_that_the_example_config_map_names() -> None:
    examples = yaml.safe_load_all((ROOT / "deploy/examples/centralized-db.yaml").read_text(encoding="utf-8"))
    named = {doc["metadata"]["name"]: doc.get("data") or doc["stringData"] for doc in examples}
    config, postgres = named["centralized-db-config"], load_values()["postgresql"]
    assert config["DAGSTER_PG_HOST"] == postgres["postgresqlHost"]
    assert config["DAGSTER_PG_USER"] == postgres["postgresqlUsername"]
    assert config["DAGSTER_PG_DATABASE"] == postgres["postgresqlDatabase"]
    assert config["DAGSTER_PG_PORT"] == "5432"
    assert set(named["dagster-postgresql-secret"]) == {"postgresql-password"}
    for entry in user_deployment(load_values())["env"]:
        reference = entry["valueFrom"].get("configMapKeyRef") or entry["valueFrom"]["secretKeyRef"]
        assert reference["key"] in named[reference["name"]], entry["name"]
