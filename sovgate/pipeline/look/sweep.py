"""audit sweep: what lies in a zone's store and no record names. Reads the store; deletes nothing.

RULES 14: twice, a grace period apart. A push under way, one that was broken off, and shards that
are not joined yet have chunks there that nothing names so far; nobody can tell them from waste.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import Inconclusive, NotFound, StoreError, UsageError, VerificationFailed
from sovgate.files import read_bounded
from sovgate.formats.bundle import Bundle
from sovgate.formats.part import DIGEST_SIZE
from sovgate.formats.plan import MAX_CHUNKS
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.pipeline.project import open_project
from sovgate.stages import audit
from sovgate.stores._api import Dated, Entry, Gathering, Unfinished, Versioned

if TYPE_CHECKING:
    from sovgate.stores._api import Store

#: Where documents lie that name others: whatever digest one of them holds is named.
NAMING = ("releases/", "receipts/", "promotions/", "proposals/", "parts/", "withdrawn/", "audit/")
#: What is looked through for what nobody names.
SWEPT = ("chunks/", "objects/")
GRACE_DAYS = 7
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_MAX_LIST = MAX_CHUNKS * DIGEST_SIZE
#: An earlier list: a million lines.
_MAX_FILE = 256 * 1024 * 1024
_HEAD = "# sovgate sweep "


@dataclass(frozen=True, kw_only=True)
class Swept:
    """`found`: what no record names. `due`: of it what an earlier list had too, which is older than
    the grace; None where no earlier list was given. `named`: how many objects records name there.
    `unfinished`: writes that were broken off, which the next write there removes. `versions`:
    whether the store keeps what is deleted as an old version; None where that was not told. What
    was deleted and lies there so is found, too.
    """

    zone: str
    store: str
    when: datetime
    named: int
    found: tuple[Entry, ...]
    due: tuple[Entry, ...] | None
    unfinished: tuple[Entry, ...] = ()
    versions: bool | None = False

    @property
    def list(self) -> bytes:
        """What is due, or else all that was found, as a file: a line each, name, size and time."""
        lines = [f"{_HEAD}{strict.format_time(self.when)} {self.store}"]
        for entry in self.found if self.due is None else self.due:
            when = "" if entry.written is None else strict.format_time(entry.written)
            lines.append(f"{entry.name}\t{entry.size}\t{when}")
        return ("\n".join(lines) + "\n").encode()


def sweep(
    zone: str, *, first: Path | None = None, grace: int = GRACE_DAYS, project: Path | None = None
) -> Swept:
    """List what nobody names in the store of `zone`; with the list of an earlier run, what was
    there unnamed `grace` days ago already.

    Raises Inconclusive ("unreadable-record": what a record names cannot be told; "too-early"),
    UsageError ("nothing-to-list": a registry), ConfigError, StoreError.
    """
    opened = open_project(project)
    store, now = opened.store(zone), audit.utc_now()
    if isinstance(store, Gathering):
        raise UsageError(
            f"{store.uri} lists no chunks that nothing names",
            why="a registry keeps what its manifests name, and collects the rest itself",
            fix="run the garbage collection of the registry, when no push is under way",
            reason="nothing-to-list",
        )
    before = None if first is None else _read_list(first, store, now - timedelta(days=grace))
    # Listed first: what is written meanwhile is no part of the list, or is named by the time.
    there = [entry for prefix in SWEPT for entry in entries(store, prefix) if _digest(entry.name)]
    versions = _keeps_versions(store)
    if versions and isinstance(store, Versioned):
        there += _only_old(store, frozenset(entry.name for entry in there))
    named = _named(store)
    found = tuple(entry for entry in there if _digest(entry.name) not in named)
    due = None
    if before is not None:
        old = now - timedelta(days=grace)
        due = tuple(
            entry
            for entry in found
            if entry.name in before and (entry.written is None or entry.written <= old)
        )
    return Swept(
        zone=zone,
        store=store.uri,
        when=now,
        named=len(there) - len(found),
        found=found,
        due=due,
        unfinished=tuple(store.unfinished()) if isinstance(store, Unfinished) else (),
        versions=versions,
    )


def _keeps_versions(store: Store) -> bool | None:
    if not isinstance(store, Versioned):
        return False
    try:
        return store.keeps_versions()
    except StoreError as error:
        if error.reason != "access-denied":
            raise
        return None


def _only_old(store: Versioned, there: frozenset[str]) -> list[Entry]:
    """What was deleted, and whose bytes a bucket keeps: by name, all versions of it together."""
    found: dict[str, Entry] = {}
    for prefix in SWEPT:
        for entry in store.old_versions(prefix):
            if _digest(entry.name) and entry.name not in there:
                before = found.setdefault(entry.name, replace(entry, size=0))
                found[entry.name] = replace(before, size=before.size + entry.size)
    return sorted(found.values(), key=lambda entry: entry.name)


def _digest(name: str) -> str | None:
    """Of an object that is named by its digest; None for what is not ours. So a command that
    deletes may be built from the names of a list.
    """
    digest = name.rpartition("/")[2]
    ours = strict.is_sha256(digest) and name in (chunk_name(digest), object_name(digest))
    return digest if ours else None


def entries(store: Store, prefix: str) -> Iterator[Entry]:
    """With times, where the store tells them."""
    if isinstance(store, Dated):
        yield from store.entries(prefix)
        return
    for name in store.list(prefix):
        stat = store.stat(name)
        if stat is not None:
            yield Entry(name=name, size=stat.size, written=None)


def _named(store: Store) -> frozenset[str]:
    """Every digest that a document of the store holds, and those in the chunk lists that they name.

    Whoever signed it: a record that is not believed today still keeps what it names.
    """
    named: set[str] = set()
    lists: dict[str, str] = {}
    doubts: list[str] = []
    for prefix in NAMING:
        for name in store.list(prefix):
            try:
                payload = _payload(name, store.get(name, most=strict.MAX_BYTES))
                said = strict.loads(payload)
            except NotFound:
                continue  # it went away meanwhile
            except VerificationFailed as error:
                doubts.append(f"{name}: {error.what}")
                continue
            named.update(match.decode() for match in _DIGEST.findall(payload))
            lists.update(dict.fromkeys(_lists(said), name))
    for sha256, name in lists.items():
        try:
            data = store.get(object_name(sha256), most=_MAX_LIST)
        except (NotFound, VerificationFailed) as error:
            doubts.append(f"{name}: its chunk list {sha256}: {error.what}")
            continue
        if hashlib.sha256(data).hexdigest() != sha256 or len(data) % DIGEST_SIZE:
            doubts.append(f"{name}: its chunk list {sha256} has other bytes")
        steps = range(0, len(data), DIGEST_SIZE)
        named.update(data[at : at + DIGEST_SIZE].hex() for at in steps)
    if doubts:
        raise Inconclusive(
            f"it cannot be told what the records in {store.uri} name",
            why=doubts[0] + (f", and {len(doubts) - 1} more" if len(doubts) > 1 else ""),
            fix="find out who changed it, and restore it from a copy; until then delete nothing",
            reason="unreadable-record",
            details=tuple(doubts[1:20]),
        )
    return frozenset(named)


def _payload(name: str, data: bytes) -> bytes:
    """A part may be a document of its own; all else is a signed statement."""
    try:
        return Bundle.parse(data).payload
    except VerificationFailed:
        if not name.startswith("parts/"):
            raise
    return data


def _lists(said: object) -> Iterator[str]:
    """The digests of chunk lists in a document, at whatever depth it names its parts."""
    waiting = [said]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            held = value.get("list")
            sha256 = held.get("sha256") if isinstance(held, dict) else None
            if strict.is_sha256(sha256):
                yield str(sha256)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _read_list(path: Path, store: Store, latest: datetime) -> frozenset[str]:
    """The names in a list that an earlier run wrote, of this store and no later than `latest`."""
    text = read_bounded(path, most=_MAX_FILE, what="list").decode("utf-8", "replace")
    head, *lines = text.splitlines() or [""]
    when, _, uri = head.removeprefix(_HEAD).partition(" ")
    if not head.startswith(_HEAD) or uri != store.uri:
        raise UsageError(
            f"{str(path)!r} is no list of {store.uri}",
            why=f"it begins with {head[:120]!r}",
            fix="name the file that `sovgate audit sweep -o FILE` wrote for this zone",
            reason="bad-list",
        )
    made = strict.parse_time(when)
    if made > latest:
        raise Inconclusive(
            f"the list {str(path)!r} is not old enough",
            why=f"it is of {when}; what is deleted was unnamed for the whole grace, from "
            f"{strict.format_time(latest)} on",
            fix="wait, and run it again with the same list; --grace DAYS sets another period",
            reason="too-early",
        )
    return frozenset(line.partition("\t")[0] for line in lines)


def size_of(found: Iterable[Entry]) -> int:
    return sum(entry.size for entry in found)


def deleting(store: str, file: Path, *, versions: bool | None = False) -> str | None:
    """What the zone runs, under its own credential, to delete what a list names; None where nobody
    here has tried it. Names in a list are digests in two folders, and nothing that a shell reads.

    `versions`: the store keeps what is deleted; all versions of those names are deleted then. Where
    it is not known, so are they: there is one of each.
    """
    import shlex

    names = f"grep -v '^#' {shlex.quote(str(file.absolute()))} | cut -f 1"
    scheme, _, rest = store.partition("://")
    if scheme == "file":
        return f"{names} | (cd {shlex.quote(rest)} && xargs rm -f --)"
    if scheme != "s3":
        return None
    place, _, query = rest.partition("?")
    bucket, _, prefix = place.partition("/")
    told = next((one for one in query.split("&") if one.startswith("endpoint=")), "")
    url = told.removeprefix("endpoint=")
    at = f"--bucket {shlex.quote(bucket)}" + (f" --endpoint-url {shlex.quote(url)}" if url else "")
    before = f"{prefix}/" if prefix else ""
    if versions is False:
        key = shlex.quote(f"{before}{{}}")
        return f"{names} | xargs -I {{}} aws s3api delete-object {at} --key {key}"
    key, every = f"{before}$name", "[Versions,DeleteMarkers][].[VersionId]"
    listed = f'aws s3api list-object-versions {at} --prefix "{key}" --query {every!r} --output text'
    deleted = f'aws s3api delete-object {at} --key "{key}" --version-id'
    return f"{names} | while read -r name; do {listed} | xargs -r -n 1 {deleted}; done"
