"""docs/getting-started.md: its commands run as they stand, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")


def untracked(folder: Path) -> list[bytes]:
    """What `git add -A` would take from the project."""
    subprocess.run(["git", "init", "-q", "."], cwd=folder / "churn", check=True)
    words = ["git", "ls-files", "-o", "--exclude-standard", "-z"]
    done = subprocess.run(words, cwd=folder / "churn", capture_output=True, check=True)
    found = done.stdout.split(b"\0")
    assert b"sovgate.yaml" in found
    return found


def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    text = re.sub(r"! (sovgate push .*)", r"\1 && exit 1 || test $? -eq 10", "".join(blocks))
    script = f'set -eu\nsovgate() {{ "{sys.executable}" -m sovgate "$@"; }}\n{text}'
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "churn/build/served/weights.bin").read_text() == "weights"
    assert not any(b"build/" in line or b".evidence" in line for line in untracked(tmp_path))
    assert "customers may go only to US" in done.stderr


def test_every_page_that_it_names_is_there() -> None:
    for page in re.findall(r"\]\(([a-z-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / page).is_file(), page
