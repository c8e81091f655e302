"""Runs a command where every address is this machine, and tells of each that is not loopback.

A network namespace holds whoever is started in it: children, and native code such as gRPC's, that
no hook in Python sees. All addresses lead to its loopback, so that what is asked of one arrives
where it is heard, is told by name, and is answered by nobody.

    python -m tests.wall FILE COMMAND…     FILE: what was asked, a line each; 97 if it is not empty
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from tests.components import ROOT, MissingError

#: Ends with it where an address was asked that is not loopback.
ASKED = 97
_ALL, _OUTGOING, _TCP, _UDP = 0x0003, 4, 6, 17
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
#: As root; as anybody, where the system lets anybody; as whoever may be root without a password.
_WAYS = (
    ("unshare", "--kill-child", "--net"),
    ("unshare", "--kill-child", "--user", "--map-root-user", "--net"),
    ("sudo", "-n", "-E", "unshare", "--kill-child", "--net"),
)


def around(asked: Path, command: list[str]) -> list[str]:
    """The command line that runs `command` so. Raises MissingError: no namespace is to be had."""
    inner = [sys.executable, "-m", "tests.wall", str(asked), *command]
    for begins in _WAYS:
        # A system may let everyone have a namespace, and do nothing in it.
        tried = [*begins, sys.executable, "-m", "tests.wall"]
        with contextlib.suppress(FileNotFoundError):
            if not subprocess.run(tried, cwd=ROOT, capture_output=True, check=False).returncode:
                return [*begins, *inner]
    raise MissingError("no network namespace", get="allow unshare --net, or run as root")


def _closed() -> None:
    """Loopback up, and every address on it. By the kernel's own interfaces, as `ip` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        name = b"lo".ljust(16, b"\0")
        flags = fcntl.ioctl(any_, _GET_FLAGS, name + bytes(24))[16:18]
        up = (int.from_bytes(flags, sys.byteorder) | _UP).to_bytes(2, sys.byteorder)
        fcntl.ioctl(any_, _SET_FLAGS, name + up + bytes(22))
    _route(socket.AF_INET)
    with contextlib.suppress(OSError):  # a kernel may have no IPv6
        _route(socket.AF_INET6)


def _route(family: int) -> None:
    """`ip route add local default dev lo` (rtnetlink(7))."""
    table, boot, host, local, device = 255, 3, 254, 2, 4
    scope = host if family == socket.AF_INET else 0
    row = struct.pack("=BBBBBBBBI", family, 0, 0, 0, table, boot, scope, local, 0)
    row += struct.pack("=HHi", 8, device, socket.if_nametoindex("lo"))
    create, request, acknowledged = 0x400, 1, 4
    head = struct.pack("=IHHII", 16 + len(row), 24, create | request | acknowledged, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.sendto(head + row, (0, 0))
        answer = kernel.recv(4096)
    error = struct.unpack_from("=i", answer, 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


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
    if len(sys.argv) == 1:  # whether it can be done here
        _closed()
    else:
        sys.exit(_main(Path(sys.argv[1]), sys.argv[2:]))
