"""A model across a border by the commands, through every kind of store there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.stores import ADAPTERS
from tests.crossing import Crossing, make_crossing, tree

pytestmark = pytest.mark.component
#: Where the stores of a scheme lie, or say that they do; of others the project's own word counts.
REGIONS = {"az": "azure:germanywestcentral", "gs": "gcp:europe-west3", "s3": "aws:eu-central-1"}


@pytest.fixture(params=sorted(ADAPTERS))
def crossing(request: pytest.FixtureRequest, tmp_path: Path) -> Crossing:
    made = make_crossing(tmp_path / "project")
    uri = ADAPTERS[request.param](tmp_path).uri
    made.edit("store: eu-store", f'store: "{uri}"')
    if (region := REGIONS.get(uri.partition(":")[0])) is not None:
        made.edit("aws-eusc:eusc-de-east-1", region)
    return made


def test_a_model_crosses_and_its_record_verifies(crossing: Crossing) -> None:
    assert crossing.push("--dry-run")["dry-run"] is True
    pushed = crossing.push()
    assert pushed["already"] is False
    assert crossing.push()["already"] is True
    pinned = f"churn/1.0.0@sha256:{pushed['manifest']}"
    pulled = crossing.pull(release=pinned)
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    assert (pulled["record"], pulled["manifest"]) == (pushed["record"], pushed["manifest"])
    assert crossing.pull(release=pinned)["already"] is True
    code, said = crossing.run("audit", "verify", "--zone", "eu", "--against", pulled["audit-head"])
    assert code == 0, said
    # The next release of the model stands on this one.
    (crossing.model / "config.json").write_bytes(b'{"layers": 3}')
    crossing.sign()
    second = crossing.push(release="churn/1.1.0")
    assert second["sequence"] > pushed["sequence"]
    newer = crossing.json("pull", pinned, "--zone", "eu", "-o", "again")["newer"]
    assert newer == ["churn/1.1.0"]
