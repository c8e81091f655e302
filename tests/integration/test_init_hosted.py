"""`sovgate init --runners hosted`: workflows that hold nothing, so that anybody may run them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_init import ZIZMOR, sovgate, tree
from tests.kill import ROOT

PLACES = ("--train", "aws:us-east-1", "--serve", "eu=aws-eusc:eusc-de-east-1")
PROJECTS = {
    "central": ("--pattern", "central", *PLACES, "--gitops", "https://git.example/ml/s.git"),
    "hybrid": ("--pattern", "hybrid", *PLACES, "--data", "kunden=EU"),
    "local": ("--pattern", "hybrid", "--local"),
}
HOSTED = ("--runners", "hosted")


@pytest.mark.parametrize("name", PROJECTS)
def test_no_hosted_job_holds_a_key_a_model_or_data(tmp_path: Path, name: str) -> None:
    said = sovgate("init", "kyc", *PROJECTS[name], *HOSTED, cwd=tmp_path, text=True)
    assert "nobody can say where a hosted runner is" in str(said)
    assert "actions.md#hosted-runners" in str(said)
    later = "nothing is promoted yet; to add it later: "
    assert (later in str(said)) == ("--gitops" not in PROJECTS[name])
    assert "\n## Added later\n" in (ROOT / "docs/gitops.md").read_text(encoding="utf-8")
    folder = tmp_path / "kyc/.github/workflows"
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(texts) == {"sovgate-check.yml", "sovgate-policy.yml"}
    asked = []
    for text in texts.values():
        held = ("secrets.", "vars.", "id-token", "environment:", "self-hosted", "artifact")
        assert not [word for word in (*held, ".sh", "cache", "_target") if word in text]
        for job in yaml.safe_load(text)["jobs"].values():
            assert job["runs-on"] == "ubuntu-latest"
            assert job["permissions"] == {"contents": "read"}
            for step in job["steps"]:
                action = step["uses"].split("@")[0]
                assert action == "actions/checkout" or action.split("/")[2] in (
                    "lint",
                    "guard",
                    "check",
                )
                asked += [step["with"]["zone"]] if action.endswith("check") else []
    assert asked == (["us-train"] if name == "central" else ["us-train", "eu"])


@pytest.mark.parametrize("name", PROJECTS)
def test_each_question_is_answered_in_a_clean_clone_without_a_key(
    tmp_path: Path, name: str
) -> None:
    sovgate("init", "kyc", *PROJECTS[name], *HOSTED, cwd=tmp_path)
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "-q", "."), ("add", "-A"), ("commit", "-qm", "begin")):
        subprocess.run([*git, *words], cwd=tmp_path / "kyc", check=True)
    subprocess.run(["git", "clone", "-q", "kyc", "clone"], cwd=tmp_path, check=True)
    clone = tmp_path / "clone"
    assert not [path for path in clone.glob("keys/*.pem") if not path.name.endswith(".pub.pem")]
    text = (clone / ".github/workflows/sovgate-policy.yml").read_text()
    before = tree(clone)
    for job in yaml.safe_load(text)["jobs"].values():
        given = job["steps"][-1]["with"]
        words = [word for one in given["dataset"].split("\n") for word in ("--dataset", one)]
        place = ("--action", given["action"], "--zone", given["zone"])
        answer: Any = sovgate("check", *place, *words, cwd=clone)
        assert answer["allowed"] is True
    assert tree(clone) == before
    manifest = clone / "data/public-train.yaml"
    manifest.write_text(manifest.read_text().replace("stays-in: []", "stays-in: [JP]"))
    place = ("--action", "train", "--zone", "us-train", "--dataset", "public-train")
    sovgate("check", *place, cwd=clone, code=10)


@pytest.mark.parametrize("name", PROJECTS)
def test_the_other_workflows_are_added_later_and_nothing_changes(tmp_path: Path, name: str) -> None:
    words = ("init", "kyc", *PROJECTS[name])
    sovgate(*words, *HOSTED, cwd=tmp_path)
    before = tree(tmp_path / "kyc")
    added: Any = sovgate(*words, cwd=tmp_path)
    folder = ".github/workflows/sovgate-"
    assert added["created"] == [f"{folder}release.yml", f"{folder}rollback.yml"]
    after = tree(tmp_path / "kyc")
    assert {path: after[path] for path in before} == before


def test_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    sovgate("init", "a/b", "--model", "kyc", *PROJECTS["central"], *HOSTED, cwd=tmp_path)
    path = tmp_path / ".github/workflows/sovgate-policy-kyc.yml"
    workflow = yaml.safe_load(path.read_text())
    assert workflow["name"] == "sovgate policy kyc"
    paths = ["a/b/**", ".github/workflows/sovgate-policy-kyc.yml"]
    assert workflow[True]["pull_request"]["paths"] == paths
    assert workflow["jobs"]["train-us-train"]["steps"][-1]["with"]["project"] == "a/b"


@pytest.mark.component
def test_linters_find_nothing(tmp_path: Path, zizmor: Path, jactionlint: Path) -> None:
    sovgate("init", "kyc", *PROJECTS["hybrid"], *HOSTED, cwd=tmp_path)
    folder = tmp_path / "kyc"
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    (folder / ".github/zizmor.yml").write_text(ZIZMOR)
    pinned = [zizmor, "--offline", "--persona", "pedantic", "--no-progress", "."]
    path = folder / ".github/workflows/sovgate-policy.yml"
    path.write_text(path.read_text().replace("check@v1", f"check@{'0' * 40}"))
    for command in (pinned, [jactionlint, str(path)]):
        done = subprocess.run(
            list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
