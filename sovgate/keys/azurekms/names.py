"""What an azurekms:// URI says, compared with its zone: which vault, of which cloud. No I/O.

A vault's host says its cloud and nothing of its region, so a key's location is `declared`. Suffixes
of vaults are the catalogue's; those of Managed HSMs are from azure-cli's tables of clouds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sovgate import key_settings
from sovgate.clouds.azure.credentials import LOGIN
from sovgate.errors import ConfigError
from sovgate.keys import _answers
from sovgate.regions import DECLARED, all_regions, lookup
from sovgate.uri import Uri

_NAME = re.compile(
    r"([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})/([A-Za-z0-9-]{1,127})(?:/([0-9a-f]{32}))?",
    re.ASCII,
)
#: Partition -> where its Managed HSMs are.
_HSM: Mapping[str, str] = {
    "AzureCloud": "managedhsm.azure.net",
    "AzureUSGovernment": "managedhsm.usgovcloudapi.net",
    "AzureChinaCloud": "managedhsm.azure.cn",
}


@dataclass(frozen=True, kw_only=True)
class Named:
    """A key: `host` of its vault, `key`, and the version, if the URI has one.

    url       where it is asked
    suffix    of the cloud's vaults, "vault.azure.net": whom tokens are for
    partition of the cloud, as the catalogue has it; None: one's own cloud, by `suffix:`
    provider  whose credentials are used
    region    the zone's, which nobody at the vault confirms
    protected whether it must be in an HSM
    """

    text: str
    host: str
    key: str
    version: str | None
    url: str
    suffix: str
    partition: str | None
    provider: str
    region: str | None
    protected: bool

    @property
    def canonical(self) -> str:
        """All versions of a key are one: who may use it is said of the key or the vault."""
        return f"azurekms:{self.host}/{self.key.lower()}"

    @property
    def managed(self) -> bool:
        """Whether it is a Managed HSM, whose keys are all in it."""
        return ".managedhsm." in self.host

    def action(self, verb: str) -> str:
        """The data action for a verb of keys, "read" or "sign", as roles there name it."""
        if self.managed:
            return (
                f"Microsoft.KeyVault/managedHsm/keys/{verb}{'' if verb == 'create' else '/action'}"
            )
        return f"Microsoft.KeyVault/vaults/keys/{verb}{'' if verb == 'read' else '/action'}"

    @property
    def official(self) -> bool:
        """Whether tokens of the cloud go there: over TLS, to a host below its own suffix."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" and (parts.hostname or "").endswith(f".{self.suffix}")

    @property
    def login(self) -> str | None:
        """Who gives tokens in that cloud; None where sovgate does not know."""
        return _login(self.partition)


def _login(partition: str | None) -> str | None:
    found = LOGIN.get(partition or "")
    return None if found is None else found[0]


def _suffixes() -> Iterator[tuple[str, str, str]]:
    """(suffix, partition, provider) of the clouds in the catalogue."""
    for row in all_regions():
        vaults = row.endpoint("keyvault")
        if vaults is not None:
            yield vaults, row.partition, row.provider
            if row.partition in _HSM:
                yield _HSM[row.partition], row.partition, row.provider


def parse_uri(uri: Uri, region: str | None) -> Named:
    """`region`: the zone's "provider:region", or None on a command line. Asks nobody.

    Raises ConfigError; ResidencyMismatch for a vault of another cloud.
    """
    rest, settings = key_settings.split(uri)
    found = _NAME.fullmatch(rest)
    if found is None:
        raise ConfigError(
            f"{uri.text[:200]!r} names no key of Azure Key Vault",
            fix="write azurekms://VAULT.vault.azure.net/KEY, and /VERSION after it for one version",
            reason="bad-uri",
        )
    host, key, version = found[1].lower(), found[2], found[3]
    suffix = settings.get("suffix", host.partition(".")[2])
    if not host.endswith(f".{suffix}"):
        raise ConfigError(
            f"{host!r} is no vault below {suffix!r}", fix="correct one of them", reason="bad-uri"
        )
    cloud = next(((p, v) for s, p, v in _suffixes() if s == suffix), None)
    if cloud is None and "suffix" not in settings:
        raise ConfigError(
            f"{host!r} is a vault of no cloud in the catalogue",
            fix="correct the host; for a cloud of your own, write suffix: DOMAIN beside the key in "
            "sovgate.yaml, the domain that all its vaults are below",
            reason="bad-uri",
        )
    partition, provider = cloud or (None, "azure")
    _compare(host, partition, region)
    login = _login(partition)
    if login is not None:
        key_settings.refuse_other_address(f"https://{login}", "AZURE_AUTHORITY_HOST", key=uri.text)
    return Named(
        text=f"azurekms://{host}/{key}",
        host=host,
        key=key,
        version=version,
        url=settings.get("address", f"https://{host}").rstrip("/"),
        suffix=suffix,
        partition=partition,
        provider=provider,
        region=region,
        protected="protection" in settings,
    )


def _compare(host: str, partition: str | None, region: str | None) -> None:
    """A vault of one's own cloud is where the project says; any other is of the zone's cloud."""
    if region is None:
        return
    zone = None if region.startswith(f"{DECLARED}:") else lookup(region)
    if partition is None and (zone is None or zone.endpoint("keyvault") is not None):
        return
    if zone is None or zone.partition != partition:
        cloud = partition or "a cloud of your own"
        raise _answers.elsewhere(f"the vault {host} is one of {cloud}", region, "vault")
