"""How a promotion logs in, against a real HTTP server; and that no secret is seen on the way."""

from __future__ import annotations

import base64
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate.errors import GitError
from sovgate.formats.kustomize import Pin
from sovgate.git import run as gitrun
from sovgate.git.repo import Git
from sovgate.git.url import parse_remote
from sovgate.stages import promote
from tests.githttp import git_server
from tests.repositories import Repository, git

TOKEN = "tok%n-5up3r$ecret`id`"
PIN = Pin(
    release=f"churn/1.0.0@sha256:{'a' * 64}",
    manifest="a" * 64,
    record="b" * 64,
    key_uri="file:keys/eu.pem",
    zone="eu",
)

# Prints every argument of every program that is started, then what came of it.
RUN = """
import sys
from pathlib import Path
seen = []
sys.addaudithook(lambda event, args: seen.append(repr(args[1])) if event == "subprocess.Popen"
                 else None)
from sovgate.formats.kustomize import Pin
from sovgate.git.url import parse_remote
from sovgate.stages import promote
pin = Pin(release="churn/1.0.0@sha256:" + "a" * 64, manifest="a" * 64, record="b" * 64,
          key_uri="file:keys/eu.pem", zone="eu")
target = promote.GitTarget(zone="eu", remote=parse_remote(sys.argv[1], Path("/")),
                           path="overlays/eu", via=sys.argv[2])
with promote.opened(target) as checkout:
    state = checkout.read_overlay()
    done = checkout.push(pin, state, promote.commit_message(pin, "c"), lambda: None)
print(chr(10).join(seen))
print(done)
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    repository = Repository(tmp_path)
    git("config", "http.receivepack", "true", cwd=repository.path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return repository


def target(url: str) -> promote.GitTarget:
    return promote.GitTarget(
        zone="eu", remote=parse_remote(f"{url}/serving.git", Path("/")), path="overlays/eu"
    )


@pytest.mark.parametrize("via", ["push", "pull-request"])
def test_rule_29_a_token_logs_in_and_is_in_no_argument_file_or_output(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, via: str
) -> None:
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    with git_server(repository.path.parent, TOKEN) as server:
        done = subprocess.run(
            [sys.executable, "-c", RUN, f"{server.url}/serving.git", via],
            capture_output=True,
            check=True,
        )
    assert b"'push'" in done.stdout
    assert TOKEN.encode() not in done.stdout + done.stderr
    assert set(server.users) == {"x-access-token"}
    branch = "main" if via == "push" else "sovgate/eu/churn-1.0.0"
    assert repository.log(branch)[0] == "Promote churn/1.0.0 in eu"
    objects = git("cat-file", "--batch-all-objects", "--batch", cwd=repository.path)
    assert TOKEN not in objects
    assert not [
        p
        for p in (tmp_path / "temporary").rglob("*")
        if p.is_file() and TOKEN.encode() in p.read_bytes()
    ]


def test_a_wrong_token_or_none_is_refused_with_the_fix(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with git_server(repository.path.parent, TOKEN) as server:
        for token in (None, "wrong-t0ken"):
            if token:
                monkeypatch.setenv("SOVGATE_GIT_TOKEN", token)
                monkeypatch.setenv("SOVGATE_GIT_USER", "robot")
            with pytest.raises(GitError) as caught, promote.opened(target(server.url)):
                pass
            assert (caught.value.exit_code, caught.value.reason) == (23, "git-access")
            assert "SOVGATE_GIT_TOKEN" in str(caught.value.fix)
            assert caught.value.details[1:] == ("  permissions:", "    contents: write")
            assert "wrong-t0ken" not in f"{caught.value} {caught.value.why} {caught.value.fix}"
    assert set(server.users) == {"robot"}


def test_a_notice_of_any_length_hides_nothing_of_what_git_says(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    with git_server(repository.path.parent, TOKEN) as server:
        server.refusal = "You are entering the systems of the bank.\n" * 5000
        with pytest.raises(GitError) as caught, promote.opened(target(server.url)):
            pass
    assert caught.value.reason == "git-access"
    said = "\n".join((str(caught.value.why), *caught.value.details))
    assert "returned error: 403" in said
    assert "systems of the bank" in said
    assert len(said) < 3500


@pytest.mark.parametrize("before", ["", "no\n" * 30_000])
def test_rule_29_what_a_server_echoes_shows_no_token(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    sent = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    with git_server(repository.path.parent, TOKEN) as server:
        server.refusal = f"{before}your header was {{authorization}}, of {TOKEN}"
        with pytest.raises(GitError) as caught, promote.opened(target(server.url)):
            pass
    said = " ".join((str(caught.value), str(caught.value.why), *caught.value.details))
    assert "your header was Basic …, of …" in said
    assert sent not in said
    assert TOKEN not in said


def test_rule_29_a_secret_that_is_cut_in_two_is_left_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    shown = (
        f"printf '%s' '{TOKEN}' >&2; head -c {gitrun.MAX_STDERR - 17} /dev/zero | tr '\\0' x >&2"
    )
    done = gitrun.execute(
        ["/bin/sh", "-c", f"{shown}; printf '\\nfatal\\n' >&2"],
        environment={"PATH": "/usr/bin:/bin"},
        folder=tmp_path,
        stdin=b"",
        limits=gitrun.Limits(most=1000, seconds=20),
    )
    assert done.stderr == "fatal"


def test_rule_29_a_header_of_the_users_own_settings_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It logs in as a token does."""
    secret = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    (tmp_path / ".gitconfig").write_text(
        f'[http "https://git.example/"]\n\textraHeader = Authorization: Basic {secret}\n'
    )
    own = pwd.getpwuid(os.getuid())
    here = pwd.struct_passwd((*own[:5], str(tmp_path), own[6]))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: here)
    git_runner = Git(tmp_path, parse_remote("https://git.example/serving.git", Path("/")))
    assert git_runner.printable(f"it was Basic {secret}") == "it was Basic …"


def test_a_redirect_is_not_followed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server would learn the token, and get to say what the zone runs."""
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    with git_server(repository.path.parent, TOKEN) as other:
        with git_server(repository.path.parent, TOKEN) as server:
            server.redirect_to = other.url
            with pytest.raises(GitError) as caught, promote.opened(target(server.url)):
                pass
        assert caught.value.exit_code == 23
        assert other.users == []


def test_a_server_that_does_not_answer(repository: Repository) -> None:
    with git_server(repository.path.parent, TOKEN) as server:
        url = server.url
    with pytest.raises(GitError) as caught, promote.opened(target(url)):
        pass
    assert (caught.value.exit_code, caught.value.reason) == (23, "git-unreachable")


def test_ssh_runs_by_its_own_path_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, evil = tmp_path / "marker", tmp_path / "evil"
    evil.mkdir()
    (evil / "ssh").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (evil / "ssh").chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{evil}:/usr/bin:/bin")
    monkeypatch.setenv("GIT_SSH_COMMAND", str(evil / "ssh"))
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"ssh://git@127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(GitError) as caught, promote.opened(target(url)):
            pass
    assert caught.value.reason in ("git-unreachable", "git-missing")  # the latter: no ssh here
    assert not marker.exists()
