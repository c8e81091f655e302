"""schemas/project.json says what the loader of sovgate.yaml says, as far as JSON Schema can.

What it cannot say is listed on the page that is made from it; `beyond` is the same list.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sovgate import config, regions
from sovgate.errors import ConfigError, VerificationFailed
from sovgate.formats.yaml12 import Decimal, load
from sovgate.git.url import parse_remote
from sovgate.names import check_name
from sovgate.pipeline.look import answers as answers_
from sovgate.pipeline.look import scaffold
from sovgate.pipeline.look.init import zone_answer
from sovgate.records import CLASSES, ROLES
from sovgate.surface import project
from tests.effort import examples, some

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "schemas" / "project.json").read_text(encoding="utf-8")
SCHEMA = json.loads(TEXT)
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)
PAGE = (ROOT / "docs" / "reference" / "project.md").read_text(encoding="utf-8")

#: Every key of the file, so that a change of any value is tried.
WHOLE: dict[str, Any] = {
    "version": 1,
    "model": "kyc-risk",
    "pattern": "hybrid",
    "zones": {
        "home": {
            "region": "aws:us-east-1",
            "store": {"uri": "file:/mnt/home", "reuse": True},
            "keys": {
                "sign": "file:keys/sign.pem",
                "encrypt": {
                    "key": "awskms:///alias/x",
                    "region": "aws:us-east-1",
                    "account": "444455556666",
                    "profile": "home",
                },
            },
        },
        "eu": {
            "region": "aws-eusc:eusc-de-east-1",
            "store": "s3://kyc-eu",
            "keys": {
                "sign": "awskms:///arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/1",
                "sign-public": "keys/eu-sign.pub.pem",
                "encrypt": "pkcs11:token=eu?pin-source=file:/run/pin",
                "encrypt-public": "./keys/eu.pub.pem",
            },
            "require": "api",
            "gitops": {
                "repo": "https://git.example.eu/ml/serving.git",
                "commit": {"message": "OPS-17: {subject}", "author": "Bot <bot@bank.example>"},
                "path": "overlays/eu",
                "kind": "kustomize",
                "via": "pull-request",
                "branch": "main",
                "deployment": "ns/serve",
                "container": "server",
            },
        },
    },
    "classes": ["embeddings"],
    "datasets": {
        "public": {"manifest": "data/public.yaml", "category": "public", "stays-in": []},
        "kyc-eu": {"category": "personal", "stays-in": ["EU", "NO"], "lifts": ["mia"]},
        "unknown": {"stays-in": None},
    },
    "border": {
        "weights": {"allow": ["home -> eu"]},
        "telemetry": {"allow": ["eu->home"], "fields": ["latency"]},
        "embeddings": {"allow": []},
    },
    "trust": [
        {"name": "ci", "key": "keys/us.pem", "may": ["signature", "sbom"], "from": "home"},
        {
            "name": "legal",
            "certificate": {
                "root": "keys/ca.pem",
                "san": "dpo@bank.example",
                "unsafe-authority-leaf": True,
            },
            "may": ["legal", "waiver"],
        },
        {
            "name": "gone",
            "key": "keys/gone.pem",
            "may": ["provenance"],
            "former": True,
            "until": "2026-11-01T00:00:00Z",
        },
        {
            "name": "release",
            "keyless": {
                "identity": "release@bank.example",
                "issuer": "https://accounts.bank.example",
                "trusted-root": "keys/trusted_root.json",
            },
            "may": ["signature"],
        },
    ],
    "set-aside": [{"record": "sha256:" + "ab" * 32, "reason": "the clock of gpu-7 was wrong"}],
    "gates": {
        "accuracy": {"at-least": 0.9, "before": "transfer"},
        "regression": {"at-most": 1, "before": "deploy"},
        "legal": {"dataset": "kyc-eu", "before": "deploy"},
    },
    "policy": {
        "presets": ["eu-personal-data"],
        "rules": "policies/",
        "expect": ["weekend"],
        "mode": "enforce",
        "engine": "both",
        "pickles": "refuse",
    },
    "audit": {"zone": "eu", "keep": "7y"},
}

#: Values that a person or an attacker might put anywhere.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 0.5, 1.5, [], {}, "", " ", "x", "-", "eu", "home", "NO"),
    *("EU", "UK", "kyc-eu", "aws:us-east-1", "us-east-1", "weights", "weigths", "embeddings"),
    *("signature", "sign", "legal", "home -> eu", "home -> ue", "home eu", "\thome->eu\n"),
    *("7y", "0y", "7y\n", "12345d", "main", "a..b", "x.lock", "a b", "@", "feature/x", "/x", ".x"),
    *("../x", "a/../b", "a/..", "a..b/c", "..", "-x", "a\\b", "overlays/eu\n/..", "x" * 4097),
    *(
        "x" * 2049,
        "s3://user:pw@b",
        "s3://b/a@b",
        "S3://b",
        "./S3://b",
        "sigstore:x",
        "s3:",
        "s3://",
        "file:",
    ),
    *("file://", "file:a@b", "s3:\\x@b", "c:\\x", "a@b:c", "pkcs11:pin-value=1", "a\x00b", "a\nb"),
    *("pkcs11:x?pin-value=1", "awskms:///alias/x@y", "x://", "é://x", "a\u2028b", "\x7f", "api"),
    *("http://git.example/x", "https://u:p@h/x", "git@h:x", "ext::sh", "é", "0.9", ["EU"], ["UK"]),
    *(["home -> eu"], ["home -> eu", "home -> eu"], [1], [""], ["a\x00b"], [None], ["signature"]),
    *(["sign"], {"a": 1}, {"region": "aws:us-east-1"}, [{"name": "a"}], {"before": "deploy"}),
    *({"uri": "s3://b"}, {"uri": 1}, {"uri": "s3://b", "reuse": 1}, {"reuse": True}),
    *({"key": "awskms:///alias/x"}, {"key": "awskms:x?account=1", "account": "444455556666"}),
    *({"key": "keys/a.pem"}, {"key": "keys/a.pem", "account": "444455556666"}, {"account": "x"}),
    *({"key": {"key": "a"}}, "444455556666", "aws:eu-central-1", "https://bao.eu:8200"),
    *({"zone": "eu"}, {"allow": ["home -> eu"]}, {"x": {"allow": []}}, {"weights": {"allow": []}}),
]


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if not isinstance(value, (dict, list)):
        return [path]
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, below in steps for place in places(below, (*path, key)))]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


PLACES = [place for place in places(WHOLE) if place]
#: Where keys are. What is added there is added once, and not once beside each of them.
MAPPINGS = [place for place in places(WHOLE) if isinstance(at(WHOLE, place), dict)]
STRAY = ("x", "", "Zone", "zone_", "stor", "a" * 200)
KEYS = sorted({str(place[-1]) for place in PLACES}.union(STRAY))


def loaded(document: Any) -> str | None:
    """What the loader says: None where it accepts, else the reason."""
    text = json.dumps(document, ensure_ascii=True)  # JSON is YAML, but for surrogate pairs
    try:
        config.parse(text.encode(), Path("sovgate.yaml"))
    except ConfigError as error:
        return str(error.reason)
    return None


def beyond(document: Any) -> bool:
    """Whether the document has one of the faults that the page lists: the schema can't say them."""

    def part(value: Any, key: str, kind: type = dict) -> Any:
        found = value.get(key) if isinstance(value, dict) else None
        return found if isinstance(found, kind) else kind()

    zones, datasets = part(document, "zones"), part(document, "datasets")
    named = [
        *(
            zone
            for rule in part(document, "border").values()
            for text in part(rule, "allow", list)
            if isinstance(text, str)
            for zone in re.split(r"\s*->\s*", text.strip())
        ),
        *(
            row["from"]
            for row in part(document, "trust", list)
            if isinstance(row, dict) and "from" in row
        ),
        part(document, "audit").get("zone"),
    ]
    repos = [part(zone, "gitops").get("repo") for zone in zones.values()]
    paths = [part(zone, "gitops").get("path") for zone in zones.values()]
    gates = [g.get("dataset") for g in part(document, "gates").values() if isinstance(g, dict)]
    classes = {*CLASSES, *(c for c in part(document, "classes", list) if isinstance(c, str))}
    return (
        any(isinstance(zone, str) and zone not in zones for zone in named)
        or any(isinstance(repo, str) and not usable(repo) for repo in repos)
        or any(isinstance(path, str) and not portable(path) for path in paths)
        or any(isinstance(name, str) and name not in datasets for name in gates)
        or ("classes" in document and any(c not in classes for c in part(document, "border")))
    )


def usable(repo: str) -> bool:
    try:
        parse_remote(repo, Path("/"))
    except ConfigError:
        return False
    return True


def portable(path: str) -> bool:
    """Whether a folder of that name can lie in a repository, on each system."""
    path = posixpath.normpath(path)
    try:
        if path != ".":
            check_name(path)
    except VerificationFailed:
        return False
    return not any(part.lower().startswith(".git") for part in path.split("/"))


def same(document: Any) -> None:
    reason, valid = loaded(document), VALIDATOR.is_valid(document)
    if reason is None:
        assert valid, [error.message for error in VALIDATOR.iter_errors(document)]
    else:
        assert not valid or reason == "bad-yaml" or beyond(document), reason


def changed(place: tuple[str | int, ...], change: str, value: Any, key: str) -> Any:
    document = json.loads(json.dumps(WHOLE))
    above = at(document, place[:-1])
    if change == "drop":
        del above[place[-1]]
    elif change == "rename" and isinstance(above, dict):
        above[key] = above.pop(str(place[-1]))
    elif change == "add" and isinstance(above, dict):
        above[key] = value
    else:
        above[place[-1]] = value
    return document


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert TEXT.isascii()  # printed by `init --schema` on any terminal


def test_the_whole_file_is_accepted_by_both() -> None:
    assert loaded(WHOLE) is None
    assert VALIDATOR.is_valid(WHOLE)
    assert not beyond(WHOLE)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_every_value_in_every_place_is_judged_alike(place: tuple[str | int, ...]) -> None:
    same(changed(place, "drop", None, ""))
    for value in some(VALUES, by=place):
        same(changed(place, "set", value, ""))
    above = at(WHOLE, place[:-1])
    if isinstance(above, dict):
        for key in some(sorted({*above, *STRAY}), by=place):
            same(changed(place, "rename", None, key))


@pytest.mark.parametrize("place", MAPPINGS, ids=lambda place: ".".join(map(str, place)))
def test_every_key_in_every_mapping_is_judged_alike(place: tuple[str | int, ...]) -> None:
    for key in some(KEYS, by=place):
        same(changed((*place, key), "set", "x", ""))


LEAST: dict[str, Any] = {
    "version": 1,
    "model": "churn",
    "zones": {"eu": {"region": "aws:eu-west-3"}},
}
GATE = {"before": "deploy"}


@pytest.mark.parametrize(
    ("more", "accepted"),
    [
        ({}, True),
        ({"zones": {}}, False),
        ({"zones": []}, False),
        *(({"zones": {n: LEAST["zones"]["eu"]}}, True) for n in ("e", "0", "e-", "e" * 63)),
        *(
            ({"zones": {n: LEAST["zones"]["eu"]}}, False)
            for n in ("", "E", "-e", "e_u", "é", "e" * 64)
        ),
        ({"datasets": []}, False),
        ({"datasets": {"a": {}}, "gates": {"g": {**GATE, "dataset": "a"}}}, True),
        ({"datasets": {"a": {}}, "gates": {"g": {**GATE, "dataset": "a", "at-least": 1}}}, False),
        ({"datasets": {"a": {}}, "gates": {"g": {**GATE, "dataset": "a", "at-most": 1}}}, False),
        ({"gates": {"": GATE}}, True),
        ({"gates": {"g": {**GATE, "at-least": 0.1, "at-most": 0.2}}}, False),
        *(
            ({"trust": [{"name": "n", "may": ["signature"], "certificate": {"root": "r"} | c}]}, ok)
            for c, ok in (
                ({"san": "s"}, True),
                ({"unsafe-any-subject": True}, True),
                ({"unsafe-any-subject": True, "unsafe-authority-leaf": True}, True),
                ({}, False),
                ({"unsafe-any-subject": False}, False),
                ({"unsafe-any-subject": "true"}, False),
                ({"unsafe-any-subject": 1}, False),
                ({"san": "s", "unsafe-any-subject": True}, False),
                ({"san": "s", "unsafe-authority-leaf": False}, False),
            )
        ),
        ({"border": {"weights": {"allow": []}}}, True),
        ({"border": {"embeddings": {"allow": []}}}, False),
        ({"border": {"embeddings": {"allow": []}}, "classes": ["embeddings"]}, True),
        ({"border": {"Embeddings": {"allow": []}}, "classes": ["Embeddings"]}, False),
        ({"border": {"e" * 64: {"allow": []}}, "classes": ["e" * 64]}, False),
        ({"border": {"weights": {"allow": [" " * 4090 + "eu -> eu"]}}}, False),
    ],
    ids=str,
)
def test_what_takes_two_changes_is_judged_alike(more: dict[str, Any], accepted: bool) -> None:
    document = {**LEAST, **more}
    assert (loaded(document) is None) is accepted
    assert VALIDATOR.is_valid(document) is accepted


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from(PLACES),
    st.sampled_from(["set", "drop", "rename", "add"]),
    st.one_of(
        st.sampled_from(VALUES),
        st.text(max_size=40),
        st.from_regex(r"[a-z0-9:/@.\\ >-]{1,20}", fullmatch=True),
        st.lists(st.text(max_size=8), max_size=3),
    ),
    st.one_of(st.sampled_from(KEYS), st.text(max_size=12)),
)
@example(("zones", "eu", "gitops", "branch"), "set", "a\u202eb", "")
@example(("zones", "eu", "store"), "set", "s3:/u@b", "")
def test_any_change_is_judged_alike(
    place: tuple[str | int, ...], change: str, value: Any, key: str
) -> None:
    same(changed(place, change, value, key))


def test_a_repository_url_is_the_loaders_to_judge() -> None:
    """What the page says that the schema cannot."""
    for repo in ("http://git.example/x", "https://user:token@git.example/x", "ext::sh"):
        document = changed(("zones", "eu", "gitops", "repo"), "set", repo, "")
        assert loaded(document) in ("bad-repo", "secret-in-uri")
        assert VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "tests" / "vectors" / "projects").rglob("sovgate.yaml")),
        *sorted((ROOT / "tests" / "compat").rglob("sovgate.yaml")),
        *sorted((ROOT / "patterns").rglob("sovgate.yaml")),
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_the_repositorys_own_project_files_fit(path: Path) -> None:
    config.read(path)
    VALIDATOR.validate(plain(load(path.read_bytes(), path.name).value))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    return float(value.text) if isinstance(value, Decimal) else value


def test_what_init_writes_names_the_schema_that_it_writes() -> None:
    """The editor's line leads to a file of the project itself: no network, no path of a machine."""
    answers = answers_.Answers(
        pattern="hybrid",
        model="churn",
        train=zone_answer("home=aws:us-east-1"),
        serve=(zone_answer("eu=aws-eusc:eusc-de-east-1"),),
        data=(answers_.DataAnswer(name="kyc", stays_in=("EU",)),),
    )
    files = scaffold.files(answers)
    first = files["sovgate.yaml"].decode().splitlines()[0]
    assert first == project.EDITOR_LINE
    match = re.fullmatch(r"# yaml-language-server: \$schema=([\w.-]+)", first)
    assert match is not None
    assert files[match[1]].decode() == TEXT
    VALIDATOR.validate(yaml.safe_load(files["sovgate.yaml"]))


def test_the_lists_are_the_codes() -> None:
    named = SCHEMA["$defs"]
    assert tuple(named["role"]["enum"]) == ROLES
    assert tuple(named["standard-class"]["enum"]) == CLASSES
    assert set(named["place"]["enum"]) == {group.code for group in regions.all_groups()}
    assert set(named["region"]["enum"]) == {region.id for region in regions.all_regions()}


def test_every_key_has_its_meaning_and_stands_on_the_page() -> None:
    parts = [SCHEMA, *(part for part in SCHEMA["$defs"].values() if "properties" in part)]
    for part in parts:
        assert part["description"].endswith(".")
        for key, below in part["properties"].items():
            full = project._resolved(below, SCHEMA) | below
            assert full["description"].endswith("."), key
            assert f"| `{key}` |" in PAGE
