"""Says something signed: statements into bundles, each signature checked before it leaves. No I/O.

Stands below the stages, as `trust` does, which opens what is sealed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, KeyServiceError, VerificationFailed
from sovgate.formats.bundle import Bundle
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.statement import Statement
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.keys._api import Signer


def seal(statement: Statement, signer: Signer) -> bytes:
    """The bundle's bytes: canonical payload, one signature, checked before it leaves.

    Raises KeyServiceError; VerificationFailed "limits" where the bundle would be too large to read.
    """
    from sovgate.keys._api import Sealer

    payload = statement.payload()
    if isinstance(signer, Sealer):
        data = signer.seal(payload)
    else:
        data = Bundle(
            payload=payload,
            signature=checked_signature(signer, pae(PAYLOAD_TYPE, payload)),
            hint=signer.public_key.oms_hint,
            certificates=_path(signer),
        ).emit()
    if len(data) > MAX_BYTES:
        raise VerificationFailed(
            f"the statement is larger than {MAX_BYTES} bytes",
            fix="pack the many small files of the model into fewer",
            reason="limits",
        )
    return data


def checked_signature(signer: Signer, message: bytes) -> bytes:
    """A signature that the signer's own public key accepts. Raises KeyServiceError."""
    signature = signer.sign(message)
    try:
        signer.public_key.verify(message, signature)
    except VerificationFailed as error:
        raise KeyServiceError(
            "the signing key gave a signature that its own public key refuses",
            why=error.why or error.what,
            fix="check that the key URI and the public key belong together",
            reason="signer-fault",
        ) from error
    return signature


def _path(signer: Signer) -> tuple[bytes, ...]:
    """The signer's certificates as they are written. Raises ConfigError."""
    if not signer.certificates:
        return ()
    from sovgate.formats.x509 import own_path

    try:
        return own_path(tuple(signer.certificates))
    except VerificationFailed as error:
        raise ConfigError(
            "the certificates of the signing key are no path to its root",
            why=error.why or error.what,
            fix="put into its file the key's certificate, then the one that issued it, and so on",
            reason="bad-certificate",
        ) from error
