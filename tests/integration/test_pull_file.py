"""One file of a release, or a range of it, by the commands; and when its bytes are given out.

RULES 2, 11, 12, 31, 32: under this zone's own receipt for this very record, or verified and judged
whole before the first byte.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sovgate.cli import main
from sovgate.errors import (
    KeyServiceError,
    PolicyDenied,
    SovgateError,
    VerificationFailed,
)
from sovgate.formats import chunk
from sovgate.formats.receipt import Check, Receipt
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys import registry
from sovgate.pipeline.decide import contents
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.move.partial import pull_file
from sovgate.pipeline.move.results import PulledFile
from sovgate.pipeline.move.wanted import Wanted
from sovgate.records import STREAM, Options, Release
from sovgate.stages import attest, transfer
from tests.crossing import Crossing, make_crossing, tree
from tests.vectors.signing import make as vectors

FILES = {
    "model.bin": bytes(range(256)) * 40,
    "config.json": b'{"layers": 2}',
    "sub/config.json": b'{"layers": 3}',
    "sub/twin.json": b'{"layers": 2}',
    "empty": b"",
}
#: More than a chunk, and neither text nor a pickle.
LARGE = bytes(range(256)) * (256 * 257)


@dataclass
class Given:
    """What came out at the end, byte by byte."""

    data: bytearray = field(default_factory=bytearray)

    def __call__(self, view: memoryview) -> None:
        self.data += view


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project", FILES)
    crossing.push()
    return crossing


@pytest.fixture(scope="module")
def opened(pushed: Crossing, tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    """The same, which zone eu pulled whole."""
    crossing = copy_of(pushed, tmp_path_factory.mktemp("opened"))
    crossing.pull()
    return crossing


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    crossing = make_crossing(tmp_path_factory.mktemp("large") / "project", {"w.bin": LARGE})
    crossing.push()
    return crossing


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What lies where files are staged that go to standard output."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return lambda: sorted(tree(folder))


def copy_of(crossing: Crossing, folder: Path) -> Crossing:
    shutil.copytree(crossing.base, folder / "project")
    return Crossing(base=folder / "project", model=folder / "project" / "model")


def pull(
    crossing: Crossing,
    name: str,
    given: Given,
    text: str | None = None,
    *,
    release: str = "churn/1.0.0",
) -> PulledFile:
    return pull_file(
        Release.parse(release),
        Wanted.parse(name, text),
        zone="eu",
        output=STREAM,
        write=given,
        options=Options(project=crossing.base),
    )


def refused(crossing: Crossing, name: str, text: str | None = None, **more: Any) -> SovgateError:
    """The error, where not one byte was given out."""
    given = Given()
    with pytest.raises(SovgateError) as caught:
        pull(crossing, name, given, text, **more)
    assert given.data == b""
    return caught.value


def chunks(crossing: Crossing) -> list[Path]:
    return sorted((crossing.base / "eu-store/chunks").rglob("*/*"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


# -- what is given out


@pytest.mark.parametrize(
    ("name", "whole"),
    [*((name, True) for name in FILES), ("sub/config.json", False), ("empty", False)],
)
def test_a_file_is_what_was_signed(
    pushed: Crossing, opened: Crossing, name: str, whole: bool, private: Callable[[], list[str]]
) -> None:
    given = Given()
    done = pull(opened if whole else pushed, name, given)
    assert given.data == FILES[name]
    assert (done.receipt is not None) is whole
    assert done.span == (0, len(FILES[name]))
    assert private() == []


RANGES = {
    "0-0": b"\x00",
    "5-7": b"\x05\x06\x07",
    "10237-": b"\xfd\xfe\xff",
    "0-": FILES["model.bin"],
}


@pytest.mark.parametrize(
    ("text", "whole"), [*((text, True) for text in RANGES), ("5-7", False), ("10237-", False)]
)
def test_a_range_counts_both_ends_from_0(
    pushed: Crossing, opened: Crossing, text: str, whole: bool
) -> None:
    given = Given()
    pull(opened if whole else pushed, "model.bin", given, text)
    assert given.data == RANGES[text]


def test_a_model_that_is_one_file_is_named_by_a_dot(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project", b"one file " * 1000)
    crossing.push()
    given = Given()
    pull(crossing, ".", given, "4-8")
    assert given.data == b"file "
    assert refused(crossing, "model").fix == "the model is one file: --file ."


@pytest.mark.parametrize(("text", "whole"), [(None, False), ("5-9", False), (None, True)])
def test_rule_11_a_file_appears_whole_under_its_name(
    pushed: Crossing, opened: Crossing, tmp_path: Path, text: str | None, whole: bool
) -> None:
    crossing = copy_of(opened if whole else pushed, tmp_path)
    more = () if text is None else ("--range", text)
    asked = ("pull", "churn/1.0.0", "--zone", "eu", "--file", "sub/config.json", *more)
    said = crossing.json(*asked, "-o", "new/got.json")
    path = crossing.base / "new/got.json"
    assert path.read_bytes() == (
        FILES["sub/config.json"] if text is None else FILES["sub/config.json"][5:10]
    )
    assert [one.name for one in path.parent.iterdir()] == ["got.json"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert said["file"]["name"] == "sub/config.json"
    assert said["range"] == ([0, 12] if text is None else [5, 9])
    if text is not None:
        return
    again = crossing.json(*asked, "-o", "new/got.json", code=2)["error"]
    assert again["reason"] == "output-exists"
    folder = crossing.json(*asked, "-o", "new", code=2)["error"]
    assert folder["fix"] == "name the file to write: -o 'new/FILE'"


def test_it_writes_no_receipt_and_no_evidence_and_the_log_verifies(
    pushed: Crossing, tmp_path: Path
) -> None:
    crossing = copy_of(pushed, tmp_path)
    done = pull(crossing, "config.json", Given())
    assert crossing.objects("receipts/") == []
    assert sorted(one.name for one in crossing.base.glob("*.evidence")) == ["model.evidence"]
    found = crossing.json("audit", "verify", "--zone", "eu", "--against", done.audit_head)
    assert {run["last"]["action"] for log in found["logs"] for run in log["runs"]} == {"pull-file"}
    _, said = crossing.run("audit", "show", "churn/1.0.0")
    assert "pull-file from home to eu: outcome, exit 0" in said


def test_the_decision_that_the_log_names_must_be_there(pushed: Crossing, tmp_path: Path) -> None:
    crossing = copy_of(pushed, tmp_path)
    before = set(crossing.objects("objects/"))
    done = pull(crossing, "config.json", Given())
    decisions = set(crossing.objects("objects/")) - before
    assert len(decisions) == 2
    for name in decisions:
        (crossing.base / "eu-store" / name).unlink()
        found = crossing.json("audit", "verify", "--against", done.audit_head, code=11)
        assert found["error"]["reason"] == "audit-missing"


# -- standard output


@dataclass
class Out:
    code: int
    out: bytes
    err: str


def command(crossing: Crossing, *words: str) -> Out:
    """As at a desk, with a standard output that takes bytes."""
    out, err = io.BytesIO(), io.StringIO()
    with (
        contextlib.chdir(crossing.base),
        contextlib.redirect_stdout(io.TextIOWrapper(out, encoding="utf-8")),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(list(words))
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush()
        data = out.getvalue()
    assert isinstance(code, int)
    return Out(code=code, out=data, err=err.getvalue())


ASKED = ("pull", "churn/1.0.0", "--zone", "eu", "-o", "-")


@pytest.mark.parametrize("whole", [False, True])
def test_standard_output_holds_the_bytes_and_nothing_else(
    pushed: Crossing, opened: Crossing, whole: bool
) -> None:
    crossing = opened if whole else pushed
    done = command(crossing, *ASKED, "--file", "model.bin")
    assert (done.code, done.out) == (0, FILES["model.bin"])
    assert "pulled model.bin, 10.0 KiB, of churn/1.0.0" in done.err
    quiet = command(crossing, *ASKED, "--file", "config.json", "--range", "0-3", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, FILES["config.json"][:4], "")


def test_a_whole_model_does_not_go_to_standard_output(opened: Crossing) -> None:
    done = command(opened, *ASKED)
    assert (done.code, done.out) == (2, b"")
    assert "--file NAME" in done.err


def test_json_and_bytes_do_not_both_go_there_and_nothing_was_done(
    opened: Crossing, tmp_path: Path
) -> None:
    crossing = copy_of(opened, tmp_path)
    before = tree(crossing.base)
    done = command(crossing, *ASKED, "--file", "config.json", "--format", "json")
    assert done.code == 2
    assert b"two-outputs" in done.out
    assert tree(crossing.base) == before


def test_a_range_without_a_file_is_refused(opened: Crossing) -> None:
    found = opened.json("pull", "churn/1.0.0", "--zone", "eu", "-o", "x", "--range", "0-1", code=2)
    assert found["error"]["fix"] == "name the file with --file NAME"


# -- names and ranges: tests/unit/test_partial.py has more of them


def test_what_is_not_there_gives_out_nothing(opened: Crossing) -> None:
    assert refused(opened, "confg.json").reason == "no-such-file"
    error = refused(opened, "model.bin", "0-10240")
    assert (error.exit_code, error.reason) == (2, "bad-range")


# -- who opened it whole


def test_rule_12_without_a_receipt_nothing_is_given_out_before_all_is_verified(
    large: Crossing, tmp_path: Path, private: Callable[[], list[str]]
) -> None:
    """The last chunk is damaged, and only the first byte was asked for."""
    crossing = copy_of(large, tmp_path)
    last = min(chunks(crossing), key=lambda path: path.stat().st_size)
    flip(last, 20)
    error = refused(crossing, "w.bin", "0-0")
    assert (error.exit_code, error.reason) == (11, "damaged")
    assert private() == []
    flip(last, 20)
    given, at = Given(), 16 * 1024 * 1024
    pull(crossing, "w.bin", given, f"{at - 3}-{at + 2}")
    assert given.data == LARGE[at - 3 : at + 3]


def test_rule_12_under_a_receipt_a_chunk_that_was_changed_since_gives_out_nothing(
    opened: Crossing, tmp_path: Path
) -> None:
    crossing = copy_of(opened, tmp_path)
    (path,) = chunks(crossing)
    flip(path, 20)
    assert refused(crossing, "config.json", "0-0").reason == "damaged"
    flip(path, 20)
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(crossing, "config.json").reason == "damaged"
    path.unlink()
    assert refused(crossing, "config.json").exit_code == 21
    log = crossing.json("audit", "verify", "--zone", "eu", code=11)
    assert log["error"]["reason"] == "audit-missing"


def receipt_of(crossing: Crossing) -> tuple[Path, bytes]:
    (path,) = (crossing.base / "eu-store/receipts").rglob("*.json")
    return path, path.read_bytes()


def forge(crossing: Crossing, key: str, **changes: Any) -> None:
    """In place of the zone's receipt, one by another key or about something else."""
    path, data = receipt_of(crossing)
    record = transfer.read_record(
        crossing.store, crossing.release, trusted := opened_project(crossing).trusted("eu")
    )
    assert record is not None
    told = transfer.open_receipt(data, trusted)
    made = Receipt(
        **{**{name: getattr(told, name) for name in told.__dataclass_fields__}, **changes}
    )
    statement = Statement(
        subject_name=made.release.model,
        subject_sha256=made.manifest,
        predicate_type=PREDICATE_TYPES["receipt"],
        predicate=made.predicate(),
    )
    path.unlink()
    signer = registry.open_signer(key, crossing.base)
    transfer.put_receipt(crossing.store, crossing.release, attest.seal(statement, signer))


def opened_project(crossing: Crossing) -> Any:
    from sovgate.pipeline.project import open_project

    return open_project(crossing.base)


FORGED: dict[str, tuple[str, dict[str, Any]]] = {
    "by another zone's key": ("keys/home.pem", {}),
    "of another zone": ("keys/eu.pem", {"zone": "home"}),
    "of another record": ("keys/eu.pem", {"record": "ab" * 32}),
    "of what did not open": (
        "keys/eu.pem",
        {"checks": (Check(id="record", passed=True), Check(id="plaintext", passed=False))},
    ),
    "of what was not opened": ("keys/eu.pem", {"checks": (Check(id="record", passed=True),)}),
    "its own": ("keys/eu.pem", {}),
}


@pytest.mark.parametrize("which", FORGED)
def test_rule_12_a_receipt_counts_that_this_zone_signed_of_this_record_opened_whole(
    opened: Crossing, tmp_path: Path, which: str
) -> None:
    crossing = copy_of(opened, tmp_path)
    key, changes = FORGED[which]
    forge(crossing, key, **changes)
    given = Given()
    assert (pull(crossing, "config.json", given).receipt is not None) is (which == "its own")
    assert given.data == FILES["config.json"]


def test_rule_32_a_receipt_by_a_former_key_of_the_zone_is_not_this_signers(
    opened: Crossing, tmp_path: Path
) -> None:
    crossing = copy_of(opened, tmp_path)
    generate("sign", out=crossing.base / "keys/eu-new.pem", algorithm="ec-p256")
    crossing.edit("sign: keys/eu.pem", "sign: keys/eu-new.pem")
    path = crossing.base / "sovgate.yaml"
    path.write_text(
        path.read_text()
        + "trust:\n"
        + "  - {name: home, key: keys/home.pub.pem, from: home,"
        + " may: [signature, provenance, transfer]}\n"
        + "  - {name: now, key: keys/eu-new.pub.pem, may: [receipt, audit, decision], from: eu}\n"
        + "  - {name: before, key: keys/eu.pub.pem, may: [receipt, audit, decision], from: eu}\n"
    )
    assert pull(crossing, "config.json", Given()).receipt is None


def test_rule_6_a_receipt_of_another_release_in_its_place(opened: Crossing, tmp_path: Path) -> None:
    crossing = copy_of(opened, tmp_path)
    (crossing.model / "config.json").write_bytes(b'{"layers": 9}')
    crossing.sign()
    crossing.push(release="churn/1.1.0")
    path, data = receipt_of(crossing)
    there = crossing.base / "eu-store/receipts/churn/1.1.0"
    there.mkdir()
    (there / path.name).write_bytes(data)
    given = Given()
    assert pull(crossing, "config.json", given, release="churn/1.1.0").receipt is None
    assert given.data == b'{"layers": 9}'


def test_a_wrong_pin_gives_out_nothing(opened: Crossing) -> None:
    error = refused(opened, "config.json", release="churn/1.0.0@sha256:" + "0" * 64)
    assert (error.exit_code, error.reason) == (11, "wrong-manifest")


def test_rule_11_a_signature_that_tells_no_file_alone_needs_the_whole_model_first(
    tmp_path: Path,
) -> None:
    """As model_signing signs in shards: which bytes one file has, the bundle does not tell."""
    from cryptography.hazmat.primitives import serialization

    crossing = make_crossing(tmp_path / "project", dict(vectors.MODEL))
    private = vectors.SIGNER.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (crossing.base / "keys/home.pem").write_bytes(private)
    crossing.sign()
    (crossing.model / "weights-extra.bin").unlink()
    crossing.sign()
    attest.signature_path(crossing.model).write_bytes(vectors.in_shards(100))
    crossing.push()
    error = refused(crossing, "config.json")
    assert (error.exit_code, error.reason) == (11, "no-receipt")
    assert error.fix is not None
    words = error.fix.partition("sovgate ")[2].replace("MODEL", "whole").split()
    assert crossing.run(*words)[0] == 0
    given = Given()
    assert pull(crossing, "config.json", given).receipt is not None
    assert given.data == vectors.MODEL["config.json"]


# -- policy


class Bad:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (print, ("run",))


def test_policy_sees_the_file_before_a_byte_is_given_out(
    tmp_path: Path, private: Callable[[], list[str]]
) -> None:
    """A zone that allows no pickles pulls from a release that its source let out."""
    files = {"config.json": b'{"layers": 2}', "weights.bin": pickle.dumps(Bad())}
    crossing = make_crossing(tmp_path / "project", files)
    path = crossing.base / "sovgate.yaml"
    strict = path.read_text()
    path.write_text(strict + "policy: {pickles: allow}\n")
    crossing.push()
    path.write_text(strict)
    error = refused(crossing, "weights.bin", "0-0")
    assert isinstance(error, PolicyDenied)
    assert "a pickle, weights.bin" in str(error.why)
    assert private() == []
    given = Given()
    assert pull(crossing, "config.json", given).receipt is None
    assert given.data == files["config.json"]
    # Opened whole where pickles were allowed, its receipt does not say that there is none.
    path.write_text(strict + "policy: {pickles: allow}\n")
    crossing.pull()
    assert pull(crossing, "weights.bin", given := Given()).receipt is None
    assert given.data == files["weights.bin"]
    path.write_text(strict)
    assert refused(crossing, "weights.bin").exit_code == 10


@pytest.mark.parametrize("settings", ["adapter_config.json", "sub/README.md"])
def test_rule_39_what_the_model_was_made_from_counts_whichever_file_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: Callable[[], list[str]], settings: str
) -> None:
    """A source that kept silent about a base gets no part of the model past the zone either."""
    monkeypatch.setattr(chunk, "SIZE", 4096)  # the claim lies in another chunk than the weights
    base = b'{"base_model_name_or_path": "other/base"}'
    claim = base if settings.endswith("json") else b"---\nbase_model: other/base\n---\n"
    files = {"w.bin": LARGE[: 3 * 4096], "v.bin": LARGE[: 2 * 4096], settings: claim}
    crossing = make_crossing(tmp_path / "project", files)
    with monkeypatch.context() as lying:
        lying.setattr(contents.Seen, "contents", property(lambda _: contents.CLEAN))
        crossing.push()
    before = len(chunks(crossing))
    assert "base-known" in str(crossing.pull(code=10)["error"])
    for name in ("w.bin", settings):
        error = refused(crossing, name, "0-0")
        assert isinstance(error, PolicyDenied)
        assert "other/base" in str(error.why)
        out = crossing.base / "out"
        assert (
            crossing.run("pull", "churn/1.0.0", "--zone", "eu", "--file", name, "-o", out)[0] == 10
        )
        assert not out.exists()
    assert (private(), len(chunks(crossing))) == ([], before)


def test_what_is_not_looked_into_is_not_fetched(tmp_path: Path) -> None:
    """Beside the file that is asked for, what may say what the model was made from is enough."""
    crossing = make_crossing(tmp_path / "project", {"w.bin": LARGE, "config.json": b"{}"})
    crossing.push()
    large = [path for path in chunks(crossing) if path.stat().st_size > 1000]
    for path in large:
        path.unlink()
    assert len(large) == 2
    given = Given()
    assert pull(crossing, "config.json", given).receipt is None
    assert given.data == b"{}"


def test_what_policy_denies_is_not_fetched_and_is_written_down(
    opened: Crossing, tmp_path: Path
) -> None:
    crossing = copy_of(opened, tmp_path)
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    shutil.rmtree(crossing.base / "eu-store/chunks")  # nobody looks for them
    before = crossing.objects("audit/")
    error = refused(crossing, "config.json")
    assert error.exit_code == 10
    assert len(crossing.objects("audit/")) == len(before) + 1


def test_a_key_that_does_not_open_it_gives_out_nothing(opened: Crossing, tmp_path: Path) -> None:
    crossing = copy_of(opened, tmp_path)
    generate("encrypt", out=crossing.base / "keys/other.pem", algorithm="ec-p256")
    crossing.edit("encrypt: keys/eu-enc.pem", "encrypt: keys/other.pem")
    crossing.edit("encrypt-public: keys/eu-enc.pub.pem", "encrypt-public: keys/other.pub.pem")
    error = refused(crossing, "config.json")
    assert isinstance(error, KeyServiceError)
    assert error.reason == "wrong-key"


def test_a_shard_alone_is_judged_though_its_set_is_not_here(tmp_path: Path) -> None:
    """What an index names lies in the release, and is not said to be missing."""
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    tensors = len(header).to_bytes(8, "little") + header + bytes(4)
    other = tensors.replace(b'"w"', b'"v"')
    index = (
        b'{"metadata": {"total_size": 8}, "weight_map": {"w": "model-00001-of-00002.safetensors",'
        b' "v": "model-00002-of-00002.safetensors"}}'
    )
    files = {
        "model-00001-of-00002.safetensors": tensors,
        "model-00002-of-00002.safetensors": other,
        "model.safetensors.index.json": index,
    }
    crossing = make_crossing(tmp_path / "project", files)
    crossing.push()
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        given = Given()
        assert pull(crossing, name, given).receipt is None
        assert given.data == files[name]


# -- how it ends


def test_a_reader_that_goes_away_is_written_down(opened: Crossing, tmp_path: Path) -> None:
    crossing = copy_of(opened, tmp_path)

    def write(_: memoryview) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        pull_file(
            crossing.release,
            Wanted(name="config.json"),
            zone="eu",
            output=STREAM,
            write=write,
            options=Options(project=crossing.base),
        )
    found = crossing.json("audit", "verify", "--zone", "eu")
    ends = {run["last"]["exit"] for log in found["logs"] for run in log["runs"]}
    assert ends == {0, 141}


def test_progress_counts_what_is_fetched(pushed: Crossing, opened: Crossing) -> None:
    class Seen:
        total = done = 0

        def expect(self, total: int) -> None:
            self.total = total

        def __call__(self, count: int) -> None:
            self.done += count

    # Under a receipt the range; else what is looked into, and what shares a chunk with that.
    for crossing, expected in ((opened, 3), (pushed, sum(map(len, FILES.values())))):
        seen = Seen()
        pull_file(
            crossing.release,
            Wanted.parse("config.json", "0-2"),
            zone="eu",
            output=STREAM,
            write=Given(),
            options=Options(project=crossing.base, progress=seen),
        )
        assert (seen.total, seen.done) == (expected, expected)


def test_wrong_bytes_are_no_success_however_they_came(opened: Crossing, tmp_path: Path) -> None:
    """The record names a list; what lies under its name is compared before a key is unwrapped."""
    crossing = copy_of(opened, tmp_path)
    record = transfer.read_record(
        crossing.store, crossing.release, opened_project(crossing).trusted("eu")
    )
    assert record is not None
    part = record.transfer.parts[0]
    for sha256 in (part.list.sha256, part.keytable.sha256):
        path = crossing.base / f"eu-store/objects/sha256/{sha256}"
        flip(path, 3)
        error = refused(crossing, "config.json")
        assert isinstance(error, VerificationFailed)
        flip(path, 3)
