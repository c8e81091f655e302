"""What `init` writes, as text: answers in, files out. Reads templates and schema of the package.

Every value that a person gave has passed its check before it gets here, so nothing needs escaping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sovgate import __version__
from sovgate.errors import InternalError
from sovgate.files import resource_dir
from sovgate.git.ignored import KEYS
from sovgate.pipeline.look.answers import PUBLIC, Answers, ZoneAnswer
from sovgate.uri import kms_placeholder

#: The copy of the schema that the first line of sovgate.yaml names, for editors.
SCHEMA = ".sovgate-schema.json"
#: Where a zone's runners hand a model from job to job.
HANDOVER = "/srv/sovgate"

_TEMPLATES = Path(__file__).parents[2] / "templates"
_FIELD = re.compile(r"@\{([a-z]+)\}")
#: A field that is a whole YAML value, and names that some reader of YAML takes for something else
#: than text: Norway is `no`.
_WHOLE = re.compile(r"(?:(?<=[:,] )|(?<=\[))@\{[a-z]+\}(?=[,}\]\n])")
_NO_TEXT = re.compile(r"y|n|yes|no|on|off|true|false|null|[0-9][a-z0-9_.-]*")


def fill(name: str, /, **values: str) -> str:
    """A template with its `@{fields}` filled in; all of them, and no others."""
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    if set(_FIELD.findall(text)) - set(values):
        raise InternalError(f"the template {name} wants a value that nobody gives")
    whole = {match.start() for match in _WHOLE.finditer(text)}
    return _FIELD.sub(
        lambda match: (_text if match.start() in whole else str)(values[match.group(1)]), text
    )


def _text(name: str) -> str:
    """A name as a YAML value, in quotes where it needs them."""
    return json.dumps(name) if _NO_TEXT.fullmatch(name) else name


def files(answers: Answers) -> dict[str, bytes]:
    """Path -> content of every file but the keys. The same answers give the same bytes.

    Paths are below the project's folder; those that begin with a slash are below the root of the
    repository, where alone GitHub and pre-commit look.
    """
    made = {
        "sovgate.yaml": _project(answers),
        SCHEMA: schema(),
        "policies/named_release.rego": fill("named_release.rego"),
        "policies/named_release_test.rego": fill("named_release_test.rego"),
        f"data/{PUBLIC}.yaml": fill(
            "dataset.yaml",
            name=PUBLIC,
            category="public",
            stays="",
            pointer="https://example.org/where-it-is",
            note="free: it may go anywhere",
        ),
        f"/.github/workflows/{_named('check', answers)}": _check(answers),
        f"/.github/workflows/{_named('release', answers)}": _workflow(answers),
        "/.github/zizmor.yml": fill("zizmor.yml"),
        "/.github/jactionlint.yaml": fill(
            "jactionlint.yaml", labels=", ".join(_text(zone.name) for zone in answers.zones)
        ),
        "tekton/train.yaml": _tekton_train(answers),
        "/.pre-commit-config.yaml": fill("pre-commit.yaml", version=__version__),
        ".gitignore": fill("gitignore") + ("/stores/\n" if answers.local else ""),
        "keys/README.md": fill("keys.md"),
        "keys/.gitignore": KEYS,
        "serving/base/kustomization.yaml": fill("serving-base.yaml"),
        "serving/base/deployment.yaml": fill("serving-deployment.yaml", model=answers.model),
    }
    if answers.place:
        made["/.github/workflows/sovgate-guard.yml"] = fill("guard.yml")
    for data in answers.data:
        pointer = f"file:data/{data.name}" if answers.local else f"s3://{data.name}/"
        made[f"data/{data.name}.yaml"] = fill(
            "dataset.yaml",
            name=data.name,
            category="personal",
            pointer=pointer,
            stays=", ".join(data.stays_in),
            note="and so must every model made from it",
        )
    for zone in answers.serve:
        made[f"tekton/{zone.name}.yaml"] = _tekton_serve(answers, zone)
        if answers.hybrid:
            made[f"tekton/{zone.name}-release.yaml"] = fill(
                "tekton-release.yaml",
                version=__version__,
                model=answers.model,
                zone=zone.name,
                data=answers.tuned_on(zone)[0],
            ) + _tekton_clean(f"{answers.model}-{zone.name}", "served")
        made[f"serving/overlays/{zone.name}/kustomization.yaml"] = fill(
            "serving-overlay.yaml", zone=zone.name, model=answers.model, place=_place(zone)
        )
    if answers.hybrid or answers.gitops is not None:
        made[f"/.github/workflows/{_named('rollback', answers)}"] = _rollback(answers)
    return {path: text.encode() for path, text in made.items()}


def schema() -> str:
    """The JSON Schema of sovgate.yaml, as it came with this version."""
    return (resource_dir("schemas") / "project.json").read_text(encoding="utf-8")


def key_files(answers: Answers) -> tuple[tuple[str, str], ...]:
    """(kind, path) of each private key; the public half stands beside it."""
    if not answers.keys:
        return ()
    return tuple(
        pair
        for zone in answers.zones
        for pair in (("sign", f"keys/{zone.name}-sign.pem"), ("encrypt", f"keys/{zone.name}.pem"))
    )


def _place(zone: ZoneAnswer) -> str:
    region = zone.region
    return f"{region.name}, {region.country}; {region.run_by}"


def _project(answers: Answers) -> str:
    pairs = [f"{answers.train.name} -> {zone.name}" for zone in answers.serve]
    back = [f"{zone.name} -> {answers.train.name}" for zone in answers.serve]
    sets = f"  {PUBLIC}: {{manifest: data/{PUBLIC}.yaml}}\n" + "".join(
        f"  {data.name}:\n    manifest: data/{data.name}.yaml\n    category: personal\n"
        f"    stays-in: [{', '.join(data.stays_in)}]\n"
        "    lifts: []                        # gates that would free a model trained on it; none\n"
        for data in answers.data
    )
    european = any({"EU", "EEA"} & set(_groups(data.stays_in)) for data in answers.data)
    return fill(
        "project.yaml",
        model=answers.model,
        pattern=answers.pattern,
        zones="".join(_zone(answers, zone) for zone in answers.zones),
        datasets=sets,
        weights=", ".join(pairs),
        metadata=", ".join([*pairs, *back]),
        presets="eu-personal-data" if european else "default",
        audit=answers.serve[0].name,
    )


def _groups(places: Sequence[str]) -> list[str]:
    from sovgate.regions import groups_of

    return [group for place in places for group in (place, *groups_of(place))]


def _zone(answers: Answers, zone: ZoneAnswer) -> str:
    name = zone.name
    public = (
        f"      sign-public: keys/{name}-sign.pub.pem\n      encrypt-public: keys/{name}.pub.pem\n"
    )
    if not answers.keys:
        public = (
            "      # Once they are made (keys/README.md), so that nobody else needs a secret:\n"
            + re.sub(r"(?m)^      ", "      # ", public)
        )
    sign, encrypt = f"file:keys/{name}-sign.pem", f"file:keys/{name}.pem"
    if answers.in_kms(zone):
        sign = encrypt = kms_placeholder(zone.region.partition, zone.region.region)
    gitops = ""
    if zone in answers.serve:
        gitops = _gitops(name, answers.gitops)
    return fill(
        "zone.yaml",
        zone=name,
        region=zone.region.id,
        place=_place(zone),
        public=public,
        sign=sign,
        encrypt=encrypt,
        store=f"file:stores/{name}" if answers.local else f"s3://{answers.model}-{name}",
        gitops=gitops,
    )


def _gitops(zone: str, repo: str | None) -> str:
    line = "gitops: {repo: @, path: serving/overlays/" + zone + ", kind: kustomize"
    if repo is None:
        return f"    # {line.replace('@', 'https://git.example/ml/serving.git')}}}\n"
    return f"    {line.replace('@', json.dumps(repo, ensure_ascii=False))}}}\n"


def _lines(names: Sequence[str]) -> str:
    """Several values of one input, one a line, as a quoted YAML text."""
    return json.dumps("\n".join(names))


def _named(what: str, answers: Answers) -> str:
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


def _check(answers: Answers) -> str:
    place = answers.place
    if not place:
        guard = "      - uses: org/sovgate/guard@v1\n"
        guards = (
            ", and all that Git tracks is looked through\n# for data, keys, pickles and weights"
        )
        return fill("check.yml", called="", paths="", only="", guard=guard, guards=guards, of="")
    paths = json.dumps([f"{place}/**", f".github/workflows/{_named('check', answers)}"])
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


def _workflow(answers: Answers) -> str:
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
    ) + fill("job-train.yml", zone=train, dataset=_lines(answers.trained_on()), **common)
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
            datasets = _lines(answers.tuned_on(zone))
            text += fill("job-tune.yml", dataset=datasets, **own)
            text += fill("job-sign.yml", dataset=datasets, **own) + _forget(name, common)
            text += fill("job-release.yml", **own) + _forget(name, common, decrypts=True)
        after = ("receive", "tune", "sign", "release") if hybrid else ("receive",)
        jobs = ", ".join(f"{job}-{name}" for job in after)
        cleaned += fill("job-clean.yml", jobs=jobs, **own)
    return text + cleaned


def _rollback(answers: Answers) -> str:
    common = _common(answers)
    zones = ", ".join(_text(zone.name) for zone in answers.serve)
    text = fill("rollback.yml", zones=zones, **common)
    for zone in answers.serve:
        text += fill("job-rollback.yml", zone=zone.name, secret=_secret(zone.name), **common)
        text += _forget(zone.name, common, decrypts=True)
    return text


def _forget(zone: str, common: Mapping[str, str], *, decrypts: bool = False) -> str:
    folder = f"{common['base']}keys"
    keys = f"{folder}/{zone}-sign.pem" + (f" {folder}/{zone}.pem" if decrypts else "")
    return fill("step-forget.yml", keys=keys)


def _tekton_clean(*names: str, kept: str = "") -> str:
    paths = ", ".join(_text(path) for name in names for path in (name, f"{name}.evidence"))
    but = f", but {kept}" if kept else ""
    return fill("tekton-clean.yaml", paths=paths, but=but)


def _tekton_train(answers: Answers) -> str:
    common = {"model": answers.model, "zone": answers.train.name}
    datasets = _lines(answers.trained_on())
    text = fill("tekton-train.yaml", dataset=datasets, version=__version__, **common)
    text += "".join(fill("tekton-push.yaml", to=zone.name, **common) for zone in answers.serve)
    return text + _tekton_clean(answers.model)


def _tekton_serve(answers: Answers, zone: ZoneAnswer) -> str:
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
        text += fill("tekton-tune.yaml", dataset=_lines(answers.tuned_on(zone)), **name)
        return text + _tekton_clean("base", kept="the tuned model, for the run that releases it")
    if promotes:
        text += fill("tekton-promote.yaml", zone=zone.name)
    return text + _tekton_clean(answers.model)
