"""RULES 34: the child that looks into files can do nothing but look, and its end is no verdict."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate.blocks import Reader
from sovgate.scanner import child, limits
from sovgate.scanner.child import Scanner
from tests.scanned import found, opened

ROOT = Path(__file__).resolve().parents[2]
PICKLE = b"cos\nsystem\n(S'true'\ntR."

#: What a file that took the child over would try. Each line must fail.
ATTEMPTS = """
open("/etc/passwd")
open("/tmp/sovgate-was-here", "w")
os.open("/etc/passwd", os.O_RDONLY)
socket.socket()
os.fork()
os.execv("/bin/true", ["true"])
subprocess.run(["true"])
os.kill(os.getppid(), 0)
os.listdir("/proc")
os.mkdir("/tmp/sovgate-was-here")
"""


def test_nothing_but_looking_is_possible_in_it() -> None:
    lines = ATTEMPTS.strip().splitlines()
    program = "\n".join(
        [
            "import os, socket, subprocess, sys",
            f"sys.path.append({str(ROOT)!r})",
            "from sovgate.scanner import limits, worker",
            "worker._load_all()",
            "attempts = [",
            *(f"    lambda: {line}," for line in lines),
            "]",
            "limits.confine()",
            "for attempt in attempts:",
            "    try:",
            "        attempt()",
            "    except OSError:",
            "        print('refused')",
            "    else:",
            "        print('DONE')",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["refused"] * len(lines), (done.stdout, done.stderr)
    assert not Path("/tmp/sovgate-was-here").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what the child has")
def test_it_has_no_environment_no_other_descriptor_and_a_filter_of_system_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for the child")
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        with Scanner() as scanner, opened(PICKLE) as descriptor:
            assert scanner.scan("a.bin", descriptor)
            assert scanner._process is not None
            place = Path(f"/proc/{scanner._process.pid}")
            assert (place / "environ").read_bytes() == b""
            links = {str(link.readlink()) for link in (place / "fd").iterdir()}
            assert not [link for link in links if "passwd" in link]
            status = dict(
                line.split(":", 1) for line in (place / "status").read_text().splitlines()
            )
            assert status["Seccomp"].strip() == "2"
            assert status["NoNewPrivs"].strip() == "1"
            bounds = (place / "limits").read_text()
            for name in ("Max file size", "Max core file size", "Max processes"):
                (line,) = [line for line in bounds.splitlines() if line.startswith(name)]
                assert line.split()[-3:-1] == ["0", "0"] or line.split()[-2:] == ["0", "0"], line
            assert str(limits.MEMORY) in bounds
    finally:
        os.close(secret)


def test_a_file_that_ends_the_child_counts_and_the_next_are_looked_at() -> None:
    text = b"class of words\n"
    with Scanner() as scanner, opened(text) as one, opened(text) as two, opened(PICKLE) as three:
        assert scanner.scan("a.txt", one) is None
        assert scanner._process is not None
        # It stands, so that none of these is answered before it is gone.
        scanner._process.send_signal(signal.SIGSTOP)
        ended = scanner.begin("a.txt", Reader.of(one))
        clean, pickle = (
            scanner.begin("a.txt", Reader.of(two)),
            scanner.begin("a.bin", Reader.of(three)),
        )
        scanner._process.kill()
        scanner._process.wait()
        late = scanner.begin("a.txt", Reader.of(one))
        seen = scanner.answer(ended)
        assert seen is not None
        assert "within its limits" in seen.why
        assert scanner.answer(clean) is None
        assert scanner.answer(pickle) is not None
        assert scanner.answer(late) is None
        assert scanner._started == 2


def test_no_file_gets_the_answer_of_another_where_one_could_not_be_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, names = socket.send_fds, []

    def send(channel: socket.socket, data: list[bytes], descriptors: list[int]) -> int:
        name = json.loads(data[0][4:])["name"]
        names.append(name)
        if name == "b.bin" and names.count(name) == 1:
            raise TimeoutError
        return real(channel, data, descriptors)

    monkeypatch.setattr(child.socket, "send_fds", send)
    text = b"class of words\n"
    with Scanner() as scanner, opened(text) as one, opened(PICKLE) as two:
        looks = [scanner.begin("a.txt", Reader.of(one)), scanner.begin("b.bin", Reader.of(two))]
        looks += [scanner.begin("c.txt", Reader.of(one)), scanner.begin("d.bin", Reader.of(two))]
        counts = [scanner.answer(look) is not None for look in reversed(looks)]
        assert counts == [True, False, True, False]
    assert names == ["a.txt", "b.bin", "b.bin", "c.txt", "d.bin"]


def test_more_files_than_may_wait_are_answered_each_with_its_own() -> None:
    with Scanner() as scanner, opened(PICKLE) as bad, opened(b"class of words\n") as good:
        looks = [
            scanner.begin(f"{number}.txt", Reader.of(good))
            if number % 3
            else scanner.begin(f"{number}.bin", Reader.of(bad))
            for number in range(5 * child.AHEAD)
        ]
        assert len(scanner._waiting) == child.AHEAD
        counts = [scanner.answer(look) is not None for look in looks]
    assert counts == [number % 3 == 0 for number in range(5 * child.AHEAD)]


def test_files_that_end_one_child_after_the_other_end_no_more_than_a_few() -> None:
    with Scanner() as scanner:
        for _ in range(child.MAX_CHILDREN + 2):
            found("a.bin", PICKLE, scanner)
            if scanner._process is not None:
                scanner._process.kill()
                scanner._process.wait()
            assert found("a.bin", PICKLE, scanner)
        assert scanner._started == child.MAX_CHILDREN


@pytest.mark.parametrize(
    "answer", [b"", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1x", b"\0\0\0\2{}"]
)
def test_whatever_the_child_answers_is_no_verdict_of_clean(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner()
    ours, theirs = socket.socketpair()

    def start() -> None:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        scanner._channel = ours

    monkeypatch.setattr(scanner, "_start", start)
    with scanner:
        assert found("a.bin", PICKLE, scanner) is not None
    theirs.close()


def test_a_number_that_takes_for_ever_to_read_counts() -> None:
    """Its time is bounded by the system, whatever Python is doing."""
    seen = found("a.bin", b"I" + b"9" * 3_000_000 + b"\n.")
    assert seen is not None


def test_the_child_imports_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [
            sys.executable,
            *("-I", "-S", "-c"),
            f"import sys, json; sys.path.append({str(ROOT)!r});"
            "from sovgate.scanner import judge, limits, worker;"
            "print(json.dumps(list(sys.modules)))",
        ],
        capture_output=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded - sys.stdlib_module_names == {"sovgate", "__main__"}
