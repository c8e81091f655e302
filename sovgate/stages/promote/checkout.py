"""A release pinned in a zone's overlay by one Git commit, pushed so that nothing is lost or mixed.

Touches a private temporary folder and the remote repository, by `sovgate.git`; no store, no key.
RULES 26: the tree is read and written object by object, there is never a checkout.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from sovgate import files
from sovgate.errors import ConfigError, GitError, VerificationFailed, Where
from sovgate.formats import kustomize, overlay, pinned, workload
from sovgate.formats.kustomize import RELEASE_FILE, Pin
from sovgate.git.repo import Git, printable, workspace
from sovgate.git.tree import Item, Trees
from sovgate.git.url import check_branch
from sovgate.stages.promote import past
from sovgate.stages.promote.asked import GitTarget
from sovgate.stages.promote.description import proposal_branch
from sovgate.stages.promote.neighbours import Neighbours
from sovgate.stages.promote.planning import Plan, Planner
from sovgate.stages.promote.refusal import LOST_RACE, declined, refused, said_by
from sovgate.stages.promote.state import OverlayState, Pushed

MAX_SECONDS = 300.0  # for losing races to other pushes
LOCKED_SECONDS = 60.0  # for a lock that is never given back: a killed Git may have left it

_BASE, _PROPOSAL, _PAST = "refs/sovgate/base", "refs/sovgate/proposal", "refs/sovgate/past"


@contextlib.contextmanager
def opened(target: GitTarget, others: Mapping[str, str] | None = None) -> Iterator[Checkout]:
    """The target's repository, fetched shallowly into a private folder that is removed after.

    `others` are the paths of the project's other zones on the same branch of it, by zone.
    Raises GitError, ConfigError, DiskError.
    """
    check_branch(target.branch, where=target.where)
    _check_path(target)
    with workspace() as folder:
        checkout = Checkout(Git(folder, target.remote), target, others or {})
        checkout.fetch()
        yield checkout


def _check_path(target: GitTarget) -> None:
    if target.path in ("", "."):
        return
    try:
        files.check_name(target.path)
        bad = any(part.lower().startswith(".git") for part in target.path.split("/"))
    except VerificationFailed:
        bad = True
    if bad:
        raise ConfigError(
            f"{target.path[:80]!r} is not a folder inside the repository",
            fix="name the overlay relative to the repository's root, for example overlays/eu",
            where=target.where,
            reason="bad-path",
        )


@contextlib.contextmanager
def _placed(where: Where | None) -> Iterator[None]:
    """Errors of the repository say which line of the project file named it."""
    try:
        yield
    except (ConfigError, GitError) as error:
        error.where = error.where or where
        raise


class Checkout:
    """One private copy of the target's branch. Made by `opened`."""

    def __init__(self, git: Git, target: GitTarget, others: Mapping[str, str]) -> None:
        self._git = git
        self._trees = Trees(git)
        self._target = target
        self._folder = target.path or "."
        self._parts = [] if self._folder == "." else target.path.split("/")
        self._planner = Planner(self._trees, target, git.folder)
        self._neighbours = Neighbours(self._trees, target, others)
        git.init()

    def fetch(self) -> None:
        """Bring the branch's tip. Raises GitError."""
        self._fetch(self._target.branch, _BASE)

    def read_overlay(self) -> OverlayState:
        """What the overlay says at the last fetched tip. Raises GitError, ConfigError."""
        with _placed(self._target.where):
            return self._read_overlay(_BASE, self._target.branch)

    def read_past(
        self, state: OverlayState, *, since: str | None, after: datetime
    ) -> tuple[OverlayState, ...]:
        """What the overlay said, one change after the other, the oldest first.

        From the commit `since` on, or where that is None, from the time `after`. Raises GitError
        ("history-too-long").
        """
        with _placed(self._target.where):
            commits = past.changes(
                self._git, self._deepen, state.tip, self._folder, since=since, after=after
            )
            return tuple(self.read_at(commit, state) for commit in commits)

    def has(self, commit: str) -> bool:
        """Whether the branch has that commit; also where that cannot be told. Raises GitError."""
        with _placed(self._target.where):
            return past.has(self._git, self._deepen, self._trees.resolve(_BASE), commit)

    def read_at(self, commit: str, state: OverlayState) -> OverlayState:
        """What it said at a commit that was fetched. What cannot be read drove nothing."""
        try:
            return self._read_overlay(commit, state.branch)
        except (ConfigError, GitError):
            return OverlayState(tip=commit, branch=state.branch, pinned=None, release_file=None)

    def builds(self, pin: Pin, commit: str) -> bool:
        """Whether the overlay at a commit that was fetched builds with that pin, and says it."""
        try:
            self._planner.plan(pin, commit)
        except (ConfigError, GitError):
            return False
        return True

    def restoring(self, commit: str) -> str:
        """The command that brings back the release file as it was at a commit."""
        return f"git checkout {commit} -- {shlex.quote('/'.join([*self._parts, RELEASE_FILE]))}"

    def plan(self, pin: Pin) -> Plan:
        """What would change at the last fetched tip. Raises ConfigError, GitError."""
        with _placed(self._target.where):
            return self._plan(pin, self._trees.resolve(_BASE))

    def push(
        self,
        pin: Pin,
        first: OverlayState,
        message: str,
        before_commit: Callable[[], None],
        *,
        proposal: str | None = None,
    ) -> Pushed:
        """Commit the pin and push it; safe to run again after any death.

        `proposal` names the branch of a pull request, by default after the release.

        `first` is what the caller's decision rests on: where the zone's own release has changed
        since, GitError "release-changed". `before_commit` is called just before each commit object
        is made, and may raise. Raises GitError, ConfigError.
        """
        with _placed(self._target.where):
            if self._target.via == "pull-request":
                branch = proposal or proposal_branch(self._target.zone, pin.release)
                return self._propose(pin, first, message, before_commit, branch)
            return self._advance(pin, first, message, before_commit)

    def proposed(self, pin: Pin, branch: str) -> OverlayState | None:
        """The proposal, if its branch is there. Raises GitError "branch-exists", as `push` does."""
        with _placed(self._target.where):
            return self._proposed(pin, branch)

    # -- reading

    def _deepen(self, depth: int) -> None:
        self._fetch(self._target.branch, _PAST, depth=depth)

    def _fetch(self, branch: str, ref: str, *, depth: int = 1) -> None:
        refspec = f"+refs/heads/{branch}:{ref}"
        arguments = [
            "fetch",
            "--quiet",
            f"--depth={depth}",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--",
            self._target.remote.url,
            refspec,
        ]
        done = self._git.call(*arguments, reaches_remote=True)
        if "mismatched algorithms" in done.stderr and not self._git.sha256:
            self._git.init("sha256")
            done = self._git.call(*arguments, reaches_remote=True)
        if done.code != 0:
            raise refused("fetch from", done.stderr, self._target, self._git.ignored())

    def _read_overlay(self, ref: str, branch: str) -> OverlayState:
        tip = self._trees.resolve(ref)
        here = self._trees.chain(tip, self._parts)[-1]
        item = here.get(RELEASE_FILE)
        data = self._planner.blob(item, RELEASE_FILE) if item else None
        claimed = workload.read_patch(data) if data is not None else None
        return OverlayState(
            tip=tip,
            branch=branch,
            pinned=workload.pinned_release(data) if data is not None else None,
            release_file=hashlib.sha256(data).hexdigest() if data is not None else None,
            named=pinned.named(data) if data is not None else frozenset(),
            live=self._is_live(here),
            zone=claimed.zone if claimed is not None else None,
        )

    def _is_live(self, here: Mapping[str, Item]) -> bool:
        try:
            name = overlay.kustomization_in(here, self._folder)
            data = self._planner.blob(here[name], name)
            return kustomize.ensure_patch(data, name) == data
        except (ConfigError, GitError):
            return True  # what cannot be read is refused where it is to be edited

    def _plan(self, pin: Pin, tip: str) -> Plan:
        plan = self._planner.plan(pin, tip)
        remarks = self._neighbours.check(tip)
        return replace(plan, unchecked=(*plan.unchecked, *remarks)) if remarks else plan

    # -- writing

    @property
    def _identity(self) -> tuple[str, str]:
        return self._target.author or self._git.user()

    def _commit(self, plan: Plan, tip: str, message: str) -> str:
        tree = self._trees.replace(tip, self._parts, plan.changes)
        return self._trees.commit(tree, tip, message, self._identity)

    def _advance(
        self, pin: Pin, first: OverlayState, message: str, before_commit: Callable[[], None]
    ) -> Pushed:
        """Commit onto the branch; where others were faster, onto what they left."""
        end = time.monotonic() + MAX_SECONDS
        locked = time.monotonic() + LOCKED_SECONDS
        mine: set[str] = set()
        refusal: GitError | None = None
        raced = False
        while True:
            state = self._read_overlay(_BASE, self._target.branch)
            plan = self._plan(pin, state.tip)
            if plan.unchanged:
                return _there(state, already=state.tip not in mine, attempts=len(mine))
            self._same_release(first, state)
            if refusal is not None and (not raced or time.monotonic() > end):
                raise refusal
            if refusal is None or refusal.reason != "git-locked":
                locked = time.monotonic() + LOCKED_SECONDS
            elif time.monotonic() > locked:
                raise refusal
            before_commit()
            commit = self._commit(plan, state.tip, message)
            mine.add(commit)
            refusal = self._push(commit, state.branch)
            if refusal is None:
                return Pushed(
                    commit=commit,
                    release_file=plan.release_file,
                    branch=state.branch,
                    already=False,
                    attempts=len(mine),
                )
            if refusal.reason in ("git-access", "push-refused"):
                raise refusal
            # Lost a race, or lost the answer: what the remote holds now says which.
            raced = LOST_RACE.search(said_by(refusal)) is not None
            _pause(len(mine))
            self.fetch()

    def _same_release(self, first: OverlayState, now: OverlayState) -> None:
        if now.release_file != first.release_file:
            raise GitError(
                "the zone's release in Git changed while this ran",
                why=f"it was {printable(first.pinned or 'none', most=300)}, "
                f"it is {printable(now.pinned or 'none', most=300)}",
                fix="see what was promoted, and run it again if this release is still wanted",
                reason="release-changed",
            )

    def _propose(
        self,
        pin: Pin,
        first: OverlayState,
        message: str,
        before_commit: Callable[[], None],
        branch: str,
    ) -> Pushed:
        """Commit onto a new branch of our own, for a person to merge."""
        state = self._read_overlay(_BASE, self._target.branch)
        plan = self._plan(pin, state.tip)
        if plan.unchanged:
            return _there(state, already=True)
        self._same_release(first, state)
        if there := self._proposed(pin, branch):
            return _there(there, already=True)
        before_commit()
        commit = self._commit(plan, state.tip, message)
        refusal = self._push(commit, branch, new=True)
        if refusal is None:
            return Pushed(
                commit=commit,
                release_file=plan.release_file,
                branch=branch,
                already=False,
                attempts=1,
            )
        if there := self._proposed(pin, branch):
            return _there(there, already=there.tip != commit, attempts=1)
        raise refusal

    def _proposed(self, pin: Pin, branch: str) -> OverlayState | None:
        """The proposal where it is on the remote and pins exactly this."""
        ref = f"refs/heads/{branch}"
        done = self._git.call(
            "ls-remote", "--refs", "--", self._target.remote.url, ref, reaches_remote=True
        )
        if done.code != 0:
            raise refused("read", done.stderr, self._target, self._git.ignored())
        lines = done.stdout.decode("utf-8", "replace").split("\n")
        if ref not in [line.partition("\t")[2] for line in lines]:
            return None
        self._fetch(branch, _PROPOSAL)
        state = self._read_overlay(_PROPOSAL, branch)
        if self._plan(pin, state.tip).unchanged:
            return state
        ours = state.says == pin.release
        raise GitError(
            f"the branch {branch} is there already and pins "
            + ("this release otherwise" if ours else "something else"),
            why="somebody edited it, or what this overlay is to say changed since it was proposed"
            if ours
            else f"it pins {printable(state.pinned or 'nothing', most=300)}",
            fix=("close" if ours else "merge or close")
            + f" its pull request, delete the branch {branch}, and run it again",
            reason="branch-exists",
        )

    def _push(self, commit: str, branch: str, *, new: bool = False) -> GitError | None:
        """None where the remote took it. A push of one ref is atomic: all of it or nothing."""
        # Never forced; the lease of a new branch is that it is not there.
        lease = [f"--force-with-lease=refs/heads/{branch}:"] if new else []
        try:
            done = self._git.call(
                "push",
                "--porcelain",
                "--no-verify",
                "--no-signed",
                "--no-follow-tags",
                "--recurse-submodules=no",
                *lease,
                "--",
                self._target.remote.url,
                f"{commit}:refs/heads/{branch}",
                reaches_remote=True,
            )
        except GitError as error:
            if error.reason == "git-timeout":
                return error
            raise
        if done.code == 0:
            return None
        said = f"{self._git.printable(done.stdout)}\n{done.stderr}"
        if re.search(r"^!\t", said, re.MULTILINE) and not LOST_RACE.search(said):
            return declined(said, branch, self._identity, new=new)
        return refused("push to", said, self._target, self._git.ignored())


def _there(state: OverlayState, *, already: bool, attempts: int = 0) -> Pushed:
    """What a branch has that pins the release as it was planned."""
    return Pushed(
        commit=state.tip,
        release_file=str(state.release_file),
        branch=state.branch,
        already=already,
        attempts=attempts,
    )


def _pause(attempts: int) -> None:
    """Full jitter: the more often the race was lost, the wider they spread."""
    time.sleep(secrets.randbelow(1000) / 1000 * min(2.0, 0.05 * 2 ** min(attempts, 6)))
