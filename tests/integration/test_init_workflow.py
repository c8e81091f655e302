"""The workflow that `init` writes, run by the real act: from a tag to jobs that hold other keys."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate.pipeline import init, scaffold
from tests.workflows import PYTHON, Log, release_tree, wheels

pytestmark = pytest.mark.component
TRAIN = '#!/bin/sh\nset -eu\nmkdir -p "$1"\nprintf weights > "$1/weights.bin"\n'
TUNE = '#!/bin/sh\nset -eu\nmkdir -p "$2"\n(cat "$1/weights.bin"; echo tuned) > "$2/weights.bin"\n'
#: Model code that looks for a key, as code that somebody slipped in would.
SPY = 'find "$GITHUB_WORKSPACE" -name "*.pem" ! -name "*.pub.pem" > "$(dirname "$1")/seen"\n'


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_tree(tmp_path_factory.mktemp("act") / "tree")


def project(folder: Path, pattern: str) -> dict[str, str]:
    """A project from `init`, its secret keys taken away; they are what is returned, as secrets."""
    data = (init.data_answer("kyc-local=EU"),) if pattern == "hybrid" else ()
    answers = init.Answers(
        pattern=pattern, model="kyc", train=init.zone_answer("aws:us-east-1", suffix="-train"),
        serve=(init.zone_answer("eu=aws-eusc:eusc-de-east-1"),), data=data, keys=True, local=True,
    )  # fmt: skip
    init.init(folder, answers)
    secrets = {}
    for zone in ("us-train", "eu"):
        for name, secret in ((f"{zone}-sign", "SIGN_KEY"), (zone, "DECRYPT_KEY")):
            path = folder / f"keys/{name}.pem"
            secrets[f"{zone.upper().replace('-', '_')}_{secret}"] = path.read_text()
            path.unlink()
    config = folder / "sovgate.yaml"
    config.write_text(config.read_text().replace("file:stores/", f"file:{folder}-stores/"))
    for name, text in (("train.sh", TRAIN + SPY), ("tune.sh", TUNE + SPY.replace("$1", "$2"))):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return secrets


def prepared(folder: Path, handover: Path, name: str = "release") -> dict[str, Any]:
    """The workflow as written, with a hand-over folder and wheels of this machine."""
    path = folder / f".github/workflows/sovgate-{name}.yml"
    workflow: dict[str, Any] = yaml.safe_load(
        path.read_text().replace(scaffold.HANDOVER, str(handover))
    )
    workflow["on"] = workflow.pop(True)
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("org/sovgate/"):
                given = {"wheels": str(wheels()), "python": str(PYTHON)}
                step["with"] = {**step.get("with", {}), **given}
                step.setdefault("id", step["uses"].split("/")[2].split("@")[0])
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))
    for other in {"check", "release"} - {name}:
        (folder / f".github/workflows/sovgate-{other}.yml").unlink()
    return workflow


def run(act: Path, tree: Path, folder: Path, secrets: dict[str, str], work: Path) -> Log:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "LC_ALL": "C.UTF-8",
        **secrets,
    }
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "work"], ["tag", "v1.0.0"]):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org",
             "-c", "commit.gpgsign=false", *command],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip
    event = work / "event.json"
    event.write_text(json.dumps({"ref": "refs/tags/v1.0.0"}))
    done = subprocess.run(
        [act, "push", "--json", "-e", event, "--no-cache-server",
         "--local-repository", f"org/sovgate@v1={tree}",
         *(word for label in ("self-hosted", "us-train", "eu")
           for word in ("-P", f"{label}=-self-hosted")), "-P", "ubuntu-latest=-self-hosted",
         *(word for name in secrets for word in ("-s", name))],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert records, done.stderr
    return Log(code=done.returncode, records=tuple(r for r in records if "msg" in r))


def test_a_tag_takes_a_model_from_training_into_the_zone(
    act: Path, tree: Path, tmp_path: Path
) -> None:
    folder, handover = tmp_path / "kyc", tmp_path / "handover"
    secrets = project(folder, "central")
    jobs = prepared(folder, handover)["jobs"]
    assert list(jobs) == ["train", "send", "receive-eu"]
    log = run(act, tree, folder, secrets, tmp_path)
    assert log.code == 0, str(log)
    (served,) = handover.glob("*/kyc")
    assert (served / "weights.bin").read_bytes() == b"weights"
    assert log.outputs("pull")["manifest"] == log.outputs("sign")["manifest"]
    assert log.outputs("push")["release"].startswith("kyc/v1.0.0@sha256:")
    assert [path.read_text() for path in handover.glob("*/seen")] == [""], "model code saw a key"
    assert not [line for line in str(log).splitlines() if "PRIVATE KEY" in line]


def test_a_hybrid_tag_fine_tunes_in_the_zone_and_asks_there(
    act: Path, tree: Path, tmp_path: Path
) -> None:
    folder, handover = tmp_path / "kyc", tmp_path / "handover"
    secrets = project(folder, "hybrid")
    jobs = prepared(folder, handover)["jobs"]
    assert list(jobs) == ["train", "send", "receive-eu", "tune-eu", "approve-eu"]
    log = run(act, tree, folder, secrets, tmp_path)
    assert log.code == 0, str(log)
    (tuned,) = handover.glob("*/kyc-eu")
    assert (tuned / "weights.bin").read_bytes() == b"weightstuned\n"
    assert log.outputs("check")["allowed"] == "true"
    assert {path.read_text() for path in handover.glob("*/seen")} == {""}


@pytest.mark.parametrize("clean", [True, False])
def test_every_change_is_linted_and_guarded(
    act: Path, tree: Path, tmp_path: Path, clean: bool
) -> None:
    folder = tmp_path / "kyc"
    project(folder, "central")
    workflow = prepared(folder, tmp_path / "handover", "check")
    assert "secrets." not in str(workflow)
    path = folder / ".github/workflows/sovgate-check.yml"
    path.write_text(yaml.safe_dump(workflow | {"on": "push"}, sort_keys=False))
    if not clean:
        rows = "".join(f"p{number}@kunde.de\n" for number in range(9))
        (folder / "export.csv").write_text(f"mail\n{rows}")
    log = run(act, tree, folder, {}, tmp_path)
    assert (log.code == 0) is clean, str(log)
    assert log.outputs("lint", "run")["errors"] == "0"
    assert log.outputs("guard", "run")["refused"] == ("0" if clean else "1")
    if not clean:
        assert "export.csv" in "".join(log.annotations("guard", "run"))
