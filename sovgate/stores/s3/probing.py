"""Tries out what a service promises: create-only writes, and checked sums. Writes two objects at
most below `.probe/`, and one for each key of kms=. They stay: no right to delete is needed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING

from sovgate.clouds.aws import answers
from sovgate.errors import StoreError

if TYPE_CHECKING:
    from sovgate.stores.s3 import S3Store

_NAME, _KEY_NAME, _SUM_NAME = ".probe/create-only", ".probe/kms-", ".probe/checksum"
_MOST = 1024


def create_only(store: S3Store) -> None:
    """A second write of a name must fail. One request where an earlier run left the first.

    Raises StoreError, reason "not-create-only" (RULES 13).
    """
    first = b"sovgate tries create-only here: " + secrets.token_hex(8).encode()
    name = _NAME
    if store.encryption:  # each key is tried once
        name = _KEY_NAME + hashlib.sha256(store.encryption.key.encode()).hexdigest()[:16]
    if _taken(store, name, first):
        if _taken(store, name, first + b"!"):
            raise _not_create_only(store, "a second PUT with If-None-Match: * did not fail")
        if store.fetch(name, most=_MOST) != first:
            raise _not_create_only(store, "the second PUT failed, and yet replaced the first")
    else:
        store.require_key(name)


def checks_sums(store: S3Store) -> bool:
    """Whether an object of a wrong SHA-256 does not come to be."""
    taken = _taken(store, _SUM_NAME, b"these bytes", _checksum(b"other bytes"))
    return not taken and not store.there(_SUM_NAME)


def _checksum(data: bytes) -> str:
    """As `x-amz-checksum-sha256` writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def _taken(store: S3Store, name: str, data: bytes, digest: str | None = None) -> bool:
    """Whether a conditional PUT was taken; False where it was refused, for the sum too."""
    with store.errors("put_object", name):
        try:
            store.conditional(
                Key=store.key(name),
                Body=data,
                ChecksumSHA256=digest or _checksum(data),
            )
        except answers.failures() as error:
            code, status = answers.code_of(error), answers.status_of(error)
            if code == "NotImplemented":
                lacks = "no If-None-Match" + (", or no SSE-KMS (kms=)" if store.encryption else "")
                raise _not_create_only(store, f"the service has {lacks}") from error
            of_the_sum = digest is not None and status == 400 and code
            if status == 412 or (of_the_sum and not code.startswith("KMS.")):
                return False
            raise
    return True


def _not_create_only(store: S3Store, why: str) -> StoreError:
    return StoreError(
        f"{store.uri} cannot promise create-only writes",
        why=why,
        fix="use a store with conditional writes"
        + (", or remove kms= from this one's URI" if store.encryption else ""),
        reason="not-create-only",
    )
