"""The adapters that the key conformance suite runs over. A new one joins with a line in ADAPTERS.

Each makes real keys where it keeps them and names them by URI, as a project file would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sovgate.pipeline.look.keys import generate
from tests import components, servers

REGION = "aws:eu-central-1"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """URIs; two of each, so that one can be taken for the other. `base`: where paths start.

    sign    by curve, "ec-p256" to "ec-p521"
    wrap    by kind: (recipient, identity), which may be one URI
    untagged kinds that a stand-in for the service encrypts without a tag, unlike the service
    """

    sign: dict[str, tuple[str, str]]
    wrap: dict[str, tuple[tuple[str, str], tuple[str, str]]]
    base: Path
    region: str
    untagged: frozenset[str] = frozenset()


def file_keys(tmp: Path) -> Keys:
    def made(kind: str, algorithm: str, count: int) -> tuple[str, str]:
        name = f"{kind}-{algorithm}-{count}"
        generate(kind, out=tmp / f"{name}.pem", algorithm=algorithm)
        return f"{name}.pub.pem", f"file:{name}.pem"

    return Keys(
        sign={
            name: (made("sign", name, 1)[1], made("sign", name, 2)[1])
            for name in ("ec-p256", "ec-p384", "ec-p521")
        },
        wrap={
            name: (made("encrypt", name, 1), made("encrypt", name, 2))
            for name in ("rsa-3072", "ec-p256")
        },
        base=tmp,
        region=REGION,
    )


def kms_keys(server: Callable[[], str]) -> Callable[[Path], Keys]:
    def keys(tmp: Path) -> Keys:
        url = components.found(server)

        def both(spec: str) -> tuple[str, str]:
            return (kms_key(url, spec), kms_key(url, spec))

        symmetric, rsa = both("SYMMETRIC_DEFAULT"), both("RSA_4096")
        return Keys(
            sign={f"ec-p{size}": both(f"ECC_NIST_P{size}") for size in (256, 384, 521)},
            wrap={
                "symmetric": ((symmetric[0],) * 2, (symmetric[1],) * 2),
                "rsa-4096": ((rsa[0],) * 2, (rsa[1],) * 2),
            },
            base=tmp,
            region=REGION,
            untagged=frozenset({"symmetric"}),
        )

    return keys


def kms_key(url: str, spec: str, region: str = "eu-central-1", **more: object) -> str:
    """A new key in the service at `url`; its URI."""
    usage = "SIGN_VERIFY" if spec.startswith("ECC") else "ENCRYPT_DECRYPT"
    made = servers.sdk("kms", url, region).create_key(KeySpec=spec, KeyUsage=usage, **more)
    return f"awskms://{url.removeprefix('http://')}/{made['KeyMetadata']['Arn']}"


#: Name -> makes new keys; `tmp` is a folder for those that live in one.
ADAPTERS: dict[str, Callable[[Path], Keys]] = {
    "file": file_keys,
    "awskms-ministack": kms_keys(servers.ministack),
}

_made: dict[str, Keys] = {}


def keys_of(name: str, factory: pytest.TempPathFactory) -> Keys:
    """The keys of an adapter, made once a session: RSA keys take a second each."""
    if name not in _made:
        _made[name] = ADAPTERS[name](factory.mktemp(name))
    return _made[name]
