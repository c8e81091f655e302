"""Several machines send one release, each a share of it, and one joins what they left.

Chunks are small here, so that a model has many. A machine that lies has a key that is trusted for
`part`, and what it says is signed.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import (
    ConfigError,
    PolicyDenied,
    StoreError,
    StoreUnfit,
    UsageError,
    VerificationFailed,
)
from sovgate.formats import chunk
from sovgate.formats.partrecord import Found, PartRecord
from sovgate.formats.plan import Plan
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys import registry
from sovgate.pipeline.decide import contents
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.results import Pushed, Sharded
from sovgate.pipeline.move.shards.folder import Expected, read_all
from sovgate.pipeline.move.shards.join import Join, push_joined
from sovgate.pipeline.move.shards.shard import push_shard
from sovgate.pipeline.move.shards.share import Shard
from sovgate.pipeline.project import open_project
from sovgate.records import Options, Sized
from sovgate.stages import encrypt as stage
from sovgate.stages import inventory
from sovgate.stages import sign as signing
from sovgate.stages.seal import seal
from sovgate.stores.file import FileStore
from tests.crossing import Crossing, make_crossing, tree

SIZE = 4096
#: w0 has three chunks, the others four; the small files are one pack.
FILES = {f"w{at}.bin": random.Random(at).randbytes(3 * SIZE + at) for at in range(3)} | {
    "config.json": b"{}",
    "twin.json": b"{}",
    "empty": b"",
}
CHUNKS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_crossing(tmp_path_factory.mktemp("made") / "project", FILES).base


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    base = shutil.copytree(made, tmp_path / "project")
    return Crossing(base=base, model=base / "model")


@pytest.fixture(scope="module")
def sent(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, three shards of it sent; the parts are in `parts` beside it."""
    above = tmp_path_factory.mktemp("sent")
    base = shutil.copytree(made, above / "project")
    work = Crossing(base=base, model=base / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk, "SIZE", SIZE)
        patch.setenv("XDG_STATE_HOME", str(above / "state"))
        for number in (1, 2, 3):
            shard(work, number)
    return above


@pytest.fixture
def joinable(sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    above = shutil.copytree(sent, tmp_path / "sent")
    return Crossing(base=above / "project", model=above / "project" / "model")


def parts(work: Crossing) -> Path:
    return work.base.parent / "parts"


def shard(
    work: Crossing, number: int, of: int = 3, folder: Path | None = None, **options: Any
) -> Sharded:
    words = {"project": work.base, **options}
    return push_shard(
        Shard(model=work.model, number=number, of=of, folder=folder or parts(work)),
        release=work.release,
        zone="home",
        to="eu",
        options=Options(**words),
    )


def join(work: Crossing, count: int = 3, model: Path | None = None, **options: Any) -> Pushed:
    words = {"project": work.base, **options}
    return push_joined(
        Join(model=model or work.model, count=count, folder=parts(work)),
        release=work.release,
        zone="home",
        to="eu",
        options=Options(**words),
    )


def opens(work: Crossing) -> None:
    work.pull()
    assert tree(work.base / "pulled") == FILES


def objects(work: Crossing) -> list[str]:
    """All that is at the destination beside chunks."""
    return work.objects("objects/") + work.objects("releases/")


def everything(work: Crossing) -> list[str]:
    return list(tree(work.base / "eu-store"))


def kept(work: Crossing) -> list[Path]:
    folder = Path(os.environ["XDG_STATE_HOME"]) / "sovgate"
    return sorted(folder.iterdir()) if folder.exists() else []


def record(work: Crossing, number: int) -> tuple[PartRecord, Path]:
    path = parts(work) / f"part-{number}.json"
    payload = json.loads(path.read_bytes())["dsseEnvelope"]["payload"]
    said = Statement.parse(base64.b64decode(payload))
    return (
        PartRecord.parse(said.predicate, name=said.subject_name, manifest=said.subject_sha256),
        path,
    )


def says(work: Crossing, path: Path, made: PartRecord, key: str = "keys/home.pem") -> None:
    """What a machine with that key leaves as `path`."""
    statement = Statement(
        subject_name=made.release.model,
        subject_sha256=made.manifest,
        predicate_type=PREDICATE_TYPES["part"],
        predicate=made.predicate(),
    )
    path.write_bytes(seal(statement, registry.open_signer(key, work.base)))


def refused(work: Crossing, reason: str, number: int | None, count: int = 3) -> VerificationFailed:
    """Joining fails with one error, which says which shard to run again; nothing went out."""
    before = objects(work)
    with pytest.raises(VerificationFailed) as error:
        join(work, count)
    assert error.value.reason == reason, error.value.what
    if number is not None:
        assert f"--shard {number}/{count} " in str(error.value.fix)
    assert objects(work) == before
    return error.value


# -- as it should be


@pytest.mark.parametrize("of", [1, 2, 6])
def test_any_number_of_machines_carry_one_release(work: Crossing, of: int) -> None:
    """In any order, more than there are units too: a shard may have nothing to send."""
    order = list(range(1, of + 1))
    random.Random(of).shuffle(order)
    chunks = 0
    for number in order:
        done = shard(work, number, of)
        chunks += done.size.objects
        assert objects(work) == [], "no key table, list or record before policy's last word"
        assert kept(work) == []
    assert chunks == CHUNKS == len(work.objects("chunks/"))
    done_all = join(work, of)
    assert not done_all.written.already
    assert len(transferred(work)["parts"]) == of
    opens(work)
    assert join(work, of).written.already


def transferred(work: Crossing) -> dict[str, Any]:
    data = json.loads((work.base / "eu-store/releases/churn/1.0.0.json").read_bytes())
    said: dict[str, Any] = json.loads(base64.b64decode(data["dsseEnvelope"]["payload"]))
    return dict(said["predicate"])


def test_a_machine_reads_only_its_own_files(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are held against the list by name and size."""
    from sovgate import files

    opened: list[str] = []
    real = files.open_below

    def watched(root: int, name: str) -> int:
        opened.append(name)
        return real(root, name)

    for module in ("sovgate.stages.encrypt.sending.files", "sovgate.files"):
        monkeypatch.setattr(f"{module}.open_below", watched)
    monkeypatch.setattr("sovgate.stages.sbom.inspection.open_below", watched)
    done = shard(work, 2)
    read = {name for name in opened if name in FILES}
    assert done.size.files == len(read) < len(FILES)
    assert {"empty"} < read
    (work.model / "w1.bin").unlink()
    with pytest.raises(VerificationFailed) as error:
        shard(work, 3)
    assert error.value.reason == "missing-file"


def test_the_parts_are_joined_where_the_model_is_not(joinable: Crossing) -> None:
    model = joinable.model
    shutil.rmtree(model)
    evidence = evidence_dir_of(joinable)
    done = joinable.json(
        *("push", "--evidence", evidence, "--release", "churn/1.0.0", "--zone", "home"),
        *("--to", "eu", "--join", "3", "--parts", parts(joinable)),
    )
    assert (done["already"], done["files"]) == (False, len(FILES))
    opens(joinable)


def evidence_dir_of(work: Crossing) -> Path:
    return work.model.parent / f"{work.model.name}.evidence"


def test_parts_of_different_runs_mix(work: Crossing) -> None:
    """A shard that was sent by two machines is in the store under two keys; either part will do."""
    other = parts(work).with_name("other")
    for number in (1, 2, 3):
        shard(work, number)
    shard(work, 2, folder=other)
    assert len(work.objects("chunks/")) == CHUNKS + 4
    for path in other.iterdir():
        shutil.copy(path, parts(work))
    join(work)
    opens(work)


def test_a_shard_that_is_whole_is_done_already(work: Crossing) -> None:
    first = shard(work, 1)
    before = tree(parts(work)), work.objects("chunks/")
    again = shard(work, 1)
    assert (first.part.already, again.part.already) == (False, True)
    assert again.part.sha256 == first.part.sha256
    assert (tree(parts(work)), work.objects("chunks/")) == before
    assert again.size.objects == 0
    # Of another project's folder, or another number of shards, it is another one.
    assert not shard(work, 1, of=4).part.already


@pytest.mark.parametrize(
    "lost", ["chunk", "list", "table", "part", "foreign", "worker", "evidence", "facts"]
)
def test_rule_32_what_this_run_would_not_leave_is_not_done(work: Crossing, lost: str) -> None:
    """A part that lacks something, or that another key signed, is made anew."""
    shard(work, 1)
    number = {"part": "part-1.json", "list": "list-1", "table": "table-1"}
    if lost == "chunk":
        next((work.base / "eu-store/chunks").rglob("*/*")).unlink()
    elif lost in number:
        (parts(work) / number[lost]).unlink()
    elif lost == "foreign":
        made, path = record(work, 1)
        says(work, path, made, key="keys/eu.pem")
    elif lost == "worker":
        made, path = record(work, 1)
        says(work, path, made, key=other_key(work, may="[part]", from_="home"))
    elif lost == "facts":
        made, path = record(work, 1)
        worse = replace(made.facts, pickles=Found(count=1, first="w0.bin"))
        says(work, path, replace(made, facts=worse))
    else:
        made, path = record(work, 1)
        says(work, path, replace(made, evidence=("0" * 64,)))
    assert not shard(work, 1).part.already
    for other in (2, 3):
        shard(work, other)
    join(work)
    opens(work)


@dataclass
class Stop:
    """Progress that ends the run at its n-th word."""

    after: int
    error: BaseException = field(default_factory=KeyboardInterrupt)

    def __call__(self, _count: int) -> None:
        self.after -= 1
        if self.after < 0:
            raise self.error

    def expect(self, _total: int) -> None: ...


def test_a_shard_that_was_interrupted_sends_only_what_is_missing(work: Crossing) -> None:
    """Its keys are kept by themselves: two shards on one machine do not take each other's."""
    shard(work, 3)
    with pytest.raises(KeyboardInterrupt) as stopped:
        shard(work, 1, progress=Stop(2))
    there = len(work.objects("chunks/")) - 4
    assert there > 0
    assert f"{there} of 4 chunks are in the store" in " ".join(stopped.value.__notes__)
    assert len(kept(work)) == 1
    told = work.json("keys", "kept")["kept"]
    assert [one["shard"] for one in told] == [{"number": 1, "of": 3}]
    assert "churn/1.0.0, shard 1/3" in work.run("keys", "kept")[1]
    shard(work, 2)
    assert len(kept(work)) == 1
    done = shard(work, 1)
    assert (done.resumed, len(work.objects("chunks/"))) == (there, CHUNKS)
    assert kept(work) == []
    join(work)
    opens(work)


def test_what_is_said_and_logged(work: Crossing) -> None:
    """A shard's run is in the log as what it is, and names its part."""
    words = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu", "--parts", parts(work))
    for number in (1, 2):
        code, text = work.run("push", work.model, *words, "--shard", f"{number}/2")
        assert code == 0
        assert f"sent shard {number}/2 of churn/1.0.0" in text
        assert "--join 2" in text
    code, text = work.run("push", work.model, *words, "--join", "2")
    assert code == 0, text
    assert "pushed churn/1.0.0, 6 files" in text
    code, text = work.run("audit", "verify", "--zone", "home")
    assert (code, text.count("push-shard")) == (0, 2)
    said = work.json("push", work.model, *words, "--shard", "1/2")
    assert said["already"]
    assert said["part"]["sha256"] == said["part"]["sha256"]


def test_a_dry_run_writes_nothing(work: Crossing) -> None:
    done = shard(work, 1, dry_run=True)
    assert (done.part.sha256, done.size.objects, done.size.crossed) == (
        None,
        4,
        3 * SIZE + 2 + 4 * 28,
    )
    assert not parts(work).exists()
    assert everything(work) == []
    for number in (1, 2, 3):
        shard(work, number)
    before = everything(work)
    planned = join(work, dry_run=True)
    assert planned.dry_run
    assert everything(work) == before
    assert planned.size.objects == join(work).size.objects - 2  # and two decisions


# -- policy


def test_each_machine_asks_policy_itself(work: Crossing) -> None:
    work.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    with pytest.raises(PolicyDenied):
        shard(work, 1)
    assert everything(work) == []
    assert not parts(work).exists()


def test_rule_44_a_denial_when_a_share_was_sent_leaves_no_part(
    work: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are there, and their keys are gone."""
    asked: list[contents.Contents] = []
    real = contents.of_admitted

    def found(*words: Any) -> contents.Contents:
        asked.append(real(*words))
        if len(asked) == 1:
            return asked[0]
        return contents.Contents({**asked[0].facts, "pickles": 1, "pickle": "w0.bin"})

    monkeypatch.setattr(contents, "of_admitted", found)
    with pytest.raises(PolicyDenied):
        shard(work, 1)
    assert len(work.objects("chunks/")) == 4
    assert objects(work) == kept(work) == []
    assert not parts(work).exists()


def test_rule_44_a_denial_when_they_are_joined_leaves_no_key_table(joinable: Crossing) -> None:
    joinable.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    with pytest.raises(PolicyDenied) as error:
        join(joinable)
    assert objects(joinable) == []
    assert any("the parts in" in one and "remove them" in one for one in error.value.details)
    joinable.edit("weights: {allow: []}", "weights: {allow: [home -> eu]}")
    join(joinable)
    opens(joinable)


def denied(work: Crossing, rule: str) -> None:
    """Joining is denied by that rule, and nothing went out."""
    with pytest.raises(PolicyDenied) as error:
        join(work)
    decision: Any = error.value.data["decision"]
    assert rule in {one["id"] for one in decision["rules"] if one["answer"] == "deny"}
    assert objects(work) == []


@pytest.mark.parametrize(
    ("what", "rule"),
    [("pickles", "no-pickles"), ("secrets", "no-secrets"), ("remote_code", "no-remote-code")],
)
def test_what_one_machine_found_counts_for_all(joinable: Crossing, what: str, rule: str) -> None:
    joinable.edit("datasets:", "policy: {presets: [no-remote-code]}\ndatasets:")
    made, path = record(joinable, 3)
    worse = replace(made.facts, **{what: Found(count=1, first="w2.bin")})
    says(joinable, path, replace(made, facts=worse))
    denied(joinable, rule)


def test_a_base_that_one_machine_found_counts_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES 39: what no record covers is unknown, and goes nowhere."""
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    claims = b'{"_name_or_path": "other/base"}'
    work = make_crossing(tmp_path / "project", FILES | {"adapter_config.json": claims})
    with pytest.raises(PolicyDenied):
        shard(work, 1)
    for number in (2, 3):
        shard(work, number)
    assert record(work, 2)[0].facts.claims == ()


def test_what_a_signed_sbom_says_counts_where_it_is_worse(joinable: Crossing) -> None:
    """A machine that says less than a trusted SBOM is not believed."""
    joinable.evidence(
        "sbom",
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.7",
            "metadata": {
                "component": {
                    "type": "machine-learning-model",
                    "name": "churn",
                    "properties": [{"name": "sovgate:pickles", "value": "2"}],
                }
            },
        },
    )
    denied(joinable, "no-pickles")


def test_what_a_machine_kept_silent_about_the_zone_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key that may say so it gets past its own zone; the destination looks for itself."""
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = make_crossing(tmp_path / "project", FILES | {"w3.pkl": pickle.dumps({"a": 1})})
    work.edit("datasets:", "policy: {pickles: allow}\ndatasets:")
    for number in (1, 2, 3):
        shard(work, number)
    work.edit("policy: {pickles: allow}\n", "")
    denied(work, "no-pickles")
    for number in (1, 2, 3):
        made, path = record(work, number)
        silent = replace(made.facts, pickles=Found(count=0, first=None))
        says(work, path, replace(made, facts=silent))
    join(work)
    assert "no-pickles" in json.dumps(work.pull(code=10)["error"])
    assert not (work.base / "pulled").exists()


def test_evidence_that_a_machine_saw_has_to_be_at_hand(joinable: Crossing) -> None:
    """RULES 30: removing a record frees nothing."""
    made, _ = record(joinable, 1)
    (digest,) = made.evidence
    folder = evidence_dir_of(joinable)
    (path,) = folder.glob("provenance-*")
    path.rename(folder.parent / "gone")
    error = refused(joinable, "evidence-missing", 1)
    assert digest in str(error.why)


# -- machines that lie, and folders that others write to


def other_key(work: Crossing, name: str = "worker", **entry: str) -> str:
    """A further key; with `may`, an entry of it under trust beside the zone's own."""
    generate("sign", out=work.base / "keys" / f"{name}.pem", algorithm="ec-p256")
    home = "[signature, sbom, provenance, gate, decision, transfer, receipt, promotion, audit]"
    lines = [f"  - {{name: home, key: keys/home.pub.pem, from: home, may: {home}}}"]
    if entry:
        more = ", ".join(f"{key.rstrip('_')}: {value}" for key, value in entry.items())
        lines.append(f"  - {{name: {name}, key: keys/{name}.pub.pem, {more}}}")
    lines.append(f"  - {{name: eu, key: keys/eu.pub.pem, from: eu, may: {home}}}")
    path = work.base / "sovgate.yaml"
    path.write_text(path.read_text() + "trust:\n" + "\n".join(lines) + "\n")
    return f"keys/{name}.pem"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, "wrong-signer"),
        ({"may": "[transfer, signature]", "from_": "home"}, "untrusted-role"),
        ({"may": "[part]", "from_": "eu"}, "wrong-source"),
        ({"may": "[part]", "from_": "home"}, None),
        ({"may": "[part]"}, None),
    ],
    ids=["nobody", "another-role", "another-zone", "a-worker", "of-any-zone"],
)
def test_who_may_make_a_part(joinable: Crossing, entry: dict[str, str], reason: str | None) -> None:
    """The zone's own key may in any case, also where `trust` does not say so."""
    key = other_key(joinable, **entry)
    made, path = record(joinable, 2)
    says(joinable, path, made, key=key)
    if reason is not None:
        refused(joinable, reason, 2)
        return
    join(joinable)
    opens(joinable)


def _region(made: PartRecord, which: str, **changes: str) -> PartRecord:
    return replace(made, **{which: replace(getattr(made, which), **changes)})


LIES: dict[str, Callable[[PartRecord], PartRecord]] = {
    "release": lambda one: replace(one, release=replace(one.release, version="1.0.1")),
    "manifest": lambda one: replace(one, manifest="0" * 64),
    "source": lambda one: _region(one, "source", zone="eu"),
    "source-region": lambda one: _region(one, "source", provider_region="aws:us-west-2"),
    "destination": lambda one: _region(one, "destination", zone="home"),
    "region": lambda one: _region(one, "destination", provider_region="aws:eu-west-1"),
    "key": lambda one: replace(
        one,
        part=replace(one.part, recipient=replace(one.part.recipient, key_id="0" * 64)),
    ),
    "algorithm": lambda one: replace(
        one,
        part=replace(one.part, recipient=replace(one.part.recipient, algorithm="rsa-oaep-sha256")),
    ),
    "of": lambda one: replace(one, part=replace(one.part, of=4)),
    "number": lambda one: replace(one, part=replace(one.part, number=1)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_part_of_another_push_is_refused(joinable: Crossing, lie: str) -> None:
    made, path = record(joinable, 2)
    says(joinable, path, LIES[lie](made))
    refused(joinable, "wrong-part", 2)


def test_a_part_stands_under_its_own_number_once(joinable: Crossing) -> None:
    for name in ("part-{}.json", "list-{}", "table-{}"):
        shutil.copy(parts(joinable) / name.format(1), parts(joinable) / name.format(3))
    refused(joinable, "wrong-part", 3)


def test_units_that_overlap_or_leave_a_gap_are_refused(joinable: Crossing) -> None:
    made, path = record(joinable, 2)
    first, count = made.part.units or (0, 0)
    for units in ((first - 1, count + 1), (first, count + 1), (first + 1, 0), (0, count)):
        says(joinable, path, replace(made, part=replace(made.part, units=units)))
        refused(joinable, "parts", 2)


def test_more_or_fewer_parts_than_are_joined_are_refused(joinable: Crossing) -> None:
    assert "--join 2" not in str(refused(joinable, "parts", None, count=2).fix)
    assert "--join 3; or run each shard again" in str(refused(joinable, "parts", None, count=5).fix)
    for number in (1, 2):
        (parts(joinable) / f"part-{number}.json").unlink()
    error = refused(joinable, "part-missing", 1)
    assert "parts 1, 2 of 3" in error.what


@pytest.mark.parametrize("name", ["part-2.json", "list-2", "table-2"])
def test_a_file_that_is_missing_or_has_other_bytes_is_refused(
    joinable: Crossing, name: str
) -> None:
    path = parts(joinable) / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused(joinable, "malformed" if name == "part-2.json" else "digest-mismatch", 2)
    path.write_bytes(data + b" ")
    with pytest.raises(VerificationFailed):
        join(joinable)
    path.unlink()
    refused(joinable, "part-missing", 2)
    path.symlink_to(parts(joinable) / name.replace("2", "1"))
    refused(joinable, "not-regular", 2)
    path.unlink()
    os.mkfifo(path)
    refused(joinable, "not-regular", 2)
    path.rmdir() if path.is_dir() else path.unlink()
    path.write_bytes(data)
    join(joinable)


def test_rule_31_a_folder_without_bounds_is_not_read(
    joinable: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sovgate.pipeline.move.shards.folder._MAX_LISTED", 9)
    join(joinable)
    (parts(joinable) / "more").touch()
    refused(joinable, "limits", None)
    (parts(joinable) / "more").unlink()
    monkeypatch.setattr("sovgate.pipeline.move.shards.folder.MAX_BYTES", 100)
    refused(joinable, "limits", 1)


def test_a_list_of_other_chunks_and_a_swapped_table_open_nowhere(joinable: Crossing) -> None:
    """A machine can say of any chunks in the store that they are its share. The zone opens each
    under the key of its place, and compares each file with what was signed."""
    one, two = record(joinable, 1)[0], record(joinable, 2)
    made, path = two
    shutil.copy(parts(joinable) / "table-1", parts(joinable) / "table-2")
    says(joinable, path, replace(made, part=replace(made.part, keytable=one.part.keytable)))
    error = refused(joinable, "parts", 1)
    assert "parts 1 and 2" in error.what
    # A table that opens nothing, but is there once:
    data = os.urandom(made.part.keytable.size)
    (parts(joinable) / "table-2").write_bytes(data)
    says(joinable, path, replace(made, part=replace(made.part, keytable=Sized.of(data))))
    join(joinable)
    error = joinable.pull(code=11)["error"]
    assert error["reason"] == "keytable"
    assert not (joinable.base / "pulled").exists()


def test_a_chunk_of_another_shard_in_a_list_is_refused(joinable: Crossing) -> None:
    made, path = record(joinable, 2)
    listed = (parts(joinable) / "list-1").read_bytes()
    data = listed[:32] + (parts(joinable) / "list-2").read_bytes()[32:]
    (parts(joinable) / "list-2").write_bytes(data)
    says(joinable, path, replace(made, part=replace(made.part, list=Sized.of(data))))
    refused(joinable, "parts", 1)


@pytest.mark.parametrize("how", ["missing", "damaged", "short"])
def test_rule_14_the_store_is_asked_for_every_chunk(joinable: Crossing, how: str) -> None:
    digest = (parts(joinable) / "list-2").read_bytes()[32:64].hex()
    path = joinable.base / "eu-store/chunks/sha256" / digest
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(data[:-1] if how == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreError) as error:
        join(joinable)
    assert error.value.reason == ("part-incomplete" if how == "missing" else "damaged-object")
    assert "--shard 2/3 " in str(error.value.fix)
    assert objects(joinable) == []
    path.unlink(missing_ok=True)
    assert not shard(joinable, 2).part.already
    join(joinable)
    opens(joinable)


def test_a_key_that_the_zone_has_no_longer_is_refused(joinable: Crossing) -> None:
    for path in (joinable.base / "keys").glob("eu-enc*"):
        path.unlink()
    generate("encrypt", out=joinable.base / "keys" / "eu-enc.pem", algorithm="ec-p256")
    refused(joinable, "wrong-part", 1)
    for number in (1, 2, 3):
        assert not shard(joinable, number).part.already
    join(joinable)
    opens(joinable)


def test_parts_of_another_model_are_refused(joinable: Crossing) -> None:
    (joinable.model / "config.json").write_bytes(b"{ }")
    joinable.sign()
    refused(joinable, "wrong-part", 1)


def test_a_part_of_a_release_that_is_not_joined_yet_is_not_written_over(
    joinable: Crossing,
) -> None:
    before = tree(parts(joinable))
    words = ("--shard", "1/3", "--parts", str(parts(joinable)))
    error = joinable.push(*words, release="churn/1.1.0", code=2)["error"]
    assert error["reason"] == "parts-of-release" and "parts-1.1.0" in error["fix"]
    assert tree(parts(joinable)) == before
    join(joinable)
    joinable.push(*words, release="churn/1.1.0")


# -- calls that make no sense


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--shard", "1/3"), "no-parts"),
        (("--join", "3"), "no-parts"),
        (("--parts", "p"), "no-shard"),
        (("--shard", "1/3", "--join", "3", "--parts", "p"), "shard-and-join"),
        (("--shard", "0/3", "--parts", "p"), "bad-shard"),
        (("--shard", "4/3", "--parts", "p"), "bad-shard"),
        (("--shard", "1/257", "--parts", "p"), "bad-shard"),
        (("--shard", "1", "--parts", "p"), "bad-shard"),
        (("--shard", "+1/3", "--parts", "p"), "bad-shard"),
        (("--shard", "1/3", "--parts", "model/p"), "parts-inside"),
        (("--shard", "1/3", "--parts", "eu-store/p"), "parts-inside"),
        (("--shard", "1/3", "--parts", "../p", "--state", "../p"), "state-inside"),
        (("--shard", "1/3", "--parts", "../p", "--state", "../p/s"), "state-inside"),
    ],
)
def test_words_that_do_not_fit(work: Crossing, words: tuple[str, ...], reason: str) -> None:
    assert work.push(*words, code=2)["error"]["reason"] == reason
    assert everything(work) == []


def test_chunks_that_are_used_again_are_on_one_machine(joinable: Crossing) -> None:
    joinable.edit("store: eu-store", "store: {uri: eu-store, reuse: true}")
    for call in (shard, join):
        with pytest.raises(ConfigError) as error:
            call(joinable, 3)
        assert error.value.reason == "shards-and-reuse"


def test_a_model_has_to_be_named_but_where_parts_are_joined(work: Crossing) -> None:
    words = ("push", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    code, text = work.run(*words)
    assert code == 2
    assert "MODEL" in text
    code, text = work.run(*words, "--join", "2", "--parts", "p")
    assert code == 2
    assert "--evidence" in text


def test_a_release_of_that_name_is_told_before_a_byte_is_sent(work: Crossing) -> None:
    work.push()
    (work.model / "config.json").write_bytes(b"{ }")
    work.sign()
    before = work.objects("chunks/")
    with pytest.raises(StoreError) as error:
        shard(work, 1)
    assert error.value.reason == "release-differs"
    assert work.objects("chunks/") == before


def test_an_encrypted_copy_is_sent_by_one_machine(work: Crossing) -> None:
    code, _ = work.run(
        *("encrypt", work.model, "--zone", "home", "--to", "eu", "--release", "churn/1.0.0"),
        *("-o", "sealed"),
    )
    assert code == 0
    with pytest.raises(UsageError) as error:
        push_shard(
            Shard(model=work.base / "sealed", number=1, of=2, folder=parts(work)),
            release=work.release,
            zone="home",
            to="eu",
            options=Options(project=work.base),
        )
    assert error.value.reason == "ambiguous-source"


def test_verify_first_hashes_the_share_before_a_byte_is_sent(work: Crossing) -> None:
    data = bytearray(FILES["w0.bin"])
    data[-1] ^= 1
    (work.model / "w0.bin").write_bytes(data)
    with pytest.raises(VerificationFailed) as error:
        shard(work, 1, verify_first=True)
    assert error.value.reason == "digest-mismatch"
    assert work.objects("chunks/") == []
    shard(work, 3, verify_first=True)
    with pytest.raises(VerificationFailed):
        shard(work, 1)
    assert not (parts(work) / "part-1.json").exists()
    assert work.objects("chunks/") != []


def test_a_store_that_fails_leaves_no_part(work: Crossing, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = FileStore.put, [0]

    def put(store: FileStore, name: str, data: bytes, *, sha256: str) -> None:
        if name.startswith("chunks/"):
            count[0] += 1
            if count[0] == 3:
                raise StoreError("the network is gone", reason="network")
        real(store, name, data, sha256=sha256)

    monkeypatch.setattr(FileStore, "put", put)
    with pytest.raises(StoreError):
        shard(work, 1)
    assert not parts(work).exists()
    done = shard(work, 1)
    assert done.resumed + done.size.objects == 4


def test_chunks_under_a_key_that_the_store_names_no_longer_are_sent_anew(
    joinable: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a shard that was done once could not be sent again, and would be asked for for ever."""
    old = set(joinable.objects("chunks/"))

    def require_key(_store: FileStore, name: str) -> None:
        if name in old:
            raise StoreUnfit("not under that key", fix="correct kms=", reason="not-under-key")

    monkeypatch.setattr(FileStore, "require_key", require_key, raising=False)
    with pytest.raises(StoreUnfit) as error:
        join(joinable)
    assert "--shard 1/3" in str(error.value.fix)
    for number in (1, 2, 3):
        assert not shard(joinable, number).part.already
    join(joinable)
    opens(joinable)


def test_the_plan_of_a_model_is_made_once_for_all_parts(
    joinable: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model of many files it takes a second, and there are up to 256 parts."""
    made: list[int] = []
    real = Plan.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[Plan], *given: Any, **named: Any) -> Plan:
        made.append(1)
        return real(cls, *given, **named)  # type: ignore[no-any-return]

    monkeypatch.setattr(Plan, "of", classmethod(of))
    expected = _expected(joinable)
    made.clear()
    read_all(parts(joinable), expected, open_project(joinable.base).trusted("home"))
    assert len(made) == 3  # that of the parts; and two where the lists are held against it


def _expected(work: Crossing) -> Expected:
    said, _ = record(work, 1)
    recipient = said.part.recipient
    return Expected(
        release=said.release,
        manifest=inventory.take(work.model).manifest,
        source=said.source,
        destination=said.destination,
        recipient=(recipient.key_id, recipient.algorithm),
        of=3,
    )


def test_rule_2_what_git_takes_for_its_own_is_not_joined_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machines refuse it; one that lies does not."""
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with monkeypatch.context() as signed_elsewhere:
        for where in (signing, inventory):
            signed_elsewhere.setattr(where, "refuse_git", lambda _names: None)
        work = make_crossing(tmp_path / "project", FILES | {"sub/.gitattributes": b"* filter=x"})
    with pytest.raises(VerificationFailed) as error:
        shard(work, 1)
    assert error.value.reason == "git-name"
    with monkeypatch.context() as lying:
        lying.setattr(stage, "require_no_git", lambda _manifest: None)
        lying.setattr(inventory, "refuse_git", lambda _names: None)
        for number in (1, 2, 3):
            shard(work, number)
    with pytest.raises(VerificationFailed) as error:
        join(work)
    assert (error.value.reason, objects(work)) == ("git-name", [])


def test_a_part_for_another_zone_is_not_written_over(joinable: Crossing) -> None:
    """Its zone's chunks would be open for nobody, and all of that shard would be sent again."""
    text = (joinable.base / "sovgate.yaml").read_text()
    before = tree(parts(joinable))
    project = joinable.base / "sovgate.yaml"
    project.write_text(text.replace("  eu:", "  fr:").replace("-> eu", "-> fr"))
    with pytest.raises(UsageError, match="holds the part of that shard for zone eu") as error:
        push_shard(
            Shard(model=joinable.model, number=1, of=3, folder=parts(joinable)),
            release=joinable.release,
            zone="home",
            to="fr",
            options=Options(project=joinable.base),
        )
    assert error.value.reason == "parts-of-zone" and "parts-fr" in str(error.value.fix)
    assert tree(parts(joinable)) == before
