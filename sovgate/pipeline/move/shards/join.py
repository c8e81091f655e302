"""push --join n: makes one release of the parts that n machines left. It is a push whose chunks are
in the store.

Reads the parts, the signature and the evidence; no file of the model. Policy decides anew, about
what all machines found and all evidence; then key tables and the record go out (RULES 44).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import InternalError, PolicyDenied, ResidencyMismatch, UsageError
from sovgate.formats.plan import MAX_PARTS
from sovgate.pipeline.beside import read_records
from sovgate.pipeline.deadline import in_time
from sovgate.pipeline.move.movement import Timer, check_call
from sovgate.pipeline.move.push import carry_out
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.pushing.asked import Call, ask, require_pin
from sovgate.pipeline.move.pushing.refusals import Refusals
from sovgate.pipeline.move.results import Pushed
from sovgate.pipeline.move.shards import folder as parts
from sovgate.pipeline.move.shards.shard import require_told
from sovgate.pipeline.move.shards.share import refuse_reuse
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_at
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Options, Release

if TYPE_CHECKING:
    from sovgate.stages.attest import Folders
    from sovgate.stages.trust import Trusted


@dataclass(frozen=True, kw_only=True)
class Join:
    """The `count` parts in `folder`. `model` says where the signature and the evidence lie; its
    files are not read, and need not be here: then the evidence is named, and this is None."""

    model: Path | None
    count: int
    folder: Path


@in_time
def push_joined(
    join: Join,
    *,
    release: Release,
    zone: str,
    to: str,
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> Pushed:
    """Make one release of the parts of all its shards, which are in the store of zone `to`.

    Raises as `push` does; VerificationFailed where a part cannot be used, which names the shard.
    """
    if not 1 <= join.count <= MAX_PARTS:
        raise UsageError(
            f"{join.count} parts cannot be joined",
            why=f"a release has from 1 to {MAX_PARTS}",
            fix="name as many as there were shards: --join 4 after --shard 1/4 to 4/4",
            reason="bad-shard",
        )
    opened = open_project(options.project)
    call = Call(refusals=Refusals((to,)), timer=Timer(options.deadline), options=options)
    check_call(opened, release, zone, to)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("transfer", *LOGGED), within=zone == to)
    beside = _beside(join.model, options, opened)
    with call.timer.step("verify"):
        outgoing = _outgoing(beside, trusted, signature)
    require_pin(release, outgoing.manifest.digest)
    asked = ask(opened, release, zone, to, trusted, outgoing)
    refuse_reuse(asked)
    with call.timer.step("read the parts"):
        shared = parts.read_all(join.folder, parts.Expected.of_asked(asked, join.count), trusted)
        shared.require_evidence(outgoing.evidence)
    asked = replace(asked, outgoing=replace(outgoing, shared=shared))
    try:
        (done,) = carry_out({to: asked}, beside.folder, call)
    except (PolicyDenied, ResidencyMismatch) as error:
        # A push destroys its keys then. These are no longer ours to destroy: copies may be about.
        error.details = (
            *error.details,
            f"the parts in {str(join.folder)!r} stay: with them zone {to} can open what is in its "
            "store. If they are not to be joined, remove them, and every copy of them",
        )
        raise
    return done


def _beside(model: Path | None, options: Options, opened: Project) -> Folders:
    found = evidence_at(model, options, opened)
    if found is None:
        raise UsageError(
            "it is not said where the signature and the evidence of the model lie",
            fix="name the model, or its evidence with --evidence DIR",
            reason="missing-argument",
        )
    return found


def _outgoing(
    beside: Folders, trusted: tuple[Trusted, ...], signature: Path | None
) -> outgoings.Outgoing:
    """The signed list of files and the evidence. Raises VerificationFailed, UsageError."""
    from sovgate.stages.encrypt import require_no_git
    from sovgate.stages.verify import model_manifest, open_signature

    _, bundle = beside.read_signature(signature)
    require_told(bundle, trusted)
    manifest = model_manifest(bundle, trusted)
    if manifest is None:
        raise InternalError("a signature that tells sizes and SHA-256 gives no manifest")
    require_no_git(manifest)
    raw = read_records(beside, manifest.digest)
    documents, left_behind = outgoings.select(raw, trusted, manifest.digest)
    return outgoings.Outgoing(
        manifest=manifest,
        signature=bundle,
        signer=open_signature(bundle, trusted).signer,
        evidence=raw,
        documents=documents,
        left_behind=left_behind,
    )
