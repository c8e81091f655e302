"""Sigstore's trusted root file: the logs and authorities of an instance. Bytes -> records, no I/O.

One JSON document, or several, one a line, as `gh attestation trusted-root` writes them. `spelled`
writes anew the parts of an instance that one bundle needs, for the library that judges it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sovgate import strict
from sovgate.errors import DOCS, Malformed
from sovgate.formats.bundle import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES

MAX_BYTES = 1024 * 1024
MAX_INSTANCES = 16
#: Logs, or authorities of one kind, that an instance names: one for each time that it had.
MAX_NAMED = 64
MAX_KEY_BYTES = 16 * 1024

MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
#: How the same format is spelled since.
_MEDIA_TYPES = (
    MEDIA_TYPE,
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
)
_CLIENT = "application/vnd.dev.sigstore.clienttrustconfig"
_SIGNING = "application/vnd.dev.sigstore.signingconfig"

_DETAILS = re.compile(
    r"PKIX_ECDSA_P(256_SHA_256|384_SHA_384|521_SHA_512)|PKIX_ED25519"
    r"|PKCS1_RSA_PKCS1V5|PKIX_RSA_PKCS1V15_(2048|3072|4096)_SHA256",
    re.ASCII,
)
#: Protobuf's JSON writes none to nine digits of a second.
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?Z", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Span:
    """From when to when something spoke for its instance; `end` None: it still does."""

    start: datetime
    end: datetime | None

    def holds(self, when: datetime) -> bool:
        return self.start <= when and (self.end is None or when <= self.end)


@dataclass(frozen=True, kw_only=True)
class Log:
    """A transparency log, of signatures or of certificates. `id` is what entries know it by."""

    id: bytes
    key: bytes
    details: str
    url: str
    span: Span


@dataclass(frozen=True, kw_only=True)
class Authority:
    """An authority's certificates, DER, the root last."""

    chain: tuple[bytes, ...]
    span: Span


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One Sigstore: what may vouch together. Nothing of two instances is ever mixed."""

    logs: tuple[Log, ...]
    issuers: tuple[Authority, ...]
    certificate_logs: tuple[Log, ...]
    timestampers: tuple[Authority, ...]


@dataclass(frozen=True, kw_only=True)
class TrustedRoot:
    """`sha256` is of the file's bytes, lower-case hex."""

    instances: tuple[Instance, ...]
    sha256: str

    @property
    def logs(self) -> frozenset[bytes]:
        """The ids of all logs of signatures."""
        return frozenset(log.id for one in self.instances for log in one.logs)


def parse(data: bytes) -> TrustedRoot:
    """Raises Malformed, reason "bad-trusted-root", with a fix."""
    try:
        if len(data) > MAX_BYTES:
            raise Malformed(f"it has {len(data)} bytes, more than the {MAX_BYTES} allowed")
        instances = tuple(_instance(one) for one in _documents(data))
        if not any(one.logs for one in instances):
            raise Malformed(
                "it names no transparency log",
                fix="name a trusted root with a log: GitHub's own instance, for private "
                "repositories, has none, and what it signs is not verified here",
            )
    except Malformed as error:
        raise Malformed(
            "not a trusted root of Sigstore",
            why=": ".join(text for text in (error.what, error.why) if text)[:400],
            fix=error.fix
            or f"get the file again from whoever runs the instance ({DOCS}/keyless.md)",
            reason="bad-trusted-root",
        ) from error
    return TrustedRoot(instances=instances, sha256=hashlib.sha256(data).hexdigest())


def require_readable(root: TrustedRoot) -> None:
    """That its certificates and keys are some: one that cannot be read would vouch for nothing, and
    be found when something is verified. Raises Malformed, reason "bad-trusted-root"."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    from sovgate.formats import x509

    for instance in root.instances:
        try:
            for authority in (*instance.issuers, *instance.timestampers):
                for der in authority.chain:
                    x509.validity((der,))
            for log in (*instance.logs, *instance.certificate_logs):
                load_der_public_key(log.key)
        except (Malformed, ValueError, UnsupportedAlgorithm) as error:
            raise Malformed(
                "not a trusted root of Sigstore",
                why=f"a certificate or a key in it cannot be read: {error}"[:300],
                fix=f"get the file again from whoever runs the instance ({DOCS}/keyless.md)",
                reason="bad-trusted-root",
            ) from error


def _documents(data: bytes) -> list[strict.JSON]:
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.strip().startswith(b'{"') for line in lines):
        return [strict.loads(data)]
    if len(lines) > MAX_INSTANCES:
        raise Malformed(f"it has {len(lines)} documents, more than the {MAX_INSTANCES} allowed")
    return [strict.loads(line) for line in lines]


def _instance(value: strict.JSON) -> Instance:
    fields = strict.Fields(value, "trusted root")
    if fields.has("signed") and fields.has("signatures"):
        raise Malformed(
            "it is a metadata file of TUF, which says who may change the trusted root",
            fix="name the target that it leads to, trusted_root.json",
        )
    media = fields.text("mediaType", max_length=128)
    if media not in _MEDIA_TYPES:
        raise Malformed(f"its mediaType is {media[:80]!r}, not {MEDIA_TYPE!r}", fix=_other(media))
    made = Instance(
        logs=_each(fields, "tlogs", _log),
        issuers=_each(fields, "certificateAuthorities", _authority),
        certificate_logs=_each(fields, "ctlogs", _log),
        timestampers=_each(fields, "timestampAuthorities", _authority),
    )
    fields.done()
    if not made.issuers:
        raise Malformed("it names no certificate authority")
    return made


def _other(media: str) -> str | None:
    if media.startswith(_CLIENT):
        return (
            "name the trusted root in it as a file of its own: jq .trustedRoot FILE > "
            "trusted_root.json"
        )
    if media.startswith(_SIGNING):
        return "name the instance's trusted root; this file says where to sign, not whom to believe"
    return None


def _each(fields: strict.Fields, name: str, read: Callable[[strict.Fields], T]) -> tuple[T, ...]:
    if not fields.has(name):
        return ()
    return tuple(read(one) for one in fields.objects(name, most=MAX_NAMED))


def _log(fields: strict.Fields) -> Log:
    url = fields.text("baseUrl", max_length=512) if fields.has("baseUrl") else ""
    fields.exactly("hashAlgorithm", "SHA2_256")
    key, known = fields.object("publicKey"), fields.object("logId")
    made = Log(
        id=known.base64("keyId", max_bytes=64),
        key=key.base64("rawBytes", max_bytes=MAX_KEY_BYTES),
        details=key.text("keyDetails", pattern=_DETAILS),
        url=url,
        span=parse_span(key),
    )
    for name in ("checkpointKeyId", "operator"):
        if fields.has(name):
            fields.raw(name)
    for holder in (key, known, fields):
        holder.done()
    return made


def _authority(fields: strict.Fields) -> Authority:
    for name in ("subject", "uri", "operator"):  # for people; the certificates say it
        if fields.has(name):
            fields.raw(name)
    holder = fields.object("certChain")
    chain = []
    for one in holder.objects("certificates", most=MAX_CERTIFICATES):
        chain.append(one.base64("rawBytes", max_bytes=MAX_CERTIFICATE_BYTES))
        one.done()
    made = Authority(chain=tuple(chain), span=parse_span(fields))
    holder.done()
    fields.done()
    if not made.chain:
        raise Malformed(f"{fields.path} has no certificate")
    return made


def parse_span(fields: strict.Fields) -> Span:
    """Its `validFor`. Raises Malformed."""
    span = fields.object("validFor")
    made = Span(
        start=_time(span.text("start", max_length=40)),
        end=_time(span.text("end", max_length=40)) if span.has("end") else None,
    )
    span.done()
    return made


def _time(text: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed(f"{text[:40]!r} is not a time")
    whole = strict.parse_time(f"{match[1]}Z")
    return whole.replace(microsecond=int((match[2] or "0").ljust(9, "0")[:6]))


def spelled(instance: Instance) -> bytes:
    """A ClientTrustConfig whose trusted root is this instance: JSON, as the library reads it."""
    root: dict[str, strict.JSON] = {
        "mediaType": MEDIA_TYPE,
        "tlogs": [_log_json(log) for log in instance.logs],
        "certificateAuthorities": [_authority_json(one) for one in instance.issuers],
        "ctlogs": [_log_json(log) for log in instance.certificate_logs],
        "timestampAuthorities": [_authority_json(one) for one in instance.timestampers],
    }
    signing: strict.JSON = {
        "mediaType": f"{_SIGNING}.v0.2+json",
        "caUrls": [],
        "oidcUrls": [],
        "rekorTlogUrls": [],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [],
        "tsaConfig": {"selector": "ANY"},
    }
    return strict.canonical(
        {"mediaType": f"{_CLIENT}.v0.1+json", "trustedRoot": root, "signingConfig": signing}
    )


def _log_json(log: Log) -> strict.JSON:
    return {
        "baseUrl": log.url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": strict.b64encode(log.key),
            "keyDetails": log.details,
            "validFor": _span_json(log.span),
        },
        "logId": {"keyId": strict.b64encode(log.id)},
    }


def _authority_json(authority: Authority) -> strict.JSON:
    chain = [{"rawBytes": strict.b64encode(der)} for der in authority.chain]
    return {
        "subject": {"organization": "", "commonName": ""},
        "uri": "",
        "certChain": {"certificates": chain},
        "validFor": _span_json(authority.span),
    }


def _span_json(span: Span) -> strict.JSON:
    ends = {"start": span.start} | ({"end": span.end} if span.end is not None else {})
    return {name: when.astimezone(UTC).isoformat() for name, when in ends.items()}


def named(instances: Sequence[Instance], log: bytes) -> list[tuple[Instance, Log]]:
    """Those that have the log of this id, each with it."""
    return [(one, own) for one in instances for own in one.logs if own.id == log]
