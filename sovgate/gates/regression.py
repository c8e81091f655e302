"""regression: how much accuracy a model lost against a baseline, on the very same samples.

Exact and paired, nothing drawn at random. A bootstrap would be narrower, but gives [0, 0] as soon
as two models answer ten samples alike: it would pass what nobody has looked at.
"""

from __future__ import annotations

from sovgate.errors import VerificationFailed
from sovgate.gates._api import AT_MOST, Gate, Inputs, Measure, Predictions, counted
from sovgate.intervals import clopper_pearson, text, text_high, text_low

METRIC = "accuracy-drop"
#: How the doubt is shared: between which of the two models is right where they differ, and how
#: often they differ. The first decides the sign, so it gets the more.
_WHICH = 0.8


def measure(inputs: Inputs) -> Measure:
    """drop = accuracy of the baseline − accuracy of the candidate, in [−1, 1].

    Samples that both get right, or both wrong, cancel out. Of the others, `lost` were right before
    and `won` are right now; given how many there are, `lost` is binomial. So drop =
    (2·share lost − 1) · share differing, and both shares have exact intervals. They hold together
    with `confidence` (Bonferroni), and so does the drop, which is monotone in each.
    """
    ours, before = inputs.predictions, inputs.baseline
    assert ours is not None and before is not None  # noqa: S101 - for the type checker
    lost = won = 0
    for label, now, then in _paired(ours, before):
        lost += then == label != now
        won += now == label != then
    return _of(lost, won, len(ours.ids), inputs.confidence)


def again(found: Measure) -> Measure:
    lost, won = counted(found.counts, "lost", "won")
    return _of(lost, won, found.n, float(found.confidence or 0))


def _of(lost: int, won: int, n: int, confidence: float) -> Measure:
    differing = lost + won
    doubt = 1.0 - confidence
    which = clopper_pearson(lost, differing, 1.0 - doubt * _WHICH)
    often = clopper_pearson(differing, n, 1.0 - doubt * (1.0 - _WHICH))
    ends = [(2.0 * side - 1.0) * size for side in which for size in often]
    return Measure(
        metric=METRIC,
        n=n,
        estimate=text((lost - won) / n) if n else None,
        low=text_low(min(ends)),
        high=text_high(max(ends)),
        confidence=text(confidence),
        counts={"lost": lost, "won": won},
    )


def _paired(ours: Predictions, before: Predictions) -> list[tuple[str, str, str]]:
    """(label, candidate's answer, baseline's answer) for each id. Raises VerificationFailed."""
    known = {
        name: (label, answer)
        for name, label, answer in zip(before.ids, before.labels, before.predicted, strict=True)
    }
    rows = []
    for name, label, answer in zip(ours.ids, ours.labels, ours.predicted, strict=True):
        if name not in known:
            raise _different(f"{name[:80]!r} is not among the baseline's", ours, before)
        then_label, then = known.pop(name)
        if then_label != label:
            raise VerificationFailed(
                "baseline and candidate have different labels",
                why=f"{name[:80]!r} is labelled {label[:40]!r} here and {then_label[:40]!r} there",
                fix="run both models on the same test set",
                reason="different-labels",
            )
        rows.append((label, answer, then))
    if known:
        raise _different(f"the baseline has {next(iter(known))[:80]!r} beside", ours, before)
    return rows


def _different(why: str, ours: Predictions, before: Predictions) -> VerificationFailed:
    return VerificationFailed(
        "baseline and candidate were not run on the same samples",
        why=f"{why}; {len(before.ids)} ids there, {len(ours.ids)} here",
        fix="run both models on the same test set",
        reason="different-ids",
    )


GATE = Gate(
    name="regression",
    help="The model is hardly worse than a baseline on the same samples.",
    metric=METRIC,
    bound=AT_MOST,
    reads="paired",
    range=(-1, 1),
    measure=measure,
    again=again,
)
