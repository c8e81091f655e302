"""One file of a release, or a range of it: the chunks that it needs, each verified before it opens.

RULES 12. The model is encrypted once; nothing here writes to a disk.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sovgate.errors import InternalError, StoreError, VerificationFailed
from sovgate.formats.chunk import OVERHEAD, SIZE
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.plan import Content, Plan
from sovgate.stages.encrypt import Bound, Opened, Span, read, send

LARGE = random.Random(1).randbytes(2 * SIZE + 4321)
FILES = {
    "a/config.json": b'{"layers": 2}',
    "a/empty": b"",
    "b/again.json": b'{"layers": 2}',
    "b/weights.bin": LARGE,
    "z/tokenizer": LARGE[:70_000],
}


@dataclass
class Sealed:
    """The chunks of a model as a store holds them, and which of them were asked for."""

    manifest: Manifest
    part: Opened
    chunks: dict[str, bytes]
    fetched: list[str] = field(default_factory=list)

    def get(self, name: str, view: memoryview) -> None:
        self.fetched.append(name)
        data = self.chunks[name]
        view[: len(data)] = data

    def content(self, name: str) -> Content:
        (one,) = [r for r in self.manifest.resources if r.name == name]
        return Content(digest=one.digest, size=one.size, name=name)

    def span(self, name: str, start: int = 0, stop: int | None = None) -> Span:
        content = self.content(name)
        return Span(content=content, start=start, stop=content.size if stop is None else stop)

    def read(self, span: Span, get: Callable[[str, memoryview], None] | None = None) -> bytes:
        return b"".join(map(bytes, read([self.part], span, "eu", get or self.get)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    root = tmp_path_factory.mktemp("model")
    for name, data in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    manifest = Manifest(
        kind="directory",
        resources=tuple(
            Resource(name=name, size=len(data), digest=hashlib.sha256(data).hexdigest())
            for name, data in FILES.items()
        ),
    )
    chunks: dict[str, bytes] = {}
    lock = threading.Lock()

    def put(name: str, data: memoryview) -> None:
        with lock:
            chunks[name] = bytes(data)

    plan = Plan.of(manifest)
    (sent,) = send(manifest, plan, root, [Bound(zone="eu", put=put)])
    part = Opened(units=plan.units, digests=sent.digests, keys=sent.keys)
    return Sealed(manifest=manifest, part=part, chunks=chunks)


@pytest.fixture
def sealed(made: Sealed) -> Sealed:
    return Sealed(manifest=made.manifest, part=made.part, chunks=dict(made.chunks))


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_what_was_signed(sealed: Sealed, name: str) -> None:
    assert sealed.read(sealed.span(name)) == FILES[name]


RANGES = [
    (0, 1, 1),
    (5, 5, 0),
    (SIZE - 1, SIZE, 1),
    (SIZE, SIZE + 1, 1),
    (SIZE - 3, SIZE + 3, 2),
    (SIZE, 2 * SIZE, 1),
    (2 * SIZE, len(LARGE), 1),
    (len(LARGE) - 1, len(LARGE), 1),
    (1, len(LARGE), 3),
]


@pytest.mark.parametrize(("start", "stop", "chunks"), RANGES)
def test_a_range_fetches_the_chunks_that_it_needs_and_no_other(
    sealed: Sealed, start: int, stop: int, chunks: int
) -> None:
    assert sealed.read(sealed.span("b/weights.bin", start, stop)) == LARGE[start:stop]
    assert len(sealed.fetched) == len(set(sealed.fetched)) == chunks


def test_of_a_pack_no_byte_of_another_file_is_given_out(sealed: Sealed) -> None:
    assert sealed.read(sealed.span("z/tokenizer", 10, 20)) == LARGE[10:20]
    assert sealed.read(sealed.span("a/config.json", 0, 4)) == FILES["a/config.json"][:4]
    assert len(set(sealed.fetched)) == 1


@pytest.mark.parametrize("name", ["a/empty", "b/weights.bin"])
def test_nothing_is_fetched_for_no_byte(sealed: Sealed, name: str) -> None:
    assert sealed.read(sealed.span(name, 0, 0)) == b""
    assert sealed.fetched == []


def spoilt(data: bytes) -> dict[str, bytes]:
    return {
        "a flipped bit": data[:99] + bytes([data[99] ^ 1]) + data[100:],
        "shorter": data[:-1],
        "nothing": b"",
        "zeros": bytes(len(data)),
    }


@pytest.mark.parametrize(
    ("place", "how"),
    [
        (0, "a flipped bit"),
        (1, "shorter"),
        (1, "nothing"),
        (2, "zeros"),
    ],
)
def test_rule_12_of_a_chunk_that_was_changed_no_byte_is_given_out(
    sealed: Sealed, place: int, how: str
) -> None:
    unit = next(unit for unit in sealed.part.units if unit.chunks == 3)
    name = sealed.part.digests[unit.first + place].hex()
    sealed.chunks[name] = spoilt(sealed.chunks[name])[how]
    given = bytearray()
    with pytest.raises(VerificationFailed) as caught:
        for view in read([sealed.part], sealed.span("b/weights.bin"), "eu", sealed.get):
            given += view
    assert caught.value.reason == "damaged"
    assert len(given) <= place * SIZE
    assert LARGE.startswith(given)


def test_rule_12_chunks_that_changed_places_are_refused(sealed: Sealed) -> None:
    unit = next(unit for unit in sealed.part.units if unit.chunks == 3)
    one, other = (sealed.part.digests[unit.first + place].hex() for place in (0, 1))
    sealed.chunks[one], sealed.chunks[other] = sealed.chunks[other], sealed.chunks[one]
    with pytest.raises(VerificationFailed, match="damaged"):
        sealed.read(sealed.span("b/weights.bin", 0, 5))


@pytest.mark.parametrize("name", ["b/weights.bin", "z/tokenizer"])
def test_a_list_of_other_bytes_than_were_signed_does_not_end_well(
    sealed: Sealed, name: str
) -> None:
    """Whoever made the chunks lied: of a pack nothing is given out, a long file ends with 11."""
    span, held = sealed.span(name), sealed.content(name)
    other = "ab" * 32
    units = []
    for unit in sealed.part.units:
        contents = tuple(
            Content(digest=other, size=one.size, name=one.name) if one == held else one
            for one in unit.contents
        )
        units.append(type(unit)(contents=contents, first=unit.first, size=unit.size))
    part = Opened(units=tuple(units), digests=sealed.part.digests, keys=sealed.part.keys)
    lied = Span(content=Content(digest=other, size=held.size, name=name), start=0, stop=held.size)
    given = bytearray()
    with pytest.raises(VerificationFailed) as caught:
        for view in read([part], lied, "eu", sealed.get):
            given += view
    assert caught.value.reason == "digest-mismatch"
    assert (len(given) == 0) is (name == "z/tokenizer")
    with pytest.raises(InternalError):
        list(read([part], span, "eu", sealed.get))


def test_another_zones_chunks_do_not_open(sealed: Sealed) -> None:
    with pytest.raises(VerificationFailed, match="damaged"):
        list(read([sealed.part], sealed.span("z/tokenizer"), "ch", sealed.get))


def test_what_a_store_raises_is_what_is_heard(sealed: Sealed) -> None:
    def gone(name: str, view: memoryview) -> None:
        raise StoreError("no answer", reason="no-answer")

    with pytest.raises(StoreError, match="no answer"):
        sealed.read(sealed.span("b/weights.bin"), gone)


def test_whoever_stops_in_the_middle_leaves_no_thread_behind(sealed: Sealed) -> None:
    before = threading.active_count()
    views = read([sealed.part], sealed.span("b/weights.bin"), "eu", sealed.get)
    next(views)
    views.close()
    assert threading.active_count() == before


def test_secrets_are_in_no_repr(sealed: Sealed) -> None:
    seen: list[str] = []

    def get(name: str, view: memoryview) -> None:
        sealed.get(name, view)
        assert len(view) > OVERHEAD
        seen.append(name)

    sealed.read(sealed.span("z/tokenizer"), get)
    assert seen
    assert sealed.part.keys[0].hex() not in repr(sealed.part)
