"""Makes a key in Azure Key Vault or a Managed HSM that cannot be exported. Talks to that vault.

The vault adds a version to a key that is there, so it is asked first whether one is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sovgate.errors import SovgateError
from sovgate.keys import _answers
from sovgate.keys._api import Made, Wanted
from sovgate.keys.azurekms.key import Key, version_of
from sovgate.keys.azurekms.names import parse_uri
from sovgate.keys.azurekms.vault import Vault
from sovgate.uri import Uri, parse

KINDS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "sign": {f"ec-p{size}": ("EC", {"crv": f"P-{size}"}) for size in (256, 384, 521)},
    "encrypt": {f"rsa-{size}": ("RSA", {"key_size": size}) for size in (3072, 4096)},
}
_OPERATIONS = {"sign": ["sign", "verify"], "encrypt": ["wrapKey", "unwrapKey"]}


def generate(uri: Uri, base: Path, region: str | None, wanted: Wanted) -> Made:
    """Needs Microsoft.KeyVault/vaults/keys/read and …/keys/create/action."""
    named = parse_uri(uri, region)
    vault = Vault(named)
    _, (kind, size) = _answers.chosen(wanted, KINDS, "Azure Key Vault")
    try:
        vault.ask(named.key, "look up", named.action("read"))
    except SovgateError as error:
        if error.reason != "no-such-key":
            raise
    else:
        raise _answers.taken(f"{named.host}/{named.key}")
    hsm = wanted.hsm or named.protected or named.managed
    body = {
        "kty": f"{kind}-HSM" if hsm else kind,
        "key_ops": _OPERATIONS[wanted.use],
        "attributes": {"enabled": True},
        **size,
    }
    action = named.action("create")
    try:
        answer = vault.ask(f"{named.key}/create", "make", action, body, again=False)
    except SovgateError as error:
        raise _answers.not_known(f"{named.host}/{named.key}", error) from error
    told = answer.get("key")
    version = version_of(named, told.get("kid") if isinstance(told, dict) else None)
    _, mark, settings = uri.text.partition("?")
    written = f"{named.text}/{version}{mark}{settings}"
    key = Key.open(parse_uri(parse(written, what="key"), region))
    return Made(uri=written, name=key.held.name, public=key.public)
