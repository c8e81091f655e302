"""Hugging Face's files beside the weights: configurations, shard index, model card. No I/O.

Foreign JSON: fractions, huge integers, NaN and Infinity occur in what its tools write. Bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import ConfigError, Malformed, VerificationFailed
from sovgate.files import check_name

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
INDEX_ENDING = ".safetensors.index.json"
CARD = "README.md"

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
_FRONT = re.compile(rb"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Config:
    """`facts` are its scalars as text, nested ones left out."""

    architectures: tuple[str, ...]
    model_type: str | None
    facts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Tensor name -> file beside the index."""

    weight_map: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Front matter of a model card. `readable` is false where it is not YAML."""

    licenses: tuple[str, ...] = ()
    license_name: str | None = None
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    task: str | None = None
    library: str | None = None
    readable: bool = True


def config(data: bytes, name: str) -> Config:
    """Raises Malformed; `name` is the file as errors show it."""
    top = _object(data, name, MAX_CONFIG)
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
        architectures=tuple(a for a in architectures[:16] if type(a) is str and len(a) <= MAX_TEXT),
        model_type=model_type if type(model_type) is str and len(model_type) <= MAX_TEXT else None,
        facts=facts,
    )


def index(data: bytes, name: str) -> ShardIndex:
    """Raises Malformed: names no shard outside its own folder."""
    top = _object(data, name, MAX_INDEX)
    weight_map = top.get("weight_map")
    if type(weight_map) is not dict or not weight_map:
        raise Malformed(f"{name[:160]!r} has no weight_map")
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
    """The front matter of README.md; an empty Card where there is none. Never raises."""
    match = _FRONT.match(data[: MAX_FRONT_MATTER + 16])
    if match is None:
        return Card()
    from sovgate.formats.yaml12 import load

    try:
        top = load(match.group(1), CARD).value
    except (ConfigError, VerificationFailed):
        return Card(readable=False)
    if type(top) is not dict:
        return Card(readable=False)
    licenses = _texts(top.get("license"))
    return Card(
        licenses=licenses,
        license_name=next(iter(_texts(top.get("license_name"))), None),
        base_models=_texts(top.get("base_model")),
        datasets=_texts(top.get("datasets")),
        task=next(iter(_texts(top.get("pipeline_tag"))), None),
        library=next(iter(_texts(top.get("library_name"))), None),
    )


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = (v.strip() for v in values[:100] if type(v) is str and len(v) <= MAX_TEXT)
    return tuple(dict.fromkeys(text for text in texts if text))


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        text = str(value)
        return text if len(text) <= MAX_TEXT else None
    return None


def _object(data: bytes, name: str, most: int) -> dict[str, strict.JSON]:
    try:
        top = strict.loads(data, max_bytes=most, any_number=True)
    except Malformed as error:
        raise Malformed(
            f"{name[:160]!r} is not valid JSON", why=error.why, fix="save the model again"
        ) from error
    if type(top) is not dict:
        raise Malformed(f"{name[:160]!r} is not a JSON object")
    return top
