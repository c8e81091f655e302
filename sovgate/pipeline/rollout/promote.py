"""promote: follows the rules of `sovgate.stages.promote` from the record to the commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.pipeline.project import open_project
from sovgate.pipeline.rollout.target import Done, Rollout
from sovgate.records import DEFAULTS, Options, Release
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.pipeline.decide.judge import Judged


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """What a promotion did, or with `dry_run` would do.

    already     the overlay pinned this release before, and nothing was committed
    previous    what the zone was promoted to before; None the first time
    promotion   SHA-256 of the signed promotion record; None in a dry run
    audit_head  None where nothing was written to the log
    diff        what the commit changes; empty where `already`
    """

    release: Release
    manifest: str
    zone: str
    record: str
    sequence: int
    receipt: str
    repo: str
    path: str
    branch: str
    onto: str
    via: str
    commit: str | None
    previous: Release | None
    promotion: str | None
    decision: str | None
    permits: tuple[str, ...]
    pinned: bool
    already: bool
    dry_run: bool
    diff: str
    attempts: int
    audit_head: str | None
    steps: tuple[tuple[str, float], ...]
    seconds: float


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
    work = Rollout(open_project(options.project), zone)
    with work.timer.step("check the record"):
        work.read(release, model)
    with rollouts.opened(work.target) as checkout:
        with work.timer.step("look at the overlay"):
            state = checkout.read_overlay()
            work.require_forward(state)
            plan = checkout.plan(work.pin)
        if plan.unchanged and work.recorded(state.branch):
            return _result(work, release, state=state, already=True, dry_run=options.dry_run)
        with work.timer.step("decide"):
            judged = work.decide()
        if options.dry_run:
            judged.first.require()
            return _result(
                work,
                release,
                state=state,
                already=plan.unchanged,
                dry_run=True,
                diff=plan.diff,
                judged=judged,
            )
        done = work.run(checkout, state, judged)
        return _result(
            work,
            release,
            state=state,
            already=done.pushed.already,
            dry_run=False,
            diff="" if done.pushed.already else plan.diff,
            judged=judged,
            done=done,
        )


def _result(
    work: Rollout,
    release: Release,
    *,
    state: rollouts.OverlayState,
    already: bool,
    dry_run: bool,
    diff: str = "",
    judged: Judged | None = None,
    done: Done | None = None,
) -> Promoted:
    last = work.ledger.last
    commit = state.tip if already else None
    promotion = work.ledger.digests[-1] if already and last else None
    return Promoted(
        release=work.release,
        manifest=work.manifest,
        zone=work.zone,
        record=work.received.record.sha256,
        sequence=work.received.record.transfer.sequence,
        receipt=work.received.receipt,
        repo=work.target.remote.url,
        path=work.target.path or ".",
        branch=done.pushed.branch if done else state.branch,
        onto=state.branch,
        via=work.target.via,
        commit=done.pushed.commit if done else commit,
        previous=last.release if last else None,
        promotion=done.promotion if done else promotion,
        decision=done.decision if done else None,
        permits=tuple(p.where or p.id for p in judged.first.permits) if judged else (),
        pinned=release.pin is not None,
        already=already,
        dry_run=dry_run,
        diff=diff,
        attempts=done.pushed.attempts if done else 0,
        audit_head=done.audit_head if done else None,
        steps=tuple(work.timer.steps),
        seconds=work.timer.seconds,
    )
