"""OPA itself gives the answers that our engine gives: golden cases, thousands made up, tests."""

from __future__ import annotations

import copy
import json
import random
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sovgate.engines._api import Engine
from sovgate.engines.opa import Opa
from sovgate.engines.registry import Both, open_engine
from sovgate.engines.regorus import Regorus
from sovgate.engines.trees import tests_in as rego_tests
from sovgate.errors import EngineError
from sovgate.formats import case as cases
from sovgate.pipeline.decide.policies import load_policies, read_sources
from sovgate.pipeline.decide.rulefiles import TEST_SUFFIX
from sovgate.stages.policy import decide
from tests.policies import (
    ALL_PRESETS,
    JSON,
    Golden,
    Reference,
    allows,
    case_of,
    fields_of,
    golden,
    policies,
    without,
)

ROOT = Path(__file__).parent.parent.parent
NAMES = [one.name for one in golden()]
GENERATED = 2000

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def reference(opa: ModuleType) -> Reference:
    return Reference(opa)


@pytest.mark.parametrize("one", golden(), ids=NAMES)
def test_golden_cases_have_the_same_answers(one: Golden, reference: Reference) -> None:
    rules = policies(*one.presets)
    ours = decide(case_of(one.case), rules, Regorus())
    theirs = decide(case_of(one.case), rules, reference)
    assert ours.allowed is theirs.allowed is one.allowed
    assert ours.denies == theirs.denies
    assert ours.permits == theirs.permits
    assert ours.together == theirs.together


@pytest.mark.parametrize("one", golden(), ids=NAMES)
def test_rule_18_no_missing_field_turns_deny_into_allow_in_opa(
    one: Golden, reference: Reference
) -> None:
    if one.allowed:
        return
    rules = policies(*one.presets)
    for path in fields_of(one.case):
        assert not allows(reference.evaluate(without(one.case, path), rules), rules), path


def test_thousands_of_made_up_cases_have_the_same_answers(reference: Reference) -> None:
    """Every rule, message and permit; and the cases reach both verdicts and every rule."""
    rules = policies(*ALL_PRESETS)
    engine = Regorus()
    rng = random.Random(20261124)
    denied: set[str] = set()
    allowed = 0
    for number in range(GENERATED):
        case = made_up(rng)
        cases.check(case)
        ours = engine.evaluate(case, rules)
        theirs = reference.evaluate(case, rules)
        assert ours == theirs, (number, json.dumps(case))
        denied |= {answer.rule for answer in ours.rules if answer.denies}
        assert not any(answer.error for answer in ours.rules), (number, json.dumps(case))
        allowed += allows(ours, rules)
    assert denied == {rule.id for rule in rules.rules}
    assert 100 < allowed < GENERATED - 100


def test_every_test_of_a_rule_passes_in_opa(reference: Reference, opa: ModuleType) -> None:
    sources = read_sources(ROOT / "policies", prefix="policies/", ours=True, tests=True)
    engine = opa.OpaEngine()
    for source in sources:
        engine.add_policy(source.name, source.text)
    from sovgate.engines.regorus import ask_child

    named = rego_tests(ask_child(sources, ast=True)["ast"])
    paths = [path for path, file in named.items() if file.endswith(TEST_SUFFIX)]
    assert len(paths) > 100
    # All of a package at once: the library compiles everything anew for each question.
    told = {
        package: reference.value(engine, package, {})
        for package in {path[5:].rpartition(".")[0] for path in paths}
    }
    names = [path[5:].rpartition(".") for path in paths]
    failed = [name for package, _, name in names if told[package].get(name) is not True]
    assert failed == []


def made_up(rng: random.Random) -> JSON:
    """A valid case near one of the golden ones: places, data sets, evidence and gates shuffled."""
    case = copy.deepcopy(rng.choice(golden()).case)
    places = ["DE", "FR", "EU", "EEA", "US", "CH"]
    manifests = [case["subject"]["manifest"] or "a1" * 32, "e5" * 32]
    releases = [None, "kyc-risk/1.0.0", "kyc-risk/2.0.0"]
    gates = ["accuracy", "membership-inference", "fairness"]
    sets = ["kyc-eu", "public", "synthetic-eu"]

    def origin() -> JSON:
        kind = rng.choice(["dataset"] * 6 + ["base-model", "unknown"])
        return {
            "name": rng.choice(sets),
            "kind": kind,
            "category": rng.choice([None, "", "public", "personal", "special-category"]),
            "stays_in": rng.choice([None, [], rng.sample(places, 1), rng.sample(places, 3)]),
            "lifts": rng.sample(gates, rng.randint(0, 2)),
            "commitment": rng.choice([None, "c3" * 32, "c4" * 32]),
            "where": rng.choice([None, "sovgate.yaml:17"]),
        }

    def evidence() -> JSON:
        role = rng.choice(["gate", "legal", "signature", "provenance", "sbom", "waiver"])
        return {
            "role": role,
            "predicate_type": "https://example.test/" + role,
            "sha256": f"{rng.randrange(256):02x}" * 32,
            "manifest": rng.choice(manifests * 3),
            "release": rng.choice(releases[:2]),
            "signer": "ci",
            "zone": rng.choice([None, "eu"]),
            "created": None,
            "gate": rng.choice([None, *gates]),
            "result": rng.choice([None, "pass", "pass", "fail", "inconclusive"]),
            "threshold": rng.choice([None, ">=0.9", "<=0.6"]),
            "dataset": rng.choice([None, *sets]),
            "commitment": rng.choice([None, "c3" * 32]),
            "about_zone": rng.choice([None, "eu", "us-train"]),
            "identity": rng.choice([None, "a@b.example"]),
            "issuer": rng.choice([None, "https://login.b.example"]),
            "logged": rng.choice([None, "2026-06-01T12:00:00Z"]),
            "trusted_root": rng.choice([None, "e5" * 32]),
        }

    def gate() -> JSON:
        return {
            "name": rng.choice(gates),
            "before": rng.choice(["transfer", "deploy", "train", "serve", "observe"]),
            "threshold": rng.choice([None, ">=0.9", "<=0.6"]),
            "dataset": rng.choice([None, None, *sets]),
            "where": rng.choice([None, "sovgate.yaml:33"]),
        }

    def changes() -> None:
        target = case["destination"]
        kind = rng.randrange(10)
        if kind == 0:
            case["action"] = rng.choice(["transfer", "deploy", "train", "serve", "observe"])
        elif kind == 1:
            case["subject"]["class"] = rng.choice(
                ["weights", "metadata", "dataset", "gradient", "telemetry", "activations"]
            )
        elif kind == 2:
            case["subject"]["derived_from"] = [origin() for _ in range(rng.randint(0, 3))]
        elif kind == 3:
            case["evidence"] += [evidence() for _ in range(rng.randint(1, 3))]
        elif kind == 4:
            case["project"]["gates"] = [gate() for _ in range(rng.randint(0, 2))]
        elif kind == 5:
            target["groups"] = rng.sample(places, rng.randint(0, 3))
        elif kind == 6:
            target["location"]["grade"] = rng.randint(0, 3)
            target["require"] = rng.randint(1, 3)
            target["location"]["value"] = rng.choice([None, target["region"], "aws:us-east-1"])
        elif kind == 7:
            case["subject"]["release"] = rng.choice(releases)
            case["subject"]["manifest"] = rng.choice([*manifests, manifests[0], None])
        elif kind == 8:
            case["project"]["classes"] = rng.choice([[], ["activations"]])
            case["project"]["border"] = rng.sample(
                case["project"]["border"], rng.randint(0, len(case["project"]["border"]))
            )
        else:
            case["source"] = {k: v for k, v in target.items() if k != "require"}

    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        changes()
    return case


# The adapter runs a program. Here one is made that puts OPA's own library
# behind the two subcommands that the adapter uses; the Rego is evaluated by OPA either way.

_PROGRAM = """#!{python}
import json, sys
sys.path.append({folder!r})
from opa_bindings import OpaEngine, OpaError
arguments = sys.argv[1:]
if arguments[0] == "capabilities":
    names = {builtins!r}
    print(json.dumps({{"builtins": [{{"name": n}} for n in names], "features": []}}))
    raise SystemExit
assert arguments[0] == "eval" and "--strict-builtin-errors" in arguments
able = json.load(open(arguments[arguments.index("--capabilities") + 1]))
assert able["allow_net"] == [] and "http.send" not in [b["name"] for b in able["builtins"]]
engine = OpaEngine()
try:
    for at, argument in enumerate(arguments):
        if argument == "--data":
            engine.add_policy(arguments[at + 1], open(arguments[at + 1]).read())
    bound = engine.eval_query("x := " + arguments[-1], json.load(sys.stdin))
except OpaError as error:
    print(json.dumps({{"errors": [{{"message": str(error)}}]}}))
    raise SystemExit(2)
print(json.dumps({{"result": [{{"expressions": [{{"value": bound[0]["x"]}}]}}]}}))
"""


@pytest.fixture
def opa_folder(opa: ModuleType, tmp_path: Path) -> str:
    from sovgate.engines._api import BUILTINS

    assert opa.__file__
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "opa"
    program.write_text(
        _PROGRAM.format(
            python=sys.executable,
            folder=str(Path(opa.__file__).parent.parent),
            builtins=sorted(BUILTINS | {"http.send", "opa.runtime", "eq", "rand.intn"}),
        )
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(folder)


def opened(engine: str, folder: str) -> Engine:
    """The engine with the program of that folder."""
    theirs = Opa([folder])
    return Both([Regorus(), theirs]) if engine == "both" else theirs


@pytest.mark.parametrize("engine", ["opa", "both"])
def test_the_opa_program_decides_the_same(engine: str, opa_folder: str) -> None:
    # What "both" adds to the two engines is the same for each case: a few of them show it.
    for one in golden()[:: 6 if engine == "both" else 1]:
        rules = policies(*one.presets, engine=engine)
        theirs = decide(case_of(one.case), rules, opened(engine, opa_folder))
        ours = decide(case_of(one.case), policies(*one.presets), Regorus())
        assert (theirs.allowed, theirs.denies) == (ours.allowed, ours.denies), one.name
        assert theirs.basis.engine == engine
        assert (
            theirs.basis.policy_sha256 != ours.basis.policy_sha256
        )  # the engine's name is part of it


def test_a_projects_own_rules_are_never_loaded_together_with_ours(
    opa_folder: str, tmp_path: Path
) -> None:
    """One that fails takes no answer of ours away, in neither engine; it denies."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "mine.rego").write_text(
        "package user.mine\nimport rego.v1\nimport data.sovgate.lib\n"
        'deny contains "no" if to_number(input.action) > count(lib.passed)\n'
    )
    one = next(one for one in golden() if one.allowed)
    told = []
    for engine in ("opa", "regorus"):
        rules = load_policies(presets=(), rules=folder, engine=engine, base=tmp_path)
        asked = opened(engine, opa_folder) if engine == "opa" else open_engine(engine)
        answers = asked.evaluate(case_of(one.case).json(), rules)
        told.append({answer.rule: answer.error is None for answer in answers.rules})
        assert answers.permits
        assert not decide(case_of(one.case), rules, asked).allowed
    assert told[0] == told[1]
    assert [rule for rule, answered in told[0].items() if not answered] == ["user.mine"]


def test_without_an_opa_program_nothing_is_decided(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        decide(case_of(golden()[0].case), policies(engine="opa"), Opa([str(tmp_path)]))
    assert caught.value.reason == "no-opa"
