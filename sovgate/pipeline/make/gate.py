"""gate: reads what a gate needs, holds its measure to the project's threshold, writes the result.

The result lies beside the model whatever it says: a failure is evidence too. It counts for policy
only if a signer that is trusted for gates signed it, only at the project's own threshold, and only
if it was measured on what the project pins.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, ExitCode, UsageError
from sovgate.formats.testresult import (
    FAIL,
    INCONCLUSIVE,
    LEAST_CONFIDENCE,
    PASS,
    Pins,
    TestResult,
)
from sovgate.gates.registry import open_gate
from sovgate.pipeline import key_option
from sovgate.pipeline.decide.admission import admit, refuse_told
from sovgate.pipeline.decide.declared_gates import fatal, outside, pins
from sovgate.pipeline.decide.evidence import decimal
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Options

if TYPE_CHECKING:
    from sovgate.errors import Where
    from sovgate.gates._api import Gate, Inputs

_EXITS = {PASS: ExitCode.OK, FAIL: ExitCode.GATE, INCONCLUSIVE: ExitCode.INCONCLUSIVE}
_MOST_CONFIDENCE = Decimal("0.999999")


@dataclass(frozen=True, kw_only=True)
class Gated:
    """`asked` is the project's own threshold, None where it has none; `where` its line.

    pinned    what the project pins; None where it has no such gate
    strange   answers that no sample has as its label: usually a wrong spelling
    """

    model: Path
    manifest: str
    result: TestResult
    path: Path
    signed_by: str | None
    asked: str | None
    where: Where | None
    pinned: Pins | None
    strange: tuple[str, ...]

    @property
    def exit(self) -> ExitCode:
        return _EXITS[self.result.outcome]


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a gate reads, each gate its own; `positive` is the label that it is about."""

    predictions: Path | None = None
    baseline: Path | None = None
    report: Path | None = None
    positive: str | None = None


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Decimal texts in the place of the project's own; policy takes none of it for a pass of the
    project's gate."""

    at_least: str | None = None
    at_most: str | None = None
    confidence: str | None = None


@reads_model
def gate(
    name: str,
    model: Path,
    *,
    files: Files,
    threshold: Threshold,
    key: str | None = None,
    options: Options = DEFAULTS,
) -> Gated:
    """Run one gate on a model, and write its result to `MODEL.evidence/`.

    Signed with `key`, else under `unsigned/`.

    Raises UsageError, ConfigError (no threshold), VerificationFailed (what it read is not usable,
    or does not belong together), KeyServiceError. A failure of the gate itself is a result.
    """
    from sovgate.formats.statement import PREDICATE_TYPES, Statement
    from sovgate.stages import attest, inventory

    options.refuse_dry_run("gate")
    found = open_gate(name)
    opened = open_project(options.project)
    asked, where = _asked(opened, found)
    given = _one_of(found, threshold)
    refuse_unused(found, files, threshold.confidence)
    inspected = admit(model, opened)
    limit = _threshold(opened, found, asked, given)
    if files.predictions is not None and files.baseline is not None:
        _refuse_one_file(files.predictions, files.baseline)
    declared = opened.config.gates.get(found.name)
    pinned = None if declared is None else pins(declared)
    inputs = read_inputs(found, _confidence(threshold.confidence), files, pinned or Pins())
    digests = {
        what: item.sha256
        for what, item in (
            ("predictions", inputs.predictions),
            ("baseline", inputs.baseline),
            ("report", inputs.tests),
        )
        if item is not None
    }
    if given is None:
        digests["thresholds"] = opened.digest
    result = TestResult(
        gate=name,
        measure=found.measure(inputs),
        bound=found.bound,
        threshold=limit,
        inputs=digests,
        pins=measured_on(inputs),
    )
    taken = inventory.take(model, looked=inspected.looked, advance=options.progress)
    statement = Statement(
        subject_name=opened.config.model,
        subject_sha256=taken.manifest.digest,
        predicate_type=PREDICATE_TYPES["gate"],
        predicate=result.predicate(),
    )
    refuse_told(statement)
    folder, signed_by = evidence_of(model, options, opened).folder, None
    if key is None:
        path = attest.add_unsigned(folder, "gate", statement.payload())
    else:
        signer = key_option.signer(key, options.project, ("gate",))
        signed_by = signer.public_key.key_id
        path = attest.add(folder, "gate", attest.seal(statement, signer))
    return Gated(
        model=model,
        manifest=taken.manifest.digest,
        result=result,
        path=path,
        signed_by=signed_by,
        asked=asked,
        where=where,
        pinned=pinned,
        strange=_strange(inputs),
    )


def _asked(opened: Project, found: Gate) -> tuple[str | None, Where | None]:
    """The project's threshold for this gate, and its line. Raises ConfigError."""
    declared = opened.config.gates.get(found.name)
    if declared is None:
        return None, None
    error = fatal(opened.config, found)
    if error is not None:
        raise error
    where = opened.config.where(f"gates.{found.name}")
    return decimal(declared.at_least or declared.at_most), where


def _threshold(opened: Project, found: Gate, asked: str | None, given: str | None) -> str | None:
    if found.bound is None:
        return None
    if given is not None:
        text = _number(given, f"--{found.bound}")
        said = outside(found, text)
        if said is not None:
            raise UsageError(
                f"--{found.bound} {text} is no bound of {found.name}", why=said[0], fix=said[1]
            )
        return text
    if asked is None:
        raise ConfigError(
            f"the project has no threshold for the gate {found.name}",
            fix=f"add gates.{found.name}: {{{found.bound}: …, before: transfer}} to "
            f"{opened.config.document.name}, or add --{found.bound} to try one",
            where=opened.config.where("gates"),
            reason="no-threshold",
        )
    return asked


def _one_of(found: Gate, asked: Threshold) -> str | None:
    """The threshold that was given, on the side that this gate has."""
    given = {"at-least": asked.at_least, "at-most": asked.at_most}
    threshold = given.pop(found.bound) if found.bound is not None else None
    for side, text in given.items():
        if text is not None:
            raise UsageError(
                f"the gate {found.name} takes no --{side}",
                fix=f"add --{found.bound}" if found.bound else "leave it out: it has no threshold",
            )
    return threshold


def refuse_unused(found: Gate, files: Files, confidence: str | None) -> None:
    """What a gate would not look at is a mistake on the command line."""
    junit = found.reads == "junit"
    for option, value, used in (
        ("--predictions", files.predictions, not junit),
        ("--baseline", files.baseline, found.reads == "paired"),
        ("--report", files.report, junit),
        ("--positive", files.positive, found.reads == "binary"),
        ("--confidence", confidence, not junit),
    ):
        if value is not None and not used:
            raise UsageError(f"the gate {found.name} takes no {option}", fix="leave it out")


def _number(text: str, option: str) -> str:
    """Decimal text in its one spelling."""
    try:
        number = Decimal(text)
        if not number.is_finite() or abs(number) > 1_000_000 or len(text) > 30:
            raise InvalidOperation
    except InvalidOperation:
        raise UsageError(
            f"{option} {text[:40]!r} is not a decimal number", fix=f"for example {option} 0.95"
        ) from None
    return decimal(format(number, "f")) or "0"


def _confidence(text: str | None) -> float:
    if text is None:
        return float(LEAST_CONFIDENCE)
    number = Decimal(_number(text, "--confidence"))
    if not LEAST_CONFIDENCE <= number <= _MOST_CONFIDENCE:
        raise UsageError(
            f"--confidence {text[:40]} is not from {LEAST_CONFIDENCE} to {_MOST_CONFIDENCE}",
            why="policy does not count a result with less confidence",
            fix=f"leave it out to use {LEAST_CONFIDENCE}, or ask for more",
        )
    return float(number)


def read_inputs(found: Gate, confidence: float, files: Files, pinned: Pins) -> Inputs:
    """What a gate measures. A positive label that is not named is the one that is pinned."""
    from sovgate.gates import _junit, _predictions
    from sovgate.gates._api import Inputs

    if found.reads == "junit":
        return Inputs(
            confidence=confidence, tests=_junit.read(_given(found, files.report, "--report"))
        )
    path = _given(found, files.predictions, "--predictions")
    before = None
    rows = _predictions.read(path, "predictions")
    if found.reads == "paired":
        before = _predictions.read(
            _given(found, files.baseline, "--baseline"), "baseline's predictions"
        )
    positive = files.positive or pinned.positive
    if found.reads == "binary" and positive is None:
        raise UsageError("the positive label is not named", fix="add --positive LABEL")
    if positive is not None and rows.ids and positive not in rows.labels:
        raise UsageError(
            f"no sample is labelled {positive[:80]!r}",
            why="labels are " + ", ".join(sorted(set(rows.labels))[:8]),
            fix="name one of them with --positive",
        )
    return Inputs(confidence=confidence, predictions=rows, baseline=before, positive=positive)


def measured_on(inputs: Inputs) -> Pins:
    from sovgate.gates._pins import pins

    return pins(inputs)


def _refuse_one_file(path: Path, baseline: Path) -> None:
    """A model compared with itself loses nothing, whatever it answers."""
    try:
        same = path.samefile(baseline)
    except OSError:
        return  # what is not there is told by whoever reads it
    if same:
        raise UsageError(
            "--predictions and --baseline are one file",
            why="a model that is compared with itself never loses anything",
            fix="name with --baseline the predictions of the model before",
            reason="one-file",
        )


def _given(found: Gate, path: Path | None, option: str) -> Path:
    if path is None:
        raise UsageError(
            f"{option} is missing", why=f"the gate {found.name} reads it", fix=f"add {option} FILE"
        )
    return path


def _strange(inputs: Inputs) -> tuple[str, ...]:
    rows = inputs.predictions
    if rows is None:
        return ()
    return tuple(sorted(set(rows.predicted) - set(rows.labels)))
