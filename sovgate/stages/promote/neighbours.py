"""What else of a repository builds on an overlay: a pin there runs there too (RULES 42).

Reads the repository's objects by `sovgate.git`. A link counts as what it points to, as it does for
those who build from a checkout.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from sovgate.errors import ConfigError, GitError
from sovgate.formats import kustomize, overlay
from sovgate.formats.kustomize import KUSTOMIZATIONS, RELEASE_FILE
from sovgate.git.repo import printable
from sovgate.git.tree import Item, Trees
from sovgate.git.url import repository_of
from sovgate.stages.promote.asked import GitTarget

MAX_LINKS = 20
#: Folders on which one overlay may build; beyond, nothing is known of it, which is a no.
MAX_FOLDERS = 200
#: Kustomizations of the repository that are read for a remark.
MAX_OTHERS = 200

_REMOTE = re.compile(r"(?:git::)?(.*?[^:/])//([^?]*)(?:\?(.*))?", re.DOTALL)


class Neighbours:
    """Of one target. `others` are the paths of the project's other zones on the same branch of the
    same repository, by zone.
    """

    def __init__(self, trees: Trees, target: GitTarget, others: Mapping[str, str]) -> None:
        self._trees, self._target, self._others = trees, target, others
        self._folder = posixpath.normpath(target.path or ".")
        self._seen: dict[str, tuple[str, ...]] = {}

    def check(self, tip: str) -> tuple[str, ...]:
        """In words, which other folders build on the overlay at the commit `tip`.

        Raises GitError "overlay-taken" where another zone's overlay does: that zone would run what
        its own policy never judged.
        """
        if tip not in self._seen:
            for zone, path in self._others.items():
                if (way := self._way(tip, posixpath.normpath(path or "."))) is not None:
                    raise self._taken(zone, way)
            self._seen[tip] = tuple(self._remarks(tip))
        return self._seen[tip]

    def _taken(self, zone: str, way: tuple[str, ...]) -> GitError:
        theirs = way[0]
        by = "".join(f", by way of {printable(one, most=300)}" for one in way[1:])
        return GitError(
            f"the overlay {self._folder!r} is part of that of zone {zone}",
            why=f"{theirs!r} builds on it{by}: zone {zone} would run this release too, and its own "
            "policy has not judged it",
            fix=f"let {theirs} build on what {self._folder} builds on, in place of {self._folder} "
            f"itself: a folder without {RELEASE_FILE}, for example base; commit and push, and run "
            "it again",
            reason="overlay-taken",
        )

    def _way(self, tip: str, start: str) -> tuple[str, ...] | None:
        """The folders from `start` on that lead to our overlay; None where nothing does."""
        waiting: list[tuple[str, ...]] = [(start,)]
        known: set[str] = set()
        while waiting:
            way = waiting.pop(0)
            path = self._real(tip, way[-1])
            if path == self._folder:
                return way[:-1] if path == way[-1] and len(way) > 1 else way
            if path in known:
                continue
            known.add(path)
            if len(known) > MAX_FOLDERS:
                raise GitError(
                    f"{start!r} builds on more than {MAX_FOLDERS} folders",
                    why=f"whether {self._folder!r} is among them was not found out",
                    fix="let it build on fewer",
                    reason="limits",
                )
            for entry in self._told(tip, path, start):
                if self._is_ours(entry):
                    return way
                if not overlay.is_elsewhere(entry):
                    waiting.append((*way, posixpath.normpath(posixpath.join(path, entry))))
        return None

    def _told(self, tip: str, path: str, start: str) -> tuple[str, ...]:
        """What a folder on the way from `start` names. One that is not read may name ours."""
        try:
            return tuple(self._entries(tip, path))
        except (ConfigError, GitError) as error:
            raise GitError(
                f"whether {start!r} builds on {self._folder!r} cannot be told",
                why=f"the kustomization in {printable(path, most=300)!r} is not read: {error.what}",
                fix="correct that file, commit and push, and run it again",
                reason="overlay-taken",
            ) from error

    def _is_ours(self, entry: str) -> bool:
        """Whether a base that is fetched is our overlay again, by the repository's URL."""
        match = _REMOTE.fullmatch(entry)
        if match is None or posixpath.normpath(match[2].strip("/") or ".") != self._folder:
            return False
        asked = re.search(r"(?:^|&)(?:ref|version)=([^&]*)", match[3] or "")
        same = repository_of(match[1]) == repository_of(self._target.remote.url)
        return same and (asked is None or asked[1] == self._target.branch)

    def _entries(self, tip: str, path: str) -> Iterator[str]:
        """What a folder's kustomization names; nothing where there is none.

        Raises ConfigError, GitError where it is not one that we read: kustomize may all the same.
        """
        try:
            there = self._trees.at(tip, path)
            if isinstance(there, Item):
                return
            name = overlay.kustomization_in(there.keys(), path)
        except (ConfigError, GitError):
            return  # nobody builds it
        yield from self._named(tip, posixpath.join(path, name))

    def _named(self, tip: str, file: str) -> Iterator[str]:
        item = self._trees.at(tip, self._real(tip, file))
        if isinstance(item, Item):
            data = self._trees.blob(item, file, most=kustomize.MAX_BYTES)
            found = kustomize.read_kustomization(data, file)
            for entry in (*found.resources, *found.files, *found.steps):
                # Our patch alone does what the whole overlay does.
                yield posixpath.dirname(entry) if entry.endswith(f"/{RELEASE_FILE}") else entry

    def _real(self, tip: str, path: str) -> str:
        """A path with the links on its way followed; as it is where nothing is there."""
        for _ in range(MAX_LINKS):
            here, parts = self._trees.tree(tip), path.split("/")
            for depth, part in enumerate(parts):
                item = here.get(part)
                if item is not None and item.mode == "120000":
                    to = self._trees.link(item)
                    path = posixpath.normpath(
                        posixpath.join(*parts[:depth], to, *parts[depth + 1 :])
                    )
                    break
                if item is None or item.kind != "tree":
                    return path
                here = self._trees.tree(item.oid)
            else:
                return path
        return path

    def _remarks(self, tip: str) -> Iterator[str]:
        """What is no zone's overlay here may be another project's, or what a cluster builds."""
        try:
            names = self._trees.names(tip)
        except GitError:  # more than can be listed
            names = []
        files = [
            path
            for path in names
            if posixpath.basename(path) in KUSTOMIZATIONS
            and (posixpath.dirname(path) or ".") != self._folder
        ]
        if not names or len(files) > MAX_OTHERS:
            yield (
                f"whether other folders build on {self._folder!r}: the repository has more files, "
                f"or more than {MAX_OTHERS} kustomizations, than are looked at"
            )
            return
        for file in sorted(files):
            folder = posixpath.dirname(file) or "."
            try:
                entries = tuple(self._entries(tip, folder))
            except (ConfigError, GitError):
                continue  # a remark is made of what is known
            for entry in entries:
                near = posixpath.normpath(posixpath.join(folder, entry))
                if self._is_ours(entry) or (
                    not overlay.is_elsewhere(entry) and self._real(tip, near) == self._folder
                ):
                    yield (
                        f"{printable(folder, most=300)!r} builds on {self._folder!r}: what is "
                        "deployed from there runs this release too"
                    )
                    break
