"""Vectors made by hand from the specification: our code writes and reads exactly these bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats import chunk, wrap
from sovgate.formats import part as parts
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.plan import EMPTY, Plan
from sovgate.records import Sized

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "chunks.json").read_text(encoding="utf-8")
)


def names(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["name"] for vector in vectors]


@pytest.mark.parametrize("vector", VECTORS["chunks"], ids=names(VECTORS["chunks"]))
def test_a_chunk(vector):
    plain = vector["text"].encode() * vector["times"]
    key, ad = bytes.fromhex(vector["key"]), chunk.associated_data(vector["zone"])
    assert ad.decode() == vector["ad"]
    made = bytearray(len(plain) + chunk.OVERHEAD)
    iv = bytes.fromhex(vector["iv"])
    digest = chunk.seal_into(key, iv, ad, memoryview(plain), memoryview(made))
    assert (len(made), digest.hex()) == (vector["size"], vector["sha256"])
    assert made.hex() == vector.get("chunk", made.hex())
    out = bytearray(len(plain))
    chunk.open_into(key, ad, memoryview(made), digest, memoryview(out))
    assert out == plain


@pytest.mark.parametrize("vector", VECTORS["plans"], ids=names(VECTORS["plans"]))
def test_a_plan(vector):
    digests = {c: hashlib.sha256(c.encode()).hexdigest() for c, _ in vector["files"]}
    resources = tuple(
        Resource(name=f"{at:02}", size=size, digest=digests[content] if size else EMPTY)
        for at, (content, size) in enumerate(vector["files"])
    )
    plan = Plan.of(Manifest(kind="directory", resources=resources))
    assert [
        {
            "contents": [c.digest for c in unit.contents],
            "lengths": [plan.length(at) for at in range(unit.first, unit.after)],
        }
        for unit in plan.units
    ] == [
        {"contents": [digests[c] for c in unit["contents"]], "lengths": unit["lengths"]}
        for unit in vector["units"]
    ]


def test_a_part():
    vector = VECTORS["part"]
    digests, keys = ([bytes.fromhex(x) for x in vector[what]] for what in ("digests", "keys"))
    context = wrap.Context(
        zone=vector["zone"], release=vector["release"], manifest=vector["manifest"]
    )
    data, named = parts.sized_list(digests)
    assert named == Sized(**vector["list"])
    release_key = bytes.fromhex(vector["release-key"])
    part = parts.Part(
        number=vector["number"],
        of=vector["of"],
        units=(0, 3),
        reused=(),
        list=named,
        keytable=Sized(**vector["keytable"]),
        recipient=wrap.Wrapped(key_id="k", algorithm="a", wrapped=b"w", commit=vector["commit"]),
    )
    ad = part.associated_data(context)
    assert ad.decode() == vector["ad"]
    table = parts.seal_table(keys, release_key, ad, iv=bytes.fromhex(vector["iv"]))
    assert table.hex() == vector["table"]
    assert wrap.committed(release_key, part.recipient.commit)
    assert parts.read_list(data, part) == tuple(digests)
    assert parts.open_table(table, release_key, part, context) == tuple(keys)
