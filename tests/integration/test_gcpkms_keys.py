"""Keys in Google Cloud KMS: what its own client would let pass, and what is never asked or told."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sovgate import notices
from sovgate.clouds.google.credentials import GOOGLE
from sovgate.errors import ConfigError, KeyServiceError, ResidencyMismatch, VerificationFailed
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys.gcpkms import service
from sovgate.records import GRADE
from sovgate.transport import authority, proxies
from tests.commands import run
from tests.firm import GOOGLE_HOST, Firm, firm_in
from tests.googlekms import RING, GoogleKms, RefusedError, google_kms
from tests.tunnel import tunnel

ZONE = "gcp:europe-west3"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))
TOKEN = "canary-ya29-token"
SIGN, WRAP, RSA = (
    "EC_SIGN_P256_SHA256",
    "GOOGLE_SYMMETRIC_ENCRYPTION",
    "RSA_DECRYPT_OAEP_2048_SHA256",
)


@pytest.fixture
def kms() -> Iterator[GoogleKms]:
    with google_kms() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Clients and tokens are kept for the life of a process, and each test is one."""
    service._tokens.cache_clear()
    yield
    service._tokens.cache_clear()
    service._client.cache_clear()


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Firm:
    return firm_in(tmp_path_factory.mktemp("firm") / "ca")


def pinned(kms: GoogleKms, algorithm: str = SIGN) -> str:
    return kms.uri(f"{kms.make(algorithm)}/cryptoKeyVersions/1")


def use(uri: str, region: str | None = ZONE) -> None:
    """Sign, or wrap and unwrap, as the key can."""
    try:
        registry.open_signer(uri, Path(), region).sign(b"message")
    except ConfigError as error:
        if error.reason != "unsupported-key-use":
            raise
        wrapped = registry.open_recipient(uri, Path(), region).wrap(KEY, CONTEXT)
        assert registry.open_identity(uri, Path(), region).unwrap(wrapped, CONTEXT) == KEY


# -- what a service may not get away with


@pytest.mark.parametrize(
    ("algorithm", "call", "field", "value"),
    [
        (SIGN, "GetPublicKey", "pem_crc32c", 1),
        (SIGN, "GetPublicKey", "pem_crc32c", None),
        (SIGN, "AsymmetricSign", "signature_crc32c", 1),
        (SIGN, "AsymmetricSign", "signature_crc32c", None),
        (SIGN, "AsymmetricSign", "verified_digest_crc32c", False),
        (WRAP, "Encrypt", "ciphertext_crc32c", 1),
        (WRAP, "Encrypt", "verified_plaintext_crc32c", False),
        (WRAP, "Encrypt", "verified_additional_authenticated_data_crc32c", False),
        (WRAP, "Decrypt", "plaintext_crc32c", 1),
        (WRAP, "Decrypt", "plaintext_crc32c", None),
        (RSA, "AsymmetricDecrypt", "plaintext_crc32c", 1),
        (RSA, "AsymmetricDecrypt", "verified_ciphertext_crc32c", False),
    ],
)
def test_a_sum_that_is_wrong_or_missing_is_20(
    kms: GoogleKms, algorithm: str, call: str, field: str, value: object
) -> None:
    uri = pinned(kms, algorithm)
    use(uri)

    def edits(made: str, answer: Any) -> Any:
        if made == call:
            setattr(answer, field, value)
        return answer

    kms.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        use(uri)
    assert caught.value.reason == "bad-answer"
    assert caught.value.exit_code == 20


@pytest.mark.parametrize("algorithm", [SIGN, WRAP, RSA])
def test_what_was_changed_on_its_way_to_the_service_is_20(kms: GoogleKms, algorithm: str) -> None:
    """The service compares the sum of what it got, and says so."""
    uri = pinned(kms, algorithm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sovgate.keys.gcpkms.names.Named.sum", lambda *_: 7)
        patch.setattr("sovgate.keys.gcpkms.names.Named.whole", lambda _, data, __: data)
        with pytest.raises(KeyServiceError) as caught:
            use(uri)
    assert caught.value.reason == "bad-answer"
    assert "other bytes than were sent" in str(caught.value.why)


@pytest.mark.parametrize(
    ("algorithm", "call"),
    [
        (SIGN, "GetPublicKey"),
        (SIGN, "AsymmetricSign"),
        (RSA, "GetPublicKey"),
        (WRAP, "GetCryptoKey"),
        (WRAP, "Encrypt"),
    ],
)
@pytest.mark.parametrize("how", ["another", "other-version", "nothing"])
def test_rule_10_another_key_that_answers_is_20(
    kms: GoogleKms, algorithm: str, call: str, how: str
) -> None:
    uri = pinned(kms, algorithm)
    other = kms.make(algorithm)

    def edits(made: str, answer: Any) -> Any:
        if made == call:
            answer.name = {
                "another": answer.name.replace(answer.name.split("/cryptoKeys/")[1], other[-1]),
                "other-version": f"{answer.name}0",
                "nothing": "",
            }[how]
        return answer

    kms.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        use(uri)
    assert caught.value.reason == "wrong-key"


def test_rule_10_a_public_half_of_another_key_signs_nothing(kms: GoogleKms) -> None:
    """It names the right key, and gives the half of another: the signature verifies nowhere."""
    uri, other = pinned(kms), kms.make(SIGN)
    stranger = kms.keys[other].versions[0].secret

    def edits(call: str, answer: Any) -> Any:
        if call == "AsymmetricSign":
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import ec

            answer.signature = stranger.sign(b"message", ec.ECDSA(hashes.SHA256()))
            answer.signature_crc32c = __import__("google_crc32c").value(answer.signature)
        return answer

    kms.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        registry.open_signer(uri, Path(), ZONE).sign(b"message")
    assert caught.value.reason == "bad-signature"


@pytest.mark.parametrize(("algorithm", "call"), [(SIGN, "AsymmetricSign"), (WRAP, "Encrypt")])
def test_an_answer_from_another_protection_level_is_20(
    kms: GoogleKms, algorithm: str, call: str
) -> None:
    name = kms.make(algorithm, level="HSM")

    def edits(made: str, answer: Any) -> Any:
        if made == call:
            answer.protection_level = 1  # SOFTWARE
        return answer

    kms.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        use(kms.uri(f"{name}/cryptoKeyVersions/1"))
    assert caught.value.reason == "wrong-key"


@pytest.mark.parametrize(
    ("call", "field", "reason"),
    [
        ("GetPublicKey", "algorithm", "unsupported-key-use"),
        ("AsymmetricSign", "protection_level", "wrong-key"),
    ],
)
def test_a_word_that_the_library_is_too_old_to_know_is_refused(
    kms: GoogleKms, call: str, field: str, reason: str
) -> None:
    uri = pinned(kms)

    def edits(made: str, answer: Any) -> Any:
        if made == call:
            setattr(answer, field, 999)
        return answer

    kms.edits = edits
    with pytest.raises((KeyServiceError, ConfigError)) as caught:
        registry.open_signer(uri, Path(), ZONE).sign(b"message")
    assert caught.value.reason == reason


def test_a_key_that_must_be_in_an_hsm_is_or_is_refused(kms: GoogleKms) -> None:
    for algorithm in (SIGN, WRAP, RSA):
        soft, hard = (kms.make(algorithm, level=level) for level in ("SOFTWARE", "HSM"))
        use(kms.uri(f"{hard}/cryptoKeyVersions/1", protection="hsm"))
        with pytest.raises(KeyServiceError) as caught:
            use(kms.uri(f"{soft}/cryptoKeyVersions/1", protection="hsm"))
        assert caught.value.reason == "protection-level"


@pytest.mark.parametrize("algorithm", ["EC_SIGN_SECP256K1_SHA256", RSA, WRAP])
def test_a_key_for_something_else_is_3(kms: GoogleKms, algorithm: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.open_signer(pinned(kms, algorithm), Path(), ZONE)
    assert caught.value.reason == "unsupported-key-use"
    assert caught.value.exit_code == 3


# -- how often, and of whom, it is asked


@pytest.mark.parametrize(
    ("status", "times", "reason"),
    [
        ("UNAVAILABLE", 4, "no-answer"),
        ("RESOURCE_EXHAUSTED", 4, "slow-down"),
        ("PERMISSION_DENIED", 1, "access-denied"),
        ("DEADLINE_EXCEEDED", 1, "timed-out"),
        ("INTERNAL", 1, "service"),
        ("ABORTED", 1, "service"),
        ("UNAUTHENTICATED", 1, "bad-credentials"),
    ],
)
def test_the_client_hides_no_retry(kms: GoogleKms, status: str, times: int, reason: str) -> None:
    """Its own would go on for sixty seconds, and nobody would know."""
    uri = pinned(kms)
    kms.refuses = lambda *_: RefusedError(status, "no")
    with pytest.raises(KeyServiceError) as caught:
        use(uri)
    assert caught.value.reason == reason
    assert len(kms.seen) == times


def test_few_calls_are_made_and_none_for_what_is_not_needed(kms: GoogleKms) -> None:
    name = kms.make(SIGN)
    signer = registry.open_signer(kms.uri(f"{name}/cryptoKeyVersions/1"), Path(), ZONE)
    signer.sign(b"one"), signer.sign(b"two")
    assert [call for call, _ in kms.seen] == ["GetPublicKey", "AsymmetricSign", "AsymmetricSign"]
    kms.seen.clear()
    registry.open_recipient(pinned(kms, RSA), Path(), ZONE).wrap(KEY, CONTEXT)
    assert [call for call, _ in kms.seen] == ["GetCryptoKey", "GetPublicKey"]  # wrapped here


def test_which_version_signs_is_said_and_stays(kms: GoogleKms) -> None:
    name = kms.make(SIGN)
    kms.keys[name].add()
    kms.keys[name].add()
    kms.keys[name].versions[2].state = kms.DISABLED
    said: list[str] = []
    with notices.listening(said.append):
        signer = registry.open_signer(kms.uri(name), Path(), ZONE)
    assert said == [
        f"gcpkms://{name} names no version: 2 is used, the newest that is enabled; to stay with "
        "it, add /cryptoKeyVersions/2"
    ]
    kms.keys[name].add()
    signer.public_key.verify(b"m", signer.sign(b"m"))
    assert kms.seen[-1] == ("AsymmetricSign", f"{name}/cryptoKeyVersions/2")
    again = f"gcpkms://{name}/versions/2?address=http://127.0.0.1:{kms.port}"  # cosign's spelling
    assert registry.open_public(again, Path(), ZONE) == signer.public_key
    for version in kms.keys[name].versions:
        version.state = kms.DESTROYED
    with pytest.raises(KeyServiceError) as caught:
        registry.open_signer(kms.uri(name), Path(), ZONE)
    assert caught.value.reason == "key-disabled"


def test_a_symmetric_key_keeps_its_id_over_rotations_and_a_pinned_version_wraps(
    kms: GoogleKms,
) -> None:
    name = kms.make(WRAP)
    kms.keys[name].add()
    first = registry.open_recipient(kms.uri(f"{name}/cryptoKeyVersions/1"), Path(), ZONE)
    primary = registry.open_recipient(kms.uri(name), Path(), ZONE)
    assert first.key_id == primary.key_id == name
    assert first.wrap(KEY, CONTEXT)[1:2] == b"1"
    assert primary.wrap(KEY, CONTEXT)[1:2] == b"2"
    kms.keys[name].versions[1].state = kms.DISABLED
    with pytest.raises(KeyServiceError) as caught:
        registry.open_recipient(kms.uri(name), Path(), ZONE)
    assert caught.value.reason == "key-disabled"


def test_what_was_wrapped_with_an_exported_key_opens_in_kms(kms: GoogleKms, tmp_path: Path) -> None:
    uri = pinned(kms, RSA)
    (tmp_path / "eu.pub.pem").write_bytes(registry.open_public(uri, tmp_path, ZONE).pem)
    recipient = registry.open_recipient("eu.pub.pem", tmp_path, ZONE)
    identity = registry.open_identity(uri, tmp_path, ZONE)
    assert recipient.key_id == identity.key_id
    assert identity.unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY
    other = Context(zone="us", release="kyc/1.0.0", manifest="ab" * 32).canonical()
    with pytest.raises(VerificationFailed):
        identity.unwrap(recipient.wrap(KEY, CONTEXT), other)


# -- places and universes


@pytest.mark.parametrize(
    ("uri", "region", "told"),
    [
        (f"gcpkms://{RING}/k", "gcp:europe-west1", "is in gcp:europe-west3"),
        (f"gcpkms://{RING}/k", "aws:eu-central-1", "is in gcp:europe-west3"),
        (f"gcpkms://{RING}/k", "s3ns:u-france-east1", "europe-west3 of s3nsapis.fr"),
        (f"gcpkms://{RING}/k?universe=s3nsapis.fr", ZONE, "europe-west3 of s3nsapis.fr"),
        (f"gcpkms://{RING}/k?universe=evil.example", ZONE, "europe-west3 of evil.example"),
        (f"gcpkms://{RING}/k".replace("europe-west3", "global"), ZONE, "global of googleapis.com"),
        (f"gcpkms://{RING}/k".replace("europe-west3", "europe"), ZONE, "europe of googleapis.com"),
        (f"gcpkms://{RING}/k?address=https://cloudkms.s3nsapis.fr", ZONE, "s3ns:u-france-east1"),
        (f"gcpkms://{RING}/k?address=https://cloudkms.us-east1.rep.{GOOGLE}", ZONE, "us-east1, by"),
        (f"gcpkms://{RING}/k?address=https://us-east1-cloudkms.{GOOGLE}", ZONE, "us-east1, by"),
        (f"gcpkms://{RING}/k?address=https://US-East1-CloudKMS.{GOOGLE}:443", ZONE, "us-east1, by"),
    ],
)
def test_a_key_of_another_place_or_universe_is_12(uri: str, region: str, told: str) -> None:
    with pytest.raises(ResidencyMismatch) as caught:
        registry.check(uri, Path(), region)
    assert told in caught.value.what
    assert caught.value.exit_code == 12


@pytest.mark.parametrize(
    "address",
    [
        f"https://cloudkms.{GOOGLE}",
        f"https://cloudkms.europe-west3.rep.{GOOGLE}",
        f"https://europe-west3-cloudkms.{GOOGLE}",
        f"https://{GOOGLE_HOST}",
        "https://kms.bank.example",
    ],
)
def test_an_address_of_the_keys_own_place_is_taken(address: str) -> None:
    registry.check(f"gcpkms://{RING}/k?address={address}", Path(), ZONE)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("projects/p", "bad-uri"),
        (f"{RING}/k/cryptoKeyVersions/0", "bad-uri"),
        (f"{RING}/k/cryptoKeyVersions/latest", "bad-uri"),
        (f"{RING}/../k", "bad-uri"),
        (f"{RING}/k?address=http://kms.example", "bad-uri"),
        (f"{RING}/k?address=https://evil.{GOOGLE}", "bad-address"),
        (f"{RING}/k?address=https://storage.{GOOGLE}", "bad-address"),
        (f"{RING}/k?address=https://cloudkms.{GOOGLE}.evil.{GOOGLE}", "bad-address"),
        (f"{RING}/k?protection=software", "bad-uri"),
        (f"{RING}/k?endpoint=x", "bad-uri"),
        (f"{RING}/k".replace("europe-west3", "global"), "unknown-region"),
    ],
)
def test_a_uri_that_names_no_key_is_3(rest: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.check(f"gcpkms://{rest}", Path(), None)
    assert caught.value.reason == reason
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "evil.example"),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", "https://evil.example/"),
    ],
)
def test_rule_36_a_place_in_the_environment_that_differs_is_3(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        registry.check(f"gcpkms://{RING}/k", Path(), ZONE)
    assert caught.value.reason == "address-elsewhere"


def test_credentials_of_another_universe_are_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's own client would send them."""
    secret = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    told = {
        "type": "service_account",
        "universe_domain": "s3nsapis.fr",
        "client_email": "a@b",
        "private_key_id": "1",
        "private_key": secret.decode(),
    }
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(told))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(KeyServiceError) as caught:
        registry.open_signer(f"gcpkms://{RING}/k/cryptoKeyVersions/1", Path(), ZONE)
    assert caught.value.reason == "credentials"
    assert "'s3nsapis.fr'" in str(caught.value.why)


def test_a_token_goes_to_its_universe_and_to_nobody_else(
    kms: GoogleKms, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Private Service Connect's name, over TLS, through the proxy that is named."""
    monkeypatch.setenv("GCP_ACCESS_TOKEN", TOKEN)
    use(pinned(kms))
    assert set(kms.tokens) == {None}
    for name in ("HTTPS_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    tls = (firm.leaf.with_suffix(".key").read_bytes(), firm.leaf.read_bytes())
    with google_kms(TOKEN, tls) as far, tunnel() as way:
        name = far.make(SIGN)
        uri = f"gcpkms://{name}/cryptoKeyVersions/1?address=https://{GOOGLE_HOST}:{far.port}"
        with proxies.through(way.url):
            with pytest.raises(KeyServiceError) as caught:
                use(uri)
            assert caught.value.reason == "tls"  # nobody vouches for the firm's CA yet
            with authority.trusting(firm.root):
                signer: Any = registry.open_signer(uri, Path(), ZONE)
                signer.public_key.verify(b"m", signer.sign(b"m"))
        assert signer.grade == GRADE["declared"]
        assert set(far.tokens) == {f"Bearer {TOKEN}"}
        assert set(way.asked) == {f"{GOOGLE_HOST}:{far.port}"}
        assert set(way.logins) == {None}


def test_rule_36_roots_and_proxies_of_the_environment_are_not_used(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(firm.root))
    monkeypatch.setenv("SSL_CERT_FILE", str(firm.root))
    tls = (firm.leaf.with_suffix(".key").read_bytes(), firm.leaf.read_bytes())
    with google_kms(None, tls) as far:
        uri = f"gcpkms://{far.make(SIGN)}/cryptoKeyVersions/1?address=https://127.0.0.1:{far.port}"
        with pytest.raises(KeyServiceError) as caught:
            use(uri)
        assert caught.value.reason == "tls"
        assert "SSL_CERT_FILE" in "".join(caught.value.details)
        with authority.trusting(firm.root):
            use(uri)


#: HTTP/2: the server's empty SETTINGS, then on stream 1 the field `:status` with a value.
def _answering(status: bytes) -> bytes:
    fields = b"\x08\x03" + status
    return (
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        + len(fields).to_bytes(3)
        + b"\x01\x05\x00\x00\x00\x01"
        + fields
    )


@contextlib.contextmanager
def redirecting() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                heard = b""
                while b"GetPublicKey" not in heard and len(heard) < 1 << 16:
                    if not heard:
                        connection.sendall(_answering(b"307")[:9])
                    part = connection.recv(1 << 14)
                    heard += part
                    if len(heard) > 200 or not part:
                        break
                connection.sendall(_answering(b"307")[9:])
                connection.recv(1 << 14)
                connection.recv(1 << 14)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_rule_15_a_redirect_is_12_and_not_followed() -> None:
    with redirecting() as port:
        uri = f"gcpkms://{RING}/k/cryptoKeyVersions/1?address=http://127.0.0.1:{port}"
        with pytest.raises(ResidencyMismatch) as caught:
            registry.open_signer(uri, Path(), ZONE)
    assert caught.value.reason == "redirected"


# -- what is never told


@pytest.mark.parametrize("name", ["GRPC_TRACE", "GOOGLE_SDK_PYTHON_LOGGING_SCOPE"])
def test_rule_29_a_client_that_would_write_down_what_it_sends_is_not_opened(
    kms: GoogleKms, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "google" if name.startswith("GOOGLE") else "all")
    with pytest.raises(ConfigError) as caught:
        use(pinned(kms, WRAP))
    assert caught.value.reason == "sdk-log"
    assert name in caught.value.what


def test_rule_29_no_secret_is_logged_or_told(
    kms: GoogleKms, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = b"canary-of-a-32-byte-release-key!"
    uri = pinned(kms, WRAP)
    with caplog.at_level(logging.DEBUG):
        recipient = registry.open_recipient(uri, Path(), ZONE)
        wrapped = recipient.wrap(secret, CONTEXT)
        assert registry.open_identity(uri, Path(), ZONE).unwrap(wrapped, CONTEXT) == secret
        kms.refuses = lambda *_: RefusedError("INTERNAL", f"it was {secret.decode()}")
        kms.refuses = lambda call, _: (
            RefusedError("INVALID_ARGUMENT", f"it was {secret.decode()}")
            if call == "Decrypt"
            else None
        )
        with pytest.raises(VerificationFailed) as caught:
            registry.open_identity(uri, Path(), ZONE).unwrap(wrapped, CONTEXT)
    said = caplog.text + "".join(capfd.readouterr()) + repr(recipient) + repr(caught.value)
    assert "canary" not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_without_the_extra_it_is_named(kms: GoogleKms, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = pinned(kms)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError) as caught:
        use(uri)
    assert caught.value.fix == "pip install 'sovgate[gcp]'"


# -- as a person uses it


def test_a_project_with_its_keys_in_google_cloud_kms_signs_and_verifies(
    kms: GoogleKms, tmp_path: Path
) -> None:
    name = kms.make(SIGN)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "sovgate.yaml").write_text(
        "version: 1\nmodel: m\nzones:\n  eu:\n"
        f"    region: {ZONE}\n    keys:\n      sign:\n"
        f"        key: gcpkms://{name}/cryptoKeyVersions/1\n"
        f"        address: http://127.0.0.1:{kms.port}\n"
    )
    project = ["--project", str(tmp_path)]
    model = str(tmp_path / "model")
    for words in (["lint", tmp_path], ["sign", model, "--zone", "eu", *project]):
        done = run(*words)
        assert done.returncode == 0, done
    done = run("verify", model, *project)
    assert done.returncode == 0, done
    done = run("doctor", "--zone", "eu", *project)
    assert "gcpkms: google.cloud.kms_v1" in done.stdout


def test_a_key_that_is_not_the_pinned_one_signs_nothing(kms: GoogleKms, tmp_path: Path) -> None:
    """`sign-public` pins the half: a service that holds another key is found out before it signs.
    And `--key` takes the address that stands beside the key in the project."""
    name, other = kms.make(SIGN), kms.make(SIGN)
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")

    def written(public: str) -> None:
        half = registry.open_public(kms.uri(f"{public}/cryptoKeyVersions/1"), tmp_path, ZONE)
        (tmp_path / "eu.pub.pem").write_bytes(half.pem)
        (tmp_path / "sovgate.yaml").write_text(
            "version: 1\nmodel: m\nzones:\n  eu:\n"
            f"    region: {ZONE}\n    keys:\n      sign-public: eu.pub.pem\n      sign:\n"
            f"        key: gcpkms://{name}/cryptoKeyVersions/1\n"
            f"        address: http://127.0.0.1:{kms.port}\n"
        )

    written(other)
    kms.seen.clear()
    done = run("sign", model, "--zone", "eu", "--project", tmp_path)
    assert done.returncode == 20, done
    assert "has another key than sign-public" in done.stderr
    assert "sovgate.yaml:7" in done.stderr
    assert {call for call, _ in kms.seen} == {"GetPublicKey"}
    assert not (tmp_path / "model.evidence").exists()
    written(name)
    done = run("sign", model, "--key", f"gcpkms://{name}/cryptoKeyVersions/1", cwd=tmp_path)
    assert done.returncode == 0, done
    assert run("verify", model, "--project", tmp_path).returncode == 0


def test_keys_show_says_how_a_key_is_kept(kms: GoogleKms) -> None:
    for algorithm in (SIGN, WRAP, RSA):
        name = kms.make(algorithm, level="HSM")
        done = run("keys", "show", kms.uri(f"{name}/cryptoKeyVersions/1"))
        assert done.returncode == 0, done
        assert "Google Cloud KMS in gcp:europe-west3" in done.stdout
        assert "HSM" in done.stdout
    assert "GetCryptoKey" not in {call for call, name in kms.seen if name.endswith("key-0")}
