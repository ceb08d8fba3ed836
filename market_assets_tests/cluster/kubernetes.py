"""kubectl, the kit that starts a cluster, and what the pods use, as small functions.

Belongs here: asking and telling the cluster. Does not belong here: what is to be seen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from market_assets_tests.deployment.chart import KIT, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

#: cgroup v1, as the kit's containers have them
_CGROUPS = Path("/sys/fs/cgroup")
_ROLES = {
    "dagster api execute_run": "run",
    "dagster-daemon run": "daemon",
    "dagster api grpc": "code location",
    "dagster-webserver -h": "webserver",
    "market-assets serve": "API",
    "market-assets migrate": "migration",
}


def run(*command: str, given: str | None = None) -> str:
    """Run a command and return what it prints; a failure is told with everything that it has printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=given)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def kit(*arguments: str) -> str:
    """Run the kit's own program."""
    return run(str(KIT / "cluster"), *arguments)


def k(*arguments: str, given: str | None = None) -> str:
    """Run kubectl in the collector's namespace."""
    return run("kubectl", "--namespace", NAMESPACE, *arguments, given=given)


def items(*arguments: str) -> list[dict[str, Any]]:
    """Return the objects that `kubectl get` finds."""
    found: list[dict[str, Any]] = json.loads(k("get", *arguments, "--output", "json"))["items"]
    return found


def run_pods() -> dict[str, dict[str, Any]]:
    """Return the pods of runs by the run's id; of two, the newer one."""
    pods = sorted(
        items("pods", "-l", "app=ml-market-collector-run"), key=lambda pod: pod["metadata"]["creationTimestamp"]
    )
    return {pod["metadata"]["labels"]["dagster/run-id"]: pod for pod in pods}


def api(path: str) -> Any:
    """GET an address of the collector's API through its Service."""
    return json.loads(
        k("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/services/ml-market-collector:http/proxy/{path}")
    )


def wait_for(what: str, holds: Callable[[], Any], seconds: float = 240.0) -> Any:
    """Wait until `holds()` is true and return it; what raises AssertionError does not hold yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            found = holds()
        except AssertionError as error:
            last = error
        else:
            if found:
                return found
        time.sleep(1.0)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}; {last or ''}")


def sql(query: str) -> list[list[str]]:
    """Ask the market database; rows of texts."""
    out = run("kubectl", "-n", "databases", "exec", "deploy/mysql", "--", "mariadb", "crypto", "-N", "-B", "-e", query)
    return [line.split("\t") for line in out.splitlines()]


class Usage:
    """Peak memory and CPU of every container of the collector, while it is entered.

    `memory` is the peak of the container's cgroup in MiB, as the kernel counts it against the limit, page cache
    included; `rss` the most that was seen without it.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.containers: dict[str, dict[str, Any]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def peaks(self) -> dict[str, dict[str, float]]:
        """Return the most of each role: memory and rss in MiB, CPU in seconds."""
        found: dict[str, dict[str, float]] = {}
        for one in self.containers.values():
            most = found.setdefault(one["role"], {"memory": 0, "rss": 0, "cpu": 0.0})
            for name in most:
                most[name] = max(most[name], one[name])
        return found

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self._look_at(process)
                except (OSError, ValueError, KeyError):
                    continue  # it has ended

    def _look_at(self, process: Path) -> None:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        role = next((role for words, role in _ROLES.items() if words in command), None)
        if role is None:
            return
        lines = (line.split(":", 2) for line in (process / "cgroup").read_text().splitlines())
        groups = {name: path for _, names, path in lines for name in names.split(",")}
        if "/k8s.io/" not in groups["memory"]:
            return
        memory, cpu = _CGROUPS / "memory" / groups["memory"][1:], _CGROUPS / "cpuacct" / groups["cpuacct"][1:]
        seen = self.containers.setdefault(groups["memory"], {"role": role, "rss": 0})
        found = re.search(r"total_rss (\d+)", (memory / "memory.stat").read_text())
        seen["rss"] = max(seen["rss"], int(found[1]) >> 20 if found else 0)
        seen["memory"] = int((memory / "memory.max_usage_in_bytes").read_text()) >> 20
        seen["cpu"] = round(int((cpu / "cpuacct.usage").read_text()) / 1e9, 1)


def use(kubeconfig: str) -> None:
    """Point kubectl, here and in the scripts, at the kit's cluster."""
    os.environ["KUBECONFIG"] = kubeconfig
