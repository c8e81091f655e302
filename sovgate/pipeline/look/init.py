"""init: checks answers, and writes a project's files: all of them or none, and never over another.

Touches the folder it is given; sovgate.yaml comes last, so that a project is there whole or not.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sovgate import regions
from sovgate.errors import ConfigError, UsageError, disk_error
from sovgate.files import read_bounded
from sovgate.pipeline.look.scaffold import (
    PATTERNS,
    PUBLIC,
    Answers,
    DataAnswer,
    ZoneAnswer,
    files,
    key_files,
)
from sovgate.records import RELEASE_PART
from sovgate.staging import Staging

__all__ = ["PATTERNS", "Answers", "DataAnswer", "Made", "ZoneAnswer", "init"]

#: Files that a repository may have for other reasons. They are never changed, only talked about.
SHARED = frozenset(
    {".gitignore", ".pre-commit-config.yaml", ".github/zizmor.yml", ".github/jactionlint.yaml"}
)
PROJECT = "sovgate.yaml"
IGNORED = "keys/.gitignore"
MAX_FILE = 1024 * 1024
MAX_ZONES = 16
#: As long may names be in Kubernetes, of buckets, and of Tekton's pipelines.
MAX_NAME = 63
#: What can be a name in Kubernetes; a zone's also begins the names of its secrets at GitHub, which
#: keeps some for itself.
_MODEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
_ZONE = re.compile(r"(?!github(-|$))[a-z]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Made:
    """created  files that are new; kept  those that were there and are the same, and keys
    differ   shared files that were there and are left as they are, with what they should have
    """

    folder: Path
    created: tuple[str, ...]
    kept: tuple[str, ...]
    differ: tuple[tuple[str, str], ...]
    dry_run: bool


# -- answers, each checked by itself so that a person can be asked again


def model_name(text: str) -> str:
    """Raises UsageError."""
    if not _MODEL.fullmatch(text):
        raise UsageError(
            f"{text[:60]!r} cannot be a model's name",
            fix="use a-z, 0-9 and hyphens, at most 40, with no hyphen at either end",
            reason="bad-name",
        )
    return text


def zone_answer(text: str, *, suffix: str = "") -> ZoneAnswer:
    """`provider:region`, or `ZONE=provider:region`. Raises UsageError with what was meant."""
    name, equals, place = text.strip().partition("=")
    if not equals:
        name, place = "", name
    try:
        region = regions.lookup(place.strip())
    except ConfigError as error:
        raise UsageError(error.what, why=error.why, fix=error.fix, reason=error.reason) from error
    name = name.strip() or region.country.lower() + suffix
    if not _ZONE.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} cannot be a zone's name",
            fix="use a-z, 0-9 and hyphens, at most 40; a letter first, no hyphen last; not github",
            reason="bad-name",
        )
    return ZoneAnswer(name=name, region=region)


def data_answer(text: str) -> DataAnswer:
    """`NAME=PLACE[,PLACE…]`, places being countries or groups of them. Raises UsageError."""
    name, _, places = text.strip().partition("=")
    found = tuple(dict.fromkeys(place.strip().upper() for place in places.split(",")))
    for place in found:
        try:
            regions.group(place)
        except ConfigError as error:
            raise UsageError(
                error.what, why=error.why, fix=error.fix, reason="bad-place"
            ) from error
    if not RELEASE_PART.fullmatch(name) or name == PUBLIC:
        raise UsageError(
            f"{name[:60]!r} cannot be a data set's name",
            fix="write NAME=PLACE, for example customers-eu=EU",
            reason="bad-name",
        )
    return DataAnswer(name=name, stays_in=found)


def check(answers: Answers) -> Answers:
    """What only all answers together can get wrong. Raises UsageError."""
    names = [zone.name for zone in answers.zones]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"two zones are called {twice[0]}",
            fix="give each its own name: NAME=provider:region",
            reason="bad-name",
        )
    for name in names:
        # Those are what environments and pipelines beside the zone's own are called.
        if {f"{name}-release", f"{name}-rollback"} & set(names):
            raise UsageError(
                f"the names of these zones conflict: {', '.join(names)[:120]}",
                why=f"{name}-release and {name}-rollback already belong to zone {name}",
                fix="give each its own name: NAME=provider:region",
                reason="bad-name",
            )
        longest = f"{answers.model}-{name}-release"
        if len(longest) > MAX_NAME:
            raise UsageError(
                f"the names of model and zone are too long when joined: {longest}",
                why=f"pipelines, namespaces and buckets have at most {MAX_NAME}",
                fix="use a shorter --model, or a shorter zone name: NAME=provider:region",
                reason="bad-name",
            )
    if not 1 <= len(answers.serve) <= MAX_ZONES:
        raise UsageError(
            f"from 1 to {MAX_ZONES} zones can serve", fix="add --serve provider:region"
        )
    data = [one.name for one in answers.data]
    if len(set(data)) != len(data):
        raise UsageError("two data sets have one name", reason="bad-name")
    if answers.pattern == "hybrid" and not data:
        raise UsageError(
            "a hybrid project fine-tunes on data that may not leave, and no such data is named",
            fix="add --data NAME=EU",
            reason="no-data",
        )
    if answers.gitops is not None:
        from sovgate.git.url import parse_remote

        parse_remote(answers.gitops, Path.cwd())
    return answers


# -- writing


def init(folder: Path, answers: Answers, *, dry_run: bool = False) -> Made:
    """Write the project into `folder`, which may hold other things.

    Raises UsageError ("output-exists": a file is there and is another; nothing was written),
    DiskError. After a crash run it again with the same answers: it finishes.
    """
    wanted = files(check(answers))
    keys = [(kind, path) for kind, path in key_files(answers)]
    _check_folders(folder, [*wanted, *(path for _, path in keys)])
    created, kept, differ = _compare(folder, wanted)
    fresh = [(kind, path) for kind, path in keys if not os.path.lexists(folder / path)]
    old = [path for kind, path in keys if (kind, path) not in fresh]
    new_keys = [half for _, path in fresh for half in (path, _public(path))]
    for half in new_keys:
        if os.path.lexists(folder / half):
            raise _taken([half])
    halves = [half for path in old for half in (path, _public(path))]
    for half in halves:
        if not (folder / half).is_file():
            raise UsageError(
                f"{half!r} is missing, but its other half exists",
                fix="restore it, or move the other half away",
                reason="half-a-key",
            )
    kept += halves
    if not dry_run:
        # What keeps the keys out of Git is there before them.
        staged = sorted((path for path in created if path != PROJECT), key=lambda p: p != IGNORED)
        staged += new_keys
        staged += [PROJECT] if PROJECT in created else []
        _write(folder, wanted, fresh, staged)
    return Made(
        folder=folder,
        created=tuple(sorted([*created, *new_keys])),
        kept=tuple(sorted(kept)),
        differ=tuple(differ),
        dry_run=dry_run,
    )


def _public(path: str) -> str:
    return f"{path.removesuffix('.pem')}.pub.pem"


def _check_folders(folder: Path, paths: list[str]) -> None:
    """What is to hold files is a folder, or is not there yet."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(
            f"{str(folder)!r} is not a folder", fix="choose another", reason="output-exists"
        )
    for parent in dict.fromkeys(parent for path in paths for parent in Path(path).parents):
        there = folder / parent
        if parent == Path() or (there.is_dir() and not there.is_symlink()):
            continue
        if os.path.lexists(there):
            what = "a link" if there.is_symlink() else "no folder"
            raise UsageError(
                f"{str(parent)!r} is {what}",
                why="nothing was written",
                fix="move it away, or choose another folder: init writes only into real folders",
                reason="output-exists",
            )


def _compare(
    folder: Path, wanted: Mapping[str, bytes]
) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """What is new, what is there already, and what shared files lack."""
    created: list[str] = []
    kept: list[str] = []
    differ: list[tuple[str, str]] = []
    taken: list[str] = []
    for path, data in wanted.items():
        there = folder / path
        if not os.path.lexists(there):
            created.append(path)
            continue
        same = there.is_file() and not there.is_symlink()
        now = read_bounded(there, most=MAX_FILE, what="file") if same else b""
        lines = set(now.decode("utf-8", "replace").splitlines())
        if same and now == data:
            kept.append(path)
        elif same and path in SHARED:
            missing = _lacking(data.decode(), lines)
            if missing:
                differ.append((path, missing))
            else:
                kept.append(path)
        else:
            taken.append(path)
    if taken:
        raise _taken(taken)
    return created, kept, differ


def _lacking(text: str, there: set[str]) -> str:
    """The lines that a shared file lacks; of a list in YAML all, which means nothing in parts."""
    first, below, block = text.partition("repos:\n")
    lines = (block if below else first).splitlines()
    missing = [line for line in lines if line not in there]
    if not any(line.strip() and not line.startswith("#") for line in missing):
        return ""
    return "\n".join(lines if below else missing)


def _taken(paths: list[str]) -> UsageError:
    return UsageError(
        f"{paths[0]!r} already exists with other content"
        + (f"; and so do {len(paths) - 1} more" if len(paths) > 1 else ""),
        why="nothing is ever overwritten, and nothing was written",
        fix="choose another folder, or move these files away",
        reason="output-exists",
        details=tuple(paths),
    )


def _write(
    folder: Path, wanted: Mapping[str, bytes], keys: list[tuple[str, str]], order: list[str]
) -> None:
    """Write all beside, then give each its name; take back what was named where one fails."""
    from sovgate.pipeline.look.keys import generate

    made: list[Path] = []
    try:
        with Staging(folder / PROJECT) as staging:
            for kind, path in keys:
                (staging.path / path).parent.mkdir(parents=True, exist_ok=True)
                generate(kind, out=staging.path / path)
            for path, data in wanted.items():
                place = staging.path / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            try:
                for path in order:
                    _make_folders(folder, Path(path).parent, made)
                    os.link(staging.path / path, folder / path)
                    made.append(folder / path)
            except BaseException:
                _take_back(made)
                raise
    except FileExistsError as error:
        name = error.filename2 or error.filename  # link(2) names two, mkdir(2) one
        raise _taken([os.path.relpath(str(name), folder)]) from error
    except OSError as error:
        raise disk_error(error, f"write the project to {str(folder)!r}") from error


def _make_folders(folder: Path, below: Path, made: list[Path]) -> None:
    for part in reversed([below, *below.parents]):
        place = folder / part
        if not place.is_dir():
            place.mkdir()
            made.append(place)


def _take_back(made: list[Path]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
