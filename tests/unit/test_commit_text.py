"""What a project may make of its commits: the first line and the author, and never the trailers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.errors import ConfigError
from sovgate.formats.kustomize import Pin
from sovgate.pipeline.project import open_project
from sovgate.stages.promote import commit_message
from tests.crossing import YAML

PIN = Pin(
    release="churn/1.0.0@sha256:" + "a" * 64,
    manifest="a" * 64,
    record="b" * 64,
    key_uri="file:keys/eu.pem",
    zone="eu",
)
TRAILERS = [
    f"Sovgate-Release: {PIN.release}",
    f"Sovgate-Manifest: sha256:{PIN.manifest}",
    f"Sovgate-Record: sha256:{PIN.record}",
    "Sovgate-Zone: eu",
    f"Sovgate-Audit-Head: {'c' * 64}",
]


def said(wanted: str | None, reason: str | None = None) -> list[str]:
    """The paragraphs of a message."""
    message = commit_message(PIN, "c" * 64, reason=reason, wanted=wanted)
    assert message.endswith("\n")
    return message.rstrip("\n").split("\n\n")


@pytest.mark.parametrize(
    ("wanted", "before"),
    [
        (None, ["Promote churn/1.0.0 in eu"]),
        ("OPS-17: {subject}", ["OPS-17: Promote churn/1.0.0 in eu"]),
        ("OPS-17", ["OPS-17", "Promote churn/1.0.0 in eu"]),
        ("{release} goes to {zone}", ["churn/1.0.0 goes to eu", "Promote churn/1.0.0 in eu"]),
        ("{subject}", ["Promote churn/1.0.0 in eu"]),
    ],
)
def test_the_first_line_is_the_projects_and_the_trailers_stay(
    wanted: str | None, before: list[str]
) -> None:
    assert said(wanted) == [*before, "\n".join(TRAILERS)]


def test_a_rollback_keeps_its_reason() -> None:
    paragraphs = said("OPS-17: {subject}", "P95 at 240 ms")
    assert paragraphs[0] == "OPS-17: Roll back to churn/1.0.0 in eu"
    assert paragraphs[-1].split("\n") == [*TRAILERS, "Sovgate-Rollback: P95 at 240 ms"]


def project(folder: Path, commit: str) -> Path:
    gitops = f"    gitops: {{repo: ../serving.git, path: overlays/eu, commit: {commit}}}\n"
    (folder / "sovgate.yaml").write_text(YAML.replace("datasets:\n", gitops + "datasets:\n"))
    return folder


def test_what_is_written_is_taken(tmp_path: Path) -> None:
    folder = project(
        tmp_path, '{message: "ÄB-1: {subject} → {zone}", author: "Release Bot <a.b@bank.example>"}'
    )
    gitops = open_project(folder).zone("eu").gitops
    assert gitops is not None
    assert gitops.commit.message == "ÄB-1: {subject} → {zone}"
    assert gitops.commit.author == ("Release Bot", "a.b@bank.example")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("message", '""'),
        ("message", '"two\\nlines"'),
        ("message", '"bell \\a"'),
        ("message", '"\\e[31mred"'),
        ("message", '"turned \\u202e round"'),
        ("message", '"line \\u2028 mark"'),
        ("message", f'"{"x" * 201}"'),
        ("message", '"{name}"'),
        ("message", '"{release"'),
        ("message", '"{release.__class__}"'),
        ("message", '"# a comment"'),
        ("message", '" in front"'),
        ("message", '"Sovgate-Release: churn/9.9.9"'),
        ("message", "[OPS-17]"),
        ("author", '"bot"'),
        ("author", '"bot@bank.example"'),
        ("author", '"<bot@bank.example>"'),
        ("author", '" <bot@bank.example>"'),
        ("author", '". <bot@bank.example>"'),
        ("author", '"Bot <bot>"'),
        ("author", '"Bot <a@b> <c@d>"'),
        ("author", '"Bot\\nauthor x <a@b>"'),
        ("author", '"Bot <a@b\\0>"'),
        ("author", f'"{"x" * 200} <a@b>"'),
    ],
)
def test_what_could_be_read_as_something_else_is_refused(
    tmp_path: Path, key: str, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_project(project(tmp_path, f"{{{key}: {value}}}"))
    assert caught.value.exit_code == 3
    assert caught.value.where is not None


@pytest.mark.parametrize("value", ["file:keys/eu.pem", "~/.ssh/id_ed25519", "true", "null"])
def test_signing_is_refused_by_its_name_and_what_is_there_is_said(
    tmp_path: Path, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_project(project(tmp_path, f"{{sign: {value}}}"))
    error = caught.value
    assert "gitops.commit.sign is not supported" in error.what
    assert "message and author are supported" in str(error.fix)
    assert "pull-request" in str(error.fix)
    assert error.where is not None
    assert error.where.line is not None
