"""The proxy that `--proxy URL` names, and what of the environment is not used instead.

Ground floor: standard library only. RULES 36: the command line alone names a proxy, or the roots of
`authority`. RULES 15: what is asked through it is known as `declared` at best.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

from sovgate.errors import ConfigError
from sovgate.uri import split_url

MAX_LENGTH = 300
#: What other programs take a proxy from.
VARIABLES = (
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"),
    *("https_proxy", "http_proxy", "all_proxy"),
)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]", re.ASCII)

#: The innermost one counts, as in `authority`.
_given: list[str] = []


@contextlib.contextmanager
def through(url: str | None) -> Iterator[None]:
    """Within it other machines are reached through this proxy; None changes nothing.

    Raises ConfigError, reason "bad-proxy" or "secret-in-uri".
    """
    if url is None:
        yield
        return
    _given.append(read(url))
    try:
        yield
    finally:
        _given.pop()


def named() -> str | None:
    """The proxy of this run, "http://HOST:PORT". This machine is never reached through it."""
    return _given[-1] if _given else None


def read(text: str) -> str:
    """A proxy's URL, checked. What it holds is repeated in no error: it may be a password."""

    def refuse(why: str) -> NoReturn:
        raise ConfigError(
            "what --proxy names cannot be used",
            why=why,
            fix="write --proxy http://HOST:PORT",
            reason="bad-proxy",
        )

    if "@" in text:
        raise ConfigError(
            "the URL of --proxy carries credentials",
            why="arguments are public, and would leak into logs",
            fix="write --proxy http://HOST:PORT, of a proxy that lets this machine through without "
            "a password, for example one on this machine that logs in to the firm's",
            reason="secret-in-uri",
        )
    if len(text) > MAX_LENGTH:
        refuse(f"it is longer than {MAX_LENGTH} characters")
    found = split_url(text)
    if found is None:
        refuse("it is not a URL")
    parts, host, port = found
    written = f"[{host}]" if ":" in host else host
    if parts.scheme == "https":
        refuse("a proxy is spoken to by http://; TLS goes through it, from end to end")
    if parts.scheme != "http":
        refuse("it does not begin with http://")
    if not _HOST.fullmatch(written):
        refuse("it does not name a host")
    if not port:
        refuse("it names no port, and programs differ in which one they would take")
    if parts.path not in ("", "/") or set(text) & {"?", "#"}:
        refuse("it is more than http://HOST:PORT")
    return f"http://{written}:{port}"


def ignored(others: Iterable[str] = ()) -> tuple[str, ...]:
    """A line for the error of a connection: what names a proxy here, and is not used.

    `others` are places that are no variables, "http.proxy of Git's configuration".
    """
    return () if _given else not_used(VARIABLES, others, "the proxy", "--proxy http://HOST:PORT")


def not_used(
    variables: Iterable[str], others: Iterable[str], what: str, option: str
) -> tuple[str, ...]:
    """At most one line, which names each of these variables that is set. Never a value."""
    found = [*(name for name in variables if os.environ.get(name, "").strip()), *others]
    if not found:
        return ()
    verb = "is" if len(found) == 1 else "are"
    return (f"{', '.join(found)} {verb} set and not used: name {what} with {option}",)
