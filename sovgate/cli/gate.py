"""`sovgate gate accuracy|regression|…`: one command a gate, made from the gates' own records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sovgate.cli._base import (
    LocalPath,
    declare,
    key_option,
    model_argument,
    option,
    output_options,
    project_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import progress
from sovgate.gates.registry import GATES, open_gate

if TYPE_CHECKING:
    from sovgate.gates._api import Gate
    from sovgate.pipeline.gate import Gated

_OUTPUTS = {
    "outcome": "pass, fail or inconclusive.",
    "result": "Path of the test result in MODEL.evidence/.",
    "manifest": "Manifest digest of the model, sha256:….",
}
_READS = {
    "predictions": "--predictions test.csv",
    "paired": "--predictions test.csv --baseline old.csv",
    "binary": "--predictions test.csv --positive fraud",
    "junit": "--report report.xml",
}
_WORDS = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}


@click.group("gate")
def command() -> None:
    """Measure a model, and say whether it is good enough."""


def _file(flag: str, help_text: str) -> Callable[[Any], Any]:
    return option(flag, type=LocalPath(), metavar="FILE", required=True, help=help_text)


def _options(gate: Gate) -> list[Callable[[Any], Any]]:
    found: list[Callable[[Any], Any]] = [model_argument]
    if gate.reads == "junit":
        found.append(_file("--report", "The test run's JUnit XML."))
    else:
        found.append(
            _file("--predictions", "CSV id,label,prediction[,score], or Parquet, of a test set.")
        )
    if gate.reads == "paired":
        found.append(_file("--baseline", "The same of the model before, on the same samples."))
    if gate.reads == "binary":
        found.append(
            option("--positive", metavar="LABEL", required=True, help="The label it is about.")
        )
    if gate.bound is not None:
        found.append(
            option(f"--{gate.bound}", "threshold", metavar="NUMBER", weakens_trust=True,
                   help="Another threshold than the project's; policy takes no pass of one.")
        )  # fmt: skip
        found.append(
            option("--confidence", metavar="NUMBER", weakens_trust=True,
                   help="Confidence of the interval, 0.95 or more (default: 0.95).")
        )  # fmt: skip
    return [
        *found,
        key_option(help="Sign the result with this key; without it, it goes to unsigned/."),
        project_option,
        output_options,
    ]


def _command(name: str) -> click.Command:
    gate = open_gate(name)

    def run(model: Path, format_: str, **given: Any) -> Report:
        from sovgate.pipeline.gate import gate as run_gate

        with progress("reading the model") as advance:
            return _report(run_gate(name, model, advance=advance, **given))

    for decorate in reversed(_options(gate)):
        run = decorate(run)
    return declare(
        name,
        path=f"gate {name}",
        help=gate.help,
        example=f"sovgate gate {name} build/kyc-risk {_READS[gate.reads]} --key file:keys/ci.pem",
        outputs=_OUTPUTS,
    )(run)


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
        command=f"gate {result.gate}",
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
            "nothing ran" if result.measure.n == 0
            else "the threshold lies inside the interval: more samples would decide it"
        )  # fmt: skip
    if result.bound is not None and not _own(made):
        asked = f"asks for {made.asked}" if made.asked else "has no threshold for this gate"
        notes.append(f"the project {asked}: policy takes this for no pass of it")
    if made.strange:
        names = ", ".join(repr(text[:40]) for text in made.strange[:5])
        notes.append(f"no sample is labelled {names}: are labels and predictions spelled alike?")
    if made.signed_by is None:
        notes.append("unsigned: policy does not read it; sign it with --key or sovgate attest")
    return notes


for _name in GATES:
    command.add_command(_command(_name))
