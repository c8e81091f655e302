"""The encrypted copy of a model for a zone, as `encrypt` writes it; `push` and `decrypt` read it.

A folder laid out as a store, and a record of it. Encryption to a public key authenticates nobody:
only a copy that the source's own key signed is sent (RULES 31). Reads and writes that folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import Malformed, NotFound, UsageError, VerificationFailed
from sovgate.files import read_bounded
from sovgate.formats import part as parts
from sovgate.formats.partrecord import DOCUMENT
from sovgate.formats.partrecord import MAX_BYTES as MAX_PART
from sovgate.records import Sized
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Listed
    from sovgate.formats.partrecord import PartRecord
    from sovgate.formats.sealed import Sealed
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store

#: What the maker of a copy signed, as a machine that sends the one shard of one does.
PART_NAME = DOCUMENT.format(1)
_FIX = "get the encrypted copy again from its source, or encrypt the model again"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """`folder` is the zone's own; nothing of what lies in it is believed before it is compared.
    `made`: what its maker signed; None where nobody asked for it.
    """

    folder: Path
    sealed: Sealed
    made: PartRecord | None = None

    @property
    def store(self) -> Store:
        return folder_store(self.folder)

    def read(self, sized: Sized, what: str) -> bytes:
        """A document, chunk list or key table of the copy. Raises VerificationFailed, DiskError."""
        from sovgate.formats.transfer import object_name

        try:
            data = self.store.get(object_name(sized.sha256), most=sized.size)
        except NotFound as error:
            raise _missing(what, self.folder, sized.sha256) from error
        except VerificationFailed as error:
            if error.reason != "limits":
                raise
            data = b""
        if len(data) != sized.size or hashlib.sha256(data).hexdigest() != sized.sha256:
            raise VerificationFailed(
                f"the {what} of the encrypted copy in {os.fspath(self.folder)!r} is damaged",
                why="its bytes are not those that its record names",
                fix=_FIX,
                reason="damaged",
            )
        return data

    def get_chunk(self, sha256: str, into: memoryview) -> None:
        """Fill a buffer with a chunk; whoever opens or sends it compares its digest."""
        from sovgate.stages.transfer import get_chunk

        try:
            get_chunk(self.store, sha256, into)
        except NotFound as error:
            raise _missing("chunk", self.folder, sha256) from error

    def listed(self, manifest: Manifest) -> tuple[Listed, ...]:
        """Its parts, held against the signed manifest. Raises VerificationFailed."""
        if manifest.sized != self.sealed.manifest:
            raise VerificationFailed(
                "it is an encrypted copy of another model",
                why=f"its manifest is {self.sealed.manifest.sha256}; {manifest.digest} was signed",
                reason="manifest-mismatch",
            )
        return parts.read_lists(manifest, self.sealed.parts, self.read)


def folder_store(folder: Path) -> Store:
    """A folder as the store that it is laid out as."""
    from sovgate.stores.file import FileStore

    return FileStore(folder)


def tidy(folder: Path) -> None:
    """Take away where a folder store keeps what is not whole yet: all is whole."""
    (folder / ".incoming").rmdir()


def _missing(what: str, folder: Path, sha256: str) -> VerificationFailed:
    return VerificationFailed(
        f"the encrypted copy in {os.fspath(folder)!r} lacks a part",
        why=f"the {what} {sha256} is missing",
        fix=_FIX,
        reason="missing-object",
    )


def read_copy(folder: Path, zone: str) -> Copy:
    """`folder/<zone>`. Raises UsageError where there is none, VerificationFailed."""
    from sovgate.stages.encrypt import SEALED_NAME

    path = folder / zone / SEALED_NAME
    if not path.exists():
        there = sorted(p.parent.name for p in folder.glob(f"*/{SEALED_NAME}"))
        raise UsageError(
            f"{os.fspath(folder)!r} holds no encrypted copy for zone {zone}",
            why=f"it holds copies for {', '.join(there)}" if there else None,
            fix="name the folder that encrypt -o wrote, and the zone that this is",
            reason="missing-path",
        )
    sealed = _parse(path)
    if sealed.zone != zone:
        raise VerificationFailed(
            f"the copy in {zone} was encrypted for zone {sealed.zone}",
            fix="use the copy that was made for this zone",
            reason="zone-mismatch",
        )
    return Copy(folder=folder / zone, sealed=sealed)


def _parse(path: Path) -> Sealed:
    """Raises VerificationFailed, which names the file; UsageError, DiskError."""
    from sovgate.formats.sealed import Sealed

    data = read_bounded(path, most=MAX_BYTES, what="encrypted copy's record")
    try:
        return Sealed.parse(data)
    except Malformed as error:
        raise Malformed(
            f"{os.fspath(path)!r} is damaged: {error.what}",
            why=error.why,
            fix=error.fix or "get the encrypted copy again from its source",
            reason=error.reason,
        ) from error


def write_copy(store: Store, sealed: Sealed, objects: Sequence[bytes], part: bytes | None) -> None:
    """All of a copy but its chunks, which lie in `store` already; its record last. `part`: what its
    maker signed."""
    from sovgate.errors import InternalError
    from sovgate.formats.sealed import Sealed as Read
    from sovgate.stages.encrypt import SEALED_NAME
    from sovgate.stages.transfer import put_document, put_object

    for data in objects:
        put_object(store, data)
    record = sealed.canonical()
    if Read.parse(record) != sealed:
        raise InternalError("an encrypted copy's record does not read back as it was written")
    if part is not None:
        put_document(store, PART_NAME, part)
    put_document(store, SEALED_NAME, record)


def require_maker(copy: Copy, home: str, trusted: Sequence[Trusted]) -> Copy:
    """The copy with what its maker signed: a key that may say `part` for zone `home`.

    It is the one shard of one (`--shard 1/1`), so that its part is the signed one, of this release
    and model. Zones, regions and key are compared by whoever sends it. Raises VerificationFailed,
    reasons "unsigned-copy", "wrong-part", and those of a statement.
    """
    from sovgate.pipeline.move.shards.folder import open_part

    path = copy.folder / PART_NAME
    if not os.path.lexists(path):
        raise VerificationFailed(
            f"nobody signed the encrypted copy in {str(copy.folder)!r}",
            why=f"anybody who has the public key of zone {copy.sealed.zone} can have made it",
            fix=again(copy, home),
            reason="unsigned-copy",
        )
    data = read_bounded(path, most=MAX_PART, what="part of an encrypted copy")
    try:
        made = open_part(data, home, trusted)
    except VerificationFailed as error:
        raise refused(copy, home, error) from error
    sealed = copy.sealed
    signed = ((made.part,), str(made.release), made.manifest, made.destination.zone)
    there = (sealed.parts, sealed.release, sealed.manifest.sha256, sealed.zone)
    if signed != there or made.part.of != 1:
        other = VerificationFailed("what was signed is another copy", reason="wrong-part")
        raise refused(copy, home, other)
    return replace(copy, made=made)


def refused(copy: Copy, home: str, error: VerificationFailed) -> VerificationFailed:
    """Why a copy is not sent, with the way out."""
    return VerificationFailed(
        f"the encrypted copy in {str(copy.folder)!r} is not one that zone {home} made: "
        f"{error.what}",
        why=error.why,
        fix=again(copy, home),
        reason=error.reason,
    )


def again(copy: Copy, home: str) -> str:
    return (
        f"push the model itself; or encrypt it again: sovgate encrypt MODEL --zone {home} "
        f"--to {copy.sealed.zone} --release {copy.sealed.release} -o DIR"
    )
