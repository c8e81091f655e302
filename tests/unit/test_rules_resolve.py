"""A rule that is loaded and never denies: each of its references leads somewhere, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.engines._api import PolicySet
from sovgate.errors import ConfigError
from sovgate.formats.case import FACTS
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.policies import load_policies

LIMITS = (
    'package user.limits\n\nimport rego.v1\n\nforbidden contains "x"\n\n'
    'place(p) := p.zone\n\nby_zone := {"eu": 3}\n\nof(e) := e.role\n'
)


def load(base: Path, *lines: str, imports: str = "") -> PolicySet:
    """A rule of these lines, beside the package `user.limits`."""
    folder = base / "policies"
    folder.mkdir(exist_ok=True)
    (folder / "limits.rego").write_text(LIMITS)
    body = "\n".join(lines)
    head = f"package user.x\n\nimport rego.v1\nimport data.user.limits\n{imports}\n"
    (folder / "x.rego").write_text(f"{head}\n{body}\n")
    return load_policies(presets=(), rules=folder, engine="regorus", base=base)


def denies(condition: str) -> str:
    return f'deny contains "no" if {{ {condition} }}'


def refused(base: Path, *lines: str, imports: str = "") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(base, *lines, imports=imports)
    assert caught.value.exit_code == 3
    assert caught.value.where is not None and caught.value.where.line
    return caught.value


SLIPS = {
    "dot": 'input.subjekt.class == "weights"',
    "brackets": 'input["subjekt"].class == "weights"',
    "raw": "input[`subjekt`]",
    "deep": 'input.subject.clas == "weights"',
    "mixed": 'input.subject["clas"] == "weights"',
    "number": "input[0]",
    "value-has-no-parts": "input.subject.class.name",
    "list-has-no-names": "input.evidence.role",
    "list-by-name": 'input.evidence["0"].role',
    "index": 'input.evidence[_].rol == "gate"',
    "index-number": 'input.evidence[0].rol == "gate"',
    "index-variable": 'some i; input.evidence[i].rol == "gate"',
    "implicit-variable": 'input.evidence[i].rol == "gate"; i > 0',
    "some": 'some e in input.evidence; e.rol == "gate"',
    "some-key": 'some i, e in input.evidence; i == 0; e.rol == "gate"',
    "some-pattern": 'some {"rol": r} in input.evidence; r == "gate"',
    "every": 'every e in input.evidence { e.rol == "gate" }',
    "assigned": 'x := input.subject; x.clas == "weights"',
    "assigned-whole": 'x := input; x.subjekt.class == "weights"',
    "assigned-twice": 'x := input; y := x.subject; y.clas == "weights"',
    "assigned-after": 'y.clas == "weights"; y := x.subject; x := input',
    "unified": 'x = input.subject; x.clas == "weights"',
    "unified-turned": 'input.subject = x; x.clas == "weights"',
    "unified-object": '{"clas": c} = input.subject; c == "weights"',
    "unified-array": '[a, b] = [input.subject, 1]; a.clas == "weights"; b == 1',
    "array": 'a := [input.subject]; a[0].clas == "weights"',
    "set": 's := {input.subject}; some e in s; e.clas == "weights"',
    "object": 'o := {"a": input.subject}; o.a.clas == "weights"',
    "comprehension": 'count([e | some e in input.evidence; e.rol == "gate"]) > 0',
    "comprehension-term": "count({e.rol | some e in input.evidence}) > 0",
    "comprehension-object": "o := {i: e | some i, e in input.evidence}; o[0].rol",
    "comprehension-out": 'some e in [f | some f in input.evidence]; e.rol == "gate"',
    "negated": "not input.subject.clas",
    "call": "count(input.evidense) > 0",
    "string": 'sprintf("%v", [input.subject.clas]) == "weights"',
    "object-get": 'object.get(input, "subjekt", {}) != {}',
    "object-get-deep": 'object.get(input, ["subject", "clas"], "") == "weights"',
    "object-get-then": 'object.get(input, "subject", {}).clas == "weights"',
    "object-get-output": 'object.get(input, "subject", {}, s); s.clas == "weights"',
    "object-union": 'object.union(input, {}).subjekt == "weights"',
    "object-union-2": 'x := object.union(input.subject, {"a": 1}); x.clas == "weights"',
    "object-remove": 'object.remove(input, {"now"}).subjekt == "weights"',
    "array-concat": 'array.concat(input.evidence, [])[0].rol == "gate"',
    "member": '"gate" in input.evidense',
    "fact": "input.facts.pickels > 0",
    "fact-brackets": 'input.facts["remote-code"] > 0',
    "package": "count(limits.forbiden) > 0",
    "package-brackets": 'count(limits["forbiden"]) > 0',
    "package-function": 'limits.plase(input.source) == "eu"',
    "argument": 'limits.place(input.subject) == "eu"',
    "argument-some": 'some e in input.rejected; limits.of(e) == "gate"',
    "own": "count(data.user.x.denied) > 0",
    "library": "count(data.sovgate.lib.pased) > 0",
    "no-such-name": 'subjekt.class == "weights"',
    "arithmetic": "input.now.epoc + 1 > 0",
}


@pytest.mark.parametrize("slip", SLIPS)
def test_rule_35_a_slip_in_a_reference_is_refused_however_it_is_spelt(
    tmp_path: Path, slip: str
) -> None:
    error = refused(tmp_path, denies(SLIPS[slip]))
    assert error.reason in ("policy-reference", "policy-builtin", "policy-data"), error.what
    assert error.where is not None and error.where.path in (
        "policies/x.rego",
        "policies/limits.rego",
    )


@pytest.mark.parametrize(
    "computed",
    [
        'k := "subject"; input[k].class == "weights"',
        "some k; input.subject[k] == 1",
        "input[_].class",
        'input[concat("", ["sub", "ject"])].class',
        'input[input.action].class == "x"',
        'object.get(input, input.action, "") == "x"',
        'limits[input.action] == "x"',
    ],
)
def test_rule_35_what_cannot_be_resolved_statically_is_refused(
    tmp_path: Path, computed: str
) -> None:
    error = refused(tmp_path, denies(computed))
    assert "computed" in str(error.why)


GOOD = {
    "paths": 'input.subject.class == "weights"; input["subject"]["model"] != ""',
    "lists": "input.subject.derived_from[_].stays_in[_] == input.destination.groups[0]",
    "patterns": 'some {"role": r, "gate": g} in input.evidence; r == "gate"; g != null',
    "map": "some k, v in input.project.lines; k != v; input.project.lines[k] == v",
    "literals": 'grades := {"a": 1}; grades[input.action] > 0; grades.b > 1',
    "package": 'limits.by_zone[input.source.zone] > 0; limits.place(input.source) == "eu"',
    "argument": 'some e in input.evidence; limits.of(e) == "gate"',
    "sets": '"x" in limits.forbidden; limits.forbidden[input.action]',
    "library": '"a" in lib.passed; some e in input.evidence; lib.fits(e)',
    "builtins": 'object.get(input, ["subject", "release"], null) == null',
    "facts": "input.facts.pickles > 0; is_string(input.facts.secret)",
    "scopes": "[e.role | some e in input.evidence] == [e.reason | some e in input.rejected]",
    "whole": "x := input; y := x.subject.derived_from; some o in y; o.lifts[_] == x.action",
    "sorted": 's := sort([e.gate | some e in input.evidence]); s[0] == "a"',
    "unions": 'x := object.union(input.subject, {"a": 1}); x.class == x.a',
    "every": "every i, e in input.evidence { e.role != i }",
    "shadow": 'some input_ in input.evidence; input_.role == "gate"',
}


@pytest.mark.parametrize("good", GOOD)
def test_what_is_in_the_case_may_be_read(tmp_path: Path, good: str) -> None:
    library = "import data.sovgate.lib\n"
    assert load(tmp_path, denies(GOOD[good]), imports=library).rules[-1].id == "user.x"


def test_the_nearest_name_and_the_line_are_told(tmp_path: Path) -> None:
    error = refused(tmp_path, "", 'deny contains "x" if input.subjekt.class == "weights"')
    assert (error.what, error.fix) == ("there is no 'input.subjekt'", "did you mean 'subject'?")
    assert error.where is not None
    assert (error.where.path, error.where.line) == ("policies/x.rego", 8)
    missing = refused(tmp_path, denies("limtis.forbidden"), imports="import data.user.limtis\n")
    assert (missing.what, missing.fix) == (
        "there is no 'data.user.limtis'",
        "did you mean 'limits'?",
    )
    assert missing.where is not None and missing.where.line == 5
    unused = refused(tmp_path, denies("input.action"), imports="import input.subjekt as s\n")
    assert unused.what == "there is no 'input.subjekt'"
    aliased = refused(tmp_path, denies("s.clas"), imports="import input.subject as s\n")
    assert (aliased.what, aliased.fix) == ("there is no 's.clas'", "did you mean 'class'?")


@pytest.mark.parametrize(
    ("lines", "imports"),
    [
        ((denies("count(x.deny) == 0"),), "import data.user.x\n"),
        ((denies("count(x) == 0"),), "import data.user.x\n"),
        ((denies("count(deny) == 0"),), ""),
        ((denies("count(data.user.x.deny) == 0"),), ""),
        ((denies("a"), "a if b", "b if not a"), ""),
        ((denies("f(1)"), "f(n) := f(n - 1)"), ""),
        ((denies("input.action"), "f(n) := g(n)", "g(n) := f(n)"), ""),
        ((denies("input.action"), "unused if unused"), ""),
        ((denies("count([1 | a]) > 0"), "a := count(b)", "b := {x | x := a}"), ""),
        ((denies("a"), "default a := false", "a if { every e in [1] { a; e } }"), ""),
    ],
)
def test_rule_35_no_rule_reaches_itself(
    tmp_path: Path, lines: tuple[str, ...], imports: str
) -> None:
    error = refused(tmp_path, *lines, imports=imports)
    assert error.reason in ("policy-recursion", "policy-syntax"), error.what


def test_rule_35_two_packages_do_not_reach_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "y.rego").write_text(
        "package user.y\n\nimport rego.v1\n\nimport data.user.x\n\na if count(x.deny) > 0\n"
    )
    error = refused(tmp_path, denies("y.a"), imports="import data.user.y\n")
    assert error.reason == "policy-recursion"
    assert "user.x.deny" in str(error.why) and "user.y.a" in str(error.why)


def test_the_facts_that_may_be_read_are_those_that_are_given() -> None:
    assert set(FACTS) == {*contents.UNKNOWN, "pickles_allowed"}


def test_a_rule_too_intricate_to_follow_is_refused(tmp_path: Path) -> None:
    deep = "input.action"
    for _ in range(4):
        deep = f"count([1 | {deep}]) > 0"
    assert load(tmp_path, denies(deep))
    functions = [f"f{n}(a) := [f{n + 1}([a, {n}]), f{n + 1}([{n}, a])]" for n in range(40)]
    error = refused(tmp_path, denies("f0(1)"), *functions, "f40(a) := a")
    assert "too intricate" in error.what
