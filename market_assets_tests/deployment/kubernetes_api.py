"""A Kubernetes API on the loopback interface, as far as Dagster's run launcher asks it: Jobs, their pods and events.

Belongs here: keeping Jobs, and running the command of each as a process of this machine, with the environment that a
kubelet would give it. Does not belong here: judging a Job (tests do, and `kubernetes-validate`), rights, scheduling.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_JOBS = re.compile(r"/apis/batch/v1/namespaces/([^/]+)/jobs(?:/([^/?]+)(/status)?)?")
_PODS = re.compile(r"/api/v1/namespaces/([^/]+)/(pods|events)(?:/([^/?]+)(/log)?)?")


class KubernetesApi:
    """Serves while it is entered; `jobs` are the Jobs as they were posted, in order."""

    def __init__(self, environment: Callable[[dict[str, Any]], dict[str, str]], directory: Path) -> None:
        """`environment` makes the variables of a container; processes run in `directory`, which takes their output."""
        self.jobs: list[dict[str, Any]] = []
        self._environment = environment
        self._directory = directory
        self._states: dict[str, dict[str, Any]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(*api.read(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*api.post(self.path, body))

            def do_DELETE(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(*api.delete(self.path))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                pass

            def _answer(self, status: int, body: dict[str, Any] | str) -> None:
                raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "tests",
                    "clusters": [{"name": "tests", "cluster": {"server": url}}],
                    "users": [{"name": "tests", "user": {}}],
                    "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
                }
            )
        )
        return path

    def output(self, name: str) -> str:
        """Return what the process of a Job has printed."""
        log = self._directory / f"{name}.log"
        # A Job is recorded before its process is started.
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def kill(self, name: str) -> None:
        """Kill the process of a Job, as a node that is lost does."""
        self._processes[name].kill()

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Keep a Job and start it."""
        if not _JOBS.fullmatch(path):
            return 404, _not_found(path)
        name = body["metadata"]["name"]
        self.jobs.append(json.loads(json.dumps(body)))
        self._states[name] = body
        body["status"] = {"active": 1, "startTime": _now()}
        (container,) = body["spec"]["template"]["spec"]["containers"]
        with (self._directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*container.get("command", []), *container["args"]],
                env=self._environment(container),
                cwd=self._directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes[name] = process
        threading.Thread(target=self._follow, args=(name, process), daemon=True).start()
        return 201, body

    def read(self, path: str) -> tuple[int, dict[str, Any] | str]:
        """Answer for Jobs, pods, logs and events."""
        if found := _JOBS.match(path):
            name = found[2]
            if name is None:
                return 200, {
                    "kind": "JobList",
                    "apiVersion": "batch/v1",
                    "metadata": {},
                    "items": [*self._states.values()],
                }
            return (200, self._states[name]) if name in self._states else (404, _not_found(name))
        if found := _PODS.match(path):
            if found[4]:
                return 200, self.output(found[3].removesuffix("-pod"))
            kind = "PodList" if found[2] == "pods" else "EventList"
            return 200, {"kind": kind, "apiVersion": "v1", "metadata": {}, "items": []}
        return 404, _not_found(path)

    def delete(self, path: str) -> tuple[int, dict[str, Any]]:
        """Delete a Job: its process is asked to end."""
        found = _JOBS.match(path)
        if found is None or found[2] not in self._states:
            return 404, _not_found(path)
        self._processes[found[2]].terminate()
        del self._states[found[2]]
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}

    def _follow(self, name: str, process: subprocess.Popen[bytes]) -> None:
        succeeded = process.wait() == 0
        state = self._states.get(name)
        if state is not None:
            state["status"] = {
                "startTime": state["status"]["startTime"],
                "succeeded" if succeeded else "failed": 1,
                "conditions": [{"type": "Complete" if succeeded else "Failed", "status": "True"}],
            }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _not_found(what: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": "NotFound",
        "code": 404,
        "message": f"{what} not found",
    }
