"""What a store of objects gives out, whatever service holds them: read, listed, compared.

A service brings a reader of one object and its listing; nothing here makes a request.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from sovgate.errors import AlreadyExists, StoreError, VerificationFailed
from sovgate.stores._api import Bytes, Entry, check_name
from sovgate.transport.objects import ObjectReader

#: Everything goes in one request: chunks, and documents, none of which is larger.
MAX_WHOLE = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


class Objects:
    """The half of a `Store` that is alike for each service with objects in it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    # -- what a service says of itself

    @property
    def uri(self) -> str:
        raise NotImplementedError

    def reader(self, name: str) -> ObjectReader:
        """Raises NotFound."""
        raise NotImplementedError

    def below(self, prefix: str, what: str) -> Iterator[Entry]:
        """What lies below a key, each by its whole key, to an end (reason "limits")."""
        raise NotImplementedError

    # -- reading

    def key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def get(self, name: str, *, most: int) -> bytes:
        check_name(name)
        return self.fetch(name, most=most)

    def fetch(self, name: str, *, most: int) -> bytes:
        """`get`, also of what is no name of a release."""
        with self.reader(name) as reader:
            if reader.size > most:
                raise VerificationFailed(
                    f"object {name} of {self.uri} is larger than {most} bytes",
                    why="no object of this kind is that large, so it is not read",
                    fix="find out who wrote it there",
                    reason="limits",
                )
            data = bytearray(reader.size)
            reader.fill(memoryview(data))
        return bytes(data)

    def get_into(self, name: str, into: memoryview) -> int:
        check_name(name)
        with self.reader(name) as reader:
            if reader.size == len(into):
                reader.fill(into)
            return reader.size

    def open(self, name: str) -> BinaryIO:
        check_name(name)
        return io.BufferedReader(self.reader(name), _CHUNK)

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Whether exactly these bytes lie under `name`, by reading them. Raises NotFound."""
        digest, left = hashlib.sha256(), size
        piece = memoryview(bytearray(min(_CHUNK, max(size, 1))))
        with self.reader(name) as reader:
            if reader.size != size:
                return False
            while left:
                part = piece[:left]
                reader.fill(part)
                digest.update(part)
                left -= len(part)
        return digest.hexdigest() == sha256

    def list(self, prefix: str) -> Iterator[str]:
        for entry in self.entries(prefix):
            yield entry.name

    def entries(self, prefix: str) -> Iterator[Entry]:
        check_name(prefix.removesuffix("/"))
        below, cut = self.key(prefix), len(self.key(""))
        found = []
        for entry in self.below(below, f"{prefix} of {self.uri}"):
            if not entry.name.startswith(below):
                raise VerificationFailed(
                    f"the listing of {prefix} of {self.uri} holds {entry.name[:160]!r}",
                    why="that is not below what was asked for",
                    fix="find out which service answers at that endpoint",
                    reason="unsafe-name",
                )
            check_name(entry.name[cut:])
            found.append(replace(entry, name=entry.name[cut:]))
        yield from sorted(found, key=lambda entry: entry.name)  # not every service lists by bytes

    # -- writing

    def fits(self, name: str, data: Bytes) -> None:
        """Raises StoreError, reason "limits": what is too large for one request."""
        check_name(name)
        if len(data) > MAX_WHOLE:
            raise StoreError(
                f"{name} is too large to be written in one request",
                why=f"it has {len(data)} bytes; nothing that sovgate writes has more than "
                f"{MAX_WHOLE}",
                reason="limits",
            )

    def taken(self, name: str) -> AlreadyExists:
        return AlreadyExists(
            f"{self.uri} has {name} already",
            why="a store's names are written once; the old bytes stay",
        )
