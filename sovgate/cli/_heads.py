"""`--heads FILE`: the heads of the runs that a command ended, for `audit verify --heads`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sovgate import notices
from sovgate.errors import SovgateError, disk_error


@contextlib.contextmanager
def kept(path: Path | None, command: str) -> Iterator[None]:
    """Appends one line a head to the file, HEAD ZONE COMMAND: of runs that were denied or failed
    too, since their entries are in the log as well.

    Raises DiskError, UsageError where the command itself is done. What stopped another one is told
    first, with the heads that the file lacks.
    """
    if path is None:
        yield
        return
    heads: list[tuple[str, str]] = []
    token = notices.HEADS.set(heads)
    try:
        yield
    except BaseException as error:
        try:
            _append(path, heads, command)
        except SovgateError as lost:
            if isinstance(error, SovgateError) and heads:
                error.details += (f"{lost.what}: {', '.join(head for head, _ in heads)}",)
        raise
    finally:
        notices.HEADS.reset(token)
    _append(path, heads, command)


def _append(path: Path, heads: Sequence[tuple[str, str]], command: str) -> None:
    """`heads`: (head, zone) of each run."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{head} {zone} {command}\n" for head, zone in heads))
    except OSError as error:
        raise disk_error(error, f"append the head of the audit log to {str(path)!r}") from error
