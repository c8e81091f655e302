"""Two checkouts on two sides of a border, and what the demo needs to act in them.

Touches `.demo/` (or DEMO_DIR) alone, and runs the `sovgate` command as a person would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(os.environ.get("DEMO_DIR") or ROOT / ".demo")
US, EU = HERE / "us", HERE / "eu"  # two checkouts on two sides of a border
STORE = os.environ.get("DEMO_STORE", "")
# The key service on this machine plays accounts of partition aws alone.
EU_REGION = "aws:eu-central-1" if STORE else "aws-eusc:eusc-de-east-1"
CLOUD: Any = None  # demo/cloud.py's servers, while they run
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float
    decision: str


#: Every step that was made, for the table at the end.
STEPS: list[Step] = []


def step(name: str, run: Callable[[], str], decision: str = "", mark: str = "✓") -> None:
    """One line a step: what it did and how long it took."""
    started = time.perf_counter()
    said = run()
    seconds = time.perf_counter() - started
    STEPS.append(Step(name, seconds, decision))
    sign = paint("1;32" if mark == "✓" else "1;31", mark)
    print(f"{sign} {name:<9}{said}  {paint('2', f'{seconds:.2f} s')}", flush=True)


def environment(folder: Path) -> dict[str, str]:
    """What one side knows: nothing of sovgate from outside, and its own credentials alone."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
    if CLOUD is None:
        return clean
    from cloud import credentials

    clean = {k: v for k, v in clean.items() if not k.startswith("AWS_")}
    return {**clean, **credentials("us-train" if folder == US else "eu")}


def sovgate(folder: Path, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """Run the command as a person in that folder would; its JSON document.

    Another exit code than the expected one ends the demo.
    """
    done = subprocess.run(
        [sys.executable, "-m", "sovgate", *arguments, "--format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment(folder),
    )
    if done.returncode != expect:
        raise SystemExit(
            f"sovgate {' '.join(arguments)}\nexited {done.returncode}, not {expect}\n"
            f"{done.stdout}{done.stderr}"
        )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


SHARED = """\
datasets:
  public-pretrain:
    manifest: data/public-pretrain.yaml
  kyc-eu:
    manifest: data/kyc-eu.yaml
    category: personal
    stays-in: [EU]                     # the law keeps it there, and so every model made from it
border:                                # what may cross, by class; anything not named stays
  weights:  {allow: [us-train -> eu, eu -> us-train]}
  metadata: {allow: [us-train -> eu, eu -> us-train]}
audit: {zone: eu}
"""

US_PROJECT = f"""\
version: 1
model: kyc-risk
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
model: kyc-risk
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
id: public-pretrain
category: public
pointer: https://archive.ics.uci.edu/dataset/17
stays-in: []
records: 285
source: UCI Machine Learning Repository, CC BY 4.0, as scikit-learn ships it
date: 1995-10-31
"""

CLINIC_MANIFEST = """\
version: 1
id: kyc-eu
category: personal
pointer: s3://kyc-eu-records/2026-11/
stays-in: [EU]
records: 284
source: stands for a bank's own records; here the other half of the same data
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
metadata: {name: kyc-risk}
spec:
  replicas: 2
  selector: {matchLabels: {app: kyc-risk}}
  template:
    metadata: {labels: {app: kyc-risk}}
    spec:
      containers:
        - name: server
          image: registry.example.eu/kyc/server:1.4.0
"""


def in_cloud(project: str) -> str:
    """The same project with buckets for folders, and KMS keys for the private key files."""
    texts = {
        "aws-eusc:eusc-de-east-1": EU_REGION,
        "file:../store-us": f'"{CLOUD.stores["us-train"]}"',
        "file:../store-eu": f'"{CLOUD.stores["eu"]}"',
        '"file:keys/us-sign.pem"': f'"{CLOUD.keys["us-train", "sign"]}"',
        "file:keys/eu-sign.pem": f'"{CLOUD.keys["eu", "sign"]}"',
        "file:keys/eu.pem ": f'"{CLOUD.keys["eu", "encrypt"]}" ',
    }
    for old, new in texts.items():
        project = project.replace(old, new)
    return project


def sign_key(zone: str) -> str:
    if CLOUD is not None:
        return str(CLOUD.keys[zone, "sign"])
    return "file:keys/us-sign.pem" if zone == "us-train" else "file:keys/eu-sign.pem"


def lay_out() -> str:
    folders(CLOUD.stores if CLOUD else {})
    if CLOUD is not None:
        for zone, short in (("us-train", "us"), ("eu", "eu")):
            for side in (US, EU):
                (side / f"keys/{short}-sign.pub.pem").write_text(CLOUD.public_pem(zone, "sign"))
                (side / f"keys/{short}.pub.pem").write_text(CLOUD.public_pem(zone, "encrypt"))
    else:
        key_files()
    serving_repository()
    for side in (US, EU):
        sovgate(side, "lint")
    if CLOUD is not None:
        return "two buckets, four KMS keys; only public keys crossed"
    return "two stores, four key pairs; only public keys crossed"


def folders(stores: dict[str, str]) -> None:
    for side, project in ((US, US_PROJECT), (EU, EU_PROJECT)):
        (side / "data").mkdir(parents=True)
        (side / "keys").mkdir()
        (side / "sovgate.yaml").write_text(in_cloud(project) if CLOUD else project)
        (side / "data" / "public-pretrain.yaml").write_text(PUBLIC_MANIFEST)
        (side / "data" / "kyc-eu.yaml").write_text(CLINIC_MANIFEST)
    for folder in () if stores else ("store-us", "store-eu"):
        (HERE / folder).mkdir()


def key_files() -> None:
    for side, name, kind in (
        (US, "us-sign", "sign"),
        (EU, "eu-sign", "sign"),
        (US, "us", "encrypt"),
        (EU, "eu", "encrypt"),
    ):
        sovgate(side, "keys", "generate", kind, "-o", f"keys/{name}.pem")
    for source, target in ((US, EU), (EU, US)):  # public halves are all that ever cross
        for public in (source / "keys").glob("*.pub.pem"):
            shutil.copy(public, target / "keys")


def git(*arguments: str, cwd: Path = HERE) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "demo",
        "GIT_AUTHOR_EMAIL": "demo@localhost",
        "GIT_COMMITTER_NAME": "demo",
        "GIT_COMMITTER_EMAIL": "demo@localhost",
    }
    return subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **identity},
    ).stdout


def serving_repository() -> None:
    work = HERE / "serving"
    for name, text in (
        ("base/kustomization.yaml", BASE),
        ("base/deployment.yaml", DEPLOYMENT),
        ("overlays/eu/kustomization.yaml", OVERLAY),
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    git("init", "-q", cwd=work)
    git("add", "-A", cwd=work)
    git("commit", "-qm", "Serve nothing yet", cwd=work)
    git("clone", "-q", "--bare", str(work), "serving.git")
    shutil.rmtree(work)
