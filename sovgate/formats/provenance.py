"""Training record: SLSA provenance v1 whose build is a training run. Bytes <-> record, no I/O.

Says which data sets and base models are behind a model, each with the place where it must stay.
docs/formats.md, "Training record".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sovgate.errors import Malformed
from sovgate.strict import JSON, Fields, format_time, is_sha256

BUILD_TYPE = "https://sovgate.dev/training/v0"
BUILDER = "https://sovgate.dev/record/v0"
#: How messages name a record as the one who says something of a data set.
IN_RECORD = "its training record"
MAX_ANCESTORS = 10_000
_DATASET, _BASE = "dataset:", "base-model:"


@dataclass(frozen=True, kw_only=True)
class RecordedDataset:
    """A data set as the source knew it.

    `stays_in` is a list of demands, each a list of places of which one must hold; () is free, None
    is unknown.
    """

    name: str
    category: str | None
    stays_in: tuple[tuple[str, ...], ...] | None
    pointer: str | None
    manifest_sha256: str | None
    commitment: str | None
    #: Other states of it, that base models were trained on; None is one nobody committed to.
    earlier: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model that this one was made from.

    `records` are the SHA-256 of the training records of it that were verified, and whose data sets
    stand in this record; () none was, so what it derives from is unknown. `public`: the record's
    signer states that anybody may have it; then it is named with its `revision`, and `manifest` is
    None. `aside`: (SHA-256, reason) of records of it that could not be counted, and that the zone
    which recorded this has set aside; whoever has not done so too does not know the base.
    """

    name: str
    manifest: str | None
    records: tuple[str, ...] = ()
    revision: str | None = None
    aside: tuple[tuple[str, str], ...] = ()

    @property
    def public(self) -> bool:
        return self.manifest is None and self.revision is not None

    @property
    def identity(self) -> str:
        """Which model of that name: for people and for documents."""
        return f"sha256:{self.manifest}" if self.manifest else f"revision {self.revision}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where it was trained: names and versions, no paths."""

    python: str | None
    packages: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    datasets: tuple[RecordedDataset, ...]
    base_models: tuple[BaseModel, ...] = ()
    commit: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    environment: Environment | None = None
    finished: datetime

    def predicate(self) -> dict[str, JSON]:
        dependencies: list[JSON] = [_dataset(d) for d in self.datasets]
        dependencies += [_base(base) for base in self.base_models]
        if self.commit:
            dependencies.append({"name": "source", "digest": {"gitCommit": self.commit}})
        return {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "datasets": [d.name for d in self.datasets],
                    "parameters": dict(self.parameters),
                },
                "internalParameters": {}
                if self.environment is None
                else {
                    "environment": {
                        "python": self.environment.python,
                        "packages": dict(self.environment.packages),
                    }
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": BUILDER},
                "metadata": {"finishedOn": format_time(self.finished)},
                "byproducts": [
                    {"name": "metric:" + name, "annotations": {"value": value}}
                    for name, value in sorted(self.metrics.items())
                ],
            },
        }


def _base(base: BaseModel) -> dict[str, JSON]:
    if base.manifest is None:
        return {
            "name": _BASE + base.name,
            "annotations": {"public": True, "revision": base.revision},
        }
    entry: dict[str, JSON] = {
        "name": _BASE + base.name,
        "digest": {"sovgateManifest": base.manifest},
    }
    if base.records:
        entry["annotations"] = {"records": list(base.records)}
    if base.aside:
        rows: list[JSON] = [{"record": one, "reason": reason} for one, reason in base.aside]
        entry["annotations"]["setAside"] = rows
    return entry


def _dataset(dataset: RecordedDataset) -> dict[str, JSON]:
    entry: dict[str, JSON] = {
        "name": _DATASET + dataset.name,
        "annotations": {
            "category": dataset.category,
            "commitment": dataset.commitment,
            "staysIn": None
            if dataset.stays_in is None
            else [list(demand) for demand in dataset.stays_in],
        },
    }
    if dataset.earlier:
        entry["annotations"]["earlierCommitments"] = list(dataset.earlier)
    if dataset.pointer:
        entry["uri"] = dataset.pointer
    if dataset.manifest_sha256:
        entry["digest"] = {"sha256": dataset.manifest_sha256}
    return entry


def parse(predicate: JSON) -> TrainingRecord:
    """Raises Malformed. Only our own build type is a training record: another is no ancestry."""
    top = Fields(predicate, "predicate")
    definition, details = top.object("buildDefinition"), top.object("runDetails")
    top.done()
    definition.exactly("buildType", BUILD_TYPE)
    external = definition.object("externalParameters")
    names = external.texts("datasets", most=MAX_ANCESTORS)
    parameters = _texts(external.object("parameters"))
    external.done()
    environment = _environment(definition.object("internalParameters"))
    datasets, bases, commit = _dependencies(definition)
    definition.done()
    if tuple(d.name for d in datasets) != names:
        raise Malformed("the record names other data sets than it depends on")
    details.object("builder").exactly("id", BUILDER)
    finished = details.object("metadata").time("finishedOn")
    metrics = {}
    for entry in details.objects("byproducts", most=MAX_ANCESTORS):
        name = entry.text("name").removeprefix("metric:")
        metrics[name] = entry.object("annotations").text("value")
        entry.done()
    details.done()
    return TrainingRecord(
        datasets=tuple(datasets),
        base_models=tuple(bases),
        commit=commit,
        parameters=parameters,
        metrics=metrics,
        environment=environment,
        finished=finished,
    )


def _environment(internal: Fields) -> Environment | None:
    found = None
    if internal.has("environment"):
        fields = internal.object("environment")
        packages = fields.object("packages")
        if len(packages.names()) > MAX_ANCESTORS:
            raise Malformed(f"{packages.path} has more than {MAX_ANCESTORS} entries")
        found = Environment(
            python=fields.nullable("python", fields.text), packages=_texts(packages)
        )
        fields.done()
    internal.done()
    return found


def _texts(fields: Fields) -> dict[str, str]:
    found = {name: fields.text(name) for name in fields.names()}
    fields.done()
    return found


def _dependencies(
    definition: Fields,
) -> tuple[list[RecordedDataset], list[BaseModel], str | None]:
    datasets: list[RecordedDataset] = []
    bases: list[BaseModel] = []
    commit = None
    for entry in definition.objects("resolvedDependencies", most=MAX_ANCESTORS):
        name = entry.text("name")
        if name.startswith(_DATASET):
            datasets.append(_parse_dataset(name.removeprefix(_DATASET), entry))
        elif name.startswith(_BASE):
            bases.append(_parse_base(name.removeprefix(_BASE), entry))
        elif name == "source" and commit is None:
            commit = entry.object("digest").text("gitCommit", max_length=64)
        else:
            raise Malformed(f"{entry.path}.name is not known: {name[:80]!r}")
        entry.done()
    if len({d.name for d in datasets}) != len(datasets):
        raise Malformed("the record names a data set twice")
    return datasets, bases, commit


def _parse_base(name: str, entry: Fields) -> BaseModel:
    if not entry.has("digest"):
        notes = entry.object("annotations")
        notes.exactly("public", True)
        revision = notes.text("revision", max_length=512)
        notes.done()
        if not name or not revision:
            raise Malformed(f"{entry.path} names a public base without name and revision")
        return BaseModel(name=name, manifest=None, revision=revision)
    digest = entry.object("digest")
    manifest = digest.sha256("sovgateManifest")
    digest.done()
    records, aside = _records(entry)
    return BaseModel(name=name, manifest=manifest, records=records, aside=aside)


def _records(entry: Fields) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Without annotations, or with an empty list, its record is not known."""
    if not entry.has("annotations"):
        return (), ()
    notes = entry.object("annotations")
    digests = notes.texts("records", most=MAX_ANCESTORS)
    aside: list[tuple[str, str]] = []
    if notes.has("setAside"):
        for row in notes.objects("setAside", most=MAX_ANCESTORS):
            aside.append((row.sha256("record"), row.text("reason")))
            row.done()
    notes.done()
    if not all(is_sha256(digest) for digest in digests):
        raise Malformed(f"{notes.path}.records holds what is no SHA-256")
    return digests, tuple(aside)


def _demands(notes: Fields, name: str) -> tuple[tuple[str, ...], ...]:
    demands = notes.list(name, most=100)
    for demand in demands:
        if type(demand) is not list or not demand or not all(type(p) is str for p in demand):
            raise Malformed(f"{notes.path}.{name} is not a list of lists of places")
    return tuple(tuple(demand) for demand in demands)


def _parse_dataset(name: str, entry: Fields) -> RecordedDataset:
    notes = entry.object("annotations")
    stays_in = notes.nullable("staysIn", lambda name: _demands(notes, name))
    commitment = notes.nullable("commitment", notes.text)
    if commitment is not None and not is_sha256(commitment):
        raise Malformed(f"{notes.path}.commitment is not 32 bytes in lower-case hex")
    earlier: tuple[str | None, ...] = ()
    if notes.has("earlierCommitments"):
        earlier = tuple(notes.list("earlierCommitments", most=MAX_ANCESTORS))
        if not all(one is None or is_sha256(one) for one in earlier):
            raise Malformed(f"{notes.path}.earlierCommitments holds what is no commitment")
    category = notes.nullable("category", notes.text)
    notes.done()
    manifest = None
    if entry.has("digest"):
        digest = entry.object("digest")
        manifest = digest.sha256("sha256")
        digest.done()
    return RecordedDataset(
        name=name,
        category=category,
        stays_in=stays_in,
        commitment=commitment,
        earlier=earlier,
        pointer=entry.text("uri") if entry.has("uri") else None,
        manifest_sha256=manifest,
    )
