"""What binds a model, though it cannot be counted. No I/O.

RULES 30: evidence that binds is not evidence that permits. A training record about this manifest
that cannot be counted makes the model derive from unknown data, and a gate's result makes that gate
unknown, until this project sets the statement aside by its digest. RULES 7: what a former signer
signed counts if something verified dates it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import SovgateError, VerificationFailed
from sovgate.formats.case import Rejected
from sovgate.pipeline.decide.doubts import Doubt, find
from sovgate.pipeline.decide.evidence import MAX_REJECTED, Sorted, counted, set_aside, sort_evidence

if TYPE_CHECKING:
    from sovgate.formats.statement import Statement
    from sovgate.pipeline.project import Project
    from sovgate.records import Release
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted, Verified

#: How many of them a decision names one by one.
MAX_NAMED = 100
#: Of a bundle that was read whole this says that nobody whom the project names signed it. One that
#: is trusted for other words alone is no stranger: whoever takes a role from a key frees nothing.
_STRANGER = "wrong-signer"


@dataclass(frozen=True, kw_only=True)
class About:
    """Whose evidence it is; `signature` as for `sort_evidence`."""

    manifest: str | None
    release: Release | None
    now: int
    signature: str | None = None


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """A record that cannot be counted, or one that is missing. `sha256` is None for that."""

    name: str
    sha256: str | None
    reason: str

    @property
    def text(self) -> str:
        """For a decision, in one line."""
        digest = "" if self.sha256 is None else f" (sha256:{self.sha256})"
        return f"{self.name[:60]}{digest} {self.reason}"[:256]


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """`found` is what counts and what not; `unclear` makes the model derive from unknown data.

    `aside`: (digest, reason, line) of what this project has set aside; `results` are those digests
    of it that are results of gates, and no records.
    """

    found: Sorted
    unclear: tuple[Unclear, ...]
    aside: tuple[tuple[str, str, str], ...]
    results: frozenset[str] = frozenset()


def weigh(
    raws: Sequence[RawEvidence],
    *,
    trusted: Sequence[Trusted],
    about: About,
    project: Project | None,
) -> Weighed:
    """Sort the evidence, count what a former signer's is shown to be, and find what binds.

    Raises ConfigError where the key of a former signer cannot be read.
    """
    found = sort_evidence(
        raws,
        trusted=trusted,
        manifest=about.manifest,
        release=about.release,
        now=about.now,
        signature=about.signature,
    )
    if about.manifest is None:
        return Weighed(found=found, unclear=(), aside=())
    known = {item.sha256 for item in found.evidence} | found.duplicates
    reasons = {item.sha256: item.reason for item in found.rejected}
    left = {raw.sha256: raw for raw in raws if raw.sha256 not in known}
    dates = _dates(raws, trusted, about.manifest) if left else {}
    former = project.former() if project is not None and left else ()
    aside = set_aside(project.set_aside if project is not None else {}, left.values(), trusted)
    more: list[Sorted] = []
    unclear: list[Unclear] = []
    doubts: list[Doubt] = []
    results: set[str] = set()
    told: dict[str, str] = {}
    for digest, raw in left.items():
        shown = _shown(raw, trusted, former, dates.get(digest), about)
        if isinstance(shown, Sorted):
            more.append(shown)
            continue
        if shown is not None:
            told[digest] = shown
            continue
        why = raw.unread or reasons.get(digest) or "it cannot be counted"
        heard = _heard(raw, trusted, named=digest in dates)
        binding = _binds(raw, heard, about.manifest)
        doubt = None if heard is None or binding else find(raw, heard, about.manifest, why)
        if binding or doubt:
            if digest in aside:
                reason, line = aside[digest]
                told[digest] = f"{why[:600]}; set aside by {line}: {reason}"
                if doubt is not None:
                    results.add(digest)
                continue
            told[digest] = f"{why[:900]}; it binds all the same"
            if doubt is not None:
                doubts.append(doubt)
            else:
                unclear.append(
                    Unclear(name=raw.name, sha256=digest, reason=f"cannot be counted: {why}")
                )
        elif why != reasons.get(digest):
            told[digest] = why
    found = _joined(found, more, left, told)
    unclear += _missing(raws, found, trusted, about)
    return Weighed(
        found=replace(found, unclear=_texts(unclear), doubts=tuple(doubts)),
        unclear=tuple(unclear),
        aside=tuple((one, *aside[one]) for one in told if one in aside),
        results=frozenset(results),
    )


def binds(raw: RawEvidence, trusted: Sequence[Trusted], manifest: str) -> bool:
    """Whether it may be a training record or a gate's result about `manifest`, by somebody whom the
    project trusts."""
    heard = _heard(raw, trusted, named=False)
    if _binds(raw, heard, manifest):
        return True
    return heard is not None and find(raw, heard, manifest, "") is not None


def _joined(
    found: Sorted,
    more: Sequence[Sorted],
    left: Mapping[str, RawEvidence],
    told: Mapping[str, str],
) -> Sorted:
    """What counts later too, and what is said of the others; what binds is never cut off."""
    evidence = [*found.evidence, *(item for one in more for item in one.evidence)]
    known = {item.sha256 for item in evidence}
    rejected = [
        Rejected(name=left[digest].name[:256], sha256=digest, reason=why[:1024])
        for digest, why in told.items()
    ]
    rest = [item for item in found.rejected if item.sha256 not in {*told, *known}]
    return replace(
        found,
        evidence=tuple(sorted(evidence, key=lambda item: (item.role, item.sha256))),
        rejected=tuple([*rejected, *rest][:MAX_REJECTED]),
        records=(*found.records, *(record for one in more for record in one.records)),
    )


def _shown(
    raw: RawEvidence,
    trusted: Sequence[Trusted],
    former: Sequence[tuple[Trusted, datetime]],
    dated: datetime | None,
    about: About,
) -> Sorted | str | None:
    """What a signer said while it was trusted, if something verified is dated within that time.

    Text says why a former signer's statement does not count; None where it is no such statement.
    """
    entries = [(entry, until) for entry, until in former if "provenance" in entry.may]
    name, end = "", None
    for entry, until in entries:
        said = _opened(raw, [entry], None) or _opened(raw, [entry], dated)
        if said is not None and said.role == "provenance":
            name, end, logged = entry.name, until, said.signer.logged
            shown = min(filter(None, (dated, logged.time if logged else None)), default=until)
            if shown < until:
                return _counted(raw, [entry], shown, about)
    if end is not None:
        return f"former-signer: nothing shows that {name} signed it before {end:%Y-%m-%d}"
    if dated is not None and _opened(raw, trusted, None) is None:
        said = _opened(raw, trusted, dated)  # a certificate that has run out since
        if said is not None and said.role == "provenance":
            return _counted(raw, trusted, dated, about)
    return None


def _counted(
    raw: RawEvidence, trusted: Sequence[Trusted], dated: datetime, about: About
) -> Sorted | None:
    verified = _opened(raw, trusted, dated)
    if verified is None or about.manifest is None:
        return None
    made = counted(verified, manifest=about.manifest, release=about.release, now=about.now)
    if made is None:
        return None
    item, record = made
    return Sorted(evidence=(item,), rejected=(), records=() if record is None else (record,))


def _opened(raw: RawEvidence, trusted: Sequence[Trusted], at: datetime | None) -> Verified | None:
    from sovgate.stages.trust import open_statement

    try:
        return open_statement(raw.data, trusted, now=at)
    except SovgateError:
        return None


def _dates(
    raws: Sequence[RawEvidence], trusted: Sequence[Trusted], manifest: str
) -> dict[str, datetime]:
    """Digests that a verified decision, transfer or receipt about this manifest names -> the first
    time.

    A receipt names a transfer and a decision by digest, so what those name is as old as it is,
    whoever signed them.
    """
    found: dict[str, datetime] = {}
    there = {raw.sha256: raw for raw in raws}
    for raw in raws:
        verified = _opened(raw, trusted, None)
        if verified is None or verified.statement.subject_sha256 != manifest:
            continue
        try:
            when, digests = _names(verified.statement)
            if verified.role == "receipt":
                when, named = _received(verified)
                digests = [one for digest in named for one in _within(there.get(digest), manifest)]
        except VerificationFailed:
            continue
        for digest in digests:
            found[digest] = min(when, found.get(digest, when))
    return found


def _received(verified: Verified) -> tuple[datetime, list[str]]:
    """When a zone opened a release, and what it then held: nothing where another said so."""
    from sovgate.formats.receipt import Receipt

    statement = verified.statement
    said = Receipt.parse(
        statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
    )
    own = verified.own_word(said.zone) is not None
    return said.opened, [said.record, said.decision] if own else []


def _within(raw: RawEvidence | None, manifest: str) -> list[str]:
    """What a transfer or decision names, which a receipt names by its digest."""
    from sovgate.formats import foreign

    if raw is None or raw.unread is not None:
        return []
    try:
        said = foreign.statement(raw.data)
        return _names(said)[1] if said.subject_sha256 == manifest else []
    except VerificationFailed:
        return []


def _names(statement: Statement) -> tuple[datetime, list[str]]:
    """When a decision or a transfer was signed, and which evidence it names. Raises Malformed."""
    if statement.role == "decision":
        from sovgate.formats.decision import parse_decision

        rows = strict.Fields(statement.predicate, "predicate").list("inputAttestations", most=1000)
        digests = [row["digest"]["sha256"] for row in rows if _has_digest(row)]
        return parse_decision(statement).time, digests
    if statement.role == "transfer":
        from sovgate.formats.transfer import Transfer

        said = Transfer.parse(
            statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
        )
        return said.created, [item.sha256 for item in said.evidence]
    return datetime.max.replace(tzinfo=UTC), []


def _has_digest(row: strict.JSON) -> bool:
    digest = row.get("digest") if type(row) is dict else None
    return type(digest) is dict and type(digest.get("sha256")) is str


def _heard(raw: RawEvidence, trusted: Sequence[Trusted], *, named: bool) -> Verified | str | None:
    """What somebody trusted said in it, or the reason why it cannot be told. None: a stranger's.

    `named`: something verified that dates it names it, so somebody counted it once.
    """
    from sovgate.stages.trust import open_statement

    try:
        return open_statement(raw.data, trusted)
    except SovgateError as error:
        if error.reason == "untrusted-certificate":
            said = _before_it_ran_out(raw, trusted)
            if said is None:
                return error.reason if named else None
            return error.reason if isinstance(said, bool) else said
        return None if error.reason == _STRANGER and not named else error.reason


def _binds(raw: RawEvidence, heard: Verified | str | None, manifest: str) -> bool:
    """Whether it may be a training record about `manifest` by somebody trusted, now or before."""
    from sovgate.formats import doubtful, foreign

    if raw.unread is not None:
        return True
    if heard is None:
        return False
    if not isinstance(heard, str):
        return (heard.role, heard.statement.subject_sha256) == ("provenance", manifest)
    if heard == "untrusted-role":
        # It was read whole, and a key that the project names signed it: it is what it says.
        said = foreign.statement(raw.data)
        return (said.role, said.subject_sha256) == ("provenance", manifest)
    return doubtful.may_be_record(raw.data, raw.name, manifest)


def _before_it_ran_out(raw: RawEvidence, trusted: Sequence[Trusted]) -> Verified | bool | None:
    """What was said in it, if its certificate would be admitted but for having run out, or not
    having begun. None where it would not be; True where that cannot be told."""
    from sovgate.formats.foreign import Foreign
    from sovgate.formats.x509 import validity

    try:
        times = validity(Foreign.parse(raw.data).bundle.certificates)
    except VerificationFailed:
        return True
    return next((said for at in times if (said := _opened(raw, trusted, at)) is not None), None)


def _missing(
    raws: Sequence[RawEvidence], found: Sorted, trusted: Sequence[Trusted], about: About
) -> Iterator[Unclear]:
    """A record of another zone adds to those of the zone where the model was made, and stands for
    none of them. That zone is the one that signed the model."""
    if not found.records:
        return  # then it is unknown for having no record at all
    signed = {about.signature} if about.signature is not None else _own_signature(raws)
    records = [item for item in found.evidence if item.role == "provenance"]
    told = {item.zone for item in records}
    told |= _speakers(raws, {item.sha256 for item in records}, trusted)
    makers = _speakers(raws, signed, trusted)
    for zone in sorted(zone for zone in makers if zone is not None):
        if not told & {None, zone}:
            yield Unclear(
                name=f"the record of zone {zone}",
                sha256=None,
                reason=f"is missing: {zone} signed the model, and a record of another zone only "
                "adds to its own",
            )


def _own_signature(raws: Sequence[RawEvidence]) -> set[str]:
    """The model's signature where the caller did not verify it: one of an earlier signer may lie
    beside it under another name."""
    from sovgate.stages.attest import SIGNATURE

    return {raw.sha256 for raw in raws if raw.name == SIGNATURE}


def _speakers(
    raws: Sequence[RawEvidence], digests: Container[str], trusted: Sequence[Trusted]
) -> set[str | None]:
    """The zones that the signers of these statements may speak for; None is any."""
    found: set[str | None] = set()
    for raw in raws:
        verified = _opened(raw, trusted, None) if raw.sha256 in digests else None
        if verified is not None:
            found |= {entry.zone for entry in (verified.signer, *verified.also)}
    return found


def _texts(unclear: Sequence[Unclear]) -> tuple[str, ...]:
    """What stands in a case for what binds: one text each, of a bounded number."""
    texts = [one.text for one in unclear[:MAX_NAMED]]
    if len(unclear) > MAX_NAMED:
        texts.append(f"{len(unclear) - MAX_NAMED} further records cannot be counted")
    return tuple(texts)
