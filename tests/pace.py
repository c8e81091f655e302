"""How fast this machine is just now, so that a bound on CPU seconds means the same on each."""

from __future__ import annotations

import json
import time

#: CPU seconds of the work below on the machine that the bounds were set on.
_USUAL = 0.024
_TEXT = json.dumps({f"layer.{n}": {"shape": [n, n], "at": [n, n + 1]} for n in range(20_000)})


def pace() -> float:
    """1 on that machine or a faster one, 2 where the same work takes twice as long."""
    started = time.process_time()
    found = json.loads(_TEXT, object_pairs_hook=dict)
    sum(len(name) + sum(entry["shape"]) for name, entry in found.items())
    return max(1.0, (time.process_time() - started) / _USUAL)
