"""Reads a model once and says what it is: names, sizes, digests. Opens files for reading only.

RULES 1, 2, 4: what counts as a file of the model, and what its name may be. `hashing` reads them.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sovgate.blocks import Blocks
from sovgate.errors import DiskError, VerificationFailed, disk_error
from sovgate.files import Entry, check_name, open_below, walk
from sovgate.formats import leftovers
from sovgate.formats.leftovers import APPLE_HEAD, by_content, is_apple_double, is_leftover
from sovgate.formats.manifest import FILE_NAME, Kind, Manifest, Resource, check_resources
from sovgate.formats.oms import GIT_NAMES, MAX_IGNORED
from sovgate.links import opened_model
from sovgate.names import is_git_name
from sovgate.records import Advance
from sovgate.stages.hashing import Second, hash_files

#: How many leftovers a signature names, beside git's names and its own.
MAX_LEFTOVERS = MAX_IGNORED - 10
#: How many files below a leftover are looked at.
MAX_BELOW = 100_000
#: How many files an error names.
MAX_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What of a folder counts as the model, where its signature is verified.

    signature        the bundle's own path, left out if it lies inside the model
    strict_git       as in `take`; a download that did not finish is refused too
    ignore           relative paths that the caller leaves out (RULES 2); what is signed is
                     verified all the same
    ignore_unsigned  whether files that are not signed are passed over, wherever they lie
    any_name         whether a file may have another name than it was signed under
    """

    signature: Path | None = None
    strict_git: bool = False
    ignore: tuple[str, ...] = ()
    ignore_unsigned: bool = False
    any_name: bool = False


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies there, not read yet. `entries` are in the order of a manifest.

    root     the resolved path of the directory or file
    ignored  paths that were left out, git's apart: leftovers of tools, and the signature
    link     of one file that was named through a link, what the link is called
    """

    root: Path
    kind: Kind
    entries: tuple[Entry, ...]
    ignored: tuple[str, ...] = ()
    link: str | None = None

    @property
    def name(self) -> str:
        """What the user calls it: a hub's cache calls the target of a link by its digest."""
        return self.link or self.root.name

    @property
    def total(self) -> int:
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A model that was read. `root` is its resolved path: the directory, or the file itself.

    foreign   digests by name as `read` was asked for them beside SHA-256
    ignored   paths inside the model that were left out, git's apart
    name      what the user calls it, as `Survey` has it
    """

    manifest: Manifest
    root: Path
    kind: Kind
    name: str
    foreign: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def take(
    path: str | os.PathLike[str],
    *,
    advance: Advance | None = None,
    total: Callable[[int], None] | None = None,
    signature: Path | None = None,
    strict_git: bool = False,
    looked: Mapping[str, Blocks] | None = None,
) -> Inventory:
    """Read the model at `path` and make its manifest.

    `total` is told the number of bytes before the first is read, `advance` each number done, from
    any thread. `signature` is left out if it lies inside the model. `strict_git` refuses names with
    a part that begins with `.git` below the root, which git would act on where they are unpacked
    (RULES 2): for what is signed, encrypted or pushed. `looked` as in `hashing.hash_files`.

    Raises VerificationFailed, reasons "empty-model", "unsafe-name", "not-regular", "git-name",
    "changed-while-reading", "limits"; UsageError (no such path), DiskError.
    """
    found = survey(path, signature=signature)
    if strict_git:
        refuse_git(entry.name for entry in found.entries)
    if total is not None:
        total(found.total)
    return read(found, looked=looked, advance=advance)


def survey(
    path: str | os.PathLike[str],
    *,
    signature: Path | None = None,
    skip: frozenset[str] = frozenset(GIT_NAMES),
    leave: Callable[[str], bool] | None = None,
    leftover: Callable[[str], bool] = is_leftover,
) -> Survey:
    """List the model's files without reading them; names are checked (RULES 4).

    `skip` are names at the root; `leave` as in `files.walk`. `leftover` tells what is left out as
    no part of the model, and named under `ignored`. Raises as `take` does.
    """
    root = resolved(path)
    if not root.is_dir():
        size = _file_size(root)
        link = Path(path).name if Path(path).is_symlink() else None
        only = (Entry(name=FILE_NAME, size=size),)
        return Survey(root=root, kind="file", entries=only, link=link)
    inside = signature_inside(root, signature)
    try:
        with opened_model(root) as handle:
            found = _Leftovers(leave, leftover)
            entries = found.without(handle, walk(handle, skip=skip, leave=found.passed_over))
    except OSError as error:
        raise disk_error(error, f"list the model {str(root)!r}") from error
    except VerificationFailed as error:
        if error.reason == "not-regular" and error.why is None:  # a link
            error.fix = _without_links(path)
        raise
    left_out = (*(() if inside is None else (inside,)), *sorted(found.paths))
    if len(found.paths) > MAX_LEFTOVERS:
        raise _too_many(found.paths)
    entries = [entry for entry in entries if entry.name != inside]
    entries.sort(key=lambda entry: entry.name)
    check_resources("directory", [entry.name for entry in entries])
    return Survey(root=root, kind="directory", entries=tuple(entries), ignored=left_out)


def _without_links(path: str | os.PathLike[str]) -> str:
    """How to get a model without links, as the cache of a hub is made of them."""
    named = _revision(Path(path))
    hub = named.parent.parent if named.parent.name == "snapshots" else named.parent
    return (
        f"copy it with the files behind its links: cp -rL {shlex.quote(os.fspath(named))} MODEL; "
        f"or have links below a folder followed: --follow-links {shlex.quote(os.fspath(hub))}"
        + ("" if named == Path(path) else f" and {shlex.quote(os.fspath(named))} as the model")
    )


def _revision(named: Path) -> Path:
    """Of a hub's cache of one model, that was named as a whole, the one revision in it."""
    folder = named if named.name == "snapshots" else named / "snapshots"
    try:
        found = [one for one in folder.iterdir() if one.is_dir() and one.suffix != ".evidence"]
    except OSError:
        return named
    return found[0] if len(found) == 1 else folder / "REVISION"


class _Leftovers:
    """Which paths of a model are what tools left in its folder. RULES 2."""

    def __init__(
        self, leave: Callable[[str], bool] | None, leftover: Callable[[str], bool]
    ) -> None:
        self._leave, self._leftover = leave, leftover
        self.paths: list[str] = []

    def passed_over(self, name: str) -> bool:
        if self._leave is not None and self._leave(name):
            return True
        if not self._leftover(name) or by_content(name):
            return False
        self.paths.append(name)
        return True

    def without(self, root: int, entries: list[Entry]) -> list[Entry]:
        """Without those that their content tells."""
        doubtful = [e for e in entries if by_content(e.name) and self._leftover(e.name)]
        gone = {e.name for e in doubtful if is_apple_double(_head(root, e.name))}
        self.paths += gone
        return [entry for entry in entries if entry.name not in gone] if gone else entries


def _head(root: int, name: str) -> bytes:
    descriptor = open_below(root, name)
    try:
        return os.pread(descriptor, APPLE_HEAD, 0)
    finally:
        os.close(descriptor)


def _too_many(paths: list[str]) -> VerificationFailed:
    return VerificationFailed(
        f"tools left more than {MAX_LEFTOVERS} files in the model's folder",
        why=f"a signature names what it leaves out, and there are {len(paths)}: "
        + ", ".join(repr(path[:80]) for path in sorted(paths)[:3]),
        fix="remove them; AppleDouble files go with: find MODEL -name '._*' -delete",
        reason="limits",
    )


def read(
    found: Survey,
    *,
    algorithm: str = "sha256",
    shard_size: int | None = None,
    looked: Mapping[str, Blocks] | None = None,
    advance: Advance | None = None,
) -> Inventory:
    """Hash what a survey found; `algorithm` and `shard_size` may ask for second digests, taken in
    the same pass; `looked` as in `hashing.hash_files`."""
    results = hash_files(
        found.root,
        found.entries,
        alone=found.kind == "file",
        second=Second(algorithm=algorithm, shard_size=shard_size),
        looked=looked,
        advance=advance,
    )
    resources, foreign = [], {}
    for entry in found.entries:
        hashed = results[entry.name]
        resources.append(Resource(name=entry.name, size=entry.size, digest=hashed.sha256))
        if hashed.other is not None:
            foreign[entry.name] = hashed.other
    return Inventory(
        manifest=Manifest(kind=found.kind, resources=tuple(resources)),
        root=found.root,
        kind=found.kind,
        name=found.name,
        foreign=foreign,
        ignored=found.ignored,
    )


def below(name: str, path: str) -> bool:
    """Whether `name` is `path` or lies in it."""
    return name == path or name.startswith(path + "/")


def plain_path(text: str) -> str | None:
    """A path below the model's root in its one spelling; None for what names nothing there."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts:
        return None
    return "/".join(parts) or None


def refuse_git(names: Iterable[str]) -> None:
    """RULES 2: no part that Git acts on, on any file system. All are named at once."""
    # Most names hold neither of these, and there may be very many.
    found = [
        name
        for name in names
        if (not name.isascii() or ".g" in name or ".G" in name or "~" in name)
        and any(is_git_name(part) for part in name.split("/"))
    ]
    if found:
        first, *others = found
        raise VerificationFailed(
            f"{first[:160]!r} has a name that git acts on",
            why="where the model is unpacked, git would act on it",
            fix="remove it, or rename it"
            if not others
            else "remove them, or rename them: rm -- "
            + " ".join(shlex.quote(name) for name in found[:MAX_SHOWN]),
            reason="git-name",
            details=tuple(f"and {name[:160]!r}" for name in others[:MAX_SHOWN]),
        )


def refuse_unfinished(found: Survey) -> None:
    """RULES 38: what a tool is still downloading is missing, and lies in what is left out.

    Raises VerificationFailed, reason "unfinished-download".
    """
    looked = 0
    for path in filter(leftovers.of_download, found.ignored):
        for folder, _, names in os.walk(found.root / path):
            looked += len(names)
            if looked > MAX_BELOW:
                return
            for base in sorted(names):
                name = (Path(folder) / base).relative_to(found.root).as_posix()
                if leftovers.is_unfinished(path, name):
                    raise VerificationFailed(
                        f"{name[:300]!r} is what a download left that did not finish",
                        why="a file of the model is missing, or not whole",
                        fix="run the same download again until it is done; if all files are there, "
                        f"rm -- {shlex.quote(os.fspath(found.root / name))}",
                        reason="unfinished-download",
                    )


def signature_inside(root: Path, signature: Path | None) -> str | None:
    """The signature's path relative to the model's resolved root, or None if it lies elsewhere."""
    if signature is None:
        return None
    place = signature.parent.resolve() / signature.name
    if not place.is_relative_to(root) or place == root:
        return None
    name = place.relative_to(root).as_posix()
    check_name(name)
    return name


def resolved(path: str | os.PathLike[str]) -> Path:
    """The model's own path, links followed. Raises UsageError, DiskError, VerificationFailed."""
    try:
        root = Path(path).resolve(strict=True)
    except OSError as error:
        raise disk_error(error, f"open the model {os.fspath(path)!r}") from error
    except RuntimeError as error:  # Python 3.11 and 3.12 say so of a loop of links
        raise DiskError(f"could not open the model {os.fspath(path)!r}", why=str(error)) from error
    if not root.name:
        raise VerificationFailed(
            "the whole file system is not a model", fix="name its folder", reason="not-a-model"
        )
    return root


def _file_size(root: Path) -> int:
    state = root.stat(follow_symlinks=False)
    if not stat.S_ISREG(state.st_mode):
        raise VerificationFailed(
            f"{root.name[:160]!r} is neither a directory nor a regular file", reason="not-regular"
        )
    return state.st_size
