"""Sorts evidence: what a case may rest on, and what not, with the reason. No I/O.

Only what verified, is about this manifest and release, and is by a signer trusted for its role
counts (RULES 5, 6); everything else is named as rejected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sovgate import strict
from sovgate.errors import ConfigError, Malformed, SovgateError, UsageError
from sovgate.formats.case import Evidence, Rejected
from sovgate.formats.decision import parse_decision
from sovgate.records import Release

if TYPE_CHECKING:
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.formats.testresult import TestResult
    from sovgate.pipeline.decide.doubts import Doubt
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted, Verified

#: Seconds that another machine's clock may be ahead.
_SKEW = 300
#: How many rejected statements a case names.
MAX_REJECTED = 1000


@dataclass(frozen=True, kw_only=True)
class Result:
    """A gate's result as it was read and computed again; `name` is that of its file."""

    name: str
    result: TestResult


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Evidence for one subject: what counts, what does not and why, and what was read of it.

    `results` are those of gates, by the digest of the evidence.
    `unclear` are records that bind though they cannot be counted (`binding.py`), one text each;
    `doubts` are results of gates of that kind. `duplicates` are other spellings of what counts
    (SHA-256), which is in `evidence` once.
    """

    evidence: tuple[Evidence, ...]
    rejected: tuple[Rejected, ...]
    records: tuple[TrainingRecord, ...]
    results: Mapping[str, Result] = field(default_factory=dict)
    unclear: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    duplicates: frozenset[str] = frozenset()


class _Unfit(Exception):
    """Why a verified statement does not count for this subject."""


def sort_evidence(
    raws: Iterable[RawEvidence],
    *,
    trusted: Sequence[Trusted],
    manifest: str | None,
    release: Release | None,
    now: int,
    signature: str | None = None,
) -> Sorted:
    """Open every statement; those of a trusted signer about this manifest and release count.

    RULES 43: a statement is what was signed and by whom. One that lies here in several spellings
    counts once.

    `signature` is the digest of a bundle that the caller has verified against the model's very
    files: that is how a signature by a tool that tells no sizes gets in.
    """
    from sovgate.stages.trust import open_statement

    evidence: list[Evidence] = []
    rejected: list[Rejected] = []
    records: list[TrainingRecord] = []
    results: dict[str, Result] = {}
    seen: dict[tuple[bytes, bytes], str] = {}
    duplicates: set[str] = set()
    for raw in sorted(raws, key=lambda raw: raw.sha256 != signature):
        try:
            verified = open_statement(raw.data, trusted)
            same = (verified.statement.payload(), verified.signer.identity)
            if same in seen and raw.sha256 != seen[same]:
                duplicates.add(raw.sha256)
                raise _Unfit(f"duplicate: it says what {seen[same]} says, in another spelling")
            found, read = _judge(verified, manifest, release, now, signature)
        except ConfigError:  # it could not be looked at, which is no reason to leave it out
            raise
        except (SovgateError, _Unfit) as error:
            why = str(error) if isinstance(error, _Unfit) else f"{error.reason}: {error.what}"
            rejected.append(Rejected(name=raw.name[:256], sha256=raw.sha256, reason=why[:1024]))
            continue
        evidence.append(found)
        seen[same] = raw.sha256
        if found.role == "provenance":
            records.append(read)
        elif found.role == "gate":
            results[found.sha256] = Result(name=raw.name[:256], result=read)
    evidence.sort(key=lambda item: (item.role, item.sha256))
    # No rule looks at what is rejected, so leaving some out changes no decision.
    rejected.sort(key=lambda item: (item.reason.startswith("expired"), item.name, item.sha256))
    del rejected[MAX_REJECTED:]
    return Sorted(
        evidence=tuple(evidence),
        rejected=tuple(rejected),
        records=tuple(records),
        results=results,
        duplicates=frozenset(duplicates),
    )


def set_aside(
    named: Mapping[str, tuple[str, str]], left: Collection[RawEvidence], trusted: Sequence[Trusted]
) -> Mapping[str, tuple[str, str]]:
    """What a project has set aside, by digest: its reason, and where that stands.

    RULES 43: further spellings of a statement that lies here and is `named` are set aside too.
    """
    from sovgate.stages.trust import identity

    if not named:
        return {}
    found = dict(named)
    known = {identity(one.data, trusted): named[one.sha256] for one in left if one.sha256 in named}
    known.pop(None, None)
    for one in left if known else ():
        said = known.get(identity(one.data, trusted))
        if said is not None:
            found.setdefault(one.sha256, said)
    return found


def counted(
    verified: Verified, *, manifest: str, release: Release | None, now: int
) -> tuple[Evidence, TrainingRecord | None] | None:
    """A statement that verified, as evidence; None where it does not count for this subject."""
    try:
        return _judge(verified, manifest, release, now, None)
    except (SovgateError, _Unfit):
        return None


def _judge(
    verified: Verified,
    manifest: str | None,
    release: Release | None,
    now: int,
    signature: str | None,
) -> tuple[Evidence, Any]:
    """One verified statement as evidence, and the record or result that was read of it.

    Raises _Unfit, or Malformed where it is ill-formed.
    """
    statement, role = verified.statement, verified.role
    about, said = statement.subject_sha256, statement.predicate
    fields: dict[str, str | None] = {}
    named: str | None = None
    created: datetime | None = None
    read: Any = None
    if role == "signature":
        about = _signed_manifest(verified, manifest, signature)
    elif role == "provenance":
        from sovgate.formats import provenance

        read = provenance.parse(said)
        created = read.finished
    elif role == "gate":
        if manifest is None or about != manifest:
            raise _other_model(about)
        read = _result(said)
        fields = _gate_fields(read)
    elif role == "decision":
        decision = parse_decision(statement)
        named, created = decision.release, decision.time
        if decision.expires.timestamp() < now:
            raise _Unfit("expired: the decision was for " + strict.format_time(decision.expires))
    elif role == "legal":
        from sovgate.formats import legal

        word = legal.parse(said)
        if word.until is not None and word.until.timestamp() <= now:
            raise _Unfit("lapsed: the attestation ended " + strict.format_time(word.until))
        fields = {
            "dataset": word.dataset,
            "commitment": word.commitment,
            "about_zone": word.zone,
        }
        named = word.release
    elif role in ("transfer", "part", "receipt", "promotion"):
        named = said.get("release") if type(said.get("release")) is str else None
    _check_release(named)
    if manifest is None or about != manifest:
        raise _other_model(about)
    if release is not None and named is not None and named != str(release):
        raise _Unfit(f"other-release: it is about {named[:160]}")
    if created is not None and created.timestamp() > now + _SKEW:
        raise _Unfit("from-the-future: it was made " + strict.format_time(created))
    logged = verified.signer.logged
    if logged is not None:
        fields |= {
            "identity": logged.identity,
            "issuer": logged.issuer,
            "logged": strict.format_time(logged.time),
            "trusted_root": logged.root,
        }
    made = Evidence(
        role=role,
        predicate_type=statement.predicate_type,
        sha256=verified.sha256,
        manifest=about,
        release=named,
        signer=verified.signer.name[:256] or "unnamed",
        zone=verified.signer.zone,
        created=None if created is None else strict.format_time(created),
        **fields,
    )
    return made, read


def _other_model(about: str) -> _Unfit:
    return _Unfit("other-model: it is about another manifest, " + about[:16] + "…")


def _check_release(named: str | None) -> None:
    if named is not None:
        try:
            Release.parse(named)
        except UsageError as error:
            raise Malformed(error.what) from error


def _signed_manifest(verified: Verified, manifest: str | None, signature: str | None) -> str:
    from sovgate.formats.oms import Oms

    told = Oms.parse(verified.statement).manifest()
    if told is not None:
        return told.digest
    if verified.sha256 == signature and manifest is not None:
        return manifest
    raise _Unfit("unsized: it tells no sizes, and was not compared with the model's files")


def _result(said: Mapping[str, strict.JSON]) -> TestResult:
    """A test result that follows from its counts. Only ours say which gate of a project it is."""
    from sovgate.formats import testresult
    from sovgate.gates import registry

    if testresult.EXTENSION not in said:
        raise _Unfit("unnamed: it does not say which gate of the project it is")
    found = testresult.parse(said)
    why = registry.misfit(found)
    if why is not None:
        raise _Unfit(f"other-measure: {why}")
    why = registry.contradiction(found)
    if why is not None:
        raise _Unfit(f"contradicted: {why}")
    return found


def _gate_fields(found: TestResult) -> dict[str, str | None]:
    from sovgate.formats import testresult

    sign = ">=" if found.bound == testresult.AT_LEAST else "<="
    return {
        "gate": found.gate,
        "result": found.outcome,
        "threshold": bound(sign, found.threshold),
    }


def bound(sign: str, text: str | None) -> str | None:
    """What a gate is held to, in one spelling: ">=0.9". None where it is held to no number."""
    number = decimal(text)
    return None if number is None else sign + number


def decimal(text: str | None) -> str | None:
    """Decimal text in its one spelling: "0.90" is "0.9". Raises Malformed."""
    if text is None:
        return None
    from decimal import Decimal, InvalidOperation

    try:
        number = Decimal(text)
        if len(text) > 64 or not number.is_finite() or abs(number.adjusted()) > 40:
            raise InvalidOperation
    except InvalidOperation:
        raise Malformed(f"{text[:40]!r} is not a decimal number") from None
    spelled = format(number.normalize(), "f")
    return "0" if number == 0 else spelled
