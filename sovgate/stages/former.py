"""Evidence of what a model was before: moved aside in its folder, and back if it is that again.

Nothing is overwritten or lost. What cannot be read stays where it is, since it may bind (RULES 30).
Touches the evidence folder alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import VerificationFailed, disk_error
from sovgate.files import create_only, read_bounded
from sovgate.formats import foreign
from sovgate.formats.oms import Oms
from sovgate.formats.statement import Statement
from sovgate.strict import MAX_BYTES

OLD = "old"
_DRAFTS = "unsigned"
_SIGNATURE = "signature.sigstore.json"
_MAX_FILES = 10_000


@dataclass(frozen=True, kw_only=True)
class Moved:
    """`away` to below `old/`, `back` from there; by their names in the evidence folder."""

    away: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


NOTHING = Moved()


def put_away(folder: Path, manifest: str) -> tuple[str, ...]:
    """Move what is about another manifest to `old/MANIFEST/`. Returns where each lies now.

    Raises VerificationFailed (a link on the way), DiskError.
    """
    moved = []
    for path, about in [*_others(folder, manifest)]:
        target = _old(folder, about) / path.relative_to(folder)
        moved.append(_move(path, target).relative_to(folder).as_posix())
    return tuple(moved)


def bring_back(folder: Path, manifest: str) -> tuple[str, ...]:
    """Move what was put away of this manifest back, where its name is free. Returns the names."""
    home = _old(folder, manifest)
    back = []
    for path in [*_files(home), *_files(home / _DRAFTS)]:
        target = folder / path.relative_to(home)
        if path.name != _SIGNATURE and not os.path.lexists(target):
            back.append(_move(path, target).relative_to(folder).as_posix())
    return tuple(back)


def keep_signature(folder: Path, data: bytes, about: str) -> Path:
    """The signature that another one replaces, of what the model was before."""
    target = _old(folder, about) / _SIGNATURE
    return _write(target, data)


def _old(folder: Path, about: str) -> Path:
    for place in (folder, folder / OLD, folder / OLD / about, folder / OLD / about / _DRAFTS):
        if place.is_symlink():
            raise VerificationFailed(
                f"{str(place)!r} is a link",
                why="evidence is moved within its folder alone",
                fix="replace the link with a folder",
                reason="not-regular",
            )
    return folder / OLD / about


def _others(folder: Path, manifest: str) -> Iterator[tuple[Path, str]]:
    """Files that clearly are about another manifest, and which."""
    for path in [*_files(folder), *_files(folder / _DRAFTS)]:
        if path.name == _SIGNATURE or not path.name.endswith(".json"):
            continue
        try:
            about = _about(read_bounded(path, most=MAX_BYTES, what="evidence file"), path)
        except VerificationFailed:
            continue
        if about not in (None, manifest):
            yield path, str(about)


def about_of(signature: bytes) -> str | None:
    """The manifest that a signature tells, None where it tells none."""
    try:
        told = Oms.parse(foreign.statement(signature)).manifest()
    except VerificationFailed:
        return None
    return None if told is None else told.digest


def _about(data: bytes, path: Path) -> str | None:
    if path.parent.name == _DRAFTS:
        return Statement.parse(data).subject_sha256
    said = foreign.statement(data)
    return about_of(data) if said.role == "signature" else said.subject_sha256


def _files(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    try:
        names = sorted(item.name for item in os.scandir(folder) if item.is_file())
    except OSError as error:
        raise disk_error(error, f"list {str(folder)!r}") from error
    if len(names) > _MAX_FILES:
        raise VerificationFailed(f"{str(folder)!r} holds more than {_MAX_FILES} files")
    return [folder / name for name in names if not (folder / name).is_symlink()]


def _move(path: Path, target: Path) -> Path:
    data = read_bounded(path, most=MAX_BYTES, what="evidence file")
    found = _write(target, data)
    try:
        path.unlink()
    except OSError as error:
        raise disk_error(error, f"move {str(path)!r}") from error
    return found


def _write(target: Path, data: bytes) -> Path:
    """Under that name, or where other bytes have it, under one with its digest."""
    import hashlib

    if create_only(target, data):
        return target
    if read_bounded(target, most=MAX_BYTES, what="evidence file") == data:
        return target
    other = target.with_name(f"{hashlib.sha256(data).hexdigest()}-{target.name}")
    create_only(other, data)
    return other
