"""Tekton Tasks (v1) and StepActions (v1beta1) in the catalogue's layout. Pure: records to text.

A parameter's value goes into the step's environment; the script is fixed, and for a StepAction
could not name a parameter anyway. RULES 25: `verify` compares with a digest parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sovgate import __version__
from sovgate.cli._emit import ARTIFACT_RESULT
from sovgate.surface._verbs import TASK_VERSION, Input, Verb
from sovgate.surface._yaml import Block, dump
from sovgate.surface.actions import header
from sovgate.surface.launch import CREDENTIALS
from sovgate.surface.reference import cell, table
from sovgate.surface.reference import header as page_header

IMAGE = f"ghcr.io/org/sovgate:{__version__}"
#: The user of the image: none of the machine's.
USER = 65532

IMAGE_HELP = (
    "Image that holds sovgate. Name your own copy of it by digest, e.g. "
    "registry.example.eu/sovgate@sha256:…"
)
SOURCE_HELP = "Holds the model and, if there is one, sovgate.yaml. Paths in parameters start here."
KEYS_HELP = "Key files, where keys are files: mounted at /keys, e.g. key: file:/keys/sign.pem."

CA_HELP = "Certificates of a CA of your own, for TLS alone: mounted at /ca, e.g. ca: /ca/ca.crt."
HSM_HELP = (
    "An HSM's client, where keys are in one: its PKCS#11 module, settings and files, mounted at "
    "/hsm, e.g. module-path: /hsm/module.so in sovgate.yaml."
)

#: Credentials that a Secret may hold, each under its own name. Not those that name files or an
#: identity: a cloud's webhook for workloads sets them only where the container has no such name.
SECRET_CREDENTIALS = tuple(
    name
    for name in CREDENTIALS
    if name.startswith(("AWS_", "BAO_", "VAULT_")) or name == "AZURE_CLIENT_SECRET"
)

LOCKED_DOWN = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def task_files(verb: Verb) -> dict[str, str]:
    name = f"sovgate-{verb.path}"
    folder = f"tekton/tasks/{name}/{TASK_VERSION}"
    return {
        f"{folder}/{name}.yaml": header(verb.module) + dump(task(verb)),
        f"{folder}/README.md": page_header(verb.module) + _readme(verb),
        f"{folder}/samples/run.yaml": header(verb.module) + dump(_sample(verb)),
    }


def stepaction_files(verb: Verb) -> dict[str, str]:
    name = f"sovgate-{verb.path}"
    path = f"tekton/stepactions/{name}/{TASK_VERSION}/{name}.yaml"
    return {path: header(verb.module) + dump(stepaction(verb))}


def task(verb: Verb) -> dict[str, Any]:
    step = {
        "name": verb.path,
        "image": "$(params.image)",
        "workingDir": "$(workspaces.source.path)",
        "env": _env(verb),
        "script": Block(_script(verb)),
        "securityContext": LOCKED_DOWN,
        "computeResources": {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            "limits": {"memory": "1Gi"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    }
    spec: dict[str, Any] = {
        "description": verb.summary,
        **_left_out(verb.left_out),
        "params": _params(verb),
        "workspaces": [
            {"name": "source", "description": SOURCE_HELP},
            {
                "name": "keys",
                "description": KEYS_HELP,
                "optional": True,
                "readOnly": True,
                "mountPath": "/keys",
            },
            *_of_services(verb),
        ],
    }
    if verb.outputs:
        spec["results"] = _results(verb)
    spec["steps"] = [step]
    spec["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": _metadata(verb),
        "spec": spec,
    }


def _of_services(verb: Verb) -> list[dict[str, Any]]:
    """Workspaces for what `ca` names, a ConfigMap or a Secret, and for an HSM's client, a claim."""
    asks = any(item.name == "ca" for item in verb.inputs)
    there = {"ca": CA_HELP if asks else "", "hsm": HSM_HELP if verb.secrets else ""}
    return [
        {
            "name": name,
            "description": text,
            "optional": True,
            "readOnly": True,
            "mountPath": f"/{name}",
        }
        for name, text in there.items()
        if text
    ]


def stepaction(verb: Verb) -> dict[str, Any]:
    """For several steps in one pod. The Task that refers to it owns the volume named `tmp`."""
    params = _params(verb)
    params.append(
        {
            "name": "working-directory",
            "description": "Where paths in parameters start: the path of a workspace.",
            "type": "string",
        }
    )
    env = _env(verb)
    if verb.outputs:
        first = next(iter(verb.outputs))
        env.append({"name": "SOVGATE_A_RESULT", "value": f"$(step.results.{first}.path)"})
    spec: dict[str, Any] = {
        "description": f"{verb.summary} The Task provides a volume named tmp (emptyDir).",
        **_left_out(verb.left_out),
        "params": params,
    }
    if verb.outputs:
        spec["results"] = _results(verb)
    spec |= {
        "image": "$(params.image)",
        "workingDir": "$(params.working-directory)",
        "env": env,
        "script": Block(_script(verb, step_results=bool(verb.outputs))),
        "securityContext": LOCKED_DOWN,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    }
    return {
        "apiVersion": "tekton.dev/v1beta1",
        "kind": "StepAction",
        "metadata": _metadata(verb),
        "spec": spec,
    }


def _metadata(verb: Verb) -> dict[str, Any]:
    return {
        "name": f"sovgate-{verb.path}",
        "labels": {"app.kubernetes.io/version": TASK_VERSION},
        "annotations": {
            "tekton.dev/pipelines.minVersion": "0.60.0",
            "tekton.dev/categories": "Security",
            "tekton.dev/tags": "machine-learning, signing, sovereignty",
            "tekton.dev/displayName": f"sovgate {verb.path}",
            "tekton.dev/platforms": "linux/amd64,linux/arm64",
        },
    }


def _left_out(left_out: Sequence[Input]) -> dict[str, str]:
    lines = {f"#{n}": f"  {i.flags}: {i.left_out}" for n, i in enumerate(left_out)}
    return {"#": "No parameters, with the reason:", **lines} if lines else {}


def _params(verb: Verb) -> list[dict[str, Any]]:
    """All are text, several values one a line, since an array cannot go into an environment."""
    found = []
    for item in verb.inputs:
        param = {"name": item.name, "description": _told(verb, item), "type": "string"}
        if not _required(verb, item):
            param["default"] = ""
        found.append(param)
    if verb.secrets:
        secret = {"name": "secret", "description": _secret_help(verb), "type": "string"}
        found.append({**secret, "default": "sovgate"})
    image = {"name": "image", "description": IMAGE_HELP, "type": "string", "default": IMAGE}
    return [*found, image]


def _from_secret(verb: Verb) -> dict[str, str]:
    """Variables that a Secret sets, and its keys; none where no private key is used."""
    found = {secret.variable: secret.name for secret in verb.secrets}
    return found | {name: name for name in SECRET_CREDENTIALS if found}


def _secret_help(verb: Verb) -> str:
    keys = [f"{secret.name}: {secret.help}" for secret in verb.secrets]
    keys.append(f"Credentials of services, each by its name: {', '.join(SECRET_CREDENTIALS)}.")
    return f"Name of a Secret, of which each key may be missing. {' '.join(keys)}"


def _required(verb: Verb, item: Input) -> bool:
    return item.required or (verb.path, item.name) == ("verify", "manifest")


def _told(verb: Verb, item: Input) -> str:
    if (verb.path, item.name) == ("verify", "manifest"):
        return (
            f"{item.sentence} Take it from a result of the Task that signed, never from a file of "
            "the workspace, which other Tasks can write."
        )
    if item.name == "release":
        return (
            f"{item.sentence} Pin it, NAME/VERSION@sha256:…, with a result of an earlier Task: "
            "every other model is then refused, whatever is in the workspace."
        )
    return item.sentence


def _env(verb: Verb) -> list[dict[str, Any]]:
    """Values of parameters first: Kubernetes replaces $(NAME) in a value by what stands above, so
    that a hostile one can name other parameters and nothing else."""
    env: list[dict[str, Any]] = [
        {
            "name": item.shell if item.weakens_trust else item.variables[0],
            "value": f"$(params.{item.name})",
        }
        for item in verb.inputs
    ]
    env.append({"name": "SOVGATE_FORMAT", "value": "tekton"})
    for variable, key in _from_secret(verb).items():
        place = {"name": "$(params.secret)", "key": key, "optional": True}
        env.append({"name": variable, "valueFrom": {"secretKeyRef": place}})
    # The root file system cannot be written.
    env += [{"name": "HOME", "value": "/tmp"}, {"name": "TMPDIR", "value": "/tmp"}]  # noqa: S108
    return env


def _script(verb: Verb, *, step_results: bool = False) -> str:
    words = [f"exec sovgate {verb.path}"]
    words += [f'${{{item.shell}:+"{item.option}=${item.shell}"}}' for item in verb.passed]
    lines = ["#!/bin/sh", "set -eu"]
    if step_results:
        lines.append('export SOVGATE_RESULTS_DIR="${SOVGATE_A_RESULT%/*}"')
    return "\n".join([*lines, " ".join(words)])


def _results(verb: Verb) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "description": text, "type": "string"} for name, text in verb.outputs.items()
    ]
    if verb.artifact:
        found.append(
            {
                "name": ARTIFACT_RESULT,
                "description": "What this Task made, for Tekton Chains.",
                "type": "object",
                "properties": {
                    name: {"type": "string"} for name in ("uri", "digest", "isBuildArtifact")
                },
            }
        )
    return found


def _sample(verb: Verb) -> dict[str, Any]:
    wanted = [item for item in verb.inputs if _required(verb, item) or verb.is_about(item)]
    wanted = wanted or list(verb.inputs[:1])
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"generateName": f"sovgate-{verb.path}-"},
        "spec": {
            "taskRef": {"name": f"sovgate-{verb.path}"},
            "params": [{"name": item.name, "value": _example(item)} for item in wanted],
            "podTemplate": {"securityContext": {"fsGroup": USER}},
            "workspaces": [
                {"name": "source", "persistentVolumeClaim": {"claimName": "model"}},
                {"name": "keys", "secret": {"secretName": "sovgate-keys"}},
            ],
        },
    }


_EXAMPLES = {
    "model": "build/churn",
    "release": f"churn/1.0.0@sha256:{'0' * 64}",
    "manifest": f"sha256:{'0' * 64}",
    "action": "transfer",
    "gate": "junit",
    "key": "file:/keys/sign.pem",
    "to": "eu",
    "zone": "home",
}


def _example(item: Input) -> str:
    return _EXAMPLES.get(item.name, item.metavar.lower() or item.name)


def _readme(verb: Verb) -> str:
    params = [
        (f"`{item.name}`", cell(_told(verb, item)), "yes" if _required(verb, item) else "")
        for item in verb.inputs
    ]
    if verb.secrets:
        params.append(("`secret`", cell(_secret_help(verb)), ""))
    params.append(("`image`", cell(IMAGE_HELP), ""))
    text = f"# sovgate-{verb.path}\n\n{verb.summary}\n\n```\n"
    text += (
        f"kubectl apply -f sovgate-{verb.path}.yaml\nkubectl create -f samples/run.yaml\n```\n\n"
    )
    text += f"## Parameters\n\n{table(('name', 'what', 'required'), params)}\n"
    if verb.outputs:
        rows = [(f"`{item['name']}`", cell(item["description"])) for item in _results(verb)]
        text += f"## Results\n\n{table(('name', 'what'), rows)}\n"
    text += (
        "## Workspaces\n\n"
        + table(
            ("name", "what"),
            [
                ("`source`", SOURCE_HELP),
                ("`keys`", f"Optional, read-only. {KEYS_HELP}"),
                *(
                    (f"`{one['name']}`", f"Optional, read-only. {one['description']}")
                    for one in _of_services(verb)
                ),
            ],
        )
        + "\n## What it runs as\n\n"
        f"User {USER}, no capabilities, a read-only root file system; `/tmp` is an empty volume. "
        "The\nworkspace must be writable for that user: the sample sets `fsGroup`. Give its "
        "service account\nno more than the keys and stores that the project file names for this "
        "zone.\n\n"
        "A value goes into the environment, never into a script. Kubernetes itself replaces "
        "`$(NAME)` in it by\na parameter that stands above, and `$$(` by `$(`: write values of "
        "parameters accordingly.\n\n"
        f"[Reference](../../../../docs/reference/{verb.path}.md) · "
        "[exit codes](../../../../docs/exit-codes.md)\n"
    )
    return text
