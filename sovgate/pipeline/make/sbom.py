"""sbom: headers, inventory and training record, put into documents beside the model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate.errors import SovgateError, UsageError
from sovgate.pipeline import key_option
from sovgate.pipeline.decide.admission import admit, refuse_told
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import nearest_project
from sovgate.records import DEFAULTS, STREAM, Options

if TYPE_CHECKING:
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.keys._api import Signer
    from sovgate.pipeline.project import Project
    from sovgate.stages.attest import Folders
    from sovgate.stages.sbom import Described, Inspected, Licence

_EPOCH = re.compile(r"[0-9]{1,12}", re.ASCII)
_NO_LICENCE = frozenset({"other", "unknown"})


@dataclass(frozen=True, kw_only=True)
class Written:
    """`paths` are the statements in the evidence folder: CycloneDX first, then SPDX if asked.

    `documents`: their bare documents, as canonical JSON.
    """

    model: Path
    manifest: str
    paths: tuple[Path, ...]
    documents: tuple[bytes, ...]
    signed_by: str | None
    described: Described
    serial: str
    ignored_records: int


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the model does not say itself: its libraries, by lock files or of a virtual environment,
    and its licences."""

    requirements: Sequence[Path] = ()
    environment: Path | None = None
    licences: Sequence[str] = ()


_NOTHING = Told()


@reads_model
def sbom(
    model: Path,
    *,
    told: Told = _NOTHING,
    key: str | None = None,
    output: Path | None = None,
    spdx: Path | None = None,
    options: Options = DEFAULTS,
) -> Written:
    """Write the SBOM to `MODEL.evidence/`: signed with `key`, else under `unsigned/`.

    `output` and `spdx` get the bare documents; STREAM is for the caller to write. Raises
    Malformed, VerificationFailed (a file of the model is not what it claims), UsageError,
    ConfigError, KeyServiceError, DiskError.
    """
    from sovgate import __version__
    from sovgate.files import require_file
    from sovgate.stages import inventory
    from sovgate.stages import sbom as stage

    options.refuse_dry_run("sbom")
    timestamp = _source_date()
    opened = nearest_project(options.project)
    libraries = stage.merged(
        *(stage.from_lock(path) for path in told.requirements),
        stage.from_environment(told.environment) if told.environment is not None else [],
    )
    signer = None
    if key is not None:
        signer = key_option.signer(key, options.project, ("sbom",))
    survey = inventory.survey(model)
    options.expect(survey.total)
    for path in (output, spdx):
        if path is not None and path != STREAM:
            _require_outside(survey.root, path)
            require_file(path)
    inspected = admit(model, opened)
    taken = inventory.read(survey, looked=inspected.looked, advance=options.progress)
    manifest = taken.manifest
    folders = evidence_of(model, options, opened)
    record, record_signer, ignored = latest_record(folders, manifest.digest, opened)
    if not libraries and record is not None and record.environment is not None:
        libraries = stage.merged(
            [stage.Library(name=n, version=v) for n, v in record.environment.packages.items()]
        )
    described = stage.Described(
        name=opened.config.model if opened else survey.name,
        manifest=manifest,
        inspected=inspected,
        filename=survey.name,
        record=record,
        record_signer=record_signer,
        libraries=libraries,
        licences=_licences(told.licences, inspected),
        timestamp=timestamp,
        tool_version=__version__,
    )
    return _write(folders, described, signer, output=output, spdx=spdx, ignored=ignored)


def describe(folders: Folders, opened: Project) -> Described:
    """What an SBOM of the model would say now, but for libraries. Raises as `sbom` does."""
    from sovgate import __version__
    from sovgate.stages import inventory
    from sovgate.stages import sbom as stage

    inspected = admit(folders.model, opened)
    taken = inventory.take(folders.model, looked=inspected.looked)
    digest = taken.manifest.digest
    record, record_signer, _ = latest_record(folders, digest, opened)
    return stage.Described(
        name=opened.config.model,
        manifest=taken.manifest,
        inspected=inspected,
        filename=taken.name,
        record=record,
        record_signer=record_signer,
        libraries=(),
        licences=_licences((), inspected),
        timestamp=None,
        tool_version=__version__,
    )


def _write(
    folders: Folders,
    described: Described,
    signer: Signer | None,
    *,
    output: Path | None,
    spdx: Path | None,
    ignored: int,
) -> Written:
    from sovgate import strict
    from sovgate.files import atomic_write
    from sovgate.formats.statement import PREDICATE_TYPES, SPDX, Statement
    from sovgate.stages import attest
    from sovgate.stages.sbom import cyclonedx, spdx3

    folder = folders.folder
    document = cyclonedx.build(described)
    documents: list[tuple[str, dict[str, Any], Path | None]] = [
        (PREDICATE_TYPES["sbom"], document, output)
    ]
    if spdx is not None:
        documents.append((SPDX, spdx3.build(described), spdx))
    statements = [
        Statement(
            subject_name=described.name,
            subject_sha256=described.manifest.digest,
            predicate_type=predicate_type,
            predicate=predicate,
        )
        for predicate_type, predicate, _ in documents
    ]
    for statement in statements:
        refuse_told(statement)
    paths = []
    for statement, (_, predicate, output_path) in zip(statements, documents, strict=True):
        if signer is None:
            paths.append(attest.add_unsigned(folder, "sbom", statement.payload()))
        else:
            paths.append(attest.add(folder, "sbom", attest.seal(statement, signer)))
        if output_path is not None and output_path != STREAM:
            atomic_write(output_path, strict.canonical(predicate))
    return Written(
        model=folders.model,
        manifest=described.manifest.digest,
        paths=tuple(paths),
        documents=tuple(strict.canonical(predicate) for _, predicate, _ in documents),
        signed_by=signer.public_key.key_id if signer else None,
        described=described,
        serial=document["serialNumber"],
        ignored_records=ignored,
    )


def _source_date() -> datetime | None:
    """RULES 19: the one thing that SOURCE_DATE_EPOCH moves is bytes of an SBOM."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if _EPOCH.fullmatch(text):
        try:
            return datetime.fromtimestamp(int(text), UTC)
        except (ValueError, OverflowError, OSError):
            pass
    raise UsageError(
        f"SOURCE_DATE_EPOCH is {text[:40]!r}",
        why="it is a number of seconds since 1970",
        fix="unset it, or export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)",
        reason="bad-source-date",
    )


def _require_outside(root: Path, path: Path) -> None:
    place = path.parent.resolve() / path.name
    if place == root or (root.is_dir() and place.is_relative_to(root)):
        raise UsageError(
            f"{str(path)!r} is inside the model",
            why="writing it would change the model that it describes",
            fix="name a place beside the model",
            reason="output-inside-model",
        )


def _licences(named: Sequence[str], inspected: Inspected) -> tuple[Licence, ...]:
    """Named on the command line; else as the card and the files declare; else as texts read."""
    from sovgate.stages.sbom import Licence
    from sovgate.stages.sbom.cyclonedx import licence_id

    if any(not text.strip() or len(text) > 512 for text in named):
        raise UsageError("--license is empty or too long", fix="for example --license Apache-2.0")
    if named:
        return tuple(Licence(text=licence_id(t), declared=True) for t in dict.fromkeys(named))
    texts = [text for text in inspected.card.licenses if text.lower() not in _NO_LICENCE]
    if not texts and inspected.card.licenses and inspected.card.license_name:
        texts = [inspected.card.license_name]
    declared = [Licence(text=licence_id(text), declared=True) for text in texts]
    declared += [one for one in inspected.licences if one.declared]
    found = declared or list(inspected.licences)
    return tuple(dict.fromkeys(found))


def latest_record(
    folders: Folders, manifest: str, project: Project | None
) -> tuple[TrainingRecord | None, str | None, int]:
    """The latest training record of this model, its signer, and how many others were passed over.

    One that a trusted key signed counts before any draft. What does not verify is passed over: an
    SBOM describes, and policy judges the record itself.
    """
    from sovgate.formats.provenance import parse
    from sovgate.formats.statement import PREDICATE_TYPES, Statement
    from sovgate.stages.trust import open_statement

    found: list[tuple[bool, str, str, TrainingRecord, str | None]] = []
    ignored = 0

    def consider(statement: Statement, sha256: str, signer: str | None) -> None:
        if statement.predicate_type != PREDICATE_TYPES["provenance"]:
            return
        if statement.subject_sha256 != manifest:
            raise UsageError("a record of another model")
        record = parse(statement.predicate)
        found.append((signer is not None, record.finished.isoformat(), sha256, record, signer))

    hint = "provenance-"
    signed = [raw for raw in folders.read() if raw.name.startswith(hint)]
    trusted = project.trusted() if project is not None and signed else ()
    for raw in signed:
        try:
            verified = open_statement(raw.data, trusted, role="provenance")
            consider(verified.statement, raw.sha256, verified.signer.key.key_id)
        except SovgateError:
            ignored += 1
    for raw in folders.read_unsigned():
        if not raw.name.startswith(hint):
            continue
        try:
            consider(Statement.parse(raw.data), raw.sha256, None)
        except SovgateError:
            ignored += 1
    if not found:
        return None, None, ignored
    best = max(found, key=lambda entry: entry[:3])
    return best[3], best[4], ignored + len(found) - 1
