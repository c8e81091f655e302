"""`sovgate audit sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate.cli import _base
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_bytes
from sovgate.cli._transport import transport_options

if TYPE_CHECKING:
    from sovgate.pipeline.look.sweep import Swept
    from sovgate.stores._api import Entry

#: Names that a person sees; the file and JSON have all.
SHOWN = 20


@_base.command(
    "sweep",
    path="audit sweep",
    help="List what lies in a zone's store and no record names. Deletes nothing.",
    example="""
sovgate audit sweep --zone eu -o first.txt
sovgate audit sweep --zone eu --first first.txt -o due.txt""",
)
@_base.option("--zone", required=True, metavar="ZONE", help="The zone whose store it is.")
@_base.option(
    "-o",
    "--output",
    type=_base.LocalPath(),
    metavar="FILE",
    help="Also write the list here. Nothing is overwritten.",
)
@_base.option(
    "--first",
    type=_base.LocalPath(),
    metavar="FILE",
    help="The list of an earlier run: only what stood in it too is listed, and how to delete it.",
)
@_base.option(
    "--grace",
    type=click.IntRange(min=1, max=3650),
    default=7,
    show_default=True,
    metavar="DAYS",
    help="How old that list has to be, and what is in it.",
)
@transport_options
@_base.project_option
@_base.output_options
def command(
    zone: str,
    output: Path | None,
    first: Path | None,
    grace: int,
    project: Path | None,
    format_: str,
) -> Report:
    from sovgate.files import create_only, require_absent, taken
    from sovgate.pipeline.look.sweep import deleting, size_of, sweep

    if output is not None:
        require_absent(output)
    done = sweep(zone, first=first, grace=grace, project=project)
    if output is not None and not create_only(output, done.list):
        raise taken(output)
    shown = done.found if done.due is None else done.due
    notes = [_open(done, grace)]
    if done.due is not None and shown:
        told = None if output is None else deleting(done.store, output, versions=done.versions)
        if told is not None:
            notes.append(f"stop pushes to this store, and delete it as the zone: {told}")
        elif output is None:
            notes.append("write the list to a file with -o, and the command that deletes is named")
    if done.versions:
        notes.append(
            "the bucket keeps versions: a plain delete leaves the bytes there as an old one. What "
            "was deleted so is in this list, and the command above deletes every version"
            if done.due and output is not None
            else "the bucket keeps versions: a plain delete leaves the bytes there as an old one. "
            "What was deleted so is in this list"
        )
    elif done.versions is None:
        notes.append(
            "whether the bucket keeps versions was not told (s3:GetBucketVersioning): if it does, "
            "a plain delete leaves the bytes there as an old one, and what was deleted so is not "
            "in this list"
        )
    if done.unfinished:
        size = human_bytes(size_of(done.unfinished))
        notes.append(
            f"writes that were broken off: {len(done.unfinished)} in .incoming/ ({size}); the next "
            "push removes them"
        )
    return Report(
        command="audit sweep",
        headline=_headline(done, grace),
        rows=(("store", done.store), ("named", f"{done.named} objects that records name")),
        table=(("object", "bytes", "written"), *(_row(one) for one in shown[:SHOWN]))
        if shown
        else (),
        notes=(*([f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else ()), *notes),
        data={
            "zone": done.zone,
            "store": done.store,
            "named": done.named,
            "unnamed": [_json(one) for one in done.found],
            "due": None if done.due is None else [_json(one) for one in done.due],
            "unfinished": [_json(one) for one in done.unfinished],
            "versions": done.versions,
            "list": None if output is None else str(output),
        },
    )


def _headline(done: Swept, grace: int) -> str:
    from sovgate.pipeline.look.sweep import size_of

    shown, what = done.found, "no record names"
    if done.due is not None:
        shown, what = done.due, f"no record has named for {grace} days"
    count = f"{len(shown)} object{'' if len(shown) == 1 else 's'}"
    size = human_bytes(size_of(shown))
    return f"{count} ({size}) in the store of zone {done.zone} that {what}; nothing was deleted"


def _open(done: Swept, grace: int) -> str:
    """What nobody can tell from the store alone."""
    if done.due is None:
        return (
            "a push that is under way or was broken off, and shards that are not joined yet, are "
            f"in this list too: keep it, and run this again with --first in {grace} days"
        )
    return (
        f"a push that was broken off more than {grace} days ago is in this list, and sends that "
        "again; one that goes on while you delete may name what you delete"
    )


def _row(one: Entry) -> tuple[str, str, str]:
    when = "unknown" if one.written is None else f"{one.written:%Y-%m-%dT%H:%M:%SZ}"
    return one.name, str(one.size), when


def _json(one: Entry) -> dict[str, object]:
    when = None if one.written is None else f"{one.written:%Y-%m-%dT%H:%M:%SZ}"
    return {"name": one.name, "size": one.size, "written": when}
