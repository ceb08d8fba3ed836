"""Deploy to a real cluster by the scripts alone, collect, break things, and look: `make test-cluster`.

Needs root, the kit (MARKET_ASSETS_K8S_KIT) and the unpacked official chart (MARKET_ASSETS_DAGSTER_CHART). Steps may be
named: `python -m market_assets_tests.cluster deploy collect source`. Writes what was measured to `cluster.json`.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from market_assets_tests.cluster.kubernetes import Usage, api, items, k, kit, run, run_pods, sql, use, wait_for
from market_assets_tests.deployment.chart import (
    CHART,
    KIT,
    NAMESPACE,
    RELEASE,
    ROOT,
    VALUES,
    image_of,
    load_values,
    user_deployment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
IMAGE = image_of(user_deployment(load_values())["image"])
BASE = Path("/tmp/python-base.tar")  # noqa: S108 - the kit's advice: made once per machine
STATE = Path("/tmp/k8s-kit")  # noqa: S108 - the kit's own default
DATA = Path("/tmp/market-assets-cluster")  # noqa: S108 - the databases' files; removed at the end
measured: dict[str, Any] = {}


def say(text: str) -> None:
    """Tell how far it has come."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Measure a step in seconds."""
    say(f"{what} ...")
    began = time.monotonic()
    yield
    measured[what] = round(time.monotonic() - began, 1)
    say(f"{what}: {measured[what]} s")


# --- steps ------------------------------------------------------------------------------------------------------------


def step_image() -> None:
    """Build the image, and stand-ins for the two that the chart's init containers come from."""
    kit("deps")
    kit("base-image", str(BASE))
    with timed("build the image"):
        kit("build", str(ROOT), IMAGE, "--format", "docker")
    measured["image MB"] = int(run("podman", "image", "inspect", "--format", "{{.Size}}", IMAGE)) // 1_000_000
    for name, tag in (
        ("databases-image", "docker.io/library/postgres:14.6"),
        ("lookup-image", "docker.io/busybox:1.28"),
    ):
        if subprocess.run(["podman", "image", "exists", tag], check=False).returncode:
            kit("build", str(HERE / name), tag)


def step_up() -> None:
    """Start the cluster and load the images."""
    with timed("start the cluster"):
        use(kit("up").strip())
    with timed("load the image"):
        kit("load", IMAGE)
    kit("load", "docker.io/library/postgres:14.6", "docker.io/busybox:1.28")


def step_site() -> None:
    """Make what a site has already: databases, the namespace, ConfigMap and Secrets."""
    run("kubectl", "apply", "-f", str(HERE / "databases.yaml"))
    words = {name: secrets.token_urlsafe(16) for name in ("dagster", "collector")}
    pairs = [f"--from-literal={name}={word}" for name, word in words.items()]
    run("kubectl", "-n", "databases", "create", "secret", "generic", "passwords", *pairs)
    run("kubectl", "create", "namespace", NAMESPACE)
    example = (ROOT / "deploy/examples/centralized-db.yaml").read_text(encoding="utf-8")
    k("apply", "-f", "-", given=example.split("\n---\n")[0])  # the ConfigMap
    user = ["--from-literal=mysql-user=collector", f"--from-literal=mysql-password={words['collector']}"]
    k("create", "secret", "generic", "centralized-db-secrets", *user)
    password = f"--from-literal=postgresql-password={words['dagster']}"
    k("create", "secret", "generic", "dagster-postgresql-secret", password)
    run("kubectl", "-n", "databases", "wait", "--for=condition=available", "deployment", "--all", "--timeout=180s")


def step_deploy() -> None:
    """Deploy the API by the script, twice, and Dagster by the chart."""
    script = [str(ROOT / "deploy-ml-market-collector.sh"), "--overlay", str(HERE / "overlay")]
    with timed("deploy-ml-market-collector.sh"):
        run(*script)
    run(*script)
    with timed("Dagster is ready"):
        chart = run(str(KIT / "render"), str(CHART), RELEASE, NAMESPACE, str(VALUES))
        k("apply", "-f", "-", given=chart)
        for deployment in items("deployments"):
            k("rollout", "status", f"deployment/{deployment['metadata']['name']}", "--timeout=420s")


def step_collect() -> None:
    """The first collection, by POST /collect through the Service, and what the monitor says of it."""
    with timed("first collection, POST to end"):
        run_id = post_collect()
        collected(run_id)
    created, first = instant_of(run_pods()[run_id]), sql("select unix_timestamp(min(known_from)) from market_bars")
    measured["Job created to first bar stored, s"] = round(float(first[0][0]) - created.timestamp(), 1)
    row = wait_for("the feature row", lambda: api("status")["latest_row"], 60)
    assert row["target_met"], row
    wait_for("a monitor that says healthy", lambda: monitor()[0] == 0, 120)


def step_tick() -> None:
    """The schedule ticks by itself; its run pod succeeds."""

    def tick() -> dict[str, Any] | None:
        runs: list[dict[str, Any]] = api("status")["collections"]
        return next((one for one in runs if one["kind"] == "tick" and one["status"] == "ok"), None)

    found = wait_for("a tick", tick, 1500)
    measured["tick, s"] = found["seconds"]


def step_cleanup() -> None:
    """Finished Jobs go away, with their pods."""

    def gone() -> bool:
        jobs = items("jobs", "-l", "dagster/job")
        times = [job["status"]["completionTime"] for job in jobs if "completionTime" in job.get("status", {})]
        return all((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds() < 700 for at in times)

    wait_for("finished Jobs to be deleted", gone, 300)


def step_down() -> None:
    """Leave nothing behind."""
    kit("down")
    run("rm", "-rf", str(DATA))


# --- faults -----------------------------------------------------------------------------------------------------------


def fault_run_pod() -> None:
    """The run pod is killed in mid-run: the run is started again, and ends well."""
    run_id = post_collect()
    pod = wait_for("its pod", lambda: run_pods().get(run_id))
    name = pod["metadata"]["name"]
    wait_for("a step that has ended", lambda: "STEP_SUCCESS" in k("logs", name))
    before = set(run_pods())
    with timed("run pod killed, to its successor's end"):
        k("delete", "pod", name, "--grace-period=0", "--force")
        again = wait_for("another run", lambda: (set(run_pods()) - before) or None, 300)
        collected(again.pop())


def fault_daemon() -> None:
    """The daemon is killed: another takes over, and runs what is asked for."""
    with timed("daemon killed, to the end of a collection asked for at once"):
        k("delete", "pod", "-l", "component=dagster-daemon", "--grace-period=0", "--force")
        collected(post_collect())


def fault_storage() -> None:
    """Dagster's PostgreSQL is restarted: webserver and daemon come back by themselves."""
    with timed("PostgreSQL restarted, to the end of the next collection"):
        run("kubectl", "-n", "databases", "rollout", "restart", "deployment/postgresql")
        run("kubectl", "-n", "databases", "rollout", "status", "deployment/postgresql", "--timeout=120s")
        collected(wait_for("a collection that can be asked for", post_collect, 300))


def fault_source() -> None:
    """Yahoo is away for two collections: they fail and say so; the next one makes up for it."""
    k("scale", "deployment/yahoo-simulator", "--replicas=0")
    wait_for("no simulator", lambda: not items("pods", "-l", "app=yahoo-simulator"))
    for _ in range(2):
        assert collected(post_collect(), wanted={"failed", "partial"})
    status, report = monitor()
    assert status == 1, report
    assert "the last collection did not succeed" in report, report
    k("scale", "deployment/yahoo-simulator", "--replicas=1")
    k("rollout", "status", "deployment/yahoo-simulator", "--timeout=120s")
    with timed("source back, to the end of the next collection"):
        collected(post_collect())


def fault_secret() -> None:
    """A key of the Secret is gone: the pod waits, the monitor names the key; put back, the same run goes on."""
    secret = json.loads(k("get", "secret", "centralized-db-secrets", "--output", "json"))
    word = secret["data"]["mysql-password"]
    k(
        "patch",
        "secret",
        "centralized-db-secrets",
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/data/mysql-password"}]',
    )
    run_id = post_collect()
    wait_for("the monitor to name the key", lambda: "mysql-password" in monitor()[1], 180)
    again = [{"op": "add", "path": "/data/mysql-password", "value": word}]
    with timed("key put back, to the end of the run that waited"):
        k("patch", "secret", "centralized-db-secrets", "--type=json", "-p", json.dumps(again))
        collected(run_id)


def step_whole() -> None:
    """No row is lost or doubled, and every served row comes out of the log again."""
    doubled = sql("select count(*), count(distinct ticker, `interval`, bar_start) from market_bars")[0]
    assert doubled[0] == doubled[1], doubled
    step = api("status")["interval_minutes"]
    times = [row[0] for row in sql("select observed_at from ml_features order by 1")]
    instants = [datetime.fromisoformat(text) for text in times]
    gaps = {int((later - earlier).total_seconds() // 60) for earlier, later in pairwise(instants)}
    assert gaps <= {step}, f"feature rows are not {step} minutes apart: {gaps}"
    out = k("exec", "deployment/ml-market-collector", "--", "market-assets", "verify", "replay")
    measured["verify replay"] = " ".join(out.split()[-12:])
    measured["feature rows"] = len(times)


# --- parts ------------------------------------------------------------------------------------------------------------


def post_collect() -> str:
    """POST /collect through the Service, with the token of the Secret; return the run's id."""
    command = ["kubectl", "-n", NAMESPACE, "port-forward", "service/ml-market-collector", ":8000"]
    forward = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert forward.stdout is not None
        line = forward.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found is not None, line
        encoded = k("get", "secret", "ml-market-collector-api", "-o", "go-template={{.data.API_TOKEN | base64decode}}")
        request = urllib.request.Request(
            f"http://127.0.0.1:{found[1]}/collect",
            method="POST",
            headers={"Authorization": f"Bearer {encoded.strip()}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - loopback
                answer = json.load(response)
        except OSError as error:
            raise AssertionError(f"POST /collect: {error}") from error
        return str(answer["run_id"])
    finally:
        forward.terminate()
        forward.wait()


def collected(run_id: str, wanted: frozenset[str] | set[str] = frozenset({"ok"})) -> dict[str, Any]:
    """Wait until a collection has ended as `wanted`; return what the API says of it."""

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = api(f"collect/{run_id}")
        return answer if answer["status"] not in {"queued", "running"} else None

    found: dict[str, Any] = wait_for(f"the end of run {run_id}", ended, 600)
    assert found["status"] in wanted, found
    return found


def monitor() -> tuple[int, str]:
    """Return what the monitor says."""
    script = str(ROOT / "monitor-ml-market-collector.sh")
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def instant_of(thing: dict[str, Any]) -> datetime:
    """Return when an object was created."""
    return datetime.fromisoformat(thing["metadata"]["creationTimestamp"])


STEPS: dict[str, Callable[[], None]] = {
    "image": step_image,
    "up": step_up,
    "site": step_site,
    "deploy": step_deploy,
    "collect": step_collect,
    "tick": step_tick,
    "cleanup": step_cleanup,
    "run-pod": fault_run_pod,
    "daemon": fault_daemon,
    "storage": fault_storage,
    "source": fault_source,
    "secret": fault_secret,
    "whole": step_whole,
    "down": step_down,
}


def main(names: list[str]) -> int:
    """Run the steps of these names, or all of them; the cluster stays up if one fails, to be looked at."""
    for needed in (KIT / "cluster", CHART / "Chart.yaml"):
        if not needed.is_file():
            print(f"{needed} is missing; name its folder in MARKET_ASSETS_K8S_KIT or MARKET_ASSETS_DAGSTER_CHART")
            return 2
    if (STATE / "kubeconfig").exists():
        use(str(STATE / "kubeconfig"))
    with Usage() as usage:
        try:
            for name in names or list(STEPS):
                say(f"== {name}")
                STEPS[name]()
        finally:
            measured["peaks"] = usage.peaks()
            (ROOT / "cluster.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            print(json.dumps(measured, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
