"""A model across a border whose zones keep their keys in OpenBao, each in a namespace of its own.

Whole commands, with logins of their own; what they print, write and are called with is searched for
what nobody may see.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from sovgate.keys import registry
from tests import openbao
from tests.crossing import Crossing, make_crossing, tree
from tests.forked import SOVGATE
from tests.lyingbao import LyingBao, lying
from tests.openbao import Bao

YAML = """\
version: 1
model: churn
zones:
  home:
    region: aws:us-east-1
    keys:
      sign: {{key: "openbao://{home_sign}", address: "{address}", namespace: {home}, profile: us}}
      sign-public: keys/home.pub.pem
  eu:
    region: aws-eusc:eusc-de-east-1
    store: eu-store
    keys:
      sign: {{key: "openbao://{eu_sign}", address: "{address}", namespace: {eu}, login: approle}}
      sign-public: keys/eu.pub.pem
      encrypt: {{key: "openbao://{eu_wrap}", address: "{address}", namespace: {eu}, login: approle}}
{public}
datasets:
  public: {{category: public, stays-in: []}}
border:
  weights: {{allow: [home -> eu]}}
  metadata: {{allow: [home -> eu]}}
"""
REVOKE = ("auth/token/revoke-self", "update")


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A namespace, its keys, and who may use them."""

    bao: Bao
    keys: Mapping[str, str]

    def approle(self, *operations: tuple[str, str]) -> dict[str, str]:
        """The variables of a job that may do (key, operation)."""
        self.bao.mounted("approle", "approle", under="sys/auth")
        rules = [(f"transit/keys/{self.keys[key]}", "read") for key, _ in operations]
        rules += [(f"transit/{what}/{self.keys[key]}", "update") for key, what in operations]
        role = self.bao.key("ecdsa-p256")  # a name that nobody has
        policy = self.bao.policy(*rules, REVOKE)
        there = f"auth/approle/role/{role}"
        self.bao.ask("POST", there, {"token_policies": [policy], "token_ttl": "10m"})
        role_id = self.bao.ask("GET", f"{there}/role-id")["data"]["role_id"]
        secret = self.bao.ask("POST", f"{there}/secret-id", {})["data"]["secret_id"]
        return {"BAO_ROLE_ID": role_id, "BAO_SECRET_ID": secret}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A crossing, its zones, and what stands between them and their keys."""

    crossing: Crossing
    home: Zone
    eu: Zone
    server: LyingBao

    def run(self, *words: Any, given: Mapping[str, str], code: int = 0) -> CompletedProcess[str]:
        """A command as a process of its own, that knows these credentials alone."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_"))}
        done = SOVGATE.run(*words, cwd=self.crossing.base, env={**clean, **given})
        assert done.returncode == code, done.stdout + done.stderr
        shown = done.stdout + done.stderr
        for secret in (*given.values(), *self.tokens()):
            assert secret not in shown
        return done

    def tokens(self) -> set[str]:
        """Every token that was sent to the server."""
        return {one.headers["x-vault-token"] for one in self.server.seen if self.sends(one.headers)}

    @staticmethod
    def sends(headers: Mapping[str, str]) -> bool:
        return "x-vault-token" in headers


def _desk(tmp: Path, server: LyingBao, wrap: str) -> Desk:
    crossing = make_crossing(tmp / "project")
    root = openbao.here()
    made = root.key("ecdsa-p256")
    home = root.below(f"us-{made}")
    eu = root.below(f"eu-{made}")
    zones = {
        "home": Zone(bao=home, keys={"sign": home.key("ecdsa-p256")}),
        "eu": Zone(bao=eu, keys={"sign": eu.key("ecdsa-p384"), "wrap": eu.key(wrap)}),
    }
    keys = crossing.base / "keys"
    for path in keys.iterdir():
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAO_TOKEN", root.token)
        for name, zone in zones.items():
            public = registry.open_public(zone.bao.uri(zone.keys["sign"]), tmp)
            (keys / f"{name}.pub.pem").write_bytes(public.pem)
        if wrap != "aes256-gcm96":
            public = registry.open_public(eu.uri(zones["eu"].keys["wrap"]), tmp)
            (keys / "eu-enc.pub.pem").write_bytes(public.pem)
    named = "      encrypt-public: keys/eu-enc.pub.pem" if wrap != "aes256-gcm96" else ""
    (crossing.base / "sovgate.yaml").write_text(
        YAML.format(
            home_sign=zones["home"].keys["sign"],
            eu_sign=zones["eu"].keys["sign"],
            eu_wrap=zones["eu"].keys["wrap"],
            home=home.namespace,
            eu=eu.namespace,
            address=server.url,
            public=named,
        )
    )
    return Desk(crossing=crossing, home=zones["home"], eu=zones["eu"], server=server)


@pytest.mark.parametrize("wrap", ["aes256-gcm96", "rsa-3072"])
def test_a_model_crosses_between_zones_whose_keys_lie_in_openbao(tmp_path: Path, wrap: str) -> None:
    upstream = openbao.here()
    with lying(upstream.url) as server:
        desk = _desk(tmp_path, server, wrap)
        sender = {f"US_{k}": v for k, v in desk.home.approle(("sign", "sign")).items()}
        if wrap == "aes256-gcm96":  # whoever encrypts with such a key needs its server
            sender |= desk.eu.approle(("wrap", "encrypt"))
        receiver = desk.eu.approle(("sign", "sign"), ("wrap", "decrypt"))
        base, model = desk.crossing.base, desk.crossing.model
        for path in tmp_path.rglob("model.evidence/*"):
            path.unlink()
        desk.run("lint", given={})
        desk.run("sign", model, "--zone", "home", given=sender)
        desk.run("record", model, "--zone", "home", "--dataset", "public", given=sender)
        release = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
        desk.run("push", model, *release, "-v", given=sender)
        if wrap != "aes256-gcm96":
            namespaces = {one.headers.get("x-vault-namespace") for one in server.seen}
            assert namespaces == {desk.home.bao.namespace}, "the sender asked the other zone"
        desk.run("pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled", "-v", given=receiver)
        assert tree(base / "pulled") == tree(model)
        desk.run("audit", "verify", "--zone", "eu", given={})
        # Nobody's login outlives its command, and no secret was written anywhere.
        asked = {one.path for one in server.seen}
        assert "auth/approle/login" in asked
        tokens = desk.tokens()
        assert len(tokens) >= 4
        for zone in (desk.home, desk.eu):
            for token in tokens:
                assert not zone.bao.alive(token)
        secrets = {*sender.values(), *receiver.values(), *tokens}
        for path in tmp_path.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not [secret for secret in secrets if secret.encode() in data], path


def test_a_sender_that_may_not_sign_is_told_the_policy(tmp_path: Path) -> None:
    upstream = openbao.here()
    with lying(upstream.url) as server:
        desk = _desk(tmp_path, server, "rsa-2048")
        given = {f"US_{k}": v for k, v in desk.home.approle().items()}
        done = desk.run("sign", desk.crossing.model, "--zone", "home", given=given, code=20)
        for path, capability in (("keys", "read"), ("sign", "update")):
            rule = f'path "transit/{path}/{desk.home.keys["sign"]}"'
            assert f'{rule} {{ capabilities = ["{capability}"] }}' in done.stderr
        # What was logged in for nothing is given back too.
        assert not [token for token in desk.tokens() if desk.home.bao.alive(token)]


def test_rule_10_a_rotated_key_signs_only_once_its_public_half_is_the_pinned_one(
    tmp_path: Path,
) -> None:
    """A new version is another key, and whoever trusts the zone does not know it yet."""
    upstream = openbao.here()
    with lying(upstream.url) as server:
        desk = _desk(tmp_path, server, "rsa-2048")
        given = {f"US_{k}": v for k, v in desk.home.approle(("sign", "sign")).items()}
        sign = ("sign", desk.crossing.model, "--zone", "home")
        desk.run(*sign, given=given)
        desk.home.bao.rotate(desk.home.keys["sign"])
        done = desk.run(*sign, given=given, code=20)
        assert "sign-public" in done.stderr
        desk.crossing.edit("profile: us", "profile: us, version: 1")
        desk.run(*sign, given=given)
