"""A model across a border by the commands, through every kind of store there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.formats import chunk
from sovgate.pipeline.look.keys import generate
from tests.conformance.stores import ADAPTERS
from tests.crossing import Crossing, make_crossing, tree

pytestmark = pytest.mark.component
#: Where the stores of a scheme lie, or say that they do; of others the project's own word counts.
REGIONS = {"az": "azure:germanywestcentral", "gs": "gcp:europe-west3", "s3": "aws:eu-central-1"}


@pytest.fixture(params=sorted(ADAPTERS))
def crossing(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Crossing:
    """Chunks are small, so that the model has some beside its pack; and they are used again."""
    monkeypatch.setattr(chunk, "SIZE", 4096)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = make_crossing(tmp_path / "project")
    generate("encrypt", out=made.base / "keys/own.pem", algorithm="ec-p256")
    made.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/home.pem, encrypt: keys/own.pem}")
    uri = ADAPTERS[request.param](tmp_path).uri
    made.edit("store: eu-store", f'store: {{uri: "{uri}", reuse: true}}')
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
    # It sent what changed alone, and is whole; sub/twin.json has what config.json had.
    assert [(one["release"], one["chunks"]) for one in second["reused"]] == [("churn/1.0.0", 4)]
    pinned = f"churn/1.1.0@sha256:{second['manifest']}"
    crossing.json("pull", pinned, "--zone", "eu", "-o", "newer")
    assert tree(crossing.base / "newer") == tree(crossing.model)


def test_two_machines_send_one_release(crossing: Crossing) -> None:
    """What each sent is asked for in the store before it is joined."""
    crossing.edit(", reuse: true", "")
    shards = ("--parts", "parts")
    for shard in ("1/2", "2/2"):
        assert crossing.push("--shard", shard, *shards)["already"] is False
        assert crossing.push("--shard", shard, *shards)["already"] is True
    pushed = crossing.push("--join", "2", *shards)
    assert crossing.push("--join", "2", *shards)["already"] is True
    crossing.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
    assert tree(crossing.base / "pulled") == tree(crossing.model)
