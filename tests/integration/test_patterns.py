"""patterns/ is what `init` writes, by the commands that its README shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sovgate.surface import patterns as made
from tests.patterns import PATTERNS, lay_out, sovgate


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("pattern", ["central", "hybrid"])
def test_the_command_of_the_readme_writes_the_pattern(pattern: str, tmp_path: Path) -> None:
    shown = re.findall(r"(?m)^(sovgate init .*)$", (PATTERNS / "README.md").read_text())
    (command,) = [line for line in shown if f"--pattern {pattern} " in line]
    assert command == made.command(pattern)
    words = shlex.split(command)[1:]
    sovgate(tmp_path, words[0], "p", *words[1:])
    assert tree(tmp_path / "p") == tree(PATTERNS / pattern)


def test_no_pattern_holds_a_private_key_or_anything_to_be_kept_secret() -> None:
    for name, data in tree(PATTERNS).items():
        assert not name.endswith(".pem"), name
        assert b"PRIVATE KEY" not in data, name
    for pattern in ("central", "hybrid"):
        text = (PATTERNS / pattern / "sovgate.yaml").read_text()
        assert len(re.findall(r'(?m)^      (?:sign|encrypt): "awskms:///arn:.*KEY-ID"$', text)) == 4


def test_what_is_run_differs_from_the_pattern_in_keys_and_stores_alone(tmp_path: Path) -> None:
    """Otherwise the tests would run something else than what is shown."""
    lay_out("hybrid", tmp_path / "kyc")
    there, here = tree(PATTERNS / "hybrid"), tree(tmp_path / "kyc")
    added = {path for path in here if path not in there}
    assert {Path(path).parent.as_posix() for path in added} == {"keys"}
    assert [path for path in there if here.get(path) != there[path]] == ["sovgate.yaml"]
    before = there["sovgate.yaml"].decode().splitlines()
    after = here["sovgate.yaml"].decode().splitlines()
    changed = [old for old, new in zip(before, after, strict=True) if old != new]
    kinds = [re.sub(r"^[ #]*([a-z-]+):.*", r"\1", line) for line in changed]
    assert kinds == ["store", "sign", "encrypt", "sign-public", "encrypt-public"] * 2
