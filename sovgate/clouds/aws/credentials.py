"""The one place where AWS's SDK fetches credentials, and where what goes wrong gets our words.

The SDK asks one source after another: variables, files, programs, token files, services. What any
of them raises, of the SDK or of the operating system, says here which source it was, what it said,
and what helps. Imports no SDK.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sovgate.clouds.aws import answers
from sovgate.errors import DOCS, SovgateError
from sovgate.formats import secrets
from sovgate.transport import authority, proxies

#: Characters of what a source said that are told.
MAX_SAID = 2000
#: Of tokens and keys; also of paths, which change less between kinds of letters.
_RUN = re.compile(r"[A-Za-z0-9+/=_.-]{24,}")
_CHANGES = 0.35
_PASSWORD = re.compile(r"(?<=://)[^/\s@]{1,200}@")
_KEY_ID = re.compile(r"\b((?:AKIA|ASIA)[A-Z0-9]{4})[A-Z0-9]{12}\b")


@dataclass(frozen=True, kw_only=True)
class _Way:
    """`fix` is what usually helps; `runs` where the source is a program."""

    source: str
    fix: str
    runs: bool = False


_WAYS = {
    "assume-role-with-web-identity": _Way(
        source="a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)",
        fix="see that the file is there, that this user may read it, and that AWS_ROLE_ARN trusts "
        "it; on EKS: annotate the service account with eks.amazonaws.com/role-arn, and start the "
        "pod again",
    ),
    "custom-process": _Way(
        source="the program that credential_process names",
        fix="correct credential_process in ~/.aws/config, and run that program by hand",
        runs=True,
    ),
    "sso": _Way(source="a login by SSO", fix=""),
    "login": _Way(source="a login by aws login", fix=""),
    "container-role": _Way(
        source="the container's credentials service (AWS_CONTAINER_CREDENTIALS_FULL_URI or "
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)",
        fix="see that the service answers and that this user may read "
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE; on EKS: that the Pod Identity Agent runs on this "
        "node, and that the service account has an association",
    ),
    "iam-role": _Way(
        source="the machine's metadata service",
        fix="give the instance a role, or set AWS_EC2_METADATA_DISABLED=true",
    ),
    "assume-role": _Way(
        source="the role that role_arn of the profile names",
        fix="correct role_arn and source_profile in ~/.aws/config, and allow sts:AssumeRole",
    ),
    "env": _Way(
        source="the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        fix="set both, and AWS_SESSION_TOKEN where they are temporary; or unset them",
    ),
    "shared-credentials-file": _Way(
        source="~/.aws/credentials, or the file that AWS_SHARED_CREDENTIALS_FILE names",
        fix="correct that file, and see that this user may read it",
    ),
    "config-file": _Way(
        source="~/.aws/config, or the file that AWS_CONFIG_FILE names",
        fix="correct that file, and see that this user may read it",
    ),
}
_ANY = _Way(source="the SDK's own places", fix=f"see {DOCS}/aws.md for what those are")


class Guarded:
    """Credentials of the SDK whose fetching and refreshing fails in our words. No repr of its own
    shows them."""

    def __init__(self, found: Any, fetching: _Fetching) -> None:
        self._found, self._fetching = found, fetching

    def get_frozen_credentials(self) -> Any:
        """What the SDK asks before each signature; it may refresh them."""
        with self._fetching.by(str(self._found.method)):
            return self._found.get_frozen_credentials()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with self._fetching.by(str(self._found.method)):
            return getattr(self._found, name)


@dataclass(frozen=True, kw_only=True)
class _Fetching:
    url: str
    kind: type[SovgateError]
    profile: str | None

    @contextlib.contextmanager
    def by(self, method: str) -> Iterator[None]:
        try:
            yield
        except (SovgateError, AttributeError):
            raise
        except Exception as error:
            if type(error).__name__ == "ProfileNotFound":  # no source failed: its name is wrong
                raise
            raise self._explain(method, error) from None

    def _explain(self, method: str, error: Exception) -> SovgateError:
        way = _WAYS.get(method, _ANY)
        said = _said(error)
        login = "aws login" if method == "login" else "aws sso login"
        login += f" --profile {self.profile}" if self.profile else ""
        lines = said.splitlines() or [type(error).__name__]
        return self.kind(
            f"could not get credentials for {self.url}",
            why=f"{way.source}: {lines[0]}",
            fix=f"log in: {login}" if method in ("sso", "login") else _fix(way, error),
            details=(*lines[1:], *proxies.ignored(), *authority.ignored()),
            reason="credentials",
        )


def _fix(way: _Way, error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename:
        file = shlex.quote(str(error.filename))
        return f"let this user {'run' if way.runs else 'read'} {file}; or {way.fix}"
    return way.fix


def fetch(session: Any, url: str, kind: type[SovgateError], *, profile: str | None = None) -> None:
    """Find the credentials of a session of the SDK's, and have each failure say what it was.

    Where no source has any, the session stays without, and the SDK says so when it signs.
    Raises `kind`, reason "credentials".
    """
    fetching = _Fetching(url=url, kind=kind, profile=profile)
    for provider in session.get_component("credential_provider").providers:
        _directly(provider)
        with fetching.by(str(provider.METHOD)):
            found = provider.load()
        if found is not None:
            session._credentials = Guarded(found, fetching)
            return


def _directly(provider: Any) -> None:
    """The metadata service is this machine's own: no proxy that a variable names is asked for it,
    who could answer with credentials of its own (RULES 36)."""
    service = getattr(provider, "_role_fetcher", None)
    if service is not None:
        http = importlib.import_module("botocore.httpsession")
        service._session = http.URLLib3Session(timeout=service._timeout, proxies={})


def _said(error: Exception) -> str:
    """What an error says, and nothing that could be a secret in it (RULES 29)."""
    if isinstance(error, OSError):
        text = str(error.strerror or type(error).__name__)
        return f"{text}: {error.filename}" if error.filename else text
    code = answers.code_of(error)
    if code:
        return safe(f"{code}: {answers.message(error)}")
    if type(error).__name__ in answers.QUOTING:
        return f"the request was not sent ({type(error).__name__})"
    if type(error).__module__.startswith("botocore"):
        return safe(str(error))
    return f"what it gave cannot be read ({type(error).__name__})"


def safe(text: str) -> str:
    """The words of a stranger, cut, and without what has the form of a secret."""
    lines = []
    for line in text[:MAX_SAID].splitlines():
        found = secrets.find("said.txt", line.encode())
        shown = line.strip() if found is None else f"(a line that holds {found[0]})"
        if shown:
            lines.append(_KEY_ID.sub(r"\1…", _PASSWORD.sub("…@", _RUN.sub(_masked, shown))))
    whole = "\n".join(lines)
    found = secrets.find("said.txt", text[:MAX_SAID].encode()) if len(lines) > 1 else None
    if found is not None and "(a line that holds" not in whole:
        return f"(what it said holds {found[0]}, and is not shown)"
    return whole


def _masked(match: re.Match[str]) -> str:
    """A path and a name stay; what looks drawn by lot goes."""
    text = match.group()
    kinds = [
        next(n for n, k in enumerate((c.isdigit(), c.isupper(), c.islower(), True)) if k)
        for c in text
    ]
    changes = sum(a != b for a, b in itertools.pairwise(kinds)) / (len(kinds) - 1)
    random = changes >= _CHANGES and 2 in kinds and (0 in kinds or len(text) >= 40)
    return f"{text[:4]}…" if random else text
