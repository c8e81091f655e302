"""RULES 30: a training record that cannot be counted binds all the same, in whatever form it lies
beside a model; nothing but its digest in the project's own file sets it aside."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict
from sovgate.formats import doubtful
from sovgate.formats.provenance import RecordedDataset, TrainingRecord
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys import registry
from sovgate.pipeline.beside import may_bind
from sovgate.pipeline.decide.binding import About, Weighed, weigh
from sovgate.stages import attest
from sovgate.stages.attest import RawEvidence
from sovgate.stages.seal import seal
from sovgate.stages.trust import Trusted
from tests.crossing import Crossing, make_crossing
from tests.signers import KeySigner

MODEL, OTHER = "ab" * 32, "cd" * 32
HOME, EU, STRANGER = KeySigner(), KeySigner(), KeySigner()
ROLES = frozenset({"signature", "provenance", "sbom", "gate"})
TRUSTED = (
    Trusted(name="home", key=HOME.public_key, may=ROLES, zone="home"),
    Trusted(name="eu", key=EU.public_key, may=ROLES, zone="eu"),
    Trusted(name="ci", key=STRANGER.public_key, may=frozenset({"sbom"}), zone="home"),
)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
TRAINED = TrainingRecord(
    datasets=(
        RecordedDataset(
            name="kyc",
            category="personal",
            stays_in=(("US",),),
            pointer=None,
            manifest_sha256=None,
            commitment=None,
        ),
    ),
    finished=NOW - timedelta(days=1),
)


def predicate(**metadata: Any) -> dict[str, Any]:
    found = strict.loads(strict.canonical(TRAINED.predicate()))
    found["runDetails"]["metadata"].update(metadata)
    return dict(found)


def sealed(
    said: dict[str, Any] | None = None,
    *,
    signer: KeySigner = HOME,
    about: str = MODEL,
    kind: str = PREDICATE_TYPES["provenance"],
) -> bytes:
    return seal(
        Statement(
            subject_name="churn",
            subject_sha256=about,
            predicate_type=kind,
            predicate=predicate() if said is None else said,
        ),
        signer,
    )


def raw(data: bytes, name: str = "provenance-x.sigstore.json") -> RawEvidence:
    import hashlib

    return RawEvidence(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())


def weighed(*datas: bytes, trusted: tuple[Trusted, ...] = TRUSTED) -> Weighed:
    about = About(manifest=MODEL, release=None, now=int(NOW.timestamp()))
    return weigh([raw(data) for data in datas], trusted=trusted, about=about, project=None)


def future() -> bytes:
    return sealed(predicate(finishedOn="2099-01-01T00:00:00Z"))


def newer() -> bytes:
    said = predicate()
    said["buildDefinition"]["resolvedDependencies"].append({"name": "tokenizer", "uri": "x"})
    return sealed(said)


def other_build() -> bytes:
    said = predicate()
    said["buildDefinition"]["buildType"] = "https://sovgate.dev/training/v1"
    return sealed(said)


def retyped(kind: str) -> bytes:
    """A statement of a type that this version does not know, signed as any other."""
    from sovgate.formats.bundle import Bundle
    from sovgate.formats.envelope import PAYLOAD_TYPE, pae

    payload = strict.canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": predicate(),
            "predicateType": kind,
            "subject": [{"name": "churn", "digest": {"sha256": MODEL}}],
        }
    )
    signature = HOME.sign(pae(PAYLOAD_TYPE, payload))
    hint = HOME.public_key.oms_hint
    return Bundle(payload=payload, signature=signature, hint=hint).emit()


UNCOUNTED: dict[str, Callable[[], bytes]] = {
    "from the future": future,
    "one entry more": newer,
    "of a newer build type": other_build,
    "of a newer predicate": lambda: retyped("https://slsa.dev/provenance/v2"),
    "of an older predicate": lambda: retyped("https://slsa.dev/provenance/v0.2"),
    "of another training format": lambda: retyped("https://sovgate.dev/training/v9"),
    "empty": lambda: sealed({}),
}


@pytest.mark.parametrize("case", UNCOUNTED)
def test_rule_30_what_cannot_be_counted_binds(case: str) -> None:
    lax = sealed(signer=EU)
    found = weighed(UNCOUNTED[case](), lax)
    (unclear,) = found.unclear
    assert "cannot be counted" in unclear.text
    assert unclear.sha256 is not None and unclear.sha256 in unclear.text
    assert found.found.unclear == (unclear.text,)


def spelled() -> dict[str, bytes]:
    good = sealed()
    text = good.decode()
    value = json.loads(text)
    payload = value["dsseEnvelope"]["payload"]
    broken = "\\n".join(payload[at : at + 60] for at in range(0, len(payload), 60))
    wrapped = "\n".join(text[at : at + 70] for at in range(0, len(text), 70)).encode()
    junk = ",".join(f'"payload":"{base64.b64encode(b"x" * 300).decode()}"' for _ in range(40))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a/b.json", good)
    return {
        "UTF-16": text.encode("utf-16"),
        "UTF-16 without a mark": text.encode("utf-16-be"),
        "UTF-32": text.encode("utf-32"),
        "byte order mark": b"\xef\xbb\xbf" + good,
        "CRLF": json.dumps(value, indent=2).replace("\n", "\r\n").encode(),
        "indented": json.dumps(value, indent=2).encode(),
        "in a list": b"[" + good + b"]",
        "in an object": b'{"bundles":[' + good + b"]}",
        "one a line": good + b"\n" + good,
        "with words before it": b"# kept for the record\n" + good,
        "a key twice": text.replace('"payload":', '"payload":"eA==","payload":', 1).encode(),
        "behind junk payloads": text.replace('"payload":', junk + ',"payload":', 1).encode(),
        "base64 with line breaks": text.replace(payload, broken).encode(),
        "escaped": text.replace(payload, payload.replace("e", "\\u0065")).encode(),
        "URL-safe base64": text.replace(payload, payload.replace("+", "-").rstrip("=")).encode(),
        "single quotes": repr(value).encode(),
        "base64 of it all": base64.b64encode(good),
        "base64 in lines": base64.encodebytes(good),
        "hex of it all": good.hex().encode(),
        "upper hex with blanks": good.hex(" ").upper().encode(),
        "hex in an object": json.dumps({"x": good.hex()}).encode(),
        "text in an object": json.dumps({"x": text}).encode(),
        "gzip": gzip.compress(good, mtime=0),
        "gzip of base64 of gzip": gzip.compress(base64.b64encode(gzip.compress(good, mtime=0))),
        "bzip2": bz2.compress(good),
        "xz": lzma.compress(good),
        "zip": archive.getvalue(),
        "zstd": b"\x28\xb5\x2f\xfd" + good[:100],
        "cut off": good[: len(good) // 2],
        "wrapped at 70": wrapped,
        "nothing": b"",
        "zeros": bytes(1000),
        "random": bytes(range(1, 256)) * 9,
        "a payload that does not read": text.replace(payload, "AAAA" * 300).encode(),
        "gzip that is cut": gzip.compress(good, mtime=0)[:-20],
    }


@pytest.mark.parametrize("case", spelled())
def test_rule_30_no_spelling_hides_a_record(case: str) -> None:
    data = spelled()[case]
    (unclear,) = weighed(data, sealed(signer=EU)).unclear
    assert unclear.name == "provenance-x.sigstore.json"


@pytest.mark.parametrize("case", [k for k in spelled() if k not in ("nothing", "zeros", "random")])
def test_rule_30_nor_does_another_name(case: str) -> None:
    # What is cut before its payload can be told from any other text by its name alone.
    assert doubtful.may_be_record(spelled()[case], "notes/a.bak", MODEL)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (sealed(about=OTHER), "provenance-x.sigstore.json"),
        (json.dumps([json.loads(sealed(about=OTHER))]).encode(), "provenance-x.sigstore.json"),
        (gzip.compress(sealed(about=OTHER)), "old/provenance-x.sigstore.json.gz"),
        (sealed({"result": "x"}, kind=PREDICATE_TYPES["gate"]), "gate-x.sigstore.json"),
        (b"remember to ask the lawyers", "notes.txt"),
        (b'{"bomFormat": "CycloneDX"}', "bom.json"),
        (b"{}", "provenance-x.sigstore.json"),
        (b"id,label\n1,0\n", "predictions.csv"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "chart.png"),
    ],
)
def test_what_reads_as_something_else_binds_nothing(data: bytes, name: str) -> None:
    assert not doubtful.may_be_record(data, name, MODEL)


def test_a_record_that_counts_is_no_unknown_one() -> None:
    found = weighed(sealed(), sealed(signer=EU))
    assert found.unclear == ()
    assert len(found.found.records) == 2


def test_a_stranger_binds_nobody() -> None:
    found = weighed(sealed(signer=KeySigner()), sealed())
    assert found.unclear == ()
    (one,) = found.found.rejected
    assert one.reason.startswith("wrong-signer")


@pytest.mark.parametrize("left", [ROLES - {"provenance"}, frozenset({"decision"})])
def test_rule_30_to_take_a_role_from_a_key_frees_nothing(left: frozenset[str]) -> None:
    """What a key said of a model's data binds, though the project trusts it for other words now."""
    home = replace(TRUSTED[0], may=left, zone=None)
    found = weighed(sealed(), sealed(signer=EU), trusted=(home, TRUSTED[1]))
    (unclear,) = [one for one in found.unclear if "untrusted-role" in one.reason]
    assert "cannot be counted" in unclear.text
    assert unclear.text in found.found.unclear


def test_what_a_key_with_another_role_says_of_another_model_binds_nobody() -> None:
    assert weighed(sealed(signer=STRANGER, about=OTHER), sealed()).unclear == ()
    gate = sealed({"result": "x"}, kind=PREDICATE_TYPES["gate"], signer=STRANGER)
    assert weighed(gate, sealed()).unclear == ()


def test_rule_30_a_record_that_was_changed_binds() -> None:
    """Somebody who may write there cannot make a record count for nothing by spoiling it."""
    value = json.loads(sealed())
    said = base64.b64decode(value["dsseEnvelope"]["payload"]).replace(b"kyc", b"kyd")
    value["dsseEnvelope"]["payload"] = base64.b64encode(said).decode()
    (unclear,) = weighed(strict.canonical(value), sealed(signer=EU)).unclear
    assert "bad-signature" in unclear.text


# -- beside a model, at the command line


KEY = ("--key", "keys/home.pem")
ASK = ("check", "model", "--zone", "home", "--to", "eu")


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    made = make_crossing(tmp_path / "project")
    made.sign("public")
    return made


def plant(crossing: Crossing, data: bytes, name: str = "provenance-x.sigstore.json") -> str:
    path = attest.evidence_dir(crossing.model) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return raw(data).sha256


def about(crossing: Crossing, change: dict[str, Any] | None = None) -> bytes:
    """A record of this very model that cannot be counted, by the zone's own key."""
    statement = Statement(
        subject_name="churn",
        subject_sha256=crossing.manifest,
        predicate_type=PREDICATE_TYPES["provenance"],
        predicate=predicate(**(change or {"finishedOn": "2099-01-01T00:00:00Z"})),
    )
    return seal(statement, registry.open_signer("keys/home.pem", crossing.base))


@pytest.mark.parametrize(
    "name",
    [
        "provenance-x.sigstore.json",
        "provenance-x.Sigstore.JSON",
        "notes.txt",
        "old/deep/er/x",
        "unsigned/provenance-x.json",
    ],
)
def test_rule_30_it_binds_under_any_name_and_in_any_folder(crossing: Crossing, name: str) -> None:
    digest = plant(crossing, about(crossing), name)
    said = crossing.json(*ASK, code=10)
    (deny,) = said["denies"]
    assert deny["rule"] == "record-required"
    for word in (name, digest, "from-the-future"):
        assert word in deny["message"]
    assert f'{{record: "sha256:{digest}", reason: ' in deny["fix"]
    assert digest in json.dumps(crossing.push(code=10))
    assert crossing.objects("releases/") == []


def test_rule_30_only_its_digest_with_a_reason_sets_a_record_aside(crossing: Crossing) -> None:
    digest = plant(crossing, about(crossing))
    line = f'set-aside: [{{record: "sha256:{digest}", reason: "the clock of gpu-7 was wrong"}}]\n'
    crossing.edit("border:\n", line + "border:\n")
    _, text = crossing.run(*ASK)
    assert "set aside by sovgate.yaml:14: the clock of gpu-7 was wrong" in " ".join(text.split())
    pushed = crossing.push()
    assert any(digest in one and "gpu-7" in one for one in pushed["decisions"])
    # It travels, and binds where it arrives: one file serves both zones here, so both are asked.
    crossing.edit(line, "")
    denied = crossing.json(
        "pull", "churn/1.0.0", "--zone", "eu", "-o", crossing.base / "got", code=10
    )
    assert digest in json.dumps(denied)
    assert not (crossing.base / "got").exists()
    crossing.edit("border:\n", line + "border:\n")
    crossing.json("pull", "churn/1.0.0", "--zone", "eu", "-o", crossing.base / "got")


@pytest.mark.parametrize(
    "entry",
    [
        '{record: "sha256:*", reason: "all of them, please"}',
        '{record: "*", reason: "all of them, please"}',
        '{key: keys/home.pub.pem, reason: "all of its records"}',
        '{record: "sha256:' + "ab" * 32 + '", reason: "-"}',
        '{record: "sha256:' + "ab" * 32 + '"}',
        '{record: "' + "ab" * 32 + '", reason: "a sentence of a length"}',
    ],
)
def test_rule_30_nothing_is_set_aside_by_key_or_pattern(crossing: Crossing, entry: str) -> None:
    crossing.edit("border:\n", f"set-aside: [{entry}]\nborder:\n")
    crossing.json(*ASK, code=3)


def test_rule_30_an_unreadable_record_travels_and_binds_there(crossing: Crossing) -> None:
    digest = plant(crossing, gzip.compress(about(crossing), mtime=0), "x.gz")
    line = f'set-aside: [{{record: "sha256:{digest}", reason: "of the old trainer"}}]\n'
    crossing.edit("border:\n", line + "border:\n")
    crossing.push()
    crossing.edit(line, "")
    pull = ("pull", "churn/1.0.0", "--zone", "eu", "-o", crossing.base / "got")
    assert digest in json.dumps(crossing.json(*pull, code=10))


def test_rule_30_a_base_whose_record_was_set_aside_is_known_only_where_it_is_too(
    crossing: Crossing,
) -> None:
    digest = plant(crossing, about(crossing))
    line = f'set-aside: [{{record: "sha256:{digest}", reason: "the clock of gpu-7 was wrong"}}]\n'
    tuned = crossing.base / "tuned"
    tuned.mkdir()
    (tuned / "w").write_bytes(b"1")
    crossing.json("sign", "tuned", *KEY)
    ask = ("check", "tuned", "--zone", "home", "--to", "eu")
    crossing.edit("border:\n", line + "border:\n")
    crossing.json("record", "tuned", "--dataset", "public", "--base-model", "model", *KEY)
    assert crossing.json(*ask)["allowed"] is True
    crossing.edit(line, "")
    assert "weights-inherit" in json.dumps(crossing.json(*ask, code=10)["denies"])


def test_rule_30_a_base_with_a_record_that_cannot_be_counted_is_unknown(
    crossing: Crossing,
) -> None:
    plant(crossing, about(crossing))
    tuned = crossing.base / "tuned"
    tuned.mkdir()
    (tuned / "w").write_bytes(b"1")
    crossing.json("sign", "tuned", *KEY)
    crossing.json("record", "tuned", "--dataset", "public", "--base-model", "model", *KEY)
    crossing.json("check", "tuned", "--zone", "home", "--to", "eu", code=10)


def test_rule_30_attest_signs_no_draft_of_the_future(crossing: Crossing) -> None:
    statement = Statement(
        subject_name="churn",
        subject_sha256=crossing.manifest,
        predicate_type=PREDICATE_TYPES["provenance"],
        predicate=predicate(finishedOn="2099-01-01T00:00:00Z"),
    )
    folder = attest.evidence_dir(crossing.model)
    attest.add_unsigned(folder, "provenance", statement.payload())
    before = sorted(folder.iterdir())
    error = crossing.json("attest", "model", "--all-unsigned", *KEY, code=11)["error"]
    assert error["reason"] == "from-the-future"
    assert "2099-01-01" in error["why"]
    assert sorted(folder.iterdir()) == before


def test_rule_30_another_zones_record_only_adds(crossing: Crossing) -> None:
    for old in attest.evidence_dir(crossing.model).glob("provenance-*"):
        old.unlink()
    crossing.json("record", "model", "--dataset", "public", "--key", "keys/eu.pem")
    (deny,) = crossing.json(*ASK, code=10)["denies"]
    assert "the record of zone home is missing" in deny["message"]
    crossing.json("record", "model", "--dataset", "public", *KEY)
    assert crossing.json(*ASK)["allowed"] is True


# -- former signers


TRUST = """\
trust:
  - {name: home, key: keys/home.pub.pem, may: [signature, sbom, transfer, decision], from: home}
  - {name: train, key: keys/eu.pub.pem, may: [provenance], from: home}
"""


def trusting(crossing: Crossing, more: str) -> None:
    text = (crossing.base / "sovgate.yaml").read_text().partition("trust:\n")[0]
    (crossing.base / "sovgate.yaml").write_text(text + TRUST + more)


def test_rule_07_a_former_signers_record_counts_if_something_verified_dates_it(
    crossing: Crossing,
) -> None:
    """And where nothing does it neither binds nor counts, and is named."""
    crossing.json("keys", "generate", "sign", "-o", "keys/gone.pem")
    entry = "{name: gone, key: keys/gone.pub.pem, may: [provenance], from: home"
    trusting(crossing, f"  - {entry}}}\n")
    folder = attest.evidence_dir(crossing.model)
    for old in folder.glob("provenance-*"):
        old.unlink()
    crossing.json("record", "model", "--dataset", "kyc", "--key", "keys/gone.pem")
    crossing.json("record", "model", "--dataset", "public", "--key", "keys/eu.pem")
    denied = crossing.json(*ASK, code=10)
    assert [one["dataset"] for one in denied["denies"]] == ["kyc"]
    trusting(crossing, f'  - {entry}, former: true, until: "2098-01-01"}}\n')
    said = crossing.json(*ASK)
    assert "former-signer: nothing shows that gone signed it" in json.dumps(said["rejected"])
    # A decision that was signed while it counted shows how old it is.
    trusting(crossing, f"  - {entry}}}\n")
    crossing.json(*ASK, *KEY, code=10)
    trusting(crossing, f'  - {entry}, former: true, until: "2098-01-01"}}\n')
    assert [one["dataset"] for one in crossing.json(*ASK, code=10)["denies"]] == ["kyc"]
    trusting(crossing, f'  - {entry}, former: true, until: "2001-01-01"}}\n')
    assert crossing.json(*ASK)["allowed"] is True
    # Whoever is taken out without a trace frees nothing: that decision names the record.
    trusting(crossing, "")
    (deny,) = crossing.json(*ASK, code=10)["denies"]
    assert deny["rule"] == "record-required"


@pytest.mark.parametrize(
    "words", ["former: true", 'until: "2026-01-01"', 'former: true, until: "soon"', "former: yes"]
)
def test_a_former_signer_has_an_end(crossing: Crossing, words: str) -> None:
    trusting(crossing, f"  - {{name: x, key: keys/eu.pub.pem, may: [sbom], {words}}}\n")
    crossing.json(*ASK, code=3)


def test_rule_07_a_former_signer_signs_nothing_else(crossing: Crossing) -> None:
    text = TRUST.replace("from: home}", 'from: home, former: true, until: "2098-01-01"}', 1)
    whole = (crossing.base / "sovgate.yaml").read_text()
    (crossing.base / "sovgate.yaml").write_text(whole + text)
    assert crossing.json("verify", "model", code=11)["error"]["reason"] == "wrong-signer"


def test_a_large_file_binds_and_does_not_travel(crossing: Crossing) -> None:
    path = attest.evidence_dir(crossing.model) / "provenance-large.sigstore.json"
    with path.open("wb") as file:
        file.truncate(strict.MAX_BYTES + 1)
    (deny,) = crossing.json(*ASK, code=10)["denies"]
    assert "limits" in deny["message"]
    unread = replace(raw(b""), unread="limits: it is larger")
    assert may_bind(unread, MODEL)


@pytest.mark.parametrize(
    ("data", "name", "travels"),
    [
        (b"junk", "provenance-a.sigstore.json", True),
        (b"", "notes.sigstore.json", True),
        (sealed(kind=PREDICATE_TYPES["sbom"]).replace(b"cyclonedx", b"elsewhere"), "s.txt", False),
    ],
    ids=["unreadable", "empty", "no bundle"],
)
def test_rule_30_encrypt_takes_the_same_files_along_as_push(
    crossing: Crossing, data: bytes, name: str, travels: bool
) -> None:
    digest = plant(crossing, data, name)
    line = f'set-aside: [{{record: "sha256:{digest}", reason: "of the old trainer"}}]\n'
    crossing.edit("border:\n", line + "border:\n")
    crossing.push()
    words = ("encrypt", "model", "--to", "eu", "--zone", "home", "--release", "churn/1.0.0")
    crossing.json(*words, "-o", "out")
    copy = json.loads((crossing.base / "out/eu/sealed.json").read_bytes())
    pushed = json.loads(crossing.store.get("releases/churn/1.0.0.json", most=10**6))
    sent = json.loads(base64.b64decode(pushed["dsseEnvelope"]["payload"]))["predicate"]
    for evidence in (copy["evidence"], sent["evidence"]):
        assert (digest in [one["sha256"] for one in evidence]) is travels


def test_a_large_file_is_told_alike_by_encrypt_and_push(crossing: Crossing) -> None:
    path = attest.evidence_dir(crossing.model) / "provenance-large.sigstore.json"
    with path.open("wb") as file:
        file.truncate(strict.MAX_BYTES + 1)
    words = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    told = [
        crossing.json(*verb, "model", *words, code=11)["error"]
        for verb in (("push",), ("encrypt", "-o", "out"))
    ]
    assert told[0] == told[1]
    assert "too large to travel" in told[0]["what"]
