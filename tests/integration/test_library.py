"""docs/library.md: its examples run as they stand, type-checked, and offer what the page says."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sovgate
from sovgate import library
from tests.crossing import Crossing, make_crossing, tree

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/library.md").read_text(encoding="utf-8")
FUNCTIONS = ("sign", "verify", "check", "push", "pull")
RECORDS = (library.Signed, library.Verified, library.Checked, library.Pushed, library.Pulled)


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def environment() -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
    return {**plain, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the examples print, one after the other in one process."""
    folder = tmp_path_factory.mktemp("library")
    script = f'set -eu\nsovgate() {{ "{sys.executable}" -m sovgate "$@"; }}\n{blocks("sh")[0]}'
    subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, check=True, capture_output=True, env=environment()
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks("python"))],
        cwd=folder / "churn",
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "churn/served/weights.bin").read_text() == "weights"
    return done.stdout


def test_the_examples_run_as_written(printed: str) -> None:
    lines = printed.splitlines()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", lines[0])
    assert lines[1] == "us-train-sign.pub.pem 1 7"
    assert lines[2].startswith("('border (sovgate.yaml:")
    assert re.fullmatch(r"\d+ bytes would cross", lines[3])
    assert lines[4] == f"churn/1.0.0@{lines[0]}"
    assert re.fullmatch(r"eu True [0-9a-f]{64}", lines[5])
    assert re.fullmatch(r"served [0-9a-f]{64}", lines[6])
    assert lines[7].startswith("refused:")


def test_each_function_has_an_example_and_each_field_is_named() -> None:
    code = "\n".join(blocks("python"))
    for name in FUNCTIONS:
        assert f"sovgate.{name}(" in code
        assert f"\n## {name}\n" in PAGE
    for section, record in zip(FUNCTIONS, RECORDS, strict=True):
        text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        for field in dataclasses.fields(record):
            assert f"`{field.name}`" in text, (section, field.name)


def typed(folder: Path, text: str) -> str:
    """What `mypy --strict` says of a user's script, of the package as it is installed: py.typed."""
    (folder / "script.py").write_text(text)
    options = ["--no-error-summary", f"--cache-dir={ROOT}/.mypy_cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", *options, "script.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    return done.stdout + done.stderr


def test_a_users_script_is_checked_strictly(tmp_path: Path) -> None:
    assert typed(tmp_path, "\n".join(blocks("python"))) == ""


def test_a_wrong_call_is_found_by_the_type_checker(tmp_path: Path) -> None:
    said = typed(
        tmp_path,
        "import sovgate\n"
        "sovgate.sing('model')\n"
        "sovgate.verify('model', kye='x')\n"
        "sovgate.sign('model').manifest = 'x'\n",
    )
    assert 'no attribute "sing"' in said
    assert 'argument "kye"' in said
    assert "read-only" in said


# -- what decides


def test_a_denial_is_raised_and_never_returned(crossing: Crossing) -> None:
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    with pytest.raises(sovgate.PolicyDenied) as caught:
        sovgate.check(crossing.base / "model", zone="home", to="eu", project=crossing.base)
    decision = caught.value.data["decision"]
    assert isinstance(decision, dict)
    assert decision["allowed"] is False
    assert decision["denies"]


RULE = "package user.ours\n\nimport rego.v1\n\n"
WRITTEN = {
    "nobody": RULE + 'deny contains "not to mars" if input.destination.zone == "mars"\n',
    "all": RULE + 'deny contains "not today" if input.destination.zone == "eu"\n',
}


def test_rules_that_change_while_a_program_runs_count_from_then_on(crossing: Crossing) -> None:
    crossing.sign("public")
    crossing.edit("border:\n", "policy: {rules: rules}\nborder:\n")
    rules = crossing.base / "rules"
    rules.mkdir()

    def asked() -> str:
        checked = sovgate.check(crossing.model, zone="home", to="eu", project=crossing.base)
        return checked.policy

    (rules / "ours.rego").write_text(WRITTEN["nobody"])
    before = asked()
    (rules / "ours.rego").write_text(WRITTEN["all"])
    with pytest.raises(sovgate.PolicyDenied) as denied:
        asked()
    assert "not today" in str(denied.value.why)
    (rules / "ours.rego").write_text(WRITTEN["nobody"])
    assert asked() == before
    (rules / "ours.rego").unlink()
    with pytest.raises(sovgate.ConfigError, match="holds no rule"):  # RULES 35
        asked()


def test_evidence_and_links_elsewhere_as_the_commands_have_them(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(crossing.base)
    for blob in ("blobs/1", "blobs/2"):
        (crossing.base / blob).parent.mkdir(exist_ok=True)
        (crossing.base / blob).write_text(blob)
    linked = crossing.base / "linked"
    linked.mkdir()
    (linked / "weights.bin").symlink_to("../blobs/1")
    with pytest.raises(sovgate.VerificationFailed, match="link"):
        sovgate.sign(linked, key="file:keys/home.pem")
    model = sovgate.Model(path=linked, follow_links="blobs", evidence="elsewhere/linked")
    signed = sovgate.sign(model, key="file:keys/home.pem")
    assert signed.signature.is_relative_to("elsewhere/linked")
    assert sovgate.verify(model, key="keys/home.pub.pem").manifest == signed.manifest
    named = ("--evidence", "elsewhere/linked", "--follow-links", "blobs")
    crossing.json("record", "linked", "--dataset", "public", "--key", "keys/home.pem", *named)
    assert sovgate.check(model, zone="home", to="eu", release="churn/2.0.0").permits
    pushed = sovgate.push(model, release="churn/2.0.0", zone="home", to="eu")
    pulled = sovgate.pull(pushed.release, zone="eu", output="got", evidence="elsewhere/got")
    assert pulled.evidence == Path("elsewhere/got")
    assert (crossing.base / "got/weights.bin").read_text() == "blobs/1"


def test_a_model_is_signed_by_a_key_where_there_is_no_project(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = f"file:{crossing.base}/keys/home.pem"
    monkeypatch.chdir(tmp_path)
    assert sovgate.sign(crossing.model, key=key).files == 4
    with pytest.raises(sovgate.UsageError) as caught:
        sovgate.sign(crossing.model, key=key, project=tmp_path / "elsewhere")
    assert caught.value.reason == "no-project"
    # A secret that the project here names is refused, whose key ever signs.
    monkeypatch.chdir(crossing.base)
    (crossing.model / "notes.txt").write_bytes((crossing.base / "keys/eu.pem").read_bytes())
    with pytest.raises(sovgate.PolicyDenied):
        sovgate.sign(crossing.model, key=key)


@pytest.mark.parametrize("text", ["", "a\0b"], ids=["empty", "nul"])
def test_a_path_that_is_not_set_is_not_the_folder_we_are_in(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(crossing.base)
    key, before = "file:keys/home.pem", tree(crossing.base.parent)
    for call in (
        lambda: sovgate.sign(text, key=key),
        lambda: sovgate.sign("model", key=key, signature=text),
        lambda: sovgate.sign("model", key=key, project=text),
        lambda: sovgate.verify(text, key=key),
        lambda: sovgate.verify("model", key="keys/home.pub.pem", signature=text),
        lambda: sovgate.verify("model", project=text),
        lambda: sovgate.verify("model", key="keys/home.pub.pem", ignore_unsigned=[text]),
        lambda: sovgate.check(text, zone="home"),
        lambda: sovgate.sign(sovgate.Model(path=text), key=key),
        lambda: sovgate.sign(sovgate.Model(path="model", evidence=text), key=key),
        lambda: sovgate.sign(sovgate.Model(path="model", follow_links=text), key=key),
        lambda: sovgate.push(text, release="churn/1", zone="home", to="eu"),
        lambda: sovgate.push("model", release="churn/1", zone="home", to="eu", state=text),
        lambda: sovgate.pull("churn/1", zone="eu", output=text),
    ):
        with pytest.raises(sovgate.UsageError) as caught:
            call()
        assert caught.value.reason in ("bad-path", "empty-path")
    assert tree(crossing.base.parent) == before


def test_unsigned_files_are_refused_unless_the_call_itself_allows_them(
    crossing: Crossing,
) -> None:
    model, key = crossing.base / "model", str(crossing.base / "keys/home.pub.pem")
    (model / "logs").mkdir()
    (model / "logs/run.txt").write_text("a line")
    with pytest.raises(sovgate.VerificationFailed):
        sovgate.verify(model, key=key)
    for given, said in ((["logs"], ("logs",)), ("logs", ("logs",)), (True, (".",))):
        verified = sovgate.verify(model, key=key, ignore_unsigned=given)
        assert (verified.files, verified.unsigned) == (4, said)
    for nothing in ([], False, ["elsewhere"]):
        with pytest.raises(sovgate.VerificationFailed):
            sovgate.verify(model, key=key, ignore_unsigned=nothing)
    with pytest.raises(sovgate.SovgateError):
        sovgate.verify(model, key=key, ignore_unsigned=["model.bin"])
    (model / "model.bin").write_bytes(b"changed")
    with pytest.raises(sovgate.VerificationFailed):
        sovgate.verify(model, key=key, ignore_unsigned=True)


def test_no_environment_variable_stands_in_for_an_argument(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = crossing.base / "keys"
    for name, value in {
        "SOVGATE_KEY": f"file:{keys}/home.pem",
        "SOVGATE_SIGN_KEY": f"file:{keys}/home.pem",
        "SOVGATE_VERIFY_KEY": str(keys / "home.pub.pem"),
        "SOVGATE_ZONE": "home",
        "SOVGATE_PROJECT": str(crossing.base),
        "SOVGATE_SIGN_PROJECT": str(crossing.base),
        "SOVGATE_VERIFY_PROJECT": str(crossing.base),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sovgate.UsageError) as caught:
        sovgate.sign(crossing.base / "model")
    assert caught.value.reason == "no-key"
    with pytest.raises(sovgate.SovgateError) as found:
        sovgate.verify(crossing.base / "model")
    assert found.value.reason == "no-project"


def test_no_folder_above_is_searched_for_a_project(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crossing.base / "below").mkdir()
    monkeypatch.chdir(crossing.base / "below")
    with pytest.raises(sovgate.SovgateError) as caught:
        sovgate.verify(crossing.base / "model")
    assert caught.value.reason == "no-project"


def test_what_the_operating_system_refuses_is_an_error_of_ours(
    crossing: Crossing, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(sovgate.SovgateError):
        sovgate.sign(
            crossing.base / "model",
            key=f"file:{crossing.base}/keys/home.pem",
            signature=tmp_path / "file" / "x",
        )


# -- what it costs, and what it is called


def test_importing_it_imports_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "import sovgate; dir(sovgate); print(*sorted(set(sys.modules) - before))\n"
        "sovgate.SovgateError; print(*sorted(n for n in sys.modules if n.startswith('sovgate')))\n"
        "import sovgate.library; print(*{'cryptography', 'click', 'yaml'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert done.stdout.splitlines() == ["sovgate", "sovgate sovgate.errors", ""]


def test_what_is_offered_is_there_and_is_no_module() -> None:
    """A module of that name would take the function's place once it is imported."""
    for name in sovgate.__all__:
        assert getattr(sovgate, name) is not None
        assert name in dir(sovgate)
    package = ROOT / "sovgate"
    names = {path.stem for path in package.iterdir()}
    assert not names & set(sovgate.__all__)
    assert {*FUNCTIONS, *(record.__name__ for record in RECORDS)} <= set(sovgate.__all__)
    with pytest.raises(AttributeError):
        sovgate.sing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_frozen_and_small(record: Any) -> None:
    assert getattr(sovgate, record.__name__) is record
    assert record.__dataclass_params__.frozen
    assert len(dataclasses.fields(record)) <= 10
