"""What a service of plain HTTP refused, in our words. Pure.

Nothing that an error says here holds a secret; the text of a service goes in shortened.
"""

from __future__ import annotations

from dataclasses import dataclass

from sovgate.errors import DOCS, SovgateError


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """`doing` completes "could not …"; `needed` is the permission, and on what; `page` is of docs/.

    unknown  whether the service says that it does not know the caller
    """

    doing: str
    status: int
    code: str
    text: str
    needed: str
    page: str
    unknown: bool = False


def explain(refusal: Refusal, kind: type[SovgateError]) -> SovgateError:
    what = f"could not {refusal.doing}"
    told = ": ".join(part[:300] for part in (refusal.code, refusal.text) if part)
    told = told or f"status {refusal.status}"
    if refusal.status == 401 or refusal.unknown:
        return kind(
            what,
            why=f"the service does not accept these credentials ({told})",
            fix="check that they are of this cloud and have not run out",
            reason="bad-credentials",
        )
    if refusal.status == 403:
        return kind(
            what,
            why=f"access denied: these credentials lack {refusal.needed} ({told})",
            fix=f"allow {refusal.needed} ({DOCS}/{refusal.page} has all of them)",
            reason="access-denied",
        )
    if refusal.status in (429, 503):
        return kind(
            what,
            why=f"the service asks for fewer requests at once ({told}), after four attempts",
            fix="wait a few minutes, and run it again; if it stays so, let fewer jobs use the "
            "store at once",
            reason="slow-down",
        )
    return kind(
        what,
        why=told,
        fix="run it again; if the error stays, ask the service's operator",
        reason="service",
    )


def unreadable(whose: str, lacking: str, kind: type[SovgateError]) -> SovgateError:
    """An answer that lacks what was asked for."""
    return kind(
        f"could not read an answer of {whose}",
        why=f"it has no {lacking}",
        fix="find out which service answers at that endpoint",
        reason="no-answer",
    )
