"""Makes a key in AWS KMS, under an alias: in one region, by KMS itself, with no copy elsewhere.

Two requests, since an alias is given to a key that is there. Where the second fails or the run is
ended between them, the key is scheduled for deletion: nobody knows it by name yet.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from sovgate import notices
from sovgate.errors import ConfigError, SovgateError
from sovgate.keys import _answers
from sovgate.keys._api import Made, Wanted
from sovgate.keys.awskms.key import Key, Named, ask_service, parse_uri
from sovgate.uri import Uri

KINDS = {
    "sign": {f"ec-p{size}": f"ECC_NIST_P{size}" for size in (256, 384, 521)},
    "encrypt": {f"rsa-{size}": f"RSA_{size}" for size in (3072, 4096)}
    | {"symmetric": "SYMMETRIC_DEFAULT"},
}
_USAGE = {"sign": "SIGN_VERIFY", "encrypt": "ENCRYPT_DECRYPT"}
#: Days until KMS deletes what was scheduled: the least that it takes.
_WAIT = 7


def generate(uri: Uri, base: Path, region: str | None, wanted: Wanted) -> Made:
    """Needs kms:DescribeKey, kms:CreateKey, kms:CreateAlias and kms:GetPublicKey; to take back what
    failed, kms:ScheduleKeyDeletion."""
    named = parse_uri(uri, region)
    alias = named.name.rpartition(":")[2]
    if not alias.startswith("alias/"):
        raise ConfigError(
            f"{uri.text[:200]!r} names a key by its id, which KMS gives when it makes one",
            fix="name it by an alias: awskms:///alias/NAME?region=aws:REGION",
            reason="bad-uri",
        )
    _, spec = _answers.chosen(wanted, KINDS, "AWS KMS")
    _require_free(named)
    try:
        answer = ask_service(
            named,
            "create_key",
            "kms:CreateKey",
            "make",
            again=False,
            KeySpec=spec,
            KeyUsage=_USAGE[wanted.use],
            Origin="AWS_KMS",
            MultiRegion=False,
            Description=f"made for {alias} by sovgate keys generate",
        )
    except SovgateError as error:
        raise _answers.not_known(named.name, error) from error
    arn = str(answer["KeyMetadata"].get("Arn", ""))
    try:
        key = Key.named(replace(named, name=arn))
        ask_service(
            named,
            "create_alias",
            "kms:CreateAlias",
            "give its alias to",
            again=False,
            AliasName=alias,
            TargetKeyId=key.arn,
        )
    except BaseException:  # Ctrl-C too
        _take_back(named, arn)
        raise
    public = None if key.spec == "SYMMETRIC_DEFAULT" else key.public
    host = uri.rest.partition("/")[0]
    profile = f"?profile={named.profile}" if named.profile else ""
    return Made(uri=f"awskms://{host}/{key.arn}{profile}", name=key.arn, public=public)


def _require_free(named: Named) -> None:
    try:
        Key.named(named, usable=False)
    except SovgateError as error:
        if error.reason == "no-such-key":
            return
        raise
    raise _answers.taken(named.name)


def _take_back(named: Named, arn: str) -> None:
    try:
        ask_service(
            named,
            "schedule_key_deletion",
            "kms:ScheduleKeyDeletion",
            "take back",
            KeyId=arn,
            PendingWindowInDays=_WAIT,
        )
    except SovgateError as error:
        shown = arn if re.fullmatch(r"[\w:/-]{1,200}", arn, re.ASCII) else "it"
        notices.note(
            f"the key {shown} has no alias, and could not be taken back ({error.why}): aws kms "
            f"schedule-key-deletion --key-id {shown} --pending-window-in-days {_WAIT}"
        )
    else:
        notices.note(f"the key {arn[:200]} has no alias: KMS deletes it in {_WAIT} days")
