"""What a model's own files say of where it comes from, held against its record. Pure, no I/O.

RULES 39: a claimed base that no record names is unknown to policy; other differences are findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sovgate.errors import VerificationFailed
from sovgate.formats.claims import Claim
from sovgate.strict import format_time

if TYPE_CHECKING:
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.stages.sbom import Inspected

HELP = (
    "record the model with --base-model PATH (NAME=PATH where the files call it NAME), or with "
    "--public-base NAME@REVISION where anybody may have that base"
)


#: How far the clock of another machine may be ahead.
CLOCK_SLACK = timedelta(seconds=300)


def require_past(record: TrainingRecord, now: datetime) -> None:
    """Before it is signed: a record of the future counts nowhere, and binds all the same.

    Raises VerificationFailed, reason "from-the-future".
    """
    if record.finished > now + CLOCK_SLACK:
        raise VerificationFailed(
            "it is from the future",
            why=f"it says that the training ended {format_time(record.finished)}; such a record "
            "cannot be counted, and would bind the model all the same",
            fix="correct the clock of the machine that trains, and record it again",
            reason="from-the-future",
        )


def differences(inspected: Inspected, record: TrainingRecord | None) -> tuple[str, ...]:
    """One sentence for each thing that the files say and the record does not."""
    return tuple(_differences(inspected, record))


def _differences(inspected: Inspected, record: TrainingRecord | None) -> Iterator[str]:
    from sovgate.stages.record import uncovered

    records = [] if record is None else [record]
    for claim in uncovered(inspected.claims, records):
        yield (
            f"{claim.file} says that the model was made from {claim.name}, and no record names "
            f"that base, so it may go nowhere: {HELP}"
        )
    if record is not None:
        told = [text for one in record.datasets for text in (one.name, one.pointer or "")]
        for name in inspected.card.datasets:
            claim = Claim(file="README.md", base=name)
            if not any(claim.covered_by(text) for text in told):
                yield f"README.md names the data set {name}, and the record does not"
    texts = sorted({one.text for one in inspected.licences})
    said = {text.casefold() for text in inspected.card.licenses}
    if said and texts and not said & {text.casefold() for text in texts}:
        yield (
            f"README.md says the licence {', '.join(inspected.card.licenses)}, and the licence "
            f"file reads as {', '.join(texts)}"
        )
