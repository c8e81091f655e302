"""Standard output and standard error: what goes there, whatever they can show or take."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from sovgate.errors import DiskError, UsageError, disk_error

#: Reason of the error that standard output takes nothing, not even an error's JSON.
NO_OUTPUT = "no-output"

#: Whether the command's product goes to standard output, so that what it says of it may not.
TAKEN: ContextVar[bool] = ContextVar("taken", default=False)


def write_json(document: Mapping[str, Any]) -> None:
    _out(json.dumps(document, ensure_ascii=True, indent=2 if sys.stdout.isatty() else None))


def write_lines(lines: list[str]) -> None:
    """To standard output, whatever its encoding can show."""
    if not lines:
        return
    text = "\n".join(lines)
    encoding = sys.stdout.encoding or "ascii"
    _out(text.encode(encoding, "backslashreplace").decode(encoding))


def _out(text: str) -> None:
    """To standard output at once, so that what it refuses is an error here and not at exit.

    Raises DiskError, reason NO_OUTPUT; BrokenPipeError, where its reader went away.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DiskError(
            f"could not write to standard output: {error.strerror}",
            why="the command had finished; only its output is lost",
            fix="free space where the output goes, and run it again",
            reason=NO_OUTPUT,
        ) from error


def say(text: str) -> None:
    """To standard error, if it takes it: a closed stream must not end a verification as failed."""
    encoding = sys.stderr.encoding or "ascii"
    with contextlib.suppress(OSError):
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()


def refuse_two_outputs(form: str) -> None:
    """Raises UsageError, where the form of the report needs standard output too."""
    if form == "json":
        raise UsageError(
            "--format json and the document cannot both go to standard output",
            fix="name a file in place of '-', or leave --format out",
            reason="two-outputs",
        )


def write_document(data: bytes, form: str) -> None:
    """A command's product to standard output, byte by byte; its report goes to standard error.

    Raises UsageError, where the form of the report needs standard output too; DiskError.
    """
    refuse_two_outputs(form)
    write_bytes(data)


def write_bytes(data: bytes | memoryview) -> None:
    """Some of a product that goes to standard output in pieces; the same of the report. Raises
    DiskError; BrokenPipeError, where its reader went away.
    """
    TAKEN.set(True)
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise disk_error(error, "write to standard output") from error
