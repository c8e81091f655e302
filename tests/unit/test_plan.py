"""The plan: a partition of the model's bytes that sender and reader compute alike."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sovgate.errors import InternalError, VerificationFailed
from sovgate.formats import plan as plans
from sovgate.formats.chunk import SIZE
from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.plan import EMPTY, Plan

MIB = 1024 * 1024


def digest_of(content: object) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def manifest_of(*files: tuple[str, int] | int) -> Manifest:
    """Files in order, by size, or by content and size where a content stands twice."""
    resources = []
    for at, one in enumerate(files):
        content, size = one if isinstance(one, tuple) else (str(at), one)
        digest = digest_of(content) if size else EMPTY
        resources.append(Resource(name=f"{at:06}", size=size, digest=digest))
    return Manifest(kind="directory", resources=tuple(resources))


def shape(plan: Plan) -> list[list[str]]:
    """The names of each unit's files."""
    return [[content.name for content in unit.contents] for unit in plan.units]


SIZES = st.one_of(
    st.integers(0, 4 * MIB),
    st.sampled_from([0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 7]),
)
FILES = st.lists(st.tuples(st.integers(0, 12), SIZES), min_size=1, max_size=40)


def consistent(files: list[tuple[int, int]]) -> list[tuple[str, int]]:
    """A content has the size with which it stands first."""
    sizes: dict[int, int] = {}
    return [(str(content), sizes.setdefault(content, size)) for content, size in files]


@given(files=FILES, shards=st.integers(1, 9), dropped=st.sets(st.integers(0, 12)))
@example(files=[(0, 0)], shards=1, dropped=set())
def test_a_plan_is_a_partition_of_the_contents_bytes(files, shards, dropped):
    manifest = manifest_of(*consistent(files))
    without = frozenset(map(digest_of, dropped))
    plan = Plan.of(manifest, without=without)
    wanted = {r.digest: r.size for r in manifest.resources if r.size and r.digest not in without}
    covered: dict[str, list[tuple[int, int]]] = {}
    for at in range(plan.chunks):
        pieces = plan.pieces(at)
        assert plan.length(at) == sum(piece.size for piece in pieces)
        assert 0 < plan.length(at) <= SIZE
        end = 0
        for piece in pieces:
            assert piece.at == end and piece.size > 0
            end += piece.size
            covered.setdefault(piece.content.digest, []).append((piece.offset, piece.size))
    assert covered.keys() == wanted.keys()
    for digest, runs in covered.items():
        end = 0
        for offset, size in runs:
            assert offset == end
            end += size
        assert end == wanted[digest]
    assert plan.size == sum(wanted.values())
    dealt = [unit for places in plan.deal(shards) for unit in places]
    assert dealt == list(range(len(plan.units)))


@given(files=FILES)
def test_units_stand_in_the_manifests_order_and_no_two_packs_could_be_one(files):
    plan = Plan.of(manifest_of(*consistent(files)))
    firsts = [unit.contents[0].name for unit in plan.units]
    assert firsts == sorted(firsts)
    packs = [unit for unit in plan.units if unit.contents[0].size < SIZE]
    for before, after in itertools.pairwise(packs):
        assert before.size + after.contents[0].size > SIZE


@pytest.mark.parametrize(
    ("files", "units"),
    [
        ([SIZE - 1, 1, 1], [["000000", "000001"], ["000002"]]),
        ([SIZE, 1, 2 * SIZE + 1, 5], [["000000"], ["000001", "000003"], ["000002"]]),
        ([("a", 7), ("b", 3), ("a", 7)], [["000000", "000001"]]),
        ([0, 0], []),
        ([10 * MIB, 10 * MIB, 6 * MIB], [["000000"], ["000001", "000002"]]),
    ],
)
def test_the_rule_by_example(files, units):
    assert shape(Plan.of(manifest_of(*files))) == units


def test_a_large_content_is_cut_at_whole_chunks():
    plan = Plan.of(manifest_of(2 * SIZE + 5))
    assert [plan.length(at) for at in range(plan.chunks)] == [SIZE, SIZE, 5]


@pytest.mark.parametrize(
    ("digest", "sizes"), [(digest_of("a"), [5, 6]), (EMPTY, [0, 9]), (digest_of("a"), [0])]
)
def test_a_digest_that_does_not_fit_its_size_is_refused(digest, sizes):
    """One digest stands for two sizes, or that of nothing for something, or the reverse."""
    resources = [Resource(name=str(at), size=size, digest=digest) for at, size in enumerate(sizes)]
    manifest = Manifest(kind="directory", resources=tuple(resources))
    with pytest.raises(VerificationFailed) as refused:
        Plan.of(manifest)
    assert refused.value.reason == "two-sizes"


def test_too_large_a_model_is_refused_and_the_largest_is_planned():
    most = plans.MAX_CHUNKS * SIZE
    assert Plan.of(manifest_of(most)).chunks == plans.MAX_CHUNKS
    with pytest.raises(VerificationFailed) as refused:
        Plan.of(manifest_of(most, 1))
    assert refused.value.reason == "limits"


@pytest.mark.parametrize(
    ("chunks", "shards", "dealt"),
    [
        ([3, 5], 2, [1, 1]),
        ([1, 290, 310], 2, [2, 1]),
        ([250, 280, 300, 320], 4, [1, 1, 1, 1]),
        ([9], 2, [0, 1]),
        ([1, 1, 1], 2, [1, 2]),
        ([0], 3, [0, 0, 0]),
    ],
)
def test_as_many_machines_as_files_of_about_one_size_get_one_each(chunks, shards, dealt):
    plan = Plan.of(manifest_of(*(count * SIZE for count in chunks)))
    assert [len(places) for places in plan.deal(shards)] == dealt


@given(files=FILES, shards=st.integers(1, 8))
def test_no_shard_has_more_than_its_share_and_one_unit(files, shards):
    plan = Plan.of(manifest_of(*consistent(files)))
    most = max((unit.chunks for unit in plan.units), default=0)
    for places in plan.deal(shards):
        assert sum(plan.units[at].chunks for at in places) <= plan.chunks / shards + most


def test_a_plan_has_no_chunk_beyond_its_last_and_no_more_shards_than_parts():
    plan = Plan.of(manifest_of(SIZE + 1))
    for at in (-1, 2):
        with pytest.raises(InternalError):
            plan.length(at)
    for shards in (0, plans.MAX_PARTS + 1):
        with pytest.raises(InternalError):
            plan.deal(shards)


GIB = 1024**3


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ([0, 0], [0]),
        ([1, 2 * SIZE], [2]),
        ([31 * GIB, GIB - 1], [2]),
        ([31 * GIB, GIB], [2]),
        ([32 * GIB, 1], [1, 1]),
        ([33 * GIB, 40 * GIB, 5, GIB], [1, 1, 2]),
        ([GIB] * 100, [32, 32, 32, 4]),
        ([8 * GIB] * 1000, [8] * 125),
    ],
)
def test_a_part_closes_at_whole_units_once_it_has_32_gib_or_a_128th(files, parts):
    plan = Plan.of(manifest_of(*files))
    ranges = plan.parts()
    assert [len(units) for units in ranges] == parts
    assert list(itertools.chain.from_iterable(ranges)) == list(range(len(plan.units)))
    assert len(ranges) <= plans.MAX_PARTS
