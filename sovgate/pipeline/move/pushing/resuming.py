"""Lets a push that ended early go on where it stopped: where its keys are kept, and what is said.

Opens the sender's own encryption key; touches the folder of --state, and no other place.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import host, notices
from sovgate.errors import (
    DiskError,
    PolicyDenied,
    ResidencyMismatch,
    SovgateError,
    StoreError,
    StoreUnfit,
    UsageError,
    VerificationFailed,
    disk_error,
)
from sovgate.git.ignored import work_tree
from sovgate.pipeline.move.pushing.remade import Remade, is_spoilt
from sovgate.records import Options, Sized

if TYPE_CHECKING:
    from sovgate.blocks import Blocks
    from sovgate.formats.part import Finished
    from sovgate.formats.plan import Plan
    from sovgate.formats.resume import Course
    from sovgate.keys._api import Signer
    from sovgate.pipeline.move.pushing.asked import Asked
    from sovgate.pipeline.move.pushing.refusals import Refusals
    from sovgate.pipeline.project import Project
    from sovgate.stages.encrypt import Bound
    from sovgate.stages.encrypt.closed import Closed
    from sovgate.stages.encrypt.kept import Folder, KeptKeys, OwnKey


def default_state() -> Path | None:
    """`$XDG_STATE_HOME/sovgate`, by default ~/.local/state/sovgate; None: this user has no home."""
    named, home = os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", "")
    if named.startswith("/"):
        return Path(named) / "sovgate"
    home = home if home.startswith("/") else host.login_home() or ""
    return Path(home) / ".local" / "state" / "sovgate" if home.startswith("/") else None


def state_folder(named: Path | None) -> Path | None:
    """Where pushes keep what they keep; None: nowhere."""
    return named or default_state()


class Keeping:
    """The keys of one push, while it lasts, and how many of its chunks are in the store.

    A folder that was not named is done without where it cannot be used: then a push that ends early
    is said to start anew. One that was named has to do.
    """

    def __init__(self, asked: Asked, named: Path | None, refusals: Refusals) -> None:
        self._asked, self._named, self._refusals = asked, named, refusals
        self.zone = asked.to.name
        self._reused: str | None = None
        self._folder: Folder | None = None
        self._keys: KeptKeys | None = None
        self._remade: Remade | None = None
        self._plan: Plan | None = None
        self._signer: Signer | None = None
        self._there: set[bytes] = set()
        self._closed: set[bytes] = set()
        self._lock = threading.Lock()
        self._why: str | None = None
        self._done = False
        #: Bytes of each chunk that this run sent; and how many an earlier one had.
        self.sizes: list[int] = []
        self.skipped = 0
        self._base = state_folder(named)
        if self._base is None:
            self._why = "this user has no home"
        elif (error := inside(self._base, asked)) is not None:
            self._refuse(error)
            self._base = None

    def _refuse(self, error: SovgateError) -> None:
        if self._named is not None:
            raise error
        self._why = error.what

    @property
    def _course(self) -> Course:
        from sovgate.formats.resume import Course

        asked = self._asked
        return Course(
            release=str(asked.release),
            manifest=asked.outgoing.manifest.digest,
            source=asked.zone.name,
            zone=asked.to.name,
            key_id=asked.recipient.key_id,
            store=asked.store.uri,
            reused=self._reused,
            shard=asked.outgoing.shard,
        )

    def bound(self, signer: Signer, plan: Plan, reused: str | None = None) -> Bound:
        """What takes the chunks of `plan`. `reused` tells what is not in it since it is taken from
        earlier releases. Raises, of a folder that was named, DiskError, UsageError,
        KeyServiceError."""
        from sovgate.stages.encrypt import Bound

        self._plan, self._signer, self._reused = plan, signer, reused
        self._open(plan, signer)
        if self._keys is None:
            return Bound(zone=self.zone, put=self._put)
        within = partial(self._refusals.by, self.zone)
        self._remade = Remade(self._keys, plan, self._asked.store, within)
        return Bound(zone=self.zone, put=self._put, keys=self._remade)

    def said(self, error: SovgateError) -> bool:
        return self._refusals.is_word(self.zone, error)

    def forget(self, error: VerificationFailed) -> None:
        """Destroy the keys of what turned out not to be what was signed, unless that was said of
        another zone. Raises DiskError."""
        mine = self._refusals.concerns(self.zone, error)
        if mine and self._keys is not None and self._plan is not None:
            self._keys.forget(_spoilt(self._plan, error))

    def closed(self, number: int) -> Closed | None:
        """A part that an earlier run closed, if all its chunks are in the store."""
        with self._refusals.by(self.zone):
            return self._read_closed(number)

    def _read_closed(self, number: int) -> Closed | None:
        from sovgate.formats.chunk import OVERHEAD
        from sovgate.stages import transfer
        from sovgate.stages.encrypt.closed import read_closed, remove_closed

        plan, folder = self._plan, self._folder
        if self._keys is None or plan is None or folder is None or self._signer is None:
            return None
        found = read_closed(folder, plan, number, self._signer)
        if found is None:
            return None
        places = plan.places(number)
        chunks = [
            Sized(sha256=digest.hex(), size=plan.length(place) + OVERHEAD)
            for place, digest in zip(places, found.digests, strict=True)
        ]
        try:
            whole = transfer.all_there(self._asked.store, chunks)
        except (StoreError, StoreUnfit) as error:
            if not is_spoilt(error):
                raise
            whole = False
        if not whole:
            remove_closed(folder, number)  # its keys are the destination's: it is made anew
            return None
        self._forget_closed(places)  # where a run ended just when it had closed it
        self._note_closed(found.digests)
        self.skipped += len(chunks)
        return found

    def close_part(self, finished: Finished, looked: Mapping[str, Blocks]) -> None:
        """Keep a part that is whole: no secret of it, and no reason to read its files again. Where
        the zone's chunks are used again its keys stay until the ledger has them.

        Where that cannot be written its keys stay. Raises KeyServiceError.
        """
        from sovgate.formats.part import read_list
        from sovgate.stages.encrypt.closed import write_closed

        plan, folder = self._plan, self._folder
        if self._keys is None or plan is None or folder is None or self._signer is None:
            return
        try:
            write_closed(folder, finished, looked, self._signer)
        except OSError:
            return
        self._forget_closed(plan.places(finished.part.number))
        self._note_closed(read_list(finished.list, finished.part))

    def _forget_closed(self, places: Sequence[int]) -> None:
        """Where a disk takes no write, not even over what is there, they go with all else at the
        end: of a closed part they serve nothing any more, but for a ledger that is to have them."""
        with contextlib.suppress(DiskError):
            if self._keys is not None and not self._asked.to.reuse:
                self._keys.forget(places)

    def keys_of(self, number: int, digests: Sequence[bytes]) -> Sequence[bytes] | None:
        """The keys of a part that an earlier run closed; None where not all were kept."""
        if self._keys is None or self._plan is None:
            return None
        return self._keys.of(self._plan.places(number), digests)

    def _note_closed(self, digests: Sequence[bytes]) -> None:
        self._closed.update(digests)
        self._there.update(digests)

    def _open(self, plan: Plan, signer: Signer) -> None:
        from sovgate.stages.encrypt.kept import Folder, open_keys

        if self._base is None or not plan.chunks:
            return
        folder = Folder(self._base, self._course)
        try:
            folder.open()
            self._folder = folder
            own = own_key(self._asked.opened, self._asked.zone.name)
            self._keys = open_keys(folder, plan.chunks, signer, own)
        except OSError as error:
            self._refuse(disk_error(error, f"keep keys in {str(self._base)!r}"))
        except SovgateError as error:
            self._refuse(error)

    def _put(self, sha256: str, data: memoryview) -> None:
        with self._refusals.by(self.zone):
            self._bring(sha256, data)

    def _bring(self, sha256: str, data: memoryview) -> None:
        """What an earlier run made, and what is there, is passed over."""
        from sovgate.stages import transfer

        digest = bytes.fromhex(sha256)
        there = self._remade is not None and digest in self._remade.there
        try:
            if not there:
                transfer.put_chunk(self._asked.store, sha256, data)
        except (StoreError, StoreUnfit) as error:
            if is_spoilt(error) and self._keys is not None:  # the next run makes another
                self._keys.forget_chunk(digest)
            raise
        with self._lock:
            self._there.add(digest)
            if there:
                self.skipped += 1
            else:
                self.sizes.append(len(data))

    def done(self) -> None:
        """The record is in the store: nothing is to be gone on with."""
        self._done = True
        self.destroy()

    def destroy(self) -> None:
        """Whatever is kept for this push, unless another run of it is under way here."""
        from sovgate.stages.encrypt.kept import Folder

        self._close_keys()
        if self._base is None or not os.path.lexists(self._base / self._course.name):
            return
        folder = self._folder or Folder(self._base, self._course)
        try:
            if self._folder is None:
                folder.open()
                self._folder = folder
            folder.destroy()
        except (OSError, SovgateError) as error:
            if getattr(error, "reason", None) != "in-use":
                notices.note(f"remove {str(folder.path)!r}: keys that nobody needs are kept there")

    def tell(self, error: SovgateError | KeyboardInterrupt, *, gone: bool = False) -> None:
        """Add to an error what of this push is in the store, and what a further run does."""
        words = None if self._done else self._words(gone)
        if words is None:
            return
        if self._refusals.several:
            words = f"zone {self.zone}: {words}"
        if isinstance(error, SovgateError):
            error.details = (*error.details, words)
        else:
            error.add_note(f"run it again: {words}")

    def _words(self, gone: bool) -> str | None:
        kept, maybe = frozenset[bytes](), frozenset[bytes]()
        if self._keys is not None and not gone:
            maybe = (self._keys.earlier & self._keys.digests) - self._there  # not come to yet
            kept = self._keys.digests | self._closed
        count = len(self._there) + len(maybe)
        if not count:
            return None
        upto = "up to " if maybe else ""
        units = self._plan.units if self._plan is not None else ()
        total = sum(unit.chunks for unit in units) or count
        said = f"{upto}{count} of {total} chunks are in the store, and "
        if not kept:
            why = "" if gone or self._why is None else f" (they were not kept: {self._why})"
            again = "" if gone else "; the next run sends all of it anew"
            return f"{said}open for nobody: their keys are gone{why}{again}"
        lost = len(self._there - kept)
        full = self._keys is not None and self._keys.failed is not None
        how = "could not be kept" if full else "were destroyed"
        failed = f", and {lost} whose keys {how}" if lost else ""
        return (
            f"{said}open for nobody until the release is written; their keys are kept in "
            f"{str(self._base)!r}, and a run that has it sends only what is missing{failed}"
        )

    def _close_keys(self) -> None:
        if self._keys is not None:
            self._keys.close()

    def close(self) -> None:
        self._close_keys()
        if self._folder is not None:
            self._folder.close()


@contextlib.contextmanager
def keeping(
    asked: Mapping[str, Asked], refusals: Refusals, options: Options
) -> Iterator[dict[str, Keeping]]:
    """For the time of a push: after a denial of a zone, or where it has another key by now, the
    keys of its chunks are destroyed; any other end says what stays.

    Raises UsageError, reason "state-inside", and what happens within.
    """
    kept = {zone: Keeping(one, options.state, refusals) for zone, one in asked.items()}
    try:
        yield kept
    except (SovgateError, KeyboardInterrupt) as error:
        for zone, one in kept.items():
            gone = any(map(_denies, refusals.words(zone, error)))
            if gone and not options.dry_run:
                one.destroy()
            one.tell(error, gone=gone)
        raise
    finally:
        for one in kept.values():
            one.close()


@contextlib.contextmanager
def forgetting(kept: Sequence[Keeping]) -> Iterator[None]:
    """While a model is read: of a file that is not what was signed the chunks' keys are destroyed
    for each zone, before it is said; not for what a store did. Raises what is raised, DiskError.
    """
    try:
        yield
    except VerificationFailed as error:
        failed: list[SovgateError] = []
        for one in kept if not any(one.said(error) for one in kept) else ():
            try:
                one.forget(error)
            except SovgateError as other:
                failed.append(other)
        if failed:
            raise failed[0] from error
        raise


def _denies(error: BaseException) -> bool:
    """Engines and stores that are away answer another time; this will not."""
    return (
        isinstance(error, PolicyDenied | ResidencyMismatch)
        or getattr(error, "reason", None) == "wrong-key"
    )


def own_key(opened: Project, zone: str) -> OwnKey | None:
    """The sender's own encryption key, if it can open what it wraps. Raises as `recipient` does."""
    from sovgate.stages.encrypt.kept import OwnKey

    if opened.zone(zone).keys.encrypt is None:
        return None
    return OwnKey(recipient=opened.recipient(zone), identity=lambda: opened.identity(zone))


def _spoilt(plan: Plan, error: VerificationFailed) -> list[int]:
    """The places of the chunks of the file that the error names; of all files, if it names none."""
    name = error.data.get("file")
    if name is None or [content.name for content in plan.contents] == ["."]:
        return list(range(plan.chunks))
    units = [unit for unit in plan.units if name in {content.name for content in unit.contents}]
    return [place for unit in units for place in range(unit.first, unit.after)]


def inside(base: Path, asked: Asked) -> UsageError | None:
    """Why keys may not be kept there: whoever gets the model or the project would get them too."""
    project, real = asked.opened.base, Path(os.path.realpath(base))
    tree, root = work_tree(project), asked.outgoing.root
    at = asked.store.uri.removeprefix("file://")
    store = Path(at) if at.startswith("/") else None
    held = {"model": root, "store": store, "project": project, "repository": tree}
    for what, folder in held.items():
        if folder is not None and real.is_relative_to(os.path.realpath(folder)):
            return UsageError(
                f"{str(base)!r} lies in the {what}",
                why=f"keys to the store would be where the {what} is read, copied and kept",
                fix="name a folder elsewhere with --state, e.g. --state /var/lib/sovgate",
                reason="state-inside",
            )
    return None
