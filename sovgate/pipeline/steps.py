"""The steps of a chain under way: what each did, how long it took, and where it stopped. No I/O."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sovgate.errors import SovgateError, disk_error
from sovgate.formats import leftovers

Z = TypeVar("Z", str, str | None)

DONE, ALREADY, LEFT, WOULD, DENIED = "done", "already", "left", "would", "denied"


@dataclass(frozen=True, kw_only=True)
class Step:
    """`outcome`: DONE; ALREADY, passed over or found done; LEFT to another job; WOULD, dry run;
    DENIED by policy.

    `decisions`: what policy said, one line each.
    """

    name: str
    zone: str | None
    outcome: str
    said: str
    decisions: tuple[str, ...]
    seconds: float

    def json(self) -> dict[str, object]:
        return {**vars(self), "decisions": list(self.decisions), "seconds": f"{self.seconds:.3f}"}


@dataclass
class StepResult:
    """What a step that is still running says of itself."""

    said: str = ""
    outcome: str = DONE
    decisions: tuple[str, ...] = ()


@dataclass
class Log:
    steps: list[Step] = field(default_factory=list)
    heads: list[tuple[str, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str, zone: str | None = None) -> Iterator[StepResult]:
        with self._steps(name, [zone]) as results:
            yield results[zone]

    @contextlib.contextmanager
    def steps_of(self, name: str, zones: Sequence[str]) -> Iterator[dict[str, StepResult]]:
        """Steps of several zones that are done together: each took its share of the time."""
        with self._steps(name, zones) as results:
            yield results

    @contextlib.contextmanager
    def _steps(self, name: str, zones: Sequence[Z]) -> Iterator[dict[Z, StepResult]]:
        started = time.monotonic()
        results = {zone: StepResult() for zone in zones}
        try:
            yield results
        except SovgateError as error:
            there = error.data.get("there", ())
            if isinstance(there, list):  # of zones pushed to together some have the release
                done = {zone: StepResult(said="its record is written") for zone in there}
                self._add(name, done, time.monotonic() - started)
            self._tell(error, name, _whose(error, zones))
            raise
        except OSError as error:
            ours = disk_error(error, f"go on with {name}")
            self._tell(ours, name, _whose(ours, zones))
            raise ours from error
        self._add(name, results, time.monotonic() - started)

    def _add(self, name: str, results: Mapping[Z, StepResult], seconds: float) -> None:
        self.steps += [
            Step(
                name=name,
                zone=zone,
                outcome=result.outcome,
                said=result.said,
                decisions=result.decisions,
                seconds=seconds / len(results),
            )
            for zone, result in results.items()
        ]

    def _tell(self, error: SovgateError, name: str, zone: str | None) -> None:
        """What was done before it, for a person and for a program."""
        for step in self.steps:
            if step.outcome == DENIED:  # what comes after it only writes the refusal down
                name, zone = step.name, step.zone
        where = name if zone is None else f"{name} in {zone}"
        done = ", ".join(s.name for s in self.steps if s.outcome != DENIED) or "nothing"
        error.details = (*error.details, f"stopped at: {where}; done before: {done}")
        steps = [step.json() for step in self.steps]
        error.data = {**error.data, "stopped-at": name, "steps": steps}


def _whose(error: SovgateError, zones: Sequence[str | None]) -> str | None:
    """The zone at which it stopped: the only one, or the one that the error names."""
    if len(zones) == 1:
        return zones[0]
    zone = error.data.get("zone")
    return zone if isinstance(zone, str) else None


def aside(left_out: Sequence[str]) -> str:
    """What a step adds of leftovers of tools that it passed over."""
    told = leftovers.told(left_out)
    return "" if told is None else f"; {told}"
