"""What helps where a gate of a case did not pass: words, and the case as it then is. No I/O."""

from __future__ import annotations

import copy
import re
from typing import Any

JSON = Any


_DOUBTED = re.compile(r"nobody knows whether .{1,200} failed: .*?\(sha256:([0-9a-f]{64})\)")


def doubted(name: str, text: str) -> str:
    """What is said of a gate while a result that may be a failure cannot be counted."""
    return f"nobody knows whether {name} failed: {text}"[:1024]


def fix(case: JSON, rule: str, message: str) -> str | None:
    """How one gate comes to pass; None where the rule's own words are right: run it, and sign."""
    if rule != "gates-before-stage":
        return None
    for gate in case["project"]["gates"]:
        name = gate["name"]
        if not message.startswith(f"the gate {name} has to pass "):
            continue
        said = case["facts"].get(f"gate.{name}") or ""
        doubt = _DOUBTED.match(said)
        if doubt is not None:
            return (
                "find out who spoilt or wrote that statement, and train the model again if it is a "
                "failure; if you know that it may be left out, say so in sovgate.yaml: set-aside: "
                f'[{{record: "sha256:{doubt.group(1)}", reason: "…"}}], and run the gate if there '
                "is no other result"
            )
        if any(_failed(item, name) for item in case["evidence"]):
            return (
                f"a failure of {name} stays with this model, and asking again does not change it: "
                "train the model again, and sign the result of the new one"
            )
        if said.startswith("the project does not pin "):
            return (
                f"pin what {name} is measured on (sovgate gate pin {name} --help), then run the "
                "gate on this model, and sign its result with a key that is trusted for gates"
            )
    return None


def without_failures(case: JSON) -> JSON:
    """The case of a model that failed nothing."""
    new = copy.deepcopy(case)
    new["evidence"] = [item for item in new["evidence"] if not _failed(item, item["gate"])]
    return new


def _failed(item: JSON, name: str | None) -> bool:
    return bool(item["role"] == "gate" and item["gate"] == name and item["result"] == "fail")
