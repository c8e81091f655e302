"""Kill a shard and the joining of parts before each file-system step, and fill the disk.

Nothing half is joined, no key table is at the destination before the record is about to be, and a
further run finishes.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sovgate.pipeline.move.shards.shard import push_shard
from sovgate.pipeline.move.shards.share import Shard
from sovgate.records import Options, Release
from tests.crossing import Crossing, make_crossing, tree
from tests.effort import some
from tests.kill import Killer, every_step

WORDS = ["push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"]
SHARD = [*WORDS, "--shard", "1/2", "--parts", "parts", "--state", "../state"]
JOIN = [*WORDS, "--join", "2", "--parts", "parts", "--state", "../state"]
SECRET = b"weights that nobody outside may see " * 300
RELEASE = Release(model="churn", version="1.0.0")
#: More steps than a run has; of those that are beyond its end nothing is asked.
STEPS = 400


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    shards = ["sovgate.pipeline.move.shards.join", "sovgate.pipeline.move.shards.shard"]
    with Killer(imports=[*shards, "sovgate.stages.encrypt", "sovgate.cli._emit"]) as running:
        yield running


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed model, nothing of it sent. It is one pack, so that the second shard is empty."""
    files = {"model.bin": SECRET, "sub/config.json": b"{}", "empty": b""}
    return make_crossing(tmp_path_factory.mktemp("ready") / "project", files).base


@pytest.fixture(scope="module")
def sent(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both shards sent, and not joined."""
    base = shutil.copytree(ready, tmp_path_factory.mktemp("sent") / "project")
    for number in (1, 2):
        send(base, number)
    return base


def send(base: Path, number: int) -> None:
    push_shard(
        Shard(model=base / "model", number=number, of=2, folder=base / "parts"),
        release=RELEASE,
        zone="home",
        to="eu",
        options=Options(project=base, state=base.parent / "state"),
    )


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Callable[[Path], Callable[[], Path]]]:
    """Makes work folders as copies of one; the one before is removed, with what was kept for it."""
    numbers = itertools.count()
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))

    def copies_of(base: Path) -> Callable[[], Path]:
        def prepare() -> Path:
            number = next(numbers)
            if number:
                shutil.rmtree(where / str(number - 1))
            return shutil.copytree(base, where / str(number) / "project")

        return prepare

    yield copies_of
    shutil.rmtree(where)


def at(work: Path) -> Crossing:
    return Crossing(base=work, model=work / "model")


def keys_away(work: Path) -> bool:
    """Whether no key table is at the destination. All else there opens for nobody without one."""
    tables = {path.read_bytes() for path in (work / "parts").glob("table-*")}
    return not tables & set(tree(work / "eu-store").values())


def nothing_told(work: Path) -> None:
    for where in ("eu-store", "parts", ".sovgate", "../state"):
        if (work / where).exists():
            assert not [n for n, data in tree(work / where).items() if SECRET[:64] in data]


def finishes(work: Path) -> None:
    """Both shards run again, whichever were there, and one release comes of it."""
    for number in (1, 2):
        send(work, number)
    code, said = at(work).run(*JOIN)
    assert code == 0, said
    assert not list((work / "../state").iterdir()) if (work / "../state").exists() else True
    assert len(at(work).objects("releases/")) == 1
    code, said = at(work).run("audit", "verify")
    assert code in (0, 14), said
    nothing_told(work)


def opens(work: Path) -> None:
    at(work).pull()
    assert tree(work / "pulled") == tree(work / "model")


def shard_was_killed(work: Path) -> None:
    assert at(work).objects("releases/") == at(work).objects("objects/") == []
    nothing_told(work)
    if not (work / "parts/part-1.json").exists():
        code, said = at(work).run(*JOIN)
        assert code in (2, 11), said  # no folder yet, or no part in it
    finishes(work)
    assert len(at(work).objects("chunks/")) == 1, "a chunk whose key is kept is not sent anew"


def joining_was_killed(work: Path) -> None:
    joined = bool(at(work).objects("releases/"))
    if not joined:
        code, said = at(work).run("pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled")
        assert code == 21, said
        assert not (work / "pulled").exists()
    nothing_told(work)
    code, said = at(work).run(*JOIN)
    assert code == 0, said
    assert ("already" in said) is joined
    opens(work)


@pytest.mark.parametrize("step", some(range(1, 80, 3), by="shard"))
def test_a_shard_that_is_killed(
    killer: Killer, ready: Path, copies: Callable[[Path], Callable[[], Path]], step: int
) -> None:
    work = copies(ready)()
    if killer.run(SHARD, cwd=work, before=step).killed:
        shard_was_killed(work)


@pytest.mark.parametrize("step", some(range(1, 120, 5), by="joins"))
def test_joining_that_is_killed(
    killer: Killer, sent: Path, copies: Callable[[Path], Callable[[], Path]], step: int
) -> None:
    work = copies(sent)()
    if killer.run(JOIN, cwd=work, before=step).killed:
        joining_was_killed(work)


@pytest.mark.thorough
def test_a_shard_that_is_killed_at_any_step(
    killer: Killer, ready: Path, copies: Callable[[Path], Callable[[], Path]]
) -> None:
    parts: list[bool] = []
    for work, _, _ in every_step(killer, copies(ready), lambda _w: SHARD):
        parts.append((work / "parts/part-1.json").exists())
        shard_was_killed(work)
    assert set(parts) == {False, True}
    assert len(parts) > 30


@pytest.mark.thorough
def test_joining_that_is_killed_at_any_step(
    killer: Killer, sent: Path, copies: Callable[[Path], Callable[[], Path]]
) -> None:
    away: list[bool] = []
    for work, _, _ in every_step(killer, copies(sent), lambda _w: JOIN):
        away.append(keys_away(work))
        joining_was_killed(work)
    # Documents are written several at once, so a step is not the same one in each run.
    assert away[0], "key tables come late"
    assert not away[-1]


@pytest.mark.thorough
@pytest.mark.parametrize("words", [SHARD, JOIN], ids=["shard", "join"])
def test_a_disk_that_fills_up_at_any_step(
    killer: Killer,
    ready: Path,
    sent: Path,
    copies: Callable[[Path], Callable[[], Path]],
    words: list[str],
) -> None:
    prepare = copies(ready if words is SHARD else sent)
    for step in range(1, STEPS, 3):
        work = prepare()
        done = killer.run(words, cwd=work, before=step, fault=errno.ENOSPC)
        if done.steps < step:
            return
        assert done.code in (0, 24), done
        assert "Traceback" not in done.err
        nothing_told(work)
        finishes(work)
    raise AssertionError("still not over")
