"""What the branch that drives a zone said before: its own line of commits. Touches Git alone.

A branch says one thing after the other along its first parents; what lies beside them, on the
branches that were merged, never drove anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sovgate.errors import GitError
from sovgate.git.repo import Git

#: How deep the history is fetched, one after the other, until it is deep enough.
DEPTHS = (50, 1_000, 10_000)
#: Commits of an overlay that are looked at in one run.
MAX_CHANGES = 2_000
#: How far the clocks of those who commit may be behind ours, in seconds; and how many commits in
#: a row must be older, so that one wrong clock hides nothing.
SLACK, IN_A_ROW = 86_400, 10


def changes(
    git: Git,
    fetch: Callable[[int], None],
    tip: str,
    folder: str,
    *,
    since: str | None,
    after: datetime,
) -> list[str]:
    """The commits up to `tip` that changed `folder`, the oldest first; `fetch(depth)` brings more.

    They begin after the commit `since`; where that is None, with the history itself, or with what
    was committed at `after`. A branch that was written anew, and so has no `since`, tells nothing
    but what it says now.

    Raises GitError, "history-too-long" where the beginning is not among the last 10,000 commits.
    """
    for depth in DEPTHS:
        fetch(depth)
        beginning = _beginning(git, tip, since)
        if beginning is not None:
            return _changed(git, f"{beginning}..{tip}", folder)
        if _complete(git) or _older(git, tip, after):
            return _changed(git, tip, folder) if since is None else [tip]
    raise _too_long(f"the branch has more than {DEPTHS[-1]} commits since then")


def has(git: Git, fetch: Callable[[int], None], tip: str, commit: str) -> bool:
    """Whether `commit` led to `tip`. Where the history is too long to tell, it may have: True."""
    for depth in DEPTHS:
        fetch(depth)
        if _beginning(git, tip, commit) is not None:
            return True
        if _complete(git):
            return False
    return True


def _beginning(git: Git, tip: str, since: str | None) -> str | None:
    """`since`, where it is there and `tip` follows it."""
    if since is None or git.call("cat-file", "-e", f"{since}^{{commit}}").code != 0:
        return None
    return since if git.call("merge-base", "--is-ancestor", since, tip).code == 0 else None


def _complete(git: Git) -> bool:
    return git.run("rev-parse", "--is-shallow-repository").strip() == b"false"


def _older(git: Git, tip: str, after: datetime) -> bool:
    """Whether what was fetched reaches back to before `after`."""
    lines = git.run("log", "--first-parent", "--format=%ct", tip).split()
    last = [int(line) for line in lines[-IN_A_ROW:]]
    return len(last) == IN_A_ROW and max(last) < after.timestamp() - SLACK


def _changed(git: Git, which: str, folder: str) -> list[str]:
    arguments = ["log", "--first-parent", "--reverse", "--format=%H", which]
    lines = git.run(*arguments, "--", folder).decode("ascii", "replace").split()
    if len(lines) > MAX_CHANGES:
        raise _too_long(f"the overlay was changed {len(lines)} times since then")
    return lines


def _too_long(why: str) -> GitError:
    return GitError(
        "whether earlier proposals were merged cannot be told",
        why=f"{why}; no more is looked through",
        fix="promote what is wanted now with --again: it starts from what the branch says today",
        reason="history-too-long",
    )
