"""What became of proposals, and of runs that died, by the branch that drives the zone (RULES 41).

What the branch says is written down before anything else is decided. Reads Git, the store and the
audit log; writes promotion records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import INTERRUPTED, TERMINATED, ExitCode, GitError
from sovgate.formats.auditentry import About, Entry
from sovgate.formats.promotion import RELEASE_FILE, Kind, Previous, Promotion
from sovgate.pipeline.look.entries import read_entries
from sovgate.pipeline.move.movement import announced, note
from sovgate.stages import audit
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
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
        wanted = _merged(work, checkout, ledger, there)
        if wanted is None and there.release_file == state.release_file:
            wanted = _died(work, checkout, ledger, there)
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
    work: Rollout,
    checkout: rollouts.Checkout,
    ledger: rollouts.Ledger,
    there: rollouts.OverlayState,
) -> Promotion | None:
    """The promotion that a merged proposal became: merged as it was, byte for byte."""
    for proposal in reversed(ledger.waiting):
        if work.is_here(proposal) and _is_of(work, checkout, there, proposal):
            made = _become(ledger, proposal, there)
            return made and replace(made, repo=work.target.remote.url)
    return None


def _died(
    work: Rollout,
    checkout: rollouts.Checkout,
    ledger: rollouts.Ledger,
    there: rollouts.OverlayState,
) -> Promotion | None:
    """The promotion of a run that pushed this, and died before its record.

    The log has its intent, which names all that it rested on and the file that it was to push, and
    no end of that run.
    """
    last = ledger.last
    record = work.claimed(there)
    if record is None or (last is not None and last.record == record.sha256):
        return None
    known = {p.audit_head for p in (*ledger.promotions, *ledger.proposals)}
    for sha256, entry in intents(work, record, ended=False):
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
        if made.sequence >= ledger.floor and _is_of(work, checkout, there, made):
            return made
    return None


def intents(work: Rollout, record: Record, *, ended: bool) -> tuple[tuple[str, Entry], ...]:
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


def pins(there: rollouts.OverlayState, promotion: Promotion) -> bool:
    return there.pins(promotion.pinned, promotion.manifest, promotion.record, promotion.zone)


def _is_of(
    work: Rollout,
    checkout: rollouts.Checkout,
    there: rollouts.OverlayState,
    promotion: Promotion,
) -> bool:
    """Whether it pins that in the very file that sovgate wrote: what a person edited is theirs.

    RULES 42: nor does it count where the rest of the overlay, edited with it, undoes what it says.
    """
    same = pins(there, promotion) and there.is_as_written(promotion.release_file)
    return same and checkout.builds(work.pin_of(promotion), there.tip)


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
