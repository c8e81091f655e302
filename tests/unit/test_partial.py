"""Which file and which bytes `pull --file` and `--range` mean: exact names, both ends counted."""

from __future__ import annotations

import hashlib

import pytest

from sovgate.errors import UsageError
from sovgate.formats.manifest import Manifest, Resource
from sovgate.pipeline.move.wanted import Wanted, resource_of, span_of

FILES = {
    "config.json": 13,
    "empty": 0,
    "model.bin": 10240,
    "sub/config.json": 13,
    "sub/twin.json": 13,
    "w\u00e9ights.bin": 4,
}


def manifest(files: dict[str, int], kind: str = "directory") -> Manifest:
    resources = tuple(
        Resource(name=name, size=size, digest=hashlib.sha256(bytes(size)).hexdigest())
        for name, size in sorted(files.items())
    )
    return Manifest(kind=kind, resources=resources)  # type: ignore[arg-type]


MODEL = manifest(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_found_by_its_exact_name(name: str) -> None:
    assert resource_of(MODEL, name).name == name


NEAR = {
    "confg.json": "did you mean 'config.json'",
    "CONFIG.JSON": "did you mean 'config.json' or 'sub/config.json'?",
    "other/twin.json": "did you mean 'sub/twin.json'?",
    "./model.bin": "did you mean 'model.bin'?",
    "sub": "there are 'config.json', 'empty', 'model.bin', 'sub/config.json', 'sub/twin.json', "
    "and 1 more",
    "/etc/passwd": "there are",
    "sub/../config.json": "did you mean",
    "we\u0301ights.bin": "did you mean 'w\u00e9ights.bin'?",
    "": "there are",
    "x" * 100_000: "there are",
}


@pytest.mark.parametrize("name", NEAR, ids=range(len(NEAR)))
def test_a_name_that_is_not_there_is_answered_with_those_like_it(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        resource_of(MODEL, name)
    assert caught.value.reason == "no-such-file"
    assert str(caught.value.fix).startswith(NEAR[name])
    assert len(caught.value.what) < 250


def test_names_that_are_very_many_are_looked_through_in_bounded_time() -> None:
    """difflib compares with each: of a million names that would take minutes."""
    many = manifest({f"{folder}/{number:04}.bin": 0 for folder in "ab" for number in range(2_500)})
    with pytest.raises(UsageError) as caught:
        resource_of(many, "b/0007.bim")
    assert str(caught.value.fix).startswith("did you mean 'b/0007.bin'")


def test_a_model_that_is_one_file_is_named_by_a_dot() -> None:
    alone = manifest({".": 9}, "file")
    assert resource_of(alone, ".").size == 9
    with pytest.raises(UsageError) as caught:
        resource_of(alone, "model.onnx")
    assert caught.value.fix == "the model is one file: --file ."


@pytest.mark.parametrize(
    ("name", "text", "span"),
    [
        ("model.bin", None, (0, 10240)),
        ("empty", None, (0, 0)),
        ("empty", "0-", (0, 0)),
        ("model.bin", "0-0", (0, 1)),
        ("model.bin", "0-", (0, 10240)),
        ("model.bin", "10239-", (10239, 10240)),
        ("model.bin", "5-10239", (5, 10240)),
    ],
)
def test_both_ends_of_a_range_are_given_out(
    name: str, text: str | None, span: tuple[int, int]
) -> None:
    found = span_of(resource_of(MODEL, name), Wanted.parse(name, text))
    assert (found.start, found.stop) == span
    assert found.whole is (span == (0, FILES[name]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.bin", "0-10240"),
        ("model.bin", "10240-"),
        ("model.bin", "10240-10241"),
        ("model.bin", "0-9999999999999999"),
        ("empty", "0-0"),
        ("empty", "1-"),
    ],
)
def test_less_than_was_asked_for_is_no_answer(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        span_of(resource_of(MODEL, name), Wanted.parse(name, text))
    assert caught.value.reason == "bad-range"
    assert str(FILES[name]) in str(caught.value.why)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-5",
        "9-5",
        "0x1-2",
        "1-2-3",
        " 1-2",
        "+1-2",
        "01-2",
        "1_0-20",
        "1-2\n",
        "\u0663-\u0664",
    ],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Wanted.parse("model.bin", text)
    assert caught.value.reason == "bad-range"
