"""A server of Vault's protocol that lies: before it stands a real one, with real keys."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import KeyServiceError, ResidencyMismatch, SovgateError
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.transport import runs
from tests import openbao
from tests.effort import examples
from tests.forked import SOVGATE
from tests.lyingbao import Asked, Lie, LyingBao, Told, lying, refusal
from tests.openbao import Bao

KEY = bytes(range(32))
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
BASE = Path()
#: Each is looked for in all that a command says and writes.
TOKEN = "s.CANARY" + "t0kenT0ken" * 2


@pytest.fixture(autouse=True)
def _one_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("BAO_", "VAULT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("BAO_TOKEN", openbao.here().token)
    yield
    runs.end()


@pytest.fixture
def bao() -> Bao:
    return openbao.here()


@pytest.fixture
def server(bao: Bao) -> Iterator[LyingBao]:
    with lying(bao.url) as made:
        yield made


def _uri(bao: Bao, server: LyingBao, name: str, **settings: str) -> str:
    return replace(bao, url=server.url).uri(name, **settings)


def _use(uri: str) -> None:
    """Whatever the key is for, done."""
    try:
        signer = registry.open_signer(uri, BASE)
    except SovgateError as error:
        if error.reason != "unsupported-key-use":
            raise
        wrapped = registry.open_recipient(uri, BASE).wrap(KEY, CONTEXT)
        assert registry.open_identity(uri, BASE).unwrap(wrapped, CONTEXT) == KEY
    else:
        signer.public_key.verify(b"message", signer.sign(b"message"))


def _refused(uri: str) -> SovgateError:
    with pytest.raises(SovgateError) as caught:
        _use(uri)
    return caught.value


def _where(path: str, change: Callable[[Told], Told]) -> Lie:
    return lambda asked, told: change(told) if f"/{path}/" in f"/{asked.path}" else told


def _saying(path: str, **fields: Any) -> Lie:
    return _where(path, lambda told: told.with_data(**fields))


# --- what it says of a key -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "another"}, "wrong-key"),
        ({"name": None}, "wrong-key"),
        ({"type": "rsa-2048"}, "wrong-key"),
        ({"type": "ecdsa-p384"}, "wrong-key"),
        ({"type": "aes256-gcm96"}, "refused"),
        ({"type": 7}, "bad-answer"),
        ({"type": None}, "bad-answer"),
        ({"latest_version": 2}, "bad-answer"),
        ({"latest_version": 0}, "bad-answer"),
        ({"latest_version": True}, "bad-answer"),
        ({"latest_version": "1"}, "bad-answer"),
        ({"latest_version": 10**12}, "bad-answer"),
        ({"min_decryption_version": -1}, "bad-answer"),
        ({"keys": []}, "bad-answer"),
        ({"keys": {}}, "bad-answer"),
        ({"keys": {"one": {}}}, "bad-answer"),
        ({"keys": {"1": {"public_key": "-----BEGIN PUBLIC KEY-----"}}}, "bad-key"),
        ({"keys": {"1": {"public_key": 5}}}, "bad-answer"),
        ({"keys": {"1": 1795944354}}, "bad-answer"),
    ],
)
def test_a_description_of_another_key_or_of_none_is_refused(
    bao: Bao, server: LyingBao, fields: dict[str, Any], reason: str
) -> None:
    server.lie = _where("keys", lambda told: told.with_data(**fields))
    error = _refused(_uri(bao, server, bao.key("ecdsa-p256")))
    if reason == "refused":  # by the real server, which is asked to encrypt with it
        assert int(error.exit_code) == 20
    else:
        assert (type(error), error.reason) == (KeyServiceError, reason)
        assert not server.asked("/sign/"), "it was used before it was known"


def test_rule_10_a_signature_of_another_version_or_key_or_of_nothing_is_refused(
    bao: Bao, server: LyingBao
) -> None:
    name = bao.key("ecdsa-p256")
    uri = _uri(bao, server, name)
    true = registry.open_signer(bao.uri(name), BASE).sign(b"message")
    told = {
        "vault:v2:" + base64.b64encode(true).decode(): "wrong-key",
        "vault:v1:" + base64.b64encode(true).decode()[:-4]: "bad-signature",
        "vault:v1:" + base64.b64encode(bytes(64)).decode(): "bad-signature",
        "vault:v1:" + base64.b64encode(true + b"x").decode(): "bad-signature",
        "vault:v1:": "bad-answer",
        "vault:v01:" + base64.b64encode(true).decode(): "bad-answer",
        "vault:v1:" + base64.b64encode(true).decode() + "\n": "bad-answer",
        "v1:" + base64.b64encode(true).decode(): "bad-answer",
        "": "bad-answer",
    }
    for signature, reason in told.items():
        server.lie = _saying("sign", signature=signature)
        assert _refused(uri).reason == reason, signature
    odd: list[Any] = [None, 5, [], {"signature": "x"}]
    for value in odd:
        server.lie = _saying("sign", signature=value)
        assert _refused(uri).reason == "bad-answer"


def test_a_high_s_is_brought_into_the_one_form_that_is_ours(bao: Bao, server: LyingBao) -> None:
    from cryptography.hazmat.primitives.asymmetric import utils

    from sovgate.formats.spki import _CURVES

    name = bao.key("ecdsa-p521")
    order = _CURVES["ecdsa-p521-sha512"].order

    def high(told: Told) -> Told:
        r, s = utils.decode_dss_signature(base64.b64decode(told.json["data"]["signature"][9:]))
        der = utils.encode_dss_signature(r, max(s, order - s))
        return told.with_data(signature=f"vault:v1:{base64.b64encode(der).decode()}")

    server.lie = _where("sign", high)
    signer = registry.open_signer(_uri(bao, server, name), BASE)
    _, s = utils.decode_dss_signature(signer.sign(b"message"))
    assert s <= order // 2


def test_a_release_key_that_comes_back_unwrapped_goes_nowhere(bao: Bao, server: LyingBao) -> None:
    """In the clear, in its middle, in the form of a ciphertext; and one of another version."""
    plain = bytes(12) + KEY + bytes(48)
    for raw, version, reason in (
        (KEY, 1, "bad-answer"),
        (plain, 1, "bad-answer"),
        (bytes(91), 1, "bad-answer"),
        (bytes(92), 2, "wrong-key"),
    ):
        text = f"vault:v{version}:{base64.b64encode(raw).decode()}"
        server.lie = _saying("encrypt", ciphertext=text)
        error = _refused(_uri(bao, server, bao.key("aes256-gcm96")))
        assert error.reason == reason
        assert base64.b64encode(KEY).decode() not in f"{error} {error.why} {error.fix}"


def test_a_context_binds_where_the_engine_leaves_associated_data_out(
    bao: Bao, server: LyingBao
) -> None:
    """Engines of old do, and say nothing."""
    name = bao.key("aes256-gcm96")

    def without(asked: Asked, told: Told) -> Told:
        operation = next((o for o in ("encrypt", "decrypt") if f"/{o}/" in asked.path), None)
        if operation is None:
            return told
        body = {k: v for k, v in asked.json.items() if k != "associated_data"}
        answer = bao.ask("POST", f"transit/{operation}/{name}", body)
        return Told(status=200, body=json.dumps(answer).encode())

    server.lie = without
    uri = _uri(bao, server, name)
    wrapped = registry.open_recipient(uri, BASE).wrap(KEY, CONTEXT)
    identity = registry.open_identity(uri, BASE)
    assert identity.unwrap(wrapped, CONTEXT) == KEY
    other = Context(zone="us", release="kyc/1.0.0", manifest="ab" * 32).canonical()
    with pytest.raises(SovgateError) as caught:
        identity.unwrap(wrapped, other)
    assert caught.value.reason == "wrapped-key"


@pytest.mark.parametrize("kind", ["aes256-gcm96", "rsa-2048"])
def test_what_it_says_to_have_opened_is_looked_at(bao: Bao, server: LyingBao, kind: str) -> None:
    for plain, reason in (
        ("", "wrapped-key"),
        (base64.b64encode(KEY).decode(), "wrapped-key"),
        (base64.b64encode(bytes(64)).decode(), "wrapped-key"),
        ("no base64", "bad-answer"),
        (None, "bad-answer"),
        (7, "bad-answer"),
    ):
        server.lie = _saying("decrypt", plaintext=plain)
        error = _refused(_uri(bao, server, bao.key(kind)))
        assert error.reason == reason


# --- how it says it --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_rule_15_a_redirect_is_told_and_not_followed(
    bao: Bao, server: LyingBao, status: int
) -> None:
    with lying(bao.url) as other:
        there = Told(status=status, body=b"", headers=(("Location", f"{other.url}/v1/x"),))
        server.lie = lambda _, __: there
        error = _refused(_uri(bao, server, bao.key("ecdsa-p256")))
        assert (type(error), error.reason) == (ResidencyMismatch, "redirected")
        assert int(error.exit_code) == 12
        assert "standby" in str(error.why)
        assert other.url.removeprefix("http://") in str(error.why)
        assert not other.seen


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (refusal(503, "Vault is sealed"), "sealed"),
        (refusal(429, "rate limit quota exceeded"), "slow-down"),
        (refusal(500, "internal error"), "service"),
        (refusal(502), "no-answer"),
        (refusal(473), "no-answer"),
        (refusal(400, "unsupported"), "service"),
        (refusal(404), "no-such-key"),
        (refusal(418, "x" * 100_000), "service"),
        (Told(status=200, body=b""), "bad-answer"),
        (Told(status=204, body=b""), "bad-answer"),
        (Told(status=200, body=b"[]"), "bad-answer"),
        (Told(status=200, body=b"{"), "bad-answer"),
        (Told(status=200, body=b'{"data": 5}'), "bad-answer"),
        (Told(status=200, body=b'{"data": {"name": "a", "name": "b"}}'), "bad-answer"),
        (Told(status=200, body=b"[" * 100_000), "bad-answer"),
        (Told(status=200, body=b" " * (3 << 20)), "bad-answer"),
        (Told(status=404, body=b'{"errors": {"a": 1}}'), "no-such-key"),
        (Told(status=500, body=b'{"errors": ["\xff"]}'), "service"),
    ],
)
def test_whatever_it_answers_is_an_error_of_ours(
    bao: Bao, server: LyingBao, told: Told, reason: str
) -> None:
    name = bao.key("ecdsa-p256")
    server.lie = lambda _, __: told
    error = _refused(_uri(bao, server, name))
    assert error.reason == reason
    assert int(error.exit_code) == 20
    assert error.fix
    assert len(f"{error.what}{error.why}") < 1000
    tries = 4 if reason in ("slow-down", "no-answer") else 1
    assert len(server.seen) == tries


def test_no_answer_however_broken_is_a_defect_of_ours(bao: Bao, server: LyingBao) -> None:
    """Answers are cut, mixed and replaced, field by field, by seeds."""
    names = [bao.key(kind) for kind in ("ecdsa-p256", "aes256-gcm96")]
    odd: list[Any] = [None, True, -1, 2**60, 1.5, "", "x" * 5000, [], {}, [[]], "vault:v1:AAAA"]

    def broken(rng: random.Random, value: Any) -> Any:
        if isinstance(value, dict) and value and rng.random() < 0.8:
            name = rng.choice(sorted(value))
            return {**value, name: broken(rng, value[name])}
        return rng.choice(odd)

    for seed in range(examples(150)):
        rng = random.Random(seed)

        def lie(_: Asked, told: Told, rng: random.Random = rng) -> Told:
            kind = rng.random()
            if kind < 0.5:
                return told
            if kind < 0.6:
                return replace(told, body=told.body[: rng.randrange(len(told.body) + 1)])
            if kind < 0.7:
                return replace(told, status=rng.choice([200, 400, 403, 404, 500]))
            return replace(told, body=json.dumps(broken(rng, json.loads(told.body))).encode())

        server.lie = lie
        for name in names:
            try:
                _use(_uri(bao, server, name))
            except SovgateError as error:
                assert int(error.exit_code) in (11, 20), (seed, error)


# --- what nobody may see ---------------------------------------------------------------------


def test_rule_29_what_a_server_repeats_of_our_secrets_is_not_shown(
    bao: Bao, server: LyingBao, tmp_path: Path
) -> None:
    """It gives back, as its words, all that it was sent: whole and in pieces."""

    def echo(status: int) -> Lie:
        def lie(asked: Asked, _: Told) -> Told:
            sent = [*asked.headers.values(), asked.body.decode()]
            pieces = [f"policy for {text} is {text[:40]} {text[8:]}" for text in sent]
            return refusal(status, *pieces)

        return lie

    name = bao.key("ecdsa-p256")
    (tmp_path / "m").write_bytes(b"weights")
    given = {
        "token": {"BAO_TOKEN": TOKEN},
        "approle": {
            "BAO_ROLE_ID": "CANARY-role-0123456789",
            "BAO_SECRET_ID": "CANARY-secret-01234",
        },
        "wrapped": {"BAO_ROLE_ID": "CANARY-role-0123456789", "BAO_WRAPPED_SECRET_ID": TOKEN},
        "jwt": {"BAO_JWT": "CANARYhead.CANARYclaimsCANARY.CANARYsignature"},
    }
    for how, variables in given.items():
        more = {"login": "jwt", "role": "ci"} if how == "jwt" else {}
        uri = _uri(bao, server, name, **more)
        for status in (400, 403, 500):
            server.lie = echo(status)
            done = SOVGATE.run(
                *("sign", "m", "--key", uri, "-v"),
                cwd=tmp_path,
                env={**_clean(), **variables},
            )
            assert done.returncode == 20, done.stderr
            for canary in ("CANARY", "CANARY"[::-1]):
                assert canary not in done.stdout + done.stderr, done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"CANARY" not in path.read_bytes()


@pytest.mark.parametrize("where", ["name", "type", "policies", "location"])
def test_rule_29_a_token_that_comes_back_as_a_name_is_not_shown(
    bao: Bao, server: LyingBao, where: str
) -> None:
    token = bao.token

    def lie(asked: Asked, told: Told) -> Told:
        if where == "location":
            return Told(status=307, body=b"", headers=(("Location", f"https://{token}/v1"),))
        if where != "policies":
            return told.with_data(**{where: token})
        if "lookup-self" in asked.path:
            return told.with_data(policies=[token])
        return refusal(403, "permission denied")

    uri = _uri(bao, server, bao.key("ecdsa-p256"))
    server.lie = lie
    with pytest.raises(SovgateError) as caught:
        registry.open_signer(uri, BASE)
    assert token not in f"{caught.value}{vars(caught.value)}"


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_"))}


def test_rule_29_no_repr_or_error_has_a_token(bao: Bao, server: LyingBao) -> None:
    token = bao.token
    signer = registry.open_signer(_uri(bao, server, bao.key("ecdsa-p256")), BASE)
    server.lie = lambda asked, told: refusal(500, json.dumps(asked.headers))
    with pytest.raises(SovgateError) as caught:
        signer.sign(b"message")
    seen: list[BaseException | None] = [caught.value]
    while (error := seen[-1]) is not None:
        assert token not in repr(error) + str(vars(error))
        seen.append(error.__cause__ or error.__context__)
    assert token not in repr(signer) + repr(vars(signer))


def test_a_token_that_is_none_is_sent_nowhere(
    bao: Bao, server: LyingBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = _uri(bao, server, bao.key("ecdsa-p256"))
    for token in ("two words", "line\nbreak", "s.é", "x" * 20_000):
        monkeypatch.setenv("BAO_TOKEN", token)
        error = _refused(uri)
        assert (error.reason, int(error.exit_code)) == ("bad-credentials", 20)
        assert token not in f"{error.what}{error.why}{error.fix}"
    assert not server.seen


def test_nothing_is_asked_of_a_server_that_only_openbao_says(bao: Bao, server: LyingBao) -> None:
    """HashiCorp's own engine describes keys in the same words, and in fewer."""
    added = ("soft_deleted", "min_available_version", "imported_key", "auto_rotate_period")

    def fewer(asked: Asked, told: Told) -> Told:
        if "/keys/" in asked.path:
            keys = told.json["data"]["keys"]
            for one in keys.values():
                if isinstance(one, dict):
                    one.pop("certificate_chain", None)
            return told.with_data(keys=keys, **dict.fromkeys(added))
        return told.with_data(key_version=None)

    server.lie = fewer
    for kind in ("ecdsa-p256", "aes256-gcm96", "rsa-2048"):
        _use(_uri(bao, server, bao.key(kind)))


def test_a_refused_token_is_told_in_hashicorps_words_too(bao: Bao, server: LyingBao) -> None:
    said = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
    server.lie = lambda _, __: refusal(403, said)
    assert _refused(_uri(bao, server, bao.key("ecdsa-p256"))).reason == "bad-credentials"
