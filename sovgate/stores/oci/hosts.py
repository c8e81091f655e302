"""Hosts of registries that name the region they lie in, against the region of the zone. Pure.

A registry cannot be asked where it lies. But where a provider's own host says it, another region
than the declared one is no doubt, and nothing is sent there.
"""

from __future__ import annotations

import re

from sovgate.errors import ResidencyMismatch
from sovgate.regions import Region, all_regions

#: Amazon ECR: an account or an endpoint of a VPC, the region, and whose cloud it is.
_ECR = re.compile(
    r"[a-z0-9-]+\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?(?P<suffix>[a-z0-9.-]+)",
    re.ASCII,
)
#: The suffixes of hosts that have IPv6 too, and of which partitions' they are.
_DUAL = {
    "on.aws": ("aws", "aws-us-gov"),
    "on.amazonwebservices.com.cn": ("aws-cn",),
    "on.amazonwebservices.eu": ("aws-eusc",),
}
#: Google Artifact Registry: a region, or one of these, which are several.
_GOOGLE = re.compile(r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev", re.ASCII)
_SEVERAL = ("us", "europe", "asia")
_GCR = re.compile(r"(?:(?:us|eu|asia)\.)?gcr\.io", re.ASCII)


def refuse_elsewhere(host: str, declared: str) -> None:
    """`host` without its port; `declared`: the zone's "provider:region", or of a site of one's own.

    Raises ResidencyMismatch where the host names another region, several, or one that the catalogue
    does not know.
    """
    found = _said(host.lower().removesuffix("."))
    if found is None or found == declared:
        return
    raise ResidencyMismatch(
        f"the registry {host[:200]} is in {found}",
        why=f"its host says so; the zone was declared as {declared}",
        fix=f"name a registry in {declared}, or correct the zone's region",
        reason="store-elsewhere",
    )


def _said(host: str) -> str | None:
    """Where a host says that it lies, "provider:region" or in words; None of all that say none."""
    if match := _ECR.fullmatch(host):
        suffix, region = match["suffix"], match["region"]
        rows = [row for row in all_regions() if _is_of(row, suffix)]
        return _named(rows, region, "AWS") if rows else None
    if _GCR.fullmatch(host):
        return "several regions at once"
    if match := _GOOGLE.fullmatch(host):
        if match["region"] in _SEVERAL:
            return "several regions at once"
        rows = [row for row in all_regions() if row.partition == "googleapis.com"]
        return _named(rows, match["region"], "Google")
    return None


def _is_of(row: Region, suffix: str) -> bool:
    aws = row.partition.startswith("aws")
    return aws and (row.dns_suffix == suffix or row.partition in _DUAL.get(suffix, ()))


def _named(rows: list[Region], region: str, whose: str) -> str:
    known = (row.id for row in rows if row.region == region)
    return next(known, f"{region[:60]!r}, a region of {whose} that the catalogue does not know")
