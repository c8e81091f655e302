"""URIs of keys and stores, taken apart. Ground floor: no I/O, and no secret ever in a URI.

A bare path is a file. What the rest of a URI means is the adapter's affair; here only the scheme
is split off and what no URI may hold (credentials, control characters) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

#: In capital letters it is none that is served, and no beginning of a path either.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+-]{1,31}):(?!\\)", re.ASCII)
_ARN = re.compile(r"arn:[a-z-]{1,32}:(?:(kms):|s3:::(?=.))", re.ASCII)
#: In a PKCS#11 URI, however its name is spelt: what is refused is not repeated in an error.
_PIN = re.compile(r"pin[-_]?value|(?:^|[;?&])pin=", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_LENGTH = 2048
#: Of a host: a name, and the last part of what a resolver takes for an address.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Schemes that name a file or a token's object, where `@` is a letter like others.
_PATHS = ("file", "pkcs11", "sigstore")
#: Schemes that others use, or that docs name, and that no adapter of this version serves.
WITHOUT_ADAPTER = {
    "abfs": "Azure Data Lake Storage",
    "abfss": "Azure Data Lake Storage",
    "azblob": "Azure Blob Storage",
    "gcs": "Google Cloud Storage",
    "https": "a web server",
    "k8s": "Kubernetes Secrets",
    "wasbs": "Azure Blob Storage",
}

#: What a URI of the scheme names, for who wrote nothing after it.
_NAMES = {"sigstore": "sigstore:SIGNING_CONFIG?trusted-root=FILE"}

#: What `init` writes where a key's account and id belong. No ARN can hold either.
_PLACEHOLDERS = re.compile(r":ACCOUNT:|[:/]KEY-ID(?![A-Za-z0-9-])", re.ASCII)


def a_key(scheme: str) -> str:
    """ "an openbao key"."""
    return f"{'an' if scheme.startswith(tuple('aeio')) else 'a'} {scheme} key"


def kms_placeholder(partition: str, region: str) -> str:
    """A KMS key's URI as `init` writes it: its place is right, account and id are missing."""
    return f"awskms:///arn:{partition}:kms:{region}:ACCOUNT:key/KEY-ID"


def is_placeholder(text: str) -> bool:
    """Whether a key's URI still has what `init` wrote in the place of an account or an id."""
    return text.startswith("awskms:") and _PLACEHOLDERS.search(text) is not None


def placeholder_refusal(text: str) -> ConfigError:
    """What is said of a placeholder by all that would use it."""
    return ConfigError(
        f"{text[:200]!r} is a placeholder, and no key",
        why="ACCOUNT or KEY-ID in it is not filled in yet",
        fix="make a key in that region's KMS, and write its ARN after awskms:/// in sovgate.yaml",
        reason="placeholder-key",
    )


@dataclass(frozen=True, kw_only=True)
class Uri:
    """`scheme` and the `rest` after `scheme:` or `scheme://`."""

    scheme: str
    rest: str
    text: str

    def __str__(self) -> str:
        return self.text


def parse(text: str, *, what: str) -> Uri:
    """Split a key or store URI; `what` names it in errors ("key", "store").

    Raises ConfigError on credentials in the text, control characters, excess length, empty text.
    The offending text is not repeated where it may hold a secret.
    """
    if not text or len(text) > MAX_LENGTH:
        raise ConfigError(
            f"the {what} URI is empty or longer than {MAX_LENGTH}",
            fix="name it, e.g. file:PATH",
            reason="bad-uri",
        )
    if _CONTROL.search(text):
        raise ConfigError(f"the {what} URI holds control characters", reason="bad-uri")
    if arn := _ARN.match(text):
        named = f"awskms:///{text}" if arn[1] == "kms" else f"s3://{text[arn.end() :]}"
        raise ConfigError(
            f"the {what} URI is an ARN alone",
            why="what it names is told by a scheme in front of it",
            fix=f"write {named[:300]}",
            reason="bad-uri",
        )
    match = _SCHEME.match(text)
    if match is None and "://" in text and not text.startswith("./"):
        # A slip in the scheme must not make a folder of that name on this machine.
        raise ConfigError(
            f"what is before :// in the {what} URI is not a scheme",
            why="a scheme has small letters only, and nothing stands before it",
            fix="write s3://…, awskms://… or file://…; ./PATH for a path that holds ://",
            reason="bad-uri",
        )
    if match is None:
        return Uri(scheme="file", rest=text, text=text)
    scheme, rest = match.group(1), text[match.end() :].removeprefix("//")
    authority, folded = rest.split("/", 1)[0], scheme.lower()
    if folded not in _PATHS and "@" in authority:
        raise ConfigError(
            f"the {what} URI carries credentials",
            why=f"{scheme}://…@… would leak into logs",
            fix="remove them from the URI; set the service's own environment variables",
            reason="secret-in-uri",
        )
    if folded == "pkcs11" and _has_pin(rest):
        raise ConfigError(
            f"the {what} URI carries a PIN",
            fix="use pin-source=file:… instead of pin-value",
            reason="secret-in-uri",
        )
    if not rest:
        raise ConfigError(
            f"the {what} URI {text!r} names nothing",
            fix=f"write what it names after {scheme}:, as in {_NAMES.get(scheme, 'file:PATH')}",
            reason="bad-uri",
        )
    return Uri(scheme=scheme, rest=rest, text=text)


def _has_pin(rest: str) -> bool:
    from urllib.parse import unquote

    return _PIN.search(unquote(rest)) is not None


def unserved(scheme: str, *, what: str, known: Iterable[str], fix: str) -> ConfigError:
    """The error for a URI whose scheme no adapter of ours serves. `fix`: for an unknown scheme."""
    service = WITHOUT_ADAPTER.get(scheme)
    schemes = ", ".join(f"{name}:" for name in sorted(known))
    if service is None:
        return ConfigError(
            f"no {what} adapter knows the scheme {scheme!r}",
            why=f"the known schemes are {schemes}",
            fix=fix,
            reason="unknown-scheme",
        )
    return ConfigError(
        f"this version of sovgate has no {what} adapter for {scheme}: ({service})",
        why=f"it has adapters for {schemes} and no package adds another",
        fix=f"name a {what} of one of these",
        reason="no-adapter",
    )


#: Where clouds tell a machine of itself: no router passes this address on.
METADATA = "169.254.169.254"


def is_loopback(host: str) -> bool:
    """Whether a host name without its port is this machine."""
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_url(text: str) -> tuple[SplitResult, str, int | None] | None:
    """A URL, its host in its one spelling, and its port; None where it is no URL.

    The library's own error quotes what may be a password, and -v would show it (RULES 29).
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    spelt = one_host(host) if host else ""
    return None if spelt is None else (parts, spelt, port)


def one_host(host: str) -> str | None:
    """The one spelling of a host: small letters, IPv6 in its short form without brackets.

    None for what is none, and for an IPv4 address written in another way than as four decimal
    numbers (`127.1`, `0x7f.1`, `017700000001`): readers differ on which machine that is.
    """
    import ipaddress

    folded = host.lower()
    try:
        if ":" in folded:
            found = ipaddress.IPv6Address(folded)
            mapped = found.ipv4_mapped is not None or found.scope_id is not None
            return None if mapped else found.compressed
        if _NUMBER.fullmatch(folded.rpartition(".")[2]):
            return str(ipaddress.IPv4Address(folded))
    except ValueError:
        return None
    return folded if len(folded) <= 253 and _NAME.fullmatch(folded) else None
