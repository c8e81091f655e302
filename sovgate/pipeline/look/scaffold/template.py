"""Templates of the package with their fields filled in, as the writers of `init` use them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from sovgate.errors import InternalError
from sovgate.pipeline.look.answers import ZoneAnswer

_TEMPLATES = Path(__file__).parents[3] / "templates"
_FIELD = re.compile(r"@\{([a-z]+)\}")
#: A field that is a whole YAML value, and names that some reader of YAML takes for something else
#: than text: Norway is `no`.
_WHOLE = re.compile(r"(?:(?<=[:,] )|(?<=\[))@\{[a-z]+\}(?=[,}\]\n])")
_NO_TEXT = re.compile(r"y|n|yes|no|on|off|true|false|null|[0-9][a-z0-9_.-]*")


def fill(name: str, /, **values: str) -> str:
    """A template with its `@{fields}` filled in; all of them, and no others."""
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    if set(_FIELD.findall(text)) - set(values):
        raise InternalError(f"the template {name} wants a value that nobody gives")
    whole = {match.start() for match in _WHOLE.finditer(text)}
    return _FIELD.sub(
        lambda match: (text_value if match.start() in whole else str)(values[match.group(1)]), text
    )


def text_value(name: str) -> str:
    """A name as a YAML value, in quotes where it needs them."""
    return json.dumps(name) if _NO_TEXT.fullmatch(name) else name


def place_of(zone: ZoneAnswer) -> str:
    region = zone.region
    return f"{region.name}, {region.country}; {region.run_by}"


def lines(names: Sequence[str]) -> str:
    """Several values of one input, one a line, as a quoted YAML text."""
    return json.dumps("\n".join(names))
