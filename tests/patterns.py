"""A project of patterns/, laid out to be run here.

Key files and folders are in place of KMS and buckets; else its text is that of patterns/, and
nothing is generated a second time.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests import forked
from tests.components import ROOT

PATTERNS = ROOT / "patterns"
ZONES = ("us-train", "eu")
_KEY = re.compile(r'(?m)^(      (sign|encrypt): )"awskms:///arn:[^"]*"$')
_STORE = re.compile(r"s3://kyc-risk-([a-z-]+)")


def sovgate(folder: Path, *words: object) -> str:
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = forked.SOVGATE.run(*words, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lay_out(name: str, folder: Path, *, gitops: Path | None = None) -> None:
    """Copy patterns/NAME to `folder`, with stores in `folder`-stores/ZONE and keys in keys/."""
    shutil.copytree(PATTERNS / name, folder)
    for zone in ZONES:
        for kind, path in (("sign", f"keys/{zone}-sign.pem"), ("encrypt", f"keys/{zone}.pem")):
            sovgate(folder, "keys", "generate", kind, "-o", path)
    project = folder / "sovgate.yaml"
    text = project.read_text()
    assert len(_KEY.findall(text)) == 4
    for zone in ZONES:
        head, _, rest = text.partition(f"\n  {zone}:\n")
        rest = _KEY.sub(rf'\1"file:keys/{zone}-sign.pem"', rest, count=1)
        rest = _KEY.sub(rf'\1"file:keys/{zone}.pem"', rest, count=1)
        text = f"{head}\n  {zone}:\n{rest}"
    text, times = re.subn(r"(?m)^(      )# ((?:sign|encrypt)-public: )", r"\1\2", text)
    assert times == 4
    text, times = _STORE.subn(rf"file:{folder}-stores/\1", text)
    assert times == 2
    if gitops is not None:
        text = text.replace("https://git.example.eu/ml/serving.git", str(gitops))
    project.write_text(text)
    (folder.parent / f"{folder.name}-stores").mkdir()
