"""keys generate, in a service: makes a key where it will be held, and writes its public half here.

The place for the public half is looked at first, so that no key is made whose half has none.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import uri
from sovgate.errors import ConfigError, SovgateError, UsageError, Where
from sovgate.pipeline import key_option
from sovgate.pipeline.exported import same_key
from sovgate.pipeline.look.keys import export, refuse_name
from sovgate.pipeline.project import Project, nearest_project, open_project

if TYPE_CHECKING:
    from sovgate.keys._api import Made, Wanted


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`text`: the key's URI; None: the zone's own of that use. `zone`: where it has to lie; None:
    in the zone that names it, if one does.

    out: the file for its public half; None: where the project pins it, if that is a file.
    """

    text: str | None
    zone: str | None
    out: Path | None


@dataclass(frozen=True, kw_only=True)
class Generated:
    """`public`: the file with its public half; None: none was named, or it has none.

    dotted   where a project names it, "zones.eu.keys.sign"
    to_name  what of it the project does not name yet
    export   the command that makes the half that other zones name; None: `public` is that half
    """

    made: Made
    public: Path | None
    dotted: str
    to_name: tuple[str, ...]
    export: str | None


def where(asked: Asked, use: str, project: Path | None) -> tuple[str, Project | None]:
    """The URI of the key to be made, with its settings, and the project; a file's too.

    Raises ConfigError, UsageError.
    """
    opened = open_project(project) if asked.zone is not None else nearest_project(project)
    if asked.text is not None:
        return key_option.whole(asked.text, opened.base if opened is not None else None), opened
    if opened is None or asked.zone is None:
        raise UsageError(
            "no place is named for the key",
            fix="name a file with -o FILE, a key's URI, or a zone with --zone, whose key it is",
            reason="missing-option",
        )
    keys = opened.zone(asked.zone).keys
    text = keys.sign if use == "sign" else keys.encrypt
    if text is None:
        raise ConfigError(
            f"zone {asked.zone} has no key to {use}",
            fix=f"name the URI that it shall have; then add zones.{asked.zone}.keys.{use}",
            where=opened.config.where(f"zones.{asked.zone}"),
            reason="no-key",
        )
    return text, opened


def generate(text: str, opened: Project | None, asked: Asked, wanted: Wanted) -> Generated:
    """Make the key that `where` found. Raises ConfigError, UsageError ("output-exists"),
    KeyServiceError, ResidencyMismatch, DiskError.
    """
    from sovgate.keys import registry

    named_for = asked.zone or (_zone_of(opened, text) if opened is not None else None)
    zone = opened.zone(named_for) if opened is not None and named_for is not None else None
    out, keys, signs = asked.out, zone.keys if zone is not None else None, wanted.use == "sign"
    half = None if keys is None else keys.sign_public if signs else keys.encrypt_public
    if out is None and opened is not None:
        out = _pinned_file(opened, half)
    if out is not None:
        _require_writable(out)
    base = opened.base if opened is not None else Path.cwd()
    try:
        made = registry.generate(text, base, zone.region if zone is not None else None, wanted)
    except UsageError as error:
        if error.reason == "output-exists" and out is not None:
            error.fix = (
                "if an earlier run made it and ended before it wrote the public half: sovgate keys "
                f"show {shlex.quote(text)} -o {shlex.quote(str(out))}; else name another key"
            )
        raise
    if made.public is not None and out is not None:
        try:
            export(made.public, out)
        except SovgateError as error:
            error.fix = (
                f"the key is made; write its public half to another file: sovgate keys show "
                f"{shlex.quote(made.uri)} -o FILE"
            )
            raise
    dotted = f"zones.{named_for or 'ZONE'}.keys.{wanted.use}"
    named = None if keys is None else keys.sign if signs else keys.encrypt
    lacks = []
    if opened is None or zone is None or not _is_named(opened, zone.name, named, made.uri):
        lacks.append(dotted)
    if out is not None and made.public is not None and half is None:
        lacks.append(f"{dotted}-public")
    return Generated(
        made=made,
        public=out if made.public is not None else None,
        dotted=dotted,
        to_name=tuple(lacks),
        export=None
        if out is not None or made.public is None
        else _export(named_for, wanted.use, half),
    )


def _is_named(opened: Project, zone: str, named: str | None, uri_made: str) -> bool:
    return named is not None and same_key(opened.config, zone, named, uri_made)


def _export(zone: str | None, use: str, half: str | None) -> str:
    file = shlex.quote(uri.parse(half, what="key").rest) if half is not None else "FILE"
    return f"sovgate keys export {use} --zone {zone or 'ZONE'} -o {file}"


def _zone_of(opened: Project, text: str) -> str | None:
    """The zone that names this key: it has to lie there, whoever asks for it."""
    names = {
        zone.name
        for zone in opened.config.zones.values()
        for one in (zone.keys.sign, zone.keys.encrypt)
        if one is not None and one.partition("?")[0] == text.partition("?")[0]
    }
    return names.pop() if len(names) == 1 else None


def _pinned_file(opened: Project, text: str | None) -> Path | None:
    """None for what `keys export` makes, which the zone signs once it has a key to sign with."""
    if text is None or uri.parse(text, what="key").scheme != "file" or text.endswith(".json"):
        return None
    return opened.base / uri.parse(text, what="key").rest


def _require_writable(out: Path) -> None:
    refuse_name(out)
    if out.exists() or out.is_symlink():
        raise UsageError(
            f"{str(out)!r} already exists",
            why="a public half is never overwritten, and no key was made",
            fix="name another file with -o; or, if its key is lost, remove the file",
            where=Where(path=str(out)),
            reason="output-exists",
        )
    if not out.parent.is_dir():
        raise UsageError(
            f"there is no folder {str(out.parent)!r} for the public half",
            why="no key was made",
            fix=f"mkdir -p {shlex.quote(str(out.parent))}",
            reason="missing-path",
        )
