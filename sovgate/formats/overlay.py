"""Which workload of an overlay serves the model: found through its bases, or as configured.

No I/O of its own: `read` gives a file's bytes, or the names in a folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from sovgate.errors import DOCS, ConfigError, GitError
from sovgate.formats.kustomize import KUSTOMIZATIONS, Kustomization, read_kustomization
from sovgate.formats.workload import (
    BATCH,
    KINDS,
    KINDS_IN_WORDS,
    Other,
    Workload,
    read_manifests,
)

MAX_FILES = 200
#: Visits of files by all ways that lead to them: with diamonds the ways double at each step.
MAX_VISITS = 2_000

#: A normal path from the repository's root ("." is the root). Raises ConfigError or GitError.
Read = Callable[[str], bytes | Collection[str]]

_ELSEWHERE = re.compile(
    r"//|\?|::|\.git(/|$)|^[\w.-]+@|^/|^(github|gitlab|bitbucket)\.(com|org)[/:]", re.ASCII
)
#: What stands beside every server, and is never taken for one.
_PLAIN = re.compile(
    r"Service|ConfigMap|Secret|Namespace|ServiceAccount|(Cluster)?Role(Binding)?|Ingress|"
    r"NetworkPolicy|PodDisruptionBudget|HorizontalPodAutoscaler|PersistentVolume(Claim)?|"
    r"CustomResourceDefinition|ServiceMonitor|LimitRange|ResourceQuota"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the project names: `[KIND/][NAMESPACE/]NAME`, and containers; nothing is found out."""

    workload: str | None = None
    containers: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str | None, str | None, str]:
        """Kind, namespace and name. A namespace never begins with a capital letter."""
        first, slash, rest = (self.workload or "").partition("/")
        kind = first if slash and first in KINDS else None
        namespace, _, name = (rest if kind else self.workload or "").rpartition("/")
        return kind, namespace or None, name


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One object that the overlay would hold: a manifest, and the way by which it gets there."""

    workload: Workload
    file: str
    way: tuple[str, ...]

    def __str__(self) -> str:
        by = f" by way of {' and '.join(self.way)}" if self.way else ""
        return f"{self.workload} in {self.file}{by}"


@dataclass(kw_only=True)
class Walk:
    """What an overlay builds on. `unseen` is what could not be looked into, in words."""

    found: list[Occurrence] = field(default_factory=list)
    others: list[tuple[Other, str]] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    #: Paths whose first part kustomize would take for a server if nothing is there.
    servers: set[str] = field(default_factory=set)
    #: Of what is unseen, what kustomize could not build either.
    broken: list[str] = field(default_factory=list)
    kustomizations: dict[str, Kustomization] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    #: Whether what is unseen is so because it lies elsewhere or needs a plugin: nothing to build.
    elsewhere: bool = False


def is_elsewhere(entry: str) -> bool:
    """Whether kustomize would go to the network, or out of the repository, for it."""
    return _ELSEWHERE.search(entry) is not None


def kustomization_in(names: Collection[str], folder: str) -> str:
    """The name of a folder's one kustomization file. Raises ConfigError."""
    there = [name for name in KUSTOMIZATIONS if name in names]
    if len(there) != 1:
        raise ConfigError(
            f"{folder!r} is not a kustomize overlay",
            why=f"it holds {' and '.join(there) or 'no kustomization.yaml'}",
            fix="name the folder of one kustomization.yaml in gitops.path",
            reason="bad-overlay",
        )
    return there[0]


def find(read: Read, folder: str) -> Walk:
    """All that an overlay builds on, counted as often as a way leads to it."""
    walk = Walk()
    known: dict[str, Kustomization | tuple[list[Workload], list[Other]] | str] = {}
    start = posixpath.normpath(folder or ".")
    waiting: list[tuple[str, tuple[str, ...]]] = [(start, ())]
    visits = 0
    while waiting:
        path, way = waiting.pop(0)
        visits += 1
        if visits > MAX_VISITS or (len(known) >= MAX_FILES and path not in known):
            walk.elsewhere = True
            walk.unseen.append(f"more than {MAX_FILES} files")
            break
        if path in way:
            walk.unseen.append(f"{path} builds on itself")
            walk.broken.append(walk.unseen[-1])
            continue
        first = path not in known
        if first:
            known[path] = _look(read, path, walk)
        here = known[path]
        if isinstance(here, str):
            walk.unseen += [here] if first else []
        elif isinstance(here, Kustomization):
            for entry in here.resources:
                if is_elsewhere(entry):
                    walk.elsewhere = True
                    walk.unseen += [f"{entry[:80]!r} lies elsewhere"] if first else []
                else:
                    below = posixpath.normpath(posixpath.join(path, entry))
                    waiting.append((below, (*way, path)))
                    if re.match(r"[^/.]+\.[^/]+/", entry):
                        walk.servers.add(below)
        else:
            workloads, others = here
            # The overlay itself is on every way.
            between = tuple(part for part in way if part != start)
            walk.found += [Occurrence(workload=w, file=path, way=between) for w in workloads]
            walk.others += [(other, path) for other in others] if first else []
    return walk


def _look(
    read: Read, path: str, walk: Walk
) -> Kustomization | tuple[list[Workload], list[Other]] | str:
    """What is at `path`; in words where it cannot be looked into."""
    try:
        if path.split("/", 1)[0] == "..":
            walk.elsewhere = True
            raise ConfigError(f"{path[:80]!r} is outside the repository")
        content = _read_named(read, path, walk)
        if isinstance(content, bytes):
            walk.files[path] = content
            return read_manifests(content, path)
    except ConfigError as error:
        return error.what
    except GitError as error:  # a link, a submodule, a file that is too large
        walk.elsewhere = True
        return error.what
    try:
        name = posixpath.normpath(posixpath.join(path, kustomization_in(content, path)))
        data = read(name)
    except ConfigError as error:
        walk.broken.append(error.what)
        return error.what
    except GitError as error:  # a link, a submodule, a file that is too large
        walk.elsewhere = True
        return error.what
    try:
        walk.files[name] = data if isinstance(data, bytes) else b""
        found = read_kustomization(walk.files[name], name)
    except ConfigError as error:
        walk.elsewhere = True
        return error.what
    walk.kustomizations[path] = found
    if found.makers:
        walk.elsewhere = walk.elsewhere or found.charts
        walk.unseen.append(f"{name} makes resources of its own")
    return found


def _read_named(read: Read, path: str, walk: Walk) -> bytes | Collection[str]:
    try:
        return read(path)
    except ConfigError as error:
        if path in walk.servers:
            walk.elsewhere = True
        else:
            walk.broken.append(error.what)
        raise


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The workload that serves the model, with all its containers, and those that are asked for.

    `missing` are containers that no manifest has: a patch or a component may add them. `believed`:
    its manifest cannot be seen from here.
    """

    workload: Workload
    target: Workload
    missing: tuple[str, ...] = ()
    believed: bool = False


def choose(walk: Walk, folder: str, asked: Asked) -> Chosen:
    """The one workload and its containers that the patch is for.

    Where both are configured, bases that cannot be seen from here are believed. Raises ConfigError
    "no-deployment", or "overlay-broken" where kustomize could not build it either.
    """
    if walk.broken:
        raise ConfigError(
            f"the overlay {folder!r} does not build",
            why=walk.broken[0],
            fix="correct the path in the kustomization that names it, or commit what it names; "
            f"`kubectl kustomize {folder}` says the same",
            reason="overlay-broken",
        )
    kind, namespace, name = asked.parts
    found = walk.found
    if asked.workload is not None:
        found = [
            o
            for o in found
            if o.workload.name == name
            and kind in (None, o.workload.kind)
            and namespace in (None, o.workload.namespace)
        ]
        if not found and walk.unseen and asked.containers:
            believed = Workload(
                kind=kind or "Deployment",
                name=name,
                namespace=namespace,
                containers=asked.containers,
            )
            return Chosen(workload=believed, target=believed, believed=True)
    elif walk.unseen:
        _unclear(
            folder,
            f"not everything can be seen: {walk.unseen[0]}",
            "name both in the zone's gitops: deployment: NAME and container: NAME",
        )
    elif any(o.workload.kind not in BATCH for o in found):
        found = [o for o in found if o.workload.kind not in BATCH]
    if not found:
        _nothing(walk, folder, asked)
    if len(found) > 1:
        _several(found, folder, asked)
    return _containers(found[0].workload, folder, asked)


def _unclear(folder: str, why: str, fix: str) -> NoReturn:
    raise ConfigError(
        f"it is not clear which workload in {folder!r} serves the model",
        why=why,
        fix=fix,
        reason="no-deployment",
    )


def _listed(words: Sequence[str], most: int = 5) -> str:
    shown = list(dict.fromkeys(words))
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def _nothing(walk: Walk, folder: str, asked: Asked) -> NoReturn:
    """No workload fits: says what was found in its place, and what would help."""
    kind, _, name = asked.parts
    others = [(o, file) for o, file in walk.others if asked.workload is None or o.name == name]
    for other, file in others:
        if other.kind in KINDS and kind in (None, other.kind):
            _unclear(
                folder,
                f"the patch would match 0 objects: {other.kind} {other.name} in {file} has "
                f"apiVersion {other.version[:80]}; sovgate pins {KINDS[other.kind]}",
                f"write apiVersion: {KINDS[other.kind]} in {file}",
            )
    for other, _ in others:
        if not _PLAIN.fullmatch(other.kind):
            _unclear(
                folder,
                f"{other.kind} {other.name}: sovgate pins {KINDS_IN_WORDS} only",
                f"serve the model by one of those, as {DOCS}/serve.md shows",
            )
    there = _listed([str(o.workload) for o in walk.found])
    unseen = f"; {walk.unseen[0]}" if walk.unseen else ""
    if asked.workload is not None and there:
        _unclear(
            folder,
            f"it holds no workload named {asked.workload!r}; it holds {there}{unseen}",
            "name one of those in the zone's gitops: deployment: NAME",
        )
    if walk.unseen:
        _unclear(
            folder,
            f"it holds no workload named {asked.workload!r}{unseen}",
            "name both in the zone's gitops: deployment: NAME and container: NAME",
        )
    objects = _listed([f"{o.kind} {o.name}" for o, _ in walk.others]) or "nothing"
    named = f" named {asked.workload!r}" if asked.workload else ""
    _unclear(
        folder,
        f"it holds no workload{named} that sovgate can pin; it holds {objects}",
        f"commit a Deployment that the overlay builds on first; {DOCS}/serve.md has one",
    )


def _several(found: list[Occurrence], folder: str, asked: Asked) -> NoReturn:
    first = found[0].workload
    if all(o.workload.is_same(first) for o in found):
        _unclear(
            folder,
            f"the patch would match {len(found)} objects: {_listed([str(o) for o in found])}",
            "let the overlay build on it once, or promote to the overlay of each copy",
        )
    same = {o.workload.name for o in found}
    if asked.workload is not None or len(same) == 1:
        names = [
            "/".join(part for part in (o.workload.kind, o.workload.namespace, first.name) if part)
            for o in found
        ]
        fix = f"name one of them in the zone's gitops: deployment: {_listed(names)}"
        named = f" named {asked.workload!r}" if asked.workload else ""
        _unclear(folder, f"it holds {len(found)} workloads{named}", fix)
    _unclear(
        folder,
        f"it holds {len(found)} workloads: {_listed([str(o.workload) for o in found])}",
        "name it in the zone's gitops: deployment: NAME and container: NAME",
    )


def _containers(workload: Workload, folder: str, asked: Asked) -> Chosen:
    if not asked.containers and len(workload.containers) != 1:
        _unclear(
            folder,
            f"{workload} has {len(workload.containers)} containers: {_listed(workload.containers)}",
            "name those that open the model in the zone's gitops: container: NAME, or containers: "
            "[NAME, NAME]",
        )
    wanted = asked.containers or workload.containers
    return Chosen(
        workload=workload,
        target=only(workload, wanted),
        missing=tuple(name for name in wanted if name not in workload.all_containers),
    )


def only(workload: Workload, names: Collection[str]) -> Workload:
    """The workload with those of its containers alone."""
    return replace(
        workload,
        containers=tuple(name for name in workload.containers if name in names),
        init_containers=tuple(name for name in workload.init_containers if name in names),
    )


def no_container(folder: str, workload: Workload, missing: Sequence[str]) -> NoReturn:
    """Raises ConfigError "no-deployment": a container that is asked for is nowhere."""
    _unclear(
        folder,
        f"{workload} has no container named {missing[0]!r}; it has "
        f"{_listed(workload.all_containers) or 'none'}",
        "name one of those in the zone's gitops: container: NAME",
    )
