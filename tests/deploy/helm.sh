#!/usr/bin/env bash
# The Helm chart: lint, every value set strictly against the schemas, golden files, what it has to refuse, the rendered
# rules by promtool, the rendered config by `klamm check`, the admin key that is kept.
#
#   tests/deploy/helm.sh [--write]    --write writes the golden files (make chart-golden)
#
# KLAMM_BINARY is the klamm that checks the config. Exit 0: ok. 77: not run, the last line says why. Else: failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/deploy/helm/fetch.sh
fetch || exit $?
export PYTHONDONTWRITEBYTECODE=1
readonly CHART=deploy/helm/klamm HERE=tests/deploy/helm
klamm=${KLAMM_BINARY:-${CARGO_TARGET_DIR:-target}/release/klamm}
work=$(mktemp -d)
children=()
trap 'rm -rf "$work"; for child in "${children[@]}"; do kill "$child"; done' EXIT
mapfile -t sets < <(cd $HERE/values && ls -- *.yaml)

fail() { echo "helm: $*" >&2; exit 1; }
check() { "$PYTHON" $HERE/check.py "$@"; }
render() { "$HELM" template klamm $CHART --namespace ingest --kube-version 1.34 "$@"; }

write_golden() {
  for set in "${sets[@]}"; do check golden "$work/$set" >"$HERE/golden/$set"; done
  echo "wrote ${#sets[@]} golden files"
}

compare_golden() {
  for set in "${sets[@]}"; do
    check golden "$work/$set" | diff -u "$HERE/golden/$set" - || fail "$set is not what it was; make chart-golden, and look at the difference"
  done
  [[ $(ls $HERE/golden | wc -l) == "${#sets[@]}" ]] || fail 'a golden file belongs to no value set'
  echo "${#sets[@]} golden files"
}

# The options and the words of the refusal.
refuses() {
  local words=${*: -1} said
  if said=$(render -f $HERE/values/minimal.yaml "${@:1:$#-1}" 2>&1 >/dev/null); then fail "takes ${*:1:$#-1}"; fi
  [[ $said == *"$words"* ]] || fail "refuses ${*:1:$#-1} with: $said"
  refusals=$((refusals + 1))
}

refusals() {
  refusals=0
  local sidecar=(--set mode=sidecar --set 'sidecar.containers[0].name=a')
  refuses --set image.repository= 'image.repository is required'
  refuses --set kafka.bootstrap=null 'kafka.bootstrap is required'
  refuses --set spool.enabled=true --set-json 'spool.volume={"emptyDir":{}}' 'an emptyDir goes with its pod'
  refuses --set spool.enabled=true --set-json 'spool.volume={"ephemeral":{}}' 'an ephemeral goes with its pod'
  refuses --set spool.enabled=true --set hpa.enabled=true 'Set spool.allowScaleDown=true'
  refuses --set spool.enabled=true --set spool.size=10Gi 'has to be more than config.spool.total, 10GiB'
  refuses --set spool.enabled=true --set spool.claim=a 'only for mode=sidecar'
  refuses --set config.spool.dir=/tmp 'config.spool.dir is the chart'
  refuses --set config.ingest.listen=a 'config.ingest.listen is the chart'
  refuses --set secrets.admin=a "the name is the chart's own"
  refuses --set hpa.enabled=true --set resources.limits.memory=1Gi 'needs resources.requests.cpu'
  refuses --set hpa.enabled=true --set hpa.min=20 'hpa.max is less than hpa.min'
  refuses --set resources.limits.memory=256Mi 'has to be more than config.budget.total, 256MiB'
  refuses --set config.shutdown.flush=soon 'is no time such as'
  refuses --set mode=sidecar 'sidecar.containers is required'
  refuses "${sidecar[@]}" --set spool.enabled=true 'name its claim in spool.claim'
  refuses "${sidecar[@]}" --set spool.enabled=true --set spool.claim=a --set sidecar.replicas=2 'sidecar.replicas has to be 1'
  refuses "${sidecar[@]}" --set serviceMonitor.enabled=true 'serviceMonitor is for mode=tier'
  refuses --set replica=3 "'replica' not allowed"
  refuses --set config.topic.orders.linger=1ms "'topic' not allowed"
  refuses --set 'kafka.bootstrap={kafka}' "at '/kafka/bootstrap/0'"
  refuses --kube-version 1.28 'incompatible with Kubernetes'
  echo "$refusals refusals in plain words"
}

rules() {
  check parts "$work/monitoring.yaml" "$work/monitoring"
  cp deploy/prometheus/rules_test.yml "$work/monitoring/"
  promtool test rules "$work/monitoring/rules_test.yml" >/dev/null || fail 'the rendered rules fail their cases'
  promtool check rules "$work/monitoring/rules.yml" | sed -n 's/.*SUCCESS/rendered/p'
  diff -r deploy/grafana "$work/monitoring/dashboards" || fail 'the rendered dashboards are not those of deploy/grafana'
}

configs() {
  [[ -x $klamm ]] || fail "no klamm at $klamm: make test-deploy builds it, KLAMM_BINARY names another"
  for set in "${sets[@]}"; do
    rm -rf "$work/parts"
    check parts "$work/$set" "$work/parts"
    "$klamm" check --config "$work/parts/config" >"$work/said" 2>&1 || fail "$set: $(cat "$work/said")"
  done
  rm -rf "$work/parts"
  check parts deploy/examples/sidecar.yaml "$work/parts"
  "$klamm" check --config "$work/parts/config" >"$work/said" 2>&1 || fail "deploy/examples/sidecar.yaml: $(cat "$work/said")"
  echo "$((${#sets[@]} + 1)) configs pass klamm check"
}

# What klamm reads at its start alone makes new pods, all else does not.
rolls() {
  local of=(-f $HERE/values/spool.yaml --show-only templates/tier.yaml)
  render "${of[@]}" >"$work/before"
  render "${of[@]}" --set config.topics.orders.linger=1ms --set config.log.level=debug | cmp -s "$work/before" - || fail 'a live key makes new pods'
  for key in kafka.default.linger=9ms budget.total=300MiB spool.segment=128MiB ingest.connections=5 metrics.pairs=7; do
    if render "${of[@]}" --set "config.$key" | cmp -s "$work/before" -; then fail "$key makes no new pods"; fi
  done
  echo 'new pods for what is not live, and only then'
}

admin_key() {
  "$PYTHON" $HERE/cluster.py the-key-of-before "$work/kubeconfig" & children+=($!)
  for _ in {1..100}; do [[ -e $work/kubeconfig ]] && break; sleep 0.1; done
  local of=(-f $HERE/values/minimal.yaml --show-only templates/secret.yaml) digest
  digest=$(printf the-key-of-before | sha256sum | cut -d' ' -f1 | tr -d '\n' | base64 -w0)
  KUBECONFIG=$work/kubeconfig render "${of[@]}" --dry-run=server | grep -q "sha256: $digest " || fail 'the key that exists is not kept'
  [[ $(render "${of[@]}" | sha256sum) != $(render "${of[@]}" | sha256sum) ]] || fail 'a new key is not by chance'
  echo 'a key once made is kept'
}

for set in "${sets[@]}"; do render -f "$HERE/values/$set" >"$work/$set"; done
if [[ ${1:-} == --write ]]; then write_golden; exit; fi
"$HELM" lint --quiet --strict $CHART -f $HERE/values/minimal.yaml
check schemas "$MODULES" "${sets[@]/#/$work/}" deploy/examples/*.yaml
check planted "$MODULES" "$work"/{spool,autoscale,monitoring,sidecar}.yaml deploy/examples/*.yaml
compare_golden
refusals
rules
configs
rolls
admin_key
