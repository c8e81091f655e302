"""`uses: org/sovgate/sign@v1` with a key in OpenBao, run by the real act."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests import openbao
from tests.forked import SOVGATE
from tests.lyingbao import lying
from tests.workflows import Act, release_tree, uses, workflow

pytestmark = pytest.mark.component


def test_a_step_signs_with_a_login_of_its_own_and_shows_no_secret(
    act: Path, tmp_path: Path
) -> None:
    bao = openbao.here()
    name = bao.key("ecdsa-p256")
    bao.mounted("approle", "approle", under="sys/auth")
    there = f"auth/approle/role/r-{secrets.token_hex(4)}"
    policy = bao.policy(
        (f"transit/keys/{name}", "read"),
        (f"transit/sign/{name}", "update"),
        ("auth/token/revoke-self", "update"),
    )
    bao.ask("POST", there, {"token_policies": [policy], "token_ttl": "5m"})
    given = {
        "BAO_ROLE_ID": bao.ask("GET", f"{there}/role-id")["data"]["role_id"],
        "BAO_SECRET_ID": bao.ask("POST", f"{there}/secret-id", {})["data"]["secret_id"],
        # What an earlier step might have written, to have the key asked of somebody else.
        "BAO_ADDR": "http://127.0.0.1:1",
    }
    shown = SOVGATE.run(
        *("keys", "show", bao.uri(name), "-o", tmp_path / "eu.pub.pem"),
        env={"BAO_TOKEN": bao.token, "PATH": "/usr/bin:/bin"},
    )
    assert shown.returncode == 0, shown.stderr
    repository = tmp_path / "repository"
    (repository / "build" / "churn").mkdir(parents=True)
    (repository / "build" / "churn" / "weights.bin").write_bytes(b"weights")
    with lying(bao.url) as server:
        uri = bao.uri(name).replace(bao.url, server.url)
        step = {**uses("sign", "sign", model="build/churn", key=uri), "env": given}
        verify = uses("verify", "verify", model="build/churn", key=str(tmp_path / "eu.pub.pem"))
        runner = Act(act, release_tree(tmp_path / "tree"), tmp_path)
        log = runner.run(workflow(step, verify), repository)
        assert log.code == 0, str(log)
        assert set(log.outputs("sign")) >= {"manifest", "key-id"}
        tokens = {one.headers.get("x-vault-token") for one in server.seen} - {None}
        assert server.asked("revoke-self")
    for secret in (given["BAO_SECRET_ID"], *tokens):
        assert str(secret) not in str(log)
    assert not [token for token in tokens if bao.alive(str(token))]
