"""Key files of ML-KEM-768 with X25519: those of the draft, and nothing that only looks like one."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from sovgate.errors import ConfigError, Malformed, VerificationFailed
from sovgate.formats import xwing
from sovgate.formats.spki import PublicKey
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate

#: draft-connolly-cfrg-xwing-kem-10, appendix D: the seed 00 01 … 1f.
VECTORS = Path(__file__).parents[1] / "vectors/encryption.json"
(VECTOR,) = (one for one in json.loads(VECTORS.read_text())["wraps"] if one["name"] == "hybrid")
PRIVATE = VECTOR["private"].encode()
#: Beginning and end of that public half, as the draft prints it.
PUBLIC_START = b"MIIE1DANBgsrBgEEAYPmLYHIegOCBMEAb1QJigoOZBFGYUtpYLpg2GA9YvRH+atJ"
PUBLIC_END = b"+vfx+9B12rNE6dfRRmRygfu6ezxWyv1YM7epMOxCBufDptd2T+gdeg=="
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()


def test_a_key_is_spelt_as_the_draft_spells_it() -> None:
    private = xwing.Private.from_pem(PRIVATE)
    assert private is not None
    assert private.pem() == PRIVATE
    public = PublicKey.from_der(private.public_der())
    lines = public.pem.splitlines()
    assert (lines[1], lines[-2]) == (PUBLIC_START, PUBLIC_END)
    assert public.algorithm == "ml-kem-768-x25519"
    assert PublicKey.from_pem(public.pem) == public
    assert public.key_id == hashlib.sha256(public.der).hexdigest()


def test_a_repr_shows_nothing_of_the_seed() -> None:
    private = xwing.Private.from_pem(PRIVATE)
    assert repr(private) == "Private(ml-kem-768-x25519)"


def test_such_a_key_verifies_no_signature_and_makes_none(tmp_path: Path) -> None:
    made = generate("encrypt", out=tmp_path / "eu.pem", algorithm="ml-kem-768-x25519")
    assert not made.key.can_verify
    with pytest.raises(VerificationFailed) as refused:
        made.key.verify(b"message", b"signature")
    assert refused.value.reason == "unsupported-key"
    with pytest.raises(ConfigError) as cannot:
        registry.open_signer("eu.pem", tmp_path)
    assert cannot.value.reason == "unsupported-key-use"


def test_two_wraps_of_one_key_differ_and_both_open(tmp_path: Path) -> None:
    generate("encrypt", out=tmp_path / "eu.pem", algorithm="ml-kem-768-x25519")
    recipient = registry.open_recipient("eu.pub.pem", tmp_path)
    identity = registry.open_identity("eu.pem", tmp_path)
    one, two = (recipient.wrap(bytes(range(32)), CONTEXT) for _ in range(2))
    assert len(one) == 1120 + 32 + 16
    assert one != two
    assert {identity.unwrap(w, CONTEXT) for w in (one, two)} == {bytes(range(32))}
    assert recipient.key_id == identity.key_id


@pytest.mark.parametrize("at", [0, 1087, 1088, 1119, 1120, 1167])
def test_a_bit_changed_anywhere_does_not_open(tmp_path: Path, at: int) -> None:
    (tmp_path / "k.pem").write_bytes(PRIVATE)
    identity = registry.open_identity("k.pem", tmp_path)
    wrapped = bytearray(registry.open_recipient("k.pem", tmp_path).wrap(bytes(32), CONTEXT))
    wrapped[at] ^= 1
    for bad in (bytes(wrapped), bytes(wrapped[:-1]), bytes(wrapped) + b"\0", b""):
        with pytest.raises(VerificationFailed) as refused:
            identity.unwrap(bad, CONTEXT)
        assert refused.value.reason == "wrapped-key"


def public_der() -> bytes:
    private = xwing.Private.from_pem(PRIVATE)
    assert private is not None
    return private.public_der()


@pytest.mark.parametrize(
    "harm",
    [
        lambda der: der[:-1],
        lambda der: der + b"\0",
        lambda der: der[: len(xwing.SPKI_PREFIX)],
        # A coefficient that is not below q = 3329 (FIPS 203, 7.2).
        lambda der: xwing.SPKI_PREFIX + b"\xff\xff" + der[len(xwing.SPKI_PREFIX) + 2 :],
    ],
    ids=["short", "long", "empty", "coefficient"],
)
def test_what_is_no_public_half_is_refused(harm) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Malformed) as refused:
        PublicKey.from_der(harm(public_der()))
    assert refused.value.reason == "bad-key"


@pytest.mark.parametrize(
    "body",
    [
        base64.b64decode(b"".join(PRIVATE.splitlines()[1:-1]))[:-1],
        base64.b64decode(b"".join(PRIVATE.splitlines()[1:-1])) + b"\0",
        b"",
    ],
    ids=["short", "long", "empty"],
)
def test_what_is_no_private_half_is_refused(tmp_path: Path, body: bytes) -> None:
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(body)
    (tmp_path / "k.pem").write_bytes(pem + b"\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError) as refused:
        registry.open_identity("k.pem", tmp_path)
    assert refused.value.reason == "bad-key"
    assert "00" * 8 not in str(refused.value)
