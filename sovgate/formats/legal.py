"""Legal attestation: a lawyer's word that a zone may run what was trained on a data set.

Bytes <-> record, no I/O. Bound to one state of the data (its commitment) and to one zone; the
statement's subject binds it to one model. docs/formats.md, "Legal".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sovgate import strict
from sovgate.formats._common import read_release, read_zone
from sovgate.records import RELEASE_PART

MAX_STATEMENT = 4096


@dataclass(frozen=True, kw_only=True)
class Legal:
    """`statement` is the text that was signed, for people; `until` None: no end is set.

    `release` None: whatever release this model is of.
    """

    dataset: str
    commitment: str
    zone: str
    release: str | None
    statement: str
    until: datetime | None

    def predicate(self) -> dict[str, strict.JSON]:
        return {
            "dataset": self.dataset,
            "commitment": self.commitment,
            "zone": self.zone,
            "release": self.release,
            "statement": self.statement,
            "until": None if self.until is None else strict.format_time(self.until),
        }


def parse(predicate: strict.JSON) -> Legal:
    """Raises Malformed."""
    top = strict.Fields(predicate, "predicate")
    made = Legal(
        dataset=top.text("dataset", pattern=RELEASE_PART),
        commitment=top.sha256("commitment"),
        zone=read_zone(top, "zone"),
        release=top.nullable("release", lambda name: str(read_release(top, name))),
        statement=top.text("statement", max_length=MAX_STATEMENT),
        until=top.nullable("until", top.time),
    )
    top.done()
    return made
