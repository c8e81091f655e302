"""audit show: a release's whole history, from the stores that the project names. Reads only.

Every node says whether its signature verified, and by whom; what cannot be verified is a node too.
The modules `transfer_nodes` and `zone_nodes` read the documents; here they are put in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import (
    DiskError,
    ExitCode,
    KeyServiceError,
    NotFound,
    StoreError,
    VerificationFailed,
)
from sovgate.pipeline.look import transfer_nodes, zone_nodes
from sovgate.pipeline.look.audit import keeps_log
from sovgate.pipeline.look.entries import Found, read_entries
from sovgate.pipeline.look.node import FAILED, MISSING, STATED, Node, failed
from sovgate.pipeline.look.node import sha256 as digest_of
from sovgate.pipeline.project import Project, open_project
from sovgate.records import Release
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.formats.promotion import Promotion
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store

#: Objects below one prefix that are looked at.
MAX_DOCUMENTS = 10_000
MAX_PROMOTION = 1024 * 1024
_UNREADABLE = (StoreError, KeyServiceError, DiskError)
_UNKNOWN = (datetime.max.replace(tzinfo=UTC), 0)


@dataclass(frozen=True, kw_only=True)
class History:
    release: Release
    root: Node

    def all(self) -> Iterator[Node]:
        yield from _walk(self.root)

    def count(self, status: str) -> int:
        return sum(node.status == status for node in self.all())

    @property
    def exit(self) -> ExitCode:
        """11 where something does not verify, 14 where something that is named is not there."""
        if self.count(FAILED):
            return ExitCode.VERIFICATION
        return ExitCode.INCONCLUSIVE if self.count(MISSING) else ExitCode.OK


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def show(release: Release, *, zone: str | None = None, project: Path | None = None) -> History:
    """Read the history of `release` in one zone, or in every zone that has a store.

    Raises UsageError, ConfigError, StoreError; NotFound where no store and no log knows of it.
    """
    opened = open_project(project)
    names = [opened.zone(zone).name] if zone is not None else list(opened.config.zones)
    logs = {name: _Log(opened, name, asked=name in names) for name in opened.config.zones}
    nodes = [
        node
        for name in names
        if opened.zone(name).store is not None
        for node in [_zone_or_why_not(opened, name, release, logs)]
        if node is not None
    ]
    nodes += [node for name in names for node in [logs[name].about(release)] if node is not None]
    if not nodes:
        raise NotFound(
            f"nothing is known about {release}",
            why="searched the stores and logs of " + ", ".join(names),
            fix="check name and version; name the zone's project with --project",
            reason="no-release",
        )
    root = Node(kind="release", what=str(release), status=STATED, children=tuple(nodes))
    return History(release=release, root=root)


class _Log:
    """A zone's log, read when it is looked into. `asked`: it is one of the zones asked for.

    `unread` says why nothing could be read, `broken` what lies there that no log holds.
    """

    def __init__(self, opened: Project, zone: str, *, asked: bool) -> None:
        self._opened, self.zone, self._asked = opened, zone, asked
        self.unread: str | None = None
        self.broken: VerificationFailed | None = None

    @cached_property
    def store(self) -> Store:
        return self._opened.audit_store(self.zone)

    @cached_property
    def trusted(self) -> Sequence[Trusted]:
        return self._opened.trusted_in(self.zone)

    @cached_property
    def entries(self) -> list[Found]:
        """Nothing where the log cannot be read; then `unread` or `broken` says why."""
        try:
            return list(read_entries(self.store, self.trusted))
        except _UNREADABLE as error:
            self.unread = error.what
        except VerificationFailed as error:
            self.broken = error
        return []

    def _node(self, found: Found) -> Node:
        return zone_nodes.entry(found, self.zone, self.store, self.trusted)

    def head(self, sha256: str) -> Node:
        """Whether the entry that a document names as the head of its run is there."""
        if not self.entries:
            return self._nothing(sha256)
        for found in self.entries:
            if found.sha256 == sha256:
                return self._node(found)
        return Node(
            kind="log",
            what="the entry that it names",
            status=MISSING,
            sha256=sha256,
            why=f"it is not in the log of zone {self.zone}: the log was cut",
        )

    def _nothing(self, sha256: str) -> Node:
        """RULES 28: a log that was removed whole was cut, where it ought to be in reach."""
        if self.broken is not None:
            return failed("log", f"of zone {self.zone}", self.broken, sha256)
        expected = self._asked and keeps_log(self._opened, self.zone)
        if expected and self.unread is None:
            return Node(
                kind="log",
                what="the entry that it names",
                status=MISSING,
                sha256=sha256,
                why=f"the log of zone {self.zone} is empty: it was removed",
            )
        return Node(
            kind="log",
            what=f"of zone {self.zone} cannot be reached from here",
            status=MISSING if expected else STATED,
            sha256=sha256,
            why=self.unread,
        )

    def about(self, release: Release) -> Node | None:
        """What was done, or denied, about the release, run after run; and what is wrong here."""
        begun: dict[str, tuple[datetime, int]] = {}
        for found in self.entries:
            if found.entry is not None and found.entry.index == 0:
                # Within one second: who saw more runs came later.
                begun[found.entry.run] = (found.entry.time, len(found.entry.seen))
        own = [
            found
            for found in self.entries
            if found.entry is not None and found.entry.about.release is not None
            if str(found.entry.about.release) == str(release)
        ]
        if self.broken is not None:
            return failed("log", f"of zone {self.zone}", self.broken)
        if not own:
            return None
        own.sort(key=lambda f: (begun.get(f.name.split("/")[1], _UNKNOWN), f.name))
        bad = [self._node(found) for found in self.entries if found.entry is None]
        node = Node(
            kind="log",
            what=f"of zone {self.zone}",
            status=STATED,
            children=(*(self._node(found) for found in own), *bad),
        )
        try:
            audit.verify(self.store, self.trusted, zone=self.zone)
        except VerificationFailed as error:
            why = f"{error.reason}: {error.what}: {error.why}"
            return replace(node, status=FAILED, why=why)
        return node

    def promotions(self, model: str) -> dict[str, str]:
        """Promotion records that a run of this zone says it wrote: digest -> entry."""
        return {
            ref.sha256: found.name
            for found in self.entries
            if found.entry is not None and found.said is not None
            if found.entry.about.model == model and found.said.speaking_for(self.zone) is not None
            if (found.entry.kind, found.entry.exit) == ("outcome", 0)
            for ref in found.entry.refs
            if ref.role in ("promotion", "proposal")
        }


def _zone_or_why_not(
    opened: Project, zone: str, release: Release, logs: dict[str, _Log]
) -> Node | None:
    """A store that does not answer, or holds what no store does, hides nothing of the others."""
    try:
        return _zone(opened, zone, release, logs)
    except VerificationFailed as error:
        return failed("zone", f"{zone}, whose store cannot be read", error)
    except _UNREADABLE as error:
        why = ". ".join(part for part in (error.what, error.why) if part)
        what = f"{zone}, whose store cannot be read"
        return Node(kind="zone", what=what, status=MISSING, why=why)


def _zone(opened: Project, zone: str, release: Release, logs: dict[str, _Log]) -> Node | None:
    store, trusted = opened.store(zone), opened.trusted_in(zone)
    children = [
        *_transfer(opened, store, release, trusted, logs),
        *_receipts(store, release, trusted, logs),
        *_promotions(store, zone, release, trusted, logs),
    ]
    if not children:
        return None
    region = opened.zone(zone).region
    return Node(
        kind="zone", what=f"{zone} ({region}), {store.uri}", status=STATED, children=tuple(children)
    )


def _transfer(
    opened: Project,
    store: Store,
    release: Release,
    trusted: Sequence[Trusted],
    logs: dict[str, _Log],
) -> list[Node]:
    from sovgate.stages import transfer

    try:
        record = transfer.read_record(store, release, trusted)
    except VerificationFailed as error:
        return [failed("transfer", "the release record", error)]
    if record is None:
        return []
    if release.pin is not None and release.pin != record.transfer.manifest.sha256:
        why = f"its manifest is sha256:{record.transfer.manifest.sha256}"
        return [
            Node(
                kind="transfer",
                what="of another model than was asked for",
                status=FAILED,
                sha256=record.sha256,
                why=why,
            )
        ]
    node = transfer_nodes.transfer(store, record, trusted, opened.datasets())
    source = logs.get(record.transfer.source.zone)
    if source is not None:
        head = source.head(record.transfer.audit_head)
        node = replace(node, children=(*node.children, head))
    return [node]


def _receipts(
    store: Store, release: Release, trusted: Sequence[Trusted], logs: dict[str, _Log]
) -> Iterator[Node]:
    from sovgate.formats.receipt import MAX_BYTES
    from sovgate.stages import transfer

    for name in _names(store, f"receipts/{release.model}/{release.version}/"):
        try:
            data = store.get(name, most=MAX_BYTES)
            receipt = transfer.open_receipt(data, trusted)
        except VerificationFailed as error:
            yield failed("receipt", name, error)
            continue
        node = zone_nodes.receipt(store, data, receipt, release, trusted)
        log = logs.get(receipt.zone)
        if log is not None:
            node = replace(node, children=(*node.children, log.head(receipt.audit_head)))
        yield node


def _promotions(
    store: Store, zone: str, release: Release, trusted: Sequence[Trusted], logs: dict[str, _Log]
) -> Iterator[Node]:
    """Each promotion and proposal of it, and each rollback to or from it; and what is wrong."""
    from sovgate.formats.promotion import PROMOTIONS, PROPOSALS
    from sovgate.stages.promote import open_promotion, read_ledger

    there: dict[str, Promotion] = {}
    about: list[tuple[bytes, Promotion]] = []
    for folder in (PROMOTIONS, PROPOSALS):
        for name in _names(store, f"{folder}/{zone}/{release.model}/"):
            try:
                data = store.get(name, most=MAX_PROMOTION)
                promotion = open_promotion(data, trusted)
            except VerificationFailed as error:
                yield failed("promotion", name, error)
                continue
            there[digest_of(data)] = promotion
            if _is_about(promotion, release):
                about.append((data, promotion))
    for data, promotion in about:
        node = zone_nodes.promotion(
            store, data, promotion, release, trusted, _around(promotion, there.values())
        )
        yield replace(node, children=(*node.children, logs[zone].head(promotion.audit_head)))
    try:
        read_ledger(store, zone, release.model, trusted)
    except VerificationFailed as error:
        yield failed("promotions", f"as a chain in zone {zone}", error)
    for digest, entry in logs[zone].promotions(release.model).items():
        if digest not in there:
            yield Node(
                kind="promotion",
                what="a record that was removed",
                status=MISSING,
                sha256=digest,
                why=f"{entry} says that it was written",
            )


def _is_about(promotion: Promotion, release: Release) -> bool:
    told = {str(promotion.release)}
    if promotion.kind == "rollback" and promotion.previous:
        told.add(str(promotion.previous.release))
    return str(release) in told


def _around(promotion: Promotion, every: Iterable[Promotion]) -> zone_nodes.Around:
    """A proposal and the promotion that it became name the head of the one run that decided."""
    for other in every:
        if other.audit_head == promotion.audit_head and other is not promotion:
            if promotion.kind == "proposal" and other.kind != "proposal":
                return zone_nodes.Around(merged=other)
            if promotion.kind != "proposal" and other.kind == "proposal":
                return zone_nodes.Around(proposed=other)
    if promotion.kind != "proposal":
        return zone_nodes.Around()
    later = [
        other
        for other in every
        if other.kind != "proposal"
        and (other.release, other.record) == (promotion.release, promotion.record)
        and other.created >= promotion.created
    ]
    return zone_nodes.Around(later=min(later, key=lambda one: one.number, default=None))


def _names(store: Store, prefix: str) -> Iterator[str]:
    try:
        for count, name in enumerate(store.list(prefix)):
            if count >= MAX_DOCUMENTS:
                return
            yield name
    except NotFound:
        return
