"""Whether a zone's own file believes what the zone's key is about to say: asked before it signs.

What nobody could verify is never written: a record that its own zone refuses, or a log that does
not verify, is there for good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate import uri
from sovgate.errors import DOCS, ConfigError, SovgateError, VerificationFailed
from sovgate.pipeline import key_option
from sovgate.stages.trust import certified, keyless_of

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Signer
    from sovgate.pipeline.project import Project
    from sovgate.stages.trust import Trusted

#: What each run that is written down signs, whatever else it does.
LOGGED = ("audit", "decision")


@dataclass(frozen=True, kw_only=True)
class OwnKey:
    """The key that is about to sign, for `zone`; None: for whatever zone it may speak."""

    called: str
    key: PublicKey
    zone: str | None
    certificates: tuple[bytes, ...] = ()
    keyless: Signer | None = None


def require_zone_key(
    opened: Project,
    trusted: Sequence[Trusted],
    zone: str,
    roles: Sequence[str],
    *,
    within: bool = False,
) -> None:
    """At the start of a run: the zone's key may say all that the run will sign.

    A key that cannot be opened is another fault, of which whoever signs with it tells. Raises
    ConfigError, reason "own-role".
    """
    if opened.config.trust is None and opened.zone(zone).keys.sign_public is None:
        return  # its own key is the one that is believed, for all of these
    own = _opened(f"the key of zone {zone}", lambda: opened.signer(zone), zone)
    refusal = refused(opened, trusted, own, roles, within=within) if own is not None else None
    if refusal is not None:
        raise refusal


def _opened(called: str, opening: Callable[[], Signer], zone: str | None) -> OwnKey | None:
    """None where it cannot be opened."""
    try:
        signer = opening()
    except SovgateError:
        return None
    path = tuple(signer.certificates)
    keyless = signer if getattr(signer, "rules", ()) else None
    return OwnKey(
        called=called, key=signer.public_key, zone=zone, certificates=path, keyless=keyless
    )


def require_release(
    opened: Project, zone: str, key: str | None, *, datasets: Sequence[str], signed: bool
) -> None:
    """As `require_zone_key`, of a whole release: beside the model `key` signs, or the zone's own.

    A model that is `signed` is signed anew only with a record of its `datasets`.
    """
    made: tuple[str, ...] = () if signed and not datasets else ("signature",)
    made += ("provenance",) if datasets else ()
    if key is not None and made:
        require_maker(opened, zone, key, made)
        made = ()
    require_zone_key(opened, opened.trusted(zone), zone, (*made, "transfer", *LOGGED))


def require_maker(opened: Project, zone: str, key: str | None, roles: Sequence[str]) -> None:
    """As `require_zone_key`, of what is signed beside the model, with `key` or the zone's own."""
    trusted = opened.trusted(zone)
    if key is None:
        require_zone_key(opened, trusted, zone, roles)
        return
    own = _opened(f"the key {key[:160]!r}", lambda: key_option.signer(key, opened.base), None)
    refusal = refused(opened, trusted, own, roles) if own is not None else None
    if refusal is not None:
        raise refusal


def refused(
    opened: Project,
    trusted: Sequence[Trusted],
    own: OwnKey,
    roles: Sequence[str],
    *,
    within: bool = False,
) -> ConfigError | None:
    """Why the key may not say all of `roles`, with the fix; None where it may.

    `within`: that nothing leaves the zone, which is believed of an entry `from:` it alone.
    """
    entries = [entry for entry in trusted if entry.certificate is None]
    if own.certificates:
        with contextlib.suppress(VerificationFailed):  # then by its key alone
            entries += certified(own.certificates, trusted)
    its = [entry for entry in entries if entry.key.der == own.key.der]
    its += keyless_of(own.keyless, trusted) if own.keyless is not None else []
    able = [e for e in its if own.zone is None or e.zone in (None, own.zone)]
    lacks = [role for role in roles if not any(role in entry.may for entry in able)]
    if lacks:
        return _lacking(opened, own, its, lacks)
    if within and not all(any(e.zone and role in e.may for e in able) for role in roles):
        return ConfigError(
            f"{own.called} may not say that nothing leaves the zone",
            why=f"it may say {', '.join(roles)} for any zone; here only the zone's own signer is "
            "trusted",
            fix=f"add from: {own.zone} to its entry under trust",
            where=opened.config.where("trust"),
            reason="own-role",
        )
    return None


def _lacking(
    opened: Project, own: OwnKey, its: Sequence[Trusted], lacks: Sequence[str]
) -> ConfigError:
    words = " and ".join((", ".join(lacks[:-1]), lacks[-1]) if len(lacks) > 1 else lacks)
    what = f"{own.called} may not say {words}"
    config = opened.config
    if config.trust is None:
        keys = config.zones[own.zone].keys if own.zone is not None else None
        stale = keys is not None and keys.sign_public is not None
        return ConfigError(
            what,
            why="keys.sign-public is the public half of another key, and without trust only that "
            "one is believed"
            if stale
            else "without trust only the zones' own keys are believed, and it is none of them",
            fix="to replace the zone's key, add the old and the new one under trust, and name the "
            f"new one's public half: {DOCS}/keys.md#replace-or-take-back-a-key; if the old one is "
            "right, name it under keys.sign again"
            if stale
            else f"add it under trust, with from: and may: [{', '.join(lacks)}], and with it the "
            f"zones' own keys: {DOCS}/keys.md#replace-or-take-back-a-key",
            where=config.where(f"zones.{own.zone}.keys.sign-public" if stale else "zones"),
            reason="own-role",
        )
    named = {entry.name: index for index, entry in enumerate(config.trust)}
    entry = next((one for one in its if one.name in named), None)
    for_zone = f", with from: {own.zone}" if own.zone is not None else ""
    if entry is None:
        may = ", ".join(lacks)
        return ConfigError(
            what,
            why="no entry under trust has this key, so nobody could check what it signs",
            fix=f"add an entry with {_half(own)} and may: [{may}]{for_zone}: "
            f"{DOCS}/{'keyless' if own.keyless else 'keys'}.md",
            where=config.where("trust"),
            reason="own-role",
        )
    return ConfigError(
        what,
        why=f"{entry.name}, its entry under trust, does not say so, and nobody could check what "
        "it signs",
        fix=f"add {words} to `may` of {entry.name}{for_zone}",
        where=config.where(f"trust.{named[entry.name]}"),
        reason="own-role",
    )


def _half(own: OwnKey) -> str:
    """By what an entry of trust believes it."""
    rules = getattr(own.keyless, "rules", ())
    if not rules:
        return "its public half"
    return f'keyless: {{identity: "{rules[0].identity}", issuer: "{rules[0].issuer}", …}}'


# -- by the files that lie here, for `lint` and `doctor`


def told_by_files(opened: Project, zone: str) -> Iterator[tuple[bool, ConfigError]]:
    """What of this shows in public halves that are files here: no secret and no network is needed.
    True with what stops a run; False with what may spoil a log.

    Nothing where a key that counts is in a service, or is not here.
    """
    from sovgate.keys.registry import open_public

    config, sign = opened.config, opened.zone(zone).keys.sign
    rows = config.trust or ()
    if sign is None or not only_files(opened, zone):
        return
    if config.trust is not None and all(entry.zone != zone for entry in rows):
        return  # another zone's, of which this file says nothing: that zone's own file does
    try:
        public = open_public(_public_of(uri.parse(sign, what="key").rest), opened.base)
        trusted = opened.trusted(zone)
    except SovgateError:
        return
    own = OwnKey(called=f"the key of zone {zone}", key=public, zone=zone)
    refusal = refused(opened, trusted, own, LOGGED)
    if refusal is not None:
        yield True, refusal
    for index, entry in enumerate(rows):
        if entry.zone != zone or entry.until is not None:
            continue
        its = [one for one in trusted if one.name == entry.name]
        same = [one for one in trusted if its and one.key.der == its[0].key.der]
        acts = any({"transfer", "receipt", "promotion"} & one.may for one in same)
        if acts and not any("audit" in one.may for one in same):
            yield (
                False,
                ConfigError(
                    f"{entry.name} speaks for zone {zone}, and may not say audit",
                    why="where it is an earlier key of the zone, the zone's log holds entries of "
                    "it, and `audit verify` would end with 11",
                    fix=f"add audit and decision to `may` of {entry.name}",
                    where=config.where(f"trust.{index}"),
                    reason="own-role",
                ),
            )


def only_files(opened: Project, zone: str) -> bool:
    """Whether all keys that count for what the zone signs are files; certificates are others'."""
    config, keys = opened.config, opened.zone(zone).keys
    texts = [keys.sign, keys.sign_public]
    if config.trust is None:
        texts += [one.keys.sign_public or one.keys.sign for one in config.zones.values()]
    else:
        texts += [entry.key for entry in config.trust]
        if any(entry.certificate is not None for entry in config.trust):
            return False
    return all(uri.parse(one, what="key").scheme == "file" for one in texts if one is not None)


def _public_of(path: str) -> str:
    """What `keys generate` and `init` call the public half of a key file."""
    return f"file:{path.removesuffix('.pem')}.pub.pem"
