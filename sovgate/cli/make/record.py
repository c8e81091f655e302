"""`sovgate record`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.cli._base import (
    LocalPath,
    declare,
    evidence_option,
    key_option,
    links_option,
    model_argument,
    option,
    output_options,
    project_option,
    signing_key,
    signing_zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import progress
from sovgate.cli._transport import transport_options
from sovgate.errors import UsageError
from sovgate.records import Options

if TYPE_CHECKING:
    from sovgate.pipeline.make.record import Recorded


def _pairs(texts: tuple[str, ...], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found or not name.isascii():
            raise UsageError(
                f"{flag} {text[:80]!r} is not NAME=VALUE, or names one twice",
                fix=f"write {flag} NAME=VALUE, each NAME once and in ASCII",
            )
        found[name] = value
    return found


@declare(
    "record",
    example="""
sovgate record build/kyc-risk --dataset public-pretrain --key file:keys/us.pem
sovgate record build/kyc-risk --dataset kyc-eu --base-model base/kyc-risk --from run.yaml""",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "record": "Path of the record in MODEL.evidence/.",
    },
)
@model_argument
@option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="A data set behind the model, as sovgate.yaml declares it. Repeat for each.",
)
@option(
    "--no-dataset",
    is_flag=True,
    weakens_trust=True,
    help="State that no data set is behind the model, except those of its base.",
)
@option(
    "--base-model",
    "bases",
    multiple=True,
    type=LocalPath(),
    metavar="PATH",
    help="A model that it was made from, or that model's evidence folder; NAME=PATH where its "
    "files call it NAME. Repeat for each.",
)
@option(
    "--public-base",
    "public_bases",
    multiple=True,
    weakens_trust=True,
    metavar="NAME@REVISION",
    help="State that it was made from this base, which anybody may have. Repeat for each.",
)
@option(
    "--from",
    "source",
    type=LocalPath(),
    metavar="FILE",
    help="YAML or JSON with datasets, base-models, parameters, metrics, commit, environment.",
)
@option(
    "--environment",
    type=LocalPath(),
    metavar="DIR",
    help="The virtual environment of the training: names and versions are recorded.",
)
@option("--commit", metavar="SHA", help="Git commit of the training code.")
@option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyper-parameter. Repeat for each.",
)
@option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME=VALUE",
    help="A metric of the trained model. Repeat for each.",
)
@key_option(help="Sign the record with this key. Without a key it is written to unsigned/.")
@signing_zone_option
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    datasets: tuple[str, ...],
    no_dataset: bool,
    bases: tuple[Path, ...],
    public_bases: tuple[str, ...],
    source: Path | None,
    environment: Path | None,
    commit: str | None,
    parameters: tuple[str, ...],
    metrics: tuple[str, ...],
    key: str | None,
    zone: str | None,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Record which data sets are behind a model."""
    from sovgate.pipeline.make.record import Training, record

    with progress("reading the model") as bar:
        made = record(
            model,
            Training(
                datasets=datasets,
                no_dataset=no_dataset,
                bases=bases,
                public_bases=public_bases,
                source=source,
                environment=environment,
                commit=commit,
                parameters=_pairs(parameters, "--parameter"),
                metrics=_pairs(metrics, "--metric"),
            ),
            key=signing_key(key, zone, project),
            options=Options(
                project=project, evidence=evidence, follow_links=follow_links, progress=bar
            ),
        )
    rows = [("manifest", f"sha256:{made.manifest}")]
    for dataset in made.datasets:
        stays = (
            "unknown: it may go nowhere"
            if dataset.stays_in is None
            else " and ".join("in " + " or ".join(demand) for demand in dataset.stays_in) or "free"
        )
        rows.append(("data set", f"{dataset.name} ({dataset.category or 'no category'}), {stays}"))
    for base in made.bases:
        if base.public:
            rows.append(("base model", f"{base.name} ({base.identity}), public"))
            continue
        known = "its record verified" if base.records else "unknown: no record of it verified"
        if base.name in made.unseen:
            known = "unknown: no trusted SBOM tells what its files say"
        rows.append(("base model", f"{base.name} ({base.identity[:23]}…), {known}"))
    rows.append(("record", str(made.path)))
    notes = [
        f"it is unknown which data is behind {name}, so it may go nowhere" for name in made.unknown
    ]
    notes += [
        f"{name} was named by its evidence alone, and no trusted SBOM tells what its files say of "
        "where it comes from: name the model's own folder with --base-model, or sign an SBOM where "
        "the model is (sovgate sbom MODEL --key URI), and record this model again"
        for name in made.unseen
    ]
    notes += made.claims
    notes += _earlier(made)
    if not made.signed_by:
        notes.append("unsigned: policy does not read it; sign it with --key")
    return Report(
        command="record",
        headline=f"recorded what is behind {made.model.name}",
        rows=tuple(rows),
        outputs={"manifest": f"sha256:{made.manifest}", "record": str(made.path)},
        data={
            "manifest": made.manifest,
            "record": str(made.path),
            "signed-by": made.signed_by,
            "warnings": list(made.claims),
            "earlier": [str(path) for path in made.earlier],
            "datasets": [
                {"name": d.name, "category": d.category, "stays-in": d.stays_in}
                for d in made.datasets
            ],
            "base-models": [
                {
                    "name": b.name,
                    "manifest": b.manifest,
                    "revision": b.revision,
                    "records": list(b.records),
                }
                for b in made.bases
            ],
        },
        notes=tuple(notes),
    )


def _earlier(made: Recorded) -> list[str]:
    """What counts where the model was recorded before, and how that is taken away."""
    from sovgate.pipeline.beside import ALL_COUNT

    if not made.earlier:
        return []
    return [
        f"this model was recorded before; {ALL_COUNT}",
        f"if that record is wrong: rm -- {shlex.join(map(str, made.earlier))}",
    ]
