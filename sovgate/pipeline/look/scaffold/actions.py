"""The GitHub workflows that `init` writes: check, release, rollback."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sovgate.pipeline.look.answers import Answers
from sovgate.pipeline.look.scaffold.template import fill, lines, text_value

#: Where a zone's runners hand a model from job to job.
HANDOVER = "/srv/sovgate"


def named(what: str, answers: Answers) -> str:
    return f"sovgate-{what}{'-' + answers.model if answers.place else ''}.yml"


def _common(answers: Answers) -> dict[str, str]:
    """What is the same in all jobs: where the project lies, and what tells it from others there."""
    place = answers.place
    return {
        "model": answers.model,
        "handover": HANDOVER,
        "base": f"{place}/" if place else "",
        "project": f"          project: {json.dumps(place)}\n" if place else "",
        "cd": f"cd {place} && " if place else "",
        "prefix": f"{answers.model}." if place else "",
        "called": f" {answers.model}" if place else "",
        "suffix": f"-{answers.model}" if place else "",
        "tags": f"{answers.model}-v[0-9]+.[0-9]+.[0-9]+*" if place else "v*",
    }


def check(answers: Answers) -> str:
    place = answers.place
    if not place:
        guard = "      - uses: org/sovgate/guard@v1\n"
        guards = (
            ", and all that Git tracks is looked through\n# for data, keys, pickles and weights"
        )
        return fill("check.yml", called="", paths="", only="", guard=guard, guards=guards, of="")
    paths = json.dumps([f"{place}/**", f".github/workflows/{named('check', answers)}"])
    return fill(
        "check.yml",
        called=f" {answers.model}",
        paths=f"\n    paths: {paths}",
        only=f"\n        with:\n          project: {json.dumps(place)}",
        guard="",
        guards=".\n# sovgate-guard.yml looks through all files",
        of=f" of {place}",
    )


def _secret(zone: str) -> str:
    return zone.upper().replace("-", "_")


def release(answers: Answers) -> str:
    train, hybrid = answers.train.name, answers.hybrid
    common = _common(answers)
    at = {zone.name: f"{common['prefix']}{zone.name}" for zone in answers.zones}
    more = fill("head-hybrid.yml", dataset=answers.data[0].name, **common) if hybrid else ""
    text = fill(
        "release.yml",
        train=train,
        served=" and ".join(zone.name for zone in answers.serve),
        more=more,
        **{"and": ";\n# there fine-tuned, and released within the zone" if hybrid else ""},
        **common,
    ) + fill("job-train.yml", zone=train, dataset=lines(answers.trained_on()), **common)
    text += fill("job-send.yml", zone=train, secret=_secret(train), environment=at[train], **common)
    for zone in answers.serve:
        text += fill("step-push.yml", zone=train, to=zone.name, **common)
    text += _forget(train, common)
    cleaned = fill("job-clean.yml", zone=train, jobs="train, send", **common)
    for zone in answers.serve:
        name = zone.name
        own = {"zone": name, "secret": _secret(name), "environment": at[name], **common}
        output = "base" if hybrid else answers.model
        text += fill("job-receive.yml", output=output, **own)
        if answers.gitops is not None and not hybrid:
            text += fill("step-promote.yml", **own)
        text += _forget(name, common, decrypts=True)
        if hybrid:
            datasets = lines(answers.tuned_on(zone))
            text += fill("job-tune.yml", dataset=datasets, **own)
            text += fill("job-sign.yml", dataset=datasets, **own) + _forget(name, common)
            text += fill("job-release.yml", **own) + _forget(name, common, decrypts=True)
        after = ("receive", "tune", "sign", "release") if hybrid else ("receive",)
        jobs = ", ".join(f"{job}-{name}" for job in after)
        cleaned += fill("job-clean.yml", jobs=jobs, **own)
    return text + cleaned


def rollback(answers: Answers) -> str:
    common = _common(answers)
    zones = ", ".join(text_value(zone.name) for zone in answers.serve)
    text = fill("rollback.yml", zones=zones, **common)
    for zone in answers.serve:
        text += fill("job-rollback.yml", zone=zone.name, secret=_secret(zone.name), **common)
        text += _forget(zone.name, common, decrypts=True)
    return text


def _forget(zone: str, common: Mapping[str, str], *, decrypts: bool = False) -> str:
    folder = f"{common['base']}keys"
    keys = f"{folder}/{zone}-sign.pem" + (f" {folder}/{zone}.pem" if decrypts else "")
    return fill("step-forget.yml", keys=keys)
