"""What may be signed by hand: each draft is read as policy reads it, and computed again.

RULES 33: nothing is signed that the model or its own counts contradict. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.statement import SPDX, Statement
from sovgate.pipeline.make.claims import require_past

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.formats.testresult import TestResult
    from sovgate.stages.sbom import Inspected

#: What tells a document of each kind from any other JSON.
_CYCLONEDX_HEADS = ("bomFormat",)
_SPDX_HEADS = ("@context", "spdxVersion")
_MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class About:
    """The model at hand: its name in the project, what was computed of its files, and the latest
    training record beside it."""

    name: str
    filename: str
    manifest: Manifest
    inspected: Inspected
    record: TrainingRecord | None = None


def read(statement: Statement, about: About) -> None:
    """Parse what policy will parse, and compute it again. Raises Malformed, VerificationFailed."""
    from sovgate.formats import legal, provenance, testresult

    role = statement.role
    if role == "provenance":
        require_past(provenance.parse(statement.predicate), datetime.now(UTC))
    elif role == "gate":
        _read_gate(testresult.parse(_named_gate(statement)))
    elif role == "legal":
        legal.parse(statement.predicate)
    elif role == "sbom":
        heads = _SPDX_HEADS if statement.predicate_type == SPDX else _CYCLONEDX_HEADS
        if not any(name in statement.predicate for name in heads):
            raise Malformed(
                "it is not an SBOM of that type",
                why=f"it does not say {' or '.join(heads)}",
                fix="name a CycloneDX document in JSON, or an SPDX one with its predicate type",
            )
        if statement.other_kind is not None:
            kinds = ("SPDX", "CycloneDX")
            signed, other = kinds if statement.predicate_type == SPDX else kinds[::-1]
            raise Malformed(
                "it is an SBOM of two kinds at once",
                why=f"it is to be signed as {signed}, and its {statement.other_kind[:80]!r} is of "
                f"{other}: what one reader compares, another does not read",
                fix="make a document of each kind, and name them one by one; or write them anew: "
                "sovgate sbom MODEL --spdx FILE",
            )
        _read_sbom(statement, about)


def _named_gate(statement: Statement) -> strict.JSON:
    from sovgate.formats import testresult

    if testresult.EXTENSION not in statement.predicate:
        raise Malformed(
            "it is not a result of one of sovgate's gates",
            why="what nobody can compute again from its counts is not signed as a gate",
            fix="let sovgate measure it: sovgate gate --help lists the gates; a test of your own "
            "may write JUnit XML, which the gate junit reads",
        )
    return statement.predicate


def _read_gate(found: TestResult) -> None:
    """RULES 33: what is signed follows from its counts, all computed again."""
    from sovgate.gates import registry

    why = registry.misfit(found)
    if why is not None:
        raise VerificationFailed(
            "it is not a result of the gate that it names",
            why=why,
            fix="run it again: sovgate gate",
            reason="other-measure",
        )
    why = registry.contradiction(found)
    if why is not None:
        raise VerificationFailed(
            "its result does not follow from what it counts",
            why=why,
            fix="remove it, and run the gate again; somebody may have changed it",
            reason="contradicted",
        )


def _read_sbom(statement: Statement, about: About) -> None:
    from sovgate import __version__
    from sovgate.stages.sbom import Described
    from sovgate.stages.sbom.compare import data_differences, differences

    described = Described(
        name=about.name,
        manifest=about.manifest,
        inspected=about.inspected,
        filename=about.filename,
        record=about.record,
        tool_version=__version__,
    )
    document = statement.predicate
    told = chain(differences(document, described), data_differences(document, described))
    found = list(islice(told, _MOST_NAMED))
    if found:
        raise VerificationFailed(
            "it is not what the model's files and its training record say",
            why=found[0],
            fix="remove it, and write it again: sovgate sbom MODEL",
            reason="contradicted",
            details=tuple(f"and {one}" for one in found[1:]),
        )
