"""`sovgate pull`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import (
    LocalPath,
    argument,
    declare,
    evidence_option,
    heads_option,
    option,
    output_options,
    project_option,
    zone_option,
)
from sovgate.cli._emit import Report, details
from sovgate.cli._progress import human_bytes, human_seconds, progress
from sovgate.cli._transport import transport_options
from sovgate.cli._within import within as limited
from sovgate.cli._within import within_option
from sovgate.cli.move.push import running_zone
from sovgate.errors import UsageError
from sovgate.records import STREAM, Options, Release


@declare(
    "pull",
    example="""
sovgate pull churn/1.4.0 --zone eu -o models/churn
sovgate pull churn/1.4.0@sha256:9f86…0a08 --zone eu -o models/churn
sovgate pull churn/1.4.0@sha256:9f86…0a08 --zone eu --file config.json -o -""",
    outputs={
        "release": "The release, pinned: NAME/VERSION@sha256:…",
        "manifest": "Manifest digest of the model, sha256:…",
        "model": "Path of the decrypted model, or of the one file.",
        "record": "SHA-256 of the release record in the store.",
        "receipt": "SHA-256 of the receipt; with --file, empty where there is none.",
        "audit-head": "Head of this run in the audit log. Note it.",
    },
)
@argument(
    "release", metavar="NAME/VERSION[@sha256:…]", help="The release, best with its pin (@sha256:…)."
)
@zone_option()
@option(
    "-o",
    "--output",
    type=LocalPath(stream=True),
    required=True,
    metavar="MODEL",
    help="Where to write the model. Its evidence is written beside it. With --file: where to write "
    "that file; - is standard output.",
)
@option(
    "--file",
    "file",
    metavar="NAME",
    help="Only this file of the model, by its name there. Writes no evidence and no receipt.",
)
@option(
    "--range",
    "range_",
    metavar="START-END",
    help="Only these bytes of that file, counted from 0: 0-1023 is the first KiB, 1024- the rest.",
)
@evidence_option
@within_option
@heads_option
@transport_options
@project_option
@output_options
def command(
    release: str,
    zone: str | None,
    output: Path,
    file: str | None,
    range_: str | None,
    evidence: Path | None,
    within: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Fetch a release, verify it, decide, decrypt it, and sign a receipt."""
    from sovgate.pipeline.move.pull import pull

    if file is not None:
        from sovgate.cli.move._one_file import pull_one

        place = (running_zone(zone), output)
        with limited(within, "pull") as deadline:
            options = Options(project=project, deadline=deadline)
            return pull_one(Release.parse(release), (file, range_), place, options, format_)
    _refuse_whole(output, range_)

    with limited(within, "pull") as deadline, progress("pulling", zone) as bar:
        done = pull(
            Release.parse(release),
            zone=running_zone(zone),
            output=output,
            options=Options(project=project, evidence=evidence, progress=bar, deadline=deadline),
        )
    pinned = done.moved.pinned
    source = done.moved.source
    files = done.size.files
    size = f"{files} file{'' if files == 1 else 's'}, {human_bytes(done.size.bytes)}"
    notes = []
    if not done.pinned:
        notes.append(f"this was not pinned, so the store chose the bytes; next time: {pinned}")
    notes += [f"the store has a newer release: {newer}" for newer in done.newer[:3]]
    if done.already:
        notes.append("the model was there and verifies; only what was missing was written")
    return Report(
        command="pull",
        headline=f"pulled {done.moved.release}, {size}, verified and decrypted",
        rows=(
            ("release", pinned),
            (
                "from",
                f"zone {source.zone}, {source.provider_region}, {source.country}, "
                f"{done.moved.run_by}",
            ),
            *((f"{role} by", name) for role, name in done.signers),
            *(("decision", line) for line in done.decisions),
            ("model", str(done.output)),
            ("evidence", str(done.evidence)),
            ("receipt", done.proof.receipt),
            ("audit-head", done.proof.audit_head),
            *details(("took", ", ".join(f"{name} {human_seconds(s)}" for name, s in done.steps))),
        ),
        outputs={
            "release": pinned,
            "manifest": f"sha256:{done.moved.manifest}",
            "model": str(done.output),
            "record": done.proof.record,
            "receipt": done.proof.receipt,
            "audit-head": done.proof.audit_head,
        },
        data={
            "release": str(done.moved.release),
            "manifest": done.moved.manifest,
            "pinned": done.pinned,
            "record": done.proof.record,
            "sequence": done.proof.sequence,
            "newer": [str(newer) for newer in done.newer],
            "already": done.already,
            "from": vars(done.moved.source),
            "to": vars(done.moved.destination),
            "store": done.moved.store,
            "signers": dict(done.signers),
            "model": str(done.output),
            "evidence": str(done.evidence),
            "files": done.size.files,
            "bytes": done.size.bytes,
            "decisions": list(done.decisions),
            "receipt": done.proof.receipt,
            "audit-head": done.proof.audit_head,
            "steps": [{"step": name, "seconds": round(s, 6)} for name, s in done.steps],
        },
        notes=tuple(notes),
    )


def _refuse_whole(output: Path, range_: str | None) -> None:
    """What only one file can have. Raises UsageError."""
    if range_ is not None:
        raise UsageError(
            "--range is of one file, and none is named",
            fix="name the file with --file NAME",
            reason="no-file",
        )
    if output == STREAM:
        raise UsageError(
            "a whole model does not go to standard output",
            fix="name a folder with -o; or one file of the model with --file NAME",
            reason="no-file",
        )
