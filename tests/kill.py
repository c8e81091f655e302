"""Kills a command before any one of its file-system steps, or makes that step fail.

Or lets somebody else kill it, who counts other things.

No hook in the product: a small server process has imported it, forks a child a run, and the child
installs a `sys.addaudithook` that counts what changes files. A test walks all steps:

    with Killer() as killer:
        for step, done in every_step(killer, lambda: fresh(), lambda work: ["encrypt", …]):
            …assert that nothing half is visible, then run it again unkilled…
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KILLED = 137
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_EVENTS = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)


@dataclass(frozen=True, kw_only=True)
class Done:
    """`steps`: how many file-system steps began, the one that was stopped included."""

    code: int
    out: str
    err: str
    steps: int

    @property
    def killed(self) -> bool:
        return self.code in (KILLED, -signal.SIGKILL)


class Killer:
    """A server that runs `sovgate …` in forked children. Use as a context manager."""

    def __init__(self, *, imports: Sequence[str] = ()) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", __file__, *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        before: int | None = None,
        fault: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Run once. `before=n` kills the process just before its n-th step (from 1).

        With `fault`, an errno such as ENOSPC, that step fails with it instead, and so do all after
        it that would add something: a full disk stays full, but files can be removed from it.
        """
        self.start(arguments, cwd=cwd, before=before, fault=fault, env=env)
        return self.finish()

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        before: int | None = None,
        fault: int | None = None,
        env: Mapping[str, str] | None = None,
        patch: Mapping[str, int] | None = None,
    ) -> int:
        """Begin such a run, and give its process's id; `finish` it before the next.

        `patch`: MODULE.NAME -> a number that it has there. Then it neither sleeps between two tries
        nor waits for a disk, too.
        """
        assert self._server.stdin and self._server.stdout
        order = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "before": before or 0,
            "fault": fault or 0,
            "env": dict(env or {}),
            "patch": None if patch is None else dict(patch),
        }
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def finish(self) -> Done:
        """Wait until it is over."""
        assert self._server.stdout
        return Done(**json.loads(self._server.stdout.readline()))


def every_step(
    killer: Killer,
    prepare: Callable[[], Path],
    arguments: Callable[[Path], Sequence[str]],
    *,
    fault: int | None = None,
    env: Mapping[str, str] | None = None,
    most: int = 2000,
) -> Iterator[tuple[Path, int, Done]]:
    """(work folder, n, what happened) for n = 1, 2, … up to the last step that the command has.

    `prepare` makes a fresh work folder a run. Ends at the first run that was over before its n-th
    step; that run must have succeeded.
    """
    for step in range(1, most):
        work = prepare()
        done = killer.run(arguments(work), cwd=work, before=step, fault=fault, env=env)
        if done.steps < step:
            assert done.code == 0, done
            return
        if fault is None:
            assert done.killed, (step, done)
        yield work, step, done
    raise AssertionError(f"still not over after {most} steps")


def visible(folder: Path) -> set[str]:
    """Names in a folder, but for private staging directories, whose privacy it asserts."""
    names = set()
    for item in folder.iterdir():
        if item.name.endswith(".sovgate-staging"):
            assert item.stat().st_mode & 0o777 == 0o700, item
        else:
            names.add(item.name)
    return names


# --- the server ---------------------------------------------------------------------------------


def _hook(counter: int, before: int, fault: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Counts into the descriptor `counter`, so that the count survives the kill."""
    import threading

    lock = threading.Lock()
    seen = 0
    watching = threading.local()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITES:
                return
            if path == os.devnull or isinstance(path, int):
                return
        elif event not in _EVENTS:
            return
        if getattr(watching, "busy", False):
            return
        with lock:
            watching.busy = True
            seen += 1
            os.pwrite(counter, b"%d" % seen, 0)
            watching.busy = False
            if not before or seen < before:
                return
            if not fault:
                os._exit(KILLED)
            if seen == before or event not in ("os.remove", "os.rmdir"):
                raise OSError(fault, os.strerror(fault))

    return hook


def _hurry(patch: Mapping[str, int]) -> None:
    """What is killed leaves the same in memory, whether or not a disk was waited for."""
    time.sleep = lambda _seconds: None
    os.fsync = os.fdatasync = lambda descriptor: os.fstat(descriptor) and None
    for name, value in patch.items():
        place, _, attribute = name.rpartition(".")
        setattr(import_module(place), attribute, value)
    client: Any = import_module("sovgate.transport.client")
    client.Client.__init__.__kwdefaults__["wait"] = time.sleep
    kept: Any = import_module("sovgate.stages.encrypt.kept")
    kept._sync = os.fsync


def _child(order: dict[str, Any], out: int, err: int, counter: int) -> int:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    if order["patch"] is not None:
        _hurry(order["patch"])
    from sovgate.cli import main

    sys.addaudithook(_hook(counter, order["before"], order["fault"]))
    try:
        main(order["arguments"])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _serve(imports: Sequence[str]) -> None:
    for name in ("sovgate.cli._failure", *imports):
        import_module(name)
    for line in sys.stdin.buffer:
        order = json.loads(line)
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            descriptors = [file.fileno() for file in files]
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = _child(order, *descriptors)
                except BaseException:  # noqa: BLE001 - the child must not go on as the server
                    import traceback

                    traceback.print_exc()
                finally:
                    for stream in (sys.stdout, sys.stderr):
                        with contextlib.suppress(Exception):
                            stream.flush()
                    os._exit(code)
            sys.stdout.buffer.write(b"%d\n" % child)
            sys.stdout.buffer.flush()
            _, status = os.waitpid(child, 0)
            texts = []
            for file in files:
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))
            code = os.waitstatus_to_exitcode(status)
            done = {"code": code, "out": texts[0], "err": texts[1], "steps": int(texts[2] or 0)}
        sys.stdout.buffer.write(json.dumps(done).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(sys.argv[1:])
