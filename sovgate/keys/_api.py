"""What a key adapter gives: signers, recipients, identities. Imports no SDK.

An adapter module (`keys/<scheme>.py`) has up to four functions, each taking the parsed URI, the
folder that relative paths start from, and the zone's "provider:region" or None, and raising
ConfigError for what its URIs cannot do, ResidencyMismatch for a key that lies outside that region:
`public_key`, `signer`, `recipient`, `identity`. Three more ask nobody: `check` raises what the URI
alone tells, `canonical` has one spelling for all URIs of a key, and `is_private` tells a file with
a private half. `facts` tells what the service says of how the key is kept. `registry` names the
module by scheme.

What a service opened has `canonical` too, an attribute: by the name that the service itself gives.
"""

from __future__ import annotations

from typing import Protocol

from sovgate.formats.spki import PublicKey


class Signer(Protocol):
    """Holds, or reaches, a private signing key."""

    @property
    def public_key(self) -> PublicKey: ...

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """DER, leaf first; empty for a raw key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA over `message`, hashed as the curve demands; DER, low S. Raises KeyServiceError."""
        ...


class Recipient(Protocol):
    """Wraps keys for a zone; holds no secret (age's word)."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the SPKI in lower-case hex, or the resolved ARN or resource name."""
        ...

    @property
    def algorithm(self) -> str:
        """Of `formats.wrap`, "rsa-oaep-sha256" for example, or the service's own name."""
        ...

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Wrap a 32-byte key, bound to the canonical wrap context. Raises KeyServiceError."""
        ...


class Identity(Protocol):
    """Unwraps what was wrapped for a zone (age's word)."""

    @property
    def key_id(self) -> str: ...

    @property
    def algorithm(self) -> str: ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The 32-byte key.

        The caller has compared `key_id` first ("not mine, try the next"), so what fails to open
        here is damage: VerificationFailed. KeyServiceError where the service does not answer.
        """
        ...
