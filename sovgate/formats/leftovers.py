"""What operating systems, editors and download tools leave in folders: no part of a model. No I/O.

A narrow list (RULES 2): what stands here is left out when a model is signed, and named in the
signature. `.cache/huggingface` is on it, `.cache` is not.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence

from sovgate.errors import VerificationFailed
from sovgate.formats import unfinished

#: Folders and files by the end of their path; each part is compared as it is written.
_NAMES = frozenset(
    {
        # download tools
        ".cache/huggingface",
        ".mdl",
        ".msc",
        ".mv",
        "._____temp",
        # macOS
        ".DS_Store",
        ".localized",
        ".Spotlight-V100",
        ".Trashes",
        ".fseventsd",
        ".TemporaryItems",
        ".DocumentRevisions-V100",
        ".apdisk",
        "__MACOSX",
        # Windows
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "$RECYCLE.BIN",
        "System Volume Information",
        # Linux and network storage
        ".directory",
        "lost+found",
        "@eaDir",
        # editors and notebooks
        ".ipynb_checkpoints",
    }
)
_FOLDED = frozenset(name.lower() for name in _NAMES)
#: Of these, where tools put what they download until it is whole.
_DOWNLOADS = (".cache/huggingface", ".mdl", ".msc", ".mv", "._____temp")
#: Beginnings of the names that a pattern may match: all others are told at once.
_MARKS = frozenset(".#~")
_PATTERNS = re.compile(
    r"\.nfs[0-9a-fA-F]{8,40}|\.fuse_hidden[0-9a-fA-F]{8,40}|\.Trash-[0-9]{1,10}"
    r"|\.[^/]{1,250}\.sw[a-p]|\.#[^/]+|#[^/]+#|\.~lock\.[^/]+#|~\$[^/]+",
    re.DOTALL,
)
#: AppleDouble and AppleSingle: what macOS keeps of a file on a file system that cannot.
_APPLE = (b"\x00\x05\x16\x07", b"\x00\x05\x16\x00")
APPLE_HEAD = 4
#: How many of them a sentence names.
SHOWN = 5
#: Files of settings that are larger are none.
MAX_SETTINGS = 4 * 1024 * 1024
_SETTINGS = (".json", ".yaml", ".yml", ".toml")
#: What a text holds that names one of these, or may.
_HINTS = re.compile(
    "|".join(
        re.escape(hint)
        for hint in sorted(
            {name.rpartition("/")[2].lower() for name in _NAMES}
            | {"\\u", "._", ".nfs", ".fuse_hidden", ".trash-", ".sw", ".#", "/#", '"#', ".~", "~$"}
        )
    ).encode(),
    re.IGNORECASE,
)
_WORDS = re.compile(r"[^\s\"',\[\]{}=]+")


def is_leftover(name: str) -> bool:
    """Whether a path of a model is one, by its end: what lies above is asked apart.

    Of a name that `by_content` tells of, its content decides.
    """
    base = name.rpartition("/")[2]
    if base in _NAMES or (base == "huggingface" and f"/{name}".endswith("/.cache/huggingface")):
        return True
    return base[0] in _MARKS and (by_content(base) or _PATTERNS.fullmatch(base) is not None)


def by_content(name: str) -> bool:
    """Whether it is named as macOS names an AppleDouble: only one that is one is left out."""
    base = name.rpartition("/")[2]
    return base.startswith("._") and len(base) > 2 and base not in _NAMES


def is_apple_double(head: bytes) -> bool:
    """By its first bytes. An empty one holds nothing that anybody could load."""
    return not head or head in _APPLE


def lies_in(path: str) -> bool:
    """Whether a path is a leftover, or lies in one."""
    parts = path.split("/")
    return any(is_leftover("/".join(parts[:end])) for end in range(1, len(parts) + 1))


def of_download(path: str) -> bool:
    """Whether a leftover is where a download tool keeps what it is about, or lies there."""
    return any(f"/{name}/" in f"/{path}/" for name in _DOWNLOADS)


def is_unfinished(folder: str, name: str) -> bool:
    """Whether a file in such a folder is one of the model's that is not whole yet.

    ModelScope moves a file out of its folder as soon as it is.
    """
    if unfinished.is_unfinished(name):
        return True
    base = name.rpartition("/")[2]
    temporary = "._____temp" in folder.split("/")
    return temporary and not base.endswith(".lock") and not is_leftover(base)


def told(paths: Sequence[str]) -> str | None:
    """What every command says of leftovers that it passed over; None where there are none."""
    found = [path for path in paths if lies_in(path)]
    if not found:
        return None
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"no part of the model, since tools leave it in folders: {', '.join(found[:SHOWN])}{more}"
    )


def _may_lie_in(path: str) -> bool:
    """The same on a system that does not tell capitals."""
    return (
        lies_in(path)
        or lies_in(path.lower())
        or any(part in _FOLDED for part in path.lower().split("/"))
    )


def is_settings(name: str) -> bool:
    return name.endswith(_SETTINGS)


def led_into(name: str, data: bytes) -> str | None:
    """A path in a file of settings that leads into what is left out, or None.

    Whoever loads the model by it would load what nobody signed. Absolute paths lead elsewhere.
    """
    if _HINTS.search(data) is None:
        return None
    folder = posixpath.dirname(name)
    for text in _texts(name, data):
        plain = text.replace("\\", "/")
        if plain.startswith(("/", "~/")) or len(text) > 4096:
            continue
        for path in {posixpath.normpath(plain), posixpath.normpath(posixpath.join(folder, plain))}:
            if path != "." and not path.startswith("../") and _may_lie_in(path):
                return text
    return None


def refuse_led(name: str, data: bytes) -> None:
    """RULES 2: nobody signs what is left out, so nobody may be led there.

    Raises VerificationFailed, reason "leads-to-leftovers"; the caller adds the file's name.
    """
    path = led_into(name, data)
    if path is not None:
        raise VerificationFailed(
            f"it leads to {path[:160]!r}, which is no part of the model",
            why="that is what tools leave in a folder; it is left out, and anybody could change it",
            fix="move that file to another place in the model, and name that",
            reason="leads-to-leftovers",
        )


def _texts(name: str, data: bytes) -> Iterator[str]:
    if name.endswith(".json"):
        try:
            yield from _strings(json.loads(data.decode("utf-8-sig")))
        except (ValueError, RecursionError):
            pass
        else:
            return
    yield from _WORDS.findall(data.decode("utf-8", "replace"))


def _strings(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if one:
                yield one
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
