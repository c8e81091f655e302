"""A step of a Task or StepAction as Tekton and Kubernetes would start it: script and environment.

Reads tekton/; starts nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sovgate.surface._verbs import TASK_VERSION
from tests.components import ROOT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What a container is given."""

    script: str
    env: Mapping[str, str]

    def written(self, folder: Path) -> Path:
        """The script as a file that can be run, as Tekton mounts it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "script"
        path.write_text(self.script)
        path.chmod(0o755)
        return path


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def document(kind: str, verb: str) -> dict[str, Any]:
    folder = "tasks" if kind == "Task" else "stepactions"
    return read(ROOT / f"tekton/{folder}/sovgate-{verb}/{TASK_VERSION}/sovgate-{verb}.yaml")


def expanded(text: str, env: Mapping[str, str]) -> str:
    """Kubernetes: `$(NAME)` by what stands above in the list, `$$` escapes, others stay."""

    def by(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        return env.get(match[1], match[0])

    return re.sub(r"\$?\$\(([^()]*)\)", by, text)


def step(
    document: Mapping[str, Any],
    given: Mapping[str, str],
    *,
    results: str = "/tekton/results",
    secrets: Mapping[str, Mapping[str, str]] | None = None,
) -> Step:
    """Parameters put in, `$(NAME)` expanded. `secrets`: name -> key -> text; any may be missing."""
    spec = document["spec"]
    found = spec["steps"][0] if document["kind"] == "Task" else spec
    params = {p["name"]: given.get(p["name"], p.get("default")) for p in spec["params"]}
    missing = [name for name, value in params.items() if value is None]
    assert not missing, f"Tekton would refuse it: {missing}"
    assert set(given) <= set(params), f"Tekton would refuse it: {set(given) - set(params)}"

    def put(text: str) -> str:
        text = re.sub(r"\$\(params\.([a-z-]+)\)", lambda m: str(params[m[1]]), text)
        return re.sub(r"\$\(step\.results\.([a-z-]+)\.path\)", rf"{results}/\1", text)

    env: dict[str, str] = {}
    for entry in found["env"]:
        if "valueFrom" not in entry:
            env[entry["name"]] = expanded(put(entry["value"]), env)
            continue
        place = entry["valueFrom"]["secretKeyRef"]
        assert place["optional"]
        text = (secrets or {}).get(put(place["name"]), {}).get(place["key"])
        if text is not None:
            env[entry["name"]] = text
    return Step(script=found["script"], env=env)
