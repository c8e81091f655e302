"""SPDX 3.0.1 with the AI and Dataset profiles, as JSON-LD: a description -> one document. No I/O.

The same facts as the CycloneDX document. What SPDX has no field for stands in its own extension for
CycloneDX properties, under the same `sovgate:` names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sovgate import strict
from sovgate.formats.provenance import RecordedDataset
from sovgate.stages.sbom._described import Described, iri, stays_in
from sovgate.stages.sbom.inspection import Licence
from sovgate.stages.sbom.libraries import Library

JSON = dict[str, Any]
CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
VERSION = "3.0.1"
#: `created` is mandatory; without SOURCE_DATE_EPOCH it says that nobody said (RULES 19).
NO_TIME = "1970-01-01T00:00:00Z"
_CREATION = "_:creation"
_EXPRESSION = re.compile(r"[A-Za-z0-9.+()-]+( (AND|OR|WITH) [A-Za-z0-9.+()-]+)*", re.ASCII)


def build(described: Described) -> JSON:
    return _Writer(described).document()


class _Writer:
    def __init__(self, described: Described) -> None:
        self.described = described
        self.base = f"https://sovgate.dev/spdx/{described.manifest.digest}#"
        self.graph: list[JSON] = []
        self.relations = 0

    def iri(self, *parts: str) -> str:
        return self.base + "/".join(quote(part, safe="") for part in parts)

    def add(self, kind: str, iri: str, **fields: Any) -> str:
        """An element; fields without a value are left out."""
        element = {"type": kind, "spdxId": iri, "creationInfo": _CREATION}
        element |= {key: value for key, value in fields.items() if value}
        self.graph.append(element)
        return iri

    def relate(self, kind: str, start: str, to: Sequence[str], **fields: Any) -> None:
        if to:
            self.relations += 1
            self.add(
                fields.pop("type", "Relationship"),
                self.iri("relation", str(self.relations)),
                **{"from": start},
                to=list(to),
                relationshipType=kind,
                **fields,
            )

    def document(self) -> JSON:
        described = self.described
        when = described.timestamp
        self.graph.append(
            {
                "type": "CreationInfo",
                "@id": _CREATION,
                "specVersion": VERSION,
                "created": NO_TIME if when is None else strict.format_time(when),
                "createdBy": [self.iri("tool")],
            }
        )
        self.add("SoftwareAgent", self.iri("tool"), name=f"sovgate {described.tool_version}")
        model = self.model()
        self.files(model)
        self.datasets(model)
        self.bases(model)
        self.libraries(model)
        self.licences(model)
        elements = [element["spdxId"] for element in self.graph if "spdxId" in element]
        self.add(
            "SpdxDocument",
            self.iri("document"),
            name=f"SBOM of {described.name}",
            rootElement=[model],
            element=elements,
            profileConformance=[
                "core",
                "software",
                "ai",
                "dataset",
                "simpleLicensing",
                "extension",
            ],
        )
        return {"@context": CONTEXT, "@graph": self.graph}

    def model(self) -> str:
        described = self.described
        record = described.record
        parameters = sorted((record.parameters if record else {}).items())
        metrics = sorted((record.metrics if record else {}).items())
        training = None
        if record is not None:
            said = f"signed by sha256:{described.record_signer}"
            training = f"training record, {said if described.record_signer else 'unsigned'}"
            if record.commit:
                training += f", source commit {record.commit}"
        rows = [
            ("manifest", f"sha256:{described.manifest.digest}"),
            ("pickles", str(len(described.inspected.pickles))),
            ("secrets", str(len(described.inspected.secrets))),
            ("remote-code", str(len(described.inspected.remote_code))),
            *described.facts(),
        ]
        kinds = [kind for kind in (described.family, described.architecture) if kind]
        return self.add(
            "ai_AIPackage",
            self.iri("model"),
            name=described.name,
            software_primaryPurpose="model",
            software_packageVersion=f"sha256:{described.manifest.digest}",
            ai_typeOfModel=kinds,
            ai_domain=[described.inspected.card.task] if described.inspected.card.task else None,
            ai_hyperparameter=_dictionary(parameters),
            ai_metric=_dictionary(metrics),
            ai_informationAboutTraining=training,
            extension=_extension(rows),
        )

    def files(self, model: str) -> None:
        described, found = self.described, []
        for resource in described.manifest.resources:
            name = described.file_name(resource.name)
            rows = [("size", str(resource.size))]
            if pickle := described.inspected.pickles.get(resource.name):
                rows.append(("pickle", str(pickle)))
            if code := described.inspected.remote_code.get(resource.name):
                rows.append(("remote-code", code))
            found.append(
                self.add(
                    "software_File",
                    self.iri("file", name),
                    name=name,
                    verifiedUsing=_hash(resource.digest),
                    extension=_extension(rows),
                )
            )
        self.relate("contains", model, found, completeness="complete")

    def datasets(self, model: str) -> None:
        found = [self.dataset(dataset) for dataset in self.described.datasets]
        self.relate("trainedOn", model, found)

    def dataset(self, dataset: RecordedDataset) -> str:
        rows = [("stays-in", text) for text in stays_in(dataset.stays_in)]
        if dataset.commitment:
            rows.append(("commitment", f"hmac-sha256/v0:{dataset.commitment}"))
        if dataset.category:
            rows.append(("category", dataset.category))
        if dataset.manifest_sha256:
            rows.append(("hash-of", "dataset manifest"))
        return self.add(
            "dataset_DatasetPackage",
            self.iri("data", dataset.name),
            name=dataset.name,
            dataset_datasetType=["noAssertion"],
            software_primaryPurpose="data",
            dataset_hasSensitivePersonalInformation=(
                "yes" if dataset.category == "personal" else "noAssertion"
            ),
            verifiedUsing=_hash(dataset.manifest_sha256) if dataset.manifest_sha256 else None,
            software_downloadLocation=iri(dataset.pointer) if dataset.pointer else None,
            extension=_extension(rows),
        )

    def bases(self, model: str) -> None:
        described = self.described
        found = [
            self.add(
                "ai_AIPackage",
                self.iri("base", base.name, base.manifest or str(base.revision)),
                name=base.name,
                software_packageVersion=base.identity,
                extension=_extension(
                    [("manifest" if base.manifest else "revision", base.identity)]
                ),
            )
            for base in (described.record.base_models if described.record else ())
        ]
        found += [
            self.add(
                "ai_AIPackage",
                self.iri("claimed-base", name),
                name=name,
                extension=_extension([("said-by", said_by)]),
            )
            for name, said_by in described.claimed_bases.items()
        ]
        self.relate("descendantOf", model, found)

    def libraries(self, model: str) -> None:
        found = [
            self.add(
                "software_Package",
                self.iri("library", library.name, library.version),
                name=library.name,
                software_packageVersion=library.version,
                software_packageUrl=f"pkg:pypi/{library.name}@{quote(library.version)}",
                extension=_extension(_lock_hashes(library)),
            )
            for library in self.described.libraries
        ]
        self.relate("dependsOn", model, found, type="LifecycleScopedRelationship", scope="build")

    def licences(self, model: str) -> None:
        for declared, kind in ((True, "hasDeclaredLicense"), (False, "hasConcludedLicense")):
            said = [one for one in self.described.licences if one.declared is declared]
            self.relate(kind, model, [self.licence(one) for one in said])

    def licence(self, licence: Licence) -> str:
        text = licence.text
        if not _EXPRESSION.fullmatch(text):
            text = "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "unnamed")
        return self.add(
            "simplelicensing_LicenseExpression",
            self.iri("licence", "declared" if licence.declared else "concluded", licence.text),
            name=licence.text,
            simplelicensing_licenseExpression=text,
        )


def _lock_hashes(library: Library) -> list[tuple[str, str]]:
    hashes = " ".join(f"sha256:{digest}" for digest in library.hashes)
    return [("lock-hashes", hashes)] if hashes else []


def _hash(digest: str) -> list[JSON]:
    return [{"type": "Hash", "algorithm": "sha256", "hashValue": digest}]


def _dictionary(rows: list[tuple[str, str]]) -> list[JSON]:
    return [{"type": "DictionaryEntry", "key": key, "value": value} for key, value in rows]


def _extension(rows: list[tuple[str, str]]) -> list[JSON]:
    if not rows:
        return []
    entries = [
        {
            "type": "extension_CdxPropertyEntry",
            "extension_cdxPropName": "sovgate:" + name,
            "extension_cdxPropValue": value,
        }
        for name, value in rows
    ]
    return [{"type": "extension_CdxPropertiesExtension", "extension_cdxProperty": entries}]
