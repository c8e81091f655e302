"""A release that a zone may roll out: the decision about it, the commit, and the record.

Follows the rules of `sovgate.stages.promote` from the audit intent on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sovgate.errors import (
    ConfigError,
    GitError,
    Inconclusive,
    KeyServiceError,
    PolicyDenied,
    ResidencyMismatch,
)
from sovgate.formats.auditentry import About
from sovgate.formats.kustomize import Pin
from sovgate.formats.promotion import RELEASE_FILE, Kind, Promotion
from sovgate.pipeline.decide.case import Known, Question
from sovgate.pipeline.decide.judge import Judged, judge
from sovgate.pipeline.move.movement import announced, keep, note
from sovgate.pipeline.rollout.received import Received
from sovgate.pipeline.rollout.results import Committed, RolledRelease
from sovgate.pipeline.rollout.zone import Rollout as Rollout
from sovgate.records import Release
from sovgate.stages import audit
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.keys._api import Signer


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A release that the zone received and may roll out, and the zone's records as they are now."""

    rollout: Rollout
    received: Received
    ledger: rollouts.Ledger

    @property
    def release(self) -> Release:
        return self.received.release

    @property
    def manifest(self) -> str:
        return self.received.manifest

    @property
    def pin(self) -> Pin:
        return self.rollout.pin(self.received)

    @property
    def subject(self) -> RolledRelease:
        return RolledRelease(
            release=self.release,
            manifest=self.manifest,
            record=self.received.record.sha256,
            sequence=self.received.record.transfer.sequence,
            receipt=self.received.receipt,
        )

    def require_forward(self, state: rollouts.OverlayState | None) -> None:
        """RULES 27: never back without a signed rollback. Raises PolicyDenied.

        What the overlay claims raises the bar; `state` is None where a person passed over that.
        """
        claimed = self.rollout.claimed(state) if state is not None else None
        self.ledger.require_forward(
            self.release,
            self.received.record.transfer.sequence,
            self.received.record.sha256,
            claimed=claimed.transfer.sequence if claimed else 0,
        )

    def is_recorded(self, state: rollouts.OverlayState) -> bool:
        """Whether the last promotion record says this already of the release file that is there, by
        the identity that signs now."""
        wanted = self._promotion(_Said(release_file=state.release_file))
        if not rollouts.is_recorded(self.ledger.last, wanted):
            return False
        try:
            signer = self.rollout.opened.signer(self.rollout.zone)
        except (ConfigError, KeyServiceError):
            return True  # at a desk that signs nothing, nothing is done anew
        return self.ledger.is_by(signer, self.rollout.trusted)

    @property
    def proposal(self) -> str:
        """The branch of a pull request. One that was merged or closed before is not used again.

        A rollback is proposed anew where the zone has changed since: its branch would not merge.
        """
        ledger, reason = self.ledger, self.rollout.reason
        for made in reversed(ledger.waiting):
            same = (made.release, made.record, made.reason) == (
                self.release,
                self.received.record.sha256,
                reason,
            )
            basis = made.previous.sha256 if made.previous else None
            stale = reason is not None and [basis] != list(ledger.digests[-1:])
            if same and not stale and self.rollout.is_here(made):
                return made.branch
        plain = rollouts.proposal_branch(self.rollout.zone, self.pin.release)
        if reason is None and all(made.branch != plain for made in ledger.proposals):
            return plain
        number = len(ledger.promotions) + len(ledger.waiting) + 1
        return rollouts.rollback_branch(self.rollout.zone, self.pin.release, number)

    def place(self, state: rollouts.OverlayState, plan: rollouts.Plan) -> Committed:
        """The branch that a run would commit to, and nothing done yet."""
        proposes = self.rollout.target.via == "pull-request" and not plan.unchanged
        return Committed(branch=self.proposal if proposes else state.branch)

    def foresee(
        self, checkout: rollouts.Checkout, here: Committed, plan: rollouts.Plan
    ) -> tuple[Committed, bool]:
        """What a run would find of what it is to do: as `run`, for a dry run. Raises GitError."""
        if plan.unchanged or here.branch == self.rollout.target.branch:
            return here, plan.unchanged
        there = checkout.proposed(self.pin, here.branch)
        return (here, False) if there is None else (replace(here, commit=there.tip), True)

    def decide(self) -> Judged:
        """This zone's own policy, on the zone's own facts."""
        question = Question(
            action="deploy",
            cls="weights",
            manifest=self.manifest,
            release=self.release,
            source=self.rollout.zone,
            destination=self.rollout.zone,
        )
        known = Known(
            trusted=self.rollout.trusted,
            evidence=self.received.evidence,
            signature=self.received.signature,
            locations={self.rollout.zone: self.received.located},
            contents=self.received.contents,
        )
        return judge(self.rollout.opened, [question], known)

    # -- from the intent on

    def run(
        self,
        checkout: rollouts.Checkout,
        state: rollouts.OverlayState,
        plan: rollouts.Plan,
        judged: Judged,
    ) -> tuple[Committed, bool]:
        """The intent, the commit, the record, the outcome; and whether it was committed before.

        The intent names the file that `plan` makes, by which a later run knows it again.

        A denial is written down and raised.
        """
        signer = self.rollout.opened.signer(self.rollout.zone)
        signed, refs = self._signed(judged, signer)
        digest = refs[0][1]
        run = self._begin(signer)
        try:
            judged.require()
        except PolicyDenied:
            keep(run, signed, digest)
            note(run, "denied", self.about, refs=refs)
            raise
        with announced(run, self.about, (*refs, (RELEASE_FILE, plan.release_file))) as head:
            used = {item.sha256 for item in judged.first.case.evidence}
            self.received.keep(signed, used | {digest for digest, _, _ in judged.aside})
            with self.rollout.timer.step("commit and push"):
                pushed = checkout.push(
                    self.pin,
                    state,
                    rollouts.commit_message(
                        self.pin,
                        head,
                        reason=self.rollout.reason,
                        wanted=self.rollout.gitops.commit.message,
                    ),
                    lambda: self._ask_again(judged, state),
                    proposal=self.proposal,
                )
            with self.rollout.timer.step("record"):
                said = _Said(
                    commit=pushed.commit,
                    release_file=pushed.release_file,
                    branch=pushed.branch,
                    decision=digest,
                    audit_head=head,
                )
                role, record = self._write(said, pushed, signer)
            end = note(run, "outcome", self.about, exit_code=0, refs=(*refs, (role, record)))
        return Committed(
            branch=pushed.branch,
            commit=pushed.commit,
            promotion=record if role == "promotion" else None,
            proposal=record if role == "proposal" else None,
            decision=digest,
            audit_head=end,
            attempts=pushed.attempts,
        ), pushed.already

    def write_denial(self, judged: Judged) -> None:
        """A denial that does not end the run is written down all the same."""
        signer = self.rollout.opened.signer(self.rollout.zone)
        signed, refs = self._signed(judged, signer)
        run = self._begin(signer)
        keep(run, signed, refs[0][1])
        note(run, "denied", self.about, refs=refs)

    def _begin(self, signer: Signer) -> audit.Run:
        home = self.rollout.opened.audit_store(self.rollout.zone)
        return audit.Log(home, signer, trusted=self.rollout.trusted).begin()

    def _signed(self, judged: Judged, signer: Signer) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """The signed decision, and what all entries of this run are about, the decision first."""
        document = judged.signed(signer).documents[0]
        return document.data, (
            ("decision", document.sha256),
            ("transfer", self.received.record.sha256),
            ("receipt", self.received.receipt),
        )

    @property
    def action(self) -> Literal["promote", "rollback"]:
        return "promote" if self.rollout.reason is None else "rollback"

    @property
    def about(self) -> About:
        return About(
            action=self.action,
            model=self.release.model,
            release=self.release,
            manifest=self.manifest,
            source=self.rollout.zone,
            destination=self.rollout.zone,
        )

    def _ask_again(self, judged: Judged, state: rollouts.OverlayState) -> None:
        self.ask_again(judged)
        self._require_unmoved(state)

    def ask_again(self, judged: Judged) -> None:
        """Just before each commit object: is it all still so? Raises what is not."""
        from sovgate.stages import transfer

        now = audit.utc_now().timestamp()
        if not judged.first.time <= now < judged.first.expires:
            raise Inconclusive(
                "the decision has expired, or the clock was set back",
                fix="run it again",
                reason="decision-expired",
            )
        located = transfer.locate(
            self.rollout.store, zone=self.rollout.zone, declared=self.rollout.here.region
        )
        if located != self.received.located:
            raise ResidencyMismatch(
                f"the location of zone {self.rollout.zone}'s store changed while this ran",
                why=f"it was {self.received.located.value}, it is {located.value}",
                fix="find out why, and run it again",
                reason="location-changed",
            )
        self.received.check_key()

    def _require_unmoved(self, state: rollouts.OverlayState) -> None:
        """An overlay changed and changed back looks the same; the records tell (RULES 26)."""
        for promotion in rollouts.read_since(self.rollout.store, self.ledger, self.rollout.trusted):
            pinned = promotion.release.pinned(promotion.manifest)
            # A run whose commit we saw, or one that does the same as this, may record late.
            expected = pinned in (state.pinned, self.pin.release)
            if not expected or promotion.kind not in ("promote", self.action):
                raise GitError(
                    f"zone {self.rollout.zone} went to {promotion.release} while this ran",
                    why=promotion.reason or f"promotion {promotion.number} says so",
                    fix="see what was promoted, and run it again if this release is still wanted",
                    reason="release-changed",
                )

    def _promotion(self, said: _Said) -> Promotion:
        branch = said.branch or self.rollout.target.branch
        kind: Kind = self.action if branch == self.rollout.target.branch else "proposal"
        return Promotion(
            number=1,  # this and `previous` are filled in when it is written
            kind=kind,
            reason=self.rollout.reason,
            release=self.release,
            sequence=self.received.record.transfer.sequence,
            record=self.received.record.sha256,
            manifest=self.manifest,
            zone=self.rollout.zone,
            repo=self.rollout.target.remote.url,
            path=self.rollout.target.path or ".",
            branch=branch,
            commit=said.commit,
            previous=None,
            decision=said.decision,
            receipt=self.received.receipt,
            audit_head=said.audit_head,
            created=audit.utc_now().replace(microsecond=0),
            release_file=said.release_file,
        )

    def _write(self, said: _Said, pushed: rollouts.Pushed, signer: Signer) -> tuple[str, str]:
        """The record of what was pushed; none where the last one says it all already.

        "promotion" where the zone's branch has it, else "proposal"; and its SHA-256.
        """
        wanted = self._promotion(said)
        store, trusted = self.rollout.store, self.rollout.trusted
        if wanted.kind == "proposal":
            return "proposal", rollouts.append(store, signer, trusted, wanted)[1]
        if pushed.already:  # by an earlier run, or by one at the same time
            now = self.rollout.read_ledger()
            if rollouts.is_recorded(now.last, wanted) and now.is_by(signer, trusted):
                return "promotion", now.digests[-1]
        known = len(self.ledger.promotions)
        return "promotion", rollouts.append(store, signer, trusted, wanted, known=known)[1]


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What only the run itself knows of its promotion; `branch` None is the one of the zone."""

    commit: str = "0" * 40
    release_file: str | None = None
    branch: str | None = None
    decision: str = "0" * 64
    audit_head: str = "0" * 64
