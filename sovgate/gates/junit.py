"""junit: a test run without a failure. No threshold; no test at all is inconclusive."""

from __future__ import annotations

from sovgate.gates._api import Gate, Inputs, Measure, counted

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


def again(found: Measure) -> Measure:
    failed, skipped = counted(found.counts, "failed", "skipped")
    if len(found.failed) > failed:
        raise ValueError(f"it counts {failed} failures and names {len(found.failed)}")
    return Measure(
        metric=METRIC,
        n=found.n,
        counts={"failed": failed, "skipped": skipped},
        passed=found.passed,
        failed=found.failed,
    )


GATE = Gate(
    name="junit",
    help="A test run, reported as JUnit XML, has no failure.",
    metric=METRIC,
    bound=None,
    reads="junit",
    range=None,
    measure=measure,
    again=again,
)
