"""Small records and names that every layer shares. Ground floor: standard library only, no I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from sovgate.errors import SovgateError, UsageError

# RULES 26. One pattern for model names and versions.
RELEASE_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
RELEASE_FORM = (
    "a name of at most 128 small letters, digits, ., _ and -, a letter or digit before the others"
)
_PIN = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
#: What elsewhere names now one thing, now another: tags of images, branches, environments.
_MOVING = re.compile(
    r"(.*[._-])?v?(current|dev|edge|head|latest|main|master|newest|nightly|prod|production|rolling|"
    r"stable|staging|trunk)([._-].*)?",
    re.ASCII,
)
ZONE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

#: How well a location is known. Integers, because "declared" > "api" alphabetically (RULES 18).
GRADE: dict[str, int] = {"unknown": 0, "declared": 1, "api": 2, "attested": 3}

CLASSES = (
    "dataset",
    "synthetic",
    "aggregate",
    "gradient",
    "weights",
    "metadata",
    "telemetry",
    "trace",
    "inference-request",
    "inference-response",
)

Action = Literal["transfer", "deploy", "train", "serve", "observe"]
ACTIONS: tuple[Action, ...] = ("transfer", "deploy", "train", "serve", "observe")

#: The closed table of roles (FORMATS): what a statement may be, and so what its signer must be
#: trusted for. Predicate types are in `formats/statement.py`.
ROLES = (
    "signature",
    "sbom",
    "provenance",
    "gate",
    "decision",
    "transfer",
    "part",
    "receipt",
    "promotion",
    "public-key",
    "audit",
    "legal",
    "waiver",
)


@dataclass(frozen=True, kw_only=True)
class Sized:
    """Bytes by digest: lower-case hex SHA-256, and their number."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Sized:
        return cls(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def json(self) -> dict[str, object]:
        return {"sha256": self.sha256, "size": self.size}


@dataclass(frozen=True, kw_only=True)
class Release:
    """`NAME/VERSION`, with an optional pin to a manifest digest (`@sha256:…`)."""

    model: str
    version: str
    pin: str | None = None

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"

    @property
    def purl(self) -> str:
        """As a package URL, "pkg:generic/NAME@VERSION": what a release may be named with needs no
        escaping there."""
        return f"pkg:generic/{self.model}@{self.version}"

    def pinned(self, manifest: str) -> str:
        return f"{self}@sha256:{manifest}"

    @property
    def moving(self) -> str | None:
        """What to know of a version such as `latest` or `stable-eu`; None where it has a digit."""
        if re.search(r"[0-9]", self.version) or not _MOVING.fullmatch(self.version):
            return None
        return (
            f"{self.version} sounds as if it moved, and a release never moves: the store takes no "
            f"other model as {self}. Number each release, e.g. {self.model}/1.0.0"
        )

    @classmethod
    def parse(cls, text: str) -> Release:
        """Raises UsageError where the text is not `NAME/VERSION[@sha256:HEX]`."""
        name, at, pin = text.partition("@")
        model, slash, version = name.partition("/")
        good = slash and RELEASE_PART.fullmatch(model) and RELEASE_PART.fullmatch(version)
        if not good or (at and not _PIN.fullmatch(pin)):
            raise UsageError(
                f"{text[:160]!r} is not a release",
                why="a release is NAME/VERSION or NAME/VERSION@sha256:DIGEST; each part is "
                + RELEASE_FORM,
                fix=_spelt(model, version, pin if at else None),
                reason="bad-release",
            )
        return cls(model=model, version=version, pin=pin.removeprefix("sha256:") or None)


def near_name(text: str) -> str | None:
    """The nearest name of a model or version; None where nothing of it may stand in one."""
    near = re.sub(r"[^a-z0-9._-]+", "-", text[:256].lower()).lstrip("._-")
    return near if RELEASE_PART.fullmatch(near) else None


def _spelt(model: str, version: str, pin: str | None) -> str:
    """The nearest name that a release may have: names are the same on every system and store.

    A pin stays: whoever left it out would take whatever bytes the store has.
    """
    near = [part for part in map(near_name, (model, version)) if part is not None]
    if len(near) < 2:
        return "for example kyc-risk/1.0.0" + ("" if pin is None else "@sha256:…")
    name = "/".join(near)
    if pin is not None:
        digest = pin.lower().removeprefix("sha256:").removeprefix("sha256-")
        if not _PIN.fullmatch(f"sha256:{digest}"):
            return f"the digest is 64 hex digits; push printed it: {name}@sha256:…"
        name += f"@sha256:{digest}"
        if near == [model, version]:
            return f"write the pin as push printed it: {name}"
    return f"write it in small letters, digits, dots and hyphens: {name}"


#: Called with the number of bytes just done, from any thread. None where nobody looks.
Advance = Callable[[int], None]


class Progress(Protocol):
    """Who shows how far a command is: called as an Advance, and told before how much it will be."""

    def __call__(self, count: int, /) -> None: ...

    def expect(self, total: int) -> None: ...


@runtime_checkable
class ByZone(Progress, Protocol):
    """What a Progress may be able to do besides: show how far each of several zones is."""

    def of_zone(self, zone: str) -> Progress: ...


class Limit(Protocol):
    """When a run is to end. It is told each step; `keep`: what the run is for is done."""

    def begin(self, step: str) -> None: ...

    def end(self) -> None: ...

    def keep(self) -> None: ...

    def counting(self, advance: Advance | None) -> Advance:
        """The same, which raises when the time is over."""
        ...

    def error(self) -> SovgateError:
        """What is said when the time is over."""
        ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every command may be told beside its subject.

    project   the folder of sovgate.yaml; None: it is looked for from here on up
    dry_run   say what would be done, and write nothing
    progress  None where nobody looks
    evidence  the folder of the model's evidence; None: where the project says, or beside the model
    follow_links  links in a model are followed to files below this folder; None: none is (RULES 4)
    verify_first  a push hashes all files before it sends the first; a zone may say so too
    deadline  when it is to end; None: when it is done
    state     where a push keeps its keys until it is through; None: in the user's own state folder
    """

    project: Path | None = None
    dry_run: bool = False
    progress: Progress | None = None
    evidence: Path | None = None
    follow_links: Path | None = None
    verify_first: bool = False
    deadline: Limit | None = None
    state: Path | None = None

    @property
    def advance(self) -> Advance | None:
        """For what moves bytes: tells who looks, and ends it when the time is over."""
        return self.progress if self.deadline is None else self.deadline.counting(self.progress)

    def expect(self, total: int) -> None:
        """How many bytes there will be, for whoever shows the progress."""
        if self.progress is not None:
            self.progress.expect(total)

    def refuse_dry_run(self, command: str) -> None:
        """For a command that cannot but act. Raises UsageError."""
        if self.dry_run:
            raise UsageError(f"{command} has no dry run", fix="leave it out", reason="no-dry-run")


#: In place of a file to write: standard output, which the caller writes to.
STREAM = Path("-")
#: The project from here on up, written to, and nobody looks.
DEFAULTS = Options()
