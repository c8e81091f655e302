"""The folders of a model by the names of its files, and what settings ask of them. No I/O.

Each question takes the same short time, whatever settings ask: they are hostile, and may ask often.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import check_name
from sovgate.formats import parts
from sovgate.formats.endings import WEIGHTS
from sovgate.formats.standins import OTHER_FORMAT

MAX_FILE = 64 * 1024 * 1024
#: Endings of what a program loads as weights, beside those that hold them in one well-known form.
_LOADED = WEIGHTS - {"model", "spm", "parquet", "arrow"} | {
    *("neuron", "ort", "mnn", "pte", "nemo", "distcp", "mindir", "om", "trt", "blob", "hef", "dlc"),
    *("weights", "caffemodel", "pdmodel", "pdopt", "mlmodelc", "torchscript", "rten", "task"),
    *("data", "onnx_data", "onnx_adapter", "litertlm", "espresso", "llamafile"),
}
#: Such files beside weights that are none of the model's.
_NO_WEIGHTS = re.compile(
    r"tokeniz|vocab|sentencepiece|spiece|optimizer|scheduler|rng_state|random_states|training_args"
    r"|(?:^|[-_.])scaler|imatrix",
    re.IGNORECASE,
)
#: Files beside a model that have no ending, or one of vocabularies, notes and signatures.
_TEXTS = re.compile(
    r"[A-Z][A-Z_-]*|\.git[a-z]*|.*\.(?:model|spm|tiktoken|vocab|bpe|jinja|jinja2|sig|asc|sha256|md5)",
    re.ASCII | re.DOTALL,
)
#: What a program for inference alone makes of a model, folder by folder.
_EXPORTED = frozenset({"onnx", "neuron", "trt", "engine"})


class Folders:
    """Which folders there are; which hold weights, right in them or below, or an export.

    `alone` is the name of a model that is one file.
    """

    def __init__(self, names: Iterable[str], *, alone: str | None = None) -> None:
        self.alone = alone
        self.files = frozenset(names if alone is None else [alone])
        self.there: set[str] = {""}
        self.weights: set[str] = set()
        self.weights_below: set[str] = set()
        self.exports: set[str] = set()
        self.trained: set[str] = set()
        self.endings: set[tuple[str, str]] = set()
        found: dict[str, list[str]] = {}
        for name in self.files:
            folder, _, base = name.rpartition("/")
            found.setdefault(folder, []).append(base)
        for folder, bases in found.items():
            self._add(folder, bases)

    def _add(self, folder: str, bases: Sequence[str]) -> None:
        above = [folder, *_above(folder)]
        self.there.update(above)
        for base in bases:
            ending = base.lower().rpartition(".")[2]
            self.endings.add((folder, ending))
            if ending in _LOADED and not _NO_WEIGHTS.search(base):
                self.weights.add(folder)
            if ending in _EXPORTED or (ending == "xml" and base.startswith("openvino_")):
                self.exports.add(folder)
            if base.endswith((".distcp", "_model_states.pt")):
                self.trained.update(above)
        if folder in self.weights:
            self.weights_below.update(above)

    @cached_property
    def without_weights(self) -> bool:
        """Whether all that there is are texts, pictures, settings and vocabularies."""
        return all(
            parts.is_other(name) or _TEXTS.fullmatch(name.rpartition("/")[2]) is not None
            for name in self.files
        )

    @cached_property
    def other_formats(self) -> frozenset[str]:
        """Folders that have the model in another format in a folder of its own: `onnx/`, say."""
        return frozenset(
            path.rpartition("/")[0]
            for path in self.weights_below
            if path and OTHER_FORMAT.fullmatch(path.rpartition("/")[2])
        )


def _above(folder: str) -> Iterator[str]:
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


@dataclass(frozen=True, kw_only=True)
class Here:
    """The folder in which a file of settings lies. `name` is the file's own."""

    name: str
    folders: Folders

    @property
    def base(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]

    def at(self, path: str) -> str:
        """A path below it, from the model's root."""
        return f"{self.folder}/{path}".lstrip("/") if path else self.folder

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.at(path) in self.folders.files

    def weights(self, folder: str = "") -> bool:
        """Whether weights lie right in a folder."""
        return self.at(folder) in self.folders.weights


@dataclass(frozen=True, kw_only=True)
class Needs:
    """A file or a folder that settings name: `path` from the model's root; `size` at least."""

    path: str
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Lack:
    """Something that settings ask for and the folder lacks. `what` completes "'NAME' …"."""

    what: str
    why: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Promised:
    """What settings name, and the first thing that they ask for otherwise, and lack."""

    needs: tuple[Needs, ...] = ()
    lack: Lack | None = None

    @classmethod
    def of(cls, paths: Iterable[str]) -> Promised:
        return cls(needs=tuple(Needs(path=path) for path in paths))


def is_below(path: str) -> bool:
    """An address, or a path elsewhere, is nothing that a copy of the model could lack."""
    try:
        check_name(path)
    except VerificationFailed:
        return False
    return True


def named(folder: Here, paths: Iterable[object], *, size: int = 0) -> Iterator[Needs]:
    """Those of the values that are paths below the folder of the settings."""
    for path in paths:
        if isinstance(path, str) and is_below(path.removeprefix("./")):
            yield Needs(path=folder.at(path.removeprefix("./")), size=size)


def loaded(data: bytes) -> strict.JSON:
    """JSON as Python's own reader takes it, bounded; None where it is none."""
    try:
        return strict.loads(
            data.removeprefix(b"\xef\xbb\xbf"), max_bytes=MAX_FILE, any_number=True, lenient=True
        )
    except Malformed:
        return None


def objects(value: object) -> Iterator[Mapping[str, object]]:
    """The objects of a list."""
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def inner(value: object, *keys: str) -> Mapping[str, object]:
    """An object in objects; an empty one where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def values(value: object) -> list[object]:
    """A list, or an empty one for anything else."""
    return value if isinstance(value, list) else []
