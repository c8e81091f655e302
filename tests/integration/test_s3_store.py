"""A bucket that answers late, twice, wrongly or from elsewhere: each fault has its one ending."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import io
import ipaddress
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sovgate.clouds.aws import answers, client
from sovgate.clouds.aws.body import Body
from sovgate.clouds.aws.profiles import PROFILES, SEAWEEDFS
from sovgate.errors import (
    AlreadyExists,
    ConfigError,
    ExitCode,
    NotFound,
    ResidencyMismatch,
    StoreError,
    VerificationFailed,
)
from sovgate.formats.transfer import chunk_name
from sovgate.records import GRADE
from sovgate.stages.transfer import locate, put_chunk
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from sovgate.stores.s3 import S3Store
from sovgate.transport import authority
from sovgate.transport.client import Client, Request
from sovgate.work import Workers
from tests import servers
from tests.conformance.stores import put
from tests.faultproxy import FaultProxy, What, between

NAME = "releases/kyc/1.0.0.json"
MIB = 1024 * 1024


def at(
    url: str,
    *,
    region: str = "eu-central-1",
    zone: str | None = None,
    upstream: str = "",
    bucket: str = "",
) -> Store:
    bucket = bucket or servers.bucket(upstream or url, region)
    text = f"s3://{bucket}/{secrets.token_hex(8)}?endpoint={url}"
    return open_store(text, Path(), zone or f"aws:{region}")


@pytest.fixture
def proxy(seaweedfs: str) -> Iterator[FaultProxy]:
    with between(seaweedfs) as made:
        yield made


@pytest.fixture
def store(proxy: FaultProxy, seaweedfs: str) -> Store:
    return at(proxy.url, upstream=seaweedfs)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- a reply that is lost


@pytest.mark.parametrize("what", [What.LOSE_REPLY, What.LOSE_REQUEST, What.BUSY, What.CUT_REPLY])
@pytest.mark.parametrize("times", [1, 3])
def test_rule_13_a_write_outlives_a_few_faults(
    store: Store, proxy: FaultProxy, what: What, times: int
) -> None:
    fault = proxy.fault(what, "PUT", NAME, times)
    put(store, NAME, b"the record")
    assert fault.struck >= 1
    assert store.get(NAME, most=100) == b"the record"


def test_rule_13_a_write_whose_every_answer_is_lost_is_read_back(
    store: Store, proxy: FaultProxy
) -> None:
    proxy.fault(What.LOSE_REPLY, "PUT", NAME, 100)
    put(store, NAME, b"the record")
    assert store.get(NAME, most=100) == b"the record"


def test_rule_13_other_bytes_behind_a_lost_reply_stay_and_are_21(
    store: Store, proxy: FaultProxy
) -> None:
    put(store, NAME, b"theirs")
    proxy.fault(What.LOSE_REPLY, "PUT", NAME, 100)
    with pytest.raises(AlreadyExists) as caught:
        put(store, NAME, b"ours")
    assert caught.value.exit_code == ExitCode.STORE
    assert store.get(NAME, most=100) == b"theirs"


def test_a_service_that_never_answers_is_21_and_leaves_nothing(
    store: Store, proxy: FaultProxy
) -> None:
    put(store, "first/one", b"opens the client")
    proxy.fault(What.BUSY, "PUT", NAME, 100)
    with pytest.raises(StoreError) as caught:
        put(store, NAME, b"the record")
    assert (caught.value.reason, caught.value.exit_code) == ("slow-down", ExitCode.STORE)
    proxy.faults.clear()
    assert store.stat(NAME) is None


# -- create-only


def test_rule_13_a_store_that_ignores_create_only_is_found_by_the_probe(moto: str) -> None:
    """Before moto, which checks no signatures: the condition is one of the signed headers."""
    with between(moto) as proxy:
        store = at(proxy.url, upstream=moto)
        proxy.fault(What.IGNORE_CONDITION, "PUT", ".probe", 100)
        with pytest.raises(StoreError) as caught:
            store.probe()
    assert caught.value.reason == "not-create-only"
    assert caught.value.exit_code == ExitCode.STORE


def test_rule_13_one_probe_of_a_known_store_is_one_request(
    store: Store, proxy: FaultProxy, seaweedfs: str
) -> None:
    store.probe()
    again = open_store(store.uri, Path(), "aws:eu-central-1")
    proxy.seen.clear()
    again.probe()
    again.probe()
    assert [method for method, _ in proxy.seen] == ["PUT"]


# -- bytes changed on the way


def test_bytes_flipped_on_the_way_in_are_refused_by_a_service_that_checks(
    store: Store, proxy: FaultProxy
) -> None:
    put(store, "first/one", b"opens the client")
    proxy.fault(What.FLIP_REQUEST, "PUT", NAME, 100)
    with pytest.raises(StoreError) as caught:
        put(store, NAME, b"the record")
    assert caught.value.exit_code == ExitCode.STORE
    proxy.faults.clear()
    assert store.stat(NAME) is None


def test_bytes_flipped_on_the_way_into_a_service_that_checks_nothing_are_found(moto: str) -> None:
    """moto takes wrong sums: it is found out, no sum of its is believed, and all is read again."""
    with between(moto) as proxy:
        store = at(proxy.url, upstream=moto)
        put(store, "first/one", b"fine")
        stat = store.stat("first/one")
        assert stat is not None
        assert stat.sha256 is None
        proxy.fault(What.FLIP_REQUEST, "PUT", NAME)
        with pytest.raises(StoreError) as caught:
            put(store, NAME, b"the record")
        assert caught.value.reason == "wrong-bytes"
        assert store.stat(NAME) is None


def test_rule_14_a_sum_of_the_whole_object_is_told_by_a_service_that_checks(store: Store) -> None:
    put(store, NAME, b"the record")
    stat = store.stat(NAME)
    assert stat is not None
    assert stat.sha256 == digest(b"the record")


def test_rule_14_a_chunk_that_is_there_is_believed_by_the_stores_own_sum(
    store: Store, proxy: FaultProxy
) -> None:
    data = secrets.token_bytes(4 * MIB)
    assert put_chunk(store, digest(data), data)
    proxy.seen.clear()
    assert not put_chunk(store, digest(data), data)
    assert [method for method, _ in proxy.seen] == ["PUT", "HEAD"]


def test_rule_14_without_such_a_sum_a_flipped_chunk_is_not_skipped(moto: str) -> None:
    data = secrets.token_bytes(4 * MIB)
    with between(moto) as proxy:
        store = at(proxy.url, upstream=moto)
        assert put_chunk(store, digest(data), data)
        assert not put_chunk(store, digest(data), data)
        proxy.fault(What.FLIP_REPLY, "GET", digest(data))
        with pytest.raises(StoreError) as caught:
            put_chunk(store, digest(data), data)
        assert caught.value.reason == "damaged-object"


# -- reading


def test_a_read_goes_on_where_the_connection_broke(store: Store, proxy: FaultProxy) -> None:
    data = secrets.token_bytes(5 * MIB)
    put(store, "blobs/x", data)
    fault = proxy.fault(What.CUT_REPLY, "GET", "blobs/x", 3)
    with store.open("blobs/x") as reader:
        assert reader.read() == data
    assert fault.struck == 3


def test_a_read_that_never_ends_well_is_21(store: Store, proxy: FaultProxy) -> None:
    put(store, "blobs/x", b"12345678")
    proxy.fault(What.CUT_REPLY, "GET", "blobs/x", 100)
    with pytest.raises(StoreError) as caught, store.open("blobs/x") as reader:
        reader.read()
    assert caught.value.exit_code == ExitCode.STORE


def test_an_object_replaced_during_a_read_is_not_mixed(
    store: Store, proxy: FaultProxy, seaweedfs: str
) -> None:
    data = secrets.token_bytes(4 * MIB)
    put(store, "blobs/x", data)
    proxy.fault(What.CUT_REPLY, "GET", "blobs/x")
    with store.open("blobs/x") as reader:
        start = reader.read(MIB)
        bucket, _, rest = store.uri.removeprefix("s3://").partition("/")
        key = f"{rest.partition('?')[0]}/blobs/x"
        servers.sdk("s3", seaweedfs).put_object(Bucket=bucket, Key=key, Body=bytes(4 * MIB))
        with pytest.raises(StoreError):
            reader.read()
    assert start == data[:MIB]


# -- a buffer


@pytest.mark.parametrize("spare", [0, 3])
def test_a_chunk_is_one_request_each_way(store: Store, proxy: FaultProxy, spare: int) -> None:
    """Whoever sends from memory has it whole, and so has its digest."""
    data = bytearray(secrets.token_bytes(16 * MIB + 28 + spare))
    view, name = memoryview(data)[: 16 * MIB + 28], "chunks/sha256/" + "c" * 64
    put(store, "first/one", b"opens the client")
    proxy.seen.clear()
    store.put(name, view, sha256=hashlib.sha256(view).hexdigest())
    assert [method for method, _ in proxy.seen] == ["PUT"]
    into = memoryview(bytearray(len(view)))
    assert store.get_into(name, into) == len(view)
    assert [method for method, _ in proxy.seen] == ["PUT", "GET"]
    assert into == view
    stat = store.stat(name)
    assert stat is not None
    assert stat.sha256 == hashlib.sha256(view).hexdigest()


def test_a_buffer_is_filled_although_the_connection_broke(store: Store, proxy: FaultProxy) -> None:
    data = secrets.token_bytes(5 * MIB)
    put(store, "blobs/x", data)
    fault = proxy.fault(What.CUT_REPLY, "GET", "blobs/x", 3)
    into = bytearray(len(data))
    assert store.get_into("blobs/x", memoryview(into)) == len(data)
    assert into == data
    assert fault.struck == 3


@pytest.mark.parametrize("endpoint", ["https://s3.example", "http://127.0.0.1:9"])
def test_a_body_is_hashed_once_and_sent_as_it_lies_in_memory(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Its SHA-256 is in a header that is signed; the SDK neither hashes nor copies the bytes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    sent: dict[str, str] = {}
    bodies: list[Any] = []

    class Session:
        def send(self, request: Any) -> Any:
            sent.update({name.lower(): str(value) for name, value in request.headers.items()})
            bodies.append(list(request.body))
            raise StoreError("not sent", reason="a test")

    bounded = answers.bounded
    monkeypatch.setattr(answers, "bounded", lambda _session: bounded(Session()))
    place = client.Endpoint(url=endpoint, region="eu-central-1", declared=None, catalogued=False)
    sdk = client.client("s3", place, kind=StoreError).sdk
    data = bytearray(3 * MIB)
    view, told = memoryview(data)[: 2 * MIB], base64.b64encode(bytes(32)).decode()
    with pytest.raises(StoreError, match="not sent"):
        sdk.put_object(Bucket="b", Key="k", Body=Body(view), ChecksumSHA256=told, IfNoneMatch="*")
    assert [b"".join(body) == view for body in bodies] == [True]
    assert {piece.obj is data for piece in bodies[0]} == {True}, "nothing is copied"
    assert sent["content-length"] == str(2 * MIB)
    assert "expect" not in sent, "the SDK would wait for an answer before each chunk"
    assert sent["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert sent["x-amz-checksum-sha256"] == told
    signature = sent["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"x-amz-checksum-sha256", "x-amz-content-sha256"} <= set(signature)


def test_a_buffer_is_a_stream_for_whoever_reads_it() -> None:
    body = Body(memoryview(b"0123456789"))
    assert (body.read(4), body.tell(), body.read(), body.read(1)) == (b"0123", 4, b"456789", b"")
    assert (body.seek(0, io.SEEK_END), body.seek(-3, io.SEEK_CUR), body.read(2)) == (10, 7, b"78")
    assert (body.seek(1), body.read()) == (1, b"123456789")


# -- where it lies


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", "eu-west-1"])
def test_the_service_says_where_a_bucket_lies(moto: str, region: str) -> None:
    """In us-east-1 GetBucketLocation says nothing, and HeadBucket does."""
    said = at(moto, region=region).location()
    assert said is not None
    assert said.value == f"aws:{region}"
    assert said.grade == GRADE["declared"]  # rule 15: an endpoint of one's own, whatever it says


def test_a_bucket_of_the_sovereign_cloud_says_so(moto: str) -> None:
    store = at(moto, region="eusc-de-east-1", zone="aws-eusc:eusc-de-east-1")
    said = store.location()
    assert said is not None
    assert said.value == "aws-eusc:eusc-de-east-1"


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_a_bucket_elsewhere_is_12(moto: str, region: str) -> None:
    store = at(moto, region=region, zone="aws:eu-central-1")
    with pytest.raises(ResidencyMismatch) as caught:
        locate(store, zone="eu", declared="aws:eu-central-1")
    assert caught.value.exit_code == ExitCode.RESIDENCY


def test_a_server_that_names_no_location_is_declared(seaweedfs: str) -> None:
    found = locate(at(seaweedfs), zone="eu", declared="aws:eu-central-1")
    assert (found.value, found.grade) == ("aws:eu-central-1", GRADE["declared"])


def test_what_docs_say_was_run_on_seaweedfs_is_so(seaweedfs: str) -> None:
    """The row of docs/stores.md; that it compares sums and keeps create-only, the suite shows."""
    said = {
        name: fact.says
        for row in PROFILES
        for name, fact in row.facts.items()
        if fact.source == SEAWEEDFS
    }
    store, sdk = at(seaweedfs), servers.sdk("s3", seaweedfs)
    assert isinstance(store, S3Store)
    store.probe()
    assert (said.pop("create-only"), said.pop("addressing")) == ("yes: 412", "in the path")
    assert (said.pop("sums") == "compared") is store.checks_sums
    assert (said.pop("location") == "no") is (store.location() is None)
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}
    bucket = servers.bucket(seaweedfs)
    with pytest.raises(sdk.exceptions.ClientError) as caught:
        sdk.put_object(Bucket=bucket, Key=secrets.token_hex(8), Body=b"x", **asked)
    assert str(answers.status_of(caught.value)) in said.pop("kms")
    locked, until = (
        f"locked-{secrets.token_hex(8)}",
        datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC),
    )
    sdk.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    for mode in said.pop("lock").upper().split(", "):
        sdk.put_object(Bucket=locked, Key=mode, Body=b"x")
        asked = {"Mode": mode, "RetainUntilDate": until}
        sdk.put_object_retention(Bucket=locked, Key=mode, Retention=asked)
        assert sdk.head_object(Bucket=locked, Key=mode)["ObjectLockMode"] == mode
    assert not said


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_rule_15_a_redirect_is_12_and_not_followed(
    store: Store, proxy: FaultProxy, method: str
) -> None:
    put(store, "first/one", b"opens the client")
    proxy.fault(What.REDIRECT, method, "", 100)
    proxy.seen.clear()
    calls: dict[str, Any] = {
        "GET": lambda: store.get("first/one", most=100),
        "HEAD": lambda: store.stat("first/one"),
        "PUT": lambda: put(store, NAME, b"the record"),
    }
    with pytest.raises(ResidencyMismatch) as caught:
        calls[method]()
    assert caught.value.exit_code == ExitCode.RESIDENCY
    assert len(proxy.seen) == 1


def test_the_account_is_asked_for_in_every_request(ministack: str) -> None:
    with between(ministack) as proxy:
        plain = at(proxy.url, upstream=ministack)
        store = open_store(f"{plain.uri}&account=000000000000", Path(), "aws:eu-central-1")
        data = bytes(2 * MIB)
        store.probe()
        store.location()
        put(store, NAME, b"the record")
        store.put(chunk_name(digest(data)), data, sha256=digest(data))
        assert store.get(NAME, most=100) == b"the record"
        assert len(list(store.list("releases/"))) == 1
        assert len(proxy.owners) > 10
        assert set(proxy.owners) == {"000000000000"}


def test_a_listing_that_never_ends_is_ended(ministack: str) -> None:
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
    )
    with between(ministack) as proxy:
        store = at(proxy.url, upstream=ministack)
        proxy.edits("GET", lambda _: page)
        with pytest.raises(VerificationFailed) as caught:
            list(store.list("releases/"))
    assert caught.value.reason == "limits"


# -- what the service refuses


@pytest.mark.parametrize(
    ("method", "permission"),
    [("PUT", "s3:PutObject on arn:aws:s3:::"), ("GET", "s3:GetObject on arn:aws:s3:::")],
)
def test_a_missing_permission_is_named(
    store: Store, proxy: FaultProxy, method: str, permission: str
) -> None:
    put(store, "first/one", b"opens the client")
    proxy.fault(What.DENY, method, "/", 100)
    with pytest.raises(StoreError) as caught:
        if method == "PUT":
            put(store, NAME, b"the record")
        else:
            store.get("first/one", most=100)
    assert caught.value.reason == "access-denied"
    assert permission in str(caught.value.why)
    assert "account" not in str(caught.value.why)
    bucket = store.uri.removeprefix("s3://").partition("?")[0].partition("/")[0]
    assert f"or the bucket {bucket!r} does not exist" in str(caught.value.why)


def test_a_bucket_of_another_account_is_called_so(store: Store, proxy: FaultProxy) -> None:
    pinned = open_store(f"{store.uri}&account=444455556666", Path(), "aws:eu-central-1")
    proxy.fault(What.DENY, "GET", "/", 100)
    with pytest.raises(StoreError) as caught:
        pinned.get(NAME, most=100)
    assert caught.value.reason == "access-denied"
    assert "not of account 444455556666" in str(caught.value.why)


def test_a_bucket_that_is_not_there_is_told_from_an_object_that_is_not(store: Store) -> None:
    with pytest.raises(NotFound):
        store.get(NAME, most=10)
    gone = open_store(store.uri.replace("s3://t-", "s3://gone-"), Path(), "aws:eu-central-1")
    with pytest.raises(StoreError) as caught:
        gone.get(NAME, most=10)
    assert caught.value.reason == "no-bucket"


def test_nobody_there_is_21_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(
        f"s3://kyc-eu?endpoint=http://127.0.0.1:{servers.free_port()}", Path(), "aws:eu-central-1"
    )
    with pytest.raises(StoreError) as caught:
        store.stat(NAME)
    assert caught.value.reason == "no-answer"


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """TLS for 127.0.0.1 by a root of nobody's but ours, and that root's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a root of one's own")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "root.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, folder / "root.pem"


def test_rule_15_tls_is_checked_and_roots_of_ones_own_are_declared(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    context, root = self_signed(tmp_path)
    with between(moto, context) as proxy:
        with pytest.raises(StoreError) as caught:
            at(proxy.url, upstream=moto).stat(NAME)
        assert caught.value.reason == "tls"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(root))
        with pytest.raises(StoreError) as caught:  # no variable chooses a CA (RULES 36)
            at(proxy.url, upstream=moto).stat(NAME)
        assert caught.value.reason == "tls"
        assert "AWS_CA_BUNDLE" in caught.value.details[0]
        assert "--ca FILE" in caught.value.details[0]
        with authority.trusting(root):
            store = at(proxy.url, upstream=moto)
            put(store, NAME, b"the record")
            said = store.location()
        assert said is not None
        assert (said.value, said.grade) == ("aws:eu-central-1", GRADE["declared"])


def test_without_credentials_the_fix_is_named(
    seaweedfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = at(seaweedfs)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError) as caught:
        store.stat(NAME)
    assert caught.value.reason == "no-credentials"
    assert "id-token: write" in str(caught.value.fix)


def test_each_provider_has_credentials_of_its_own(
    seaweedfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push from aws to aws-eusc holds two sets: nothing crosses partitions."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-other-partition")
    monkeypatch.setenv("AWS_EUSC_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_EUSC_SECRET_ACCESS_KEY", "testtest")
    bucket = servers.bucket(seaweedfs)
    eusc = at(seaweedfs, zone="aws-eusc:eusc-de-east-1", bucket=bucket)
    put(eusc, NAME, b"the record")
    with pytest.raises(StoreError) as caught:
        put(at(seaweedfs, zone="aws:eu-central-1", bucket=bucket), NAME, b"the record")
    assert caught.value.reason == "bad-credentials"


def test_objects_outside_the_layout_are_not_listed_as_ours(store: Store, seaweedfs: str) -> None:
    bucket, _, rest = store.uri.removeprefix("s3://").partition("/")
    key = f"{rest.partition('?')[0]}/audit/../../x"
    servers.sdk("s3", seaweedfs).put_object(
        Bucket=bucket, Key=key.replace("../..", "A B"), Body=b"x"
    )
    with pytest.raises(VerificationFailed) as caught:
        list(store.list("audit/"))
    assert caught.value.reason == "unsafe-name"


def test_missing_package_is_a_configuration_error() -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['botocore'] = None\n"
        "from pathlib import Path\n"
        "from sovgate.errors import ConfigError\n"
        "from sovgate.stores.registry import open_store\n"
        "store = open_store('s3://kyc-eu', Path(), 'aws:eu-central-1')\n"
        "try: store.stat('a/b')\n"
        "except ConfigError as error: print(error.reason, error.fix)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "missing-package pip install 'sovgate[aws]'\n"
    assert ConfigError.exit_code == ExitCode.CONFIG


def test_a_link_may_be_slow_for_longer_than_connecting_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over 100 Mbit/s six chunks at once take eight seconds, and each has some byte on its way."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", 0.1)
    size = 16 * MIB
    connections: list[socket.socket] = []

    def serve() -> None:
        for _ in range(client.ATTEMPTS):
            connection, _ = server.accept()
            connections.append(connection)
            with connection, connection.makefile("rb") as got, contextlib.suppress(OSError):
                while got.readline() != b"\r\n":
                    pass
                time.sleep(3 * client.CONNECT_TIMEOUT)
                if len(got.read(size)) == size:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        place = client.Endpoint(
            url=f"http://127.0.0.1:{server.getsockname()[1]}",
            region="eu-central-1",
            declared=None,
            catalogued=False,
        )
        sdk = client.client("s3", place, kind=StoreError).sdk
        sdk.put_object(Bucket="b", Key="k", Body=Body(memoryview(bytes(size))), IfNoneMatch="*")
        thread.join()
    assert len(connections) == 1, "each further try would send all of it again"


@pytest.mark.parametrize("kind", ["sdk", "wire"])
def test_a_chunk_on_a_slow_link_ends_when_the_run_does(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """After Ctrl-C, or when the time of --within is over, nobody waits for minutes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    size, came, told = 64 * MIB, [0], threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            came[0] += len(connection.recv(MIB))
            told.set()
            ended.wait()
            while part := connection.recv(MIB):
                came[0] += len(part)

    def send() -> None:
        body = memoryview(bytes(size))
        if kind == "wire":
            Client(url).ask(Request(method="PUT", target="/k", body=(body,)))
        else:
            place = client.Endpoint(url=url, region="eu-central-1", declared=None, catalogued=False)
            sdk = client.client("s3", place, kind=StoreError).sdk
            sdk.put_object(Bucket="b", Key="k", Body=Body(body))

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(KeyboardInterrupt), Workers(1) as workers:
            workers.submit(send)
            assert told.wait(60)
            workers.fail(KeyboardInterrupt())
            ended.set()
        thread.join()
    assert came[0] < size
