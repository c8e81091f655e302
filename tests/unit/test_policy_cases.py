"""The decision on hand-made cases: what is allowed, what is denied, by which rules, how said."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovgate.engines.regorus import Regorus
from sovgate.errors import EngineError, ExitCode, PolicyDenied
from sovgate.formats import case as cases
from sovgate.formats import schema
from sovgate.stages.policy import decide
from tests.effort import examples, some
from tests.policies import (
    ALL_PRESETS,
    JSON,
    Golden,
    allows,
    case_of,
    fields_of,
    golden,
    policies,
    without,
)

ENGINE = Regorus()
NAMES = [one.name for one in golden()]


@pytest.mark.parametrize("one", golden(), ids=NAMES)
def test_golden_case(one: Golden) -> None:
    decision = decide(case_of(one.case), policies(*one.presets), ENGINE)
    assert decision.allowed is one.allowed
    assert sorted({deny.rule for deny in decision.denies}) == sorted(one.rules)
    assert tuple(permit.id for permit in decision.permits) == one.permits
    assert not decision.unanswered
    assert decision.exit == (ExitCode.OK if one.allowed else ExitCode.DENIED)


@pytest.mark.parametrize("one", golden(), ids=NAMES)
def test_rule_18_no_missing_field_turns_deny_into_allow(one: Golden) -> None:
    """RULES 18. The case is refused as invalid; and even without that, no rule falls silent."""
    rules = policies(*one.presets)
    paths = list(fields_of(one.case))
    assert len(paths) > 50
    for path in some(paths, by=one.name):
        holed = without(one.case, path)
        if path[0] not in ("facts",) and path[:2] != ("project", "lines"):
            with pytest.raises(EngineError) as caught:
                cases.check(holed)
            assert caught.value.reason == "invalid-case"
        if not one.allowed:
            assert not allows(ENGINE.evaluate(holed, rules), rules), path


@pytest.mark.parametrize("one", golden(), ids=NAMES)
def test_rule_18_null_is_never_better_than_a_value(one: Golden) -> None:
    rules = policies(*one.presets)
    for path in some(list(fields_of(one.case)), by=one.name):
        emptied = without(one.case, path)
        at = emptied
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = None
        if not one.allowed and path[-1] not in ("release", "dataset"):
            assert not allows(ENGINE.evaluate(emptied, rules), rules), path


def test_the_data_set_is_named_first_with_its_line_and_the_place() -> None:
    one = next(g for g in golden() if g.name.endswith("eu-weights-and-no-border"))
    decision = decide(case_of(one.case), policies(), ENGINE)
    first = decision.denies[0]
    assert (first.rule, first.dataset, first.where) == (
        "weights-inherit",
        "kyc-eu",
        "sovgate.yaml:17",
    )
    assert first.message == "kyc-eu may go only to EU, and us-train is in US"
    with pytest.raises(PolicyDenied) as caught:
        decision.require()
    error = caught.value
    assert error.exit_code == 10
    assert str(error.where) == "sovgate.yaml:17"
    assert "kyc-eu may go only to EU" in str(error.why)
    assert len(error.details) == 1  # the first is said as `why`


def test_a_fix_is_named_only_if_it_would_suffice() -> None:
    both = next(g for g in golden() if g.name.endswith("eu-weights-and-no-border"))
    decision = decide(case_of(both.case), policies(), ENGINE)
    assert [deny.fix for deny in decision.denies] == [None, None]
    assert len(decision.together) == 2

    one = next(g for g in golden() if g.name.endswith("eu-weights-asked-to-the-us"))
    decision = decide(case_of(one.case), policies(), ENGINE)
    (deny,) = decision.denies
    assert deny.fix is not None
    assert "train it without kyc-eu" in deny.fix
    assert "sovgate.yaml:17" in deny.fix


def test_a_missing_border_line_is_the_fix_where_nothing_else_denies() -> None:
    value = json.loads(json.dumps(golden()[0].case))
    value["project"]["border"] = []
    decision = decide(case_of(value), policies(), ENGINE)
    (deny,) = decision.denies
    assert deny.rule == "border"
    assert deny.fix is not None
    assert "`us-train -> eu`" in deny.fix
    assert "sovgate.yaml:24" in deny.fix


def test_rule_order_case_digest_and_life_are_fixed() -> None:
    one = golden()[0]
    decision = decide(case_of(one.case), policies(*ALL_PRESETS), ENGINE)
    again = decide(case_of(one.case), policies(*ALL_PRESETS), ENGINE)
    assert decision == again
    assert decision.expires - decision.time == 900
    assert decision.basis.case_sha256 == cases.digest(one.case)
    assert [rule.id for rule in decision.rules][-1] == "permit"


# The fast validator and JSON Schema are one.

_SCHEMA = schema.load("case")
_PEER = jsonschema_rs.validator_for(json.loads(_SCHEMA.text))

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.text(max_size=6),
    st.sampled_from(
        [
            "weights",
            "eu",
            "aws:us-east-1",
            "f" * 64,
            "f" * 63,
            "0.9",
            "0.90",
            "-0",
            "pass",
            "2026-11-24T04:00:00Z",
            "kyc/1.0.0\n",
            "a/b",
            "é" * 300,
        ]
    ),
)
_values = st.recursive(
    _scalars,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=examples(600))
@given(data=st.data())
def test_validator_and_json_schema_agree(data: st.DataObject) -> None:
    value: JSON = json.loads(json.dumps(data.draw(st.sampled_from(golden())).case))
    for _ in range(data.draw(st.integers(0, 3))):
        paths = list(fields_of(value))
        if not paths:
            break
        path = data.draw(st.sampled_from(paths))
        at = value
        for step in path[:-1]:
            at = at[step]
        kind = data.draw(st.sampled_from(["remove", "replace", "rename", "add"]))
        if kind == "remove":
            del at[path[-1]]
        elif kind == "replace":
            at[path[-1]] = data.draw(_values)
        elif kind == "rename":
            at[str(data.draw(st.text(max_size=4)))] = at.pop(path[-1])
        else:
            at[data.draw(st.text(max_size=4))] = data.draw(_values)
    assert (_SCHEMA.problem(value) is None) == _PEER.is_valid(value), _SCHEMA.problem(value)
