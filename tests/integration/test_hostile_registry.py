"""A registry that lies, leads elsewhere, or wants credentials: what leaves, what is believed."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import (
    AlreadyExists,
    ConfigError,
    ResidencyMismatch,
    SovgateError,
    StoreError,
    VerificationFailed,
)
from sovgate.formats import ociimage
from sovgate.records import Sized
from sovgate.stores._api import Held, Store
from sovgate.stores.oci.login import Account, read_credentials
from sovgate.stores.registry import open_store
from tests.conformance.stores import put
from tests.ociregistry import Heard, Registry, Rule, Said, serving

CHUNK = b"ciphertext"
NAME = f"chunks/sha256/{hashlib.sha256(CHUNK).hexdigest()}"
RECORD = "releases/churn/1.0.0.json"
SECRET = "hunter2-very-secret"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving(Registry()) as made:
        yield made


@pytest.fixture
def other() -> Iterator[Registry]:
    """Another machine, which answers everything with the chunk."""
    with serving(Registry(rules=[lambda heard: Said(status=200, body=CHUNK)])) as made:
        yield made


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


def store(registry: Registry, options: str = "", base: Path = Path()) -> Any:
    return open_store(f"oci://{registry.host}/churn{options}", base)


def rule(method: str, part: str, said: Said) -> Rule:
    return lambda heard: said if heard.method == method and part in heard.target else None


def refused(call: Any, kind: type[SovgateError], reason: str) -> SovgateError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.reason == reason, (caught.value.what, caught.value.why)
    text = " ".join(map(str, (caught.value.what, caught.value.why, caught.value.fix)))
    assert SECRET not in text
    assert SECRET not in repr(caught.value)
    return caught.value


# -- uploads


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example/v2/churn/blobs/uploads/1",
        "https://{host}/v2/churn/blobs/uploads/1",
        "//other.example/up",
        "http://{host}@other.example/up",
        "http://127.0.0.1:1/v2/up",
        "up",
        "",
        "file:///etc/passwd",
    ],
)
def test_rule_15_an_upload_goes_on_at_the_registry_or_not_at_all(
    registry: Registry, location: str
) -> None:
    said = Said(status=202, headers={"Location": location.format(host=registry.host)})
    registry.rules.append(rule("POST", "/uploads/", said))
    error = refused(lambda: put(store(registry), NAME, CHUNK), ResidencyMismatch, "redirected")
    assert error.exit_code == 12
    assert [heard.method for heard in registry.heard] == ["POST"]


def test_an_absolute_location_at_the_registry_is_as_good(registry: Registry) -> None:
    def absolute(heard: Heard) -> Said | None:
        if heard.method != "POST":
            return None
        registry.rules.remove(absolute)
        registry._lock.release()
        try:
            said = registry.answer(heard, b"")
        finally:
            registry._lock.acquire()
        where = {"Location": f"http://{registry.host}{said.headers['Location']}?state=a%2Fb"}
        return Said(status=202, headers=where)

    registry.rules.append(absolute)
    put(store(registry), NAME, CHUNK)
    target = next(heard.target for heard in registry.heard if heard.method == "PUT")
    assert "?state=a%2Fb&digest=sha256%3A" in target


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("method", "part"), [("POST", "/uploads/"), ("PUT", "/uploads/")])
def test_rule_15_a_redirected_upload_is_12_and_not_a_byte_goes_there(
    registry: Registry, other: Registry, status: int, method: str, part: str
) -> None:
    said = Said(status=status, headers={"Location": f"{other.url}/up"})
    registry.rules.append(rule(method, part, said))
    options = f"?redirects={other.host}"  # which is for reads alone
    refused(lambda: put(store(registry, options), NAME, CHUNK), ResidencyMismatch, "redirected")
    assert other.heard == []


def test_a_registry_that_checks_no_digest_is_refused(registry: Registry) -> None:
    def blind(heard: Heard) -> Said | None:
        if heard.method == "PUT" and "/uploads/" in heard.target:
            return Said(status=201)
        if heard.method == "HEAD" and "/blobs/" in heard.target:
            return Said(status=200, headers={"Content-Length": "32"})
        return None

    registry.rules.append(blind)
    refused(store(registry).probe, StoreError, "unchecked-digests")


@pytest.mark.parametrize("part", ["/uploads/", "/manifests/sha256:", "/manifests/churn-V"])
def test_a_registry_that_keeps_it_under_another_digest_is_told(
    registry: Registry, part: str
) -> None:
    """It may change what it is given: what names the digest would be true of nothing there."""
    other = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
    registry.rules.append(rule("PUT", part, Said(status=201, headers=other)))
    error = refused(lambda: release(registry), StoreError, "wrong-bytes")
    assert "0000" in str(error.why)
    registry.rules.clear()
    assert list(store(registry).list("releases/")) == []
    release(registry)
    assert store(registry).get(RECORD, most=100) == b"the record"


def test_a_registry_that_kept_a_chunk_elsewhere_takes_no_release_of_it(registry: Registry) -> None:
    """It said 201 and the right digest, and kept other bytes: nothing that names the chunk is."""
    digest = f"sha256:{hashlib.sha256(CHUNK).hexdigest()}"

    def elsewhere(heard: Heard) -> Said | None:
        if heard.method == "PUT" and digest.removeprefix("sha256:") in heard.target:
            return Said(status=201, headers={"Docker-Content-Digest": digest})
        return None

    registry.rules.append(elsewhere)
    error = refused(lambda: release(registry), StoreError, "missing-object")
    assert "MANIFEST_BLOB_UNKNOWN" in str(error.why)
    registry.rules.clear()
    assert list(store(registry).list("releases/")) == []
    release(registry)
    assert store(registry).get(NAME, most=100) == CHUNK


def release(registry: Registry, chunks: int = 1) -> None:
    """A chunk, as often as it is wanted, and a record."""
    opened = store(registry)
    put(opened, NAME, CHUNK)
    held = Held(chunks=[Sized.of(CHUNK)] * chunks, beside={"sequences/churn/1.json": b"a claim"})
    opened.put_release(RECORD, b"the record", held)


def test_children_are_there_before_what_names_them(registry: Registry) -> None:
    release(registry, chunks=900)
    writes = [heard.target for heard in registry.heard if heard.method == "PUT"]
    kinds = [
        "blob" if "/uploads/" in one else "tag" if "/manifests/churn-V" in one else "manifest"
        for one in writes
    ]
    assert kinds == ["blob"] * kinds.count("blob") + ["manifest"] * 5 + ["tag"]
    tagged = registry.repos["churn"].tags["churn-V1.0.0"]
    assert tagged in writes[-2]  # the index, and before it what it names
    assert registry.repos["churn"].manifests[tagged][0] == ociimage.INDEX


@pytest.mark.parametrize("part", ["/uploads/", "/manifests/sha256:"])
def test_what_needs_no_order_is_written_at_once(registry: Registry, part: str) -> None:
    """Each of the two waits in the registry until the other is there, too."""
    put(store(registry), NAME, CHUNK)
    both, waited = threading.Barrier(2), []

    def meet(heard: Heard) -> Said | None:
        if heard.method == "PUT" and part in heard.target and len(waited) < both.parties:
            waited.append(heard)
            registry._lock.release()
            try:
                both.wait(20)
            finally:
                registry._lock.acquire()
        return None

    registry.rules.append(meet)
    held = Held(chunks=[Sized.of(CHUNK)])
    store(registry).put_release(RECORD, b"the record", held)
    assert len(waited) == 2


# -- the region in a host


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("444455556666.dkr.ecr.eu-central-1.amazonaws.com", "aws:eu-central-1"),
        ("444455556666.dkr.ecr-fips.us-east-1.amazonaws.com", "aws:us-east-1"),
        ("444455556666.dkr-ecr.eu-central-1.on.aws", "aws:eu-central-1"),
        ("vpce-1a2b.dkr.ecr.eu-central-1.vpce.amazonaws.com", "aws:eu-central-1"),
        ("444455556666.dkr.ecr.eusc-de-east-1.amazonaws.eu", "aws-eusc:eusc-de-east-1"),
        ("444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn", "aws-cn:cn-north-1"),
        ("444455556666.dkr.ecr.us-gov-west-1.amazonaws.com", "aws-us-gov:us-gov-west-1"),
        ("europe-west3-docker.pkg.dev", "gcp:europe-west3"),
    ],
)
def test_a_host_that_names_the_zones_region_is_taken_and_another_is_12(
    host: str, region: str
) -> None:
    text = f"oci://{host}/models/churn"
    assert open_store(text, Path(), region).location() is None  # and still only declared
    open_store(text, Path())  # nobody says where it should be
    other = "aws:eu-west-1" if region != "aws:eu-west-1" else "aws:us-east-1"
    for elsewhere in (other, "azure:germanywestcentral", "declared:dc1"):
        for written in (text, text.replace(host, host.upper()), text.replace(host, f"{host}:443")):
            error = refused(
                lambda written=written, elsewhere=elsewhere: open_store(written, Path(), elsewhere),
                ResidencyMismatch,
                "store-elsewhere",
            )
            assert region in error.what
            assert error.exit_code == 12


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("europe-docker.pkg.dev", "several regions at once"),
        ("us-docker.pkg.dev", "several regions at once"),
        ("eu.gcr.io", "several regions at once"),
        ("gcr.io", "several regions at once"),
        ("europe-west99-docker.pkg.dev", "that the catalogue does not know"),
        ("444455556666.dkr.ecr.eu-nowhere-1.amazonaws.com", "that the catalogue does not know"),
        # A region of another partition than the host's own.
        ("444455556666.dkr.ecr.eu-central-1.amazonaws.eu", "that the catalogue does not know"),
        ("444455556666.dkr.ecr.eu-central-1.amazonaws.com.cn", "that the catalogue does not know"),
    ],
)
def test_a_host_of_no_one_region_is_12(host: str, words: str) -> None:
    for region in ("gcp:europe-west3", "aws:eu-central-1"):
        error = refused(
            lambda region=region: open_store(f"oci://{host}/churn", Path(), region),
            ResidencyMismatch,
            "store-elsewhere",
        )
        assert words in error.what


@pytest.mark.parametrize(
    "host",
    [
        "kyceu.azurecr.io",
        "ghcr.io",
        "registry.example.eu",
        "444455556666.dkr.ecr.us-east-1.example.eu",
        "dkr.ecr.us-east-1.amazonaws.com",
        "us-east1-docker.pkg.dev.example.eu",
    ],
)
def test_a_host_that_names_no_region_is_what_the_zone_declares(host: str) -> None:
    assert open_store(f"oci://{host}/churn", Path(), "aws:eu-central-1").location() is None


def test_a_wrong_digest_is_not_taken(registry: Registry) -> None:
    with pytest.raises(StoreError) as caught:
        store(registry).put(NAME, b"other bytes", sha256=NAME.rsplit("/", 1)[1])
    assert caught.value.reason == "wrong-bytes"
    assert store(registry).stat(NAME) is None


def test_an_upload_whose_answer_was_lost_is_found_there(registry: Registry) -> None:
    """The first PUT is heard and answered 503; of the second the registry knows nothing more."""
    state = {"puts": 0}

    def loses(heard: Heard) -> Said | None:
        if heard.method != "PUT":
            return None
        state["puts"] += 1
        if state["puts"] == 1:
            digest = heard.target.rsplit("digest=", 1)[1].replace("%3A", ":")
            registry.repos["churn"].blobs[digest] = CHUNK
            return Said(status=503, headers={"Retry-After": "0"})
        return Said(status=404)

    registry.rules.append(loses)
    put(store(registry), NAME, CHUNK)
    assert state["puts"] == 2


# -- reads


def test_rule_15_a_read_is_redirected_once_to_a_named_host_without_credentials(
    registry: Registry, other: Registry, tmp_path: Path
) -> None:
    login(tmp_path, registry)
    registry.rules += [
        basic,
        rule("GET", "/blobs/", Said(status=307, headers={"Location": f"{other.url}/b?sig=x"})),
    ]
    opened = store(registry, f"?redirects={other.host}")
    assert opened.get(NAME, most=100) == CHUNK
    assert opened.get_into(NAME, memoryview(bytearray(len(CHUNK)))) == len(CHUNK)
    assert [heard.target for heard in other.heard] == ["/b?sig=x"] * 2
    assert all("authorization" not in heard.headers for heard in other.heard)
    assert any("authorization" in heard.headers for heard in registry.heard)


def test_rule_15_a_read_that_is_redirected_to_an_unnamed_host_is_12(
    registry: Registry, other: Registry
) -> None:
    for location in (f"{other.url}/b", "https://cdn.example/b", "//cdn.example/b", "ftp://x/b"):
        said = Said(status=307, headers={"Location": location})
        registry.rules[:] = [rule("GET", "/blobs/", said)]
        error = refused(
            lambda: store(registry).get(NAME, most=100), ResidencyMismatch, "redirected"
        )
        assert "?redirects=" in str(error.fix)
    assert other.heard == []


def test_rule_15_a_second_redirect_is_12(registry: Registry, other: Registry) -> None:
    there = Said(status=307, headers={"Location": f"{other.url}/b"})
    registry.rules.append(rule("GET", "/blobs/", there))
    other.rules[:] = [rule("GET", "/b", Said(status=302, headers={"Location": f"{other.url}/c"}))]
    opened = store(registry, f"?redirects={other.host}")
    refused(lambda: opened.get(NAME, most=100), ResidencyMismatch, "redirected")
    assert len(other.heard) == 1


def test_rule_15_a_manifest_is_read_at_the_registry_alone(
    registry: Registry, other: Registry
) -> None:
    there = Said(status=307, headers={"Location": f"{other.url}/b"})
    registry.rules.append(rule("GET", "/manifests/", there))
    opened = store(registry, f"?redirects={other.host}")
    refused(lambda: opened.get(RECORD, most=100), ResidencyMismatch, "redirected")
    assert other.heard == []


def test_a_blob_of_other_bytes_is_damage(registry: Registry) -> None:
    put(store(registry), NAME, CHUNK)
    registry.rules.append(rule("GET", "/blobs/", Said(status=200, body=b"other text")))
    refused(lambda: store(registry).get(NAME, most=100), VerificationFailed, "damaged")


def test_a_manifest_of_other_bytes_than_its_digest_is_damage(registry: Registry) -> None:
    put(store(registry), RECORD, b"record")
    registry.rules.append(
        rule("GET", "/manifests/sha256:", Said(status=200, body=b'{"schemaVersion":2}'))
    )
    refused(lambda: store(registry).get(RECORD, most=100), VerificationFailed, "damaged")


@pytest.mark.parametrize("part", ["/manifests/", "/tags/"])
def test_an_answer_without_end_is_not_read(registry: Registry, part: str) -> None:
    large = {"Content-Length": str(64 * 1024 * 1024)}
    registry.rules.append(rule("GET", part, Said(status=200, headers=large)))
    with pytest.raises(StoreError):
        if part == "/tags/":
            list(store(registry).list("releases/"))
        else:
            store(registry).get(RECORD, most=100)


def test_a_manifest_that_names_a_huge_record_is_not_followed(registry: Registry) -> None:
    put(store(registry), RECORD, b"record" * 100)
    before = len(registry.heard)
    refused(lambda: store(registry).get(RECORD, most=599), VerificationFailed, "limits")
    assert not any("/blobs/" in heard.target for heard in registry.heard[before:])


def test_a_list_that_never_ends_or_leads_elsewhere_is_refused(
    registry: Registry, other: Registry
) -> None:
    for link in (f"<{other.url}/v2/churn/tags/list?n=1>", "</v2/other/tags/list?n=1>", "</x>"):
        more = Said(status=200, headers={"Link": f'{link}; rel="next"'}, body=b'{"tags":[]}')
        registry.rules[:] = [rule("GET", "/tags/", more)]
        refused(lambda: list(store(registry).list("releases/")), StoreError, "broken-off")
    assert other.heard == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"tags":{}}', b'{"tags":[1]}', b'{"tags":["a"],"tags":[]}']
)
def test_a_list_of_another_form_is_refused(registry: Registry, body: bytes) -> None:
    registry.rules.append(rule("GET", "/tags/", Said(status=200, body=body)))
    with pytest.raises(VerificationFailed):
        list(store(registry).list("releases/"))


def test_tags_of_others_are_passed_over(registry: Registry) -> None:
    put(store(registry), RECORD, b"record")
    tags = registry.repos["churn"].tags
    tags.update(dict.fromkeys(["latest", "v1", "sha256-" + "a" * 64, "_x/y"], tags["churn-V1.0.0"]))
    assert list(store(registry).list("releases/")) == [RECORD]


def test_an_image_of_others_under_a_releases_tag_is_told(registry: Registry) -> None:
    put(store(registry), "sequences/churn/000000000001.json", b"claim")
    tags = registry.repos["churn"].tags
    tags["churn-V1.0.0"] = tags["_sequencesXchurnX000000000001.json"]
    error = refused(lambda: store(registry).get(RECORD, most=9), VerificationFailed, "unsupported")
    assert "churn-V1.0.0" in error.what


def test_a_release_under_the_tag_of_another_lends_it_nothing(registry: Registry) -> None:
    opened = store(registry)
    claim = "sequences/churn/000000000001.json"
    opened.put_release(RECORD, b"record", Held(beside={claim: b"claim"}))
    assert opened.within(RECORD).get(claim, most=9) == b"claim"
    tags = registry.repos["churn"].tags
    tags["churn-V2.0.0"] = tags["churn-V1.0.0"]
    refused(lambda: opened.within("releases/churn/2.0.0.json"), VerificationFailed, "unsupported")


def test_what_another_wrote_meanwhile_is_not_taken_for_ours(registry: Registry) -> None:
    opened, late = store(registry), store(registry)
    put(opened, "audit/aa/0000.json", b"theirs")
    tag = "_auditXaaX0000.json"
    theirs = registry.repos["churn"].tags[tag]
    del registry.repos["churn"].tags[tag]

    def moved(heard: Heard) -> Said | None:
        """After our PUT, before we look: the other's write."""
        if heard.method == "GET" and tag in heard.target:
            registry.repos["churn"].tags[tag] = theirs
        return None

    registry.rules.append(moved)
    with pytest.raises(AlreadyExists):
        put(late, "audit/aa/0000.json", b"ours")
    assert late.get("audit/aa/0000.json", most=10) == b"theirs"


# -- referrers


@pytest.mark.parametrize("interface", [False, True])
def test_what_is_said_of_a_release_is_found_with_and_without_the_interface(
    registry: Registry, interface: bool
) -> None:
    registry.referrers = interface
    opened: Store = store(registry)
    put(opened, RECORD, b"record")
    names = []
    for text in (b"first", b"second", b"third"):
        names.append(f"evidence/churn/1.0.0/{hashlib.sha256(text).hexdigest()}.json")
        put(opened, names[-1], text)
    put(opened, names[0].replace("evidence", "receipts"), b"first")
    assert list(opened.list("evidence/churn/1.0.0/")) == sorted(names)
    assert list(opened.list("receipts/")) == [names[0].replace("evidence", "receipts")]
    tags = registry.repos["churn"].tags
    assert any(tag.startswith("sha256-") for tag in tags) is not interface
    with pytest.raises(AlreadyExists):
        put(opened, names[0], b"first")


def test_a_blob_of_that_digest_alone_is_no_evidence(registry: Registry) -> None:
    opened = store(registry)
    put(opened, RECORD, b"record")
    put(opened, NAME, CHUNK)
    assert opened.stat(f"evidence/churn/1.0.0/{NAME.rsplit('/', 1)[1]}.json") is None
    assert list(opened.list("evidence/churn/1.0.0/")) == []


def test_a_list_that_keeps_no_row_is_told(registry: Registry) -> None:
    opened = store(registry)
    put(opened, RECORD, b"record")
    registry.rules.append(rule("PUT", "/manifests/sha256-", Said(status=201)))
    name = f"evidence/churn/1.0.0/{hashlib.sha256(CHUNK).hexdigest()}.json"
    refused(lambda: put(opened, name, CHUNK), StoreError, "no-referrers")


# -- credentials


def login(folder: Path, registry: Registry, **row: str) -> Path:
    pair = base64.b64encode(f"robot:{SECRET}".encode()).decode()
    path = folder / ".docker" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"auths": {registry.host: row or {"auth": pair}}}))
    return path


def basic(heard: Heard) -> Said | None:
    pair = base64.b64encode(f"robot:{SECRET}".encode()).decode()
    if heard.headers.get("authorization") == f"Basic {pair}":
        return None
    return Said(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})


def tokens(registry: Registry, realm: str = "") -> Rule:
    """Wants a token; hands them out to whoever knows the password, one for each scope."""
    pair = base64.b64encode(f"robot:{SECRET}".encode()).decode()

    def want(heard: Heard) -> Said | None:
        if heard.target.startswith("/token?"):
            if heard.headers.get("authorization") != f"Basic {pair}":
                return Said(status=401)
            scope = "w" if "pull%2Cpush" in heard.target else "r"
            return Said(status=200, body=json.dumps({"token": f"t-{scope}"}).encode())
        given = heard.headers.get("authorization")
        if given == "Bearer t-w" or (given == "Bearer t-r" and heard.method in ("GET", "HEAD")):
            return None
        where = realm or f"{registry.url}/token"
        challenge = f'Bearer realm="{where}",service="s",scope="repository:other:push"'
        return Said(status=401, headers={"WWW-Authenticate": challenge})

    return want


def test_a_password_and_tokens_are_sent_to_who_asks_for_them(
    registry: Registry, tmp_path: Path
) -> None:
    login(tmp_path, registry)
    for wanted in (basic, tokens(registry)):
        registry.rules[:] = [wanted]
        opened = store(registry)
        put(opened, NAME, CHUNK)
        assert opened.get(NAME, most=100) == CHUNK
    asked = [heard.target for heard in registry.heard if heard.target.startswith("/token")]
    # For our repository and what we do, whatever scope the registry names.
    assert asked == [
        "/token?service=s&scope=repository%3Achurn%3Apull%2Cpush",
        "/token?service=s&scope=repository%3Achurn%3Apull",
    ]


def test_a_file_that_the_uri_names_is_used(registry: Registry, tmp_path: Path) -> None:
    login(tmp_path, registry).rename(tmp_path / "auth.json")
    registry.rules.append(basic)
    refused(lambda: store(registry).get(NAME, most=9), StoreError, "no-credentials")
    put(store(registry, "?auth=auth.json", tmp_path), NAME, CHUNK)


def test_a_token_that_has_run_out_is_renewed(registry: Registry, tmp_path: Path) -> None:
    login(tmp_path, registry)
    registry.rules.append(tokens(registry))
    opened = store(registry)
    put(opened, NAME, CHUNK)
    first = Said(status=401, headers={"WWW-Authenticate": f'Bearer realm="{registry.url}/token"'})
    calls: list[int] = []

    def once(heard: Heard) -> Said | None:
        if "/token" in heard.target or calls:
            return None
        calls.append(1)
        return first

    registry.rules.insert(0, once)
    put(opened, NAME, CHUNK)
    assert calls == [1]


@pytest.mark.parametrize(
    "realm",
    ["{other}/token", "https://tokens.example/t", "ftp://{host}/token", "", "token", "//{host}/t"],
)
def test_rule_15_credentials_go_to_no_other_host(
    registry: Registry, other: Registry, tmp_path: Path, realm: str
) -> None:
    login(tmp_path, registry)
    named = realm.format(other=other.url, host=registry.host)
    challenge = {"WWW-Authenticate": f'Bearer realm="{named}",service="s"'}
    registry.rules.append(lambda heard: Said(status=401, headers=challenge))
    refused(lambda: store(registry).get(NAME, most=9), ResidencyMismatch, "redirected")
    assert other.heard == []


def test_a_named_token_service_is_asked(
    registry: Registry, other: Registry, tmp_path: Path
) -> None:
    login(tmp_path, registry)
    registry.rules.append(tokens(registry, f"{other.url}/token"))
    other.rules[:] = [lambda heard: Said(status=200, body=b'{"access_token":"t-w"}')]
    put(store(registry, f"?token={other.host}"), NAME, CHUNK)
    assert len(other.heard) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"token":7}', b'{"token":"a b"}', b'{"token":"a\\r\\nX: y"}', b"[1]"]
)
def test_what_is_no_token_is_not_sent(registry: Registry, tmp_path: Path, body: bytes) -> None:
    login(tmp_path, registry)
    registry.rules += [rule("GET", "/token", Said(status=200, body=body)), tokens(registry)]
    refused(lambda: store(registry).get(NAME, most=9), StoreError, "no-token")


def test_wrong_credentials_are_told(registry: Registry, tmp_path: Path) -> None:
    wrong = base64.b64encode(f"robot:{SECRET}!".encode()).decode()
    login(tmp_path, registry, auth=wrong)
    for wanted in (basic, tokens(registry)):
        registry.rules[:] = [wanted]
        refused(lambda: store(registry).get(NAME, most=9), StoreError, "credentials")


def test_an_identity_token_is_changed_for_one(registry: Registry, tmp_path: Path) -> None:
    login(tmp_path, registry, identitytoken=SECRET)
    registry.rules += [
        rule("POST", "/token", Said(status=200, body=b'{"access_token":"t-w"}')),
        tokens(registry),
    ]
    put(store(registry), NAME, CHUNK)
    assert not any(SECRET in heard.target for heard in registry.heard)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"auths": {{"HOST": {{"auth": "{SECRET}"}}}}}}',
        f'{{"auths": {{"HOST": {{"auth": "{base64.b64encode(SECRET.encode()).decode()}"}}}}}}',
        f'{{"auths": "{SECRET}"}}',
        f'{{"auths": {SECRET}',
    ],
)
def test_a_damaged_file_of_credentials_is_told_without_what_is_in_it(
    registry: Registry, tmp_path: Path, text: str
) -> None:
    login(tmp_path, registry).write_text(text.replace("HOST", registry.host))
    registry.rules.append(basic)
    refused(lambda: store(registry).get(NAME, most=9), ConfigError, "bad-credentials")


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
        ("https://reg.example", "reg.example"),
        ("REG.example:5000/v2/", "reg.example:5000"),
        ("reg.example", None),
        ("reg.example.evil.example", None),
    ],
)
def test_credentials_are_found_by_the_registrys_host(
    tmp_path: Path, key: str, host: str | None
) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {key: {"username": "robot", "password": SECRET}}}))
    account = Account(host=host or "other.example", repository="m", file=path, tokens=frozenset())
    found = read_credentials(account)
    assert (found is not None) == (host is not None)
    assert SECRET not in repr(found)


def test_no_credential_helper_is_run(registry: Registry, tmp_path: Path) -> None:
    path = login(tmp_path, registry)
    path.write_text(json.dumps({"credsStore": "evil", "credHelpers": {registry.host: "evil"}}))
    registry.rules.append(basic)
    error = refused(lambda: store(registry).get(NAME, most=9), StoreError, "no-credentials")
    assert "helper" in str(error.why)
    assert "?auth=FILE" in str(error.fix)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "DENIED", "access-denied"),
        (404, "NAME_UNKNOWN", "unknown-repository"),
        (500, "", "no-answer"),
        (400, "UNSUPPORTED", "no-answer"),
    ],
)
def test_a_refusal_is_told_in_our_words(
    registry: Registry, status: int, code: str, reason: str
) -> None:
    body = json.dumps({"errors": [{"code": code, "message": f"{SECRET} \x1b[31m"}]}).encode()
    said = Said(status=status, body=body, headers={"Retry-After": "0"})
    registry.rules.append(rule("POST", "/uploads/", said))
    error = refused(lambda: put(store(registry), NAME, CHUNK), StoreError, reason)
    assert str(status) in str(error.why)
