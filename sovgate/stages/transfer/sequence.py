"""Sequence numbers of a model's releases: claimed create-only, gaps legal. Touches a Store.

Claims are not signed: the record says its number again, signed, and a reader compares the two.
So a claim only keeps two pushes apart. Which release is the newer one, the signed records say: a
number counts above all of them, and up to MAX_AHEAD above the highest (RULES 37).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from sovgate.errors import AlreadyExists, NotFound, StoreError, UsageError, VerificationFailed
from sovgate.formats.transfer import Claim, Predecessor, record_name, sequence_name
from sovgate.records import Release
from sovgate.stages.transfer.objects import put_document
from sovgate.stages.transfer.records import Record, read_record
from sovgate.stages.trust import Trusted

if TYPE_CHECKING:
    from sovgate.stores._api import Store

#: Releases of one model that a reader takes.
MAX_CLAIMS = 100_000
MAX_SEQUENCE = 10**12 - 1
#: How far a number may lie above that of the release before it.
MAX_AHEAD = 10_000
#: Newer releases that a pull names.
MAX_NEWER = 20
_ATTEMPTS = 100


def claim(store: Store, release: Release, manifest: str, trusted: Sequence[Trusted] = ()) -> int:
    """The release's number: that of its record, its own earlier claim, else one above all others.

    Whoever can write to the store can claim any number for anything. A claim counts if its number
    is above that of every record that somebody `trusted` signed, and not further above the highest
    than MAX_AHEAD.

    Raises VerificationFailed, reason "sequence" where claims are damaged or were removed, or leave
    no number; StoreError.
    """
    release = Release(model=release.model, version=release.version)
    for _ in range(_ATTEMPTS):
        claims = read_claims(store, release.model)
        _refuse_rollback(store, release.model, claims)
        signed = read_signed(store, release.model, trusted)
        if (own := signed.get(release)) is not None:
            return own
        highest = max(signed.values(), default=0)
        counted = {n: c for n, c in claims.items() if highest < n <= highest + MAX_AHEAD}
        mine = [n for n, c in counted.items() if (c.release, c.manifest) == (release, manifest)]
        if mine:
            return min(mine)
        number = _free(highest, counted, store)
        data = Claim(release=release, manifest=manifest, sequence=number).emit()
        try:
            put_document(store, sequence_name(release.model, number), data)
        except AlreadyExists:
            continue  # another push was faster; look again
        return number
    raise StoreError(
        f"no sequence number of {release.model} could be claimed in {store.uri}",
        why=f"{_ATTEMPTS} other runs were faster, one after the other",
        fix="run it again",
        reason="sequence-busy",
    )


def _free(highest: int, claims: Container[int], store: Store) -> int:
    """A number above the claims that count; where those take the last one, one between them."""
    end = min(highest + MAX_AHEAD, MAX_SEQUENCE)
    above = next((n for n in range(end, highest, -1) if n in claims), highest) + 1
    if above <= end:
        return above
    for number in range(highest + 1, end + 1):
        if number not in claims:
            return number
    raise _wrong(f"all numbers from {highest + 1} to {end} are claimed", store)


def read_signed(store: Store, model: str, trusted: Sequence[Trusted]) -> dict[Release, int]:
    """The numbers of all releases of a model whose records verify. What does not counts nothing."""
    signed: dict[Release, int] = {}
    for count, name in enumerate(store.list(f"releases/{model}/")):
        if count >= MAX_CLAIMS:
            raise _wrong(f"{model} has more releases than a reader takes", store)
        try:
            release = Release.parse(name.removeprefix("releases/").removesuffix(".json"))
            record = read_record(store, release, trusted)
        except (UsageError, VerificationFailed):
            continue
        if record is not None:
            signed[release] = record.transfer.sequence
    return signed


def read_claims(store: Store, model: str) -> dict[int, Claim]:
    """All claims of a model by number. Raises VerificationFailed, reason "sequence"."""
    claims: dict[int, Claim] = {}
    for name in store.list(f"sequences/{model}/"):
        if len(claims) >= MAX_CLAIMS:
            raise _wrong(f"{model} has more sequence numbers than a reader takes", store)
        try:
            data = store.get(name, most=Claim.MAX_BYTES)
            found = Claim.parse(data)
        except VerificationFailed as error:
            raise _wrong(f"{name} is damaged: {error.why or error.what}", store) from error
        if name != sequence_name(model, found.sequence) or found.release.model != model:
            raise _wrong(f"{name} holds a claim of something else", store)
        claims[found.sequence] = found
    return claims


def check_claimed(store: Store, release: Release, manifest: str, sequence: int) -> None:
    """A record's number must be claimed for it. Raises VerificationFailed, reason "sequence"."""
    name = sequence_name(release.model, sequence)
    try:
        found = Claim.parse(store.get(name, most=Claim.MAX_BYTES))
    except NotFound as error:
        raise _wrong(f"{name} is missing, though a record has that number", store) from error
    except VerificationFailed as error:
        raise _wrong(f"{name} is damaged: {error.why or error.what}", store) from error
    if (str(found.release), found.manifest, found.sequence) != (str(release), manifest, sequence):
        raise _wrong(f"{name} was claimed by {found.release}, not by {release}", store)


def predecessor(
    store: Store, model: str, sequence: int, trusted: Sequence[Trusted]
) -> Predecessor | None:
    """The release with the highest number below `sequence`; None where it is the first.

    A number without a record is a gap. Raises VerificationFailed where a record does not verify,
    or has a number that its claim does not say.
    """
    claims = read_claims(store, model)
    signed = read_signed(store, model, trusted)
    highest = max((n for n in signed.values() if n < sequence), default=0)
    for number in sorted((n for n in claims if n < sequence), reverse=True):
        found = read_before(store, claims[number].release, trusted)
        if found is not None and found.transfer.sequence == number >= highest:
            return Predecessor(
                release=found.transfer.release, manifest=found.transfer.manifest.sha256
            )
    if highest:
        raise _wrong(f"a record has number {highest}, and no claim says so", store)
    return None


def require_near(release: Release, sequence: int, before: int) -> None:
    """RULES 37, for whoever reads a record: no number leaps. Raises VerificationFailed."""
    if sequence > before + MAX_AHEAD:
        raise VerificationFailed(
            f"the sequence number of {release} is too far above the one before it",
            why=f"it is {sequence}, the one before is {before}; no step is above {MAX_AHEAD}",
            fix="find out who signed it; have the release pushed again under a new version",
            reason="sequence",
        )


def read_before(store: Store, release: Release, trusted: Sequence[Trusted]) -> Record | None:
    """The record of a release that another follows: where it does not verify, it is named.

    Raises as `read_record`, the reason kept.
    """
    try:
        return read_record(store, release, trusted, past=True)
    except VerificationFailed as error:
        raise VerificationFailed(
            f"the release before it, {release} in {store.uri}, does not verify",
            why=". ".join(part for part in (error.what, error.why) if part),
            fix=error.fix,
            reason=error.reason,
        ) from error


def newer(
    store: Store, model: str, sequence: int, trusted: Sequence[Trusted] | None = None
) -> tuple[Release, ...]:
    """Releases in the store with a higher number, the highest first.

    With `trusted`, those alone whose records say so, signed; without, a hint that anybody may have
    written.

    Damaged claims tell nothing here: what was asked for verifies without them. At most MAX_NEWER
    are looked at, so that whoever fills the store with claims does not hold up a pull.
    """
    asked = sequence_name(model, sequence)
    names = [name for name in store.list(f"sequences/{model}/") if name > asked]
    later = []
    for name in names[: -MAX_NEWER - 1 : -1]:
        try:
            found = Claim.parse(store.get(name, most=Claim.MAX_BYTES))
        except (VerificationFailed, NotFound):
            continue
        if name == sequence_name(model, found.sequence) and found.release.model == model:
            later.append(found.release)
    there = [r for r in dict.fromkeys(later) if store.stat(record_name(r)) is not None]
    if trusted is None:
        return tuple(there)
    numbers = {release: _signed_number(store, release, trusted) for release in there}
    kept = [release for release in there if numbers[release] > sequence]
    return tuple(sorted(kept, key=lambda release: numbers[release], reverse=True))


def _signed_number(store: Store, release: Release, trusted: Sequence[Trusted]) -> int:
    """0 where there is no record that verifies."""
    try:
        record = read_record(store, release, trusted)
    except VerificationFailed:
        return 0
    return record.transfer.sequence if record is not None else 0


def _refuse_rollback(store: Store, model: str, claims: dict[int, Claim]) -> None:
    """Each record has a claim. If not, claims were removed, and numbers would come again."""
    claimed = {record_name(found.release) for found in claims.values()}
    for name in store.list(f"releases/{model}/"):
        if name not in claimed:
            raise _wrong(f"{name} has no sequence number: claims were removed", store)


def _wrong(why: str, store: Store) -> VerificationFailed:
    return VerificationFailed(
        f"the sequence numbers in {store.uri} are wrong",
        why=why,
        fix="find out who changed the store; restore `sequences/` from a copy",
        reason="sequence",
    )
