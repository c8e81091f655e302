"""Libraries of the training environment: from a lock file, or from an installed environment.

Reads a requirements file that the user named, or the metadata below a folder that the user named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import UsageError
from sovgate.files import read_bounded

MAX_LOCK = 16 * 1024 * 1024
MAX_LIBRARIES = 5_000
MAX_HASHES = 500

_PIN = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?)(?:\[[^\]]{0,200}\])?\s*==\s*"
    r"([A-Za-z0-9.!+_-]{1,80})\s*(?:;.*)?",
    re.ASCII,
)
_HASH = re.compile(r"--hash[= ]sha256:([0-9a-f]{64})", re.ASCII)
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True, kw_only=True, order=True)
class Library:
    """`hashes`: SHA-256 of each archive that the lock admits. `licence` by its own metadata."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    licence: str | None = None


def _purl_name(name: str) -> str:
    """As package URLs spell it: dots stay."""
    return name.lower().replace("_", "-")


def _same(name: str) -> str:
    """PEP 503: what the index takes for one name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def from_lock(path: Path) -> list[Library]:
    """pip's requirements format, every requirement pinned by `==`.

    Raises UsageError, reasons "bad-lock", "missing-path".
    """
    data = read_bounded(path, most=MAX_LOCK, what="requirements file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is not UTF-8", reason="bad-lock") from error
    found: list[Library] = []
    lines = re.sub(r"\\\r?\n", " ", text).splitlines()
    for line in (_COMMENT.sub("", line).strip() for line in lines):
        if not line or (line.startswith("-") and not line.startswith(("-e", "--editable"))):
            continue
        hashes = tuple(sorted(set(_HASH.findall(line))))[:MAX_HASHES]
        pin = _PIN.fullmatch(line.split(" --", 1)[0].strip())
        if pin is None:
            from sovgate.formats.disclosed import shown

            raise UsageError(
                f"{str(path)!r} pins {shown(line)[:80]!r} to no version",
                why="an SBOM without fixed versions says nothing",
                fix="use a lock file: pip freeze, pip-compile, uv pip compile",
                reason="bad-lock",
            )
        found.append(Library(name=_purl_name(pin[1]), version=pin[2], hashes=hashes))
        if len(found) > MAX_LIBRARIES:
            raise UsageError(
                f"{str(path)!r} names more than {MAX_LIBRARIES} libraries", reason="bad-lock"
            )
    return found


def from_environment(folder: Path) -> list[Library]:
    """What is installed in a virtual environment, or below one site-packages. Runs nothing of it.

    Raises UsageError, reason "no-environment".
    """
    from importlib.metadata import distributions

    places = sorted(folder.glob("lib/python3*/site-packages")) or sorted(
        folder.glob("Lib/site-packages")
    )
    if not places and any(folder.glob("*.dist-info")):
        places = [folder]
    found: dict[str, Library] = {}
    for distribution in distributions(path=[str(place) for place in places]) if places else ():
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if not name or not version or not _PIN.fullmatch(f"{name}=={version}"):
            continue
        licence = distribution.metadata.json.get("license_expression")
        library = Library(
            name=_purl_name(name), version=version, licence=str(licence)[:200] if licence else None
        )
        found.setdefault(library.name, library)
        if len(found) > MAX_LIBRARIES:
            raise UsageError(
                f"{str(folder)!r} holds more than {MAX_LIBRARIES} libraries",
                reason="no-environment",
            )
    if not found:
        raise UsageError(
            f"{str(folder)!r} holds no installed library",
            fix="name a virtual environment, or a site-packages folder",
            reason="no-environment",
        )
    return list(found.values())


def merged(*lists: list[Library]) -> tuple[Library, ...]:
    """By name and version; what one list lacks (hashes, licence) the other adds."""
    found: dict[tuple[str, str], Library] = {}
    for one in (one for many in lists for one in many):
        before = found.setdefault((_same(one.name), one.version), one)
        if before is not one:
            found[_same(one.name), one.version] = Library(
                name=before.name,
                version=one.version,
                hashes=tuple(sorted({*before.hashes, *one.hashes})),
                licence=before.licence or one.licence,
            )
    return tuple(found[key] for key in sorted(found))
