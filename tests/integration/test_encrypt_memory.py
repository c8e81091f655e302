"""Constant memory: a model of any size is encrypted and decrypted in less than 250 MiB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sealing import make_desk, sign_model

ROOT = Path(__file__).resolve().parents[2]
GIB = 1024**3
LIMIT = 250 * 1024**2

# VmHWM and not ru_maxrss, which counts what the parent had before exec.
RUN = """
import re, sys
from sovgate.cli import main
try:
    main(sys.argv[1:])
finally:
    status = open("/proc/self/status").read()
    sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+) kB", status).group(1))
"""


def peak(*arguments: str, cwd: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1]) * 1024


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_gibibyte_for_two_zones_stays_below_250_mib(tmp_path):
    desk = make_desk(tmp_path / "desk", {"small": b"x"})
    with (desk.model / "w").open("wb") as file:
        file.truncate(GIB)
    sign_model(desk)
    (desk.base / "keys" / "ch.pem").unlink()  # encrypting needs the public half alone
    used = peak("encrypt", "model", "--to", "eu", "--to", "ch", "-o", "sealed", cwd=desk.base)
    assert used < LIMIT
    assert peak("decrypt", "sealed", "--zone", "eu", "-o", "got", cwd=desk.base) < LIMIT
    assert (desk.base / "got" / "w").stat().st_size == GIB
