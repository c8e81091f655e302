"""Signers trusted by a root certificate and a name: what leads to the root, and what does not."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate.errors import ConfigError, Malformed, VerificationFailed
from sovgate.formats.bundle import Bundle
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.x509 import CertificateRule, own_path, root_from_pem, signer_key
from sovgate.notices import UnsafeWarning
from sovgate.pipeline.project import open_project
from sovgate.stages import inventory
from sovgate.stages.seal import seal
from sovgate.stages.sign import sign
from sovgate.stages.trust import Trusted, open_statement
from sovgate.stages.verify import verify_model
from tests.certificates import issue
from tests.effort import some
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


def ders(*chain: Any) -> tuple[bytes, ...]:
    return tuple(c.public_bytes(Encoding.DER) for c in chain)


def spelled(*chain: Any, signer: KeySigner = LEAF_KEY, by: bytes | None = None) -> bytes:
    """A signed word with these certificates, whether they are a path or not."""
    plain = Bundle.parse(by or word(signer=signer))
    return replace(plain, certificates=ders(*chain)).emit()


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
    for place in some(range(len(der)), by=value):
        if der[place] == value:
            continue
        damaged = der[:place] + bytes([value]) + der[place + 1 :]
        bundle = replace(plain, certificates=(damaged,)).emit()
        assert reason(bundle) in ("malformed", "bad-key", "untrusted-certificate")
        try:
            assert open_statement(bundle, [raw]).signer is raw  # its key was not touched
        except VerificationFailed as error:
            assert error.reason in ("malformed", "bad-key", "wrong-hint")


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_rule_43_an_authoritys_signature_has_one_form(curve: str) -> None:
    """Both forms verify, and anybody can turn one into the other: what we sign has the low one."""
    authority, leaf_key = KeySigner(curve), KeySigner("p256")
    root = issue("root", authority, "root", authority, ca=True)
    names = CertificateRule(root=ders(root)[0], san=DPO)
    trusted = rule(key=authority.public_key, certificate=names)
    high = issue("leaf", leaf_key, "root", authority, high_s=True)
    made = word(high, signer=leaf_key)
    (low,) = Bundle.parse(made).certificates
    assert low != ders(high)[0]
    assert open_statement(made, [trusted]).signer.name == "legal"
    assert reason(spelled(high, signer=leaf_key, by=made), trusted) == "not-canonical"
    assert own_path((low,)) == (low,) == own_path(ders(high))


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


def test_a_root_is_one_block_and_no_key_beside_it() -> None:
    pem = ROOT.public_bytes(Encoding.PEM)
    assert root_from_pem(b"Bank CA\n" + pem + b"until 2036\n") == (DER, KEY)
    for second in (pem, ROOT_KEY.private_pem, ROOT_KEY.public_key.pem):
        for both in (pem + second, second + pem):
            with pytest.raises(Malformed, match="one certificate"):
                root_from_pem(both)


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


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("spiffe://bank.example/release", x509.UniformResourceIdentifier),
        ("dpo@bank.example", x509.RFC822Name),
        ("ci.bank.example", x509.DNSName),
    ],
)
def test_a_name_of_another_kind_that_reads_the_same_is_somebody_else(
    written: str, kind: Callable[[str], x509.GeneralName]
) -> None:
    for made in (x509.UniformResourceIdentifier, x509.RFC822Name, x509.DNSName):
        leaf = word(issue("leaf", LEAF_KEY, "root", ROOT_KEY, san=made(written)))
        if made is kind:
            assert open_statement(leaf, [rule(written)]).signer.name == "legal"
        else:
            assert reason(leaf, rule(written)) == "untrusted-certificate"


def test_another_root_with_the_same_name_is_not_the_root() -> None:
    fake_key = KeySigner("p384")
    fake = issue("root", fake_key, "root", fake_key, ca=True)
    leaf = issue("leaf", LEAF_KEY, "root", fake_key)
    assert reason(word(leaf, fake)) == reason(word(leaf)) == "untrusted-certificate"


def test_of_another_root_both_names_are_told() -> None:
    other = KeySigner("p384")
    root = issue("other root", other, "other root", other, ca=True)
    leaf = issue("leaf", LEAF_KEY, "other root", other)
    for chain in ((leaf,), (leaf, root)):
        with pytest.raises(VerificationFailed) as caught:
            open_statement(word(*chain), [rule()])
        assert caught.value.why == "it leads to 'CN=other root', and the trusted root is 'CN=root'"


def test_the_signature_must_be_by_the_leaf() -> None:
    other = KeySigner()
    assert reason(word(LEAF, signer=other)) == "bad-signature"
    assert reason(word(LEAF, ROOT, signer=ROOT_KEY)) == "bad-signature"


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
    assert reason(spelled(LEAF, *[MIDDLE] * 9)) == "untrusted-certificate"
    chain = (b"\x30\x03\x02\x01\x01",)
    assert reason(replace(Bundle.parse(word()), certificates=chain).emit()) == "malformed"
    for certificates in (chain, ders(LEAF, MIDDLE)):
        with pytest.raises((ConfigError, Malformed)):
            seal(
                open_statement(word(LEAF), [rule()]).statement,
                replace(LEAF_KEY, certificates=certificates),
            )


def test_rule_43_what_we_write_is_exactly_the_path_below_the_root() -> None:
    """Else whoever has the bundle makes a second one of it, which verifies too."""
    leaf = issue("leaf", LEAF_KEY, "middle", MIDDLE_KEY)
    raw = Trusted(name="ci", key=LEAF_KEY.public_key, may=frozenset({"legal"}))
    whole = word(leaf, MIDDLE, ROOT)
    assert whole == spelled(leaf, MIDDLE, by=whole)
    for chain in ((leaf, MIDDLE, ROOT), (leaf, MIDDLE, MIDDLE), (leaf, ROOT, MIDDLE), (leaf, LEAF)):
        other = spelled(*chain, by=whole)
        assert reason(other) in ("not-canonical", "untrusted-certificate"), chain
        assert reason(other, raw) in ("not-canonical", "untrusted-certificate"), chain


def test_rule_43_a_certificate_that_is_not_used_is_refused_in_bundles_of_others_too() -> None:
    now = datetime.datetime.now(datetime.UTC)
    admits = CertificateRule(root=DER, san=DPO)
    assert signer_key(ders(LEAF, ROOT), admits, now).key == LEAF_KEY.public_key
    for chain in ((LEAF, MIDDLE), (LEAF, ROOT, MIDDLE), (LEAF, LEAF)):
        with pytest.raises(VerificationFailed) as caught:
            signer_key(ders(*chain), admits, now)
        assert caught.value.reason == "untrusted-certificate"


ANY = CertificateRule(root=DER, san=None)
ANY_LEAF = CertificateRule(root=DER, san=None, authority_leaf=True)
AUTHORITY = issue("leaf", LEAF_KEY, "root", ROOT_KEY, ca=True)
NOBODY = issue("leaf", LEAF_KEY, "root", ROOT_KEY, san=None)


def test_whoever_has_a_certificate_is_trusted_only_by_the_opt_in_and_it_is_said() -> None:
    for leaf in (NOBODY, issue("leaf", LEAF_KEY, "root", ROOT_KEY, san="eve@example.org")):
        assert reason(word(leaf)) == "untrusted-certificate"
        with pytest.warns(UnsafeWarning, match="legal is trusted by unsafe-any-subject"):
            found = open_statement(word(leaf), [rule(certificate=ANY)])
        assert found.signer.unsafe == ("unsafe-any-subject",)
    assert open_statement(word(LEAF), [rule()]).signer.unsafe == ()


def test_an_opt_in_of_one_entry_helps_no_other() -> None:
    strict = rule(name="dpo")
    loose = rule(name="anybody", certificate=ANY, may=frozenset({"sbom"}))
    assert reason(word(NOBODY), strict, loose) == "untrusted-role"
    # Who is admitted without it counts by the entry that names them.
    both = replace(loose, may=frozenset({"legal"}))
    with pytest.warns(UnsafeWarning, match="anybody"):
        assert open_statement(word(LEAF), [both, strict]).signer.name == "dpo"
    # The opt-in frees from the name, and from nothing else.
    for wrong in (
        issue("leaf", LEAF_KEY, "root", ROOT_KEY, digital_signature=False),
        issue("leaf", LEAF_KEY, "root", MIDDLE_KEY),
        AUTHORITY,
    ):
        assert reason(spelled(wrong), rule(certificate=ANY)) == "untrusted-certificate"


def test_an_opt_in_lends_its_zone_to_no_entry_beside_it() -> None:
    """RULES 6: what a zone alone can say is not said by whoever may speak for any zone."""
    anywhere = rule(name="dpo", zone=None)
    loose = rule(name="anybody", certificate=ANY, may=frozenset({"sbom"}))
    found = open_statement(word(LEAF), [anywhere, loose])
    assert (found.speaking_for("eu"), found.own_word("eu")) == (found.signer, None)
    # An entry that names the signer makes the key the zone's, whatever it is for.
    named = replace(loose, certificate=anywhere.certificate)
    assert open_statement(word(LEAF), [anywhere, named]).own_word("eu") is not None
    # In its own role whoever is let in speaks for its zone: that is what it says, and it is told.
    with pytest.warns(UnsafeWarning, match="anybody"):
        own = open_statement(word(LEAF), [replace(loose, may=frozenset({"legal"}))])
    assert own.own_word("eu") == own.signer


def test_an_authority_signs_only_by_the_opt_in() -> None:
    signing = issue("leaf", LEAF_KEY, "root", ROOT_KEY, ca=True, signs=True)
    named = CertificateRule(root=DER, san=DPO, authority_leaf=True)
    assert reason(word(signing), rule(certificate=ANY)) == "untrusted-certificate"
    assert reason(word(signing), rule(certificate=named)) == "untrusted-certificate"
    with pytest.warns(UnsafeWarning, match="unsafe-authority-leaf and unsafe-any-subject"):
        assert open_statement(word(signing), [rule(certificate=ANY_LEAF)])
    # One whose key may sign certificates alone signs no statement all the same.
    assert reason(word(AUTHORITY), rule(certificate=ANY_LEAF)) == "untrusted-certificate"


def test_a_certificate_that_is_trusted_by_itself_signs_and_vouches_for_nobody() -> None:
    alone = issue("leaf", LEAF_KEY, "leaf", LEAF_KEY)
    der, key = root_from_pem(alone.public_bytes(Encoding.PEM))
    itself = rule(key=key, certificate=CertificateRule(root=der, san=DPO))
    assert open_statement(word(alone), [itself]).signer.key == LEAF_KEY.public_key
    assert reason(word(alone), replace(itself, certificate=CertificateRule(root=der, san="x"))) == (
        "untrusted-certificate"
    )
    below = issue("other", MIDDLE_KEY, "leaf", LEAF_KEY)
    assert reason(spelled(below, signer=MIDDLE_KEY), itself) == "untrusted-certificate"
    root = issue("root", LEAF_KEY, "root", LEAF_KEY, ca=True, signs=True)
    der, key = root_from_pem(root.public_bytes(Encoding.PEM))
    assert reason(word(root), rule(key=key, certificate=CertificateRule(root=der, san=None))) == (
        "untrusted-certificate"
    )


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
