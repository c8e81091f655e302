"""Training record and ancestry: which data is behind a model, and where it ties the weights.

A stage: pure, no I/O. Restrictions travel from data to weights (docs/records.md): a record's own
word and the project's word about a data set both count, and neither can loosen the other.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sovgate.errors import ConfigError
from sovgate.formats.claims import Claim
from sovgate.formats.provenance import IN_RECORD, RecordedDataset, TrainingRecord
from sovgate.formats.sections import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Places of which one must hold, and who says so; `places` None: nobody knows, which denies."""

    places: tuple[str, ...] | None
    where: str


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """A declared data set: the project file's word and its manifest's. All demands must be met.

    No demand at all is free.
    """

    name: str
    category: str | None
    demands: tuple[Demand, ...]
    lifts: tuple[str, ...]
    pointer: str | None
    manifest_sha256: str | None
    commitment: str | None

    @property
    def stays_in(self) -> tuple[tuple[str, ...], ...] | None:
        """The demands as a training record keeps them; None is unknown, () is free."""
        places = [demand.places for demand in self.demands]
        known = tuple(dict.fromkeys(place for place in places if place is not None))
        return None if None in places else known


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """One demand on where a model may go: `stays_in` None is unknown, () is free.

    A data set stands here once for each demand on it, and each of its states; all must be met.
    `where` names everybody who makes the demand: "data/kyc.yaml:5 and sovgate.yaml:17".
    """

    name: str
    kind: str  # "dataset" | "base-model" | "unknown"
    category: str | None
    stays_in: tuple[str, ...] | None
    lifts: tuple[str, ...]
    commitment: str | None
    where: str | None


#: What a record says where no data set at all is behind a model: an explicit, signed claim.
NONE = RecordedDataset(
    name="none", category="none", stays_in=(), pointer=None, manifest_sha256=None, commitment=None
)

UNKNOWN = Ancestor(
    name="unknown",
    kind="unknown",
    category=None,
    stays_in=None,
    lifts=(),
    commitment=None,
    where=None,
)


def recorded(names: Sequence[str], declared: Mapping[str, DatasetFacts]) -> list[RecordedDataset]:
    """What a new training record says of the data sets named. ConfigError for one unknown."""
    made = []
    for name in dict.fromkeys(names):
        facts = declared.get(name)
        if facts is None:
            raise ConfigError(
                f"there is no data set {name[:80]!r} under datasets",
                fix=did_you_mean(name, list(declared)) or f"declare datasets.{name} first",
                reason="unknown-dataset",
            )
        made.append(
            RecordedDataset(
                name=name,
                category=facts.category,
                stays_in=facts.stays_in,
                pointer=facts.pointer,
                manifest_sha256=facts.manifest_sha256,
                commitment=facts.commitment,
            )
        )
    return made


def flattened(
    own: Sequence[RecordedDataset],
    bases: Iterable[TrainingRecord],
    declared: Mapping[str, DatasetFacts],
) -> tuple[RecordedDataset, ...]:
    """The model's own data sets and those behind its bases, by name; every demand of each is kept.

    What the project says today of a base's data set counts beside what the base's record says.
    """
    found = {one.name: one for one in own}
    for base in bases:
        for there in base.datasets:
            facts = declared.get(there.name)
            said = there.stays_in if facts is None else _both(there.stays_in, facts.stays_in)
            one = replace(there, stays_in=said)
            before = found.get(one.name)
            found[one.name] = one if before is None else _merged(before, one)
    if len(found) > 1 and found.get(NONE.name) == NONE:
        del found[NONE.name]  # "no data set" is no data set; a project may have one of that name
    return tuple(found.values())


def _merged(one: RecordedDataset, other: RecordedDataset) -> RecordedDataset:
    """The same data set twice, maybe in two states, and of two categories."""
    states = dict.fromkeys([*one.earlier, other.commitment, *other.earlier])
    return replace(
        one,
        category=both_categories(one.category, other.category),
        stays_in=_both(one.stays_in, other.stays_in),
        earlier=tuple(state for state in states if state != one.commitment),
    )


def both_categories(one: str | None, other: str | None) -> str | None:
    """What two by_places call a data set. Where they differ both words stay, as one that is none.

    Null would not do: it is "not said", and whoever says something next would be believed.
    """
    said = [category for category in (one, other) if category is not None]
    words = {word for category in said for word in category.split(" or ")}
    return " or ".join(sorted(words)) if words else None


def _both(
    one: tuple[tuple[str, ...], ...] | None, other: tuple[tuple[str, ...], ...] | None
) -> tuple[tuple[str, ...], ...] | None:
    """All demands of both; unknown if either is."""
    return None if one is None or other is None else tuple(dict.fromkeys((*one, *other)))


def ancestry(
    record: TrainingRecord | None,
    declared: Mapping[str, DatasetFacts],
    aside: Container[str] = (),
) -> tuple[Ancestor, ...]:
    """The flattened list of demands on a model. No record, or an empty one: unknown.

    `aside`: SHA-256 of records that this project has set aside. A base is known here only if each
    of its records that the record's zone set aside is among them (RULES 30).
    """
    if record is None or not record.datasets:
        return (UNKNOWN,)
    found = [one for dataset in record.datasets for one in _demands(dataset, declared)]
    # What a base model derives from is flattened into the record by whoever writes it; one that
    # only names its base says nothing of the data behind that.
    found += [
        replace(UNKNOWN, name=base.name, kind="base-model", stays_in=() if base.public else None)
        for base in record.base_models
        if not base.records or any(digest not in aside for digest, _ in base.aside)
    ]
    return tuple(found)


def uncovered(claims: Iterable[Claim], records: Sequence[TrainingRecord]) -> list[Claim]:
    """Claimed bases that no record names."""
    bases = [base for record in records for base in record.base_models]
    return [
        claim
        for claim in claims
        if not any(claim.covered_by(base.name, base.revision) for base in bases)
    ]


def _demands(dataset: RecordedDataset, declared: Mapping[str, DatasetFacts]) -> Iterator[Ancestor]:
    facts = declared.get(dataset.name)
    said = [Demand(places=p, where=IN_RECORD) for p in (dataset.stays_in or ())]
    if dataset.stays_in is None:
        said.append(Demand(places=None, where=IN_RECORD))
    said += facts.demands if facts else ()
    by_places: dict[tuple[str, ...] | None, list[str]] = {}
    for demand in said:
        by_places.setdefault(demand.places, []).append(demand.where)
    # Where record and project differ on its category it is unknown: neither can loosen the other.
    known = {c for c in (dataset.category, facts.category if facts else None) if c is not None}
    category = known.pop() if len(known) == 1 else None
    for places, where in by_places.items() or [((), [])]:
        for commitment in dict.fromkeys((dataset.commitment, *dataset.earlier)):
            yield Ancestor(
                name=dataset.name,
                kind="dataset",
                category=category,
                stays_in=places,
                lifts=facts.lifts if facts else (),
                commitment=commitment,
                where=" and ".join(sorted(where)) or None,
            )
