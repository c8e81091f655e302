"""junit: a test run without a failure. No threshold; no test at all is inconclusive."""

from __future__ import annotations

from sovgate.gates._api import Gate, Inputs, Measure

METRIC = "tests"


def measure(inputs: Inputs) -> Measure:
    """`n` counts the tests that ran; those that were skipped prove nothing."""
    tests = inputs.tests
    assert tests is not None  # noqa: S101 - for the type checker
    return Measure(
        metric=METRIC,
        n=tests.ran,
        counts={"failed": tests.failures, "skipped": tests.skips},
        failed=tests.failed,
    )


GATE = Gate(
    name="junit",
    help="A test run, reported as JUnit XML, has no failure.",
    metric=METRIC,
    bound=None,
    reads="junit",
    measure=measure,
)
