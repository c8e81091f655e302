"""Names of Git repositories, branches and objects, judged before Git sees them. No I/O.

Ground floor: standard library only. RULES 26 and 29: protocols are allow-listed, nothing can pass
for an option, and no URL holds a secret.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from sovgate.errors import ConfigError, Where

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_URL = re.compile(r"(https?|ssh|file)://([^/]*)(/.*)", re.DOTALL)
_SCP = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!/?/)(.+)")
_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.ASCII)
_REF_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|[./]$|^[-/]|^@$")
_OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A repository to fetch from and push to. `url` holds no secret and is fit to be shown."""

    url: str
    protocol: str
    where: Where | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a server on this machine."""
        match = _URL.fullmatch(self.url)
        return bool(match and _LOOPBACK.fullmatch(match[2].rpartition("@")[2]))


def parse_remote(text: str, base: Path, *, where: Where | None = None) -> Remote:
    """A repository's URL: `https://`, `ssh://`, `user@host:path`, `file://`, or a folder.

    `http://` on loopback only (RULES 15). Raises ConfigError "bad-repo" or "secret-in-uri"; what
    may hold a secret is not repeated.
    """

    def bad(why: str) -> NoReturn:
        raise ConfigError(
            "the Git repository's URL cannot be used",
            why=why,
            fix="name it as https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, "
            "file:///PATH or a folder",
            where=where,
            reason="bad-repo",
        )

    if not text or len(text) > 2048:
        bad("it is empty or longer than 2048 characters")
    if _CONTROL.search(text) or any(c.isspace() and c != " " for c in text):
        bad("it holds control characters")
    if text.startswith("-"):
        bad("it begins with “-”")
    if re.match(r"[A-Za-z0-9+.-]+::", text):
        bad("it names a remote helper, which would run a program")
    if match := _URL.fullmatch(text):
        protocol, authority, path = match.groups()
        user, at, host = authority.rpartition("@")
        if ":" in user or (at and protocol != "ssh"):
            raise ConfigError(
                "the Git repository's URL carries credentials",
                why=f"{protocol}://…@… would leak into logs and records",
                fix="remove them from the URL; SOVGATE_GIT_TOKEN in the environment, or Git's own "
                "helpers, give them",
                where=where,
                reason="secret-in-uri",
            )
        if protocol == "file":
            if host:
                bad("a file: URL has no host")
            return _folder(Path(path), where)
        if (user and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", user)) or not _HOST.fullmatch(
            host
        ):
            bad("its host is not a host name")
        if protocol == "http" and not _LOOPBACK.fullmatch(host):
            bad("http:// is not encrypted; it is allowed on loopback only")
        if "?" in path or "#" in path:
            bad("it has a query or a fragment, where secrets hide")
        return Remote(url=text, protocol=protocol, where=where)
    if "://" in text.split("/@", 1)[0]:
        bad("its protocol is none of https, ssh and file")
    if (match := _SCP.fullmatch(text)) and not match[3].startswith("-"):
        return Remote(url=text, protocol="ssh", where=where)
    if ":" in text.split("/", 1)[0]:
        bad("it is neither a URL nor a folder")
    return _folder(base / text, where)


def _folder(path: Path, where: Where | None) -> Remote:
    # An absolute path, so that neither a leading dash nor a colon in it means anything to Git.
    return Remote(
        url="file://" + os.path.abspath(path),  # noqa: PTH100 (resolve() would follow a link)
        protocol="file",
        where=where,
    )


def repository_of(url: str) -> tuple[str, str, str]:
    """(user, host, path) of the URL of a `Remote`, equal for the usual spellings of one repository.

    More careful than `same_repository`, since here equal gives a yes: the letter case of the path
    counts, so does a folder's `.git`, and so does a user but `git`, whom paths may start from.
    """
    if url.startswith("file://"):
        return "", "", os.path.realpath(url.removeprefix("file://"))
    if match := _URL.fullmatch(url):
        protocol, authority, path = match.groups()
        user, _, host = authority.rpartition("@")
        host = host.removesuffix({"https": ":443", "http": ":80", "ssh": ":22"}[protocol])
    elif scp := _SCP.fullmatch(url):
        user, host, path = (scp[1] or "").removesuffix("@"), scp[2], scp[3]
    else:
        return "", "", url
    path = path.strip("/").removesuffix(".git")
    return "" if user == "git" else user, host.casefold().rstrip("."), path


def same_repository(text: str, base: Path) -> tuple[str, str]:
    """(host, path) that are equal for all spellings of one repository; it asks nobody.

    Protocol, user, default port, letter case, `.git` and further slashes make no difference. An
    address that cannot be used is equal to itself alone.
    """
    try:
        remote = parse_remote(text, base)
    except ConfigError:
        return "", text
    if remote.protocol == "file":
        path = os.path.realpath(remote.url.removeprefix("file://"))
        return "", path.removesuffix(".git")
    if match := _URL.fullmatch(remote.url):
        _, authority, path = match.groups()
        host = authority.rpartition("@")[2]
        default = {"https": ":443", "http": ":80", "ssh": ":22"}[remote.protocol]
        host = host.removesuffix(default)
    else:
        scp = _SCP.fullmatch(remote.url)
        host, path = (scp[2], scp[3]) if scp else ("", remote.url)
    parts = [part for part in unquote(path).casefold().split("/") if part not in ("", ".")]
    return host.casefold().rstrip("."), "/".join(parts).removesuffix(".git")


def check_branch(name: str, *, where: Where | None = None) -> str:
    """The rules of git-check-ref-format, for a branch. Raises ConfigError "bad-branch"."""
    if not name or len(name) > 200 or _REF_BAD.search(name) or _CONTROL.search(name):
        raise ConfigError(
            f"{name[:80]!r} is not a branch name",
            fix="name a branch that exists, for example main",
            where=where,
            reason="bad-branch",
        )
    return name


def is_oid(text: str) -> bool:
    return _OID.fullmatch(text) is not None
