"""A vault of Azure's that lies about what it signed and opened: before it stand real keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sovgate.errors import KeyServiceError, VerificationFailed
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys.azurekms import vault as adapter
from tests.azurevault import Vault, azure_vault

ZONE = "azure:germanywestcentral"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))


@pytest.fixture
def vault() -> Iterator[Vault]:
    with azure_vault() as made:
        yield made
    adapter._client.cache_clear()
    adapter._tokens.cache_clear()


def sign(uri: str) -> None:
    signer = registry.open_signer(uri, Path(), ZONE)
    signer.public_key.verify(b"message", signer.sign(b"message"))


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"code": "Forbidden", "message": "no"}},
        {"kid": "", "value": ""},
        {"value": "AAAA", "kid": None},
        {"key": {"kid": "x"}},
        [],
        {"key": "a key", "attributes": "enabled"},
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["get", "sign", "unwrapkey"])
def test_a_200_with_an_error_in_it_is_no_answer(vault: Vault, verb: str, said: object) -> None:
    kind = ("RSA", "2048") if verb == "unwrapkey" else ("EC", "P-256")
    uri = vault.pinned(vault.make(*kind))
    wrapped = (
        registry.open_recipient(uri, Path(), ZONE).wrap(KEY, CONTEXT) if "RSA" in kind else b""
    )
    vault.edits = lambda made, answer: said if made == verb else answer
    with pytest.raises(KeyServiceError) as caught:
        if verb == "unwrapkey":
            registry.open_identity(uri, Path(), ZONE).unwrap(wrapped, CONTEXT)
        else:
            sign(uri)
    assert caught.value.reason in ("bad-answer", "wrong-key")


@pytest.mark.parametrize("plain", [b"", KEY[:-1], KEY + b"x", bytes(6000)], ids=len)
def test_what_a_vault_says_to_have_opened_is_looked_at(vault: Vault, plain: bytes) -> None:
    uri = vault.pinned(vault.make("RSA", "2048"))
    wrapped = registry.open_recipient(uri, Path(), ZONE).wrap(KEY, CONTEXT)
    value = adapter.encoded(plain)
    vault.edits = lambda verb, told: told | {"value": value} if verb == "unwrapkey" else told
    with pytest.raises((KeyServiceError, VerificationFailed)) as caught:
        registry.open_identity(uri, Path(), ZONE).unwrap(wrapped, CONTEXT)
    assert int(caught.value.exit_code) in (11, 20)


@pytest.mark.parametrize("how", ["curve", "raw", "other", "old"])
def test_a_signature_by_another_algorithm_key_or_of_before_is_refused(
    vault: Vault, how: str
) -> None:
    name = vault.make("EC", "P-256")
    signer = registry.open_signer(vault.pinned(name), Path(), ZONE)
    before: list[str] = []

    def edits(verb: str, answer: dict[str, Any]) -> Any:
        if verb != "sign":
            return answer
        before.append(answer["value"])
        value = adapter.decoded(answer["value"], "")
        made = {
            "curve": value + value[:32],
            "raw": encode_dss_signature(int.from_bytes(value[:32]), int.from_bytes(value[32:])),
            "other": bytes(32) + value[32:],
            "old": adapter.decoded(before[0], ""),
        }
        return answer | {"value": adapter.encoded(made[how])}

    vault.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        signer.sign(b"one")
        signer.sign(b"two")
    assert caught.value.reason == "bad-signature"
    assert len(before) == (2 if how == "old" else 1)


def test_rule_10_a_version_that_is_current_when_it_opens_is_another_key(vault: Vault) -> None:
    """Without a version in the URI: by its id a receiver tells a wrong key from damage."""
    name = vault.make("RSA", "2048")
    recipient = registry.open_recipient(vault.uri(name), Path(), ZONE)
    wrapped, first = recipient.wrap(KEY, CONTEXT), vault.keys[name].current
    vault.keys[name].add()
    identity = registry.open_identity(vault.uri(name), Path(), ZONE)
    assert identity.key_id != recipient.key_id
    with pytest.raises((KeyServiceError, VerificationFailed)):
        identity.unwrap(wrapped, CONTEXT)
    old = registry.open_identity(vault.uri(f"{name}/{first}"), Path(), ZONE)
    assert old.unwrap(wrapped, CONTEXT) == KEY
