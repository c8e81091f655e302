"""Rego inside the process (regorus), the default engine. Imports regorus when first asked.

Our own policies run here; a project's run in a child process under limits (`_worker.py`), and
the two are never loaded together: nothing that a project writes can change what ours say.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sovgate.engines import _api
from sovgate.engines._api import UNDEFINED, Answer, Answers, Module, PolicySet, Source
from sovgate.errors import ConfigError, EngineError, Where

JSON = Any

#: Seconds of wall clock for the child; it has 2 of processor time.
TIMEOUT = 20
MAX_REPLY = 64 * 1024 * 1024
_UNDEFINED = '"<undefined>"'


def _message(error: object) -> str:
    """regorus' message without the stack that its build appends, on one line."""
    text = str(error).split("Stack backtrace:", 1)[0].strip()
    last = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((line for line in reversed(last) if line.startswith("error:")), None)
    at = next((line for line in last if line.startswith("-->")), "").removeprefix("--> ")
    words = (told or " ".join(last)).removeprefix("error: ")
    return f"{at}: {words}"[:500] if at else words[:500]


def _value(text: str) -> JSON:
    return UNDEFINED if text.strip() == _UNDEFINED else json.loads(text)


def _refused(name: str, error: object) -> ConfigError:
    where = None
    for line in str(error).splitlines():
        if line.strip().startswith("-->"):
            number, _, _ = line.rpartition(":")[0].rpartition(":")[2].partition(":")
            where = Where(path=name, line=int(number) if number.isdigit() else None)
            break
    return ConfigError(
        f"the policy {name!r} does not parse",
        why=_message(error),
        fix="correct it; `sovgate lint` checks it again",
        where=where or Where(path=name),
        reason="policy-syntax",
    )


def load(modules: Sequence[Source | Module]) -> Any:
    """A regorus engine with our own policies in it. Raises ConfigError on one that won't parse."""
    import regorus  # type: ignore[import-untyped]

    engine = regorus.Engine()
    for module in modules:
        try:
            engine.add_policy(module.name, module.text)
        except RuntimeError as error:
            raise _refused(module.name, error) from None
    return engine


@functools.lru_cache(maxsize=8)
def _loaded(modules: tuple[Module, ...]) -> Any:
    """As `load`, once a process: to parse our policies takes longer than to ask them."""
    return load(modules)


def ask_child(
    modules: Sequence[Source | Module],
    *,
    ast: bool,
    case: bytes | None = None,
    rules: Sequence[str] = (),
) -> JSON:
    """One run of the worker. Raises ConfigError (does not parse) or EngineError (limits)."""
    import regorus

    request = {
        "modules": [[module.name, module.text] for module in modules],
        "ast": ast,
        "input": None if case is None else case.decode(),
        "rules": list(rules),
    }
    worker = Path(__file__).with_name("_worker.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(worker), str(Path(regorus.__file__).parent.parent)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        reply = json.loads(done.stdout) if len(done.stdout) <= MAX_REPLY else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        reply = None
    if not isinstance(reply, dict):
        raise EngineError(
            "the project's own policies did not answer within their limits",
            why="2 seconds of processor time and 2 GiB of memory, for all of them together",
            fix="look for nested loops, and for brackets nested more than ten levels deep",
            reason="policy-limits",
        )
    if "failed" in reply:
        raise _refused(str(reply["module"]), reply["failed"])
    return reply


def test_error(reply: JSON, path: str) -> str | None:
    """None where the test is true; "" where it is not; else what went wrong."""
    if path not in reply["values"]:
        return _message(reply["errors"].get(path, "no answer"))
    return None if _value(reply["values"][path]) is True else ""


class Regorus:
    """`name` is part of the policy digest, with the version of what answers."""

    name = "regorus"

    def __init__(self) -> None:
        self._loaded: tuple[str, Any] | None = None

    def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
        from sovgate import strict

        text = strict.canonical(case)
        ours = [rule for rule in policies.rules if rule.module.ours]
        theirs = [rule for rule in policies.rules if not rule.module.ours]
        engine = self._engine(policies)
        engine.set_input_json(text.decode())
        permits, permit_error = self._permits(engine)
        answers = [self._deny(engine, rule.id, rule.package) for rule in ours]
        if theirs:
            answers += self._theirs(theirs, policies, text)
        return Answers(permits=permits, permit_error=permit_error, rules=tuple(answers))

    def _engine(self, policies: PolicySet) -> Any:
        if self._loaded is None or self._loaded[0] != policies.digest:
            ours = tuple(module for module in policies.modules if module.ours)
            # A copy of its own: what one case put in is no other's.
            self._loaded = (policies.digest, _loaded(ours).clone())
        return self._loaded[1]

    def _permits(self, engine: Any) -> tuple[tuple[_api.Permit, ...], str | None]:
        try:
            return _api.read_allow(_value(engine.eval_rule_as_json(f"data.{_api.PERMIT}.allow")))
        except RuntimeError as error:
            return (), _message(error)

    def _deny(self, engine: Any, rule: str, package: str) -> Answer:
        try:
            return _api.read_deny(rule, _value(engine.eval_rule_as_json(f"data.{package}.deny")))
        except RuntimeError as error:
            return Answer(rule=rule, denies=(), error=_message(error))

    def _theirs(self, rules: Sequence[_api.Rule], policies: PolicySet, case: bytes) -> list[Answer]:
        modules = [
            module
            for module in policies.modules
            if not module.ours or module.package == _api.LIBRARY
        ]
        paths = {rule.id: f"data.{rule.package}.deny" for rule in rules}
        try:
            reply = ask_child(modules, ast=False, case=case, rules=list(paths.values()))
        except EngineError as error:
            return [Answer(rule=rule.id, denies=(), error=error.what) for rule in rules]
        answers = []
        for rule, path in paths.items():
            if path in reply["values"]:
                answers.append(_api.read_deny(rule, _value(reply["values"][path])))
            else:
                words = _message(reply["errors"].get(path, "no answer"))
                answers.append(Answer(rule=rule, denies=(), error=words))
        return answers
