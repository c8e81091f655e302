"""Sigstore's signing config: where an instance signs, from when to when. Bytes -> records, no I/O.

It says where a signature is made, and nothing of whom to believe: that is the trusted root's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from sovgate import strict
from sovgate.errors import DOCS, ConfigError, Malformed
from sovgate.formats.keyless.root import Span, parse_span

MAX_BYTES = 256 * 1024
#: Services of one kind that a file names: one for each time that the instance had.
MAX_NAMED = 64
#: Timestamps that one signature gets at most; a bundle with more is not read.
MAX_STAMPS = 8

MEDIA_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
#: The interfaces that are spoken here, by kind.
_VERSIONS = {"caUrls": (1,), "rekorTlogUrls": (1, 2), "tsaUrls": (1,)}
_SELECTORS = re.compile(r"ANY|ALL|EXACT", re.ASCII)
_URL = re.compile(r"[!-~]{1,512}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Service:
    """`version` is that of its interface: 1 or 2 for a log."""

    url: str
    version: int
    span: Span
    operator: str


@dataclass(frozen=True, kw_only=True)
class SigningConfig:
    """What the file names, chosen from by `chosen`. `logs_by` and `stamps_by` are (selector,
    count): how many of them a signature needs."""

    issuers: tuple[Service, ...]
    logs: tuple[Service, ...]
    stampers: tuple[Service, ...]
    logs_by: tuple[str, int]
    stamps_by: tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The services that one signature is made with."""

    issuer: Service
    log: Service
    stampers: tuple[Service, ...]

    @property
    def all(self) -> tuple[Service, ...]:
        return (self.issuer, self.log, *self.stampers)


def parse(data: bytes) -> SigningConfig:
    """Raises Malformed, reason "bad-signing-config", with a fix."""
    try:
        fields = strict.Fields(strict.loads(data, max_bytes=MAX_BYTES), "signing config")
        media = fields.text("mediaType", max_length=128)
        if media != MEDIA_TYPE:
            raise Malformed(f"its mediaType is {media[:80]!r}, not {MEDIA_TYPE!r}", fix=_fix(media))
        made = SigningConfig(
            issuers=_services(fields, "caUrls"),
            logs=_services(fields, "rekorTlogUrls"),
            stampers=_services(fields, "tsaUrls"),
            logs_by=_selector(fields, "rekorTlogConfig"),
            stamps_by=_selector(fields, "tsaConfig"),
        )
        if fields.has("oidcUrls"):  # where a person logs in, by a browser: nobody does here
            fields.raw("oidcUrls")
        fields.done()
    except Malformed as error:
        raise Malformed(
            "not a signing config of Sigstore",
            why=": ".join(text for text in (error.what, error.why) if text)[:400],
            fix=error.fix
            or f"get the file again from whoever runs the instance ({DOCS}/keyless.md#sign)",
            reason="bad-signing-config",
        ) from error
    return made


def _fix(media: str) -> str | None:
    if "clienttrustconfig" in media:
        return "name the signing config in it as a file: jq .signingConfig FILE > signing.json"
    if "trustedroot" in media:
        return "name the instance's signing config; this file is its trusted root"
    if "signingconfig" in media:
        return "get the file in version 0.2 from whoever runs the instance"
    return None


def _services(fields: strict.Fields, name: str) -> tuple[Service, ...]:
    if not fields.has(name):
        return ()
    found = []
    for one in fields.objects(name, most=MAX_NAMED):
        found.append(
            Service(
                url=one.text("url", pattern=_URL).rstrip("/"),
                version=one.integer("majorApiVersion", most=1000),
                span=parse_span(one),
                operator=one.text("operator", max_length=256) if one.has("operator") else "",
            )
        )
        one.done()
    return tuple(found)


def _selector(fields: strict.Fields, name: str) -> tuple[str, int]:
    if not fields.has(name):
        return "ANY", 1
    held = fields.object(name)
    selector = held.text("selector", pattern=_SELECTORS)
    count = held.integer("count", most=MAX_NAMED) if held.has("count") else 0
    held.done()
    if selector == "EXACT" and not count:
        raise Malformed(f"its {name} asks for exactly so many services, and does not say how many")
    return selector, count if selector == "EXACT" else 1


def chosen(config: SigningConfig, now: datetime) -> Chosen:
    """Of each operator the newest interface that is in use `now`, as many as the file asks for.

    Raises ConfigError, "no-service" or "unsupported-signing-config".
    """
    issuers = _in_use(config.issuers, "caUrls", now)
    logs = _as_many(_in_use(config.logs, "rekorTlogUrls", now), config.logs_by, "log")
    stampers = _as_many(_in_use(config.stampers, "tsaUrls", now), config.stamps_by, "authority")
    if not issuers:
        _lacks("an authority for certificates (Fulcio)")
    if not logs:
        _lacks("a transparency log (Rekor)")
    if len(logs) > 1:
        _refuse(
            f"the signing config asks for entries in {len(logs)} logs",
            "a signature here has one: which of several tells the time would be open",
            "set rekorTlogConfig to {selector: ANY}",
        )
    if len(stampers) > MAX_STAMPS:
        _refuse(
            f"the signing config asks for {len(stampers)} timestamps",
            f"a signature here has at most {MAX_STAMPS}",
            "set tsaConfig to {selector: ANY}",
        )
    if logs[0].version > 1 and not stampers:
        raise ConfigError(
            "the signing config names no timestamp authority",
            why="Rekor v2 tells no time, so nothing would show when the signature was made",
            fix="add the instance's timestamp authority under tsaUrls",
            reason="no-service",
        )
    return Chosen(issuer=issuers[0], log=logs[0], stampers=tuple(stampers))


def _in_use(services: Sequence[Service], kind: str, now: datetime) -> list[Service]:
    """One an operator: the newest interface, and of several the one that began last."""
    best: dict[str, Service] = {}
    for one in services:
        if one.version not in _VERSIONS[kind] or not one.span.holds(now):
            continue
        other = best.get(one.operator)
        if other is None or (one.version, one.span.start) > (other.version, other.span.start):
            best[one.operator] = one
    return list(best.values())


def _as_many(services: list[Service], by: tuple[str, int], what: str) -> list[Service]:
    selector, count = by
    if selector == "EXACT" and len(services) < count:
        raise ConfigError(
            f"the signing config asks for {count} services of the kind {what}, and names "
            f"{len(services)} that are in use",
            fix="get the file again from whoever runs the instance",
            reason="no-service",
        )
    return services if selector == "ALL" else services[:count]


def _lacks(what: str) -> NoReturn:
    raise ConfigError(
        f"the signing config names no {what.removeprefix('an ').removeprefix('a ')} that can be "
        "used today",
        why="it names none, none is in use today, or their interfaces are newer than this version",
        fix="get the file again from whoever runs the instance",
        reason="no-service",
    )


def _refuse(what: str, why: str, fix: str) -> NoReturn:
    raise ConfigError(what, why=why, fix=fix, reason="unsupported-signing-config")
