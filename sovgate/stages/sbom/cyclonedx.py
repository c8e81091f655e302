"""CycloneDX 1.7 ML-BOM: a description -> one document, always the same bytes. No I/O.

Emitted by cyclonedx-python-lib, which has no model cards and takes milliseconds a component:
modelCard, `data` and the model's files are spliced in by bom-ref, and then all is validated
strictly against the library's own schema.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sovgate import strict
from sovgate.errors import InternalError
from sovgate.stages.sbom._described import Described, iri, stays_in

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

JSON = dict[str, Any]
MODEL = "model"
#: Namespace of serial numbers: UUIDv5 of "https://sovgate.dev/sbom/v0" in the URL namespace.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://sovgate.dev/sbom/v0")
_PREFIX = "sovgate:"
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def build(described: Described) -> JSON:
    """The document, strictly valid. Raises InternalError where it is not."""
    document = _emit(_bom(described))
    model = document["metadata"]["component"]
    model["modelCard"] = model_card(described)
    _splice_data(described, document)
    files = list(file_components(described))
    document.setdefault("components", []).extend(files)
    _depend(document, [file["bom-ref"] for file in files])
    document["compositions"] = [{"aggregate": "complete", "assemblies": [MODEL]}]
    if described.timestamp is not None:
        document["metadata"]["timestamp"] = strict.format_time(described.timestamp)
    digest = hashlib.sha256(strict.canonical(document)).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, digest)}"
    validate(document)
    return document


def licence_id(text: str) -> str:
    """The SPDX spelling of a licence id, e.g. "apache-2.0" -> "Apache-2.0"; else the text."""
    from cyclonedx.spdx import fixup_id

    return fixup_id(text) or text


def validate(document: JSON) -> None:
    """Against the strict schema that the library bundles, offline. Raises InternalError."""
    from importlib import resources

    import jsonschema_rs

    folder = resources.files("cyclonedx.schema") / "_res"

    def schema(name: str) -> Any:
        return json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_bytes())

    registry = jsonschema_rs.Registry(
        [
            (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema(name))
            for name in ("spdx", "jsf-0.82", "cryptography-defs")
        ]
    )
    validator = jsonschema_rs.Draft7Validator(
        schema("bom-1.7"), registry=registry, validate_formats=True
    )
    error = next(iter(validator.iter_errors(document)), None)
    if error is not None:
        where = "/".join(str(part) for part in error.instance_path)
        raise InternalError(
            "the SBOM is not valid CycloneDX 1.7", why=f"{where[:200]}: {error.message[:300]}"
        )


def _properties(rows: list[tuple[str, str]]) -> list[JSON]:
    return [{"name": _PREFIX + name, "value": value} for name, value in rows]


# --- what the library emits ---------------------------------------------------------------------
def _bom(described: Described) -> Bom:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

    bom = Bom()
    bom.metadata.tools.components.add(
        Component(name="sovgate", version=described.tool_version, type=ComponentType.APPLICATION)
    )
    model = _model(described)
    bom.metadata.component = model
    parts = [*_data(described), *_libraries(described)]
    bom.components.update(parts)
    bom.register_dependency(model, parts)
    return bom


def _emit(bom: Bom) -> JSON:
    from cyclonedx.output.json import JsonV1Dot7

    document: JSON = json.loads(JsonV1Dot7(bom).output_as_string())
    # Random, and of now: the one is replaced, the other left to SOURCE_DATE_EPOCH.
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    return document


def _model(described: Described) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    manifest = described.manifest
    rows = [*model_rows(described), ("training-record", _record_word(described))]
    if described.record is not None and described.record.commit:
        rows.append(("source-commit", described.record.commit))
    hashes = []
    if manifest.kind == "file":
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=manifest.resources[0].digest)]
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=described.name,
        bom_ref=MODEL,
        hashes=hashes,
        properties=[Property(name=_PREFIX + name, value=value) for name, value in rows],
        licenses=list(_licences(described)),
    )
    ancestors = list(_ancestors(described))
    if ancestors:
        from cyclonedx.model.component import Pedigree

        model.pedigree = Pedigree(ancestors=ancestors)
    return model


def model_rows(described: Described) -> list[tuple[str, str]]:
    """What the document says of the model as a whole, all of it from the model's own files."""
    manifest, inspected = described.manifest, described.inspected
    rows = [
        ("manifest", f"sha256:{manifest.digest}"),
        ("kind", manifest.kind),
        ("files", str(len(manifest.resources))),
        ("bytes", str(manifest.total)),
        ("pickles", str(len(inspected.pickles))),
        ("secrets", str(len(inspected.secrets))),
        ("remote-code", str(len(inspected.remote_code))),
    ]
    return rows + [("claimed-base", claim.text()) for claim in inspected.claims]


def _licences(described: Described) -> Iterator[License]:
    """An expression stands alone in CycloneDX: beside other licences it is a name."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.license import LicenseAcknowledgement as Word
    from cyclonedx.model.license import LicenseExpression

    factory = LicenseFactory()
    for licence in described.licences:
        word = Word.DECLARED if licence.declared else Word.CONCLUDED
        made = factory.make_from_string(licence.text, license_acknowledgement=word)
        if isinstance(made, LicenseExpression) and len(described.licences) > 1:
            made = factory.make_with_name(licence.text, acknowledgement=word)
        yield made


def _record_word(described: Described) -> str:
    if described.record is None:
        return "none"
    return f"signed by sha256:{described.record_signer}" if described.record_signer else "unsigned"


def _ancestors(described: Described) -> Iterator[Component]:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    for base in described.record.base_models if described.record else ():
        yield Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=base.name,
            bom_ref=f"base:{base.manifest or base.revision}:{base.name}",
            properties=[
                Property(
                    name=_PREFIX + ("manifest" if base.manifest else "revision"),
                    value=base.identity.removeprefix("revision "),
                )
            ],
        )
    for name, said_by in described.claimed_bases.items():
        namespace, _, last = name.rpartition("/") if _HUB_NAME.fullmatch(name) else ("", "", "")
        yield Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=name,
            bom_ref=f"claimed-base:{name}",
            purl=PackageURL("huggingface", namespace, last) if namespace and last else None,
            properties=[Property(name=_PREFIX + "said-by", value=said_by)],
        )


def _data(described: Described) -> Iterator[Component]:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    for dataset in described.datasets:
        rows = [("stays-in", text) for text in stays_in(dataset.stays_in)]
        if dataset.commitment:
            rows.append(("commitment", f"hmac-sha256/v0:{dataset.commitment}"))
        if dataset.manifest_sha256:
            rows.append(("hash-of", "dataset manifest"))
        hashes = (
            [HashType(alg=HashAlgorithm.SHA_256, content=dataset.manifest_sha256)]
            if dataset.manifest_sha256
            else []
        )
        yield Component(
            type=ComponentType.DATA,
            name=dataset.name,
            bom_ref=f"data:{dataset.name}",
            hashes=hashes,
            properties=[Property(name=_PREFIX + name, value=value) for name, value in rows],
        )


def _libraries(described: Described) -> Iterator[Component]:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentScope, ComponentType
    from packageurl import PackageURL

    for library in described.libraries:
        # One hash is the archive's; of several we do not know which was installed.
        one = library.hashes if len(library.hashes) == 1 else ()
        several = [" ".join(f"sha256:{d}" for d in library.hashes)] if not one else []
        purl = PackageURL("pypi", None, library.name, library.version)
        yield Component(
            type=ComponentType.LIBRARY,
            name=library.name,
            version=library.version,
            purl=purl,
            bom_ref=purl.to_string(),
            scope=ComponentScope.EXCLUDED,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one],
            licenses=[LicenseFactory().make_from_string(t) for t in (library.licence,) if t],
            properties=[Property(name=_PREFIX + "used-in", value="training")]
            + [Property(name=_PREFIX + "lock-hashes", value=text) for text in several if text],
        )


# --- what is spliced in -------------------------------------------------------------------------
def model_card(described: Described) -> JSON:
    record, inspected = described.record, described.inspected
    parameters: JSON = {}
    if inspected.card.task:
        parameters["task"] = inspected.card.task
    if described.family:
        parameters["architectureFamily"] = described.family
    if described.architecture:
        parameters["modelArchitecture"] = described.architecture
    if described.datasets:
        parameters["datasets"] = [{"ref": f"data:{one.name}"} for one in described.datasets]
    for name, ports in zip(("inputs", "outputs"), described.ports, strict=True):
        if ports:
            parameters[name] = [{"format": port} for port in ports]
    card: JSON = {"bom-ref": "model-card", "modelParameters": parameters}
    rows = described.facts()
    if record is not None:
        if record.metrics:
            card["quantitativeAnalysis"] = {
                "performanceMetrics": [
                    {"type": name, "value": value} for name, value in sorted(record.metrics.items())
                ]
            }
        rows += [(f"hyper-parameter:{n}", v) for n, v in sorted(record.parameters.items())]
    if rows:
        card["properties"] = _properties(rows)
    return card


def _splice_data(described: Described, document: JSON) -> None:
    by_ref = {component["bom-ref"]: component for component in document.get("components", ())}
    for dataset in described.datasets:
        data: JSON = {"type": "dataset", "name": dataset.name}
        if dataset.pointer:
            data["contents"] = {"url": iri(dataset.pointer)}
        if dataset.category:
            data["classification"] = dataset.category
        by_ref[f"data:{dataset.name}"]["data"] = [data]


def file_components(described: Described) -> Iterator[JSON]:
    """By the signature's own manifest, in its order: same names, same digests."""
    inspected = described.inspected
    for resource in described.manifest.resources:
        rows = [("size", str(resource.size))]
        summary = inspected.summaries.get(resource.name)
        if summary is not None:
            rows.append(("format", f"{summary.format} {summary.version or ''}".strip()))
            if summary.part:
                rows.append(("part", summary.part))
            rows.append(("tensors", str(summary.tensors)))
            rows.append(("parameters", str(summary.parameters)))
            rows += [
                (f"dtype:{dtype}", f"{count} tensors, {elements} elements")
                for dtype, (count, elements) in summary.dtypes.items()
            ]
            rows += [(f"header:{key}", value) for key, value in sorted(summary.facts.items())]
        if resource.name in inspected.pickles:
            rows.append(("pickle", str(inspected.pickles[resource.name])))
        if resource.name in inspected.secrets:
            rows.append(("secret", inspected.secrets[resource.name][0]))
        if resource.name in inspected.remote_code:
            rows.append(("remote-code", inspected.remote_code[resource.name]))
        if resource.name in inspected.licence_files:
            rows.append(("licence-file", "true"))
        name = described.file_name(resource.name)
        yield {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": resource.digest}],
            "properties": _properties(rows),
        }


def _depend(document: JSON, refs: list[str]) -> None:
    dependencies = document.setdefault("dependencies", [])
    entry = next((d for d in dependencies if d["ref"] == MODEL), None)
    if entry is None:
        entry = {"ref": MODEL}
        dependencies.append(entry)
    entry["dependsOn"] = sorted({*entry.get("dependsOn", ()), *refs})
    dependencies += [{"ref": ref} for ref in refs]
