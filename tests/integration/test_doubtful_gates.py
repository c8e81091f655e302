"""A gate's result that cannot be counted may be a failure: then no pass of that gate counts, until
the project sets the statement aside by its digest. Real keys and files; the judge is `check`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict
from sovgate.formats.bundle import Bundle
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.testresult import EXTENSION
from sovgate.keys.registry import open_signer
from sovgate.pipeline.look.keys import generate
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing
from tests.integration.test_gate_command import csv
from tests.integration.test_hostile_gates import TRUST, asked, denial, measure

EU = """sbom, transfer], from: home}
  - {name: eu-ci, key: keys/eu.pub.pem, may: [receipt], from: eu}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a pass beside it; a failure at the same pins lies apart, in `fail.json`."""
    base = tmp_path_factory.mktemp("made") / "project"
    made = make_crossing(base)
    generate("sign", out=base / "keys" / "intern.pem", algorithm="ec-p256")
    path = base / "sovgate.yaml"
    path.write_text(path.read_text() + TRUST.replace("sbom], from: home}", EU, 1))
    made.sign()
    csv(base / "good.csv", 960, 40)
    csv(base / "bad.csv", 800, 200)
    made.json("gate", "pin", "accuracy", "--predictions", "bad.csv")
    measure(made, "bad.csv", code=13)
    (failed,) = attest.evidence_dir(made.model).glob("gate-*")
    failed.rename(base / "fail.json")
    measure(made, "good.csv")
    return base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    import shutil

    shutil.copytree(made, tmp_path / "project", symlinks=True)
    return Crossing(base=tmp_path / "project", model=tmp_path / "project/model")


def bundle(crossing: Crossing) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((crossing.base / "fail.json").read_bytes())
    return found


def payload(crossing: Crossing) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        base64.b64decode(bundle(crossing)["dsseEnvelope"]["payload"])
    )
    return found


def plant(crossing: Crossing, data: bytes) -> str:
    name = "gate-00000000deadbeef.sigstore.json"
    (attest.evidence_dir(crossing.model) / name).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def resigned(crossing: Crossing, said: dict[str, Any], key: str = "keys/home.pem") -> bytes:
    """Other words of the same kind, signed as any statement is."""
    signer = open_signer(key, crossing.base)
    text = strict.canonical(said)
    signature = signer.sign(pae(PAYLOAD_TYPE, text))
    return Bundle(payload=text, signature=signature, hint=signer.public_key.oms_hint).emit()


def spoilt_signature(crossing: Crossing) -> bytes:
    value = bundle(crossing)
    signature = value["dsseEnvelope"]["signatures"][0]
    raw = bytearray(base64.b64decode(signature["sig"]))
    raw[-1] ^= 1
    signature["sig"] = base64.b64encode(raw).decode()
    return strict.canonical(value)


def spoilt_payload(crossing: Crossing) -> bytes:
    value = bundle(crossing)
    said = base64.b64decode(value["dsseEnvelope"]["payload"])
    said = said.replace(b'"outcome":"fail"', b'"outcome":"pass"').replace(b"FAILED", b"PASSED")
    value["dsseEnvelope"]["payload"] = base64.b64encode(said).decode()
    return strict.canonical(value)


def other_gate(crossing: Crossing) -> bytes:
    """Somebody gave it the name of a gate that the project does not have."""
    value = bundle(crossing)
    said = base64.b64decode(value["dsseEnvelope"]["payload"])
    value["dsseEnvelope"]["payload"] = base64.b64encode(
        said.replace(b'"gate":"accuracy"', b'"gate":"latencies"')
    ).decode()
    return strict.canonical(value)


def spelled_anew(crossing: Crossing) -> bytes:
    return (crossing.base / "fail.json").read_bytes() + b"\n"


def newer_predicate(crossing: Crossing) -> bytes:
    said = payload(crossing)
    said["predicateType"] = "https://in-toto.io/attestation/test-result/v0.2"
    return resigned(crossing, said)


def one_field_more(crossing: Crossing) -> bytes:
    said = payload(crossing)
    said["predicate"][EXTENSION]["groups"] = {}
    return resigned(crossing, said)


def contradicted(crossing: Crossing) -> bytes:
    said = payload(crossing)
    said["predicate"][EXTENSION] |= {"outcome": "pass", "estimate": "0.995"}
    said["predicate"]["result"] = "PASSED"
    return resigned(crossing, said)


UNCOUNTED: dict[str, Callable[[Crossing], bytes]] = {
    "a spoilt signature": spoilt_signature,
    "a spoilt payload": spoilt_payload,
    "another gate's name": other_gate,
    "another spelling": spelled_anew,
    "a newer predicate": newer_predicate,
    "a field more": one_field_more,
    "contradicted": contradicted,
}


@pytest.mark.parametrize("case", UNCOUNTED)
def test_rule_30_a_result_that_cannot_be_counted_stands_against_a_pass(
    crossing: Crossing, case: str
) -> None:
    assert asked(crossing)["allowed"]
    digest = plant(crossing, UNCOUNTED[case](crossing))
    message = denial(crossing)
    assert "nobody knows whether accuracy failed: gate-00000000deadbeef" in message
    assert f"(sha256:{digest})" in message
    (deny,) = asked(crossing)["denies"]
    assert f'set-aside: [{{record: "sha256:{digest}", reason: ' in deny["fix"]
    # The way out that is told: this very file, with a reason, which the decision shows.
    path = crossing.base / "sovgate.yaml"
    line = f'set-aside: [{{record: "sha256:{digest}", reason: "a disk broke"}}]\n'
    path.write_text(path.read_text() + line)
    said = asked(crossing)
    assert said["allowed"]
    assert "a disk broke" in json.dumps(said["rejected"])


def test_rule_33_a_doubtful_result_travels_and_binds_where_it_arrives(crossing: Crossing) -> None:
    digest = plant(crossing, spoilt_signature(crossing))
    assert digest in json.dumps(crossing.push(code=10))
    path = crossing.base / "sovgate.yaml"
    text = path.read_text()
    path.write_text(text + f'set-aside: [{{record: "sha256:{digest}", reason: "a disk broke"}}]\n')
    crossing.push()
    path.write_text(text)
    assert digest in json.dumps(crossing.pull(code=10))


def test_what_is_no_result_of_this_models_gates_stops_nothing(crossing: Crossing) -> None:
    """A stranger's, one by a key that is trusted for other words, one that was measured on
    something else, another tool's."""
    generate("sign", out=crossing.base / "keys/stranger.pem", algorithm="ec-p256")
    pins, foreign = payload(crossing), payload(crossing)
    pins["predicate"][EXTENSION]["pins"]["test-set"] = "ab" * 32
    pins["predicate"][EXTENSION]["estimate"] = "0.81"
    del foreign["predicate"][EXTENSION]
    for data in (
        resigned(crossing, payload(crossing), "keys/stranger.pem"),
        resigned(crossing, payload(crossing), "keys/intern.pem"),
        resigned(crossing, pins),
        resigned(crossing, foreign),
    ):
        plant(crossing, data)
        assert asked(crossing)["allowed"]
