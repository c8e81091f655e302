"""Ancestry: demands travel from data to weights, and doubt denies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sovgate import strict
from sovgate.errors import ConfigError, Malformed
from sovgate.formats import provenance
from sovgate.formats.provenance import BaseModel, RecordedDataset, TrainingRecord
from sovgate.stages.record import NONE, UNKNOWN, DatasetFacts, Demand, ancestry, recorded

EU = RecordedDataset(
    name="kyc-eu",
    category="personal",
    stays_in=(("EU",),),
    pointer="s3://kyc",
    manifest_sha256="ab" * 32,
    commitment="cd" * 32,
)
RECORD = TrainingRecord(
    datasets=(EU,),
    commit="0" * 40,
    parameters={"epochs": "3"},
    metrics={"auc": "0.91"},
    finished=datetime(2026, 11, 24, tzinfo=UTC),
)
FACTS = DatasetFacts(
    name="kyc-eu",
    category="personal",
    lifts=("dp",),
    pointer=None,
    manifest_sha256=None,
    demands=(Demand(places=("DE", "FR"), where="sovgate.yaml:17"),),
    commitment=None,
)


def test_no_record_and_an_empty_record_are_unknown() -> None:
    assert ancestry(None, {}) == (UNKNOWN,)
    assert ancestry(replace(RECORD, datasets=()), {}) == (UNKNOWN,)


def test_the_record_and_the_project_both_demand() -> None:
    found = ancestry(RECORD, {"kyc-eu": FACTS})
    assert [a.stays_in for a in found] == [("EU",), ("DE", "FR")]
    assert [a.where for a in found] == ["its training record", "sovgate.yaml:17"]


def test_everybody_who_makes_a_demand_is_named() -> None:
    """Or a person changes one line, and is refused by the next."""
    same = replace(
        FACTS,
        demands=(
            Demand(places=("EU",), where="sovgate.yaml:17"),
            Demand(places=("EU",), where="d.yaml:5"),
        ),
    )
    (one,) = ancestry(RECORD, {"kyc-eu": same})
    assert one.where == "d.yaml:5 and its training record and sovgate.yaml:17"


def test_neither_word_loosens_the_other() -> None:
    free = replace(FACTS, demands=())
    assert [a.stays_in for a in ancestry(RECORD, {"kyc-eu": free})] == [("EU",)]
    unknown = replace(FACTS, demands=(Demand(places=None, where="x"),))
    assert None in [a.stays_in for a in ancestry(RECORD, {"kyc-eu": unknown})]
    forgetful = replace(RECORD, datasets=(replace(EU, stays_in=None),))
    assert None in [a.stays_in for a in ancestry(forgetful, {"kyc-eu": free})]


def test_only_the_deciding_project_lifts() -> None:
    """A record cannot bring its own way out."""
    assert [a.lifts for a in ancestry(RECORD, {})] == [()]


@pytest.mark.parametrize(
    ("recorded", "declared", "counts"),
    [
        ("personal", "public", None),
        ("public", "personal", None),
        (None, None, None),
        ("personal", "personal", "personal"),
        ("personal", None, "personal"),
        (None, "personal", "personal"),
    ],
)
def test_rule_18_neither_word_loosens_the_category(
    recorded: str | None, declared: str | None, counts: str | None
) -> None:
    """Where record and project call a data set by different words its category is unknown."""
    dataset = replace(RECORD.datasets[0], category=recorded)
    facts = {dataset.name: replace(FACTS, name=dataset.name, category=declared)}
    found = ancestry(replace(RECORD, datasets=(dataset,)), facts)
    assert {a.category for a in found} == {counts}


def test_a_base_model_named_without_its_data_is_unknown() -> None:
    found = ancestry(replace(RECORD, base_models=(BaseModel(name="b", manifest="ef" * 32),)), {})
    assert found[-1].kind == "base-model"
    assert found[-1].stays_in is None


def test_no_data_set_at_all_is_an_explicit_claim() -> None:
    found = ancestry(replace(RECORD, datasets=(NONE,)), {})
    assert [(a.name, a.stays_in) for a in found] == [("none", ())]


def test_a_record_reads_back() -> None:
    data = strict.canonical(RECORD.predicate())
    assert provenance.parse(strict.loads(data)) == RECORD


def test_a_data_set_that_is_not_declared_is_named_with_the_likely_one() -> None:
    with pytest.raises(ConfigError, match="no data set 'kyc-ue'") as caught:
        recorded(["kyc-ue"], {"kyc-eu": FACTS})
    assert "kyc-eu" in str(caught.value.fix)


def removals(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    if isinstance(value, dict):
        for key, below in value.items():
            found += [(*path, key), *removals(below, (*path, key))]
    elif isinstance(value, list):
        for index, below in enumerate(value):
            found += removals(below, (*path, index))
    return found


@pytest.mark.parametrize("path", removals(RECORD.predicate()), ids=str)
def test_a_record_without_a_field_is_refused_or_no_freer(path: tuple[object, ...]) -> None:
    predicate = strict.loads(strict.canonical(RECORD.predicate()))
    holder = predicate
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    try:
        found = ancestry(provenance.parse(predicate), {})
    except Malformed:
        return
    assert [a.stays_in for a in found] == [("EU",)]


@pytest.mark.parametrize(
    ("change"),
    [
        lambda p: p["buildDefinition"].update(buildType="https://example.org/build"),
        lambda p: p["buildDefinition"]["externalParameters"].update(datasets=[]),
        lambda p: p["buildDefinition"]["resolvedDependencies"].pop(0),
        lambda p: p["buildDefinition"]["resolvedDependencies"].append(
            p["buildDefinition"]["resolvedDependencies"][0]
        ),
        lambda p: p["buildDefinition"]["resolvedDependencies"][0]["annotations"].update(
            staysIn=[[]]
        ),
        lambda p: p["buildDefinition"]["resolvedDependencies"][0]["annotations"].update(
            staysIn="EU"
        ),
        lambda p: p.update(extra=1),
    ],
)
def test_a_record_that_says_two_things_is_refused(change: object) -> None:
    predicate = strict.loads(strict.canonical(RECORD.predicate()))
    change(predicate)  # type: ignore[operator]
    with pytest.raises(Malformed):
        provenance.parse(predicate)
