"""The second half of `make demo`: the zone tunes the model on what may not leave, and rolls out.

Goes on inside eu where run.py pulled the base model: evidence by jobs without a key, the zone's own
signature, a lawyer's word for this state of the data; a worse version is stopped, a third promoted
and rolled back.
"""

from __future__ import annotations

import csv
from typing import Any

import world
from model import accuracy, predict, tune
from world import EU, paint, sign_key, sovgate, step

NAME = "kyc-risk"
DATASET = "kyc-eu"
#: What the base model answers on the test set: both gates are pinned to its samples.
BASELINE = "base.csv"
STATEMENT = "DPIA 2026-11 covers this use"

MORE = """
trust:                                 # eu's file decides who may say what in eu
  - {name: central-ci, key: keys/us-sign.pub.pem, from: us-train,
     may: [signature, sbom, provenance, transfer]}
  - {name: eu-ci, key: keys/eu-sign.pub.pem, from: eu,
     may: [signature, sbom, provenance, gate, transfer, receipt]}
  - {name: legal, key: keys/dpo.pub.pem, may: [legal]}
gates:                                 # what must have passed before eu deploys
  accuracy:                            # `gate pin` adds what it is measured on
    at-least: 0.90
    before: deploy
  regression:
    at-most: 0.08
    before: deploy
  legal: {dataset: kyc-eu, before: deploy}
"""


class Records:
    """The zone's own data: a part to tune on, and one that no model sees before its test."""

    def __init__(self, features: Any, target: Any) -> None:
        half = len(target) // 2
        self.tune = (features[:half], target[:half])
        self.test = (features[half:], target[half:])


def ask_for_more(records: Records) -> str:
    """eu commits to its data where it lies; from now on it wants gates, pinned to its test set,
    and a lawyer's word."""
    folder = EU / "kyc"
    folder.mkdir()
    with (folder / "records.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        for features, label in zip(*records.tune, strict=True):
            rows.writerow([*(f"{value:.6g}" for value in features), int(label)])
    sovgate(EU, "keys", "generate", "sign", "-o", "keys/dpo.pem")
    sovgate(EU, "data", "key", "-o", "keys/kyc-eu.key")
    made = sovgate(
        EU,
        "data",
        "commit",
        "kyc",
        "--dataset",
        DATASET,
        "--epoch",
        "2026-11",
        "--key",
        "keys/kyc-eu.key",
    )
    project = EU / "sovgate.yaml"
    project.write_text(project.read_text() + MORE)
    sovgate(EU, "gate", "pin", "accuracy", "--predictions", BASELINE)
    sovgate(EU, "gate", "pin", "regression", "--baseline", BASELINE)
    sovgate(EU, "lint")
    return f"{DATASET} as {made['commitment'][:16]}…; two gates, a lawyer asked"


def tuned(name: str, records: Records, steps: int, *, upside_down: bool = False) -> str:
    features, target = records.tune
    tune(EU / NAME, EU / name, features, 1 - target if upside_down else target, steps)
    found = accuracy(EU / name, *records.test)
    return f"{steps} steps from the base on {DATASET}; {found:.3f} accurate on others"


def predictions(model: str, records: Records, name: str) -> str:
    """What a test job writes: id, label, prediction. It runs model code, so it holds no key."""
    features, target = records.test
    with (EU / f"{name}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "label", "prediction"])
        for index, score in enumerate(predict(EU / model, features)):
            rows.writerow([index, int(target[index]), int(score > 0)])
    return f"{name}.csv"


def evidence(name: str, records: Records) -> str:
    """Record, SBOM and gates without a key; one signing step for all that they wrote."""
    key = ("--key", sign_key("eu"))
    sovgate(EU, "sign", name, *key)
    sovgate(EU, "record", name, "--dataset", DATASET, "--base-model", NAME)
    sovgate(EU, "sbom", name)
    tested = predictions(name, records, name)
    said = [
        gate(name, "accuracy", "--predictions", tested),
        gate(name, "regression", "--predictions", tested, "--baseline", BASELINE),
    ]
    sovgate(EU, "attest", name, "--all-unsigned", *key)
    return ", ".join(said)


def gate(name: str, which: str, *words: str, expect: int = 0) -> str:
    made = sovgate(EU, "gate", which, name, *words, expect=expect)
    low, high = float(made["low"]), float(made["high"])
    return f"{which} {made['outcome']} [{low:.3f}, {high:.3f}]"


def legal(name: str) -> str:
    sovgate(
        EU,
        "attest",
        name,
        "--legal",
        "--dataset",
        DATASET,
        "--zone",
        "eu",
        "--statement",
        STATEMENT,
        "--key",
        "file:keys/dpo.pem",
    )
    return f"the DPO's own key attests that eu may run it, with {DATASET}"


def roll_out(name: str, version: str) -> str:
    """Into eu's own store, opened and receipted there, committed: one command."""
    made = sovgate(
        EU,
        "release",
        name,
        "--release",
        f"{NAME}/{version}",
        "--zone",
        "eu",
        "--to",
        "eu",
        "--through",
        "promote",
    )
    commit = next(one["said"] for one in made["steps"] if one["name"] == "promote")
    return f"{NAME}/{version}: push, pull, promote; {commit[:17]}"


def worse(name: str, records: Records) -> str:
    """Its regression gate says 13; whoever goes on all the same is told 10 by policy."""
    key = ("--key", sign_key("eu"))
    sovgate(EU, "sign", name, *key)
    sovgate(EU, "record", name, "--dataset", DATASET, "--base-model", NAME)
    tested = predictions(name, records, name)
    sovgate(EU, "gate", "accuracy", name, "--predictions", tested, expect=13)
    said = gate(name, "regression", "--predictions", tested, "--baseline", BASELINE, expect=13)
    sovgate(EU, "attest", name, "--all-unsigned", *key)
    legal(name)
    made = sovgate(EU, "check", name, "--action", "deploy", "--zone", "eu", expect=10)
    rules = {deny["rule"] for deny in made["denies"]}
    return f"{said}; denied by {', '.join(sorted(rules))}"


def back() -> str:
    made = sovgate(EU, "rollback", "--zone", "eu", "--reason", "drift seen at 14:05")
    release = made["release"].partition("@")[0]
    return f"to {release}: it still verifies, and is still allowed"


def told() -> str:
    made = sovgate(EU, "audit", "show", f"{NAME}/1.1.0", "--zone", "eu")
    return f"{NAME}/1.1.0, from data to commit: {made['verified']} signatures verify"


def story(features: Any, target: Any) -> None:
    records = Records(features, target)
    print(f"\n{paint('1', f'In eu: tuned on {DATASET}, which may not leave')}\n")
    predictions(NAME, records, "base")
    step("commit", lambda: ask_for_more(records))
    step("tune", lambda: tuned("tuned-1", records, 300))
    step("evidence", lambda: evidence("tuned-1", records), "gates passed")
    step("legal", lambda: legal("tuned-1"), "attested")
    step("release", lambda: roll_out("tuned-1", "1.1.0"), "allowed")
    step("worse", lambda: tuned("tuned-2", records, 400, upside_down=True))
    step("stopped", lambda: worse("tuned-2", records), "DENIED (10)", mark="✗")
    step("better", lambda: tuned("tuned-3", records, 200))
    step("evidence", lambda: evidence("tuned-3", records), "gates passed")
    step("release", lambda: f"{legal('tuned-3') and ''}{roll_out('tuned-3', '1.2.0')}", "allowed")
    step("rollback", back, "allowed")
    if world.CLOUD is None:
        step("story", told)
