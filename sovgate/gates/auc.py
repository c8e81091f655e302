"""auc: how often a sample of one label scores above one of any other (area under the ROC curve).

Exact, from random pairs that share no sample: each pair is then a trial of its own, and wins are
binomial. A bootstrap gives [1, 1] on five samples that happen to be in order; this does not.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping

from sovgate.errors import VerificationFailed
from sovgate.gates._api import AT_LEAST, Gate, Inputs, Measure, counted, total
from sovgate.intervals import clopper_pearson, text, text_high, text_low

METRIC = "auc"


def measure(inputs: Inputs) -> Measure:
    """The seed is a digest of the test set, its ids and labels: nobody can try seeds until one
    passes, by writing the same predictions down in another order or spelling.

    A tie is half a win; so the lower end counts it as lost, the upper as won. `n` counts pairs.
    """
    rows, positive = inputs.predictions, inputs.positive
    assert rows is not None  # noqa: S101 - for the type checker
    if rows.scores is None:
        raise VerificationFailed(
            "the predictions have no column score",
            fix="write id,label,prediction,score",
            reason="no-scores",
        )
    samples = sorted(zip(rows.ids, rows.labels, rows.scores, strict=True))
    above = [score for _, label, score in samples if label == positive]
    below = [score for _, label, score in samples if label != positive]
    seed = _seed((name, label) for name, label, _ in samples)
    shuffled = random.Random(seed)  # noqa: S311 - reproducible on purpose, no secret
    shuffled.shuffle(above)
    shuffled.shuffle(below)
    pairs = list(zip(above, below, strict=False))
    wins = sum(high > low for high, low in pairs)
    ties = sum(high == low for high, low in pairs)
    found = {"positives": len(above), "others": len(below), "wins": wins, "ties": ties}
    return _of(found, seed, inputs.confidence)


def again(found: Measure) -> Measure:
    positives, others, wins, ties = counted(found.counts, "positives", "others", "wins", "ties")
    n = total(found, min(positives, others))
    if wins + ties > n:
        raise ValueError(f"it counts {wins} wins and {ties} ties among {n} pairs")
    return _of(found.counts, found.seed, float(found.confidence or 0))


def _of(counts: Mapping[str, int], seed: int | None, confidence: float) -> Measure:
    n, wins, ties = min(counts["positives"], counts["others"]), counts["wins"], counts["ties"]
    return Measure(
        metric=METRIC,
        n=n,
        estimate=text((wins + ties / 2) / n) if n else None,
        low=text_low(clopper_pearson(wins, n, confidence)[0]),
        high=text_high(clopper_pearson(wins + ties, n, confidence)[1]),
        confidence=text(confidence),
        seed=seed,
        counts=dict(counts),
    )


def _seed(samples: Iterable[tuple[str, str]]) -> int:
    digest = hashlib.sha256()
    for name, label in samples:  # neither holds a line end, nor an unprintable separator
        digest.update(f"{name}\x1f{label}\n".encode())
    return int(digest.hexdigest()[:12], 16)


GATE = Gate(
    name="auc",
    help="Samples of one label score above the others often enough.",
    metric=METRIC,
    bound=AT_LEAST,
    reads="binary",
    range=(0, 1),
    measure=measure,
    again=again,
)
