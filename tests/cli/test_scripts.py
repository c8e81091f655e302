"""Setting up on a machine that lacks something says what, and what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts import run_tests

ROOT = Path(__file__).resolve().parents[2]


def find_python(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find-python")],
        env={"PATH": str(path), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_no_python_is_one_clear_message(tmp_path: Path) -> None:
    done = find_python(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no Python 3.11 or newer" in done.stderr
    assert "fix: install one" in done.stderr


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "python3", "echo no such version >&2; exit 127")
    program(tmp_path / "python3.12", f'exec "{sys.executable}" "$@"')
    done = find_python(tmp_path)
    assert done.stdout.strip() == str(tmp_path / "python3.12")


def test_a_python_without_venv_names_the_package(tmp_path: Path) -> None:
    """Debian ships them apart."""
    program(
        tmp_path / "python3",
        f'case "$2" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"',
    )
    done = find_python(tmp_path)
    assert done.returncode == 1
    assert "cannot make a virtual environment" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


def test_a_named_python_is_the_only_one_tried(tmp_path: Path) -> None:
    program(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    done = find_python(tmp_path, PYTHON=str(tmp_path / "old"))
    assert done.returncode == 1
    assert f"tried: {tmp_path / 'old'}" in done.stderr


def test_without_a_network_namespace_the_tests_run_all_the_same(tmp_path: Path) -> None:
    program(tmp_path / "unshare", "exit 1")
    done = subprocess.run(
        [str(ROOT / "scripts" / "offline"), sys.executable, "-c", "print(42)"],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert "with the network on" in done.stderr


def test_the_image_is_filled_from_any_folder(tmp_path: Path) -> None:
    """Our own wheel goes where the others are, though it is built in the checkout."""
    line = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import container; "
        "from pathlib import Path; print(container.own_wheel(Path('wheels')))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sovgate==")
    assert list((tmp_path / "wheels").glob("sovgate-*.whl"))
    assert not (ROOT / "wheels").exists()


def test_files_of_tests_lie_in_memory_where_there_is_room_and_programs_run() -> None:
    """Docker mounts it without the right to run programs; a small machine has no room."""
    folder, much = Path("/dev/shm"), 64 * 2**30

    def lies(options: str, kind: str = "tmpfs", available: int = much, free: int = much) -> bool:
        mounts = f"/dev/vda / ext4 rw 0 0\nshm /dev/shm {kind} {options} 0 0\n"
        return run_tests.in_memory(folder, mounts=mounts, available=available, free=free)

    assert lies("rw,nosuid,nodev,relatime")
    assert not lies("rw,nosuid,nodev,noexec")
    assert not lies("ro")
    assert not lies("rw", kind="ext4")
    assert not lies("rw", free=64 * 2**20)
    assert not lies("rw", available=4 * 2**30)
    assert not run_tests.in_memory(folder, mounts="", available=much, free=much)
