"""`sovgate push`."""

from __future__ import annotations

from pathlib import Path

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
from sovgate.cli._emit import Report
from sovgate.cli._progress import progress
from sovgate.cli._transport import transport_options
from sovgate.cli._within import within as limited
from sovgate.cli._within import within_option
from sovgate.cli.move._pushed import data_of, headline, lines, notes_of, rows_of
from sovgate.cli.move._shards import shard_options, shared_by, told
from sovgate.cli.move._unnamed import sweep_option, unnamed
from sovgate.errors import ConfigError, UsageError
from sovgate.pipeline.move.results import Sharded
from sovgate.records import Options, Release


@declare(
    "push",
    example="""
sovgate push build/churn --release churn/1.4.0 --zone home --to eu
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --dry-run
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --to ch
sovgate push build/sealed --release churn/1.4.0 --zone home --to eu
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --shard 1/4 --parts parts
sovgate push build/churn --release churn/1.4.0 --zone home --to eu --join 4 --parts parts""",
    outputs={
        "release": "The release, pinned: NAME/VERSION@sha256:…",
        "purl": "The release as a package URL: pkg:generic/NAME@VERSION.",
        "manifest": "Manifest digest of the model, sha256:…",
        "record": "SHA-256 of the release record in the store; empty on a dry run, and of a shard. "
        "Of several zones one a line, in their order.",
        "audit-head": "Head of this run in the audit log. Note it. Empty on a dry run. Of several "
        "zones one a line, in their order.",
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
@option(
    "--to",
    "to",
    multiple=True,
    required=True,
    metavar="ZONE",
    help="A zone to push to, with one read of the model for all. Repeat for each.",
)
@option(
    "--signature",
    type=LocalPath(),
    metavar="FILE",
    help="The model's signature (default: in MODEL.evidence/).",
)
@shard_options
@option("--dry-run", is_flag=True, help="Say what would cross, and write nothing.")
@sweep_option
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
    to: tuple[str, ...],
    signature: Path | None,
    shard: str | None,
    join: int | None,
    parts: Path | None,
    dry_run: bool,
    sweep: bool,
    evidence: Path | None,
    state: Path | None,
    verify_first: bool,
    follow_links: Path | None,
    within: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Ask policy, encrypt a release, and upload it to the stores of zones."""
    sharing = shared_by(source, shard, join, parts)
    if sweep and shard is not None:
        raise UsageError(
            "--sweep is for the push that writes the release",
            why="what a shard sends is named by no record until the parts are joined",
            fix="leave it out here, and say it with --join",
            reason="sweep-of-shard",
        )
    with limited(within, "push") as deadline, progress(sharing.words, *to) as bar:
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
    moved = done[0].moved
    left = unnamed(to, project) if sweep else ()
    listed = {"unnamed": [one.json() for one in left]} if sweep else {}
    return Report(
        command="push",
        headline=headline(done),
        rows=(*rows_of(done), *(row for one in left for row in one.rows)),
        outputs={
            "release": moved.pinned,
            "purl": moved.release.purl,
            "manifest": f"sha256:{moved.manifest}",
            "record": lines(one.written.record for one in done),
            "audit-head": lines(one.written.audit_head for one in done),
        },
        data={**data_of(done), **listed},
        notes=(*notes_of(done), *(one.note for one in left)),
    )


def running_zone(zone: str | None) -> str:
    """A border command that does not know where it runs stops."""
    if zone is None:
        raise ConfigError(
            "the zone in which this runs is not named",
            fix="name it with --zone, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    return zone
