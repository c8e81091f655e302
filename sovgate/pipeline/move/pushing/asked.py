"""What a push is asked, what policy says of it, and what is there at its end: frozen values.

Each is made from the one before. Opens the project's keys and stores, and asks policy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, KeyServiceError, UsageError, VerificationFailed
from sovgate.formats.auditentry import PUSH_SHARD, About
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.judge import (
    Judged,
    judge,
    known_with_signature,
    transfer_questions,
)
from sovgate.pipeline.drafted import Drafts
from sovgate.pipeline.move.copies import refused
from sovgate.pipeline.move.results import Taken
from sovgate.pipeline.move.shards import facts
from sovgate.pipeline.move.shards.folder import Expected
from sovgate.pipeline.project import Project
from sovgate.records import Options, Release

if TYPE_CHECKING:
    from sovgate.config import ZoneConfig
    from sovgate.keys._api import Recipient
    from sovgate.pipeline.move.movement import Timer
    from sovgate.pipeline.move.pushing.outgoing import Outgoing
    from sovgate.pipeline.move.pushing.refusals import Refusals
    from sovgate.stages import transfer
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Call:
    """A push as it was called, whatever zone: who refused, how long it took, what it was told."""

    refusals: Refusals
    timer: Timer
    options: Options


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to move and where; the store has not been asked anything.

    seen    the model's files as they were looked into; None where they are not read here, and until
            somebody looked
    drafts  records beside the model that nobody signed
    """

    opened: Project
    trusted: tuple[Trusted, ...]
    release: Release
    zone: ZoneConfig
    to: ZoneConfig
    store: Store
    recipient: Recipient
    outgoing: Outgoing
    seen: contents.Seen | None
    drafts: Drafts | None

    @property
    def about(self) -> About:
        return About(
            action="push" if self.outgoing.shard is None else PUSH_SHARD,
            model=self.release.model,
            release=self.release,
            manifest=self.outgoing.manifest.digest,
            source=self.zone.name,
            destination=self.to.name,
        )

    def locate(self) -> transfer.Located:
        from sovgate.stages import transfer

        return transfer.locate(self.store, zone=self.to.name, declared=self.to.region)

    def _known(self) -> contents.Contents:
        """What policy is told of the contents: of a model what its files showed; of a share, parts
        and a copy what was found in the files, or what an SBOM says, if it is worse."""
        digest, outgoing = self.outgoing.manifest.digest, self.outgoing
        if self.seen is not None and outgoing.shard is None:
            return self.seen.contents
        said = contents.of_evidence(outgoing.evidence, self.trusted, digest)
        if self.seen is not None:
            return facts.worst(self.seen.contents, said)
        if outgoing.shared is not None:
            return facts.worst(outgoing.shared.contents, said)
        made = outgoing.copy and outgoing.copy.made
        return facts.worst(facts.together([made.facts]), said) if made else said

    def judge(self, located: transfer.Located, *, sign: bool) -> Judged:
        """Policy, about all that is known."""
        judged = judge(
            self.opened,
            transfer_questions(
                self.release,
                self.outgoing.manifest.digest,
                source=self.zone.name,
                destination=self.to.name,
            ),
            known_with_signature(
                self.outgoing.signature,
                self.outgoing.evidence,
                trusted=self.trusted,
                locations={self.to.name: located},
                contents=self._known(),
                drafts=self.drafts,
            ),
        )
        return judged.signed(self.opened.signer(self.zone.name)) if sign else judged

    def wanted(self, judged: Judged) -> transfer.Wanted:
        from sovgate.stages.transfer import Wanted, record_payload

        return Wanted(
            release=self.release,
            manifest=self.outgoing.manifest.digest,
            source=self.zone.name,
            destination=self.to.name,
            policy=judged.policy,
            recipient=self.recipient.key_id,
            records=frozenset(
                record_payload(item.data)
                for item in self.outgoing.documents
                if item.role == "provenance"
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """What policy said before a byte of the model was encrypted, and where the store lies."""

    asked: Asked
    located: transfer.Located
    judged: Judged

    def require(self) -> None:
        """Raises what a denial is."""
        if (denial := self.judged.denial) is not None:
            raise denial

    def existing(self, *, read: bool = True) -> transfer.Record | None:
        """The release that is in the store already. Raises as `transfer.existing`."""
        from sovgate.stages import transfer

        asked = self.asked
        return transfer.existing(asked.store, asked.wanted(self.judged), asked.trusted, read=read)


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What is in the store, and the word that it is there by: policy's last.

    resumed  chunks that an earlier run of this push had sent
    reused   what of earlier releases is used again
    packs    chunks of small files that were to be sent, and their bytes
    """

    admitted: Admitted
    record: transfer.Record
    already: bool
    written: transfer.Written
    resumed: int = 0
    reused: tuple[Taken, ...] = ()
    packs: tuple[int, int] = (0, 0)

    @classmethod
    def before(cls, admitted: Admitted, there: transfer.Record) -> Delivered:
        """It was there, the same and whole."""
        from sovgate.stages import transfer

        return cls(admitted=admitted, record=there, already=True, written=transfer.Written())


def require_pin(release: Release, manifest: str) -> None:
    """Raises UsageError, reason "wrong-pin"."""
    if release.pin not in (None, manifest):
        raise UsageError(
            f"the model is not the one that {release} is pinned to",
            why=f"its manifest is sha256:{manifest}",
            fix="remove the pin, or name the model that it belongs to",
            reason="wrong-pin",
        )


def require_distinct(asked: Collection[Asked]) -> None:
    """Zones share no key and no chunk (RULES 8), nor a place for the record: each would find that
    of the other there. Raises ConfigError, reasons "shared-zone-key", "shared-store"."""
    from sovgate.stages.encrypt import ZoneKey, require_apart
    from sovgate.stores.registry import place_of

    require_apart([ZoneKey(zone=one.to.name, recipient=one.recipient) for one in asked])
    found: dict[tuple[str, str], Asked] = {}
    for one in asked:
        other = found.setdefault(place_of(one.store.uri, one.to.region), one)
        if other is not one:
            dotted = f"zones.{one.to.name}.store"
            raise ConfigError(
                f"zones {other.to.name} and {one.to.name} have the same store, {one.store.uri}",
                why="a release has one record in a store, and it is for one zone",
                fix=f"name another bucket or folder in {dotted}; a prefix of its own will do",
                where=one.opened.config.where(dotted),
                reason="shared-store",
            )


def ask(
    opened: Project,
    release: Release,
    zone: str,
    to: str,
    trusted: tuple[Trusted, ...],
    outgoing: Outgoing,
) -> Asked:
    """Before anybody looked into the files. Raises ConfigError, KeyServiceError ("wrong-key")."""
    recipient = opened.recipient(to)
    if outgoing.copy is not None and outgoing.copy.sealed.key_id != recipient.key_id:
        raise other_key(outgoing.copy.sealed.key_id, recipient.key_id, to)
    asked = Asked(
        opened=opened,
        trusted=trusted,
        release=Release(model=release.model, version=release.version),
        zone=opened.zone(zone),
        to=opened.zone(to),
        store=opened.store(to),
        recipient=recipient,
        outgoing=outgoing,
        seen=None,
        drafts=None,
    )
    copy = outgoing.copy
    if copy is not None and copy.made is not None:
        try:
            Expected.of_asked(asked, 1).check(copy.made, 1)
        except VerificationFailed as error:
            raise refused(copy, zone, error) from error
    return asked


def other_key(old: str, new: str, zone: str) -> KeyServiceError:
    return KeyServiceError(
        f"zone {zone} has a key other than the one that this was encrypted for",
        why=f"encrypted for {old}; the project now names {new}",
        fix="encrypt it again, or correct the key in sovgate.yaml",
        reason="wrong-key",
    )
