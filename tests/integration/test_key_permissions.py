"""The pages' tables of permissions: each command does its work with exactly what its row needs, and
with one less it does not. What only tells more, `keys check` does without.

OpenBao enforces its own policies. For the others the row is enforced at the server, by the call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sovgate import notices
from sovgate.errors import SovgateError
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys._api import Wanted
from sovgate.pipeline.look.key_service.check import check
from sovgate.pipeline.look.keys import show
from tests import openbao
from tests.azurevault import Refusal, azure_vault
from tests.conformance.keys import kms_key
from tests.faultproxy import What, between
from tests.googlekms import RING, RefusedError, google_kms

DOCS = Path(__file__).parents[2] / "docs"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
_SEALED: dict[str, bytes] = {}


def _checked(uri: str) -> None:
    (found,) = check(uri, zone=None, project=None)
    if found.findings:
        raise found.findings[0]


def _wrapped(uri: str) -> bytes:
    return registry.open_recipient(uri, Path()).wrap(bytes(32), CONTEXT)


def _opened(uri: str) -> None:
    """What was wrapped before, with all permissions."""
    assert registry.open_identity(uri, Path()).unwrap(_SEALED[uri], CONTEXT) == bytes(32)


#: Commands of the tables -> the kind of key that they are tried with, and what they do.
COMMANDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "`keys show`": ("sign", show),
    "`keys check`": ("sign", _checked),
    "`keys check`, with a version in the URI": ("sign", _checked),
    "`keys check`, without": ("sign-latest", _checked),
    "`keys check`, of a symmetric key": ("symmetric", _checked),
    "`keys generate`": (
        "new",
        lambda uri: registry.generate(uri, Path(), None, Wanted(use="sign")),
    ),
    "`sign`": ("sign", lambda uri: registry.open_signer(uri, Path()).sign(b"m")),
    "wrap, symmetric": ("symmetric", _wrapped),
    "wrap, RSA": ("rsa", _wrapped),
    "unwrap": ("symmetric", _opened),
    "unwrap, symmetric": ("symmetric", _opened),
    "unwrap, RSA": ("rsa", _opened),
}


@dataclass(frozen=True, kw_only=True)
class Service:
    """`keys`: URIs by kind; `new`: one for a free name; `only`: with these permissions."""

    page: str
    keys: dict[str, str]
    new: Callable[[], str]
    only: Callable[[set[str] | None], Any]


@contextmanager
def google() -> Iterator[Service]:
    needs = {
        "GetCryptoKey": "cryptoKeys.get",
        "CreateCryptoKey": "cryptoKeys.create",
        "GetCryptoKeyVersion": "cryptoKeyVersions.get",
        "ListCryptoKeyVersions": "cryptoKeyVersions.list",
        "GetPublicKey": "cryptoKeyVersions.viewPublicKey",
        "AsymmetricSign": "cryptoKeyVersions.useToSign",
        "Encrypt": "cryptoKeyVersions.useToEncrypt",
        "Decrypt": "cryptoKeyVersions.useToDecrypt",
        "AsymmetricDecrypt": "cryptoKeyVersions.useToDecrypt",
    }
    with google_kms() as kms:

        @contextmanager
        def only(allowed: set[str] | None) -> Iterator[None]:
            def refuses(call: str, _: str) -> RefusedError | None:
                lacks = allowed is not None and f"cloudkms.{needs[call]}" not in allowed
                return RefusedError("PERMISSION_DENIED", "denied") if lacks else None

            kms.refuses = refuses
            yield
            kms.refuses = lambda *_: None

        sign = kms.make("EC_SIGN_P256_SHA256")
        yield Service(
            page="gcp-kms.md",
            keys={
                "sign": kms.uri(f"{sign}/cryptoKeyVersions/1"),
                "sign-latest": kms.uri(sign),
                "symmetric": kms.uri(kms.make("GOOGLE_SYMMETRIC_ENCRYPTION")),
                "rsa": kms.uri(f"{kms.make('RSA_DECRYPT_OAEP_2048_SHA256')}/cryptoKeyVersions/1"),
            },
            new=lambda: kms.uri(f"{RING}/new-{os.urandom(4).hex()}"),
            only=only,
        )


@contextmanager
def azure() -> Iterator[Service]:
    needs = {
        "get": "keys/read",
        "sign": "keys/sign/action",
        "unwrapkey": "keys/unwrap/action",
        "create": "keys/create/action",
        "rotationpolicy": "keyrotationpolicies/read",
    }
    with azure_vault() as vault:

        @contextmanager
        def only(allowed: set[str] | None) -> Iterator[None]:
            def refuses(verb: str, _: str) -> Refusal | None:
                action = f"Microsoft.KeyVault/vaults/{needs[verb]}"
                lacks = allowed is not None and action not in allowed
                return (
                    Refusal(status=403, code="Forbidden", inner="ForbiddenByRbac")
                    if lacks
                    else None
                )

            vault.refuses = refuses
            yield
            vault.refuses = lambda *_: None

        yield Service(
            page="azure-key-vault.md",
            keys={
                "sign": vault.pinned(vault.make("EC", "P-256")),
                "rsa": vault.pinned(vault.make("RSA", "2048")),
            },
            new=lambda: vault.uri(f"new-{os.urandom(4).hex()}"),
            only=only,
        )


@contextmanager
def aws(url: str) -> Iterator[Service]:
    with between(url) as proxy:

        @contextmanager
        def only(allowed: set[str] | None) -> Iterator[None]:
            def chooses(_method: str, _path: str) -> What | None:
                asked = {name.lower(): text for name, text in proxy.headers[-1].items()}
                action = "kms:" + asked["x-amz-target"].partition(".")[2]
                return What.DENY if allowed is not None and action not in allowed else None

            proxy.chooses = chooses
            yield
            proxy.chooses = lambda *_: None

        def through(uri: str) -> str:
            return f"awskms://127.0.0.1:{proxy.server_port}/arn{uri.partition('/arn')[2]}"

        kinds = {"sign": "ECC_NIST_P256", "symmetric": "SYMMETRIC_DEFAULT", "rsa": "RSA_2048"}
        host = f"127.0.0.1:{proxy.server_port}"
        yield Service(
            page="aws.md",
            keys={kind: through(kms_key(url, spec)) for kind, spec in kinds.items()},
            new=lambda: f"awskms://{host}/alias/new-{os.urandom(4).hex()}?region=aws:eu-central-1",
            only=only,
        )


@contextmanager
def bao() -> Iterator[Service]:
    """Its own policies. `NAME` in a row is the key's name."""
    server = openbao.here()
    kinds = {"sign": "ecdsa-p256", "symmetric": "aes256-gcm96", "rsa": "rsa-2048"}
    names = {kind: server.key(spec) for kind, spec in kinds.items()}
    now: list[str] = [*names.values()]

    @contextmanager
    def only(allowed: set[str] | None) -> Iterator[None]:
        if allowed is None:
            yield
            return
        paths: dict[str, list[str]] = {}
        for one in allowed:
            capability, _, path = one.partition(" on ")
            paths.setdefault(path, []).append(capability)
        rules = [
            (path.replace("NAME", name), '", "'.join(sorted(can)))
            for path, can in paths.items()
            for name in now
        ] or [("sys/none", "read")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BAO_TOKEN", server.given(*rules))
            yield

    def new() -> str:
        now.append(f"new-{os.urandom(4).hex()}")
        return server.uri(now[-1])

    keys = {kind: server.uri(name) for kind, name in names.items()}
    yield Service(page="vault.md", keys=keys, new=new, only=only)


def rows(page: str) -> dict[str, tuple[set[str], set[str]]]:
    """Command -> what it needs, and what tells more; as the table of the page has it."""
    text = (DOCS / page).read_text("utf-8")
    table = text.partition("| command | needs | tells more with |\n|---|---|---|\n")[2]
    found = {}
    for line in table.splitlines():
        if not line.startswith("|"):
            break
        commands, needs, more = (cell.strip() for cell in line.strip("|").split(" | ", 2))
        needs = needs.partition(";")[0]  # what follows is of other cases
        for command in re.split(r"(?<=`), (?=`)", commands):
            if command != "`keys export`":  # asks what `keys show` asks, and signs
                found[command] = (_permissions(needs), _permissions(more))
    return found


def _permissions(cell: str) -> set[str]:
    """Names in backticks; "`read` and `update` on `path`" is {"read on path", "update on path"}."""
    found = set()
    for part in cell.split(", "):
        names, _, path = part.partition(" on `")
        on = f" on {path.rstrip('`')}" if path else ""
        found |= {f"{name}{on}" for name in re.findall(r"`([^`]+)`", names)}
    return found


SERVICES: dict[str, Callable[..., Any]] = {"gcpkms": google, "azurekms": azure, "openbao": bao}


@pytest.mark.parametrize("name", ["gcpkms", "azurekms", "openbao", "awskms"])
def test_each_command_needs_exactly_what_its_row_says(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = aws(request.getfixturevalue("ministack")) if name == "awskms" else SERVICES[name]()
    with notices.listening(lambda _: None), made as service:
        for kind in ("symmetric", "rsa"):
            if kind in service.keys:
                _SEALED[service.keys[kind]] = _wrapped(service.keys[kind])
        table = rows(service.page)
        assert {"`keys show`", "`keys generate`", "`sign`"} <= set(table)
        for command, (needs, more) in table.items():
            kind, does = COMMANDS[command]

            def uri(kind: str = kind) -> str:
                return service.new() if kind == "new" else service.keys[kind]

            for allowed in (needs | more, needs):
                which = uri()
                with service.only(allowed):
                    does(which)
            for lacking in sorted(needs):
                which = uri()
                with service.only(needs - {lacking}), pytest.raises(SovgateError) as caught:
                    does(which)
                assert caught.value.reason == "access-denied", (command, lacking)
