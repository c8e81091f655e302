"""What key services say, in our words: the same for all of them. And asking again, within bounds.

Each function makes an error and raises nothing; an adapter raises it, with its SDK's as the cause.
Names and words of a service are shortened here; the emitter escapes them. Pure, but for pauses.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from sovgate import notices
from sovgate.errors import (
    DOCS,
    ConfigError,
    KeyServiceError,
    ResidencyMismatch,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats import wrap
from sovgate.keys._api import Wanted

T = TypeVar("T")

#: Seconds before the second, third and fourth try, each times a half to one. No SDK tries again.
PAUSES = (0.25, 0.5, 1.0)
#: What may be over soon. A time-out is not: it took its time already.
_PASSING = ("slow-down", "no-answer")
PAGE = f"{DOCS}/keys.md"


def patiently(ask: Callable[[], T]) -> T:
    """What `ask` gives; asked four times in all where the service is busy or does not answer.

    Nothing that a key does changes anything, so it may be done twice. Raises what `ask` raises.
    """
    for pause in PAUSES:
        try:
            return ask()
        except KeyServiceError as error:
            if error.reason not in _PASSING:
                raise
        time.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 (no secret)
    return ask()


def as_far_as_allowed(what: str, ask: Callable[[], T]) -> T | None:
    """What `ask` gives; None, and a note of what is not told, where these credentials may not ask.

    Whatever else is wrong is raised: a service that does not answer is no pass.
    """
    try:
        return ask()
    except KeyServiceError as error:
        if error.reason not in ("access-denied", "service"):
            raise
        notices.note(f"{what} is not told: {error.what}: {error.why}")
        return None


def no_such_key(name: str, place: str = "there") -> SovgateError:
    return KeyServiceError(
        f"there is no key {name[:200]} {place}",
        fix="check the key in sovgate.yaml",
        reason="no-such-key",
    )


def disabled(name: str, state: str) -> SovgateError:
    """`state` as the service calls it: disabled, destroyed, pending deletion, expired."""
    return KeyServiceError(
        f"{name[:200]} cannot be used",
        why=f"its state is {state[:80]}",
        fix="enable it, or name another key",
        reason="key-disabled",
    )


def denied(name: str, doing: str, permission: str) -> SovgateError:
    """`doing` completes "could not …"; `permission` is the service's own name of it."""
    return KeyServiceError(
        f"could not {doing} {name[:200]}",
        why=f"access denied: these credentials lack {permission}",
        fix=f"allow {permission} on {name[:200]} ({PAGE} has the whole policy)",
        reason="access-denied",
    )


def bad_credentials(name: str, doing: str, why: str, fix: str) -> SovgateError:
    return KeyServiceError(
        f"could not {doing} {name[:200]}", why=why[:300], fix=fix, reason="bad-credentials"
    )


def throttled(name: str, doing: str, said: str = "") -> SovgateError:
    return KeyServiceError(
        f"could not {doing} {name[:200]}",
        why=f"the service asks for fewer requests at once{f' ({said[:200]})' if said else ''}",
        fix="wait a few minutes, and run it again; if it stays so, let fewer jobs use this key at "
        "once, or ask for a higher quota",
        reason="slow-down",
    )


def timed_out(name: str, doing: str, seconds: float) -> SovgateError:
    return KeyServiceError(
        f"could not {doing} {name[:200]}",
        why=f"the service did not answer within {seconds:g} seconds",
        fix="check the network and the address, and run it again",
        reason="timed-out",
    )


def down(name: str, doing: str, why: str) -> SovgateError:
    return KeyServiceError(
        f"could not {doing} {name[:200]}",
        why=why[:300],
        fix="check the network and the address, and run it again",
        reason="no-answer",
    )


def refused(name: str, doing: str, said: str) -> SovgateError:
    """Whatever else a service says."""
    return KeyServiceError(
        f"could not {doing} {name[:200]}",
        why=said[:300],
        fix="run it again; if the error stays, ask the service's operator",
        reason="service",
    )


def taken(name: str) -> UsageError:
    """Of a key that was to be made: one is there, and is left as it is."""
    return UsageError(
        f"there is a key {name[:200]} already",
        why="a key is never overwritten, and no version is added to it",
        fix="name another one; or keep it: sovgate keys check tells what it is, and sovgate keys "
        "show URI -o FILE writes its public half",
        reason="output-exists",
    )


def not_known(name: str, error: SovgateError) -> SovgateError:
    """The service was asked once to make a key, and no answer came."""
    if error.reason in ("no-answer", "timed-out", "bad-answer"):
        error.fix = (
            f"look whether {name[:200]} was made (sovgate keys check), and run it again: a key "
            "that is there stays as it is"
        )
    return error


def chosen(wanted: Wanted, kinds: Mapping[str, Mapping[str, T]], service: str) -> tuple[str, T]:
    """The kind that is asked for, or the first for that use; and what the service calls it.

    Raises UsageError, "bad-algorithm".
    """
    known = kinds[wanted.use]
    kind = wanted.kind or next(iter(known))
    if kind not in known:
        raise UsageError(
            f"{service} makes no key to {wanted.use} of kind {kind!r}",
            fix=f"choose one of {', '.join(known)}",
            reason="bad-algorithm",
        )
    return kind, known[kind]


def bad_answer(name: str, why: str) -> SovgateError:
    return KeyServiceError(
        f"the answer for {name[:200]} cannot be used",
        why=why[:300],
        fix="find out which service answers there",
        reason="bad-answer",
    )


def another(asked: str, answered: str) -> SovgateError:
    """RULES 10: the name in each answer is compared."""
    return KeyServiceError(
        f"another key answered for {asked[:200]}",
        why=f"it was {answered[:200] or 'one that is not named'}",
        fix="find out which service answers there, and for which account",
        reason="wrong-key",
    )


def elsewhere(what: str, declared: str, kind: str = "key") -> ResidencyMismatch:
    """`what` says which key it is, and where: "the key arn:… is in aws:us-east-1"."""
    return ResidencyMismatch(
        what,
        why=f"it was declared for {declared}",
        fix=f"name a {kind} in {declared}, or correct the zone's region",
        reason="key-elsewhere",
    )


def not_in_hsm(name: str, why: str, make: str) -> SovgateError:
    """Where `protection: hsm` stands beside the key. `make` completes "make a key …"."""
    return KeyServiceError(
        f"{name[:200]} is not kept in an HSM",
        why=f"{why}, and protection: hsm is asked for beside the key",
        fix=f"make a key {make}, or remove protection from sovgate.yaml",
        reason="protection-level",
    )


def tell_version(text: str, version: str, which: str, segment: str) -> None:
    """Of a signing key whose URI names no version: it signs what others verify."""
    notices.note(
        f"{text[:200]} names no version: {version} is used, {which}; to stay with it, add {segment}"
    )


def cannot(name: str, why: str, fix: str = "name a key of another kind there") -> SovgateError:
    """The key's algorithm or use is not the one that is needed."""
    return ConfigError(
        f"{name[:200]} cannot do that", why=why, fix=fix, reason="unsupported-key-use"
    )


def damaged() -> VerificationFailed:
    """The service says that the bytes do not open. Its words stay out of it: they may hold some."""
    return wrap.damaged()
