"""The METADATA comment of a Rego file, as OPA writes it: text -> plain values. No I/O."""

from __future__ import annotations

from typing import Any

from sovgate.errors import DOCS, ConfigError, Where

JSON = Any
MAX_LENGTH = 8192


def metadata(text: str, *, before: int, name: str) -> dict[str, JSON]:
    """The METADATA block right above line `before`, as YAML whose scalars all stay text; or {}.

    `name` is the file, for errors. Raises ConfigError "policy-metadata".
    """
    lines = text.splitlines()[: before - 1]
    block: list[str] = []
    while lines and lines[-1].startswith("#"):
        block.insert(0, lines.pop()[1:])
    start = next((at for at, line in enumerate(block) if line.strip() == "METADATA"), None)
    if start is None:
        return {}
    written = "\n".join(line.removeprefix(" ") for line in block[start + 1 :])
    import yaml

    why = None
    value: JSON = None
    try:
        if len(written) > MAX_LENGTH or _deep(written):
            why = "it is too long, nests too deep, or has anchors"
        else:
            value = yaml.load(written, yaml.BaseLoader)  # noqa: S506 (makes nothing but text)
    except yaml.YAMLError as error:
        why = str(error).splitlines()[0][:200]
    if why is None and value not in (None, "") and not isinstance(value, dict):
        why = "it is no mapping"
    if why is not None:
        raise ConfigError(
            f"METADATA of {name!r} cannot be read",
            why=why,
            where=Where(path=name, line=before),
            fix=f"see {DOCS}/policy.md for its fields",
            reason="policy-metadata",
        )
    return value or {}


def _deep(text: str) -> bool:
    """Brackets nested so deep, or aliases, that a YAML reader could be hurt by them."""
    depth = deepest = 0
    for char in text:
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    aliases = any(part[:1] in "&*" for part in text.replace("[", " ").replace("{", " ").split())
    return deepest > 8 or aliases
