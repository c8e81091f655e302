"""What docs/formats.md tells an auditor to type works, with nothing of ours in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.components import found, program

COREUTILS = ("sha256sum", "base64")
pytestmark = pytest.mark.component
ROOT = Path(__file__).resolve().parents[2]


def test_a_signature_is_verified_with_other_peoples_tools(tmp_path: Path) -> None:
    for tool in ("jq", "openssl", "sha256sum", "base64"):
        found(program, tool, get=f"apt-get install {'coreutils' if tool in COREUTILS else tool}")
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"\*\*By hand\.\*\*.*?```sh\n(.*?)```", page, re.DOTALL)
    place = tmp_path / "signing"
    shutil.copytree(ROOT / "tests" / "vectors" / "signing", place)
    recipe = "set -eu\n" + recipe.replace("/tmp/", f"{tmp_path}/")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", recipe], cwd=place, capture_output=True, text=True, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Verified OK"
    assert done.stdout.count(": OK") == 4
    (place / "model" / "config.json").write_bytes(b"{}")
    assert run().returncode != 0
