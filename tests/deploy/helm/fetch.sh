# Sourced: fetches helm and what checks its output into .cache/deploy; each once.
#
# Sets HELM, PYTHON and MODULES. Returns 77 and says why where something is missing that it cannot fetch.

readonly HELM_VERSION=v3.19.5
readonly GO_MINOR=24 # what helm's go.mod asks for: 1.24
HELM=$PWD/.cache/deploy/helm-$HELM_VERSION/helm
MODULES=$PWD/.cache/deploy/operator
PYTHON=$PWD/.cache/deploy/venv/bin/python

fetch_helm() {
  [[ -x $HELM ]] && return
  local minor
  minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  if [[ -z $minor || $minor -lt $GO_MINOR ]]; then
    echo "helm is built by Go 1.$GO_MINOR or newer, and $(go version 2>/dev/null || echo 'there is none')"
    return 77
  fi
  GOBIN=$(dirname "$HELM") GOTOOLCHAIN=local go install "helm.sh/helm/v3/cmd/helm@$HELM_VERSION"
}

fetch_python() {
  local stamp=.cache/deploy/venv/stamp
  cmp -s tests/deploy/helm/requirements.txt "$stamp" && return
  python3 -m venv --clear .cache/deploy/venv || { echo 'no venv for Python: Debian has it in python3-venv'; return 77; }
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r tests/deploy/helm/requirements.txt
  cp tests/deploy/helm/requirements.txt "$stamp"
}

fetch_modules() {
  cmp -s tests/deploy/helm/package.json "$MODULES/stamp" && return
  command -v npm >/dev/null || { echo 'npm is missing'; return 77; }
  mkdir -p "$MODULES"
  cp tests/deploy/helm/package.json "$MODULES/"
  (cd "$MODULES" && npm install --silent --no-fund --no-audit)
  cp tests/deploy/helm/package.json "$MODULES/stamp"
}

fetch() { fetch_helm && fetch_python && fetch_modules; }
