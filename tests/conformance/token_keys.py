"""Keys in real tokens for the conformance suite: SoftHSM's and NSS's (tests/tokens.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sovgate.keys.pkcs11 import process
from tests import components, tokens
from tests.conformance.troubles import BUSY, Trouble

CURVES = ("ec-p256", "ec-p384", "ec-p521")
LACKS = {
    "disabled": "PKCS#11 knows no key that is there and disabled",
    "denied": "a token has one user, who may use all of its keys",
    "throttled": "a token has no quota",
    BUSY: "a token has no quota",
}


def fields(make: Callable[[Path], tokens.Token], wrapping: tuple[str, ...], tmp: Path) -> Any:
    """What `Keys` takes. `wrapping`: kinds beside an EC key that may derive and not sign."""
    # Apart: a module that lies in the project is not loaded.
    token, base = components.found(make, tmp / "token"), tmp / "project"
    base.mkdir()
    pin = tmp / "pin"
    pin.write_text(f"{token.pin}\n")
    pin.chmod(0o600)
    more = {"pin-source": f"file:{pin}"}
    names = [f"{kind}-{count}" for kind in (*CURVES, *wrapping) for count in (1, 2)]
    derive = {"DERIVE": True, "SIGN": False}
    token.make(
        *({"label": name, "kind": name[:-2]} for name in names),
        *({"label": f"derive-{n}", "kind": "ec-p256", "private": derive} for n in (1, 2)),
    )

    def uri(name: str, fault: str = "none") -> str:
        return token.uri(name, fault, **more)

    def both(kind: str) -> tuple[tuple[str, str], tuple[str, str]]:
        return (uri(f"{kind}-1"),) * 2, (uri(f"{kind}-2"),) * 2

    return {
        "sign": {kind: (uri(f"{kind}-1"), uri(f"{kind}-2")) for kind in CURVES},
        "wrap": {kind: both(kind) for kind in ("derive", *(wrapping or ("ec-p256",)))},
        "base": base,
        "troubles": _troubles(partial(uri, "ec-p256-1"), uri("nobody")),
        "lacks": LACKS,
    }


def _troubles(key: Callable[[str], str], missing: str) -> dict[str, Trouble]:
    @contextlib.contextmanager
    def slow() -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            uri = key("hang-sign")
            patch.setattr(process, "TIMEOUT", 2.0)  # a person waits for thirty seconds
            yield uri

    return {
        "missing": partial(contextlib.nullcontext, missing),
        "slow": slow,
        "down": partial(contextlib.nullcontext, key("crash-sign")),
        "another": partial(contextlib.nullcontext, key("other-signature")),
    }
