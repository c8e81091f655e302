"""Two zones of one team as folders: projects, keys, models, stores, a serving repository."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from sovgate.pipeline.look.keys import generate

ROOT = Path(__file__).resolve().parents[1]

SHARED = """\
datasets:
  screening-public:
    manifest: data/screening-public.yaml
  clinic-eu:
    manifest: data/clinic-eu.yaml
    category: personal
    stays-in: [EU]                     # the law keeps it there, and so every model made from it
border:                                # what may cross, by class; anything not named stays
  weights:  {allow: [us-train -> eu, eu -> us-train]}
  metadata: {allow: [us-train -> eu, eu -> us-train]}
audit: {zone: eu}
"""

US_PROJECT = f"""\
version: 1
model: tumour-triage
zones:
  us-train:
    region: aws:us-east-1
    store: file:../store-us
    keys: {{sign: "file:keys/us-sign.pem", encrypt-public: keys/us.pub.pem}}
  eu:
    region: aws-eusc:eusc-de-east-1
    store: file:../store-eu
    keys: {{sign-public: keys/eu-sign.pub.pem, encrypt-public: keys/eu.pub.pem}}
{SHARED}"""

EU_PROJECT = f"""\
version: 1
model: tumour-triage
zones:
  us-train:
    region: aws:us-east-1
    store: file:../store-us
    keys: {{sign-public: keys/us-sign.pub.pem, encrypt-public: keys/us.pub.pem}}
  eu:
    region: aws-eusc:eusc-de-east-1
    store: file:../store-eu
    keys:
      sign: file:keys/eu-sign.pem
      encrypt: file:keys/eu.pem        # the private half never leaves this zone
    gitops: {{repo: ../serving.git, path: overlays/eu, kind: kustomize}}
{SHARED}"""

PUBLIC_MANIFEST = """\
version: 1
id: screening-public
category: public
pointer: https://archive.ics.uci.edu/dataset/17
stays-in: []
records: 285
source: UCI Machine Learning Repository, CC BY 4.0, as scikit-learn ships it
date: 1995-10-31
"""

CLINIC_MANIFEST = """\
version: 1
id: clinic-eu
category: personal
pointer: s3://clinic-eu-records/2026-11/
stays-in: [EU]
records: 284
source: stands for a clinic's own records; here the other half of the same data
date: 2026-11-01
"""

OVERLAY = """\
# What the eu cluster runs. Argo CD or Flux watches this folder.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../base        # the server, without a model
"""

BASE = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml]
"""

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: tumour-triage}
spec:
  replicas: 2
  selector: {matchLabels: {app: tumour-triage}}
  template:
    metadata: {labels: {app: tumour-triage}}
    spec:
      containers:
        - name: server
          image: registry.example.eu/triage/server:1.4.0
"""


def git(*words: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


@functools.cache
def _keys(side: str) -> dict[str, bytes]:
    """The files of a side's keys. RSA takes long to make, so a process makes them once."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in (("sign", f"{side}-sign"), ("encrypt", side)):
            generate(kind, out=Path(folder) / f"{name}.pem")
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def make_sides(tmp_path: Path) -> Path:
    """us/ and eu/ with their projects, keys and models; two stores; the serving repository."""
    for side, project in (("us", US_PROJECT), ("eu", EU_PROJECT)):
        folder = tmp_path / side
        (folder / "data").mkdir(parents=True)
        (folder / "sovgate.yaml").write_text(project)
        (folder / "data/screening-public.yaml").write_text(PUBLIC_MANIFEST)
        (folder / "data/clinic-eu.yaml").write_text(CLINIC_MANIFEST)
        (folder / "tumour-triage").mkdir()
        (folder / "tumour-triage/weights.bin").write_bytes(side.encode() * 1000)
        (tmp_path / f"store-{side}").mkdir()
        (folder / "keys").mkdir()
        for name, data in _keys(side).items():
            path = folder / "keys" / name
            path.touch(0o644 if name.endswith(".pub.pem") else 0o600)
            path.write_bytes(data)
    for side, other in (("us", "eu"), ("eu", "us")):
        for public in (tmp_path / side / "keys").glob("*.pub.pem"):
            shutil.copy(public, tmp_path / other / "keys")
    work = tmp_path / "serving"
    for name, text in (
        ("base/kustomization.yaml", BASE),
        ("base/deployment.yaml", DEPLOYMENT),
        ("overlays/eu/kustomization.yaml", OVERLAY),
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    git("init", "-q", "-b", "main", cwd=work)
    git("add", "-A", cwd=work)
    git("commit", "-qm", "Serve nothing yet", cwd=work)
    git("clone", "-q", "--bare", str(work), str(tmp_path / "serving.git"), cwd=tmp_path)
    (tmp_path / "repository").mkdir()
    return tmp_path
