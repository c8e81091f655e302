"""One key of a transit engine: read, checked, and pinned to a version. Talks to one server.

RULES 10: each answer's name and version are compared with what was asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sovgate.errors import KeyServiceError, SovgateError
from sovgate.keys import _answers
from sovgate.keys._crypto import public_from
from sovgate.keys.transit.login import Tokens
from sovgate.keys.transit.place import PAGE, Place, located, refuse_elsewhere
from sovgate.keys.transit.server import Call, Denied, Said, Server, policy, words
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

SIGNING = {
    "ecdsa-p256": ("ecdsa-p256-sha256", "sha2-256"),
    "ecdsa-p384": ("ecdsa-p384-sha384", "sha2-384"),
    "ecdsa-p521": ("ecdsa-p521-sha512", "sha2-512"),
}
RSA = ("rsa-2048", "rsa-3072", "rsa-4096")
SYMMETRIC = "aes256-gcm96"
#: What the engine says of a key, and what that means for whoever relies on it.
_FACTS = {
    "exportable": ("yes: whoever may export it can read its secret half", "no: it never leaves"),
    "allow_plaintext_backup": ("yes: whoever may back it up can read its secret half", "no"),
    "deletion_allowed": ("yes: what it wrapped would be lost with it", "no"),
    "imported_key": ("yes: it was made elsewhere, where a copy may be", "no: it was made there"),
}


@functools.cache
def _tokens(at: Place) -> Tokens:
    """One login for all keys of a place."""
    return Tokens(Server(at))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the engine says of a key. `publics`: PEM by version, none of a symmetric one."""

    kind: str
    latest: int
    least_decrypting: int
    least_encrypting: int
    publics: Mapping[int, str]
    facts: Mapping[str, bool]


class Asker:
    """Asks about one key, which need not be there."""

    def __init__(self, at: Place, operation: str | None) -> None:
        self.at, self._operation = at, operation
        self._server, self._tokens = Server(at), _tokens(at.any_key)

    def call(self, call: Call) -> dict[str, Any]:
        """`data` of the answer. Raises KeyServiceError, ResidencyMismatch."""
        data = self._asked(call, self._server.ask).get("data")
        if not isinstance(data, dict):
            raise _answers.bad_answer(self.at.canonical, "it has no data")
        return data

    def make(self, kind: str) -> None:
        """Asked once. Of a name that is taken, the engine does nothing and says nothing."""
        body = {"type": kind, "exportable": False, "allow_plaintext_backup": False}
        call = Call(method="POST", path=self.at.path("keys"), doing="make", body=body)
        self._asked(call, self._server.once)

    def _asked(self, call: Call, ask: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        token = self._tokens()
        try:
            return ask(call, token=token)
        except Denied as denied:
            raise self._explained(denied, token) from None

    def _explained(self, denied: Denied, token: str) -> SovgateError:
        """A token that is not valid gets the same answer as one that may not do this: so ask."""
        rules = [(denied.call.path, denied.call.needs)]
        if denied.call.needs == "read" and self._operation is not None:
            rules.append((self.at.path(self._operation), "update"))
        denied.details = policy(self.at, *rules)
        look = Call(method="GET", path="auth/token/lookup-self", doing="look at the token for")
        try:
            data = self._server.once(look, token=token).get("data")
            policies = data.get("policies") if isinstance(data, dict) else None
        except SovgateError:
            if self._tokens.ours(token):
                return denied
            denied.why = (
                "permission denied: the token ran out, was revoked, is of another server or "
                "namespace, or lacks this policy"
            )
            denied.reason = "bad-credentials"
            denied.fix = f"log in again; if the token is good, give it this policy ({PAGE})"
            return denied
        names = [words(str(p))[:40] for p in policies[:8]] if isinstance(policies, list) else []
        denied.why = f"the token is good, and its policies ({', '.join(names)}) do not allow it"
        return denied


class Key(Asker):
    """One key, pinned to a version. `name` says which to people; no repr holds a secret."""

    def __init__(self, at: Place, operation: str | None, *, usable: bool = True) -> None:
        super().__init__(at, operation)
        self.data = self._read()
        self.policy = self._understood()
        if usable:
            self._require_usable()
        self.version = self._version()
        self.canonical = at.canonical
        self.name = at.canonical if self.symmetric else f"{at.canonical}:v{self.version}"

    @classmethod
    def open(cls, uri: Uri, operation: str | None = None, *, usable: bool = True) -> Key:
        """Needs `read` on MOUNT/keys/NAME. `operation` ("sign") is what it is opened for, and what
        a policy is to allow beside that; `usable`: that it can do anything at all.
        Raises ConfigError, KeyServiceError.
        """
        at = located(uri)
        refuse_elsewhere(at, uri)
        return cls(at, operation, usable=usable)

    @property
    def kind(self) -> str:
        return self.policy.kind

    @property
    def symmetric(self) -> bool:
        return self.policy.kind == SYMMETRIC

    def told(self) -> tuple[tuple[str, str], ...]:
        """What a person should know of it."""
        policy = self.policy
        which = "pinned" if self.at.version else "the latest"
        opens = f"what version {policy.least_decrypting} and later wrapped"
        return (
            ("service", self.at.canonical),
            ("kind", self.kind),
            ("version", f"{self.version} of {policy.latest}: {which}"),
            *((("opens", opens),) if policy.kind in (SYMMETRIC, *RSA) else ()),
            *((name.replace("_", " "), _FACTS[name][not on]) for name, on in policy.facts.items()),
        )

    def _read(self) -> dict[str, Any]:
        call = Call(
            method="GET", path=self.at.path("keys"), doing="look up", needs="read", body=None
        )
        data = self.call(call)
        if data.get("name") != self.at.key:
            raise _answers.another(self.at.key, words(str(data.get("name"))))
        return data

    def _understood(self) -> Policy:
        read = _policy(self.data)
        if read is None:
            raise _answers.bad_answer(self.at.canonical, "it does not describe a transit key")
        return read

    def _require_usable(self) -> None:
        data = self.data
        if data.get("soft_deleted"):
            raise _answers.disabled(self.at.canonical, "soft-deleted")
        if data.get("derived") or data.get("convergent_encryption"):
            raise _answers.cannot(
                self.at.canonical,
                "it derives another key for each context, so it has no one secret of its own",
                f"make one that does not: {self.at.tool} write {self.at.mount}/keys/NAME "
                f"type={self.kind}",
            )

    def _version(self) -> int:
        """The version that signs and wraps: the pinned one, or the latest, found once."""
        policy, version = self.policy, self.at.version or self.policy.latest
        least = policy.least_decrypting
        if self._operation not in (None, "decrypt"):
            least = max(least, policy.least_encrypting)
        elif self.symmetric:
            least = 0  # a ciphertext says by which version it opens
        if version > policy.latest:
            raise self.wrong_version(
                f"there is no version {version}: the latest is {policy.latest}"
            )
        if version < least:
            raise self.wrong_version(
                f"version {version} is shut: the key's least version for this is {least}"
            )
        return version

    def wrong_version(self, why: str, fix: str = "") -> SovgateError:
        return KeyServiceError(
            f"the pinned version of {self.at.canonical} cannot be used",
            why=why,
            fix=fix or "write version beside the key as one that is open",
            reason="key-version",
        )

    @functools.cached_property
    def public(self) -> PublicKey:
        """Raises KeyServiceError, "bad-key", and "wrong-key" for one of another kind than said."""
        if self.version not in self.policy.publics:
            raise _answers.bad_answer(self.name, "it has no public half")
        public = public_from(self.policy.publics[self.version].encode(), self.name)
        expected = SIGNING.get(self.kind, (self.kind, ""))[0]
        if public.algorithm != expected:
            raise _answers.another(f"a key of kind {self.kind}", public.algorithm)
        return public

    def shut(self, version: int) -> SovgateError:
        """What opens with a version that the key does not open any more."""
        return KeyServiceError(
            f"{self.at.canonical} does not open what its version {version} wrapped",
            why=f"its least version for decrypting is {self.policy.least_decrypting}",
            fix=f"have its operators set it to {version}: {self.at.tool} write "
            f"{self.at.path('keys')}/config min_decryption_version={version}; or push the release "
            "again under a new version",
            reason="key-version",
        )

    def refused(self, said: Said, version: int) -> SovgateError | None:
        """What a server says of the key or of a version of it; None where it speaks of neither."""
        if "soft-deleted" in said.text:
            return _answers.disabled(self.at.canonical, "soft-deleted")
        if "too old" in said.text or "less than the minimum" in said.text:
            return self.shut(version)
        if "too new" in said.text or "higher than the latest" in said.text:
            return self.wrong_version(
                f"the server has no version {version}",
                "find out which server answers there, and whether it was restored from a backup",
            )
        return None


def _policy(data: Mapping[str, Any]) -> Policy | None:
    """None where a field is not what the engine writes: nothing is guessed."""
    kind, keys = data.get("type"), data.get("keys")
    numbers = [
        data.get(name)
        for name in ("latest_version", "min_decryption_version", "min_encryption_version")
    ]
    if not isinstance(kind, str) or not isinstance(keys, dict) or not keys:
        return None
    if not all(type(number) is int and 0 <= number < 1_000_000 for number in numbers):
        return None
    publics = {}
    for version, value in keys.items():
        if not (version.isascii() and version.isdigit() and len(version) < 7):
            return None
        pem = value.get("public_key") if isinstance(value, dict) else None
        if isinstance(pem, str) and pem:
            publics[int(version)] = pem
    latest, decrypting, encrypting = (int(str(number)) for number in numbers)
    if not latest:
        return None
    return Policy(
        kind=words(kind)[:40],
        latest=latest,
        least_decrypting=decrypting,
        least_encrypting=encrypting,
        publics=publics,
        facts={name: bool(data.get(name)) for name in _FACTS if name in data},
    )
