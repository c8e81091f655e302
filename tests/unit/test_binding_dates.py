"""RULES 30 and 7: what shows how old a training record is: a transfer, a decision or a receipt that
names it, within the life of the certificate or of the key that signed it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate import strict
from sovgate.formats.bundle import Bundle
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.x509 import CertificateRule
from sovgate.pipeline.decide.binding import About, Weighed, weigh
from sovgate.stages.trust import Trusted
from tests.certificates import issue
from tests.signers import KeySigner
from tests.unit.test_binding import EU, HOME, MODEL, STRANGER, TRAINED, predicate, raw, sealed

VECTORS = Path(__file__).parents[1] / "vectors"
AGE = timedelta(days=30)
#: When the old certificate was valid, and when it was not any more.
THEN = datetime.now(UTC).replace(microsecond=0) - AGE
AFTER = THEN + timedelta(days=3)

ROOT, LEAF, GONE = KeySigner(), KeySigner(), KeySigner()
CA = issue("root", ROOT, "root", ROOT, ca=True, age=AGE)
OLD = issue("leaf", LEAF, "root", ROOT, age=AGE)
TEAM = Trusted(
    name="team",
    key=ROOT.public_key,
    may=frozenset({"provenance"}),
    zone="home",
    certificate=CertificateRule(root=CA.public_bytes(Encoding.DER), san="dpo@bank.example"),
)
MOVES = frozenset({"transfer", "receipt", "decision"})
ZONES = (
    Trusted(name="home", key=HOME.public_key, may=MOVES | {"provenance"}, zone="home"),
    Trusted(name="eu", key=EU.public_key, may=MOVES, zone="eu"),
)


def by_certificate() -> bytes:
    """A record of the time when its signer's certificate was valid."""
    said = strict.loads(strict.canonical(TRAINED.predicate()))
    said["runDetails"]["metadata"]["finishedOn"] = strict.format_time(THEN)
    payload = Statement(
        subject_name="churn",
        subject_sha256=MODEL,
        predicate_type=PREDICATE_TYPES["provenance"],
        predicate=said,
    ).payload()
    signature = LEAF.sign(pae(PAYLOAD_TYPE, payload))
    der = OLD.public_bytes(Encoding.DER)
    return Bundle(payload=payload, signature=signature, hint="", certificates=(der,)).emit()


def moved(role: str, signer: KeySigner, when: datetime, **changes: Any) -> bytes:
    base = json.loads((VECTORS / f"{role}.json").read_text())["base"]
    base |= {"transfer": {"created": strict.format_time(when)}}.get(
        role, {"opened": strict.format_time(when), "manifest": MODEL}
    )
    if role == "transfer":
        base["manifest"]["sha256"] = MODEL
    return sealed(base | changes, signer=signer, kind=PREDICATE_TYPES[role])


def named(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def carrying(record: bytes, signer: KeySigner, when: datetime) -> bytes:
    """A transfer that names the record."""
    base = json.loads((VECTORS / "transfer.json").read_text())["base"]
    entry = base["evidence"][0] | {"sha256": named(record), "size": len(record)}
    return moved("transfer", signer, when, evidence=[entry])


def received(transfer: bytes, signer: KeySigner, when: datetime, **changes: Any) -> bytes:
    return moved("receipt", signer, when, record={"sha256": named(transfer)}, **changes)


def weighed(*datas: bytes, trusted: tuple[Trusted, ...]) -> Weighed:
    now = int(datetime.now(UTC).timestamp())
    about = About(manifest=MODEL, release=None, now=now)
    return weigh([raw(data) for data in datas], trusted=trusted, about=about, project=None)


RECORD = by_certificate()
RECORD_DIGEST = named(RECORD)
SENT = carrying(RECORD, HOME, THEN)
#: By a source whose key this project does not name any more: only the receipt vouches for it.
SENT_BY_GONE = carrying(RECORD, GONE, THEN)


def test_rule_30_a_record_whose_certificate_has_run_out_binds_where_nothing_dates_it() -> None:
    (unclear,) = weighed(RECORD, trusted=(*ZONES, TEAM)).unclear
    assert "untrusted-certificate" in unclear.text
    # Removing the entry by which it was admitted makes it a stranger's, as any other.
    assert weighed(RECORD, trusted=ZONES).unclear == ()


@pytest.mark.parametrize(
    "others",
    [(SENT,), (SENT_BY_GONE, received(SENT_BY_GONE, EU, THEN))],
    ids=["a transfer", "a receipt"],
)
def test_rule_30_a_certificate_that_has_run_out_harms_no_record_that_is_dated(
    others: tuple[bytes, ...],
) -> None:
    found = weighed(RECORD, *others, trusted=(*ZONES, TEAM))
    assert found.unclear == ()
    assert [one.datasets[0].name for one in found.found.records] == ["kyc"]


@pytest.mark.parametrize(
    "others",
    [
        (carrying(RECORD, HOME, AFTER),),
        (SENT_BY_GONE,),
        (SENT_BY_GONE, received(SENT_BY_GONE, EU, AFTER)),
        (SENT_BY_GONE, received(SENT_BY_GONE, GONE, THEN)),
        # Another zone's word about what eu opened.
        (SENT_BY_GONE, received(SENT_BY_GONE, HOME, THEN)),
        # It names another transfer, or one that names another record.
        (SENT_BY_GONE, received(SENT, EU, THEN)),
        (
            carrying(sealed(), GONE, THEN),
            received(carrying(sealed(), GONE, THEN), EU, THEN),
        ),
    ],
    ids=[
        "a late transfer",
        "no receipt",
        "a late receipt",
        "a stranger's",
        "another zone's",
        "of another transfer",
        "of another record",
    ],
)
def test_rule_30_nothing_else_shows_how_old_a_record_is(others: tuple[bytes, ...]) -> None:
    found = weighed(RECORD, *others, trusted=(*ZONES, TEAM))
    assert RECORD_DIGEST in [one.sha256 for one in found.unclear]
    assert found.found.records == ()


# --- keys that are trusted for several words, or for other ones ----------------------------------


def test_rule_30_a_newer_record_by_a_key_without_the_role_binds() -> None:
    """Nobody can read what it says, and the key is one that the project names."""
    payload = strict.canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": predicate(),
            "predicateType": "https://slsa.dev/provenance/v2",
            "subject": [{"name": "churn", "digest": {"sha256": MODEL}}],
        }
    )
    for signer, binds in ((STRANGER, True), (KeySigner(), False)):
        signature = signer.sign(pae(PAYLOAD_TYPE, payload))
        hint = signer.public_key.oms_hint
        data = Bundle(payload=payload, signature=signature, hint=hint).emit()
        ci = Trusted(name="ci", key=STRANGER.public_key, may=frozenset({"sbom"}), zone="home")
        found = weighed(data, sealed(), trusted=(*ZONES, ci))
        assert bool(found.unclear) is binds


@pytest.mark.parametrize("turned", [False, True])
def test_rule_30_one_key_may_have_two_entries_of_different_roles(turned: bool) -> None:
    """In whatever order they stand, it may say what either says; and neither alone frees."""
    entries = [
        Trusted(name="lists", key=GONE.public_key, may=frozenset({"sbom"}), zone="home"),
        Trusted(name="trains", key=GONE.public_key, may=frozenset({"provenance"}), zone="home"),
    ]
    if turned:
        entries.reverse()
    data = sealed(signer=GONE)
    found = weighed(data, trusted=tuple(entries))
    assert (found.unclear, len(found.found.records)) == ((), 1)
    lists = tuple(one for one in entries if one.name == "lists")
    (unclear,) = weighed(data, trusted=lists).unclear
    assert "untrusted-role" in unclear.text


def test_the_certificate_is_of_the_time_that_the_tests_say() -> None:
    assert OLD.not_valid_before_utc < THEN < OLD.not_valid_after_utc < AFTER
