"""The workflow that `init` writes, run by the real act: from a tag to jobs that hold other keys."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate.pipeline.look import init
from sovgate.pipeline.look.scaffold import actions
from tests import components, containers, forked
from tests.workflows import OFFLINE, PYTHON, Log, release_tree, wheels

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.component
TRAIN = '#!/bin/sh\nset -eu\nmkdir -p "$1"\nprintf weights > "$1/weights.bin"\n'
TUNE = '#!/bin/sh\nset -eu\nmkdir -p "$2"\n(cat "$1/weights.bin"; echo tuned) > "$2/weights.bin"\n'
#: The test of a tuned model: what it said of a hundred samples.
TEST = """\
echo id,label,prediction > predictions.csv
for id in $(seq 100); do echo "$id,1,1"; done >> predictions.csv
"""
#: Model code that looks for a key, as code that somebody slipped in would.
SPY = (
    'find "$GITHUB_WORKSPACE" -name "*.pem" ! -name "*.pub.pem" '
    '> "$(dirname "$1")/../seen-$(basename "$1")"\n'
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_tree(tmp_path_factory.mktemp("act") / "tree")


def project(folder: Path, pattern: str, gitops: Path | None = None) -> dict[str, str]:
    """A project from `init`, its secret keys taken away; they are what is returned, as secrets."""
    data = (init.data_answer("kyc-local=EU"),) if pattern == "hybrid" else ()
    answers = init.Answers(
        pattern=pattern,
        model="kyc",
        train=init.zone_answer("aws:us-east-1", suffix="-train"),
        serve=(init.zone_answer("eu=aws-eusc:eusc-de-east-1"),),
        data=data,
        keys=True,
        local=True,
        gitops=None if gitops is None else str(gitops),
    )
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
        path.read_text().replace(actions.HANDOVER, str(handover))
    )
    workflow["on"] = workflow.pop(True)
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("org/sovgate/"):
                given = {"wheels": str(wheels()), "python": str(PYTHON)}
                step["with"] = {**step.get("with", {}), **given}
                step.setdefault("id", step["uses"].split("/")[2].split("@")[0])
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))
    return workflow


def run(
    act: Path,
    tree: Path,
    folder: Path,
    secrets: dict[str, str],
    work: Path,
    *,
    name: str = "release",
    tag: str = "v1.0.0",
    inputs: dict[str, str] | None = None,
    docker: str | None = None,
    more: Sequence[str] = (),
) -> Log:
    """One workflow at a tag; by hand, where there are inputs; in containers, with a DOCKER_HOST."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "LC_ALL": "C.UTF-8",
        **secrets,
        **({"DOCKER_HOST": docker} if docker else {}),
    }
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-q", "--allow-empty", "-m", "work"],
        ["tag", "-f", tag],
    ):
        git(folder, *command)
    event = work / "event.json"
    event.write_text(json.dumps({"ref": f"refs/tags/{tag}", "inputs": inputs or {}}))
    done = subprocess.run(
        [
            act,
            "push" if inputs is None else "workflow_dispatch",
            "--json",
            "-e",
            event,
            "--no-cache-server",
            *(OFFLINE if docker else ()),
            "-W",
            f".github/workflows/sovgate-{name}.yml",
            "--local-repository",
            f"org/sovgate@v1={tree}",
            *(
                word
                for label in ("self-hosted", "us-train", "eu")
                for word in ("-P", f"{label}=-self-hosted")
            ),
            "-P",
            "ubuntu-latest=-self-hosted",
            *(word for name in secrets for word in ("-s", name)),
            *more,
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert records, done.stderr
    return Log(code=done.returncode, records=tuple(r for r in records if "msg" in r))


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        [
            "git",
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "init.defaultBranch=main",
            *words,
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
    ).stdout


def sovgate(folder: Path, *words: str) -> None:
    done = forked.SOVGATE.run(*words, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough  # nine steps, each of which builds its environment
def test_a_tag_takes_a_model_from_training_into_the_zone(
    act: Path, tree: Path, tmp_path: Path
) -> None:
    folder, handover = tmp_path / "kyc", tmp_path / "handover"
    secrets = project(folder, "central")
    jobs = prepared(folder, handover)["jobs"]
    # From a clean clone: what Git has of the project, and the secrets, are all that it needs.
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "begin"]):
        git(folder, *words)
    git(tmp_path, "clone", "-q", str(folder), "clone")
    clone = tmp_path / "clone"
    clean = ["clean-us-train", "clean-eu"]
    assert list(jobs) == ["train", "send", "receive-eu", *clean]
    log = run(act, tree, clone, secrets, tmp_path)
    assert log.code == 0, str(log)
    assert log.outputs("verify")["manifest"] == log.outputs("pull")["manifest"]
    assert not [path for path in clone.glob("keys/*.pem") if ".pub." not in path.name]
    assert log.outputs("pull")["manifest"] == log.outputs("sign")["manifest"]
    assert log.outputs("push")["release"].startswith("kyc/v1.0.0@sha256:")
    assert [path.read_text() for path in handover.glob("seen-*")] == [""], "model code saw a key"
    assert not list(handover.glob("*/*")), "weights stay on the runner"
    assert not [line for line in str(log).splitlines() if "PRIVATE KEY" in line]


TRUST = """
trust:
  - {name: central-ci, key: keys/us-train-sign.pub.pem, from: us-train,
     may: [signature, sbom, provenance, transfer]}
  - {name: eu-ci, key: keys/eu-sign.pub.pem, from: eu,
     may: [signature, sbom, provenance, gate, transfer, receipt]}
  - {name: legal, key: keys/dpo.pub.pem, may: [legal]}
gates:
  accuracy: {at-least: 0.90, before: deploy}
  legal: {dataset: kyc-local, before: deploy}
"""


@pytest.fixture
def zone(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """A hybrid project with a lawyer, and the repository that drives its rollout; the secrets."""
    folder, serving = tmp_path / "kyc", tmp_path / "serving.git"
    secrets = project(folder, "hybrid", serving)
    overlays = tmp_path / "serving"
    shutil.copytree(folder / "serving", overlays / "serving")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "base"]):
        git(overlays, *words)
    git(tmp_path, "clone", "-q", "--bare", str(overlays), str(serving))
    (tmp_path / "dpo").mkdir()
    (tmp_path / "records").mkdir()
    (tmp_path / "records/rows.csv").write_text("1,2\n")
    sovgate(tmp_path, "keys", "generate", "sign", "-o", "dpo/dpo.pem")
    shutil.copy(tmp_path / "dpo/dpo.pub.pem", folder / "keys")
    sovgate(folder, "data", "key", "-o", "../dpo/data.key")
    sovgate(
        folder,
        "data",
        "commit",
        "../records",
        "--dataset",
        "kyc-local",
        "--epoch",
        "2026-11",
        "--key",
        "../dpo/data.key",
    )
    with (folder / "sovgate.yaml").open("a") as file:
        file.write(TRUST)
    rows = [f"{number},1,1" for number in range(1, 101)]
    (tmp_path / "test.csv").write_text("\n".join(["id,label,prediction", *rows, ""]))
    sovgate(folder, "gate", "pin", "accuracy", "--predictions", "../test.csv")
    with (folder / "tune.sh").open("a") as file:
        file.write(TEST)
    # The gate, as the workflow shows it.
    path = folder / ".github/workflows/sovgate-release.yml"
    text, shown = path.read_text(), re.compile(r"(?m)^      # (- uses: .*gate@.*|  with: .*)$")
    assert len(shown.findall(text)) == 2
    path.write_text(shown.sub(r"      \1", text))
    prepared(folder, tmp_path / "handover")
    prepared(folder, tmp_path / "handover", "rollback")
    return folder, serving, secrets


def sign_at_a_desk(folder: Path) -> None:
    """What the lawyer does while the job waits for its reviewer: act asks none, so a first step."""
    path = folder / ".github/workflows/sovgate-release.yml"
    workflow = yaml.safe_load(path.read_text())
    words = (
        f'PYTHONPATH={ROOT} {sys.executable} -m sovgate attest "$MODEL" --legal --dataset '
        f"kyc-local --zone eu --key file:{folder.parent}/dpo/dpo.pem"
    )
    steps = workflow["jobs"]["release-eu"]["steps"]
    workflow["jobs"]["release-eu"]["steps"] = [steps[0], {"run": words}, *steps[1:]]
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))


@pytest.mark.thorough  # some thirty steps, each of which builds its environment
def test_tuned_in_the_zone_released_there_and_rolled_back(
    act: Path, tree: Path, tmp_path: Path, zone: tuple[Path, Path, dict[str, str]]
) -> None:
    folder, serving, secrets = zone
    sign_at_a_desk(folder)
    jobs = yaml.safe_load((folder / ".github/workflows/sovgate-release.yml").read_text())["jobs"]
    ours = ["train", "send", "receive-eu", "tune-eu", "sign-eu", "release-eu"]
    assert list(jobs) == [*ours, "clean-us-train", "clean-eu"]
    pinned = []
    for tag in ("v1.0.0", "v1.1.0"):
        shutil.rmtree(tmp_path / "handover", ignore_errors=True)
        script = folder / "tune.sh"
        script.write_text(script.read_text().replace("echo tuned", f"echo tuned {tag}"))
        log = run(act, tree, folder, secrets, tmp_path, tag=tag)
        assert log.code == 0, str(log)
        assert log.outputs("gate")["outcome"] == "pass"
        assert log.outputs("check")["allowed"] == "true"
        assert log.outputs("release")["left-to"] == ""
        assert {path.read_text() for path in (tmp_path / "handover").glob("seen-*")} == {""}
        assert not list((tmp_path / "handover").glob("*/*")), "weights stay on the runner"
        pinned.append(log.outputs("release")["release"])
        assert pinned[-1] == f"kyc/{tag}-eu@{log.outputs('sign')['manifest']}"
        assert pinned[-1] in served_by(serving)
    inputs = {"zone": "eu", "reason": "drift seen at 14:05", "to-release": "", "dry-run": "true"}
    log = run(act, tree, folder, secrets, tmp_path, name="rollback", inputs=inputs)
    assert log.code == 0, str(log)
    assert pinned[1] in served_by(serving)
    log = run(
        act, tree, folder, secrets, tmp_path, name="rollback", inputs={**inputs, "dry-run": "false"}
    )
    assert log.code == 0, str(log)
    assert log.outputs("rollback")["release"] == pinned[0]
    assert pinned[0] in served_by(serving)
    assert not [path for path in folder.glob("keys/*.pem") if ".pub." not in path.name]


@pytest.mark.container
def test_the_same_in_containers_of_two_zones_and_a_desk(
    act: Path, tree: Path, tmp_path: Path, zone: tuple[Path, Path, dict[str, str]]
) -> None:
    """No network; zones share the target's store, and nobody else holds keys or the repository."""
    folder, serving, secrets = zone
    engine = components.found(containers.podman)
    # A lawyer has no runner's machine: our own image.
    desk = components.found(containers.image, engine)
    image = containers.runner(engine)
    store, us, eu = (tmp_path / name for name in ("kyc-stores/eu", "runner-us", "runner-eu"))
    for made in (store, us, eu):
        made.mkdir(parents=True)
    both, git_of_eu = {store: store}, {serving: serving}
    here, there = {us: actions.HANDOVER}, {eu: actions.HANDOVER}
    sees: dict[str, dict[Path, Any]] = {
        "train": here,
        "send": here | both,
        "receive-eu": there | both,
        "tune-eu": there,
        "sign-eu": there,
        "desk": there | {tmp_path / "dpo": tmp_path / "dpo"},
        "release-eu": there | both | git_of_eu,
        "clean-us-train": here,
        "clean-eu": there,
    }
    path = folder / ".github/workflows/sovgate-release.yml"
    text = path.read_text().replace(str(tmp_path / "handover"), actions.HANDOVER)
    workflow = yaml.safe_load(text.replace(f"python: {PYTHON}", "python: ''"))
    jobs = workflow["jobs"]
    words = (
        f"sovgate attest {jobs['release-eu']['env']['MODEL']} --legal --dataset kyc-local "
        f"--zone eu --key file:{tmp_path}/dpo/dpo.pem"
    )
    # What lies there when the zone is done, seen before it is removed.
    look = {"run": f'cd {actions.HANDOVER} && cp -r "$GITHUB_RUN_ID" left'}
    for name in ("clean-us-train", "clean-eu"):
        jobs[name]["steps"].insert(0, look)
    checkout = jobs["sign-eu"]["steps"][0]
    jobs["desk"] = {
        **jobs["receive-eu"],
        "needs": "sign-eu",
        "steps": [checkout, {"id": "attest", "run": words}],
    }
    jobs["release-eu"]["needs"] = ["sign-eu", "desk"]
    for job, spec in jobs.items():
        seen = {wheels(): f"{wheels()}:ro", **sees[job]}
        spec["container"] = (
            containers.of_job(desk, seen, user="0")
            if job == "desk"
            else containers.of_job(image, seen)
        )
        spec["steps"].insert(0, {"id": "look", "run": f"ls /sys/class/net {tmp_path}"})
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))
    with engine.service() as docker:
        log = run(act, tree, folder, secrets, tmp_path, docker=docker)
    assert log.code == 0, str(log)
    assert log.outputs("gate")["outcome"] == "pass"
    assert log.outputs("check")["allowed"] == "true"
    pinned = log.outputs("release")["release"]
    assert pinned == f"kyc/v1.0.0-eu@{log.outputs('sign')['manifest']}"
    assert pinned in served_by(serving)
    for job, shown in sees.items():
        mine = tuple(record for record in log.records if record.get("jobID") == job)
        words = Log(code=0, records=mine).text("look").split()
        own = {place.relative_to(tmp_path).parts[0] for place in shown} - {us.name, eu.name}
        assert set(words) - {"/sys/class/net:", f"{tmp_path}:"} == {"lo", "kyc", *own}
    assert {path.read_text() for path in tmp_path.glob("runner-*/seen-*")} == {""}
    assert [path.parent.name for path in us.glob("left/*/weights.bin")] == ["kyc"]
    assert {path.parent.name for path in eu.glob("left/*/weights.bin")} == {"base", "kyc-eu"}
    assert [path.parts[-3] for path in tmp_path.glob("runner-*/*/*/weights.bin")] == ["left"] * 3
    (served,) = eu.glob("left/served/eu/kyc-v1.0.0-eu/weights.bin")
    assert served.read_bytes() == b"weightstuned\n"
    assert not [path for path in folder.glob("keys/*.pem") if ".pub." not in path.name]


def served_by(serving: Path) -> str:
    return git(serving, "show", "main:serving/overlays/eu/sovgate-release.yaml")


@pytest.mark.thorough
def test_a_click_is_no_lawyers_word(
    act: Path, tree: Path, tmp_path: Path, zone: tuple[Path, Path, dict[str, str]]
) -> None:
    """The job was let run, and nobody had signed: nothing is written to store or repository."""
    folder, serving, secrets = zone
    before = git(serving, "rev-parse", "main")
    log = run(act, tree, folder, secrets, tmp_path)
    assert log.code != 0
    assert log.result("check") == "failure"
    assert log.outputs("check")["rules"] == "legal-before-deploy"
    assert log.outputs("release") == {}
    assert git(serving, "rev-parse", "main") == before
    store = Path(f"{folder}-stores/eu/releases/kyc")
    assert [path.name for path in store.iterdir()] == ["v1.0.0.json"]
    assert not [path for path in folder.glob("keys/*.pem") if ".pub." not in path.name]


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
    log = run(act, tree, folder, {}, tmp_path, name="check")
    assert (log.code == 0) is clean, str(log)
    assert log.outputs("lint", "run")["errors"] == "0"
    assert log.outputs("guard", "run")["refused"] == ("0" if clean else "1")
    if not clean:
        assert "export.csv" in "".join(log.annotations("guard", "run"))
