"""One entry of the audit log: `audit/<run>/<nnnn>.json`, predicate `https://sovgate.dev/audit/v0`.

Entries of a run are numbered from 0 and chained by digest; `seen` names heads of other runs. No
I/O: `audit.py` writes and verifies the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sovgate import strict
from sovgate.errors import ExitCode, Malformed
from sovgate.formats._common import read_release, read_zone
from sovgate.records import RELEASE_PART, Release

Kind = Literal["intent", "outcome", "denied"]
KINDS: tuple[Kind, ...] = ("intent", "outcome", "denied")

#: The action of a pull of one file, which no receipt tells of.
PULL_FILE = "pull-file"
#: The action of a push of one shard: no release is there yet.
PUSH_SHARD = "push-shard"

MAX_INDEX = 9999
MAX_SEEN = 64
MAX_REFS = 1024
#: An entry is small; a reader takes no more than this.
MAX_BYTES = 1024 * 1024

RUN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_WORD = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_NAME = re.compile(r"audit/([0-9a-f]{32})/([0-9]{4})\.json", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The entry of a run that somebody saw last: `sha256` is over the entry's bytes."""

    run: str
    index: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Ref:
    """A document that the entry is about, e.g. role "decision" or "transfer"."""

    role: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class About:
    """What an entry is about; `release` is None where a model moves without one."""

    action: str
    model: str
    manifest: str
    release: Release | None = None
    source: str | None = None
    destination: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`previous` is the SHA-256 of the entry before, None for index 0.

    `exit` is None for an intent, the exit code otherwise: for a denied one 10, or what else
    stopped it before any effect.
    """

    run: str
    index: int
    previous: str | None
    seen: tuple[Head, ...]
    kind: Kind
    about: About
    exit: int | None
    refs: tuple[Ref, ...]
    time: datetime

    @property
    def object_name(self) -> str:
        return object_name(self.run, self.index)

    def predicate(self) -> dict[str, strict.JSON]:
        return {
            "run": self.run,
            "index": self.index,
            "previous": self.previous,
            "seen": [
                {"run": head.run, "index": head.index, "sha256": head.sha256} for head in self.seen
            ],
            "kind": self.kind,
            "action": self.about.action,
            "release": None if self.about.release is None else str(self.about.release),
            "manifest": self.about.manifest,
            "from": self.about.source,
            "to": self.about.destination,
            "exit": self.exit,
            "refs": [{"role": ref.role, "sha256": ref.sha256} for ref in self.refs],
            "time": strict.format_time(self.time),
        }

    @classmethod
    def parse(cls, predicate: strict.JSON, *, name: str, manifest: str) -> Entry:
        """The predicate of a statement about `name` and `manifest`. Raises Malformed."""
        fields = strict.Fields(predicate, "audit")
        kind = fields.text("kind")
        if kind not in KINDS:
            raise Malformed(f"audit.kind is {kind[:40]!r}, not one of {KINDS}")
        if not RELEASE_PART.fullmatch(name):
            raise Malformed(f"the audit entry's subject {name[:80]!r} is no model name")
        entry = cls(
            run=fields.text("run", pattern=RUN),
            index=fields.integer("index", most=MAX_INDEX),
            previous=fields.nullable("previous", fields.sha256),
            seen=tuple(_head(head) for head in fields.objects("seen", most=MAX_SEEN)),
            kind=kind,
            about=About(
                action=fields.text("action", pattern=_WORD),
                model=name,
                release=fields.nullable("release", lambda f: read_release(fields, f)),
                manifest=fields.sha256("manifest"),
                source=fields.nullable("from", lambda f: read_zone(fields, f)),
                destination=fields.nullable("to", lambda f: read_zone(fields, f)),
            ),
            exit=fields.nullable("exit", lambda f: fields.integer(f, most=255)),
            refs=tuple(_ref(ref) for ref in fields.objects("refs", most=MAX_REFS)),
            time=fields.time("time"),
        )
        fields.done()
        entry.check(manifest)
        return entry

    def check(self, manifest: str) -> None:
        """What must hold among the fields. Raises Malformed."""
        about = self.about
        other = about.release is not None and about.release.model != about.model
        if about.manifest != manifest or other:
            raise Malformed("the audit entry's subject is not its release")
        if (self.index == 0) != (self.previous is None):
            raise Malformed("audit.previous must be null for index 0, and only there")
        good = {
            "intent": self.exit is None,
            "outcome": self.exit is not None,
            "denied": self.exit not in (None, ExitCode.OK),
        }
        if not good[self.kind]:
            raise Malformed(f"audit.exit is {self.exit}, which no entry of kind {self.kind} has")
        runs = [head.run for head in self.seen]
        if self.run in runs or len(set(runs)) != len(runs):
            raise Malformed("audit.seen names its own run, or one run twice")


def object_name(run: str, index: int) -> str:
    """Where an entry lies in a store."""
    return f"audit/{run}/{index:04}.json"


def parse_object_name(name: str) -> tuple[str, int]:
    """Run and index that a name in a store stands for. Raises Malformed."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise Malformed(f"{name[:160]!r} is no name of an audit entry")
    return match.group(1), int(match.group(2))


def _head(fields: strict.Fields) -> Head:
    head = Head(
        run=fields.text("run", pattern=RUN),
        index=fields.integer("index", most=MAX_INDEX),
        sha256=fields.sha256("sha256"),
    )
    fields.done()
    return head


def _ref(fields: strict.Fields) -> Ref:
    ref = Ref(role=fields.text("role", pattern=_WORD), sha256=fields.sha256("sha256"))
    fields.done()
    return ref
