"""Parts, chunk lists and key tables: together they carry the model exactly once, or are refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import InternalError, Malformed, VerificationFailed
from sovgate.formats import part as parts
from sovgate.formats.chunk import SIZE
from sovgate.formats.manifest import Manifest
from sovgate.formats.part import Part
from sovgate.formats.plan import Plan, Unit
from sovgate.formats.wrap import Context, Wrapped, commit
from sovgate.records import Sized
from sovgate.stages.encrypt import Opened, open_parts
from tests.unit.test_plan import digest_of, manifest_of

RELEASE_KEY = bytes(range(32))
CONTEXT = Context(zone="eu", release="churn/1.0.0", manifest="ab" * 32)
WRAPPED = Wrapped(key_id="cd" * 32, algorithm="x", wrapped=b"wrapped", commit=commit(RELEASE_KEY))


def digests(count: int, seed: str = "chunk") -> list[bytes]:
    return [hashlib.sha256(f"{seed}{at}".encode()).digest() for at in range(count)]


def a_part(
    chunks: int,
    *,
    units: tuple[int, int] | None = None,
    reused: tuple[tuple[str, ...], ...] = (),
    number: int = 1,
    of: int = 1,
    context: Context = CONTEXT,
) -> tuple[Part, bytes, bytes, list[bytes]]:
    """A part of so many chunks, with its list, its table and their keys."""
    data, named = parts.sized_list(digests(chunks, f"{number}/{of} "))
    keys = digests(chunks, f"key {number}/{of} ")
    ad = parts.table_ad(context, number, of, named.sha256)
    table = parts.seal_table(keys, RELEASE_KEY, ad)
    part = Part(
        number=number,
        of=of,
        units=units,
        reused=reused,
        list=named,
        keytable=Sized(sha256=hashlib.sha256(table).hexdigest(), size=len(table)),
        recipient=WRAPPED,
    )
    return part, data, table, keys


def count(units: tuple[Unit, ...]) -> int:
    return sum(unit.chunks for unit in units)


def carrying(manifest: Manifest, shards: int) -> list[Part]:
    """The parts of a release that so many machines sent."""
    plan = Plan.of(manifest)
    return [
        a_part(
            count(plan.units[places.start : places.stop]),
            units=(places.start, len(places)),
            number=at,
            of=shards,
        )[0]
        for at, places in enumerate(plan.deal(shards), 1)
    ]


MODELS = st.lists(st.sampled_from([1, 5, SIZE - 1, SIZE, 2 * SIZE + 3]), min_size=1, max_size=8)


@given(sizes=MODELS, shards=st.integers(1, 5))
def test_the_parts_of_any_number_of_shards_carry_each_content_once(sizes, shards):
    manifest = manifest_of(*sizes)
    carried = parts.arrange(manifest, list(reversed(carrying(manifest, shards))))
    plan = Plan.of(manifest)
    assert [c for one in carried for u in one.units for c in u.contents] == list(plan.contents)
    assert sum(one.part.chunks for one in carried) == plan.chunks
    assert all(unit.first == 0 for one in carried for unit in one.units[:1])


def refused(manifest: Manifest, *given_parts: Part) -> str:
    with pytest.raises(VerificationFailed) as error:
        parts.arrange(manifest, given_parts)
    assert error.value.reason == "parts"
    return error.value.why


MODEL = manifest_of(SIZE, 2 * SIZE, 3, 3 * SIZE)  # units of 1, 2, 1 and 3 chunks


def test_a_missing_repeated_or_foreign_part_is_refused():
    one, two, three = carrying(MODEL, 3)
    assert len(parts.arrange(MODEL, (one, two, three))) == 3
    refused(MODEL)
    refused(MODEL, one, two)
    refused(MODEL, one, two, two)
    refused(MODEL, one, two, three, three)
    refused(MODEL, one, two, replace(three, of=4))
    refused(MODEL, one, replace(two, number=3), replace(three, number=2, units=(0, 9)))


def test_a_unit_that_is_carried_twice_or_not_at_all_is_refused():
    whole = a_part(7, units=(0, 4))[0]
    assert parts.arrange(MODEL, [whole])
    for units, chunks in (((0, 3), 4), ((1, 3), 6), ((0, 5), 7), ((0, 0), 0)):
        refused(MODEL, a_part(chunks, units=units)[0])
    overlap = [
        a_part(4, units=(0, 3), number=1, of=2)[0],
        a_part(4, units=(2, 2), number=2, of=2)[0],
    ]
    assert "twice" in refused(MODEL, *overlap)


def test_parts_that_overlap_are_refused_before_what_they_name_is_spread_out(monkeypatch):
    """256 parts that each name all of a large model would fill the memory of whoever reads them."""
    spread = []

    def placed(groups):
        spread.append(list(groups))
        return iter(())

    monkeypatch.setattr(parts, "_placed", placed)
    every = [a_part(7, units=(0, 4), number=at, of=256)[0] for at in range(1, 257)]
    assert "carry a file twice" in refused(MODEL, *every)
    assert spread == []


def test_a_list_of_another_length_than_the_files_demand_is_refused():
    assert "8 chunks; its files demand 7" in refused(MODEL, a_part(8, units=(0, 4))[0])
    assert "6 chunks; its files demand 7" in refused(MODEL, a_part(6, units=(0, 4))[0])


def test_a_model_of_empty_files_has_one_part_with_an_empty_list():
    part, data, table, _ = a_part(0, units=(0, 0))
    assert data == b"" and parts.arrange(manifest_of(0, 0), [part])[0].units == ()
    assert parts.read_list(b"", part) == ()
    assert parts.open_table(table, RELEASE_KEY, part, CONTEXT) == ()


def test_units_of_an_earlier_release_are_carried_by_their_contents():
    large, packed = digest_of("1"), (digest_of("2"),)
    own = a_part(4, units=(0, 2), number=1, of=2)[0]
    old = a_part(3, reused=((large,), packed), number=2, of=2)[0]
    carried = parts.arrange(MODEL, [own, old])
    assert [unit.contents[0].digest for unit in carried[1].units] == [large, packed[0]]
    assert [unit.first for unit in carried[1].units] == [0, 2]


@pytest.mark.parametrize(
    "reused",
    [
        ((digest_of("1"),), (digest_of("1"),)),
        ((digest_of("elsewhere"),),),
        ((digest_of("2"), digest_of("1")),),
        ((digest_of("1"), digest_of("3")),),
        ((hashlib.sha256().hexdigest(),),),
    ],
)
def test_what_no_earlier_plan_could_have_made_is_not_reused(reused):
    own = a_part(4, units=(0, 2), number=1, of=2)[0]
    refused(MODEL, own, a_part(3, reused=reused, number=2, of=2)[0])


# -- lists


def test_a_list_is_the_one_that_was_signed_or_refused():
    part, data, _, _ = a_part(3, units=(0, 3))
    assert parts.read_list(data, part) == tuple(digests(3, "1/1 "))
    swapped = data[32:64] + data[:32] + data[64:]
    for bad in (swapped, data[:-32], data + data[:32], b"", data[:-1] + b"\0"):
        with pytest.raises(VerificationFailed) as error:
            parts.read_list(bad, part)
        assert error.value.reason == "chunk-list"


def test_a_list_that_names_a_chunk_twice_is_refused_though_it_was_signed():
    data, named = parts.sized_list([digests(1)[0]] * 2)
    with pytest.raises(VerificationFailed, match="damaged") as error:
        parts.read_list(data, replace(a_part(2, units=(0, 2))[0], list=named))
    assert "twice" in error.value.why


# -- tables


def test_a_table_is_one_encryption_of_the_keys_bound_to_all_that_it_serves():
    part, _, table, keys = a_part(3, units=(0, 3), number=2, of=5)
    ad = (
        '{{"format":"sovgate.keytable/v0","list":"{}","manifest":"{}","part":2,"parts":5,'
        '"release":"churn/1.0.0","zone":"eu"}}'.format(part.list.sha256, "ab" * 32)
    ).encode()
    assert part.associated_data(CONTEXT) == ad
    assert AESGCM(RELEASE_KEY).decrypt(table[:12], table[12:], ad) == b"".join(keys)
    assert parts.open_table(table, RELEASE_KEY, part, CONTEXT) == tuple(keys)


@pytest.mark.parametrize(
    "context",
    [
        replace(CONTEXT, zone="ch"),
        replace(CONTEXT, release="churn/1.0.1"),
        replace(CONTEXT, release=None),
        replace(CONTEXT, manifest="ac" * 32),
    ],
)
def test_a_table_opens_for_its_zone_release_and_manifest_alone(context):
    part, _, table, _ = a_part(2, units=(0, 2))
    with pytest.raises(VerificationFailed) as error:
        parts.open_table(table, RELEASE_KEY, part, context)
    assert error.value.reason == "keytable"


def test_a_table_serves_its_place_its_list_and_its_release_key_alone():
    part, _, table, _ = a_part(2, units=(0, 2), number=1, of=2)
    other = a_part(2, units=(0, 2), number=2, of=2)[0]
    flipped = bytes([table[0] ^ 1]) + table[1:]
    for changed, data, key in (
        (replace(part, number=2), table, RELEASE_KEY),
        (replace(part, of=3), table, RELEASE_KEY),
        (replace(part, list=other.list), table, RELEASE_KEY),
        (part, table, bytes(32)),
        (part, flipped, RELEASE_KEY),
        (part, table[:-1], RELEASE_KEY),
    ):
        with pytest.raises(VerificationFailed) as error:
            parts.open_table(data, key, changed, CONTEXT)
        assert error.value.reason == "keytable"


def test_a_key_that_stands_twice_is_refused_within_a_table_and_across():
    part = a_part(2, units=(0, 2))[0]
    iv, key = bytes(12), bytes(range(1, 33))
    sealed = iv + AESGCM(RELEASE_KEY).encrypt(iv, key * 2, part.associated_data(CONTEXT))
    named = Sized(sha256=hashlib.sha256(sealed).hexdigest(), size=len(sealed))
    with pytest.raises(VerificationFailed, match="damaged") as error:
        parts.open_table(sealed, RELEASE_KEY, replace(part, keytable=named), CONTEXT)
    assert "twice" in error.value.why
    parts.require_distinct([[b"a", b"b"], [b"c"]])
    with pytest.raises(VerificationFailed):
        parts.require_distinct([[b"a", b"b"], [b"a"]])
    for keys in ([key, key], [bytes(16)]):
        with pytest.raises(InternalError):
            parts.seal_table(keys, RELEASE_KEY, b"")


class Zone:
    """An identity that opens whatever it is given to the release key."""

    key_id, algorithm = WRAPPED.key_id, WRAPPED.algorithm

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return RELEASE_KEY


@pytest.mark.parametrize("shared", [False, True])
def test_rule_9_a_key_that_two_tables_have_opens_neither_part(shared: bool) -> None:
    """Each table is whole and was signed: only side by side it shows."""
    plan = Plan.of(manifest_of(("a", SIZE), ("b", SIZE)))
    tables: dict[str, bytes] = {}
    listed = []
    for number in (1, 2):
        part, data, table, _ = a_part(1, units=(number - 1, 1), number=number, of=2)
        if shared:
            ad = parts.table_ad(CONTEXT, number, 2, part.list.sha256)
            table = parts.seal_table(digests(1, "one for both"), RELEASE_KEY, ad)
            named = Sized(sha256=hashlib.sha256(table).hexdigest(), size=len(table))
            part = replace(part, keytable=named)
        tables[part.keytable.sha256] = table
        units = (plan.units[number - 1],)
        listed.append(parts.Listed(part=part, units=units, digests=(data,)))

    def opened() -> tuple[Opened, ...]:
        return open_parts(listed, CONTEXT, Zone(), lambda sized, _what: tables[sized.sha256])

    if shared:
        with pytest.raises(VerificationFailed) as error:
            opened()
        assert error.value.reason == "parts"
    else:
        assert len(opened()) == 2


def test_no_secret_shows_in_an_error_or_a_repr():
    part, _, table, keys = a_part(2, units=(0, 2))
    with pytest.raises(VerificationFailed) as error:
        parts.open_table(table, keys[0], part, CONTEXT)
    told = repr(error.value) + str(error.value) + repr(part)
    assert not any(key.hex() in told or repr(key) in told for key in [*keys, RELEASE_KEY])
    assert error.value.__cause__ is None


# -- as JSON


@pytest.mark.parametrize("reused", [(), ((digest_of("1"), digest_of("2")), (digest_of("3"),))])
def test_a_part_reads_back_as_it_was_written(reused):
    part = a_part(2, units=None if reused else (4, 2), reused=reused, number=2, of=3)[0]
    fields = strict.Fields(strict.loads_canonical(strict.canonical(part.json())), "part")
    assert Part.read(fields) == part


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"number": 0},
        {"of": 257, "number": 257},
        {"units": None},
        {"reused": [["ab" * 32]]},
        {"units": None, "reused": [[]]},
        {"units": None, "reused": ["ab" * 32]},
        {"units": None, "reused": [["AB" * 32]]},
        {"units": {"first": 0}},
        {"units": {"first": 0, "count": -1}},
        {"list": {"sha256": "ab" * 32, "size": 63}},
        {"list": {"sha256": "ab" * 32, "size": 96}},
        {"keytable": {"sha256": "ab" * 32, "size": 91}},
        {"extra": 1},
    ],
)
def test_a_part_that_cannot_be_is_malformed(change):
    written = {**a_part(2, units=(0, 2))[0].json(), **change}
    with pytest.raises(Malformed):
        Part.read(strict.Fields(strict.loads_canonical(strict.canonical(written)), "part"))
