"""The command line: one lazily loaded command a file, and the one handler that renders errors.

`--help` imports click and this module only; a command's module is imported when it is run.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

from sovgate import host

host.isolate()  # before anything is imported that a variable could lead elsewhere

import click  # noqa: E402 - as above

#: A command makes this many objects before it looks for cycles among them: start-up makes no
#: garbage, and looking through what it makes takes a tenth of its time.
_GARBAGE = 200_000

#: Heading of --help -> folder below sovgate/cli. A command of any other heading stands beside them.
FOLDERS = {
    "make": "make",
    "decide": "decide",
    "move": "move",
    "roll out": "rollout",
    "look": "look",
}

#: command -> (heading of --help, one line). A test holds the line equal to the command's own help.
#: Adding a command is one file, of its name, in the heading's folder, and one line.
COMMANDS: dict[str, tuple[str, str]] = {
    "record": ("make", "Record which data sets are behind a model."),
    "sbom": ("make", "List what a model is made of: files, tensors, data and libraries."),
    "gate": ("make", "Measure a model, and say whether it is good enough."),
    "attest": ("make", "Sign statements about a model that were written without a key."),
    "sign": ("make", "Sign a model, which is a folder or a file."),
    "check": ("decide", "Ask policy whether an action is allowed, and if not, why."),
    "lint": ("decide", "Check the project file, data set manifests and policies, offline."),
    "guard": ("decide", "Refuse regulated data, keys, pickles and weights in Git."),
    "policy": ("decide", "Test and list the rules."),
    "encrypt": ("move", "Encrypt a signed model for one or more zones."),
    "decrypt": ("move", "Decrypt and verify a copy that was encrypted for this zone."),
    "push": ("move", "Ask policy, encrypt a release, and upload it to the stores of zones."),
    "pull": ("move", "Fetch a release, verify it, decide, decrypt it, and sign a receipt."),
    "verify": ("move", "Verify a model against its signature."),
    "promote": ("roll out", "Commit a verified release to the zone's Git repository."),
    "rollback": (
        "roll out",
        "Return a zone to an earlier release that still verifies and is allowed.",
    ),
    "release": (
        "all of it",
        "Take a model the whole way: sign, record, SBOM, check, push and more.",
    ),
    "init": ("look", "Write a project to start from, without overwriting any file."),
    "doctor": ("look", "Say what is missing for a run, and how to get it."),
    "audit": ("look", "Verify the audit log, and tell the story of a release."),
    "keys": ("look", "Make keys, show and export public keys, and ask services about them."),
    "data": ("look", "Commit to regulated data without moving it."),
    "regions": ("look", "List and show the regions that sovgate knows."),
}


_ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def module_name(command: str) -> str:
    """The module that holds `command`, e.g. "sovgate.cli.rollout.promote"."""
    return ".".join(filter(None, ("sovgate.cli", FOLDERS.get(COMMANDS[command][0]), command)))


class LazyGroup(click.Group):
    """Knows its commands by name; imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        try:
            module = import_module(module_name(cmd_name))
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("sovgate."):
                raise
            from sovgate.errors import UsageError

            raise UsageError(
                f"{cmd_name} needs the package {error.name!r}, which is not installed",
                fix="pip install 'sovgate[all]'",
                reason="missing-package",
            ) from error
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "help":
            # As other programs have it: sovgate help sign.
            return self.resolve_command(ctx, [*args[1:], "--help"])
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from difflib import get_close_matches

            from sovgate.lint.not_built import refuse_command

            refuse_command(args[0])
            meant = {name: name for name in COMMANDS}
            for name in (name for param in self.params for name in param.opts):
                meant[name.lstrip("-")] = f"{ctx.command_path} {name}"
            near = get_close_matches(args[0].lower(), meant, n=1, cutoff=0.72)
            hint = f" Did you mean {meant[near[0]]!r}?" if near else ""
            ctx.fail(f"there is no command {args[0][:40]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, (section, line) in COMMANDS.items():
            sections.setdefault(section, []).append((name, line))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows, col_max=12)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from sovgate import __version__

        click.echo(f"sovgate {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 2 usage, 3 configuration, 10 denied, 11 not verified, 12 wrong "
    "location, 13 gate failed, 14 inconclusive, 20 key, 21 store, 22 engine, 23 Git, 24 disk. "
    "All but 0 block.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def root() -> None:
    """The gate at the border that a model crosses.

    Signs a model, decides by policy whether it may go, encrypts it for the target zone, moves it,
    verifies and decrypts it there, and commits the rollout: with a record to check offline.
    """


def _terminate(number: int, _: object) -> None:
    """Once: a second word must not break off the cleaning up. It ends what only waits."""
    from sovgate.errors import Terminated

    for each in _ENDS:
        if signal.getsignal(each) is _terminate:
            signal.signal(each, _hurry)
    raise Terminated


def _hurry(number: int, _: object) -> None:
    from sovgate import notices

    notices.hurry()


def _end_at_once(number: int, _: object) -> None:
    os._exit(128 + number)


def _handle_signals() -> None:
    """A runner, a pod or a closed terminal ends us by a signal that would leave plaintext behind
    in a staging folder. One that is ignored already (nohup) stays so."""
    for number in _ENDS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    sys.unraisablehook = _again


def _again(lost: sys.UnraisableHookArgs) -> None:
    """A signal that comes while Python runs a finalizer is lost there: it is sent once more."""
    from sovgate.errors import Terminated

    if not isinstance(lost.exc_value, Terminated):
        sys.__unraisablehook__(lost)
        return
    import threading

    signal.signal(signal.SIGTERM, _terminate)
    whom = (threading.main_thread().ident, signal.SIGTERM)
    later = threading.Timer(0.05, signal.pthread_kill, whom)  # when this hook is over
    later.daemon = True
    later.start()


def _leave_signals() -> None:
    """All is cleaned up: from here a signal ends us at once, as it does other programs; and with
    the code that a first one gave, where one did."""
    for number in _ENDS:
        if signal.getsignal(number) is _terminate:
            signal.signal(number, signal.SIG_DFL)
        elif signal.getsignal(number) is _hurry:
            signal.signal(number, _end_at_once)


def _require_posix() -> None:
    """Locks, owners and modes of files are asked for everywhere: without them nothing is safe."""
    if os.name != "posix":
        from sovgate.errors import ConfigError

        raise ConfigError(
            f"sovgate does not run on this system ({sys.platform})",
            why="it needs the file locks, owners and modes of Linux or macOS",
            fix="on Windows, run it in WSL 2 or in its container image",
            reason="unsupported-system",
        )


def main(args: list[str] | None = None) -> NoReturn:
    """Entry point: run, and render whatever went wrong. Exits with one of `errors.ExitCode`."""
    arguments = sys.argv[1:] if args is None else args
    if args is None:
        _handle_signals()
        gc.set_threshold(_GARBAGE)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    out = sys.stdout
    try:
        _require_posix()
        code = root.main(arguments, prog_name="sovgate", standalone_mode=False)
        _leave_signals()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the edge: everything is rendered here
        _leave_signals()
        from sovgate.cli._failure import render

        # Click answers a broken pipe by wrapping what broke and exit code 1: a defect in our table.
        broken = sys.stdout is not out
        code = render(BrokenPipeError() if broken else error, arguments)
    if args is None:
        gc.freeze()  # else the interpreter looks for cycles among all that it is about to drop
    sys.exit(code if isinstance(code, int) else 0)
