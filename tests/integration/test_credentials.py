"""Each source of AWS's credentials, broken in each way: one kind of error, and nothing secret told.

Nothing here leaves this machine: the store and the key are at a port that nobody serves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sovgate.clouds.aws.credentials import fetch, safe
from sovgate.errors import StoreError
from sovgate.keys.awskms import key as keyring
from sovgate.stores.registry import open_store
from tests.crossing import Crossing, make_crossing
from tests.hostilecloud import serving, xml

pytest.importorskip("boto3")

DEAD = "http://127.0.0.1:9"
KEY = "awskms://127.0.0.1:9/arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TOKEN = "hvs.CAESI" + "Jab12CD34ef56GH78" * 5
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzKLMN0pqr"


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    keyring._client.cache_clear()  # a process keeps its client for a key service
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    made = make_crossing(tmp_path / "project")
    made.edit("store: eu-store", f'store: "s3://churn-eu?endpoint={DEAD}"')
    return made


Setting = Callable[[Path, pytest.MonkeyPatch], object]


def profile(folder: Path, *lines: str) -> None:
    (folder / "config").write_text("[default]\n" + "\n".join(lines) + "\n")


def program(folder: Path, text: str, *, mode: int = 0o755) -> None:
    tool = folder / "tool"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(mode)
    profile(folder, f"credential_process = {tool}")


def web_identity(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "no-token"))


def web_identity_folder(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder))


def web_identity_binary(folder: Path, patch: pytest.MonkeyPatch) -> None:
    web_identity_folder(folder, patch)
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "binary"))


def pod_identity(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", DEAD)
    patch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(folder / "no-token"))


def pod_identity_line_break(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text(TOKEN + "\n")
    patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", DEAD)
    patch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(folder / "token"))


def no_program(folder: Path, patch: pytest.MonkeyPatch) -> None:
    profile(folder, f"credential_process = {folder}/no-such-tool --x")


def program_not_executable(folder: Path, patch: pytest.MonkeyPatch) -> None:
    program(folder, "exit 0", mode=0o644)


def program_fails(folder: Path, patch: pytest.MonkeyPatch) -> None:
    program(folder, f"echo 'the vault is sealed' >&2; echo 'token {TOKEN}' >&2; exit 3")


def program_without_json(folder: Path, patch: pytest.MonkeyPatch) -> None:
    program(folder, f"echo 'SecretAccessKey {SECRET}'")


def program_of_another_version(folder: Path, patch: pytest.MonkeyPatch) -> None:
    program(folder, f"""echo '{{"Version": 2, "SecretAccessKey": "{SECRET}"}}'""")


def program_not_text(folder: Path, patch: pytest.MonkeyPatch) -> None:
    program(folder, "printf '\\377\\376'")


def no_source_profile(folder: Path, patch: pytest.MonkeyPatch) -> None:
    profile(folder, "role_arn = arn:aws:iam::123456789012:role/x", "source_profile = gone")


def half_a_key(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")


def sso(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "config").write_text(
        "[profile p]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
        "region = eu-central-1\n[sso-session s]\nsso_start_url = https://example.invalid/start\n"
        "sso_region = eu-central-1\n"
    )
    patch.setenv("AWS_PROFILE", "p")


def old_sso(folder: Path, patch: pytest.MonkeyPatch) -> None:
    profile(
        folder,
        "sso_start_url = https://example.invalid/start",
        "sso_region = eu-central-1",
        "sso_account_id = 123456789012",
        "sso_role_name = r",
    )


#: the way to break it, what the message names, and what helps
BROKEN: list[tuple[Setting, tuple[str, ...]]] = [
    (web_identity, ("web identity", "no-token", "No such file", "AWS_ROLE_ARN")),
    (web_identity_folder, ("web identity", "directory")),
    (web_identity_binary, ("web identity", "cannot be read")),
    (pod_identity, ("container", "no-token", "Pod Identity Agent")),
    (pod_identity_line_break, ("container", "cannot be read")),
    (no_program, ("credential_process", "no-such-tool", "No such file")),
    (program_not_executable, ("credential_process", "Permission denied", "let this user run")),
    (program_fails, ("credential_process", "the vault is sealed", "run that program by hand")),
    (program_without_json, ("credential_process", "cannot be read")),
    (program_of_another_version, ("credential_process", "Unsupported version '2'")),
    (program_not_text, ("credential_process", "cannot be read")),
    (no_source_profile, ("role_arn", "gone")),
    (half_a_key, ("AWS_SECRET_ACCESS_KEY",)),
    (sso, ("SSO", "Token for s does not exist", "aws sso login --profile p")),
    (old_sso, ("SSO", "example.invalid/start does not exist", "aws sso login")),
]
NAMES = [setting.__name__ for setting, _ in BROKEN]


@pytest.mark.parametrize("what", ["store", "key"])
@pytest.mark.parametrize(("setting", "told"), BROKEN, ids=NAMES)
def test_a_source_of_credentials_that_fails_is_named(
    crossing: Crossing,
    monkeypatch: pytest.MonkeyPatch,
    setting: Setting,
    told: tuple[str, ...],
    what: str,
) -> None:
    if what == "key":
        crossing.edit(f'store: "s3://churn-eu?endpoint={DEAD}"', "store: eu-store")
        crossing.edit("encrypt-public: keys/eu-enc.pub.pem", f'encrypt-public: "{KEY}"')
    setting(crossing.base.parent, monkeypatch)
    command = ("push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    code, text = crossing.run(*command)
    assert code == {"store": 21, "key": 20}[what], text
    for words in told:
        assert words in text
    assert TOKEN not in text
    assert SECRET not in text
    said = crossing.json(*command, code=code)
    assert said["error"]["reason"] == "credentials"


class Refused:
    METHOD = "assume-role-with-web-identity"

    def load(self) -> None:
        raise PermissionError(13, "Permission denied", "/var/run/token")


class Session:
    providers = (Refused(),)

    def get_component(self, name: str) -> Session:
        return self


def test_a_file_that_may_not_be_read_is_named() -> None:
    """By itself, since root may read every file."""
    with pytest.raises(StoreError) as caught:
        fetch(Session(), DEAD, StoreError)
    assert caught.value.reason == "credentials"
    assert "Permission denied: /var/run/token" in str(caught.value.why)
    assert str(caught.value.fix).startswith("let this user read /var/run/token")


def test_doctor_names_it_and_goes_on(crossing: Crossing, monkeypatch: pytest.MonkeyPatch) -> None:
    web_identity(crossing.base.parent, monkeypatch)
    code, text = crossing.run("doctor", "--zone", "eu", "--format", "json")
    checks = {check["name"]: check for check in json.loads(text)["checks"]}
    assert code == 3
    assert "web identity" in checks["eu: store"]["detail"]
    assert checks["eu: secret key to decrypt"]["status"] == "ok"


@pytest.mark.parametrize("error", [RuntimeError("x"), FileNotFoundError(2, "gone", "/no/file")])
def test_doctor_goes_on_whatever_one_zone_throws(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from sovgate.pipeline.look import doctor

    real = doctor.check_zone

    def broken(found: object, opened: object, name: str) -> None:
        if name == "home":
            raise error
        real(found, opened, name)  # type: ignore[arg-type]

    monkeypatch.setattr(doctor, "check_zone", broken)
    _, text = crossing.run("doctor", "--zone", "eu", "--offline", "--format", "json")
    checks = {check["name"]: check for check in json.loads(text)["checks"]}
    assert checks["home: zone"]["status"] == "missing"
    assert checks["home: zone"]["fix"]
    assert checks["eu: secret key to sign"]["status"] == "ok"


def test_an_unknown_profile_is_still_no_profile(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "stale")
    said = crossing.push(code=21)
    assert said["error"]["reason"] == "no-profile"


@pytest.mark.parametrize(
    ("variable", "path", "why"),
    [
        ("AWS_SHARED_CREDENTIALS_FILE", "gone", "not there"),
        ("AWS_SHARED_CREDENTIALS_FILE", ".", "a folder"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/gone", "not there"),
        ("AWS_CONFIG_FILE", ".", "a folder"),
    ],
)
def test_without_any_source_it_is_no_credentials(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, variable: str, path: str, why: str
) -> None:
    """And a file that a variable names, and that the SDK passes over, is named."""
    folder = crossing.base.parent
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        (folder / "empty").write_text("")
        monkeypatch.setenv(name, str(folder / "empty"))
    monkeypatch.setenv(variable, path if path[0] == "~" else str(folder / path))
    error = crossing.push(code=21)["error"]
    assert error["reason"] == "no-credentials"
    shown = os.environ[variable]
    assert f"{variable} names {shown!r}, which is {why}" in error["why"]
    assert error["fix"].startswith("correct that path, or unset the variable; or set AWS_ACCESS")
    monkeypatch.setenv(variable, f"[default]\naws_secret_access_key = {SECRET}\n")
    error = crossing.push(code=21)["error"]
    assert f"{variable} holds something else than a path" in error["why"]
    assert SECRET not in json.dumps(error)
    monkeypatch.delenv(variable)
    assert "names" not in crossing.push(code=21)["error"]["why"]


@pytest.mark.parametrize("name", ["credentials", "config"])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (f"[default]\naws_secret_access_key = {SECRET}\n".encode("utf-16"), "it is not UTF-8"),
        (f"[default\naws_secret_access_key = {SECRET}\n".encode(), "it is not each [PROFILE] once"),
        (f"[a]\n[a]\nx = {SECRET}\n".encode(), "it is not each [PROFILE] once"),
        (f"aws_secret_access_key = {SECRET}\n".encode(), "it is not each [PROFILE] once"),
    ],
)
def test_a_file_of_the_sdks_that_cannot_be_read_is_named(
    crossing: Crossing, name: str, data: bytes, why: str
) -> None:
    file = crossing.base.parent / name
    file.write_bytes(data)
    error = crossing.push(code=21)["error"]
    assert error["reason"] == "aws-config"
    assert f"{str(file)!r}: {why}" in error["why"]
    assert SECRET not in json.dumps(error)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("No such file: /var/run/secrets/eks.amazonaws.com/serviceaccount/token", True),
        ("Could not connect to the endpoint URL: http://127.0.0.1:9/x", True),
        ("User: arn:aws:sts::123456789012:assumed-role/deploy/session is not authorized", True),
        (f"token {TOKEN}", False),
        (f"secret {SECRET}", False),
        ("session IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQDk", False),
        ("http://me:hunter2hunter2@proxy.example", False),
        ("key ASIAIOSFODNN7ABCDEFG", False),
    ],
)
def test_what_a_source_says_is_kept_but_for_secrets(text: str, kept: bool) -> None:
    assert (safe(text) == text) is kept
    if not kept:
        assert text.split()[-1] not in safe(text)
        assert "hunter2" not in safe(text)


@pytest.mark.parametrize("account", ["", "&account=111122223333"])
def test_a_store_that_denies_access_may_not_exist(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    """Whoever may not list buckets is told nothing about which there are."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    denied = xml("<Error><Code>AccessDenied</Code></Error>", 403)
    with serving(lambda asked: denied) as cloud:
        store = open_store(f"s3://no-such?endpoint={cloud.url}{account}", Path(), "aws:us-east-1")
        with pytest.raises(StoreError) as caught:
            store.location()
    assert caught.value.reason == "access-denied"
    assert "these credentials lack s3:" in str(caught.value.why)
    assert "or the bucket 'no-such' does not exist" in str(caught.value.why)
    assert ("not of account 111122223333" in str(caught.value.why)) is bool(account)
