"""Sequence numbers of a model's releases: claimed create-only, gaps legal. Touches a Store.

Claims are not signed: the record says its number again, signed, and a reader compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sovgate.errors import AlreadyExists, NotFound, StoreError, VerificationFailed
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
#: Newer releases that a pull names.
MAX_NEWER = 20
_ATTEMPTS = 100


def claim(store: Store, release: Release, manifest: str) -> int:
    """The release's number: its own earlier claim, else one above all that were claimed.

    Raises VerificationFailed, reason "sequence" where claims are damaged or were removed;
    StoreError.
    """
    release = Release(model=release.model, version=release.version)
    for _ in range(_ATTEMPTS):
        claims = read_claims(store, release.model)
        _refuse_rollback(store, release.model, claims)
        mine = [n for n, c in claims.items() if (c.release, c.manifest) == (release, manifest)]
        if mine:
            return min(mine)
        number = max(claims, default=0) + 1
        if number > MAX_SEQUENCE:
            raise _wrong("its last sequence number is taken", store)
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

    A number without a record is a gap. Raises VerificationFailed where a record does not verify.
    """
    claims = read_claims(store, model)
    for number in sorted((n for n in claims if n < sequence), reverse=True):
        found = read_before(store, claims[number].release, trusted)
        if found is not None and found.transfer.sequence == number:
            return Predecessor(
                release=found.transfer.release, manifest=found.transfer.manifest.sha256
            )
    return None


def read_before(store: Store, release: Release, trusted: Sequence[Trusted]) -> Record | None:
    """The record of a release that another follows: where it does not verify, it is named.

    Raises as `read_record`, the reason kept.
    """
    try:
        return read_record(store, release, trusted)
    except VerificationFailed as error:
        raise VerificationFailed(
            f"the release before it, {release} in {store.uri}, does not verify",
            why=". ".join(part for part in (error.what, error.why) if part),
            fix=error.fix,
            reason=error.reason,
        ) from error


def newer(store: Store, model: str, sequence: int) -> tuple[Release, ...]:
    """Releases in the store with a higher number, the highest first. A hint, nothing is verified.

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
    return tuple(r for r in dict.fromkeys(later) if store.stat(record_name(r)) is not None)


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
