"""`sovgate sbom`."""

from __future__ import annotations

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
from sovgate.cli._streams import write_document
from sovgate.cli._transport import transport_options
from sovgate.errors import UsageError
from sovgate.records import STREAM, Options

if TYPE_CHECKING:
    from sovgate.stages.sbom import Described


@declare(
    "sbom",
    example="""
sovgate sbom build/kyc-risk --requirements requirements.txt --key file:keys/us.pem
sovgate sbom build/kyc-risk -o kyc-risk.cdx.json --spdx kyc-risk.spdx.json""",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "sbom": "Path of the SBOM in MODEL.evidence/.",
        "pickles": "How many files of the model are pickles.",
    },
)
@model_argument
@option(
    "--requirements",
    multiple=True,
    type=LocalPath(),
    metavar="FILE",
    help="Lock file of the training environment. Repeat for each.",
)
@option(
    "--environment",
    type=LocalPath(),
    metavar="DIR",
    help="The virtual environment of the training.",
)
@option(
    "--license",
    "licences",
    multiple=True,
    metavar="SPDX",
    help="The model's licence, instead of what its card says. Repeat for each.",
)
@option(
    "-o",
    "--output",
    type=LocalPath(stream=True),
    metavar="FILE",
    help="Also write the plain CycloneDX document here; - is standard output.",
)
@option(
    "--spdx",
    type=LocalPath(stream=True),
    metavar="FILE",
    help="Also write an SPDX 3 document here; - is standard output.",
)
@key_option(help="Sign the SBOM with this key. Without a key it is written to unsigned/.")
@signing_zone_option
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    requirements: tuple[Path, ...],
    environment: Path | None,
    licences: tuple[str, ...],
    output: Path | None,
    spdx: Path | None,
    key: str | None,
    zone: str | None,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """List what a model is made of: files, tensors, data and libraries."""
    from sovgate.pipeline.make.claims import differences
    from sovgate.pipeline.make.sbom import Told, sbom

    streams = [path for path in (output, spdx) if path == STREAM]
    if len(streams) > 1:
        raise UsageError("-o and --spdx cannot both go to standard output", fix="name a file")
    with progress("reading the model") as bar:
        made = sbom(
            model,
            key=signing_key(key, zone, project),
            told=Told(requirements=requirements, environment=environment, licences=licences),
            output=output,
            spdx=spdx,
            options=Options(
                project=project, evidence=evidence, follow_links=follow_links, progress=bar
            ),
        )
    if streams:
        write_document(made.documents[0 if output == STREAM else 1], format_)
    described = made.described
    notes = [] if made.signed_by else ["unsigned: policy does not read it; sign it with --key"]
    if described.record is None:
        notes.append(
            "no training record: the SBOM has no data sets and no metrics; run sovgate record first"
        )
    if made.ignored_records:
        notes.append(f"passed over {made.ignored_records} other or unverified training records")
    warnings = [*_warnings(described), *differences(described.inspected, described.record)]
    notes += warnings
    if described.inspected.pickles:
        notes.append("a pickle runs code when it is loaded; save the weights as safetensors")
    written = [
        *made.paths,
        *(path for path in (output, spdx) if path is not None and path != STREAM),
    ]
    return Report(
        command="sbom",
        headline=f"wrote the SBOM of {described.name}",
        rows=(
            ("manifest", f"sha256:{made.manifest}"),
            *_rows(described),
            *(("SBOM" if not index else "", str(path)) for index, path in enumerate(written)),
        ),
        outputs={
            "manifest": f"sha256:{made.manifest}",
            "sbom": str(made.paths[0]),
            "pickles": str(len(described.inspected.pickles)),
        },
        data={
            "manifest": made.manifest,
            "serial-number": made.serial,
            "statements": [str(path) for path in made.paths],
            "signed-by": made.signed_by,
            "files": len(described.manifest.resources),
            "parameters": described.parameters,
            "libraries": len(described.libraries),
            "licences": [licence.text for licence in described.licences],
            "pickles": {
                name: str(one) for name, one in sorted(described.inspected.pickles.items())
            },
            "warnings": warnings,
            "training-record": described.record is not None,
        },
        notes=tuple(notes),
    )


def _warnings(described: Described) -> list[str]:
    """What could not be read, or does not count, and is no fault that blocks."""
    notes = [
        f"{name}: not known to this version of sovgate: {what}; update sovgate to have it listed"
        for name, what in described.unknown
    ]
    notes += [
        f"{name} is not counted: {why}; remove it if it does not belong to the model"
        for name, why in sorted(described.inspected.strays.items())
    ]
    notes += [
        f"{name}: its header does not tell the architecture of the model"
        for name in described.untold
    ]
    notes += [
        f"{name}: {problem}: Python's JSON reads it all the same, other programs may not"
        for name, problem in described.doubtful_configs
    ]
    if described.inspected.card.problem:
        notes.append(f"README.md: the card was not read: {described.inspected.card.problem}")
    return notes


def _rows(described: Described) -> list[tuple[str, str]]:
    rows = [("files", str(len(described.manifest.resources)))]
    kind = ", ".join(part for part in (described.family, described.architecture) if part)
    if kind:
        rows.append(("model", kind))
    if described.parameters is not None:
        types = ", ".join(described.dtypes) or "no tensors"
        rows.append(("parameters", f"{described.parameters:,} ({types})"))
    if described.record is not None:
        names = ", ".join(dataset.name for dataset in described.datasets) or "none"
        rows.append(("data sets", names))
    if described.libraries:
        rows.append(("libraries", str(len(described.libraries))))
    rows += [("licence", licence.text) for licence in described.licences]
    found = sorted(described.inspected.pickles.items())
    rows += [("pickle", f"{one.way(name)}: {one.why}") for name, one in found]
    return rows
