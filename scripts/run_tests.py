"""`make test` and `make test-all`: all tests, the unit tests without network, and one summary.

`python scripts/run_tests.py [--all] [--workers N] [-- OPTIONS OF PYTEST]`. Without --all it leaves
out what takes minutes: containers, and commands that are killed at every step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import summary  # noqa: E402 (the path comes first)

#: Markers of what is left to --all.
LEFT = "container or thorough"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="nothing is left out")
    parser.add_argument("--workers", default="auto", help="processes (default: one a core)")
    parser.add_argument("options", nargs="*", metavar="OPTION", help="for pytest, after --")
    asked = parser.parse_args()
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", asked.workers, "--dist=worksteal"]
    pytest += [] if asked.all else ["-m", f"not ({LEFT})"]
    begun, failed, result = time.monotonic(), False, summary.Result()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        for before, tests in (
            (["scripts/offline"], ["tests/unit"]),
            ([], ["tests", "--ignore=tests/unit"]),
        ):
            command = [*before, *pytest, f"--report={report}", *asked.options, *tests]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            failed |= code not in (0, 5)  # 5: the options left no test of these
            if report.exists():
                result.add(summary.Result.read(report))
                report.unlink()
    print(*summary.slowest(result), *summary.not_run(result), sep="\n")
    if result.left and not asked.all:
        print(
            f"left to `make test-all`: {result.left} tests, in containers or killed at every step"
        )
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"{'FAILED' if failed else 'passed'} in {minutes} min {seconds:02} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
