"""`sovgate init`: asks on a terminal, takes flags elsewhere."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate.cli._base import LocalPath, Option, argument, declare, option, output_options
from sovgate.cli._emit import Report
from sovgate.cli.look._wizard import SCHEMES, SERVE, TRAIN, Flags, Places, asked
from sovgate.errors import DOCS, UsageError

if TYPE_CHECKING:
    from sovgate.pipeline.look.init import Answers, Made


def _print_schema(context: click.Context, option_: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from sovgate.pipeline.look.scaffold import schema

        click.echo(schema(), nl=False)
        context.exit(0)


@declare(
    "init",
    example="""
sovgate init                                     # asks
sovgate init try-it --pattern central --local    # folders and key files on this machine
sovgate init kyc --pattern hybrid --train aws:us-east-1 --serve eu=aws-eusc:eusc-de-east-1 \\
    --data customers-eu=EU
sovgate init kyc --pattern central --train aws:eu-central-1 --serve dc1=declared:fra-dc1 \\
    --region 'fra-dc1: {country: DE, operator: Bank GmbH, controlled-from: DE, \\
    source: "https://bank.example/dc", date: 2026-11-01}' --endpoint dc1=https://s3.bank.example""",
)
@argument(
    "folder",
    type=LocalPath(),
    required=False,
    metavar="[DIR]",
    help="Where to write the project (default: here).",
)
@option(
    "--pattern",
    type=click.Choice(["central", "hybrid"]),
    help="central: trained once, served in zones. hybrid: fine-tuned there too.",
)
@option("--model", metavar="NAME", help="The model's name (default: the folder's name).")
@option("--train", metavar="[ZONE=]REGION", help="Where you train, e.g. aws:us-east-1.")
@option("--serve", multiple=True, metavar="[ZONE=]REGION", help="Where you serve. Repeat for each.")
@option(
    "--data",
    multiple=True,
    metavar="NAME=PLACE[,PLACE]",
    help="Data that may not leave a place: EU, EEA, DE … Repeat for each.",
)
@option(
    "--region",
    "sites",
    multiple=True,
    metavar="REGION",
    help="A region of your own, as under regions: in sovgate.yaml; zones lie in declared:NAME. "
    "Repeat for each.",
)
@option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="ZONE=URL",
    weakens_trust=True,
    help="The S3 service of a zone, where the catalogue knows none. Repeat for each.",
)
@option("--gitops", metavar="URL", help="The Git repository that drives the rollout.")
@option("--keys", is_flag=True, cls=Option, help="Make key files for each zone.")
@option(
    "--key-scheme",
    type=click.Choice(list(SCHEMES)),
    help="Where keys are that init does not make: awskms (default), or file.",
)
@option(
    "--runners",
    type=click.Choice(["zones", "hosted"]),
    default="zones",
    show_default=True,
    help="Where workflows run: in the zones, on runners of your own; or hosted, to begin with, "
    "which writes those alone that hold no key, model or data.",
)
@option(
    "--local",
    is_flag=True,
    cls=Option,
    help="Try it on this machine, with key files, and folders as stores.",
)
@option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    cls=Option,
    help="Print the JSON Schema of sovgate.yaml, for editors, and write nothing.",
)
@option("--dry-run", is_flag=True, cls=Option, help="Say what would be written, and write nothing.")
@output_options
def command(
    folder: Path | None,
    pattern: str | None,
    model: str | None,
    train: str | None,
    serve: tuple[str, ...],
    data: tuple[str, ...],
    sites: tuple[str, ...],
    endpoints: tuple[str, ...],
    gitops: str | None,
    keys: bool,
    key_scheme: str | None,
    runners: str,
    local: bool,
    dry_run: bool,
    format_: str,
) -> Report:
    """Write a project to start from, without overwriting any file."""
    from sovgate.pipeline.look import init as pipeline

    target = folder or Path()
    if key_scheme == "awskms" and (keys or local):
        raise UsageError(
            f"--key-scheme awskms and {'--keys' if keys else '--local'} contradict each other",
            why="key files are made, or keys are in a KMS",
            fix="leave out one of the two",
        )
    places = Places(sites, endpoints)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and format_ == "text"
    name = model or _slug(target)
    if asks and not local:
        flags = Flags(
            pattern=pattern,
            model=model,
            train=train,
            serve=serve,
            data=data,
            gitops=gitops,
            keys=keys,
            scheme=key_scheme,
            places=places,
            folder=target,
        )
        answers = asked(flags, name)
    else:
        missing = [
            flag
            for flag, given in (
                ("--pattern", pattern),
                ("--train", train or local),
                ("--serve", serve or local),
            )
            if not given
        ]
        if missing:
            raise UsageError(
                f"these options are missing: {', '.join(missing)}",
                why="this is not a terminal, so nobody can be asked",
                fix="sovgate init DIR --pattern central --train REGION --serve REGION; "
                "`sovgate regions list` lists the regions",
                reason="missing-answer",
            )
        if not data and local and pattern == "hybrid":
            data = (f"{name}-local=EU",)
        answers = pipeline.Answers(
            pattern=str(pattern),
            model=pipeline.model_name(name),
            train=places.zone(train or TRAIN, suffix="-train"),
            serve=tuple(map(places.zone, serve or (f"eu={SERVE}",))),
            data=tuple(pipeline.data_answer(text) for text in data),
            gitops=gitops,
            keys=keys or local,
            scheme=key_scheme or SCHEMES[0],
            local=local,
        )
        places.check(answers.zones)
    hosted = runners == "hosted"
    return _report(pipeline.init(target, answers, hosted=hosted, dry_run=dry_run), answers, hosted)


def _slug(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())[:40].strip("-") or "model"


def _report(made: Made, answers: Answers, hosted: bool) -> Report:
    word = "would write" if made.dry_run else "wrote"
    rows = [("new", path) for path in made.created] + [("there", path) for path in made.kept]
    notes = [f"{path} is left as it is; it lacks the lines above" for path, _ in made.differ]
    notes += made.elsewhere
    notes += answers.left_out()
    notes += answers.without_kms()
    if answers.gitops is None:
        notes.append(f"nothing is promoted yet; to add it later: {DOCS}/gitops.md#added-later")
    if hosted:
        notes += [
            "no workflow trains, signs, sends or receives: nobody can say where a hosted runner is",
            "until zones have runners, `sovgate release` at a desk or tekton/ does that; then run "
            f"this again without --runners hosted ({DOCS}/actions.md#hosted-runners)",
        ]
    if not made.dry_run:
        notes += _next(made, answers)
    return Report(
        command="init",
        headline=f"{word} {len(made.created)} file{'s' if len(made.created) != 1 else ''} for "
        f"{answers.model}, {answers.pattern}: {answers.train.name} → "
        + ", ".join(zone.name for zone in answers.serve),
        rows=tuple(rows),
        table=tuple((line,) for path, text in made.differ for line in _block(path, text)),
        data={
            "folder": str(made.folder),
            "root": str(made.root),
            "created": list(made.created),
            "kept": list(made.kept),
            "differ": {path: text.splitlines() for path, text in made.differ},
            "pattern": answers.pattern,
            "model": answers.model,
            "zones": {zone.name: zone.region.id for zone in answers.zones},
            "datasets": {one.name: list(one.stays_in) for one in answers.data},
            "runners": "hosted" if hosted else "zones",
            "dry-run": made.dry_run,
        },
        notes=tuple(notes),
    )


def _block(path: str, text: str) -> list[str]:
    """What a file lacks, to be copied as it is."""
    return [f"Add to {path}:", *(line for line in text.splitlines() if line.strip())]


def _next(made: Made, answers: Answers) -> list[str]:
    train, serve = answers.train.name, answers.serve[0].name
    go = [] if made.folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(made.folder))}"]
    if not answers.keys:
        fill = ["write each key's ARN into sovgate.yaml: ACCOUNT and KEY-ID are placeholders"]
        if not any(answers.in_kms(zone) for zone in answers.zones):
            fill = []
        return [*go, *fill, "sovgate doctor says what is missing: keys first"]
    return [
        *go,
        f"sovgate record MODEL --dataset public-train --key file:keys/{train}-sign.pem",
        f"sovgate sign MODEL --key file:keys/{train}-sign.pem",
        f"sovgate push MODEL --release {answers.model}/1.0.0 --zone {train} --to {serve}",
        f"{DOCS}/getting-started.md goes through it",
    ]
