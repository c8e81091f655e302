"""Runs a command in this process, as at a desk in some folder: a tenth of what a process costs.

For tests of what a command says and does. What a process has of its own (its streams, environment,
signals, limits) needs a process.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from sovgate.cli import main


@dataclass(frozen=True, kw_only=True)
class Done:
    """Named as `subprocess.CompletedProcess` has them."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: object, cwd: Path | None = None, **environment: str) -> Done:
    """With these variables, and nothing on standard input. Raises what no command may raise."""
    # With bytes below and an encoding, as a process has them.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd or Path.cwd()))
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stdin = stack.enter_context(open(os.devnull, encoding="utf-8"))
        stack.enter_context(_redirect_stdin(stdin))
        try:
            # What a command sets for itself (-v) ends with it, as with a process.
            contextvars.copy_context().run(main, [str(word) for word in words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Done(returncode=code, stdout=_all(out), stderr=_all(err))


def _all(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


class _redirect_stdin(contextlib._RedirectStream[io.TextIOBase]):  # noqa: N801 - as its siblings
    _stream = "stdin"
