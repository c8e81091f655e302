"""The hybrid pattern's validation, run by the real act: one step measures, another one signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sovgate.pipeline.look.keys import generate
from tests.workflows import Act, release_tree, uses, workflow

PROJECT = """\
version: 1
model: churn
zones:
  home: {region: "aws:us-east-1", keys: {sign-public: sign.pub.pem}}
gates:
  accuracy: {at-least: 0.90, before: transfer}
"""

pytestmark = pytest.mark.component


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a model and its predictions, and a key file outside it."""
    root = tmp_path / "repository"
    model = root / "build" / "churn"
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"weights")
    generate("sign", out=tmp_path / "sign.pem", algorithm="ec-p256")
    (root / "sign.pub.pem").write_bytes((tmp_path / "sign.pub.pem").read_bytes())
    (root / "sovgate.yaml").write_text(PROJECT)
    predictions(root, 96)
    return root


def predictions(root: Path, right: int) -> None:
    rows = [f"{i},yes,{'yes' if i < right * 10 else 'no'}" for i in range(1000)]
    (root / "test.csv").write_text("\n".join(["id,label,prediction", *rows, ""]))


def steps(repository: Path) -> dict[str, Any]:
    return workflow(
        uses("gate", "measure", gate="accuracy", model="build/churn", predictions="test.csv"),
        uses(
            "attest",
            "attest",
            model="build/churn",
            key=f"file:{repository.parent / 'sign.pem'}",
            **{"all-unsigned": "true"},
        ),
    )


def test_one_step_measures_without_a_key_and_another_signs(
    act: Path, repository: Path, tmp_path: Path
) -> None:
    runner = Act(act, release_tree(tmp_path / "tree"), tmp_path)
    log = runner.run(steps(repository), repository)
    assert log.code == 0, str(log)
    assert log.outputs("measure")["outcome"] == "pass"
    assert "unsigned/gate-" in log.outputs("measure")["result"]
    assert log.outputs("attest")["signed"] == "1"
    predictions(repository, 80)
    log = runner.run(steps(repository), repository)
    assert log.result("measure") == "failure", "nothing is signed after a gate that failed"
    assert "exit status 13" in str(log)
    assert log.outputs("measure")["outcome"] == "fail"
    assert log.text("attest") == ""
