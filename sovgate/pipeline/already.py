"""What of a model's evidence is done already (RULES 32). Reads that evidence, and public keys.

It is done if the identity that would sign now has signed it, and would sign the same now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import SovgateError
from sovgate.pipeline import key_option

if TYPE_CHECKING:
    from sovgate.formats.provenance import RecordedDataset
    from sovgate.formats.statement import Statement
    from sovgate.keys._api import Signer
    from sovgate.pipeline.project import Project
    from sovgate.stages.attest import Folders
    from sovgate.stages.trust import Trusted

#: Of an SBOM's own component: what its file is about, and what it says of it.
_COMPARED = ("type", "name", "version", "hashes", "properties", "pedigree")


@dataclass(frozen=True, kw_only=True)
class Already:
    """The statements about a model by one signer. Whatever else lies there is somebody else's."""

    evidence: Folders
    manifest: str
    opened: Project
    signer: Signer
    trusted: tuple[Trusted, ...]

    @classmethod
    def of(cls, evidence: Folders, manifest: str, opened: Project, key: str) -> Already:
        """`key` is the URI of the key that would sign. Raises ConfigError, KeyServiceError."""
        return cls(
            evidence=evidence,
            manifest=manifest,
            opened=opened,
            signer=key_option.signer(key, opened.base),
            trusted=opened.trusted(),
        )

    def signed(self) -> bool:
        """Whether the model's signature, which has verified, is by this signer."""
        from sovgate.stages.trust import said_by

        _, data = self.evidence.read_signature()
        return said_by(data, self.signer, self.trusted, "signature") is not None

    def _said(self, role: str) -> list[Statement]:
        from sovgate.stages.trust import said_by

        found = []
        for raw in self.evidence.read():
            said = said_by(raw.data, self.signer, self.trusted, role)
            if said is not None and said.subject_sha256 == self.manifest:
                found.append(said)
        return found

    def recorded(self, now: Sequence[RecordedDataset]) -> bool:
        """Whether one record says of these data sets what would be written now: commitment,
        demands, category and manifest. It may name more, and bases."""
        from sovgate.formats import provenance

        for said in self._said("provenance"):
            try:
                datasets = provenance.parse(said.predicate).datasets
            except SovgateError:
                continue
            if all(one in datasets for one in now):
                return True
        return False

    def listed(self) -> bool:
        """Whether an SBOM says of the model what would be written now; it may list libraries."""
        from sovgate.pipeline.make.sbom import describe
        from sovgate.stages.sbom import cyclonedx

        there = [_component(said.predicate) for said in self._said("sbom")]
        if not there:
            return False
        return _component(cyclonedx.build(describe(self.evidence, self.opened))) in there


def _component(document: object) -> bytes:
    """What an SBOM says of the model itself, in one spelling; empty where it says nothing."""
    for step in ("metadata", "component"):
        document = document.get(step) if isinstance(document, dict) else None
    if not isinstance(document, dict):
        return b""
    try:
        return strict.canonical({key: document.get(key) for key in _COMPARED})
    except SovgateError:
        return b""
