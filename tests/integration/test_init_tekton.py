"""The Tekton files that `init` writes, run as their PipelineRuns say: from training to a rollout.

In a clean clone of the project of docs/getting-started.md, and of the hybrid one of patterns/ that
`make check` compares with what `init` writes.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import forked, patterns, pipelines
from tests.components import ROOT
from tests.pipelines import Completed, Finished, Work
from tests.repositories import Repository, git
from tests.steps import read

PAGE = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")


def begin(top: Path, gitops: Path) -> Path:
    """The project of the page, by its own command; stores and repository are those of a cluster."""
    (command,) = re.findall(r"(?m)^(sovgate init .*)$", PAGE)
    _, *words = shlex.split(command)
    patterns.sovgate(top, *words, "--gitops", gitops)
    folder = top / words[1]
    project = folder / "sovgate.yaml"
    text, times = re.subn("file:stores/", f"file:{top}/stores/", project.read_text())
    assert times == 2
    project.write_text(text)
    return folder


def commit(folder: Path) -> None:
    """As the page says."""
    (block,) = [text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "git " in text]
    person = {
        f"GIT_{role}_{what}": "person@example"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["/bin/sh", "-euc", block], cwd=folder, check=True, env=bare | person)


class Project:
    """A clean clone of what was written and committed: nothing else of that is left.

    Key files are where a Secret would be mounted, apart from it.
    """

    def __init__(self, top: Path, pattern: str) -> None:
        self.top, self.folder = top, top / "clone"
        self.serving = Repository(top)
        written = top / "kyc"
        if pattern == "central":
            written = begin(top, self.serving.path)
        else:
            patterns.lay_out(pattern, written, gitops=self.serving.path)
        base: dict[str, str | bytes] = {
            path.relative_to(written).as_posix(): path.read_bytes()
            for path in (written / "serving").rglob("*.yaml")
        }
        self.serving.person_pushes(base)
        commit(written)
        git("clone", "-q", str(written), str(self.folder))
        mounted = top / "keys"
        mounted.mkdir(mode=0o755)
        for key in (written / "keys").glob("*.pem"):
            if not key.name.endswith(".pub.pem"):
                key.rename(mounted / key.name)
        shutil.rmtree(written)
        (self.folder / "build").mkdir()  # as Kubernetes makes the folder of a subPath
        image = top / "image"
        image.mkdir()
        forked.SOVGATE.command(image / "sovgate", patch={"sovgate.links.SECRETS": str(mounted)})
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

    def is_clean(self) -> bool:
        """Whether the runs left nothing that Git would take."""
        return git("status", "--porcelain", "-uall", cwd=self.folder) == ""


def fine(done: Finished) -> Finished:
    assert done.failed is None, f"{done.failed and done.failed[0]}: {done.failed}"
    return done


def sent(project: Project) -> tuple[str, str]:
    """The base's release, pinned, and the pin alone."""
    done = fine(project.run("us-train/run-train"))
    assert project.build == []
    return done.results["release"], done.results["manifest"]


def test_getting_started_trains_sends_receives_and_promotes(tmp_path: Path) -> None:
    project = Project(tmp_path, "central")
    release, manifest = sent(project)
    got = fine(project.run("eu/run-receive", release=release, manifest=manifest))
    assert got.ran == ("pull", "verify", "promote")
    assert release in project.served()
    assert project.build == []
    assert not {"sovgate.yaml", "keys", "policies"} & set(project.spied)
    assert project.is_clean()


@pytest.mark.thorough
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
    assert project.build == ["kyc-risk-eu", "kyc-risk-eu.evidence"], "it can be put right"
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
    assert project.is_clean()
