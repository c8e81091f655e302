"""What a promotion is called in Git: the branch of a proposal and the message of the commit.

Pure: text in, text out.
"""

from __future__ import annotations

import hashlib
import re

from sovgate.errors import ConfigError
from sovgate.formats.kustomize import Pin
from sovgate.giturl import check_branch


def proposal_branch(zone: str, release: str) -> str:
    """`sovgate/<zone>/<model>-<version>`; a name that Git refuses gets a digest in its place."""
    plain = release.partition("@")[0].replace("/", "-")
    try:
        return check_branch(f"sovgate/{zone}/{plain}")
    except ConfigError:
        safe = re.sub(r"[^a-z0-9_-]", "-", plain)[:100]
        return f"sovgate/{zone}/{safe}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def rollback_branch(zone: str, release: str, number: int) -> str:
    """The proposal of a rollback: never the branch of the promotion that it goes back to."""
    return f"{proposal_branch(zone, release)}-again-{number}"


def commit_message(pin: Pin, audit_head: str, *, reason: str | None = None) -> str:
    """Subject and trailers. The trailers help people; no decision ever reads them (RULES 26).

    `reason`, one line, makes it the message of a rollback.
    """
    name = pin.release.partition("@")[0]
    subject = f"Promote {name}" if reason is None else f"Roll back to {name}"
    return (
        f"{subject} in {pin.zone}\n\n"
        f"Sovgate-Release: {pin.release}\n"
        f"Sovgate-Manifest: sha256:{pin.manifest}\n"
        f"Sovgate-Record: sha256:{pin.record}\n"
        f"Sovgate-Zone: {pin.zone}\n"
        f"Sovgate-Audit-Head: {audit_head}\n"
        + ("" if reason is None else f"Sovgate-Rollback: {reason}\n")
    )
