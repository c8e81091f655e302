"""Opens a store by its URI. A new store is one file and one line here; imports no adapter."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl

from sovgate import uri
from sovgate.transport.client import origin

if TYPE_CHECKING:
    from sovgate.stores._api import Store

#: Scheme -> adapter module, each with `store(uri: Uri, base: Path, region: str | None) -> Store`.
SCHEMES: dict[str, str] = {
    "az": "sovgate.stores.az",
    "file": "sovgate.stores.file",
    "gs": "sovgate.stores.gs",
    "oci": "sovgate.stores.oci",
    "s3": "sovgate.stores.s3",
}


def place_of(text: str, region: str) -> tuple[str, str]:
    """What the store of an opened store's URI is known by: its path, and the endpoint in its one
    spelling. Behind S3's own names there may be one bucket a region; at an endpoint of one's own,
    each customer may have buckets of their own.
    """
    if text.startswith("file://"):
        return os.path.realpath(text.removeprefix("file://")), ""
    path, _, query = text.partition("?")
    options = dict(parse_qsl(query))
    if "endpoint" in options:
        at = origin(options["endpoint"], what="store")
        return path.rstrip("/"), f"{at} {options.get('profile', '')}"
    return path.rstrip("/"), region if text.startswith("s3://") else ""


def open_store(text: str, base: Path, region: str | None = None) -> Store:
    """The store behind a URI or a bare path; relative paths start from `base`. Does no I/O.

    `region`: the zone's "provider:region", which says where a cloud store's endpoint is.

    Raises ConfigError: a URI that is malformed, holds a secret, or has a scheme nobody serves.
    """
    parsed = uri.parse(text, what="store")
    module = SCHEMES.get(parsed.scheme)
    if module is None:
        raise uri.unserved(
            parsed.scheme,
            what="store",
            known=SCHEMES,
            fix="use one of these, or a bare path for a folder",
        )
    return cast("Store", importlib.import_module(module).store(parsed, base, region))
