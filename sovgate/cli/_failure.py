"""The one place where errors become words and exit codes. Imported only when something failed."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from itertools import groupby
from pathlib import Path

import click

from sovgate.cli._emit import (
    annotation,
    clean,
    clean_log,
    clean_markdown,
    write_github_summary,
)
from sovgate.cli._layout import Style, hanging
from sovgate.cli._places import PROJECT, here, project_read, text_from_here, told_project
from sovgate.cli._streams import NO_OUTPUT, say, write_json
from sovgate.errors import (
    BROKEN_PIPE,
    INTERRUPTED,
    MAX_COPIED,
    TERMINATED,
    DiskError,
    ExitCode,
    InternalError,
    SovgateError,
    Terminated,
    UsageError,
    bounded,
    disk_error,
)

#: -v, -vv, and -qv.
_SHORT = re.compile(r"-q*v[qv]*")
_BLOCK = re.compile(r"  [ A-Za-z0-9_.:-]+")


def _as_ours(error: BaseException, arguments: list[str]) -> SovgateError | None:
    if isinstance(error, SovgateError):
        if error.reason == "no-project":
            from sovgate.config import meant

            error.fix = meant(PROJECT.get() or Path()) or error.fix
        return error
    if isinstance(error, click.NoSuchOption):
        from sovgate.lint.not_built import option_refusal

        if (refusal := option_refusal(error.option_name)) is not None:
            return refusal
        from sovgate.cli._misplaced import explain

        if (told := explain(error, arguments)) is not None:
            return told
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "sovgate"
        return UsageError(error.format_message(), fix=f"see {path} --help")
    if isinstance(error, click.ClickException):
        return UsageError(error.format_message())
    if isinstance(error, OSError):
        return disk_error(error, "go on")
    if isinstance(error, Exception):
        return InternalError(
            f"sovgate broke: {type(error).__name__}",
            fix="run it again with -v and report what it prints",
        )
    return None


def _form(arguments: list[str]) -> str:
    """The --format asked for, though parsing may have failed before it was reached."""
    for index, argument in enumerate(arguments):
        if argument == "--format" and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith("--format="):
            return argument.partition("=")[2]
    return _variable(arguments, "FORMAT") or "text"


def _variable(arguments: list[str], name: str) -> str:
    """An option's environment variable, the command's own first, though there may be no command."""
    words = [word.upper().replace("-", "_") for word in arguments if not word.startswith("-")]
    own = ("_".join([*words[:count], name]) for count in (2, 1, 0))
    return next((found for tail in own if (found := os.environ.get(f"SOVGATE_{tail}"))), "")


def _verbose(arguments: list[str]) -> bool:
    said = _variable(arguments, "VERBOSE").strip().lower() in {"1", "true", "t", "yes", "y", "on"}
    return said or any(word == "--verbose" or _SHORT.fullmatch(word) for word in arguments)


def _lines(error: SovgateError, style: Style, form: str) -> list[str]:
    escape = clean_log if form == "github" else clean
    first, *more = hanging(escape(error.what), 2, style)
    lines = [f"{style.bad('✗')} {style.bold(first)}", *map(style.bold, more)]
    if error.where:
        lines.append(f"  {style.dim('at')}   {escape(str(here(error.where)))}")
    if error.why:
        first, *more = hanging(escape(text_from_here(error.why)), 7, style)
        lines += [f"  {style.dim('why')}  {first}", *more]
    for detail in error.details:
        first, *more = hanging(escape(text_from_here(detail)), 2, style)
        lines += [f"  {first}", *more]
    if error.fix:
        first, *more = hanging(escape(text_from_here(error.fix)), 7, style)
        lines += [f"  {style.dim('fix')}  {first}", *more]
    if (project := told_project("\n".join(lines))) is not None:
        lines.append(f"  {style.dim(project[0])}  {escape(project[1])}")
    return lines


def _annotation(error: SovgateError) -> str:
    words = ". ".join(part for part in (error.what, error.why, error.fix) if part)
    return annotation("error", error.where, words)


def _summary(error: SovgateError) -> list[str]:
    """A list; what is indented and plain is to be pasted, and keeps its form as a block of code."""
    lines = [f"#### ⛔ {clean_markdown(error.what)}", ""]
    words = [word for word in (error.why, *error.details, error.fix) if word]
    for block, some in groupby(words, key=lambda word: _BLOCK.fullmatch(word) is not None):
        if block:
            lines += ["", "```", *(word[2:] for word in some), "```", ""]
        else:
            lines += [f"- {clean_markdown(word)}" for word in some]
    return lines


def as_json(error: SovgateError) -> dict[str, object]:
    where = None if error.where is None else here(error.where)
    return {
        "exit": int(error.exit_code),
        "project": project_read(),
        "error": {
            "reason": error.reason,
            "what": error.what,
            "why": error.why,
            "fix": error.fix,
            "where": None
            if where is None
            else {"path": where.path, "line": where.line, "column": where.column},
            "details": list(error.details),
        },
        **error.data,
    }


def _trace(error: BaseException, form: str) -> None:
    """Where it came from, for -v. What a library says in it may quote a hostile file."""
    escape = clean_log if form == "github" else clean
    from sovgate.formats.disclosed import shown

    text = shown("".join(traceback.format_exception(error)))
    say("".join(f"{escape(bounded(line))}\n" for line in text.split("\n") if line))


def render(error: BaseException, arguments: list[str]) -> int:
    """Print the error the way that was asked for; return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        asked = error.__cause__ if isinstance(error, click.Abort) else error
        notes = getattr(asked, "__notes__", ()) or ("nothing half is left behind, run it again",)
        say("\n" + "".join(f"interrupted; {clean(note)}\n" for note in notes))
        return _exit_code(TERMINATED if isinstance(asked, Terminated) else INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return _exit_code(BROKEN_PIPE)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.format_message() + "\n")  # our own help: nothing to escape
        return _exit_code(int(ExitCode.USAGE))
    return _exit_code(_render(error, arguments))


def _exit_code(code: int) -> int:
    """`code`, once what is left is flushed.

    A stream that takes no more is closed: Python would else complain of it at exit, and end with a
    code of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _hide(error: SovgateError) -> None:
    """RULES 29: whatever a message quotes, it shows no password and no token; nor all of what is
    endless, though it was added to the message later."""
    from sovgate.formats.disclosed import shown

    error.what = bounded(shown(error.what))
    error.why = error.why and bounded(shown(error.why))
    error.fix = error.fix and bounded(shown(error.fix), MAX_COPIED)
    error.details = tuple(bounded(shown(text), MAX_COPIED) for text in error.details)


def _render(error: BaseException, arguments: list[str]) -> int:
    ours = _as_ours(error, arguments)
    if ours is None:
        raise error
    if _verbose(arguments) and not isinstance(error, (click.ClickException, UsageError)):
        _trace(error, _form(arguments))
    _hide(ours)
    form = _form(arguments)
    if form == "json" and ours.reason != NO_OUTPUT:
        with contextlib.suppress(OSError, DiskError):
            write_json(as_json(ours))
        return int(ours.exit_code)
    say("\n".join(_lines(ours, Style(sys.stderr), form)) + "\n")
    if form == "github":
        with contextlib.suppress(OSError, SovgateError):
            sys.stdout.write(_annotation(ours) + "\n")
            write_github_summary(_summary(ours))
    return int(ours.exit_code if ours.exit_code else ExitCode.INTERNAL)
