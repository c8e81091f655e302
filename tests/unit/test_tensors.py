"""Headers of tensor files: what real libraries write is read, what an attacker writes is refused.

No network, no file but the vectors.
"""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import onnx
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sovgate.errors import ExitCode, Malformed
from sovgate.formats import huggingface as hf
from sovgate.formats import tensors
from sovgate.formats.tensors import BytesSource
from tests import headers
from tests.effort import effort, examples, memory

VECTORS = sorted(path for path in headers.FOLDER.iterdir() if path.name != "expected.json")
EXPECTED = json.loads((headers.FOLDER / "expected.json").read_bytes())
KINDS = ("safetensors", "gguf", "onnx")


def read(name: str, data: bytes) -> tensors.TensorFile | hf.ShardIndex | None:
    """As the stage does it."""
    if hf.is_index(name):
        return hf.index(data, name)
    kind = tensors.kind_of(name, data[:8])
    assert kind is not None
    return tensors.read(kind, BytesSource(data))


#: Calls for a header of a hundred thousand tensors, twice over.
MANY = 4_000_000
#: For a header of a few bytes, whatever it claims.
FEW = 100_000


# --- vectors ------------------------------------------------------------------------------------
def test_the_vectors_are_those_that_the_generator_writes() -> None:
    assert {path.name: path.read_bytes() for path in VECTORS} == headers.vectors()
    assert headers.expected() == EXPECTED


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_rule_03_a_hostile_header_is_exit_11_after_little_work(path: Path) -> None:
    data = path.read_bytes()
    if EXPECTED[path.name]["exit"] == 0:
        assert read(path.name, data)
        return
    with effort(most=FEW), pytest.raises(Malformed) as caught:
        read(path.name, data)
    assert caught.value.exit_code == ExitCode.VERIFICATION
    assert caught.value.reason == EXPECTED[path.name]["reason"]


# --- large ones ---------------------------------------------------------------------------------
LIMIT = 100_000_000


def test_a_header_of_100_megabytes_is_bounded_in_work_and_memory() -> None:
    """Valid to its limit of tensors, or refused; never a gigabyte of JSON."""
    one = b'"layers.%09d.self_attention.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    usual = b",".join(one % index for index in range(LIMIT // (len(one) + 4)))
    hostile = {
        "tensors": b"{" + usual[: LIMIT - 1],
        "brackets": b'{"a":' + b"[" * (LIMIT - 5),
        "empty lists": b'{"a":[' + b"[]," * ((LIMIT - 6) // 3),
        "objects": b'{"a":' * (LIMIT // 5),
        "space": b'{"a"' + b" " * (LIMIT - 4),
        "name": b'{"' + b"a" * (LIMIT - 2),
        "text": b'{"__metadata__":{"a":"' + b"x" * (LIMIT - 22),
        "escapes": b'{"__metadata__":{"a":"' + b"\\n" * (LIMIT // 2 - 11),
        "pairs": (b'{"__metadata__":{' + b'"a":"",' * (LIMIT // 7))[:LIMIT],
    }
    for name, header in hostile.items():
        source = BytesSource(headers.safetensors(header))
        with effort(most=MANY), pytest.raises(Malformed):
            tensors.read("safetensors", source)
        if name in ("tensors", "empty lists", "text"):
            # The tensors that are kept until the limit are counted in.
            with memory(megabytes=150), pytest.raises(Malformed):
                tensors.read("safetensors", source)


def test_as_many_tensors_as_the_largest_models_have_are_read() -> None:
    header = b",".join(
        b'"model.layers.%d.weight":{"dtype":"BF16","shape":[0,7168],"data_offsets":[0,0]}' % index
        for index in range(100_000)
    )
    with effort(most=MANY):
        found = tensors.read("safetensors", BytesSource(headers.safetensors(b"{" + header + b"}")))
    assert len(found.tensors) == 100_000


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("gguf", headers.gguf(headers.array(b"k", 8, 1_500_000, bytes(12_000_000)), keys=2)),
        ("gguf", headers.gguf(bytes(5_000_000), keys=65_000)),
        ("gguf", headers.gguf(headers.info(b"a", [1], 0, 0) * 100_000, tensors=100_000)),
        ("onnx", headers.onnx(headers.field(1, b"") * 1_000_000)),
        ("onnx", headers.onnx(headers.field(5, b"\x08\x01" * 1_000_000))),
        ("onnx", headers.onnx(headers.field(5, headers.field(1, b"\x01" * 1_000_000)))),
    ],
    ids=["words", "keys", "infos", "nodes", "dims", "packed dims"],
)
def test_a_flood_of_small_things_ends(kind: str, data: bytes) -> None:
    with effort(most=10_000_000), suppress(Malformed):
        tensors.read(kind, BytesSource(data))


# --- what real libraries write --------------------------------------------------------------------
def safetensors_file() -> bytes:
    arrays = {
        "embed.weight": np.zeros((3, 4), np.float32),
        "head.bias": np.zeros(5, np.int8),
        "scale": np.zeros((), np.float64),
        "none": np.zeros(0, np.float16),
    }
    return safetensors.numpy.save(arrays, {"format": "pt", "né": 'quote " and \n'})


def gguf_file(path: Path, order: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE) -> bytes:
    writer = gguf.GGUFWriter(path, "llama", endianess=order)
    writer.add_context_length(2048)
    writer.add_token_list([f"token {n}" for n in range(1000)])
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_tensor("token_embd.weight", np.zeros((4, 64), np.float32))
    writer.add_tensor("norm.weight", np.zeros(5, np.float16))
    quantized = gguf.quantize(np.ones((2, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def onnx_model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "w"], ["s"]),
            helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.arange(4))),
            helper.make_node("Identity", ["s"], ["y"]),
        ],
        "scorer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.zeros((2, 3), np.float32), "w"),
            helper.make_tensor("t", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("i4", TensorProto.INT4, [3], [1, 2, 3]),
            helper.make_tensor("s8", TensorProto.STRING, [1], [b"word"]),
        ],
    )
    return helper.make_model(
        graph, producer_name="trainer", opset_imports=[helper.make_opsetid("", 21)]
    )


def test_what_safetensors_writes_is_read_as_it_reads_it_itself() -> None:
    data = safetensors_file()
    found = tensors.read("safetensors", BytesSource(data))
    theirs = {n: (t["dtype"], tuple(t["shape"])) for n, t in safetensors.deserialize(data)}
    assert {t.name: (t.dtype, t.shape) for t in found.tensors} == theirs
    assert found.parameters == 3 * 4 + 5 + 1
    assert found.facts == {"format": "pt", "né": 'quote " and \n'}
    assert found.by_dtype()["F32"] == (1, 12)


@pytest.mark.parametrize("order", [gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG])
def test_what_gguf_writes_is_read_as_it_reads_it_itself(
    tmp_path: Path, order: gguf.GGUFEndian
) -> None:
    data = gguf_file(tmp_path / "m.gguf", order)
    found = tensors.read("gguf", BytesSource(data))
    theirs = gguf.GGUFReader(tmp_path / "m.gguf")
    assert [(t.name, t.dtype, list(t.shape), t.bytes) for t in found.tensors] == [
        (t.name, t.tensor_type.name, [int(n) for n in t.shape], t.n_bytes) for t in theirs.tensors
    ]
    assert found.facts["general.architecture"] == "llama"
    assert found.facts["llama.context_length"] == "2048"
    assert found.facts["tokenizer.ggml.tokens"] == "[1000]"
    assert found.facts["tokenizer.ggml.add_bos_token"] == "true"
    assert found.facts["llama.rope.freq_base"] == "10000.0"


def test_the_table_of_gguf_types_is_that_of_the_library() -> None:
    from sovgate.formats.tensors.gguf import TYPES

    theirs = {
        int(kind): (kind.name, *size) for kind, size in gguf.constants.GGML_QUANT_SIZES.items()
    }
    assert theirs == TYPES


def test_the_table_of_onnx_types_is_that_of_the_library() -> None:
    from sovgate.formats.tensors.onnx import TYPES

    theirs = dict(TensorProto.DataType.items())
    assert {name: number for number, (name, _) in TYPES.items()} | {"UNDEFINED": 0} == theirs


def test_what_onnx_writes_is_read_as_it_reads_it_itself() -> None:
    model = onnx_model()
    found = tensors.read("onnx", BytesSource(model.SerializeToString()))
    names = {value: name for name, value in TensorProto.DataType.items()}
    assert [(t.name, t.dtype, list(t.shape)) for t in found.tensors] == [
        (t.name, names[t.data_type], list(t.dims)) for t in model.graph.initializer
    ]
    assert found.inputs == ("x: FLOAT[batch,3]",)
    assert found.outputs == ("y: FLOAT",)
    assert found.facts == {"producer": "trainer", "graph": "scorer", "opset:ai.onnx": "21"}
    assert found.externals == ()


def test_onnx_keeps_large_tensors_in_a_file_beside_it(tmp_path: Path) -> None:
    array = np.zeros((64, 64), np.float32)
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(array, "w")])
    onnx.save_model(
        helper.make_model(graph),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.onnx_data",
        size_threshold=0,
    )
    found = tensors.read("onnx", BytesSource((tmp_path / "m.onnx").read_bytes()))
    assert found.externals == (tensors.External(location="m.onnx_data", end=64 * 64 * 4),)
    assert found.tensors[0].elements == 64 * 64


# --- fuzz -----------------------------------------------------------------------------------------
VALID = {
    "safetensors": [safetensors_file(), headers.vectors()["good-metadata.safetensors"]],
    "gguf": [
        headers.vectors()["good-tensors.gguf"],
        headers.vectors()["good-words.gguf"],
    ],
    "onnx": [onnx_model().SerializeToString(), headers.vectors()["good-nested.onnx"]],
}
BEGINNINGS = {
    "safetensors": struct.pack("<Q", 40) + b'{"a":',
    "gguf": headers.gguf(),
    "onnx": headers.field(1, 10),
}


def bounded(kind: str, data: bytes) -> None:
    with effort(most=FEW):
        try:
            found = tensors.read(kind, BytesSource(data))
        except Malformed:
            return
    assert found.format == kind
    assert found.parameters >= 0


@settings(max_examples=examples(300))
@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=400), start=st.booleans())
def test_arbitrary_bytes_are_read_or_malformed(kind: str, data: bytes, start: bool) -> None:
    bounded(kind, (BEGINNINGS[kind] if start else b"") + data)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    kind = draw(st.sampled_from(KINDS))
    data = bytearray(draw(st.sampled_from(VALID[kind])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(("flip", "cut", "insert", "repeat", "huge")))
        if how == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        elif how == "repeat":
            data[at:at] = data[at : at + 64]
        else:
            data[at : at + 8] = struct.pack("<Q", draw(st.sampled_from((2**63, 2**64 - 1, 2**32))))
    return kind, bytes(data)


@settings(max_examples=examples(600))
@given(mutated())
def test_a_valid_file_with_changed_bytes_is_read_or_malformed(case: tuple[str, bytes]) -> None:
    bounded(*case)


@settings(max_examples=examples(200))
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b'{"architectures":7,"model_type":[],"a":1e999,"b":NaN,"c":-Infinity}')
@example(b"---\nlicense: [a, {b: c}]\n---\n")
def test_json_and_cards_are_read_or_malformed(data: bytes) -> None:
    for reader in (hf.config, hf.index):
        with suppress(Malformed):
            reader(data, "x")
    hf.card(data)
    hf.card(b"---\n" + data + b"\n---\n")


# --- configurations -------------------------------------------------------------------------------
def test_numbers_that_no_exact_json_has_do_not_stop_a_real_configuration() -> None:
    """transformers writes 10^30 for "no limit", and Mamba's configuration holds Infinity."""
    found = hf.config(
        b'{"model_type":"mamba2","architectures":["Mamba2ForCausalLM"],'
        b'"model_max_length":1000000000000000019884624838656,"limit":[0.0,Infinity],'
        b'"max":Infinity,"eps":1e-05,"hidden_size":4096,"tie":false,"none":null}',
        "config.json",
    )
    assert found.model_type == "mamba2"
    assert found.architectures == ("Mamba2ForCausalLM",)
    assert found.facts == {
        "model_type": "mamba2",
        "model_max_length": "1000000000000000019884624838656",
        "max": "Infinity",
        "eps": "1e-05",
        "hidden_size": "4096",
        "tie": "false",
    }


def test_of_a_configuration_with_a_duplicate_key_the_last_value_counts() -> None:
    found = hf.config(b'{"model_type":"a","model_type":"b"}', "config.json")
    assert (found.model_type, found.problem) == ("b", "duplicate key 'model_type'")
    with pytest.raises(Malformed):
        hf.config(b"[" * 100_000, "config.json")


def test_the_front_matter_of_a_model_card_is_read() -> None:
    card = hf.card(
        b"---\nlicense: other\nlicense_name: llama3.1\nbase_model:\n- meta/base\n- meta/other\n"
        b"datasets: glue\npipeline_tag: text-classification\n---\n# A model\n"
    )
    assert card == hf.Card(
        licenses=("other",),
        license_name="llama3.1",
        base_models=("meta/base", "meta/other"),
        datasets=("glue",),
        task="text-classification",
    )
    assert hf.card(b"# no front matter\n") == hf.Card()
    assert hf.card(b"---\na: &x [*x]\n---\n").problem
    assert hf.card(b"---\n" + b"[" * 50_000 + b"\n---\n").problem


RIGHT = "license: mit\nbase_model: a/b"


@pytest.mark.parametrize(
    "data",
    [
        f"---\n{RIGHT}\n---\n".encode(),
        f"\ufeff---\n{RIGHT}\n---\n".encode(),
        f"---\n{RIGHT}\n---\n".encode("utf-16"),
        b"\xff\xfe" + f"---\n{RIGHT}\n---\n".encode("utf-16-le"),
        f"---\r\n{RIGHT}\r\n---\r\n".replace("mit\n", "mit\r\n").encode(),
        f"---\n{RIGHT}\n---\n".replace("\n", "\r").encode(),
        f"\n\n---  \n{RIGHT}\n--- \n".encode(),
        f"---\n{RIGHT}\n...\n".encode(),
        f"---\n{RIGHT}\n---".encode(),
        f"---\n{RIGHT}\n---\n# Mod\u00e8le\n".encode("latin-1"),
    ],
)
def test_front_matter_is_read_however_an_editor_spells_it(data: bytes) -> None:
    card = hf.card(data)
    assert (card.licenses, card.base_models, card.problem) == (("mit",), ("a/b",), None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"---\nlicense: mit\ntitle: Foo: bar\n---\n", "line 3: invalid YAML"),
        (b"\n---\nlicense: mit\ntitle: Foo: bar\n---\n", "line 4: invalid YAML"),
        (b"---\nlicense: mit\ntags: [a]\ntags: [b]\n---\n", "line 4: "),
        (b"---\nlicense: mit\n", "line 1: its front matter has no end"),
        (b"---\n- license\n---\n", "line 2: its front matter is not"),
        (b"+++\nlicense = 'mit'\n+++\n", "line 1: its front matter is not YAML"),
        (b"---\nlicense: {name: mit}\n---\n", "its license is not a text"),
        (b"---\nlicense: mit\nname: Mod\xe8le\n---\n", "not UTF-8"),
        (b"---\nlicense: mit\nx: " + b"y" * 300_000 + b"\n---\n", "has no end"),
    ],
)
def test_a_card_that_cannot_be_read_says_why(data: bytes, problem: str) -> None:
    card = hf.card(data)
    assert problem in (card.problem or "")
    assert card.licenses == ()


def test_a_card_that_says_no_licence_has_no_problem() -> None:
    for data in (b"", b"# A model\n", b"---\n---\n", b"---\n# rule\n---\n", b"---\na: b\n---\n"):
        assert hf.card(data) == hf.Card()
    assert hf.card(b"---\nlicense:\n---\n").problem is None
