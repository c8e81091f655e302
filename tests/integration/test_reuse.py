"""A fine-tune sends what changed: by choice, chunks of earlier releases are named again (RULES 8).

The store is a folder, so what reached it are its files; chunks are small here, so that a model has
many of them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sovgate import notices
from sovgate.errors import PolicyDenied, StoreError, VerificationFailed
from sovgate.formats import chunk, plan
from sovgate.formats import ledger as form
from sovgate.formats.ledger import Ledger, Row, Scope, ZoneKey
from sovgate.formats.resume import Signed
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.push import push, push_each
from sovgate.pipeline.move.pushing import deliver
from sovgate.pipeline.move.pushing.bring import Brought, bring
from sovgate.pipeline.move.pushing.resuming import own_key
from sovgate.pipeline.move.results import Pushed
from sovgate.pipeline.project import open_project
from sovgate.records import Options, Release
from sovgate.stages.encrypt import ledger as stage
from sovgate.stages.encrypt.ledger import open_keys, read_ledger
from sovgate.stores.file import FileStore
from tests.crossing import Crossing, make_crossing, tree
from tests.effort import some
from tests.kill import Killer

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


# -- what is counted, and what is said


def test_a_model_of_which_two_percent_changed_sends_two_percent(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is large. Small files lie in packs, which are told apart: one makes its pack new."""
    shutil.rmtree(work.model)
    work.model.mkdir()
    large = {f"l{at:02}_bin": random.Random(at).randbytes(2 * SIZE) for at in range(50)}
    small = {f"s{at}_json": random.Random(-at - 1).randbytes(SIZE // 4) for at in range(8)}
    change(work, **large, **small)
    counted = Counting(monkeypatch)
    run(work, "1.0.0")
    assert counted.bytes == 102 * (SIZE + chunk.OVERHEAD)
    counted.bytes = 0
    change(work, l07_bin=random.Random(99).randbytes(2 * SIZE))
    done = run(work, "1.1.0")
    assert counted.bytes == 2 * (SIZE + chunk.OVERHEAD)
    assert done.written.packs == (0, 0)
    assert counted.bytes / (100 * (SIZE + chunk.OVERHEAD)) == 0.02
    counted.bytes = 0
    change(work, l08_bin=random.Random(98).randbytes(2 * SIZE), s3_json=b"{}")
    done = run(work, "1.2.0")
    packs, size = done.written.packs
    assert packs == 1
    assert counted.bytes - size == 2 * (SIZE + chunk.OVERHEAD)
    opens(work, "1.2.0")


class Counting:
    """Bytes of chunks that reach the store; from the n-th chunk on the network is gone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes, self.left = 0, 10_000
        real = FileStore.put

        def put(store: FileStore, name: str, data: bytes, *, sha256: str) -> None:
            if name.startswith("chunks/"):
                self.left -= 1
                if self.left < 0:
                    raise StoreError("the network is gone", reason="network")
                self.bytes += len(data)
            real(store, name, data, sha256=sha256)

        monkeypatch.setattr(FileStore, "put", put)


def test_a_push_says_what_it_used_again_and_a_dry_run_what_it_would(work: Crossing) -> None:
    run(work, "1.3.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    size = sum(len(FILES[f"w{at}.bin"]) for at in (0, 2, 3)) + 4
    reused = [
        {
            "release": "churn/1.3.0",
            "chunks": 12,
            "bytes": size + 12 * chunk.OVERHEAD,
            "packs": 1,
        }
    ]
    before = tree(work.base / "eu-store"), ledger(work).read_bytes()
    planned = work.push("--dry-run", release="churn/1.4.0")
    assert (tree(work.base / "eu-store"), ledger(work).read_bytes()) == before
    assert planned["reused"] == reused
    _, said = work.run(*PUSH, "churn/1.4.0", "--dry-run")
    assert "12 chunks (36.3 KiB) of release churn/1.3.0" in said
    code, said = work.run(*PUSH, "churn/1.4.0")
    assert code == 0
    assert "12 chunks (36.3 KiB) of release churn/1.3.0" in said
    assert "pack" not in said
    change(work, a_json=b"{1}")
    planned = work.push("--dry-run", release="churn/1.5.0")
    done = work.push(release="churn/1.5.0")
    assert [one["chunks"] for one in done["reused"]] == [15]
    assert done["reused"][0]["release"] == "churn/1.4.0", "which has all of them now"
    assert done["packs"] == {"objects": 1, "bytes": 5 + chunk.OVERHEAD} == planned["packs"]
    assert planned["crossed"] <= done["crossed"] < planned["crossed"] + 20_000
    _, said = work.run(*PUSH, "churn/1.6.0", "--dry-run")
    assert "16 chunks" in said


PUSH = ("push", "model", "--zone", "home", "--to", "eu", "--release")


def test_files_that_are_used_again_are_read_and_count_as_read(work: Crossing) -> None:
    run(work, "1.0.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    bar = Bar()
    run(work, "1.1.0", progress=bar)
    assert bar.total == bar.done == sum(map(len, tree(work.model).values()))


@dataclass
class Bar:
    total: int = 0
    done: int = 0
    stop: int = 1 << 60

    def __call__(self, count: int) -> None:
        self.done += count
        if self.done > self.stop:
            raise KeyboardInterrupt

    def expect(self, total: int) -> None:
        self.total = total


def test_rule_33_a_file_that_is_used_again_has_to_be_what_was_signed(work: Crossing) -> None:
    run(work, "1.0.0")
    before = chunks(work)
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    (work.model / "w3.bin").write_bytes(FILES["w3.bin"][:-1] + b"?")
    with pytest.raises(VerificationFailed) as error:
        run(work, "1.1.0")
    assert error.value.reason == "digest-mismatch"
    assert "w3.bin" in error.value.what
    assert chunks(work) == before, "and it is known before anything is sent"


# -- who may have it


def encrypt_for(work: Crossing, key: str) -> None:
    """The destination has another key from now on."""
    for end in (".pem", ".pub.pem"):
        shutil.copy(work.base / f"keys/{key}{end}", work.base / f"keys/eu-enc{end}")


def test_rule_8_after_a_rotation_all_is_encrypted_anew_and_after_a_return_too(
    work: Crossing,
) -> None:
    generate("encrypt", out=work.base / "keys/new.pem", algorithm="ec-p256")
    encrypt_for_old = {end: (work.base / f"keys/eu-enc{end}").read_bytes() for end in ENDS}
    run(work, "1.0.0")
    encrypt_for(work, "new")
    assert sent(work, "1.1.0") == (CHUNKS, 0)
    assert sent(work, "1.2.0") == (0, CHUNKS)
    opens(work, "1.2.0")
    for end, data in encrypt_for_old.items():
        (work.base / f"keys/old{end}").write_bytes(data)
    encrypt_for(work, "old")
    assert sent(work, "1.3.0") == (CHUNKS, 0)
    opens(work, "1.3.0")


ENDS = (".pem", ".pub.pem")


def test_rule_8_so_is_what_two_keys_ever_wrapped(work: Crossing) -> None:
    """A unit that an authentic ledger calls wrapped for one key more than the zone has today."""
    run(work, "1.0.0")
    more = ZoneKey(key_id="55" * 32, algorithm="rsa-oaep-sha256")

    def both(rows: list[Row]) -> list[Row]:
        return [replace(rows[0], wrapped_for=rows[0].wrapped_for | {more}), *rows[1:]]

    rewrite(work, both)
    assert sent(work, "1.1.0") == (1, 15), "the first unit is the pack"


def test_after_the_senders_own_key_was_replaced_all_is_encrypted_anew(work: Crossing) -> None:
    run(work, "1.0.0")
    (work.base / "keys/own.pem").unlink()
    (work.base / "keys/own.pub.pem").unlink()
    generate("encrypt", out=work.base / "keys/own.pem", algorithm="ec-p256")
    with noted() as planned:
        assert run(work, "1.1.0", dry_run=True).written.reused == ()
    with noted() as done:
        assert sent(work, "1.1.0") == (CHUNKS, 0)
    assert planned == done
    assert "is not used, and all is sent anew" in planned[0]
    assert sent(work, "1.2.0") == (0, CHUNKS)


@contextlib.contextmanager
def noted() -> Iterator[list[str]]:
    notes: list[str] = []
    with notices.listening(notes.append):
        yield notes


def test_a_sender_without_an_encryption_key_hears_that_it_cannot(work: Crossing) -> None:
    work.edit(", encrypt: keys/own.pem}", "}")
    for more in ((), ("--dry-run",)):
        error = work.push(*more, code=3)["error"]
        assert error["reason"] == "reuse-needs-key"
        assert "zones.home.keys.encrypt" in error["fix"]
        assert error["where"]["line"] == 9
    assert chunks(work) == {}
    (finding,) = [one for one in work.json("lint", code=3)["findings"] if "reuse" in one["rule"]]
    assert (finding["rule"], finding["severity"]) == ("reuse-without-key", "error")


@pytest.mark.parametrize("where", ["project", "model", "nowhere"])
def test_without_a_place_for_the_ledger_it_is_said(
    work: Crossing, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "nowhere":
        monkeypatch.setenv("XDG_STATE_HOME", "")
        monkeypatch.setenv("HOME", "relative")
        monkeypatch.setattr("sovgate.host.login_home", lambda: None)
    else:
        inside = work.base if where == "project" else work.model
        monkeypatch.setenv("XDG_STATE_HOME", str(inside))
    with noted() as notes:
        assert sent(work, "1.0.0") == (CHUNKS, 0)
    assert any("nothing is used again, now or later" in note for note in notes)
    assert not list(work.base.rglob("ledger-*"))


def test_what_encrypt_made_is_sent_as_it_is(work: Crossing) -> None:
    run(work, "1.0.0")
    work.sbom()
    words = ("encrypt", "model", "--zone", "home", "--to", "eu", "--release", "churn/1.1.0")
    code, said = work.run(*words, "-o", "sealed")
    assert code == 0, said
    code, said = work.run("push", "sealed", *PUSH[2:], "churn/1.1.0")
    assert code == 0, said
    assert "reuse is no help" in said
    assert len(chunks(work)) == 2 * CHUNKS
    assert sent(work, "1.2.0") == (0, CHUNKS), "of the release that this zone's ledger has"


# -- what is there


def chunk_of(work: Crossing, contents: str) -> Path:
    (row,) = [one for one in rows_of(work) if sha256(FILES[contents]) in one.contents]
    return work.base / "eu-store/chunks/sha256" / row.digests[-1].hex()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def rows_of(work: Crossing) -> list[Row]:
    signed, body = form.parted(ledger(work).read_bytes())
    return list(Ledger.parse(signed.payload, body).sheet.rows)


@pytest.mark.parametrize("how", ["deleted", "damaged", "cut"])
def test_rule_14_a_unit_whose_chunk_is_not_whole_in_the_store_is_sent_anew(
    work: Crossing, how: str
) -> None:
    run(work, "1.0.0")
    path = chunk_of(work, "w2.bin")
    data = path.read_bytes()
    path.unlink()
    if how != "deleted":
        path.write_bytes(data[:-1] + (b"" if how == "cut" else bytes([data[-1] ^ 1])))
    with noted() as notes:
        done = run(work, "1.1.0")
    assert [one.chunks for one in done.written.reused] == [CHUNKS - 4]
    assert any("a chunk of churn/1.0.0 is missing or damaged in" in note for note in notes)
    opens(work, "1.1.0")
    assert sent(work, "1.2.0") == (0, CHUNKS)
    opens(work, "1.2.0")


def test_rule_14_nothing_is_taken_of_a_release_whose_record_is_gone(work: Crossing) -> None:
    """A sweep may have its chunks on a list: what no record names is garbage."""
    run(work, "1.0.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    run(work, "1.1.0")
    (work.base / "eu-store/releases/churn/1.1.0.json").unlink()
    with noted() as notes:
        done = run(work, "1.2.0")
    assert done.written.reused == ()
    assert any("churn/1.1.0 is not in" in note for note in notes)
    opens(work, "1.2.0")


def test_rule_14_a_sweep_leaves_what_a_later_release_uses_again(work: Crossing) -> None:
    run(work, "1.0.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    run(work, "1.1.0")
    assert work.json("audit", "sweep", "--zone", "eu")["unnamed"] == []
    (work.base / "eu-store/releases/churn/1.0.0.json").unlink()
    found = work.json("audit", "sweep", "--zone", "eu")["unnamed"]
    gone = [one["name"] for one in found if one["name"].startswith("chunks/")]
    assert len(gone) == 4, "those of w1 as it was"
    for name in gone:
        (work.base / "eu-store" / name).unlink()
    (work.base / "eu-store/sequences/churn/000000000001.json").unlink()
    assert work.run("audit", "sweep", "--zone", "eu")[0] == 0


def test_a_log_with_a_release_of_reused_parts_verifies_and_its_files_can_be_pulled_one_by_one(
    work: Crossing,
) -> None:
    run(work, "1.0.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    run(work, "1.1.0")
    opens(work, "1.1.0")
    code, said = work.run("audit", "verify")
    assert code in (0, 14), said
    for name in ("w1.bin", "w2.bin", "b.json", "twin.json"):
        words = ("pull", "churn/1.1.0", "--zone", "eu", "--file", name, "-o", f"one-{name}")
        code, said = work.run(*words)
        assert code == 0, said
        assert (work.base / f"one-{name}").read_bytes() == (work.model / name).read_bytes()


def test_of_packs_that_overlap_the_fullest_is_used(work: Crossing) -> None:
    run(work, "1.0.0")
    change(work, c_json=b"[1]")
    assert sent(work, "1.1.0") == (1, CHUNKS), "the new small file alone"
    change(work, a_json=b"{2}")
    assert sent(work, "1.2.0") == (1, CHUNKS), "a pack of what changed and what was beside it"
    change(work, a_json=b"{}", d_json=b"{2}")
    assert sent(work, "1.3.0") == (1, CHUNKS + 1), "b is in two of them"
    opens(work, "1.3.0")


# -- a ledger that is none


def rewrite(work: Crossing, edit: Callable[[list[Row]], list[Row]]) -> None:
    """The ledger with other units, by whoever has the zone's keys: signed, and its keys kept."""
    opened = open_project(work.base)
    scope = Scope(source="home", zone="eu", store=opened.store("eu").uri)
    signer, own = opened.signer("home"), own_key(opened, "home")
    found = read_ledger(state(work), scope, signer)
    assert found is not None
    assert own is not None
    keys = open_keys(found, own)
    sheet = replace(found.sheet, rows=tuple(edit(list(found.sheet.rows))))
    new = b"n" * 32
    header, body = form.sealed(sheet, keys, new, own.wrap(new, scope.context()))
    signed = Signed(payload=header, signature=signer.sign(form.signed_bytes(header)))
    ledger(work).write_bytes(form.joined(signed, body))


def _flipped(_work: Crossing, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _by_another_key(work: Crossing, path: Path) -> None:
    generate("sign", out=work.base / "keys/mallory.pem", algorithm="ec-p256")
    signer = registry.open_signer("keys/mallory.pem", work.base)
    signed, body = form.parted(path.read_bytes())
    again = replace(signed, signature=signer.sign(form.signed_bytes(signed.payload)))
    path.write_bytes(form.joined(again, body))


def _of_another_store(work: Crossing, path: Path) -> None:
    """The same team's ledger of another store, put in this one's place."""
    data = path.read_bytes()
    work.edit("uri: eu-store", "uri: other-store")
    run(work, "1.0.0")
    work.edit("uri: other-store", "uri: eu-store")
    (other,) = [one for one in path.parents[1].glob("ledger-*/ledger") if one != path]
    assert other.read_bytes() != data
    other.rename(path)
    other.parent.rmdir()


def _huge(_work: Crossing, path: Path) -> None:
    os.truncate(path, form.MAX_LEDGER + 1)


def _pipe(_work: Crossing, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(work: Crossing, path: Path) -> None:
    path.rename(work.base.parent / "moved")
    path.symlink_to(work.base.parent / "moved")


@pytest.mark.parametrize(
    "plant", [_flipped, _by_another_key, _of_another_store, _huge, _pipe, _link]
)
def test_rule_31_a_ledger_that_was_planted_is_not_used_and_that_is_said(
    work: Crossing, plant: Callable[[Crossing, Path], None]
) -> None:
    run(work, "1.0.0")
    path = ledger(work)
    plant(work, path)
    with noted() as notes:
        assert sent(work, "1.1.0") == (CHUNKS, 0)
    assert any("is not used, and all is sent anew" in note for note in notes)
    assert {row.origin.release for row in rows_of(work)} == {"churn/1.1.0"}, "it was written anew"


def _other_chunks(rows: list[Row], names: tuple[str, str]) -> list[Row]:
    """The chunks of w1 stand for w2, and the other way round: keys go with chunks."""
    (first, one), (second, two) = [
        (at, row) for at, row in enumerate(rows) if row.contents[0] in names
    ]
    rows[first], rows[second] = (
        replace(one, contents=two.contents),
        replace(two, contents=one.contents),
    )
    return rows


def _other_order(rows: list[Row], names: tuple[str, str]) -> list[Row]:
    """Two chunks of a file change places."""
    return [
        replace(row, digests=(row.digests[1], row.digests[0], *row.digests[2:]))
        if row.contents[0] in names
        else row
        for row in rows
    ]


@pytest.mark.parametrize("lie", [_other_chunks, _other_order])
def test_a_ledger_that_lies_makes_a_release_that_no_zone_opens(
    work: Crossing, lie: Callable[..., list[Row]]
) -> None:
    """By whoever has the zone's own keys, since its signature stops all others."""
    same = random.Random(77).randbytes(3 * SIZE + 2)
    change(work, w1_bin=same)  # as long as w2, so that only their bytes tell them apart
    run(work, "1.0.0")
    rewrite(work, partial(lie, names=(sha256(same), sha256(FILES["w2.bin"]))))
    run(work, "1.1.0")
    error = work.pull(release="churn/1.1.0", code=11)["error"]
    assert error["reason"] in ("damaged", "digest-mismatch")
    assert not (work.base / "pulled").exists()


def test_a_full_disk_stops_no_push_and_is_said(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(work, "1.0.0")
    before = ledger(work).read_bytes()
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, noted() as notes:
        patch.setattr(stage, "replace_at", full)
        assert run(work, "1.1.0").written.record
    assert any("the next push cannot use this one's chunks again" in note for note in notes)
    assert ledger(work).read_bytes() == before
    assert sent(work, "1.2.0") == (4, 12)


def test_a_push_that_is_killed_while_it_writes_its_ledger_leaves_the_one_before(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(work, "1.0.0")
    before = ledger(work).read_bytes()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "replace_at", killed)
        with pytest.raises(KeyboardInterrupt):
            run(work, "1.1.0")
    assert ledger(work).read_bytes() == before
    assert run(work, "1.1.0").written.already
    assert sent(work, "1.2.0") == (0, CHUNKS)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer(imports=["sovgate.pipeline.move.push", "sovgate.cli._emit"]) as running:
        yield running


def test_a_push_that_is_killed_at_its_end_leaves_the_old_ledger_or_the_new_one(
    work: Crossing, killer: Killer
) -> None:
    run(work, "1.0.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    ready = shutil.copytree(work.base.parent, work.base.parent.with_name("ready"))

    def killed(before: int | None) -> int:
        shutil.rmtree(work.base.parent)
        shutil.copytree(ready, work.base.parent)
        words = [*PUSH, "churn/1.1.0"]
        patch = {"sovgate.formats.chunk.SIZE": SIZE}
        env = {"XDG_STATE_HOME": str(state(work).parent)}
        killer.start(words, cwd=work.base, before=before, env=env, patch=patch)
        done = killer.finish()
        assert done.killed or before is None, done
        return done.steps

    last = killed(None)
    ends: set[int] = set()
    for step in some(range(last - 11, last + 1), by="ledger"):
        killed(step)
        run(work, "1.1.0")
        missing, reused = sent(work, "1.2.0")
        assert (missing, reused) in ((0, CHUNKS), (4, CHUNKS - 4))
        ends.add(missing)
        assert os.listdir(ledger(work).parent) == ["ledger"]  # noqa: PTH208
        opens(work, "1.2.0")
    assert ends <= {0, 4}


def test_a_denial_writes_nothing_into_the_ledger(work: Crossing) -> None:
    run(work, "1.0.0")
    before = ledger(work).read_bytes()
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    work.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    with pytest.raises(PolicyDenied):
        run(work, "1.1.0")
    assert ledger(work).read_bytes() == before


# -- a push that ended early


@pytest.mark.parametrize("parts", [1, 3])
def test_a_push_that_ended_early_goes_on_and_the_next_one_uses_all_of_it(
    work: Crossing, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """Also the keys of parts that were closed are kept until the ledger has them."""
    if parts == 3:
        monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    run(work, "1.0.0")
    new = {f"w{at}_bin": random.Random(20 + at).randbytes(3 * SIZE + at) for at in range(1, 4)}
    change(work, **new)
    store = Counting(monkeypatch)
    store.left = 7
    with pytest.raises(StoreError):
        run(work, "1.1.0")
    store.left = 10_000
    done = run(work, "1.1.0")
    assert done.written.resumed == 7
    assert store.bytes == sum(map(len, new.values())) + 12 * chunk.OVERHEAD
    assert [path.name for path in state(work).iterdir()] == [ledger(work).parent.name]
    opens(work, "1.1.0")
    assert sent(work, "1.2.0") == (0, CHUNKS)
    opens(work, "1.2.0")


def test_a_part_that_is_closed_beside_one_of_reused_chunks_is_not_read_again(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its keys come into the ledger."""
    monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    run(work, "1.0.0")
    new = {f"w{at}_bin": random.Random(20 + at).randbytes(3 * SIZE + at) for at in range(1, 4)}
    change(work, **new)
    store = Counting(monkeypatch)
    store.left = 9  # all of w1 and w2, which are a part each
    with pytest.raises(StoreError):
        run(work, "1.1.0")
    store.left = 10_000
    read: list[int] = []
    real = os.preadv

    def counted(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        read.append(real(descriptor, buffers, offset))
        return read[-1]

    with monkeypatch.context() as counting:
        counting.setattr(os, "preadv", counted)
        assert run(work, "1.1.0").written.resumed == 9
    closed = len(new["w1_bin"]) + len(new["w2_bin"])
    assert sum(read) == sum(map(len, tree(work.model).values())) - closed
    opens(work, "1.1.0")
    assert sent(work, "1.2.0") == (0, CHUNKS)


def test_a_ledger_that_is_full_counts_each_unit_once(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a push used again stands there already, and leaves room for what it did not."""
    before = (work.model / "w1.bin").read_bytes()
    run(work, "1.0.0")
    monkeypatch.setattr(stage, "MAX_CHUNKS", CHUNKS + 4)
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    assert sent(work, "1.1.0") == (4, CHUNKS - 4)
    change(work, w1_bin=before)
    assert sent(work, "1.2.0") == (0, CHUNKS)
    opens(work, "1.2.0")


def test_rule_29_no_key_that_the_ledger_is_to_have_shows_in_a_repr(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    real = bring

    def spied(*given: Any) -> tuple[Brought, ...]:
        done = real(*given)
        for one in done:
            keys = [key for _, _, keys in one.carried for key in keys]
            assert len(keys) == CHUNKS
            text = repr(one) + repr(given)
            shown.extend(text for key in keys if repr(key) in text or key.hex() in text)
        return done

    monkeypatch.setattr(deliver, "bring", spied)
    run(work, "1.0.0")
    assert not shown


@pytest.mark.parametrize("parts", [1, 2])
def test_one_that_finds_other_chunks_to_use_than_before_mixes_nothing(
    work: Crossing, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """Another release came between, so the plan is another one: as many chunks and parts, and the
    first is of another file. What the first run closed and kept is not for it."""
    if parts == 2:
        monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    old = {f"w{at}_bin": FILES[f"w{at}.bin"] for at in range(4)}
    new = {name: random.Random(20 + at).randbytes(len(old[name])) for at, name in enumerate(old)}
    run(work, "1.0.0")
    first = ledger(work).read_bytes()
    change(work, w1_bin=new["w1_bin"])
    run(work, "1.0.1")
    with_one = ledger(work).read_bytes()
    ledger(work).write_bytes(first)
    change(work, w1_bin=old["w1_bin"], w2_bin=new["w2_bin"])
    run(work, "1.0.2")
    change(work, **{**new, "w0_bin": old["w0_bin"]})
    store = Counting(monkeypatch)
    store.left = 6
    with pytest.raises(StoreError):
        run(work, "1.1.0")
    store.left = 10_000
    ledger(work).write_bytes(with_one)
    done = run(work, "1.1.0")
    assert sum(one.chunks for one in done.written.reused) == 8, "w0, w1 and the pack"
    assert done.written.resumed == 0
    opens(work, "1.1.0")
    assert sent(work, "1.2.0") == (0, CHUNKS)
    opens(work, "1.2.0")


def test_two_pushes_at_once_leave_a_ledger_of_both(work: Crossing) -> None:
    """The second begins before the first has written, and ends after it."""
    run(work, "1.0.0")
    other = Crossing(base=work.base, model=work.base / "model2")
    shutil.copytree(work.model, other.model)
    change(other, w1_bin=random.Random(1001).randbytes(3 * SIZE + 1))
    change(work, w2_bin=random.Random(1002).randbytes(3 * SIZE + 2))

    class Between(Bar):
        def __call__(self, count: int) -> None:
            if not self.done:
                self.done = 1
                run(other, "1.2.0")

    run(work, "1.1.0", progress=Between())
    assert sent(work, "1.3.0") == (0, CHUNKS)
    assert sent(other, "1.4.0") == (0, CHUNKS)
    opens(other, "1.4.0")


def test_a_push_whose_release_another_run_wrote_meanwhile_keeps_none_of_its_own_keys(
    work: Crossing,
) -> None:
    """Its chunks are no part of the release, so they would be garbage that a later one names."""

    class Between(Bar):
        def __call__(self, count: int) -> None:
            if not self.done:
                self.done = 1
                run(work, "1.0.0")

    done = run(work, "1.0.0", progress=Between())
    assert done.written.already
    assert len(chunks(work)) == 2 * CHUNKS
    found = work.json("audit", "sweep", "--zone", "eu")["unnamed"]
    assert len([one for one in found if one["name"].startswith("chunks/")]) == CHUNKS
    for one in found:
        (work.base / "eu-store" / one["name"]).unlink()
    assert sent(work, "1.1.0") == (0, CHUNKS)
    opens(work, "1.1.0")


ZONES = ("eu", "ch", "no")


def add_zones(work: Crossing) -> None:
    for name in ("ch", "no"):
        generate("encrypt", out=work.base / f"keys/{name}.pem", algorithm="ec-p256")
    more = "".join(
        f"  {name}:\n    region: aws:eu-central-2\n    store: {store}\n"
        f"    keys: {{encrypt-public: keys/{name}.pub.pem}}\n"
        for name, store in (("ch", "{uri: ch-store, reuse: true}"), ("no", "no-store"))
    )
    work.edit("datasets:\n", f"{more}datasets:\n")
    work.edit("allow: [home -> eu]", "allow: [home -> eu, home -> ch, home -> no]")


def test_rule_8_zones_that_have_other_releases_are_sent_other_chunks(work: Crossing) -> None:
    add_zones(work)
    run(work, "1.0.0")
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))

    def there() -> list[int]:
        stores = [work.base / f"{name}-store/chunks" for name in ZONES]
        return [len(tree(store)) if store.exists() else 0 for store in stores]

    def each(version: str) -> list[int]:
        """Chunks that each zone's push used again."""
        release, options = Release(model="churn", version=version), Options(project=work.base)
        done = push_each(work.model, release=release, zone="home", to=ZONES, options=options)
        return [sum(one.chunks for one in zone.written.reused) for zone in done]

    assert there() == [CHUNKS, 0, 0]
    assert each("1.1.0") == [CHUNKS - 4, 0, 0]
    assert there() == [CHUNKS + 4, CHUNKS, CHUNKS]
    change(work, w2_bin=random.Random(10).randbytes(3 * SIZE + 2))
    assert each("1.2.0") == [CHUNKS - 4, CHUNKS - 4, 0]
    assert there() == [CHUNKS + 8, CHUNKS + 4, 2 * CHUNKS]
    eu, ch, no = (
        {Path(name).name for name in tree(work.base / f"{one}-store/chunks")} for one in ZONES
    )
    assert not eu & ch | eu & no | ch & no
    opens(work, "1.2.0")


def test_rule_9_a_key_out_of_a_ledger_never_encrypts_and_none_encrypts_two_plaintexts(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed: dict[bytes, set[bytes]] = {}
    real = chunk.seal_into

    def seal(key: bytes, iv: bytes, ad: bytes, plain: memoryview, out: memoryview) -> bytes:
        sealed.setdefault(key, set()).add(iv + bytes(plain))
        return real(key, iv, ad, plain, out)

    monkeypatch.setattr(chunk, "seal_into", seal)
    run(work, "1.0.0")
    before = set(sealed)
    change(work, w1_bin=random.Random(9).randbytes(3 * SIZE + 1))
    store = Counting(monkeypatch)
    store.left = 2
    with pytest.raises(StoreError):
        run(work, "1.1.0")
    store.left = 10_000
    path = chunk_of(work, "w3.bin")
    path.rename(path.with_name("gone"))
    with noted():
        run(work, "1.1.0")
    opens(work, "1.1.0")
    assert len(sealed) > len(before) == CHUNKS
    assert all(len(made) == 1 for made in sealed.values())


def test_a_model_that_is_one_file_is_used_again_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = make_crossing(tmp_path / "project", FILES["w3.bin"])
    generate("encrypt", out=work.base / "keys/own.pem", algorithm="ec-p256")
    work.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/home.pem, encrypt: keys/own.pem}")
    work.edit("store: eu-store", "store: {uri: eu-store, reuse: true}")
    assert sent(work, "1.0.0") == (4, 0)
    assert sent(work, "1.1.0") == (0, 4)
    work.pull(release="churn/1.1.0")
    assert (work.base / "pulled").read_bytes() == FILES["w3.bin"]


def test_rule_8_a_chunk_of_another_zone_opens_in_no_release_of_this_one(work: Crossing) -> None:
    """By whoever has the sender's keys, its ledgers, and can write to the store."""
    add_zones(work)
    release, options = Release(model="churn", version="1.0.0"), Options(project=work.base)
    push_each(work.model, release=release, zone="home", to=("eu", "ch"), options=options)
    opened = open_project(work.base)
    signer, own = opened.signer("home"), own_key(opened, "home")
    assert own is not None
    eu, ch = (
        Scope(source="home", zone=zone, store=opened.store(zone).uri) for zone in ("eu", "ch")
    )
    mine, theirs = (read_ledger(state(work), scope, signer) for scope in (eu, ch))
    assert mine is not None
    assert theirs is not None
    first = mine.sheet.rows[0]
    rows = [
        replace(row, wrapped_for=first.wrapped_for, origin=first.origin)
        for row in theirs.sheet.rows
    ]
    new = b"n" * 32
    sheet = replace(mine.sheet, rows=tuple(rows))
    header, body = form.sealed(sheet, open_keys(theirs, own), new, own.wrap(new, eu.context()))
    signed = Signed(payload=header, signature=signer.sign(form.signed_bytes(header)))
    (state(work) / eu.name / "ledger").write_bytes(form.joined(signed, body))
    shutil.copytree(
        work.base / "ch-store/chunks", work.base / "eu-store/chunks", dirs_exist_ok=True
    )
    assert sent(work, "1.1.0") == (0, CHUNKS)
    error = work.pull(release="churn/1.1.0", code=11)["error"]
    assert error["reason"] == "damaged"
    assert not (work.base / "pulled").exists()
