#!/usr/bin/env bash
# deploy/examples/sidecar.yaml as far as it goes without a cluster: its config, its users and its group, on a directory as
# Kubernetes makes an emptyDir with fsGroup. KLAMM_BINARY is the klamm.
set -euo pipefail

if [[ $(id -u) != 0 ]]; then echo 'needs root'; exit 77; fi
if ! unshare --mount --net true 2>/dev/null; then echo 'may not make namespaces'; exit 77; fi
klamm=${KLAMM_BINARY:-${CARGO_TARGET_DIR:-target}/release/klamm}
[[ -x $klamm ]] || { echo "sidecar: no klamm at $klamm: make test-deploy builds it" >&2; exit 1; }
# Users without a name have to reach it.
copy=$(mktemp /tmp/klamm-sidecar.XXXXXX)
trap 'rm -f "$copy"' EXIT
install -m 0755 "$klamm" "$copy"
KLAMM=$copy unshare --mount --net --pid --fork --kill-child bash tests/deploy/inside/sidecar.sh
