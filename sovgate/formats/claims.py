"""Which base models a model's own files name: card, adapter, configuration, tensor header. No I/O.

RULES 39: nobody vouches for what a file of a model claims, but what it claims and no record covers
is unknown. So better one claim too many than one too few: where a file cannot be read, its lines
are searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import ConfigError, SovgateError, VerificationFailed
from sovgate.formats.yaml12 import load

#: Larger files of settings are none: a vocabulary, say.
MAX_FILE = 4 * 1024 * 1024
MAX_CLAIMS = 100
#: The name of a claim among the properties of an SBOM.
PROPERTY = "sovgate:claimed-base"
MAX_TEXT = 512

#: Under these names trainers, adapters, mergers and packagers write what they began with.
KEYS = frozenset(
    {
        "_name_or_path",
        "base_model",
        "base_model_id",
        "base_model_name",
        "base_model_name_or_path",
        "base_model_path",
        "base_models",
        "finetuned_from",
        "model_name_or_path",
        "modelspec.merged_from",
        "parent_model",
        "pretrained_model_name_or_path",
        "source_model",
        "source_model_name",
        "ss_sd_model_name",
    }
)
_MERGE = "mergekit"
_WORDS = tuple(key.encode() for key in sorted(KEYS))
_LINE = re.compile(
    r"[ \t{,]*[\"']?(?:" + "|".join(map(re.escape, sorted(KEYS))) + r")[\"']?[ \t]*:(.{0,500})",
    re.ASCII,
)
_ITEM = re.compile(r"[ \t]*-[ \t]+(.{1,500})")
_HUB = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co|modelscope\.cn/models)/", re.ASCII)
_FRONT = re.compile(r"\s*---[ \t]*(?:\r\n|\n|\r)(.*?)(?:\r\n|\n|\r)(?:---|\.\.\.)", re.DOTALL)
_GGUF = re.compile(r"general\.(base_model\.[0-9]{1,4}|source)\.", re.ASCII)


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
        if None not in (revision, self.revision) and revision != self.revision:
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
    return base in ("readme.md", "mlmodel") or base.endswith((".json", ".yaml", ".yml"))


def of_settings(name: str, data: bytes) -> Iterator[Claim]:
    """Claims of a card, or of a file of settings in JSON or YAML. Never raises."""
    merge = name.rpartition("/")[2].startswith(_MERGE)
    if not merge and not any(word in data for word in _WORDS):
        return
    base = name.rpartition("/")[2].lower()
    value = _card(data) if base == "readme.md" else _value(name, base, data)
    if value is None:
        yield from _searched(name, data[:MAX_FILE].decode("utf-8", "replace"))
        return
    yield from _walk(name, value, KEYS | {"model"} if merge else KEYS)


def of_header(name: str, facts: Mapping[str, str]) -> Iterator[Claim]:
    """Claims in the metadata of a tensor file: GGUF and safetensors."""
    for key, text in facts.items():
        if key in KEYS:
            yield from _claims(name, text, None)
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


def _searched(name: str, text: str) -> Iterator[Claim]:
    """Of a file that does not read: what stands on such lines, and the items below one."""
    below = False
    for line in text.splitlines():
        match = _LINE.match(line)
        found = match or (_ITEM.match(line) if below else None)
        below = (match is not None and not match.group(1).strip()) or (below and found is not None)
        for part in found.group(1).strip(" \t[]{}").split(",") if found is not None else ():
            yield from _claims(name, part.partition(" #")[0], None)


def _card(data: bytes) -> object:
    """A card's front matter; {} where there is none, None where it cannot be read."""
    text = data.decode("utf-8-sig", "replace")
    if not text.lstrip().startswith("---"):
        return {}
    match = _FRONT.match(text)
    return None if match is None else _yaml(match.group(1).encode())


def _value(name: str, base: str, data: bytes) -> object:
    if base.endswith(".json"):
        try:
            return strict.loads(data, max_bytes=4 * MAX_FILE, any_number=True)
        except SovgateError:
            return None
    return _yaml(data.removeprefix(b"\xef\xbb\xbf"))


def _yaml(data: bytes) -> object:
    try:
        return load(data, "settings").value or {}
    except (ConfigError, VerificationFailed):
        return None


def _walk(name: str, value: object, keys: Iterable[str]) -> Iterator[Claim]:
    """Every such key at any depth; no recursion, the reader has bounded the depth."""
    found, stack = 0, [value]
    while stack and found < MAX_CLAIMS:
        here = stack.pop()
        if isinstance(here, list):
            stack += here
        elif isinstance(here, dict):
            revision = here.get("revision")
            for key, inner in here.items():
                for text in _texts(inner) if key in keys else ():
                    found += 1
                    yield from _claims(name, text, revision if type(revision) is str else None)
                stack.append(inner)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values[:MAX_CLAIMS] if isinstance(one, str)]


def _claims(name: str, text: str, revision: str | None) -> Iterator[Claim]:
    text = _HUB.sub("", text.strip()).strip("\"' ")
    if _parts(text) and text.lower() not in ("none", "null", "~"):
        yield Claim(
            file=name,
            base=text[:MAX_TEXT],
            revision=revision[:MAX_TEXT].strip() or None if revision else None,
        )
