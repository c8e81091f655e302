"""Private keys that a pipeline mounts at /keys: found there, and nothing else is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sovgate import links
from sovgate.errors import ConfigError, SovgateError, UsageError
from sovgate.keys import registry
from sovgate.pipeline.decide.admission import _keys
from sovgate.pipeline.decide.in_place import _zones
from sovgate.pipeline.look import init
from sovgate.pipeline.look.doctor import doctor
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.project import Project, open_project

SIGN = "keys/us-train-sign.pem"


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of /keys."""
    folder = tmp_path / "mounted"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(links, "SECRETS", folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with key files, made once: RSA keys take long. Each test works on a copy."""
    answers = init.Answers(
        pattern="central",
        model="kyc",
        train=init.zone_answer("aws:us-east-1", suffix="-train"),
        serve=(init.zone_answer("eu=aws-eusc:eusc-de-east-1"),),
        data=(),
        keys=True,
        local=True,
    )
    folder = tmp_path_factory.mktemp("made") / "kyc"
    init.init(folder, answers)
    return folder


@pytest.fixture
def base(tmp_path: Path, mount: Path, made: Path) -> Path:
    """That project, its keys' secret halves in the mount alone."""
    shutil.copytree(made, tmp_path / "kyc", symlinks=True)
    for path in (tmp_path / "kyc/keys").glob("*.pem"):
        if not path.name.endswith(".pub.pem"):
            shutil.move(path, mount / path.name)
    return tmp_path / "kyc"


def opened(base: Path) -> Project:
    return open_project(base)


def key_id(path: Path) -> str:
    return registry.open_public(path.name, path.parent).key_id


def foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, whoever runs this."""
    if os.getuid() == 0:
        os.chown(path, 4242, 4242)
    else:
        ours = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: ours + 1)


@pytest.mark.parametrize("path", [SIGN, "us-train-sign.pem", f"./{SIGN}", f"file:{SIGN}"])
def test_a_key_that_is_not_in_the_project_is_found_in_the_mount(base: Path, path: str) -> None:
    signer = registry.open_signer(path, base)
    assert signer.public_key.key_id == key_id(base / "keys/us-train-sign.pub.pem")


def test_each_secret_of_a_zone_is_found_there(base: Path, mount: Path) -> None:
    project = opened(base)
    assert project.signer("eu").public_key.key_id == key_id(base / "keys/eu-sign.pub.pem")
    assert project.identity("eu").key_id == key_id(base / "keys/eu.pub.pem")
    assert project.sign_uri("us-train") == f"file:{mount}/us-train-sign.pem"


def test_a_secret_is_mounted_as_kubernetes_does_it(base: Path, mount: Path) -> None:
    (mount / "..day").mkdir()
    (mount / "us-train-sign.pem").rename(mount / "..day/us-train-sign.pem")
    (mount / "..data").symlink_to("..day")
    (mount / "us-train-sign.pem").symlink_to("..data/us-train-sign.pem")
    mount.chmod(0o1777)
    assert opened(base).signer("us-train").public_key


def test_the_projects_own_key_comes_first(base: Path, mount: Path) -> None:
    generate("sign", out=base / "keys/own.pem")
    (base / "keys/own.pem").rename(base / SIGN)
    own = opened(base).signer("us-train").public_key.key_id
    assert own == key_id(base / "keys/own.pub.pem")
    assert opened(base).sign_uri("us-train") == f"file:{base}/{SIGN}"


def test_a_link_to_nothing_in_the_project_is_not_passed_over(base: Path) -> None:
    (base / SIGN).symlink_to("elsewhere.pem")
    with pytest.raises(SovgateError):
        opened(base).signer("us-train")


@pytest.mark.parametrize(
    "path",
    [
        "../us-train-sign.pem",
        "keys/../us-train-sign.pem",
        "other/us-train-sign.pem",
        "keys/more/us-train-sign.pem",
        "keys/keys/us-train-sign.pem",
        "/us-train-sign.pem",
        "keys",
        ".",
    ],
)
def test_no_other_path_leads_there(base: Path, path: str) -> None:
    assert links.mounted_secret(path, base) is None
    with pytest.raises(SovgateError):
        registry.open_signer(path, base)


def test_without_a_mount_it_is_missing_as_ever(base: Path, mount: Path) -> None:
    shutil.rmtree(mount)
    with pytest.raises(ConfigError) as refused:
        opened(base).signer("us-train")
    assert refused.value.reason == "missing-file"
    assert SIGN in refused.value.what


def test_a_link_in_the_place_of_the_mount_is_no_mount(base: Path, mount: Path) -> None:
    mount.rename(mount.with_name("other"))
    mount.symlink_to("other")
    with pytest.raises(ConfigError):
        opened(base).signer("us-train")


def test_public_halves_are_never_read_there(base: Path, mount: Path) -> None:
    """Whom to trust, and for whom to encrypt, is said by the project's own files."""
    for name in ("us-train-sign.pub.pem", "eu.pub.pem"):
        (base / "keys" / name).rename(mount / name)
        with pytest.raises(UsageError):
            registry.open_public(f"keys/{name}", base)
    with pytest.raises(ConfigError):
        opened(base).recipient("eu")
    with pytest.raises(ConfigError):
        opened(base).trusted("eu")
    with pytest.raises(ConfigError):  # nor as a key to sign with
        (mount / "us-train-sign.pub.pem").rename(mount / "us-train-sign.pem")
        opened(base).signer("us-train")


def test_a_secret_key_there_is_nobodys_word_either(base: Path) -> None:
    """Without `sign-public` a zone is known by its secret key: by one in the project alone."""
    text = (base / "sovgate.yaml").read_text()
    lines = [line for line in text.splitlines() if "-public: " not in line]
    (base / "sovgate.yaml").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as refused:
        opened(base).trusted("us-train")
    assert refused.value.reason == "missing-file"
    with pytest.raises(ConfigError):
        opened(base).recipient("eu")


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_belongs_to_another_user_is_refused(
    base: Path, mount: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = opened(base)
    foreign(mount if which == "folder" else mount / "us-train-sign.pem", monkeypatch)
    with pytest.raises(ConfigError) as refused:
        project.signer("us-train")
    assert refused.value.reason == "key-owner"
    assert "another user" in str(refused.value.why)
    with pytest.raises(ConfigError):
        project.sign_uri("us-train")


def test_a_folder_that_everybody_can_write_to_is_refused(base: Path, mount: Path) -> None:
    mount.chmod(0o777)
    with pytest.raises(ConfigError) as refused:
        opened(base).signer("us-train")
    assert refused.value.reason == "key-owner"


def test_a_link_that_leads_out_of_the_mount_is_refused(base: Path, mount: Path) -> None:
    outside = mount.parent / "outside.pem"
    (mount / "us-train-sign.pem").rename(outside)
    (mount / "us-train-sign.pem").symlink_to(outside)
    with pytest.raises(ConfigError) as refused:
        opened(base).signer("us-train")
    assert refused.value.reason == "key-owner"
    assert "out of its folder" in str(refused.value.why)


def test_no_variable_names_another_folder(
    base: Path, mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SOVGATE_KEYS", "SOVGATE_KEYS_DIR", "SOVGATE_SECRETS"):
        monkeypatch.setenv(name, str(mount))
    monkeypatch.setattr(links, "SECRETS", mount.parent / "nowhere")
    with pytest.raises(ConfigError):
        opened(base).signer("us-train")


def test_a_mounted_key_is_a_secret_of_the_project(base: Path, mount: Path) -> None:
    """What may never be in a model (RULES 38)."""
    found = _keys(opened(base))
    assert found["the secret key zones.eu.keys.encrypt"][0] == (mount / "eu.pem").read_bytes()
    assert len(found) == 4


def test_a_mounted_key_speaks_for_its_zone(base: Path) -> None:
    """So what may not be in that zone is refused there too, without a public half as well."""
    text = (base / "sovgate.yaml").read_text()
    lines = [line for line in text.splitlines() if "sign-public: " not in line]
    (base / "sovgate.yaml").write_text("\n".join(lines) + "\n")
    project = opened(base)
    assert _zones(project, project.sign_uri("eu"), project.signer("eu")) == ["eu"]


def test_doctor_says_where_it_found_it(base: Path, mount: Path) -> None:
    checks = doctor(base, zone="eu", offline=True, variables={}, known=frozenset())
    said = {check.name: check for check in checks}
    for name, file in (("sign", "eu-sign.pem"), ("decrypt", "eu.pem")):
        check = said[f"eu: secret key to {name}"]
        assert check.status == "ok", check
        assert str(mount / file) in check.detail
