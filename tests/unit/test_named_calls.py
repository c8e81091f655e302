"""RULES 34: what settings name for a library to call, in whatever spelling its reader takes."""

from __future__ import annotations

import json

import pytest
import yaml

from sovgate.formats import calls, remotecode, settings
from sovgate.formats.tensors import BytesSource


def found(name: str, data: bytes) -> str | None:
    return remotecode.find(name, BytesSource(data), data[: 64 * 1024])


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


def test_deep_or_endless_yaml_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("a.yaml", b"_target_: " + b"[" * 100_000) == settings.UNREAD
    monkeypatch.setattr(settings, "MAX_EVENTS", 10)
    assert found("a.yaml", b"_target_: pathlib.Path\nx: [1,2,3,4,5,6,7,8]") == settings.UNREAD
