"""The folder of parts: for any model and any number of shards exactly their parts are joined."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import SovgateError, VerificationFailed
from sovgate.formats.manifest import Manifest
from sovgate.formats.partrecord import Facts, Found, PartRecord, Region
from sovgate.formats.plan import Plan
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.wrap import Context
from sovgate.pipeline.decide.contents import UNKNOWN, Contents
from sovgate.pipeline.move.shards import facts
from sovgate.pipeline.move.shards.folder import Expected, read_all, write
from sovgate.records import Release
from sovgate.stages.encrypt import Sent, close_shard
from sovgate.stages.seal import seal
from sovgate.stages.trust import Trusted
from tests.effort import examples
from tests.signers import KeySigner
from tests.unit.test_part import MODELS
from tests.unit.test_plan import manifest_of

SIGNER = KeySigner()
TRUSTED = [Trusted(name="home", key=SIGNER.public_key, may=frozenset({"part"}), zone="home")]
NOTHING = Found(count=0, first=None)
FACTS = Facts(pickles=NOTHING, secrets=NOTHING, remote_code=NOTHING, claims=())


class Recipient:
    """What stands for a zone's key; nobody opens anything here."""

    key_id, algorithm = "cd" * 32, "none"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return hashlib.sha256(key + context).digest()


def expecting(manifest: Manifest, of: int) -> Expected:
    return Expected(
        release=Release(model="churn", version="1.0.0"),
        manifest=manifest,
        source=Region(zone="home", provider_region="aws:us-east-1"),
        destination=Region(zone="eu", provider_region="aws-eusc:eusc-de-east-1"),
        recipient=(Recipient.key_id, Recipient.algorithm),
        of=of,
    )


def leave(folder: Path, manifest: Manifest, number: int, of: int, salt: str = "") -> None:
    """What a machine leaves that sent that shard."""
    plan, wanted = Plan.of(manifest), expecting(manifest, of)

    def each(what: str) -> tuple[bytes, ...]:
        places = range(plan.chunks)
        return tuple(hashlib.sha256(f"{what}{salt}{at}".encode()).digest() for at in places)

    sent = Sent(zone="eu", digests=each("chunk"), keys=each("key"))
    context = Context(zone="eu", release="churn/1.0.0", manifest=manifest.digest)
    finished = close_shard(sent, plan, (number, of), Recipient(), context)  # type: ignore[arg-type]
    made = PartRecord(
        release=wanted.release,
        manifest=manifest.digest,
        source=wanted.source,
        destination=wanted.destination,
        part=finished.part,
        facts=FACTS,
        evidence=(),
        audit_head="ee" * 32,
        created=datetime(2026, 11, 24, tzinfo=UTC),
    )
    statement = Statement(
        subject_name="churn",
        subject_sha256=manifest.digest,
        predicate_type=PREDICATE_TYPES["part"],
        predicate=made.predicate(),
    )
    write(folder, finished, seal(statement, SIGNER))


@given(sizes=MODELS, of=st.integers(1, 6), data=st.data())
def test_the_shards_are_a_partition_and_exactly_they_are_joined(sizes, of, data):  # type: ignore[no-untyped-def]
    """Made in any order and some of them twice; none may be missing, or of another number."""
    manifest = manifest_of(*sizes)
    plan = Plan.of(manifest)
    order = data.draw(st.permutations(range(1, of + 1)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in (*order, *data.draw(st.lists(st.sampled_from(order), max_size=2))):
            leave(folder, manifest, number, of)
        shared = read_all(folder, expecting(manifest, of), TRUSTED)
        chunks = [item for one in shared.parts for item in one.chunks(plan)]
        wanted = [hashlib.sha256(f"chunk{at}".encode()).hexdigest() for at in range(plan.chunks)]
        assert [item.sha256 for item in chunks] == wanted
        assert [item.size - 28 for item in chunks] == [plan.length(at) for at in range(plan.chunks)]
        assert [part.number for part in shared.closed().parts] == list(range(1, of + 1))
        for other in {of - 1, of + 1} - {0}:
            with pytest.raises(VerificationFailed):
                read_all(folder, expecting(manifest, other), TRUSTED)
        gone = data.draw(st.sampled_from(order))
        (folder / f"part-{gone}.json").unlink()
        with pytest.raises(VerificationFailed) as error:
            read_all(folder, expecting(manifest, of), TRUSTED)
        assert error.value.reason == "part-missing"
        assert f"--shard {gone}/{of} " in str(error.value.fix)


MODEL = manifest_of(5, 33 * 2**20, 16 * 2**20, 7)


@pytest.mark.parametrize("seed", range(examples(40)))
def test_any_changed_byte_is_refused(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    for number in (1, 2):
        leave(tmp_path, MODEL, number, 2)
    read_all(tmp_path, expecting(MODEL, 2), TRUSTED)
    path = tmp_path / dice.choice(["part-{}.json", "list-{}", "table-{}"]).format(
        dice.choice([1, 2])
    )
    data = bytearray(path.read_bytes())
    how = dice.choice(["flip", "cut", "more", "drop", "repeat"])
    at = dice.randrange(len(data))
    if how == "flip":
        data[at] ^= 1 << dice.randrange(8)
    elif how == "cut":
        del data[at:]
    elif how == "more":
        data += b"\n"
    elif how == "drop":
        del data[at]
    else:
        data[at:at] = data[at : at + 1] or b"x"
    path.write_bytes(data)
    with pytest.raises(VerificationFailed) as error:
        read_all(tmp_path, expecting(MODEL, 2), TRUSTED)
    assert "--shard" in str(error.value.fix)
    assert error.value.exit_code == 11


def test_what_several_found_adds_up_and_the_worse_word_counts() -> None:
    one = replace(FACTS, pickles=Found(count=2, first="b.pkl"))
    other = replace(FACTS, pickles=Found(count=1, first="a.pkl"))
    both = facts.together([FACTS, one, other])
    assert (both["pickles"], both["pickle"], both["secrets"]) == (3, "b.pkl", 0)
    assert facts.told(both).pickles == Found(count=3, first="b.pkl")
    assert facts.worst(both, UNKNOWN)["pickles"] == 3
    assert facts.worst(UNKNOWN, both)["pickles"] == 3
    assert facts.worst(UNKNOWN, UNKNOWN)["pickles"] is None
    said = Contents({**UNKNOWN.facts, "pickles": 5, "pickle": None})
    assert facts.worst(both, said)["pickles"] == 5
    assert facts.worst(said, both)["pickles"] == 5
    assert facts.worst(Contents({**said.facts, "pickles": 0}), both)["pickle"] == "b.pkl"


def test_a_folder_that_is_none_is_told() -> None:
    with pytest.raises(SovgateError) as error:
        read_all(Path("/nowhere/parts"), expecting(MODEL, 2), TRUSTED)
    assert error.value.reason == "missing-path"
