"""A push that ended early goes on where it stopped: what is sent twice is counted, and is nothing.

The store is a folder, so what reached it are its files; chunks are small here, so that a model has
many of them.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from sovgate.errors import (
    DiskError,
    KeyServiceError,
    PolicyDenied,
    ResidencyMismatch,
    SovgateError,
    StoreError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats import chunk, plan
from sovgate.pipeline.move.push import push
from sovgate.pipeline.move.pushing.resuming import Keeping
from sovgate.pipeline.move.results import Pushed
from sovgate.records import Options, Release
from sovgate.stages import transfer
from sovgate.stages.encrypt.kept import Folder
from sovgate.stores.file import FileStore
from tests.crossing import Crossing, make_crossing, tree
from tests.effort import some

SIZE = 4096
FILES = {f"w{at}.bin": random.Random(at).randbytes(3 * SIZE + at) for at in range(3)} | {
    "config.json": b"{}",
    "twin.json": b"{}",
    "empty": b"",
}
#: Four of each file of weights, but for w0, which is three; and a pack.
CHUNKS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_crossing(tmp_path_factory.mktemp("made") / "project", FILES).base


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    base = shutil.copytree(made, tmp_path / "project")
    return Crossing(base=base, model=base / "model")


@dataclass
class Stop:
    """Progress that ends the run at its n-th word, as a signal or a fault there would."""

    after: int
    error: BaseException = field(default_factory=KeyboardInterrupt)

    def __call__(self, _count: int) -> None:
        self.after -= 1
        if self.after < 0:
            raise self.error

    def expect(self, _total: int) -> None: ...


def run(work: Crossing, stop: Stop | None = None, state: Path | None = None) -> Pushed:
    options = Options(project=work.base, progress=stop, state=state)
    return push(work.model, release=work.release, zone="home", to="eu", options=options)


def states(work: Crossing) -> list[Path]:
    folder = work.base.parent / "state" / "sovgate"
    return sorted(folder.iterdir()) if folder.exists() else []


def chunks(work: Crossing) -> dict[str, bytes]:
    return tree(work.base / "eu-store" / "chunks") if work.objects("chunks/") else {}


def opens(work: Crossing) -> None:
    work.pull()
    assert tree(work.base / "pulled") == FILES


@pytest.mark.parametrize("after", some(range(CHUNKS + 1), by="resumed"))
def test_a_push_that_was_interrupted_anywhere_sends_only_what_is_missing(
    work: Crossing, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt) as told:
        run(work, Stop(after))
    there = chunks(work)
    said = " ".join(getattr(told.value, "__notes__", ()))
    if there:
        assert f"run it again: {len(there)} of {CHUNKS} chunks are in the store" in said
        assert "open for nobody until the release is written" in said
        assert len(states(work)) == 1
    done = run(work)
    assert done.written.resumed == len(there)
    assert len(chunks(work)) == CHUNKS
    assert there.items() <= chunks(work).items()
    assert states(work) == []
    opens(work)


def test_a_push_that_is_interrupted_again_and_again_comes_to_its_end(work: Crossing) -> None:
    for after in range(3, 12, 2):
        with pytest.raises(KeyboardInterrupt):
            run(work, Stop(after))
    assert len(states(work)) == 1
    run(work)
    assert len(chunks(work)) == CHUNKS
    opens(work)


class Counting:
    """The store's `put`, counted; from the n-th chunk on it fails, before or after the write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes, self.fails, self.written = 0, 10_000, False
        real = FileStore.put

        def put(store: FileStore, name: str, data: bytes, *, sha256: str) -> None:
            if name.startswith("chunks/"):
                self.fails -= 1
                if self.fails < 0 and not self.written:
                    raise StoreError("the credentials have expired", reason="expired")
                self.bytes += len(data)
            real(store, name, data, sha256=sha256)
            if self.fails < 0 and name.startswith("chunks/"):
                raise StoreError("the network is gone", reason="network")

        monkeypatch.setattr(FileStore, "put", put)


@pytest.mark.parametrize("written", [False, True], ids=["expired", "lost-reply"])
def test_the_bytes_that_reach_the_store_in_two_runs_are_those_of_one(
    work: Crossing, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    store = Counting(monkeypatch)
    store.fails, store.written = 5, written
    if written:  # the object is there: the answer alone was lost, and it is read again
        run(work)
    else:
        with pytest.raises(StoreError) as error:
            run(work)
        (said,) = error.value.details
        assert f"5 of {CHUNKS} chunks are in the store, and open for nobody until" in said
        store.fails = 10_000
        run(work)
    total = sum(len(FILES[f"w{at}.bin"]) for at in range(3)) + 2
    assert store.bytes == total + CHUNKS * chunk.OVERHEAD
    opens(work)


def spoilt(path: Path) -> bytes:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return path.read_bytes()


def test_rule_14_what_is_there_is_read_again(work: Crossing) -> None:
    """A folder keeps no digests. Nobody here may remove what lies under a chunk's name in its
    place, so the chunk gets another name."""
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(6))
    there = chunks(work)
    path = next((work.base / "eu-store" / "chunks").rglob("*/*"))
    other = spoilt(path)
    assert run(work).written.resumed == len(there) - 1
    assert path.read_bytes() == other
    assert len(chunks(work)) == CHUNKS + 1
    opens(work)


def test_rule_9_a_file_that_is_not_what_was_signed_loses_its_keys_and_no_other_does(
    work: Crossing,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(CHUNKS))
    before = chunks(work)
    path = work.model / "w1.bin"
    path.write_bytes(FILES["w1.bin"][:-1] + b"?")
    with pytest.raises(VerificationFailed) as error:
        run(work)
    assert error.value.reason == "digest-mismatch"
    assert "w1.bin" in error.value.what
    assert error.value.data["file"] == "w1.bin"
    entries = (states(work)[0] / "entries").read_bytes()
    size = len(entries) // CHUNKS
    gone = [at for at in range(CHUNKS) if not any(entries[at * size : (at + 1) * size])]
    assert len(gone) == 4
    path.write_bytes(FILES["w1.bin"])
    done = run(work)
    assert done.written.resumed == len(before) - 4
    record = transfer.read_record(work.store, work.release, _trusted(work))
    assert record is not None
    used = {one.sha256 for one in transfer.chunks_of(work.store, record.transfer)}
    assert len(used & {Path(name).name for name in before}) == CHUNKS - 4
    opens(work)


def test_a_model_that_is_one_file_loses_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = make_crossing(tmp_path / "project", FILES["w2.bin"])
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(2))
    work.model.write_bytes(FILES["w2.bin"][:-1] + b"?")
    with pytest.raises(VerificationFailed):
        run(work)
    assert not any((states(work)[0] / "entries").read_bytes())
    work.model.write_bytes(FILES["w2.bin"])
    assert run(work).written.resumed == 0


def _trusted(work: Crossing):  # type: ignore[no-untyped-def]
    from sovgate.pipeline.project import open_project

    return open_project(work.base).trusted()


def test_rule_44_a_denial_destroys_what_was_kept(work: Crossing) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(6))
    first = chunks(work)
    work.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    with pytest.raises(PolicyDenied):
        push(
            work.model,
            release=work.release,
            zone="home",
            to="eu",
            options=Options(project=work.base, dry_run=True),
        )
    assert len(states(work)) == 1, "a dry run changes nothing"
    with pytest.raises(PolicyDenied):
        run(work)
    assert states(work) == []
    work.edit("weights: {allow: []}", "weights: {allow: [home -> eu]}")
    assert run(work).written.resumed == 0
    assert len(chunks(work)) == CHUNKS + len(first)
    opens(work)


@pytest.mark.parametrize(
    "error",
    [
        PolicyDenied("no"),
        ResidencyMismatch("elsewhere"),
        KeyServiceError("the zone has another key", reason="wrong-key"),
    ],
)
def test_rule_44_so_does_one_when_all_is_sent(work: Crossing, error: SovgateError) -> None:
    with pytest.raises(type(error)) as denied:
        run(work, Stop(5, error))
    assert states(work) == []
    (said,) = denied.value.details
    assert f"of {CHUNKS} chunks are in the store, and open for nobody: their keys are gone" in said
    assert "next run" not in said


def test_a_state_of_a_release_that_was_written_is_of_no_use(work: Crossing, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(6))
    (state,) = states(work)
    shutil.copytree(state, tmp_path / "copy")
    run(work)
    shutil.copytree(tmp_path / "copy", state)
    assert run(work).written.already
    assert states(work) == []


def test_another_release_of_the_model_shares_no_chunk(work: Crossing) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(8))
    first = chunks(work)
    options = Options(project=work.base)
    release = Release(model="churn", version="1.0.1")
    made = push(work.model, release=release, zone="home", to="eu", options=options)
    assert made.written.resumed == 0
    assert len(states(work)) == 1
    assert len(chunks(work)) == CHUNKS + len(first)


# -- parts that are closed


@pytest.fixture
def parted(work: Crossing, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    """Three parts: the pack and w0, w1, w2. Stopped within the second, the first is closed."""
    monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    with pytest.raises(KeyboardInterrupt) as told:
        run(work, Stop(8))
    (said,) = told.value.__notes__
    assert f"{len(chunks(work))} of {CHUNKS} chunks are in the store" in said
    return work


CLOSED = ["list-001", "looked-001", "part-001.json", "table-001"]


def closed(work: Crossing) -> list[str]:
    (state,) = states(work)
    return sorted(path.name for path in state.iterdir() if "-" in path.name)


def test_rule_9_a_closed_part_is_not_read_again_and_none_of_its_keys_is_kept(
    parted: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert closed(parted) == CLOSED
    (state,) = states(parted)
    entries = (state / "entries").read_bytes()
    assert not any(entries[: 4 * (len(entries) // CHUNKS)])
    assert any(entries)
    read: list[int] = []
    real = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        read.append(real(descriptor, buffers, offset))
        return read[-1]

    monkeypatch.setattr(os, "preadv", counted)
    there = chunks(parted)
    done = run(parted)
    assert sum(read) == len(FILES["w1.bin"]) + len(FILES["w2.bin"])
    assert done.written.resumed == len(there)
    assert len(chunks(parted)) == CHUNKS
    assert states(parted) == []
    opens(parted)


def test_rule_44_a_closed_part_is_not_in_the_store_before_the_last_word(parted: Crossing) -> None:
    assert parted.objects("objects/") == parted.objects("releases/") == []
    parted.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    with pytest.raises(PolicyDenied):
        run(parted)
    assert states(parted) == []


def test_a_closed_part_outlives_the_keys_of_the_open_one(parted: Crossing) -> None:
    (state,) = states(parted)
    for name in ("header.json", "outbox.key", "entries"):
        (state / name).unlink()
    assert run(parted).written.resumed == 4
    opens(parted)


def _other(work: Crossing, state: Path) -> None:
    """A part that was closed for another release of the same model."""
    release = Release(model="churn", version="1.0.1")
    options = Options(project=work.base, progress=Stop(8))
    with pytest.raises(KeyboardInterrupt):
        push(work.model, release=release, zone="home", to="eu", options=options)
    (other,) = [one for one in states(work) if one != state]
    for name in CLOSED:
        shutil.copy(other / name, state / name)
    shutil.rmtree(other)


def _flip(name: str) -> Callable[[Crossing, Path], None]:
    def change(_work: Crossing, state: Path) -> None:
        data = bytearray((state / name).read_bytes())
        data[len(data) // 2] ^= 1
        (state / name).write_bytes(data)

    return change


def _huge(name: str) -> Callable[[Crossing, Path], None]:
    def change(_work: Crossing, state: Path) -> None:
        with (state / name).open("ab") as file:
            file.truncate(1 << 40)

    return change


def _as_the_second(_work: Crossing, state: Path) -> None:
    for name in CLOSED:
        (state / name).rename(state / name.replace("001", "002"))


@pytest.mark.parametrize(
    "plant",
    [
        *(_flip(name) for name in CLOSED),
        *(_huge(name) for name in CLOSED),
        _as_the_second,
        _other,
        lambda _, state: (state / "table-001").unlink(),
        lambda _, state: (state / "part-001.json").write_bytes(b"{}"),
    ],
    ids=[
        *CLOSED,
        *(f"huge {name}" for name in CLOSED),
        "as the second",
        "of another release",
        "no table",
        "no document",
    ],
)
def test_rule_31_a_closed_part_that_was_planted_is_made_anew(
    parted: Crossing, plant: Callable[[Crossing, Path], None]
) -> None:
    (state,) = states(parted)
    first = len(chunks(parted)) - 4  # of the open part
    plant(parted, state)
    assert run(parted).written.resumed == first
    opens(parted)


def test_rule_14_a_closed_part_that_is_not_whole_in_the_store_is_made_anew(
    parted: Crossing,
) -> None:
    (state,) = states(parted)
    name = (state / "list-001").read_bytes()[:32].hex()
    (parted.base / "eu-store/chunks/sha256" / name).unlink()
    run(parted)
    assert len(chunks(parted)) == CHUNKS + 3
    opens(parted)


def test_rule_14_nor_one_of_which_a_chunk_is_another_by_now(parted: Crossing) -> None:
    (state,) = states(parted)
    name = (state / "list-001").read_bytes()[:32].hex()
    spoilt(parted.base / "eu-store/chunks/sha256" / name)
    run(parted)
    assert len(chunks(parted)) == CHUNKS + 4
    opens(parted)


def test_rule_33_a_file_of_a_closed_part_that_changed_is_not_believed(parted: Crossing) -> None:
    """What is said of it would be said of other bytes than those that were signed and sent."""
    path = parted.model / "w0.bin"
    path.write_bytes(b"?" + FILES["w0.bin"][1:])
    with pytest.raises(VerificationFailed) as error:
        run(parted)
    assert error.value.reason == "digest-mismatch"
    path.write_bytes(FILES["w0.bin"])
    there = len(chunks(parted))
    run(parted)
    assert len(chunks(parted)) == max(there, CHUNKS)
    opens(parted)


# -- where it is kept


@pytest.mark.parametrize("inside", ["project", "model"])
def test_keys_are_not_kept_in_project_or_model(work: Crossing, inside: str) -> None:
    state = (work.base if inside == "project" else work.model) / "state"
    with pytest.raises(UsageError) as error:
        run(work, state=state)
    assert error.value.reason == "state-inside"
    assert f"in the {inside}" in error.value.what
    assert not state.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_nor_in_the_store_beside_what_they_open(
    work: Crossing, tmp_path: Path, linked: bool
) -> None:
    """A store that is a folder is carried away as a whole: on a disk, or by a backup."""
    elsewhere = tmp_path / "store"
    work.edit("store: eu-store", f"store: {elsewhere}")
    elsewhere.mkdir()
    state = elsewhere / "state"
    if linked:
        state = tmp_path / "state-of-mine"
        state.symlink_to(elsewhere)
    with pytest.raises(UsageError) as error:
        run(work, state=state)
    assert (error.value.reason, "lies in the store" in error.value.what) == ("state-inside", True)
    assert list(elsewhere.iterdir()) == []


def test_nor_in_the_repository_around_it(work: Crossing) -> None:
    (work.base.parent / ".git").mkdir()
    with pytest.raises(UsageError, match="lies in the repository"):
        run(work, state=work.base.parent / "elsewhere")
    assert run(work).written.record, "the default folder is done without"


def test_a_folder_that_was_named_is_used(work: Crossing, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(6), state=tmp_path / "volume" / "state")
    assert states(work) == []
    assert len(list((tmp_path / "volume" / "state").iterdir())) == 1
    there = len(chunks(work))
    code, said = work.run(
        *("push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        *("--state", tmp_path / "volume" / "state"),
    )
    assert code == 0, said
    assert f"{there} chunks were there already, and not sent again" in said
    assert len(chunks(work)) == CHUNKS


def test_a_folder_that_was_named_has_to_do(work: Crossing, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(DiskError):
        run(work, state=tmp_path / "a file")
    assert chunks(work) == {}


def test_without_a_folder_it_is_said_that_the_next_run_starts_anew(
    work: Crossing, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where the folder would be")
    with pytest.raises(KeyboardInterrupt) as told:
        run(work, Stop(6))
    (said,) = told.value.__notes__
    assert "open for nobody: their keys are gone" in said
    assert "the next run sends all of it anew" in said
    assert "they were not kept: " in said
    run(work)
    opens(work)


def test_rule_9_two_runs_at_once_share_no_key(work: Crossing) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(6))
    (state,) = states(work)
    entries = (state / "entries").read_bytes()
    other = Folder(state.parent, _course(state))
    other.open()
    try:
        with pytest.raises(UsageError) as error:
            run(work, state=state.parent)
        assert error.value.reason == "in-use"
        assert run(work).written.resumed == 0
        assert (state / "entries").read_bytes() == entries, "that of the other run"
    finally:
        other.close()
    opens(work)


def _course(state: Path):  # type: ignore[no-untyped-def]
    from sovgate.formats.resume import Header, Signed

    return Header.parse(Signed.parse((state / "header.json").read_bytes()).payload).course


def test_a_disk_that_fills_up_stops_no_push(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(KeyboardInterrupt) as told:
            run(work, Stop(6))
    assert "the next run sends all of it anew" in told.value.__notes__[0]
    run(work)
    opens(work)


def test_what_is_kept_is_found_and_given_up_by_the_commands(work: Crossing, tmp_path: Path) -> None:
    state = tmp_path / "volume" / "pushes of ours"

    def told(*more: object) -> list[dict[str, str]]:
        checks = work.json("doctor", "--offline", *more)["checks"]
        return [check for check in checks if check["name"] == "kept keys"]

    assert told() == told("--state", state) == []
    with pytest.raises(KeyboardInterrupt):
        run(work, Stop(6), state=state)
    assert told() == []
    (check,) = told("--state", state)
    assert check["status"] == "warn"
    assert "the push of churn/1.0.0 from home to eu keeps its keys in" in check["detail"]
    there = len(chunks(work))
    (kept,) = work.json("keys", "kept", "--state", state)["kept"]
    assert (kept["release"], kept["from"], kept["to"]) == ("churn/1.0.0", "home", "eu")
    assert there <= kept["chunks"] <= CHUNKS
    assert (kept["manifest"], kept["in-use"], kept["parts"]) == (work.manifest, False, 0)
    words = shlex.split(str(check["fix"]).rpartition("give it up: sovgate ")[2])
    assert words == ["keys", "kept", "churn/1.0.0", "--state", str(state), "--remove"]
    assert work.json(*words)["removed"] == [kept["folder"]]
    assert told("--state", state) == []
    assert run(work, state=state).written.resumed == 0


# -- what is said


def test_a_command_that_is_interrupted_says_what_is_there(
    work: Crossing, capsys: pytest.CaptureFixture[str]
) -> None:
    from sovgate.cli._failure import render

    told = KeyboardInterrupt()
    told.add_note("run it again: 3 of 12 chunks are in the store")
    assert render(told, []) == 130
    assert capsys.readouterr().err.strip() == (
        "interrupted; run it again: 3 of 12 chunks are in the store"
    )
    assert render(KeyboardInterrupt(), []) == 130
    assert "interrupted; nothing half is left behind, run it again" in capsys.readouterr().err


def test_an_error_says_it_to_programs_too(work: Crossing, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Counting(monkeypatch)
    store.fails = 4
    said = work.push(code=21)
    folder = str(work.base.parent / "state" / "sovgate")
    assert said["error"]["details"] == [
        f"4 of {CHUNKS} chunks are in the store, and open for nobody until the release is written; "
        f"their keys are kept in {folder!r}, and a run that has it sends only what is missing"
    ]
    store.fails = 10_000
    assert work.push()["resumed"] == 4
    assert json.dumps(work.push()["resumed"]) == "0"


@pytest.mark.parametrize(
    ("failed", "how"),
    [(None, "were destroyed"), (OSError(errno.ENOSPC, "full"), "could not be kept")],
)
def test_keys_that_were_destroyed_are_not_told_as_those_of_a_full_disk(
    failed: OSError | None, how: str
) -> None:
    """Those of a file that is not what was signed are destroyed on purpose."""
    keys = SimpleNamespace(earlier=frozenset(), digests=frozenset({b"a"}), failed=failed)
    kept = Keeping.__new__(Keeping)
    there = {"_there": {b"a", b"b"}, "_closed": set(), "_keys": keys, "_plan": None, "_why": None}
    vars(kept).update(there, _base=Path("/state"))
    assert f"and 1 whose keys {how}" in str(kept._words(gone=False))
