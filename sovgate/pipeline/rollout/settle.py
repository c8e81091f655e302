"""What became of proposals, and of runs that died, by the branch that drives the zone (RULES 41).

What the branch says is written down before anything else is decided; where it says what nobody
signed, a person decides. Reads Git, the store and the audit log; writes promotion records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import INTERRUPTED, TERMINATED, ExitCode, GitError
from sovgate.formats.auditentry import About, Entry
from sovgate.formats.promotion import RELEASE_FILE, Kind, Previous, Promotion
from sovgate.git.repo import printable
from sovgate.pipeline.look.entries import read_entries
from sovgate.pipeline.move.movement import announced, note
from sovgate.stages import audit
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.pipeline.rollout.target import Candidate
    from sovgate.pipeline.rollout.zone import Rollout
    from sovgate.stages.transfer import Record

_ZEROS = "0" * 64
#: Exit codes of runs that ended no matter where; all others say that nothing was pushed.
_ANYWHERE = (int(ExitCode.INTERNAL), int(ExitCode.DISK), INTERRUPTED, TERMINATED)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The records as the branch bears them out, and those that this run added, in their order."""

    ledger: rollouts.Ledger
    added: tuple[Promotion, ...]


def settle(
    work: Rollout,
    checkout: rollouts.Checkout,
    state: rollouts.OverlayState,
    ledger: rollouts.Ledger,
    *,
    again: bool = False,
    dry_run: bool = False,
) -> Settled:
    """Record each proposal that was merged, and the run that died after its push.

    A dry run counts them and writes nothing. `again`: where the history is too long to be looked
    through, what the branch says now is enough.

    Raises GitError ("history-too-long"), StoreError, KeyServiceError, VerificationFailed.
    """
    last = ledger.last
    if last is not None and last.commit == state.tip:
        return Settled(ledger=ledger, added=())
    added: list[Promotion] = []
    for there in _past(work, checkout, state, ledger, again):
        wanted = _merged(work, ledger, there)
        if wanted is None and there.release_file == state.release_file:
            wanted = _died(work, ledger, there)
        if wanted is None or _says(ledger, wanted):
            continue
        ledger = _count(ledger, wanted) if dry_run else _record(work, ledger, wanted)
        added.append(wanted)
    return Settled(ledger=ledger, added=tuple(added))


def _past(
    work: Rollout,
    checkout: rollouts.Checkout,
    state: rollouts.OverlayState,
    ledger: rollouts.Ledger,
    again: bool,
) -> tuple[rollouts.OverlayState, ...]:
    """What the overlay said since the last record, as far as proposals wait; else what it says."""
    waiting = [proposal for proposal in ledger.waiting if work.is_here(proposal)]
    if not waiting:
        return (state,)
    last = ledger.last
    try:
        return checkout.read_past(
            state,
            since=last.commit if last is not None else None,
            after=min(proposal.created for proposal in waiting),
        )
    except GitError as error:
        if not again or error.reason != "history-too-long":
            raise
        return (state,)


def _merged(
    work: Rollout, ledger: rollouts.Ledger, there: rollouts.OverlayState
) -> Promotion | None:
    """The promotion that a merged proposal became: merged as it was, byte for byte."""
    for proposal in reversed(ledger.waiting):
        if work.is_here(proposal) and _is_of(there, proposal):
            made = _become(ledger, proposal, there)
            return made and replace(made, repo=work.target.remote.url)
    return None


def _died(work: Rollout, ledger: rollouts.Ledger, there: rollouts.OverlayState) -> Promotion | None:
    """The promotion of a run that pushed this, and died before its record.

    The log has its intent, which names all that it rested on and the file that it was to push, and
    no end of that run.
    """
    last = ledger.last
    record = work.claimed(there)
    if record is None or (last is not None and last.record == record.sha256):
        return None
    known = {p.audit_head for p in (*ledger.promotions, *ledger.proposals)}
    for sha256, entry in _intents(work, record, ended=False):
        if sha256 in known or (last is not None and entry.time < last.created):
            continue
        refs = {ref.role: ref.sha256 for ref in entry.refs}
        if not {"decision", "receipt", RELEASE_FILE} <= set(refs):
            continue
        made = Promotion(
            number=1,
            kind="promote",
            reason=None,
            release=record.transfer.release,
            sequence=record.transfer.sequence,
            record=record.sha256,
            manifest=record.transfer.manifest.sha256,
            zone=work.zone,
            repo=work.target.remote.url,
            path=work.target.path or ".",
            branch=there.branch,
            commit=there.tip,
            previous=None,
            decision=refs["decision"],
            receipt=refs["receipt"],
            audit_head=sha256,
            created=entry.time.replace(microsecond=0),
            release_file=refs[RELEASE_FILE],
        )
        if _is_of(there, made) and made.sequence >= ledger.floor:
            return made
    return None


def _intents(work: Rollout, record: Record, *, ended: bool) -> tuple[tuple[str, Entry], ...]:
    """Digest and entry of each promotion of that release record that this zone's log says began.

    Without `ended`, of those alone of which it says no end, or that ended anywhere: by a signal, a
    defect or a full disk.
    """
    begun: dict[str, tuple[str, Entry]] = {}
    for found in read_entries(work.opened.audit_store(work.zone), work.trusted):
        entry, said = found.entry, found.said
        if entry is None or said is None or said.speaking_for(work.zone) is None:
            continue
        if entry.kind != "intent":
            if not ended and entry.exit not in _ANYWHERE:
                begun.pop(entry.run, None)
        elif (entry.about.action, entry.about.destination) == ("promote", work.zone) and any(
            (ref.role, ref.sha256) == ("transfer", record.sha256) for ref in entry.refs
        ):
            begun[entry.run] = (found.sha256, entry)
    return tuple(begun.values())


def _pins(there: rollouts.OverlayState, promotion: Promotion) -> bool:
    return there.pins(promotion.pinned, promotion.manifest, promotion.record, promotion.zone)


def _is_of(there: rollouts.OverlayState, promotion: Promotion) -> bool:
    """Whether it pins that in the very file that sovgate wrote: what a person edited is theirs."""
    return _pins(there, promotion) and there.is_as_written(promotion.release_file)


def _says(ledger: rollouts.Ledger, wanted: Promotion) -> bool:
    """Whether the last record has this release already, however it came there.

    Back from what no record says, to the last one that does, is a way back all the same: else its
    reason would be lost, and asking once more would go back further.
    """
    last, before = ledger.last, wanted.previous
    if last is None or (last.release, last.record) != (wanted.release, wanted.record):
        return False
    if wanted.kind != "rollback" or before is None:
        return True
    return before.sha256 != ledger.digests[-1]


def _become(
    ledger: rollouts.Ledger, proposal: Promotion, there: rollouts.OverlayState
) -> Promotion | None:
    """A proposal as what it is, once merged: None where that would be a step back (RULES 27)."""
    kind: Kind = "promote"
    if proposal.sequence < ledger.floor or (
        proposal.reason is not None and proposal.sequence == ledger.floor
    ):
        had = {(p.release, p.record) for p in ledger.promotions}
        if proposal.reason is None or (proposal.release, proposal.record) not in had:
            return None
        kind = "rollback"
    return replace(
        proposal,
        kind=kind,
        reason=proposal.reason if kind == "rollback" else None,
        branch=there.branch,
        commit=there.tip,
        created=audit.utc_now().replace(microsecond=0),
    )


def _count(ledger: rollouts.Ledger, wanted: Promotion) -> rollouts.Ledger:
    """As `_record`, in memory alone."""
    last, previous = ledger.last, None
    if last is not None:
        previous = Previous(release=last.release, manifest=last.manifest, sha256=ledger.digests[-1])
    number = len(ledger.promotions) + 1
    return ledger.followed_by(replace(wanted, number=number, previous=previous), _ZEROS)


def _record(work: Rollout, ledger: rollouts.Ledger, wanted: Promotion) -> rollouts.Ledger:
    signer = work.opened.signer(work.zone)
    home = work.opened.audit_store(work.zone)
    run = audit.Log(home, signer, trusted=work.trusted).begin()
    about = About(
        action=wanted.kind,
        model=wanted.release.model,
        release=wanted.release,
        manifest=wanted.manifest,
        source=work.zone,
        destination=work.zone,
    )
    refs = (
        ("decision", wanted.decision),
        ("transfer", wanted.record),
        ("receipt", wanted.receipt),
    )
    with announced(run, about, refs):
        digest = rollouts.append(
            work.store, signer, work.trusted, wanted, known=len(ledger.promotions)
        )[1]
        note(run, "outcome", about, exit_code=0, refs=(*refs, ("promotion", digest)))
    return work.read_ledger()


# -- where the records and the branch differ


def plan(
    found: Candidate, checkout: rollouts.Checkout, state: rollouts.OverlayState
) -> rollouts.Plan:
    """As `checkout.plan`. A release file that somebody edited so that nothing may replace it has a
    way out: what the last promotion wrote lies in the branch's history.
    """
    try:
        return checkout.plan(found.pin)
    except GitError as error:
        if error.reason == "overlay-taken":
            error.fix = _put_back(found, checkout, state) or error.fix
        raise


def _put_back(
    found: Candidate, checkout: rollouts.Checkout, state: rollouts.OverlayState
) -> str | None:
    """How to; None where the file is as it was written, or pins what is not of this project."""
    work, last = found.rollout, found.ledger.last
    theirs = state.zone not in (None, work.zone) or (
        state.pinned is not None and not state.pinned.startswith(f"{work.opened.config.model}/")
    )
    if last is None or theirs or not work.is_here(last) or state.is_as_written(last.release_file):
        return None
    there = checkout.read_at(last.commit, state) if checkout.has(last.commit) else None
    if there is None or not there.is_as_written(last.release_file):
        return None
    then = "run this again"
    if work.reason is not None:
        then = f"that brings {last.release} back; run this again only to go back further"
    return (
        f"put back what the last promotion wrote, in a checkout of {state.branch}: "
        f"{checkout.restoring(last.commit)} && git commit -m 'Put back {last.release}' && "
        f"git push; {then}"
    )


def require_agreement(
    found: Candidate,
    checkout: rollouts.Checkout,
    state: rollouts.OverlayState,
    plan: rollouts.Plan,
) -> None:
    """What the branch says is what the last record says, or a person decides.

    Raises GitError "branch-differs".
    """
    work, ledger = found.rollout, found.ledger
    last, sequence = ledger.last, found.subject.sequence
    if plan.unchanged and sequence >= ledger.floor:
        return  # it is what was asked for, and forward
    if _agrees(work, last, checkout, state):
        if last is None or last.release != found.release or plan.unchanged or not state.says:
            return
        if state.is_as_written(last.release_file):
            return  # the project file or the base changed, nobody edited it
    elif sequence < _bar(work, ledger, state) and not plan.unchanged:
        return  # a step back, whatever the branch says
    raise _differs(found, last, state, plan)


def _bar(work: Rollout, ledger: rollouts.Ledger, state: rollouts.OverlayState) -> int:
    """The floor, or what the branch pins where a run of this zone meant it: a person may not."""
    claimed = work.claimed(state)
    if claimed is None or not _intents(work, claimed, ended=True):
        return ledger.floor
    return max(ledger.floor, claimed.transfer.sequence)


def _agrees(
    work: Rollout,
    last: Promotion | None,
    checkout: rollouts.Checkout,
    state: rollouts.OverlayState,
) -> bool:
    if state.says is None:
        # Nothing is pinned where nothing ever was: in an overlay or a repository that is new.
        here = (work.target.path or ".", work.target.branch)
        return last is None or (last.path, last.branch) != here or not checkout.has(last.commit)
    if not state.says.startswith(f"{work.opened.config.model}/"):
        return True  # of another model, which is no matter of these records
    return last is not None and _pins(state, last)


def _differs(
    found: Candidate,
    last: Promotion | None,
    state: rollouts.OverlayState,
    plan: rollouts.Plan,
) -> GitError:
    says = printable((state.says or "nothing").partition("@")[0], most=300)
    had = str(last.release) if last is not None else "nothing"
    edited = had == says or _was_proposed(found, state)
    what = f"the last promotion says {had}, the branch {state.branch} pins {says}"
    why = "somebody changed the overlay since, for example with git revert"
    if edited:
        how = "promoted" if had == says else "proposed"
        what = f"the branch {state.branch} pins {says}, but not as it was {how}"
        why = "somebody edited the overlay, or the proposal before it was merged"
    elif last is None:
        what = f"the branch {state.branch} pins {says}, and no promotion record says so"
        why = "somebody wrote it by hand, or its records were removed"
    return GitError(
        what,
        why=why,
        fix=_ways(found, state, says, plan),
        reason="branch-differs",
        details=tuple(plan.diff.split("\n")[:40])
        if plan.diff and edited and says == str(found.release)
        else (),
    )


def _was_proposed(found: Candidate, state: rollouts.OverlayState) -> bool:
    """Whether what the branch pins waits as a proposal: then the merged file is another one."""
    files = {
        proposal.release_file
        for proposal in found.ledger.waiting
        if proposal.pinned == state.says and found.rollout.is_here(proposal)
    }
    return bool(files - {None}) and state.release_file not in files


def _ways(found: Candidate, state: rollouts.OverlayState, says: str, plan: rollouts.Plan) -> str:
    """What a person can do: one way goes on, the other keeps what the branch says."""
    zone, release, ledger = found.rollout.zone, found.release, found.ledger
    last, claimed = ledger.last, found.rollout.claimed(state)
    on = f"add --again, which promotes {release} all the same"
    if plan.unchanged:
        on = f"sovgate promote {last.release} --zone {zone} --again" if last else ""
    keep = f"go back to a release before: sovgate rollback --zone {zone} --reason TEXT"
    # As a rollback counts: what the branch says may be ahead of the records.
    now = max(last.sequence, claimed.transfer.sequence if claimed else 0) if last else 0
    if last and says in {str(p.release) for p, _ in ledger.candidates(last.sequence)}:
        keep = f"keep {says}: sovgate rollback --zone {zone} --to-release {says} --reason TEXT"
    elif claimed and claimed.transfer.sequence >= ledger.floor and says != str(release):
        keep = f"keep {says}: sovgate promote {says} --zone {zone}"
        keep += " --again, as it was proposed" if _was_proposed(found, state) else ""
    elif not ledger.candidates(now):
        keep = ""
    return "; or ".join(part for part in (on, keep) if part)
