"""Manifest and OMS statement: what identifies a model, and what does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import Malformed, SovgateError, VerificationFailed
from sovgate.formats.manifest import Manifest, Resource, by_parts
from sovgate.formats.oms import Oms
from sovgate.formats.statement import PREDICATE_TYPES, Statement


def resource(name: str, content: bytes = b"x") -> Resource:
    return Resource(name=name, size=len(content), digest=hashlib.sha256(content).hexdigest())


def directory(*names: str) -> Manifest:
    return Manifest(kind="directory", resources=tuple(resource(name) for name in names))


def test_identity_is_the_digest_of_the_canonical_document() -> None:
    manifest = directory("a", "b/c")
    document = json.loads(manifest.canonical())
    assert document["format"] == "sovgate.manifest/v0"
    assert document["serialization"] == {
        "allow_symlinks": False,
        "hash_type": "sha256",
        "method": "files",
    }
    assert manifest.digest == hashlib.sha256(manifest.canonical()).hexdigest()
    assert manifest.sized.size == len(manifest.canonical())
    assert manifest.total == 2
    assert Manifest.parse(manifest.canonical()) == manifest


def test_the_order_is_that_of_code_points_of_the_whole_name() -> None:
    directory("B", "a-b", "a.d", "a/c", "é", "\uffee", "\U0001d11e")
    for late in (("a/c", "a-b"), ("b", "C"), ("\U0001d11e", "\uffee")):
        with pytest.raises(VerificationFailed) as caught:
            directory(*late)
        assert caught.value.reason == "resource-order"


def test_a_list_in_the_order_of_before_is_refused_and_says_what_to_do() -> None:
    for names, old in ((("a/c", "a-b"), True), (("b", "C"), False), (("a/c", "a-b", "a"), False)):
        with pytest.raises(VerificationFailed) as caught:
            directory(*names)
        assert ("before 0.2.0" in str(caught.value.why)) == old
        assert ("sign and record it again" in str(caught.value.fix)) == old


PARTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='/\\:"'),
    min_size=1,
    max_size=4,
).filter(lambda part: part not in (".", "..") and part[-1] not in ". ")


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=8))
def test_the_order_of_model_signing_is_that_of_pure_paths(names: list[str]) -> None:
    assert sorted(names, key=by_parts) == sorted(names, key=PurePosixPath)


def test_rule_01_same_root_but_other_names_is_another_model() -> None:
    first, second = directory("a", "b"), directory("a", "c")
    assert Oms.of(first, subject_name="m").root == Oms.of(second, subject_name="m").root
    assert first.digest != second.digest


def test_rule_01_a_directory_of_one_file_is_not_that_file() -> None:
    whole = Manifest(kind="file", resources=(resource("."),))
    inside = directory("weights.bin")
    assert Oms.of(whole, subject_name="m").root == Oms.of(inside, subject_name="m").root
    assert whole.digest != inside.digest


def test_rule_01_sizes_are_bound() -> None:
    one = Manifest(kind="file", resources=(Resource(name=".", size=1, digest="ab" * 32),))
    two = Manifest(kind="file", resources=(Resource(name=".", size=2, digest="ab" * 32),))
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "empty-model"),
        (["a", "a"], "duplicate-resource"),
        (["b", "a"], "resource-order"),
        (["../a"], "unsafe-name"),
        (["/a"], "unsafe-name"),
        (["."], "unsafe-name"),
        (["a//b"], "unsafe-name"),
        (["a/../b"], "unsafe-name"),
        (["a\\b"], "unsafe-name"),
        (["a:b"], "unsafe-name"),
        (["a\n"], "unsafe-name"),
        (["\u202etxt.exe"], "unsafe-name"),
        (["con.txt"], "unsafe-name"),
        (["a."], "unsafe-name"),
        (["A", "a"], "unsafe-name"),
        (["e\u0301", "é"], "unsafe-name"),
        (["ß", "ẞ"], "unsafe-name"),
        (["a", "a/b"], "unsafe-name"),
        (["x" * 5000], "unsafe-name"),
        (["/".join("a" * 66)], "limits"),
    ],
)
def test_rule_04_names_of_a_model(names: list[str], reason: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        directory(*names)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "tree"},
        {"format": "sovgate.manifest/v1"},
        {"serialization": {"allow_symlinks": 0, "hash_type": "sha256", "method": "files"}},
        {"extra": 1},
        {"resources": [{"name": "a", "size": -1, "algorithm": "sha256", "digest": "ab" * 32}]},
        {"resources": [{"name": "a", "size": 1, "algorithm": "sha512", "digest": "ab" * 32}]},
        {"resources": [{"name": "a", "size": True, "algorithm": "sha256", "digest": "ab" * 32}]},
        {"resources": [{"name": "a", "size": 1, "algorithm": "sha256", "digest": "AB" * 32}]},
    ],
    ids=str,
)
def test_rule_03_a_manifest_has_one_spelling(change: dict[str, Any]) -> None:
    document = json.loads(directory("a").canonical()) | change
    with pytest.raises(Malformed):
        Manifest.parse(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(Malformed):
        Manifest.parse(directory("a").canonical() + b"\n")


def test_oms_statement_says_what_was_signed_and_gives_the_manifest_back() -> None:
    manifest = directory("a", "b/c")
    oms = Oms.of(manifest, subject_name="churn", ignored=("model.sig",))
    statement = oms.statement()
    assert (
        statement.subject_sha256
        == hashlib.sha256(b"".join(bytes.fromhex(r.digest) for r in manifest.resources)).hexdigest()
    )
    again = Oms.parse(Statement.parse(statement.payload()))
    assert again == oms
    assert again.manifest() == manifest
    assert again.ignore_paths == (".git", ".gitattributes", ".github", ".gitignore", "model.sig")


def change_oms(**change: Any) -> Statement:
    statement = Oms.of(directory("a", "b"), subject_name="m").statement()
    predicate = statement.predicate
    for key, value in change.items():
        place = predicate["serialization"] if key in predicate["serialization"] else predicate
        place[key] = value
    return Statement(
        subject_name="m",
        subject_sha256=statement.subject_sha256,
        predicate_type=statement.predicate_type,
        predicate=predicate,
    )


def test_oms_without_sizes_tells_no_manifest_before_the_bytes_are_there() -> None:
    bare = [
        {"name": r.name, "algorithm": "sha256", "digest": r.digest, "size": size}
        for r, size in zip(directory("a", "b").resources, ("1", 1.5), strict=True)
    ]
    oms = Oms.parse(change_oms(resources=bare, extra={"ignored": True}))
    assert oms.manifest() is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "zip"}, "unsupported-serialization"),
        ({"method": "shards"}, "malformed"),
        ({"hash_type": "md5"}, "unsupported-serialization"),
        ({"hash_type": "blake2b"}, "malformed"),
        ({"ignore_paths": [5]}, "malformed"),
        ({"ignore_paths": "a"}, "malformed"),
        ({"allow_symlinks": "false"}, "malformed"),
        ({"resources": []}, "empty-model"),
        ({"resources": "a"}, "malformed"),
        ({"resources": [{"name": "a", "algorithm": "sha256", "digest": "00"}]}, "malformed"),
        (
            {"resources": [{"name": "a", "algorithm": "sha256", "digest": "0" * 64}]},
            "root-mismatch",
        ),
    ],
    ids=str,
)
def test_oms_statements_that_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        Oms.parse(change_oms(**change))
    assert caught.value.reason == reason


def test_rule_03_another_predicate_is_no_signature() -> None:
    statement = Statement(
        subject_name="m",
        subject_sha256="ab" * 32,
        predicate_type=PREDICATE_TYPES["gate"],
        predicate={},
    )
    with pytest.raises(VerificationFailed) as caught:
        Oms.parse(statement)
    assert caught.value.reason == "wrong-predicate"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.data())
def test_a_signed_statement_that_is_wrong_anywhere_is_refused_with_our_own_errors(
    data: st.DataObject,
) -> None:
    """Whatever a trusted signer writes, nothing but our errors comes of it, and no other model."""
    manifest = directory("a", "b/c")
    document = json.loads(Oms.of(manifest, subject_name="m").statement().payload())
    here, path = document, []
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        path.append(data.draw(st.sampled_from(keys)))
        below = here[path[-1]]
        if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
            break
        here = below
    if data.draw(st.booleans()):
        del here[path[-1]]
    else:
        here[path[-1]] = data.draw(JSON)
    try:
        oms = Oms.parse(Statement.parse(json.dumps(document).encode()))
    except SovgateError:
        return
    # The subject's name and what OMS does not define change nothing.
    if path[0] != "predicate":
        assert oms.manifest() == manifest
