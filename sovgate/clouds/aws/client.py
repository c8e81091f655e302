"""Opens clients of AWS's SDK that cannot be led elsewhere.

What keys and stores that speak AWS's protocols stand on. Imports boto3 inside its functions; each
client goes to one endpoint, follows no redirect, and takes no endpoint from its surroundings.
"""

from __future__ import annotations

import functools
import importlib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from sovgate.clouds.aws import answers, credentials, environ
from sovgate.clouds.aws.errors import explain
from sovgate.errors import ConfigError, ResidencyMismatch, SovgateError
from sovgate.records import GRADE
from sovgate.regions import DECLARED, Region, all_regions, lookup
from sovgate.transport import authority, proxies
from sovgate.uri import is_loopback, split_url

#: Seconds. Four attempts in all, with at most twenty seconds between two of them.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 5, 60, 4
#: Send what there is at once. An HTTP session of the SDK's that is made by hand sets no option, and
#: each small upload would wait some 40 ms for the acknowledgement of its own headers.
SOCKET_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_ONE_ENDPOINT = {
    "ignore_configured_endpoint_urls": True,
    "sts_regional_endpoints": "regional",
    "use_dualstack_endpoint": False,
    "use_fips_endpoint": False,
    "defaults_mode": "legacy",  # another one asks the metadata service where it runs
}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_ELSEWHERE = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "IllegalLocationConstraintException",
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a client goes.

    region     what requests are signed for, "eusc-de-east-1"
    declared   the row of the zone's region, if one was named
    catalogued whether `url` is that row's own endpoint, over TLS
    site       "declared:NAME", where the zone lies in a region that its project declares by itself
    """

    url: str
    region: str
    declared: Region | None
    catalogued: bool
    site: str | None = None


def split_options(text: str, allowed: set[str], *, what: str) -> tuple[str, dict[str, str]]:
    """`rest?name=value&…` -> rest, options. Raises ConfigError, reason "bad-uri"."""
    rest, mark, query = text.partition("?")
    if not mark:
        return rest, {}
    try:
        pairs = parse_qsl(query or "?", strict_parsing=True, max_num_fields=8)
    except ValueError as error:
        raise ConfigError(
            f"what follows ? in the {what} URI is not name=value",
            fix="write ?NAME=VALUE; the options are " + ", ".join(sorted(allowed)),
            reason="bad-uri",
        ) from error
    options = dict(pairs)
    strange = sorted(set(options) - allowed)
    if strange or len(options) != len(pairs):
        raise ConfigError(
            f"the {what} URI has an option {strange[0][:40]!r}"
            if strange
            else f"the {what} URI has an option twice",
            fix="the options are " + ", ".join(sorted(allowed)) + ", each once",
            reason="bad-uri",
        )
    for name, pattern, form in (
        ("profile", _PROFILE, "a profile of ~/.aws/config"),
        ("account", _ACCOUNT, "twelve digits"),
    ):
        if name in options and not pattern.fullmatch(options[name]):
            raise ConfigError(f"{name}= in the {what} URI is not {form}", reason="bad-uri")
    return rest, options


def custom_endpoint(url: str, *, what: str) -> str:
    """An endpoint that a person wrote, checked. Raises ConfigError.

    RULES 15: `http://` only to this machine; no global, accelerated or multi-Region front door.
    """

    def refuse(why: str) -> NoReturn:
        raise ConfigError(
            f"the endpoint of the {what} cannot be used",
            why=why,
            fix="write https://HOST[:PORT]",
            reason="bad-endpoint",
        )

    found = split_url(url)
    if found is None:
        refuse("it is not a URL")
    parts, host, port = found
    if parts.username is not None or parts.password is not None or "@" in url:
        raise ConfigError(
            f"the endpoint of the {what} carries credentials",
            fix="remove them from the URI",
            reason="secret-in-uri",
        )
    written = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(written) or parts.path not in ("", "/") or parts.query:
        refuse("it is not a URL of a host only")
    if parts.scheme not in ("https", "http"):
        refuse("it begins with neither https:// nor http://")
    if parts.scheme == "http" and not is_loopback(host):
        refuse("http:// can be read and changed by anyone on the way")
    words = set(re.split(r"[.-]", host))
    if (
        words & {"accelerate", "accesspoint", "mrap", "website"}
        or "s3-global" in host
        or (re.fullmatch(r"(s3|kms)\.(amazonaws\.(com|eu|com\.cn))", host))
    ):
        refuse("it leads to no one region")
    return f"{parts.scheme}://{written}" + (f":{port}" if port is not None else "")


def endpoint(
    service: str,
    region: str | None,
    custom: str | None,
    *,
    what: str,
    aws_region: str | None = None,
) -> Endpoint:
    """Where to go for a zone in `region` ("provider:region"), or to `custom`, which is checked.

    Raises ConfigError where neither says it: an endpoint is never guessed.
    """
    site = region if region is not None and region.startswith(f"{DECLARED}:") else None
    row = lookup(region) if region is not None and site is None else None
    if custom is not None:
        signed = aws_region or (row.region if row else "us-east-1")
        return Endpoint(
            url=custom_endpoint(custom, what=what),
            region=signed,
            declared=row,
            catalogued=False,
            site=site,
        )
    if site is not None:
        raise ConfigError(
            f"{site} has no {service} endpoint that the catalogue knows",
            why="the project declares this region by itself",
            fix=f"name it in the URI of the {what}: ?endpoint=https://HOST",
            reason="no-endpoint",
        )
    if row is None:
        raise ConfigError(
            f"the region of the {what} is not known",
            why="neither its URI nor a zone names it",
            fix="name the zone, or write the region into the URI",
            reason="no-region",
        )
    host = row.endpoint(service)
    if host is None:
        raise ConfigError(
            f"{row.id} has no {service} endpoint in the catalogue",
            fix=f"name it in the URI of the {what}; the location is then only declared",
            reason="no-endpoint",
        )
    return Endpoint(url=f"https://{host}", region=row.region, declared=row, catalogued=True)


def elsewhere(service: str, place: Endpoint) -> Region | None:
    """The catalogued region that a custom endpoint belongs to, if that is not the declared one."""
    if place.catalogued or (place.declared is None and place.site is None):
        return None
    host = urlsplit(place.url).hostname or ""
    owners = [row for row in all_regions() if row.serves(service, host)]
    return None if not owners or place.declared in owners else owners[0]


@dataclass(frozen=True, kw_only=True)
class Client:
    """An SDK client, and how well its answers about places are known (records.GRADE)."""

    sdk: Any
    grade: int


def _provider(place: Endpoint) -> str:
    """Whose credentials an endpoint gets; "" where nobody says what it belongs to."""
    if place.declared is not None:
        return place.declared.provider
    return DECLARED if place.site is not None else ""


def client(
    service: str,
    place: Endpoint,
    *,
    kind: type[SovgateError],
    profile: str | None = None,
    path_style: bool = True,
    connections: int = 10,
) -> Client:
    """A client for one endpoint.

    Credentials: the profile, if one is named; else PROVIDER_ACCESS_KEY_ID and its fellows (for
    aws-eusc AWS_EUSC_ACCESS_KEY_ID, AWS_EUSC_SECRET_ACCESS_KEY, AWS_EUSC_SESSION_TOKEN; for a site
    of the project's own DECLARED_ACCESS_KEY_ID …); else the SDK's own chain.
    Raises `kind`; ConfigError where the SDK's own settings would load code.
    """
    environ.refuse_leaks()
    boto3, botocore = _sdk(service)
    try:
        session = botocore.session.Session(profile=profile)
        # boto3 puts a folder of its own into the loader it finds; the one that counts comes after.
        opened = boto3.Session(botocore_session=session)
        session.register_component("data_loader", _loader())
        # Also for the clients that fetch credentials: they too ask one endpoint of that region.
        for name, value in {**_ONE_ENDPOINT, "region": place.region}.items():
            session.set_config_variable(name, value)
        default = botocore.httpsession.get_cert_path(True)
        roots = authority.bundle(Path(default))
        way = {"https": proxy} if (proxy := proxies.named()) is not None else {}
        # For those clients too, so that none takes what the environment names (RULES 36).
        session.set_config_variable("ca_bundle", str(roots or default))
        session.set_default_client_config(botocore.config.Config(proxies=way))
        given = environ.credentials(_provider(place)) if _provider(place) else None
        if given is not None and profile is None:
            session.set_credentials(*given)
        else:
            credentials.fetch(session, place.url, kind, profile=_profile(session))
        # This machine is never reached through another: http:// would then go over the network.
        here = is_loopback(urlsplit(place.url).hostname or "")
        config = botocore.config.Config(
            proxies={} if here else way,
            region_name=place.region,
            signature_version="s3v4" if service == "s3" else "v4",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=connections,
            ignore_configured_endpoint_urls=True,
            use_dualstack_endpoint=False,
            use_fips_endpoint=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path" if path_style else "virtual",
                "use_arn_region": False,
                "use_accelerate_endpoint": False,
                "us_east_1_regional_endpoint": "regional",
                # The SHA-256 of a body stands in a header of its own, which is signed: the SDK
                # would hash each body once more.
                "payload_signing_enabled": False,
            },
        )
        sdk = opened.client(
            service,
            region_name=place.region,
            endpoint_url=place.url,
            config=config,
            verify=str(roots) if roots else True,
        )
    except SovgateError:
        raise
    except (botocore.exceptions.BotoCoreError, ValueError, TypeError, AttributeError) as error:
        raise _unusable(error, place, kind) from error
    # What the grade says of proxies and roots is what this session is given, and no more.
    http = botocore.httpsession.URLLib3Session(
        verify=str(roots) if roots else True,
        proxies={} if here else way,
        timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
        max_pool_connections=connections,
        socket_options=list(SOCKET_OPTIONS),
    )
    sdk.meta.events.register_first(f"before-send.{service}", answers.bounded(http))
    sdk.meta.events.register_first(f"needs-retry.{service}", _no_redirects(place))
    known = place.catalogued and not roots and not way
    return Client(sdk=sdk, grade=GRADE["api" if known else "declared"])


def _profile(session: Any) -> str | None:
    """The profile in use, as a command line would name it."""
    name = str(session.profile or "")
    return name if _PROFILE.fullmatch(name) and name != "default" else None


def _unusable(error: Exception, place: Endpoint, kind: type[SovgateError]) -> SovgateError:
    """A client that could not be made. Nothing was asked yet: it is what is written down here."""
    name = type(error).__name__
    if "Credential" in name or name == "ProfileNotFound":
        return explain(error, f"open {place.url}", kind)
    told: dict[str, Any] = getattr(error, "kwargs", {})
    if name == "ConfigParseError" and told.get("path"):
        # Its cause would show the file's bytes, and a secret among them.
        text = not isinstance(told.get("error"), UnicodeError)
        return kind(
            f"could not open {place.url}",
            why=f"the SDK cannot read {str(told['path'])[:300]!r}: "
            + (
                "it is not each [PROFILE] once, with lines NAME = VALUE below it"
                if text
                else "it is not UTF-8"
            ),
            fix="write that file anew, as UTF-8 without a mark; `aws configure` writes it so",
            reason="aws-config",
        )
    return kind(
        f"could not open {place.url}",
        why=f"the SDK's own configuration cannot be used ({name})",
        fix="correct ~/.aws/config and the AWS_… variables of the environment",
        reason="aws-config",
    )


def _sdk(service: str) -> tuple[Any, Any]:
    """boto3 and the botocore below it. Raises ConfigError, reason "missing-package"."""
    try:
        boto3 = importlib.import_module("boto3")
        for name in ("config", "exceptions", "httpsession", "parsers", "session"):
            importlib.import_module(f"botocore.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{'an s3:// store' if service == 's3' else 'an awskms:// key'} needs a package that "
            "is not installed",
            why=str(error),
            fix="pip install 'sovgate[aws]'",
            reason="missing-package",
        ) from error
    return boto3, importlib.import_module("botocore")


@functools.cache
def _loader() -> Any:
    """Service models of the installed package alone, read once a process.

    AWS_DATA_PATH and ~/.aws/models could put others in their place.
    """
    loaders = importlib.import_module("botocore.loaders")
    built_in = [loaders.Loader.BUILTIN_DATA_PATH]
    return loaders.Loader(extra_search_paths=built_in, include_default_search_paths=False)


def _no_redirects(place: Endpoint) -> Callable[..., None]:
    """Runs before the SDK's own handler, which would follow (RULES 15)."""

    def refuse(response: Any = None, caught_exception: Any = None, **_: object) -> None:
        if "CERTIFICATE_VERIFY_FAILED" in str(caught_exception):
            raise caught_exception  # no second try makes a CA known
        if response is None:
            return
        http, parsed = response
        error = parsed.get("Error", {})
        headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        there = error.get("Region") or headers.get("x-amz-bucket-region")
        code = str(error.get("Code"))
        moved = http.status_code in (301, 302, 303, 307, 308) or code in _ELSEWHERE
        if moved or (http.status_code >= 400 and there and there != place.region):
            raise ResidencyMismatch(
                f"{place.url} redirects to another place",
                why=f"it says that this is in {str(there)[:80]!r}, not in {place.region!r}"
                if there
                else f"it answered with a redirect ({http.status_code})",
                fix="name the region where it really is, and check that policy allows it",
                reason="redirected",
            )

    return refuse
