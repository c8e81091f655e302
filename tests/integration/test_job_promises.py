"""What pipelines promise of a job: held over those that are shipped and those of `init`."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate.pipeline.look import init, scaffold
from sovgate.pipeline.look.scaffold import actions
from tests.pipelines import PIPELINES

#: What `init` does not write: they begin with a model that is there.
SENDING = ("sovgate-send", "sovgate-send-shards")
SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in PIPELINES}


def answers(pattern: str, gitops: str | None = None) -> init.Answers:
    return init.Answers(
        pattern=pattern,
        model="kyc",
        train=init.zone_answer("aws:us-east-1", suffix="-train"),
        serve=(
            init.zone_answer("no=azure:norwayeast"),
            init.zone_answer("eu=aws-eusc:eusc-de-east-1"),
        ),
        data=(init.data_answer("kyc=EEA"),) if pattern == "hybrid" else (),
        gitops=gitops,
    )


def written(pattern: str, gitops: str | None = None) -> dict[str, Any]:
    made = scaffold.files(answers(pattern, gitops))
    return {
        path: yaml.safe_load(data)
        for path, data in made.items()
        if path.endswith("ml") and not path.endswith("accounts.yaml")
    }


WRITTEN = {
    f"{pattern} {path}": document
    for pattern in ("central", "hybrid")
    for path, document in written(pattern, "https://git.example/ml/serving.git").items()
}
PIPELINES_WRITTEN = {
    path: document
    for path, document in WRITTEN.items()
    if "tekton/" in path and document["kind"] == "Pipeline"
}
TEKTON = {**SHIPPED, **PIPELINES_WRITTEN}
ACTIONS = {path: document for path, document in WRITTEN.items() if "workflows/" in path}


def own_tasks(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Tasks that run code of the user: no Task of ours."""
    return [
        entry
        for entry in pipeline["spec"]["tasks"]
        if not entry.get("taskRef", {}).get("name", "").startswith("sovgate-")
    ]


@pytest.mark.parametrize("name", TEKTON)
def test_rule_23_a_task_of_yours_sees_the_folder_build_and_nothing_else(name: str) -> None:
    for entry in own_tasks(TEKTON[name]):
        source = {"name": "source", "workspace": "source", "subPath": "build"}
        assert entry["workspaces"] == [source]
        given = {param["name"] for param in entry.get("params", [])}
        assert not {"key", "secret", "token"} & given


def test_there_are_tasks_of_yours_to_hold_to_it() -> None:
    """Otherwise that nothing was found would say nothing."""
    assert sum(len(own_tasks(pipeline)) for pipeline in TEKTON.values()) >= 5


@pytest.mark.parametrize("name", ACTIONS)
def test_rule_23_a_job_with_your_code_has_no_secret_and_no_environment(name: str) -> None:
    for job in ACTIONS[name]["jobs"].values():
        if any(".sh" in step.get("run", "") for step in job["steps"]):
            assert "secrets." not in json.dumps(job)
            assert "environment" not in job
            assert "keys/" not in json.dumps(job)


def test_rule_23_what_is_written_is_what_is_shipped() -> None:
    """So nothing that is promised below of one text can be untrue of the other."""
    assert {path.rpartition("/")[2] for path in PIPELINES_WRITTEN} == {
        f"{name}.yaml" for name in SHIPPED if name not in SENDING
    }
    for path, document in PIPELINES_WRITTEN.items():
        assert document == SHIPPED[path.rpartition("/")[2].removesuffix(".yaml")]


def test_each_run_of_a_project_in_a_subfolder_names_it() -> None:
    """The workspace is the checkout: else no Task would find sovgate.yaml there."""
    for pattern in ("central", "hybrid"):
        made = scaffold.files(replace(answers(pattern), place="models/kyc"))
        runs = [yaml.safe_load(data) for path, data in made.items() if "/run-" in path]
        assert len(runs) == (3 if pattern == "central" else 5)
        for run in runs:
            assert {"name": "project", "value": "models/kyc"} in run["spec"]["params"]


def removed(pipeline: dict[str, Any], *, only_always: bool = False) -> set[str]:
    return {
        f"build/{arg}"
        for entry in pipeline["spec"].get("finally", [])
        if not (only_always and "when" in entry)
        for step in entry["taskSpec"]["steps"]
        for arg in step["args"][2:]
    }


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in SENDING])
def test_no_weights_stay_in_the_workspace(name: str) -> None:
    """Every model that a pipeline makes or opens is removed by a Task at its end.

    Those that only send make none: their model was there before them.
    """
    pipeline = SHIPPED[name]
    made = {
        param["value"]
        for entry in pipeline["spec"]["tasks"]
        for param in entry.get("params", [])
        if param["name"] in ("output", "model") and str(param["value"]).startswith("build/")
    }
    assert made
    assert removed(pipeline) == made | {f"{path}.evidence" for path in made}
    # The run that releases needs what the run before it tuned: that stays if the run succeeded, and
    # then until it is released, so that a denied run can be started again.
    tuned = {"sovgate-hybrid-tune": "notin", "sovgate-hybrid-release": "in"}
    kept = {"build/$(params.model)"} if name in tuned else set()
    always = removed(pipeline, only_always=True)
    assert always == removed(pipeline) - kept - {f"{path}.evidence" for path in kept}
    for entry in pipeline["spec"]["finally"]:
        (step,) = entry["taskSpec"]["steps"]
        assert step["command"] == ["/bin/rm"]
        source = {"name": "source", "workspace": "source", "subPath": "build"}
        assert entry["workspaces"] == [source]
        if "when" in entry:
            asked = {"input": "$(tasks.status)", "operator": tuned[name]}
            assert entry["when"] == [{**asked, "values": ["Succeeded", "Completed"]}]
    assert not any("finally" in SHIPPED[name]["spec"] for name in SENDING)


@pytest.mark.parametrize("pattern", ["central", "hybrid"])
def test_a_last_job_removes_the_folder_of_the_run_in_every_zone(pattern: str) -> None:
    jobs = ACTIONS[f"{pattern} /.github/workflows/sovgate-release.yml"]["jobs"]
    used: dict[str, set[str]] = {}
    for name, job in jobs.items():
        if not name.startswith("clean-"):
            used.setdefault(job["runs-on"][1], set()).add(name)
    assert set(used) == {"us-train", "no", "eu"}
    for zone, names in used.items():
        job = jobs[f"clean-{zone}"]
        assert set(job["needs"]) == names
        assert (job["if"], job["runs-on"]) == ("always()", ["self-hosted", zone])
        assert job["permissions"] == {}
        assert [step["run"] for step in job["steps"]] == [
            f'rm -rf -- "{actions.HANDOVER}/${{GITHUB_RUN_ID:?}}"'
        ]


def test_the_last_job_removes_that_run_and_no_other(tmp_path: Path) -> None:
    (step,) = ACTIONS["central /.github/workflows/sovgate-release.yml"]["jobs"]["clean-eu"]["steps"]
    for run in ("7", "77"):
        (tmp_path / run / "kyc").mkdir(parents=True)
        (tmp_path / run / "kyc/weights.bin").write_bytes(b"weights")
    script = step["run"].replace(actions.HANDOVER, str(tmp_path))
    subprocess.run(["/bin/sh", "-c", script], check=True, env={"GITHUB_RUN_ID": "7"})
    assert [path.name for path in tmp_path.iterdir()] == ["77"]


def test_every_workspace_path_that_a_secret_is_written_to_is_forgotten() -> None:
    for name, workflow in ACTIONS.items():
        for job in workflow["jobs"].values():
            text = json.dumps(job)
            if "SIGN_KEY" in text:
                last = job["steps"][-1]
                assert last["if"] == "always()", name
                written_to = {
                    word.strip('"')
                    for step in job["steps"]
                    for word in step.get("run", "").split()
                    if word.startswith("keys/")
                }
                assert written_to <= set(last["run"].split())
