"""What `make test` says at its end: each missing component once, with the command that gets it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import summary

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from tests import components


@pytest.mark.parametrize("n", range(3))
def test_peer(n):
    components.absent(components.MissingError("no peer: not installed", get="scripts/peer x"))


def test_here():
    pytest.skip("no mount here")


@pytest.mark.thorough
def test_long():
    pass


def test_fine():
    pass
"""


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(TESTS)
    known = {name: value for name, value in os.environ.items() if name != "SOVGATE_REQUIRE_ALL"}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest"),
            *("--rootdir", str(folder), "-c", str(ROOT / "pyproject.toml")),
            *("-m", "not (container or thorough)", *words, str(folder)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**known, **more},
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_missing_component_is_said_once(tmp_path: Path, workers: str) -> None:
    report = tmp_path / "report.json"
    done = run(tmp_path, "-n", workers, f"--report={report}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = summary.Result.read(report)
    assert found.left == 1
    assert len(found.seconds) == 5
    assert summary.not_run(found) == [
        "not run, for want of a component; to get it:",
        "    3 x  no peer: not installed: scripts/peer x",
        "not run, since this machine cannot:",
        "    1 x  no mount here",
    ]
    assert "not run" not in done.stdout  # who asks for the report says it, for several runs at once


def test_without_a_report_pytest_says_it_itself(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.stdout.count("no peer: not installed: scripts/peer x") == 1


def test_where_everything_is_required_it_fails(tmp_path: Path) -> None:
    done = run(tmp_path, SOVGATE_REQUIRE_ALL="1")
    assert done.returncode == 1
    assert "3 failed" in done.stdout


def test_the_slowest_come_first_and_runs_add_up() -> None:
    result = summary.Result(seconds=Counter({"a": 1.0, "b": 3.0}))
    result.add(summary.Result(seconds=Counter({"c": 2.0}), skipped=Counter({"x": 1}), left=4))
    assert summary.slowest(result) == [
        "slowest of 3 tests (6 s together):",
        "    3.0 s  b",
        "    2.0 s  c",
        "    1.0 s  a",
    ]
    assert (result.left, result.skipped["x"]) == (4, 1)
    assert summary.not_run(summary.Result()) == []


def test_many_reasons_of_one_kind_are_one_line() -> None:
    skipped = Counter({f"Skipped: not in this copy: {n}": 2 for n in range(9)} | {"no: a": 1})
    assert summary.not_run(summary.Result(skipped=skipped))[1:] == [
        "    1 x  no: a",
        "   18 x  not in this copy: 9 of them",
    ]
