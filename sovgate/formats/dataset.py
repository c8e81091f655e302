"""Dataset manifest (YAML): pointer, class, where the data must stay, commitment. Never the data.

docs/formats.md, "Dataset manifest". Bytes -> record, no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sovgate import regions
from sovgate.errors import ConfigError, Where
from sovgate.formats.sections import Section
from sovgate.formats.yaml12 import load
from sovgate.records import RELEASE_FORM, RELEASE_PART

MAX_BYTES = 1024 * 1024
SCHEME = "hmac-sha256/v0"

_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIGEST = "64 small hexadecimal digits"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_POINTER = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """HMAC-SHA256(r, root): the zone vouched for this data; outsiders learn only of change."""

    scheme: str
    epoch: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a data set comes from, and of which day, as its manifest says; for people."""

    source: str | None
    date: str | None


@dataclass(frozen=True, kw_only=True)
class DatasetManifest:
    """`stays_in`: None is unknown, which denies; () is free. `where` is the line that says so."""

    id: str
    category: str
    pointer: str
    stays_in: tuple[str, ...] | None
    bytes: int | None
    records: int | None
    commitment: Commitment | None
    schema_sha256: str | None
    origin: Origin
    where: Where


def parse(data: bytes, name: str) -> DatasetManifest:
    """Raises ConfigError with the line; `name` is the file as errors show it."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES} bytes", reason="bad-yaml")
    empty = (
        "write version: 1, id: NAME, category: WORD, pointer: URI and stays-in: [EU] into it, a "
        "line each; `sovgate data commit` adds the rest"
    )
    top = Section(load(data, name), empty=empty)
    if top.integer("version", example=1) != 1:
        top.refuse("version", "this version is not known", fix="write version: 1")
    stays_in: tuple[str, ...] | None = None
    if top.raw("stays-in") is not None:
        stays_in = top.texts("stays-in")
        for place in stays_in:
            regions.group(place, where=top.document.where((*top.path, "stays-in")))
    pointer = top.text("pointer", pattern=_POINTER, form="a URI", example="s3://bucket/folder/")
    if _opens(pointer):
        raise ConfigError(
            "the pointer carries a password or a token",
            why="training records and SBOMs copy it, and travel with the model in the clear",
            fix="write the address alone, and replace what opened it: it was in this file",
            where=top.document.where(("pointer",)),
            reason="secret-in-uri",
        )
    made = DatasetManifest(
        id=top.text("id", pattern=RELEASE_PART, form=RELEASE_FORM),
        category=top.text("category"),
        pointer=pointer,
        stays_in=stays_in,
        bytes=top.integer("bytes") if top.has("bytes") else None,
        records=top.integer("records") if top.has("records") else None,
        commitment=_commitment(top),
        schema_sha256=_schema(top),
        origin=Origin(
            source=top.optional_text("source"),
            date=top.text("date", pattern=_DATE, form="a date", example="2026-11-01")
            if top.has("date")
            else None,
        ),
        where=top.document.where(("stays-in",)),
    )
    top.done()
    return made


def _opens(pointer: str) -> bool:
    """Most addresses have neither a password nor a query, and need no list of secrets."""
    if not {"@", "?", "#", ";"} & set(pointer):
        return False
    from sovgate.formats.disclosed import in_value

    return in_value({"pointer": pointer}, commitments=False) is not None


def _commitment(top: Section) -> Commitment | None:
    if not top.has("commitment") or top.value["commitment"] is None:
        return None
    section = top.section("commitment")
    made = Commitment(
        scheme=section.choice("scheme", (SCHEME,)),
        epoch=section.text("epoch"),
        value=section.text("value", pattern=_HEX64, form=_DIGEST),
    )
    section.done()
    return made


def _schema(top: Section) -> str | None:
    if not top.has("schema") or top.value["schema"] is None:
        return None
    section = top.section("schema")
    value = section.text("sha256", pattern=_HEX64, form=_DIGEST)
    section.done()
    return value
