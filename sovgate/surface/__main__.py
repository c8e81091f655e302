"""`python -m sovgate.surface [--check] [--release-tree DIR]`: writes what is generated.

Touches actions/, action.yml, tekton/tasks/, tekton/stepactions/, patterns/central/,
patterns/hybrid/, docs/reference/, docs/exit-codes.md, docs/floor-plan.svg, schemas/project.json,
policies/vetted.json and a part of docs/stores.md in the checkout it lies in, or compares them and
changes nothing.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import json
import shutil
import sys
from pathlib import Path

from sovgate.pipeline.decide import policies
from sovgate.surface import actions, patterns, project, reference, stores, tekton
from sovgate.surface._verbs import commands, verbs
from sovgate.surface.floor_plan import floor_plan

ROOT = Path(__file__).resolve().parents[2]

#: Folders of which every file is generated: one that no command accounts for is drift.
OWNED = (
    "actions",
    "tekton/tasks",
    "tekton/stepactions",
    "docs/reference",
    "patterns/central",
    "patterns/hybrid",
)
#: What a release's tree holds beside the verbs at its root. The last three are for pre-commit,
#: which installs the tree of the tag that it is given.
SHIPPED = (
    "sovgate",
    "actions",
    "policies",
    "schemas",
    "tekton/pipelines",
    "requirements",
    "LICENSE",
    "action.yml",
    ".pre-commit-hooks.yaml",
    "pyproject.toml",
    "README.md",
)


def files() -> dict[str, str]:
    """Path from the root -> text, of everything that is generated."""
    return dict(_made())


@functools.cache
def _made() -> dict[str, str]:
    made = {
        "action.yml": actions.root_action(verbs()),
        "docs/exit-codes.md": reference.exit_codes(),
        "docs/floor-plan.svg": floor_plan(ROOT),
    }
    found = policies.vetted_document(policies.vet_shipped(policies.shipped_sources()))
    made[f"{policies.SHIPPED}/{policies.VETTED}"] = json.dumps(found, indent=1) + "\n"
    for verb in verbs():
        made[f"actions/{verb.path}/action.yml"] = actions.action(verb, "../..")
        made |= tekton.task_files(verb)
        made |= tekton.stepaction_files(verb)
    for name, below in commands().items():
        made[f"docs/reference/{name}.md"] = reference.page(name, below)
    made["docs/reference/index.md"] = reference.index(commands())
    written = (ROOT / project.SOURCE).read_text(encoding="utf-8")
    made[project.SOURCE] = project.schema(written)
    made |= patterns.files(made[project.SOURCE])
    made[stores.SOURCE] = stores.page((ROOT / stores.SOURCE).read_text(encoding="utf-8"))
    made["docs/reference/project.md"] = project.page(made[project.SOURCE])
    return made


def drift(root: Path) -> list[str]:
    """What differs between what is there and what would be made; as a diff a person can read."""
    made, found = files(), []
    for path, text in sorted(made.items()):
        there = root / path
        if not there.is_file():
            found.append(f"missing: {path}")
        elif there.read_text(encoding="utf-8") != text:
            old = there.read_text(encoding="utf-8").splitlines()
            lines = difflib.unified_diff(
                old, text.splitlines(), path, "generated", lineterm="", n=1
            )
            found.append("\n".join([f"differs: {path}", *list(lines)[:40]]))
    found += [f"of no command: {path}" for path in _owned(root) if path not in made]
    return found


def write(root: Path) -> list[str]:
    """Write what differs, and remove what is of no command. Returns the paths touched."""
    made, touched = files(), []
    for path, text in sorted(made.items()):
        there = root / path
        if not there.is_file() or there.read_text(encoding="utf-8") != text:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(text, encoding="utf-8")
            touched.append(path)
    for path in _owned(root):
        if path not in made:
            (root / path).unlink()
            touched.append(path)
    return touched


def release_tree(root: Path, into: Path) -> None:
    """The tree that a release's tag points at: each verb's action at the root."""
    into.mkdir(parents=True)
    for name in SHIPPED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, into / name)
    for verb in verbs():
        folder = into / verb.path
        folder.mkdir()
        text = actions.action(verb, "..")
        (folder / "action.yml").write_text(text, encoding="utf-8")


def _owned(root: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix()
        for folder in OWNED
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sovgate.surface", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    parser.add_argument("--release-tree", metavar="DIR", type=Path, help="write a release's tree")
    asked = parser.parse_args()
    if asked.release_tree:
        release_tree(ROOT, asked.release_tree)
        return 0
    if asked.check:
        found = drift(ROOT)
        if found:
            text = "\n".join(found)
            sys.stderr.write(f"{text}\n\nfix: python -m sovgate.surface, and commit the result\n")
        return 1 if found else 0
    for path in write(ROOT):
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
