"""What settings may name for a library to call: installed code that does what its settings say.

`_target_` of hydra, tags of YAML, functions of Keras. An allow-list: what is not on it is code,
since any other function may run what it is given. No I/O.
"""

from __future__ import annotations

import re
import sys

#: Frameworks whose classes and functions such settings name.
_ROOTS = frozenset(
    [
        "apex",
        "audiocraft",
        "boltz",
        "cldm",
        "cosyvoice",
        "dac",
        "detectron2",
        "diffusers",
        "einops",
        "encodec",
        "espnet",
        "espnet2",
        "fairseq",
        "fairseq2",
        "flash_attn",
        "flax",
        "fvcore",
        "gluonts",
        "hydra",
        "jax",
        "k_diffusion",
        "keras",
        "keras_cv",
        "keras_hub",
        "keras_nlp",
        "ldm",
        "lightning",
        "lightning_fabric",
        "lightning_utilities",
        "lhotse",
        "matcha",
        "megatron",
        "mmcv",
        "mmdet",
        "mmengine",
        "mmpretrain",
        "mmseg",
        "monai",
        "nemo",
        "nemo_text_processing",
        "omegaconf",
        "open_clip",
        "optax",
        "optuna",
        "peft",
        "pytorch_forecasting",
        "pytorch_lightning",
        "sam2",
        "segmentation_models_pytorch",
        "sentence_transformers",
        "sentencepiece",
        "sgm",
        "sklearn",
        "speechbrain",
        "taming",
        "tf_keras",
        "timm",
        "tokenizers",
        "torch",
        "torch_geometric",
        "torchaudio",
        "torchmetrics",
        "torchtext",
        "torchtune",
        "torchvision",
        "transformer_engine",
        "transformers",
        "trl",
        "vocos",
        "wandb",
        "x_transformers",
        "xformers",
    ]
)
#: What of Python's own library does nothing but make a value.
_PLAIN = frozenset(
    f"{module}.{name}"
    for module, names in {
        "argparse": "Namespace",
        "builtins": "bool bytes complex dict float frozenset int len list max min range round set"
        " slice sorted str sum tuple object",
        "collections": "Counter OrderedDict defaultdict deque",
        "copy": "copy deepcopy",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "functools": "partial",
        "logging": "getLogger",
        "math": "ceil exp floor log log2 prod sqrt",
        "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
        "random": "Random seed",
        "types": "SimpleNamespace",
        "uuid": "UUID",
    }.items()
    for name in names.split()
)
#: Of torch, in which much runs code: what parts of a model are made of.
_TORCH = frozenset(
    [
        "amp",
        "ao",
        "backends",
        "cuda",
        "distributions",
        "fft",
        "linalg",
        "nn",
        "optim",
        "random",
        "signal",
        "special",
    ]
)
_TORCH_UTILS = ("utils.data.", "utils.tensorboard.", "utils.checkpoint.", "distributed.fsdp.")
_NUMPY = frozenset(["_core", "core", "dtypes", "fft", "linalg", "random"])
#: Modules by whose name nothing else is reached than they say.
_HARMLESS = frozenset(
    [
        "collections",
        "json",
        "logging",
        "random",
        "signal",
        "statistics",
        "string",
        "tokenize",
        "types",
    ]
)
#: Within frameworks: what reads code, starts programs, or calls what it is given.
_PARTS = frozenset(
    [
        "bundle",
        "cffi",
        "cli",
        "cloudpickle",
        "collect_env",
        "commands",
        "cpp_extension",
        "dill",
        "distutils",
        "dynamic_module_utils",
        "dynamic_modules_utils",
        "f2py",
        "file_utils",
        "hub",
        "import_utils",
        "joblib",
        "launch",
        "launcher",
        "launchers",
        "package",
        "pexpect",
        "scripts",
        "serialization",
        "test",
        "testing",
        "testing_utils",
    ]
)
_LAST = re.compile(
    r"(?:call|eval|exec|execute|fork|get_class|get_method|get_object|import|instantiate|launch|load"
    r"|loads|open|popen|run|save|shell|spawn|system)(?:_.*)?|.*_(?:pickle|launcher)"
)
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)
#: Where Keras has its functions. Others of it write files, or switch its own care off.
_KERAS = frozenset({"keras", "keras_cv", "keras_hub", "keras_nlp", "tf_keras"})
_KERAS_PARTS = frozenset(
    [
        "activations",
        "constraints",
        "initializers",
        "layers",
        "legacy",
        "losses",
        "metrics",
        "nn",
        "ops",
        "optimizers",
        "random",
        "regularizers",
    ]
)
_TENSORFLOW = re.compile(
    rf"tensorflow\.(?:nn|math|keras\.(?:{'|'.join(sorted(_KERAS_PARTS))})"
    r"|python\.ops\.(?:gen_)?(?:nn|math|array|image|random)_ops)(?:\.\w+)*",
    re.ASCII,
)


def harmless(path: str) -> bool:
    """Whether settings may name this ("torch.optim.AdamW") without asking for code."""
    if path in _PLAIN:
        return True
    if not _PATH.fullmatch(path) or runs(path):
        return False
    root, *rest = path.split(".")
    last = rest[-1]
    private = any(part.startswith("_") and part != "_core" for part in rest)
    if private or _LAST.fullmatch(last) or not _PARTS.isdisjoint(rest):
        return False
    if root == "torch":
        inner = ".".join(rest)
        return len(rest) == 1 or rest[0] in _TORCH or inner.startswith(_TORCH_UTILS)
    if root == "numpy":
        return len(rest) == 1 or rest[0] in _NUMPY
    return root in _ROOTS


def runs(path: str) -> bool:
    """Whether it is of Python's own library, or reached by way of one of its modules."""
    if path in _PLAIN:
        return False
    root, *rest = path.split(".")
    if root in sys.stdlib_module_names or root.startswith("__"):
        return True
    way = any(part in sys.stdlib_module_names and part not in _HARMLESS for part in rest[:-1])
    return way or any(part.startswith("__") for part in rest)


def of_keras(module: str) -> bool:
    """Whether a function of this module is one that a configuration of Keras names."""
    root, *rest = module.split(".")
    if root in _KERAS:
        named = [part for part in rest if part not in ("src", "api", "_tf_keras", "keras")]
        return bool(named) and named[0] in _KERAS_PARTS
    return _TENSORFLOW.fullmatch(module) is not None
