"""Golden cases and engines for the tests of policy. Real engines, nothing stands in for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sovgate.engines import _api
from sovgate.engines._api import Answer, Answers, PolicySet
from sovgate.formats import case as cases
from sovgate.formats.case import Case
from sovgate.pipeline.decide.policies import load_policies

JSON = Any
VECTORS = Path(__file__).parent / "vectors" / "policy"
ALL_PRESETS = ("default", "eu-personal-data")


@dataclass(frozen=True, kw_only=True)
class Golden:
    name: str
    case: JSON
    presets: tuple[str, ...]
    allowed: bool
    rules: tuple[str, ...]
    permits: tuple[str, ...]


@cache
def golden() -> tuple[Golden, ...]:
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        value = json.loads(path.read_bytes())
        expected = value["expected"]
        found.append(
            Golden(
                name=path.stem,
                case=value["case"],
                presets=tuple(value["presets"]),
                allowed=expected["allowed"],
                rules=tuple(expected["rules"]),
                permits=tuple(expected["permits"]),
            )
        )
    return tuple(found)


@cache
def policies(*presets: str, engine: str = "regorus") -> PolicySet:
    return load_policies(presets=presets, rules=None, engine=engine, base=Path())


def case_of(value: JSON) -> Case:
    """Records of a valid case's JSON; its JSON is the same again."""
    subject, project = value["subject"], value["project"]

    def place(of: JSON) -> cases.Place:
        fields = {name: of[name] for name in of if name not in ("location", "groups", "require")}
        return cases.Place(
            **fields,
            groups=tuple(of["groups"]),
            location=cases.Located(**of["location"]),
            require=of.get("require"),
        )

    def origin(of: JSON) -> cases.Origin:
        stays_in = of["stays_in"]
        return cases.Origin(
            **{
                **of,
                "stays_in": None if stays_in is None else tuple(stays_in),
                "lifts": tuple(of["lifts"]),
            }
        )

    made = Case(
        action=value["action"],
        subject=cases.Subject(
            cls=subject["class"],
            model=subject["model"],
            release=subject["release"],
            manifest=subject["manifest"],
            derived_from=tuple(origin(one) for one in subject["derived_from"]),
        ),
        source=place(value["source"]),
        destination=place(value["destination"]),
        evidence=tuple(cases.Evidence(**one) for one in value["evidence"]),
        rejected=tuple(cases.Rejected(**one) for one in value["rejected"]),
        project=cases.ProjectFacts(
            sha256=project["sha256"],
            mode=project["mode"],
            classes=tuple(project["classes"]),
            border=tuple(
                cases.Crossing(
                    cls=one["class"], source=one["from"], destination=one["to"], where=one["where"]
                )
                for one in project["border"]
            ),
            gates=tuple(cases.GateRule(**one) for one in project["gates"]),
            lines=project["lines"],
        ),
        now=value["now"]["epoch"],
        facts=value["facts"],
    )
    assert made.json() == value
    return made


def fields_of(value: JSON, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field of every object in a case."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield (*path, name)
            yield from fields_of(below, (*path, name))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from fields_of(below, (*path, index))


def without(value: JSON, path: tuple[str | int, ...]) -> JSON:
    changed = copy.deepcopy(value)
    at = changed
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return changed


class Reference:
    """OPA itself, as a library, behind our engine protocol."""

    name = "opa"

    def __init__(self, bindings: ModuleType) -> None:
        self._bindings = bindings
        self._loaded: dict[str, Any] = {}

    def engine(self, policies: PolicySet) -> Any:
        if policies.digest not in self._loaded:
            engine = self._bindings.OpaEngine()
            for module in policies.modules:
                engine.add_policy(module.name, module.text)
            self._loaded[policies.digest] = engine
        return self._loaded[policies.digest]

    def value(self, engine: Any, path: str, case: JSON) -> JSON:
        try:
            return engine.eval_document(path, case)
        except self._bindings.OpaUndefinedError:
            return _api.UNDEFINED

    def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
        engine = self.engine(policies)
        try:  # all packages at once
            whole = engine.eval_document("sovgate", case)
        except self._bindings.OpaError:
            whole = None
        permits, permit_error = _api.read_allow(self._at(whole, engine, _api.PERMIT, "allow", case))
        answers = []
        for rule in policies.rules:
            try:
                value = self._at(whole, engine, rule.package, "deny", case)
                answers.append(_api.read_deny(rule.id, value))
            except self._bindings.OpaError as error:
                answers.append(Answer(rule=rule.id, denies=(), error=str(error)))
        return Answers(permits=permits, permit_error=permit_error, rules=tuple(answers))

    def _at(self, whole: JSON, engine: Any, package: str, name: str, case: JSON) -> JSON:
        if whole is None or not package.startswith("sovgate."):
            return self.value(engine, f"{package}.{name}", case)
        for step in [*package.split(".")[1:], name]:
            if step not in whole:
                return _api.UNDEFINED
            whole = whole[step]
        return whole


def allows(answers: Answers, policies: PolicySet) -> bool:
    """The one sentence, without the rest of `policy.decide`."""
    told = {answer.rule: answer for answer in answers.rules}
    return (
        answers.permit_error is None
        and bool(answers.permits)
        and all(
            rule.id in told and told[rule.id].error is None and not told[rule.id].denies
            for rule in policies.rules
        )
    )
