"""Object lock: a release that its record names can be deleted by nobody until a day.

Set when the record is about to be written, on each object that it names, and on the record with the
PUT that writes it. Never at a chunk's PUT: what no record names must stay free to be swept. Makes
PutObjectRetention, HeadObject and GetObjectLockConfiguration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sovgate.clouds.aws import answers
from sovgate.errors import ConfigError, StoreError, StoreUnfit

if TYPE_CHECKING:
    from sovgate.stores.s3 import S3Store

_FORM = re.compile(r"(governance|compliance):([1-9][0-9]{0,4})([dy])", re.ASCII)
_DAYS = {"d": 1, "y": 365}
#: A hundred years, which is what S3 takes at most.
_MOST = 36_500
#: What a service says that has no object lock, or has none in this bucket.
_NONE = ("ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed")


@dataclass(frozen=True, kw_only=True)
class Retention:
    """`mode` as S3 writes it. "COMPLIANCE" can be shortened by nobody."""

    mode: str
    days: int

    @cached_property
    def until(self) -> datetime:
        """From when it is first asked for, so one day for all of a release; to the second, which is
        what services keep.
        """
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=self.days)

    @property
    def parameters(self) -> dict[str, Any]:
        """What a PUT asks for. S3 wants the sum's algorithm named where it locks."""
        return {
            "ObjectLockMode": self.mode,
            "ObjectLockRetainUntilDate": self.until,
            "ChecksumAlgorithm": "SHA256",
        }


def retention(text: str) -> Retention:
    """What `?lock=` asks for: `compliance:7y`, `governance:90d`. A year has 365 days.

    Raises ConfigError, reason "bad-uri".
    """
    meant = _FORM.fullmatch(text)
    days = int(meant[2]) * _DAYS[meant[3]] if meant else 0
    if not meant or days > _MOST:
        raise ConfigError(
            f"lock={text[:80]} in the store's URI is not a mode and a time",
            why=f"at most {_MOST} days can be asked for" if meant else None,
            fix="write lock=governance:90d or lock=compliance:7y",
            reason="bad-uri",
        )
    return Retention(mode=meant[1].upper(), days=days)


def keep(store: S3Store, wanted: Retention, name: str) -> None:
    """Lock one object. One that is locked as well, and as long, is left as it is.

    Raises StoreError, reasons "no-object-lock", "access-denied".
    """
    asked = {"Mode": wanted.mode, "RetainUntilDate": wanted.until}
    with store.errors("put_object_retention", name):
        try:
            store.call("put_object_retention", Key=store.key(name), Retention=asked)
        except answers.failures() as error:
            if answers.code_of(error) in ("InvalidRequest", *_NONE):
                raise _without(store, answers.message(error)) from error
            # A lock cannot be made weaker or shorter: one that is strong enough is enough.
            if answers.status_of(error) != 403 or not _holds(store, wanted, name):
                raise


def check(store: S3Store, wanted: Retention, name: str) -> None:
    """Look whether a lock that was taken is there. Raises StoreUnfit, reason "no-object-lock"."""
    with store.errors("get_object_retention", name):
        there = _holds(store, wanted, name)
    if not there:
        raise StoreUnfit(
            f"{store.uri} did not lock {name}",
            why="the service took the request, and HeadObject says nothing of such a lock",
            fix="allow s3:GetObjectRetention, without which it is not told; or remove lock= from "
            "the store's URI",
            reason="no-object-lock",
        )


def _holds(store: S3Store, wanted: Retention, name: str) -> bool:
    head = store.call("head_object", Key=store.key(name))
    mode, ends = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
    strong = mode == "COMPLIANCE" or (mode is not None and mode == wanted.mode)
    return strong and isinstance(ends, datetime) and ends >= wanted.until


def configured(store: S3Store) -> dict[str, Any] | None:
    """The bucket's own configuration of object lock; None where it has none.

    Raises StoreError, reason "access-denied" where nobody may ask.
    """
    with store.errors("get_object_lock_configuration"):
        try:
            answer = store.call("get_object_lock_configuration")
        except answers.failures() as error:
            code, status = answers.code_of(error), answers.status_of(error)
            if code == "NoSuchBucket" or not (code in _NONE or status in (404, 405, 501)):
                raise
            return None
    found = answer.get("ObjectLockConfiguration")
    return found if found and found.get("ObjectLockEnabled") == "Enabled" else None


def require(store: S3Store) -> None:
    """Before anything is sent. Raises StoreError, reason "no-object-lock"."""
    if configured(store) is None:
        raise _without(store, "the bucket was made without it")


def default_retention(store: S3Store) -> str | None:
    """ "COMPLIANCE, 365 days", where the bucket locks whatever arrives; else None."""
    rule = ((configured(store) or {}).get("Rule") or {}).get("DefaultRetention") or {}
    for unit in ("Days", "Years"):
        if rule.get(unit):
            count = str(rule[unit])
            return f"{rule.get('Mode')}, {count} {unit.lower().removesuffix('s' * (count == '1'))}"
    return None


def _without(store: S3Store, why: str) -> StoreError:
    return StoreError(
        f"the bucket {store.bucket!r} has no object lock",
        why=f"the store's URI asks for it (lock=): {why}",
        fix="make a bucket with object lock enabled, or remove lock= from the store's URI",
        reason="no-object-lock",
    )
