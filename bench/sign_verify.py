"""sovgate against model_signing: sign and verify 4 GiB in four files, and 10,000 small files.

Whole processes, start-up included, the page cache warm. Writes 4 GiB below the temporary folder
(TMPDIR) and removes them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from bench._measure import in_turn, machine, table
from tests import components

MIB = 1024 * 1024


def big(root: Path, mib: int) -> None:
    """Four files. Random once, then each MiB made different, so that nothing can be shared."""
    block = bytearray(os.urandom(MIB))
    size = mib // 4 * MIB
    layer = {"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    head = json.dumps(layer).encode()
    for n in range(4):
        with (root / f"model-{n}.safetensors").open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for at in range(mib // 4):
                block[:16] = n.to_bytes(8) + at.to_bytes(8)
                file.write(block)


def small(root: Path, count: int) -> None:
    """Files of 4 KiB, a hundred a folder."""
    for n in range(count):
        folder = root / f"shard-{n // 100:03}"
        folder.mkdir(exist_ok=True)
        (folder / f"{n:05}.json").write_text(json.dumps(os.urandom(2047).hex()))


def compare(label: str, model: Path, work: Path, peer: Path, repeats: int) -> list[list[str]]:
    """Two rows: sign, verify."""
    us = [sys.executable, "-m", "sovgate"]
    key, public = str(work / "key.pem"), str(work / "key.pub.pem")
    ours, theirs = str(work / "ours.sig"), str(work / "theirs.sig")
    commands = {
        "sign": {
            "us": [*us, "sign", str(model), "--key", key, "--signature", ours],
            "them": [
                str(peer),
                "sign",
                "key",
                str(model),
                "--private_key",
                key,
                "--signature",
                theirs,
            ],
        },
        # Each verifies what the other signed.
        "verify": {
            "us": [*us, "verify", str(model), "--key", public, "--signature", theirs],
            "them": [
                str(peer),
                "verify",
                "key",
                str(model),
                "--public_key",
                public,
                "--signature",
                ours,
            ],
        },
    }
    rows = []
    for verb, pair in commands.items():
        runs = in_turn(pair, repeats)
        mine, other = runs["us"], runs["them"]
        rows.append(
            [
                f"{verb} {label}",
                f"{mine.seconds:.2f} s",
                f"{other.seconds:.2f} s",
                f"{other.seconds / mine.seconds:.2f}x",
                f"{max(mine.spread, other.spread):.0%}",
                f"{mine.cpu:.1f} s",
                f"{other.cpu:.1f} s",
                f"{mine.peak_mib:.0f} MiB",
                f"{other.peak_mib:.0f} MiB",
            ]
        )
    return rows


def main(quick: bool) -> None:
    from tests.signers import KeySigner

    try:
        peer = components.model_signing().cli
    except components.MissingError as error:
        raise SystemExit(str(error)) from error
    share, repeats = (16, 3) if quick else (1, 5)
    mib, count = 4096 // share, 10_000 // share
    signer = KeySigner()
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="sovgate-bench-") as name:
        work = Path(name)
        (work / "key.pem").touch(mode=0o600)
        (work / "key.pem").write_bytes(signer.private_pem)
        (work / "key.pub.pem").write_bytes(signer.public_key.pem)
        for label, make, size in (
            (f"{count:,} files of 4 KiB", small, count),
            (f"{mib} MiB in 4 files", big, mib),
        ):
            model = work / make.__name__
            model.mkdir()
            make(model, size)
            rows += compare(label, model, work, peer, repeats)
    print(f"\nsovgate against model_signing 1.1.1, medians of {repeats}, {machine()}\n")
    head = [
        "what",
        "sovgate",
        "model_signing",
        "faster",
        "spread",
        "CPU",
        "CPU, theirs",
        "peak memory",
        "theirs",
    ]
    print(table(head, rows))
