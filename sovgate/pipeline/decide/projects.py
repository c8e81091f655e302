"""Which project a file belongs to, and which projects a repository holds. Reads folders and Git."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sovgate import config as configuration
from sovgate.config import FILE_NAME, ProjectConfig
from sovgate.errors import GitError, SovgateError
from sovgate.git.ignored import git, work_tree

MAX_LISTING = 256 * 1024 * 1024


def project_of(path: Path) -> Path | None:
    """The nearest `sovgate.yaml` at or above a file or folder, within the repository around it.

    Raises ConfigError: "project-owner", where another user left it above; "project-unreadable".
    """
    start = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow a link)
    if not start.is_dir():
        start = start.parent
    root = work_tree(start)
    for folder in (start, *start.parents):
        if configuration.there(folder):
            return shown(configuration.at(folder, named=folder == start))
        if root is not None and os.path.realpath(folder) == str(root):
            return None
    return None


def projects_in(folder: Path) -> list[Path]:
    """Every project in a repository's folder that Git tracks, or would take; () outside of one."""
    if work_tree(folder) is None:
        return []
    try:
        done = git(
            folder,
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            f":(glob)**/{FILE_NAME}",
            most=MAX_LISTING,
        )
    except GitError as error:
        if error.reason == "git-missing":
            return []
        raise
    if done.code != 0:
        raise GitError("Git does not say which projects there are", why=done.stderr or None)
    names = sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})
    return [shown(folder / name) for name in names if configuration.there((folder / name).parent)]


def rule_folders(paths: Iterable[Path]) -> list[Path]:
    """Folders as they are; of a file the folder of rules of its project, or the file's own.

    Raises ConfigError where a project does not read.
    """
    found: dict[str, Path] = {}
    for path in paths:
        folder = path
        if path.is_file():
            folder = path.parent
            owner = project_of(path)
            rules = None if owner is None else read(owner).policy.rules
            if owner is not None and rules is not None:
                theirs = Path(os.path.realpath(owner.parent / rules))
                if Path(os.path.realpath(path)).is_relative_to(theirs):
                    folder = owner.parent / rules
        found.setdefault(os.path.realpath(folder), folder)
    return list(found.values())


def unique(paths: Iterable[Path]) -> list[Path]:
    """Each project once, however it was come by."""
    return list({os.path.realpath(path): path for path in paths}.values())


def shown(path: Path) -> Path:
    """As a person here would write it."""
    return Path(os.path.relpath(path))


def read(path: Path) -> ProjectConfig:
    """A project, or the error with its whole path, since there may be several: ConfigError."""
    try:
        return configuration.read(path)
    except SovgateError as error:
        if error.where is not None and error.where.path == path.name:
            error.where = type(error.where)(
                path=str(path), line=error.where.line, column=error.where.column
            )
        raise
