"""The public half of a zone's key as that zone signed it: `keys export`, and who believes it.

Asks the key's service when it writes; when it reads it asks nobody, and believes the zone alone.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import key_settings, uri
from sovgate.errors import (
    ConfigError,
    KeyServiceError,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.files import create_only, read_bounded
from sovgate.formats import pkcs11uri, publickey
from sovgate.formats.bundle import Bundle
from sovgate.formats.publickey import Source, UnbelievedKeyError, ZonePublicKey

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Recipient
    from sovgate.pipeline.project import Project


@dataclass(frozen=True, kw_only=True)
class Exported:
    """`there`: the file held this key already, signed by the same signer, and stays as it was."""

    path: Path
    said: ZonePublicKey
    there: bool


def export(opened: Project, zone: str, use: str, out: Path, *, now: datetime) -> Exported:
    """Write the public half of the zone's `use` key ("sign" or "encrypt"), signed by its sign key.

    Never overwrites another file. Raises ConfigError, KeyServiceError, ResidencyMismatch;
    UsageError, "no-public-half" for a symmetric key, "output-exists", "wrong-name".
    """
    from sovgate.pipeline.own_roles import require_zone_key
    from sovgate.stages.seal import seal

    if not out.name.endswith(publickey.SUFFIX):
        raise UsageError(
            f"the file of an exported key ends in {publickey.SUFFIX}: {str(out)!r}",
            why="by that name other zones take nothing but what this zone signed",
            fix=f"write -o {shlex.quote(str(out.with_suffix(publickey.SUFFIX)))}",
            reason="wrong-name",
        )
    if use == "sign" and _is_first(opened, zone, out):
        signer = opened.signer(zone, alone=True)
    else:
        # without `trust` no other zone's key decides, and it may not be there yet
        alone = opened.config.trust is None
        believed_here = opened.speaking_for(zone) if alone else opened.trusted(zone)
        require_zone_key(opened, believed_here, zone, (publickey.ROLE,))
        signer = opened.signer(zone)
    key = signer if use == "sign" else opened.own_recipient(zone)
    said = ZonePublicKey(
        zone=zone,
        use=use,
        key=_half(key, zone),
        source=_source(opened, zone, use, key),
        made=now.replace(microsecond=0),
    )
    data = seal(said.statement(), signer)
    if len(data) > publickey.MAX_BYTES:
        raise KeyServiceError(
            f"the exported key would be larger than {publickey.MAX_BYTES} bytes",
            why="its signer brings many certificates",
            fix="leave out of the signing key's file the certificates that are not needed",
            reason="limits",
        )
    if create_only(out, data):
        return Exported(path=out, said=said, there=False)
    earlier = _same(out, said, signer.public_key)
    if earlier is None:
        raise UsageError(
            f"{str(out)!r} already exists",
            why="it holds something else, and no key is overwritten",
            fix="name another file with -o",
            reason="output-exists",
        )
    return Exported(path=out, said=earlier, there=True)


def _is_first(opened: Project, zone: str, out: Path) -> bool:
    """Whether `sign-public` names what is to be written: there is no half yet to compare with."""
    named = opened.zone(zone).keys.sign_public
    if named is None or uri.parse(named, what="key").scheme != "file":
        return False
    path = opened.base / uri.parse(named, what="key").rest
    return not path.exists() and path.resolve() == out.resolve()


def _half(key: Any, zone: str) -> PublicKey:
    public: PublicKey | None = getattr(key, "public_key", None)
    if public is None:
        raise UsageError(
            f"the key of zone {zone} has no public half to export",
            why="it is symmetric: whoever encrypts with it asks its service",
            fix="make an RSA key for senders without a login there, and name it under encrypt",
            reason="no-public-half",
        )
    return public


def _source(opened: Project, zone: str, use: str, key: Any) -> Source:
    from sovgate.keys.registry import facts

    place = opened.zone(zone)
    text = str(getattr(place.keys, use))
    parsed = uri.parse(text, what="key")
    mine = parsed.scheme == "file"
    pkcs11 = parsed.scheme == "pkcs11"
    told = facts(text, opened.base, place.region)[: publickey.MAX_FACTS]
    return Source(
        uri=pkcs11uri.parse(text).key if pkcs11 else key_settings.placed(parsed),
        name=None if mine else _line(key.name),
        version=getattr(key, "version", None),
        region=key.region,
        grade=key.grade if key.region is not None else 0,
        facts=tuple((name, _line(value)) for name, value in told),
    )


def _line(text: str) -> str:
    """One printable line, as the format has it."""
    return "".join(c if c.isprintable() else " " for c in text)[:512].strip() or "not told"


def _same(out: Path, said: ZonePublicKey, signer: PublicKey) -> ZonePublicKey | None:
    """What lies there, if this signer said the same earlier (RULES 32)."""
    data = read_bounded(out, most=publickey.MAX_BYTES, what="file")
    try:
        found = publickey.read(data) if publickey.looks_like(data) else None
        if found is None:
            return None
        bundle, earlier = found
        signer.verify(bundle.signed_bytes, bundle.signature)
    except VerificationFailed:
        return None
    return earlier if replace(earlier, made=said.made) == said else None


# -- reading


def open_recipient(
    opened: Project, zone: str, text: str, base: Path, region: str | None
) -> Recipient:
    """What wraps for the zone by its `encrypt-public`.

    Raises UnbelievedKeyError, and what `registry.open_recipient` raises.
    """
    from sovgate.keys import registry

    half = believed(opened, zone, text, f"zones.{zone}.keys.encrypt-public")
    if half is None:
        return registry.open_recipient(text, base, region)
    return registry.recipient_of(half, uri.parse(text, what="key").rest)


def believed(opened: Project, zone: str | None, text: str, dotted: str) -> PublicKey | None:
    """The exported key that the project names at `dotted`, `zone`'s if one is named there; None
    where another kind of key is named.

    One to encrypt is believed if the zone itself signed it, one to sign if it signed itself; and if
    it speaks of this zone, this use, and the key that the project names. Raises UnbelievedKeyError.
    """
    from sovgate.keys.registry import exported

    found = exported(text, opened.base)
    if found is None:
        return None
    data, said = found
    encrypts = dotted.endswith(".encrypt-public")
    if encrypts and zone is not None:
        _require_signed(opened, zone, data, dotted)
    _require_about(said, zone or said.zone, "encrypt" if encrypts else "sign", dotted)
    if zone is not None and dotted.startswith("zones."):  # `trust` may name one of before
        keys = opened.zone(zone).keys
        _require_source(opened.config, zone, keys.encrypt if encrypts else keys.sign, said, dotted)
    return said.key if encrypts else publickey.signed_by_itself(Bundle.parse(data), said, text)


def _require_signed(opened: Project, zone: str, data: bytes, dotted: str) -> None:
    from sovgate.stages.trust import open_statement

    signers = opened.speaking_for(zone)
    if not signers:
        raise ConfigError(
            f"nothing says who may sign for zone {zone}",
            why=f"{dotted} names an exported key, which that zone signed",
            fix=f"add zones.{zone}.keys.sign-public, or an entry under trust with from: {zone} and "
            f"may: [{publickey.ROLE}]",
            reason="no-key",
        )
    try:
        verified = open_statement(data, signers, role=publickey.ROLE)
    except VerificationFailed as error:
        raise UnbelievedKeyError(
            f"{dotted}: {error.what}",
            why=error.why,
            fix=error.fix,
            reason=error.reason,
            details=error.details,
        ) from error
    if verified.own_word(zone) is None:
        raise UnbelievedKeyError(
            f"{dotted}: {verified.signer.name} signed it, and does not speak for zone {zone}",
            why="with which key a zone decrypts is that zone's own word",
            fix=f"get the file from zone {zone}: sovgate keys export encrypt --zone {zone} -o FILE",
            reason="wrong-signer",
        )


def _require_about(said: ZonePublicKey, zone: str, use: str, dotted: str) -> None:
    if (said.zone, said.use) != (zone, use):
        raise UnbelievedKeyError(
            f"{dotted} names a key of another {'use' if said.zone == zone else 'zone'}",
            why=f"the file is the key to {said.use} of zone {said.zone}",
            fix=f"name the file that is made by: sovgate keys export {use} --zone {zone} -o FILE",
            reason="wrong-zone" if said.zone != zone else "wrong-use",
        )


def _require_source(
    config: ProjectConfig, zone: str, named: str | None, said: ZonePublicKey, dotted: str
) -> None:
    """That it is the half of the key that the project names for the zone, if it names one."""
    if named is not None and not same_key(config, zone, named, said.source.uri):
        raise UnbelievedKeyError(
            f"{dotted} is not the public half of zones.{zone}.keys.{said.use}",
            why=f"the file was made from {said.source.uri[:200]}, and the project names "
            f"{named[:200]}",
            fix="export the key that is named now: "
            f"sovgate keys export {said.use} --zone {zone} -o FILE",
            reason="wrong-source",
        )


def same_key(config: ProjectConfig, zone: str, one: str, other: str) -> bool:
    """By what the two URIs say themselves: no service is asked."""
    from sovgate.keys.registry import canonical

    if one == other:
        return True
    base, region = config.path.parent, config.zone(zone).region
    try:
        return canonical(one, base, region) == canonical(other, base, region)
    except SovgateError:
        return False
