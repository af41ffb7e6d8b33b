"""What the chart renders, held against the schemas, and taken apart. Run by tests/deploy/helm.sh.

    check.py schemas MODULES FILE...    every object fits, strictly (kinds.py); MODULES has node_modules
    check.py planted MODULES FILE...    and an unknown field, planted anywhere in these objects, is found
    check.py golden FILE                FILE as it is compared: without the key by chance, and without the copied files
    check.py parts FILE DIRECTORY       config, rules and dashboards as files; the config as Kubernetes mounts it
"""

import copy
import hashlib
import re
import sys
from pathlib import Path

import yaml

import kinds

# Mappings whose fields have names of the user's own.
FREE = {"labels", "annotations", "matchLabels", "nodeSelector", "data", "requests", "limits"}


def objects(*files):
    return [entry for path in files for entry in yaml.safe_load_all(Path(path).read_text()) if entry]


def schemas(modules, *files):
    entries = objects(*files)
    found = [f"{kinds.name(entry)}: {why}" for entry, why in zip(entries, kinds.faults(entries, modules)) if why]
    print(f"{len(entries)} objects, Kubernetes {' and '.join(kinds.VERSIONS)}, {len(found)} refused")
    return found


def mappings(value, path=()):
    """The paths of all mappings within `value` whose fields are the schema's."""
    if isinstance(value, dict) and (not path or path[-1] not in FREE):
        yield path
        for key, part in value.items():
            yield from mappings(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from mappings(part, (*path, index))


def with_typo(entry, path):
    entry = at = copy.deepcopy(entry)
    for key in path:
        at = at[key]
    at["typo"] = "1"
    return entry


def planted(modules, *files):
    places = [(entry, path) for entry in objects(*files) for path in mappings(entry)]
    # A Service's selector is labels; those of other kinds have matchLabels.
    places = [(entry, path) for entry, path in places if (entry["kind"], path) != ("Service", ("spec", "selector"))]
    whys = kinds.faults([with_typo(entry, path) for entry, path in places], modules)
    missed = [f"{kinds.name(entry)}: not found in {path}" for (entry, path), why in zip(places, whys) if not why]
    print(f"{len(places)} planted typos, {len(missed)} not found")
    return missed if places else ["nothing was planted"]


def golden(path):
    text = Path(path).read_text()
    text = re.sub(r"^(  (?:key|sha256): )[A-Za-z0-9+/=]+ ", r"\1BY-CHANCE ", text, flags=re.M)
    text = re.sub(r"(kind: PrometheusRule\n.*?\nspec:\n).*?(?=\n---|\Z)", r"\1  # files/rules.yml", text, flags=re.S)
    text = re.sub(r"^(  klamm-[a-z]+\.json: \|\n)(?:    .*\n|\n)+", r"\1    # files/dashboards\n", text, flags=re.M)
    sys.stdout.write(text)
    return []


def mount(directory, files):
    """A ConfigMap as Kubernetes mounts it: links to links."""
    data = directory / "..2026_11_28"
    data.mkdir(parents=True)
    (directory / "..data").symlink_to(data.name)
    for key, text in files.items():
        (data / key).write_text(text)
        (directory / key).symlink_to(f"..data/{key}")


def config(text, directory):
    """The config, and files where it names secrets."""
    secrets = directory / "secrets"
    for secret in set(re.findall(r"/etc/klamm/secrets/(\S+)", text)):
        (secrets / secret).parent.mkdir(parents=True, exist_ok=True)
        (secrets / secret).write_text(hashlib.sha256(secret.encode()).hexdigest())
    mount(directory / "config", {"klamm.yaml": text.replace("/etc/klamm/secrets", str(secrets))})


def parts(path, directory):
    directory = Path(directory)
    for entry in objects(path):
        files = entry.get("data") or {}
        if "klamm.yaml" in files:
            config(files["klamm.yaml"], directory)
        elif entry["kind"] == "ConfigMap":
            (directory / "dashboards").mkdir(parents=True)
            for key, text in files.items():
                (directory / "dashboards" / key).write_text(text)
        elif entry["kind"] == "PrometheusRule":
            (directory / "rules.yml").write_text(yaml.safe_dump(entry["spec"]))
    return []


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    found = {"schemas": schemas, "planted": planted, "golden": golden, "parts": parts}[command](*arguments)
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)
