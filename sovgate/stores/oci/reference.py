"""The URI of a registry's repository, taken apart. Opens no connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qsl

from sovgate.errors import ConfigError
from sovgate.regions import DECLARED, Region, lookup
from sovgate.stores.oci.connection import Connection
from sovgate.stores.oci.hosts import refuse_elsewhere
from sovgate.stores.oci.login import Account, Login
from sovgate.stores.oci.names import is_repository
from sovgate.transport.client import Client, origin
from sovgate.uri import Uri, is_loopback, split_url

_FORM = "oci://HOST[:PORT]/REPOSITORY"
_OPTIONS = ("auth", "redirects", "tags", "token")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """`immutable`: tags do not move there, says the URI, and a push tries it.

    redirects  hosts that a read of a blob may be sent to; `row`: the zone's region, whose buckets
               may be too
    """

    url: str
    account: Account
    immutable: bool
    redirects: frozenset[str]
    row: Region | None

    def connect(self) -> Connection:
        return Connection(
            Client(self.url), self.account.repository, Login(self.account), self.may_redirect
        )

    def may_redirect(self, host: str) -> bool:
        """RULES 15: whether a registry may send a read to that "host[:port]"."""
        return host in self.redirects or (self.row is not None and self.row.serves("s3", host))


def read_uri(uri: Uri, base: Path, region: str | None) -> Reference:
    """Raises ConfigError, reasons "bad-uri", "bad-endpoint"; ResidencyMismatch, "store-elsewhere",
    where the host itself names another region than the zone's."""
    rest, mark, query = uri.rest.partition("?")
    options = _options(query) if mark else {}
    host, _, repository = rest.partition("/")
    if not is_repository(repository):
        other = repository.replace("@", ":").split(":", 1)[0]
        if is_repository(other):
            _refuse(
                f"{repository[:300]!r} names one image, and not a repository",
                f"write oci://{host}/{other}; releases get their tags from their names",
            )
        _refuse(f"{repository[:300]!r} is not a repository's name")
    found = split_url(f"https://{host}")
    if found is None or not found[1]:
        _refuse(f"{host[:300]!r} is not a host")
    url = origin(f"{'http' if is_loopback(found[1]) else 'https'}://{host}", what="store")
    if region is not None:
        refuse_elsewhere(found[1], region)
    auth = options.get("auth")
    return Reference(
        url=url,
        account=Account(
            host=url.partition("://")[2],
            repository=repository,
            file=None if auth is None else base / auth,
            tokens=_hosts(options, "token"),
        ),
        immutable="tags" in options,
        redirects=_hosts(options, "redirects"),
        row=lookup(region) if region and not region.startswith(f"{DECLARED}:") else None,
    )


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query or "?", keep_blank_values=True, strict_parsing=True, max_num_fields=8
        )
    except ValueError:
        _refuse("what follows ? is not NAME=VALUE")
    options = dict(pairs)
    strange = sorted(set(options) - set(_OPTIONS))
    if strange or len(options) != len(pairs):
        _refuse(
            f"it has an option {strange[0][:40]!r}" if strange else "it has an option twice",
            f"the options are {', '.join(_OPTIONS)}, each once",
        )
    if options.get("tags", "immutable") != "immutable":
        _refuse("tags= can only say immutable", "write ?tags=immutable, or leave it out")
    return options


def _hosts(options: dict[str, str], name: str) -> frozenset[str]:
    """Hosts, "name[:port]", between commas."""
    hosts = options.get(name, "").lower().split(",") if name in options else []
    for host in hosts:
        try:
            origin(f"https://{host}", what="store")
        except ConfigError:
            _refuse(
                f"{name}= names {host[:200]!r}, which is not a host",
                f"write ?{name}=HOST, with commas between several",
            )
    return frozenset(hosts)


def _refuse(why: str, fix: str = f"write {_FORM}") -> NoReturn:
    raise ConfigError("the URI of the registry cannot be used", why=why, fix=fix, reason="bad-uri")
