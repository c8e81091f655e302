"""The project's `gates`, as they are declared: what nothing can pass, anything passes, or nobody
pinned. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError
from sovgate.formats.testresult import Pins
from sovgate.gates.registry import GATES, open_gate

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.config._records import GateConfig
    from sovgate.gates._api import Gate

#: Mistakes that the command `gate` refuses too: with them a measure is held to nonsense.
_FATAL = frozenset({"wrong-threshold", "bound-out-of-range"})


def pins(declared: GateConfig) -> Pins:
    """What the project pins for a gate; a field is None where it pins nothing."""
    return Pins(test_set=declared.test_set, baseline=declared.baseline, positive=declared.positive)


def unpinned(declared: GateConfig) -> tuple[str, ...]:
    """Keys of a gate's entry that have to be there before a result counts, and are not."""
    return () if declared.dataset is not None else lacking(declared.name, pins(declared))


def lacking(name: str, told: Pins) -> tuple[str, ...]:
    """What these pins of a gate lack; nothing where it is no gate of ours."""
    there = dict(told.rows())
    return (
        tuple(key for key in open_gate(name).pinned if there[key] is None) if name in GATES else ()
    )


def pin_command(name: str) -> str:
    """The command that pins a gate, to be completed by its reader."""
    files = {
        "junit": "--report FILE",
        "paired": "--baseline FILE",
        "binary": "--predictions FILE --positive LABEL",
        "predictions": "--predictions FILE",
    }
    return f"sovgate gate pin {name} {files[open_gate(name).reads]}"


def misdeclared(config: ProjectConfig) -> Iterator[ConfigError]:
    """Every mistake in `gates`, each with its line."""
    for name, declared in config.gates.items():
        if name not in GATES:
            if declared.dataset is None:
                yield _unmeasured(config, name)
            continue
        error = bound_error(config, open_gate(name)) or _pin_error(config, declared)
        if error is not None:
            yield error


def fatal(config: ProjectConfig, found: Gate) -> ConfigError | None:
    """The mistake for which `gate` measures nothing."""
    error = bound_error(config, found)
    return error if error is not None and error.reason in _FATAL else None


def _unmeasured(config: ProjectConfig, name: str) -> ConfigError:
    from difflib import get_close_matches

    near = get_close_matches(name, GATES, n=1)
    return ConfigError(
        f"nothing in sovgate measures gates.{name[:80]}",
        why="so no result of it can be computed again, and nothing can pass it; "
        f"the gates are {', '.join(GATES)}",
        fix=f"did you mean {near[0]!r}?"
        if near
        else "name one of these; a test of your own may write JUnit XML, which junit reads",
        where=config.where(f"gates.{name}"),
        reason="unknown-gate",
    )


def bound_error(config: ProjectConfig, found: Gate) -> ConfigError | None:
    """No bound, one on the wrong side, or one that no value of the metric meets or misses."""
    declared = config.gates[found.name]
    asked = {"at-least": declared.at_least, "at-most": declared.at_most}
    own = asked.pop(found.bound) if found.bound is not None else None
    wrong = declared.dataset is not None or any(text is not None for text in asked.values())
    if not wrong and own is not None:
        return _out_of_range(config, found, own)
    if not wrong and found.bound is None:
        return None
    example = {"at-least": "0.90", "at-most": "0.01"}.get(found.bound or "", "")
    bound = f"{found.bound}: {example}, " if found.bound else ""
    return ConfigError(
        f"gates.{found.name} asks for what this gate does not measure"
        if wrong
        else f"gates.{found.name} has no threshold",
        why=None if wrong else "so no result can be compared with the project's own threshold",
        fix=f"write gates.{found.name}: {{{bound}before: {declared.before}}}, with a bound of yours"
        if bound
        else f"write gates.{found.name}: {{before: {declared.before}}}",
        where=config.where(f"gates.{found.name}"),
        reason="wrong-threshold" if wrong else "no-threshold",
    )


def outside(found: Gate, text: str) -> tuple[str, str] | None:
    """Why a bound is no value of the gate's metric, and the fix; None where it is one."""
    if found.range is None:
        return None
    low, high = found.range
    number = Decimal(text)
    if low <= number <= high:
        return None
    share = _share(number)
    near = f"write {found.bound}: {share}" if share else f"name a number from {low} to {high}"
    return f"{found.metric} is a number from {low} to {high}, and {text} is none", near


def _useless(found: Gate, text: str) -> tuple[str, str] | None:
    """Why nothing or everything meets a bound, and the fix; None where it decides something."""
    if found.range is None:
        return None
    low, high = found.range
    best, worst = (high, low) if found.bound == "at-least" else (low, high)
    span = f"{found.metric} is a number from {low} to {high}"
    example = f"for example {found.bound}: {'0.90' if found.bound == 'at-least' else '0.01'}"
    if Decimal(text) == best:
        return (
            f"{span}, and no number of samples proves {best}",
            f"name a bound that can be met, {example}",
        )
    if Decimal(text) == worst:
        return f"{span}, so any model passes", f"name a bound that not every model meets, {example}"
    return None


def _share(number: Decimal) -> str | None:
    """A percentage as the share that it is. 1.5 is no percentage that anybody would mean."""
    whole = number == number.to_integral_value()
    if (whole and 2 <= number <= 100) or 10 <= number <= 100:
        return format(number.scaleb(-2), "f")
    return None


def _out_of_range(config: ProjectConfig, found: Gate, text: str) -> ConfigError | None:
    said = outside(found, text) or _useless(found, text)
    if said is None:
        return None
    return ConfigError(
        f"gates.{found.name}.{found.bound} is no bound of this gate",
        why=said[0],
        fix=said[1],
        where=config.where(f"gates.{found.name}.{found.bound}"),
        reason="bound-out-of-range",
    )


def _pin_error(config: ProjectConfig, declared: GateConfig) -> ConfigError | None:
    """Not pinned, or pinned by what the gate does not read."""
    name = declared.name
    found = open_gate(name)
    if declared.dataset is not None:
        return None
    takes = {*found.pinned, *(("positive",) if found.reads != "junit" else ())}
    for key, value in pins(declared).rows():
        if value is not None and key not in takes:
            return ConfigError(
                f"gates.{name} pins a {key}, which this gate does not read",
                fix=f"remove {key}",
                where=config.where(f"gates.{name}.{key}"),
                reason="wrong-pin",
            )
    lacks = unpinned(declared)
    if not lacks:
        return None
    return ConfigError(
        f"gates.{name} is not pinned: it has no {' and no '.join(lacks)}",
        why="who may choose the samples may choose the outcome, so no result counts",
        fix=pin_command(name),
        where=config.where(f"gates.{name}"),
        reason="unpinned-gate",
    )
