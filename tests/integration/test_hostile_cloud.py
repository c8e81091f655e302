"""Services that answer with nonsense: one error in our words each, bounded, and no traceback."""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import io
import itertools
import resource
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.clouds.aws import answers
from sovgate.errors import ExitCode, KeyServiceError, ResidencyMismatch, SovgateError, StoreError
from sovgate.formats.transfer import blob_name
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
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


# -- in parts


class Parts:
    """A bucket that takes parts, checks sums, and ends an upload as `last` says."""

    def __init__(self, *last: Answer, listed: Callable[[int], str] | None = None) -> None:
        self.last, self.listed = list(last), listed
        self.aborted = self.begun = 0
        self.there = b""

    def __call__(self, asked: Asked) -> Answer:
        query = asked.path.partition("?")[2]
        if asked.path.partition("?")[0].endswith(".probe/checksum"):
            return (
                Answer(status=404)
                if asked.method == "HEAD"
                else xml("<Error><Code>BadDigest</Code></Error>", 400)
            )
        if asked.method == "DELETE":
            self.aborted += 1
            return Answer(status=204)
        if asked.method == "POST" and "uploads" in query:
            self.begun += 1
            return xml(f"<R><UploadId>u{self.begun}</UploadId></R>")
        if asked.method == "POST":
            return self.last.pop(0) if len(self.last) > 1 else self.last[0]
        if asked.method == "PUT":
            return Answer(headers=(("ETag", '"part"'),))
        if "uploads" in query:
            key = asked.path.partition("?")[0].removeprefix("/kyc-eu/")
            return self.uploads(blob_name(BLOB_SHA), key)
        if "uploadId" in query and self.listed:
            return xml(self.listed(int(query.partition("part-number-marker=")[2].split("&")[0])))
        return Answer(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>")

    def uploads(self, name: str, key: str) -> Answer:
        if self.listed is None:
            return xml("<ListMultipartUploadsResult/>")
        upload = f"<Upload><Key>p/{name}</Key><UploadId>old</UploadId></Upload>"
        return xml(f"<L>{upload}<Upload><Key>p/{name}</Key></Upload></L>")


BLOB = bytes(17 * MIB)
BLOB_SHA = hashlib.sha256(BLOB).hexdigest()


def put_blob(cloud: HostileCloud) -> None:
    at(cloud).put(blob_name(BLOB_SHA), io.BytesIO(BLOB), size=len(BLOB), sha256=BLOB_SHA)


def test_a_last_answer_of_200_that_holds_an_error_is_21() -> None:
    play = Parts(xml("<Error><Code>InternalError</Code><Message>later</Message></Error>"))
    with serving(play) as cloud, pytest.raises(StoreError) as caught:
        put_blob(cloud)
    assert caught.value.reason == "service"


def test_a_200_that_only_claims_the_parts_is_read_again() -> None:
    """Its sum is not the one of the parts: believed only after a read, which finds nothing."""
    play = Parts(xml("<R><ETag>x-2</ETag></R>"))
    with serving(play) as cloud, pytest.raises(StoreError):
        put_blob(cloud)


def test_parts_that_are_never_taken_are_given_up() -> None:
    """Else each run would take up the same broken upload and fail again."""
    play = Parts(xml("<Error><Code>InvalidPart</Code></Error>", 400))
    with serving(play) as cloud, pytest.raises(StoreError):
        put_blob(cloud)
    assert play.aborted == 1


def test_parts_stay_where_the_service_was_busy() -> None:
    play = Parts(xml("<Error><Code>SlowDown</Code></Error>", 503))
    with serving(play) as cloud, pytest.raises(StoreError):
        put_blob(cloud)
    assert play.aborted == 0


@pytest.mark.parametrize("marker", [lambda at: at, lambda at: at + 99, lambda at: at + 10**6])
def test_a_list_of_parts_that_never_ends_is_ended(marker: Callable[[int], int]) -> None:
    """And parts without a sum, a size or a number are none."""

    def page(start: int) -> str:
        parts = "<Part/><Part><PartNumber>1</PartNumber></Part>"
        parts += f"<Part><PartNumber>{10**9 + start}</PartNumber><Size>1</Size>"
        parts += "<ETag>x</ETag><ChecksumSHA256>y</ChecksumSHA256></Part>"
        following = f"<NextPartNumberMarker>{marker(start)}</NextPartNumberMarker>"
        return f"<L><IsTruncated>true</IsTruncated>{following}{parts}</L>"

    sums = [hashlib.sha256(BLOB[start : start + 16 * MIB]).digest() for start in (0, 16 * MIB)]
    whole = base64.b64encode(hashlib.sha256(b"".join(sums)).digest()).decode()
    play = Parts(xml(f"<R><ChecksumSHA256>{whole}-2</ChecksumSHA256></R>"), listed=page)
    with serving(play) as cloud:
        put_blob(cloud)
    assert play.begun == 1


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


@pytest.mark.parametrize("said", ["expired: 20201101T000000Z is now earlier", "not yet current"])
def test_a_clock_that_is_wrong_is_not_taken_for_wrong_credentials(said: str) -> None:
    error = {"__type": "InvalidSignatureException", "message": f"Signature {said}"}
    with serving(lambda _: kms(error, 400)) as cloud, pytest.raises(KeyServiceError) as caught:
        registry.open_signer(key_at(cloud), Path(), CENTRAL)
    assert caught.value.reason == "clock"
