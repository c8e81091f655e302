"""Code that a model brings without a pickle: layers of Keras, operations of TensorFlow."""

from __future__ import annotations

import base64
import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import VerificationFailed
from sovgate.formats import hdf5, keras, remotecode, tfgraph
from sovgate.formats.tensors import BytesSource
from sovgate.stages import sbom as stage
from tests.effort import effort, memory


def found(name: str, data: bytes) -> str | None:
    return remotecode.find(name, BytesSource(data), data[: 64 * 1024])


#: As h5py 3 writes `f.attrs["model_config"] = …` of a Lambda layer, by zlib and base64.
HDF5 = {
    kind: zlib.decompress(base64.b64decode(text))
    for kind, text in json.loads(
        (Path(__file__).parents[1] / "vectors" / "hdf5.json").read_text()
    ).items()
}


# --- Keras ----------------------------------------------------------------------------------------
def layer(kind: str, name: str = "scale", **more: Any) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, "trainable": True, **more},
        "registered_name": None,
    }


CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
BUILTIN = {"module": "builtins", "class_name": "function"}
DENSE = layer("Dense", "dense", activation="relu")


def model(*layers: object) -> dict[str, Any]:
    return {
        "module": "keras",
        "class_name": "Functional",
        "config": {"name": "functional", "layers": list(layers)},
        "registered_name": "Functional",
        "compile_config": {
            "loss": {"module": "builtins", "class_name": "function", "config": "mse"}
        },
    }


def archive(config: bytes, name: str = "config.json") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("metadata.json", '{"keras_version": "3.8.0"}')
        zipped.writestr(name, config)
        zipped.writestr("model.weights.h5", HDF5["weights-alone"])
    return out.getvalue()


LAMBDA = "a Lambda layer of Keras (scale)"
#: Each is code; the last part is what is told of it.
BROUGHT: list[tuple[object, str]] = [
    (layer("Lambda"), LAMBDA),
    (layer("Lambda", function=CODE), LAMBDA),
    ({"class_name": "Lambda", "config": {"name": "scale"}}, LAMBDA),  # Keras 2
    (layer("TimeDistributed", "t", layer=layer("Lambda")), LAMBDA),
    ({**layer("Foo"), "registered_name": "Lambda"}, LAMBDA),
    (layer("keras.layers>Lambda"), LAMBDA),
    (layer("Dense", activation=CODE), "a function of Keras as bytecode (__lambda__)"),
    (layer("TorchModuleWrapper"), "a TorchModuleWrapper layer of Keras (scale)"),
    (layer("TFSMLayer"), "a TFSMLayer layer of Keras (scale)"),
    ({"module": "os", "class_name": "function", "config": "system"}, "os.system"),
    ({"module": "subprocess", "class_name": "Popen", "config": {}}, "subprocess.Popen"),
    ({**BUILTIN, "config": "exec"}, "builtins.exec"),
]


@pytest.mark.parametrize(("one", "told"), BROUGHT)
def test_code_in_a_configuration_of_keras_is_named(one: object, told: str) -> None:
    config = json.dumps(model(DENSE, one)).encode()
    assert told in (found("m/model.keras", archive(config)) or "")
    assert told in (found("config.json", config) or "")
    assert told in (found("architecture.json", config) or "")


def test_what_is_installed_where_the_model_is_loaded_is_not_named() -> None:
    own = {"module": "my_package.layers", "class_name": "Scale", "config": {}}
    registered = {**layer("Scale"), "module": None, "registered_name": "my_package>Scale"}
    named = layer("Dense", "Lambda")  # a name is no class
    config = json.dumps(model(DENSE, own, registered, named, {"note": "Lambda"})).encode()
    for name, data in (("model.keras", archive(config)), ("config.json", config)):
        assert found(name, data) is None
    assert found("tokenizer.json", b'{"vocab": {"class_name": 1, "Lambda": 2}}') is None


@pytest.mark.parametrize(
    "config",
    [
        b'{"class_name": "\\u004cambda", "config": {}}',
        b'{"class\\u005fname": "Lambda", "config": {}}',
        b'{"class_name": "Dense", "config": {}, "class_name": "Lambda"}',
        b'{"class_name": "Lambda", "config": {}, "class_name": "Dense"}',
        b'\xef\xbb\xbf{"class_name":"Lambda","config":{}}',
        b'{"class_name" : \n "Lambda", "config": {}',  # cut off
        b"[" * 100_000 + b'{"class_name": "Lambda", "config": {}}',
    ],
)
def test_no_spelling_hides_a_layer(config: bytes) -> None:
    assert "Lambda" in (found("model.keras", archive(config)) or "")
    assert "Lambda" in (found("x.json", config) or "")


def test_an_archive_whose_settings_cannot_be_read_counts() -> None:
    whole = archive(b'{"class_name": "Dense", "config": {}}')
    assert found("model.keras", whole) is None
    assert found("model.keras", b"\0" * 7 + whole) is None
    assert "Lambda" in (found("model.keras", b"\0" * 7 + archive(b'{"class_name": "Lambda"')) or "")
    assert "cannot be read" in (found("model.keras", whole[:-30]) or "")
    assert found("model.keras", archive(b"{}", "other.json")) is None
    assert found("model.keras", b"no archive") is None


@pytest.mark.parametrize("kind", sorted(HDF5))
def test_the_configuration_in_a_file_of_hdf5_is_read(kind: str) -> None:
    data = HDF5[kind]
    told = found("model.h5", data) or ""
    if kind == "many-attributes":  # they lie in a heap of their own
        assert told == "settings in HDF5, which cannot be read"
    elif kind == "weights-alone":
        assert told == ""
    else:
        assert told == LAMBDA
    if not kind.startswith("user-block"):
        assert (found("weights.bin", data) or "") == told  # by content, whatever it is called
        assert (found("model.keras", data) or "") == told


def test_a_broken_file_of_hdf5_counts_and_costs_little() -> None:
    data = HDF5["variable"]
    assert "cannot be read" in (found("m.h5", data[:100]) or "")
    for at in range(8, 700, 3):
        broken = data[:at] + b"\xff" + data[at + 1 :]
        found("m.h5", broken)  # no error but those that it knows
    loop = data.replace(b"model_config", b"other_config")
    assert found("m.h5", loop) is None


def test_rule_34_a_header_of_hdf5_that_leads_round_in_circles_costs_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its continuations all lead to one large block."""
    block = bytes(8 * 10_000)
    place = 96 + 16 + 64 * 24
    more = struct.pack("<HHB3xQQ", 0x10, 16, 0, place, len(block)) * 64
    head = hdf5.SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8)
    head += struct.pack("<QQQQ", 0, 2**64 - 1, 0, 2**64 - 1) + struct.pack("<QQII16x", 0, 96, 0, 0)
    data = head + struct.pack("<BxHIIxxxx", 1, 65, 1, 64 * 24) + more + block
    monkeypatch.setattr(hdf5, "MAX_STEPS", 1000)
    with effort(most=20_000):
        assert "cannot be read" in (found("m.h5", data) or "")


def hdf5_of(text: bytes, *places: int) -> bytes:
    """A file of HDF5 with one heap, and an attribute that names what lies in it so many times."""
    heap = b"GCOL\1\0\0\0" + struct.pack("<Q", 16 + 16 + len(text) + -len(text) % 8)
    heap += struct.pack("<HHIQ", 1, 1, 0, len(text)) + text + bytes(-len(text) % 8)
    named = b"model_config\0" + bytes(3)
    kind = struct.pack("<BBBBI", 0x19, 1, 0, 0, 16) + bytes(8)
    size = 8 + len(named) + len(kind) + 8 + 16 * len(places)
    messages = 24 + size + -size % 8
    place = 96 + 16 + messages
    value = b"".join(struct.pack("<IQI", count, place, 1) for count in places)
    one = struct.pack("<BBHHH", 1, 0, 13, len(kind), 8) + named + kind + bytes(8) + value
    one += bytes(-len(one) % 8)
    body = struct.pack("<HHB3x", 0x0C, len(one), 0) + one
    head = hdf5.SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8)
    head += struct.pack("<QQQQ", 0, 2**64 - 1, 0, 2**64 - 1) + struct.pack("<QQII16x", 0, 96, 0, 0)
    body += bytes(messages - len(body))
    return head + struct.pack("<BxHIIxxxx", 1, 1, 1, len(body)) + body + heap


def test_a_text_of_hdf5_ends_where_its_reader_ends_it() -> None:
    """h5py takes a zero for the end of a text; what stands behind it makes it no JSON here."""
    function = {"module": "os", "class_name": "function", "config": "system"}
    text = json.dumps({"class_name": "Dense", "config": {"activation": function}}).encode()
    assert found("m.h5", hdf5_of(text, len(text))) == "os.system"
    hidden = text + b"\0" + b"no more of it"
    assert found("m.h5", hdf5_of(hidden, len(hidden))) == "os.system"


def test_rule_34_one_text_of_hdf5_that_is_named_many_times_takes_no_memory() -> None:
    """Of an array of texts only the first is read: no loader takes another."""
    text = b"x" * 1_000_000
    data = hdf5_of(text, *[len(text)] * 4000)
    with memory(megabytes=8):
        assert found("m.h5", data) is None


# --- TensorFlow -----------------------------------------------------------------------------------
def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def node(name: str, op: str, *more: bytes) -> bytes:
    return field(1, name.encode()) + field(2, op.encode()) + b"".join(more)


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    made = b"".join(field(1, one) for one in nodes)
    library = b"".join(field(1, field(1, field(1, b"f")) + field(3, one)) for one in functions)
    return made + (field(2, library) if functions else b"")


def saved(graph_def: bytes) -> bytes:
    meta = field(1, field(4, b"serve")) + field(2, graph_def)
    return field(1, 1) + field(2, meta)


CONST = node("c", "Const", field(5, field(1, b"value") + field(2, field(8, bytes(900)))))


@pytest.mark.parametrize("op", sorted(tfgraph.OPS))
def test_an_operation_that_calls_python_is_named(op: str) -> None:
    told = f"the operation {op} (node call_1)"
    call = node("call_1", op)
    assert found("m/saved_model.pb", saved(graph(CONST, call))) == told
    assert found("saved_model.pb", saved(graph(CONST, functions=(CONST, call)))) == told
    assert found("frozen.pb", graph(CONST, call)) == told
    assert found("model.ckpt.meta", field(1, b"") + field(2, graph(call))) == told
    text = f'meta_graphs {{ graph_def {{ node {{ name: "a"\n op: \'{op[:2]}\' "{op[2:]}" }} }} }}'
    assert found("saved_model.pbtxt", text.encode()) == f"the operation {op}"
    assert found("m.tflite", bytes(99) + b"Flex" + op.encode() + bytes(9)) == f"the operation {op}"


def printing(to: str) -> bytes:
    stream = field(1, b"output_stream") + field(2, field(2, to.encode()))
    return node("p", "PrintV2", field(3, b"x"), field(5, stream))


def test_a_print_is_code_where_it_goes_to_a_file() -> None:
    told = "the operation PrintV2, to a file"
    for to in ("file:///etc/cron.d/x", "file://x.py"):
        assert found("saved_model.pb", saved(graph(CONST, printing(to)))) == f"{told} (node p)"
        call = saved(graph(CONST, functions=(CONST, printing(to))))
        assert found("saved_model.pb", call) == f"{told} (node p)"
        text = (
            'node { op: "PrintV2" attr { key: "output_stream" value { s: "' + to + '" } } }'
            ' node { op: "Const" }'
        )
        assert found("graph.pbtxt", text.encode()) == told
        assert found("graph.pbtxt", text.replace("file:", "fil\\145:").encode()) == told
        assert found("m.tflite", b"FlexPrintV2\0" + printing(to)) == told
    for to in ("stderr", "log(info)"):
        harmless = graph(CONST, printing(to))
        assert found("saved_model.pb", saved(harmless)) is None
        assert found("m.tflite", b"FlexPrintV2\0" + harmless) is None
        text = 'node { op: "PrintV2" attr { key: "output_stream" value { s: "' + to + '" } } }'
        assert found("graph.pbtxt", text.encode()) is None
    assert found("saved_model.pb", saved(graph(node("s", "StringFormat"), CONST))) is None


def test_no_spelling_of_a_number_hides_an_operation() -> None:
    long = b"\x92\x80\x00" + b"\x86\x80\x80\x00" + b"PyFunc"
    assert "PyFunc" in (found("saved_model.pb", saved(graph(field(1, b"x") + long))) or "")
    twice = node("x", "PyFunc") + field(2, b"Identity")
    assert "PyFunc" in (found("saved_model.pb", saved(graph(twice))) or "")
    split = saved(graph(CONST)) + field(2, field(2, graph(node("x", "PyFunc"))))
    assert "node x" in (found("saved_model.pb", split) or "")


def test_bytes_of_weights_that_look_like_an_operation_are_none() -> None:
    like = field(2, b"PyFunc")
    weight = node("c", "Const", field(5, field(1, b"value") + field(2, field(8, like * 9))))
    named = node("PyFunc", "Identity", field(3, b"PyFunc"))
    attribute = node("d", "Identity", field(5, field(1, b"_op") + field(2, like)))
    for name, data in (
        ("saved_model.pb", saved(graph(weight, named, attribute))),
        ("frozen.pb", graph(weight, named, attribute)),
    ):
        assert tfgraph._NODE.search(data)
        assert found(name, data) is None
    assert found("saved_model.pbtxt", b'node { name: "PyFunc" op: "Const" }') is None


def test_a_graph_that_may_call_python_and_cannot_be_read_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = saved(graph(node("x", "PyFunc")))
    told = "a graph that may call Python, and cannot be read"
    assert found("saved_model.pb", b"\x0b" + call) == told  # a group, which nobody writes
    assert found("saved_model.pb", b"\x0f" + call) == told
    assert found("saved_model.pb", call + b"\xff") == "the operation PyFunc (node x)"
    monkeypatch.setattr(tfgraph, "MAX_FIELDS", 3)
    assert found("saved_model.pb", call) == told
    assert found("saved_model.cpb", b"x") == "a graph in several chunks, which is not read"


def test_an_operation_across_two_windows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "WINDOW", 512)
    for size in range(480, 540):
        pad = node("c", "Const", field(5, bytes(size)))
        assert found("saved_model.pb", saved(graph(pad, node("x", "PyFunc"))))


def test_layers_of_keras_in_a_saved_model_are_named() -> None:
    text = json.dumps(layer("Lambda")).encode()
    metadata = field(1, field(2, 3) + field(3, b"root.layer-1") + field(5, text))
    assert found("m/keras_metadata.pb", metadata) == LAMBDA
    assert found("m/saved_model.pb", saved(graph(CONST)) + text) == LAMBDA
    clean = metadata.replace(b"Lambda", b"Linear")
    assert found("m/keras_metadata.pb", clean) is None


def test_a_layer_behind_endless_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "WINDOW", 2000)
    monkeypatch.setattr(keras, "OVERLAP", 100)
    for space in range(0, 4000, 37):
        data = bytes(1500) + b'{"class_name": ' + b" " * space + b'"Lambda", "config": {}}'
        assert found("keras_metadata.pb", data + bytes(3000))
    assert (
        found("keras_metadata.pb", bytes(1500) + b'{"class_name": "Dense"}' + bytes(3000)) is None
    )


# --- MLflow, hydra --------------------------------------------------------------------------------
MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    code: null
    env: {conda: conda.yaml}
    loader_module: mlflow.sklearn
    python_version: 3.11.9
  sklearn:
    code: null
    serialization_format: skops
mlflow_version: 2.20.0
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("code: null\n    env", "code: code\n    env", "code: code"),
        ("code: null\n    env", "model_code_path: model.py\n    env", "model_code_path: model.py"),
        ("mlflow.sklearn", "own_loader", "loader_module: own_loader"),
        ("env: {conda: conda.yaml}", "'code': \"src\"", "code: src"),
    ],
)
def test_code_that_mlflow_runs_is_named(old: str, new: str, told: str) -> None:
    assert found("m/MLmodel", MLMODEL.encode()) is None
    assert found("m/MLmodel", MLMODEL.replace(old, new).encode()) == told
    assert found("notes.yaml", MLMODEL.replace(old, new).encode()) is None


def test_what_hydra_would_call_is_named() -> None:
    text = "optim:\n  _target_: torch.optim.AdamW\nx: {_target_: pathlib.Path}\n"
    assert found("model_config.yaml", text.encode()) is None
    for target in ("os.system", "subprocess.Popen", "builtins.exec"):
        assert found("model_config.yaml", f"{text}y:\n  '_target_': {target}\n".encode()) == target


# --- in archives ----------------------------------------------------------------------------------
def packed(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tarred:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tarred.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("config.json", b'{"auto_map": {"AutoModel": "m.Model"}}', "m.Model, in config.json"),
        ("1/saved_model.pb", saved(graph(node("x", "PyFunc"))), ", in 1/saved_model.pb"),
        ("m.h5", HDF5["variable"], f"{LAMBDA}, in m.h5"),
        (
            "m.keras",
            archive(json.dumps(layer("Lambda")).encode()),
            f"{LAMBDA}, in m.keras > config.json",
        ),
    ],
)
def test_rule_34_code_in_an_archive_is_code(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    (tmp_path / "model.tar.gz").write_bytes(packed(name, data))
    inspected = stage.inspect(tmp_path, "directory", ["model.tar.gz"])
    assert inspected.remote_code["model.tar.gz"].endswith(told)


def test_an_archive_of_keras_is_one_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(archive(json.dumps(layer("Lambda")).encode()))
    inspected = stage.inspect(tmp_path, "directory", ["blob"])
    assert inspected.remote_code == {"blob": f"{LAMBDA}, in config.json"}


def test_rule_39_a_base_that_a_file_in_an_archive_names_is_claimed(tmp_path: Path) -> None:
    adapter = b'{"base_model_name_or_path": "../tuned-1"}'
    (tmp_path / "model.tar.gz").write_bytes(packed("adapter_config.json", adapter))
    (claim,) = stage.inspect(tmp_path, "directory", ["model.tar.gz"]).claims
    assert (claim.file, claim.base) == ("model.tar.gz > adapter_config.json", "../tuned-1")


def test_rule_38_a_pointer_in_an_archive_stands_for_a_file_all_the_same(tmp_path: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064d}\nsize 4976\n"
    (tmp_path / "model.tar.gz").write_bytes(packed("w.safetensors", pointer.encode()))
    with pytest.raises(VerificationFailed) as caught:
        stage.inspect(tmp_path, "directory", ["model.tar.gz"])
    assert caught.value.reason == "lfs-pointer"
    assert caught.value.what.startswith("model.tar.gz: 'w.safetensors' is a pointer of Git LFS")
    (tmp_path / "model.tar.gz").write_bytes(packed("empty.npy", b""))
    stage.inspect(tmp_path, "directory", ["model.tar.gz"])


# --- the model ------------------------------------------------------------------------------------
def test_rule_34_what_a_model_brings_is_counted_by_file(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(saved(graph(node("x", "EagerPyFunc"))))
    (tmp_path / "model.keras").write_bytes(archive(json.dumps(model(layer("Lambda"))).encode()))
    (tmp_path / "plain.keras").write_bytes(archive(json.dumps(model(DENSE)).encode()))
    names = ["model.keras", "plain.keras", "saved_model.pb"]
    inspected = stage.inspect(tmp_path, "directory", names)
    assert inspected.remote_code == {
        "model.keras": LAMBDA,
        "saved_model.pb": "the operation EagerPyFunc (node x)",
    }
