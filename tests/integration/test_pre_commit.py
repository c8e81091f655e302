"""The hooks as the real pre-commit runs them, from `.pre-commit-hooks.yaml` of a repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sovgate import __version__
from tests.components import found, program
from tests.workflows import release_tree, wheels

ROOT = Path(__file__).resolve().parents[2]
HOOKS = ROOT / ".pre-commit-hooks.yaml"

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def pre_commit() -> Path:
    return found(program, "pre-commit", get="make venv")


def call(*words: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    identity = {
        f"GIT_{who}_{what}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    known = {k: v for k, v in os.environ.items() if not k.startswith(("SOVGATE_", "GIT_", "PRE_"))}
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**known, **identity, **more},
    )


@pytest.fixture(scope="module")
def hooks_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `repo:` names: the hooks file, whose commands this environment has."""
    folder = tmp_path_factory.mktemp("hooks")
    hooks = yaml.safe_load(HOOKS.read_text())
    for hook in hooks:  # the environment that pre-commit would fill by pip, from the network
        hook["language"] = "system"
        hook["entry"] = f"{sys.executable} -m {hook['entry']}"
    (folder / ".pre-commit-hooks.yaml").write_text(yaml.safe_dump(hooks))
    return committed(folder)


def committed(folder: Path) -> Path:
    call("git", "init", "-q", cwd=folder)
    call("git", "add", ".", cwd=folder)
    assert call("git", "commit", "-qm", "Add hooks", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def project(tmp_path: Path, hooks_repository: Path, pre_commit: Path) -> Path:
    return made(tmp_path / "project", hooks_repository, pre_commit)


def made(folder: Path, hooks_repository: Path, pre_commit: Path) -> Path:
    """A project with a data set and a rule, and all hooks of a repository installed."""
    (folder / "policies").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "sovgate.yaml").write_text(
        'version: 1\nmodel: kyc\nzones: {eu: {region: "aws:eu-central-1"}}\n'
        "policy: {rules: policies/}\ndatasets: {kyc: {manifest: data/kyc.yaml}}\n"
    )
    (folder / "data/kyc.yaml").write_text(
        "version: 1\nid: kyc\ncategory: personal\npointer: file:data/raw\nstays-in: [EU]\n"
    )
    head = "package user.calm\n\nimport rego.v1\n\n"
    meta = "# METADATA\n# title: Calm\n# custom:\n#   id: calm\n"
    (folder / "policies/calm.rego").write_text(
        f'{meta}{head}deny contains "storm" if not calm\n\ncalm if input.facts.calm == true\n'
    )
    (folder / "policies/calm_test.rego").write_text(
        head.replace("calm", "calm_test")
        + "import data.user.calm.deny\n\ntest_storm if count(deny) == 1 with input as {}\n"
    )
    rev = call("git", "rev-parse", "HEAD", cwd=hooks_repository).stdout.strip()
    ids = [hook["id"] for hook in yaml.safe_load(HOOKS.read_text())]
    (folder / ".pre-commit-config.yaml").write_text(
        json.dumps(
            {
                "repos": [
                    {
                        "repo": str(hooks_repository),
                        "rev": rev,
                        "hooks": [{"id": one} for one in ids],
                    }
                ]
            }
        )
    )
    call("git", "init", "-q", cwd=folder)
    home = {"PRE_COMMIT_HOME": str(folder.parent / "home")}
    done = call(pre_commit, "install", cwd=folder, **home)
    assert done.returncode == 0, done.stderr
    return folder


def commit(project: Path, **more: str) -> tuple[int, str]:
    """`git add . && git commit`, with the hooks that pre-commit installed."""
    call("git", "add", ".", cwd=project)
    done = call(
        "git",
        "commit",
        "-m",
        "Change it",
        cwd=project,
        PRE_COMMIT_HOME=str(project.parent / "home"),
        **(more or {"PYTHONPATH": str(ROOT)}),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.thorough  # builds an environment
def test_pre_commit_installs_us_itself(pre_commit: Path, tmp_path: Path) -> None:
    """As `repo:` and `rev:` do it, `language: python` and all; pip finds wheels, and no index.

    From the tree that a release's tag points at, which is not that of main.
    """
    repository = release_tree(tmp_path / "sovgate")
    project = made(tmp_path / "project", committed(repository), pre_commit)
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": f"{wheels()} {wheels('build')}",
    }
    code, said = commit(project, **offline)
    assert code == 0, said
    assert said.count("Passed") == 3, said
    (found,) = (tmp_path / "home").glob("repo*/py_env-*/bin/sovgate")
    assert subprocess.run([found, "--version"], check=True, cwd=tmp_path).returncode == 0
    (project / "data/kyc.csv").write_text("email\n" + "".join(f"p{n}@kunde.de\n" for n in range(9)))
    code, said = commit(project, **offline)
    assert code != 0
    assert "e-mail" in said


def test_a_clean_project_is_committed(project: Path) -> None:
    code, said = commit(project)
    assert code == 0, said
    for name in ("sovgate lint", "sovgate policy test", "sovgate guard"):
        assert any(name in line and "Passed" in line for line in said.splitlines()), said


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("sovgate.yaml", "version: 1\nmodle: kyc\n", "[bad-value]"),
        ("policies/calm.rego", "package user.calm\n\nallow if true\n", "policies/calm.rego"),
        (
            "policies/calm_test.rego",
            "package user.calm_test\nimport rego.v1\ntest_no if false\n",
            "0 passed, 1 failed",
        ),
        ("data/kyc.csv", "email\n" + "".join(f"p{n}@kunde.de\n" for n in range(9)), "e-mail"),
        ("data/raw/rows.bin", "rows", "kyc"),
        ("keys/kyc.key", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n", "commitment key"),
    ],
)
def test_what_is_wrong_is_not_committed(project: Path, path: str, text: str, says: str) -> None:
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text(text)
    code, said = commit(project)
    assert code != 0
    assert says in said
    assert call("git", "rev-parse", "-q", "--verify", "HEAD", cwd=project).returncode != 0


@pytest.mark.parametrize("name", ["--help", "-h", "--format=json", "--project=policies"])
def test_a_file_that_is_called_like_an_option_is_a_file(tmp_path: Path, name: str) -> None:
    """pre-commit passes names as they are: `--help` would be the end of its whole batch, with 0."""
    (tmp_path / name).write_text("nothing")
    (tmp_path / "kyc.key").write_text("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n")
    for hook in yaml.safe_load(HOOKS.read_text()):
        if hook["id"] == "sovgate-no-regulated-data":
            words = [*hook["entry"].split(), *hook["args"], name, "kyc.key"]
            done = call(sys.executable, "-m", *words, cwd=tmp_path, PYTHONPATH=str(ROOT))
            assert done.returncode == 10, done.stdout + done.stderr
            assert "2 files looked through, 1 finding" in done.stdout


def test_the_page_names_the_tag_of_this_version() -> None:
    assert f"rev: v{__version__} " in (ROOT / "docs/pre-commit.md").read_text()


def test_pre_commit_itself_finds_the_hooks_file_valid(pre_commit: Path) -> None:
    done = call(pre_commit, "validate-manifest", HOOKS, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_every_hook_is_a_command_that_exists() -> None:
    for hook in yaml.safe_load(HOOKS.read_text()):
        command = hook["entry"].split()
        assert command[0] == "sovgate"
        done = call(sys.executable, "-m", *command[:2], "--help", cwd=ROOT)
        assert done.returncode == 0
        assert hook["language"] == "python"
