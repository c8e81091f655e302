"""Kill push and pull before each file-system step, and fill the disk at each: nothing half is seen.

The old state or the new one, no plaintext under a final name, and a second run finishes.
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

from sovgate.errors import SovgateError
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.move.push import push
from sovgate.records import Options, Release
from sovgate.stages.transfer import chunks_of, fetch_documents, read_record
from sovgate.stores.registry import open_store
from tests.crossing import Crossing, make_crossing, tree
from tests.kill import Done, Killer, every_step

PUSH = ["push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"]
PULL = ["pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled"]
RELEASE = Release(model="churn", version="1.0.0")
SECRET = b"weights that nobody outside may see " * 300


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    imports = [
        "sovgate.pipeline.move.push",
        "sovgate.pipeline.move.pull",
        "sovgate.pipeline.decide.check",
    ]
    with Killer(imports=[*imports, "sovgate.stages.encrypt", "sovgate.cli._emit"]) as running:
        yield running


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed model, not pushed yet."""
    files = {"model.bin": SECRET, "sub/config.json": b"{}", "empty": b""}
    return make_crossing(tmp_path_factory.mktemp("ready") / "project", files).base


@pytest.fixture(scope="module")
def pushed(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pushed") / "project"
    shutil.copytree(ready, base)
    push(base / "model", release=RELEASE, zone="home", to="eu", options=Options(project=base))
    return base


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[Path], Callable[[], Path]]]:
    """Makes work folders as copies of one; the one before is removed.

    In memory where that is to be had: what a kill leaves is the same, and nobody waits for a disk.
    """
    numbers = itertools.count()
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))

    def copies_of(base: Path) -> Callable[[], Path]:
        def prepare() -> Path:
            number = next(numbers)
            if number:
                shutil.rmtree(where / str(number - 1))
            return shutil.copytree(base, where / str(number))

        return prepare

    yield copies_of
    shutil.rmtree(where)


def at(work: Path) -> Crossing:
    return Crossing(base=work, model=work / "model")


def no_plaintext(work: Path) -> None:
    for where in ("eu-store", ".sovgate"):
        folder = work / where
        if folder.exists():
            assert not [n for n, data in tree(folder).items() if SECRET[:64] in data]


def whole_or_absent(work: Path) -> bool:
    """A release is in the store with all that it names, or not at all."""
    crossing = at(work)
    trusted = crossing_trust(work)
    found = read_record(crossing.store, RELEASE, trusted)
    if found is None:
        return False
    fetch_documents(crossing.store, found.transfer)
    for part in found.transfer.parts:
        assert crossing.store.stat(object_name(part.keytable.sha256)) is not None
    for one in chunks_of(crossing.store, found.transfer):
        stat = crossing.store.stat(chunk_name(one.sha256))
        assert stat is not None
        assert stat.size == one.size
    return True


def crossing_trust(work: Path):  # type: ignore[no-untyped-def]
    from sovgate.pipeline.project import open_project

    return open_project(work).trusted()


def log_is_sound(work: Path) -> None:
    """What is there verifies; that a killed run has an open end is said (14), never 11."""
    code, said = at(work).run("audit", "verify")
    assert code in (0, 14), said


def finishes_push(work: Path) -> None:
    push(work / "model", release=RELEASE, zone="home", to="eu", options=Options(project=work))
    assert whole_or_absent(work)
    assert not (work / ".sovgate/outbox").exists()
    assert len(at(work).objects("sequences/")) == 1
    assert len(at(work).objects("chunks/")) == 1, "the chunk of the killed run, or the only one"
    log_is_sound(work)
    no_plaintext(work)


def finishes_pull(work: Path) -> None:
    pull(RELEASE, zone="eu", output=work / "pulled", options=Options(project=work))
    assert tree(work / "pulled") == tree(work / "model")
    assert len(at(work).objects("receipts/")) == 1
    assert not [p for p in work.iterdir() if p.name.endswith(".sovgate-staging")]
    log_is_sound(work)
    no_plaintext(work)


def pulled_or_not(work: Path) -> None:
    """No plaintext under a final name but the whole model; staging is private."""
    if (work / "pulled").exists():
        assert tree(work / "pulled") == tree(work / "model")
    for item in work.iterdir():
        if item.name.endswith(".sovgate-staging"):
            assert item.stat().st_mode & 0o777 == 0o700


def clear(done: Done) -> None:
    """One message with a fix, and no traceback."""
    assert done.code == 24, done
    assert "Traceback" not in done.err, done.err
    assert "fix" in done.err, done.err


@pytest.mark.thorough
def test_a_push_killed_at_any_step(
    killer: Killer, ready: Path, fresh: Callable[[Path], Callable[[], Path]]
) -> None:
    seen = set()
    steps = 0
    for work, step, _ in every_step(killer, fresh(ready), lambda _w: PUSH):
        seen.add(whole_or_absent(work))
        no_plaintext(work)
        finishes_push(work)
        if step % 8 == 0:
            finishes_pull(work)
        steps = step
    assert seen == {False, True}
    assert steps > 50


@pytest.mark.thorough
def test_rule_11_a_pull_killed_at_any_step_shows_no_plaintext(
    killer: Killer, pushed: Path, fresh: Callable[[Path], Callable[[], Path]]
) -> None:
    seen = set()
    for work, _, _ in every_step(killer, fresh(pushed), lambda _w: PULL):
        pulled_or_not(work)
        seen.add((work / "pulled").exists())
        finishes_pull(work)
    assert seen == {False, True}


@pytest.mark.thorough
def test_a_disk_that_fills_up_at_any_step_of_a_push(
    killer: Killer, ready: Path, fresh: Callable[[Path], Callable[[], Path]]
) -> None:
    prepare = fresh(ready)
    for step in range(1, 1000, 4):
        work = prepare()
        done = killer.run(PUSH, cwd=work, before=step, fault=errno.ENOSPC)
        if done.steps < step:
            break
        if done.code != 0:
            clear(done)
        whole_or_absent(work)
        no_plaintext(work)
        if step % 3 == 0:
            finishes_push(work)


@pytest.mark.thorough
def test_a_disk_that_fills_up_at_any_step_of_a_pull(
    killer: Killer, pushed: Path, fresh: Callable[[Path], Callable[[], Path]]
) -> None:
    prepare = fresh(pushed)
    for step in range(1, 1000, 4):
        work = prepare()
        done = killer.run(PULL, cwd=work, before=step, fault=errno.ENOSPC)
        if done.steps < step:
            break
        if done.code != 0:
            clear(done)
        pulled_or_not(work)
        assert not [p for p in work.iterdir() if p.name.endswith(".sovgate-staging")]
        if step % 3 == 0:
            finishes_pull(work)


@pytest.mark.thorough
def test_a_denied_push_killed_at_any_step_leaves_nothing_there(
    killer: Killer, ready: Path, fresh: Callable[[Path], Callable[[], Path]]
) -> None:
    work = fresh(ready)()
    at(work).edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    prepare = fresh(shutil.copytree(work, work.parent / "denied"))
    for step in range(1, 200):
        work = prepare()
        done = killer.run(PUSH, cwd=work, before=step)
        store = open_store("eu-store", work)
        assert [
            *store.list("chunks/"),
            *store.list("objects/"),
            *store.list("releases/"),
            *store.list("sequences/"),
        ] == []
        log_is_sound(work)
        if not done.killed:
            assert done.code == 10, done
            break
    with pytest.raises(SovgateError):
        finishes_pull(work)
