"""Makes a key in a transit engine: one that cannot be exported or backed up in plain text.

One request. The engine leaves a key of that name as it is and says nothing, so it is asked first
whether one is there, and afterwards what there is.
"""

from __future__ import annotations

from pathlib import Path

from sovgate.errors import ConfigError, KeyServiceError, SovgateError
from sovgate.keys import _answers
from sovgate.keys._api import Made, Wanted
from sovgate.keys.transit.key import RSA, SIGNING, SYMMETRIC, Asker, Key
from sovgate.keys.transit.place import located
from sovgate.uri import Uri

KINDS = {
    "sign": {f"ec-{kind.removeprefix('ecdsa-')}": kind for kind in SIGNING},
    "encrypt": {kind: kind for kind in RSA[1:]} | {"symmetric": SYMMETRIC},
}


def generate(uri: Uri, base: Path, region: str | None, wanted: Wanted) -> Made:
    """Needs `read` and `update` on MOUNT/keys/NAME."""
    _, kind = _answers.chosen(wanted, KINDS, "a transit engine")
    if wanted.hsm:
        raise ConfigError(
            f"{uri.text[:200]} cannot be kept in an HSM",
            why="a transit engine keeps and uses its keys in software",
            fix="leave --hsm out, or name a key of another service",
            reason="protection-level",
        )
    at = located(uri)
    try:
        Key.open(uri, usable=False)
    except SovgateError as error:
        if error.reason != "no-such-key":
            raise
    else:
        raise _answers.taken(at.canonical)
    try:
        Asker(at, None).make(kind)
    except SovgateError as error:
        raise _answers.not_known(at.canonical, error) from error
    made = Key.open(uri)
    if made.kind != kind or made.policy.latest != 1 or made.data.get("exportable") is not False:
        raise KeyServiceError(
            f"{made.name} is another key than was made",
            why=f"it is of kind {made.kind}, and has {made.policy.latest} versions: somebody made "
            "one of that name at the same time",
            fix="name another key",
            reason="wrong-key",
        )
    public = None if made.symmetric else made.public
    return Made(uri=uri.text, name=made.name, public=public)
