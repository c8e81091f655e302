"""A decryption that is told to end takes its plaintext along: by a person, a pod, or a runner."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.components import ROOT
from tests.pace import told_to_end
from tests.sealing import Desk, make_desk
from tests.workflows import PYTHON, wheels

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A model large enough that nobody has opened it before he is told to stop."""
    made = make_desk(tmp_path_factory.mktemp("desk") / "d", {"w.bin": bytes(128 * 1024 * 1024)})
    subprocess.run(
        [sys.executable, "-m", "sovgate", "encrypt", "model", "--to", "eu", "-o", "sealed"],
        cwd=made.base,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return made


def ended(
    command: Sequence[str | Path], number: int, desk: Desk, out: Path, env: dict[str, str]
) -> tuple[int, str]:
    """Its exit code and words, where the signal found plaintext in its staging folder."""

    def start() -> subprocess.Popen[str]:
        for left in out.iterdir():  # of a run that was over too soon
            shutil.rmtree(left)
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=desk.base,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def whole() -> bool:
        """What lies under a name of its own was committed; staging begins with a dot."""
        return any(not left.name.startswith(".") for left in out.iterdir())

    return told_to_end(start, number, lambda: list(out.glob(".*/model/w.bin")), whole)


@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_command_that_is_told_to_end_leaves_no_plaintext(
    desk: Desk, tmp_path: Path, number: int
) -> None:
    code, said = ended(
        [
            sys.executable,
            "-m",
            "sovgate",
            "decrypt",
            "sealed",
            "--zone",
            "eu",
            "-o",
            tmp_path / "out",
        ],
        number,
        desk,
        tmp_path,
        {**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert code == (130 if number == signal.SIGINT else 143)
    assert "interrupted; nothing half is left behind" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", ENDS[:2], ids=lambda number: number.name)
def test_a_step_that_is_cancelled_leaves_no_plaintext(
    desk: Desk, tmp_path: Path, number: int
) -> None:
    """The runner tells the step's first process alone; RULES 11."""
    out, temporary = tmp_path / "out", tmp_path / "runner"
    for folder in (out, temporary):
        folder.mkdir()
    code, said = ended(
        ["/bin/bash", "-p", ROOT / "sovgate/surface/enter.sh", "decrypt"],
        number,
        desk,
        out,
        {
            "SOVGATE_ACTION_WHEELS": str(wheels()),
            "SOVGATE_ACTION_PYTHON": str(PYTHON),
            "SOVGATE_ACTION_TEMP": str(temporary),
            "SOVGATE_DECRYPT_SEALED": "sealed",
            "SOVGATE_DECRYPT_ZONE": "eu",
            "SOVGATE_DECRYPT_OUTPUT": str(out / "m"),
        },
    )
    assert code == 130, said
    assert "Traceback" not in said
    assert list(out.iterdir()) == []
    assert list(temporary.iterdir()) == []
