"""docs/vault.md: what is to be pasted there works at a real OpenBao, as it stands on the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from sovgate.keys import registry
from sovgate.keys.transit import place
from sovgate.transport import runs
from tests import components, openbao
from tests.forked import SOVGATE
from tests.openbao import Bao

PAGE = (Path(__file__).parents[2] / "docs" / "vault.md").read_text(encoding="utf-8")
ADDRESS = "https://bao.bank.example:8200"


def block(heading: str, kind: str = "") -> str:
    """The first block of this kind below a heading."""
    text = PAGE[PAGE.index(f"{heading}\n") :]
    found = re.search(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1].replace("\\\n", "")


class Shell:
    """Runs lines of the page, with the programs that they name, at a namespace of its own."""

    def __init__(self, bao: Bao, folder: Path) -> None:
        self.bao, self.folder = bao, folder
        self.program = components.found(components.openbao)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_"))},
            "HOME": str(folder),
            "BAO_ADDR": bao.url,
            "BAO_NAMESPACE": bao.namespace,
            "BAO_TOKEN": bao.token,
        }

    def run(self, line: str, code: int = 0) -> str:
        words = shlex.split(line.replace(ADDRESS, self.bao.url))
        if words[0] == "sovgate":
            words = [w + f"&namespace={self.bao.namespace}" if "?" in w else w for w in words]
            done = SOVGATE.run(*words[1:], cwd=self.folder, env=self.environment)
        else:
            assert words[0] == "bao"
            done = subprocess.run(
                [self.program, *words[1:]],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == code, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    root = openbao.here()
    name = root.key("ecdsa-p256")
    root.ask("POST", f"sys/namespaces/{name}", {})
    (tmp_path / "keys").mkdir()
    return Shell(Bao(url=root.url, namespace=name), tmp_path)


def test_the_keys_the_policy_and_the_approle_of_the_page_sign_and_open(shell: Shell) -> None:
    for line in block("## Make the keys").splitlines():
        shell.run(line)
    assert registry.open_public("keys/eu.pub.pem", shell.folder).algorithm == "rsa-3072"
    (shell.folder / "churn-eu.hcl").write_text(block("## Permissions", "hcl"))
    *setup, role_id, wrapped = block("### AppRole, for a job").splitlines()
    for line in setup:
        shell.run(line)
    asked = {"BAO_ROLE_ID": role_id, "BAO_WRAPPED_SECRET_ID": wrapped}
    given = {name: shell.run(line) for name, line in asked.items()}
    for name in ("BAO_ADDR", "BAO_TOKEN", "BAO_NAMESPACE"):  # a job has the credentials alone
        del shell.environment[name]
    shell.environment |= given
    (shell.folder / "m").write_bytes(b"weights")
    uri = f"'openbao://churn-sign?address={ADDRESS}'"
    shell.run(f"sovgate sign m --key {uri}")
    shell.run("sovgate verify m --key keys/eu-sign.pub.pem")


def test_the_policy_of_the_page_allows_what_an_identity_needs_and_no_more(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in block("## Make the keys").splitlines():
        shell.run(line)
    (shell.folder / "p.hcl").write_text(block("## Permissions", "hcl"))
    shell.run("bao policy write p p.hcl")
    token = shell.run("bao token create -policy=p -no-default-policy -ttl=5m -field=token")
    for name in ("BAO_ADDR", "VAULT_ADDR", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BAO_TOKEN", token)
    key, context = bytes(range(32)), b'{"a":"b"}'
    wrapped = registry.open_recipient("keys/eu.pub.pem", shell.folder).wrap(key, context)
    with runs.run():
        identity = registry.open_identity(shell.bao.uri("churn-wrap"), shell.folder)
        assert identity.unwrap(wrapped, context) == key
        registry.open_signer(shell.bao.uri("churn-sign"), shell.folder).sign(b"m")
    shell.environment["BAO_TOKEN"] = token
    for line in (
        "bao write -f transit/keys/churn-sign/rotate",
        "bao write transit/keys/new type=ecdsa-p256",
        "bao write transit/encrypt/churn-new plaintext=AAAA",
        "bao read transit/export/signing-key/churn-sign",
        "bao delete transit/keys/churn-sign",
    ):
        shell.run(line, code=2)
    # What was a login's own is given back with what the page allows.
    shell.run("bao token revoke -self")


def test_whoever_sets_a_zone_up_makes_its_keys_with_the_policy_of_the_page(shell: Shell) -> None:
    shell.run("bao secrets enable transit")
    (shell.folder / "p.hcl").write_text(
        block("For whoever sets a zone up, and makes these two keys:", "hcl")
    )
    shell.run("bao policy write p p.hcl")
    token = shell.run("bao token create -policy=p -no-default-policy -ttl=5m -field=token")
    shell.environment["BAO_TOKEN"] = token
    for name, use in (("churn-sign", "sign"), ("churn-wrap", "encrypt")):
        shell.run(f"sovgate keys generate {use} 'openbao://{name}?address={ADDRESS}' -o {name}.pem")
        shell.run(f"sovgate keys check 'openbao://{name}?address={ADDRESS}'")
        shell.run(f"bao write -f transit/keys/{name}/rotate", code=2)
    shell.run(f"sovgate keys generate sign 'openbao://other?address={ADDRESS}'", code=20)


def test_the_page_is_tried_on_one_machine(shell: Shell) -> None:
    _server, _variables, *lines = block("## Try it on this machine").splitlines()
    (shell.folder / "MODEL").write_bytes(b"weights")
    for line in lines:
        shell.run(line.replace("http://127.0.0.1:8200", ADDRESS))


def test_kubernetes_and_jwt_are_set_up_as_the_page_has_it(shell: Shell) -> None:
    """Each line is taken; nobody here answers for the cluster or for GitHub, so the line that
    would ask them is the one that fails."""
    shell.run("bao secrets enable transit")
    enable, configure, role = block("### Kubernetes, for Tekton and pods").splitlines()
    shell.run(enable)
    shell.run(f"{configure} kubernetes_ca_cert=x")
    shell.run(role)
    enable, configure, role = block("### JWT, for GitHub Actions").splitlines()
    shell.run(enable)
    assert "oidc_discovery_url=https://token.actions.githubusercontent.com" in configure
    shell.run(role)


def test_the_page_names_every_setting_and_every_login() -> None:
    from sovgate.key_settings import SETTINGS

    for name in SETTINGS["openbao"]:
        assert f"| `{name}` |" in PAGE
    for how in place.LOGINS:
        assert f"`{how}`" in PAGE
