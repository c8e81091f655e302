"""What runs pods in an overlay: the workloads of its manifests, and the patch that pins one.

Bytes <-> records, no I/O. Anybody may have written what is read here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sovgate.errors import ConfigError, UsageError
from sovgate.formats.kustomize import MAX_BYTES, RELEASE_FILE, Pin
from sovgate.formats.yaml12 import load
from sovgate.records import Release

#: In one file of manifests. Each is read by itself, and anybody may have written them.
MAX_DOCUMENTS = 5_000
#: What has a pod template, and the one apiVersion whose lists kustomize merges by name. Of other
#: kinds it would replace the list of containers by ours.
KINDS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
#: These run beside a server more often than they are one.
BATCH = ("Job", "CronJob")
KINDS_IN_WORDS = "Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs"

_HEADER = """\
# Written by `sovgate promote`. Do not edit: the next promotion replaces this file.
# The signed promotion record in the zone's store says who pinned this release, and why.
"""
_DOCUMENT_MARK = re.compile(r"^(?:---|\.\.\.)(?=\s|$)", re.MULTILINE)
#: The place of the pod template, from the root of a manifest.
_TEMPLATE: dict[str, tuple[str, ...]] = {"CronJob": ("spec", "jobTemplate", "spec", "template")}
_PREFIX = "sovgate.dev/"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A workload as its manifest declares it, before kustomize renames anything.

    As the target of a patch it has only those containers that are pinned.
    """

    kind: str
    name: str
    namespace: str | None
    containers: tuple[str, ...]
    init_containers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def all_containers(self) -> tuple[str, ...]:
        return (*self.init_containers, *self.containers)

    def is_same(self, other: Workload) -> bool:
        """Whether the two are one object."""
        ours, theirs = (self.kind, self.name), (other.kind, other.name)
        return ours == theirs and self.namespace == other.namespace


@dataclass(frozen=True, kw_only=True)
class Other:
    """An object that cannot be pinned: not of a kind that sovgate knows, or of another version."""

    kind: str
    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What a patch of ours claims. Anybody may have written it: a hint, no proof."""

    release: str
    model: str
    zone: str
    workload: Workload


def template_of(kind: str) -> tuple[str, ...]:
    return _TEMPLATE.get(kind, ("spec", "template"))


def annotations_of(pin: Pin) -> dict[str, str]:
    return {
        f"{_PREFIX}manifest": f"sha256:{pin.manifest}",
        f"{_PREFIX}record": f"sha256:{pin.record}",
        f"{_PREFIX}release": pin.release,
    }


def variables_of(pin: Pin) -> dict[str, str]:
    """The variables of each container, as they are written in a manifest."""
    env = {
        "MODEL_KEY_URI": pin.key_uri,
        "MODEL_MANIFEST": f"sha256:{pin.manifest}",
        "MODEL_RELEASE": pin.release,
        "SOVGATE_ZONE": pin.zone,
    }
    # Kubernetes expands $(NAME) in a value; $$ is a plain $.
    return {key: value.replace("$", "$$") for key, value in env.items()}


def release_patch(pin: Pin, workload: Workload) -> bytes:
    """`sovgate-release.yaml`: a strategic-merge patch of the containers in `workload`.

    The annotations are on the pod template too, so that a new release rolls the pods. A variable
    may have come from a ConfigMap before: `valueFrom: null` takes that away, since Kubernetes
    refuses both side by side. Without containers it changes the annotations alone.
    """
    annotations = annotations_of(pin)
    lines = [f"apiVersion: {KINDS[workload.kind]}", f"kind: {workload.kind}", "metadata:"]
    lines.append(f"  name: {_quoted(workload.name)}")
    if workload.namespace is not None:
        lines.append(f"  namespace: {_quoted(workload.namespace)}")
    lines.append("  annotations:")
    lines += [f"    {key}: {_quoted(value)}" for key, value in annotations.items()]
    steps = template_of(workload.kind)
    lines += [f"{'  ' * depth}{step}:" for depth, step in enumerate(steps)]
    indent = "  " * len(steps)
    lines += [f"{indent}metadata:", f"{indent}  annotations:"]
    lines += [f"{indent}    {key}: {_quoted(value)}" for key, value in annotations.items()]
    if workload.all_containers:
        lines.append(f"{indent}spec:")
    for key, names in (
        ("initContainers", workload.init_containers),
        ("containers", workload.containers),
    ):
        lines += [f"{indent}  {key}:"] if names else []
        for name in names:
            lines += [f"{indent}    - name: {_quoted(name)}", f"{indent}      env:"]
            for variable, value in variables_of(pin).items():
                lines.append(f"{indent}        - name: {variable}")
                lines.append(f"{indent}          value: {_quoted(value)}")
                lines.append(f"{indent}          valueFrom: null")
    return (_HEADER + "\n".join(lines) + "\n").encode()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def pinned_release(data: bytes) -> str | None:
    """The release that a patch of ours claims; a hint, no proof."""
    try:
        release = load(data, RELEASE_FILE).value["metadata"]["annotations"][f"{_PREFIX}release"]
    except (ConfigError, KeyError, TypeError):
        return None
    return release if isinstance(release, str) else None


def read_patch(data: bytes) -> Pinned | None:
    """What a patch of ours pins; None where it is not one, or does not say one thing."""
    try:
        value = load(data, RELEASE_FILE).value
        if value["apiVersion"] != KINDS[value["kind"]]:
            return None
        workload = _workload(value, RELEASE_FILE)
        pod = _at(value, template_of(value["kind"]))
        said = {value["metadata"]["annotations"][f"{_PREFIX}release"]}
        said.add(pod["metadata"]["annotations"][f"{_PREFIX}release"])
        zones: set[str] = set()
        for key in ("initContainers", "containers"):
            for container in pod["spec"].get(key) or []:
                env = {item["name"]: item["value"] for item in container["env"]}
                said.add(env["MODEL_RELEASE"])
                zones.add(env["SOVGATE_ZONE"])
        (release,), (zone,) = said, zones
        model = Release.parse(release).model
    except (ConfigError, UsageError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return Pinned(release=release, model=model, zone=str(zone), workload=workload)


def read_manifests(data: bytes, name: str) -> tuple[list[Workload], list[Other]]:
    """The workloads in a file of manifests, and what else is there.

    Raises ConfigError where it cannot be read.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES} bytes", reason="limits")
    # A mark in column 0 ends a document wherever it stands, so the text can be cut there.
    parts = _DOCUMENT_MARK.split(data.decode("utf-8", "replace"))
    if len(parts) > MAX_DOCUMENTS:
        raise ConfigError(f"{name} holds more than {MAX_DOCUMENTS} documents", reason="limits")
    workloads: list[Workload] = []
    others: list[Other] = []
    for part in parts:
        try:
            value = load(part.encode(), name).value
        except ConfigError:
            if "\\" in part or any(kind in part for kind in KINDS):
                raise
            continue  # a CRD is deeper than we read, and is no workload
        items = value.get("items") if isinstance(value, dict) else None
        for item in items if isinstance(items, list) else [value]:
            if not isinstance(item, dict) or not isinstance(item.get("kind"), str):
                continue
            kind, version = item["kind"], item.get("apiVersion")
            if kind in KINDS and version == KINDS[kind]:
                workloads.append(_workload(item, name))
            else:
                metadata = item.get("metadata")
                called = metadata.get("name") if isinstance(metadata, dict) else None
                others.append(Other(kind=kind[:80], name=str(called)[:80], version=str(version)))
    return workloads, others


def _at(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        value = value[step]
    return value


def _workload(value: dict[str, Any], name: str) -> Workload:
    kind = value["kind"]
    try:
        metadata, pod = value["metadata"], _at(value, template_of(kind))["spec"]
        made = Workload(
            kind=kind,
            name=metadata["name"],
            namespace=metadata.get("namespace"),
            containers=tuple(item["name"] for item in pod.get("containers") or []),
            init_containers=tuple(item["name"] for item in pod.get("initContainers") or []),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{name}: a {kind} is incomplete", reason="bad-overlay") from error
    if not all(isinstance(t, str) for t in (*made.all_containers, made.name, made.namespace or "")):
        raise ConfigError(f"{name}: a {kind}'s names are not text", reason="bad-overlay")
    return made
