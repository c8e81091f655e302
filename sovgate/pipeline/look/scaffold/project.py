"""`sovgate.yaml` as `init` writes it: the zones, the data sets, the borders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sovgate.pipeline.look.answers import PUBLIC, Answers, ZoneAnswer
from sovgate.pipeline.look.scaffold.template import fill, place_of
from sovgate.regions import DECLARED
from sovgate.uri import kms_placeholder


def project_file(answers: Answers) -> str:
    """The whole of `sovgate.yaml`."""
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
        regions=_regions(answers),
        datasets=sets,
        weights=", ".join(pairs),
        metadata=", ".join([*pairs, *back]),
        presets="eu-personal-data" if european else "default",
        audit=answers.serve[0].name,
    )


def _regions(answers: Answers) -> str:
    """`regions:`, where a zone lies in one of the project's own; "" where none does."""
    rows = {z.region.name: z.region for z in answers.zones if z.region.provider == DECLARED}
    if not rows:
        return ""
    return (
        "\n# Sites that the catalogue lacks. Nobody is asked whether this is true.\nregions:\n"
        + "".join(
            f"  {name}: {{country: {row.country}, operator: {_text(row.operator)}, "
            f"controlled-from: {row.operator_country},\n    "
            f"source: {_text(row.source)}, date: {row.date}}}\n"
            for name, row in rows.items()
        )
    )


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


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
        gitops = _gitops(f"{answers.serving}/overlays/{name}", answers.gitops)
    return fill(
        "zone.yaml",
        zone=name,
        region=zone.region.id,
        place=place_of(zone),
        public=public,
        sign=sign,
        encrypt=encrypt,
        store=_store(answers, zone),
        gitops=gitops,
    )


def _store(answers: Answers, zone: ZoneAnswer) -> str:
    if answers.local:
        return f"file:stores/{zone.name}"
    endpoint = f"?endpoint={zone.endpoint}" if zone.endpoint else ""
    return f"s3://{answers.slug}-{zone.name}{endpoint}"


def _gitops(path: str, repo: str | None) -> str:
    line = "gitops: {repo: @, path: " + path + ", kind: kustomize"
    if repo is None:
        return f"    # {line.replace('@', 'https://git.example/ml/serving.git')}}}\n"
    return f"    {line.replace('@', _text(repo))}}}\n"
