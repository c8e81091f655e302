"""The adapters that the store conformance suite runs over, and faults to wrap around any of them.

A new adapter joins with one line in ADAPTERS. `Faulty` speaks the production protocol: it is a
store with one defect, so whatever stands on a store can be tested against that defect.
"""

from __future__ import annotations

import enum
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sovgate.errors import StoreError
from sovgate.stores._api import Bytes, Location, Stat, Store
from sovgate.stores.registry import open_store
from tests import components, ociregistry, servers


def bucket(server: Callable[[], str], region: str = "eu-central-1") -> Store:
    """A new store in a bucket of a server on this machine. Skips where there is no such server."""
    url = components.found(server)
    text = f"s3://{servers.bucket(url, region)}/{secrets.token_hex(8)}?endpoint={url}"
    return open_store(text, Path(), f"aws:{region}")


def repository(host: str, options: str = "") -> Store:
    """A new store in a registry on this machine."""
    return open_store(f"oci://{host}/{secrets.token_hex(8)}{options}", Path(), "aws:eu-central-1")


def google_bucket() -> Store:
    """The same, in a bucket of fake-gcs-server."""
    url = components.found(servers.fake_gcs)
    text = f"gs://{servers.gcs_bucket(url)}/{secrets.token_hex(8)}?endpoint={url}"
    return open_store(text, Path(), "gcp:europe-west3")


def azure_container() -> Store:
    """The same, in a container of Azurite."""
    url = components.found(servers.azurite)
    name = f"{servers.AZURE_ACCOUNT}/{servers.azure_container(url)}"
    os.environ["AZURE_STORAGE_KEY"] = servers.AZURE_KEY
    text = f"az://{name}/{secrets.token_hex(8)}?endpoint={url}"
    return open_store(text, Path(), "azure:germanywestcentral")


#: Name -> makes a new, empty store; `tmp` is a folder for those that live in one.
ADAPTERS: dict[str, Callable[[Path], Store]] = {
    "az-azurite": lambda tmp: azure_container(),
    "file": lambda tmp: open_store("store", tmp),
    "gs-fake": lambda tmp: google_bucket(),
    "oci-immutable": lambda tmp: repository(ociregistry.shared()[0].host, "?tags=immutable"),
    "oci-registry": lambda tmp: repository(
        components.found(servers.registry).removeprefix("http://")
    ),
    "s3-ministack": lambda tmp: bucket(servers.ministack),
    "s3-moto": lambda tmp: bucket(servers.moto),
    "s3-seaweedfs": lambda tmp: bucket(servers.seaweedfs),
}


def put(store: Store, name: str, data: bytes) -> None:
    store.put(name, data, sha256=hashlib.sha256(data).hexdigest())


class Fault(enum.Enum):
    TRUNCATED_READ = "a read ends early"
    CORRUPT_READ = "a read gives a flipped bit"
    LOST_REPLY = "the write happened, its answer never came"
    FAILED_WRITE = "the write breaks off half way"


@dataclass
class Faulty:
    """A store that shows `fault` on the names that `hits` picks, `times` times."""

    inner: Store
    fault: Fault
    hits: Callable[[str], bool] = lambda _name: True
    times: int = 1

    def _strikes(self, name: str, *faults: Fault) -> bool:
        if self.fault not in faults or self.times <= 0 or not self.hits(name):
            return False
        self.times -= 1
        return True

    def _spoil(self, data: bytes) -> bytes:
        if self.fault is Fault.TRUNCATED_READ:
            return data[: len(data) // 2]
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    @property
    def uri(self) -> str:
        return self.inner.uri

    def location(self) -> Location | None:
        return self.inner.location()

    def probe(self) -> None:
        self.inner.probe()

    def stat(self, name: str) -> Stat | None:
        return self.inner.stat(name)

    def get(self, name: str, *, most: int) -> bytes:
        data = self.inner.get(name, most=most)
        strikes = self._strikes(name, Fault.TRUNCATED_READ, Fault.CORRUPT_READ)
        return self._spoil(data) if strikes else data

    def open(self, name: str) -> BinaryIO:
        reader = self.inner.open(name)
        if not self._strikes(name, Fault.TRUNCATED_READ, Fault.CORRUPT_READ):
            return reader
        with reader:
            return io.BytesIO(self._spoil(reader.read()))

    def get_into(self, name: str, into: memoryview) -> int:
        size = self.inner.get_into(name, into)
        if self._strikes(name, Fault.TRUNCATED_READ, Fault.CORRUPT_READ):
            spoilt = self._spoil(bytes(into))
            into[: len(spoilt)] = spoilt
            return size if len(spoilt) == len(into) else len(spoilt)
        return size

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        if self._strikes(name, Fault.FAILED_WRITE):
            raise StoreError(f"{self.uri} broke off while writing {name}", reason="broken-off")
        self.inner.put(name, data, sha256=sha256)
        if self._strikes(name, Fault.LOST_REPLY):
            raise StoreError(f"{self.uri} gave no answer about {name}", reason="no-answer")

    def list(self, prefix: str) -> Iterator[str]:
        return self.inner.list(prefix)
