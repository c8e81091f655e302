"""`sovgate gate accuracy|regression|…`: measure a model, and say whether it is good enough.

`sovgate gate pin …`: write into the project what a gate is measured on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate.cli._base import (
    LocalPath,
    argument,
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
from sovgate.gates.registry import GATES
from sovgate.records import Options

if TYPE_CHECKING:
    from sovgate.pipeline.make.gate import Gated

_WORDS = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}


_PREDICTIONS = "Predictions on a test set, as CSV or Parquet (all gates except junit)."
_BASELINE = "The earlier model's predictions on the same samples (regression)."
_POSITIVE = "The label that counts as positive (f1, auc). Default: the one that the project pins."
_REPORT = "The test run's JUnit XML (junit)."


@declare(
    "gate",
    example="""
sovgate gate pin accuracy --predictions test.csv
sovgate gate accuracy build/kyc-risk --predictions test.csv
sovgate gate regression build/kyc-risk --predictions new.csv --baseline old.csv
sovgate gate junit build/kyc-risk --report report.xml --key file:keys/ci.pem""",
    outputs={
        "outcome": "pass, fail or inconclusive.",
        "result": "Path of the test result in MODEL.evidence/.",
        "manifest": "Manifest digest of the model, sha256:….",
    },
)
@argument(
    "gate",
    type=click.Choice(tuple(GATES)),
    metavar="GATE",
    help=f"Which gate: {', '.join(GATES)}.",
)
@model_argument
@option(
    "--predictions",
    type=LocalPath(),
    metavar="FILE",
    help=_PREDICTIONS,
)
@option(
    "--baseline",
    type=LocalPath(),
    metavar="FILE",
    help=_BASELINE,
)
@option("--positive", metavar="LABEL", help=_POSITIVE)
@option("--report", type=LocalPath(), metavar="FILE", help=_REPORT)
@option(
    "--at-least",
    metavar="NUMBER",
    weakens_trust=True,
    help="A threshold other than the project's. Policy does not count a pass at it.",
)
@option(
    "--at-most",
    metavar="NUMBER",
    weakens_trust=True,
    help="The same, for gates with an upper threshold (regression).",
)
@option(
    "--confidence",
    metavar="NUMBER",
    weakens_trust=True,
    help="The interval's confidence, 0.95 or more (default: 0.95).",
)
@key_option(help="Sign the result with this key. Without a key it is written to unsigned/.")
@signing_zone_option
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    gate: str,
    model: Path,
    predictions: Path | None,
    baseline: Path | None,
    positive: str | None,
    report: Path | None,
    at_least: str | None,
    at_most: str | None,
    confidence: str | None,
    key: str | None,
    zone: str | None,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Measure a model, and say whether it is good enough.

    A result counts only if it was measured on what the project pins: see `sovgate gate pin`.
    """
    from sovgate.pipeline.make.gate import Files, Threshold
    from sovgate.pipeline.make.gate import gate as run

    with progress("reading the model") as bar:
        made = run(
            gate,
            model,
            files=Files(
                predictions=predictions, baseline=baseline, report=report, positive=positive
            ),
            threshold=Threshold(at_least=at_least, at_most=at_most, confidence=confidence),
            key=signing_key(key, zone, project),
            options=Options(
                project=project, evidence=evidence, follow_links=follow_links, progress=bar
            ),
        )
    return _report(made)


def _report(made: Gated) -> Report:
    result, found = made.result, made.result.measure
    rows = [("gate", _asked(made))]
    if found.low is not None:
        share = f"{found.estimate or '?'}, from {found.low} to {found.high}"
        rows.append((found.metric, f"{share} ({found.confidence} confidence)"))
    rows.append(("n", str(found.n)))
    rows += [(name, str(count)) for name, count in found.counts.items()]
    rows += [("failed test", name) for name in found.failed[:10]]
    rows += [("manifest", f"sha256:{made.manifest}"), ("result", str(made.path))]
    return Report(
        command="gate",
        headline=f"{_WORDS[result.outcome]}: {result.gate} of {made.model.name}",
        rows=tuple(rows),
        outputs={
            "outcome": result.outcome,
            "result": str(made.path),
            "manifest": f"sha256:{made.manifest}",
        },
        data={
            "gate": result.gate,
            "outcome": result.outcome,
            "bound": result.bound,
            "threshold": result.threshold,
            "project-threshold": made.asked,
            "metric": found.metric,
            "estimate": found.estimate,
            "low": found.low,
            "high": found.high,
            "confidence": found.confidence,
            "n": found.n,
            "seed": found.seed,
            "counts": dict(found.counts),
            "failed": list(found.failed),
            "inputs": dict(result.inputs),
            "pins": result.pins.json(),
            "project-pins": None if made.pinned is None else made.pinned.json(),
            "manifest": made.manifest,
            "result": str(made.path),
            "signed-by": made.signed_by,
        },
        notes=tuple(_notes(made)),
        exit=made.exit,
    )


def _asked(made: Gated) -> str:
    result = made.result
    if result.bound is None:
        return "no failure"
    at = f" ({made.where.path}:{made.where.line})" if made.where and _own(made) else ""
    return f"{result.bound.replace('-', ' ')} {result.threshold}{at}"


def _own(made: Gated) -> bool:
    return made.asked == made.result.threshold


def _notes(made: Gated) -> list[str]:
    notes, result = [], made.result
    if result.outcome == "inconclusive":
        notes.append(
            "nothing ran"
            if result.measure.n == 0
            else "the threshold is inside the interval: more samples would decide it"
        )
    if result.bound is not None and not _own(made):
        asked = f"asks for {made.asked}" if made.asked else "has no threshold for this gate"
        notes.append(f"the project {asked}: policy takes this for no pass of it")
    notes += _other_pins(made)
    if made.strange:
        names = ", ".join(repr(text[:40]) for text in made.strange[:5])
        notes.append(f"no sample is labelled {names}: are labels and predictions spelled alike?")
    if made.signed_by is None:
        notes.append("unsigned: policy does not read it; sign it with --key or sovgate attest")
    return notes


def _other_pins(made: Gated) -> list[str]:
    """RULES 33: what was measured on something else is no result of the project's gate."""
    from sovgate.pipeline.decide.declared_gates import lacking, pin_command

    if made.pinned is None:
        return []
    name = made.result.gate
    lacks = lacking(name, made.pinned)
    if lacks:
        return [
            f"the project does not pin its {' and '.join(lacks)}, so policy does not count this; "
            f"pin it: {pin_command(name)}"
        ]
    told = dict(made.result.pins.rows())
    return [
        f"its {key} is {told[key] or 'not there'}, and the project pins {value or 'none'}: policy "
        "does not count this"
        for key, value in made.pinned.rows()
        if told[key] != value
    ]


@declare(
    "pin",
    path="gate pin",
    help="Write into sovgate.yaml what a gate is measured on: its test set, its baseline, its "
    "positive label. Policy counts no result on anything else.",
    example="""
sovgate gate pin accuracy --predictions test.csv
sovgate gate pin regression --baseline old.csv
sovgate gate pin f1 --predictions test.csv --positive fraud
sovgate gate pin junit --report report.xml""",
)
@argument(
    "gate",
    type=click.Choice(tuple(GATES)),
    metavar="GATE",
    help=f"Which gate of the project: {', '.join(GATES)}.",
)
@option("--predictions", type=LocalPath(), metavar="FILE", help=_PREDICTIONS)
@option("--baseline", type=LocalPath(), metavar="FILE", help=_BASELINE)
@option("--positive", metavar="LABEL", help=_POSITIVE)
@option("--report", type=LocalPath(), metavar="FILE", help=_REPORT)
@project_option
@output_options
def _pin(
    gate: str,
    predictions: Path | None,
    baseline: Path | None,
    positive: str | None,
    report: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    from sovgate.pipeline.make.gate import Files
    from sovgate.pipeline.make.pin import pin

    made = pin(
        gate,
        files=Files(predictions=predictions, baseline=baseline, report=report, positive=positive),
        project=project,
    )
    before = dict(made.before.rows())
    rows = []
    for key, value in made.now.rows():
        if value is not None:
            old = before[key]
            rows.append((key, value + (f"  (was {old})" if old not in (None, value) else "")))
    return Report(
        command="gate pin",
        headline=f"pinned the gate {gate}"
        + ("" if made.changed else "; the project says so already"),
        rows=(*rows, ("n", str(made.n)), ("project", str(made.path))),
        data={
            "gate": gate,
            "pins": made.now.json(),
            "before": made.before.json(),
            "n": made.n,
            "project": str(made.path),
            "changed": made.changed,
        },
        notes=("who may change sovgate.yaml may change what is measured: let somebody review it",),
    )


command.below["pin"] = _pin
