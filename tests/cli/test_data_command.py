"""data commit: a data set's manifest says what the zone vouched for; the data never moves."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests import commands

ROOT = Path(__file__).parent.parent.parent
PROJECT = """version: 1
model: m
zones:
  eu: {region: "aws-eusc:eusc-de-east-1"}
datasets:
  kyc-eu: {manifest: kyc.yaml}
"""
MANIFEST = """# who asks: the data office
version: 1
id: kyc-eu   # as in the register
category: personal
pointer: s3://kyc-eu/
stays-in: [NO, "EU"]
"""


def sovgate(folder: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    done = commands.run(*arguments, "--format", "json", cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    (tmp_path / "sovgate.yaml").write_text(PROJECT)
    (tmp_path / "kyc.yaml").write_text(MANIFEST)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("id,income\n1,2\n")
    assert sovgate(tmp_path, "data", "key", "-o", "z.key")[0] == 0
    return tmp_path


COMMIT = ("data", "commit", "data", "--dataset", "kyc-eu", "--epoch", "2026-10", "--key", "z.key")


def test_the_commitment_goes_into_the_manifest_and_comments_stay(zone: Path) -> None:
    code, made = sovgate(zone, *COMMIT)
    assert code == 0
    text = (zone / "kyc.yaml").read_text()
    assert text.startswith(MANIFEST)
    assert str(made["commitment"]) in text
    assert "bytes: 14" in text
    assert sovgate(zone, "lint")[0] == 0
    again = sovgate(zone, *COMMIT)[1]
    assert (again["changed"], again["commitment"]) == (False, made["commitment"])
    (zone / "data" / "a.csv").write_text("id,income\n1,3\n")
    assert sovgate(zone, *COMMIT)[1]["commitment"] != made["commitment"]


def test_rule_29_the_key_is_private_and_nowhere_in_what_is_printed(zone: Path) -> None:
    secret = (zone / "z.key").read_text().strip()
    assert stat.S_IMODE((zone / "z.key").stat().st_mode) == 0o600
    assert secret not in json.dumps(sovgate(zone, *COMMIT)[1]) + (zone / "kyc.yaml").read_text()
    assert sovgate(zone, "data", "key", "-o", "z.key")[0] == 2  # never overwritten
    assert (zone / "z.key").read_text().strip() == secret


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("data", "nowhere"), 2),
        (("kyc-eu", "kyc"), 3),
        (("z.key", "none.key"), 2),
        (("z.key", "kyc.yaml"), 3),
        (("z.key", "large.key"), 3),
    ],
)
def test_wrong_input_has_its_exit_code_and_changes_nothing(
    zone: Path, change: tuple[str, str], code: int
) -> None:
    (zone / "large.key").write_bytes(b"x" * 2000)
    words = list(COMMIT)
    words[len(words) - 1 - words[::-1].index(change[0])] = change[1]
    if change[0] == "data":
        words = ["data", "commit", "nowhere", *COMMIT[3:]]
    assert sovgate(zone, *words)[0] == code
    assert (zone / "kyc.yaml").read_text() == MANIFEST


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((*COMMIT[:-1], "file:z.key"), 0),
        (("data", "key", "-o", "file:z.key"), 2),  # is there already
        (("data", "key", "-o", "awskms:///arn"), 2),
        (("keys", "generate", "sign", "-o", "File://keys/a.pem"), 2),
        (("keys", "show", "z.key", "-o", "s3://a/b"), 2),
        (("keys", "generate", "sign", "-o", "file:"), 2),
    ],
)
def test_a_key_file_is_named_with_file_or_without(
    zone: Path, words: tuple[str, ...], code: int
) -> None:
    done = commands.run(*words, cwd=zone)
    assert done.returncode == code, done.stderr
    assert {path.name for path in zone.iterdir()} <= {
        *("sovgate.yaml", "kyc.yaml", "data", "z.key", ".gitignore")
    }


def test_the_fix_of_a_missing_key_makes_it_where_it_is_looked_for(zone: Path) -> None:
    done = commands.run(*COMMIT[:-1], "file:new/eu.key", cwd=zone)
    assert done.returncode == 2
    assert "sovgate data key -o new/eu.key" in " ".join(done.stderr.split())
    (zone / "new").mkdir()
    assert sovgate(zone, "data", "key", "-o", "file:new/eu.key")[0] == 0
    assert sovgate(zone, *COMMIT[:-1], "new/eu.key")[0] == 0
