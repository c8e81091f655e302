"""Programs in Python that are imported once, and forked for each run: a process as any other, with
streams, environment and folder of its own, for a tenth of the processor time.

`SOVGATE.run("sign", "m", cwd=folder, env={…})` is `subprocess.run([python, "-m", "sovgate", …])`.
Where a shell is to find it, `SOVGATE.command(path)` writes a program that does the same. What a
process has before the first line runs (options of Python, limits, signals) needs one of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
_OVER = 4096  # more than any answer
#: What runs in the place of the program: as little as a process can be.
_CLIENT = """\
#!{python} -ISE
import json, os, socket, sys
mask = os.umask(0o077)
os.umask(mask)
order = {{
    "words": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "mask": mask, **{more!r}
}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({server!r})
    socket.send_fds(server, [b"f"], [0, 1, 2])
    server.sendall(json.dumps(order).encode() + b"\\n")
    answer = server.recv({over})
if not answer:
    sys.exit("the program that was forked gave no exit code")
code = int(answer)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Program:
    """`entry`: MODULE:FUNCTION, as a console script names it. Imported when it is first needed."""

    def __init__(self, entry: str, *, imports: Sequence[str] = (), path: str = "") -> None:
        self._entry, self._imports, self._path = entry, imports, path
        self._server: subprocess.Popen[bytes] | None = None
        self._folder = Path()

    def at(self, python: Path) -> Program:
        """The same for another Python."""
        if python not in _others:
            _others[python] = Program(self._entry, imports=self._imports, path=self._path)
            _others[python].python = python
        return _others[python]

    python = Path(sys.executable)

    @property
    def _address(self) -> str:
        if self._server is None:
            self._folder = Path(tempfile.mkdtemp(prefix="forked-"))
            address = self._folder / "socket"
            environment = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(address))
                listening.listen(64)
                self._server = subprocess.Popen(
                    [self.python, "-P", __file__, self._entry, *self._imports],
                    stdin=listening.fileno(),
                    env={**environment, "PYTHONPATH": self._path},
                    cwd="/",
                )
            _running.append(self)
        return str(self._folder / "socket")

    def run(
        self,
        *words: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Nothing on standard input. `env`: all that it has; None: what this process has."""
        mask = os.umask(0o077)
        os.umask(mask)
        order = {
            "words": [str(word) for word in words],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "mask": mask,
            **more,
        }
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self._address)
            out, err = _ask(server, order)
            answer = server.recv(_OVER)
        assert answer, f"{self._entry} was ended without an exit code"
        return subprocess.CompletedProcess(
            [self._entry, *order["words"]], int(answer), out.decode(), err.decode()
        )

    def command(self, path: Path, **more: Any) -> Path:
        """Write a program that runs this one."""
        text = _CLIENT.format(python=self.python, server=self._address, more=more, over=_OVER)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
            shutil.rmtree(self._folder, ignore_errors=True)


def _ask(server: socket.socket, order: dict[str, Any]) -> tuple[bytes, bytes]:
    """Give the order, and read both streams to their ends."""
    found: dict[int, list[bytes]] = {}
    with selectors.DefaultSelector() as waiting, open(os.devnull, "rb") as nothing:
        writing = []
        for _ in range(2):
            reading, other = os.pipe()
            writing.append(other)
            found[reading] = []
            waiting.register(reading, selectors.EVENT_READ)
        try:
            socket.send_fds(server, [b"f"], [nothing.fileno(), *writing])
        finally:
            for descriptor in writing:
                os.close(descriptor)
        try:
            server.sendall(json.dumps(order).encode() + b"\n")
            while waiting.get_map():
                for key, _ in waiting.select():
                    data = os.read(key.fd, 1 << 16)
                    found[key.fd].append(data)
                    if not data:
                        waiting.unregister(key.fd)
        finally:
            for descriptor in found:
                os.close(descriptor)
    out, err = (b"".join(parts) for parts in found.values())
    return out, err


_running: list[Program] = []
_others: dict[Path, Program] = {}


def stop_all() -> None:
    while _running:
        _running.pop().stop()


#: Ours, with what nearly every command imports.
SOVGATE = Program(
    "sovgate.cli:main",
    path=str(ROOT),
    imports=(
        *("sovgate.cli._failure", "sovgate.cli.make.sign", "sovgate.cli.make.record"),
        *("sovgate.cli.move.push", "sovgate.cli.move.pull", "sovgate.cli.move.verify"),
        *("sovgate.cli.decide.check", "sovgate.stages.encrypt", "sovgate.stages.promote"),
        *("sovgate.pipeline.make.sbom", "sovgate.pipeline.move.push", "sovgate.pipeline.move.pull"),
        *("sovgate.pipeline.rollout.promote", "sovgate.engines.regorus", "sovgate.stores.file"),
        *("sovgate.pipeline.move.verify", "sovgate.keys.file", "sovgate.pipeline.make.record"),
    ),
)
#: OpenSSF's model_signing, in its own environment: `MODEL_SIGNING.at(python)`.
MODEL_SIGNING = Program("model_signing._cli:main")


# --- the server ---------------------------------------------------------------------------------


def _obey_modes() -> None:
    """Root, too, shall obey the modes of files: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    import ctypes

    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, sets) == 0
    sets[0] &= ~0b110
    sets[1] &= ~0b110
    assert libc.capset(header, sets) == 0


def _child(order: dict[str, Any], streams: Sequence[int], entry: str) -> int:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in streams:
        os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["env"])
    os.umask(order["mask"])
    os.chdir(order["cwd"])
    if "file_size" in order:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"],) * 2)
    if order.get("obeys_modes") and os.geteuid() == 0:
        _obey_modes()
    sys.argv = [entry, *order["words"]]
    module, _, function = entry.partition(":")
    if "patch" in order:  # MODULE.NAME -> a path
        for name, value in order["patch"].items():
            place, _, attribute = name.rpartition(".")
            setattr(import_module(place), attribute, Path(value))
    try:
        getattr(import_module(module), function)()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _end(code: int) -> NoReturn:
    """As Python ends: threads first, then what is to be done at exit, and the streams last."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:  # noqa: BLE001 - it ends, whatever it does
        code = code or 120
    os._exit(code)


def _handle(server: socket.socket, entry: str) -> None:
    """One run, in a process of its own; its parent waits for it and tells its exit code."""
    _, streams, _, _ = socket.recv_fds(server, 1, 3)
    with server.makefile("rb") as lines:
        order = json.loads(lines.readline())
    child = os.fork()
    if child == 0:
        server.close()
        code = 1
        try:
            code = _child(order, streams, entry)
        except BaseException:  # noqa: BLE001 - the child must not go on as the server
            import traceback

            traceback.print_exc()
        finally:
            _end(code)
    for descriptor in streams:
        os.close(descriptor)
    _, status = os.waitpid(child, 0)
    server.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def _serve(entry: str, imports: Sequence[str]) -> None:
    for name in (entry.partition(":")[0], *imports):
        import_module(name)
    listening = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that handle a run
    while True:
        server, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _handle(server, entry)
            finally:
                os._exit(0)
        server.close()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
