"""Intervals agree with SciPy's, and hold the truth as often as they say: counted, and simulated."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special, stats

from sovgate.gates import accuracy, auc, f1, regression
from sovgate.gates._api import Inputs, Predictions
from sovgate.intervals import beta, clopper_pearson, text_high, text_low

SHARES = (0.001, 0.05, 0.5, 0.9, 0.99)


@given(
    st.floats(0.01, 1e6), st.floats(0.01, 1e6), st.floats(0, 1, exclude_min=True, exclude_max=True)
)
def test_the_incomplete_beta_function_is_scipys(a: float, b: float, share: float) -> None:
    x = float(special.betaincinv(a, b, share))  # where it is neither 0 nor 1
    assume(not math.isnan(x))  # SciPy has no answer for some of the smallest shares
    assert math.isclose(beta(x, a, b), special.betainc(a, b, x), rel_tol=0, abs_tol=1e-9)


@given(st.integers(1, 100_000), st.data(), st.sampled_from([0.95, 0.99, 0.999]))
def test_intervals_are_scipys(n: int, data: st.DataObject, confidence: float) -> None:
    hits = data.draw(st.integers(0, n))
    theirs = stats.binomtest(hits, n).proportion_ci(confidence, method="exact")
    low, high = clopper_pearson(hits, n, confidence)
    assert math.isclose(low, theirs.low, rel_tol=0, abs_tol=1e-9)
    assert math.isclose(high, theirs.high, rel_tol=0, abs_tol=1e-9)


def test_no_sample_says_nothing() -> None:
    assert clopper_pearson(0, 0, 0.95) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("hits", "n", "confidence"), [(-1, 3, 0.95), (4, 3, 0.95), (1, 3, 0), (1, 3, 1)]
)
def test_nonsense_is_refused(hits: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"\("):
        clopper_pearson(hits, n, confidence)


@given(st.floats(-1, 1))
def test_ends_are_rounded_outwards(value: float) -> None:
    assert Decimal(text_low(value)) <= Decimal(value) <= Decimal(text_high(value))


@pytest.mark.parametrize("n", [1, 7, 40, 300])
@pytest.mark.parametrize("share", SHARES)
def test_coverage_of_the_share_is_at_least_what_it_says(n: int, share: float) -> None:
    """No simulation: every outcome, with its probability."""
    held = 0.0
    for hits in range(n + 1):
        low, high = clopper_pearson(hits, n, 0.95)
        held += float(stats.binom.pmf(hits, n, share)) * (low <= share <= high)
    assert held >= 0.95


def rows(
    labels: list[str], predicted: list[str], scores: list[float] | None = None, seed: int = 0
) -> Predictions:
    return Predictions(
        ids=tuple(str(i) for i in range(len(labels))),
        labels=tuple(labels),
        predicted=tuple(predicted),
        scores=None if scores is None else tuple(scores),
        sha256=f"{seed:064x}"[::-1],
    )


def held(low: str | None, truth: float, high: str | None) -> bool:
    return float(str(low)) <= truth <= float(str(high))


@pytest.mark.parametrize(
    ("lost", "won", "n"),
    [(0.0, 0.0, 50), (0.01, 0.0, 300), (0.05, 0.05, 200), (0.2, 0.1, 100), (0.5, 0.01, 40)],
)
def test_simulated_coverage_of_the_drop(lost: float, won: float, n: int) -> None:
    """Draws two models that differ as told, and asks how often the interval holds the drop."""
    draws = np.random.default_rng(7).multinomial(n, [lost, won, 1 - lost - won], size=600)
    found = 0
    for a, b, _ in draws:
        then = ["x"] * n
        now = ["y"] * a + ["x"] * (n - a)
        then[a : a + b] = ["y"] * b
        measured = regression.measure(
            Inputs(
                confidence=0.95, predictions=rows(["x"] * n, now), baseline=rows(["x"] * n, then)
            )
        )
        found += held(measured.low, lost - won, measured.high)
    assert found / len(draws) >= 0.95


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_simulated_coverage_of_the_auc(shift: float) -> None:
    truth = float(stats.norm.cdf(shift / math.sqrt(2)))
    draw = np.random.default_rng(11)
    found = 0
    for seed in range(400):
        scores = [*draw.normal(shift, 1, 60), *draw.normal(0, 1, 80)]
        table = rows(["1"] * 60 + ["0"] * 80, ["1"] * 140, [float(s) for s in scores], seed)
        measured = auc.measure(Inputs(confidence=0.95, predictions=table, positive="1"))
        assert measured.n == 60
        found += held(measured.low, truth, measured.high)
    assert found / 400 >= 0.95


@pytest.mark.parametrize("right", [0.6, 0.95])
def test_simulated_coverage_of_f1(right: float) -> None:
    draw = random.Random(3)
    positive, found = 0.3, 0
    hit, miss, alarm = positive * right, positive * (1 - right), (1 - positive) * (1 - right)
    truth = 2 * hit / (2 * hit + miss + alarm)
    for _ in range(400):
        labels = ["1" if draw.random() < positive else "0" for _ in range(150)]
        answers = [x if draw.random() < right else "10"[int(x)] for x in labels]
        measured = f1.measure(
            Inputs(confidence=0.95, predictions=rows(labels, answers), positive="1")
        )
        found += held(measured.low, truth, measured.high)
    assert found / 400 >= 0.95


def test_more_samples_make_a_narrower_interval() -> None:
    """Else "inconclusive: take more samples" would be bad advice."""
    widths = []
    for n in (10, 100, 1000, 10_000):
        table = rows(["x"] * n, ["x"] * (n * 9 // 10) + ["y"] * (n - n * 9 // 10))
        found = accuracy.measure(Inputs(confidence=0.95, predictions=table))
        widths.append(float(str(found.high)) - float(str(found.low)))
    assert all(a > b for a, b in pairwise(widths))
