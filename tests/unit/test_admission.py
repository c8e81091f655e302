"""RULES 38: what may not be in a model is refused by every command, before evidence is made."""

from __future__ import annotations

import base64
import gzip
import io
import json
import lzma
import os
import random
import shutil
import tarfile
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict
from sovgate.errors import VerificationFailed
from sovgate.formats import archives, secrets, standins
from sovgate.formats.provenance import RecordedDataset, TrainingRecord
from sovgate.formats.tensors import BytesSource
from sovgate.keys import registry
from sovgate.pipeline.decide import admission
from sovgate.stages import attest, inventory, sign
from tests import headers
from tests.crossing import Crossing, make_crossing, tree
from tests.downloads import gguf, index, lfs_pointer, safetensors
from tests.effort import effort

#: Commands that make evidence of a model or move it; each is refused.
FIRST = (
    ("sign", "MODEL", "--key", "keys/home.pem"),
    ("record", "MODEL", "--dataset", "public", "--key", "keys/home.pem"),
    ("record", "MODEL", "--dataset", "public"),
    ("sbom", "MODEL", "--key", "keys/home.pem"),
    ("sbom", "MODEL"),
    ("gate", "junit", "MODEL", "--report", "junit.xml"),
    ("attest", "MODEL", "--all-unsigned", "--key", "keys/home.pem"),
    (
        *("release", "MODEL", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        *("--dataset", "public"),
    ),
    (
        *("release", "MODEL", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        *("--dataset", "public", "--dry-run"),
    ),
)
#: The same of a model that another tool signed.
LATER = (
    ("encrypt", "MODEL", "--to", "eu", "-o", "sealed"),
    ("push", "MODEL", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
    ("push", "MODEL", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu", "--dry-run"),
    ("check", "MODEL", "--zone", "home", "--to", "eu"),
    *FIRST[-2:],
)
JUNIT = '<testsuite tests="1"><testcase name="a" classname="b"/></testsuite>'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with keys; without a model."""
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    shutil.rmtree(crossing.model)
    (crossing.base / "junit.xml").write_text(JUNIT)
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    base = tmp_path / "project"
    shutil.copytree(made, base)
    model = base / "model"
    safetensors(model / "model.safetensors", ["a"])
    return Crossing(base=base, model=model)


def sign_elsewhere(crossing: Crossing, model: Path) -> None:
    """As a tool does that looks at nothing: signature and training record."""
    signer = registry.open_signer("keys/home.pem", crossing.base)
    path = attest.signature_path(model)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sign.sign(inventory.take(model), signer))
    record = TrainingRecord(
        datasets=(
            RecordedDataset(
                name="public",
                category="public",
                stays_in=(),
                pointer=None,
                manifest_sha256=None,
                commitment=None,
            ),
        ),
        finished=datetime.now(UTC).replace(microsecond=0),
    )
    made = Crossing(base=crossing.base, model=model)
    made.evidence("provenance", record.predicate())


def refused(
    crossing: Crossing, reason: str, code: int, model: str = "model"
) -> list[dict[str, Any]]:
    """What each command says. None leaves anything behind."""
    evidence = attest.evidence_dir(crossing.base / model)
    said = []
    for signed, commands in ((False, (*FIRST, *LATER)), (True, LATER)):
        if signed:
            sign_elsewhere(crossing, crossing.base / model)
        before = tree(evidence) if evidence.exists() else None
        for command in commands:
            words = [model if word == "MODEL" else word for word in command]
            answer = crossing.json(*words, code=code)
            if words[0] == "check":
                rules = [deny["rule"] for deny in answer.get("denies", ())]
                assert (reason in rules) == (code == 10)
            else:
                assert answer["error"]["reason"] == reason, words
                said.append(answer["error"])
            assert (tree(evidence) if evidence.exists() else None) == before, words
            assert crossing.objects("releases/") == crossing.objects("chunks/") == []
            assert not (crossing.base / "sealed").exists()
    return said


def texts(said: dict[str, Any]) -> str:
    return " ".join(str(said.get(part)) for part in ("what", "message", "why", "fix", "details"))


# --- stand-ins ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "ending", ["bin", "h5", "msgpack", "safetensors", "gguf", "onnx", "pt", "pkl", "txt", "png"]
)
def test_rule_38_a_git_lfs_pointer_is_refused_by_every_command(
    crossing: Crossing, ending: str
) -> None:
    lfs_pointer(crossing.model / f"sub/w.{ending}")
    for said in refused(crossing, "lfs-pointer", 11):
        assert f"sub/w.{ending}" in texts(said)
        assert "git lfs pull" in texts(said)
        assert "lfs: true" in texts(said)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"7" * 64 + b"\nsize 12\n"


@pytest.mark.parametrize(
    ("name", "data", "reason", "fix"),
    [
        ("w.bin", POINTER.replace(b"\n", b"\r\n"), "lfs-pointer", "git lfs pull"),
        ("w.bin", b"\xef\xbb\xbf" + POINTER, "lfs-pointer", "git lfs pull"),
        ("w.bin", POINTER.rstrip(), "lfs-pointer", "git lfs pull"),
        (
            "w.bin",
            POINTER.replace(b"\noid", b"\next-0-foo sha256:" + b"1" * 64 + b"\noid"),
            "lfs-pointer",
            "git lfs pull",
        ),
        (
            "w.bin",
            POINTER.replace(b"git-lfs.github.com/spec/v1", b"hawser.github.com/spec/v1"),
            "lfs-pointer",
            "git lfs pull",
        ),
        (
            "w.bin.dvc",
            b"outs:\n- md5: 22a1a2931c8370d3aeedd7183606fd7f\n  size: 14445097\n  path: w.bin\n",
            "dvc-pointer",
            "dvc pull",
        ),
        (
            "data.dvc",
            b"md5: 1\nouts:\r\n- md5: 22a1.dir\r\n  size: 14\r\n  hash: md5\r\n  path: data\r\n",
            "dvc-pointer",
            "dvc pull",
        ),
        (
            "w.bin",
            b"outs:\n  - etag: 22a1a2931c\n    size: 9\n    path: other.bin\n",
            "dvc-pointer",
            "dvc pull",
        ),
        (
            "w.pt",
            b"/annex/objects/SHA256E-s31390--" + b"f" * 64 + b".pt\n",
            "annex-pointer",
            "annex",
        ),
        (
            "w.pt",
            b"../.git/annex/objects/Gk/7p/SHA256E-s3--" + b"f" * 64 + b".pt/SHA256E-s3--ff.pt",
            "annex-pointer",
            "annex",
        ),
        ("w.bin", b"# xet version 0\nfilesize = 1\nhash = '0a'\n", "xet-pointer", "xet"),
        ("w.bin", b"#$# git-fat " + b"a" * 40 + b"                 12\n", "fat-pointer", "git fat"),
        ("w.safetensors", b"../../blobs/" + b"d" * 64, "stand-in", "download the file itself"),
        ("config", b"../../blobs/" + b"d" * 40 + b"\n", "stand-in", "download the file itself"),
        ("w.gguf", b"../shared/model-q4.gguf", "stand-in", "download the file itself"),
        ("w.gguf", b"[InternetShortcut]\r\nURL=file://x\r\n", "stand-in", "download"),
        (
            "w.gguf.lnk",
            b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + bytes(9),
            "stand-in",
            "",
        ),
        ("w.bin", b"!<symlink>\xff\xfe/\0x\0", "stand-in", "download"),
        (".w.bin.icloud", b"bplist00", "stand-in", "download"),
        ("w.bin.rclonelink", b"../w.bin", "stand-in", "download"),
        ("w.safetensors", b"<!DOCTYPE html><html><title>Log in</title>", "stand-in", "log in"),
        ("w.bin", b"Entry not found", "stand-in", "log in"),
        ("tokenizer.json", b"Entry not found", "stand-in", "log in"),
        ("merges.txt", b"404: Not Found\n", "stand-in", "log in"),
        ("vocab.json", b"Invalid username or password.", "stand-in", "log in"),
        ("w.bin", b'{"error":"Repository not found"}', "stand-in", "log in"),
        (
            "w.gguf",
            b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>',
            "stand-in",
            "log in",
        ),
        ("w.bin.incomplete", bytes(9), "unfinished-download", "finish"),
        ("w.bin.crdownload", bytes(9), "unfinished-download", "finish"),
        ("w.bin.aria2", bytes(9), "unfinished-download", "finish"),
        ("w.gguf.part", bytes(9), "unfinished-download", "finish"),
        ("pytorch_model.bin", b"", "stand-in", "download the file itself"),
        ("w.gguf-split-a", b"GGUF\3\0\0\0", "stand-in", "cat w.gguf-split-* > w.gguf"),
    ],
)
def test_rule_38_every_kind_of_stand_in_is_refused_before_signing(
    crossing: Crossing, name: str, data: bytes, reason: str, fix: str
) -> None:
    (crossing.model / name).write_bytes(data)
    said = crossing.json("sign", "model", "--key", "keys/home.pem", code=11)["error"]
    assert said["reason"] == reason
    assert name in texts(said)
    assert fix in texts(said)
    assert not attest.evidence_dir(crossing.model).exists()


def test_rule_38_a_model_that_is_one_file_is_no_exception(crossing: Crossing) -> None:
    lfs_pointer(crossing.base / "w.bin")
    said = crossing.json("sign", "w.bin", "--key", "keys/home.pem", code=11)["error"]
    assert said["reason"] == "lfs-pointer"


def test_a_pointer_whose_file_is_there_is_no_stand_in(crossing: Crossing) -> None:
    (crossing.model / "w.bin.dvc").write_text("outs:\n- md5: 22a1\n  size: 9\n  path: w.bin\n")
    (crossing.model / "w.bin").write_bytes(bytes(9))
    (crossing.model / "data.dvc").write_text("outs:\n- md5: 22.dir\n  path: data\n")
    (crossing.model / "data").mkdir()
    (crossing.model / "data" / "x").write_bytes(bytes(9))
    crossing.json("sign", "model", "--key", "keys/home.pem")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("w.h5", b"", "stand-in"),
        ("w.safetensors", b"", "stand-in"),
        ("w.bin", b"s3://bucket/w.bin\n", "stand-in"),
        ("w.bin", b"runs:/ab12/model", "stand-in"),
        ("w.bin", b"Access denied\n", "stand-in"),
        ("w.bin", b"<!-- cached --><html>", "stand-in"),
        ("tokenizer.json", b"<!DOCTYPE html><html></html>", "stand-in"),
        ("config.json", b'{"error": "Repository not found"}', "stand-in"),
        ("w.safetensors.tmp", bytes(9), "unfinished-download"),
        ("w.bin.download/w.bin", bytes(9), "unfinished-download"),
        ("w.opdownload", bytes(9), "unfinished-download"),
    ],
)
def test_rule_38_what_stands_for_weights_is_told(name: str, data: bytes, reason: str) -> None:
    found = standins.find(name, data, len(data))
    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize("above", ["", "models--org--base/", "hub/models--org--base/"])
@pytest.mark.parametrize("beside", ["refs/main", "blobs/d0"])
def test_a_hubs_cache_as_a_whole_is_no_model(tmp_path: Path, above: str, beside: str) -> None:
    for name in ("snapshots/4f2a/w.bin", beside):
        place = tmp_path / "m" / above / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
    with pytest.raises(VerificationFailed) as caught:
        admission.admit(tmp_path / "m", None)
    assert caught.value.reason == "not-a-model"
    assert f"{above}snapshots/4f2a" in str(caught.value.fix)


def test_snapshots_of_another_kind_are_part_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "snapshots/1").mkdir(parents=True)
    (tmp_path / "snapshots/1/w.bin").write_bytes(b"x")
    admission.admit(tmp_path, None)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("__init__.py", b""),
        ("empty.bin", b""),
        ("vocab.json", b'{"error": 17, "message": 4}'),
        ("w.bin", b"s3://bucket/a is where it was, and\nmore"),
        ("notes.part", b"x"),
        (
            "README.md",
            b"A pointer of Git LFS begins with\nversion https://git-lfs.github.com/spec/v1\n",
        ),
        ("dvc.yaml", b"stages:\n  train:\n    outs:\n    - model.bin\n"),
        ("page.html", b"<!DOCTYPE html><html></html>"),
        ("link.txt", b"../README.md"),
        ("merges.txt", b"#version: 0.2\n"),
        ("w.bin", b"not found in any vocabulary is what this text is about"),
        ("annex.md", b"see /annex/objects for more\nand read on\n"),
        ("pom.xml", b"<?xml version='1.0'?><error/>"),
    ],
)
def test_what_only_looks_like_a_stand_in_is_none(name: str, data: bytes) -> None:
    assert standins.find(name, data, len(data)) is None


# --- sets -----------------------------------------------------------------------------------------
def test_rule_38_a_set_that_lacks_a_part_is_refused_by_every_command(crossing: Crossing) -> None:
    index(crossing.model / "pytorch_model.bin.index.json", {"a": "w-1.bin", "b": "w-2.bin"})
    (crossing.model / "w-1.bin").write_bytes(bytes(8))
    for said in refused(crossing, "missing-shard", 11):
        assert "'w-2.bin', which is not there" in texts(said)


def test_rule_38_so_is_a_part_of_a_split_gguf_alone(crossing: Crossing) -> None:
    told = {"general.architecture": "llama", "split.no": 0, "split.count": 2}
    gguf(crossing.model / "x.gguf", told, 1)
    refused(crossing, "missing-shard", 11)


def test_rule_38_so_is_a_graph_without_its_external_weights(crossing: Crossing) -> None:
    graph = headers.field(2, b"g") + headers.field(5, headers.external(b"a", b"w.data", 4))
    (crossing.model / "model.onnx").write_bytes(headers.onnx(graph))
    for said in refused(crossing, "missing-external", 11):
        assert "'w.data', which is not there" in texts(said)
    shutil.rmtree(attest.evidence_dir(crossing.model))
    (crossing.model / "w.data").write_bytes(bytes(3))
    refused(crossing, "missing-external", 11)
    shutil.rmtree(attest.evidence_dir(crossing.model))
    (crossing.model / "w.data").write_bytes(bytes(4))
    crossing.json("sign", "model", *FIRST[0][2:])


# --- secrets --------------------------------------------------------------------------------------
def _jwt(issuer: str) -> str:
    said = base64.urlsafe_b64encode(json.dumps({"iss": issuer}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{said}.{'A' * 86}"


KUBE = "apiVersion: v1\nclusters: []\nkind: Config\nusers:\n- user:\n    {}: {}\n"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (".kube/config", KUBE.format("token", "kubeconfig-u-" + "x" * 20), 6),
        ("cluster", KUBE.format("password", "s3cr3t-s3cr3t-s3cr3t"), 6),
        ("token", _jwt("kubernetes/serviceaccount"), 1),
        (".env", "A=1\nexport DB_PASSWORD='hunter2hunter2'\n", 2),
        (".env.local", "\n\nopenweights_api_key = 0123456789abc\n", 3),
        ("prod.env", "SESSION_SECRET=0123456789abc\n", 1),
        (".pypirc", "[pypi]\nusername = bob\npassword = hunter22\n", 3),
        (".npmrc", "//registry/:_password=aHVudGVyMjI=\n", 1),
        ("pip.conf", "[global]\nindex-url = https://u:hunter22@pypi.corp/simple\n", 2),
        ("azure.json", json.dumps({"clientSecret": "abc8Q~" + "a" * 34}), 1),
        ("kaggle.json", json.dumps({"key": "a1" * 16, "username": "bob"}), 1),
        ("rclone.conf", "[x]\nsecret_access_key = " + "a1B2" * 10, 2),
        ("x.yaml", "key: sk-or-v1-" + "a1" * 32, 1),
        ("x.yaml", "key: xai-" + "a1" * 40, 1),
        ("x.yaml", "key: pplx-" + "a1" * 24, 1),
        ("x.json", json.dumps({"wandb_api_key": "a1" * 20}), 1),
        ("x.tfrc.json", json.dumps({"token": "abc.atlasv1." + "a" * 66}), 1),
    ],
)
def test_rule_38_settings_of_tools_hold_secrets_too(name: str, text: str, line: int) -> None:
    found = secrets.find(name, text.encode())
    assert found is not None
    assert found[1] == line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env.example", "DB_PASSWORD=hunter2hunter2\n"),
        (".env", "DB_PASSWORD=\nNEXT=abcdefghijkl\nAPI_KEY=your-key-goes-here\n"),
        (".env", "TOKENIZER_PATH=models/tokenizer\nPAD_TOKEN=<|endoftext|>\nKEY=${KEY_OF_CI}\n"),
        (".env", "PRIVATE_KEY=/run/secrets/key.pem\nMAX_TOKENS=4096409640\n"),
        ("notes.txt", "DB_PASSWORD=hunter2hunter2\n"),
        ("x.txt", _jwt("https://jwt.io")),
        ("config.yaml", "kind: Config\nclusters: []\ntoken: $(TOKEN)\npassword: REDACTED\n"),
        ("tokenizer_config.json", '{"eos_token": "</s>", "pad_token": "<|endoftext|>"}'),
    ],
)
def test_settings_without_a_secret_pass(name: str, text: str) -> None:
    assert secrets.find(name, text.encode()) is None


TOKEN = f"HF_TOKEN=hf_{'a' * 34}\n"


def test_rule_38_a_copy_of_a_key_is_refused_by_every_command(crossing: Crossing) -> None:
    shutil.copy(crossing.base / "keys" / "home.pem", crossing.model / "id.pem")
    for said in refused(crossing, "no-secrets", 10):
        assert "id.pem" in texts(said)
        assert "zones.home.keys.sign" in texts(said)
        assert "replace that key" in texts(said)


def test_rule_38_a_token_is_refused_by_every_command(crossing: Crossing) -> None:
    (crossing.model / ".env").write_text(f"A=1\n{TOKEN}")
    for said in refused(crossing, "no-secrets", 10):
        assert ".env, line 2: a Hugging Face token" in texts(said)


def test_rule_38_the_file_of_a_pin_is_known_by_bytes_and_by_inode(crossing: Crossing) -> None:
    """It looks like any number, and nothing but the project says what it opens."""
    pin = crossing.base / "pin"
    pin.write_text("471100\n")
    key = f"pkcs11:token=eu;object=x?module-path=/usr/lib/p11.so&pin-source=file:{pin}"
    crossing.edit("keys: {sign: keys/home.pem}", f"keys: {{sign: '{key}'}}")
    place = crossing.model / "threshold.txt"
    for make in (shutil.copy, os.link):
        make(pin, place)
        said = crossing.json("sign", "model", "--key", "keys/eu.pem", code=10)["error"]
        assert "threshold.txt: the PIN of zones.home.keys.sign" in texts(said)
        place.unlink()
    place.write_text("471101\n")
    crossing.json("sign", "model", "--key", "keys/eu.pem")


def test_rule_38_a_key_that_the_project_names_is_known_by_bytes_and_by_inode(
    crossing: Crossing,
) -> None:
    """A key that no form gives away: what the project calls its key is its key."""
    key = crossing.base / "keys" / "odd.key"
    key.write_bytes(b"\x00\x01opaque bytes of a key\x02" * 3)
    crossing.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/odd.key}")
    for make in (shutil.copy, os.link):
        place = crossing.model / "sub" / "notes.txt"
        place.parent.mkdir(exist_ok=True)
        make(key, place)
        said = crossing.json("sign", "model", "--key", "keys/eu.pem", code=10)["error"]
        assert "sub/notes.txt: the secret key zones.home.keys.sign" in texts(said)
        place.unlink()
    key.unlink()
    crossing.json("sign", "model", "--key", "keys/eu.pem")


def test_rule_38_the_project_itself_is_no_model(crossing: Crossing) -> None:
    safetensors(crossing.base / "model.safetensors", ["a"])
    said = crossing.json("sign", ".", "--key", "keys/home.pem", code=10)["error"]
    assert said["reason"] == "no-secrets"
    for name in ("keys/home.pem", "keys/eu.pem", "keys/eu-enc.pem", "sovgate.yaml"):
        assert name in texts(said), name
    assert not attest.evidence_dir(crossing.base).exists()
    for secret in (crossing.base / "keys").glob("*.pem"):
        secret.unlink()
    safetensors(crossing.base / "keys" / "x.safetensors", ["a"])
    crossing.edit("keys: {sign: keys/home.pem}", "keys: {sign: ../home.pem}")
    said = crossing.json("record", ".", "--dataset", "public", code=10)["error"]
    assert "the project file" in texts(said)
    assert "a folder of its own" in texts(said)


@pytest.mark.parametrize(
    "name",
    ["sub/sovgate.yaml", "other.evidence/model.sig", "a/b.evidence/unsigned/x.json", ".sovgate/x"],
)
def test_rule_38_nothing_of_a_project_is_part_of_a_model(crossing: Crossing, name: str) -> None:
    path = crossing.model / name
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    said = crossing.json("sign", "model", "--key", "keys/home.pem", code=10)["error"]
    assert said["reason"] == "no-secrets"
    assert name in texts(said)


def test_rule_38_the_project_file_under_another_name(crossing: Crossing) -> None:
    os.link(crossing.base / "sovgate.yaml", crossing.model / "settings.txt")
    said = crossing.json("sign", "model", "--key", "keys/home.pem", code=10)["error"]
    assert "settings.txt: the project file" in texts(said)


def test_rule_38_a_secret_is_refused_also_without_a_project(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = crossing.base / "keys" / "home.pem"
    model = crossing.base.parent / "elsewhere" / "model"
    safetensors(model / "model.safetensors", ["a"])
    (model / ".env").write_text(TOKEN)
    (crossing.base / "sovgate.yaml").unlink()
    said = crossing.json("sign", model, "--key", key, code=10)["error"]
    assert said["reason"] == "no-secrets"


def test_a_public_key_and_a_certificate_are_no_secrets(crossing: Crossing) -> None:
    shutil.copy(crossing.base / "keys" / "eu-enc.pub.pem", crossing.model / "eu.pub.pem")
    crossing.json("sign", "model", "--key", "keys/home.pem")


def test_rule_38_an_encrypted_copy_crosses_by_its_makers_word_about_secrets(
    crossing: Crossing,
) -> None:
    """Nobody can look into it any more: whoever encrypted it did, and signed what was found."""
    sign_elsewhere(crossing, crossing.model)
    release = ("--release", "churn/1.0.0")
    crossing.json("encrypt", "model", "--to", "eu", *release, "-o", "copy")
    part = crossing.base / "copy" / "eu" / "part-1.json"
    bundle = json.loads(part.read_bytes())
    said = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    found = said["predicate"]["facts"]["secrets"]
    assert found == {"count": 0, "first": None}
    push = ("push", "copy", *release, "--zone", "home", "--to", "eu")
    whole = part.read_bytes()
    found.update(count=1, first="x")
    told = base64.b64encode(strict.canonical(said)).decode()
    bundle["dsseEnvelope"]["payload"] = told
    part.chmod(0o644)
    part.write_bytes(json.dumps(bundle).encode())
    crossing.json(*push, code=11)  # its maker did not sign that
    part.write_bytes(whole)
    crossing.json(*push)
    crossing.pull()


def test_rule_38_the_zone_looks_again_when_it_has_opened_a_model(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that has no such list, or lies, does not bring a secret in."""
    (crossing.model / ".env").write_text(TOKEN)
    sign_elsewhere(crossing, crossing.model)
    with monkeypatch.context() as patch:
        patch.setattr(secrets, "search", lambda *_: None)
        crossing.push()
    said = crossing.pull(code=10)["error"]
    assert said["reason"] == "no-secrets"
    assert not (crossing.base / "pulled").exists()


# --- the one list ---------------------------------------------------------------------------------
def joined(*parts: str) -> bytes:
    """So that no scanner takes this file for one that holds them."""
    return "".join(parts).encode()


PEM = joined("-----BEGIN ", "PRIVATE KEY-----\n", "A" * 64, "\n-----END ", "PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (PEM, "a private key"),
        (PEM.replace(b"\n", b"\r\n"), "a private key"),
        (PEM.decode().encode("utf-16"), "a private key"),
        (base64.b64encode(PEM), "a private key in base64"),
        (b"data:\n  tls.key: " + base64.b64encode(PEM) + b"\n", "a private key in base64"),
        (b"k: " + base64.b64encode(b"x" + PEM) + b"\n", "a private key in base64"),
        (b"k: " + base64.b64encode(b"xy" + PEM) + b"\n", "a private key in base64"),
        (base64.encodebytes(b"x" * 60 + PEM), "a private key in base64"),
        (joined("token: hf", "_", "b" * 34), "a Hugging Face token"),
        (joined("api", "_org_", "b" * 34), "a Hugging Face token"),
        (joined("sk-", "ant-api03-", "c" * 90), "an Anthropic key"),
        (joined("sk-", "proj-", "c" * 60), "an OpenAI key"),
        (joined("sk-", "d" * 20, "T3Blbk", "FJ", "d" * 20), "an OpenAI key"),
        (joined("AI", "za", "e" * 35), "a Google API key"),
        (joined("xox", "b-", "1" * 12, "-", "f" * 24), "a Slack token"),
        (joined("npm", "_", "g" * 36), "an npm token"),
        (joined("pypi-", "AgEIcHlwaS5vcmc", "h" * 60), "a PyPI token"),
        (joined("WANDB_API_KEY", "=", "a1" * 20), "a Weights & Biases key"),
        (joined('{"username":"u","key":"', "0a" * 16, '"}'), "a Kaggle key"),
        (joined("AWS_SECRET_ACCESS", "_KEY=", "i" * 40), "an AWS secret key"),
        (joined('"Secret', 'AccessKey": "', "j" * 40, '"'), "an AWS secret key"),
        (joined("dapi", "0a" * 16), "a Databricks token"),
        (joined("nvapi-", "k" * 64), "an NVIDIA key"),
        (joined("gsk", "_", "l" * 52), "a Groq key"),
        (joined("gh", "p_", "m" * 36), "a GitHub token"),
        (joined("gl", "pat-", "n" * 20), "a GitLab token"),
        (joined("AccountKey=", "o" * 86, "=="), "an Azure storage key"),
        (joined("PuTTY-User-Key", "-File-3: ssh-ed25519"), "a PuTTY private key"),
        (joined("AGE-SECRET-", "KEY-1", "Q" * 58), "an age key"),
        (
            b'{"auths":{"r.example":{"auth":"' + base64.b64encode(b"user:password") + b'"}}}',
            "a password of a registry",
        ),
        (joined("//registry.example/:_auth", "Token=", "p" * 30), "a registry token"),
    ],
)
def test_rule_38_the_list_knows_what_services_hand_out(data: bytes, what: str) -> None:
    assert (secrets.find("notes.txt", data) or secrets.search("x", BytesSource(data)) or ("", 0))[
        0
    ] == what


def test_rule_38_a_key_in_der_is_known_whatever_its_kind() -> None:
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    keys = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    )
    plain, locked = ser.NoEncryption(), ser.BestAvailableEncryption(b"x")
    for key in keys:
        for form in (ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL):
            if isinstance(key, ed25519.Ed25519PrivateKey) and form != ser.PrivateFormat.PKCS8:
                continue
            der = key.private_bytes(ser.Encoding.DER, form, plain)
            assert secrets.find("k", der), (key, form)
        der = key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, locked)
        assert secrets.find("k", der)
        public = key.public_key().public_bytes(
            ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo
        )
        assert secrets.find("k", public) is None


def test_rule_38_keys_that_have_no_pem_around_them_are_known() -> None:
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    plain, word = ser.NoEncryption(), random.Random(38)
    keys = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    )
    for key in keys:
        for form in (ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL):
            if isinstance(key, ed25519.Ed25519PrivateKey) and form != ser.PrivateFormat.PKCS8:
                continue
            der = base64.b64encode(key.private_bytes(ser.Encoding.DER, form, plain))
            found = secrets.find("k.json", b'{"a": 1,\n "key": "' + der + b'"}')
            assert found == ("a private key in base64", 2), (key, form)
        public = key.public_key().public_bytes(
            ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo
        )
        assert secrets.find("k.json", base64.b64encode(public)) is None

    def some(size: int) -> bytes:
        return base64.b64encode(word.randbytes(size))

    minisign = base64.b64encode(b"EdScB2" + word.randbytes(152))
    point = b"(curve Ed25519)(q #40AA#)(d #" + word.randbytes(32).hex().encode() + b"#)"
    for what, private, public in (
        ("WireGuard", b"PrivateKey = " + some(32), b"PublicKey = " + some(32)),
        ("minisign", minisign, base64.b64encode(b"Ed" + word.randbytes(40))),
        ("GnuPG", b"Key: (private-key (ecc " + point + b"))", b"(public-key (ecc (q #40AA#)))"),
        (
            "XML",
            b"<RSAKeyValue><Exponent>AQAB</Exponent><D>" + some(256) + b"</D></RSAKeyValue>",
            b"<RSAKeyValue><Modulus>" + some(256) + b"</Modulus></RSAKeyValue>",
        ),
    ):
        found = secrets.find("k", private)
        assert found is not None, what
        assert what in found[0]
        assert secrets.find("k", public) is None


def test_rule_38_a_secret_deep_in_a_large_text_is_found_with_its_line() -> None:
    line = b"nothing to see in this line of a training log\n"
    data = line * 300_000 + TOKEN.encode() + line
    assert secrets.search("train.log", BytesSource(data)) == ("a Hugging Face token", 300_001)


def test_rule_38_a_secret_across_two_windows_is_found() -> None:
    for shift in range(0, 60, 7):
        before = b"\n" * (secrets.WINDOW - shift)
        data = before + TOKEN.encode() + b"\n" * secrets.WINDOW
        assert secrets.search("a", BytesSource(data)) is not None


def test_rule_38_a_file_that_was_searched_is_searched_again_once_it_changed(
    crossing: Crossing,
) -> None:
    path = crossing.model / "train.log"
    path.write_bytes(b"line\n" * 100_000)
    crossing.json("sign", "model", *FIRST[0][2:])
    with path.open("r+b") as file:  # the same size, in place
        file.write(TOKEN.encode())
    said = crossing.json("sign", "model", *FIRST[0][2:], code=10)["error"]
    assert "train.log, line 1" in texts(said)


def test_rule_38_a_secret_at_the_end_of_a_binary_is_found() -> None:
    data = bytes(secrets.SCAN * 2) + TOKEN.encode()
    found = secrets.search("w.bin", BytesSource(data))
    assert found == ("a Hugging Face token", None)


def archive(kind: str, name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("empty/", b"")
            zipped.writestr(name, data)
        return out.getvalue()
    mode = {"tar": "w", "gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}[kind]
    with tarfile.open(fileobj=out, mode=mode) as tarred:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tarred.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "bz2", "xz"])
def test_rule_38_a_secret_in_an_archive_is_found(crossing: Crossing, kind: str) -> None:
    key = (crossing.base / "keys" / "home.pem").read_bytes()
    (crossing.model / "backup.dat").write_bytes(archive(kind, "keys/id.pem", key))
    said = crossing.json("sign", "model", *FIRST[0][2:], code=10)["error"]
    assert "backup.dat: a private key in keys/id.pem" in texts(said)


def test_rule_38_what_is_packed_alone_is_searched_and_what_is_broken_is_not_followed() -> None:
    packed = gzip.compress(TOKEN.encode())
    assert secrets.search("x", BytesSource(packed)) == (
        "a Hugging Face token in what is packed in it",
        None,
    )
    for kind in ("zip", "tar", "gz", "bz2", "xz"):
        whole = archive(kind, "a.txt", TOKEN.encode() * 40)
        for cut in range(0, len(whole), 37):
            secrets.search("x", BytesSource(whole[:cut] + b"\xff" + whole[cut + 1 :]))
            secrets.search("x", BytesSource(whole[:cut]))


NESTED = {
    "two zips": ("zip", "zip"),
    "a tar in a zip": ("tar", "zip"),
    "a zip in a tar": ("zip", "tar"),
    "a zip in a packed tar": ("zip", "gz"),
    "a packed tar in a packed tar": ("xz", "bz2"),
    "six deep": ("gz", "zip", "tar", "zip", "xz"),
}


@pytest.mark.parametrize("kinds", NESTED.values(), ids=NESTED.keys())
def test_rule_38_a_secret_in_an_archive_in_an_archive_is_found(kinds: tuple[str, ...]) -> None:
    data, way = TOKEN.encode() * 2, "a.env"
    for number, kind in enumerate(kinds):
        name = way if number == 0 else f"{number}.{kinds[number - 1]}"
        data = archive(kind, name, data)
        way = name if number == 0 else f"{name} > {way}"
    assert secrets.search("x", BytesSource(data)) == (f"a Hugging Face token in {way}", None)


def test_rule_38_a_large_archive_in_a_packed_one_is_searched_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies behind more than is kept is unpacked again, and not held in memory."""
    monkeypatch.setattr(archives, "KEEP", 1024)
    monkeypatch.setattr(archives, "CHUNK", 512)
    weights = os.urandom(200_000)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        for number in range(3):
            zipped.writestr(f"data/{number}", weights)
        zipped.writestr("notes/token.txt", TOKEN)
    found = secrets.search("m", BytesSource(archive("gz", "model.pt", inner.getvalue())))
    assert found == ("a Hugging Face token in model.pt > notes/token.txt", None)


def test_rule_38_a_secret_far_on_in_a_text_in_an_archive_is_found() -> None:
    text = b"a line of a log\n" * 100_000 + TOKEN.encode() + b"another line\n" * 9
    found = secrets.search("x", BytesSource(archive("zip", "train.log", text)))
    assert found == ("a Hugging Face token in train.log", None)


def test_rule_34_what_is_more_than_is_looked_through_counts(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives.Budget, "BASE", 1024 * 1024)
    many = archive("gz", "zeros", bytes(4 * archives.Budget.BASE))
    with effort(most=1_000_000):
        assert secrets.search("x", BytesSource(many)) == (secrets.UNSEARCHED, None)
    deep = TOKEN.encode()
    for _ in range(archives.Budget.DEPTH + 1):
        deep = gzip.compress(deep)
    assert secrets.search("x", BytesSource(deep)) == (secrets.UNSEARCHED, None)
    monkeypatch.setattr(archives.Budget, "MEMBERS", 0)
    (crossing.model / "data.zip").write_bytes(archive("zip", "a.txt", b"none"))
    said = crossing.json("sign", "model", *FIRST[0][2:], code=10)["error"]
    assert said["reason"] == "no-secrets"
    assert "may hold a secret: data.zip" in texts(said)
    assert "into the model's folder" in said["fix"]


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "bz2", "xz"])
def test_rule_34_no_change_of_an_archive_ends_the_search_in_an_error(kind: str) -> None:
    rng = random.Random(kind)
    whole = archive(kind, "b.zip", archive("zip", "a.txt", TOKEN.encode() * 9))
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        secrets.search(
            "x", BytesSource(bytes(data[: rng.choice((len(data), rng.randrange(len(data))))]))
        )


def test_rule_38_no_container_that_is_opened_for_pickles_hides_a_secret() -> None:
    """RULES 34: one list for both."""
    key, member = TOKEN.encode() * 9, archive("zip", "a.txt", TOKEN.encode() * 9)
    narrow = zlib.compressobj(9, zlib.DEFLATED, 9)
    odd = bytearray(gzip.compress(key))
    odd[3] |= 0x20
    known = [{"id": lzma.FILTER_LZMA1, "lc": 1}]
    files = {
        "lzma": lzma.compress(key, format=lzma.FORMAT_ALONE),
        "lzma of other properties": lzma.compress(key, format=lzma.FORMAT_ALONE, filters=known),
        "zlib": zlib.compress(key),
        "zlib of another window": narrow.compress(key) + narrow.flush(),
        "gzip with a flag that nobody knows": bytes(odd),
        "a zip behind something else": b"\0junk" + member,
        "the same in a packed tar": archive("gz", "x", b"\0junk" + member),
        "the same in a zip": archive("zip", "x", b"\0junk" + member),
        "zlib in a tar": archive("tar", "x", zlib.compress(key)),
    }
    for what, data in files.items():
        found = secrets.search("x", BytesSource(data))
        assert found is not None, what
        assert found[0].startswith("a Hugging Face token in "), what


def test_rule_38_an_archive_that_does_not_open_counts_and_others_do_not() -> None:
    noise = random.Random(38).randbytes(9000)
    for kind in ("zip", "tar", "gz", "bz2", "xz"):
        whole = archive(kind, "a.bin", noise)
        assert secrets.search("x", BytesSource(whole)) is None, kind
        assert secrets.search("x", BytesSource(whole[:5000])) == (secrets.UNOPENED, None), kind
        within = archive("zip", "a", whole[:5000])
        assert secrets.search("x", BytesSource(within)) == (secrets.UNOPENED, None), kind
    for data in (b"x^2 + 1", b"BZh9 is a magic", b"H\x89" + noise, b"\1\0\0\0" * 4 + bytes(9000)):
        assert secrets.search("x", BytesSource(data)) is None


def test_rule_34_secrets_and_pickles_are_looked_for_under_one_budget() -> None:
    from sovgate.scanner import streams

    assert archives.Budget is streams.Budget
    assert archives.TooMuchError is streams.TooMuchError


def test_rule_34_what_begins_as_an_archive_and_is_none_costs_little() -> None:
    bomb = gzip.compress(b"a/b" + bytes(254) + b"ustar" + bytes(8 * 1024 * 1024), 1)
    with effort(most=1_000_000):
        assert secrets.search("x", BytesSource(bomb)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"set HF_TOKEN=hf_... first",
        b"use hf_hub_download() and hf_transfer",
        joined("xhf", "_", "b" * 34),
        joined("hf", "_", "x" * 34),
        joined("ghp", "_", "X" * 36),
        joined("glpat", "-", "x" * 20),
        joined("sk-ant-", "api03-", "x" * 80),
        joined("npm", "_", "xX" * 18),
        joined("hf", "_", "b" * 60),
        b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 64,
        base64.b64encode(b"-----BEGIN CERTIFICATE-----\n" + b"A" * 64),
        b'{"auth": "basicbasicbasic"}',
        b"sk-learn-contrib-and-other-packages-with-long-names",
        b"sv=2022-11-02 is a version",
    ],
)
def test_what_only_speaks_of_secrets_is_none(data: bytes) -> None:
    assert secrets.find("README.md", data) is None
