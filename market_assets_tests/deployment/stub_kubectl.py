"""A `kubectl` that keeps a small cluster in a directory and writes down each call: what the scripts are tested against.

Belongs here: the answers to what the scripts ask. Does not belong here: Kubernetes. It is started with the directory in
$STUB_CLUSTER: `calls` gets a line of JSON per call; `objects/<kind>/<name>.json` are the objects; `answers.json` says
what else differs from a cluster that is well.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

CLUSTER = Path(os.environ["STUB_CLUSTER"])
OBJECTS = CLUSTER / "objects"
_WITH_VALUE = {"--namespace", "--context", "--output", "--selector", "--filename", "--timeout", "--tail", "--sort-by"}
_WITH_VALUE |= {"--field-selector"}


def main(words: list[str]) -> int:
    options: dict[str, str] = {}
    rest: list[str] = []
    given = iter(words)
    for word in given:
        if word in _WITH_VALUE:
            options[word] = next(given)
        elif word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            options[name] = value
        elif word.startswith("--") and word != "--raw":
            options[word] = ""
        else:
            rest.append(word)
    with (CLUSTER / "calls").open("a") as calls:
        calls.write(json.dumps([*rest, *(f"{name}={value}" for name, value in options.items())]) + "\n")
    answers: dict[str, Any] = json.loads((CLUSTER / "answers.json").read_text())
    verb = rest[0]
    if verb == "kustomize":
        print(Path(answers["manifests"]).read_text())
        return 0
    if answers.get("down"):
        return refuse("The connection to the server 127.0.0.1:6443 was refused")
    return {"get": get, "create": create, "apply": apply, "delete": delete, "rollout": rollout}.get(verb, nothing)(
        rest[1:], options, answers
    )


def refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def nothing(_rest: list[str], _options: dict[str, str], _answers: dict[str, Any]) -> int:
    return 0


def stored(kind: str, name: str) -> Path:
    return OBJECTS / kind / f"{name}.json"


def get(rest: list[str], options: dict[str, str], answers: dict[str, Any]) -> int:
    if rest[0] == "--raw":
        path = rest[1].partition(":http/proxy/")[2]
        if path not in answers["http"]:
            return refuse(
                "Error from server (ServiceUnavailable): the server is currently unable to handle the request"
            )
        print(json.dumps(answers["http"][path]))
        return 0
    if rest[0] == "pods":
        print(json.dumps({"items": answers.get("pods", [])}))
        return 0
    if len(rest) == 1:  # a list of deployments or events
        return 0
    kind, name = rest
    if not stored(kind, name).exists():
        return refuse(f'Error from server (NotFound): {kind} "{name}" not found')
    found = json.loads(stored(kind, name).read_text())
    output = options.get("--output", "name")
    if output.startswith("go-template"):
        print("\n".join(key for key, value in found["data"].items() if value))
    elif output.startswith("jsonpath={.status"):
        print(answers["migration"])
    elif output.startswith("jsonpath"):
        print(json.dumps(found["data"]))
    elif output == "yaml":
        print(json.dumps(found))
    else:
        print(f"{kind}/{name}")
    return 0


def create(rest: list[str], _options: dict[str, str], _answers: dict[str, Any]) -> int:
    put("secret", rest[2], {"API_TOKEN": sys.stdin.read()})
    return 0


def put(kind: str, name: str, data: dict[str, str]) -> None:
    stored(kind, name).parent.mkdir(parents=True, exist_ok=True)
    stored(kind, name).write_text(json.dumps({"data": data}))


def apply(_rest: list[str], options: dict[str, str], answers: dict[str, Any]) -> int:
    if options.get("--dry-run") == "server":
        return refuse("error: unknown field spec.foo") if answers.get("refused") else 0
    text = Path(options["--filename"]).read_text()
    selector = options.get("--selector", "")
    for document in text.split("\n---\n"):
        kind = re.search(r"(?m)^kind: (\S+)", document)
        name = re.search(r"(?m)^  name: (\S+)", document)
        assert kind is not None and name is not None  # noqa: PT018
        of_migration = "component: migration" in document
        if (selector == "app.kubernetes.io/component=migration") <= of_migration:
            data = {"text": document} if kind[1] == "ConfigMap" else {}
            put(kind[1].lower(), name[1], data)
            print(f"{kind[1].lower()}/{name[1]} configured")
    return 0


def delete(rest: list[str], _options: dict[str, str], _answers: dict[str, Any]) -> int:
    stored(rest[0], rest[1]).unlink(missing_ok=True)
    return 0


def rollout(rest: list[str], _options: dict[str, str], answers: dict[str, Any]) -> int:
    return refuse("error: timed out waiting for the condition") if rest[0] == "status" and answers.get("stuck") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
