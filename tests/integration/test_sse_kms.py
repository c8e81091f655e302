"""kms= on the wire: each PUT asks for the key, and what a service makes of that is compared."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from sovgate.clouds.aws import answers
from sovgate.errors import ExitCode, StoreError, StoreUnfit
from sovgate.formats.transfer import chunk_name
from sovgate.stages.transfer.objects import put_chunk, put_document, put_object
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from sovgate.stores.s3 import S3Store
from tests import components, servers
from tests.conformance.stores import put
from tests.faultproxy import between
from tests.hostilecloud import Answer, Asked, HostileCloud, serving, xml

CENTRAL = "aws:eu-central-1"
KEY = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NAME = "releases/kyc/1.0.0.json"
HEADERS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": KEY,
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}


def at(url: str, bucket: str, key: str = KEY) -> Store:
    text = f"s3://{bucket}/{secrets.token_hex(8)}?endpoint={url}&kms={quote(key, safe='')}"
    return open_store(text, Path(), CENTRAL)


@pytest.mark.parametrize("server", [servers.ministack, servers.moto])
def test_every_put_asks_for_the_key_and_what_lies_there_is_under_it(
    server: Callable[[], str],
) -> None:
    url = components.found(server)
    bucket, data = servers.bucket(url), secrets.token_bytes(100)
    digest = hashlib.sha256(data).hexdigest()
    with between(url) as proxy:
        store = at(proxy.url, bucket)
        store.probe()
        store.put(chunk_name(digest), data, sha256=digest)
        put(store, NAME, b"the record")
        again = open_store(f"{store.uri}&kms={KEY}", Path(), CENTRAL)
        again.probe()
        assert again.get(NAME, most=100) == b"the record"
        asked = list(zip(proxy.seen, proxy.headers, strict=True))
    puts = [headers for (method, _), headers in asked if method == "PUT"]
    assert len(puts) >= 4
    assert all(HEADERS.items() <= headers.items() for headers in puts)
    others = [headers for (method, _), headers in asked if method != "PUT"]
    assert not any(set(HEADERS) & set(headers) for headers in others), "AWS refuses these there"
    prefix = store.uri.removeprefix(f"s3://{bucket}/").partition("?")[0]
    sdk = servers.sdk("s3", url)
    for name in (chunk_name(digest), NAME):
        head = sdk.head_object(Bucket=bucket, Key=f"{prefix}/{name}")
        assert head["SSEKMSKeyId"] == KEY


def test_a_service_without_a_key_service_is_21_and_nothing_lies_there(seaweedfs: str) -> None:
    store = at(seaweedfs, servers.bucket(seaweedfs))
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert "kms= asks for arn:aws:kms:eu-central-1" in str(caught.value.why)
    plain = open_store(store.uri, Path(), CENTRAL)
    assert list(plain.list("releases/")) == []


def answering(put_answer: Answer, data: bytes = b"") -> Callable[[Asked], Answer]:
    """A service that answers so to each PUT, and has `data` under every name."""

    def answer(asked: Asked) -> Answer:
        if asked.method == "PUT":
            return put_answer
        return Answer(body=data)

    return answer


def hostile(cloud: HostileCloud) -> Store:
    return at(cloud.url, "kyc-eu")


WAYS: dict[str, Callable[[Store, bytes], object]] = {
    "probe": lambda store, _: store.probe(),
    "chunk": lambda store, data: put_chunk(store, hashlib.sha256(data).hexdigest(), data),
    "object": put_object,
    "document": lambda store, data: put_document(store, NAME, data),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers",
    [(), (("x-amz-server-side-encryption", "AES256"),)],
    ids=["says-nothing", "another-way"],
)
def test_a_service_that_passes_over_the_key_is_refused_although_the_bytes_are_there(
    way: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """What heals a lost reply, that the very bytes are there, must not heal this."""
    data = b"the very bytes"
    answer = answering(Answer(headers=headers), data)
    with serving(answer) as cloud, pytest.raises(StoreUnfit) as caught:
        WAYS[way](hostile(cloud), data)
    assert (caught.value.reason, caught.value.exit_code) == ("not-under-key", ExitCode.STORE)


def test_rule_13_what_is_read_back_after_a_lost_reply_is_under_the_key_too(moto: str) -> None:
    bucket, lost = servers.bucket(moto), answers.BadAnswer("lost")
    store = at(moto, bucket)
    assert isinstance(store, S3Store)
    put(store, NAME, b"the record")
    digest = hashlib.sha256(b"the record").hexdigest()
    store.settle(NAME, 10, digest, lost)
    prefix = store.uri.removeprefix(f"s3://{bucket}/").partition("?")[0]
    sdk = servers.sdk("s3", moto)
    sdk.put_object(Bucket=bucket, Key=f"{prefix}/{NAME}", Body=b"the record")
    with pytest.raises(StoreUnfit):
        store.settle(NAME, 10, digest, lost)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("KMS.DisabledException", 400, f"enable {KEY}"),
        ("KMS.NotFoundException", 400, f"enable {KEY}"),
        ("AccessDenied", 403, f"kms:GenerateDataKey on {KEY}"),
        ("NotImplemented", 501, "remove kms= from this one's URI"),
    ],
)
def test_a_refusal_names_the_key_and_the_right_to_it(code: str, status: int, said: str) -> None:
    refusal = xml(f"<Error><Code>{code}</Code><Message>no</Message></Error>", status)
    with serving(answering(refusal)) as cloud, pytest.raises(StoreError) as caught:
        hostile(cloud).probe()
    assert caught.value.exit_code == ExitCode.STORE
    assert said in f"{caught.value.why} {caught.value.fix}"
