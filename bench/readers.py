"""What sovgate reads of hostile or huge files, beside SHA-256 of the same bytes.

In this process (pickles in a child of it), one core, the best of several; and `sbom` of 10,000
files beside `sign` of them, as whole processes. That a reader makes no more calls than it should,
the tests hold.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench._measure import in_turn, machine, table
from sovgate.scanner.child import Scanner
from tests import headers
from tests.signers import KeySigner


def best(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def inputs() -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """What is read -> its bytes, and what reads them."""
    from sovgate.errors import VerificationFailed
    from sovgate.formats import secrets, tensors

    def header(data: bytes) -> None:
        with contextlib.suppress(VerificationFailed):
            tensors.read("safetensors", tensors.BytesSource(data))

    def pickles(data: bytes) -> None:
        """In a child of its own, whose start counts too."""
        with tempfile.TemporaryFile() as file, Scanner() as scanner:
            file.write(data)
            file.flush()
            assert scanner.scan("data.csv.gz", file.fileno()) is None

    names = b",".join(
        b'"model.layers.%d.weight":{"dtype":"BF16","shape":[0,7168],"data_offsets":[0,0]}' % n
        for n in range(100_000)
    )
    too_many = b",".join(
        b'"layers.%09d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n
        for n in range(1_500_000)
    )
    text = b"".join(b"row %d of a table, with words\n" % n for n in range(300_000))
    return {
        "header of 100,000 tensors": (headers.safetensors(b"{" + names + b"}"), header),
        "header over the limit": (headers.safetensors(b"{" + too_many[:99_000_000]), header),
        "gzip, looked through for pickles": (gzip.compress(text), pickles),
        "text, looked through for secrets": (
            text,
            lambda data: secrets.search("a.csv", tensors.BytesSource(data)),
        ),
    }


def files(folder: Path, count: int) -> None:
    for number in range(count):
        place = folder / f"{number % 40:02}"
        place.mkdir(parents=True, exist_ok=True)
        data = headers.tensors(headers.entry("a", 0, 8), data=number.to_bytes(8))
        (place / f"{number:05}.{'safetensors' if number % 4 == 0 else 'bin'}").write_bytes(data)


def clean(folder: Path) -> None:
    for name in ("s", "bom.json"):
        (folder / name).unlink(missing_ok=True)


def main(quick: bool) -> None:
    repeats, count = (2, 1000) if quick else (7, 10_000)
    rows = []
    for what, (data, read) in inputs().items():
        took = best(partial(read, data), repeats)
        hashed = best(partial(hashlib.sha256, data), repeats)
        rate = f"{len(data) / took / 1e6:.0f} MB/s"
        rows.append([what, f"{len(data) / 1e6:.0f} MB", rate, f"{took / hashed:.1f}x"])
    print(f"\nreaders, the best of {repeats}, {machine()}\n")
    print(table(["what", "size", "rate", "SHA-256 of it"], rows))

    us = [sys.executable, "-m", "sovgate"]
    with tempfile.TemporaryDirectory(prefix="sovgate-bench-") as name:
        folder = Path(name)
        files(folder / "model", count)
        key = folder / "key.pem"
        key.touch(mode=0o600)
        key.write_bytes(KeySigner().private_pem)
        model = str(folder / "model")
        runs = in_turn(
            {
                "sign": [*us, "sign", model, "--key", str(key), "--signature", f"{name}/s"],
                "sbom": [*us, "sbom", model, "--output", f"{name}/bom.json"],
            },
            repeats,
            lambda: clean(folder),
        )
    sign, sbom = runs["sign"].best, runs["sbom"].best
    print(f"\nsbom of {count:,} files: {sbom:.2f} s, {sbom / sign:.1f}x what sign of them takes")
