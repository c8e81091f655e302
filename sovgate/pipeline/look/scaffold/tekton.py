"""The Tekton files that `init` writes: the shipped pipelines as they are, and the project's own.

A pipeline is a copy of the one that this version ships, byte for byte. Of the project are the runs,
made from the shipped samples; service accounts; and the Task that trains, which stands for yours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sovgate import __version__
from sovgate.errors import InternalError
from sovgate.files import resource_dir
from sovgate.pipeline.look.answers import Answers, ZoneAnswer
from sovgate.pipeline.look.scaffold.template import fill, lines, text_value

#: The folder of a pipeline's version: that of sovgate, without its last number.
_VERSION = __version__.rpartition(".")[0]
_PARAMS = re.compile(r"(?s)(?<=\n  params:\n).*?(?=  taskRunTemplate:\n)")
_KEYS = re.compile(r"    #[^\n]*\n    - \{name: keys,[^\n]*\n")
_TASKS = re.compile(r"name: (sovgate-[a-z-]+)\n")
#: What no run knows yet.
_NO_DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run in a zone. `values`: parameter -> YAML; `own`: the Task that runs the user's code."""

    name: str
    pipeline: str
    what: str
    values: Mapping[str, str]
    own: str | None = None


def files(answers: Answers) -> dict[str, str]:
    """Path below the project -> text, of everything for Tekton."""
    made: dict[str, str] = {}
    for zone in answers.zones:
        runs = _runs(answers, zone)
        folder = f"tekton/{zone.name}"
        for run in runs:
            made[f"tekton/{run.pipeline}.yaml"] = _shipped(run.pipeline, f"{run.pipeline}.yaml")
            made[f"{folder}/run-{run.name}.yaml"] = _run(answers, zone, run)
            if run.own:
                made[f"{folder}/task-{run.own}.yaml"] = _shipped(
                    run.pipeline, f"samples/{run.own}.yaml"
                )
        made[f"{folder}/accounts.yaml"] = _accounts(runs)
    return made


def _shipped(pipeline: str, name: str) -> str:
    path = resource_dir("tekton/pipelines") / pipeline / _VERSION / name
    return path.read_text(encoding="utf-8")


def _runs(answers: Answers, zone: ZoneAnswer) -> tuple[_Run, ...]:
    model, name = answers.model, zone.name
    common = {"zone": text_value(name)}
    if answers.place:
        common["project"] = json.dumps(answers.place)
    if zone == answers.train:
        to = [one.name for one in answers.serve]
        values = {
            "model": text_value(model),
            "release": f"{model}/1.0.0",
            "dataset": lines(answers.trained_on()),
            "to": f"[{', '.join(map(text_value, to))}]",
        }
        what = f"Trains {model} in {name}, signs it, and pushes it to {' and '.join(to)}"
        central = _Run(
            name="train",
            pipeline="sovgate-central",
            what=what,
            values={**values, **common},
            own="train",
        )
        return (central,)
    base = {"release": _pinned(f"{model}/1.0.0"), "manifest": json.dumps(_NO_DIGEST)}
    if not answers.hybrid:
        promotes = answers.gitops is not None
        values = {**base, "model": text_value(model), "promote": json.dumps(str(promotes).lower())}
        what = f"Receives {model} in {name}" + (", and promotes it" if promotes else "")
        receive = _Run(
            name="receive", pipeline="sovgate-receive", what=what, values={**values, **common}
        )
        return (receive,)
    mine = {"model": f"{model}-{name}", **common}
    tune = _Run(
        name="tune",
        pipeline="sovgate-hybrid-tune",
        what=f"Receives {model} in {name}, tunes it on data that stays there, and signs that",
        values={
            "base": base["release"],
            "base-manifest": base["manifest"],
            "dataset": lines(answers.tuned_on(zone)),
            **mine,
        },
        own="tune",
    )
    release = _Run(
        name="release",
        pipeline="sovgate-hybrid-release",
        what=f"Releases in {name} what run-tune.yaml tuned there, and promotes it",
        values={
            **base,
            "release": _pinned(f"{model}/1.0.0-{name}"),
            "secret": "sovgate-release",
            **mine,
        },
    )
    return tune, release


def _pinned(release: str) -> str:
    return json.dumps(f"{release}@{_NO_DIGEST}")


def _run(answers: Answers, zone: ZoneAnswer, run: _Run) -> str:
    """The shipped sample of a run, with this project's names and values."""
    claim = f"{answers.slug}-{zone.name}"
    text = _shipped(run.pipeline, "samples/run.yaml")
    given = "".join(f"    - {{name: {name}, value: {text}}}\n" for name, text in run.values.items())
    changed = [
        (_PARAMS, given),
        (re.compile(rf"(?<=generateName: ){run.pipeline}-"), f"{claim}-"),
        (re.compile(r"(?<=claimName: )sovgate(?=\})"), claim),
    ]
    if answers.in_kms(zone):
        changed.append((_KEYS, ""))
    for pattern, wanted in changed:
        text, times = pattern.subn(wanted.replace("\\", r"\\"), text)
        if times != 1:
            raise InternalError(f"the sample run of {run.pipeline} has another form")
    return _head(answers, zone, run, claim) + text


def _head(answers: Answers, zone: ZoneAnswer, run: _Run, claim: str) -> str:
    folder = f"tekton/{zone.name}"
    applied = [f"tekton/{run.pipeline}.yaml", f"{folder}/accounts.yaml"]
    applied += [f"{folder}/task-{run.own}.yaml"] if run.own else []
    pipeline = _shipped(run.pipeline, f"{run.pipeline}.yaml")
    tasks = sorted(set(_TASKS.findall(pipeline)) - {run.pipeline})
    needs = ""
    if not answers.in_kms(zone):
        secret = f"{zone.name}-sign.pem and {zone.name}.pem"
        needs += f"#   * sovgate-keys: a Secret with the files {secret}\n"
    if run.own:
        mine = f"your image and script in task-{run.own}.yaml, which sees the folder build alone"
        needs += f"#   * {mine}\n"
    return fill(
        "tekton-run.yaml",
        what=run.what,
        zone=zone.name,
        tasks=", ".join(tasks),
        claim=claim,
        needs=needs,
        apply=" ".join(f"-f {path}" for path in applied),
        run=f"run-{run.name}.yaml",
    )


def _accounts(runs: tuple[_Run, ...]) -> str:
    """The service accounts of all runs of a zone, each once."""
    head = ""
    found: dict[str, None] = {}
    for run in runs:
        text = _shipped(run.pipeline, "samples/accounts.yaml")
        first, _, accounts = text.partition("apiVersion: ")
        head = first
        found |= dict.fromkeys(f"apiVersion: {accounts}".split("---\n"))
    return head + "---\n".join(sorted(found))
