"""docs/troubleshooting.md: a section for each exit code, and reasons that the code can give."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from sovgate import errors
from sovgate.errors import ExitCode, SovgateError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = {
    int(part.split(" ", 1)[0]): part for part in PAGE.split("\n## ")[1:] if part[0].isdigit()
}
SOURCES = [*(ROOT / "sovgate").rglob("*.py"), *(ROOT / "policies").rglob("*.rego")]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)


@functools.cache
def raised() -> dict[str, set[int]]:
    """reason -> the exit codes of the errors that are made with it, as far as that is plain."""
    found: dict[str, set[int]] = {}
    shared: set[str] = set()  # by keys and stores, which say of what kind an error of it is
    for path in (ROOT / "sovgate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                kind = getattr(errors, node.func.id, None)
                known = isinstance(kind, type) and issubclass(kind, SovgateError)
                if not known and node.func.id != "kind":
                    continue
                given = [key.value for key in node.keywords if key.arg == "reason"]
                for part in (part for value in given for part in ast.walk(value)):
                    if isinstance(part, ast.Constant):  # both arms of `x if y else z`
                        if not known:
                            shared.add(str(part.value))
                        else:
                            found.setdefault(str(part.value), set()).add(int(kind.exit_code))
    return {reason: codes for reason, codes in found.items() if reason not in shared}


def test_every_exit_code_has_a_section() -> None:
    assert set(SECTIONS) == {int(code) for code in ExitCode} - {0}
    for code, part in SECTIONS.items():
        name = errors.MEANING[ExitCode(code)]
        assert len(part.splitlines()) >= 3, name


@pytest.mark.parametrize("code", SECTIONS)
def test_its_reasons_are_reasons_of_that_code(code: int) -> None:
    plain = raised()
    rows = re.findall(r"^\| (`[^|]+) \|", SECTIONS[code], re.MULTILINE)
    for reason in re.findall(r"`([a-z-]+)`", " ".join(rows)):
        assert f'"{reason}"' in TEXT or f"id: {reason}" in TEXT, reason
        assert code in plain.get(reason, {code}), f"{reason} ends with {plain[reason]}"
