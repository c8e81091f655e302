"""Models of several folders, and adapters: which component of one lacks its folder or its weights.

Pipelines of diffusers, models of sentence-transformers, adapters of PEFT and MLX. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sovgate.formats.folders import Here, Lack, Needs, inner, is_below, loaded, objects

_WITHOUT = "a program that loads the model stops there, or makes numbers up"
_HUB = "download it again with all its folders: hf download ORG/NAME --local-dir MODEL"
#: Classes of components that are settings and vocabularies alone.
_NO_WEIGHTS = re.compile(
    r"Tokeniz|(?:Scheduler|Processor|ProcessorFast|Extractor|Mel|Guidance|Guider|Config)$"
)
#: What an export for inference leaves out.
_OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
#: What earlier versions of diffusers wrote beside `model_index.json` itself, by the class.
_ROOT_SETTINGS = ("scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
#: Modules of sentence-transformers that have files, and those that have weights.
_WEIGHED = frozenset(
    {
        *("Transformer", "MLMTransformer", "CLIPModel", "CLIPTextModel", "Dense", "LayerNorm"),
        *("LSTM", "CNN", "WordEmbeddings", "WeightedLayerPooling", "StaticEmbedding"),
    }
)
_SETTLED = _WEIGHED | {"Pooling", "SpladePooling", "SparseStaticEmbedding", "Router", "Asym"}
_SETTLED |= {"BoW", "WordWeights", "Dropout"}
#: And those that are read from a file of settings of that very name.
_CONFIGURED = frozenset({"Pooling", "Dense"})


def diffusers(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """`model_index.json`: component -> [library, class]; [null, null] is none."""
    top = inner({"top": loaded(data)}, "top")
    if not isinstance(top.get("_class_name"), str):
        return
    components = {
        name: (value[0], value[1])
        for name, value in top.items()
        if isinstance(value, list)
        and len(value) == 2
        and all(isinstance(one, str) for one in value)
        and not name.startswith("_")
        and is_below(name)
    }
    exports = here.folders.exports
    exported = any(here.at(name) in exports for name in (*components, "vae_decoder"))
    for name, (library, kind) in components.items():
        if exported and here.at(name) not in here.folders.there and _left_out(here, name):
            continue
        if lack := _component(here, name, str(library), str(kind)):
            yield lack


def _left_out(here: Here, name: str) -> bool:
    """Of an export: what it has no use for, and a component that became two."""
    halves = (f"{name}_encoder", f"{name}_decoder")
    return name in _OPTIONAL or any(here.at(half) in here.folders.there for half in halves)


def _component(here: Here, name: str, library: str, kind: str) -> Lack | None:
    folder, plain = here.at(name), _NO_WEIGHTS.search(kind) is not None
    shown = f"{name[:80]!r} ({kind[:80]})"
    fix = f"{_HUB}; if it is loaded without it, set {name[:80]!r} to [null, null]"
    if folder not in here.folders.there:
        # Pipelines of one component have it right beside the settings.
        if any(map(here.has, _ROOT_SETTINGS)) if plain else _whole(here, here.folder):
            return None
        return Lack(
            what=f"names the component {shown}, and there is no folder {folder[:160]!r}",
            why=_WITHOUT,
            fix=fix,
        )
    settings = f"{folder}/config.json"
    own_code = here.has(f"{library}.py") or here.has(f"{name}/{library}.py")
    if plain or (own_code and settings not in here.folders.files):
        return None
    if folder not in here.folders.weights_below:
        return Lack(
            what=f"names the component {shown}, and no weights lie in {folder[:160]!r}",
            why=_WITHOUT,
            fix=fix,
        )
    standard = library in ("diffusers", "transformers")
    bare = folder in here.folders.weights and folder not in here.folders.exports
    if standard and bare and settings not in here.folders.files:
        return Lack(
            what=f"names the component {shown}, and {settings[:160]!r} is not there",
            why="without its settings nobody can load its weights",
            fix=fix,
        )
    return None


def _whole(here: Here, folder: str) -> bool:
    return folder in here.folders.weights and here.has("config.json")


def sentence_transformers(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """`modules.json`: a list of {path, type}; the path "" is the folder itself."""
    for one in objects(loaded(data)):
        path, kind = one.get("path"), one.get("type")
        if isinstance(path, str) and isinstance(kind, str) and "idx" in one:
            yield from _module(here, path, kind)


def sentence_router(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """`router_config.json`: the folders of the modules for each kind of text."""
    for path, kind in inner(loaded(data), "types").items():
        if isinstance(kind, str):
            yield from _module(here, path, kind)


def _module(here: Here, path: str, kind: str) -> Iterator[Lack]:
    path = path.removeprefix("./").rstrip("/")
    path = "" if path == "." else path
    if path and not is_below(path):
        return
    folder, shown = here.at(path), f"the module {path[:80]!r} ({kind.rpartition('.')[2][:80]})"
    library, name = kind.partition(".")[0], kind.rpartition(".")[2]
    if folder not in here.folders.there:
        # Nobody's copy has the empty folder of one that has neither settings nor weights.
        if name in _SETTLED or (library == "sentence_transformers" and name != "Normalize"):
            yield Lack(
                what=f"names {shown}, and there is no folder {folder[:160]!r}",
                why="without it the model gives other numbers, or none",
                fix=_HUB,
            )
        return
    settings = f"{folder}/config.json"
    if path and name in _CONFIGURED and settings not in here.folders.files:
        yield Lack(
            what=f"names {shown}, and {settings[:160]!r} is not there",
            why="without its settings nobody can load it",
            fix=_HUB,
        )
    whole = folder in here.folders.weights or folder in here.folders.other_formats
    if name in _WEIGHED and not whole:
        where = f"in {folder[:160]!r}" if path else "beside it"
        yield Lack(
            what=f"names {shown}, and no weights lie {where}",
            why=_WITHOUT,
            fix=_HUB,
        )


def adapter(data: bytes, here: Here) -> Iterator[Needs | Lack]:
    """`adapter_config.json`: its weights lie beside it, or in what distributed training wrote."""
    if here.weights() or here.folder in here.folders.trained:
        return
    if isinstance(loaded(data), dict):
        yield Lack(
            what=f"is of an adapter, and {here.at('adapter_model.safetensors')[:160]!r} is not "
            "there, nor other weights beside it",
            why="the adapter's numbers lie there",
            fix="save it again: model.save_pretrained(FOLDER); or download it again: hf download "
            "ORG/NAME --local-dir MODEL",
        )
