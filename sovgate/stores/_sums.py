"""Sums that services compare on arrival, in base64 as they write them. They find damage on the way;
what is signed, and what decides, is SHA-256. Pure. `sovgate[gcp]` brings the library of CRC32C.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import warnings
from typing import Any

#: What google-crc32c sums without holding up other threads, which takes `bytes`: a copy that fits
#: into a core's cache.
_PIECE = 1024 * 1024


def md5(data: memoryview) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


def crc32c(data: memoryview) -> str:
    """Only where `has_crc32c()`."""
    package, total = _package(), 0
    for start in range(0, len(data), _PIECE):
        total = package.extend(total, bytes(data[start : start + _PIECE]))
    return base64.b64encode(total.to_bytes(4, "big")).decode("ascii")


def has_crc32c() -> bool:
    """Whether google-crc32c is there with its C library: in Python a chunk would take seconds."""
    return _package() is not None


@functools.cache
def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so where it has no C library
        try:
            found = importlib.import_module("google_crc32c")
        except ImportError:
            return None
    return found if found.implementation == "c" else None
