"""`.sovgate-guard.yaml`: what may be in Git all the same, each with its reason. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sovgate.errors import ConfigError
from sovgate.formats.sections import Section
from sovgate.formats.yaml12 import load

FILE_NAME = ".sovgate-guard.yaml"
MAX_BYTES = 256 * 1024
#: Larger files that hold weights do not belong into Git.
WEIGHTS_OVER = 1024 * 1024
RULES = ("declared-data", "personal-data", "key-material", "pickle", "model-weights", "large-file")


@dataclass(frozen=True, kw_only=True)
class Allow:
    """One exception: files that `path` matches (`*` within a folder, `**` across), for one rule."""

    path: str
    rule: str
    reason: str
    pattern: re.Pattern[str] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class GuardFile:
    """`weights_over` is in bytes."""

    allow: tuple[Allow, ...] = ()
    weights_over: int = WEIGHTS_OVER

    def reason(self, path: str, rule: str) -> str | None:
        """Why this rule lets this file be, or None. `path` starts at this file's folder."""
        for allow in self.allow:
            if allow.rule == rule and allow.pattern.fullmatch(path):
                return allow.reason
        return None


def parse(data: bytes, name: str) -> GuardFile:
    """Raises ConfigError with the line."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES} bytes", reason="bad-yaml")
    top = Section(load(data, name))
    if top.integer("version", example=1) != 1:
        top.refuse("version", "this version is not known", fix="write version: 1")
    allow = []
    for row in top.rows("allow"):
        path = row.text("path")
        if path.startswith("/") or ".." in path.split("/"):
            row.refuse("path", "a path starts at the folder of this file, and stays below it")
        reason = row.text("reason")
        if len(reason.strip()) < 3:
            row.refuse("reason", "say why")
        allow.append(
            Allow(
                path=path,
                rule=row.choice("rule", RULES),
                reason=reason.strip(),
                pattern=_pattern(path),
            )
        )
        row.done()
    made = GuardFile(
        allow=tuple(allow),
        weights_over=top.integer("weights-over") if top.has("weights-over") else WEIGHTS_OVER,
    )
    top.done()
    return made


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/?|\*|\?)", path)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.DOTALL)
