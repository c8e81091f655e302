"""Reads why git could not reach, read or change a repository, and says how to mend it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sovgate.errors import GitError, workflow_permissions
from sovgate.git.repo import printable

if TYPE_CHECKING:
    from sovgate.stages.promote.checkout import GitTarget

LOST_RACE = re.compile(
    r"fetch first|non-fast-forward|stale info|failed to update ref|cannot lock ref|"
    r"incorrect old value|reference already exists|failed to lock|unable to lock"
)
#: A lock of the repository that some Git holds, or one that a killed Git left for ever.
LOCKED = re.compile(r"'([^'\n]*\.lock)': File exists")
_ACCESS = re.compile(
    r"[Pp]ermission denied|[Aa]uthentication failed|could not read (Username|Password)|"
    r"returned error: 40[13]|denied to|not allowed|insufficient permission"
)
_MISSING = re.compile(
    r"does not appear to be a git repository|[Rr]epository .*not found|does not exist|"
    r"not a git repository|returned error: 404"
)
_SILENT = re.compile(r"Could not resolve|unable to access|Connection|[Tt]imed out|hung up")


def refused(doing: str, said: str, target: GitTarget) -> GitError:
    """The error of a git that ended badly; `doing` completes "could not …"."""
    reason, fix = "git", "read what git said, and run it again"
    if "couldn't find remote ref" in said:
        reason = "no-branch"
        fix = f"create the branch {target.branch!r} there, or correct gitops.branch"
    elif lock := LOCKED.search(said):
        reason = "git-locked"
        fix = (
            "if no other Git works in that repository now, a killed one left its lock: remove "
            f"{printable(lock[1], most=1000)!r} there, and run it again"
        )
    elif "Host key verification failed" in said:
        reason, fix = "git-host", "check the host's key and add it to ~/.ssh/known_hosts"
    elif "dubious ownership" in said:
        reason, fix = "git-owner", "reach the repository by ssh or https"
    elif _ACCESS.search(said):
        reason = "git-access"
        fix = "give this identity access: an ssh agent, or SOVGATE_GIT_TOKEN for https"
    elif _MISSING.search(said):
        reason, fix = "no-repository", "correct the gitops repo of the zone"
    elif _SILENT.search(said):
        reason, fix = "git-unreachable", "check that the repository answers, and run it again"
    return GitError(
        f"could not {doing} the Git repository",
        why=f"{target.remote.url}: {printable(said, most=1500)}",
        fix=fix,
        where=target.where,
        reason=reason,
        details=workflow_permissions("contents: write") if reason == "git-access" else (),
    )
