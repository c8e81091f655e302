"""Readers of the values that several formats share: releases, zones, digests by reference."""

from __future__ import annotations

import re

from sovgate import strict
from sovgate.errors import Malformed, UsageError
from sovgate.records import ZONE_NAME, Release, Sized

#: `provider:region`, e.g. "aws-eusc:eusc-de-east-1".
PROVIDER_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}:[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)


def read_release(fields: strict.Fields, name: str) -> Release:
    """`NAME/VERSION`, without a pin."""
    text = fields.text(name, max_length=300)
    try:
        release = Release.parse(text)
    except UsageError:
        release = None
    if release is None or release.pin is not None:
        raise Malformed(f"{fields.path}.{name} is not NAME/VERSION: {text[:80]!r}")
    return release


def read_zone(fields: strict.Fields, name: str) -> str:
    return fields.text(name, max_length=63, pattern=ZONE_NAME)


def read_digest(fields: strict.Fields, name: str) -> str:
    """`{"sha256": HEX}`."""
    inner = fields.object(name)
    digest = inner.sha256("sha256")
    inner.done()
    return digest


def read_sized(fields: strict.Fields, *, most: int = strict.MAX_INT) -> Sized:
    """{sha256, size}, and nothing else."""
    sized = Sized(sha256=fields.sha256("sha256"), size=fields.integer("size", most=most))
    fields.done()
    return sized
