"""What a builder made of an overlay, compared with the pin that it is to hold. No I/O.

The one question is what the cluster will get: which object carries the release, and what the
variables of its containers are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sovgate.errors import ConfigError
from sovgate.formats.kustomize import Pin
from sovgate.formats.workload import KINDS, Workload, annotations_of, template_of, variables_of
from sovgate.formats.yaml12 import load

_MARK = re.compile(r"^---\s*$", re.MULTILINE)
_RELEASE = "sovgate.dev/release"


@dataclass(frozen=True, kw_only=True)
class Object:
    """An object of the rendered overlay that carries the pin."""

    value: dict[str, Any]
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def template(self) -> dict[str, Any]:
        found: Any = self.value
        for step in template_of(self.kind):
            found = found.get(step) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def containers(self, key: str) -> list[dict[str, Any]]:
        spec = self.template.get("spec")
        found = spec.get(key) if isinstance(spec, dict) else None
        return [item for item in found or [] if isinstance(item, dict)]

    @property
    def workload(self) -> Workload:
        return Workload(
            kind=self.kind,
            name=self.name,
            namespace=None,
            containers=tuple(str(c.get("name")) for c in self.containers("containers")),
            init_containers=tuple(str(c.get("name")) for c in self.containers("initContainers")),
        )


def carriers(rendered: bytes, pin: Pin) -> list[Object]:
    """The objects whose annotations name the release of `pin`."""
    text = rendered.decode("utf-8", "replace")
    return [item for part in _MARK.split(text) for item in _carriers(part, pin)]


def _carriers(part: str, pin: Pin) -> Iterator[Object]:
    if _RELEASE not in part:  # a CRD is deeper than we read, and none of ours
        return
    try:
        value = load(part.encode(), "the rendered overlay").value
    except ConfigError:
        return
    if not isinstance(value, dict):
        return
    metadata = value.get("metadata")
    notes = metadata.get("annotations") if isinstance(metadata, dict) else None
    kind = value.get("kind")
    if isinstance(metadata, dict) and isinstance(notes, dict) and isinstance(kind, str):
        found = Object(value=value, kind=kind, name=str(metadata.get("name")))
        inner = found.template.get("metadata")
        below = inner.get("annotations") if isinstance(inner, dict) else None
        if pin.release in (notes.get(_RELEASE), (below or {}).get(_RELEASE)):
            yield found


def differences(rendered: bytes, pin: Pin, target: Workload) -> Iterator[str]:
    """What the rendered overlay says otherwise than the pin, in words; nothing if it is as pinned.

    `target` has the containers that are pinned. kustomize may have renamed the workload.
    """
    found = carriers(rendered, pin)
    if len(found) != 1:
        shown = ", ".join(str(item) for item in found[:5])
        yield f"{len(found)} objects carry the release" + (f": {shown}" if shown else "")
        return
    (item,) = found
    if item.kind != target.kind or item.value.get("apiVersion") != KINDS[target.kind]:
        yield f"{item} carries the release, and not a {target.kind} of {KINDS[target.kind]}"
        return
    inner = item.template.get("metadata")
    for place, metadata in (("", item.value["metadata"]), (" of its pods", inner)):
        notes = metadata.get("annotations") if isinstance(metadata, dict) else None
        for note, value in annotations_of(pin).items():
            said = notes.get(note) if isinstance(notes, dict) else None
            if said != value:
                yield f"{item}: the annotation {note}{place} is {_shown(said)}, not {value!r}"
    for list_, names in (
        ("initContainers", target.init_containers),
        ("containers", target.containers),
    ):
        there = {str(c.get("name")): c for c in item.containers(list_)}
        for name in names:
            if name not in there:
                yield f"{item} has no container {name!r}"
            else:
                yield from _of_container(f"{item}, container {name}", there[name], pin)


def _of_container(where: str, container: dict[str, Any], pin: Pin) -> Iterator[str]:
    if not container.get("image"):
        yield f"{where} has no image"
    env = [e for e in container.get("env") or [] if isinstance(e, dict)]
    variables = variables_of(pin)
    for key in sorted(variables, key=lambda name: name != "MODEL_RELEASE"):  # the telling one first
        value = variables[key]
        entries = [e for e in env if e.get("name") == key]
        if len(entries) != 1:
            yield f"{where}: {key} is there {len(entries)} times"
        elif set(entries[0]) != {"name", "value"} or entries[0]["value"] != value:
            yield f"{where}: {key} is {_shown(entries[0].get('value'))}, not {value!r}"


def _shown(value: object) -> str:
    return "not there" if value is None else repr(str(value)[:200])
