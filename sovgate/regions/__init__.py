"""Catalogue of `provider:region` -> country, groups, operator, partition, endpoints; with sources.

Stands beside formats: standard library and its own data files, read on first use.
"""

from sovgate.regions._record import Claim, Region
from sovgate.regions.catalogue import (
    DECLARED,
    all_regions,
    lookup,
    provider_regions,
    provider_title,
    providers,
)
from sovgate.regions.groups import Group, all_groups, group, groups_of, known_group

__all__ = [
    "DECLARED",
    "Claim",
    "Group",
    "Region",
    "all_groups",
    "all_regions",
    "group",
    "groups_of",
    "known_group",
    "lookup",
    "provider_regions",
    "provider_title",
    "providers",
]
