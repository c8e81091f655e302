"""Which of a model's files bring Python of the model's own, or ask a library to run it. No I/O.

`trust_remote_code` of transformers and its like run what `auto_map` or `custom_pipelines` names: a
file of the model, or of another one on the hub. Diffusers takes classes of a pipeline from files
beside it, and Sentence Transformers its modules. Keras keeps bytecode in Lambda layers, and a graph
of TensorFlow can call Python. It is the same risk as a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Protocol

from sovgate.formats import archives, hdf5, keras, served, settings, tfgraph
from sovgate.formats.secrets import utf8

#: Of files of settings. What is larger is not read, and counts.
MAX_FILE = 16 * 1024 * 1024
#: Under these names, anywhere in a file of settings, stands what is to be run.
KEYS = frozenset({"auto_map", "custom_pipelines"})
_MAX_TEXT = 200
#: Where PEFT imports the class of the base from; code of a hub lies in `transformers_modules`.
_LIBRARY, _HUB_CODE = "parent_library", "transformers_modules"
#: The parts of a pipeline of diffusers, and of a model of Sentence Transformers.
_PIPELINE, _MODULES = "model_index.json", "modules.json"
#: Where their own modules are: what is named from there is installed code.
_INSTALLED = ("diffusers", "transformers", "sentence_transformers")
_PROGRAMS = """
    asyncio code codeop ctypes importlib marshal multiprocessing nt os pdb pickle posix profile pty
    pydoc runpy shelve shutil socket subprocess timeit trace webbrowser
"""
_RUNS = frozenset(_PROGRAMS.split())
_TOO_LARGE = "settings that are too large to be read"
_ZIP = (b"PK\3\4", b"PK\5\6")


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


def may_bring(name: str, head: bytes) -> bool:
    """Whether a file that is called and begins so, in an archive, is looked into.

    Archives in it are opened by whoever opened that one.
    """
    base = name.rpartition("/")[2].lower()
    endings = (".json", ".h5", ".hdf5", ".yaml", ".yml")
    named = base == "mlmodel" or base.endswith(endings) or tfgraph.is_graph(base)
    keras_file = base.endswith(".keras") and not head.startswith(_ZIP)
    return named or keras_file or head.startswith(hdf5.SIGNATURE) or served.may_ask(name)


def find(name: str, source: Bytes, head: bytes, names: Collection[str] = ()) -> str | None:
    """What a file brings or asks for, or None. `head` is its beginning; `names` as in `asked`.

    Raises Malformed where the file changes underneath.
    """
    if found := served.find(name, source, archived=not names):
        return found
    base = name.rpartition("/")[2].lower()
    if base.endswith(".json"):
        return _in_json(name, source, names)
    if base == "mlmodel" or base.endswith((".yaml", ".yml")):
        return _in_yaml(base, source)
    if base.endswith(".keras") and not head.startswith(hdf5.SIGNATURE):
        return _in_archive(source, names)
    if head.startswith(hdf5.SIGNATURE) or base.endswith((".h5", ".hdf5")):
        return _in_hdf5(source)
    return tfgraph.asked(name, source) if tfgraph.is_graph(name) else None


def _in_json(name: str, source: Bytes, names: Collection[str]) -> str | None:
    if source.size > MAX_FILE:
        named = is_settings(name) or _may_name(source, yaml=False)
        return _TOO_LARGE if named else keras.find(source)
    data = source.read(0, source.size)
    found = asked(data, name, names) if is_settings(name) else None
    return found or keras.asked(data) or _joined(settings.of_json(utf8(data)))


def _in_yaml(base: str, source: Bytes) -> str | None:
    """What MLflow, hydra and others would run."""
    if source.size > MAX_FILE:
        return _TOO_LARGE if base == "mlmodel" or _may_name(source, yaml=True) else None
    data = utf8(source.read(0, source.size))
    return _joined(settings.of_yaml(data, mlflow=base == "mlmodel"))


def _may_name(source: Bytes, *, yaml: bool) -> bool:
    windows = (data for data, _ in keras.windows(source, keras.OVERLAP))
    return settings.is_worth_reading(windows, yaml=yaml)


def _joined(found: list[str]) -> str | None:
    return ", ".join(found)[:_MAX_TEXT] or None


def _in_archive(source: Bytes, names: Collection[str]) -> str | None:
    """`config.json` of a `.keras` file. What is no archive, no Keras loads."""
    try:
        data = archives.read(source, "config.json", hdf5.MAX_VALUE)
    except ValueError:
        if source.read(0, min(source.size, 4)) in _ZIP:
            return "settings in an archive, which cannot be read"
        return _in_hdf5(source)
    return keras.asked(data) if data else None


def _in_hdf5(source: Bytes) -> str | None:
    begin = hdf5.start(source)
    if begin is None:
        return None
    try:
        values = hdf5.attributes(source, begin, keras.ATTRIBUTE)
    except hdf5.UnreadableError:
        return "settings in HDF5, which cannot be read"
    return next((found for found in map(keras.asked, values) if found), None)


def is_settings(name: str) -> bool:
    """Files in which libraries look for such names: config.json, tokenizer_config.json, …"""
    last = name.rpartition("/")[2].lower()
    return last.endswith("config.json") or last in (_PIPELINE, _MODULES)


def asked(data: bytes, name: str = "config.json", names: Collection[str] = ()) -> str | None:
    """What it asks for, e.g. "modeling_x.Model", or None. Where it is no JSON, its words decide.

    `names` are all files of the model: a part of a pipeline that bears the name of one of its
    Python files is taken from there.
    """
    found: list[object] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found.extend(value for key, value in items if key in KEYS and value)
        found.extend(value for key, value in items if key == _LIBRARY and _is_own(value))
        return dict(items)

    try:
        whole = json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        last = name.rpartition("/")[2].lower()
        bad = last in (_PIPELINE, _MODULES) or any(key.encode() in data for key in KEYS)
        return "code of its own" if bad else None
    found += _parts(whole, name, names)
    texts = sorted(set(_texts(found)))
    return ", ".join(texts)[:_MAX_TEXT] or "code of its own" if found else None


def _parts(whole: object, name: str, names: Collection[str]) -> list[object]:
    """The classes that a pipeline, or a list of modules, takes from files of the model."""
    last = name.rpartition("/")[2].lower()
    if last == _MODULES and isinstance(whole, list):
        kinds = [one.get("type") if isinstance(one, dict) else one for one in whole]
        return [kind for kind in kinds if not _installed(kind)]
    if last != _PIPELINE or not isinstance(whole, dict):
        return []
    own = {one.rpartition("/")[2].removesuffix(".py") for one in names if one.endswith(".py")}
    found: list[object] = []
    for key, value in whole.items():
        if not isinstance(value, list) or not value or value[0] is None:
            continue
        module = str(value[0])
        if key == "_class_name" or (not _installed(module) and module.split(".")[0] in own):
            found.append(".".join(str(part) for part in value))
    if "pipeline" in own:  # what `custom_pipeline` with the model's own folder runs
        found.append("pipeline.py")
    return found


def _is_own(library: object) -> bool:
    root = library.split(".")[0] if isinstance(library, str) else ""
    return root == _HUB_CODE or root in _RUNS


def _installed(module: object) -> bool:
    return isinstance(module, str) and module.split(".")[0] in _INSTALLED


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if "." in value else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
