"""A store that answers with something else: objects that are flipped, cut, dropped, swapped or of
another release, and listings of an earlier day. Nothing of it is opened.

What is opened is watched where it is: keys that are unwrapped, and AES-GCM that is decrypted.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import aead

from sovgate.errors import SovgateError
from sovgate.formats import chunk, plan
from sovgate.formats.transfer import chunk_name, object_name, record_name
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.project import Project, open_project
from sovgate.records import Options, Release
from sovgate.stages import transfer
from sovgate.stores.file import FileStore
from tests.crossing import Crossing, make_crossing, tree
from tests.effort import some

SIZE = 4096
FILES = {
    "a.bin": random.Random(1).randbytes(3 * SIZE + 1),
    "b.bin": random.Random(2).randbytes(3 * SIZE),
    "c.json": b'{"layers": 2}',
}
FIRST = Release(model="churn", version="1.0.0")
SECOND = Release(model="churn", version="1.1.0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two releases of one model in one store: nothing but their names tells them apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk, "SIZE", SIZE)
        patch.setattr(plan, "PART_SIZE", 3 * SIZE)
        crossing = make_crossing(tmp_path_factory.mktemp("made") / "project", FILES)
        for release in (FIRST, SECOND):
            crossing.push(release=str(release))
        yield crossing.base


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    base = shutil.copytree(made, tmp_path / "project")
    return Crossing(base=base, model=base / "model")


@dataclass
class Opened:
    """What was opened so far: how often a key was unwrapped, and what AES-GCM decrypted, as it
    lies in a store."""

    unwrapped: int = 0
    decrypted: list[bytes] = field(default_factory=list)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Opened:
    seen, real, identity = Opened(), aead.AESGCM, Project.identity

    class Watched:
        def __init__(self, key: bytes) -> None:
            self._inner = real(key)

        def decrypt(self, iv: bytes, data: bytes, ad: bytes | None) -> bytes:
            seen.decrypted.append(bytes(iv) + bytes(data))
            return self._inner.decrypt(iv, data, ad)

        def decrypt_into(self, iv: bytes, data: Any, ad: bytes | None, into: Any) -> int:
            seen.decrypted.append(bytes(iv) + bytes(data))
            return self._inner.decrypt_into(iv, data, ad, into)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    class Unwrapping:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def unwrap(self, *words: Any) -> bytes:
            seen.unwrapped += 1
            found: bytes = self._inner.unwrap(*words)
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    monkeypatch.setattr(aead, "AESGCM", Watched)
    monkeypatch.setattr(Project, "identity", lambda self, zone: Unwrapping(identity(self, zone)))
    return seen


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The objects of a release, by what they are."""

    chunks: tuple[str, ...]
    lists: tuple[str, ...]
    tables: tuple[str, ...]

    @classmethod
    def of(cls, work: Crossing, release: Release) -> Parts:
        trusted = open_project(work.base).trusted()
        found = transfer.read_record(work.store, release, trusted)
        assert found is not None
        parts = found.transfer.parts
        return cls(
            chunks=tuple(
                chunk_name(one.sha256) for one in transfer.chunks_of(work.store, found.transfer)
            ),
            lists=tuple(object_name(part.list.sha256) for part in parts),
            tables=tuple(object_name(part.keytable.sha256) for part in parts),
        )


def at(work: Crossing, name: str) -> Path:
    return work.base / "eu-store" / name


def put(path: Path, data: bytes | None) -> None:
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


#: What becomes of an object: its bytes, those of a sibling, and those of the other release's.
LIES: dict[str, Callable[[bytes, bytes, bytes], bytes | None]] = {
    "flipped at its beginning": lambda own, _sibling, _other: flipped(own, 0),
    "flipped in its middle": lambda own, _sibling, _other: flipped(own, len(own) // 2),
    "flipped at its end": lambda own, _sibling, _other: flipped(own, len(own) - 1),
    "cut": lambda own, _sibling, _other: own[:-1],
    "longer": lambda own, _sibling, _other: own + b"\0",
    "empty": lambda _own, _sibling, _other: b"",
    "dropped": lambda _own, _sibling, _other: None,
    "a sibling": lambda _own, sibling, _other: sibling,
    "of another release": lambda _own, _sibling, other: other,
}
KINDS = ("chunks", "lists", "tables")


def pulled(work: Crossing, release: Release = FIRST) -> None:
    options = Options(project=work.base)
    pull(release, zone="eu", output=work.base / "out", options=options)


@pytest.mark.parametrize(("kind", "lie"), [(kind, lie) for kind in KINDS for lie in LIES])
def test_a_part_that_is_another_is_refused_before_it_is_opened(
    work: Crossing, watched: Opened, kind: str, lie: str
) -> None:
    own, other = Parts.of(work, FIRST), Parts.of(work, SECOND)
    names: tuple[str, ...] = getattr(own, kind)
    for place in some(range(len(names)), by=(kind, lie)):
        path = at(work, names[place])
        good = path.read_bytes()
        sibling = at(work, names[place - 1]).read_bytes()
        foreign = at(work, getattr(other, kind)[place]).read_bytes()
        assert good not in (sibling, foreign)
        planted = LIES[lie](good, sibling, foreign)
        put(path, planted)
        watched.unwrapped, watched.decrypted = 0, []
        with pytest.raises(SovgateError) as error:
            pulled(work)
        assert error.value.exit_code in (11, 21)
        nothing_is_left(work)
        if kind == "lists":
            assert (watched.unwrapped, watched.decrypted) == (0, []), "no key service is asked"
        elif kind == "tables":
            tables = {at(work, name).read_bytes() for name in names[:place]}
            assert set(watched.decrypted) <= tables, "neither this one nor a chunk"
        else:
            assert watched.decrypted.count(planted or b"") <= (lie == "a sibling")
        at(work, names[place]).unlink(missing_ok=True)
        path.write_bytes(good)
    watched.decrypted = []
    pulled(work)
    assert tree(work.base / "out") == FILES
    every = {at(work, name).read_bytes() for name in (*own.tables, *own.chunks)}
    assert set(watched.decrypted) == every, "what is opened is seen"


def nothing_is_left(work: Crossing) -> None:
    assert not (work.base / "out").exists()
    for path in work.base.rglob("*"):
        if path.is_file() and not path.is_relative_to(work.model):
            data = path.read_bytes()
            assert not any(known[:64] in data for known in FILES.values() if len(known) > 64), path


def test_two_chunks_in_each_others_place_are_no_model(work: Crossing, watched: Opened) -> None:
    own = Parts.of(work, FIRST)
    first, second = (at(work, name) for name in own.chunks[:2])
    one, two = first.read_bytes(), second.read_bytes()
    put(first, two)
    put(second, one)
    with pytest.raises(SovgateError) as error:
        pulled(work)
    assert error.value.reason == "damaged"
    nothing_is_left(work)
    assert one not in watched.decrypted
    assert two not in watched.decrypted


@pytest.mark.parametrize("lie", ["of another release", "half", "empty"])
def test_a_record_that_is_another_is_refused_before_all_else(
    work: Crossing, watched: Opened, lie: str
) -> None:
    path, other = at(work, record_name(FIRST)), at(work, record_name(SECOND)).read_bytes()
    data = {"of another release": other, "half": other[: len(other) // 2], "empty": b""}[lie]
    put(path, data)
    with pytest.raises(SovgateError) as error:
        pulled(work)
    assert error.value.exit_code == 11
    assert (watched.unwrapped, watched.decrypted) == (0, [])
    nothing_is_left(work)


# -- listings of an earlier day


@pytest.fixture
def stale(work: Crossing, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """From now on listings below these folders are without what the second release wrote."""
    real = FileStore.list

    def hide(*folders: str) -> None:
        hidden = {record_name(SECOND), "sequences/churn/000000000002.json"}

        def listed(store: FileStore, prefix: str) -> Iterator[str]:
            for name in real(store, prefix):
                if not (name in hidden and name.startswith(folders)):
                    yield name

        monkeypatch.setattr(FileStore, "list", listed)

    return hide


def before_and_after(work: Crossing) -> dict[str, bytes]:
    store = work.base / "eu-store"
    return {**tree(store / "releases"), **tree(store / "sequences")}


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        (("releases/", "sequences/"), "sequence-busy"),
        (("sequences/",), "sequence"),
    ],
)
def test_rule_37_a_listing_without_the_newest_release_lets_no_number_come_again(
    work: Crossing, stale: Callable[..., None], folders: tuple[str, ...], reason: str
) -> None:
    before = before_and_after(work)
    stale(*folders)
    error = work.push(release="churn/1.2.0", code=21 if reason == "sequence-busy" else 11)["error"]
    assert error["reason"] == reason
    assert before_and_after(work) == before


def test_rule_37_a_listing_without_the_newest_record_alone_changes_nothing(
    work: Crossing, stale: Callable[..., None]
) -> None:
    """Its claim is there, and its record is asked for by name."""
    stale("releases/")
    assert work.push(release="churn/1.2.0")["sequence"] == 3
    trusted = open_project(work.base).trusted()
    third = transfer.read_record(work.store, Release(model="churn", version="1.2.0"), trusted)
    assert third is not None
    assert third.transfer.predecessor is not None
    assert third.transfer.predecessor.release == SECOND


def test_a_release_is_found_by_its_name_and_not_by_a_listing(
    work: Crossing, stale: Callable[..., None]
) -> None:
    stale("releases/", "sequences/", "chunks/", "objects/")
    pulled(work, SECOND)
    assert tree(work.base / "out") == FILES
    assert work.push(release=str(SECOND))["already"] is True
