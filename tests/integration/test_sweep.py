"""`audit sweep`: what lies in a zone's store and no record names. It deletes nothing.

RULES 14: twice, a grace period apart; and what cannot be told is not listed as waste.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import Inconclusive
from sovgate.formats.bundle import Bundle
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.pipeline.deadline import Deadline
from sovgate.pipeline.look.named import Named, Stores
from sovgate.pipeline.look.sweep import deleting
from sovgate.pipeline.move.push import push
from sovgate.records import Options
from sovgate.stores._api import Stat
from sovgate.stores.registry import open_store
from tests import servers
from tests.conformance.stores import Fault, Faulty, put
from tests.crossing import Crossing, make_crossing, tree
from tests.faultproxy import What, between
from tests.sealing import sha256

LATER = b"sent, and named by nobody"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    """A release that was pushed, pulled, read in part, and denied to somebody else."""
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    crossing.push()
    crossing.json("pull", "churn/1.0.0", "--zone", "eu", "--file", "config.json", "-o", "one")
    crossing.pull()
    text = (crossing.base / "sovgate.yaml").read_text()
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    crossing.json("pull", "churn/1.0.0", "--zone", "eu", "-o", "denied", code=10)
    (crossing.base / "sovgate.yaml").write_text(text)
    return crossing


@pytest.fixture
def crossing(made: Crossing, tmp_path: Path) -> Crossing:
    shutil.copytree(made.base, tmp_path / "project")
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


def sweep(crossing: Crossing, *more: object, code: int = 0) -> dict[str, Any]:
    return crossing.json("audit", "sweep", "--zone", "eu", *more, code=code)


def unnamed(crossing: Crossing) -> list[str]:
    return [one["name"] for one in sweep(crossing)["unnamed"]]


def lay(crossing: Crossing, data: bytes = LATER, *, days: float = 0) -> str:
    """A chunk that no record names, as old as that."""
    name = chunk_name(sha256(data))
    put(crossing.store, name, data)
    age(crossing.base / "eu-store" / name, days)
    return name


def age(path: Path, days: float) -> None:
    when = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    os.utime(path, (when, when))


def older(path: Path, days: float) -> None:
    """A list as it was written so many days ago."""
    head, _, rest = path.read_text().partition("\n")
    *words, _, uri = head.split(" ")
    when = f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    path.write_text(f"{' '.join([*words, when, uri])}\n{rest}")


def test_all_that_a_release_needs_is_named(crossing: Crossing) -> None:
    found = sweep(crossing)
    assert found["unnamed"] == []
    there = crossing.objects("chunks/") + crossing.objects("objects/")
    assert found["named"] == len(there) > 5


def test_what_nobody_names_is_listed_with_its_size_and_nothing_is_deleted(
    crossing: Crossing,
) -> None:
    name = lay(crossing)
    other = object_name(sha256(b"an object"))
    put(crossing.store, other, b"an object")
    before = tree(crossing.base)
    found = sweep(crossing)["unnamed"]
    assert [(one["name"], one["size"]) for one in found] == [(name, len(LATER)), (other, 9)]
    assert all(one["written"].startswith("20") for one in found)
    assert tree(crossing.base) == before
    _, said = crossing.run("audit", "sweep", "--zone", "eu")
    assert (
        "2 objects (34 B) in the store of zone eu that no record names; nothing was deleted" in said
    )
    assert "a push that is under way or was broken off, and shards that are not joined yet" in said


class AtTheEnd(Deadline):
    """The time is over when all chunks are there, and no key table is."""

    def begin(self, step: str) -> None:
        if step == "write the record":
            raise self.error()


def test_what_a_push_left_that_was_broken_off_is_listed(crossing: Crossing) -> None:
    before = set(crossing.objects("chunks/"))
    (crossing.model / "model.bin").write_bytes(b"better")
    crossing.sign()
    release = crossing.release.parse("churn/1.1.0")
    options = Options(project=crossing.base, deadline=AtTheEnd("5m", "push"))
    with pytest.raises(Inconclusive):
        push(crossing.model, release=release, zone="home", to="eu", options=options)
    left = set(crossing.objects("chunks/")) - before
    assert left
    assert set(unnamed(crossing)) >= left
    crossing.push(release="churn/1.1.0")
    assert unnamed(crossing) == []  # it went on where it was broken off


def test_a_record_that_nobody_trusts_any_more_keeps_what_it_names(crossing: Crossing) -> None:
    crossing.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/eu.pem}")
    assert unnamed(crossing) == []


SPOILT: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "empty": lambda path: path.write_bytes(b""),
    "no statement": lambda path: path.write_bytes(b"{}"),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("folder", ["releases", "audit"])
def test_a_record_that_cannot_be_read_stops_the_list(
    crossing: Crossing, folder: str, how: str
) -> None:
    path = min((crossing.base / "eu-store" / folder).rglob("*.json"))
    path.chmod(0o644)
    SPOILT[how](path)
    found = sweep(crossing, "-o", "list.txt", code=14)
    assert found["error"]["reason"] == "unreadable-record"
    assert path.name in found["error"]["why"]
    assert not (crossing.base / "list.txt").exists()


@pytest.mark.parametrize("how", ["gone", "other bytes"])
def test_a_chunk_list_that_is_not_there_stops_the_list(crossing: Crossing, how: str) -> None:
    record = crossing.base / "eu-store/releases/churn/1.0.0.json"
    said = json.loads(Bundle.parse(record.read_bytes()).payload)["predicate"]
    path = crossing.base / "eu-store" / object_name(said["parts"][0]["list"]["sha256"])
    path.chmod(0o644)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(len(path.read_bytes())))
    assert sweep(crossing, code=14)["error"]["reason"] == "unreadable-record"


def test_rule_14_what_is_due_was_unnamed_twice_a_grace_apart_and_the_command_deletes_it(
    crossing: Crossing,
) -> None:
    old, young = lay(crossing, days=30), lay(crossing, b"younger", days=1)
    sweep(crossing, "-o", "first.txt")
    again = ("--first", "first.txt", "-o", "due.txt")
    assert sweep(crossing, *again, code=14)["error"]["reason"] == "too-early"
    assert not (crossing.base / "due.txt").exists()
    older(crossing.base / "first.txt", 8)
    late = lay(crossing, b"came after the first list", days=30)
    found = sweep(crossing, *again)
    assert [one["name"] for one in found["due"]] == [old]
    assert {one["name"] for one in found["unnamed"]} == {old, young, late}
    assert sweep(crossing, *again, code=2)["error"]["reason"] == "output-exists"
    command = deleting(crossing.store.uri, crossing.base / "due.txt")
    assert command is not None
    subprocess.run(["sh", "-c", command], check=True)
    assert not (crossing.base / "eu-store" / old).exists()
    assert unnamed(crossing) == sorted([young, late])
    shutil.rmtree(crossing.base / "pulled")
    crossing.pull()


def test_what_was_named_meanwhile_is_not_due(crossing: Crossing) -> None:
    """A push that was under way at the first look has ended."""
    sweep(crossing, "-o", "first.txt")
    path = crossing.base / "first.txt"
    older(path, 8)
    path.write_text(path.read_text() + f"{crossing.objects('chunks/')[0]}\t5\t\n")
    assert sweep(crossing, "--first", "first.txt")["due"] == []


@pytest.mark.parametrize(
    "head", ["", "names", "# sovgate sweep 2020-01-01T00:00:00Z file:///elsewhere"]
)
def test_a_list_of_another_store_is_refused(crossing: Crossing, head: str) -> None:
    (crossing.base / "first.txt").write_text(f"{head}\n")
    assert sweep(crossing, "--first", "first.txt", code=2)["error"]["reason"] == "bad-list"


def test_a_name_that_is_no_digest_is_in_no_list(crossing: Crossing) -> None:
    put(crossing.store, "chunks/sha256/notes.txt", b"somebody's own")
    assert unnamed(crossing) == []


def test_a_write_that_was_broken_off_is_told(crossing: Crossing) -> None:
    (crossing.base / "eu-store/.incoming/0123").write_bytes(b"half")
    found = sweep(crossing)["unfinished"]
    assert [(one["name"], one["size"]) for one in found] == [(".incoming/0123", 4)]
    lay(crossing)
    assert sweep(crossing)["unfinished"] == []


def test_what_the_zone_runs_is_said_for_each_store() -> None:
    there = Path("/lists/due list.txt")
    names = "grep -v '^#' '/lists/due list.txt' | cut -f 1"
    assert deleting("file:///mnt/it's eu", there) == (
        f"{names} | (cd '/mnt/it'\"'\"'s eu' && xargs rm -f --)"
    )
    assert deleting("s3://churn-eu", there) == (
        f"{names} | xargs -I {{}} aws s3api delete-object --bucket churn-eu --key '{{}}'"
    )
    assert deleting("s3://churn-eu/a/b?x=1&endpoint=https://s3.example:9000", there) == (
        f"{names} | xargs -I {{}} aws s3api delete-object --bucket churn-eu "
        "--endpoint-url https://s3.example:9000 --key 'a/b/{}'"
    )
    assert deleting("gs://churn-eu", there) is None


def test_a_registry_lists_nothing_that_nobody_names(crossing: Crossing) -> None:
    crossing.edit("store: eu-store", "store: oci://registry.example/churn-eu")
    assert sweep(crossing, code=2)["error"]["reason"] == "nothing-to-list"


class Kept(Faulty):
    """A store that keeps the SHA-256 of each object, of one chunk another."""

    def stat(self, name: str) -> Stat | None:
        found = self.inner.stat(name)
        return found and Stat(size=found.size, sha256=name.rpartition("/")[2])


@pytest.mark.parametrize(
    ("digest", "wrong"), [("a" * 64, None), ("b" * 64, f"chunks/sha256/{'a' * 64} has other bytes")]
)
def test_of_a_store_that_keeps_checksums_a_damaged_chunk_is_named(
    tmp_path: Path, digest: str, wrong: str | None
) -> None:
    store = open_store("store", tmp_path)
    name = "chunks/sha256/" + "a" * 64
    put(store, name, b"bytes")
    for there, said in ((store, None), (Kept(store, Fault.LOST_REPLY), wrong)):
        looked = Stores({"eu": there})
        looked.expect("eu", [Named(name=name, size=5, kept=digest)], "releases/churn/1.0.0.json")
        told = f"{said} in the store of zone eu; releases/churn/1.0.0.json names it"
        assert list(looked.missing) == ([] if said is None else [told])


#: `aws s3api`, of which the two commands that sweep names are the SDK's own, and jmespath's.
AWS = """#!{python}
import sys
import boto3, jmespath
_, kind, operation, *words = sys.argv
assert kind == "s3api"
given = dict(zip(words[::2], words[1::2], strict=True))
query, text = given.pop("--query", None), given.pop("--output", "text")
sdk = boto3.client("s3", endpoint_url=given.pop("--endpoint-url"), region_name="eu-central-1")
names = {{"--bucket": "Bucket", "--key": "Key", "--prefix": "Prefix", "--version-id": "VersionId"}}
answer = getattr(sdk, operation.replace("-", "_"))(**{{names[n]: v for n, v in given.items()}})
if query:
    for row in jmespath.search(query, answer):
        print("\\t".join(row))
"""


def test_in_a_bucket_that_keeps_versions_what_was_deleted_is_listed_and_goes_for_good(
    seaweedfs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = seaweedfs
    servers.bucket(url)  # waits until there is room for one
    bucket, sdk = f"t-{secrets.token_hex(8)}", servers.sdk("s3", url)
    sdk.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    sdk.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    crossing = make_crossing(tmp_path / "project")
    crossing.edit("store: eu-store", f'store: "s3://{bucket}/p?endpoint={url}"')
    crossing.edit("aws-eusc:eusc-de-east-1", "aws:eu-central-1")
    pushed = crossing.push()
    store = open_store(f"s3://{bucket}/p?endpoint={url}", tmp_path, "aws:eu-central-1")
    left, gone = chunk_name(sha256(b"left")), chunk_name(sha256(b"was deleted"))
    put(store, left, b"left")
    for _ in range(2):  # sent, deleted, and sent again
        put(store, gone, b"was deleted")
        sdk.delete_object(Bucket=bucket, Key=f"p/{gone}")
    assert store.stat(gone) is None

    found = sweep(crossing, "-o", "first.txt")
    assert found["versions"] is True
    assert {one["name"]: one["size"] for one in found["unnamed"]} == {left: 4, gone: 22}
    _, said = crossing.run("audit", "sweep", "--zone", "eu")
    assert "the bucket keeps versions: a plain delete leaves the bytes there" in said

    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(AWS.format(python=sys.executable))
    aws.chmod(0o755)
    monkeypatch.setenv("PATH", str(aws.parent), prepend=os.pathsep)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testtest")
    plain = deleting(store.uri, crossing.base / "first.txt")
    every = deleting(store.uri, crossing.base / "first.txt", versions=True)
    assert plain is not None
    assert every is not None
    subprocess.run(["sh", "-c", plain], check=True)
    assert {one["name"] for one in sweep(crossing)["unnamed"]} == {left, gone}, "still there"
    subprocess.run(["sh", "-c", every], check=True)
    assert unnamed(crossing) == []
    versions = sdk.list_object_versions(Bucket=bucket, Prefix="p/chunks/")
    keys = {one["Key"] for one in (*versions["Versions"], *versions.get("DeleteMarkers", ()))}
    assert keys == {f"p/{name}" for name in store.list("chunks/")}
    crossing.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")


def test_whether_a_bucket_keeps_versions_may_not_be_told(tmp_path: Path, moto: str) -> None:
    bucket = servers.bucket(moto)
    with between(moto) as proxy:
        proxy.fault(What.DENY, "GET", "?versioning", 100)
        crossing = make_crossing(tmp_path / "project")
        uri = f"s3://{bucket}/p?endpoint={proxy.url}"
        crossing.edit("store: eu-store", f'store: "{uri}"')
        crossing.edit("aws-eusc:eusc-de-east-1", "aws:eu-central-1")
        assert sweep(crossing)["versions"] is None
        _, said = crossing.run("audit", "sweep", "--zone", "eu")
    assert "was not told (s3:GetBucketVersioning)" in said
    told = deleting(uri, tmp_path / "due.txt", versions=None)
    assert told is not None
    assert "list-object-versions" in told


def test_a_push_lists_what_no_record_names_if_it_is_asked_and_deletes_nothing(
    crossing: Crossing,
) -> None:
    name = lay(crossing)
    done = crossing.push("--sweep")
    assert done["unnamed"] == [
        {"zone": "eu", "objects": [{"name": name, "bytes": len(LATER)}], "error": None}
    ]
    assert name in crossing.objects("chunks/")
    assert "unnamed" not in crossing.push()
    words = ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    code, said = crossing.run(*words, "--sweep")
    assert code == 0 and name in said
    assert "sovgate audit sweep --zone eu -o FILE" in said


def test_a_push_that_is_done_stays_done_where_nobody_can_tell_what_records_name(
    crossing: Crossing,
) -> None:
    (crossing.base / "eu-store" / "releases" / "churn" / "9.9.9.json").write_bytes(b"{}")
    (listed,) = crossing.push("--sweep")["unnamed"]
    assert listed["objects"] is None and "cannot be told" in listed["error"]
    code, said = crossing.run(
        *("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        *("--shard", "1/2", "--parts", "parts", "--sweep"),
    )
    assert code == 2 and "sweep-of-shard" not in said and "--join" in said
