"""docs/getting-started.md: its commands run as they stand, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.repositories import git

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
#: Whoever commits has a name.
PERSON = {
    f"GIT_{role}_{what}": "person@example"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 5
    text = re.sub(r"! (sovgate push .*)", r"\1 && exit 1 || test $? -eq 10", "".join(blocks))
    script = f'set -eu\nsovgate() {{ "{sys.executable}" -m sovgate "$@"; }}\n{text}'
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONPATH": str(ROOT), **PERSON},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "churn/build/served/weights.bin").read_text() == "weights"
    changed = git("status", "--porcelain", "-uall", cwd=tmp_path / "churn").splitlines()
    # Of all that was made, Git would take what a person wrote.
    assert [line.split()[-1] for line in changed] == ["sovgate.yaml", "data/customers.yaml"]
    assert "customers may go only to US" in done.stderr


def test_every_page_that_it_names_is_there() -> None:
    for page in re.findall(r"\]\(([a-z-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / page).is_file(), page
