"""What one row of the catalogue says. Stands beside formats: standard library only, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)


NOT_PUBLISHED = "not published"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What somebody says about a region: a certificate, a SEAL level. Never a fact of ours."""

    scheme: str
    value: str
    claimed_by: str
    source: str
    date: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """One `provider:region`. Dates are YYYY-MM-DD, countries ISO 3166-1 alpha-2.

    country           where the machines stand; "ZZ" where nobody publishes it, and then no group
                      has it and no `stays-in` but the empty one admits it
    groups            the country itself first, then every group that has it, e.g. (DE, EEA, EU)
    operator          short id of the company that runs it
    operator_primary  whether that source is the company's own, its parent's or a register's
    operator_country  who controls that company in the end, as far as its source says; or "ZZ"
    partition         the name that the provider gives to a world of accounts of its own
    endpoints         (service, hosts), the canonical host first; services are s3, gcs, blob, kms,
                      keyvault, resource-manager. No entry: the provider has none here, or none is
                      known
    source, date      where the row comes from, and the day on which it was last held against it
    """

    id: str
    provider: str
    region: str
    name: str
    country: str
    groups: tuple[str, ...]
    operator: str
    operator_name: str
    operator_country: str
    operator_control: str
    operator_source: str
    operator_primary: bool
    operator_date: str
    partition: str
    dns_suffix: str
    endpoints: tuple[tuple[str, tuple[str, ...]], ...]
    source: str
    date: str
    note: str | None = None
    claims: tuple[Claim, ...] = ()

    def json(self) -> dict[str, object]:
        """The row for programs: kebab-case names, lists for tuples."""
        return {
            "id": self.id,
            "provider": self.provider,
            "region": self.region,
            "name": self.name,
            "country": self.country,
            "groups": list(self.groups),
            "operator": {
                "id": self.operator,
                "name": self.operator_name,
                "country": self.operator_country,
                "control": self.operator_control,
                "source": self.operator_source,
                "primary-source": self.operator_primary,
                "date": self.operator_date,
            },
            "partition": self.partition,
            "dns-suffix": self.dns_suffix,
            "endpoints": {service: list(hosts) for service, hosts in self.endpoints},
            "source": self.source,
            "date": self.date,
            "note": self.note,
            "claims": [
                {
                    "scheme": claim.scheme,
                    "value": claim.value,
                    "claimed-by": claim.claimed_by,
                    "source": claim.source,
                    "date": claim.date,
                }
                for claim in self.claims
            ],
        }

    @property
    def run_by(self) -> str:
        """Who runs it and who controls that company, wherever either is said: the one text."""
        name = self.operator_name
        if name == NOT_PUBLISHED:
            name = f"a company whose name is {NOT_PUBLISHED} ({self.operator})"
        if self.operator_country == "ZZ":
            return f"run by {name}; from where it is controlled is {NOT_PUBLISHED}"
        return f"run by {name}, controlled from {self.operator_country}"

    def endpoint(self, service: str) -> str | None:
        """The canonical host of a service, e.g. "s3.eu-west-1.amazonaws.com"; None: not known."""
        return next((hosts[0] for name, hosts in self.endpoints if name == service), None)

    @property
    def s3_endpoint(self) -> str | None:
        return self.endpoint("s3")

    def serves(self, service: str, host: str) -> bool:
        """Whether `host` is this region's catalogued endpoint, or a bucket or account below it.

        Not the DNS suffix: customers' own machines and functions live below that one (RULES 15).
        """
        if not _HOST.fullmatch(host):
            return False
        given = host.lower().removesuffix(".")
        return any(
            given == known or given.endswith("." + known)
            for name, hosts in self.endpoints
            if name == service
            for known in hosts
        )
