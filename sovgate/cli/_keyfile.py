"""The type of options that name a key's file on this machine: `file:PATH` is PATH.

A folder that is called `file:keys` would hold a secret where nobody looks for one.
"""

from __future__ import annotations

from typing import Any

import click

from sovgate import uri
from sovgate.cli._base import LocalPath
from sovgate.errors import ConfigError


class KeyFile(LocalPath):
    """A path as `keys` of sovgate.yaml have it, with `file:` or without; no URI of a service."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        try:
            parsed = uri.parse(str(value), what="key")
        except ConfigError as error:
            self.fail("; ".join(filter(None, (error.what, error.fix))), param, ctx)
        if parsed.scheme != "file":
            self.fail(
                f"{parsed.scheme}: is no file of this machine: write PATH or file:PATH, or ./PATH "
                "where its name holds a colon",
                param,
                ctx,
            )
        return path if parsed.rest == str(value) else super().convert(parsed.rest, param, ctx)
