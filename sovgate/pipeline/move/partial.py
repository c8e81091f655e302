"""pull --file: one file of a release, or a range of its bytes, for who is in the destination.

RULES 12: bytes are given out only under a record that this zone's own receipt says it opened whole.
Without one the file lies in a private folder until it is verified and policy has seen it, and what
the model says that it was made from (`staged.py`). Decides, and writes the log; writes no receipt,
for the release was not opened whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import files
from sovgate.errors import UsageError, VerificationFailed, disk_error
from sovgate.formats.auditentry import PULL_FILE
from sovgate.pipeline.deadline import in_time
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.judge import Judged, confirm
from sovgate.pipeline.move.arrived import Arrived, arrive, find
from sovgate.pipeline.move.movement import LOOK, Timer, announced, keep, note, place, refuse
from sovgate.pipeline.move.pull import CHECKS, open_keys
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.results import Moved, PulledFile
from sovgate.pipeline.move.staged import Staged, slice_of
from sovgate.pipeline.move.wanted import Wanted, resource_of, span_of
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.project import open_project
from sovgate.records import DEFAULTS, Options, Release
from sovgate.stages import audit
from sovgate.staging import Staging, private, require_free, require_writable

if TYPE_CHECKING:
    from sovgate.keys._api import Signer
    from sovgate.pipeline.decide.contents import Contents
    from sovgate.stages.audit import Run
    from sovgate.stages.encrypt import Span

_GIVE = "give it out"
#: Takes the bytes as they come, in order; a view is its until it returns.
Write = Callable[[memoryview], None]
Kept = Callable[[Judged], Judged]


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """Where the bytes go: into a new file `output`, or to `write` instead."""

    output: Path
    write: Write | None


@dataclass(frozen=True, kw_only=True)
class _Granted:
    """What may be given out: policy's word, and the receipt that it was opened whole under; where
    there is none, what is looked into first."""

    arrived: Arrived
    staged: Staged | None
    span: Span
    name: str
    receipt: str | None
    known: Contents
    judged: Judged

    def refs(self, judged: Judged) -> tuple[tuple[str, str], ...]:
        """What the log names: policy's word, the record, the receipt, and which file it was."""
        record = self.arrived.recorded.record.sha256
        receipt = () if self.receipt is None else (("receipt", self.receipt),)
        return (*judged.refs, ("transfer", record), *receipt, ("file", self.span.content.digest))


@in_time
def pull_file(
    release: Release,
    wanted: Wanted,
    *,
    zone: str,
    output: Path,
    write: Write | None = None,
    options: Options = DEFAULTS,
) -> PulledFile:
    """Bring one file of a release, or a part of it, to `output`; or, in place of it, to `write`.

    Raises as `pull` does; UsageError ("no-such-file", "bad-range"); VerificationFailed
    ("no-receipt": its signature alone does not tell what one file's bytes are).
    """
    options.refuse_dry_run("pull")
    opened = open_project(options.project)
    timer = Timer(options.deadline)
    here = opened.zone(zone)
    if write is None:
        _require_place(output)
    refuse_misused(opened.config)
    require_zone_key(opened, opened.trusted(zone), zone, LOGGED)
    with timer.step("check the record"):
        recorded = find(opened, release, zone)
    with timer.step("check signature and evidence"):
        arrived = arrive(recorded)
        resource = resource_of(arrived.manifest, wanted.name)
        span = span_of(resource, wanted)
        signer = opened.signer(zone)
        receipt, passed = _receipt(arrived, signer)
    with timer.step("decide"):
        known = contents.UNOPENED if receipt is None else contents.of_receipt(passed)
        judged = arrived.judge(known, recorded.located)
    staged = None if receipt else Staged.of(arrived, resource.name)
    options.expect(staged.fetched.total if staged else span.stop - span.start)
    granted = _Granted(
        arrived=arrived,
        staged=staged,
        span=span,
        name=resource.name,
        receipt=receipt,
        known=known,
        judged=judged,
    )
    goal = _Goal(output=output, write=write)
    judged, head = _run(granted, signer, goal, timer, options)
    source = opened.zone(recorded.record.transfer.source.zone)
    return PulledFile(
        moved=Moved(
            release=recorded.release,
            manifest=arrived.manifest.digest,
            source=place(source),
            destination=place(here, recorded.located),
            store=recorded.store.uri,
            run_by=source.place.run_by,
        ),
        name=resource.name,
        sha256=resource.digest,
        size=resource.size,
        span=(span.start, span.stop),
        record=recorded.record.sha256,
        receipt=receipt,
        audit_head=head,
        decisions=judged.lines,
        steps=tuple(timer.steps),
    )


def _require_place(output: Path) -> None:
    if output.is_dir() and not output.is_symlink():
        raise UsageError(
            f"{os.fspath(output)!r} is a folder, and one file is written",
            fix=f"name the file to write: -o {os.fspath(output / 'FILE')!r}",
            reason="output-exists",
        )
    require_free(output)
    require_writable(output, f"write the file to {os.fspath(output)!r}")


def _receipt(arrived: Arrived, signer: Signer) -> tuple[str | None, frozenset[str]]:
    """SHA-256 of this zone's own receipt for this very record, and the checks that passed. One that
    says nothing of pickles says nothing of secrets either: then the file itself is looked into.

    Raises VerificationFailed, reason "no-receipt", where only the whole model can be verified.
    """
    from sovgate.stages import transfer

    at = arrived.recorded
    found = transfer.find_receipt(at.store, at.record, at.trusted, zone=at.zone, by=signer)
    if found is not None:
        passed = transfer.open_receipt(found[0], at.trusted).passed
        if passed >= {*CHECKS, contents.NO_PICKLES}:
            return found[1], passed
    if not outgoings.tells_digests(arrived.fetched.signature, at.trusted):
        pinned = at.release.pinned(arrived.manifest.digest)
        raise VerificationFailed(
            f"zone {at.zone} has no receipt for {at.release}, and one file of it cannot be "
            "verified alone",
            why="the model's signature tells no SHA-256 for each file: it is compared with all "
            "files together",
            fix=f"pull it whole once: sovgate pull {pinned} --zone {at.zone} -o MODEL",
            reason="no-receipt",
        )
    return None, frozenset()


def _run(
    granted: _Granted, signer: Signer, goal: _Goal, timer: Timer, options: Options
) -> tuple[Judged, str]:
    """From the audit intent to the outcome: the decision that was acted on, and the last head."""
    at, judged = granted.arrived.recorded, granted.judged
    about = replace(granted.arrived.about, action=PULL_FILE)
    run = audit.Log(at.opened.audit_store(at.zone), signer, trusted=at.trusted).begin()
    refuse(judged, run, about, granted.refs(judged))
    give = partial(_from_staged, granted.staged) if granted.staged else _from_chunks
    with announced(run, about, granted.refs(judged)):
        final = give(granted, partial(_keep, run), goal, timer, options)
        end = note(run, "outcome", about, exit_code=0, refs=granted.refs(final))
    return final, end


def _keep(run: Run, judged: Judged) -> Judged:
    """Before a byte is given out: no record and no receipt keeps the decision, so the log does."""
    for item in judged.documents:
        keep(run, item.data, item.sha256)
    return judged


def _from_chunks(
    granted: _Granted, kept: Kept, goal: _Goal, timer: Timer, options: Options
) -> Judged:
    """This zone opened all of it before: what is asked for is given out as its chunks verify."""
    at = granted.arrived.recorded
    with timer.step("decide once more"):
        located = at.locate()
        final, _ = confirm(
            granted.judged,
            located,
            lambda: granted.arrived.judge(granted.known, located),
        )
    with (
        timer.step("decrypt and verify"),
        _plaintext(granted, granted.span, options) as views,
    ):
        kept(final)
        if goal.write is not None:
            for view in views:
                goal.write(view)
            return final
        with Staging(goal.output) as staging:
            _write(staging.path / "file", views)
            staging.commit("file")
    return final


def _from_staged(
    staged: Staged, granted: _Granted, kept: Kept, goal: _Goal, timer: Timer, options: Options
) -> Judged:
    """The whole file first, where nobody else reads it: its signed digest, then policy."""
    if goal.write is not None:
        with private("pull-file") as folder:
            path, final = _judged(staged, granted, folder, timer, options)
            with timer.step(_GIVE):
                kept(final)
                for view in slice_of(path, granted.span):
                    goal.write(view)
        return final
    with Staging(goal.output) as staging:
        path, final = _judged(staged, granted, staging.path, timer, options)
        with timer.step(_GIVE):
            kept(final)
            if granted.span.whole:
                staging.commit(str(path.relative_to(staging.path)))
            else:
                _write(staging.path / "range", slice_of(path, granted.span))
                staging.commit("range")
    return final


def _judged(
    staged: Staged, granted: _Granted, folder: Path, timer: Timer, options: Options
) -> tuple[Path, Judged]:
    """The file below a private folder, verified; and what policy says of it now that it is open."""
    arrived = granted.arrived
    at, alone = arrived.recorded, arrived.manifest.kind == "file"
    with timer.step("decrypt and verify"):
        root = staged.fetch(arrived, folder, options.advance)
    with timer.step(LOOK):
        found = contents.of_some_files(root, arrived.manifest, staged.names, at.opened)
    with timer.step("decide once more"):
        located = at.locate()
        final, _ = confirm(
            granted.judged, located, lambda: arrived.judge(found, located), anew=True
        )
    return root if alone else root / granted.name, final


@contextlib.contextmanager
def _plaintext(granted: _Granted, span: Span, options: Options) -> Iterator[Iterator[memoryview]]:
    """The bytes of `span`, as they are fetched and opened. Keys are asked for before the first."""
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import carrying, read

    arrived = granted.arrived
    at = arrived.recorded
    opened = open_keys(arrived, carrying(arrived.listed, span.content))

    def counted(views: Iterator[memoryview]) -> Iterator[memoryview]:
        for view in views:
            yield view
            if options.advance is not None:
                options.advance(len(view))

    get = partial(transfer.get_chunk, at.store)
    with contextlib.closing(read(opened, span, at.zone, get)) as views:
        yield counted(views)


def _write(path: Path, views: Iterator[memoryview]) -> None:
    """A new private file; whoever may read new files may read it once it is whole."""
    from sovgate.stages.encrypt import Tree

    try:
        tree = Tree(path, single=True)
        descriptor = tree.create(path.name)
        try:
            offset = 0
            for view in views:
                files.write_at(descriptor, view, offset)
                offset += len(view)
            tree.finish(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        doing = f"write the decrypted file below {os.fspath(path.parent)!r}"
        raise disk_error(error, doing) from error
