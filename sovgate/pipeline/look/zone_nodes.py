"""What a zone says of a release, each document as a node: receipts, promotions, log entries.

Reads a store; what does not verify or is not there becomes a node, never an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import NotFound, VerificationFailed
from sovgate.pipeline.look.evidence_nodes import decision
from sovgate.pipeline.look.node import FAILED, MISSING, STATED, VERIFIED, Node, failed, sha256, when
from sovgate.records import Release
from sovgate.stages.trust import Trusted, open_statement

if TYPE_CHECKING:
    from sovgate.formats.promotion import Promotion
    from sovgate.formats.receipt import Receipt
    from sovgate.pipeline.look.entries import Found
    from sovgate.stores._api import Store

MAX_DECISION = 16 * 1024 * 1024


def _named_decision(store: Store, digest: str, trusted: Sequence[Trusted]) -> Node:
    """A decision that is named by digest, as it lies among the objects."""
    from sovgate.formats.transfer import object_name

    try:
        data = store.get(object_name(digest), most=MAX_DECISION)
        if sha256(data) != digest:
            raise VerificationFailed("it was changed", reason="digest-mismatch")
        return decision(open_statement(data, trusted, role="decision"), {})
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
        when=when(told.opened),
        sha256=sha256(data),
        children=(_named_decision(store, told.decision, trusted),),
    )
    return _fits(node, store, told.record, release, told.release)


@dataclass(frozen=True, kw_only=True)
class Around:
    """What the other records say of one: `proposed` is the proposal that was merged into it, and of
    a proposal, `merged` the promotion that it became, or `later` one of the same release."""

    proposed: Promotion | None = None
    merged: Promotion | None = None
    later: Promotion | None = None


def _end(around: Around) -> str:
    """What became of a proposal. One that was edited and merged is not what was proposed."""
    if around.merged is not None:
        return f"merged as number {around.merged.number}"
    end = "not merged as it was proposed: it waits, was closed, or was edited before"
    if around.later is not None:
        end += f"; the release was promoted as number {around.later.number} later"
    return end


def promotion(
    store: Store,
    data: bytes,
    told: Promotion,
    release: Release,
    trusted: Sequence[Trusted],
    around: Around,
) -> Node:
    from sovgate.pipeline.rollout.promotion_decision import check_decision

    children = []
    try:
        check_decision(store, told, trusted, proposed=around.proposed)
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
    if told.kind == "proposal":
        back = f" to go back: {told.reason}" if told.reason else ""
        end = _end(around)
        what = f"number {told.number} in {told.zone}: {told.release}{before}{back}; {end}"
    node = Node(
        kind=told.kind,
        what=what,
        status=VERIFIED,
        by=open_statement(data, trusted, role="promotion").signer.name,
        when=when(told.created),
        sha256=sha256(data),
        children=tuple(children),
    )
    if str(told.release) != str(release):
        return node  # a rollback that left it
    return _fits(node, store, told.record, release, told.release)


def _fits(node: Node, store: Store, record: str, release: Release, told: Release) -> Node:
    """It must be about the release record that is there."""
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
    about = told.about
    way = (
        "" if about.source == about.destination else f" from {about.source} to {about.destination}"
    )
    return Node(
        kind="entry",
        what=f"{about.action}{way}: {told.kind}{exited}",
        status=VERIFIED if signer else FAILED,
        by=(signer or said.signer).name,
        when=when(told.time),
        sha256=found.sha256,
        why=None if signer else f"{said.signer.name} does not speak for zone {zone}",
        children=tuple(
            _named_decision(store, ref.sha256, trusted)
            for ref in (told.refs if told.kind == "denied" else ())
            if ref.role == "decision"
        ),
    )
