"""A release as OCI manifests: their bytes and limits, and names as tags."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import ConfigError, Malformed, SovgateError, StoreError
from sovgate.formats import ociimage
from sovgate.formats.plan import MAX_CHUNKS
from sovgate.records import Sized
from sovgate.stores import oci
from sovgate.stores.oci.names import MAX_TAG, name_of, place
from sovgate.stores.registry import open_store
from sovgate.uri import parse

VECTORS = Path(__file__).parents[1] / "vectors" / "registry"
EMPTY = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def blob(number: int) -> Sized:
    return Sized(sha256=f"{number:064x}", size=16 * 1024 * 1024 + 28)


def test_the_vectors_are_what_is_written() -> None:
    """docs/formats.md shows them."""
    carried = ociimage.Carried(
        name="releases/churn/1.1.0.json",
        beside={
            "releases/churn/1.0.0.json": Sized(sha256="1" * 64, size=9000),
            "sequences/churn/000000000002.json": Sized(sha256="2" * 64, size=150),
        },
    )
    config = carried.emit()
    record = [(ociimage.OBJECT_LAYER, Sized(sha256="3" * 64, size=9100))]
    made = {
        "config.json": config,
        "release.json": ociimage.manifest(ociimage.RELEASE, record, config=Sized.of(config)),
        "chunks.json": ociimage.manifest(ociimage.CHUNKS, [(ociimage.CHUNK_LAYER, blob(4))]),
    }
    rows = [Sized.of(made["release.json"]), Sized.of(made["chunks.json"])]
    made["index.json"] = ociimage.index(rows)
    for name, data in made.items():
        assert (VECTORS / name).read_bytes() == data, name
    assert ociimage.Carried.parse(config) == carried
    assert ociimage.read_index(made["index.json"]) == tuple(rows)
    read = ociimage.read_manifest(made["release.json"])
    assert (read.artifact_type, read.layers) == (ociimage.RELEASE, tuple(record))
    assert read.config == (ociimage.CONFIG, Sized.of(config))


def test_an_index_has_no_field_that_a_copy_loses() -> None:
    """Older copying tools write an index anew, and keep these fields in this order alone."""
    value = json.loads(ociimage.index([blob(1)]))
    assert list(value) == ["schemaVersion", "mediaType", "manifests"]
    assert list(value["manifests"][0]) == ["mediaType", "digest", "size"]


def test_what_needs_no_config_has_the_empty_one() -> None:
    config = json.loads(ociimage.manifest(ociimage.CHUNKS, []))["config"]
    assert config == {"mediaType": ociimage.EMPTY, "digest": f"sha256:{EMPTY}", "size": 2}
    assert hashlib.sha256(ociimage.NO_CONFIG).hexdigest() == EMPTY


@pytest.mark.parametrize(
    ("layers", "cut"), [(0, []), (1, [1]), (400, [400]), (401, [400, 1]), (1000, [400, 400, 200])]
)
def test_a_manifest_has_at_most_400_layers(layers: int, cut: list[int]) -> None:
    rows = [(ociimage.CHUNK_LAYER, blob(number)) for number in range(layers)]
    made = list(oci._cut(ociimage.CHUNKS, rows))
    read = [ociimage.read_manifest(data) for data in made]
    assert [len(one.layers) for one in read] == cut
    assert [layer for one in read for layer in one.layers] == rows
    assert all(len(data) < ociimage.MAX_BYTES // 50 for data in made)


def test_the_largest_release_fits_and_one_chunk_in_four_more_does_not(tmp_path: Path) -> None:
    store = open_store("oci://localhost:1/churn", tmp_path)
    assert isinstance(store, oci.OciStore)
    store.require_room("releases/churn/1.0.0.json", chunks=MAX_CHUNKS)
    with pytest.raises(StoreError) as caught:
        store.require_room("releases/churn/1.0.0.json", chunks=40 * MAX_CHUNKS)
    assert caught.value.reason == "limits"


def _index(**changes: object) -> bytes:
    row = {"mediaType": ociimage.MANIFEST, "digest": f"sha256:{'a' * 64}", "size": 3, **changes}
    return json.dumps({"schemaVersion": 2, "manifests": [row]}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"schemaVersion":1,"manifests":[]}',
        b'{"schemaVersion":2,"mediaType":"text/plain","manifests":[]}',
        b'{"schemaVersion":2,"manifests":[],"manifests":[]}',
        _index(digest="a" * 64),
        _index(digest=f"sha512:{'a' * 64}"),
        _index(digest=f"sha256:{'A' * 64}"),
        _index(digest="sha256:../../etc/passwd"),
        _index(size=-1),
        _index(size="3"),
        b'{"schemaVersion":2,"manifests":[' + b" " * ociimage.MAX_BYTES + b"]}",
    ],
)
def test_an_index_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        ociimage.read_index(data)


def test_what_copying_tools_add_is_passed_over() -> None:
    data = _index(annotations={"a": "b"}, platform={"os": "linux"}, urls=["https://x.example"])
    assert ociimage.read_index(data) == (Sized(sha256="a" * 64, size=3),)


# -- names and tags


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("releases/churn/1.4.0.json", "churn-V1.4.0"),
        ("sequences/churn/000000000007.json", "_sequencesXchurnX000000000007.json"),
        ("audit/0a/0000.json", "_auditX0aX0000.json"),
        ("releases/a-/-b.json", None),
        ("releases/a-.json", "_releasesXa-.json"),
    ],
)
def test_a_name_has_its_tag(name: str, tag: str | None) -> None:
    if tag is None:
        with pytest.raises(SovgateError):
            place(name)
    else:
        assert place(name).tag == tag
        assert name_of(tag) == name


@pytest.mark.parametrize(
    "tag", ["latest", "v1", "", "_", "-V1", "a-V", "sha256-" + "a" * 64, "_aXXb", "A-V1", "_a/b"]
)
def test_a_tag_of_others_is_no_name(tag: str) -> None:
    assert name_of(tag) is None


PART = st.text("ab0._-", max_size=8).map(lambda text: f"a{text}")


@given(st.lists(PART, min_size=1, max_size=5), st.lists(PART, min_size=1, max_size=5))
def test_no_two_names_have_one_tag(first: list[str], second: list[str]) -> None:
    tags = []
    for parts in (first, second):
        name = "/".join(parts)
        made = place(name).tag
        assert made is None or (name_of(made) == name and len(made) <= MAX_TAG)
        tags.append(made)
    assert tags[0] is None or (tags[0] == tags[1]) == (first == second)


@given(PART, PART, PART, PART)
def test_no_two_releases_have_one_tag(a: str, b: str, c: str, d: str) -> None:
    names = [f"releases/{a}/{b}.json", f"releases/{c}/{d}.json"]
    tags = [place(name).tag for name in names]
    assert (tags[0] == tags[1]) == (names[0] == names[1])
    assert [name_of(str(tag)) for tag in tags] == names


@pytest.mark.parametrize(
    "uri",
    [
        "oci://reg.example",
        "oci://reg.example/",
        "oci://reg.example/Models",
        "oci://reg.example/models:1.0",
        "oci://reg.example/models@sha256:" + "a" * 64,
        "oci://reg.example/a//b",
        "oci://reg.example/../b",
        "oci:///models",
        "oci://reg example/models",
        "oci://reg.example:x/models",
        "oci://reg.example/models?tags=mutable",
        "oci://reg.example/models?tags=immutable&tags=immutable",
        "oci://reg.example/models?insecure=true",
        "oci://reg.example/models?",
        "oci://reg.example/models?redirects=https://x.example/",
        "oci://reg.example/models?redirects=",
        "oci://reg.example/models?token=a@b.example",
        "oci://user:pw@reg.example/models",
    ],
)
def test_a_uri_that_names_no_repository_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri, tmp_path)
    assert "pw" not in f"{caught.value.what} {caught.value.why} {caught.value.fix}"


def test_a_uri_with_a_tag_is_told_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store("oci://reg.example/team/churn:1.0", tmp_path)
    assert "oci://reg.example/team/churn;" in str(caught.value.fix)


def test_a_registry_is_reached_over_tls_but_on_this_machine(tmp_path: Path) -> None:
    def url(uri: str) -> str:
        return oci.read_uri(parse(uri, what="store"), tmp_path, None).url

    assert url("oci://reg.example/churn") == "https://reg.example"
    assert url("oci://reg.example:5000/churn") == "https://reg.example:5000"
    assert url("oci://localhost:5000/churn") == "http://localhost:5000"


def test_a_redirect_may_lead_to_named_hosts_and_the_zones_own_buckets(tmp_path: Path) -> None:
    uri = parse("oci://reg.example/churn?redirects=cdn.example,b.example:8443", what="store")
    made = oci.read_uri(uri, tmp_path, "aws:eu-central-1")
    for host, allowed in (
        ("cdn.example", True),
        ("b.example:8443", True),
        ("b.example", False),
        ("x.cdn.example", False),
        ("layers.s3.eu-central-1.amazonaws.com", True),
        ("layers.s3.us-east-1.amazonaws.com", False),
        ("s3.eu-central-1.amazonaws.com.evil.example", False),
    ):
        assert made.may_redirect(host) is allowed, host
