"""A project's own folder of rules: every file in it is accounted for (RULES 35).

Reads the folder or the one file that `policy.rules` names. A file is a rule, a test of rules, or a
companion that can be neither; whatever else lies there is refused by its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sovgate import files
from sovgate.engines._api import Module, Rule, Source
from sovgate.errors import ConfigError, SovgateError, Where
from sovgate.names import check_names

MAX_FILES = 256
MAX_FILE_BYTES = 256 * 1024
RULE_SUFFIX, TEST_SUFFIX = ".rego", "_test.rego"
TEST_PACKAGE = "_test"

#: What may lie beside rules: it is for people, Git, editors and linters of Rego, and is never read.
_COMPANION = re.compile(
    r"[^/]*\.md|(readme|licen[cs]e|notice|changelog|codeowners|owners)(\.(txt|rst))?"
    r"|\.git(ignore|attributes|keep)?|\.keep|\.editorconfig|\.manifest|\.regal\.yaml|\.ds_store",
    re.IGNORECASE,
)
COMPANIONS = (
    "*.md, README, LICENSE, NOTICE, CHANGELOG, CODEOWNERS, OWNERS (also .txt and .rst), .git, "
    ".gitignore, .gitattributes, .gitkeep, .keep, .editorconfig, .manifest, .regal.yaml, "
    ".regal/config.yaml, .DS_Store"
)
JSON = Any


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a project's folder holds. `tests` are parsed, and are no part of a decision."""

    rules: tuple[Source, ...]
    tests: tuple[Source, ...]
    prefix: str

    @property
    def all(self) -> tuple[Source, ...]:
        return (*self.rules, *self.tests)


def read_own(path: Path, *, prefix: str) -> Own:
    """The rules and tests of a folder, or the one file that is named, which then is a rule.

    Raises ConfigError, reason "policy-folder", "policy-file", "policy-syntax", "limits" or
    "policy-no-rule": nothing there is passed over.
    """
    if os.path.isfile(path):  # noqa: PTH113 (Path's raises where a name is too long)
        if not path.name.endswith(RULE_SUFFIX):
            _refuse(path.name, prefix, "its name does not end in .rego")
        if path.name.endswith(TEST_SUFFIX):
            _refuse(path.name, prefix, "its name is that of a test, and policy.rules names a rule")
        data = files.read_bounded(path, most=MAX_FILE_BYTES, what="policy")
        return Own(rules=(source(data, prefix.rstrip("/"), ours=False),), tests=(), prefix=prefix)
    with _opened(path) as handle:
        names = sorted(entry.name for entry in files.walk(handle, leave=_is_git))
        for name in names:
            if not name.endswith(RULE_SUFFIX) and not _companion(name):
                _refuse(name, prefix, _why(name))
        for name in sorted(_empty(path)):
            raise ConfigError(
                f"{prefix + name!r} is an empty folder among the rules",
                why="a Git submodule that was not fetched looks like that",
                fix="git submodule update --init; or remove the folder",
                where=Where(path=prefix + name),
                reason="policy-folder",
            )
        names = [name for name in names if name.endswith(RULE_SUFFIX)]
        check_names(names)
        found = list(_read(handle, names, prefix, ours=False))
    tests = tuple(one for one in found if one.name.endswith(TEST_SUFFIX))
    rules = tuple(one for one in found if one not in tests)
    if not found:
        raise no_rule(prefix)
    return Own(rules=rules, tests=tests, prefix=prefix)


def any_rules(folder: Path) -> bool:
    """Whether something below the folder is, or looks like, a rule or a test of rules."""
    with _opened(folder) as handle:
        return any(RULE_SUFFIX in entry.name.lower() for entry in files.walk(handle))


def no_rule(prefix: str) -> ConfigError:
    """The error of a source of rules that yields none."""
    name = prefix.rstrip("/")
    return ConfigError(
        f"policy.rules names {name!r}, which holds no rule",
        why=f"a rule is a file NAME{RULE_SUFFIX} with `deny contains …`, whose name does not end "
        f"in {TEST_SUFFIX}; a Git submodule that was not fetched is an empty folder",
        fix="git submodule update --init; or write a rule; or remove policy.rules from the project",
        where=Where(path=name),
        reason="policy-no-rule",
    )


def split(
    own: Own, ast: JSON, library: tuple[Source, JSON] | None
) -> tuple[tuple[Module, ...], tuple[Rule, ...]]:
    """The modules and rules of `own`, vetted; `ast` is regorus' for `own.all`, in that order.

    With our library and its tree, every reference must resolve. Raises ConfigError on the first
    rule that may not be, and the first test that is none.
    """
    from sovgate.engines.vet import vet

    count = len(own.rules)
    check_tests(own.tests, ast[count:])
    return vet(own.rules, ast[:count], library=library)


def check_tests(tests: Sequence[Source], ast: JSON) -> None:
    """Each is a test: package `…_test`, no `deny`, and a `test_…` or used by another that has one.

    Raises ConfigError, reason "policy-test".
    """
    from sovgate.engines.trees import outline

    for test, tree in zip(tests, ast, strict=True):
        package, heads = outline(tree)
        why = None
        if "deny" in heads:
            why = "it has a `deny`, which no decision would ask"
        elif not package.endswith(TEST_PACKAGE):
            why = f"its package {package!r} does not end in {TEST_PACKAGE}"
        elif not any(name.startswith("test_") for name in heads):
            named = re.compile(rf"\bdata\.{re.escape(package)}\b")
            if not any(named.search(other.text) for other in tests if other is not test):
                why = "it has no rule `test_…`, and no other test imports it"
        if why is not None:
            new = test.name.removesuffix(TEST_SUFFIX)
            raise ConfigError(
                f"{test.name!r} is named as a test of rules, and is none",
                why=why,
                fix=f"if it is a rule, rename it, e.g. {new}_rule.rego, and let its package not "
                f"end in {TEST_PACKAGE}; if it is a test, give it package user.NAME_test and rules "
                "test_… alone",
                where=Where(path=test.name),
                reason="policy-test",
            )


def read_shipped(folder: Path, *, prefix: str, ours: bool, tests: bool) -> list[Source]:
    """The `.rego` files below a folder, by name; its tests only where asked for. Bounded.

    Raises ConfigError: no such folder, links, too many, too large, not UTF-8.
    """
    with _opened(folder) as handle:
        names = sorted(e.name for e in files.walk(handle) if e.name.endswith(RULE_SUFFIX))
        if not tests:
            names = [name for name in names if not name.endswith(TEST_SUFFIX)]
        check_names(names)
        return list(_read(handle, names, prefix, ours))


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A handle on the folder; what goes wrong below it is told of the folder."""
    try:
        with files.opened_dir(folder) as handle:
            yield handle
    except ConfigError:
        raise
    except (SovgateError, OSError) as error:
        raise ConfigError(
            f"the policy folder {str(folder)!r} cannot be read",
            why=error.what if isinstance(error, SovgateError) else error.strerror,
            fix="correct policy.rules; it names a folder of .rego files, or one file",
            reason="policy-folder",
        ) from error


def _read(handle: int, names: Sequence[str], prefix: str, ours: bool) -> Iterator[Source]:
    if len(names) > MAX_FILES:
        raise ConfigError(f"more than {MAX_FILES} policy files", reason="limits")
    for name in names:
        opened = files.open_below(handle, name)
        data = files.read_descriptor(opened, most=MAX_FILE_BYTES, what=f"policy {name!r}")
        yield source(data, prefix + name, ours=ours)


def source(data: bytes, name: str, *, ours: bool) -> Source:
    """Raises ConfigError, reason "policy-syntax", on what is not plain UTF-8."""
    why = fix = None
    text = ""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        why, fix = "it is UTF-16", "save it as UTF-8"
    elif data.startswith(b"\xef\xbb\xbf"):
        why, fix = "it begins with a byte order mark", "save it as UTF-8 without one"
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            why, fix = f"the byte {data[error.start]:#04x} in line {line}", "save it as UTF-8"
    if why is not None:
        raise ConfigError(
            f"the policy {name!r} is not plain UTF-8",
            why=why,
            fix=fix,
            where=Where(path=name),
            reason="policy-syntax",
        )
    return Source(name=name, text=text, sha256=hashlib.sha256(data).hexdigest(), ours=ours)


def _is_git(name: str) -> bool:
    """A clone's own folder, or the file that stands for it in a submodule."""
    return name == ".git" or name.endswith("/.git")


def _companion(name: str) -> bool:
    """A name that holds `.rego` is that of a rule that somebody put aside, whatever it ends in."""
    if RULE_SUFFIX in name.rpartition("/")[2].lower():
        return False
    return name.endswith(".regal/config.yaml") or bool(
        _COMPANION.fullmatch(name.rpartition("/")[2])
    )


def _empty(folder: Path) -> Iterator[str]:
    """Folders below, that hold nothing at all. `walk` has bounded the tree and refused links."""
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        if not folders and not names and Path(here) != folder and os.listdir(here) == []:  # noqa: PTH208
            yield os.path.relpath(here, folder)


def _why(name: str) -> str:
    last = name.rpartition("/")[2]
    if last.lower().endswith(RULE_SUFFIX):
        return "its name looks like a rule's, but .rego is written in small letters"
    if RULE_SUFFIX in last.lower() or last.lower().endswith((".reg", ".rgo")):
        return "its name looks like a rule's, but does not end in .rego"
    if last.lower() in ("data.json", "data.yaml", "data.yml"):
        return "a rule here reads no data files"
    return "it is no rule, no test, and none of the companions"


def _refuse(name: str, prefix: str, why: str) -> None:
    path = prefix.rstrip("/") if prefix.rstrip("/").endswith(name) else prefix + name
    stem = name.rpartition("/")[2].split(".")[0] or "NAME"
    raise ConfigError(
        f"{path!r} lies among the rules, and is none",
        why=why,
        fix=f"if it is a rule, rename it, e.g. {stem.lower()}{RULE_SUFFIX}; else move it out of "
        f"the folder. Beside rules may lie, without .rego in the name: {COMPANIONS}",
        where=Where(path=path),
        reason="policy-file",
    )
