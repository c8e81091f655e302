"""Whether the keys that a project names can do their work, and that alone: kind, half, owner.

Reads key files, public halves where both are named; opens no key service. Keys are told apart by
what they are (SubjectPublicKeyInfo, or what a service calls them), not by how they are spelt.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sovgate import uri
from sovgate.errors import DOCS, ConfigError, KeyServiceError, SovgateError, Where
from sovgate.formats import xwing
from sovgate.formats.publickey import UnbelievedKeyError

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Identity, Recipient

K = TypeVar("K", "Recipient", "Identity")
#: What stops a crossing before it starts: it would burn a version, or mix up two zones.
_STOPS = ("unsupported-key-use", "shared-key", "private-half")
#: Of key files, by what their names begin with.
KINDS = {
    "sign": ("ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512"),
    "encrypt": ("rsa-", "ecdsa-p256-sha256", xwing.NAME),
}
_CANNOT = {
    "sign": "signatures are made with EC P-256, P-384 or P-521",
    "encrypt": "keys are wrapped with RSA 2048, 3072 or 4096, or with EC P-256",
}
_SHARED = "what is encrypted for one zone could be opened with the key of the other"
_TWO_USES = "a key that signs and decrypts is two secrets in one"


@dataclass(frozen=True, kw_only=True)
class _Named:
    """One name of a key. `slot`: what has one key, under its private and its public half's name.

    zone    for which it speaks or opens; None for an entry of `trust` that names none, or that is
            a former signer's
    opens   whether its file is read: a private half is not where the public one is named
    """

    dotted: str
    text: str
    use: str
    zone: str | None
    region: str | None
    slot: str
    opens: bool = True

    @property
    def public(self) -> bool:
        """Whether a public half belongs there, so that what is wrong with it is told here."""
        return self.dotted.endswith("-public") or self.slot.startswith("trust.")


def refuse_misused(config: ProjectConfig) -> None:
    """Raises the first error that would make a crossing burn a version, or mix up two zones."""
    for stops, error in _looked_at(config):
        if stops and error.reason in _STOPS:
            raise error


def misused(config: ProjectConfig) -> Iterator[ConfigError]:
    """An error for each key that cannot work where it is named, with its place in the file.

    Files that are not there or cannot be opened here are left to those who need them.
    """
    yield from (error for stops, error in _looked_at(config) if stops)
    yield from _trusted_by_secret(config)


def _trusted_by_secret(config: ProjectConfig) -> Iterator[ConfigError]:
    """Where whom to trust is told by a secret, it can be told only where the secret lies."""
    from sovgate.keys.registry import is_private

    for named in _named(config):
        with contextlib.suppress(SovgateError):  # not there or unreadable: said by others
            if named.slot.startswith("trust.") and is_private(named.text, config.path.parent):
                error = _private_half(named.dotted, named.text, config.path.parent)
                error.where = config.where(named.dotted)
                yield error


def doubtful(config: ProjectConfig) -> Iterator[ConfigError]:
    """The same for what works, but may not be meant: one key that speaks for several zones."""
    return (error for stops, error in _looked_at(config) if not stops)


def _looked_at(config: ProjectConfig) -> Iterator[tuple[bool, ConfigError]]:
    """True with what cannot work, False with what can. Of one key one thing is said."""
    seen: dict[str, list[_Named]] = {}
    told: set[str] = set()
    for named in _named(config):
        if named.slot in told:
            continue
        try:
            key = _opened(named, config.path.parent)
        except (ConfigError, UnbelievedKeyError) as error:
            if named.public:
                told.add(named.slot)
                yield True, _unusable(error, config.where(named.dotted))
            continue
        except SovgateError:  # not there, unreadable, a passphrase
            key = None
        if key is not None and not key.algorithm.startswith(KINDS[named.use]):
            told.add(named.slot)
            yield True, _wrong_kind(named, key, config)
            continue
        others: list[_Named] = []
        for name in _names(named, key, config.path.parent):
            there = seen.setdefault(name, [])
            others += there
            there.append(named)
        found = _shared(others, named, config)
        if found is not None:
            told.add(named.slot)
            yield found


class Unshared:
    """Of encryption keys that were opened: what their services told is compared, zone by zone."""

    def __init__(self, config: ProjectConfig) -> None:
        self._config = config
        self._told: dict[str, set[str]] = {}

    def __call__(self, zone: str, key: K) -> K:
        """The key, if no other zone's is known to be the same. One in a file was compared before.

        Raises ConfigError, reason "shared-key".
        """
        called: str | None = getattr(key, "canonical", None)
        if called is not None:
            self._told[zone] = {called, key.key_id}
            self._compare(zone)
        return key

    def _compare(self, zone: str) -> None:
        base = self._config.path.parent
        named = [one for one in _named(self._config) if one.use == "encrypt"]
        for other in named:
            if other.zone in (None, zone):
                continue
            key = None
            with contextlib.suppress(SovgateError):  # of that zone's key others tell
                key = _opened(other, base)
            theirs = _names(other, key, base) | self._told.get(str(other.zone), set())
            if not theirs.isdisjoint(self._told[zone]):
                mine = next(one for one in named if one.zone == zone)
                raise _same(mine, other, _SHARED, self._config)


def require_half(dotted: str, text: str, base: Path) -> None:
    """Where a public half belongs there is no private one: others get the file.

    Raises ConfigError, reason "private-half".
    """
    from sovgate.keys.registry import is_private

    if dotted.endswith("-public") and is_private(text, base):
        raise _private_half(dotted, text, base)


def require_pinned(told: PublicKey, pinned: PublicKey, zone: str, where: Where) -> None:
    """That a service has the key whose public half the project names. Raises KeyServiceError."""
    if told != pinned:
        raise KeyServiceError(
            f"the service of zones.{zone}.keys.sign has another key than sign-public",
            why=f"its public half has the id {told.key_id}",
            fix="if the key was replaced or rotated, give its new public half to all who verify, "
            f"and name it there ({DOCS}/keys.md#replace-or-take-back-a-key); until they have it, "
            "name the key's earlier version; else find out which service answers",
            where=where,
            reason="wrong-key",
        )


def require_own_half(config: ProjectConfig, zone: str, key_id: str) -> None:
    """That the key which a zone decrypts with is the one whose public half its project names.

    A file that is not there says nothing: whoever decrypts needs it for nothing else. Raises
    KeyServiceError, "wrong-key".
    """
    dotted = f"zones.{zone}.keys.encrypt-public"
    named = next((one for one in _named(config) if one.dotted == dotted), None)
    if named is None:
        return
    pinned = None
    with contextlib.suppress(SovgateError):  # whoever encrypts with it says what is wrong with it
        pinned = _opened(named, config.path.parent)
    if pinned is not None and pinned.key_id != key_id:
        raise KeyServiceError(
            f"zones.{zone}.keys.encrypt does not belong to {named.text}",
            why="that is its encrypt-public, and what others encrypt with it (id "
            f"{pinned.key_id[:16]}…) does not open with this key ({key_id[:120]})",
            fix="name the key that belongs to it; or, if this one is right, its own public half: "
            f"sovgate keys export encrypt --zone {zone} -o FILE, and give that to all who send",
            where=config.where(dotted),
            reason="wrong-key",
        )


def _named(config: ProjectConfig) -> Iterator[_Named]:
    """Each name of a key, public halves first."""
    for name, zone in config.zones.items():
        keys = zone.keys
        for use, secret, half in (
            ("sign", keys.sign, keys.sign_public),
            ("encrypt", keys.encrypt, keys.encrypt_public),
        ):
            slot = f"zones.{name}.keys.{use}"
            for dotted, text, opens in (
                (f"{slot}-public", half, True),
                (slot, secret, half is None),
            ):
                if text is not None:
                    yield _Named(
                        dotted=dotted,
                        text=text,
                        use=use,
                        zone=name,
                        region=zone.region,
                        slot=slot,
                        opens=opens,
                    )
    for index, entry in enumerate(config.trust or ()):
        if entry.key is not None:
            dotted = f"trust.{index}.key"
            zone_of = entry.zone if entry.until is None else None
            region = config.zones[entry.zone].region if entry.zone is not None else None
            yield _Named(
                dotted=dotted, text=entry.key, use="sign", zone=zone_of, region=region, slot=dotted
            )


def _opened(named: _Named, base: Path) -> PublicKey | None:
    """The public half where it is a file that may be read. Raises ConfigError, UsageError, …"""
    from sovgate.keys.registry import exported, open_public

    if not named.opens or uri.parse(named.text, what="key").scheme != "file":
        return None
    require_half(named.dotted, named.text, base)
    # What is compared here is which key it is; who signed an exported one is seen before its use.
    found = exported(named.text, base) if named.use == "encrypt" else None
    return open_public(named.text, base) if found is None else found[1].key


def _names(named: _Named, key: PublicKey | None, base: Path) -> set[str]:
    """By which it is known as the same key elsewhere, as far as that shows here."""
    from sovgate.keys.registry import canonical

    names = {key.key_id} if key is not None else set()
    with contextlib.suppress(SovgateError):  # `lint` says it, and so does whoever opens it
        called = canonical(named.text, base, named.region)
        names |= {called} if called is not None else set()
    return names


def _unusable(error: SovgateError, where: Where) -> ConfigError:
    """As a slip of the project file, of which all that are here are told at once."""
    return ConfigError(error.what, why=error.why, fix=error.fix, where=where, reason=error.reason)


def _private_half(dotted: str, text: str, base: Path) -> ConfigError:
    half = f"{text.removesuffix('.pem')}.pub.pem"
    path = base / uri.parse(half, what="key").rest
    make = f"sovgate keys show {shlex.quote(text)} -o {shlex.quote(half)}"
    return ConfigError(
        f"{dotted} names a private key: {text}",
        why="a public half belongs there: others get it, and a secret stays in its zone",
        fix=f"write {half}" + ("" if path.is_file() else f", which is made by: {make}"),
        reason="private-half",
    )


def _wrong_kind(named: _Named, key: PublicKey, config: ProjectConfig) -> ConfigError:
    return ConfigError(
        f"{named.dotted} names a key that cannot {named.use}: {named.text}",
        why=f"it is a key of kind {key.algorithm}; {_CANNOT[named.use]}",
        fix=f"name the key that is made by: sovgate keys generate {named.use} -o FILE",
        where=config.where(named.dotted),
        reason="unsupported-key-use",
    )


def _shared(
    others: list[_Named], named: _Named, config: ProjectConfig
) -> tuple[bool, ConfigError] | None:
    """A key has one use, and one to encrypt has one zone.

    One that signs may speak for several zones: each statement says for which.
    """
    others = [one for one in others if one.slot != named.slot]
    mixed = next((one for one in others if one.use != named.use), None)
    if mixed is not None:
        return True, _same(
            named, mixed, "a key that signs and decrypts is two secrets in one", config
        )
    if named.use == "encrypt":
        return (True, _same(named, others[0], _SHARED, config)) if others else None
    zones = {one.zone: one for one in others if one.zone is not None}
    if named.zone is None or not zones or named.zone in zones:
        return None
    zone, other = next(iter(zones.items()))
    return False, ConfigError(
        f"{named.dotted} is the same key as {other.dotted}, in line "
        f"{config.where(other.dotted).line}: it signs for zones {zone} and {named.zone}",
        why="whoever holds it can say in the name of both what each of them does, decides and "
        "writes down",
        fix="give each zone a key of its own, which sovgate keys generate sign -o FILE makes; "
        "or leave it where one desk acts for both",
        where=config.where(named.dotted),
        reason="one-signer-for-zones",
    )


def _same(named: _Named, other: _Named, why: str, config: ProjectConfig) -> ConfigError:
    return ConfigError(
        f"{named.dotted} is the same key as {other.dotted}, in line "
        f"{config.where(other.dotted).line}",
        why=why,
        fix="name another key in one of them; a new one is made by: sovgate keys generate "
        f"{named.use} -o FILE",
        where=config.where(named.dotted),
        reason="shared-key",
    )
