"""Keyless bundles: only the pinned identity's, in the trusted log, at a time shown within its
certificate's life. Each refusal has its own reason and a fix.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.keyless import KeylessRule, root
from sovgate.stages.trust import Trusted, Verified, open_statement
from tests.effort import some
from tests.signers import KeySigner
from tests.sigstores import (
    IDENTITY,
    ISSUER,
    WHEN,
    Authority,
    Log,
    Names,
    Sigstore,
    b64,
    entry1,
    named,
    new_key,
)

Bundle = dict[str, Any]

OURS, OTHER = Sigstore(), Sigstore()
MANIFEST = "ab" * 32


def statement(manifest: str = MANIFEST) -> bytes:
    """As cosign or GitHub would write one: not in our spelling."""
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "churn", "digest": {"sha256": manifest}}],
        "predicateType": "https://cyclonedx.org/bom",
        "predicate": {"bomFormat": "CycloneDX"},
    }
    return json.dumps(said).encode()


def rule(
    instance: dict[str, Any] | None = None, identity: str = IDENTITY, issuer: str = ISSUER
) -> Trusted:
    data = json.dumps(OURS.trusted_root() if instance is None else instance).encode()
    return Trusted(
        name="release-ci",
        key=KeySigner().public_key,
        may=frozenset({"sbom"}),
        certificate=KeylessRule(identity=identity, issuer=issuer, root=root.parse(data)),
    )


RULE = rule()
GOOD = {version: OURS.sign(statement(), rekor=version) for version in (1, 2)}


def opened(bundle: Bundle, *trusted: Trusted) -> Verified:
    return open_statement(json.dumps(bundle).encode(), trusted or (RULE,))


def reason(bundle: Bundle | bytes, *trusted: Trusted) -> str:
    data = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    with pytest.raises(VerificationFailed) as caught:
        open_statement(data, trusted or (RULE,))
    # Of bytes that are no bundle at all the caller, who knows their path, says what to do.
    assert caught.value.fix or isinstance(caught.value, Malformed), caught.value.what
    return caught.value.reason


def changed(version: int, edit: Callable[[Bundle], object]) -> Bundle:
    bundle = copy.deepcopy(GOOD[version])
    edit(bundle)
    return bundle


def entry(bundle: Bundle) -> Bundle:
    found: Bundle = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_who_signed_in_which_log_and_when_is_told(version: int) -> None:
    found = opened(GOOD[version])
    signer = found.signer
    assert (found.role, signer.name, found.statement.subject_sha256) == (
        "sbom",
        "release-ci",
        MANIFEST,
    )
    assert signer.logged is not None
    assert (signer.logged.identity, signer.logged.issuer) == (IDENTITY, ISSUER)
    log = OURS.rekor1 if version == 1 else OURS.rekor2
    assert (signer.logged.time, signer.logged.log) == (WHEN, log.id.hex())
    assert signer.logged.by == (("the log",) if version == 1 else ("a timestamp authority",))


def test_an_email_address_is_an_identity_too() -> None:
    bundle = OURS.sign(statement(), names=named("dpo@bank.example", "https://accounts.example"))
    found = opened(bundle, rule(None, "dpo@bank.example", "https://accounts.example"))
    assert found.signer.logged is not None
    assert found.signer.logged.identity == "dpo@bank.example"


def test_rule_5_two_signatures_of_one_identity_are_one_signer_s() -> None:
    first, second = (opened(OURS.sign(statement())).signer for _ in range(2))
    assert first.key.der != second.key.der
    assert first.identity == second.identity
    other = opened(
        OURS.sign(statement(), names=named("a@b.example")), rule(None, "a@b.example")
    ).signer
    assert other.identity != first.identity


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [
        (IDENTITY[:-1], ISSUER),
        (IDENTITY + "x", ISSUER),
        (IDENTITY.partition("@")[0], ISSUER),
        (IDENTITY.replace("churn", "CHURN"), ISSUER),
        ("https://github.com/example/.+", ISSUER),
        (".*", ".*"),
        (IDENTITY, ISSUER + "/"),
        (IDENTITY, ISSUER[:-4]),
        (IDENTITY, "https://accounts.google.com"),
    ],
)
def test_an_identity_is_compared_whole_and_is_no_pattern(identity: str, issuer: str) -> None:
    assert reason(GOOD[1], rule(None, identity, issuer)) == "wrong-signer"


_USER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")


def _user(name: str) -> x509.OtherName:
    return x509.OtherName(_USER, b"\x0c" + bytes([len(name)]) + name.encode())


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (IDENTITY, x509.UniformResourceIdentifier),
        ("spiffe://bank.example/ns/ci/sa/release@1", x509.UniformResourceIdentifier),
        ("mailto:dpo@bank.example", x509.UniformResourceIdentifier),
        ("dpo@bank.example", x509.RFC822Name),
        ("dpo!ml@bank.example", x509.RFC822Name),
        ("dpo!bank.example", _user),
    ],
)
def test_a_name_of_another_kind_that_reads_the_same_is_somebody_else(
    written: str, kind: Callable[[str], x509.GeneralName]
) -> None:
    """An instance that lets people choose their user name or address gives nobody a workflow's."""
    for made in (x509.UniformResourceIdentifier, x509.RFC822Name, _user):
        bundle = OURS.sign(statement(), names=Names(sans=(made(written),)))
        if made is kind:
            assert opened(bundle, rule(None, written)).signer.name == "release-ci"
            continue
        with pytest.raises(VerificationFailed) as caught:
            opened(bundle, rule(None, written))
        assert caught.value.reason == "wrong-signer"
        assert "reads like one of another kind" in str(caught.value.fix)


@pytest.mark.parametrize("nobody", [".*", "bank.example", "github.com/example/churn"])
def test_a_name_of_no_kind_is_nobodys(nobody: str) -> None:
    for made in (x509.UniformResourceIdentifier, x509.RFC822Name, _user):
        bundle = OURS.sign(statement(), names=Names(sans=(made(nobody),)))
        assert reason(bundle, rule(None, nobody)) == "wrong-signer"


def test_whoever_is_refused_is_told_as_an_entry_to_write() -> None:
    with pytest.raises(VerificationFailed) as caught:
        opened(GOOD[1], rule(None, "a@b.example"))
    written = re.search(r"\{name: .*?\}\}", str(caught.value.fix))
    assert written is not None
    assert f'identity: "{IDENTITY}"' in written[0]
    assert f'issuer: "{ISSUER}"' in written[0]


CERTIFICATES = {
    "two-names": Names(sans=(*Names().sans, x509.RFC822Name("a@b.example"))),
    "the-same-name-twice": Names(sans=Names().sans * 2),
    "no-name": Names(sans=()),
    "a-host": Names(sans=(x509.DNSName("github.com"),)),
    "no-issuer": Names(v1=None, v2=None),
    "two-issuers": Names(v1="https://accounts.google.com"),
    "two-issuers-the-other-way": Names(v2="https://accounts.google.com"),
    "no-receipt": Names(receipt=False),
    "an-authority": Names(ca=True),
    "for-tls": Names(eku=ExtendedKeyUsageOID.SERVER_AUTH),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("names", CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_certificate_of_another_profile_is_refused(names: Names, version: int) -> None:
    assert reason(OURS.sign(statement(), names=names, rekor=version)) == "keyless-certificate"


@pytest.mark.parametrize("names", [replace(Names(), v1=None), replace(Names(), v2=None)])
def test_either_spelling_of_the_issuer_will_do(names: Names) -> None:
    assert opened(OURS.sign(statement(), names=names)).signer.name == "release-ci"


@pytest.mark.parametrize("version", [1, 2])
def test_a_certificate_that_had_run_out_when_it_signed_is_refused(version: int) -> None:
    for begins in (WHEN - timedelta(minutes=11), WHEN + timedelta(seconds=1)):
        late = OURS.sign(statement(), rekor=version, begins=begins)
        assert reason(late) == "outside-validity"


def test_a_forged_time_makes_no_expired_certificate_valid() -> None:
    late = OURS.sign(statement(), begins=WHEN - timedelta(days=1))
    inside = int((WHEN - timedelta(days=1) + timedelta(minutes=1)).timestamp())
    entry(late)["integratedTime"] = str(inside)
    assert reason(late) == "keyless-proof"
    # Nor does the promise of a log that is not that one, nor its own promise of another entry.
    forged = base64.b64decode(entry(late)["canonicalizedBody"])
    for promise in (
        OTHER.rekor1.promise(forged, 5, inside),
        OURS.rekor1.promise(b"{}", 5, inside),
    ):
        entry(late)["inclusionPromise"]["signedEntryTimestamp"] = b64(promise)
        assert reason(late) == "keyless-proof"
    # Nor a timestamp that somebody's authority made.
    begins = WHEN - timedelta(days=1)
    stale = OURS.sign(statement(), rekor=2, begins=begins)
    signature = base64.b64decode(stale["dsseEnvelope"]["signatures"][0]["sig"])
    stamps = stale["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamps[0]["signedTimestamp"] = b64(OTHER.stamp(signature, begins + timedelta(minutes=1)))
    assert reason(stale) == "bad-timestamp"


def test_a_signature_from_the_future_is_refused() -> None:
    later = WHEN.replace(year=2059)
    assert reason(OURS.sign(statement(), at=later)) == "from-the-future"


def without(*path: str) -> Callable[[Bundle], object]:
    def edit(bundle: Bundle) -> None:
        at = entry(bundle) if path[0] == "entry" else bundle["verificationMaterial"]
        at.pop(path[1])

    return edit


MISSING: dict[str, tuple[int, Callable[[Bundle], object], str]] = {
    "no-entries": (1, without("material", "tlogEntries"), "no-log-entry"),
    "empty-entries": (
        1,
        lambda b: b["verificationMaterial"].update(tlogEntries=[]),
        "no-log-entry",
    ),
    "an-empty-entry": (
        1,
        lambda b: b["verificationMaterial"].update(tlogEntries=[{}]),
        "no-log-entry",
    ),
    "two-entries": (
        1,
        lambda b: b["verificationMaterial"].update(tlogEntries=[entry(b), entry(b)]),
        "bad-log-entry",
    ),
    "no-proof": (1, without("entry", "inclusionProof"), "no-inclusion-proof"),
    "no-proof-2": (2, without("entry", "inclusionProof"), "no-inclusion-proof"),
    "no-promise": (1, without("entry", "inclusionPromise"), "no-trusted-time"),
    "no-time": (1, lambda b: entry(b).update(integratedTime="0"), "no-trusted-time"),
    "no-timestamp": (2, without("material", "timestampVerificationData"), "no-trusted-time"),
    "a-time-that-rekor-2-says": (
        2,
        lambda b: (
            without("material", "timestampVerificationData")(b),
            entry(b).update(integratedTime=str(int(WHEN.timestamp()))),
        ),
        "no-trusted-time",
    ),
    "no-body": (1, without("entry", "canonicalizedBody"), "malformed"),
    "no-checkpoint": (1, lambda b: entry(b)["inclusionProof"].pop("checkpoint"), "malformed"),
}


@pytest.mark.parametrize(("version", "edit", "why"), MISSING.values(), ids=MISSING)
def test_a_bundle_that_lacks_log_entry_proof_or_time_is_refused(
    version: int, edit: Callable[[Bundle], object], why: str
) -> None:
    assert reason(changed(version, edit)) == why


def proof(**said: Any) -> Callable[[Bundle], object]:
    return lambda b: entry(b)["inclusionProof"].update(said)


def checkpoint(edit: Callable[[str], str]) -> Callable[[Bundle], object]:
    def changing(bundle: Bundle) -> None:
        signed = entry(bundle)["inclusionProof"]["checkpoint"]
        signed["envelope"] = edit(signed["envelope"])

    return changing


def body(**said: Any) -> Callable[[Bundle], object]:
    def edit(bundle: Bundle) -> None:
        value = json.loads(base64.b64decode(entry(bundle)["canonicalizedBody"])) | said
        entry(bundle)["canonicalizedBody"] = b64(json.dumps(value).encode())

    return edit


DAMAGED: dict[str, tuple[int, Callable[[Bundle], object], str]] = {
    "another-index": (1, proof(logIndex="4"), "keyless-proof"),
    "another-number-in-the-log": (1, lambda b: entry(b).update(logIndex="77"), "keyless-proof"),
    "another-size": (1, proof(treeSize="8"), "bad-log-entry"),
    "another-root": (1, proof(rootHash=b64(b"0" * 32)), "keyless-proof"),
    "a-shorter-path": (1, lambda b: entry(b)["inclusionProof"]["hashes"].pop(), "keyless-proof"),
    "another-path": (2, proof(hashes=[b64(b"0" * 32)] * 3), "keyless-proof"),
    "beyond-the-tree": (1, proof(logIndex="7"), "malformed"),
    "another-checkpoint": (
        1,
        lambda b: entry(b)["inclusionProof"].update(checkpoint=OTHER.rekor1.proof(2)["checkpoint"]),
        "bad-log-entry",
    ),
    "a-checkpoint-that-nobody-signed": (
        1,
        checkpoint(lambda t: t.partition("\n\n")[0] + "\n\n"),
        "keyless-proof",
    ),
    "a-checkpoint-with-another-line": (
        2,
        checkpoint(lambda t: t.replace("\n\n", "\nmore\n\n")),
        "keyless-proof",
    ),
    "no-checkpoint-at-all": (1, checkpoint(lambda t: "x"), "bad-log-entry"),
    "another-log": (
        1,
        lambda b: entry(b).update(logId={"keyId": b64(OTHER.rekor1.id)}),
        "untrusted-log",
    ),
    "the-other-log-of-the-instance": (
        1,
        lambda b: entry(b).update(logId={"keyId": b64(OURS.rekor2.id)}),
        "keyless-proof",
    ),
    "an-entry-of-another-kind": (
        1,
        lambda b: entry(b).update(kindVersion={"kind": "intoto", "version": "0.0.2"}),
        "bad-log-entry",
    ),
    "an-entry-that-holds-a-digest-alone": (
        1,
        lambda b: entry(b).update(kindVersion={"kind": "hashedrekord", "version": "0.0.1"}),
        "bad-log-entry",
    ),
    "a-body-of-another-kind": (1, body(kind="intoto"), "bad-log-entry"),
    "a-body-of-another-version": (2, body(apiVersion="0.0.1"), "bad-log-entry"),
    "a-body-with-more": (1, body(more=1), "bad-log-entry"),
    "a-body-in-another-spelling": (1, body(), "keyless-proof"),
    "a-body-that-is-no-json": (
        1,
        lambda b: entry(b).update(canonicalizedBody=b64(b"{")),
        "bad-log-entry",
    ),
    "a-body-with-a-key-twice": (
        1,
        lambda b: entry(b).update(canonicalizedBody=b64(b'{"kind":"dsse","kind":"dsse"}')),
        "bad-log-entry",
    ),
    "a-timestamp-that-is-none": (
        2,
        lambda b: b["verificationMaterial"]["timestampVerificationData"].update(
            rfc3161Timestamps=[{"signedTimestamp": b64(b"0\x00")}]
        ),
        "bad-timestamp",
    ),
}


@pytest.mark.parametrize(("version", "edit", "why"), DAMAGED.values(), ids=DAMAGED)
def test_a_proof_that_does_not_hold_is_refused(
    version: int, edit: Callable[[Bundle], object], why: str
) -> None:
    assert reason(changed(version, edit)) == why


@pytest.mark.parametrize("version", [1, 2])
def test_a_promise_that_nobody_verified_tells_no_number_of_an_entry(version: int) -> None:
    def forge(bundle: Bundle) -> None:
        one, material = entry(bundle), bundle["verificationMaterial"]
        one.pop("integratedTime", None)
        one["inclusionPromise"] = {"signedEntryTimestamp": b64(b"nobody's")}
        signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
        stamp = {"signedTimestamp": b64(OURS.stamp(signature, WHEN))}
        material["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
        one["logIndex"] = one["logIndex"] if version == 2 else "424242"

    assert reason(changed(version, forge)) == "bad-log-entry"


@pytest.mark.parametrize("version", [1, 2])
def test_an_entry_of_another_signature_is_refused(version: int) -> None:
    """Of another statement, of the same one signed again, and by another certificate."""
    for payload in (statement("cd" * 32), statement()):
        bundle = changed(version, lambda b: None)
        other = OURS.sign(payload, rekor=version)
        bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
        assert reason(bundle) == "other-log-entry"
    stolen = OURS.certificate(new_key().public_key(), Names(), WHEN - timedelta(minutes=1))
    bundle = changed(version, lambda b: None)
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    if version == 1:
        said = OURS.rekor1.add(entry1(statement(), signature, stolen), WHEN)
        bundle["verificationMaterial"]["tlogEntries"] = [said]
        assert reason(bundle) == "other-log-entry"


def stamped(message: bytes, by: Sigstore) -> dict[str, Any]:
    return {"rfc3161Timestamps": [{"signedTimestamp": b64(by.stamp(message, WHEN))}]}


@pytest.mark.parametrize("version", [1, 2])
def test_every_timestamp_is_of_this_signature_and_by_an_authority_of_the_instance(
    version: int,
) -> None:
    """Even where the log tells the time too: what is there and wrong is not passed over."""
    signature = base64.b64decode(GOOD[version]["dsseEnvelope"]["signatures"][0]["sig"])
    for message, by, good in (
        (signature, OURS, True),
        (b"another message", OURS, False),
        (signature, OTHER, False),
    ):
        bundle = changed(version, lambda b: None)
        bundle["verificationMaterial"]["timestampVerificationData"] = stamped(message, by)
        if good:
            assert opened(bundle).signer.name == "release-ci"
        else:
            assert reason(bundle) == "bad-timestamp"
    alone = OURS.trusted_root() | {"timestampAuthorities": []}
    assert reason(GOOD[2], rule(alone)) == "bad-timestamp"


def test_nothing_of_another_instance_vouches() -> None:
    ours, other = OURS.trusted_root(), OTHER.trusted_root()
    assert reason(GOOD[1], rule(other)) == "untrusted-log"
    parts = {
        "certificateAuthorities": "keyless-proof",
        "ctlogs": "untrusted-log",
        "tlogs": "untrusted-log",
    }
    for part, why in parts.items():
        assert reason(GOOD[1], rule(ours | {part: other[part]})) == why
    part = "timestampAuthorities"
    assert reason(GOOD[2], rule(ours | {part: other[part]})) == "bad-timestamp"


def test_a_receipt_that_another_key_signed_under_the_log_s_name_is_refused() -> None:
    forged = Sigstore(authority=OURS.authority, rekor1=OURS.rekor1)
    root_ = OURS.trusted_root()
    root_["ctlogs"][0]["logId"] = forged.trusted_root()["ctlogs"][0]["logId"]
    assert reason(forged.sign(statement()), rule(root_)) == "keyless-proof"


def test_what_the_trusted_root_says_of_times_is_kept() -> None:
    """The library looks at none of these spans itself."""
    before = {"start": "2020-01-01T00:00:00Z", "end": "2025-05-31T23:59:59.999Z"}

    def ended(part: str, version: int) -> str:
        instance = copy.deepcopy(OURS.trusted_root())
        for one in instance[part]:
            one.get("publicKey", one)["validFor"] = before
        return reason(GOOD[version], rule(instance))

    assert ended("tlogs", 1) == ended("tlogs", 2) == "untrusted-log"
    assert ended("ctlogs", 1) == "untrusted-log"
    assert ended("certificateAuthorities", 1) == "untrusted-authority"
    assert ended("timestampAuthorities", 2) == "bad-timestamp"


def test_an_authority_of_earlier_days_beside_the_present_one_does_no_harm() -> None:
    instance = OURS.trusted_root()
    old = copy.deepcopy(OTHER.trusted_root()["certificateAuthorities"][0])
    old["validFor"] = {"start": "2020-01-01T00:00:00Z", "end": "2022-12-31T23:59:59.999Z"}
    instance["certificateAuthorities"].insert(0, old)
    assert opened(GOOD[1], rule(instance)).signer.name == "release-ci"
    stolen = Sigstore(OTHER.authority, OURS.stamper, OURS.certificate_log, OURS.rekor1, OURS.rekor2)
    assert reason(stolen.sign(statement()), rule(instance)) == "keyless-proof"


def older(bundle: Bundle, minor: int) -> Bundle:
    material = bundle["verificationMaterial"]
    leaf = material.pop("certificate")
    above = [{"rawBytes": b64(der)} for der in OURS.authority.chain[:1]]
    material["x509CertificateChain"] = {"certificates": [leaf, *above]}
    bundle["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}"
    return bundle


@pytest.mark.parametrize("minor", [1, 2])
def test_bundles_of_older_versions_verify_too(minor: int) -> None:
    assert opened(older(changed(1, lambda b: None), minor)).signer.name == "release-ci"
    bundle = older(changed(1, lambda b: None), minor)
    chain = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
    chain.append({"rawBytes": b64(OTHER.authority.chain[1])})
    assert reason(bundle) == "untrusted-authority"  # RULES 43: none is unused
    del entry(bundle)["inclusionProof"]
    assert reason(bundle) == "no-inclusion-proof"


def test_another_kind_of_key_material_is_no_keyless_signature() -> None:
    hint = changed(1, lambda b: None)
    material = hint["verificationMaterial"]
    leaf = material.pop("certificate")
    material["publicKey"] = {"hint": "release-ci"}
    assert reason(hint) == "wrong-signer"
    del material["publicKey"]
    material["x509CertificateChain"] = {"certificates": [leaf]}  # a chain of version 0.3
    assert reason(hint) == "wrong-signer"
    material["certificate"] = leaf
    assert reason(hint) == "malformed"


def test_rule_3_and_6_a_keyless_signer_speaks_in_its_roles_alone() -> None:
    assert reason(GOOD[1], replace(RULE, may=frozenset({"signature", "gate"}))) == "untrusted-role"


def test_rule_3_what_is_read_is_bounded_and_has_one_meaning() -> None:
    text = json.dumps(GOOD[1])
    twice = text.replace('"logIndex":', '"logIndex": "1", "logIndex":', 1)
    assert reason(twice.encode()) == "malformed"
    deep = text.replace('"tlogEntries": [', '"tlogEntries": [' + "[" * 100 + "]" * 100 + ",")
    assert reason(deep.encode()) == "malformed"
    for edit in (
        lambda b: entry(b).update(logIndex="01"),
        lambda b: entry(b).update(logIndex=-1),
        lambda b: entry(b).update(logIndex="9" * 30),
        lambda b: entry(b).update(integratedTime="9" * 19),
        lambda b: entry(b).update(unknown=1),
        lambda b: entry(b).update(canonicalizedBody=entry(b)["canonicalizedBody"][:-1]),
        lambda b: entry(b).update(canonicalizedBody=b64(b"x" * (1 << 21))),
        proof(hashes=[b64(b"0" * 32)] * 65),
        proof(hashes=[b64(b"0" * 31)]),
        proof(rootHash="!"),
        checkpoint(lambda t: t + "x" * 20_000),
        lambda b: b["verificationMaterial"].update(timestampVerificationData=[]),
        lambda b: b["verificationMaterial"].update(
            timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}] * 2}
        ),
        lambda b: b["verificationMaterial"].update(
            timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}] * 99}
        ),
    ):
        assert reason(changed(1, edit)) == "malformed"


def test_no_byte_of_a_proof_can_be_changed() -> None:
    """One letter of every text at every place that the proof consists of."""

    def texts(value: Any, path: tuple[Any, ...] = ()) -> Any:
        if isinstance(value, dict | list):
            rows = value.items() if isinstance(value, dict) else enumerate(value)
            for key, below in rows:
                yield from texts(below, (*path, key))
        elif isinstance(value, str) and value:
            yield path, value

    for version, good in GOOD.items():
        for path, text in texts(good["verificationMaterial"]):
            middle = len(text) // 2
            letter = "1" if text[middle] != "1" else "2"
            bundle = changed(version, lambda b: None)
            at: Any = bundle["verificationMaterial"]
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = text[:middle] + letter + text[middle + 1 :]
            if version == 2 and path[-1] == "integratedTime":
                continue  # Rekor v2 tells no time; nothing rests on this one
            assert reason(bundle), path


DERS = {
    "the certificate": (1, ("certificate", "rawBytes")),
    "the promise": (1, ("tlogEntries", 0, "inclusionPromise", "signedEntryTimestamp")),
    "what the log holds": (2, ("tlogEntries", 0, "canonicalizedBody")),
    "the timestamp": (
        2,
        ("timestampVerificationData", "rfc3161Timestamps", 0, "signedTimestamp"),
    ),
}


#: In the timestamp: the version numbers of CMS and the name of the signer's algorithm. Nobody signs
#: them, and nothing rests on them.
UNSIGNED = 20


@pytest.mark.parametrize(("version", "path"), DERS.values(), ids=DERS)
def test_no_byte_below_the_base64_can_be_changed_or_cut(
    version: int, path: tuple[Any, ...]
) -> None:
    """Each is a refusal of ours, never an error of a library: whatever the bytes have become."""
    bundle = changed(version, lambda b: None)
    at: Any = bundle["verificationMaterial"]
    for key in path[:-1]:
        at = at[key]
    data = base64.b64decode(at[path[-1]])
    taken = []
    for place in some(range(len(data))):
        for made in (
            data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :],
            data[:place] + b"\xff" + data[place + 1 :],
            data[:place],
        ):
            at[path[-1]] = b64(made)
            try:
                found = opened(bundle)
            except VerificationFailed:
                continue
            assert found.signer.logged == opened(GOOD[version]).signer.logged
            taken += [place] if made != data else []
    assert len(taken) <= (UNSIGNED if "timestampVerificationData" in path else 0), taken


def test_the_mock_of_an_authority_is_one() -> None:
    """Who makes what these tests refuse could make what they accept."""
    again = Sigstore(authority=Authority.make("again"), certificate_log=Log("again.example"))
    bundle = again.sign(statement(), rekor=2)
    assert opened(bundle, rule(again.trusted_root())).signer.name == "release-ci"
