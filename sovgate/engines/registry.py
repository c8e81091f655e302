"""Which policy engines there are, by name. Names adapters as strings and opens none before use.

A new engine is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sovgate.engines._api import Answer, Answers, Engine, PolicySet
from sovgate.errors import ConfigError

JSON = Any

#: Name in `policy.engine` -> module and class.
ENGINES: dict[str, tuple[str, str]] = {
    "regorus": ("sovgate.engines.regorus", "Regorus"),
    "opa": ("sovgate.engines.opa", "Opa"),
}
BOTH = "both"


def open_engine(name: str) -> Engine:
    """Raises ConfigError on a name that is none of ENGINES or "both"."""
    if name == BOTH:
        return Both([open_engine(each) for each in ENGINES])
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

    def evaluate(self, case: JSON, policies: PolicySet) -> Answers:
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
