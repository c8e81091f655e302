"""Models made of links, as the cache of a hub is: refused, or followed on request (RULES 4)."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from sovgate import links
from sovgate.errors import VerificationFailed
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing, tree

KEY = "keys/home.pem"
SNAPSHOT = "hub/snapshots/abc"
FOLLOW = ("--follow-links", "hub")
TO_EU = ("--zone", "home", "--to", "eu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's files under `hub/blobs`, and links to them in a snapshot."""
    crossing = make_crossing(tmp_path_factory.mktemp("links") / "project")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    blobs = crossing.base / "hub" / "blobs"
    blobs.mkdir(parents=True)
    for number, (name, data) in enumerate(tree(crossing.model).items()):
        (blobs / str(number)).write_bytes(data)
        link = crossing.base / SNAPSHOT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * (2 + name.count("/"))
        link.symlink_to(f"{up}blobs/{number}")
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


@pytest.mark.parametrize("command", ["sign", "record", "sbom"])
def test_rule_04_links_are_refused_with_the_commands_that_help(
    crossing: Crossing, command: str
) -> None:
    more = ("--dataset", "public") if command == "record" else ()
    failed = crossing.json(command, SNAPSHOT, "--key", KEY, *more, code=11)["error"]
    assert failed["reason"] == "not-regular"
    copy, _, option = failed["fix"].partition(": cp ")[2].partition(";")
    words = shlex.split(f"cp {copy}")
    assert words == ["cp", "-rL", SNAPSHOT, "MODEL"]
    subprocess.run(words, cwd=crossing.base, check=True)
    assert crossing.json("sign", "MODEL", "--key", KEY)["manifest"] == crossing.manifest
    followed = option.rpartition("--follow-links ")[2]
    assert crossing.json("sign", SNAPSHOT, "--key", KEY, "--follow-links", followed)


def test_of_a_cache_that_was_named_as_a_whole_the_revision_is_named(crossing: Crossing) -> None:
    for named in ("hub", "hub/snapshots"):
        failed = crossing.json("sign", named, "--key", KEY, code=11)["error"]
        assert f"cp -rL {SNAPSHOT} MODEL" in failed["fix"]
        (crossing.base / f"{SNAPSHOT}.evidence").mkdir(exist_ok=True)  # as sovgate makes it
        assert f"--follow-links hub and {SNAPSHOT} as the model" in failed["fix"]
    (crossing.base / "hub/snapshots/other").mkdir()
    failed = crossing.json("sign", "hub", "--key", KEY, code=11)["error"]
    assert "cp -rL hub/snapshots/REVISION MODEL" in failed["fix"]


def test_rule_04_a_snapshot_of_links_crosses_as_the_files_that_they_lead_to(
    crossing: Crossing,
) -> None:
    said = crossing.json("sign", SNAPSHOT, "--key", KEY, *FOLLOW)
    assert said["manifest"] == crossing.manifest
    crossing.json("record", SNAPSHOT, "--dataset", "public", "--key", KEY, *FOLLOW)
    crossing.json("sbom", SNAPSHOT, "--key", KEY, *FOLLOW)
    assert {path.name for path in (crossing.base / "hub/snapshots").iterdir()} == {
        "abc",
        "abc.evidence",
    }
    crossing.json("verify", SNAPSHOT, *FOLLOW)
    asked = ("--release", "churn/1.0.0")
    assert crossing.json("check", SNAPSHOT, *TO_EU, *asked, *FOLLOW)["allowed"]
    crossing.json("encrypt", SNAPSHOT, "--to", "eu", "-o", "sealed", *FOLLOW)
    crossing.json("push", SNAPSHOT, *TO_EU, *asked, *FOLLOW)
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    assert not any(path.is_symlink() for path in (crossing.base / "pulled").rglob("*"))


def test_release_follows_links_all_the_way(crossing: Crossing) -> None:
    asked = ("--release", "churn/1.0.0", "--dataset", "public")
    assert crossing.json("release", SNAPSHOT, *TO_EU, *asked, *FOLLOW)["manifest"]
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_rule_04_a_file_that_changes_behind_a_link_is_another_model(crossing: Crossing) -> None:
    crossing.json("sign", SNAPSHOT, "--key", KEY, *FOLLOW)
    victim = crossing.base / SNAPSHOT / "config.json"
    victim.resolve().write_bytes(b'{"layers": 3}')
    code, text = crossing.run("verify", SNAPSHOT, *FOLLOW)
    assert code == 11
    assert "config.json" in text


@pytest.mark.parametrize(
    "target",
    ["{outside}", "../../../outside", "../../blobs", "../../blobs/none", "extra", "/dev/zero"],
)
def test_rule_04_a_link_that_leads_elsewhere_is_refused(crossing: Crossing, target: str) -> None:
    outside = crossing.base / "outside"
    outside.write_bytes(b"secret")
    link = crossing.base / SNAPSHOT / "extra"
    link.symlink_to(target.format(outside=outside))
    code, text = crossing.run("sign", SNAPSHOT, "--key", KEY, *FOLLOW)
    assert code == 11, text
    assert "extra" in text
    assert not (crossing.base / f"{SNAPSHOT}.evidence").exists()


def test_rule_04_a_link_through_a_link_to_a_file_outside_is_refused(crossing: Crossing) -> None:
    (crossing.base / "outside").write_bytes(b"secret")
    (crossing.base / "hub" / "blobs" / "hop").symlink_to("../../outside")
    (crossing.base / SNAPSHOT / "extra").symlink_to("../../blobs/hop")
    assert crossing.run("sign", SNAPSHOT, "--key", KEY, *FOLLOW)[0] == 11


def test_rule_04_a_linked_folder_is_not_followed(crossing: Crossing) -> None:
    (crossing.base / "hub" / "folder").mkdir()
    (crossing.base / "hub" / "folder" / "x").write_bytes(b"x")
    (crossing.base / SNAPSHOT / "extra").symlink_to("../../folder")
    assert crossing.run("sign", SNAPSHOT, "--key", KEY, *FOLLOW)[0] == 11


def test_rule_04_the_environment_lets_no_link_be_followed(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SOVGATE_FOLLOW_LINKS", "SOVGATE_SIGN_FOLLOW_LINKS"):
        monkeypatch.setenv(name, "hub")
    assert crossing.run("sign", SNAPSHOT, "--key", KEY)[0] == 11


def test_rule_04_a_root_that_is_reached_through_anothers_link_is_refused(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crossing.base / "way").symlink_to("hub")
    crossing.json("sign", SNAPSHOT, "--key", KEY, "--follow-links", "way")
    monkeypatch.setattr(links, "is_ours", lambda *_: False)
    with (
        pytest.raises(VerificationFailed, match="another user"),
        links.followed(crossing.base / "way"),
    ):
        pass


def test_links_are_followed_for_one_command_alone(crossing: Crossing) -> None:
    crossing.json("sign", SNAPSHOT, "--key", KEY, *FOLLOW)
    assert crossing.run("verify", SNAPSHOT)[0] == 11


def test_evidence_is_not_reached_through_links_below_the_root(crossing: Crossing) -> None:
    crossing.json("sign", SNAPSHOT, "--key", KEY, *FOLLOW)
    evidence = crossing.base / f"{SNAPSHOT}.evidence"
    evidence.rename(crossing.base / "hub" / "moved")
    evidence.symlink_to(crossing.base / "hub" / "moved")
    code, text = crossing.run("verify", SNAPSHOT, *FOLLOW)
    assert (code, "is a link" in text) == (11, True)


@pytest.mark.parametrize(
    ("kind", "word"), [("pipe", "a named pipe"), ("socket", "a socket"), ("link", "link")]
)
def test_rule_04_each_special_file_has_a_sentence(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, kind: str, word: str
) -> None:
    monkeypatch.chdir(crossing.model)
    if kind == "pipe":
        os.mkfifo("special")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("special")
    else:
        Path("special").symlink_to("config.json")
    failed = crossing.json("sign", "model", "--key", KEY, code=11)["error"]
    assert "special" in failed["what"]
    assert word in failed["what"]
    assert ("cp -rL" in failed["fix"]) == (kind == "link")


def test_one_file_that_a_link_leads_to_is_called_as_the_link_is(crossing: Crossing) -> None:
    target = crossing.base / "hub/blobs/0"
    link = crossing.base / "w.bin"
    link.symlink_to(target)
    crossing.json("sign", link, "--key", KEY)
    bundle = json.loads((crossing.base / "w.bin.evidence/signature.sigstore.json").read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert statement["subject"][0]["name"] == "w.bin"
    crossing.json("sbom", link, "-o", "s.json")
    listed = json.loads((crossing.base / "s.json").read_bytes())["components"]
    assert [one["name"] for one in listed] == ["w.bin"]
    crossing.json("sbom", link)
    crossing.json("attest", link, "--all-unsigned", "--key", KEY)
    crossing.json("verify", link)
