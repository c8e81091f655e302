"""Whether a zone may hold the data that a record says a model was trained on in it.

Reads the project's facts, and the public keys that it names as files; opens no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sovgate import uri
from sovgate.errors import PolicyDenied, SovgateError
from sovgate.links import mounted_secret
from sovgate.pipeline import key_option

if TYPE_CHECKING:
    from sovgate.config import ZoneConfig
    from sovgate.formats.provenance import RecordedDataset
    from sovgate.formats.statement import Statement
    from sovgate.keys._api import Signer
    from sovgate.pipeline.project import Project

REASON = "data-not-here"


def refuse_misplaced(
    opened: Project, datasets: Iterable[RecordedDataset], *, key: str, signer: Signer
) -> None:
    """Raises PolicyDenied where the key speaks for zones in none of which the data may be.

    A key that speaks for no zone in particular is not held to any.
    """
    zones = _zones(opened, key, signer)
    if not zones:
        return
    for dataset in datasets:
        if dataset.stays_in is None or any(_may_be(opened, dataset, zone) for zone in zones):
            continue
        zone = zones[0]
        region = opened.zone(zone).place
        places = " and in ".join(" or ".join(demand) for demand in dataset.stays_in)
        raise PolicyDenied(
            f"{dataset.name} may not be in {zone}",
            why=f"{dataset.name} may be only in {places}; {zone} is in {', '.join(region.groups)}, "
            "and this key speaks for it",
            fix=f"train where {dataset.name} may be, and record that with the key of that zone",
            reason=REASON,
            where=opened.config.where(
                f"datasets.{dataset.name}" if dataset.name in opened.config.datasets else "datasets"
            ),
        )


def refuse_misplaced_records(opened: Project, statements: Iterable[Statement], key: str) -> None:
    """The same for records that others wrote, before the key signs them.

    A base's data was not here, its weights were: whether those may be, gates can say too.
    """
    from sovgate.formats import provenance

    for statement in statements:
        if statement.role != "provenance":
            continue
        record, declared = provenance.parse(statement.predicate), opened.datasets()
        own = [
            one
            for one in record.datasets
            if not record.base_models or not (one.name in declared and declared[one.name].lifts)
        ]
        refuse_misplaced(opened, own, key=key, signer=key_option.signer(key, opened.base))


def _may_be(opened: Project, dataset: RecordedDataset, zone: str) -> bool:
    groups = set(opened.zone(zone).place.groups)
    return all(groups.intersection(demand) for demand in dataset.stays_in or ())


def _zones(opened: Project, key: str, signer: Signer) -> Sequence[str]:
    """The zones that a key speaks for, by the zones' own keys and by `trust`."""
    from sovgate.keys._api import Sealer
    from sovgate.stages.trust import keyless_of

    if isinstance(signer, Sealer):
        trusted = opened.trusted()
        if len({one.zone for one in keyless_of(signer, trusted)}) > 1:
            signer.prepare()  # a token may go by several names, its certificate has one
        speaks = [entry.zone for entry in keyless_of(signer, trusted)]
        return list(dict.fromkeys(zone for zone in speaks if zone is not None))
    key_id, found = signer.public_key.key_id, []
    for name, zone in opened.config.zones.items():
        texts = (zone.keys.sign, zone.keys.sign_public)
        if key in texts or key_id in _ids(opened, texts) or key_id == _mounted_id(opened, zone):
            found.append(name)
    found += [
        entry.zone
        for entry in opened.config.trust or ()
        if entry.zone is not None and key_id in _ids(opened, (entry.key,))
    ]
    return list(dict.fromkeys(found))


def _mounted_id(opened: Project, zone: ZoneConfig) -> str | None:
    """The id of a zone's own secret key where that is mounted; None where it is not."""
    from sovgate.keys.registry import open_signer

    text = zone.keys.sign
    if text is None or uri.parse(text, what="key").scheme != "file":
        return None
    try:
        if mounted_secret(uri.parse(text, what="key").rest, opened.base) is not None:
            return open_signer(text, opened.base).public_key.key_id
    except SovgateError:
        pass
    return None


def _ids(opened: Project, texts: Iterable[str | None]) -> Iterator[str]:
    """Key ids of the public halves that are files here; one that is not cannot be this key."""
    from sovgate.keys.registry import open_public

    for text in texts:
        try:
            if text is not None and uri.parse(text, what="key").scheme == "file":
                yield open_public(text, opened.base).key_id
        except SovgateError:
            continue
