"""record: a statement beside a model, of the data behind it and behind its base models."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import Malformed, UsageError, VerificationFailed
from sovgate.files import read_bounded
from sovgate.pipeline import key_option
from sovgate.pipeline.beside import records_about
from sovgate.pipeline.decide.admission import admit, refuse_told
from sovgate.pipeline.decide.in_place import refuse_misplaced
from sovgate.pipeline.make.claims import differences
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Advance, Options

if TYPE_CHECKING:
    from sovgate.formats.provenance import BaseModel, Environment, RecordedDataset, TrainingRecord
    from sovgate.formats.trainingfile import TrainingFile
    from sovgate.stages.trust import Trusted

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_PYTHON = re.compile(r"version(?:_info)?\s*=\s*([0-9][0-9A-Za-z.+]{0,30})\s*", re.ASCII)
_EVIDENCE = ".evidence"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """`datasets` with those of the bases; `unknown` names bases whose own record did not verify.

    `claims`: what the model's own files say and this record does not, one sentence each.
    `earlier`: records of this very model that were there before, signed or not.
    `unseen`: bases named by their evidence alone, of whose files no trusted SBOM tells.
    """

    model: Path
    manifest: str
    path: Path
    signed_by: str | None
    datasets: tuple[RecordedDataset, ...]
    bases: tuple[BaseModel, ...]
    unknown: tuple[str, ...]
    claims: tuple[str, ...] = ()
    earlier: tuple[Path, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base model, the bases behind it, and its training records where they verified.

    `seen`: whether its files were looked into, here or by whoever signed an SBOM of them.
    """

    entries: tuple[BaseModel, ...]
    records: tuple[TrainingRecord, ...]
    seen: bool = True


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is said of a training.

    datasets     as the project declares them; `no_dataset` where it added none to those of `bases`
    bases        models or their evidence folders; what their own verified records say is flattened
                 into the new one, so that demands travel on; NAME=PATH where its files call it NAME
    public_bases NAME@REVISION of bases that anybody may have, which binds nothing
    source       a file that says some of the rest
    environment  what it was, or the folder of a virtual environment
    """

    datasets: Sequence[str] = ()
    no_dataset: bool = False
    bases: Sequence[Path | Base] = ()
    public_bases: Sequence[str] = ()
    source: Path | None = None
    commit: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    environment: Environment | Path | None = None


@reads_model
def record(
    model: Path, said: Training, *, key: str | None = None, options: Options = DEFAULTS
) -> Recorded:
    """Write a training record to `MODEL.evidence/`: signed with `key`, else under `unsigned/`.

    Raises UsageError, ConfigError (a data set that is not declared), VerificationFailed (a base
    whose signature does not verify, a model that is not whole), PolicyDenied (a secret in it),
    KeyServiceError.
    """
    from sovgate.formats import provenance
    from sovgate.formats.statement import PREDICATE_TYPES, Statement
    from sovgate.stages import attest, inventory
    from sovgate.stages.record import flattened

    options.refuse_dry_run("record")
    told = _training_file(said.source)
    opened = open_project(options.project)
    commit = said.commit or told.commit
    own = own_datasets(opened, [*said.datasets, *told.datasets], said.no_dataset, commit)
    inspected = admit(model, opened)
    above = said.source.parent if said.source is not None else Path()
    found = [
        one if isinstance(one, Base) else open_base(one, opened, options.progress)
        for one in (*said.bases, *(above / name for name in told.bases))
    ]
    found += [_public_base(text) for text in said.public_bases]
    entries = tuple(dict.fromkeys(entry for base in found for entry in base.entries))
    training = provenance.TrainingRecord(
        datasets=flattened(own, [one for base in found for one in base.records], opened.datasets()),
        base_models=entries,
        commit=commit,
        parameters=_joined(told.parameters, said.parameters, "parameter"),
        metrics=_joined(told.metrics, said.metrics, "metric"),
        environment=_environment(said.environment) or told.environment,
        finished=datetime.now(UTC).replace(microsecond=0),
    )
    taken = inventory.take(model, looked=inspected.looked, advance=options.progress)
    statement = Statement(
        subject_name=opened.config.model,
        subject_sha256=taken.manifest.digest,
        predicate_type=PREDICATE_TYPES["provenance"],
        predicate=_readable(training),
    )
    refuse_told(statement)
    folders = evidence_of(model, options, opened)
    folder, earlier = folders.folder, records_about(folders, taken.manifest.digest)
    signed_by = None
    if key is None:
        path = attest.add_unsigned(folder, "provenance", statement.payload())
    else:
        signer = key_option.signer(key, options.project, ("provenance",))
        signed_by = signer.public_key.key_id
        refuse_misplaced(opened, own, key=key, signer=signer)
        path = attest.add(folder, "provenance", attest.seal(statement, signer))
    return Recorded(
        model=model,
        manifest=taken.manifest.digest,
        path=path,
        signed_by=signed_by,
        datasets=training.datasets,
        bases=entries,
        unknown=tuple(entry.name for entry in entries if not entry.records and not entry.public),
        claims=differences(inspected, training),
        earlier=tuple(one for one in earlier if one != path),  # a draft may be the very same
        unseen=tuple(base.entries[0].name for base in found if not base.seen),
    )


def own_datasets(
    opened: Project, datasets: Sequence[str], no_dataset: bool, commit: str | None
) -> tuple[RecordedDataset, ...]:
    """The model's own data sets, as the project declares them; before a training run is paid for.

    Raises UsageError, ConfigError.
    """
    from sovgate.stages.record import NONE, recorded

    if datasets and no_dataset:
        raise UsageError(
            "data sets are named together with --no-dataset",
            why=f"it cannot both have data of its own and have none: {', '.join(datasets)[:80]}",
            fix="leave out --no-dataset, or the data sets",
            reason="no-dataset",
        )
    if not datasets and not no_dataset:
        raise UsageError(
            "name the data sets behind the model",
            why="a model whose data is unknown may go nowhere",
            fix="add --dataset NAME for each, or --no-dataset if it has no data of its own",
            reason="no-dataset",
        )
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise UsageError("--commit is not a full Git commit", fix="git rev-parse HEAD")
    return (NONE,) if no_dataset else tuple(recorded(datasets, opened.datasets()))


def _training_file(source: Path | None) -> TrainingFile:
    from sovgate.formats import trainingfile

    if source is None:
        return trainingfile.parse(b"{}", "nothing")
    data = read_bounded(source, most=trainingfile.MAX_BYTES, what="training file")
    return trainingfile.parse(data, source.name)


def _joined(first: Mapping[str, str], second: Mapping[str, str], what: str) -> dict[str, str]:
    both = set(first) & set(second)
    if both:
        raise UsageError(f"the {what} {min(both)[:80]!r} is given twice", fix="give it once")
    return {**first, **second}


def _readable(training: TrainingRecord) -> dict[str, object]:
    """The predicate, sure to be read back as it was meant."""
    from sovgate.formats import provenance

    for names in (training.parameters, training.metrics):
        for name in names:
            if not name.isascii():
                raise UsageError(
                    f"the name {name[:80]!r} is not ASCII", fix="name it in ASCII letters"
                )
    predicate = training.predicate()
    try:
        same = provenance.parse(predicate) == training
    except Malformed as error:
        raise UsageError(f"this cannot be recorded: {error.what}", why=error.why) from error
    if not same:
        raise UsageError("this cannot be recorded", why="it would not be read back the same")
    return predicate


def _public_base(text: str) -> Base:
    """NAME@REVISION: the record's signer states that anybody may have it. Raises UsageError."""
    from sovgate.formats.provenance import BaseModel

    name, at, revision = text.rpartition("@")
    if not at or not name.strip() or not revision.strip() or len(text) > 512:
        raise UsageError(
            f"{text[:80]!r} is not NAME@REVISION",
            why="a public base is named with its revision, since another may be another model",
            fix="for example --public-base org/name@COMMIT",
            reason="public-base",
        )
    return Base(entries=(BaseModel(name=name, manifest=None, revision=revision),), records=())


def open_base(place: Path, opened: Project, advance: Advance | None = None) -> Base:
    """What a base model derives from, by records that this project trusts.

    One without such a record, or whose own files claim a base that its records do not name, stays
    unknown; it is named all the same, and denies. So does one that is named by its evidence alone,
    without a trusted SBOM: nobody looked what its files claim (RULES 39). `place` may be NAME=PATH:
    a model's files may call its base by another name than its folder's.
    """
    from sovgate.formats.provenance import BaseModel
    from sovgate.pipeline.beside import read_records
    from sovgate.pipeline.decide.binding import About, weigh
    from sovgate.pipeline.decide.contents import of_evidence
    from sovgate.pipeline.decide.judge import clock
    from sovgate.stages import attest, inventory
    from sovgate.stages.record import uncovered
    from sovgate.stages.sbom import inspect

    trusted = opened.trusted()
    called, equals, rest = os.fspath(place).partition("=")
    renamed = bool(equals and called and rest) and not place.exists()
    path = Path(rest) if renamed else place
    if path.name.endswith(_EVIDENCE) and path.is_dir():
        name = path.name.removesuffix(_EVIDENCE)
        manifest = _signed(path, trusted)
        evidence = read_records(attest.Folders(model=path, folder=path), manifest)
        told = of_evidence(evidence, trusted, manifest)
        claims, seen = told.claims, told.seen
    else:
        name = path.resolve().name
        survey = inventory.survey(path)
        names = [entry.name for entry in survey.entries]
        inspected = inspect(survey.root, survey.kind, names)
        taken = inventory.read(survey, looked=inspected.looked, advance=advance)
        manifest = taken.manifest.digest
        evidence = read_records(evidence_of(path, DEFAULTS, opened), manifest)
        claims, seen = inspected.claims, True
    weighed = weigh(
        evidence,
        trusted=trusted,
        about=About(manifest=manifest, release=None, now=clock()),
        project=opened,
    )
    found = weighed.found
    digests = tuple(item.sha256 for item in found.evidence if item.role == "provenance")
    known = seen and bool(found.records) and all(one.datasets for one in found.records)
    known = known and not uncovered(claims, found.records) and not weighed.unclear
    aside = tuple(
        (digest, reason) for digest, reason, _ in weighed.aside if digest not in weighed.results
    )
    entry = BaseModel(
        name=called if renamed else name,
        manifest=manifest,
        records=digests if known else (),
        aside=aside if known else (),
    )
    behind = (base for one in found.records for base in one.base_models)
    return Base(entries=(entry, *behind), records=found.records, seen=seen)


def _signed(folder: Path, trusted: Sequence[Trusted]) -> str:
    """The manifest that the signature in an evidence folder tells of, without the model's files."""
    from sovgate.stages import attest
    from sovgate.stages.verify import model_manifest
    from sovgate.strict import MAX_BYTES

    bundle = read_bounded(folder / attest.SIGNATURE, most=MAX_BYTES, what="base model's signature")
    manifest = model_manifest(bundle, trusted)
    if manifest is None:
        raise VerificationFailed(
            "the base model's signature names no sizes, so it does not say which model it is",
            fix="name the model itself with --base-model",
            reason="unsized",
        )
    return manifest.digest


def _environment(given: Environment | Path | None) -> Environment | None:
    """Names and versions of what is installed below a folder; nothing there is run."""
    from sovgate.formats.provenance import Environment

    if given is None or isinstance(given, Environment):
        return given
    from sovgate.stages.sbom import from_environment

    packages = {library.name: library.version for library in from_environment(given)}
    python = None
    settings = given / "pyvenv.cfg"
    if settings.is_file():
        text = read_bounded(settings, most=64 * 1024, what="pyvenv.cfg").decode("utf-8", "replace")
        found = [m.group(1) for line in text.splitlines() if (m := _PYTHON.fullmatch(line.strip()))]
        python = found[0] if found else None
    return Environment(python=python, packages=packages)
