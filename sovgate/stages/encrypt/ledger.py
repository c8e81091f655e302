"""Keeps the sender's ledger of what a zone's store has from it: in a private folder, never in a
project. Touches that folder alone. What is not authentic there is not used (RULES 31).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import replace_at
from sovgate.formats import chunk, wrap
from sovgate.formats import ledger as form
from sovgate.formats.ledger import MAX_LEDGER, Ledger, Row, Scope, Sheet, ZoneKey
from sovgate.formats.plan import MAX_CHUNKS
from sovgate.formats.resume import Signed
from sovgate.stages.encrypt.folder import PrivateFolder
from sovgate.stages.seal import checked_signature

if TYPE_CHECKING:
    from sovgate.keys._api import Signer
    from sovgate.stages.encrypt.kept import OwnKey

LEDGER = "ledger"
#: Seconds that a push waits for another one, which holds it while it reads or writes it.
_WAIT = 20.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Carried:
    """A unit that a release carries, and its chunks' keys. Holds secrets: its repr shows none."""

    row: Row
    keys: tuple[bytes, ...]

    @property
    def contents(self) -> tuple[str, ...]:
        return self.row.contents

    @property
    def digests(self) -> tuple[bytes, ...]:
        return self.row.digests


@contextmanager
def _opened(base: Path, scope: Scope) -> Iterator[PrivateFolder]:
    folder = PrivateFolder(base, scope.name, LEDGER)
    folder.open(wait=_WAIT)
    try:
        yield folder
    finally:
        folder.close()


def read_ledger(base: Path, scope: Scope, signer: Signer) -> Ledger | None:
    """What an earlier push from this zone to this store left; None where there is nothing.

    Raises VerificationFailed where what lies there is not this zone's word about this store, or
    damaged; DiskError, UsageError ("in-use").
    """
    if not os.path.lexists(base / scope.name):
        return None
    with _opened(base, scope) as folder:
        return _read(folder, scope, signer)


def _read(folder: PrivateFolder, scope: Scope, signer: Signer) -> Ledger | None:
    try:
        data = folder.read(LEDGER, MAX_LEDGER)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Malformed(f"the ledger cannot be read: {error.strerror}") from error
    signed, body = form.parted(data)
    signer.public_key.verify(form.signed_bytes(signed.payload), signed.signature)
    found = Ledger.parse(signed.payload, body)
    if found.sheet.scope != scope:
        raise Malformed("the ledger is that of another zone or store")
    return found


def require_own(ledger: Ledger, own: OwnKey) -> None:
    """Raises VerificationFailed ("ledger") where another key than the zone's own wraps its keys."""
    named = (ledger.recipient.key_id, ledger.recipient.algorithm)
    if named != (own.recipient.key_id, own.recipient.algorithm):
        raise VerificationFailed(
            "its keys were wrapped by another key than the zone's own of today", reason="ledger"
        )


def open_keys(ledger: Ledger, own: OwnKey) -> tuple[bytes, ...]:
    """The key of each chunk, in rows' order.

    Raises VerificationFailed ("ledger": it is not what this zone's key opens), KeyServiceError
    where the key service does not answer.
    """
    require_own(ledger, own)
    recipient = ledger.recipient
    key = own.unwrap(recipient, ledger.sheet.scope.context())
    if not wrap.committed(key, recipient.commit):
        raise VerificationFailed("the ledger's key is not the one it was written with")
    return ledger.keys(key)


def write_ledger(
    base: Path,
    scope: Scope,
    carried: Sequence[Carried],
    today: ZoneKey,
    signer: Signer,
    own: OwnKey,
) -> None:
    """Put the units of a release that is in the store before those of earlier ones.

    Of these go: units of the same contents, those that a key of before ever wrapped, and the oldest
    where there are too many. A run that is killed leaves the old ledger or the new one. Raises
    DiskError, UsageError ("in-use"), KeyServiceError, OSError.
    """
    with _opened(base, scope) as folder:
        # What a run left that was killed while it wrote.
        folder.clear(name for name in os.listdir(folder.handle) if name != LEDGER)  # noqa: PTH208
        kept = [*carried, *_earlier(folder, scope, signer, own)]
        chosen = list(_fitting(kept, today))
        sheet = Sheet(scope=scope, rows=tuple(one.row for one in chosen))
        keys = list(chain.from_iterable(one.keys for one in chosen))
        new = chunk.new_key()
        header, body = form.sealed(sheet, keys, new, own.wrap(new, scope.context()))
        signature = checked_signature(signer, form.signed_bytes(header))
        data = form.joined(Signed(payload=header, signature=signature), body)
        replace_at(folder.handle, LEDGER, data, mode=0o600)


def _earlier(folder: PrivateFolder, scope: Scope, signer: Signer, own: OwnKey) -> Iterator[Carried]:
    """What is not authentic, or does not open, is as if it were not there."""
    try:
        found = _read(folder, scope, signer)
        if found is None:
            return
        keys = open_keys(found, own)
    except VerificationFailed:
        return
    at = 0
    for row in found.sheet.rows:
        yield Carried(row=row, keys=keys[at : at + len(row.digests)])
        at += len(row.digests)


def _fitting(carried: Sequence[Carried], today: ZoneKey) -> Iterator[Carried]:
    seen: set[tuple[str, ...]] = set()
    chunks = size = 0
    for one in carried:
        row = one.row
        if row.contents in seen or not row.wrapped_for <= {today}:
            continue
        chunks += len(row.digests)
        size += form.row_size(row)
        if chunks > MAX_CHUNKS or size > form.MAX_UNITS_BYTES:
            return
        seen.add(row.contents)
        yield one
