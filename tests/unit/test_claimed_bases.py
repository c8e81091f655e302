"""RULES 39: a base that a model's own files name and that no counted record covers is unknown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import Malformed
from sovgate.formats import claims, provenance
from sovgate.formats.claims import Claim
from sovgate.formats.tensors import BytesSource
from sovgate.stages import attest
from sovgate.stages import sbom as stage
from tests.crossing import Crossing, make_crossing
from tests.downloads import gguf, safetensors

ADAPTER = '{"base_model_name_or_path":"../tuned-1","peft_type":"LORA","revision":null}'
KEY = ("--key", "keys/home.pem")
PUSH = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a restricted model `tuned-1` and a free one `free-1`; both recorded."""
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    shutil.rmtree(crossing.model)
    for name, dataset in (("tuned-1", "kyc"), ("free-1", "public")):
        safetensors(crossing.base / name / "model.safetensors", ["a", name])
        crossing.json("sign", name, *KEY)
        crossing.json("record", name, "--dataset", dataset, *KEY)
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    base = tmp_path / "project"
    shutil.copytree(made, base)
    safetensors(base / "model" / "adapter_model.safetensors", ["lora"])
    return Crossing(base=base, model=base / "model")


def write(crossing: Crossing, name: str, text: str) -> None:
    path = crossing.model / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def prepare(crossing: Crossing, *record: str) -> dict[str, Any]:
    crossing.json("sign", "model", *KEY)
    return crossing.json("record", "model", *record, *KEY)


def denied(crossing: Crossing, *words: str) -> None:
    """By check, push and release alike; nothing crossed."""
    said = crossing.json("check", "model", "--zone", "home", "--to", "eu", code=10)
    assert "base-known" in [deny["rule"] for deny in said["denies"]]
    pushed = crossing.json("push", "model", *PUSH, code=10)["error"]
    released = crossing.json("release", "model", *PUSH, "--dataset", "public", code=10)["error"]
    for text in (json.dumps(said), json.dumps(pushed), json.dumps(released)):
        for word in (*words, "--base-model", "--public-base"):
            assert word in text
    assert crossing.objects("releases/") == []


#: One file each that names ../tuned-1 as the base, as some tool writes it.
FILES = {
    "adapter_config.json": ADAPTER,
    "checkpoint-5/adapter_config.json": ADAPTER,
    "README.md": "---\nbase_model: ./tuned-1\n---\n",
    "docs/README.md": "---\nbase_model:\n- other/one\n- x/tuned-1\n---\n",
    "config.json": '{"_name_or_path": "/mnt/models/tuned-1/", "model_type": "llama"}',
    "unet/config.json": '{"text_config": {"_name_or_path": "../tuned-1"}}',
    "model_index.json": '{"_class_name": "P", "_name_or_path": "../tuned-1"}',
    "mergekit_config.yml": "models:\n  - model: ../tuned-1\n    parameters: {weight: 1}\n",
    "axolotl.yaml": "base_model: ../tuned-1\nadapter: lora\n",
    "MLmodel": "flavors:\n  transformers:\n    source_model_name: ../tuned-1\n",
    "training_args.json": '{"model_name_or_path": "..\\\\tuned-1"}',
}


@pytest.mark.parametrize("name", FILES)
def test_rule_39_a_base_that_only_a_file_names_goes_nowhere(crossing: Crossing, name: str) -> None:
    write(crossing, name, FILES[name])
    write(crossing, f"{Path(name).parent}/adapter_model.bin", "x")
    made = prepare(crossing, "--dataset", "public")
    assert any("tuned-1" in note and name in note for note in made["warnings"]), made
    denied(crossing, "tuned-1", name)


@pytest.mark.parametrize(
    "text",
    [
        "---\nbase_model: ../tuned-1\ntags: [a]\ntags: [b]\n---\n",
        "---\ntitle: Foo: bar\nbase_model:\n  - ../tuned-1\n---\n",
        "---\nbase_model: [a/b, '../tuned-1']\nx: &y z\n---\n",
        "\ufeff---\r\nbase_model: ../tuned-1\r\n---\r\n",
        "---\nbase_model: ../tuned-1\n",
    ],
)
def test_rule_39_a_card_that_does_not_read_claims_all_the_same(text: str) -> None:
    found = [claim.base for claim in claims.of_settings("README.md", text.encode())]
    assert "../tuned-1" in found


#: What readers accept and strict ones do not, or what stands where few look: one file each.
UNUSUAL = {
    "a key twice": ("adapter_config.json", '{"r":1,"r":2,"base_model":"../tuned-1"}'),
    "the base twice": ("config.json", '{"base_model":"../tuned-1","base_model":"x"}'),
    "a byte order mark": ("config.json", '\ufeff{"r":1,"_name_or_path":"../tuned-1"}'),
    "a comma too many": ("config.json", '{"r":1,"base_model":"../tuned-1",}'),
    "deeper than we read": ("a.json", '{"x":' + "[" * 300 + "]" * 300 + ',"base_model":"tuned-1"}'),
    "letters as numbers": ("config.json", '{"base\\u005fmodel":"../tuned-1"}'),
    "another case": ("config.json", '{"Base-Model":"../tuned-1"}'),
    "TOML": ("train.toml", "[model]\npretrained_model_name_or_path = '../tuned-1'\n"),
    "TOML that does not read": ("train.toml", "a = 1\na = 2\nbase_model = '../tuned-1'\n"),
    "TOML in a card": ("README.md", "+++\nbase_model = './tuned-1'\n+++\n"),
    "a card of another name": ("MODEL_CARD.md", "---\nbase_model: ./tuned-1\n---\n"),
    "UTF-16": ("README.md", "---\nbase_model: ./tuned-1\n---\n".encode("utf-16")),
    "a described base": ("README.md", "---\nbase_model:\n- name: tuned-1\n  revision: abc\n---\n"),
    "a merge with a revision": (
        "mergekit_config.yml",
        "models:\n- model:\n    model: {path: ../tuned-1, revision: abc}\n",
    ),
    "MLX": ("adapter_config.json", '{"model":"../tuned-1","fine_tune_type":"lora"}'),
    "NeMo": ("model_config.yaml", "init_from_nemo_model: ../tuned-1\n"),
    "the folder above": ("adapter_config.json", '{"base_model_name_or_path":"../"}'),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of 64 KiB and 1 MiB, to be reached soon."""
    monkeypatch.setattr(claims, "MAX_FILE", 64 * 1024)
    monkeypatch.setattr(claims, "MAX_SETTINGS", 1024 * 1024)


@pytest.mark.usefixtures("small")
def test_rule_39_settings_are_read_as_far_as_settings_go(tmp_path: Path) -> None:
    """And what is larger than any settings are counts as a base of its own."""
    path = tmp_path / "sub" / "adapter_config.json"
    names = ["sub/adapter_config.json", "sub/adapter_model.bin"]
    path.parent.mkdir()
    (path.parent / "adapter_model.bin").write_bytes(b"x")
    for pad, told in ((0.5, "../tuned-1"), (1.1, "? (it is larger than 1 MiB, and not read)")):
        path.write_text('{"pad": "' + "x" * int(pad * 1024 * 1024) + '", ' + ADAPTER[1:])
        found = stage.inspect(tmp_path, "directory", names).claims
        assert [claim.base for claim in found] == [told]


@pytest.mark.usefixtures("small")
def test_words_of_a_vocabulary_are_no_bases() -> None:
    """A tokenizer knows the word, and has a number for it; most are larger than what is read."""
    words = {f"word{number}": number for number in range(60_000)}
    vocabulary = {"model": {"vocab": {"BaseModel": 16284, "base_model": 7, **words}}}
    data = json.dumps(vocabulary).encode()
    assert len(data) > claims.MAX_SETTINGS
    assert list(claims.of_file("tokenizer.json", BytesSource(data))) == []
    assert list(claims.of_settings("vocab.json", data[:1000])) == []
    named = data[:1000] + b', "base_model": "../tuned-1"'
    assert [claim.base for claim in claims.of_settings("x.json", named)] == ["../tuned-1"]


@pytest.mark.parametrize("key", sorted(claims.KEYS))
def test_rule_39_each_key_is_found(key: str) -> None:
    (claim,) = claims.of_settings("a.json", json.dumps({key: "org/base"}).encode())
    assert claim.base == "org/base"


def test_which_files_are_settings() -> None:
    for name in ("config.json", "a/adapter_config.json", "train_args.yaml", "model_index.json"):
        assert claims.decides(name), name
    for name in ("tokenizer.json", "vocab.json", "metadata.json", "README.md", "config.py"):
        assert not claims.decides(name), name


@pytest.mark.parametrize("case", UNUSUAL)
def test_rule_39_a_base_is_found_however_it_is_written(case: str) -> None:
    name, text = UNUSUAL[case]
    data = text.encode() if isinstance(text, str) else text
    found = list(claims.of_settings(name, data))
    assert any("tuned-1" in claim.base or claim.base == "../" for claim in found), found
    assert not any(claim.covered_by("public") for claim in found)


def test_rule_39_more_bases_than_are_listed_are_covered_by_nothing() -> None:
    text = json.dumps({"base_model": [f"org/b{number}" for number in range(200)]})
    last = list(claims.of_settings("config.json", text.encode()))[-1]
    assert "more than 100" in last.base
    assert not last.covered_by("org/b199")


def test_rule_39_long_texts_in_a_tensor_header_are_searched(tmp_path: Path) -> None:
    from sovgate.stages import sbom

    told = json.dumps({"x": "y" * 3000, "unet.base_model_name_or_path": "../tuned-1"})
    safetensors(tmp_path / "lora.safetensors", ["base_model.model.a"], lora_adapter_metadata=told)
    found = sbom.inspect(tmp_path, "directory", ["lora.safetensors"]).claims
    assert [claim.base for claim in found] == ["../tuned-1"]


def test_rule_39_metadata_of_onnx_names_bases_too(tmp_path: Path) -> None:
    from sovgate.formats.tensors import BytesSource, onnx
    from tests import headers

    entry = headers.field(1, b"base_model") + headers.field(2, b"../tuned-1")
    graph = headers.vectors()["good-nested.onnx"]
    read = onnx.read(BytesSource(graph + headers.field(14, entry)))
    assert [claim.base for claim in claims.of_header("m.onnx", read.facts)] == ["../tuned-1"]


COMMIT = "4f2a9c1e" * 5


@pytest.mark.parametrize(
    "text",
    [
        f"/root/.cache/huggingface/hub/models--org--base/snapshots/{COMMIT}",
        f"C:\\\\hub\\\\models--org--base\\\\snapshots\\\\{COMMIT}\\\\",
        f"https://huggingface.co/org/base/tree/{COMMIT}",
        f"hf://org/base@{COMMIT}",
        "https://huggingface.co/org/base/tree/main",
    ],
)
def test_a_place_on_a_hub_or_in_its_cache_is_that_base(text: str) -> None:
    (claim,) = claims.of_settings("config.json", f'{{"_name_or_path":"{text}"}}'.encode())
    assert claim.base == "org/base"
    assert claim.covered_by("org/base", COMMIT[:8])
    assert not claim.covered_by("org/other", COMMIT[:8])
    assert claim.covered_by("org/base", "0" * 40) is (claim.revision is None)


def test_rule_39_a_path_that_only_begins_in_a_cache_is_not_that_base() -> None:
    text = f"/hub/models--org--base/snapshots/{COMMIT}/../../../tuned-1"
    (claim,) = claims.of_settings("config.json", f'{{"_name_or_path":"{text}"}}'.encode())
    assert not claim.covered_by("org/base", COMMIT)


def test_rule_39_tensor_headers_name_bases_too(crossing: Crossing) -> None:
    told = {
        "general.architecture": "llama",
        "general.base_model.count": 1,
        "general.base_model.0.name": "Tuned 1",
        "general.base_model.0.repo_url": "https://huggingface.co/bank/tuned-1",
    }
    gguf(crossing.model / "q.gguf", told, 1)
    safetensors(crossing.model / "lora.safetensors", ["x"], ss_sd_model_name="../tuned-1")
    prepare(crossing, "--dataset", "public")
    denied(crossing, "q.gguf says that the model was made from bank/tuned-1", "lora.safetensors")


def test_rule_39_the_base_restricts_once_the_record_names_it(crossing: Crossing) -> None:
    write(crossing, "adapter_config.json", ADAPTER)
    prepare(crossing, "--dataset", "public", "--base-model", "tuned-1")
    said = crossing.json("check", "model", "--zone", "home", "--to", "eu", code=10)
    assert [deny["rule"] for deny in said["denies"]] == ["weights-inherit"]
    assert "kyc may go only to US" in json.dumps(said)


def test_a_free_base_that_the_record_names_lets_it_go(crossing: Crossing) -> None:
    write(crossing, "adapter_config.json", ADAPTER.replace("tuned-1", "free-1"))
    made = prepare(crossing, "--dataset", "public", "--base-model", "free-1")
    assert made["warnings"] == []
    crossing.json("push", "model", *PUSH)
    crossing.pull()


def test_a_base_under_another_name_is_recorded_as_that(crossing: Crossing) -> None:
    write(crossing, "adapter_config.json", ADAPTER.replace("../tuned-1", "/mnt/abc/base"))
    prepare(crossing, "--dataset", "public", "--base-model", "free-1")
    denied(crossing, "/mnt/abc/base")
    crossing.json(
        "record", "model", "--dataset", "public", "--base-model", "/mnt/abc/base=free-1", *KEY
    )
    crossing.json("push", "model", *PUSH)


def test_one_signed_record_names_a_public_base_by_name_and_revision(crossing: Crossing) -> None:
    write(
        crossing,
        "adapter_config.json",
        '{"base_model_name_or_path":"org/llama","revision":"abc123"}',
    )
    prepare(crossing, "--dataset", "public")
    denied(crossing, "org/llama@abc123")
    other = ("record", "model", "--dataset", "public", "--public-base")
    crossing.json(*other, "org/llama@other", *KEY)
    denied(crossing, "org/llama@abc123")
    crossing.json(*other, "org/llama@abc123", *KEY)
    crossing.json("push", "model", *PUSH)
    crossing.sbom()


@pytest.mark.parametrize("text", ["org/llama", "@abc", "org/llama@", " @ "])
def test_a_public_base_needs_name_and_revision(crossing: Crossing, text: str) -> None:
    error = crossing.json(
        "record", "model", "--dataset", "public", "--public-base", text, *KEY, code=2
    )["error"]
    assert error["reason"] == "public-base"


def test_rule_39_an_unsigned_or_untrusted_record_covers_nothing(crossing: Crossing) -> None:
    write(crossing, "adapter_config.json", ADAPTER)
    prepare(crossing, "--dataset", "public")
    base = ("--dataset", "public", "--public-base", "tuned-1@1")
    crossing.json("record", "model", *base)
    crossing.json("keys", "generate", "sign", "-o", "stranger.pem")
    crossing.json("record", "model", *base, "--key", "stranger.pem")
    denied(crossing, "tuned-1")


def test_rule_39_a_base_whose_own_files_claim_more_than_its_record_is_unknown(
    crossing: Crossing,
) -> None:
    """Nobody is freed by one step in between."""
    middle = crossing.base / "middle"
    safetensors(middle / "model.safetensors", ["m"])
    (middle / "adapter_config.json").write_text(ADAPTER)
    crossing.json("sign", "middle", *KEY)
    crossing.json("record", "middle", "--dataset", "public", *KEY)
    write(crossing, "adapter_config.json", ADAPTER.replace("tuned-1", "middle"))
    prepare(crossing, "--dataset", "public", "--base-model", "middle")
    said = crossing.json("push", "model", *PUSH, code=10)["error"]
    assert "middle" in json.dumps(said)
    assert crossing.objects("releases/") == []


def test_rule_39_an_encrypted_copy_claims_what_its_sbom_lists(crossing: Crossing) -> None:
    write(crossing, "adapter_config.json", ADAPTER)
    prepare(crossing, "--dataset", "public")
    crossing.sbom()
    crossing.json("encrypt", "model", "--to", "eu", "--release", "churn/1.0.0", "-o", "sealed")
    said = crossing.json("push", "sealed", *PUSH, code=10)["error"]
    assert "adapter_config.json says" in json.dumps(said)


def test_rule_39_the_zone_asks_again_when_it_has_opened_a_model(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(crossing, "adapter_config.json", ADAPTER)
    prepare(crossing, "--dataset", "public")
    with monkeypatch.context() as patch:
        patch.setattr(claims, "of_settings", lambda name, data: iter(()))
        crossing.json("push", "model", *PUSH)
    said = crossing.pull(code=10)["error"]
    assert "base-known" in json.dumps(said)
    assert not (crossing.base / "pulled").exists()


def test_what_claims_no_base_needs_none(crossing: Crossing) -> None:
    write(crossing, "config.json", '{"_name_or_path": "", "model_type": "llama"}')
    write(crossing, "tokenizer.json", json.dumps({"vocab": {"base_model": 3}}))
    write(crossing, "README.md", "---\nlicense: mit\nbase_model:\n---\nbase_model: is a key\n")
    write(crossing, "sub/config.json", '{"_name_or_path": "./"}')
    prepare(crossing, "--dataset", "public")
    crossing.json("push", "model", *PUSH)


@pytest.mark.parametrize(
    ("claim", "recorded", "covered"),
    [
        ("../tuned-1", "tuned-1", True),
        ("/a/b/Tuned-1/", "tuned-1", True),
        ("https://huggingface.co/org/llama", "org/llama", True),
        ("org/llama", "llama", True),
        ("llama", "org/llama", True),
        ("org/llama", "other/llama", False),
        ("llama-2", "llama", False),
        ("tuned-1", "1", False),
        ("x", "..", False),
        ("x", "", False),
    ],
)
def test_a_recorded_name_covers_what_ends_like_it(claim: str, recorded: str, covered: bool) -> None:
    assert Claim(file="f", base=claim).covered_by(recorded) is covered


def test_a_claim_in_an_sbom_that_is_none_is_covered_by_nothing() -> None:
    claim = Claim(file="a", base="b", revision="c")
    assert claims.parse(claim.text()) == claim
    for value in (None, 1, "", "[]", '["a"]', '["a","b",1]', '["","b",null]', "[1,2,3]", "{"):
        assert claims.parse(value).base == "?"


def test_a_record_with_half_a_public_base_is_malformed() -> None:
    from datetime import UTC, datetime

    base = provenance.BaseModel(name="org/x", manifest=None, revision="1")
    record = provenance.TrainingRecord(
        datasets=(), base_models=(base,), finished=datetime(2026, 11, 1, tzinfo=UTC)
    )
    predicate = record.predicate()
    assert provenance.parse(predicate) == record
    notes = predicate["buildDefinition"]["resolvedDependencies"][0]["annotations"]
    for spoiled in (
        {"public": False, "revision": "1"},
        {"public": True},
        {"public": True, "revision": ""},
        {"public": 1, "revision": "1"},
        {"public": True, "revision": "1", "x": 1},
    ):
        notes.clear()
        notes.update(spoiled)
        with pytest.raises(Malformed):
            provenance.parse(predicate)


def test_claimed_data_sets_and_licences_are_compared_and_are_findings(crossing: Crossing) -> None:
    write(crossing, "README.md", "---\nlicense: mit\ndatasets: [glue, public]\n---\n")
    write(crossing, "LICENSE", "Apache License Version 2.0, January 2004\n")
    made = prepare(crossing, "--dataset", "public")
    (data_set, licence) = made["warnings"]
    assert "glue" in data_set
    assert "Apache-2.0" in licence
    listed = crossing.json("sbom", "model", *KEY)
    assert set(made["warnings"]) <= set(listed["warnings"])
    crossing.json("push", "model", *PUSH)


def without_sbom(base: Crossing) -> None:
    """Its evidence has a signature and a record, and nothing of what its files say."""


def draft_sbom(base: Crossing) -> None:
    base.json("sbom", "tuned-2")


def sbom_by_a_stranger(base: Crossing) -> None:
    base.json("keys", "generate", "sign", "-o", "keys/stranger.pem")
    base.json("sbom", "tuned-2", "--key", "keys/stranger.pem")


def sbom_of_another_tool(base: Crossing) -> None:
    base.evidence("sbom", {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []})


@pytest.mark.parametrize(
    ("told", "called"),
    [
        (without_sbom, "tuned-2.evidence"),
        (without_sbom, "other=tuned-2.evidence"),
        (draft_sbom, "tuned-2.evidence"),
        (sbom_by_a_stranger, "tuned-2.evidence"),
        (sbom_of_another_tool, "tuned-2.evidence"),
    ],
)
def test_rule_39_a_base_known_by_its_evidence_alone_needs_an_sbom_of_its_files(
    crossing: Crossing, told: Any, called: str
) -> None:
    """Or what its files claim would be lost to whoever names its evidence, not its folder."""
    base = Crossing(base=crossing.base, model=crossing.base / "tuned-2")
    safetensors(base.model / "model.safetensors", ["b"])
    (base.model / "README.md").write_text("---\nbase_model: org/secret-base\n---\n")
    base.json("sign", "tuned-2", *KEY)
    base.json("record", "tuned-2", "--dataset", "public", *KEY)
    told(base)
    crossing.json("sign", "model", *KEY)
    ask = ("record", "model", "--dataset", "public", "--base-model", called, *KEY)
    code, text = crossing.run(*ask)
    assert code == 0
    for words in ("no trusted SBOM", "name the model's own folder", "sovgate sbom MODEL --key URI"):
        assert words in " ".join(text.split())
    said = crossing.json("check", "model", "--zone", "home", "--to", "eu", code=10)
    assert [deny["rule"] for deny in said["denies"]] == ["weights-inherit"]
    # What an SBOM lists is held against its record, as its files would be.
    base.json("sbom", "tuned-2", *KEY)
    shutil.rmtree(attest.evidence_dir(crossing.model))
    assert prepare(crossing, *ask[2:-2])["base-models"][0]["records"] == []


@pytest.mark.parametrize("called", ["free-1", "free-1.evidence", "other=free-1.evidence"])
def test_a_base_with_an_sbom_of_its_files_is_known_by_its_evidence(
    crossing: Crossing, called: str
) -> None:
    if "evidence" in called:
        crossing.json("sbom", "free-1", *KEY)
        shutil.rmtree(crossing.base / "free-1")
    assert prepare(crossing, "--no-dataset", "--base-model", called)["base-models"][0]["records"]
    crossing.json("check", "model", "--zone", "home", "--to", "eu")
