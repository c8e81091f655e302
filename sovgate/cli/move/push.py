"""`sovgate push`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.cli._base import (
    LocalPath,
    ModelPath,
    argument,
    declare,
    evidence_option,
    heads_option,
    links_option,
    option,
    output_options,
    project_option,
    state_option,
    verify_first_option,
    zone_option,
)
from sovgate.cli._emit import Report, details
from sovgate.cli._progress import human_bytes, human_seconds, progress
from sovgate.cli._transport import transport_options
from sovgate.cli._within import within as limited
from sovgate.cli._within import within_option
from sovgate.cli.move._shards import shard_options, shared_by, told
from sovgate.errors import ConfigError
from sovgate.pipeline.move.results import Sharded
from sovgate.records import Options, Release

if TYPE_CHECKING:
    from sovgate.pipeline.move.results import Written


@declare(
    "push",
    example="""
sovgate push build/churn --release churn/1.4.0 --zone home --to eu
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --dry-run
sovgate push build/sealed --release churn/1.4.0 --zone home --to eu
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --shard 1/4 --parts parts
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --join 4 --parts parts""",
    outputs={
        "release": "The release, pinned: NAME/VERSION@sha256:…",
        "purl": "The release as a package URL: pkg:generic/NAME@VERSION.",
        "manifest": "Manifest digest of the model, sha256:…",
        "record": "SHA-256 of the release record in the store; empty on a dry run, and of a shard.",
        "audit-head": "Head of this run in the audit log. Note it. Empty on a dry run.",
    },
    artifact=("purl", "manifest", "record"),
)
@argument(
    "source",
    type=ModelPath(),
    metavar="MODEL|DIR",
    required=False,
    help="The model, or a folder that encrypt --release wrote. With --join it says where the "
    "evidence lies, and can be left out beside --evidence.",
)
@option("--release", required=True, metavar="NAME/VERSION", help="The release's name.")
@zone_option()
@option("--to", "to", required=True, metavar="ZONE", help="The zone to push to.")
@option(
    "--signature",
    type=LocalPath(),
    metavar="FILE",
    help="The model's signature (default: in MODEL.evidence/).",
)
@shard_options
@option("--dry-run", is_flag=True, help="Say what would cross, and write nothing.")
@evidence_option
@state_option
@verify_first_option
@links_option
@within_option
@heads_option
@transport_options
@project_option
@output_options
def command(
    source: Path | None,
    release: str,
    zone: str | None,
    to: str,
    signature: Path | None,
    shard: str | None,
    join: int | None,
    parts: Path | None,
    dry_run: bool,
    evidence: Path | None,
    state: Path | None,
    verify_first: bool,
    follow_links: Path | None,
    within: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Ask policy, encrypt a release, and upload it to a zone's store."""
    sharing = shared_by(source, shard, join, parts)
    with limited(within, "push") as deadline, progress(sharing.words, to) as bar:
        done = sharing.push(
            release=Release.parse(release),
            zone=running_zone(zone),
            to=to,
            signature=signature,
            options=Options(
                project=project,
                evidence=evidence,
                state=state,
                verify_first=verify_first,
                follow_links=follow_links,
                dry_run=dry_run,
                progress=bar,
                deadline=deadline,
            ),
        )
    if isinstance(done, Sharded):
        return told(done)
    pinned = done.moved.pinned
    target, release_, crossing = done.moved.destination, done.moved.release, done.size
    rows = [
        ("release", pinned),
        (
            "to",
            f"zone {target.zone}, {target.provider_region}, {target.country}, {done.moved.run_by}",
        ),
        ("store", done.moved.store),
        *details(("for key", f"{done.recipient[0]} ({done.recipient[1]})")),
        (
            "crosses" if dry_run else "crossed",
            f"{_count(crossing.objects, 'object')}, {human_bytes(crossing.crossed)} of ciphertext "
            "and evidence"
            + (", and the key table, decisions and record" if dry_run and crossing.objects else ""),
        ),
        ("evidence", ", ".join(role for role, _ in done.evidence) or "none but the signature"),
        *(("decision", line) for line in done.decisions),
    ]
    if done.written.sequence is not None:
        rows += details(("number", str(done.written.sequence)))
    if done.written.audit_head is not None:
        rows.append(("audit-head", done.written.audit_head))
    if done.steps:
        rows += details(("took", ", ".join(f"{name} {human_seconds(s)}" for name, s in done.steps)))
    size = f"{_count(crossing.files, 'file')}, {human_bytes(crossing.bytes)}"
    if done.written.already:
        headline = f"{release_} is in zone {target.zone} already, the same and whole"
    elif dry_run:
        headline = f"would push {release_}, {size}, to zone {target.zone}; nothing was written"
    else:
        headline = f"pushed {release_}, {size}, to zone {target.zone}"
    rows += [("reused", told) for told in _reused(done.written)]
    notes = [f"left behind: {line}" for line in done.left_behind]
    if resumed := done.written.resumed:
        were = "was" if resumed == 1 else "were"
        notes.append(f"{_count(resumed, 'chunk')} {were} there already, and not sent again")
    if (later := done.written.later) and done.written.already:
        are = "is" if len(later) == 1 else "are"
        notes.append(
            f"{_count(len(later), 'newer statement')} here {are} not part of it "
            f"({', '.join(role for role, _ in later)}): push a new version, "
            "or add it where the release is promoted: sovgate promote --model"
        )
    if not dry_run:
        notes.append(f"there: sovgate pull {pinned} --zone {target.zone} -o DIR")
    return Report(
        command="push",
        headline=headline,
        rows=tuple(rows),
        outputs={
            "release": pinned,
            "purl": done.moved.release.purl,
            "manifest": f"sha256:{done.moved.manifest}",
            "record": done.written.record or "",
            "audit-head": done.written.audit_head or "",
        },
        data={
            "release": str(done.moved.release),
            "manifest": done.moved.manifest,
            "record": done.written.record,
            "sequence": done.written.sequence,
            "already": done.written.already,
            "dry-run": done.dry_run,
            "from": vars(done.moved.source),
            "to": vars(done.moved.destination),
            "store": done.moved.store,
            "recipient": {"key-id": done.recipient[0], "algorithm": done.recipient[1]},
            "files": crossing.files,
            "bytes": crossing.bytes,
            "objects": crossing.objects,
            "resumed": done.written.resumed,
            "reused": [vars(one) for one in done.written.reused],
            "packs": {"objects": done.written.packs[0], "bytes": done.written.packs[1]},
            "crossed": crossing.crossed,
            "evidence": [{"role": role, "sha256": sha256} for role, sha256 in done.evidence],
            "left-behind": list(done.left_behind),
            "later": [{"role": role, "sha256": sha256} for role, sha256 in done.written.later],
            "decisions": list(done.decisions),
            "audit-head": done.written.audit_head,
            "steps": [{"step": name, "seconds": round(s, 6)} for name, s in done.steps],
        },
        notes=tuple(notes),
    )


def _reused(written: Written) -> Iterator[str]:
    """By release; and what of the rest is packs: a small file that changes makes its pack new."""
    for one in written.reused:
        yield f"{_count(one.chunks, 'chunk')} ({human_bytes(one.bytes)}) of release {one.release}"
    objects, size = written.packs
    if written.reused and objects:
        yield f"not {_count(objects, 'pack')} of small files ({human_bytes(size)})"


def running_zone(zone: str | None) -> str:
    """A border command that does not know where it runs stops."""
    if zone is None:
        raise ConfigError(
            "the zone in which this runs is not named",
            fix="name it with --zone, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    return zone


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
