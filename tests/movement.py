"""Keys, logs and stores for the tests of what moves: real keys, real signatures, real folders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sovgate.keys._api import Signer
from sovgate.keys.registry import open_signer
from sovgate.records import ROLES
from sovgate.trust import Trusted


def write_key(path: Path, kind: str = "sign") -> Path:
    """A private PEM (`path`) and its public half (`path` + ".pub")."""
    key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    path.with_name(path.name + ".pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


def make_signer(folder: Path, name: str = "sign") -> Signer:
    return open_signer(str(write_key(folder / f"{name}.pem")), folder)


def trusting(signer: Signer, zone: str | None, *roles: str, name: str = "") -> Trusted:
    return Trusted(
        name=name or f"zone {zone}",
        key=signer.public_key,
        may=frozenset(roles or ROLES),
        zone=zone,
    )


class Clock:
    """A clock that tests set by hand; each look at it takes a second."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 4, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now
