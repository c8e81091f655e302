"""What AWS KMS says of a key: DescribeKey, and how it rotates. Changes nothing; talks to one KMS.

Where the credentials may not ask for more, that is not told, and a note names the permission.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate.keys._answers import as_far_as_allowed
from sovgate.keys._api import History, KeyFacts, Lies, Origin, Protection, State
from sovgate.keys.awskms.key import SIGNING, Key
from sovgate.records import GRADE
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

_STATES: dict[str, State] = {
    "Enabled": "enabled",
    "Disabled": "disabled",
    "PendingDeletion": "pending-deletion",
    "PendingReplicaDeletion": "pending-deletion",
}
_ORIGINS: dict[str, Origin] = {
    "AWS_KMS": "service",
    "AWS_CLOUDHSM": "service",
    "EXTERNAL": "imported",
    "EXTERNAL_KEY_STORE": "external",
}
_USES = {"SIGN_VERIFY": ("sign",), "ENCRYPT_DECRYPT": ("encrypt",)}


def describe(uri: Uri, base: Path, region: str | None = None) -> KeyFacts:
    """Needs kms:DescribeKey; tells more with kms:GetPublicKey, kms:GetKeyRotationStatus and
    kms:ListKeyRotations."""
    key = Key.open(uri, region, usable=False)
    facts = key.facts
    state = _STATES.get(str(facts.get("KeyState")), "unavailable")
    public: PublicKey | None = None
    if key.spec != "SYMMETRIC_DEFAULT" and state == "enabled":
        public = as_far_as_allowed("its public half", lambda: key.public)
    by_spec = {spec: ours for ours, (spec, _) in SIGNING.items()}
    return KeyFacts(
        service="AWS KMS",
        name=key.arn,
        state=state,
        uses=_USES.get(key.usage, ()),
        algorithm=by_spec.get(key.spec, key.spec.lower().replace("_", "-")[:40]),
        protection=_protection(key),
        history=_history(key),
        lies=Lies(
            region=key.region,
            grade=key.grade,
            replicas=tuple(_in(key.region, there) for there in key.copies),
        ),
        public=public,
    )


def _in(region: str, there: str) -> str:
    return f"{region.partition(':')[0]}:{there}"


def _protection(key: Key) -> Protection:
    """KMS keeps all keys in HSMs, but those of external key stores: AWS says so of its own service
    in writing, and no answer does. So it counts only where AWS itself answers."""
    said = f"origin {key.origin}"
    if _ORIGINS.get(key.origin) == "external":
        return Protection(told=f"{said}: its owner keeps it", exportable=None)
    if key.origin == "AWS_CLOUDHSM":
        return Protection(hsm=True, told=f"{said}: a CloudHSM cluster", exportable=False)
    if key.grade < GRADE["api"]:
        return Protection(told=f"{said}; AWS itself does not answer here", exportable=False)
    return Protection(hsm=True, told=f"{said}: in HSMs, by AWS's documentation", exportable=False)


def _history(key: Key) -> History:
    facts = key.facts
    created = _seconds(facts.get("CreationDate"))
    origin = _ORIGINS.get(key.origin)
    ends = _seconds(facts.get("DeletionDate")) or _seconds(facts.get("ValidTo"))
    if key.spec != "SYMMETRIC_DEFAULT" or origin != "service":
        # Its material stays the same: KMS rotates symmetric keys of its own alone.
        return History(origin=origin, created=created, since=created, rotates=False, ends=ends)
    status = as_far_as_allowed(
        "its rotation",
        lambda: key.ask(
            "get_key_rotation_status", "kms:GetKeyRotationStatus", "look up the rotation of"
        ),
    )
    rotations = as_far_as_allowed(
        "when it was rotated",
        lambda: key.ask("list_key_rotations", "kms:ListKeyRotations", "list the rotations of"),
    )
    since = None
    if rotations is not None and not rotations.get("Truncated"):
        told = [_seconds(one.get("RotationDate")) for one in rotations.get("Rotations") or ()]
        since = max((one for one in told if one is not None), default=created)
    return History(
        origin=origin,
        created=created,
        since=since,
        rotates=None if status is None else bool(status.get("KeyRotationEnabled")),
        next=None if status is None else _seconds(status.get("NextRotationDate")),
        ends=ends,
    )


def _seconds(value: Any) -> int | None:
    return int(value.timestamp()) if isinstance(value, datetime) else None
