"""The wheel that a user installs: whole, the same each time it is built, and able to run.

Builds into a temporary folder with the locked build tools, without network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(into: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_policies_schemas_and_pipelines_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [
        path.relative_to(ROOT).as_posix()
        for folder in ("policies", "schemas", "tekton/pipelines")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".rego", ".json", ".yaml"}
    ]
    assert not [name for name in data if f"sovgate/_data/{name}" not in names]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sovgate"}
    assert not [name for name in names if "__pycache__" in name]


def test_building_twice_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_the_installed_package_finds_its_own_data(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    env = {**os.environ, "PYTHONPATH": str(installed)}
    program = "import sovgate, sys; print(sovgate.__file__)"
    commands = (
        ["-c", program],
        ["-m", "sovgate", "--version"],
        ["-m", "sovgate", "regions", "list"],
        ["-m", "sovgate", "init", "--schema"],
        ["-m", "sovgate", "init", "p", "--pattern", "hybrid", "--local"],
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        if command[0] == "-c":
            assert Path(done.stdout.strip()).is_relative_to(installed)
