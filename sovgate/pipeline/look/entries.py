"""The entries of a zone's audit log, each by itself. Reads a store.

`audit.verify` looks at chains and anchors and refuses the whole; here one entry that does not
verify says so and the next is read, for those who look something up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import VerificationFailed
from sovgate.formats.auditentry import MAX_BYTES, Entry, parse_object_name
from sovgate.stages.audit import MAX_ENTRIES, PREFIX, read_entry

if TYPE_CHECKING:
    from sovgate.stages.trust import Trusted, Verified
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Found:
    """An entry as it lies there: read and verified, or else `error` says why not."""

    name: str
    sha256: str
    entry: Entry | None
    said: Verified | None
    error: str | None


def read_entries(
    store: Store, trusted: Sequence[Trusted], *, least: int = 0, past: bool = False
) -> Iterator[Found]:
    """Every entry that lies in the log, by name; those with a number below `least` are passed over.

    `past`: those of former signers too, which only ever bind.

    Raises StoreError, VerificationFailed "limits".
    """
    for count, name in enumerate(store.list(PREFIX)):
        if count >= MAX_ENTRIES:
            raise VerificationFailed("the log is larger than a reader takes", reason="limits")
        entry = said = error = None
        data = b""
        try:
            run, index = parse_object_name(name)
            if index < least:
                continue
            data = store.get(name, most=MAX_BYTES)
            entry, said = read_entry(data, trusted, run=run, index=index, past=past)
        except VerificationFailed as failure:
            error = f"{failure.reason}: {failure.what}"
        digest = hashlib.sha256(data).hexdigest()
        yield Found(name=name, sha256=digest, entry=entry, said=said, error=error)
