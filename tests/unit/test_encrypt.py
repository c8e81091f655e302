"""Encrypting for zones and opening inside one: what is whole opens, and nothing else does."""

from __future__ import annotations

import dataclasses
import os
import resource
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
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
from sovgate.formats import keytable, stream, wrap
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.sealed import Blob, Sealed
from sovgate.keys import registry
from sovgate.records import Release, Sized
from sovgate.stages.encrypt import ZoneKey, blob_path, open_keys, open_model, seal_model
from sovgate.stages.encrypt import tree as writing
from tests.effort import examples, some
from tests.sealing import FILES, Desk, in_memory, make_desk, memory_reader, sha256, tree


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Desk:
    return make_desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Desk:
    return make_desk(tmp_path_factory.mktemp("small"), {"w": b"forty-two"})


@pytest.fixture(scope="module")
def copy(tmp_path_factory, small) -> tuple[Sealed, dict[str, bytes]]:
    """A small model encrypted for `eu`: its record, and its blobs by digest."""
    out = tmp_path_factory.mktemp("copy") / "sealed"
    sealed = small.seal(out, "eu")["eu"]
    return sealed, in_memory(out / "eu")


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
        for name, data in in_memory(folder).items():
            assert sha256(data) == name
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
    size = chunks * 8 * stream.BODY - stream.HEADER_SIZE + extra
    data = os.urandom(size)
    desk = make_desk(tmp_path / "desk", {"w": data})
    sealed = desk.seal(tmp_path / "sealed", "eu")["eu"]
    model = desk.open(sealed, tmp_path / "sealed" / "eu", tmp_path / "into")
    assert (model / "w").read_bytes() == data


def test_progress_counts_each_plaintext_byte_once(tmp_path, desk):
    counts: list[int] = []
    keys = [desk.zone_key("eu"), desk.zone_key("ch")]
    manifest = desk.manifest()
    out = tmp_path / "out"
    sealed = seal_model(manifest, desk.model, b"s", keys, None, out, advance=counts.append)["eu"]
    assert sum(counts) == manifest.total == sum(len(data) for data in FILES.values())
    counts.clear()
    read = memory_reader(in_memory(out / "eu"))
    identity = registry.open_identity("keys/eu.pem", desk.base)
    open_model(sealed, read, identity, tmp_path, manifest, advance=counts.append)
    assert sum(counts) == manifest.total


def test_rule_02_exactly_the_listed_files_are_encrypted(tmp_path, desk):
    manifest = desk.manifest()
    listed = tuple(r for r in manifest.resources if not r.name.startswith("layers/"))
    part = Manifest(kind="directory", resources=listed)
    sealed = seal_model(part, desk.model, b"s", [desk.zone_key("eu")], None, tmp_path / "out")["eu"]
    assert {blob.plaintext.sha256 for blob in sealed.blobs} == {r.digest for r in listed}


def test_rule_02_a_file_that_git_would_act_on_is_refused(tmp_path):
    resource = Resource(name="sub/.gitattributes", size=0, digest=sha256(b""))
    desk = make_desk(tmp_path / "desk", {"w": b"x"})
    with pytest.raises(VerificationFailed) as refused:
        seal_model(
            Manifest(kind="directory", resources=(resource,)),
            desk.model,
            b"s",
            [desk.zone_key("eu")],
            None,
            tmp_path / "out",
        )
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
    manifest = desk.manifest()
    tamper(desk.model / "sub" / "w")
    with pytest.raises(VerificationFailed) as refused:
        keys = [desk.zone_key("eu"), desk.zone_key("ch")]
        seal_model(manifest, desk.model, b"s", keys, None, tmp_path / "out")
    assert refused.value.reason == reason
    assert {item.name for item in tmp_path.iterdir()} == {"desk"}


def test_of_two_files_with_one_content_both_are_compared(tmp_path):
    """They become one blob; a change of either is seen all the same."""
    for name in ("a", "b"):
        desk = make_desk(tmp_path / name, {"a": b"twin", "b": b"twin"})
        manifest = desk.manifest()
        sealed = desk.seal(tmp_path / f"{name}-out", "eu")["eu"]
        assert len(sealed.blobs) == 1
        (desk.model / name).write_bytes(b"twiN")
        with pytest.raises(VerificationFailed) as refused:
            seal_model(manifest, desk.model, b"s", [desk.zone_key("eu")], None, tmp_path / "out")
        assert refused.value.reason == "digest-mismatch"


def test_rule_04_a_folder_that_becomes_a_link_is_not_followed(tmp_path):
    desk = make_desk(tmp_path / "desk", {"sub/w": b"42"})
    manifest = desk.manifest()
    (desk.model / "sub").rename(tmp_path / "elsewhere")
    (desk.model / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VerificationFailed) as refused:
        seal_model(manifest, desk.model, b"s", [desk.zone_key("eu")], None, tmp_path / "out")
    assert refused.value.reason == "not-regular"


def test_rule_04_a_file_touched_while_it_is_read_aborts(tmp_path):
    """Same bytes, another time stamp: someone writes there, and the next read may differ."""
    desk = make_desk(tmp_path / "desk", {"w": b"42"})
    manifest = desk.manifest()

    def touching(count: int) -> None:
        os.utime(desk.model / "w", ns=(1, 1))

    with pytest.raises(VerificationFailed) as refused:
        seal_model(
            manifest,
            desk.model,
            b"s",
            [desk.zone_key("eu")],
            None,
            tmp_path / "out",
            advance=touching,
        )
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


def test_rule_08_two_zones_share_no_key_salt_or_ciphertext(tmp_path, desk):
    out = tmp_path / "out"
    copies = desk.seal(out)
    keys, headers, blobs = [], [], []
    for zone, sealed in copies.items():
        read = memory_reader(in_memory(out / zone))
        identity = registry.open_identity(f"keys/{zone}.pem", desk.base)
        entries = open_keys(sealed, read, identity)
        keys += [entry.key for entry in entries.values()]
        blobs += list(entries)
        headers += [read(name).read(40) for name in [*entries, sealed.keytable.sha256]]
    assert len(set(keys)) == len(keys) == 2 * len(set(FILES.values()))
    assert len(set(blobs)) == len(blobs)
    assert len({header[1:33] for header in headers}) == len(headers)
    commits = [sealed.recipient.commit for sealed in copies.values()]
    assert len(set(commits)) == 2


def test_rule_08_zones_with_one_wrapping_key_are_refused(tmp_path, small):
    recipient = registry.open_recipient("keys/eu.pub.pem", small.base)
    keys = [ZoneKey(zone="eu", recipient=recipient), ZoneKey(zone="ch", recipient=recipient)]
    with pytest.raises(ConfigError) as refused:
        seal_model(small.manifest(), small.model, b"s", keys, None, tmp_path / "out")
    assert refused.value.reason == "shared-zone-key"
    for bad in ([], keys[:1] * 2, [ZoneKey(zone="../x", recipient=recipient)]):
        with pytest.raises(UsageError):
            seal_model(small.manifest(), small.model, b"s", bad, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rule_09_every_run_uses_new_keys(tmp_path, small):
    first = small.seal(tmp_path / "one", "eu")["eu"]
    again = small.seal(tmp_path / "two", "eu")["eu"]
    assert first.recipient.commit != again.recipient.commit
    assert first.blobs[0].commit != again.blobs[0].commit
    assert first.blobs[0].sha256 != again.blobs[0].sha256


def test_rule_10_another_zones_key_is_20_and_damage_is_11(tmp_path, desk):
    out = tmp_path / "out"
    copies = desk.seal(out)
    with pytest.raises(KeyServiceError) as wrong:
        desk.open(copies["eu"], out / "eu", tmp_path / "a", by="ch")
    assert (wrong.value.exit_code, wrong.value.reason) == (ExitCode.KEY, "wrong-key")
    other = make_desk(tmp_path / "other", {"w": b"x"})
    with pytest.raises(KeyServiceError):
        identity = registry.open_identity("keys/eu.pem", other.base)
        read = memory_reader(in_memory(out / "eu"))
        open_model(copies["eu"], read, identity, tmp_path, desk.manifest())
    # A commitment that is another key's: what unwraps is not the key that it was sealed with.
    bad = dataclasses.replace(copies["eu"].recipient, commit="00" * 32)
    with pytest.raises(KeyServiceError) as wrong:
        desk.open(dataclasses.replace(copies["eu"], recipient=bad), out / "eu", tmp_path / "b")
    assert wrong.value.reason == "wrong-key"


def opening(desk: Desk, sealed: Sealed, blobs: dict[str, bytes], into: Path) -> Path:
    identity = registry.open_identity("keys/eu.pem", desk.base)
    return open_model(sealed, memory_reader(blobs), identity, into, desk.manifest())


def assert_refused(
    desk: Desk, sealed: Sealed, blobs: dict[str, bytes], into: Path, *, intact: bool = False
) -> str:
    """Refused with 11 or, where the record names another key, 20; no plaintext is left.

    `intact`: the one chunk itself is as it was, and something stands after it.
    """
    into.mkdir(mode=0o700)
    with pytest.raises((VerificationFailed, KeyServiceError)) as refused:
        opening(desk, sealed, blobs, into)
    if not intact:
        # The private folder may hold what its chunk's digest vouched for, and nothing past damage.
        assert not any(b"forty-two" in data for data in tree(into).values())
    return refused.value.reason


def test_every_flipped_byte_of_blob_and_key_table_is_refused(tmp_path, small, copy):
    sealed, blobs = copy
    names = (sealed.blobs[0].sha256, sealed.keytable.sha256)
    for name, position in some([(item, at) for item in names for at in range(len(blobs[item]))]):
        bad = bytearray(blobs[name])
        bad[position] ^= 0x80 >> position % 8
        reason = assert_refused(
            small, sealed, {**blobs, name: bytes(bad)}, tmp_path / f"{name[:4]}{position}"
        )
        assert reason in ("damaged", "keytable")


@settings(max_examples=examples(60))
@given(st.data())
def test_every_cut_or_addition_to_blob_and_key_table_is_refused(
    tmp_path_factory, small, copy, data
):
    sealed, blobs = copy
    name = data.draw(st.sampled_from([sealed.blobs[0].sha256, sealed.keytable.sha256]))
    good = blobs[name]
    position = data.draw(st.integers(0, len(good)))
    bad = (
        good[:position]
        + data.draw(st.binary(max_size=4))
        + good[data.draw(st.integers(position, len(good))) :]
    )
    if bad != good:
        into = tmp_path_factory.mktemp("x") / "into"
        changed = {**blobs, name: bad}
        assert_refused(small, sealed, changed, into, intact=bad.startswith(good))


def test_every_flipped_byte_of_the_record_is_refused(tmp_path, small, copy):
    """Read as JSON it may still be well-formed: then what it names does not fit."""
    sealed, blobs = copy
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
        missing = {b.sha256 for b in read.blobs} | {read.keytable.sha256}
        extra = {name: b"" for name in missing if name not in blobs}
        reason = assert_refused(small, read, {**blobs, **extra}, tmp_path / str(position))
        assert reason in {
            "damaged",
            "keytable",
            "wrong-key",
            "wrapped-key",
            "manifest-mismatch",
            "malformed",
            "commit-mismatch",
        }


def test_a_blob_of_another_zone_or_model_does_not_pass(tmp_path, desk):
    """Even under the same name and with a matching record: the key table is authenticated."""
    out = tmp_path / "out"
    copies = desk.seal(out)
    eu, ch = copies["eu"], copies["ch"]
    blobs = in_memory(out / "eu") | in_memory(out / "ch")
    for bad in [
        dataclasses.replace(eu, blobs=ch.blobs),
        dataclasses.replace(eu, keytable=ch.keytable),
        dataclasses.replace(eu, recipient=ch.recipient),
        dataclasses.replace(eu, zone="ch"),
        dataclasses.replace(eu, release="churn/9"),
        dataclasses.replace(eu, blobs=eu.blobs[1:]),
        dataclasses.replace(eu, blobs=eu.blobs[::-1][:1] + eu.blobs[:-1][:2]),
    ]:
        into = tmp_path / "into"
        into.mkdir()
        with pytest.raises(SovgateError) as refused:
            identity = registry.open_identity("keys/eu.pem", desk.base)
            open_model(bad, memory_reader(blobs), identity, into, desk.manifest())
        assert refused.value.exit_code in (ExitCode.VERIFICATION, ExitCode.KEY)
        assert tree(into) == {}
        into.rmdir()


def forge(
    desk: Desk,
    sealed: Sealed,
    contents: list[tuple[bytes, Sized]],
    *,
    zone: str = "eu",
) -> tuple[Sealed, dict[str, bytes]]:
    """What someone can make who has the zone's public key: right keys, wraps, commits and tables.

    `contents` are (what is encrypted, what it is said to be); `zone` is what its table binds it to.
    """
    release_key, entries, records, blobs = stream.new_key(), [], [], {}
    for data, plaintext in contents:
        key = stream.new_key()
        blob = stream.seal(
            key, stream.associated_data(zone, plaintext.sha256, plaintext.size), data
        )
        name = sha256(blob)
        blobs[name] = blob
        entries.append(
            keytable.Entry(
                blob=name, key=key, zone=zone, plaintext=plaintext, chunks=bytes.fromhex(name)
            )
        )
        records.append(
            Blob(sha256=name, size=len(blob), plaintext=plaintext, commit=wrap.commit(key))
        )
    context = wrap.Context(zone="eu", release=None, manifest=sealed.manifest.sha256)
    table = keytable.seal(entries, release_key, context)
    blobs[sha256(table)] = table
    recipient = dataclasses.replace(
        sealed.recipient,
        wrapped=desk.zone_key("eu").recipient.wrap(release_key, context.canonical()),
        commit=wrap.commit(release_key),
    )
    forged = dataclasses.replace(
        sealed,
        recipient=recipient,
        keytable=Sized(sha256=sha256(table), size=len(table)),
        blobs=tuple(records),
    )
    return forged, blobs


def test_who_has_the_public_key_can_encrypt_but_not_pass_anything_else(tmp_path, small, copy):
    """Encryption says nothing about who made a copy: the signature does, and it decides."""
    resource = small.manifest().resources[0]
    signed = Sized(sha256=resource.digest, size=resource.size)
    good, extra = (b"forty-two", signed), (b"more", Sized(sha256=sha256(b"more"), size=4))
    forged, blobs = forge(small, copy[0], [good])
    (tmp_path / "good").mkdir()
    model = opening(small, forged, blobs, tmp_path / "good")
    assert tree(model) == {"w": b"forty-two"}
    for name, contents, zone, reason in [
        ("another plaintext", [(b"forty-twO", signed)], "eu", "digest-mismatch"),
        ("a file more", [good, extra], "eu", "manifest-mismatch"),
        ("no file", [], "eu", "manifest-mismatch"),
        ("another file", [extra], "eu", "manifest-mismatch"),
        ("bound to another zone", [good], "ch", "keytable"),
    ]:
        forged, blobs = forge(small, copy[0], contents, zone=zone)
        into = tmp_path / name
        into.mkdir()
        with pytest.raises(VerificationFailed) as refused:
            opening(small, forged, blobs, into)
        assert (name, refused.value.reason) == (name, reason)


def test_rule_12_a_blob_that_authenticates_but_is_not_the_tables_is_refused(tmp_path, small, copy):
    """Same key, same plaintext, another salt: AES-GCM opens it, the chunk's digest does not fit."""
    sealed, blobs = copy
    read = memory_reader(blobs)
    identity = registry.open_identity("keys/eu.pem", small.base)
    (entry,) = open_keys(sealed, read, identity).values()
    again = stream.seal(entry.key, entry.associated_data, b"forty-two")
    assert stream.unseal(entry.key, entry.associated_data, again) == b"forty-two"
    bad = {**blobs, entry.blob: again}
    assert assert_refused(small, sealed, bad, tmp_path / "into") == "damaged"


def test_a_blob_with_bytes_after_its_end_is_refused(tmp_path, small, copy):
    sealed, blobs = copy
    for name in (sealed.blobs[0].sha256, sealed.keytable.sha256):
        bad = {**blobs, name: blobs[name] + b"\0"}
        assert_refused(small, sealed, bad, tmp_path / name[:8], intact=True)


def test_rule_02_a_copy_that_holds_more_or_less_than_was_signed_is_refused(tmp_path, desk, small):
    sealed = small.seal(tmp_path / "out", "eu")["eu"]
    with pytest.raises(VerificationFailed) as refused:
        identity = registry.open_identity("keys/eu.pem", small.base)
        blobs = memory_reader(in_memory(tmp_path / "out" / "eu"))
        open_model(sealed, blobs, identity, tmp_path, desk.manifest())
    assert refused.value.reason == "manifest-mismatch"


def test_the_release_is_bound_into_the_copy(tmp_path, small):
    release = Release.parse("churn/1.0")
    keys = [small.zone_key("eu")]
    sealed = seal_model(small.manifest(), small.model, b"s", keys, release, tmp_path / "out")["eu"]
    assert sealed.release == "churn/1.0"
    into = tmp_path / "into"
    assert_refused(
        small, dataclasses.replace(sealed, release=None), in_memory(tmp_path / "out" / "eu"), into
    )


def test_a_reader_that_fails_midway_is_told_and_leaves_no_threads(tmp_path, small, copy):
    import threading

    sealed, blobs = copy

    class Broken:
        def read(self, _: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def read(name: str):
        return Broken() if name == sealed.blobs[0].sha256 else memory_reader(blobs)(name)

    identity = registry.open_identity("keys/eu.pem", small.base)
    before = threading.active_count()
    with pytest.raises(SovgateError) as refused:
        open_model(sealed, read, identity, tmp_path, small.manifest())
    assert refused.value.exit_code == ExitCode.DISK
    assert threading.active_count() == before


def test_rule_29_nothing_that_seals_shows_a_key(small, tmp_path):
    sealed = small.seal(tmp_path / "out", "eu")["eu"]
    identity = registry.open_identity("keys/eu.pem", small.base)
    entries = open_keys(sealed, memory_reader(in_memory(tmp_path / "out" / "eu")), identity)
    key = next(iter(entries.values())).key
    seen = [repr(sealed), repr(entries), str(sealed.canonical()), repr(identity)]
    for text in seen:
        assert key.hex() not in text
        assert repr(key)[2:-1] not in text


def test_blobs_lie_where_the_format_says(tmp_path):
    assert blob_path(tmp_path, "ab").relative_to(tmp_path).as_posix() == "blobs/sha256/ab"
