"""What README.md shows as a first project and a first workflow is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import forked
from tests.workflows import PYTHON, Act, release_tree, wheels, workflow

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.component


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_first_commands_push_by_the_first_project_file(tmp_path: Path) -> None:
    (project,) = [block for block in blocks("yaml") if block.startswith("version: 1")]
    (shown,) = [block for block in blocks("") if "sovgate keys generate sign" in block]
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_bytes(b"weights")
    (tmp_path / "sovgate.yaml").write_text(project.replace("/mnt/eu-store", str(tmp_path / "eu")))
    for line in ["sovgate keys generate encrypt -o keys/eu.pem", *shown.splitlines()]:
        done = forked.SOVGATE.run(*line.split()[1:], cwd=tmp_path, env={})
        assert done.returncode == 0, line + done.stdout + done.stderr
    assert (tmp_path / "eu/releases/churn/1.0.0.json").is_file()


def test_the_first_workflow_releases_by_the_first_project_file(act: Path, tmp_path: Path) -> None:
    (project,) = [block for block in blocks("yaml") if block.startswith("version: 1")]
    (shown,) = [block for block in blocks("yaml") if "release@v1" in block]
    repository, store = tmp_path / "repository", tmp_path / "store"
    (repository / "model").mkdir(parents=True)
    (repository / "model/weights.bin").write_bytes(b"weights")
    store.mkdir()
    for kind, name in (("sign", "sign"), ("encrypt", "eu")):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "sovgate",
                "keys",
                "generate",
                kind,
                "-o",
                repository / "keys" / f"{name}.pem",
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    project = project.replace("/mnt/eu-store", str(store))
    (repository / "sovgate.yaml").write_text(project)
    (step,) = yaml.safe_load(shown)
    assert set(step) == {"uses", "with"}
    step["id"] = "release"
    step["with"] |= {"wheels": str(wheels()), "python": str(PYTHON)}
    log = Act(act, release_tree(tmp_path / "tree"), tmp_path).run(workflow(step), repository)
    assert log.code == 0, str(log)
    assert log.outputs("release")["release"].startswith("churn/1.0.0@sha256:")
    assert (store / "releases/churn/1.0.0.json").is_file()
