"""audit verify: each zone's log, and the heads that records and receipts elsewhere know of it."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import DOCS, Inconclusive, UsageError, VerificationFailed
from sovgate.files import read_bounded
from sovgate.pipeline.look.named import FOLDERS, Stores, of_entry, read_record
from sovgate.pipeline.project import Project, open_project
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.stores._api import Store

_HEAD = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)
#: A file of heads: about 100,000 of them.
MAX_HEADS_BYTES = 16 * 1024 * 1024
#: Records and receipts that are looked through for heads, a store.
MAX_DOCUMENTS = 100_000
#: Runs in doubt that are named, a zone.
MAX_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class ZoneLog:
    """`found` is what verified in the zone's log; `store` where it lies."""

    zone: str
    store: str
    found: audit.Verified


@dataclass(frozen=True, kw_only=True)
class Audited:
    """`passed_over`: records and receipts that do not verify, and so anchor nothing; and decisions
    that receipts name and earlier versions did not keep. `elsewhere`: zones whose log cannot be
    reached from here, and so was not looked at. `unread`: how many chunks and key tables were found
    by their size alone, since their store keeps no SHA-256.

    `open_end` is set where a cut could hide: it is what `audit verify` ends with (14).
    """

    logs: tuple[ZoneLog, ...]
    passed_over: tuple[str, ...]
    elsewhere: tuple[str, ...]
    unread: int
    open_end: Inconclusive | None


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What the auditor knows: heads, and files of them that `--heads` of other commands wrote."""

    heads: Sequence[str] = ()
    files: Sequence[Path] = ()


_NOTHING = Noted()


def verify(
    *,
    zone: str | None = None,
    noted: Noted = _NOTHING,
    strict: bool = False,
    read: bool = False,
    project: Path | None = None,
) -> Audited:
    """Verify the log of `zone`, or of every zone that has one here.

    `strict`: each run's end must be known from elsewhere, the last one's too.
    `read`: chunks of which a store keeps no SHA-256 are read again.

    Raises VerificationFailed (11) where something is wrong or missing, UsageError, ConfigError,
    StoreError.
    """
    opened = open_project(project)
    zones = [opened.zone(zone).name] if zone is not None else list(opened.config.zones)
    heads = [_head(text) for text in noted.heads]
    for file in noted.files:
        heads += read_heads(file, zones)
    heads = list(dict.fromkeys(heads))
    stores = {name: opened.audit_store(name) for name in zones}
    known = {name: opened.store(name) for name, one in opened.config.zones.items() if one.store}
    known = {**stores, **known}  # of a zone without a store, what lies beside its log
    there = Stores(known, read=read)
    anchors, passed_over = _anchors(opened, there, zones)
    elsewhere: list[str] = []
    if zone is None:
        logged = {name for name, store in stores.items() if _has_log(store)}
        # A log that was removed whole is no reason to leave its zone out.
        logged |= {name for name in anchors if keeps_log(opened, name)}
        elsewhere = [
            f"zone {name}, of which {next(iter(heads.values()))} names a head"
            for name, heads in anchors.items()
            if name in stores and name not in logged
        ]
        stores = {name: store for name, store in stores.items() if name in logged}
    owners = _owners(stores, heads)
    logs = []
    for name, store in stores.items():
        trusted = opened.trusted(name)
        with _of_a_key_before(opened, name):
            found = audit.verify(
                store,
                trusted,
                zone=name,
                anchors=anchors.get(name, {}),
                against=[head for head in heads if owners[head] == name],
            )
        logs.append(ZoneLog(zone=name, store=store.uri, found=found))
    there.require()
    later = Stores(known)  # what entries name may have been written while the stores were read
    for log in logs:
        for entry in log.found.read:
            for zone_of, named in of_entry(entry, log.zone):
                later.expect(zone_of, (named,), f"{entry.object_name} of zone {log.zone}")
    later.require()
    return Audited(
        logs=tuple(logs),
        passed_over=(*passed_over, *there.passed_over),
        elsewhere=tuple(elsewhere),
        unread=len(there.unread),
        open_end=conclude(logs, strict=strict, again=_command(zone, noted, strict, project)),
    )


@contextlib.contextmanager
def _of_a_key_before(opened: Project, zone: str) -> Iterator[None]:
    """An entry whose signer is not believed is often one of a key of the zone's, now or before."""
    keys = opened.zone(zone).keys
    unknown = opened.config.trust is None and (keys.sign_public or keys.sign) is None
    try:
        yield
    except VerificationFailed as error:
        if error.reason == "untrusted-role":
            error.fix = (
                "the key is trusted, but not for audit: if it is a key of this zone, or was one, "
                f"add audit to `may` of its entry under trust; else {error.fix}"
            )
        elif error.reason == "wrong-signer" and unknown:
            error.fix = (
                f"this project names no key that zone {zone} signs with: ask the zone for its "
                f"public half, and name it as sign-public under zones.{zone}.keys; or look at the "
                "log of a zone whose key is named (--zone)"
            )
        elif error.reason == "wrong-signer":
            error.fix = (
                "if it was made by a key of this zone, or one that was, add an entry for that key "
                f"under trust, with audit in `may`: {DOCS}/keys.md#replace-or-take-back-a-key; "
                f"else {error.fix}"
            )
        raise


def _head(text: str) -> str:
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text[:80]!r} is not the head of a log",
            fix="a head is the 64 hex digits that push, pull and promote print as audit-head",
            reason="bad-head",
        )
    return match.group(1)


def read_heads(path: Path, zones: Sequence[str]) -> list[str]:
    """The heads in a file: `HEAD [ZONE …]` a line, and comments. Those of other zones are left out.

    Raises UsageError, reason "bad-head", where a line is neither; DiskError.
    """
    data = read_bounded(path, most=MAX_HEADS_BYTES, what="file of heads")
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if _HEAD.fullmatch(words[0]) is None:
            raise UsageError(
                f"line {number} of {str(path)!r} does not begin with the head of a log",
                why=f"it begins with {words[0][:40]!r}; a head is 64 hex digits",
                fix="take the line out, or write # before it",
                reason="bad-head",
            )
        if len(words) == 1 or words[1] in zones:
            found.append(_head(words[0]))
    return found


def keeps_log(opened: Project, zone: str) -> bool:
    """Whether the zone's log must be in reach: in its store, or here, where it signs."""
    config = opened.config.zones.get(zone)
    return config is not None and (config.store is not None or config.keys.sign is not None)


def _has_log(store: Store) -> bool:
    return next(iter(store.list(audit.PREFIX)), None) is not None


def _owners(stores: dict[str, Store], heads: list[str]) -> dict[str, str]:
    """Which zone's log each head is in. A head in none is a cut, wherever it was."""
    if not heads:
        return {}
    known = {name: audit.digests(store) for name, store in stores.items()}
    owners = {}
    for head in heads:
        owner = next((name for name, digests in known.items() if head in digests), None)
        if owner is None:
            raise VerificationFailed(
                "the audit log does not verify",
                why=f"the entry {head} was noted by you, but is in no log here "
                f"({', '.join(stores) or 'there is none'})",
                fix="find out who changed the log; restore it from a copy that verifies",
                reason="audit-cut",
            )
        owners[head] = owner
    return owners


def _anchors(
    opened: Project, there: Stores, asked: Collection[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Zone -> head -> where it stands, from every store of the project; and what was passed over.

    A document that does not verify anchors nothing: that can only make the answer less sure. What
    those in the stores of zones that were `asked` for name is looked for `there`.
    """
    anchors: dict[str, dict[str, str]] = {}
    passed_over: list[str] = []
    for config in opened.config.zones.values():
        if config.store is None:
            continue
        store = opened.store(config.name)
        trusted = opened.trusted_in(config.name)
        for prefix in FOLDERS:
            for count, name in enumerate(store.list(prefix)):
                if count >= MAX_DOCUMENTS:
                    passed_over.append(f"{prefix} of zone {config.name} beyond {MAX_DOCUMENTS}")
                    break
                try:
                    told = read_record(store, name, trusted)
                except VerificationFailed as error:
                    passed_over.append(f"{name} of zone {config.name}: {error.what}")
                    continue
                place = f"{name} of zone {config.name}"
                anchors.setdefault(told.zone, {})[told.head] = place
                if config.name in asked:
                    there.expect(config.name, told.names, place)
    return anchors, passed_over


def conclude(
    logs: Sequence[ZoneLog],
    *,
    strict: bool = True,
    again: Callable[[str | None, Sequence[str]], str],
) -> Inconclusive | None:
    """The doubts about all logs as one error; None where there are none.

    In doubt is where a cut could hide: no log, an empty one, a run without its outcome, a log of
    which no head is known outside. `strict`: the last run of a healthy one too, not anchored yet.
    `again`: the command that names the given heads of a zone, or of all, as known.
    """
    doubts = [doubt for log in logs if (doubt := _doubt(log, strict)) is not None]
    if not logs:
        return Inconclusive(
            "there is no audit log here, and nothing shows whether there should be one",
            fix="name the zone whose log it is with --zone, and the head that you noted with "
            "--against",
            reason="no-anchor",
        )
    if not doubts:
        return None
    runs = [(doubt.zone, run) for doubt in doubts for run in doubt.runs[:MAX_NAMED]]
    ended = any(run.open for _, run in runs)
    command = again(doubts[0].zone if len(doubts) == 1 else None, [run.head for _, run in runs])
    if not runs:
        fix = (
            "name the heads that you know to be ends, as push, pull and promote printed them, "
            "with --against; or give the file that their --heads wrote"
        )
    elif ended and not strict:
        fix = f"make sure that nobody cut the log there; then say that the end is known: {command}"
    else:
        fix = (
            "compare each head with what push, pull and promote printed, or --heads FILE kept; "
            f"where they are the same: {command}"
        )
    first = next((d for d in doubts if any(run.open for run in d.runs)), doubts[0])
    return Inconclusive(
        first.what,
        why="; ".join(f"zone {doubt.zone}: {doubt.why}" for doubt in doubts if doubt.why),
        fix=fix,
        reason="no-anchor",
        details=tuple(
            f"zone {zone}: run {run.run} ends with {run.last.kind} of {run.last.about.action} at "
            f"{run.last.time:%Y-%m-%dT%H:%M:%SZ}, head {run.head}"
            for zone, run in runs
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Doubt:
    """`runs`: those after whose last entry more may have been."""

    zone: str
    what: str
    why: str | None
    runs: tuple[audit.RunSummary, ...]


def _doubt(log: ZoneLog, strict: bool) -> _Doubt | None:
    found = log.found
    broken = tuple(run for run in found.tips if run.open)
    runs = found.tips if strict else broken or (() if found.anchors else found.tips)
    undated = tuple(run for run in found.runs if run.undated and run not in runs)
    if undated and not runs:
        of = len(found.runs)
        return _Doubt(
            zone=log.zone,
            what="a former key signed entries of the log, and nothing shows that they are older "
            "than its end",
            why=f"every entry verifies, but {len(undated)} of {of} run{'' if of == 1 else 's'} "
            "may be younger than `until` of that key, under trust",
            runs=undated,
        )
    if found.runs and not runs:
        return None
    what, why = "the log is empty, and nothing shows whether it should be", None
    if runs:
        what = "it cannot be shown that nothing was cut off the end of the log"
        of = len(found.runs)
        ends = f"{len(runs)} of {of} run{'' if of == 1 else 's'}"
        ends += " ends" if len(runs) == 1 else " end"
        last = "with an intent" if broken and not strict else "without an anchor"
        why = f"every entry verifies, but {ends} {last}"
        if broken:
            what = "a run has no outcome: it was killed, or the end of the log was cut off"
    return _Doubt(zone=log.zone, what=what, why=why, runs=(*runs, *undated))


def _command(
    zone: str | None, noted: Noted, strict: bool, project: Path | None
) -> Callable[[str | None, Sequence[str]], str]:
    """What was asked for, to be asked again with heads that are known now."""

    def again(doubted: str | None, heads: Sequence[str]) -> str:
        # Of one zone alone, unless a head that was noted may be another's.
        named = zone or (None if noted.heads else doubted)
        options = [*(("--zone", named) if named else ())]
        options += ["--strict"] if strict else []
        for file in noted.files:
            options += ["--heads", str(file)]
        for head in (*noted.heads, *heads):
            options += ["--against", head]
        if project is not None:
            options += ["--project", str(project)]
        return shlex.join(["sovgate", "audit", "verify", *options])

    return again
