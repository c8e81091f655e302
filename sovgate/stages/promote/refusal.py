"""Reads why git could not reach, read or change a repository, and says how to mend it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sovgate.errors import GitError, workflow_permissions
from sovgate.git.repo import Ignored, printable

if TYPE_CHECKING:
    from sovgate.stages.promote.asked import GitTarget

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
#: As OpenSSL, GnuTLS, NSS, Secure Transport, wolfSSL and rustls say it, through curl.
_TLS = re.compile(
    r"SSL certificate (problem|OpenSSL verify|verification)|invalid peer certificate|"
    r"server (certificate )?verification failed|[Cc]ertificate issuer is not recognized|"
    r"ASN no signer error|SSL: (no alternative )?certificate subject name"
)
_OTHER_NAME = re.compile(r"certificate subject name|NotValidForName")
_OTHER_TIME = re.compile(r"(?i)certificate (has )?expired|not yet (valid|activated)|NotValidYet")
_PROXY = re.compile(r"(?i)\bproxy\b|CONNECT tunnel failed")
_SILENT = re.compile(r"Could not resolve|unable to access|Connection|[Tt]imed out|hung up")

#: What a server's own words ask for, and what then helps; the first that fits.
_RULES = (
    (
        re.compile(
            r"\bsigned|\bunsigned|\bsignatures?\b|\bGPG\b|\bgpg|\bverified signature", re.IGNORECASE
        ),
        "sovgate does not sign commits: free {identity} from that rule on {branch!r} at the "
        "server, or promote to a repository without it",
    ),
    (
        re.compile(
            r"\bmessages?\b|\btickets?\b|\bissue (key|number|id)|\bjira\b|\bsubject line|"
            r"\bconventional commits?\b",
            re.IGNORECASE,
        ),
        "set gitops.commit.message of the zone to a line that the server accepts, for example "
        'message: "OPS-17: {{subject}}"; or let its rule accept messages that begin with '
        "`Promote ` and `Roll back to `",
    ),
    (
        re.compile(r"\bauthors?\b|\bcommitters?\b|\be-?mail\b|user\.name", re.IGNORECASE),
        "the commit is by {identity}: set gitops.commit.author of the zone to one that the server "
        "knows, as in author: Release Bot <release-bot@bank.example>; or user.name and "
        "user.email in this user's ~/.gitconfig",
    ),
    (
        re.compile(
            r"protected|permission|not allowed|not authori[sz]ed|unauthori[sz]ed|denied|forbidden|"
            r"pull request|merge request|\breview|approv|read.only|cannot push|can't push",
            re.IGNORECASE,
        ),
        "let this identity push to {branch!r}{or_propose}",
    ),
)
_OTHER = "do what the server says, and run it again{or_propose_where}"


def declined(said: str, branch: str, identity: tuple[str, str], *, new: bool) -> GitError:
    """The error of a push that the server's own rule refused. `new`: a proposal's branch.

    What the server says comes as lines of their own; the fix goes by it.
    """
    lines = _lines(said)
    theirs = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    words = "\n".join(theirs) or "\n".join(lines)
    fix = next((fix for pattern, fix in _RULES if pattern.search(words)), _OTHER)
    name, email = (printable(part, most=200) for part in identity)
    fix = fix.format(
        identity=f"{name} <{email}>",
        branch=branch,
        or_propose="" if new else ", or set gitops.via: pull-request",
        or_propose_where=""
        if new
        else "; if it wants a review first, set gitops.via: pull-request",
    )
    return GitError(
        "the Git repository refused the commit",
        why=f"the server says: {(theirs or lines or ['nothing'])[0]}",
        fix=fix,
        reason="push-refused",
        details=tuple(f"  {line}" for line in lines),
    )


def _lines(said: str) -> list[str]:
    """Foreign text as lines: no tabs, no ends of lines that a remote fills up, none twice."""
    lines = (" ".join(line.split()) for line in printable(said, most=3000).split("\n"))
    return list(dict.fromkeys(line for line in lines if line))[:40]


def said_by(error: GitError) -> str:
    """What git said, out of an error of `refused`."""
    return "\n".join((error.why or "", *error.details))


def _tls(said: str) -> str:
    """What helps where the certificate of the server was not taken."""
    if _OTHER_NAME.search(said):
        return "write the host in gitops.repo as the server's certificate has it"
    if _OTHER_TIME.search(said):
        return "have the server's certificate renewed, and check this machine's clock"
    return "if the server has a certificate of your own CA, name it: --ca FILE"


def refused(doing: str, said: str, target: GitTarget, ignored: Ignored) -> GitError:
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
    elif _TLS.search(said):
        reason, fix = "tls", _tls(said)
    elif "unable to access" in said and _PROXY.search(said):
        reason = "git-unreachable"
        fix = "check the proxy that --proxy names: that it answers, and lets this machine through"
    elif _ACCESS.search(said):
        reason = "git-access"
        fix = "give this identity access: an ssh agent, or SOVGATE_GIT_TOKEN for https"
    elif _MISSING.search(said):
        reason, fix = "no-repository", "correct the gitops repo of the zone"
    elif _SILENT.search(said):
        reason, fix = "git-unreachable", "check that the repository answers, and run it again"
    lines = _lines(said)
    more = tuple(f"  {line}" for line in lines[1:])
    more += {"tls": ignored.roots, "git-unreachable": ignored.proxy}.get(reason, ())
    if reason == "git-access":
        more += workflow_permissions("contents: write")
    return GitError(
        f"could not {doing} the Git repository",
        why=f"{target.remote.url}: {lines[0] if lines else 'git said nothing'}",
        fix=fix,
        where=target.where,
        reason=reason,
        details=more,
    )
