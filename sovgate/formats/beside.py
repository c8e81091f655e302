"""Files of JSON that name the files of weights beside them: TensorFlow.js, Core ML. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sovgate.errors import VerificationFailed
from sovgate.files import check_name

MAX_FILE = 64 * 1024 * 1024
_MANIFEST = "Manifest.json"


def may_name(name: str) -> bool:
    """`model.json` of TensorFlow.js, `weights_manifest.json` as it was before, and a package's."""
    base = name.rpartition("/")[2]
    return base == _MANIFEST or base.endswith(("model.json", "weights_manifest.json"))


def named(name: str, data: bytes) -> tuple[str, ...]:
    """Files and folders that it names, below its own folder. Never raises."""
    folder, slash, base = name.rpartition("/")
    try:
        top = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return ()
    if base == _MANIFEST:
        folder, paths = f"{folder}{slash}Data/", _items(top)
    else:
        folder, paths = f"{folder}{slash}", _weights(top)
    return tuple(f"{folder}{path}" for path in dict.fromkeys(paths) if is_below(path))


def _weights(top: object) -> Iterator[str]:
    groups = top.get("weightsManifest") if isinstance(top, dict) else top
    for one in groups if isinstance(groups, list) else ():
        paths = one.get("paths") if isinstance(one, dict) and "weights" in one else None
        for path in paths if isinstance(paths, list) else ():
            if isinstance(path, str):
                yield path


def _items(top: object) -> Iterator[str]:
    items = top.get("itemInfoEntries") if isinstance(top, dict) else None
    for one in items.values() if isinstance(items, dict) else ():
        path = one.get("path") if isinstance(one, dict) else None
        if isinstance(path, str):
            yield path


def is_below(path: str) -> bool:
    """An address, or a path elsewhere, is nothing that a copy of the model could lack."""
    try:
        check_name(path)
    except VerificationFailed:
        return False
    return True
