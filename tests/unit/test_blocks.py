"""RULES 33: what is said of a file is said of the very bytes that are hashed, whatever its file
system tells of its times, size and number."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate import blocks
from sovgate.blocks import LARGEST, MOST, SMALLEST, Blocks, ChangedError, Compared, Reader
from sovgate.errors import VerificationFailed
from sovgate.files import Entry
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.plan import Plan
from sovgate.scanner import child, streams
from sovgate.stages.encrypt import Bound, send
from sovgate.stages.hashing import hash_files
from sovgate.stages.sbom import Inspected, inspect
from tests.scanned import opened

KIB = 1024


def kept(look: Callable[[Reader], object], data: bytes) -> Blocks:
    with opened(data) as descriptor:
        reader = Reader.of(descriptor)
        look(reader)
        return reader.blocks


def same(held: Blocks, data: bytes, *cuts: int) -> bool:
    """Whether `data`, given in pieces, is what was read."""
    compared = Compared(held)
    for start, end in zip((0, *sorted(cuts)), (*sorted(cuts), len(data)), strict=True):
        compared.update(data[start:end])
    return compared.same


def test_a_reader_gives_what_is_there_whatever_is_asked_and_in_any_order() -> None:
    luck = random.Random(5)
    data = luck.randbytes(5 * SMALLEST + 321)
    with opened(data) as descriptor:
        reader = Reader.of(descriptor)
        for _ in range(200):
            offset, count = luck.randrange(len(data) + 9), luck.choice((1, 70, 9000, 200_000))
            assert reader.read(offset, count) == data[offset : offset + count]
        assert reader.blocks.count == len(reader.blocks.digests) == 6
    for number, digest in reader.blocks.digests.items():
        piece = data[number * SMALLEST : (number + 1) * SMALLEST]
        assert digest == hashlib.sha256(piece).digest()


def test_any_byte_of_a_block_that_was_read_counts_and_no_other() -> None:
    luck = random.Random(6)
    data = bytearray(luck.randbytes(4 * SMALLEST + 5))
    held = kept(lambda file: (file.read(10, 5), file.read(len(data) - 1, 1)), bytes(data))
    assert set(held.digests) == {0, 4}
    for _ in range(20):
        cuts = [luck.randrange(len(data)) for _ in range(luck.randrange(6))]
        assert same(held, bytes(data), *cuts)
        at = luck.randrange(len(data))
        data[at] ^= 1
        assert same(held, bytes(data), *cuts) == (at // SMALLEST not in (0, 4))
        data[at] ^= 1
    for at in (0, SMALLEST - 1, 4 * SMALLEST, len(data) - 1):
        data[at] ^= 0x80
        assert not same(held, bytes(data))
        data[at] ^= 0x80
    assert same(held, bytes(data))


@pytest.mark.parametrize("size", [0, 1, SMALLEST - 1, SMALLEST, SMALLEST + 1])
def test_a_file_that_is_longer_or_shorter_than_it_was_said_to_be_is_another(size: int) -> None:
    held = kept(lambda file: None, bytes(size))
    assert same(held, bytes(size))
    assert not same(held, bytes(size + 1))
    assert not size or not same(held, bytes(size - 1))


def test_of_a_file_that_nobody_looked_into_nothing_is_the_same() -> None:
    assert blocks.compared(None, "w") is None
    nobody = blocks.compared({"other": Blocks(0)}, "w")
    assert nobody is not None
    assert not nobody.same


def test_a_block_that_is_another_one_when_it_is_read_again_is_refused() -> None:
    """A file system that serves what it likes: the judge would see parts of two files."""
    with opened(bytes(2 * SMALLEST)) as descriptor:
        reader = Reader.of(descriptor)
        reader.read(0, 1)
        reader.read(SMALLEST, 1)
        os.pwrite(descriptor, b"X", 7)
        with pytest.raises(ChangedError):
            reader.read(0, 1)
        assert reader.blocks.torn
        os.pwrite(descriptor, b"\0", 7)
        assert not same(reader.blocks, bytes(2 * SMALLEST))  # for good


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused() -> None:
    with opened(bytes(2 * SMALLEST)) as descriptor:
        reader = Reader.of(descriptor)
        os.truncate(descriptor, SMALLEST + 1)
        assert reader.read(0, 9) == bytes(9)
        with pytest.raises(ChangedError):
            reader.read(SMALLEST, 2)


def test_to_the_judge_of_pickles_such_a_file_is_the_bad_case() -> None:
    with opened(bytes(2 * SMALLEST)) as descriptor:
        file = streams.File(descriptor, 2 * SMALLEST)
        file.read(0, 1)
        file.read(SMALLEST, 1)
        os.pwrite(descriptor, b"X", 0)
        with pytest.raises(streams.TooMuchError):
            file.read(0, 1)


def test_what_is_kept_of_a_file_is_bounded_whatever_its_size() -> None:
    assert blocks.block_size(MOST * SMALLEST) == SMALLEST
    for size in (1, 10**9, 10**11, MOST * LARGEST):
        assert Blocks(size).count <= MOST
        assert LARGEST % blocks.block_size(size) == 0
    assert blocks.block_size(10**14) == LARGEST


@pytest.mark.parametrize("data", [b"x", bytes(35), bytes(72), (1).to_bytes(4, "big") + bytes(32)])
def test_what_a_child_answers_is_held_to_the_form(data: bytes) -> None:
    """Cut, too much for the file, a block that it does not have."""
    with pytest.raises(ValueError, match="block"):
        Blocks.unpacked(data, SMALLEST)


def test_what_a_child_answers_is_read_back() -> None:
    held = kept(lambda file: file.read(SMALLEST, 9), bytes(3 * SMALLEST))
    again = Blocks.unpacked(held.packed(), held.size)
    assert again.digests == held.digests
    other = kept(lambda file: file.read(SMALLEST, 9), bytes(2 * SMALLEST) + b"x" * SMALLEST)
    again.merge(other)
    assert not again.torn
    again.merge(kept(lambda file: file.read(SMALLEST, 9), b"x" * 3 * SMALLEST))
    assert again.torn


# --- a writer that shows one file to the look, and another to who hashes it ---
class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members:
            made.writestr(name, data)
    return out.getvalue()


def header(text: str) -> bytes:
    said = json.dumps(
        {"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "__metadata__": {"a": text}}
    ).encode()
    return len(said).to_bytes(8, "little") + said + b"\0"


PICKLE = pickle.dumps(Runs())
TOKEN = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
#: name -> (what is signed, what is shown), of equal length.
SHOWN = {
    "weights.bin": (PICKLE, bytes(len(PICKLE))),
    "deep/model.zip": (zipped(("m/data.pkl", PICKLE)), zipped(("m/data.bin", bytes(len(PICKLE))))),
    "notes.txt": (b"token: " + TOKEN, b"token: " + bytes(len(TOKEN)).replace(b"\0", b"x")),
    "long.txt": (b"words " * 30_000 + TOKEN, b"words " * 30_000 + b"w" * len(TOKEN)),
    "config.json": (b'{"auto_map": {"AutoModel": "m.M"}}', b'{"auto_mop": {"AutoModel": "m.M"}}'),
    "m.py": (b"import os\n", b"import re\n"),
    "w.safetensors": (header("one"), header("two")),
    "README.md": (b"---\nbase_model: a/b\n---\n", b"---\nbase_model: a/c\n---\n"),
}


def write(root: Path, which: int) -> None:
    """In place, with the times that were there before."""
    for name, both in SHOWN.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        before = path.stat() if path.exists() else None
        with path.open("r+b" if before else "wb") as file:
            file.write(both[which])
        if before is not None:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert path.stat().st_mtime_ns == before.st_mtime_ns
            assert path.stat().st_ino == before.st_ino


@pytest.fixture(scope="module")
def looked() -> Iterator[tuple[Path, Inspected]]:
    """A model that was looked into while each of its files was another one."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, 1)
        inspected = inspect(root, "directory", sorted(SHOWN))
        write(root, 0)
        yield root, inspected


def test_all_that_was_shown_is_harmless(looked: tuple[Path, Inspected]) -> None:
    _, inspected = looked
    assert not inspected.pickles
    assert not inspected.secrets


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_rule_33_what_was_shown_to_the_look_alone_is_not_hashed(
    looked: tuple[Path, Inspected], name: str
) -> None:
    root, inspected = looked
    entry = Entry(name=name, size=len(SHOWN[name][0]))
    assert len(SHOWN[name][1]) == entry.size
    with pytest.raises(VerificationFailed) as refused:
        hash_files(root, [entry], looked=inspected.looked)
    assert refused.value.reason == "changed-while-reading"


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_rule_33_what_was_shown_to_the_look_alone_is_not_sent(
    looked: tuple[Path, Inspected], name: str
) -> None:
    root, inspected = looked
    manifest = signed(root, name)

    def sends(looked: Any) -> None:
        bound = Bound(zone="eu", put=lambda _name, _data: None)
        send(manifest, Plan.of(manifest), root, [bound], looked=looked)

    with pytest.raises(VerificationFailed) as refused:
        sends(inspected.looked)
    assert refused.value.reason == "changed-while-reading"
    sends(inspect(root, "directory", [name]).looked)  # and no other


def signed(root: Path, *names: str) -> Manifest:
    resources = []
    for name in names:
        data = (root / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        resources.append(Resource(name=name, size=len(data), digest=digest))
    return Manifest(kind="directory", resources=tuple(resources))


def test_rule_33_a_second_file_of_the_same_content_is_compared_with_its_own_look(
    tmp_path: Path,
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(b"harmful!")
    manifest = signed(tmp_path, "a.txt", "b.txt")
    (tmp_path / "b.txt").write_bytes(b"harmless")
    seen = inspect(tmp_path, "directory", ["a.txt", "b.txt"])
    (tmp_path / "b.txt").write_bytes(b"harmful!")
    bound = Bound(zone="eu", put=lambda _name, _data: None)
    with pytest.raises(VerificationFailed, match=r"b\.txt"):
        send(manifest, Plan.of(manifest), tmp_path, [bound], looked=seen.looked)


def test_rule_33_a_file_system_that_serves_other_bytes_to_the_look_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the file ever changes: its times, number and size say the same all along."""
    (tmp_path / "w.txt").write_bytes(b"# " + TOKEN)  # nothing that the child looks at
    manifest = signed(tmp_path, "w.txt")
    real = os.pread

    def lies(descriptor: int, count: int, offset: int) -> bytes:
        return real(descriptor, count, offset).replace(TOKEN, b"x" * len(TOKEN))

    monkeypatch.setattr(os, "pread", lies)
    seen = inspect(tmp_path, "directory", ["w.txt"])
    monkeypatch.undo()
    assert not seen.secrets
    bound = Bound(zone="eu", put=lambda _name, _data: None)
    with pytest.raises(VerificationFailed) as refused:
        send(manifest, Plan.of(manifest), tmp_path, [bound], looked=seen.looked)
    assert refused.value.reason == "changed-while-reading"


def test_rule_33_other_bytes_for_the_child_than_for_us_end_the_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.bin").write_bytes(PICKLE)

    def other(_data: bytes, size: int) -> Blocks:
        told = Blocks(size)
        told.add(0, bytes(32))
        return told

    monkeypatch.setattr(child.Blocks, "unpacked", other)
    with pytest.raises(VerificationFailed) as refused:
        inspect(tmp_path, "directory", ["weights.bin"])
    assert refused.value.reason == "changed-while-reading"
    assert "weights.bin" in refused.value.what


def test_rule_33_what_this_process_searched_before_is_held_against_the_bytes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`release` searches a file once in each of its states, as the file system tells them."""
    path, words = tmp_path / "w.txt", b"words " * 30_000
    path.write_bytes(words + b"w" * len(TOKEN) + words)
    state = path.stat()
    monkeypatch.setattr(os, "fstat", lambda _descriptor: state)
    assert inspect(tmp_path, "directory", ["w.txt"]).secrets == {}
    path.write_bytes(words + TOKEN + words)
    seen = inspect(tmp_path, "directory", ["w.txt"])
    assert seen.secrets == {}  # not searched again, since its state is the same
    monkeypatch.undo()
    with pytest.raises(VerificationFailed) as refused:
        hash_files(tmp_path, [Entry(name="w.txt", size=state.st_size)], looked=seen.looked)
    assert refused.value.reason == "changed-while-reading"


def test_of_tensors_the_look_reads_the_header_alone(tmp_path: Path) -> None:
    size = 64 * KIB * KIB
    told = {"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    said = json.dumps(told).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(said).to_bytes(8, "little") + said)
    os.truncate(path, 8 + len(said) + size)
    seen = inspect(tmp_path, "directory", ["w.safetensors"]).looked["w.safetensors"]
    assert seen.count == 1025
    assert len(seen.digests) <= 4  # the header, and where an archive would end
