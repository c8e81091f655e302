"""Whether an SBOM says of a model what its files say: both computed anew, and compared. No I/O.

RULES 33: nobody signs a document that the model beside it, or its training record, contradicts.
What comes from neither (libraries, licences) is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sovgate.stages.sbom import cyclonedx, spdx3
from sovgate.stages.sbom._described import Described

JSON = Any
_PREFIX = "sovgate:"
#: Properties that a document has from the training record.
_OF_RECORD = ("training-record", "source-commit", "data-sets")
_HYPER = "hyper-parameter:"
_MOST = 200


def differences(document: JSON, described: Described) -> Iterator[str]:
    """What differs, a sentence each; `described` needs no record, libraries or licences.

    A document of another tool is compared where it tells digests of the model's files; one that
    tells anything in words of ours is compared as a whole.
    """
    described = replace(described, record=None)
    yield from _foreign(document, described)
    if "@graph" in document:
        if _ours(document):
            yield from _spdx(document, described)
    elif _ours(document):
        yield from _cyclonedx(document, described)


def data_differences(document: JSON, described: Described) -> Iterator[str]:
    """Where the data sets that a document of ours lists are not those of `described.record`.

    One that says that it was written without a record lists none, and contradicts none.
    """
    if described.record is None or not _ours(document):
        return
    if "@graph" in document:
        wanted, told = (_data_packages(graph) for graph in (spdx3.build(described), document))
        if not told:
            return
    else:
        wanted, told = (_data_components(one) for one in (cyclonedx.build(described), document))
        rows = _properties(_at(document, "metadata", "component", "properties"))
        if not told and rows.get("training-record") == ["none"]:
            return
    for name in sorted({*wanted, *told}):
        if name not in told:
            yield f"the document lacks the data set {_short(name)}, which the training record names"
        elif name not in wanted:
            yield (
                f"the document lists the data set {_short(name)}, which the training record does "
                "not name"
            )
        else:
            yield from _values(f"the data set {_short(name)}", wanted[name], told[name])


def _data_components(document: JSON) -> dict[str, JSON]:
    rows = document.get("components")
    return {
        str(one.get("name")): {key: one.get(key) for key in ("data", "hashes", "properties")}
        for one in (rows if isinstance(rows, list) else ())
        if isinstance(one, dict) and one.get("type") == "data"
    }


def _data_packages(document: JSON) -> dict[str, JSON]:
    graph = document.get("@graph")
    keys = ("verifiedUsing", "software_downloadLocation", "extension")
    return {
        str(one.get("name")): {key: one.get(key) for key in keys}
        for one in (graph if isinstance(graph, list) else ())
        if isinstance(one, dict) and one.get("type") == "dataset_DatasetPackage"
    }


def _ours(document: JSON) -> bool:
    """Whether anything in it is a property of ours, however it is nested."""
    return any(
        isinstance(value, str) and value.startswith(_PREFIX)
        for one in _objects(document)
        for value in (one.get("name"), one.get("extension_cdxPropName"))
    )


def _objects(document: JSON) -> Iterator[dict[str, Any]]:
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _foreign(document: JSON, described: Described) -> Iterator[str]:
    digests = {
        described.file_name(resource.name): resource.digest
        for resource in described.manifest.resources
    }
    for one in _objects(document):
        name = one.get("name")
        if not isinstance(name, str) or name not in digests:
            continue
        told: list[JSON] = []
        if one.get("type") == "file":
            rows = one.get("hashes")
            told = [
                row.get("content")
                for row in (rows if isinstance(rows, list) else ())
                if isinstance(row, dict) and row.get("alg") == "SHA-256"
            ]
        elif one.get("type") == "software_File":
            rows = one.get("verifiedUsing")
            told = [
                row.get("hashValue")
                for row in (rows if isinstance(rows, list) else ())
                if isinstance(row, dict) and row.get("algorithm") == "sha256"
            ]
        for digest in told:
            if not isinstance(digest, str) or digest.lower() != digests[name]:
                yield (
                    f"the file {_short(name)} has sha256:{digests[name]}, and the document says "
                    f"{_short(digest)}"
                )


def _cyclonedx(document: JSON, described: Described) -> Iterator[str]:
    model = _at(document, "metadata", "component")
    if not isinstance(model, dict):
        yield "the document describes no model: it has no metadata.component"
        return
    yield from _values("the model's name", described.name, model.get("name"))
    yield from _rows(
        _pairs(cyclonedx.model_rows(described)), _properties(model.get("properties")), "the model"
    )
    if described.manifest.kind == "file":
        wanted = [{"alg": "SHA-256", "content": described.manifest.resources[0].digest}]
        yield from _values("the model's hashes", wanted, model.get("hashes"))
    card = model.get("modelCard")
    wanted_card = cyclonedx.model_card(described)
    parameters = _at(card, "modelParameters")
    told = dict(parameters) if isinstance(parameters, dict) else {}
    told.pop("datasets", None)
    for key in sorted({*wanted_card["modelParameters"], *told}):
        yield from _values(key, wanted_card["modelParameters"].get(key), told.get(key))
    yield from _rows(
        _properties(wanted_card.get("properties")), _properties(_at(card, "properties")), "the card"
    )
    components = document.get("components")
    files = [
        one
        for one in (components if isinstance(components, list) else ())
        if isinstance(one, dict) and one.get("type") == "file"
    ]
    yield from _files(list(cyclonedx.file_components(described)), files)


def _spdx(document: JSON, described: Described) -> Iterator[str]:
    wanted, told = (_elements(graph) for graph in (spdx3.build(described), document))
    for spdx_id, one in wanted.items():
        other = told.get(spdx_id)
        if other is None:
            yield f"the document does not list {_short(one['name'])}"
            continue
        ours, theirs = (_properties(_extended(element)) for element in (one, other))
        yield from _rows(ours, theirs, _short(one["name"]))
        for key in ("name", "verifiedUsing"):
            yield from _values(f"{key} of {_short(one['name'])}", one.get(key), other.get(key))
    for spdx_id, one in told.items():
        if spdx_id not in wanted:
            yield f"the document lists {_short(one.get('name'))}, which is no file of the model"


def _elements(document: JSON) -> dict[str, dict[str, Any]]:
    """The model and its files. Another package (a base) is no part of the model."""
    graph = document.get("@graph")
    return {
        str(one.get("spdxId")): one
        for one in (graph if isinstance(graph, list) else ())
        if isinstance(one, dict)
        and (
            one.get("type") == "software_File"
            or (one.get("type") == "ai_AIPackage" and str(one.get("spdxId")).endswith("#model"))
        )
    }


def _extended(element: dict[str, Any]) -> JSON:
    rows = _at(element, "extension")
    found: list[JSON] = []
    for extension in rows if isinstance(rows, list) else ():
        entries = _at(extension, "extension_cdxProperty")
        found += [
            {
                "name": _at(entry, "extension_cdxPropName"),
                "value": _at(entry, "extension_cdxPropValue"),
            }
            for entry in (entries if isinstance(entries, list) else ())
        ]
    return found


def _files(wanted: list[JSON], told: list[JSON]) -> Iterator[str]:
    ours = {one["name"]: one for one in wanted}
    seen: set[str] = set()
    for one in told:
        name = one.get("name")
        if not isinstance(name, str) or name not in ours:
            yield f"the document lists {_short(name)}, which is no file of the model"
        elif name in seen:
            yield f"the document lists {_short(name)} twice"
        else:
            seen.add(name)
            yield from _values(f"hashes of {_short(name)}", ours[name]["hashes"], one.get("hashes"))
            yield from _rows(
                _properties(ours[name]["properties"]),
                _properties(one.get("properties")),
                _short(name),
            )
    for name in ours:
        if name not in seen:
            yield f"the document does not list the file {_short(name)}"


def _rows(wanted: dict[str, list[str]], told: dict[str, list[str]], what: str) -> Iterator[str]:
    for name in sorted({*wanted, *told}):
        if name not in _OF_RECORD and not name.startswith(_HYPER):
            yield from _values(f"{_PREFIX}{name} of {what}", wanted.get(name), told.get(name))


def _values(what: str, wanted: JSON, told: JSON) -> Iterator[str]:
    if wanted != told:
        yield f"{what} is {_short(wanted)}, and the document says {_short(told)}"


def _pairs(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in rows:
        found.setdefault(name, []).append(value)
    return {name: sorted(values) for name, values in found.items()}


def _properties(rows: JSON) -> dict[str, list[str]]:
    """Our properties by name, all values of each: one that stands twice is no other's."""
    found: dict[str, list[str]] = {}
    for row in rows if isinstance(rows, list) else ():
        name, value = _at(row, "name"), _at(row, "value")
        if isinstance(name, str) and name.startswith(_PREFIX):
            found.setdefault(name.removeprefix(_PREFIX), []).append(str(value))
    return {name: sorted(values) for name, values in found.items()}


def _at(value: JSON, *steps: str) -> JSON:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _short(value: JSON) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _MOST else text[:_MOST] + "…"
