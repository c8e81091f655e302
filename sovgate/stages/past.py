"""What signers of before said while they were trusted. No I/O.

RULES 7, 30: a key that was taken back frees nothing any more. But the chains that it began go on: a
log, the promotions of a zone, the release before the next. There its word is read as what was, if
it is older than the key's end, and it only ever binds.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sovgate.errors import VerificationFailed
from sovgate.stages.trust import Trusted, Verified, open_statement

if TYPE_CHECKING:
    from sovgate.formats.auditentry import Entry

_BEFORE = datetime.min.replace(tzinfo=UTC)
Former = Sequence[tuple[Trusted, datetime]]


class Known(tuple[Trusted, ...]):
    """Whom a project trusts, as a tuple; and `former()`: whom it did, each with the end of that.

    What is made of it by other means than `with_more` knows of nobody before.
    """

    former: Callable[[], Former]

    def __new__(cls, trusted: Iterable[Trusted], former: Callable[[], Former]) -> Known:
        made = super().__new__(cls, trusted)
        made.former = functools.cache(former)  # keys are opened when somebody asks, and once
        return made


def with_more(trusted: Sequence[Trusted], *more: Trusted) -> Known:
    return Known((*trusted, *more), getattr(trusted, "former", tuple))


def open_past(
    data: bytes, trusted: Sequence[Trusted], *, role: str, past: bool = True
) -> tuple[Verified, datetime | None]:
    """As `open_statement`; also what a former signer said, then with that signer's end.

    Without `past` it is the same as that. The caller compares the end with the statement's own time
    (`require_before`). Raises ConfigError where the key of a former signer cannot be read.
    """
    try:
        return open_statement(data, trusted, role=role), None
    except VerificationFailed as error:
        if not past or error.reason != "wrong-signer" or not isinstance(trusted, Known):
            raise
        for entry, until in trusted.former():
            with contextlib.suppress(VerificationFailed):
                return open_statement(data, [entry], role=role), until
        raise


def end_of(trusted: Sequence[Trusted], signer: Trusted) -> datetime | None:
    """Of a signer that `open_past` gave: its end; None where it is trusted today."""
    if signer in trusted or not isinstance(trusted, Known):
        return None
    return next((until for entry, until in trusted.former() if entry == signer), None)


def require_before(said: datetime, until: datetime | None, name: str) -> None:
    """Raises VerificationFailed, reason "former-signer"."""
    if until is not None and said >= until:
        raise VerificationFailed(
            f"{name} signed this when it was trusted no longer",
            why=f"it is dated {said:%Y-%m-%dT%H:%M:%SZ}; {name} is a former signer, until "
            f"{until:%Y-%m-%dT%H:%M:%SZ}",
            fix="find out who has the key; where the time of its end is wrong, correct `until`",
            reason="former-signer",
        )


def undated(
    chains: Mapping[str, Mapping[int, tuple[Entry, str]]],
    ends: Mapping[tuple[str, int], datetime],
    noted: Collection[str],
) -> frozenset[str]:
    """Runs of a log with an entry that nothing shows to be older than its signer's end.

    chains  run -> number -> entry and digest; each head that one saw is there
    ends    (run, number) of what former signers signed
    noted   heads that the auditor knows, which were there before

    What an entry saw, and what stands before it in its run, is at least as old as it is: so an
    entry by a key that is trusted today dates all that it leads to.
    """
    heap = [
        (_BEFORE if sha256 in noted else entry.time, run, index)
        for run, chain in chains.items()
        for index, (entry, sha256) in chain.items()
        if sha256 in noted or (run, index) not in ends
    ]
    heapq.heapify(heap)
    oldest: dict[tuple[str, int], datetime] = {}
    while heap:
        at, run, index = heapq.heappop(heap)
        if (run, index) in oldest:
            continue
        oldest[(run, index)] = at
        for head in chains[run][index][0].seen:
            heapq.heappush(heap, (at, head.run, head.index))
        if index:
            heapq.heappush(heap, (at, run, index - 1))
    return frozenset(one[0] for one, until in ends.items() if oldest.get(one, until) >= until)
