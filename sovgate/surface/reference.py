"""docs/reference/<command>.md and docs/exit-codes.md, from the commands and the table of errors.

Pure: records to text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sovgate.cli import COMMANDS
from sovgate.errors import BROKEN_PIPE, INTERRUPTED, MEANING, TERMINATED
from sovgate.surface._verbs import TASK_VERSION, Input, Verb
from sovgate.surface.actions import INSTALLING
from sovgate.surface.launch import VERBS


def header(source: str) -> str:
    return (
        f"<!-- Generated from {source} by `python -m sovgate.surface`. Do not edit: change that\n"
        "     and run this again; `--check` compares. -->\n\n"
    )


def cell(text: str) -> str:
    """Text of ours in a table cell. Backticks stay: they are meant."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """Code in a table cell. Not every reader of Markdown takes an escaped bar within backticks."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row).replace("  ", " ") + " |" for row in rows]
    return "\n".join(lines) + "\n"


def exit_codes() -> str:
    rows = [(f"{int(code)}", code.name.lower(), cell(text)) for code, text in MEANING.items()]
    return (
        header("sovgate/errors.py")
        + "# Exit codes\n\nEvery command ends with one of these. All but 0 block: a step that "
        "cannot tell\nwhether something is allowed does not go on.\n\n"
        + table(("code", "name", "meaning"), rows)
        + f"\nA signal ends it as a shell tells it: {INTERRUPTED} after Ctrl-C, {BROKEN_PIPE} "
        f"where whoever read its output\nwent away, {TERMINATED} if it was terminated.\n"
        "\nWith `--format json` standard output is one document. `exit` in it is the same code. "
        "Where a command\nended with a result, which may be a denial, a failed gate or findings, "
        "`command` names it and its\nown keys follow. Where it could not, there is `error`: "
        "`error.reason` is a stable word for programs,\n`error.what`, `error.why` and "
        "`error.fix` are for people, `error.where` is the place that caused it.\n\n"
        "`project` is the `sovgate.yaml` that the command read: `null` for none, and a list for "
        "several. Text\nhas a line `project` where the file was found above the current folder, "
        "and `projects` for several.\n"
        "\nWhile bytes move, standard error says how far it is: one row that is drawn anew on a "
        "terminal, a line\nevery ten seconds elsewhere, nothing with `-q`. With `--format json` "
        "each of those lines is a JSON document\nof its own: `event` is `progress`, `doing` says "
        "what, `zone` where, `bytes` of `total`, `bytes-per-second`\nand `seconds-left`; what "
        "nobody knows is `null`.\n"
    )


def index(commands: Mapping[str, Sequence[Verb]]) -> str:
    """The commands under the headings of `sovgate --help`. The site's navigation follows them."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name in commands:
        heading, line = COMMANDS[name]
        there = "yes" if name in VERBS else ""
        groups.setdefault(heading, []).append((f"[`{name}`]({name}.md)", cell(line), there))
    parts = [header("sovgate/cli/"), _COMMANDS]
    for heading, rows in groups.items():
        shown = table(("command", "what it does", "Action and Task"), rows)
        parts.append(f"## {heading[0].upper()}{heading[1:]}\n\n{shown}\n")
    return "".join(parts).rstrip("\n") + "\n"


_COMMANDS = """# Commands

The groups are those of `sovgate --help`. A command that is also an Action and a Task takes the same
options there as inputs ([GitHub Actions](../actions.md), [Tekton](../tekton.md)).

Every command has `--help`, with an example, and `--format json`. Each option has an environment
variable, unless it weakens trust. Every command ends with one of these
[exit codes](../exit-codes.md).

"""


def page(name: str, below: Sequence[Verb]) -> str:
    parts = [header(below[0].module)]
    if below[0].path == name:
        parts.append(_command(below[0], "#"))
        parts += [_command(verb, "##") for verb in below[1:]]
        return "".join(parts).rstrip("\n") + "\n"
    parts.append(f"# sovgate {name}\n\n{COMMANDS[name][1]}\n\n")
    parts += [_command(verb, "##") for verb in below]
    return "".join(parts).rstrip("\n") + "\n"


def _command(verb: Verb, level: str) -> str:
    parts = [f"{level} sovgate {verb.path}\n\n{verb.help or verb.summary}\n\n"]
    parts.append(f"```\n{verb.usage}\n```\n\n")
    if verb.example:
        parts.append(f"{level}# Example\n\n```\n{verb.example}\n```\n\n")
    rows = [_row(item) for item in verb.parameters]
    head = ("option", "what", "environment")
    parts.append(f"{level}# Options\n\n{table(head, rows)}\n")
    if verb.outputs:
        named = [(f"`{key}`", cell(text)) for key, text in verb.outputs.items()]
        parts.append(f"{level}# Outputs\n\n{table(('name', 'what'), named)}\n")
    if verb.path in VERBS:
        parts.append(_action(verb, level))
    parts.append("[Exit codes](../exit-codes.md)\n\n")
    return "".join(parts)


def _row(item: Input) -> tuple[str, str, str]:
    shown = code(f"{item.flags} {item.metavar}" if item.metavar else item.flags)
    text = cell(item.help) + (f" Default: `{item.default}`." if item.default else "")
    if item.required and item.flags.startswith("-"):
        text += " Required."
    names = "<br>".join(code(name) for name in item.variables)
    return shown, text, names or "none: it weakens trust"


def _action(verb: Verb, level: str) -> str:
    first = [item for item in verb.inputs if item.required or verb.is_about(item)]
    first = first or list(verb.inputs[:1])
    lines = [f"- uses: org/sovgate/{verb.path}@v1", "  with:"]
    lines += [f"    {item.name}: …" for item in first]
    rows = [(f"`{item.name}`", cell(item.sentence)) for item in verb.inputs]
    rows += [(f"`{secret.name}`", f"{cell(secret.help)} From a secret.") for secret in verb.secrets]
    rows += [(f"`{name}`", cell(text)) for name, (_, text, _) in INSTALLING.items()]
    parts = [f"{level}# As a step, as a Task\n\n```yaml\n", "\n".join(lines), "\n```\n\n"]
    parts.append(table(("input", "what"), rows))
    parts.append(
        f"\n`wheels`, `python` and `pass-env` are for actions; the Task is "
        f"[`sovgate-{verb.path}`](../../tekton/tasks/sovgate-{verb.path}/{TASK_VERSION}/README.md).\n\n"
    )
    if verb.left_out:
        parts.append("No inputs, with the reason:\n\n")
        rows = [(f"`{item.flags}`", cell(item.left_out)) for item in verb.left_out]
        parts.append(f"{table(('option', 'why'), rows)}\n")
    return "".join(parts)
