"""What a gate is: its name, what it reads, and a pure function from that to a Measure.

A gate opens nothing: the pipeline reads the files and hands them over. One gate a file; it names
itself in `registry.GATES` by one line. A gate computes its interval from whole counts, so that
whoever reads a result computes it again (RULES 33).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sovgate.formats.testresult import AT_LEAST, AT_MOST, Measure

__all__ = [
    "AT_LEAST",
    "AT_MOST",
    "Gate",
    "Inputs",
    "Measure",
    "Predictions",
    "Tests",
    "counted",
    "total",
]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One row a sample, as columns of equal length; ids are unique. `scores` None: no such column.

    `sha256` is of the file's bytes.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    scores: tuple[float, ...] | None
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Tests:
    """A test run's report: `failed` names no more than some, `failures` counts all.

    `names` is a digest of the names of all tests that ran: which tests a result is about.
    """

    __test__ = False

    ran: int
    failures: int
    skips: int
    failed: tuple[str, ...]
    names: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the pipeline read for a gate. `positive` is the label that scores are about."""

    confidence: float
    predictions: Predictions | None = None
    baseline: Predictions | None = None
    tests: Tests | None = None
    positive: str | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """`name` is that of the command, and of its entry under `gates` in the project.

    help      one line for people
    metric    what its measure is called: a result of another one is none of this gate
    bound     which side of a threshold is good; None where there is none
    reads     "predictions"; "paired", a baseline's too; "binary", with a positive label; "junit"
    range     the least and the greatest value of the metric; None where there is none
    measure   pure; raises SovgateError where the inputs do not fit each other
    again     the same from what a result says it counted (`n`, `counts`, `confidence`, `seed`);
              raises ValueError where that is no count of this gate
    """

    name: str
    help: str
    metric: str
    bound: Literal["at-least", "at-most"] | None
    reads: Literal["predictions", "paired", "binary", "junit"]
    range: tuple[int, int] | None
    measure: Callable[[Inputs], Measure]
    again: Callable[[Measure], Measure]

    @property
    def pinned(self) -> tuple[str, ...]:
        """What a project has to pin, so that a result of this gate counts (keys of its entry)."""
        more = {"paired": ("baseline",), "binary": ("positive",)}
        return ("test-set", *more.get(self.reads, ()))


def counted(counts: Mapping[str, int], *names: str) -> tuple[int, ...]:
    """Exactly these counts, in this order. Raises ValueError."""
    if set(counts) != set(names):
        raise ValueError(f"it counts {', '.join(sorted(counts)) or 'nothing'}")
    return tuple(counts[name] for name in names)


def total(found: Measure, n: int) -> int:
    """`n`, if the result says the same. Raises ValueError."""
    if found.n != n:
        raise ValueError(f"its counts are of {n}, and n is {found.n}")
    return n
