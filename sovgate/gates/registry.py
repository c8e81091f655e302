"""Which gates there are: a line each. Imports one when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.errors import UsageError

if TYPE_CHECKING:
    from sovgate.formats.testresult import TestResult
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
    """Why a result is not of the gate that it names; None where it is.

    A name that is none of ours is a gate of the project's own: of that, nothing is known here.
    """
    if result.gate not in GATES:
        return None
    gate = open_gate(result.gate)
    if result.measure.metric != gate.metric:
        return f"{gate.name} measures {gate.metric}, and this {result.measure.metric[:80]}"
    if result.bound != gate.bound:
        return f"{gate.name} is held to {gate.bound or 'no bound'}, and this to {result.bound}"
    return None
