"""What tools leave in a model's folder is left out, named, and nobody is led there (RULES 2)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import SovgateError
from sovgate.formats import leftovers
from sovgate.formats.bundle import Bundle
from sovgate.formats.oms import GIT_NAMES
from sovgate.formats.statement import Statement
from sovgate.stages import attest, inventory
from tests.crossing import Crossing, make_crossing, tree

KEY = "keys/home.pem"
FOUND = {
    ".cache/huggingface/.gitignore": b"*\n",
    ".cache/huggingface/download/model.safetensors.lock": b"",
    ".cache/huggingface/download/model.safetensors.metadata": b"a1\nb2\n1764288000.0\n",
    "sub/.cache/huggingface/download/x.lock": b"",
    ".mdl": b"x",
    ".msc": b"x",
    "._____temp/.DS_Store": b"x",
    ".DS_Store": b"\x00\x00\x00\x01Bud1",
    "sub/.DS_Store": b"x",
    "Thumbs.db": b"x",
    "desktop.ini": b"[.ShellClassInfo]",
    "._config.json": b"\x00\x05\x16\x07\x00\x02",
    "sub/._twin.json": b"",
    "__MACOSX/._model.bin": b"x",
    ".model.bin.swp": b"b0VIM",
    ".nfs000000000000a1b200000001": b"x",
    ".fuse_hidden0000001a00000002": b"x",
    ".Trash-1000/files/old.bin": b"x",
    "lost+found/x": b"x",
    "@eaDir/x": b"x",
    ".ipynb_checkpoints/config-checkpoint.json": b"{}",
    ".~lock.README.md#": b"x",
    "#config.json#": b"x",
}
#: Names that look alike and are files of the model.
OURS = (
    ".cache/other/x",
    "huggingface/x",
    "x.cache/huggingface/x",
    ".cache/huggingfacex/x",
    "._weights.bin",
    "thumbs.db.bin",
    ".nfs",
    ".nfsroot",
    "model.swp",
    "~",
    "#",
    "weights#1#.bin",
    "Trash-1000/x",
    ".sw",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crossing = make_crossing(tmp_path_factory.mktemp("leftovers") / "project")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made, tmp_path / "project")
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


def put(model: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def ignored(crossing: Crossing) -> set[str]:
    data = attest.signature_path(crossing.model).read_bytes()
    predicate: dict[str, Any] = dict(Statement.parse(Bundle.parse(data).payload).predicate)
    return set(predicate["serialization"]["ignore_paths"]) - set(GIT_NAMES)


@pytest.mark.parametrize("name", FOUND)
def test_rule_02_a_leftover_is_no_part_of_a_model(crossing: Crossing, name: str) -> None:
    before = crossing.manifest
    put(crossing.model, {name: FOUND[name]})
    said = crossing.json("sign", "model", "--key", KEY)
    assert said["manifest"] == before
    (left_out,) = said["left-out"]
    assert name == left_out or name.startswith(left_out + "/")
    assert ignored(crossing) == {left_out}
    crossing.json("verify", "model")


@pytest.mark.parametrize(
    "name",
    [
        ".cache/huggingface/download/Ab3=.deadbeef.incomplete",
        ".cache/huggingface/download/original/Ab3=.deadbeef.incomplete",
        "sub/.cache/huggingface/download/w.gguf.part",
        ".cache/huggingface/download/w.bin.aria2",
        "._____temp/model.safetensors",
        "._____temp/org/model.safetensors_0_167772159",
        "vae/._____temp/w.bin",
    ],
)
@pytest.mark.parametrize("data", [b"", b"x"])
def test_rule_38_a_download_that_did_not_finish_is_refused_where_it_is_left_out(
    crossing: Crossing, name: str, data: bytes
) -> None:
    put(crossing.model, {name: data})
    for command in ("sign", "sbom"):
        error = crossing.json(command, "model", "--key", KEY, code=11)["error"]
        assert error["reason"] == "unfinished-download"
        assert repr(name) in error["what"]
    assert not attest.evidence_dir(crossing.model).exists()
    Path(error["fix"].rpartition("rm -- ")[2]).unlink()  # as the fix says
    crossing.json("sign", "model", "--key", KEY)


RELEASE = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("check", "model", *RELEASE), ".cache/huggingface/download/Ab3=.deadbeef.incomplete"),
        (("encrypt", "model", "--to", "eu", "-o", "sealed"), "._____temp/org/model.bin_0_16"),
        (("push", "model", *RELEASE), "sub/.cache/huggingface/download/w.gguf.part"),
        (("release", "model", *RELEASE), ".cache/huggingface/download/w.bin.aria2"),
    ],
)
def test_rule_38_a_later_download_that_did_not_finish_is_refused_of_a_signed_model(
    crossing: Crossing, words: tuple[str, ...], name: str
) -> None:
    """What lies in a folder that the signature leaves out may come after it."""
    put(crossing.model, {f"{name.rpartition('/')[0]}/done.lock": b""})
    crossing.json("sign", "model", "--key", KEY)
    before = tree(attest.evidence_dir(crossing.model))
    (crossing.model / name).write_bytes(b"half of it")
    error = crossing.json(*words, code=11)["error"]
    assert error["reason"] == "unfinished-download"
    assert repr(name) in error["what"]
    assert tree(attest.evidence_dir(crossing.model)) == before
    assert not (crossing.base / "sealed").exists()
    crossing.json("verify", "model")  # every file that was signed is there, and whole
    Path(error["fix"].rpartition("rm -- ")[2]).unlink()  # as the fix says
    code, text = crossing.run(*words)
    assert "did not finish" not in text, (code, text)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (".cache/huggingface/download", ".cache/huggingface/download/a.incomplete"),
        ("sub/._____temp/org", "sub/._____temp/org/w.bin"),
    ],
)
def test_another_tool_may_have_left_out_a_folder_below(path: str, name: str) -> None:
    assert leftovers.of_download(path)
    assert leftovers.is_unfinished(path, name)
    assert not leftovers.of_download(".cache/huggingfacex/download")


def test_what_is_no_download_or_was_thrown_away_is_left_out_as_before(crossing: Crossing) -> None:
    names = (
        ".Trash-1000/files/w.bin.incomplete",
        ".cache/huggingface/download/w.safetensors.metadata",
        ".cache/huggingface/download/w.safetensors.lock",
        "._____temp/w.lock",
    )
    put(crossing.model, dict.fromkeys(names, b"x"))
    (crossing.model / "._____temp" / "org").mkdir()
    crossing.json("sign", "model", "--key", KEY)


def test_two_downloads_of_one_revision_are_one_model(crossing: Crossing) -> None:
    put(crossing.model, FOUND)
    said = crossing.json("sign", "model", "--key", KEY)
    crossing.json("record", "model", "--dataset", "public", "--key", KEY)
    crossing.json("sbom", "model", "--key", KEY)
    put(crossing.model, {".cache/huggingface/download/model.safetensors.lock": b"touched"})
    assert crossing.json("verify", "model")["manifest"] == said["manifest"]
    crossing.push()
    pulled = crossing.pull()
    assert pulled["manifest"] == said["manifest"]
    assert not [name for name in tree(crossing.base / "pulled") if name in FOUND]


def test_all_first_steps_speak_of_one_model(crossing: Crossing) -> None:
    before = crossing.manifest
    put(crossing.model, FOUND)
    for command in (("record", "model", "--dataset", "public"), ("sbom", "model")):
        assert crossing.json(*command)["manifest"] == before


@pytest.mark.parametrize("name", OURS)
def test_what_looks_alike_is_signed(crossing: Crossing, name: str) -> None:
    put(crossing.model, {name: b"weights"})
    said = crossing.json("sign", "model", "--key", KEY)
    assert said["left-out"] == []
    crossing.json("verify", "model")
    put(crossing.model, {name: b"changed"})
    code, text = crossing.run("verify", "model")
    assert code == 11
    assert "changed" in text


def test_rule_02_a_leftover_that_nobody_named_is_refused(crossing: Crossing) -> None:
    """As any file that appears after a model was signed."""
    crossing.json("sign", "model", "--key", KEY)
    put(crossing.model, {".cache/huggingface/x": b"x"})
    release = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    for words in (
        ("verify", "model"),
        ("check", "model", *release),
        ("push", "model", *release),
        ("encrypt", "model", "--to", "eu", "-o", "sealed"),
    ):
        code, text = crossing.run(*words)
        assert (code, "not signed" in text) == (11, True), text
        assert "tools leave such files in folders: remove '.cache/huggingface/x'" in text


def test_what_reads_a_whole_model_names_what_is_left_out_as_sign_does(crossing: Crossing) -> None:
    put(crossing.model, {".DS_Store": b"x"})
    told = "no part of the model, since tools leave it in folders: .DS_Store"
    assert told in crossing.run("sign", "model", "--key", KEY)[1]
    code, text = crossing.run("verify", "model")
    assert (code, told in text) == (0, True)
    assert crossing.json("verify", "model")["left-out"] == [".DS_Store"]
    sealed = ("encrypt", "model", "--to", "eu", "-o", "sealed")
    code, text = crossing.run(*sealed, "--dry-run")
    assert (code, told in text) == (0, True), text
    said = crossing.json(*sealed)
    assert (said["left-out"], said["files"]) == ([".DS_Store"], 4)
    crossing.json("record", "model", "--dataset", "public", "--key", KEY)
    release = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    for command in ("push", "release"):
        code, text = crossing.run(command, "model", *release)
        assert (code, told in text) == (0, True), text
    shutil.rmtree(attest.evidence_dir(crossing.model))
    release = ("--release", "churn/1.1.0", "--zone", "home", "--to", "eu", "--dataset", "public")
    code, text = crossing.run("release", "model", *release)
    assert (code, told in text) == (0, True), text


def test_rule_02_what_was_an_apple_double_when_it_was_signed_is_looked_at_again(
    crossing: Crossing,
) -> None:
    put(crossing.model, {"._a.bin": b"\x00\x05\x16\x07"})
    crossing.json("sign", "model", "--key", KEY)
    crossing.json("verify", "model")
    put(crossing.model, {"._a.bin": b"weights"})
    code, text = crossing.run("verify", "model")
    assert code == 11
    assert "._a.bin" in text


def test_a_link_that_an_editor_left_is_left_out_too(crossing: Crossing) -> None:
    before = crossing.manifest
    (crossing.model / ".#config.json").symlink_to("user@host.1234:1")
    assert crossing.json("sign", "model", "--key", KEY)["manifest"] == before
    crossing.json("verify", "model")


def test_a_model_of_leftovers_alone_is_empty(crossing: Crossing) -> None:
    put(crossing.base / "none", {".DS_Store": b"x", ".cache/huggingface/x": b"x"})
    assert crossing.json("sign", "none", "--key", KEY, code=11)["error"]["reason"] == "empty-model"


def test_too_many_are_not_named_one_by_one(tmp_path: Path) -> None:
    put(tmp_path, {f"._{number}": b"" for number in range(inventory.MAX_LEFTOVERS + 1)})
    put(tmp_path, {"a": b"a"})
    with pytest.raises(SovgateError) as raised:
        inventory.take(tmp_path)
    assert raised.value.reason == "limits"
    assert "find" in str(raised.value.fix)


LEADS = {
    "config.json": json.dumps({"weights": ".cache/huggingface/evil.bin"}).encode(),
    "sub/config.json": json.dumps({"a": [{"b": "../.cache/huggingface/evil"}]}).encode(),
    "escaped.json": b'{"a": "\\u002ecache\\/huggingface\\/evil"}',
    "dots.json": json.dumps({"a": "./x/..//.cache/./huggingface/evil"}).encode(),
    "windows.json": json.dumps({"a": ".cache\\huggingface\\evil"}).encode(),
    "capitals.json": json.dumps({"a": ".Cache/HuggingFace/evil"}).encode(),
    "settings.yaml": b"path: .cache/huggingface/evil # x\n",
    "mac.json": json.dumps({"a": "__MACOSX/evil"}).encode(),
    "apple.json": json.dumps({"a": "._evil.bin"}).encode(),
}


@pytest.mark.parametrize("name", LEADS)
@pytest.mark.parametrize("command", ["sign", "record"])
def test_rule_02_settings_that_lead_to_a_leftover_are_refused(
    crossing: Crossing, name: str, command: str
) -> None:
    put(crossing.model, {name: LEADS[name]})
    more = ("--dataset", "public") if command == "record" else ()
    failed = crossing.json(command, "model", "--key", KEY, *more, code=11)["error"]
    assert failed["reason"] == "leads-to-leftovers"
    assert name in failed["what"]
    assert not attest.evidence_dir(crossing.model).exists()


@pytest.mark.parametrize(
    "text",
    [
        "/root/.cache/huggingface/hub/models--a--b/snapshots/abc",
        "~/.cache/huggingface",
        "see .cache for more",
        "../.cache/huggingface",
        "a~b",
        "#1#2",
    ],
)
def test_settings_that_name_a_place_elsewhere_are_not(crossing: Crossing, text: str) -> None:
    put(crossing.model, {"config.json": json.dumps({"_name_or_path": text}).encode()})
    assert leftovers.led_into("config.json", json.dumps([text]).encode()) is None
    crossing.json("sign", "model", "--key", KEY)


@pytest.mark.parametrize("command", ["record", "sbom", "gate", "sign"])
def test_no_evidence_is_made_for_what_cannot_be_signed(crossing: Crossing, command: str) -> None:
    put(crossing.model, {"sub/.gitignore": b"*", "sub/.gitattributes": b"*"})
    more: tuple[object, ...] = ()
    if command == "record":
        more = ("--dataset", "public")
    if command == "gate":
        (crossing.base / "report.xml").write_text(
            '<testsuite tests="1"><testcase name="a"/></testsuite>'
        )
        code, text = crossing.run("gate", "junit", "model", "--report", "report.xml")
    else:
        code, text = crossing.run(command, "model", "--key", KEY, *more)
    assert code == 11, text
    assert "sub/.gitignore" in text
    assert "sub/.gitattributes" in text
    assert "rm -- " in text
    assert not attest.evidence_dir(crossing.model).exists()
