"""What Tekton Chains makes of our results, by the grammar that it parses them with. Pure.

Written after tektoncd/chains 0.29.2, pkg/artifacts/signable.go (`IsBuildArtifact`, `ParseDigest`,
`ExtractOCIImagesFromResults`), and google/go-containerregistry 0.21.9, pkg/name (`NewDigest`).
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.cli._emit import ARTIFACT_RESULT, Report, emit
from sovgate.cli.move.push import command
from sovgate.errors import ExitCode
from sovgate.records import RELEASE_PART, Release

HEX = "3b" * 32
DIGEST = f"sha256:{HEX}"


class BadName(Exception):
    """Chains writes it to its log, and takes the result for no image."""


def new_registry(name: str) -> str:
    """Go's net/url takes `//name` apart, and all of it must be the host: an empty port may be."""
    host = re.fullmatch(r"[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"\x80-\U0010ffff]*", name)
    if host is None or not re.fullmatch(r"[^:]*(:[0-9]*)?", name.rpartition("]")[2]):
        raise BadName(f"no host: {name}")
    return "index.docker.io" if name in ("", "docker.io") else name


def new_repository(name: str) -> str:
    first, slash, rest = name.partition("/")
    has_registry = slash and (first == "localhost" or "." in first or ":" in first)
    registry, repository = (first, rest) if has_registry else ("", name)
    if not re.fullmatch(r"[a-z0-9_\-./]{2,255}", repository):
        raise BadName(f"no repository: {repository}")
    host = new_registry(registry)
    if "/" not in repository and host == "index.docker.io":
        repository = f"library/{repository}"
    return f"{host}/{repository}"


def new_tag(name: str) -> str:
    """The repository of a name with or without a tag."""
    base, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return new_repository(name)
    if not re.fullmatch(r"[A-Za-z0-9_\-.]{1,128}", tag):
        raise BadName(f"no tag: {tag}")
    return new_repository(base)


def new_digest(name: str) -> str:
    """The image that `name` is, "registry/repository@sha256:…". Raises BadName."""
    if name.count("@") != 1:
        raise BadName("a digest must contain exactly one '@'")
    base, _, digest = name.partition("@")
    if not re.fullmatch(r"sha256:[a-f0-9]{64}", digest):
        raise BadName(f"no digest: {digest}")
    with contextlib.suppress(BadName):
        base = new_tag(base)
    return f"{new_repository(base)}@{digest}"


def subject(name: str, value: dict[str, str]) -> tuple[str, str] | None:
    """URI and digest, where Chains takes an object result for something that was built."""
    if not name.endswith("ARTIFACT_OUTPUTS") or value.get("isBuildArtifact") != "true":
        return None
    parts = value.get("digest", "").split(":")
    known = {"sha256": 64, "sha384": 96, "sha512": 128}
    algorithm = parts[0].strip().lower()
    if not value.get("uri") or len(parts) != 2 or algorithm not in known:
        return None
    if not re.fullmatch(rf"[a-f0-9]{{{known[algorithm]}}}", parts[1].strip()):
        return None
    return value["uri"], value["digest"]


@pytest.mark.parametrize(
    ("uri", "image"),
    [
        ("gcr.io/foo/img2", "gcr.io/foo/img2"),
        ("localhost:5000/img", "localhost:5000/img"),
        ("gcr.io/foo/img:v1", "gcr.io/foo/img"),
        ("ubuntu", "index.docker.io/library/ubuntu"),
        # what we wrote, or might have written:
        ("churn/1.4.0", "index.docker.io/churn/1.4.0"),
        ("s3://kyc-eu/releases/churn/1.4.0.json", "s3://kyc-eu/releases/churn/1.4.0.json"),
        ("https://kyc.example/churn/1.4.0", "https://kyc.example/churn/1.4.0"),
        ("pkg:generic/churn", None),  # `generic` would be its port
        ("s3://kyc-eu/Churn", None),
        ("churn/1.4.0@sha256:00", None),
        ("Churn", None),
    ],
)
def test_the_grammar_takes_more_for_an_image_than_one_would_think(
    uri: str, image: str | None
) -> None:
    """`s3:` is a host with an empty port. So a scheme alone does not help."""
    if image is None:
        with pytest.raises(BadName):
            new_digest(f"{uri}@{DIGEST}")
    else:
        assert new_digest(f"{uri}@{DIGEST}") == f"{image}@{DIGEST}"


def written(folder: Path, release: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The object result of `push`, by its own declaration."""
    monkeypatch.setenv("SOVGATE_RESULTS_DIR", str(folder))
    outputs = {
        "release": Release.parse(release).pinned(HEX),
        "purl": Release.parse(release).purl,
        "manifest": DIGEST,
        "record": "0" * 64,
        "audit-head": "0" * 64,
    }
    assert set(outputs) == set(command.outputs)
    emit(Report(command="push", headline="", outputs=outputs), "tekton", artifact=command.artifact)
    value: dict[str, str] = json.loads((folder / ARTIFACT_RESULT).read_text())
    return value


def test_chains_takes_what_was_pushed_for_built_and_for_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = written(tmp_path, "churn/1.4.0", monkeypatch)
    assert subject(ARTIFACT_RESULT, value) == ("pkg:generic/churn@1.4.0", DIGEST)
    with pytest.raises(BadName):
        new_digest(f"{value['uri']}@{value['digest']}")


def test_the_longest_release_still_fits_into_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, f"{'a' * 128}/{'b' * 128}", monkeypatch)


def test_nothing_was_built_by_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOVGATE_RESULTS_DIR", str(tmp_path))
    outputs = dict.fromkeys(command.outputs, "x") | {"record": ""}
    report = Report(command="push", headline="", outputs=outputs, exit=ExitCode.OK)
    emit(report, "tekton", artifact=command.artifact)
    assert not (tmp_path / ARTIFACT_RESULT).exists()


@given(st.from_regex(RELEASE_PART, fullmatch=True), st.from_regex(RELEASE_PART, fullmatch=True))
def test_no_release_is_ever_an_image_and_each_is_a_package_url(model: str, version: str) -> None:
    purl = Release(model=model, version=version).purl
    # purl-spec: scheme, type, name, version; nothing here has to be percent-encoded.
    assert re.fullmatch(r"pkg:generic/[A-Za-z0-9._-]+@[A-Za-z0-9._-]+", purl)
    with pytest.raises(BadName):
        new_digest(f"{purl}@{DIGEST}")
