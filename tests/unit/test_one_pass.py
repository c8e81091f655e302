"""One read of a model: hashed, encrypted and sent at once; and opened again inside its zone."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from sovgate.errors import SovgateError, StoreError, VerificationFailed
from sovgate.formats import chunk
from sovgate.formats.chunk import SIZE
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.plan import Plan
from sovgate.stages.encrypt import receiving, sending
from sovgate.stages.encrypt.receiving import Opened, receive
from sovgate.stages.encrypt.sending import Bound, Sent, send

LARGE = random.Random(1).randbytes(2 * SIZE + 4321)
FILES = {
    "a/config.json": b"{}",
    "a/empty": b"",
    "b/again.json": b"{}",
    "b/weights.bin": LARGE,
    "c/exactly": LARGE[:SIZE],
    "d/deep/er/none": b"",
    "z/tokenizer": LARGE[:70_000],
}


class Memory:
    """A store of chunks by name, which sees that nothing is put twice or under a wrong name."""

    def __init__(self) -> None:
        self.chunks: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, name: str, data: memoryview) -> None:
        with self._lock:
            assert name not in self.chunks
            assert hashlib.sha256(data).hexdigest() == name
            self.chunks[name] = bytes(data)

    def get(self, name: str, view: memoryview) -> None:
        view[:] = self.chunks[name]


def write(folder: Path, files: dict[str, bytes]) -> Manifest:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    resources = [
        Resource(name=name, size=len(data), digest=hashlib.sha256(data).hexdigest())
        for name, data in sorted(files.items())
    ]
    return Manifest(kind="directory", resources=tuple(resources))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def opened(plan: Plan, sent: Sent) -> list[Opened]:
    return [Opened(units=plan.units, digests=sent.digests, keys=sent.keys)]


def sent_to(folder: Path, manifest: Manifest, *zones: str) -> tuple[Plan, list[Memory], list[Sent]]:
    stores = [Memory() for _ in zones]
    plan = Plan.of(manifest)
    bound = [Bound(zone=z, put=store.put) for z, store in zip(zones, stores, strict=True)]
    return plan, stores, list(send(manifest, plan, folder, bound))


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, Manifest]:
    folder = tmp_path / "model-in"
    return folder, write(folder, FILES)


def test_what_is_sent_to_two_zones_opens_in_each_and_shares_nothing(model, tmp_path):
    folder, manifest = model
    plan, stores, sent = sent_to(folder, manifest, "eu", "ch")
    assert plan.chunks == 5  # a pack, three of the weights, one of a whole chunk
    for zone, store, one in zip(("eu", "ch"), stores, sent, strict=True):
        into = tmp_path / zone
        into.mkdir()
        done = receive(manifest, zone, opened(plan, one), store.get, into)
        assert tree(done) == FILES
    assert not set(stores[0].chunks) & set(stores[1].chunks)
    assert not set(sent[0].keys) & set(sent[1].keys)
    assert len(set(sent[0].keys)) == len(sent[0].keys) == plan.chunks
    assert [len(store.chunks) for store in stores] == [5, 5]


def test_a_model_that_is_a_file_is_sent_and_opened_as_one(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(LARGE)
    resource = Resource(name=".", size=len(LARGE), digest=hashlib.sha256(LARGE).hexdigest())
    manifest = Manifest(kind="file", resources=(resource,))
    plan, (store,), (sent,) = sent_to(path, manifest, "eu")
    (tmp_path / "in").mkdir()
    done = receive(manifest, "eu", opened(plan, sent), store.get, tmp_path / "in")
    assert done.read_bytes() == LARGE
    path.write_bytes(LARGE[:-1] + b"?")
    with pytest.raises(VerificationFailed, match=r"model\.gguf"):
        sent_to(path, manifest, "eu")


def test_many_files_of_one_content_cross_once(tmp_path):
    files = {f"{at:03}/same": b"same" for at in range(40)} | {f"{at}/none": b"" for at in range(40)}
    manifest = write(tmp_path / "in", files)
    plan, (store,), (sent,) = sent_to(tmp_path / "in", manifest, "eu")
    assert (plan.size, len(store.chunks)) == (4, 1)
    (tmp_path / "out").mkdir()
    done = receive(manifest, "eu", opened(plan, sent), store.get, tmp_path / "out")
    assert tree(done) == files


def _change(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_change("a/config.json", b"[]"), "digest-mismatch"),
        (_change("a/config.json", b"{} "), "digest-mismatch"),
        (_change("b/weights.bin", LARGE[:-1] + b"?"), "digest-mismatch"),
        (_change("b/weights.bin", LARGE[:-1]), "digest-mismatch"),
        (lambda folder: (folder / "z/tokenizer").unlink(), "missing-file"),
    ],
)
def test_a_file_that_is_not_what_was_signed_ends_the_run(model, change, reason):
    folder, manifest = model
    change(folder)
    with pytest.raises(VerificationFailed) as error:
        sent_to(folder, manifest, "eu")
    assert error.value.reason == reason


def test_a_file_that_changes_while_it_is_read_ends_the_run(model):
    folder, manifest = model
    bound = Bound(zone="eu", put=Memory().put)
    touch = lambda _: os.utime(folder / "b/weights.bin")  # noqa: E731 - between two reads of it
    with pytest.raises(VerificationFailed) as error:
        send(manifest, Plan.of(manifest), folder, [bound], advance=touch)
    assert error.value.reason == "changed-while-reading"


def test_a_link_out_of_the_model_is_not_followed(model, tmp_path):
    folder, manifest = model
    (tmp_path / "elsewhere").write_bytes(FILES["z/tokenizer"])
    (folder / "z/tokenizer").unlink()
    (folder / "z/tokenizer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SovgateError):
        sent_to(folder, manifest, "eu")


def test_an_error_of_a_store_ends_the_run_and_is_the_error(model):
    folder, manifest = model

    def put(_name: str, _data: memoryview) -> None:
        raise StoreError("it is full", reason="store-full")

    with pytest.raises(StoreError, match="it is full"):
        send(manifest, Plan.of(manifest), folder, [Bound(zone="eu", put=put)])


class Kept:
    """Keys that a run before had, and the digests that it saw; `taken`: (place, key, IV)."""

    def __init__(self, keys: Iterable[tuple[bytes, bytes]], digests: Iterable[bytes]) -> None:
        self._keys, self._digests = dict(enumerate(keys)), list(digests)
        self.taken: list[tuple[int, bytes, bytes]] = []

    def take(self, place: int) -> tuple[bytes, bytes]:
        key, iv = self._keys.get(place) or (chunk.new_key(), chunk.new_iv())
        self.taken.append((place, key, iv))
        return key, iv

    def sealed(self, place: int, digest: bytes) -> bool:
        same = place not in self._keys or self._digests[place] == digest
        if not same:
            del self._keys[place]
        return same


def test_rule_9_a_kept_key_makes_the_same_chunk_or_nothing_that_leaves(model):
    folder, manifest = model
    plan, (first,), (sent,) = sent_to(folder, manifest, "eu")
    ivs = [first.chunks[digest.hex()][: chunk.IV_SIZE] for digest in sent.digests]
    kept = list(zip(sent.keys, ivs, strict=True))
    again = Memory()
    bound = Bound(zone="eu", put=again.put, keys=Kept(kept, sent.digests))
    assert send(manifest, plan, folder, [bound])[0].digests == sent.digests
    assert again.chunks == first.chunks
    data = bytearray(LARGE)
    data[SIZE + 5] ^= 1  # in the second chunk of three
    (folder / "b/weights.bin").write_bytes(data)
    third, keys = Memory(), Kept(kept, sent.digests)
    with pytest.raises(VerificationFailed) as error:
        send(manifest, plan, folder, [replace(bound, put=third.put, keys=keys)])
    assert (error.value.reason, error.value.data) == ("digest-mismatch", {"file": "b/weights.bin"})
    changed = plan.units[1].first + 1
    assert sorted(place for place, _, _ in keys.taken if place == changed) == [changed, changed]
    old, new = [(key, iv) for place, key, iv in keys.taken if place == changed]
    assert old == kept[changed]
    assert not set(old) & set(new)
    assert sent.digests[changed].hex() not in third.chunks
    for name in set(third.chunks) - set(first.chunks):  # under the new key alone
        assert third.chunks[name][: chunk.IV_SIZE] == new[1]


def test_memory_is_bounded_by_buffers_whatever_the_size_and_the_number_of_zones(model, monkeypatch):
    folder, manifest = model
    made: list[int] = []

    class Counted(bytearray):
        def __init__(self, size: int) -> None:
            made.append(size)
            super().__init__(size)

    monkeypatch.setattr("sovgate.work.bytearray", Counted, raising=False)
    sent_to(folder, manifest, *(f"z{at}" for at in range(9)))
    most = sending.PLAIN_BUFFERS * SIZE + sending.SEALED_BUFFERS * (SIZE + chunk.OVERHEAD)
    assert sum(made) <= most < 250 * 1024 * 1024


# -- what a zone refuses


def test_a_flipped_swapped_cut_or_foreign_chunk_opens_nothing(model, tmp_path):
    folder, manifest = model
    plan, (store,), (sent,) = sent_to(folder, manifest, "eu")
    _, (_, foreign), _ = sent_to(folder, manifest, "eu", "ch")
    names = [digest.hex() for digest in sent.digests]
    good = dict(store.chunks)
    lies = {
        "flipped": {names[1]: good[names[1]][:-1] + bytes([good[names[1]][-1] ^ 1])},
        "swapped": {names[1]: good[names[2]], names[2]: good[names[1]]},
        "foreign": {names[1]: next(v for v in foreign.chunks.values() if len(v) > SIZE)},
    }
    for what, lie in lies.items():
        store.chunks = good | lie
        into = tmp_path / what
        into.mkdir()
        with pytest.raises(VerificationFailed) as error:
            receive(manifest, "eu", opened(plan, sent), store.get, into)
        assert error.value.reason == "damaged", what


@pytest.mark.parametrize("zone", ["ch"])
def test_chunks_of_one_zone_do_not_open_in_another(model, tmp_path, zone):
    folder, manifest = model
    plan, (store,), (sent,) = sent_to(folder, manifest, "eu")
    (tmp_path / "in").mkdir()
    with pytest.raises(VerificationFailed):
        receive(manifest, zone, opened(plan, sent), store.get, tmp_path / "in")


def test_chunks_in_another_order_than_was_signed_are_no_model(model, tmp_path):
    """The list's order is signed. Where two keys and digests change places, a digest tells."""
    folder, manifest = model
    plan, (store,), (sent,) = sent_to(folder, manifest, "eu")
    digests, keys = list(sent.digests), list(sent.keys)
    for items in (digests, keys):
        items[1], items[2] = items[2], items[1]
    (tmp_path / "in").mkdir()
    wrong = Opened(units=plan.units, digests=tuple(digests), keys=tuple(keys))
    with pytest.raises(VerificationFailed) as error:
        receive(manifest, "eu", [wrong], store.get, tmp_path / "in")
    assert error.value.reason == "digest-mismatch"


def test_a_pack_is_verified_before_a_byte_of_it_is_written(tmp_path):
    manifest = write(tmp_path / "in", {"a": b"first", "b": b"second"})
    (tmp_path / "in" / "a").write_bytes(b"FIRST")
    lying = write(tmp_path / "in", {"a": b"FIRST", "b": b"second"})
    plan, (store,), (sent,) = sent_to(tmp_path / "in", lying, "eu")
    (tmp_path / "out").mkdir()
    honest = Plan.of(manifest)
    bad = Opened(units=honest.units, digests=sent.digests, keys=sent.keys)
    with pytest.raises(VerificationFailed) as error:
        receive(manifest, "eu", [bad], store.get, tmp_path / "out")
    assert error.value.reason == "digest-mismatch"
    assert tree(tmp_path / "out") == {}
    assert plan.chunks == honest.chunks == 1


def descriptors() -> set[str]:
    """Those of this process, where the system tells."""
    folder = Path("/proc/self/fd")
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_no_descriptor_is_left_open_by_an_error(model, tmp_path):
    folder, manifest = model
    plan, (store,), (sent,) = sent_to(folder, manifest, "eu")
    store.chunks.pop(sent.digests[2].hex())
    before = descriptors()
    (tmp_path / "in").mkdir()
    with pytest.raises(KeyError):
        receive(manifest, "eu", opened(plan, sent), store.get, tmp_path / "in")
    assert descriptors() == before


def test_no_secret_shows_in_a_repr(model):
    folder, manifest = model
    plan, _, (sent,) = sent_to(folder, manifest, "eu")
    told = repr(sent) + repr(opened(plan, sent)[0])
    assert not any(key.hex() in told or repr(key) in told for key in sent.keys)
    assert receiving.THREADS > receiving.SEALED_BUFFERS
