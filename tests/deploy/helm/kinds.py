"""Whether an API server would take objects, strictly: a field that it does not know is a fault.

Kubernetes' own kinds by the schemas of the package kubernetes-validate, for the oldest version that the chart allows and
the newest there is; those of the Prometheus operator by the types of the npm package @kubernetes-models/prometheus-operator,
as TypeScript's compiler checks a literal.
"""

import json
import re
import subprocess
from pathlib import Path

import kubernetes_validate

VERSIONS = ["1.29", kubernetes_validate.latest_version()]
OPERATOR = "monitoring.coreos.com/v1"


def name(entry):
    return f"{entry['kind']} {entry['metadata'].get('name')}"


def of_kubernetes(entry):
    """Why it is refused, or None."""
    try:
        for version in VERSIONS:
            kubernetes_validate.validate(entry, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return error.message
    return None


def of_operator(entries, modules):
    """Why each is refused, or None. `modules` is the directory that has node_modules."""
    if not entries:
        return []
    lines = [
        f'export const e{index}: import("@kubernetes-models/prometheus-operator/{OPERATOR}/{entry["kind"]}")'
        f'.I{entry["kind"]} = {json.dumps(entry)};'
        for index, entry in enumerate(entries)
    ]
    (Path(modules) / "objects.ts").write_text("\n".join(lines))
    compiler = ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "objects.ts"]
    done = subprocess.run(compiler, cwd=modules, capture_output=True, text=True)
    found = dict(reversed(re.findall(r"^objects\.ts\((\d+),\d+\): (error .*)", done.stdout, re.M)))
    if done.returncode and not found:
        raise SystemExit(f"tsc: {done.stdout}{done.stderr}")
    return [found.get(str(index + 1)) for index in range(len(entries))]


def faults(entries, modules):
    """For each of `entries` why it is refused, or None."""
    ours = [entry["apiVersion"] == OPERATOR for entry in entries]
    theirs = iter(of_operator([entry for entry, operator in zip(entries, ours) if operator], modules))
    return [next(theirs) if operator else of_kubernetes(entry) for entry, operator in zip(entries, ours)]
