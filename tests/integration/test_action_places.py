"""Where an action's step finds its Python, its home and its errors: containers, unknown users."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate import host
from sovgate.surface import launch

ROOT = Path(__file__).resolve().parents[2]
ENTER = ROOT / "sovgate" / "surface" / "enter.sh"


def entered(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """enter.sh on a machine that has no Python of the system's own; launch.py says who it is."""
    text = ENTER.read_text(encoding="utf-8")
    bare = re.sub(r"(?<![\w\"])/(usr|opt|Library)/(?!bin\n)", f"{folder}/none/", text)
    assert "/usr/bin/python3" not in bare and f"{folder}/none/local/bin/python3" in bare
    (folder / "enter.sh").write_text(bare.replace("/__t", f"{folder}/__t"), encoding="utf-8")
    (folder / "launch.py").write_text("import sys\nprint('python', sys.argv)\n", encoding="utf-8")
    return subprocess.run(
        ["/bin/bash", "-p", str(folder / "enter.sh"), "sign"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def tools(folder: Path) -> Path:
    """A tool cache as actions/setup-python fills it."""
    python = folder / "Python" / "3.11.7" / "x64" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return folder


@pytest.mark.parametrize("place", ["expression", "runner", "mounted"])
def test_the_tool_cache_of_a_container_job_is_found(tmp_path: Path, place: str) -> None:
    given = {"SOVGATE_ACTION_TOOLS": "/opt/hostedtoolcache"}
    if place == "expression":
        given["SOVGATE_ACTION_TOOLS"] = str(tools(tmp_path / "cache"))
    elif place == "runner":
        given["RUNNER_TOOL_CACHE"] = str(tools(tmp_path / "cache"))
    else:
        tools(tmp_path / "__t")
    done = entered(tmp_path, **given)
    assert (done.returncode, done.stdout) == (0, f"python ['{tmp_path}/launch.py', 'sign']\n")


@pytest.mark.parametrize("path", ["", "relative", "."])
def test_no_relative_tool_cache_is_looked_at(tmp_path: Path, path: str) -> None:
    done = entered(tmp_path, RUNNER_TOOL_CACHE=path, SOVGATE_ACTION_TOOLS=path)
    assert done.returncode == 2
    assert done.stdout.startswith("::error title=sovgate::no Python 3.11 or newer on this runner")


def test_a_user_whom_nobody_knows_gets_a_home_of_the_steps_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`options: --user 1001`, OpenShift: the password database knows no such number."""

    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError("getpwuid(): uid not found: 23456")

    known = host.home(str(tmp_path / "instead"))
    assert known == pwd.getpwuid(os.getuid()).pw_dir
    assert not (tmp_path / "instead").exists()
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert host.login_home() is None
    made = launch._environment("sign", {}, tmp_path)["HOME"]
    assert Path(made).is_dir() and Path(made).parent == tmp_path
    assert Path(made).stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_not_there_is_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pwd.getpwuid(os.getuid())
    gone = pwd.struct_passwd([*there[:5], "/nonexistent", there[6]])
    monkeypatch.setattr(pwd, "getpwuid", lambda _: gone)
    assert host.home(str(tmp_path / "home")) == str(tmp_path / "home")


def test_whatever_fails_in_a_step_is_one_error_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> int:
        raise KeyError("first\n::warning::second")

    monkeypatch.setattr(launch, "_run", broken)
    assert launch.main(["sign"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error title=sovgate::the step broke before its command ran: KeyError")
    assert "::warning" not in line
    monkeypatch.undo()
    assert launch.main([]) == 1
    assert capsys.readouterr().out.count("::error") == 1


def test_nothing_else_in_the_tree_asks_the_password_database() -> None:
    words = re.compile(r"getpwuid|getpwnam|getuser\(|expanduser|Path\.home|getlogin")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "sovgate").rglob("*.py"))
        if words.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["sovgate/host.py"]


# RULES 36: what decides is chosen by no variable.

SCRIPT = (
    "import sys\nfrom sovgate.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
)


@pytest.mark.parametrize("module", ["click", "yaml", "regorus", "cryptography"])
def test_rule_36_the_script_takes_no_module_from_where_a_variable_says(
    tmp_path: Path, module: str
) -> None:
    """As pip writes it, it starts Python without -I."""
    (tmp_path / "sovgate").write_text(SCRIPT, encoding="utf-8")
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / f"{module}.py").write_text("raise SystemExit('planted')\n", encoding="utf-8")
    (tmp_path / "sovgate.yaml").write_text("version: 1\nmodel: m\nzones: {}\n", encoding="utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.rego").write_text("package user.a\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "sovgate"), "lint", "policies", "sovgate.yaml"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(planted)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "planted" not in done.stdout + done.stderr
    assert done.returncode == 3 and "policies/a.rego" in done.stdout, done.stderr


def test_rule_36_the_program_that_decides_is_not_looked_for_along_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sovgate.engines import opa
    from sovgate.errors import EngineError

    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "opa").write_text("#!/bin/sh\necho '{}'\n", encoding="utf-8")
    (folder / "opa").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert opa.program([str(folder)]) == str(folder / "opa")
    try:
        assert Path(opa.program()).parent != folder
    except EngineError as error:
        assert error.reason == "no-opa" and "PATH is not used" in str(error.why)


def test_rule_36_check_says_which_project_file_decided(tmp_path: Path) -> None:
    from tests.crossing import make_crossing

    crossing = make_crossing(tmp_path / "project")
    code, text = crossing.run("check", crossing.model, "--zone", "home", "--to", "eu")
    rows = [line.split() for line in text.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["project"]]
    assert code == 0 and Path(row[1]).name == "sovgate.yaml"
