"""The one door by which secrets come in: a PIN, a passphrase, a token.

From the file that the key's URI names, an environment variable, the file that a second variable
names, or a prompt on a terminal; never from an argument or a URI (RULES 29). Reads those alone.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

from sovgate import notices
from sovgate.errors import KeyServiceError, SovgateError
from sovgate.files import read_descriptor
from sovgate.links import others_write

MAX_SECRET = 16 * 1024


def secret(
    what: str,
    variable: str,
    *,
    file: Path | None = None,
    why: str | None = None,
    reason: str = "secret-missing",
) -> str:
    """The secret. `what` names it in prompts and errors: "the PIN of token eu".

    In this order: `file`; $VARIABLE; the file that $VARIABLE_FILE names; a prompt, where a person
    sits at the terminal. Raises KeyServiceError: `reason` where there is none, "secret-file".
    """
    found = maybe(what, variable, file=file)
    if found is None and _person():
        found = _asked(what)
    if not found:
        raise KeyServiceError(
            f"{what} is not there",
            why=f"{why + '; ' if why else ''}neither {variable} nor {variable}_FILE is set",
            fix=f"set the environment variable {variable} to it, or {variable}_FILE to the path of "
            f"a file that holds it{_in_pipelines(variable)}",
            reason=reason,
        )
    return found


def _in_pipelines(variable: str) -> str:
    """An Action sets our own variables by its inputs, and what a step before it set counts for
    nothing; services' credentials keep their names there."""
    if not variable.startswith("SOVGATE_"):
        return ""
    name = variable.removeprefix("SOVGATE_").lower().replace("_", "-")
    return f"; in an Action, fill the input {name}; in a Task, the key {name} of its Secret"


def maybe(what: str, variable: str, *, file: Path | None = None) -> str | None:
    """The same without a prompt; None where nothing is set. Raises KeyServiceError."""
    if file is not None:
        return _read(what, file, "the key's URI")
    if text := os.environ.get(variable):
        return text
    if path := os.environ.get(f"{variable}_FILE"):
        return _read(what, Path(path), f"{variable}_FILE")
    return None


def source(variable: str) -> str:
    """Where `secret` found it, for a message that it is wrong."""
    if os.environ.get(variable):
        return variable
    return (
        f"the file of {variable}_FILE" if os.environ.get(f"{variable}_FILE") else "what was typed"
    )


def _read(what: str, path: Path, named_by: str) -> str:
    """Its text without the line break at its end. Nothing of it is repeated in an error, nor is a
    path that may be the secret itself."""

    def refuse(why: str, fix: str) -> KeyServiceError:
        return KeyServiceError(
            f"{what} cannot be read from the file that {named_by} names",
            why=why,
            fix=fix,
            reason="secret-file",
        )

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it is no path"
        raise refuse(said, "name a file that holds the secret and nothing else") from None
    state = os.fstat(descriptor)
    command = f"chmod 600 {shlex.quote(os.fspath(path))}"
    if others_write(state) and stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise refuse(
            f"its mode is {stat.S_IMODE(state.st_mode):04o}: others can write it, and could have "
            "put it there",
            f"{command}, if you trust what is in it",
        )
    open_to_all = _lies_open(state, descriptor)
    try:
        data = read_descriptor(descriptor, most=MAX_SECRET, what="secret")
        text = data.decode("utf-8")
    except (SovgateError, UnicodeDecodeError, OSError):
        raise refuse(
            f"it is no file of text of at most {MAX_SECRET} bytes",
            "name a file that holds the secret and nothing else",
        ) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\0" in text:
        raise refuse("it is empty, or no text", "write the secret into it")
    if open_to_all and what:
        notices.note(f"others here can read the file that holds {what}: {command}")
    return text


def _lies_open(state: os.stat_result, descriptor: int) -> bool:
    """Whether others can read it and whoever runs us can change that. A mounted Secret is root's,
    on a file system that is read-only, and in its container nobody else is."""
    readable = state.st_mode & (stat.S_IRGRP | stat.S_IROTH) and stat.S_ISREG(state.st_mode)
    mounted = os.fstatvfs(descriptor).f_flag & os.ST_RDONLY
    return bool(readable and state.st_uid == os.geteuid() and not mounted)


def _person() -> bool:
    """Whether somebody sees a prompt and can answer it."""
    if os.environ.get("CI"):
        return False
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except ValueError:  # closed
        return False


def _asked(what: str) -> str | None:
    """Typed without an echo, at the terminal itself: standard output is for results."""
    import getpass

    try:
        return getpass.getpass(f"{what}: ", stream=sys.stderr) or None
    except (EOFError, OSError):
        return None
