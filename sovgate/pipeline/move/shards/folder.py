"""The folder of --parts, in which the machines that send one release leave what each of them sent.

Whoever wrote there last decides what lies in it, so nothing of it is believed that a key trusted
for `part` has not signed for this very release (RULES 31). Reads and writes that folder alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import (
    SovgateError,
    StoreError,
    StoreUnfit,
    VerificationFailed,
    disk_error,
)
from sovgate.files import open_below, opened_dir, read_descriptor, replace_at
from sovgate.formats.chunk import OVERHEAD
from sovgate.formats.part import DIGEST_SIZE, Closed, Finished, read_list, read_lists
from sovgate.formats.partrecord import DOCUMENT, LIST, MAX_BYTES, TABLE, PartRecord, Region
from sovgate.formats.plan import Plan
from sovgate.pipeline.move.shards.facts import together
from sovgate.records import Advance, Release, Sized
from sovgate.stages.trust import open_statement

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.pipeline.decide.contents import Contents
    from sovgate.pipeline.move.pushing.asked import Asked
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store

#: What a folder of parts may hold beside them is not read, and not more than so much is looked at.
_MAX_LISTED = 10_000
_NAMED = re.compile(r"part-([1-9][0-9]{0,8})\.json", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What each part of a release has to say, whichever machine made it; `of` is how many."""

    release: Release
    manifest: Manifest
    source: Region
    destination: Region
    recipient: tuple[str, str]
    of: int

    @classmethod
    def of_asked(cls, asked: Asked, of: int) -> Expected:
        return cls(
            release=asked.release,
            manifest=asked.outgoing.manifest,
            source=Region(zone=asked.zone.name, provider_region=asked.zone.region),
            destination=Region(zone=asked.to.name, provider_region=asked.to.region),
            recipient=(asked.recipient.key_id, asked.recipient.algorithm),
            of=of,
        )

    @cached_property
    def plan(self) -> Plan:
        """Of a model of many files it takes its time, so it is made once for all parts."""
        return Plan.of(self.manifest)

    @cached_property
    def _dealt(self) -> tuple[range, ...]:
        return self.plan.deal(self.of)

    def again(self, number: int, folder: Path) -> str:
        """What to do about a part that cannot be used."""
        return (
            f"run that shard again: sovgate push MODEL --release {self.release} "
            f"--zone {self.source.zone} --to {self.destination.zone} --shard {number}/{self.of} "
            f"--parts {shlex.quote(os.fspath(folder))}"
        )

    def check(self, record: PartRecord, number: int) -> None:
        """Raises VerificationFailed, reasons "wrong-part", "parts"."""
        part, recipient = record.part, record.part.recipient
        for what, there, wanted in (
            ("its release is", str(record.release), str(self.release)),
            ("its manifest is", record.manifest, self.manifest.digest),
            ("it comes from zone", record.source.zone, self.source.zone),
            ("it was sent from", record.source.provider_region, self.source.provider_region),
            ("it goes to zone", record.destination.zone, self.destination.zone),
            ("it goes to", record.destination.provider_region, self.destination.provider_region),
            ("it is for the key", recipient.key_id, self.recipient[0]),
            ("its key is wrapped by", recipient.algorithm, self.recipient[1]),
            ("it is one of", str(part.of), str(self.of)),
            ("it is part", str(part.number), str(number)),
        ):
            if there != wanted:
                raise _unfit(f"{what} {there}, not {wanted}", "wrong-part")
        plan, units = self.plan, self._dealt[number - 1]
        if part.units != (units.start, len(units)):
            raise _unfit("it carries other files than the plan deals to that shard", "parts")
        chunks = sum(plan.units[place].chunks for place in units)
        if part.chunks != chunks:
            raise _unfit(f"it has {part.chunks} chunks; its files demand {chunks}", "parts")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One machine's part: `data` is the signed document."""

    record: PartRecord
    finished: Finished
    data: bytes

    @property
    def number(self) -> int:
        return self.record.part.number

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def chunks(self, plan: Plan) -> tuple[Sized, ...]:
        """Name and size of each of its chunks, in the order of the release's plan."""
        first, count = self.record.part.units or (0, 0)
        units = plan.units[first : first + count]
        places = (place for unit in units for place in range(unit.first, unit.after))
        digests = read_list(self.finished.list, self.finished.part)
        return tuple(
            Sized(sha256=digest.hex(), size=plan.length(place) + OVERHEAD)
            for digest, place in zip(digests, places, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class Shared:
    """All parts of a release, by number. What they say was compared; the store was not asked."""

    folder: Path
    expected: Expected
    parts: tuple[Kept, ...]

    @property
    def contents(self) -> Contents:
        """What all the machines together found in the model's files."""
        return together([one.record.facts for one in self.parts])

    def closed(self) -> Closed:
        return Closed.of([one.finished for one in self.parts])

    def require_evidence(self, raw: Sequence[RawEvidence]) -> None:
        """That all that policy was shown where a part was made is shown to it here.

        Raises VerificationFailed, reason "evidence-missing".
        """
        there = {one.sha256 for one in raw}
        for one in self.parts:
            missing = [digest for digest in one.record.evidence if digest not in there]
            if missing:
                more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise VerificationFailed(
                    f"evidence that part {one.number} was made with is not here",
                    why=f"policy was shown the statement {missing[0]}{more} there",
                    fix="bring the model's whole evidence folder here, or name it with "
                    "--evidence; if that statement is no longer part of it, "
                    + self.expected.again(one.number, self.folder),
                    reason="evidence-missing",
                )

    def require_there(self, store: Store, advance: Advance | None = None) -> None:
        """Ask the store for every chunk (RULES 14).

        Raises StoreError, reasons "part-incomplete", "damaged-object".
        """
        from sovgate.stages import transfer

        plan = self.expected.plan
        for one in self.parts:
            chunks, again = one.chunks(plan), self.expected.again(one.number, self.folder)
            try:
                whole = transfer.all_there(store, chunks)
            except StoreError as error:
                if error.reason == "damaged-object":
                    error.fix = f"remove that object, and {again}"
                raise
            except StoreUnfit as error:  # the store's URI names another key than it did
                error.fix = f"{error.fix}; or {again}"
                raise
            if not whole:
                raise StoreError(
                    f"{store.uri} has not all chunks of part {one.number}",
                    why="somebody removed one, or it was sent to another store",
                    fix=again,
                    reason="part-incomplete",
                )
            if advance is not None:
                advance(sum(item.size - OVERHEAD for item in chunks))


def read_all(folder: Path, expected: Expected, trusted: Sequence[Trusted]) -> Shared:
    """Each part once, by a key that may say so, equal in all that it must be.

    Raises UsageError ("missing-path"), VerificationFailed ("part-missing", "wrong-part", "parts",
    and those of a statement), DiskError. Each names the shard to run again.
    """
    numbers = range(1, expected.of + 1)
    with opened_dir(folder) as handle:
        there = _numbers(handle, folder)
        _refuse_more(there, expected, folder)
        missing = [number for number in numbers if number not in there]
        if missing:
            _refuse_other_count(handle, min(there, default=0), expected, trusted)
            raise _missing(missing, expected, folder)
        parts = tuple(_told(folder, handle, number, expected, trusted) for number in numbers)
    _refuse_twice(parts, expected, folder)
    lists = {one.record.part.list: one.finished.list for one in parts}
    carried = [one.record.part for one in parts]
    read_lists(expected.manifest, carried, lambda sized, _: lists[sized])
    return Shared(folder=folder, expected=expected, parts=parts)


def _numbers(handle: int, folder: Path) -> set[int]:
    found: set[int] = set()
    with os.scandir(handle) as listing:
        for count, item in enumerate(listing):
            if count == _MAX_LISTED:
                raise VerificationFailed(
                    f"{str(folder)!r} holds more than {_MAX_LISTED} files",
                    fix="name a folder that holds the parts alone with --parts",
                    reason="limits",
                )
            if match := _NAMED.fullmatch(item.name):
                found.add(int(match[1]))
    return found


def _refuse_more(there: set[int], expected: Expected, folder: Path) -> None:
    more = sorted(number for number in there if number > expected.of)
    if more:
        raise VerificationFailed(
            f"{str(folder)!r} holds part {more[0]}, and {expected.of} are to be joined",
            why="it is left from a run with more shards, or the number to --join is wrong",
            fix=f"join as many as there were shards, or remove {DOCUMENT.format(more[0])}",
            reason="parts",
        )


def _refuse_other_count(
    handle: int, number: int, expected: Expected, trusted: Sequence[Trusted]
) -> None:
    """Where a part says that there are fewer, none is missing: the number is wrong."""
    try:
        data = _read(handle, DOCUMENT.format(number), MAX_BYTES)
        record = open_part(data, expected.source.zone, trusted)
    except (OSError, VerificationFailed):
        return
    if record.release == expected.release and record.part.of != expected.of:
        raise VerificationFailed(
            f"part {number} there is one of {record.part.of}, and {expected.of} are to be joined",
            why="the number to --join is wrong, or it is left from a run with fewer shards",
            fix=f"join as many as there were shards: --join {record.part.of}; or run each shard "
            f"again as one of {expected.of}",
            reason="parts",
        )


def _missing(missing: Sequence[int], expected: Expected, folder: Path) -> VerificationFailed:
    few = ", ".join(map(str, missing[:20])) + (", …" if len(missing) > 20 else "")
    one = len(missing) == 1
    return VerificationFailed(
        f"{'part' if one else 'parts'} {few} of {expected.of} {'is' if one else 'are'} not in "
        f"{str(folder)!r}",
        why="its shard did not come to its end, or left its part elsewhere"
        if one
        else "their shards did not come to their ends, or left their parts elsewhere",
        fix=expected.again(missing[0], folder) + ("" if one else "; and so the others"),
        reason="part-missing",
    )


def _told(
    folder: Path, handle: int, number: int, expected: Expected, trusted: Sequence[Trusted]
) -> Kept:
    """The part, or an error that names the shard."""
    try:
        return read_part(handle, number, expected, trusted)
    except OSError as error:
        raise disk_error(error, f"read part {number} in {str(folder)!r}") from error
    except VerificationFailed as error:
        raise VerificationFailed(
            f"part {number} of {expected.of} in {str(folder)!r} cannot be joined: {error.what}",
            why=error.why,
            fix=expected.again(number, folder),
            reason=error.reason,
        ) from error


def read_part(handle: int, number: int, expected: Expected, trusted: Sequence[Trusted]) -> Kept:
    """Part `number` in an open folder. Raises OSError, VerificationFailed."""
    data = _read(handle, DOCUMENT.format(number), MAX_BYTES)
    record = open_part(data, expected.source.zone, trusted)
    expected.check(record, number)
    part = record.part
    listed = _exactly(handle, LIST.format(number), part.list, "chunk list")
    read_list(listed, part)
    table = _exactly(handle, TABLE.format(number), part.keytable, "key table")
    return Kept(
        record=record,
        finished=Finished(part=part, list=listed, table=table),
        data=data,
    )


def open_part(data: bytes, home: str, trusted: Sequence[Trusted]) -> PartRecord:
    """What a key said that may speak for zone `home`. Raises VerificationFailed."""
    verified = open_statement(data, trusted, role="part")
    if verified.speaking_for(home) is None:
        raise VerificationFailed(
            f"{verified.signer.name} may not speak for zone {home}",
            why=f"its entry under trust says from: {verified.signer.zone}",
            reason="wrong-source",
        )
    return PartRecord.of(verified.statement)


def _read(handle: int, name: str, most: int) -> bytes:
    return read_descriptor(open_below(handle, name), most=most, what=f"file {name!r}")


def _exactly(handle: int, name: str, sized: Sized, what: str) -> bytes:
    try:
        data = _read(handle, name, sized.size)
    except FileNotFoundError:
        raise _unfit(f"its {what} {name!r} is not beside it", "part-missing") from None
    if Sized.of(data) != sized:
        raise _unfit(f"its {what} {name!r} is not the one that was signed", "digest-mismatch")
    return data


def _refuse_twice(parts: Sequence[Kept], expected: Expected, folder: Path) -> None:
    """No chunk, key table or release key is of two shards."""
    seen: dict[bytes | str, int] = {}
    for one in parts:
        part = one.record.part
        places = range(0, part.list.size, DIGEST_SIZE)
        chunks = [one.finished.list[at : at + DIGEST_SIZE] for at in places]
        values: list[bytes | str] = [*chunks, part.keytable.sha256, part.recipient.commit]
        for value in values:
            first = seen.setdefault(value, one.number)
            if first != one.number:
                raise VerificationFailed(
                    f"parts {first} and {one.number} in {str(folder)!r} share a chunk or a key",
                    why="each machine makes keys of its own, so one of the two is not what it "
                    "says that it is",
                    fix=f"remove both, and {expected.again(first, folder)}; and so the other",
                    reason="parts",
                )


def _unfit(why: str, reason: str) -> VerificationFailed:
    return VerificationFailed(why, reason=reason)


# -- written by a shard


def find(folder: Path, number: int, expected: Expected, trusted: Sequence[Trusted]) -> Kept | None:
    """What an earlier run of this shard left there; None where it is not whole, or of no use."""
    try:
        with opened_dir(folder) as handle:
            return read_part(handle, number, expected, trusted)
    except (OSError, SovgateError):
        return None


def write(folder: Path, finished: Finished, data: bytes) -> None:
    """The document last: what it names is there, or it is not. Raises DiskError."""
    number = finished.part.number
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with opened_dir(folder) as handle:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(DOCUMENT.format(number), dir_fd=handle)
            for name, content in (
                (LIST, finished.list),
                (TABLE, finished.table),
                (DOCUMENT, data),
            ):
                replace_at(handle, name.format(number), content)
    except OSError as error:
        raise disk_error(error, f"write part {number} in {str(folder)!r}") from error
