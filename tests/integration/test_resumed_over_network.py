"""A push to a real object store that ended early: what crosses the wire again is counted, and is
what was missing.

A proxy between the two counts the bodies that reach the service. It also ends the first run: by a
kill, a network that is gone, credentials that have expired; or the disk does, where keys are kept.
"""

from __future__ import annotations

import errno
import os
import random
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sovgate.errors import DiskError, StoreError
from sovgate.formats import chunk, plan
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.move.push import push
from sovgate.pipeline.move.results import Pushed
from sovgate.records import Options
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.crossing import Crossing, make_crossing, tree
from tests.effort import some
from tests.faultproxy import FaultProxy, What, between
from tests.kill import Killer

pytestmark = pytest.mark.component
SIZE = 4096
FILES = {f"w{at}.bin": random.Random(at).randbytes(3 * SIZE + at) for at in range(3)} | {
    "config.json": b"{}",
    "twin.json": b"{}",
    "empty": b"",
}
#: Four of each file of weights, but for w0, which is three; and a pack.
CHUNKS = 12
TOTAL = sum(len(FILES[f"w{at}.bin"]) for at in range(3)) + 2 + CHUNKS * chunk.OVERHEAD
#: Two units a part: the last one is open to the end.
PART = 5 * SIZE
PUSH = ("push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
REGION = "aws:eu-central-1"


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    imports = ["sovgate.cli.move.push", "sovgate.pipeline.move.push", "sovgate.stores.s3"]
    with Killer(imports=[*imports, "sovgate.stages.encrypt.kept", "boto3"]) as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_crossing(tmp_path_factory.mktemp("made") / "project", FILES).base


class Chunks:
    """Counts the PUTs of chunks, and from one of them on does as it is told."""

    def __init__(self) -> None:
        self.first, self.act = 10_000, lambda: None
        self._count, self._lock = 0, threading.Lock()

    def at(self, number: int, act: Callable[[], What | None]) -> None:
        """From the PUT of that number on, from 1."""
        self.first, self.act, self._count = number, act, 0

    def __call__(self, method: str, path: str) -> What | None:
        if method != "PUT" or "/chunks/" not in path:
            return None
        with self._lock:
            self._count += 1
            return self.act() if self._count >= self.first else None


@dataclass(frozen=True, kw_only=True)
class Way:
    """A project, its store, and the proxy between them."""

    crossing: Crossing
    proxy: FaultProxy
    chunks: Chunks
    quiet: Store
    state: Path

    def there(self) -> dict[str, int]:
        """The chunks that are in the store, and their sizes."""
        self.proxy.rest()
        names = list(self.quiet.list("chunks/"))
        return {name: _size(self.quiet, name) for name in names}

    def push(self) -> Pushed:
        crossing, options = self.crossing, Options(project=self.crossing.base, state=self.state)
        return push(crossing.model, release=crossing.release, zone="home", to="eu", options=options)

    def goes_on(self, there: dict[str, int], kept: int | None = None) -> None:
        """A clean run sends each chunk that is missing once, and no other; the model then opens.

        `kept`: how many of those that are there can be gone on with, where not all can.
        """
        self.chunks.at(10_000, lambda: None)
        self.proxy.heard.clear()
        done = self.push()
        sent = self.proxy.sent("/chunks/")
        kept = len(there) if kept is None else kept
        assert (done.written.resumed, len(sent)) == (kept, CHUNKS - kept)
        now = self.there()
        new = [size for name, size in now.items() if name not in there]
        assert sorted(sent) == sorted(new)
        if kept == len(there):
            assert sum(sent) + sum(there.values()) == TOTAL == sum(now.values())
        assert list(self.state.iterdir()) == []
        out = self.crossing.base / "out"
        pull(self.crossing.release, zone="eu", output=out, options=Options(project=out.parent))
        assert tree(out) == FILES


def _size(store: Store, name: str) -> int:
    stat = store.stat(name)
    assert stat is not None
    return stat.size


@pytest.fixture(params=[PART, 10**9], ids=["parts", "one part"])
def way(
    request: pytest.FixtureRequest, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Way]:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setattr(plan, "PART_SIZE", request.param)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # between two tries of a request
    url = components.found(servers.seaweedfs)
    base = shutil.copytree(made, tmp_path / "project")
    crossing = Crossing(base=base, model=base / "model")
    name = f"s3://{servers.bucket(url)}/{secrets.token_hex(8)}"
    with between(url) as proxy:
        crossing.edit("store: eu-store", f'store: "{name}?endpoint={proxy.url}"')
        crossing.edit("aws-eusc:eusc-de-east-1", REGION)
        chunks = Chunks()
        proxy.chooses = chunks
        yield Way(
            crossing=crossing,
            proxy=proxy,
            chunks=chunks,
            quiet=open_store(f"{name}?endpoint={url}", base, REGION),
            state=tmp_path / "state",
        )


#: At which chunk, and what becomes of that request; None: the service does it.
KILLS = [
    (number, heard)
    for number in range(1, CHUNKS + 1)
    for heard in (What.LOSE_REQUEST, What.CUT_REQUEST, None)
]


@pytest.mark.parametrize(("number", "heard"), some(KILLS, by="killed"))
def test_a_push_that_is_killed_at_any_chunk(
    way: Way, killer: Killer, number: int, heard: What | None
) -> None:
    known, process = threading.Event(), 0

    def kill() -> What | None:
        known.wait()
        os.kill(process, signal.SIGKILL)
        way.chunks.at(10_000, lambda: None)
        return heard

    way.chunks.at(number, kill)
    process = killer.start(
        (*PUSH, "--state", str(way.state)),
        cwd=way.crossing.base,
        env=dict(os.environ),
        patch={
            "sovgate.formats.chunk.SIZE": SIZE,
            "sovgate.formats.plan.PART_SIZE": plan.PART_SIZE,
        },
    )
    known.set()
    assert killer.finish().killed
    way.proxy.forsaken()
    there = way.there()
    assert len(there) >= number - 1 - 8, "eight are under way at once"
    way.goes_on(there)


@pytest.mark.parametrize("way", [PART], indirect=True, ids=["parts"])
@pytest.mark.parametrize("number", some(range(1, CHUNKS + 1), by="gone at"))
@pytest.mark.parametrize("what", [What.LOSE_REQUEST, What.EXPIRED], ids=["network", "credentials"])
def test_a_push_whose_network_or_credentials_end(way: Way, number: int, what: What) -> None:
    way.chunks.at(number, lambda: what)
    with pytest.raises(StoreError) as told:
        way.push()
    there = way.there()
    assert len(there) == number - 1
    if there:
        (said,) = told.value.details
        assert f"{len(there)} of {CHUNKS} chunks are in the store, and open for nobody" in said
    way.goes_on(there)


@pytest.mark.parametrize("way", [PART], indirect=True, ids=["parts"])
def test_a_chunk_whose_answer_was_lost_is_not_sent_again(way: Way) -> None:
    """The service has it, and then the network is gone: nobody here has heard of it."""
    said = iter([What.LOSE_REPLY])
    way.chunks.at(3, lambda: next(said, What.LOSE_REQUEST))
    with pytest.raises(StoreError):
        way.push()
    there = way.there()
    assert len(there) == 3
    way.goes_on(there)


# -- disks that are full


class Full:
    """A disk that takes no more from the n-th write on, not even over what is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left, self.real = number - 1, os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, descriptor: int, data: memoryview, offset: int) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real(descriptor, data, offset)


@pytest.mark.parametrize("way", [10**9], indirect=True, ids=["one part"])
@pytest.mark.parametrize("number", [1, 4, 9])
def test_the_disk_of_the_keys_fills_up(
    way: Way, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept until then is gone on with; the rest is encrypted anew."""
    fault = way.proxy.fault(What.LOSE_REQUEST, "PUT", "/objects/", 10_000)
    with monkeypatch.context() as patch:
        Full(patch, number)
        with pytest.raises(StoreError) as told:
            way.push()
    way.proxy.faults.remove(fault)
    there = way.there()
    assert len(there) == CHUNKS
    assert "keys could not be kept" in told.value.details[0] or number == 1
    way.goes_on(there, kept=number - 1)


@pytest.mark.parametrize("way", [PART], indirect=True, ids=["parts"])
@pytest.mark.parametrize("number", [1, 4, 9])
def test_it_stops_no_push_and_no_end_of_a_part(
    way: Way, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full = Full(patch, number)
        way.push()
    assert full.left < 0
    assert list(way.state.iterdir()) == []
    assert way.push().written.already


@pytest.mark.parametrize("way", [PART], indirect=True, ids=["parts"])
def test_a_disk_that_is_full_from_the_beginning_is_said_before_a_byte_leaves(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sovgate import files
    from sovgate.stages.encrypt import kept

    def full(*_words: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert kept.replace_at is files.replace_at
    with monkeypatch.context() as patch:
        patch.setattr(kept, "replace_at", full)
        with pytest.raises(DiskError):
            way.push()
    assert way.there() == {}
    way.goes_on({})


@pytest.mark.parametrize("way", [PART], indirect=True, ids=["parts"])
@pytest.mark.parametrize("number", [1, 3, 5])
def test_the_disk_of_the_pulled_model_fills_up(
    way: Way, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a file: nothing of it stays, and the next run has all of it."""
    way.push()
    base = way.crossing.base
    before = {path.name for path in base.iterdir()}
    options = Options(project=base)
    with monkeypatch.context() as patch:
        full = Full(patch, number)
        with pytest.raises(DiskError):
            pull(way.crossing.release, zone="eu", output=base / "out", options=options)
    assert full.left < 0
    assert {path.name for path in base.iterdir()} == before
    pull(way.crossing.release, zone="eu", output=base / "out", options=options)
    assert tree(base / "out") == FILES
