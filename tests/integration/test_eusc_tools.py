"""docs/keys.md, tools in the European Sovereign Cloud: what a tool can be asked here, is asked."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
import tink
from tink.integration import awskms

from sovgate.keys import registry
from tests import forked
from tests.components import ModelSigning

ARN = "arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_sovgate_takes_keys_of_the_partition() -> None:
    registry.check(f"awskms:///{ARN}", Path(), "aws-eusc:eusc-de-east-1")


def test_the_sdk_of_aws_knows_the_partition() -> None:
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x")
    assert session.get_partition_for_region("eusc-de-east-1") == "aws-eusc"
    client = session.client("kms", region_name="eusc-de-east-1")
    assert client.meta.endpoint_url == "https://kms.eusc-de-east-1.amazonaws.eu"


def test_tink_takes_no_key_of_the_partition() -> None:
    client = awskms.AwsKmsClient(None, None)
    client.get_aead(f"aws-kms://{ARN.replace('-eusc', '').replace('eusc-de', 'eu-de')}")
    with pytest.raises(tink.TinkError):
        client.get_aead(f"aws-kms://{ARN}")


def test_model_signing_signs_with_no_key_of_a_kms(model_signing: ModelSigning) -> None:
    peer = forked.MODEL_SIGNING.at(model_signing.python)
    said = peer.run("sign", "--help").stdout
    ways = said.partition("Commands:")[2].split("\n")
    names = {line.split()[0] for line in ways if line.strip()}
    assert names == {"certificate", "key", "pkcs11-certificate", "pkcs11-key", "sigstore"}
