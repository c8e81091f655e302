"""What a push sends: a signed model with its evidence, or what `encrypt` made of one.

Everything here has verified against the source's own trust; nothing has crossed yet.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, UsageError, VerificationFailed
from sovgate.formats import leftovers
from sovgate.pipeline.beside import about_others, read_records, require_readable
from sovgate.pipeline.move.copies import Copy, read_copy, refused, require_maker
from sovgate.records import Options, Release, Sized
from sovgate.stages import attest

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.plan import Plan
    from sovgate.formats.transfer import EvidenceRef
    from sovgate.pipeline.move.shards.folder import Shared
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.transfer import Document, Record
    from sovgate.stages.trust import Trusted

#: What is said of a model wherever it is. What is said of another movement stays behind.
CARRIED = frozenset({"sbom", "provenance", "gate", "legal", "waiver"})


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """`root` is what is still to be encrypted; `copy` what was already; `shared` what other
    machines sent. `shard`: i of n, where only that share of the model is sent.

    evidence     statements as found, for policy, which judges each
    documents    those that verify and travel along
    left_behind  the names of the others, each with the reason; and what tools left in the folder
    """

    manifest: Manifest
    signature: bytes
    signer: Trusted
    evidence: tuple[RawEvidence, ...]
    documents: tuple[Document, ...]
    left_behind: tuple[str, ...]
    root: Path | None = None
    copy: Copy | None = None
    shard: tuple[int, int] | None = None
    shared: Shared | None = None

    @property
    def names(self) -> frozenset[str] | None:
        """The files that are read here; None: all. Those without a byte are in no shard, and are
        looked at by each."""
        from sovgate.formats.plan import Plan

        if self.shard is None:
            return None
        number, of = self.shard
        plan = Plan.of(self.manifest)
        own = {content.digest for content in plan.only(plan.deal(of)[number - 1]).contents}
        files = self.manifest.resources
        return frozenset(one.name for one in files if not one.size or one.digest in own)

    @property
    def plan(self) -> Plan:
        from sovgate.formats.plan import Plan

        return Plan.of(self.manifest)


def total(outgoing: Sequence[Outgoing]) -> int:
    """Plaintext bytes that go by: of a model each file is read, for all zones; of each zone's copy
    each chunk is."""
    if outgoing[0].copy is None:
        return outgoing[0].manifest.total
    return sum(one.plan.size for one in outgoing)


def refs(items: Iterable[Document | EvidenceRef]) -> tuple[tuple[str, str], ...]:
    """(role, SHA-256) of what is said of a model wherever it is."""
    return tuple((item.role, item.sha256) for item in items if item.role in CARRIED)


def later(outgoing: Outgoing, there: Record | None) -> tuple[tuple[str, str], ...]:
    """What lies here, and is no part of the release that is in the store already."""
    if there is None:
        return ()
    has = set(refs(there.transfer.evidence))
    return tuple(one for one in refs(outgoing.documents) if one not in has)


def is_sealed(folders: attest.Folders, zone: str, signature: Path | None = None) -> bool:
    """Whether `source` is a folder that `encrypt` made, with a copy for `zone`.

    A model's author decides what lies in the model: one with such a folder in it must not have
    another release pushed in its place. Raises UsageError, reason "ambiguous-source".
    """
    source = folders.model
    signed = signature is not None or folders.signed
    if not (source / zone / "sealed.json").is_file():
        if not signed and (source / "sealed.json").is_file():
            raise UsageError(
                f"{os.fspath(source)!r} is one zone's part of an encrypted copy",
                fix=f"name the folder that encrypt -o wrote: {source.parent}",
                reason="ambiguous-source",
            )
        return False
    if signed:
        raise UsageError(
            f"{os.fspath(source)!r} is a signed model, and an encrypted copy for {zone}",
            why=f"it has a signature beside it, and {zone}/sealed.json in it",
            fix="remove that folder from the model, or name the folder that encrypt -o wrote",
            reason="ambiguous-source",
        )
    return True


def from_model(
    folders: attest.Folders,
    trusted: Sequence[Trusted],
    *,
    signature: Path | None,
    encrypts: bool,
    options: Options,
) -> Outgoing:
    """Verify a model and read its evidence. Raises as `verify.verify_model` does, UsageError.

    `encrypts`: the bytes are going to be read, hashed and compared anyway, so a signature that
    tells sizes is held against the list of files only, and the model is read once.
    """
    from sovgate.stages.verify import Scope, verify_listing, verify_model

    model = folders.model
    path, bundle = folders.read_signature(signature)
    scope = Scope(signature=path, strict_git=True)
    verified = verify_listing(model, bundle, trusted, scope)
    if verified is None or not encrypts:
        verified = verify_model(
            model, bundle, trusted, scope, advance=options.advance, total=options.expect
        )
    raw = read_records(folders, verified.manifest.digest)
    documents, left_behind = select(raw, trusted, verified.manifest.digest)
    if (left_out := leftovers.told(verified.left_out)) is not None:
        left_behind = (*left_behind, left_out)
    return Outgoing(
        manifest=verified.manifest,
        signature=bundle,
        signer=verified.signer,
        evidence=raw,
        documents=documents,
        left_behind=left_behind,
        root=verified.root,
    )


def from_copy(
    source: Path,
    zone: str,
    release: Release,
    trusted: Sequence[Trusted],
    *,
    home: str,
) -> Outgoing:
    """Verify what `encrypt --release` made for `zone`: its maker, signature, manifest and evidence.

    Its maker is zone `home`, from where it is sent: else whoever has the public key of `zone` could
    have made it (RULES 31). Its chunks are verified by digest as they are sent. Raises
    VerificationFailed, UsageError.
    """
    from sovgate.formats.manifest import Manifest

    copy = read_copy(source, zone)
    sealed = copy.sealed
    if sealed.release != str(release):
        raise UsageError(
            f"{str(source)!r} was not encrypted as {release} for zone {zone}",
            why=f"it is for zone {sealed.zone}, as {sealed.release or 'no release'}",
            fix=f"encrypt the model with --to {zone} --release {release}",
            reason="wrong-release",
        )
    copy = require_maker(copy, home, trusted)
    bundle = copy.read(sealed.signature, "signature")
    manifest = Manifest.parse(copy.read(sealed.manifest, "manifest"))
    signer = check_signed(bundle, manifest, trusted)
    _require_told_digests(bundle, trusted)
    copy.listed(manifest)  # before the store is asked anything
    raw = tuple(
        attest.RawEvidence(
            name=f"{item.role}-{item.sha256[:16]}.sigstore.json",
            data=copy.read(Sized(sha256=item.sha256, size=item.size), "evidence"),
            sha256=item.sha256,
        )
        for item in sealed.evidence
    )
    _require_evidence(copy, home, raw)
    documents, left_behind = select(raw, trusted, manifest.digest)
    return Outgoing(
        manifest=manifest,
        signature=bundle,
        signer=signer,
        evidence=raw,
        documents=documents,
        left_behind=left_behind,
        copy=copy,
    )


def require_one_model(copies: Mapping[str, Outgoing]) -> None:
    """The copies of several zones are of one model: they become one release.

    Raises VerificationFailed, reason "wrong-manifest".
    """
    (first, one), *others = copies.items()
    for zone, other in others:
        if other.manifest.digest != one.manifest.digest:
            raise VerificationFailed(
                f"the encrypted copies for zones {first} and {zone} are of two models",
                why=f"their manifests are {one.manifest.digest} and {other.manifest.digest}",
                fix=f"encrypt the model for both at once: --to {first} --to {zone}",
                reason="wrong-manifest",
            )


def _require_evidence(copy: Copy, home: str, raw: Sequence[RawEvidence]) -> None:
    """All that lay beside the model when it was encrypted is there still (RULES 30)."""
    there = {item.sha256 for item in raw}
    missing = [digest for digest in copy.made.evidence if digest not in there] if copy.made else []
    if missing:
        error = VerificationFailed(
            "it has not all the evidence that it was made with",
            why=f"the statement {missing[0]} was taken out",
            reason="evidence-missing",
        )
        raise refused(copy, home, error)


def _require_told_digests(bundle: bytes, trusted: Sequence[Trusted]) -> None:
    """The signature alone must tell the SHA-256 of each file, since the files cannot be read here.

    Whoever has the zone's public key could else encrypt other files under the same names.
    """
    if not tells_digests(bundle, trusted):
        raise VerificationFailed(
            "the signature cannot be compared with what was encrypted",
            why="it has no SHA-256 of the files, and they cannot be read any more",
            fix="push the model itself, or sign it with sovgate before it is encrypted",
            reason="unsupported",
        )


def check_signed(bundle: bytes, manifest: Manifest, trusted: Sequence[Trusted]) -> Trusted:
    """The signature is about this very manifest, before the model's bytes are at hand.

    Bundles of other tools tell no sizes, or other digests; what they tell must agree, and the rest
    is compared once the bytes are there. Raises VerificationFailed, reason "wrong-manifest".
    """
    from sovgate.stages.verify import open_signature

    signed = open_signature(bundle, trusted)
    oms = (manifest.kind == "file" and signed.oms.as_file()) or signed.oms
    there = [(r.name, r.digest, r.size) for r in manifest.resources]
    same = oms.kind == manifest.kind and len(oms.items) == len(there)
    for item, (name, digest, size) in zip(oms.items, there, strict=False):
        same = same and item.name == name and item.size in (None, size)
        same = same and (not oms.tells_sha256 or item.digest == digest)
    if not same:
        raise VerificationFailed(
            "the signature is that of another model",
            why=f"{signed.signer.name} signed other files than those of manifest {manifest.digest}",
            fix="sign the model again, and push it under a new version",
            reason="wrong-manifest",
        )
    return signed.signer


def tells_digests(bundle: bytes, trusted: Sequence[Trusted]) -> bool:
    """Whether a signature alone tells the SHA-256 of each file."""
    from sovgate.stages.verify import open_signature

    return open_signature(bundle, trusted).oms.tells_sha256


def tells_all(bundle: bytes, trusted: Sequence[Trusted]) -> bool:
    """Whether a signature alone tells sizes and SHA-256 of all files, as ours do."""
    from sovgate.stages.verify import model_manifest

    return model_manifest(bundle, trusted) is not None


def select(
    raw: Sequence[RawEvidence], trusted: Sequence[Trusted], manifest: str
) -> tuple[tuple[Document, ...], tuple[str, ...]]:
    """The statements that travel along, and why the others do not.

    Raises VerificationFailed, reason "evidence-subject" where one is about another model (RULES 6);
    PolicyDenied, reason "no-secrets".
    """
    from sovgate.pipeline.decide.admission import refuse_carried
    from sovgate.pipeline.decide.binding import binds
    from sovgate.stages.transfer import Document
    from sovgate.stages.trust import open_statement

    documents: dict[str, Document] = {}
    left_behind: list[str] = []
    others: list[tuple[str, str]] = []
    for item in raw:
        try:
            verified = open_statement(item.data, trusted)
        except SovgateError as error:
            if binds(item, trusted, manifest):
                refuse_carried(item.name, item.data, None)
                documents[item.sha256] = _uncounted(item)
            else:
                left_behind.append(f"{item.name}: {error.what}")
            continue
        statement = verified.statement
        if verified.role not in CARRIED:
            continue
        if statement.subject_sha256 != manifest:
            others.append((item.name, statement.subject_sha256))
            continue
        refuse_carried(item.name, item.data, statement)
        documents[item.sha256] = Document(
            role=verified.role,
            predicate_type=statement.predicate_type,
            data=item.data,
            sha256=item.sha256,
        )
    if others:
        raise about_others(others, manifest)
    return tuple(documents.values()), tuple(left_behind)


def _uncounted(item: RawEvidence) -> Document:
    """RULES 30: what binds travels as what it says it is, and binds where it arrives too.

    What cannot be read travels as a training record, since it may be one.
    """
    from sovgate.formats import foreign
    from sovgate.formats.statement import PREDICATE_TYPES
    from sovgate.stages.transfer import Document

    require_readable(item)
    role, kind = "provenance", PREDICATE_TYPES["provenance"]
    with contextlib.suppress(VerificationFailed):
        said = foreign.statement(item.data)
        role, kind = said.role, said.predicate_type
    return Document(role=role, predicate_type=kind, data=item.data, sha256=item.sha256)
