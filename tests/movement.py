"""Keys, logs and stores for the tests of what moves: real keys, real signatures, real folders."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sovgate.formats.plan import Plan
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import Place
from sovgate.formats.wrap import Context
from sovgate.keys._api import Signer
from sovgate.keys.registry import open_identity, open_recipient, open_signer
from sovgate.records import ROLES, Release
from sovgate.stages.encrypt import Bound, close, open_parts, receive, send
from sovgate.stages.inventory import take
from sovgate.stages.seal import seal as seal_statement
from sovgate.stages.sign import sign
from sovgate.stages.transfer import (
    Document,
    Draft,
    Final,
    Published,
    Record,
    fetch_lists,
    fetch_record,
    get_chunk,
    get_object,
    publish,
    put_chunk,
)
from sovgate.stages.trust import Trusted
from sovgate.stores._api import Store


@functools.cache
def _rsa() -> rsa.RSAPrivateKey:
    """Takes long to make, so a process makes one."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_key(path: Path, kind: str = "sign") -> Path:
    """A private PEM (`path`) and its public half (`path` + ".pub"). Each "rsa" is the same key."""
    key = _rsa() if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
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


class Shipment:
    """A signed model, sealed for zone eu, and what its source says about it. Real all through."""

    def __init__(self, tmp: Path, *, content: bytes = b"weights", version: str = "1.0.0") -> None:
        self.release = Release(model="churn", version=version)
        self.signer = make_signer(tmp / "keys", "home")
        self.eu = make_signer(tmp / "keys", "eu")
        write_key(tmp / "keys" / "eu-enc.pem", "rsa")
        self.identity = open_identity("keys/eu-enc.pem", tmp)
        self.recipient = open_recipient("keys/eu-enc.pem.pub", tmp)
        self.trusted = (trusting(self.signer, "home"), trusting(self.eu, "eu"))
        self.clock = Clock()
        self.seal(tmp, content)

    def seal(self, tmp: Path, content: bytes) -> None:
        """A model with two files of equal content, and an empty one."""
        root = tmp / f"model-{self.release.version}-{len(list(tmp.iterdir()))}"
        (root / "sub").mkdir(parents=True)
        (root / "a.bin").write_bytes(content)
        (root / "sub" / "b.bin").write_bytes(content)
        (root / "config.json").write_bytes(b"")
        self.model = root
        taken = take(root)
        self.manifest = taken.manifest
        self.signature = sign(taken, self.signer)
        plan = Plan.of(taken.manifest)
        self.chunks: dict[str, bytes] = {}

        def put(sha256: str, data: memoryview) -> None:
            self.chunks[sha256] = bytes(data)

        (sent,) = send(taken.manifest, plan, root, [Bound(zone="eu", put=put)])
        self.closed = close(sent, plan, self.recipient, self.context)

    @property
    def context(self) -> Context:
        return Context(zone="eu", release=str(self.release), manifest=self.manifest.digest)

    def document(self, role: str = "provenance", about: str | None = None) -> Document:
        """Signed evidence about this model, or about another one."""
        kind = PREDICATE_TYPES[role]
        data = seal_statement(
            Statement(
                subject_name="churn",
                subject_sha256=about or self.manifest.digest,
                predicate_type=kind,
                predicate={"made": "for a test"},
            ),
            self.signer,
        )
        digest = hashlib.sha256(data).hexdigest()
        return Document(role=role, predicate_type=kind, data=data, sha256=digest)

    def draft(self, **changes: Any) -> Draft:
        base = Draft(
            release=self.release,
            manifest=self.manifest.canonical(),
            signature=self.signature,
            source=Place(
                zone="home",
                provider_region="aws:us-east-1",
                country="US",
                operator="Amazon",
                grade=1,
            ),
            evidence=(self.document(),),
            policy="c" * 64,
            project="d" * 64,
            audit_head="e" * 64,
        )
        return dataclasses.replace(base, **changes)

    def final(self, **changes: Any) -> Final:
        decision = self.document("decision")
        base = Final(
            destination=Place(
                zone="eu",
                provider_region="aws-eusc:eusc-de-east-1",
                country="DE",
                operator=None,
                grade=1,
            ),
            decisions=(decision,),
            decision=decision.sha256,
            created=self.clock(),
        )
        return dataclasses.replace(base, **changes)

    def publish(self, store: Store, **changes: Any) -> Published:
        for sha256, data in self.chunks.items():
            put_chunk(store, sha256, data)
        return publish(
            store,
            changes.pop("draft", None) or self.draft(),
            changes.pop("recheck", None) or self.final,
            lambda: self.closed,
            signer=self.signer,
            trusted=self.trusted,
        )

    def open(self, store: Store, record: Record, into: Path) -> Path:
        """What a zone does with a record: its lists, its keys, its chunks."""
        lists = fetch_lists(store, record.transfer, self.manifest)
        opened = open_parts(lists, self.context, self.identity, partial(get_object, store))
        return receive(self.manifest, "eu", opened, partial(get_chunk, store), into)

    def fetch(self, store: Store, release: str | None = None, zone: str = "eu") -> Record:
        return fetch_record(
            store,
            Release.parse(release or str(self.release)),
            self.trusted,
            zone=zone,
            regions={"home": "aws:us-east-1", "eu": "aws-eusc:eusc-de-east-1"},
            now=self.clock(),
        )
