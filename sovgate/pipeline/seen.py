"""What a denial adds where a gate has no result at all among the evidence that was read. No I/O.

What is known of a result that was read stands in the denial itself (`gating.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError

if TYPE_CHECKING:
    from sovgate.formats.decision import Decision
    from sovgate.stages.attest import RawEvidence

RULE = "gates-before-stage"


def results_missing(decision: Decision, raws: Sequence[RawEvidence]) -> tuple[str, ...]:
    """One line for each gate for want of which `decision` denies, if no result of it was read."""
    denied = [deny.message for deny in decision.denies if deny.rule == RULE]
    if not denied:
        return ()
    there = {name for raw in raws if (name := _gate(raw)) is not None}
    where = (
        "; if it lies beside the model here, add --model PATH"
        if decision.case.action == "deploy"
        else ""
    )
    return tuple(
        f"no signed result of the gate {gate.name} is in the evidence that was read{where}"
        for gate in decision.case.project.gates
        if gate.name not in there
        and any(message.startswith(f"the gate {gate.name} has to pass") for message in denied)
    )


def _gate(raw: RawEvidence) -> str | None:
    """The gate of which a bundle reads as a result, whoever signed it."""
    from sovgate.formats import foreign, testresult

    try:
        said = foreign.statement(raw.data)
        return testresult.parse(said.predicate).gate if said.role == "gate" else None
    except SovgateError:
        return None
