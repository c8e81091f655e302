"""What `--key URI` opens: what stands beside that key in sovgate.yaml counts there too.

Reads the project's file where a key may have settings and the option has none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import config as configuration
from sovgate import notices, uri
from sovgate.errors import ConfigError, SovgateError
from sovgate.key_settings import SETTINGS

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Signer


def signer(key: str, project: Path | None) -> Signer:
    """`project`: the folder that was named, or None for the nearest. Raises as `open_signer`."""
    from sovgate.keys.registry import open_signer

    opened = open_signer(whole(key, project), Path.cwd())
    if rules := getattr(opened, "rules", ()):
        _tell_unknown(opened, rules[0].identity, rules[0].issuer, project)
    return opened


def _tell_unknown(opened: Signer, identity: str, issuer: str, project: Path | None) -> None:
    """That the project believes nobody of these names. It may sign all the same: for others."""
    from sovgate.pipeline.project import nearest_project
    from sovgate.stages.trust import keyless_of

    with contextlib.suppress(SovgateError):  # whoever needs the project says what is wrong
        here = nearest_project(project)
        if here is None or keyless_of(opened, here.trusted()):
            return
        entry = (("identity", identity), ("issuer", issuer))
        words = ", ".join(f'{name}: "{value[:300]}"' for name, value in entry)
        notices.note(
            f"{here.config.document.name} trusts nobody of this name, so what is signed counts "
            "for nothing there until an entry of trust has "
            f"keyless: {{{words}, trusted-root: FILE}}"
        )


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
