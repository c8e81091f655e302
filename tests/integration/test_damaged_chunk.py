"""RULES 14: a chunk of the right size and other bytes, in a folder, which keeps no SHA-256. No path
on which it matters takes it for there."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from sovgate.formats import ociimage
from tests.crossing import Crossing, make_crossing
from tests.ociregistry import Registry, serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that was pushed, and its copy by hand."""
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    crossing.sbom()
    words = ("--to", "eu", "--release", "churn/2.0.0", "-o", "copies")
    crossing.json("encrypt", crossing.model, "--zone", "home", *words)
    crossing.push()
    return crossing.base


@pytest.fixture(params=["chunks", "objects"])
def crossing(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> Crossing:
    """One chunk is damaged, or one key table."""
    base = shutil.copytree(made, tmp_path / "project", symlinks=True)
    work = Crossing(base=base, model=base / "model")
    store = base / "eu-store"
    if request.param == "chunks":
        spoil(next((store / "chunks").rglob("*/*")))
    else:
        record = json.loads((store / "releases" / "churn" / "1.0.0.json").read_bytes())
        said = json.loads(base64.b64decode(record["dsseEnvelope"]["payload"]))
        (part,) = said["predicate"]["parts"]
        spoil(store / "objects" / "sha256" / part["keytable"]["sha256"])
    return work


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert path.stat().st_size == len(data)


def test_a_push_of_what_is_there_reads_it_again(crossing: Crossing) -> None:
    assert crossing.push(code=21)["error"]["reason"] == "damaged-object"


def test_a_pull_gives_out_nothing_of_it(crossing: Crossing) -> None:
    assert crossing.pull(code=11)["error"]["reason"] in ("damaged", "digest-mismatch")
    assert not (crossing.base / "pulled").exists()
    said = crossing.json(
        *("pull", "churn/1.0.0", "--zone", "eu", "--file", "model.bin", "-o", "one"), code=11
    )
    assert said["error"]["reason"] in ("damaged", "digest-mismatch")
    assert not (crossing.base / "one").exists()


def test_an_audit_says_that_size_shows_nothing_and_finds_it_by_reading(crossing: Crossing) -> None:
    code, said = crossing.run("audit", "verify")
    assert code == 0, said
    assert "2 objects of ciphertext were found by size alone, which shows no damage" in said
    assert crossing.json("audit", "verify")["unread"] == 2
    error = crossing.json("audit", "verify", "--read-chunks", code=11)["error"]
    assert error["reason"] == "audit-missing"
    told = f"{error['why']} {error.get('details')}"
    assert (
        "has other bytes in the store of zone eu; releases/churn/1.0.0.json of zone eu names it"
        in told
    )


def test_what_is_whole_is_green_when_it_is_read(made: Path, tmp_path: Path) -> None:
    base = shutil.copytree(made, tmp_path / "project", symlinks=True)
    work = Crossing(base=base, model=base / "model")
    found = work.json("audit", "verify", "--read-chunks")
    assert found["unread"] == 0


def test_a_copy_is_not_carried_over_it(made: Path, tmp_path: Path) -> None:
    """A push of an encrypted copy passes over a chunk that is there, if it is that chunk."""
    base = shutil.copytree(made, tmp_path / "project", symlinks=True)
    work = Crossing(base=base, model=base / "model")
    copy = base / "copies"
    chunk = next(path for path in copy.rglob("*") if path.parent.parent.name == "chunks")
    there = base / "eu-store" / "chunks" / "sha256" / chunk.name
    there.write_bytes(chunk.read_bytes())
    spoil(there)
    words = ("push", copy, "--release", "churn/2.0.0", "--zone", "home", "--to", "eu")
    said = work.json(*words, code=21)
    assert said["error"]["reason"] == "damaged-object"
    there.unlink()
    work.json(*words)


def test_an_audit_finds_it_in_a_registry_too(tmp_path: Path) -> None:
    """It names a blob by its digest, and may hold other bytes all the same."""
    with serving(Registry()) as registry:
        work = make_crossing(tmp_path / "project")
        work.edit("store: eu-store", f'store: "oci://{registry.host}/churn"')
        work.push()
        assert work.json("audit", "verify", "--read-chunks")["unread"] == 0
        repo = registry.repos["churn"]
        chunk = next(
            layer["digest"]
            for _, data in repo.manifests.values()
            for layer in json.loads(data).get("layers", ())
            if layer["mediaType"] == ociimage.CHUNK_LAYER
        )
        blob = repo.blobs[chunk]
        repo.blobs[chunk] = bytes([blob[0] ^ 1]) + blob[1:]
        assert work.json("audit", "verify")["unread"] == 2
        error = work.json("audit", "verify", "--read-chunks", code=11)["error"]
    assert error["reason"] == "audit-missing"
    assert f"{chunk.removeprefix('sha256:')} has other bytes" in error["why"]
