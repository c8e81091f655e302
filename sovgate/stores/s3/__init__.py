"""A bucket as a store: `s3://bucket[/prefix]`, at AWS or any service that speaks S3's protocol.

Talks to one endpoint and follows no redirect. Writes are create-only (`If-None-Match: *`) and carry
the SHA-256 that the service checks; where it does not, every write is read again.
"""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sovgate.clouds import endpoints
from sovgate.clouds.aws import answers
from sovgate.clouds.aws import client as aws
from sovgate.clouds.aws.body import Body
from sovgate.clouds.aws.profiles import OTHER, Profile, profile
from sovgate.errors import (
    ConfigError,
    NotFound,
    SovgateError,
    StoreError,
)
from sovgate.stores._api import Bytes, Entry, Location, Stat, check_name, prefix_of
from sovgate.stores._reading import Objects
from sovgate.stores.s3 import errors, lock, place, probing, versions
from sovgate.stores.s3.kms import Encryption, encryption
from sovgate.stores.s3.reader import Reader, keys_below
from sovgate.uri import Uri

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
#: Names of what is no bucket: access points, object lambdas, outposts, directory buckets of one
#: zone and their access points.
_NO_BUCKET = ("-s3alias", "--ol-s3", "--op-s3", "--x-s3", "--xa-s3", "--table-s3", ".mrap")
_OPTIONS = {**aws.OPTIONS, **dict.fromkeys(("endpoint", "kms", "lock"), endpoints.ANY)}
#: What is locked by the very PUT that writes it: the record, and nothing that it names.
_RECORDS = "releases/"
#: As many requests at once as anything here makes.
CONNECTIONS = 16
#: Seconds to wait while the service says that another conditional write is under way.
_WAITS = (0.1, 0.5, 2.0, 0)


def store(uri: Uri, base: Path, region: str | None = None) -> S3Store:
    """`s3://bucket[/prefix][?endpoint=https://…&profile=NAME&account=DIGITS&kms=KEY&lock=…]`.

    `region` is the zone's "provider:region"; its catalogued endpoint is used unless another is
    named, which makes the location `declared` at best.
    """
    rest, options = endpoints.split_options(uri.rest, _OPTIONS)
    bucket, _, prefix = rest.partition("/")
    if rest.startswith("arn:") or bucket.endswith(_NO_BUCKET):
        raise ConfigError(
            "the store URI names an access point, not a bucket",
            why="an access point can be redirected, and can lead to many regions",
            fix="name the bucket itself: s3://BUCKET[/PREFIX]",
            reason="access-point",
        )
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or re.fullmatch(r"[0-9.]+", bucket):
        raise ConfigError(
            f"{bucket[:80]!r} is not a bucket's name",
            fix="write s3://BUCKET[/PREFIX]",
            reason="bad-uri",
        )
    where = aws.endpoint("s3", region, options.get("endpoint"), what="store")
    made = S3Store(
        bucket,
        prefix_of(prefix),
        where,
        profile=options.get("profile"),
        account=options.get("account"),
    )
    if "kms" in options:
        made.encryption = encryption(options["kms"], where, made.known)
    if "lock" in options:
        made.retention = lock.retention(options["lock"])
    return made


class S3Store(Objects):
    """`Store` on a bucket.

    Needs s3:GetBucketLocation, s3:ListBucket, s3:GetObject; to write s3:PutObject. With kms= it
    needs kms:GenerateDataKey and kms:Decrypt on that key; with lock= s3:PutObjectRetention,
    s3:GetObjectRetention and s3:GetBucketObjectLockConfiguration.
    Never s3:DeleteObject at a service that checks SHA-256.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        where: aws.Endpoint,
        *,
        profile: str | None = None,
        account: str | None = None,
    ) -> None:
        super().__init__(prefix)
        self.bucket, self.where = bucket, where
        self._profile, self.account = profile, account
        self.encryption: Encryption | None = None
        self.retention: lock.Retention | None = None
        self._kept = False
        self._probed = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r})"

    @property
    def uri(self) -> str:
        text = f"s3://{self.bucket}" + (f"/{self._prefix}" if self._prefix else "")
        return text if self.where.catalogued else f"{text}?endpoint={self.where.url}"

    @cached_property
    def known(self) -> Profile:
        """What is known of the service. Of an endpoint that is not catalogued, nothing is."""
        row = self.where.declared
        return profile(row.provider) if self.where.catalogued and row is not None else OTHER

    @cached_property
    def _client(self) -> aws.Client:
        with self._lock:
            return aws.client(
                "s3",
                self.where,
                kind=StoreError,
                profile=self._profile,
                path_style=not self.known.virtual or "." in self.bucket,
                connections=CONNECTIONS,
            )

    def call(self, operation: str, **parameters: Any) -> Any:
        """One request on the bucket; SDK exceptions pass, for whoever can tell them apart."""
        if self.account is not None:
            parameters["ExpectedBucketOwner"] = self.account
        return answers.ask(self._client.sdk, operation, Bucket=self.bucket, **parameters)

    # -- where it lies

    def location(self) -> Location | None:
        return place.location(self, self.where)

    @property
    def grade(self) -> int:
        return self._client.grade

    # -- create-only

    def probe(self) -> None:
        if not self._probed:
            probing.create_only(self)
            if self.retention:
                lock.require(self)
        self._probed = True

    @cached_property
    def checks_sums(self) -> bool:
        """Whether the service refuses bytes that are not of the SHA-256 they came with.

        AWS does. Elsewhere it is tried: an object of a wrong sum must not come to be.
        """
        return self.known.checks_sums or probing.checks_sums(self)

    def there(self, name: str) -> bool:
        try:
            with self.errors("head_object", name):
                self.call("head_object", Key=self.key(name))
        except NotFound:
            return False
        return True

    # -- reading

    def stat(self, name: str) -> Stat | None:
        check_name(name)
        try:
            with self.errors("head_object", name):
                head = self.call("head_object", Key=self.key(name), ChecksumMode="ENABLED")
        except NotFound:
            return None
        return Stat(size=int(head["ContentLength"]), sha256=self._whole_sum(head))

    def _whole_sum(self, head: dict[str, Any]) -> str | None:
        """Only a SHA-256 of the whole object, of a service that had checked it (RULES 14)."""
        given = head.get("ChecksumSHA256")
        composite = "-" in str(head.get("ETag", "")) or head.get("ChecksumType") == "COMPOSITE"
        if not given or composite or not self.checks_sums:
            return None
        try:
            raw = base64.b64decode(str(given), validate=True)
        except ValueError:
            return None
        return raw.hex() if len(raw) == 32 else None

    def reader(self, name: str) -> Reader:
        return Reader(
            lambda **more: self.call("get_object", Key=self.key(name), **more),
            lambda: self.errors("get_object", name),
            f"object {name} of {self.uri}",
        )

    def below(self, prefix: str, what: str) -> Iterator[Entry]:
        for item in keys_below(
            lambda **more: self.call("list_objects_v2", Prefix=prefix, **more),
            lambda: self.errors("list_objects_v2"),
            what,
        ):
            written = item.get("LastModified")
            yield Entry(
                name=str(item.get("Key") or ""),
                size=int(item.get("Size") or 0),
                written=written if isinstance(written, datetime) and written.tzinfo else None,
            )

    # -- writing

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        """One PUT with the SHA-256 of the bytes: the service compares it, or we read again."""
        self.fits(name, data)
        checked = self.checks_sums
        locked = self.retention if name.startswith(_RECORDS) else None
        with self.errors("put_object", name):
            try:
                self.conditional(
                    Key=self.key(name),
                    Body=Body(memoryview(data)),
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode("ascii"),
                    **(locked.parameters if locked else {}),
                )
            except answers.failures() as error:
                self.settle(name, len(data), sha256, error)
                return
        if not checked and not self.holds(name, len(data), sha256):
            with contextlib.suppress(*answers.failures()):
                self.call("delete_object", Key=self.key(name))
            raise self.damaged(name)

    def conditional(self, **parameters: Any) -> None:
        """A PUT with If-None-Match: *. Waits while another writer of the name is under way."""
        asked = {**parameters, **(self.encryption.parameters if self.encryption else {})}
        tried = False
        for wait in _WAITS:
            try:
                answer = self.call("put_object", IfNoneMatch="*", **asked)
            except answers.failures() as error:
                if answers.status_of(error) != 409 or not wait:
                    # The write that was under way may have been ours, of a try without an answer.
                    error.__dict__["after_a_conflict"] = tried
                    raise
                tried = tried or answers.retried(error)
                time.sleep(wait)
            else:
                self.encrypted_as_asked(answer)
                return
        raise AssertionError  # pragma: no cover - the last round returns or raises

    def encrypted_as_asked(self, answer: dict[str, Any]) -> None:
        """Raises StoreUnfit, reason "not-under-key"."""
        if self.encryption:
            self.encryption.check(answer, f"what it wrote into {self.uri}")

    def settle(self, name: str, size: int, sha256: str, error: Exception) -> None:
        """After a write that was not simply taken: returns where our very bytes are there.

        Raises AlreadyExists where the name was taken, else `error`. Where no answer came, or an
        earlier try of the SDK may have gone through unheard, reading back decides (RULES 13).
        """
        taken = answers.status_of(error) == 412
        if not taken and not answers.unheard(error) and not answers.retried(error):
            raise error
        if taken and not answers.retried(error):
            raise self.taken(name) from error
        try:
            same = self.holds(name, size, sha256)
        except SovgateError:
            raise (self.taken(name) if taken else error) from error
        if not same:
            raise self.taken(name) from error
        self.require_key(name)  # the answer that would have said it was lost

    def require_key(self, name: str) -> None:
        if self.encryption:
            with self.errors("head_object", name):
                head = self.call("head_object", Key=self.key(name))
            self.encrypted_as_asked(head)

    # -- kept

    @property
    def keeps(self) -> bool:
        return self.retention is not None

    def keep(self, name: str) -> None:
        """Looks at the first one whether the service did what it said."""
        if self.retention is None:
            return
        lock.keep(self, self.retention, name)
        if not self._kept:
            lock.check(self, self.retention, name)
        self._kept = True

    def locked_on_arrival(self) -> str | None:
        return lock.default_retention(self)

    def keeps_versions(self) -> bool:
        return versions.kept(self)

    def old_versions(self, prefix: str) -> Iterator[Entry]:
        return versions.old(self, prefix)

    # -- errors

    def errors(self, operation: str, name: str = "") -> AbstractContextManager[None]:
        """The SDK's errors in our words, with the permission that is missing."""
        return errors.told(self, operation, name)

    def damaged(self, name: str) -> StoreError:
        return errors.damaged(self.uri, name)
