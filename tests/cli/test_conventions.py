"""One idea, one spelling: what holds for every option and every output of every command."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from sovgate.cli import COMMANDS, _emit, _layout, root
from sovgate.cli._base import Command, LocalPath, _refuse_twice
from tests import commands, forked
from tests.signers import KeySigner

ROOT = Path(__file__).resolve().parents[2]
KEY = KeySigner()
PROJECT = """\
version: 1
model: churn
zones:
  home: {region: "aws:us-east-1", keys: {sign: "file:keys/sign.pem"}}
datasets:
  public: {category: public, stays-in: []}
"""


def every_command() -> list[Command]:
    context = click.Context(root, info_name="sovgate")
    found: list[Command] = []
    for name in COMMANDS:
        command = root.get_command(context, name)
        below = command.commands.values() if isinstance(command, click.Group) else [command]
        found += [one for one in below if isinstance(one, Command)]
    return found


ALL = every_command()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a project, its key, and a model, as the working directory."""
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys/sign.pem"
    key.touch(mode=0o600)
    key.write_bytes(KEY.private_pem)
    (tmp_path / "sovgate.yaml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/weights.txt").write_text("1", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.SOVGATE.run(*arguments, env={**os.environ, **environment})


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ALL, ids=lambda one: one.path)
def test_an_option_given_twice_repeats_or_is_refused(command: Command) -> None:
    """The last of two would win without a word, and a key that was meant be passed over."""
    context = click.Context(command, info_name=command.path)
    for param in command.params:
        if not isinstance(param, click.Option) or param.is_eager:
            continue
        flag = max(param.opts, key=len)
        once = [flag] if param.is_flag else [flag, "x"]
        if param.multiple or param.name in {"verbose", "quiet"}:
            _refuse_twice(command, context, once * 2)
            continue
        with pytest.raises(click.UsageError, match=f"{flag} is given twice"):
            _refuse_twice(command, context, once * 2)
        for short in param.opts:
            with pytest.raises(click.UsageError, match="is given twice"):
                _refuse_twice(command, context, [*once, short, *once[1:]])


def test_the_key_that_is_given_first_is_not_passed_over(place: Path) -> None:
    done = run("sign", "m", "--key", "file:nothing.pem", "--key", "file:keys/sign.pem")
    assert done.returncode == 2
    assert "--key is given twice" in done.stderr
    assert not (place / "m.evidence").exists()


def test_what_repeats_is_said_so_in_its_help() -> None:
    for command in ALL:
        for param in command.params:
            if isinstance(param, click.Option) and param.multiple:
                assert "Repeat for each" in str(param.help), f"{command.path} {param.opts}"


def test_whatever_signs_takes_a_key_or_a_zone() -> None:
    for command in ALL:
        names = {name for param in command.params for name in param.opts}
        if "--key" in names and command.path not in {"data commit", "verify"}:
            assert "--zone" in names or "--to" in names or command.path == "keys", command.path


@pytest.mark.parametrize(
    "words",
    [
        ("record", "m", "--no-dataset"),
        ("sbom", "m"),
        ("attest", "m", "--all-unsigned"),
        ("sign", "m"),
    ],
    ids=lambda words: words[0],
)
def test_a_zone_signs_with_its_key(place: Path, words: tuple[str, ...]) -> None:
    if words[0] == "attest":
        assert run("sbom", "m").returncode == 0
    done = run(*words, "--zone", "home", "--format", "json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert KEY.public_key.key_id in (found.get("signed-by"), found.get("key-id"))


def test_a_variable_for_other_commands_makes_nobody_sign(place: Path) -> None:
    done = run("record", "m", "--no-dataset", "--format", "json", SOVGATE_ZONE="home")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["signed-by"] is None


# --- paths and standard output ----------------------------------------------------------------


def test_a_dash_is_standard_output_or_is_refused(place: Path) -> None:
    for command in ALL:
        for param in command.params:
            if isinstance(param.type, LocalPath) and not param.type.stream:
                with pytest.raises(click.BadParameter, match=r"say \./-"):
                    param.type.convert("-", param, click.Context(command))
    done = run("data", "key", "-o", "-")
    assert done.returncode == 2
    assert "./-" in done.stderr
    assert not (place / "-").exists()


@pytest.mark.parametrize("flag", ["-o", "--spdx"])
def test_an_sbom_goes_to_standard_output_alone(place: Path, flag: str) -> None:
    assert run("sbom", "m", flag, "file.json").returncode == 0
    done = run("sbom", "m", flag, "-")
    assert done.returncode == 0, done.stderr
    assert "wrote the SBOM of churn" in done.stderr
    keys = json.loads(done.stdout).keys()
    assert keys == json.loads((place / "file.json").read_bytes()).keys()
    assert not (place / "-").exists()


def test_one_standard_output_takes_one_document(place: Path) -> None:
    for more in (("--spdx", "-"), ("--format", "json")):
        done = run("sbom", "m", "-o", "-", *more)
        assert done.returncode == 2, more
        assert "standard output" in done.stderr + done.stdout


def test_quiet_prints_only_what_went_wrong(place: Path) -> None:
    for flag in ("-q", "--quiet"):
        done = run("sign", "m", "--zone", "home", flag)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (place / "m/weights.txt").write_text("2", encoding="utf-8")
    done = run("verify", "m", "--key", "file:keys/sign.pem", "-q")
    assert done.returncode == 11
    assert "weights.txt" in done.stderr
    assert json.loads(run("sign", "m", "--zone", "home", "-q", "--format", "json").stdout)


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str) -> None:
    text = commands.run(name, "--help").stdout
    assert f"  sovgate {name} " in text.partition("Example:\n")[2]
    assert commands.run("help", name).stdout == text


def test_help_is_a_command_too() -> None:
    assert run("help").stdout == run("--help").stdout
    below = run("help", "audit", "verify")
    assert below.stdout == run("audit", "verify", "--help").stdout
    assert run("help", "nothing").returncode == 2


@pytest.mark.parametrize("word", ["delete", "report", "x", "status"])
def test_no_guess_is_made_that_is_far_away(word: str) -> None:
    done = commands.run(word)
    assert done.returncode == 2
    assert "Did you mean" not in done.stderr


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("verfy", "verify"),
        ("roleback", "rollback"),
        ("pul", "pull"),
        ("Sign", "sign"),
        ("version", "sovgate --version"),
        ("Version", "sovgate --version"),
        ("verison", "sovgate --version"),
    ],
)
def test_a_guess_that_is_near_is_made(word: str, meant: str) -> None:
    assert f"Did you mean {meant!r}?" in commands.run(word).stderr


# --- what is printed for people -----------------------------------------------------------------


def test_a_tree_fits_the_terminal_and_json_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    digest = "ab" * 32
    text = _emit.short(f"transfer from us-train to eu, manifest sha256:{digest}, policy {digest}")
    assert (
        text
        == f"transfer from us-train to eu, manifest sha256:{digest[:16]}…, policy {digest[:16]}…"
    )
    leaf = _layout.Branch(label="decision", text=text, status="verified", more=(text,))
    tree = _layout.Branch(label="release", text=text, status="stated", branches=(leaf, leaf, leaf))
    style = _layout.Style(io.StringIO())
    style.on = True
    lines = [
        re.sub(r"\x1b\[[0-9;]*m", "", line) for line in _layout.tree_lines((tree,), style, str)
    ]
    assert max(map(len, lines)) <= 80
    # The tree keeps its shape: what is below a branch stands right of its stem.
    assert all(line[0] in "r│├└ " for line in lines)
    style.on = False
    assert len(_layout.tree_lines((tree,), style, str)) == 7  # a log has no end of a line
    token = _emit.VERBOSE.set(True)
    assert _emit.short(digest) == digest
    _emit.VERBOSE.reset(token)
