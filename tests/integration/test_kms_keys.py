"""Keys in KMS that lie elsewhere, are repointed, answered for by others, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import ConfigError, ExitCode, KeyServiceError, ResidencyMismatch
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.project import Project, open_project
from tests import servers
from tests.conformance.keys import kms_key
from tests.faultproxy import FaultProxy, What, between

CENTRAL, EUSC = "aws:eu-central-1", "aws-eusc:eusc-de-east-1"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))


@pytest.fixture
def proxy(ministack: str) -> Iterator[FaultProxy]:
    with between(ministack) as made:
        yield made


def through(proxy: FaultProxy, uri: str) -> str:
    return (
        f"awskms://127.0.0.1:{proxy.server_port}/{uri.removeprefix('awskms://').partition('/')[2]}"
    )


def alias(url: str, name: str, uri: str) -> str:
    """A new name for a key; its URI."""
    arn = uri.removeprefix("awskms://").partition("/")[2]
    servers.sdk("kms", url).create_alias(AliasName=f"alias/{name}", TargetKeyId=arn)
    return f"awskms://{url.removeprefix('http://')}/alias/{name}"


def repoint(url: str, name: str, uri: str) -> None:
    arn = uri.removeprefix("awskms://").partition("/")[2]
    servers.sdk("kms", url).update_alias(AliasName=f"alias/{name}", TargetKeyId=arn)


def test_rule_10_a_repointed_alias_signs_with_the_key_it_meant_at_first(ministack: str) -> None:
    first, second = (kms_key(ministack, "ECC_NIST_P256") for _ in range(2))
    uri = alias(ministack, "signing", first)
    signer = registry.open_signer(uri, Path(), CENTRAL)
    repoint(ministack, "signing", second)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    assert signer.public_key == registry.open_public(first, Path(), CENTRAL)
    assert registry.open_public(uri, Path(), CENTRAL) == registry.open_public(
        second, Path(), CENTRAL
    )


def test_rule_10_a_repointed_alias_is_another_recipient(ministack: str) -> None:
    """Which is how push finds out, just before the record (20)."""
    first, second = (kms_key(ministack, "SYMMETRIC_DEFAULT") for _ in range(2))
    uri = alias(ministack, "wrapping", first)
    before = registry.open_recipient(uri, Path(), CENTRAL)
    wrapped = before.wrap(KEY, CONTEXT)
    repoint(ministack, "wrapping", second)
    assert registry.open_recipient(uri, Path(), CENTRAL).key_id != before.key_id
    assert registry.open_identity(first, Path(), CENTRAL).unwrap(wrapped, CONTEXT) == KEY


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "RSA_2048"])
def test_rule_08_two_names_of_one_key_are_found_when_it_is_opened(
    ministack: str, tmp_path: Path, spec: str
) -> None:
    key = kms_key(ministack, spec)
    one, two = (alias(ministack, f"{name}-{spec}", key) for name in ("one", "two"))

    def project(first: str, second: str) -> Project:
        zones = "".join(
            f'  {name}: {{region: "{CENTRAL}", keys: {{encrypt: "{uri}"}}}}\n'
            for name, uri in (("a", first), ("b", second))
        )
        (tmp_path / "sovgate.yaml").write_text(f"version: 1\nmodel: m\nzones:\n{zones}")
        return open_project(tmp_path)

    for opened in (project(one, key), project(one, two)):
        with pytest.raises(ConfigError) as refused:
            opened.recipient("a"), opened.identity("b")
        assert refused.value.reason == "shared-key"
        assert "the same key as zones." in refused.value.what
    opened = project(one, kms_key(ministack, spec))
    assert opened.recipient("a").key_id != opened.identity("b").key_id


def test_keys_of_the_sovereign_cloud_are_described_and_wrap(moto: str) -> None:
    uri = kms_key(moto, "SYMMETRIC_DEFAULT", "eusc-de-east-1")
    assert "arn:aws-eusc:kms:eusc-de-east-1:" in uri
    recipient: Any = registry.open_recipient(uri, Path(), EUSC)
    assert recipient.region == EUSC
    assert recipient.key_id == uri.removeprefix("awskms://").partition("/")[2]
    identity = registry.open_identity(uri, Path(), EUSC)
    assert identity.unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_a_key_of_another_partition_is_12(ministack: str, moto: str) -> None:
    """The URI is of the zone, but who answers has the key elsewhere."""
    uri = kms_key(moto, "SYMMETRIC_DEFAULT", "eusc-de-east-1")
    with pytest.raises(ResidencyMismatch) as caught:
        registry.open_recipient(uri, Path(), CENTRAL)
    assert caught.value.exit_code == ExitCode.RESIDENCY
    # ministack calls every partition aws: a front that is not in the sovereign cloud at all
    made = kms_key(ministack, "SYMMETRIC_DEFAULT", "eusc-de-east-1")
    bare = made.rpartition("/")[2]
    host = ministack.removeprefix("http://")
    with pytest.raises(ResidencyMismatch):
        registry.open_recipient(f"awskms://{host}/{bare}", Path(), EUSC)


def test_rule_10_a_multi_region_key_with_a_replica_elsewhere_is_12(ministack: str) -> None:
    uri = kms_key(ministack, "SYMMETRIC_DEFAULT", MultiRegion=True)
    registry.open_recipient(uri, Path(), CENTRAL)
    arn = uri.removeprefix("awskms://").partition("/")[2]
    servers.sdk("kms", ministack).replicate_key(KeyId=arn, ReplicaRegion="us-east-1")
    with pytest.raises(ResidencyMismatch) as caught:
        registry.open_recipient(uri, Path(), CENTRAL)
    assert caught.value.reason == "key-elsewhere"
    assert "us-east-1" in str(caught.value.why)


def test_rule_10_the_account_is_pinned(ministack: str) -> None:
    uri = kms_key(ministack, "ECC_NIST_P256")
    other = uri.replace(":000000000000:", ":444455556666:")
    name = alias(ministack, "pinned", uri)
    for text in (f"{name}?account=444455556666", other):
        with pytest.raises(KeyServiceError) as caught:
            registry.open_signer(text, Path(), CENTRAL)
        assert caught.value.exit_code == ExitCode.KEY
        assert caught.value.reason in ("wrong-key", "no-such-key")
    registry.open_signer(f"{name}?account=000000000000", Path(), CENTRAL)


def test_a_service_that_signs_wrongly_is_found_out_here(moto: str) -> None:
    """moto hashes a digest again: its signatures verify nowhere."""
    uri = kms_key(moto, "ECC_NIST_P256")
    arn = uri.removeprefix("awskms://").partition("/")[2]
    with pytest.raises(KeyServiceError) as caught:
        registry.open_signer(uri, Path(), CENTRAL)
    assert caught.value.reason == "wrong-key"  # it answers with the bare id, unlike KMS
    with between(moto) as proxy:
        bare = f'"{arn.rpartition("/")[2]}"'.encode()
        proxy.edits(
            "POST",
            lambda answer: answer.replace(b'"KeyId": ' + bare, b'"KeyId": "' + arn.encode() + b'"'),
        )
        signer = registry.open_signer(through(proxy, uri), Path(), CENTRAL)
        with pytest.raises(KeyServiceError) as caught:
            signer.sign(b"message")
    assert caught.value.reason == "bad-signature"
    assert caught.value.exit_code == ExitCode.KEY


@pytest.mark.parametrize("operation", ["GetPublicKey", "Sign"])
def test_rule_10_another_key_that_answers_is_20(ministack: str, operation: str) -> None:
    uri, other = (kms_key(ministack, "ECC_NIST_P256") for _ in range(2))
    arns = [text.removeprefix("awskms://").partition("/")[2].encode() for text in (uri, other)]
    marks = {"GetPublicKey": b'"PublicKey"', "Sign": b'"Signature"'}

    def swapped(answer: bytes) -> bytes:
        return answer.replace(*arns) if marks[operation] in answer else answer

    with between(ministack) as proxy:
        proxy.edits("POST", swapped)
        with pytest.raises(KeyServiceError) as caught:
            registry.open_signer(through(proxy, uri), Path(), CENTRAL).sign(b"message")
    assert caught.value.reason == "wrong-key"


def test_an_answer_that_was_changed_on_the_way_is_found_out(
    ministack: str, proxy: FaultProxy
) -> None:
    signer = registry.open_signer(
        through(proxy, kms_key(ministack, "ECC_NIST_P256")), Path(), CENTRAL
    )
    proxy.fault(What.CUT_REPLY, "POST", "", 100)
    with pytest.raises(KeyServiceError) as caught:
        signer.sign(b"message")
    assert caught.value.exit_code == ExitCode.KEY


@pytest.mark.parametrize("what", [What.LOSE_REPLY, What.BUSY, What.LOSE_REQUEST])
def test_a_few_lost_answers_are_asked_for_again(
    ministack: str, proxy: FaultProxy, what: What
) -> None:
    signer = registry.open_signer(
        through(proxy, kms_key(ministack, "ECC_NIST_P256")), Path(), CENTRAL
    )
    proxy.fault(what, "POST", "", 2)
    signer.public_key.verify(b"m", signer.sign(b"m"))


def test_rule_15_a_redirect_is_12_and_not_followed(ministack: str, proxy: FaultProxy) -> None:
    signer = registry.open_signer(
        through(proxy, kms_key(ministack, "ECC_NIST_P256")), Path(), CENTRAL
    )
    proxy.fault(What.REDIRECT, "POST", "", 100)
    proxy.seen.clear()
    with pytest.raises(ResidencyMismatch):
        signer.sign(b"message")
    assert len(proxy.seen) == 1


def test_a_disabled_or_missing_key_is_20(ministack: str) -> None:
    uri = kms_key(ministack, "SYMMETRIC_DEFAULT")
    arn = uri.removeprefix("awskms://").partition("/")[2]
    recipient = registry.open_recipient(uri, Path(), CENTRAL)
    servers.sdk("kms", ministack).disable_key(KeyId=arn)
    for attempt in (
        lambda: registry.open_recipient(uri, Path(), CENTRAL),
        lambda: recipient.wrap(KEY, CONTEXT),
    ):
        with pytest.raises(KeyServiceError) as caught:
            attempt()
        assert caught.value.reason == "key-disabled"
    gone = uri[:-12] + "000000000000"
    with pytest.raises(KeyServiceError) as caught:
        registry.open_recipient(gone, Path(), CENTRAL)
    assert caught.value.reason == "no-such-key"


def test_nobody_there_and_denied_are_20(proxy: FaultProxy, ministack: str) -> None:
    uri = through(proxy, kms_key(ministack, "ECC_NIST_P256"))
    signer = registry.open_signer(uri, Path(), CENTRAL)
    proxy.fault(What.LOSE_REQUEST, "POST", "", 100)
    with pytest.raises(KeyServiceError) as caught:
        signer.sign(b"message")
    assert (caught.value.reason, caught.value.exit_code) == ("no-answer", ExitCode.KEY)


def test_what_was_wrapped_with_an_exported_rsa_key_opens_in_kms(
    ministack: str, tmp_path: Path
) -> None:
    """CI encrypts for a zone without any credential in it: it has the public PEM alone."""
    uri = kms_key(ministack, "RSA_4096")
    (tmp_path / "eu.pub.pem").write_bytes(registry.open_public(uri, tmp_path, CENTRAL).pem)
    recipient = registry.open_recipient("eu.pub.pem", tmp_path, CENTRAL)
    identity = registry.open_identity(uri, tmp_path, CENTRAL)
    assert (recipient.key_id, recipient.algorithm) == (identity.key_id, identity.algorithm)
    assert identity.unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_rule_29_no_secret_is_logged_or_told(
    ministack: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = kms_key(ministack, "SYMMETRIC_DEFAULT")
    with caplog.at_level("INFO"):
        recipient = registry.open_recipient(uri, Path(), CENTRAL)
        wrapped = recipient.wrap(KEY, CONTEXT)
        registry.open_identity(uri, Path(), CENTRAL).unwrap(wrapped, CONTEXT)
    said = caplog.text + "".join(capsys.readouterr()) + repr(recipient)
    for secret in (KEY.hex(), "testtest", repr(KEY)):
        assert secret not in said


def test_a_key_file_is_not_asked_where_it_lies(tmp_path: Path) -> None:
    generate("sign", out=tmp_path / "k.pem")
    registry.open_signer("k.pem", tmp_path, EUSC)


def test_rule_36_an_endpoint_in_the_environment_that_differs_is_3(
    ministack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = kms_key(ministack, "ECC_NIST_P256")
    for name in ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, ministack)
        registry.open_signer(uri, Path(), CENTRAL)
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        with pytest.raises(ConfigError) as caught:
            registry.open_signer(uri, Path(), CENTRAL)
        assert caught.value.reason == "address-elsewhere"
        assert name in caught.value.what
        monkeypatch.delenv(name)
