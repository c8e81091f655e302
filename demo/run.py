"""make demo: a model crosses from us-train to eu, and another may not. No account, no network.

Everything runs through the `sovgate` command, on local folders and key files, in `.demo/`; with
STORE=s3 on an object store and a key service that run on this machine meanwhile. The model is real
(logistic regression on the Wisconsin breast cancer data that scikit-learn ships); so is every key,
signature, blob and commit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
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


def step(name: str, run: Callable[[], str]) -> None:
    """One line a step: what it did and how long it took."""
    started = time.perf_counter()
    said = run()
    seconds = time.perf_counter() - started
    print(f"{paint('1;32', '✓')} {name:<9}{said}  {paint('2', f'{seconds:.2f} s')}", flush=True)


def environment(folder: Path) -> dict[str, str]:
    """What one side knows: nothing of sovgate from outside, and its own credentials alone."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
    if CLOUD is None:
        return clean
    from cloud import credentials

    clean = {k: v for k, v in clean.items() if not k.startswith("AWS_")}
    return {**clean, **credentials("us-train" if folder == US else "eu")}


def sovgate(folder: Path, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """Run the command as a person in that folder would; its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "sovgate", *arguments, "--format", "json"],
        cwd=folder, capture_output=True, text=True, check=False,
        env=environment(folder),
    )  # fmt: skip
    if done.returncode != expect:
        raise SystemExit(
            f"sovgate {' '.join(arguments)}\nexited {done.returncode}, not {expect}\n"
            f"{done.stdout}{done.stderr}"
        )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


# --- the two sides ------------------------------------------------------------------------------

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
        return "two checkouts, two buckets, four KMS keys; only public keys crossed"
    return "two checkouts, two stores, four key pairs; only public keys crossed"


def folders(stores: dict[str, str]) -> None:
    for side, project in ((US, US_PROJECT), (EU, EU_PROJECT)):
        (side / "data").mkdir(parents=True)
        (side / "keys").mkdir()
        (side / "sovgate.yaml").write_text(in_cloud(project) if CLOUD else project)
        (side / "data" / "screening-public.yaml").write_text(PUBLIC_MANIFEST)
        (side / "data" / "clinic-eu.yaml").write_text(CLINIC_MANIFEST)
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
    identity = {"GIT_AUTHOR_NAME": "demo", "GIT_AUTHOR_EMAIL": "demo@localhost",
                "GIT_COMMITTER_NAME": "demo", "GIT_COMMITTER_EMAIL": "demo@localhost"}  # fmt: skip
    return subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", *arguments],
        cwd=cwd, capture_output=True, text=True, check=True, env={**os.environ, **identity},
    ).stdout  # fmt: skip


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


# --- the model ----------------------------------------------------------------------------------


def load_data() -> Any:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    half = len(data.target) // 2
    return (data.data[:half + 1], data.target[:half + 1]), (data.data[half + 1:],
                                                            data.target[half + 1:])  # fmt: skip


def fit(folder: Path, features: Any, target: Any) -> None:
    import numpy
    from safetensors.numpy import save_file
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    model = LogisticRegression(max_iter=500).fit(scaler.transform(features), target)
    folder.mkdir(parents=True)
    tensors = {"mean": scaler.mean_, "scale": scaler.scale_, "weight": model.coef_[0],
               "bias": model.intercept_}  # fmt: skip
    save_file(
        {name: numpy.ascontiguousarray(value, dtype="float64") for name, value in tensors.items()},
        folder / "model.safetensors",
    )
    config = {"architecture": "logistic-regression", "features": int(features.shape[1])}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def predict(folder: Path, features: Any) -> Any:
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    scaled = (features - tensors["mean"]) / tensors["scale"]
    return scaled @ tensors["weight"] + tensors["bias"]


# --- the story ----------------------------------------------------------------------------------


def main() -> None:
    global CLOUD
    if STORE not in ("", "s3"):
        raise SystemExit(f"STORE={STORE} is not known: leave it out, or make demo STORE=s3")
    shutil.rmtree(HERE, ignore_errors=True)
    if not STORE:
        story()
        return
    from cloud import Cloud

    print(paint("2", "starting an object store and a key service on this machine…"), flush=True)
    with Cloud(HERE / "cloud") as CLOUD:
        story()


def story() -> None:
    started = time.perf_counter()
    print(paint("1", "A model crosses a border: us-train (aws:us-east-1, US)"
                     f" → eu ({EU_REGION}, DE)\n"))  # fmt: skip
    model, release = US / "tumour-triage", "tumour-triage/1.0.0"
    facts: dict[str, Any] = {}
    step("set up", lay_out)

    (public_x, public_y), (clinic_x, clinic_y) = load_data()

    def train() -> str:
        fit(model, public_x, public_y)
        accuracy = float(((predict(model, clinic_x) > 0) == clinic_y).mean())
        return f"on screening-public, {len(public_y)} records; {accuracy:.3f} accurate on others"

    def sign() -> str:
        made = sovgate(US, "sign", "tumour-triage", "--key", sign_key("us-train"))
        sovgate(US, "record", "tumour-triage", "--dataset", "screening-public",
                "--key", sign_key("us-train"))  # fmt: skip
        facts["manifest"] = made["manifest"]
        return f"model and training record; manifest sha256:{made['manifest'][:16]}…"

    def check() -> str:
        made = sovgate(US, "check", "tumour-triage", "--action", "transfer",
                       "--zone", "us-train", "--to", "eu")  # fmt: skip
        by = ", ".join(f"{p['id']} ({p['where']})" for p in made["permits"])
        return f"us-train → eu allowed by {by}; {len(made['rules'])} rules asked"

    def push() -> str:
        made = sovgate(US, "push", "tumour-triage", "--release", release,
                       "--zone", "us-train", "--to", "eu")  # fmt: skip
        facts["us-train"] = [made["audit-head"]]
        return f"{made['crossed']:,} bytes for eu's key alone; record sha256:{made['record'][:16]}…"

    def pull() -> str:
        pinned = f"{release}@sha256:{facts['manifest']}"
        made = sovgate(EU, "pull", pinned, "--zone", "eu", "-o", "tumour-triage")
        facts["eu"] = [made["audit-head"]]
        return "verified, decided again by eu's own file, decrypted, receipt signed"

    def load() -> str:
        theirs, ours = predict(model, clinic_x), predict(EU / "tumour-triage", clinic_x)
        if not (theirs == ours).all():
            raise SystemExit("the predictions differ")
        return f"{len(ours)} predictions in eu, equal to the last bit to those in us-train"

    def promote() -> str:
        pinned = f"{release}@sha256:{facts['manifest']}"
        made = sovgate(EU, "promote", pinned, "--zone", "eu")
        facts["commit"] = made["commit"]
        facts["eu"].append(made["audit-head"])
        rendered = render()
        return f"commit {made['commit'][:10]} on serving.git{rendered}"

    def render() -> str:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            return " (kubectl is not here, so not rendered)"
        git("clone", "-q", "serving.git", "serving")
        out = subprocess.run([kubectl, "kustomize", str(HERE / "serving" / "overlays" / "eu")],
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
        for needle in (facts["manifest"], "MODEL_KEY_URI", "kind: Deployment"):
            if needle not in out:
                raise SystemExit(f"the rendered overlay lacks {needle}")
        return "; renders to a Deployment pinned to the manifest"

    def audit() -> str:
        said = []
        for side, zone in ((US, "us-train"), (EU, "eu")):
            heads = [word for head in facts[zone] for word in ("--against", head)]
            done = sovgate(side, "audit", "verify", "--zone", zone, *heads)
            said.append(f"{sum(log['entries'] for log in done['logs'])} entries in {zone}")
        return f"{' and '.join(said)} verify, none cut off: the heads were noted"

    for name, run in (("train", train), ("sign", sign), ("decide", check), ("push", push),
                      ("pull", pull), ("predict", load), ("promote", promote),
                      ("audit", audit)):  # fmt: skip
        step(name, run)
    denied(clinic_x, clinic_y)
    epilogue(time.perf_counter() - started, release, facts)


def denied(features: Any, target: Any) -> None:
    """The same road the other way, with weights that carry what must stay."""
    print()
    fit(EU / "tuned", features, target)
    key = sign_key("eu")
    sovgate(EU, "sign", "tuned", "--key", key)
    sovgate(EU, "record", "tuned", "--dataset", "clinic-eu", "--key", key)
    push = ["push", "tuned", "--release", "tumour-triage/2.0.0", "--zone", "eu", "--to", "us-train"]
    sovgate(EU, *push, expect=10)
    print(paint("1", "Now back: weights tuned on clinic-eu, which stays in the EU"))
    print(paint("2", f"$ sovgate {' '.join(push)}"), flush=True)
    subprocess.run(
        [sys.executable, "-m", "sovgate", *push], cwd=EU, check=False, stderr=subprocess.STDOUT,
        env={**environment(EU), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )  # fmt: skip
    # us-train's own audit log lies there too, and the object on which create-only was tried out.
    left = [name for name in in_store("us-train") if name.split("/")[0] not in ("audit", ".probe")]
    if left:
        raise SystemExit(f"something reached the US after all: {left}")
    print(f"{paint('1;32', '✓')} nothing reached store-us; the refusal is in eu's audit log")
    if CLOUD is not None:
        tensors = (EU / "tumour-triage" / "model.safetensors").read_bytes()
        if any(tensors[-64:] in data for _, data in CLOUD.objects("eu")):
            raise SystemExit("plaintext lies in eu's bucket")


def in_store(zone: str) -> list[str]:
    if CLOUD is not None:
        return [name for name, _ in CLOUD.objects(zone)]
    store = HERE / f"store-{zone.removesuffix('-train')}"
    return [p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()]


def epilogue(seconds: float, release: str, facts: dict[str, Any]) -> None:
    shown = HERE.relative_to(ROOT) if HERE.is_relative_to(ROOT) else HERE
    if CLOUD is not None:
        crossed = CLOUD.objects("eu")
        print(f"""
{paint("1", "What lay where")} ({shown}/, {seconds:.1f} s in all; both services are stopped now)
  {len(crossed)} objects, {sum(len(data) for _, data in crossed):,} bytes in {CLOUD.stores["eu"]}
  us/, eu/        the two sides; their private keys were in the key service and never here
  cloud/          what the two services wrote: their logs, and the store's volumes
  serving.git/    the repository that drives the rollout; commit {facts["commit"][:10]}""")
        return
    print(f"""
{paint("1", "What lies where")} ({shown}/, {seconds:.1f} s in all)
  us/             the training side: model, evidence, its keys, its sovgate.yaml
  store-eu/       what crossed: ciphertext, the signed release record, receipt, audit log
  eu/             the serving side: the opened model, and its own view of the border
  serving.git/    the repository that drives the rollout; commit {facts["commit"][:10]}

{paint("1", "Try next")}  (. .venv/bin/activate; cd {shown}/eu)
  sovgate verify tumour-triage                       then change a byte of it, and again
  sovgate check tuned --action transfer --zone eu --to us-train --format json
  sovgate pull {release} --zone eu -o again     what an unpinned pull says
  $EDITOR sovgate.yaml                               e.g. stays-in: [EU, US], and push tuned again
  sovgate audit verify --zone eu""")


if __name__ == "__main__":
    main()
