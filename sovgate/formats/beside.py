"""Settings that name the files beside them, and one reader for each of their formats. No I/O.

What settings promise and a folder lacks makes a model incomplete (RULES 38). Readers never raise:
what they cannot read promises nothing, and other checks refuse it. A format is one line of
`_TABLE`: how its file is called, and who reads it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

from sovgate import strict
from sovgate.errors import ConfigError, VerificationFailed
from sovgate.formats import components
from sovgate.formats.folders import (
    Folders,
    Here,
    Lack,
    Needs,
    Promised,
    inner,
    is_below,
    loaded,
    named,
    objects,
    values,
)

#: Parts that a number can ask for. A larger number is that of no machine.
_MAX_RANKS = 10_000
_CHECKPOINT_PATH = re.compile(
    rb"^[ \t]*(?:all_model_checkpoint_paths|model_checkpoint_path)[ \t]*:[ \t]*"
    rb"(\"[^\"\n]{1,4096}\"|'[^'\n]{1,4096}')",
    re.MULTILINE,
)
_BLOB = re.compile(rb"\"@model_path/([\x21-\x7e]{1,512}?)\"")
_DISTCP = re.compile(rb"__[0-9]{1,9}_[0-9]{1,9}\.distcp")
#: Keys of ONNX Runtime GenAI that name a file.
_GENAI = ("filename", "adapter_filename", "config_filename")
_STEP = re.compile(rb"\s*(global_step[0-9]{1,12})\s*")
_ITERATION = re.compile(rb"\s*([0-9]{1,12}|release)\s*")
_SYMBOL = re.compile(r"-symbol\.json\Z")


Reader = Callable[[bytes, Here], Iterator[Needs | Lack]]


def reader(name: str) -> Reader | None:
    """Who reads a file of that name, or None."""
    base = name.rpartition("/")[2]
    return next((read for pattern, read in _TABLE if pattern.fullmatch(base)), None)


def read(name: str, data: bytes, read_: Reader, folders: Folders) -> Promised:
    """What the settings `name` promise of the files of the model. Never raises."""
    needs: dict[str, Needs] = {}
    for one in read_(data, Here(name=name, folders=folders)):
        if isinstance(one, Lack):
            return Promised(needs=tuple(needs.values()), lack=one)
        needs[one.path] = one
    return Promised(needs=tuple(needs.values()))


# --- readers --------------------------------------------------------------------------------------
def _tensorflow_js(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """`model.json`, and `weights_manifest.json` as it was before."""
    top = loaded(data)
    groups = top.get("weightsManifest") if isinstance(top, dict) else top
    for one in objects(groups):
        paths = one.get("paths") if "weights" in one else None
        yield from named(here, values(paths))


def _core_ml(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    items = inner(loaded(data), "itemInfoEntries").values()
    paths = (f"Data/{one.get('path')}" for one in items if isinstance(one, dict) and "path" in one)
    yield from named(here, paths)


def _core_ml_program(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """What a compiled model of Core ML reads its constants from."""
    yield from named(here, (path.decode() for path in _BLOB.findall(data)))


def _mlc(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """TVM and MLC-LLM: each record is a file of so many bytes."""
    for one in objects(inner({"top": loaded(data)}, "top").get("records")):
        size = one.get("nbytes")
        whole = size if type(size) is int and 0 < size <= strict.MAX_INT else 0
        yield from named(here, [one.get("dataPath")], size=whole)


def _mlc_chat(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    if not isinstance(top := loaded(data), dict):
        return
    yield from named(here, values(top.get("tokenizer_files")))
    if not any(map(here.has, ("ndarray-cache.json", "tensor-cache.json"))) and not here.weights():
        yield Lack(
            what="is of a model of MLC, and neither 'tensor-cache.json' nor 'ndarray-cache.json' "
            "lies beside it",
            why="they say in which files the weights lie, and there are none",
            fix="write the weights into the same folder: mlc_llm convert_weight; or download it "
            "again",
        )


def _onnx_genai(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """Each graph, at any depth: decoder, encoder, vision, and the stages of a pipeline."""
    waiting: list[object] = [inner(loaded(data), "model")]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            yield from named(here, (one.get(key) for key in _GENAI))


def _config(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """Of TensorRT-LLM one file for each rank: of a checkpoint in safetensors, or built engines. Of
    transformers any weights at all."""
    top = loaded(data)
    engine = inner(top, "pretrained_config", "mapping")
    world = (engine or inner(top, "mapping")).get("world_size")
    if type(world) is int and world > 0:
        ending = "engine" if engine else "safetensors"
        for rank in range(min(world, _MAX_RANKS)):
            yield Needs(path=here.at(f"rank{rank}.{ending}"))
    kinds = values(inner({"top": top}, "top").get("architectures"))
    if kinds and isinstance(kinds[0], str) and not here.folder and here.folders.without_weights:
        yield Lack(
            what=f"is of a model ({kinds[0][:80]}), and no weights lie in the folder",
            why="the numbers of the model are in no file",
            fix="save it again: model.save_pretrained(FOLDER); or download it again: hf download "
            "ORG/NAME --local-dir MODEL",
        )


def _keras(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """A model of Keras as a folder: an archive `.keras` that was unpacked, or a preset."""
    told = "keras_version" in inner({"top": loaded(data)}, "top")
    if told and here.has("config.json") and not here.weights():
        yield Lack(
            what=f"is of a model of Keras, and {here.at('model.weights.h5')[:160]!r} is not there",
            why="the numbers of the model lie in it",
            fix="copy the whole folder, or save the model again: model.save('NAME.keras')",
        )


def _tensorflow(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """The list of TensorFlow's checkpoints. Most are elsewhere: older ones were removed, and the
    paths are those of the machine that trained. What there is something of has to be whole."""
    for match in _CHECKPOINT_PATH.finditer(data):
        path = match.group(1)[1:-1].decode("utf-8", "replace").removeprefix("./")
        path = path.rpartition("/")[2] if path.startswith("/") else path
        if not is_below(path) or not here.has(f"{path}.meta"):
            continue
        if not here.has(f"{path}.index") and not here.has(path):
            index = here.at(f"{path}.index")
            yield Lack(
                what=f"names a checkpoint, of which {index[:160]!r} is not there",
                why="without it nobody finds the numbers of the model",
                fix="copy all of its files from where it was saved: "
                f"cp {shlex.quote(path[:160])}.* MODEL/",
            )


def _torch(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """`.metadata` of torch.distributed.checkpoint, a pickle. Ranks may write no file, or several:
    those that it names are the ones that there are."""
    names = (name.decode() for name in dict.fromkeys(_DISTCP.findall(data)))
    yield from named(here, names)


def _deepspeed(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """The folder of the newest state. Who keeps the weights beside it has taken out the rest."""
    match = _STEP.fullmatch(data[:100])
    if match and not here.weights():
        yield Needs(path=here.at(match.group(1).decode()))


def _megatron(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    match = _ITERATION.fullmatch(data[:100])
    if match and not here.weights():
        told = match.group(1).decode()
        names = [told]
        if told.isdecimal():  # the second is how verl calls the folder
            names = [f"iter_{int(told):07d}", f"global_step_{int(told)}"]
        if not any(here.at(name) in here.folders.there for name in names):
            yield Needs(path=here.at(names[0]))


def _mxnet(_: bytes, here: Here) -> Iterator[Needs | Lack]:
    if not here.weights():
        stem = _SYMBOL.sub("", here.base)
        yield Lack(
            what=f"is the graph of a model of MXNet, and {f'{stem}-0000.params'[:160]!r} is not "
            "there",
            why="the numbers of the model lie in it",
            fix="copy the whole folder, or download or save the model again",
        )


def _mlflow(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    for name, one in inner(_yaml(data), "flavors").items():
        if name != "paddle" and isinstance(one, dict):  # Paddle has the beginning of two names
            keys = ("data", "model_data", "pickled_model", "python_model")
            yield from named(here, (one.get(key) for key in keys))


def _espnet(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    top = _yaml(data)
    if inner(top, "files") and inner(top, "yaml_files"):
        for key in ("files", "yaml_files"):
            yield from named(here, inner(top, key).values())


def _yaml(data: bytes) -> object:
    from sovgate.formats.yaml12 import load

    try:
        return load(data, "settings").value
    except (ConfigError, VerificationFailed):
        return None


_ASCII = re.ASCII | re.DOTALL
#: How a file of settings is called, and who reads it.
_TABLE: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (re.compile(r".*model\.json|.*weights_manifest\.json", _ASCII), _tensorflow_js),
    (re.compile(r"Manifest\.json", _ASCII), _core_ml),
    (re.compile(r".*\.mil", _ASCII), _core_ml_program),
    (re.compile(r"model_index\.json", _ASCII), components.diffusers),
    (re.compile(r"modules\.json", _ASCII), components.sentence_transformers),
    (re.compile(r"metadata\.json", _ASCII), _keras),
    (re.compile(r"router_config\.json", _ASCII), components.sentence_router),
    (re.compile(r"adapter_config\.json", _ASCII), components.adapter),
    (re.compile(r"(?:ndarray|tensor)-cache(?:-[a-z0-9]{1,16})?\.json", _ASCII), _mlc),
    (re.compile(r"mlc-chat-config\.json", _ASCII), _mlc_chat),
    (re.compile(r"genai_config\.json", _ASCII), _onnx_genai),
    (re.compile(r"config\.json", _ASCII), _config),
    (re.compile(r"checkpoint", _ASCII), _tensorflow),
    (re.compile(r"(?:__[0-9]+)?\.metadata", _ASCII), _torch),
    (re.compile(r"latest", _ASCII), _deepspeed),
    (re.compile(r"latest_checkpointed_iteration\.txt", _ASCII), _megatron),
    (re.compile(r".*-symbol\.json", _ASCII), _mxnet),
    (re.compile(r"MLmodel", _ASCII), _mlflow),
    (re.compile(r"meta\.yaml", _ASCII), _espnet),
)
