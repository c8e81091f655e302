"""The audit log: numbered, chained, signed, create-only entries, one prefix a run. Touches a Store.

Runs share no writer: each notes the heads of other runs that it saw, so they form a DAG. What
verifies here was said by a trusted key and is whole *up to its anchors*: a head known elsewhere
(another run, a record, a receipt, `--against`). Beyond the last one no cut can be seen (RULES 28).
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from sovgate.errors import (
    ExitCode,
    Inconclusive,
    InternalError,
    SovgateError,
    StoreError,
    VerificationFailed,
)
from sovgate.formats.auditentry import (
    MAX_BYTES,
    MAX_INDEX,
    MAX_SEEN,
    About,
    Entry,
    Head,
    Kind,
    Ref,
    object_name,
    parse_object_name,
)
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.records import Release
from sovgate.stages.past import end_of, open_past, require_before, undated, with_more
from sovgate.stages.seal import seal
from sovgate.stages.trust import Trusted
from sovgate.stages.trust import Verified as Said

if TYPE_CHECKING:
    from sovgate.keys._api import Signer
    from sovgate.stores._api import Store

PREFIX = "audit/"
#: Runs and entries that a reader takes from one store.
MAX_RUNS = 100_000
MAX_ENTRIES = 1_000_000

Clock = Callable[[], datetime]
Ends = dict[tuple[str, int], datetime]


def utc_now() -> datetime:
    """The clock, and nothing else: SOURCE_DATE_EPOCH moves no time here (RULES 19)."""
    return datetime.now(UTC)


class Log:
    """Where a zone writes down what it does. `trusted` tells which runs of others are noted."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        trusted: Sequence[Trusted] = (),
        clock: Clock = utc_now,
    ) -> None:
        self.store = store
        self.signer = signer
        self.clock = clock
        own = Trusted(name="this run", key=signer.public_key, may=frozenset({"audit"}))
        self.trusted = with_more(trusted, own)

    def begin(self) -> Run:
        """A new run: it remembers heads of others. Writes nothing. Raises StoreError, DiskError."""
        return self.begin_several(1)[0]

    def begin_several(self, count: int) -> tuple[Run, ...]:
        """As `begin`, of runs side by side: they remember the same heads, and not each other."""
        heads = self._heads()
        return tuple(Run(self, secrets.token_hex(16), heads) for _ in range(count))

    def _heads(self) -> tuple[Head, ...]:
        """Heads of at most MAX_SEEN other runs that verify; of more, a random choice.

        With more runs than that no entry can name them all; each new run anchors another choice.
        """
        last: dict[str, int] = {}
        for name in self.store.list(PREFIX):
            try:
                run, index = parse_object_name(name)
            except VerificationFailed:
                continue  # `verify` complains about it; a run must still be able to write
            last[run] = max(index, last.get(run, 0))
        runs = sorted(last)
        if len(runs) > MAX_SEEN:
            runs = sorted(secrets.SystemRandom().sample(runs, MAX_SEEN))
        heads = []
        for run in runs:
            try:
                data = self.store.get(object_name(run, last[run]), most=MAX_BYTES)
                entry, _ = read_entry(data, self.trusted, run=run, index=last[run], past=True)
            except VerificationFailed:
                continue
            heads.append(Head(run=run, index=entry.index, sha256=_sha256(data)))
        return tuple(heads)


class Run:
    """One run's part of the log. Use once, from one thread."""

    def __init__(self, log: Log, run: str, seen: tuple[Head, ...]) -> None:
        self._log, self.store = log, log.store
        self.run = run
        self.head: Head | None = None
        self._seen = seen
        self._last: datetime | None = None
        self._written: tuple[Head, Entry, bytes] | None = None

    def write(
        self,
        kind: Kind,
        about: About,
        *,
        exit_code: int | None = None,
        refs: Iterable[Ref] = (),
    ) -> str:
        """Append an entry; returns its head, the SHA-256 of its bytes. Durable when it returns.

        An intent has no `exit_code`; a denied entry has 10 unless told otherwise. Raises
        StoreError, DiskError, KeyServiceError; Inconclusive "clock" where the clock ran backwards
        within the run.
        """
        index = 0 if self.head is None else self.head.index + 1
        if index > MAX_INDEX:
            raise InternalError("a run has written more audit entries than it may")
        now = self._log.clock().replace(microsecond=0)
        if self._last is not None and now < self._last:
            raise Inconclusive(
                "the clock was set back during this run",
                why=f"it says {now.isoformat()}, and said {self._last.isoformat()} before",
                fix="correct the clock, and run it again",
                reason="clock",
            )
        release = about.release
        entry = Entry(
            run=self.run,
            index=index,
            previous=None if self.head is None else self.head.sha256,
            seen=self._seen,
            kind=kind,
            about=replace(
                about,
                release=release and Release(model=release.model, version=release.version),
            ),
            exit=ExitCode.DENIED.value if kind == "denied" and exit_code is None else exit_code,
            refs=tuple(refs),
            time=now,
        )
        entry.check(about.manifest)
        data = seal(
            Statement(
                subject_name=about.model,
                subject_sha256=about.manifest,
                predicate_type=PREDICATE_TYPES["audit"],
                predicate=entry.predicate(),
            ),
            self._log.signer,
        )
        digest = _sha256(data)
        head = Head(run=self.run, index=index, sha256=digest)
        self._written = (head, entry, data)
        self._put(entry.object_name, data, digest)
        self._seen, self._last = (), now
        self.head = head
        return digest

    def is_open(self) -> bool:
        """Whether it ends with an intent, as its log has it: a signal may have broken off a write
        of which this run does not know whether it happened.
        """
        if self._written is None:
            return False
        head, entry, data = self._written
        if head != self.head:
            found = b""
            with contextlib.suppress(SovgateError):  # it is not there, or none can be written
                found = self._log.store.get(entry.object_name, most=MAX_BYTES)
            if found != data:
                return self.head is not None
            self._seen, self.head = (), head
        return entry.kind == "intent"

    def _put(self, name: str, data: bytes, digest: str) -> None:
        try:
            self._log.store.put(name, data, sha256=digest)
        except StoreError:
            # The answer may have been lost after the write: only the very bytes are success.
            try:
                found = self._log.store.get(name, most=MAX_BYTES)
            except SovgateError:
                found = b""
            if found != data:
                raise


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """`open`: it ends with an intent, as a run that was killed, or whose outcome was cut.

    `anchored`: its end is known from elsewhere. Records and other runs know of intents while they
    are under way, so an open end is anchored only by a head that the auditor noted.
    `undated`: a former signer's, and nothing shows that it is older than that signer's end.
    """

    run: str
    entries: int
    head: str
    last: Entry
    anchored: bool
    open: bool
    undated: bool = False


@dataclass(frozen=True, kw_only=True)
class Verified:
    """`anchors`: how many heads from outside of the log were found in it. `read`: all entries."""

    runs: tuple[RunSummary, ...]
    read: tuple[Entry, ...]
    anchors: int

    @property
    def entries(self) -> int:
        return len(self.read)

    @property
    def tips(self) -> tuple[RunSummary, ...]:
        """Runs beyond whose last entry a cut could not be seen."""
        return tuple(run for run in self.runs if not run.anchored)


def verify(
    store: Store,
    trusted: Sequence[Trusted],
    *,
    zone: str | None = None,
    anchors: Mapping[str, str] | None = None,
    against: Iterable[str] = (),
) -> Verified:
    """Check every entry, chain, number and anchor. Returns what is there, up to its anchors.

    `zone`: whose log it is; entries of another zone's key are refused. `anchors`: heads that
    records and receipts name, and where; `against`: heads that the auditor noted. Raises
    VerificationFailed, reasons "audit-name", "audit-gap", "audit-foreign", "audit-number",
    "audit-chain", "audit-cut", "audit-rewritten", or as a statement that does not verify.
    """
    entries: dict[str, dict[int, tuple[Entry, str]]] = {}
    ends: Ends = {}
    for run, count in _runs(store).items():
        entries[run] = _verify_run(store, trusted, run, count, zone, ends)
    read = tuple(entry for chain in entries.values() for entry, _ in chain.values())
    anchored: set[str] = set()
    for entry in read:
        for head in entry.seen:
            _check_seen(head, entries, entry)
            anchored.add(head.sha256)
    known = {sha256 for chain in entries.values() for _, sha256 in chain.values()}
    against = tuple(against)
    outside = {**dict.fromkeys(against, "--against"), **(anchors or {})}
    for sha256, place in sorted(outside.items()):
        if sha256 not in known:
            why = f"the entry {sha256} is known from {place}, but is not in the log"
            _refuse(why, "audit-cut")
    noted = frozenset(against)
    anchored |= set(outside)
    doubted = undated(entries, ends, noted) if ends else frozenset()
    runs = [_summary(run, chain, anchored, noted) for run, chain in sorted(entries.items())]
    return Verified(
        runs=tuple(replace(one, undated=one.run in doubted) for one in runs),
        read=read,
        anchors=len(outside),
    )


def digests(store: Store) -> frozenset[str]:
    """SHA-256 of everything that lies in the log, verified or not: to tell whose log a head is."""
    return frozenset(_sha256(store.get(name, most=MAX_BYTES)) for name in store.list(PREFIX))


def _runs(store: Store) -> dict[str, int]:
    """Run -> number of entries; gaps and strange names are refused."""
    found: dict[str, list[int]] = {}
    for count, name in enumerate(store.list(PREFIX)):
        if count >= MAX_ENTRIES:
            _refuse("the log is larger than a reader takes", "limits")
        try:
            run, index = parse_object_name(name)
        except VerificationFailed as error:
            _refuse(error.what, "audit-name")
        found.setdefault(run, []).append(index)
        if len(found) > MAX_RUNS:
            _refuse("the log has more runs than a reader takes", "limits")
    for run, indices in found.items():
        missing = sorted(set(range(max(indices) + 1)) - set(indices))
        if missing:
            _refuse(f"run {run} lacks its entry {missing[0]}", "audit-gap")
    return {run: len(indices) for run, indices in found.items()}


def _verify_run(
    store: Store, trusted: Sequence[Trusted], run: str, count: int, zone: str | None, ends: Ends
) -> dict[int, tuple[Entry, str]]:
    """`ends` gets those of former signers."""
    chain: dict[int, tuple[Entry, str]] = {}
    previous: str | None = None
    for index in range(count):
        name = object_name(run, index)
        try:
            data = store.get(name, most=MAX_BYTES)
            entry, said = read_entry(data, trusted, run=run, index=index, past=True)
        except VerificationFailed as error:
            raise VerificationFailed(
                f"the audit entry {name} does not verify",
                why=". ".join(part for part in (error.what, error.why) if part),
                fix="find out who changed the log; restore it from a copy that verifies",
                reason=error.reason,
            ) from error
        if zone is not None and said.speaking_for(zone) is None:
            _refuse(f"{name} was signed for zone {said.signer.zone}, not {zone}", "audit-foreign")
        if entry.previous != previous:
            _refuse(f"{name} does not follow the entry before it", "audit-chain")
        previous = _sha256(data)
        chain[index] = (entry, previous)
        if (until := end_of(trusted, said.signer)) is not None:
            ends[(run, index)] = until
    return chain


def read_entry(
    data: bytes, trusted: Sequence[Trusted], *, run: str, index: int, past: bool = False
) -> tuple[Entry, Said]:
    """One entry and who said it, checked to be the one of that run and number. `past`: a former
    signer's too, if it says that it is older than that signer's end."""
    verified, until = open_past(data, trusted, role="audit", past=past)
    statement = verified.statement
    entry = Entry.parse(
        statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
    )
    if entry.run != run:
        _refuse(f"an entry of run {entry.run} lies among those of {run}", "audit-foreign")
    if entry.index != index:
        _refuse(f"entry {entry.index} lies under the number {index}", "audit-number")
    require_before(entry.time, until, verified.signer.name)
    return entry, verified


def _check_seen(
    head: Head, entries: dict[str, dict[int, tuple[Entry, str]]], witness: Entry
) -> None:
    found = entries.get(head.run, {}).get(head.index)
    by = f"run {witness.run} saw entry {head.index} of run {head.run}"
    if found is None:
        _refuse(f"{by}, which is gone", "audit-cut")
    if found[1] != head.sha256:
        _refuse(f"{by} with other bytes", "audit-rewritten")


def _summary(
    run: str, chain: dict[int, tuple[Entry, str]], anchored: set[str], noted: frozenset[str]
) -> RunSummary:
    last, head = chain[len(chain) - 1]
    is_open = last.kind == "intent"
    return RunSummary(
        run=run,
        entries=len(chain),
        head=head,
        last=last,
        anchored=head in noted or (head in anchored and not is_open),
        open=is_open,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse(why: str, reason: str) -> NoReturn:
    raise VerificationFailed(
        "the audit log does not verify",
        why=why,
        fix="find out who changed the log; restore it from a copy that verifies",
        reason=reason,
    )
