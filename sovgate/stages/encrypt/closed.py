"""Parts of a push that are closed before its end: their keys are wrapped for the zone already.

Touches a push's own folder, and no other place. Nothing secret is in it: a closed part is what a
release has too. It leaves this machine only with the record, after policy's last word (RULES 44).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.blocks import Blocks
from sovgate.errors import Malformed, SovgateError
from sovgate.files import replace_at
from sovgate.formats.part import Finished, read_list
from sovgate.formats.resume import ClosedPart, Signed, part_signed_bytes
from sovgate.records import Sized
from sovgate.stages.seal import checked_signature

if TYPE_CHECKING:
    from sovgate.formats.plan import Plan
    from sovgate.keys._api import Signer
    from sovgate.stages.encrypt.kept import Folder

_MAX_DOCUMENT = 1024 * 1024
#: What a closed part consists of, in a push's folder; the document comes last.
DOCUMENT, LIST, TABLE, LOOKED = "part-{:03}.json", "list-{:03}", "table-{:03}", "looked-{:03}"


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A part as it was closed, its chunks by digest, and what of its files had been looked into."""

    finished: Finished
    digests: tuple[bytes, ...]
    looked: Mapping[str, Blocks]

    def covers(self, now: Mapping[str, Blocks]) -> bool:
        """Whether all that is now read of the part's files, to say what is in them, was read
        before they were hashed, and is the same: what is said is said of signed bytes (RULES 33).
        """
        for name, before in self.looked.items():
            again = now.get(name)
            if again is None or again.torn or again.size != before.size:
                return False
            if not again.digests.items() <= before.digests.items():
                return False
        return True


def write_closed(
    folder: Folder, finished: Finished, looked: Mapping[str, Blocks], signer: Signer
) -> None:
    """Raises OSError, KeyServiceError."""
    number = finished.part.number
    files: list[strict.JSON] = [
        {"name": name, "size": blocks.size, "blocks": strict.b64encode(blocks.packed())}
        for name, blocks in sorted(looked.items())
    ]
    packed = strict.canonical({"files": files})
    document = ClosedPart(
        course=folder.course,
        part=finished.part,
        looked=Sized(sha256=hashlib.sha256(packed).hexdigest(), size=len(packed)),
    ).canonical()
    signature = checked_signature(signer, part_signed_bytes(document))
    for name, data in (
        (LIST, finished.list),
        (TABLE, finished.table),
        (LOOKED, packed),
        (DOCUMENT, Signed(payload=document, signature=signature).canonical()),
    ):
        replace_at(folder.handle, name.format(number), data, mode=0o600)


def read_closed(folder: Folder, plan: Plan, number: int, signer: Signer) -> Closed | None:
    """A part that an earlier run of this push closed; None where there is none, or where it is not
    authentic, not of this push or not of this plan: then nothing of it stays.
    """
    if not os.access(DOCUMENT.format(number), os.F_OK, dir_fd=folder.handle):
        return None
    try:
        return _read(folder, plan, number, signer)
    except (SovgateError, FileNotFoundError, ValueError):
        remove_closed(folder, number)
        return None


def _read(folder: Folder, plan: Plan, number: int, signer: Signer) -> Closed:
    signed = Signed.parse(folder.read(DOCUMENT.format(number), _MAX_DOCUMENT))
    signer.public_key.verify(part_signed_bytes(signed.payload), signed.signature)
    document = ClosedPart.parse(signed.payload)
    part, ranges = document.part, plan.parts()
    units = ranges[number - 1]
    # What is used again of earlier releases is a part of its own, after those of the plan.
    of = len(ranges) + (folder.course.reused is not None)
    chunks = sum(plan.units[place].chunks for place in units)
    if (
        document.course != folder.course
        or (part.number, part.of) != (number, of)
        or part.units != (units.start, len(units))
        or part.recipient.key_id != folder.course.key_id
        or part.chunks != chunks
    ):
        raise Malformed("a closed part is one of another push")
    data = folder.read(LIST.format(number), part.list.size)
    table = _exactly(folder, TABLE.format(number), part.keytable)
    packed = _exactly(folder, LOOKED.format(number), document.looked)
    return Closed(
        finished=Finished(part=part, list=data, table=table),
        digests=read_list(data, part),
        looked=_looked(packed),
    )


def _exactly(folder: Folder, name: str, sized: Sized) -> bytes:
    data = folder.read(name, sized.size)
    if len(data) != sized.size or hashlib.sha256(data).hexdigest() != sized.sha256:
        raise Malformed(f"{name} is not the one that was signed")
    return data


def _looked(packed: bytes) -> dict[str, Blocks]:
    found: dict[str, Blocks] = {}
    top = strict.Fields(strict.loads_canonical(packed), "looked")
    for one in top.objects("files"):
        name, size = one.text("name"), one.integer("size")
        found[name] = Blocks.unpacked(one.base64("blocks"), size)
        one.done()
    top.done()
    return found


def remove_closed(folder: Folder, number: int) -> None:
    """The document first. Raises OSError."""
    for name in (DOCUMENT, LOOKED, TABLE, LIST):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name.format(number), dir_fd=folder.handle)
    os.fsync(folder.handle)
