"""`uses: org/sovgate/sign@v1` with a keyless signer, in a job that may ask for no token.

The one that may is among the ways of test_ways.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sigstores import Sigstore
from tests.sigstoreserver import laid, serving
from tests.workflows import Act, every_wheel, release_tree, uses, workflow


@pytest.mark.component
def test_a_job_without_the_permission_is_told_the_block_to_paste(act: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "build" / "churn").mkdir(parents=True)
    (repository / "build" / "churn" / "weights.bin").write_bytes(b"weights")
    with serving(Sigstore()) as served:
        key = laid(repository, served, 1).replace("&token-file=token", "")
        (repository / "token").unlink()
        step = uses("sign", "sign", model="build/churn", key=key)
        step["with"]["wheels"] = str(every_wheel())
        runner = Act(act, release_tree(tmp_path / "tree"), tmp_path)
        log = runner.run(workflow(step), repository)
        assert (log.code != 0, served.asked) == (True, []), str(log)
    said = log.text("sign", "run")
    for line in ("paste into the job:", "permissions:", "id-token: write", "contents: read"):
        assert line in said, str(log)
