"""A kustomize overlay: its kustomization file, its Deployments, and the patch that is ours.

Bytes <-> records, no I/O. A person wrote the kustomization, so it is edited as text at the places
that the parser names: every byte outside our one entry stays. The result is parsed again and must
differ by that entry alone.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from typing import Any

from sovgate.errors import ConfigError, Where
from sovgate.formats.yaml12 import load

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
RELEASE_FILE = "sovgate-release.yaml"
MAX_BYTES = 1024 * 1024
#: In one file of manifests. Each is read by itself, and anybody may have written them.
MAX_DOCUMENTS = 5_000

_HEADER = """\
# Written by `sovgate promote`. Do not edit: the next promotion replaces this file.
# The signed promotion record in the zone's store says who pinned this release, and why.
"""
_DOCUMENT_MARK = re.compile(r"^(?:---|\.\.\.)(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A Deployment as its manifest declares it, before kustomize renames anything."""

    name: str
    namespace: str | None
    containers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """What a zone's Deployment is pinned to. `release` is `NAME/VERSION@sha256:…` (RULES 27)."""

    release: str
    manifest: str
    record: str
    key_uri: str
    zone: str


def release_patch(pin: Pin, deployment: Deployment) -> bytes:
    """`sovgate-release.yaml`: a strategic-merge patch of the one container in `deployment`.

    The annotations are on the pod template too, so that a new release rolls the pods.
    """
    annotations = {
        "sovgate.dev/manifest": f"sha256:{pin.manifest}",
        "sovgate.dev/record": f"sha256:{pin.record}",
        "sovgate.dev/release": pin.release,
    }
    env = {
        "MODEL_KEY_URI": pin.key_uri,
        "MODEL_MANIFEST": f"sha256:{pin.manifest}",
        "MODEL_RELEASE": pin.release,
        "SOVGATE_ZONE": pin.zone,
    }
    lines = ["apiVersion: apps/v1", "kind: Deployment", "metadata:"]
    lines.append(f"  name: {_quoted(deployment.name)}")
    if deployment.namespace is not None:
        lines.append(f"  namespace: {_quoted(deployment.namespace)}")
    lines.append("  annotations:")
    lines += [f"    {key}: {_quoted(value)}" for key, value in annotations.items()]
    lines += ["spec:", "  template:", "    metadata:", "      annotations:"]
    lines += [f"        {key}: {_quoted(value)}" for key, value in annotations.items()]
    lines += ["    spec:", "      containers:"]
    lines += [f"        - name: {_quoted(deployment.containers[0])}", "          env:"]
    for key, value in env.items():
        # Kubernetes expands $(NAME) in a value; $$ is a plain $.
        lines.append(f"            - name: {key}")
        lines.append(f"              value: {_quoted(value.replace('$', '$$'))}")
    return (_HEADER + "\n".join(lines) + "\n").encode()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def pinned_release(data: bytes) -> str | None:
    """The release that a patch of ours claims. Anybody may have written it: a hint, no proof."""
    try:
        value = load(data, RELEASE_FILE).value
        release = value["metadata"]["annotations"]["sovgate.dev/release"]
    except (ConfigError, KeyError, TypeError):
        return None
    return release if isinstance(release, str) else None


def resources_of(data: bytes, name: str) -> tuple[tuple[str, ...], bool]:
    """What a kustomization builds on, and whether it makes more that cannot be seen from here."""
    value = _mapping(data, name)
    found: list[str] = []
    for key in ("resources", "bases", "components"):
        entries = value.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(item, str) for item in entries):
            raise ConfigError(
                f"{name}: {key} is not a list of paths",
                where=Where(path=name),
                reason="bad-overlay",
            )
        found += entries
    return tuple(found), any(value.get(key) for key in ("helmCharts", "generators"))


def deployments(data: bytes, name: str) -> tuple[Deployment, ...]:
    """The Deployments in a file of manifests. Raises ConfigError where it cannot be read."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES} bytes", reason="limits")
    found: list[Deployment] = []
    # A mark in column 0 ends a document wherever it stands, so the text can be cut there.
    parts = _DOCUMENT_MARK.split(data.decode("utf-8", "replace"))
    if len(parts) > MAX_DOCUMENTS:
        raise ConfigError(f"{name} holds more than {MAX_DOCUMENTS} documents", reason="limits")
    for part in parts:
        value = load(part.encode(), name).value
        items = value.get("items") if isinstance(value, dict) else None
        found += [
            _deployment(item, name)
            for item in (items if isinstance(items, list) else [value])
            if isinstance(item, dict) and item.get("kind") == "Deployment"
        ]
    return tuple(found)


def _deployment(value: dict[str, Any], name: str) -> Deployment:
    try:
        metadata = value["metadata"]
        containers = tuple(item["name"] for item in value["spec"]["template"]["spec"]["containers"])
        called, namespace = metadata["name"], metadata.get("namespace")
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{name}: a Deployment is incomplete", reason="bad-overlay") from error
    if not all(isinstance(text, str) for text in (*containers, called, namespace or "")):
        raise ConfigError(f"{name}: a Deployment's names are not text", reason="bad-overlay")
    return Deployment(name=called, namespace=namespace, containers=containers)


def _mapping(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES} bytes", reason="limits")
    value = load(data, name).value
    if not isinstance(value, dict) or value.get("kind", "Kustomization") not in (
        "Kustomization",
        "Component",
    ):
        raise ConfigError(
            f"{name} is not a kustomization",
            fix="name the folder of a kustomize overlay in gitops.path",
            where=Where(path=name, line=1),
            reason="bad-overlay",
        )
    return value


def ensure_patch(data: bytes, name: str) -> bytes:
    """The kustomization with our patch among its `patches`; the same bytes where it is there.

    The entry has no `target`: kustomize passes over a target that matches nothing, while a patch
    that names its Deployment itself fails to build. It comes last, so that it has the last word.
    Raises ConfigError (bad-yaml, bad-overlay).
    """
    value = _mapping(data, name)
    patches = value.get("patches")
    if patches is not None and not isinstance(patches, list):
        raise _cannot(name, "patches is not a list")
    ours = [item for item in patches or [] if isinstance(item, dict) and _is_ours(item)]
    if len(ours) > 1:
        raise _cannot(name, f"{RELEASE_FILE} is named twice among the patches")
    if ours:
        if "patch" in ours[0] or ours[0].get("target") is not None:
            raise _cannot(name, f"the entry for {RELEASE_FILE} was changed")
        if ours != (patches or [])[-1:]:
            raise _cannot(name, f"a patch after {RELEASE_FILE} would have the last word")
        return data
    text = data.decode("utf-8")
    if text.startswith("\ufeff"):
        raise _cannot(name, "it begins with a byte order mark")
    edited = _insert(text, name).encode("utf-8")
    expected = {**value, "patches": [*(patches or []), {"path": RELEASE_FILE}]}
    try:
        same = load(edited, name).value == expected
    except ConfigError:
        same = False
    if not same:
        raise _cannot(name, "the place for the entry was not found")
    return edited


def _is_ours(item: dict[str, Any]) -> bool:
    path = item.get("path")
    return isinstance(path, str) and posixpath.normpath(path) == RELEASE_FILE


def _cannot(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be edited",
        why=why,
        fix=f"write `- path: {RELEASE_FILE}` as the last entry of `patches:` in it by hand, and "
        "nothing else in that entry",
        where=Where(path=name),
        reason="bad-overlay",
    )


def _insert(text: str, name: str) -> str:
    import yaml

    # `load` has judged depth, size, anchors and tags of this text before.
    loader: Any = getattr(yaml, "CLoader", yaml.Loader)
    events: list[Any] = list(yaml.parse(text, Loader=loader))
    root: Any = events[2]
    if root.flow_style or not isinstance(root, yaml.MappingStartEvent):
        raise _cannot(name, "it is written in braces")
    if events[-2].explicit:
        raise _cannot(name, "it ends in a document mark")
    line_break = "\r\n" if "\r\n" in text else "\n"
    indent = " " * events[2].start_mark.column
    entry = f"- path: {RELEASE_FILE}{line_break}"
    value = _value_of(events, "patches", yaml)
    if value is None:
        return _at_line_end(
            text, len(text), f"{indent}patches:{line_break}{indent}{entry}", line_break
        )
    first, last = value[0], value[-1]
    if len(value) == 1 or (len(value) == 2 and first.flow_style):  # null, or []
        kept = text[: first.start_mark.index].rstrip(" ") + text[last.end_mark.index :]
        at = len(text[: first.start_mark.index].rstrip(" "))
        return _at_line_end(kept, at, indent + entry, line_break)
    at = value[-2].end_mark.index if not _is_block_end(value[-2], yaml) else _leaf_end(value, yaml)
    if first.flow_style:
        return text[:at] + f", {{path: {RELEASE_FILE}}}" + text[at:]
    return _at_line_end(text, at, " " * first.start_mark.column + entry, line_break)


def _value_of(events: list[Any], key: str, yaml: Any) -> list[Any] | None:
    """The events of one value of the root mapping."""
    depth, parts, current = 0, 0, ""
    taken: list[Any] = []
    for event in events[3:]:
        if depth == 0:
            if isinstance(event, yaml.MappingEndEvent):
                return None
            if parts % 2 == 0:
                current = event.value
            parts += 1
        taking = parts % 2 == 0 and current == key
        if taking:
            taken.append(event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if taking and depth == 0:
            return taken
    return None


def _is_block_end(event: Any, yaml: Any) -> bool:
    # The end of a block collection has no text of its own: its mark is that of the next token.
    return isinstance(event, yaml.CollectionEndEvent) and event.start_mark.index == (
        event.end_mark.index
    )


def _leaf_end(events: list[Any], yaml: Any) -> int:
    ends: list[int] = [e.end_mark.index for e in events[:-1] if not _is_block_end(e, yaml)]
    return max(ends)


def _at_line_end(text: str, at: int, lines: str, line_break: str) -> str:
    """`lines` below the line in which `at` stands; at `at` itself where a line begins there."""
    if at == 0 or text[at - 1] != "\n":
        newline = text.find("\n", at)
        if newline < 0:
            return text + line_break + lines
        at = newline + 1
    return text[:at] + lines + text[at:]
