"""rollback: back to what a zone was promoted to before, by signed records alone (RULES 26, 27).

Follows the rules of `sovgate.stages.promote`, part "Rollback".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import (
    GitError,
    KeyServiceError,
    NotFound,
    PolicyDenied,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats.promotion import REASON, Promotion
from sovgate.pipeline.decide.admission import refuse_text
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import require_own
from sovgate.pipeline.project import Project, open_project
from sovgate.pipeline.rollout.agreement import plan
from sovgate.pipeline.rollout.promotion_decision import check_decision
from sovgate.pipeline.rollout.results import Committed, RolledBack, RolledRelease
from sovgate.pipeline.rollout.settle import settle
from sovgate.pipeline.rollout.target import Candidate
from sovgate.pipeline.rollout.zone import Rollout
from sovgate.records import DEFAULTS, Options, Release
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.pipeline.decide.judge import Judged


def rollback(
    *,
    zone: str | None,
    reason: str,
    to_release: Release | None = None,
    options: Options = DEFAULTS,
) -> RolledBack:
    """Commit the last release of `zone` that it can go back to; or `to_release`, if it is one.

    Raises PolicyDenied "no-way-back" (or what stands against the one candidate there is),
    VerificationFailed (records that were tampered with: "promotion-…"), and as `promote` does.
    After a crash at any step run it again, with the same reason: it goes back once.
    """
    reason = _reason(reason)
    opened = open_project(options.project)
    _require_own(opened, to_release)
    work = Rollout(opened, zone, reason=reason)
    require_zone_key(opened, work.trusted, work.zone, ("promotion", *LOGGED))
    with rollouts.opened(work.target, work.others) as checkout:
        with work.timer.step("look at the overlay"):
            state = checkout.read_overlay()
        with work.timer.step("read the records"):
            settled = settle(work, checkout, state, work.read_records(), dry_run=options.dry_run)
            ledger = settled.ledger
            current = _current(work, ledger, state)
        again = ledger.rolled_back_to(reason, to_release and replace(to_release, pin=None))
        if again is not None and state.says == again.pinned:
            _require_whole(checkout, again, state)
            return _already(work, ledger, again, state, options.dry_run)
        with work.timer.step("find the way back"):
            chosen = _choose(work, ledger, current, to_release, options.dry_run)
            planned = plan(chosen.candidate, checkout, state)
        if options.dry_run:
            here = chosen.candidate.place(state, planned)
            done, already = chosen.candidate.foresee(checkout, here, planned)
        else:
            done, already = chosen.candidate.run(checkout, state, planned, chosen.judged)
        return RolledBack(
            subject=chosen.candidate.subject,
            place=work.place(state),
            committed=replace(done, beside=planned.beside),
            permits=chosen.judged.permits,
            already=already and done.branch != state.branch,
            dry_run=options.dry_run,
            diff=planned.diff,
            steps=tuple(work.timer.steps),
            settled=tuple(promotion.release for promotion in settled.added),
            left=current.release,
            reason=reason,
            skipped=chosen.skipped,
            unchecked=planned.unchecked,
        )


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The release to go back to, what policy says of it today, and what was skipped, and why."""

    candidate: Candidate
    judged: Judged
    skipped: tuple[tuple[Release, str], ...]


@dataclass(frozen=True, kw_only=True)
class _Current:
    """What the zone has now, by its records, or by the overlay where that is ahead of them."""

    release: Release
    sequence: int


def _reason(text: str) -> str:
    text = text.strip()
    if not REASON.fullmatch(text) or not text.isprintable():
        raise UsageError(
            "the reason is not one line of at most 1024 characters",
            fix='write the reason in one line, for example --reason "P95 at 240 ms since 14:05"',
            reason="bad-reason",
        )
    refuse_text("the reason", text, kept="a signed record and in the history of the repository")
    return text


def _require_own(opened: Project, release: Release | None) -> None:
    if release is not None:
        require_own(opened, release, option="--to-release")


def _current(work: Rollout, ledger: rollouts.Ledger, state: rollouts.OverlayState) -> _Current:
    last = ledger.last
    if last is None:
        raise PolicyDenied(
            f"zone {work.zone} has never had a promotion",
            why=f"there is no promotion record of {work.opened.config.model} in {work.store.uri}",
            fix=f"sovgate promote NAME/VERSION --zone {work.zone}",
            reason="no-way-back",
        )
    claimed = work.claimed(state)
    if claimed is not None and claimed.transfer.sequence > last.sequence:
        return _Current(release=claimed.transfer.release, sequence=claimed.transfer.sequence)
    return _Current(release=last.release, sequence=last.sequence)


def _choose(
    work: Rollout,
    ledger: rollouts.Ledger,
    current: _Current,
    asked: Release | None,
    dry_run: bool,
) -> _Chosen:
    """The first candidate that still stands, with what policy says of it today.

    Raises what stands against the only one, or PolicyDenied "no-way-back" with all reasons.
    """
    refused: list[tuple[Release, SovgateError]] = []
    for promotion, left in ledger.candidates(current.sequence):
        if asked is not None and promotion.release != replace(asked, pin=None):
            continue
        try:
            if left is not None and asked is None:
                _refuse_left(promotion, left)
            candidate = _received(work, ledger, promotion, asked)
            judged = _reconsider(candidate, promotion, dry_run)
        except (VerificationFailed, PolicyDenied, NotFound, KeyServiceError) as error:
            if isinstance(error, KeyServiceError) and error.reason != "wrong-key":
                raise
            refused.append((promotion.release, error))
            continue
        skipped = tuple((release, _message(error)) for release, error in refused)
        return _Chosen(candidate=candidate, judged=judged, skipped=skipped)
    raise _no_candidate(work, ledger, current, asked, refused)


def _refuse_left(promotion: Promotion, left: Promotion) -> None:
    raise PolicyDenied(
        f"zone {promotion.zone} was rolled back from {promotion.release}",
        why=f"on {left.created:%Y-%m-%d}: {left.reason}",
        fix=f"--to-release {promotion.release} goes back to it anyway",
        reason="was-left",
    )


def _received(
    work: Rollout, ledger: rollouts.Ledger, promotion: Promotion, asked: Release | None
) -> Candidate:
    pin = promotion.manifest if asked is None else asked.pin or promotion.manifest
    received = work.read(replace(promotion.release, pin=pin))
    return Candidate(rollout=work, received=received, ledger=ledger)


def _reconsider(candidate: Candidate, promotion: Promotion, dry_run: bool) -> Judged:
    """Does it verify today as it did then, and is it allowed today?"""
    work, record = candidate.rollout, candidate.received.record.sha256
    if record != promotion.record:
        raise VerificationFailed(
            f"{promotion.release} was promoted with another release record",
            why=f"then sha256:{promotion.record}, now sha256:{record}",
            fix="find out who replaced the release record in the store",
            reason="record-changed",
        )
    proposed = candidate.ledger.proposal_of(promotion)
    check_decision(work.store, promotion, work.trusted, proposed=proposed)
    judged = candidate.decide()
    try:
        judged.require()
    except PolicyDenied:
        if not dry_run:
            candidate.write_denial(judged)
        raise
    return judged


def _message(error: SovgateError) -> str:
    return ": ".join(part for part in (error.what, error.why) if part)


def _no_candidate(
    work: Rollout,
    ledger: rollouts.Ledger,
    current: _Current,
    asked: Release | None,
    refused: list[tuple[Release, SovgateError]],
) -> SovgateError:
    if len(refused) == 1:
        release, error = refused[0]
        error.details = (f"so zone {work.zone} cannot go back to {release}", *error.details)
        error.fix = error.fix or "find out why; push and promote a newer release"
        error.data = {**error.data, "candidates": _candidates(refused)}
        return error
    to = f" to {replace(asked, pin=None)}" if asked else ""
    why = f"it has {current.release}; none of what it had before is possible"
    fix = "see the reasons below; push and promote a newer release"
    if not refused:
        why = f"it has {current.release}, and was promoted to nothing older"
        fix = "push and promote a newer release"
        if asked is not None:
            why, fix = _why_not(work.zone, ledger, current, replace(asked, pin=None))
    return PolicyDenied(
        f"zone {work.zone} cannot be rolled back{to}",
        why=why,
        fix=fix,
        reason="no-way-back",
        details=tuple(f"{release}: {_message(error)}" for release, error in refused),
        data={"candidates": _candidates(refused)},
    )


def _why_not(
    zone: str, ledger: rollouts.Ledger, current: _Current, asked: Release
) -> tuple[str, str]:
    if asked == current.release:
        return "it is what the zone has now", "name an older one"
    if any(p.release == asked for p in ledger.promotions):
        return (
            f"it is newer than {current.release}, which the zone has now",
            f"sovgate promote {asked} --zone {zone}",
        )
    had = ", ".join(dict.fromkeys(str(p.release) for p in ledger.promotions[-20:]))
    return f"the zone was never promoted to it, only to {had}", "name one of those"


def _candidates(refused: list[tuple[Release, SovgateError]]) -> list[dict[str, object]]:
    return [
        {"release": str(r), "reason": e.reason, "why": _message(e), "exit": int(e.exit_code)}
        for r, e in refused
    ]


def _require_whole(
    checkout: rollouts.Checkout, again: Promotion, state: rollouts.OverlayState
) -> None:
    """What the overlay names is not what it runs, where somebody edited the rest of that file."""
    edited = again.release_file is not None and not state.is_as_written(again.release_file)
    if edited or not state.pins(again.pinned, again.manifest, again.record, again.zone):
        raise GitError(
            f"the branch {state.branch} pins {again.release}, but not as it was rolled back to",
            why="somebody edited the overlay since",
            fix=f"put it back as it was: {checkout.restoring(again.commit)}; then commit, push, "
            "and run this again",
            reason="branch-differs",
        )


def _already(
    work: Rollout,
    ledger: rollouts.Ledger,
    again: Promotion,
    state: rollouts.OverlayState,
    dry_run: bool,
) -> RolledBack:
    """The result of this very rollback, by its record."""
    return RolledBack(
        subject=RolledRelease(
            release=again.release,
            manifest=again.manifest,
            record=again.record,
            sequence=again.sequence,
            receipt=again.receipt,
        ),
        place=replace(work.place(state), repo=again.repo, path=again.path),
        committed=Committed(
            branch=again.branch,
            commit=again.commit,
            promotion=ledger.digests[-1],
            decision=again.decision,
        ),
        permits=(),
        already=True,
        dry_run=dry_run,
        diff="",
        steps=tuple(work.timer.steps),
        left=None,
        reason=str(again.reason),
        skipped=(),
    )
