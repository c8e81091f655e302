"""RULES 34: a pickle that JSON keeps in base64 counts as one, in whatever wrapping."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import re
import zipfile
import zlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.scanner import texts as in_json
from sovgate.scanner.child import Scanner
from tests.scanned import found


class Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("ran",)


RUNS = [pickle.dumps(Runs(), protocol) for protocol in range(6)]
TEXT = base64.b64encode(RUNS[4]).decode()


def kept(text: str) -> bytes:
    """As stable-baselines3 keeps an object in `data`."""
    return json.dumps({"policy_class": {":type:": "x", ":serialized:": text}}).encode()


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data", data)
        archive.writestr("_stable_baselines3_version", "2.3.0")
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Runs()], dtype=object), allow_pickle=True)
    return out.getvalue()


def test_rule_34_a_pickle_in_base64_in_json_is_one() -> None:
    small = zlib.compressobj(wbits=9)  # whatever packs a file packs a text
    packed = [one(RUNS[2]) for one in (zlib.compress, gzip.compress, bz2.compress, zipped)]
    packed += [small.compress(RUNS[2]) + small.flush(), lzma.compress(RUNS[2])]
    packed += [lzma.compress(RUNS[2], format=lzma.FORMAT_ALONE)]
    files = [kept(base64.b64encode(data).decode()) for data in (*RUNS, *packed, array())]
    files += [
        kept(base64.urlsafe_b64encode(RUNS[4] + b"\xff\xfe\xfb").decode()),
        kept(TEXT.rstrip("=")),
        kept(f"!{TEXT[:9]} . {TEXT[9:]}"),  # base64.b64decode passes over the rest
        kept("\n".join(TEXT[at : at + 7] for at in range(0, len(TEXT), 7))),
        kept(TEXT).replace(b"gAS", b"\\u0067AS"),
        kept(TEXT).decode().encode("utf-16"),
        kept(TEXT).decode().encode("utf-32-be"),
        b"\xef\xbb\xbf \n" + kept(TEXT),
        b" " * 70_000 + kept(TEXT),
        kept("x" * 600_000 + '"')[:-3] + b'","' + TEXT.encode() + b'"}}',
        json.dumps([TEXT]).encode(),
        json.dumps({TEXT: 1}).encode(),
        json.dumps(TEXT).encode(),
        b'{"a": 1}\n{"b": "' + TEXT.encode() + b'"}\n',
    ]
    with Scanner() as scanner:
        for data in files:
            told = found("policy.json", data, scanner)
            assert told is not None and "in base64" in told.why, data[:90]
        told = found("ppo.zip", zipped(files[4]), scanner)
        assert told is not None
        assert str(told) == "a pickle that asks for builtins.print, in base64, in data"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(99)).decode(),
        base64.b64encode(b"GIF89a" + bytes(99)).decode(),
        base64.b64encode(zlib.compress(b"a table" * 9)).decode(),
        "ALQCAACEAAAAAACAAQAAgMz8AgC4BQAAhyIAgMzkAgC4PQAA",  # a charsmap of SentencePiece
        "StableDiffusionXLControlNetInpaintPipeline",
        "You are a helpful assistant. Copy it\nin full,\nand cite no source.\n",
        "{% for message in messages %}{{ message['content'] }}\n{% endfor %}",
        "\u00e9t\u00e9 \U0001f917",
    ],
)
def test_other_texts_of_json_are_none(text: str) -> None:
    assert found("policy.json", kept(text)) is None


def test_numbers_and_names_by_chance_are_none() -> None:
    chance = random.Random(20261128)
    texts = [chance.randbytes(chance.randrange(9, 60)) for _ in range(300)]
    words = {base64.b64encode(text).decode(): text.hex() for text in texts}
    assert found("tokenizer.json", json.dumps(words).encode()) is None


class Held:
    """A stream of bytes."""

    size = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]


@given(
    texts=st.lists(st.text(alphabet='ab"\\\n{}[]:, é\u20ac', max_size=40), max_size=30),
    plain=st.booleans(),
    spread=st.integers(1, 9),
)
def test_every_text_that_is_long_enough_is_given_and_no_other_is_cut(texts, plain, spread):
    """However texts follow each other, and wherever a piece of the file ends."""
    data = json.dumps({text: text[::-1] for text in texts}, ensure_ascii=plain).encode()
    every = re.findall(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', data, re.DOTALL)
    long_ = [one for one in every if len(json.loads(b'"%b"' % one)) >= 16]
    with mock.patch.object(in_json, "CHUNK", spread):
        given_ = list(in_json.texts(Held(data)))
    assert [one for one in given_ if len(json.loads(b'"%b"' % one)) >= 16] == long_
    assert set(given_) <= set(every)
