"""The commands as records: inputs, outputs, and what is left out with its reason.

Imports the command line and reads its declarations; runs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import click

from sovgate import __version__
from sovgate.cli import COMMANDS, module_name, root
from sovgate.cli._base import Argument, Command, Option, variable_name
from sovgate.surface.launch import GIT_VERBS, VERBS

#: What Tekton's catalogue calls the version of a Task: of ours, without the last number.
TASK_VERSION = __version__.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A flag is there or not, and takes no value; of what is `multiple` there may be several."""

    flag: bool
    multiple: bool


@dataclass(frozen=True, kw_only=True)
class Input:
    """One parameter of a command.

    name       kebab-case, e.g. "dry-run"
    flags      as on the command line, e.g. "-o, --out"; "MODEL" for an argument
    variables  environment variables, the specific one first; none where it weakens trust
    left_out   why Actions and Tasks do not have it; empty where they do
    """

    name: str
    flags: str
    metavar: str
    help: str
    default: str
    required: bool
    shape: Shape
    variables: tuple[str, ...]
    weakens_trust: bool
    left_out: str

    @property
    def option(self) -> str:
        return f"--{self.name}"

    @property
    def shell(self) -> str:
        """The variable that holds a value which the fixed command passes, quoted."""
        return "INPUT_" + self.name.upper().replace("-", "_")

    @property
    def sentence(self) -> str:
        """The help, with how several values and yes-or-no are written in an input."""
        text = self.help.replace(" Repeat for each.", "")
        if self.shape.flag:
            text += " `true` or `false`."
        elif self.shape.multiple:
            text += " One a line."
        if self.default:
            text += f" Default: {self.default}."
        return text


@dataclass(frozen=True, kw_only=True)
class Secret:
    """What no option may hold: it goes from a secret into the environment of these verbs alone."""

    name: str
    variable: str
    help: str
    verbs: frozenset[str]


#: Those that open a zone's private key.
WITH_PRIVATE_KEY = GIT_VERBS | frozenset(
    ("record", "sbom", "gate", "attest", "sign", "check", "encrypt", "decrypt", "push", "pull")
)

SECRETS = (
    Secret(
        name="key-passphrase",
        variable="SOVGATE_KEY_PASSPHRASE",
        help="Passphrase of a private key file that has one.",
        verbs=WITH_PRIVATE_KEY,
    ),
    Secret(
        name="pin",
        variable="SOVGATE_PIN",
        help="PIN of the token that holds a pkcs11: key.",
        verbs=WITH_PRIVATE_KEY,
    ),
    Secret(
        name="git-token",
        variable="SOVGATE_GIT_TOKEN",
        help="Token that may push to the zone's Git repository over HTTPS.",
        verbs=GIT_VERBS,
    ),
    Secret(
        name="git-user",
        variable="SOVGATE_GIT_USER",
        help="User name that goes with git-token, where the server looks at it.",
        verbs=GIT_VERBS,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One command. `path` is "sign", or "audit verify" below a group."""

    path: str
    summary: str
    help: str
    example: str
    usage: str
    parameters: tuple[Input, ...]
    outputs: Mapping[str, str]
    artifact: tuple[str, ...] | None
    module: str

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return tuple(secret for secret in SECRETS if self.path in secret.verbs)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(item for item in self.parameters if not item.left_out)

    def is_about(self, item: Input) -> bool:
        """Whether it is the first argument, which a sample names though it can be left out."""
        return item is self.parameters[0] and not item.flags.startswith("-")

    @property
    def left_out(self) -> tuple[Input, ...]:
        return tuple(item for item in self.parameters if item.left_out)

    @property
    def passed(self) -> tuple[Input, ...]:
        """The inputs that the fixed command passes, since they have no environment variable."""
        return tuple(item for item in self.inputs if item.weakens_trust)


def commands() -> dict[str, list[Verb]]:
    """Every command there is, by its name in COMMANDS; a group's are those below it."""
    found: dict[str, list[Verb]] = {}
    context = click.Context(root, info_name="sovgate")
    for name in COMMANDS:
        command = root.get_command(context, name)
        if command is None:
            raise LookupError(name)
        found[name] = _below(command, name, module_name(name).replace(".", "/") + ".py")
    return found


def verbs() -> list[Verb]:
    """The commands that are Actions and Tasks."""
    found = commands()
    return [found[name][0] for name in VERBS if name in found]


def _below(command: click.Command, path: str, module: str) -> list[Verb]:
    if isinstance(command, click.Group):
        return [
            verb
            for name, child in command.commands.items()
            for verb in _below(child, f"{path} {name}", module)
        ]
    if not isinstance(command, Command):
        raise TypeError(f"{path} is not declared with sovgate.cli._base.declare")
    context = click.Context(command, info_name=f"sovgate {path}")
    help_text = " ".join((command.help or "").split())
    return [
        Verb(
            path=path,
            summary=command.get_short_help_str(limit=200),
            help=help_text,
            example=command.example.strip("\n"),
            usage=command.get_usage(context).removeprefix("Usage: "),
            parameters=tuple(_input(param) for param in command.params),
            outputs=command.outputs,
            artifact=command.artifact,
            module=module,
        ),
        *(
            verb
            for name, child in command.below.items()
            for verb in _below(child, f"{path} {name}", module)
        ),
    ]


def _input(param: click.Parameter) -> Input:
    if not isinstance(param, (Option, Argument)):
        raise TypeError(f"{param.name} is not declared with sovgate.cli._base")
    weakens = bool(getattr(param, "weakens_trust", False))
    flag = bool(getattr(param, "is_flag", False))
    multiple = param.multiple or param.nargs != 1
    variables = param.envvar or ()
    default = param.default
    if flag or default is None or not isinstance(default, (str, int)):
        default = ""
    return Input(
        name=variable_name(param).lower().replace("_", "-"),
        flags=", ".join(param.opts) if isinstance(param, Option) else param.make_metavar(_NONE),
        metavar="" if flag or isinstance(param, Argument) else param.make_metavar(_NONE),
        help=param.help or "",
        default=str(default),
        required=param.required,
        shape=Shape(flag=flag, multiple=multiple),
        variables=(variables,) if isinstance(variables, str) else tuple(variables),
        weakens_trust=weakens,
        left_out=_left_out(param, weakens, flag, multiple),
    )


def _left_out(param: Option | Argument, weakens: bool, flag: bool, multiple: bool) -> str:
    if param.no_action:
        return param.no_action
    if weakens and flag:
        return "it weakens trust, and a fixed command cannot pass it only sometimes: for a desk"
    if weakens and multiple and not getattr(param, "lines", False):
        return "it weakens trust, and a fixed command passes one value: name them in sovgate.yaml"
    return ""


_NONE = click.Context(click.Command("none"))
