"""Git by subprocess, with nothing of the surroundings in it. Ground floor: standard library only.

RULES 21, 26, 29. There is never a work tree: objects are fetched into a fresh bare directory, read
by id and pushed, so filters, links, submodules and file monitors have nothing to act on; they are
switched off besides. `docs/gitops.md` lists what reaches Git from the environment and why.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import GitError
from sovgate.git.run import (
    TOKEN,
    TOKEN_USER,
    Done,
    Limits,
    execute,
    find_program,
    token_user,
)
from sovgate.git.run import printable as printable
from sovgate.git.url import Remote
from sovgate.host import PROGRAM_DIRS, login_home
from sovgate.staging import private
from sovgate.transport import authority, proxies

#: GIT_CONFIG_GLOBAL, without which the user's hooks and rewrites would apply, came with 2.32.
MIN_VERSION = (2, 32)
MAX_OUTPUT = 64 * 1024 * 1024
LOCAL_SECONDS = 60.0
REMOTE_SECONDS = 180.0

#: The variables that pass. An agent's socket gives signatures and runs no code.
PASSED = ("SSH_AUTH_SOCK",)

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.alternateRefsCommand=",
    "core.bigFileThreshold=1m",
    "core.logAllRefUpdates=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "fetch.fsckObjects=true",
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "transfer.bundleURI=false",
    "commit.gpgSign=false",
    "push.gpgSign=false",
    "protocol.allow=never",
    "http.followRedirects=false",
    "http.sslVerify=true",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "credential.interactive=false",
    "color.ui=false",
)
# What is taken from the user's own Git configuration: who they are and how they log in. Nothing
# that rewrites a URL, runs a hook, weakens TLS, or names roots or a proxy (RULES 36).
_USER_SETTING = re.compile(
    r"(user\.(name|email)"
    r"|credential\.(.+\.)?(helper|username|usehttppath)"
    r"|http\.(.+\.)?(sslcert|sslkey)"
    r"|http\.https://.+\.extraheader)",
    re.DOTALL,
)
_LEADS = re.compile(r"http\.(?:.+\.)?(sslcainfo|sslcapath|proxy)", re.DOTALL)
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    f'"${TOKEN_USER}" "${TOKEN}"; }}; f'
)


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """Lines on what names roots or a proxy here, and is not used (RULES 36)."""

    roots: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()


def workspace() -> contextlib.AbstractContextManager[Path]:
    """A private folder for one clone, gone afterwards; what killed runs left is swept first."""
    return private("clone")


class Git:
    """Runs Git in one bare repository that only this process knows.

    `folder` is a private directory (`workspace`). Raises GitError for everything that Git or the
    repository behind it did not do.
    """

    def __init__(self, folder: Path, remote: Remote) -> None:
        self._program = find_program("git")
        self._folder = folder
        self._remote = remote
        self._home = folder / "home"
        self._home.mkdir(mode=0o700)
        self._settings: tuple[tuple[str, str], ...] = ()
        self._unused: set[str] = set()
        self.sha256 = False
        self._check_version()
        if remote.protocol == "file":
            _check_owner(remote)
        else:
            self._settings = self._user_settings()

    @property
    def folder(self) -> Path:
        """The private folder in which it all lies."""
        return self._folder

    def init(self, object_format: str = "sha1") -> None:
        """A fresh, empty bare repository; in place of the one that was there."""
        shutil.rmtree(self._folder / "repository", ignore_errors=True)
        self.run("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}")
        self.sha256 = object_format == "sha256"

    def ignored(self) -> Ignored:
        """What of the surroundings is not used, for an error of a connection."""
        roots = sorted(name for name in self._unused if name != "proxy")
        proxy = sorted(self._unused - set(roots))
        return Ignored(
            roots=authority.ignored(f"http.{name} of Git's configuration" for name in roots),
            proxy=proxies.ignored(f"http.{name} of Git's configuration" for name in proxy),
        )

    def user(self) -> tuple[str, str]:
        """The user's own name and address where Git knows both, else ours."""
        found = dict(self._settings or self._user_settings())
        name, email = found.get("user.name", ""), found.get("user.email", "")
        clean = [re.sub(r"[<>\n]", "", printable(part, most=200)) for part in (name, email)]
        if not all(clean):
            return "sovgate", "sovgate@localhost"
        return clean[0], clean[1]

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        most: int = MAX_OUTPUT,
        identity: tuple[str, str] | None = None,
    ) -> bytes:
        """A local command that must succeed; its standard output."""
        done = self.call(*arguments, stdin=stdin, most=most, identity=identity)
        if done.code != 0:
            raise GitError(
                f"git {arguments[0]} failed",
                why=done.stderr or f"exit code {done.code}",
                fix="check the repository (git fsck), and run it again",
            )
        return done.stdout

    def call(
        self,
        *arguments: str,
        stdin: bytes = b"",
        most: int = MAX_OUTPUT,
        identity: tuple[str, str] | None = None,
        reaches_remote: bool = False,
        seconds: float | None = None,
    ) -> Done:
        """Run `git ARGUMENTS`; the caller puts `--` before whatever is not its own text."""
        command = [self._program, "--no-pager"]
        settings = list(_SETTINGS)
        if reaches_remote:
            settings.append(f"protocol.{self._remote.protocol}.allow=always")
        for setting in settings:
            command += ["-c", setting]
        environment = self._environment(reaches_remote)
        if identity is not None:
            name, email = identity
            stamp = f"{int(time.time())} +0000"
            for role in ("AUTHOR", "COMMITTER"):
                environment |= {
                    f"GIT_{role}_NAME": name,
                    f"GIT_{role}_EMAIL": email,
                    f"GIT_{role}_DATE": stamp,
                }
        return execute(
            [*command, *arguments],
            environment=environment,
            folder=self._folder,
            stdin=stdin,
            limits=Limits(
                most=most,
                seconds=seconds or (REMOTE_SECONDS if reaches_remote else LOCAL_SECONDS),
            ),
            hide=self._headers(),
        )

    def printable(self, data: bytes | str, *, most: int = 2000) -> str:
        """`printable`, without the headers that log in either."""
        return printable(data, most=most, hide=self._headers())

    def _headers(self) -> tuple[str, ...]:
        values = [value for key, value in self._settings if key.endswith(".extraheader")]
        return tuple(value.split()[-1] for value in values if value.strip())

    def _environment(self, reaches_remote: bool) -> dict[str, str]:
        environment = {
            "PATH": ":".join(PROGRAM_DIRS),
            "LC_ALL": "C",
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "GIT_DIR": str(self._folder / "repository"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_EDITOR": ":",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_ALLOW_PROTOCOL": self._remote.protocol if reaches_remote else "none",
        }
        if not reaches_remote or self._remote.protocol == "file":
            return environment
        # Credential helpers and ssh find their files in the home of the password database: HOME
        # itself is a variable that an earlier step may have set.
        environment["HOME"] = login_home() or environment["HOME"]
        environment |= {name: os.environ[name] for name in PASSED if os.environ.get(name)}
        if (roots := authority.bundle(authority.system_roots())) is not None:
            environment["GIT_SSL_CAINFO"] = str(roots)
        if self._remote.protocol == "ssh":
            environment["GIT_SSH_COMMAND"] = find_program("ssh") + " -oBatchMode=yes"
            environment["GIT_SSH_VARIANT"] = "ssh"
        settings = [item for item in self._settings if not item[0].startswith("user.")]
        if (proxy := proxies.named()) is not None and not self._remote.is_local:
            settings.append(("http.proxy", proxy))
        if os.environ.get(TOKEN):
            origin = re.sub(r"(https?://[^/]*).*", r"\1", self._remote.url, flags=re.DOTALL)
            # An empty helper first: the token is the only answer, no other store learns it.
            settings += [
                (f"credential.{origin}.helper", ""),
                (f"credential.{origin}.helper", _HELPER),
            ]
            environment[TOKEN] = os.environ[TOKEN]
            environment[TOKEN_USER] = token_user()
        # By environment, not by -c: these values may be secrets, and arguments are public.
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for index, (key, value) in enumerate(settings):
            environment[f"GIT_CONFIG_KEY_{index}"] = key
            environment[f"GIT_CONFIG_VALUE_{index}"] = value
        return environment

    def _check_version(self) -> None:
        found = re.search(rb"(\d+)\.(\d+)", self.run("version", most=1000))
        if found is None or (int(found[1]), int(found[2])) < MIN_VERSION:
            raise GitError(
                "git is too old",
                why=f"{self._program} is older than {'.'.join(map(str, MIN_VERSION))}",
                fix="install a newer git",
                reason="git-too-old",
            )

    def _user_settings(self) -> tuple[tuple[str, str], ...]:
        """Who the user is and how they log in, from the system's and their own configuration."""
        home = login_home()
        if home is None:
            return ()
        found: list[tuple[str, str]] = []
        for source in ("--system", f"{home}/.config/git/config", f"{home}/.gitconfig"):
            which = [source] if source == "--system" else ["--file", source]
            if source != "--system" and not os.access(source, os.R_OK):
                continue
            environment = self._environment(False) | {"HOME": home}
            if source == "--system":
                del environment["GIT_CONFIG_NOSYSTEM"], environment["GIT_CONFIG_SYSTEM"]
            done = execute(
                [self._program, "config", *which, "--includes", "--null", "--list"],
                environment=environment,
                folder=self._folder,
                stdin=b"",
                limits=Limits(most=1024 * 1024, seconds=LOCAL_SECONDS),
            )
            for item in done.stdout.decode("utf-8", "replace").split("\0"):
                key, newline, value = item.partition("\n")
                if newline and _USER_SETTING.fullmatch(key):
                    found.append((key, value))
                elif newline and value and (leads := _LEADS.fullmatch(key)):
                    self._unused.add(leads[1])
        return tuple(found)


def _check_owner(remote: Remote) -> None:
    """A folder is its own server and its configuration runs programs: it must be the user's own."""
    path = remote.url.removeprefix("file://")
    try:
        owner = os.stat(path).st_uid  # noqa: PTH116 (the link's target is what Git would open)
    except FileNotFoundError:
        raise GitError(
            "the Git repository is not there",
            why=path,
            fix="create it (git init --bare), or correct the gitops repo of the zone",
            where=remote.where,
            reason="no-repository",
        ) from None
    except OSError as error:
        raise GitError(
            "the Git repository cannot be read",
            why=f"{path}: {error.strerror}",
            fix="give this user access to it",
            where=remote.where,
            reason="git-access",
        ) from error
    if owner not in (os.getuid(), 0):
        raise GitError(
            "the Git repository belongs to another user",
            why=f"{path} could run that user's hooks and settings as this user",
            fix="use it over ssh or https",
            where=remote.where,
            reason="git-owner",
        )
