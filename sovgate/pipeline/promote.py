"""promote: the rulebook of `sovgate.promote`, walked from the record in the store to the commit.

The one place that opens the zone's store, keys, policy and Git target for a rollout.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import audit
from sovgate import promote as rollout
from sovgate.errors import (
    ConfigError,
    Inconclusive,
    PolicyDenied,
    ResidencyMismatch,
    UsageError,
    VerificationFailed,
)
from sovgate.formats.kustomize import Pin
from sovgate.formats.promotion import Promotion
from sovgate.giturl import parse_remote
from sovgate.pipeline.held import Held, hold
from sovgate.pipeline.movement import About, Watch, note, outcome_of_failure
from sovgate.pipeline.project import Project, open_project
from sovgate.records import Release

if TYPE_CHECKING:
    from sovgate.config import GitOps, ZoneConfig
    from sovgate.formats.decision import Decision
    from sovgate.keys._api import Signer
    from sovgate.stores._api import Store
    from sovgate.trust import Trusted


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
    release: Release, *, zone: str | None, project: Path | None = None, dry_run: bool = False
) -> Promoted:
    """Commit a release that this zone received to the repository that drives its rollout.

    Raises ConfigError, NotFound, VerificationFailed ("no-receipt" and what does not verify),
    PolicyDenied, ResidencyMismatch, Inconclusive, KeyServiceError, StoreError, EngineError,
    GitError, DiskError. After a crash at any step run it again: the branch has the old state or
    the new one, and it finishes.
    """
    if zone is None:
        raise ConfigError(
            "it is not known which zone this is",
            fix="say --zone ZONE, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    work = _Rollout(open_project(project), zone)
    with work.watch.step("check the record"):
        work.read(release)
    with rollout.opened(work.target) as checkout:
        with work.watch.step("look at the overlay"):
            look = checkout.look()
            work.require_forward(look)
            plan = checkout.plan(work.pin)
        if plan.unchanged and work.recorded(look.branch):
            return work.result(release, look=look, already=True, dry_run=dry_run)
        with work.watch.step("decide"):
            decision = work.decide()
        if dry_run:
            decision.require()
            return work.result(
                release, look=look, already=plan.unchanged, dry_run=True, diff=plan.diff,
                decision=decision,
            )  # fmt: skip
        return work.run(release, checkout, look, plan.diff, decision)


class _Rollout:
    """One promotion under way: what is known of it so far."""

    held: Held
    store: Store
    release: Release
    manifest: str
    ledger: rollout.Ledger
    pin: Pin

    def __init__(self, opened: Project, zone: str) -> None:
        self.opened, self.zone = opened, zone
        self.here: ZoneConfig = opened.zone(zone)
        self.gitops = self._gitops()
        self.key_uri = self._key_uri()
        self.watch = Watch()
        self.trusted: tuple[Trusted, ...] = opened.trusted(zone)
        where = opened.config.where(f"zones.{zone}.gitops")
        self.target = rollout.GitTarget(
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
            container=self.gitops.container,
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
                f"zone {self.zone} names no key that could open the release where it is served",
                fix=f"add zones.{self.zone}.keys.encrypt to {self.opened.config.document.name}",
                where=self.opened.config.where(f"zones.{self.zone}"),
                reason="no-key",
            )
        return self.here.keys.encrypt

    # -- before anything is written

    def read(self, release: Release) -> None:
        """The release as this zone holds it."""
        self.held = hold(self.opened, self.zone, release, self.trusted)
        self.store, self.release = self.held.store, self.held.release
        self.manifest = self.held.manifest
        self.pin = Pin(
            release=self.release.pinned(self.manifest),
            manifest=self.manifest,
            record=self.held.record.sha256,
            key_uri=self.key_uri,
            zone=self.zone,
        )

    def require_forward(self, look: rollout.Look) -> None:
        """RULES 27: never back without a signed rollback. Raises PolicyDenied.

        The ledger is read after the overlay was looked at, so that whoever wrote what we saw has
        either written its record too, or left the claim.
        """
        self.ledger = rollout.read_ledger(self.store, self.zone, self.release.model, self.trusted)
        self.ledger.require_forward(
            self.release,
            self.held.record.transfer.sequence,
            self.held.record.sha256,
            claimed=self._claimed(look),
        )

    def _claimed(self, look: rollout.Look) -> int:
        """The sequence of what the overlay says it pins, if this store's record bears it out.

        A run that died between its push and its record leaves that trace; anybody may have written
        it, so it only ever raises the bar.
        """
        from sovgate import transfer

        if look.pinned is None:
            return 0
        try:
            claimed = Release.parse(look.pinned)
            if claimed.model != self.release.model:
                return 0
            found = transfer.read_record(self.store, claimed, self.trusted)
        except (UsageError, VerificationFailed):
            return 0
        if found is None or found.transfer.manifest.sha256 != claimed.pin:
            return 0
        return found.transfer.sequence

    def recorded(self, *branches: str) -> bool:
        """Whether the last promotion record says this already, for one of these branches."""
        names = {*branches, self.target.branch}
        names.add(rollout.proposal_branch(self.zone, self.pin.release))
        wanted = self._promotion(commit="0" * 40, branch="-", decision="0" * 64, head="0" * 64)
        last = self.ledger.last
        return any(rollout.is_recorded(last, replace(wanted, branch=name)) for name in names)

    def decide(self) -> Decision:
        """This zone's own policy, on the zone's own facts."""
        from sovgate.pipeline.decide import decide

        return decide(
            self.opened,
            action="deploy",
            cls="weights",
            manifest=self.manifest,
            release=self.release,
            evidence=self.held.evidence,
            source=self.zone,
            destination=self.zone,
            locations={self.zone: self.held.located},
            trusted=self.trusted,
            signature=self.held.signature,
            facts=self.held.contents,
        )

    # -- from the intent on

    def run(
        self,
        release: Release,
        checkout: rollout.Checkout,
        look: rollout.Look,
        diff: str,
        decision: Decision,
    ) -> Promoted:
        from sovgate import transfer
        from sovgate.formats.transfer import blob_name
        from sovgate.pipeline.decide import sign_decision

        signer = self.opened.signer(self.zone)
        signed = sign_decision(decision, signer)
        digest = hashlib.sha256(signed).hexdigest()
        refs = (
            ("decision", digest),
            ("transfer", self.held.record.sha256),
            ("receipt", self.held.receipt),
        )
        run = audit.Log(self.opened.audit_store(self.zone), signer, trusted=self.trusted).begin()
        try:
            decision.require()
        except PolicyDenied:
            note(run, "denied", self.about, refs=refs)
            raise
        head = note(run, "intent", self.about, refs=refs)
        with outcome_of_failure(run, self.about):
            transfer.put_document(self.store, blob_name(digest), signed)
            with self.watch.step("commit and push"):
                pushed = checkout.push(
                    self.pin,
                    look,
                    rollout.commit_message(self.pin, head),
                    lambda: self.ask_again(decision),
                )
            with self.watch.step("record"):
                promotion = self._write(pushed, digest, head, signer)
            end = note(run, "outcome", self.about, exit_code=0,
                       refs=(*refs, ("promotion", promotion)))  # fmt: skip
        return replace(
            self.result(
                release, look=look, already=pushed.already, dry_run=False,
                diff="" if pushed.already else diff, decision=decision,
            ),
            commit=pushed.commit,
            branch=pushed.branch,
            promotion=promotion,
            decision=digest,
            attempts=pushed.attempts,
            audit_head=end,
        )  # fmt: skip

    @property
    def about(self) -> About:
        return About(
            action="promote",
            release=self.release,
            manifest=self.manifest,
            source=self.zone,
            destination=self.zone,
        )

    def ask_again(self, decision: Decision) -> None:
        """Just before each commit object: is it all still so? Raises what is not."""
        from sovgate import transfer

        now = audit.utc_now().timestamp()
        if not decision.time <= now < decision.expires:
            raise Inconclusive(
                "the decision has run out, or the clock was set back",
                fix="run it again",
                reason="decision-expired",
            )
        located = transfer.locate(self.store, zone=self.zone, declared=self.here.region)
        if located != self.held.located:
            raise ResidencyMismatch(
                f"the location of zone {self.zone}'s store changed while this ran",
                why=f"it was {self.held.located.value}, it is {located.value}",
                fix="find out why, and run it again",
                reason="location-changed",
            )
        self.held.check_key()

    def _promotion(self, *, commit: str, branch: str, decision: str, head: str) -> Promotion:
        return Promotion(
            number=1,
            kind="promote",
            release=self.release,
            sequence=self.held.record.transfer.sequence,
            record=self.held.record.sha256,
            manifest=self.manifest,
            zone=self.zone,
            repo=self.target.remote.url,
            path=self.target.path or ".",
            branch=branch,
            commit=commit,
            previous=None,
            decision=decision,
            receipt=self.held.receipt,
            audit_head=head,
            created=audit.utc_now().replace(microsecond=0),
        )

    def _write(self, pushed: rollout.Pushed, decision: str, head: str, signer: Signer) -> str:
        """The promotion record; none where the last one says it all already. Its SHA-256."""
        wanted = self._promotion(
            commit=pushed.commit, branch=pushed.branch, decision=decision, head=head
        )
        if pushed.already:  # by an earlier run, or by one at the same time
            now = rollout.read_ledger(self.store, self.zone, self.release.model, self.trusted)
            if rollout.is_recorded(now.last, wanted):
                return now.digests[-1]
        _, digest = rollout.append(self.store, signer, self.trusted, wanted)
        return digest

    def result(
        self,
        release: Release,
        *,
        look: rollout.Look,
        already: bool,
        dry_run: bool,
        diff: str = "",
        decision: Decision | None = None,
    ) -> Promoted:
        last = self.ledger.last
        return Promoted(
            release=self.release,
            manifest=self.manifest,
            zone=self.zone,
            record=self.held.record.sha256,
            sequence=self.held.record.transfer.sequence,
            receipt=self.held.receipt,
            repo=self.target.remote.url,
            path=self.target.path or ".",
            branch=look.branch,
            onto=look.branch,
            via=self.target.via,
            commit=look.tip if already else None,
            previous=last.release if last else None,
            promotion=self.ledger.digests[-1] if already and last else None,
            decision=None,
            permits=tuple(p.where or p.id for p in decision.permits) if decision else (),
            pinned=release.pin is not None,
            already=already,
            dry_run=dry_run,
            diff=diff,
            attempts=0,
            audit_head=None,
            steps=tuple(self.watch.steps),
            seconds=self.watch.seconds,
        )
