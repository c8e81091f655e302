"""Entries of `trust` and `set-aside`: whom a project believes, and what binds it no longer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from sovgate import key_settings, uri
from sovgate.config._records import CertificateTrust, KeylessTrust, SetAside, TrustEntry, ZoneConfig
from sovgate.errors import ConfigError, Malformed
from sovgate.formats.sections import Section
from sovgate.records import ROLES
from sovgate.strict import is_sha256, parse_time

#: A reason is a sentence: every decision shows it.
_REASON = re.compile(r"\S[^\x00]{8,298}\S")
#: A name is compared letter by letter: no space, no control character, none of a pattern's signs.
_NAME = re.compile(r"[^\s\x00-\x1f\x7f*^$\\]{1,1024}")
_WHOLE = "one whole name, without spaces, line breaks and the signs of a pattern"
_IDENTITY = "release@example.org, or a workflow's https://github.com/… address"
_ISSUER = "https://token.actions.githubusercontent.com"
_EXAMPLE = '"2026-11-01T00:00:00Z"'
_UNTIL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?", re.ASCII)


def key_uri(section: Section, key: str, what: str) -> str | None:
    """A URI as text. A key may also be a mapping, `{key: URI, address: …}`: what stands beside it
    becomes options of its URI (`key_settings`), so that a key has one form from here on.
    """
    if not section.has(key):
        return None
    if what == "key" and isinstance(section.value[key], dict):
        return _with_settings(section.section(key))
    text = section.text(key)
    try:
        parsed = uri.parse(text, what=what)
        key_settings.require_readable(parsed)
        if what != "store":
            key_settings.require_lasting(parsed)
    except ConfigError as error:
        where = section.document.where((*section.path, key))
        raise ConfigError(
            error.what, why=error.why, fix=error.fix, where=where, reason=error.reason
        ) from error
    return text


def _with_settings(below: Section) -> str:
    below.raw("key")
    text = str(key_uri(below, "key", "a key's"))
    scheme, found = uri.parse(text, what="key").scheme, {}
    for name, setting in key_settings.SETTINGS.get(scheme, {}).items():
        if not below.has(name):
            continue
        value = below.raw(name)
        number = setting.number and type(value) is int
        found[name] = str(value) if number else below.text(name)
        try:
            key_settings.check(scheme, name, found[name])
        except ConfigError as error:
            below.refuse(name, error.what, fix=error.fix)
        if re.search(rf"[?&]{name}=", text):
            below.refuse(name, f"{name} stands in the URI and beside it", fix="leave one of them")
    below.done()
    joined = key_settings.joined(text, found)
    if len(joined) > uri.MAX_LENGTH:
        below.refuse(None, f"the key with its settings is longer than {uri.MAX_LENGTH}")
    return joined


def trust_entry(section: Section, zones: Mapping[str, ZoneConfig]) -> TrustEntry:
    certificate = (
        _certificate(section.section("certificate")) if section.has("certificate") else None
    )
    key = key_uri(section, "key", "key")
    keyless = _keyless(section.section("keyless")) if section.has("keyless") else None
    if [key, certificate, keyless].count(None) != 2:
        section.refuse(
            None,
            "a trust entry has one of key:, certificate: and keyless:",
            fix="say once how the signer is known, for example key: keys/signer.pub.pem",
        )
    made = TrustEntry(
        name=section.text("name"),
        key=key,
        certificate=certificate,
        may=frozenset(section.texts("may", ROLES)),
        zone=section.choice("from", list(zones)) if section.has("from") else None,
        until=_former(section),
        keyless=keyless,
    )
    section.done()
    return made


def _former(section: Section) -> datetime | None:
    """The end of a signer that is trusted no longer: `former` and `until` stand together."""
    if not _opted_in(section, "former"):
        if section.has("until"):
            section.refuse("until", "until: is the end of a former signer", fix="add former: true")
        return None
    text = section.text("until", pattern=_UNTIL, form="a time", example=_EXAMPLE)
    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except Malformed:
        section.refuse(
            "until",
            f"{section.title('until')}: {text[:80]!r} is not a time",
            fix='write until: "2026-11-01T00:00:00Z", the time from which the key is not trusted',
        )


def set_aside_entry(section: Section) -> SetAside:
    record, reason = section.text("record"), section.text("reason")
    if not is_sha256(record.removeprefix("sha256:")) or not record.startswith("sha256:"):
        section.refuse(
            "record",
            f"{section.title('record')} is not the digest of one record",
            fix="write sha256: and the 64 digits that `sovgate check` shows for that record",
        )
    if not _REASON.fullmatch(reason):
        section.refuse(
            "reason",
            f"{section.title('reason')} does not say why",
            fix="write a sentence of 10 to 300 characters; every decision shows it",
        )
    section.done()
    return SetAside(record=record.removeprefix("sha256:"), reason=reason)


def _opted_in(section: Section, key: str) -> bool:
    """Whether an option that weakens trust is there; it can be `true`, or be left out."""
    if not section.has(key):
        return False
    if section.raw(key) is not True:
        section.refuse(key, f"{section.title(key)} is not true", fix="write true, or leave it out")
    return True


def _keyless(section: Section) -> KeylessTrust:
    """Both names whole: what looks like a pattern is refused, since it would match nobody."""
    for key, example in (("identity", _IDENTITY), ("issuer", _ISSUER)):
        if not section.has(key):
            section.refuse(
                None,
                f"the entry does not say which {key} it trusts",
                fix=f"add {key}: as the signer's certificate has it, for example {example}; "
                "`sovgate verify` of what it signed shows it",
            )
    made = KeylessTrust(
        identity=section.text("identity", pattern=_NAME, form=_WHOLE, example=_IDENTITY),
        issuer=section.text("issuer", pattern=_NAME, form=_WHOLE, example=_ISSUER),
        trusted_root=section.text("trusted-root"),
    )
    from sovgate.formats.keyless import kind_of

    if kind_of(made.identity) is None:
        section.refuse(
            "identity",
            f"{section.title('identity')} is no URI, no e-mail address and no user name",
            fix=f"write it whole, as the signer's certificate has it: {_IDENTITY}",
        )
    section.done()
    return made


def _certificate(section: Section) -> CertificateTrust:
    anybody = _opted_in(section, "unsafe-any-subject")
    if anybody and section.has("san"):
        section.refuse(
            "unsafe-any-subject",
            "unsafe-any-subject trusts everybody below the root, but san names one of them",
            fix="keep san",
        )
    if not anybody and not section.has("san"):
        section.refuse(
            None,
            "the entry does not say whose certificate it trusts",
            fix="add san: with the signer's e-mail address, URI or DNS name; to trust everybody "
            "whom the root ever issues a certificate, unsafe-any-subject: true",
        )
    made = CertificateTrust(
        root=section.text("root"),
        san=None if anybody else section.text("san"),
        authority_leaf=_opted_in(section, "unsafe-authority-leaf"),
    )
    section.done()
    return made
