"""What one PUT carries: the body as the SDK takes it, and its checksum. Touches nothing."""

from __future__ import annotations

import base64
import hashlib

from sovgate.errors import StoreError
from sovgate.stores._api import Bytes


def checksum(data: bytes | bytearray) -> str:
    """As `x-amz-checksum-sha256` writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def body(data: Bytes) -> bytes | bytearray:
    """The SDK knows no memoryview. Of a buffer that is filled no copy is made."""
    if isinstance(data, memoryview):
        filled = isinstance(data.obj, bytearray) and len(data.obj) == len(data)
        return data.obj if filled else data.tobytes()  # type: ignore[return-value]
    return data


def wrong_bytes(name: str, size: int, sha256: str) -> StoreError:
    return StoreError(
        f"the bytes given for {name} are not those that were announced",
        why=f"expected {size} bytes with SHA-256 {sha256}",
        fix="run it again; the source changed while it was read",
        reason="wrong-bytes",
    )
