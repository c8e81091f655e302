"""The demo's two zones as folders: projects, keys, models, stores, a serving repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from demo import run as demo

ROOT = Path(__file__).resolve().parents[1]


def git(*words: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def make_sides(tmp_path: Path) -> Path:
    """us/ and eu/ with their projects, keys and models; two stores; the serving repository."""
    for side, project in (("us", demo.US_PROJECT), ("eu", demo.EU_PROJECT)):
        folder = tmp_path / side
        (folder / "data").mkdir(parents=True)
        (folder / "sovgate.yaml").write_text(project)
        (folder / "data/screening-public.yaml").write_text(demo.PUBLIC_MANIFEST)
        (folder / "data/clinic-eu.yaml").write_text(demo.CLINIC_MANIFEST)
        (folder / "tumour-triage").mkdir()
        (folder / "tumour-triage/weights.bin").write_bytes(side.encode() * 1000)
        (tmp_path / f"store-{side}").mkdir()
        for kind, name in (("sign", f"{side}-sign"), ("encrypt", side)):
            subprocess.run(
                [sys.executable, "-m", "sovgate", "keys", "generate", kind,
                 "-o", folder / "keys" / f"{name}.pem"],
                cwd=ROOT, check=True, capture_output=True,
            )  # fmt: skip
    for side, other in (("us", "eu"), ("eu", "us")):
        for public in (tmp_path / side / "keys").glob("*.pub.pem"):
            shutil.copy(public, tmp_path / other / "keys")
    work = tmp_path / "serving"
    for name, text in (
        ("base/kustomization.yaml", demo.BASE),
        ("base/deployment.yaml", demo.DEPLOYMENT),
        ("overlays/eu/kustomization.yaml", demo.OVERLAY),
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    git("init", "-q", "-b", "main", cwd=work)
    git("add", "-A", cwd=work)
    git("commit", "-qm", "Serve nothing yet", cwd=work)
    git("clone", "-q", "--bare", str(work), str(tmp_path / "serving.git"), cwd=tmp_path)
    (tmp_path / "repository").mkdir()
    return tmp_path
