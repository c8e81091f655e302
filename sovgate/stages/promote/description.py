"""What a promotion is called in Git, and what it changes: branch, message, difference.

Pure: text in, text out.
"""

from __future__ import annotations

import difflib
import hashlib
import posixpath
import re
from collections.abc import Mapping

from sovgate.errors import ConfigError
from sovgate.formats.kustomize import Pin
from sovgate.git.url import check_branch

_CONTEXT = 3
_HUNK = re.compile(r"@@ -([0-9]+)(.*) \+([0-9]+)(.*) @@", re.ASCII)


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


def commit_message(
    pin: Pin, audit_head: str, *, reason: str | None = None, wanted: str | None = None
) -> str:
    """Subject and trailers. The trailers help people; no decision ever reads them (RULES 26).

    `reason`, one line, makes it the message of a rollback. `wanted` is the first line as the
    project wants it, in which {release}, {zone} and {subject} are filled in.
    """
    name = pin.release.partition("@")[0]
    subject = f"Promote {name}" if reason is None else f"Roll back to {name}"
    subject = f"{subject} in {pin.zone}"
    if wanted is not None:
        parts = {"{release}": name, "{zone}": pin.zone, "{subject}": subject}
        line = re.sub(r"\{[a-z]+\}", lambda found: parts[found[0]], wanted)
        subject = line if subject in line else f"{line}\n\n{subject}"
    return (
        f"{subject}\n\n"
        f"Sovgate-Release: {pin.release}\n"
        f"Sovgate-Manifest: sha256:{pin.manifest}\n"
        f"Sovgate-Record: sha256:{pin.record}\n"
        f"Sovgate-Zone: {pin.zone}\n"
        f"Sovgate-Audit-Head: {audit_head}\n"
        + ("" if reason is None else f"Sovgate-Rollback: {reason}\n")
    )


def difference(folder: str, old: Mapping[str, bytes], changes: Mapping[str, bytes]) -> str:
    """What `changes` make of `old` in `folder`, for a person."""
    lines: list[str] = []
    for name, data in changes.items():
        path = posixpath.join(folder, name)
        lines += _unified(
            old.get(name, b"").decode("utf-8", "replace").splitlines(),
            data.decode("utf-8").splitlines(),
            f"a/{path}" if name in old else "/dev/null",
            f"b/{path}",
        )
    return "\n".join(lines)


def _unified(old: list[str], new: list[str], before: str, after: str) -> list[str]:
    """As `difflib.unified_diff`, which takes minutes where a hostile file repeats its lines: it
    sees only what lies between the first line and the last one that differ.
    """
    least = min(len(old), len(new))
    start = next((i for i in range(least) if old[i] != new[i]), least)
    end = next((i for i in range(least - start) if old[-1 - i] != new[-1 - i]), least - start)
    skip, spare = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    found = difflib.unified_diff(
        old[skip : len(old) - spare],
        new[skip : len(new) - spare],
        before,
        after,
        n=_CONTEXT,
        lineterm="",
    )
    return [
        _HUNK.sub(lambda at: _moved(at, skip), line, count=1) if line.startswith("@@ ") else line
        for line in found
    ]


def _moved(hunk: re.Match[str], by: int) -> str:
    first, rest, second, more = hunk.groups()
    return f"@@ -{int(first) + by}{rest} +{int(second) + by}{more} @@"
