"""What a key service, a token or a file of credentials may say, and never breaks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sovgate.clouds import github
from sovgate.clouds.google import credentials
from sovgate.clouds.tokens import json_object
from sovgate.errors import KeyServiceError
from sovgate.keys.gcpkms import version as gcpkms
from sovgate.keys.pkcs11 import objects, process

FEDERATED = {
    "type": "external_account",
    "audience": "CANARY",
    "token_url": "https://sts.googleapis.com/v1/token",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
}
GITHUB = "https://x.actions.githubusercontent.com"


@pytest.mark.parametrize(
    "source",
    [
        {"executable": {"command": "/bin/sh"}},
        {"url": "https://evil.example/"},
        {"url": f"{GITHUB}@evil.example/"},
        {"url": "https://[::1"},
        {"url": f"{GITHUB}/a b"},
        {"url": GITHUB, "headers": {"a": "b\r\nc: d"}},
        {"url": GITHUB, "headers": {"a: b": "c"}},
        {"file": "a\0b"},
        {"file": "\ud800"},
    ],
)
def test_a_file_of_credentials_that_leads_elsewhere_or_nowhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: dict[str, Any]
) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({**FEDERATED, "credential_source": source}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(KeyServiceError) as caught:
        credentials.tokens("gcp", "googleapis.com", KeyServiceError)()
    assert caught.value.reason == "credentials"
    assert "CANARY" not in f"{caught.value.what}{caught.value.why}{caught.value.fix}"


@pytest.mark.parametrize("url", ["https://[::1", f"{GITHUB}@evil.example/", f"{GITHUB}/a b"])
def test_a_job_asks_nobody_but_github_for_its_token(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "CANARY")
    with pytest.raises(KeyServiceError) as caught:
        github.job_token("https://bao.example.eu", KeyServiceError)
    assert caught.value.reason == "credentials"


def test_a_version_of_thousands_of_digits_is_another_key() -> None:
    with pytest.raises(KeyServiceError) as caught:
        gcpkms.compare("k", f"k/cryptoKeyVersions/{'1' * 5000}", version=True)
    assert caught.value.reason == "wrong-key"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("06072a8648ce3d0201", "06072a8648ce3d0209"),  # an algorithm that nobody knows
        ("06082a8648ce3d030107", "06082a8648ce3d030177"),  # a curve that nobody knows
    ],
)
def test_a_certificate_of_a_key_that_nobody_knows_is_told(old: str, new: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    with pytest.raises(KeyServiceError) as caught:
        objects._of_certificate(made.replace(bytes.fromhex(old), bytes.fromhex(new)), "pkcs11:x")
    assert caught.value.reason == "bad-answer"


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A module that hangs in small steps hangs."""
    now = 0.0

    class Slow:
        def settimeout(self, seconds: float) -> None:
            assert seconds > 0

        def recv(self, _: int) -> bytes:
            nonlocal now
            now += process.TIMEOUT / 3
            return b"\0"

    monkeypatch.setattr(process, "_clock", lambda: now)
    held = process.Process.__new__(process.Process)
    held._channel, held._key = Slow(), "pkcs11:x"  # type: ignore[assignment]
    with pytest.raises(KeyServiceError) as caught:
        held._hear("sign with")
    assert caught.value.reason == "timed-out"


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "authorized_user", "type": "external_account"}',
        b'{"credential_source": {"url": "https://a.example", "url": "https://b.example"}}',
        b"[]",
        b"{" * 100_000,
    ],
)
def test_rule_3_what_says_something_twice_says_nothing(data: bytes) -> None:
    assert json_object(data) is None
    assert json_object(b'{"a": {"b": 1}, "b": 2}') == {"a": {"b": 1}, "b": 2}
