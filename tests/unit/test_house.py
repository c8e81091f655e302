"""Guards on the tree itself: module size, docstrings, lock files, words that must not be in it.

Reads tracked files and asks git for their names; starts one Python to see what it imports.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "sovgate").rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAX_LINES = 400

# Heavy to import (measured: jsonschema 84 ms, importlib.metadata 43, rich 42): never at start-up.
HEAVY = ("cryptography", "importlib.metadata", "jsonschema", "regorus", "rich", "yaml")

# Each is put together here, so that this file does not hold the word.
FORBIDDEN = {
    "a path of a developer's machine": re.compile(r"(?<![\w.${}-])/" + r"(?:work|root/\.pyenv)/"),
    "the host of a package registry": re.compile(
        r"\b(?:pypi|npmjs|pythonhosted|debian)" + r"\.(?:org|com)\b"
    ),
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("not a Git checkout: which files are tracked is unknown")
    return [ROOT / name for name in done.stdout.split("\0") if name]


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_each_module_is_short_and_says_what_it_is(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= MAX_LINES, f"{lines} lines: split it in two"
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "a module's docstring says in two lines what it is and what it may touch"


def locked(path: Path) -> dict[str, list[str]]:
    """Each `name==version; marker` of a lock, with the hashes below it."""
    pins: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip().removesuffix("\\").strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("--hash=sha256:"):
            pins[list(pins)[-1]].append(text.removeprefix("--hash=sha256:"))
        else:
            pins[text] = []
    return pins


def versions(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pin in map(Requirement, locked(ROOT / "requirements" / f"{name}.txt")):
        found.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier))
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_each_locked_package_is_one_version_with_hashes(lock: Path) -> None:
    pins = locked(lock)
    assert pins
    for pin, hashes in pins.items():
        requirement = Requirement(pin)
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), pin
        assert hashes, f"no hash: {pin}"
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes), pin


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_a_lock_names_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    for line in text.splitlines():
        words = line.split()
        assert not words or not words[0].startswith("-") or words[0].startswith("--hash="), line
        assert " @ " not in line or line.lstrip().startswith("#"), line


def wanted(group: str) -> list[Requirement]:
    found: list[Requirement] = []
    for entry in PROJECT["dependency-groups"][group]:
        if isinstance(entry, dict):
            found += wanted(entry["include-group"])
        else:
            found.append(Requirement(entry))
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_a_lock_holds_what_pyproject_asks_for(lock: Path) -> None:
    """Someone who adds a dependency and forgets `make lock` hears of it here."""
    asked = [] if lock.stem == "base" else wanted(lock.stem)
    if lock.stem in {"base", "demo", "test"}:
        asked += [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    pinned = versions(lock.stem)
    for requirement in asked:
        found = pinned.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not in {lock.name}: run make lock"
        for version in found:
            assert requirement.specifier.contains(version.removeprefix("==")), (requirement, found)


@pytest.mark.parametrize("name", ["aws", "base", "demo", "build"])
def test_locks_that_are_installed_together_agree(name: str) -> None:
    test = versions("test")
    differing = {n: v for n, v in versions(name).items() if n in test and v != test[n]}
    assert not differing


def test_the_locked_extras_are_the_extras() -> None:
    groups, extras = PROJECT["dependency-groups"], PROJECT["project"]["optional-dependencies"]
    assert {name: groups[name] for name in groups if name in extras} == {"aws": extras["aws"]}


def test_every_group_has_its_lock() -> None:
    assert {lock.stem for lock in LOCKS} == {"base", *PROJECT["dependency-groups"]}


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        for number, line in enumerate(text.splitlines(), 1):
            found += [
                f"{relative(path)}:{number}: {what}"
                for what, pattern in FORBIDDEN.items()
                if pattern.search(line)
            ]
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("[!_]*")), ids=relative)
def test_a_shell_script_is_executable(path: Path) -> None:
    if path.read_bytes().startswith(b"#!"):
        assert path.stat().st_mode & 0o111


def test_starting_the_command_line_imports_nothing_heavy() -> None:
    """The promise of a start under 100 ms is held by what is not imported."""
    program = (
        "import sys; before = set(sys.modules); import sovgate.cli;"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = done.stdout.split()
    assert "sovgate.cli" in imported
    assert [name for name in imported if name.startswith(HEAVY)] == []
