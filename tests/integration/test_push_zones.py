"""A push to several zones: each byte is read once, no zone gets what another has, and what one zone
refuses is sent to none. The stores are folders, and chunks are small, so that there are many.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sovgate.errors import (
    PolicyDenied,
    ResidencyMismatch,
    StoreError,
    VerificationFailed,
)
from sovgate.formats import chunk, plan
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.push import push_each
from sovgate.pipeline.move.pushing import deliver
from sovgate.pipeline.move.pushing.asked import Admitted, Asked
from sovgate.pipeline.move.results import Pushed
from sovgate.records import Options, Release
from sovgate.stages import transfer
from sovgate.stages.encrypt import close_part
from sovgate.stores.file import FileStore
from sovgate.stores.registry import open_store
from tests import servers
from tests.crossing import Crossing, make_crossing, tree
from tests.effort import some
from tests.faultproxy import What, between
from tests.kill import Done, Killer

SIZE = 4096
FILES = {f"w{at}.bin": random.Random(at).randbytes(3 * SIZE + at) for at in range(3)} | {
    "config.json": b"{}",
    "twin.json": b"{}",
    "empty": b"",
}
#: Four of each file of weights, but for w0, which is three; and a pack.
CHUNKS = 12
#: All files that are not empty: of those of one content each is compared.
BYTES = sum(map(len, FILES.values()))
BOTH = ("eu", "ch")
WORDS = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu", "--to", "ch")

ZONE = """\
  ch:
    region: aws:eu-central-2
    store: ch-store
    keys: {sign: keys/ch.pem, encrypt: keys/ch-enc.pem, encrypt-public: keys/ch-enc.pub.pem}
datasets:
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = make_crossing(tmp_path_factory.mktemp("made") / "project", FILES)
    work.edit("datasets:\n", ZONE)
    work.edit("weights: {allow: [home -> eu]}", "weights: {allow: [home -> eu, home -> ch]}")
    work.edit("metadata: {allow: [home -> eu]}", "metadata: {allow: [home -> eu, home -> ch]}")
    for name, kind in (("ch", "sign"), ("ch-enc", "encrypt")):
        generate(kind, out=work.base / "keys" / f"{name}.pem", algorithm="ec-p256")
    return work.base


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    base = shutil.copytree(made, tmp_path / "project")
    return Crossing(base=base, model=base / "model")


class Stop:
    """Progress that ends the run at its n-th word, as a signal would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, _count: int) -> None:
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt

    def expect(self, _total: int) -> None: ...


def run(work: Crossing, to: Sequence[str] = BOTH, stop: Stop | None = None) -> tuple[Pushed, ...]:
    options = Options(project=work.base, progress=stop)
    return push_each(work.model, release=work.release, zone="home", to=to, options=options)


def stored(work: Crossing, zone: str, kind: str = "") -> dict[str, bytes]:
    """What lies in a zone's store, or in one folder of it."""
    folder = work.base / f"{zone}-store" / kind
    found = tree(folder) if folder.exists() else {}
    return {name: data for name, data in found.items() if not name.startswith(".incoming")}


def chunks(work: Crossing, zone: str) -> dict[str, bytes]:
    return stored(work, zone, "chunks")


def states(work: Crossing) -> list[Path]:
    folder = work.base.parent / "state" / "sovgate"
    return sorted(folder.iterdir()) if folder.exists() else []


def state_of(work: Crossing, zone: str) -> Path:
    (found,) = [one for one in states(work) if f'"zone":"{zone}"' in _course(one)]
    return found


def _course(state: Path) -> str:
    import base64

    header = json.loads((state / "header.json").read_bytes())
    return base64.b64decode(header["payload"]).decode()


def opens(work: Crossing, *zones: str) -> None:
    for zone in zones or BOTH:
        work.json("pull", "churn/1.0.0", "--zone", zone, "-o", f"opened-{zone}")
        assert tree(work.base / f"opened-{zone}") == FILES


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each read of a push took, while it sends."""
    found: list[int] = []
    real = os.preadv

    def counted(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        found.append(real(descriptor, buffers, offset))
        return found[-1]

    monkeypatch.setattr(os, "preadv", counted)
    return found


class Puts:
    """What reached the stores, in order, by (zone, name); and the n-th put of a kind that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        self.fails: tuple[str, str, int] | None = None
        real = FileStore.put

        def put(store: FileStore, name: str, data: bytes, *, sha256: str) -> None:
            zone = store.uri.rpartition("/")[2].removesuffix("-store")
            if self.fails is not None:
                where, kind, left = self.fails
                if zone == where and name.startswith(kind):
                    self.fails = (where, kind, left - 1)
                    if left <= 0:
                        raise StoreError(f"the store of {where} is away", reason="network")
            real(store, name, data, sha256=sha256)
            self.seen.append((zone, name))

        monkeypatch.setattr(FileStore, "put", put)

    def count(self, zone: str, kind: str = "chunks/") -> int:
        return sum(1 for where, name in self.seen if where == zone and name.startswith(kind))


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> Puts:
    return Puts(monkeypatch)


# -- the way that works


def test_each_byte_is_read_once_and_each_zone_opens_its_own(
    work: Crossing, read: list[int]
) -> None:
    done = work.json("push", work.model, *WORDS, "--heads", "heads")
    assert sum(read) == BYTES
    eu, ch = chunks(work, "eu"), chunks(work, "ch")
    assert len(eu) == len(ch) == CHUNKS
    assert [zone["to"]["zone"] for zone in done["zones"]] == list(BOTH)
    assert not any(zone["already"] for zone in done["zones"])
    assert states(work) == []
    opens(work)
    heads = [word for zone in done["zones"] for word in ("--against", zone["audit-head"])]
    found = work.json("audit", "verify", *heads)
    assert found == work.json("audit", "verify", "--heads", "heads")
    assert {log["zone"]: log["entries"] for log in found["logs"]} == {"home": 4, "eu": 2, "ch": 2}


def test_rule_8_two_zones_share_no_chunk_and_no_object_but_what_is_signed(work: Crossing) -> None:
    run(work)
    assert not chunks(work, "eu").keys() & chunks(work, "ch").keys()
    both = stored(work, "eu", "objects").keys() & stored(work, "ch", "objects").keys()
    shared = {name.rpartition("/")[2] for name in both}
    trusted = _trusted(work)
    for zone in BOTH:
        found = transfer.read_record(open_store(f"{zone}-store", work.base), work.release, trusted)
        assert found is not None
        said = found.transfer
        signed = {said.manifest.sha256, said.signature.sha256}
        assert shared == signed | {one.sha256 for one in said.evidence if one.role != "decision"}


def test_a_zone_that_has_the_release_takes_no_chunk_and_if_all_have_it_nothing_is_read(
    work: Crossing, read: list[int], puts: Puts
) -> None:
    run(work, ["eu"])
    before = stored(work, "eu")
    eu, ch = run(work)
    assert (eu.written.already, ch.written.already) == (True, False)
    assert stored(work, "eu") == before
    assert (puts.count("eu"), puts.count("ch")) == (CHUNKS, CHUNKS)
    assert sum(read) == 2 * BYTES
    assert all(one.written.already for one in run(work))
    assert sum(read) == 2 * BYTES
    opens(work)


def test_zones_that_use_earlier_chunks_again_share_a_read(
    work: Crossing, read: list[int], puts: Puts
) -> None:
    """What they have from earlier releases is read once too; what they lack is sent to each."""
    generate("encrypt", out=work.base / "keys/own.pem", algorithm="ec-p256")
    work.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/home.pem, encrypt: keys/own.pem}")
    for zone in BOTH:
        work.edit(f"store: {zone}-store", f"store: {{uri: {zone}-store, reuse: true}}")
    run(work)
    (work.model / "w1.bin").write_bytes(random.Random(9).randbytes(3 * SIZE + 1))
    work.sign()
    before = sum(read)
    release = Release(model="churn", version="1.1.0")
    options = Options(project=work.base)
    push_each(work.model, release=release, zone="home", to=BOTH, options=options)
    assert sum(read) - before == BYTES
    assert (puts.count("eu"), puts.count("ch")) == (CHUNKS + 4, CHUNKS + 4)
    for zone in BOTH:
        work.json("pull", "churn/1.1.0", "--zone", zone, "-o", f"opened-{zone}")
        assert tree(work.base / f"opened-{zone}") == tree(work.model)


def test_a_model_that_is_one_file_goes_to_both(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = make_crossing(tmp_path / "project", FILES["w2.bin"])
    shutil.copytree(made / "keys", work.base / "keys", dirs_exist_ok=True)
    (work.base / "sovgate.yaml").write_bytes((made / "sovgate.yaml").read_bytes())
    work.sign()
    run(work)
    for zone in BOTH:
        work.json("pull", "churn/1.0.0", "--zone", zone, "-o", f"opened-{zone}")
        assert (work.base / f"opened-{zone}").read_bytes() == FILES["w2.bin"]


def test_a_dry_run_says_what_would_cross_to_each_and_writes_nothing(work: Crossing) -> None:
    before = tree(work.base)
    said = work.json("push", work.model, *WORDS, "--dry-run")
    assert tree(work.base) == before
    assert [zone["to"]["zone"] for zone in said["zones"]] == list(BOTH)
    assert all(zone["crossed"] > said["bytes"] and zone["record"] is None for zone in said["zones"])
    work.edit("home -> ch]}\n  metadata", "home -> home]}\n  metadata")
    error = work.json("push", work.model, *WORDS, "--dry-run", code=10)
    assert [one["zone"] for one in error["refused"]] == ["ch"]
    assert not (work.base / ".sovgate").exists()


def test_a_workflow_gets_one_line_a_zone_in_the_order_of_the_words(
    work: Crossing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As an Action's input has several values; what is the same for all is said once."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("SOVGATE_PUSH_TO", "ch\neu\n")
    code, said = work.run("push", work.model, *WORDS[:4], "--format", "github")
    assert code == 0, said
    assert "to zones ch and eu" in said
    found = dict(
        re.findall(
            r"^([a-z-]+)<<(?:.*)\n((?:.*\n)*?)sovgate-", (tmp_path / "output").read_text(), re.M
        )
    )
    assert found["manifest"] == f"sha256:{work.manifest}\n"
    records = [
        hashlib.sha256(stored(work, zone)["releases/churn/1.0.0.json"]).hexdigest()
        for zone in ("ch", "eu")
    ]
    assert found["record"].split() == records
    heads = found["audit-head"].split()
    work.json("audit", "verify", "--zone", "home", *(f"--against={head}" for head in heads))
    assert len(set(heads)) == 2


def test_one_zone_is_told_as_ever(work: Crossing) -> None:
    """No document of one zone has `zones`: programs read it as before."""
    said = work.push()
    assert "zones" not in said
    assert (said["to"]["zone"], said["store"].endswith("/eu-store")) == ("eu", True)
    error = work.push(release="churn/1.0.0@sha256:" + "0" * 64, code=2)
    assert "refused" not in error
    work.edit("weights: {allow: [home -> eu, home -> ch]}", "weights: {allow: []}")
    denied = work.push(release="churn/1.0.1", code=10)
    assert denied.keys() == {"exit", "project", "error", "decision", "audit-head"}
    assert not any("nothing was sent" in line for line in denied["error"]["details"])


# -- while one zone refuses nothing is sent to any


def nothing_was_sent(work: Crossing) -> None:
    for zone in BOTH:
        assert stored(work, zone) == {}, zone
    assert states(work) == []


def logged(work: Crossing) -> list[tuple[str, str, int | None]]:
    """(kind, zone, exit) of each entry of the source's log."""
    from tests.integration.test_push_pull import predicate

    entries = [predicate(path) for path in (work.base / ".sovgate/home/audit").rglob("*.json")]
    return sorted((str(e["kind"]), str(e["to"]), e["exit"]) for e in entries)  # type: ignore[misc]


@pytest.mark.parametrize("zone", BOTH)
def test_a_denial_for_one_of_two_zones_sends_no_byte_to_either(work: Crossing, zone: str) -> None:
    other = "eu" if zone == "ch" else "ch"
    work.edit(
        "weights: {allow: [home -> eu, home -> ch]}", f"weights: {{allow: [home -> {other}]}}"
    )
    found = work.json("push", work.model, *WORDS, code=10)
    assert f"from home to {zone}" in found["error"]["what"]
    assert found["zone"] == zone
    assert [one["zone"] for one in found["refused"]] == [zone]
    nothing = f"nothing was sent to zones eu and ch, since zone {zone} refused"
    assert found["error"]["details"][-1] == nothing
    nothing_was_sent(work)
    assert logged(work) == [("denied", zone, 10)]
    head = found["refused"][0]["audit-head"]
    work.json("audit", "verify", "--zone", "home", "--against", head)


def test_all_denials_are_told_and_written_down(work: Crossing) -> None:
    work.sign("kyc")
    found = work.json("push", work.model, *WORDS, code=10)
    assert [(one["zone"], one["exit"]) for one in found["refused"]] == [("eu", 10), ("ch", 10)]
    assert "from home to eu" in found["error"]["what"]
    assert any(
        line.startswith("zone ch: ") and "from home to ch" in line
        for line in found["error"]["details"]
    )
    nothing_was_sent(work)
    assert logged(work) == [("denied", "ch", 10), ("denied", "eu", 10)]


def test_the_first_zone_in_the_order_of_the_words_gives_the_exit_code(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One store lies elsewhere, and policy denies the other zone: both are said."""
    _elsewhere(monkeypatch, "eu")
    work.edit("weights: {allow: [home -> eu, home -> ch]}", "weights: {allow: [home -> eu]}")
    found = work.json("push", work.model, *WORDS, code=12)
    assert [(one["zone"], one["exit"]) for one in found["refused"]] == [("eu", 12), ("ch", 10)]
    turned = (*WORDS[:5], "ch", "--to", "eu")
    found = work.json("push", work.model, *turned, code=10)
    assert [(one["zone"], one["exit"]) for one in found["refused"]] == [("ch", 10), ("eu", 12)]
    nothing_was_sent(work)


def _elsewhere(monkeypatch: pytest.MonkeyPatch, zone: str, after: int = 0) -> None:
    asked = Counter[str]()
    real = Asked.locate

    def locate(self: Asked) -> transfer.Located:
        asked[self.to.name] += 1
        if self.to.name == zone and asked[zone] > after:
            raise ResidencyMismatch(f"the store of zone {zone} is elsewhere")
        return real(self)

    monkeypatch.setattr(Asked, "locate", locate)


def test_a_key_that_cannot_be_opened_stops_both(work: Crossing) -> None:
    for zones in (["ch"], ["eu", "ch"]):
        (work.base / f"keys/{zones[0]}-enc.pub.pem").unlink()
        found = work.json("push", work.model, *WORDS, code=3)
        assert [one["zone"] for one in found["refused"]] == zones
        nothing_was_sent(work)
        assert logged(work) == [], "nothing was begun"


def test_a_store_that_has_another_release_of_that_name_stops_both(work: Crossing) -> None:
    run(work, ["ch"])
    before = stored(work, "ch")
    (work.model / "w0.bin").write_bytes(b"better")
    work.sign()
    found = work.json("push", work.model, *WORDS, code=21)
    assert (found["error"]["reason"], found["zone"]) == ("release-differs", "ch")
    assert chunks(work, "eu") == {}
    assert stored(work, "ch") == before


def test_rule_8_two_zones_of_one_key_are_refused(work: Crossing) -> None:
    for half in ("", ".pub"):
        shutil.copy(work.base / f"keys/eu-enc{half}.pem", work.base / f"keys/ch-enc{half}.pem")
    found = work.json("push", work.model, *WORDS, code=3)
    assert found["error"]["reason"] == "shared-key"
    nothing_was_sent(work)


def test_rule_8_so_are_two_whose_key_service_hands_out_one(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which nothing showed in their names."""
    from sovgate.pipeline.project import Project

    real = Project.recipient
    monkeypatch.setattr(Project, "recipient", lambda self, _zone: real(self, "eu"))
    found = work.json("push", work.model, *WORDS, code=3)
    assert found["error"]["reason"] == "shared-zone-key"
    nothing_was_sent(work)


@pytest.mark.parametrize("linked", [False, True])
def test_two_zones_of_one_store_are_refused(work: Crossing, linked: bool) -> None:
    """Each would find the record of the other under the release's name."""
    if linked:
        (work.base / "eu-store").mkdir()
        (work.base / "ch-store").symlink_to("eu-store")
    else:
        work.edit("store: ch-store", "store: ./eu-store")
    found = work.json("push", work.model, *WORDS, code=3)
    assert found["error"]["reason"] == "shared-store"
    assert found["error"]["where"]["line"] == 13
    assert tree(work.base / "eu-store") == {} if linked else not (work.base / "eu-store").exists()


def test_a_zone_that_is_named_twice_is_a_mistake(work: Crossing) -> None:
    found = work.json("push", work.model, *WORDS, "--to", "eu", code=2)
    assert found["error"]["reason"] == "zone-twice"


@pytest.mark.parametrize("words", [("--shard", "1/2"), ("--join", "2")])
def test_rule_8_a_part_is_for_one_zone(work: Crossing, words: tuple[str, str]) -> None:
    found = work.json("push", work.model, *WORDS, *words, "--parts", "parts", code=2)
    assert found["error"]["reason"] == "shard-of-zones"
    nothing_was_sent(work)


# -- a run that ends early


@pytest.mark.parametrize("after", [0, 1, 5, 9, CHUNKS])
def test_a_push_that_was_interrupted_sends_each_zone_only_what_it_lacks(
    work: Crossing, puts: Puts, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt) as told:
        run(work, stop=Stop(after))
    there = {zone: chunks(work, zone) for zone in BOTH}
    said = told.value.__notes__
    assert "no zone has the release yet" in said
    for zone in BOTH:
        if there[zone]:
            assert any(f"run it again: zone {zone}: {len(there[zone])} of" in one for one in said)
    before = {zone: puts.count(zone) for zone in BOTH}
    done = run(work)
    for zone, one in zip(BOTH, done, strict=True):
        assert one.written.resumed == len(there[zone])
        assert puts.count(zone) - before[zone] == CHUNKS - len(there[zone])
        assert there[zone].items() <= chunks(work, zone).items()
    assert states(work) == []
    opens(work)


def test_one_zone_of_two_that_were_begun_goes_on_alone(work: Crossing) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, stop=Stop(8))
    there = {zone: len(chunks(work, zone)) for zone in BOTH}
    assert len(states(work)) == 2
    (ch,) = run(work, ["ch"])
    assert ch.written.resumed == there["ch"]
    eu, ch = run(work)
    assert (eu.written.resumed, ch.written.already) == (there["eu"], True)
    opens(work)


@pytest.fixture
def parted(work: Crossing, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    """Three parts: the pack and w0, w1, w2. Stopped within the second, the first is closed."""
    monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    with pytest.raises(KeyboardInterrupt):
        run(work, stop=Stop(8))
    for zone in BOTH:
        assert (state_of(work, zone) / "part-001.json").exists()
    return work


REST = len(FILES["w1.bin"]) + len(FILES["w2.bin"])


def test_a_part_that_is_closed_for_both_is_not_read_again(
    parted: Crossing, read: list[int]
) -> None:
    run(parted)
    assert sum(read) == REST
    opens(parted)


@pytest.mark.parametrize("zone", BOTH)
def test_a_part_that_is_closed_for_one_is_read_for_the_other_and_sent_there_alone(
    parted: Crossing, read: list[int], puts: Puts, zone: str
) -> None:
    other = "eu" if zone == "ch" else "ch"
    there = {one: chunks(parted, one) for one in BOTH}
    shutil.rmtree(state_of(parted, zone))
    before = dict.fromkeys(BOTH, 0) | {one: puts.count(one) for one in BOTH}
    done = dict(zip(BOTH, run(parted), strict=True))
    assert sum(read) == BYTES
    assert puts.count(zone) - before[zone] == CHUNKS
    assert puts.count(other) - before[other] == CHUNKS - len(there[other])
    assert done[zone].written.resumed == 0
    assert done[other].written.resumed == len(there[other])
    opens(parted)


def test_rule_9_a_file_that_is_not_what_was_signed_loses_its_keys_for_each_zone(
    work: Crossing,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(work, stop=Stop(CHUNKS))
    path = work.model / "w1.bin"
    path.write_bytes(FILES["w1.bin"][:-1] + b"?")
    with pytest.raises(VerificationFailed) as error:
        run(work)
    assert error.value.data["file"] == "w1.bin"
    assert error.value.data["zone"] is None
    for state in states(work):
        entries = (state / "entries").read_bytes()
        size = len(entries) // CHUNKS
        gone = [at for at in range(CHUNKS) if not any(entries[at * size : (at + 1) * size])]
        assert len(gone) == 4
    assert all(stored(work, zone, "objects") == {} for zone in BOTH)
    path.write_bytes(FILES["w1.bin"])
    run(work)
    opens(work)


def test_a_store_that_was_tampered_with_destroys_no_key_of_another_zone(work: Crossing) -> None:
    """What one zone's store does says nothing of the model, and costs the other no chunk."""
    with pytest.raises(KeyboardInterrupt):
        run(work, stop=Stop(8))
    there = {zone: len(chunks(work, zone)) for zone in BOTH}
    planted = work.base / "ch-store" / "chunks"
    planted.rename(work.base / "aside")
    planted.symlink_to(work.base / "aside")
    with pytest.raises(VerificationFailed) as error:
        run(work)
    assert (error.value.reason, error.value.data["zone"]) == ("not-regular", "ch")
    planted.unlink()
    (work.base / "aside").rename(planted)
    done = dict(zip(BOTH, run(work), strict=True))
    for zone, one in done.items():
        assert one.written.resumed >= there[zone] > 0
        assert len(chunks(work, zone)) == CHUNKS
    opens(work)


# -- one zone fails, and the other does not


def test_a_store_that_fails_while_the_model_is_read_ends_the_run_for_both(
    work: Crossing, puts: Puts
) -> None:
    puts.fails = ("ch", "chunks/", 5)
    with pytest.raises(StoreError) as error:
        run(work)
    assert error.value.data == {"zone": "ch", "there": []}
    assert "this is about zone ch; no zone has the release yet" in error.value.details
    assert all(stored(work, zone, "releases") == {} for zone in BOTH)
    assert all(stored(work, zone, "objects") == {} for zone in BOTH)
    assert [kind for kind, _, _ in logged(work)] == ["intent", "intent", "outcome", "outcome"]
    puts.fails = None
    run(work)
    assert puts.count("eu") == puts.count("ch") == CHUNKS
    opens(work)


def test_credentials_that_expire_in_one_bucket_cost_the_other_no_second_byte(
    work: Crossing, seaweedfs: str
) -> None:
    """Two buckets of a real service, each behind a proxy of its own that counts."""
    with between(seaweedfs) as eu, between(seaweedfs) as ch:
        for zone, proxy, region in (("eu", eu, "eu-central-1"), ("ch", ch, "eu-central-2")):
            name = f"s3://{servers.bucket(seaweedfs, region)}/{secrets.token_hex(8)}"
            work.edit(f"store: {zone}-store", f'store: "{name}?endpoint={proxy.url}"')
        work.edit("region: aws-eusc:eusc-de-east-1", "region: aws:eu-central-1")
        ch.fault(What.EXPIRED, "PUT", "/chunks/", 10_000)
        found = work.json("push", work.model, *WORDS, code=21)
        assert (found["zone"], found["there"]) == ("ch", [])
        first = len(eu.sent("/chunks/"))
        for proxy in (eu, ch):
            assert proxy.sent("/objects/") == proxy.sent("/releases/") == []
            proxy.faults.clear()
            proxy.heard.clear()
        done = work.json("push", work.model, *WORDS)
        assert [zone["resumed"] for zone in done["zones"]] == [first, 0]
        assert len(eu.sent("/chunks/")) == CHUNKS - first
        assert len(ch.sent("/chunks/")) == CHUNKS
        opens(work)


@pytest.mark.parametrize("kind", ["objects/", "releases/"])
def test_a_zone_that_fails_at_its_end_takes_back_nothing_of_the_other(
    work: Crossing, puts: Puts, read: list[int], kind: str
) -> None:
    puts.fails = ("ch", kind, 0)
    found = work.json("push", work.model, *WORDS, code=21)
    assert (found["zone"], found["there"]) == ("ch", ["eu"])
    said = "this is about zone ch; zone eu has the release; a further run brings it to zone ch"
    assert said in found["error"]["details"]
    assert stored(work, "ch", "releases") == {}
    opens(work, "eu")
    kept = stored(work, "eu", "releases")
    assert [entry for entry in logged(work) if entry[0] == "outcome"] == [
        ("outcome", "ch", 21),
        ("outcome", "eu", 0),
    ]
    puts.fails = None
    eu, ch = run(work)
    assert (eu.written.already, ch.written.already) == (True, False)
    assert ch.written.resumed == CHUNKS
    assert puts.count("eu") == puts.count("ch") == CHUNKS
    assert stored(work, "eu", "releases") == kept
    opens(work, "ch")


def test_a_zone_that_fails_at_its_end_leaves_those_after_it_for_a_further_run(
    work: Crossing, puts: Puts
) -> None:
    puts.fails = ("eu", "releases/", 0)
    found = work.json("push", work.model, *WORDS, code=21)
    assert (found["zone"], found["there"]) == ("eu", [])
    assert stored(work, "ch", "objects") == {}
    puts.fails = None
    assert [one.written.resumed for one in run(work)] == [CHUNKS, CHUNKS]
    opens(work)


def test_the_log_of_a_zone_says_denied_where_that_zone_was(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's run ended by it too, and was not denied."""

    def confirmed(_admitted: Admitted) -> None:
        raise PolicyDenied("policy has changed its mind")

    monkeypatch.setattr(deliver, "confirmed", confirmed)
    found = work.json("push", work.model, *WORDS, code=10)
    ends = [entry for entry in logged(work) if entry[0] != "intent"]
    assert ends == [("denied", "eu", 10), ("outcome", "ch", 10)]
    work.json("audit", "verify", "--zone", "home", "--against", found["audit-head"])


def test_rule_44_a_zone_that_is_denied_at_its_end_has_no_key_table_and_no_keys_are_kept(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = deliver.confirmed

    def confirmed(admitted: Admitted):  # type: ignore[no-untyped-def]
        if admitted.asked.to.name == "ch":
            raise PolicyDenied("policy has changed its mind")
        return real(admitted)

    monkeypatch.setattr(deliver, "confirmed", confirmed)
    found = work.json("push", work.model, *WORDS, code=10)
    assert (found["zone"], found["there"]) == ("ch", ["eu"])
    assert stored(work, "ch", "objects") == {}
    assert len(chunks(work, "ch")) == CHUNKS
    assert states(work) == []
    assert ("denied", "ch", 10) in logged(work)
    assert ("outcome", "eu", 0) in logged(work)
    opens(work, "eu")


def test_rule_44_a_denial_at_the_end_leaves_the_keys_of_zones_that_were_not_denied(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _elsewhere(patch, "eu", after=1)
        found = work.json("push", work.model, *WORDS, code=12)
    assert (found["zone"], found["there"]) == ("eu", [])
    (state,) = states(work)
    assert state == state_of(work, "ch")
    eu, ch = run(work)
    assert (eu.written.resumed, ch.written.resumed) == (0, CHUNKS)
    opens(work)


def test_rule_44_a_denial_that_names_no_zone_destroys_the_keys_of_all(work: Crossing) -> None:
    class Denied(Stop):
        def __call__(self, count: int) -> None:
            try:
                super().__call__(count)
            except KeyboardInterrupt:
                raise PolicyDenied("no") from None

    with pytest.raises(PolicyDenied):
        run(work, stop=Denied(6))
    assert states(work) == []


def test_rule_44_no_key_table_of_a_zone_is_made_before_policys_last_word_for_that_zone(
    work: Crossing, puts: Puts, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = deliver.confirmed

    def confirmed(admitted: Admitted):  # type: ignore[no-untyped-def]
        zone = admitted.asked.to.name
        puts.seen.append((zone, "confirmed"))
        return real(admitted)

    def closed(*arguments, **more):  # type: ignore[no-untyped-def]
        puts.seen.append((arguments[0].zone, "table"))
        return close_part(*arguments, **more)

    monkeypatch.setattr(deliver, "confirmed", confirmed)
    monkeypatch.setattr("sovgate.stages.encrypt.close_part", closed)
    run(work)
    kinds = ("confirmed", "table", "objects/", "releases/")
    order = [
        (zone, next((kind for kind in kinds if name.startswith(kind)), ""))
        for zone, name in puts.seen
        if zone in BOTH
    ]
    steps = [step for step in dict.fromkeys(order) if step[1]]
    assert steps == [(zone, kind) for zone in BOTH for kind in kinds]
    last_chunk = max(at for at, (_, name) in enumerate(puts.seen) if name.startswith("chunks/"))
    assert puts.seen.index(("eu", "confirmed")) > last_chunk


def test_a_release_to_both_reads_the_model_once_for_them_and_says_which_has_it(
    work: Crossing, puts: Puts, read: list[int]
) -> None:
    puts.fails = ("ch", "releases/", 0)
    found = work.json("release", work.model, *WORDS, code=21)
    pushed = [(s["zone"], s["outcome"]) for s in found["steps"] if s["name"] == "push"]
    assert pushed == [("eu", "done")]
    assert any(line.startswith("stopped at: push in ch;") for line in found["error"]["details"])
    assert sum(read) == BYTES
    puts.fails = None
    done = work.json("release", work.model, *WORDS)
    pushed = [(s["zone"], s["outcome"]) for s in done["steps"] if s["name"] == "push"]
    assert pushed == [("eu", "already"), ("ch", "done")]
    opens(work)


# -- a process that is killed


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer(imports=["sovgate.pipeline.move.push", "sovgate.stages.encrypt"]) as running:
        yield running


def killed(work: Crossing, killer: Killer, tmp_path: Path, before: int | None) -> Done:
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    patch = {"sovgate.formats.chunk.SIZE": SIZE, "sovgate.formats.plan.PART_SIZE": 3 * SIZE}
    words = ("push", "model", *WORDS)
    killer.start(words, cwd=work.base, before=before, env=env, patch=patch)
    return killer.finish()


#: How many file-system steps such a push has, about.
STEPS = 210


@pytest.mark.parametrize("step", some(range(4, STEPS, 8), by="two zones"))
def test_a_push_to_two_zones_that_is_killed_goes_on_for_each(
    work: Crossing, killer: Killer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Each zone has a release that is whole, or none; a second run brings what is missing, once."""
    monkeypatch.setattr(plan, "PART_SIZE", 3 * SIZE)
    done = killed(work, killer, tmp_path, step)
    assert done.killed, done
    for zone in BOTH:
        if stored(work, zone, "releases"):
            opens(work, zone)
        else:
            found = len(stored(work, zone, "objects"))
            assert not found or len(chunks(work, zone)) == CHUNKS
    there = {zone: chunks(work, zone) for zone in BOTH}
    run(work)
    for zone in BOTH:
        assert there[zone].items() <= chunks(work, zone).items()
        assert len(chunks(work, zone)) == CHUNKS, "what was there is used, and nothing sent twice"
        assert len(stored(work, zone, "releases")) == 1
    assert states(work) == []
    assert work.run("audit", "verify")[0] in (0, 14)
    shutil.rmtree(work.base / "opened-eu", ignore_errors=True)
    shutil.rmtree(work.base / "opened-ch", ignore_errors=True)
    opens(work)


def test_such_a_push_has_about_that_many_steps(
    work: Crossing, killer: Killer, tmp_path: Path
) -> None:
    done = killed(work, killer, tmp_path, None)
    assert done.code == 0, done
    assert STEPS <= done.steps < 2 * STEPS


# -- from what `encrypt` made


def sealed(work: Crossing, *zones: str, to: str = "sealed") -> None:
    """With an SBOM, since of a copy nobody can look into the files."""
    work.sbom()
    words = [word for zone in zones for word in ("--to", zone)]
    work.json("encrypt", work.model, *words, "--release", "churn/1.0.0", "--zone", "home", "-o", to)


def test_what_was_encrypted_for_both_goes_to_both_as_it_is(work: Crossing) -> None:
    sealed(work, *BOTH)
    done = work.json("push", "sealed", *WORDS)
    for zone in BOTH:
        assert tree(work.base / "sealed" / zone / "chunks") == chunks(work, zone)
    assert [zone["objects"] > CHUNKS for zone in done["zones"]] == [True, True]
    opens(work)
    again = work.json("push", "sealed", *WORDS)
    assert [zone["already"] for zone in again["zones"]] == [True, True]


def test_a_copy_that_lacks_one_of_the_zones_goes_to_none(work: Crossing) -> None:
    sealed(work, "eu")
    found = work.json("push", "sealed", *WORDS, code=2)
    assert found["error"]["reason"] == "missing-path"
    assert [one["zone"] for one in found["refused"]] == ["ch"]
    nothing_was_sent(work)


def test_copies_of_two_models_are_no_one_release(work: Crossing) -> None:
    sealed(work, "eu")
    (work.model / "w0.bin").write_bytes(b"better")
    work.sign()
    sealed(work, "ch", to="other")
    shutil.move(work.base / "other/ch", work.base / "sealed/ch")
    found = work.json("push", "sealed", *WORDS, code=11)
    assert found["error"]["reason"] == "wrong-manifest"
    nothing_was_sent(work)


def test_a_copy_that_is_damaged_for_one_zone_has_no_record_in_either(work: Crossing) -> None:
    sealed(work, *BOTH)
    path = next((work.base / "sealed/ch/chunks").rglob("*/*"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    found = work.json("push", "sealed", *WORDS, code=11)
    assert (found["error"]["reason"], found["zone"]) == ("damaged", "ch")
    assert all(stored(work, zone, "objects") == {} for zone in BOTH)


def _trusted(work: Crossing):  # type: ignore[no-untyped-def]
    from sovgate.pipeline.project import open_project

    return open_project(work.base).trusted()
