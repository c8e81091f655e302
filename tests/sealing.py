"""Projects, models and encrypted copies for the tests of encryption: real keys, real signatures."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sovgate.formats.manifest import Manifest
from sovgate.formats.sealed import Sealed
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.decrypt import blob_reader
from sovgate.stages import attest, inventory, sign
from sovgate.stages.encrypt import ReadBlob, ZoneKey, open_model, seal_model

YAML = """\
version: 1
model: churn
zones:
  home: {region: "aws:us-east-1", keys: {sign: keys/home.pem}}
  eu:
    region: "aws:eu-central-1"
    keys: {encrypt: keys/eu.pem, encrypt-public: keys/eu.pub.pem}
  ch:
    region: "aws:eu-central-2"
    keys: {encrypt: keys/ch.pem, encrypt-public: keys/ch.pub.pem}
border:
  weights: {allow: [home -> eu, home -> ch]}
"""

#: Sizes around every edge: empty, one byte, a full first segment and one byte more or less.
SEGMENT = 1024 * 1024
FILES: dict[str, bytes] = {
    "config.json": b'{"layers": 2}',
    "empty": b"",
    "layers/0/w.bin": bytes(range(256)) * 4,
    "layers/1/w.bin": b"\x01" * (SEGMENT - 56),
    "layers/2/w.bin": b"\x02" * (SEGMENT - 55),
    "twin.json": b'{"layers": 2}',
}


def write_model(folder: Path, contents: Mapping[str, bytes] = FILES) -> Path:
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A project folder with a signed model: `home` signs, `eu` (EC) and `ch` (RSA) decrypt."""

    base: Path
    model: Path

    def zone_key(self, zone: str) -> ZoneKey:
        recipient = registry.open_recipient(f"keys/{zone}.pub.pem", self.base)
        return ZoneKey(zone=zone, recipient=recipient)

    def manifest(self) -> Manifest:
        return inventory.take(self.model).manifest

    def signature(self) -> bytes:
        return attest.signature_path(self.model).read_bytes()

    def seal(self, out: Path, *zones: str) -> dict[str, Sealed]:
        keys = [self.zone_key(zone) for zone in zones or ("eu", "ch")]
        return seal_model(self.manifest(), self.model, self.signature(), keys, None, out)

    def open(self, sealed: Sealed, folder: Path, into: Path, *, by: str | None = None) -> Path:
        """`folder` is the zone's; `by` names the zone whose key opens it."""
        into.mkdir(mode=0o700, exist_ok=True)
        identity = registry.open_identity(f"keys/{by or sealed.zone}.pem", self.base)
        return open_model(sealed, blob_reader(folder), identity, into, self.manifest())


@functools.cache
def _rsa() -> dict[str, bytes]:
    """The files of zone ch's key. It takes long to make, so a process makes one."""
    with tempfile.TemporaryDirectory() as folder:
        generate("encrypt", out=Path(folder) / "ch.pem", algorithm="rsa-3072")
        return tree(Path(folder))


def make_desk(base: Path, contents: Mapping[str, bytes] | bytes = FILES) -> Desk:
    """`contents` as bytes makes a model that is one file. All desks have the same key of ch."""
    base.mkdir(parents=True, exist_ok=True)
    (base / "sovgate.yaml").write_text(YAML)
    for name, kind, algorithm in [
        ("home", "sign", "ec-p256"),
        ("eu", "encrypt", "ec-p256"),
    ]:
        generate(kind, out=base / "keys" / f"{name}.pem", algorithm=algorithm)
    for name, data in _rsa().items():
        path = base / "keys" / name
        path.touch(0o644 if name.endswith(".pub.pem") else 0o600)
        path.write_bytes(data)
    model = base / "model"
    if isinstance(contents, bytes):
        model.write_bytes(contents)
    else:
        write_model(model, contents)
    desk = Desk(base=base, model=model)
    sign_model(desk)
    return desk


def sign_model(desk: Desk) -> None:
    """Sign what it is now, and put one statement beside the signature and nothing else."""
    signer = registry.open_signer("keys/home.pem", desk.base)
    taken = inventory.take(desk.model)
    folder = attest.evidence_dir(desk.model)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    attest.signature_path(desk.model).write_bytes(sign.sign(taken, signer))
    statement = Statement(
        subject_name="churn",
        subject_sha256=taken.manifest.digest,
        predicate_type=PREDICATE_TYPES["gate"],
        predicate={"result": "PASSED"},
    )
    attest.add(folder, "gate", attest.seal(statement, signer))


def in_memory(folder: Path) -> dict[str, bytes]:
    """A zone's blobs by digest."""
    return tree(folder / "blobs" / "sha256")


def memory_reader(blobs: Mapping[str, bytes]) -> ReadBlob:
    """Gives what it holds under a name, whether or not it is of that digest."""
    import io

    return lambda sha256: io.BytesIO(blobs[sha256])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
