"""Evidence that a zone adds to a release after it crossed: its own gates, its lawyer's word.

In the zone's store beside the record, create-only; for policy to judge like all else. Touches that
store and an evidence folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sovgate.errors import VerificationFailed
from sovgate.pipeline.beside import may_bind, read_records
from sovgate.pipeline.move.pushing.outgoing import CARRIED
from sovgate.stages import attest
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.records import Release
    from sovgate.stores._api import Store

MAX_ADDED = 1_000


def _folder(release: Release) -> str:
    return f"evidence/{release.model}/{release.version}/"


def stored(store: Store, release: Release) -> tuple[attest.RawEvidence, ...]:
    """What was added before; nothing of it verified, but that its name is its digest.

    Raises VerificationFailed ("limits", "digest-mismatch"), StoreError.
    """
    found: list[attest.RawEvidence] = []
    left = attest.MAX_TOTAL
    for name in store.list(_folder(release)):
        data = store.get(name, most=min(left, MAX_BYTES))
        left -= len(data)
        one = _raw(name.rsplit("/", 1)[1], data)
        if one.name != f"{one.sha256}.json":
            raise VerificationFailed(
                f"{name} does not have the bytes that its name says",
                fix="find out who changed it, and remove it",
                reason="digest-mismatch",
            )
        found.append(one)
        if len(found) > MAX_ADDED:
            raise VerificationFailed(
                f"more than {MAX_ADDED} statements were added to {release}", reason="limits"
            )
    return tuple(found)


def beside(
    folders: attest.Folders, known: Iterable[str], manifest: str
) -> tuple[attest.RawEvidence, ...]:
    """The evidence of a model here, but for the digests `known`.

    Of the roles that are said of a model wherever it is; and what cannot be read but may be a
    record of this one, which binds it.
    """
    there = set(known)
    return tuple(
        raw
        for raw in read_records(folders, manifest)
        if raw.sha256 not in there and (_role(raw) in CARRIED or may_bind(raw, manifest))
    )


def keep(store: Store, release: Release, evidence: Iterable[attest.RawEvidence]) -> None:
    """Write it to the store; what is there already is left. Raises StoreError."""
    from sovgate.stages import transfer

    for raw in evidence:
        transfer.put_document(store, f"{_folder(release)}{raw.sha256}.json", raw.data)


def _role(raw: attest.RawEvidence) -> str | None:
    """By its predicate type; None for what does not even read."""
    from sovgate.formats import foreign

    try:
        return foreign.statement(raw.data).role
    except VerificationFailed:
        return None


def _raw(name: str, data: bytes) -> attest.RawEvidence:
    return attest.RawEvidence(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())
