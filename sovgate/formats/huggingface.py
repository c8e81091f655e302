"""Hugging Face's files beside the weights: configurations, shard index, model card. No I/O.

Foreign JSON: fractions, huge integers, NaN and Infinity occur in what its tools write. Bounded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import ConfigError, Malformed, VerificationFailed
from sovgate.files import check_name
from sovgate.formats.endings import WEIGHTS

MAX_CONFIG = 16 * 1024 * 1024
MAX_INDEX = 64 * 1024 * 1024
MAX_CARD = 4 * 1024 * 1024
MAX_FRONT_MATTER = 256 * 1024
MAX_FACTS = 200
MAX_TEXT = 512

#: Files at the model's root, and what their facts are called.
CONFIGS = {
    "config.json": "config",
    "generation_config.json": "generation-config",
    "tokenizer_config.json": "tokenizer-config",
}
#: `model.safetensors.index.json`, and with any ending of weights and any variant behind it; and
#: `model.weights.json`, as Keras calls its own.
_INDEX = re.compile(
    r"(?:.*\.)?index(?:\.[^./]{1,64})?\.json|.+\.weights\.json", re.ASCII | re.DOTALL
)
CARD = "README.md"

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
_FENCE = re.compile(r"---|\+\+\+")
_END = re.compile(r"(?:---|\.\.\.)[ \t]*")
_LINES = re.compile(r"\r\n|\n|\r")
#: By how texts begin that editors of Windows write. UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """`facts` are its scalars as text, nested ones left out. `problem`: what a stricter reader
    than Python's would refuse."""

    architectures: tuple[str, ...]
    model_type: str | None
    facts: Mapping[str, str]
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Tensor name -> file beside the index."""

    weight_map: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Front matter of a model card. `problem`: why something that it says could not be read."""

    licenses: tuple[str, ...] = ()
    license_name: str | None = None
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    task: str | None = None
    library: str | None = None
    problem: str | None = None


def is_index(name: str) -> bool:
    """Whether a file of that name says which weights lie in which file."""
    return _INDEX.fullmatch(name.rpartition("/")[2]) is not None


def config(data: bytes, name: str) -> Config:
    """Raises Malformed; `name` is the file as errors show it.

    The libraries that load it take what Python's reader takes, and so does this.
    """
    problem = None
    try:
        top = _object(data, name, MAX_CONFIG)
    except Malformed as error:
        top, problem = _object(data, name, MAX_CONFIG, lenient=True), error.why
    architectures = top.get("architectures")
    if not isinstance(architectures, list):
        architectures = []
    model_type = top.get("model_type")
    facts: dict[str, str] = {}
    for key in sorted(top):
        text = _scalar(top[key])
        if text is not None and _KEY.fullmatch(key) and len(facts) < MAX_FACTS:
            facts[key] = text
    return Config(
        architectures=tuple(
            _plain(a) for a in architectures[:16] if type(a) is str and len(a) <= MAX_TEXT
        ),
        model_type=_plain(model_type)
        if type(model_type) is str and len(model_type) <= MAX_TEXT
        else None,
        facts=facts,
        problem=None if problem is None else _plain(problem),
    )


def index(data: bytes, name: str) -> ShardIndex | None:
    """Raises Malformed: names no shard outside its own folder. None where it is another index."""
    plain = name.removesuffix(".index.json").rpartition(".")[2].lower() in WEIGHTS
    try:
        top = _object(data, name, MAX_INDEX)
    except Malformed:
        if b"weight_map" in data or plain:
            raise
        return None
    if "weight_map" not in top and not plain:
        return None
    weight_map = top.get("weight_map")
    if type(weight_map) is not dict or not weight_map:
        raise Malformed(
            f"{name[:160]!r} has no weight_map",
            why="its name says that it lists which weights lie in which file",
            fix="save the model again; if it is a file of another kind, give it another name",
        )
    for shard in set(map(str, weight_map.values())):
        try:
            check_name(shard)
        except VerificationFailed as error:
            raise Malformed(
                f"{name[:160]!r} names a file outside the model",
                why=error.why,
                fix="do not load this model",
                reason="unsafe-path",
            ) from error
    if not all(type(shard) is str for shard in weight_map.values()):
        raise Malformed(f"the weight_map of {name[:160]!r} does not map names to files")
    return ShardIndex(weight_map=weight_map)


def card(data: bytes) -> Card:
    """The front matter of README.md; an empty Card where there is none. Never raises.

    An auditor must be able to tell "says none" from "could not be read": where a card begins with a
    block, however it is spelt, and the block or its licence cannot be read, `problem` says why.
    """
    lines = _LINES.split(_decoded(data)[: MAX_FRONT_MATTER + 16])
    begin = next((index for index, line in enumerate(lines) if line.strip()), None)
    if begin is None or not _FENCE.fullmatch(lines[begin].strip()):
        return Card()
    if lines[begin].strip() == "+++":
        return Card(problem=f"line {begin + 1}: its front matter is not YAML")
    rest = lines[begin + 1 :]
    end = next((index for index, line in enumerate(rest) if _END.fullmatch(line)), None)
    if end is None:
        return Card(problem=f"line {begin + 1}: its front matter has no end")
    return _front("\n".join(rest[:end]), begin + 1)


def _front(block: str, above: int) -> Card:
    """`above` is the number of lines before the block, for messages."""
    from sovgate.formats.yaml12 import load

    if not block.strip():
        return Card()
    try:
        top = load(block.encode("utf-8", "surrogateescape"), CARD).value
    except ConfigError as error:
        line = error.where.line if error.where is not None else None
        place = "" if line is None else f"line {line + above}: "
        why = (error.why or error.what).removeprefix(f"{CARD}: ")
        return Card(problem=f"{place}{why}"[:MAX_TEXT])
    except VerificationFailed as error:
        return Card(problem=(error.why or error.what)[:MAX_TEXT])
    if top is None:  # a rule across the page, and a comment
        return Card()
    if type(top) is not dict:
        return Card(problem=f"line {above + 1}: its front matter is not a list of names and values")
    licenses = _texts(top.get("license"))
    lost = not licenses and top.get("license") not in (None, "", [])
    return Card(
        licenses=licenses,
        license_name=next(iter(_texts(top.get("license_name"))), None),
        base_models=_texts(top.get("base_model")),
        datasets=_texts(top.get("datasets")),
        task=next(iter(_texts(top.get("pipeline_tag"))), None),
        library=next(iter(_texts(top.get("library_name"))), None),
        problem="its license is not a text" if lost else None,
    )


def _decoded(data: bytes) -> str:
    """Never raises: what is wrong in the block is said when that is read."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    errors = "surrogateescape" if encoding == "utf-8" else "replace"
    text = codecs.getincrementaldecoder(encoding)(errors).decode(data[: 4 * MAX_FRONT_MATTER])
    return text.removeprefix("\ufeff")


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = (v.strip() for v in values[:100] if type(v) is str and len(v) <= MAX_TEXT)
    return tuple(dict.fromkeys(text for text in texts if text))


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        text = _plain(str(value))
        return text if len(text) <= MAX_TEXT else None
    return None


def _plain(text: str) -> str:
    """Without lone surrogates, which nothing can write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _object(data: bytes, name: str, most: int, *, lenient: bool = False) -> dict[str, strict.JSON]:
    if len(data) > most:
        raise Malformed(
            f"{name[:160]!r} is larger than {most // 2**20} MiB",
            why="such a file holds settings or names; no tool has been seen to write so many",
            fix="look at what the file holds, and save the model again",
        )
    try:
        top = strict.loads(data, max_bytes=most, any_number=True, lenient=lenient)
    except Malformed as error:
        raise Malformed(
            f"{name[:160]!r} is not valid JSON", why=error.why, fix="save the model again"
        ) from error
    if type(top) is not dict:
        raise Malformed(
            f"{name[:160]!r} is not a JSON object",
            why="the libraries that load the model expect one there",
            fix="save the model again; if it is a file of another kind, give it another name",
        )
    return top
