"""What a pin makes of an overlay: the new bytes, judged before any commit (RULES 42).

Reads the repository's objects by `sovgate.git`, and builds the result in the same private folder.
"""

from __future__ import annotations

import hashlib
import posixpath
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import ConfigError, GitError, Where
from sovgate.formats import kustomize, overlay, rendered
from sovgate.formats import workload as workloads
from sovgate.formats.kustomize import RELEASE_FILE, Pin
from sovgate.formats.overlay import Asked, Chosen, Walk
from sovgate.formats.workload import Workload
from sovgate.git.repo import printable
from sovgate.git.tree import Item, Trees
from sovgate.stages.promote import render
from sovgate.stages.promote.asked import GitTarget
from sovgate.stages.promote.description import difference


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The new bytes of the files that change, and the difference for a person.

    `release_file` is the SHA-256 of the release file as it is to be. `unchecked` says in words what
    was not checked of the overlay that would be committed; `beside` what else it says of what runs,
    which stays as it is (RULES 42).
    """

    changes: dict[str, bytes]
    release_file: str
    diff: str
    unchecked: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def unchanged(self) -> bool:
        return not self.changes


class Planner:
    """Plans for one target. `private` is a folder of ours, for builds."""

    def __init__(self, trees: Trees, target: GitTarget, private: Path) -> None:
        self._trees = trees
        self._target = target
        self._folder = target.path or "."
        self._parts = [] if self._folder == "." else target.path.split("/")
        self._private = private
        self._built: dict[frozenset[tuple[str, bytes]], bytes] = {}

    def blob(self, item: Item, name: str) -> bytes:
        """A file of the overlay. Raises GitError."""
        return self._trees.blob(item, posixpath.join(self._folder, name), most=kustomize.MAX_BYTES)

    def plan(self, pin: Pin, tip: str) -> Plan:
        """What would change at the commit `tip`.

        Raises ConfigError: "bad-yaml", "bad-overlay", "no-deployment", "overlay-broken",
        "pin-overridden"; GitError: "overlay-taken".
        """
        here = self._trees.chain(tip, self._parts)[-1]
        name = overlay.kustomization_in(here, self._folder)
        old = {key: self.blob(here[key], key) for key in (name, RELEASE_FILE) if key in here}
        shown = posixpath.join(self._folder, name)
        # An error in the overlay's own file is told as it is: naming a workload would not help.
        try:
            kustomization = kustomize.ensure_patch(old[name], shown)
            kustomize.read_kustomization(old[name], shown)
        except ConfigError as error:
            error.fix = error.fix or f"mend {shown} in the repository, and run it again"
            raise
        work = _Work(self, pin, tip, {name: kustomization})
        claimed = workloads.read_patch(old[RELEASE_FILE]) if RELEASE_FILE in old else None
        if RELEASE_FILE in old:
            _require_ours(claimed, pin, self._folder)
        target = work.target()
        if claimed is not None:
            _require_kept(claimed, target, work.walk, self._folder)
        patch = workloads.release_patch(pin, target)
        new = {name: kustomization, RELEASE_FILE: patch}
        unchecked = work.check(new, target)
        changes = {key: data for key, data in new.items() if data != old.get(key)}
        diff = difference(self._folder, old, changes)
        return Plan(
            changes=changes,
            release_file=hashlib.sha256(patch).hexdigest(),
            diff=diff,
            unchecked=unchecked,
            beside=work.beside(),
        )

    def read(self, tip: str, path: str) -> bytes | Collection[str]:
        item = self._trees.at(tip, path)
        if isinstance(item, Item):
            return self._trees.blob(item, path, most=kustomize.MAX_BYTES)
        return item.keys()

    def build(self, files: Mapping[str, bytes]) -> bytes:
        """As `render.build`; the same files are built once."""
        key = frozenset(files.items())
        if key not in self._built:
            self._built = {key: render.build(files, self._folder, self._private)}
        return self._built[key]

    @property
    def target(self) -> GitTarget:
        return self._target


class _Work:
    """One plan in the making: what the overlay builds on, and how it looks when it is built."""

    def __init__(self, planner: Planner, pin: Pin, tip: str, edited: dict[str, bytes]) -> None:
        self._planner, self._pin, self._edited = planner, pin, edited
        self._folder = planner.target.path or "."
        self._read = lambda path: planner.read(tip, path)
        self.walk: Walk = overlay.find(self._read, self._folder)
        self._believed = False

    def target(self) -> Workload:
        """The workload with the containers that are pinned."""
        asked = Asked(
            workload=self._planner.target.deployment, containers=self._planner.target.containers
        )
        chosen = overlay.choose(self.walk, self._folder, asked)
        self._believed = chosen.believed
        return chosen.target if not chosen.missing else self._complete(chosen, asked)

    def _complete(self, chosen: Chosen, asked: Asked) -> Workload:
        """A container that only a patch or a component adds is seen in what is rendered."""
        bare = overlay.only(chosen.workload, ())
        probe = {**self._edited, RELEASE_FILE: workloads.release_patch(self._pin, bare)}
        try:
            found = rendered.carriers(self._planner.build(self._files(probe)), self._pin)
        except render.BrokenError as error:
            raise self._broken(str(error), bare) from error
        except render.CannotBuildError:
            overlay.no_container(self._folder, chosen.workload, chosen.missing)
        seen = found[0].workload if len(found) == 1 else chosen.workload
        missing = [name for name in asked.containers if name not in seen.all_containers]
        if missing:
            whole = Workload(
                kind=bare.kind,
                name=bare.name,
                namespace=bare.namespace,
                containers=seen.containers,
                init_containers=seen.init_containers,
            )
            overlay.no_container(self._folder, whole, missing)
        wanted = overlay.only(seen, asked.containers)
        return Workload(
            kind=bare.kind,
            name=bare.name,
            namespace=bare.namespace,
            containers=wanted.containers,
            init_containers=wanted.init_containers,
        )

    def _files(self, new: Mapping[str, bytes]) -> dict[str, bytes]:
        files = render.gather(self.walk, self._read)
        there = {posixpath.normpath(posixpath.join(self._folder, n)): d for n, d in new.items()}
        return {**files, **there}

    def check(self, new: Mapping[str, bytes], target: Workload) -> tuple[str, ...]:
        """That it builds and pins what it says; what was not checked. Raises ConfigError."""
        later = self._later()
        named = tuple(
            f"{field} in {place} runs after sovgate's patch and can change what it says"
            for field, place in later
        )
        try:
            made = self._planner.build(self._files(new))
        except render.CannotBuildError as error:
            self._require_accepted(later)
            return (f"the overlay was not built: {error}", *self._as_believed(target), *named)
        except render.BrokenError as error:
            raise self._broken(str(error), target) from error
        differs = list(rendered.differences(made, self._pin, target))
        if differs:
            raise ConfigError(
                f"the overlay {self._folder!r} would not run what sovgate pins",
                why=differs[0],
                fix=_fix_of(later, target, differs[0]),
                where=self._planner.target.where,
                reason="pin-overridden",
                details=(*differs[1:10], *named),
            )
        return tuple(f"{text}; what is rendered now is right" for text in named)

    def _as_believed(self, target: Workload) -> tuple[str, ...]:
        """What was taken for true of a workload whose manifest is not in the repository."""
        if not self._believed:
            return ()
        names = ", ".join(target.containers)
        return (
            f"{names} of {target}: taken for main containers, since the manifest is not in this "
            "repository; an init container would not be pinned",
        )

    def _later(self) -> list[tuple[str, str]]:
        """(field, place) of what kustomize runs after our patch."""
        own = self.walk.kustomizations.get(posixpath.normpath(self._folder))
        return self._placed(own.later) if own else []

    def beside(self) -> tuple[str, ...]:
        """What the overlay's own kustomization says of what runs, and a pin leaves as it is."""
        own = self.walk.kustomizations.get(posixpath.normpath(self._folder))
        return tuple(
            f"{field} in {place}: it stays as it is"
            + (", for sovgate pins the model and no image" if field == "images" else "")
            for field, place in self._placed(own.beside if own else ())
        )

    def _placed(self, fields: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
        (name,) = self._edited
        shown = posixpath.normpath(posixpath.join(self._folder, name))
        return [(field, str(Where(path=shown, line=line))) for field, line in fields]

    def _require_accepted(self, later: list[tuple[str, str]]) -> None:
        for field, place in later:
            if field not in self._planner.target.accept:
                raise ConfigError(
                    f"{field} in the overlay {self._folder!r} can change what sovgate pins",
                    why=f"{place}: kustomize runs it after `patches:`, and the result cannot be "
                    "built here to see it",
                    fix="move it into the base, which is built first; if it "
                    f"changes no variable of the model, add gitops.accept: [{field}]",
                    where=self._planner.target.where,
                    reason="pin-overridden",
                )

    def _broken(self, said: str, target: Workload) -> ConfigError:
        lines = [line.strip() for line in said.split("\n") if line.strip()]
        first = lines[0] if lines else "nothing"
        return ConfigError(
            f"the overlay {self._folder!r} does not build with this release",
            why=f"kustomize says: {printable(first, most=1500)}",
            fix=_fix_of_broken(said, target, self._folder, self._planner.target.branch),
            where=self._planner.target.where,
            reason="overlay-broken",
            details=tuple(printable(line, most=500) for line in lines[1:10]),
        )


def _fix_of_broken(said: str, target: Workload, folder: str, branch: str) -> str:
    if "no matches for Id" in said and target.name in said:
        return (
            f"find what in {folder} takes {target} away before sovgate's patch, and keep it; or "
            "name what serves the model in the zone's gitops: deployment: NAME"
        )
    if "multiple matches for Id" in said:
        return f"let the overlay build on {target} once"
    return f"mend it until `kubectl kustomize {folder}` builds in a checkout of {branch}"


def _fix_of(later: list[tuple[str, str]], target: Workload, differs: str) -> str:
    if differs.endswith("has no image"):
        return (
            "another patch renames or removes that container: name those that `kubectl kustomize` "
            "shows in the zone's gitops: containers: [NAME]"
        )
    if later:
        return (
            f"let {later[0][0]} change nothing of {target} that sovgate sets, or move it into the "
            "base, which is built first"
        )
    return (
        f"see with `kubectl kustomize` what the overlay makes of {target}; let nothing else set "
        "its MODEL_* variables"
    )


def _require_ours(claimed: workloads.Pinned | None, pin: Pin, folder: str) -> None:
    """RULES 42: a file that pins something else is never replaced. Raises GitError."""
    model = pin.release.partition("/")[0]
    if claimed is None:
        path = posixpath.normpath(posixpath.join(folder, RELEASE_FILE))
        raise GitError(
            f"{RELEASE_FILE} in the overlay {folder!r} was not written by sovgate, or was changed",
            why="it does not say which release of which model it pins, for which zone",
            fix=f"see what it is for; if nothing needs it: git rm {shlex.quote(path)}, take its "
            f"entry `- path: {RELEASE_FILE}` out of `patches:` there, commit and push, and run it "
            "again",
            reason="overlay-taken",
        )
    if (claimed.model, claimed.zone) == (model, pin.zone):
        return
    other = "model" if claimed.model != model else "zone"
    who = model if other == "model" else f"zone {pin.zone}"
    own = _own_folder(folder, model if other == "model" else None, pin.zone)
    raise GitError(
        f"the overlay {folder!r} pins another {other}",
        why=f"{RELEASE_FILE} pins {printable(claimed.release, most=300)} in zone "
        f"{printable(claimed.zone, most=100)} for {printable(str(claimed.workload), most=300)}; "
        f"this is {pin.release.partition('@')[0]} in zone {pin.zone}",
        fix=f"give {who} an overlay of its own: put its kustomization, with what that builds on, "
        f"into {own}, and write that in zones.{pin.zone}.gitops.path; if nothing needs the other "
        f"pin any more, remove {RELEASE_FILE} and its entry under `patches:`",
        reason="overlay-taken",
    )


def _own_folder(folder: str, model: str | None, zone: str) -> str:
    """Where an overlay of its own would lie, as `init` lays them out; `model` None for a zone."""
    above, last = posixpath.split(posixpath.normpath(folder))
    if model is None:
        return posixpath.join(above, zone)
    if posixpath.basename(above) == "overlays":  # beside its base
        return posixpath.join(posixpath.dirname(above), model, "overlays", last)
    return posixpath.join(above, model, *([] if last == "." else [last]))


def _require_kept(claimed: workloads.Pinned, target: Workload, walk: Walk, folder: str) -> None:
    """What the file pins and the overlay still has stays pinned. Raises GitError."""
    was = claimed.workload
    there = [o.workload for o in walk.found if o.workload.is_same(was)]
    if was.is_same(target):
        kept = {name for w in there for name in w.all_containers} if not walk.unseen else None
        lost = [
            name
            for name in was.all_containers
            if name not in target.all_containers and (kept is None or name in kept)
        ]
    else:
        lost = list(was.all_containers) if there or walk.unseen else []
    if lost:
        raise GitError(
            f"the overlay {folder!r} pins another workload or container",
            why=f"{RELEASE_FILE} pins {printable(str(was), most=300)}, container "
            f"{printable(', '.join(lost), most=300)}; this is {target}, container "
            f"{', '.join(target.all_containers)}",
            fix="name all containers in the zone's gitops: containers: [NAME, NAME]"
            if was.is_same(target)
            else f"name {was} in the zone's gitops: deployment: NAME; if the other workload "
            f"replaces it, remove {RELEASE_FILE} and its entry under `patches:`",
            reason="overlay-taken",
        )
