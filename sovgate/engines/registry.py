"""Which engines there are, and how policy files become a vetted set. Names adapters as strings.

A new engine is one file and one line here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from sovgate import files, strict
from sovgate.engines._api import Answer, Answers, Engine, Module, PolicySet, Rule, Source
from sovgate.engines.vet import vet
from sovgate.errors import ConfigError, SovgateError, Where

#: Name in `policy.engine` -> module and class.
ENGINES: dict[str, tuple[str, str]] = {
    "regorus": ("sovgate.engines.regorus", "Regorus"),
    "opa": ("sovgate.engines.opa", "Opa"),
}
BOTH = "both"

MAX_FILES = 256
MAX_FILE_BYTES = 256 * 1024
DEFAULT_PRESET = "default"


def open_engine(name: str) -> Engine:
    """Raises ConfigError on a name that is none of ENGINES or "both"."""
    if name == BOTH:
        return Both(tuple(open_engine(each) for each in ENGINES))
    if name not in ENGINES:
        raise ConfigError(
            f"there is no policy engine {name[:80]!r}",
            fix=f"policy.engine is one of {', '.join([*ENGINES, BOTH])}",
            reason="unknown-engine",
        )
    module, cls = ENGINES[name]
    engine: Engine = getattr(import_module(module), cls)()
    return engine


class Both:
    """Asks every engine; where two answers differ, that rule did not answer."""

    name = BOTH

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines

    def evaluate(self, case: strict.JSON, policies: PolicySet) -> Answers:
        first, *others = [engine.evaluate(case, policies) for engine in self._engines]
        told = [{answer.rule: answer for answer in other.rules} for other in others]
        names = " and ".join(engine.name for engine in self._engines)
        rules = tuple(
            answer
            if all(other.get(answer.rule) == answer for other in told)
            else Answer(rule=answer.rule, denies=(), error=f"{names} disagree")
            for answer in first.rules
        )
        agreed = all(other.permits == first.permits for other in others)
        return Answers(
            permits=first.permits if agreed else (),
            permit_error=first.permit_error if agreed else f"{names} disagree on the permits",
            rules=rules,
        )


def load_policies(
    *, presets: Sequence[str], rules: Path | None, engine: str, base: Path
) -> PolicySet:
    """The policy set of a project: the presets asked for, on top of `default`, and its own rules.

    `default` is always in. Raises ConfigError on an unknown preset, a file that does not parse, or
    one that does what no rule may do; EngineError where a project's files exceed their limits.
    """
    from sovgate.engines import regorus

    wanted = tuple(sorted({DEFAULT_PRESET, *presets}))
    shipped = read_sources(files.resource_dir("policies"), prefix="policies/", ours=True)
    modules, found = vet(shipped, json.loads(regorus.load(shipped).get_ast_as_json()))
    known = sorted({rule.preset for rule in found if rule.preset})
    for preset in wanted:
        if preset not in known:
            raise ConfigError(
                f"there is no policy preset {preset[:80]!r}",
                fix=f"policy.presets takes {', '.join(known)}",
                reason="unknown-preset",
            )
    kept = [rule for rule in found if rule.preset in wanted]
    dropped = {rule.package for rule in found if rule.preset not in wanted}
    used = [module for module in modules if module.package not in dropped]
    if rules is not None:
        theirs = read_sources(rules, prefix=f"{os.path.relpath(rules, base)}/", ours=False)
        if theirs:
            reply = regorus.ask_child(theirs, ast=True, case=None, rules=())
            more, own = vet(theirs, reply["ast"])
            _check_ids(own)
            used += more
            kept += own
    return PolicySet(
        modules=tuple(used),
        rules=tuple(kept),
        presets=wanted,
        engine=engine,
        digest=_digest(used, wanted, engine),
    )


def _digest(modules: Sequence[Module], presets: Sequence[str], engine: str) -> str:
    value = {
        "format": "sovgate.policies/v0",
        "engine": engine,
        "presets": list(presets),
        "files": [{"name": module.name, "sha256": module.sha256} for module in modules],
    }
    return hashlib.sha256(strict.canonical(value)).hexdigest()


def _check_ids(rules: Sequence[Rule]) -> None:
    seen: dict[str, str] = {}
    for rule in rules:
        rule_id, name = rule.id, rule.module.name
        if rule_id in seen:
            raise ConfigError(
                f"two rules have the id {rule_id!r}",
                why=f"{seen[rule_id]} and {name}",
                where=Where(path=name),
                reason="policy-metadata",
            )
        seen[rule_id] = name


def read_sources(folder: Path, *, prefix: str, ours: bool, tests: bool = False) -> list[Source]:
    """The `.rego` files below a folder by name, tests left out unless asked for. Bounded.

    Raises ConfigError: no such folder, links, too many, too large, not UTF-8.
    """
    try:
        with files.opened_dir(folder) as handle:
            names = sorted(
                entry.name for entry in files.walk(handle) if entry.name.endswith(".rego")
            )
            if not tests:
                names = [name for name in names if not name.endswith("_test.rego")]
            if len(names) > MAX_FILES:
                raise ConfigError(f"more than {MAX_FILES} policy files", reason="limits")
            found = []
            for name in names:
                data = files.read_descriptor(
                    files.open_below(handle, name), most=MAX_FILE_BYTES, what=f"policy {name!r}"
                )
                found.append(
                    Source(
                        name=prefix + name,
                        text=data.decode("utf-8"),
                        sha256=hashlib.sha256(data).hexdigest(),
                        ours=ours,
                    )
                )
    except ConfigError:
        raise
    except (SovgateError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the policy folder {str(folder)!r} cannot be read",
            why=getattr(error, "what", None) or str(error),
            fix="correct policy.rules; it names a folder of .rego files",
            reason="policy-folder",
        ) from error
    return found
