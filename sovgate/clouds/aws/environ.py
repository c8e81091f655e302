"""What the environment may say to AWS's SDK: credentials of a provider, and nothing else.

Reads os.environ.
"""

from __future__ import annotations

import os
import re

from sovgate import host
from sovgate.errors import ConfigError
from sovgate.formats import secrets

_PLUGINS = "BOTOCORE_EXPERIMENTAL__PLUGINS"
_KEY_LOG = "SSLKEYLOGFILE"


def credentials(provider: str) -> tuple[str, ...] | None:
    """Key id, secret and maybe token of PROVIDER_ACCESS_KEY_ID and its fellows; None if not set.

    Raises ConfigError, reason "half-credentials": else the SDK would take whatever else it finds,
    maybe somebody else's.
    """
    prefix = provider.upper().replace("-", "_")
    names = [f"{prefix}_{end}" for end in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
    values = tuple(os.environ.get(name, "") for name in names)
    if bool(values[0]) != bool(values[1]):
        there, missing = names[:2] if values[0] else names[1::-1]
        raise ConfigError(
            f"{there} is set, and {missing} is not",
            fix="set both, or neither; with neither, the SDK looks in its usual places",
            reason="half-credentials",
        )
    return tuple(value for value in values if value) if values[0] else None


def refuse_leaks() -> None:
    """Two variables give others what only the service may have. Raises ConfigError.

    "aws-plugins": the SDK runs modules that it names, and gives them each client that is made: they
    could answer in the place of a service (RULES 36). "tls-key-log": the keys of each connection go
    into a file that it names, and credentials with them (RULES 29).
    """
    if os.environ.get(_KEY_LOG, "").strip():
        raise ConfigError(
            f"{_KEY_LOG} is set",
            why="the keys of every connection would be written into that file, and whoever has it "
            "reads the credentials that are sent",
            fix=f"unset {_KEY_LOG}",
            reason="tls-key-log",
        )
    if os.environ.get(_PLUGINS, "").strip() not in ("", "DISABLED"):
        raise ConfigError(
            f"{_PLUGINS} is set",
            why="it loads code into the clients that hold credentials and ask for keys",
            fix=f"unset {_PLUGINS}",
            reason="aws-plugins",
        )


def unread() -> tuple[str, ...]:
    """What the variables name as files of the SDK's, and the SDK passes over without a word.

    What is no path may be the file's content, which is not shown.
    """
    found = []
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        given = os.environ.get(name, "")
        path = os.path.expandvars(_below_home(given))  # as the SDK does
        if not given or os.path.isfile(path):  # noqa: PTH113 (Path's raises if it is too long)
            continue
        if re.search(r"[\n\r=]", given) or secrets.find(
            "said.txt", given.encode("utf-8", "replace")
        ):
            found.append(f"{name} holds something else than a path")
        elif os.path.lexists(path):
            found.append(f"{name} names {given[:300]!r}, which is a folder, or no plain file")
        else:
            found.append(f"{name} names {given[:300]!r}, which is not there")
    return tuple(found)


def _below_home(path: str) -> str:
    if not path.startswith("~/"):
        return path
    return (os.environ.get("HOME") or host.login_home() or "~") + path[1:]
