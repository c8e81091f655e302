"""`sovgate pull --file`: what it is asked, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.cli._emit import Report, details
from sovgate.cli._progress import human_bytes, human_seconds, progress
from sovgate.cli._streams import refuse_two_outputs, write_bytes
from sovgate.records import STREAM, Options, Release

if TYPE_CHECKING:
    from sovgate.pipeline.move.results import PulledFile


def pull_one(
    release: Release,
    wanted: tuple[str, str | None],
    place: tuple[str, Path],
    options: Options,
    form: str,
) -> Report:
    """`wanted`: a file's name and a range; `place`: the zone where this runs, and the output."""
    from sovgate.pipeline.move.partial import pull_file
    from sovgate.pipeline.move.wanted import Wanted

    (name, range_), (zone, output) = wanted, place
    streams = output == STREAM
    if streams:
        refuse_two_outputs(form)
    with progress("pulling", zone) as bar:
        done = pull_file(
            release,
            Wanted.parse(name, range_),
            zone=zone,
            output=output,
            write=write_bytes if streams else None,
            options=replace(options, progress=bar),
        )
    return _report(done, release, output)


def _report(done: PulledFile, asked: Release, output: Path) -> Report:
    pinned, source = done.moved.pinned, done.moved.source
    start, stop = done.span
    some = stop - start < done.size
    size = human_bytes(stop - start)
    what = f"bytes {start}-{stop - 1} ({size}) of {done.name}" if some else f"{done.name}, {size}"
    how = "each chunk verified" if done.receipt else "the whole file verified first"
    notes = []
    if asked.pin is None:
        notes.append(f"this was not pinned, so the store chose the bytes; next time: {pinned}")
    if done.receipt is None:
        notes.append(
            "no receipt of this zone says that it opened the release whole and found no pickle, so "
            "the whole file was fetched first; a receipt is written by "
            f"sovgate pull {pinned} --zone {done.moved.destination.zone} -o MODEL"
        )
    return Report(
        command="pull",
        headline=f"pulled {what}, of {done.moved.release}: {how}",
        rows=(
            ("release", pinned),
            (
                "from",
                f"zone {source.zone}, {source.provider_region}, {source.country}, "
                f"{done.moved.run_by}",
            ),
            *(("decision", line) for line in done.decisions),
            ("file", "standard output" if output == STREAM else str(output)),
            ("under", done.receipt or "no receipt: the file itself was looked into"),
            ("audit-head", done.audit_head),
            *details(("took", ", ".join(f"{name} {human_seconds(s)}" for name, s in done.steps))),
        ),
        outputs={
            "release": pinned,
            "manifest": f"sha256:{done.moved.manifest}",
            "model": str(output),
            "record": done.record,
            "receipt": done.receipt or "",
            "audit-head": done.audit_head,
        },
        data={
            "release": str(done.moved.release),
            "manifest": done.moved.manifest,
            "pinned": asked.pin is not None,
            "record": done.record,
            "file": {"name": done.name, "sha256": done.sha256, "bytes": done.size},
            "range": [start, stop - 1] if stop > start else None,
            "from": vars(done.moved.source),
            "to": vars(done.moved.destination),
            "store": done.moved.store,
            "output": str(output),
            "decisions": list(done.decisions),
            "receipt": done.receipt,
            "audit-head": done.audit_head,
            "steps": [{"step": name, "seconds": round(s, 6)} for name, s in done.steps],
        },
        notes=tuple(notes),
    )
