"""`sovgate doctor`: what is missing is one line with its exact fix, and doing that helps."""

from __future__ import annotations

import secrets
import shlex
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sovgate.pipeline.look import doctor as pipeline
from sovgate.pipeline.look import init
from tests import openbao
from tests.crossing import Crossing, make_crossing, tree


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.delenv("SOVGATE_REQUIRE_ALL", raising=False)  # ours alone, and doctor would say so
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # so of what other tests left
    return make_crossing(tmp_path / "project")


def lines(crossing: Crossing, *words: object, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for check in crossing.json("doctor", *words, code=code)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return found


def status(found: dict[str, list[dict[str, Any]]], name: str) -> str:
    return str(found[name][0]["status"])


def test_a_project_that_works_lacks_nothing(crossing: Crossing) -> None:
    crossing.push()
    found = lines(crossing, "--zone", "home")
    assert {c["status"] for checks in found.values() for c in checks} == {"ok"}
    assert "create-only" in found["eu: store"][0]["detail"]
    assert "secret key to sign" in " ".join(found)
    assert "create-only" not in lines(crossing)["eu: store"][0]["detail"]


def test_each_missing_key_is_named_with_the_command_that_makes_it(crossing: Crossing) -> None:
    shutil.rmtree(crossing.base / "keys")
    for _ in range(9):
        found = lines(crossing, "--zone", "eu", code=3)
        fixes = [c["fix"] for checks in found.values() for c in checks if c["status"] == "missing"]
        commands = [fix.split("makes it with: ")[-1] for fix in fixes if "keys generate" in fix]
        assert commands
        code, said = crossing.run(*shlex.split(commands[0])[1:])
        assert code == 0, said
        if crossing.run("doctor", "--zone", "eu")[0] == 0:
            break
    assert crossing.run("doctor", "--zone", "eu")[0] == 0


@pytest.mark.parametrize("half", ["json", "pub.pem"])
def test_a_zone_whose_keys_a_service_is_to_hold_is_whole_after_the_commands_that_it_is_told(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    """Its halves are named before they exist. Nothing may tell it to write a secret under them."""
    bao = openbao.here()
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    names = {use: f"new-{half[:3]}-{secrets.token_hex(6)}" for use in ("sign", "encrypt")}
    crossing.edit(
        "keys: {sign: keys/eu.pem, encrypt: keys/eu-enc.pem, encrypt-public: keys/eu-enc.pub.pem}",
        f"keys: {{sign: '{bao.uri(names['sign'])}', sign-public: keys/s.{half}, "
        f"encrypt: '{bao.uri(names['encrypt'])}', encrypt-public: keys/e.{half}}}",
    )
    before = tree(crossing.base / "keys")
    for use in names:
        first = lines(crossing, "--zone", "eu", code=3)
        label = "key to verify what it signs" if use == "sign" else "key to encrypt for it"
        fix = str(first[f"eu: {label}"][0]["fix"])
        export, _, make = fix.rpartition("; if there is no key yet, first: ")
        told = [make, export] if export else [fix.partition("; if the key is there: ")[0]]
        for command in told:
            code, said = crossing.run(*shlex.split(command)[1:])
            assert code == 0, said
        assert "into sovgate.yaml" not in said  # it names the key already
    assert crossing.run("doctor", "--zone", "eu")[0] == 0
    made = {name: data for name, data in tree(crossing.base / "keys").items() if name not in before}
    assert set(made) == {f"s.{half}", f"e.{half}"}
    assert b"PRIVATE" not in b"".join(made.values())


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("encrypt: keys/eu-enc.pem", f"encrypt: {'a' * 300}", "eu: secret key to decrypt"),
        ("store: eu-store", f"store: {'a' * 300}", "eu: store"),
        ("store: eu-store", 'store: "eu\\0"', "project file"),
        ("datasets:", 'policy: {rules: "a\\0b"}\ndatasets:', "project file"),
    ],
)
def test_a_path_that_no_file_can_have_is_one_line_of_many(
    crossing: Crossing, old: str, new: str, name: str
) -> None:
    crossing.edit(old, new)
    found = lines(crossing, "--zone", "eu", code=0 if name == "eu: store" else 3)
    assert status(found, name) != "ok"
    assert status(found, "packages") == "ok"


@pytest.mark.parametrize(
    ("name", "kind", "label", "fix"),
    [
        ("eu", "sign", "secret key to sign", "keys show"),
        ("eu-enc", "encrypt", "secret key to decrypt", "keys export encrypt --zone eu"),
    ],
)
def test_halves_of_two_keys_are_told_before_a_run_fails_by_them(
    crossing: Crossing, name: str, kind: str, label: str, fix: str
) -> None:
    crossing.edit("{sign: keys/eu.pem, ", "{sign: keys/eu.pem, sign-public: keys/eu.pub.pem, ")
    assert crossing.run("doctor", "--zone", "eu")[0] == 0
    assert crossing.run("keys", "generate", kind, "-o", "keys/other.pem")[0] == 0
    (crossing.base / "keys/other.pem").replace(crossing.base / f"keys/{name}.pem")
    (check,) = lines(crossing, "--zone", "eu", code=3)[f"eu: {label}"]
    assert check["status"] == "missing"
    assert f"does not belong to keys/{name}.pub.pem" in check["detail"]
    assert fix in check["fix"]


def test_a_lost_secret_key_is_to_be_restored_and_never_made_anew(crossing: Crossing) -> None:
    """`generate` would refuse: the public half is there, and what was sent is for that one."""
    (crossing.base / "keys/eu-enc.pem").unlink()
    (check,) = lines(crossing, "--zone", "eu", code=3)["eu: secret key to decrypt"]
    assert check["fix"].startswith("restore the key that belongs to keys/eu-enc.pub.pem")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")
def test_a_lost_public_half_is_written_from_the_secret_one(crossing: Crossing) -> None:
    public = crossing.base / "keys/eu-enc.pub.pem"
    before = public.read_bytes()
    public.unlink()
    (check,) = lines(crossing, code=3)["eu: key to encrypt for it"]
    told, command = check["fix"].split(": ", 1)
    assert told == "write it from its private half"
    subprocess.run(shlex.split(command), cwd=crossing.base, check=True)
    assert public.read_bytes() == before
    assert crossing.run("doctor")[0] == 0


def test_secret_keys_are_opened_only_for_the_zone_that_is_asked_for(crossing: Crossing) -> None:
    for name in ("eu", "eu-enc"):
        (crossing.base / f"keys/{name}.pem").unlink()
    crossing.edit("{sign: keys/eu.pem, ", "{sign: keys/eu.pem, sign-public: keys/eu.pub.pem, ")
    assert crossing.run("doctor", "--zone", "home")[0] == 0
    found = lines(crossing, "--zone", "eu", code=3)
    assert status(found, "eu: secret key to sign") == "missing"
    assert status(found, "eu: secret key to decrypt") == "missing"


def test_without_a_project_it_says_init(tmp_path: Path) -> None:
    empty = Crossing(base=tmp_path, model=tmp_path)
    found = lines(empty, code=3)
    assert "sovgate init" in found["project file"][0]["fix"]


def test_what_is_wrong_in_the_project_has_its_line(crossing: Crossing) -> None:
    crossing.edit("region: aws:us-east-1", "region: aws:us-east-11")
    found = lines(crossing, code=3)
    assert "sovgate.yaml:5" in found["project file"][0]["detail"]
    assert found["project file"][0]["fix"]


def test_policies_that_do_not_load_are_missing(crossing: Crossing) -> None:
    (crossing.base / "policies").mkdir()
    (crossing.base / "policies/a.rego").write_text("package user.a\n\nallow if true\n")
    path = crossing.base / "sovgate.yaml"
    path.write_text(path.read_text() + "policy: {rules: policies/}\n")
    assert status(lines(crossing, code=3), "policies") == "missing"


def test_an_unknown_zone_is_missing_with_what_was_meant(crossing: Crossing) -> None:
    assert "home" in lines(crossing, "--zone", "hom", code=3)["zone"][0]["fix"]


def test_variables_are_told_by_name_and_a_slip_is_noticed(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOVGATE_KEY_PASSPHRASE", "open sesame")
    monkeypatch.setenv("SOVGATE_SIGN_KYE", "file:a.pem")
    code, said = crossing.run("doctor")
    assert code == 0
    assert "SOVGATE_KEY_PASSPHRASE" in said
    assert "open sesame" not in said
    assert "did you mean SOVGATE_SIGN_KEY?" in said


def test_offline_opens_no_connection(crossing: Crossing, monkeypatch: pytest.MonkeyPatch) -> None:
    crossing.edit("store: eu-store", "store: s3://churn-eu")
    crossing.edit(
        "keys: {sign: keys/home.pem}",
        "keys: {sign: keys/home.pem, encrypt-public: "
        '"awskms:///arn:aws:kms:us-east-1:111122223333:key/0"}',
    )

    def refused(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refused)
    code, said = crossing.run("doctor", "--offline", "--format", "json")
    assert code in (0, 3), said
    assert said.count('"skipped"') == 2


def test_an_extra_that_is_not_installed_is_named(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pipeline.EXTRAS, "file", ("no_such_module_here", "aws"))  # type: ignore[arg-type]
    found = lines(crossing, code=3)
    assert found["extra"][0]["fix"] == "pip install 'sovgate[aws]'"


def test_an_extra_that_only_makes_it_faster_is_no_failure(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pipeline.EXTRAS, "file", ("no_such_module_here", "gcp"))  # type: ignore[arg-type]
    monkeypatch.setitem(pipeline.SLOWER, "file", "it is slower")
    found = lines(crossing, code=0)
    assert found["extra"][0]["status"] == "warn"
    assert found["extra"][0]["fix"] == "pip install 'sovgate[gcp]'"


def test_a_project_from_init_is_whole(tmp_path: Path) -> None:
    answers = init.Answers(
        pattern="hybrid",
        model="kyc",
        train=init.zone_answer("aws:us-east-1", suffix="-train"),
        serve=(init.zone_answer("eu=aws-eusc:eusc-de-east-1"),),
        data=(init.data_answer("kyc=EU"),),
        keys=True,
        local=True,
    )
    init.init(tmp_path / "kyc", answers)
    made = Crossing(base=tmp_path / "kyc", model=tmp_path)
    for zone in ("us-train", "eu"):
        assert crossing_statuses(made, zone) <= {"ok", "warn"}


def crossing_statuses(crossing: Crossing, zone: str) -> set[str]:
    return {c["status"] for checks in lines(crossing, "--zone", zone).values() for c in checks}
