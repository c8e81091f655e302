"""`make test` and `make test-all`: all tests, the unit tests without network, and one summary.

`python scripts/run_tests.py [--all] [--workers N] [-- OPTIONS OF PYTEST]`. Without --all it leaves
out what takes minutes: containers, whole workflows, and commands that are killed at every step; and
of what is exhaustive it does a part.

Files that tests write lie in memory where there is room for them: on a disk, a third of the time of
all tests is spent on removing them. TMPDIR puts them elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import summary  # noqa: E402 (the path comes first)

#: Markers of what is left to --all.
LEFT = "container or thorough"
#: Linux's file system in memory, and the room that all tests together take there, with some to
#: spare; as much again stays for the tests themselves.
MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30  # noqa: S108 (a private folder is made in it)


def in_memory(folder: Path, *, mounts: str, available: int, free: int) -> bool:
    """Whether it is a file system in memory with room, from which programs may be started.

    `mounts` as /proc/mounts has them; bytes `available` for programs, and `free` in the folder.
    """
    for line in reversed(mounts.splitlines()):
        _, place, kind, options, *_ = line.split(" ")
        if place == str(folder):
            runs = not {"noexec", "ro"} & set(options.split(","))
            return kind == "tmpfs" and runs and free >= ROOM and available >= 2 * ROOM
    return False


def _memory() -> Path | None:
    """Where temporary files go. None: where they always go."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8")
        facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(facts["MemAvailable"].split()[0]) * 1024
        room = os.statvfs(MEMORY)
    except (OSError, ValueError, KeyError):
        return None
    free = room.f_bavail * room.f_frsize
    fits = in_memory(MEMORY, mounts=mounts, available=available, free=free)
    return MEMORY if fits else None


@contextlib.contextmanager
def temporary_files() -> Iterator[dict[str, str]]:
    """The environment of the tests. Their files are removed after, however the tests end."""
    folder = _memory()
    if folder is None:
        yield dict(os.environ)
        return
    made = tempfile.mkdtemp(prefix="sovgate-tests-", dir=folder)
    try:
        yield {**os.environ, "TMPDIR": made}
    finally:
        shutil.rmtree(made, ignore_errors=True)


def processes() -> int:
    """One more than there are cores: while a test waits for a server or a lock, another works."""
    known = hasattr(os, "sched_getaffinity")
    return (len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1) + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="nothing is left out")
    parser.add_argument("--workers", default="auto", help="processes (default: cores and one)")
    parser.add_argument("options", nargs="*", metavar="OPTION", help="for pytest, after --")
    asked = parser.parse_args()
    workers = str(processes()) if asked.workers == "auto" else asked.workers
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--dist=worksteal"]
    pytest += [] if asked.all else ["-m", f"not ({LEFT})", "--some"]
    begun, failed, result = time.monotonic(), False, summary.Result()
    with temporary_files() as environment, tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        for before, tests in (
            (["scripts/offline"], ["tests/unit"]),
            ([], ["tests", "--ignore=tests/unit"]),
        ):
            command = [*before, *pytest, f"--report={report}", *asked.options, *tests]
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            failed |= code not in (0, 5)  # 5: the options left no test of these
            if report.exists():
                result.add(summary.Result.read(report))
                report.unlink()
    print(*summary.slowest(result), *summary.not_run(result), sep="\n")
    if result.left and not asked.all:
        print(
            f"left to `make test-all`: {result.left} tests, in containers, of whole workflows or "
            "killed at every step; and most of what is exhaustive"
        )
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"{'FAILED' if failed else 'passed'} in {minutes} min {seconds:02} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
