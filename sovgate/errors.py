"""Every error and exit code of sovgate. Ground floor: imports the standard library only.

A command only raises; `sovgate.cli` renders. Each error says *what* happened, *why*, and the exact
*fix*, and carries a stable `reason` slug that tests and programs match on. "Invalid" and "could not
be checked" are different types; both block.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

#: Where a message sends its reader: whoever installed a wheel has no docs/ at hand.
DOCS = "https://github.com/org/sovgate/blob/main/docs"


class ExitCode(IntEnum):
    """The one table of exit codes. Every code but OK blocks."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    CONFIG = 3
    DENIED = 10
    VERIFICATION = 11
    RESIDENCY = 12
    GATE = 13
    INCONCLUSIVE = 14
    KEY = 20
    STORE = 21
    ENGINE = 22
    GIT = 23
    DISK = 24


#: One line a code, for `docs/exit-codes.md` (generated) and `--help`.
MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.INTERNAL: "a defect in sovgate itself",
    ExitCode.USAGE: "the command line is wrong, or names a path that is not there",
    ExitCode.CONFIG: "the project file, or a file that it names, is wrong or missing",
    ExitCode.DENIED: "policy denied it",
    ExitCode.VERIFICATION: "a signature, digest, statement or format did not verify",
    ExitCode.RESIDENCY: "a measured location (bucket, key, redirect) is not the declared one",
    ExitCode.GATE: "a gate failed",
    ExitCode.INCONCLUSIVE: "it could not be decided either way",
    ExitCode.KEY: "a key, or the service that holds it, did not do its work",
    ExitCode.STORE: "a store did not do its work",
    ExitCode.ENGINE: "the policy engine failed, or the case it was given is invalid",
    ExitCode.GIT: "Git, or the repository behind it, did not do its work",
    ExitCode.DISK: "the local disk or its permissions stand in the way",
}


#: A shell's own codes for what a signal ended: 128 and its number.
INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143


class Terminated(KeyboardInterrupt):
    """Whoever runs us asked us to end. What cleans up after Ctrl-C cleans up after this too."""


class TimedOut(KeyboardInterrupt):
    """An alarm: the time that the run was given is over. Cleaned up after as after Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in a file that a person wrote. `line` and `column` count from 1."""

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.path, self.line, self.column]
        return ":".join(str(part) for part in parts if part is not None)


#: Characters of one word that a message repeats, and of one that is to be copied: a URI may be
#: that long. Of all of a message so many, or twice the length of such a word.
MAX_WORD, MAX_COPIED, MAX_MESSAGE = 400, 2100, 3000


def bounded(text: str, most: int = MAX_WORD) -> str:
    """A message without the middle of what is too long in it: whatever somebody wrote where a name
    belongs, an error repeats as much as tells which one it is. `most`: MAX_WORD or MAX_COPIED.
    """
    if len(text) <= most:
        return text

    def cut(found: re.Match[str]) -> str:
        word = found.group()
        return f"{word[: most // 2]}…({len(word)} characters)…{word[-most // 4 :]}"

    text = re.sub(rf"\S{{{most + 1},}}", cut, text)
    most = max(MAX_MESSAGE, 2 * most)
    return text if len(text) <= most else f"{text[:most]}…"


class SovgateError(Exception):
    """Base of all errors that a user may see.

    what    one sentence, no trailing full stop, no secret, e.g. "a.bin changed since it was signed"
    why     the evidence: expected against found, or the cause
    fix     the exact thing to do next: a command, or a line to change
    where   the line of `sovgate.yaml` (or another file) that caused it
    reason  stable slug, kebab-case, e.g. "digest-mismatch"; defaults to the class's own
    details further lines for a person, e.g. one per denied rule
    data    the same for programs: joins the JSON document
    signed  decisions that say no, as they were signed: they are kept beside the log
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    default_reason: ClassVar[str] = "internal"

    def __init__(
        self,
        what: str,
        *,
        why: str | None = None,
        fix: str | None = None,
        where: Where | None = None,
        reason: str | None = None,
        details: tuple[str, ...] = (),
        data: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(bounded(what))
        self.what = bounded(what)
        self.why = why and bounded(why)
        self.fix = fix and bounded(fix, MAX_COPIED)
        self.where = where
        self.reason = reason or self.default_reason
        self.details = tuple(bounded(line, MAX_COPIED) for line in details)
        self.data = data or {}
        self.signed: tuple[bytes, ...] = ()


class InternalError(SovgateError):
    """A promise of our own code was broken."""


class UsageError(SovgateError):
    exit_code = ExitCode.USAGE
    default_reason = "usage"


class ConfigError(SovgateError):
    """`sovgate.yaml`, a dataset manifest, a policy file, or a file that they name."""

    exit_code = ExitCode.CONFIG
    default_reason = "config"


class PolicyDenied(SovgateError):
    exit_code = ExitCode.DENIED
    default_reason = "denied"


class VerificationFailed(SovgateError):
    """Something signed, addressed by digest, or of a closed format is not what it says."""

    exit_code = ExitCode.VERIFICATION
    default_reason = "verification"


class Malformed(VerificationFailed):
    """Bytes that are not of the format they claim. Hostile until shown otherwise, so 11.

    Where a person wrote the bytes (YAML, policies), the reader raises ConfigError instead.
    """

    default_reason = "malformed"


class ResidencyMismatch(SovgateError):
    exit_code = ExitCode.RESIDENCY
    default_reason = "residency"


class GateFailed(SovgateError):
    exit_code = ExitCode.GATE
    default_reason = "gate"


class Inconclusive(SovgateError):
    """Could not be checked: too few samples, no anchor, no answer. Blocks like a failure."""

    exit_code = ExitCode.INCONCLUSIVE
    default_reason = "inconclusive"


class KeyServiceError(SovgateError):
    exit_code = ExitCode.KEY
    default_reason = "key"


class StoreError(SovgateError):
    exit_code = ExitCode.STORE
    default_reason = "store"


class AlreadyExists(StoreError):
    """A create-only write found something under its name. The old bytes stay."""

    default_reason = "already-exists"


class NotFound(StoreError):
    default_reason = "not-found"


class StoreUnfit(SovgateError):
    """A store that wrote, and not as it was asked to. No StoreError: whoever meets one of those
    looks whether the bytes are there after all, and that they are heals nothing here."""

    exit_code = ExitCode.STORE
    default_reason = "store"


class EngineError(SovgateError):
    exit_code = ExitCode.ENGINE
    default_reason = "engine"


class GitError(SovgateError):
    exit_code = ExitCode.GIT
    default_reason = "git"


class DiskError(SovgateError):
    exit_code = ExitCode.DISK
    default_reason = "disk"


def workflow_permissions(*scopes: str) -> tuple[str, ...]:
    """In GitHub Actions the block to paste into the job, as details of an error; else nothing."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return ()
    return ("paste into the job:", "  permissions:", *(f"    {scope}" for scope in scopes))


def disk_error(error: OSError, doing: str) -> SovgateError:
    """The operating system's refusal in our words. `doing` completes "could not …"."""
    import errno

    fixes = {
        errno.ENOSPC: "free space there, and run it again",
        errno.EDQUOT: "free space under your quota, and run it again",
        errno.EACCES: "give this user access to that path, and run it again",
        errno.EPERM: "give this user access to that path, and run it again",
        errno.EROFS: "name a place that can be written, and run it again",
    }
    code = error.errno or 0
    path = str(error.filename) if error.filename else ""
    why = path if path and repr(path) not in doing else None
    if code in (errno.ENOENT, errno.ENOTDIR):
        return UsageError(
            f"could not {doing}: no such file or directory",
            why=why,
            fix="check the path; a relative one starts in the current folder",
            reason="missing-path",
        )
    return DiskError(
        f"could not {doing}: {error.strerror or error}",
        why=why,
        fix=fixes.get(code, "check the disk and its permissions, and run it again"),
        reason=errno.errorcode.get(code, "disk").lower(),
    )


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The signal that an error came after, while what it broke off was cleaned up."""
    found: BaseException | None = error
    for _ in range(20):
        if found is None or isinstance(found, KeyboardInterrupt):
            return found
        found = found.__cause__ or found.__context__
    return None


def exit_of(error: BaseException) -> int:
    """The code with which a command ends by it; what is no error of ours is a defect."""
    if isinstance(error, SovgateError):
        return int(error.exit_code)
    if isinstance(error, TimedOut):
        return int(ExitCode.INCONCLUSIVE)
    if isinstance(error, KeyboardInterrupt):
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, OSError):
        return int(disk_error(error, "go on").exit_code)
    return int(ExitCode.INTERNAL)
