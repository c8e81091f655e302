"""Exact confidence intervals for shares, in pure Python. Ground floor: standard library, no I/O.

Clopper and Pearson (1934): the quantiles of beta distributions, by the regularized incomplete beta
function (continued fraction, modified Lentz) and bisection. Ends err outwards, never inwards.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import lru_cache

#: Digits behind the point that a result keeps; far coarser than what the arithmetic loses.
DIGITS = 9

_TINY = 1e-300
_STEPS = 200_000


def beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), the regularized incomplete beta function: the beta distribution's CDF at x."""
    if not 0.0 < x < 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log = _front(x, a, b)
    # The fraction converges fast on this side of the mean only; the other side by symmetry.
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log) * _fraction(x, a, b) / a
    return 1.0 - math.exp(log) * _fraction(1.0 - x, b, a) / b


def _front(x: float, a: float, b: float) -> float:
    """ln(x^a (1−x)^b / B(a, b)), without the large terms that cancel out in ln Γ."""
    n = a + b
    return (
        0.5 * math.log(a / n * b / (2.0 * math.pi))
        + a * _log_ratio(x * n, a)
        + b * _log_ratio((1.0 - x) * n, b)
        + _stirling(n)
        - _stirling(a)
        - _stirling(b)
    )


def _log_ratio(value: float, of: float) -> float:
    return math.log1p((value - of) / of) if of < 2.0 * value < 4.0 * of else math.log(value / of)


def _stirling(z: float) -> float:
    """ln Γ(z) less Stirling's formula: DLMF 5.11.1."""
    if z < 16.0:
        return math.lgamma(z) - ((z - 0.5) * math.log(z) - z + 0.5 * math.log(2.0 * math.pi))
    square = z * z
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / square) / square) / square) / z


def _fraction(x: float, a: float, b: float) -> float:
    """DLMF 8.17.22, evaluated by Lentz's method as modified by Thompson and Barnett."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _STEPS):
        twice = a + 2 * m
        for factor in (
            m * (b - m) * x / ((twice - 1.0) * twice),
            -(a + m) * (a + b + m) * x / (twice * (twice + 1.0)),
        ):
            d = 1.0 + factor * d
            c = 1.0 + factor / c
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = c if abs(c) > _TINY else _TINY
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def quantile(share: float, a: float, b: float) -> tuple[float, float]:
    """Two neighbours between which the beta distribution's CDF passes `share`."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if beta(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return low, high


@lru_cache(maxsize=1024)
def clopper_pearson(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """The exact two-sided interval for a share, of `hits` out of `n`. n = 0 says nothing: (0, 1).

    In at least `confidence` of all samples it holds the true share, whatever that is.
    """
    if not 0 <= hits <= n or not 0.0 < confidence < 1.0:
        raise ValueError((hits, n, confidence))
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else quantile(tail, hits, n - hits + 1)[0]
    high = 1.0 if hits == n else quantile(1.0 - tail, hits + 1, n - hits)[1]
    return low, high


def text(value: float) -> str:
    """An estimate as decimal text."""
    return _spelled(value, ROUND_HALF_EVEN)


def text_low(value: float) -> str:
    """The lower end of an interval as decimal text, never above the value."""
    return _spelled(value, ROUND_FLOOR)


def text_high(value: float) -> str:
    return _spelled(value, ROUND_CEILING)


def _spelled(value: float, rounding: str) -> str:
    number = Decimal(value).quantize(Decimal(1).scaleb(-DIGITS), rounding=rounding)
    return "0" if number == 0 else format(number.normalize(), "f")
