"""What promote and rollback share: a zone's Git target, its store, its records and whom it trusts.

The one place that opens them for a rollout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.errors import (
    ConfigError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats.kustomize import Pin
from sovgate.formats.promotion import ACTIONS, Promotion
from sovgate.git.url import parse_remote, repository_of, same_repository
from sovgate.pipeline.look.entries import read_entries
from sovgate.pipeline.move.movement import Timer
from sovgate.pipeline.rollout.received import Received, read_received
from sovgate.pipeline.rollout.results import Place
from sovgate.records import Release
from sovgate.stages import promote as rollouts

if TYPE_CHECKING:
    from sovgate.config import GitOps, ZoneConfig
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
            author=self.gitops.commit.author,
            where=where,
        )

    @property
    def others(self) -> dict[str, str]:
        """The overlays of the other zones on the same branch of the same repository, by zone."""
        base, here = self.opened.base.absolute(), self.gitops
        repository = same_repository(here.repo, base)
        return {
            name: zone.gitops.path
            for name, zone in self.opened.config.zones.items()
            if name != self.zone
            and zone.gitops is not None
            and zone.gitops.branch == here.branch
            and same_repository(zone.gitops.repo, base) == repository
        }

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

    def read_records(self) -> rollouts.Ledger:
        """As `read_ledger`, and that none is missing of which the zone's audit log knows.

        RULES 28. The log is read first: a run that ends then has its record before its outcome.
        Raises VerificationFailed "promotion-cut".
        """
        known = self._written()
        ledger = self.read_ledger()
        there = {*ledger.digests, *ledger.proposal_digests}
        for digest, (role, name) in known.items():
            if digest not in there:
                raise VerificationFailed(
                    f"a {role} record was removed",
                    why=f"{name} in the audit log of zone {self.zone} says that sha256:{digest} "
                    "was written; it is not among the records",
                    fix="find out who changed the store; restore the record from a copy that "
                    "verifies",
                    reason="promotion-cut",
                )
        return ledger

    def _written(self) -> dict[str, tuple[str, str]]:
        """Digest -> (role, entry) of each record that a run of this zone says it wrote."""
        known: dict[str, tuple[str, str]] = {}
        log = self.opened.audit_store(self.zone)
        # An intent, which is a run's first entry, names none.
        for found in read_entries(log, self.trusted, least=1, past=True):
            entry, said = found.entry, found.said
            if entry is None or said is None or said.speaking_for(self.zone) is None:
                continue
            about = entry.about
            ours = (about.model, about.destination) == (self.opened.config.model, self.zone)
            if ours and about.action in ACTIONS and (entry.kind, entry.exit) == ("outcome", 0):
                known |= {
                    ref.sha256: (ref.role, found.name)
                    for ref in entry.refs
                    if ref.role in ("promotion", "proposal")
                }
        return known

    def is_here(self, promotion: Promotion) -> bool:
        """Whether a record is about the overlay that drives the zone now, however the repository's
        URL was spelt then."""
        target = self.target
        return (
            repository_of(promotion.repo) == repository_of(target.remote.url)
            and promotion.path == (target.path or ".")
            and (promotion.kind == "proposal" or promotion.branch == target.branch)
        )

    def pin(self, received: Received) -> Pin:
        """What the overlay is to say of it."""
        return Pin(
            release=received.release.pinned(received.manifest),
            manifest=received.manifest,
            record=received.record.sha256,
            key_uri=self.key_uri,
            zone=self.zone,
        )

    def pin_of(self, promotion: Promotion) -> Pin:
        """What the overlay is to say of it today."""
        return Pin(
            release=promotion.pinned,
            manifest=promotion.manifest,
            record=promotion.record,
            key_uri=self.key_uri,
            zone=promotion.zone,
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
