"""What must not be in Git, told by a file's name and content: data, keys, pickles, weights.

A stage's rules, applied to one open file. Reads its beginning and end, loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sovgate.errors import Where
from sovgate.formats import secrets
from sovgate.lint import personal
from sovgate.lint._api import Finding
from sovgate.scanner.child import Found

#: Of each file so much is looked at for its kind, and so much for people.
HEAD = 1024 * 1024
TABLE = 1024 * 1024
_TEXT = 1024

_WEIGHTS = frozenset(
    {
        "safetensors",
        "gguf",
        "onnx",
        "pt",
        "pth",
        "ckpt",
        "h5",
        "hdf5",
        "keras",
        "tflite",
        "mlmodel",
        "npz",
        "npy",
        "pb",
        "msgpack",
        "joblib",
        "bin",
        "pkl",
        "pickle",
    }
)
_MAGIC = (b"GGUF", b"\x89HDF\r\n\x1a\n")


class Bytes(Protocol):
    """Random access to a file: `formats.tensors._source.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A place that a data set of the project points to: below it nothing belongs into Git."""

    path: str
    dataset: str


def scan(
    path: str,
    source: Bytes,
    *,
    declared: tuple[Declared, ...],
    weights_over: int,
    pickle: Callable[[], Found | None],
) -> Iterator[Finding]:
    """Everything that is wrong with one file. `path` is with `/`, from the guard file's folder.

    `pickle` tells whether it is one, and is asked at most once: `scanner.child.Scanner.scan`.
    Raises Malformed where the file changes underneath.
    """
    for place in declared:
        if path == place.path or path.startswith(f"{place.path.rstrip('/')}/"):
            yield _finding(
                "declared-data",
                path,
                None,
                f"it is data of {place.dataset}, which the project declares: Git holds its pointer "
                "and commitment alone",
                "keep it in its zone's storage: git rm --cached it, and add it to .gitignore",
            )
    head = source.read(0, min(source.size, HEAD))
    text = secrets.utf8(head)
    if (secret := secrets.search(path, source)) is not None:
        what, line = secret
        unsearched = what in secrets.UNKNOWN
        yield _finding(
            "key-material",
            path,
            line,
            f"it holds {what}",
            "commit what is packed in it as files, or keep it out of Git"
            if unsearched
            else "remove it and replace that key: everybody who saw this commit has it",
        )
    ending = path.rpartition(".")[2].lower()
    table = text[:TABLE]
    if ending in ("parquet", "pq") or head.startswith(b"PAR1"):
        start = max(0, source.size - TABLE)
        table = source.read(start, source.size - start)
    if (people := personal.find(path, table)) is not None:
        yield _finding(
            "personal-data",
            path,
            None,
            f"it looks like records about people: {people}",
            "keep it in its zone's storage, and declare a data set that points there",
        )
    # A small text by a pickle's name is a Git LFS pointer, or one of Python's own .pth files; one
    # that holds a secret is refused already, and its base64 may begin as a pickle does.
    note = source.size <= _TEXT and not any(byte < 9 or byte > 126 for byte in head)
    found = pickle()
    named = ending in _WEIGHTS and found is not None and found.by_name
    if found is not None and not (note and (named or secret is not None)):
        what = found.way(path) if found.inside else "it"
        yield _finding(
            "pickle",
            path,
            None,
            f"{what} is {found.why}: loading it runs whatever program is in it",
            "save it in a format that runs no code, outside of Git",
        )
    if source.size > weights_over and (ending in _WEIGHTS or head.startswith(_MAGIC)):
        yield _finding(
            "model-weights",
            path,
            None,
            f"it is a model of {source.size} bytes: Git copies it into every clone",
            "keep it in its zone's store: sovgate push",
        )
    elif source.size > weights_over and b"\0" in head and secrets.utf8(head) is head:
        yield Finding(
            rule="large-file",
            severity="warning",
            where=Where(path=path, line=None),
            message=f"it is a binary file of {source.size} bytes, of no kind that is known",
            fix="keep it out of Git if it is data or part of a model; else allow it, with a reason",
        )


def named_secret(path: str, what: str) -> Finding:
    """Of a file that the project file itself names for a secret; its content may look like any."""
    return _finding(
        "key-material",
        path,
        None,
        f"it is {what}",
        "git rm --cached it, change that secret, and keep the new one out of the repository",
    )


def _finding(rule: str, path: str, line: int | None, message: str, fix: str) -> Finding:
    return Finding(
        rule=rule, severity="error", where=Where(path=path, line=line), message=message, fix=fix
    )
