"""Runs commands in turn, each several times; wall time, CPU time and peak memory of each run."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Run:
    seconds: float
    cpu: float
    peak_mib: float


@dataclass(frozen=True, kw_only=True)
class Runs:
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def best(self) -> float:
        """The least: what others do on the machine only adds to a time."""
        return min(run.seconds for run in self.runs)

    @property
    def spread(self) -> float:
        """Largest minus smallest, as a share of the median."""
        times = [run.seconds for run in self.runs]
        return (max(times) - min(times)) / self.seconds

    @property
    def cpu(self) -> float:
        return statistics.median(run.cpu for run in self.runs)

    @property
    def peak_mib(self) -> float:
        return max(run.peak_mib for run in self.runs)


def once(command: Sequence[str]) -> Run:
    """One run; output is kept and shown if it fails."""
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            text = output.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command)} failed:\n{text}")
    return Run(
        seconds=seconds, cpu=usage.ru_utime + usage.ru_stime, peak_mib=usage.ru_maxrss / 1024
    )


def in_turn(
    commands: Mapping[str, Sequence[str]], repeats: int, before: Callable[[], None] | None = None
) -> dict[str, Runs]:
    """Each command once to warm up, then all in turn, so that they share the machine's moods."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for round_ in range(repeats + 1):
        for name, command in commands.items():
            if before is not None:
                before()
            run = once(command)
            if round_:
                found[name].append(run)
    return {name: Runs(runs=tuple(runs)) for name, runs in found.items()}


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads in a terminal too."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"

    return "\n".join(
        [
            line(head),
            "|" + "|".join("-" * (w + 2) for w in widths) + "|",
            *(line(row) for row in rows),
        ]
    )
