"""Rules that try to fail open, to allow, to look outside, never to end: RULES 18, trap by trap."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from sovgate import strict
from sovgate.engines._api import UNDEFINED, Answer, Answers, PolicySet, read_allow, read_deny
from sovgate.engines.registry import Both, open_engine
from sovgate.engines.regorus import Regorus, ask_child
from sovgate.engines.vet import vet
from sovgate.errors import ConfigError, EngineError, ExitCode
from sovgate.formats import case as cases
from sovgate.formats.case import Case
from sovgate.formats.metadata import metadata
from sovgate.pipeline.decide.policies import lint_rules, load_policies, read_sources, run_tests
from sovgate.stages.policy import decide
from tests.policies import JSON, case_of, golden, policies

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = golden()[0]
HEAD = "package user.mine\n\nimport rego.v1\n\n"
FINE = HEAD + 'deny contains "no" if input.facts.pickles_allowed\n'


def case(**changes: JSON) -> Case:
    value = copy.deepcopy(ALLOWED.case)
    value.update(changes)
    return case_of(value)


def project(tmp_path: Path, **texts: str) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.rego").write_text(text)
    return folder


def load(tmp_path: Path, **texts: str) -> PolicySet:
    folder = project(tmp_path, **texts)
    return load_policies(presets=(), rules=folder, engine="regorus", base=tmp_path)


def refused(tmp_path: Path, text: str, name: str = "mine") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{name: text})
    assert caught.value.where is not None
    assert caught.value.where.path == f"rules/{name}.rego"
    assert caught.value.exit_code == 3
    return caught.value


def value_of(expression: str) -> str:
    """What the engine makes of an expression: the traps below are real."""
    engine = __import__("regorus").Engine()
    engine.add_policy("x.rego", f"package x\nimport rego.v1\nv if {{ {expression} }}\n")
    return str(engine.eval_rule_as_json("data.x.v"))


# The traps of the language, and what closes each.


def test_rule_18_a_missing_field_never_reaches_a_rule() -> None:
    assert value_of("not input.nowhere <= 1") == "true"  # silence is easily taken for consent
    holed = copy.deepcopy(ALLOWED.case)
    del holed["destination"]["groups"]
    with pytest.raises(EngineError) as caught:
        cases.check(holed)
    assert caught.value.exit_code is ExitCode.ENGINE
    assert "groups" in str(caught.value.why)


def test_rule_18_every_over_nothing_is_no_freedom() -> None:
    assert value_of("every x in [] { x == 1 }") == "true"
    value = copy.deepcopy(ALLOWED.case)
    value["subject"]["derived_from"] = []
    decision = decide(case_of(value), policies(), Regorus())
    assert {deny.rule for deny in decision.denies} == {"weights-inherit", "record-required"}


def test_rule_18_null_is_less_than_any_number_and_is_no_grade() -> None:
    assert value_of("null <= 0.6") == "true"
    value = copy.deepcopy(ALLOWED.case)
    value["destination"]["require"] = None
    with pytest.raises(EngineError):
        cases.check(value)


def test_rule_18_text_is_more_than_any_number_and_is_no_threshold() -> None:
    assert value_of('"0.1" >= 0.8') == "true"
    value = copy.deepcopy(ALLOWED.case)
    value["destination"]["location"]["grade"] = "0.1"
    with pytest.raises(EngineError):
        cases.check(value)
    # thresholds are compared as text in one spelling, and only for being the same
    value = copy.deepcopy(ALLOWED.case)
    value["project"]["gates"] = [
        {"name": "a", "before": "transfer", "threshold": ">=0.90", "dataset": None, "where": None}
    ]
    with pytest.raises(EngineError):
        cases.check(value)


def test_rule_18_grades_are_integers_since_declared_comes_after_api() -> None:
    assert value_of('"declared" > "api"') == "true"
    value = copy.deepcopy(ALLOWED.case)
    value["destination"]["location"]["grade"] = "declared"
    with pytest.raises(EngineError):
        cases.check(value)
    value = copy.deepcopy(ALLOWED.case)
    value["destination"]["location"]["grade"] = True  # true is 1 to Python
    with pytest.raises(EngineError):
        cases.check(value)


def test_rule_18_an_unknown_builtin_behind_a_false_term_is_seen(tmp_path: Path) -> None:
    assert value_of('false; magic.spell("x")') == '"<undefined>"'  # running it shows nothing
    error = refused(tmp_path, HEAD + 'deny contains "x" if { false; magic.spell("x") }\n')
    assert error.reason == "policy-builtin"
    assert "magic.spell" in error.what
    assert error.where is not None
    assert error.where.line == 5


@pytest.mark.parametrize(
    "call",
    [
        'http.send({"url": "http://169.254.169.254/"})',
        '[1 | http.send({"method": "get"})]',
        'http["send"]({"url": "x"})',
        'rand.intn("a", 2) == 1',
        "opa.runtime().env.HOME",
        "time.now_ns() > 0",
        'net.lookup_ip_addr("example.test")',
        "numbers.range(1, 1000000000)[_]",
        'trace("x")',
        'print("x")',
        'io.jwt.decode("x")',
        'crypto.sha256("x")',
        "walk(input)",
        "uuid.rfc4122(1)",
    ],
)
def test_rule_18_builtins_are_allow_listed(tmp_path: Path, call: str) -> None:
    assert refused(tmp_path, HEAD + f'deny contains "x" if {{ {call} }}\n').reason in (
        "policy-builtin",
        "policy-unknown",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("package sovgate.permit\nimport rego.v1\nallow contains 1\n", "policy-package"),
        ("package sovgate\nimport rego.v1\npermit.allow contains 1\n", "policy-package"),
        ("package sovgate.user\nimport rego.v1\ndeny contains 1\n", "policy-package"),
        ("package sovgate.lib\nimport rego.v1\nbears_no_data := true\n", "policy-package"),
        (
            "package sovgate.rules.weights_inherit\nimport rego.v1\nfree(x) := true\n",
            "policy-package",
        ),
        ("package system\nimport rego.v1\nmain := 1\n", "policy-package"),
        ("package user\nimport rego.v1\ndeny contains 1\n", "policy-package"),
        (HEAD + 'allow contains {"id": "me", "where": null}\n', "policy-allow"),
        (HEAD + "permit.allow contains 1\n", "policy-head"),
        (HEAD + 'data.sovgate.permit.allow contains "x"\n', "policy-head"),
        (HEAD + 'deny["sovgate"].x contains 1\n', "policy-head"),
        (HEAD + 'deny := {"a"} if false\n', "policy-deny"),
        (HEAD + "default deny := set()\n", "policy-deny"),
        (HEAD + "deny(x) := x\n", "policy-deny"),
        (HEAD + 'deny contains "x"\ncount(x) := 0\n', "policy-shadow"),
        (HEAD + 'deny contains "x"\ninput := {}\n', "policy-shadow"),
        (HEAD + 'deny contains "x"\nobject := 1\n', "policy-shadow"),
        (HEAD + 'deny contains "x" if { input.a with input as {} }\n', "policy-with"),
        (
            HEAD + 'deny contains "x" if { count(1) == 2 with count as f }\nf(x) := 2\n',
            "policy-with",
        ),
        (HEAD + 'deny contains "x" if data.sovgate.permit.allow\n', "policy-data"),
        (HEAD + 'deny contains "x" if data[input.facts.x]\n', "policy-data"),
        (HEAD + 'deny contains "x" if data["user"]["other"].y\n', "policy-data"),
        (
            "package user.mine\nimport rego.v1\nimport data.sovgate.permit\n"
            'deny contains "x" if permit.allow\n',
            "policy-import",
        ),
        (
            "package user.mine\nimport rego.v1\nimport input.facts as count\n"
            'deny contains "x" if count\n',
            "policy-import",
        ),
        (
            "package user.mine\nimport rego.v1\nimport input.facts as deny\n"
            'deny contains "x" if input.a\n',
            "policy-import",
        ),
        (
            "package user.mine\nimport rego.v1\nimport input as data\n"
            'deny contains "x" if data.a\n',
            "policy-import",
        ),
        (
            'package user.mine\nimport rego.v1\nimport data\ndeny contains "x" if data.a\n',
            "policy-import",
        ),
    ],
)
def test_rule_18_a_projects_rules_may_only_deny_and_only_at_home(
    tmp_path: Path, text: str, reason: str
) -> None:
    error = refused(tmp_path, text)
    assert error.reason in (reason, "policy-syntax"), error.what


def test_rule_18_a_rule_that_is_misspelt_is_no_silent_permission(tmp_path: Path) -> None:
    misspelt = FINE.replace("deny contains", "denny contains")
    assert misspelt != FINE
    assert refused(tmp_path, misspelt).reason == "policy-no-deny"
    helper = "package user.helper\nimport rego.v1\nfrozen if input.facts.pickles_allowed\n"
    using = FINE.replace("import rego.v1", "import rego.v1\nimport data.user.helper")
    used = load(tmp_path, mine=using, helper=helper)
    longer = helper.replace("user.helper", "user.help")
    with pytest.raises(ConfigError, match=r"rules/longer\.rego"):
        load(tmp_path, longer=longer)
    assert {"user.mine", "user.helper"} <= {module.package for module in used.modules}


def test_rule_18_a_projects_rule_cannot_undo_ours(tmp_path: Path) -> None:
    """Its file never stands beside ours in one engine, so not even a gap in the vetting helps."""
    rules = load(tmp_path, mine=FINE)
    assert [rule.id for rule in rules.rules][-1] == "user.mine"
    assert decide(case(), rules, Regorus()).allowed
    denied = decide(
        case(facts={**ALLOWED.case["facts"], "pickles_allowed": True}), rules, Regorus()
    )
    assert [deny.rule for deny in denied.denies] == ["user.mine"]
    assert rules.digest != policies().digest


def test_rule_18_an_undefined_or_ill_formed_answer_denies() -> None:
    assert read_deny("r", UNDEFINED).error
    for value in (
        None,
        True,
        {},
        "x",
        [1],
        [None],
        [{"message": None}],
        [{"message": "m", "x": 1}],
        [["m"]],
        ["m"] * 2000,
    ):
        assert read_deny("r", value).error, value
        assert read_allow(value)[1] or not read_allow(value)[0]
    assert read_allow(UNDEFINED) == ((), "its allow set is undefined or no set")
    assert read_deny("r", []).error is None


def test_rule_18_a_rule_that_fails_denies_with_22(tmp_path: Path) -> None:
    rules = load(tmp_path, mine=HEAD + 'deny contains "x" if { to_number(input.action) > 1 }\n')
    decision = decide(case(), rules, Regorus())
    assert not decision.allowed
    assert decision.denies == ()
    assert decision.exit is ExitCode.ENGINE
    with pytest.raises(EngineError) as caught:
        decision.require()
    assert caught.value.exit_code == 22
    assert "user.mine" in str(caught.value.why)


def test_rule_18_an_engine_that_leaves_a_rule_out_denies() -> None:
    class Forgetful:
        name = "forgetful"

        def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
            whole = Regorus().evaluate(case, policies)
            return Answers(permits=whole.permits, permit_error=None, rules=whole.rules[1:])

    decision = decide(case(), policies(), Forgetful())
    assert not decision.allowed
    assert decision.exit is ExitCode.ENGINE


def test_no_rules_is_no_permission() -> None:
    whole = policies()
    none = PolicySet(modules=whole.modules, rules=(), presets=(), engine="regorus", digest="0" * 64)
    with pytest.raises(EngineError) as caught:
        decide(case(), none, Regorus())
    assert caught.value.reason == "no-rules"


def test_two_engines_that_differ_deny() -> None:
    class Contrary:
        name = "contrary"

        def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
            whole = Regorus().evaluate(case, policies)
            first = Answer(rule=whole.rules[0].rule, denies=read_deny("x", ["no"]).denies)
            return Answers(permits=(), permit_error=None, rules=(first, *whole.rules[1:]))

    answers = Both([Regorus(), Contrary()]).evaluate(case().json(), policies())
    assert answers.permits == ()
    assert "disagree" in str(answers.permit_error)
    assert "disagree" in str(answers.rules[0].error)
    assert answers.rules[1].error is None


def test_warn_softens_only_rules_that_say_they_warn(tmp_path: Path) -> None:
    meta = "# METADATA\n# title: Soft\n# custom: {severity: warning}\n"
    rules = load(tmp_path, soft=meta + FINE.replace("mine", "soft"))
    value = copy.deepcopy(ALLOWED.case)
    value["facts"]["pickles_allowed"] = True
    assert not decide(case_of(value), rules, Regorus()).allowed
    value["project"]["mode"] = "warn"
    decision = decide(case_of(value), rules, Regorus())
    assert decision.allowed
    assert [deny.rule for deny in decision.warnings] == ["user.soft"]
    assert ("user.soft", "warn") in [(rule.id, rule.answer) for rule in decision.rules]
    value["evidence"] = []  # rules of severity error, and a missing permit, block all the same
    assert {deny.rule for deny in decide(case_of(value), rules, Regorus()).denies} >= {
        "signature-required"
    }
    value = copy.deepcopy(value)
    value["project"]["border"] = []
    assert decide(case_of(value), rules, Regorus()).exit is ExitCode.DENIED


# Policies that never end, or choke their reader.


def test_a_huge_comprehension_ends_with_its_process(tmp_path: Path) -> None:
    loops = "; ".join(f"some x{n} in xs" for n in range(14))
    text = (
        HEAD + f'xs := [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\ndeny contains "x" if {{ {loops}; x1 > 9 }}\n'
    )
    rules = load(tmp_path, mine=text)
    decision = decide(case(), rules, Regorus())
    assert decision.exit is ExitCode.ENGINE
    assert decision.unanswered[0][0] == "user.mine"


def test_nested_brackets_that_choke_the_parser_end_with_its_process(tmp_path: Path) -> None:
    text = HEAD + 'deny contains "x"\nx := ' + "[" * 200 + "]" * 200 + "\n"
    folder = project(tmp_path, mine=text)
    with pytest.raises((EngineError, ConfigError)):
        load_policies(presets=(), rules=folder, engine="regorus", base=tmp_path)
    assert [finding.severity for finding in lint_rules([folder / "mine.rego"])] == ["error"]


def test_recursion_without_end_denies(tmp_path: Path) -> None:
    text = HEAD + 'f(x) := f(x)\ndeny contains "x" if f(1)\n'
    try:
        rules = load(tmp_path, mine=text)
    except ConfigError:
        return
    assert decide(case(), rules, Regorus()).exit is ExitCode.ENGINE


def test_more_memory_than_allowed_denies(tmp_path: Path) -> None:
    text = HEAD + (
        'a := ["x" | some i in [0,1,2,3,4,5,6,7,8,9]; some j in [0,1,2,3,4,5,6,7,8,9]]\n'
        "b := [[x, y, z, w] | some x in a; some y in a; some z in a; some w in a]\n"
        'deny contains "x" if count(b) == 3\n'
    )
    rules = load(tmp_path, mine=text)
    assert decide(case(), rules, Regorus()).exit is ExitCode.ENGINE


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("latin", b"package user.x\n# \xff\n"),
        ("empty", b""),
        ("text", b"not rego at all"),
        ("half", b"package user.x\ndeny contains"),
        ("v0", b"package user.x\ndeny[x] { x := 1 }\n"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_file(tmp_path: Path, name: str, data: bytes) -> None:
    folder = project(tmp_path)
    (folder / f"{name}.rego").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_policies(presets=(), rules=folder, engine="regorus", base=tmp_path)
    assert caught.value.where is not None
    assert caught.value.where.path == f"rules/{name}.rego"


def test_a_rule_folder_is_read_in_bounds_and_without_links(tmp_path: Path) -> None:
    folder = project(tmp_path, mine=FINE)
    (folder / "link.rego").symlink_to(folder / "mine.rego")
    with pytest.raises(ConfigError) as caught:
        read_sources(folder, prefix="", ours=False)
    assert caught.value.reason == "policy-folder"
    (folder / "link.rego").unlink()
    (folder / "big.rego").write_bytes(b"#" * (256 * 1024 + 1))
    with pytest.raises(ConfigError):
        read_sources(folder, prefix="", ours=False)
    (folder / "big.rego").unlink()
    for number in range(257):
        (folder / f"r{number}.rego").write_text("package user.x\n")
    with pytest.raises(ConfigError):
        read_sources(folder, prefix="", ours=False)
    with pytest.raises(ConfigError):
        read_sources(tmp_path / "nowhere", prefix="", ours=False)


def test_rule_04_a_policy_files_name_is_checked(tmp_path: Path) -> None:
    folder = project(tmp_path)
    for name in ("a\nb.rego", "a:b.rego", "con.rego"):
        (folder / name).write_text(FINE)
        with pytest.raises(ConfigError) as caught:
            read_sources(folder, prefix="", ours=False)
        assert caught.value.reason == "policy-folder"
        (folder / name).unlink()
    (folder / "a.rego").write_text(FINE)
    (folder / "A.rego").write_text(FINE)
    with pytest.raises(ConfigError):
        read_sources(folder, prefix="", ours=False)


def test_the_policy_digest_names_files_presets_and_engine(tmp_path: Path) -> None:
    digests = {
        policies().digest,
        policies("eu-personal-data").digest,
        policies(engine="opa").digest,
        load(tmp_path, mine=FINE).digest,
        load(tmp_path, mine=FINE + "\n").digest,
    }
    assert len(digests) == 5
    assert load(tmp_path, mine=FINE + "\n").digest in digests
    (tmp_path / "rules" / "mine_test.rego").write_text(
        "package user.mine_test\nimport rego.v1\ntest_x if 1 == 1\n"
    )
    assert load(tmp_path, mine=FINE + "\n").digest in digests


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    meta = "# METADATA\n# custom: {id: same}\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, a=meta + FINE, b=meta + FINE.replace("mine", "other"))
    assert "user.same" in caught.value.what
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, a=FINE, b=FINE)
    assert caught.value.reason == "policy-package"


@pytest.mark.parametrize(
    "block",
    [
        "# METADATA\n# title: [1\n",
        "# METADATA\n# - a\n",
        "# METADATA\n# a: &x [*x]\n",
        "# METADATA\n# a: " + "[" * 2000 + "\n",
        "# METADATA\n# custom: {severity: none}\n",
        "# METADATA\n# custom: {id: ../x}\n",
        "# METADATA\n# custom: {id: [x]}\n",
        "# METADATA\n# title: {a: b}\n",
        "# METADATA\n# title: " + "x" * 9000 + "\n",
    ],
)
def test_metadata_that_is_none_is_refused(tmp_path: Path, block: str) -> None:
    assert refused(tmp_path, block + FINE).reason == "policy-metadata"


def test_metadata_is_text_and_norway_a_country() -> None:
    text = "# METADATA\n# title: NO\n# custom:\n#   on: 'yes'\npackage x\n"
    assert metadata(text, before=5, name="x") == {"title": "NO", "custom": {"on": "yes"}}
    assert metadata("# a comment\npackage x\n", before=2, name="x") == {}


def test_unknown_preset_and_engine_are_configuration() -> None:
    with pytest.raises(ConfigError) as caught:
        load_policies(presets=("eu",), rules=None, engine="regorus", base=Path())
    assert "eu-personal-data" in str(caught.value.fix)
    with pytest.raises(ConfigError):
        open_engine("regopy")


def test_default_rules_cannot_be_left_out() -> None:
    only = load_policies(presets=("eu-personal-data",), rules=None, engine="regorus", base=Path())
    assert {rule.id for rule in policies().rules} < {rule.id for rule in only.rules}


def test_our_own_files_are_vetted_too() -> None:
    """A builtin or a head that slips into a shipped policy is refused as a project's would be."""
    source = read_sources(ROOT / "policies", prefix="policies/", ours=True)[0]
    bad = type(source)(
        name="policies/bad.rego",
        text="# METADATA\n# title: x\npackage sovgate.rules.bad\nimport rego.v1\n"
        'deny contains "x" if time.now_ns() > 1\n',
        sha256="0" * 64,
        ours=True,
    )
    with pytest.raises(ConfigError) as caught:
        vet([bad], ask_child([bad], ast=True)["ast"])
    assert caught.value.reason == "policy-builtin"


# Tests of a project's own rules.


def test_a_projects_tests_run_with_its_rules(tmp_path: Path) -> None:
    test = (
        "package user.mine_test\nimport rego.v1\nimport data.user.mine.deny\n"
        'test_frozen if count(deny) == 1 with input as {"facts": {"pickles_allowed": true}}\n'
        "test_wrong if count(deny) == 5 with input as {}\n"
        'test_broken if to_number("x") == 1\n'
    )
    folder = project(tmp_path, mine=FINE, mine_test=test)
    results = {result.name.rpartition(".")[2]: result.error for result in run_tests(folder)}
    assert results["test_frozen"] is None
    assert results["test_wrong"] == ""
    assert results["test_broken"]
    assert "Stack backtrace" not in str(results["test_broken"])


def test_the_largest_case_is_decided() -> None:
    """1,000 data sets of 64 lifts, 1,000 passes, 256 gates: what trusted signers may heap up."""
    value = copy.deepcopy(next(one for one in golden() if "lifted" in one.name).case)
    origin = value["subject"]["derived_from"][1] | {"lifts": [f"g{n}" for n in range(64)]}
    value["subject"]["derived_from"] = [origin | {"name": f"d{n}"} for n in range(1000)]
    value["evidence"] = [value["evidence"][-1]] * 1000
    gate = value["project"]["gates"][0]
    value["project"]["gates"] = [gate | {"name": f"x{n}", "dataset": f"d{n}"} for n in range(256)]
    value["action"] = "observe"
    answers = Regorus().evaluate(strict.loads(cases.check(value)), policies())
    assert {a.rule: len(a.denies) for a in answers.rules if a.denies} == {
        "weights-inherit": 1000,
        "legal-before-deploy": 256,
        "signature-required": 1,
    }
    assert not any(answer.error for answer in answers.rules)


def test_the_case_does_not_grow_without_bound() -> None:
    value = copy.deepcopy(ALLOWED.case)
    value["evidence"] = value["evidence"] * 600
    with pytest.raises(EngineError):
        cases.check(value)
    value = copy.deepcopy(ALLOWED.case)
    value["project"]["lines"] = {f"x{n}": "y" * 1000 for n in range(9000)}
    with pytest.raises(EngineError) as caught:
        cases.check(value)
    assert "bytes" in str(caught.value.why)
    assert len(json.dumps(value)) > cases.MAX_BYTES
