"""The promotion record: a zone's signed word about which release drives its rollout.

Predicate `https://sovgate.dev/promotion/v0`, in `promotions/<zone>/<model>/<n>.json`. What is only
proposed is a record of kind `proposal`, in `proposals/<zone>/<model>/<n>.json` (RULES 41). No I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats._common import read_digest, read_release, read_zone
from sovgate.records import Release

MAX_BYTES = 1024 * 1024
#: Promotions of one model in one zone.
MAX_NUMBER = 999_999

Kind = Literal["promote", "rollback", "proposal"]
KINDS: tuple[Kind, ...] = ("promote", "rollback", "proposal")
#: What the audit log calls the runs that write them.
ACTIONS = ("promote", "rollback")
PROMOTIONS, PROPOSALS = "promotions", "proposals"
#: The release file that a run wrote, in its record and among what its audit intent names.
RELEASE_FILE = "release-file"

#: What a rollback's reason may be: one line of text.
REASON = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,1024}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,2048}")
_USERINFO = re.compile(r"(?!ssh:)[a-z]+://[^/]*@|ssh://[^/@]*:[^/@]*@")
_NAME = re.compile(r"(promotions|proposals)/([a-z0-9-]+)/([a-z0-9._-]+)/([0-9]{6})\.json", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The promotion before: `sha256` is of its bytes, so that the records form a chain.

    That of a proposal is the promotion that was in effect when it was made.
    """

    release: Release
    manifest: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """`commit` is a commit of `branch` in `repo` at which the overlay `path` pins the release.

    `reason` is why the zone went back, or is to, None unless it does. `repo` is a URL without
    credentials. `branch` of a proposal is one of its own, which waits for a person to merge it.
    `record`, `decision`, `receipt`, `audit_head`: SHA-256. `release_file` is that of the release
    file's bytes as sovgate wrote them, None in records of earlier versions.
    """

    number: int
    kind: Kind
    reason: str | None
    release: Release
    sequence: int
    record: str
    manifest: str
    zone: str
    repo: str
    path: str
    branch: str
    commit: str
    previous: Previous | None
    decision: str
    receipt: str
    audit_head: str
    created: datetime
    release_file: str | None = None

    @property
    def object_name(self) -> str:
        folder = PROPOSALS if self.kind == "proposal" else PROMOTIONS
        return object_name(self.zone, self.release.model, self.number, folder=folder)

    @property
    def pinned(self) -> str:
        """The release as an overlay pins it."""
        return self.release.pinned(self.manifest)

    def predicate(self) -> dict[str, strict.JSON]:
        return {
            "number": self.number,
            "kind": self.kind,
            "reason": self.reason,
            "release": str(self.release),
            "sequence": self.sequence,
            "record": {"sha256": self.record},
            "manifest": self.manifest,
            "zone": self.zone,
            "repo": self.repo,
            "path": self.path,
            "branch": self.branch,
            "commit": self.commit,
            "previous": self.previous
            and {
                "release": str(self.previous.release),
                "manifest": self.previous.manifest,
                "sha256": self.previous.sha256,
            },
            "decision": {"sha256": self.decision},
            "receipt": {"sha256": self.receipt},
            "audit-head": self.audit_head,
            "created": strict.format_time(self.created),
            **({} if self.release_file is None else {RELEASE_FILE: {"sha256": self.release_file}}),
        }

    @classmethod
    def parse(cls, predicate: strict.JSON, *, name: str, manifest: str) -> Promotion:
        """The predicate of a statement about `name` and `manifest`. Raises Malformed."""
        fields = strict.Fields(predicate, "promotion")
        kind = fields.text("kind")
        if kind not in KINDS:
            raise Malformed(f"promotion.kind is {kind[:40]!r}, not one of {KINDS}")
        promotion = cls(
            number=fields.integer("number", least=1, most=MAX_NUMBER),
            kind=kind,
            reason=fields.nullable("reason", lambda f: fields.text(f, pattern=REASON)),
            release=read_release(fields, "release"),
            sequence=fields.integer("sequence", least=1),
            record=read_digest(fields, "record"),
            manifest=fields.sha256("manifest"),
            zone=read_zone(fields, "zone"),
            repo=fields.text("repo", pattern=_TEXT),
            path=fields.text("path", pattern=_TEXT),
            branch=fields.text("branch", pattern=_TEXT),
            commit=fields.text("commit", pattern=_COMMIT),
            previous=fields.nullable("previous", lambda f: _previous(fields.object(f))),
            decision=read_digest(fields, "decision"),
            receipt=read_digest(fields, "receipt"),
            audit_head=fields.sha256("audit-head"),
            created=fields.time("created"),
            release_file=_file(fields),
        )
        fields.done()
        if (promotion.release.model, promotion.manifest) != (name, manifest):
            raise Malformed("the promotion's subject is not its release")
        promotion.check()
        return promotion

    def check(self) -> None:
        """What must hold among the fields. Raises Malformed."""
        proposed = self.kind == "proposal"
        if not proposed and (self.number == 1) != (self.previous is None):
            raise Malformed("promotion.previous must be null for number 1, and only there")
        if not proposed and (self.kind == "rollback") != (self.reason is not None):
            raise Malformed("promotion.reason is for a rollback, which must have one")
        if self.reason is not None and self.previous is None:
            raise Malformed("a rollback has nothing before it to go back from")
        if self.previous and self.previous.release.model != self.release.model:
            raise Malformed("the promotion before is of another model")
        if _USERINFO.match(self.repo):
            raise Malformed("promotion.repo carries credentials")


def object_name(zone: str, model: str, number: int, *, folder: str = PROMOTIONS) -> str:
    """Where a promotion lies in a store. Six digits, so that a listing is in order."""
    return f"{folder}/{zone}/{model}/{number:06}.json"


def parse_object_name(name: str) -> tuple[str, str, int]:
    """Zone, model and number that a name in a store stands for. Raises Malformed."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise Malformed(f"{name[:160]!r} is no name of a promotion")
    return match.group(2), match.group(3), int(match.group(4))


def _file(fields: strict.Fields) -> str | None:
    """Records of earlier versions do not have it."""
    return read_digest(fields, RELEASE_FILE) if fields.has(RELEASE_FILE) else None


def _previous(fields: strict.Fields) -> Previous:
    previous = Previous(
        release=read_release(fields, "release"),
        manifest=fields.sha256("manifest"),
        sha256=fields.sha256("sha256"),
    )
    fields.done()
    return previous
