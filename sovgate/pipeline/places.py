"""Where a command reads a model and its evidence: as it was told, as the project says, or beside
the model.

Evidence beside the model is read in any case: naming another folder must not make a model free. And
a release that is named belongs to the project that was found.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sovgate.config import may_name
from sovgate.errors import ConfigError, UsageError
from sovgate.links import followed
from sovgate.pipeline.project import nearest_project
from sovgate.records import Options, Release
from sovgate.stages.attest import Folders, folders_of

if TYPE_CHECKING:
    from sovgate.pipeline.project import Project


P = ParamSpec("P")
T = TypeVar("T")


def reads_model(function: Callable[P, T]) -> Callable[P, T]:
    """For a function with `options`: links in the model are followed as those say. RULES 4."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        options = kwargs.get("options")
        with followed(options.follow_links if isinstance(options, Options) else None):
            return function(*args, **kwargs)

    return inside


def evidence_of(model: Path, options: Options, opened: Project | None) -> Folders:
    """`--evidence`, else the project's `evidence`, else beside. Raises UsageError, DiskError."""
    below = opened.evidence if opened is not None else None
    return folders_of(model, named=options.evidence, below=below)


def evidence_found(model: Path, options: Options) -> Folders:
    """The same for a command that can do without a project."""
    opened = None
    if options.evidence is None and (options.project is not None or may_name(b"evidence")):
        with contextlib.suppress(ConfigError, UsageError):
            opened = nearest_project(options.project)
    return evidence_of(model, options, opened)


def evidence_at(path: Path | None, options: Options, opened: Project) -> Folders | None:
    """Of a model that may not be here: beside it, or `path` is its evidence folder itself."""
    if path is not None and not path.name.endswith(".evidence"):
        return evidence_of(path, options, opened)
    folder = options.evidence or path
    if folder is None:
        return None
    return Folders(model=folder, folder=folder, others=() if path is None else (path,))


def evidence_of_output(output: Path, options: Options, opened: Project) -> Path:
    """The folder for the evidence of a model that will be written to `output`."""
    from sovgate.pipeline.move.results import evidence_beside

    beside = evidence_beside(output)
    if options.evidence is not None:
        return options.evidence
    return beside if opened.evidence is None else opened.evidence / beside.name


def require_own(opened: Project, release: Release, *, option: str = "--release") -> None:
    """That the release is one of the project's model. Raises UsageError, reason "wrong-model"."""
    model = opened.config.model
    if release.model != model:
        raise UsageError(
            f"{str(release)[:160]!r} is not a release of this project's model",
            why=f"{opened.config.path} is the project of {model!r}",
            fix=f"if you mean {release.model!r}, name the folder of its project with --project; "
            f"if you mean this one, write {option} {model}/{release.version}",
            reason="wrong-model",
        )
