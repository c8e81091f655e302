"""gate pin: writes into `sovgate.yaml` what a gate is measured on (RULES 33).

Only the lines of that gate change; the file reads to the same project but for the pins, or it is
left as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import config as configuration
from sovgate.config import FILE_NAME, ProjectConfig
from sovgate.errors import ConfigError, SovgateError, UsageError
from sovgate.files import atomic_write
from sovgate.formats.testresult import LEAST_CONFIDENCE, Pins
from sovgate.gates.registry import open_gate
from sovgate.pipeline.decide.declared_gates import bound_error, pins
from sovgate.pipeline.make.gate import Files, measured_on, read_inputs, refuse_unused

if TYPE_CHECKING:
    from sovgate.errors import Where


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """`before` is what was pinned until now, `now` what is; `n` counts samples or tests."""

    gate: str
    path: Path
    where: Where
    before: Pins
    now: Pins
    n: int

    @property
    def changed(self) -> bool:
        return self.before != self.now


def pin(name: str, *, files: Files, project: Path | None = None) -> Pinned:
    """Pin a gate of the project to what these files hold; a baseline's file tells its samples.

    Raises UsageError, ConfigError (no such gate in the project, or the file cannot be edited),
    VerificationFailed (a file is not usable), DiskError. Then the file is as it was.
    """
    found = open_gate(name)
    refuse_unused(found, replace(files, positive=None), None)
    if found.reads == "junit" and files.positive is not None:
        raise UsageError(f"the gate {name} takes no --positive", fix="leave it out")
    if found.reads == "paired" and files.predictions is None:
        files = replace(files, predictions=files.baseline)
    path = configuration.find(project)
    before = configuration.content(path)
    config = configuration.parse(before, path)
    declared = config.gates.get(name)
    if declared is None:
        example = f"{found.bound}: {'0.90' if found.bound == 'at-least' else '0.01'}, "
        raise ConfigError(
            f"the project has no gate {name}",
            why=f"what is pinned stands in its entry in {FILE_NAME}",
            fix=f"add gates: {{{name}: {{{example if found.bound else ''}before: transfer}}}} "
            f"to {FILE_NAME}, with a bound of yours, and run it again",
            where=config.where("gates"),
            reason="no-gate",
        )
    error = bound_error(config, found)
    if error is not None:
        raise error
    inputs = read_inputs(found, float(LEAST_CONFIDENCE), files, pins(declared))
    n = found.measure(inputs).n if inputs.predictions is None else len(inputs.predictions.ids)
    if n == 0:
        raise UsageError(
            "there is nothing to pin: no sample, and no test that ran",
            fix="name the file of a whole test set",
            reason="nothing-to-pin",
        )
    now = measured_on(inputs)
    if now != pins(declared):
        after = _written(before, name, now)
        _require_same(config, _parsed(after, path), name, now)
        atomic_write(path.resolve(), after)  # a link beneath its folder stays a link (RULES 40)
    return Pinned(
        gate=name,
        path=path,
        where=config.where(f"gates.{name}"),
        before=pins(declared),
        now=now,
        n=n,
    )


def _parsed(data: bytes, path: Path) -> ProjectConfig:
    try:
        return configuration.parse(data, path)
    except SovgateError as error:
        raise _not_editable(error.what) from error


def _require_same(old: ProjectConfig, new: ProjectConfig, name: str, now: Pins) -> None:
    """An edit of text changed what it had to, and nothing else."""
    wanted = {
        **old.gates,
        name: replace(
            old.gates[name], test_set=now.test_set, baseline=now.baseline, positive=now.positive
        ),
    }
    if new != replace(old, gates=wanted, file=new.file):
        raise _not_editable("the edit would change more than the pins")


def _not_editable(why: str) -> ConfigError:
    return ConfigError(
        f"{FILE_NAME} cannot be edited",
        why=why[:300],
        fix="write the gate's entry on lines of its own, one key a line, and run it again",
        reason="not-editable",
    )


def _written(before: bytes, name: str, now: Pins) -> bytes:
    """The file's text with the pins in the gate's entry; order, comments and line ends stay."""
    import yaml

    text = before.decode("utf-8")
    try:
        entry = _entry(yaml.compose(text, Loader=yaml.SafeLoader), name)
    except yaml.YAMLError as error:
        raise _not_editable(str(error)) from error
    edits: list[tuple[int, int, str]] = []
    missing: list[str] = []
    keys = {key.value: (key, value) for key, value in entry.value}
    for key, value in now.rows():
        if value is None:
            continue
        if key in keys:
            old = keys[key][1]
            edits.append((old.start_mark.index, old.end_mark.index, _quoted(value)))
        else:
            missing.append(f"{key}: {_quoted(value)}")
    if missing:
        last = entry.value[-1][1].end_mark.index
        if entry.flow_style:
            edits.append((last, last, "".join(f", {line}" for line in missing)))
        else:
            column = entry.value[-1][0].start_mark.column
            end = "\r\n" if "\r\n" in text else "\n"
            at = len(text[:last] + text[last:].split("\n", 1)[0].rstrip("\r"))
            edits.append((at, at, "".join(f"{end}{' ' * column}{line}" for line in missing)))
    for first, past, new in sorted(edits, reverse=True):
        text = text[:first] + new + text[past:]
    return text.encode()


def _entry(root: Any, name: str) -> Any:
    """The mapping of the gate; the file was parsed, so it is there."""
    node = root
    for step in ("gates", name):
        node = next(value for key, value in node.value if key.value == step)
    return node


def _quoted(value: str) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
