"""Keyless signatures (Sigstore): whose certificate, in which log, at what time. No I/O, no network.

The records that others hold. `judge.admitted` says whether a bundle is by the identity of a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.formats.x509 import SCHEME

if TYPE_CHECKING:
    from sovgate.formats.keyless.root import TrustedRoot


#: The kinds of names that a certificate may have for its holder, as a person calls them.
URI, EMAIL, USER = "URI", "e-mail address", "user name"


def kind_of(identity: str) -> str | None:
    """Which kind of name a written identity is; None: none that an instance gives.

    What begins with a scheme is a URI, even with `@` in it, as a workflow's address has. Of the
    others one with `@` is an e-mail address, and one with `!` a user name, `name!domain`: Fulcio
    takes no user name with `@`.
    """
    if SCHEME.match(identity):
        return URI
    if "@" in identity:
        return EMAIL
    return USER if "!" in identity else None


@dataclass(frozen=True, kw_only=True)
class KeylessRule:
    """Signers whom `issuer` vouched for as `identity`, both compared whole, never as a pattern.

    The certificate's name is of the kind that `identity` is written as (`kind_of`): an e-mail
    address that reads like a workflow's URI is somebody else.
    """

    identity: str
    issuer: str
    root: TrustedRoot

    def may_fit(self, other: KeylessRule) -> bool:
        """Whether this one may believe what the signer of the other makes: by these names, through
        an instance that both know. Two files of one instance have a log in common."""
        same = (self.identity, self.issuer) == (other.identity, other.issuer)
        return same and not self.root.logs.isdisjoint(other.root.logs)


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What was shown of a keyless signature.

    time    the earliest that was shown: the signature is not younger
    log     id of the transparency log, lower-case hex; `index` is the entry's number in it
    by      who told times: "the log", "a timestamp authority"; all of them are verified
    root    SHA-256 of the trusted root file
    """

    identity: str
    issuer: str
    time: datetime
    log: str
    url: str
    index: int
    by: tuple[str, ...]
    root: str

    def json(self) -> dict[str, strict.JSON]:
        return dict(vars(self)) | {"time": strict.format_time(self.time), "by": list(self.by)}
