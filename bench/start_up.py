"""Start-up against bare Python: `--help`, a small `verify` by key, and one by the project file.

Whole processes in turn, bytecode and page cache warm. The run with the least CPU time counts: what
a process needs at least does not depend on what else the machine does.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench._measure import Runs, in_turn, machine, once, table

#: The most that each may take, as a multiple of bare Python.
BOUNDS = {"--help": 5, "verify --key": 10, "verify, by the project": 15}

PROJECT = """\
version: 1
model: churn
zones:
  home: {region: "aws:us-east-1", keys: {sign: "file:key.pem"}}
datasets: {}
border: {weights: {allow: []}, metadata: {allow: []}}
"""


def prepare(work: Path) -> None:
    """A signed model of two small files, and a project that trusts its key."""
    ours = [sys.executable, "-m", "sovgate"]
    (work / "sovgate.yaml").write_text(PROJECT, encoding="utf-8")
    (work / "model").mkdir()
    for name in ("config.json", "weights.bin"):
        (work / "model" / name).write_text("{}", encoding="utf-8")
    once([*ours, "keys", "generate", "sign", "-o", str(work / "key.pem")])
    once([*ours, "sign", str(work / "model"), "--key", f"file:{work}/key.pem"])


def least(runs: Runs) -> float:
    return min(run.cpu for run in runs.runs)


def main(quick: bool) -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each run would compile everything anew
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work)
        ours = [sys.executable, "-m", "sovgate"]
        model = str(work / "model")
        project = str(work / "sovgate.yaml")
        found = in_turn(
            {
                "bare Python": [sys.executable, "-c", "pass"],
                "--help": [*ours, "--help"],
                "verify --key": [*ours, "verify", model, "--key", str(work / "key.pub.pem")],
                "verify, by the project": [*ours, "verify", model, "--project", project],
            },
            10 if quick else 40,
        )
    bare = least(found["bare Python"])
    rows = []
    for name, runs in found.items():
        ratio = least(runs) / bare
        bound = BOUNDS.get(name)
        rows.append(
            [
                name,
                f"{least(runs) * 1000:.0f} ms",
                f"{runs.seconds * 1000:.0f} ms",
                f"{ratio:.1f}x",
                f"{bound}x" if bound else "",
                "" if bound is None else "yes" if ratio <= bound else "NO",
            ]
        )
    print(f"\nstart-up, {machine()}\n")
    print(table(["what", "least CPU", "median", "ratio", "bound", "kept"], rows))
