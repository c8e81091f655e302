"""Finds the key adapter of a URI. Knows adapters by name only and imports one when it is asked for.

A new key service is one file beside this one and one line in `SCHEMES`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import uri
from sovgate.errors import DOCS, ConfigError

if TYPE_CHECKING:
    from sovgate.formats.publickey import ZonePublicKey
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Identity, KeyFacts, Made, Recipient, Signer, Wanted

#: URI scheme -> module. A bare path is `file`.
SCHEMES: dict[str, str] = {
    "file": "sovgate.keys.file",
    "awskms": "sovgate.keys.awskms",
    "hashivault": "sovgate.keys.transit",
    "openbao": "sovgate.keys.transit",
    "azurekms": "sovgate.keys.azurekms",
    "gcpkms": "sovgate.keys.gcpkms",
    "pkcs11": "sovgate.keys.pkcs11",
}

#: What signs, and has no key that stays: it opens as a signer alone, and is no zone's key.
SIGNERS: dict[str, str] = {"sigstore": "sovgate.keys.sigstore"}

_USES = {
    "public_key": "tell a public key",
    "signer": "sign",
    "recipient": "encrypt to a zone",
    "identity": "decrypt for a zone",
    "describe": "be asked about",
    "generate": "be made",
}


def _open(uri_text: str, base: Path, use: str, region: str | None, *more: object) -> Any:
    parsed = uri.parse(uri_text, what="key")
    module = SCHEMES.get(parsed.scheme) or SIGNERS.get(parsed.scheme)
    if module is None:
        known = (*SCHEMES, *SIGNERS)
        raise uri.unserved(parsed.scheme, what="key", known=known, fix=_suggestion(parsed.scheme))
    adapter = getattr(importlib.import_module(module), use, None)
    if adapter is None:
        raise ConfigError(
            f"{uri.a_key(parsed.scheme)} cannot {_USES[use]}",
            fix="name a key of another kind there"
            if parsed.scheme not in SIGNERS
            else "it makes a new key for each signature: to believe who signs so, write an entry "
            f"under trust ({DOCS}/keyless.md#trust-a-keyless-signer); else name a key that stays",
            reason="unsupported-key-use",
        )
    return adapter(parsed, base, region, *more)


def check(uri_text: str, base: Path, region: str | None = None) -> None:
    """What can be told of a key's URI without its service, SDK or file.

    Raises ConfigError, ResidencyMismatch: what opening it would raise too.
    """
    parsed = uri.parse(uri_text, what="key")
    if parsed.scheme in SCHEMES:
        adapter = importlib.import_module(SCHEMES[parsed.scheme])
        getattr(adapter, "check", lambda *_: None)(parsed, base, region)


def is_private(uri_text: str, base: Path) -> bool:
    """Whether the key's file holds a private half; a key service gives none away."""
    parsed = uri.parse(uri_text, what="key")
    if parsed.scheme not in SCHEMES:
        return False
    adapter = importlib.import_module(SCHEMES[parsed.scheme])
    return bool(getattr(adapter, "is_private", lambda *_: False)(parsed, base))


def canonical(uri_text: str, base: Path, region: str | None = None) -> str | None:
    """One spelling for all URIs of a key, as far as they say it themselves: nothing is asked.

    None where nobody knows the URI. Raises ConfigError, ResidencyMismatch, as `check` does.
    """
    parsed = uri.parse(uri_text, what="key")
    if parsed.scheme not in SCHEMES:
        return None
    adapter = importlib.import_module(SCHEMES[parsed.scheme])
    found: str | None = getattr(adapter, "canonical", lambda *_: None)(parsed, base, region)
    return found


def exported(uri_text: str, base: Path) -> tuple[bytes, ZonePublicKey] | None:
    """What `keys export` wrote into the file that is named: its bytes, and what they say. Nobody
    looked yet who signed it. None for any other key. Raises UnbelievedKeyError, UsageError, …"""
    parsed = uri.parse(uri_text, what="key")
    if parsed.scheme != "file":
        return None
    adapter = importlib.import_module(SCHEMES["file"])
    found: tuple[bytes, ZonePublicKey] | None = adapter.exported(parsed, base)
    return found


def recipient_of(key: PublicKey, name: str) -> Recipient:
    """What wraps for a public half that is at hand. Raises ConfigError."""
    made: Recipient = importlib.import_module(SCHEMES["file"]).recipient_of(key, name)
    return made


def facts(uri_text: str, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What the key's service says of how it is kept, name and value; it asks it.

    Nothing for a file, and where no secret that opens the key is at hand.
    """
    parsed = uri.parse(uri_text, what="key")
    adapter = importlib.import_module(SCHEMES.get(parsed.scheme) or SIGNERS[parsed.scheme])
    told: tuple[tuple[str, str], ...] = getattr(adapter, "facts", lambda *_: ())(
        parsed, base, region
    )
    return told


def describe(uri_text: str, base: Path, region: str | None = None) -> KeyFacts:
    """What the key's service says of it, for programs; of a key that cannot be used too.

    Raises ConfigError, UsageError, KeyServiceError, ResidencyMismatch.
    """
    found: KeyFacts = _open(uri_text, base, "describe", region)
    return found


def generate(uri_text: str, base: Path, region: str | None, wanted: Wanted) -> Made:
    """Make a key in a service: it never gives its secret half away. One that is there stays as it
    is: UsageError, "output-exists".

    Raises ConfigError, KeyServiceError, ResidencyMismatch.
    """
    made: Made = _open(uri_text, base, "generate", region, wanted)
    return made


def _suggestion(scheme: str) -> str:
    import difflib

    close = difflib.get_close_matches(scheme.lower(), (*SCHEMES, *SIGNERS), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "write file:PATH, or ./PATH for a file whose name holds a colon"


def open_signer(uri_text: str, base: Path, region: str | None = None) -> Signer:
    """The signing key behind a URI; relative paths start at `base`.

    `region`: the zone's "provider:region". A key that lies elsewhere is refused.
    Raises ConfigError (what its URIs cannot do), UsageError (no such file), KeyServiceError,
    ResidencyMismatch.
    So do the three below.
    """
    signer: Signer = _open(uri_text, base, "signer", region)
    return signer


def open_recipient(uri_text: str, base: Path, region: str | None = None) -> Recipient:
    """What wraps keys for a zone. The public half is enough."""
    recipient: Recipient = _open(uri_text, base, "recipient", region)
    return recipient


def open_identity(uri_text: str, base: Path, region: str | None = None) -> Identity:
    """What unwraps keys inside a zone."""
    identity: Identity = _open(uri_text, base, "identity", region)
    return identity


def open_public(uri_text: str, base: Path, region: str | None = None) -> PublicKey:
    """The public half of any key; of a private key file too."""
    key: PublicKey = _open(uri_text, base, "public_key", region)
    return key
