"""Whether every reference in a project's rules leads somewhere, and no rule reaches itself. Pure.

RULES 35: a rule with a slip in a name is loaded, is never true, and so never denies. Goes over the
syntax trees with what is known of each value: `input` is the closed case, `data` the packages that
were given. What cannot be followed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sovgate.engines import shapes
from sovgate.engines._api import Source
from sovgate.engines.reading import INTRICATE, SIMPLER, Parsed, Reader
from sovgate.engines.shapes import ANYTHING, Package, Shape
from sovgate.engines.trees import arguments, is_function, line_of, rules_of
from sovgate.errors import ConfigError, Where

JSON = Any

#: Nodes that may be looked at, over all rules; a function is looked at once for each kind of call.
MAX_STEPS = 100_000


@dataclass(frozen=True, kw_only=True)
class File:
    """A file with its tree. `aliases`: name -> (line, its parts, of which the first is a root)."""

    source: Source
    package: str
    aliases: Mapping[str, tuple[int, tuple[str, ...]]]
    tree: JSON


def resolve(files: Sequence[File]) -> None:
    """Raises ConfigError, reason "policy-reference" or "policy-recursion", with file and line.

    `files` are all that there are: the project's, and the library that they may import.
    """
    modules = [
        Parsed(
            source=file.source,
            package=file.package,
            aliases=file.aliases,
            rules=rules_of(file.tree),
        )
        for file in files
    ]
    Resolver(modules).all()


class Resolver:
    def __init__(self, modules: Sequence[Parsed]) -> None:
        self.modules = {module.package: module for module in modules}
        self.values: dict[tuple[str, str], Shape] = {}
        self.calls: dict[tuple[str, str, tuple[Shape, ...], bool], Shape] = {}
        self.open: list[tuple[str, str]] = []
        self.steps = 0
        self.data = self._package("")

    def all(self) -> None:
        for module in self.modules.values():
            if module.source.ours:
                continue
            for line, parts in module.aliases.values():
                reader = Reader(self, module, loud=True)
                reader.follow(self.root(parts[0]), parts[0], parts[1:], {"line": line})
            for name, rules in module.rules.items():
                if is_function(rules):
                    given = (ANYTHING,) * len(arguments(rules))
                    self.call(module, name, given, loud=True)
                else:
                    self.value(module, name)

    def root(self, name: str) -> Shape:
        return shapes.case() if name == "input" else self.data

    def _package(self, prefix: str) -> Shape:
        """`data`, or what lies below one of its packages: rules, and packages further down."""
        start = f"{prefix}." if prefix else ""
        below = {
            name[len(start) :].split(".")[0] for name in self.modules if name.startswith(start)
        }
        module = self.modules.get(prefix)
        own = set() if module is None else set(module.rules)

        def opened(name: str) -> Shape:
            if module is not None and name in own:
                if is_function(module.rules[name]):
                    return ANYTHING
                return self.value(module, name)
            return self._package(start + name)

        return Package(name="package", names=tuple(sorted(below | own)), open=opened)

    def used_whole(self, shape: Shape) -> None:
        """A package as a value is all of its rules: whoever uses it reaches each."""
        if isinstance(shape, Package):
            for name in shape.names:
                self.used_whole(shape.open(name))

    def value(self, module: Parsed, name: str) -> Shape:
        key = (module.package, name)
        if key not in self.values:
            self.values[key] = self._read(module, name, None, not module.source.ours)
        return self.values[key]

    def call(self, module: Parsed, name: str, given: tuple[Shape, ...], *, loud: bool) -> Shape:
        loud = loud and not module.source.ours
        key = (module.package, name, given, loud)
        if key not in self.calls:
            self.calls[key] = self._read(module, name, given, loud)
        return self.calls[key]

    def _read(
        self, module: Parsed, name: str, given: tuple[Shape, ...] | None, loud: bool
    ) -> Shape:
        self._enter(module, name)
        reader = Reader(self, module, loud=loud)
        try:
            return shapes.either(*(reader.rule(rule, given) for rule in module.rules[name]))
        except shapes.Intricate:
            reader.refuse(INTRICATE, module.rules[name][0], SIMPLER)
        finally:
            self.open.pop()

    def _enter(self, module: Parsed, name: str) -> None:
        key = (module.package, name)
        if key in self.open:
            way = [*self.open[self.open.index(key) :], key]
            raise ConfigError(
                f"the rule {'.'.join(key)!r} reaches itself",
                why=" -> ".join(".".join(one) for one in way),
                fix="let it ask something that does not ask it in turn",
                where=Where(path=module.source.name, line=line_of(module.rules[name][0])),
                reason="policy-recursion",
            )
        self.open.append(key)

    def count(self, reader: Reader, node: JSON) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS or len(self.open) > 64:
            reader.refuse(INTRICATE, node, SIMPLER)
