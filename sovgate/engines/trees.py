"""Small questions to the syntax tree of a Rego file, as regorus gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

JSON = Any


def static_path(node: JSON) -> list[str] | None:
    """A static reference as its parts: `a.b`, `a["b"]`. None where a part is computed."""
    parts: list[str] = []
    while True:
        if "RefDot" in node:
            parts.append(str(node["RefDot"]["field"][1]))
            node = node["RefDot"]["refr"]
        elif "RefBrack" in node:
            index = node["RefBrack"]["index"]
            if "String" not in index:
                return None
            parts.append(str(index["String"]["value"]))
            node = node["RefBrack"]["refr"]
        elif "Var" in node:
            parts.append(str(node["Var"]["value"]))
            return parts[::-1]
        else:
            return None


def line_of(node: JSON) -> int | None:
    stack = [node]
    while stack:
        value = stack.pop(0)
        if isinstance(value, dict):
            span = value.get("span", value)
            if isinstance(span, dict) and isinstance(span.get("line"), int):
                return int(span["line"])
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return None


def first_name(node: JSON) -> str | None:
    while (inner := node.get("RefDot") or node.get("RefBrack")) is not None:
        node = inner["refr"]
    return str(node["Var"]["value"]) if "Var" in node else None


def constant(node: JSON) -> str | int | None:
    """The text or number that a node is; None where it is computed."""
    for kind in ("String", "RawString"):
        if kind in node:
            return str(node[kind]["value"])
    number = node.get("Number", {}).get("value")
    return number if isinstance(number, int) else None


def constants(node: JSON) -> list[str | int | None]:
    """The way that `object.get` is given: one key, or an array of them."""
    if "Array" in node:
        return [constant(item) for item in node["Array"]["items"]]
    return [constant(node)]


def dotted(node: JSON) -> list[str]:
    parts: list[str] = []
    while "Var" not in node:
        inner = node.get("RefDot") or node.get("RefBrack")
        if inner is None:
            return ["?"]
        key = inner["field"][1] if "field" in inner else constant(inner["index"])
        parts.insert(0, str(key))
        node = inner["refr"]
    return [str(node["Var"]["value"]), *parts]


def rules_of(tree: JSON) -> dict[str, list[JSON]]:
    found: dict[str, list[JSON]] = {}
    for rule in tree["rules"]:
        spec = rule.get("Spec")
        node = rule["Default"] if spec is None else next(iter(spec["head"].values()))
        name = first_name(node["refr"])
        if name is not None:
            found.setdefault(name, []).append(rule)
    return found


def is_function(rules: Sequence[JSON]) -> bool:
    return any("Func" in rule.get("Spec", {}).get("head", {}) for rule in rules)


def arguments(rules: Sequence[JSON]) -> list[JSON]:
    heads = [rule.get("Spec", {}).get("head", {}) for rule in rules]
    return next((list(head["Func"]["args"]) for head in heads if "Func" in head), [])


def outline(entry: JSON) -> tuple[str, frozenset[str]]:
    """Package and names of all rules of one file, a computed head by its first part."""
    tree = entry["ast"]
    names = set()
    for rule in tree["rules"]:
        head = rule.get("Spec", {}).get("head") or {"Default": rule.get("Default", {})}
        node = next(iter(head.values())).get("refr", {})
        while (inner := node.get("RefDot") or node.get("RefBrack")) is not None:
            node = inner["refr"]
        names.add(str(node.get("Var", {}).get("value", "?")))
    return ".".join(static_path(tree["package"]["refr"]) or ["?"]), frozenset(names)


def tests_in(ast: JSON) -> dict[str, str]:
    """`data.<package>.test_…` of every rule of that name -> the file that it is in."""
    found = {}
    for entry in ast:
        tree = entry["ast"]
        package = ".".join(static_path(tree["package"]["refr"]) or ["?"])
        for rule in tree["rules"]:
            head = rule.get("Spec", {}).get("head", {})
            path = static_path(next(iter(head.values()))["refr"]) if head else None
            if path is not None and len(path) == 1 and path[0].startswith("test_"):
                found[f"data.{package}.{path[0]}"] = str(entry["source"]["file"])
    return found


def functions_of(tree: JSON) -> Iterator[str]:
    for rule in tree["rules"]:
        head = rule.get("Spec", {}).get("head", {})
        if "Func" in head:
            path = static_path(head["Func"]["refr"])
            if path is not None and len(path) == 1:
                yield path[0]
