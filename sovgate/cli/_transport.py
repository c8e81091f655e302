"""`--ca` and `--proxy`, for the commands that reach stores, keys or Git."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sovgate.cli._base import TRANSPORT, LocalPath, option

F = TypeVar("F", bound=Callable[..., Any])


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    ctx.meta[f"{TRANSPORT}.{param.name}"] = value


def transport_options(function: F) -> F:
    """How servers are reached. No variable of the environment says it (RULES 36)."""
    function = option(
        "--proxy",
        weakens_trust=True,
        expose_value=False,
        callback=_keep,
        metavar="URL",
        help="Reach stores, keys and Git (https) through this proxy: http://HOST:PORT.",
    )(function)
    return option(
        "--ca",
        type=LocalPath(),
        weakens_trust=True,
        expose_value=False,
        callback=_keep,
        metavar="FILE",
        help="Certificates (PEM) of a CA of your own, for TLS to stores, keys and Git.",
    )(function)
