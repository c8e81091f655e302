"""What policy is told of a model's contents: pickles, secrets, claimed bases. Loads nothing of it.

From the files, where they are at hand; else from a signed SBOM; else it is not known, which denies.
Bytes at hand are bytes whose digest was computed and found signed (RULES 33).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, VerificationFailed

if TYPE_CHECKING:
    from sovgate.blocks import Blocks
    from sovgate.formats.case import Fact
    from sovgate.formats.claims import Claim
    from sovgate.formats.manifest import Manifest
    from sovgate.pipeline.decide.admission import Admitted
    from sovgate.pipeline.project import Project
    from sovgate.records import Advance
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted


@dataclass(frozen=True)
class Contents(Mapping[str, "Fact"]):
    """Facts of a case by name; `claims` are base models that the model's own files name."""

    facts: Mapping[str, Fact]
    claims: tuple[Claim, ...] = ()

    @property
    def seen(self) -> bool:
        """Whether somebody looked into the files, and told all of it: no claim means none."""
        return all(isinstance(self.facts[what], int) for what in _COUNTED)

    def __getitem__(self, name: str) -> Fact:
        return self.facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)


#: Nobody looked.
UNKNOWN = Contents(
    {
        "pickles": None,
        "pickle": None,
        "secrets": None,
        "secret": None,
        "remote_code": None,
        "remote_code_file": None,
    }
)
#: Encrypted still: to be asked about again once it is open. Only `pull` says so.
UNOPENED = Contents(
    {**UNKNOWN, "pickles": "unopened", "secrets": "unopened", "remote_code": "unopened"}
)
#: A zone looked when it opened the model, and said so in its receipt.
CLEAN = Contents({**UNKNOWN, "pickles": 0, "secrets": 0, "remote_code": 0})

#: The check of a receipt that says so.
NO_PICKLES = "no-pickles"
#: The same of Python code of the model's own.
NO_REMOTE_CODE = "no-remote-code"

_MAX_NAME = 256
#: What a signed SBOM counts.
_COUNTED = ("pickles", "secrets", "remote_code")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A model's files, as they were looked into; that these are the bytes that were signed is shown
    by whoever hashes them and holds `looked` against them."""

    root: Path
    manifest: Manifest
    admitted: Admitted

    @property
    def contents(self) -> Contents:
        return of_admitted(self.admitted, self.root)

    @property
    def looked(self) -> Mapping[str, Blocks]:
        return self.admitted.inspected.looked

    def require_signed(self, advance: Advance | None = None) -> None:
        """Hash the files, and compare. Raises VerificationFailed, reasons "digest-mismatch",
        "changed-while-reading"."""
        from sovgate.files import Entry
        from sovgate.stages.hashing import hash_files

        listed = [Entry(name=one.name, size=one.size) for one in self.manifest.resources]
        alone = self.manifest.kind == "file"
        found = hash_files(self.root, listed, alone=alone, looked=self.looked, advance=advance)
        for one in self.manifest.resources:
            if found[one.name].sha256 != one.digest:
                raise VerificationFailed(
                    f"{one.name[:160]!r} is not what was signed",
                    why="its digest is another one",
                    fix="take the file that was signed, or sign the model again",
                    reason="digest-mismatch",
                )


def look_into(
    root: Path,
    manifest: Manifest,
    opened: Project | None,
    only: Collection[str] | None = None,
) -> Seen:
    """Look into the files of a model at `root`; into `only` some of them where another machine
    looks into the others. What files say of each other is then not asked.

    Raises VerificationFailed where it is no whole model, Malformed (`sbom.inspect`), DiskError.
    """
    from sovgate.pipeline.decide.admission import examine

    return Seen(root=root, manifest=manifest, admitted=examine(root, manifest, opened, only))


def of_some_files(
    root: Path, manifest: Manifest, names: Collection[str], opened: Project
) -> Contents:
    """Facts about files `names` of a model, of which `root` has no others. What they hold counts;
    of all else it is said that nobody opened it. Raises as `look_into`.
    """
    from sovgate.pipeline.decide.admission import examine

    found = of_admitted(examine(root, manifest, opened, only=names), root)
    if len(manifest.resources) == len(names):
        return found
    return Contents(
        {**found, **{what: found[what] or UNOPENED[what] for what in _COUNTED}}, found.claims
    )


def of_receipt(passed: Collection[str]) -> Contents:
    """What the zone said of the files when it opened them, by the checks of its receipt that
    passed. Of secrets it says so with pickles.
    """
    facts = dict(CLEAN if NO_PICKLES in passed else UNKNOWN)
    facts["remote_code"] = 0 if NO_REMOTE_CODE in passed else None
    return Contents(facts)


def of_admitted(admitted: Admitted, root: Path) -> Contents:
    found = sorted(admitted.inspected.pickles.items())
    first = None
    if found:
        name, one = found[0]
        first = one.way(root.name if name == "." else name)
    secrets, code = admitted.secrets, sorted(admitted.inspected.remote_code.items())
    facts: dict[str, Fact] = {
        "pickles": len(found),
        "pickle": None if first is None else first[:_MAX_NAME],
        "secrets": len(secrets),
        "secret": str(secrets[0])[:_MAX_NAME] if secrets else None,
        "remote_code": len(code),
        "remote_code_file": f"{code[0][0]}: {code[0][1]}"[:_MAX_NAME] if code else None,
    }
    return Contents(facts, admitted.inspected.claims)


def of_evidence(
    evidence: Iterable[RawEvidence], trusted: Sequence[Trusted], manifest: str
) -> Contents:
    """What signed SBOMs of this manifest state; of several the worst counts, and every claim.

    That nothing is there only a CycloneDX document states, and none that is SPDX as well.
    """
    from sovgate.formats.statement import PREDICATE_TYPES
    from sovgate.stages.trust import open_statement

    claims: list[Claim] = []
    counts: dict[str, list[int]] = {what: [] for what in _COUNTED}
    for item in evidence:
        try:
            verified = open_statement(item.data, trusted)
        except SovgateError:
            continue  # the case names it under `rejected`
        if verified.role == "sbom" and verified.statement.subject_sha256 == manifest:
            claims += _stated_claims(verified.statement.predicate)
            plain = verified.statement.predicate_type == PREDICATE_TYPES["sbom"]
            plain = plain and verified.statement.other_kind is None
            for what, told in counts.items():
                count = _stated_count(
                    verified.statement.predicate, f"sovgate:{what.replace('_', '-')}"
                )
                told.extend([] if count is None or not (plain or count) else [count])
    facts = {**UNKNOWN, **{what: max(told) for what, told in counts.items() if told}}
    return Contents(facts, tuple(claims))


def _stated_count(document: object, name: str) -> int | None:
    """A number among the properties of a CycloneDX document's own component."""
    for step in ("metadata", "component", "properties"):
        document = document.get(step) if isinstance(document, dict) else None
    rows = document if isinstance(document, list) else []
    told = [row.get("value") for row in rows if isinstance(row, dict) and row.get("name") == name]
    if len(told) != 1 or not isinstance(told[0], str) or not told[0].isascii():
        return None
    return int(told[0]) if told[0].isdecimal() and len(told[0]) < 10 else None


def _stated_claims(document: object) -> list[Claim]:
    """What is no claim as we write them is one of which nothing is known, and which denies."""
    from sovgate.formats.claims import PROPERTY, parse

    return [parse(value) for value in _rows(document, PROPERTY)]


def _rows(document: object, name: str) -> list[object]:
    for step in ("metadata", "component", "properties"):
        document = document.get(step) if isinstance(document, dict) else None
    rows = document if isinstance(document, list) else []
    return [row.get("value") for row in rows if isinstance(row, dict) and row.get("name") == name]
