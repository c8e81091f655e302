"""Policy files: read from their folders, vetted, and made a set; also linted and tested.

`default` is always in a set. A project's own rules are parsed and run in a process of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import files, strict
from sovgate.engines._api import Module, PolicySet, Rule, Source
from sovgate.errors import ConfigError, SovgateError, UsageError, Where
from sovgate.formats.decision import OWN_RULE
from sovgate.formats.sections import did_you_mean
from sovgate.pipeline.decide import rulefiles
from sovgate.pipeline.decide.rulefiles import MAX_FILE_BYTES, TEST_SUFFIX, Own

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.lint._api import Finding
    from sovgate.pipeline.project import Project

DEFAULT_PRESET = "default"
#: The folder of our own rules; VETTED is generated.
SHIPPED, VETTED = "policies", "vetted.json"
_VETTED_FORMAT, _MAX_VETTED = "sovgate.vetted/v0", 256 * 1024
JSON = Any
Vetted = tuple[tuple[Module, ...], tuple[Rule, ...]]


def project_policies(project: Project) -> PolicySet:
    """The set that the project's `policy` names, of the rules as they are now.

    A Python program may run for months: what was parsed before is used for the same bytes alone.
    """
    policy = project.config.policy
    base = project.base.absolute()  # what is relative means something else after a chdir
    rules = None if policy.rules is None else base / policy.rules
    try:
        found = load_policies(presets=policy.presets, rules=rules, engine=policy.engine, base=base)
        check_expected(policy.expect, found.rules)
        return found
    except ConfigError as error:
        error.where = error.where or project.config.where("policy")
        raise


def check_expected(expected: Sequence[str], rules: Sequence[Rule]) -> None:
    """Raises ConfigError, reason "policy-expect", where one of the ids is none of a project's own.

    An id is written as in METADATA, with or without the `user.` that decisions put before it.
    """
    own = {rule.id.removeprefix(OWN_RULE) for rule in rules if not rule.module.ours}
    for name in expected:
        if name.removeprefix(OWN_RULE) not in own:
            near = did_you_mean(name.removeprefix(OWN_RULE), sorted(own))
            raise ConfigError(
                f"policy.expect names the rule {name[:80]!r}, and policy.rules does not yield it",
                why=f"its own rules are {', '.join(sorted(own)) or 'none'}"[:500],
                fix=near or "bring the rule back, or take its id out of policy.expect",
                reason="policy-expect",
            )


def load_policies(
    *, presets: Sequence[str], rules: Path | None, engine: str, base: Path
) -> PolicySet:
    """The presets asked for, on top of `default`, and a project's own rules.

    Raises ConfigError on an unknown preset, a file that does not parse, or one that does what no
    rule may do; EngineError where a project's files exceed their limits.
    """
    own = None
    if rules is not None:
        own = rulefiles.read_own(rules, prefix=f"{os.path.relpath(rules, base)}/")
    return _loaded(tuple(sorted({DEFAULT_PRESET, *presets})), own, engine)


@lru_cache(maxsize=8)
def _loaded(wanted: tuple[str, ...], theirs: Own | None, engine: str) -> PolicySet:
    modules, found = _shipped()
    _check_presets(wanted, found)
    kept = [rule for rule in found if rule.preset in wanted]
    dropped = {rule.package for rule in found if rule.preset not in wanted}
    used = [module for module in modules if module.package not in dropped]
    if theirs is not None:
        more, own = own_rules(theirs)
        used += more
        kept += own
    return PolicySet(
        modules=tuple(used),
        rules=tuple(kept),
        presets=wanted,
        engine=engine,
        digest=_digest(used, wanted, engine),
    )


def own_rules(own: Own, *, whole: bool = True) -> tuple[tuple[Module, ...], tuple[Rule, ...]]:
    """A project's modules and rules, vetted each and all together. Raises ConfigError.

    `whole`: they are all that it has, so that each reference must lead somewhere.
    """
    from sovgate.engines import regorus

    library = _library()
    first, *ast = regorus.ask_child([library, *own.all], ast=True)["ast"]
    modules, rules = rulefiles.split(own, ast, (library, first) if whole else None)
    _check_ids(rules)
    _check_used(modules, rules)
    if not rules:
        raise rulefiles.no_rule(own.prefix)
    return modules, rules


def shipped_sources(*, tests: bool = False) -> list[Source]:
    folder = files.resource_dir(SHIPPED)
    return read_sources(folder, prefix=f"{SHIPPED}/", ours=True, tests=tests)


def _shipped() -> Vetted:
    """To vet our own rules takes longer than all that a decision asks of them. So what came of it
    lies beside them, with the SHA-256 of each file: where one differs, all are vetted anew.
    """
    read = shipped_sources()
    return _known(read, _written()) or vet_shipped(read)


def vet_shipped(read: Sequence[Source]) -> Vetted:
    from sovgate.engines import regorus
    from sovgate.engines.vet import vet

    return vet(read, json.loads(regorus.load(read).get_ast_as_json()))


def vetted_document(found: Vetted) -> dict[str, JSON]:
    """What is written down of them: no text, which the files hold."""
    modules, rules = found
    return {
        "format": _VETTED_FORMAT,
        "generated": "Generated from sovgate/pipeline/decide/policies.py by "
        "`python -m sovgate.surface`. Do not edit.",
        "modules": [{"name": m.name, "sha256": m.sha256, "package": m.package} for m in modules],
        "rules": [
            {**{k: v for k, v in asdict(rule).items() if k != "module"}, "module": rule.module.name}
            for rule in rules
        ],
    }


def _written() -> JSON:
    path = files.resource_dir(SHIPPED) / VETTED
    try:
        return strict.loads(files.read_bounded(path, most=_MAX_VETTED, what="list of rules"))
    except SovgateError:
        return None


def _known(read: Sequence[Source], written: JSON) -> Vetted | None:
    """None where it is of other files than these, or of another form."""
    try:
        if written["format"] != _VETTED_FORMAT:
            return None
        told = [(entry["name"], entry["sha256"]) for entry in written["modules"]]
        if told != [(source.name, source.sha256) for source in read]:
            return None
        modules = {
            source.name: Module(
                name=source.name,
                text=source.text,
                sha256=source.sha256,
                package=entry["package"],
                ours=True,
            )
            for source, entry in zip(read, written["modules"], strict=True)
        }
        rules = tuple(
            Rule(**{**entry, "module": modules[entry["module"]]}) for entry in written["rules"]
        )
    except (KeyError, TypeError):
        return None
    return tuple(modules.values()), rules


def _library() -> Source:
    """What a project's rules may import of ours."""
    name = "lib.rego"
    data = files.read_bounded(
        files.resource_dir("policies") / name, most=MAX_FILE_BYTES, what="policy"
    )
    return rulefiles.source(data, f"policies/{name}", ours=True)


def check_presets(presets: Sequence[str]) -> None:
    """Raises ConfigError, reason "unknown-preset"."""
    if set(presets) - {DEFAULT_PRESET}:
        _check_presets(presets, _shipped()[1])


def _check_presets(wanted: Sequence[str], found: Sequence[Rule]) -> None:
    known = sorted({rule.preset for rule in found if rule.preset})
    for preset in wanted:
        if preset not in known:
            raise ConfigError(
                f"there is no policy preset {preset[:80]!r}",
                fix=f"policy.presets takes {', '.join(known)}",
                reason="unknown-preset",
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
        if rule.id in seen:
            raise ConfigError(
                f"two rules have the id {rule.id!r}",
                why=f"{seen[rule.id]} and {rule.module.name}",
                fix="give one of them another `id` in its METADATA block",
                where=Where(path=rule.module.name),
                reason="policy-metadata",
            )
        seen[rule.id] = rule.module.name


def _check_used(modules: Sequence[Module], rules: Sequence[Rule]) -> None:
    """A file that denies nothing and that no other imports is a rule that was misspelt."""
    able = {rule.module.name for rule in rules}
    for module in modules:
        named = re.compile(rf"\bdata\.{re.escape(module.package)}\b")
        others = (other.text for other in modules if other is not module)
        if module.name not in able and not any(named.search(text) for text in others):
            raise ConfigError(
                f"the policy {module.name!r} denies nothing",
                why="it has no `deny contains …`, and no other file imports it",
                fix="write its rule as `deny contains …`; or remove the file",
                where=Where(path=module.name),
                reason="policy-no-deny",
            )


def read_sources(folder: Path, *, prefix: str, ours: bool, tests: bool = False) -> list[Source]:
    """The `.rego` files below a folder, by name; its tests only where asked for. Bounded.

    Raises ConfigError: no such folder, links, too many, too large, not UTF-8.
    """
    return rulefiles.read_shipped(folder, prefix=prefix, ours=ours, tests=tests)


def lint_rules(paths: Sequence[Path]) -> list[Finding]:
    """What is wrong with a project's rule files, each judged as at load. Tests must parse."""
    from sovgate.engines import regorus
    from sovgate.engines.vet import vet
    from sovgate.lint._api import Finding

    findings = []
    sources: list[Source] = []
    for path in paths:
        try:
            data = files.read_bounded(path, most=MAX_FILE_BYTES, what="policy")
            source = rulefiles.source(data, str(path), ours=False)
            reply = regorus.ask_child([source], ast=True)
            if not path.name.endswith(TEST_SUFFIX):
                vet([source], reply["ast"])
                sources.append(source)
        except SovgateError as error:
            findings.append(Finding.of(error, str(path)))
    if not findings and len(sources) > 1:
        try:  # and all together: two may not have one package, nor one id
            _check_ids(vet(sources, regorus.ask_child(sources, ast=True)["ast"])[1])
        except SovgateError as error:
            findings.append(Finding.of(error, error.where.path if error.where else str(paths[0])))
    return findings


def lint_folder(path: Path, config: ProjectConfig | None = None) -> list[Finding]:
    """What shows only where a project's folder of rules, or its file, is read as it is at load."""
    from sovgate.lint._api import Finding

    try:
        rules = own_rules(rulefiles.read_own(path, prefix=f"{path}/"))[1]
    except SovgateError as error:
        return [Finding.of(error, str(path))]
    if config is None:
        return []
    try:
        check_expected(config.policy.expect, rules)
    except ConfigError as error:
        line = config.where("policy.expect").line
        error.where = Where(path=str(config.path), line=line)
        return [Finding.of(error, str(config.path))]
    return []


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """`error` is None where it passed; "" where it is false; else what went wrong."""

    __test__ = False  # not pytest's

    name: str
    file: str
    error: str | None


def run_tests(folder: Path | None) -> list[TestResult]:
    """Every `test_…` of the `*_test.rego` files of a folder; without one, of our own policies.

    A project's tests run with our library loaded, under the same limits as its rules. Raises
    ConfigError; EngineError where they exceed the limits, UsageError where there is no test, or
    no such folder.
    """
    from sovgate.engines import regorus
    from sovgate.engines.trees import tests_in

    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"there is no folder {str(folder)!r}",
            fix="check the path; a relative one starts in the current folder",
            reason="missing-path",
        )
    sources = shipped_sources(tests=folder is None)
    if folder is not None and rulefiles.any_rules(folder):
        own = rulefiles.read_own(folder, prefix=f"{folder}/")
        own_rules(own, whole=False)  # a test may give a rule any input
        sources = [_library(), *own.all]
    names = tests_in(regorus.ask_child(sources, ast=True)["ast"])
    names = {path: file for path, file in names.items() if file.endswith(TEST_SUFFIX)}
    if not names:
        raise UsageError(
            "there are no tests of rules",
            fix="name a folder that holds *_test.rego files with rules named test_…",
            reason="nothing-to-do",
        )
    answers = regorus.ask_child(sources, ast=False, rules=[*names])
    results = []
    for path, file in names.items():
        error = regorus.test_error(answers, path)
        results.append(TestResult(name=path.removeprefix("data."), file=file, error=error))
    return results


def list_rules(project: Project | None) -> PolicySet:
    """What would be asked: the project's set, or every shipped rule where there is no project."""
    if project is not None:
        return project_policies(project)
    presets = sorted({rule.preset for rule in _shipped()[1] if rule.preset})
    return load_policies(presets=presets, rules=None, engine="regorus", base=Path())
