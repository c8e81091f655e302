"""What `pull` says where another model, or its evidence, lies already. Reads that evidence only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, UsageError
from sovgate.pipeline.move.results import evidence_beside
from sovgate.records import Release
from sovgate.stages import attest

if TYPE_CHECKING:
    from sovgate.stages.trust import Trusted

_SHOWN = 3
_MOST_TRIED = 100


def taken_by_another(
    output: Path,
    release: Release,
    *,
    other: str | None,
    evidence: Path | None,
    trusted: Sequence[Trusted],
    named: bool,
) -> UsageError:
    """One error for all that is in the way, and one place where nothing is: RULES 6, no evidence
    of two models is mixed, and that of the old one is not lost.

    other     why what is at `output` is not `release`; None where it is, or nothing is there
    evidence  the folder that holds evidence of another model; None where none does
    named     that folder was named, so it does not follow `-o`
    """
    whose = "" if evidence is None else _releases(evidence, trusted)
    if other is None:
        what = f"{str(evidence)!r} holds the evidence of {whose or 'another model'}"
        why = f"the evidence of {release} cannot be mixed with it"
    else:
        what = f"{str(output)!r} already exists, and is not {release}"
        why = other
        if evidence is not None:
            says = f"it holds {whose}" if whose else "it is another model"
            why = f"{says}, by its evidence in {str(evidence)!r}; {other}"
    fix = f"pull it to another place: -o {_free(output, release)}"
    if named and evidence is not None:
        fix += ", with another --evidence"
    return UsageError(
        what,
        why=why,
        fix=f"{fix}; what is there stays as it is",
        reason="output-exists",
    )


def _releases(folder: Path, trusted: Sequence[Trusted]) -> str:
    """The releases that trusted records of a move in that folder are about; "" where none is."""
    from sovgate.stages.trust import open_statement

    found: set[str] = set()
    with contextlib.suppress(SovgateError):
        for raw in attest.read(folder):
            with contextlib.suppress(SovgateError):
                verified = open_statement(raw.data, trusted)
                said = verified.statement.predicate.get("release")
                if verified.role in ("transfer", "receipt") and isinstance(said, str):
                    found.add(str(Release.parse(said)))
    return ", ".join(sorted(found)[:_SHOWN]) + (" and more" if len(found) > _SHOWN else "")


def _free(output: Path, release: Release) -> str:
    """A place beside `output` that is free, as it is to be typed."""
    import shlex

    output = output if output.name not in ("", "..") else output.resolve()
    for number in range(1, _MOST_TRIED):
        again = "" if number == 1 else f"-{number}"
        tried = output.with_name(f"{output.name}-{release.version}{again}")
        if not any(os.path.lexists(path) for path in (tried, evidence_beside(tried))):
            return shlex.quote(str(tried))
    return "DIR"
