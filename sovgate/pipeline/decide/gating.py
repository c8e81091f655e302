"""Weighs results of gates against the project: by its own threshold, at its own pins. No I/O.

RULES 33: a result that was measured on anything but what the project pins does not count, a pass
or a failure. What counts is judged by the project's threshold, whatever it was held to before.
Policy then says that one failure outweighs every pass (`policies/lib.rego`). Where a result cannot
be counted and may be a failure, no pass counts (RULES 30, `doubts.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate.formats import gatefixes
from sovgate.formats.case import Evidence, Rejected
from sovgate.formats.testresult import AT_LEAST, AT_MOST, FAIL, PASS, Measure, judge
from sovgate.gates.registry import GATES
from sovgate.pipeline.decide import declared_gates
from sovgate.pipeline.decide.evidence import MAX_REJECTED, Result, Sorted, bound

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.config._records import GateConfig
    from sovgate.pipeline.decide.doubts import Doubt

#: The first word of the reason for which a result on something else does not count.
OTHER_PINS = "other-pins"
CONTRADICTED = "contradicted"
UNCLEAR = "unclear-gate"
_UNPINNED = "unpinned-gate"
_MOST_TEXT = 1024


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """Evidence that counts, what does not and why, and a fact about each gate of the project.

    The fact `gate.NAME` says in words what is known of it where it did not pass; None where it did,
    or where nothing is known.
    """

    evidence: tuple[Evidence, ...]
    rejected: tuple[Rejected, ...]
    facts: Mapping[str, str | None]


def weigh(config: ProjectConfig, found: Sorted) -> Weighed:
    evidence: list[Evidence] = []
    rejected = list(found.rejected)
    for item in found.evidence:
        declared = config.gates.get(item.gate or "") if item.role == "gate" else None
        if declared is None or declared.dataset is not None:
            evidence.append(item)
            continue
        result = found.results.get(item.sha256)
        why = _uncounted(declared, result)
        if result is None or why is not None:
            name = item.sha256 if result is None else result.name
            rejected.append(
                Rejected(name=name, sha256=item.sha256, reason=(why or "unread")[:_MOST_TEXT])
            )
            continue
        evidence.append(replace(item, result=_judged(declared, result.result.measure)))
    doubts = {
        name: [one for one in found.doubts if _stands(one, declared)]
        for name, declared in config.gates.items()
        if declared.dataset is None
    }
    passes = [item for item in evidence if item.role == "gate" and item.result == PASS]
    for item in [item for item in passes if doubts.get(item.gate or "")]:
        evidence.remove(item)
        reason = f"{UNCLEAR}: a result of {item.gate} cannot be counted, so no pass of it does"
        rejected.append(Rejected(name=_name(item, found), sha256=item.sha256, reason=reason))
    facts = {
        f"gate.{name}": (gatefixes.doubted(name, doubts[name][0].text) if doubts[name] else None)
        or _said(declared, evidence, rejected, found)
        for name, declared in config.gates.items()
        if declared.dataset is None and name in GATES
    }
    return Weighed(evidence=tuple(evidence), rejected=tuple(rejected[-MAX_REJECTED:]), facts=facts)


def _name(item: Evidence, found: Sorted) -> str:
    result = found.results.get(item.sha256)
    return item.sha256 if result is None else result.name


def _stands(doubt: Doubt, declared: GateConfig) -> bool:
    """Whether it may be a failure of that gate, measured on what the project pins."""
    if doubt.gate not in (None, declared.name):
        return False
    if doubt.result is None:
        return True
    if _uncounted(declared, Result(name=doubt.name, result=doubt.result)) is not None:
        return False
    return not doubt.sound or _judged(declared, doubt.result.measure) == FAIL


def _uncounted(declared: GateConfig, result: Result | None) -> str | None:
    """Why a result is none of what the project asks for; None where it counts."""
    lacks = declared_gates.unpinned(declared)
    if lacks:
        return f"{_UNPINNED}: the project pins no {' and no '.join(lacks)} for {declared.name}"
    if result is None:
        return None
    asked, told = (dict(p.rows()) for p in (declared_gates.pins(declared), result.result.pins))
    differ = [
        f"its {key} is {_shown(told[key])}, and the project pins {_shown(value)}"
        for key, value in asked.items()
        if value != told[key]
    ]
    if differ:
        return f"{OTHER_PINS}: {declared.name} was measured on something else: " + "; ".join(differ)
    return None


def _shown(value: str | None) -> str:
    if value is None:
        return "not there"
    return value[:23] + "…" if value.startswith("sha256:") else repr(value[:80])


def _judged(declared: GateConfig, measure: Measure) -> str:
    """The outcome by the project's own threshold. Raises nothing: the project was read."""
    if declared.at_least is not None:
        return judge(measure, AT_LEAST, declared.at_least)
    if declared.at_most is not None:
        return judge(measure, AT_MOST, declared.at_most)
    return judge(measure, None, None)


def _said(
    declared: GateConfig,
    evidence: list[Evidence],
    rejected: list[Rejected],
    found: Sorted,
) -> str | None:
    """What stands against a gate, weightiest first; None where it passed or nothing is known."""
    lacks = declared_gates.unpinned(declared)
    if lacks:
        return f"the project does not pin its {' and '.join(lacks)}, so no result of it counts"
    held = bound(">=", declared.at_least) or bound("<=", declared.at_most)
    here = [item for item in evidence if item.role == "gate" and item.gate == declared.name]
    failures = [item for item in here if item.result == FAIL]
    passed = [item for item in here if item.result == "pass" and item.threshold == held]
    if passed and not failures:
        return None
    parts = [f"it failed: {_named(item, found)}" for item in failures[:2]]
    if failures and passed:
        parts.append("a failure at the same pins outweighs a pass")
    if not failures:
        parts += [
            f"{_named(item, found)}, which is "
            + (item.result if item.threshold == held else f"held to {item.threshold}, not {held}")
            for item in here[:2]
            if item.result is not None
        ]
    parts += list(_passed_over(declared.name, rejected))[:2]
    return "; ".join(parts)[:_MOST_TEXT] or None


def _named(item: Evidence, found: Sorted) -> str:
    measure = found.results[item.sha256].result.measure
    return f"{spelled(measure)} (gate-{item.sha256[:8]}…, by {item.signer[:40]})"


def _passed_over(name: str, rejected: list[Rejected]) -> Iterator[str]:
    for item in rejected:
        for word in (OTHER_PINS, CONTRADICTED):
            if item.reason.startswith((f"{word}: {name} ", f"{word}: {name}:")):
                yield f"{item.name[:13]}… does not count: {item.reason[len(word) + 2 :][:300]}"


def spelled(measure: Measure) -> str:
    """A measure for people: "5 of 142 right, 0.0352 (0.0115 to 0.0803)"."""
    counts, n = measure.counts, measure.n
    if "right" in counts:
        head = f"{counts['right']} of {n} right"
    else:
        head = ", ".join(f"{name} {count}" for name, count in counts.items()) + f", n {n}"
    if measure.low is None or measure.high is None:
        return head
    middle = "" if measure.estimate is None else f"{_short(measure.estimate)} "
    return f"{head}, {middle}({_short(measure.low)} to {_short(measure.high)})"


def _short(text: str) -> str:
    return format(float(text), ".4g")
