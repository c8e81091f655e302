"""The short list of partitions that the SDK is given makes the same clients as its whole one."""

from __future__ import annotations

from typing import Any

import pytest

from sovgate.clouds.aws import sdk

#: What stores and keys speak to, and what credentials are fetched from.
ASKED = {
    "s3": ("ListObjectsV2", {"Bucket": "a-bucket"}),
    "kms": ("DescribeKey", {"KeyId": "a"}),
    "sts": ("AssumeRoleWithWebIdentity", {}),
    "sso": ("GetRoleCredentials", {}),
    "sso-oidc": ("CreateToken", {}),
}


def session(loader: Any) -> Any:
    botocore = sdk.botocore("s3")
    made = botocore.session.Session()
    made.register_component("data_loader", loader)
    made.set_config_variable("sts_regional_endpoints", "regional")
    made.set_credentials("an-id", "a-secret")
    return made


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    loaders = sdk.botocore("s3").loaders
    built_in = [loaders.Loader.BUILTIN_DATA_PATH]
    whole = loaders.Loader(extra_search_paths=built_in, include_default_search_paths=False)
    return session(whole), session(sdk.loader())


def told(opened: Any, service: str, region: str, url: str | None) -> tuple[str, ...]:
    """Where a client goes, and how it signs."""
    botocore = sdk.botocore("s3")
    version = "s3v4" if service == "s3" else "v4"
    config = botocore.config.Config(signature_version=version)
    client = opened.create_client(service, region_name=region, endpoint_url=url, config=config)
    name, parameters = ASKED[service]
    asked, _, headers = client._resolve_endpoint_ruleset(
        client.meta.service_model.operation_model(name),
        parameters,
        {"client_region": region, "client_config": client.meta.config},
    )
    signer = client._request_signer
    return (
        client.meta.endpoint_url,
        client.meta.partition,
        signer.region_name,
        signer.signing_name,
        signer.signature_version,
        asked,
        str(headers),
    )


@pytest.mark.parametrize("service", sorted(ASKED))
def test_each_partition_is_served_as_by_the_sdks_own_list(
    both: tuple[Any, Any], service: str
) -> None:
    whole, short = both
    partitions = whole.get_component("data_loader").load_data("partitions")["partitions"]
    assert {"aws", "aws-eusc", "aws-cn"} <= {partition["id"] for partition in partitions}
    for partition in partitions:
        regions = [name for name in partition["regions"] if not name.endswith("-global")]
        for region in regions[:2]:
            assert short.get_partition_for_region(region) == partition["id"]
            for url in (None, "https://kms.example:8443"):
                assert told(short, service, region, url) == told(whole, service, region, url)
