"""guard: files that are about to go into Git, looked through for what must not. No network.

Reads the files, `.sovgate-guard.yaml`, and where data sets of the project lie; writes nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import config as configuration
from sovgate import key_settings, uri
from sovgate.errors import Malformed, SovgateError, UsageError, disk_error
from sovgate.files import read_bounded
from sovgate.formats import guardfile
from sovgate.formats.guardfile import GuardFile
from sovgate.git.ignored import git, work_tree
from sovgate.lint import guard as rules
from sovgate.pipeline.decide.projects import (
    MAX_LISTING,
    project_of,
    projects_in,
    read,
    unique,
)
from sovgate.scanner.child import Scanner

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.lint._api import Finding


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """`allowed`: what an exception let through, with its reason; `unchecked`: what no rule saw."""

    files: int
    findings: tuple[Finding, ...]
    allowed: tuple[tuple[Finding, str], ...]
    unchecked: tuple[str, ...] = ()


class _File:
    """A descriptor as bytes at random."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.pread(self.descriptor, count - len(data), offset + len(data))
            if not more:
                raise Malformed("the file ends too early")
            data += more
        return data


def guard(files: Sequence[Path], project: Path | None) -> Guarded:
    """Look through `files`, or without any through all that Git tracks here and below.

    Data sets are those of every project in the repository, and of the one that a file belongs to;
    of `project` alone where one is named. Links, folders and submodules are passed over: Git holds
    no content for them. Raises UsageError (a file is not there), ConfigError (the guard file, a
    project that cannot be read), GitError, DiskError.
    """
    base = Path.cwd()
    settings = _settings(base)
    paths = [*files] or _tracked(base)
    owners: dict[Path, Path | None] = {}
    if project is None:
        owners = {folder: project_of(folder) for folder in {path.parent for path in paths}}
        root = work_tree(base)
        found = [*(owner for owner in owners.values() if owner is not None)]
        found += projects_in(root) if root is not None else []
    else:
        found = [configuration.find(project)]
    unchecked: list[str] = []
    declared = tuple(
        place for path in unique(found) for place in _declared(base, read(path), unchecked)
    )
    named = {key: what for path in unique(found) for key, what in _named_secrets(read(path))}
    look = _Look(settings, declared, named)
    with Scanner() as scanner:
        for path in paths:
            look.at(path, Path(os.path.relpath(path, base)).as_posix(), scanner, named=bool(files))
    alone = [path for path in paths if owners.get(path.parent, path) is None]
    if alone:
        first = Path(os.path.relpath(alone[0], base)).as_posix()
        more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        unchecked.append(f"declared-data not checked: no project for {first}{more}")
    return Guarded(
        files=look.count,
        findings=tuple(look.findings),
        allowed=tuple(look.allowed),
        unchecked=tuple(unchecked),
    )


class _Look:
    """Files one after the other, and what was found in them."""

    def __init__(
        self,
        settings: GuardFile,
        declared: tuple[rules.Declared, ...],
        named: Mapping[tuple[int, int], str],
    ) -> None:
        """`named`: device and inode of a file that a project names for a secret -> what it is."""
        self.settings, self.declared, self.named = settings, declared, named
        self.count = 0
        self.findings: list[Finding] = []
        self.allowed: list[tuple[Finding, str]] = []

    def at(self, path: Path, name: str, scanner: Scanner, *, named: bool) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if path.is_symlink() or (not named and not path.exists()):
                return
            raise disk_error(error, f"read {name!r}") from error
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                self.count += 1
                self.sort(name, descriptor, scanner)
        except OSError as error:
            raise disk_error(error, f"read {name!r}") from error
        finally:
            os.close(descriptor)

    def sort(self, name: str, descriptor: int, scanner: Scanner) -> None:
        found = rules.scan(
            name,
            _File(descriptor),
            declared=self.declared,
            weights_over=self.settings.weights_over,
            pickle=lambda: scanner.scan(name, descriptor),
        )
        state = os.fstat(descriptor)
        if (what := self.named.get((state.st_dev, state.st_ino))) is not None:
            found = itertools.chain((rules.named_secret(name, what),), found)
        for finding in found:
            reason = self.settings.reason(name, finding.rule)
            if reason is None:
                self.findings.append(finding)
            else:
                self.allowed.append((finding, reason))


def _settings(base: Path) -> GuardFile:
    path = base / guardfile.FILE_NAME
    if not os.path.lexists(path):
        return GuardFile()
    data = read_bounded(path, most=guardfile.MAX_BYTES, what="guard file")
    return guardfile.parse(data, guardfile.FILE_NAME)


def _named_secrets(config: ProjectConfig) -> Iterator[tuple[tuple[int, int], str]]:
    """Files that a key's URI names for its PIN, as far as they are here."""
    for name, zone in config.zones.items():
        for use in ("sign", "encrypt"):
            text = getattr(zone.keys, use)
            path = key_settings.secret_file(uri.parse(text, what="key")) if text else None
            if path is not None:
                with contextlib.suppress(OSError, ValueError):
                    state = path.stat()
                    yield (state.st_dev, state.st_ino), f"the PIN of zones.{name}.keys.{use}"


def _declared(base: Path, config: ProjectConfig, unchecked: list[str]) -> Iterator[rules.Declared]:
    """Local places that data sets point to; what a manifest that does not read names is unknown."""
    from sovgate.formats import dataset

    for name, ref in config.datasets.items():
        if ref.manifest is None:
            continue
        path = config.path.parent / ref.manifest
        try:
            data = read_bounded(path, most=dataset.MAX_BYTES, what="dataset manifest")
            pointer = dataset.parse(data, ref.manifest).pointer
        except SovgateError as error:
            unchecked.append(f"declared-data not checked: {path}, of {name}: {error.what}")
            continue
        scheme, _, rest = pointer.partition(":")
        if scheme == "file" and rest:
            place = config.path.parent / rest.removeprefix("//")
            yield rules.Declared(path=Path(os.path.relpath(place, base)).as_posix(), dataset=name)


def _tracked(base: Path) -> list[Path]:
    """What Git tracks here and below. Raises UsageError where there is no repository."""
    done = git(base, "ls-files", "-z", most=MAX_LISTING)
    if done.code != 0:
        raise UsageError(
            "no files are named",
            why=done.stderr or None,
            fix="name files, or run it in a Git repository",
            reason="nothing-to-do",
        )
    return [base / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
