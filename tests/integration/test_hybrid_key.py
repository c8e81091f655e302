"""A zone moves to a hybrid key: what crosses from then on opens by nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sovgate.formats.wrap import HYBRID_ALGORITHM
from sovgate.pipeline.look.keys import generate
from tests.crossing import Crossing, make_crossing, tree


def said_by_record(crossing: Crossing, version: str) -> str:
    """The statement of a release, as text."""
    path = crossing.base / f"eu-store/releases/churn/{version}.json"
    envelope = json.loads(path.read_text())["dsseEnvelope"]
    return base64.b64decode(envelope["payload"]).decode()


def test_after_a_move_to_a_hybrid_key_all_is_encrypted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    crossing = make_crossing(tmp_path / "project")
    generate("encrypt", out=crossing.base / "keys/own.pem", algorithm="ml-kem-768-x25519")
    crossing.edit(
        "keys: {sign: keys/home.pem}", "keys: {sign: keys/home.pem, encrypt: keys/own.pem}"
    )
    crossing.edit("store: eu-store", 'store: {uri: "eu-store", reuse: true}')
    before = crossing.push()
    generate("encrypt", out=crossing.base / "keys/pq.pem", algorithm="ml-kem-768-x25519")
    crossing.edit("keys/eu-enc.pem", "keys/pq.pem")
    crossing.edit("keys/eu-enc.pub.pem", "keys/pq.pub.pem")
    after = crossing.push(release="churn/1.1.0")
    assert after["reused"] == []
    assert HYBRID_ALGORITHM not in said_by_record(crossing, "1.0.0")
    assert said_by_record(crossing, "1.1.0").count('"key-id"') == 1  # one part, one recipient
    assert HYBRID_ALGORITHM in said_by_record(crossing, "1.1.0")
    pinned = f"churn/1.1.0@sha256:{after['manifest']}"
    crossing.json("pull", pinned, "--zone", "eu", "-o", "pulled")
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    code, said = crossing.run(
        "pull", f"churn/1.0.0@sha256:{before['manifest']}", "--zone", "eu", "-o", "old"
    )
    assert code == 20, said  # wrapped for the key of before, which the zone has no longer
