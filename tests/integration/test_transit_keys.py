"""Keys in a real OpenBao: logins, namespaces, versions, and what its operators can do wrong."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate.errors import ConfigError, SovgateError, VerificationFailed
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.transport import runs
from tests import commands, openbao, pace
from tests.certificates import issue
from tests.lyingbao import lying
from tests.openbao import Bao, Issuer
from tests.signers import KeySigner

KEY = bytes(range(32))
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
BASE = Path()
REVOKE = ("auth/token/revoke-self", "update")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None but those that a test sets; and what a test logged in to is given back."""
    for name in list(os.environ):
        if name.startswith(("BAO_", "VAULT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")
    yield
    runs.end()


@pytest.fixture
def bao() -> Bao:
    return openbao.here()


def _rules(bao: Bao, name: str, *operations: str) -> list[tuple[str, str]]:
    return [
        (f"{bao.mount}/keys/{name}", "read"),
        *((f"{bao.mount}/{operation}/{name}", "update") for operation in operations),
    ]


def _signs(uri: str) -> None:
    signer = registry.open_signer(uri, BASE)
    signer.public_key.verify(b"message", signer.sign(b"message"))


def _refused(uri: str, use: Callable[[str], object] = _signs) -> SovgateError:
    with pytest.raises(SovgateError) as caught:
        use(uri)
    return caught.value


# --- tokens, and what they may do ------------------------------------------------------------


def test_a_token_with_the_documented_policy_is_enough(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, wraps = bao.key("ecdsa-p256"), bao.key("aes256-gcm96")
    rules = [*_rules(bao, name, "sign"), *_rules(bao, wraps, "encrypt", "decrypt")]
    monkeypatch.setenv("BAO_TOKEN", bao.given(*rules, no_default_policy=True))
    _signs(bao.uri(name))
    wrapped = registry.open_recipient(bao.uri(wraps), BASE).wrap(KEY, CONTEXT)
    assert registry.open_identity(bao.uri(wraps), BASE).unwrap(wrapped, CONTEXT) == KEY


def test_a_token_without_permission_is_told_the_policy_to_paste(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    monkeypatch.setenv("BAO_TOKEN", bao.given((f"transit/keys/{name}", "read")))
    error = _refused(bao.uri(name))
    assert (error.reason, int(error.exit_code)) == ("access-denied", 20)
    assert "default" in str(error.why)
    assert error.details[1] == f'  path "transit/sign/{name}" {{ capabilities = ["update"] }}'
    # And that policy is the one that was lacking.
    rule = (f"transit/sign/{name}", "update")
    monkeypatch.setenv("BAO_TOKEN", bao.given((f"transit/keys/{name}", "read"), rule))
    _signs(bao.uri(name))


@pytest.mark.parametrize("token", ["s.UnknownUnknownUnknown", "revoked"])
def test_a_token_that_is_not_valid_is_told_apart_from_one_that_may_not(
    bao: Bao, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    name = bao.key("ecdsa-p256")
    if token == "revoked":
        token = bao.given(*_rules(bao, name, "sign"))
        bao.ask("POST", "auth/token/revoke", {"token": token})
    monkeypatch.setenv("BAO_TOKEN", token)
    error = _refused(bao.uri(name))
    assert (error.reason, int(error.exit_code)) == ("bad-credentials", 20)
    assert "log in again" in str(error.fix)


def test_each_scheme_reads_the_variables_of_its_own_tools(
    bao: Bao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = bao.key("ecdsa-p256")
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    _signs(bao.uri(name, "hashivault"))
    _signs(bao.uri(name, "openbao"))
    monkeypatch.setenv("BAO_TOKEN", "s.wrong")
    assert _refused(bao.uri(name, "openbao")).reason == "bad-credentials"
    _signs(bao.uri(name, "hashivault"))
    monkeypatch.delenv("BAO_TOKEN")
    monkeypatch.delenv("VAULT_TOKEN")
    (tmp_path / "token").write_text(f"{bao.token}\n")
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("BAO_TOKEN_FILE", str(tmp_path / "token"))
    _signs(bao.uri(name, "openbao"))
    assert _refused(bao.uri(name, "hashivault")).reason == "no-credentials"


def test_a_profile_has_credentials_of_its_own(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    name = bao.key("ecdsa-p256")
    monkeypatch.setenv("BAO_TOKEN", "s.of-another-server")
    monkeypatch.setenv("BAO_ADDR", "https://bao.example.us:8200")
    monkeypatch.setenv("EU_WEST_BAO_TOKEN", bao.token)
    _signs(bao.uri(name, profile="eu-west"))
    monkeypatch.setenv("EU_WEST_BAO_ADDR", "https://bao.example.us:8200")
    assert _refused(bao.uri(name, profile="eu-west")).reason == "address-elsewhere"


def test_without_credentials_it_says_how_one_logs_in(bao: Bao) -> None:
    error = _refused(bao.uri(bao.key("ecdsa-p256")))
    assert (error.reason, int(error.exit_code)) == ("no-credentials", 20)
    assert "BAO_TOKEN_FILE=$HOME/.vault-token" in str(error.fix)


# --- the place -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BAO_ADDR", "https://bao.example.us:8200"),
        ("VAULT_ADDR", "https://bao.example.us:8200"),
        ("BAO_AGENT_ADDR", "https://bao.example.us:8200"),
        ("VAULT_AGENT_ADDR", "http://127.0.0.1:8100"),
        ("BAO_NAMESPACE", "other"),
        ("VAULT_NAMESPACE", "other/"),
        ("TRANSIT_SECRET_ENGINE_PATH", "other"),
    ],
)
def test_rule_36_a_variable_that_names_another_place_stops_it(
    bao: Bao, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    name = bao.key("ecdsa-p256")
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    monkeypatch.setenv(variable, value)
    error = _refused(bao.uri(name))
    assert (error.reason, int(error.exit_code)) == ("address-elsewhere", 3)
    assert variable in error.what


def test_variables_that_name_the_same_place_change_nothing(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    monkeypatch.setenv("BAO_ADDR", bao.url + "/")
    monkeypatch.setenv("BAO_NAMESPACE", "root")
    monkeypatch.setenv("TRANSIT_SECRET_ENGINE_PATH", "transit")
    _signs(bao.uri(name))


def test_without_an_address_that_of_a_variable_is_offered_and_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BAO_ADDR", "https://bao.example.eu:8200")
    error = _refused("openbao://churn")
    assert (error.reason, int(error.exit_code)) == ("no-address", 3)
    assert "address: https://bao.example.eu:8200" in str(error.fix)


def test_a_key_of_a_namespace_is_another_than_that_of_its_parent(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = bao.below(f"team-{secrets.token_hex(4)}")
    deep = team.below("ml")
    name = deep.key("ecdsa-p256")
    monkeypatch.setenv("BAO_TOKEN", deep.given(*_rules(deep, name, "sign")))
    _signs(deep.uri(name))
    assert _refused(team.uri(name)).reason in ("access-denied", "bad-credentials")
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    assert _refused(team.uri(name)).reason == "no-such-key"
    by_path = bao.uri(name, mount=f"{deep.namespace}/transit").replace("mount=transit&", "")
    assert registry.canonical(by_path, BASE) == registry.canonical(deep.uri(name), BASE)
    assert (
        registry.open_public(by_path, BASE).key_id
        == registry.open_public(deep.uri(name), BASE).key_id
    )


def test_a_namespace_mount_or_key_that_is_not_there_is_named(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key("ecdsa-p256")
    for uri, reason in (
        (bao.uri(name, namespace="nowhere"), "no-such-namespace"),
        (bao.uri(name).replace("mount=transit", "mount=nowhere"), "no-such-mount"),
        (bao.uri("nobody"), "no-such-key"),
    ):
        error = _refused(uri)
        assert (error.reason, int(error.exit_code)) == (reason, 20)
        assert error.fix


def test_a_key_that_is_not_there_is_not_made(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine makes a key for whoever encrypts with one that it does not have."""
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    error = _refused(bao.uri("misspelt"), lambda uri: registry.open_recipient(uri, BASE))
    assert error.reason == "no-such-key"
    assert _refused(bao.uri("misspelt")).reason == "no-such-key"


def test_a_key_of_any_other_kind_is_refused_before_it_is_used(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("ed25519", {}),
        ("chacha20-poly1305", {}),
        ("aes128-gcm96", {}),
        ("aes256-gcm96", {"derived": True}),
    ]
    for kind, more in kinds:
        uri = bao.uri(bao.key(kind, **more))
        uses: list[Callable[[str], object]] = [
            _signs,
            lambda uri: registry.open_recipient(uri, BASE),
            lambda uri: registry.open_identity(uri, BASE),
        ]
        for use in uses:
            error = _refused(uri, use)
            assert (type(error), error.reason) == (ConfigError, "unsupported-key-use")


# --- versions --------------------------------------------------------------------------------


def test_the_latest_version_signs_or_the_pinned_one(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key("ecdsa-p384")
    signer = registry.open_signer(bao.uri(name), BASE)
    bao.rotate(name)
    # One that was opened before the rotation goes on with the version that it found.
    signer.public_key.verify(b"m", signer.sign(b"m"))
    first, second = (registry.open_signer(bao.uri(name, version=n), BASE) for n in (1, 2))
    assert signer.public_key == first.public_key != second.public_key
    assert registry.open_signer(bao.uri(name), BASE).public_key == second.public_key
    assert "v1" in repr(first)
    first.public_key.verify(b"m", first.sign(b"m"))
    with pytest.raises(VerificationFailed):
        second.public_key.verify(b"m", first.sign(b"m"))


def test_a_version_that_is_not_there_or_shut_is_told(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key("ecdsa-p256")
    assert "the latest is 1" in str(_refused(bao.uri(name, version=2)).why)
    bao.rotate(name)
    signer = registry.open_signer(bao.uri(name, version=1), BASE)
    bao.configure(name, min_encryption_version=2)
    for error in (
        _refused(bao.uri(name, version=1)),
        _refused("", lambda _: signer.sign(b"m")),  # it was opened before
    ):
        assert (error.reason, int(error.exit_code)) == ("key-version", 20)
    _signs(bao.uri(name))


@pytest.mark.parametrize("kind", ["aes256-gcm96", "rsa-2048"])
def test_what_was_wrapped_before_a_rotation_opens_until_its_version_is_shut(
    bao: Bao, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key(kind)
    old = registry.open_recipient(bao.uri(name), BASE)
    wrapped = old.wrap(KEY, CONTEXT)
    bao.rotate(name)
    new = registry.open_recipient(bao.uri(name), BASE)
    # A symmetric key is one key through its versions; each version of an RSA key is a key.
    assert (new.key_id == old.key_id) == (kind == "aes256-gcm96")
    pinned = {"version": 1} if kind == "rsa-2048" else {}
    identity = registry.open_identity(bao.uri(name, **pinned), BASE)
    assert identity.key_id == old.key_id
    assert identity.unwrap(wrapped, CONTEXT) == KEY
    bao.configure(name, min_encryption_version=2)  # which shuts it for wrapping alone
    shut = registry.open_identity(bao.uri(name, version=1), BASE)
    assert shut.unwrap(wrapped, CONTEXT) == KEY
    unwrapping = _refused(bao.uri(name, version=1), lambda uri: registry.open_recipient(uri, BASE))
    assert unwrapping.reason == "key-version"
    bao.configure(name, min_decryption_version=2)
    error = _refused("", lambda _: identity.unwrap(wrapped, CONTEXT))
    assert (error.reason, int(error.exit_code)) == ("key-version", 20)
    assert f"bao write transit/keys/{name}/config min_decryption_version=1" in str(error.fix)
    if kind == "aes256-gcm96":  # and it is told without asking, where the key says so
        again = registry.open_identity(bao.uri(name), BASE)
        assert _refused("", lambda _: again.unwrap(wrapped, CONTEXT)).reason == "key-version"
    bao.configure(name, min_decryption_version=1)
    assert identity.unwrap(wrapped, CONTEXT) == KEY


def test_a_key_that_was_marked_as_deleted_says_so(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key("ecdsa-p256")
    signer = registry.open_signer(bao.uri(name), BASE)
    bao.ask("DELETE", f"transit/keys/{name}/soft-delete")
    for error in (_refused(bao.uri(name)), _refused("", lambda _: signer.sign(b"m"))):
        assert (error.reason, int(error.exit_code)) == ("key-disabled", 20)


def test_rsa_wraps_without_a_request_and_by_the_exported_half_too(
    bao: Bao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key("rsa-3072")
    with lying(bao.url) as server:
        uri = bao.uri(name).replace(bao.url, server.url)
        (tmp_path / "eu.pub.pem").write_bytes(registry.open_public(uri, BASE).pem)
        recipient = registry.open_recipient(uri, BASE)
        before = len(server.seen)
        wrapped = recipient.wrap(KEY, CONTEXT)
        assert len(server.seen) == before
    sender = registry.open_recipient("eu.pub.pem", tmp_path)
    identity = registry.open_identity(bao.uri(name), BASE)
    assert sender.key_id == identity.key_id
    for each in (wrapped, sender.wrap(KEY, CONTEXT)):
        assert identity.unwrap(each, CONTEXT) == KEY


# --- logins ----------------------------------------------------------------------------------


def _approle(bao: Bao, *rules: tuple[str, str], **more: Any) -> tuple[str, str, str]:
    """A role; its name, id and a secret id."""
    bao.mounted("approle", "approle", under="sys/auth")
    role = f"r-{secrets.token_hex(4)}"
    asked = {"token_policies": [bao.policy(*rules, REVOKE)], "token_ttl": "5m", **more}
    bao.ask("POST", f"auth/approle/role/{role}", asked)
    there = f"auth/approle/role/{role}"
    return (
        role,
        bao.ask("GET", f"{there}/role-id")["data"]["role_id"],
        bao.ask("POST", f"{there}/secret-id", {})["data"]["secret_id"],
    )


def test_an_approle_logs_in_once_a_run_and_gives_its_token_back(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = bao.below(f"team-{secrets.token_hex(4)}")
    name, wraps = team.key("ecdsa-p256"), team.key("aes256-gcm96")
    rules = [*_rules(team, name, "sign"), *_rules(team, wraps, "encrypt")]
    _, role_id, secret_id = _approle(team, *rules, token_no_default_policy=True)
    monkeypatch.setenv("BAO_ROLE_ID", role_id)
    monkeypatch.setenv("BAO_SECRET_ID", secret_id)
    with lying(bao.url) as server:
        with runs.run():
            _signs(team.uri(name).replace(bao.url, server.url))
            uri = team.uri(wraps, login="approle").replace(bao.url, server.url)
            registry.open_recipient(uri.replace("&login=approle", ""), BASE).wrap(KEY, CONTEXT)
            token = server.seen[-1].headers["x-vault-token"]
            assert bao.alive(token)
        assert not bao.alive(token)
        assert len(server.asked("/login")) == len(server.asked("revoke-self")) == 1
        assert {one.headers["x-vault-namespace"] for one in server.seen} == {team.namespace}


def test_a_token_of_few_uses_is_fetched_anew_when_they_are_used_up(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    _, role_id, secret_id = _approle(bao, *_rules(bao, name, "sign"), token_num_uses=2)
    monkeypatch.setenv("BAO_ROLE_ID", role_id)
    monkeypatch.setenv("BAO_SECRET_ID", secret_id)
    with runs.run():
        for _ in range(3):
            _signs(bao.uri(name))


def test_eight_requests_at_once_take_no_use_of_a_token_that_it_lacks(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread logs in anew the others' requests go through with the token that they have.

    A use too many would be answered as if the token might not do this.
    """
    name = bao.key("aes256-gcm96")
    rules = _rules(bao, name, "encrypt", "decrypt")
    _, role_id, secret_id = _approle(bao, *rules, token_num_uses=3)
    monkeypatch.setenv("BAO_ROLE_ID", role_id)
    monkeypatch.setenv("BAO_SECRET_ID", secret_id)
    start = threading.Barrier(8, timeout=pace.HANG)
    with runs.run():
        wrapped = registry.open_recipient(bao.uri(name), BASE).wrap(KEY, CONTEXT)
        identity = registry.open_identity(bao.uri(name), BASE)

        def ask(_: int) -> bytes:
            start.wait()
            return identity.unwrap(wrapped, CONTEXT)

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(24))) == [KEY] * 24


def test_a_wrapped_secret_id_opens_once_and_one_that_was_opened_raises_alarm(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    role, role_id, _ = _approle(bao, *_rules(bao, name, "sign"))

    def wrapped(path: str) -> str:
        answer = bao.ask("POST", path, {}, **{"X-Vault-Wrap-TTL": "60"})
        token: str = answer["wrap_info"]["token"]
        return token

    monkeypatch.setenv("BAO_ROLE_ID", role_id)
    monkeypatch.setenv("BAO_WRAPPED_SECRET_ID", wrapped(f"auth/approle/role/{role}/secret-id"))
    with runs.run():
        _signs(bao.uri(name))
        _signs(bao.uri(name, login="approle"))  # another login, with the same secret id
    error = _refused(bao.uri(name))  # in a later run, or by somebody else
    assert (error.reason, int(error.exit_code)) == ("wrapping-token", 20)
    assert "somebody else has the secret id" in str(error.why)
    monkeypatch.setenv("BAO_WRAPPED_SECRET_ID", wrapped("auth/token/create"))
    assert "holds no secret id" in _refused(bao.uri(name)).what


def test_an_approle_that_is_not_let_in_is_told_what_to_do(
    bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bao.key("ecdsa-p256")
    _, role_id, secret_id = _approle(bao, *_rules(bao, name, "sign"))
    uri = bao.uri(name, login="approle")
    assert "BAO_ROLE_ID is not set" in str(_refused(uri).why)
    monkeypatch.setenv("BAO_ROLE_ID", role_id)
    assert "BAO_SECRET_ID is not set" in str(_refused(uri).why)
    monkeypatch.setenv("BAO_SECRET_ID", "wrong")
    error = _refused(uri)
    assert (error.reason, int(error.exit_code)) == ("bad-credentials", 20)
    assert "bao write -f auth/approle/role/ROLE/secret-id" in str(error.fix)
    monkeypatch.setenv("BAO_SECRET_ID", secret_id)
    _signs(uri)
    elsewhere = _refused(bao.uri(name, login="approle", login_mount="nowhere"))
    assert "nothing is mounted there" in str(elsewhere.why)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer.new()


def _jwt_role(bao: Bao, issuer: Issuer, *rules: tuple[str, str], audience: str) -> str:
    bao.mounted("jwt", "jwt", under="sys/auth")
    bao.ask(
        "POST",
        "auth/jwt/config",
        {"jwt_validation_pubkeys": [issuer.pem], "bound_issuer": issuer.name},
    )
    role = f"r-{secrets.token_hex(4)}"
    asked = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [audience]}
    asked |= {"token_policies": [bao.policy(*rules, REVOKE)], "token_ttl": "60"}
    bao.ask("POST", f"auth/jwt/role/{role}", asked)
    return role


def test_a_job_logs_in_with_its_platforms_token(
    bao: Bao, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = bao.key("ecdsa-p256")
    role = _jwt_role(bao, issuer, *_rules(bao, name, "sign"), audience=bao.url)
    uri = bao.uri(name, login="jwt", role=role)
    assert "neither BAO_JWT nor BAO_JWT_FILE is set" in str(_refused(uri).why)
    (tmp_path / "jwt").write_text(issuer.token("repo:bank/churn", bao.url))
    (tmp_path / "jwt").chmod(0o600)
    monkeypatch.setenv("BAO_JWT_FILE", str(tmp_path / "jwt"))
    with runs.run():
        _signs(uri)
    for token, said in (
        (issuer.token("repo:bank/churn", "https://other.example"), "https://other.example"),
        (issuer.token("repo:bank/churn", bao.url, lasts=-600), "has run out"),
        (Issuer.new().token("repo:bank/churn", bao.url), "signature"),
    ):
        (tmp_path / "jwt").write_text(token)
        error = _refused(uri)
        assert (error.reason, int(error.exit_code)) == ("bad-credentials", 20)
        assert said in str(error.why)
    (tmp_path / "jwt").write_text(issuer.token("repo:bank/churn", bao.url))
    missing = _refused(bao.uri(name, login="jwt", role="nobody"))
    assert "there is no role 'nobody'" in str(missing.why)


class _Cluster(ThreadingHTTPServer):
    """As much of a Kubernetes API server as OpenBao asks: it reviews tokens, and really checks
    who signed them and for whom."""

    daemon_threads = True

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(("127.0.0.1", 0), _Review)
        self.issuer = issuer


class _Review(BaseHTTPRequestHandler):
    server: _Cluster

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        spec = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["spec"]
        status = self._status(spec["token"], spec.get("audiences") or [])
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        body = json.dumps({**review, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, token: str, audiences: list[str]) -> dict[str, Any]:
        import base64

        def part(text: str) -> bytes:
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

        head, claims, signature = token.split(".")
        raw = part(signature)
        der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        public = self.server.issuer.key.public_key()
        try:
            public.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return {"authenticated": False, "error": "invalid signature"}
        told = json.loads(part(claims))
        if audiences and not set(audiences) & set(told["aud"]):
            return {"authenticated": False, "error": "token audiences are invalid"}
        user = {"username": told["sub"], "uid": "u1", "groups": []}
        return {"authenticated": True, "user": user, "audiences": audiences or told["aud"]}


@contextlib.contextmanager
def _cluster(issuer: Issuer) -> Iterator[str]:
    server = _Cluster(issuer)
    thread = threading.Thread(target=server.serve_forever, args=(pace.SOON,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _any_ca() -> str:
    key = KeySigner()
    made = issue("ca", key, "ca", key, ca=True)
    return made.public_bytes(Encoding.PEM).decode()


def test_a_pod_logs_in_with_its_service_account(
    bao: Bao, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    team = bao.below(f"team-{secrets.token_hex(4)}")
    name = team.key("ecdsa-p256")
    team.mounted("kubernetes", "kubernetes", under="sys/auth")
    account = {"namespace": "ml", "serviceaccount": {"name": "gate", "uid": "u1"}}

    def token(audience: str, by: Issuer = issuer) -> str:
        return by.token("system:serviceaccount:ml:gate", audience, **{"kubernetes.io": account})

    with _cluster(issuer) as cluster:
        team.ask(
            "POST",
            "auth/kubernetes/config",
            {
                "kubernetes_host": cluster,
                "kubernetes_ca_cert": _any_ca(),  # it asks for one, and for http: uses none
                "disable_local_ca_jwt": True,
            },
        )
        team.ask(
            "POST",
            "auth/kubernetes/role/gate",
            {
                "bound_service_account_names": "gate",
                "bound_service_account_namespaces": "ml",
                "audience": "bao",
                "token_policies": [team.policy(*_rules(team, name, "sign"), REVOKE)],
                "token_ttl": "60",
            },
        )
        uri = team.uri(name, login="kubernetes", role="gate")
        assert "serviceaccount/token" in str(_refused(uri).why)
        (tmp_path / "token").write_text(token("bao"))
        (tmp_path / "token").chmod(0o600)
        monkeypatch.setenv("BAO_JWT_FILE", str(tmp_path / "token"))
        with runs.run():
            _signs(uri)
        for other in (token("https://kubernetes.default.svc"), token("bao", Issuer.new())):
            (tmp_path / "token").write_text(other)
            error = _refused(uri)
            assert (error.reason, int(error.exit_code)) == ("bad-credentials", 20)
        (tmp_path / "token").write_text(token("bao"))
        missing = _refused(team.uri(name, login="kubernetes", role="nobody"))
        assert "there is no role 'nobody'" in str(missing.why)


def test_a_login_by_kubernetes_or_jwt_names_its_role() -> None:
    for how in ("kubernetes", "jwt"):
        error = _refused(f"openbao://churn?address=https://bao.example.eu&login={how}")
        assert (type(error), error.reason) == (ConfigError, "bad-uri")
        assert "role" in str(error.fix)


# --- by hand ---------------------------------------------------------------------------------


def test_keys_show_writes_the_public_half_of_a_version(
    bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAO_TOKEN", bao.token)
    name = bao.key("ecdsa-p256")
    shown = commands.run("keys", "show", bao.uri(name), "-o", "eu.pub.pem", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    public = registry.open_public("eu.pub.pem", tmp_path)
    assert public == registry.open_public(bao.uri(name), BASE)
