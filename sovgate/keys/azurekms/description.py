"""What Azure Key Vault, or a Managed HSM, says of a key. Changes nothing; talks to that vault.

A vault tells neither where it is nor where its copies are, nor whether a key was made there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate.errors import ConfigError
from sovgate.keys import _answers
from sovgate.keys._api import History, KeyFacts, Lies, Protection, State
from sovgate.keys.azurekms.key import public_half, version_of
from sovgate.keys.azurekms.names import Named, parse_uri
from sovgate.keys.azurekms.vault import Vault
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

#: The first version of the API that tells the platform.
_API = "7.5"
_POLICY = "Microsoft.KeyVault/vaults/keyrotationpolicies/read"
#: `hsmPlatform`, as Microsoft's "About keys" explains it.
_PLATFORMS = {"0": "FIPS 140-2 level 1", "1": "FIPS 140-2 level 2", "2": "FIPS 140-3 level 3"}
_SIGNS, _WRAPS = {"sign"}, {"unwrapKey", "decrypt"}
_PERIOD = re.compile(r"P([0-9]{1,5})([DMY])", re.ASCII)


def describe(uri: Uri, base: Path, region: str | None = None) -> KeyFacts:
    """Needs Microsoft.KeyVault/vaults/keys/read; tells more with …/keyrotationpolicies/read."""
    named = parse_uri(uri, region)
    vault = Vault(named)
    path = f"{named.key}/{named.version}" if named.version else named.key
    answer = vault.ask(path, "look up", named.action("read"), api=_API)
    told, state = answer.get("key"), answer.get("attributes")
    if not isinstance(told, dict) or not isinstance(state, dict):
        raise _answers.bad_answer(named.host, "it describes no key")
    version = version_of(named, told.get("kid"))
    kind, operations = str(told.get("kty"))[:40], told.get("key_ops")
    done = set(map(str, operations)) if isinstance(operations, list) else set()
    uses = [use for use, needs in (("sign", _SIGNS), ("encrypt", _WRAPS)) if needs & done]
    public = _public(told, f"{named.host}/{named.key}/{version}")
    return KeyFacts(
        service="Azure Managed HSM" if named.managed else "Azure Key Vault",
        name=f"https://{named.host}/keys/{named.key}/{version}",
        state=_state(state),
        uses=tuple(uses),
        algorithm=public.algorithm if public is not None else kind,
        protection=_protection(kind, state),
        history=_history(vault, named, version, state),
        lies=Lies(),
        public=public,
    )


def _public(told: dict[str, Any], name: str) -> PublicKey | None:
    try:
        return public_half(told, name)
    except ConfigError:  # of a kind that is not used here
        return None


def _state(state: dict[str, Any]) -> State:
    now = datetime.now(UTC).timestamp()
    starts, ends = _seconds(state.get("nbf")), _seconds(state.get("exp"))
    if state.get("enabled") is not True:
        return "disabled"
    if ends is not None and ends <= now:
        return "expired"
    return "not-yet-valid" if starts is not None and starts > now else "enabled"


def _protection(kind: str, state: dict[str, Any]) -> Protection:
    platform, exportable = str(state.get("hsmPlatform", ""))[:8], state.get("exportable")
    level = f", HSM platform {platform} ({_PLATFORMS[platform]})" if platform in _PLATFORMS else ""
    return Protection(
        hsm=kind.endswith("-HSM"),
        told=f"type {kind}{level}",
        exportable=exportable if isinstance(exportable, bool) else None,
    )


def _history(vault: Vault, named: Named, version: str, state: dict[str, Any]) -> History:
    made = _seconds(state.get("created"))
    policy = _answers.as_far_as_allowed(
        "its rotation",
        lambda: vault.ask(f"{named.key}/rotationpolicy", "look up the rotation of", _POLICY),
    )
    after = None if policy is None else _rotates_after(policy)
    return History(
        version=version,
        since=made,
        rotates=None if policy is None else after is not None,
        next=_later(made, after) if made is not None and after else None,
        ends=_seconds(state.get("exp")),
    )


def _rotates_after(policy: dict[str, Any]) -> str | None:
    """How long after its making a version is replaced, as ISO 8601 has it; "" where that hangs on
    an expiry; None where nothing replaces it."""
    actions = policy.get("lifetimeActions")
    for one in actions if isinstance(actions, list) else ():
        trigger = one.get("trigger") if isinstance(one, dict) else None
        action = one.get("action") if isinstance(one, dict) else None
        if isinstance(action, dict) and str(action.get("type")).casefold() == "rotate":
            after = trigger.get("timeAfterCreate") if isinstance(trigger, dict) else None
            return str(after or "")
    return None


def _later(start: int, period: str) -> int | None:
    """Of whole days, months or years, the only forms that Key Vault takes."""
    found = _PERIOD.fullmatch(period)
    if found is None:
        return None
    count, unit = int(found[1]), found[2]
    if unit == "D":
        return start + count * 86400
    begun = datetime.fromtimestamp(start, UTC)
    months = begun.month - 1 + count * (12 if unit == "Y" else 1)
    year, month = begun.year + months // 12, months % 12 + 1
    try:
        return int(begun.replace(year=year, month=month, day=min(begun.day, 28)).timestamp())
    except ValueError:
        return None


def _seconds(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else None
