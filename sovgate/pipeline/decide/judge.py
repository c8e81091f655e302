"""The one door to policy: facts go in, a frozen judgement comes out. Nothing else opens an engine.

Whoever moves, serves or checks a release asks here, and acts on the judgement alone. Only evidence
that verified, fits, and is by a signer trusted for its role gets into a case; the rest stands under
`rejected` with its reason (RULES 5, 6, 18).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import ConfigError, EngineError, Inconclusive, SovgateError
from sovgate.pipeline import drafted
from sovgate.pipeline.decide.binding import About, Weighed, weigh
from sovgate.pipeline.decide.case import Known, KnownLocation, Question, build_case
from sovgate.pipeline.decide.policies import project_policies
from sovgate.pipeline.seen import results_missing
from sovgate.stages import attest, audit

if TYPE_CHECKING:
    from sovgate.engines._api import Engine, PolicySet
    from sovgate.formats.case import Evidence
    from sovgate.formats.decision import Decision
    from sovgate.keys._api import Signer
    from sovgate.pipeline.decide.contents import Contents
    from sovgate.pipeline.decide.evidence import Sorted
    from sovgate.pipeline.drafted import Drafts
    from sovgate.pipeline.project import Project
    from sovgate.records import Release
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.transfer import Document
    from sovgate.stages.trust import Trusted

#: What crosses with a release: its weights, and the metadata that goes with them (RULES 17).
CLASSES = ("weights", "metadata")
#: This code is younger than that; a clock before it is wrong (RULES 19).
_EARLIEST = 1_767_225_600  # 2026-01-01


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What policy said of each question, in their order; `locations` as they were known then.

    `documents` are the decisions as signed, () until `signed` made them. `aside`: records that the
    project has set aside, each with its digest, the reason, and the line that says so. `seen`: for
    each decision, gates of which no result was read, and drafts of records that nobody signed.
    """

    decisions: tuple[Decision, ...]
    locations: Mapping[str, KnownLocation | None]
    documents: tuple[Document, ...] = ()
    aside: tuple[tuple[str, str, str], ...] = ()
    seen: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.decisions:  # nothing denied would else pass for all allowed
            raise EngineError("policy was asked nothing", why="no question, no decision")

    def signed(self, signer: Signer) -> Judged:
        """The same with each decision signed. Raises KeyServiceError."""
        from sovgate.formats.decision import decision_statement
        from sovgate.formats.statement import PREDICATE_TYPES
        from sovgate.stages.seal import seal
        from sovgate.stages.transfer import Document

        sealed = [seal(decision_statement(decision), signer) for decision in self.decisions]
        documents = tuple(
            Document(
                role="decision",
                predicate_type=PREDICATE_TYPES["decision"],
                data=data,
                sha256=hashlib.sha256(data).hexdigest(),
            )
            for data in sealed
        )
        return replace(self, documents=documents)

    @property
    def first(self) -> Decision:
        """The decision about the first question: the weights, where a release is asked about."""
        return self.decisions[0]

    @property
    def denial(self) -> SovgateError | None:
        """What a denial is; None where all is allowed."""
        for number, decision in enumerate(self.decisions):
            try:
                self.require(number)
            except SovgateError as error:
                error.data = {**error.data, "decision": decision.json()}
                error.signed = tuple(item.data for item in self.documents)
                return error
        return None

    def require(self, number: int = 0) -> None:
        """Raises what a denial of that question is, with the results that were seen."""
        try:
            self.decisions[number].require()
        except SovgateError as error:
            error.details = (*error.details, *(self.seen[number] if self.seen else ()))
            raise

    @property
    def permits(self) -> tuple[str, ...]:
        """What lets the first question pass, each by its line of the project file."""
        return tuple(permit.where or permit.id for permit in self.first.permits)

    @property
    def policy(self) -> str:
        return self.first.basis.policy_sha256

    @property
    def decision(self) -> str:
        """SHA-256 of the first decision as it was signed."""
        return self.documents[0].sha256

    @property
    def refs(self) -> tuple[tuple[str, str], ...]:
        return tuple((item.role, item.sha256) for item in self.documents)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a decision, for a person, and one for each record that was set aside."""
        return (
            *(
                f"{'allowed' if decision.allowed else 'denied'}: {decision.question}, by "
                + ", ".join(p.where or p.id for p in decision.permits)
                for decision in self.decisions
            ),
            *self.set_aside,
        )

    @property
    def set_aside(self) -> tuple[str, ...]:
        """One line for each record that the project has set aside, for a person."""
        return tuple(
            f"set aside: the record sha256:{digest}, by {where}: {reason}"
            for digest, reason, where in self.aside
        )

    def holds(self, moment: datetime, located: KnownLocation) -> bool:
        """Whether this may still be acted on: not run out, and about the same place."""
        seconds = moment.timestamp()
        before = self.locations.get(self.first.case.destination.zone)
        return located == before and all(
            decision.time <= seconds < decision.expires for decision in self.decisions
        )


def clock() -> int:
    """Seconds since 1970. Raises Inconclusive where the clock cannot be right: that denies."""
    now = int(time.time())
    if now < _EARLIEST:
        says, earliest = (
            strict.format_time(datetime.fromtimestamp(max(moment, 0), UTC))
            for moment in (now, _EARLIEST)
        )
        raise Inconclusive(
            "the clock of this machine is wrong",
            why=f"it says {says}, and sovgate was made after {earliest}",
            fix="set the clock; decisions and evidence depend on it",
            reason="clock",
        )
    return now


def judge(
    project: Project, questions: Sequence[Question], known: Known, *, now: int | None = None
) -> Judged:
    """What the project's own policy says of each question. A denial is in what is returned.

    Raises ConfigError (3) on policies that will not load; EngineError (22), also where nothing is
    asked.
    """
    from sovgate.stages import policy

    when = clock() if now is None else now
    policies = project_policies(project)
    engine = open_engine(policies)
    decisions = []
    aside: tuple[tuple[str, str, str], ...] = ()
    seen: list[tuple[str, ...]] = []
    for question in questions:
        weighed = weigh(
            known.evidence,
            trusted=known.trusted,
            about=About(
                manifest=question.manifest,
                release=question.release,
                now=when,
                signature=known.signature,
            ),
            project=project,
        )
        aside = weighed.aside
        found = weighed.found
        if known.foreseen:
            found = replace(found, unclear=_still_unclear(weighed, known.foreseen))

        def ask(known: Known, question: Question = question, found: Sorted = found) -> Decision:
            case = build_case(project, question, known, found, now=when)
            return policy.decide(case, policies, engine)

        decision, drafts = drafted.told(ask(known), known, question.source, ask, policies)
        decisions.append(decision)
        seen.append((*results_missing(decision, known.evidence), *drafts))
    return Judged(
        decisions=tuple(decisions),
        locations=dict(known.locations),
        aside=aside,
        seen=tuple(seen),
    )


def _still_unclear(weighed: Weighed, foreseen: Sequence[Evidence]) -> tuple[str, ...]:
    """Of a dry run: no record is missing that would be written, and none of a signer whose
    signature another would replace."""
    again = any(item.role == "signature" for item in foreseen)
    zones = {item.zone for item in foreseen if item.role == "provenance"}
    written = {f"the record of zone {zone}" for zone in zones}
    told = {
        one.text
        for one in weighed.unclear
        if one.sha256 is None and (again or None in zones or one.name in written)
    }
    return tuple(text for text in weighed.found.unclear if text not in told)


def open_engine(policies: PolicySet) -> Engine:
    """The engine that the project names; `doctor` asks too whether it can be had."""
    from sovgate.engines import registry

    return registry.open_engine(policies.engine)


def transfer_questions(
    release: Release, manifest: str, *, source: str, destination: str
) -> tuple[Question, ...]:
    """The questions about a release that is to cross: its weights, and its metadata.

    RULES 17: names, digests and evidence are class `metadata`, and judged like all else.
    """
    return tuple(
        Question(
            action="transfer",
            cls=cls,
            manifest=manifest,
            release=release,
            source=source,
            destination=destination,
        )
        for cls in CLASSES
    )


def known_with_signature(
    signature: bytes,
    evidence: Sequence[RawEvidence],
    *,
    trusted: tuple[Trusted, ...],
    locations: Mapping[str, KnownLocation | None],
    contents: Contents,
    drafts: Drafts | None = None,
) -> Known:
    """What is known of a model whose bundle `signature` the caller has verified.

    `evidence` is what lies beside it; the bundle counts once, wherever it lies.
    """
    digest = hashlib.sha256(signature).hexdigest()
    beside = [item for item in evidence if item.sha256 != digest]
    bundle = attest.RawEvidence(name=attest.SIGNATURE, data=signature, sha256=digest)
    return Known(
        trusted=trusted,
        evidence=(bundle, *beside),
        signature=digest,
        locations=locations,
        contents=contents,
        drafts=drafts,
    )


def confirm(
    judged: Judged, located: KnownLocation, again: Callable[[], Judged], *, anew: bool = False
) -> tuple[Judged, datetime]:
    """Just before what commits: the decision to act on, and when. Asks `again` if the one there
    has run out, or the store has moved meanwhile; with `anew` in any case.

    Raises what a denial is; Inconclusive "clock"; ConfigError "policy-changed".
    """
    moment = audit.utc_now()
    _check_clock(judged, moment)
    if not anew and judged.holds(moment, located):
        return judged, moment
    final = again()
    if final.denial is not None:
        raise final.denial
    if final.policy != judged.policy:
        raise ConfigError(
            "the policy was changed while this ran", fix="run it again", reason="policy-changed"
        )
    return final, moment


def _check_clock(judged: Judged, moment: datetime) -> None:
    """RULES 19: a clock that was set back since the decision is no clock to act on."""
    latest = max(decision.time for decision in judged.decisions)
    if moment.timestamp() < latest:
        raise Inconclusive(
            "the clock was set back while this ran",
            why=f"policy decided at {datetime.fromtimestamp(latest, UTC).isoformat()}, "
            f"now it is {moment.isoformat()}",
            fix="correct the clock, and run it again",
            reason="clock",
        )
