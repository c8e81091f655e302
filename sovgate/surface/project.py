"""schemas/project.json with its lists from the code, and docs/reference/project.md made from it.

Pure: a JSON Schema to text. The schema's words are written by hand in the schema itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sovgate import regions
from sovgate.key_settings import SETTINGS, Setting
from sovgate.pipeline.look.scaffold import SCHEMA
from sovgate.records import CLASSES, ROLES
from sovgate.surface.reference import cell, header, table

SOURCE = "schemas/project.json"
EDITOR_LINE = f"# yaml-language-server: $schema={SCHEMA}"

Schema = Mapping[str, Any]

_ARRAY = re.compile(r'^( *)(.*)\[\n((?: *"[^"\n]*",?\n)+) *\](,?)$', re.MULTILINE)


def schema(text: str) -> str:
    """The same schema in one spelling, with the lists that the code knows."""
    root = json.loads(text)
    lists = {
        "role": list(ROLES),
        "standard-class": list(CLASSES),
        "place": [group.code for group in regions.all_groups()],
        "region": sorted(region.id for region in regions.all_regions()),
    }
    for name, values in lists.items():
        root["$defs"][name]["enum"] = values
    root["$defs"]["key"] = _key()
    root["$defs"]["key-settings"] = _key_settings()
    return _ARRAY.sub(_wrapped, json.dumps(root, indent=2, ensure_ascii=False)) + "\n"


def _key() -> dict[str, Any]:
    return {"anyOf": [{"$ref": "#/$defs/lasting"}, {"$ref": "#/$defs/key-settings"}]}


def _key_settings() -> dict[str, Any]:
    """A key with what stands beside it, by `key_settings`: for each scheme its own names."""
    properties: dict[str, Any] = {
        "key": {"$ref": "#/$defs/lasting", "description": "The key itself, as a URI."}
    }
    users: dict[str, list[str]] = {}
    rules: list[dict[str, Any]] = []
    for scheme, settings in SETTINGS.items():
        for name, setting in settings.items():
            users.setdefault(name, []).append(scheme)
            says = f"{setting.says} For {', '.join(f'`{one}`' for one in users[name])}."
            kind: dict[str, Any] = {"type": "string"}
            if setting.number:
                kind = {"anyOf": [kind, {"type": "integer", "minimum": 1, "maximum": 999_999}]}
            properties[name] = {**kind, "description": says}
        rules.append(_only(f"^{scheme}:(?!\\\\)", settings))
    schemes = "|".join(SETTINGS)
    rules.append(_only(f"^(?!({schemes}):(?!\\\\))", {}))
    return {
        "title": "key with settings",
        "description": "A key of a service, with what the service needs to be told beside it. Each "
        "setting can be an option of the URI instead: `URI?NAME=VALUE&NAME=VALUE`. The environment "
        "gives credentials alone.",
        "type": "object",
        "properties": properties,
        "required": ["key"],
        "additionalProperties": False,
        "allOf": rules,
    }


def _only(pattern: str, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Keys whose URI is like `pattern` have these settings and no others, none of them twice."""
    then: dict[str, Any] = {"propertyNames": {"enum": ["key", *settings]}}
    if settings:
        then["properties"] = {n: {"pattern": f"^({one.pattern})$"} for n, one in settings.items()}
        then["allOf"] = [
            {"not": {"required": [n], "properties": {"key": {"pattern": f"[?&]{n}="}}}}
            for n in settings
        ]
    return {"if": {"properties": {"key": {"pattern": pattern}}}, "then": then}


def _wrapped(match: re.Match[str]) -> str:
    """A list of texts on as few lines as it needs."""
    indent, start, values, end = match.groups()
    texts = values.split("\n")[:-1]
    line = f"{indent}{start}[{' '.join(text.strip() for text in texts)}]{end}"
    if len(line) <= 100 or len(texts) == 1:
        return line
    lines = [f"{indent} "]
    for text in texts:
        if len(lines[-1]) + len(text.strip()) > 98:
            lines.append(f"{indent} ")
        lines[-1] += f" {text.strip()}"
    return "\n".join([f"{indent}{start}[", *lines, f"{indent}]{end}"])


def page(text: str) -> str:
    """The reference of sovgate.yaml: a heading for the file and one for each kind of part."""
    root: Schema = json.loads(text)
    named = {name: part for name, part in root["$defs"].items() if "properties" in part}
    parts = [header(SOURCE), f"# {root['title']}\n\n{root['description']}\n\n", _READING]
    parts += ["## The file\n\n", _rows(root, root), "\n"]
    for name, part in named.items():
        places = ", ".join(f"`{place}`" for place in dict.fromkeys(_places(root, name)))
        parts.append(f"## {part['title']}\n\n{part['description']}\n\nIt stands at {places}.\n\n")
        parts += [_rows(part, root), "\n"]
    classes = ", ".join(f"`{name}`" for name in root["$defs"]["standard-class"]["enum"])
    parts.append(f"## Standard classes of data\n\n{classes}.\n\n")
    parts.append(_NOT_SAID)
    return "".join(parts)


_READING = f"""The file is read as YAML 1.2: `NO` is Norway, and `on` is a word. A key that is
unknown or written twice is an error, with its line and the key that was probably meant. Anchors,
aliases, tags and merge keys are refused. `sovgate lint` checks the file without a network.

**In an editor.** `sovgate init` writes this line at the top of `sovgate.yaml`, and the schema
beside it:

```yaml
{EDITOR_LINE}
```

An editor with a YAML language server then completes keys and marks mistakes, without a network.
For a project that has no schema yet, or after an upgrade, run
`sovgate init --schema > .sovgate-schema.json`.

"""

_NOT_SAID = """## What the schema cannot say

`sovgate lint` and every command refuse these too. The schema alone accepts them:

- a zone that `border`, `trust` or `audit` names and that `zones` does not declare;
- a data set that a gate names and that `datasets` does not declare;
- a class in `border` that is neither standard nor under `classes`, if the file has `classes`;
- a `gitops.repo` whose protocol, host or path cannot be used, or that holds credentials;
- a `gitops.path` that no folder of a repository can have on each system, such as `a:b` or `.git/x`;
- a setting beside a key that makes the key's URI too long, or an `address` whose host is none;
- a mistake in the YAML itself: a key that stands twice, an anchor, a file that is too large.

What is in other files (keys, manifests, rules) is checked when it is read, and by `sovgate lint`
and `sovgate doctor`.
"""


def _rows(part: Schema, root: Schema) -> str:
    required = part.get("required", ())
    rows = []
    for key, below in part["properties"].items():
        full = {**_resolved(below, root), **below}
        rows.append((f"`{key}`", _kind(full, root), "yes" if key in required else "", _says(full)))
    return table(("key", "value", "required", "meaning"), rows)


def _says(full: Schema) -> str:
    text = cell(full.get("description", ""))
    if "default" in full:
        text += f" Default: {_default(full['default'])}."
    for example in full.get("examples", ())[:1]:
        text += f" Example: `{_shown(example)}`."
    return text


def _default(value: Any) -> str:
    return f"`{_shown(value)}`" if value != [] else "an empty list"


def _shown(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)


def _kind(full: Schema, root: Schema) -> str:
    if "const" in full:
        return f"`{json.dumps(full['const'])}`"
    name = full.get("$ref", "").rpartition("/")[2]
    if name in ("region", "place"):
        return "a region" if name == "region" else "a place"
    if "enum" in full:
        return " or ".join(f"`{value}`" for value in full["enum"])
    if "properties" in full:
        return f"[{full['title']}](#{_anchor(full['title'])})"
    if "anyOf" in full:
        return " or ".join(_kind({**_resolved(one, root), **one}, root) for one in full["anyOf"])
    kind = full.get("type")
    if kind == "array":
        return f"a list of {_plural(full['items'], root)}"
    if kind == "object":
        below = _resolved(full["additionalProperties"], root)
        return f"names, each with a [{below['title']}](#{_anchor(below['title'])})"
    if kind == "boolean":
        return "`true` or `false`"
    return {
        "null": "null",
        "number": "a number",
        "integer": "a number",
        "string": "a URI" if name == "uri" else "text",
    }[str(kind)]


def _plural(items: Schema, root: Schema) -> str:
    full = _resolved(items, root)
    name = items.get("$ref", "").rpartition("/")[2]
    if name == "role":
        return "roles: " + ", ".join(f"`{value}`" for value in full["enum"])
    if name == "place":
        return "countries (`DE`) and groups of them (`EU`, `EEA`, `EFTA`)"
    return f"[trust entries](#{_anchor(full['title'])})" if "title" in full else "texts"


def _anchor(title: str) -> str:
    return title.replace(" ", "-")


def _resolved(part: Schema, root: Schema) -> Schema:
    ref = part.get("$ref")
    found: Schema = root["$defs"][ref.rpartition("/")[2]] if ref else part
    return found


def _places(root: Schema, name: str) -> Iterator[str]:
    """Where a part stands: `zones.NAME.keys`."""

    def walk(part: Schema, path: str) -> Iterator[str]:
        for key, below in part.get("properties", {}).items():
            at = f"{path}.{key}".lstrip(".")
            yield from here(below, at)
            if isinstance(below.get("additionalProperties"), dict):
                yield from here(below["additionalProperties"], f"{at}.NAME")
            if "items" in below:
                yield from here(below["items"], f"{at}[]")

    def here(below: Schema, at: str) -> Iterator[str]:
        if below.get("$ref") == f"#/$defs/{name}":
            yield at
        else:
            resolved = _resolved(below, root)
            for one in (*below.get("anyOf", ()), *resolved.get("anyOf", ())):
                yield from here(one, at)
            yield from walk(resolved, at)

    return walk(root, "")
