"""The GitHub workflows that `init` writes: check, release, rollback."""

from __future__ import annotations

import json
import re

from sovgate.errors import DOCS
from sovgate.pipeline.look.answers import Answers, ZoneAnswer
from sovgate.pipeline.look.scaffold import access
from sovgate.pipeline.look.scaffold.template import fill, lines, text_value

#: Where a zone's runners hand a model from job to job.
HANDOVER = "/srv/sovgate"
_JOB = re.compile(r"(?m)^(?=  [a-z])")
_ENVIRONMENT = re.compile(r"(?m)^    environment: (\S+)$")
_ASKED = re.compile(r"\b(secrets|vars)\.(\w+)")


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
    return fill(
        "check.yml",
        called=f" {answers.model}",
        paths=_paths("check", answers),
        only=f"\n        with:\n          project: {json.dumps(place)}",
        guard="",
        guards=".\n# sovgate-guard.yml looks through all files",
        of=f" of {place}",
    )


def _paths(what: str, answers: Answers) -> str:
    """Of a project in a folder of a repository: what starts a workflow of its own."""
    if not answers.place:
        return ""
    paths = json.dumps([f"{answers.place}/**", f".github/workflows/{named(what, answers)}"])
    return f"\n    paths: {paths}"


def policy(answers: Answers) -> str:
    """What hosted runners can do besides: ask of each training whether its data may be there."""
    common = _common(answers)
    text = fill(
        "policy.yml",
        called=common["called"],
        paths=_paths("policy", answers),
        of=f" of {answers.place}" if answers.place else "",
    )
    zones = [(answers.train, answers.trained_on())]
    zones += [(zone, answers.tuned_on(zone)) for zone in answers.serve if answers.hybrid]
    for zone, datasets in zones:
        text += fill("job-ask.yml", zone=zone.name, dataset=lines(datasets), **common)
    return text


def release(answers: Answers) -> str:
    """Trains, signs, pushes and pulls; in a hybrid project also tunes and releases in each zone."""
    text = _train(answers) + "".join(_serve(answers, zone) for zone in answers.serve)
    common = _common(answers)
    hybrid = answers.hybrid
    text += fill("job-clean.yml", zone=answers.train.name, jobs="train, send", **common)
    for zone in answers.serve:
        after = ("receive", "tune", "sign", "release") if hybrid else ("receive",)
        jobs = ", ".join(f"{job}-{zone.name}" for job in after)
        text += fill("job-clean.yml", zone=zone.name, jobs=jobs, **common)
    head = fill(
        "release.yml",
        train=answers.train.name,
        served=" and ".join(zone.name for zone in answers.serve),
        more=fill("head-hybrid.yml", dataset=answers.data[0].name, **common) if hybrid else "",
        **{"and": ";\n# there fine-tuned, and released within the zone" if hybrid else ""},
        **_setup(answers, text),
        **common,
    )
    return head + text


def _train(answers: Answers) -> str:
    train, common = answers.train, _common(answers)
    datasets = lines(answers.trained_on())
    text = fill("job-train.yml", zone=train.name, dataset=datasets, **common)
    fields = access.job(answers, train, base=common["base"], to=answers.serve)
    text += fill("job-send.yml", environment=_environment(answers, train), **(common | fields))
    for to in answers.serve:
        step = access.push(answers, train, to)
        text += fill("step-push.yml", zone=train.name, to=to.name, **step, **common)
    return text + access.forget(answers, train, base=common["base"])


def _serve(answers: Answers, zone: ZoneAnswer) -> str:
    common, environment = _common(answers), _environment(answers, zone)
    base, hybrid = common["base"], answers.hybrid
    opens = {**access.job(answers, zone, base=base, decrypts=True), **common}
    forget = access.forget(answers, zone, base=base, decrypts=True)
    output = "base" if hybrid else answers.model
    text = fill("job-receive.yml", output=output, environment=environment, **opens)
    if answers.gitops is not None and not hybrid:
        text += fill("step-promote.yml", **opens)
    text += forget
    if hybrid:
        signs = {**access.job(answers, zone, base=base), **common}
        datasets = lines(answers.tuned_on(zone))
        text += fill("job-tune.yml", zone=zone.name, dataset=datasets, **common)
        text += fill("job-sign.yml", dataset=datasets, environment=environment, **signs)
        text += access.forget(answers, zone, base=base)
        text += fill("job-release.yml", **opens) + forget
    return text


def rollback(answers: Answers) -> str:
    """Goes back in one zone, by hand."""
    common = _common(answers)
    text = ""
    for zone in answers.serve:
        fields = access.job(answers, zone, base=common["base"], decrypts=True)
        text += fill("job-rollback.yml", **(common | fields))
        text += access.forget(answers, zone, base=common["base"], decrypts=True)
    zones = ", ".join(text_value(zone.name) for zone in answers.serve)
    return fill("rollback.yml", zones=zones, **_setup(answers, text), **common) + text


def _environment(answers: Answers, zone: ZoneAnswer) -> str:
    return f"{_common(answers)['prefix']}{zone.name}"


def _setup(answers: Answers, text: str) -> dict[str, str]:
    """What the head says of environments: each name that some job of `text` asks one for."""
    asked: dict[str, set[tuple[str, str]]] = {}
    for job in _JOB.split(text):
        if (found := _ENVIRONMENT.search(job)) is not None:
            asked.setdefault(found.group(1), set()).update(_ASKED.findall(job))
    said = ""
    for zone in answers.zones:
        for end in ("", "-release", "-rollback"):
            environment = f"{_environment(answers, zone)}{end}"
            if environment in asked:
                said += f"#     {environment}\n"
                said += "".join(_asked(answers, zone, *one) for one in sorted(asked[environment]))
    kms = any(answers.in_kms(zone) for zone in answers.zones)
    roles = fill("head-roles.yml", docs=DOCS) if "vars." in text else ""
    return {
        "environments": said,
        "roles": roles + (fill("head-public.yml") if kms else ""),
    }


def _asked(answers: Answers, zone: ZoneAnswer, kind: str, name: str) -> str:
    end = name.removeprefix(f"{access.secret(zone)}_")
    to = [one.name for one in answers.serve if end.startswith(f"TO_{access.secret(one)}_")]
    files = {"SIGN_KEY": f"{zone.name}-sign.pem", "DECRYPT_KEY": f"{zone.name}.pem"}
    if end in files:
        means = f"the text of {_common(answers)['base']}keys/{files[end]}"
    elif end == "GIT_TOKEN":
        means = "may write to the repository that drives the rollout"
    elif end == "ROLE":
        means = f"ARN of a role in {zone.region.provider}, with this job's rights in {zone.name}"
    elif end.endswith("_ROLE"):
        means = f"ARN of a role in the account of {to[-1]}, which may only write to its store"
    else:
        means = f"access key to the store of {(to or [zone.name])[-1]}"
        means += ", which may only write there" if to else ""
    return f"#       {'variable' if kind == 'vars' else 'secret'} {name}: {means}\n"
