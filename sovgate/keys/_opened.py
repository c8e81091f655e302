"""Opens a key file that the project names: links are followed as far as that is safe (RULES 40)."""

from __future__ import annotations

import os
from pathlib import Path

from sovgate.errors import ConfigError, VerificationFailed, disk_error
from sovgate.links import open_beneath


def opened(path: Path) -> int:
    """Raises ConfigError for a link that leads out of the key's folder; UsageError, DiskError."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_beneath(folder, path.name)
        finally:
            os.close(folder)
    except OSError as error:
        error.filename = os.fspath(path)
        raise disk_error(error, f"read the key {os.fspath(path)!r}") from error
    except VerificationFailed as error:
        raise ConfigError(
            f"the key {os.fspath(path)!r} is a link that is not followed",
            why=error.why,
            fix=f"name the file itself: file:{os.path.realpath(path)}",
            reason="unsafe-link",
        ) from error
