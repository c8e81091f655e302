"""The job that runs model code edits what it leaves to be signed. `attest` computes it again.

Real models, SBOMs and keys; what cannot be signed leaves no signed statement.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats.statement import SPDX, Statement
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing

KEY = ("--key", "keys/home.pem")
Change = Callable[[Any], object]

CARD = """---
license: apache-2.0
base_model: meta/base
pipeline_tag: text-classification
---
# A model
"""


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """A model with a pickle, a card that claims a base, and a setting that asks for own code."""
    config = {"model_type": "bert", "auto_map": {"AutoModel": "own.Model"}}
    return make_crossing(
        tmp_path,
        {
            "w.pkl": pickle.dumps([1]),
            "README.md": CARD.encode(),
            "config.json": json.dumps(config).encode(),
            "own.py": b"class Model: ...\n",
        },
    )


def drafted(crossing: Crossing, change: Change, *, spdx: bool = False) -> None:
    """The draft of the SBOM, changed."""
    folder = attest.evidence_dir(crossing.model) / "unsigned"
    more = ("--spdx", "model.spdx.json") if spdx else ()
    crossing.json("sbom", crossing.model, *more)
    for path in folder.glob("sbom-*.json"):
        statement = json.loads(path.read_bytes())
        path.unlink()
        if (statement["predicateType"] == SPDX) is not spdx:
            continue
        change(statement["predicate"])
        data = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
        attest.add_unsigned(folder.parent, "sbom", Statement.parse(data).payload())


def signed(crossing: Crossing) -> list[Path]:
    return list(attest.evidence_dir(crossing.model).glob("sbom-*.sigstore.json"))


def refused(crossing: Crossing) -> str:
    said = crossing.json("attest", crossing.model, "--all-unsigned", *KEY, code=11)["error"]
    assert said["reason"] == "contradicted"
    assert said["fix"].endswith("sovgate sbom MODEL")
    assert signed(crossing) == []
    return " ".join([said["why"], *said["details"]])


def own(document: Any, name: str) -> Any:
    """The property of the model itself."""
    rows = document["metadata"]["component"]["properties"]
    return next(row for row in rows if row["name"] == f"sovgate:{name}")


def without(document: Any, name: str) -> None:
    rows = document["metadata"]["component"]["properties"]
    rows[:] = [row for row in rows if row["name"] != f"sovgate:{name}"]


def file(document: Any, name: str) -> Any:
    return next(one for one in document["components"] if one.get("name") == name)


def test_what_nobody_changed_is_signed(crossing: Crossing) -> None:
    for spdx in (False, True):
        drafted(crossing, lambda document: document, spdx=spdx)
        said = crossing.json("attest", crossing.model, "--all-unsigned", *KEY)
        assert len(said["signed"]) == 1
    assert len(signed(crossing)) == 2


def test_a_model_that_is_one_file_and_one_with_a_record_are_signed(crossing: Crossing) -> None:
    crossing.json("record", crossing.model, "--dataset", "public", "--parameter", "lr=1", *KEY)
    drafted(crossing, lambda document: document)
    assert crossing.json("attest", crossing.model, "--all-unsigned", *KEY)["signed"]
    alone = crossing.base / "alone.pkl"
    alone.write_bytes(pickle.dumps([2]))
    crossing.json("sbom", alone, "--license", "MIT")
    said = crossing.json("attest", alone, "--all-unsigned", *KEY)
    assert [one["role"] for one in said["signed"]] == ["sbom"]


CHANGES: dict[str, tuple[Change, str]] = {
    "pickles": (lambda d: own(d, "pickles").update(value="0"), "sovgate:pickles of the model is 1"),
    "no pickles": (lambda d: without(d, "pickles"), "and the document says nothing"),
    "remote code": (lambda d: own(d, "remote-code").update(value="0"), "sovgate:remote-code"),
    "claims": (lambda d: without(d, "claimed-base"), "sovgate:claimed-base"),
    "secrets": (lambda d: own(d, "secrets").update(value="7"), "the document says 7"),
    "bytes": (lambda d: own(d, "bytes").update(value="1"), "sovgate:bytes"),
    "twice": (
        lambda d: d["metadata"]["component"]["properties"].append(
            {"name": "sovgate:pickles", "value": "0"}
        ),
        "sovgate:pickles",
    ),
    "no components": (lambda d: d.update(components=[]), "does not list the file"),
    "one is missing": (
        lambda d: d["components"].remove(file(d, "w.pkl")),
        "does not list the file w.pkl",
    ),
    "one more": (
        lambda d: d["components"].append({"type": "file", "name": "x.bin", "hashes": []}),
        "lists x.bin, which is no file of the model",
    ),
    "listed twice": (
        lambda d: d["components"].append(dict(file(d, "w.pkl"))),
        "lists w.pkl twice",
    ),
    "a digest": (
        lambda d: file(d, "w.pkl")["hashes"][0].update(content="a" * 64),
        "a" * 64,
    ),
    "no digest": (lambda d: file(d, "w.pkl").update(hashes=[]), "hashes of w.pkl"),
    "its size": (
        lambda d: file(d, "own.py")["properties"][0].update(value="1"),
        "sovgate:size of own.py",
    ),
    "no pickle there": (
        lambda d: file(d, "w.pkl").update(properties=file(d, "w.pkl")["properties"][:1]),
        "sovgate:pickle of w.pkl",
    ),
    "its kind": (
        lambda d: d["metadata"]["component"]["modelCard"]["modelParameters"].update(
            architectureFamily="linear"
        ),
        "architectureFamily is bert",
    ),
    "its name": (lambda d: d["metadata"]["component"].update(name="x"), "the model's name"),
    "no model": (lambda d: d["metadata"].pop("component"), "describes no model"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rule_33_an_sbom_that_the_files_contradict_is_not_signed(
    crossing: Crossing, name: str
) -> None:
    change, told = CHANGES[name]
    drafted(crossing, change)
    assert told in refused(crossing)


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: graph.remove(next(one for one in graph if one.get("name") == "w.pkl")),
        lambda graph: next(one for one in graph if one.get("name") == "w.pkl")["verifiedUsing"][
            0
        ].update(hashValue="b" * 64),
        lambda graph: next(one for one in graph if one.get("name") == "w.pkl").pop("extension"),
        lambda graph: graph.append(
            {"type": "software_File", "spdxId": "https://x.example/#1", "name": "more.bin"}
        ),
        lambda graph: [
            row.update(extension_cdxPropValue="0")
            for one in graph
            if str(one.get("spdxId")).endswith("#model")
            for row in one["extension"][0]["extension_cdxProperty"]
            if row["extension_cdxPropName"] == "sovgate:pickles"
        ],
    ],
    ids=["a file", "a digest", "a pickle", "one more", "pickles"],
)
def test_rule_33_the_same_of_spdx(crossing: Crossing, change: Change) -> None:
    drafted(crossing, lambda document: change(document["@graph"]), spdx=True)
    refused(crossing)


def data(document: Any) -> list[Any]:
    """The data sets that a document lists, in either format."""
    rows = document.get("components") or document["@graph"]
    return [one for one in rows if one["type"] in ("data", "dataset_DatasetPackage")]


def unrecorded(crossing: Crossing) -> None:
    """Without the record of the fixture: of two that end in one second neither is the latest."""
    for path in attest.evidence_dir(crossing.model).glob("provenance-*"):
        path.unlink()


def drop(document: Any) -> None:
    rows = document.get("components") or document["@graph"]
    rows.remove(data(document)[0])


def rename(document: Any) -> None:
    data(document)[0]["name"] = "other"


def stays_elsewhere(document: Any) -> None:
    (bound,) = (one for one in data(document) if one["name"] == "kyc")
    text = json.dumps(bound)
    assert '"US"' in text
    bound.update(json.loads(text.replace('"US"', '"EU"')))


@pytest.mark.parametrize("spdx", [False, True])
@pytest.mark.parametrize("change", [drop, rename, stays_elsewhere])
def test_rule_33_an_sbom_that_the_training_record_contradicts_is_not_signed(
    crossing: Crossing, change: Change, spdx: bool
) -> None:
    unrecorded(crossing)
    crossing.json("record", crossing.model, "--dataset", "kyc", "--dataset", "public", *KEY)
    drafted(crossing, change, spdx=spdx)
    assert "data set" in refused(crossing)


@pytest.mark.parametrize("spdx", [False, True])
def test_an_sbom_with_the_data_of_a_draft_of_the_record_is_signed_with_it(
    crossing: Crossing, spdx: bool
) -> None:
    unrecorded(crossing)
    crossing.json("record", crossing.model, "--dataset", "kyc")
    drafted(crossing, lambda document: None, spdx=spdx)
    crossing.json("attest", crossing.model, "--all-unsigned", *KEY)
    assert len(signed(crossing)) == 1


def test_a_document_of_another_tool_is_compared_where_it_tells_digests(crossing: Crossing) -> None:
    path = crossing.base / "bom.json"
    words = ("attest", crossing.model, path, "--type", "sbom", *KEY)
    document: dict[str, Any] = {"bomFormat": "CycloneDX", "components": []}
    path.write_text(json.dumps(document))
    assert crossing.json(*words)["signed"]
    document["components"] = [
        {"type": "application", "components": [{"type": "file", "name": "own.py"}]}
    ]
    inner = document["components"][0]["components"][0]
    inner["hashes"] = [{"alg": "SHA-256", "content": "c" * 64}]
    path.write_text(json.dumps(document))
    said = crossing.json(*words, code=11)["error"]
    assert said["reason"] == "contradicted"
    assert "own.py" in said["why"]
    # One word of ours, and all is compared: policy reads it.
    document["components"] = []
    document["metadata"] = {
        "component": {"properties": [{"name": "sovgate:pickles", "value": "0"}]}
    }
    path.write_text(json.dumps(document))
    assert crossing.json(*words, code=11)["error"]["reason"] == "contradicted"


def test_what_is_pushed_encrypted_is_judged_as_the_model_is(crossing: Crossing) -> None:
    """The way round: nothing of a model is known of its encrypted copy but what was signed."""
    crossing.sign()
    words = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    for change in (lambda document: document, CHANGES["pickles"][0]):
        drafted(crossing, change)
        crossing.run("attest", crossing.model, "--all-unsigned", *KEY)
        out = crossing.base / f"out-{len(signed(crossing))}"
        crossing.json(
            "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", out
        )
        for source in (crossing.model, out):
            said = crossing.json("push", source, *words, code=10)["error"]
            assert "no-pickles" in " ".join([said["why"], *said["details"]])
        for path in signed(crossing):
            path.unlink()


CLAIM = {"component": {"properties": [{"name": "sovgate:pickles", "value": "0"}]}}
BOTH: dict[str, tuple[bool, Change, str]] = {
    "facts beside a graph": (True, lambda d: d.update(metadata=CLAIM), "metadata"),
    "a whole head": (
        True,
        lambda d: d.update(bomFormat="CycloneDX", metadata=CLAIM),
        "of CycloneDX",
    ),
    "components": (True, lambda d: d.update(components=[]), "components"),
    "a graph beside facts": (False, lambda d: d.update({"@graph": []}), "@graph"),
    "a context": (False, lambda d: d.update({"@context": "https://spdx.example"}), "@context"),
    "SPDX 2": (False, lambda d: d.update(spdxVersion="SPDX-2.3"), "spdxVersion"),
    "SPDX 2 by its id": (False, lambda d: d.update(SPDXID="SPDXRef-DOCUMENT"), "SPDXID"),
}


@pytest.mark.parametrize("name", BOTH)
def test_rule_33_an_sbom_of_two_kinds_is_not_signed(crossing: Crossing, name: str) -> None:
    """One kind would be compared with the files, and the other read by policy."""
    spdx, change, told = BOTH[name]
    drafted(crossing, change, spdx=spdx)
    said = crossing.json("attest", crossing.model, "--all-unsigned", *KEY, code=11)["error"]
    assert said["reason"] == "malformed"
    assert "two kinds at once" in said["what"]
    assert told in said["why"]
    assert signed(crossing) == []


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"@graph": []}, "https://cyclonedx.org/bom"),
        ({"spdxVersion": "SPDX-2.3"}, "https://cyclonedx.org/bom"),
        ({"@context": "x", "@graph": []}, SPDX),
        ({}, SPDX),
    ],
)
def test_rule_33_that_nothing_is_there_is_read_of_one_kind_alone(
    crossing: Crossing, more: dict[str, Any], kind: str
) -> None:
    """What binds is read of all."""
    from sovgate.formats import claims
    from sovgate.keys import registry
    from sovgate.pipeline.decide import contents
    from sovgate.pipeline.project import open_project

    rows = [
        {"name": "sovgate:pickles", "value": "0"},
        {"name": "sovgate:secrets", "value": "3"},
        {"name": "sovgate:remote-code", "value": "0"},
        {"name": claims.PROPERTY, "value": "README.md: org/base"},
    ]
    made = Statement(
        subject_name="churn",
        subject_sha256=crossing.manifest,
        predicate_type=kind,
        predicate={"metadata": {"component": {"properties": rows}}, **more},
    )
    signer = registry.open_signer("keys/home.pem", crossing.base)
    folder = attest.evidence_dir(crossing.model)
    attest.add(folder, "sbom", attest.seal(made, signer))
    trusted = open_project(crossing.base).trusted("home")
    found = contents.of_evidence(attest.read(folder), trusted, crossing.manifest)
    assert (found["pickles"], found["secrets"], found["remote_code"]) == (None, 3, None)
    assert len(found.claims) == 1
    assert not found.seen
