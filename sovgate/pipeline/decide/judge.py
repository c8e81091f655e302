"""Asks policy about a release that is to cross: its weights, and the metadata that goes with them.

RULES 17: names, digests and evidence are class `metadata`, and judged like all else. Each answer is
signed by the zone where this runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, Inconclusive, SovgateError
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.formats.case import Fact
    from sovgate.formats.decision import Decision
    from sovgate.keys._api import Signer
    from sovgate.pipeline.project import Project
    from sovgate.records import Release
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.transfer import Document, Located
    from sovgate.stages.trust import Trusted

CLASSES = ("weights", "metadata")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`documents` are the decisions as signed, () where nothing is to be written."""

    decisions: tuple[Decision, ...]
    documents: tuple[Document, ...]
    located: Located

    @property
    def denial(self) -> SovgateError | None:
        """What a denial is; None where all is allowed."""
        for decision in self.decisions:
            try:
                decision.require()
            except SovgateError as error:
                error.data = {**error.data, "decision": decision.json()}
                return error
        return None

    @property
    def policy(self) -> str:
        return self.decisions[0].policy_sha256

    @property
    def decision(self) -> str:
        """SHA-256 of the signed decision about the weights."""
        return self.documents[0].sha256

    @property
    def refs(self) -> tuple[tuple[str, str], ...]:
        return tuple((item.role, item.sha256) for item in self.documents)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a decision, for a person."""
        return tuple(
            f"{'allowed' if decision.allowed else 'denied'}: {decision.question}, by "
            + ", ".join(p.where or p.id for p in decision.permits)
            for decision in self.decisions
        )

    def holds(self, moment: datetime, located: Located) -> bool:
        """Whether this may still be acted on: not run out, and about the same place."""
        seconds = moment.timestamp()
        return located == self.located and all(
            decision.time <= seconds < decision.expires for decision in self.decisions
        )


def judge(
    project: Project,
    *,
    source: str,
    destination: str,
    located: Located,
    release: Release,
    manifest: str,
    signature: bytes,
    evidence: Sequence[RawEvidence],
    trusted: Sequence[Trusted],
    signer: Signer | None,
    contents: Mapping[str, Fact],
) -> Judged:
    """Ask about the weights and the metadata of one release. A denial is in what is returned.

    `signature` is the model's bundle, which the caller has verified; `evidence` what lies beside
    it, nothing of it checked; `signer` the running zone's, None where nothing is to be written;
    `contents` what is known of the files (`pipeline.contents`).

    Raises ConfigError (policies that do not load), EngineError, KeyServiceError.
    """
    from sovgate.formats.statement import PREDICATE_TYPES
    from sovgate.pipeline.decide.check import decide, sign_decision
    from sovgate.stages.attest import SIGNATURE, RawEvidence
    from sovgate.stages.transfer import Document

    digest = hashlib.sha256(signature).hexdigest()
    beside = [item for item in evidence if item.sha256 != digest]
    decisions = tuple(
        decide(
            project,
            action="transfer",
            cls=cls,
            manifest=manifest,
            release=release,
            evidence=(RawEvidence(name=SIGNATURE, data=signature, sha256=digest), *beside),
            source=source,
            destination=destination,
            locations={destination: located},
            trusted=trusted,
            signature=digest,
            facts=contents,
        )
        for cls in CLASSES
    )
    documents = []
    for decision in decisions if signer is not None else ():
        assert signer is not None  # noqa: S101 - for the type checker
        data = sign_decision(decision, signer)
        documents.append(
            Document(
                role="decision",
                predicate_type=PREDICATE_TYPES["decision"],
                data=data,
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    return Judged(decisions=decisions, documents=tuple(documents), located=located)


def confirm(
    judged: Judged, located: Located, again: Callable[[], Judged], *, anew: bool = False
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
            fix="set the clock right, and run it again",
            reason="clock",
        )
