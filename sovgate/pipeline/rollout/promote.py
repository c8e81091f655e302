"""promote: follows the rules of `sovgate.stages.promote` from the record to the commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_at
from sovgate.pipeline.project import open_project
from sovgate.pipeline.rollout.agreement import plan, require_agreement
from sovgate.pipeline.rollout.results import Committed, Promoted
from sovgate.pipeline.rollout.settle import Settled, settle
from sovgate.pipeline.rollout.target import Candidate
from sovgate.pipeline.rollout.zone import Rollout
from sovgate.records import DEFAULTS, Options, Release
from sovgate.stages import promote as rollouts


def promote(
    release: Release,
    *,
    zone: str | None,
    model: Path | None = None,
    again: bool = False,
    options: Options = DEFAULTS,
) -> Promoted:
    """Commit a release that this zone received to the repository that drives its rollout.

    Evidence beside `model` counts too, and what the decision rests on is kept in the store.
    `again`: also where the branch says something else than the last promotion record.

    Raises ConfigError, NotFound, VerificationFailed ("no-receipt" and what does not verify),
    PolicyDenied, ResidencyMismatch, Inconclusive, KeyServiceError, StoreError, EngineError,
    GitError ("branch-differs"), DiskError. After a crash at any step run it again: the branch has
    the old state or the new one, and it finishes.
    """
    opened = open_project(options.project)
    work = Rollout(opened, zone)
    require_zone_key(opened, work.trusted, work.zone, ("promotion", *LOGGED))
    with work.timer.step("check the record"):
        received = work.read(release, evidence_at(model, options, opened))
    with rollouts.opened(work.target, work.others) as checkout:
        with work.timer.step("look at the overlay"):
            state = checkout.read_overlay()
        with work.timer.step("read the records"):
            settled = settle(
                work, checkout, state, work.read_records(), again=again, dry_run=options.dry_run
            )
            found = Candidate(rollout=work, received=received, ledger=settled.ledger)
            planned = plan(found, checkout, state)
            if not again:
                require_agreement(found, checkout, state, planned)
            found.require_forward(None if again else state)
        here = found.place(state, planned)
        if planned.unchanged:
            here = _there(found, state)
            if found.is_recorded(state):
                done_before = _promoted(
                    found, release, here, state=state, settled=settled, options=options
                )
                # The last record is of this very release: before it was what that record names.
                last = found.ledger.last
                earlier = last.previous.release if last and last.previous else None
                return replace(done_before, previous=earlier)
        with work.timer.step("decide"):
            judged = found.decide()
        if options.dry_run:
            judged.require()
            done, already = found.foresee(checkout, here, planned)
        else:
            done, already = found.run(checkout, state, planned, judged)
        return replace(
            _promoted(
                found,
                release,
                replace(done, beside=planned.beside),
                state=state,
                settled=settled,
                options=options,
            ),
            permits=(*judged.permits, *judged.set_aside),
            already=already,
            diff="" if already and not options.dry_run else planned.diff,
            unchecked=planned.unchecked,
        )


def _there(found: Candidate, state: rollouts.OverlayState) -> Committed:
    """What an earlier run committed and recorded."""
    ledger = found.ledger
    promotion = ledger.digests[-1] if ledger.last else None
    return Committed(branch=state.branch, commit=state.tip, promotion=promotion)


def _promoted(
    found: Candidate,
    release: Release,
    committed: Committed,
    *,
    state: rollouts.OverlayState,
    settled: Settled,
    options: Options,
) -> Promoted:
    """The result of a release that was promoted before."""
    last = found.ledger.last
    return Promoted(
        subject=found.subject,
        place=found.rollout.place(state),
        committed=committed,
        permits=(),
        already=True,
        dry_run=options.dry_run,
        diff="",
        steps=tuple(found.rollout.timer.steps),
        settled=tuple(promotion.release for promotion in settled.added),
        previous=last.release if last else None,
        pinned=release.pin is not None,
    )
