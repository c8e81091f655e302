"""The documents of a release's story, each as a node that says whether it verified, and by whom.

Reads a store; what does not verify or is not there becomes a node, never an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import NotFound, SovgateError, VerificationFailed
from sovgate.records import Release, Sized
from sovgate.stages.trust import Trusted, Verified, open_statement

if TYPE_CHECKING:
    from sovgate.formats.decision import SignedDecision
    from sovgate.formats.promotion import Promotion
    from sovgate.formats.receipt import Receipt
    from sovgate.formats.transfer import EvidenceRef, Transfer
    from sovgate.pipeline.look.entries import Found
    from sovgate.stages.record import DatasetFacts
    from sovgate.stages.transfer import Record
    from sovgate.stores._api import Store

#: Its signature verified, and its signer is trusted for it.
VERIFIED = "verified"
#: It is there, but does not verify, or is about something else.
FAILED = "failed"
#: Something that verified names it by digest, and it is not there.
MISSING = "missing"
#: Said inside of what stands above it, whose word it is; nothing of its own to verify.
STATED = "stated"

MAX_DECISION = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Node:
    """`by` is who signed, by the name that the project gives; `why` what keeps it from VERIFIED."""

    kind: str
    what: str
    status: str
    by: str | None = None
    when: str | None = None
    sha256: str | None = None
    why: str | None = None
    children: tuple[Node, ...] = ()

    def json(self) -> dict[str, object]:
        return {**vars(self), "children": [child.json() for child in self.children]}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def failed(kind: str, what: str, error: SovgateError, digest: str | None = None) -> Node:
    why = f"{error.reason}: " + ". ".join(part for part in (error.what, error.why) if part)
    return Node(kind=kind, what=what, status=FAILED, why=why, sha256=digest)


def _when(moment: datetime) -> str:
    return strict.format_time(moment)


# --- the transfer and what came along -----------------------------------------------------------


def transfer(
    store: Store,
    record: Record,
    trusted: Sequence[Trusted],
    datasets: Mapping[str, DatasetFacts],
) -> Node:
    told = record.transfer
    children = [
        Node(kind="model", what=f"manifest sha256:{told.manifest.sha256}", status=STATED),
        _signature(store, told, trusted),
        *(_evidence(store, told, ref, trusted, datasets) for ref in told.evidence),
        _blobs(store, told),
    ]
    where = told.destination
    return Node(
        kind="transfer",
        what=f"number {told.sequence}, from {told.source.zone} ({told.source.provider_region}) to "
        f"{where.zone} ({where.provider_region}), for key {told.recipient.key_id[:16]}…",
        status=VERIFIED,
        by=record.signer.name,
        when=_when(told.created),
        sha256=record.sha256,
        children=tuple(children),
    )


def _signature(store: Store, told: Transfer, trusted: Sequence[Trusted]) -> Node:
    from sovgate.formats.manifest import Manifest
    from sovgate.pipeline.move.cargo import check_signed
    from sovgate.stages.transfer import get_blob

    digest = told.signature.sha256
    try:
        manifest = Manifest.parse(get_blob(store, told.manifest, what="manifest"))
        bundle = get_blob(store, told.signature, what="signature")
        if manifest.digest != told.manifest.sha256:
            raise VerificationFailed("the manifest is another one", reason="wrong-manifest")
        signer = check_signed(bundle, manifest, trusted)
    except NotFound as error:
        return Node(
            kind="signature", what="of the model", status=MISSING, sha256=digest, why=error.what
        )
    except VerificationFailed as error:
        return failed("signature", "of the model", error, digest)
    count = len(manifest.resources)
    files = f"{count} file{'s' * (count != 1)}, {manifest.total} bytes"
    return Node(
        kind="signature",
        what=f"of the model: {files}",
        status=VERIFIED,
        by=signer.name,
        sha256=digest,
    )


def _blobs(store: Store, told: Transfer) -> Node:
    from sovgate.formats.transfer import blob_name

    sizes = {blob.sha256: blob.size for blob in told.blobs}
    sizes[told.keytable.sha256] = told.keytable.size
    what = f"{len(sizes)} blobs, {sum(sizes.values())} bytes of ciphertext"
    missing = []
    for digest, size in sizes.items():
        try:
            stat = store.stat(blob_name(digest))
        except VerificationFailed as error:
            return failed("weights", what, error, digest)
        if stat is None or stat.size != size:
            missing.append(digest)
    if missing:
        return Node(
            kind="weights",
            what=what,
            status=MISSING,
            sha256=missing[0],
            why=f"{len(missing)} of them are not there, or of another size",
        )
    return Node(kind="weights", what=what, status=STATED)


def _evidence(
    store: Store,
    told: Transfer,
    ref: EvidenceRef,
    trusted: Sequence[Trusted],
    datasets: Mapping[str, DatasetFacts],
) -> Node:
    from sovgate.stages.transfer import get_blob

    try:
        data = get_blob(store, Sized(sha256=ref.sha256, size=ref.size), what="evidence")
        verified = open_statement(data, trusted, role=ref.role)
        if verified.statement.subject_sha256 != told.manifest.sha256:
            raise VerificationFailed("it is about another model", reason="other-model")
        return _TELL.get(ref.role, _plain)(verified, datasets)
    except NotFound as error:
        return Node(
            kind=ref.role,
            what=ref.predicate_type,
            status=MISSING,
            sha256=ref.sha256,
            why=error.what,
        )
    except VerificationFailed as error:
        return failed(ref.role, ref.predicate_type, error, ref.sha256)


def _node(
    verified: Verified, what: str, *, when: datetime | None = None, children: Sequence[Node] = ()
) -> Node:
    return Node(
        kind=verified.role,
        what=what,
        status=VERIFIED,
        by=verified.signer.name,
        when=None if when is None else _when(when),
        sha256=verified.sha256,
        children=tuple(children),
    )


def _plain(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    return _node(verified, verified.statement.predicate_type)


def _provenance(verified: Verified, datasets: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats import provenance

    record = provenance.parse(verified.statement.predicate)
    children = [_dataset(item, datasets.get(item.name)) for item in record.datasets]
    children += [
        Node(kind="base", what=f"{base.name}, manifest sha256:{base.manifest}", status=STATED)
        for base in record.base_models
    ]
    if record.commit:
        children.append(Node(kind="source", what=f"commit {record.commit}", status=STATED))
    said = [f"{name} {value}" for name, value in sorted(record.metrics.items())]
    what = "training record" + (f": {', '.join(said)}" if said else "")
    return _node(verified, what, when=record.finished, children=children)


def _dataset(item: object, now: DatasetFacts | None) -> Node:
    from sovgate.formats.provenance import RecordedDataset

    assert isinstance(item, RecordedDataset)  # noqa: S101 - for the type checker
    if item.stays_in is None:
        stays = "residence unknown"
    else:
        stays = " and ".join("in " + " or ".join(one) for one in item.stays_in) or "free"
    commitment = "no commitment"
    if item.commitment is not None:
        commitment = f"commitment {item.commitment[:16]}…"
        if now is not None and now.commitment is not None:
            same = now.commitment == item.commitment
            commitment += ", as declared today" if same else ", which is not that of today"
    category = item.category or "no category"
    return Node(
        kind="data set",
        what=f"{item.name} ({category}), {stays}, {commitment}",
        status=STATED,
        sha256=item.commitment,
    )


def _sbom(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    predicate = verified.statement.predicate
    form = predicate.get("bomFormat") or "SPDX"
    parts = predicate.get("components") or predicate.get("@graph") or ()
    count = len(parts) if isinstance(parts, (list, tuple)) else 0
    return _node(verified, f"{str(form)[:40]}, {count} components")


def _gate(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats import testresult

    predicate = verified.statement.predicate
    if testresult.EXTENSION not in predicate:
        return _node(verified, "a test result that names no gate of the project")
    found = testresult.parse(predicate)
    held = f" {found.bound} {found.threshold}" if found.bound else ""
    measure = found.measure
    ends = f", {measure.low} to {measure.high}" if measure.low is not None else ""
    return _node(verified, f"{found.gate}{held}: {found.outcome}{ends}, n = {measure.n}")


def _legal(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats import legal

    found = legal.parse(verified.statement.predicate)
    until = f", until {_when(found.until)}" if found.until else ""
    return _node(verified, f"{found.dataset} in zone {found.zone}{until}: {found.statement}")


def _decision(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats.decision import parse_decision

    found = parse_decision(verified.statement)
    return _node(verified, _decided(found, verified), when=found.time)


def _decided(found: SignedDecision, verified: Verified) -> str:
    from sovgate.formats.decision import EXTENSION

    ours = verified.statement.predicate[EXTENSION]
    denied = [
        str(rule["id"])
        for rule in (ours["rules"] if isinstance(ours, dict) else ())
        if isinstance(rule, dict) and rule.get("answer") not in ("allow", "warn")
    ]
    where = f"from {found.source} to {found.destination}"
    if found.source == found.destination:
        where = f"in {found.destination}"
    verdict = "allowed" if found.passed else "denied by " + (", ".join(denied) or "no permit")
    policy = f"policy {found.policy_sha256[:16]}…"
    return f"{found.action} of {found.cls} {where}: {verdict}; {policy}"


_TELL: dict[str, Callable[[Verified, Mapping[str, DatasetFacts]], Node]] = {
    "provenance": _provenance,
    "sbom": _sbom,
    "gate": _gate,
    "legal": _legal,
    "decision": _decision,
}


# --- what the destination says ------------------------------------------------------------------


def _named_decision(store: Store, digest: str, trusted: Sequence[Trusted]) -> Node:
    """A decision that is named by digest, as it lies among the blobs."""
    from sovgate.formats.transfer import blob_name

    try:
        data = store.get(blob_name(digest), most=MAX_DECISION)
        if sha256(data) != digest:
            raise VerificationFailed("it was changed", reason="digest-mismatch")
        return _decision(open_statement(data, trusted, role="decision"), {})
    except NotFound:
        return Node(
            kind="decision",
            what="that it rests on",
            status=MISSING,
            sha256=digest,
            why="it is not in the store",
        )
    except VerificationFailed as error:
        return failed("decision", "that it rests on", error, digest)


def receipt(
    store: Store, data: bytes, told: Receipt, release: Release, trusted: Sequence[Trusted]
) -> Node:
    passed = [check.id for check in told.checks if check.passed]
    bad = [check.id for check in told.checks if not check.passed]
    what = f"opened in {told.zone} ({told.location or 'place unknown'}); passed: "
    what += ", ".join(passed) + (f"; FAILED: {', '.join(bad)}" if bad else "")
    node = Node(
        kind="receipt",
        what=what,
        status=VERIFIED,
        by=open_statement(data, trusted, role="receipt").signer.name,
        when=_when(told.opened),
        sha256=sha256(data),
        children=(_named_decision(store, told.decision, trusted),),
    )
    return _fits(node, store, told.record, release, told.release)


def promotion(
    store: Store, data: bytes, told: Promotion, release: Release, trusted: Sequence[Trusted]
) -> Node:
    from sovgate.pipeline.rollout.promoted import check_decision

    children = []
    try:
        check_decision(store, told, trusted)
        children.append(_named_decision(store, told.decision, trusted))
    except VerificationFailed as error:
        found = _named_decision(store, told.decision, trusted)
        children.append(
            found
            if found.status != VERIFIED
            else failed("decision", found.what, error, told.decision)
        )
    children.append(
        Node(
            kind="commit",
            what=f"{told.commit} on {told.branch} of {told.repo}, {told.path}",
            status=STATED,
        )
    )
    before = f", after {told.previous.release}" if told.previous else ""
    what = f"number {told.number} in {told.zone}: {told.release}{before}"
    if told.kind == "rollback":
        before = f" from {told.previous.release}" if told.previous else ""
        what = f"number {told.number} in {told.zone}{before} to {told.release}: {told.reason}"
    node = Node(
        kind=told.kind,
        what=what,
        status=VERIFIED,
        by=open_statement(data, trusted, role="promotion").signer.name,
        when=_when(told.created),
        sha256=sha256(data),
        children=tuple(children),
    )
    if str(told.release) != str(release):
        return node  # a rollback that left it
    return _fits(node, store, told.record, release, told.release)


def _fits(node: Node, store: Store, record: str, release: Release, told: Release) -> Node:
    """It must be about the release record that is there."""
    from dataclasses import replace

    from sovgate.formats.transfer import MAX_BYTES, record_name

    if str(told) != str(release):
        return replace(node, status=FAILED, why=f"it is about {told}")
    try:
        now = sha256(store.get(record_name(release), most=MAX_BYTES))
    except NotFound:
        return replace(node, status=MISSING, why="the release record that it names is not there")
    except VerificationFailed as error:
        return replace(node, status=FAILED, why=error.what)
    if now != record:
        why = f"it names the release record sha256:{record}, but there is sha256:{now}"
        return replace(node, status=FAILED, why=why)
    return node


def entry(found: Found, zone: str, store: Store, trusted: Sequence[Trusted]) -> Node:
    """One entry of a zone's audit log; of a denial the decisions too, which lie beside the log."""
    told, said = found.entry, found.said
    if told is None or said is None:
        return Node(
            kind="entry", what=found.name, status=FAILED, sha256=found.sha256, why=found.error
        )
    signer = said.speaking_for(zone)
    exited = "" if told.exit is None else f", exit {told.exit}"
    way = "" if told.source == told.destination else f" from {told.source} to {told.destination}"
    return Node(
        kind="entry",
        what=f"{told.kind} of {told.action}{way}{exited}",
        status=VERIFIED if signer else FAILED,
        by=(signer or said.signer).name,
        when=_when(told.time),
        sha256=found.sha256,
        why=None if signer else f"{said.signer.name} does not speak for zone {zone}",
        children=tuple(
            _named_decision(store, ref.sha256, trusted)
            for ref in (told.refs if told.kind == "denied" else ())
            if ref.role == "decision"
        ),
    )
