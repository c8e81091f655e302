"""No service is asked that was not named: the key suite runs where any other address is heard.

In a network namespace, so that children and native code (gRPC, PKCS#11 modules) are held too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import components, wall
from tests.conformance.keys import ADAPTERS
from tests.pace import HANG

#: What each adapter does once: signs, wraps and unwraps, and finds its service in trouble.
_EACH = "(verifies_by and p256) or (wrapped_opens_again and 0) or (all and denied)"


def _behind(tmp: Path, *command: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    asked = tmp / "asked"
    line = components.found(wall.around, asked, [*command])
    done = subprocess.run(
        line, cwd=components.ROOT, capture_output=True, text=True, check=False, timeout=HANG
    )
    return done, asked.read_text().splitlines()


def test_no_adapter_asks_any_address_but_its_services(tmp_path: Path) -> None:
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done, asked = _behind(
        tmp_path, *pytest_, str(Path(__file__).with_name("test_keys.py")), "-k", _EACH
    )
    assert asked == [], done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    count = int(done.stdout.rsplit(" passed", 1)[0].rsplit(None, 1)[-1])
    assert count >= 3 * len(ADAPTERS)


_PYTHON = "import socket; socket.create_connection(('192.0.2.7', 443), 5)"
_CHILD = "import subprocess; subprocess.run(['/bin/bash', '-c', '</dev/tcp/192.0.2.8/80'])"
_DATAGRAM = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.9', 514))"
_NAME = "import socket; socket.getaddrinfo('metadata.google.internal', 80)"
_NATIVE = """
import grpc
with grpc.insecure_channel("198.51.100.9:443") as channel:
    try:
        channel.unary_unary("/a/b")(b"")
    except grpc.RpcError:
        pass
"""


@pytest.mark.parametrize(
    ("code", "heard"),
    [
        (_PYTHON, "tcp 192.0.2.7 port 443"),
        (_CHILD, "tcp 192.0.2.8 port 80"),
        (_DATAGRAM, "udp 192.0.2.9 port 514"),
        (_NAME, " for metadata.google.internal"),
        (_NATIVE, "tcp 198.51.100.9 port 443"),
    ],
    ids=["python", "child", "datagram", "name", "native"],
)
def test_the_wall_hears_whoever_asks(tmp_path: Path, code: str, heard: str) -> None:
    done, asked = _behind(tmp_path, sys.executable, "-c", code)
    assert done.returncode == wall.ASKED
    assert any(heard in one for one in asked), (asked, done)


def test_the_wall_lets_this_machine_speak_with_itself(tmp_path: Path) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(s.getsockname()); raise SystemExit(5)"
    )
    done, asked = _behind(tmp_path, sys.executable, "-c", code)
    assert (done.returncode, asked) == (5, [])
