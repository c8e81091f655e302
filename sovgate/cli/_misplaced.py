"""Options that a command line does not know where they stand. Imported only when that failed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sovgate.errors import UsageError

#: What people call an option that a command has under another name.
_OTHER_NAMES = {
    "--zone": ("--from", "--from-zone", "--source", "--source-zone"),
    "--to": ("--to-zone", "--dest", "--destination", "--target"),
    "--output": ("--out", "--output-dir", "--dest", "--destination"),
    "--project": ("--config", "--project-dir"),
    "--format json": ("--json",),
}

#: Of sovgate itself alone, and in full.
_VERSION = ("--version", "-V")


def explain(error: click.NoSuchOption, arguments: Sequence[str]) -> UsageError | None:
    """Where the option belongs, or what it is called; None where neither is known."""
    ctx = error.ctx
    if ctx is None:
        return None
    if error.option_name in _VERSION:
        return UsageError(
            f"{ctx.command_path} has no option {error.option_name}",
            fix=f"did you mean {ctx.find_root().command_path} --version?",
        )
    if isinstance(ctx.command, click.Group):
        return _before_the_command(error, ctx, ctx.command, arguments)
    known = {name for param in ctx.command.params for name in param.opts}
    names = [new for new, old in _OTHER_NAMES.items() if error.option_name in old]
    meant = next((name for name in names if name.split()[0] in known), None)
    if meant is None:
        return None
    return UsageError(
        f"{ctx.command_path} has no option {error.option_name[:40]}",
        fix=f"did you mean {meant}? See {ctx.command_path} --help",
    )


def _before_the_command(
    error: click.NoSuchOption, ctx: click.Context, group: click.Group, arguments: Sequence[str]
) -> UsageError:
    """`sovgate --format json pull`: other programs have options that stand there."""
    above = ctx.command_path.split()[1:]
    words = list(arguments)
    for name in above:
        if name in words:
            words = words[words.index(name) + 1 :]
    at = next((i for i, word in enumerate(words) if word in group.list_commands(ctx)), None)
    path, option = ctx.command_path, error.option_name[:40]
    if at is None:
        return UsageError(
            f"{path} has no option {option}",
            why="options belong to a command, and none is named",
            fix=f"name the command first: {path} COMMAND …; see {path} --help",
        )
    moved = " ".join(words[:at])[:160]
    command = group.get_command(ctx, words[at])
    path = f"{path} {words[at]}"
    if isinstance(command, click.Group):
        below = next((word for word in words[at + 1 :] if word in command.commands), None)
        command = command.commands.get(below or "")
        path += f" {below or 'COMMAND'}"
    if command is not None and not _takes(command, error.option_name):
        return UsageError(f"{path} has no option {option}", fix=f"see {path} --help")
    return UsageError(
        f"{option} stands before the command", fix=f"write it after the command: {path} … {moved}"
    )


def _takes(command: click.Command, option: str) -> bool:
    """Whether the command has it; of short ones that stand together, each."""
    known = {name for param in command.params for name in param.opts}
    return option in known or (
        not option.startswith("--") and all(f"-{letter}" in known for letter in option[1:])
    )
