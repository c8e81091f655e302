"""What a gcpkms:// URI says, compared with its zone; and what its answers are checked by. No I/O.

RULES 10: the location is in a key's name. The universe ("googleapis.com", "s3nsapis.fr") is
compared here: Google's own client does not.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sovgate import key_settings
from sovgate.clouds import endpoints
from sovgate.clouds.google.credentials import GOOGLE
from sovgate.errors import ConfigError, ResidencyMismatch
from sovgate.keys import _answers
from sovgate.keys._crypto import Held
from sovgate.keys.gcpkms.service import Service
from sovgate.records import GRADE
from sovgate.regions import DECLARED, Region, all_regions, lookup
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

_NAME = re.compile(
    r"(projects/[a-z0-9.:-]{1,80}/locations/([a-z0-9-]{1,40})/keyRings/[A-Za-z0-9_-]{1,63}"
    r"/cryptoKeys/[A-Za-z0-9_-]{1,63})(?:/(?:cryptoKeyVersions|versions)/([1-9][0-9]{0,9}))?",
    re.ASCII,
)
#: By which Google's own programs would go elsewhere.
_ADDRESS, _UNIVERSE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", "GOOGLE_CLOUD_UNIVERSE_DOMAIN"
#: Hosts of a KMS below its universe: for all regions, for one (two spellings), and of one's own.
_HOST = re.compile(
    r"cloudkms|cloudkms\.([a-z0-9-]{1,40})\.rep|([a-z0-9-]{1,40})-cloudkms|cloudkms-[a-z0-9-]{1,63}\.p",
    re.ASCII,
)
#: Keys that a partner keeps outside of Google.
_EXTERNAL = ("EXTERNAL", "EXTERNAL_VPC")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A key: by its name without a version, and by the version's, if the URI has one.

    text   the URI without its settings
    wanted the protection level that must be, "HSM", or None
    """

    text: str
    key: str
    version: str | None
    row: Region
    service: Service
    wanted: str | None

    @property
    def canonical(self) -> str:
        return f"gcpkms:{self.service.universe}:{self.key}"

    def held(self, name: str, public: PublicKey | None, protection: str) -> Held:
        sure = self.service.place.catalogued and self.service.direct
        return Held(
            name=name,
            canonical=self.canonical,
            public=public,
            version=name.partition("/cryptoKeyVersions/")[2] or None,
            region=self.row.id,
            # A key that is kept elsewhere lies wherever its keeper has it.
            grade=GRADE["api" if sure and protection not in _EXTERNAL else "declared"],
        )

    def ask(self, operation: str, doing: str, permission: str, /, **request: object) -> Any:
        return self.service.ask(operation, self.version or self.key, doing, permission, **request)

    def protection_of(self, level: str) -> str:
        """The level, if it may be. Raises KeyServiceError, "protection-level"."""
        if self.wanted is not None and level != self.wanted:
            why = f"its protection level is {level[:40]}"
            raise _answers.not_in_hsm(self.key, why, f"with the level {self.wanted}")
        return level

    # -- CRC32C, as Google asks for it: data integrity from end to end

    def sum(self, data: bytes) -> int:
        value: int = importlib.import_module("google_crc32c").value(data)
        return value

    def whole(self, data: bytes, said: int | None) -> bytes:
        """What came, if its sum came with it and is right. Raises KeyServiceError, "bad-answer"."""
        if said is None or said != self.sum(data):
            raise _answers.bad_answer(
                self.key, "its CRC32C is missing" if said is None else "its CRC32C is another one"
            )
        return data

    def heard(self, verified: bool) -> None:
        """That the service compared the sum of what was sent: else it may have got other bytes."""
        if not verified:
            raise _answers.bad_answer(
                self.key, "the service did not compare the CRC32C that was sent"
            )


def parse_uri(uri: Uri, region: str | None) -> Named:
    """`region`: the zone's "provider:region", or None on a command line. Asks nobody.

    Raises ConfigError; ResidencyMismatch for a key of another location or universe.
    """
    rest, settings = key_settings.split(uri)
    found = _NAME.fullmatch(rest.lstrip("/"))
    if found is None:
        raise ConfigError(
            f"{uri.text[:200]!r} names no key of Google Cloud KMS",
            fix="write gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K, and "
            "/cryptoKeyVersions/N after it for one version",
            reason="bad-uri",
        )
    key, location, number = found.groups()
    zone = lookup(region) if region is not None and not region.startswith(f"{DECLARED}:") else None
    # Who has Cloud Storage by Google's technology has a universe.
    home = zone.partition if zone is not None and zone.endpoint("gcs") else GOOGLE
    universe = settings.get("universe", home)
    key_settings.refuse_other(universe, _UNIVERSE, key=uri.text)
    row = next(
        (row for row in all_regions() if (row.partition, row.region) == (universe, location)), None
    )
    if region is not None and (row is None or row.id != region):
        raise _outside(key, row.id if row is not None else f"{location} of {universe}", region)
    if row is None:
        raise ConfigError(
            f"no region {location!r} of {universe!r} is in the catalogue",
            why="a key in `global`, or in a location of several regions, may be in any of them",
            fix="name a key in one region; `sovgate regions list` shows them all",
            reason="unknown-region",
        )
    place = endpoints.endpoint("kms", row.id, settings.get("address"), what="key")
    other = place.other("kms")
    if other is not None:
        raise _outside(key, other.id, row.id)
    _refuse_other_host(place.url, universe, key, row)
    key_settings.refuse_other_address(place.url, _ADDRESS, key=uri.text)
    return Named(
        text=f"gcpkms://{key}",
        key=key,
        version=f"{key}/cryptoKeyVersions/{number}" if number else None,
        row=row,
        service=Service(place=place, universe=universe),
        wanted=settings["protection"].upper() if "protection" in settings else None,
    )


def _refuse_other_host(url: str, universe: str, key: str, row: Region) -> None:
    """Below a universe's domain, where its credentials go, are many hosts beside those of its KMS,
    and a KMS has one in each region.

    Raises ResidencyMismatch; ConfigError, "bad-address".
    """
    host = (urlsplit(url).hostname or "").lower()
    if not host.endswith(f".{universe}"):
        return
    found = _HOST.fullmatch(host.removesuffix(f".{universe}"))
    if found is None:
        raise ConfigError(
            f"{host[:253]} is no address of Cloud KMS",
            fix=f"leave address out for cloudkms.{universe}; Private Service Connect's is "
            f"cloudkms-NAME.p.{universe}",
            reason="bad-address",
        )
    there = found[1] or found[2]
    if there is not None and there != row.region:
        raise _outside(key, f"{there}, by its address", row.id)


def _outside(name: str, found: str, declared: str) -> ResidencyMismatch:
    return _answers.elsewhere(f"the key {name[:200]} is in {found[:80]}", declared)
