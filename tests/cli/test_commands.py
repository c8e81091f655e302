"""Every command keeps the promises that hold for all of them: help, names, formats, start-up."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate.cli import COMMANDS, module_name
from sovgate.surface._verbs import Verb, commands
from sovgate.surface.launch import VERBS
from tests.commands import run

ROOT = Path(__file__).resolve().parents[2]
FOUND = commands()
ALL = [verb for below in FOUND.values() for verb in below]
HEAVY = ("cryptography", "yaml", "regorus", "jsonschema", "cyclonedx", "rich", "ruamel")


def sovgate(*words: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-m", "sovgate", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_table_and_the_modules_agree() -> None:
    files = [path.relative_to(ROOT) for path in (ROOT / "sovgate/cli").rglob("[!_]*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in files}
    assert modules == {module_name(name) for name in FOUND}
    assert set(VERBS) <= set(COMMANDS)


@pytest.mark.parametrize("name", FOUND)
def test_the_line_in_the_list_is_the_commands_own(name: str) -> None:
    from sovgate.cli import root

    command = root.get_command(__import__("click").Context(root), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name][1]
    assert len(COMMANDS[name][1]) <= 80


@pytest.mark.parametrize("verb", ALL, ids=lambda verb: verb.path)
def test_a_command_has_an_example_and_formats_and_helps_with_each_option(verb: Verb) -> None:
    assert verb.example, "--help needs an example"
    lines = verb.example.splitlines()
    assert any(line.startswith(f"sovgate {verb.path}") for line in lines)
    assert all(line.startswith(("sovgate ", "  ", "#")) for line in lines)
    assert "--format" in {item.flags for item in verb.parameters}
    for item in verb.parameters:
        assert item.help, f"{item.flags} has no help"
        assert item.help.endswith((".", "?", ")", "…")), f"{item.flags}: {item.help}"


#: SOVGATE_URI of a job is the key that other commands use; no variable makes one.
MAKE_A_KEY = {("keys generate", "uri")}


@pytest.mark.parametrize("verb", ALL, ids=lambda verb: verb.path)
def test_a_variable_is_named_after_command_and_option(verb: Verb) -> None:
    prefix = "SOVGATE_" + re.sub("[ -]", "_", verb.path.upper())
    names = []
    for item in verb.parameters:
        if item.weakens_trust or (verb.path, item.name) in MAKE_A_KEY:
            assert item.variables == (), "what weakens trust is not taken from the environment"
            continue
        name = item.name.upper().replace("-", "_")
        assert item.variables == (f"{prefix}_{name}", f"SOVGATE_{name}")
        names += item.variables
    assert len(names) == len(set(names))


def test_no_variable_of_one_command_means_something_in_another() -> None:
    """`SOVGATE_AUDIT_VERIFY_X` could be `audit verify --x` or `audit --verify-x`: never both."""
    specific = [item.variables[0] for verb in ALL for item in verb.parameters if item.variables]
    general = {item.variables[1] for verb in ALL for item in verb.parameters if item.variables}
    assert len(specific) == len(set(specific))
    assert not set(specific) & general


def test_what_is_trusted_is_never_taken_from_the_environment() -> None:
    """By name, so that a new option of this kind is thought about."""
    trusting = {"endpoint", "mode", "trust", "trusted", "waiver", "now", "time", "grade"}
    for verb in ALL:
        words = trusting | ({"key"} if verb.path.split()[-1] in {"verify", "pull"} else set())
        for item in verb.parameters:
            if words & set(item.name.split("-")):
                assert item.weakens_trust, f"{verb.path} {item.flags}"


@pytest.mark.parametrize("name", FOUND)
def test_help_imports_nothing_heavy(name: str) -> None:
    done = sovgate(name, "--help", python=("-X", "importtime"))
    assert done.returncode == 0, done.stderr
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & set(HEAVY)
    assert f"sovgate {name}" in done.stdout


@pytest.mark.parametrize("verb", ALL, ids=lambda verb: verb.path)
def test_json_says_what_is_wrong_with_the_command_line(verb: Verb) -> None:
    done = run(*verb.path.split(), "--no-such-option", "--format", "json")
    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert error["exit"] == 2
    assert "--no-such-option" in error["error"]["what"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["audit", "data", "keys", "policy", "regions"])
def test_a_group_lists_its_commands_with_whole_sentences(name: str) -> None:
    listed = run(name, "--help").stdout.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("sovgate pu", {"plain,push", "plain,pull"}),
        ("sovgate sign bu", {"file,bu"}),
        ("sovgate push --signature bu", {"file,bu"}),
        ("sovgate gate reg", {"plain,regression"}),
    ],
)
def test_a_shell_completes_commands_choices_and_paths(words: str, offered: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from sovgate.cli import main; main()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": str(ROOT),
            "_SOVGATE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
    )
    assert set(done.stdout.split()) == offered


def test_a_command_that_is_not_there_is_named_with_its_neighbour() -> None:
    done = sovgate("verfy")
    assert done.returncode == 2
    assert "'verify'" in done.stderr


MISPLACED = {
    ("--format", "json", "pull"): "sovgate pull … --format json",
    ("--zone", "eu", "pull", "churn/1.0.0"): "sovgate pull … --zone eu",
    ("--zone=eu", "push", "m"): "sovgate push … --zone=eu",
    ("-v", "push"): "sovgate push … -v",
    ("-qv", "audit", "verify"): "sovgate audit verify … -qv",
    ("audit", "--zone", "eu", "verify"): "sovgate audit verify … --zone eu",
}


@pytest.mark.parametrize("words", MISPLACED, ids=" ".join)
def test_an_option_before_the_command_is_told_where_it_belongs(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert f"write it after the command: {MISPLACED[words]}" in (
        json.loads(done.stdout)["error"]["fix"] if done.stdout else " ".join(done.stderr.split())
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("--nope", "pull"), "see sovgate pull --help"),
        (("-v",), "name the command first: sovgate COMMAND …; see sovgate --help"),
        (("-V",), "did you mean sovgate --version?"),
        (("sign", "m", "--version"), "did you mean sovgate --version?"),
        (("audit", "--version"), "did you mean sovgate --version?"),
        (("check", "m", "--from", "eu"), "did you mean --zone? See sovgate check --help"),
        (("push", "m", "--target", "eu"), "did you mean --to? See sovgate push --help"),
        (("sign", "m", "--json"), "did you mean --format json? See sovgate sign --help"),
        (("pull", "x", "-v", "--nope"), "see sovgate pull --help"),
        (("pull", "-v"), "see sovgate pull --help"),
        (("pull", "Churn/1", "--zone", "eu", "-o", "x", "-v"), "churn/1"),
    ],
)
def test_a_usage_error_has_a_fix_and_never_a_traceback(words: tuple[str, ...], fix: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert fix in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
