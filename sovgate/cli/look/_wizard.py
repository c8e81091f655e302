"""What `sovgate init` asks on a terminal: whatever no option said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from sovgate.errors import UsageError

if TYPE_CHECKING:
    from sovgate.pipeline.look.init import Answers, DataAnswer, ZoneAnswer
    from sovgate.regions import Region

T = TypeVar("T")

#: Schemes of keys that init can write, the one for a KMS first.
SCHEMES = ("awskms", "file")
TRAIN, SERVE = "aws:us-east-1", "aws-eusc:eusc-de-east-1"

#: What to answer in place of an option, by the reason of the refusal.
_ANSWERS = {
    "no-data": "name it, for example customers=EU; or choose central",
    "no-zone-for-data": "hybrid trains where the model is served; or name other data",
}


class Places:
    """Regions of the project's own, and S3 services of its zones: from options or answers."""

    def __init__(self, sites: tuple[str, ...], endpoints: tuple[str, ...]) -> None:
        """Raises UsageError."""
        from sovgate.pipeline.look.init import site_answer

        self.sites: dict[str, Region] = {}
        for text in sites:
            site = site_answer(text)
            if site.id in self.sites:
                raise UsageError(f"--region declares {site.region} twice", reason="bad-region")
            self.sites[site.id] = site
        self.endpoints: dict[str, str] = {}
        for text in endpoints:
            name, equals, url = text.partition("=")
            if not equals or name in self.endpoints:
                what = f"names {name[:40]!r} twice" if equals else f"{text[:60]!r} names no zone"
                raise UsageError(
                    f"--endpoint {what}", fix="write ZONE=https://HOST", reason="bad-endpoint"
                )
            self.endpoints[name] = url
        #: What options named: what is answered may be answered anew.
        self._named = {*self.sites}, {*self.endpoints}

    def zone(self, text: str, *, suffix: str = "") -> ZoneAnswer:
        """A zone as answered, with its S3 service where one is named. Raises UsageError."""
        from sovgate.pipeline.look import init as pipeline

        zone = pipeline.zone_answer(text, suffix=suffix, sites=self.sites)
        named = self.endpoints.get(zone.name)
        return zone if named is None else pipeline.with_endpoint(zone, named)

    def check(self, zones: tuple[ZoneAnswer, ...]) -> None:
        """That each is used: else a name was misspelt. Raises UsageError."""
        sites, endpoints = self._named
        unused = sorted(sites - {zone.region.id for zone in zones})
        if unused:
            raise UsageError(
                f"no zone lies in {unused[0]}",
                fix=f"name it: --train or --serve ZONE={unused[0]}",
                reason="bad-region",
            )
        strange = sorted(endpoints - {zone.name for zone in zones})
        if strange:
            raise UsageError(
                f"--endpoint names {strange[0][:40]!r}, and there is no such zone",
                fix=f"the zones are {', '.join(zone.name for zone in zones)}",
                reason="bad-endpoint",
            )

    def ask(self, text: str, *, suffix: str = "") -> ZoneAnswer:
        """The same; what is missing of a region of one's own is asked for. Raises UsageError."""
        from sovgate.pipeline.look import init as pipeline
        from sovgate.regions import DECLARED

        place = text.strip().rpartition("=")[2].strip()
        if place.startswith(f"{DECLARED}:") and place not in self.sites:
            self.sites[place] = _site(place.partition(":")[2])
        zone = self.zone(text, suffix=suffix)
        if zone.endpoint is None and zone.region.s3_endpoint is None:
            zone = _ask(
                f"Which S3 service has zone {zone.name}? (https://HOST)",
                "",
                "https://",
                lambda url: pipeline.with_endpoint(zone, url),
            )
            self.endpoints[zone.name] = str(zone.endpoint)
        return zone


def _site(name: str) -> Region:
    """Each fact that the project file wants of a region of its own, asked for."""
    import datetime

    from sovgate.pipeline.look.init import site_answer

    facts = {
        "country": "DE",
        "operator": "",
        "controlled-from": "DE",
        "source": "https://",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    about = {
        "country": f"In which country is {name}? (a code)",
        "operator": "Who operates it?",
        "controlled-from": "From which country is that company controlled? (a code)",
        "source": "Where does it say so? (a page or document)",
        "date": "On which day did you read that?",
    }
    while True:
        said = {
            key: str(click.prompt(about[key], default=facts[key] or None, err=True, type=str))
            for key in facts
        }
        try:
            return site_answer(
                f"{name}: {{{', '.join(f'{key}: {_quoted(text)}' for key, text in said.items())}}}"
            )
        except UsageError as error:
            _tell(error)
            facts = said


def _quoted(text: str) -> str:
    import json

    return json.dumps(text.strip(), ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the command line said already; what it did not is None or empty."""

    pattern: str | None
    model: str | None
    train: str | None
    serve: tuple[str, ...]
    data: tuple[str, ...]
    gitops: str | None
    keys: bool
    scheme: str | None
    places: Places
    folder: Path


def asked(flags: Flags, name: str) -> Answers:
    """What no flag said is asked for, again and again until it can be used.

    What answers contradict is said as soon as they are there. Raises UsageError for what flags say.
    """
    from sovgate.pipeline.look import init as pipeline

    pipeline.check_place(flags.folder)
    if not (flags.pattern and flags.train and flags.serve):
        pipeline.check_free(flags.folder)
    if flags.gitops is not None:
        pipeline.check_gitops(flags.gitops)
    click.echo("A region is provider:region; `sovgate regions list` has them all.", err=True)
    click.echo("One of your own is declared:NAME.", err=True)
    said_model = _ask(
        "What is the model called?",
        flags.model,
        name,
        lambda text: pipeline.check_place(flags.folder, pipeline.model_name(text)),
    )
    said_train = _ask(
        "Where do you train?",
        flags.train,
        TRAIN,
        lambda text: flags.places.ask(text, suffix="-train"),
    )
    begun = pipeline.Answers(
        pattern="central",
        model=said_model,
        train=said_train,
        serve=(),
        data=(),
        gitops=flags.gitops,
    )
    said_serve = _ask(
        "Where do you serve? (several: with a comma between)",
        ",".join(flags.serve),
        SERVE,
        lambda text: _served(flags, begun, tuple(map(flags.places.ask, _parts(text)))),
    )
    answers = _data(flags, replace(begun, serve=said_serve))
    keys, said_scheme = flags.keys, flags.scheme or SCHEMES[0]
    if not keys and flags.scheme is None:
        keys = click.confirm(
            "Make key files for each zone now? (no: keys are in a KMS)", default=True, err=True
        )
        if not keys:
            said_scheme = _ask(
                "Where are the keys? awskms, or file for key files that you bring",
                "",
                SCHEMES[0],
                _scheme,
            )
    return replace(answers, keys=keys, scheme=said_scheme)


def _served(flags: Flags, begun: Answers, zones: tuple[ZoneAnswer, ...]) -> tuple[ZoneAnswer, ...]:
    """Zones that can be together. Raises UsageError."""
    from sovgate.pipeline.look import init as pipeline

    made = pipeline.check(replace(begun, serve=zones))
    flags.places.check(made.zones)
    return zones


def _data(flags: Flags, answers: Answers) -> Answers:
    """With pattern and data, which are asked for together: either may be what has to change."""
    from sovgate.pipeline.look import init as pipeline

    place = answers.serve[0].region.groups[-1]
    while True:
        pattern = _ask(
            "Is it fine-tuned where it is served? central (no) or hybrid (yes)",
            flags.pattern,
            "hybrid" if flags.data else "central",
            _pattern,
        )
        hybrid = pattern == "hybrid"
        data = _ask(
            f"Which data may not leave? (customers={place}; several: with a space between"
            f"{'' if hybrid else '; or none'})",
            " ".join(flags.data),
            f"{answers.model}-local={place}" if hybrid else "none",
            _datasets,
        )
        try:
            return pipeline.check(replace(answers, pattern=pattern, data=data))
        except UsageError as error:
            if flags.pattern and flags.data:
                raise
            _tell(error)


def _datasets(text: str) -> tuple[DataAnswer, ...]:
    from sovgate.pipeline.look import init as pipeline

    return () if text == "none" else tuple(map(pipeline.data_answer, text.split()))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pattern(text: str) -> str:
    known = {"no": "central", "n": "central", "yes": "hybrid", "y": "hybrid"}
    text = known.get(text.lower(), text.lower())
    if text not in ("central", "hybrid"):
        raise UsageError(f"{text[:40]!r} is not a pattern", fix="choose central or hybrid")
    return text


def _scheme(text: str) -> str:
    text = text.lower().removesuffix("://").removesuffix(":")
    if text not in SCHEMES:
        raise UsageError(
            f"no key service of this version has the scheme {text[:40]!r}",
            fix=f"choose {' or '.join(SCHEMES)}",
        )
    return text


def _ask(question: str, given: str | None, default: str, check: Callable[[str], T]) -> T:
    if given:
        return check(given)
    while True:
        text = click.prompt(question, default=default, err=True, type=str)
        try:
            return check(str(text).strip())
        except UsageError as error:
            _tell(error)


def _tell(error: UsageError) -> None:
    fix = _ANSWERS.get(error.reason, error.fix)
    said = ". ".join(part for part in (error.what, fix) if part)
    click.echo(f"  {said}", err=True)
