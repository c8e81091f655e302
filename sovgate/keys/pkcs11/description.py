"""What a token says of a key in it. Nobody else vouches for that: a module may say what it likes.

Where a device stands, and whether another has a copy, no token tells.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from sovgate.keys._api import History, KeyFacts, Lies, Origin, Protection, State
from sovgate.keys.pkcs11.objects import Private
from sovgate.keys.pkcs11.token import Info

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey


def described(name: str, info: Info, key: Private, public: PublicKey) -> KeyFacts:
    """`name`: the key's URI without settings."""
    starts, ends = _at(key.told.get("START_DATE")), _at(key.told.get("END_DATE"), last=True)
    uses = (("sign", key.may("SIGN")), ("encrypt", key.may("DECRYPT") or key.may("DERIVE")))
    # NSS says no of keys that it made itself, so that no tells nothing.
    origin: Origin | None = "service" if key.told.get("LOCAL") is True else None
    exportable = key.told.get("EXTRACTABLE")
    maker = " ".join(f"{info.manufacturer} {info.model}".split())[:80]
    slot = "a hardware slot" if info.hardware else "no hardware slot"
    return KeyFacts(
        service="PKCS#11",
        name=name,
        state=_state(starts, ends),
        uses=tuple(use for use, does in uses if does),
        algorithm=public.algorithm,
        protection=Protection(
            hsm=info.hardware,
            told=f"{maker}: {slot}, as its module says",
            exportable=exportable if isinstance(exportable, bool) else None,
        ),
        history=History(origin=origin, ends=ends),
        lies=Lies(),
        public=public,
    )


def _state(starts: int | None, ends: int | None) -> State:
    now = datetime.now(UTC).timestamp()
    if ends is not None and ends <= now:
        return "expired"
    return "not-yet-valid" if starts is not None and starts > now else "enabled"


def _at(told: object, *, last: bool = False) -> int | None:
    """CKA_START_DATE begins with its day, and CKA_END_DATE ends with it."""
    try:
        day = date.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    if day is None:
        return None
    whole = datetime.combine(day, time.min, UTC)
    return int(whole.timestamp()) + (86400 if last else 0)
