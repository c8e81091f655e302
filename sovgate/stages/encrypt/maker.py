"""Who made an encrypted copy: signs its `sealed.json`, and tells whether one of some keys did.

Encryption to a public key authenticates nobody, so what is sent has its maker's signature
(RULES 31). No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sovgate.errors import VerificationFailed
from sovgate.formats.sealed import Made, signed_bytes
from sovgate.stages.trust import checked_signature

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Signer

SIGNATURE_NAME = "sealed.signature.json"


def sign_record(sealed: bytes, maker: Signer) -> bytes:
    """The bytes of `sealed.signature.json`. Raises KeyServiceError."""
    signature = checked_signature(maker, signed_bytes(sealed))
    return Made(key_id=maker.public_key.key_id, signature=signature).canonical()


def check_maker(sealed: bytes, signature: bytes, keys: Iterable[PublicKey]) -> PublicKey:
    """The one of `keys` that made this copy. Raises VerificationFailed, reason "wrong-maker"."""
    made = Made.parse(signature)
    for key in (key for key in keys if key.can_verify):
        try:
            key.verify(signed_bytes(sealed), made.signature)
        except VerificationFailed:
            continue
        if key.key_id == made.key_id:
            return key
    raise VerificationFailed(
        "the encrypted copy was not made by this zone's key",
        why="it was changed since it was made, or another key signed it: "
        f"it names the key {made.key_id[:16]}…",
        reason="wrong-maker",
    )
