"""The sender's ledger: what is signed, bound, bounded and canonical is used, and nothing else."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sovgate import strict
from sovgate.errors import DiskError, KeyServiceError, Malformed, UsageError, VerificationFailed
from sovgate.formats import ledger as form
from sovgate.formats import wrap
from sovgate.formats.ledger import Ledger, Origin, Row, Scope, Sheet, ZoneKey
from sovgate.formats.resume import MAX_DOCUMENT, Course, Signed, signed_bytes
from sovgate.keys.awskms import encryption_context
from sovgate.keys.registry import open_identity, open_recipient
from sovgate.pipeline.look.keys import generate
from sovgate.stages.encrypt import ledger as stage
from sovgate.stages.encrypt.folder import PrivateFolder
from sovgate.stages.encrypt.kept import OwnKey
from sovgate.stages.encrypt.ledger import Carried, open_keys, read_ledger, write_ledger
from tests.signers import KeySigner

ROOT = Path(__file__).resolve().parents[2]
VECTOR = json.loads((ROOT / "tests" / "vectors" / "ledger.json").read_text(encoding="utf-8"))
SCOPE = Scope(source="home", zone="eu", store="s3://churn-eu")
SIGNER = KeySigner()
TODAY = ZoneKey(key_id="44" * 32, algorithm="rsa-oaep-sha256")
BEFORE = ZoneKey(key_id="55" * 32, algorithm="rsa-oaep-sha256")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        generate("encrypt", out=made / f"{name}.pem", algorithm="ec-p256")
    return made


@pytest.fixture(scope="module")
def own(folder: Path) -> OwnKey:
    return own_key(folder, "own")


def own_key(folder: Path, name: str) -> OwnKey:
    return OwnKey(
        recipient=open_recipient(f"{name}.pem", folder),
        identity=lambda: open_identity(f"{name}.pem", folder),
    )


def unit(
    number: int,
    chunks: int = 1,
    *,
    release: str = "churn/1.0.0",
    keys: frozenset[ZoneKey] = frozenset({TODAY}),
    contents: tuple[str, ...] | None = None,
) -> Carried:
    return Carried(
        row=Row(
            contents=contents or (f"{number:064x}",),
            digests=tuple(bytes([number, at]) + bytes(30) for at in range(chunks)),
            wrapped_for=keys,
            origin=Origin(release=release, record="99" * 32),
        ),
        keys=tuple(bytes([number, at]) + b"k" * 30 for at in range(chunks)),
    )


def write(base: Path, own: OwnKey, *units: Carried, today: ZoneKey = TODAY) -> None:
    write_ledger(base, SCOPE, units, today, SIGNER, own)


def read(base: Path, own: OwnKey) -> list[Carried]:
    found = read_ledger(base, SCOPE, SIGNER)
    assert found is not None
    keys = open_keys(found, own)
    starts = found.sheet.starts
    return [
        Carried(row=row, keys=keys[at : at + len(row.digests)])
        for at, row in zip(starts, found.sheet.rows, strict=True)
    ]


def file(base: Path) -> Path:
    return base / SCOPE.name / "ledger"


def test_what_was_written_is_read_again_the_newest_release_first(
    tmp_path: Path, own: OwnKey
) -> None:
    assert read_ledger(tmp_path, SCOPE, SIGNER) is None
    assert not (tmp_path / SCOPE.name).exists(), "who only asks makes nothing"
    first = [unit(1), unit(2, 3)]
    write(tmp_path, own, *first)
    assert read(tmp_path, own) == first
    second = [unit(3, release="churn/1.1.0"), unit(4, release="churn/1.1.0")]
    write(tmp_path, own, *second)
    assert read(tmp_path, own) == [*second, *first]
    assert os.listdir(tmp_path / SCOPE.name) == ["ledger"]  # noqa: PTH208
    assert file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / SCOPE.name).stat().st_mode & 0o777 == 0o700


def test_of_two_units_with_the_same_contents_the_newest_stays(tmp_path: Path, own: OwnKey) -> None:
    same = ("ab" * 32, "cd" * 32)
    old, new = unit(1, contents=same), unit(2, contents=same, release="churn/1.1.0")
    other = unit(3, contents=(same[1], same[0]))
    write(tmp_path, own, old, other)
    write(tmp_path, own, new)
    assert read(tmp_path, own) == [new, other]


def test_rule_8_units_that_another_key_ever_wrapped_go(tmp_path: Path, own: OwnKey) -> None:
    """After a rotation, and a return to the key of before, nothing of before is left."""
    write(tmp_path, own, unit(1), unit(2))
    moved = frozenset({BEFORE})
    write(tmp_path, own, unit(3, keys=moved), today=BEFORE)
    assert read(tmp_path, own) == [unit(3, keys=moved)]
    write(tmp_path, own, unit(4), unit(5, keys=frozenset({TODAY, BEFORE})))
    assert read(tmp_path, own) == [unit(4)]


def test_the_oldest_go_where_there_are_too_many(
    tmp_path: Path, own: OwnKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MAX_CHUNKS", 6)
    write(tmp_path, own, unit(1, 2), unit(2, 2))
    write(tmp_path, own, unit(3, 3))
    assert read(tmp_path, own) == [unit(3, 3), unit(1, 2)]


def test_no_key_and_no_secret_of_one_is_in_a_repr_or_in_the_file(
    tmp_path: Path, own: OwnKey
) -> None:
    one = unit(1, 2)
    write(tmp_path, own, one)
    data = file(tmp_path).read_bytes()
    for key in one.keys:
        assert key not in data
        assert key.hex() not in repr(one)


# -- what is not used


def signed_by(signer: KeySigner, header: bytes, body: bytes) -> bytes:
    signature = signer.sign(form.signed_bytes(header))
    return form.joined(Signed(payload=header, signature=signature), body)


def edited(data: bytes, edit: Callable[[dict[str, strict.JSON]], None]) -> bytes:
    """With another header, signed as it should be."""
    signed, body = form.parted(data)
    header = json.loads(signed.payload)
    edit(header)
    return signed_by(SIGNER, strict.canonical(header), body)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _as_kept_keys(data: bytes) -> bytes:
    """A signature of this zone's over the same bytes, as of another thing."""
    signed, body = form.parted(data)
    signature = SIGNER.sign(signed_bytes(signed.payload))
    return form.joined(Signed(payload=signed.payload, signature=signature), body)


PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "signed by another": lambda data: signed_by(
        KeySigner(), form.parted(data)[0].payload, form.parted(data)[1]
    ),
    "signed as kept keys": _as_kept_keys,
    "not signed": lambda data: form.joined(
        Signed(payload=form.parted(data)[0].payload, signature=b""), form.parted(data)[1]
    ),
    "of another zone": lambda data: edited(
        data, lambda header: header.update(scope=replace(SCOPE, zone="ch").json())
    ),
    "of another store": lambda data: edited(
        data, lambda header: header.update(scope=replace(SCOPE, store="s3://other").json())
    ),
    "from another zone": lambda data: edited(
        data, lambda header: header.update(scope=replace(SCOPE, source="us").json())
    ),
    "of another format": lambda data: edited(
        data, lambda header: header.update(format="sovgate.ledger/v1")
    ),
    "with one more field": lambda data: edited(data, lambda header: header.update(more=1)),
    "not canonical": lambda data: b" " + data,
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "of no line": lambda data: data.replace(b"\n", b""),
    "empty": lambda _: b"",
    "of one long line": lambda data: b" " * 2 * MAX_DOCUMENT + data,
    "units changed": lambda data: data.replace(b'"chunks":2', b'"chunks":3'),
    "list changed": lambda data: flipped(data, len(data) - 28 - 4 * 32 - 10),
    "table changed": lambda data: flipped(data, len(data) - 1),
}


@pytest.mark.parametrize("how", PLANTED)
def test_rule_31_a_ledger_that_is_not_this_zones_word_is_not_used(
    tmp_path: Path, own: OwnKey, how: str
) -> None:
    write(tmp_path, own, unit(1, 2), unit(2, 2))
    path = file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(PLANTED[how](whole))
    assert path.read_bytes() != whole
    with pytest.raises(VerificationFailed):
        read_ledger(tmp_path, SCOPE, SIGNER)
    write(tmp_path, own, unit(3))
    assert read(tmp_path, own) == [unit(3)], "nothing of it goes into the next one"


def test_rule_31_a_ledger_whose_keys_another_key_wrapped_gives_none(
    tmp_path: Path, folder: Path, own: OwnKey
) -> None:
    """Also after the sender moved to a hybrid key: what the old one could open is not used."""
    write(tmp_path, own_key(folder, "other"), unit(1))
    found = read_ledger(tmp_path, SCOPE, SIGNER)
    assert found is not None
    with pytest.raises(VerificationFailed):
        open_keys(found, own)
    write(tmp_path, own, unit(2))
    assert read(tmp_path, own) == [unit(2)]


def test_rule_8_a_ledger_key_opens_for_its_scope_and_commitment_alone(
    tmp_path: Path, own: OwnKey
) -> None:
    write(tmp_path, own, unit(1))
    found = read_ledger(tmp_path, SCOPE, SIGNER)
    assert found is not None
    other = replace(found.sheet, scope=replace(SCOPE, zone="ch"))
    with pytest.raises(VerificationFailed):
        open_keys(replace(found, sheet=other), own)
    wrapped = replace(found.recipient, commit=wrap.commit(b"x" * 32))
    with pytest.raises(VerificationFailed):
        open_keys(replace(found, recipient=wrapped), own)
    with pytest.raises(VerificationFailed, match="do not open"):
        found.keys(b"x" * 32)


def test_a_key_service_that_does_not_answer_is_no_ledger_of_another(
    tmp_path: Path, own: OwnKey
) -> None:
    write(tmp_path, own, unit(1))
    found = read_ledger(tmp_path, SCOPE, SIGNER)
    assert found is not None

    def away():  # type: ignore[no-untyped-def]
        raise KeyServiceError("the service does not answer", reason="unreachable")

    with pytest.raises(KeyServiceError, match="does not answer"):
        open_keys(found, replace(own, identity=away))


def _sheet(*rows: Row) -> Sheet:
    return Sheet(scope=SCOPE, rows=rows)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ((unit(1).row, replace(unit(1).row, contents=("ee" * 32,))), "a chunk twice"),
        ((unit(1).row, replace(unit(2).row, contents=unit(1).contents)), "a unit twice"),
        ((replace(unit(1).row, contents=("aa" * 32, "aa" * 32)),), "or one twice"),
        ((replace(unit(1).row, contents=()),), "no content"),
        ((replace(unit(1).row, digests=()),), "no chunk"),
        ((replace(unit(1).row, wrapped_for=frozenset()),), "wrapped for nobody"),
        ((unit(1, 2, contents=("aa" * 32, "bb" * 32)).row,), "more than one chunk"),
    ],
)
def test_units_that_cannot_be_are_refused(rows: tuple[Row, ...], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        _sheet(*rows).check()


def test_rule_9_a_ledger_with_one_key_for_two_chunks_is_refused(
    tmp_path: Path, own: OwnKey
) -> None:
    """Neither written nor, where who had the zone's keys wrote it, read."""
    one = unit(1, 2)
    with pytest.raises(Malformed):
        write(tmp_path, own, replace(one, keys=(b"k" * 32, b"k" * 32)))
    key = b"l" * 32
    made = Ledger.parse(*form.sealed(_sheet(one.row), one.keys, key, own.wrap(key, b"{}")))
    assert made.keys(key) == one.keys
    table = bytes(12) + AESGCM(key).encrypt(bytes(12), b"k" * 64, made._ad)
    with pytest.raises(VerificationFailed, match="a key twice"):
        replace(made, table=table).keys(key)


# -- the folder


@pytest.mark.parametrize("how", ["open to others", "a link", "a file"])
def test_rule_31_a_folder_that_is_not_private_is_not_used(
    tmp_path: Path, own: OwnKey, how: str
) -> None:
    write(tmp_path / "there", own, unit(1))
    place = tmp_path / "there" / SCOPE.name
    if how == "open to others":
        place.chmod(0o755)
    else:
        place.rename(tmp_path / "moved")
        if how == "a link":
            place.symlink_to(tmp_path / "moved")
        else:
            place.write_text("")
    with pytest.raises(DiskError) as error:
        read_ledger(tmp_path / "there", SCOPE, SIGNER)
    assert error.value.reason == "unsafe-state"


def test_two_pushes_at_once_wait_for_each_other(tmp_path: Path, own: OwnKey) -> None:
    """Each adds what it sent to what the other one wrote."""
    wrong: list[BaseException] = []

    def one(number: int) -> None:
        try:
            write(tmp_path, own, unit(number, release=f"churn/1.{number}.0"))
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(one.contents for one in read(tmp_path, own)) == [
        unit(number).contents for number in range(1, 6)
    ]


def test_one_that_hangs_is_not_waited_for_without_end(
    tmp_path: Path, own: OwnKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_WAIT", 0.0)
    write(tmp_path, own, unit(1))
    other = PrivateFolder(tmp_path, SCOPE.name, "ledger")
    other.open()
    try:
        with pytest.raises(UsageError) as error:
            write(tmp_path, own, unit(2))
        assert error.value.reason == "in-use"
    finally:
        other.close()
    assert read(tmp_path, own) == [unit(1)]


def test_a_run_that_is_killed_while_it_writes_leaves_the_old_ledger(
    tmp_path: Path, own: OwnKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, own, unit(1))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, own, unit(2))
    assert read(tmp_path, own) == [unit(1)]
    write(tmp_path, own, unit(2))
    assert read(tmp_path, own) == [unit(2), unit(1)]


# -- the format


def test_no_release_key_and_no_outbox_key_has_the_context_of_a_ledger_key() -> None:
    """Nor in a key service, which takes its fields one by one."""
    course = Course(
        release="churn/1.0.0",
        manifest="ab" * 32,
        source=SCOPE.source,
        zone=SCOPE.zone,
        key_id=TODAY.key_id,
        store=SCOPE.store,
    )
    release = wrap.Context(zone="eu", release="churn/1.0.0", manifest="ab" * 32)
    contexts = [release.canonical(), course.context(), SCOPE.context()]
    assert len({json.loads(one)["format"] for one in contexts}) == 3
    assert len({tuple(sorted(encryption_context(one).items())) for one in contexts}) == 3
    other = replace(SCOPE, store="s3://other")
    assert encryption_context(other.context()) != encryption_context(SCOPE.context())


def test_the_vector_is_ours_and_on_the_page(own: OwnKey) -> None:
    """It was made without this code."""
    key = bytes.fromhex(VECTOR["ledger-key"])
    recipient = wrap.Wrapped(
        key_id="66" * 32,
        algorithm="hpke-p256-hkdf-sha256-aes256gcm",
        wrapped=bytes(range(8)),
        commit=wrap.commit(key),
    )
    origin = Origin(release="churn/1.3.0", record="99" * 32)
    digests = [bytes([at]) * 32 for at in (0xC0, 0xC1, 0xC2)]
    keys = tuple(bytes([at]) * 32 for at in (0xD0, 0xD1, 0xD2))
    sheet = _sheet(
        Row(
            contents=("a1" * 32,),
            digests=tuple(digests[:2]),
            wrapped_for=frozenset({TODAY}),
            origin=origin,
        ),
        Row(
            contents=("b1" * 32, "b2" * 32),
            digests=tuple(digests[2:]),
            wrapped_for=frozenset({TODAY}),
            origin=origin,
        ),
    )
    iv = bytes.fromhex(VECTOR["table-iv"])
    header, body = form.sealed(sheet, keys, key, recipient, iv=iv)
    assert header.decode() == VECTOR["header"]
    listed, table = bytes.fromhex(VECTOR["list"]), bytes.fromhex(VECTOR["table"])
    assert body == VECTOR["units"].encode() + listed + table
    assert (SCOPE.name, SCOPE.context().decode()) == (VECTOR["folder"], VECTOR["context"])
    read_back = Ledger.parse(header, body)
    assert (read_back.sheet, read_back.recipient) == (sheet, recipient)
    assert read_back.keys(key) == keys
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for name in ("header", "units"):
        assert f"```json\n{VECTOR[name]}\n```" in page
    assert f"```json\n{VECTOR['context']}\n{VECTOR['table-ad']}\n```" in page
