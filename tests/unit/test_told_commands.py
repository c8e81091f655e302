"""What messages tell people to type: each command and option exists, and so does each extra."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sovgate.cli import root as main
from sovgate.pipeline.look.doctor import EXTRAS as NEEDED

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
#: A distribution whose module is called otherwise, or of which one module alone is wanted.
IMPORTED = {
    "boto3": "botocore",
    "google_cloud_kms": r"google\.cloud\.kms_v1",
    "python_pkcs11": "pkcs11",
}
MODULES = sorted((ROOT / "sovgate").rglob("*.py"))
#: Where a command begins: in backticks, after what introduces it, or as the whole text.
_COMMAND = re.compile(r"(?:`|: |^|\bor |\brun |\bwith |\bby )sovgate ([a-z][^`\n;,()]*)")
_PIP = re.compile(r"pip install [^\n]*?sovgate\[([^\]]*)\]")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?![\w-])")
#: In sentences about the program: "sovgate signs with", "sovgate broke: …".
_PROSE = re.compile(r"(?!keys|regions)[a-z]+(?:s|ed|:)(?![a-z-])|(?:broke|before|cannot|made)\b")
#: A value that a message fills in.
HOLE = "VALUE"


def texts(node: ast.AST, skip: frozenset[int] = frozenset()) -> Iterator[tuple[int, str]]:
    """Each text as a reader gets it, with a word in the place of what is filled in."""
    if id(node) in skip:
        return
    if isinstance(node, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else HOLE for p in node.values)
        yield node.lineno, "".join(str(part) for part in parts)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
        return
    for child in ast.iter_child_nodes(node):
        yield from texts(child, skip)


def docstrings(tree: ast.Module) -> frozenset[int]:
    return frozenset(
        id(node.body[0])
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    )


@functools.cache
def messages() -> list[tuple[str, str]]:
    found = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, text in texts(tree, docstrings(tree)):
            found.append((f"{path.relative_to(ROOT)}:{line}", text))
    return found


def commands() -> list[tuple[str, str]]:
    return [
        (where, m[1].strip())
        for where, text in messages()
        for m in _COMMAND.finditer(text)
        if not _PROSE.match(m[1])
    ]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and what follows it."""
    context = click.Context(main)
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        if words[0] == HOLE:
            break
        below = command.get_command(context, words[0])
        if below is None:
            raise LookupError(f"there is no command {words[0]!r}")
        command, words = below, words[1:]
    return command, words


def wrong(told: str) -> str | None:
    """What a person who types this would hear; None where it is right."""
    try:
        command, rest = resolve(told.split())
    except LookupError as error:
        return str(error)
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version"}
    for option in _OPTION.findall(" ".join(rest)):
        if option not in known:
            return f"{command.name} has no option {option}"
    return None


def test_the_test_sees_what_is_told_and_what_is_wrong() -> None:
    assert len(commands()) > 40
    assert wrong("keys generate sign -o FILE") is None
    assert wrong("keys make sign") == "there is no command 'make'"
    assert wrong("list") == "there is no command 'list'"
    assert wrong("sign MODEL --colour red") == "sign has no option --colour"
    assert wrong("sign MODEL -q3") is None  # no option by its form


def test_each_command_in_a_message_exists_with_its_options() -> None:
    found = [
        f"{where}: sovgate {told}: {why}" for where, told in commands() if (why := wrong(told))
    ]
    assert found == []


def test_each_install_in_a_message_is_of_an_extra_that_exists() -> None:
    told = [(where, name) for where, text in messages() for name in _PIP.findall(text)]
    assert len(told) >= 3
    names = set(EXTRAS) | {HOLE}
    assert [(where, name) for where, name in told if name not in names] == []
    assert {extra for _, extra in NEEDED.values()} <= set(EXTRAS)  # what the hole is filled with


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_each_extra_has_code_that_needs_it(name: str) -> None:
    if name == "all":
        assert EXTRAS[name] == [f"sovgate[{','.join(sorted(set(EXTRAS) - {'all'}))}]"]
        return
    packages = [re.split(r"[<>=~!;\[ ]", one)[0].replace("-", "_").lower() for one in EXTRAS[name]]
    code = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    for package in (IMPORTED.get(package, package) for package in packages):
        assert re.search(
            rf"((import|from) {package}\b|(import_module|find_spec)\(\s*\"{package}\b)"
            rf"|\"{package}\.",
            code,
        ), package


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.stem)
def test_each_install_in_the_docs_is_of_an_extra_that_exists(page: Path) -> None:
    for name in re.findall(r"sovgate\[([a-z,]+)\]", page.read_text(encoding="utf-8")):
        assert set(name.split(",")) <= set(EXTRAS), name
