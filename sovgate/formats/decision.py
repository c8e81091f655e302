"""A decision: what policy said about one case, as records, and as a statement to sign. No I/O.

The statement is a SLSA verification summary (VSA v1) with our extension; docs/formats.md, "Case
and decision". To another zone it is information, never authority.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from sovgate import strict
from sovgate.errors import EngineError, ExitCode, Malformed, PolicyDenied, SovgateError, Where
from sovgate.formats.case import Case
from sovgate.formats.statement import PREDICATE_TYPES, Statement

EXTENSION = "https://sovgate.dev/decision/v0"
VERIFIER = "https://sovgate.dev"
SLSA_VERSION = "1.0"
#: Seconds for which a decision may be acted on.
LIFETIME = 15 * 60
#: The name of the denial where nothing permits.
NO_PERMIT = "border"
#: What the ids of a project's own rules begin with.
OWN_RULE = "user."


@dataclass(frozen=True, kw_only=True)
class Denial:
    """One reason against. `fix` is named only where it alone would suffice.

    `where` is the line that caused it, as text, e.g. "sovgate.yaml:17".
    """

    rule: str
    title: str
    message: str
    fix: str | None
    where: str | None
    severity: str
    dataset: str | None = None

    def json(self) -> strict.JSON:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Permit:
    """What lets it pass: "border" with its line, or "same-zone"."""

    id: str
    where: str | None

    def json(self) -> strict.JSON:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class RuleAnswer:
    """`answer` is "allow", "deny", "warn" or "none": the rule did not answer, which denies."""

    id: str
    answer: str
    message: str | None

    def json(self) -> strict.JSON:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a decision rests on: the digests of case and policy, and how policy was asked."""

    case_sha256: str
    policy_sha256: str
    engine: str
    mode: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Allowed = every rule answered, at least one permit, no deny.

    denies      what blocks; the data sets' first
    warnings    denies of rules of severity "warning" in mode "warn": said, but not blocking
    unanswered  (rule, what went wrong); blocks
    together    what would suffice only if all of it were done; () where one fix does, or none known
    time        seconds since 1970 of the case; `expires` is LIFETIME later
    """

    allowed: bool
    permits: tuple[Permit, ...]
    denies: tuple[Denial, ...]
    warnings: tuple[Denial, ...]
    unanswered: tuple[tuple[str, str], ...]
    together: tuple[str, ...]
    rules: tuple[RuleAnswer, ...]
    case: Case
    basis: Basis

    @property
    def time(self) -> int:
        return self.case.now

    @property
    def expires(self) -> int:
        return self.time + LIFETIME

    @property
    def exit(self) -> ExitCode:
        if self.unanswered:
            return ExitCode.ENGINE
        return ExitCode.OK if self.allowed else ExitCode.DENIED

    @property
    def asked(self) -> str:
        """How many rules were asked, so that a project sees whether its own were among them."""
        rules = [rule.id for rule in self.rules if rule.id != "permit"]
        own = sum(rule.startswith(OWN_RULE) for rule in rules)
        return f"{len(rules)} asked, {own} of them the project's own"

    @property
    def question(self) -> str:
        """What was asked, e.g. "weights of kyc-risk from eu to us-train"."""
        case = self.case
        what = f"{case.subject.cls} of {case.subject.release or case.subject.model}"
        if case.source.zone == case.destination.zone:
            return f"{what} in {case.destination.zone}"
        return f"{what} from {case.source.zone} to {case.destination.zone}"

    def require(self) -> None:
        """Raises what a denial is: EngineError (22) where a rule did not answer, PolicyDenied (10).

        Nothing where it is allowed.
        """
        if self.allowed:
            return
        error: SovgateError
        lines = tuple(self.lines())
        if self.unanswered:
            rule, why = self.unanswered[0]
            error = EngineError(
                f"policy could not decide: {self.case.action} {self.question}",
                why=f"the rule {rule} did not answer: {why}",
                fix="correct that rule, test it (sovgate policy test), and run it again",
                details=lines[1:],  # the first is said as `why`
                reason="unanswered",
            )
        else:
            first = self.denies[0]
            why = f"{first.rule}: {first.message}"
            fix = next((deny.fix for deny in self.denies if deny.fix), None)
            if fix is None and self.together:
                fix = "all of this together: " + "; ".join(self.together)
            error = PolicyDenied(
                f"policy denies: {self.case.action} {self.question}",
                why=why,
                fix=fix,
                where=parse_where(first.where),
                details=tuple(line for line in lines if not line.startswith(why)),
                reason=first.rule,
            )
        raise error

    def lines(self) -> list[str]:
        """One line for each reason against, for a person."""
        found = [f"{rule}: no answer: {why}" for rule, why in self.unanswered]
        for deny in self.denies:
            at = f" ({deny.where})" if deny.where else ""
            found.append(f"{deny.rule}: {deny.message}{at}")
        return [*dict.fromkeys(found)]  # two records may say the same

    def json(self) -> strict.JSON:
        return {
            "allowed": self.allowed,
            "action": self.case.action,
            "class": self.case.subject.cls,
            "model": self.case.subject.model,
            "release": self.case.subject.release,
            "manifest": self.case.subject.manifest,
            "from": self.case.source.zone,
            "to": self.case.destination.zone,
            "permits": [permit.json() for permit in self.permits],
            "denies": [deny.json() for deny in self.denies],
            "warnings": [deny.json() for deny in self.warnings],
            "unanswered": [{"rule": rule, "why": why} for rule, why in self.unanswered],
            "together": list(self.together),
            "rules": [rule.json() for rule in self.rules],
            "rejected": [item.json() for item in self.case.rejected],
            "keyless": [
                {"role": item.role, "signer": item.signer, "sha256": item.sha256} | item.keyless
                for item in self.case.evidence
                if item.keyless
            ],
            "case": {"sha256": self.basis.case_sha256},
            "policy": {"sha256": self.basis.policy_sha256},
            "engine": self.basis.engine,
            "mode": self.basis.mode,
            "time": _text(self.time),
            "expires": _text(self.expires),
        }


def parse_where(text: str | None) -> Where | None:
    """ "sovgate.yaml:17" or "sovgate.yaml:17:3" as a Where; the last of several ("a:1 and b:2")."""
    if not text:
        return None
    places = [part for part in text.split(" and ") if part.rpartition(":")[2].isdigit()]
    if not places:
        return None
    path = places[-1]
    numbers: list[int] = []
    while len(numbers) < 2 and (cut := path.rpartition(":"))[2].isdigit() and cut[0]:
        path = cut[0]
        numbers.insert(0, int(cut[2]))
    return Where(
        path=path,
        line=numbers[0] if numbers else None,
        column=numbers[1] if len(numbers) > 1 else None,
    )


def _text(seconds: int) -> str:
    return strict.format_time(datetime.fromtimestamp(seconds, UTC))


def evidence_sha256(case: Case) -> str:
    """SHA-256 of the canonical list of evidence that the decision rests on."""
    return hashlib.sha256(strict.canonical([item.json() for item in case.evidence])).hexdigest()


def decision_statement(decision: Decision) -> Statement:
    """The decision as a statement, to be signed by the zone that took it.

    Raises InternalError for a case without a manifest: there is no subject to speak of.
    """
    from sovgate.errors import InternalError

    case = decision.case
    manifest = case.subject.manifest
    if manifest is None:
        raise InternalError("a decision about what has no manifest cannot be a statement")
    name = case.subject.release or case.subject.model
    return Statement(
        subject_name=case.subject.model,
        subject_sha256=manifest,
        predicate_type=PREDICATE_TYPES["decision"],
        predicate={
            "verifier": {"id": VERIFIER},
            "timeVerified": _text(decision.time),
            "resourceUri": f"sovgate:{name}@sha256:{manifest}",
            "policy": {
                "uri": "sovgate:policies",
                "digest": {"sha256": decision.basis.policy_sha256},
            },
            "inputAttestations": [
                {"uri": f"sovgate:{item.role}", "digest": {"sha256": item.sha256}}
                | ({"annotations": item.keyless} if item.keyless else {})
                for item in case.evidence
            ],
            "verificationResult": "PASSED" if decision.allowed else "FAILED",
            "verifiedLevels": ["SLSA_BUILD_LEVEL_UNEVALUATED" if decision.allowed else "FAILED"],
            "slsaVersion": SLSA_VERSION,
            EXTENSION: {
                "action": case.action,
                "class": case.subject.cls,
                "release": case.subject.release,
                "from": case.source.zone,
                "to": case.destination.zone,
                "case": {"sha256": decision.basis.case_sha256},
                "evidence": {"sha256": evidence_sha256(case)},
                "project": {"sha256": case.project.sha256},
                "rules": [rule.json() for rule in decision.rules],
                "mode": decision.basis.mode,
                "engine": decision.basis.engine,
                "expires": _text(decision.expires),
            },
        },
    )


@dataclass(frozen=True, kw_only=True)
class Digests:
    """SHA-256 of what was decided on, by what, and for which project file."""

    case: str
    policy: str
    project: str


@dataclass(frozen=True, kw_only=True)
class SignedDecision:
    """What a decision statement says, read back. Times are UTC."""

    passed: bool
    action: str
    cls: str
    release: str | None
    manifest: str
    source: str
    destination: str
    digests: Digests
    time: datetime
    expires: datetime


def parse_decision(statement: Statement) -> SignedDecision:
    """Raises Malformed where it is no decision of ours, or contradicts itself."""
    top = strict.Fields(statement.predicate, "predicate")
    top.object("verifier").exactly("id", VERIFIER)
    time = top.time("timeVerified")
    uri = top.text("resourceUri")
    policy = top.object("policy").object("digest").sha256("sha256")
    inputs = top.list("inputAttestations", most=1000)
    result = top.text("verificationResult")
    top.raw("verifiedLevels")
    top.raw("slsaVersion")
    ours = top.object(EXTENSION)
    top.done()
    release = ours.nullable("release", ours.text)
    found = SignedDecision(
        passed=result == "PASSED",
        action=ours.text("action"),
        cls=ours.text("class"),
        release=release,
        manifest=statement.subject_sha256,
        source=ours.text("from"),
        destination=ours.text("to"),
        digests=Digests(
            case=ours.object("case").sha256("sha256"),
            policy=policy,
            project=ours.object("project").sha256("sha256"),
        ),
        time=time,
        expires=ours.time("expires"),
    )
    ours.object("evidence").sha256("sha256")
    answers = [item.text("answer") for item in ours.objects("rules", most=1000)]
    ours.text("mode")
    ours.text("engine")
    ours.done()
    name = release or statement.subject_name
    if result not in ("PASSED", "FAILED") or uri != f"sovgate:{name}@sha256:{found.manifest}":
        raise Malformed("the decision's result or subject is not of its form")
    if found.passed and (not answers or any(one not in ("allow", "warn") for one in answers)):
        raise Malformed("the decision says PASSED, but not every rule in it allowed")
    if not 0 <= (found.expires - time).total_seconds() <= LIFETIME or len(inputs) > 1000:
        raise Malformed("the decision lives longer than decisions do")
    return found
