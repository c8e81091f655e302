"""`--ca`, for the commands that reach stores, keys or Git."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sovgate.cli._base import CA, LocalPath, option

F = TypeVar("F", bound=Callable[..., Any])


def _keep(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    ctx.meta[CA] = value


def ca_option(function: F) -> F:
    """Roots for TLS alone, beside the default ones. No variable names them (RULES 36)."""
    return option(
        "--ca",
        type=LocalPath(),
        weakens_trust=True,
        expose_value=False,
        callback=_keep,
        metavar="FILE",
        help="Certificates (PEM) of a CA of your own, for TLS to stores, keys and Git.",
    )(function)
