"""A secret of every kind, planted; then it is looked for in all that was written (RULES 29).

In what a command says with -v, in results and evidence, in folders of state and of passing files,
in what is said when it crashes or when a service repeats it, and in the words and the environment
of every program that it starts. One table: a scheme or a credential that is not in it fails here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa

from sovgate.keys.registry import SCHEMES, SIGNERS
from sovgate.surface import launch
from tests import openbao, ways
from tests.components import ROOT
from tests.forked import Program
from tests.sigstores import Sigstore
from tests.sigstoreserver import IDENTITY, laid, serving
from tests.vendor import Asked, Said
from tests.ways import Place

OVERHEARD = Program(
    "tests.overheard:main",
    path=str(ROOT),
    imports=(
        *("sovgate.cli.make.sign", "sovgate.cli.move.encrypt", "sovgate.cli.move.decrypt"),
        *("sovgate.cli._failure", "boto3", "google.cloud.kms_v1"),
    ),
)
#: Among the credentials of the actions those that are no secrets.
OPEN = {
    "AWS_ACCESS_KEY_ID",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "SOVGATE_FORMAT",
}


@dataclass(frozen=True, kw_only=True)
class Plant:
    """`given`: what the environment has, made anew for each command where it is good for one alone;
    `planted`: files that hold the secret, and may."""

    given: Mapping[str, str | Callable[[], str]]
    planted: frozenset[Path] = frozenset()


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def _pem(place: Place) -> Plant:
    file = _written(
        place.repository / "keys" / "eu-sign.pem", place.values["secrets.EU_SIGN_KEY"] + "\n"
    )
    opens = place.values["secrets.EU_KEY_PASSPHRASE"]
    given = {"SOVGATE_KEY_PASSPHRASE": opens} if opens else {}
    return Plant(given=given, planted=frozenset({file}))


def _aws(place: Place) -> Plant:
    step = "steps.aws.outputs.aws"
    return Plant(
        given={
            "AWS_ACCESS_KEY_ID": place.values[f"{step}-access-key-id"],
            "AWS_SECRET_ACCESS_KEY": place.values[f"{step}-secret-access-key"],
            "AWS_SESSION_TOKEN": place.values[f"{step}-session-token"],
        }
    )


def _service_account(place: Place) -> Plant:
    key = rsa.generate_private_key(65537, 2048).private_bytes(*ways.PEM, form.NoEncryption())
    place.canaries |= {line for line in key.decode().splitlines() if "-" not in line}
    told = {"type": "service_account", "client_email": "a@b.example", "private_key_id": "1"}
    told["private_key"] = key.decode()
    file = _written(place.folder / "account.json", json.dumps(told))
    return Plant(given={"GOOGLE_APPLICATION_CREDENTIALS": str(file)}, planted=frozenset({file}))


def _entra(place: Place, planted: Path | None = None, **more: str) -> Plant:
    """By an application's login: its secret, a pod's token, or a job's."""
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")
    return Plant(
        given={**{name: place.values[f"vars.{name}"] for name in names}, **more},
        planted=frozenset({planted} if planted else ()),
    )


def _pod(place: Place) -> Plant:
    file = _written(place.folder / "federated", place.token("api://AzureADTokenExchange"))
    return _entra(place, file, AZURE_FEDERATED_TOKEN_FILE=str(file))


def _job(place: Place) -> Plant:
    place.canaries.add(ways.JOB["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
    return _entra(place, **ways.JOB)


def _token(place: Place) -> Plant:
    asked = {"policies": [place.values["the policy"]], "ttl": "10m"}
    made = openbao.here().ask("POST", "auth/token/create", asked)
    return Plant(given={"BAO_TOKEN": place.secret(made["auth"]["client_token"])})


def _approle(place: Place) -> Plant:
    names = ("VAULT_ROLE_ID", "VAULT_SECRET_ID")
    return Plant(given={name: place.values[f"secrets.{name}"] for name in names})


def _wrapped(place: Place) -> Plant:
    def once() -> str:
        ttl = {"X-Vault-Wrap-TTL": "60s"}
        made = openbao.here().ask("POST", f"{place.values['the role']}/secret-id", {}, **ttl)
        return place.secret(made["wrap_info"]["token"])

    role = place.values["secrets.VAULT_ROLE_ID"]
    return Plant(given={"VAULT_ROLE_ID": role, "VAULT_WRAPPED_SECRET_ID": once})


def _value(name: str, variable: str) -> Callable[[Place], Plant]:
    return lambda place: Plant(given={variable: place.values[name]})


#: Scheme and secret -> the way (tests/ways.py) whose place it is planted in, and how.
PLANTS: Mapping[str, tuple[str, Callable[[Place], Plant]]] = {
    "file, key": ("file", _pem),
    "file, passphrase": ("file, encrypted", _pem),
    "awskms, keys of a session": ("awskms", _aws),
    "gcpkms, key of a service account": ("gcpkms", _service_account),
    "gcpkms, token": ("gcpkms", _value("the token", "GCP_ACCESS_TOKEN")),
    "azurekms, secret": ("azurekms", lambda p: _entra(p, AZURE_CLIENT_SECRET=p.secret())),
    "azurekms, token of a pod": ("azurekms", _pod),
    "azurekms, token of a job": ("azurekms", _job),
    "azurekms, token": ("azurekms", _value("the token", "AZURE_KEYVAULT_TOKEN")),
    "openbao, token": ("openbao", _token),
    "openbao, token of a job": (
        "openbao",
        lambda place: Plant(given={"BAO_JWT": place.token("https://bao.bank.example")}),
    ),
    "hashivault, AppRole": ("hashivault", _approle),
    "hashivault, wrapped": ("hashivault", _wrapped),
    "pkcs11, PIN": ("pkcs11", _value("secrets.EU_PIN", "SOVGATE_PIN")),
    "sigstore, token": ("file", _pem),  # in `_planted`
}


@contextlib.contextmanager
def _planted(name: str, tmp: Path) -> Iterator[tuple[Place, Plant]]:
    way, plant = PLANTS[name]
    with ways.set_up(way, tmp) as place, contextlib.ExitStack() as stack:
        if name.startswith("sigstore"):
            served = stack.enter_context(serving(Sigstore()))
            key = laid(place.repository, served).replace("&token-file=token", "")
            (place.repository / "token").unlink()
            place.keys = {"sign": key}
            token = place.secret(served.token(IDENTITY))
            yield place, Plant(given={"SIGSTORE_ID_TOKEN": token})
        else:
            yield place, plant(place)


class Look:
    """Runs commands, and keeps what they said."""

    def __init__(self, place: Place, plant: Plant, tmp: Path) -> None:
        self._place, self._plant, self._tmp = place, plant, tmp
        self.said: dict[str, str] = {}
        for name in ("home", "state", "cache", "passing"):
            (tmp / name).mkdir()

    def run(self, *words: str, crash: bool = False) -> int:
        plant, place, tmp = self._plant, self._place, self._tmp
        given = {n: v if isinstance(v, str) else v() for n, v in plant.given.items()}
        folders = {"HOME": "home", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache"}
        folders["TMPDIR"] = "passing"
        done = OVERHEARD.run(
            *words,
            *("-v", "--proxy", place.vendor.url, "--ca", str(place.ca)),
            cwd=place.repository,
            env={
                "PATH": os.environ["PATH"],
                "CI": "true",
                "OVERHEARD": str(tmp / "started"),
                **({"OVERHEARD_CRASH": "1"} if crash else {}),
                **{name: str(tmp / folder) for name, folder in folders.items()},
                **given,
            },
        )
        self.said[f"{words[0]} {len(self.said)}"] = done.stdout + done.stderr
        return done.returncode

    def found(self) -> list[str]:
        """Where a secret stands, in any spelling."""
        spelt = {word for canary in self._place.canaries for word in _spellings(canary)}
        there = {name: text.encode() for name, text in self.said.items()}
        for path in self._tmp.rglob("*"):
            if path.is_file() and not self._may(path):
                there[str(path)] = path.read_bytes()
                there[f"the name {path}"] = str(path).encode()
        return [name for name, data in there.items() if any(word in data for word in spelt)]

    def _may(self, path: Path) -> bool:
        return path in self._plant.planted or self._place.folder in path.parents


def _spellings(secret: str) -> Iterator[bytes]:
    data = secret.encode()
    yield data
    yield data[::-1]
    yield data.hex().encode()
    yield urllib.parse.quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    for shift in range(3):  # within a longer text in base64
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            whole = code(bytes(shift) + data)
            yield whole[4 * (shift > 0) : len(whole) // 4 * 4 - 4]


def _echo(asked: Asked) -> Said:
    """A login service that repeats what it was told, in its own error."""
    told = {**asked.headers, "body": asked.body.decode("utf-8", "replace"), "path": asked.path}
    said = {"error": "invalid", "error_description": json.dumps(told), "message": json.dumps(told)}
    return 400, {"Content-Type": "application/json"}, json.dumps(said).encode()


@pytest.mark.component
@pytest.mark.parametrize("name", PLANTS)
def test_rule_29_a_planted_secret_stands_nowhere(name: str, tmp_path: Path) -> None:
    with _planted(name, tmp_path) as (place, plant):
        look = Look(place, plant, tmp_path)
        sign = ["sign", "build/churn", "--zone", "eu"]
        if name.startswith("sigstore"):  # which no zone names
            sign[2:] = ["--key", str(place.keys["sign"])]
        assert look.run(*sign) == 0, look.said
        place.opened()
        if "encrypt" in place.keys:
            words = ("encrypt", "build/churn", "--zone", "eu", "--to", "eu", "-o", "sealed")
            assert look.run(*words) == 0, look.said
            assert look.run("decrypt", "sealed", "--zone", "eu", "-o", "opened") == 0, look.said
        assert look.run(*sign, crash=True) == 1, look.said
        assert "Traceback" in list(look.said.values())[-1]
        place.vendor.answers = _echo
        look.run(*sign)
        assert place.canaries
        assert look.found() == []


def test_every_scheme_and_every_credential_of_the_actions_is_planted() -> None:
    schemes = {name.partition(",")[0] for name in PLANTS}
    assert schemes == {*SCHEMES, *SIGNERS}, "plant the secrets of the new scheme in PLANTS"
    source = Path(__file__).read_text(encoding="utf-8")
    for name in {*launch.CREDENTIALS, *launch.OURS} - OPEN:
        both = {name, name.replace("VAULT_", "BAO_"), name.replace("BAO_", "VAULT_")}
        assert any(one in source.partition("class Plant")[2] for one in both), f"plant {name}"


def test_what_is_looked_for_is_found_in_each_spelling(tmp_path: Path) -> None:
    """The look itself can fail: a canary that is there is seen."""
    with _planted("file, passphrase", tmp_path) as (place, plant):
        look = Look(place, plant, tmp_path)
        (secret,) = [one for one in place.canaries if " " in one]
        for number, text in enumerate(
            (
                f"token={secret}",
                secret[::-1],
                secret.encode().hex(),
                json.dumps({"Authorization": base64.b64encode(f"x:{secret}:".encode()).decode()}),
                urllib.parse.urlencode({"a": secret}, quote_via=urllib.parse.quote),
            )
        ):
            path = _written(tmp_path / "state" / "log", text)
            assert look.found() == [str(path)], number
        path.unlink()
        assert look.found() == []
