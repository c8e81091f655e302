"""docs/install.md, air-gap.md and upgrade.md: their commands run as they stand, in a copy of this.

Wheels come from a folder, so that nothing but the first download of a lock needs a network.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflows import wheels

ROOT = Path(__file__).resolve().parents[2]
#: Of what an installation, and the image, may hold.
LOCKS = ("base", "build", "aws", "gcp", "hsm", "sigstore")


def blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def tree(into: Path) -> None:
    """What Git would have of this tree: all files but those that it ignores."""
    names = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(names.stdout).split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith("tests/"):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into / name)


class Shell:
    """A person's shell, in a home folder of its own; pip has wheels and no index."""

    def __init__(self, home: Path) -> None:
        self.home = home
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("SOVGATE_", "PIP_"))}
        self.env = {
            **keep,
            "HOME": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_FIND_LINKS": " ".join(str(wheels(lock)) for lock in LOCKS),
        }
        (home / "bin").mkdir(parents=True)
        (home / "bin/python3").symlink_to(sys.executable)

    def run(self, text: str, cwd: Path, *, offline: bool = False) -> str:
        words = ["/bin/sh", "-euc", text]
        done = subprocess.run(
            [ROOT / "scripts/offline", *words] if offline else words,
            cwd=cwd,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.thorough  # builds two environments
def test_install_carry_across_and_uninstall(tmp_path: Path) -> None:
    """From a checkout; then on a machine without network and without an index; then gone."""
    home, checkout = tmp_path / "home", tmp_path / "sovgate"
    tree(checkout)
    shell = Shell(home)
    install, aws = blocks("install.md")
    clone, install = install.split("cd sovgate\n")
    assert clone == "git clone https://github.com/org/sovgate\n"
    version = shell.run(install, checkout).splitlines()[-1]
    assert re.fullmatch(r"sovgate \d+\.\d+\.\d+\S*", version)

    shell.run(aws, checkout)
    shell.run("~/sovgate-env/bin/python -c 'import boto3'", checkout)

    fill, check = blocks("air-gap.md")
    here = f"--python {sys.version_info[0]}.{sys.version_info[1]} --machine {platform.machine()}"
    said = shell.run(fill.replace("--python 3.11 --machine x86_64", here), checkout)
    noted = said.splitlines()[-1].split()[0]

    other = Shell(tmp_path / "other")
    del other.env["PIP_NO_INDEX"], other.env["PIP_FIND_LINKS"]  # what the page says is enough
    across = tmp_path / "across"
    shutil.copytree(checkout / "build/air-gap", across / "build/air-gap")
    said = other.run(check, across, offline=True)
    assert noted in said
    assert said.splitlines()[-1] == version
    assert other.run("~/sovgate-env/bin/sovgate regions list", across, offline=True)

    wheel = next((across / "build/air-gap/wheels").glob("click-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\n")
    with pytest.raises(AssertionError, match="FAILED"):
        other.run(check, across, offline=True)
    resumed = check.replace("sha256sum --check", "true --check")
    with pytest.raises(AssertionError, match="HASHES"):
        other.run(resumed.replace("sovgate-env", "second-env"), across, offline=True)

    (remove,) = blocks("upgrade.md")
    shell.run(remove, home)
    assert [path for path in home.rglob("*") if "sovgate" in path.name] == []


def test_what_lies_where_is_what_the_code_names() -> None:
    page = (ROOT / "docs/upgrade.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text() for path in (ROOT / "sovgate").rglob("*.py"))
    below = set(re.findall(r'"\.sovgate(?:" / "|/)(\w+)"', source))
    assert below >= {"pulled", "release"}
    for name in below:
        assert f".sovgate/{name}/" in page, name
