"""A command that has commands below it: `audit`, `keys`, `data`, `regions`, `policy`."""

from __future__ import annotations

from typing import Any

import click


def write_example(formatter: click.HelpFormatter, example: str) -> None:
    if example:
        with formatter.section("Example"):
            for line in example.strip().splitlines():
                formatter.write(f"  {line}\n")


class Group(click.Group):
    """Lists its commands with their whole first sentence, and shows one of them in use."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        self.example = example
        super().__init__(*args, **kwargs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            from sovgate.lint.not_built import refuse_command

            refuse_command(str(self.name), args[0])
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_example(formatter, self.example)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(n, self.commands[n].get_short_help_str(200)) for n in names])
