"""A gate run at a desk, and what policy makes of its result: real keys, files, and `check`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.pipeline.look.keys import generate
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing

TRUST = """
trust:
  - {name: home-ci, key: keys/home.pub.pem, may: [signature, provenance, gate], from: home}
  - {name: intern, key: keys/intern.pub.pem, may: [sbom], from: home}
gates:
  accuracy: {at-least: 0.90, before: transfer}
"""


def csv(path: Path, right: int, wrong: int) -> Path:
    rows = ["id,label,prediction"]
    rows += [f"{i},yes,{'yes' if i < right else 'no'}" for i in range(right + wrong)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    made = make_crossing(tmp_path)
    generate("sign", out=tmp_path / "keys" / "intern.pem", algorithm="ec-p256")
    path = tmp_path / "sovgate.yaml"
    path.write_text(path.read_text() + TRUST)
    made.sign()
    csv(tmp_path / "good.csv", 960, 40)
    csv(tmp_path / "bad.csv", 800, 200)
    csv(tmp_path / "few.csv", 12, 0)
    return made


def pin(crossing: Crossing, gate: str = "accuracy", *words: str) -> None:
    crossing.json("gate", "pin", gate, *(words or ("--predictions", "good.csv")))


def run(crossing: Crossing, predictions: str, *more: str, code: int = 0) -> dict[str, Any]:
    return crossing.json(
        "gate", "accuracy", crossing.model, "--predictions", predictions, *more, code=code
    )


def ask(crossing: Crossing) -> set[str]:
    """The rules that deny the transfer."""
    code, text = crossing.run(
        "check", crossing.model, "--zone", "home", "--to", "eu", "--format", "json"
    )
    said = json.loads(text)
    assert code == (0 if said["allowed"] else 10)
    return {deny["rule"] for deny in said["denies"]}


def test_policy_takes_a_signed_pass_and_nothing_less(crossing: Crossing) -> None:
    pin(crossing)
    assert ask(crossing) == {"gates-before-stage"}
    unsigned = run(crossing, "good.csv")
    assert unsigned["outcome"] == "pass"
    assert "unsigned/gate-" in unsigned["result"]
    assert ask(crossing) == {"gates-before-stage"}, "no policy reads unsigned statements"
    run(crossing, "good.csv", "--key", "keys/home.pem")
    assert ask(crossing) == set()


@pytest.mark.parametrize(("predictions", "code"), [("bad.csv", 13), ("few.csv", 14)])
def test_a_failure_is_written_down_and_is_no_pass(
    crossing: Crossing, predictions: str, code: int
) -> None:
    pin(crossing, "accuracy", "--predictions", predictions)
    said = run(crossing, predictions, "--key", "keys/home.pem", code=code)
    assert (crossing.base / said["result"]).is_file()
    assert ask(crossing) == {"gates-before-stage"}


def test_a_laxer_threshold_is_no_pass_of_the_projects_gate(crossing: Crossing) -> None:
    pin(crossing)
    said = run(crossing, "bad.csv", "--at-least", "0.5", "--key", "keys/home.pem")
    assert (said["outcome"], said["threshold"], said["project-threshold"]) == ("pass", "0.5", "0.9")
    assert "thresholds" not in said["inputs"]
    assert ask(crossing) == {"gates-before-stage"}


def test_the_threshold_cannot_come_from_the_environment(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SOVGATE_AT_LEAST", "SOVGATE_GATE_ACCURACY_AT_LEAST"):
        monkeypatch.setenv(name, "0.1")
    assert run(crossing, "bad.csv", code=13)["threshold"] == "0.9"


def test_less_confidence_than_policy_takes_is_refused(crossing: Crossing) -> None:
    run(crossing, "good.csv", "--confidence", "0.5", code=2)
    assert run(crossing, "good.csv", "--confidence", "0.999")["confidence"] == "0.999"


def test_rule_06_a_pass_by_a_signer_without_the_role(crossing: Crossing) -> None:
    pin(crossing)
    run(crossing, "good.csv", "--key", "keys/intern.pem")
    assert ask(crossing) == {"gates-before-stage"}


def test_rule_06_a_pass_of_another_model(crossing: Crossing) -> None:
    pin(crossing)
    other = crossing.base / "other"
    shutil.copytree(crossing.model, other)
    (other / "model.bin").write_bytes(b"others")
    made = crossing.json(
        "gate", "accuracy", other, "--predictions", "good.csv", "--key", "keys/home.pem"
    )
    shutil.copy(crossing.base / made["result"], attest.evidence_dir(crossing.model))
    assert ask(crossing) == {"gates-before-stage"}


def test_a_statement_that_claims_a_pass_its_numbers_deny(crossing: Crossing) -> None:
    """Even by a trusted signer: a result that does not follow from its numbers is none."""
    from sovgate.formats.testresult import EXTENSION

    pin(crossing)
    said = run(crossing, "bad.csv", code=13)
    predicate = json.loads((crossing.base / said["result"]).read_bytes())["predicate"]
    predicate["result"] = "PASSED"
    predicate[EXTENSION]["outcome"] = "pass"
    crossing.evidence("gate", predicate)
    assert ask(crossing) == {"gates-before-stage"}


@pytest.mark.parametrize("change", [{"metric": "f1"}, {"metric": "auc"}, {"gate": "regression"}])
def test_a_measure_of_something_else_is_no_pass_of_the_gate(
    crossing: Crossing, change: dict[str, str]
) -> None:
    """An F1 of 0.95 does not say that 95 % were right, whatever gate it is signed as."""
    from sovgate.formats.testresult import EXTENSION

    crossing.edit(
        "  accuracy: {at", "  regression: {at-least: 0.90, before: transfer}\n  accuracy: {at"
    )
    made = crossing.base / run(crossing, "good.csv")["result"]
    predicate = json.loads(made.read_bytes())["predicate"]
    predicate[EXTENSION].update(change)
    crossing.evidence("gate", predicate)
    code, said = crossing.run(
        "check", crossing.model, "--zone", "home", "--to", "eu", "--format", "json"
    )
    assert (code, json.loads(said)["denies"][0]["rule"]) == (10, "gates-before-stage")
    draft = json.loads(made.read_bytes())
    draft["predicate"] = predicate
    made.write_text(json.dumps(draft))
    said = crossing.json(
        "attest", crossing.model, "--all-unsigned", "--key", "keys/home.pem", code=11
    )
    assert said["error"]["reason"] == "other-measure"


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("accuracy: {before: transfer}", "no-threshold"),
        ("accuracy: {at-most: 0.90, before: transfer}", "wrong-threshold"),
        ("junit: {at-least: 1, before: transfer}", "wrong-threshold"),
    ],
)
def test_a_gate_whose_bound_is_missing_or_on_the_wrong_side_lints_not(
    crossing: Crossing, declared: str, reason: str
) -> None:
    crossing.edit("accuracy: {at-least: 0.90, before: transfer}", declared)
    found = crossing.json("lint", code=3)["findings"]
    assert [(one["rule"], one["severity"]) for one in found] == [(reason, "error")]


def test_no_pass_without_a_bound_satisfies_a_gate_that_lost_its_own(crossing: Crossing) -> None:
    """Whoever signs results could else pass it by anything, a test run under another name too."""
    pin(crossing)
    crossing.edit("at-least: 0.90, before: transfer", "before: transfer")
    (crossing.base / "report.xml").write_text("<testsuite><testcase name='a'/></testsuite>")
    made = crossing.json("gate", "junit", crossing.model, "--report", "report.xml")["result"]
    predicate = json.loads((crossing.base / made).read_bytes())["predicate"]
    predicate["https://sovgate.dev/gate/v0"] |= {"gate": "accuracy", "metric": "accuracy"}
    crossing.evidence("gate", predicate)
    assert ask(crossing) == {"gates-before-stage"}


def test_a_changed_model_loses_its_pass(crossing: Crossing) -> None:
    pin(crossing)
    run(crossing, "good.csv", "--key", "keys/home.pem")
    evidence = {p.name: p.read_bytes() for p in attest.evidence_dir(crossing.model).glob("gate-*")}
    (crossing.model / "model.bin").write_bytes(b"retrained")
    crossing.sign()
    for name, data in evidence.items():
        (attest.evidence_dir(crossing.model) / name).write_bytes(data)
    assert ask(crossing) == {"gates-before-stage"}


def test_a_junit_gate_has_no_threshold_and_still_binds(crossing: Crossing) -> None:
    crossing.edit("accuracy: {at-least: 0.90, before: transfer}", "junit: {before: transfer}")
    report = crossing.base / "report.xml"
    report.write_text("<testsuite><testcase name='a'><failure/></testcase></testsuite>")
    words = ("gate", "junit", crossing.model, "--report", "report.xml", "--key", "keys/home.pem")
    assert crossing.json(*words, code=13)["failed"] == ["a"]
    assert ask(crossing) == {"gates-before-stage"}
    report.write_text("<testsuite/>")
    crossing.json(*words, code=14)
    assert ask(crossing) == {"gates-before-stage"}
    report.write_text("<testsuite><testcase name='a'/></testsuite>")
    crossing.json(*words)
    assert ask(crossing) == {"gates-before-stage"}, "it is not pinned"
    pin(crossing, "junit", "--report", "report.xml")
    assert ask(crossing) == {"gates-before-stage"}, "the same test failed before"
    (crossing.model / "model.bin").write_bytes(b"mended")
    crossing.sign()
    crossing.json(*words)
    assert ask(crossing) == set()
    report.write_text("<testsuite><testcase name='b'/></testsuite>")
    pin(crossing, "junit", "--report", "report.xml")
    assert ask(crossing) == {"gates-before-stage"}, "other tests ran"


def test_regression_against_a_baseline_before_deploy(crossing: Crossing) -> None:
    crossing.edit(
        "accuracy: {at-least: 0.90, before: transfer}",
        "regression: {at-most: 0.01, before: deploy}",
    )
    words = ("gate", "regression", crossing.model, "--baseline", "good.csv", "--predictions")
    assert crossing.json(*words, "bad.csv", code=13)["estimate"] == "0.16"
    assert crossing.json(*words, "good.csv", code=2)["error"]["reason"] == "one-file"
    shutil.copy(crossing.base / "good.csv", crossing.base / "same.csv")
    assert crossing.json(*words, "same.csv")["outcome"] == "pass"
    crossing.json(*words, "few.csv", code=11)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("at-least: 0.90", "at-most: 0.90"),
        ("at-least: 0.90, ", ""),
        ("accuracy:", "acuracy:"),
    ],
)
def test_a_gate_without_its_threshold_is_a_mistake_in_the_project(
    crossing: Crossing, old: str, new: str
) -> None:
    crossing.edit(old, new)
    said = run(crossing, "good.csv", code=3)
    assert said["error"]["where"]["path"] == "sovgate.yaml"


@pytest.mark.parametrize(
    "words",
    [
        ("acuracy", "--predictions", "good.csv"),
        ("accuracy",),
        ("accuracy", "--predictions", "good.csv", "--baseline", "good.csv"),
        ("accuracy", "--predictions", "good.csv", "--at-most", "0.1"),
        ("accuracy", "--predictions", "good.csv", "--at-least", "nan"),
        ("accuracy", "--predictions", "good.csv", "--at-least", "1e9999"),
        ("f1", "--predictions", "good.csv", "--at-least", "0.5"),
        ("f1", "--predictions", "good.csv", "--at-least", "0.5", "--positive", "maybe"),
        ("junit", "--report", "none.xml"),
        ("junit", "--report", "none.xml", "--at-least", "1"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_does_not_fit_the_gate(
    crossing: Crossing, words: tuple[str, ...]
) -> None:
    crossing.json("gate", words[0], crossing.model, *words[1:], code=2)


def test_a_result_written_twice_is_one_file(crossing: Crossing) -> None:
    assert run(crossing, "good.csv")["result"] == run(crossing, "good.csv")["result"]


def test_names_from_files_cannot_command_the_runner(crossing: Crossing) -> None:
    (crossing.base / "p.csv").write_text(
        "id,label,prediction\n1,yes,::add-mask::x\n2,yes,<img src=x>\n"
    )
    code, text = crossing.run(
        "gate", "accuracy", crossing.model, "--predictions", "p.csv", "--format", "github"
    )
    assert code in (13, 14)
    assert "::add-mask" not in text


def test_rule_40_a_pin_is_written_through_no_link_that_leads_out(crossing: Crossing) -> None:
    project = crossing.base / "sovgate.yaml"
    link = crossing.base / "sub" / "sovgate.yaml"
    link.parent.mkdir()
    link.symlink_to("../sovgate.yaml")
    before = project.read_bytes()
    words = ("gate", "pin", "accuracy", "--predictions", "good.csv", "--project", "sub")
    assert crossing.json(*words, code=3)["error"]["reason"] == "unsafe-link"
    assert (link.is_symlink(), project.read_bytes()) == (True, before)


def test_rule_40_a_link_beneath_its_folder_stays_one_and_its_file_is_pinned(
    crossing: Crossing,
) -> None:
    project = crossing.base / "sovgate.yaml"
    real = crossing.base / "mounted" / "sovgate.yaml"
    real.parent.mkdir()
    project.rename(real)
    project.symlink_to("mounted/sovgate.yaml")
    pin(crossing)
    assert project.is_symlink()
    assert b"test-set" in real.read_bytes()
