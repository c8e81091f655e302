"""Vectors made by hand from the specification: our code writes and reads exactly these bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict
from sovgate.errors import VerificationFailed
from sovgate.formats import wrap
from sovgate.formats.sealed import Sealed
from sovgate.keys import registry
from tests.sealing import sha256

PATH = Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((PATH / "encryption.json").read_text(encoding="utf-8"))
CHUNKS = json.loads((PATH / "chunks.json").read_text(encoding="utf-8"))


def names(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["name"] for vector in vectors]


def context(name: str = "context", **other: Any) -> wrap.Context:
    fields = {key: VECTORS[name][key] for key in ("zone", "release", "manifest")}
    return wrap.Context(**(fields | other))


@pytest.mark.parametrize("name", ["context", "context-null"])
def test_context(name):
    assert context(name).canonical().decode() == VECTORS[name]["canonical"]


def test_commitment():
    assert wrap.commit(bytes.fromhex(VECTORS["release-key"])) == VECTORS["commit"]


@pytest.mark.parametrize("vector", VECTORS["wraps"], ids=names(VECTORS["wraps"]))
def test_wrapped_key(tmp_path, vector):
    (tmp_path / "k.pem").write_text(vector["private"])
    identity = registry.open_identity("k.pem", tmp_path)
    assert identity.algorithm == vector["algorithm"]
    wrapped = bytes.fromhex(vector["wrapped"])
    assert identity.unwrap(wrapped, context().canonical()).hex() == VECTORS["release-key"]
    for bad in VECTORS["wraps-refused"]:
        data = bytearray(wrapped)[: bad.get("keep")]
        if "at" in bad:
            data[bad["at"]] ^= 1
        with pytest.raises(VerificationFailed) as refused:
            identity.unwrap(bytes(data), context(**bad.get("context", {})).canonical())
        assert (bad["name"], refused.value.reason) == (bad["name"], bad["reason"])


def test_sealed():
    document = VECTORS["sealed"]["document"].encode()
    record = Sealed.parse(document)
    assert record.canonical() == document
    (part,) = record.parts
    assert part.keytable.sha256 == sha256(bytes.fromhex(CHUNKS["part"]["table"]))
    assert part.recipient.wrapped.hex() == VECTORS["wraps"][1]["wrapped"]
    assert part.recipient.commit == VECTORS["commit"]


@pytest.mark.parametrize("vector", VECTORS["sealed-refused"], ids=names(VECTORS["sealed-refused"]))
def test_sealed_refused(vector):
    document = deepcopy(strict.loads(VECTORS["sealed"]["document"].encode()))
    *path, last = vector["at"].split(".")
    place = document
    for step in path:
        place = place[int(step) if step.isdigit() else step]
    if "to" in vector:
        place[last] = vector["to"]
    else:
        del place[last]
    with pytest.raises(VerificationFailed) as refused:
        Sealed.parse(strict.canonical(document))
    assert refused.value.reason == vector["reason"]
