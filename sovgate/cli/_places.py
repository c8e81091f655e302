"""Where a place in a file lies, as its reader would write it: from the working folder.

The stages name places from the project's folder, since signed decisions hold them.
"""

from __future__ import annotations

import contextlib
import os
import re
from contextvars import ContextVar
from pathlib import Path

from sovgate.errors import Where
from sovgate.notices import PROJECTS

#: The folder that --project names, while a command runs.
PROJECT: ContextVar[Path | None] = ContextVar("project", default=None)

#: How many project files a person is shown.
SHOWN = 4
#: As in "(data/kyc.yaml:5, sovgate.yaml:21)".
_PLACE = re.compile(r"(?<![\w/.:-])[\w./-]{1,300}\.(?:yaml|rego|json)(?=:\d)", re.ASCII)


def _found(path: str) -> Path | None:
    """The file, below the project's folder or one above the working folder."""
    start = (PROJECT.get() or Path()).absolute()
    with contextlib.suppress(OSError, ValueError):  # a name that no file system has
        for folder in (start, *start.parents):
            if (folder / path).is_file():
                return folder / path
    return None


def _from_here(path: str) -> str:
    """Below the working folder or not far from it; a path that is far away stays whole."""
    found = _found(path)
    if found is None or Path(path).is_absolute():
        return path
    with contextlib.suppress(OSError, ValueError):
        near = os.path.relpath(found)
        return near if near.count("../") <= 2 else str(found)
    return path


def here(where: Where) -> Where:
    return Where(path=_from_here(where.path), line=where.line, column=where.column)


def text_from_here(text: str) -> str:
    """A sentence that may name places, e.g. the fix of a rule."""
    return _PLACE.sub(lambda match: _from_here(match.group()), text)


def in_workspace(path: str) -> str:
    """For an annotation: GitHub looks for the file from the root of the checkout."""
    found = _found(path)
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if found is None:
        return path
    with contextlib.suppress(OSError, ValueError):
        if workspace and found.resolve().is_relative_to(Path(workspace).resolve()):
            return str(found.resolve().relative_to(Path(workspace).resolve()))
        return os.path.relpath(found)
    return path


def project_read() -> str | list[str] | None:
    """The project file that this command read, for programs; a list where it read several."""
    read = [*(PROJECTS.get() or ())]
    return read[0] if len(read) == 1 else read or None


def told_project(said: str) -> tuple[str, str] | None:
    """A row on the project file, where nobody named it, it lies above this folder, and `said` has
    it not; and where there were several."""
    read = [*(PROJECTS.get() or ())]
    if len(read) > 1:
        more = f" and {len(read) - SHOWN} more" if len(read) > SHOWN else ""
        return "projects", ", ".join(read[:SHOWN]) + more
    found = read and PROJECT.get() is None and Path(read[0]).parent != Path()
    return ("project", read[0]) if found and read[0] not in said else None
