"""Vectors made by hand from the specification: our code writes and reads exactly these bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict
from sovgate.errors import VerificationFailed
from sovgate.formats import keytable, stream, wrap
from sovgate.formats.sealed import Sealed
from sovgate.keys import registry
from tests.sealing import sha256

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "encryption.json").read_text(encoding="utf-8")
)
STREAMS = {vector["name"]: vector for vector in VECTORS["streams"]}


def names(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["name"] for vector in vectors]


def associated(vector: dict[str, Any], **other: Any) -> bytes:
    ad = vector["ad"] | other
    return stream.associated_data(ad["zone"], ad["sha256"], ad["size"])


def sealed(vector: dict[str, Any]) -> bytes:
    return stream.seal(
        bytes.fromhex(vector["key"]),
        associated(vector),
        vector["text"].encode() * vector["times"],
        salt=bytes.fromhex(vector["salt"]),
        prefix=bytes.fromhex(vector["prefix"]),
    )


@pytest.mark.parametrize("vector", VECTORS["streams"], ids=names(VECTORS["streams"]))
def test_stream(vector):
    data = sealed(vector)
    assert (len(data), sha256(data)) == (vector["size"], vector["sha256"])
    assert data.hex() == vector.get("ciphertext", data.hex())
    chunks = [sha256(data[at : at + stream.CHUNK]) for at in range(0, len(data), stream.CHUNK)]
    assert chunks == vector["chunks"]
    plain = stream.unseal(bytes.fromhex(vector["key"]), associated(vector), data)
    assert (sha256(plain), len(plain)) == (vector["ad"]["sha256"], vector["ad"]["size"])


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=names(VECTORS["refused"]))
def test_stream_refused(vector):
    good = STREAMS[vector["of"]]
    data = bytearray(sealed(good))[: vector.get("keep")]
    if "at" in vector:
        data[vector["at"]] = bytes.fromhex(vector["to"])[0]
    data += bytes.fromhex(vector.get("append", ""))
    key = bytes.fromhex(vector.get("key", good["key"]))
    with pytest.raises(VerificationFailed) as refused:
        stream.unseal(key, associated(good, **vector.get("ad", {})), bytes(data))
    assert refused.value.reason == vector["reason"]


def context(name: str = "context", **other: Any) -> wrap.Context:
    fields = {key: VECTORS[name][key] for key in ("zone", "release", "manifest")}
    return wrap.Context(**(fields | other))


@pytest.mark.parametrize("name", ["context", "context-null"])
def test_context(name):
    assert context(name).canonical().decode() == VECTORS[name]["canonical"]
    assert context(name).keytable_ad().decode() == VECTORS[name]["keytable"]


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


def test_key_table():
    key = bytes.fromhex(VECTORS["release-key"])
    vector, short = VECTORS["keytable"], STREAMS["short"]
    entries = keytable.unseal(bytes.fromhex(vector["ciphertext"]), key, context())
    assert keytable.serialize(entries).decode() == vector["plaintext"]
    fixed = {name: bytes.fromhex(short[name]) for name in ("salt", "prefix")}
    assert keytable.seal(entries, key, context(), **fixed).hex() == vector["ciphertext"]
    assert entries[0].blob == short["sha256"]
    assert entries[0].associated_data == associated(short)


def test_sealed():
    document = VECTORS["sealed"]["document"].encode()
    record = Sealed.parse(document)
    assert record.canonical() == document
    assert record.keytable.sha256 == sha256(bytes.fromhex(VECTORS["keytable"]["ciphertext"]))
    assert record.recipient.wrapped.hex() == VECTORS["wraps"][1]["wrapped"]


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
