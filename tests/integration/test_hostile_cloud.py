"""Services that answer with nonsense: one error in our words each, bounded, and no traceback."""

from __future__ import annotations

import base64
import contextlib
import gc
import itertools
import resource
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sovgate.clouds.aws import answers
from sovgate.clouds.aws.errors import explain
from sovgate.errors import (
    AlreadyExists,
    ExitCode,
    KeyServiceError,
    ResidencyMismatch,
    SovgateError,
    StoreError,
)
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.stores import s3
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from sovgate.transport import proxies
from tests.conformance.stores import put
from tests.hostilecloud import Answer, Asked, HostileCloud, kms, serving, xml

CENTRAL = "aws:eu-central-1"
ARN = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """A socket that nobody closed warns when it is collected, and that fails the test: here, not
    in one that comes later."""
    yield
    gc.collect()
    gc.freeze()  # what lives on, all of the SDK, is looked at once


def at(cloud: HostileCloud) -> Store:
    return open_store(f"s3://kyc-eu/p?endpoint={cloud.url}", Path(), CENTRAL)


def read(store: Store) -> bytes:
    with store.open("blobs/x") as reader:
        return reader.read()


S3: dict[str, Callable[[Store], Any]] = {
    "stat": lambda store: store.stat("blobs/x"),
    "get": lambda store: store.get("blobs/x", most=100),
    "open": read,
    "list": lambda store: list(store.list("audit/")),
    "location": lambda store: store.location(),
    "put": lambda store: put(store, "releases/a/1.json", b"x"),
    "probe": lambda store: store.probe(),
}


def listing(inner: str) -> Answer:
    end = "" if "IsTruncated" in inner else "<IsTruncated>false</IsTruncated>"
    return xml(f"<ListBucketResult>{inner}{end}</ListBucketResult>")


def sized(text: str | None, body: bytes = b"hello") -> Answer:
    return Answer(headers=(("Content-Length", text),), body=body)


#: What no operation takes for an answer.
NEVER = {
    "a-code-that-is-a-tree": xml("<Error><Code><b>c</b></Code></Error>", 400),
    "two-codes": xml("<Error><Code>a</Code><Code>b</Code></Error>", 400),
    "no-code": xml("<Error/>", 400),
    "a-teapot": Answer(status=418, body=b"tea"),
    "not-modified": Answer(status=304),
    "no-status-of-http": Answer(status=999),
    "bad-chunks": Answer(
        headers=(("Transfer-Encoding", "chunked"), ("Content-Length", None)), body=b"zzz\r\nhello"
    ),
}


@pytest.mark.parametrize("operation", S3)
@pytest.mark.parametrize("answer", NEVER)
def test_no_answer_to_any_request_is_21(operation: str, answer: str) -> None:
    with serving(lambda _: NEVER[answer]) as cloud, pytest.raises(StoreError) as caught:
        S3[operation](at(cloud))
    assert caught.value.exit_code == ExitCode.STORE
    assert caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("stat", sized(None)),
        ("stat", sized("abc")),
        ("stat", sized("-5")),
        ("get", sized(None)),
        ("open", sized("-5")),
        ("open", sized("abc")),
        ("open", sized("5000")),
        ("stat", Answer(headers=(("Last-Modified", "garbage"),))),
        ("get", Answer(headers=(("x-amz-mp-parts-count", "garbage"),))),
        ("list", xml("<Error><Code>InternalError</Code></Error>")),
        ("list", Answer(body=b"hello")),
        ("list", Answer()),
        ("list", sized("5000", b"")),
        (
            "list",
            sized("5000", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
        ),
        ("list", listing("<Contents><Key>p/audit/a</Key><Size>abc</Size></Contents>")),
        (
            "list",
            listing(
                "<Contents><Key>p/audit/a</Key><Size/><LastModified>x</LastModified></Contents>"
            ),
        ),
        ("list", listing("<IsTruncated>true</IsTruncated>")),
        ("location", Answer()),
        ("location", Answer(body=b"hello")),
        ("location", Answer(body=b"<a>" * 100_000)),
        ("put", Answer(body=b"hello")),
    ],
)
def test_an_answer_that_makes_no_sense_is_21(operation: str, answer: Answer) -> None:
    with serving(lambda _: answer) as cloud, pytest.raises(StoreError) as caught:
        S3[operation](at(cloud))
    assert caught.value.exit_code == ExitCode.STORE
    assert not isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("key", ["", "p", "q/audit/a", "p/releases/a", "p/audit/../x", "p/audit/"])
def test_a_listing_of_what_was_not_asked_for_is_11(key: str) -> None:
    page = listing(f"<Contents><Key>{key}</Key></Contents>")
    with serving(lambda _: page) as cloud, pytest.raises(SovgateError) as caught:
        list(at(cloud).list("audit/"))
    assert (caught.value.exit_code, caught.value.reason) == (
        ExitCode.VERIFICATION,
        "unsafe-name",
    )


def test_a_page_that_is_not_found_is_no_missing_object() -> None:
    with serving(lambda _: Answer(status=404)) as cloud:
        for operation in ("list", "probe"):
            with pytest.raises(StoreError) as caught:
                S3[operation](at(cloud))
            assert caught.value.reason == "service"


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_endless_answer_is_not_read_into_memory(status: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endless = itertools.chain([b"<ListBucketResult>"], itertools.repeat(b" " * MIB, 300))
    answer = Answer(status=status, headers=(("Content-Length", str(10**12)),), body=endless)
    with serving(lambda _: answer) as cloud, pytest.raises(StoreError) as caught:
        list(at(cloud).list("audit/"))
    assert str(answers.MAX_ANSWER) in str(caught.value.why)
    assert len(cloud.seen) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize("error", [True, False])
def test_an_entity_bomb_is_21_and_small(error: bool) -> None:
    inner = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 50}">' for i in range(8))
    bomb = f'<!DOCTYPE l [<!ENTITY a "{"a" * 1000}">{inner}]>'
    answer = Answer(
        status=400 if error else 200,
        body=f"{bomb}<ListBucketResult><Prefix>&i;</Prefix></ListBucketResult>".encode(),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(lambda _: answer) as cloud, pytest.raises(StoreError):
        list(at(cloud).list("audit/"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


# -- what may not leave this machine, or stand in a log


@pytest.mark.parametrize("name", ["--proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_rule_15_this_machine_is_not_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """http:// is for loopback alone: through a proxy, a key to wrap went over the network bare."""
    for other in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    with serving(lambda _: Answer(status=500)) as proxy, contextlib.ExitStack() as stack:
        if name == "--proxy":
            stack.enter_context(proxies.through(proxy.url))
        else:
            monkeypatch.setenv(name, proxy.url)
        with serving(lambda _: Answer(status=404)) as cloud:
            assert at(cloud).stat("blobs/x") is None
            with pytest.raises(KeyServiceError):
                KMS["wrap"][1](key_at(cloud))
    assert not proxy.seen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://me:h1dden@127.0.0.1:1"),
        ("AWS_SESSION_TOKEN", "h1dden\n"),
    ],
)
def test_rule_29_what_cannot_be_sent_is_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Not under -v either, which prints every cause. What is not used is named without a value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(KeyServiceError) as caught:
        registry.open_signer(f"awskms://127.0.0.1:1/{ARN}", Path(), CENTRAL)
    told = "".join(traceback.format_exception(caught.value))
    assert "h1dden" not in told + "".join(caught.value.details)
    assert caught.value.reason == "no-answer"
    said = "HTTPS_PROXY is set and not used: name the proxy with --proxy http://HOST:PORT"
    assert (said in caught.value.details) is (name == "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "us-west-2"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "legacy"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_ENDPOINT_URL_STS", "https://sts.us-east-1.amazonaws.com"),
    ],
)
def test_rule_15_credentials_are_fetched_in_the_zones_region_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A proxy is told where they would be fetched: never at the global endpoint."""
    (tmp_path / "token").write_text("a token of some length")
    for given in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(given, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/push")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(name, value)
    with (
        serving(lambda _: Answer(status=403)) as proxy,
        proxies.through(proxy.url),
        pytest.raises(StoreError),
    ):
        open_store("s3://kyc-eu", Path(), CENTRAL).stat("blobs/x")
    assert {asked.path for asked in proxy.seen} == {"sts.eu-central-1.amazonaws.com:443"}


def test_rule_36_no_variable_puts_a_proxy_before_the_metadata_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives credentials: whoever answered in its place would say who we are."""
    for given in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(given, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    answers_nothing = lambda _: Answer(status=404)  # noqa: E731
    with serving(answers_nothing) as proxy, serving(answers_nothing) as metadata:
        for name in proxies.VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.url}/")
        with pytest.raises(StoreError) as caught:
            open_store("s3://kyc-eu", Path(), CENTRAL).stat("blobs/x")
        assert metadata.seen
        assert not proxy.seen
    assert caught.value.reason == "no-credentials"


# -- where it lies


def test_rule_15_a_region_that_only_headbucket_names_is_heard() -> None:
    """A door to another region that no catalogue has: dual-stack, or a VPC's own."""

    def answer(asked: Asked) -> Answer:
        if asked.method == "HEAD":
            return Answer(headers=(("x-amz-bucket-region", "us-east-1"),))
        return xml("<LocationConstraint/>")

    with serving(answer) as cloud:
        said = at(cloud).location()
    assert said is not None
    assert (said.value, said.source) == ("aws:us-east-1", "HeadBucket")


# -- keys


def described(spec: str, **more: object) -> Answer:
    usage = "SIGN_VERIFY" if spec.startswith("ECC") else "ENCRYPT_DECRYPT"
    facts = {"KeyId": "x", "Arn": ARN, "KeySpec": spec, "KeyUsage": usage, "KeyState": "Enabled"}
    return kms({"KeyMetadata": {**facts, **more}})


def of(answer: Answer, spec: str) -> Callable[[Asked], Answer]:
    return lambda asked: described(spec) if asked.operation == "DescribeKey" else answer


KMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "sign": ("ECC_NIST_P256", lambda uri: registry.open_signer(uri, Path(), CENTRAL)),
    "wrap": (
        "SYMMETRIC_DEFAULT",
        lambda uri: registry.open_recipient(uri, Path(), CENTRAL).wrap(bytes(32), CONTEXT),
    ),
    "unwrap": (
        "SYMMETRIC_DEFAULT",
        lambda uri: registry.open_identity(uri, Path(), CENTRAL).unwrap(b"x" * 50, CONTEXT),
    ),
}


def key_at(cloud: HostileCloud) -> str:
    return f"awskms://127.0.0.1:{cloud.server_port}/{ARN}"


SAID = {"KeyId": ARN}
BAD_KMS = {
    "nothing": kms({}),
    "a-list": kms([1]),
    "null": kms(None),
    "no-json": Answer(body=b"hello"),
    "deep": Answer(body=b"[" * 100_000),
    "its-name-alone": kms(SAID),
    "numbers": kms({**SAID, "CiphertextBlob": 5, "Plaintext": 5, "PublicKey": 5}),
    "no-base64": kms({**SAID, "CiphertextBlob": "!", "Plaintext": "!", "PublicKey": "!"}),
    "empty": kms({**SAID, "CiphertextBlob": "", "Plaintext": "", "PublicKey": ""}),
    "a-code-that-is-a-tree": kms({"__type": {"a": 1}}, 400),
    "a-code-that-is-a-number": kms({"__type": 5}, 400),
    "an-error-that-is-a-list": kms([], 400),
}


@pytest.mark.parametrize("use", KMS)
@pytest.mark.parametrize("name", BAD_KMS)
@pytest.mark.parametrize("first", [True, False])
def test_a_kms_that_makes_no_sense_is_20(use: str, name: str, first: bool) -> None:
    spec, attempt = KMS[use]
    answer = BAD_KMS[name]
    play = (lambda _: answer) if first else of(answer, spec)
    with serving(play) as cloud, pytest.raises(KeyServiceError) as caught:
        attempt(key_at(cloud))
    assert caught.value.exit_code == ExitCode.KEY
    assert caught.value.why


def test_a_wrapped_key_that_no_reader_takes_is_20() -> None:
    large = base64.b64encode(bytes(6145)).decode()
    play = of(kms({**SAID, "CiphertextBlob": large}), "SYMMETRIC_DEFAULT")
    with serving(play) as cloud, pytest.raises(KeyServiceError) as caught:
        KMS["wrap"][1](key_at(cloud))
    assert caught.value.reason == "bad-answer"


@pytest.mark.parametrize(("spec", "kind"), [("RSA_4096", "ec-p256"), ("RSA_4096", "rsa-3072")])
def test_rule_10_a_public_half_of_another_kind_is_20(tmp_path: Path, spec: str, kind: str) -> None:
    generate("encrypt", out=tmp_path / "k.pem", algorithm=kind)
    der = registry.open_public("k.pem", tmp_path).der
    play = of(kms({**SAID, "PublicKey": base64.b64encode(der).decode()}), spec)
    with serving(play) as cloud, pytest.raises(KeyServiceError) as caught:
        KMS["wrap"][1](key_at(cloud))
    assert caught.value.reason == "wrong-key"


@pytest.mark.parametrize("facts", [{}, {"MultiRegionConfiguration": {"PrimaryKey": {}}}])
def test_rule_10_copies_that_lie_nobody_says_where_are_12(facts: dict[str, object]) -> None:
    play = described("SYMMETRIC_DEFAULT", MultiRegion=True, **facts)
    with serving(lambda _: play) as cloud, pytest.raises(ResidencyMismatch) as caught:
        registry.open_recipient(key_at(cloud), Path(), CENTRAL)
    assert caught.value.reason == "key-elsewhere"


def refusing(status: int, code: str, more: str = "") -> Answer:
    return xml(f"<Error><Code>{code}</Code>{more}</Error>", status)


@pytest.mark.parametrize("operation", S3)
def test_a_clock_that_is_wrong_is_told_with_both_times(operation: str) -> None:
    here, there = "20261129T020000Z", "2026-11-29T03:00:00Z"
    times = f"<RequestTime>{here}</RequestTime><ServerTime>{there}</ServerTime>"
    skewed = refusing(403, "RequestTimeTooSkewed", times)
    if operation == "stat":  # an answer to HEAD has no words; its head has the service's time
        skewed = Answer(status=403, headers=(("Date", "Sun, 29 Nov 2020 03:00:00 GMT"),))
    with serving(lambda _: skewed) as cloud, pytest.raises(StoreError) as caught:
        S3[operation](at(cloud))
    assert (caught.value.reason, caught.value.exit_code) == ("clock", ExitCode.STORE)
    assert "clock" in str(caught.value.fix)
    if operation != "stat":
        assert f"at {here}, by the service's it came at {there}" in str(caught.value.why)


@pytest.mark.parametrize("date", [None, "now", "nonsense"])
def test_a_refusal_of_this_very_time_is_one(date: str | None) -> None:
    said = formatdate(usegmt=True) if date == "now" else date
    refused = Answer(status=403, headers=(("Date", said),))
    with serving(lambda _: refused) as cloud, pytest.raises(StoreError) as caught:
        at(cloud).stat("blobs/x")
    assert caught.value.reason == "access-denied"


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (503, "ServiceUnavailable"), (429, "TooManyRequests"), (503, "Other")],
)
def test_a_service_that_asks_for_fewer_requests_is_told_so(status: int, code: str) -> None:
    """How long the SDK waits before each try is its own affair."""
    error = ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )
    told = explain(error, "write it", StoreError)
    assert (told.reason, told.exit_code) == ("slow-down", ExitCode.STORE)
    assert code in str(told.why)
    assert "fewer jobs" in str(told.fix)


def test_rule_13_a_write_that_another_one_holds_up_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3, "_WAITS", (0.0001, 0.0001, 0))
    conflict = refusing(409, "ConditionalRequestConflict")
    with serving(lambda _: conflict) as cloud:
        store = at(cloud)
        with pytest.raises(StoreError) as caught:
            store.probe()
        assert (caught.value.reason, caught.value.exit_code) == ("write-conflict", ExitCode.STORE)
        assert "other run" in str(caught.value.fix)
        assert [asked.method for asked in cloud.seen] == ["PUT"] * 3


@pytest.mark.parametrize(("before", "ours"), [(500, True), (409, False)])
def test_rule_13_after_a_conflict_with_a_try_of_its_own_it_is_read_back(
    monkeypatch: pytest.MonkeyPatch, before: int, ours: bool
) -> None:
    """A try without an answer, a conflict with it, and then the name is taken: by ourselves."""
    monkeypatch.setattr(s3, "_WAITS", (0.0001, 0.0001, 0))
    puts = itertools.chain([before, 409], itertools.repeat(412))

    def answer(asked: Asked) -> Answer:
        if asked.method != "PUT":
            return Answer(body=b"x")
        if ".probe" in asked.path:
            return refusing(400, "BadDigest") if "checksum" in asked.path else Answer()
        return refusing(next(puts), "Conflict")

    with serving(answer) as cloud:
        store = at(cloud)
        assert isinstance(store, s3.S3Store)
        store.__dict__["checks_sums"] = True
        if ours:
            put(store, "releases/a/1.json", b"x")
            return
        with pytest.raises(AlreadyExists):
            put(store, "releases/a/1.json", b"x")


@pytest.mark.parametrize("said", ["expired: 20201101T000000Z is now earlier", "not yet current"])
def test_a_clock_that_is_wrong_is_not_taken_for_wrong_credentials(said: str) -> None:
    error = {"__type": "InvalidSignatureException", "message": f"Signature {said}"}
    with serving(lambda _: kms(error, 400)) as cloud, pytest.raises(KeyServiceError) as caught:
        registry.open_signer(key_at(cloud), Path(), CENTRAL)
    assert caught.value.reason == "clock"
