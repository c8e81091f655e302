"""Keys in OpenBao, by commands: what `keys show` tells, TLS, doctor, and credentials that stay."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import commands, openbao
from tests.crossing import Crossing, make_crossing
from tests.lyingbao import lying
from tests.openbao import Bao


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("BAO_", "VAULT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")
    return


@pytest.fixture
def bao() -> Bao:
    return openbao.here()


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.delenv("SOVGATE_REQUIRE_ALL", raising=False)  # ours alone, and doctor would say so
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return make_crossing(tmp_path / "project")


def test_keys_show_tells_what_the_engine_allows_with_a_key(bao: Bao, tmp_path: Path) -> None:
    safe = bao.key("ecdsa-p256")
    loose = bao.key("aes256-gcm96", exportable=True, allow_plaintext_backup=True)
    bao.configure(loose, deletion_allowed=True)
    bao.rotate(loose)
    shown = commands.run("keys", "show", bao.uri(safe), BAO_TOKEN=bao.token)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"exportable +no: it never leaves", shown.stdout)
    shown = commands.run("keys", "show", bao.uri(loose), BAO_TOKEN=bao.token)
    assert shown.returncode == 0, shown.stderr
    assert "2 of 2: the latest" in shown.stdout
    for name in ("exportable", "allow plaintext backup", "deletion allowed"):
        assert re.search(rf"{name} +yes: ", shown.stdout)
    kept = commands.run(
        "keys", "show", bao.uri(loose), "-o", "k.pem", cwd=tmp_path, BAO_TOKEN=bao.token
    )
    assert kept.returncode == 2
    assert not list(tmp_path.iterdir())


def test_a_server_with_a_ca_of_its_own_is_reached_with_ca_alone(tmp_path: Path) -> None:
    bao = openbao.over_tls()
    uri = bao.uri(bao.key("ecdsa-p256"))
    (tmp_path / "m").write_bytes(b"weights")
    sign = ("sign", "m", "--key", uri)
    # No variable of the tools' own turns the check off, or brings a CA.
    wrong = {"BAO_SKIP_VERIFY": "true", "BAO_CACERT": str(bao.ca), "SSL_CERT_FILE": str(bao.ca)}
    done = commands.run(*sign, cwd=tmp_path, BAO_TOKEN=bao.token, **wrong)
    assert done.returncode == 20
    assert "--ca FILE" in done.stderr
    assert "BAO_CACERT" in done.stderr  # and that it is not used
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
    done = commands.run(*sign, "--ca", bao.ca, cwd=tmp_path, BAO_TOKEN=bao.token)
    assert done.returncode == 0, done.stderr


def test_doctor_finds_what_a_zones_keys_lack(crossing: Crossing, bao: Bao) -> None:
    sign, wrap = bao.key("ecdsa-p256"), bao.key("rsa-2048")
    crossing.edit("sign: keys/eu.pem", f'sign: "{bao.uri(sign)}"')
    crossing.edit("encrypt: keys/eu-enc.pem", f'encrypt: "{bao.uri(wrap)}"')
    crossing.edit(", encrypt-public: keys/eu-enc.pub.pem", "")
    done = commands.run("doctor", "--zone", "eu", cwd=crossing.base)
    assert done.returncode == 3
    assert "BAO_TOKEN" in done.stdout
    done = commands.run("doctor", "--zone", "eu", cwd=crossing.base, BAO_TOKEN=bao.token)
    assert done.returncode == 0, done.stdout


def test_one_key_by_two_schemes_is_one_key(crossing: Crossing, bao: Bao) -> None:
    name = bao.key("rsa-2048")
    crossing.edit("sign: keys/eu.pem", f'sign: "{bao.uri(name, "hashivault")}"')
    crossing.edit("encrypt: keys/eu-enc.pem", f'encrypt: "{bao.uri(name)}"')
    crossing.edit(", encrypt-public: keys/eu-enc.pub.pem", "")
    done = commands.run("lint", cwd=crossing.base)
    assert done.returncode == 3
    assert "shared-key" in done.stdout


def test_a_credential_is_sent_to_one_server(crossing: Crossing, bao: Bao) -> None:
    """Each server could use at the other what it gets."""
    mine, wrap = bao.key("ecdsa-p256"), bao.key("rsa-2048")
    with lying(bao.url) as other:
        theirs = bao.uri(wrap).replace(bao.url, other.url)
        crossing.edit("sign: keys/home.pem", f'sign: "{bao.uri(mine)}"')
        crossing.edit("encrypt: keys/eu-enc.pem", f'encrypt: "{theirs}"')
        crossing.edit(", encrypt-public: keys/eu-enc.pub.pem", "")
        encrypt = ("encrypt", crossing.model, "--zone", "home", "--to", "eu", "-o", "out")
        done = commands.run(*encrypt, cwd=crossing.base, BAO_TOKEN=bao.token)
        assert done.returncode == 3, done.stderr
        assert "BAO_TOKEN would go to two servers" in done.stderr
        assert not (crossing.base / "out").exists()
        assert not other.seen
        crossing.edit(theirs, f"{theirs}&profile=eu")
        given = {"BAO_TOKEN": bao.token, "EU_BAO_TOKEN": bao.token}
        signed = commands.run("sign", crossing.model, "--zone", "home", cwd=crossing.base, **given)
        assert signed.returncode == 0, signed.stderr
        done = commands.run(*encrypt, cwd=crossing.base, **given)
        assert done.returncode == 0, done.stderr
    # In another run the same variable may go elsewhere: it holds another credential by then.
    shown = commands.run("keys", "show", theirs.replace(other.url, bao.url), BAO_TOKEN=bao.token)
    assert shown.returncode == 0, shown.stderr
