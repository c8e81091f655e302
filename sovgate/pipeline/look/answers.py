"""What a person answers to `init`, checked: names, places, and what only all of it can get wrong.

Reads the catalogue of regions; touches no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import regions
from sovgate.errors import ConfigError, UsageError
from sovgate.records import RELEASE_PART, near_name

if TYPE_CHECKING:
    from sovgate.regions import Region

PATTERNS = ("central", "hybrid")
#: The data set that every project starts with.
PUBLIC = "public-train"
MAX_ZONES = 16
#: As long may names be in Kubernetes, of buckets, and of Tekton's pipelines.
MAX_NAME = 63
#: What can be a name in Kubernetes; a zone's also begins the names of its secrets at GitHub, which
#: keeps some for itself.
#: What namespaces, workloads and buckets may be called: names with dots and `_` are spelt with `-`.
MAX_MODEL = 40
_ZONE = re.compile(r"(?!github(-|$))[a-z]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
#: Of a host and nothing more; what a store's URI takes of it, `open_store` knows.
_ENDPOINT = re.compile(r"https?://[a-zA-Z0-9.\[\]:-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ZoneAnswer:
    """`endpoint`: the zone's S3 service, where it is not the one that the catalogue knows."""

    name: str
    region: Region
    endpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataAnswer:
    """A data set that may not leave `stays_in` (countries or groups of them)."""

    name: str
    stays_in: tuple[str, ...]

    def may_be(self, zone: ZoneAnswer) -> bool:
        return bool({*self.stays_in} & {*zone.region.groups})


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`keys`: key files are made for each zone; `local`: stores are folders of the project.

    scheme the keys' own where no files are made: awskms, or file for files that come from elsewhere

    place  the project's folder below the root of its repository, "" for the root itself
    """

    pattern: str
    model: str
    train: ZoneAnswer
    serve: tuple[ZoneAnswer, ...]
    data: tuple[DataAnswer, ...]
    gitops: str | None = None
    keys: bool = False
    scheme: str = "awskms"
    local: bool = False
    place: str = ""

    @property
    def slug(self) -> str:
        return slug(self.model)

    @property
    def serving(self) -> str:
        """The folder of base and overlays: one of its own where a repository has more projects, so
        that all may be driven by one repository."""
        return f"serving/{self.model}" if self.place else "serving"

    @property
    def zones(self) -> tuple[ZoneAnswer, ...]:
        return (self.train, *self.serve)

    @property
    def hybrid(self) -> bool:
        return self.pattern == "hybrid"

    def in_kms(self, zone: ZoneAnswer) -> bool:
        """Whether a zone's keys are in a KMS that this version opens."""
        return not self.keys and self.scheme == "awskms" and has_kms(zone.region)

    def without_kms(self) -> tuple[str, ...]:
        """One sentence for each zone whose keys are files, though a KMS was meant."""
        if self.keys or self.scheme == "file":
            return ()
        return tuple(
            f"{zone.name} names key files: no key service of this version serves {zone.region.id}"
            for zone in self.zones
            if not self.in_kms(zone)
        )

    def trained_on(self) -> tuple[str, ...]:
        """Data sets that may be where is trained, and that keep the model from no zone."""
        if self.hybrid:
            return (PUBLIC,)
        kept = [one.name for one in self.data if all(one.may_be(zone) for zone in self.zones)]
        return (PUBLIC, *kept)

    def tuned_on(self, zone: ZoneAnswer) -> tuple[str, ...]:
        """Data sets that may be in a zone that fine-tunes."""
        return tuple(one.name for one in self.data if one.may_be(zone))

    def left_out(self) -> tuple[str, ...]:
        """What jobs do without, one sentence each: it may not be there."""
        if not self.hybrid:
            return tuple(
                f"{one.name} is left out of the training: it may not go to "
                f"{', '.join(z.name for z in self.serve if not one.may_be(z))}, and neither may "
                "a model that was trained on it"
                for one in self.data
                if one.name not in self.trained_on()
            )
        return tuple(
            f"{one.name} is left out in {zone.name}: it may not be there"
            for zone in self.serve
            for one in self.data
            if not one.may_be(zone)
        )


def slug(model: str) -> str:
    """A model's name as namespaces, workloads and buckets may have it."""
    return re.sub(r"[^a-z0-9]+", "-", model)


def has_kms(region: Region) -> bool:
    """Whether keys in that region can be in AWS's KMS: in any of its partitions."""
    return region.provider == "aws" or region.provider.startswith("aws-")


def model_name(text: str) -> str:
    """A name that `sovgate.yaml` accepts, and no longer than what is called after it may be.

    Raises UsageError.
    """
    if not RELEASE_PART.fullmatch(text) or len(text) > MAX_MODEL or text[-1] in "._-":
        near = near_name(text)
        near = None if near is None else near[:MAX_MODEL].rstrip("._-")
        raise UsageError(
            f"{text[:60]!r} cannot be a model's name",
            why=f"it has a-z, 0-9, dots, hyphens and _, at most {MAX_MODEL}, and begins and ends "
            "with a letter or digit",
            fix=f"--model {near or 'churn'}",
            reason="bad-name",
        )
    return text


def zone_answer(
    text: str, *, suffix: str = "", sites: Mapping[str, Region] | None = None
) -> ZoneAnswer:
    """`provider:region`, or `ZONE=provider:region`. Raises UsageError with what was meant.

    `sites`: the regions of the project's own, by `declared:NAME`.
    """
    name, equals, place = text.strip().partition("=")
    if not equals:
        name, place = "", name
    place = place.strip()
    region = (sites or {}).get(place)
    try:
        region = region or regions.lookup(place)
    except ConfigError as error:
        fix = error.fix
        if place.startswith(f"{regions.DECLARED}:"):
            fix = f"declare it: --region '{_example(place)}'"
        raise UsageError(error.what, why=error.why, fix=fix, reason=error.reason) from error
    name = name.strip() or region.country.lower() + suffix
    if not _ZONE.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} cannot be a zone's name",
            fix="use a-z, 0-9 and hyphens, at most 40; a letter first, no hyphen last; not github",
            reason="bad-name",
        )
    return ZoneAnswer(name=name, region=region)


def _example(place: str) -> str:
    from sovgate.config import EXAMPLE_REGION

    name = place.partition(":")[2]
    return f"{name if RELEASE_PART.fullmatch(name) else 'NAME'}:{EXAMPLE_REGION.partition(':')[2]}"


def site_answer(text: str) -> Region:
    """A region of the project's own, as it stands under `regions:`. Raises UsageError.

    For example `fra-dc1: {country: DE, operator: Bank GmbH, controlled-from: DE, source: "https://…",
    date: 2026-11-01}`.
    """
    from sovgate.config import EXAMPLE_REGION, declared_in

    try:
        (found,) = declared_in(" ".join(text.split()), "--region").values()
    except ConfigError as error:
        raise UsageError(
            f"--region declares no region: {error.what}",
            why=error.why,
            fix=error.fix or f"write it as in sovgate.yaml: '{EXAMPLE_REGION}'",
            reason=error.reason,
        ) from error
    except ValueError:
        raise UsageError(
            f"{text[:60]!r} declares not one region",
            fix=f"write one as in sovgate.yaml: '{EXAMPLE_REGION}'; repeat --region for each",
            reason="bad-region",
        ) from None
    return found


def with_endpoint(zone: ZoneAnswer, endpoint: str) -> ZoneAnswer:
    """The zone with an S3 service of its own, `https://HOST`. Raises UsageError."""
    from sovgate.stores.registry import open_store

    what = f"this cannot be the S3 service of zone {zone.name}"
    why: str | None = "it is not a URL of a host only"
    try:
        open_store(f"s3://bucket?endpoint={endpoint}", Path(), zone.region.id)
    except ConfigError as error:
        # What was given is not shown: it may hold a secret (RULES 29).
        what, why, endpoint = f"{what}: {error.what}", error.why, ""
    if not _ENDPOINT.fullmatch(endpoint):
        raise UsageError(what, why=why, fix="write https://HOST", reason="bad-endpoint")
    return replace(zone, endpoint=endpoint)


def data_answer(text: str) -> DataAnswer:
    """`NAME=PLACE[,PLACE…]`, places being countries or groups of them. Raises UsageError."""
    name, _, places = text.strip().partition("=")
    found = tuple(dict.fromkeys(place.strip().upper() for place in places.split(",")))
    for place in found:
        try:
            regions.group(place)
        except ConfigError as error:
            raise UsageError(
                error.what, why=error.why, fix=error.fix, reason="bad-place"
            ) from error
    if not RELEASE_PART.fullmatch(name) or name == PUBLIC:
        raise UsageError(
            f"{name[:60]!r} cannot be a data set's name",
            fix="write NAME=PLACE, for example customers-eu=EU",
            reason="bad-name",
        )
    return DataAnswer(name=name, stays_in=found)


def check(answers: Answers) -> Answers:
    """What only all answers together can get wrong. Raises UsageError."""
    names = [zone.name for zone in answers.zones]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"two zones are called {twice[0]}",
            fix="give each its own name: NAME=provider:region",
            reason="bad-name",
        )
    for name in names:
        # Those are what environments and pipelines beside the zone's own are called.
        if {f"{name}-release", f"{name}-rollback"} & set(names):
            raise UsageError(
                f"the names of these zones conflict: {', '.join(names)[:120]}",
                why=f"{name}-release and {name}-rollback already belong to zone {name}",
                fix="give each its own name: NAME=provider:region",
                reason="bad-name",
            )
        longest = f"{answers.slug}-{name}-release"
        if len(longest) > MAX_NAME:
            raise UsageError(
                f"the names of model and zone are too long when joined: {longest}",
                why=f"pipelines, namespaces and buckets have at most {MAX_NAME}",
                fix="use a shorter --model, or a shorter zone name: NAME=provider:region",
                reason="bad-name",
            )
    if not 1 <= len(answers.serve) <= MAX_ZONES:
        raise UsageError(
            f"from 1 to {MAX_ZONES} zones can serve", fix="add --serve provider:region"
        )
    data = [one.name for one in answers.data]
    if len(set(data)) != len(data):
        raise UsageError("two data sets have one name", reason="bad-name")
    if answers.pattern == "hybrid" and not data:
        raise UsageError(
            "a hybrid project fine-tunes on data that may not leave, and no such data is named",
            fix="add --data NAME=EU",
            reason="no-data",
        )
    _check_places(answers)
    _check_stores(answers)
    if answers.gitops is not None:
        check_gitops(answers.gitops)
    return answers


def check_gitops(url: str) -> None:
    """Raises ConfigError where it names no repository."""
    from sovgate.git.url import parse_remote

    parse_remote(url, Path.cwd())


def _check_places(answers: Answers) -> None:
    """No job may be given data that may not be in its zone: UsageError "no-zone-for-data"."""
    for data in answers.data:
        where = answers.serve if answers.hybrid else (answers.train,)
        if any(data.may_be(zone) for zone in where):
            continue
        names = ", ".join(zone.name for zone in where)
        raise UsageError(
            f"{data.name} may not be in {names}",
            why=f"it may be only in {', '.join(data.stays_in)}, and "
            + "; ".join(f"{zone.name} is in {', '.join(zone.region.groups)}" for zone in where),
            fix="name a zone where it may be with --serve"
            if answers.hybrid
            else "--pattern hybrid trains on it where the model is served; or name a place where "
            "it may be with --train",
            reason="no-zone-for-data",
        )
    for zone in answers.serve if answers.hybrid else ():
        if not answers.tuned_on(zone):
            raise UsageError(
                f"no data may be in {zone.name}, so nothing could be fine-tuned there",
                fix=f"leave out {zone.name}, or add --data NAME={zone.region.country}",
                reason="no-zone-for-data",
            )


def _check_stores(answers: Answers) -> None:
    """What is written has to pass lint: no s3:// store in a region without such a service."""
    for zone in answers.zones:
        if answers.local or zone.endpoint or zone.region.s3_endpoint is not None:
            continue
        raise UsageError(
            f"no store of this version serves zone {zone.name}, in {zone.region.id}",
            why="init writes s3:// and file: stores, and the catalogue knows no S3 endpoint there",
            fix="choose a region with one (sovgate regions show REGION names it); or name an S3 "
            f"service of your own, --endpoint {zone.name}=https://HOST; or add --local",
            reason="no-endpoint",
        )
