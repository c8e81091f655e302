"""One emitter: a command's Report as text, JSON, GitHub outputs and summary, or Tekton results.

RULES 24: everything that came from outside is escaped here, for the place where it goes. May touch
standard output, and the files that GitHub or Tekton name.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sovgate.cli._layout import Branch, Style, aligned, columns, hanging, tree_lines
from sovgate.cli._places import in_workspace, project_read, told_project
from sovgate.cli._streams import TAKEN, say, write_json, write_lines
from sovgate.errors import ExitCode, InternalError, UsageError, Where, disk_error

FORMATS = ("text", "json", "github", "tekton")

#: Tekton Chains looks for object results whose name ends so.
ARTIFACT_RESULT = "MODEL_ARTIFACT_OUTPUTS"

#: Whether a person asked for all details.
VERBOSE: ContextVar[bool] = ContextVar("verbose", default=False)
#: Whether a person asked for nothing but what went wrong.
QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
#: The form of the command's result, for what is said while it runs.
FORM: ContextVar[str] = ContextVar("form", default="text")
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069"
    "\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_DIGEST = re.compile(r"\b([0-9a-f]{16})[0-9a-f]{24,48}\b")
# Of a row of colons each is parted from the next: of three, two would be left standing.
_COLONS = re.compile(":(?=:)")
_TEKTON_LIMIT = 4096
#: What Tekton itself says in the same message: when the step began, and how it ended.
_TEKTON_OWN = 160
_SUMMARY_LIMIT = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a command has to say.

    headline  one sentence: what was done
    rows      (label, value) pairs for people, aligned; an empty label continues the value above
    table     rows of equal length, the first one the head
    outputs   small scalars for the next step, kebab-case names: digests, paths, references
    data      everything, for programs
    notes     what to know or to do next, one line each
    annotations  (severity, place, message), shown on the line that caused them where GitHub can
    tree      drawn as one, with a mark for each status
    """

    command: str
    headline: str
    rows: tuple[tuple[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    annotations: tuple[tuple[str, Where, str], ...] = ()
    tree: tuple[Branch, ...] = ()
    exit: ExitCode = ExitCode.OK


def clean(text: str) -> str:
    """Control, bidi, invisible and surrogate characters made visible; line breaks too."""
    escaped = _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
    return escaped.replace("\n", "\\n").replace("\t", "\\t")


def clean_log(text: str) -> str:
    """For a GitHub log: what the runner would take for a command is broken up."""
    return _COLONS.sub(r":\\", clean(text)).replace("##[", "##\\[")


def clean_markdown(text: str) -> str:
    """For a Markdown table cell: no HTML, no links, no cell borders."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#+!|~@])", r"\\\1", text)
    # What looks like an address would become a link without any brackets.
    return text.replace("://", "&#58;//").replace("www.", "www&#46;")


def annotation(severity: str, where: Where | None, message: str) -> str:
    """A workflow command that puts a message on a line; every part of it escaped."""

    def value(text: str) -> str:
        return clean(text).replace("%", "%25")

    place = ""
    if where is not None:
        place = f" file={value(in_workspace(where.path)).replace(':', '%3A').replace(',', '%2C')}"
        if where.line:
            place += f",line={where.line}"
    # Readers differ on where a command with several "::" in it begins; so there are only ours.
    said = clean_log(message).replace("%", "%25")
    return f"::{'error' if severity == 'error' else 'warning'}{place}::{said}"


def short(text: str) -> str:
    """Digests cut to what tells them apart, for people: -v and JSON have them whole."""
    return text if VERBOSE.get() else _DIGEST.sub(r"\1…", text)


def details(*rows: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Rows that a person sees with -v alone; programs have all of it in JSON."""
    return rows if VERBOSE.get() else ()


def text_lines(report: Report, style: Style, escape: Any = clean) -> list[str]:
    mark = style.good("✓") if report.exit is ExitCode.OK else style.bad("✗")
    lines = []
    if report.headline:
        first, *more = hanging(escape(report.headline), 2, style)
        lines = [f"{mark} {style.bold(first)}", *map(style.bold, more)]
    lines += aligned(report.rows, style, escape)
    if report.tree:
        lines += tree_lines(report.tree, style, escape)
    if report.table:
        lines += columns(report.table, style, escape)
    for note in report.notes:
        first, *more = hanging(escape(note), 4, style)
        lines += [f"  {style.dim('→')} {first}", *more]
    return lines


def emit(report: Report, form: str, artifact: tuple[str, ...] | None = None) -> None:
    """Write a Report in one of FORMATS. `artifact`: the outputs that are its URI and digest."""
    if form == "json":
        head = {"command": report.command, "exit": int(report.exit), "project": project_read()}
        write_json(head | dict(report.data))
        return
    if form == "text" and QUIET.get() and report.exit is ExitCode.OK:
        return
    said = "\n".join(value for _, value in report.rows)
    if (project := told_project(said)) is not None:
        report = replace(report, rows=(*report.rows, project))
    escape = clean_log if form == "github" else clean
    if TAKEN.get():
        say("\n".join(text_lines(report, Style(sys.stderr), escape)) + "\n")
    else:
        write_lines(text_lines(report, Style(sys.stdout), escape))
    if form == "github":
        write_lines([annotation(*place) for place in report.annotations])
        write_github_outputs(report.outputs)
        write_github_summary(_summary(report))
    elif form == "tekton":
        write_tekton_results({**report.outputs, **_artifact(report, artifact)})


def _artifact(report: Report, names: tuple[str, ...] | None) -> dict[str, str]:
    """The object result that Tekton Chains takes as a subject of its provenance.

    From 0.27 on Chains also joins URI and digest by @ and, where that parses as the name of an
    image, signs it as one. It parses a bare NAME/VERSION, and s3://… too; a package URL never is.
    """
    if names is None or report.exit is not ExitCode.OK:
        return {}
    uri, digest, *made = (report.outputs[name] for name in names)
    if not all(made):
        return {}
    subject = {"uri": uri, "digest": digest, "isBuildArtifact": "true"}
    return {ARTIFACT_RESULT: json.dumps(subject)}


def warn(text: str, form: str) -> None:
    """What nobody may overlook, at once and beside the result: on standard error."""
    if form == "github":
        line = annotation("warning", None, text)
    else:
        line = f"{Style(sys.stderr).warn('! unsafe:')} {clean(text)}"
    say(line + "\n")


def note(text: str, form: str) -> None:
    """What was passed over, at once and beside the result: on standard error."""
    if form == "github":
        line = annotation("notice", None, text)
    else:
        line = f"{Style(sys.stderr).warn('! note:')} {clean(text)}"
    say(line + "\n")


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise disk_error(error, f"write to ${variable}") from error


def write_github_outputs(outputs: Mapping[str, str]) -> None:
    """`$GITHUB_OUTPUT` with a random delimiter a value, so that no value can end itself."""
    for name, value in outputs.items():
        mark = f"sovgate-{secrets.token_hex(16)}"
        if mark in value:  # cannot happen; if it does, nothing is better than something else
            raise InternalError("an output holds its own delimiter")
        _append("GITHUB_OUTPUT", f"{name}<<{mark}\n{value}\n{mark}\n")


def write_github_summary(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n\n"
    _append("GITHUB_STEP_SUMMARY", text.encode()[:_SUMMARY_LIMIT].decode("utf-8", "ignore"))


def _summary(report: Report) -> list[str]:
    mark = "✅" if report.exit is ExitCode.OK else "⛔"
    lines = [f"#### {mark} {clean_markdown(report.headline)}", ""]
    if report.rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| {clean_markdown(a)} | {clean_markdown(b)} |" for a, b in report.rows]
    if report.table:
        head, *body = report.table
        lines += [
            "| " + " | ".join(clean_markdown(c) for c in head) + " |",
            "|" + "---|" * len(head),
        ]
        lines += ["| " + " | ".join(clean_markdown(c) for c in row) + " |" for row in body]
    if report.notes:
        lines += ["", *(f"- {clean_markdown(note)}" for note in report.notes)]
    return lines


def write_tekton_results(outputs: Mapping[str, str]) -> None:
    """One file a result; all of a Task share 4,096 bytes, so only small scalars are outputs.

    Raises UsageError, where a path is too long for that; DiskError.
    """
    folder = Path(os.environ.get("SOVGATE_RESULTS_DIR") or "/tekton/results")
    # As the pod's termination message carries them; its writer escapes these three.
    message = [{"key": name, "value": value, "type": 1} for name, value in outputs.items()]
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&"))
    if size + _TEKTON_OWN > _TEKTON_LIMIT:
        raise UsageError(
            f"the results do not fit into Tekton's {_TEKTON_LIMIT:,} bytes: they take {size:,}",
            why="the command did its work, but later Tasks would not get its results",
            fix="use shorter paths and names",
            reason="results-too-large",
        )
    if outputs and not folder.is_dir():
        raise UsageError(
            f"there is no folder {str(folder)!r} for the results",
            why="the command did its work, but Tekton would read its results there",
            fix="outside of a Tekton step, set SOVGATE_RESULTS_DIR or choose another --format",
            reason="missing-path",
        )
    for name, value in outputs.items():
        try:
            (folder / name).write_text(value, encoding="utf-8")
        except OSError as error:
            raise disk_error(error, f"write the result {name}") from error
