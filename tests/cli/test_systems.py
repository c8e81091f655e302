"""On a system that lacks what locks and modes need: one clear error, whatever was asked."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: As Python is on Windows: these modules and this signal are not there.
WINDOWS = """
import os, signal, sys
for name in ("pwd", "fcntl", "resource", "grp", "termios"):
    sys.modules[name] = None
del signal.SIGHUP
import click, pathlib, shutil
pathlib.Path.cwd()
os.name, sys.platform = "nt", "win32"
from sovgate.cli import main
main()
"""


@pytest.mark.parametrize(
    "words",
    [("lint",), ("guard", "a.csv"), ("policy", "test", "."), ("sign", "m"), ("regions", "list")],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_another_system_is_named_with_what_works(words: tuple[str, ...], form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS, *words, "--format", form],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)["error"] if form == "json" else {}
    text = f"{said['what']} {said['fix']}" if said else done.stderr
    assert "does not run on this system (win32)" in text
    assert "WSL 2" in text


def test_readme_and_package_name_the_systems() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {
        c.split(" :: ")[-1] for c in project["classifiers"] if c.startswith("Operating System")
    }
    assert named == {"Linux", "MacOS"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Linux and macOS" in readme
    assert "WSL 2" in readme
