"""Runs workflows under the real act, on this machine or in containers, and reads its log.

Starts act in a folder of its own, with our tree as `org/sovgate@v1`; fills .cache/wheels once.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sovgate.surface import launch
from tests.components import ROOT

WHEELS = ROOT / ".cache" / "wheels"
#: The Python that the actions are told to use: the one below this virtual environment.
PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"

#: Jobs in containers that find no network, no other image, and no engine of their own.
OFFLINE = ("--pull=false", "--network=none", "--rm", "--container-daemon-socket=-")

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Log:
    """What act said, one record a line. A step is named by its id, an action's inner one by two."""

    code: int
    records: tuple[dict[str, Any], ...]

    def of(self, *step: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record.get("stepID") == list(step)]

    def text(self, *step: str) -> str:
        """What the step printed, without colours."""
        raw = [record["msg"] for record in self.of(*step) if record.get("raw_output")]
        return _STYLE.sub("", "".join(raw))

    def result(self, *step: str) -> str:
        found = [
            r["stepResult"]
            for r in self.of(*step)
            if r.get("stage") == "Main" and "stepResult" in r
        ]
        assert found, f"step {step} did not run:\n{self}"
        return str(found[-1])

    def seconds(self, *step: str) -> float:
        return max(float(r["executionTime"]) for r in self.of(*step) if "executionTime" in r) / 1e9

    def commands(self, kind: str, *step: str) -> list[dict[str, Any]]:
        return [record for record in self.of(*step) if record.get("command") == kind]

    def outputs(self, *step: str) -> dict[str, str]:
        return {r["name"]: r["arg"] for r in self.commands("set-output", *step)}

    def summary(self, *step: str) -> str:
        return "".join(record["content"] for record in self.commands("summary", *step))

    def annotations(self, *step: str) -> list[str]:
        return [_STYLE.sub("", r["msg"]).strip() for r in self.commands("error", *step)]

    def __str__(self) -> str:
        """What was said, and first what a failed step said: a report cuts a long text amid."""
        quiet = ("unable to get git", "LocalRepositoryCache")
        said = [r for r in self.records if not r["msg"].startswith(quiet)]
        failed = [
            (r.get("jobID"), r.get("stepID")) for r in said if r.get("stepResult") == "failure"
        ]
        first = [r for r in said if (r.get("jobID"), r.get("stepID")) in failed]
        return _STYLE.sub("", "\n".join(r["msg"].rstrip("\n") for r in [*first, *said]))


def wheels(of: str = "base") -> Path:
    """A folder of the wheels that requirements/<of>.txt locks; downloaded once a lock."""
    lock, folder = ROOT / "requirements" / f"{of}.txt", WHEELS if of == "base" else WHEELS / of
    stamp = folder / f"{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}.done"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several workers of pytest may come here at once
        if not stamp.exists():
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--disable-pip-version-check",
                    "--require-hashes",
                    "--only-binary=:all:",
                    f"--dest={folder}",
                    f"--requirement={lock}",
                ],
                check=True,
            )
            stamp.touch()
    return folder


def every_wheel() -> Path:
    """One folder of the wheels of every lock that an action may need."""
    folder = WHEELS / "every"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for lock in ("base", *sorted(set(launch.EXTRAS.values()))):
            for wheel in wheels(lock).glob("*.whl"):
                if not (folder / wheel.name).exists():
                    os.link(wheel, folder / wheel.name)
    return folder


class Act:
    """act, a tree that stands for a repository of ours, and a folder to work in."""

    def __init__(self, program: Path, tree: Path, folder: Path) -> None:
        self.program, self.tree, self.folder = program, tree, folder

    def run(
        self,
        workflow: dict[str, Any] | str,
        repository: Path,
        *,
        docker: str | None = None,
        others: Mapping[str, Path] | None = None,
    ) -> Log:
        """Run a workflow (all of it, or the steps' jobs) in a repository's folder.

        With `docker` (a DOCKER_HOST) each job runs in the container that it names, offline.
        `others`: actions of others, "OWNER/REPOSITORY@REF" -> the folder that stands for one.
        """
        text = workflow if isinstance(workflow, str) else yaml.safe_dump(workflow, sort_keys=False)
        path = repository / ".github" / "workflows" / "ci.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "LC_ALL": "C.UTF-8",
        }
        where: list[str] = []
        if docker:
            environment["DOCKER_HOST"] = docker
            where = [*OFFLINE]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "work"]):
            subprocess.run(
                [
                    "git",
                    "-c",
                    "user.name=t",
                    "-c",
                    "user.email=t@example.org",
                    "-c",
                    "commit.gpgsign=false",
                    *command,
                ],
                cwd=repository,
                env=environment,
                check=False,
                capture_output=True,
            )
        done = subprocess.run(
            [
                self.program,
                "push",
                "--json",
                "-P",
                "ubuntu-latest=-self-hosted",
                "--no-cache-server",
                *where,
                "--local-repository",
                f"org/sovgate@v1={self.tree}",
                *(
                    word
                    for name, folder in (others or {}).items()
                    for word in ("--local-repository", f"{name}={folder}")
                ),
            ],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert records, done.stderr
        return Log(code=done.returncode, records=tuple(r for r in records if "msg" in r))


def workflow(*steps: dict[str, Any]) -> dict[str, Any]:
    """One job. (`on` is written quoted by PyYAML, which is the same to a reader.)"""
    checkout = {"uses": "actions/checkout@v4"}
    return {
        "on": "push",
        "jobs": {"job": {"runs-on": "ubuntu-latest", "steps": [checkout, *steps]}},
    }


def uses(verb: str, step: str, *, when: str | None = None, **inputs: str) -> dict[str, Any]:
    """A step `uses: org/sovgate/<verb>@v1`, installing from the wheel folder."""
    given = {name.replace("_", "-"): value for name, value in inputs.items()}
    where = f"org/sovgate/{verb}@v1" if verb else "org/sovgate@v1"
    found: dict[str, Any] = {"id": step, "uses": where}
    if when:
        found["if"] = when
    found["with"] = {"wheels": str(wheels()), "python": str(PYTHON), **given}
    return found


def release_tree(into: Path) -> Path:
    """Our tree as a release's tag has it, each verb at the root."""
    from sovgate.surface.__main__ import release_tree

    shutil.rmtree(into, ignore_errors=True)
    release_tree(ROOT, into)
    return into
