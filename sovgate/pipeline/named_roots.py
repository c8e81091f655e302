"""Trust entries that name a root and a signer below it: certificates, and keyless identities.

Reads the root's file, which the entry names by a path relative to sovgate.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import InternalError
from sovgate.files import read_bounded

if TYPE_CHECKING:
    from sovgate.config import CertificateTrust, KeylessTrust, TrustEntry
    from sovgate.formats.keyless import KeylessRule
    from sovgate.formats.spki import PublicKey
    from sovgate.formats.x509 import CertificateRule
    from sovgate.stages.verify import Trusted


def named_by_root(entry: TrustEntry, base: Path) -> Trusted:
    """Raises Malformed, UsageError "missing-path", DiskError."""
    from sovgate.stages.verify import Trusted

    rule: CertificateRule | KeylessRule
    if entry.certificate is not None:
        rule, key = _certificate(entry.certificate, base)
    elif entry.keyless is not None:
        rule, key = _keyless(entry.keyless, base)
    else:
        raise InternalError("a trust entry without a root")
    return Trusted(name=entry.name, key=key, may=entry.may, zone=entry.zone, certificate=rule)


def _certificate(said: CertificateTrust, base: Path) -> tuple[CertificateRule, PublicKey]:
    from sovgate.formats.keyfile import decoded
    from sovgate.formats.spki import MAX_PEM_BYTES
    from sovgate.formats.x509 import CertificateRule, root_from_pem

    data = read_bounded(base / said.root, most=MAX_PEM_BYTES, what="root certificate")
    root, key = root_from_pem(decoded(data))
    return CertificateRule(root=root, san=said.san, authority_leaf=said.authority_leaf), key


def _keyless(said: KeylessTrust, base: Path) -> tuple[KeylessRule, PublicKey]:
    from sovgate.formats import x509
    from sovgate.formats.keyless import KeylessRule, root

    data = read_bounded(base / said.trusted_root, most=root.MAX_BYTES, what="trusted root")
    read = root.parse(data)
    root.require_readable(read)
    # The keys of authorities sign certificates, and no statements.
    key = x509.leaf_key(read.instances[0].issuers[0].chain[-1:])
    return KeylessRule(identity=said.identity, issuer=said.issuer, root=read), key
