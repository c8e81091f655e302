"""How a command is declared: `declare`, `option`, `argument`, and the options that many share.

Every parameter has two environment variables, `SOVGATE_<COMMAND>_<NAME>` and the general
`SOVGATE_<NAME>`; one that weakens trust has none. `sovgate.surface` reads the same declarations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sovgate import notices
from sovgate.cli._emit import FORM, FORMATS, QUIET, VERBOSE, Report, emit, note, warn
from sovgate.cli._group import write_example
from sovgate.cli._heads import kept
from sovgate.cli._places import PROJECT
from sovgate.cli._remote import refuse_remote
from sovgate.transport import runs

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
    """A path on this machine; existence is the stage's affair, for one wording of the error.

    `stream`: whether `-` is standard output; where it is not, it is refused, and no file's name.
    """

    name = "path"

    def __init__(self, *, stream: bool = False) -> None:
        self.stream = stream

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if not text:
            # "$MODEL" that is unset, and not the folder we are in: that would be signed, keys too.
            self.fail("the path is empty: say . for this folder", param, ctx)
        if text == "-" and not self.stream:
            self.fail("'-' is no path here: say ./- for a file of that name", param, ctx)
        return Path(text)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class ModelPath(LocalPath):
    """A model's folder or file; a URI of a model elsewhere is answered with how to get it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        refuse_remote(str(value))
        return path


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
        #: Commands whose name stands in the place of the first argument: `gate pin`.
        self.below: dict[str, Command] = {}
        super().__init__(*args, **kwargs)
        self.path = path or str(self.name)
        prefix = "SOVGATE_" + self.path.upper().replace(" ", "_").replace("-", "_")
        for param in self.params:
            if getattr(param, "weakens_trust", False):
                param.envvar = None
            elif param.name and param.envvar is None:
                name = variable_name(param)
                param.envvar = [f"{prefix}_{name}", f"SOVGATE_{name}"]

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        notices.PROJECTS.set({})
        if args and args[0] in self.below:
            below = self.below[args[0]]
            return below.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_example(formatter, self.example)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _refuse_twice(self, ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        PROJECT.set(ctx.params.get("project"))
        form = ctx.params.get("format_", "text")
        FORM.set(form)
        listening = notices.listening(partial(warn, form=form), partial(note, form=form))
        with kept(ctx.meta.get(_HEADS), self.path):
            with listening, _reaching(ctx), runs.run():
                result = super().invoke(ctx)
            if isinstance(result, Report):
                emit(result, form, artifact=self.artifact)
                return int(result.exit)
        return result


@contextlib.contextmanager
def _reaching(ctx: click.Context) -> Iterator[None]:
    """Servers by the options of `_transport.py`; most runs have none, and import nothing for it."""
    path, proxy = (ctx.meta.get(f"{TRANSPORT}.{name}") for name in ("ca", "proxy"))
    if (path, proxy) == (None, None):
        yield
        return
    from sovgate.transport import authority, proxies

    with authority.trusting(path), proxies.through(proxy):
        yield


def _refuse_twice(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Click takes the last of two values, and so would a key that was meant be passed over."""
    _, _, order = command.make_parser(ctx).parse_args(list(args))
    named = [param for param in order if isinstance(param, click.Option)]
    if any(param.is_eager for param in named):
        return  # --help: nothing is done
    for param in named:
        if named.count(param) > 1 and not param.multiple and param.name not in _MAY_REPEAT:
            flag = max(param.opts, key=len)
            raise click.UsageError(f"{flag} is given twice: it takes one value", ctx)


#: -vv says no more than -v, and people write it.
_MAY_REPEAT = frozenset({"verbose", "quiet"})


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
        "model", type=ModelPath(), metavar="MODEL", help="The model: a folder or a file."
    )(function)


def project_option(function: F) -> F:
    return option(
        "--project",
        type=LocalPath(),
        weakens_trust=True,
        metavar="DIR",
        help="Folder of sovgate.yaml (default: here or above).",
    )(function)


def evidence_option(function: F) -> F:
    return option(
        "--evidence",
        type=LocalPath(),
        metavar="DIR",
        help="Folder of the model's evidence (default: as the project says, or MODEL.evidence).",
    )(function)


def state_option(function: F) -> F:
    return option(
        "--state",
        type=LocalPath(),
        metavar="DIR",
        help="Where the keys of chunks are kept until the release is written, so that a push that "
        "ended early goes on (default: ~/.local/state/sovgate).",
    )(function)


def verify_first_option(function: F) -> F:
    return option(
        "--verify-first",
        is_flag=True,
        help="Hash all files and compare them with the signature before the first byte is sent, "
        "at the cost of one more read.",
    )(function)


def links_option(function: F) -> F:
    return option(
        "--follow-links",
        "follow_links",
        type=LocalPath(),
        weakens_trust=True,
        no_action="a workflow downloads files, not links",
        metavar="ROOT",
        help="Follow links in the model to files below this folder, e.g. a hub's cache.",
    )(function)


def key_option(**attrs: Any) -> Callable[[F], F]:
    attrs.setdefault("help", "Key URI, e.g. file:keys/sign.pem.")
    return option("--key", metavar="URI", **attrs)


def zone_option(**attrs: Any) -> Callable[[F], F]:
    attrs.setdefault("help", "The zone where this runs.")
    return option("--zone", metavar="ZONE", **attrs)


def signing_zone_option(function: F) -> F:
    """`--zone` beside `--key`. A variable that is set for other commands must make nobody sign."""
    return option(
        "--zone",
        metavar="ZONE",
        weakens_trust=True,
        help="Without --key: sign with this zone's key.",
    )(function)


def signing_key(key: str | None, zone: str | None, project: Path | None) -> str | None:
    """The URI of the key to sign with: `--key`, else the `sign` key of `--zone`; None for neither.

    Raises ConfigError, where the zone names no key.
    """
    if key is not None or zone is None:
        return key
    from sovgate.pipeline.project import open_project

    return open_project(project).sign_uri(zone)


#: Where the options of `_transport.py` and `--heads` are kept while a command runs.
TRANSPORT = "sovgate.transport"
_HEADS = "sovgate.heads"


def _keep_heads(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    ctx.meta[_HEADS] = value


def heads_option(function: F) -> F:
    """`--heads`: what `audit verify --heads` reads."""
    return option(
        "--heads",
        type=LocalPath(),
        expose_value=False,
        callback=_keep_heads,
        metavar="FILE",
        help="Append the head of the audit log to this file, for audit verify --heads.",
    )(function)


def _be_verbose(_: click.Context, __: click.Parameter, value: bool) -> None:
    VERBOSE.set(value)


def _be_quiet(_: click.Context, __: click.Parameter, value: bool) -> None:
    QUIET.set(value)


def output_options(function: F) -> F:
    """`--format`, `-q` and `-v`: what every command has."""
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
    function = click.option(
        "-q",
        "--quiet",
        cls=Option,
        is_flag=True,
        expose_value=False,
        callback=_be_quiet,
        no_action="for a desk",
        help="Print only what went wrong.",
    )(function)
    return click.option(
        "-v",
        "--verbose",
        cls=Option,
        is_flag=True,
        expose_value=False,
        callback=_be_verbose,
        no_action="for a desk",
        help="Show details, whole digests, and tracebacks.",
    )(function)
