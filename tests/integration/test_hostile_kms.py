"""A KMS that lies: before it stands a real server of its protocol, with real keys."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from sovgate.errors import SovgateError
from sovgate.formats.spki import _CURVES
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from tests import servers
from tests.conformance.keys import kms_key
from tests.faultproxy import FaultProxy, between

ZONE = "aws:eu-central-1"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))
Json = dict[str, Any]
#: What tells the answers to the calls apart.
_MARKS = {
    "describe": "KeyMetadata",
    "public": "PublicKey",
    "sign": "Signature",
    "encrypt": "CiphertextBlob",
    "decrypt": "Plaintext",
}


@pytest.fixture(scope="module")
def keys(ministack: str) -> dict[str, str]:
    return {spec: kms_key(ministack, spec) for spec in ("ECC_NIST_P256", "SYMMETRIC_DEFAULT")} | {
        "RSA": kms_key(ministack, "RSA_2048"),
        "other": kms_key(ministack, "ECC_NIST_P256"),
    }


@pytest.fixture
def proxy(ministack: str) -> Iterator[FaultProxy]:
    with between(ministack) as made:
        yield made


def _arn(uri: str) -> str:
    return uri.removeprefix("awskms://").partition("/")[2]


def _lie(proxy: FaultProxy, call: str, change: Callable[[Json], Any]) -> None:
    """Every answer to `call` is changed: a dict goes out as JSON, bytes as they are."""

    def edit(answer: bytes) -> bytes:
        try:
            told = json.loads(answer)
        except ValueError:
            return answer
        if not isinstance(told, dict) or _MARKS[call] not in told:
            return answer
        changed = change(told)
        return changed if isinstance(changed, bytes) else json.dumps(changed).encode()

    proxy.edits("POST", edit)


def _use(proxy: FaultProxy, uri: str) -> None:
    at = f"awskms://127.0.0.1:{proxy.server_port}/{_arn(uri)}"
    try:
        signer = registry.open_signer(at, Path(), ZONE)
    except SovgateError as error:
        if error.reason != "unsupported-key-use":
            raise
        wrapped = registry.open_recipient(at, Path(), ZONE).wrap(KEY, CONTEXT)
        assert registry.open_identity(at, Path(), ZONE).unwrap(wrapped, CONTEXT) == KEY
    else:
        signer.public_key.verify(b"message", signer.sign(b"message"))


def _refused(proxy: FaultProxy, uri: str) -> SovgateError:
    with pytest.raises(SovgateError) as caught:
        _use(proxy, uri)
    assert int(caught.value.exit_code) in (3, 11, 12, 20), caught.value
    assert caught.value.fix
    return caught.value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    public = form.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(form.Encoding.DER, public)


def _metadata(**fields: Any) -> Callable[[Json], Json]:
    def change(told: Json) -> Json:
        inner = {**told["KeyMetadata"], **fields}
        return {"KeyMetadata": {k: v for k, v in inner.items() if v is not None}}

    return change


# -- what it says of a key


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda told: {}, "bad-answer"),
        (lambda told: {"KeyMetadata": None}, "bad-answer"),
        (lambda told: {"KeyMetadata": {}}, "wrong-key"),
        (lambda told: {"KeyMetadata": []}, "bad-answer"),
        (lambda told: {"KeyMetadata": "yes"}, "bad-answer"),
        (_metadata(Arn=None), "wrong-key"),
        (_metadata(Arn="arn:aws:kms:eu-central-1:000000000000:alias/x"), "wrong-key"),
        (_metadata(Arn=["a"]), "wrong-key"),
        (_metadata(Arn="a" * 9000), "wrong-key"),
        (_metadata(KeyState="Disabled"), "key-disabled"),
        (_metadata(KeyState=None), "key-disabled"),
        (_metadata(KeyState="enabled"), "key-disabled"),
        (_metadata(KeySpec="RSA_2048"), "unsupported-key-use"),
        (_metadata(KeySpec="ECC_SECG_P256K1"), "unsupported-key-use"),
        (_metadata(KeySpec="ECC_NIST_P384"), "wrong-key"),
        (_metadata(KeySpec=None), "unsupported-key-use"),
        (_metadata(KeyUsage="ENCRYPT_DECRYPT"), "unsupported-key-use"),
        (_metadata(KeyUsage="KEY_AGREEMENT"), "unsupported-key-use"),
        (_metadata(MultiRegion=True), "key-elsewhere"),
        (
            _metadata(
                MultiRegion=True,
                MultiRegionConfiguration={
                    "MultiRegionKeyType": "REPLICA",
                    "PrimaryKey": {"Arn": "x", "Region": "us-east-1"},
                    "ReplicaKeys": [{"Arn": "y", "Region": "eu-central-1"}],
                },
            ),
            "key-elsewhere",
        ),
    ],
)
def test_a_description_of_another_key_or_of_none_is_refused(
    proxy: FaultProxy, keys: dict[str, str], change: Callable[[Json], Any], reason: str
) -> None:
    _lie(proxy, "describe", change)
    assert _refused(proxy, keys["ECC_NIST_P256"]).reason == reason


@pytest.mark.parametrize(
    "part", [("eu-central-1", "us-east-1"), ("arn:aws:", "arn:aws-eusc:"), ("000000", "111111")]
)
def test_rule_10_a_key_of_another_region_partition_or_account_is_refused(
    proxy: FaultProxy, keys: dict[str, str], part: tuple[str, str]
) -> None:
    _lie(proxy, "describe", lambda told: json.loads(json.dumps(told).replace(*part)))
    error = _refused(proxy, keys["ECC_NIST_P256"])
    assert error.reason in ("key-elsewhere", "wrong-key")


def test_rule_10_a_replica_elsewhere_is_refused_whatever_the_rest_says(
    ministack: str, proxy: FaultProxy
) -> None:
    """The id of a multi-Region key, mrk-…, is one in every region that has a copy."""
    uri = kms_key(ministack, "ECC_NIST_P256", MultiRegion=True)
    assert ":key/mrk-" in uri
    here = {"Arn": _arn(uri), "Region": "eu-central-1"}
    for primary, replicas in (
        (here, [{"Arn": "x", "Region": "us-west-2"}]),
        ({"Arn": "x", "Region": "us-west-2"}, [here]),
        (here, [{"Arn": "x"}]),
    ):
        copies = {"MultiRegionKeyType": "PRIMARY", "PrimaryKey": primary, "ReplicaKeys": replicas}
        proxy.faults.clear()
        _lie(proxy, "describe", _metadata(MultiRegion=True, MultiRegionConfiguration=copies))
        assert _refused(proxy, uri).reason == "key-elsewhere"
    proxy.faults.clear()
    _use(proxy, uri)


# -- its public half and its signatures


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda der: _spki(ec.generate_private_key(ec.SECP256R1())), "bad-signature"),
        (lambda der: _spki(ec.generate_private_key(ec.SECP384R1())), "wrong-key"),
        (lambda der: _spki(rsa.generate_private_key(65537, 2048)), "wrong-key"),
        (lambda der: der[:-1], "bad-key"),
        (lambda der: der + b"\0", "bad-key"),
        (lambda der: b"", "bad-answer"),
        (lambda der: b"\0" * 70_000, "bad-key"),
        (lambda der: der[:-64] + bytes(64), "bad-key"),
    ],
)
def test_a_public_half_of_another_key_or_of_none_signs_nothing(
    proxy: FaultProxy, keys: dict[str, str], value: Callable[[bytes], bytes], reason: str
) -> None:
    def change(told: Json) -> Json:
        return told | {"PublicKey": _b64(value(base64.b64decode(told["PublicKey"])))}

    _lie(proxy, "public", change)
    assert _refused(proxy, keys["ECC_NIST_P256"]).reason == reason


def _raw(der: bytes) -> bytes:
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize(
    "value",
    [
        lambda der: der[:-1],
        lambda der: der[: len(der) // 2],
        lambda der: der + b"\0",
        lambda der: b"\x30\x81" + der[1:],
        _raw,
        lambda der: utils.encode_dss_signature(0, 1),
        lambda der: b"\0" * 70_000,
    ],
)
def test_a_signature_that_is_none_leaves_nothing(
    proxy: FaultProxy, keys: dict[str, str], value: Callable[[bytes], bytes]
) -> None:
    def change(told: Json) -> Json:
        return told | {"Signature": _b64(value(base64.b64decode(told["Signature"])))}

    _lie(proxy, "sign", change)
    assert _refused(proxy, keys["ECC_NIST_P256"]).reason in ("bad-signature", "bad-answer")


def test_a_signature_of_another_message_or_algorithm_is_refused(
    proxy: FaultProxy, keys: dict[str, str]
) -> None:
    first: list[str] = []

    def change(told: Json) -> Json:
        first.append(told["Signature"])
        return told | {"Signature": first[0], "SigningAlgorithm": "ECDSA_SHA_512"}

    _lie(proxy, "sign", change)
    at = f"awskms://127.0.0.1:{proxy.server_port}/{_arn(keys['ECC_NIST_P256'])}"
    signer = registry.open_signer(at, Path(), ZONE)
    signer.sign(b"one")
    with pytest.raises(SovgateError) as caught:
        signer.sign(b"another")
    assert caught.value.reason == "bad-signature"


def test_a_high_s_is_brought_into_the_one_form_that_is_ours(
    proxy: FaultProxy, keys: dict[str, str]
) -> None:
    order = _CURVES["ecdsa-p256-sha256"].order

    def change(told: Json) -> Json:
        r, s = utils.decode_dss_signature(base64.b64decode(told["Signature"]))
        return told | {"Signature": _b64(utils.encode_dss_signature(r, max(s, order - s)))}

    _lie(proxy, "sign", change)
    at = f"awskms://127.0.0.1:{proxy.server_port}/{_arn(keys['ECC_NIST_P256'])}"
    signer = registry.open_signer(at, Path(), ZONE)
    signature = signer.sign(b"m")
    signer.public_key.verify(b"m", signature)
    assert utils.decode_dss_signature(signature)[1] <= order // 2


@pytest.mark.parametrize("call", ["public", "sign", "encrypt", "decrypt"])
@pytest.mark.parametrize("said", [None, "", "bare", 7, "other", ["a"]])
def test_rule_10_an_answer_that_does_not_name_the_key_is_refused(
    proxy: FaultProxy, keys: dict[str, str], call: str, said: object
) -> None:
    uri = keys["ECC_NIST_P256" if call in ("public", "sign") else "SYMMETRIC_DEFAULT"]
    named = {"bare": _arn(uri).rpartition("/")[2], "other": _arn(keys["other"])}
    value = named.get(said, said) if isinstance(said, str) else said
    _lie(proxy, call, lambda told: {**told, "KeyId": value})
    assert _refused(proxy, uri).reason in ("wrong-key", "bad-answer")


# -- what it wraps and opens


@pytest.mark.parametrize(
    "blob", [KEY, b"", b"x" + KEY + b"x", KEY[::-1], b"\0" * 70_000], ids=lambda b: str(len(b))
)
def test_a_release_key_that_comes_back_unwrapped_goes_nowhere(
    proxy: FaultProxy, keys: dict[str, str], blob: bytes
) -> None:
    _lie(proxy, "encrypt", lambda told: told | {"CiphertextBlob": _b64(blob)})
    at = f"awskms://127.0.0.1:{proxy.server_port}/{_arn(keys['SYMMETRIC_DEFAULT'])}"
    recipient = registry.open_recipient(at, Path(), ZONE)
    if blob == KEY[::-1]:  # what it is nobody can tell, but for whoever opens it
        recipient.wrap(KEY, CONTEXT)
        return
    with pytest.raises(SovgateError) as caught:
        recipient.wrap(KEY, CONTEXT)
    assert int(caught.value.exit_code) == 20


@pytest.mark.parametrize("plain", [b"", KEY[:-1], KEY + b"\0", b"\0" * 70_000], ids=len)
@pytest.mark.parametrize("kind", ["SYMMETRIC_DEFAULT", "RSA"])
def test_what_it_says_to_have_opened_is_looked_at(
    proxy: FaultProxy, keys: dict[str, str], kind: str, plain: bytes
) -> None:
    _lie(proxy, "decrypt", lambda told: told | {"Plaintext": _b64(plain)})
    assert int(_refused(proxy, keys[kind]).exit_code) in (11, 20)


@pytest.mark.parametrize("kind", ["SYMMETRIC_DEFAULT", "RSA"])
def test_rule_10_an_alias_that_is_repointed_before_it_opens_opens_nothing(
    ministack: str, keys: dict[str, str], kind: str
) -> None:
    """It is another key, by which a receiver tells a wrong key from damage."""
    sdk, name = servers.sdk("kms", ministack), f"alias/opens-{kind.lower()}"
    spec = "RSA_2048" if kind == "RSA" else kind
    other = _arn(kms_key(ministack, spec))
    sdk.create_alias(AliasName=name, TargetKeyId=_arn(keys[kind]))
    uri = f"awskms://{ministack.removeprefix('http://')}/{name}"
    recipient = registry.open_recipient(uri, Path(), ZONE)
    wrapped = recipient.wrap(KEY, CONTEXT)
    sdk.update_alias(AliasName=name, TargetKeyId=other)
    identity = registry.open_identity(uri, Path(), ZONE)
    assert identity.key_id != recipient.key_id
    if kind == "RSA":  # ministack opens a symmetric one by the key that is named in it, as KMS does
        with pytest.raises(SovgateError) as caught:
            identity.unwrap(wrapped, CONTEXT)
        assert int(caught.value.exit_code) in (11, 20)


# -- whatever it answers


@pytest.mark.parametrize("call", ["describe", "public", "sign"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{",
        b"<html>200 OK</html>",
        b'{"__type": "AccessDeniedException", "message": "no"}',
        b'{"KeyId": "a", "KeyId": "b"}',
        b"[" * 100_000,
        b'{"KeyMetadata": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\xfe\0",
        b" " * 3_000_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_200_that_is_no_answer_is_an_error_of_ours(
    proxy: FaultProxy, keys: dict[str, str], call: str, body: bytes
) -> None:
    _lie(proxy, call, lambda _: body)
    error = _refused(proxy, keys["ECC_NIST_P256"])
    assert error.reason in ("bad-answer", "wrong-key", "access-denied", "service")
