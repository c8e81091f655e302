"""The OpenSSF Model Signing statement: a model's files, as model_signing writes them. No I/O.

The OMS root is SHA-256 over the raw digests in their order; it binds no names and no kind, so it
identifies nothing alone (RULES 1). Ours carry `size` in each resource, so that the manifest follows
from the statement without the files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, NoReturn

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.formats.manifest import FILE_NAME, Kind, Manifest, Resource, check_resources
from sovgate.formats.statement import PREDICATE_TYPES, Statement

PREDICATE_TYPE = PREDICATE_TYPES["signature"]

#: Names at a model's root that OMS leaves out, always.
GIT_NAMES = (".git", ".gitattributes", ".github", ".gitignore")
MAX_IGNORED = 1000

Algorithm = Literal["sha256", "blake2b", "blake3"]
_DIGEST_HEX: dict[str, int] = {"sha256": 64, "blake2b": 128, "blake3": 64}
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A resource as signed. `size` is None where the signer was another tool."""

    name: str
    digest: str
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Oms:
    """`ignore_paths` are what the signer left out, relative to the model's root."""

    subject_name: str
    kind: Kind
    algorithm: Algorithm
    items: tuple[Item, ...]
    ignore_paths: tuple[str, ...]

    @property
    def root(self) -> str:
        """Always SHA-256, whatever the items' algorithm is."""
        hasher = hashlib.sha256()
        for item in self.items:
            hasher.update(bytes.fromhex(item.digest))
        return hasher.hexdigest()

    def manifest(self) -> Manifest | None:
        """The identity, if the statement alone tells it: SHA-256 digests and all sizes."""
        if self.algorithm != "sha256":
            return None
        resources = []
        for item in self.items:
            if item.size is None:
                return None
            resources.append(Resource(name=item.name, size=item.size, digest=item.digest))
        return Manifest(kind=self.kind, resources=tuple(resources))

    @classmethod
    def of(cls, manifest: Manifest, *, subject_name: str, ignored: tuple[str, ...] = ()) -> Oms:
        """What we sign: sizes told, git names at the root and `ignored` left out."""
        return cls(
            subject_name=subject_name,
            kind=manifest.kind,
            algorithm="sha256",
            items=tuple(
                Item(name=resource.name, digest=resource.digest, size=resource.size)
                for resource in manifest.resources
            ),
            ignore_paths=tuple(sorted({*GIT_NAMES, *ignored})),
        )

    def statement(self) -> Statement:
        resources: list[dict[str, strict.JSON]] = []
        for item in self.items:
            entry: dict[str, strict.JSON] = {
                "name": item.name,
                "algorithm": self.algorithm,
                "digest": item.digest,
            }
            if item.size is not None:
                entry["size"] = item.size
            resources.append(entry)
        return Statement(
            subject_name=self.subject_name,
            subject_sha256=self.root,
            predicate_type=PREDICATE_TYPE,
            predicate={
                "serialization": {
                    "method": "files",
                    "hash_type": self.algorithm,
                    "allow_symlinks": False,
                    "ignore_paths": list(self.ignore_paths),
                },
                "resources": resources,
            },
        )

    @classmethod
    def parse(cls, statement: Statement) -> Oms:
        """Raises Malformed; VerificationFailed, reasons "wrong-predicate", "root-mismatch",
        "unsupported-serialization", and those of `check_resources`.

        Fields that OMS v1.0 does not define are skipped, as it asks, but for `serialization`,
        where an unknown one would change what was signed.
        """
        if statement.predicate_type != PREDICATE_TYPE:
            raise VerificationFailed(
                "this statement is no signature",
                why=f"its predicate type is {statement.predicate_type[:200]!r}",
                reason="wrong-predicate",
            )
        predicate = strict.Fields(statement.predicate, "predicate")
        algorithm, ignored = _serialization(predicate.object("serialization"))
        items = tuple(
            _item(entry, algorithm) for entry in predicate.objects("resources", most=MAX_ENTRIES)
        )
        names = [item.name for item in items]
        kind: Kind = "file" if names == [FILE_NAME] else "directory"
        check_resources(kind, names)
        oms = cls(
            subject_name=statement.subject_name,
            kind=kind,
            algorithm=algorithm,
            items=items,
            ignore_paths=ignored,
        )
        if oms.root != statement.subject_sha256:
            raise VerificationFailed(
                "the signature contradicts itself",
                why="its subject is not the digest of its resources",
                reason="root-mismatch",
            )
        return oms


def _serialization(fields: strict.Fields) -> tuple[Algorithm, tuple[str, ...]]:
    method = fields.text("method", max_length=64)
    algorithm = fields.text("hash_type", max_length=64)
    if method != "files" or algorithm not in _DIGEST_HEX:
        _unsupported(f"method {method!r} with hash {algorithm!r}")
    # Links are refused when the files are read, whatever the signer allowed.
    fields.boolean("allow_symlinks")
    ignored: tuple[str, ...] = ()
    if fields.has("ignore_paths"):
        ignored = fields.texts("ignore_paths", most=MAX_IGNORED)
    try:
        fields.done()
    except Malformed as error:
        _unsupported(error.what)
    return algorithm, ignored  # type: ignore[return-value]


def _item(entry: strict.Fields, algorithm: str) -> Item:
    entry.exactly("algorithm", algorithm)
    digest = entry.text("digest", max_length=128)
    if len(digest) != _DIGEST_HEX[algorithm] or not _HEX.issuperset(digest):
        raise Malformed(f"{entry.path}.digest is not a {algorithm} digest in lower-case hex")
    # OMS knows no `size`: another tool may mean by it what it likes, and then the bytes tell.
    told = entry.has("size") and type(entry.raw("size")) is int
    size = entry.integer("size") if told else None
    return Item(name=entry.text("name"), digest=digest, size=size)


def _unsupported(why: str) -> NoReturn:
    raise VerificationFailed(
        "the model was signed in a way that is not supported",
        why=why,
        fix="sign it again with method `files` and SHA-256",
        reason="unsupported-serialization",
    )
