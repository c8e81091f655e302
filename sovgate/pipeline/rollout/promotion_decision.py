"""Whether a promotion record rests on a decision that held when it was written. Reads a store.

A record is the zone's own word, but a word that names a decision of another zone, release or day is
no record of ours. `rollback` and `audit show` ask the same question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from sovgate.errors import NotFound, VerificationFailed
from sovgate.formats.decision import SignedDecision, parse_decision
from sovgate.formats.promotion import Promotion
from sovgate.stages.trust import Trusted, open_statement

if TYPE_CHECKING:
    from sovgate.stores._api import Store

MAX_BYTES = 16 * 1024 * 1024
#: A push may still lose races after the last look at the clock.
_SLACK = timedelta(minutes=15)


def check_decision(
    store: Store,
    promotion: Promotion,
    trusted: Sequence[Trusted],
    *,
    proposed: Promotion | None = None,
) -> tuple[SignedDecision, Trusted]:
    """The decision that a promotion names, and who signed it.

    It must have held when the promotion was made: where it was `proposed`, and merged later, when
    it was proposed.

    Raises VerificationFailed: "decision-missing", "digest-mismatch", "wrong-decision" (another
    zone, action, release or model, or a denial), "decision-expired", or as a statement.
    """
    from sovgate.formats.transfer import object_name

    try:
        data = store.get(object_name(promotion.decision), most=MAX_BYTES)
    except NotFound:
        _refuse("its decision is not in the store", "decision-missing")
    if hashlib.sha256(data).hexdigest() != promotion.decision:
        _refuse("its decision was changed", "digest-mismatch")
    verified = open_statement(data, trusted, role="decision")
    found = parse_decision(verified.statement)
    zone = promotion.zone
    signer = verified.own_word(zone)
    if signer is None:
        _refuse(f"{verified.signer.name} signed its decision, not zone {zone}", "wrong-decision")
    said = (found.action, found.cls, found.source, found.destination, found.release, found.manifest)
    meant = ("deploy", "weights", zone, zone, str(promotion.release), promotion.manifest)
    if said != meant or not found.passed:
        _refuse(
            f"its decision says {found.action} of {found.cls} of {found.release} from "
            f"{found.source} to {found.destination} {'passed' if found.passed else 'was denied'}",
            "wrong-decision",
        )
    made: datetime = (proposed or promotion).created
    if not found.time - _SLACK <= made <= found.expires + _SLACK:
        _refuse(
            f"its decision held from {found.time.isoformat()} to {found.expires.isoformat()}, "
            f"and it was made {made.isoformat()}",
            "decision-expired",
        )
    return found, signer


def _refuse(why: str, reason: str) -> NoReturn:
    raise VerificationFailed(
        "no valid decision stands behind the promotion record",
        why=why,
        fix="find out who wrote that record; promote a release that is shown to be allowed",
        reason=reason,
    )
