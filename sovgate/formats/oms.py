"""The OpenSSF Model Signing statement: a model's files and how they were listed. No I/O.

The OMS root is SHA-256 over the raw digests in their order; it binds no names and no kind, so it
identifies nothing alone (RULES 1). Ours carry `size` in each resource, so that the manifest follows
from the statement without the files.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.formats import shards
from sovgate.formats.manifest import (
    FILE_NAME,
    Kind,
    Manifest,
    Resource,
    by_parts,
    check_resources,
)
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
    """A file as signed. `size` is None where the signer was another tool, which tells none.

    Where the file was signed in shards, `digest` holds those of its shards, one after another.
    """

    name: str
    digest: str
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Oms:
    """A signed list of files.

    items         by the code points of their names, in whichever order they were signed
    ignore_paths  what the signer left out, relative to the model's root
    root          the OMS root: SHA-256, whatever the items' algorithm is
    shard_size    bytes of a shard; None where each file has one digest
    """

    subject_name: str
    kind: Kind
    algorithm: Algorithm
    items: tuple[Item, ...]
    ignore_paths: tuple[str, ...]
    root: str
    shard_size: int | None = None

    @property
    def tells_sha256(self) -> bool:
        """Whether each item's digest is the SHA-256 of its file."""
        return self.algorithm == "sha256" and self.shard_size is None

    def manifest(self) -> Manifest | None:
        """The identity, if the statement alone tells it: SHA-256 digests and all sizes."""
        if not self.tells_sha256:
            return None
        resources = []
        for item in self.items:
            if item.size is None:
                return None
            resources.append(Resource(name=item.name, size=item.size, digest=item.digest))
        return Manifest(kind=self.kind, resources=tuple(resources))

    def as_file(self, name: str | None = None) -> Oms | None:
        """The same as the signature of one file that has this name, or any where it is None.

        OMS names a model that is a file by its basename, as it names the one file of a folder: what
        is there tells which it is. None where this is no such signature. We name a file ".", so
        what we signed, which tells sizes, is never read in two ways (RULES 1).
        """
        if self.kind == "file":
            return self
        if len(self.items) != 1 or (self.items[0].size is not None and self.shard_size is None):
            return None
        only = self.items[0]
        if "/" in only.name or name not in (None, only.name):
            return None
        return replace(self, kind="file", items=(replace(only, name=FILE_NAME),))

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
            root=root_of(resource.digest for resource in manifest.resources),
        )

    def statement(self) -> Statement:
        """What `of` made, as it is signed."""
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
                "resources": [
                    {"name": item.name, "algorithm": self.algorithm, "digest": item.digest}
                    | ({} if item.size is None else {"size": item.size})
                    for item in self.items
                ],
            },
        )

    @classmethod
    def parse(cls, statement: Statement) -> Oms:
        """Raises Malformed; VerificationFailed, reasons "wrong-predicate", "root-mismatch",
        "unsupported-serialization", "resource-order", "shard-ranges", and those of
        `check_resources`.

        Fields that OMS does not define are skipped, as it asks, but for `serialization`, where an
        unknown one would change what was signed.
        """
        if statement.role != "signature":
            raise VerificationFailed(
                "this statement is not a signature",
                why=f"its predicate type is {statement.predicate_type[:200]!r}",
                reason="wrong-predicate",
            )
        predicate = strict.Fields(statement.predicate, "predicate")
        how = _Serialization.parse(predicate.object("serialization"))
        listed = tuple(
            _item(entry, how) for entry in predicate.objects("resources", most=MAX_ENTRIES)
        )
        items = listed
        if how.shard_size is not None:
            items = _of_shards(listed, how.shard_size)
        names = [item.name for item in items]
        kind: Kind = "file" if names == [FILE_NAME] else "directory"
        check_resources(kind, names)
        if how.shard_size is None:
            _check_order(names)
        oms = cls(
            subject_name=statement.subject_name,
            kind=kind,
            algorithm=how.algorithm,
            items=tuple(sorted(items, key=lambda item: item.name)),
            ignore_paths=how.ignore_paths,
            root=root_of(item.digest for item in listed),
            shard_size=how.shard_size,
        )
        if oms.root != statement.subject_sha256:
            raise VerificationFailed(
                "the signature contradicts itself",
                why="its subject is not the digest of its resources",
                reason="root-mismatch",
            )
        return oms


def root_of(digests: Iterable[str]) -> str:
    """The OMS root of digests in hex, in the order in which they are signed."""
    hasher = hashlib.sha256()
    for digest in digests:
        hasher.update(bytes.fromhex(digest))
    return hasher.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Serialization:
    algorithm: Algorithm
    ignore_paths: tuple[str, ...]
    shard_size: int | None

    @classmethod
    def parse(cls, fields: strict.Fields) -> _Serialization:
        method = fields.text("method", max_length=64)
        algorithm = fields.text("hash_type", max_length=64)
        if method not in ("files", "shards") or algorithm not in _DIGEST_HEX:
            _unsupported(f"method {method!r} with hash {algorithm!r}")
        # Links are refused when the files are read, whatever the signer allowed.
        fields.boolean("allow_symlinks")
        ignored: tuple[str, ...] = ()
        if fields.has("ignore_paths"):
            ignored = fields.texts("ignore_paths", most=MAX_IGNORED)
        size = _shard_size(fields) if method == "shards" else None
        try:
            fields.done()
        except Malformed as error:
            _unsupported(error.what)
        return cls(algorithm=algorithm, ignore_paths=ignored, shard_size=size)  # type: ignore[arg-type]


def _shard_size(fields: strict.Fields) -> int:
    """A whole number above zero. model_signing passes it through a format that has only fractions,
    and writes 100.0."""
    value = fields.raw("shard_size")
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 1 <= value <= strict.MAX_INT:
        raise Malformed(f"{fields.path}.shard_size is not a whole number of bytes above zero")
    return value


def _item(entry: strict.Fields, how: _Serialization) -> Item:
    algorithm = how.algorithm
    if how.shard_size is None or entry.raw("algorithm") != f"{algorithm}-sharded-{how.shard_size}":
        entry.exactly("algorithm", algorithm)  # model_signing writes the other into each shard
    digest = entry.text("digest", max_length=128)
    if len(digest) != _DIGEST_HEX[algorithm] or not _HEX.issuperset(digest):
        raise Malformed(f"{entry.path}.digest is not a {algorithm} digest in lower-case hex")
    # OMS knows no `size`: another tool may mean by it what it likes, and then the bytes tell.
    told = entry.has("size") and type(entry.raw("size")) is int
    size = entry.integer("size") if told else None
    return Item(name=entry.text("name"), digest=digest, size=size)


def _check_order(names: Sequence[str]) -> None:
    """By code points of the whole name, as the specification has it, or by path components, as
    model_signing writes them up to 1.1.1, and we did before."""
    if not _sorted(names) and not _sorted([by_parts(name) for name in names]):
        late = next(b for a, b in itertools.pairwise(names) if a > b)
        _wrong_list(f"{late[:160]!r} stands too late", "resource-order")


def _of_shards(listed: Sequence[Item], size: int) -> tuple[Item, ...]:
    """The files that shards make up."""
    parts = [shards.Shard.parse(item.name) for item in listed]
    orders: tuple[list[Any], ...] = (
        [item.name for item in listed],
        [(part.name, part.start) for part in parts],
        [(by_parts(part.name), part.start) for part in parts],
    )
    if not any(_sorted(order) for order in orders):
        _wrong_list("its shards are in no order that OMS knows", "resource-order")
    digests: dict[str, list[tuple[shards.Shard, str]]] = {}
    for part, item in zip(parts, listed, strict=True):
        digests.setdefault(part.name, []).append((part, item.digest))
    found = []
    for name, pieces in digests.items():
        pieces.sort(key=lambda piece: piece[0].start)
        end = shards.check([part for part, _ in pieces], size)
        found.append(Item(name=name, digest="".join(digest for _, digest in pieces), size=end))
    return tuple(found)


def _sorted(keys: Sequence[Any]) -> bool:
    return all(before <= after for before, after in itertools.pairwise(keys))


def _wrong_list(why: str, reason: str) -> NoReturn:
    raise VerificationFailed("the list of the model's files is wrong", why=why, reason=reason)


def _unsupported(why: str) -> NoReturn:
    raise VerificationFailed(
        "the model was signed in a way that is not supported",
        why=why,
        fix="sign it again with method `files` and SHA-256",
        reason="unsupported-serialization",
    )
