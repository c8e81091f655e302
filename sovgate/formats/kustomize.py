"""A kustomize overlay's kustomization file: what it builds on, and our one entry in it.

Bytes <-> records, no I/O. A person wrote the kustomization, so it is edited as text at the places
that the parser names: every byte outside our one entry stays. The result is parsed again and must
differ by that entry alone.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sovgate.errors import ConfigError, Where
from sovgate.formats.yaml12 import load

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
RELEASE_FILE = "sovgate-release.yaml"
MAX_BYTES = 1024 * 1024
#: What kustomize runs after all `patches:`: it can undo what our patch says.
_LATER = ("patchesJson6902", "replacements", "transformers", "configurations", "openapi", "vars")
#: These too, where they reach our fields.
LATE_FIELDS = (*_LATER, "commonAnnotations", "labels")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """What a zone's workload is pinned to. `release` is `NAME/VERSION@sha256:…` (RULES 27)."""

    release: str
    manifest: str
    record: str
    key_uri: str
    zone: str


@dataclass(frozen=True, kw_only=True)
class Kustomization:
    """What a kustomization builds on.

    files    further files that it names, from its own folder
    steps    its generators, transformers and validators: files, folders, or their text
    later    (field, line) of what kustomize runs after `patches:`
    beside   (field, line) of what else decides what runs, and is none of a pin's
    makers   fields that make resources in a way that cannot be seen from here
    charts   whether Helm is among them, which is never run
    """

    resources: tuple[str, ...]
    files: tuple[str, ...]
    steps: tuple[str, ...]
    later: tuple[tuple[str, int], ...]
    makers: tuple[str, ...]
    charts: bool
    beside: tuple[tuple[str, int], ...] = ()


_FILE_FIELDS = ("crds", "configurations", "patchesStrategicMerge")
_STEP_FIELDS = ("generators", "transformers", "validators")
_PATH_FIELDS = ("patches", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
#: What a person may take for a part of the pin, and is not.
_BESIDE = ("images", "replicas", *_GENERATORS, "patches")
_CHARTS = ("helmCharts", "helmChartInflationGenerator")
_MAKERS = (*_CHARTS, "generators")


def read_kustomization(data: bytes, name: str) -> Kustomization:
    """Raises ConfigError (bad-yaml, bad-overlay)."""
    value, places = _mapping(data, name), load(data, name)
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
    later = [key for key in _LATER if value.get(key)]
    notes, labels = value.get("commonAnnotations"), value.get("labels")
    if isinstance(notes, dict) and any(key.startswith("sovgate.dev/") for key in notes):
        later.append("commonAnnotations")
    if any(isinstance(item, dict) and item.get("fields") for item in _list(labels)):
        later.append("labels")
    return Kustomization(
        resources=tuple(found),
        files=tuple(_named_files(value)),
        steps=tuple(
            item for key in _STEP_FIELDS for item in _list(value.get(key)) if isinstance(item, str)
        ),
        later=tuple((key, places.where((key,)).line or 1) for key in later),
        makers=tuple(key for key in _MAKERS if value.get(key)),
        charts=any(value.get(key) for key in _CHARTS),
        beside=tuple(
            (key, places.where((key,)).line or 1) for key in _BESIDE if _is_set(value, key)
        ),
    )


def _is_set(value: dict[str, Any], key: str) -> bool:
    """Whether a field says something; of patches, besides our own."""
    if key != "patches":
        return bool(value.get(key))
    return any(
        not isinstance(item, dict) or item.get("path") != RELEASE_FILE
        for item in _list(value.get(key))
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _named_files(value: dict[str, Any]) -> Iterator[str]:
    for key in _FILE_FIELDS:
        entries = [item for item in _list(value.get(key)) if isinstance(item, str)]
        yield from (item for item in entries if "\n" not in item)  # else it is the patch itself
    for key in _PATH_FIELDS:
        for item in _list(value.get(key)):
            if isinstance(item, dict) and isinstance(item.get("path"), str):
                yield item["path"]
    schema = value.get("openapi")
    if isinstance(schema, dict) and isinstance(schema.get("path"), str):
        yield schema["path"]
    for key in _GENERATORS:
        for item in _list(value.get(key)):
            if isinstance(item, dict):
                named: list[Any] = [*_list(item.get("files")), *_list(item.get("envs"))]
                named.append(item.get("env"))
                # `files` may say `key=path`.
                yield from (e.rpartition("=")[2] for e in named if isinstance(e, str))


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
            fix="name the overlay in gitops.path: the folder that the cluster builds",
            where=Where(path=name, line=1),
            reason="bad-overlay",
        )
    return value


def ensure_patch(data: bytes, name: str) -> bytes:
    """The kustomization with our patch among its `patches`; the same bytes where it is there.

    The entry has no `target`: kustomize passes over a target that matches nothing, while a patch
    that names its workload itself fails to build. It comes last, so that it has the last word.
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
    if not text.endswith("\n"):
        # The line end belongs to a text in the last line, and changes nothing that is built.
        text += _line_break(text)
        value = _mapping(text.encode("utf-8"), name)
        patches = value.get("patches")
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
    line_break = _line_break(text)
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


def _line_break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


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
