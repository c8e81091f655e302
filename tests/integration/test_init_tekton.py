"""The Tekton files of patterns/, run as their PipelineRuns say: from training to a rollout.

patterns/ is what `init` writes, and `make check` compares it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import patterns, pipelines
from tests.components import ROOT
from tests.pipelines import Completed, Finished, Work
from tests.repositories import Repository
from tests.steps import read


class Project:
    """A pattern, with the key files where a Secret would be mounted: apart from it."""

    def __init__(self, top: Path, pattern: str) -> None:
        self.top, self.folder = top, top / "kyc"
        self.serving = Repository(top)
        base = {
            path.relative_to(patterns.PATTERNS / pattern).as_posix(): path.read_text()
            for path in (patterns.PATTERNS / pattern / "serving").rglob("*.yaml")
        }
        self.serving.person_pushes(base)
        patterns.lay_out(pattern, self.folder, gitops=self.serving.path)
        (top / "keys").mkdir()
        for key in (self.folder / "keys").glob("*.pem"):
            if not key.name.endswith(".pub.pem"):
                key.rename(top / "keys" / key.name)
        project = self.folder / "sovgate.yaml"
        project.write_text(project.read_text().replace('"file:keys/', f'"file:{top}/keys/'))
        (self.folder / "build").mkdir()  # as Kubernetes makes the folder of a subPath
        image = top / "image"
        image.mkdir()
        (image / "sovgate").write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            "from sovgate.cli import main\nmain()\n"
        )
        (image / "sovgate").chmod(0o755)
        self.spied: list[str] = []

    def start(self, work: Work) -> Completed:
        path = work.step.written(self.top / "scripts" / work.results.parent.name / work.name)
        keys, hidden = self.top / "keys", self.top / "hidden"
        where = self.folder / work.workspaces["source"]
        if work.workspaces["source"]:
            self.spied += [name.name for name in where.iterdir()]
        if "keys" not in work.workspaces:
            keys.rename(hidden)
        try:
            return subprocess.run(
                [path],
                cwd=where,
                capture_output=True,
                text=True,
                check=False,
                env={
                    **work.step.env,
                    "PATH": f"{self.top}/image:/usr/bin:/bin",
                    "TMPDIR": str(self.top),
                    "HOME": str(self.top),
                    "SOVGATE_RESULTS_DIR": str(work.results),
                },
            )
        finally:
            if hidden.exists():
                hidden.rename(keys)

    def run(
        self, name: str, number: int = 1, *, look: Callable[[], None] = lambda: None, **pins: str
    ) -> Finished:
        """`name`: ZONE/run-WHAT of tekton/. `pins`: what only the run before it could say."""
        asked = read(self.folder / f"tekton/{name}.yaml")["spec"]
        given: dict[str, Any] = {p["name"]: p["value"] for p in asked["params"]}
        changed = {key.replace("_", "-"): value for key, value in pins.items()}
        assert set(changed) <= set(given)
        assert all("sha256:" + "0" * 64 in given[key] for key in changed), "only pins are unknown"
        path = self.folder / f"tekton/{asked['pipelineRef']['name']}.yaml"
        zone = self.folder / "tekton" / name.partition("/")[0]
        own = {file.stem.removeprefix("task-"): read(file) for file in zone.glob("task-*.yaml")}
        scratch = self.top / "results" / f"{name.replace('/', '-')}-{number}"
        return pipelines.run(path, given | changed, self.start, scratch, other=own, look=look)

    def served(self) -> str:
        where = "main:serving/overlays/eu/sovgate-release.yaml"
        words = ["git", "-C", str(self.serving.path), "show", where]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    @property
    def build(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "build").iterdir())


def fine(done: Finished) -> Finished:
    assert done.failed is None, f"{done.failed and done.failed[0]}: {done.failed}"
    return done


def sent(project: Project) -> tuple[str, str]:
    """The base's release, pinned, and the pin alone."""
    done = fine(project.run("us-train/run-train"))
    assert project.build == []
    return done.results["release"], done.results["manifest"]


def test_the_central_pattern_trains_sends_receives_and_promotes(tmp_path: Path) -> None:
    project = Project(tmp_path, "central")
    release, manifest = sent(project)
    got = fine(project.run("eu/run-receive", release=release, manifest=manifest))
    assert got.ran == ("pull", "verify", "promote")
    assert release in project.served()
    assert project.build == []
    assert not {"sovgate.yaml", "keys", "policies"} & set(project.spied)


def test_rule_25_the_hybrid_pattern_tunes_and_another_run_releases(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path, "hybrid")
    release, base = sent(project)
    made = fine(project.run("eu/run-tune", base=release, base_manifest=base))
    assert project.build == ["kyc-risk-eu", "kyc-risk-eu.evidence"]
    manifest = made.results["manifest"]
    weights, mine = project.folder / "build/kyc-risk-eu/weights.bin", "kyc-risk/1.0.0-eu"
    trained = weights.read_bytes()
    assert trained == b"trained\ntuned here\n"
    # What was changed after it was signed is not released (RULES 25).
    build, kept = project.folder / "build", project.top / "kept"
    shutil.copytree(build, kept)
    weights.write_bytes(b"other")
    pins = {"release": f"{mine}@{manifest}", "manifest": manifest}
    stopped = project.run("eu/run-release", **pins)
    assert stopped.failed is not None
    assert (stopped.failed[0], stopped.failed[1].returncode) == ("verify", 11)
    assert project.build == [], "nor does it stay"
    shutil.copytree(kept, build, dirs_exist_ok=True)
    opened: list[bytes] = []
    place = project.folder / "build/served/eu/kyc-risk-1.0.0-eu/weights.bin"
    released = fine(
        project.run("eu/run-release", 2, look=lambda: opened.append(place.read_bytes()), **pins)
    )
    assert released.ran == ("verify", "check", "release")
    assert released.results["release"] == f"{mine}@{manifest}"
    assert released.results["release"] in project.served()
    assert opened == [trained]
    assert project.build == []
    assert not {"sovgate.yaml", "keys", "policies"} & set(project.spied)
