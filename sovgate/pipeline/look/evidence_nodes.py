"""The evidence that came with a release, each statement as a node. Reads a store.

What does not verify or is not there becomes a node, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sovgate.errors import NotFound, VerificationFailed
from sovgate.pipeline.look.node import MISSING, STATED, VERIFIED, Node, failed, when
from sovgate.records import Sized
from sovgate.stages.trust import Trusted, Verified, open_statement

if TYPE_CHECKING:
    from sovgate.formats.decision import SignedDecision
    from sovgate.formats.transfer import EvidenceRef, Transfer
    from sovgate.stages.record import DatasetFacts
    from sovgate.stores._api import Store


def evidence(
    store: Store,
    told: Transfer,
    ref: EvidenceRef,
    trusted: Sequence[Trusted],
    datasets: Mapping[str, DatasetFacts],
) -> Node:
    from sovgate.stages.transfer import get_object

    try:
        data = get_object(store, Sized(sha256=ref.sha256, size=ref.size), "evidence")
        verified = open_statement(data, trusted, role=ref.role)
        if verified.statement.subject_sha256 != told.manifest.sha256:
            raise VerificationFailed("it is about another model", reason="other-model")
        return _READERS.get(ref.role, _plain)(verified, datasets)
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
    verified: Verified, what: str, *, moment: datetime | None = None, children: Sequence[Node] = ()
) -> Node:
    return Node(
        kind=verified.role,
        what=what,
        status=VERIFIED,
        by=by_name(verified.signer),
        when=None if moment is None else when(moment),
        sha256=verified.sha256,
        children=tuple(children),
    )


def by_name(signer: Trusted) -> str:
    """A keyless signer is more than the name that a project gives it."""
    logged = signer.logged
    if logged is None:
        return signer.name
    return f"{signer.name} ({logged.identity} of {logged.issuer}, {when(logged.time)})"


def _plain(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    return _node(verified, verified.statement.predicate_type)


def _provenance(verified: Verified, datasets: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats import provenance

    record = provenance.parse(verified.statement.predicate)
    children = [_dataset(item, datasets.get(item.name)) for item in record.datasets]
    children += [
        Node(
            kind="base",
            what=f"{base.name}, {'manifest ' if base.manifest else ''}{base.identity}",
            status=STATED,
        )
        for base in record.base_models
    ]
    if record.commit:
        children.append(Node(kind="source", what=f"commit {record.commit}", status=STATED))
    said = [f"{name} {value}" for name, value in sorted(record.metrics.items())]
    what = "training record" + (f": {', '.join(said)}" if said else "")
    return _node(verified, what, moment=record.finished, children=children)


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
    from sovgate.gates import registry

    predicate = verified.statement.predicate
    if testresult.EXTENSION not in predicate:
        return _node(verified, "a test result that names no gate of the project")
    found = testresult.parse(predicate)
    why = registry.misfit(found) or registry.contradiction(found)
    if why is not None:
        raise VerificationFailed(
            "its result does not follow from what it counts", why=why, reason="contradicted"
        )
    held = f" {found.bound} {found.threshold}" if found.bound else ""
    measure = found.measure
    ends = ""
    if measure.low is not None and measure.high is not None:
        ends = f", {float(measure.low):.4g} to {float(measure.high):.4g}"
    return _node(verified, f"{found.gate}{held}: {found.outcome}{ends}, n = {measure.n}")


def _legal(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats import legal

    found = legal.parse(verified.statement.predicate)
    until = f", until {when(found.until)}" if found.until else ""
    return _node(verified, f"{found.dataset} in zone {found.zone}{until}: {found.statement}")


def decision(verified: Verified, _: Mapping[str, DatasetFacts]) -> Node:
    from sovgate.formats.decision import parse_decision

    found = parse_decision(verified.statement)
    return _node(verified, _decided(found, verified), moment=found.time)


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
    policy = f"policy {found.digests.policy[:16]}…"
    return f"{found.action} of {found.cls} {where}: {verdict}; {policy}"


_READERS: dict[str, Callable[[Verified, Mapping[str, DatasetFacts]], Node]] = {
    "provenance": _provenance,
    "sbom": _sbom,
    "gate": _gate,
    "legal": _legal,
    "decision": decision,
}
