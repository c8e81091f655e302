"""accuracy: the share of samples that the model gets right, exact (Clopper and Pearson)."""

from __future__ import annotations

from sovgate.gates._api import AT_LEAST, Gate, Inputs, Measure, counted
from sovgate.intervals import clopper_pearson, text, text_high, text_low

METRIC = "accuracy"


def measure(inputs: Inputs) -> Measure:
    """Each row is a trial that succeeds or not, so the count of successes is binomial."""
    rows = inputs.predictions
    assert rows is not None  # noqa: S101 - for the type checker
    hits = sum(a == b for a, b in zip(rows.labels, rows.predicted, strict=True))
    return _of(hits, len(rows.ids), inputs.confidence)


def again(found: Measure) -> Measure:
    (hits,) = counted(found.counts, "right")
    return _of(hits, found.n, float(found.confidence or 0))


def _of(hits: int, n: int, confidence: float) -> Measure:
    low, high = clopper_pearson(hits, n, confidence)
    return Measure(
        metric=METRIC,
        n=n,
        estimate=text(hits / n) if n else None,
        low=text_low(low),
        high=text_high(high),
        confidence=text(confidence),
        counts={"right": hits},
    )


GATE = Gate(
    name="accuracy",
    help="The share that the model gets right is high enough.",
    metric=METRIC,
    bound=AT_LEAST,
    reads="predictions",
    range=(0, 1),
    measure=measure,
    again=again,
)
