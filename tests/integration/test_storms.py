"""Releases through a network that fails at random, each run from a seed of its own.

Between sovgate and a real object store stands a proxy that loses, cuts, flips, repeats, refuses and
redirects what it likes. Whatever it did: no wrong byte was accepted, no release is half there, no
plaintext is left outside, and one clean run more finishes.

`make test` takes a few seeds, `make test-all` more; STORMS=FIRST:AFTER names others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.errors import NotFound, SovgateError
from sovgate.formats import chunk
from sovgate.formats.transfer import record_name
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.move.push import push
from sovgate.records import Options
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.crossing import Crossing, make_crossing, tree
from tests.faultproxy import FaultProxy, between
from tests.storms import Storm, seeds

pytestmark = pytest.mark.component
MARK = b"only the model holds these words"


@pytest.fixture(scope="module")
def bucket() -> tuple[str, str]:
    url = components.found(servers.seaweedfs)
    return url, servers.bucket(url)


@pytest.fixture
def proxy(bucket: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # between two tries of a request
    monkeypatch.setenv("AWS_EUSC_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_EUSC_SECRET_ACCESS_KEY", "testtest")
    with between(bucket[0]) as made:
        yield made


def model(seed: int) -> dict[str, bytes]:
    files = {"config.json": b'{"layers": 2}', "a/w.bin": MARK * 300, "b/w.bin": MARK * 300 + b"b"}
    if seed % 8 == 0:  # of more than a chunk
        files["large.bin"] = (MARK + bytes(chunk.SIZE))[: chunk.SIZE] + MARK
    return files


def plaintext(crossing: Crossing) -> list[Path]:
    """Files that hold words of the model, but for the model."""
    files = [path for path in crossing.base.rglob("*") if path.is_file()]
    kept = [path for path in files if not path.is_relative_to(crossing.model)]
    return [path for path in kept if MARK in path.read_bytes()]


@pytest.mark.parametrize("seed", seeds(30))
def test_whatever_the_network_does_a_release_is_whole_or_not_there(
    seed: int, proxy: FaultProxy, bucket: tuple[str, str], tmp_path: Path
) -> None:
    crossing = make_crossing(tmp_path / "p", model(seed))
    there = f"s3://{bucket[1]}/storm-{seed}-{os.getpid()}"
    crossing.edit("store: eu-store", f'store: "{there}?endpoint={proxy.url}"')
    options = Options(project=crossing.base)
    quiet = open_store(f"{there}?endpoint={bucket[0]}", Path(), "aws-eusc:eusc-de-east-1")

    def send() -> None:
        push(crossing.model, release=crossing.release, zone="home", to="eu", options=options)

    def receive(name: str) -> None:
        out = crossing.base / name
        pull(crossing.release, zone="eu", output=out, options=options)
        assert tree(out) == tree(crossing.model)

    storm = proxy.chooses = Storm(seed)
    for _ in range(3):
        try:
            send()
        except SovgateError:
            assert not plaintext(crossing)
            if visible(quiet, crossing):
                storm.over = True
                receive("seen")
                storm.over = False
        else:
            break
    storm.over = True
    send()
    storm.over = False
    try:
        receive("out")
    except SovgateError:
        out = crossing.base / "out"
        # Whole, where only its receipt is still to be written; else nothing of it.
        assert not out.exists() or tree(out) == tree(crossing.model)
        assert not [path for path in plaintext(crossing) if not {"seen", "out"} & set(path.parts)]
    storm.over = True
    receive("out")


def visible(store: object, crossing: Crossing) -> bool:
    try:
        return bool(store.stat(record_name(crossing.release)))  # type: ignore[attr-defined]
    except NotFound:
        return False
