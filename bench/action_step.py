"""The step of an action against one that installs model_signing by pip: each signs a small model.

Whole steps as a runner starts them: an environment built anew from wheels that lie there, each
checked against its lock, then the command. No network. Writes below the temporary folder (TMPDIR);
the wheels are downloaded once, into .cache/wheels.
"""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from bench._measure import in_turn, machine, table
from tests.components import ROOT
from tests.workflows import PYTHON, wheels

PEER = "peer-model-signing"


def ours(work: Path, model: Path, key: Path) -> list[str]:
    """What actions/sign/action.yml runs, with the inputs of a user and the files of a runner."""
    given = {
        "SOVGATE_SIGN_MODEL": model,
        "SOVGATE_SIGN_KEY": f"file:{key}",
        "SOVGATE_FORMAT": "github",
        "SOVGATE_ACTION_WHEELS": wheels(),
        "SOVGATE_ACTION_PYTHON": PYTHON,
        "RUNNER_TEMP": work,
        "GITHUB_OUTPUT": work / "output",
        "GITHUB_STEP_SUMMARY": work / "summary",
        "GITHUB_ACTIONS": "true",
    }
    environment = [f"{name}={value}" for name, value in given.items()]
    enter = str(ROOT / "sovgate/surface/enter.sh")
    return ["/usr/bin/env", "-i", *environment, "/bin/bash", "-p", enter, "sign"]


def theirs(work: Path, model: Path, key: Path) -> list[str]:
    environment = work / "peer"
    pip = [
        environment / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
        f"--find-links={wheels(PEER)}",
        f"--requirement={ROOT}/requirements/{PEER}.txt",
    ]
    sign = [
        environment / "bin/model_signing",
        "sign",
        "key",
        model,
        "--private_key",
        key,
        "--signature",
        work / "theirs.sig",
    ]
    steps = (["rm", "-rf", environment], [PYTHON, "-m", "venv", environment], pip, sign)
    return ["/bin/sh", "-ec", "\n".join(shlex.join(map(str, step)) for step in steps)]


def main(quick: bool) -> None:
    from tests.signers import KeySigner

    repeats = 3 if quick else 7
    with tempfile.TemporaryDirectory(prefix="sovgate-bench-") as name:
        work = Path(name)
        key, model = work / "key.pem", work / "model"
        key.touch(mode=0o600)
        key.write_bytes(KeySigner().private_pem)
        model.mkdir()
        (model / "weights.bin").write_bytes(b"weights" * 300)
        runs = in_turn({"us": ours(work, model, key), "them": theirs(work, model, key)}, repeats)
    mine, other = runs["us"], runs["them"]
    print(
        f"\nan action's step against pip install of model_signing, medians of {repeats}, "
        f"{machine()}\n"
    )
    print(
        table(
            ["what", "sovgate", "model_signing", "faster", "spread", "CPU", "CPU, theirs"],
            [
                [
                    "install from wheels and sign 2 KB",
                    f"{mine.seconds:.2f} s",
                    f"{other.seconds:.2f} s",
                    f"{other.seconds / mine.seconds:.1f}x",
                    f"{max(mine.spread, other.spread):.0%}",
                    f"{mine.cpu:.1f} s",
                    f"{other.cpu:.1f} s",
                ]
            ],
        )
    )
