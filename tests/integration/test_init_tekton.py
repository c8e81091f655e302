"""The Tekton pipelines that `init` writes, their steps run in order: from training to a rollout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pipelines
from tests.components import ROOT
from tests.pipelines import Completed, Finished, Work
from tests.repositories import Repository
from tests.steps import read

#: What an image's entry point does: it is started in the folder build, and sees nothing else.
TRAIN = (
    '#!/bin/sh\nset -eu\ntest ! -e sovgate.yaml\nmkdir -p "$1"\nprintf weights > "$1/weights.bin"\n'
)
TUNE = '#!/bin/sh\nset -eu\nmkdir "$2"\n(cat "$1/weights.bin"; echo tuned) > "$2/weights.bin"\n'


class Project:
    """What `init` wrote, with the key files where a Secret would be mounted: apart from it."""

    def __init__(self, top: Path) -> None:
        self.top, self.folder = top, top / "kyc"
        self.serving = Repository(top)
        self.serving.person_pushes(
            {"serving/overlays/eu/kustomization.yaml": "resources:\n  - ../../../base\n"}
        )
        self.sovgate(
            "init", "kyc", "--pattern", "hybrid", "--local", "--gitops", str(self.serving.path)
        )
        (top / "keys").mkdir()
        for key in (self.folder / "keys").glob("*.pem"):
            if not key.name.endswith(".pub.pem"):
                key.rename(top / "keys" / key.name)
        project = self.folder / "sovgate.yaml"
        project.write_text(project.read_text().replace('"file:keys/', f'"file:{top}/keys/'))
        for name, text in (("train.sh", TRAIN), ("tune.sh", TUNE)):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        (self.folder / "build").mkdir()  # as Kubernetes makes the folder of a subPath
        image = top / "image"
        image.mkdir()
        (image / "sovgate").write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            "from sovgate.cli import main\nmain()\n"
        )
        (image / "sovgate").chmod(0o755)

    def sovgate(self, *words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "sovgate", *words],
            cwd=self.top,
            check=True,
            capture_output=True,
            env={"PYTHONPATH": str(ROOT)},
        )

    def start(self, work: Work) -> Completed:
        script = work.step.script.replace("/keys/", f"{self.top}/keys/")
        path = work.step.written(self.top / "scripts" / work.results.parent.name / work.name)
        path.write_text(script)
        keys = self.top / "keys"
        hidden = self.top / "hidden"
        if "keys" not in work.workspaces:
            keys.rename(hidden)
        try:
            return subprocess.run(
                [path],
                cwd=self.folder / work.workspaces["source"],
                capture_output=True,
                text=True,
                check=False,
                env={
                    **{
                        name: value.replace("file:/keys/", f"file:{keys}/")
                        for name, value in work.step.env.items()
                    },
                    "PATH": f"{self.top}/image:/usr/bin:/bin",
                    "TMPDIR": str(self.top),
                    "HOME": str(self.top),
                    "SOVGATE_RESULTS_DIR": str(work.results),
                },
            )
        finally:
            if hidden.exists():
                hidden.rename(keys)

    def run(self, name: str, **given: str) -> Finished:
        path = self.folder / f"tekton/{name}.yaml"
        other = {}
        for entry in read(path)["spec"]["tasks"]:
            if "taskSpec" in entry:
                other[entry["name"]] = self.own(entry["name"], entry["taskSpec"])
        params = {key.replace("_", "-"): value for key, value in given.items()}
        return pipelines.run(path, params, self.start, self.top / "results" / name, other=other)

    def own(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Model code, started as its Task says: by its image's entry point."""
        (step,) = spec["steps"]
        assert "command" not in step
        command = [f"{self.folder}/{name}.sh", *step["args"]]
        script = f"#!/bin/sh\nexec {' '.join(command)}\n"
        return {"kind": "Task", "spec": {**spec, "steps": [{"env": [], "script": script}]}}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def fine(done: Finished) -> Finished:
    assert done.failed is None, f"{done.failed and done.failed[0]}: {done.failed}"
    return done


def tuned(project: Project) -> Finished:
    sent = fine(project.run("train", release="kyc/1.0.0", train_image="mine"))
    manifest = sent.results["release"].partition("@")[2]
    return fine(
        project.run("eu", release=sent.results["release"], manifest=manifest, tune_image="mine")
    )


def test_tuned_in_the_zone_and_released_by_another_run(project: Project) -> None:
    made = tuned(project)
    manifest = made.results["manifest"]
    released = fine(
        project.run("eu-release", release=f"kyc/1.0.0-eu@{manifest}", manifest=manifest)
    )
    assert released.ran == ("verify", "check", "release")
    assert released.results["release"] == f"kyc/1.0.0-eu@{manifest}"
    shown = subprocess.run(
        [
            "git",
            "-C",
            project.serving.path,
            "show",
            "main:serving/overlays/eu/sovgate-release.yaml",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert released.results["release"] in shown
    served = project.folder / "build/served/eu/kyc-1.0.0-eu/weights.bin"
    assert served.read_bytes() == b"weightstuned\n"


def test_rule_25_what_was_changed_after_it_was_signed_is_not_released(project: Project) -> None:
    manifest = tuned(project).results["manifest"]
    (project.folder / "build/kyc-eu/weights.bin").write_bytes(b"other")
    done = project.run("eu-release", release=f"kyc/1.0.0-eu@{manifest}", manifest=manifest)
    assert done.failed is not None
    assert (done.failed[0], done.failed[1].returncode) == ("verify", 11)


def test_a_tuning_that_replaces_the_base_is_stopped_before_the_record(project: Project) -> None:
    with (project.folder / "tune.sh").open("a") as file:
        file.write('echo other > "$1/weights.bin"\n')
    with pytest.raises(AssertionError, match="verify-base"):
        tuned(project)
    assert not list((project.folder / "build/kyc-eu.evidence").glob("provenance*"))
