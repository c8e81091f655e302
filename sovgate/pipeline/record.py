"""record: the model's digest, data sets from the project, and a statement beside the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import UsageError
from sovgate.pipeline.project import open_project
from sovgate.records import Advance

if TYPE_CHECKING:
    from sovgate.formats.provenance import RecordedDataset

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    model: Path
    manifest: str
    path: Path
    signed_by: str | None
    datasets: tuple[RecordedDataset, ...]


def record(
    model: Path,
    *,
    datasets: Sequence[str],
    no_dataset: bool = False,
    project: Path | None = None,
    key: str | None = None,
    commit: str | None = None,
    parameters: Mapping[str, str] | None = None,
    metrics: Mapping[str, str] | None = None,
    advance: Advance | None = None,
) -> Recorded:
    """Write a training record to `MODEL.evidence/`: signed with `key`, else under `unsigned/`.

    Raises UsageError, ConfigError (a data set that is not declared), KeyServiceError.
    """
    from sovgate import attest, inventory
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.formats.statement import PREDICATE_TYPES, Statement
    from sovgate.record import NONE, recorded

    if bool(datasets) == no_dataset:
        raise UsageError(
            "name the data sets behind the model",
            why="a model whose data is unknown may go nowhere",
            fix="--dataset NAME for each, or --no-dataset where there is none",
            reason="no-dataset",
        )
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise UsageError("--commit is not a full Git commit", fix="git rev-parse HEAD")
    opened = open_project(project)
    named = (NONE,) if no_dataset else tuple(recorded(datasets, opened.datasets()))
    taken = inventory.take(model, advance=advance)
    training = TrainingRecord(
        datasets=named,
        commit=commit,
        parameters=parameters or {},
        metrics=metrics or {},
        finished=datetime.now(UTC),
    )
    statement = Statement(
        subject_name=opened.config.model,
        subject_sha256=taken.manifest.digest,
        predicate_type=PREDICATE_TYPES["provenance"],
        predicate=training.predicate(),
    )
    folder = attest.evidence_dir(model)
    signed_by = None
    if key is None:
        path = attest.add_unsigned(folder, "provenance", statement.payload())
    else:
        from sovgate.keys.registry import open_signer

        signer = open_signer(key, Path.cwd())
        signed_by = signer.public_key.key_id
        path = attest.add(folder, "provenance", attest.seal(statement, signer))
    return Recorded(model=model, manifest=taken.manifest.digest, path=path, signed_by=signed_by,
                    datasets=named)  # fmt: skip
