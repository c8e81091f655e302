"""Demands travel from data to base to fine-tuned weights: all of them, and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import ConfigError, Malformed
from sovgate.formats import provenance, trainingfile
from sovgate.formats.provenance import BaseModel, Environment, RecordedDataset, TrainingRecord
from sovgate.stages.record import (
    NONE,
    Ancestor,
    DatasetFacts,
    Demand,
    ancestry,
    flattened,
    recorded,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAMES = ("a", "b", "c", "d")
PLACES = st.sampled_from([("EU",), ("US",), ("DE", "FR"), ("CH",)])
DEMANDS = st.lists(st.none() | PLACES, max_size=3, unique=True)


def facts(name: str, demands: list[tuple[str, ...] | None], commitment: str | None) -> DatasetFacts:
    return DatasetFacts(
        name=name,
        category="personal",
        lifts=(),
        pointer=None,
        manifest_sha256=None,
        demands=tuple(Demand(places=p, where=f"sovgate.yaml:{i}") for i, p in enumerate(demands)),
        commitment=commitment,
    )


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, DatasetFacts]:
    commitments = st.none() | st.sampled_from(["ab" * 32, "cd" * 32])
    return {name: facts(name, draw(DEMANDS), draw(commitments)) for name in NAMES}


def trained(datasets: tuple[RecordedDataset, ...], *bases: BaseModel) -> TrainingRecord:
    return TrainingRecord(datasets=datasets, base_models=bases, finished=NOW)


def tune(own: list[str], world: dict[str, DatasetFacts], *bases: TrainingRecord) -> TrainingRecord:
    """A model made from others, as `record` writes it down."""
    mine = tuple(recorded(own, world)) if own else (NONE,)
    entries = tuple(
        BaseModel(name=f"base{i}", manifest="ef" * 32, records=(f"{i:064x}",))
        for i in range(len(bases))
    )
    behind = tuple(one for base in bases for one in base.base_models)
    return trained(flattened(mine, bases, world), *entries, *behind)


def demands(found: tuple[Ancestor, ...]) -> set[tuple[str, object]]:
    """What binds: (data set, places), with None for unknown; free ones bind nothing."""
    return {(one.name, one.stays_in) for one in found if one.stays_in != ()}


def as_an_unknown_denies(pairs: set[tuple[str, object]]) -> set[tuple[str, object]]:
    """A data set of which anything is unknown goes nowhere, whatever else is said of it."""
    lost = {name for name, places in pairs if places is None}
    return {pair for pair in pairs if pair[0] not in lost} | {(name, None) for name in lost}


SUBSETS = st.lists(st.sampled_from(NAMES), max_size=4, unique=True)


@given(worlds(), SUBSETS, SUBSETS, SUBSETS)
def test_demands_of_a_chain_are_exactly_the_union(
    world: dict[str, DatasetFacts], first: list[str], second: list[str], third: list[str]
) -> None:
    base = tune(first, world)
    middle = tune(second, world, base)
    tuned = tune(third, world, middle)
    read_back = provenance.parse(strict.loads(strict.canonical(tuned.predicate())))
    assert read_back == tuned
    every = {*first, *second, *third}
    expected = {(name, demand.places) for name in every for demand in world[name].demands}
    # Judged by whoever made it, and by a zone that never heard of these data sets.
    for judge in (world, {}):
        found = demands(ancestry(tuned, judge))
        assert as_an_unknown_denies(found) == as_an_unknown_denies(expected)
    assert {d.name for d in tuned.datasets} == (every or {"none"})


@given(worlds(), SUBSETS, SUBSETS)
def test_two_bases_bind_both(
    world: dict[str, DatasetFacts], first: list[str], second: list[str]
) -> None:
    tuned = tune([], world, tune(first, world), tune(second, world))
    expected = {(name, d.places) for name in {*first, *second} for d in world[name].demands}
    assert as_an_unknown_denies(demands(ancestry(tuned, {}))) == as_an_unknown_denies(expected)


def test_a_base_without_a_record_stays_unknown_through_the_chain() -> None:
    world = {name: facts(name, [("EU",)], None) for name in NAMES}
    stranger = trained((NONE,), BaseModel(name="found-on-the-net", manifest="ab" * 32))
    tuned = tune(["a"], world, tune(["b"], world, stranger))
    unknown = [one for one in ancestry(tuned, {}) if one.kind == "base-model"]
    assert [(one.name, one.stays_in) for one in unknown] == [("found-on-the-net", None)]


def test_a_later_word_of_the_project_binds_what_its_base_was_trained_on() -> None:
    before = {"a": facts("a", [("EU",)], None)}
    later = {"a": facts("a", [("DE", "FR")], None), "b": facts("b", [], None)}
    tuned = tune(["b"], later, tune(["a"], before))
    assert demands(ancestry(tuned, {})) == {("a", ("EU",)), ("a", ("DE", "FR"))}


def test_both_states_of_a_data_set_are_kept() -> None:
    """Or a lawyer's word on the newer one would cover the older one unseen."""
    before = {"a": facts("a", [("EU",)], "ab" * 32)}
    later = {"a": facts("a", [("EU",)], "cd" * 32)}
    tuned = tune(["a"], later, tune(["a"], before))
    assert [one.commitment for one in ancestry(tuned, {})] == ["cd" * 32, "ab" * 32]
    again = tune(["a"], later, tuned)
    assert [one.commitment for one in ancestry(again, {})] == ["cd" * 32, "ab" * 32]


def test_a_category_that_two_records_tell_differently_is_neither() -> None:
    """And stays so, whatever the project calls it today."""
    one = RecordedDataset(
        name="a",
        category="public",
        stays_in=(),
        pointer=None,
        manifest_sha256=None,
        commitment=None,
    )
    other = replace(one, category="personal")
    both = flattened((one,), [trained((other,))], {})
    assert both[0].category == "personal or public"
    assert flattened((one,), [trained(both)], {})[0].category == "personal or public"
    today = DatasetFacts(
        name="a",
        category="public",
        demands=(),
        lifts=(),
        pointer=None,
        manifest_sha256=None,
        commitment=None,
    )
    assert [a.category for a in ancestry(trained(both), {"a": today})] == [None]
    silent = replace(one, category=None)
    assert flattened((one,), [trained((silent,))], {})[0].category == "public"


ENVIRONMENT = Environment(python="3.11.7", packages={"numpy": "2.4.6"})
FULL = TrainingRecord(
    datasets=(
        RecordedDataset(
            name="a",
            category="personal",
            stays_in=(("EU",),),
            pointer="s3://a",
            manifest_sha256="ab" * 32,
            commitment="cd" * 32,
            earlier=(None, "ef" * 32),
        ),
    ),
    base_models=(BaseModel(name="b", manifest="12" * 32, records=("34" * 32,)),),
    commit="0" * 40,
    parameters={"epochs": "3"},
    metrics={"auc": "0.9"},
    environment=ENVIRONMENT,
    finished=NOW,
)


def test_a_full_record_reads_back() -> None:
    assert provenance.parse(strict.loads(strict.canonical(FULL.predicate()))) == FULL


@pytest.mark.parametrize("records", [None, [], "34", ["34"], [1], [None]], ids=str)
def test_a_base_whose_record_is_not_named_is_unknown_or_refused(records: object) -> None:
    predicate = strict.loads(strict.canonical(FULL.predicate()))
    base = predicate["buildDefinition"]["resolvedDependencies"][1]
    if records is None:
        del base["annotations"]
    else:
        base["annotations"]["records"] = records
    try:
        found = ancestry(provenance.parse(predicate), {})
    except Malformed:
        return
    assert [one.stays_in for one in found if one.kind == "base-model"] == [None]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["buildDefinition"]["internalParameters"].update(secret="x"),
        lambda p: p["buildDefinition"]["internalParameters"]["environment"].update(path="/home"),
        lambda p: p["buildDefinition"]["internalParameters"]["environment"].update(packages=[]),
        lambda p: p["buildDefinition"]["internalParameters"]["environment"]["packages"].update(a=1),
        lambda p: p["buildDefinition"]["resolvedDependencies"][0]["annotations"].update(
            earlierCommitments=["zz"]
        ),
        lambda p: p["buildDefinition"]["resolvedDependencies"][1]["annotations"].update(extra=1),
    ],
)
def test_a_record_with_strange_fields_is_refused(change: object) -> None:
    predicate = strict.loads(strict.canonical(FULL.predicate()))
    change(predicate)  # type: ignore[operator]
    with pytest.raises(Malformed):
        provenance.parse(predicate)


def test_a_training_file_comes_out_flat_and_as_written() -> None:
    found = trainingfile.parse(
        b"""
datasets: [kyc-eu]
base-models: [../base]
commit: "0000000000000000000000000000000000000000"
parameters: {epochs: 3, optimizer: {name: adam, lr: 1.50e-3}, layers: [64, 32], amp: true}
metrics: {auc: 0.930}
environment: {python: "3.11", packages: {numpy: 2.4.6, x: 1}}
""",
        "run.yaml",
    )
    assert found.parameters == {
        "epochs": "3",
        "optimizer.name": "adam",
        "optimizer.lr": "1.50e-3",
        "layers": "[64, 32]",
        "amp": "true",
    }
    assert found.metrics == {"auc": "0.930"}
    assert found.environment == Environment(python="3.11", packages={"numpy": "2.4.6", "x": "1"})
    assert trainingfile.parse(b'{"metrics": {"auc": 0.93}}', "run.json").metrics == {"auc": "0.93"}


@pytest.mark.parametrize(
    "text",
    [
        "parameter: {a: 1}",
        "parameters: [1]",
        "parameters: {a: null}",
        "parameters: {a: [[1]]}",
        "parameters: {a: .nan}",
        "parameters: {ü: 1}",
        "parameters: {a: {b: 1}, a.b: 2}",
        "parameters: {a: 1, a: 2}",
        "environment: {python: '3', packages: {}, path: /home}",
        "metrics: {a: '" + "x" * 5000 + "'}",
    ],
)
def test_a_training_file_that_is_unclear_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trainingfile.parse(text.encode(), "run.yaml")
    assert caught.value.where is not None
    assert caught.value.where.line == 1
