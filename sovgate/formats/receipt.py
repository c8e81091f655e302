"""The receipt: a zone's signed word that it pulled, verified and opened a release.

Predicate `https://sovgate.dev/receipt/v0`, in `receipts/<model>/<version>/<sha256>.json`. No I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats._common import PROVIDER_REGION, read_digest, read_release, read_zone
from sovgate.records import Release

MAX_CHECKS = 256
#: A receipt is small; a reader takes no more than this.
MAX_BYTES = 1024 * 1024

_CHECK_ID = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
_RESULTS = ("PASSED", "FAILED")


@dataclass(frozen=True, kw_only=True)
class Check:
    id: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """`record` is the SHA-256 of the release record's bytes, `manifest` the model's identity.

    `location` is `provider:region` or None where nobody could say; `grade` is records.GRADE.
    """

    release: Release
    record: str
    manifest: str
    zone: str
    location: str | None
    grade: int
    checks: tuple[Check, ...]
    decision: str
    opened: datetime
    audit_head: str

    @property
    def passed(self) -> frozenset[str]:
        """The checks that passed, by id."""
        return frozenset(check.id for check in self.checks if check.passed)

    def predicate(self) -> dict[str, strict.JSON]:
        return {
            "release": str(self.release),
            "record": {"sha256": self.record},
            "manifest": self.manifest,
            "zone": self.zone,
            "location": {"value": self.location, "grade": self.grade},
            "checks": [
                {"id": check.id, "result": "PASSED" if check.passed else "FAILED"}
                for check in self.checks
            ],
            "decision": {"sha256": self.decision},
            "opened": strict.format_time(self.opened),
            "audit-head": self.audit_head,
        }

    @classmethod
    def parse(cls, predicate: strict.JSON, *, name: str, manifest: str) -> Receipt:
        """The predicate of a statement about `name` and `manifest`. Raises Malformed."""
        fields = strict.Fields(predicate, "receipt")
        place = fields.object("location")
        receipt = cls(
            release=read_release(fields, "release"),
            record=read_digest(fields, "record"),
            manifest=fields.sha256("manifest"),
            zone=read_zone(fields, "zone"),
            location=place.nullable("value", lambda f: place.text(f, pattern=PROVIDER_REGION)),
            grade=place.integer("grade", most=3),
            checks=tuple(_check(check) for check in fields.objects("checks", most=MAX_CHECKS)),
            decision=read_digest(fields, "decision"),
            opened=fields.time("opened"),
            audit_head=fields.sha256("audit-head"),
        )
        place.done()
        fields.done()
        if len({check.id for check in receipt.checks}) != len(receipt.checks):
            raise Malformed("receipt.checks names a check twice")
        if (receipt.release.model, receipt.manifest) != (name, manifest):
            raise Malformed("the receipt's subject is not its release")
        return receipt


def _check(fields: strict.Fields) -> Check:
    check = fields.text("id", pattern=_CHECK_ID)
    result = fields.text("result")
    fields.done()
    if result not in _RESULTS:
        raise Malformed(f"{fields.path}.result is {result[:40]!r}, not one of {_RESULTS}")
    return Check(id=check, passed=result == "PASSED")
