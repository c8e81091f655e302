"""init: checks answers, and writes a project's files: all of them or none, and never over another.

Touches the folder it is given; sovgate.yaml comes last, so that a project is there whole or not.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sovgate import config as configuration
from sovgate.errors import GitError, SovgateError, UsageError, disk_error
from sovgate.files import read_bounded
from sovgate.git.ignored import is_ignored, work_tree
from sovgate.git.url import same_repository
from sovgate.lint.not_built import pipelines_in
from sovgate.lint.project import overlays_of
from sovgate.pipeline.decide.projects import projects_in
from sovgate.pipeline.look.answers import (
    PATTERNS,
    Answers,
    DataAnswer,
    ZoneAnswer,
    check,
    check_gitops,
    data_answer,
    model_name,
    site_answer,
    slug,
    with_endpoint,
    zone_answer,
)
from sovgate.pipeline.look.scaffold import files, key_files
from sovgate.staging import Staging

__all__ = [
    "PATTERNS",
    "Answers",
    "DataAnswer",
    "Made",
    "ZoneAnswer",
    "check",
    "check_free",
    "check_gitops",
    "check_place",
    "data_answer",
    "init",
    "model_name",
    "site_answer",
    "with_endpoint",
    "zone_answer",
]

#: Files that a repository may have for other reasons. They are never changed, only talked about.
SHARED = frozenset({".gitignore", ".pre-commit-config.yaml"})
PROJECT = "sovgate.yaml"
IGNORED = "keys/.gitignore"
MAX_FILE = 1024 * 1024
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Made:
    """created  files that are new; kept  those that were there and are the same, and keys
    differ   shared files that were there and are left as they are, with what they should have
    root     the repository's, or `folder`; all paths are below it
    elsewhere  what lies there of other systems' pipelines, for which nothing was written
    """

    folder: Path
    root: Path
    created: tuple[str, ...]
    kept: tuple[str, ...]
    differ: tuple[tuple[str, str], ...]
    dry_run: bool
    elsewhere: tuple[str, ...] = ()


# -- writing


def _place(folder: Path, model: str) -> tuple[Path, str]:
    """The root of the repository around a folder, and the folder below it; "" where there is none.

    A repository that ignores the folder is none of the project. Raises UsageError.
    """
    root = work_tree(folder)
    real = Path(os.path.realpath(folder))
    if root is None or root == real:
        return folder, ""
    with contextlib.suppress(GitError):
        if is_ignored(folder / PROJECT):
            return folder, ""
    place = real.relative_to(root).as_posix()
    if not _FOLDER.fullmatch(place):
        raise UsageError(
            f"a workflow cannot name the folder {place[:80]!r}",
            fix="use a-z, A-Z, 0-9, dots, hyphens and underscores in its path",
            reason="bad-name",
        )
    if model.startswith("v"):
        raise UsageError(
            f"{model!r} cannot be the name of a model in a folder of a repository",
            why=f"its tags, {model}-v1.0.0, would also start a workflow for tags v*",
            fix="choose another with --model",
            reason="bad-name",
        )
    return Path(os.path.relpath(root)), place


def check_place(folder: Path, model: str = "") -> str:
    """The model's name, which with this folder can be in a repository; before anybody is asked
    for more. Raises UsageError."""
    _check_folder(folder)
    _place(folder, model)
    return model


def check_free(folder: Path) -> None:
    """That there is no project yet, before anybody is asked: answers would hardly be those by which
    it was made. Raises UsageError."""
    path = folder / PROJECT
    if os.path.lexists(path):
        raise UsageError(
            f"{str(path)!r} already exists",
            why="nothing is ever overwritten",
            fix="choose another folder; or, for files that are missing, give the options by which "
            "it was made: --pattern, --train and --serve at least",
            reason="output-exists",
        )


def init(folder: Path, answers: Answers, *, hosted: bool = False, dry_run: bool = False) -> Made:
    """Write the project into `folder`, which may hold other things.

    hosted  only workflows that runners at any place may run

    Raises UsageError ("output-exists": a file is there and is another; nothing was written),
    DiskError. After a crash run it again with the same answers: it finishes.
    """
    top, place = _place(folder, answers.model)
    answers = replace(check(answers), place=place)
    below = f"{place}/" if place else ""
    wanted = {
        path[1:] if path.startswith("/") else below + path: data
        for path, data in files(answers, hosted=hosted).items()
    }
    keys = [(kind, below + path) for kind, path in key_files(answers)]
    _check_folders(folder, top, [*wanted, *(path for _, path in keys)])
    created, kept, differ = _compare(top, wanted)
    _require_own_names(folder, top, answers)
    fresh = [(kind, path) for kind, path in keys if not os.path.lexists(top / path)]
    old = [path for kind, path in keys if (kind, path) not in fresh]
    new_keys = [half for _, path in fresh for half in (path, _public(path))]
    for half in new_keys:
        if os.path.lexists(top / half):
            raise _taken([half])
    halves = [half for path in old for half in (path, _public(path))]
    for half in halves:
        if not (top / half).is_file():
            raise UsageError(
                f"{half!r} is missing, but its other half exists",
                fix="restore it, or move the other half away",
                reason="half-a-key",
            )
    kept += halves
    if not dry_run:
        # What keeps the keys out of Git is there before them.
        last, first = below + PROJECT, below + IGNORED
        staged = sorted((path for path in created if path != last), key=lambda p: p != first)
        staged += new_keys
        staged += [last] if last in created else []
        _write(folder, top, {path: wanted[path] for path in created}, fresh, staged)
    return Made(
        folder=folder,
        root=top,
        created=tuple(sorted([*created, *new_keys])),
        kept=tuple(sorted(kept)),
        differ=tuple(differ),
        dry_run=dry_run,
        elsewhere=tuple(pipelines_in(top)),
    )


def _require_own_names(folder: Path, top: Path, answers: Answers) -> None:
    """Volumes, runs, workloads and buckets are called after model and zone: no other project of the
    repository has these names, nor these overlays. Raises UsageError, reason "bad-name".
    """
    serving = None if answers.gitops is None else same_repository(answers.gitops, folder)
    overlays = {f"{answers.serving}/overlays/{zone.name}" for zone in answers.serve}
    own = {f"{answers.slug}-{zone.name}" for zone in answers.zones}
    for path in projects_in(Path(os.path.realpath(top))) if top.is_dir() else ():
        if os.path.realpath(path.parent) == os.path.realpath(folder):
            continue
        try:
            other = configuration.read(path)
        except SovgateError:  # `lint` says it
            continue
        same = sorted(own & {f"{slug(other.model)}-{zone}" for zone in other.zones})
        if same:
            raise UsageError(
                f"{same[0]!r} is what a zone of the project in {str(path.parent)!r} is called too",
                why=f"its model is {other.model!r}, and this one {answers.model!r}; volumes, runs, "
                "workloads and buckets have hyphens in place of dots and _",
                fix="choose another --model, or another name for the zone: NAME=provider:region",
                reason="bad-name",
            )
        for (repository, branch, place), name in overlays_of(other).items():
            if (repository, branch) == (serving, "main") and place in overlays:
                raise UsageError(
                    f"{place!r} is the overlay of zone {name} of the project in "
                    f"{str(path.parent)!r} too",
                    why=f"both are on branch main of {answers.gitops}; an overlay pins one model",
                    fix=f"name another folder in zones.{name}.gitops.path of {str(path)!r}, and "
                    "move the overlay there; or choose another --gitops, or leave it out",
                    reason="bad-name",
                )


def _public(path: str) -> str:
    return f"{path.removesuffix('.pem')}.pub.pem"


def _check_folders(folder: Path, top: Path, paths: list[str]) -> None:
    """What is to hold files is a folder, or is not there yet."""
    _check_folder(folder)
    for parent in dict.fromkeys(parent for path in paths for parent in Path(path).parents):
        there = top / parent
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


def _check_folder(folder: Path) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(
            f"{str(folder)!r} is not a folder", fix="choose another", reason="output-exists"
        )


def _compare(
    top: Path, wanted: Mapping[str, bytes]
) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """What is new, what is there already, and what shared files lack."""
    created: list[str] = []
    kept: list[str] = []
    differ: list[tuple[str, str]] = []
    taken: list[str] = []
    for path, data in wanted.items():
        there = top / path
        if not os.path.lexists(there):
            created.append(path)
            continue
        same = there.is_file() and not there.is_symlink()
        now = read_bounded(there, most=MAX_FILE, what="file") if same else b""
        lines = set(now.decode("utf-8", "replace").splitlines())
        if same and now == data:
            kept.append(path)
        elif same and _shared(path):
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


def _shared(path: str) -> bool:
    own = Path(path)
    return path in SHARED or (own.name == ".gitignore" and own.parent.name != "keys")


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
    folder: Path,
    top: Path,
    wanted: Mapping[str, bytes],
    keys: list[tuple[str, str]],
    order: list[str],
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
                    _make_folders(top, Path(path).parent, made)
                    os.link(staging.path / path, top / path)
                    made.append(top / path)
            except BaseException:
                _take_back(made)
                raise
    except FileExistsError as error:
        name = error.filename2 or error.filename  # link(2) names two, mkdir(2) one
        raise _taken([os.path.relpath(str(name), top)]) from error
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
