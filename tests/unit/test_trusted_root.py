"""Sigstore's trusted root file: read strictly, in either of its shapes, or refused with a fix."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import ConfigError, Malformed
from sovgate.formats.keyless import root
from sovgate.pipeline.project import open_project
from tests import components
from tests.sigstores import Sigstore, b64

OURS, OTHER = Sigstore().trusted_root(), Sigstore().trusted_root()
#: As GitHub's own instance: no log of signatures, none of certificates.
UNLOGGED = {**OTHER, "tlogs": [], "ctlogs": []}

Root = dict[str, Any]


def refused(data: bytes) -> Malformed:
    with pytest.raises(Malformed) as caught:
        root.parse(data)
    assert caught.value.reason == "bad-trusted-root"
    assert caught.value.fix
    return caught.value


def lines(*instances: Root) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in instances)


def test_the_public_instance_s_own_file_is_read() -> None:
    found = root.parse(components.public_root().read_bytes())
    (instance,) = found.instances
    assert {log.url for log in instance.logs} >= {"https://rekor.sigstore.dev"}
    assert len(instance.issuers) >= 2
    assert [one.span.end is None for one in instance.issuers] == [False, True]
    assert instance.timestampers


def test_one_document_in_any_layout_or_several_one_a_line() -> None:
    for data in (json.dumps(OURS).encode(), json.dumps(OURS, indent=1).encode() + b"\n\n"):
        assert len(root.parse(data).instances) == 1
    found = root.parse(lines(OURS, UNLOGGED))
    assert [len(one.logs) for one in found.instances] == [2, 0]
    assert root.parse(lines(OURS)).sha256 != root.parse(lines(OURS, OTHER)).sha256
    ours = root.named(found.instances, root.parse(lines(OURS)).instances[0].logs[0].id)
    assert [one is found.instances[0] for one, _ in ours] == [True]


def test_an_instance_without_a_log_alone_is_refused() -> None:
    assert "GitHub" in str(refused(lines(UNLOGGED)).fix)


WRONG: dict[str, Callable[[Root], object]] = {
    "no-media-type": lambda r: r.pop("mediaType"),
    "another-media-type": lambda r: r.update(mediaType="application/json"),
    "no-authority": lambda r: r.update(certificateAuthorities=[]),
    "no-log": lambda r: r.update(tlogs=[]),
    "an-authority-without-certificate": lambda r: r["certificateAuthorities"][0].update(
        certChain={"certificates": []}
    ),
    "no-span": lambda r: r["tlogs"][0]["publicKey"].pop("validFor"),
    "no-start": lambda r: r["tlogs"][0]["publicKey"].update(validFor={}),
    "a-time-that-is-none": lambda r: r["tlogs"][0]["publicKey"].update(
        validFor={"start": "2020-02-30T00:00:00Z"}
    ),
    "a-time-with-an-offset": lambda r: r["tlogs"][0]["publicKey"].update(
        validFor={"start": "2020-01-01T00:00:00+02:00"}
    ),
    "another-hash": lambda r: r["tlogs"][0].update(hashAlgorithm="SHA2_512"),
    "another-kind-of-key": lambda r: r["ctlogs"][0]["publicKey"].update(keyDetails="LMS_SHA256"),
    "a-key-that-is-not-base64": lambda r: r["ctlogs"][0]["publicKey"].update(rawBytes="?"),
    "no-id": lambda r: r["ctlogs"][0].pop("logId"),
    "an-unknown-field": lambda r: r.update(more=1),
    "an-unknown-field-below": lambda r: r["tlogs"][0].update(more=1),
    "too-many": lambda r: r.update(tlogs=r["tlogs"] * 99),
    "a-certificate-too-large": lambda r: r["timestampAuthorities"][0].update(
        certChain={"certificates": [{"rawBytes": b64(b"0" * 70_000)}]}
    ),
}


@pytest.mark.parametrize("edit", WRONG.values(), ids=WRONG)
def test_rule_3_a_file_that_is_none_is_refused(edit: Callable[[Root], object]) -> None:
    changed = copy.deepcopy(OURS)
    edit(changed)
    refused(json.dumps(changed).encode())
    if edit is not WRONG["no-log"]:  # one of several may have none
        refused(lines(OURS, changed))


def test_rule_3_what_is_no_json_is_refused() -> None:
    good = json.dumps(OURS).encode()
    for data in (
        b"",
        b"[]",
        good[:-1],
        good + good,
        good.replace(b'{"mediaType"', b'{"mediaType": "x", "mediaType"', 1),
        b'{"a": ' * 100 + b"1" + b"}" * 100,
        b" " * (root.MAX_BYTES + 1),
        lines(*[OURS] * (root.MAX_INSTANCES + 1)),
    ):
        refused(data)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"signed": {"_type": "root"}, "signatures": []}, "trusted_root.json"),
        ({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"}, "jq .trusted"),
        ({"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}, "trusted root"),
    ],
)
def test_a_file_that_is_often_taken_for_it_is_told_apart(said: Root, told: str) -> None:
    assert told in str(refused(json.dumps(said).encode()).fix)


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities"])
def test_a_key_or_certificate_that_cannot_be_read_is_found_at_once(
    tmp_path: Path, part: str
) -> None:
    changed = copy.deepcopy(OURS)
    one = changed[part][-1]
    where = one["publicKey"] if "publicKey" in one else one["certChain"]["certificates"][0]
    where["rawBytes"] = b64(b"0\x03\x02\x01\x00")
    (tmp_path / "r.json").write_text(json.dumps(changed))
    assert opened(tmp_path, f"{{{WHO}, trusted-root: r.json}}").reason == "bad-trusted-root"


def opened(folder: Path, keyless: str) -> ConfigError:
    (folder / "sovgate.yaml").write_text(
        "version: 1\nmodel: m\nzones:\n  home: {region: 'aws:us-east-1'}\n"
        f"trust:\n  - {{name: a, may: [sbom], keyless: {keyless}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        open_project(folder).trusted()
    assert caught.value.fix
    return caught.value


WHO = "identity: a@b.example, issuer: 'https://accounts.example'"


@pytest.mark.parametrize(
    ("keyless", "told"),
    [
        ("{issuer: x, trusted-root: r.json}", "which identity"),
        ("{identity: x, trusted-root: r.json}", "which issuer"),
        (f"{{{WHO}}}", "trusted-root"),
        (f"{{{WHO}, trusted-root: r.json, san: a}}", "san"),
        ("{identity: '.*', issuer: x, trusted-root: r.json}", "identity"),
        ("{identity: 'a b', issuer: x, trusted-root: r.json}", "identity"),
        ("{identity: '^a$', issuer: x, trusted-root: r.json}", "identity"),
        ("{identity: a, issuer: 'https://*.example', trusted-root: r.json}", "issuer"),
        ("{identity: [a], issuer: x, trusted-root: r.json}", "identity"),
        (f"{{{WHO}, trusted-root: r.json}}, key: k.pem", "one of key:, certificate: and keyless:"),
    ],
)
def test_an_entry_names_both_whole_and_the_file(tmp_path: Path, keyless: str, told: str) -> None:
    assert told in opened(tmp_path, keyless).what


def test_a_file_that_is_missing_or_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    error = opened(tmp_path, f"{{{WHO}, trusted-root: r.json}}")
    assert (error.reason, error.where is not None) == ("missing-file", True)
    (tmp_path / "r.json").write_bytes(lines(UNLOGGED))
    error = opened(tmp_path, f"{{{WHO}, trusted-root: r.json}}")
    assert error.reason == "bad-trusted-root"
    assert "sovgate.yaml:6" in str(error.where)
