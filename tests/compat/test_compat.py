"""What an earlier version wrote opens for ever: signatures, copies, records, receipts, logs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import forked

ROOT = Path(__file__).resolve().parent.parent.parent
FROZEN = sorted(path for path in (Path(__file__).parent / "v0").glob("*") if path.is_dir())


def sovgate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.SOVGATE.run(*words, cwd=folder, env={"PATH": os.environ["PATH"]})


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_something_is_frozen() -> None:
    assert FROZEN
    assert REUSED
    assert EXPORTED


REUSED = [path for path in FROZEN if (path / "store-eu/releases/frozen/1.1.0.json").exists()]


@pytest.fixture(params=FROZEN, ids=lambda path: path.name)
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copytree(request.param, tmp_path / "frozen")
    for key in (tmp_path / "frozen" / "keys").iterdir():
        key.chmod(0o600)  # Git keeps no modes
    return tmp_path / "frozen"


def test_a_signature_of_then_verifies_now(frozen: Path) -> None:
    done = sovgate(frozen, "verify", "model")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("zone", ["eu", "fr"])
def test_a_release_of_then_can_be_pulled_now(frozen: Path, zone: str) -> None:
    done = sovgate(frozen, "pull", "frozen/1.0.0", "--zone", zone, "-o", "got")
    assert done.returncode == 0, done.stderr
    assert files(frozen / "got") == files(frozen / "model")


@pytest.mark.parametrize("frozen", REUSED, indirect=True, ids=lambda path: path.name)
def test_a_release_of_then_that_uses_an_earlier_one_again_can_be_pulled_now(frozen: Path) -> None:
    done = sovgate(frozen, "pull", "frozen/1.1.0", "--zone", "eu", "-o", "got")
    assert done.returncode == 0, done.stderr
    assert files(frozen / "got") == files(frozen / "model")


@pytest.mark.parametrize("zone", ["eu", "fr"])
def test_a_sealed_copy_of_then_can_be_opened_now(frozen: Path, zone: str) -> None:
    done = sovgate(frozen, "decrypt", "sealed", "--zone", zone, "-o", "got")
    assert done.returncode == 0, done.stderr
    assert files(frozen / "got") == files(frozen / "model")


EXPORTED = [path for path in FROZEN if (path / "keys/eu-encrypt.json").exists()]


@pytest.mark.parametrize("frozen", EXPORTED, indirect=True, ids=lambda path: path.name)
def test_a_public_key_of_then_is_believed_now(frozen: Path) -> None:
    done = sovgate(frozen, "encrypt", "model", "--to", "eu", "-o", "anew")
    assert done.returncode == 0, done.stderr


def test_a_log_of_then_verifies_now(frozen: Path) -> None:
    done = sovgate(frozen, "audit", "verify")
    assert done.returncode in (0, 14), done.stdout + done.stderr  # 14: no head was noted
    assert "do not verify" not in done.stderr
