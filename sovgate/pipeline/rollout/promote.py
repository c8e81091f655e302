"""promote: follows the rules of `sovgate.stages.promote` from the record to the commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sovgate.pipeline.places import evidence_at
from sovgate.pipeline.project import open_project
from sovgate.pipeline.rollout.results import Committed, Promoted
from sovgate.pipeline.rollout.target import Candidate, Rollout
from sovgate.records import DEFAULTS, Options, Release
from sovgate.stages import promote as rollouts


def promote(
    release: Release,
    *,
    zone: str | None,
    model: Path | None = None,
    options: Options = DEFAULTS,
) -> Promoted:
    """Commit a release that this zone received to the repository that drives its rollout.

    Evidence beside `model` counts too, and what the decision rests on is kept in the store.

    Raises ConfigError, NotFound, VerificationFailed ("no-receipt" and what does not verify),
    PolicyDenied, ResidencyMismatch, Inconclusive, KeyServiceError, StoreError, EngineError,
    GitError, DiskError. After a crash at any step run it again: the branch has the old state or
    the new one, and it finishes.
    """
    opened = open_project(options.project)
    work = Rollout(opened, zone)
    with work.timer.step("check the record"):
        received = work.read(release, evidence_at(model, options, opened))
    with rollouts.opened(work.target) as checkout:
        with work.timer.step("look at the overlay"):
            state = checkout.read_overlay()
            found = Candidate(rollout=work, received=received, ledger=work.read_ledger())
            found.require_forward(state)
            plan = checkout.plan(found.pin)
        here = Committed(branch=state.branch)
        if plan.unchanged:
            here = _there(found, state)
            if found.recorded(state.branch):
                return _promoted(found, release, here, state=state, dry_run=options.dry_run)
        with work.timer.step("decide"):
            judged = found.decide()
        if options.dry_run:
            judged.first.require()
            done, already = here, plan.unchanged
        else:
            done, already = found.run(checkout, state, judged)
        return replace(
            _promoted(found, release, done, state=state, dry_run=options.dry_run),
            permits=judged.permits,
            already=already,
            diff="" if already and not options.dry_run else plan.diff,
            unchecked=plan.unchecked,
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
    dry_run: bool,
) -> Promoted:
    """The result of a release that was promoted before."""
    last = found.ledger.last
    return Promoted(
        subject=found.subject,
        place=found.rollout.place(state),
        committed=committed,
        permits=(),
        already=True,
        dry_run=dry_run,
        diff="",
        steps=tuple(found.rollout.timer.steps),
        previous=last.release if last else None,
        pinned=release.pin is not None,
    )
