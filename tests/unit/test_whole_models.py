"""Models as people have them: sets in parts, newer types, cards that cannot be read. No network."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import parts
from sovgate.pipeline.make.sbom import sbom
from sovgate.stages import sbom as stage
from tests.downloads import checkpoint, gguf, index, openvino, safetensors
from tests.effort import effort

PARTS = "model-%05d-of-%05d.safetensors"


def look(model: Path) -> stage.Inspected:
    names = sorted(p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file())
    return stage.inspect(model, "directory", names)


def document(model: Path) -> dict[str, Any]:
    place = model.parent / f"{model.name}.cdx.json"
    sbom(model, output=place)
    found: dict[str, Any] = json.loads(place.read_bytes())
    return found


def card_rows(found: dict[str, Any]) -> dict[str, str]:
    rows = found["metadata"]["component"]["modelCard"]["properties"]
    return {row["name"].removeprefix("sovgate:"): row["value"] for row in rows}


def refused(model: Path, reason: str = "missing-shard") -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        look(model)
    assert caught.value.reason == reason
    return caught.value


def split(number: int, count: int, tensors: int | None = None) -> dict[str, int]:
    told = {"split.no": number, "split.count": count}
    return told if tensors is None else {**told, "split.tensors.count": tensors}


# --- split GGUF -----------------------------------------------------------------------------------
def test_a_split_gguf_is_one_model_of_two_files(tmp_path: Path) -> None:
    model = tmp_path / "m"
    gguf(model / "m-00001-of-00002.gguf", {"general.architecture": "llama", **split(0, 2, 3)}, 2)
    gguf(model / "m-00002-of-00002.gguf", split(1, 2, 3), 1)
    found = document(model)
    assert card_rows(found)["parameters"] == "96"
    assert found["metadata"]["component"]["modelCard"]["modelParameters"]["architectureFamily"] == (
        "llama"
    )
    told = {
        part["name"]: {row["name"]: row["value"] for row in part["properties"]}["sovgate:part"]
        for part in found["components"]
    }
    assert told == {"m-00001-of-00002.gguf": "1 of 2", "m-00002-of-00002.gguf": "2 of 2"}


def test_rule_38_a_split_gguf_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "m"
    gguf(model / "m-00001-of-00003.gguf", {"general.architecture": "llama", **split(0, 3)}, 1)
    gguf(model / "m-00003-of-00003.gguf", split(2, 3), 1)
    assert "'m-00002-of-00003.gguf', which is not there" in refused(model).what


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_rule_38_also_where_the_names_do_not_tell(tmp_path: Path, lacking: int) -> None:
    model = tmp_path / "m"
    for number in {0, 1, 2} - {lacking}:
        more = {"general.architecture": "llama"} if number == 0 else {}
        gguf(model / f"{'xyz'[number]}.gguf", {**more, **split(number, 3)}, 1)
    assert f"part {lacking + 1} is not there" in refused(model).what


def test_rule_38_a_part_alone_as_a_file_lacks_the_others(tmp_path: Path) -> None:
    gguf(tmp_path / "a.gguf", {"general.architecture": "llama", **split(0, 2)}, 1)
    with pytest.raises(VerificationFailed, match=r"'a\.gguf' is part 1 of 2"):
        stage.inspect(tmp_path / "a.gguf", "file", ["."])


def test_rule_38_parts_with_too_few_tensors_or_twice_the_same_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "m"
    gguf(model / "a.gguf", {"general.architecture": "llama", **split(0, 2, 9)}, 1)
    gguf(model / "b.gguf", split(1, 2, 9), 1)
    assert "hold 2 tensors" in refused(model).what
    gguf(model / "a.gguf", {"general.architecture": "llama", **split(0, 2)}, 1)
    gguf(model / "b.gguf", split(1, 2), 1)
    gguf(model / "c.gguf", split(1, 2), 1)
    error = refused(model)
    assert error.what == "'b.gguf' and 'c.gguf' say that they are the same part of a model"
    assert "NAME-00001-of-00002.gguf" in str(error.fix)


def test_two_split_models_in_one_folder_are_two_sets(tmp_path: Path) -> None:
    model = tmp_path / "m"
    for name in ("q4", "q8"):
        for number in range(2):
            more = {"general.architecture": "llama"} if number == 0 else {}
            gguf(
                model / f"{name}-{number + 1:05d}-of-00002.gguf",
                {**more, **split(number, 2, 2)},
                1,
            )
    assert len(look(model).summaries) == 4


def test_rule_38_two_split_models_that_nothing_tells_apart_are_refused_with_the_way_out(
    tmp_path: Path,
) -> None:
    model = tmp_path / "m"
    for name in ("q4-a", "q4-b", "q8-a", "q8-b"):
        number = "ab".index(name[-1])
        more = {"general.architecture": "llama"} if number == 0 else {}
        gguf(model / f"{name}.gguf", {**more, **split(number, 2, 2)}, 1)
    error = refused(model)
    assert error.what == "'q4-a.gguf' and 'q8-a.gguf' say that they are the same part of a model"
    for name in ("q8-a", "q8-b"):  # as the fix says
        (model / name[:2]).mkdir(exist_ok=True)
        (model / f"{name}.gguf").rename(model / name[:2] / f"{name}.gguf")
    assert len(look(model).summaries) == 4


def untold(model: Path) -> str:
    (model / "sbom.json").unlink(missing_ok=True)
    return card_rows(document(model)).get("architecture", "")


@pytest.mark.parametrize("told", [{}, {"split.no": 1}, split(1, 0), {"general.type": "model"}])
def test_a_model_that_does_not_tell_its_architecture_is_named_and_no_damage(
    tmp_path: Path, told: dict[str, str | int]
) -> None:
    """As stable-diffusion.cpp writes them."""
    gguf(tmp_path / "m" / "a.gguf", told, 1)
    assert untold(tmp_path / "m") == "a.gguf: not told"
    gguf(tmp_path / "m" / "a.gguf", {**told, "general.architecture": "llama"}, 1)
    assert untold(tmp_path / "m") == ""


def test_of_a_set_the_first_part_tells_the_architecture(tmp_path: Path) -> None:
    for number in range(2):
        gguf(tmp_path / "m" / f"a-0000{number + 1}-of-00002.gguf", split(number, 2), 1)
    assert untold(tmp_path / "m") == "a-00001-of-00002.gguf: not told"


def test_what_is_no_model_needs_no_architecture(tmp_path: Path) -> None:
    gguf(tmp_path / "imatrix.gguf", {"general.type": "imatrix"}, 1)
    assert look(tmp_path).summaries["imatrix.gguf"].facts["general.type"] == "imatrix"


# --- sharded checkpoints --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin.index.json",
        "tf_model.h5.index.json",
        "flax_model.msgpack.index.json",
        "model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "unet/diffusion_pytorch_model.fp16.safetensors.index.json",
        "unet/diffusion_pytorch_model.bin.index.json",
        "index.json",
    ],
)
def test_rule_38_every_spelling_of_an_index_names_what_is_missing(
    tmp_path: Path, name: str
) -> None:
    folder, ending = Path(name).parent, name.split(".index")[0].rpartition(".")[2] or "bin"
    ending = "bin" if ending == "index" else ending
    first, second = f"w_one.{ending}", f"w_two.{ending}"
    index(tmp_path / name, {"a": first, "b": second})
    if ending == "safetensors":
        safetensors(tmp_path / folder / first, ["a"])
    else:
        (tmp_path / folder / first).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / first).write_bytes(bytes(8))
    error = refused(tmp_path)
    assert error.what == f"the model's index names {str(folder / second)!r}, which is not there"


@pytest.mark.parametrize(
    "name",
    [
        "model-{:05d}-of-00003.safetensors",
        "model.fp16-{:05d}-of-00003.safetensors",
        "model-{:05d}-of-00003.fp16.safetensors",
        "pytorch_model-{:05d}-of-00003.bin",
        "tf_model-{:05d}-of-00003.h5",
        "text_encoder/flax_model-{:05d}-of-00003.msgpack",
        "model_{:02d}_of_03.pt",
        "model.part{}of3.bin",
        "consolidated.shard-{}-of-3",
    ],
)
@pytest.mark.parametrize("lacking", [1, 2, 3])
def test_rule_38_parts_that_their_names_tell_are_all_there(
    tmp_path: Path, name: str, lacking: int
) -> None:
    for number in (1, 2, 3):
        path = tmp_path / name.format(number)
        if name.endswith(".safetensors"):
            safetensors(path, [f"t{number}"])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(8))
    look(tmp_path)
    (tmp_path / name.format(lacking)).unlink()
    assert f"{name.format(lacking)!r}, which is not there" in refused(tmp_path).what


def test_parts_that_are_counted_from_nought_are_whole(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"vectors-0000{number}-of-00003").write_bytes(bytes(8))
    look(tmp_path)
    (tmp_path / "vectors-00001-of-00003").unlink()
    assert "'vectors-00001-of-00003'" in refused(tmp_path).what


@pytest.mark.parametrize(
    "name", ["epoch-1-of-3.bin", "fold_2_of_5.bin", "7of9.bin", "soft-2-ofx-3.bin", "a-1-of-0.bin"]
)
def test_what_is_whole_is_no_part(name: str) -> None:
    assert parts.part(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "assets/figure-2-of-3.png",
        "eval/top_1_of_5.json",
        "docs/page-1-of-9.PDF",
        "eval/part-2-of-4.log",
    ],
)
def test_a_set_that_only_names_tell_is_one_of_weights_or_data(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"{}")
    assert look(tmp_path).strays[name].startswith("its name says that it is one of")
    place.rename(place.with_name(place.stem + ".bin"))
    assert "which is not there" in refused(tmp_path).what


@pytest.mark.parametrize("ending", ["parquet", "tar", "zip", "csv", "jsonl", "arrow", "data", "x"])
def test_rule_38_data_and_archives_in_parts_are_whole(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"train-00000-of-00002.{ending}").write_bytes(b"x,y")
    assert f"'train-00001-of-00002.{ending}'" in refused(tmp_path).what


def test_rule_38_what_an_index_names_is_there_whatever_its_ending(tmp_path: Path) -> None:
    shards = [f"w-{number}-of-2.json" for number in (1, 2)]
    index(tmp_path / "index.json", dict(zip("ab", shards, strict=True)))
    (tmp_path / shards[0]).write_bytes(b"{}")
    assert f"{shards[1]!r}, which is not there" in refused(tmp_path).what


def test_a_part_too_many_is_refused(tmp_path: Path) -> None:
    for number in (1, 2, 5):
        safetensors(tmp_path / (PARTS % (number, 2)), [f"t{number}"])
    assert "one part more than" in refused(tmp_path).what


def test_what_no_index_names_is_named_and_not_counted(tmp_path: Path) -> None:
    model = tmp_path / "m"
    index(model / "model.safetensors.index.json", {"a": PARTS % (1, 2), "b": PARTS % (2, 2)})
    safetensors(model / (PARTS % (1, 2)), ["a"])
    safetensors(model / (PARTS % (2, 2)), ["b"])
    safetensors(model / (PARTS % (3, 3)), ["c"])
    safetensors(model / "model.safetensors", ["a", "b"])
    safetensors(model / "vae" / "model.safetensors", ["z"])
    found = look(model)
    assert sorted(found.strays) == [PARTS % (3, 3), "model.safetensors"]
    rows = card_rows(document(model))
    assert rows["parameters"] == "3"
    assert "does not name it" in rows["not-counted"]


def test_leftovers_of_another_ending_are_told_by_their_name_alone(tmp_path: Path) -> None:
    index(tmp_path / "pytorch_model.bin.index.json", {"a": "pytorch_model-00001-of-00001.bin"})
    for name in ("pytorch_model-00001-of-00001.bin", "pytorch_model-00002-of-00004.bin"):
        (tmp_path / name).write_bytes(bytes(8))
    (tmp_path / "training_args.bin").write_bytes(bytes(8))
    assert sorted(look(tmp_path).strays) == ["pytorch_model-00002-of-00004.bin"]


def test_an_index_of_which_no_file_is_there_is_named_beside_other_weights(tmp_path: Path) -> None:
    """A download of one of two formats takes the index of the other along."""
    index(tmp_path / "pytorch_model.bin.index.json", {"a": "pytorch_model-00001-of-00001.bin"})
    assert "which is not there" in refused(tmp_path).what
    safetensors(tmp_path / "model.safetensors", ["a"])
    assert list(look(tmp_path).strays) == ["pytorch_model.bin.index.json"]


OTHER_FORMATS = [
    "flax_model.msgpack",
    "tf_model.h5",
    "openvino_model.bin",
    "weights.npz",
    "model.bin",
    "pytorch_model.bin",
    "consolidated.00.pth",
    "rust_model.ot",
    "onnx/model.bin",
    "original/consolidated.pth",
]


@pytest.mark.parametrize("above", ["", "llm/"])
@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_an_index_of_another_format_is_named_beside_a_whole_model(
    tmp_path: Path, above: str, name: str
) -> None:
    shards = {"a": PARTS % (1, 2), "b": PARTS % (2, 2)}
    index(tmp_path / above / "model.safetensors.index.json", shards)
    (tmp_path / above / "config.json").write_text("{}")
    place = tmp_path / above / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"no pickle at all")
    if name.startswith("openvino"):
        openvino(place.with_suffix(".xml"))
    assert list(look(tmp_path).strays) == [f"{above}model.safetensors.index.json"]
    safetensors(tmp_path / above / (PARTS % (1, 2)), ["a"])  # some of it there: it is meant
    refused(tmp_path)


def test_an_index_of_another_format_is_named_beside_a_quantised_model(tmp_path: Path) -> None:
    index(tmp_path / "model.safetensors.index.json", {"a": PARTS % (1, 2), "b": PARTS % (2, 2)})
    gguf(tmp_path / "Q4" / "model.gguf", {"general.architecture": "llama"}, 1)
    safetensors(tmp_path / "original" / "consolidated.safetensors", ["a"])
    assert list(look(tmp_path).strays) == ["model.safetensors.index.json"]


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.model",
        "tokenizer_model.bin",
        "training_args.bin",
        "optimizer.pt",
        "adapter_model.bin",
        "model_optimizer.bin",
        "rng_state.pth",
        "1_Dense/pytorch_model.bin",
        "vision-lora/pytorch_model.bin",
        "openvino_tokenizer.bin",
        "README.md",
        "onnx/tokenizer/vocab.bin",
        "../model.bin",
    ],
)
def test_rule_38_what_lies_beside_a_model_is_no_model(tmp_path: Path, name: str) -> None:
    index(tmp_path / "m" / "model.safetensors.index.json", {"a": PARTS % (1, 1)})
    place = tmp_path / "m" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"no pickle at all")
    with pytest.raises(VerificationFailed, match="which is not there"):
        look(tmp_path / "m")


def test_rule_38_an_empty_file_is_no_model(tmp_path: Path) -> None:
    index(tmp_path / "model.safetensors.index.json", {"a": PARTS % (1, 1)})
    (tmp_path / "model.bin").write_bytes(b"")
    refused(tmp_path)


def test_an_index_that_leads_outside_is_refused_whatever_its_spelling(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin.index.json", "model.safetensors.index.fp16.json"):
        index(tmp_path / name, {"a": "../model.bin"})
        with pytest.raises(Malformed) as caught:
            stage.inspect(tmp_path, "directory", [name])
        assert caught.value.reason == "unsafe-path"


def test_another_index_is_no_index_of_weights(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"pages": []}')
    (tmp_path / "docs.index.json").write_text('{"weight_map": {"a": "b.bin"}}')
    assert "'b.bin'" in refused(tmp_path).what
    (tmp_path / "docs.index.json").unlink()
    (tmp_path / "search.index.en.json").write_text("not JSON")
    (tmp_path / "faiss.index.json").write_text('{"vectors": 7}')
    look(tmp_path)
    (tmp_path / "m.bin.index.json").write_text('{"vectors": 7}')
    with pytest.raises(Malformed, match="has no weight_map"):
        look(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("config.json", b"[]", "is not a JSON object"),
        ("tokenizer_config.json", b" " * (16 * 1024 * 1024 + 1), "is larger than 16 MiB"),
        ("model.safetensors.index.json", b"{}", "has no weight_map"),
    ],
)
def test_settings_that_cannot_be_read_say_why_and_what_helps(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Malformed, match=words) as caught:
        look(tmp_path)
    assert caught.value.why
    assert "save the model again" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("data", "problem", "model_type"),
    [
        (b'{"model_type": "a", "model_type": "b"}', "duplicate key 'model_type'", "b"),
        (b'{"x": {"y": 1, "y": 2}}', "duplicate key 'y'", None),
        (b'{"x": "\\ud83d"}', "a lone surrogate", None),
        (b'{"\\ud83d": 1, "model_type": "a\\udc00"}', "a lone surrogate", "a?"),
        (b'{"\\ud83d": 1, "\\ud83d": 1}', "duplicate key ", None),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_settings_are_read_as_their_loaders_read_them(
    tmp_path: Path, name: str, data: bytes, problem: str, model_type: str | None
) -> None:
    safetensors(tmp_path / "m" / "model.safetensors", ["a"])
    (tmp_path / "m" / name).write_bytes(data)
    (config,) = look(tmp_path / "m").configs.values()
    assert (config.problem or "").startswith(problem)
    assert config.model_type == model_type
    assert card_rows(document(tmp_path / "m"))["config"].startswith(f"{name}: {problem[:10]}")
    for broken in (data[:-1], data + b"x", b"\xff"):
        (tmp_path / "m" / name).write_bytes(broken)
        with pytest.raises(Malformed, match="is not valid JSON"):
            look(tmp_path / "m")


def test_an_index_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    safetensors(tmp_path / "a.safetensors", ["a"])
    text = '{"weight_map": {"a": "a.safetensors"}, "weight_map": {"a": "a.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(Malformed, match="is not valid JSON"):
        look(tmp_path)


# --- checkpoints of TensorFlow --------------------------------------------------------------------
@pytest.mark.parametrize("prefix", ["variables/variables", "1/variables/variables", "bert.ckpt"])
@pytest.mark.parametrize("shards", [1, 3])
def test_rule_38_a_checkpoint_names_its_files_of_data(
    tmp_path: Path, prefix: str, shards: int
) -> None:
    made = checkpoint(tmp_path / prefix, shards)
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    look(tmp_path)
    made[-1].write_bytes(b"")  # one that holds nothing is there
    look(tmp_path)
    for path in made:
        path.unlink()
    error = refused(tmp_path)
    first = made[0].relative_to(tmp_path).as_posix()
    assert f"{first!r}, which is not there" in error.what
    assert f"{prefix}.index" in error.what
    assert "copy the whole folder" in str(error.fix)


def test_rule_38_a_saved_model_needs_the_index_of_its_variables(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "saved_model.pb").write_bytes(b"\x08\x01")
    look(tmp_path)  # without variables it may be whole
    checkpoint(tmp_path / "export" / "variables" / "variables")
    look(tmp_path)
    (tmp_path / "export" / "variables" / "variables.index").unlink()
    assert "lacks 'export/variables/variables.index'" in refused(tmp_path).what
    (tmp_path / "export" / "saved_model.pb").unlink()
    assert "'export/variables/variables.index' is not there" in refused(tmp_path).what


@pytest.mark.parametrize("packed", ["646c", "c001f06d"])
def test_rule_38_an_index_that_is_packed_is_read(tmp_path: Path, packed: str) -> None:
    """As the writers of TensorFlow Hub leave it."""
    (data,) = checkpoint(tmp_path / "variables" / "variables")
    path = tmp_path / "variables" / "variables.index"
    path.write_bytes(bytes.fromhex(packed) + path.read_bytes())
    look(tmp_path)
    data.unlink()
    refused(tmp_path)


def test_an_index_of_another_kind_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "faiss.index").write_bytes(b"IxFI" + bytes(200))
    (tmp_path / "empty.index").write_bytes(b"")
    table = b"\x00\x03\x04key" + bytes(60) + 0xDB4775248B80FB57.to_bytes(8, "little")
    (tmp_path / "a.index").write_bytes(table)  # LevelDB has the same tables
    look(tmp_path)


def test_a_checkpoint_of_which_no_data_is_there_is_named_beside_other_weights(
    tmp_path: Path,
) -> None:
    for path in checkpoint(tmp_path / "bert.ckpt"):
        path.unlink()
    safetensors(tmp_path / "model.safetensors", ["a"])
    assert list(look(tmp_path).strays) == ["bert.ckpt.index"]


def test_an_index_that_names_very_many_files_costs_little(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    path = tmp_path / "m.index"
    path.write_bytes(path.read_bytes().replace(b"\x08\x01\x1a", b"\x08\xff\xff\x05", 1))
    for number in range(300):
        (tmp_path / f"{number}.txt").write_bytes(b"")
    with effort(most=1_000_000):
        assert "which is not there" in refused(tmp_path).what


def test_rule_38_a_saved_model_names_its_assets(tmp_path: Path) -> None:
    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    asset = field(6, field(1, b"x") + field(2, b"vocab.txt"))
    data = b"\x08\x01" + field(2, field(2, field(1, field(2, b"Const"))) + asset)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(data)
    assert "'1/assets/vocab.txt', which is not there" in refused(tmp_path).what
    (tmp_path / "1" / "assets").mkdir()
    (tmp_path / "1" / "assets" / "vocab.txt").write_text("a\nb\n")
    look(tmp_path)


# --- TensorFlow.js, Keras, Core ML ----------------------------------------------------------------
TFJS = {
    "format": "layers-model",
    "modelTopology": {},
    "weightsManifest": [
        {"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": []},
        {"paths": ["https://cdn.example/x.bin"], "weights": []},
    ],
}
SHARDS = ["group1-shard1of2.bin", "group1-shard2of2.bin"]
ML_PACKAGE = {
    "fileFormatVersion": "1.0.0",
    "itemInfoEntries": {
        "A": {"path": "com.apple.CoreML/weights", "name": "weights"},
        "B": {"path": "com.apple.CoreML/model.mlmodel", "name": "model.mlmodel"},
    },
    "rootModelIdentifier": "B",
}
KERAS = {"metadata": {"total_size": 8}, "weight_map": {"/layers/dense/vars": "m_00000.weights.h5"}}


@pytest.mark.parametrize(
    ("name", "settings", "files"),
    [
        ("web/model.json", TFJS, ["web/group1-shard1of2.bin", "web/group1-shard2of2.bin"]),
        ("weights_manifest.json", TFJS["weightsManifest"], SHARDS),
        (
            "x.mlpackage/Manifest.json",
            ML_PACKAGE,
            [
                "x.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
                "x.mlpackage/Data/com.apple.CoreML/model.mlmodel",
            ],
        ),
        ("m.weights.json", KERAS, ["m_00000.weights.h5"]),
    ],
)
def test_rule_38_what_json_names_beside_it_is_there(
    tmp_path: Path, name: str, settings: object, files: list[str]
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(json.dumps(settings))
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(bytes(8))
    look(tmp_path)
    for file in files:
        (tmp_path / file).unlink()
        assert "which is not there" in refused(tmp_path).what
        (tmp_path / file).write_bytes(bytes(8))


def test_json_of_another_kind_names_nothing(tmp_path: Path) -> None:
    for text in ("[]", "{}", "not JSON", '{"weightsManifest": 7}', '{"weightsManifest": [{}]}'):
        (tmp_path / "model.json").write_text(text)
        (tmp_path / "Manifest.json").write_text(text)
        (tmp_path / "x.weights.json").write_text(text)
        look(tmp_path)
    (tmp_path / "model.json").write_text(
        json.dumps({"weightsManifest": [{"paths": ["../x.bin", "/x.bin"], "weights": []}]})
    )
    look(tmp_path)


# --- OpenVINO -------------------------------------------------------------------------------------
def test_rule_38_a_graph_of_openvino_needs_its_weights(tmp_path: Path) -> None:
    openvino(tmp_path / "ov" / "m.xml", (0, 64), (64, 32))
    error = refused(tmp_path, "missing-external")
    assert "'ov/m.xml' keeps its weights in 'ov/m.bin'" in error.what
    assert "'m.bin'" in str(error.fix)
    for size, whole in ((95, False), (96, True), (200, True), (0, True)):
        (tmp_path / "ov" / "m.bin").write_bytes(bytes(size))
        if whole:
            look(tmp_path)
        else:
            refused(tmp_path, "missing-external")
    with pytest.raises(VerificationFailed, match=r"'m\.xml' keeps its weights in 'm\.bin'"):
        stage.inspect(tmp_path / "ov" / "m.xml", "file", ["."])


def test_weights_under_another_name_count_where_no_other_graph_has_them(tmp_path: Path) -> None:
    openvino(tmp_path / "m.xml", (0, 64))
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    look(tmp_path)
    openvino(tmp_path / "weights.xml", (0, 64))
    refused(tmp_path, "missing-external")


def test_a_graph_that_needs_no_weights_and_other_xml_pass(tmp_path: Path) -> None:
    openvino(tmp_path / "none.xml")
    openvino(tmp_path / "empty.xml", (0, 0))
    (tmp_path / "a.xml").write_text('<annotation><layer type="Const"><data offset="0" size="9"/>')
    (tmp_path / "b.xml").write_text("<network/>")
    look(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff<?xml version="1.0" ?>\n<!-- a -->\n<!-- <net> -->\n<net name="x" version="10">'
        '<layer name="w" type="Const"><data size="8" shape="2" offset="0"/>',
        '<net name="x" version="6"><layer type="Convolution"><blobs><weights offset="0" size="8" '
        'precision="FP32"/><biases offset="8" size="4"/></blobs></layer></net>',
    ],
)
def test_rule_38_every_version_of_a_graph_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.xml").write_text(text, encoding="utf-8")
    refused(tmp_path, "missing-external")


def test_constants_across_two_windows_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sovgate.formats.openvino.WINDOW", 300)
    monkeypatch.setattr("sovgate.formats.openvino.OVERLAP", 300)
    openvino(tmp_path / "m.xml", *((8 * number, 8) for number in range(40)))
    assert "needs 320 bytes" in str(refused(tmp_path, "missing-external").why)


# --- newer than this version ----------------------------------------------------------------------
def test_a_type_that_is_not_known_is_listed_and_no_damage(tmp_path: Path) -> None:
    model = tmp_path / "m"
    gguf(model / "q.gguf", {"general.architecture": "llama"}, 1, kind=42)
    rows = card_rows(document(model))
    assert rows["not-known"] == "q.gguf: type 42"
    assert rows["dtype:type-42"] == "1 tensors, 32 elements"


def test_metadata_of_null_is_what_the_formats_own_library_reads(tmp_path: Path) -> None:
    from safetensors import deserialize

    header = b'{"__metadata__":null,"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    data = struct.pack("<Q", len(header)) + header + bytes(16)
    assert len(deserialize(data)) == 1
    (tmp_path / "model.safetensors").write_bytes(data)
    assert look(tmp_path).summaries["model.safetensors"].parameters == 4


# --- the card -------------------------------------------------------------------------------------
def test_a_card_that_was_not_read_is_said_in_the_sbom(tmp_path: Path) -> None:
    model = tmp_path / "m"
    safetensors(model / "a.safetensors", ["a"])
    (model / "README.md").write_text("---\nlicense: mit\ntags: [a]\ntags: [b]\n---\n")
    found = document(model)
    assert "licenses" not in found["metadata"]["component"]
    assert card_rows(found)["card"].startswith("not read: line 4: ")
    (model / "README.md").write_bytes("\ufeff---\nlicense: mit\n---\n".encode())
    found = document(model)
    assert found["metadata"]["component"]["licenses"]
    assert "card" not in card_rows(found)
