"""Reads a release record and says whose word it is. Touches a Store for reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import Malformed, NotFound, VerificationFailed
from sovgate.formats.transfer import MAX_BYTES, Transfer, record_name
from sovgate.records import Release
from sovgate.stages.past import open_past, require_before
from sovgate.stages.trust import Trusted

if TYPE_CHECKING:
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record that verified. `sha256` is of its bytes, which receipts and commits name."""

    transfer: Transfer
    signer: Trusted
    data: bytes
    sha256: str


def read_record(
    store: Store, release: Release, trusted: Sequence[Trusted], *, past: bool = False
) -> Record | None:
    """The record of a release; None where there is none. Raises as `open_record`, StoreError."""
    try:
        data = store.get(record_name(release), most=MAX_BYTES)
    except NotFound:
        return None
    try:
        return open_record(data, release, trusted, past=past)
    except Malformed as error:
        raise Malformed(
            f"the record of {release} in {store.uri} is not valid",
            why=": ".join(text for text in (error.what, error.why) if text),
            fix="find out who wrote it; push the release under a new version",
            reason=error.reason,
        ) from error


def open_record(
    data: bytes, release: Release, trusted: Sequence[Trusted], *, past: bool = False
) -> Record:
    """`past`: for what follows it, a former signer's word from before its end counts too.

    Raises VerificationFailed: as `open_statement` and `Transfer.parse`; "wrong-release" where it
    is the record of another release; "wrong-source" where its signer may not speak for its source.

    That nothing crossed, source and destination being one zone, is believed of that zone's own
    signer alone: no line of `border` is asked for then, so an entry for any zone would open it.
    """
    verified, until = open_past(data, trusted, role="transfer", past=past)
    statement = verified.statement
    transfer = Transfer.parse(
        statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
    )
    require_before(transfer.created, until, verified.signer.name)
    if str(transfer.release) != str(release):
        raise VerificationFailed(
            f"the record named {release} is that of {transfer.release}",
            fix="find out who put it there",
            reason="wrong-release",
        )
    signer = verified.speaking_for(transfer.source.zone)
    if signer and signer.zone is None and transfer.source.zone == transfer.destination.zone:
        raise VerificationFailed(
            f"{signer.name} signed that {release} never left zone {transfer.source.zone}",
            why="it is trusted for any zone, and only that zone's own signer may say this",
            fix=f"add from: {transfer.source.zone} to its entry under `trust`, if it is the zone's",
            reason="wrong-source",
        )
    if signer is None:
        raise VerificationFailed(
            f"{verified.signer.name} signed a push from zone {transfer.source.zone}",
            why=f"it is trusted to speak for zone {verified.signer.zone} only",
            fix="find out who signed it, or correct `from` of that entry under `trust`",
            reason="wrong-source",
        )
    return Record(transfer=transfer, signer=signer, data=data, sha256=verified.sha256)
