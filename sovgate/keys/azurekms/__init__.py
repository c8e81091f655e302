"""Keys in Azure Key Vault and Managed HSM, in every cloud: `azurekms://VAULT.SUFFIX/KEY[/VERSION]`.
Talks to that vault, and to its cloud's login.

Signing: EC and EC-HSM on P-256, P-384, P-521. Wrapping: RSA and RSA-HSM keys wrap here, with their
public half, and open in the vault. Data actions are named as Key Vault has them; those of a Managed
HSM are spelt another way (`Named.action`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.keys._crypto import OaepIdentity, OaepRecipient, ServiceSigner
from sovgate.keys.azurekms.description import describe as describe
from sovgate.keys.azurekms.generation import generate as generate
from sovgate.keys.azurekms.key import Key
from sovgate.keys.azurekms.names import parse_uri
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey


def check(uri: Uri, base: Path, region: str | None = None) -> None:
    """Asks nobody. Raises ConfigError, ResidencyMismatch."""
    parse_uri(uri, region)


def canonical(uri: Uri, base: Path, region: str | None = None) -> str:
    return parse_uri(uri, region).canonical


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """Needs Microsoft.KeyVault/vaults/keys/read."""
    return Key.open(parse_uri(uri, region)).public


def facts(uri: Uri, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What the vault says of the key. Needs Microsoft.KeyVault/vaults/keys/read."""
    named = parse_uri(uri, region)
    key = Key.open(named)
    return (
        ("service", f"Azure Key Vault {named.host}"),
        ("version", key.held.name),
        ("type", key.kept),
    )


def signer(uri: Uri, base: Path, region: str | None = None) -> ServiceSigner:
    """Needs Microsoft.KeyVault/vaults/keys/read and Microsoft.KeyVault/vaults/keys/sign/action."""
    key = Key.open(parse_uri(uri, region), "sign")
    return ServiceSigner(key.held, key.sign, raw=True)


def recipient(uri: Uri, base: Path, region: str | None = None) -> OaepRecipient:
    """Needs Microsoft.KeyVault/vaults/keys/read."""
    return OaepRecipient(Key.open(parse_uri(uri, region), "unwrapKey").held)


def identity(uri: Uri, base: Path, region: str | None = None) -> OaepIdentity:
    """Needs Microsoft.KeyVault/vaults/keys/read and …/keys/unwrap/action."""
    key = Key.open(parse_uri(uri, region), "unwrapKey")
    return OaepIdentity(key.held, key.unwrap)
