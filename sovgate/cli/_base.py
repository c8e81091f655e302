"""How a command is declared: `declare`, `option`, `argument`, and the options that many share.

Every parameter has two environment variables, `SOVGATE_<COMMAND>_<NAME>` and the general
`SOVGATE_<NAME>`; one that weakens trust has none. `sovgate.surface` reads the same declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sovgate import notices
from sovgate.cli._emit import FORMATS, PROJECT, Report, emit, warn

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


class Lines(click.ParamType[Any]):
    """Text; where an option takes several, its environment variable holds one a line."""

    name = "text"
    envvar_list_splitter = "\n"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [line for line in (part.strip() for part in rv.split("\n")) if line]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if "\x00" in text:
            self.fail("it holds a NUL byte", param, ctx)
        return text


class LocalPath(Lines):
    """A path on this machine; existence is the stage's affair, for one wording of the error."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if not text:
            # "$MODEL" that is unset, and not the folder we are in: that would be signed, keys too.
            self.fail("the path is empty: say . for this folder", param, ctx)
        return Path(text)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class Option(click.Option):
    """An option that says whether it weakens trust (then it has no environment variable).

    `no_action`: why Actions and Tasks leave it out; None where they have it as an input.
    `lines`: whether one value may hold several, one a line, as an Action passes them.
    """

    def __init__(
        self,
        *args: Any,
        weakens_trust: bool = False,
        no_action: str | None = None,
        lines: bool = False,
        **kwargs: Any,
    ) -> None:
        self.weakens_trust = weakens_trust
        self.no_action = no_action
        self.lines = lines
        super().__init__(*args, **kwargs)


class Argument(click.Argument):
    """An argument with a help text, so that an Action's input can be described."""

    def __init__(self, *args: Any, help: str = "", **kwargs: Any) -> None:  # noqa: A002
        super().__init__(*args, **kwargs)
        self.help = help
        self.no_action: str | None = None


class Command(click.Command):
    """Sets environment variables from names, and emits the Report that the function returns."""

    def __init__(
        self,
        *args: Any,
        example: str = "",
        path: str = "",
        outputs: Mapping[str, str] | None = None,
        artifact: tuple[str, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        self.example = example
        self.outputs = dict(outputs or {})
        self.artifact = artifact
        super().__init__(*args, **kwargs)
        self.path = path or str(self.name)
        prefix = "SOVGATE_" + self.path.upper().replace(" ", "_").replace("-", "_")
        for param in self.params:
            if getattr(param, "weakens_trust", False):
                param.envvar = None
            elif param.name and param.envvar is None:
                name = variable_name(param)
                param.envvar = [f"{prefix}_{name}", f"SOVGATE_{name}"]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.example:
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"  {line}\n")

    def invoke(self, ctx: click.Context) -> Any:
        PROJECT.set(ctx.params.get("project"))
        with notices.listening(partial(warn, form=ctx.params.get("format_", "text"))):
            result = super().invoke(ctx)
        if isinstance(result, Report):
            emit(result, ctx.params.get("format_", "text"), artifact=self.artifact)
            return int(result.exit)
        return result


class Group(click.Group):
    """Lists its commands with their whole first sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(n, self.commands[n].get_short_help_str(200)) for n in names])


def variable_name(param: click.Parameter) -> str:
    """The NAME part of a parameter's environment variables: its long option, or metavar."""
    longs = [opt for opt in param.opts if opt.startswith("--")]
    name = longs[0][2:] if longs else str(param.name)
    return name.upper().replace("-", "_")


def declare(name: str, *, example: str, path: str = "", **attrs: Any) -> Callable[[F], Command]:
    """Declare a command: decorates a module's function `command`.

    `example` is shown by --help; `path` is "audit verify" below a group. `outputs` names each key
    of the Report's outputs and describes it, for Actions and Tasks; `artifact` names the two of
    them that say where the command's product is and its digest ("sha256:…"), for Tekton Chains,
    and any more that are empty where nothing was made.
    """

    def made(function: F) -> Command:
        return click.command(name, cls=Command, example=example, path=path, **attrs)(function)

    return made


#: The same under another name, for modules whose function is not called `command`.
command = declare


def option(*names: str, **attrs: Any) -> Callable[[F], F]:
    attrs.setdefault("cls", Option)
    if "type" not in attrs and not attrs.get("is_flag"):
        attrs["type"] = Lines()
    return click.option(*names, **attrs)


def argument(name: str, **attrs: Any) -> Callable[[F], F]:
    attrs.setdefault("cls", Argument)
    attrs.setdefault("type", Lines())
    return click.argument(name, **attrs)


def model_argument(function: F) -> F:
    return argument(
        "model", type=LocalPath(), metavar="MODEL", help="The model: a folder or a file."
    )(function)


def project_option(function: F) -> F:
    return option(
        "--project",
        type=LocalPath(),
        weakens_trust=True,
        metavar="DIR",
        help="Folder of sovgate.yaml (default: here or above).",
    )(function)


def key_option(**attrs: Any) -> Callable[[F], F]:
    attrs.setdefault("help", "Key URI, e.g. file:keys/sign.pem.")
    return option("--key", metavar="URI", **attrs)


def zone_option(**attrs: Any) -> Callable[[F], F]:
    attrs.setdefault("help", "The zone where this runs.")
    return option("--zone", metavar="ZONE", **attrs)


def output_options(function: F) -> F:
    """`--format` and `-v`: what every command has."""
    function = click.option(
        "--format",
        "format_",
        cls=Option,
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        no_action="the Action sets it",
        help="How the result is printed.",
    )(function)
    return click.option(
        "-v",
        "--verbose",
        cls=Option,
        is_flag=True,
        expose_value=False,
        no_action="for a desk",
        help="Show tracebacks.",
    )(function)
