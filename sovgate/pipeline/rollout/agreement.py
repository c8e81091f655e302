"""Where the records and the branch differ: then a person decides, and hears which ways there are.

Reads Git, the store and the audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.errors import GitError
from sovgate.formats.kustomize import RELEASE_FILE
from sovgate.git.repo import printable
from sovgate.pipeline.rollout.settle import intents, pins
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.formats.promotion import Promotion
    from sovgate.pipeline.rollout.target import Candidate
    from sovgate.pipeline.rollout.zone import Rollout


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
        f"put back what the last promotion wrote, in a fresh checkout of {state.branch}: "
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
    if claimed is None or not intents(work, claimed, ended=True):
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
    return last is not None and pins(state, last)


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
    foreign = last is None and found.rollout.claimed(state) is None
    if foreign:
        why = (
            f"the store of zone {found.rollout.zone} has no such release: a project with a model "
            f"of the same name promoted it, or {why}"
        )
    ways = _ways(found, state, says, plan)
    return GitError(
        what,
        why=why,
        fix=f"{_own_folder(found.rollout)}; or, if no other project uses it, {ways}"
        if foreign
        else ways,
        reason="branch-differs",
        details=tuple(plan.diff.split("\n")[:40])
        if plan.diff and edited and says == str(found.release)
        else (),
    )


def _own_folder(work: Rollout) -> str:
    """How an overlay that another project of the same model name uses is left to it."""
    folder = work.target.path or "."
    return (
        f"give this project a folder of its own: copy {folder} beside it under another name, with "
        f"what it builds on and without {RELEASE_FILE}, and write that name in "
        f"zones.{work.zone}.gitops.path"
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
