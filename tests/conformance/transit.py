"""Keys of a real OpenBao, for both schemes that speak its protocol, and what can go wrong there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sovgate.transport import wire
from tests import openbao
from tests.conformance.troubles import Crowd, Rotated, Trouble, silent, unused_port
from tests.lyingbao import Asked, Lie, Told, lying, refusal
from tests.openbao import Bao

if TYPE_CHECKING:
    from tests.conformance.keys import Keys


def keys(scheme: str) -> Callable[[Path], Keys]:
    def made(tmp: Path) -> Keys:
        from tests.conformance.keys import REGION, Keys

        bao = openbao.here()

        def both(kind: str) -> tuple[str, str]:
            return bao.uri(bao.key(kind), scheme), bao.uri(bao.key(kind), scheme)

        symmetric, rsa = both("aes256-gcm96"), both("rsa-2048")
        return Keys(
            sign={f"ec-p{size}": both(f"ecdsa-p{size}") for size in (256, 384, 521)},
            wrap={
                "aes256-gcm96": ((symmetric[0],) * 2, (symmetric[1],) * 2),
                "rsa-2048": ((rsa[0],) * 2, (rsa[1],) * 2),
            },
            base=tmp,
            region=REGION,
            troubles=_troubles(bao, scheme),
            lacks={},
            rotated=partial(_rotated, bao, scheme, "aes256-gcm96"),
            repointed=partial(_rotated, bao, scheme, "ecdsa-p256"),
            crowded=partial(_crowded, bao, scheme),
        )

    return made


@contextlib.contextmanager
def _crowded(bao: Bao, scheme: str, crowd: Crowd) -> Iterator[str]:
    def lie(_: Asked, told: Told) -> Told:
        return refusal(429, "rate limit quota exceeded") if crowd.refuses() else told

    name = bao.key("aes256-gcm96")
    with lying(bao.url, lie) as server:
        at = f"http://127.0.0.1:{server.server_port}"
        yield replace(bao, url=at).uri(name, scheme)


def _rotated(bao: Bao, scheme: str, kind: str) -> Rotated:
    name = bao.key(kind)
    return Rotated(uri=bao.uri(name, scheme), rotate=partial(bao.rotate, name))


def _troubles(bao: Bao, scheme: str) -> dict[str, Trouble]:
    name, other = bao.key("ecdsa-p256"), bao.key("ecdsa-p256")
    uri = bao.uri(name, scheme)

    def at(port: int) -> str:
        return replace(bao, url=f"http://127.0.0.1:{port}").uri(name, scheme)

    @contextlib.contextmanager
    def through(lie: Lie) -> Iterator[str]:
        with lying(bao.url, lie) as server:
            yield at(server.server_port)

    @contextlib.contextmanager
    def disabled() -> Iterator[str]:
        gone = bao.key("ecdsa-p256")
        bao.ask("DELETE", f"transit/keys/{gone}/soft-delete")
        yield bao.uri(gone, scheme)

    @contextlib.contextmanager
    def denied() -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            variable = "BAO_TOKEN" if scheme == "openbao" else "VAULT_TOKEN"
            patch.setenv(variable, bao.given((f"transit/keys/{name}", "read")))
            yield uri

    def throttled(times: int) -> Lie:
        left = [times]

        def lie(_: Asked, told: Told) -> Told:
            left[0] -= 1
            return refusal(429, "rate limit quota exceeded") if left[0] >= 0 else told

        return lie

    @contextlib.contextmanager
    def slow() -> Iterator[str]:
        with silent() as port, pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "READ_TIMEOUT", 0.2)  # a person waits for sixty seconds
            yield at(port)

    def swapped(asked: Asked, told: Told) -> Told:
        if "/sign/" not in asked.path:
            return told
        return Told(status=200, body=_signed_by(bao, other, asked))

    return {
        "missing": lambda: contextlib.nullcontext(bao.uri("gone", scheme)),
        "disabled": disabled,
        "denied": denied,
        "throttled": lambda: through(throttled(1000)),
        "busy": lambda: through(throttled(2)),
        "slow": slow,
        "down": lambda: contextlib.nullcontext(at(unused_port())),
        "another": lambda: through(swapped),
    }


def _signed_by(bao: Bao, other: str, asked: Asked) -> bytes:
    """What another key of the same engine answers to the same request."""
    import json

    return json.dumps(bao.ask("POST", f"transit/sign/{other}", asked.json)).encode()
