"""Where a cloud URI may lead, and what may not lead it elsewhere. Opens clients, asks nobody."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from sovgate.clouds.aws import client as aws
from sovgate.clouds.aws import environ
from sovgate.clouds.aws.errors import explain
from sovgate.errors import ConfigError, ExitCode, KeyServiceError, ResidencyMismatch, StoreError
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys.awskms import encryption_context
from sovgate.keys.awskms.key import Key, parse_uri
from sovgate.records import GRADE
from sovgate.regions import all_regions
from sovgate.stages.transfer import locate
from sovgate.stores.registry import SCHEMES, open_store
from sovgate.stores.s3 import S3Store
from sovgate.transport import authority, proxies
from sovgate.uri import WITHOUT_ADAPTER, parse

EUSC = "aws-eusc:eusc-de-east-1"
KEY = "arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the proxies and roots of the machine that the tests run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def s3(text: str, region: str | None = EUSC) -> S3Store:
    store = open_store(text, Path(), region)
    assert isinstance(store, S3Store)
    return store


def named(text: str, region: str | None = None) -> Any:
    return parse_uri(parse(text, what="key"), region)


@pytest.mark.parametrize(
    "region",
    [
        "aws:us-east-1",
        EUSC,
        "aws-cn:cn-north-1",
        "aws-us-gov:us-gov-west-1",
        "scaleway:fr-par",
        "ovh:gra",
        "hetzner:fsn1",
        "ionos:eu-central-1",
    ],
)
def test_the_zones_region_says_the_endpoint(region: str) -> None:
    row = next(row for row in all_regions() if row.id == region)
    client = s3("s3://kyc-eu", region)._client
    assert client.sdk.meta.endpoint_url == f"https://{row.s3_endpoint}"
    assert client.sdk.meta.region_name == row.region
    assert client.grade == GRADE["api"]


@pytest.mark.parametrize("profile", [False, True])
def test_rule_15_the_surroundings_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: bool
) -> None:
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_KMS",
        "AWS_ENDPOINT_URL_STS",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_S3_USE_ARN_REGION"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = tmp_path / "config"
    config.write_text(
        "[profile eu]\nregion = us-west-2\nendpoint_url = http://127.0.0.1:1\n"
        "aws_access_key_id = a\naws_secret_access_key = b\n"
        "s3 =\n  use_accelerate_endpoint = true\n  addressing_style = virtual\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    client = s3("s3://kyc-eu" + ("?profile=eu" if profile else ""))._client
    assert client.sdk.meta.endpoint_url == "https://s3.eusc-de-east-1.amazonaws.eu"
    assert client.sdk.meta.region_name == "eusc-de-east-1"
    kms = aws.client("kms", named(f"awskms:///{KEY}").place, kind=KeyServiceError)
    assert kms.sdk.meta.endpoint_url == "https://kms.eusc-de-east-1.amazonaws.eu"


def test_rule_21_nobody_puts_another_service_model_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "data", tmp_path / ".aws" / "models"):
        model = folder / "s3" / "2006-03-01" / "service-2.json"
        model.parent.mkdir(parents=True)
        model.write_text("{}")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "PutObject" in s3("s3://kyc-eu")._client.sdk.meta.service_model.operation_names


def test_rule_36_nobody_puts_code_into_a_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("def initialize_client_plugin(client): client.taken = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BOTOCORE_EXPERIMENTAL__PLUGINS", "x=planted")
    for service, kind in (("s3", StoreError), ("kms", KeyServiceError)):
        with pytest.raises(ConfigError) as caught:
            aws.client(service, named(f"awskms:///{KEY}").place, kind=kind)
        assert caught.value.reason == "aws-plugins"
    assert "planted" not in sys.modules
    monkeypatch.setenv("BOTOCORE_EXPERIMENTAL__PLUGINS", "DISABLED")
    assert s3("s3://kyc-eu")._client


def test_rule_15_a_proxy_is_declared_at_a_catalogued_endpoint_too() -> None:
    assert s3("s3://kyc-eu")._client.grade == GRADE["api"]
    with proxies.through("http://127.0.0.1:1"):
        assert s3("s3://kyc-eu")._client.grade == GRADE["declared"]
        key = aws.client("kms", named(f"awskms:///{KEY}").place, kind=KeyServiceError)
        assert key.grade == GRADE["declared"]


@pytest.mark.parametrize("text", [" s3://kyc-eu", "://x", "x y://z"])
def test_a_slip_in_the_scheme_makes_no_folder(text: str) -> None:
    for what in ("key", "store"):
        with pytest.raises(ConfigError) as caught:
            parse(text, what=what)
        assert caught.value.reason == "bad-uri"
    assert parse("./a://b", what="store").rest == "./a://b"


def test_rule_29_no_file_gets_the_keys_of_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with pytest.raises(ConfigError) as caught:
        _ = s3("s3://kyc-eu")._client
    assert (caught.value.reason, caught.value.fix) == ("tls-key-log", "unset SSLKEYLOGFILE")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", " ", "/nowhere/roots.pem", "http://127.0.0.1:1"])
def test_rule_36_no_variable_chooses_roots_or_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Nor does the configuration file of the SDK, which a variable chooses. The SDK takes an empty
    name for no check of certificates, or for an error."""
    for name in (*proxies.VARIABLES, *authority.VARIABLES):
        monkeypatch.setenv(name, text)
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {text}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    client = s3("s3://kyc-eu")._client
    assert client.grade == GRADE["api"]
    http = client.sdk._endpoint.http_session
    assert (http._verify, http._proxy_config._proxies) == (True, {})


PROXIES = {
    "http://proxy.bank.example:3128": "http://proxy.bank.example:3128",
    "http://[::1]:3128/": "http://[::1]:3128",
    "http://me:h1dden@proxy.bank.example:3128": "secret-in-uri",
    "me:h1dden@proxy.bank.example:3128": "secret-in-uri",
    "http://h1dden@proxy": "secret-in-uri",
    "https://h1dden.example:3128": "bad-proxy",
    "socks5://h1dden.example:3128": "bad-proxy",
    "h1dden.example:3128": "bad-proxy",
    "http://h1dden.example": "bad-proxy",
    "http://h1dden.example:0": "bad-proxy",
    "http://h1dden.example:99999": "bad-proxy",
    "http://h1dden.example:3128/?a": "bad-proxy",
    "http://h1dden.example:3128/a": "bad-proxy",
    "http://h1dden.example:3128#": "bad-proxy",
    "http://-h1dden:3128": "bad-proxy",
    "http://me:h1dden": "bad-proxy",
    "http://h1dden example:3128": "bad-proxy",
    "http://[h1dden:3128": "bad-proxy",
    "http://:3128": "bad-proxy",
    "http://" + "h1dden." * 60 + "x:3128": "bad-proxy",
    "": "bad-proxy",
}


@pytest.mark.parametrize("text", PROXIES)
def test_rule_29_a_proxy_is_checked_and_no_error_repeats_it(text: str) -> None:
    if not (right := PROXIES[text]).endswith(("proxy", "uri")):
        assert proxies.read(text) == right
        return
    with pytest.raises(ConfigError) as caught:
        proxies.read(text)
    assert caught.value.reason == right
    assert caught.value.fix
    assert "h1dden" not in "".join(traceback.format_exception(caught.value))
    assert "h1dden" not in f"{caught.value.why}{caught.value.fix}"


@pytest.mark.parametrize(
    "text", ["no section", "[default]\ns3 = true\n", "[default]\na = 1\n[default]\nb = 2\n"]
)
def test_a_configuration_of_the_sdk_that_is_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(StoreError) as caught:
        _ = s3("s3://kyc-eu")._client
    assert caught.value.reason == "aws-config"
    assert str(tmp_path / "config") in str(caught.value.why) or "s3 = true" in text
    assert "~/.aws/config" in str(caught.value.fix) or "s3 = true" not in text


def test_rule_15_an_endpoint_of_ones_own_is_declared() -> None:
    for url in ("https://minio.bank.example", "https://s3.eusc-de-east-1.amazonaws.eu"):
        assert s3(f"s3://kyc-eu?endpoint={url}")._client.grade == GRADE["declared"]
    where = named(f"awskms://kms.bank.example/{KEY}").place
    assert where.url == "https://kms.bank.example"
    assert aws.client("kms", where, kind=KeyServiceError).grade == GRADE["declared"]


def test_an_endpoint_of_another_region_is_12() -> None:
    store = s3("s3://kyc-eu?endpoint=https://s3.us-east-1.amazonaws.com")
    with pytest.raises(ResidencyMismatch) as caught:
        locate(store, zone="eu", declared=EUSC)
    assert caught.value.exit_code == ExitCode.RESIDENCY
    with pytest.raises(ResidencyMismatch):
        named(f"awskms://kms.us-east-1.amazonaws.com/{KEY}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s3://arn:aws:s3:eu-central-1:444455556666:accesspoint/x", "access-point"),
        ("s3://arn:aws:s3::444455556666:accesspoint/m.mrap", "access-point"),
        ("s3://kyc-x1y2-s3alias", "access-point"),
        ("s3://kyc--euc1-az1--x-s3", "access-point"),
        ("s3://kyc--euc1-az1--xa-s3", "access-point"),
        ("s3://kyc-o1a2b3c4d5--op-s3", "access-point"),
        ("s3://KYC", "bad-uri"),
        ("s3://a", "bad-uri"),
        ("s3://a..b", "bad-uri"),
        ("s3://127.0.0.1/x", "bad-uri"),
        ("s3://kyc/../x", "bad-uri"),
        ("s3://kyc/X", "bad-uri"),
        ("s3://kyc?", "bad-uri"),
        ("s3://kyc?region=eu", "bad-uri"),
        ("s3://kyc?account=1", "bad-uri"),
        ("s3://kyc?profile=../x", "bad-uri"),
        ("s3://kyc?endpoint=https://a&endpoint=https://b", "bad-uri"),
        ("s3://kyc?endpoint=http://minio.bank.example", "bad-endpoint"),
        ("s3://kyc?endpoint=http://169.254.169.254", "bad-endpoint"),
        ("s3://kyc?endpoint=http://localhost.evil.example", "bad-endpoint"),
        ("s3://kyc?endpoint=ftp://127.0.0.1", "bad-endpoint"),
        ("s3://kyc?endpoint=https://host/path", "bad-endpoint"),
        ("s3://kyc?endpoint=https://host:x", "bad-endpoint"),
        ("s3://kyc?endpoint=https://s3.amazonaws.com", "bad-endpoint"),
        ("s3://kyc?endpoint=https://s3-accelerate.amazonaws.com", "bad-endpoint"),
        ("s3://kyc?endpoint=https://m.mrap.accesspoint.s3-global.amazonaws.com", "bad-endpoint"),
        ("s3://kyc?endpoint=https://a.s3-accesspoint.eu-central-1.amazonaws.com", "bad-endpoint"),
        ("s3://kyc?endpoint=https://user:word@host", "secret-in-uri"),
        ("s3://kyc?endpoint=https://user:word", "bad-endpoint"),
        ("s3://user:word@kyc", "secret-in-uri"),
    ],
)
def test_rule_15_what_is_no_bucket_at_one_place_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(text, Path(), EUSC)
    assert caught.value.reason == reason
    said = f"{caught.value.what} {caught.value.why} {caught.value.fix}"
    assert "word" not in said + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", sorted(WITHOUT_ADAPTER))
def test_a_scheme_without_an_adapter_says_so_and_names_no_package(scheme: str) -> None:
    for what, attempt in (
        ("key", lambda: registry.open_signer(f"{scheme}://x/y", Path())),
        ("store", lambda: open_store(f"{scheme}://x/y", Path(), EUSC)),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.reason == "no-adapter"
        assert f"no {what} adapter for {scheme}:" in caught.value.what
        assert "pip install" not in f"{caught.value.why} {caught.value.fix}"


def test_what_has_an_adapter_is_not_said_to_have_none() -> None:
    assert not {*registry.SCHEMES, *SCHEMES} & set(WITHOUT_ADAPTER)


def test_a_store_without_a_region_is_not_guessed() -> None:
    with pytest.raises(ConfigError) as caught:
        open_store("s3://kyc-eu", Path())
    assert caught.value.reason == "no-region"
    with pytest.raises(ConfigError) as caught:
        open_store("s3://kyc-eu", Path(), "gcp:europe-west3")
    assert caught.value.reason == "no-endpoint"


def test_an_unknown_profile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError) as caught:
        _ = s3("s3://kyc-eu?profile=nobody")._client
    assert caught.value.reason == "no-profile"


# -- keys


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "eu-central-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-iso", "us-iso-east-1"),
    ],
)
def test_keys_of_every_partition_have_a_uri(partition: str, region: str) -> None:
    arn = f"arn:{partition}:kms:{region}:444455556666:key/mrk-1234abcd12ab34cd56ef1234567890ab"
    found = named(f"awskms:///{arn}")
    assert found.row.id == f"{partition}:{region}"
    assert (found.account, found.name) == ("444455556666", arn)
    row = next(row for row in all_regions() if row.id == found.row.id)
    assert found.place.url == f"https://{row.endpoint('kms')}"


def test_cosigns_other_forms_are_taken() -> None:
    alias = "arn:aws-eusc:kms:eusc-de-east-1:444455556666:alias/kyc-eu"
    assert named(f"awskms:///{alias}").name == alias
    assert named("awskms:///alias/kyc-eu", EUSC).row.id == EUSC
    assert named(f"awskms:///alias/kyc-eu?region={EUSC}").row.id == EUSC
    assert named("awskms:///1234abcd-12ab-34cd-56ef-1234567890ab", EUSC).account is None
    local = named("awskms://localhost:4566/alias/kyc-eu", EUSC)
    assert local.place.url == "http://localhost:4566"
    assert not local.place.catalogued


def test_rule_10_a_key_outside_its_zone_is_12() -> None:
    for text in (f"awskms:///{KEY}", f"awskms:///alias/x?region={EUSC}"):
        with pytest.raises(ResidencyMismatch) as caught:
            named(text, "aws:us-east-1")
        assert caught.value.exit_code == ExitCode.RESIDENCY
        assert caught.value.reason == "key-elsewhere"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("awskms:///alias/kyc-eu", "no-region"),
        ("awskms:///1234abcd-12ab-34cd-56ef-1234567890ab", "no-region"),
        ("awskms:///arn:aws:kms:eu-nowhere-1:444455556666:key/x", "unknown-region"),
        ("awskms:///arn:aws-eusc:kms:us-east-1:444455556666:key/x", "unknown-region"),
        ("awskms:///arn:aws:s3:eu-central-1:444455556666:key/x", "bad-uri"),
        ("awskms:///arn:aws:kms:eu-central-1:4444:key/x", "bad-uri"),
        (f"awskms://{KEY}", "bad-uri"),
        ("awskms:///", "bad-uri"),
        ("awskms:///key", "bad-uri"),
        (f"awskms:///{KEY}?account=111122223333", "bad-uri"),
        (f"awskms:///{KEY}?region=aws:us-east-1", "bad-uri"),
        (f"awskms:///{KEY}?endpoint=https://x", "bad-uri"),
        (f"awskms://user:word@host/{KEY}", "secret-in-uri"),
    ],
)
def test_what_names_no_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.open_signer(text, Path())
    assert caught.value.reason == reason


def test_the_wrap_context_goes_to_kms_by_field() -> None:
    """So that a key policy can ask for it: kms:EncryptionContext:sovgate:zone."""
    whole = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32)
    assert encryption_context(whole.canonical()) == {
        "sovgate:format": "sovgate.wrap/v0",
        "sovgate:zone": "eu",
        "sovgate:release": "kyc/1.0.0",
        "sovgate:manifest": "ab" * 32,
    }
    without = Context(zone="eu", release=None, manifest="ab" * 32)
    assert "sovgate:release" not in encryption_context(without.canonical())


def test_a_site_of_ones_own_has_credentials_of_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a job that sends from a cloud to a site would use the cloud's there."""
    there = aws.endpoint("s3", "declared:fra-dc1", "https://s3.bank.example", what="store")
    cloud = aws.endpoint("s3", "aws-eusc:eusc-de-east-1", None, what="store")
    nowhere = aws.endpoint("s3", None, "https://s3.bank.example", what="store")
    found = [place.provider for place in (there, cloud, nowhere)]
    assert found == ["declared", "aws-eusc", ""]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the cloud's")
    monkeypatch.setenv("DECLARED_ACCESS_KEY_ID", "the site's")
    monkeypatch.setenv("DECLARED_SECRET_ACCESS_KEY", "its secret")
    assert environ.credentials(found[0]) == ("the site's", "its secret")


def test_in_a_workflow_missing_credentials_print_the_block_to_paste(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoCredentialsError(Exception):
        """As botocore names it."""

    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert explain(NoCredentialsError(), "sign", KeyServiceError).details == ()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    told = explain(NoCredentialsError(), "sign", KeyServiceError)
    assert told.reason == "no-credentials"
    assert told.details == (
        "paste into the job:",
        "  permissions:",
        "    id-token: write",
        "    contents: read",
    )


@pytest.mark.parametrize(
    ("origin", "grade"),
    [
        ("AWS_KMS", "api"),
        ("AWS_CLOUDHSM", "api"),
        ("EXTERNAL", "api"),
        ("EXTERNAL_KEY_STORE", "declared"),
    ],
)
def test_where_a_key_of_an_external_store_lies_is_only_declared(origin: str, grade: str) -> None:
    """KMS answers from its region for a key that is kept anywhere."""
    facts = {
        "Arn": KEY,
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": origin,
        "MultiRegion": False,
    }
    assert Key(named(f"awskms:///{KEY}"), facts, usable=True).grade == GRADE[grade]


@pytest.mark.parametrize("name", ["AWS_EUSC_ACCESS_KEY_ID", "AWS_EUSC_SECRET_ACCESS_KEY"])
def test_half_of_a_providers_credentials_are_not_filled_up_with_others(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(other, "of-the-other-partition")
    monkeypatch.setenv(name, "hidden")
    with pytest.raises(ConfigError) as caught:
        _ = s3("s3://kyc-eu")._client
    assert caught.value.reason == "half-credentials"
    assert name in str(caught.value)
    assert "hidden" not in f"{caught.value!r} {caught.value.why} {caught.value.fix}"
