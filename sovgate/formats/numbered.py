"""Sets that say by their names which part each file is, and not how many there are; and companions.

What a set begins with and what lies between two of its parts is there, and so is the file without
which nobody reads another one (RULES 38). A format is one line of a table. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sovgate.formats.folders import Folders

#: `n` is the number that a set counts from 0. What follows the match says nothing of the set.
_SETS = (
    r"(?:.*[-_.])?consolidated\.(?P<n>[0-9]{2})\.(?:pth|pt|safetensors)\Z",  # Llama, Mistral
    r"weights\.(?P<n>[0-9]{2})\.(?:safetensors|npz)\Z",  # MLX
    r"model-rank-(?P<n>[0-9]{1,5})-part-",  # vLLM, SGLang
    r"model-rank-[0-9]{1,5}-part-(?P<n>[0-9]{1,5})\.safetensors\Z",
    r"(?:.*_)?(?<!lora_)rank(?P<n>[0-9]{1,5})\.engine\Z",  # TensorRT-LLM
    r"mp_rank_(?P<n>[0-9]{2,3})(?:[/_]|\Z)",  # Megatron, DeepSpeed
    r"mp_rank_[0-9]{2,3}_(?P<n>[0-9]{3})(?:[/_]|\Z)",
    r"(?:[a-z0-9]+_)?zero_pp_rank_(?P<n>[0-9]{1,5})_mp_rank_[0-9]{2,3}_[a-z_]+\.pt\Z",  # DeepSpeed
    r"(?:.*[-_])?model_part-(?P<n>[0-9]{1,5})(?:-shard[0-9]+)?\.pt\Z",  # fairseq, metaseq
)
_PATTERNS = tuple(re.compile(one, re.ASCII | re.DOTALL) for one in _SETS)
#: Steps of a training are called so too: a set is told by its first part, or by its settings.
_ALSO_STEPS = re.compile(r"(?P<folder>(?:.*/)?)weights\.", re.DOTALL)
#: Words of which a name has one, or none of the patterns fits. There may be very many names.
_WORDS = ("rank", "consolidated.", "weights.", "model_part-")
#: What is of no use alone, and what says what is in it, as alternatives; `*` is any name there.
_COMPANIONS = (
    (r"(?P<a>.+)\.data-[0-9]{5}-of-[0-9]{5}", ("{a}.index",)),  # TensorFlow
    (r"(?P<a>(?:.*/)?)[^/]+\.distcp", ("{a}.metadata", "{a}__0.metadata")),  # torch
    (r"(?P<b>(?P<a>(?:.*/)?)[^/]+\.onnx)[._]data(?:_[0-9]+)?", ("{b}", "{a}*.onnx")),
    (r"(?P<b>(?P<a>(?:.*/)?)openvino_[^/]*)\.bin", ("{b}.xml", "{a}*.xml")),
    (r"(?P<a>(?:.*/)?[^/]+\.mlpackage)/.+", ("{a}/Manifest.json",)),  # Core ML
    (r"(?P<a>(?:.*/)?[^/]+\.mlmodelc)/.+", ("{a}/coremldata.bin",)),
)
_NEED = tuple((re.compile(one, re.ASCII | re.DOTALL), others) for one, others in _COMPANIONS)
_LONELY = (".data-", ".distcp", ".onnx", "openvino_", ".mlpackage/", ".mlmodelc/")
#: Parts of one set that are looked at.
_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class Absent:
    """`name` is not there, and `other` says that it should be."""

    name: str
    other: str


def gaps(folders: Folders) -> Iterator[Absent]:
    """The first part that each set lacks, sets in the order of their names."""
    sets: dict[tuple[int, str, str], dict[int, tuple[str, str]]] = {}
    for name in sorted(folders.files):
        if not any(word in name for word in _WORDS):
            continue
        for place, match in _matches(name):
            before = name[: match.start("n")]
            found = sets.setdefault((place, before, name[match.end("n") : match.end()]), {})
            found.setdefault(int(match["n"]), (match["n"], name))
    for (_, before, _), found in sets.items():
        missing = next((n for n in range(min(max(found), _MAX)) if n not in found), None)
        if missing is None:
            continue
        steps = _ALSO_STEPS.fullmatch(before)
        sparse = max(found) >= 2 * len(found)  # more is missing than is there
        told = 0 in found or (steps and f"{steps['folder']}config.json" in folders.files)
        if steps and (sparse or not told):
            continue
        number, other = found[min(found)]
        rest = other[len(before) + len(number) :]
        yield Absent(name=f"{before}{missing:0{len(number)}d}{rest}", other=other)


def _matches(name: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Of the file's own name, and of the folder that it lies in."""
    own = name.rfind("/") + 1
    for begin in {own, name.rfind("/", 0, max(own - 1, 0)) + 1}:
        for place, pattern in enumerate(_PATTERNS):
            if match := pattern.match(name, begin):
                yield place, match


def companions(folders: Folders) -> Iterator[Absent]:
    """Files without the one that says what is in them."""
    for name in sorted(folders.files):
        if not any(word in name for word in _LONELY):
            continue
        for pattern, others in _NEED:
            match = pattern.fullmatch(name)
            wanted = [other.format(**match.groupdict()) for other in others] if match else []
            if wanted and not any(_there(folders, other) for other in wanted):
                yield Absent(name=wanted[0], other=name)


def _there(folders: Folders, path: str) -> bool:
    folder, _, base = path.rpartition("/")
    if base.startswith("*."):
        return (folder, base[2:]) in folders.endings
    return path in folders.files
