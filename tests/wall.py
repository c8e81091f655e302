"""Runs a command where every address is this machine, and tells of each that is not loopback.

A network namespace holds whoever is started in it: children, and native code such as gRPC's, that
no hook in Python sees. All addresses lead to its loopback, so that what is asked of one arrives
where it is heard, is told by name, and is answered by nobody.

    python -m tests.wall FILE COMMAND…     FILE: what was asked, a line each; 97 if it is not empty
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tests.components import ROOT, MissingError

#: Ends with it where an address was asked that is not loopback.
ASKED = 97
_ALL, _OUTGOING, _TCP, _UDP = 0x0003, 4, 6, 17
#: As root; as anybody, where the system lets anybody; as whoever may be root without a password.
_WAYS = (
    ("unshare", "--kill-child", "--net"),
    ("unshare", "--kill-child", "--user", "--map-root-user", "--net"),
    ("sudo", "-n", "-E", "unshare", "--kill-child", "--net"),
)


def around(asked: Path, command: list[str]) -> list[str]:
    """The command line that runs `command` so. Raises MissingError: no namespace is to be had."""
    if shutil.which("ip") is None:
        raise MissingError("no ip (iproute2)", get="apt-get install iproute2")
    inner = [sys.executable, "-m", "tests.wall", str(asked), *command]
    for begins in _WAYS:
        # A system may let everyone have a namespace, and do nothing in it.
        tried = [*begins, "ip", "link", "set", "lo", "up"]
        with contextlib.suppress(FileNotFoundError):
            if not subprocess.run(tried, capture_output=True, check=False).returncode:
                return [*begins, *inner]
    raise MissingError("no network namespace", get="allow unshare --net, or run as root")


def _closed() -> None:
    ip = str(shutil.which("ip"))
    for words in (
        ("link", "set", "lo", "up"),
        ("route", "add", "local", "default", "dev", "lo"),
        ("-6", "route", "add", "local", "default", "dev", "lo"),
    ):
        done = subprocess.run([ip, *words], capture_output=True, text=True, check=False)
        if done.returncode and "-6" not in words:  # a kernel may have no IPv6
            raise SystemExit(f"ip {' '.join(words)}: {done.stderr}")


class _Ear(threading.Thread):
    """Hears each beginning of a connection, and each datagram, on loopback."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL))
        self._socket.bind(("lo", _ALL))
        self.heard: dict[str, None] = {}
        self._last = f"end-{os.getpid()}".encode()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            data, (_, kind, how, *_) = self._socket.recvfrom(65536)
            if how != _OUTGOING:
                continue
            if self._last in data:
                self.done.set()
            elif (found := _beyond(kind, data)) is not None:
                self.heard.setdefault(found)

    def end(self) -> list[str]:
        """What was heard, once all before this has been."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(self._last, ("127.0.0.1", 9))
        self.done.wait(10)
        return list(self.heard)


def _beyond(kind: int, data: bytes) -> str | None:
    """Whom a packet is for, where that is not loopback."""
    if kind == 0x0800:
        head, protocol, to = (data[0] & 15) * 4, data[9], data[16:20]
    elif kind == 0x86DD:
        head, protocol, to = 40, data[6], data[24:40]
    else:
        return None
    address, body = ipaddress.ip_address(to), data[head:]
    begins = protocol == _UDP or (protocol == _TCP and body[13] & 0x12 == 0x02)
    if address.is_loopback or not begins:
        return None
    port = int.from_bytes(body[2:4], "big")
    name = f" for {_question(body[8:])}" if (protocol, port) == (_UDP, 53) else ""
    return f"{'tcp' if protocol == _TCP else 'udp'} {address} port {port}{name}"


def _question(data: bytes) -> str:
    """The name that a resolver is asked for."""
    parts, at = [], 12
    while at < len(data) and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += 1 + data[at]
    return ".".join(parts)


def _main(asked: Path, command: list[str]) -> int:
    _closed()
    ear = _Ear()
    ear.start()
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    heard = ear.end()
    asked.write_text("".join(f"{one}\n" for one in heard), encoding="utf-8")
    return ASKED if heard else code


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2:]))
