"""A place in a file is told as its reader would write it: from where they are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.crossing import Crossing, make_crossing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a project in services/a, whose model may go to eu and not back."""
    root = tmp_path_factory.mktemp("mono")
    made = make_crossing(root / "services/a")
    made.edit("version: 1\n", "version: 1\npolicy: {rules: policies}\n")
    (made.base / "policies").mkdir()
    (made.base / "policies/broken.rego").write_text("package user.broken\ndeny contains\n")
    return root


def run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], **environment}
    return forked.SOVGATE.run(*arguments, cwd=folder, env=given)


@pytest.mark.parametrize(
    ("folder", "project"),
    [("services/a", None), ("services/a/model", None), (".", "services/a"), ("services", "a")],
)
def test_an_annotation_is_relative_to_the_checkout(
    repository: Path, folder: str, project: str | None
) -> None:
    """GitHub looks for the file from the root, wherever the step runs."""
    more = [] if project is None else ["--project", project]
    done = run(
        *(repository / folder, "lint", *more, "--format", "github"),
        GITHUB_WORKSPACE=str(repository),
    )
    assert done.returncode == 3
    assert "::error file=services/a/policies/broken.rego,line=" in done.stdout


@pytest.mark.parametrize(
    ("folder", "project", "told"),
    [
        ("services/a", None, "sovgate.yaml"),
        ("services/a/model", None, "../sovgate.yaml"),
        (".", "services/a", "services/a/sovgate.yaml"),
        ("services", "a", "a/sovgate.yaml"),
    ],
)
def test_elsewhere_a_place_is_relative_to_the_working_folder(
    repository: Path, tmp_path: Path, folder: str, project: str | None, told: str
) -> None:
    more = [] if project is None else ["--project", project]
    (repository / "services/a/policies/broken.rego").rename(tmp_path / "broken.rego")
    try:
        config = repository / "services/a/sovgate.yaml"
        text = config.read_text()
        config.write_text(text.replace("policy: {rules: policies}\n", ""))
        model = repository / "services/a/model"
        words = ("check", model, *more, "--zone", "home", "--to", "eu")
        done = run(repository / folder, *words)
        assert f"({told}:" in done.stdout, done.stdout + done.stderr
        found = json.loads(run(repository / folder, *words, "--format", "json").stdout)
        assert [one["where"].rpartition(":")[0] for one in found["permits"]] == [told]
        back = run(
            *(repository / folder, "check", model, *more, "--zone", "eu", "--to", "home"),
            *("--format", "json"),
        )
        places = [d["where"] for d in json.loads(back.stdout)["denies"] if d["where"]]
        assert all(place.startswith(f"{told}:") for place in places), places
        config.write_text(text.replace("version: 1\n", "version: x\n"))
        error = json.loads(run(repository / folder, *words, "--format", "json").stdout)["error"]
        assert error["where"]["path"] == told
    finally:
        config.write_text(text)
        (tmp_path / "broken.rego").rename(repository / "services/a/policies/broken.rego")


def test_a_place_that_is_far_away_is_told_whole(tmp_path: Path) -> None:
    crossing: Crossing = make_crossing(tmp_path / "a/project")
    (tmp_path / "b/c/d/e").mkdir(parents=True)
    crossing.edit("version: 1", "version: x")
    done = run(
        *(tmp_path / "b/c/d/e", "check", crossing.model, "--project", crossing.base),
        *("--zone", "home", "--to", "eu"),
    )
    assert f"{crossing.base}/sovgate.yaml:1" in done.stderr
