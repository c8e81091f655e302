"""All that an SBOM says, whatever its format: the one input of both writers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from sovgate.formats import tensors
from sovgate.formats.huggingface import CARD
from sovgate.formats.manifest import Manifest
from sovgate.formats.provenance import RecordedDataset, TrainingRecord
from sovgate.stages.sbom.inspection import Inspected, Licence, Summary
from sovgate.stages.sbom.libraries import Library

UNKNOWN, FREE = "unknown", "free"
_AUTHORITY = re.compile(r"[^:/?#]*://([^/?#]*)")
_HOST = re.compile(r"(?:[^:@]*@)?[^:@]*(?::[0-9]*)?", re.ASCII)
_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, kw_only=True)
class Described:
    """`record_signer` is None where the training record is an unsigned draft, or there is none.

    `filename` is the name of a model that is one file; `timestamp` only ever what
    SOURCE_DATE_EPOCH says (RULES 19).
    """

    name: str
    manifest: Manifest
    inspected: Inspected
    filename: str
    record: TrainingRecord | None = None
    record_signer: str | None = None
    libraries: tuple[Library, ...] = ()
    licences: tuple[Licence, ...] = ()
    timestamp: datetime | None = None
    tool_version: str

    def file_name(self, name: str) -> str:
        return self.filename if name == "." else name

    @property
    def datasets(self) -> tuple[RecordedDataset, ...]:
        """Those of the training record; () also where it states that there are none."""
        found = self.record.datasets if self.record is not None else ()
        return () if self.without_data else found

    @property
    def without_data(self) -> bool:
        """Whether the record states that no data set is behind the model."""
        found = self.record.datasets if self.record is not None else ()
        return [(one.name, one.category) for one in found] == [("none", "none")]

    @property
    def summaries(self) -> list[Summary]:
        return self.inspected.of_format(self.inspected.format)

    @property
    def parameters(self) -> int | None:
        """Elements of all tensors in the model's own format; None where no header says."""
        return sum(s.parameters for s in self.summaries) if self.summaries else None

    @property
    def dtypes(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for summary in self.summaries:
            for dtype, (count, elements) in summary.dtypes.items():
                before = found.get(dtype, (0, 0))
                found[dtype] = (before[0] + count, before[1] + elements)
        return dict(sorted(found.items()))

    @property
    def family(self) -> str | None:
        config = self.inspected.configs.get("config")
        if config is not None and config.model_type:
            return config.model_type
        for summary in self.summaries:
            if family := summary.facts.get("general.architecture"):
                return family
        return None

    @property
    def architecture(self) -> str | None:
        config = self.inspected.configs.get("config")
        if config is not None and config.architectures:
            return ", ".join(config.architectures)
        for summary in self.summaries:
            if graph := summary.facts.get("graph"):
                return graph
        return None

    @property
    def ports(self) -> tuple[list[str], list[str]]:
        """Inputs and outputs, of ONNX graphs."""
        onnx = self.inspected.of_format("onnx")
        return [p for s in onnx for p in s.inputs], [p for s in onnx for p in s.outputs]

    @property
    def claimed_bases(self) -> dict[str, str]:
        """Base models that files name and the record does not -> who says so."""
        bases = self.record.base_models if self.record is not None else ()
        found: dict[str, list[str]] = {}
        for claim in self.inspected.claims:
            if not any(claim.covered_by(base.name, base.revision) for base in bases):
                said_by = "model card" if claim.file == CARD else claim.file
                found.setdefault(claim.name, []).append(said_by)
        return {name: ", ".join(found[name]) for name in sorted(found)}

    @property
    def unknown(self) -> list[tuple[str, str]]:
        """(file, what this version of sovgate does not know of its header)."""
        found = sorted(self.inspected.summaries.items())
        return [(self.file_name(name), ", ".join(s.unknown)) for name, s in found if s.unknown]

    @property
    def untold(self) -> list[str]:
        """Files of GGUF that do not tell their architecture."""
        found = sorted(self.inspected.summaries.items())
        return [
            self.file_name(name)
            for name, s in found
            if s.format == "gguf" and not s.unknown and tensors.gguf_untold(s.facts, s.part)
        ]

    @property
    def doubtful_configs(self) -> list[tuple[str, str]]:
        """(file, what a stricter reader than Python's would refuse in it)."""
        found = sorted(self.inspected.configs.items())
        return [(f"{kind.replace('-', '_')}.json", c.problem) for kind, c in found if c.problem]

    def facts(self) -> list[tuple[str, str]]:
        """What has no field of its own in either format, as (name, value), in a fixed order."""
        rows: list[tuple[str, str]] = []
        if self.inspected.format:
            rows.append(("format", self.inspected.format))
            rows.append(("parameters", str(self.parameters)))
            rows.append(("tensors", str(sum(s.tensors for s in self.summaries))))
        for dtype, (count, elements) in self.dtypes.items():
            rows.append((f"dtype:{dtype}", f"{count} tensors, {elements} elements"))
        for kind, config in sorted(self.inspected.configs.items()):
            rows += [(f"{kind}:{key}", value) for key, value in config.facts.items()]
        if self.without_data:
            rows.append(("data-sets", "none"))
        if self.inspected.card.library:
            rows.append(("library", self.inspected.card.library))
        rows += [("card-dataset", name) for name in self.inspected.card.datasets]
        if self.inspected.card.problem:
            rows.append(("card", f"not read: {self.inspected.card.problem}"))
        rows += [("architecture", f"{one}: not told") for one in self.untold]
        rows += [("config", f"{one}: {problem}") for one, problem in self.doubtful_configs]
        rows += [("not-known", f"{one}: {what}") for one, what in self.unknown]
        rows += [
            ("not-counted", f"{one}: {why}") for one, why in sorted(self.inspected.strays.items())
        ]
        return rows


def iri(text: str) -> str:
    """A pointer as an IRI: what may not stand in one is percent-encoded."""
    path, mark, fragment = text.partition("#")
    quoted = [quote(part, safe="!$%&'()*+,/:;=?@~") for part in (path, fragment)]
    made = _STRAY.sub("%25", quoted[0] + mark + quoted[1])
    where = _AUTHORITY.match(made)
    if where is not None and not _HOST.fullmatch(where[1]):
        host = where[1].replace(":", "%3A").replace("@", "%40")
        made = made[: where.start(1)] + host + made[where.end(1) :]
    return made


def stays_in(demands: tuple[tuple[str, ...], ...] | None) -> list[str]:
    """One text a demand on where data must stay: "DE or EU"; "free", or "unknown"."""
    if demands is None:
        return [UNKNOWN]
    return [" or ".join(demand) for demand in demands] or [FREE]
