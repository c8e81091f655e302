"""Puts the SDK's errors about a bucket into our words, with the permission that is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sovgate.clouds.aws import answers
from sovgate.clouds.aws.errors import explain
from sovgate.errors import NotFound, SovgateError, StoreError

if TYPE_CHECKING:
    from sovgate.stores.s3 import S3Store

_READS = ("head_object", "get_object")
_ACTIONS = {
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "list_objects_v2": "s3:ListBucket",
    "head_bucket": "s3:ListBucket",
    "get_bucket_location": "s3:GetBucketLocation",
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "list_object_versions": "s3:ListBucketVersions",
    "put_object_retention": "s3:PutObjectRetention",
    "get_object_retention": "s3:GetObjectRetention",
    "get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
}
#: What S3 asks of the caller's rights to the key. HeadObject is asked for the sum, which S3 keeps
#: under that key too.
_OF_THE_KEY = {
    "head_object": "kms:GenerateDataKey and kms:Decrypt",
    "get_object": "kms:Decrypt",
    "put_object": "kms:GenerateDataKey",
}


@contextlib.contextmanager
def told(store: S3Store, operation: str, name: str) -> Iterator[None]:
    """While one request is made; `name` is empty where it is about the bucket."""
    try:
        yield
    except SovgateError:
        raise
    except answers.failures() as error:
        code = answers.code_of(error)
        if code == "NoSuchBucket" or (operation == "head_bucket" and code == "404"):
            raise StoreError(
                f"there is no bucket {store.bucket!r} at {store.where.url}",
                fix="create it there, or correct the store's URI",
                reason="no-bucket",
            ) from error
        if name and (code == "NoSuchKey" or (code == "404" and operation in _READS)):
            raise NotFound(f"{store.uri} has no {name}") from error
        raise _explained(store, operation, name, error) from error


def _explained(store: S3Store, operation: str, name: str, error: Exception) -> SovgateError:
    row = store.where.declared
    partition = row.partition if row and row.partition.startswith("aws") else "aws"
    bucket = f"arn:{partition}:s3:::{store.bucket}"
    action = _ACTIONS[operation]
    if operation == "put_object" and store.retention:
        action += " (and s3:PutObjectRetention)"
    if operation == "head_object":
        action += f" (and s3:ListBucket on {bucket})"
    doing = f"{operation.replace('_', ' ')} {name or 'in'} {store.uri}"
    resource = f"{bucket}/{store.key(name)}" if name else bucket
    key = store.encryption.key if store.encryption and operation in _OF_THE_KEY else None
    if key is not None:
        resource += f", or {_OF_THE_KEY[operation]} on {key}"
        if (code := answers.code_of(error)).startswith("KMS."):
            return StoreError(
                f"could not {doing}",
                why=f"{code}: {answers.message(error)}",
                fix=f"enable {key}, or correct kms= in the store's URI",
                reason="not-under-key",
            )
    told = explain(error, doing, StoreError, permission=action, resource=resource)
    if told.reason == "access-denied":
        # A service tells whoever may not list buckets nothing about which there are.
        other = f" or is not of account {store.account}" if store.account else ""
        told.why = f"{told.why}; or the bucket {store.bucket!r} does not exist{other}"
    elif told.reason == "service" and key is not None:
        told.why = f"{told.why}; kms= asks for {key}, and the service may know no such key"
    return told


def damaged(uri: str, name: str) -> StoreError:
    return StoreError(
        f"{name} did not arrive in {uri} as it was sent",
        why="read again, it has other bytes; the service checked no SHA-256 on arrival",
        fix="run it again; if the error stays, use a service that checks x-amz-checksum-sha256",
        reason="wrong-bytes",
    )
