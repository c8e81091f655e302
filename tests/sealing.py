"""Projects, models and encrypted copies for the tests of encryption: real keys, real signatures."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sovgate.formats import chunk
from sovgate.formats.manifest import Manifest
from sovgate.formats.sealed import Sealed
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys._api import Identity
from sovgate.pipeline.decide.contents import look_into
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.copies import Copy
from sovgate.pipeline.move.encrypt import Plain, write_copies
from sovgate.records import Advance
from sovgate.stages import attest, inventory, sign
from sovgate.stages.encrypt import Opened, ZoneKey, open_parts, receive

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

#: A pack, a file of a whole chunk and a byte, twins, and an empty one.
FILES: dict[str, bytes] = {
    "config.json": b'{"layers": 2}',
    "empty": b"",
    "layers/0/w.bin": bytes(range(256)) * 4,
    "layers/1/w.bin": b"\x01" * (chunk.SIZE + 1),
    "layers/2/w.bin": b"\x02" * 70_000,
    "twin.json": b'{"layers": 2}',
}
#: The chunks of these: two of layer 1, and one pack.
CHUNKS = 3


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

    def plain(self, **changes: Any) -> Plain:
        base = Plain(
            manifest=self.manifest(), signature=self.signature(), evidence=(), release=None
        )
        return dataclasses.replace(base, **changes)

    def write(
        self,
        plain: Plain,
        keys: Sequence[ZoneKey],
        out: Path,
        advance: Advance | None = None,
    ) -> dict[str, Sealed]:
        """The copies of `plain`, which may list other files than the model has by now."""
        seen = look_into(self.model, self.manifest(), None)
        return write_copies(plain, seen, keys, None, out, advance)

    def seal(self, out: Path, *zones: str) -> dict[str, Sealed]:
        return self.write(
            self.plain(), [self.zone_key(zone) for zone in zones or ("eu", "ch")], out
        )

    def identity(self, zone: str) -> Identity:
        return registry.open_identity(f"keys/{zone}.pem", self.base)

    def open(
        self,
        sealed: Sealed,
        folder: Path,
        into: Path,
        *,
        by: str | None = None,
        advance: Advance | None = None,
    ) -> Path:
        """`folder` is the zone's; `by` names the zone whose key opens it."""
        into.mkdir(mode=0o700, exist_ok=True)
        opened = self.keys(sealed, folder, by=by)
        get = Copy(folder=folder, sealed=sealed).get_chunk
        return receive(self.manifest(), sealed.zone, opened, get, into, advance=advance)

    def keys(self, sealed: Sealed, folder: Path, *, by: str | None = None) -> tuple[Opened, ...]:
        """The opened key tables of a copy whose parts are those of the signed manifest."""
        copy, manifest = Copy(folder=folder, sealed=sealed), self.manifest()
        context = Context(zone=sealed.zone, release=sealed.release, manifest=manifest.digest)
        return open_parts(
            copy.listed(manifest), context, self.identity(by or sealed.zone), copy.read
        )


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


def objects(folder: Path) -> dict[str, Path]:
    """The chunks and objects of a zone's folder by digest."""
    return {path.name: path for path in folder.glob("*/sha256/*")}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
