"""The manifest: a model's identity, as the SHA-256 of one canonical document. No I/O.

It binds kind, names, sizes and digests (RULES 1). The OMS root binds digests alone, so two models
may share a root; they never share a manifest.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NoReturn

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import MAX_ENTRIES, MAX_TREE_DEPTH, check_names
from sovgate.records import Sized

FORMAT = "sovgate.manifest/v0"
SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}

#: The one resource of a model that is a file.
FILE_NAME = "."

Kind = Literal["directory", "file"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A file: relative POSIX name ("." where the model is that file), bytes, SHA-256 in hex."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Resources by the code points of their names, as OMS orders them.

    Checked when made: raises VerificationFailed, reasons "empty-model", "resource-order",
    "duplicate-resource", "unsafe-name"; Malformed.
    """

    kind: Kind
    resources: tuple[Resource, ...]

    def __post_init__(self) -> None:
        names = [resource.name for resource in self.resources]
        check_resources(self.kind, names)
        for before, after in itertools.pairwise(names):
            if before > after:
                _refuse_order(names, after)
        for resource in self.resources:
            if not strict.is_sha256(resource.digest) or not 0 <= resource.size <= strict.MAX_INT:
                raise Malformed(f"the resource {resource.name[:160]!r} has no right digest or size")

    def canonical(self) -> bytes:
        return self._canonical

    @cached_property
    def _canonical(self) -> bytes:
        return strict.canonical(
            {
                "format": FORMAT,
                "kind": self.kind,
                "serialization": SERIALIZATION,
                "resources": [
                    {
                        "name": resource.name,
                        "size": resource.size,
                        "algorithm": "sha256",
                        "digest": resource.digest,
                    }
                    for resource in self.resources
                ],
            }
        )

    @cached_property
    def digest(self) -> str:
        """The identity, in lower-case hex."""
        return hashlib.sha256(self._canonical).hexdigest()

    @property
    def sized(self) -> Sized:
        """Digest and length of the canonical bytes; the digest is the identity."""
        return Sized(sha256=self.digest, size=len(self._canonical))

    @property
    def total(self) -> int:
        """Bytes of all files together."""
        return sum(resource.size for resource in self.resources)

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Canonical bytes only. Raises Malformed, VerificationFailed."""
        top = strict.Fields(strict.loads_canonical(data), "manifest")
        top.exactly("format", FORMAT)
        kind = top.text("kind")
        if kind != "directory" and kind != "file":
            raise Malformed(f"manifest.kind is {kind[:40]!r}")
        top.exactly("serialization", SERIALIZATION)
        resources = []
        for entry in top.objects("resources", most=MAX_ENTRIES):
            entry.exactly("algorithm", "sha256")
            resources.append(
                Resource(
                    name=entry.text("name"),
                    size=entry.integer("size"),
                    digest=entry.sha256("digest"),
                )
            )
            entry.done()
        top.done()
        manifest = cls(kind=kind, resources=tuple(resources))  # type: ignore[arg-type]
        if manifest.canonical() != data:  # 0 and false are equal in Python, not in bytes
            raise Malformed("the manifest is not in its one spelling")
        return manifest


def check_resources(kind: Kind, names: list[str]) -> None:
    """Names of a model's files, in any order. RULES 1 and 4.

    Raises VerificationFailed, reasons "empty-model", "duplicate-resource", "unsafe-name", "limits";
    "resource-order" where a model that is a file holds others.
    """
    if not names:
        raise VerificationFailed(
            "the model is empty",
            why="it holds no file",
            fix="name a folder that holds the model's files",
            reason="empty-model",
        )
    if len(names) > MAX_ENTRIES:
        raise VerificationFailed(f"more than {MAX_ENTRIES} files", reason="limits")
    if kind == "file":
        if names != [FILE_NAME]:
            _refuse("a file's one resource is named '.'", "resource-order")
        return
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(n for n in names if n in seen or seen.add(n))  # type: ignore[func-returns-value]
        _refuse(f"{twice[:160]!r} is listed twice", "duplicate-resource")
    if any(name.count("/") > MAX_TREE_DEPTH for name in names):
        raise VerificationFailed(f"folders nest deeper than {MAX_TREE_DEPTH}", reason="limits")
    check_names(names)


def by_parts(name: str) -> list[str]:
    """Sort key of model_signing up to 1.1.1, and ours before 0.2.0: by path components. The
    specification's is the name itself."""
    return name.split("/")


def _refuse_order(names: list[str], late: str) -> NoReturn:
    """A list of a version before OMS's order is another identity: nothing of it is read as ours."""
    old = all(by_parts(a) < by_parts(b) for a, b in itertools.pairwise(names))
    raise VerificationFailed(
        "the list of the model's files is wrong",
        why="it is in the order that sovgate had before 0.2.0"
        if old
        else f"{late[:160]!r} stands too late",
        fix="where the model was made: sign and record it again, and push it as a new version"
        if old
        else None,
        reason="resource-order",
    )


def _refuse(why: str, reason: str) -> NoReturn:
    raise VerificationFailed("the list of the model's files is wrong", why=why, reason=reason)
