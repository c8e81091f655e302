"""Which gates there are: a line each; and whether a result is one of theirs, computed again.

Imports a gate when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.errors import UsageError

#: More samples, or tests, than any gate reads.
MAX_N = 2_000_000
#: By how much the ends of an interval may differ between machines, whose logarithms do.
TOLERANCE = 2e-9

if TYPE_CHECKING:
    from sovgate.formats.testresult import Measure, TestResult
    from sovgate.gates._api import Gate

#: name of the gate -> module with its GATE. Adding a gate is one file and one line.
GATES: dict[str, str] = {
    "accuracy": "sovgate.gates.accuracy",
    "regression": "sovgate.gates.regression",
    "f1": "sovgate.gates.f1",
    "auc": "sovgate.gates.auc",
    "junit": "sovgate.gates.junit",
}


def open_gate(name: str) -> Gate:
    """Raises UsageError for a name that is no gate."""
    from importlib import import_module

    if name not in GATES:
        raise UsageError(f"there is no gate {name[:40]!r}", fix=f"one of {', '.join(GATES)}")
    gate: Gate = import_module(GATES[name]).GATE
    return gate


def misfit(result: TestResult) -> str | None:
    """Why a result is not of the gate that it names; None where it is."""
    if result.gate not in GATES:
        return f"nothing in sovgate measures {result.gate[:80]}; its gates are {', '.join(GATES)}"
    gate = open_gate(result.gate)
    if result.measure.metric != gate.metric:
        return f"{gate.name} measures {gate.metric}, and this {result.measure.metric[:80]}"
    if result.bound != gate.bound:
        return f"{gate.name} is held to {gate.bound or 'no bound'}, and this to {result.bound}"
    return None


def contradiction(result: TestResult) -> str | None:
    """What a result says against its own counts, all computed again (RULES 33); None if nothing.

    Whoever wrote it may have written anything: only what follows from the counts is taken for true.
    """
    from dataclasses import replace

    told = result.measure
    counts = ", ".join(f"{name} {count}" for name, count in sorted(told.counts.items()))
    head = f"{result.gate}: {counts or 'no counts'} of {told.n}"
    if max((told.n, *told.counts.values())) > MAX_N:
        return f"{head} is more than any gate reads"
    try:
        found = open_gate(result.gate).again(told)
    except ValueError as error:
        return f"{head} is no measurement" + (f": {error}" if _says(error) else "")
    if not _alike(told, found):
        return f"{head} is {_spelled(found)}, and not {_spelled(told)}"
    outcome = replace(result, measure=found).outcome
    if outcome != result.outcome:
        return f"{head} is {outcome}, and not {result.outcome}"
    return None


def _says(error: ValueError) -> bool:
    return bool(error.args) and type(error.args[0]) is str


def _alike(told: Measure, found: Measure) -> bool:
    for one, other in (
        (told.estimate, found.estimate),
        (told.low, found.low),
        (told.high, found.high),
    ):
        if (one is None) != (other is None):
            return False
        if one is not None and other is not None and abs(float(one) - float(other)) > TOLERANCE:
            return False
    return told.metric == found.metric and dict(told.counts) == dict(found.counts)


def _spelled(measure: Measure) -> str:
    if measure.low is None:
        return f"{measure.metric} without an interval"
    return f"{measure.estimate or 'no estimate'}, from {measure.low} to {measure.high}"
