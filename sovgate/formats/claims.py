"""Which base models a model's own files name: card, adapter, configuration, tensor header. No I/O.

RULES 39: nobody vouches for what a file of a model claims, but what it claims and no record covers
is unknown. So better one claim too many than one too few: where a file cannot be read, its lines
are searched.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sovgate import strict
from sovgate.errors import ConfigError, SovgateError, VerificationFailed
from sovgate.formats.yaml12 import load

#: Of any file of such a kind so much is read. Those that are larger are no settings, but a
#: vocabulary, say: but for the files that decide, which count where they are larger still.
MAX_FILE, MAX_SETTINGS = 4 * 1024 * 1024, 16 * 1024 * 1024
MAX_CLAIMS = 100
#: The name of a claim among the properties of an SBOM.
PROPERTY = "sovgate:claimed-base"
MAX_TEXT = 512

#: Under these names trainers, adapters, mergers and packagers write what they began with. Compared
#: in small letters, with `_` for `-`, and without what stands before a point.
KEYS = frozenset(
    {
        "_name_or_path",
        "adapter_name_or_path",
        "base_model",
        "base_model_id",
        "base_model_name",
        "base_model_name_or_path",
        "base_model_path",
        "base_models",
        "basemodel",
        "finetune_from",
        "finetuned_from",
        "finetuned_from_model",
        "fine_tuned_from",
        "init_from_nemo_model",
        "init_from_pretrained_model",
        "lora_model_dir",
        "merged_from",
        "model_name_or_path",
        "original_model_name_or_path",
        "parent_model",
        "pretrained_model",
        "pretrained_model_name",
        "pretrained_model_name_or_path",
        "pretrained_model_path",
        "pretrained_path",
        "quantized_from",
        "restore_from_path",
        "source_model",
        "source_model_name",
        "ss_sd_model_name",
        "teacher_model",
        "teacher_model_name_or_path",
    }
)
#: In these files the base is called "model": mergekit, MLX's adapters, AutoTrain.
_MERGE = "mergekit"
_MODEL = ("adapter_config.json", "training_params.json")
#: How a base is named where it is described by several values; the first that is there counts.
_NAMED = ("path", "repo_id", "repo", "repo_url", "name_or_path", "id", "url", "name")
#: What libraries and trainers take their settings from.
_DECIDES = re.compile(
    r"(?:.*[._-])?(?:config|params|hparams|args|settings|recipe)\.(?:json|ya?ml|toml)"
    r"|model_index\.json|modules\.json|mlmodel|mergekit.*",
    re.DOTALL,
)
#: In JSON no text, and so no name.
_NO_TEXT = re.compile(r"(?:-?[0-9][0-9.eE+-]{0,30}|true|false|null)[ \t]*(?:[,}\]]|$)")
_WORDS = tuple(sorted({key.encode() for key in KEYS}))
#: A letter or `_` of a key that JSON may spell in this way.
_ESCAPED = re.compile(rb"\\u00[4-7]", re.IGNORECASE)
_SPELLED = "|".join(re.escape(key).replace("_", "[_-]") for key in sorted(KEYS, reverse=True))
#: Anywhere in a text, also in one that is quoted in another: a key, and what follows it.
_ANYWHERE = r"(?<![A-Za-z0-9_-])(?:%s)(?:\\{0,3}[\"'])?[ \t]{0,9}[:=][ \t]{0,9}(?P<rest>.{0,500})"
_KEY = re.compile(_ANYWHERE % _SPELLED, re.ASCII | re.IGNORECASE)
_KEY_OR_MODEL = re.compile(_ANYWHERE % f"{_SPELLED}|model", re.ASCII | re.IGNORECASE)
_QUOTED = re.compile(r"\\{0,3}([\"'])(.*?)(?:\\{0,3}\1|$)", re.DOTALL)
_ITEM = re.compile(r"[ \t]*-[ \t]+(.{1,500})")
_HUB = re.compile(
    r"(?:https?://(?:www\.)?(?:huggingface\.co|hf\.co|modelscope\.cn/models)/|hf://)", re.ASCII
)
#: What follows a name on the pages of a hub: a revision, and a file.
_PAGE = re.compile(
    r"(?P<base>[^/\s@]+/[^/\s@]+)(?:/(?:tree|blob|resolve)/|@)(?P<revision>[^/\s]+)(?:/.*)?",
    re.ASCII,
)
#: Where the hub's own tools keep a revision of a model.
_CACHED = re.compile(
    r"(?:.*[/\\])?models--(?P<base>[\w.-]+)[/\\]snapshots[/\\](?P<revision>[0-9a-f]{7,64})[/\\]?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{7,64}", re.ASCII)
_FRONT = re.compile(
    r"\s*(?P<fence>---|\+\+\+)[ \t]*(?:\r\n|\n|\r)(?P<block>.*?)(?:\r\n|\n|\r)"
    r"(?:(?P=fence)|\.\.\.)",
    re.DOTALL,
)
_GGUF = re.compile(r"general\.(base_model\.[0-9]{1,4}|source)\.", re.ASCII)
#: How the readers of headers call what stands there in a list of its own.
_IN_LIST = "metadata."


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`file` says that the model was made from `base`, at `revision` where it says so."""

    file: str
    base: str
    revision: str | None = None

    @property
    def name(self) -> str:
        return self.base if self.revision is None else f"{self.base}@{self.revision}"

    def text(self) -> str:
        """As an SBOM holds it."""
        return strict.canonical([self.file, self.base, self.revision]).decode()

    def covered_by(self, name: str, revision: str | None = None) -> bool:
        """Whether a recorded base of that name is this one.

        A folder is recorded by its last part, and files name it by any path: the parts of the
        shorter are the end of the longer.
        """
        if not _same_revision(revision, self.revision):
            return False
        own, other = _parts(self.base), _parts(name)
        count = min(len(own), len(other))
        return count > 0 and own[-count:] == other[-count:]


def _parts(text: str) -> list[str]:
    text = _HUB.sub("", text.strip()).casefold().replace("\\", "/")
    return [part for part in text.split("/") if part not in ("", ".", "..")]


def parse(value: object) -> Claim:
    """A claim as an SBOM holds it; anything else is a claim that nothing covers."""
    try:
        file, base, revision = strict.loads(str(value).encode())
    except (SovgateError, ValueError, TypeError):
        file, base, revision = "an SBOM", "?", None
    texts = all(isinstance(one, str) and one for one in (file, base))
    if not texts or not (revision is None or isinstance(revision, str)):
        file, base, revision = "an SBOM", "?", None
    return Claim(file=file, base=base, revision=revision)


def is_settings(name: str) -> bool:
    """Whether a file of that name may say what the model was made from."""
    base = name.rpartition("/")[2].lower()
    return base == "mlmodel" or base.endswith((".json", ".yaml", ".yml", ".toml", ".md"))


def decides(name: str) -> bool:
    """Whether a file of that name is settings, and nothing that may be as large as it likes."""
    return _DECIDES.fullmatch(name.rpartition("/")[2].lower()) is not None


def of_file(name: str, source: Bytes) -> Iterator[Claim]:
    """Claims of a file of settings, as `of_settings`. Raises Malformed where it changes."""
    most = MAX_SETTINGS if decides(name) else MAX_FILE
    yield from of_settings(name, source.read(0, min(source.size, most)))
    if source.size > most == MAX_SETTINGS:
        yield Claim(file=name, base=f"? (it is larger than {most // 2**20} MiB, and not read)")


def of_settings(name: str, data: bytes) -> Iterator[Claim]:
    """Claims of a card, or of a file of settings in JSON, YAML or TOML. Never raises."""
    base = name.rpartition("/")[2].lower()
    model = base.startswith(_MERGE) or base in _MODEL
    from sovgate.formats.secrets import utf8  # and what reads archives

    data = utf8(data).removeprefix(b"\xef\xbb\xbf")
    if not model and not _may_claim(data):
        return
    value = _card(data) if base.endswith(".md") else _value(base, data)
    if value is None:
        pattern = _KEY_OR_MODEL if model else _KEY
        yield from _searched(name, data[:MAX_SETTINGS].decode("utf-8", "replace"), pattern)
        return
    yield from _walk(name, value, KEYS | {"model"} if model else KEYS)


def of_header(name: str, facts: Mapping[str, str], head: bytes = b"") -> Iterator[Claim]:
    """Claims in the metadata of a tensor file: GGUF, safetensors, ONNX.

    `head` is how the file begins: in a header of JSON the longer values are not among the facts.
    """
    for key, text in facts.items():
        if _folded(key.removeprefix(_IN_LIST)) in KEYS:
            yield from _claims(name, text, None)
        elif text.lstrip()[:1] == "{" and _may_claim(text.encode()):
            yield from of_settings(name, text.encode())
    if head[8:9] == b"{" and _may_claim(head):
        yield from _searched(name, head.decode("utf-8", "replace"), _KEY)
    groups = sorted({match.group(1) for match in map(_GGUF.match, facts) if match})
    for group in groups:
        told = {
            key.removeprefix(f"general.{group}."): text
            for key, text in facts.items()
            if key.startswith(f"general.{group}.")
        }
        repo = told.get("huggingface.repository") or told.get("repo_url") or told.get("url")
        organisation = told.get("organization", "").strip()
        named = told.get("name", "").strip()
        if organisation and named:
            named = f"{organisation}/{named}"
        yield from _claims(name, repo or named, None)


def _may_claim(data: bytes) -> bool:
    """Most files hold none of these words, and that is told soon."""
    small = data.lower().replace(b"-", b"_")
    # Each word has one of these in it, and most files have none.
    near = b"model" in small or b"_path" in small or b"_from" in small
    return (near and any(word in small for word in _WORDS)) or _ESCAPED.search(data) is not None


def _folded(key: str) -> str:
    return key.rpartition(".")[2].lower().replace("-", "_")


def _searched(name: str, text: str, pattern: re.Pattern[str]) -> Iterator[Claim]:
    """Of a file that does not read: what follows such a key, and the items below one."""
    below = False
    for line in text.splitlines():
        found = [match["rest"] for match in pattern.finditer(line)]
        if name.lower().endswith(".json"):
            found = [rest for rest in found if not _NO_TEXT.match(rest)]
        item = _ITEM.match(line) if below and not found else None
        if item is not None:
            found = [item.group(1)]
        below = item is not None or any(not rest.strip() for rest in found)
        for rest in found:
            for part in _told(rest):
                yield from _claims(name, part, None)


def _told(rest: str) -> Iterator[str]:
    """The texts at the beginning of what follows a key: one, or a list of them."""
    rest = rest.lstrip(" \t")
    if rest.startswith("["):
        for part in rest[1:].partition("]")[0].split(","):
            yield from _told(part)
    elif match := _QUOTED.match(rest):
        yield match.group(2)
    else:
        yield re.split(r" #|[,}\]]", rest, maxsplit=1)[0].strip()


def _card(data: bytes) -> object:
    """A card's front matter; {} where there is none, None where it cannot be read."""
    text = data.decode("utf-8", "replace")
    if not text.lstrip().startswith(("---", "+++")):
        return {}
    match = _FRONT.match(text)
    if match is None:
        return None
    block = match["block"].encode()
    return _yaml(block) if match["fence"] == "---" else _toml(block)


def _value(base: str, data: bytes) -> object:
    if base.endswith(".json"):
        return _json(data)
    return _toml(data) if base.endswith(".toml") else _yaml(data)


class _Pairs(list[tuple[str, object]]):
    """An object of JSON. Of a key that stands there twice readers take either."""


def _json(data: bytes) -> object:
    """As the readers of such files take it: with keys twice, and with NaN."""
    try:
        value = json.loads(data.decode("utf-8", "surrogateescape"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    return {} if value is None else value


def _toml(data: bytes) -> object:
    try:
        return tomllib.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _yaml(data: bytes) -> object:
    try:
        return load(data, "settings").value or {}
    except (ConfigError, VerificationFailed):
        return None


def _walk(name: str, value: object, keys: Iterable[str]) -> Iterator[Claim]:
    """Every such key at any depth; no recursion."""
    found, stack = 0, [value]
    while stack:
        here = stack.pop()
        if isinstance(here, (dict, _Pairs)):
            revision = _text_at(here, ("revision",))
            for key, inner in _pairs(here):
                for text, own in _texts(inner) if _folded(str(key)) in keys else ():
                    found += 1
                    if found > MAX_CLAIMS:
                        yield Claim(file=name, base=f"? (it names more than {MAX_CLAIMS})")
                        return
                    yield from _claims(name, text, own or revision)
                stack.append(inner)
        elif isinstance(here, list):
            stack += here


def _pairs(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        return value.items()
    return value if isinstance(value, _Pairs) else ()


def _text_at(value: object, keys: tuple[str, ...]) -> str | None:
    """The first text that an object has under one of these keys."""
    there = {str(key): inner for key, inner in _pairs(value)}
    return next((text for key in keys if isinstance(text := there.get(key), str) and text), None)


def _texts(value: object) -> Iterator[tuple[str, str | None]]:
    """(name, revision) of a base, or of each of a list of them."""
    plain = isinstance(value, list) and not isinstance(value, _Pairs)
    for one in value if plain and isinstance(value, list) else [value]:
        if isinstance(one, str):
            yield one, None
        elif (named := _text_at(one, _NAMED)) is not None:
            yield named, _text_at(one, ("revision",))


def _claims(name: str, text: str, revision: str | None) -> Iterator[Claim]:
    text = _HUB.sub("", text.strip().strip("\"' "))
    if text.lower() in ("", "none", "null", "~") or not (_parts(text) or ".." in text):
        return
    if told := _CACHED.fullmatch(text):
        text, revision = told["base"].replace("--", "/"), told["revision"]
    elif told := _PAGE.fullmatch(text):
        commit = told["revision"] if _COMMIT.fullmatch(told["revision"]) else None
        text, revision = told["base"], revision or commit  # a branch moves, and says nothing
    revision = revision[:MAX_TEXT].strip() or None if revision else None
    yield Claim(file=name, base=text[:MAX_TEXT], revision=revision)


def _same_revision(one: str | None, other: str | None) -> bool:
    """Commits may be shortened; of what says none, any counts."""
    if one is None or other is None or one == other:
        return True
    commits = _COMMIT.fullmatch(one) and _COMMIT.fullmatch(other)
    return bool(commits) and (one.startswith(other) or other.startswith(one))
