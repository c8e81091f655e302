"""Results of gates that cannot be counted, though they may be failures. No I/O.

RULES 30 and 33: what binds need not count. A failure that somebody spoilt, or that a newer version
wrote, still stands against a pass, until the project sets that statement aside by its digest. What
a stranger signed, or a signer who is not trusted for gates, stops nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError
from sovgate.formats import testresult

if TYPE_CHECKING:
    from sovgate.formats.statement import Statement
    from sovgate.formats.testresult import TestResult
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Verified


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """`gate` is None where it may be a result of any. `result` is what its signer says, where that
    can be read. `sound`: nothing is wrong with it but that its certificate has run out, so it
    stands against a pass only as the failure that it is.
    """

    name: str
    sha256: str
    reason: str
    gate: str | None = None
    result: TestResult | None = None
    sound: bool = False

    @property
    def text(self) -> str:
        """For a decision, in one line."""
        why = self.reason.removeprefix("contradicted: ")[:300]
        return f"{self.name[:60]} (sha256:{self.sha256}) does not count: {why}"


def find(raw: RawEvidence, heard: Verified | str, manifest: str, reason: str) -> Doubt | None:
    """The doubt that a statement raises, which cannot be counted. None where it raises none.

    `heard` is what a trusted signer said in it, or the reason why that cannot be told; strangers
    were left out.
    """
    from sovgate.formats import doubtful

    spoilt = Doubt(name=raw.name, sha256=raw.sha256, reason=reason)
    if isinstance(heard, str):
        if heard != "untrusted-role" and doubtful.may_be_result(raw.data, manifest):
            return spoilt
        return None
    return _said(heard.statement, manifest, spoilt)


def _said(said: Statement, manifest: str, spoilt: Doubt) -> Doubt | None:
    """Of a statement that its signer made: the words are theirs, though they do not count."""
    from sovgate.gates import registry

    if (said.role, said.subject_sha256) != ("gate", manifest):
        return None
    if testresult.EXTENSION not in said.predicate:
        return None  # another tool's: of no gate of ours
    told = said.predicate[testresult.EXTENSION]
    gate = told.get("gate") if type(told) is dict else None
    named = gate if type(gate) is str else None
    try:
        found = testresult.parse(said.predicate)
    except SovgateError:
        return replace(spoilt, gate=named)
    if registry.misfit(found) is not None:
        return None
    sound = registry.contradiction(found) is None
    return replace(spoilt, gate=found.gate, result=found, sound=sound)
