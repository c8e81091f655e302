"""Opens clients of AWS's SDK that cannot be led elsewhere.

What keys and stores that speak AWS's protocols stand on. Imports the SDK inside its functions; each
client goes to one endpoint, follows no redirect, and takes no endpoint from its surroundings.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sovgate.clouds import endpoints
from sovgate.clouds.aws import answers, body, credentials, environ, sdk
from sovgate.clouds.aws.errors import explain
from sovgate.errors import ConfigError, ResidencyMismatch, SovgateError
from sovgate.records import GRADE
from sovgate.transport import authority, proxies
from sovgate.uri import is_loopback

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
_ELSEWHERE = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "IllegalLocationConstraintException",
}


#: Options of a URI that all of these have: name -> (pattern, what it is).
OPTIONS = {
    "profile": (r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a profile of ~/.aws/config"),
    "account": (r"[0-9]{12}", "twelve digits"),
}
_PROFILE = re.compile(OPTIONS["profile"][0], re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Endpoint(endpoints.Endpoint):
    """`region` is what requests are signed for, "eusc-de-east-1"."""

    region: str


def endpoint(service: str, region: str | None, custom: str | None, *, what: str) -> Endpoint:
    """As `endpoints.endpoint`; no front door that leads to many regions (RULES 15)."""
    place = endpoints.endpoint(service, region, custom, what=what)
    if custom is not None:
        _refuse_front_door(place.url, what)
    signed = place.declared.region if place.declared is not None else "us-east-1"
    return Endpoint(**vars(place), region=signed)


def _refuse_front_door(url: str, what: str) -> None:
    """Raises ConfigError for a global, accelerated or multi-Region one."""
    host = urlsplit(url).hostname or ""
    if (
        set(re.split(r"[.-]", host)) & {"accelerate", "accesspoint", "mrap", "website"}
        or "s3-global" in host
        or (re.fullmatch(r"(s3|kms)\.(amazonaws\.(com|eu|com\.cn))", host))
    ):
        raise ConfigError(
            f"the endpoint of the {what} cannot be used",
            why="it leads to no one region",
            fix="write https://HOST[:PORT]",
            reason="bad-endpoint",
        )


@dataclass(frozen=True, kw_only=True)
class Client:
    """An SDK client, and how well its answers about places are known (records.GRADE)."""

    sdk: Any
    grade: int


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
    botocore = sdk.botocore(service)
    try:
        session = botocore.session.Session(profile=profile)
        session.register_component("data_loader", sdk.loader())
        # Also for the clients that fetch credentials: they too ask one endpoint of that region.
        for name, value in {**_ONE_ENDPOINT, "region": place.region}.items():
            session.set_config_variable(name, value)
        default = botocore.httpsession.get_cert_path(True)
        roots = authority.bundle(Path(default))
        way = {"https": proxy} if (proxy := proxies.named()) is not None else {}
        # For those clients too, so that none takes what the environment names (RULES 36).
        session.set_config_variable("ca_bundle", str(roots or default))
        session.set_default_client_config(botocore.config.Config(proxies=way))
        given = environ.credentials(place.provider) if place.provider else None
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
            # Who asks for keys tries again by itself, the same for every key service.
            retries={
                "mode": "standard",
                "total_max_attempts": 1 if service == "kms" else ATTEMPTS,
            },
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
        opened = session.create_client(
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
    body.patient(http, READ_TIMEOUT)
    opened.meta.events.register_first(f"before-send.{service}", answers.bounded(http))
    opened.meta.events.register_first(f"needs-retry.{service}", _no_redirects(place))
    known = place.catalogued and not roots and not way
    return Client(sdk=opened, grade=GRADE["api" if known else "declared"])


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
