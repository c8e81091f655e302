"""Guards on the tree itself: module size, docstrings, lock files, words that must not be in it.

Reads tracked files and asks git for their names; starts one Python to see what it imports.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sovgate
from sovgate.surface import floor_plan
from tests import components, locks

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "sovgate").rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = locks.PROJECT
MAX_LINES = 400
TEXTS = {".md", ".py", ".toml", ".yaml", ".yml"}

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


def test_what_every_release_must_still_open_is_tracked_whole() -> None:
    """Key files and logs ignore themselves in Git, and a fresh clone would lack them."""
    here = ROOT / "tests" / "compat" / "v0"
    there = {path for path in here.rglob("*") if path.is_file()}
    assert len(there) > 50
    assert there <= set(tracked())


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_each_module_is_short_and_says_what_it_is(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= MAX_LINES, f"{lines} lines: split it in two"
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "a module's docstring says in two lines what it is and what it may touch"


def locked(path: Path) -> dict[str, list[str]]:
    return locks.pins(path.read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_a_lock_holds_what_pyproject_asks_for(lock: Path) -> None:
    """Someone who adds a dependency and forgets `make lock` hears of it here."""
    pinned = versions(lock.stem)
    for requirement in locks.asked(lock.stem):
        found = pinned.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not in {lock.name}: run make lock"
        for version in found:
            assert requirement.specifier.contains(version.removeprefix("==")), (requirement, found)


#: Where each lock is installed: in the environment that runs this, or in one of a peer's own.
HERE = ("aws", "base", "build", "demo", "gcp", "hsm", "sigstore", "test")
PEERS = {
    "docs": "docs",
    "peer-fake-gcs": "fake-gcs",
    "peer-ministack": "ministack",
    "peer-model-signing": "model-signing",
    "peer-moto": "moto",
    "peer-opa": "opa",
    "peer-oras": "oras",
    "peer-seaweedfs": "seaweedfs",
    "peer-openbao": "openbao",
}


@pytest.mark.parametrize("name", [*HERE, *PEERS])
def test_a_lock_is_complete(name: str) -> None:
    """So that pip may install it with --no-deps: a resolver compares what is locked with what came
    later, and stops on the day when a dependency has a new release."""
    folders: list[Any] = list(sys.path)
    if name in PEERS:
        peer = components.found(components.peer, PEERS[name])
        folders = [peer, *peer.glob("lib/python*/site-packages")]
    installed = locks.Installed.at(folders)
    pinned = list(locked(ROOT / "requirements" / f"{name}.txt"))
    for machine in locks.machines():
        assert locks.lacks(pinned, locks.asked(name), installed, machine) == []


def test_the_lock_of_the_locker_is_one_program() -> None:
    """Nothing here installs it, so nothing here can read what it requires. uv requires nothing."""
    assert set(versions("lock")) == {"uv"} == {one.name for one in locks.asked("lock")}
    assert {lock.stem for lock in LOCKS} == {"lock", *HERE, *PEERS}


@pytest.mark.parametrize("gone", ["pluggy", "click", "numpy"])
def test_a_lock_that_lacks_a_package_is_found(gone: str) -> None:
    installed = locks.Installed.at(sys.path)
    pinned = [
        pin
        for pin in locked(ROOT / "requirements" / "test.txt")
        if canonicalize_name(Requirement(pin).name) != gone
    ]
    (here, *_) = locks.machines()
    missing = locks.lacks(pinned, locks.asked("test"), installed, here)
    assert missing
    assert all(f"requires {gone}" in text and "the lock has none" in text for text in missing)


def test_what_an_extra_requires_is_asked_for_too() -> None:
    """`pip check` does not look at extras: it would miss what `pydantic[email]` needs."""
    (here, *_) = locks.machines()
    installed = locks.Installed.at(sys.path)
    pinned = list(locked(ROOT / "requirements" / "test.txt"))
    assert locks.lacks(pinned, [Requirement("jsonschema")], installed, here) == []
    missing = locks.lacks(pinned, [Requirement("jsonschema[format]")], installed, here)
    assert any(text.startswith("jsonschema requires fqdn") for text in missing)


@pytest.mark.parametrize("path", ["Makefile", "scripts/peer", "scripts/container.py"])
def test_a_lock_is_installed_as_it_is(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    asking = [line for line in text.splitlines() if "--require-hashes" in line]
    if path.endswith(".py"):
        asking = [text]
    assert asking
    assert all("--no-deps" in line for line in asking)


@pytest.mark.parametrize("name", ["aws", "base", "demo", "build", "hsm", "sigstore"])
def test_locks_that_are_installed_together_agree(name: str) -> None:
    test = versions("test")
    differing = {n: v for n, v in versions(name).items() if n in test and v != test[n]}
    assert not differing


def test_the_locked_extras_are_the_extras() -> None:
    groups, extras = PROJECT["dependency-groups"], PROJECT["project"]["optional-dependencies"]
    same = {name: groups[name] for name in groups if name in extras}
    assert same == {name: extras[name] for name in ("aws", "gcp", "hsm", "sigstore")}


def test_each_extra_has_an_adapter_that_asks_for_it() -> None:
    """And none is asked for, in code or docs, that does not exist."""
    extras = set(PROJECT["project"]["optional-dependencies"])
    asked = re.compile(r"sovgate\[([a-z0-9,-]+)\]")

    def named(paths: list[Path]) -> set[str]:
        texts = [path.read_text(encoding="utf-8") for path in paths]
        return {
            name for text in texts for found in asked.findall(text) for name in found.split(",")
        }

    assert named(MODULES) == extras
    assert named([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]) <= extras


def test_all_holds_every_extra() -> None:
    extras = dict(PROJECT["project"]["optional-dependencies"])
    (alone,) = extras.pop("all")
    assert Requirement(alone).name == PROJECT["project"]["name"]
    assert Requirement(alone).extras == set(extras)


def test_every_group_has_its_lock() -> None:
    assert {lock.stem for lock in LOCKS} == {"base", *PROJECT["dependency-groups"]}


def test_each_version_that_is_named_is_this_one() -> None:
    """What `make generate` does not write: pipelines, pages. The changelog has the release too."""
    short = sovgate.__version__.rpartition(".")[0]
    named = {
        re.compile(r"ghcr\.io/org/sovgate:([0-9][\w.]*)"): sovgate.__version__,
        re.compile(r"/sovgate:([0-9]+\.[0-9]+\.[0-9]+)"): sovgate.__version__,
        re.compile(r"rev: v([0-9]+\.[0-9]+\.[0-9]+)"): sovgate.__version__,
        re.compile(r"sovgate-[a-zA-Z$-]+/([0-9]+\.[0-9]+)/"): short,
    }
    paths = tracked()
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path.suffix in TEXTS}
    wrong = {
        f"{relative(path)}: {match[0]}"
        for path, text in texts.items()
        if path != Path(__file__).resolve()
        for pattern, version in named.items()
        for match in [*pattern.finditer(relative(path)), *pattern.finditer(text)]
        if match[1] != version
    }
    assert PROJECT["project"]["version"] == sovgate.__version__
    assert f"\n## {sovgate.__version__}" in texts[ROOT / "CHANGELOG.md"]
    assert not wrong


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


# No test decides by time: it would fail on a busy machine, and pass on a fast one. Programs that
# tests write down as text count too. tests/pace.py ends what is hung; bench/ measures.
CLOCKS = re.compile(
    r"\b(?:monotonic|perf_counter|process_time|thread_time|timeit|getrusage\(.*\)\.ru_[us]time"
    r"|os\.times|clock_gettime|time\.time\(\) *[-<>]|[-<>] *time\.time\(\)"
    r"|timeout *= *[\d(]|setitimer|alarm\()"
)


def clocks(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if CLOCKS.search(line)]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=relative)
def test_no_test_reads_a_clock(path: Path) -> None:
    if path in (ROOT / "tests" / "pace.py", Path(__file__)):
        return
    assert clocks(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "assert time.monotonic() - begun < 2",
        "from time import perf_counter",
        "started = time.process_time()",
        "assert time.time() - started < 9",
        "subprocess.run(command, timeout=60)",
        "process.communicate(timeout = 3.5)",
        "program = 'import time; time.perf_counter_ns()'",
        "took = resource.getrusage(resource.RUSAGE_SELF).ru_utime",
    ],
)
def test_a_test_that_reads_a_clock_is_found(line: str) -> None:
    assert clocks(f"import time\n{line}\n") == [line]


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


# --- the floor plan -----------------------------------------------------------------------------

#: What `import sovgate` offers: a module of that name would be found in a function's place.
OFFERED = ("sign", "verify", "check", "push", "pull")
#: Formats are one file each, and data is no module.
LARGE_FOLDERS = ("sovgate/formats",)
MAX_MODULES = 16


@pytest.mark.parametrize("folder", sorted({module.parent for module in MODULES}), ids=relative)
def test_a_folder_is_small_enough_to_be_seen_at_once(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= MAX_MODULES or relative(folder) in LARGE_FOLDERS, len(modules)


def test_no_module_bears_the_name_of_an_offered_function() -> None:
    """`import sovgate.sign` would set the attribute `sign` of the package to the module."""
    assert set(OFFERED) <= set(sovgate.__all__)
    functions = [name for name in sovgate.__all__ if name.islower()]
    taken = [name for name in functions if (ROOT / "sovgate" / name).exists()]
    taken += [name for name in functions if (ROOT / "sovgate" / f"{name}.py").exists()]
    assert taken == []


def test_the_formatter_lays_out_every_line() -> None:
    mark = "# fmt" + ": "
    marked = [
        relative(path)
        for path in tracked()
        if path.suffix == ".py" and path.is_file() and mark in path.read_text(encoding="utf-8")
    ]
    assert marked == []


def test_the_floor_plan_shows_every_folder_and_no_way_up() -> None:
    plan = floor_plan.read(ROOT)
    names = [room.name for floor in plan.floors for room in floor]
    folders = {path.parent.name for path in (ROOT / "sovgate").glob("*/__init__.py")}
    assert folders <= set(names)
    floor_of = {room.name: number for number, floor in enumerate(plan.floors) for room in floor}
    assert [pair for pair in plan.imports if floor_of[pair[0]] > floor_of[pair[1]]] == []
    drawn = ElementTree.fromstring(floor_plan.draw(plan))  # noqa: S314 - our own text
    told = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}title")}
    for (importing, imported), count in plan.imports.items():
        assert f"{importing} imports {imported}: {count}" in told
    assert {"pipeline", "decide", "move"} <= {
        element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")
    }


# --- what belongs together ----------------------------------------------------------------------

MAX_PARAMETERS, MAX_FIELDS = 6, 10
#: To be grouped yet; nothing is added here. Commands of cli/ take what click hands them, and calls
#: of the library what people write, each by its keyword.
UNGROUPED_FUNCTIONS = frozenset(
    {
        "sovgate.library.__init__.push",
        "sovgate.errors.__init__",
        "sovgate.training.record",
    }
)
UNGROUPED_RECORDS = frozenset(
    {
        "sovgate.formats.case.Evidence",
        "sovgate.formats.promotion.Promotion",
        "sovgate.formats.transfer.Transfer",
        "sovgate.regions._record.Region",
    }
)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> list[str]:
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [one.arg for one in (given.vararg, given.kwarg) if one is not None]
    return names[1:] if method and names[:1] in (["self"], ["cls"]) else names


def is_command(module: Path, function: ast.AST) -> bool:
    """click hands a command its options one by one; each stands as a decorator above it."""
    return "cli" in module.relative_to(ROOT).parts and bool(getattr(function, "decorator_list", ()))


def is_record(node: ast.AST) -> bool:
    marks = node.decorator_list if isinstance(node, ast.ClassDef) else []
    return any("dataclass" in ast.unparse(mark) for mark in marks)


def ungrouped() -> tuple[set[str], set[str]]:
    functions, records = set(), set()
    for module in MODULES:
        where = ".".join(module.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(module.read_text(encoding="utf-8"))
        methods = {
            id(one)
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for one in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                count = len(parameters(node, method=id(node) in methods))
                if count > MAX_PARAMETERS and not is_command(module, node):
                    functions.add(f"{where}.{node.name}")
            elif isinstance(node, ast.ClassDef) and is_record(node):
                fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
                if len(fields) > MAX_FIELDS:
                    records.add(f"{where}.{node.name}")
    return functions, records


def test_what_belongs_together_is_a_record_of_its_own() -> None:
    functions, records = ungrouped()
    assert functions == UNGROUPED_FUNCTIONS, "more than six parameters: make some of them a record"
    assert records == UNGROUPED_RECORDS, "more than ten fields: make some of them a record"


def _literals(tree: ast.Module) -> list[ast.Constant]:
    """The texts of a module that people may read: all but docstrings."""
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return [node for node in found if id(node) not in said]


MESSAGES = [path for path in MODULES if "surface" not in path.parts]


def test_a_quoted_word_in_a_message_has_a_space_behind_it() -> None:
    bad = []
    for module in MESSAGES:
        text = module.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "!r}" in text else ():
            if not isinstance(node, ast.JoinedStr):
                continue
            for part, after in zip(node.values, node.values[1:], strict=False):
                quoted = isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
                if quoted and isinstance(after, ast.Constant) and str(after.value)[:1].isalnum():
                    bad.append(f"{relative(module)}:{node.lineno}")
    assert bad == []


def test_a_message_sends_nobody_to_a_page_that_is_not_at_hand() -> None:
    """A wheel holds no docs/: a message names the address of a page (`errors.DOCS`)."""
    page = re.compile(r"(?<!/)\bdocs/[\w-]+\.md")
    bad = []
    for module in MESSAGES:
        text = module.read_text(encoding="utf-8")
        said = _literals(ast.parse(text)) if page.search(text) else ()
        bad += [f"{relative(module)}:{n.lineno}" for n in said if page.search(str(n.value))]
    assert bad == []
