"""The Tekton pipelines that `init` writes."""

from __future__ import annotations

from sovgate import __version__
from sovgate.pipeline.look.answers import Answers, ZoneAnswer
from sovgate.pipeline.look.scaffold.template import fill, lines, text_value


def _clean(*names: str, kept: str = "") -> str:
    paths = ", ".join(text_value(path) for name in names for path in (name, f"{name}.evidence"))
    but = f", but {kept}" if kept else ""
    return fill("tekton-clean.yaml", paths=paths, but=but)


def train(answers: Answers) -> str:
    common = {"model": answers.model, "zone": answers.train.name}
    datasets = lines(answers.trained_on())
    text = fill("tekton-train.yaml", dataset=datasets, version=__version__, **common)
    text += "".join(fill("tekton-push.yaml", to=zone.name, **common) for zone in answers.serve)
    return text + _clean(answers.model)


def serve(answers: Answers, zone: ZoneAnswer) -> str:
    hybrid = answers.hybrid
    promotes = answers.gitops is not None and not hybrid
    and_ = ", fine-tune it and sign that" if hybrid else ""
    name = {"model": answers.model, "zone": zone.name}
    text = fill(
        "tekton-serve.yaml",
        version=__version__,
        output="base" if hybrid else answers.model,
        params=fill("tekton-tune-param.yaml") if hybrid else "",
        results=fill("tekton-tune-result.yaml", **name) if hybrid else "",
        **{"and": ", and promote it" if promotes else and_},
        **name,
    )
    if hybrid:
        text += fill("tekton-tune.yaml", dataset=lines(answers.tuned_on(zone)), **name)
        return text + _clean("base", kept="the tuned model, for the run that releases it")
    if promotes:
        text += fill("tekton-promote.yaml", zone=zone.name)
    return text + _clean(answers.model)


def release(answers: Answers, zone: ZoneAnswer) -> str:
    """Releases in the zone what was tuned there."""
    text = fill(
        "tekton-release.yaml",
        version=__version__,
        model=answers.model,
        zone=zone.name,
        data=answers.tuned_on(zone)[0],
    )
    return text + _clean(f"{answers.model}-{zone.name}", "served")
