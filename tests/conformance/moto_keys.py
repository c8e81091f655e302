"""Keys of moto's KMS for the conformance suite: the one server here with AWS's other partitions.

It answers GetPublicKey and Sign with the bare id, where KMS has the ARN: that alone is set right on
the way. What else it does wrongly the suite names, with the error by which it is found out here.
"""

from __future__ import annotations

import atexit
import contextlib
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.formats.wrap import Context
from sovgate.keys import registry
from tests import components, servers
from tests.conformance.troubles import BUSY, Wrong
from tests.faultproxy import between

if TYPE_CHECKING:
    from tests.conformance.keys import Keys

REGION = "aws-eusc:eusc-de-east-1"
_BARE = re.compile(rb'("KeyId": ")([0-9a-f-]{36}")')
_TWICE = "moto hashes the digest that it is to sign again, so its signatures verify nowhere"


def keys(tmp: Path) -> Keys:
    from tests.conformance.keys import kms_keys

    url = components.found(servers.moto)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    proxy = stack.enter_context(between(url))
    proxy.edits("POST", _with_arn)
    made = kms_keys(lambda: proxy.url, REGION)(tmp)
    rsa = made.wrap.pop("rsa-4096")[0][0]
    first, second = made.wrap["symmetric"]
    return replace(
        made,
        untagged=frozenset(),
        lacks={BUSY: f"it ends in a signature, and {_TWICE}"},
        troubles={name: one for name, one in made.troubles.items() if name != BUSY},
        repointed=None,
        wrong={
            "sign": Wrong(
                why=_TWICE,
                do=lambda: registry.open_signer(made.sign["ec-p256"][0], tmp, REGION).sign(b"m"),
                reason="bad-signature",
            ),
            "wrap-2": Wrong(
                why="moto opens nothing with an RSA key: it knows its own symmetric envelope alone",
                do=partial(_crosses, rsa, tmp),
                reason="wrapped-key",
            ),
            # KMS says IncorrectKeyException, or that it does not open.
            "other-key": Wrong(
                why="moto denies access where the key is another one than the ciphertext's",
                do=partial(_crosses, first[0], tmp, second[0]),
                reason="access-denied",
            ),
        },
    )


def _with_arn(answer: bytes) -> bytes:
    if b'"PublicKey"' not in answer and b'"Signature"' not in answer:
        return answer
    return _BARE.sub(rb"\1arn:aws-eusc:kms:eusc-de-east-1:123456789012:key/\2", answer)


def _crosses(one: str, base: Path, other: str | None = None) -> object:
    context = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
    wrapped = registry.open_recipient(one, base, REGION).wrap(bytes(32), context)
    return registry.open_identity(other or one, base, REGION).unwrap(wrapped, context)
