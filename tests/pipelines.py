"""Runs a Tekton Pipeline's Tasks in order, as Tekton would hand on parameters and results.

Reads tekton/; an `Execute` starts each step, on this machine or in a container.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
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
    """A generated Task, or the user's own: as it is shipped, or as `init` writes it."""
    if name.startswith("sovgate-"):
        return document("Task", name.removeprefix("sovgate-"))
    (found,) = [
        *pipeline.parent.glob(f"samples/{name}.yaml"),
        *pipeline.parent.glob(f"*/task-{name}.yaml"),
    ]
    return read(found)


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
    look: Callable[[], None] = lambda: None,
) -> Finished:
    """Run all Tasks until one fails, then those of `finally`, before which `look` is called.

    `name` is that of one of ours, or the file of another pipeline. `other`: the user's Tasks, where
    not the samples.
    """
    path = name if isinstance(name, Path) else path_of(name)
    spec = read(path)["spec"]
    made = _tasks(path, spec, given, execute, scratch, other or {})
    look()
    status = "Succeeded" if made.failed is None else "Failed"
    for entry in spec.get("finally", []):
        if _wanted(entry, {"tasks.status": status}):
            done = execute(_last(entry, spec, given, scratch))
            assert done.returncode == 0, done.stderr
    return made


def _wanted(entry: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """Whether all of `when` holds."""
    for rule in entry.get("when", []):
        text = re.sub(r"^\$\(([a-z.-]+)\)$", lambda m: values[m[1]], rule["input"])
        assert rule["operator"] in ("in", "notin")
        if (text in rule["values"]) is not (rule["operator"] == "in"):
            return False
    return True


def _params(spec: Mapping[str, Any], given: Mapping[str, str | list[str]]) -> dict[str, Any]:
    assert set(given) <= {param["name"] for param in spec["params"]}
    params = {p["name"]: given.get(p["name"], p.get("default")) for p in spec["params"]}
    assert None not in params.values(), f"Tekton would refuse it: {params}"
    return params


def _spaces(entry: Mapping[str, Any]) -> dict[str, str]:
    return {w["name"]: w.get("subPath", "") for w in entry["workspaces"]}


def _last(
    entry: dict[str, Any], spec: dict[str, Any], given: Mapping[str, str | list[str]], scratch: Path
) -> Work:
    """A Task of `finally`: one command with its arguments."""
    params = _params(spec, given)
    (found,) = entry["taskSpec"]["steps"]
    words = [
        re.sub(r"\$\(params\.([a-z-]+)\)", lambda m: str(params[m[1]]), word)
        for word in [*found["command"], *found["args"]]
    ]
    into = scratch / entry["name"]
    into.mkdir(parents=True)
    return Work(
        name=entry["name"],
        step=Step(script=f"#!/bin/sh\nexec {shlex.join(words)}\n", env={}),
        workspaces=_spaces(entry),
        results=into,
    )


def _tasks(
    path: Path,
    spec: dict[str, Any],
    given: Mapping[str, str | list[str]],
    execute: Execute,
    scratch: Path,
    other: Mapping[str, dict[str, Any]],
) -> Finished:
    params = _params(spec, given)
    results: dict[str, dict[str, str]] = {}
    ran: list[str] = []

    def put(text: str) -> str:
        text = re.sub(r"\$\(params\.([a-z-]+)\)", lambda m: str(params[m[1]]), text)
        return re.sub(
            r"\$\(tasks\.([a-z-]+)\.results\.([a-z-]+)\)", lambda m: results[m[1]][m[2]], text
        )

    texts = {f"params.{n}": value for n, value in params.items() if isinstance(value, str)}
    skipped = set()
    for entry in ordered(spec["tasks"]):
        if not _wanted(entry, texts):
            skipped.add(entry["name"])
            continue
        wanted = entry["taskRef"]["name"]
        what = other.get(wanted) or task(path, wanted)
        fixed = {p["name"]: put(p["value"]) for p in entry.get("params", [])}
        for number, varied in enumerate(_matrix(entry, params)):
            label = f"{entry['name']}-{number}" if "matrix" in entry else entry["name"]
            into = scratch / label
            into.mkdir(parents=True)
            done = execute(
                Work(
                    name=label,
                    step=step(what, {**fixed, **{n: put(v) for n, v in varied.items()}}),
                    workspaces=_spaces(entry),
                    results=into,
                )
            )
            ran.append(label)
            if done.returncode != 0:
                return Finished(results={}, ran=tuple(ran), failed=(label, done))
            results[entry["name"]] = {file.name: file.read_text() for file in into.iterdir()}
    # Of a Task that was skipped Tekton leaves the results out.
    made = {
        result["name"]: put(result["value"])
        for result in spec["results"]
        if not skipped & set(re.findall(r"\$\(tasks\.([a-z-]+)\.", result["value"]))
    }
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
