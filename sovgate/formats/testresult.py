"""Test result: in-toto test-result v0.1 with our extension. Bytes <-> record, no I/O.

What a gate measured, held against which threshold, and how it came out. A reader judges again: a
statement whose outcome does not follow from its own numbers is Malformed. docs/formats.md, "Gate".
Whether its numbers follow from its counts is asked of the gate itself (`gates/registry.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from sovgate import strict
from sovgate.errors import Malformed

EXTENSION = "https://sovgate.dev/gate/v0"
#: A result held to less is none: who may choose the confidence may choose the outcome.
LEAST_CONFIDENCE = Decimal("0.95")
MAX_NAMED = 100
MAX_TEST_NAME = 256

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
AT_LEAST: Literal["at-least"] = "at-least"
AT_MOST: Literal["at-most"] = "at-most"

#: What other tools see. A result that is open is no pass to them either.
_RESULTS = {PASS: "PASSED", FAIL: "FAILED", INCONCLUSIVE: "FAILED"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,30})?", re.ASCII)


def decimal(text: str) -> Decimal:
    """Decimal text as a number: no exponent, no NaN, no infinity. Raises Malformed."""
    if not _DECIMAL.fullmatch(text):
        raise Malformed(f"{text[:40]!r} is not a decimal number")
    return Decimal(text)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a gate found, before it is held to anything. Numbers are decimal text.

    low, high  ends of an interval that holds the true value with at least `confidence`; None where
               the gate counts and does not estimate (a test run)
    n          how many samples, or tests that ran
    seed       where something was drawn at random, what it was drawn from
    counts     further whole numbers, by name: {"skipped": 2}
    """

    metric: str
    n: int
    estimate: str | None = None
    low: str | None = None
    high: str | None = None
    confidence: str | None = None
    seed: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What a gate is measured on (RULES 33): has to be, in a project; was, in a result.

    test_set  SHA-256 of the samples' ids and labels, or of the names of the tests that ran
    baseline  SHA-256 of the same with the baseline's predictions; None where there is none
    positive  the label that scores are about; None where there is none
    """

    test_set: str | None = None
    baseline: str | None = None
    positive: str | None = None

    def rows(self) -> tuple[tuple[str, str | None], ...]:
        """Each with its key in `sovgate.yaml`, digests with their prefix."""
        digests = [
            (name, None if value is None else f"sha256:{value}")
            for name, value in (("test-set", self.test_set), ("baseline", self.baseline))
        ]
        return (*digests, ("positive", self.positive))

    def json(self) -> dict[str, strict.JSON]:
        return {
            "test-set": self.test_set,
            "baseline": self.baseline,
            "positive": self.positive,
        }


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """`gate` is the name under `gates` in the project; `inputs` digests of what it was fed.

    bound, threshold  "at-least" | "at-most" and decimal text; both None for a test run
    """

    __test__ = False  # for pytest: this is none of its classes

    gate: str
    measure: Measure
    bound: str | None
    threshold: str | None
    inputs: Mapping[str, str]
    pins: Pins = Pins()

    @property
    def outcome(self) -> str:
        return judge(self.measure, self.bound, self.threshold)

    def predicate(self) -> dict[str, strict.JSON]:
        found, outcome = self.measure, self.outcome
        value: dict[str, strict.JSON] = {
            "result": _RESULTS[outcome],
            "configuration": [
                {"name": name, "digest": {"sha256": digest}}
                for name, digest in sorted(self.inputs.items())
            ],
            EXTENSION: {
                "gate": self.gate,
                "outcome": outcome,
                "metric": found.metric,
                "bound": self.bound,
                "threshold": self.threshold,
                "estimate": found.estimate,
                "low": found.low,
                "high": found.high,
                "confidence": found.confidence,
                "n": found.n,
                "seed": found.seed,
                "counts": dict(found.counts),
                "pins": self.pins.json(),
            },
        }
        if found.passed or found.failed:
            value["passedTests"] = list(found.passed)
            value["failedTests"] = list(found.failed)
        return value


def judge(found: Measure, bound: str | None, threshold: str | None) -> str:
    """The outcome, by the near end of the interval; neither side of the threshold is inconclusive.

    A test run fails with one failure, and with no test at all says nothing.
    """
    if bound is None:
        if found.failed or found.counts.get("failed", 0):
            return FAIL
        return PASS if found.n else INCONCLUSIVE
    if found.n == 0 or threshold is None or found.low is None or found.high is None:
        return INCONCLUSIVE
    low, high, limit = decimal(found.low), decimal(found.high), decimal(threshold)
    if bound == AT_LEAST:
        return PASS if low >= limit else FAIL if high < limit else INCONCLUSIVE
    return PASS if high <= limit else FAIL if low > limit else INCONCLUSIVE


def parse(predicate: strict.JSON) -> TestResult:
    """Raises Malformed, also where the outcome does not follow from the numbers."""
    top = strict.Fields(predicate, "predicate")
    result = top.text("result", max_length=16)
    inputs: dict[str, str] = {}
    for entry in top.objects("configuration", most=100):
        name, digest = entry.text("name", max_length=128), entry.object("digest")
        if name in inputs:
            raise Malformed(f"{entry.path} names {name[:80]!r} twice")
        inputs[name] = digest.sha256("sha256")
        digest.done()
        entry.done()
    tests = {}
    for name in ("passedTests", "failedTests"):
        tests[name] = top.texts(name, most=MAX_NAMED) if top.has(name) else ()
        if any(len(test) > MAX_TEST_NAME for test in tests[name]):
            raise Malformed(f"predicate.{name} holds a name of more than {MAX_TEST_NAME} letters")
    ours = top.object(EXTENSION)
    top.done()
    outcome = ours.text("outcome", max_length=16)
    pins = ours.object("pins")
    found = TestResult(
        gate=ours.text("gate", pattern=_NAME),
        bound=ours.nullable("bound", ours.text),
        threshold=_decimal(ours, "threshold"),
        inputs=inputs,
        measure=Measure(
            metric=ours.text("metric", pattern=_NAME),
            n=ours.integer("n"),
            estimate=_decimal(ours, "estimate"),
            low=_decimal(ours, "low"),
            high=_decimal(ours, "high"),
            confidence=_decimal(ours, "confidence"),
            seed=ours.nullable("seed", ours.integer),
            counts=_counts(ours.object("counts")),
            passed=tests["passedTests"],
            failed=tests["failedTests"],
        ),
        pins=Pins(
            test_set=pins.nullable("test-set", pins.sha256),
            baseline=pins.nullable("baseline", pins.sha256),
            positive=pins.nullable("positive", lambda name: pins.text(name, max_length=256)),
        ),
    )
    pins.done()
    ours.done()
    _check(found, outcome, result)
    return found


def _decimal(fields: strict.Fields, name: str) -> str | None:
    return fields.nullable(name, lambda name: fields.text(name, pattern=_DECIMAL))


def _counts(fields: strict.Fields) -> dict[str, int]:
    names = fields.names()
    if len(names) > MAX_NAMED:
        raise Malformed(f"{fields.path} has more than {MAX_NAMED} entries")
    return {name: fields.integer(name) for name in names}


def _check(found: TestResult, outcome: str, result: str) -> None:
    """That it says one thing only."""
    measure = found.measure
    ends = (measure.low, measure.high, measure.confidence)
    if found.bound not in (None, AT_LEAST, AT_MOST):
        raise Malformed(f"predicate's bound is {str(found.bound)[:40]!r}")
    if (found.bound is None) != (found.threshold is None):
        raise Malformed("the test result has a bound without a threshold, or the reverse")
    if (found.bound is None) != (ends == (None, None, None)) or (
        found.bound is not None and None in ends
    ):
        raise Malformed("the test result is held to a threshold, but estimates nothing")
    if measure.low is not None and measure.high is not None and measure.confidence is not None:
        if not LEAST_CONFIDENCE <= decimal(measure.confidence) < 1:
            raise Malformed(
                f"the interval has a confidence of {measure.confidence}",
                why=f"less than {LEAST_CONFIDENCE} says too little",
            )
        middle = decimal(measure.estimate or measure.low)
        if not decimal(measure.low) <= middle <= decimal(measure.high):
            raise Malformed("the estimate lies outside of its interval")
    if found.outcome != outcome or _RESULTS.get(outcome) != result:
        raise Malformed(
            f"the test result says {outcome[:16]!r} and {result!r}",
            why=f"from its numbers follows {found.outcome!r}",
        )
