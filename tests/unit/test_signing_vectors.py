"""The vectors of tests/vectors/signing: each opens, or is refused for the reason it carries."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import VerificationFailed
from sovgate.formats.manifest import Manifest
from sovgate.formats.oms import Oms
from sovgate.formats.spki import PublicKey
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.stages import inventory
from sovgate.stages.trust import Trusted
from sovgate.stages.verify import verify_model

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "signing"
INDEX = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))
KEY = PublicKey.from_pem((VECTORS / "signer.pub.pem").read_bytes())
TRUSTED = [Trusted(name="signer", key=KEY, may=frozenset({"signature", "gate"}))]


@pytest.mark.parametrize("case", INDEX["cases"], ids=lambda case: case["name"])
def test_vector(case: dict[str, Any]) -> None:
    bundle = (VECTORS / "bundles" / f"{case['name']}.sigstore.json").read_bytes()
    model = VECTORS / case["model"]
    if case["reason"] is None:
        verified = verify_model(model, bundle, TRUSTED)
        if case["model"] == "model":
            assert verified.manifest.digest == INDEX["manifest-sha256"]
        return
    with pytest.raises(VerificationFailed) as caught:
        verify_model(model, bundle, TRUSTED)
    assert (caught.value.reason, int(caught.value.exit_code)) == (case["reason"], case["exit"])


def test_each_vector_is_in_the_index() -> None:
    names = {path.name.removesuffix(".sigstore.json") for path in (VECTORS / "bundles").iterdir()}
    assert names == {case["name"] for case in INDEX["cases"]}


def test_the_golden_manifest_payload_and_key_are_ours_byte_for_byte() -> None:
    golden = (VECTORS / "manifest.json").read_bytes()
    taken = inventory.take(VECTORS / "model")
    assert taken.manifest.canonical() == golden
    assert Manifest.parse(golden) == taken.manifest
    assert taken.manifest.digest == hashlib.sha256(golden).hexdigest() == INDEX["manifest-sha256"]
    payload = (VECTORS / "payload.json").read_bytes()
    assert Oms.of(taken.manifest, subject_name="model").statement().payload() == payload
    assert Oms.parse(Statement.parse(payload)).manifest() == taken.manifest
    assert KEY.key_id == INDEX["key-id"]


def test_the_worked_examples_of_the_documentation_are_the_vectors() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for name in ("manifest.json", "payload.json"):
        assert f"```json\n{(VECTORS / name).read_text(encoding='utf-8')}\n```" in page
    assert INDEX["manifest-sha256"] in page
    manifest = inventory.take(VECTORS / "model").manifest
    assert f"one line, {manifest.sized.size} bytes" in page
    for resource in manifest.resources:
        assert f"| `{resource.name}` | {resource.size} | `{resource.digest}` |" in page


def test_the_documentation_names_each_reason_and_each_role() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for reason in {case["reason"] for case in INDEX["cases"]} - {None}:
        assert f"`{reason}`" in page
    for role, predicate_type in PREDICATE_TYPES.items():
        assert f"| `{role}` | `{predicate_type}`" in page
