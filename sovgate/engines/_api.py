"""What a policy engine gives, and the policy files that it is given. Imports no engine.

A rule package `sovgate.rules.<id>` answers with a set `deny`; `sovgate.permit` with a set `allow`.
An engine says what each answered; whether that allows anything is `sovgate.stages.policy`'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

JSON = Any

PERMIT = "sovgate.permit"
RULES = "sovgate.rules."
LIBRARY = "sovgate.lib"
#: A project's own rules: these packages and no others, and they may only deny.
USER_PACKAGES = ("user.", "sovgate.user.")

#: Deterministic, without I/O, bounded by their input, and the same in regorus and OPA.
BUILTINS = frozenset(
    {
        "abs",
        "array.concat",
        "array.reverse",
        "array.slice",
        "ceil",
        "concat",
        "contains",
        "count",
        "endswith",
        "floor",
        "format_int",
        "indexof",
        "intersection",
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "lower",
        "max",
        "min",
        "object.get",
        "object.keys",
        "object.remove",
        "object.union",
        "product",
        "regex.match",
        "replace",
        "round",
        "sort",
        "split",
        "sprintf",
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "substring",
        "sum",
        "time.parse_rfc3339_ns",
        "to_number",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
        "union",
        "upper",
    }
)

MAX_DENIALS = 1000
MAX_MESSAGE = 2000


@dataclass(frozen=True, kw_only=True)
class Source:
    """A policy file before it is vetted."""

    name: str
    text: str
    sha256: str
    ours: bool


@dataclass(frozen=True, kw_only=True)
class Module:
    """One policy file. `name` is what messages call it, e.g. "policies/border.rego".

    `ours`: it came with sovgate, and is not a project's own.
    """

    name: str
    text: str
    sha256: str
    package: str
    ours: bool


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule package and what its METADATA block says.

    package   "sovgate.rules.weights_inherit"
    severity  "error" blocks always; "warning" only where the project's mode is "enforce"
    preset    which preset has it; None for a project's own rule
    fix       what a person can do, None where there is nothing general to say
    """

    id: str
    package: str
    title: str
    severity: str
    stage: str
    fix: str | None
    preset: str | None
    module: Module


@dataclass(frozen=True, kw_only=True)
class PolicySet:
    """Vetted policy files, ready for an engine.

    `rules` are all required: each must answer. `digest` is SHA-256 over the canonical list of
    files, presets and the engine's name.
    """

    modules: tuple[Module, ...]
    rules: tuple[Rule, ...]
    presets: tuple[str, ...]
    engine: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Deny:
    """One element of a `deny` set. `dataset` and `where` are None where the rule names none."""

    message: str
    dataset: str | None = None
    where: str | None = None


@dataclass(frozen=True, kw_only=True)
class Permit:
    """One element of `allow`: which permit, and the line of the project that it stands on."""

    id: str
    where: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one rule said. `error` is None where it answered, and then `denies` is its word."""

    rule: str
    denies: tuple[Deny, ...]
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`permit_error` is set where the permits could not be evaluated; then there are none."""

    permits: tuple[Permit, ...]
    permit_error: str | None
    rules: tuple[Answer, ...]


class Engine(Protocol):
    @property
    def name(self) -> str:
        """ "regorus", "opa" or "both"."""
        ...

    def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
        """The case is valid JSON (`formats.case.check`). One answer for each of the rules.

        A rule that fails is an answer with `error`. Raises EngineError where nothing can be
        asked at all.
        """
        ...


#: A rule's value where it is undefined. An object, so that no policy value equals it.
UNDEFINED = object()


def read_deny(rule: str, value: JSON) -> Answer:
    """An engine's value for `deny`, as JSON: a list of texts or of {message, dataset, where}.

    Anything else, undefined included, is no answer (RULES 18).
    """
    if value is UNDEFINED:
        return Answer(rule=rule, denies=(), error="its deny set is undefined")
    if type(value) is not list:
        return Answer(rule=rule, denies=(), error="its deny is not a set")
    if len(value) > MAX_DENIALS:
        return Answer(rule=rule, denies=(), error=f"it denies more than {MAX_DENIALS} times")
    denies = []
    for item in value:
        fields = {"message": item} if type(item) is str else item
        texts = _texts(fields, ("message", "dataset", "where"))
        if texts is None or texts["message"] is None:
            why = "its deny holds neither text nor {message, dataset, where}"
            return Answer(rule=rule, denies=(), error=why)
        denies.append(
            Deny(message=texts["message"], dataset=texts["dataset"], where=texts["where"])
        )
    ordered = sorted(denies, key=lambda deny: (deny.dataset or "", deny.message, deny.where or ""))
    return Answer(rule=rule, denies=tuple(ordered))


def read_allow(value: JSON) -> tuple[tuple[Permit, ...], str | None]:
    """An engine's value for `allow`: a list of {id, where}. Undefined or ill-formed: no permit."""
    if value is UNDEFINED or type(value) is not list or len(value) > MAX_DENIALS:
        return (), "its allow set is undefined or no set"
    permits = []
    for item in value:
        texts = _texts(item, ("id", "where"))
        if texts is None or texts["id"] is None:
            return (), "its allow holds something other than {id, where}"
        permits.append(Permit(id=texts["id"], where=texts["where"]))
    return tuple(sorted(permits, key=lambda permit: (permit.id, permit.where or ""))), None


def _texts(value: JSON, names: tuple[str, ...]) -> dict[str, str | None] | None:
    if type(value) is not dict or not set(value) <= set(names):
        return None
    found: dict[str, str | None] = {}
    for name in names:
        text = value.get(name)
        if text is not None and type(text) is not str:
            return None
        found[name] = text if text is None else text[:MAX_MESSAGE]
    return found
