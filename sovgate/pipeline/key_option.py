"""What `--key URI` opens: what stands beside that key in sovgate.yaml counts there too.

Reads the project's file where a key may have settings and the option has none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import config as configuration
from sovgate import notices, uri
from sovgate.errors import ConfigError, SovgateError
from sovgate.key_settings import SETTINGS

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig, TrustEntry
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Signer


def signer(key: str, project: Path | None, roles: Sequence[str] = ()) -> Signer:
    """`project`: the folder that was named, or None for the nearest. Raises as `open_signer`.

    roles: what is to be signed; that the project will not believe it is told, and refused by none
    """
    from sovgate.keys.registry import open_signer

    opened = open_signer(whole(key, project), Path.cwd())
    with contextlib.suppress(SovgateError):  # whoever needs the project says what is wrong with it
        config = configuration.read(configuration.find(project))
        _tell_unbelieved(config, opened, roles)
    return opened


def _tell_unbelieved(config: ProjectConfig, opened: Signer, roles: Sequence[str]) -> None:
    """That the project believes nobody of this name or key, or not in this role. It may sign all
    the same: for others. Asks no service.
    """
    document, rules = config.document.name, getattr(opened, "rules", ())
    its = _entries(config, opened)
    if its is None:
        return
    if not its and rules:
        entry = (("identity", rules[0].identity), ("issuer", rules[0].issuer))
        words = ", ".join(f'{name}: "{value[:300]}"' for name, value in entry)
        notices.note(
            f"{document} trusts nobody of this name by this instance, so what is signed counts for "
            f"nothing there until an entry of trust has keyless: {{{words}, trusted-root: FILE}}"
        )
        return
    lacks = [role for role in roles if not any(role in entry.may for entry in its)]
    if lacks:
        who = " and ".join(entry.name for entry in its) or "nobody with this key"
        may = f"to say {', '.join(sorted(its[0].may))}" if its else "under trust"
        notices.note(
            f"{document} trusts {who} {may}, so {' and '.join(lacks)} counts for nothing there "
            f"until an entry of trust with this signer has may: [{', '.join(lacks)}]"
            + ("; a record that cannot be counted denies" if "provenance" in lacks else "")
        )


def _entries(config: ProjectConfig, opened: Signer) -> list[TrustEntry] | None:
    """Those of this signer; None where that is not known here: by a path to a root, or where a
    service has to be asked, or where zones' own keys are believed.
    """
    from sovgate.keys.registry import open_public

    today = [entry for entry in config.trust or () if entry.until is None]
    rules = getattr(opened, "rules", ())
    if rules:
        from sovgate.pipeline.named_roots import named_by_root
        from sovgate.stages.trust import keyless_of

        keyless = [entry for entry in today if entry.keyless is not None]
        its = keyless_of(opened, [named_by_root(entry, config.path.parent) for entry in keyless])
        return [entry for entry in keyless if entry.name in {one.name for one in its}]
    keys = [(entry, entry.key) for entry in today if entry.key is not None]
    served = any(uri.parse(text, what="key").scheme != "file" for _, text in keys)
    if config.trust is None or served or opened.certificates:
        return None
    base, key = config.path.parent, opened.public_key
    return [entry for entry, text in keys if open_public(text, base) == key]


def public(key: str, project: Path | None) -> PublicKey:
    from sovgate.keys.registry import open_public

    return open_public(whole(key, project), Path.cwd())


def whole(key: str, project: Path | None) -> str:
    """The URI with the settings that the project has beside it; as it is where it has its own.

    Raises ConfigError, "several-keys", where the project names it with different ones.
    """
    scheme = uri.parse(key, what="key").scheme
    if scheme not in SETTINGS or "?" in key:
        return key
    try:
        config = configuration.read(configuration.find(project))
    except SovgateError:
        return key  # whoever needs the project says what is wrong with it
    found = {text for text in _keys(config) if text == key or text.startswith(f"{key}?")}
    if len(found) > 1:
        raise ConfigError(
            f"{config.document.name} names {key[:200]!r} with different settings",
            why="which of them is meant is not guessed",
            fix="write the settings into --key, as options of the URI: "
            + " or ".join(sorted(found))[:600],
            reason="several-keys",
        )
    return found.pop() if found else key


def _keys(config: ProjectConfig) -> Iterator[str]:
    for zone in config.zones.values():
        keys = zone.keys
        for text in (keys.sign, keys.sign_public, keys.encrypt, keys.encrypt_public):
            if text is not None:
                yield text
    yield from (entry.key for entry in config.trust or () if entry.key is not None)
