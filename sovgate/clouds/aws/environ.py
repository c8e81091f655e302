"""What the environment may say to AWS's SDK: credentials of a provider, and TLS roots of one's own.

Reads os.environ, and the settings of a session of the SDK's that it is given.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sovgate.errors import ConfigError, SovgateError

_PLUGINS = "BOTOCORE_EXPERIMENTAL__PLUGINS"


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


def refuse_plugins() -> None:
    """The SDK runs modules that a variable names, and gives them each client that is made: they
    could answer in the place of a service (RULES 36). Raises ConfigError, reason "aws-plugins"."""
    if os.environ.get(_PLUGINS, "").strip() not in ("", "DISABLED"):
        raise ConfigError(
            f"{_PLUGINS} is set",
            why="it loads code into the clients that hold credentials and ask for keys",
            fix=f"unset {_PLUGINS}",
            reason="aws-plugins",
        )


def own_roots(session: Any, kind: type[SovgateError]) -> str | None:
    """A file or folder of roots in place of the default ones. An empty name is none: it does not
    turn off the check of certificates."""
    named = str(session.get_config_variable("ca_bundle") or "").strip()
    roots = named or os.environ.get("REQUESTS_CA_BUNDLE", "").strip() or None
    if roots and not Path(roots).exists():
        raise kind(
            f"there are no TLS roots at {roots[:200]!r}",
            why="AWS_CA_BUNDLE, ca_bundle in ~/.aws/config or REQUESTS_CA_BUNDLE names them",
            fix="correct it, or remove it to use the default roots",
            reason="tls",
        )
    return roots
