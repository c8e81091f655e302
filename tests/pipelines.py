"""Runs a Tekton Pipeline's Tasks in order, as Tekton would hand on parameters and results.

Reads tekton/; an `Execute` starts each step, on this machine or in a container.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.components import ROOT
from tests.steps import Step, document, read, step

PIPELINES = sorted((ROOT / "tekton/pipelines").glob("*/*/*.yaml"))
Completed = subprocess.CompletedProcess[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """One Task to be run. `workspaces`: name -> path below the pipeline's own, "" for all of it."""

    name: str
    step: Step
    workspaces: Mapping[str, str]
    results: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """What a run came to. `failed`: name and outcome of the Task that ended it, if one did."""

    results: Mapping[str, str]
    ran: tuple[str, ...]
    failed: tuple[str, Completed] | None


Execute = Callable[[Work], Completed]


def path_of(name: str) -> Path:
    (found,) = [path for path in PIPELINES if path.stem == f"sovgate-{name}"]
    return found


def task(pipeline: Path, name: str) -> dict[str, Any]:
    """A generated Task, or the user's own: of that there is a sample beside the pipeline."""
    if name.startswith("sovgate-"):
        return document("Task", name.removeprefix("sovgate-"))
    return read(pipeline.parent / "samples" / f"{name}.yaml")


def given(entry: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """What a Task of a pipeline is given, plainly or by a matrix; Tekton refuses it by both."""
    found: dict[str, str | list[str]] = {}
    for param in [*entry.get("params", []), *entry.get("matrix", {}).get("params", [])]:
        assert param["name"] not in found, f"{param['name']} is given twice"
        found[param["name"]] = param["value"]
    return found


def ordered(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By runAfter and by whose results are read. Raises LookupError on a circle."""
    left = {entry["name"]: entry for entry in tasks}
    done: list[dict[str, Any]] = []
    while left:
        ready = [
            name
            for name, entry in left.items()
            if not (
                set(entry.get("runAfter", []))
                | set(re.findall(r"\$\(tasks\.([a-z-]+)\.", str(entry)))
            )
            & set(left)
        ]
        if not ready:
            raise LookupError(f"a circle among {sorted(left)}")
        done += [left.pop(name) for name in ready]
    return done


def run(
    name: str | Path,
    given: Mapping[str, str | list[str]],
    execute: Execute,
    scratch: Path,
    *,
    other: Mapping[str, dict[str, Any]] | None = None,
) -> Finished:
    """Run all Tasks until one fails. `other`: the user's Tasks, where not the samples.

    `name` is that of one of ours, or the file of another pipeline.
    """
    path = name if isinstance(name, Path) else path_of(name)
    spec = read(path)["spec"]
    assert set(given) <= {param["name"] for param in spec["params"]}
    params = {p["name"]: given.get(p["name"], p.get("default")) for p in spec["params"]}
    assert None not in params.values(), f"Tekton would refuse it: {params}"
    results: dict[str, dict[str, str]] = {}
    ran: list[str] = []

    def put(text: str) -> str:
        text = re.sub(r"\$\(params\.([a-z-]+)\)", lambda m: str(params[m[1]]), text)
        return re.sub(
            r"\$\(tasks\.([a-z-]+)\.results\.([a-z-]+)\)", lambda m: results[m[1]][m[2]], text
        )

    for entry in ordered(spec["tasks"]):
        wanted = entry.get("taskRef", entry)["name"]
        what = (other or {}).get(wanted) or task(path, wanted)
        fixed = {p["name"]: put(p["value"]) for p in entry.get("params", [])}
        spaces = {w["name"]: w.get("subPath", "") for w in entry["workspaces"]}
        for number, varied in enumerate(_matrix(entry, params)):
            label = f"{entry['name']}-{number}" if "matrix" in entry else entry["name"]
            into = scratch / label
            into.mkdir(parents=True)
            done = execute(
                Work(
                    name=label,
                    step=step(what, {**fixed, **{n: put(v) for n, v in varied.items()}}),
                    workspaces=spaces,
                    results=into,
                )
            )
            ran.append(label)
            if done.returncode != 0:
                return Finished(results={}, ran=tuple(ran), failed=(label, done))
            results[entry["name"]] = {file.name: file.read_text() for file in into.iterdir()}
    made = {result["name"]: put(result["value"]) for result in spec.get("results", [])}
    return Finished(results=made, ran=tuple(ran), failed=None)


def _matrix(entry: dict[str, Any], params: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The parameters of each combination, as yet with their `$(…)`. A list of none makes none."""
    lists = {
        p["name"]: _values(p["value"], params)
        for p in entry.get("matrix", {"params": []})["params"]
    }
    for combination in itertools.product(*lists.values()):
        yield dict(zip(lists, combination, strict=True))


def _values(value: str | list[str], params: Mapping[str, Any]) -> list[str]:
    if isinstance(value, list):
        return value
    (name,) = re.findall(r"^\$\(params\.([a-z-]+)\[\*\]\)$", value)
    found: list[str] = params[name]
    return found
