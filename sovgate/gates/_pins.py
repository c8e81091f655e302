"""What a gate was measured on, as digests: the test set, and the baseline. Pure.

Independent of order, spelling and format of the file, and of what the model answered: the same
samples with the same labels are the same test set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sovgate.formats.testresult import Pins
from sovgate.gates._api import Inputs, Predictions

_TEST_SET = b"sovgate.test-set/v0\n"
_BASELINE = b"sovgate.baseline/v0\n"


def pins(inputs: Inputs) -> Pins:
    rows, before, tests = inputs.predictions, inputs.baseline, inputs.tests
    return Pins(
        test_set=tests.names if tests is not None else None if rows is None else test_set(rows),
        baseline=None if before is None else baseline(before),
        positive=inputs.positive,
    )


def test_set(rows: Predictions) -> str:
    """SHA-256 of the ids and labels, sorted by id."""
    return _digest(_TEST_SET, zip(rows.ids, rows.labels, strict=True))


test_set.__test__ = False  # type: ignore[attr-defined]  # for pytest: this is none of its functions


def baseline(rows: Predictions) -> str:
    """SHA-256 of ids, labels and the baseline's predictions, sorted by id."""
    return _digest(_BASELINE, zip(rows.ids, rows.labels, rows.predicted, strict=True))


def _digest(kind: bytes, rows: Iterable[tuple[str, ...]]) -> str:
    found = hashlib.sha256(kind)
    for row in sorted(rows):  # no value holds a line end, nor an unprintable separator
        found.update(("\x1f".join(row) + "\n").encode())
    return found.hexdigest()
