"""Which gates there are: a line each. Imports one when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.errors import UsageError

if TYPE_CHECKING:
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
