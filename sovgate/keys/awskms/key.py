"""One key in AWS KMS: found by its URI, pinned by its ARN, and asked. Talks to one KMS endpoint.

RULES 10: later calls name the ARN, and the ARN of each answer is compared.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from sovgate import key_settings
from sovgate.clouds.aws import answers
from sovgate.clouds.aws import client as aws
from sovgate.clouds.aws.errors import explain
from sovgate.errors import (
    ConfigError,
    KeyServiceError,
    ResidencyMismatch,
    SovgateError,
)
from sovgate.key_settings import refuse_other_address
from sovgate.keys._answers import (
    another,
    bad_answer,
    cannot,
    damaged,
    disabled,
    elsewhere,
    no_such_key,
    patiently,
    taken,
    timed_out,
)
from sovgate.keys._crypto import Held, public_from
from sovgate.records import GRADE
from sovgate.regions import DECLARED, Region, all_regions, lookup
from sovgate.uri import Uri, is_loopback, is_placeholder, placeholder_refusal

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

_ID = r"key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,250}"
_ARN = re.compile(
    rf"arn:(aws[a-z0-9-]{{0,20}}):kms:([a-z0-9-]{{1,40}}):([0-9]{{12}}):({_ID})", re.ASCII
)
_BARE = re.compile(r"(alias/[A-Za-z0-9/_-]{1,250})|((?:mrk-)?[0-9a-f-]{32,36})", re.ASCII)
#: Variables by which AWS's own programs would ask KMS elsewhere.
_ADDRESSES = ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL")
#: Something came, and it is no answer: to ask again would bring the same.
_UNREAD = ("BadAnswer", "ResponseParserError")
_TIMEOUTS = ("ReadTimeoutError", "ConnectTimeoutError")
SIGNING = {
    "ecdsa-p256-sha256": ("ECC_NIST_P256", "ECDSA_SHA_256"),
    "ecdsa-p384-sha384": ("ECC_NIST_P384", "ECDSA_SHA_384"),
    "ecdsa-p521-sha512": ("ECC_NIST_P521", "ECDSA_SHA_512"),
}


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a URI says: the key as KMS takes it, where, and in which account (None: any)."""

    name: str
    place: aws.Endpoint
    row: Region
    account: str | None
    profile: str | None

    @property
    def canonical(self) -> str:
        """One spelling for all URIs of a key, as far as they tell it. An id is given once in the
        world, and the copies of a multi-Region key share it; an alias is its account's own."""
        what = self.name.rpartition(":")[2]
        partition, region = self.row.partition, self.row.region
        if what.startswith("alias/"):
            whose = self.account or f"{self.place.url}:{self.profile or ''}"
            return f"awskms:{partition}:{region}:{whose}:{what}"
        key = what.removeprefix("key/").lower()
        return f"awskms:{partition}:{'' if key.startswith('mrk-') else region}:{key}"


def parse_uri(uri: Uri, region: str | None) -> Named:
    if is_placeholder(uri.text):
        raise placeholder_refusal(uri.text)
    rest, options = key_settings.split(uri)
    host, slash, name = rest.partition("/")
    arn = _ARN.fullmatch(name)
    if not slash or host.startswith("arn:") or not (arn or _BARE.fullmatch(name)):
        raise ConfigError(
            f"{uri.text[:200]!r} names no KMS key",
            fix="write awskms:///arn:PARTITION:kms:REGION:ACCOUNT:key/ID, or alias/NAME for key/ID",
            reason="bad-uri",
        )
    account = options.get("account")
    written = options.get("region")
    row = lookup(written) if written is not None else None
    if arn is not None:
        row = _row(arn.group(1), arn.group(2))
        if written not in (None, row.id) or account not in (None, arn.group(3)):
            raise ConfigError(
                f"{uri.text[:200]!r} contradicts itself",
                fix="write the ARN alone",
                reason="bad-uri",
            )
        account = arn.group(3)
    if row is None and region is not None and not region.startswith(f"{DECLARED}:"):
        row = lookup(region)
    if row is None:
        raise ConfigError(
            f"the region of {uri.text[:200]!r} is not known",
            why="neither an ARN nor a zone names it, and sovgate does not guess",
            fix="write the ARN, or add ?region=aws:eu-central-1",
            reason="no-region",
        )
    if region is not None and row.id != region:
        raise _outside(uri.text, row.id, region)
    custom = None
    if host:
        bare = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
        custom = f"{'http' if is_loopback(bare) else 'https'}://{host}"
    place = aws.endpoint("kms", row.id, custom, what="key")
    other = place.other("kms")
    if other is not None:
        raise _outside(uri.text, other.id, row.id)
    return Named(name=name, place=place, row=row, account=account, profile=options.get("profile"))


def _row(partition: str, region: str) -> Region:
    row = next((r for r in all_regions() if (r.partition, r.region) == (partition, region)), None)
    if row:
        return row
    raise ConfigError(
        f"no region {region!r} of partition {partition!r} is in the catalogue",
        fix="check the ARN; `sovgate regions list` shows them all",
        reason="unknown-region",
    )


@functools.cache
def _client(place: aws.Endpoint, profile: str | None) -> aws.Client:
    return aws.client("kms", place, kind=KeyServiceError, profile=profile)


class Key:
    """One key, pinned (RULES 10): later calls name its ARN, and each answer's ARN is compared.

    region, grade   where the key lies, "provider:region", and how well that is known
    """

    def __init__(self, named: Named, facts: dict[str, Any], *, usable: bool) -> None:
        self._named, self.facts = named, facts
        self.arn = str(facts.get("Arn", ""))
        self.spec = str(facts.get("KeySpec", ""))
        self.usage = str(facts.get("KeyUsage", ""))
        self.origin = str(facts.get("Origin") or "not told")[:40]
        self.canonical = replace(named, name=self.arn).canonical
        self.region = named.row.id
        self.grade = _client(named.place, named.profile).grade
        if facts.get("Origin") == "EXTERNAL_KEY_STORE":  # it lies wherever its owner keeps it
            self.grade = min(self.grade, GRADE["declared"])
        self._require_asked()
        if usable:
            self._require_usable()

    @classmethod
    def open(cls, uri: Uri, region: str | None, *, usable: bool = True) -> Key:
        """`usable`: that it is enabled, and has no copy outside of its region."""
        named = parse_uri(uri, region)
        refuse_other_address(named.place.url, *_ADDRESSES, key=uri.text)
        return cls.named(named, usable=usable)

    @classmethod
    def named(cls, named: Named, *, usable: bool = True) -> Key:
        doing = "look up"
        answer = ask_service(named, "describe_key", "kms:DescribeKey", doing, KeyId=named.name)
        return cls(named, answer["KeyMetadata"], usable=usable)

    def held(self, public: PublicKey | None) -> Held:
        return Held(
            name=self.arn,
            canonical=self.canonical,
            public=public,
            region=self.region,
            grade=self.grade,
        )

    def _require_asked(self) -> None:
        named, arn = self._named, _ARN.fullmatch(self.arn)
        if arn is None or not arn.group(4).startswith("key/"):
            raise another(named.name, self.arn)
        row = named.row
        if (arn.group(1), arn.group(2)) != (row.partition, row.region):
            raise _outside(named.name, f"{arn.group(1)}:{arn.group(2)}", row.id)
        asked = named.name.rpartition(":")[2]
        same = asked.startswith("alias/") or asked.removeprefix("key/") == arn.group(4)[4:]
        if named.account not in (None, arn.group(3)) or not same:
            raise another(named.name, self.arn)

    @property
    def copies(self) -> tuple[str, ...]:
        """Regions of its copies elsewhere; one that the service does not name is "?"."""
        configuration = self.facts.get("MultiRegionConfiguration") or {}
        copies = [configuration.get("PrimaryKey"), *(configuration.get("ReplicaKeys") or ())]
        if self.facts.get("MultiRegion") and copies == [None]:
            copies = [{}]  # it has copies, and the service does not say where
        found = (str(copy.get("Region") or "?")[:80] for copy in copies if copy is not None)
        return tuple(sorted({one for one in found if one != self._named.row.region}))

    def _require_usable(self) -> None:
        if self.copies:
            there = self.copies[0].replace("?", "a region that is not named")
            raise ResidencyMismatch(
                f"{self.arn} has a copy outside its zone",
                why=f"it is a multi-Region key, and one copy is in {there}",
                fix="use a key of one region, or delete that replica",
                reason="key-elsewhere",
            )
        if self.facts.get("KeyState") != "Enabled":
            raise disabled(self.arn, str(self.facts.get("KeyState")))

    def call(self, operation: str, permission: str, doing: str, **parameters: Any) -> Any:
        """One request about this key. Raises KeyServiceError; VerificationFailed on damage."""
        answer = self.ask(operation, permission, doing, **parameters)
        if answer.get("KeyId") != self.arn:
            raise another(self.arn, str(answer.get("KeyId")))
        return answer

    def ask(self, operation: str, permission: str, doing: str, **parameters: Any) -> Any:
        """The same of what answers without the key's name."""
        return ask_service(self._named, operation, permission, doing, KeyId=self.arn, **parameters)

    @cached_property
    def public(self) -> PublicKey:
        answer = self.call("get_public_key", "kms:GetPublicKey", "get the public half of")
        public = public_from(bytes(answer["PublicKey"]), self.arn)
        named = public.algorithm.upper().replace("-", "_")  # "rsa-4096" as KMS writes it
        if SIGNING.get(public.algorithm, (named,))[0] != self.spec:
            raise another(f"a key of kind {self.spec}", public.algorithm)
        return public


def ask_service(
    named: Named, operation: str, permission: str, doing: str, *, again: bool = True, **sent: Any
) -> dict[str, Any]:
    """One request, and some more where KMS is busy; `again=False`: none. The SDK's errors become
    ours."""
    name = str(sent.get("KeyId") or named.name)

    def once() -> dict[str, Any]:
        try:
            sdk = _client(named.place, named.profile).sdk
            return answers.ask(sdk, operation, **sent)
        except SovgateError:
            raise
        except answers.failures() as error:
            code = answers.code_of(error)
            if code == "InvalidCiphertextException":
                # The cause is left out: nothing of what was sent belongs into a trace.
                raise damaged() from None
            if code == "NotFoundException":
                raise no_such_key(name, "in that account and region") from error
            if code == "AlreadyExistsException":
                raise taken(name) from error
            if code in ("DisabledException", "KMSInvalidStateException"):
                raise disabled(name, code) from error
            if type(error).__name__ in _UNREAD:
                # Its own text stays out of it: the SDK's quotes what came.
                said = (
                    str(error) if isinstance(error, answers.BadAnswer) else "it is no JSON of KMS"
                )
                raise bad_answer(name, said) from None
            if type(error).__name__ in _TIMEOUTS:
                raise timed_out(name, doing, aws.READ_TIMEOUT) from None
            raise explain(
                error, f"{doing} {name}", KeyServiceError, permission=permission, resource=name
            ) from error

    return patiently(once) if again else once()


def refuse(key: Key, why: str, fix: str = "name a key of another kind there") -> NoReturn:
    raise cannot(key.arn, f"{why}; it is {key.spec} for {key.usage}", fix)


def _outside(name: str, found: str, declared: str) -> ResidencyMismatch:
    return elsewhere(f"the key {name[:200]} is in {found[:80]}", declared)
