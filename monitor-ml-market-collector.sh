#!/usr/bin/env bash
# Says whether the ML Market Collector in the cluster is well. It only looks: it starts no collection, changes nothing.
#
#   monitor-ml-market-collector.sh [options]
#     --context NAME    kubectl context (default: the current one)
#     --hours HOURS     how far back restarts and lost pods count as a problem (default 3)
#     --quiet           print nothing while all is well: for cron
#
# Health, readiness, last tick, feature count against the target, failing checks, recent runs, pods with restarts and
# OOM kills. It asks through the API server's proxy: it needs the rights to get pods and services/proxy. Exit status: 0 all is
# well, 1 something is not (each problem is a line), 2 the cluster cannot be looked at, or bad usage.
set -euo pipefail

readonly NAMESPACE=crypto-data-collection
readonly API=ml-market-collector
context=() hours=3 quiet=''

usage() {
  sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}
give_up() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}
k() { kubectl ${context[@]+"${context[@]}"} --namespace "$NAMESPACE" "$@"; }

while [ $# -gt 0 ]; do
  case $1 in
    --context | --hours)
      [ $# -ge 2 ] || give_up "$1 needs a value"
      case $1 in
        --context) context=(--context "$2") ;;
        --hours) hours=$2 ;;
      esac
      shift 2
      ;;
    --quiet) quiet=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) give_up "unknown argument '$1'; see --help" ;;
  esac
done
case $hours in '' | *[!0-9]*) give_up "--hours $hours: must be a whole number" ;; esac
command -v kubectl >/dev/null || give_up "kubectl is not installed; see https://kubernetes.io/docs/tasks/tools/"
command -v python3 >/dev/null || give_up "python3 is not installed; this script reads JSON with it"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
k get pods --request-timeout=30s --output json >"$work/pods.json" 2>"$work/pods.error" ||
  give_up "the pods of $NAMESPACE cannot be read: $(tr '\n' ' ' <"$work/pods.error")"
# kubectl does not show the body of an answer that is not 200. No --request-timeout: it becomes a parameter of the address.
ask() {
  k get --raw "/api/v1/namespaces/$NAMESPACE/services/$API:http/proxy/$2" >"$work/$1.json" 2>"$work/$1.error" ||
    : >"$work/$1.json"
}
ask health health
ask ready ready
ask serving 'ready?ticks=false'
ask status status

status=0
python3 - "$work" "$hours" >"$work/report" <<'PYTHON' || status=$?
"""Judges what kubectl has written down; prints a report and returns 1 if something is wrong."""
import json, pathlib, sys
from datetime import datetime, timedelta, timezone

work, hours = pathlib.Path(sys.argv[1]), int(sys.argv[2])
now = datetime.now(timezone.utc)
since = now - timedelta(hours=hours)
problems, lines = [], []


def tell(name, text):
    lines.append(f"{name:<12} {text}")


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def answer(part):
    text = (work / f"{part}.json").read_text().strip()
    try:
        return json.loads(text), ""
    except ValueError:
        error = " ".join((work / f"{part}.error").read_text().split()) or "no answer"
        return None, error


health, error = answer("health")
tell("health", f"ok, version {health['version']}" if health else f"no answer: {error}")
if not health:
    problems.append(f"the API does not answer: {error}")

ready, error = answer("ready")
if ready:
    tell("readiness", "; ".join(f"{part['part']}: {part['detail']}" for part in ready["parts"]))
    problems += [f"not ready: {part['part']}: {part['detail']}" for part in ready["parts"] if not part["ok"]]
else:
    serving, _ = answer("serving")
    what = "no good tick for two intervals" if serving else "the database cannot be read, or its schema is of another version"
    tell("readiness", f"not ready: {what}")
    problems.append(f"not ready: {what}")

state, error = answer("status")
if state is None:
    tell("status", f"cannot be read: {error}")
    problems.append("the state of the collector cannot be read: kubectl -n crypto-data-collection logs -l app=ml-market-collector")
else:
    problems += state["problems"]
    runs = state["collections"]
    ticks = [run for run in runs if run["kind"] in ("tick", "api")]
    if ticks:
        tell("last tick", f"{ticks[0]['started_at']}, {ticks[0]['status']}; the next one at {state['next_tick']}")
    else:
        tell("last tick", f"none among the last {len(runs)} collections; the next one at {state['next_tick']}")
    row = state["latest_row"]
    if row:
        tell("features", f"{row['feature_count']} of {row['of']}, target {row['target']}; row of {row['observed_at']}, {row['minutes_old']} min old")
    else:
        tell("features", "no row yet")
    judged = [run for run in runs if run["failed_checks"] is not None]
    failing = judged[0]["failed_checks"] if judged else {}
    tell("checks", f"{len(failing)} failing in the last collection" if judged else "none judged yet")
    for name, what in failing.items():
        lines.append(f"{'':<13}{name}: {what}")
    problems += [f"check {name}: {what}" for name, what in failing.items() if str(what).startswith("error")]
    for position, run in enumerate(runs):
        seconds = "" if run["seconds"] is None else f", {run['seconds']} s"
        failed = run["failed"] or {}
        lost = f", without {', '.join(sorted(failed))}" if failed else ""
        tell("recent runs" if position == 0 else "", f"{run['started_at']} {run['kind']}: {run['status']}{seconds}{lost}")

OURS = ("ml-market-collector", "ml-market-collector-run", "ml-market-collector-code", "ml-market-collector-migrate")
pods = []
for pod in json.loads((work / "pods.json").read_text())["items"]:
    labels = pod["metadata"].get("labels") or {}
    if labels.get("app") in OURS or labels.get("app.kubernetes.io/instance") == "dagster":
        pods.append((pod, labels))
for pod, labels in sorted(pods, key=lambda one: one[0]["metadata"]["name"]):
    name, status = pod["metadata"]["name"], pod["status"]
    containers = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    restarts = sum(one["restartCount"] for one in containers)
    once = labels.get("app") in ("ml-market-collector-run", "ml-market-collector-migrate")
    words = [status.get("phase", "Unknown")]
    if restarts:
        words.append(f"{restarts} restarts")
    for one in containers:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            words.append(waiting["reason"])
            problems.append(f"pod {name}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": "))
        # How it ended last; of a pod that runs once, how it ended.
        ended = ((one.get("lastState") or {}).get("terminated")) or (once and (one.get("state") or {}).get("terminated")) or None
        if ended and (ended.get("exitCode") or ended.get("reason") == "OOMKilled"):
            reason = ended.get("reason", "Error")
            at = ended.get("finishedAt")
            words.append(f"{reason} (exit {ended.get('exitCode')}) at {at}")
            if at and instant(at) >= since:
                memory = ": out of memory, raise its limit" if reason == "OOMKilled" else ""
                problems.append(f"pod {name}: {reason} at {at}{memory}")
    if pod["metadata"].get("deletionTimestamp"):
        words.append("ending")  # its successor is judged
    elif not once and status.get("phase") != "Succeeded":
        conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
        if conditions.get("Ready") != "True":
            words.append("not ready")
            problems.append(f"pod {name} is not ready")
    if status.get("reason"):
        words.append(status["reason"])
    tell("pods" if not any(line.startswith("pods") for line in lines) else "", f"{name}: {', '.join(words)}")
running = {labels.get("app"): 1 for _, labels in pods} | {labels.get("component"): 1 for _, labels in pods}
for label, what in {
    "ml-market-collector": "API (./deploy-ml-market-collector.sh)",
    "ml-market-collector-code": "code location (helm-values.yaml)",
    "dagster-daemon": "daemon, which starts the ticks (helm-values.yaml)",
}.items():
    if label not in running:
        problems.append(f"there is no pod of the {what}")

print("\n".join(lines))
print()
# the same cause shows in more than one place: each line once
for problem in dict.fromkeys(problems):
    print(f"PROBLEM {problem}")
print(f"{len(dict.fromkeys(problems))} problems." if problems else "All is well.")
sys.exit(1 if problems else 0)
PYTHON
case $status in
  0) [ -n "$quiet" ] || cat "$work/report" ;;
  1) cat "$work/report" ;;
  *) give_up "what the cluster answered could not be judged" ;;
esac
exit "$status"
