"""Real Git repositories for tests: a bare one as a zone's GitOps remote, and people who push to it.

Starts git and nothing else; everything lies below the folder that is given.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: serve
spec:
  selector: {matchLabels: {app: serve}}
  template:
    metadata: {labels: {app: serve}}
    spec:
      containers:
        - name: server
          image: registry.example/server@sha256:0000
          env:
            - {name: PORT, value: "8080"}
"""
KUSTOMIZATION = """\
# The overlay of one zone. Keep this comment.
resources:
  - ../../base   # what all zones share
namePrefix: 'z-'   # quoted on purpose
"""


#: Each kind of repository as it begins, packed: a dozen processes make it, once a process of tests.
_BEGUN: dict[tuple[tuple[str, ...], bool], bytes] = {}


def _packed(*folders: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as into:
        for folder in folders:
            into.add(folder, folder.name)
    return packed.getvalue()


class Repository:
    """A bare repository with `base/` and `overlays/<zone>/`, on branch main."""

    def __init__(self, folder: Path, zones: tuple[str, ...] = ("eu",), *, sha256: bool = False):
        self.path = folder / "serving.git"
        self._work = folder / "person"
        folder.mkdir(parents=True, exist_ok=True)
        if (zones, sha256) not in _BEGUN:
            self._begin(zones, "sha256" if sha256 else "sha1")
            _BEGUN[zones, sha256] = _packed(self.path, self._work)
            return
        with tarfile.open(fileobj=io.BytesIO(_BEGUN[zones, sha256])) as begun:
            begun.extractall(folder, filter="tar")
        git("remote", "set-url", "origin", str(self.path), cwd=self._work)

    def _begin(self, zones: tuple[str, ...], kind: str) -> None:
        git("init", "-q", "--bare", "-b", "main", f"--object-format={kind}", str(self.path))
        git("init", "-q", "-b", "main", f"--object-format={kind}", str(self._work))
        git("remote", "add", "origin", str(self.path), cwd=self._work)
        files: dict[str, str | bytes] = {
            "base/kustomization.yaml": "resources: [deployment.yaml]\n",
            "base/deployment.yaml": DEPLOYMENT,
        }
        for zone in zones:
            files[f"overlays/{zone}/kustomization.yaml"] = KUSTOMIZATION
        self.person_pushes(files, "Begin")

    @property
    def work(self) -> Path:
        """A person's clone of main, up to date."""
        git("fetch", "-q", "origin", cwd=self._work)
        if self.tip():
            git("reset", "-q", "--hard", "origin/main", cwd=self._work)
        return self._work

    def person_pushes(self, files: dict[str, str | bytes], message: str = "Change") -> str:
        work = self.work
        for name, data in files.items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return self.person_pushes_index(message, add=True)

    def person_pushes_index(self, message: str = "Change", *, add: bool = False) -> str:
        if add:
            git("add", "-A", cwd=self._work)
        git("commit", "-q", "-m", message, cwd=self._work)
        git("push", "-q", "origin", "HEAD:main", cwd=self._work)
        return self.tip()

    def tip(self, branch: str = "main") -> str:
        return git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}", cwd=self.path)

    def log(self, branch: str = "main", form: str = "%s") -> list[str]:
        return git("log", f"--format={form}", branch, cwd=self.path).split("\n")

    def show(self, path: str, branch: str = "main") -> bytes:
        return git_bytes("show", f"{branch}:{path}", cwd=self.path)

    def files(self, branch: str = "main") -> list[str]:
        return git("ls-tree", "-r", "--name-only", "-z", branch, cwd=self.path).split("\0")[:-1]

    def hook(self, name: str, script: str) -> None:
        path = self.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)


def git_bytes(*arguments: str, cwd: Path | None = None) -> bytes:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Person",
        "GIT_AUTHOR_EMAIL": "person@example",
        "GIT_COMMITTER_NAME": "Person",
        "GIT_COMMITTER_EMAIL": "person@example",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, capture_output=True, check=False, env=environment
    )
    if done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode('utf-8', 'replace')}")
    return done.stdout


def git(*arguments: str, cwd: Path | None = None) -> str:
    return git_bytes(*arguments, cwd=cwd).decode("utf-8", "surrogateescape").strip("\n")
