"""Signers trusted by a root certificate and a name: what leads to the root, and what does not."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate.errors import ConfigError, VerificationFailed
from sovgate.formats.bundle import Bundle
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.x509 import CertificateRule, root_from_pem
from sovgate.pipeline.project import open_project
from sovgate.stages import inventory
from sovgate.stages.sign import sign
from sovgate.stages.trust import Trusted, open_statement, seal
from sovgate.stages.verify import verify_model
from tests.certificates import issue
from tests.signers import KeySigner

ROOT_KEY, MIDDLE_KEY, LEAF_KEY = KeySigner("p384"), KeySigner("p256"), KeySigner("p256")
ROOT = issue("root", ROOT_KEY, "root", ROOT_KEY, ca=True)
MIDDLE = issue("middle", MIDDLE_KEY, "root", ROOT_KEY, ca=True)
LEAF = issue("leaf", LEAF_KEY, "root", ROOT_KEY)
DPO = "dpo@bank.example"
DER, KEY = root_from_pem(ROOT.public_bytes(Encoding.PEM))


def rule(san: str = DPO, **changes: Any) -> Trusted:
    entry = Trusted(
        name="legal",
        key=KEY,
        may=frozenset({"legal"}),
        zone="eu",
        certificate=CertificateRule(root=DER, san=san),
    )
    return replace(entry, **changes)


def word(*chain: Any, signer: KeySigner = LEAF_KEY) -> bytes:
    certificates = tuple(c.public_bytes(Encoding.DER) for c in chain)
    statement = Statement(
        subject_name="m",
        subject_sha256="ab" * 32,
        predicate_type=PREDICATE_TYPES["legal"],
        predicate={"dataset": "kyc-eu"},
    )
    return seal(statement, replace(signer, certificates=certificates))


def reason(data: bytes, *trusted: Trusted, **more: Any) -> str:
    with pytest.raises(VerificationFailed) as caught:
        open_statement(data, trusted or (rule(),), **more)
    return caught.value.reason


def test_rule_05_a_certificate_of_another_key_cannot_be_put_in_place_of_the_hint() -> None:
    """Else anybody could make a second file of a statement, with another digest, that verifies."""
    plain = Bundle.parse(word())
    raw = Trusted(name="ci", key=LEAF_KEY.public_key, may=frozenset({"legal"}))
    assert open_statement(word(LEAF), [raw]).signer is raw
    for chain in (ROOT, MIDDLE):
        swapped = replace(plain, certificates=(chain.public_bytes(Encoding.DER),))
        assert reason(swapped.emit(), raw) == "wrong-hint"
    assert reason(replace(plain, certificates=(b"x",)).emit(), raw) == "malformed"


@pytest.mark.parametrize("value", [0, 1, 2, 0x30, 0x7F, 0x80, 0xFF])
def test_a_damaged_certificate_is_refused_whichever_byte_it_is(value: int) -> None:
    """Nothing signs a bundle's certificate: who can write the file can put any bytes there."""
    plain, der = Bundle.parse(word()), LEAF.public_bytes(Encoding.DER)
    raw = Trusted(name="ci", key=LEAF_KEY.public_key, may=frozenset({"legal"}))
    for place in range(len(der)):
        if der[place] == value:
            continue
        damaged = der[:place] + bytes([value]) + der[place + 1 :]
        bundle = replace(plain, certificates=(damaged,)).emit()
        assert reason(bundle) in ("malformed", "bad-key", "untrusted-certificate")
        try:
            assert open_statement(bundle, [raw]).signer is raw  # its key was not touched
        except VerificationFailed as error:
            assert error.reason in ("malformed", "bad-key", "wrong-hint")


def test_rule_43_a_certificate_has_one_spelling_whatever_its_last_bits_are() -> None:
    """The library passes over unused bits of the signature's BIT STRING where they are zero."""

    def even(*names: Any, **more: Any) -> Any:
        made = (issue(*names, **more) for _ in range(200))
        return next(c for c in made if c.signature[-1] & 1 == 0)

    leaf = even("leaf", LEAF_KEY, "middle", MIDDLE_KEY)
    middle = even("middle", MIDDLE_KEY, "root", ROOT_KEY, ca=True)
    raw = Trusted(name="ci", key=LEAF_KEY.public_key, may=frozenset({"legal"}))
    assert open_statement(word(leaf, middle), [rule()])
    for place in (0, 1):
        chain = [c.public_bytes(Encoding.DER) for c in (leaf, middle)]
        signature = (leaf, middle)[place].signature
        head = chain[place].removesuffix(b"\x00" + signature)
        chain[place] = head + b"\x01" + signature
        spelled = replace(Bundle.parse(word()), certificates=tuple(chain)).emit()
        assert reason(spelled) == "malformed"
        if place == 0:
            assert reason(spelled, raw) == "malformed"


def test_a_signer_is_known_by_root_and_name_and_comes_back_with_the_own_key() -> None:
    for chain in ((LEAF,), (LEAF, ROOT)):
        verified = open_statement(word(*chain), [rule()])
        assert verified.signer == rule(key=LEAF_KEY.public_key, certificate=None)
    through = issue("leaf", LEAF_KEY, "middle", MIDDLE_KEY)
    assert open_statement(word(through, MIDDLE), [rule()]).signer.name == "legal"
    assert open_statement(word(through, MIDDLE, ROOT), [rule()])


def test_names_are_compared_whole() -> None:
    for san in ("dpo@bank.example.evil", "bank.example", "DPO@bank.example", ""):
        assert reason(word(LEAF), rule(san)) == "untrusted-certificate"


def test_another_root_with_the_same_name_is_not_the_root() -> None:
    fake_key = KeySigner("p384")
    fake = issue("root", fake_key, "root", fake_key, ca=True)
    leaf = issue("leaf", LEAF_KEY, "root", fake_key)
    assert reason(word(leaf, fake)) == reason(word(leaf)) == "untrusted-certificate"


def test_the_signature_must_be_by_the_leaf() -> None:
    other = KeySigner()
    assert reason(word(LEAF, signer=other)) == "wrong-signer"
    assert reason(word(LEAF, ROOT, signer=ROOT_KEY)) == "wrong-signer"


def test_the_root_signs_no_statements() -> None:
    """Its key is in the entry, but only to sign certificates."""
    assert reason(word(signer=ROOT_KEY)) == "wrong-signer"
    assert reason(word(ROOT, signer=ROOT_KEY)) == "untrusted-certificate"


@pytest.mark.parametrize(
    "changes",
    [{"ca": True}, {"digital_signature": False}, {"key_usage": False}, {"san": None}],
    ids=str,
)
def test_a_leaf_that_may_not_sign_is_refused(changes: dict[str, Any]) -> None:
    leaf = issue("leaf", LEAF_KEY, "root", ROOT_KEY, **changes)
    assert reason(word(leaf)) == "untrusted-certificate"


def test_a_leaf_may_not_issue_certificates() -> None:
    below = issue("below", MIDDLE_KEY, "leaf", LEAF_KEY)
    assert reason(word(below, LEAF, signer=MIDDLE_KEY)) == "untrusted-certificate"


def test_rule_07_without_trusted_time_an_expired_certificate_signs_nothing() -> None:
    data = word(LEAF)
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    assert open_statement(data, [rule()], now=now)
    for when in (now + 2 * day, now - day):
        assert reason(data, now=when) == "untrusted-certificate"


def test_roles_hold_for_certificates_too() -> None:
    assert reason(word(LEAF), rule(may=frozenset({"gate"}))) == "untrusted-role"
    with pytest.raises(VerificationFailed):
        open_statement(word(LEAF), [rule()], role="waiver")


def test_long_chains_and_noise_are_refused() -> None:
    assert reason(word(LEAF, *[MIDDLE] * 9)) == "untrusted-certificate"
    data = word(LEAF)
    chain = (b"\x30\x03\x02\x01\x01",)
    noisy = seal(open_statement(data, [rule()]).statement, replace(LEAF_KEY, certificates=chain))
    assert reason(noisy) == "malformed"


def test_a_model_signed_with_a_certificate_verifies(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"w")
    signer = replace(LEAF_KEY, certificates=(LEAF.public_bytes(Encoding.DER),))
    bundle = sign(inventory.take(tmp_path / "w"), signer)
    trusted = rule(may=frozenset({"signature"}))
    assert verify_model(tmp_path / "w", bundle, [trusted]).signer.key == LEAF_KEY.public_key


PROJECT = """
version: 1
model: m
zones:
  eu: {region: "aws:eu-central-1"}
trust:
  - {name: legal, certificate: {root: ca.pem, san: dpo@bank.example}, may: [legal]}
"""


def test_the_project_file_names_root_and_person(tmp_path: Path) -> None:
    (tmp_path / "sovgate.yaml").write_text(PROJECT, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        open_project(tmp_path).trusted()
    assert caught.value.where and caught.value.where.line
    (tmp_path / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(ConfigError):
        open_project(tmp_path).trusted()
    (tmp_path / "ca.pem").write_bytes(ROOT.public_bytes(Encoding.PEM))
    verified = open_statement(word(LEAF), open_project(tmp_path).trusted())
    assert (verified.signer.name, verified.role) == ("legal", "legal")
