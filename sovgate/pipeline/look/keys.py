"""keys: make key files, and tell what a key's public half is. Never prints or moves a secret."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import uri
from sovgate.errors import ConfigError, UsageError
from sovgate.files import create_only, read_bounded
from sovgate.formats import publickey, xwing
from sovgate.key_settings import LOADS_CODE
from sovgate.pipeline import key_option

if TYPE_CHECKING:
    from sovgate.formats.publickey import ZonePublicKey
    from sovgate.formats.spki import PublicKey

ALGORITHMS: dict[str, tuple[str, ...]] = {
    "sign": ("ec-p256", "ec-p384", "ec-p521"),
    "encrypt": ("rsa-3072", "rsa-4096", "ec-p256", xwing.NAME),
}
MAX_PEM = 64 * 1024
_CURVES = {"ec-p256": "SECP256R1", "ec-p384": "SECP384R1", "ec-p521": "SECP521R1"}


@dataclass(frozen=True, kw_only=True)
class Generated:
    private: Path
    public: Path
    key: PublicKey
    algorithm: str


def generate(kind: str, *, out: Path, algorithm: str | None = None) -> Generated:
    """Write a private key (PKCS#8 PEM, 0600) to `out` and its public half beside it.

    Create-only: nothing is ever overwritten. `kind` is "sign" or "encrypt"; the first algorithm of
    ALGORITHMS is the default. Raises UsageError ("output-exists", "wrong-name"), DiskError.
    """
    from sovgate.formats.spki import PublicKey

    name = algorithm or ALGORITHMS[kind][0]
    if name not in ALGORITHMS[kind]:
        raise UsageError(
            f"a key to {kind} is not of kind {name!r}",
            fix=f"choose one of {', '.join(ALGORITHMS[kind])}",
            reason="bad-algorithm",
        )
    refuse_name(out)
    public_path = out.with_name(f"{out.name.removesuffix('.pem')}.pub.pem")
    for path in (out, public_path):
        if path.exists() or path.is_symlink():
            raise _taken(path)
    private, der = _made(name)
    key = PublicKey.from_der(der)
    # The private half first: a public key that nobody can answer for would be worse than none.
    if not create_only(out, private, mode=0o600):
        raise _taken(out)
    if not create_only(public_path, key.pem):
        raise _taken(public_path)
    return Generated(private=out, public=public_path, key=key, algorithm=name)


def show(text: str) -> tuple[PublicKey | None, tuple[tuple[str, str], ...]]:
    """The public half of the key behind a URI, and what its service says of how it is kept.

    A symmetric key has no public half; where its service says nothing either, that is ConfigError.
    The project is looked for from this folder: it may name the key's module, and its settings.
    Raises ConfigError, UsageError, KeyServiceError.
    """
    from sovgate.keys.registry import exported, facts, open_public

    base = Path.cwd()
    found = exported(text, base)
    if found is not None:
        return _exported(text, base, found[1])
    if uri.parse(text, what="key").scheme in LOADS_CODE:
        from sovgate.pipeline.project import nearest_project

        nearest_project(None)
    text = key_option.whole(text, None)
    try:
        return open_public(text, base), facts(text, base)
    except ConfigError as error:
        told = facts(text, base) if error.reason == "unsupported-key-use" else ()
        if not told:
            raise
        return None, told


def _exported(
    text: str, base: Path, said: ZonePublicKey
) -> tuple[PublicKey, tuple[tuple[str, str], ...]]:
    """What a zone exported. One to sign vouches for itself; the other is looked at by its user."""
    from sovgate.keys.registry import open_public

    if said.use == "sign":
        return open_public(text, base), (*said.told, ("signed by", "itself"))
    return said.key, (*said.told, ("signed by", "not looked at here: push and encrypt do"))


def export(key: PublicKey, out: Path) -> None:
    """Write a public half as PEM. The same one may be there; another is never overwritten.

    Raises UsageError ("output-exists", "wrong-name"), DiskError.
    """
    refuse_name(out)
    if not create_only(out, key.pem) and read_bounded(out, most=MAX_PEM, what="file") != key.pem:
        raise _taken(out)


def _made(name: str) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: Any
    if name == xwing.NAME:
        hybrid = xwing.Private.generate()
        return hybrid.pem(), hybrid.public_der()
    if name in _CURVES:
        key = ec.generate_private_key(getattr(ec, _CURVES[name])())
    else:
        key = rsa.generate_private_key(65537, int(name.removeprefix("rsa-")))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, der


def refuse_name(out: Path) -> None:
    """A PEM file by the name of an exported key would be refused wherever it is read."""
    if out.name.endswith(publickey.SUFFIX):
        raise UsageError(
            f"the file of a key in PEM does not end in {publickey.SUFFIX}: {str(out)!r}",
            why="of such a name are the files that sovgate keys export writes, and nothing else is "
            "taken there; no key was made, and nothing written",
            fix=f"write -o {shlex.quote(str(out.with_suffix('.pem')))}",
            reason="wrong-name",
        )


def _taken(path: Path) -> UsageError:
    return UsageError(
        f"{str(path)!r} already exists",
        why="a key is never overwritten",
        fix="name another file with -o",
        reason="output-exists",
    )
