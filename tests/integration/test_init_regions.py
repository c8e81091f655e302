"""`sovgate init` for a region that the catalogue lacks: it is declared, and everything fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_init import sovgate, talk

FACTS = (
    "{country: DE, operator: 'Bank & Söhne: GmbH', controlled-from: NL, "
    'source: "https://bank.example/dc", date: 2026-11-01}'
)
SITE = f"fra-dc1: {FACTS}"
TRAIN = ("--pattern", "central", "--train", "aws:eu-central-1")
THERE = (*TRAIN, "--serve", "dc1=declared:fra-dc1", "--region", SITE)
ENDPOINT = ("--endpoint", "dc1=https://s3.bank.example")


def test_a_region_of_ones_own_is_written_and_passes_lint(tmp_path: Path) -> None:
    data = ("--data", "kunden=DE")
    said = sovgate("init", "kyc", *THERE, *ENDPOINT, *data, "--key-scheme", "file", cwd=tmp_path)
    assert said["zones"]["dc1"] == "declared:fra-dc1"  # type: ignore[index, call-overload]
    folder = tmp_path / "kyc"
    written = yaml.load((folder / "sovgate.yaml").read_text(), yaml.BaseLoader)  # noqa: S506
    assert written["regions"] == {
        "fra-dc1": {
            "country": "DE",
            "operator": "Bank & Söhne: GmbH",
            "controlled-from": "NL",
            "source": "https://bank.example/dc",
            "date": "2026-11-01",
        }
    }
    assert written["zones"]["dc1"]["store"] == "s3://kyc-dc1?endpoint=https://s3.bank.example"
    found = sovgate("lint", cwd=folder)["findings"]  # type: ignore[index]
    assert [one["rule"] for one in found] == ["personal-without-commitment"]
    shown = sovgate("regions", "show", "declared:fra-dc1", cwd=folder)
    assert "Bank & Söhne: GmbH" in str(shown)


def test_its_store_gets_credentials_of_its_own_name(tmp_path: Path) -> None:
    sovgate("init", "kyc", *THERE, *ENDPOINT, cwd=tmp_path)
    workflow = yaml.safe_load((tmp_path / "kyc/.github/workflows/sovgate-release.yml").read_text())
    (push,) = [s for s in workflow["jobs"]["send"]["steps"] if "/push@" in s.get("uses", "")]
    assert push["env"]["DECLARED_ACCESS_KEY_ID"] == "${{ secrets.DE_TRAIN_TO_DC1_ACCESS_KEY_ID }}"
    assert "AWS_ACCESS_KEY_ID" in push["env"]
    assert push["with"]["pass-env"] == "DECLARED_ACCESS_KEY_ID DECLARED_SECRET_ACCESS_KEY"


def test_folders_as_stores_need_no_service(tmp_path: Path) -> None:
    words = ("--pattern", "central", "--local", "--serve", "dc1=declared:fra-dc1")
    sovgate("init", "kyc", *words, "--region", SITE, cwd=tmp_path)
    assert sovgate("lint", cwd=tmp_path / "kyc")["findings"] == []  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "reason", "told"),
    [
        (THERE, "no-endpoint", "--endpoint dc1=https://HOST"),
        (THERE[:-2], "unknown-region", "--region 'fra-dc1: {country:"),
        ((*THERE, "--region", "b: 1"), None, "--region"),
        ((*TRAIN, "--serve", "ovh:gra", "--region", SITE), "bad-region", "declared:fra-dc1"),
        ((*THERE, *ENDPOINT, "--region", SITE), "bad-region", "twice"),
        ((*THERE[:-1], SITE.replace("DE", "EU")), None, "country"),
        ((*THERE[:-1], SITE.replace("date: 2026-11-01", "")), None, "date"),
        ((*THERE[:-1], SITE.replace("2026-11-01", "2026-02-30")), None, "2026-02-30"),
        ((*THERE[:-1], SITE.replace("fra-dc1", "aws")), None, "a provider"),
        ((*THERE[:-1], f"{SITE}\n  x: {FACTS}"), None, "--region"),
        ((*THERE[:-1], SITE.replace("}", ", more: 1}")), None, "more"),
        ((*THERE[:-1], ""), None, "--region"),
        ((*THERE, *ENDPOINT, "--endpoint", "dc2=https://s3.x.example"), "bad-endpoint", "dc2"),
        ((*THERE, "--endpoint", "dc1=http://s3.bank.example"), "bad-endpoint", "https://HOST"),
        ((*THERE, "--endpoint", "dc1=https://key:secret@s3.x"), "bad-endpoint", "https://HOST"),
        ((*THERE, "--endpoint", "https://s3.x.example"), "bad-endpoint", "ZONE="),
        ((*THERE, "--endpoint", "dc1=https://s3.x&profile=a"), "bad-endpoint", "https://HOST"),
    ],
)
def test_what_declares_no_region_writes_nothing(
    tmp_path: Path, words: tuple[str, ...], reason: str | None, told: str
) -> None:
    found: Any = sovgate("init", "kyc", *words, cwd=tmp_path, code=2)
    error = found["error"]
    assert reason is None or error["reason"] == reason
    assert told in f"{error['what']} {error.get('why')} {error.get('fix')}"
    assert "secret" not in str(error)
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_asked_for_each_fact(tmp_path: Path) -> None:
    lines = ["kyc", "aws:us-east-1", "dc1=declared:fra-dc1"]
    lines += ["EU", "Bank GmbH", "DE", "https://bank.example/dc", "2026-11-01"]
    lines += ["DE", "", "", "", ""]  # again, what was said being the answer that return gives
    code, said = talk(tmp_path, *lines, "https://s3.bank.example", "no", "none", "y")
    assert code == 0, said
    assert "EU is a group of countries" in said
    written = yaml.safe_load((tmp_path / "kyc/sovgate.yaml").read_text())
    assert written["regions"]["fra-dc1"]["operator"] == "Bank GmbH"
    assert written["zones"]["dc1"]["store"].endswith("?endpoint=https://s3.bank.example")
