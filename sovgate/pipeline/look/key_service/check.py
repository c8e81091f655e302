"""keys check: what each key's service says of it, compared with what the project says. Reads only.

A service that does not answer is no pass, and what it does not tell stays untold: both are said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import key_settings, uri
from sovgate.errors import (
    DOCS,
    ConfigError,
    ExitCode,
    KeyServiceError,
    ResidencyMismatch,
    SovgateError,
    UsageError,
)
from sovgate.pipeline import key_option
from sovgate.pipeline.named_keys import KINDS, require_half
from sovgate.pipeline.project import Project, nearest_project, open_project

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import KeyFacts

#: Kinds that wrap and are no files': as each service calls its symmetric keys.
_SYMMETRIC = ("aes256-gcm96", "symmetric-default", "GOOGLE_SYMMETRIC_ENCRYPTION")
#: What a state means for whoever relies on the key: the fix.
_STATES = {
    "disabled": "enable it, or name another key",
    "not-yet-valid": "wait until it begins to be valid, or name another key",
    "expired": "replace it: {docs}/keys.md#replace-or-take-back-a-key",
    "pending-deletion": "cancel its deletion while that is possible, or replace it: "
    "{docs}/keys.md#replace-or-take-back-a-key",
    "deleted": "replace it: {docs}/keys.md#replace-or-take-back-a-key",
    "unavailable": "ask the service's operator why, or name another key",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a key is named. `dotted` in the project file; None: on the command line alone.

    use     "sign" or "encrypt"; None: not said
    region  the zone's; `pinned`: the URI of the public half that the project has for it
    """

    text: str
    dotted: str | None = None
    zone: str | None = None
    use: str | None = None
    region: str | None = None
    pinned: str | None = None

    @property
    def label(self) -> str:
        if self.dotted is None:
            return "key"
        name = self.dotted.removeprefix("zones.").replace(".keys.", " ")
        return name.removesuffix(".key").replace("trust.", "trust ")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`facts` is None where the service told none; then `findings` says why.

    notes    what to know; none of it is wrong
    matches  whether the public half is the pinned one; None where they were not compared
    """

    place: Place
    facts: KeyFacts | None
    findings: tuple[SovgateError, ...]
    notes: tuple[str, ...]
    matches: bool | None


def check(
    text: str | None, *, zone: str | None, project: Path | None, now: float | None = None
) -> tuple[Checked, ...]:
    """Ask about one key, or about all that the project names, of one zone or of all.

    Raises what stands in the way of asking at all: ConfigError, UsageError.
    """
    opened = nearest_project(project) if text is not None else open_project(project)
    places = _places(opened, text, zone)
    if not places:
        raise ConfigError(
            "there is no key to ask about",
            why=f"zone {zone} names none" if zone is not None else "no zone names one",
            fix="name a key: sovgate keys check URI",
            reason="no-key",
        )
    moment = time.time() if now is None else now
    return tuple(_checked(opened, place, moment) for place in places)


def exit_code(found: tuple[Checked, ...]) -> ExitCode:
    """A key in a wrong place counts most, then one that cannot be relied on."""
    codes = [_code(one.place, error) for one in found for error in one.findings]
    for first in (ExitCode.RESIDENCY, ExitCode.KEY):
        if first in codes:
            return first
    return codes[0] if codes else ExitCode.OK


def _code(place: Place, error: SovgateError) -> ExitCode:
    """What the project file names and is not there is wrong with the file."""
    if isinstance(error, UsageError) and place.dotted is not None:
        return ExitCode.CONFIG
    return error.exit_code


def _places(opened: Project | None, text: str | None, zone: str | None) -> list[Place]:
    named = [] if opened is None else list(_named(opened))
    region = None
    if zone is not None:
        if opened is None:
            raise UsageError(
                "--zone names a zone, and there is no project here",
                fix="run it in the folder of sovgate.yaml, or name that with --project",
                reason="no-project",
            )
        region = opened.zone(zone).region
        named = [one for one in named if one.zone == zone]
    if text is None:
        return named
    whole = key_option.whole(text, opened.base if opened is not None else None)
    same = [one for one in named if one.text in (text, whole)]
    return same or [Place(text=whole, zone=zone, region=region)]


def _named(opened: Project) -> Iterator[Place]:
    """Each key that the project names; a public half beside its own key is what pins that."""
    for name, zone in opened.config.zones.items():
        keys = zone.keys
        for use, secret, public in (
            ("sign", keys.sign, keys.sign_public),
            ("encrypt", keys.encrypt, keys.encrypt_public),
        ):
            place = Place(
                text=secret or public or "",
                dotted=f"zones.{name}.keys.{use}" + ("" if secret else "-public"),
                zone=name,
                use=use,
                region=zone.region,
                pinned=public if secret else None,
            )
            if place.text:
                yield place
    for index, entry in enumerate(opened.config.trust or ()):
        if entry.key is not None and uri.parse(entry.key, what="key").scheme != "file":
            region = opened.zone(entry.zone).region if entry.zone is not None else None
            yield Place(
                text=entry.key,
                dotted=f"trust.{index}.key",
                zone=entry.zone,
                use="sign",
                region=region,
            )


def _checked(opened: Project | None, place: Place, now: float) -> Checked:
    findings: list[SovgateError] = []
    facts: KeyFacts | None = None
    matches: bool | None = None
    try:
        facts = _facts(opened, place)
        findings += _wrong(place, facts)
        pinned = _pinned(opened, place)
        if pinned is not None and facts.public is not None:
            matches = pinned == facts.public
        if pinned is not None and matches is False:
            findings.append(_other_half(place, facts, pinned))
    except SovgateError as error:
        findings.append(error)
    for finding in findings:
        if finding.where is None and opened is not None and place.dotted is not None:
            finding.where = opened.config.where(place.dotted)
    return Checked(
        place=place,
        facts=facts,
        findings=tuple(findings),
        notes=() if facts is None else tuple(_to_know(place, facts, now)),
        matches=matches,
    )


def _facts(opened: Project | None, place: Place) -> KeyFacts:
    from sovgate.keys.registry import describe

    if opened is None:
        return describe(place.text, Path.cwd(), place.region)
    if place.dotted is not None:
        require_half(place.dotted, place.text, opened.base)
        _require_believed(opened, place.text, place.dotted, place.zone)
    with opened.own_keys():
        base = opened.base if place.dotted is not None else Path.cwd()
        return describe(place.text, base, place.region)


def _require_believed(opened: Project, text: str, dotted: str, zone: str | None) -> None:
    """Of an exported key, that it is its zone's own word, as whoever uses it would find."""
    from sovgate.pipeline.exported import believed

    if dotted.endswith("-public"):
        believed(opened, zone, text, dotted)


def _wrong(place: Place, facts: KeyFacts) -> Iterator[SovgateError]:
    """What the service told, and makes the key one that nobody may rely on there."""
    name = facts.name[:200]
    if facts.state is not None and facts.state != "enabled":
        yield KeyServiceError(
            f"{name} cannot be used",
            why=f"its state is {facts.state}{_until(facts)}",
            fix=_STATES[facts.state].format(docs=DOCS),
            reason="key-disabled",
        )
    if facts.lies.replicas:
        yield ResidencyMismatch(
            f"{name} has a copy outside its zone",
            why=f"its copies are in {', '.join(facts.lies.replicas)[:200]}, and it lies in "
            f"{facts.lies.region}",
            fix="use a key of one region, or delete those replicas",
            reason="key-elsewhere",
        )
    if place.use is not None and not _does(place.use, facts):
        yield ConfigError(
            f"{name} cannot {place.use}",
            why=f"its service has it to {' and '.join(facts.uses or ()) or 'do something else'}, "
            f"of kind {facts.algorithm or 'not told'}",
            fix=f"name a key to {place.use} there, of a kind in the table of {DOCS}/keys.md",
            reason="unsupported-key-use",
        )
    if _asked_for_hsm(place.text) and facts.protection.hsm is not True:
        yield KeyServiceError(
            f"{name} is not known to be kept in an HSM",
            why=f"protection: hsm is asked for beside the key; its service says: "
            f"{facts.protection.told or 'not told'}",
            fix="make a key with that protection, or remove protection from sovgate.yaml",
            reason="protection-level",
        )


def _does(use: str, facts: KeyFacts) -> bool:
    """Whether it can be used so here. Services have more kinds, which nothing of ours opens; what
    is not told is no fault."""
    kinds = (*KINDS[use], *(_SYMMETRIC if use == "encrypt" else ()))
    told = facts.uses is None or use in facts.uses
    return told and (facts.algorithm is None or facts.algorithm.startswith(kinds))


def _asked_for_hsm(text: str) -> bool:
    parsed = uri.parse(text, what="key")
    if "protection" not in key_settings.SETTINGS.get(parsed.scheme, {}):
        return False
    return key_settings.split(parsed)[1].get("protection") == "hsm"


def _pinned(opened: Project | None, place: Place) -> PublicKey | None:
    """The half that the project has for it. Raises what stands in the way of reading that."""
    if opened is None or place.pinned is None:
        return None
    return opened.pinned(place.pinned, f"{place.dotted}-public", place.zone)


def _other_half(place: Place, facts: KeyFacts, pinned: PublicKey) -> SovgateError:
    """RULES 10: what the project pins is what the service has."""
    its = facts.public.key_id if facts.public is not None else "not told"
    return KeyServiceError(
        f"{facts.name[:200]} has another public half than {place.dotted}-public",
        why=f"its id is {its}, and that one's is {pinned.key_id}",
        fix="if the key was replaced or rotated, give its new public half to all who verify or "
        f"encrypt, and name it there ({DOCS}/keys.md#replace-or-take-back-a-key); until they have "
        "it, name the key's earlier version; else find out which service answers",
        reason="wrong-key",
    )


def _until(facts: KeyFacts) -> str:
    ends = facts.history.ends
    return "" if ends is None else f", {day(ends)}"


def day(seconds: int) -> str:
    """ "2026-11-29", of UTC; times that no calendar has are told as they are."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"


def _to_know(place: Place, facts: KeyFacts, now: float) -> Iterator[str]:
    label, protection, history = place.label, facts.protection, facts.history
    if protection.exportable and facts.service != "file":
        yield f"{label}: its secret half can be exported by whoever its service lets do so"
    if history.origin == "imported":
        yield f"{label}: it was made elsewhere and brought there: a copy may be where it was made"
    if history.origin == "external":
        yield f"{label}: its owner keeps it outside of the service, which vouches for nothing there"
    if facts.state == "enabled" and history.ends is not None:
        yield f"{label}: it ends on {day(history.ends)}"
    if history.next is not None and history.next < now:
        yield f"{label}: its rotation was due on {day(history.next)}"
    if place.pinned is not None and facts.public is None:
        yield f"{label}: its public half is not told, so it was not compared with the pinned one"


def placed(one: Checked, error: SovgateError) -> dict[str, object]:
    """A finding for programs."""
    return {
        "exit": int(_code(one.place, error)),
        "reason": error.reason,
        "what": error.what,
        "why": error.why,
        "fix": error.fix,
        "where": str(error.where) if error.where is not None else None,
    }
