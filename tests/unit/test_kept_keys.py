"""The keys that a push keeps until it is through: the same chunk again, or none (RULES 9, 31)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sovgate.errors import DiskError, KeyServiceError, Malformed, UsageError
from sovgate.formats import chunk, wrap
from sovgate.formats.resume import ENTRY_SIZE, Course, Entry, Header, Signed, signed_bytes
from sovgate.keys.registry import open_identity, open_recipient
from sovgate.pipeline.look.keys import generate
from sovgate.stages.encrypt import kept
from sovgate.stages.encrypt.kept import Folder, KeptKeys, OwnKey, open_keys
from tests.effort import examples, memory
from tests.signers import KeySigner

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "resume.json").read_text(encoding="utf-8"))
COURSE = Course(
    release="churn/1.0.0",
    manifest="ab" * 32,
    source="home",
    zone="eu",
    key_id="44" * 32,
    store="s3://churn-eu",
)
SIGNER = KeySigner()
CHUNKS = 4


@contextmanager
def opened(
    base: Path,
    *,
    course: Course = COURSE,
    signer: KeySigner = SIGNER,
    own: OwnKey | None = None,
    chunks: int = CHUNKS,
) -> Iterator[KeptKeys]:
    folder = Folder(base, course)
    folder.open()
    try:
        keys = open_keys(folder, chunks, signer, own)
        yield keys
        keys.close()
    finally:
        folder.close()


def digest(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """What stands for a chunk: as of AES-GCM, another plaintext is another digest."""
    return hashlib.sha256(key + iv + plain).digest()


def send(keys: KeptKeys, place: int, plain: bytes = b"one") -> tuple[bytes, bytes, bytes]:
    """As `sending` does; what leaves: key, IV and digest."""
    while True:
        key, iv = keys.take(place)
        made = digest(key, iv, plain)
        if keys.sealed(place, made):
            return key, iv, made


def file(base: Path, name: str, course: Course = COURSE) -> Path:
    return base / course.name / name


def test_a_further_run_has_the_keys_of_the_one_before(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        sent = [send(keys, place) for place in (0, 2)]
        assert keys.earlier == frozenset()
    with opened(tmp_path) as keys:
        assert [send(keys, place) for place in (0, 2)] == sent
        assert keys.earlier == keys.digests == {made for _, _, made in sent}
        new = send(keys, 1)
    assert new[0] not in {key for key, _, _ in sent}
    with opened(tmp_path) as keys:
        assert send(keys, 1) == new


def test_rule_9_another_plaintext_gets_another_key_and_the_old_one_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        old = send(keys, 1)
        kept_one = send(keys, 3)
    entry = file(tmp_path, "entries").read_bytes()[ENTRY_SIZE : 2 * ENTRY_SIZE]
    with opened(tmp_path) as keys:
        key, iv = keys.take(1)
        assert not keys.sealed(1, digest(key, iv, b"two"))
        assert file(tmp_path, "entries").read_bytes()[ENTRY_SIZE : 2 * ENTRY_SIZE] == bytes(
            ENTRY_SIZE
        )
        new = send(keys, 1, b"two")
        assert not {new[0], new[1]} & {old[0], old[1]}
        assert send(keys, 3) == kept_one
    assert entry not in file(tmp_path, "entries").read_bytes()


@pytest.mark.parametrize("seed", range(examples(25)))
def test_rule_9_no_key_and_iv_leave_with_two_plaintexts_whatever_is_put_back(
    tmp_path: Path, seed: int
) -> None:
    """Kills at any point, files that change between runs, and state of any earlier time."""
    dice = random.Random(seed)
    left: dict[tuple[bytes, bytes], set[bytes]] = {}
    before: list[Path] = []
    plain = [b"one"] * CHUNKS
    for run in range(6):
        with opened(tmp_path) as keys:
            for place in dice.sample(range(CHUNKS), dice.randrange(CHUNKS + 1)):
                if dice.random() < 0.3:
                    plain[place] = dice.choice([b"one", b"two", b"three"])
                if dice.random() < 0.2:
                    keys.take(place)  # and killed before it was kept
                    break
                key, iv, made = send(keys, place, plain[place])
                left.setdefault((key, iv), set()).add(made)
        there = tmp_path / COURSE.name
        before.append(shutil.copytree(there, tmp_path / f"before-{run}"))
        old = dice.choice(before)
        match dice.randrange(5):
            case 0:  # all of an earlier time
                shutil.rmtree(there)
                shutil.copytree(old, there)
            case 1:  # its header, or its entries, alone
                name = dice.choice(["header.json", "entries", "outbox.key"])
                shutil.copy(old / name, there / name)
            case 2:  # one entry of an earlier time, at some place
                data = bytearray((there / "entries").read_bytes())
                at, to = dice.randrange(CHUNKS) * ENTRY_SIZE, dice.randrange(CHUNKS) * ENTRY_SIZE
                data[to : to + ENTRY_SIZE] = (old / "entries").read_bytes()[at : at + ENTRY_SIZE]
                (there / "entries").write_bytes(data)
            case 3:
                data = bytearray((there / "entries").read_bytes())
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
                (there / "entries").write_bytes(data[: dice.choice([len(data), 150])])
    assert left
    assert all(len(made) == 1 for made in left.values())


# -- what was planted is no earlier run's


def _course(data: bytes) -> bytes:
    other = replace(COURSE, release="churn/1.0.1")
    header = replace(Header.parse(Signed.parse(data).payload), course=other).canonical()
    return Signed(payload=header, signature=SIGNER.sign(signed_bytes(header))).canonical()


def _signer(data: bytes) -> bytes:
    header = Signed.parse(data).payload
    return Signed(payload=header, signature=KeySigner().sign(signed_bytes(header))).canonical()


def _type(data: bytes) -> bytes:
    header = Signed.parse(data).payload
    return Signed(payload=header, signature=SIGNER.sign(header)).canonical()


PLANTED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a header of another push": ("header.json", _course),
    "a header by another key": ("header.json", _signer),
    "a signature of something else": ("header.json", _type),
    "half a header": ("header.json", lambda data: data[:-9]),
    "an empty header": ("header.json", lambda _: b""),
    "a header with a space": ("header.json", lambda data: data + b" "),
    "another outbox key": ("outbox.key", lambda _: bytes(32)),
    "a short outbox key": ("outbox.key", lambda data: data[:-1]),
    "a long outbox key": ("outbox.key", lambda data: data + b"\n"),
    "entries cut short": ("entries", lambda data: data[:-1]),
    "entries of a longer plan": ("entries", lambda data: data + bytes(ENTRY_SIZE)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_rule_31_what_was_planted_is_replaced(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as keys:
        sent = [send(keys, place) for place in range(CHUNKS)]
    which, change = PLANTED[name]
    path = file(tmp_path, which)
    path.write_bytes(change(path.read_bytes()))
    with opened(tmp_path) as keys:
        assert keys.earlier == frozenset()
        assert not {send(keys, 0)[0]} & {key for key, _, _ in sent}


@pytest.mark.parametrize(
    "other",
    [
        replace(COURSE, release="churn/1.0.1"),
        replace(COURSE, manifest="cd" * 32),
        replace(COURSE, source="lab"),
        replace(COURSE, zone="ch"),
        replace(COURSE, key_id="55" * 32),
        replace(COURSE, store="s3://churn-ch"),
    ],
    ids=["release", "manifest", "source", "zone", "key", "store"],
)
def test_rule_31_all_that_another_push_kept_is_not_this_ones(tmp_path: Path, other: Course) -> None:
    """Whole and signed by this zone's key: but RULES 8 lets no two zones share a key."""
    with opened(tmp_path, course=other) as keys:
        sent = send(keys, 0)
    shutil.move(tmp_path / other.name, tmp_path / COURSE.name)
    with opened(tmp_path) as keys:
        assert keys.earlier == frozenset()
        assert send(keys, 0)[0] != sent[0]


@pytest.mark.parametrize("name", ["header.json", "outbox.key", "entries"])
def test_rule_31_a_huge_file_is_not_read_and_is_replaced(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as keys:
        sent = send(keys, 0)
    with file(tmp_path, name).open("ab") as huge:
        huge.truncate(1 << 40)
    with memory(megabytes=64), opened(tmp_path) as keys:
        assert keys.earlier == frozenset()
        assert send(keys, 0)[0] != sent[0]
    assert file(tmp_path, name).stat().st_size < 4096


@pytest.mark.parametrize("missing", ["header.json", "outbox.key", "entries"])
def test_a_file_that_is_gone_takes_the_others_along(tmp_path: Path, missing: str) -> None:
    """As a kill between two of them leaves it."""
    with opened(tmp_path) as keys:
        old = send(keys, 0)
    file(tmp_path, missing).unlink()
    with opened(tmp_path) as keys:
        assert not set(send(keys, 0)) & set(old)
    with opened(tmp_path) as keys:
        assert len(keys.earlier) == 1


def test_an_entry_opens_at_its_own_place_and_under_its_own_header_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        first = [send(keys, place) for place in range(3)]
    path = file(tmp_path, "entries")
    data = path.read_bytes()
    slots = [data[at : at + ENTRY_SIZE] for at in range(0, len(data), ENTRY_SIZE)]
    path.write_bytes(b"".join([slots[1], slots[0], slots[2], slots[2]]))
    with opened(tmp_path) as keys:
        assert keys.earlier == {first[2][2]}
    shutil.rmtree(tmp_path / COURSE.name)
    with opened(tmp_path) as keys:
        send(keys, 0)
    path.write_bytes(data)  # of the header before
    with opened(tmp_path) as keys:
        assert keys.earlier == frozenset()


def test_rule_9_one_key_for_two_places_is_planted(tmp_path: Path) -> None:
    """Whoever has the outbox key could write that; two plaintexts under one key would leave."""
    with opened(tmp_path):
        pass
    outbox = file(tmp_path, "outbox.key").read_bytes()
    header = Header.parse(Signed.parse(file(tmp_path, "header.json").read_bytes()).payload)
    entry = Entry(key=b"k" * 32, iv=b"i" * 12, digest=b"d" * 32)
    data = b"".join(
        replace(entry, digest=bytes([at]) * 32).sealed(outbox, header.digest, at)
        for at in range(CHUNKS)
    )
    file(tmp_path, "entries").write_bytes(data)
    with opened(tmp_path) as keys:
        assert keys.earlier == frozenset()
        assert keys.take(0)[0] != entry.key


@pytest.mark.parametrize("name", ["header.json", "outbox.key", "entries"])
def test_rule_31_a_link_in_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as keys:
        old = send(keys, 0)
    path, away = file(tmp_path, name), tmp_path / "away"
    path.rename(away)
    path.symlink_to(away)
    data = away.read_bytes()
    with opened(tmp_path) as keys:
        assert not set(send(keys, 0)) & set(old)
    assert away.read_bytes() == data
    assert not path.is_symlink()


def _link(path: Path) -> None:
    (path.parent / "mine").mkdir(mode=0o700)
    path.symlink_to(path.parent / "mine")


@pytest.mark.parametrize(
    "plant",
    [
        _link,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.write_text("a file"),
        lambda path: (path.mkdir(), path.chmod(0o750)),
        lambda path: (path.mkdir(), path.chmod(0o701)),
    ],
    ids=["link", "dangling", "file", "group", "others"],
)
def test_rule_31_a_folder_that_is_not_private_is_not_used(
    tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    plant(tmp_path / COURSE.name)
    folder = Folder(tmp_path, COURSE)
    with pytest.raises(DiskError) as error:
        folder.open()
    assert error.value.reason == "unsafe-state"
    assert "--state" in (error.value.fix or "")
    assert folder.handle == -1


def test_rule_31_a_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DiskError, match="private folder of this user"):
        Folder(tmp_path, COURSE).open()


def test_two_runs_of_one_push_do_not_share_keys(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        send(keys, 0)
        with pytest.raises(UsageError) as error:
            Folder(tmp_path, COURSE).open()
        assert error.value.reason == "in-use"
        with opened(tmp_path, course=replace(COURSE, zone="ch")) as other:
            assert other.earlier == frozenset()


def test_a_folder_that_was_removed_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, times = os.stat, iter([True])

    def gone(path: str, **more: object) -> os.stat_result:
        if "dir_fd" in more and next(times, False):
            (tmp_path / COURSE.name).rmdir()
        return real(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", gone)
    folder = Folder(tmp_path, COURSE)
    folder.open()
    assert os.path.samestat(os.fstat(folder.handle), real(tmp_path / COURSE.name))
    folder.destroy()
    folder.close()
    assert list(tmp_path.iterdir()) == []


# -- what lies there


def test_rule_29_keys_lie_there_encrypted_and_for_this_user_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "a/b") as keys:
        key, iv, made = send(keys, 0)
        shown = repr(keys) + repr(Entry(key=key, iv=iv, digest=made))
    assert repr(key) not in shown
    assert key.hex() not in shown
    files = list((tmp_path / "a/b" / COURSE.name).iterdir())
    assert {path.name for path in files} == {"header.json", "outbox.key", "entries"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not any(key in path.read_bytes() for path in files)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], OwnKey]:
    base = tmp_path_factory.mktemp("keys")
    for name in ("home", "other"):
        generate("encrypt", out=base / f"{name}.pem", algorithm="ec-p256")

    def of(name: str, identity: str = "") -> OwnKey:
        return OwnKey(
            recipient=open_recipient(f"{name}.pub.pem", base),
            identity=lambda: open_identity(f"{identity or name}.pem", base),
        )

    return of


def test_the_senders_own_key_wraps_the_outbox_key(
    tmp_path: Path, own: Callable[[str], OwnKey]
) -> None:
    with opened(tmp_path, own=own("home")) as keys:
        sent = send(keys, 0)
    assert not file(tmp_path, "outbox.key").exists()
    with opened(tmp_path, own=own("home")) as keys:
        assert send(keys, 0) == sent


@pytest.mark.parametrize("then", ["another key", "no key", "a service that is away"])
def test_without_that_key_it_starts_anew(
    tmp_path: Path, own: Callable[..., OwnKey], then: str
) -> None:
    def away() -> None:
        raise KeyServiceError("the service does not answer")

    with opened(tmp_path, own=own("home")) as keys:
        sent = send(keys, 0)
    later = {
        "another key": own("other"),
        "no key": None,
        "a service that is away": replace(own("home"), identity=away),
    }
    with opened(tmp_path, own=later[then]) as keys:
        assert not set(send(keys, 0)) & set(sent)


def test_no_release_key_has_the_context_of_an_outbox_key() -> None:
    fields = json.loads(COURSE.context())
    release = wrap.Context(zone="home", release=COURSE.release, manifest=COURSE.manifest)
    assert fields["format"] != json.loads(release.canonical())["format"]
    assert fields == VECTORS["context"]


def test_a_disk_that_is_full_stops_no_chunk_and_the_next_run_takes_a_new_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as keys:
        first = send(keys, 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", _full)
            lost = send(keys, 1)
            with pytest.raises(DiskError):
                keys.forget([0])
        assert keys.failed is not None
        assert keys.digests == {first[2]}
    with opened(tmp_path) as keys:
        assert send(keys, 0) == first
        assert not set(send(keys, 1)) & set(lost)


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_entry_is_on_the_disk_before_its_chunk_may_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(
        kept, "_sync", lambda _: synced.append(file(tmp_path, "entries").read_bytes())
    )
    with opened(tmp_path) as keys:
        key, iv = keys.take(2)
        assert synced == []
        assert keys.sealed(2, digest(key, iv, b"one"))
        outbox = file(tmp_path, "outbox.key").read_bytes()
        header = Header.parse(Signed.parse(file(tmp_path, "header.json").read_bytes()).payload)
    (data,) = synced
    one = Entry.opened(data[2 * ENTRY_SIZE : 3 * ENTRY_SIZE], outbox, header.digest, 2)
    assert one is not None
    assert (one.key, one.iv) == (key, iv)


def test_destroyed_is_gone_and_the_next_run_knows_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        send(keys, 0)
    folder = Folder(tmp_path, COURSE)
    folder.open()
    folder.destroy()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_a_push_of_its_own() -> None:
    """Two shards on one machine, or the whole model, do not share keys."""
    courses = [COURSE, *(replace(COURSE, shard=one) for one in ((1, 2), (2, 2), (1, 3)))]
    assert len({course.name for course in courses}) == len(courses)
    for course in courses:
        header = Header(course=course, commit="cc" * 32, recipient=None)
        assert Header.parse(header.canonical()) == header
    written = Header(course=courses[1], commit="cc" * 32, recipient=None).canonical()
    for wrong in (b"null", b'{"number":3,"of":2}', b'{"number":0,"of":2}', b'{"of":2}'):
        with pytest.raises(Malformed):
            Header.parse(written.replace(b'{"number":1,"of":2}', wrong))


# -- the specification's own bytes


def test_the_vectors() -> None:
    header = Header(
        course=COURSE, commit=wrap.commit(bytes.fromhex(VECTORS["outbox"])), recipient=None
    )
    assert COURSE.name == VECTORS["folder"]
    assert header.canonical().decode() == VECTORS["header"]
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    context = COURSE.context().decode()
    assert f"```json\n{VECTORS['header']}\n```" in page
    assert f"```json\n{context}\n```" in page
    assert Header.parse(header.canonical()) == header
    entry = Entry(key=bytes(range(32)), iv=bytes(range(32, 44)), digest=b"\xcc" * 32)
    outbox = bytes.fromhex(VECTORS["outbox"])
    iv = bytes.fromhex(VECTORS["entry-iv"])
    made = entry.sealed(outbox, header.digest, VECTORS["place"], iv=iv)
    assert (len(made), made.hex()) == (ENTRY_SIZE, VECTORS["entry"])
    assert Entry.opened(made, outbox, header.digest, VECTORS["place"]) == entry
    assert Entry.opened(made, outbox, header.digest, VECTORS["place"] + 1) is None
    assert Entry.opened(made, outbox, bytes(32), VECTORS["place"]) is None
    assert chunk.KEY_SIZE + chunk.IV_SIZE + 32 + 28 == ENTRY_SIZE
