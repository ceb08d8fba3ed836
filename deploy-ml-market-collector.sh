#!/usr/bin/env bash
# Puts the API of the ML Market Collector into the cluster that kubectl points at, and the database's schema up to date.
#
#   deploy-ml-market-collector.sh [options]
#     --overlay NAME|DIR   production (default), development, or a directory with a kustomization
#     --context NAME       kubectl context (default: the current one)
#     --timeout SECONDS    how long to wait for the migration, and for the API (default 300)
#     --dry-run            check everything, let the API server judge the manifests, change nothing
#
# Checks tools, ConfigMap and Secrets first and names everything that is missing; then migrates; then the API. What
# fails is undone: a failed migration leaves the API as it was, an API that does not become ready is rolled back. Safe
# to run again. Exit status: 0 done, 1 failed, 2 bad usage.
set -euo pipefail

readonly NAMESPACE=crypto-data-collection
readonly API=ml-market-collector
readonly MIGRATION=ml-market-collector-migrate
readonly SETTINGS=ml-market-collector-config
readonly TOKEN=ml-market-collector-api
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

overlay=production timeout=300 dry_run=false context=()

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
usage() {
  sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}
k() { kubectl ${context[@]+"${context[@]}"} --namespace "$NAMESPACE" "$@"; }

while [ $# -gt 0 ]; do
  case $1 in
    --overlay | --context | --timeout)
      [ $# -ge 2 ] || { say "$1 needs a value" >&2; exit 2; }
      case $1 in
        --overlay) overlay=$2 ;;
        --context) context=(--context "$2") ;;
        --timeout) timeout=$2 ;;
      esac
      shift 2
      ;;
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) say "unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
case $timeout in '' | *[!0-9]*) say "--timeout $timeout: must be a number of seconds" >&2; exit 2 ;; esac

# --- what must be there -----------------------------------------------------------------------------------------------

command -v kubectl >/dev/null || fail "kubectl is not installed; see https://kubernetes.io/docs/tasks/tools/"
command -v base64 >/dev/null || fail "base64 is not installed; it is part of GNU coreutils"
[ -d "$overlay" ] || overlay=$here/deploy/overlays/$overlay
[ -f "$overlay/kustomization.yaml" ] || fail "$overlay holds no kustomization.yaml; overlays: $(cd "$here/deploy/overlays" && echo *)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kubectl ${context[@]+"${context[@]}"} kustomize "$overlay" >"$work/all.yaml" ||
  fail "$overlay cannot be rendered"

if ! answer=$(k get namespace "$NAMESPACE" --output name 2>&1); then
  case $answer in
    *NotFound*) fail "there is no namespace $NAMESPACE; make it: kubectl create namespace $NAMESPACE" ;;
    *) fail "the cluster cannot be asked: $answer" ;;
  esac
fi

missing=()
# The keys of an object that hold something: values stay in the cluster.
# shellcheck disable=SC2016 # variables of kubectl's template, not of the shell
readonly KEYS='go-template={{range $key, $value := .data}}{{if $value}}{{$key}}{{"\n"}}{{end}}{{end}}'
# has_keys KIND NAME HINT KEY...
has_keys() {
  local kind=$1 name=$2 hint=$3 found key
  shift 3
  if ! found=$(k get "$kind" "$name" --output "$KEYS" 2>&1); then
    case $found in
      *NotFound*) missing+=("$kind $name is missing: it needs the keys $* ($hint)") ;;
      *) missing+=("$kind $name cannot be read: $found") ;;
    esac
    return
  fi
  for key in "$@"; do
    grep -qxF -- "$key" <<<"$found" || missing+=("$kind $name has no key $key, or it is empty ($hint)")
  done
}
has_keys configmap centralized-db-config "see deploy/examples/centralized-db.yaml" MYSQL_HOST MYSQL_PORT MYSQL_DATABASE
has_keys secret centralized-db-secrets "see deploy/examples/centralized-db.yaml" mysql-user mysql-password
has_keys secret dagster-postgresql-secret "Dagster's own storage; see deploy/examples/centralized-db.yaml" postgresql-password
make_token=false
if k get secret "$TOKEN" --output name >/dev/null 2>&1; then
  has_keys secret "$TOKEN" "delete it, and a new one is made" API_TOKEN
else
  make_token=true
fi
if [ ${#missing[@]} -gt 0 ]; then
  printf 'error: %s\n' "${missing[@]}" >&2
  fail "nothing was changed in the cluster"
fi
say "ConfigMap and Secrets have what is needed."

# The API server judges all of it before anything is changed. A migration that ran before is replaced, not changed.
judged=(--selector "app!=$MIGRATION")
k get job "$MIGRATION" --output name >/dev/null 2>&1 || judged=()
k apply --dry-run=server --filename "$work/all.yaml" ${judged[@]+"${judged[@]}"} >"$work/judged" ||
  fail "the cluster refuses the manifests of $overlay; nothing was changed"
say "The cluster accepts the manifests of $overlay."
if $dry_run; then
  sed 's/^/  /' "$work/judged"
  if $make_token; then say "  secret/$TOKEN would be made, with a random token"; fi
  say "Dry run: nothing was changed."
  exit 0
fi

# --- migration --------------------------------------------------------------------------------------------------------

if $make_token; then
  # by standard input: arguments can be seen by everybody on this machine
  head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' |
    k create secret generic "$TOKEN" --from-file=API_TOKEN=/dev/stdin >/dev/null || fail "secret $TOKEN cannot be made"
  say "Made Secret $TOKEN with a random token."
fi

k delete job "$MIGRATION" --ignore-not-found --wait=true >/dev/null
k apply --filename "$work/all.yaml" --selector app.kubernetes.io/component=migration >/dev/null ||
  fail "the migration cannot be started; the API was not touched"
say "Migrating the database ..."
deadline=$((SECONDS + timeout)) outcome=''
while [ $SECONDS -lt "$deadline" ]; do
  outcome=$(k get job "$MIGRATION" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}')
  case $outcome in *Complete* | *Failed*) break ;; esac
  sleep 2
done
case $outcome in
  *Complete*) say "The schema is of this version." ;;
  *)
    k get pods --selector "app=$MIGRATION" \
      --output 'jsonpath={range .items[*]}{.metadata.name}: {.status.phase} {.status.containerStatuses[*].state.waiting.reason} {.status.containerStatuses[*].state.waiting.message}{"\n"}{end}' >&2 || true
    k logs "job/$MIGRATION" --tail=20 >&2 || true
    case $outcome in
      *Failed*) fail "the migration failed (its log is above); the API was not touched" ;;
      *) fail "the migration did not end within $timeout s; the API was not touched" ;;
    esac
    ;;
esac

# --- the API ----------------------------------------------------------------------------------------------------------

settings_now() { k get configmap "$SETTINGS" --output 'jsonpath={.data}' 2>/dev/null || true; }
before=$(settings_now)
had_api=false
if k get deployment "$API" --output name >/dev/null 2>&1; then
  had_api=true
  k get configmap "$SETTINGS" --output yaml >"$work/settings-before.yaml" 2>/dev/null || true
fi
undo() {
  k get pods --selector "app=$API" >&2 || true
  k get events --field-selector type=Warning --sort-by .lastTimestamp 2>/dev/null | tail -n 8 >&2 || true
  k logs "deployment/$API" --tail=20 >&2 || true
  if $had_api; then
    [ ! -s "$work/settings-before.yaml" ] || k replace --filename "$work/settings-before.yaml" >/dev/null || true
    k rollout undo "deployment/$API" >/dev/null || fail "$1; rolling it back failed, too: kubectl -n $NAMESPACE rollout undo deployment/$API"
    fail "$1; it was rolled back, and the pods from before serve"
  fi
  k delete deployment "$API" --wait=false >/dev/null || true
  fail "$1; the new Deployment was removed again"
}
k apply --filename "$work/all.yaml" --selector "app!=$MIGRATION" || undo "the manifests could not be applied"
if $had_api && [ "$before" != "$(settings_now)" ]; then
  say "The settings changed: whoever reads them starts anew."
  k rollout restart "deployment/$API" >/dev/null
  k rollout restart deployment --selector app=ml-market-collector-code >/dev/null 2>&1 || true
fi
k rollout status "deployment/$API" --timeout "${timeout}s" || undo "the API did not become ready within $timeout s"

# --- what to do next --------------------------------------------------------------------------------------------------

say
say "The API runs. Next:"
if ! k get deployment --selector app=ml-market-collector-code --output name 2>/dev/null | grep -q .; then
  say "  Dagster, which collects:"
  say "    helm repo add dagster https://dagster-io.github.io/helm"
  say "    helm upgrade --install dagster dagster/dagster --version 1.13.27 -n $NAMESPACE -f helm-values.yaml"
fi
say "  ./monitor-ml-market-collector.sh"
say "  kubectl -n $NAMESPACE port-forward service/$API 8080:8000"
say "  curl -X POST -H \"Authorization: Bearer \$(kubectl -n $NAMESPACE get secret $TOKEN -o jsonpath='{.data.API_TOKEN}' | base64 -d)\" http://127.0.0.1:8080/collect"
