"""`--ca` and `--proxy`: on each command that can open a connection, and on no other."""

from __future__ import annotations

import socket
from pathlib import Path

import click
import pytest

from sovgate.cli._base import Command
from tests.cli.test_conventions import ALL
from tests.crossing import Crossing, make_crossing

#: What stays on this machine. A command that is new has the options, or is added here.
OFFLINE = {
    "data commit",
    "data key",
    "guard",
    "init",
    "keys kept",
    "lint",
    "policy list",
    "policy test",
    "regions list",
    "regions show",
}
CLOUD = """\
version: 1
model: churn
zones:
  us-train:
    region: aws:us-east-1
    store: s3://churn-us?endpoint=https://127.0.0.1:9
    keys: {sign: "awskms://127.0.0.1:9/arn:aws:kms:us-east-1:111122223333:key/a"}
  eu:
    region: aws-eusc:eusc-de-east-1
    store: s3://churn-eu?endpoint=https://127.0.0.1:9
    keys:
      sign: awskms://127.0.0.1:9/arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/b
      encrypt: awskms://127.0.0.1:9/arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/c
    gitops: {repo: "https://127.0.0.1:9/serving.git", path: overlays/eu}
border:
  weights: {allow: [us-train -> eu]}
"""


def options(command: Command) -> set[str]:
    return {word for param in command.params for word in param.opts}


@pytest.mark.parametrize("command", ALL, ids=lambda one: one.path)
def test_rule_36_each_command_that_can_connect_has_them(command: Command) -> None:
    here = {"--ca", "--proxy"} & options(command)
    assert here == (set() if command.path in OFFLINE else {"--ca", "--proxy"})
    for param in command.params:
        if isinstance(param, click.Option) and param.name in ("ca", "proxy"):
            assert param.envvar is None


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """Every key, store and repository is far away."""
    made = make_crossing(tmp_path / "project")
    (made.base / "sovgate.yaml").write_text(CLOUD)
    return made


def test_the_others_open_no_connection(crossing: Crossing, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def connect(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("nobody is there")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    words = {
        "guard": ["sovgate.yaml"],
        "regions show": ["aws:us-east-1"],
        "keys generate": ["sign", "-o", "k.pem"],
    }
    for path in sorted(OFFLINE - {"data commit", "data key", "init"}):
        code, said = crossing.run(*path.split(), *words.get(path, []))
        assert (tried, code in (0, 3)) == ([], True), said
    crossing.run("keys", "show", "awskms://127.0.0.1:9/arn:aws:kms:us-east-1:111122223333:key/a")
    assert tried  # of a command that does connect it is seen


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--proxy", "http://me:h1dden@proxy.bank.example:3128"], 3, "secret-in-uri"),
        (["--proxy", "https://h1dden.example:3128"], 3, "bad-proxy"),
        (["--proxy", ""], 3, "bad-proxy"),
        (["--ca", "nowhere.pem"], 2, "missing-path"),
    ],
)
def test_what_is_wrong_with_them_is_said_before_anything_is_done(
    crossing: Crossing, words: list[str], code: int, reason: str
) -> None:
    document = crossing.json("audit", "verify", *words, code=code)
    assert document["error"]["reason"] == reason
    assert document["error"]["fix"]
    assert "h1dden" not in str(document)
