"""What a release would meet, before anything of it is written: for `release` and its dry run.

Reads the model, its evidence and the stores; opens the key, and signs nothing with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sovgate.errors import UsageError, VerificationFailed
from sovgate.pipeline import key_option
from sovgate.pipeline.drafted import drafts_beside
from sovgate.pipeline.project import Project
from sovgate.records import Release

if TYPE_CHECKING:
    from sovgate.formats.case import Evidence
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.provenance import RecordedDataset
    from sovgate.keys._api import Signer
    from sovgate.pipeline.decide.judge import Judged
    from sovgate.stages.attest import Folders
    from sovgate.stages.transfer import Record

THROUGH = ("push", "promote")


def destinations(
    opened: Project, release: Release, zone: str, to: Sequence[str], through: str
) -> list[str]:
    """Each zone once, all of them known to be possible before anything is written.

    Of several the keys are opened, which each push does again: two names may be one key, and its
    service tells (RULES 8). Raises ConfigError, reason "shared-key", UsageError, KeyServiceError.
    """
    from sovgate.pipeline.move.movement import check_call

    if through not in THROUGH:
        raise UsageError(f"there is no step {through[:40]!r}", fix=f"one of {', '.join(THROUGH)}")
    names = list(dict.fromkeys(to))
    if not names:
        raise UsageError(
            "no zone to push to is named",
            fix="add --to ZONE, once for each zone",
            reason="no-zone",
        )
    for name in names:
        check_call(opened, release, zone, name)
        opened.store(name)
    for name in names if len(names) > 1 else ():
        opened.recipient(name)
    return names


@dataclass(kw_only=True)
class Planned:
    """What a dry run would write beside the model. `missing` says each in words, in order.

    roles     of the statements that it would sign with `key`
    datasets  what it would record, () where it would write no record
    """

    opened: Project
    key: str
    missing: list[str]
    roles: list[str]
    datasets: tuple[RecordedDataset, ...] = ()

    def signer(self) -> Signer:
        """Raises ConfigError, KeyServiceError."""
        return key_option.signer(self.key, self.opened.base)

    def record(self, datasets: Sequence[RecordedDataset]) -> None:
        """Raises PolicyDenied where the key speaks for a zone in which that data may not be."""
        from sovgate.pipeline.decide.in_place import refuse_misplaced

        refuse_misplaced(self.opened, datasets, key=self.key, signer=self.signer())
        self.roles.append("provenance")
        self.datasets = tuple(datasets)

    def evidence(self, manifest: str, zone: str) -> tuple[Evidence, ...]:
        """The statements as a case would have them; those alone for which the key is trusted."""
        from sovgate.formats.case import Evidence
        from sovgate.formats.statement import PREDICATE_TYPES
        from sovgate.stages.trust import certified, keyless_of

        signer, trusted = self.signer(), list(self.opened.trusted(zone))
        if signer.certificates:
            with contextlib.suppress(VerificationFailed):  # then by its key alone
                trusted += certified(signer.certificates, trusted)
        key = signer.public_key.der
        mine = [one for one in trusted if one.certificate is None and one.key.der == key]
        mine += keyless_of(signer, trusted)
        found = {role: [one for one in mine if role in one.may] for role in self.roles}
        return tuple(
            Evidence(
                role=role,
                predicate_type=PREDICATE_TYPES[role],
                sha256="0" * 64,
                manifest=manifest,
                release=None,
                signer=entries[0].name[:256] or "unnamed",
                zone=entries[0].zone,
                created=None,
            )
            for role, entries in found.items()
            if entries
        )


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The release that a dry run asks about, from `zone`; `manifest` is the model's as it lies."""

    release: Release
    manifest: Manifest
    zone: str
    evidence: Folders


def ask(planned: Planned, crossing: Crossing, to: str) -> tuple[Judged, Record | None]:
    """What policy would say once `planned` is signed, and the release that the store has already.

    Raises PolicyDenied (10), ResidencyMismatch (12), VerificationFailed, StoreError (21: the store
    has another release of that name), EngineError.
    """
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.pipeline.beside import read_records
    from sovgate.pipeline.decide.case import Known
    from sovgate.pipeline.decide.contents import look_into
    from sovgate.pipeline.decide.judge import clock, judge, transfer_questions
    from sovgate.pipeline.move.pushing.outgoing import select
    from sovgate.stages import transfer

    opened, manifest, zone = planned.opened, crossing.manifest, crossing.zone
    now, trusted, store = clock(), opened.trusted(zone), opened.store(to)
    raws = read_records(crossing.evidence, manifest.digest)
    finished = datetime.fromtimestamp(now, UTC)
    record = TrainingRecord(datasets=planned.datasets, finished=finished)
    known = Known(
        trusted=trusted,
        evidence=raws,
        locations={to: transfer.locate(store, zone=to, declared=opened.zone(to).region)},
        contents=look_into(crossing.evidence.model.resolve(), manifest, opened).contents,
        planned=(record,) if planned.datasets else (),
        foreseen=planned.evidence(manifest.digest, zone),
        drafts=drafts_beside(crossing.evidence, manifest.digest),
    )
    questions = transfer_questions(crossing.release, manifest.digest, source=zone, destination=to)
    judged = judge(opened, questions, known, now=now)
    if judged.denial is not None:
        raise judged.denial
    documents, _ = select(raws, trusted, manifest.digest)
    records = {transfer.record_payload(d.data) for d in documents if d.role == "provenance"}
    wanted = transfer.Wanted(
        release=crossing.release,
        manifest=manifest.digest,
        source=zone,
        destination=to,
        policy=judged.policy,
        recipient=opened.recipient(to).key_id,
        # One that is not written yet is in no store.
        records=frozenset(records | ({""} if planned.datasets else set())),
    )
    return judged, transfer.existing(store, wanted, trusted, read=False)
