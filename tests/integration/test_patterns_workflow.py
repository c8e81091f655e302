"""The workflows of patterns/, run by the real act: their text, with key files in place of a KMS.

A runner has its key files where a KMS would answer it, so there are no credentials to ask for.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import patterns
from tests.integration.test_init_workflow import (
    SPY,
    TRAIN,
    TUNE,
    git,
    prepared,
    run,
    served_by,
)
from tests.workflows import release_tree

pytestmark = [pytest.mark.component, pytest.mark.thorough]  # each step builds its environment


def without_credentials(folder: Path) -> dict[str, Any]:
    """Take out the steps that ask a cloud for credentials, and nothing else; the jobs."""
    path = folder / ".github/workflows/sovgate-release.yml"
    workflow: dict[str, Any] = yaml.safe_load(path.read_text())
    taken = 0
    for job in workflow["jobs"].values():
        kept = [s for s in job["steps"] if not s.get("uses", "").startswith("aws-actions/")]
        taken += len(job["steps"]) - len(kept)
        job["steps"] = kept
    assert taken >= 3
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))
    return dict(workflow["jobs"])


def laid_out(pattern: str, top: Path) -> tuple[Path, Path]:
    """The project, and the repository that drives the rollout."""
    folder, serving, copy = top / "kyc", top / "serving.git", top / "serving"
    patterns.lay_out(pattern, folder, gitops=serving)
    shutil.copytree(folder / "serving", copy / "serving")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "base"]):
        git(copy, *words)
    git(top, "clone", "-q", "--bare", str(copy), str(serving))
    # Not in the checkout: so that a training that looks for keys there would have to find one.
    (top / "zone-keys").mkdir()
    for key in (folder / "keys").glob("*.pem"):
        if not key.name.endswith(".pub.pem"):
            key.rename(top / "zone-keys" / key.name)
    project = folder / "sovgate.yaml"
    project.write_text(project.read_text().replace('"file:keys/', f'"file:{top}/zone-keys/'))
    for name, text in (("train.sh", TRAIN + SPY), ("tune.sh", TUNE + SPY.replace("$1", "$2"))):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    prepared(folder, top / "handover")
    without_credentials(folder)
    return folder, serving


@pytest.mark.parametrize("pattern", ["central", "hybrid"])
def test_a_pattern_goes_from_a_tag_to_the_rollout(act: Path, tmp_path: Path, pattern: str) -> None:
    tree = release_tree(tmp_path / "tree")
    folder, serving = laid_out(pattern, tmp_path)
    log = run(act, tree, folder, {}, tmp_path)
    assert log.code == 0, str(log)
    pinned = f"kyc-risk/v1.0.0{'-eu' if pattern == 'hybrid' else ''}@"
    pinned += log.outputs("sign")["manifest"]
    assert pinned in served_by(serving)
    seen = [path.read_text() for path in (tmp_path / "handover").glob("seen-*")]
    assert seen == [""] * (2 if pattern == "hybrid" else 1), "model code saw a key"
    assert not list((tmp_path / "handover").glob("*/*")), "weights stay on the runner"
