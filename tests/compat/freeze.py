"""Writes tests/compat/v0/<NAME>: one of each file that this version writes, kept for ever.

    python -m tests.compat.freeze NAME

Run it when a format changes before v1, or at a release, and commit what it writes; what is there is
never written again. The keys in it guard nothing but these files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = """version: 1
model: frozen
zones:
  home:
    region: aws:us-east-1
    keys: {sign: "file:keys/home.pem", encrypt: "file:keys/home-ec.pem"}
  eu:
    region: aws-eusc:eusc-de-east-1
    store: {uri: "file:store-eu", reuse: true}
    keys:
      sign: "file:keys/eu.pem"
      encrypt: "file:keys/eu-rsa.pem"
      sign-public: keys/eu-sign.json
      encrypt-public: keys/eu-encrypt.json
  fr:
    region: scaleway:fr-par
    store: file:store-fr
    keys: {sign: "file:keys/fr.pem", encrypt: "file:keys/fr-hybrid.pem"}
datasets:
  public: {manifest: data/public.yaml}
border:
  weights: {allow: [home -> eu, home -> fr]}
  metadata: {allow: [home -> eu, home -> fr]}
"""
MANIFEST = """version: 1
id: public
category: public
pointer: https://data.example/public.csv
stays-in: []
records: 10
source: made for this test
date: 2026-11-01
"""


def freeze(target: Path) -> None:
    if target.exists():
        sys.exit(f"{target} is there: what is frozen is never written again")

    def sovgate(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "sovgate", *words],
            cwd=target,
            check=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )

    (target / "data").mkdir(parents=True)
    (target / "sovgate.yaml").write_text(PROJECT)
    (target / "data" / "public.yaml").write_text(MANIFEST)
    for kind, name, more in (
        ("sign", "home", ()),
        ("sign", "eu", ("--algorithm", "ec-p384")),
        ("sign", "fr", ()),
        ("encrypt", "home-ec", ("--algorithm", "ec-p256")),
        ("encrypt", "eu-rsa", ()),
        ("encrypt", "fr-hybrid", ("--algorithm", "ml-kem-768-x25519")),
    ):
        sovgate("keys", "generate", kind, "-o", f"keys/{name}.pem", *more)
    for use in ("sign", "encrypt"):
        sovgate("keys", "export", use, "--zone", "eu", "-o", f"keys/eu-{use}.json")
    model = target / "model"
    (model / "sub").mkdir(parents=True)
    (model / "weights.bin").write_bytes(bytes(range(256)) * 8)
    (model / "sub" / "é.txt").write_text("naïve\n", encoding="utf-8")
    (model / "sub-list.txt").write_bytes(b"before sub/ by name, after it by path components\n")
    (model / "empty").write_bytes(b"")
    key = ("--key", "file:keys/home.pem")
    sovgate("sign", "model", *key)
    sovgate("record", "model", "--dataset", "public", *key)
    with TemporaryDirectory() as state:
        for zone, release in (("eu", "1.0.0"), ("fr", "1.0.0"), ("eu", "1.1.0")):
            where = ("--zone", "home", "--to", zone, "--state", state)
            # The second release of eu has nothing but what the first one brought there.
            sovgate("push", "model", "--release", f"frozen/{release}", *where)
    for zone in ("eu", "fr"):
        sovgate("pull", "frozen/1.0.0", "--zone", zone, "-o", f"pulled-{zone}")
        for left in (f"pulled-{zone}", f"pulled-{zone}.evidence"):
            shutil.rmtree(target / left)
    sovgate("encrypt", "model", "--to", "eu", "--to", "fr", "-o", "sealed")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    freeze(Path(__file__).parent / "v0" / sys.argv[1])
