"""What of a case's ancestry is unknown, and why. JSON of a case, no I/O.

An origin of kind "unknown" without a place is a record that is missing ("unknown"), or one that
binds though it cannot be counted, with a text that names it (RULES 30).
"""

from __future__ import annotations

import copy
import re
from typing import Any

JSON = Any
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def unrecorded(origin: JSON) -> bool:
    """Whether it says that there is no record at all."""
    return bool(_unplaced(origin) and origin["name"] == "unknown")


def _unplaced(origin: JSON) -> bool:
    return bool(origin["kind"] == "unknown" and not origin["where"])


def unclear(case: JSON, message: str) -> str | None:
    """The text of the record that binds, or is missing, of which a denial speaks."""
    texts = [one["name"] for one in case["subject"]["derived_from"] if _unplaced(one)]
    return next((text for text in texts if text != "unknown" and text in message), None)


def without(case: JSON, text: str) -> JSON:
    """The case as it is once that record is settled."""
    new = copy.deepcopy(case)
    kept = [one for one in new["subject"]["derived_from"] if one["name"] != text]
    new["subject"]["derived_from"] = kept
    return new


def recorded(case: JSON) -> JSON:
    """The case with a record, and free: the best that one could say."""
    new = copy.deepcopy(case)
    for one in new["subject"]["derived_from"]:
        if unrecorded(one):
            one.update(kind="dataset", stays_in=[], category="public")
    return new


def named(case: JSON) -> JSON:
    """The case with a record of each claimed base, and free: the best that one could say."""
    new = copy.deepcopy(case)
    for one in new["subject"]["derived_from"]:
        if one["kind"] == "unknown" and one["where"] is not None:
            one.update(kind="base-model", stays_in=[], category="public")
    return new


def way_out(text: str, *, alone: bool) -> str:
    """What a person can do about it; `alone`: no other record counts."""
    found = _DIGEST.search(text)
    if found is None:
        return "have that zone record what it trained the model on, and bring its record along"
    again = ", and record what the model was trained on" if alone else ""
    return (
        "find out what that record says; if it may be left out, add to the list set-aside in "
        f'sovgate.yaml: {{record: "{found.group()}", reason: "why it may be left out"}}{again}'
    )
