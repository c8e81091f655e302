"""What is said once at the end of all tests: the slowest, what was not run, and how to get it.

A plugin that tests/conftest.py registers where the reports arrive; with `--report=FILE` it writes
them there instead, and scripts/run_tests.py says it for the runs together.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

_REASON = re.compile(r"(?:Skipped: )?(?P<what>.*?)(?: \(to get it: (?P<get>.*)\))?", re.DOTALL)
SLOWEST = 12


@dataclasses.dataclass
class Result:
    """Seconds by test, skipped tests by reason, and how many were left to another run."""

    seconds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    skipped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    left: int = 0

    def add(self, other: Result) -> None:
        self.seconds += other.seconds
        self.skipped += other.skipped
        self.left += other.left

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(vars(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Result:
        found = json.loads(path.read_text(encoding="utf-8"))
        counters = {name: collections.Counter(found[name]) for name in ("seconds", "skipped")}
        return cls(**counters, left=found["left"])


class Plugin:
    """Collects what pytest reports, of its workers too."""

    def __init__(self, file: str | None) -> None:
        self.file, self.result = file, Result()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.result.seconds[report.nodeid] += report.duration
        if report.skipped and not hasattr(report, "wasxfail"):
            assert isinstance(report.longrepr, tuple)
            self.result.skipped[report.longrepr[2]] += 1

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        self.result.left += len(list(items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # Each worker leaves out the same ones.
        left = getattr(node, "workeroutput", {}).get("left", 0)
        self.result.left = max(self.result.left, left)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.file:
            self.result.write(Path(self.file))
        else:
            for line in not_run(self.result):
                terminalreporter.write_line(line)


class Worker:
    """In a worker: it alone knows what was left out."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.left = config, 0

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        self.left += len(list(items))

    def pytest_sessionfinish(self) -> None:
        self.config.workeroutput["left"] = self.left  # type: ignore[attr-defined]  # of xdist


def slowest(result: Result) -> list[str]:
    total = result.seconds.total()
    lines = [f"slowest of {len(result.seconds):,} tests ({total:,.0f} s together):"]
    return lines + [f"{took:7.1f} s  {name}" for name, took in result.seconds.most_common(SLOWEST)]


def not_run(result: Result) -> list[str]:
    """Each reason once: with the command where a component is missing, without where none helps."""
    commands: dict[tuple[str, str], int] = collections.Counter()
    others: dict[str, int] = collections.Counter()
    for reason, count in result.skipped.items():
        found = _REASON.fullmatch(reason)
        assert found
        if found["get"]:
            commands[found["what"], found["get"]] += count
        else:
            others[found["what"]] += count
    lines = []
    if commands:
        lines += ["not run, for want of a component; to get it:"]
        lines += [f"{n:5} x  {what}: {get}" for (what, get), n in sorted(commands.items())]
    if others:
        lines += ["not run, since this machine cannot:"]
        lines += [f"{n:5} x  {what}" for what, n in sorted(_grouped(others).items())]
    return lines


def _grouped(reasons: dict[str, int]) -> dict[str, int]:
    """Many reasons of one kind, `kind: which`, as one line."""
    kinds = collections.Counter(reason.partition(": ")[0] for reason in reasons)
    grouped: dict[str, int] = collections.Counter()
    for reason, count in reasons.items():
        kind = reason.partition(": ")[0]
        grouped[f"{kind}: {kinds[kind]} of them" if kinds[kind] > 2 else reason] += count
    return grouped
