"""Asks a service where a bucket lies. Makes GetBucketLocation and HeadBucket, and parses no URI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.clouds.aws import client as aws
from sovgate.clouds.aws.profiles import profile
from sovgate.errors import ResidencyMismatch
from sovgate.records import GRADE
from sovgate.regions import Region
from sovgate.stores._api import Location

if TYPE_CHECKING:
    from sovgate.stores.s3 import S3Store


def location(store: S3Store, where: aws.Endpoint) -> Location | None:
    """What both requests say; None where there is no zone, or a server of one's own says nothing.

    Raises ResidencyMismatch where they differ, or where the endpoint is of another region.
    """
    row = where.declared
    where.refuse_elsewhere("s3", store.uri)
    with store.errors("get_bucket_location"):
        answer = store.call("get_bucket_location")
    with store.errors("head_bucket"):
        head = store.call("head_bucket")
    if row is None:
        return None
    said = _region(row, answer.get("LocationConstraint"))
    headers = head["ResponseMetadata"]["HTTPHeaders"]
    header = _region(row, head.get("BucketRegion") or headers.get("x-amz-bucket-region"))
    if not said and where.catalogued:
        said = profile(row.provider).nowhere  # null is the oldest region, at AWS itself (RULES 15)
    if said and header and said != header:
        raise ResidencyMismatch(
            f"{store.uri} is in two places at once",
            why=f"GetBucketLocation says {said!r}, HeadBucket {header!r}",
            fix="find out which service answers at that endpoint",
            reason="store-elsewhere",
        )
    if where.catalogued:
        return Location(
            value=f"{row.provider}:{said}" if said else None,
            grade=store.grade if said else GRADE["unknown"],
            source="GetBucketLocation",
        )
    # A server of one's own that names no region: as with a folder, our word alone.
    found = said or header
    if found is None:
        return None
    return Location(
        value=f"{row.provider}:{found}",
        grade=store.grade,
        source="GetBucketLocation" if said else "HeadBucket",
    )


def _region(row: Region, said: object) -> str | None:
    """The region that a word means, None for none."""
    return profile(row.provider).regions.get(str(said), str(said)[:80]) if said else None
