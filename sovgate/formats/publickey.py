"""A zone's signed word on one of its keys: the public half, where the key is, and since when.

Predicate `https://sovgate.dev/public-key/v0`, in a bundle. It takes the place of a PEM file, which
says neither whose it is nor where it came from. No I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sovgate import strict, uri
from sovgate.errors import ConfigError, Malformed, VerificationFailed
from sovgate.formats import wrap
from sovgate.formats._common import PROVIDER_REGION, read_zone
from sovgate.formats.bundle import Bundle
from sovgate.formats.spki import PublicKey
from sovgate.formats.statement import PREDICATE_TYPES, Statement

ROLE = "public-key"
#: The name of such a file ends so, and that of no other key's file does: a project that names one
#: takes nothing else there.
SUFFIX = ".json"
USES = ("sign", "encrypt")
#: A file is no larger; a reader of keys takes no more than this either.
MAX_BYTES = 64 * 1024
MAX_FACTS = 32
#: SubjectPublicKeyInfo of the hybrid has 1,240 bytes.
_MAX_SPKI = 8 * 1024
_NAME = re.compile(r"[a-z][a-z0-9 -]{0,63}", re.ASCII)
#: What a service says of its key: a line, without what would move a terminal's cursor.
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,512}")


class UnbelievedKeyError(VerificationFailed):
    """An exported key that is not what it should be. Unlike a slip in a project file it is 11."""

    default_reason = "public-key"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the private half is.

    uri      as the zone's project names it, without how one logs in there
    name     as the service itself calls the key; None for a file
    version  as the service calls it; None where it has none
    region   "provider:region", or None; grade: how well it is known (records.GRADE)
    facts    what the service says of how the key is kept, for people: (name, value)
    """

    uri: str
    name: str | None
    version: str | None
    region: str | None
    grade: int
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ZonePublicKey:
    """`use` is "sign" or "encrypt"; `made` is when the service was asked."""

    zone: str
    use: str
    key: PublicKey
    source: Source
    made: datetime

    @property
    def algorithm(self) -> str:
        """With what it is used: of a key to encrypt the wrapping, whose name pins the KEM."""
        if self.use == "sign":
            return self.key.algorithm
        rsa = self.key.algorithm.startswith("rsa-")
        return wrap.RSA_ALGORITHM if rsa else wrap.HPKE[self.key.algorithm]

    @property
    def fits(self) -> bool:
        """Whether a key of its kind has that use here."""
        if self.use == "sign":
            return self.key.can_verify
        return self.key.algorithm.startswith("rsa-") or self.key.algorithm in wrap.HPKE

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """What it says beside the key, for people: (name, value)."""
        source = self.source
        return (
            ("zone", f"{self.zone}, to {self.use}"),
            ("algorithm", self.algorithm),
            ("from", source.uri),
            *((("version", source.version),) if source.version is not None else ()),
            *((name, value) for name, value in source.facts if name != "version"),
            ("made", strict.format_time(self.made)),
        )

    def predicate(self) -> dict[str, strict.JSON]:
        source = self.source
        return {
            "zone": self.zone,
            "use": self.use,
            "algorithm": self.algorithm,
            "public-key": strict.b64encode(self.key.der),
            "source": {
                "uri": source.uri,
                "name": source.name,
                "version": source.version,
                "location": {"value": source.region, "grade": source.grade},
                "facts": [{"name": name, "value": value} for name, value in source.facts],
            },
            "made": strict.format_time(self.made),
        }

    def statement(self) -> Statement:
        """About the zone, by the key's identifier."""
        return Statement(
            subject_name=self.zone,
            subject_sha256=self.key.key_id,
            predicate_type=PREDICATE_TYPES[ROLE],
            predicate=self.predicate(),
        )

    @classmethod
    def parse(cls, predicate: strict.JSON, *, name: str, manifest: str) -> ZonePublicKey:
        """The predicate of a statement about `name`, a zone, and the SHA-256 of its key.

        Raises Malformed.
        """
        fields = strict.Fields(predicate, "public-key")
        use = fields.text("use")
        if use not in USES:
            raise Malformed(f"public-key.use is {use[:40]!r}, not one of {USES}")
        found = cls(
            zone=read_zone(fields, "zone"),
            use=use,
            key=PublicKey.from_der(fields.base64("public-key", max_bytes=_MAX_SPKI)),
            source=_source(fields.object("source")),
            made=fields.time("made"),
        )
        if not found.fits:
            raise Malformed(f"a key of kind {found.key.algorithm} cannot {use}")
        fields.exactly("algorithm", found.algorithm)
        fields.done()
        if (found.zone, found.key.key_id) != (name, manifest):
            raise Malformed("the statement's subject is not its zone and key")
        return found


def _source(fields: strict.Fields) -> Source:
    place = fields.object("location")
    source = Source(
        uri=fields.text("uri", max_length=uri.MAX_LENGTH),
        name=fields.nullable("name", lambda f: fields.text(f, pattern=_LINE)),
        version=fields.nullable("version", lambda f: fields.text(f, pattern=_LINE)),
        region=place.nullable("value", lambda f: place.text(f, pattern=PROVIDER_REGION)),
        grade=place.integer("grade", most=3),
        facts=tuple(_fact(one) for one in fields.objects("facts", most=MAX_FACTS)),
    )
    place.done()
    fields.done()
    try:
        uri.parse(source.uri, what="key")
    except ConfigError as error:
        raise Malformed(error.what, why=error.why) from None
    return source


def _fact(fields: strict.Fields) -> tuple[str, str]:
    found = fields.text("name", pattern=_NAME), fields.text("value", pattern=_LINE)
    fields.done()
    return found


def looks_like(data: bytes) -> bool:
    """Whether a key's file may be one of these: a PEM file begins with anything but a brace."""
    return data.lstrip()[:1] == b"{" and b'"dsseEnvelope"' in data


def read(data: bytes) -> tuple[Bundle, ZonePublicKey] | None:
    """What a file says, whoever signed it. None for a bundle of another role.

    Raises Malformed, for what is not spelt as we spell it too (RULES 43).
    """
    bundle = Bundle.parse(data)
    statement = Statement.parse(bundle.payload)
    if statement.role != ROLE:
        return None
    if not statement.is_canonical(bundle.payload):
        raise Malformed("the statement is not in its canonical form", reason="not-canonical")
    found = ZonePublicKey.parse(
        statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
    )
    return bundle, found


def in_file(data: bytes, path: str) -> tuple[Bundle, ZonePublicKey] | None:
    """As `read`, of the key's file of this name; None for a key that is no such statement.

    The name stands in the project, and says which it is: else whoever replaces the file could have
    a PEM of theirs believed, which nobody signed. Raises UnbelievedKeyError.
    """
    named, is_one = path.endswith(SUFFIX), looks_like(data)
    if named and not is_one:
        raise UnbelievedKeyError(
            f"{path} is not what `sovgate keys export` writes",
            why=f"its name ends in {SUFFIX}, and nobody signed what is in it",
            fix="get the file again from its zone; to name a PEM file, rename it to NAME.pub.pem",
            reason="wrong-name",
        )
    if is_one and not named:
        raise UnbelievedKeyError(
            f"{path} is an exported key, and its name does not end in {SUFFIX}",
            why="under another name a PEM file, which nobody signed, would be taken in its place",
            fix=f"rename it to NAME{SUFFIX}, and name that",
            reason="wrong-name",
        )
    try:
        found = read(data) if is_one else None
    except VerificationFailed as error:
        raise UnbelievedKeyError(
            f"{path} is not what `sovgate keys export` writes",
            why=f"{error.what}{f': {error.why}' if error.why else ''}",
            fix="get the file again from its zone",
            reason=error.reason,
        ) from error
    if is_one and found is None:
        raise UnbelievedKeyError(
            f"{path} is a signed statement, and not one about a key",
            fix="name a file that `sovgate keys export` made, or a public PEM file",
            reason="wrong-role",
        )
    return found


def signed_by_itself(bundle: Bundle, found: ZonePublicKey, path: str) -> PublicKey:
    """A key to sign, which has to have signed its own file.

    Raises ConfigError, UnbelievedKeyError.
    """
    if found.use != "sign":
        raise ConfigError(
            f"{path} is the public half of a key to encrypt for zone {found.zone}",
            why="it verifies no signature, and whoever encrypts looks who signed it",
            fix="name it as encrypt-public: of that zone in sovgate.yaml",
            reason="unsupported-key-use",
        )
    _require_own_signature(bundle, found)
    return found.key


def _require_own_signature(bundle: Bundle, found: ZonePublicKey) -> None:
    """That a key to sign is told by itself: whoever wrote the file has its private half.

    Raises UnbelievedKeyError.
    """
    try:
        found.key.verify(bundle.signed_bytes, bundle.signature)
    except VerificationFailed as error:
        raise UnbelievedKeyError(
            f"the exported key of zone {found.zone} is not signed by itself",
            why=error.why,
            fix="get the file again from its zone",
            reason="bad-signature",
        ) from error
    if bundle.certificates:
        from sovgate.formats.x509 import leaf_key

        named = leaf_key(bundle.certificates).der == found.key.der
    else:
        named = bundle.hint in found.key.hints
    if not named:
        raise UnbelievedKeyError(
            "the bundle names a key other than the one that signed it",
            why=f"the signature is by {found.key.key_id[:16]}…",
            fix="get the file again from its zone",
            reason="wrong-hint",
        )
