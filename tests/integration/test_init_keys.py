"""`sovgate init` without key files: what is answered about keys is what is written."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import commands
from tests.integration.test_init import sovgate, talk

REGIONS = {
    "aws:us-east-1": "arn:aws:kms:us-east-1",
    "aws-eusc:eusc-de-east-1": "arn:aws-eusc:kms:eusc-de-east-1",
    "aws-cn:cn-north-1": "arn:aws-cn:kms:cn-north-1",
    "aws-us-gov:us-gov-west-1": "arn:aws-us-gov:kms:us-gov-west-1",
}
SAID = ("--pattern", "central", "--train", "aws:us-east-1")
EU = "eu=aws-eusc:eusc-de-east-1"
REAL = "0123456789ab-4321"


def keys_of(folder: Path) -> dict[str, Any]:
    zones = yaml.safe_load((folder / "sovgate.yaml").read_text())["zones"]
    return {name: zone["keys"] for name, zone in zones.items()}


@pytest.mark.parametrize("region", REGIONS)
def test_keys_that_are_in_a_kms_are_placeholders_in_the_zones_own_region(
    tmp_path: Path, region: str
) -> None:
    sovgate("init", "kyc", *SAID, "--serve", f"there={region}", cwd=tmp_path)
    uri = f"awskms:///{REGIONS[region]}:ACCOUNT:key/KEY-ID"
    assert keys_of(tmp_path / "kyc")["there"] == {"sign": uri, "encrypt": uri}
    assert sorted(path.name for path in (tmp_path / "kyc/keys").iterdir()) == [
        ".gitignore",
        "README.md",
    ]


def test_lint_warns_of_each_placeholder_and_finds_no_error(tmp_path: Path) -> None:
    sovgate("init", "kyc", *SAID, "--serve", EU, cwd=tmp_path)
    found: Any = sovgate("lint", cwd=tmp_path / "kyc")
    warned = [one for one in found["findings"] if one["rule"] == "placeholder-key"]
    assert {one["severity"] for one in found["findings"]} == {"warning"}
    assert [one["message"].split(":")[0] for one in warned] == [
        f"zones.{zone}.keys.{use}" for zone in ("us-train", "eu") for use in ("sign", "encrypt")
    ]
    assert all("ARN" in one["fix"] for one in warned)


@pytest.mark.parametrize("offline", [True, False])
def test_doctor_names_each_placeholder_as_missing(tmp_path: Path, offline: bool) -> None:
    sovgate("init", "kyc", *SAID, "--serve", EU, cwd=tmp_path)
    project = tmp_path / "kyc"
    if not offline:  # folders as stores, so that nothing is asked of a network
        text = (project / "sovgate.yaml").read_text()
        text = re.sub(r"s3://kyc-[a-z-]+", "file:store", text)
        (project / "sovgate.yaml").write_text(text)
    words = ["--offline"] if offline else []
    found: Any = sovgate("doctor", "--zone", "eu", *words, cwd=project, code=None)
    missing = {one["name"] for one in found["checks"] if one["status"] == "missing"}
    assert {"eu: secret key to sign", "eu: secret key to decrypt"} <= missing
    assert {"eu: key to encrypt for it", "us-train: key to verify what it signs"} <= missing


@pytest.mark.parametrize(
    "filled", ["", "ACCOUNT", "KEY-ID"], ids=["nothing filled in", "id filled in", "account"]
)
def test_a_placeholder_signs_nothing(tmp_path: Path, filled: str) -> None:
    """Half filled in is not filled in."""
    sovgate("init", "kyc", *SAID, "--serve", EU, cwd=tmp_path)
    project = tmp_path / "kyc"
    text = (project / "sovgate.yaml").read_text()
    if filled == "ACCOUNT":
        text = text.replace("KEY-ID", REAL)
    elif filled == "KEY-ID":
        text = text.replace("ACCOUNT", "111122223333")
    (project / "sovgate.yaml").write_text(text)
    (project / "model").mkdir()
    (project / "model/weights.json").write_text("{}")
    found: Any = sovgate("sign", "model", "--zone", "us-train", cwd=project, code=3)
    assert found["error"]["reason"] == "placeholder-key"
    assert "ARN" in found["error"]["fix"]
    assert not list(project.glob("model.*"))


def test_a_placeholder_of_another_zone_stops_only_what_needs_it(tmp_path: Path) -> None:
    sovgate("init", "kyc", "--pattern", "central", "--local", cwd=tmp_path)
    project = tmp_path / "kyc"
    path = project / "sovgate.yaml"
    whole = path.read_text()

    def unfilled(zone: str) -> str:
        uri = "awskms:///arn:aws:kms:us-east-1:ACCOUNT:key/KEY-ID"
        text = re.sub(f"(sign|encrypt): .file:keys/{zone}[a-z-]*.pem.", rf'\1: "{uri}"', whole)
        return re.sub(f"(?m)^ +(sign|encrypt)-public: keys/{zone}[-.].*\n", "", text)

    (project / "model").mkdir()
    (project / "model/weights.json").write_text("{}")
    path.write_text(unfilled("eu"))
    data, here = ("--dataset", "public-train"), ("--zone", "us-train")
    sovgate("record", "model", *data, "--key", "keys/us-train-sign.pem", cwd=project)
    sovgate("sign", "model", *here, cwd=project)
    said = commands.run("verify", "model", cwd=project)
    assert (said.returncode, said.stderr.count("! note: the key of zone eu is a pl")) == (0, 1)
    move = ("--release", "kyc/1.0.0", *here, "--to")
    sovgate("check", "model", *move, "eu", cwd=project)
    sovgate("push", "model", *move, "us-train", cwd=project)
    sovgate("pull", "kyc/1.0.0", *here, "-o", "pulled", cwd=project)
    sovgate("audit", "verify", cwd=project)
    sovgate("audit", "show", "kyc/1.0.0", cwd=project)
    for words in (
        ("push", "model", *move, "eu"),
        ("pull", "kyc/1.0.0", "--zone", "eu", "-o", "there"),
        ("audit", "verify", "--zone", "eu"),
    ):
        found: Any = sovgate(*words, cwd=project, code=3)
        assert found["error"]["reason"] == "placeholder-key", words

    path.write_text(whole)
    sovgate("push", "model", *move, "eu", cwd=project)
    path.write_text(unfilled("us-train"))  # there, nobody could have sent it
    found = sovgate("pull", "kyc/1.0.0", "--zone", "eu", "-o", "there", cwd=project, code=3)
    assert found["error"]["reason"] == "placeholder-key"
    assert not (project / "there").exists()
    path.write_text(
        re.sub(
            "file:keys/eu-?[a-z]*.pem",
            "awskms:///arn:aws:kms:us-east-1:ACCOUNT:key/KEY-ID",
            unfilled("us-train"),
        ).replace("sign-public: keys/eu-sign.pub.pem", "")
    )
    found = sovgate("verify", "model", cwd=project, code=3)  # nobody is filled in
    assert found["error"]["reason"] == "placeholder-key"


def test_a_placeholder_under_trust_is_passed_over(tmp_path: Path) -> None:
    sovgate("init", "kyc", "--pattern", "central", "--local", cwd=tmp_path)
    project = tmp_path / "kyc"
    entry = "  - {name: NAME, key: KEY, may: [signature]}\n"
    uri = '"awskms:///arn:aws:kms:us-east-1:ACCOUNT:key/KEY-ID"'
    with (project / "sovgate.yaml").open("a") as file:
        us = entry.replace("NAME", "us").replace("KEY", "keys/us-train-sign.pub.pem")
        file.write("trust:\n" + entry.replace("NAME", "peer").replace("KEY", uri) + us)
    (project / "model").mkdir()
    (project / "model/weights.json").write_text("{}")
    sovgate("sign", "model", "--zone", "us-train", cwd=project)
    said = commands.run("verify", "model", cwd=project)
    assert (said.returncode, "the key of peer, under trust, is a pl" in said.stderr) == (0, True)


def test_an_arn_in_its_place_is_no_placeholder(tmp_path: Path) -> None:
    sovgate("init", "kyc", *SAID, "--serve", EU, cwd=tmp_path)
    path = tmp_path / "kyc/sovgate.yaml"
    numbers = itertools.count(10)  # each key is another one
    text = re.sub("KEY-ID", lambda _: f"{REAL[:-2]}{next(numbers)}", path.read_text())
    path.write_text(text.replace("ACCOUNT", "111122223333"))
    found: Any = sovgate("lint", cwd=path.parent)
    assert found["findings"] == []


def test_a_zone_without_such_a_service_names_key_files_and_it_is_said(tmp_path: Path) -> None:
    said = sovgate("init", "kyc", *SAID, "--serve", "x=ovh:gra", cwd=tmp_path, text=True)
    assert "x names key files: no key service of this version serves ovh:gra" in said
    assert keys_of(tmp_path / "kyc")["x"]["sign"] == "file:keys/x-sign.pem"


def test_files_that_come_from_elsewhere_are_named_as_files(tmp_path: Path) -> None:
    sovgate("init", "kyc", *SAID, "--serve", EU, "--key-scheme", "file", cwd=tmp_path)
    assert keys_of(tmp_path / "kyc")["eu"]["encrypt"] == "file:keys/eu.pem"


@pytest.mark.parametrize("flag", ["--keys", "--local"])
def test_files_and_a_kms_at_once_are_refused(tmp_path: Path, flag: str) -> None:
    words = ("--serve", EU, flag, "--key-scheme", "awskms")
    found: Any = sovgate("init", "kyc", *SAID, *words, cwd=tmp_path, code=2)
    assert flag in found["error"]["what"]
    assert not (tmp_path / "kyc").exists()


@pytest.mark.parametrize(
    ("lines", "sign"),
    [
        (("n", ""), f"awskms:///{REGIONS['aws-eusc:eusc-de-east-1']}:ACCOUNT:key/KEY-ID"),
        (("n", "awskms://"), f"awskms:///{REGIONS['aws-eusc:eusc-de-east-1']}:ACCOUNT:key/KEY-ID"),
        (("n", "gcpkms", "file"), "file:keys/eu-sign.pem"),
    ],
)
def test_a_person_is_asked_where_the_keys_are(
    tmp_path: Path, lines: tuple[str, ...], sign: str
) -> None:
    code, said = talk(tmp_path, "", "aws:us-east-1", EU, "no", "none", *lines)
    assert code == 0, said
    assert "Where are the keys?" in said
    assert ("choose awskms or file" in said) == ("gcpkms" in lines)
    assert keys_of(tmp_path / "kyc")["eu"]["sign"] == sign
    assert not list((tmp_path / "kyc/keys").glob("*.pem"))
