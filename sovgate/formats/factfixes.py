"""What helps where nobody said what is in a model: words, and the case as it then is. No I/O."""

from __future__ import annotations

import copy
from typing import Any

JSON = Any

#: Each by its fact. One SBOM states all of them.
RULES = {"no-pickles": "pickles", "no-secrets": "secrets", "no-remote-code": "remote_code"}


def fix(case: JSON, rule: str) -> str | None:
    """How it comes to be known; None where it is known, and the rule's own words are right."""
    fact = RULES.get(rule)
    if fact is None or case["facts"].get(fact) is not None:
        return None
    said = "say it in an SBOM, signed with a key that is trusted for it: "
    said += "sovgate sbom MODEL --key URI"
    if case["action"] != "transfer":
        return said
    return f"{said}; then encrypt the model again. Or push the model itself, which is looked into"


def stated(old: JSON, fact: str) -> JSON:
    """The case where that fact is none, and so is all that nobody said."""
    new = copy.deepcopy(old)
    for name in RULES.values():
        if name == fact or (old["facts"].get(fact) is None and old["facts"].get(name) is None):
            new["facts"][name] = 0
    return new
