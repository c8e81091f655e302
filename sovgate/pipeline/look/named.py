"""audit verify: whether what signed documents and entries of a log name is there. Reads stores.

A record that was removed leaves its digest in others: in the log's outcome, in a receipt, in the
next promotion. Of ciphertext the store's own SHA-256 is compared. Where a store keeps none, size is
nothing (RULES 14): it is read again, if that was asked for, or counted as not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import Inconclusive, NotFound, StoreError, UsageError, VerificationFailed
from sovgate.formats import foreign
from sovgate.formats import promotion as promotions
from sovgate.formats import receipt as receipts
from sovgate.formats import transfer as transfers
from sovgate.formats.auditentry import PULL_FILE
from sovgate.records import Release, Sized
from sovgate.strict import MAX_BYTES, is_sha256

if TYPE_CHECKING:
    from sovgate.formats.auditentry import Entry
    from sovgate.formats.promotion import Promotion
    from sovgate.formats.receipt import Receipt
    from sovgate.formats.transfer import Transfer
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store

#: The folders of a store that hold signed records.
FOLDERS = ("releases/", "receipts/", "promotions/", "proposals/")
#: Missing documents that are counted one by one.
MAX_MISSING = 1000


@dataclass(frozen=True, kw_only=True)
class Named:
    """Something that should be in a store: under `name`, or, where that ends in "/", in that
    folder. `size` is set where only it is compared; with neither, being there is enough.
    `later`: earlier versions did not keep it, so that it is missing is told, and no error.
    `rests`: it is a decision, and what it rests on has to be there too, about that release.
    `kept`: the SHA-256 that the store's own must be, where it keeps one of the whole object.
    """

    name: str
    sha256: str | None = None
    size: int | None = None
    later: bool = False
    rests: Release | None = None
    kept: str | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a signed record of a store says: whose log it anchors, at which head; and what else has
    to be in the same store."""

    zone: str
    head: str
    names: tuple[Named, ...]


def read_record(store: Store, name: str, trusted: Sequence[Trusted]) -> Told:
    """A record below one of FOLDERS. Raises VerificationFailed."""
    from sovgate.stages.promote import open_promotion
    from sovgate.stages.transfer import open_receipt, open_record

    kind, _, rest = name.partition("/")
    if kind == "receipts":
        receipt = open_receipt(store.get(name, most=receipts.MAX_BYTES), trusted)
        return Told(zone=receipt.zone, head=receipt.audit_head, names=tuple(_of_receipt(receipt)))
    if kind in (promotions.PROMOTIONS, promotions.PROPOSALS):
        made = open_promotion(store.get(name, most=promotions.MAX_BYTES), trusted)
        return Told(zone=made.zone, head=made.audit_head, names=tuple(_of_promotion(made)))
    try:
        release = Release.parse(rest.removesuffix(".json"))
    except UsageError as error:
        raise VerificationFailed(error.what, reason="unsafe-name") from error
    said = open_record(store.get(name, most=transfers.MAX_BYTES), release, trusted).transfer
    return Told(zone=said.source.zone, head=said.audit_head, names=tuple(_of_transfer(said, store)))


def _object(sha256: str) -> Named:
    return Named(name=transfers.object_name(sha256), sha256=sha256)


def _of_transfer(said: Transfer, store: Store) -> Iterator[Named]:
    yield Named(name=transfers.sequence_name(said.release.model, said.sequence))
    if said.predecessor is not None:
        yield Named(name=transfers.record_name(said.predecessor.release))
    digests = [said.manifest.sha256, said.signature.sha256, said.decision]
    for sha256 in dict.fromkeys([*digests, *(item.sha256 for item in said.evidence)]):
        yield _object(sha256)
    for part in said.parts:
        yield _object(part.list.sha256)
        yield _ciphertext(transfers.object_name(part.keytable.sha256), part.keytable)
    yield from _chunks(said, store)


def _chunks(said: Transfer, store: Store) -> Iterator[Named]:
    """Those that its chunk lists name; none where a list or the manifest is missing or another,
    which is said of that. Raises VerificationFailed where the lists do not carry the model."""
    from sovgate.stages.transfer import chunks_of

    try:
        chunks = chunks_of(store, said)
    except NotFound:
        return
    except VerificationFailed as error:
        if error.reason not in ("digest-mismatch", "limits"):
            raise
        return
    for one in chunks:
        yield _ciphertext(transfers.chunk_name(one.sha256), one)


def _ciphertext(name: str, sized: Sized) -> Named:
    return Named(name=name, size=sized.size, kept=sized.sha256)


def _of_receipt(said: Receipt) -> Iterator[Named]:
    yield Named(name=transfers.record_name(said.release), sha256=said.record)
    yield replace(_object(said.decision), later=True)


def _of_promotion(said: Promotion) -> Iterator[Named]:
    yield Named(name=transfers.record_name(said.release), sha256=said.record)
    yield Named(name=_receipt(said.release, said.receipt), sha256=said.receipt)
    yield replace(_object(said.decision), rests=said.release)
    if said.previous is not None:
        folder = f"{promotions.PROMOTIONS}/{said.zone}/{said.release.model}/"
        yield Named(name=folder, sha256=said.previous.sha256)


def _receipt(release: Release, sha256: str) -> str:
    from sovgate.stages.transfer.fetch import receipt_prefix

    return f"{receipt_prefix(release)}{sha256}.json"


def of_entry(entry: Entry, zone: str) -> Iterator[tuple[str, Named]]:
    """What an entry of the log of `zone` names, each with the zone in whose store it has to be.

    Of decisions those that are kept: of denials beside the log, of rollouts in the zone's store.
    One that a push or pull acted on is named by its record, and a run that stopped kept none; where
    one file was pulled nothing but the log names it, so it lies beside that.
    """
    about = entry.about
    release, to = about.release, about.destination
    done = entry.kind == "outcome" and entry.exit == 0
    rollout = about.action in promotions.ACTIONS
    for ref in entry.refs:
        if ref.role == "decision":
            if entry.kind == "denied" or (done and about.action == PULL_FILE):
                yield zone, _object(ref.sha256)
            elif done and rollout:
                yield to or zone, _object(ref.sha256)
        elif release is None or to is None:
            continue
        elif ref.role == "transfer":
            yield to, Named(name=transfers.record_name(release), sha256=ref.sha256)
        elif ref.role == "receipt":
            yield to, Named(name=_receipt(release, ref.sha256), sha256=ref.sha256)
        elif ref.role in ("promotion", "proposal"):
            yield to, Named(name=f"{ref.role}s/{to}/{release.model}/", sha256=ref.sha256)


class Stores:
    """What lies in some zones' stores, looked up once each. `missing` is what does not, in words.

    A zone without a store is left out. Use one while nothing that is looked for can come.
    `read`: ciphertext of which a store keeps no SHA-256 is read; else `unread` has its names.
    """

    def __init__(self, stores: Mapping[str, Store], *, read: bool = False) -> None:
        self._stores, self._read = stores, read
        self.unread: set[tuple[str, str]] = set()
        self._digests: dict[tuple[str, str], str | None] = {}
        self._folders: dict[tuple[str, str], frozenset[str]] = {}
        self.missing: dict[str, None] = {}
        self.away: dict[str, str] = {}
        self.passed_over: list[str] = []

    def expect(self, zone: str, names: Iterable[Named], by: str) -> None:
        """Note what of it is not there as it is named. `by` says who names it."""
        store = self._stores.get(zone)
        if store is None:
            return
        if getattr(store, "away", False):  # a folder that is not there; others answer or raise
            self.away.setdefault(zone, f"{by} names what lies in {store.uri}")
            return
        for one in names:
            wrong = self._wrong(zone, one)
            if wrong == f"{one.name} is missing" and one.later:
                self.passed_over.append(f"{by}: {wrong}, the decision that it names")
            elif wrong is not None and len(self.missing) <= MAX_MISSING:
                self.missing.setdefault(f"{wrong} in the store of zone {zone}; {by} names it")
            elif one.rests is not None:
                self._expect_evidence(zone, one, one.rests, by)

    def _expect_evidence(self, zone: str, decision: Named, release: Release, by: str) -> None:
        """What a decision about a rollout rests on: it crossed, or the zone added it since."""
        data = self._stores[zone].get(decision.name, most=MAX_BYTES)
        try:
            rows = foreign.statement(data).predicate.get("inputAttestations")
        except VerificationFailed:
            return  # whoever reads the decision says so; it is as it was named
        for row in rows if isinstance(rows, list) else ():
            digest = row.get("digest") if isinstance(row, dict) else None
            sha256 = digest.get("sha256") if isinstance(digest, dict) else None
            if not isinstance(sha256, str) or not is_sha256(sha256):
                continue
            places = (
                transfers.object_name(sha256),
                f"evidence/{release.model}/{release.version}/{sha256}.json",
                _receipt(release, sha256),
                transfers.record_name(release),
            )
            if all(self._digest(zone, place) != sha256 for place in places):
                why = f"the evidence sha256:{sha256} is missing in the store of zone {zone}"
                self.missing.setdefault(f"{why}; the decision of {by} rests on it")

    def _wrong(self, zone: str, one: Named) -> str | None:
        if one.name.endswith("/"):
            there = one.sha256 in self._folder(zone, one.name)
            return None if there else f"{one.name} lacks the record sha256:{one.sha256}"
        if one.sha256 is None:
            stat = self._stores[zone].stat(one.name)
            if stat is None:
                return f"{one.name} is missing"
            if one.size not in (None, stat.size):
                return f"{one.name} has another size"
            if one.kept is None or self._holds(zone, one, stat.sha256):
                return None
            return f"{one.name} has other bytes"
        found = self._digest(zone, one.name)
        if found is None:
            return f"{one.name} is missing"
        return None if found == one.sha256 else f"{one.name} has other bytes"

    def _holds(self, zone: str, one: Named, kept: str | None) -> bool:
        """Whether ciphertext is what it is named by. `kept`: the store's own SHA-256 of it."""
        from sovgate.stages.transfer.objects import reread

        if kept is not None or one.kept is None:
            return kept == one.kept
        if not self._read:
            self.unread.add((zone, one.name))
            return True
        try:
            reread(self._stores[zone], one.name, Sized(sha256=one.kept, size=one.size or 0))
        except (StoreError, VerificationFailed) as error:
            if error.reason not in ("damaged-object", "damaged"):
                raise
            return False
        return True

    def _digest(self, zone: str, name: str) -> str | None:
        """SHA-256 of what lies there; None where nothing does, "" where it is too large."""
        key = (zone, name)
        if key not in self._digests:
            try:
                data = self._stores[zone].get(name, most=MAX_BYTES)
                self._digests[key] = hashlib.sha256(data).hexdigest()
            except NotFound:
                self._digests[key] = None
            except VerificationFailed:
                self._digests[key] = ""
        return self._digests[key]

    def _folder(self, zone: str, folder: str) -> frozenset[str]:
        key = (zone, folder)
        if key not in self._folders:
            digests = [self._digest(zone, name) for name in self._stores[zone].list(folder)]
            self._folders[key] = frozenset(one for one in digests if one)
        return self._folders[key]

    def require(self) -> None:
        """Raises VerificationFailed "audit-missing"; Inconclusive "store-away"."""
        if not self.missing:
            for zone, why in self.away.items():
                raise Inconclusive(
                    f"the store of zone {zone} is not there",
                    why=f"{why}, and that folder does not exist",
                    fix="mount the disk that it is on, or restore it from a copy; if it was "
                    "carried to the zone, verify it there",
                    reason="store-away",
                )
            return
        first, *more = self.missing
        rest = f", and {len(more)} more" if more else ""
        raise VerificationFailed(
            "something that was written down is no longer there",
            why=f"{first}{rest}",
            fix="find out who removed it; restore it from a copy",
            reason="audit-missing",
            details=tuple(self.missing)[1:20],
        )
