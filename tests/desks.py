"""A desk in zone eu: a project whose zone pulls releases, and the repository of its rollout."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from sovgate.formats.bundle import Bundle
from sovgate.formats.statement import Statement
from tests.crossing import Crossing, make_crossing
from tests.repositories import Repository, git

RELEASE_FILE = "overlays/eu/sovgate-release.yaml"
GITOPS = "    gitops: {repo: ../serving.git, path: overlays/eu}\ndatasets:\n"
#: Whom a project trusts that names a signer of another zone without its `from:`.
ANY_ZONE = """\
trust:
  - name: central
    key: keys/home.pem
    may: [signature, provenance, transfer, receipt, promotion, decision]
  - {name: eu-ci, key: keys/eu.pem, may: [receipt]}
border:
"""


def push(crossing: Crossing, version: str) -> str:
    found = crossing.json(
        "push", crossing.model, "--release", f"churn/{version}", "--zone", "home", "--to", "eu"
    )
    return f"churn/{version}@sha256:{found['manifest']}"


def pull(crossing: Crossing, release: str) -> None:
    shutil.rmtree(crossing.base / "pulled", ignore_errors=True)
    shutil.rmtree(crossing.base / "pulled.evidence", ignore_errors=True)
    crossing.pull(release=release)


class Desk:
    """A copy of a folder with a project, its repository `serving.git` and a person's clone."""

    def __init__(self, made: Path, folder: Path) -> None:
        shutil.copytree(made / "project", folder / "project", symlinks=True)
        shutil.copytree(made / "serving.git", folder / "serving.git")
        shutil.copytree(made / "person", folder / "person")
        git("remote", "set-url", "origin", str(folder / "serving.git"), cwd=folder / "person")
        self.crossing = Crossing(base=folder / "project", model=folder / "project" / "model")
        self.repository = Repository.__new__(Repository)
        self.repository.path = folder / "serving.git"
        self.repository._work = folder / "person"

    def promote(self, version: str, *more: object, code: int = 0) -> dict[str, Any]:
        pinned = version if "@" in version else f"{version}@sha256:{self.crossing.manifest}"
        return self.crossing.json("promote", f"churn/{pinned}", "--zone", "eu", *more, code=code)

    def refused(self, version: str, code: int) -> dict[str, Any]:
        """What a refusal says. It left nothing in Git and no promotion record."""
        before, records = self.repository.tip(), self.records
        error: dict[str, Any] = self.promote(version, code=code)["error"]
        assert (self.repository.tip(), self.records) == (before, records)
        return error

    @property
    def records(self) -> list[str]:
        return self.crossing.objects("promotions/")

    def record(self, number: int) -> dict[str, Any]:
        data = self.crossing.store.get(f"promotions/eu/churn/{number:06}.json", most=10**6)
        return Statement.parse(Bundle.parse(data).payload).predicate

    def forget_record(self, number: int) -> None:
        """As if the run that wrote promotion `number` had died before its record."""
        name = f"promotions/eu/churn/{number:06}.json"
        digest = hashlib.sha256(self.crossing.store.get(name, most=10**6)).hexdigest().encode()
        (self.crossing.base / "eu-store" / name).unlink()
        for path in (self.crossing.base / "eu-store/audit").rglob("0001.json"):
            if digest in Bundle.parse(path.read_bytes()).payload:
                path.unlink()

    def verify_log(self, head: str) -> dict[str, Any]:
        return self.crossing.json("audit", "verify", "--zone", "eu", "--against", head)


#: Releases with weights of their own, and why a zone goes back from one.
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
WHY = "P95 at 240 ms"


def make_versions(folder: Path, *edits: tuple[str, str]) -> Path:
    """A project whose zone eu has pulled each of VERSIONS, and its repository, for `Versions`.

    `edits` are of the project file, after it got its overlay.
    """
    crossing = make_crossing(folder / "project", {"model.bin": b"0" * 999, "config.json": b"{}"})
    crossing.edit("datasets:\n", GITOPS)
    for edit in edits:
        crossing.edit(*edit)
    pins = {}
    for version in VERSIONS:
        (crossing.model / "model.bin").write_bytes(version.encode() * 100)
        crossing.sign()
        pins[version] = push(crossing, version)
        pull(crossing, pins[version])
    (folder / "project" / "pins.json").write_text(json.dumps(pins))
    Repository(folder)
    return folder


class Versions(Desk):
    """A desk whose releases have names and pins."""

    @property
    def pins(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.crossing.base / "pins.json").read_text())
        return found

    def forward(self, version: str, *more: object, code: int = 0) -> dict[str, Any]:
        return self.crossing.json("promote", self.pins[version], "--zone", "eu", *more, code=code)

    def back(self, *more: object, reason: str = WHY, code: int = 0) -> dict[str, Any]:
        return self.crossing.json("rollback", "--zone", "eu", "--reason", reason, *more, code=code)
