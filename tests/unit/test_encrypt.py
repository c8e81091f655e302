"""Encrypting for zones and opening inside one: what is whole opens, and nothing else does."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import resource
import shutil
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovgate.errors import (
    ConfigError,
    ExitCode,
    KeyServiceError,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats import chunk, part, wrap
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.plan import Plan
from sovgate.formats.sealed import Sealed
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.pipeline.decide.contents import look_into
from sovgate.pipeline.move.copies import Copy, folder_store
from sovgate.pipeline.move.encrypt import write_copies
from sovgate.records import Release, Sized
from sovgate.stages.encrypt import (
    Bound,
    ZoneKey,
    close,
    receive,
    require_apart,
    require_no_git,
    send,
)
from sovgate.stages.encrypt import tree as writing
from sovgate.stages.transfer import put_chunk, put_object
from tests.effort import examples, some
from tests.sealing import CHUNKS, FILES, Desk, make_desk, objects, sha256, tree


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Desk:
    return make_desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Desk:
    return make_desk(tmp_path_factory.mktemp("small"), {"w": b"forty-two"})


@pytest.fixture(scope="module")
def made(tmp_path_factory, small) -> tuple[Sealed, Path]:
    """A small model encrypted for `eu`: its record, and the zone's folder."""
    out = tmp_path_factory.mktemp("copy") / "sealed"
    return small.seal(out, "eu")["eu"], out / "eu"


def test_a_model_comes_out_as_it_went_in(tmp_path, desk):
    out = tmp_path / "sealed"
    copies = desk.seal(out)
    assert set(copies) == {"eu", "ch"}
    for zone, sealed in copies.items():
        folder = out / zone
        assert Sealed.parse((folder / "sealed.json").read_bytes()) == sealed
        model = desk.open(sealed, folder, tmp_path / zone)
        assert tree(model) == FILES
        assert stat.S_IMODE(model.stat().st_mode) == 0o755
        assert stat.S_IMODE((model / "layers/0").stat().st_mode) == 0o755
        assert stat.S_IMODE((model / "layers/0/w.bin").stat().st_mode) == 0o644
        for name, path in objects(folder).items():
            assert sha256(path.read_bytes()) == name
        (one,) = sealed.parts
        assert one.chunks == CHUNKS == len(list((folder / "chunks/sha256").iterdir()))
        assert {path.name for path in folder.iterdir()} == {"chunks", "objects", "sealed.json"}
    assert {item.name for item in tmp_path.iterdir()} == {"sealed", "eu", "ch"}


def test_a_model_that_is_one_file_comes_out_as_a_file(tmp_path):
    desk = make_desk(tmp_path / "desk", b"one file")
    sealed = desk.seal(tmp_path / "sealed", "eu")["eu"]
    model = desk.open(sealed, tmp_path / "sealed" / "eu", tmp_path / "into")
    assert model.read_bytes() == b"one file"
    assert stat.S_IMODE(model.stat().st_mode) == 0o644


def test_what_the_user_hides_of_new_files_stays_hidden_when_a_model_is_opened(tmp_path, desk):
    """Plaintext weights are not for everybody on a machine whose umask says so."""
    out = tmp_path / "sealed"
    sealed = desk.seal(out, "eu")["eu"]
    before = os.umask(0o077)
    try:
        model = desk.open(sealed, out / "eu", tmp_path / "into")
    finally:
        os.umask(before)
    shown = [path for path in (model, *model.rglob("*")) if path.stat().st_mode & 0o077]
    assert shown == []


def test_two_threads_that_ask_what_the_user_hides_do_not_change_it():
    """Each sets it for a moment: one between the two calls of another would leave that for good."""
    before, found, switch = os.umask(0o027), set[int](), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found.update(pool.map(lambda _: writing._umask(), range(20_000)))
        assert os.umask(0o027) == 0o027
    finally:
        sys.setswitchinterval(switch)
        os.umask(before)
    assert found == {0o027}


def test_a_model_of_many_equal_files_opens_with_few_files_open(tmp_path):
    """Empty `__init__.py` files by the hundred: a process may have only so many files open."""
    contents = {f"p{n}/__init__.py": b"" for n in range(200)} | {
        f"q{n}": b"same" for n in range(200)
    }
    desk = make_desk(tmp_path / "desk", contents)
    sealed = desk.seal(tmp_path / "sealed", "eu")["eu"]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(item.name) for item in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 48, hard))
    try:
        model = desk.open(sealed, tmp_path / "sealed" / "eu", tmp_path / "into")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert tree(model) == contents
    assert {stat.S_IMODE(path.stat().st_mode) for path in model.rglob("__init__.py")} == {0o644}


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("chunks", [1, 2])
def test_files_around_a_chunks_edge_come_out(tmp_path, extra, chunks):
    data = os.urandom(chunks * chunk.SIZE + extra)
    desk = make_desk(tmp_path / "desk", {"w": data, "small": b"beside it"})
    sealed = desk.seal(tmp_path / "sealed", "eu")["eu"]
    model = desk.open(sealed, tmp_path / "sealed" / "eu", tmp_path / "into")
    assert (model / "w").read_bytes() == data


def test_progress_counts_each_plaintext_byte_once(tmp_path, desk):
    counts: list[int] = []
    keys = [desk.zone_key("eu"), desk.zone_key("ch")]
    out = tmp_path / "out"
    sealed = desk.write(desk.plain(), keys, out, counts.append)["eu"]
    total = desk.manifest().total
    assert sum(counts) == total == sum(len(data) for data in FILES.values())
    counts.clear()
    desk.open(sealed, out / "eu", tmp_path / "into", advance=counts.append)
    assert sum(counts) == total


def test_rule_02_exactly_the_listed_files_are_encrypted(tmp_path, desk):
    listed = tuple(r for r in desk.manifest().resources if not r.name.startswith("layers/"))
    plain = desk.plain(manifest=Manifest(kind="directory", resources=listed))
    sealed = desk.write(plain, [desk.zone_key("eu")], tmp_path / "out")["eu"]
    (one,) = part.arrange(plain.manifest, sealed.parts)
    digests = {content.digest for unit in one.units for content in unit.contents}
    assert digests == {r.digest for r in listed if r.size}


def test_rule_02_a_file_that_git_would_act_on_is_refused():
    listed = Resource(name="sub/.gitattributes", size=0, digest=sha256(b""))
    with pytest.raises(VerificationFailed) as refused:
        require_no_git(Manifest(kind="directory", resources=(listed,)))
    assert refused.value.reason == "git-name"


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda path: path.write_bytes(b"43"), "digest-mismatch"),
        (lambda path: path.write_bytes(b"421"), "digest-mismatch"),
        (lambda path: path.unlink(), "missing-file"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "not-regular"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not-regular"),
    ],
)
def test_rule_04_a_file_that_is_not_what_was_signed_aborts(tmp_path, tamper, reason):
    desk = make_desk(tmp_path / "desk", {"a": b"a" * 1000, "sub/w": b"42", "z": b"z"})
    keys = [desk.zone_key("eu"), desk.zone_key("ch")]
    assert sealing_after(desk, keys, tmp_path / "out", tamper, "sub/w") == reason
    assert {item.name for item in tmp_path.iterdir()} == {"desk"}


def sealing_after(desk: Desk, keys: Sequence[ZoneKey], out: Path, tamper, name: str) -> str:
    """Why a copy is not made where a file changes after it was looked into."""
    seen = look_into(desk.model, desk.manifest(), None)
    plain = desk.plain()
    tamper(desk.model / name)
    with pytest.raises(VerificationFailed) as refused:
        write_copies(plain, seen, keys, None, out, None)
    return refused.value.reason


def test_of_two_files_with_one_content_both_are_compared(tmp_path):
    """They cross once; a change of either is seen all the same."""
    for name in ("a", "b"):
        desk = make_desk(tmp_path / name, {"a": b"twin", "b": b"twin"})
        keys = [desk.zone_key("eu")]
        sealed = desk.seal(tmp_path / f"{name}-out", "eu")["eu"]
        assert sealed.parts[0].chunks == 1
        changing = lambda path: path.write_bytes(b"twiN")  # noqa: E731
        assert sealing_after(desk, keys, tmp_path / "out", changing, name) == "digest-mismatch"


def test_an_empty_file_that_is_empty_no_more_aborts(tmp_path):
    desk = make_desk(tmp_path / "desk", {"w": b"x", "none": b""})
    keys = [desk.zone_key("eu")]
    filling = lambda path: path.write_bytes(b"1")  # noqa: E731
    assert sealing_after(desk, keys, tmp_path / "out", filling, "none") == "digest-mismatch"


def test_rule_04_a_folder_that_becomes_a_link_is_not_followed(tmp_path):
    desk = make_desk(tmp_path / "desk", {"sub/w": b"42"})

    def linking(folder: Path) -> None:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")

    keys = [desk.zone_key("eu")]
    assert sealing_after(desk, keys, tmp_path / "out", linking, "sub") == "not-regular"


def test_rule_04_a_file_touched_while_it_is_read_aborts(tmp_path):
    """Same bytes, another time stamp: someone writes there, and the next read may differ."""
    desk = make_desk(tmp_path / "desk", {"w": bytes(chunk.SIZE + 1)})

    def touching(count: int) -> None:
        os.utime(desk.model / "w", ns=(1, 1))

    with pytest.raises(VerificationFailed) as refused:
        desk.write(desk.plain(), [desk.zone_key("eu")], tmp_path / "out", touching)
    assert refused.value.reason == "changed-while-reading"
    assert not (tmp_path / "out").exists()


def test_rule_33_a_file_swapped_between_look_and_read_is_found(tmp_path):
    """What was looked into had other bytes; what is read is signed. No key table comes of it."""
    desk = make_desk(tmp_path / "desk", {"w": b"42"})
    manifest = desk.manifest()
    (desk.model / "w").write_bytes(b"41")
    seen = look_into(desk.model, manifest, None)
    (desk.model / "w").write_bytes(b"42")
    with pytest.raises(VerificationFailed) as refused:
        write_copies(desk.plain(), seen, [desk.zone_key("eu")], None, tmp_path / "out", None)
    assert refused.value.reason == "changed-while-reading"
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_replaced_but_an_empty_folder_is(tmp_path, small):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(UsageError) as refused:
        small.seal(out)
    assert refused.value.reason == "output-exists"
    (out / "mine").unlink()
    small.seal(out)
    with pytest.raises(UsageError):
        small.seal(out)


def test_rule_08_two_zones_share_no_key_iv_or_ciphertext(tmp_path, desk):
    out = tmp_path / "out"
    copies = desk.seal(out)
    keys, ivs, names = [], [], []
    for zone, sealed in copies.items():
        (opened,) = desk.keys(sealed, out / zone)
        keys += opened.keys
        there = [out / zone / "chunks/sha256" / digest.hex() for digest in opened.digests]
        there.append(out / zone / "objects/sha256" / sealed.parts[0].keytable.sha256)
        names += [path.name for path in there]
        ivs += [path.read_bytes()[: chunk.IV_SIZE] for path in there]
    assert len(set(keys)) == len(keys) == 2 * CHUNKS
    assert len(set(names)) == len(names)
    assert len(set(ivs)) == len(ivs)
    assert len({sealed.parts[0].recipient.commit for sealed in copies.values()}) == 2


def test_rule_08_zones_with_one_wrapping_key_are_refused(small):
    recipient = registry.open_recipient("keys/eu.pub.pem", small.base)
    keys = [ZoneKey(zone="eu", recipient=recipient), ZoneKey(zone="ch", recipient=recipient)]
    with pytest.raises(ConfigError) as refused:
        require_apart(keys)
    assert refused.value.reason == "shared-zone-key"
    for bad in ([], keys[:1] * 2, [ZoneKey(zone="../x", recipient=recipient)]):
        with pytest.raises(UsageError):
            require_apart(bad)


def test_rule_09_every_run_uses_new_keys(tmp_path, small):
    first = small.seal(tmp_path / "one", "eu")["eu"].parts[0]
    again = small.seal(tmp_path / "two", "eu")["eu"].parts[0]
    assert first.recipient.commit != again.recipient.commit
    assert first.list.sha256 != again.list.sha256


def test_rule_10_another_zones_key_is_20_and_damage_is_11(tmp_path, desk):
    out = tmp_path / "out"
    sealed = desk.seal(out)["eu"]
    with pytest.raises(KeyServiceError) as wrong:
        desk.open(sealed, out / "eu", tmp_path / "a", by="ch")
    assert (wrong.value.exit_code, wrong.value.reason) == (ExitCode.KEY, "wrong-key")
    # A commitment that is another key's: what unwraps is not the key that it was sealed with.
    bad = dataclasses.replace(sealed.parts[0].recipient, commit="00" * 32)
    with pytest.raises(KeyServiceError) as wrong:
        desk.open(with_part(sealed, recipient=bad), out / "eu", tmp_path / "b")
    assert wrong.value.reason == "wrong-key"


def in_parts(desk: Desk, sealed: Sealed, folder: Path) -> Sealed:
    """The copy as earlier versions made it, and as a push sends it: in the parts of the plan."""
    store, manifest = folder_store(folder), desk.manifest()
    plan = Plan.of(manifest)

    def put(sha256: str, data: memoryview) -> None:
        put_chunk(store, sha256, data)

    (sent,) = send(manifest, plan, desk.model, [Bound(zone="eu", put=put)])
    context = Context(zone="eu", release=None, manifest=manifest.digest)
    closed = close(sent, plan, desk.zone_key("eu").recipient, context)
    for data in (*closed.lists, *closed.tables):
        put_object(store, data)
    return dataclasses.replace(sealed, parts=closed.parts)


def test_a_model_of_several_parts_opens_and_no_part_stands_for_another(tmp_path, desk, monkeypatch):
    """Each has a release key of its own: 32 GiB are not needed to show it."""
    monkeypatch.setattr("sovgate.formats.plan.PART_SIZE", 1)
    monkeypatch.setattr("sovgate.formats.plan.PART_FRACTION", 10**9)
    folder = tmp_path / "out" / "eu"
    sealed = in_parts(desk, desk.seal(tmp_path / "out", "eu")["eu"], folder)
    first, second = sealed.parts
    assert [(one.number, one.of, one.units) for one in sealed.parts] == [
        (1, 2, (0, 1)),
        (2, 2, (1, 1)),
    ]
    assert first.recipient.commit != second.recipient.commit
    assert tree(desk.open(sealed, folder, tmp_path / "into")) == FILES
    for number, parts in enumerate(
        [
            (first,),
            (second,),
            (first, dataclasses.replace(second, number=1)),
            (first, dataclasses.replace(second, recipient=first.recipient)),
            (first, dataclasses.replace(second, keytable=first.keytable)),
            (first, dataclasses.replace(first, number=2)),
            (
                dataclasses.replace(first, recipient=second.recipient, keytable=second.keytable),
                dataclasses.replace(second, recipient=first.recipient, keytable=first.keytable),
            ),
            (
                dataclasses.replace(first, number=2),
                dataclasses.replace(second, number=1),
            ),
        ]
    ):
        into = tmp_path / f"bad-{number}"
        assert_refused(desk, dataclasses.replace(sealed, parts=parts), folder, into)
        assert tree(into) == {}


def with_part(sealed: Sealed, **changes) -> Sealed:
    return dataclasses.replace(sealed, parts=(dataclasses.replace(sealed.parts[0], **changes),))


def assert_refused(desk: Desk, sealed: Sealed, folder: Path, into: Path) -> str:
    """Refused with 11 or, where the record names another key, 20; no plaintext is left."""
    with pytest.raises((VerificationFailed, KeyServiceError)) as refused:
        desk.open(sealed, folder, into, by="eu")
    assert not any(b"forty-two" in data for data in tree(into).values())
    return refused.value.reason


@contextmanager
def spoilt(path: Path, data: bytes) -> Iterator[None]:
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(good)


def parts_of(sealed: Sealed, folder: Path) -> dict[str, Path]:
    """The chunk, the chunk list and the key table of a copy with one chunk."""
    (one,), found = sealed.parts, objects(folder)
    return {
        "chunk": found[found[one.list.sha256].read_bytes().hex()],
        "list": found[one.list.sha256],
        "table": found[one.keytable.sha256],
    }


@pytest.mark.parametrize("what", ["chunk", "list", "table"])
def test_every_flipped_byte_of_chunk_list_and_key_table_is_refused(tmp_path, small, made, what):
    sealed, folder = made
    path = parts_of(sealed, folder)[what]
    good = path.read_bytes()
    for position in some(range(len(good))):
        bad = bytearray(good)
        bad[position] ^= 0x80 >> position % 8
        with spoilt(path, bytes(bad)):
            assert assert_refused(small, sealed, folder, tmp_path / str(position)) == "damaged"


@settings(max_examples=examples(60))
@given(st.data())
def test_every_cut_or_addition_to_chunk_list_and_key_table_is_refused(
    tmp_path_factory, small, made, data
):
    sealed, folder = made
    path = parts_of(sealed, folder)[data.draw(st.sampled_from(["chunk", "list", "table"]))]
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good)))
    bad = (
        good[:position]
        + data.draw(st.binary(max_size=4))
        + good[data.draw(st.integers(position, len(good))) :]
    )
    if bad != good:
        with spoilt(path, bad):
            assert_refused(small, sealed, folder, tmp_path_factory.mktemp("x") / "into")


def test_every_flipped_byte_of_the_record_is_refused(tmp_path, small, made):
    """Read as JSON it may still be well-formed: then what it names does not fit."""
    sealed, folder = made
    data = sealed.canonical()
    for position in some(range(len(data))):
        bad = bytearray(data)
        bad[position] ^= 1 << position % 7
        try:
            read = Sealed.parse(bytes(bad))
        except VerificationFailed:
            continue
        if dataclasses.replace(read, signature=sealed.signature, evidence=()) == sealed:
            continue  # those documents are read and compared before: see the command's own test
        reason = assert_refused(small, read, folder, tmp_path / str(position))
        assert reason in {
            "damaged",
            "missing-object",
            "parts",
            "keytable",
            "wrong-key",
            "wrapped-key",
            "manifest-mismatch",
            "malformed",
        }


def test_a_part_of_another_zone_or_release_does_not_pass(tmp_path, desk):
    """Even where all that it names lies there: the key table is authenticated."""
    out = tmp_path / "out"
    copies = desk.seal(out)
    eu, ch = copies["eu"], copies["ch"]
    folder = out / "eu"
    for path in objects(out / "ch").values():
        target = folder / path.relative_to(out / "ch")
        if not target.exists():
            shutil.copy(path, target)
    (one,), (other,) = eu.parts, ch.parts
    for number, bad in enumerate(
        [
            with_part(eu, list=other.list),
            with_part(eu, keytable=other.keytable),
            with_part(eu, list=other.list, keytable=other.keytable),
            with_part(eu, recipient=other.recipient),
            dataclasses.replace(eu, parts=ch.parts),
            dataclasses.replace(eu, zone="ch"),
            dataclasses.replace(eu, release="churn/9"),
            with_part(eu, of=2),
            with_part(eu, units=(0, one.units[1] - 1)),
            with_part(eu, units=(1, one.units[1])),
            with_part(eu, units=None, reused=(("00" * 32,),)),
            dataclasses.replace(eu, parts=(one, one)),
            dataclasses.replace(eu, parts=()),
        ]
    ):
        with pytest.raises(SovgateError) as refused:
            desk.open(bad, folder, tmp_path / f"into-{number}")
        assert refused.value.exit_code in (ExitCode.VERIFICATION, ExitCode.KEY)
        assert tree(tmp_path / f"into-{number}") == {}


def forge(
    desk: Desk,
    sealed: Sealed,
    folder: Path,
    contents: Sequence[bytes],
    *,
    zone: str = "eu",
    key: bytes | None = None,
) -> Sealed:
    """What someone can make who has the zone's public key: right keys, wraps, commits, tables.

    Each of `contents` becomes a chunk, in a list of that order; `zone` is what the chunks and the
    table are bound to; `key` serves all chunks.
    """

    def put(kind: str, data: bytes) -> None:
        path = folder / kind / "sha256" / sha256(data)
        if not path.exists():
            path.write_bytes(data)

    digests, keys = [], []
    for plain in contents:
        keys.append(key or chunk.new_key())
        out = bytearray(len(plain) + chunk.OVERHEAD)
        digests.append(
            chunk.seal_into(
                keys[-1],
                chunk.new_iv(),
                chunk.associated_data(zone),
                memoryview(plain),
                memoryview(out),
            )
        )
        put("chunks", bytes(out))
    data, named = part.sized_list(digests)
    release_key = chunk.new_key()
    context = wrap.Context(zone="eu", release=None, manifest=sealed.manifest.sha256)
    bound = dataclasses.replace(context, zone=zone)
    ad = part.table_ad(bound, 1, 1, named.sha256)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    iv = chunk.new_iv()
    table = iv + AESGCM(release_key).encrypt(iv, b"".join(keys), ad)
    put("objects", data)
    put("objects", table)
    return with_part(
        sealed,
        list=named,
        keytable=Sized(sha256=sha256(table), size=len(table)),
        recipient=dataclasses.replace(
            sealed.parts[0].recipient,
            wrapped=desk.zone_key("eu").recipient.wrap(release_key, context.canonical()),
            commit=wrap.commit(release_key),
        ),
    )


@pytest.mark.parametrize(
    ("contents", "more", "reason"),
    [
        ([b"forty-two"], {}, None),
        ([b"forty-twO"], {}, "digest-mismatch"),
        ([b"forty-tw"], {}, "damaged"),
        ([b"forty-two", b"more"], {}, "parts"),
        ([], {}, "parts"),
        ([b"forty-two"], {"zone": "ch"}, "keytable"),
    ],
)
def test_who_has_the_public_key_can_encrypt_but_not_pass_anything_else(
    tmp_path, small, made, contents, more, reason
):
    """Encryption says nothing about who made a copy: the signature does, and it decides."""
    sealed, folder = made
    forged = forge(small, sealed, folder, contents, **more)
    if reason is None:
        assert tree(small.open(forged, folder, tmp_path / "good")) == {"w": b"forty-two"}
    else:
        assert assert_refused(small, forged, folder, tmp_path / "into") == reason


@pytest.mark.parametrize(("second", "reason"), [(b"\x02", None), (b"\x01", "keytable")])
def test_rule_08_one_key_for_two_chunks_is_refused(tmp_path, second, reason):
    """By whoever else made it: two ciphertexts of one key and their IVs may tell of each other."""
    contents = [b"\x01" * chunk.SIZE, b"\x02" * chunk.SIZE]
    desk = make_desk(tmp_path / "desk", {"a": contents[0], "b": contents[1]})
    sealed = desk.seal(tmp_path / "out", "eu")["eu"]
    key = None if reason is None else chunk.new_key()
    forged = forge(desk, sealed, tmp_path / "out" / "eu", contents, key=key)
    if reason is None:
        desk.open(forged, tmp_path / "out" / "eu", tmp_path / "into")
    else:
        assert assert_refused(desk, forged, tmp_path / "out" / "eu", tmp_path / "into") == reason


def test_rule_12_a_chunk_that_authenticates_but_is_not_the_lists_is_refused(tmp_path, small, made):
    """Same key, same plaintext, another IV: AES-GCM opens it, the digest does not fit."""
    sealed, folder = made
    ((key,),) = (one.keys for one in small.keys(sealed, folder))
    again = bytearray(9 + chunk.OVERHEAD)
    ad, plain = chunk.associated_data("eu"), memoryview(b"forty-two")
    digest = chunk.seal_into(key, chunk.new_iv(), ad, plain, memoryview(again))
    chunk.open_into(key, ad, memoryview(again), digest, memoryview(bytearray(9)))
    with spoilt(parts_of(sealed, folder)["chunk"], bytes(again)):
        assert assert_refused(small, sealed, folder, tmp_path / "into") == "damaged"


def test_rule_02_a_copy_of_another_model_is_refused(tmp_path, desk, small):
    sealed = small.seal(tmp_path / "out", "eu")["eu"]
    with pytest.raises(VerificationFailed) as refused:
        Copy(folder=tmp_path / "out" / "eu", sealed=sealed).listed(desk.manifest())
    assert refused.value.reason == "manifest-mismatch"


def test_the_release_is_bound_into_the_copy(tmp_path, small):
    plain = small.plain(release=Release.parse("churn/1.0"))
    sealed = small.write(plain, [small.zone_key("eu")], tmp_path / "out")["eu"]
    assert sealed.release == "churn/1.0"
    bare = dataclasses.replace(sealed, release=None)
    assert_refused(small, bare, tmp_path / "out" / "eu", tmp_path / "into")


def test_a_read_that_fails_midway_is_told_and_leaves_no_threads(tmp_path, small, made):
    sealed, folder = made
    opened = small.keys(sealed, folder)

    def broken(name: str, into: memoryview) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = threading.active_count()
    with pytest.raises(SovgateError) as refused:
        receive(small.manifest(), "eu", opened, broken, tmp_path)
    assert refused.value.exit_code == ExitCode.DISK
    assert threading.active_count() == before


def test_rule_29_nothing_that_seals_shows_a_key(small, made):
    sealed, folder = made
    opened = small.keys(sealed, folder)
    ((key,),) = (one.keys for one in opened)
    for text in (repr(sealed), repr(opened), str(sealed.canonical()), repr(small.identity("eu"))):
        assert key.hex() not in text
        assert repr(key)[2:-1] not in text


def test_objects_lie_where_the_format_says(made):
    sealed, folder = made
    names = {path.relative_to(folder).as_posix() for path in objects(folder).values()}
    assert f"objects/sha256/{sealed.parts[0].keytable.sha256}" in names
    listed = (folder / "objects/sha256" / sealed.parts[0].list.sha256).read_bytes()
    assert f"chunks/sha256/{listed.hex()}" in names
    assert hashlib.sha256(listed).hexdigest() == sealed.parts[0].list.sha256
