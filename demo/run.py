"""make demo: a model crosses from us-train to eu, is tuned there on what may not leave, and served.

Everything runs through the `sovgate` command, on local folders and key files, in `.demo/`; with
STORE=s3 on an object store and a key service that run on this machine meanwhile. The model is real
(logistic regression on data that scikit-learn ships); so is every key, signature, chunk and commit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any

import hybrid
import world
from model import accuracy, fit, load_data, predict
from world import (
    EU,
    EU_REGION,
    HERE,
    ROOT,
    STEPS,
    STORE,
    US,
    environment,
    git,
    lay_out,
    paint,
    sign_key,
    sovgate,
    step,
)

#: The guide's figures: weights replicated within five minutes, compliance shown within an hour.
GUIDE = {"replication": 5 * 60, "compliance": 60 * 60}


def main() -> None:
    if STORE not in ("", "s3"):
        raise SystemExit(f"STORE={STORE} is not known: leave it out, or make demo STORE=s3")
    shutil.rmtree(HERE, ignore_errors=True)
    if not STORE:
        story()
        return
    from cloud import Cloud

    print(paint("2", "starting an object store and a key service on this machine…"), flush=True)
    with Cloud(HERE / "cloud") as world.CLOUD:
        story()


def story() -> None:
    started = time.perf_counter()
    print(
        paint(
            "1",
            "A model crosses a border: us-train → eu\n"
            f"from aws:us-east-1 in US to {EU_REGION} in DE\n",
        )
    )
    model, release = US / "kyc-risk", "kyc-risk/1.0.0"
    facts: dict[str, Any] = {}
    step("set up", lay_out)

    (public_x, public_y), (local_x, local_y) = load_data()

    def train() -> str:
        fit(model, public_x, public_y)
        found = accuracy(model, local_x, local_y)
        return f"on public-pretrain, {len(public_y)} records; {found:.3f} accurate on others"

    def sign() -> str:
        made = sovgate(US, "sign", "kyc-risk", "--key", sign_key("us-train"))
        sovgate(
            US, "record", "kyc-risk", "--dataset", "public-pretrain", "--key", sign_key("us-train")
        )
        facts["manifest"] = made["manifest"]
        return f"model and record; manifest sha256:{made['manifest'][:16]}…"

    def check() -> str:
        made = sovgate(
            US, "check", "kyc-risk", "--action", "transfer", "--zone", "us-train", "--to", "eu"
        )
        by = ", ".join(f"{p['id']} ({p['where']})" for p in made["permits"])
        return f"allowed by {by}; {len(made['rules'])} rules asked"

    def push() -> str:
        made = sovgate(
            US, "push", "kyc-risk", "--release", release, "--zone", "us-train", "--to", "eu"
        )
        facts["us-train"] = [made["audit-head"]]
        return f"{made['crossed']:,} bytes for eu alone; record sha256:{made['record'][:16]}…"

    def pull() -> str:
        pinned = f"{release}@sha256:{facts['manifest']}"
        made = sovgate(EU, "pull", pinned, "--zone", "eu", "-o", "kyc-risk")
        facts["eu"] = [made["audit-head"]]
        return "verified, decided by eu's own file, decrypted; receipt signed"

    def load() -> str:
        theirs, ours = predict(model, local_x), predict(EU / "kyc-risk", local_x)
        if not (theirs == ours).all():
            raise SystemExit("the predictions differ")
        return f"{len(ours)} predictions in eu, equal to us-train's to the last bit"

    def promote() -> str:
        pinned = f"{release}@sha256:{facts['manifest']}"
        made = sovgate(EU, "promote", pinned, "--zone", "eu")
        facts["commit"] = made["commit"]
        facts["eu"].append(made["audit-head"])
        rendered = render()
        return f"commit {made['commit'][:10]}; {rendered}"

    def render() -> str:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            return "kubectl is not here, so not rendered"
        git("clone", "-q", "serving.git", "serving")
        out = subprocess.run(
            [kubectl, "kustomize", str(HERE / "serving" / "overlays" / "eu")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for needle in (facts["manifest"], "MODEL_KEY_URI", "kind: Deployment"):
            if needle not in out:
                raise SystemExit(f"the rendered overlay lacks {needle}")
        return "renders to a Deployment with that manifest"

    def audit() -> str:
        said = []
        for side, zone in ((US, "us-train"), (EU, "eu")):
            heads = [word for head in facts[zone] for word in ("--against", head)]
            done = sovgate(side, "audit", "verify", "--zone", zone, *heads)
            said.append(f"{sum(log['entries'] for log in done['logs'])} in {zone}")
        return f"all entries verify, {' and '.join(said)}; none cut off"

    for name, run, decision in (
        ("train", train, ""),
        ("sign", sign, ""),
        ("decide", check, "allowed"),
        ("push", push, "allowed"),
        ("pull", pull, "allowed"),
        ("predict", load, ""),
        ("promote", promote, "allowed"),
        ("audit", audit, ""),
    ):
        step(name, run, decision)
    hybrid.story(local_x, local_y)
    denied()
    table()
    epilogue(time.perf_counter() - started, release, facts)


def denied() -> None:
    """The same road the other way, with weights that carry what must stay."""
    push = ["push", "tuned-1", "--release", "kyc-risk/2.0.0", "--zone", "eu", "--to", "us-train"]
    sovgate(EU, *push, expect=10)
    print(
        f"\n{paint('1', 'Now back to us-train: weights tuned on kyc-eu, which stays in the EU')}\n"
    )
    print(paint("2", f"$ sovgate {' '.join(push)}"), flush=True)
    subprocess.run(
        [sys.executable, "-m", "sovgate", *push],
        cwd=EU,
        check=False,
        stderr=subprocess.STDOUT,
        env={**environment(EU), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    # us-train's own audit log lies there too, and the object on which create-only was tried out.
    left = [name for name in in_store("us-train") if name.split("/")[0] not in ("audit", ".probe")]
    if left:
        raise SystemExit(f"something reached the US after all: {left}")
    print(f"{paint('1;32', '✓')} nothing reached store-us; the refusal is in eu's audit log")
    if world.CLOUD is not None:
        tensors = (EU / "kyc-risk" / "model.safetensors").read_bytes()
        if any(tensors[-64:] in data for _, data in world.CLOUD.objects("eu")):
            raise SystemExit("plaintext lies in eu's bucket")


def table() -> None:
    """Each step, its time and decision; what the guide asks for beside what was measured."""
    print("\n" + paint("1", f"{'step':<12}{'seconds':>8}  decision"))
    for one in STEPS:
        print(f"{one.name:<12}{one.seconds:>8.2f}  {one.decision}")
    names = [one.name for one in STEPS]
    seconds = {
        "replication": sum(one.seconds for one in STEPS if one.name in ("push", "pull")),
        # from the tuned weights to the commit that serves them, with all evidence for an auditor
        "compliance": sum(
            one.seconds for one in STEPS[names.index("evidence") : names.index("release") + 1]
        ),
    }
    print(paint("1", f"\n{'':<12}{'here':>10}  {'the guide allows':>16}"))
    for name, found in seconds.items():
        print(f"{name:<12}{found:>8.1f} s  {GUIDE[name] / 60:>12.0f} min")


def in_store(zone: str) -> list[str]:
    if world.CLOUD is not None:
        return [name for name, _ in world.CLOUD.objects(zone)]
    store = HERE / f"store-{zone.removesuffix('-train')}"
    return [p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()]


def epilogue(seconds: float, release: str, facts: dict[str, Any]) -> None:
    shown = HERE.relative_to(ROOT) if HERE.is_relative_to(ROOT) else HERE
    if world.CLOUD is not None:
        crossed, store = world.CLOUD.objects("eu"), world.CLOUD.stores["eu"]
        print(f"""
{paint("1", "What lay where")} ({shown}/, {seconds:.1f} s in all; both services are stopped now)
  {len(crossed)} objects, {sum(len(data) for _, data in crossed):,} bytes in {store}
  us/, eu/        the two sides; their private keys were in the key service and never here
  cloud/          what the two services wrote: their logs, and the store's volumes
  serving.git/    what drives the rollout; commit {facts["commit"][:10]}""")
        return
    print(f"""
{paint("1", "What lies where")} ({shown}/, {seconds:.1f} s in all)
  us/             the training side: model, evidence, its keys, its sovgate.yaml
  store-eu/       what crossed: ciphertext, release record, receipt, audit log
  eu/             the serving side: the opened model, its own sovgate.yaml
  serving.git/    what drives the rollout; commit {facts["commit"][:10]}

{paint("1", "Try next")}  (. .venv/bin/activate; cd {shown}/eu)
  sovgate verify kyc-risk                     then change a byte, and again
  sovgate audit show kyc-risk/1.1.0           a release's whole story, verified
  sovgate check tuned-1 --action transfer --zone eu --to us-train --format json
  sovgate pull {release} --zone eu -o again   what an unpinned pull says
  sovgate audit verify --zone eu              offline, and trusting no store
  sovgate push tuned-1 --release kyc-risk/2.0.0 --zone eu --to us-train
                                              then do what the fix says, again""")


if __name__ == "__main__":
    main()
