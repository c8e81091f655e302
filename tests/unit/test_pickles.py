"""RULES 34: a pickle is known by its content, whatever its name and wrapping. Nothing loads it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sovgate.pipeline.decide import contents
from sovgate.scanner.child import Scanner
from sovgate.stages import inventory
from tests.effort import effort, examples, memory
from tests.scanned import found, opened

ROOT = Path(__file__).resolve().parents[2]


class Trap:
    """Creates a file where it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return (os.mkdir, (self.path, 0o700))


@pytest.fixture(autouse=True)
def _scanner() -> Iterator[None]:
    """One child a test, as one scan has one."""
    global _SCANNER
    with Scanner() as _SCANNER:
        yield


_SCANNER: Scanner


def why(name: str, data: bytes) -> str | None:
    seen = found(name, data, _SCANNER)
    return None if seen is None else str(seen)


def archive(*members: tuple[str, bytes], deflated: bool = False, before: bytes = b"") -> bytes:
    out = io.BytesIO()
    out.write(before)
    how = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "a", how) as made:
        for name, data in members:
            made.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_known_under_any_name(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps(Trap(str(tmp_path / "sprung")), protocol=protocol)
    for name in ("weights.bin", "model.safetensors.bak", "README.txt", "noname", "a.npy", "a.pt"):
        assert why(name, data), (name, protocol)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(data)  # noqa: S301 - the trap is real
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_nonsense_after_the_call_does_not_hide_it(protocol: int) -> None:
    """Loading runs what comes first, and fails only then."""
    data = pickle.dumps(Trap("x"), protocol=protocol)
    assert data.endswith(b".")
    assert why("weights.bin", data[:-1] + b"\xff\xff\xff")
    assert why("weights.bin", data[:-1])


@pytest.mark.parametrize("protocol", range(6))
def test_much_data_before_the_call_does_not_hide_it(protocol: int, tmp_path: Path) -> None:
    """Neither many opcodes nor one long argument, and nothing is read into memory for it."""
    many = [list(range(30_000)), Trap(str(tmp_path / "x"))]
    long = ["a" * 5_000_000, b"b" * 5_000_000, Trap(str(tmp_path / "x"))]
    for value in (many, long):
        assert why("weights.bin", pickle.dumps(value, protocol=protocol))


def test_what_cannot_be_looked_through_counts_as_one() -> None:
    """Bounded in time and memory, and on the side of naming one too many."""
    for data, counts in ((b"V", True), (b"(" * 200_000, False), (b"words of a text", False)):
        with opened(data, 2**40) as descriptor:
            assert (_SCANNER.scan("weights.bin", descriptor) is not None) is counts, data[:9]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_data_of_a_marked_protocol_is_a_pickle(protocol: int) -> None:
    assert why("weights.bin", pickle.dumps({"w": list(range(100_000))}, protocol=protocol))


def test_wrappings_of_pickles() -> None:
    objects, numbers = io.BytesIO(), io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    np.save(numbers, np.zeros(3))
    compressed = io.BytesIO()
    joblib.dump({"w": np.arange(10)}, compressed, compress=3)
    plain = io.BytesIO()
    joblib.dump({"w": np.arange(10)}, plain)
    assert why("a.npy", objects.getvalue())
    assert why("a.bin", plain.getvalue())
    assert why("a.joblib", compressed.getvalue())
    assert why("a.npz", archive(("a.npy", objects.getvalue()), deflated=True))
    assert why("a.bin", archive(("archive/data.pkl", b"x"), ("archive/data/0", b"y")))
    assert why("a.bin", archive(("a/data.pkl", b"x"), before=b"something before"))
    assert why("a.npy", numbers.getvalue()) is None
    assert why("a.npz", archive(("a.npy", numbers.getvalue()), deflated=True)) is None
    structured = io.BytesIO()
    np.save(structured, np.zeros(2, dtype=[("a", "O"), ("b", "i4")]), allow_pickle=True)
    assert why("a.npy", structured.getvalue())


def array(descr: str, *, version: int = 1, path: str) -> bytes:
    """A NumPy file whose header spells its dtype as its author likes, and whose body is a trap."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
    length = len(head).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + head + pickle.dumps(Trap(path))


SPELLINGS = [
    "'|O'",
    r"'|\x4f'",
    r"'\117'",
    "'|' 'O'",
    "'object'",
    "'i4,O'",
    "('O', (1,))",
    " " * 70_000 + "'|O'",
    "[('a', [('b', 'O')])]",
]


@pytest.mark.parametrize("descr", SPELLINGS, ids=lambda text: text.strip())
@pytest.mark.filterwarnings("ignore")
def test_no_spelling_of_a_dtype_hides_an_array_of_objects(descr: str, tmp_path: Path) -> None:
    data = array(descr, version=2, path=str(tmp_path / "sprung"))
    for name in ("a.npy", "weights.bin"):
        assert why(name, data)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        for member in ("a.npy", "a", "a.txt"):
            made = io.BytesIO()
            with zipfile.ZipFile(made, "w", method) as packed:
                packed.writestr(member, data)
            assert why("a.npz", made.getvalue()), (method, member)
    with pytest.raises(Exception):  # noqa: B017 - after the trap NumPy may say anything
        np.load(io.BytesIO(data), allow_pickle=True).tolist().nothing  # noqa: B018
    assert (tmp_path / "sprung").exists()


def tar(*names: str, form: int = tarfile.USTAR_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 700
            packed.addfile(member, io.BytesIO(bytes(700)))
    return made.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_that_torch_takes_pickles_from_is_known_under_any_name(form: int) -> None:
    """torch.load of anything that is no zip tries that first, and runs what is in `storages`."""
    for names in (("storages", "tensors", "pickle"), ("a", "storages"), ("w/model.ckpt",)):
        assert why("pytorch_model.bin", tar(*names, form=form)), names
    assert why("images.tar", tar("a.jpg", "b/c.json", form=form)) is None
    assert why("images.tar", tar("a/" * 60 + "b", "c", form=form)) is None
    assert why("images.tar", tar("a/" * 60 + "b", "a/" * 60 + "w.ckpt", form=form))


def test_empty_blocks_before_a_packed_array_do_not_hide_it(tmp_path: Path) -> None:
    data = array("'|O'", path=str(tmp_path / "x"))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"\x00\x00\x00\xff\xff" * 4000 + packer.compress(data) + packer.flush()
    stored = bytearray(archive(("a.npy", packed)))
    for at, mark in ((8, b"PK\x03\x04"), (10, b"PK\x01\x02")):
        place = stored.rindex(mark) + at
        stored[place : place + 2] = b"\x08\x00"
    assert why("a.npz", bytes(stored))


def test_a_zip64_archive_is_read_and_one_of_two_directories_counts_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)  # what else takes an archive of gigabytes
    for before in (b"", b"something before"):
        good = archive(("a/b", b"0" * 100), ("c", b"1" * 100), before=before)
        assert b"PK\x06\x06" in good
        assert why("a.bin", good) is None
        assert why("a.bin", archive(("a/b", b"0" * 100), ("c.pkl", b"1" * 100), before=before))
        locator = good.rindex(b"PK\x06\x07") + 8
        assert why("a.bin", good[:locator] + b"\x01" + good[locator + 1 :])
        # Readers that follow the locator, and readers that look before it, would differ.
        planted = b"PK\x06\x06" + bytes(52)
        assert why("a.bin", good[: locator - 8] + planted + good[locator - 8 :])


@pytest.mark.parametrize("how", ["zlib", "gzip", "bz2", "xz", "lzma"])
@pytest.mark.parametrize("protocol", range(6))
def test_what_joblib_unpacks_unasked_is_looked_into(
    how: str, protocol: int, tmp_path: Path
) -> None:
    """It goes by the first bytes, so a compressed pickle is one under any name."""
    trap = tmp_path / "sprung"
    with joblib.numpy_pickle_utils._write_fileobject(str(tmp_path / "w"), (how, 3)) as file:
        file.write(pickle.dumps(["a" * 3_000_000, Trap(str(trap))], protocol=protocol))
    data = (tmp_path / "w").read_bytes()
    for name in ("weights.bin", "model.dat", "noname", "m.pkl.gz"):
        assert why(name, data), name
    assert not trap.exists()
    joblib.load(tmp_path / "w")
    assert trap.exists()


def test_a_compressed_pickle_hides_behind_nothing() -> None:
    trap = pickle.dumps(Trap("x"))
    assert why("weights.bin", gzip.compress(b"") + gzip.compress(trap))
    assert why("weights.bin", gzip.compress(trap)[:-9])
    assert why("weights.bin", b"ZF0x1f" + b" " * 13 + zlib.compress(trap))
    greedy = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    assert why("weights.bin", lzma.compress(trap, filters=greedy))
    assert why("model.pkl.zst", b"\x28\xb5\x2f\xfd" + bytes(20))


def test_what_is_compressed_and_no_pickle_is_not_named_one() -> None:
    rng = random.Random(7)
    texts = [b"words of a text\n" * 9999, b"", b"{}", b"Base of it\n" * 99, rng.randbytes(99_999)]
    for data in texts:
        alone = lzma.compress(data, format=lzma.FORMAT_ALONE)
        for pack in (gzip.compress, bz2.compress, lzma.compress, zlib.compress):
            assert why("data.csv.gz", pack(data)) is None, data[:9]
        assert why("data.csv.lzma", alone) is None
    for data in (b"x = 1\n", b"x^2 + 1", b"BZh9 is a magic", b"]\0", b"\x1f\x8b", b"\xfd7zXZ\0"):
        assert why("notes.txt", data) is None, data


@pytest.mark.parametrize("packer", [zlib.compressobj(9), bz2.BZ2Compressor()])
def test_a_bomb_is_looked_through_in_bounded_work_and_memory(packer: Any) -> None:
    bomb = packer.compress(b"V") + b"".join(packer.compress(bytes(1 << 20)) for _ in range(300))
    bomb += packer.flush()
    with memory(megabytes=32), effort(most=100_000):
        assert why("weights.bin", bomb)


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=300), st.sampled_from(("a.pt", "a.bin", "a.npz", "a.joblib", "a")))
@example(b"PK\x03\x04" + bytes(40), "a")
@example(b"PK\x05\x06" + b"\xff" * 18, "a")
@example(b"\x93NUMPY\x01\x00", "a.npy")
def test_no_bytes_end_the_child_that_looks_at_them(data: bytes, name: str) -> None:
    wrapped = b"PK\x03\x04" + data + b"PK\x05\x06" + data[:18]
    for given_ in (data, b"\x80\x04" + data, wrapped):
        assert "within its limits" not in str(why(name, given_))


def test_a_zip_that_cannot_be_read_counts_as_one() -> None:
    whole = archive(("a.txt", b"x"))
    assert why("a.zip", whole) is None
    assert why("a.zip", whole[:-30])
    assert why("a.zip", b"PK\x03\x04" + bytes(100))


def test_the_name_decides_where_the_content_does_not() -> None:
    for ending in ("pt", "pth", "ckpt", "pkl", "pickle", "joblib"):
        assert why(f"sub/model.{ending}", b"\x00\x01\x02\x03 something else")
    assert why("model.pt", b"\x89HDF\r\n\x1a\n" + bytes(20)) is None
    assert why("empty.pt", b"") is None


def test_what_is_no_pickle_is_not_named_one() -> None:
    rng = random.Random(7)
    noise = [rng.randbytes(4096) for _ in range(5000)]
    assert sum(why("data.bin", data) is not None for data in noise) == 0
    texts = [
        b"click==8.5\ncryptography\nboto3\n",
        b"cat\ndog\nbird\nRob\n",
        b"core\nfoo\nbar\n",
        b"{}",
        b"].",
        b"I'm text.",
        b"(see below)\ncos\n.",
    ]
    for data in texts:
        assert why("vocab.txt", data) is None, data
    for path in sorted(ROOT.glob("sovgate/**/*.py")) + sorted(ROOT.glob("*.md")):
        assert why(path.name, path.read_bytes()) is None, path


def test_the_pickles_of_a_model_are_a_fact_for_policy(tmp_path: Path) -> None:
    """`contents.look_into` names them, without loading any."""
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    trap = pickle.dumps(Trap(str(tmp_path / "sprung")))
    (model / "sub" / "z.bin").write_bytes(trap)
    (model / "a.txt").write_bytes(b"text")
    (model / "b.data").write_bytes(trap)
    taken = inventory.take(model)
    seen = contents.look_into(model, taken.manifest, None)
    assert sorted(seen.admitted.inspected.pickles) == ["b.data", "sub/z.bin"]
    assert (seen.contents["pickles"], seen.contents["pickle"]) == (2, "b.data")
    for name, first in (("b.data", "b.data"), ("a.txt", None)):
        file = model / name
        seen = contents.look_into(file, inventory.take(file).manifest, None)
        assert seen.contents["pickle"] == first
    assert not (tmp_path / "sprung").exists()
