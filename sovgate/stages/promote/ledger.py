"""The signed promotion records of a zone: read whole, appended create-only. Touches a Store.

They alone say which release a zone was promoted to (RULES 26): trailers and the overlay's text are
anybody's. Each names the one before by digest, so none can be taken out or put between. Proposals
lie in a folder of their own, so that nothing takes one for a promotion (RULES 41).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from sovgate.errors import (
    AlreadyExists,
    GitError,
    PolicyDenied,
    SovgateError,
    StoreError,
    VerificationFailed,
)
from sovgate.formats.promotion import (
    MAX_BYTES,
    MAX_NUMBER,
    PROMOTIONS,
    PROPOSALS,
    Previous,
    Promotion,
    object_name,
    parse_object_name,
)
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.git.url import repository_of
from sovgate.records import Release
from sovgate.stages.past import open_past, require_before, with_more
from sovgate.stages.seal import seal
from sovgate.stages.trust import Trusted, Verified, open_statement, said_by

if TYPE_CHECKING:
    from sovgate.keys._api import Signer
    from sovgate.stores._api import Store

_ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The promotions of a model in a zone, oldest first; `digests` beside them.

    `proposals` are what was proposed, merged or not, oldest first, with the digests beside them.
    `newest` are the bytes of the last promotion; None where this run would have written it.
    """

    zone: str
    model: str
    promotions: tuple[Promotion, ...]
    digests: tuple[str, ...]
    proposals: tuple[Promotion, ...] = ()
    proposal_digests: tuple[str, ...] = ()
    newest: bytes | None = None

    def is_by(self, signer: Signer, trusted: Sequence[Trusted]) -> bool:
        """Whether the last promotion is by the identity that would sign now (RULES 32)."""
        return self.newest is None or said_by(self.newest, signer, trusted, "promotion") is not None

    @property
    def last(self) -> Promotion | None:
        return self.promotions[-1] if self.promotions else None

    @property
    def floor(self) -> int:
        """The sequence below which nothing may be promoted; 0 where nothing was.

        Two runs may write their records in another order than their commits, so the highest one
        counts; only a rollback, which is signed as one, lowers it.
        """
        return _floor(self.promotions)

    @property
    def waiting(self) -> tuple[Promotion, ...]:
        """Proposals of which no promotion record says that they were merged, oldest first."""
        merged = {promotion.audit_head for promotion in self.promotions}
        return tuple(p for p in self.proposals if p.audit_head not in merged)

    def proposal_of(self, promotion: Promotion) -> Promotion | None:
        """The proposal by whose merge a promotion came about; None where it was pushed.

        Both name the head of the one run that decided.
        """
        for proposal in self.proposals:
            if (proposal.audit_head, proposal.decision) == (
                promotion.audit_head,
                promotion.decision,
            ):
                return proposal
        return None

    def followed_by(self, promotion: Promotion, digest: str) -> Ledger:
        """This ledger with one more promotion."""
        return replace(
            self,
            promotions=(*self.promotions, promotion),
            digests=(*self.digests, digest),
            newest=None,
        )

    def rolled_back_to(self, reason: str, release: Release | None) -> Promotion | None:
        """The last record, where it is the rollback that is asked for once more."""
        last = self.last
        if last is None or last.kind != "rollback" or last.reason != reason:
            return None
        return last if release in (None, last.release) else None

    def candidates(self, below: int) -> tuple[tuple[Promotion, Promotion | None], ...]:
        """What the zone was promoted to with a sequence lower than `below`, the last one first.

        Each release once, by its last record; beside it the rollback that left it since, if any.
        """
        left: dict[Release, Promotion] = {}
        found: dict[Release, Promotion] = {}
        for before, promotion in zip((None, *self.promotions), self.promotions, strict=False):
            if promotion.kind == "rollback" and before is not None:
                left[before.release] = promotion
            left.pop(promotion.release, None)
            found.pop(promotion.release, None)
            found[promotion.release] = promotion
        return tuple(
            (promotion, left.get(promotion.release))
            for promotion in reversed(found.values())
            if promotion.sequence < below
        )

    def require_forward(
        self, release: Release, sequence: int, record: str, *, claimed: int = 0
    ) -> None:
        """RULES 27. `claimed` is the sequence of the release that the overlay says it pins, 0 where
        that is unknown: it can only raise the bar. Raises PolicyDenied "sequence-went-back".
        """
        floor = max(self.floor, claimed)
        same = [p.release for p in self.promotions if p.sequence == sequence]
        if sequence < floor or (sequence == floor and any(r != release for r in same)):
            last = max(self.promotions, key=lambda p: p.sequence, default=None)
            named = f"{last.release} has" if last and last.sequence == floor else "the overlay pins"
            raise PolicyDenied(
                f"{release} is older than what zone {self.zone} was promoted to",
                why=f"it has sequence {sequence}; {named} sequence {floor}",
                fix="promote a newer release: push these weights again under a new version; going "
                f"back to this one needs a signed rollback: sovgate rollback --zone {self.zone} "
                f"--to-release {release} --reason TEXT",
                reason="sequence-went-back",
            )
        wrong = [p for p in self.promotions if p.release == release and p.record != record]
        if wrong:
            raise VerificationFailed(
                f"{release} was promoted before with another record",
                why=f"then sha256:{wrong[-1].record}, now sha256:{record}",
                fix="find out who replaced the release record in the store",
                reason="record-changed",
            )


def read_ledger(store: Store, zone: str, model: str, trusted: Sequence[Trusted]) -> Ledger:
    """All promotions of a model in a zone, each verified, numbered and chained.

    Raises VerificationFailed, reasons "promotion-gap", "promotion-chain", "promotion-foreign",
    "promotion-rollback" (it goes back to what was not there before), "promotion-cut" (a proposal
    knows of one that is not there), "limits", or as a statement that does not verify; StoreError.
    """
    promotions: list[Promotion] = []
    digests: list[str] = []
    newest = None
    for name, promotion, newest in _records(store, PROMOTIONS, zone, model, trusted):
        if (promotion.previous.sha256 if promotion.previous else None) != (
            digests[-1] if digests else None
        ):
            _refuse(f"{name} does not follow the promotion before it", "promotion-chain")
        if promotion.kind == "rollback":
            _check_rollback(promotion, promotions, name)
        promotions.append(promotion)
        digests.append(_sha256(newest))
    proposed = list(_records(store, PROPOSALS, zone, model, trusted))
    for name, proposal, _ in proposed:
        if proposal.previous is not None and proposal.previous.sha256 not in digests:
            _refuse(f"{name} names a promotion that is not there", "promotion-cut")
    return Ledger(
        zone=zone,
        model=model,
        promotions=tuple(promotions),
        digests=tuple(digests),
        proposals=tuple(proposal for _, proposal, _ in proposed),
        proposal_digests=tuple(_sha256(data) for _, _, data in proposed),
        newest=newest,
    )


def _records(
    store: Store, folder: str, zone: str, model: str, trusted: Sequence[Trusted]
) -> Iterator[tuple[str, Promotion, bytes]]:
    """Name, record and bytes of what lies in one folder, each verified and numbered.

    What a former signer signed stands before all that is dated after that signer's end.
    """
    latest = datetime.min.replace(tzinfo=UTC)
    for number, name in enumerate(store.list(f"{folder}/{zone}/{model}/"), 1):
        if number > MAX_NUMBER:
            _refuse("there are more promotions than a reader takes", "limits")
        if parse_object_name(name) != (zone, model, number):
            _refuse(f"promotion {number} is missing: {name} stands in its place", "promotion-gap")
        try:
            data = store.get(name, most=MAX_BYTES)
            # A key that was taken back holds the zone where it was: its records still bind.
            verified, until = open_past(data, trusted, role="promotion")
            promotion = _promotion(verified)
            require_before(promotion.created, until, verified.signer.name)
            if until is None:
                latest = max(latest, promotion.created)
            require_before(latest, until, verified.signer.name)
        except VerificationFailed as error:
            raise VerificationFailed(
                f"the promotion record {name} does not verify",
                why=". ".join(part for part in (error.what, error.why) if part),
                fix="find out who changed the store; restore the record from a copy that verifies",
                reason=error.reason,
            ) from error
        if promotion.object_name != name:
            _refuse(f"{name} is the record of another promotion", "promotion-foreign")
        yield name, promotion, data


def read_since(store: Store, ledger: Ledger, trusted: Sequence[Trusted]) -> tuple[Promotion, ...]:
    """What was recorded after `ledger` was read. One look where that is nothing."""
    known = len(ledger.promotions)
    if store.stat(object_name(ledger.zone, ledger.model, known + 1)) is None:
        return ()
    return read_ledger(store, ledger.zone, ledger.model, trusted).promotions[known:]


def _check_rollback(back: Promotion, before: Sequence[Promotion], name: str) -> None:
    """A rollback is to what was promoted before, and no newer: else it would be a way forward."""
    same = [
        p
        for p in before
        if (p.release, p.record, p.manifest, p.sequence)
        == (back.release, back.record, back.manifest, back.sequence)
    ]
    if not same or back.sequence > _floor(before):
        _refuse(f"{name} goes back to {back.release}, which was not there", "promotion-rollback")


def _floor(promotions: Sequence[Promotion]) -> int:
    floor = 0
    for promotion in promotions:
        back = promotion.kind == "rollback"
        floor = promotion.sequence if back else max(floor, promotion.sequence)
    return floor


def open_promotion(data: bytes, trusted: Sequence[Trusted]) -> Promotion:
    """Raises VerificationFailed, reason "wrong-source" where the signer is not that zone's own."""
    return _promotion(open_statement(data, trusted, role="promotion"))


def _promotion(verified: Verified) -> Promotion:
    statement = verified.statement
    promotion = Promotion.parse(
        statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
    )
    if verified.own_word(promotion.zone) is None:
        _refuse(f"{verified.signer.name} signed one of zone {promotion.zone}", "wrong-source")
    return promotion


def is_recorded(last: Promotion | None, wanted: Promotion) -> bool:
    """Whether the last record says all that `wanted` would: the same release, in the same place, by
    the same release file where both name it."""
    if last is None or _saying(last) != _saying(wanted):
        return False
    files = {last.release_file, wanted.release_file}
    return None in files or len(files) == 1


def _saying(one: Promotion) -> tuple[object, ...]:
    place = (repository_of(one.repo), one.path, one.branch)
    return one.release, one.record, one.manifest, one.kind, place


def append(
    store: Store,
    signer: Signer,
    trusted: Sequence[Trusted],
    wanted: Promotion,
    *,
    known: int | None = None,
) -> tuple[Promotion, str]:
    """Write `wanted` under the next free number, signed; its `number` and `previous` are filled in.

    `known`: how many records there were when the branch was looked at. If since then another run
    recorded the same, that is returned; if one went back from here, GitError "rolled-back".

    Returns it with the SHA-256 of its bytes. Raises StoreError, KeyServiceError,
    VerificationFailed.
    """
    may = frozenset({"promotion"})
    own = Trusted(name="this zone", key=signer.public_key, may=may, zone=wanted.zone)
    for _ in range(_ATTEMPTS):
        ledger = read_ledger(store, wanted.zone, wanted.release.model, with_more(trusted, own))
        last = ledger.last
        proposed = wanted.kind == "proposal"
        since = ledger.promotions[known:] if known is not None else ()
        if since and last is not None:
            if is_recorded(last, wanted):
                return last, ledger.digests[-1]
            _refuse_undone(since, wanted)
        if proposed and (there := _proposed_already(ledger, wanted)):
            return there
        previous = None
        if last is not None:
            previous = Previous(
                release=last.release, manifest=last.manifest, sha256=ledger.digests[-1]
            )
        number = len(ledger.proposals if proposed else ledger.promotions) + 1
        promotion = replace(wanted, number=number, previous=previous)
        promotion.check()
        data = seal(
            Statement(
                subject_name=promotion.release.model,
                subject_sha256=promotion.manifest,
                predicate_type=PREDICATE_TYPES["promotion"],
                predicate=promotion.predicate(),
            ),
            signer,
        )
        if _put(store, promotion.object_name, data):
            return promotion, _sha256(data)
    raise StoreError(
        f"no promotion record could be written in {store.uri}",
        why=f"{_ATTEMPTS} other runs were faster, one after the other",
        fix="run it again",
        reason="promotion-busy",
    )


def _proposed_already(ledger: Ledger, wanted: Promotion) -> tuple[Promotion, str] | None:
    """The proposal that says all this, where nobody has merged it yet."""
    for proposal, digest in zip(ledger.proposals, ledger.proposal_digests, strict=True):
        same = is_recorded(proposal, wanted) and proposal.reason == wanted.reason
        if same and proposal in ledger.waiting:
            return proposal, digest
    return None


def _refuse_undone(since: Sequence[Promotion], wanted: Promotion) -> None:
    """Whoever went back since we looked did so after our push, or ours would have been refused."""
    for promotion in since:
        if promotion.kind == "rollback":
            raise GitError(
                f"zone {wanted.zone} was rolled back to {promotion.release} while this ran",
                why=f"{promotion.reason}",
                fix="see why; run it again if this release is still wanted",
                reason="rolled-back",
            )


def _put(store: Store, name: str, data: bytes) -> bool:
    """False where another run took the name."""
    try:
        store.put(name, data, sha256=_sha256(data))
    except StoreError as error:
        # The answer may have been lost after the write: only the very bytes are ours.
        try:
            found = store.get(name, most=MAX_BYTES)
        except SovgateError:
            raise error from None
        if found != data:
            if isinstance(error, AlreadyExists):
                return False
            raise
    return True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse(why: str, reason: str) -> NoReturn:
    raise VerificationFailed(
        "the promotion records do not verify",
        why=why,
        fix="find out who changed the store; restore the records from a copy that verifies",
        reason=reason,
    )
