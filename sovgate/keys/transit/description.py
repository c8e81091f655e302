"""What a transit engine says of a key. Changes nothing; talks to one server.

It tells nothing of the machines that it runs on, and the engine itself works in software. An HSM
that seals the server's storage, or copies of it elsewhere, are its operators' to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate.keys._api import History, KeyFacts, Lies, Protection
from sovgate.keys.transit.key import RSA, SIGNING, SYMMETRIC, Key
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

_USES = dict.fromkeys(SIGNING, ("sign",)) | dict.fromkeys((SYMMETRIC, *RSA), ("encrypt",))


def describe(uri: Uri, base: Path, region: str | None = None) -> KeyFacts:
    """Needs `read` on MOUNT/keys/NAME. Raises KeyServiceError, "key-version", for one that is not
    there or is shut."""
    key = Key.open(uri, usable=False)
    data = key.data
    shut = key.kind in SIGNING and key.version < key.policy.least_encrypting
    # Of a key that derives others each context has another secret: nothing of ours opens it.
    derives = data.get("derived") or data.get("convergent_encryption")
    public: PublicKey | None = None
    if key.kind in (*SIGNING, *RSA) and key.version in key.policy.publics:
        public = key.public
    return KeyFacts(
        service="OpenBao or Vault (transit)",
        name=key.name,
        state="disabled" if data.get("soft_deleted") or shut else "enabled",
        uses=() if derives else _USES.get(key.kind, ()),
        algorithm=public.algorithm if public is not None else key.kind,
        protection=Protection(
            hsm=False,
            told="the engine's own storage, used in software",
            exportable=_or(data, "exportable", "allow_plaintext_backup"),
        ),
        history=_history(key, data),
        lies=Lies(),
        public=public,
    )


def _or(data: Mapping[str, Any], *names: str) -> bool | None:
    """Whether one of them is true; None where none is, and one is not told."""
    said = [data.get(name) for name in names]
    if True in said:
        return True
    return False if all(one is False for one in said) else None


def _history(key: Key, data: Mapping[str, Any]) -> History:
    times = dict(_times(data.get("keys")))
    imported, period = data.get("imported_key"), _seconds(data.get("auto_rotate_period"))
    latest = times.get(key.policy.latest)
    return History(
        origin=("imported" if imported else "service") if isinstance(imported, bool) else None,
        created=times.get(1),
        version=str(key.version),
        since=times.get(key.version),
        rotates=None if period is None else period > 0,
        next=latest + period if latest is not None and period else None,
    )


def _times(keys: object) -> Iterator[tuple[int, int]]:
    """When each version was made: a number of seconds, or a date where it has a public half."""
    for version, told in keys.items() if isinstance(keys, dict) else ():
        made = _seconds(told)
        text = told.get("creation_time") if isinstance(told, dict) else None
        if isinstance(text, str):
            try:
                made = int(datetime.fromisoformat(text[:40]).replace(microsecond=0).timestamp())
            except (ValueError, OverflowError):
                made = None
        if made is not None:
            yield int(version), made


def _seconds(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else None
