"""What real loaders do with bytes: pickle, joblib, NumPy, and torch.load's ways without torch.

`python tests/loaders.py` reads files, one base64 line each, and writes a line for each: "hit" where
some loader called what the file asked for, "asked" where one asked for a class, else "-". The only
thing there is to call is harmless. Runs under limits, in a process of its own.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import io
import lzma
import os
import pickle
import resource
import sys
import tarfile
import tempfile
import types
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

Loader = Callable[[bytes], object]
#: What the files ask for: `sprung.hit`. It notes that it was called.
_seen: set[str] = set()


class _Hit:
    def __init__(self, *_: object, **__: object) -> None:
        _seen.add("hit")

    def __setstate__(self, _: object) -> None:
        _seen.add("hit")


def _plant() -> None:
    module = types.ModuleType("sprung")
    module.hit = _Hit  # type: ignore[attr-defined]
    sys.modules["sprung"] = module
    import copyreg

    copyreg.add_extension("sprung", "hit", 0x70)
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """A module without a name, or with a zero in it, is asked for in vain by every Python."""
    if event == "pickle.find_class" and arguments[0] and "\0" not in arguments[0]:
        _seen.add("asked")


# --- loaders ------------------------------------------------------------------------------------
class _Torch(pickle.Unpickler):
    def persistent_load(self, pid: object) -> object:
        assert isinstance(pid, tuple)
        return bytearray()


class _Lenient(pickle._Unpickler):  # type: ignore[misc]
    def persistent_load(self, pid: object) -> object:
        return pid


def torch_load(data: bytes) -> None:
    """A zip by its first bytes; else a tar; else several pickles one after the other."""
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.endswith((".pkl", "constants.pkl")):
                    _Torch(io.BytesIO(archive.read(name)), encoding="utf-8").load()
        return
    with contextlib.suppress(tarfile.TarError):
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for name in ("storages", "tensors", "pickle"):
                opened = archive.extractfile(name)
                assert opened is not None
                with contextlib.suppress(Exception):
                    _Torch(io.BytesIO(opened.read())).load()
        return
    file = io.BytesIO(data)
    for _ in range(5):
        _Torch(file, encoding="utf-8").load()


def joblib_load(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=os.environ.get("LOADERS_TMP")) as file:
        file.write(data)
        file.flush()
        joblib.load(file.name)


def numpy_load(data: bytes) -> None:
    """One after the other, as programs read what they saved into one open file."""
    file = io.BytesIO(data)
    for _ in range(3):
        found = np.load(file, allow_pickle=True)
        if hasattr(found, "files"):
            for name in found.files:
                with contextlib.suppress(Exception):
                    found[name]


def members(data: bytes) -> Iterator[bytes]:
    """What lies in an archive, as programs that unpack it first see it."""
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            with contextlib.suppress(Exception):
                yield archive.read(name)
    with contextlib.suppress(Exception), tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if (opened := archive.extractfile(member)) is not None:
                yield opened.read()
    for opener in (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile):
        unpacked = bytearray()
        with contextlib.suppress(Exception):
            file: Any = opener(io.BytesIO(data))  # type: ignore[operator]
            while piece := file.read1(1 << 16):
                unpacked += piece
        if unpacked:
            yield bytes(unpacked)
    with contextlib.suppress(zlib.error):
        yield zlib.decompressobj().decompress(data)


LOADERS: list[Loader] = [
    pickle.loads,
    pickle._loads,  # type: ignore[attr-defined]
    lambda data: pickle.loads(data, encoding="latin1"),  # noqa: S301
    lambda data: pickle.loads(data, encoding="bytes"),  # noqa: S301
    lambda data: pickle._loads(data, encoding="bytes"),  # type: ignore[attr-defined]
    lambda data: pickle.loads(data, buffers=iter([b""] * 99)),  # noqa: S301
    lambda data: _Lenient(io.BytesIO(data)).load(),
    torch_load,
    joblib_load,
    numpy_load,
]


def run(data: bytes, depth: int = 0) -> str:
    _seen.clear()
    _load(data, depth)
    return "hit" if "hit" in _seen else "asked" if _seen else "-"


def _load(data: bytes, depth: int) -> None:
    for loader in LOADERS:
        with contextlib.suppress(Exception, MemoryError, SystemExit):
            loader(data)
    if depth < 4:
        for inner in members(data):
            _load(inner, depth + 1)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
    warnings.simplefilter("ignore")
    _plant()
    stderr = os.open(os.devnull, os.O_WRONLY)
    os.dup2(stderr, 2)
    for line in sys.stdin.buffer:
        sys.stdout.write(run(base64.b64decode(line)) + "\n")


def ask(files: list[bytes]) -> list[str]:
    """Run all loaders over `files` in a process of its own."""
    import subprocess

    lines = b"".join(base64.b64encode(data) + b"\n" for data in files)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-X", "int_max_str_digits=0", str(Path(__file__))],
            input=lines,
            capture_output=True,
            check=True,
            cwd=folder,
            env={**os.environ, "LOADERS_TMP": folder, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
    answers: Any = done.stdout.decode().split()
    assert len(answers) == len(files)
    return list(answers)


if __name__ == "__main__":
    main()
