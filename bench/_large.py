"""The lists and keys of a model of 2 TB, made and read as push and pull do, without its bytes."""

from __future__ import annotations

import hashlib
import secrets
import sys
from pathlib import Path

from sovgate.formats.manifest import Manifest, Resource
from sovgate.formats.part import read_lists
from sovgate.formats.plan import Plan
from sovgate.formats.wrap import Context
from sovgate.keys.registry import open_identity, open_recipient
from sovgate.records import Sized
from sovgate.stages.encrypt import Sent, close, open_parts

FILES, SIZE = 400, 5 * 10**9


def main() -> None:
    """The first argument is a folder with the keys `eu.pem` and `eu.pub.pem`."""
    folder = Path(sys.argv[1])
    names = [f"model-{number:05}-of-{FILES:05}.safetensors" for number in range(1, FILES + 1)]
    manifest = Manifest(
        kind="directory",
        resources=tuple(
            Resource(name=name, size=SIZE, digest=hashlib.sha256(name.encode()).hexdigest())
            for name in names
        ),
    )
    plan = Plan.of(manifest)
    digests = tuple(secrets.token_bytes(32) for _ in range(plan.chunks))
    keys = tuple(secrets.token_bytes(32) for _ in range(plan.chunks))
    context = Context(zone="eu", release="churn/1.0.0", manifest=manifest.digest)
    sent = Sent(zone="eu", digests=digests, keys=keys)
    closed = close(sent, plan, open_recipient("eu.pub.pem", folder), context)
    objects = {
        part.list.sha256: data for part, data in zip(closed.parts, closed.lists, strict=True)
    }
    tables = zip(closed.parts, closed.tables, strict=True)
    objects |= {part.keytable.sha256: data for part, data in tables}

    def get(sized: Sized, _: str) -> bytes:
        return objects[sized.sha256]

    opened = open_parts(
        read_lists(manifest, closed.parts, get), context, open_identity("eu.pem", folder), get
    )
    assert tuple(key for one in opened for key in one.keys) == keys


if __name__ == "__main__":
    main()
