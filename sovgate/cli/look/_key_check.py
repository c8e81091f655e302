"""`sovgate keys check`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.cli import _base
from sovgate.cli._emit import VERBOSE, Report
from sovgate.cli._transport import transport_options
from sovgate.cli.look._kept import age
from sovgate.records import GRADE

if TYPE_CHECKING:
    from sovgate.keys._api import KeyFacts
    from sovgate.pipeline.look.key_service.check import Checked

#: What a service does not tell stays so: nothing is filled in.
UNTOLD = "not told"
#: With -v there is one more, before the last.
_HEAD = ("key", "state", "kind", "kept in", "origin", "age", "lies in")
_ROTATES = "rotates"
#: As `keys generate --algorithm` has them, so that a table fits a terminal.
_KINDS = {
    "ecdsa-p256-sha256": "ec-p256",
    "ecdsa-p384-sha384": "ec-p384",
    "ecdsa-p521-sha512": "ec-p521",
    "GOOGLE_SYMMETRIC_ENCRYPTION": "symmetric",
    "symmetric-default": "symmetric",
    "aes256-gcm96": "symmetric",
}


@_base.command(
    "check",
    path="keys check",
    help="Ask each key's service what it says of the key: state, kind, HSM, origin, age, region.",
    example="""
sovgate keys check
sovgate keys check --zone eu --format json
sovgate keys check awskms:///ARN""",
)
@_base.argument(
    "uri",
    required=False,
    metavar="[URI]",
    help="One key (default: every key that the project names).",
)
@_base.zone_option(help="Keys of this zone alone.")
@_base.project_option
@transport_options
@_base.output_options
def command(uri: str | None, zone: str | None, project: Path | None, format_: str) -> Report:
    """It changes nothing. What a service does not tell is "not told". A key that cannot be used,
    lies elsewhere, has another public half than the pinned one, or whose service does not answer
    is a finding: 12 or 20; 3 where the project file is wrong.
    """
    from sovgate.pipeline.look.key_service.check import check, exit_code

    now = time.time()
    found = check(uri, zone=zone, project=project, now=now)
    bad = sum(bool(one.findings) for one in found)
    told = [one for one in found if one.facts is not None]
    rows: list[tuple[str, str]] = []
    if len(found) == 1 and found[0].facts is not None:
        rows += _all(found[0], found[0].facts, now)
    return Report(
        command="keys check",
        headline=_headline(len(found), bad),
        rows=(*rows, *_findings(found)),
        table=(_columns(_HEAD, _ROTATES), *(_row(one, one.facts, now) for one in told if one.facts))
        if len(told) > 1
        else (),
        notes=tuple(note for one in found for note in one.notes),
        data={"keys": [_json(one, now) for one in found]},
        exit=exit_code(found),
    )


def _headline(count: int, bad: int) -> str:
    asked = f"{count} key{'' if count == 1 else 's'} asked"
    return f"{asked}, {bad} of them with findings" if bad else f"{asked}, nothing found"


def _findings(found: tuple[Checked, ...]) -> list[tuple[str, str]]:
    rows = []
    for one in found:
        for error in one.findings:
            place = f" ({error.where})" if error.where is not None else ""
            why = f": {error.why}" if error.why else ""
            rows.append((f"✗ {one.place.label}", f"{error.what}{why}{place}"))
            rows += [("", line) for line in error.details]
            rows += [("", f"fix: {error.fix}")] if error.fix else []
    return rows


def _row(one: Checked, facts: KeyFacts, now: float) -> tuple[str, ...]:
    protection, history, lies = facts.protection, facts.history, facts.lies
    where = lies.region or UNTOLD
    if lies.replicas:
        where += f", copies in {', '.join(lies.replicas)}"
    cells = (
        one.place.label,
        facts.state or UNTOLD,
        _KINDS.get(facts.algorithm or "", facts.algorithm or UNTOLD),
        {True: "HSM", False: "software", None: UNTOLD}[protection.hsm],
        history.origin or UNTOLD,
        UNTOLD if history.since is None else age(now - history.since),
        where,
    )
    return _columns(cells, _rotates(facts))


def _columns(cells: tuple[str, ...], rotates: str) -> tuple[str, ...]:
    return (*cells[:-1], rotates, cells[-1]) if VERBOSE.get() else cells


def _rotates(facts: KeyFacts) -> str:
    history = facts.history
    if history.rotates is None:
        return UNTOLD
    if not history.rotates:
        return "by hand"
    return "itself" if history.next is None else f"on {_day(history.next)}"


def _day(seconds: int) -> str:
    from sovgate.pipeline.look.key_service.check import day

    return day(seconds)


def _all(one: Checked, facts: KeyFacts, now: float) -> list[tuple[str, str]]:
    """Of one key there is room to say all."""
    protection, history, lies = facts.protection, facts.history, facts.lies
    words = {True: "yes", False: "no", None: UNTOLD}
    replicas = None if lies.replicas is None else ", ".join(lies.replicas) or "none"
    made = None if history.since is None else f"{_day(history.since)}, {age(now - history.since)}"
    kept = {True: "an HSM", False: "software", None: UNTOLD}[protection.hsm]
    matches = {True: "the pinned one", False: "another than the pinned one", None: "not compared"}
    rows: list[tuple[str, str | None]] = [
        ("service", facts.service),
        ("name", facts.name),
        ("state", facts.state),
        ("use", None if facts.uses is None else " and ".join(facts.uses) or "none of ours"),
        ("kind", facts.algorithm),
        ("kept in", f"{kept} ({protection.told})" if protection.told else kept),
        ("exportable", words[protection.exportable]),
        ("origin", history.origin),
        ("created", None if history.created is None else _day(history.created)),
        ("version", history.version),
        ("version made", f"{made} ago" if made is not None else None),
        ("rotates", _rotates(facts)),
        ("ends", _day(history.ends) if history.ends is not None else None),
        ("lies in", f"{lies.region} ({_grade(lies.grade)})" if lies.region else None),
        ("copies", replicas),
        ("public half", _public(facts, matches[one.matches])),
    ]
    return [(label, value if value is not None else UNTOLD) for label, value in rows]


def _public(facts: KeyFacts, compared: str) -> str | None:
    return None if facts.public is None else f"{facts.public.key_id}, {compared}"


def _grade(grade: int) -> str:
    return next(name for name, number in GRADE.items() if number == grade)


def _json(one: Checked, now: float) -> dict[str, object]:
    from sovgate.pipeline.look.key_service.check import placed

    return {
        "key": one.place.label,
        "uri": one.place.text,
        "zone": one.place.zone,
        "asked": _time(int(now)),
        "facts": None if one.facts is None else _told(one.facts),
        "public-half-pinned": one.matches,
        "findings": [placed(one, error) for error in one.findings],
        "notes": list(one.notes),
    }


def _told(facts: KeyFacts) -> dict[str, object]:
    protection, history, lies = facts.protection, facts.history, facts.lies
    return {
        "service": facts.service,
        "name": facts.name,
        "state": facts.state,
        "uses": None if facts.uses is None else list(facts.uses),
        "algorithm": facts.algorithm,
        "hsm": protection.hsm,
        "protection": protection.told,
        "exportable": protection.exportable,
        "origin": history.origin,
        "created": _time(history.created),
        "version": history.version,
        "version-created": _time(history.since),
        "rotates": history.rotates,
        "next-rotation": _time(history.next),
        "ends": _time(history.ends),
        "region": lies.region,
        "region-grade": _grade(lies.grade),
        "replicas": None if lies.replicas is None else list(lies.replicas),
        "key-id": None if facts.public is None else facts.public.key_id,
    }


def _time(seconds: int | None) -> str | None:
    """RFC 3339; None for what was not told, and for a time that no calendar has."""
    try:
        return None if seconds is None else strict.format_time(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None
