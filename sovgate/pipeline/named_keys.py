"""Whether the keys that a project names can do their work, and that alone: kind, half, owner.

Reads key files, public halves where both are named; opens no key service. Keys are told apart by
what they are (SubjectPublicKeyInfo), not by their paths.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate import uri
from sovgate.errors import ConfigError, SovgateError
from sovgate.files import read_bounded
from sovgate.formats.keyfile import decoded
from sovgate.formats.spki import MAX_PEM_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from sovgate.config import ProjectConfig
    from sovgate.formats.spki import PublicKey

#: Told by `lint`; works in a run, as `docs/keys.md` says.
PRIVATE_HALF = "private-half"
_KINDS = {
    "sign": ("ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512"),
    "encrypt": ("rsa-", "ecdsa-p256-sha256"),
}
_CANNOT = {
    "sign": "signatures are made with EC P-256, P-384 or P-521",
    "encrypt": "keys are wrapped with RSA 2048, 3072 or 4096, or with EC P-256",
}
_SHARED = "what is encrypted for one zone could be opened with the key of the other"


@dataclass(frozen=True, kw_only=True)
class _Named:
    """`zone`: None for an entry of `trust`, whose key may speak from more than one zone."""

    dotted: str
    text: str
    use: str
    zone: str | None
    public: bool


def refuse_misused(config: ProjectConfig) -> None:
    """Raises the first error that would make a crossing burn a version, or mix up two zones."""
    for error in misused(config):
        if error.reason in ("unsupported-key-use", "shared-key"):
            raise error


def misused(config: ProjectConfig) -> Iterator[ConfigError]:
    """An error for each key that cannot work where it is named, with its place in the file.

    Files that are not there or cannot be opened here are left to those who need them.
    """
    seen: dict[bytes, list[_Named]] = {}
    for named in _named(config):
        try:
            key = _opened(named, config)
        except ConfigError as error:
            if named.public:
                error.where = config.where(named.dotted)
                yield error
            continue
        except SovgateError:  # not there, unreadable, a passphrase
            continue
        if key is None:
            continue
        if not key.algorithm.startswith(_KINDS[named.use]):
            yield _wrong_kind(named, key, config)
            continue
        others = seen.setdefault(key.der, [])
        if (shared := _shared(others, named, config)) is not None:
            yield shared
        others.append(named)


def _named(config: ProjectConfig) -> Iterator[_Named]:
    """A zone's public halves; the secret key where that is all that is named."""
    for name, zone in config.zones.items():
        keys = zone.keys
        for use, secret, half in (
            ("sign", keys.sign, keys.sign_public),
            ("encrypt", keys.encrypt, keys.encrypt_public),
        ):
            text = half or secret
            if text is not None:
                slot = f"zones.{name}.keys.{use}" + ("-public" if half else "")
                yield _Named(dotted=slot, text=text, use=use, zone=name, public=bool(half))
    for index, entry in enumerate(config.trust or ()):
        if entry.key is not None:
            yield _Named(
                dotted=f"trust.{index}.key", text=entry.key, use="sign", zone=None, public=True
            )


def _opened(named: _Named, config: ProjectConfig) -> PublicKey | None:
    from sovgate.keys.registry import open_public

    parsed = uri.parse(named.text, what="key")
    if parsed.scheme != "file":
        return None
    base = config.path.parent
    if named.public and named.zone is not None:
        path = base / parsed.rest
        data = decoded(read_bounded(path, most=MAX_PEM_BYTES, what="key"))
        if b"PRIVATE KEY-----" in data:
            raise _private_half(named, path, parsed.rest)
    return open_public(named.text, base)


def _private_half(named: _Named, path: Path, text: str) -> ConfigError:
    half = f"{text.removesuffix('.pem')}.pub.pem"
    there = path.with_name(half.rpartition("/")[2]).is_file()
    make = f"sovgate keys show {shlex.quote(text)} -o {shlex.quote(half)}"
    return ConfigError(
        f"{named.dotted} names a private key: {text}",
        why="a public half belongs there: others get it, and a secret stays in its zone",
        fix=f"write {half}" + ("" if there else f", which is made by: {make}"),
        reason=PRIVATE_HALF,
    )


def _wrong_kind(named: _Named, key: PublicKey, config: ProjectConfig) -> ConfigError:
    return ConfigError(
        f"{named.dotted} names a key that cannot {named.use}: {named.text}",
        why=f"it is a key of kind {key.algorithm}; {_CANNOT[named.use]}",
        fix=f"name the key that is made by: sovgate keys generate {named.use} -o FILE",
        where=config.where(named.dotted),
        reason="unsupported-key-use",
    )


def _shared(others: list[_Named], named: _Named, config: ProjectConfig) -> ConfigError | None:
    """A key has one use, and one to encrypt has one zone.

    One that signs may speak for several zones: each statement says for which.
    """
    mixed = next((one for one in others if one.use != named.use), None)
    other = mixed or (others[0] if others and named.use == "encrypt" else None)
    if other is None:
        return None
    why = "a key that signs and decrypts is two secrets in one" if mixed else _SHARED
    place = config.where(other.dotted)
    return ConfigError(
        f"{named.dotted} is the same key as {other.dotted}, in line {place.line}",
        why=why,
        fix="name another key in one of them; a new one is made by: sovgate keys generate "
        f"{named.use} -o FILE",
        where=config.where(named.dotted),
        reason="shared-key",
    )
