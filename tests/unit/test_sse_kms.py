"""kms= of an s3:// store: which keys it may name, and which answers of a service are as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import (
    ConfigError,
    ExitCode,
    ResidencyMismatch,
    SovgateError,
    StoreError,
    StoreUnfit,
)
from sovgate.stores.registry import open_store
from sovgate.stores.s3 import S3Store
from sovgate.stores.s3.kms import Encryption

EUSC = "aws-eusc:eusc-de-east-1"
KEY = "arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
LOCAL = "endpoint=http://127.0.0.1:9"
NAMED = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY, "BucketKeyEnabled": True}


def opened(text: str, region: str = EUSC) -> S3Store:
    store = open_store(text, Path(), region)
    assert isinstance(store, S3Store)
    return store


def test_a_key_of_the_zones_region_goes_with_each_put() -> None:
    made = opened(f"s3://kyc-eu/models?account=444455556666&kms={KEY}").encryption
    assert made == Encryption(key=KEY, bucket_key=True)
    assert made.parameters == NAMED
    assert opened("s3://kyc-eu").encryption is None


def test_a_store_is_named_without_its_key() -> None:
    assert opened(f"s3://kyc-eu/models?kms={KEY}").uri == "s3://kyc-eu/models"


@pytest.mark.parametrize("region", [EUSC, "declared:fra-dc1", "scaleway:fr-par"])
@pytest.mark.parametrize("key", ["minio-key", "churn_eu.1", "1234abcd-12ab-34cd-56ef-1234567890ab"])
def test_another_service_has_names_of_its_own_for_keys(region: str, key: str) -> None:
    made = opened(f"s3://kyc-eu?{LOCAL}&kms={key}", region).encryption
    assert made == Encryption(key=key, bucket_key=False)


@pytest.mark.parametrize(
    "key",
    [
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "alias/kyc",
        "arn:aws-eusc:kms:eusc-de-east-1:444455556666:alias/kyc",
        KEY + "/x",
        KEY.replace("444455556666", "44445555666"),
        "arn:aws-eusc:s3:::kyc-eu",
        "%0a",
        "x" * 300,
    ],
)
def test_what_is_no_pinned_key_at_aws_is_3(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(f"s3://kyc-eu?kms={key}")
    assert caught.value.reason == "bad-uri"
    assert "kms=arn:PARTITION:kms:REGION:ACCOUNT:key/ID" in str(caught.value.fix)
    if not key.startswith("1234"):
        with pytest.raises(ConfigError):
            opened(f"s3://kyc-eu?{LOCAL}&kms={key}")


def test_a_key_twice_is_3() -> None:
    with pytest.raises(ConfigError, match="twice"):
        opened(f"s3://kyc-eu?kms={KEY}&kms={KEY}")


@pytest.mark.parametrize(
    "key",
    [
        KEY.replace("eusc-de-east-1", "eu-central-1"),
        KEY.replace("aws-eusc:", "aws:"),
        KEY.replace("aws-eusc:kms:eusc-de-east-1", "aws:kms:us-east-1"),
        KEY.replace("key/1234abcd-12ab-34cd-56ef-1234567890ab", "key/mrk-" + "1" * 32),
    ],
)
@pytest.mark.parametrize("endpoint", ["", LOCAL + "&"])
def test_rule_10_a_key_elsewhere_or_with_copies_is_12(key: str, endpoint: str) -> None:
    with pytest.raises(ResidencyMismatch) as caught:
        opened(f"s3://kyc-eu?{endpoint}kms={key}")
    assert (caught.value.reason, caught.value.exit_code) == ("key-elsewhere", ExitCode.RESIDENCY)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ServerSideEncryption": None}, "says nothing of it"),
        ({"ServerSideEncryption": "AES256"}, "says AES256"),
        ({"ServerSideEncryption": "aws:kms:dsse"}, "says aws:kms:dsse"),
        ({"SSEKMSKeyId": None}, "names no key"),
        ({"SSEKMSKeyId": KEY.replace("key/1", "key/2")}, "key/2234abcd"),
        ({"SSEKMSKeyId": KEY.rpartition("/")[2]}, "names the key '1234abcd"),
        ({"BucketKeyEnabled": False}, "bucket key"),
        ({"BucketKeyEnabled": None}, "bucket key"),
    ],
)
def test_a_service_that_passes_over_the_key_is_21(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreUnfit) as caught:
        Encryption(key=KEY, bucket_key=True).check({**NAMED, **changed}, "it")
    error: SovgateError = caught.value
    assert (error.reason, error.exit_code) == ("not-under-key", ExitCode.STORE)
    assert said in str(error.why)
    assert "kms=" in str(error.fix)
    # Whoever catches a StoreError looks whether the bytes are there, and they are.
    assert not isinstance(error, StoreError)


@pytest.mark.parametrize(
    ("answered", "same"),
    [
        ("minio-key", True),
        ("arn:aws:kms:minio-key", True),
        ("arn:aws:kms:eu-central-1:111122223333:key/minio-key", True),
        ("arn:aws:kms:other-minio-key", False),
        ("xminio-key", False),
        ("x/minio-key", False),
        ("", False),
    ],
)
def test_a_name_may_be_answered_by_an_arn(answered: str, same: bool) -> None:
    asked = Encryption(key="minio-key", bucket_key=False)
    answer = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": answered}
    if same:
        asked.check(answer, "it")
        return
    with pytest.raises(StoreUnfit):
        asked.check(answer, "it")
