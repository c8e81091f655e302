"""Decides: allowed = every required rule answered, at least one permit, no deny. A stage, no I/O.

Given a case, vetted policies and an engine. Anything that is not that sentence denies. A fix is
named only where the case, changed as it says, is allowed: it is tried, not guessed.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sovgate.engines._api import Answers, Engine, PolicySet, Rule
from sovgate.errors import EngineError
from sovgate.formats import case as cases
from sovgate.formats import factfixes, gatefixes, origins
from sovgate.formats.case import Case
from sovgate.formats.decision import NO_PERMIT, Basis, Decision, Denial, Permit, RuleAnswer

JSON = Any
#: How many changed cases are tried while looking for a fix.
MAX_TRIES = 24


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    allowed: bool
    permits: tuple[Permit, ...]
    denies: tuple[Denial, ...]
    warnings: tuple[Denial, ...]
    unanswered: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class _Remedy:
    """What a person could do, and what the case would be then. `ignore`: rules it would satisfy,
    where what it changes is nothing that a case can be given by hand."""

    text: str
    patch: Callable[[JSON], JSON]
    ignore: frozenset[str] = frozenset()


def decide(case: Case, policies: PolicySet, engine: Engine) -> Decision:
    """Judge one case. Raises EngineError (22) where the case is invalid or no engine can be asked.

    A denial is a Decision, not an error: `Decision.require` turns it into one.
    """
    value = case.json()
    data = cases.check(value)
    if not policies.rules:
        raise EngineError(
            "there are no rules", why="without a rule there is no decision", reason="no-rules"
        )
    answers = engine.evaluate(value, policies)
    mode = case.project.mode
    verdict = _judge(value, answers, policies, mode)
    denies = verdict.denies
    together: tuple[str, ...] = ()
    if denies and not verdict.unanswered:
        denies, together = _with_fixes(value, verdict, policies, engine, mode)
    return Decision(
        allowed=verdict.allowed,
        permits=verdict.permits,
        denies=denies,
        warnings=verdict.warnings,
        unanswered=verdict.unanswered,
        together=together,
        rules=_rule_answers(policies, verdict),
        case=case,
        basis=Basis(
            case_sha256=hashlib.sha256(data).hexdigest(),
            policy_sha256=policies.digest,
            engine=engine.name,
            mode=mode,
        ),
    )


def _judge(
    case: JSON,
    answers: Answers,
    policies: PolicySet,
    mode: str,
    ignore: frozenset[str] = frozenset(),
) -> _Verdict:
    told = {answer.rule: answer for answer in answers.rules}
    denies: list[Denial] = []
    warnings: list[Denial] = []
    unanswered: list[tuple[str, str]] = []
    for rule in policies.rules:
        answer = told.get(rule.id)
        if answer is None or answer.error is not None:
            why = "the engine did not ask it" if answer is None else str(answer.error)
            unanswered.append((rule.id, why))
            continue
        if rule.id in ignore:
            continue
        for deny in answer.denies:
            denial = Denial(
                rule=rule.id,
                title=rule.title,
                message=deny.message,
                fix=None,
                where=deny.where,
                severity=rule.severity,
                dataset=deny.dataset,
            )
            # "warn" softens rules that say of themselves that they only warn. Nothing else.
            soft = mode == "warn" and rule.severity == "warning"
            (warnings if soft else denies).append(denial)
    permits = tuple(Permit(id=permit.id, where=permit.where) for permit in answers.permits)
    if answers.permit_error is not None:
        permits = ()
        unanswered.append(("permit", answers.permit_error))
    elif not permits:
        denies.append(_no_permit(case))
    denies.sort(key=lambda deny: (deny.dataset is None, deny.rule != NO_PERMIT, deny.rule))
    return _Verdict(
        allowed=bool(permits) and not denies and not unanswered,
        permits=permits,
        denies=tuple(denies),
        warnings=tuple(warnings),
        unanswered=tuple(unanswered),
    )


def _no_permit(case: JSON) -> Denial:
    cls, source, target = case["subject"]["class"], case["source"], case["destination"]
    lines = case["project"]["lines"]
    return Denial(
        rule=NO_PERMIT,
        title="Only what border names may cross",
        message=f"border names no {cls} from {source['zone']} to {target['zone']}",
        fix=None,
        where=lines.get(f"border.{cls}") or lines.get("border"),
        severity="error",
    )


def _rule_answers(policies: PolicySet, verdict: _Verdict) -> tuple[RuleAnswer, ...]:
    found = []
    failed = dict(verdict.unanswered)
    for rule in policies.rules:
        hard = [deny.message for deny in verdict.denies if deny.rule == rule.id]
        soft = [deny.message for deny in verdict.warnings if deny.rule == rule.id]
        if rule.id in failed:
            found.append(RuleAnswer(id=rule.id, answer="none", message=failed[rule.id]))
        elif hard:
            found.append(RuleAnswer(id=rule.id, answer="deny", message="; ".join(hard)[:2000]))
        elif soft:
            found.append(RuleAnswer(id=rule.id, answer="warn", message="; ".join(soft)[:2000]))
        else:
            found.append(RuleAnswer(id=rule.id, answer="allow", message=None))
    ids = ", ".join(permit.id for permit in verdict.permits) or None
    found.append(RuleAnswer(id="permit", answer="allow" if ids else "deny", message=ids))
    return tuple(found)


# Fixes. Each remedy changes a copy of the case as the words say, and the policies are asked again.


def _with_fixes(
    case: JSON, verdict: _Verdict, policies: PolicySet, engine: Engine, mode: str
) -> tuple[tuple[Denial, ...], tuple[str, ...]]:
    rules = {rule.id: rule for rule in policies.rules}
    tries = 0

    def suffices(remedies: list[_Remedy]) -> bool:
        nonlocal tries
        tries += 1
        if tries > MAX_TRIES:
            return False
        changed = case
        for remedy in remedies:
            changed = remedy.patch(changed)
        ignore = frozenset().union(*(remedy.ignore for remedy in remedies))
        try:
            cases.check(changed)
        except EngineError:
            return False
        answers = engine.evaluate(changed, policies)
        return _judge(changed, answers, policies, mode, ignore).allowed

    denies: list[Denial] = []
    firsts: dict[str, _Remedy] = {}
    for deny in verdict.denies:
        remedies = list(_remedies(case, deny, rules.get(deny.rule)))
        if remedies:
            said = deny.message if deny.rule == "record-required" else deny.dataset
            firsts.setdefault(f"{deny.rule} {said}", remedies[0])
        good = [remedy.text for remedy in remedies if suffices([remedy])]
        fix = "; or ".join(dict.fromkeys(good)) or None
        denies.append(_replace(deny, fix))
    together: tuple[str, ...] = ()
    if not any(deny.fix for deny in denies) and len(firsts) > 1 and suffices([*firsts.values()]):
        together = tuple(dict.fromkeys(remedy.text for remedy in firsts.values()))
    return tuple(denies), together


def _replace(deny: Denial, fix: str | None) -> Denial:
    return Denial(**{**vars(deny), "fix": fix})


def _remedies(case: JSON, deny: Denial, rule: Rule | None) -> Iterator[_Remedy]:
    if deny.rule == NO_PERMIT:
        yield _border(case, deny)
    elif deny.rule == "weights-inherit" and deny.dataset is not None:
        yield from _dataset(case, deny.dataset)
    elif deny.rule == "record-required" and (unclear := origins.unclear(case, deny.message)):
        yield _settled(case, unclear)
    elif rule is not None and rule.fix is not None:
        patch = _PATCHES.get(deny.rule)
        if patch is not None:
            text = gatefixes.fix(case, deny.rule, deny.message) or rule.fix
            text = factfixes.fix(case, deny.rule) or text
            yield _Remedy(text=text, patch=patch)
        else:
            yield _Remedy(text=rule.fix, patch=lambda same: same, ignore=frozenset({rule.id}))


def _settled(case: JSON, text: str) -> _Remedy:
    """RULES 30: a record that binds is set aside by its digest alone, with a reason."""
    alone = any(map(origins.unrecorded, case["subject"]["derived_from"]))

    def patch(old: JSON) -> JSON:
        new = origins.without(old, text)
        return origins.recorded(new) if alone else new

    return _Remedy(text=origins.way_out(text, alone=alone), patch=patch)


def _border(case: JSON, deny: Denial) -> _Remedy:
    cls = case["subject"]["class"]
    source, target = case["source"]["zone"], case["destination"]["zone"]

    def patch(old: JSON) -> JSON:
        new = copy.deepcopy(old)
        new["project"]["border"].append({"class": cls, "from": source, "to": target, "where": None})
        return new

    at = f", line {deny.where}" if deny.where else " in sovgate.yaml"
    return _Remedy(
        text=f"if it may cross, add `{source} -> {target}` to border.{cls}.allow{at}", patch=patch
    )


def _dataset(case: JSON, name: str) -> Iterator[_Remedy]:
    """What would free a subject from one data set, most honest first."""
    from sovgate.formats.provenance import IN_RECORD

    origins = [one for one in case["subject"]["derived_from"] if one["name"] == name]
    others = [one for one in case["subject"]["derived_from"] if one["name"] != name]
    # A demand that holds at the destination already is nothing that anybody has to change.
    unmet = [one for one in origins if not _holds(one, case["destination"]["groups"])]
    said = sorted({w for one in unmet for w in (one["where"] or "").split(" and ") if w})
    files = [one for one in said if one != IN_RECORD]
    at = f" ({', '.join(files)})" if files else ""
    again = _again(case) if IN_RECORD in said else ""
    lifts = {gate for origin in origins for gate in origin["lifts"]}
    for gate in case["project"]["gates"]:
        if gate["name"] in lifts and gate["dataset"] is None:
            yield _Remedy(
                text=f"pass the gate {gate['name']}, which frees it from {name}",
                patch=partial(
                    _with_evidence, role="gate", gate=gate["name"], threshold=gate["threshold"]
                ),
            )
    if others:

        def without(old: JSON) -> JSON:
            new = copy.deepcopy(old)
            kept = [one for one in new["subject"]["derived_from"] if one["name"] != name]
            new["subject"]["derived_from"] = kept
            return new

        yield _Remedy(text=f"train it without {name}", patch=without)
    country = case["destination"]["country"]
    if country in case["destination"]["groups"]:

        def freed(old: JSON) -> JSON:
            new = copy.deepcopy(old)
            for one in new["subject"]["derived_from"]:
                if one["name"] == name:
                    one["stays_in"] = [*(one["stays_in"] or ()), country]
            return new

        text = f"if the law lets {name} go to {country}, say so in its stays-in{at}{again}"
        if again and not files:
            text = f"the project lets {name} go to {country}, its record does not{again}".replace(
                ", remove", ": remove"
            )
        yield _Remedy(text=text, patch=freed)


def _holds(origin: JSON, groups: list[str]) -> bool:
    places = origin["stays_in"]
    return places is not None and (places == [] or bool(set(places) & set(groups)))


def _again(case: JSON) -> str:
    """A new record loosens nothing beside an old one: which of the evidence goes, by its name."""
    old = [one["sha256"][:16] for one in case["evidence"] if one["role"] == "provenance"]
    names = ", ".join(f"provenance-{start}" for start in old[:4])
    which = f"the old record {names}" if len(old) == 1 else f"the old records {names}"
    return f", remove {which} from the model's evidence folder, and record the model again"


def _with_evidence(old: JSON, **fields: JSON) -> JSON:
    """The case with a piece of evidence about this very subject added."""
    from sovgate.formats.statement import PREDICATE_TYPES

    new = copy.deepcopy(old)
    names = "release zone created threshold dataset commitment about_zone"
    blank = dict.fromkeys(f"{names} identity issuer logged trusted_root".split())
    new["evidence"].append(
        {
            **blank,
            "gate": None,
            "result": "pass" if fields["role"] == "gate" else None,
            "predicate_type": PREDICATE_TYPES[str(fields["role"])],
            "sha256": "0" * 64,
            "manifest": new["subject"]["manifest"],
            "signer": "someone trusted",
            **fields,
        }
    )
    return new


def _sign(old: JSON) -> JSON:
    return _with_evidence(old, role="signature")


def _drop_misfits(old: JSON) -> JSON:
    new = copy.deepcopy(old)
    subject = new["subject"]
    new["evidence"] = [
        item
        for item in new["evidence"]
        if item["manifest"] == subject["manifest"] and item["release"] in (None, subject["release"])
    ]
    return new


def _pass_gates(old: JSON) -> JSON:
    old = gatefixes.without_failures(old)
    for gate in old["project"]["gates"]:
        if gate["dataset"] is None:
            old = _with_evidence(old, role="gate", gate=gate["name"], threshold=gate["threshold"])
    return old


def _attest_legal(old: JSON) -> JSON:
    behind = {one["name"]: one["commitment"] for one in old["subject"]["derived_from"]}
    for gate in old["project"]["gates"]:
        if gate["dataset"] is not None:
            old = _with_evidence(
                old,
                role="legal",
                dataset=gate["dataset"],
                commitment=behind.get(gate["dataset"]),
                about_zone=old["destination"]["zone"],
            )
    return old


def _locate(old: JSON) -> JSON:
    new = copy.deepcopy(old)
    target = new["destination"]
    if target["location"]["value"] in (None, target["region"]):
        target["location"] = {"value": target["region"], "grade": target["require"]}
    return new


_PATCHES: dict[str, Callable[[JSON], JSON]] = {
    "signature-required": _sign,
    "evidence-fits": _drop_misfits,
    "gates-before-stage": _pass_gates,
    "legal-before-deploy": _attest_legal,
    "record-required": origins.recorded,
    "base-known": origins.named,
    "location-known": _locate,
    **{rule: partial(factfixes.stated, fact=fact) for rule, fact in factfixes.RULES.items()},
}
