"""SSE-KMS: a key of the bucket's owner, under which the service encrypts what it stores. Pure.

What arrives is ciphertext already; this adds a key service that must agree before it is read. Each
PUT asks for it, and what the service answers is compared: one that passes over it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sovgate.clouds.aws.client import Endpoint
from sovgate.clouds.aws.profiles import Profile
from sovgate.errors import ConfigError, ResidencyMismatch, StoreUnfit

_ARN = re.compile(r"arn:(aws[a-z-]{0,16}):kms:([a-z0-9-]{1,32}):([0-9]{12}):key/([A-Za-z0-9-]+)")
#: How services other than AWS name a key of their own.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """`key` as the URI names it. `bucket_key`: whether the answer must say that one was used."""

    key: str
    bucket_key: bool

    @property
    def parameters(self) -> dict[str, Any]:
        """What a PUT asks for. A bucket key saves a call of the key service for each object."""
        return {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": self.key,
            "BucketKeyEnabled": True,
        }

    def check(self, answer: Mapping[str, Any], what: str) -> None:
        """Raises StoreUnfit, reason "not-under-key". The answer is that of a PUT or of a HEAD."""
        how, key = answer.get("ServerSideEncryption"), str(answer.get("SSEKMSKeyId") or "")
        if how != "aws:kms":
            said = f"its answer says {how}" if how else "its answer says nothing of it"
        elif not self._is(key):
            said = f"its answer names the key {key[:200]!r}" if key else "its answer names no key"
        elif self.bucket_key and answer.get("BucketKeyEnabled") is not True:
            said = "its answer does not say that a bucket key was used"
        else:
            return
        raise StoreUnfit(
            f"the service did not encrypt {what} under {self.key}",
            why=f"the store's URI asks for that key (kms=), and {said}",
            fix="correct kms= in the store's URI, or remove it if the service has no SSE-KMS",
            reason="not-under-key",
        )

    def _is(self, answered: str) -> bool:
        """A service may answer with the ARN of a key that is asked for by its name."""
        if answered == self.key:
            return True
        named = not _ARN.fullmatch(self.key) and answered.startswith("arn:aws")
        return named and answered.rpartition("/")[2].rpartition(":")[2] == self.key


def encryption(text: str, place: Endpoint, known: Profile) -> Encryption:
    """What `?kms=` asks for.

    Raises ConfigError, reason "bad-uri"; ResidencyMismatch, "key-elsewhere", where the key lies, or
    may have a copy, outside the zone (RULES 10).
    """
    arn, at_aws = _ARN.fullmatch(text), known.bucket_keys
    if not arn and (at_aws or text.startswith("arn:") or not _NAME.fullmatch(text)):
        raise ConfigError(
            f"kms={text[:200]} in the store's URI is not a key",
            why="an alias or an id alone can come to name another key" if at_aws else None,
            fix="write kms=arn:PARTITION:kms:REGION:ACCOUNT:key/ID"
            + ("" if at_aws else ", or the name that the service has for it"),
            reason="bad-uri",
        )
    row = place.declared
    if arn and row is not None and row.partition.startswith("aws"):
        if (arn[1], arn[2]) != (row.partition, row.region):
            raise ResidencyMismatch(
                f"the key {text} is in {arn[1]}:{arn[2]}",
                why=f"the zone of its bucket was declared as {row.id}",
                fix=f"name a key in {row.id}, or correct the zone's region",
                reason="key-elsewhere",
            )
        if arn[4].startswith("mrk-"):
            raise ResidencyMismatch(
                f"the key {text} can have copies outside its zone",
                why="it is a multi-Region key, and a bucket does not say where its copies are",
                fix="name a key of one region in kms=",
                reason="key-elsewhere",
            )
    return Encryption(key=text, bucket_key=at_aws)
