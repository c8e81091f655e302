"""`sovgate keys kept`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate.cli import _base
from sovgate.cli._emit import Report

if TYPE_CHECKING:
    from sovgate.formats.resume import Course
    from sovgate.pipeline.move.pushing.waiting import Kept
    from sovgate.stages.encrypt.waiting import Waiting


@_base.command(
    "kept",
    path="keys kept",
    help="List the keys that pushes which ended early keep here, and remove them.",
    example="""
sovgate keys kept
sovgate keys kept churn/1.0.0 --remove
sovgate keys kept --state /var/lib/sovgate --older-than 30 --remove""",
)
@_base.argument(
    "release",
    required=False,
    metavar="[RELEASE]",
    help="Only of this one, NAME/VERSION (default: of all).",
)
@_base.state_option
@_base.option(
    "--older-than",
    "days",
    type=click.IntRange(min=1, max=3650),
    metavar="DAYS",
    help="Only what no push has touched for so long.",
)
@_base.option(
    "--remove",
    is_flag=True,
    help="Give these pushes up: their keys are removed, and the same push starts anew. What a push "
    "uses just now stays.",
)
@_base.output_options
def command(
    release: str | None, state: Path | None, days: int | None, remove: bool, format_: str
) -> Report:
    from sovgate.pipeline.move.pushing.waiting import kept
    from sovgate.records import Release

    parsed = None if release is None else Release.parse(release)
    done = kept(parsed, state=state, days=days, removing=remove)
    return Report(
        command="keys kept",
        headline=_headline(done, remove),
        rows=(("folder", str(done.state)),),
        table=(
            ("release", "from", "to", "untouched for", "chunks", "parts", "folder"),
            *(_row(done, one) for one in done.found),
        )
        if done.found
        else (),
        notes=_notes(done, remove),
        data={
            "state": str(done.state),
            "kept": [_json(done, one) for one in done.found],
            "removed": [one.path.name for one in done.removed],
        },
    )


def _headline(done: Kept, remove: bool) -> str:
    count = len(done.removed) if remove else len(done.found)
    one = count == 1
    pushes = f"{count or 'no'} push{'' if one else 'es'}"
    if remove:
        return f"{pushes} given up; {'its' if one else 'their'} keys are gone"
    return f"{pushes} {'keeps its' if one else 'keep their'} keys here"


def age(seconds: float) -> str:
    """In the largest unit of which it is more than one."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "less than a minute"


def _row(done: Kept, one: Waiting) -> tuple[str, ...]:
    course = one.course
    return (
        "unknown" if course is None else f"{course.release}{_shard(course)}",
        "" if course is None else course.source,
        "" if course is None else course.zone,
        "in use" if one.busy else age(done.age(one).total_seconds()),
        str(one.keys),
        str(one.parts),
        one.path.name[:12],
    )


def _shard(course: Course) -> str:
    """Where a push is of one shard alone."""
    return "" if course.shard is None else ", shard {}/{}".format(*course.shard)


def _notes(done: Kept, remove: bool) -> tuple[str, ...]:
    notes = [
        f"{one.path} is no private folder of this user, and no push uses it"
        for one in done.found
        if not one.safe
    ]
    if remove:
        notes += [
            f"{one.path.name[:12]} stays: a push is under way" for one in done.found if one.busy
        ]
    elif done.found:
        notes.append(
            "run a push again, and it goes on; or give it up with --remove, and it starts anew"
        )
    return tuple(notes)


def _json(done: Kept, one: Waiting) -> dict[str, object]:
    course = one.course
    return {
        "folder": one.path.name,
        "release": None if course is None else course.release,
        "manifest": None if course is None else course.manifest,
        "from": None if course is None else course.source,
        "to": None if course is None else course.zone,
        "shard": None
        if course is None or course.shard is None
        else {"number": course.shard[0], "of": course.shard[1]},
        "store": None if course is None else course.store,
        "seconds": int(done.age(one).total_seconds()),
        "chunks": one.keys,
        "parts": one.parts,
        "in-use": one.busy,
        "private": one.safe,
    }
