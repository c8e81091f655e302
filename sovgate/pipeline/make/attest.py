"""attest: signs statements that were written without a key, predicate files, and legal words.

What is signed is about this very model, is of a role that people sign, and reads as its format
says. All of it is checked before anything is signed; what this key signed before is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import (
    ConfigError,
    InternalError,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.files import read_bounded
from sovgate.formats.statement import PREDICATE_TYPES, STATEMENT_TYPE, Statement, role_of
from sovgate.pipeline import key_option
from sovgate.pipeline.beside import records_about
from sovgate.pipeline.decide.admission import admit, refuse_told
from sovgate.pipeline.decide.in_place import refuse_misplaced_records
from sovgate.pipeline.make import drafts
from sovgate.pipeline.make.sbom import latest_record
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, ROLES, Advance, Options, Release
from sovgate.stages import attest as evidence

if TYPE_CHECKING:
    from sovgate.keys._api import Signer

#: What a person or a job may have signed. The others are words of sovgate about its own acts.
BY_HAND = ("sbom", "provenance", "gate", "legal", "waiver")
#: Never signed in passing, with all that lies there: a planted draft would become a lawyer's word.
BY_NAME = frozenset({"legal", "waiver"})


@dataclass(frozen=True, kw_only=True)
class Item:
    """One statement. `path` is where it lies signed; None where it was left, and `why`."""

    role: str
    source: str
    path: Path | None = None
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attested:
    """`records`: all signed records about the model that lie there now."""

    model: Path
    manifest: str
    key_id: str
    signed: tuple[Item, ...]
    left: tuple[Item, ...]
    records: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class _Draft:
    source: str
    statement: Statement


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is to be signed: a predicate or statement in `file`, or the drafts beside the model.

    kind   role or predicate type of a predicate in `file`
    roles  restricts which drafts are signed, and names legal and waiver where those are to be
    """

    file: Path | None = None
    kind: str | None = None
    all_unsigned: bool = False
    roles: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class LegalWord:
    """That `zone` may run a model trained on `dataset`; `until` is an ISO 8601 date or time."""

    dataset: str
    zone: str
    release: str | None = None
    statement: str | None = None
    until: str | None = None


@reads_model
def attest(model: Path, selection: Selection, *, key: str, options: Options = DEFAULTS) -> Attested:
    """Sign what is selected, a file or the drafts in `MODEL.evidence/unsigned/`.

    Raises UsageError; VerificationFailed "other-model", "role-not-by-hand", Malformed: then nothing
    was signed. KeyServiceError.
    """
    file = selection.file
    if (file is None) == (not selection.all_unsigned):
        raise UsageError("nothing is named to be signed", fix="name a file, or add --all-unsigned")
    options.refuse_dry_run("attest")
    wanted = _roles(selection.roles)
    opened = open_project(options.project)
    about = _about(model, opened, options.progress)
    manifest = about.manifest.digest
    folders = evidence_of(model, options, opened)
    about = replace(about, record=latest_record(folders, manifest, opened)[0])
    left: list[Item] = []
    if file is not None:
        found = [_from_file(file, selection.kind, opened.config.model, manifest)]
    else:
        found = []
        for raw in folders.read_unsigned():
            draft = _Draft(source=raw.name, statement=_statement(raw.data, raw.name))
            role = draft.statement.role
            if (wanted and role not in wanted) or (not wanted and role in BY_NAME):
                why = "not among --role" if wanted else f"only with --role {role}"
                left.append(Item(role=role, source=raw.name, why=why))
                continue
            found.append(draft)
    for draft in found:
        _check(draft, about, wanted)
    refuse_misplaced_records(opened, [draft.statement for draft in found], key)
    roles = sorted({draft.statement.role for draft in found})
    signer = key_option.signer(key, opened.base, roles)
    return _seal_all(folders, manifest, found, left, signer)


@reads_model
def attest_legal(
    model: Path, said: LegalWord, *, key: str, options: Options = DEFAULTS
) -> Attested:
    """Sign that a zone may run this model, trained on a data set as its manifest commits to it now.

    Raises ConfigError (no such data set or zone, or no commitment), UsageError, KeyServiceError.
    """
    from sovgate.formats import legal

    options.refuse_dry_run("attest")
    opened = open_project(options.project)
    commitment = _commitment(opened, said.dataset)
    name = opened.zone(said.zone).name
    text = said.statement or (
        f"{opened.config.model}, trained on {said.dataset}, may run in zone {name}"
    )
    if len(text) > legal.MAX_STATEMENT:
        raise UsageError(
            f"the statement is longer than {legal.MAX_STATEMENT} characters",
            fix="shorten it, or name a document by its digest",
        )
    word = legal.Legal(
        dataset=said.dataset,
        commitment=commitment,
        zone=name,
        release=_release(said.release, opened.config.model),
        statement=text,
        until=_until(said.until),
    )
    about = _about(model, opened, options.progress)
    manifest = about.manifest.digest
    made = Statement(
        subject_name=opened.config.model,
        subject_sha256=manifest,
        predicate_type=PREDICATE_TYPES["legal"],
        predicate=word.predicate(),
    )
    draft = _Draft(source=f"{said.dataset} in {name}", statement=made)
    _check(draft, about, frozenset())
    signer = key_option.signer(key, opened.base, ("legal",))
    return _seal_all(evidence_of(model, options, opened), manifest, [draft], [], signer)


def _roles(names: Sequence[str]) -> frozenset[str]:
    for name in names:
        if name not in BY_HAND:
            raise UsageError(
                f"{name[:40]!r} is not a role that is signed by hand",
                fix=f"one of {', '.join(BY_HAND)}",
                reason="role-not-by-hand",
            )
    return frozenset(names)


def _about(model: Path, opened: Project, advance: Advance | None) -> drafts.About:
    """The model's files as they are, looked into and hashed: the same bytes for both."""
    from sovgate.stages import inventory

    inspected = admit(model, opened)
    taken = inventory.take(model, looked=inspected.looked, advance=advance)
    return drafts.About(
        name=opened.config.model,
        filename=taken.name,
        manifest=taken.manifest,
        inspected=inspected,
    )


def _from_file(file: Path, kind: str | None, model: str, manifest: str) -> _Draft:
    """A whole statement, or a predicate whose type was told."""
    data = read_bounded(file, most=strict.MAX_BYTES, what="predicate")
    value = strict.loads(data, floats=True)
    predicate_type = None if kind is None else PREDICATE_TYPES.get(kind, kind)
    if type(value) is dict and value.get("_type") == STATEMENT_TYPE:
        statement = _statement(data, file.name)
        if predicate_type not in (None, statement.predicate_type):
            raise UsageError(
                f"{file.name} is of type {statement.predicate_type[:80]}", fix="leave out --type"
            )
        return _Draft(source=file.name, statement=statement)
    if predicate_type is None:
        raise UsageError(
            f"the type of the predicate in {file.name} is not named",
            fix=f"add --type {' | '.join(BY_HAND)}",
        )
    if type(value) is not dict:
        raise VerificationFailed(
            f"{file.name} is not a predicate: it is not a JSON object", reason="malformed"
        )
    role_of(predicate_type)
    statement = Statement(
        subject_name=model,
        subject_sha256=manifest,
        predicate_type=predicate_type,
        predicate=value,
    )
    # Read back, so that what would be refused when it is verified is refused now.
    return _Draft(source=file.name, statement=_statement(_payload(statement, file.name), file.name))


def _statement(data: bytes, source: str) -> Statement:
    try:
        return Statement.parse(data)
    except VerificationFailed as error:
        raise _named(error, source) from error


def _named(error: SovgateError, source: str) -> SovgateError:
    return type(error)(
        f"{source} cannot be signed: {error.what}",
        why=error.why,
        fix=error.fix,
        reason=error.reason,
        details=error.details,
    )


def _payload(statement: Statement, source: str) -> bytes:
    try:
        return statement.payload()
    except InternalError as error:
        raise VerificationFailed(
            f"{source} has no canonical form: {error.what}",
            fix="write fractions as text, and keys in ASCII",
            reason="not-canonical",
        ) from error


def _check(draft: _Draft, about: drafts.About, wanted: frozenset[str]) -> None:
    """About this model, of a role that is signed by hand, and true as far as it can be computed."""
    statement, source = draft.statement, draft.source
    model, manifest = about.name, about.manifest.digest
    role = statement.role
    if role not in BY_HAND:
        raise VerificationFailed(
            f"{source} is of role {role}, which nobody signs by hand",
            why="the command that does what it says also signs it",
            fix=f"remove it; these roles are signed by hand: {', '.join(BY_HAND)}",
            reason="role-not-by-hand",
        )
    if wanted and role not in wanted:
        raise UsageError(
            f"{source} is of role {role}, which is not among --role",
            fix=f"add --role {role}, or name another file",
        )
    if statement.subject_sha256 != manifest or statement.subject_name != model:
        raise VerificationFailed(
            f"{source} is about another model",
            why=f"about {statement.subject_name[:80]!r}, {statement.subject_sha256[:16]}…; this is "
            f"{model!r}, {manifest[:16]}…",
            fix="remove it from this model's evidence, or make it again",
            reason="other-model",
        )
    try:
        drafts.read(statement, about)
    except VerificationFailed as error:
        raise _named(error, source) from error
    _payload(statement, source)
    refuse_told(statement, source)


def _seal_all(
    folders: evidence.Folders,
    manifest: str,
    drafts: Sequence[_Draft],
    left: list[Item],
    signer: Signer,
) -> Attested:
    there = _signed_before(folders, signer)
    signed: list[Item] = []
    for draft in drafts:
        role, payload = draft.statement.role, draft.statement.payload()
        if payload in there:
            left.append(Item(role=role, source=draft.source, why="signed by this key already"))
            continue
        path = evidence.add(folders.folder, role, evidence.seal(draft.statement, signer))
        there.add(payload)
        signed.append(Item(role=role, source=draft.source, path=path))
    return Attested(
        model=folders.model,
        manifest=manifest,
        key_id=signer.public_key.key_id,
        signed=tuple(signed),
        left=tuple(left),
        records=records_about(folders, manifest, drafts=False),
    )


def _signed_before(folders: evidence.Folders, signer: Signer) -> set[bytes]:
    """Payloads that this very key signed; a bundle that only looks so counts for nothing."""
    from sovgate.stages.trust import Trusted, open_statement

    own = [Trusted(name="this key", key=signer.public_key, may=frozenset(ROLES))]
    found = set()
    for raw in folders.read():
        try:
            found.add(open_statement(raw.data, own).statement.payload())
        except (VerificationFailed, InternalError):
            continue
    return found


def _commitment(opened: Project, dataset: str) -> str:
    from sovgate.formats.sections import did_you_mean

    facts = opened.datasets().get(dataset)
    if facts is None:
        raise ConfigError(
            f"there is no data set {dataset[:80]!r} under datasets",
            fix=did_you_mean(dataset, list(opened.config.datasets)),
            where=opened.config.where("datasets"),
            reason="unknown-dataset",
        )
    if facts.commitment is None:
        raise ConfigError(
            f"there is no commitment to the data of {dataset}",
            why="a legal statement is about one state of the data",
            fix=f"where the data is, run: sovgate data commit PATH --dataset {dataset} --epoch … "
            "--key FILE",
            where=opened.config.where(f"datasets.{dataset}"),
            reason="no-commitment",
        )
    return facts.commitment


def _release(text: str | None, model: str) -> str | None:
    if text is None:
        return None
    release = Release.parse(text)
    if release.model != model or release.pin is not None:
        raise UsageError(
            f"{text[:160]!r} is not {model}/VERSION",
            fix=f"--release {model}/{release.version}",
            reason="bad-release",
        )
    return str(release)


def _until(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        until = strict.parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except VerificationFailed:
        raise UsageError(
            f"--until {text[:40]!r} is not a date", fix="write 2027-01-31, or 2027-01-31T00:00:00Z"
        ) from None
    if until <= datetime.now(UTC):
        raise UsageError(
            f"--until {text[:40]} is in the past",
            why="a statement that has run out allows nothing",
            fix="name a day in the future, or leave it out for no end",
        )
    return until
