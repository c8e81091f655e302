"""RULES 34: whatever a real loader would run, the scanner names. Thousands of files, all generated.

The loaders run in a process of their own (`tests/loaders.py`); the scanner is the real one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import pickletools
import random
import struct
import sys
import tarfile
import types
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from sovgate.scanner import names
from sovgate.scanner.child import Scanner
from tests import loaders
from tests.scanned import found

SEED = 20261128


def scanned(files: list[bytes], name: str = "weights.bin") -> list[bool]:
    with Scanner() as scanner:
        return [found(name, data, scanner) is not None for data in files]


def compare(files: list[bytes]) -> dict[str, int]:
    """What loaders would do, counted; fails where the scanner calls clean what one asks for."""
    said = loaders.ask(files)
    missed = [
        (answer, data[:200])
        for answer, data, named in zip(said, files, scanned(files), strict=True)
        if answer != "-" and not named
    ]
    assert missed == []
    return {answer: said.count(answer) for answer in ("hit", "asked", "-")}


# --- streams of opcodes ---
NUMBERS = ["0", "1", "01", "00", "0x1", "0o7", "0b1", " 1", "1 ", "+1", "-1", "1_0", "1L", "9" * 30]
NUMBERS += [
    "1e3",
    "nan",
    "inf",
    "1.",
    ".5",
    "\t1",
    "1\r",
    "\u0661",
    "",
    "x",
    "True",
    "0x",
    "1" * 5000,
]
TEXTS = [
    "''",
    '"x"',
    "'\\x41'",
    "'",
    "x",
    "'\\'",
    "'a' ",
    "hit",
    "\\u0041",
    "\\",
    "sprung",
    "'sprung'",
]
CALLS = [
    b"csprung\nhit\n(tR",
    b"csprung\nhit\n)R",
    b"csprung\nhit\n]R",
    b"(isprung\nhit\n",
    b"(csprung\nhit\no",
    b"csprung\nhit\n)\x81",
    b"csprung\nhit\n)}\x92",
    b"\x8c\x06sprung\x8c\x03hit\x93)R",
    b"X\x06\x00\x00\x00sprungX\x03\x00\x00\x00hit\x93)R",
    b"U\x06sprungU\x03hit\x93)R",
    b"S'sprung'\nS'hit'\n\x93(tR",
    b"Vsprung\nVhit\n\x93)R",
    b"\x8c\x06sprung\x94\x8c\x03hit\x94\x93\x94h\x02)R",
    b"\x82\x70)R",
    b"\x83\x70\x00)R",
    b"\x84\x70\x00\x00\x00)R",
    b"csprung\nhit\n)\x81}b",
    b"csprung\nhit\n",
]


def argument(rng: random.Random, opcode: pickletools.OpcodeInfo) -> bytes:
    """An argument as the opcode takes it, or nearly so."""
    if opcode.arg is None:
        return b""
    size = opcode.arg.n
    if size == pickletools.UP_TO_NEWLINE:
        pool = (
            TEXTS if opcode.name in ("STRING", "UNICODE", "PERSID", "GLOBAL", "INST") else NUMBERS
        )
        count = 2 if opcode.name in ("GLOBAL", "INST") else 1
        return b"".join(rng.choice(pool).encode() + b"\n" for _ in range(count))
    if size >= 0:
        return bytes(rng.choice((0, 1, 2, 0x70, 255)) for _ in range(size))
    width = {-2: 1, -3: 4, -4: 4, -5: 8}[size]
    length = rng.choice((0, 1, 3, 200))
    claimed = length if rng.random() < 0.9 else rng.choice((length + 1, 0xFF, 2**20, 2**63))
    return (claimed % 256**width).to_bytes(width, "little") + rng.randbytes(length)


def stream(rng: random.Random) -> bytes:
    """Opcodes in any order, with a call somewhere. Most leave the stack as a pickle may."""
    between = (b"0", b"2", b"q\x00", b"p0\n", b"\x94", b"(", b"1", b"r\0\0\0\0")
    pushing = [o for o in pickletools.opcodes if not o.stack_before and o.name not in ("PERSID",)]
    parts = [rng.choice((b"", b"", b"\x80\x02", b"\x80\x04", b"\x80\x05", b"\x80\x09"))]
    for _ in range(rng.randrange(5)):
        opcode = rng.choice(pushing if rng.random() < 0.8 else pickletools.opcodes)
        parts.append(opcode.code.encode("latin-1") + argument(rng, opcode))
        if rng.random() < 0.3:
            parts.append(rng.choice(between))
    parts.append(rng.choice(CALLS))
    parts.append(rng.choice((b".", b".", b"", b"0N.", b"\xff", rng.randbytes(9))))
    return b"".join(parts)


@pytest.mark.parametrize("number", [150, pytest.param(3000, marks=pytest.mark.thorough)])
def test_no_stream_of_opcodes_that_a_loader_would_run_is_called_clean(number: int) -> None:
    rng = random.Random(SEED)
    counts = compare([stream(rng) for _ in range(number)])
    assert counts["hit"] > number // 5, counts  # the streams are real
    assert counts["-"] > number // 40, counts  # and not all of them


class Sprung:
    def __init__(self, value: object) -> None:
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return sys.modules["sprung"].hit, (), self.value


@pytest.fixture
def sprung(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `pickle.dumps` finds what it is to name."""
    module = types.ModuleType("sprung")

    class Hit:
        pass

    Hit.__module__, Hit.__qualname__ = "sprung", "hit"
    module.hit = Hit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sprung", module)


def values(rng: random.Random) -> object:
    plain = [1, -1, 2**70, 1.5, None, True, "text", b"bytes", bytearray(b"x"), (), [], {}, {1}]
    mixed = rng.sample(plain[:9], 4)
    return [mixed, {"a": Sprung(mixed)}, Sprung({"w": 1}), mixed]


def changed(rng: random.Random, data: bytes) -> bytes:
    """One change: a byte, a cut, an insertion, a doubled part."""
    at, way = rng.randrange(len(data)), rng.randrange(5)
    if way == 0:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if way == 1:
        return data[:at] + data[at + rng.randrange(1, 4) :]
    if way == 2:
        return (
            data[:at] + rng.choice((b"0", b"(", b"N", b"N0", b"(1", b".", b"\x80\x04")) + data[at:]
        )
    if way == 3:
        return data[: at + 1]
    return data[:at] + data[max(0, at - 9) :]


def test_no_changed_pickle_that_a_loader_would_run_is_called_clean(sprung: None) -> None:
    rng = random.Random(SEED + 1)
    files = []
    for _ in range(800):
        data = pickle.dumps(values(rng), protocol=rng.randrange(6))
        for _ in range(rng.randrange(3)):
            data = changed(rng, data)
        files.append(data)
    counts = compare(files)
    assert counts["hit"] > 300, counts


# --- containers ---
def in_zip(rng: random.Random, data: bytes) -> bytes:
    out = io.BytesIO()
    if rng.random() < 0.2:
        out.write(b"something before")
    how = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(out, "a", how) as made:
        made.writestr("first.txt", b"text")
        made.writestr(rng.choice(("a/data.pkl", "w.bin", "x")), data)
        if rng.random() < 0.2:
            made.comment = b"a comment"
    return out.getvalue()


def tar(data: bytes, name: str = "x", form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for one, content in (("first", b"text"), (name, data)):
            member = tarfile.TarInfo(one)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return out.getvalue()


def in_tar(rng: random.Random, data: bytes) -> bytes:
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    return tar(data, rng.choice(("x", "y/" * 60 + "z", "storages")), form)


def in_array(rng: random.Random, data: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def after_others(rng: random.Random, data: bytes) -> bytes:
    """As torch.save of old: plain pickles first."""
    first = (119547037146038801333356, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(one, rng.randrange(6)) for one in first) + data


def odd_gzip(rng: random.Random, data: bytes) -> bytes:
    """What Python's gzip reads and zlib refuses: flags that nobody knows, sums that are wrong."""
    made = bytearray(gzip.compress(data))
    flags = rng.choice((0x20, 0x82, 0x0A, 0xE0))
    made[3] |= flags
    made[10:10] = (b"name\0" if flags & 8 else b"") + (b"zz" if flags & 2 else b"")
    if rng.random() < 0.3:
        made[-8:-4] = b"none"
    return bytes(made)


def odd_lzma(rng: random.Random, data: bytes) -> bytes:
    known = {"id": lzma.FILTER_LZMA1, "lc": rng.randrange(4), "lp": rng.randrange(2), "pb": 1}
    return lzma.compress(data, format=lzma.FORMAT_ALONE, filters=[known])


def odd_zlib(rng: random.Random, data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, rng.randrange(9, 16))
    return packer.compress(data) + packer.flush()


def odd_zip(rng: random.Random, data: bytes) -> bytes:
    """Behind something else, with its directory or its end far from the end of the file."""
    out = io.BytesIO()
    out.write(b"\0junk")
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as made:
        member = zipfile.ZipInfo("x")
        member.comment = b"c" * rng.choice((0, 65_535))
        made.writestr(member, data)
    return out.getvalue() + bytes(rng.choice((0, 1, 65_535, 65_536)))


def behind_array(_: random.Random, data: bytes) -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue() + data


PACKS: list[Callable[[random.Random, bytes], bytes]] = [
    in_zip,
    in_tar,
    in_array,
    after_others,
    lambda _, data: gzip.compress(data),
    lambda _, data: gzip.compress(b"") + gzip.compress(data),
    lambda _, data: gzip.compress(data) + b"after it",
    lambda _, data: gzip.compress(data)[:-6],
    lambda _, data: bz2.compress(data),
    lambda _, data: lzma.compress(data),
    lambda _, data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    lambda _, data: zlib.compress(data, random.Random(len(data)).randrange(10)),
    odd_gzip,
    odd_lzma,
    odd_zlib,
    odd_zip,
    behind_array,
]


@pytest.mark.parametrize("number", [15, pytest.param(120, marks=pytest.mark.thorough)])
def test_no_container_whose_content_a_loader_would_run_is_called_clean(
    sprung: None, number: int
) -> None:
    rng = random.Random(SEED + 2)
    files = []
    for _ in range(number):
        data = pickle.dumps(values(rng), protocol=rng.randrange(6))
        if rng.random() < 0.5:
            data = stream(rng)
        for _ in range(rng.randrange(1, 4)):
            data = rng.choice(PACKS)(rng, data)
        files.append(data)
    counts = compare(files)
    assert counts["hit"] > number // 6, counts


def test_no_damaged_container_whose_content_a_loader_would_run_is_called_clean(
    sprung: None,
) -> None:
    rng = random.Random(SEED + 3)
    files = []
    for _ in range(200):
        data = rng.choice(PACKS)(rng, pickle.dumps(Sprung({}), protocol=rng.randrange(6)))
        for _ in range(rng.randrange(1, 3)):
            data = changed(rng, data)
        files.append(data)
    assert compare(files)["hit"] > 10


# --- what has no pickle ---
def test_noise_is_hardly_ever_named() -> None:
    rng = random.Random(SEED + 4)
    named = sum(scanned([rng.randbytes(600) for _ in range(20_000)]))
    assert named <= 12  # one in 10,000, and a few by chance


def test_each_opcode_that_an_unpickler_knows_makes_a_file_worth_a_look() -> None:
    assert set(pickle._Unpickler.dispatch) == names.OPCODES  # type: ignore[attr-defined]


def arrays() -> dict[str, bytes]:
    out = {}
    for kind in ("f2", "f4", "f8", "i1", "u1", "i8", "c8", "?", "S3", "U3", "M8[s]"):
        made = io.BytesIO()
        np.save(made, np.zeros(9).astype(kind))
        out[f"{kind}.npy"] = made.getvalue()
    made = io.BytesIO()
    np.savez_compressed(made, a=np.arange(99), b=np.zeros((3, 3)))
    out["many.npz"] = made.getvalue()
    return out


HEADER = b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}%b}'
CLEAN: dict[str, bytes] = {
    **arrays(),
    "LICENSE": b"(c) 2024 Somebody\nAll rights reserved.\n",
    "COPYING": b"Copyright 2020 X\nPermission is granted\n",
    "NOTICE": b"copyright somebody\nand others\n",
    "README.md": b"Please read this.\nIt is short.\n",
    "lexicon": b"c c\n",
    "words": b"cat\ndog\n",
    "phones": b"P P\nb b\n",
    "tokens": b"cat 1\n",
    "labels.txt": b"cat\ndog\nbird\nRob\n",
    "classes.names": b"person\nbicycle\ncar\n",
    "requirements.txt": b"click==8.5\ncryptography\nboto3\n",
    "modeling.py": b"class Model:\n    pass\n",
    "table.csv": b"category,count\ncat,1\n",
    "image.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(40),
    "image.ppm": b"P6\n2 2\n255\n" + bytes(12),
    "image.bmp": b"BM" + struct.pack("<I", 70) + bytes(64),
    "image.jpg": b"\xff\xd8\xff\xe0" + bytes(40),
    "image.gif": b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(20),
    "sound.wav": b"RIFF" + bytes(40),
    "flax_model.msgpack": b"\x82\xa6params\x81\xa1w\xc4\x04" + bytes(4) + b"\xa1n\x01",
    "model.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "model.tflite": b"\x1c\x00\x00\x00TFL3" + bytes(40),
    "model.gguf": b"GGUF\x03\x00\x00\x00" + struct.pack("<QQ", 300, 20) + bytes(40),
    "saved_model.pb": b"\x08\x01\x12\x08" + bytes(40),
    "spiece.model": b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02",
    "table.parquet": b"PAR1\x15\x04\x15\n" + bytes(40) + b"PAR1",
    "tokenizer.json": b'{"version": "1.0"}',
    "table.tsv.gz": gzip.compress(b"class\tcount\ncat\t1\n"),
    "zeros.bin": bytes(100_000),
    "weights.bin": np.linspace(-1, 1, 999, dtype="<f4").tobytes(),
    "empty": b"",
    "old.zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("name", CLEAN)
def test_files_that_models_have_are_not_named(name: str) -> None:
    assert found(name, CLEAN[name]) is None


@pytest.mark.parametrize("length", range(2, 300, 7))
def test_a_safetensors_file_is_not_named_however_long_its_header(length: int) -> None:
    """Its first byte is the length of the header: some are opcodes."""
    header = HEADER % (b" " * length)
    for filler in (b"\0", b"a\n", b"\n"):
        data = struct.pack("<Q", len(header)) + header + (filler * 16)[:16]
        assert found("model.safetensors", data) is None, (length, filler)


def test_a_text_that_would_run_something_is_named_whatever_it_is_called() -> None:
    for name in ("README.md", "labels.txt", "a.py", "lexicon", "tokens"):
        assert found(name, b"cwords\nof a text\n0csprung\nhit\n(tR.")
        assert found(name, b"cos\nsystem\n")
        assert found(name, b"Please\ncsprung\nhit\n(S'x'\ntR.")


def test_a_text_that_asks_for_a_module_of_the_model_is_named() -> None:
    """RULES 34: with the model's folder on the path, it would be imported."""
    text = b"cevilmod\nx\n0 words of a text"
    assert found("weights.txt", text) is None
    for own in ("evilmod.py", "src/evilmod/__init__.py", "evilmod.cpython-311-x86_64-linux-gnu.so"):
        with Scanner([own, "weights.txt"]) as scanner:
            assert found("weights.txt", text, scanner), own
            assert found("other.txt", b"cother\nx\n0 words of a text", scanner) is None
            assert found("a.zip", archive(a=text), scanner), own


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return out.getvalue()


def test_a_zip_archive_that_two_readers_would_open_differently_is_named() -> None:
    """RULES 34: any doubt counts."""
    good = archive(a=b"text", b=b"more text")
    assert found("a.zip", good) is None
    evil = archive(x=pickle.dumps([1]))
    local = evil[: evil.index(b"PK\x01\x02")]
    differing = good.replace(b"\x01\x00\x00\x00a", b"\x01\x00\x00\x00z", 1)
    cases = {
        "two archives": evil + good,
        "a file that no directory names": local + good,
        "bytes after its end": good + b"x",
        "no directory": local,
        "another name in the directory": good.replace(b"atext", b"ztext", 1),
        "encrypted": good.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01"),
        "unknown method": good.replace(b"\x14\x00\x00\x00\x00\x00", b"\x14\x00\x00\x00\x5d\x00"),
        "directory cut": good.replace(b"PK\x01\x02", b"PK\x01\x03", 1),
    }
    assert differing
    for what, data in cases.items():
        assert data != good, what
        assert found("a.zip", data) is not None, what


def test_what_stands_behind_a_tar_is_looked_at() -> None:
    good, evil = (tar(data) for data in (b"text", pickle.dumps([1])))
    assert found("a.tar", good) is None
    assert found("a.tar", good + good) is None
    assert found("a.tar", good + evil)
    assert found("a.tar", good + bytes(4096) + evil)
    assert found("a.tar", good + b"no tar" * 200)
    assert found("a.tar", good[:700])


def test_budgets_end_what_never_ends() -> None:
    deep = pickle.dumps([1])
    for _ in range(12):
        deep = gzip.compress(deep)
    assert found("a.gz", deep)
    many = archive(**{f"f{number}": b"" for number in range(100_001)})
    assert found("a.zip", many)
    bomb = zlib.compressobj(9)
    data = bomb.compress(b"V") + b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200))
    assert found("a.bin", data + bomb.flush())


def test_rule_34_no_odd_container_hides_a_pickle(sprung: None) -> None:
    """Each of them alone, and within archives that are unpacked themselves."""
    rng, data = random.Random(SEED + 5), pickle.dumps(Sprung({}))
    odd = (odd_gzip, odd_lzma, odd_zlib, odd_zip, behind_array)
    files = [pack(rng, data) for pack in odd for _ in range(6)]
    files += [tar(one) for one in files] + [in_zip(rng, gzip.compress(one)) for one in files]
    assert compare(files)["hit"] >= 40


def test_what_is_packed_oddly_and_no_pickle_is_not_named_one() -> None:
    rng = random.Random(SEED + 6)
    table = np.zeros(3, dtype=[("a", "<f4"), ("b", "<U5", (2,)), ("c", "<M8[ns]")])
    arrays = io.BytesIO()
    for one in (np.zeros((2, 3)), np.float32(1), table, np.array(["a", "bcd"]), np.zeros(0)):
        np.save(arrays, one)
    large = io.BytesIO()
    np.savez_compressed(large, zeros=np.zeros(1_500_000))
    files = [pack(rng, b"words of a text") for pack in (odd_gzip, odd_lzma, odd_zlib)]
    files += [arrays.getvalue(), gzip.compress(tar(arrays.getvalue())), large.getvalue()]
    # The beginnings of files that are none of these, though they might be.
    files += [struct.pack("<4i", 1, first, 768, 0) + bytes(4000) for first in (1, 128, 192)]
    files += [b"H\x89" + rng.randbytes(99)]
    files += [b"\0junk" + b"PK\5\6" + rng.randbytes(40), b"", gzip.compress(b"")]
    assert scanned(files) == [False] * len(files)


def test_a_container_that_is_damaged_is_named() -> None:
    text = b"".join(b"%d words" % number for number in range(99_999))
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        packed = pack(text)
        assert found("data.bin", packed) is None
        assert found("data.bin", packed[:-20]) is not None
        assert found("data.bin", packed[:99] + b"damage" + packed[105:]) is not None


@pytest.mark.parametrize("magic", [magic for magic, _ in names.UNOPENED])
def test_what_nothing_here_can_open_is_named(magic: bytes) -> None:
    seen = found("data.bin", magic + bytes(40))
    assert seen is not None
    assert "may hold a pickle" in seen.why
