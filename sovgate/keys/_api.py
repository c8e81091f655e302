"""What a key adapter gives: signers, recipients, identities. Imports no SDK.

An adapter module (`keys/<scheme>.py`) has up to four functions, each taking the parsed URI, the
folder that relative paths start from, and the zone's "provider:region" or None, and raising
ConfigError for what its URIs cannot do, ResidencyMismatch for a key that lies outside that region:
`public_key`, `signer`, `recipient`, `identity`. Three more ask nobody: `check` raises what the URI
alone tells, `canonical` has one spelling for all URIs of a key, and `is_private` tells a file with
a private half. `facts` tells what the service says of how the key is kept, for people, and
`describe` the same for programs, of a key that cannot be used too. `generate` makes a key there.
`registry` names the module by scheme.

What a service opened has `canonical` too, an attribute: by the name that the service itself gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from sovgate.formats.spki import PublicKey

if TYPE_CHECKING:
    from sovgate.formats.keyless import KeylessRule, Logged

State = Literal[
    "enabled",
    "disabled",
    "not-yet-valid",
    "expired",
    "pending-deletion",
    "deleted",
    "unavailable",
]
#: Made by the service itself, brought there from elsewhere, or kept elsewhere by its owner.
Origin = Literal["service", "imported", "external"]


@dataclass(frozen=True, kw_only=True)
class Protection:
    """How the secret half is kept. None: the service does not tell it, and nobody guesses.

    hsm         in hardware made for keys, or in software
    told        the same in the service's own words, "EC-HSM, HSM platform 2 (FIPS 140-3 level 3)"
    exportable  whether someone may have the secret half out of the service
    """

    hsm: bool | None = None
    told: str | None = None
    exportable: bool | None = None


@dataclass(frozen=True, kw_only=True)
class History:
    """Where a key comes from, and when what happens to it. Times are seconds since 1970, UTC.

    created  of the key; `since`: of the version that is used, which is what a rotation makes young
    version  as the service counts them
    rotates  whether the service makes new versions itself; `next`: when
    ends     when it expires, or will be destroyed
    """

    origin: Origin | None = None
    created: int | None = None
    version: str | None = None
    since: int | None = None
    rotates: bool | None = None
    next: int | None = None
    ends: int | None = None


@dataclass(frozen=True, kw_only=True)
class Lies:
    """`region`: "provider:region"; `grade`: how well that is known (records.GRADE, 0 for unknown).

    `replicas`: regions of its other copies, () for none; None where that is not told.
    """

    region: str | None = None
    grade: int = 0
    replicas: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class KeyFacts:
    """What the service of a key says of it. None: not told.

    service   which it is, "AWS KMS"; `name`: as it names the key itself
    uses      of "sign" and "encrypt" what it is for, as the service has it
    algorithm of our signing or wrapping, or the service's own word
    public    None of a symmetric key too
    """

    service: str
    name: str
    state: State | None
    uses: tuple[str, ...] | None
    algorithm: str | None
    protection: Protection
    history: History
    lies: Lies
    public: PublicKey | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A key to be made: `use` is "sign" or "encrypt"; `kind` one of the adapter's, None for its
    first; `hsm`: in hardware, or not at all."""

    use: str
    kind: str | None = None
    hsm: bool = False


@dataclass(frozen=True, kw_only=True)
class Made:
    """`uri` is how a project names the key from now on, with the settings that it was asked by."""

    uri: str
    name: str
    public: PublicKey | None


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


@runtime_checkable
class Sealer(Signer, Protocol):
    """A signer whose signature is nothing without what a log says of it: it makes the bundle.

    Its `public_key` is of this run alone; `rules` say by which names it is known, and `logged` what
    was shown of the last that it sealed.
    """

    logged: Logged | None

    @property
    def rules(self) -> tuple[KeylessRule, ...]: ...

    def prepare(self) -> None:
        """Ask for what a signature needs before there is one. Raises KeyServiceError."""
        ...

    def seal(self, payload: bytes) -> bytes:
        """The bundle of a statement's payload, verified. Raises KeyServiceError."""
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
