"""RULES 34: what settings name for a library to call, in whatever spelling its reader takes."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import zlib

import pytest
import yaml

from sovgate.formats import calls, remotecode, settings
from sovgate.formats.tensors import BytesSource
from tests.effort import effort


def found(name: str, data: bytes) -> str | None:
    return remotecode.find(name, BytesSource(data), data[: 64 * 1024])


#: More than is followed, and no more than a loader takes.
DEEP = "x: " + "[" * 101 + "]" * 101 + "\n"
SPELLED = [
    "_target_: os.system",
    "_target_:\n  os.system",
    "_target_: !!str os.system",
    "a: &a os.system\nb: {_target_: *a}",
    "_target_: &a os.system",
    "_target_: >-\n  os.system",
    '"\\x5ftarget_": os.system',
    '"_\\u0074arget_": "os.\\x73ystem"',
    '? "_tar\\\n  get_"\n: os.system',
    "? !!str _target_\n: os.system",
    "&k _target_: pathlib.Path\nb: {*k : os.system}",
    "base: &b {_target_: os.system}\nx:\n  <<: *b",
    "- [{_target_: os.system}]",
    "%YAML 1.1\n---\n_target_: os.system",
    '{"_target_": "os.system"}',
]


@pytest.mark.parametrize("text", SPELLED)
def test_rule_34_no_spelling_of_yaml_hides_what_is_called(text: str) -> None:
    assert "os.system" in str(yaml.safe_load(text))  # its real reader gets it
    told = found("model_config.yaml", text.encode()) or ""
    assert told.split(", ")[-1] == "os.system"
    assert found("model_config.yml", text.encode("utf-16")) == told


CALLED = """
    cProfile.run joblib.load numpy.f2py.crackfortran.myeval posix.system builtins.eval
    torch.load torch.hub.load torch.os.system torch.utils.cpp_extension.load_inline
    torch.nn.functional.importlib.import_module transformers.dynamic_module_utils.get_class
    hydra.utils.get_method lightning.os.system numpy.load pandas.read_pickle mine.models.Net
    numpy.testing.runstring torch.nn.Linear.__init__.__globals__ monai.bundle.run operator.call
"""
HARMLESS = """
    torch.optim.AdamW torch.nn.Linear torch.float16 torch.utils.data.DataLoader pathlib.Path
    torch.optim.lr_scheduler.ReduceLROnPlateau torch.nn.functional.gelu torch.manual_seed
    torchvision.models.resnet50 torchmetrics.Accuracy torchaudio.transforms.MelSpectrogram
    lightning.pytorch.callbacks.ModelCheckpoint pytorch_lightning.loggers.wandb.WandbLogger
    nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor
    nemo.collections.asr.models.EncDecCTCModelBPE nemo.core.optim.lr_scheduler.CosineAnnealing
    nemo.collections.common.tokenizers.AutoTokenizer megatron.core.optimizer.OptimizerConfig
    diffusers.AutoencoderKL transformers.AutoTokenizer.from_pretrained timm.create_model
    sam2.modeling.backbones.hieradet.Hiera monai.networks.nets.UNet builtins.dict functools.partial
    collections.OrderedDict speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN numpy.random.default_rng
    torch.random.manual_seed sklearn.preprocessing.StandardScaler optuna.samplers.TPESampler
"""


def test_what_is_called_is_held_against_a_list_of_what_is_harmless() -> None:
    for name in CALLED.split():
        assert found("a.yaml", f"_target_: {name}\n".encode()) == name
        assert found("a.json", json.dumps({"x": [{"_target_": name}]}).encode()) == name
    for name in HARMLESS.split():
        assert calls.harmless(name), name
        assert found("a.yaml", f"_target_: {name}\n".encode()) is None
        assert found("a.json", json.dumps({"_target_": name}).encode()) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x: !!python/object/apply:os.system [id]", "!!python/object/apply:os.system"),
        ("x: !!python/object/apply:os%2Esystem [id]", "!!python/object/apply:os.system"),
        (
            "%TAG !p! tag:yaml.org,2002:python/\n---\nx: !p!name:os.system",
            "!!python/name:os.system",
        ),
        ("x: !<tag:yaml.org,2002:python/module:mine>", "!!python/module:mine"),
        ("x: !apply:os.system [id]", "!apply:os.system"),  # HyperPyYAML
        ("x: !new:mine.Model {}", "!new:mine.Model"),
        ("class_path: subprocess.Popen\ninit_args: {args: id}", "subprocess.Popen"),
        ("model: {target: joblib.load, params: {filename: m}}", "joblib.load"),
        ("model: {target: posix.system}", "posix.system"),
        ("_target_: monai.data.Dataset\nx: $import('os').system('id')", "the expression import("),
        ("_target_: ${x}\nx: os.system", "${x}"),
        ("_target_: [os.system]", settings.UNREAD),
        ("_target_: os.system\nx: [", "os.system, settings that cannot be read"),
        ('"\\x5ftarget_": os.system\n\tx: [', settings.UNREAD),
        ("x: !apply:os.system [id]\ny: [", "!apply:os.system, settings that cannot"),
        # What cannot be read hides nothing that stands behind it.
        (DEEP + "y: !apply:os.system [id]", settings.UNREAD),
        (DEEP + "y: !new:mine.Model {}", settings.UNREAD),
        (DEEP + "class_path: subprocess.Popen", settings.UNREAD),
        (DEEP + "y: {target: posix.system}", settings.UNREAD),
        (DEEP + "y: !<tag:yaml.org,2002:python/name:os.system> x", settings.UNREAD),
    ],
)
def test_rule_34_other_ways_to_name_code_in_yaml_count(text: str, told: str) -> None:
    assert (found("hparams.yaml", text.encode()) or "").startswith(told)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/tuple [1, 2]\nb: !!python/object:argparse.Namespace {x: 1}",
        "p: !!python/object/apply:pathlib.PosixPath [a]\nn: !!python/name:torch.nn.ReLU",
        "seed: 1\n__set_seed: !apply:torch.manual_seed [!ref <seed>]\n"
        "model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN\n  channels: [1]\n"
        "act: !name:torch.nn.LeakyReLU\nsave: !ref results/<seed>\nx: !PLACEHOLDER",
        "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
        "    unet_config: {target: torch.nn.Identity}\n    n: 2",
        "target: model.onnx\nhost: {target: example.com}",
        'base: &b {lr: 0.1}\nx: {<<: *b, re: "a\\x20b"}',
        "a: {{ cookiecutter.name }}\nb: c\\d",
        "defaults: [_self_]\noptim: {_target_: torch.optim.AdamW, lr: '${lr}'}\nn: null",
        "_target_: null",
        "price: $import",
        DEEP + "y: target",
        "image: !!binary |\n  R0lGODlhDAAMAIQAAP//9/X17unp5WZmZgAAAOfn515eXvPz7Y6OjuDg4J+fn5OT",
        f"image: !!binary {base64.b64encode(zlib.compress(b'a table' * 9)).decode()}",
        "words: !!binary Y2F0CmRvZwpiaXJkCg==",
    ],
)
def test_what_real_settings_hold_is_no_code(text: str) -> None:
    assert found("hparams.yaml", text.encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        "loader_module:\n  evil",
        '"loader\\x5fmodule": evil',
        "loader_module: !!str evil",
        "loader_module: >-\n  evil",
        "a: &a evil\nloader_module: *a",
        "code: 'null'",
        "code: [evil]",
        "model_code_path: evil.py",
        "x: [",
    ],
)
def test_rule_34_no_spelling_hides_code_of_mlflow(text: str) -> None:
    assert found("m/MLmodel", f"flavors: {{}}\n{text}\n".encode())


def test_a_model_of_mlflow_without_code_is_none() -> None:
    text = (
        "flavors:\n  python_function:\n    code: null\n    env: {conda: conda.yaml}\n"
        "    loader_module: mlflow.transformers\n    model_path: model.pkl\n"
        "  transformers:\n    code: ~\n    transformers_version: 4.44.0\n"
        'signature:\n  inputs: \'[{"type": "string", "name": "code"}]\'\nmodel_size_bytes: 1\n'
    )
    assert found("MLmodel", text.encode()) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"\\u005ftarget_": "os.system"}, "os.system"),
        ({"type": "pyref", "module": "os", "name": "system"}, "os.system"),  # fiddle, for NeMo
        ({"py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["id"]}]}, "os.system"),
        ({"py/object": "subprocess.Popen"}, "subprocess.Popen"),
    ],
)
def test_rule_34_what_json_names_for_a_library_to_call_counts(value: object, told: str) -> None:
    text = json.dumps({"x": value}).replace("\\\\u", "\\u")
    assert told in (found("io.json", text.encode()) or "")


def test_settings_of_nemo_in_json_are_no_code() -> None:
    value = {
        "type": "pyref",
        "module": "nemo.collections.llm.gpt.model.llama",
        "name": "LlamaModel",
    }
    text = json.dumps({"objects": {"a": {"type": value}}})
    assert found("context/io.json", text.encode()) is None


def keras(module: str, name: str) -> bytes:
    function = {"module": module, "class_name": "function", "config": name}
    return json.dumps({"class_name": "Dense", "config": {"activation": function}}).encode()


def test_rule_34_functions_of_keras_are_held_against_a_list() -> None:
    for module, name in (
        ("numpy.f2py.crackfortran", "myeval"),
        ("joblib", "load"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.src.utils.file_utils", "get_file"),
        ("tensorflow.python.ops.script_ops", "py_func"),
    ):
        assert found("config.json", keras(module, name)) == f"{module}.{name}"
    for module, name in (
        ("keras.activations", "relu"),
        ("keras.src.activations.activations", "gelu"),
        ("tf_keras.src.losses", "mse"),
        ("keras.ops", "relu"),
        ("tensorflow.python.ops.nn_ops", "relu"),
        ("builtins", "my_activation"),  # one that was registered
    ):
        assert found("config.json", keras(module, name)) is None


class Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("ran",)


PICKLES = [pickle.dumps(Runs(), protocol) for protocol in range(6)]


@pytest.mark.parametrize(
    "spelled",
    [
        "a: !!binary {}",
        'a: !!binary "{}"',
        "a: !!binary |\n  {}\nb: 1",
        "a: !<tag:yaml.org,2002:binary> {}",
        "%TAG !x! tag:yaml.org,2002:\n---\n- !x!bin%61ry '{}'",
        "? !!binary {}\n: 1",
        "a: &a !!binary {}\nb: *a",
    ],
)
def test_rule_34_a_pickle_in_the_bytes_of_yaml_is_code(spelled: str) -> None:
    for data in (*PICKLES, *(pack(PICKLES[4]) for pack in (zlib.compress, gzip.compress))):
        text = base64.b64encode(data).decode()
        told = found("state.yaml", spelled.format(text).encode())
        assert told == "a pickle in !!binary", (spelled, data)
    broken = (
        spelled.format(f"{text[:9]} {text[9:]}") if "|" not in spelled else spelled.format(text)
    )
    assert "a pickle" in str(found("state.yml", broken.encode()))


def test_rule_34_settings_that_are_too_large_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remotecode, "MAX_FILE", 1000)
    many = {f"word{n}": n for n in range(2000)}
    for value in (
        {"_target_": "os.system"},
        {"class_path": "os.system"},
        {"py/reduce": [{"py/type": "os.system"}]},
        {"target": "os.system"},
        {"type": "pyref", "module": "os", "name": "system"},
    ):
        text = json.dumps({"words": many, "x": value})
        told = [found("io.json", data) for data in (text.encode(), text.encode("utf-16-le"))]
        assert told == ["settings that are too large to be read"] * 2, value
    text = json.dumps({"words": many}) + '{"\\u005ftarget_": "os.system"}'
    assert found("io.json", text.encode()) == "settings that are too large to be read"
    for spelled in ("_target_: os.system", "x: !apply:os.system [id]", "class_path: os.system"):
        text = "\n".join(f"word{n}: {n}" for n in range(2000)) + f"\n{spelled}\n"
        assert found("a.yaml", text.encode()) == "settings that are too large to be read", spelled
    words = dict.fromkeys(("_target_", "class_path", "target", "py/object", "\x7f", "é"), 1)
    for plain in ({**many, **words}, {"merges": [*many, *words]}, {**many, "target": "a label"}):
        assert found("tokenizer.json", json.dumps(plain).encode()) is None
    plain_text = "\n".join(f"word{n}: {n}" for n in range(2000)) + "\ntarget: yes\n"
    assert found("a.yaml", plain_text.encode()) is None


def test_rule_34_json_that_nests_deeper_than_is_followed_cannot_be_told() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for words in (
        '"class_path": "os.system"',
        '"py/object": "os.system"',
        '"\\u005ftarget_": "os.x"',
    ):
        assert found("a.json", f'{{"a": {deep}, {words}}}'.encode()) == settings.UNREAD
    assert found("a.json", b'{"class_path": "os.system"') == settings.UNREAD
    lines = b'{"target": "a.b"}\n{"target": "\\u003cp\\u003e"}\n'
    assert found("data.json", lines) is None


def test_rule_34_what_jsonpickle_calls_is_not_searched_again_and_again() -> None:
    value: object = [0] * 2000
    for _ in range(200):
        value = {"py/reduce": value}
    with effort(most=50_000):
        assert found("a.json", json.dumps(value).encode()) == "py/reduce"


def test_deep_or_endless_yaml_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("a.yaml", b"_target_: " + b"[" * 100_000) == settings.UNREAD
    monkeypatch.setattr(settings, "MAX_EVENTS", 10)
    assert found("a.yaml", b"_target_: pathlib.Path\nx: [1,2,3,4,5,6,7,8]") == settings.UNREAD
