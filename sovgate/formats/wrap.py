"""What a wrapped release key is bound to, and how a wrong key is told from damage. No I/O."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from sovgate import strict

FORMAT = "sovgate.wrap/v0"
_COMMIT = b"sovgate/commit"


@dataclass(frozen=True, kw_only=True)
class Context:
    """Zone, release (`NAME/VERSION`, or None for a copy that is not pushed), manifest digest."""

    zone: str
    release: str | None
    manifest: str

    def _fields(self) -> dict[str, str | None]:
        return {
            "format": FORMAT,
            "zone": self.zone,
            "release": self.release,
            "manifest": self.manifest,
        }

    def canonical(self) -> bytes:
        """HPKE's `info`; its SHA-256 travels inside RSA-OAEP; KMS take it as associated data."""
        return strict.canonical(self._fields())

    def keytable_ad(self) -> bytes:
        """Associated data of the key table's stream."""
        return strict.canonical({**self._fields(), "part": "keytable"})


def commit(key: bytes) -> str:
    """HMAC-SHA256(key, "sovgate/commit") in hex. AES-GCM does not commit to its key; this does."""
    return hmac.digest(key, _COMMIT, "sha256").hex()


def committed(key: bytes, expected: str) -> bool:
    return hmac.compare_digest(commit(key), expected)
