"""f1: the F1 score of one label, exact.

F1 = 2·TP / (2·TP + FP + FN) = 2·J / (1 + J), where J is the share of TP among TP + FP + FN. Given
how many samples those are, TP is binomial, so J has an exact interval, and F1 grows with J.
"""

from __future__ import annotations

from sovgate.gates._api import AT_LEAST, Gate, Inputs, Measure, counted, total
from sovgate.intervals import clopper_pearson, text, text_high, text_low

METRIC = "f1"


def measure(inputs: Inputs) -> Measure:
    """`n` counts the samples that the score is about: true negatives say nothing of it."""
    rows, positive = inputs.predictions, inputs.positive
    assert rows is not None  # noqa: S101 - for the type checker
    true_positives = false_negatives = false_positives = 0
    for label, answer in zip(rows.labels, rows.predicted, strict=True):
        true_positives += label == answer == positive
        false_negatives += label == positive != answer
        false_positives += answer == positive != label
    return _of(true_positives, false_negatives, false_positives, inputs.confidence)


def again(found: Measure) -> Measure:
    hit, missed, wrong = counted(found.counts, "true-positive", "false-negative", "false-positive")
    total(found, hit + missed + wrong)
    return _of(hit, missed, wrong, float(found.confidence or 0))


def _of(
    true_positives: int, false_negatives: int, false_positives: int, confidence: float
) -> Measure:
    n = true_positives + false_negatives + false_positives
    low, high = (2.0 * j / (1.0 + j) for j in clopper_pearson(true_positives, n, confidence))
    return Measure(
        metric=METRIC,
        n=n,
        estimate=text(2 * true_positives / (n + true_positives)) if n else None,
        low=text_low(low),
        high=text_high(high),
        confidence=text(confidence),
        counts={
            "true-positive": true_positives,
            "false-negative": false_negatives,
            "false-positive": false_positives,
        },
    )


GATE = Gate(
    name="f1",
    help="The F1 score of one label is high enough.",
    metric=METRIC,
    bound=AT_LEAST,
    reads="binary",
    range=(0, 1),
    measure=measure,
    again=again,
)
