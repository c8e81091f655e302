"""Logins to OpenBao that end otherwise than well: told to end, refused, sealed; and GitHub's."""

from __future__ import annotations

import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.errors import SovgateError
from sovgate.keys import registry
from sovgate.transport import runs
from tests import components, openbao, servers
from tests.forked import SOVGATE
from tests.lyingbao import Asked, LyingBao, Told, lying, refusal
from tests.openbao import Bao, Issuer
from tests.pace import finish, until
from tests.vendor import Asked as Heard
from tests.vendor import Said, vendor

REVOKE = ("auth/token/revoke-self", "update")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("BAO_", "VAULT_", "ACTIONS_ID_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")
    yield
    runs.end()


@pytest.fixture
def bao() -> Bao:
    return openbao.here()


@pytest.fixture
def server(bao: Bao) -> Iterator[LyingBao]:
    with lying(bao.url) as made:
        yield made


def _role(bao: Bao, name: str, *more: tuple[str, str]) -> dict[str, str]:
    """The variables of a job that may sign with a key."""
    bao.mounted("approle", "approle", under="sys/auth")
    there = f"auth/approle/role/r-{secrets.token_hex(4)}"
    policy = bao.policy((f"transit/keys/{name}", "read"), (f"transit/sign/{name}", "update"), *more)
    asked = {"token_policies": [policy], "token_ttl": "5m", "token_no_default_policy": True}
    bao.ask("POST", there, asked)
    secret = bao.ask("POST", f"{there}/secret-id", {})["data"]["secret_id"]
    return {
        "BAO_ROLE_ID": bao.ask("GET", f"{there}/role-id")["data"]["role_id"],
        "BAO_SECRET_ID": secret,
    }


def _uri(bao: Bao, server: LyingBao, name: str) -> str:
    return bao.uri(name).replace(bao.url, server.url)


def _token(server: LyingBao) -> str:
    return server.asked("transit/keys")[0].headers["x-vault-token"]


def test_a_run_that_is_told_to_end_gives_its_token_back(
    bao: Bao, server: LyingBao, tmp_path: Path
) -> None:
    name = bao.key("ecdsa-p256")
    given = _role(bao, name, REVOKE)
    asked, go = threading.Event(), threading.Event()

    def waits(one: Asked, told: Told) -> Told:
        if "/sign/" in one.path:
            asked.set()
            go.wait()
        return told

    server.lie = waits
    (tmp_path / "m").write_bytes(b"weights")
    process = subprocess.Popen(
        [sys.executable, "-m", "sovgate", "sign", "m", "--key", _uri(bao, server, name)],
        cwd=tmp_path,
        env={**os.environ, **given, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(asked.is_set, "it signs")
        process.send_signal(signal.SIGTERM)
        said, _ = finish(process)
    finally:
        go.set()
    assert process.returncode == 143, said
    assert server.asked("revoke-self")
    assert not bao.alive(_token(server))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_a_token_that_cannot_be_given_back_is_told_and_no_error(
    bao: Bao, server: LyingBao, tmp_path: Path
) -> None:
    name = bao.key("ecdsa-p256")
    given = _role(bao, name)  # its policy lacks that right
    (tmp_path / "m").write_bytes(b"weights")
    uri = _uri(bao, server, name)
    done = SOVGATE.run(*("sign", "m", "--key", uri), cwd=tmp_path, env={**os.environ, **given})
    assert done.returncode == 0, done.stderr
    assert "could not be given back" in done.stderr
    assert "ends by itself in" in done.stderr
    assert _token(server) not in done.stdout + done.stderr


def test_a_batch_token_is_not_given_back_since_it_cannot_be(
    bao: Bao, server: LyingBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    bao.mounted("approle", "approle", under="sys/auth")
    there = f"auth/approle/role/r-{secrets.token_hex(4)}"
    policy = bao.policy((f"transit/keys/{name}", "read"))
    asked = {"token_policies": [policy], "token_ttl": "5m", "token_type": "batch"}
    bao.ask("POST", there, asked)
    monkeypatch.setenv("BAO_ROLE_ID", bao.ask("GET", f"{there}/role-id")["data"]["role_id"])
    secret = bao.ask("POST", f"{there}/secret-id", {})["data"]["secret_id"]
    monkeypatch.setenv("BAO_SECRET_ID", secret)
    with runs.run():
        registry.open_public(_uri(bao, server, name), Path())
    assert not server.asked("revoke-self")


def test_a_server_that_is_sealed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    components.found(servers.openbao)
    bao = Bao(url=servers.another_openbao()).mounted()
    name = bao.key("ecdsa-p256")
    signer_uri = bao.uri(name)
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    signer = registry.open_signer(signer_uri, Path())
    bao.ask("PUT", "sys/seal")
    for use in (functools.partial(signer.sign, b"m"), functools.partial(_open, signer_uri)):
        with pytest.raises(SovgateError) as caught:
            use()
        assert (caught.value.reason, int(caught.value.exit_code)) == ("sealed", 20)
        assert "bao operator unseal" in str(caught.value.fix)


def _open(uri: str) -> object:
    return registry.open_signer(uri, Path())


@pytest.mark.parametrize(
    "told",
    [
        refusal(500, "x"),
        refusal(400, "error validating token: invalid audience (aud) claim"),
        refusal(400, "invalid expiration time (exp) claim: token is expired"),
        refusal(403, "invalid role name"),
        refusal(404),
        refusal(404, "namespace not found"),
        refusal(418, "teapot"),
        Told(status=204, body=b""),
        Told(status=200, body=b'{"auth": 5}'),
        Told(status=200, body=b'{"auth": {"client_token": "two words"}}'),
        Told(status=200, body=b'{"auth": {"client_token": ["s.x"], "lease_duration": -1}}'),
    ],
)
def test_a_login_that_is_answered_with_nonsense_is_an_error(
    bao: Bao, server: LyingBao, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    name = bao.key("ecdsa-p256")
    for variable, value in _role(bao, name).items():
        monkeypatch.setenv(variable, value)
    server.lie = lambda asked, true: told if "/login" in asked.path else true
    with pytest.raises(SovgateError) as caught:
        _open(_uri(bao, server, name))
    assert int(caught.value.exit_code) == 20
    assert not server.asked("transit/")


def test_a_login_that_wants_a_second_factor_is_told(
    bao: Bao, server: LyingBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    for variable, value in _role(bao, name).items():
        monkeypatch.setenv(variable, value)

    def factor(asked: Asked, told: Told) -> Told:
        if "/login" not in asked.path:
            return told
        auth = {"client_token": "", "mfa_requirement": {"mfa_request_id": "x"}}
        return Told(status=200, body=json.dumps({"auth": auth}).encode())

    server.lie = factor
    with pytest.raises(SovgateError) as caught:
        _open(_uri(bao, server, name))
    assert "second factor" in str(caught.value.why)


def test_a_job_of_githubs_logs_in_with_the_token_that_github_makes_for_it(
    bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, name = Issuer.new(), bao.key("ecdsa-p256")
    at = f"jwt-{secrets.token_hex(4)}"
    bao.mounted("jwt", at, under="sys/auth")
    bao.ask("POST", f"auth/{at}/config", {"jwt_validation_pubkeys": [issuer.pem]})
    policy = bao.policy((f"transit/keys/{name}", "read"), REVOKE)
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["https://bao.bank"]}
    role |= {"bound_subject": "repo:bank/churn:environment:eu"}
    bao.ask("POST", f"auth/{at}/role/ci", {**role, "token_policies": [policy], "token_ttl": "60"})
    uri = bao.uri(name, login="jwt", login_mount=at, role="ci", audience="https://bao.bank")

    def github(heard: Heard) -> Said:
        assert heard.headers["authorization"] == "bearer job"
        audience = heard.path.partition("audience=")[2].replace("%3A", ":").replace("%2F", "/")
        token = issuer.token("repo:bank/churn:environment:eu", audience)
        return 200, {}, json.dumps({"value": token}).encode()

    host = "run.actions.githubusercontent.com"
    with pytest.raises(SovgateError) as caught:
        _open(uri.replace("audience", "audience"))
    assert "let the job ask for one" in str(caught.value.fix)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"https://{host}/token?x=1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job")
    with vendor(tmp_path, [host], github) as cloud, runs.run():
        assert registry.open_public(uri, Path()).algorithm == "ecdsa-p256-sha256"
        assert cloud.hosts() == [host]
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://evil.example/token")
    with pytest.raises(SovgateError) as caught:
        registry.open_public(uri, Path())
    assert "evil.example" in str(caught.value.why)
