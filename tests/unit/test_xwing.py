"""Key files of ML-KEM-768 with X25519: those of the draft, and nothing that only looks like one."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from sovgate import strict
from sovgate.errors import ConfigError, KeyServiceError, Malformed, VerificationFailed
from sovgate.formats import xwing
from sovgate.formats.part import Part
from sovgate.formats.spki import PublicKey
from sovgate.formats.wrap import HPKE_ALGORITHM, HYBRID_ALGORITHM, RSA_ALGORITHM, Context, Wrapped
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.records import Sized
from sovgate.stages.encrypt.unwrapping import release_keys

#: draft-connolly-cfrg-xwing-kem-10, appendix D: the seed 00 01 … 1f.
VECTORS = Path(__file__).parents[1] / "vectors/encryption.json"
(VECTOR,) = (one for one in json.loads(VECTORS.read_text())["wraps"] if one["name"] == "hybrid")
PRIVATE = VECTOR["private"].encode()
#: PRIVATE in PBES2, by PBKDF2 and AES-256-CBC.
ENCRYPTED = b"""\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBAUxhO/JoWA+h6N6YPh
exy+AgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQdZ1UF8dOtqo5RMvc
g1qvzQRAlDNNyAKYlTfW6lJT9RftpXMvBl/zrlG1Rsmt9Km5WWlNu419E/8ONAIi
INR7KtiuxjlCtWdb/U7op6quly6vnQ==
-----END ENCRYPTED PRIVATE KEY-----
"""
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


#: RFC 7748, 6.1: points of small order, and numbers that are read as another one.
DEGENERATE = {
    "zero": bytes(32),
    "one": (1).to_bytes(32, "little"),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "p - 1": (2**255 - 20).to_bytes(32, "little"),
    "p": (2**255 - 19).to_bytes(32, "little"),
    "high bit": bytes([9]) + bytes(30) + b"\x80",
}


@pytest.mark.parametrize("point", DEGENERATE.values(), ids=DEGENERATE)
def test_a_classical_half_that_all_agree_with_is_no_half(point: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        PublicKey.from_der(public_der()[:-32] + point)
    assert refused.value.reason == "bad-key"


@pytest.mark.parametrize("point", DEGENERATE.values(), ids=DEGENERATE)
def test_an_encapsulation_with_such_a_share_does_not_open(tmp_path: Path, point: bytes) -> None:
    (tmp_path / "k.pem").write_bytes(PRIVATE)
    identity = registry.open_identity("k.pem", tmp_path)
    wrapped = registry.open_recipient("k.pem", tmp_path).wrap(bytes(32), CONTEXT)
    with pytest.raises(VerificationFailed) as refused:
        identity.unwrap(wrapped[:1088] + point + wrapped[1120:], CONTEXT)
    assert refused.value.reason == "wrapped-key"


def test_what_one_of_its_halves_alone_could_open_does_not_open(tmp_path: Path) -> None:
    """HPKE for the X25519 half, and for ML-KEM-768, as a sender would write it that was led so."""
    (tmp_path / "k.pem").write_bytes(PRIVATE)
    identity = registry.open_identity("k.pem", tmp_path)
    der = public_der()
    ml_kem = mlkem.MLKEM768PublicKey.from_public_bytes(der[-1216:-32])
    classical = x25519.X25519PublicKey.from_public_bytes(der[-32:])
    for kem, key in ((hpke.KEM.X25519, classical), (hpke.KEM.MLKEM768, ml_kem)):
        suite = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        half = suite.encrypt(bytes(32), key, CONTEXT)
        for padded in (half, bytes(1168 - len(half)) + half, half + bytes(1168 - len(half))):
            with pytest.raises(VerificationFailed):
                identity.unwrap(padded, CONTEXT)


@pytest.mark.parametrize("algorithm", [HPKE_ALGORITHM, RSA_ALGORITHM, "hpke-x25519", "HPKE"])
def test_a_record_with_another_algorithms_name_is_not_unwrapped(
    tmp_path: Path, algorithm: str
) -> None:
    """The name pins the KEM: 0x647a and no other."""
    (tmp_path / "k.pem").write_bytes(PRIVATE)
    identity = registry.open_identity("k.pem", tmp_path)
    assert identity.algorithm == HYBRID_ALGORITHM
    recipient = Wrapped(key_id=identity.key_id, algorithm=algorithm, wrapped=b"x", commit="ab" * 32)
    part = Part(
        number=1,
        of=1,
        units=None,
        reused=(),
        list=Sized.of(b""),
        keytable=Sized.of(b""),
        recipient=recipient,
    )
    context = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32)
    with pytest.raises(KeyServiceError) as refused:
        release_keys([part], context, identity)
    assert refused.value.reason == "wrong-key"


def test_a_part_has_room_for_one_recipient() -> None:
    """A second one, of a classical key, would void what the first promises."""
    one = {"key-id": "k", "algorithm": "a", "wrapped": "eA==", "commit": "ab" * 32}
    for recipient in ([one, one], {**one, "recipients": [one]}, {**one, "also": one}):
        with pytest.raises(Malformed):
            Wrapped.read(strict.Fields({"recipient": recipient}, "part").object("recipient"))


def test_the_private_half_is_no_public_one(tmp_path: Path) -> None:
    with pytest.raises(Malformed) as refused:
        PublicKey.from_pem(PRIVATE)
    assert refused.value.why == "it is a private key"
    seed = base64.b64decode(b"".join(PRIVATE.splitlines()[1:-1]))
    with pytest.raises(Malformed):
        PublicKey.from_der(seed)
    (tmp_path / "k.pem").write_bytes(PRIVATE)
    assert registry.is_private("k.pem", tmp_path)


def test_a_file_that_was_encrypted_is_told_to_be_none_of_this_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL cannot write one; whoever did so otherwise is not told that the passphrase is wrong.

    The passphrase is "word".
    """
    (tmp_path / "k.pem").write_bytes(ENCRYPTED)
    monkeypatch.setenv("SOVGATE_KEY_PASSPHRASE", "word")
    with pytest.raises(ConfigError) as refused:
        registry.open_identity("k.pem", tmp_path)
    assert refused.value.reason == "bad-key"
    assert "cannot be encrypted with a passphrase" in str(refused.value.why)
    monkeypatch.setenv("SOVGATE_KEY_PASSPHRASE", "other")
    with pytest.raises(KeyServiceError) as wrong:
        registry.open_identity("k.pem", tmp_path)
    assert wrong.value.reason == "passphrase-wrong"
