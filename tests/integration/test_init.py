"""`sovgate init`: what it writes works at once, and it never writes over anything."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sovgate.errors import UsageError
from sovgate.pipeline.look import init as pipeline
from sovgate.pipeline.look import scaffold
from tests import commands
from tests.integration.test_tekton import schema_of
from tests.kill import Killer, every_step

ROOT = Path(__file__).resolve().parents[2]
#: For tools that a user may not have, so `init` writes no configuration of theirs: that release
#: tags of ours are meant to be followed, and that zones' runners have labels.
ZIZMOR = """\
rules:
  unpinned-uses:
    config:
      policies:
        "org/sovgate/*": ref-pin
        "*": hash-pin
"""
JACTIONLINT = """\
self-hosted-runner:
  labels: [{labels}]
ignores:
  - rule: unpinned-uses
    uses: org/sovgate/*
    reason: release tags of sovgate, which are protected
"""
PAIRS = {
    "central-local": ["--pattern", "central", "--local"],
    "hybrid-local": ["--pattern", "hybrid", "--local"],
    "central": [
        "--pattern",
        "central",
        "--train",
        "aws:us-east-1",
        "--serve",
        "ovh:gra",
        "--serve",
        "ch=aws:eu-central-2",
        "--gitops",
        "git@git.example:ml/serving.git",
    ],
    "kms": [
        "--pattern",
        "hybrid",
        "--train",
        "aws:us-east-1",
        "--serve",
        "eu=aws-eusc:eusc-de-east-1",
        "--serve",
        "aws:eu-west-3",
        "--data",
        "notes=EU",
        "--gitops",
        "https://git.example/ml/serving.git",
    ],
    "hybrid": [
        "--pattern",
        "hybrid",
        "--train",
        "gpu=scaleway:nl-ams",
        "--data",
        "kyc=DE,FR",
        "--serve",
        "eu=aws-eusc:eusc-de-east-1",
        "--serve",
        "aws:eu-west-3",
        "--keys",
        "--data",
        "notes=EU",
        "--gitops",
        "https://git.example/ml/serving.git",
    ],
}


def sovgate(
    *words: object, cwd: Path, code: int | None = 0, text: bool = False
) -> dict[str, Any] | str:
    done = commands.run(*words, "--format", "text" if text else "json", cwd=cwd)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr if text else json.loads(done.stdout)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", params=PAIRS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once for all tests of a pattern."""
    folder = tmp_path_factory.mktemp("made")
    sovgate("init", "kyc", *PAIRS[request.param], cwd=folder)
    return folder / "kyc"


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of its own for each test."""
    return Path(shutil.copytree(made, tmp_path / "kyc", symlinks=True))


def test_lint_policy_test_and_guard_pass_on_what_it_wrote(project: Path) -> None:
    lint = sovgate("lint", cwd=project)
    assert [f for f in lint["findings"] if f["severity"] == "error"] == []  # type: ignore[index]
    assert sovgate("policy", "test", "policies", cwd=project)["failed"] == 0  # type: ignore[index]
    sovgate("check", "sovgate.yaml", "--zone", "nowhere", cwd=project, code=3)
    subprocess.run(["git", "init", "-q", "."], cwd=project, check=True)
    subprocess.run(["git", "add", "."], cwd=project, check=True)
    sovgate("guard", cwd=project)
    tracked = subprocess.run(
        ["git", "ls-files", "keys"], cwd=project, capture_output=True, text=True, check=True
    ).stdout.split()
    assert all(name.endswith((".pub.pem", "README.md", ".gitignore")) for name in tracked)


@pytest.mark.component
def test_zizmor_jactionlint_and_the_schema_find_nothing(
    project: Path, zizmor: Path, jactionlint: Path
) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=project, check=True)
    workflows = sorted(map(str, (project / ".github/workflows").iterdir()))
    assert [path.name for path in (project / ".github").iterdir()] == ["workflows"]
    zones = yaml.safe_load((project / "sovgate.yaml").read_text())["zones"]
    (project / ".github/zizmor.yml").write_text(ZIZMOR)
    labels = json.dumps(list(zones)).strip("[]")
    (project / ".github/jactionlint.yaml").write_text(JACTIONLINT.format(labels=labels))
    rolls_back = "gitops:" in (project / "sovgate.yaml").read_text().replace("# gitops:", "")
    hybrid = (project / "tekton/sovgate-hybrid-tune.yaml").exists()
    assert len(workflows) == (3 if rolls_back or hybrid else 2)
    for command in (
        [zizmor, "--offline", "--persona", "pedantic", "--no-progress", "."],
        [jactionlint, *workflows],
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            *workflows,
        ],
    ):
        done = subprocess.run(
            list(map(str, command)), cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_head_of_the_release_says_what_to_run_again(made: Path) -> None:
    """What a job left is gone once the run has failed, so a job that pulls has to be run again."""
    text = (made / ".github/workflows/sovgate-release.yml").read_text()
    head = " ".join(text.partition("name: ")[0].replace("#", "").split())
    jobs = yaml.safe_load(text)["jobs"]
    removes = [job for name, job in jobs.items() if name.startswith("clean-")]
    assert all(job["if"] == "always()" for job in removes)
    assert {"train", "send"} <= {need for job in removes for need in job["needs"]}
    assert 'If `send` fails, "Re-run failed jobs" finds no model' in head
    assert 'choose "Re-run all jobs"' in head
    assert "re-run the job receive-ZONE: it pulls again" in head
    assert [name for name in jobs if name.startswith("receive-")]


def test_rule_23_no_job_with_a_key_runs_model_code(project: Path) -> None:
    """RULES 23: nor on anything but a protected tag; and each job has one zone's keys at most."""
    folder = project / ".github/workflows"
    workflow = yaml.safe_load((folder / "sovgate-release.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # `on`, as YAML 1.1 reads it
    zones = set(yaml.safe_load((project / "sovgate.yaml").read_text())["zones"])
    jobs = held_apart(workflow, zones)
    check = yaml.safe_load((folder / "sovgate-check.yml").read_text())
    assert "pull_request_target" not in check[True]
    assert "secrets." not in json.dumps(check)
    for name in jobs:
        if name.startswith("tune-"):
            # Model code writes neither the record nor the signature, and promotes nothing.
            zone = name.removeprefix("tune-")
            assert "id-token" not in jobs[name]["permissions"]
            assert uses(jobs[name]) == ["checkout", "check", "sbom"]
            assert uses(jobs[f"sign-{zone}"]) == ["checkout", "sign", "verify", "record", "attest"]
            assert uses(jobs[f"release-{zone}"]) == ["checkout", "check", "release"]
            assert jobs[f"release-{zone}"]["environment"] == f"{zone}-release"
    for name, job in jobs.items():
        alone = not any(other.startswith("tune-") for other in jobs)
        assert "_GIT_TOKEN" not in json.dumps(job) or alone or name.startswith("release-")
    if (folder / "sovgate-rollback.yml").exists():
        rollback = yaml.safe_load((folder / "sovgate-rollback.yml").read_text())
        assert list(rollback[True]) == ["workflow_dispatch"]
        names = rollback[True]["workflow_dispatch"]["inputs"]["zone"]["options"]
        assert [f"rollback-{name}" for name in names] == list(held_apart(rollback, zones))
        for name in names:
            assert rollback["jobs"][f"rollback-{name}"]["environment"] == f"{name}-rollback"
            assert rollback["jobs"][f"rollback-{name}"]["if"] == f"inputs.zone == '{name}'"


def uses(job: dict[str, Any]) -> list[str]:
    """The actions of a job, but for how it gets credentials."""
    names = [step["uses"].split("@")[0].split("/")[-1] for step in job["steps"] if "uses" in step]
    return [name for name in names if name != "configure-aws-credentials"]


def held_apart(workflow: dict[str, Any], zones: set[str]) -> dict[str, Any]:
    """Holds each job to one zone's secrets, or to none and then to no key; the jobs."""
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        text = json.dumps(job)
        if name.startswith("clean-"):
            assert "secrets." not in text and "keys/" not in text and job["permissions"] == {}
            continue
        runs = [step["run"] for step in job["steps"] if "run" in step]
        (zone,) = set(job["runs-on"]) - {"self-hosted"}
        assert zone in zones
        asks = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert asks == ("vars." in text)
        token = {"id-token": "write"} if asks else {}
        assert job["permissions"] == {"contents": "read", **token}
        if "secrets." in text or asks:
            assert job["environment"] in (zone, f"{zone}-release", f"{zone}-rollback")
            assert not any(".sh" in run for run in runs)
            upper = zone.upper().replace("-", "_")
            for kind in ("secrets.", "vars."):
                assert text.count(kind) == text.count(f"{kind}{upper}_")
        else:
            assert "environment" not in job
            assert "keys/" not in text
    return dict(workflow["jobs"])


@pytest.mark.component
def test_tekton_accepts_what_it_wrote(project: Path, tekton_crds: Path) -> None:
    schemas = {
        kind: jsonschema.Draft7Validator(schema_of(tekton_crds, kind.lower(), "v1"))
        for kind in ("Pipeline", "Task")
    }
    kinds: Counter[str] = Counter()
    for path in sorted((project / "tekton").rglob("*.yaml")):
        if path.name == "accounts.yaml":
            continue
        document = yaml.safe_load(path.read_text())
        kinds[document["kind"]] += 1
        if document["kind"] in schemas:
            errors = schemas[document["kind"]].iter_errors(document)
            assert [error.message for error in errors] == []
    zones = yaml.safe_load((project / "sovgate.yaml").read_text())["zones"]
    hybrid = (project / "tekton/sovgate-hybrid-tune.yaml").exists()
    assert kinds == {
        "Pipeline": 3 if hybrid else 2,
        "PipelineRun": len(zones) + (len(zones) - 1 if hybrid else 0),
        "Task": len(zones) if hybrid else 1,
    }


def test_each_run_gives_its_pipeline_what_it_wants_and_each_duty_its_account(project: Path) -> None:
    top = project / "tekton"
    zones = yaml.safe_load((project / "sovgate.yaml").read_text())["zones"]
    for zone, said in zones.items():
        accounts = list(yaml.safe_load_all((top / zone / "accounts.yaml").read_text()))
        names = [account["metadata"]["name"] for account in accounts]
        assert len(set(names)) == len(names)
        used = set()
        for path in (top / zone).glob("run-*.yaml"):
            run = yaml.safe_load(path.read_text())["spec"]
            spec = yaml.safe_load((top / f"{run['pipelineRef']['name']}.yaml").read_text())["spec"]
            given = {param["name"]: param["value"] for param in run["params"]}
            wanted = {param["name"]: param for param in spec["params"]}
            assert set(given) <= set(wanted)
            assert {name for name, p in wanted.items() if "default" not in p} <= set(given)
            for name, value in given.items():
                assert isinstance(value, list if wanted[name]["type"] == "array" else str)
            assert given["zone"] == zone
            # A zone's key files, where it has some; a KMS hands out no key.
            files = said["keys"]["sign"].startswith("file:")
            bound = {w["name"] for w in run["workspaces"]}
            assert bound == {"source", "keys"} if files else bound == {"source"}
            named = {s["pipelineTaskName"]: s["serviceAccountName"] for s in run["taskRunSpecs"]}
            tasks = [*spec["tasks"], *spec["finally"]]
            assert set(named) <= {task["name"] for task in tasks}
            for task in tasks:
                account = named.get(task["name"], run["taskRunTemplate"]["serviceAccountName"])
                used.add(account)
                own = task.get("taskRef", {}).get("name", "sovgate-")
                assert (account == "sovgate-train") is not own.startswith("sovgate-")
                if not own.startswith("sovgate-"):
                    assert (top / zone / f"task-{own}.yaml").is_file()
        assert used == set(names)


def test_the_pipelines_are_those_that_are_shipped(project: Path) -> None:
    """One text: whatever is promised of one is true of the other."""
    shipped = {path.name: path for path in ROOT.glob("tekton/pipelines/*/*/*.yaml")}
    written = sorted((project / "tekton").glob("*.yaml"))
    assert len(written) >= 2
    for path in written:
        assert path.read_bytes() == shipped[path.name].read_bytes()
    for path in (project / "tekton").glob("*/task-*.yaml"):
        name = path.name.removeprefix("task-")
        (sample,) = ROOT.glob(f"tekton/pipelines/*/*/samples/{name}")
        assert path.read_bytes() == sample.read_bytes()


@pytest.mark.component
def test_tekton_lint_finds_nothing(project: Path, tekton_lint: Path) -> None:
    """Each zone is a cluster, with accounts and a Task of the same names: so one of each."""
    shutil.copy(ROOT / "tekton/.tektonlintrc.yaml", project)
    tasks = [str(path) for path in ROOT.glob("tekton/tasks/*/*/*.yaml")]
    found = sorted((project / "tekton").rglob("*.yaml"))
    accounts = [path for path in found if path.name == "accounts.yaml"]
    mine = {path.read_bytes(): str(path) for path in found if path not in accounts[1:]}
    done = subprocess.run(
        [str(tekton_lint), *mine.values(), *tasks],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout, done.stdout


def test_the_overlays_build(project: Path, kubectl: Path) -> None:
    overlays = sorted((project / "serving/overlays").iterdir())
    assert overlays
    for overlay in overlays:
        done = subprocess.run(
            [kubectl, "kustomize", overlay], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "kind: Deployment" in done.stdout


def test_a_local_project_pushes_and_pulls_at_once(tmp_path: Path) -> None:
    sovgate("init", "kyc", "--pattern", "central", "--local", cwd=tmp_path)
    project = tmp_path / "kyc"
    (project / "model").mkdir()
    (project / "model/weights.bin").write_bytes(b"weights" * 1000)
    key = "file:keys/us-train-sign.pem"
    sovgate("record", "model", "--dataset", "public-train", "--key", key, cwd=project)
    sovgate("sign", "model", "--key", key, cwd=project)
    place = ("--zone", "us-train", "--to", "eu")
    denied = sovgate("check", "model", *place, cwd=project, code=10)
    assert {deny["rule"] for deny in denied["denies"]} == {"user.named-release"} or denied["denies"]  # type: ignore[index]
    pushed = sovgate("push", "model", "--release", "kyc/1.0.0", *place, cwd=project)
    assert isinstance(pushed, dict)
    sovgate(
        "pull",
        f"kyc/1.0.0@sha256:{pushed['manifest']}",
        "--zone",
        "eu",
        "-o",
        "served",
        cwd=project,
    )
    assert (project / "served/weights.bin").read_bytes() == b"weights" * 1000
    sovgate("audit", "verify", "--against", pushed["audit-head"], cwd=project, code=None)


def test_a_local_hybrid_project_keeps_the_tuned_model_where_its_data_is(tmp_path: Path) -> None:
    sovgate("init", "kyc", "--pattern", "hybrid", "--local", cwd=tmp_path)
    project = tmp_path / "kyc"
    (project / "tuned").mkdir()
    (project / "tuned/weights.bin").write_bytes(b"w" * 99)
    key = "file:keys/eu-sign.pem"
    sovgate("record", "tuned", "--dataset", "kyc-local", "--key", key, cwd=project)
    sovgate("sign", "tuned", "--key", key, cwd=project)
    sovgate("check", "tuned", "--action", "deploy", "--zone", "eu", cwd=project)
    denied = sovgate(
        "check",
        "tuned",
        "--zone",
        "eu",
        "--to",
        "us-train",
        "--release",
        "kyc/1",
        cwd=project,
        code=10,
    )
    assert "weights-inherit" in {deny["rule"] for deny in denied["denies"]}  # type: ignore[index]


def every_value(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from ([] if key is True else [key])  # `on`, as YAML 1.1 reads it
            yield from every_value(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_value(value)
    else:
        yield node


@pytest.mark.parametrize("pattern", ["central", "hybrid"])
@pytest.mark.parametrize("name", ["no", "123", "1e5", "null", "true", "0x1f", "2024-01-01", "y"])
def test_a_name_is_text_to_every_reader_of_yaml(tmp_path: Path, name: str, pattern: str) -> None:
    """Norway's zone is `no`; to Kubernetes and PyYAML that is false, where it is not in quotes."""
    plain, odd = tmp_path / "plain", tmp_path / "odd"
    zone = name if name.isalpha() else "no"
    place, north = "aws:eu-central-1", "aws:eu-north-1"
    words = ("--pattern", pattern, "--gitops", "https://git.example/ml/serving.git")
    sovgate(
        "init",
        odd,
        *words,
        "--model",
        name,
        "--data",
        f"{name}=EEA",
        "--train",
        place,
        "--serve",
        f"{zone}={north}",
        cwd=tmp_path,
    )
    usual = ("--model", "abc", "--data", "abc=EEA", "--train", place, "--serve", f"abd={north}")
    sovgate("init", plain, *words, *usual, cwd=tmp_path)

    def kinds(folder: Path) -> Counter[str]:
        files = [*folder.rglob("*.yml"), *folder.rglob("*.yaml")]
        read = [
            list(yaml.safe_load_all(path.read_text()))
            for path in files
            if path.parent != folder and path.parent.name != "data"
        ]
        return Counter(type(value).__name__ for value in every_value(read))

    assert kinds(odd) == kinds(plain)
    lint = sovgate("lint", cwd=odd)
    assert [f for f in lint["findings"] if f["severity"] == "error"] == []  # type: ignore[index]


def test_a_repository_may_have_any_name(tmp_path: Path) -> None:
    repository = 'https://git.example/größe/🙂 "x".git'
    sovgate("init", "kyc", *PAIRS["central-local"], "--gitops", repository, cwd=tmp_path)
    lint = sovgate("lint", cwd=tmp_path / "kyc")
    assert lint["findings"] == []  # type: ignore[index]


def test_a_repository_that_is_no_text_is_refused(tmp_path: Path) -> None:
    place = os.fsdecode(b"https://git.example/\xff")
    words = [*PAIRS["central-local"], "--gitops", place]
    found = sovgate("init", "kyc", *words, cwd=tmp_path, code=3)
    assert found["error"]["reason"] == "bad-repo"  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


def test_what_to_do_next_can_be_pasted(tmp_path: Path) -> None:
    said = sovgate("init", "it's; here", *PAIRS["central-local"], cwd=tmp_path, text=True)
    (line,) = [line for line in str(said).splitlines() if "→ cd " in line]
    script = f"{line.partition('→ ')[2]} && ls sovgate.yaml"
    done = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert done.stdout == b"sovgate.yaml\n", done.stderr


# Never over another file; all or nothing.


@pytest.mark.parametrize(
    "path", ["sovgate.yaml", "data/public-train.yaml", "tekton/sovgate-central.yaml"]
)
def test_it_writes_over_nothing_and_then_nothing_at_all(tmp_path: Path, path: str) -> None:
    place = tmp_path / "kyc" / path
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    before = tree(tmp_path)
    found = sovgate("init", "kyc", *PAIRS["central-local"], cwd=tmp_path, code=2)
    assert found["error"]["reason"] == "output-exists"  # type: ignore[index]
    assert path in found["error"]["what"]  # type: ignore[index]
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", [".github", "keys", "data"])
@pytest.mark.parametrize("link", [False, True])
def test_what_is_to_be_a_folder_and_is_none_is_named(tmp_path: Path, name: str, link: bool) -> None:
    folder = tmp_path / "kyc"
    folder.mkdir()
    if link:
        (folder / name).symlink_to("elsewhere")
    else:
        (folder / name).write_text("mine")
    error = dict(sovgate("init", "kyc", *PAIRS["hybrid"], cwd=tmp_path, code=2))["error"]
    assert error["reason"] == "output-exists"
    assert error["what"].startswith(repr(name))
    assert [path.name for path in folder.iterdir()] == [name]


def test_shared_files_are_left_and_what_they_lack_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "kyc"
    folder.mkdir()
    (folder / ".gitignore").write_text("*.log\n")
    found = sovgate("init", "kyc", *PAIRS["central-local"], cwd=tmp_path)
    assert (folder / ".gitignore").read_text() == "*.log\n"
    assert "/.sovgate/" in found["differ"][".gitignore"]  # type: ignore[index]


def test_again_is_success_and_changes_nothing(tmp_path: Path) -> None:
    sovgate("init", "kyc", *PAIRS["hybrid"], cwd=tmp_path)
    before = tree(tmp_path)
    found = sovgate("init", "kyc", *PAIRS["hybrid"], cwd=tmp_path)
    assert found["created"] == []  # type: ignore[index]
    assert tree(tmp_path) == before
    (tmp_path / "kyc/keys/eu.pub.pem").unlink()
    sovgate("init", "kyc", *PAIRS["hybrid"], cwd=tmp_path, code=2)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    found = sovgate("init", "kyc", *PAIRS["hybrid"], "--dry-run", cwd=tmp_path)
    assert "sovgate.yaml" in found["created"]  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


def test_secret_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    sovgate("init", "kyc", *PAIRS["central-local"], cwd=tmp_path)
    for path in (tmp_path / "kyc/keys").glob("*.pem"):
        if not path.name.endswith(".pub.pem"):
            assert path.stat().st_mode & 0o777 == 0o600


def answers() -> pipeline.Answers:
    return pipeline.Answers(
        pattern="central",
        model="kyc",
        train=pipeline.zone_answer("aws:us-east-1", suffix="-t"),
        serve=(pipeline.zone_answer("aws:eu-west-3"),),
        data=(),
        keys=True,
    )


def test_where_one_file_cannot_be_written_none_stays(tmp_path: Path) -> None:
    """A folder that was there and cannot be written to."""
    if os.geteuid() == 0:
        folder = tmp_path / "kyc"
        (folder / "data").mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder / "data"], check=False)
        if not os.path.ismount(folder / "data"):
            pytest.skip("no mount here")
    else:
        folder = tmp_path / "kyc"
        (folder / "data").mkdir(parents=True)
        (folder / "data").chmod(0o500)
    try:
        with pytest.raises(Exception, match="could not write the project"):
            pipeline.init(folder, answers())
        assert tree(folder) == {}
        assert [path.name for path in folder.iterdir()] == ["data"]
    finally:
        subprocess.run(["umount", folder / "data"], check=False, capture_output=True)


def fresh_folders(base: Path) -> Callable[[], Path]:
    count = itertools.count()

    def fresh() -> Path:
        work = base / str(next(count))
        work.mkdir()
        return work

    return fresh


@pytest.mark.thorough
def test_killed_at_every_step_there_is_no_half_a_project(tmp_path: Path) -> None:
    words = ["init", "kyc", *PAIRS["central"]]
    with Killer(imports=["sovgate.pipeline.look.init"]) as killer:
        whole = None
        for work, step, _ in every_step(killer, fresh_folders(tmp_path), lambda _: words):
            there = tree(work)
            again = killer.run(words, cwd=work)
            assert again.code == 0, (step, again)
            whole = whole or tree(work)
            assert tree(work) == whole, step
            shared = {name: data for name, data in there.items() if "staging" not in name}
            assert shared.items() <= whole.items(), step
            assert "kyc/sovgate.yaml" not in shared or shared == whole, step
            shutil.rmtree(work)


@pytest.mark.thorough
def test_where_the_disk_is_full_at_any_step_no_file_stays(tmp_path: Path) -> None:
    words = ["init", "kyc", *PAIRS["central"]]
    with Killer(imports=["sovgate.pipeline.look.init"]) as killer:
        for work, step, done in every_step(
            killer, fresh_folders(tmp_path), lambda _: words, fault=errno.ENOSPC
        ):
            assert done.code in (0, 24), (step, done)
            if done.code:
                assert tree(work) == {}, step
                assert "no space" in (done.out + done.err).lower(), step
            shutil.rmtree(work)


def test_the_same_answers_give_the_same_bytes() -> None:
    assert scaffold.files(answers()) == scaffold.files(answers())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--pattern", "central"], "missing-answer"),
        (["--pattern", "central", "--train", "us-east-1", "--serve", "ovh:gra"], "bare-region"),
        (
            ["--pattern", "central", "--train", "aws:us-east-1", "--serve", "aws:eu-west-33"],
            "unknown-region",
        ),
        (["--pattern", "central", "--local", "--data", "kyc=EUU"], "bad-place"),
        (["--pattern", "central", "--local", "--data", "KYC=EU"], "bad-name"),
        (["--pattern", "central", "--local", "--model", "a b"], "bad-name"),
        (
            [
                "--pattern",
                "central",
                "--local",
                "--train",
                "a=aws:us-east-1",
                "--serve",
                "a=aws:eu-west-3",
            ],
            "bad-name",
        ),
        (["--pattern", "central", "--local", "--train", "eu-release=aws:us-east-1"], "bad-name"),
        (["--pattern", "hybrid", "--train", "aws:us-east-1", "--serve", "ovh:gra"], "no-data"),
        (["--pattern", "central", "--local", "--train", "x: y=aws:us-east-1"], "bad-name"),
        (["--pattern", "central", "--local", "--model", "kyc-"], "bad-name"),
        (["--pattern", "central", "--local", "--serve", "1eu=aws:eu-west-3"], "bad-name"),
        (["--pattern", "central", "--local", "--serve", "github=aws:eu-west-3"], "bad-name"),
        (["--pattern", "central", "--local", "--serve", "eu-=aws:eu-west-3"], "bad-name"),
        (
            [
                "--pattern",
                "central",
                "--local",
                "--model",
                "m" * 40,
                "--serve",
                f"{'z' * 16}=aws:eu-west-3",
            ],
            "bad-name",
        ),
    ],
)
def test_answers_that_cannot_be_are_refused(tmp_path: Path, words: list[str], reason: str) -> None:
    found = sovgate("init", "kyc", *words, cwd=tmp_path, code=2)
    assert found["error"]["reason"] == reason  # type: ignore[index]
    assert found["error"]["fix"]  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "=", "a=", "=b", "..=EU", "x\n=EU", "x=EU\n- y", "${{ x }}=EU"]
)
def test_hostile_answers_never_reach_a_template(text: str) -> None:
    for check in (pipeline.data_answer, pipeline.zone_answer, pipeline.model_name):
        with pytest.raises(UsageError):
            check(text)


# On a terminal.


def talk(folder: Path, *lines: str) -> tuple[int, str]:
    """Answer the questions of `sovgate init` on a terminal of its own."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ["TERM"] = "dumb"
        os.execv(sys.executable, [sys.executable, "-m", "sovgate", "init", "kyc"])  # noqa: S606
    said, waiting = "", list(lines)
    while True:
        if select.select([terminal], [], [], 0.3)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            said += data.decode()
        elif waiting and said.rstrip(" ").endswith(":"):
            os.write(terminal, f"{waiting.pop(0)}\n".encode())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def test_a_person_is_asked_and_asked_again(tmp_path: Path) -> None:
    code, said = talk(
        tmp_path,
        "",
        "us-east-1",
        "aws:us-east-1",
        "eu=aws-eusc:eusc-de-east-1",
        "yes",
        "customers=EUROPE",
        "customers=EU",
        "y",
    )
    assert code == 0, said
    assert "Where do you train?" in said
    assert "Which data may not leave?" in said
    assert "did you mean" in said or "provider:region" in said
    written = yaml.safe_load((tmp_path / "kyc/sovgate.yaml").read_text())
    assert written["pattern"] == "hybrid"
    assert written["zones"]["eu"]["region"] == "aws-eusc:eusc-de-east-1"
    assert written["datasets"]["customers"]["stays-in"] == ["EU"]
    assert (tmp_path / "kyc/keys/eu.pem").is_file()


@pytest.mark.parametrize("model", ["llama-3.1-8b", "a_b..c", "3.1", "7", "no"])
@pytest.mark.parametrize("pattern", ["central", "hybrid"])
def test_a_model_may_be_called_as_the_project_file_accepts_it(model: str, pattern: str) -> None:
    """What Kubernetes and S3 name after it has names that those accept."""
    data = (pipeline.data_answer("customers=EU"),) if pattern == "hybrid" else ()
    named = replace(answers(), pattern=pattern, model=pipeline.model_name(model), data=data)
    made = scaffold.files(named)
    assert yaml.safe_load(made["sovgate.yaml"])["model"] == model
    text = b"\n".join(data for path, data in made.items() if path.endswith(".yaml")).decode()
    field = r"(?:namespace|generateName|claimName|kubernetes.io/name): ['\"]?([a-z0-9._-]+)"
    field += r"|s3://([a-z0-9._-]+)"
    names = [one or other for one, other in re.findall(field, text)]
    assert len(names) > 4
    assert [n for n in names if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", n)] == []


@pytest.mark.parametrize(
    ("told", "works"),
    [
        ("My Model", "my-model"),
        ("Llama-3.1-8B", "llama-3.1-8b"),
        ("_x", "x"),
        ("kyc-", "kyc"),
        ("m" * 39 + "-tail", "m" * 39),
        ("é", "churn"),
    ],
)
def test_the_fix_of_a_models_name_is_one_that_works(told: str, works: str) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline.model_name(told)
    assert caught.value.fix == f"--model {works}"
    assert pipeline.model_name(works) == works
