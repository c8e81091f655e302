"""push: the rules of `sovgate.stages.transfer`, followed on the source's side up to the first byte.

Opens the project's keys and stores, asks policy. A chain of frozen values for each zone: outgoing,
asked, admitted, delivered, each made from the one before; `pushing/deliver.py` has the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.pipeline.deadline import in_time
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.admission import admit_unsigned
from sovgate.pipeline.drafted import drafts_beside
from sovgate.pipeline.move.movement import LOOK, Timer, check_call
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.pushing.asked import (
    Admitted,
    Asked,
    Call,
    ask,
    require_distinct,
    require_pin,
)
from sovgate.pipeline.move.pushing.deliver import deliver
from sovgate.pipeline.move.pushing.refusals import Refusals
from sovgate.pipeline.move.pushing.resuming import keeping
from sovgate.pipeline.move.pushing.reusing import NOTHING, Reuse, find, require_key
from sovgate.pipeline.move.pushing.told import planned
from sovgate.pipeline.move.results import Pushed
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Options, Release

if TYPE_CHECKING:
    from sovgate.pipeline.move.pushing.outgoing import Outgoing
    from sovgate.stages import transfer
    from sovgate.stages.attest import Folders
    from sovgate.stages.trust import Trusted


def push(
    source: Path,
    *,
    release: Release,
    zone: str,
    to: str,
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> Pushed:
    """`push_each` to one zone."""
    (done,) = push_each(
        source, release=release, zone=zone, to=(to,), signature=signature, options=options
    )
    return done


@reads_model
@in_time
def push_each(
    source: Path,
    *,
    release: Release,
    zone: str,
    to: Sequence[str],
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> tuple[Pushed, ...]:
    """Push a model, or what `encrypt --release` made of it, from `zone` to the store of each zone
    of `to`. Each byte of a model is read and hashed once, and encrypted for each zone.

    While one zone refuses nothing is sent to any. Records are written in the order of `to`: what a
    zone has it keeps, whatever comes later.

    Raises UsageError, ConfigError, VerificationFailed, ResidencyMismatch, PolicyDenied,
    KeyServiceError, StoreError, DiskError, EngineError. Run it again after any of them: a release
    that is there stays, and nothing half is visible.
    """
    call = Call(refusals=Refusals(to), timer=Timer(options.deadline), options=options)
    opened = open_project(options.project)
    for one in to:
        check_call(opened, release, zone, one)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("transfer", *LOGGED), within=zone in to)
    beside = evidence_of(source, options, opened)
    with call.timer.step("verify"):
        if any(outgoings.is_sealed(beside, one, signature) for one in to):
            copies = {
                one: partial(outgoings.from_copy, source, one, release, trusted, home=zone)
                for one in to
            }
            outgoing = call.refusals.ask(copies)
            outgoings.require_one_model(outgoing)
        else:
            admit_unsigned(beside, opened, signature)
            verifies = options.dry_run or verifies_first(opened, zone, to, options)
            model = outgoings.from_model(
                beside, trusted, signature=signature, encrypts=not verifies, options=options
            )
            outgoing = dict.fromkeys(to, model)
    for model in outgoing.values():
        require_pin(release, model.manifest.digest)
    questions = {
        one: partial(_ask, opened, release, zone, one, trusted, its)
        for one, its in outgoing.items()
    }
    asked = call.refusals.ask(questions)
    require_distinct(asked.values())
    asked = _looked_into(asked, beside, call)
    return carry_out(asked, beside.folder, call)


def carry_out(asked: Mapping[str, Asked], evidence: Path, call: Call) -> tuple[Pushed, ...]:
    """A push to each zone, from where it is known what is to go there. `evidence`: the model's own
    folder."""
    with keeping(asked, call.refusals, call.options) as kept:
        admitted = admit(asked, call)
        if call.options.dry_run:
            return _plan(admitted, call)
        return deliver(admitted, kept, evidence, call)


def _ask(
    opened: Project,
    release: Release,
    zone: str,
    to: str,
    trusted: tuple[Trusted, ...],
    outgoing: Outgoing,
) -> Asked:
    asked = ask(opened, release, zone, to, trusted, outgoing)
    require_key(asked)
    return asked


def verifies_first(opened: Project, zone: str, to: Sequence[str], options: Options) -> bool:
    """Whether not even bytes that turn out to be others than those signed may leave, encrypted.

    Of a copy that `encrypt` made each chunk is compared before it is sent in any case.
    """
    return options.verify_first or any(opened.zone(one).verify_first for one in (zone, *to))


def _looked_into(asked: dict[str, Asked], beside: Folders, call: Call) -> dict[str, Asked]:
    """The same once somebody looked into the model's files, for all zones."""
    first = next(iter(asked.values()))
    manifest, root = first.outgoing.manifest, first.outgoing.root
    if root is None:
        return asked
    with call.timer.step(LOOK):
        seen = contents.look_into(root, manifest, first.opened)
    drafts = drafts_beside(beside, manifest.digest, call.options)
    return {to: replace(one, seen=seen, drafts=drafts) for to, one in asked.items()}


def admit(asked: Mapping[str, Asked], call: Call) -> dict[str, Admitted]:
    """Where each store lies, that it is create-only, and what policy says. Before the first byte.

    A denial is in what is returned.
    """
    ask, dry_run = call.refusals.ask, call.options.dry_run
    with call.timer.step("ask where the store lies"):
        located = ask({to: partial(_located, one, dry_run) for to, one in asked.items()})
        first = next(iter(asked.values()))
        if not dry_run:
            home = first.opened.audit_store(first.zone.name)
            if home.uri not in {one.store.uri for one in asked.values()}:
                home.probe()
    with call.timer.step("decide"):
        judged = ask(
            {to: partial(asked[to].judge, there, sign=not dry_run) for to, there in located.items()}
        )
    return {
        to: Admitted(asked=asked[to], located=located[to], judged=one) for to, one in judged.items()
    }


def _located(asked: Asked, dry_run: bool) -> transfer.Located:
    from sovgate.stages import transfer

    located = asked.locate()
    transfer.require_room(asked.store, asked.release, asked.outgoing.manifest)
    if not dry_run:
        asked.store.probe()
    return located


def _plan(admitted: Mapping[str, Admitted], call: Call) -> tuple[Pushed, ...]:
    """What a push would do. Reads only."""
    refusals, timer = call.refusals, call.timer
    refusals.ask({to: one.require for to, one in admitted.items()})
    refusals.require_none()
    with timer.step("look at the store"):
        state = call.options.state
        found = refusals.ask({to: partial(_found, one, state) for to, one in admitted.items()})
    refusals.require_none()
    return tuple(planned(one, *found[to], timer) for to, one in admitted.items())


def _found(admitted: Admitted, state: Path | None) -> tuple[transfer.Record | None, Reuse]:
    """The release, where it is there already; else what of earlier ones would be used again."""
    there = admitted.existing(read=False)
    return there, NOTHING if there else find(admitted.asked, state, dry_run=True).found
