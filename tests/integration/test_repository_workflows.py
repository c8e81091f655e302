"""This repository's own workflows, pages and release files, checked before CI runs them."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate import __version__
from sovgate.cli import COMMANDS
from tests import components

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# --- workflows --------------------------------------------------------------------------------
@pytest.mark.component
def test_zizmor_finds_nothing(zizmor: Path) -> None:
    done = run(zizmor, "--offline", "--persona=pedantic", "--no-progress", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


@pytest.mark.component
def test_jactionlint_finds_nothing(jactionlint: Path) -> None:
    done = run(jactionlint, *WORKFLOWS)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.component
def test_each_workflow_fits_the_schema(check_jsonschema: Path) -> None:
    done = run(check_jsonschema, "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_others_wrote_is_pinned_by_commit(path: Path) -> None:
    for line in path.read_text().splitlines():
        used = re.search(r"uses: (\S+)(.*)", line)
        if used and not used[1].startswith("$/"):
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", used[1]), line
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", used[2]), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rule_23_nothing_that_is_built_runs_where_something_may_be_written(path: Path) -> None:
    """A job with a key, a token or a permission runs no `make`, and no foreign branch starts it."""
    workflow = read(path)
    triggers = workflow[True]  # `on`, as YAML 1.1 reads it
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        powers = {name for name, level in job["permissions"].items() if level == "write"}
        ran = " ".join(step.get("run", "") for step in job["steps"])
        assert not (powers and re.search(r"\b(make|pip|python|podman build)\b", ran))
        if powers:
            assert "pull_request" not in triggers or job["if"] == "github.ref == 'refs/heads/main'"
            assert "environment" in job


def test_the_tests_run_on_each_python_that_we_say() -> None:
    said = read(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert said == ["3.11", "3.12", "3.13", "3.14"]


# --- pages ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mkdocs() -> Path:
    return components.found(components.docs)


def build(mkdocs: Path, tree: Path, into: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return run(mkdocs, "build", "--strict", "--site-dir", into, cwd=tree, env=env)


@pytest.mark.component
def test_the_pages_build_strictly_and_fetch_nothing(mkdocs: Path, tmp_path: Path) -> None:
    done = build(mkdocs, ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert (tmp_path / "site/reference/sign/index.html") in pages
    for page in pages:
        text = page.read_text()
        assert not re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?https?:", text), page
        assert not re.findall(r"<link[^>]*(?:stylesheet|icon|preconnect)[^>]*https?:", text), page
        # With it the theme asks its host's API how popular the repository is.
        assert 'data-md-component="source"' not in text, page
        assert 'class="mermaid"' not in text, page  # drawn by a program that is fetched
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style


@pytest.mark.component
def test_the_pages_read_as_one(mkdocs: Path, tmp_path: Path) -> None:
    """The picture of the border, what the demo prints, and commands in the order of --help."""
    done = build(mkdocs, ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    home = (tmp_path / "site/index.html").read_text()
    assert home.count('<svg class="border"') == 2
    assert "A model crosses a border: us-train" in html.unescape(re.sub("<[^>]+>", "", home))
    command = (tmp_path / "site/reference/push/index.html").read_text()
    listed = re.findall(r'href="\.\./([a-z]+)/" class="md-nav__link', command)
    assert listed == [*(name for name in COMMANDS if name != "push"), "project"]
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text()
        shown = html.unescape(re.sub("<[^>]+>", "", text))
        assert "\\|" not in shown, page  # what Markdown alone needs
        assert not re.findall(r"\bdocs/[a-z-]+\.md\b", shown), page  # a page is a link
        heads = re.findall(r"<thead>(.*?)</thead>", text, re.DOTALL)
        assert all(re.sub("<[^>]+>|\\s", "", head) for head in heads), page
    index = json.loads((tmp_path / "site/search/search_index.json").read_text())
    assert any("sovgate.yaml" in entry["title"] for entry in index["docs"])


@pytest.mark.component
@pytest.mark.parametrize(
    "text", ["[x](no-such-page.md)", "[x](../no/such/file.py)", "[x](keys.md#no-such-heading)"]
)
def test_a_link_that_leads_nowhere_fails(mkdocs: Path, tmp_path: Path, text: str) -> None:
    for name in ("docs", "scripts", "tekton", "policies", "schemas", "patterns", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "scripts").unlink()
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/docs_hook.py", tmp_path / "scripts")
    shutil.copytree(ROOT / "scripts/_theme", tmp_path / "scripts/_theme")
    for path in ROOT.glob("*"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    (tmp_path / "docs/index.md").write_text(f"# sovgate\n\n{text}\n")
    assert build(mkdocs, tmp_path, tmp_path / "site").returncode != 0


# --- releases ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is tracked here, as it is now, with an origin that can be pushed to."""
    top = tmp_path_factory.mktemp("release")
    tree, origin = top / "tree", top / "origin.git"
    tree.mkdir()
    listed = run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    run("git", "init", "-q", "--bare", origin)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "--all"],
        ["remote", "add", "origin", str(origin)],
        [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "commit.gpgsign=false",
            "commit",
            "-qm",
            "Release",
        ],
    ):
        done = run("git", *command, cwd=tree)
        assert done.returncode == 0, done.stderr
    python = tree / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = run(tree / "scripts/release", __version__)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree


def test_a_release_has_the_package_and_the_tree_of_actions(checkout: Path) -> None:
    names = {path.name for path in (checkout / "dist").iterdir()}
    assert names == {
        "SHA256SUMS",
        f"sovgate-{__version__}-py3-none-any.whl",
        f"sovgate-{__version__}.tar.gz",
        f"sovgate-actions-{__version__}.tar",
    }
    assert run("sha256sum", "-c", "SHA256SUMS", cwd=checkout / "dist").returncode == 0
    with tarfile.open(checkout / f"dist/sovgate-actions-{__version__}.tar") as tar:
        members = {member.name: member for member in tar}
    assert {"./sign/action.yml", "./action.yml", "./sovgate/surface/enter.sh"} <= set(members)
    assert {(m.uid, m.gid, m.mode & 0o022) for m in members.values()} == {(0, 0, 0)}


def test_a_version_that_the_package_does_not_state_is_refused(checkout: Path) -> None:
    for version in ("9.9.9", "0.1", f"{__version__}; touch PLANTED", "$(touch PLANTED)"):
        assert run(checkout / "scripts/release", version).returncode == 1
    assert not list(checkout.rglob("PLANTED"))


def test_the_tags_point_at_a_tree_with_each_verb_at_its_root(checkout: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(checkout),
        "GITHUB_REF_NAME": f"release-{__version__}",
    }
    done = run(checkout / "scripts/publish", "tags", env=env)
    assert done.returncode == 0, done.stderr
    origin = checkout.parent / "origin.git"

    def git(*words: str) -> str:
        return run("git", *words, cwd=origin).stdout.strip()

    assert git("rev-parse", "v0") == git("rev-parse", f"v{__version__}")
    assert "name: sovgate sign" in git("show", "v0:sign/action.yml")
    assert git("log", "-1", "--format=%an %cn", "v0") == "sovgate sovgate"
    assert f"Source-Commit: {run('git', 'rev-parse', 'HEAD', cwd=checkout).stdout.strip()}" in git(
        "log", "-1", "--format=%B", "v0"
    )
    commit = git("rev-parse", f"v{__version__}")
    assert run(checkout / "scripts/publish", "tags", env=env).returncode == 0  # the same commit
    assert git("rev-parse", f"v{__version__}") == commit
