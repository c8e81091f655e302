"""What promote and rollback share: a zone's target, the release it holds, the decision, the commit.

The one place that opens the zone's store, keys, policy and Git target for a rollout. Follows
the rules of `sovgate.stages.promote` from the audit intent on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import (
    ConfigError,
    GitError,
    Inconclusive,
    PolicyDenied,
    ResidencyMismatch,
    UsageError,
    VerificationFailed,
)
from sovgate.formats.auditentry import About
from sovgate.formats.kustomize import Pin
from sovgate.formats.promotion import Kind, Promotion
from sovgate.git.url import parse_remote
from sovgate.pipeline.decide.case import Known, Question
from sovgate.pipeline.decide.judge import Judged, judge
from sovgate.pipeline.move.movement import Timer, keep, note, outcome_of_failure
from sovgate.pipeline.rollout.received import Received, read_received
from sovgate.pipeline.rollout.results import Committed, Place, RolledRelease
from sovgate.records import Release
from sovgate.stages import audit
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.config import GitOps, ZoneConfig
    from sovgate.keys._api import Signer
    from sovgate.pipeline.project import Project
    from sovgate.stages.attest import Folders
    from sovgate.stages.transfer import Record
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store


class Rollout:
    """What is asked: the zone, its Git target, its store and whom it trusts. Reads when told to.

    `reason` makes it a rollback.
    """

    def __init__(self, opened: Project, zone: str | None, *, reason: str | None = None) -> None:
        if zone is None:
            raise ConfigError(
                "the zone in which this runs is not named",
                fix="add --zone ZONE, or set SOVGATE_ZONE",
                reason="no-zone",
            )
        self.opened, self.zone, self.reason = opened, zone, reason
        self.here: ZoneConfig = opened.zone(zone)
        self.gitops = self._gitops()
        self.key_uri = self._key_uri()
        self.timer = Timer()
        self.store: Store = opened.store(zone)
        self.trusted: tuple[Trusted, ...] = opened.trusted(zone)
        where = opened.config.where(f"zones.{zone}.gitops")
        self.target = rollouts.GitTarget(
            zone=zone,
            remote=parse_remote(
                self.gitops.repo,
                opened.base.absolute(),
                where=opened.config.where(f"zones.{zone}.gitops.repo"),
            ),
            path=self.gitops.path,
            branch=self.gitops.branch,
            via=self.gitops.via,
            deployment=self.gitops.deployment,
            containers=self.gitops.containers,
            accept=self.gitops.accept,
            where=where,
        )

    def _gitops(self) -> GitOps:
        if self.here.gitops is None:
            raise ConfigError(
                f"zone {self.zone} has no Git repository to promote to",
                fix=f"add zones.{self.zone}.gitops: {{repo: URL, path: overlays/{self.zone}}} to "
                + self.opened.config.document.name,
                where=self.opened.config.where(f"zones.{self.zone}"),
                reason="no-gitops",
            )
        return self.here.gitops

    def _key_uri(self) -> str:
        if self.here.keys.encrypt is None:
            raise ConfigError(
                f"zone {self.zone} has no key to open the release where it is served",
                fix=f"add zones.{self.zone}.keys.encrypt to {self.opened.config.document.name}",
                where=self.opened.config.where(f"zones.{self.zone}"),
                reason="no-key",
            )
        return self.gitops.key or self.here.keys.encrypt

    def read(self, release: Release, beside: Folders | None = None) -> Received:
        """The release as this zone received it, and evidence that was added here since."""
        return read_received(self.opened, self.zone, release, self.trusted, beside)

    def read_ledger(self) -> rollouts.Ledger:
        """The zone's promotion records, whole.

        Read after the overlay was looked at, so that whoever wrote what we saw has either written
        its record too, or left the claim.
        """
        return rollouts.read_ledger(self.store, self.zone, self.opened.config.model, self.trusted)

    def pin(self, received: Received) -> Pin:
        """What the overlay is to say of it."""
        return Pin(
            release=received.release.pinned(received.manifest),
            manifest=received.manifest,
            record=received.record.sha256,
            key_uri=self.key_uri,
            zone=self.zone,
        )

    def place(self, state: rollouts.OverlayState) -> Place:
        target = self.target
        return Place(
            zone=self.zone,
            repo=target.remote.url,
            path=target.path or ".",
            onto=state.branch,
            via=target.via,
        )

    def claimed(self, state: rollouts.OverlayState) -> Record | None:
        """The record of what the overlay says it pins, if this store has it.

        A run that died between its push and its record leaves that trace; anybody may have written
        it, so it only ever raises the bar.
        """
        from sovgate.stages import transfer

        if state.pinned is None:
            return None
        try:
            claimed = Release.parse(state.pinned)
            if claimed.model != self.opened.config.model:
                return None
            found = transfer.read_record(self.store, claimed, self.trusted)
        except (UsageError, VerificationFailed):
            return None
        if found is None or found.transfer.manifest.sha256 != claimed.pin:
            return None
        return found


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

    def require_forward(self, state: rollouts.OverlayState) -> None:
        """RULES 27: never back without a signed rollback. Raises PolicyDenied."""
        claimed = self.rollout.claimed(state)
        self.ledger.require_forward(
            self.release,
            self.received.record.transfer.sequence,
            self.received.record.sha256,
            claimed=claimed.transfer.sequence if claimed else 0,
        )

    def recorded(self, *branches: str) -> bool:
        """Whether the last promotion record says this already, for one of these branches."""
        names = {*branches, self.rollout.target.branch, self.proposal}
        wanted = self._promotion(commit="0" * 40, branch="-", decision="0" * 64, head="0" * 64)
        last = self.ledger.last
        return any(rollouts.is_recorded(last, replace(wanted, branch=name)) for name in names)

    @property
    def proposal(self) -> str:
        """The branch of a pull request. One that was merged or closed before is not used again."""
        plain = rollouts.proposal_branch(self.rollout.zone, self.pin.release)
        last = self.ledger.last
        ours = last is not None and (last.release, last.kind) == (self.release, self.kind)
        if ours and last and (last.branch == plain or last.branch.startswith(f"{plain}-again-")):
            return last.branch
        if self.rollout.reason is None and all(p.branch != plain for p in self.ledger.promotions):
            return plain
        number = len(self.ledger.promotions) + 1
        return rollouts.rollback_branch(self.rollout.zone, self.pin.release, number)

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
        self, checkout: rollouts.Checkout, state: rollouts.OverlayState, judged: Judged
    ) -> tuple[Committed, bool]:
        """The intent, the commit, the record, the outcome; and whether it was committed before.

        A denial is written down and raised.
        """
        signer = self.rollout.opened.signer(self.rollout.zone)
        signed, refs = self._signed(judged, signer)
        digest = refs[0][1]
        run = self._begin(signer)
        try:
            judged.first.require()
        except PolicyDenied:
            keep(run, signed, digest)
            note(run, "denied", self.about, refs=refs)
            raise
        head = note(run, "intent", self.about, refs=refs)
        with outcome_of_failure(run, self.about):
            self.received.keep(signed, {item.sha256 for item in judged.first.case.evidence})
            with self.rollout.timer.step("commit and push"):
                pushed = checkout.push(
                    self.pin,
                    state,
                    rollouts.commit_message(self.pin, head, reason=self.rollout.reason),
                    lambda: self._ask_again(judged, state),
                    proposal=self.proposal,
                )
            with self.rollout.timer.step("record"):
                promotion = self._write(pushed, digest, head, signer)
            end = note(
                run, "outcome", self.about, exit_code=0, refs=(*refs, ("promotion", promotion))
            )
        return Committed(
            branch=pushed.branch,
            commit=pushed.commit,
            promotion=promotion,
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
    def kind(self) -> Kind:
        return "promote" if self.rollout.reason is None else "rollback"

    @property
    def about(self) -> About:
        return About(
            action=self.kind,
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
            if not expected or promotion.kind not in ("promote", self.kind):
                raise GitError(
                    f"zone {self.rollout.zone} went to {promotion.release} while this ran",
                    why=promotion.reason or f"promotion {promotion.number} says so",
                    fix="see what was promoted, and run it again if this release is still wanted",
                    reason="release-changed",
                )

    def _promotion(self, *, commit: str, branch: str, decision: str, head: str) -> Promotion:
        return Promotion(
            number=1,  # this and `previous` are filled in when it is written
            kind=self.kind,
            reason=self.rollout.reason,
            release=self.release,
            sequence=self.received.record.transfer.sequence,
            record=self.received.record.sha256,
            manifest=self.manifest,
            zone=self.rollout.zone,
            repo=self.rollout.target.remote.url,
            path=self.rollout.target.path or ".",
            branch=branch,
            commit=commit,
            previous=None,
            decision=decision,
            receipt=self.received.receipt,
            audit_head=head,
            created=audit.utc_now().replace(microsecond=0),
        )

    def _write(self, pushed: rollouts.Pushed, decision: str, head: str, signer: Signer) -> str:
        """The promotion record; none where the last one says it all already. Its SHA-256."""
        wanted = self._promotion(
            commit=pushed.commit, branch=pushed.branch, decision=decision, head=head
        )
        if pushed.already:  # by an earlier run, or by one at the same time
            now = self.rollout.read_ledger()
            if rollouts.is_recorded(now.last, wanted):
                return now.digests[-1]
        known = len(self.ledger.promotions)
        return rollouts.append(
            self.rollout.store, signer, self.rollout.trusted, wanted, known=known
        )[1]
