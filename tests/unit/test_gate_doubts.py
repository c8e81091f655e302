"""RULES 30 and 33: a gate's result whose signer's certificate has run out is read as what it is: a
failure stands against a pass, and a pass stands against nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate.config import ProjectConfig
from sovgate.config._records import GateConfig
from sovgate.formats import testresult
from sovgate.formats.bundle import Bundle
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.testresult import Measure, Pins, TestResult
from sovgate.gates import accuracy
from sovgate.pipeline.decide import gating
from tests.unit.test_binding import HOME, MODEL, TRUSTED, sealed
from tests.unit.test_binding_dates import LEAF, OLD, TEAM, weighed

SAMPLES = "5" * 64
GATE = GateConfig(
    name="accuracy", at_least="0.9", at_most=None, dataset=None, before="transfer", test_set=SAMPLES
)
CONFIG = cast(ProjectConfig, SimpleNamespace(gates={"accuracy": GATE}))
TRUST = (*TRUSTED, TEAM.__class__(**{**vars(TEAM), "may": frozenset({"gate"})}))


def result(right: int, samples: str = SAMPLES) -> dict[str, object]:
    measure = accuracy.again(
        Measure(metric="accuracy", n=1000, confidence="0.95", counts={"right": right})
    )
    return dict(
        TestResult(
            gate="accuracy",
            measure=measure,
            bound=testresult.AT_LEAST,
            threshold="0.9",
            inputs={"predictions": "d" * 64},
            pins=Pins(test_set=samples),
        ).predicate()
    )


def by_certificate(said: dict[str, object]) -> bytes:
    payload = Statement(
        subject_name="churn",
        subject_sha256=MODEL,
        predicate_type=PREDICATE_TYPES["gate"],
        predicate=said,
    ).payload()
    der = OLD.public_bytes(Encoding.DER)
    signature = LEAF.sign(pae(PAYLOAD_TYPE, payload))
    return Bundle(payload=payload, signature=signature, hint="", certificates=(der,)).emit()


@pytest.mark.parametrize(
    ("old", "passes"),
    [
        (result(960), True),
        (result(800), False),
        (result(800, samples="6" * 64), True),
        (result(930), True),  # inconclusive or not, it is no failure
    ],
    ids=["a pass", "a failure", "a failure on other samples", "no failure"],
)
def test_rule_33_a_result_whose_certificate_has_run_out_stands_only_as_a_failure(
    old: dict[str, object], passes: bool
) -> None:
    now = sealed(result(960), signer=HOME, kind=PREDICATE_TYPES["gate"])
    found = gating.weigh(CONFIG, weighed(now, by_certificate(old), trusted=TRUST).found)
    assert [item.result for item in found.evidence if item.role == "gate"] == ["pass"] * passes
    said = found.facts["gate.accuracy"]
    assert (said is None) is passes
    if said is not None:
        assert said.startswith("nobody knows whether accuracy failed: ")
        assert "untrusted-certificate" in said
