"""The steps of a chain under way: what each did, how long it took, and where it stopped. No I/O."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sovgate.errors import SovgateError, disk_error
from sovgate.formats import leftovers

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
        started = time.monotonic()
        result = StepResult()
        try:
            yield result
        except SovgateError as error:
            self._tell(error, name, zone)
            raise
        except OSError as error:
            ours = disk_error(error, f"go on with {name}")
            self._tell(ours, name, zone)
            raise ours from error
        seconds = time.monotonic() - started
        self.steps.append(
            Step(
                name=name,
                zone=zone,
                outcome=result.outcome,
                said=result.said,
                decisions=result.decisions,
                seconds=seconds,
            )
        )

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


def aside(left_out: Sequence[str]) -> str:
    """What a step adds of leftovers of tools that it passed over."""
    told = leftovers.told(left_out)
    return "" if told is None else f"; {told}"
