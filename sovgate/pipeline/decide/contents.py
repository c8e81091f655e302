"""What policy is told of a model's contents: whether it holds pickles. Loads nothing of it.

From the files, where they are at hand; else from a signed SBOM; else it is not known, which denies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError

if TYPE_CHECKING:
    from sovgate.formats.case import Fact
    from sovgate.formats.manifest import Manifest
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted

#: Nobody looked.
UNKNOWN: Mapping[str, Fact] = {"pickles": None, "pickle": None}
#: Encrypted still: to be asked about again once it is open. Only `pull` says so.
UNOPENED: Mapping[str, Fact] = {"pickles": "unopened", "pickle": None}
#: A zone looked when it opened the model, and said so in its receipt.
CLEAN: Mapping[str, Fact] = {"pickles": 0, "pickle": None}

#: The check of a receipt that says so.
NO_PICKLES = "no-pickles"

_MAX_NAME = 256
_PROPERTY = "sovgate:pickles"


def of_files(root: Path, manifest: Manifest) -> dict[str, Fact]:
    """Facts about a model that lies at `root`. Raises DiskError, VerificationFailed."""
    from sovgate.stages.sbom import find_pickles

    names = (resource.name for resource in manifest.resources)
    found = sorted(find_pickles(root, manifest.kind, names))
    first = found[0] if found else None
    if first == ".":
        first = root.name
    return {"pickles": len(found), "pickle": None if first is None else first[:_MAX_NAME]}


def of_evidence(
    evidence: Iterable[RawEvidence], trusted: Sequence[Trusted], manifest: str
) -> dict[str, Fact]:
    """Facts that signed SBOMs of this manifest state; of several the worst counts."""
    from sovgate.stages.trust import open_statement

    counts: list[int] = []
    for item in evidence:
        try:
            verified = open_statement(item.data, trusted)
        except SovgateError:
            continue  # the case names it under `rejected`
        if verified.role == "sbom" and verified.statement.subject_sha256 == manifest:
            told = _stated_count(verified.statement.predicate)
            if told is not None:
                counts.append(told)
    return {"pickles": max(counts), "pickle": None} if counts else dict(UNKNOWN)


def _stated_count(document: object) -> int | None:
    """`sovgate:pickles` of a CycloneDX document's own component."""
    for step in ("metadata", "component", "properties"):
        document = document.get(step) if isinstance(document, dict) else None
    rows = document if isinstance(document, list) else []
    told = [
        row.get("value") for row in rows if isinstance(row, dict) and row.get("name") == _PROPERTY
    ]
    if len(told) != 1 or not isinstance(told[0], str) or not told[0].isascii():
        return None
    return int(told[0]) if told[0].isdecimal() and len(told[0]) < 10 else None
