"""What a command imports: what makes its start slow, by count and name and not by a clock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_PROGRAM = """
import sys
before = set(sys.modules)
from sovgate.cli import main
code = 0
try:
    main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print("imported", *sorted(set(sys.modules) - before), file=sys.stderr)
sys.exit(code)
"""


def imported(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> set[str]:
    """The modules that `sovgate …` imports, beyond those of a bare Python. It must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {}), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    word, *names = done.stderr.splitlines()[-1].split()
    assert word == "imported"
    return set(names)
