"""encrypt: the signature verified, evidence read, and one read of the model for all its zones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import InternalError, SovgateError, UsageError, VerificationFailed
from sovgate.files import sync_dir
from sovgate.pipeline.beside import (
    about_others,
    may_bind,
    read_records,
    require_readable,
)
from sovgate.pipeline.decide.admission import admit_unsigned, refuse
from sovgate.pipeline.decide.contents import Seen, look_into
from sovgate.pipeline.move.copies import folder_store, tidy, write_copy
from sovgate.pipeline.move.movement import told_moving
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.places import evidence_of, reads_model, require_own
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Advance, Options, Release, Sized
from sovgate.stages.audit import utc_now
from sovgate.staging import Staging, require_free

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Part
    from sovgate.formats.partrecord import Facts
    from sovgate.formats.plan import Plan
    from sovgate.formats.sealed import Evidence, Sealed
    from sovgate.keys._api import Signer
    from sovgate.stages.attest import Folders, RawEvidence
    from sovgate.stages.encrypt import Sent, ZoneKey
    from sovgate.stages.verify import VerifiedModel
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What a copy is called, `NAME/VERSION`, and the zone that says that it made it."""

    release: str | None = None
    zone: str | None = None


@dataclass(frozen=True, kw_only=True)
class Encrypted:
    """`verified` is the model as it was read; `copies` is empty on a dry run.

    `made_by` is (zone, key id) of who signed the copies; None: nobody did, and no push sends them.
    """

    out: Path
    verified: VerifiedModel
    release: str | None
    evidence: int
    keys: Mapping[str, tuple[str, str]]  # zone -> (key id, algorithm)
    copies: Mapping[str, Sealed]
    made_by: tuple[str, str] | None = None


@reads_model
def encrypt(
    model: Path,
    *,
    to: Sequence[str],
    out: Path,
    naming: Naming = Naming(),
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> Encrypted:
    """Write an encrypted copy of a signed model for each zone of `to` to the folder `out`.

    The model's signature is verified first, by a key that the project trusts. A bundle of ours
    tells sizes, so the bytes are read once: hashed, compared and encrypted. Another tool's takes
    one read more.

    Raises UsageError, ConfigError, VerificationFailed, PolicyDenied (a secret in the model),
    KeyServiceError, DiskError.
    """
    from sovgate.stages.encrypt import ZoneKey, require_apart, require_no_git

    opened = open_project(options.project)
    if not to:
        raise UsageError("no zone to encrypt for", fix="name one with --to", reason="no-zone")
    refuse_misused(opened.config)
    maker = _maker(opened, naming, to)
    zones = [ZoneKey(zone=opened.zone(name).name, recipient=opened.recipient(name)) for name in to]
    require_apart(zones)
    require_free(out)
    folders = evidence_of(model, options, opened)
    admit_unsigned(folders, opened, signature)
    path, bundle = folders.read_signature(signature)
    verified = _verified(model, bundle, path, opened, options.progress)
    if out.resolve().is_relative_to(verified.root):
        raise UsageError(
            f"{str(out)!r} is inside the model",
            fix="name a folder outside it with -o",
            reason="output-inside",
        )
    manifest = verified.manifest
    require_no_git(manifest)
    seen = look_into(verified.root, manifest, opened)
    refuse(seen.admitted)
    named = _release(naming.release, opened, manifest.digest)
    plain = Plain(
        manifest=manifest,
        signature=bundle,
        evidence=tuple(read_evidence(folders, manifest.digest, bundle)),
        release=named,
    )
    copies: Mapping[str, Sealed] = {}
    if not options.dry_run:
        options.expect(manifest.total)
        signs = None if maker is None or named is None else Maker.of(opened, maker, to, seen)
        copies = write_copies(plain, seen, zones, signs, out, options.progress)
    return Encrypted(
        out=out,
        verified=verified,
        release=str(named) if named else None,
        evidence=len(plain.evidence),
        keys=_keys(zones),
        copies=copies,
        made_by=None if maker is None or named is None else (maker[0], maker[1].public_key.key_id),
    )


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Who says that the copies are of a zone's making: as of the one shard of one (`push`).
    `regions` are those of all zones by name, `facts` what the model's files showed."""

    zone: str
    signer: Signer
    regions: Mapping[str, str]
    facts: Facts

    @classmethod
    def of(cls, opened: Project, maker: tuple[str, Signer], to: Sequence[str], seen: Seen) -> Maker:
        from sovgate.pipeline.move.shards.facts import told

        zone, signer = maker
        return cls(
            zone=zone,
            signer=signer,
            regions={name: opened.zone(name).region for name in (zone, *to)},
            facts=told(seen.contents),
        )

    def part(self, plain: Plain, zone: str, part: Part) -> bytes:
        """What is signed of the copy for `zone`. Raises KeyServiceError, VerificationFailed."""
        from sovgate.formats.partrecord import PartRecord, Region
        from sovgate.pipeline.move.pushing.outgoing import CARRIED
        from sovgate.stages.seal import seal

        if plain.release is None:
            raise InternalError("a copy without a release has no maker")
        record = PartRecord(
            release=plain.release,
            manifest=plain.manifest.digest,
            source=Region(zone=self.zone, provider_region=self.regions[self.zone]),
            destination=Region(zone=zone, provider_region=self.regions[zone]),
            part=part,
            facts=self.facts,
            evidence=tuple(
                sorted({item.sha256 for item, _ in plain.evidence if item.role in CARRIED})
            ),
            audit_head=None,
            created=utc_now(),
        )
        return seal(record.statement(), self.signer)


@dataclass(frozen=True, kw_only=True)
class Plain:
    """What a copy holds beside its chunks: the same for each zone, and in the clear."""

    manifest: Manifest
    signature: bytes
    evidence: tuple[tuple[Evidence, bytes], ...]
    release: Release | None


def write_copies(
    plain: Plain,
    seen: Seen,
    zones: Sequence[ZoneKey],
    maker: Maker | None,
    out: Path,
    advance: Advance | None,
) -> dict[str, Sealed]:
    """Read the model once, and write `out/<zone>/` for each zone, which appears whole or not at
    all. Zones share no key and no chunk (RULES 8); a key table is made when all was read.
    """
    from sovgate.formats.plan import Plan
    from sovgate.stages.encrypt import Bound, send

    with Staging(out) as staging:
        folder = staging.path / "out"
        stores = {zone.zone: folder_store(folder / zone.zone) for zone in zones}
        plan = Plan.of(plain.manifest)
        bound = [Bound(zone=name, put=_putting(store)) for name, store in stores.items()]
        sent = send(plain.manifest, plan, seen.root, bound, looked=seen.looked, advance=advance)
        copies = {}
        for zone, one in zip(zones, sent, strict=True):
            copies[zone.zone] = _close(plain, plan, zone, one, stores[zone.zone], maker)
            tidy(folder / zone.zone)
        sync_dir(folder)
        staging.commit("out")
    return copies


def _putting(store: Store) -> Callable[[str, memoryview], None]:
    from sovgate.stages.transfer import put_chunk

    def put(sha256: str, data: memoryview) -> None:
        put_chunk(store, sha256, data)

    return put


def _close(
    plain: Plain, plan: Plan, zone: ZoneKey, sent: Sent, store: Store, maker: Maker | None
) -> Sealed:
    from sovgate.formats.sealed import Sealed
    from sovgate.formats.wrap import Context
    from sovgate.stages.encrypt import close_shard

    manifest, release = plain.manifest, str(plain.release) if plain.release else None
    context = Context(zone=zone.zone, release=release, manifest=manifest.digest)
    finished = close_shard(sent, plan, (1, 1), zone.recipient, context)
    sealed = Sealed(
        zone=zone.zone,
        release=release,
        manifest=manifest.sized,
        signature=Sized.of(plain.signature),
        parts=(finished.part,),
        evidence=tuple(item for item, _ in plain.evidence),
    )
    documents = (plain.signature, manifest.canonical(), *(data for _, data in plain.evidence))
    made = None if maker is None else maker.part(plain, zone.zone, finished.part)
    write_copy(store, sealed, (finished.list, finished.table, *documents), made)
    return sealed


def _maker(opened: Project, naming: Naming, to: Sequence[str]) -> tuple[str, Signer] | None:
    """The zone that signs the copies, and its key: the one named, else the only one it can be.

    A copy without a release is not for `push`, and needs no maker. Raises ConfigError,
    KeyServiceError: but where the zone was not named, a key that is not at hand signs nothing.
    """
    if naming.zone is not None:
        return naming.zone, opened.signer(naming.zone)
    if naming.release is None:
        return None
    signing = [name for name, zone in opened.config.zones.items() if zone.keys.sign is not None]
    likely = signing if len(signing) == 1 else [name for name in signing if name not in to]
    if len(likely) != 1:
        return None
    try:
        return likely[0], opened.signer(likely[0])
    except SovgateError:
        return None


def _keys(zones: Sequence[ZoneKey]) -> dict[str, tuple[str, str]]:
    return {zone.zone: (zone.recipient.key_id, zone.recipient.algorithm) for zone in zones}


def _verified(
    model: Path,
    bundle: bytes,
    signature: Path,
    opened: Project,
    advance: Advance | None,
) -> VerifiedModel:
    from sovgate.stages.verify import Scope, verify_listing, verify_model

    trusted = opened.trusted()
    scope = Scope(signature=signature, strict_git=True)
    verified = verify_listing(model, bundle, trusted, scope)
    if verified is None:
        # Read twice: to know its sizes, and again to encrypt it.
        return verify_model(model, bundle, trusted, scope)
    return verified


def _release(text: str | None, opened: Project, manifest: str) -> Release | None:
    if text is None:
        return None
    release = Release.parse(text)
    require_own(opened, release)
    told_moving(release)
    if release.pin not in (None, manifest):
        raise VerificationFailed(
            "the model is not the one that the release is pinned to",
            why=f"its manifest is {manifest}",
            reason="manifest-mismatch",
        )
    return release


def read_evidence(
    folders: Folders, manifest: str, signature: bytes
) -> list[tuple[Evidence, bytes]]:
    """The statements beside a model, but for its signature: those travel with it as they are.

    RULES 6: one that is about another model is refused. Whom to believe is the destination's own
    decision, so nobody's signature is checked here. Raises VerificationFailed.
    """
    from sovgate.formats import foreign
    from sovgate.formats.sealed import Evidence

    found = []
    others: list[tuple[str, str]] = []
    for raw in read_records(folders, manifest):
        if raw.sha256 == hashlib.sha256(signature).hexdigest():
            continue
        require_readable(raw)
        try:
            statement = foreign.statement(raw.data)
        except VerificationFailed:
            if may_bind(raw, manifest):  # RULES 30: it binds where it arrives too
                found.append((_unreadable(raw), raw.data))
            continue  # what nobody can read and binds nothing stays behind, as `push` leaves it
        if statement.role != "signature" and statement.subject_sha256 != manifest:
            others.append((raw.name, statement.subject_sha256))
            continue
        record = Evidence(
            role=statement.role,
            predicate_type=statement.predicate_type,
            sha256=raw.sha256,
            size=len(raw.data),
        )
        found.append((record, raw.data))
    if others:
        raise about_others(others, manifest)
    return found


def _unreadable(raw: RawEvidence) -> Evidence:
    from sovgate.formats.sealed import Evidence
    from sovgate.formats.statement import PREDICATE_TYPES

    return Evidence(
        role="provenance",
        predicate_type=PREDICATE_TYPES["provenance"],
        sha256=raw.sha256,
        size=len(raw.data),
    )
