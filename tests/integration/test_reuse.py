"""A fine-tune sends what changed: by choice, chunks of earlier releases are named again (RULES 8).

The store is a folder, so what reached it are its files; chunks are small here, so that a model has
many of them.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from sovgate.formats import chunk
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.push import push
from sovgate.pipeline.move.results import Pushed
from sovgate.records import Options, Release
from tests.crossing import Crossing, make_crossing, tree

SIZE = 4096
FILES = {f"w{at}.bin": random.Random(at).randbytes(3 * SIZE + at) for at in range(4)} | {
    "a.json": b"{}",
    "b.json": b"[]",
    "twin.json": b"[]",
    "empty": b"",
}
#: Three of w0, four of each other file of weights; and a pack.
CHUNKS = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = make_crossing(tmp_path_factory.mktemp("made") / "project", FILES)
    generate("encrypt", out=work.base / "keys/own.pem", algorithm="ec-p256")
    work.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/home.pem, encrypt: keys/own.pem}")
    work.edit("store: eu-store", "store: {uri: eu-store, reuse: true}")
    return work.base


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    base = shutil.copytree(made, tmp_path / "project")
    return Crossing(base=base, model=base / "model")


def state(work: Crossing) -> Path:
    return work.base.parent / "state" / "sovgate"


def ledger(work: Crossing) -> Path:
    (found,) = state(work).glob("ledger-*/ledger")
    return found


def chunks(work: Crossing) -> dict[str, bytes]:
    return tree(work.base / "eu-store" / "chunks") if work.objects("chunks/") else {}


def run(work: Crossing, version: str, **options: object) -> Pushed:
    release = Release(model="churn", version=version)
    chosen = Options(project=work.base, **options)  # type: ignore[arg-type]
    return push(work.model, release=release, zone="home", to="eu", options=chosen)


def change(work: Crossing, **files: bytes) -> None:
    """Write files of the model (`w1` is w1.bin), and sign it anew."""
    for name, data in files.items():
        (work.model / name.replace("_", ".")).write_bytes(data)
    work.sign()


def opens(work: Crossing, version: str) -> None:
    shutil.rmtree(work.base / "pulled", ignore_errors=True)
    shutil.rmtree(work.base / "pulled.evidence", ignore_errors=True)
    work.pull(release=f"churn/{version}")
    assert tree(work.base / "pulled") == tree(work.model)


def sent(work: Crossing, version: str, **options: object) -> tuple[int, int]:
    """Chunks that a push brings to the store, and chunks that it uses again."""
    before = chunks(work)
    done = run(work, version, **options)
    assert before.items() <= chunks(work).items()
    return len(chunks(work)) - len(before), sum(one.chunks for one in done.written.reused)


def test_a_fine_tune_sends_what_changed(work: Crossing) -> None:
    assert sent(work, "1.0.0") == (CHUNKS, 0)
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    assert sent(work, "1.1.0") == (4, 12)
    opens(work, "1.1.0")
    opens_old = work.json("pull", "churn/1.0.0", "--zone", "eu", "-o", "old")
    assert opens_old["release"] == "churn/1.0.0"


def test_reuse_of_reuse_and_a_file_that_is_as_it_was(work: Crossing) -> None:
    run(work, "1.0.0")
    old = FILES["w1.bin"]
    change(work, w1_bin=random.Random(9).randbytes(len(old)))
    assert sent(work, "1.1.0") == (4, 12)
    change(work, w2_bin=random.Random(10).randbytes(len(FILES["w2.bin"])))
    assert sent(work, "1.2.0") == (4, 12)
    opens(work, "1.2.0")
    change(work, w1_bin=old, w2_bin=FILES["w2.bin"])
    assert sent(work, "1.3.0") == (0, CHUNKS)
    opens(work, "1.3.0")


def test_doctor_tells_a_ledger_from_keys_of_a_push_that_ended_early(work: Crossing) -> None:
    run(work, "1.0.0")
    checks = {one["name"]: one for one in work.json("doctor", "--offline")["checks"]}
    assert "kept keys" not in checks
    assert checks["ledger"]["status"] == "ok"
    assert "can read what was sent from here" in checks["ledger"]["detail"]
