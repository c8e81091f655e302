"""Reads the rules of one file: what values look like, and whether what is asked of them is there.

Pure. `resolve` knows the other files. A body is read until nothing new is learnt of its variables,
since Rego has no order; then once more, and then what leads nowhere is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from sovgate.engines import shapes
from sovgate.engines._api import BUILTINS, Source
from sovgate.engines.shapes import ANYTHING, UNBOUND, VALUE, Many, Nowhere, Record, Shape
from sovgate.engines.trees import arguments, constant, constants, dotted, is_function, line_of
from sovgate.errors import DOCS, ConfigError, Where

if TYPE_CHECKING:
    from sovgate.engines.resolve import Resolver

JSON = Any

#: Times that a body is read again until nothing new is learnt of its variables.
MAX_ROUNDS = 12
#: Builtins that hand on what they are given -> how many arguments they take.
_ARITY = {
    "array.concat": 2,
    "array.reverse": 1,
    "array.slice": 3,
    "intersection": 1,
    "max": 1,
    "min": 1,
    "object.get": 3,
    "object.keys": 1,
    "object.remove": 2,
    "object.union": 2,
    "sort": 1,
    "split": 2,
    "union": 1,
}


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """One file: its imports as in `File`, and the rules of each name."""

    source: Source
    package: str
    aliases: Mapping[str, tuple[int, tuple[str, ...]]]
    rules: dict[str, list[JSON]]


@dataclass
class _Scope:
    """Variables of one body; `above` is the body around it."""

    above: _Scope | None = None
    names: dict[str, Shape] = field(default_factory=dict)

    def find(self, name: str) -> _Scope | None:
        here: _Scope | None = self
        while here is not None and name not in here.names:
            here = here.above
        return here

    def top(self) -> _Scope:
        return self if self.above is None else self.above.top()


INTRICATE, SIMPLER = "a rule is too intricate to follow", "split it into simpler helpers"


class Reader:
    """Reads one file's rules. Not `loud`: what leads nowhere is not told yet, there may be more
    to learn of it; or the file is ours."""

    def __init__(self, resolver: Resolver, module: Parsed, *, loud: bool) -> None:
        self.resolver, self.module, self.loud = resolver, module, loud

    def refuse(self, what: str, node: JSON, fix: str | None, why: str | None = None) -> NoReturn:
        raise ConfigError(
            what,
            why=why,
            where=Where(path=self.module.source.name, line=line_of(node)),
            fix=fix or f"see {DOCS}/formats.md, section Case and decision, for what there is",
            reason="policy-reference",
        )

    def rule(self, rule: JSON, given: tuple[Shape, ...] | None) -> Shape:
        """What its value looks like; `given` are a function's arguments."""
        if "Default" in rule:
            return self.value(rule["Default"]["value"], _Scope())
        kind, head = next(iter(rule["Spec"]["head"].items()))
        made: list[Shape] = []
        scope = _Scope()
        for arg, shape in zip(head.get("args", ()), given or (), strict=False):
            self.bind(arg, shape, scope, new=True)
        wanted = head.get("key") if kind == "Set" else (head.get("assign") or {}).get("value")
        bodies = rule["Spec"]["bodies"] or [{"query": {"stmts": []}, "assign": None}]
        for body in bodies:
            term = (body.get("assign") or {}).get("value") or wanted
            shape = self.query(body["query"]["stmts"], _Scope(above=scope), [term])[0]
            made.append(shape)
        found = shapes.either(*made)
        return Many(name="many", item=found, by_value=True) if kind == "Set" else found

    def query(self, stmts: Sequence[JSON], scope: _Scope, terms: Sequence[JSON]) -> list[Shape]:
        """Reads a body until nothing new is learnt, then once more, and tells; then its terms."""
        for stmt in stmts:
            self.declare(stmt["literal"], scope)
        loud, self.loud = self.loud, False
        for _ in range(MAX_ROUNDS if loud else 2):
            before = dict(scope.names), dict(scope.top().names)
            for stmt in stmts:
                self.literal(stmt["literal"], scope)
            if before == (scope.names, scope.top().names):
                break
        self.loud = loud
        if loud:
            for stmt in stmts:
                self.literal(stmt["literal"], scope)
        return [VALUE if term is None else self.value(term, scope) for term in terms]

    def declare(self, literal: JSON, scope: _Scope) -> None:
        kind, node = next((k, v) for k, v in literal.items() if k != "span")
        patterns: list[JSON] = []
        if kind == "SomeVars":
            for span in node["vars"]:
                scope.names[self.text(span)] = UNBOUND
        elif kind == "SomeIn":
            patterns = [node["key"], node["value"]]
        elif kind == "Expr" and node["expr"].get("AssignExpr", {}).get("op") == "ColEq":
            patterns = [node["expr"]["AssignExpr"]["lhs"]]
        while patterns:
            pattern = patterns.pop()
            if pattern is None:
                continue
            if "Var" in pattern:
                scope.names[str(pattern["Var"]["value"])] = UNBOUND
            elif "Array" in pattern:
                patterns += pattern["Array"]["items"]
            elif "Object" in pattern:
                patterns += [entry[2] for entry in pattern["Object"]["fields"]]

    def text(self, span: JSON) -> str:
        data = self.module.source.text.encode()
        return data[span["start"] : span["end"]].decode(errors="replace")

    def literal(self, literal: JSON, scope: _Scope) -> None:
        kind, node = next((k, v) for k, v in literal.items() if k != "span")
        if kind == "SomeIn":
            keys, values = shapes.items(self.value(node["collection"], scope))
            if node["key"] is not None:
                self.bind(node["key"], keys, scope)
            self.bind(node["value"], values, scope)
        elif kind == "Every":
            keys, values = shapes.items(self.value(node["domain"], scope))
            inner = _Scope(above=scope)
            if isinstance(node["key"], dict):
                inner.names[self.text(node["key"])] = keys
            inner.names[self.text(node["value"])] = values
            self.query(node["query"]["stmts"], _Scope(above=inner), [])
        elif kind in ("Expr", "NotExpr"):
            self.value(node["expr"], scope)

    def bind(self, pattern: JSON, shape: Shape, scope: _Scope, *, new: bool = False) -> None:
        """What a pattern is matched with says what its variables are."""
        if "Var" in pattern:
            name = str(pattern["Var"]["value"])
            if new:
                scope.names[name] = shape
            elif name != "_" and (there := self.variable(name, scope)) is not None:
                known = there.names[name]
                if shape is not UNBOUND and (known is UNBOUND or shape is not ANYTHING):
                    there.names[name] = shape  # all that it is matched with holds at once
        elif "Array" in pattern:
            for index, item in enumerate(pattern["Array"]["items"]):
                self.bind(item, self.safe(shape, index, item), scope, new=new)
        elif "Object" in pattern:
            for _, key, value in pattern["Object"]["fields"]:
                self.bind(value, self.safe(shape, constant(key), key), scope, new=new)

    def safe(self, shape: Shape, key: str | int | None, node: JSON) -> Shape:
        if shape is UNBOUND:
            return UNBOUND
        return self.follow(shape, "…", [key], node)

    def variable(self, name: str, scope: _Scope) -> _Scope | None:
        """Where a local variable lives; None for what is none."""
        if (there := scope.find(name)) is not None:
            return there
        if name in ("input", "data") or name in self.module.aliases or name in self.module.rules:
            return None
        top = scope.top()
        top.names[name] = UNBOUND
        return top

    def follow(
        self, shape: Shape, base: str, keys: Sequence[str | int | None], node: JSON
    ) -> Shape:
        way = base
        for key in keys:
            if shape is UNBOUND:
                if self.loud:
                    self.refuse(f"{way!r} is nothing that this rule has", node, None)
                return UNBOUND
            way += f".{key}" if isinstance(key, str) else f"[{'…' if key is None else key}]"
            try:
                shape = shapes.part(shape, key)
            except Nowhere as error:
                if not self.loud:
                    return ANYTHING
                self.refuse(f"there is no {way[:120]!r}", node, error.fix, error.why)
        return shape

    def value(self, node: JSON, scope: _Scope) -> Shape:
        """What an expression looks like; its parts are all looked at."""
        self.resolver.count(self, node)
        kind = next(key for key in node if key != "span")
        inner = node[kind]
        if kind in ("RefDot", "RefBrack", "Var"):
            found = self.reference(node, scope)
            self.resolver.used_whole(found)
            return found
        if kind == "Call":
            return self.called(inner, scope)
        if kind in ("ArrayCompr", "SetCompr"):
            item = self.query(inner["query"]["stmts"], _Scope(above=scope), [inner["term"]])[0]
            return Many(name="many", item=item, by_value=kind == "SetCompr")
        if kind == "ObjectCompr":
            terms = [inner["key"], inner["value"]]
            made = self.query(inner["query"]["stmts"], _Scope(above=scope), terms)
            return Record(name="record", fields=(), rest=made[1])
        if kind == "AssignExpr":
            left, right = self.side(inner["lhs"], scope), self.side(inner["rhs"], scope)
            self.bind(inner["lhs"], right, scope)
            if inner["op"] != "ColEq":
                self.bind(inner["rhs"], left, scope)
            return VALUE
        if kind in ("Array", "Set"):
            made = [self.value(item, scope) for item in inner["items"]]
            whole = shapes.either(*made) if made else ANYTHING
            items = tuple(made) if kind == "Array" else ()
            return Many(name="many", item=whole, by_value=kind == "Set", items=items)
        if kind == "Object":
            return self.object(inner, scope)
        if kind in ("BinExpr", "ArithExpr", "BoolExpr"):
            sides = [self.value(inner["lhs"], scope), self.value(inner["rhs"], scope)]
            if kind == "BoolExpr" or not any(isinstance(one, Many) for one in sides):
                return VALUE
            return shapes.either(*sides)
        for below in inner.values() if isinstance(inner, dict) else ():
            if isinstance(below, dict) and below is not inner.get("span"):
                self.value(below, scope)
        return VALUE

    def side(self, node: JSON, scope: _Scope) -> Shape:
        """One side of `:=` or `=`: a pattern there is matched, and its variables may be free."""
        if "Var" in node and self.variable(str(node["Var"]["value"]), scope) is not None:
            name = str(node["Var"]["value"])
            there = scope.find(name)
            return UNBOUND if there is None else there.names[name]
        if "Array" in node:
            made = tuple(self.side(item, scope) for item in node["Array"]["items"])
            return Many(name="many", item=shapes.either(*made), items=made)
        if "Object" in node:
            pairs = [
                (constant(key), self.side(value, scope))
                for _, key, value in node["Object"]["fields"]
            ]
            fields = tuple((str(key), shape) for key, shape in pairs if isinstance(key, str))
            return Record(name="record", fields=fields, closed=False)
        return self.value(node, scope)

    def object(self, inner: JSON, scope: _Scope) -> Shape:
        fields: list[tuple[str, Shape]] = []
        for _, key, value in inner["fields"]:
            self.value(key, scope)
            shape = self.value(value, scope)
            name = constant(key)
            if isinstance(name, str):
                fields.append((name, shape))
        return Record(name="record", fields=tuple(fields), closed=False)

    def reference(self, node: JSON, scope: _Scope) -> Shape:
        steps: list[JSON] = []
        while (inner := node.get("RefDot") or node.get("RefBrack")) is not None:
            steps.insert(0, inner)
            node = inner["refr"]
        if "Var" not in node:
            shape, base = self.value(node, scope), "it"
        else:
            base = str(node["Var"]["value"])
            shape = self.named(base, scope, node)
        for step in steps:
            if "field" in step:
                shape = self.follow(shape, base, [str(step["field"][1])], step)
                base += f".{step['field'][1]}"
                continue
            key = constant(step["index"])
            if key is None:
                self.index(step["index"], shape, scope)
            shape = self.follow(shape, base, [key], step)
            base += f".{key}" if isinstance(key, str) else "[…]"
        return shape

    def index(self, node: JSON, shape: Shape, scope: _Scope) -> None:
        """A variable between brackets goes through the keys; all else is looked at."""
        if any(key in node for key in ("Var", "Array", "Object")):
            self.side(node, scope)
            self.bind(node, shapes.items(shape)[0], scope)
        else:
            self.value(node, scope)

    def named(self, name: str, scope: _Scope, node: JSON) -> Shape:
        there = scope.find(name)
        if there is not None:
            return there.names[name]
        if name in ("input", "data"):
            return self.resolver.root(name)
        if name in self.module.aliases:
            parts = self.module.aliases[name][1]
            return self.follow(self.resolver.root(parts[0]), parts[0], parts[1:], node)
        if name in self.module.rules:
            if is_function(self.module.rules[name]):
                return ANYTHING
            return self.resolver.value(self.module, name)
        if name != "_":
            self.variable(name, scope)
            return UNBOUND
        return ANYTHING

    def called(self, call: JSON, scope: _Scope) -> Shape:
        """A builtin that hands on what it is given, or a function of a package that was given."""
        path = dotted(call["fcn"])
        name = ".".join(path)
        params = call["params"]
        free = [one for one in params if "Var" in one]
        given = [self.side(one, scope) if one in free else self.value(one, scope) for one in params]
        target = self.function(path)
        if target is None and name in BUILTINS:
            found = self.builtin(name, given, params)
            count = _ARITY.get(name)
            count = len(params) - 1 if count is None else count
        elif target is None:
            *start, last = path
            shape = self.named(start[0], scope, call) if start else UNBOUND
            self.follow(shape, start[0] if start else last, [*start[1:], last], call)
            if self.loud:
                self.refuse(f"there is no function {name!r}", call, None)
            return ANYTHING
        else:
            module, last = target
            count = len(arguments(module.rules[last]))
            shown = tuple(ANYTHING if one is UNBOUND else one for one in given[:count])
            found = self.resolver.call(module, last, shown, loud=self.loud)
        for extra in params[count:]:  # Rego lets the result be one argument more
            self.bind(extra, found if name in _ARITY or target else ANYTHING, scope)
        return found

    def function(self, path: Sequence[str]) -> tuple[Parsed, str] | None:
        if len(path) == 1 and path[0] in self.module.rules:
            whole = [*self.module.package.split("."), path[0]]
        elif path[0] in self.module.aliases:
            whole = [*self.module.aliases[path[0]][1][1:], *path[1:]]
        else:
            whole = list(path[1:]) if path[0] == "data" else []
        module = self.resolver.modules.get(".".join(whole[:-1]))
        if module is None or not is_function(module.rules.get(whole[-1], ())):
            return None
        return module, whole[-1]

    def builtin(self, name: str, given: Sequence[Shape], params: Sequence[JSON]) -> Shape:
        given = [ANYTHING if one is UNBOUND else one for one in given]
        if name == "object.get" and len(given) >= 3:
            way = constants(params[1])
            return shapes.either(self.follow(given[0], "object.get(…)", way, params[1]), given[2])
        if name == "object.union" and len(given) >= 2:
            return shapes.merged(given[0], given[1])
        if name in ("split", "object.keys"):
            return Many(name="many", item=VALUE, by_value=name == "object.keys")
        if name in ("max", "min", "union", "intersection") and given:
            return shapes.items(given[0])[1]
        if name == "array.concat" and len(given) >= 2:
            return shapes.either(*given[:2])
        return given[0] if name in _ARITY and given else VALUE
