"""What errors repeat of what somebody wrote: enough to tell which it is, and never all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sovgate.errors import MAX_COPIED, MAX_MESSAGE, MAX_WORD, ConfigError, bounded
from sovgate.lint._api import Finding
from tests.commands import run

PROJECT = """\
version: 1
model: MODEL
zones:
  eu:
    region: aws:eu-central-1
    store: STORE
    keys: {sign: KEY, sign-public: PUBLIC}
trust:
  - {name: ci, may: [sbom], certificate: {root: ROOT, san: ci@bank.example}}
  - {name: ml, may: [sbom], keyless: {identity: IDENTITY, issuer: "https://a", trusted-root: r}}
policy: {rules: RULES}
"""
GOOD = {
    "MODEL": "churn",
    "STORE": "s3://churn-eu",
    "KEY": "file:eu.pem",
    "PUBLIC": "eu.pub.pem",
    "ROOT": "ca.pem",
    "IDENTITY": "a@b.example",
    "RULES": "rules",
}


def test_a_long_word_loses_its_middle_and_a_long_message_its_end() -> None:
    text = bounded(f"no file {'a' * 3000}b here")
    assert text.startswith("no file aaa")
    assert text.endswith("ab here")
    assert "3001 characters" in text
    assert len(text) < MAX_WORD
    assert bounded("ab " * 20 + "c" * MAX_WORD) == "ab " * 20 + "c" * MAX_WORD
    assert len(bounded("word " * 10_000)) == MAX_MESSAGE + 1


def test_every_part_of_an_error_and_of_a_finding_is_bounded() -> None:
    long = "a" * 5000
    error = ConfigError(long, why=long, fix=f"remove {long}", details=(long,))
    assert len(str(error)) < MAX_WORD
    assert max(map(len, (error.what, str(error.why)))) < MAX_WORD
    assert max(map(len, (str(error.fix), *error.details))) < MAX_COPIED
    assert len(Finding.of(error, "sovgate.yaml").message) < 2 * MAX_WORD


@pytest.mark.parametrize("form", ["text", "json", "github"])
@pytest.mark.parametrize("place", GOOD)
def test_a_long_value_in_the_project_file_is_not_repeated_whole(
    tmp_path: Path, place: str, form: str
) -> None:
    for value in ("a" * 4000, "file:" + "a" * 2000, "a" * 5000, '"' + "a " * 2500 + '"'):
        text = PROJECT
        for name, good in (GOOD | {place: value}).items():
            text = re.sub(rf"\b{name}\b", lambda _, good=good: good, text)
        (tmp_path / "sovgate.yaml").write_text(text)
        done = run("lint", "--format", form, cwd=tmp_path)
        assert done.returncode == 3, done
        said = done.stdout + done.stderr
        assert "a" * 1000 not in said
        assert "a " * 2000 not in said


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "a" * 5000),
        ("sign", ".", "--key", "a" * 2000),
        ("sign", ".", "--key", "openbao://" + "a" * 2000),
        ("keys", "show", "gcpkms://" + "a" * 2000),
        ("pull", "a" * 5000, "--zone", "eu"),
        ("a" * 5000,),
        ("lint", "--" + "a" * 5000),
        ("lint", "--format", "a" * 5000),
        ("lint", "--project", "a" * 5000),
    ],
    ids=lambda words: "-".join(words)[:24],
)
def test_a_long_word_of_the_command_line_is_not_repeated_whole(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    for more in ((), ("-v",)):
        done = run(*words, *more, cwd=tmp_path)
        assert done.returncode
        assert "a" * 1200 not in done.stdout + done.stderr


@pytest.mark.parametrize("identity", ['"a@b\\nc"', '"https://github.com/a/*"', "bank.example"])
def test_a_person_is_told_a_form_in_words_and_no_pattern(tmp_path: Path, identity: str) -> None:
    text = PROJECT
    for name, good in (GOOD | {"IDENTITY": identity}).items():
        text = re.sub(rf"\b{name}\b", lambda _, good=good: good, text)
    (tmp_path / "sovgate.yaml").write_text(text)
    done = run("lint", cwd=tmp_path)
    assert done.returncode == 3
    assert "x00" not in done.stdout + done.stderr
    assert "{1," not in done.stdout + done.stderr
    assert "trust[1].keyless.identity" in done.stdout + done.stderr
