"""Vets policy files by their AST before any engine evaluates them. Pure; imports no engine.

RULES 18: an unknown builtin behind a false term is never seen by running it, and a second file can
add to a package. So at load, by AST: builtins are allow-listed, `with` and dotted heads are
refused, and a project's own files stay in their own packages and may only deny. What this module
does not know it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sovgate.engines._api import (
    BUILTINS,
    LIBRARY,
    PERMIT,
    RULES,
    USER_PACKAGES,
    Module,
    Rule,
    Source,
)
from sovgate.engines.resolve import File, resolve
from sovgate.engines.trees import functions_of, line_of, static_path
from sovgate.errors import DOCS, ConfigError, Where
from sovgate.formats.decision import OWN_RULE
from sovgate.formats.metadata import metadata

JSON = Any


_TAGS = frozenset(
    {
        "Array",
        "ArithExpr",
        "ArrayCompr",
        "AssignExpr",
        "BinExpr",
        "Bool",
        "BoolExpr",
        "Call",
        "Compr",
        "Default",
        "Every",
        "Expr",
        "Func",
        "Membership",
        "NotExpr",
        "Null",
        "Number",
        "Object",
        "ObjectCompr",
        "RawString",
        "RefBrack",
        "RefDot",
        "Set",
        "SetCompr",
        "SomeIn",
        "SomeVars",
        "Spec",
        "String",
        "UnaryExpr",
        "Var",
    }
)
_RESERVED = frozenset({"input", "data", "rego", "future"})
_ROOTS = frozenset(name.split(".", 1)[0] for name in BUILTINS)
_FREE_IMPORTS = ("rego.v1", "future.keywords")
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
_SEVERITIES = ("error", "warning")


@dataclass
class _File:
    """What the walk over one file has to know."""

    source: Source
    package: str
    functions: frozenset[str]
    aliases: dict[str, str] = field(default_factory=dict)
    lines: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    def refuse(self, what: str, node: JSON, *, why: str | None = None, reason: str) -> NoReturn:
        raise ConfigError(
            what,
            why=why,
            where=Where(path=self.source.name, line=line_of(node)),
            fix=f"see {DOCS}/policy.md for what a rule may do",
            reason=reason,
        )


def vet(
    sources: Sequence[Source], ast: JSON, *, library: tuple[Source, JSON] | None = None
) -> tuple[tuple[Module, ...], tuple[Rule, ...]]:
    """Modules and their rules. `ast` is regorus' for exactly these sources, in their order.

    With our library and its tree, these are all of a project's files: then every reference must
    lead somewhere. Raises ConfigError, naming file and line, on the first thing not allowed.
    """
    if len(ast) != len(sources):
        raise ConfigError("the policies could not be read back from their engine")
    trees = [entry["ast"] for entry in ast]
    packages = [".".join(static_path(tree["package"]["refr"]) or ["?"]) for tree in trees]
    functions: dict[str, set[str]] = {}
    for tree, package in zip(trees, packages, strict=True):
        functions.setdefault(package, set()).update(functions_of(tree))
    modules: list[Module] = []
    rules: list[Rule] = []
    files: list[File] = []
    for source, tree, package in zip(sources, trees, packages, strict=True):
        file = _File(source=source, package=package, functions=frozenset(functions[package]))
        _vet_package(file, tree, packages)
        _vet_imports(file, tree)
        denies = _vet_heads(file, tree)
        _vet_bodies(file, tree)
        files.append(File(source=source, package=package, aliases=file.lines, tree=tree))
        module = Module(
            name=source.name,
            text=source.text,
            sha256=source.sha256,
            package=package,
            ours=source.ours,
        )
        modules.append(module)
        if denies:
            rules.append(_rule(file, module, tree))
        elif package.startswith(RULES):
            file.refuse(
                f"the rule package {package!r} has no `deny contains …`",
                tree["package"],
                reason="policy-no-deny",
            )
    if library is not None:
        tree = library[1]["ast"]
        resolve([File(source=library[0], package=LIBRARY, aliases={}, tree=tree), *files])
    return tuple(modules), tuple(rules)


def _vet_package(file: _File, tree: JSON, packages: Sequence[str]) -> None:
    node = tree["package"]
    package = file.package
    if file.source.ours:
        if package not in (PERMIT, LIBRARY) and not package.startswith(RULES):
            file.refuse(
                f"the package {package!r} is not one of sovgate's", node, reason="policy-package"
            )
    elif not any(
        package.startswith(prefix) and len(package) > len(prefix) for prefix in USER_PACKAGES
    ):
        file.refuse(
            f"a project's own rule may not be in package {package!r}",
            node,
            why="it may only deny, so its package must be `user.<name>` or `sovgate.user.<name>`",
            reason="policy-package",
        )
    if packages.count(package) > 1:
        file.refuse(f"two files have the package {package!r}", node, reason="policy-package")


def _vet_imports(file: _File, tree: JSON) -> None:
    own = "data.user.", "data.sovgate.user."
    for item in tree["imports"]:
        path = ".".join(static_path(item["refr"]) or ["?"])
        alias = item.get("as")
        # The alias' text is only in the source: its span holds the offsets, in bytes.
        if alias is not None:
            encoded = file.source.text.encode()
            name = encoded[alias["start"] : alias["end"]].decode(errors="replace")
        else:
            name = path.rpartition(".")[2]
        if path in _FREE_IMPORTS or path.startswith("future.keywords."):
            continue
        allowed = (
            path in ("input", f"data.{LIBRARY}")
            or path.startswith(("input.", f"data.{LIBRARY}."))
            or (not file.source.ours and path.startswith(own))
        )
        if not allowed:
            file.refuse(f"the import of {path!r} is not allowed", item, reason="policy-import")
        if name in _RESERVED | _ROOTS | {"deny", "allow"} or name in BUILTINS:
            file.refuse(
                f"the import of {path!r} uses the name {name!r}",
                item,
                why="it would hide what that name means",
                reason="policy-import",
            )
        file.aliases[name] = path
        file.lines[name] = (line_of(item) or 1, tuple(static_path(item["refr"]) or ()))


def _vet_heads(file: _File, tree: JSON) -> bool:
    """Whether the file has a `deny contains …`."""
    denies = False
    for rule in tree["rules"]:
        spec = rule.get("Spec") or rule.get("Default")
        if spec is None:
            file.refuse("this kind of rule is not known", rule, reason="policy-unknown")
        head = spec["head"] if "Spec" in rule else {"Default": spec}
        kind, body = next(iter(head.items()))
        path = static_path(body["refr"])
        if path is None or len(path) != 1:
            file.refuse(
                "a rule's head may not have dots or brackets",
                rule,
                why="it could add to another package",
                reason="policy-head",
            )
        name = path[0]
        if name in _RESERVED or name in BUILTINS or name in _ROOTS or name in file.aliases:
            file.refuse(f"a rule may not be named {name!r}", rule, reason="policy-shadow")
        if name == "deny":
            if kind != "Set":
                file.refuse(
                    "`deny` may only be a set, by `deny contains …`",
                    rule,
                    why="any other form could silence it",
                    reason="policy-deny",
                )
            denies = True
        if name == "allow" and (file.package != PERMIT or kind != "Set"):
            file.refuse(
                "only `sovgate.permit` may allow, by `allow contains …`",
                rule,
                why="rules may only deny",
                reason="policy-allow",
            )
    return denies


def _vet_bodies(file: _File, tree: JSON) -> None:
    stack: list[JSON] = [tree["rules"]]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            if node.get("with_mods"):
                file.refuse(
                    "`with` is not allowed in a rule",
                    node["with_mods"],
                    why="it replaces the case, or a builtin, with something else",
                    reason="policy-with",
                )
            for key, below in node.items():
                if key[:1].isupper() and key not in _TAGS:
                    file.refuse(f"{key} is not known here", node, reason="policy-unknown")
                if key == "Call":
                    _vet_call(file, below)
                elif key in ("RefDot", "RefBrack", "Var"):
                    _vet_data(file, node)
                stack.append(below)


def _vet_call(file: _File, call: JSON) -> None:
    path = static_path(call["fcn"])
    name = ".".join(path) if path else "?"
    if path and (name in file.functions or name in BUILTINS):
        return
    if path and (whole := file.aliases.get(path[0])) is not None and whole.startswith("data."):
        return
    file.refuse(
        f"the function {name!r} is not allowed in a rule",
        call,
        why="only functions of the same package and these are: " + ", ".join(sorted(BUILTINS)),
        reason="policy-builtin",
    )


def _vet_data(file: _File, node: JSON) -> None:
    """`data` may be read only where it is the library's, or a project's own."""
    below = node
    while (inner := below.get("RefDot") or below.get("RefBrack")) is not None:
        below = inner["refr"]
        if not isinstance(below, dict):
            return
    if below.get("Var", {}).get("value") != "data":
        return
    whole = ".".join(static_path(node) or [])
    mine = (LIBRARY, file.package)
    if any(whole == f"data.{name}" or whole.startswith(f"data.{name}.") for name in mine):
        return
    # The walk meets `data.sovgate` inside `data.sovgate.lib.x`: let a prefix pass, it is vetted
    # as part of the whole; a bare one reads nothing that a rule could use.
    if whole and any(f"data.{name}.".startswith(f"{whole}.") for name in mine):
        return
    file.refuse(
        "a rule may read `data` only in its own package and in `sovgate.lib`",
        node,
        why="what is not in the case cannot be part of a decision",
        reason="policy-data",
    )


def _rule(file: _File, module: Module, tree: JSON) -> Rule:
    line = tree["package"]["span"]["line"]
    meta = metadata(file.source.text, before=line, name=file.source.name)
    custom = meta.get("custom", {})
    if not isinstance(custom, dict):
        custom = {}

    def text(table: JSON, name: str, default: str | None = None) -> str | None:
        value = table.get(name, default)
        if value is not None and not isinstance(value, str):
            file.refuse(f"METADATA {name!r} is not text", tree["package"], reason="policy-metadata")
        return value

    default = file.package.rpartition(".")[2].replace("_", "-")
    rule_id = text(custom, "id", default) or default
    severity = text(custom, "severity", "error") or "error"
    if not _ID.fullmatch(rule_id) or severity not in _SEVERITIES:
        file.refuse(
            "METADATA has an id or a severity that is not allowed",
            tree["package"],
            why=f"id {rule_id[:80]!r}, severity {severity[:80]!r} of {', '.join(_SEVERITIES)}",
            reason="policy-metadata",
        )
    if not file.source.ours:
        rule_id = f"{OWN_RULE}{rule_id}"
    elif default != rule_id or "title" not in meta:
        file.refuse(
            f"METADATA of {file.package!r} lacks its title, or its id is not {default!r}",
            tree["package"],
            reason="policy-metadata",
        )
    return Rule(
        id=rule_id,
        package=file.package,
        title=text(meta, "title") or rule_id,
        severity=severity,
        stage=text(custom, "stage", "") or "",
        fix=text(custom, "fix"),
        preset=text(custom, "preset", "default") if file.source.ours else None,
        module=module,
    )
