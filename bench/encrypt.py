"""sovgate against age and Tink: encrypt and decrypt one large file for one recipient.

Whole processes, start-up included, the page cache warm. Writes three times 4 GiB below the
temporary folder (TMPDIR) and removes them. sovgate does more: it verifies a signature, takes
SHA-256 of plaintext and of each chunk where the others take none, and syncs to the disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from bench._measure import in_turn, machine, table
from tests import components

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024

TINK = """
import sys
sys.path.insert(0, sys.argv[1])
import tink
from tink import streaming_aead as registered
from bench._tink import streaming_aead
registered.register()
primitive, ad = streaming_aead(tink, bytes(range(32))), b"{}"
source, sink = open(sys.argv[3], "rb"), open(sys.argv[4], "wb")
if sys.argv[2] == "encrypt":
    with primitive.new_encrypting_stream(sink, ad) as out:
        while block := source.read(1 << 20):
            out.write(block)
else:
    with primitive.new_decrypting_stream(source, ad) as plain:
        while block := plain.read(1 << 20):
            sink.write(block)
"""

PYRAGE = """
import sys, pyrage
key = pyrage.x25519.Identity.from_str(sys.argv[1])
if sys.argv[2] == "encrypt":
    pyrage.encrypt_file(sys.argv[3], sys.argv[4], [key.to_public()])
else:
    pyrage.decrypt_file(sys.argv[3], sys.argv[4], [key])
"""


def write_model(path: Path, mib: int) -> None:
    """Random once, then each MiB made different."""
    block = bytearray(os.urandom(MIB))
    with path.open("wb") as file:
        for at in range(mib):
            block[:8] = at.to_bytes(8)
            file.write(block)


def commands(work: Path) -> dict[str, tuple[list[str], list[str]]]:
    """name -> (encrypt, decrypt); each reads `model`, and writes `NAME.enc` and `NAME.out`."""
    model, python = str(work / "model"), sys.executable

    def made(name: str) -> tuple[str, str]:
        return str(work / f"{name}.enc"), str(work / f"{name}.out")

    enc, out = made("sovgate")
    ours = [python, "-m", "sovgate"]
    project = ["--project", str(work)]
    found = {
        "sovgate": (
            [*ours, "encrypt", model, "--to", "eu", "-o", enc, *project],
            [*ours, "decrypt", enc, "--zone", "eu", "-o", out, *project],
        )
    }
    try:
        age = str(components.program("age"))
    except components.MissingError as error:
        print(error)
    else:
        enc, out = made("age")
        key = work / "age.key"
        subprocess.run([f"{age}-keygen", "-o", str(key)], check=True, capture_output=True)
        public = key.read_text().split("public key: ")[1].split()[0]
        found["age"] = (
            [age, "-r", public, "-o", enc, model],
            [age, "-d", "-i", str(key), "-o", out, enc],
        )
    if find_spec("pyrage"):
        import pyrage

        enc, out = made("pyrage")
        base = [python, "-c", PYRAGE, str(pyrage.x25519.Identity.generate())]
        found["pyrage"] = ([*base, "encrypt", model, enc], [*base, "decrypt", enc, out])
    if find_spec("tink"):
        enc, out = made("tink")
        base = [python, "-c", TINK, str(ROOT)]
        found["tink"] = ([*base, "encrypt", model, enc], [*base, "decrypt", enc, out])
    return found


def remover(work: Path, ending: str) -> Callable[[], None]:
    """Removes what the runs before wrote, so that each writes anew."""

    def remove() -> None:
        for path in work.glob(f"*.{ending}"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.rmtree(work / "sovgate.out.evidence", ignore_errors=True)

    return remove


def main(quick: bool) -> None:
    from tests.sealing import make_desk, sign_model

    mib, repeats = (256, 3) if quick else (4096, 5)
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="sovgate-bench-") as name:
        work = Path(name)
        desk = make_desk(work, b"placeholder")
        write_model(desk.model, mib)
        sign_model(desk)
        pairs = commands(work)
        for place, action, ending in ((0, "encrypt", "enc"), (1, "decrypt", "out")):
            if action == "decrypt":
                for encrypt, _ in pairs.values():
                    subprocess.run(encrypt, check=True, capture_output=True)
            runs = in_turn(
                {tool: pair[place] for tool, pair in pairs.items()}, repeats, remover(work, ending)
            )
            for tool, run in runs.items():
                gigabytes = mib * MIB / 1e9
                rows.append(
                    [
                        f"{action} {mib} MiB",
                        tool,
                        f"{gigabytes / run.seconds:.2f} GB/s",
                        f"{run.seconds / runs['sovgate'].seconds:.2f}x",
                        f"{run.spread:.0%}",
                        f"{run.cpu / gigabytes:.2f} s/GB",
                        f"{run.peak_mib:.0f} MiB",
                    ]
                )
    print(f"\nsovgate against age and Tink, medians of {repeats}, {machine()}\n")
    head = ["what", "tool", "speed", "sovgate is faster", "spread", "CPU", "peak memory"]
    print(table(head, rows))
