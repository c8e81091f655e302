"""`sovgate encrypt`, `decrypt` and `keys` as a person types them."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from sovgate.cli import main
from sovgate.formats.oms import Oms
from sovgate.formats.sealed import Sealed
from sovgate.keys import registry
from sovgate.pipeline.move.decrypt import decrypt
from sovgate.stages import attest
from sovgate.stages.seal import seal
from tests.sealing import FILES, Desk, make_desk, objects, tree


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Desk:
    made = make_desk(tmp_path / "desk")
    monkeypatch.chdir(made.base)
    return made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def without_sizes(desk: Desk) -> bytes:
    """A signature as another tool makes it: OMS does not define sizes."""
    statement = Oms.of(desk.manifest(), subject_name="model").statement()
    for resource in statement.predicate["resources"]:
        del resource["size"]
    return seal(statement, registry.open_signer("keys/home.pem", desk.base))


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_model_crosses_with_its_evidence(desk, capsys):
    assert (
        run(
            "encrypt",
            "model",
            "--to",
            "eu",
            "--to",
            "ch",
            "--release",
            "churn/1.0",
            "-o",
            "sealed",
            "--format",
            "json",
        )
        == 0
    )
    made = told(capsys)
    assert made["manifest"] == desk.manifest().digest
    assert made["release"] == "churn/1.0"
    assert made["zones"]["ch"]["algorithm"] == "rsa-oaep-sha256"
    for zone in ("eu", "ch"):
        assert run("decrypt", "sealed", "--zone", zone, "-o", f"got/{zone}") == 0
        assert tree(desk.base / "got" / zone) == FILES
        assert tree(desk.base / "got" / f"{zone}.evidence") == tree(desk.base / "model.evidence")
        assert run("verify", f"got/{zone}") == 0
    assert not list((desk.base / "got").glob(".*"))


def test_the_far_side_needs_only_its_own_keys_and_the_near_side_no_secret(desk, capsys):
    (desk.base / "keys" / "eu.pem").rename(desk.base / "eu-secret.pem")
    (desk.base / "keys" / "home.pem").unlink()
    yaml = (desk.base / "sovgate.yaml").read_text()
    yaml = yaml.replace("sign: keys/home.pem", "sign-public: keys/home.pub.pem")
    (desk.base / "sovgate.yaml").write_text(yaml)
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed") == 0
    (desk.base / "eu-secret.pem").rename(desk.base / "keys" / "eu.pem")
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 0
    assert "cannot be pushed" in capsys.readouterr().out


def test_a_dry_run_says_what_would_go_to_whom_and_writes_nothing(desk, capsys):
    before = tree(desk.base)
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "would encrypt 6 files, 16.1 MiB, for eu" in out
    assert desk.zone_key("eu").recipient.key_id in out
    assert tree(desk.base) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--to", "mars"], 3, "mars"),
        (["--to", "home"], 3, "zone home has no key to encrypt for it"),
        (["--to", "eu", "--to", "eu"], 2, "named twice"),
        (["--to", "eu", "--release", "fraud/1"], 2, "not a release of this project"),
        (["--to", "eu", "--release", "churn"], 2, "is not a release"),
        (["--to", "eu", "--release", f"churn/1@sha256:{'0' * 64}"], 11, "pinned"),
        (["--to", "eu", "--signature", "none"], 2, "no such file"),
        ([], 2, "--to"),
    ],
)
def test_what_cannot_be_encrypted_is_said(desk, capsys, arguments, code, words):
    assert run("encrypt", "model", "-o", "sealed", *arguments) == code
    assert words in capsys.readouterr().err
    assert not (desk.base / "sealed").exists()


@pytest.mark.parametrize(
    "tamper",
    [
        lambda model: (model / "config.json").write_bytes(b'{"layers": 3}'),
        lambda model: (model / "more").write_bytes(b""),
        lambda model: (model / "empty").unlink(),
        lambda model: (model / "config.json").write_bytes(b"longer than it was signed"),
    ],
)
def test_a_model_that_is_not_the_signed_one_is_not_encrypted(desk, capsys, tamper):
    tamper(desk.model)
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed") == 11
    assert {item.name for item in desk.base.iterdir()} == {
        "sovgate.yaml",
        "keys",
        "model",
        "model.evidence",
    }


def test_a_model_signed_by_a_stranger_is_not_encrypted(desk, tmp_path, capsys):
    other = make_desk(tmp_path / "other")
    shutil.copy(attest.signature_path(other.model), attest.signature_path(desk.model))
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed") == 11
    assert not (desk.base / "sealed").exists()


def test_rule_06_evidence_of_another_model_does_not_travel(desk, tmp_path, capsys):
    other = make_desk(tmp_path / "other", {"w": b"another"})
    for path in attest.evidence_dir(other.model).glob("gate-*"):
        shutil.copy(path, attest.evidence_dir(desk.model))
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed") == 11
    assert "is about another model" in capsys.readouterr().err
    assert not (desk.base / "sealed").exists()


def test_a_copy_is_not_written_into_the_model(desk, capsys):
    assert run("encrypt", "model", "--to", "eu", "-o", "model/sealed") == 2
    assert tree(desk.model) == FILES


def test_a_zone_that_does_not_know_itself_stops(desk, capsys):
    run("encrypt", "model", "--to", "eu", "-o", "sealed")
    assert run("decrypt", "sealed", "-o", "got") == 3
    assert "SOVGATE_ZONE" in capsys.readouterr().err


def test_rule_10_the_exit_code_tells_a_wrong_key_from_damage(desk, capsys):
    run("encrypt", "model", "--to", "eu", "-o", "sealed")
    assert run("keys", "generate", "encrypt", "-o", "keys/other.pem") == 0
    yaml = (desk.base / "sovgate.yaml").read_text()
    wrong = yaml.replace("encrypt: keys/eu.pem", "encrypt: keys/other.pem")
    (desk.base / "sovgate.yaml").write_text(wrong)
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 20
    (desk.base / "sovgate.yaml").write_text(yaml)
    folder = desk.base / "sealed" / "eu"
    path = next((folder / "chunks/sha256").iterdir())
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 11
    path.unlink()
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 11
    assert run("decrypt", "sealed", "--zone", "ch", "-o", "got") == 2
    assert not [item.name for item in desk.base.iterdir() if "got" in item.name]


def test_a_copy_for_another_zone_under_this_zones_name_is_refused(desk, capsys):
    run("encrypt", "model", "--to", "eu", "--to", "ch", "-o", "sealed")
    shutil.rmtree(desk.base / "sealed" / "eu")
    (desk.base / "sealed" / "ch").rename(desk.base / "sealed" / "eu")
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 11
    assert "was encrypted for zone ch" in capsys.readouterr().err
    assert not (desk.base / "got").exists()


def test_a_signature_without_sizes_does_not_carry_another_models_files(desk, tmp_path, capsys):
    """Someone with the zone's public key puts other files beside another tool's signature."""
    signature = without_sizes(desk)
    other = make_desk(tmp_path / "other", FILES | {"config.json": b'{"layers": 9}'})
    plain = other.plain(signature=signature)
    other.write(plain, [desk.zone_key("eu")], desk.base / "sealed")
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 11
    assert "not the one that was signed" in capsys.readouterr().err
    assert {item.name for item in desk.base.iterdir()} == {
        "sovgate.yaml",
        "keys",
        "model",
        "model.evidence",
        "sealed",
    }


@pytest.mark.parametrize("kind", ["chunks", "objects"])
def test_a_link_in_a_copy_is_not_followed(desk, capsys, kind):
    run("encrypt", "model", "--to", "eu", "-o", "sealed")
    folder = desk.base / "sealed" / "eu" / kind
    folder.rename(desk.base / "elsewhere")
    folder.symlink_to(desk.base / "elsewhere")
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 11
    assert not (desk.base / "got").exists()


def test_every_flipped_byte_of_a_copy_is_refused_before_a_name_appears(
    tmp_path, capsys, monkeypatch
):
    """All that a copy consists of: record, signature, manifest, evidence, list, table, chunk."""
    from sovgate.errors import ExitCode, SovgateError

    desk = make_desk(tmp_path / "desk", {"w": b"forty-two"})
    monkeypatch.chdir(desk.base)
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed") == 0
    folder = desk.base / "sealed" / "eu"
    manifest = desk.manifest().canonical()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        good = path.read_bytes()
        path.chmod(0o644)
        step = 1 if path.name == "sealed.json" else 7
        for position in range(0, len(good), step):
            bad = bytearray(good)
            bad[position] ^= 1 << position % 7
            path.write_bytes(bad)
            if good == manifest:
                # Our signature tells sizes, so the manifest beside it is not read.
                continue
            with pytest.raises(SovgateError) as refused:
                decrypt(desk.base / "sealed", zone="eu", out=desk.base / "got")
            assert refused.value.exit_code in (ExitCode.VERIFICATION, ExitCode.KEY), position
            assert {item.name for item in desk.base.iterdir()} == {
                "sovgate.yaml",
                "keys",
                "model",
                "model.evidence",
                "sealed",
            }
        path.write_bytes(good)
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 0


def test_another_models_evidence_is_not_overwritten(desk, capsys):
    run("encrypt", "model", "--to", "eu", "-o", "sealed")
    folder = desk.base / "got.evidence"
    folder.mkdir()
    (folder / attest.SIGNATURE).write_bytes(b"another's")
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 2
    assert tree(folder) == {attest.SIGNATURE: b"another's"}
    assert not (desk.base / "got").exists()


def test_a_bundle_of_another_tool_crosses_too(desk, capsys):
    """It tells no sizes: the manifest travels with the copy, and the result is verified in full."""
    attest.signature_path(desk.model).write_bytes(without_sizes(desk))
    assert run("encrypt", "model", "--to", "eu", "-o", "sealed") == 0
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "got") == 0
    assert tree(desk.base / "got") == FILES
    folder = desk.base / "sealed" / "eu"
    path = folder / "objects/sha256" / desk.manifest().digest
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"config.json", b"config.jsoN"))
    assert run("decrypt", "sealed", "--zone", "eu", "-o", "again") == 11
    assert not (desk.base / "again").exists()


def test_a_copy_holds_nothing_but_what_its_record_names(desk, capsys):
    run("encrypt", "model", "--to", "eu", "-o", "sealed")
    folder = desk.base / "sealed" / "eu"
    sealed = Sealed.parse((folder / "sealed.json").read_bytes())
    named = {sealed.signature.sha256, sealed.manifest.sha256}
    named |= {item.sha256 for item in sealed.evidence}
    for part in sealed.parts:
        named |= {part.list.sha256, part.keytable.sha256}
        listed = (folder / "objects/sha256" / part.list.sha256).read_bytes()
        named |= {listed[at : at + 32].hex() for at in range(0, len(listed), 32)}
    assert set(objects(folder)) == named
    assert {item.name for item in folder.iterdir()} == {"chunks", "objects", "sealed.json"}


@pytest.mark.parametrize(
    ("kind", "algorithm", "told"),
    [
        ("sign", None, "ecdsa-p256-sha256"),
        ("sign", "ec-p384", "ecdsa-p384-sha384"),
        ("encrypt", None, "rsa-3072"),
        ("encrypt", "ec-p256", "ecdsa-p256-sha256"),
    ],
)
def test_keys_are_made_once_and_shown_without_their_secret(
    tmp_path, monkeypatch, capsys, kind, algorithm, told
):
    monkeypatch.chdir(tmp_path)
    chosen = ["--algorithm", algorithm] if algorithm else []
    assert run("keys", "generate", kind, "-o", "keys/k.pem", *chosen) == 0
    secret = (tmp_path / "keys/k.pem").read_text()
    assert stat.S_IMODE((tmp_path / "keys/k.pem").stat().st_mode) == 0o600
    assert run("keys", "generate", kind, "-o", "keys/k.pem") == 2
    assert (tmp_path / "keys/k.pem").read_text() == secret
    assert run("keys", "show", "keys/k.pem") == 0
    assert run("keys", "show", "file:keys/k.pub.pem") == 0
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert told in shown
    assert not any(line in shown for line in secret.splitlines()[1:-1])
    assert (tmp_path / "keys/k.pub.pem").read_text().splitlines()[1] in shown


def test_keys_of_a_kind_that_cannot_do_it_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("keys", "generate", "sign", "-o", "k.pem", "--algorithm", "rsa-3072") == 2
    assert run("keys", "generate", "encrypt", "-o", "k.pem", "--algorithm", "ec-p384") == 2
    Path("other.pub.pem").touch()
    assert run("keys", "generate", "sign", "-o", "other.pem") == 2
    assert {item.name for item in tmp_path.iterdir()} == {"other.pub.pem"}
    assert run("keys", "show", "gone.pem") == 2
    assert run("keys", "show", "other.pub.pem") == 3
