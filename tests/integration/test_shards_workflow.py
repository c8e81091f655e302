"""The workflow that docs/actions.md shows for several runners, run by the real act.

What carries artifacts between jobs is GitHub's own service; a folder stands for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.components import ROOT
from tests.workflows import Act, release_tree, uses
from tests.zones import make_sides

pytestmark = pytest.mark.component


def documented() -> dict[str, Any]:
    page = (ROOT / "docs" / "actions.md").read_text(encoding="utf-8")
    section = page.split("## One release by several runners")[1].split("\n## ")[0]
    (text,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def stand_in(step: dict[str, Any], artifacts: Path, sides: Path) -> dict[str, Any] | None:
    """A step as this machine can run it."""
    action, given = step["uses"].partition("@")[0], step.get("with", {})
    if action == "actions/checkout":
        return None
    if action == "actions/upload-artifact":
        name = given["name"].replace("${{ matrix.shard }}", "$SHARD")
        script = f'mkdir -p "{artifacts}/{name}" && cp -r {given["path"]}/. "{artifacts}/{name}"'
        return {"run": script, "env": {"SHARD": "${{ matrix.shard }}"}}
    if action == "actions/download-artifact":
        assert given["merge-multiple"] is True
        path = given["path"]
        script = f"rm -rf {path}; mkdir {path}; cp -r {artifacts}/{given['pattern']}/. {path}"
        return {"run": script}
    assert action == "org/sovgate/push"
    words = {
        "/mnt/models/churn": str(sides / "us" / "tumour-triage"),
        "churn/1.4.0@sha256:…": "tumour-triage/1.0.0@${{ needs.sign.outputs.manifest }}",
    }

    def put(text: str) -> str:
        for old, new in words.items():
            text = text.replace(old, new)
        return text

    inputs = {name: put(str(value)) for name, value in given.items()}
    return uses("push", step["id"], project=str(sides / "us"), **inputs)


def test_several_runners_send_one_release(act: Path, tmp_path: Path) -> None:
    sides = make_sides(tmp_path / "sides")
    model = sides / "us" / "tumour-triage"
    (model / "more.bin").write_bytes(b"more weights")
    workflow = documented()
    for name, job in workflow["jobs"].items():
        assert job["runs-on"] == ["self-hosted", "us-train"]
        job["runs-on"] = "ubuntu-latest"
        del job["environment"]
        steps = [stand_in(step, tmp_path / "artifacts", sides) for step in job["steps"]]
        job["steps"] = [step for step in steps if step is not None]
        job["needs"] = ["sign", *([job["needs"]] if name == "join" else [])]
    key, project = f"file:{sides}/us/keys/us-sign.pem", str(sides / "us")
    more = {"key": key, "project": project}
    workflow["jobs"]["sign"] = {
        "runs-on": "ubuntu-latest",
        "outputs": {"manifest": "${{ steps.sign.outputs.manifest }}"},
        "steps": [
            uses("sign", "sign", model=str(model), key=key),
            uses("record", "record", model=str(model), dataset="screening-public", **more),
        ],
    }
    workflow["on"] = "push"
    runner = Act(act, release_tree(tmp_path / "tree"), tmp_path / "act")
    log = runner.run(workflow, sides / "repository")
    assert log.code == 0, str(log)
    said = log.outputs("join")
    assert said["manifest"] == log.outputs("sign")["manifest"]
    assert said["record"]
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == [
        f"part-{number}" for number in (1, 2, 3)
    ]
    assert (sides / "store-eu/releases/tumour-triage/1.0.0.json").is_file()
