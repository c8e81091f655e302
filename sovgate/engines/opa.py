"""Rego by the program `opa` of a fixed folder: the same answers, by the reference implementation.

Runs `opa eval` once a case, and once more for a project's own rules, in a temporary folder, with a
capabilities file that has our builtins alone and no network. A builtin's error is an error here as
in regorus, and denies.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sovgate import host
from sovgate.engines import _api
from sovgate.engines._api import BUILTINS, UNDEFINED, Answer, Answers, Module, PolicySet, Rule
from sovgate.errors import EngineError

JSON = Any

#: Seconds that one evaluation may take; `opa` is told, and ended a little later.
TIMEOUT = 20
MAX_OUTPUT = 64 * 1024 * 1024

#: What `opa` calls the operators of the language.
_OPERATORS = frozenset(
    {
        "and",
        "assign",
        "div",
        "eq",
        "equal",
        "gt",
        "gte",
        "internal.member_2",
        "internal.member_3",
        "lt",
        "lte",
        "minus",
        "mul",
        "neq",
        "or",
        "plus",
        "rem",
    }
)


class Opa:
    """The program is looked for at the first evaluation, in `folders` and never along PATH: a
    program that decides is not chosen by who wrote a variable (RULES 36)."""

    name = "opa"

    def __init__(self, folders: Sequence[str] = host.PROGRAM_DIRS) -> None:
        self._folders = folders

    def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
        """Asks about a project's own rules apart: the two are never loaded together."""
        from sovgate import strict

        text = strict.canonical(case)
        ours = [rule for rule in policies.rules if rule.module.ours]
        theirs = [rule for rule in policies.rules if not rule.module.ours]
        modules = [module for module in policies.modules if module.ours]
        value = self._ask(modules, ours, text)
        permits, permit_error = (
            ((), value) if isinstance(value, str) else _api.read_allow(_one(value.get("permit")))
        )
        rules = _answers(value, ours)
        if theirs:
            library = [module for module in modules if module.package == _api.LIBRARY]
            own = [module for module in policies.modules if not module.ours]
            rules += _answers(self._ask([*library, *own], theirs, text), theirs)
        return Answers(permits=permits, permit_error=permit_error, rules=tuple(rules))

    def _ask(self, modules: Sequence[Module], rules: Sequence[Rule], case: bytes) -> JSON:
        """Permit and rules by the names of `_query`; or text, which is what went wrong."""
        found = program(self._folders)
        with tempfile.TemporaryDirectory(prefix="sovgate-opa-") as folder:
            base = Path(folder)
            names = _write(base, modules, _capabilities(found))
            said = _run(
                found,
                [
                    "eval",
                    "--format",
                    "json",
                    "--strict-builtin-errors",
                    "--timeout",
                    f"{TIMEOUT}s",
                    "--capabilities",
                    str(base / "capabilities.json"),
                    *[part for name in names for part in ("--data", name)],
                    "--stdin-input",
                    _query(rules),
                ],
                case,
                base,
            )
        return _value(said)


def _answers(value: JSON, rules: Sequence[Rule]) -> list[Answer]:
    if isinstance(value, str):
        return [Answer(rule=rule.id, denies=(), error=value) for rule in rules]
    return [
        _api.read_deny(rule.id, _one(value.get(f"r{index}"))) for index, rule in enumerate(rules)
    ]


def program(folders: Sequence[str] = host.PROGRAM_DIRS) -> str:
    """The path of `opa`. Raises EngineError, reason "no-opa"."""
    found = host.program("opa", folders)
    if found is None:
        raise EngineError(
            "the program opa is not installed",
            why=f"policy.engine asks for it; looked in {', '.join(folders)}; PATH is not used, "
            "because others can change it",
            fix="install Open Policy Agent 1.0 or later in /usr/local/bin, or write policy.engine: "
            "regorus",
            reason="no-opa",
        )
    return str(Path(found).resolve())


def _query(rules: Sequence[Rule]) -> str:
    """Every rule's set in a list, so that an undefined one is [] and hides no other."""
    parts = [f'"permit": [v | v := data.{_api.PERMIT}.allow]']
    parts += [
        f'"r{index}": [v | v := data.{rule.package}.deny]' for index, rule in enumerate(rules)
    ]
    return "{" + ", ".join(parts) + "}"


def _one(values: JSON) -> JSON:
    if type(values) is not list or len(values) != 1:
        return UNDEFINED
    return values[0]


def _write(base: Path, modules: Sequence[Module], capabilities: JSON) -> list[str]:
    names = []
    for index, module in enumerate(modules):
        name = f"{index:04d}.rego"
        (base / name).write_text(module.text, encoding="utf-8")
        names.append(name)
    (base / "capabilities.json").write_text(json.dumps(capabilities), encoding="utf-8")
    return names


def _capabilities(program: str) -> JSON:
    """What this `opa` can do, cut down to what a rule may do, and to no host at all."""
    try:
        able = json.loads(_run(program, ["capabilities", "--current"], b"", None))
        kept = [
            builtin
            for builtin in able["builtins"]
            if builtin["name"] in BUILTINS or builtin["name"] in _OPERATORS
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(
            "opa does not list its capabilities",
            why=f"{program} capabilities --current",
            fix="install Open Policy Agent 1.0 or later",
            reason="no-opa",
        ) from error
    return {**able, "builtins": kept, "allow_net": []}


def _run(program: str, arguments: Sequence[str], given: bytes, folder: Path | None) -> bytes:
    try:
        done = subprocess.run(
            [program, *arguments],
            input=given,
            capture_output=True,
            timeout=TIMEOUT + 10,
            check=False,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder or "/")},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(
            "opa did not answer",
            why=str(error)[:300],
            fix="run it again with policy.engine: regorus",
            reason="opa-failed",
        ) from error
    if len(done.stdout) > MAX_OUTPUT or not done.stdout.strip():
        raise EngineError(
            "opa did not answer",
            why=done.stderr.decode(errors="replace").strip()[:500] or "it printed nothing",
            reason="opa-failed",
        )
    return done.stdout


def _value(output: bytes) -> JSON:
    """The value of the query; or text, which is what went wrong."""
    try:
        answer = json.loads(output)
        if answer.get("errors"):
            return "; ".join(str(one.get("message")) for one in answer["errors"])[:500]
        (result,) = answer["result"]
        (expression,) = result["expressions"]
        value = expression["value"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "opa's answer is not of its form"
    return value if isinstance(value, dict) else "opa's answer is not of its form"
