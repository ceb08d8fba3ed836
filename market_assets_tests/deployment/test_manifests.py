"""What kustomize makes of `deploy/` is what Kubernetes takes, and holds to the rules of the house."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from market_assets.settings import Settings
from market_assets_tests.deployment.chart import NAMESPACE, ROOT, load_values, user_deployment

DEPLOY = ROOT / "deploy"
RESOURCES = {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
OVERLAYS = ["development", "production"]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which has kustomize, is not installed"
)


@cache
def built(overlay: str) -> str:
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "overlays" / overlay)], capture_output=True, text=True, check=True
    )
    return done.stdout


def documents(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(built(overlay)))


def one(overlay: str, kind: str, name: str) -> dict[str, Any]:
    (found,) = [doc for doc in documents(overlay) if doc["kind"] == kind and doc["metadata"]["name"] == name]
    return found


def validate(path: Path) -> str:
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    done = subprocess.run([program, "--strict", "-k", "1.32", str(path)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay: str, tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(built(overlay))
    assert validate(path) == ""
    assert len(documents(overlay)) >= 10


def test_an_unknown_field_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    text = (DEPLOY / "base/disruption.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("maxUnavailable", "maxUnavailabel"))
    assert "maxUnavailabel" in validate(path)


def test_the_examples_are_valid_and_say_that_they_are_examples() -> None:
    path = DEPLOY / "examples/centralized-db.yaml"
    assert validate(path) == ""
    assert path.read_text(encoding="utf-8").startswith("# EXAMPLES, not for use")
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for key, value in document.get("stringData", {}).items():
            assert value.startswith("example"), key


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_manifest_brings_a_namespace_or_a_secret(overlay: str) -> None:
    kinds = {doc["kind"] for doc in documents(overlay)}
    # the namespace is shared: `kubectl delete -k` must not take it away from the other collectors
    assert not kinds & {"Namespace", "Secret"}
    assert {doc["metadata"]["namespace"] for doc in documents(overlay)} == {NAMESPACE}


@needs_kubectl
def test_the_api_is_where_operators_look_for_it() -> None:
    deployment, service = (one("production", kind, "ml-market-collector") for kind in ("Deployment", "Service"))
    template = deployment["spec"]["template"]
    assert deployment["metadata"]["labels"]["app"] == template["metadata"]["labels"]["app"] == "ml-market-collector"
    assert service["spec"]["ports"][0]["port"] == 8000
    assert service["spec"]["selector"] == {"app": "ml-market-collector"}
    (container,) = template["spec"]["containers"]
    assert container["resources"] == RESOURCES
    # the pod may serve what is stored before the first tick, and while ticks fail
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready?ticks=false"
    assert yaml.safe_load((DEPLOY / "base/api.yaml").read_text().split("\n---\n")[0])["spec"]["replicas"] == 1


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_locked_down(overlay: str) -> None:
    seen = 0
    for document in documents(overlay):
        if document["kind"] not in {"Deployment", "Job"}:
            continue
        seen += 1
        spec = document["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["image"] == f"registry.example.com/ml-market-collector:{version('market-assets')}"
            assert container["resources"]["limits"]["memory"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    assert seen >= 2


@needs_kubectl
def test_api_and_migration_read_the_database_as_the_runs_do() -> None:
    database = user_deployment(load_values())["env"]
    (api,) = one("production", "Deployment", "ml-market-collector")["spec"]["template"]["spec"]["containers"]
    (migration,) = one("production", "Job", "ml-market-collector-migrate")["spec"]["template"]["spec"]["containers"]
    assert migration["env"] == database
    assert api["env"][:-1] == database
    assert api["env"][-1]["valueFrom"]["secretKeyRef"] == {"name": "ml-market-collector-api", "key": "API_TOKEN"}


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_are_ones_that_the_collector_reads(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = one(overlay, "ConfigMap", "ml-market-collector-config")["data"]
    assert {name.lower() for name in data} - set(Settings.model_fields) == {"dagster_event_batch_size"}
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.source_label == ("simulator" if overlay == "development" else "yahoo")


@needs_kubectl
def test_service_accounts_of_values_and_manifests_are_the_same() -> None:
    accounts = {doc["metadata"]["name"] for doc in documents("production") if doc["kind"] == "ServiceAccount"}
    run = load_values()["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["podSpecConfig"]
    assert run["serviceAccountName"] in accounts
    assert run["automountServiceAccountToken"] is False


@needs_kubectl
def test_network_policies_select_pods_that_exist() -> None:
    values = load_values()
    labels = {
        doc["spec"]["template"]["metadata"]["labels"]["app"]
        for doc in documents("production")
        if "template" in doc.get("spec", {})
    }
    labels |= {
        user_deployment(values)["labels"]["app"],
        values["runLauncher"]["config"]["k8sRunLauncher"]["labels"]["app"],
    }
    selected: set[str] = set()
    for document in documents("production"):
        if document["kind"] == "NetworkPolicy":
            selector = document["spec"]["podSelector"]
            selected |= set(selector.get("matchLabels", {}).values())
            selected |= {value for rule in selector.get("matchExpressions", []) for value in rule["values"]}
    assert selected == labels


@needs_kubectl
def test_the_service_monitor_is_a_component_away(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    production = tmp_path / "deploy/overlays/production/kustomization.yaml"
    production.write_text(re.sub(r"(?m)^# (components:)", r"\1", production.read_text()))
    done = subprocess.run(["kubectl", "kustomize", str(production.parent)], capture_output=True, text=True, check=True)
    (monitor,) = [doc for doc in yaml.safe_load_all(done.stdout) if doc["kind"] == "ServiceMonitor"]
    assert monitor["spec"]["endpoints"][0]["path"] == "/metrics"
    assert monitor["metadata"]["namespace"] == NAMESPACE


def test_the_image_is_built_from_the_lock_and_runs_as_nobody() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes" in lines
    final = lines.split("FROM ")[-1]
    assert "USER 10001:10001" in final
    assert "pip install" not in final
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    lock = (ROOT / "requirements-deploy.txt").read_text(encoding="utf-8")
    # every package but the extra ones is of the version that is tested
    run = dict(re.findall(r"(?m)^([a-z0-9_.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8")))
    image = dict(re.findall(r"(?m)^([a-z0-9_.-]+)==(\S+)", lock))
    assert {name: image[name] for name in run} == run
    assert set(image) - set(run) == {"dagster-postgres", "psycopg2-binary"}
    assert "://" not in lock
