"""What Google Cloud KMS says of a key and of the version that is used. Changes nothing.

Talks to one KMS endpoint. RULES 10: the name in each answer is compared.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate.keys import _answers
from sovgate.keys._api import History, KeyFacts, Lies, Origin, Protection, State
from sovgate.keys.gcpkms.names import Named, parse_uri
from sovgate.keys.gcpkms.version import (
    OPENING,
    SIGNING,
    Version,
    compare,
    number_of,
    numbered,
    word,
)
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

_STATES: dict[str, State] = {
    "ENABLED": "enabled",
    "DISABLED": "disabled",
    "DESTROY_SCHEDULED": "pending-deletion",
    "DESTROYED": "deleted",
}
_USES = {
    "ASYMMETRIC_SIGN": ("sign",),
    "ASYMMETRIC_DECRYPT": ("encrypt",),
    "ENCRYPT_DECRYPT": ("encrypt",),
}
_HSM = {"SOFTWARE": False, "HSM": True, "HSM_SINGLE_TENANT": True}


def describe(uri: Uri, base: Path, region: str | None = None) -> KeyFacts:
    """Needs cloudkms.cryptoKeys.get; for more cloudkms.cryptoKeyVersions.get, .list without a
    version in the URI, and .viewPublicKey."""
    named = parse_uri(uri, region)
    key = named.ask("get_crypto_key", "look up", "cloudkms.cryptoKeys.get", name=named.key)
    compare(named.key, key.name)
    version = _version(named, key)
    level = word(version, "protection_level")
    algorithm = word(version, "algorithm")
    state = _STATES.get(word(version, "state"), "unavailable")
    public: PublicKey | None = None
    if state == "enabled" and algorithm in {**SIGNING, **OPENING}:
        one = replace(named, version=version.name, wanted=None)
        public = _answers.as_far_as_allowed(
            "its public half", lambda: Version.open(one, {**SIGNING, **OPENING}).public
        )
    held = named.held(version.name, public, level)
    return KeyFacts(
        service="Google Cloud KMS",
        name=version.name,
        state=state,
        uses=_USES.get(word(key, "purpose"), ()),
        algorithm={**SIGNING, **OPENING}.get(algorithm, algorithm[:60]),
        protection=Protection(
            hsm=_HSM.get(level),
            told=f"protection level {level}",
            exportable=False if level in _HSM else None,
        ),
        history=_history(key, version, level),
        # A location of the catalogue is one region, and a key never leaves it.
        lies=Lies(region=held.region, grade=held.grade, replicas=() if level in _HSM else None),
        public=public,
    )


def _version(named: Named, key: Any) -> Any:
    """The one that is used: the pinned one, the primary one, or the newest that is enabled."""
    name = named.version
    if name is None and word(key, "purpose") == "ENCRYPT_DECRYPT":
        if not key.primary.name:
            raise _answers.disabled(named.key, "without a primary version")
        compare(named.key, key.primary.name, version=True)
        return key.primary
    if name is None:
        return max(numbered(named, enabled=False), key=_usable)
    found = named.ask(
        "get_crypto_key_version", "look up", "cloudkms.cryptoKeyVersions.get", name=name
    )
    compare(name, found.name)
    return found


def _usable(version: Any) -> tuple[bool, int]:
    return word(version, "state") == "ENABLED", number_of(version)


def _history(key: Any, version: Any, level: str) -> History:
    origin: Origin | None = "service"
    if level not in _HSM:
        origin = "external" if level.startswith("EXTERNAL") else None
    elif version.import_job:
        origin = "imported"
    symmetric = word(key, "purpose") == "ENCRYPT_DECRYPT"
    period = _has(key, "rotation_period")
    return History(
        origin=origin,
        created=_seconds(key, "create_time"),
        version=version.name.rpartition("/")[2],
        since=_seconds(version, "generate_time") or _seconds(version, "create_time"),
        rotates=period if symmetric else False,
        next=_seconds(key, "next_rotation_time"),
        ends=_seconds(version, "destroy_time"),
    )


def _has(answer: Any, field: str) -> bool:
    return bool(type(answer).pb(answer).HasField(field))


def _seconds(answer: Any, field: str) -> int | None:
    """Of a time that was sent; a time that is unset is 1970 to the library."""
    return int(getattr(type(answer).pb(answer), field).seconds) if _has(answer, field) else None
