"""Evidence sorted for a case, the case built from a project, and the decision as a statement."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sovgate import strict
from sovgate.engines.regorus import Regorus
from sovgate.errors import EngineError, Inconclusive, InternalError, Malformed, VerificationFailed
from sovgate.formats import case as cases
from sovgate.formats.decision import (
    EXTENSION,
    Decision,
    decision_statement,
    parse_decision,
    parse_where,
)
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.oms import Oms
from sovgate.formats.provenance import RecordedDataset, TrainingRecord
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.testresult import EXTENSION as GATE
from sovgate.formats.testresult import Measure, Pins, TestResult
from sovgate.gates import regression
from sovgate.pipeline.decide.case import Known, Question, build_case
from sovgate.pipeline.decide.contents import CLEAN
from sovgate.pipeline.decide.evidence import Sorted, decimal, sort_evidence
from sovgate.pipeline.decide.judge import Judged, clock
from sovgate.pipeline.decide.judge import judge as ask_policy
from sovgate.pipeline.project import Project, open_project
from sovgate.records import Release
from sovgate.stages.attest import RawEvidence
from sovgate.stages.policy import decide as judge
from sovgate.stages.seal import seal
from sovgate.stores._api import Location
from tests.effort import examples
from tests.policies import case_of, golden, policies
from tests.signers import KeySigner

US, EU, STRANGER = KeySigner(), KeySigner(), KeySigner()
MANIFEST = Manifest(kind="file", resources=(Resource(name=".", size=1, digest="a" * 64),))
OTHER = Manifest(kind="file", resources=(Resource(name=".", size=2, digest="a" * 64),))
NOW = 1_795_492_800
RELEASE = Release(model="kyc-risk", version="1.0.0")
FILE = """\
version: 1
model: kyc-risk
zones:
  us-train: {region: "aws:us-east-1", keys: {sign: "file:us.pem"}}
  eu: {region: "aws-eusc:eusc-de-east-1", require: api, keys: {sign: "file:eu.pem"}}
datasets:
  open: {category: public, stays-in: []}
  kyc-eu: {category: personal, stays-in: [EU], lifts: [regression]}
border:
  weights: {allow: [us-train -> eu]}
  activations: {allow: [eu -> us-train]}
classes: [activations]
gates:
  accuracy: {at-least: 0.90, before: deploy}
  regression: {at-most: 0.9, before: observe, test-set: "PIN", baseline: "PIN"}
policy: {presets: [eu-personal-data]}
""".replace("PIN", "sha256:" + "ab" * 32)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "sovgate.yaml").write_text(FILE)
    for name, signer in (("us", US), ("eu", EU)):
        (tmp_path / f"{name}.pem").touch(mode=0o600)
        (tmp_path / f"{name}.pem").write_bytes(signer.private_pem)
    return open_project(tmp_path)


def raw(
    role: str, predicate: object, *, signer: KeySigner = US, manifest: Manifest = MANIFEST
) -> RawEvidence:
    statement = Statement(
        subject_name="kyc-risk",
        subject_sha256=manifest.digest,
        predicate_type=PREDICATE_TYPES[role],
        predicate=predicate,  # type: ignore[arg-type]
    )
    return named(f"{role}.sigstore.json", seal(statement, signer))


def named(name: str, data: bytes) -> RawEvidence:
    import hashlib

    return RawEvidence(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())


def signature(manifest: Manifest = MANIFEST, signer: KeySigner = US) -> RawEvidence:
    statement = Oms.of(manifest, subject_name="kyc-risk").statement()
    return named("signature.sigstore.json", seal(statement, signer))


def record(*names: str, signer: KeySigner = US, manifest: Manifest = MANIFEST) -> RawEvidence:
    places = {"open": (), "kyc-eu": (("EU",),)}
    categories = {"open": "public", "kyc-eu": "personal"}
    training = TrainingRecord(
        datasets=tuple(
            RecordedDataset(
                name=name,
                category=categories[name],
                stays_in=places[name],
                pointer=None,
                manifest_sha256=None,
                commitment=None,
            )
            for name in names
        ),
        finished=datetime.fromtimestamp(NOW, UTC),
    )
    return raw("provenance", training.predicate(), signer=signer, manifest=manifest)


def gate(**ours: object) -> RawEvidence:
    counted = Measure(
        metric="accuracy-drop", n=100, confidence="0.95", counts={"lost": 20, "won": 0}
    )
    result = TestResult(
        gate="regression",
        measure=regression.again(counted),
        bound="at-most",
        threshold="0.90",
        inputs={},
        pins=Pins(test_set="ab" * 32, baseline="ab" * 32),
    )
    predicate = result.predicate()
    predicate[GATE].update(ours)
    return raw("gate", predicate)


def sort(*raws: RawEvidence, release: Release | None = RELEASE, **options: object) -> Sorted:
    trusted = options.pop("trusted", (US.trusted(name="us"), EU.trusted("gate", name="eu")))
    return sort_evidence(
        raws, trusted=trusted, manifest=MANIFEST.digest, release=release, now=NOW, **options
    )  # type: ignore[arg-type]


def why(*raws: RawEvidence, **options: object) -> str:
    found = sort(*raws, **options)
    assert not found.evidence
    (item,) = found.rejected
    return item.reason


def test_trusted_evidence_counts() -> None:
    found = sort(signature(), record("open"), gate())
    assert [item.role for item in found.evidence] == ["gate", "provenance", "signature"]
    assert {item.manifest for item in found.evidence} == {MANIFEST.digest}
    assert found.evidence[0].gate == "regression"
    assert (found.evidence[0].result, found.evidence[0].threshold) == ("pass", "<=0.9")
    assert [one.datasets[0].name for one in found.records] == ["open"]
    assert found.rejected == ()


def test_rule_06_evidence_of_another_model_counts_for_nothing() -> None:
    assert why(record("open", manifest=OTHER)).startswith("other-model")
    assert why(signature(OTHER)).startswith("other-model")


def test_rule_06_a_role_that_its_signer_lacks_counts_for_nothing() -> None:
    assert why(record("open", signer=EU)).startswith("untrusted-role")
    assert why(signature(signer=EU)).startswith("untrusted-role")


def test_a_strangers_word_counts_for_nothing() -> None:
    assert why(record("open", signer=STRANGER)).startswith("wrong-signer")
    assert why(signature(), trusted=()).startswith("wrong-signer")


def test_rule_03_damaged_and_ill_formed_evidence_counts_for_nothing() -> None:
    good = record("open")
    assert why(named("x", good.data[:-10]))
    assert why(named("x", b"{}"))
    assert why(raw("provenance", {"buildDefinition": {}})).startswith("malformed")
    assert why(raw("gate", {"result": "PASSED", GATE: {}})).startswith("malformed")
    assert why(raw("gate", {"result": "PASSED"})).startswith("unnamed")
    assert why(gate(threshold="1e999999")).startswith("malformed")
    assert why(gate(threshold="0.05")).startswith("malformed")  # its own numbers say otherwise
    assert why(raw("legal", {"dataset": "kyc-eu"})).startswith("malformed")


def test_evidence_of_another_release_counts_for_nothing() -> None:
    word = {
        "dataset": "kyc-eu",
        "commitment": "c" * 64,
        "zone": "eu",
        "release": "kyc-risk/0.9.0",
        "statement": "it may",
        "until": None,
    }
    assert why(raw("legal", word)).startswith("other-release")
    assert sort(raw("legal", word), release=None).evidence[0].about_zone == "eu"


def test_a_record_from_the_future_counts_for_nothing() -> None:
    late = sort_evidence(
        [record("open")],
        trusted=[US.trusted()],
        manifest=MANIFEST.digest,
        release=None,
        now=NOW - 3600,
    )
    assert late.rejected[0].reason.startswith("from-the-future")


def test_a_signature_that_tells_no_sizes_needs_the_files() -> None:
    oms = Oms.of(MANIFEST, subject_name="kyc-risk").statement()
    for resource in oms.predicate["resources"]:
        del resource["size"]
    bare = named("signature.sigstore.json", seal(oms, US))
    assert why(bare).startswith("unsized")
    assert sort(bare, signature=bare.sha256).evidence[0].role == "signature"


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-9999, max_value=9999)
)
def test_a_number_has_one_spelling(number: object) -> None:
    spelled = decimal(str(number))
    assert spelled is not None
    assert decimal(spelled) == spelled
    assert decimal(spelled + ("0" if "." in spelled else ".0")) == spelled


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e500", "1" * 65])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decimal(text)


_junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.text("aß\x00/:.-", max_size=4),
        st.sampled_from(["PASSED", "kyc-eu", "eu", "kyc-risk/1", "0.9", "Zone!", "x" * 999]),
    ),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "result",
                    "dataset",
                    "commitment",
                    "zone",
                    "release",
                    "gate",
                    "threshold",
                    GATE,
                    EXTENSION,
                    "buildDefinition",
                ]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=8,
)


DEPLOY = Question(
    action="deploy",
    cls="weights",
    manifest=MANIFEST.digest,
    release=RELEASE,
    source="eu",
    destination="eu",
)


def nothing_known(project: Project) -> Known:
    return Known(trusted=project.trusted(), evidence=())


@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_a_trusted_signer_says_makes_a_valid_case_or_is_rejected(
    project: Project, data: st.DataObject
) -> None:
    roles = [role for role in PREDICATE_TYPES if role not in ("signature", "sbom")]
    raws = []
    for role in data.draw(st.lists(st.sampled_from(roles), min_size=1, max_size=3)):
        predicate = data.draw(
            st.dictionaries(
                st.sampled_from(
                    ["result", "dataset", "commitment", "zone", "release", GATE, EXTENSION]
                ),
                _junk,
                max_size=5,
            )
        )
        raws.append(raw(role, predicate))
    found = sort(*raws, release=data.draw(st.sampled_from([None, RELEASE])))
    assert len(found.evidence) + len(found.rejected) == len(raws)
    case = build_case(project, DEPLOY, nothing_known(project), found, now=NOW)
    cases.check(case.json())


def test_a_flood_of_rejected_evidence_stops_no_decision(project: Project) -> None:
    flood = [named(f"x{number}", b"{}") for number in range(1100)]
    assert len(sort(*flood).rejected) == 1000
    assert ask(project, signature(), record("open"), *flood).allowed


# The case of a project.


def ask(project: Project, *raws: RawEvidence, **changes: object) -> Decision:
    place = Location(value="aws-eusc:eusc-de-east-1", grade=2, source="GetBucketLocation")
    asked: dict[str, object] = {
        "action": "transfer",
        "cls": "weights",
        "manifest": MANIFEST.digest,
        "release": RELEASE,
        "source": "us-train",
        "destination": "eu",
    }
    known: dict[str, object] = {
        "trusted": project.trusted(),
        "evidence": raws,
        "contents": CLEAN,
        "locations": {"eu": place},
    }
    now = changes.pop("now", NOW)
    for name, value in changes.items():
        (asked if name in asked else known)[name] = value
    question, facts = Question(**asked), Known(**known)  # type: ignore[arg-type]
    return ask_policy(project, [question], facts, now=now).first  # type: ignore[arg-type]


def test_a_judgement_about_nothing_is_none(project: Project) -> None:
    """Nothing was denied, so it would pass for allowed."""
    with pytest.raises(EngineError):
        ask_policy(project, [], nothing_known(project))
    with pytest.raises(EngineError):
        Judged(decisions=(), locations={})


def test_a_transfer_is_allowed_by_the_line_of_border(project: Project) -> None:
    decision = ask(project, signature(), record("open"))
    assert decision.allowed
    assert [(permit.id, permit.where) for permit in decision.permits] == [
        ("border", "sovgate.yaml:10")
    ]
    assert decision.case.project.sha256 == project.digest
    assert decision.case.project.gates[0].threshold == ">=0.9"
    assert decision.case.project.classes == ("activations",)
    assert decision.case.destination.groups[0] == "DE"


def test_two_records_bind_by_both(project: Project) -> None:
    """Another record cannot loosen the first: what either names is behind the model."""
    back = {"source": "eu", "destination": "us-train", "locations": {}, "cls": "activations"}
    assert ask(project, signature(), record("open"), **back).allowed
    records = (record("open"), record("kyc-eu"))
    both = ask(project, signature(), *records, **back)
    assert [(deny.rule, deny.dataset, deny.where) for deny in both.denies] == [
        ("weights-inherit", "kyc-eu", "its training record and sovgate.yaml:8")
    ]
    assert both.denies[0].fix is not None
    assert both.denies[0].fix.startswith("pass the gate regression")
    # A third record beside these would free it of nothing: both are named, to be taken away.
    assert all(f"provenance-{raw.sha256[:16]}" in both.denies[0].fix for raw in records)
    assert ask(project, signature(), record("open"), record("kyc-eu"), gate(), **back).allowed


def test_without_a_trusted_record_it_derives_from_unknown(project: Project) -> None:
    for raws in ((), (record("open", signer=STRANGER),), (record("open", manifest=OTHER),)):
        decision = ask(project, signature(), *raws)
        assert [deny.rule for deny in decision.denies] == ["record-required"]
        assert decision.case.subject.derived_from[0].kind == "unknown"


def test_rule_15_absent_location_denies(project: Project) -> None:
    for found in (
        None,
        Location(value=None, grade=0, source="x"),
        Location(value="aws-eusc:eusc-de-east-1", grade=1, source="x"),
        Location(value="weird region!", grade=3, source="x"),
    ):
        decision = ask(project, signature(), record("open"), locations={"eu": found})
        assert [deny.rule for deny in decision.denies] == ["location-known"]
        assert decision.denies[0].where == "sovgate.yaml:5"


def test_rule_17_metadata_is_judged_too(project: Project) -> None:
    decision = ask(project, signature(), record("open"), cls="metadata")
    assert [deny.rule for deny in decision.denies] == ["border"]
    assert decision.denies[0].where == "sovgate.yaml:9"


def test_rule_19_a_clock_before_its_time_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    with pytest.raises(Inconclusive) as caught:
        clock()
    assert (caught.value.exit_code, caught.value.reason) == (14, "clock")
    assert "1970-01-01" in str(caught.value.why)
    assert "after 20" in str(caught.value.why)


def test_rule_19_source_date_epoch_moves_no_decision(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    before = int(time.time())
    assert before <= ask(project, now=None).time <= time.time()


def test_a_case_of_a_project_is_valid_and_complete(project: Project) -> None:
    case = build_case(
        project,
        DEPLOY,
        nothing_known(project),
        sort(signature(), record("open", "kyc-eu"), gate()),
        now=NOW,
    )
    value = case.json()
    assert strict.loads_canonical(cases.check(value)) == value
    assert case_of(value) == case
    assert value["project"]["lines"]["zones.eu"] == "sovgate.yaml:5"


# The decision as a statement.


def made(allowed: bool = True) -> Decision:
    one = next(g for g in golden() if g.allowed is allowed)
    return judge(case_of(one.case), policies(), Regorus())


@pytest.mark.parametrize("allowed", [True, False])
def test_a_decision_is_read_back_as_it_was_said(allowed: bool) -> None:
    decision = made(allowed)
    statement = Statement.parse(decision_statement(decision).payload())
    read = parse_decision(statement)
    assert read.passed is allowed
    assert (read.action, read.cls) == (decision.case.action, "weights")
    assert (read.source, read.destination) == (
        decision.case.source.zone,
        decision.case.destination.zone,
    )
    assert read.digests.case == decision.basis.case_sha256
    assert read.digests.policy == decision.basis.policy_sha256
    assert (read.expires - read.time).total_seconds() == 900
    assert statement.predicate["verificationResult"] == ("PASSED" if allowed else "FAILED")


@pytest.mark.parametrize(
    "change",
    [
        {"verificationResult": "FINE"},
        {"resourceUri": "sovgate:kyc-risk/2.0.0@sha256:" + "0" * 64},
        {"extra": 1},
        {EXTENSION: {"expires": "2026-12-24T04:00:00Z"}},
        {EXTENSION: {"expires": "2026-11-24T03:00:00Z"}},
        {EXTENSION: {"rules": []}},
        {EXTENSION: {"rules": [{"id": "x", "answer": "deny", "message": None}]}},
        {EXTENSION: {"rules": [{"id": "x", "answer": "none", "message": None}]}},
        {EXTENSION: {"surprise": True}},
        {EXTENSION: {"case": {"sha256": "nope"}}},
    ],
)
def test_a_decision_that_contradicts_itself_is_malformed(change: dict[str, object]) -> None:
    statement = decision_statement(made())
    predicate = json.loads(json.dumps(statement.predicate))
    for key, value in change.items():
        if isinstance(value, dict):
            predicate[key].update(value)
        else:
            predicate[key] = value
    with pytest.raises(VerificationFailed):
        parse_decision(dataclasses.replace(statement, predicate=predicate))


def test_an_expired_decision_and_one_of_another_release_are_rejected() -> None:
    decision = made()
    manifest = decision.case.subject.manifest
    statement = decision_statement(decision)
    raws = [named("decision.sigstore.json", seal(statement, US))]

    def reasons(now: int, release: Release) -> list[str]:
        found = sort_evidence(
            raws, trusted=[US.trusted()], manifest=manifest, release=release, now=now
        )
        return [item.reason.partition(":")[0] for item in found.rejected]

    assert reasons(decision.time + 900, RELEASE) == []
    assert reasons(decision.time + 901, RELEASE) == ["expired"]
    assert reasons(decision.time, Release(model="kyc-risk", version="2")) == ["other-release"]
    assert reasons(decision.time - 3600, RELEASE) == ["from-the-future"]


def test_what_has_no_manifest_has_no_statement() -> None:
    value = json.loads(json.dumps(golden()[0].case))
    value["subject"].update({"manifest": None, "class": "telemetry"})
    value["evidence"] = []
    with pytest.raises(InternalError):
        decision_statement(judge(case_of(value), policies(), Regorus()))


@pytest.mark.parametrize(
    ("text", "path", "line", "column"),
    [
        ("sovgate.yaml:17", "sovgate.yaml", 17, None),
        ("a:b.yaml:3:9", "a:b.yaml", 3, 9),
        ("its training record and sovgate.yaml:17", "sovgate.yaml", 17, None),
    ],
)
def test_places_are_read(text: str, path: str, line: int | None, column: int | None) -> None:
    where = parse_where(text)
    assert where is not None
    assert (where.path, where.line, where.column) == (path, line, column)


@pytest.mark.parametrize("text", [None, "", "its training record"])
def test_what_names_no_line_is_no_place(text: str | None) -> None:
    assert parse_where(text) is None
