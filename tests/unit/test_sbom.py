"""SBOMs: golden documents of models saved by real libraries, strictly valid, always the same bytes.

No network. Documents are checked by the schemas and classes that their standards publish.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_python_model import v3_0_1 as spdx

from sovgate import strict
from sovgate.errors import ExitCode, InternalError, Malformed, UsageError, VerificationFailed
from sovgate.formats.statement import SPDX, Statement
from sovgate.pipeline.make.sbom import Told, sbom
from sovgate.stages import attest, inventory
from sovgate.stages import sbom as stage
from sovgate.stages.sbom import Inspected, cyclonedx, spdx3
from tests import headers, models

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(models.MODELS)


def check_cyclonedx(document: dict[str, Any]) -> None:
    """By the strict schema, with formats, in the validator that the library itself offers too."""
    folder = resources.files("cyclonedx.schema") / "_res"
    load = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_bytes())
        for name in ("bom-1.7", "spdx", "jsf-0.82", "cryptography-defs")
    }
    registry = jsonschema_rs.Registry(
        [
            (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema)
            for name, schema in load.items()
        ]
    )
    errors = list(
        jsonschema_rs.Draft7Validator(
            load["bom-1.7"], registry=registry, validate_formats=True
        ).iter_errors(document)
    )
    assert errors == []
    refs: list[str] = [document["metadata"]["component"]["bom-ref"]]
    refs += [component["bom-ref"] for component in document["components"]]
    assert max(Counter(refs).values()) == 1
    named = {d["ref"] for d in document["dependencies"]}
    named |= {ref for d in document["dependencies"] for ref in d.get("dependsOn", ())}
    assert named <= set(refs)


def check_spdx(document: dict[str, Any]) -> spdx.SHACLObjectSet:
    """Read by the classes generated from SPDX's own model: types, values and cardinalities."""
    found = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(json.dumps(document).encode()), found)
    assert found.link() == set()  # each name that is referred to is there
    spdx.JSONLDSerializer().write(found, io.BytesIO())  # refuses what lacks a mandatory field
    return found


def properties(thing: dict[str, Any]) -> dict[str, str]:
    return {p["name"].removeprefix("sovgate:"): p["value"] for p in thing.get("properties", ())}


def by_ref(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in document["components"]}


# --- golden -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_the_golden_documents_are_what_we_write(name: str) -> None:
    made = models.documents(models.FOLDER / name / "model")
    for file, document in made.items():
        golden = (models.FOLDER / name / file).read_text(encoding="utf-8")
        assert models.written(document) == golden, "python -m tests.models, and look at git diff"


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_documents_are_strictly_valid(name: str) -> None:
    check_cyclonedx(json.loads((models.FOLDER / name / "cdx.json").read_bytes()))
    check_spdx(json.loads((models.FOLDER / name / "spdx.json").read_bytes()))


def test_the_library_itself_finds_the_golden_documents_valid() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_7)
    for name in NAMES:
        text = (models.FOLDER / name / "cdx.json").read_text(encoding="utf-8")
        assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"modelCard"', '"modelcard"')) is not None


@pytest.mark.parametrize("name", NAMES)
def test_what_the_libraries_write_today_has_the_same_sbom(name: str, tmp_path: Path) -> None:
    """The committed models stand for what the libraries write; sizes and digests may differ."""
    model = tmp_path / name / "model"
    model.mkdir(parents=True)
    models.MODELS[name](model)
    golden = json.loads((models.FOLDER / name / "cdx.json").read_bytes())
    made = models.documents(model)["cdx.json"]
    check_cyclonedx(made)
    assert (
        made["metadata"]["component"]["modelCard"] == (golden["metadata"]["component"]["modelCard"])
    )
    ours = {c["bom-ref"]: properties(c) | {"size": ""} for c in made["components"]}
    theirs = {c["bom-ref"]: properties(c) | {"size": ""} for c in golden["components"]}
    assert ours == theirs


def test_a_document_that_is_not_valid_is_never_written() -> None:
    document = json.loads((models.FOLDER / "llama" / "cdx.json").read_bytes())
    cyclonedx.validate(document)
    for spoil in (
        lambda d: d["metadata"]["component"]["modelCard"].update(parameters=1),
        lambda d: d["components"][0]["hashes"][0].update(content="short"),
        lambda d: d.update(extra=1),
        lambda d: d["metadata"].update(timestamp="yesterday"),
    ):
        spoiled = json.loads(json.dumps(document))
        spoil(spoiled)
        with pytest.raises(InternalError):
            cyclonedx.validate(spoiled)


# --- what they say --------------------------------------------------------------------------------
def test_every_file_has_the_digest_that_the_signature_signs() -> None:
    model = models.FOLDER / "transformer" / "model"
    manifest = inventory.take(model).manifest
    document = models.documents(model)["cdx.json"]
    files = [c for c in document["components"] if c["type"] == "file"]
    assert [(f["name"], f["hashes"]) for f in files] == [
        (r.name, [{"alg": "SHA-256", "content": r.digest}]) for r in manifest.resources
    ]
    top = document["metadata"]["component"]
    assert properties(top)["manifest"] == f"sha256:{manifest.digest}"
    assert document["compositions"] == [{"aggregate": "complete", "assemblies": ["model"]}]
    found = check_spdx(models.documents(model)["spdx.json"])
    ours = {f.name: f.verifiedUsing[0].hashValue for f in found.foreach_type("software_File")}
    assert ours == {r.name: r.digest for r in manifest.resources}


def test_the_model_card_joins_headers_configuration_and_training_record() -> None:
    document = json.loads((models.FOLDER / "transformer" / "cdx.json").read_bytes())
    top = document["metadata"]["component"]
    card = top["modelCard"]
    assert card["modelParameters"]["architectureFamily"] == "bert"
    assert card["modelParameters"]["modelArchitecture"] == "BertForSequenceClassification"
    assert card["modelParameters"]["task"] == "text-classification"
    said = properties(card)
    assert said["parameters"] == str(8 * 4 + 4 * 4 + 2 * 4 + 2)
    assert said["dtype:F16"] == "2 tensors, 48 elements"
    assert said["config:hidden_size"] == "4"
    assert said["hyper-parameter:learning-rate"] == "0.0005"
    assert said["tokenizer-config:model_max_length"] == "1" + "0" * 30
    assert card["quantitativeAnalysis"]["performanceMetrics"][0] == {
        "type": "accuracy",
        "value": "0.93",
    }
    assert [a["name"] for a in top["pedigree"]["ancestors"]] == [
        "google/bert-tiny",
        "kyc-base/1.0.0",
    ]
    assert top["licenses"] == [{"license": {"acknowledgement": "declared", "id": "Apache-2.0"}}]
    assert properties(top)["training-record"] == "signed by sha256:" + "99" * 32


def test_data_sets_are_components_with_commitment_and_place() -> None:
    document = json.loads((models.FOLDER / "transformer" / "cdx.json").read_bytes())
    parts = by_ref(document)
    names = [
        d["ref"]
        for d in document["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]
    ]
    assert names == ["data:kyc-eu", "data:public-pretrain", "data:scraped"]
    kyc = parts["data:kyc-eu"]
    assert kyc["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert kyc["data"][0]["classification"] == "personal"
    assert properties(kyc)["commitment"] == "hmac-sha256/v0:" + "cd" * 32
    places = [p["value"] for p in kyc["properties"] if p["name"] == "sovgate:stays-in"]
    assert sorted(places) == ["DE or FR", "EU"]
    assert properties(parts["data:public-pretrain"])["stays-in"] == "free"
    assert properties(parts["data:scraped"])["stays-in"] == "unknown"


def test_onnx_ports_are_inputs_and_outputs() -> None:
    document = json.loads((models.FOLDER / "scorer" / "cdx.json").read_bytes())
    parameters = document["metadata"]["component"]["modelCard"]["modelParameters"]
    assert parameters["inputs"] == [{"format": "x: FLOAT[batch,8]"}]
    assert parameters["outputs"] == [{"format": "y: FLOAT[batch,2]"}]


def test_pickles_are_named_in_the_sbom() -> None:
    document = json.loads((models.FOLDER / "legacy" / "cdx.json").read_bytes())
    assert properties(document["metadata"]["component"])["pickles"] == "3"
    named = {c["name"]: properties(c).get("pickle") for c in document["components"]}
    assert named == {
        "labels.npy": "a NumPy array of Python objects",
        "plain.npy": None,
        "sub/old.txt": "a pickle that asks for os.getcwd",
        "weights.bin": "a pickle of protocol 4",
    }


def test_a_model_that_is_one_file(tmp_path: Path) -> None:
    shutil.copy(models.FOLDER / "llama" / "model" / "model.gguf", tmp_path / "tiny.gguf")
    document = cyclonedx.build(models.described(tmp_path / "tiny.gguf"))
    check_cyclonedx(document)
    (file,) = document["components"]
    assert file["name"] == "tiny.gguf"
    assert document["metadata"]["component"]["hashes"] == file["hashes"]


def test_odd_names_are_told_apart_and_valid(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "a b").mkdir(parents=True)
    for name in ("é.txt", "a b/c#d", "100%", "a&b", "-x", "日本"):
        (model / name).write_bytes(name.encode())
    described = models.described(model)
    check_cyclonedx(cyclonedx.build(described))
    found = check_spdx(models.documents(model)["spdx.json"])
    assert len(list(found.foreach_type("software_File"))) == 6


# --- determinism ----------------------------------------------------------------------------------
PROGRAM = """
import sys
from pathlib import Path
from sovgate import strict
from tests import models
for document in models.documents(Path(sys.argv[1])).values():
    sys.stdout.buffer.write(strict.canonical(document))
"""


def test_the_same_model_gives_the_same_bytes_everywhere(tmp_path: Path) -> None:
    """Across runs, locales, hash seeds, working directories and the order of creation."""
    source = models.FOLDER / "transformer" / "model"
    copy = tmp_path / "transformer" / "model"
    copy.mkdir(parents=True)
    for path in sorted(source.iterdir(), reverse=True):
        shutil.copy(path, copy / path.name)
        os.utime(copy / path.name, (1, 1))
        (copy / path.name).chmod(0o600)
    outputs = set()
    for model, seed, locale in ((source, "0", "C"), (copy, "1", "C.UTF-8"), (copy, "77", "POSIX")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(model)],
            capture_output=True,
            check=True,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONHASHSEED": seed,
                "LC_ALL": locale,
                "TZ": "Asia/Tokyo" if seed == "1" else "UTC",
            },
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_the_serial_number_is_of_the_content(tmp_path: Path) -> None:
    documents = [models.documents(models.FOLDER / name / "model")["cdx.json"] for name in NAMES]
    serials = [document["serialNumber"] for document in documents]
    assert len(set(serials)) == len(serials)
    for serial in serials:
        assert uuid.UUID(serial.removeprefix("urn:uuid:")).version == 5


def test_rule_19_the_timestamp_comes_from_source_date_epoch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(models.FOLDER / "llama" / "model", model)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def run(name: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        made = sbom(model, output=tmp_path / name, spdx=tmp_path / f"{name}.spdx")
        return (
            json.loads((tmp_path / name).read_bytes()),
            json.loads((tmp_path / f"{name}.spdx").read_bytes()),
            made.manifest,
        )

    without, without_spdx, manifest = run("a")
    assert "timestamp" not in without["metadata"]
    assert without_spdx["@graph"][0]["created"] == "1970-01-01T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    dated, dated_spdx, same = run("b")
    assert dated["metadata"].pop("timestamp") == "2026-09-21T14:13:20Z"
    assert dated_spdx["@graph"][0]["created"] == "2026-09-21T14:13:20Z"
    assert same == manifest
    assert dated.pop("serialNumber") != without.pop("serialNumber")
    assert dated == without
    check_cyclonedx(dated)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError) as caught:
        run("c")
    assert caught.value.reason == "bad-source-date"
    assert not (tmp_path / "c").exists()


# --- where it goes --------------------------------------------------------------------------------
def test_without_a_key_it_is_an_unsigned_draft_of_role_sbom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(models.FOLDER / "scorer" / "model", model)
    monkeypatch.chdir(tmp_path)
    made = sbom(model, output=tmp_path / "bom.json", spdx=tmp_path / "spdx.json")
    again = sbom(model, output=tmp_path / "bom2.json")
    assert again.paths == made.paths[:1]
    assert (tmp_path / "bom.json").read_bytes() == (tmp_path / "bom2.json").read_bytes()
    drafts = attest.read_unsigned(attest.evidence_dir(model))
    statements = [Statement.parse(draft.data) for draft in drafts]
    assert {s.role for s in statements} == {"sbom"}
    assert {s.subject_sha256 for s in statements} == {inventory.take(model).manifest.digest}
    bare = {s.predicate_type: strict.canonical(s.predicate) for s in statements}
    assert bare[SPDX] == (tmp_path / "spdx.json").read_bytes()
    assert bare["https://cyclonedx.org/bom"] == (tmp_path / "bom.json").read_bytes()
    assert attest.read(attest.evidence_dir(model)) == ()


@pytest.mark.parametrize("place", ["model/bom.json", "model", "model/new/bom.json"])
def test_it_is_never_written_into_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(models.FOLDER / "llama" / "model", model)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        sbom(model, output=tmp_path / place)
    assert caught.value.reason == "output-inside-model"
    assert [path.name for path in model.rglob("*")] == ["model.gguf"]
    assert not (tmp_path / "model.evidence").exists()


EXPECTED = json.loads((headers.FOLDER / "expected.json").read_bytes())
HOSTILE = [headers.FOLDER / name for name, said in sorted(EXPECTED.items()) if said["exit"]]


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_a_model_with_a_hostile_file_leaves_no_sbom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 11, the file named, nothing written."""
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    shutil.copy(path, model / "sub" / path.name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VerificationFailed) as caught:
        sbom(model, output=tmp_path / "bom.json")
    assert caught.value.exit_code == ExitCode.VERIFICATION
    # An empty file of weights is told to stand in for them, before its header is asked for.
    reason = EXPECTED[path.name]["reason"] if path.stat().st_size else "stand-in"
    assert caught.value.reason == reason
    assert f"sub/{path.name}" in caught.value.what
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def inspect(model: Path) -> Inspected:
    survey = inventory.survey(model)
    return stage.inspect(survey.root, survey.kind, [entry.name for entry in survey.entries])


def test_an_index_must_be_true_of_its_shards(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(models.FOLDER / "transformer" / "model", model)
    inspect(model)
    index = model / "model.safetensors.index.json"
    whole = json.loads(index.read_bytes())
    spoiled = json.loads(index.read_bytes())
    spoiled["weight_map"]["not.there"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(spoiled))
    with pytest.raises(VerificationFailed) as caught:
        inspect(model)
    assert caught.value.reason == "missing-shard"
    index.write_text(json.dumps(whole))
    (model / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(VerificationFailed) as caught:
        inspect(model)
    assert caught.value.reason == "missing-shard"


def test_external_data_must_be_part_of_the_model(tmp_path: Path) -> None:
    """Otherwise the signature covers a graph whose weights anyone may change."""
    model = tmp_path / "model"
    shutil.copytree(models.FOLDER / "scorer" / "model", model)
    (model / "model.onnx_data").write_bytes(bytes(8))
    for path in (model, model / "model.onnx"):
        with pytest.raises(VerificationFailed) as caught:
            inspect(path)
        assert caught.value.reason == "missing-external"
    (model / "model.onnx_data").unlink()
    with pytest.raises(VerificationFailed):
        inspect(model)


def test_a_file_that_changes_between_header_and_digest_is_noticed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(models.FOLDER / "llama" / "model", model)
    inspected = inspect(model)
    inventory.take(model, looked=inspected.looked)
    data = (model / "model.gguf").read_bytes()
    (model / "model.gguf").write_bytes(data.replace(b"Tiny", b"Tina"))
    with pytest.raises(VerificationFailed) as caught:
        inventory.take(model, looked=inspected.looked)
    assert caught.value.reason == "changed-while-reading"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (model / "config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(VerificationFailed):
        stage.inspect(model, "directory", ["config.json"])


def test_odd_words_of_others_never_make_an_invalid_document(tmp_path: Path) -> None:
    """Names, pointers and texts of headers and cards come from anyone."""
    odd = 'a b|{}\x01\u2028<é>"\\^`%zz'
    model = tmp_path / "model"
    model.mkdir()
    card = {"license": odd, "base_model": [odd, "a/../b", "x/y"], "pipeline_tag": odd}
    (model / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    (model / "config.json").write_text(json.dumps({"model_type": odd, "a": odd}))
    header = json.dumps({"__metadata__": {odd: odd}}).encode()
    (model / "m.safetensors").write_bytes(headers.safetensors(header))
    described = models.described(model)
    dataset = replace(models.RECORD.datasets[0], name=odd, category=odd, pointer=f"s3://{odd}")
    described = replace(
        described,
        name=odd,
        licences=(stage.Licence(text=odd, declared=False),),
        record=replace(
            models.RECORD, datasets=(dataset,), metrics={odd: odd}, parameters={odd: odd}
        ),
    )
    document = cyclonedx.build(described)
    check_cyclonedx(document)
    check_spdx(spdx3.build(described))
    ancestors = document["metadata"]["component"]["pedigree"]["ancestors"]
    assert [a.get("purl") for a in ancestors if "purl" in a] == ["pkg:huggingface/x/y"]


def test_a_record_without_data_says_so(tmp_path: Path) -> None:
    none = replace(models.RECORD.datasets[1], name="none", category="none", manifest_sha256=None)
    described = replace(
        models.described(models.FOLDER / "llama" / "model"),
        record=replace(models.RECORD, datasets=(none,)),
    )
    document = cyclonedx.build(described)
    check_cyclonedx(document)
    check_spdx(spdx3.build(described))
    assert [c["type"] for c in document["components"]] == ["file"]
    card = document["metadata"]["component"]["modelCard"]
    assert "datasets" not in card["modelParameters"]
    assert properties(card)["data-sets"] == "none"


# --- licences, libraries --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("files", "named", "expected"),
    [
        ({"README.md": "---\nlicense: mit\n---\n"}, (), [("MIT", True)]),
        ({"README.md": "---\nlicense: other\nlicense_name: gemma\n---\n"}, (), [("gemma", True)]),
        (
            {"README.md": "---\nlicense: [mit, bsl-1.0]\n---\n"},
            ("Apache-2.0 OR MIT",),
            [("Apache-2.0 OR MIT", True)],
        ),
        ({"LICENSE": "x\nSPDX-License-Identifier: EUPL-1.2\n"}, (), [("EUPL-1.2", True)]),
        (
            {
                "LICENSE": "SPDX-License-Identifier: MIT OR EUPL-1.2\n",
                "NOTICE": "SPDX-License-Identifier: CC-BY-4.0\n",
            },
            (),
            [("MIT OR EUPL-1.2", True), ("CC-BY-4.0", True)],
        ),
        ({}, ("MIT OR ISC", "MIT AND ISC"), [("MIT OR ISC", True), ("MIT AND ISC", True)]),
        ({"LICENSE": "MIT License\n\nCopyright (c) 2026 A\n"}, (), [("MIT", False)]),
        (
            {"README.md": "---\nlicense: mit\n---\n", "LICENSE": "Apache License\nVersion 2.0, "},
            (),
            [("MIT", True)],
        ),
        ({"LICENSE": "All rights reserved"}, (), []),
        (
            {"LICENSE": "SPDX-License-Identifier:   \n", "NOTICE": "SPDX-License-Identifier: )"},
            (),
            [],
        ),
    ],
)
def test_licences(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    named: tuple[str, ...],
    expected: list[tuple[str, bool]],
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name, text in {"w.bin": "weights", **files}.items():
        (model / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    made = sbom(model, told=Told(licences=named), output=tmp_path / "a", spdx=tmp_path / "b")
    assert [(one.text, one.declared) for one in made.described.licences] == expected
    document = json.loads((tmp_path / "a").read_bytes())
    check_cyclonedx(document)
    assert len(document["metadata"]["component"].get("licenses", [])) == len(expected)
    check_spdx(json.loads((tmp_path / "b").read_bytes()))


def test_libraries_of_a_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "# comment\n--index-url https://example.org/simple\n"
        f"NumPy==2.4.6 ; python_version >= '3.11' \\\n    --hash=sha256:{'11' * 32} \\\n"
        f"    --hash=sha256:{'22' * 32}\n    # via x\n"
        "ruamel.yaml[jinja2] == 0.19.1\ntorch==2.12.0+cpu  # GPU later\n"
    )
    assert [(one.name, one.version, len(one.hashes)) for one in stage.from_lock(lock)] == [
        ("numpy", "2.4.6", 2),
        ("ruamel.yaml", "0.19.1", 0),
        ("torch", "2.12.0+cpu", 0),
    ]
    real = stage.from_lock(ROOT / "requirements" / "base.txt")
    assert "click" in {one.name for one in real}
    assert all(one.hashes for one in real)


@pytest.mark.parametrize("line", ["numpy>=2", "numpy", "-e .", "./local.whl", "a @ https://b/c"])
def test_a_requirement_without_a_version_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.txt").write_text(line + "\n")
    with pytest.raises(UsageError) as caught:
        stage.from_lock(tmp_path / "r.txt")
    assert caught.value.reason == "bad-lock"


def test_libraries_of_an_environment(tmp_path: Path) -> None:
    """This very environment; one that holds nothing is a mistake."""
    found = {one.name: one for one in stage.from_environment(Path(sys.prefix))}
    assert "click" in found and "onnx" in found
    lock = [stage.Library(name="click", version=found["click"].version, hashes=("11" * 32,))]
    merged = {one.name: one for one in stage.merged(lock, list(found.values()))}
    assert merged["click"].hashes == ("11" * 32,)
    assert len(merged) == len(found)
    with pytest.raises(UsageError):
        stage.from_environment(tmp_path)


# --- scale ----------------------------------------------------------------------------------------
def test_ten_thousand_files_take_bounded_memory(tmp_path: Path) -> None:
    model = tmp_path / "model"
    for index in range(10_000):
        folder = model / f"{index % 40:02}"
        folder.mkdir(parents=True, exist_ok=True)
        data = headers.tensors(headers.entry("a", 0, 8), data=struct.pack("<Q", index))
        (folder / f"{index:05}.{'safetensors' if index % 4 == 0 else 'bin'}").write_bytes(data)
    program = (
        "import re; from pathlib import Path;"
        "from sovgate.pipeline.make.sbom import sbom; sbom(Path('model'), output=Path('bom.json'));"
        # VmHWM and not ru_maxrss, which counts what the parent had before exec.
        "used = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text()).group(1);"
        "print(int(used) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert float(done.stdout) < 200  # MiB
    document = json.loads((tmp_path / "bom.json").read_bytes())
    check_cyclonedx(document)
    assert len(document["components"]) == 10_000


def test_a_timestamp_is_kept_in_the_described(tmp_path: Path) -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    described = models.described(models.FOLDER / "llama" / "model", timestamp=when)
    assert cyclonedx.build(described)["metadata"]["timestamp"] == "2026-01-02T00:00:00Z"


def test_a_root_configuration_that_is_not_json_is_malformed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_bytes(b'{"a":' * 10_000)
    with pytest.raises(Malformed) as caught:
        inspect(model)
    assert "config.json" in caught.value.what
