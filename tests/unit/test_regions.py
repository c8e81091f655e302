"""The catalogue: a zone's region decides its country, so a wrong or guessed row is a leak."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import regions
from sovgate.errors import ConfigError, ExitCode, Where
from sovgate.regions import generate
from tests import components

DATA = Path(regions.__file__).parent / "data"
EVERY = regions.all_regions()

EU = {
    *("AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE"),
    *("IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE"),
}

#: Whose country nobody publishes. The list is short and is to be argued about.
UNPUBLISHED = {"aws-iso-e:eu-isoe-west-1"}


# --- every row -----------------------------------------------------------------------------------


def test_every_row_says_where_it_comes_from_and_when() -> None:
    for row in EVERY:
        assert re.search(r"https://|botocore ", row.source), row.id
        assert date(2026, 1, 1) <= date.fromisoformat(row.date)
        assert row.operator_source
        assert date.fromisoformat(row.operator_date)
        for claim in row.claims:
            assert claim.source.startswith("https://")
            assert date.fromisoformat(claim.date)
            assert claim.claimed_by


def test_who_has_no_primary_source_is_marked() -> None:
    """The companies' own pages and words or a register are primary; what others say is not.

    Own words that somebody else printed are marked as such, with who said them.
    """
    others = re.compile(
        r"thestack|thenextweb|heise|totaltele|sowhatnowwhat|taketonews|cloud13|dev\.to"
    )
    quoted = re.compile(
        r"(?:^|[:;] )(\w+)'s own words in an? (?:interview|talk|announcement): https://[^;\s]+"
    )
    for row in EVERY:
        own = [match[1] for match in quoted.finditer(row.operator_source)]
        assert all(name in f"{row.operator_name} {row.operator_control}" for name in own)
        rest = quoted.sub("", row.operator_source)
        primary = "https://" in row.operator_source and not others.search(rest)
        assert row.operator_primary is primary, row.operator
        assert row.run_by.startswith("run by ")


def test_what_others_print_is_own_words_only_where_the_source_says_so() -> None:
    marked = {row.operator for row in EVERY if "own words" in row.operator_source}
    assert marked == {"aws-eusc"}
    unmarked = {row.operator for row in EVERY if not row.operator_primary}
    assert unmarked == {"aws-eusc", "delos", "exoscale", "gcd-germany", "scaleway"}


def test_every_row_has_a_real_country_or_admits_that_none_is_known() -> None:
    for row in EVERY:
        if row.id in UNPUBLISHED:
            assert row.country == "ZZ"
            assert row.groups == ()
        else:
            assert regions.known_group(row.country)
            assert row.groups[0] == row.country
        assert row.operator_country == "ZZ" or regions.known_group(row.operator_country)


def test_every_row_has_names_and_hosts_of_the_right_form() -> None:
    for row in EVERY:
        assert row.id == f"{row.provider}:{row.region}"
        assert re.fullmatch(r"[a-z0-9-]+:[a-z0-9-]+", row.id, re.ASCII)
        assert row.name.strip() == row.name != ""
        host = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", re.ASCII)
        for service, hosts in row.endpoints:
            assert service in {"s3", "kms", "gcs", "blob", "keyvault", "resource-manager"}
            assert hosts
            assert all(host.fullmatch(h) for h in hosts)
        assert host.fullmatch(row.dns_suffix)


def test_every_row_is_found_by_its_own_name_and_is_frozen() -> None:
    for row in EVERY:
        assert regions.lookup(row.id) is row
        with pytest.raises(dataclasses.FrozenInstanceError):
            row.country = "DE"  # type: ignore[misc]


def test_no_name_stands_twice_in_a_file_or_in_two_files() -> None:
    """json.loads keeps the last of two equal keys: a second line would silently win."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), keys
        return dict(pairs)

    names: list[str] = []
    for path in sorted(DATA.glob("*.json")):
        data = json.loads(path.read_text("utf-8"), object_pairs_hook=once)
        if path.name not in ("groups.json", "operators.json"):
            names += [name for name in data if name != "//"]
    assert sorted(names) == list(regions.providers())


def test_two_regions_of_one_provider_never_share_an_s3_endpoint() -> None:
    seen: dict[str, str] = {}
    for row in EVERY:
        for service, hosts in row.endpoints:
            for host in hosts if service == "s3" else ():
                assert seen.setdefault(host, row.id) == row.id


# --- names lie -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "country"),
    [
        ("aws:eu-west-2", "GB"),
        ("outscale:eu-west-2", "FR"),
        ("aws:eu-central-2", "CH"),
        ("ionos:eu-central-2", "DE"),
        ("gcp:europe-west2", "GB"),
        ("gcp:europe-west6", "CH"),
        ("aws:us-east-1", "US"),
        ("aws-eusc:eusc-de-east-1", "DE"),
        ("azure:northeurope", "IE"),
        ("azure:norwayeast", "NO"),
        ("ovh:uk", "GB"),
        ("ovh:bhs", "CA"),
        ("hetzner:hel1", "FI"),
        ("outscale:us-east-2", "US"),
        ("stackit:eu01", "DE"),
        ("stackit:eu02", "AT"),
        ("otc:eu-ch2", "CH"),
        ("coreweave:eu-west-01", "GB"),
        ("coreweave:eu-north-02", "NO"),
        ("ibm:eu-gb", "GB"),
        ("oci:eu-zurich-1", "CH"),
        ("oci-eu:eu-frankfurt-2", "DE"),
        ("s3ns:u-france-east1", "FR"),
        ("gcd-germany:u-germany-northeast1", "DE"),
    ],
)
def test_the_same_name_is_two_countries_and_eu_names_lie(name: str, country: str) -> None:
    assert regions.lookup(name).country == country


@pytest.mark.parametrize("name", ["aws:eu-west-2", "aws:eu-central-2", "gcp:europe-west6"])
def test_a_region_called_eu_need_not_be_in_the_eu(name: str) -> None:
    assert "EU" not in regions.lookup(name).groups
    assert "EEA" not in regions.lookup(name).groups


@pytest.mark.parametrize(
    ("country", "names"),
    [
        (
            "europe",
            {
                "central2": "PL",
                "north1": "FI",
                "north2": "SE",
                "southwest1": "ES",
                "west1": "BE",
                "west2": "GB",
                "west3": "DE",
                "west4": "NL",
                "west6": "CH",
                "west8": "IT",
                "west9": "FR",
                "west10": "DE",
                "west12": "IT",
            },
        )
    ],
)
def test_google_in_europe(country: str, names: dict[str, str]) -> None:
    found = {
        r.region.removeprefix("europe-"): r.country
        for r in regions.provider_regions("gcp")
        if r.region.startswith(country)
    }
    assert found == names


def test_a_country_and_who_controls_the_operator_are_two_facts() -> None:
    sovereign = regions.lookup("aws-eusc:eusc-de-east-1")
    assert (sovereign.country, sovereign.operator_country) == ("DE", "US")
    assert sovereign.operator == "aws-eusc"
    assert regions.lookup("s3ns:u-france-east1").operator_country == "FR"
    assert regions.lookup("azure-china:chinanorth3").operator_country == "CN"
    assert regions.lookup("aws-cn:cn-north-1").operator == "sinnet"


def test_each_world_of_accounts_is_a_provider_of_its_own() -> None:
    assert {r.partition for r in regions.provider_regions("aws")} == {"aws"}
    for text in ("aws:us-gov-west-1", "aws:cn-north-1", "aws:eusc-de-east-1", "azure:chinanorth"):
        with pytest.raises(ConfigError) as caught:
            regions.lookup(text)
        right = {"us-gov-west-1": "aws-us-gov", "cn-north-1": "aws-cn"}
        right |= {"eusc-de-east-1": "aws-eusc", "chinanorth": "azure-china"}
        region = text.partition(":")[2]
        assert f"{right[region]}:{region} (" in str(caught.value.fix)


def test_every_provider_and_no_other_is_explained_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "regions.md").read_text("utf-8")
    table = text.partition("## Provider names")[2].partition("Region names are in small")[0]
    named = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z0-9-]+)`", line.split("|")[1])
    }
    assert named == set(regions.providers())


def test_claims_are_kept_apart_from_facts() -> None:
    claims = regions.lookup("outscale:cloudgouv-eu-west-1").claims
    assert [c.scheme for c in claims] == ["SecNumCloud"]
    assert regions.lookup("outscale:eu-west-2").claims == ()
    assert {"SecNumCloud", "EU Cloud Sovereignty Framework"} == {
        c.scheme for c in regions.lookup("s3ns:u-france-east1").claims
    }


# --- lookup --------------------------------------------------------------------------------------


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        regions.lookup(text)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert caught.value.fix
    return caught.value


def test_a_region_without_its_provider_is_refused_and_both_meanings_are_named() -> None:
    error = refused("eu-west-2")
    assert error.reason == "bare-region"
    assert "London (GB) at aws and Paris (FR) at outscale" in str(error.why)
    assert error.fix == "write aws:eu-west-2 or outscale:eu-west-2"


def test_even_an_unambiguous_bare_name_is_refused() -> None:
    error = refused("eusc-de-east-1")
    assert (error.reason, error.fix) == ("bare-region", "write aws-eusc:eusc-de-east-1")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("aws:us-east1", "aws:us-east-1 (Northern Virginia, US)"),
        ("gpc:europe-west3", "gcp:europe-west3 (Frankfurt, DE)"),
        ("ovhcloud:gra", "ovh:gra (Gravelines, FR)"),
        ("aws-sov:eusc-de-east-1", "aws-eusc:eusc-de-east-1 (Brandenburg, DE)"),
        ("eusc-de-east1", "aws-eusc:eusc-de-east-1 (Brandenburg, DE)"),
        ("azure:westeurop", "azure:westeurope (Netherlands, NL)"),
        ("coreweave:EU-WEST-01", "coreweave:eu-west-01 (Crawley, GB)?"),
        (":eu-west-2", "aws:eu-west-2 (London, GB) or outscale:eu-west-2 (Paris, FR)"),
    ],
)
def test_did_you_mean_says_the_country_too(text: str, meant: str) -> None:
    error = refused(text)
    assert error.reason == "unknown-region"
    assert f"did you mean {meant}" in str(error.fix)


@pytest.mark.parametrize("text", ["aws:us-east-1", "aws-eusc:eusc-de-east-1", "gcp:europe-west2"])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (str.upper, "small letters"),
        (lambda t: t + " ", "U+0020 (SPACE)"),
        (lambda t: " " + t, "U+0020 (SPACE)"),
        (lambda t: t + "\n", "U+000A"),
        (lambda t: t + "\x00", "U+0000"),
        (lambda t: t.replace("e", "\u0435", 1), "CYRILLIC SMALL LETTER IE"),
        (lambda t: t.replace("-", "\u2010", 1), "U+2010 (HYPHEN)"),
        (lambda t: t.replace(":", "\uff1a"), "FULLWIDTH COLON"),
        (lambda t: t.replace(":", "\u200b:"), "ZERO WIDTH SPACE"),
        (lambda t: "\u202e" + t, "RIGHT-TO-LEFT OVERRIDE"),
    ],
)
def test_what_only_looks_like_a_region_is_refused_and_shown(
    text: str, spoil: object, why: str
) -> None:
    spoiled = spoil(text)  # type: ignore[operator]
    error = refused(spoiled)
    assert why in str(error.why)
    shown = f"{error.what} {error.why} {error.fix}"
    assert all(c >= " " for c in shown)
    assert not set("\u0435\u2010\uff1a\u200b\u202e") & set(shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::",
        "aws:",
        ":us-east-1",
        "aws::us-east-1",
        "aws:us-east-1:",
        "aws:us-east-1a",
        "aws:us-east-1/",
        "aws/us-east-1",
        "aws:*",
        "aws:us-*",
        "//",
        "aws:aws-global",
        "local:anything",
        "aws:..",
        "arn:aws:s3:::b",
    ],
)
def test_near_and_far_shapes_are_refused(text: str) -> None:
    refused(text)


def test_overly_long_text_is_cut_and_not_compared() -> None:
    error = refused("aws:" + "us-east-1" * 1_000_000)
    assert len(f"{error.what}{error.why}{error.fix}") < 600
    assert "9000004 characters" in str(error.why)


def test_the_error_carries_the_line_of_the_project_file() -> None:
    place = Where(path="sovgate.yaml", line=7, column=13)
    with pytest.raises(ConfigError) as caught:
        regions.lookup("aws:eu-west-9", where=place)
    assert caught.value.where == place


@given(st.text(max_size=300))
def test_lookup_of_any_text_is_a_row_or_our_error(text: str) -> None:
    try:
        assert regions.lookup(text).id == text
    except ConfigError as error:
        assert error.fix
        assert all(c >= " " for c in f"{error.what}{error.why}{error.fix}")


@given(st.sampled_from(EVERY), st.data())
def test_one_changed_character_never_finds_another_place_in_silence(
    row: regions.Region, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(row.id) - 1))
    text = row.id[:at] + data.draw(st.characters()) + row.id[at + 1 :]
    try:
        found = regions.lookup(text)
    except ConfigError:
        return
    assert found.id == text


# --- endpoints -----------------------------------------------------------------------------------


def test_a_host_is_the_regions_own_endpoint_or_a_bucket_below_it() -> None:
    row = regions.lookup("aws:eu-central-1")
    assert row.s3_endpoint == "s3.eu-central-1.amazonaws.com"
    assert row.serves("s3", "s3.eu-central-1.amazonaws.com")
    assert row.serves("s3", "Bucket.s3.eu-central-1.amazonaws.com.")
    for host in (
        "s3.eu-west-1.amazonaws.com",
        "s3.amazonaws.com",
        "bucket.s3-accelerate.amazonaws.com",
        "x.s3-accesspoint.eu-central-1.amazonaws.com",
        "abc123.execute-api.eu-central-1.amazonaws.com",
        "evils3.eu-central-1.amazonaws.com",
        "s3.eu-central-1.amazonaws.com.evil.example",
        "kms.eu-central-1.amazonaws.com",
        "evil.example/.s3.eu-central-1.amazonaws.com",
        "evil.example#.s3.eu-central-1.amazonaws.com",
        "user@s3.eu-central-1.amazonaws.com",
        "s3.eu-central-1.amazonaws.com:443",
        "s3.eu-central-1.amazonaws.com..",
        "s3.eu-central-1.amazonaws.com\n",
        "amazonaws.com",
        "",
    ):
        assert not row.serves("s3", host), host
    assert row.serves("kms", "kms.eu-central-1.amazonaws.com")
    assert not row.serves("kms", "\u212ams.eu-central-1.amazonaws.com")  # lower() makes it a k


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("aws-eusc:eusc-de-east-1", "s3.eusc-de-east-1.amazonaws.eu"),
        ("aws-cn:cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ("ovh:gra", "s3.gra.io.cloud.ovh.net"),
        ("ovh-us:us-east-va", "s3.us-east-va.io.cloud.ovh.us"),
        ("scaleway:it-mil", "s3.it-mil.scw.cloud"),
        ("ionos:eu-central-2", "s3-eu-central-2.ionoscloud.com"),
        ("stackit:eu01", "object.storage.eu01.onstackit.cloud"),
        ("outscale:cloudgouv-eu-west-1", "oos.cloudgouv-eu-west-1.outscale.com"),
        ("hetzner:fsn1", "fsn1.your-objectstorage.com"),
        ("hetzner:ash", None),
        ("exoscale:ch-gva-2", "sos-ch-gva-2.exo.io"),
        ("otc:eu-de", "obs.eu-de.otc.t-systems.com"),
        ("otc:eu-ch2", "obs.eu-ch2.sc.otc.t-systems.com"),
        ("gcp:europe-west3", None),
        ("azure:westeurope", None),
    ],
)
def test_s3_endpoints(name: str, host: str | None) -> None:
    assert regions.lookup(name).s3_endpoint == host


def test_the_universes_of_google_have_hosts_of_their_own() -> None:
    assert regions.lookup("gcp:europe-west3").endpoint("gcs") == "storage.googleapis.com"
    assert regions.lookup("s3ns:u-france-east1").endpoint("gcs") == "storage.s3nsapis.fr"
    assert not regions.lookup("s3ns:u-france-east1").serves("gcs", "storage.googleapis.com")


# --- groups --------------------------------------------------------------------------------------


def test_the_members_of_eu_eea_and_efta() -> None:
    assert set(regions.group("EU").members) == EU
    assert len(EU) == 27
    assert set(regions.group("EEA").members) == EU | {"IS", "LI", "NO"}
    assert set(regions.group("EFTA").members) == {"CH", "IS", "LI", "NO"}


@pytest.mark.parametrize(
    ("country", "groups"),
    [
        ("DE", ("DE", "EEA", "EU")),
        ("NO", ("NO", "EEA", "EFTA")),
        ("CH", ("CH", "EFTA")),
        ("GB", ("GB",)),
        ("US", ("US",)),
        ("GP", ("GP",)),
        ("ZZ", ()),
        ("EU", ()),
        ("de", ()),
        ("", ()),
    ],
)
def test_groups_of_a_country(country: str, groups: tuple[str, ...]) -> None:
    assert regions.groups_of(country) == groups


@pytest.mark.parametrize("name", ["NO", "DE", "EU", "EEA", "EFTA", "GB", "SE", "TW"])
def test_norway_is_a_country(name: str) -> None:
    assert regions.known_group(name)
    assert name in regions.group(name).members or len(regions.group(name).members) > 1


@pytest.mark.parametrize("name", ["UK", "EL", "ZZ", "eu", "no", "False", "", "E U", "XX", "DE "])
def test_what_is_no_group(name: str) -> None:
    assert not regions.known_group(name)
    with pytest.raises(ConfigError) as caught:
        regions.group(name)
    assert caught.value.reason == "unknown-group"


@pytest.mark.parametrize(
    ("name", "fix"), [("UK", "GB"), ("eu", "EU"), ("Germany", "DE"), ("norway", "NO")]
)
def test_did_you_mean_for_groups(name: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=r"neither a country code nor a group") as caught:
        regions.group(name)
    assert f"did you mean {fix}" in str(caught.value.fix)


@given(st.text(max_size=300))
def test_group_of_any_text_is_a_group_or_our_error(text: str) -> None:
    try:
        assert regions.group(text).code == text
    except ConfigError as error:
        assert all(c >= " " for c in f"{error.what}{error.fix}")


def test_every_group_has_source_date_and_countries() -> None:
    for each in regions.all_groups():
        assert each.source
        assert date.fromisoformat(each.date)
        assert list(each.members) == sorted(set(each.members))
        assert all(re.fullmatch(r"[A-Z]{2}", code, re.ASCII) for code in each.members)
    assert len(regions.all_groups()) == 249 + 3


# --- AWS, generated ------------------------------------------------------------------------------


@pytest.fixture
def botocore() -> None:
    """botocore's data files; its clients are made, but none of them calls anybody."""
    components.found(components.package, "botocore")


@pytest.mark.usefixtures("botocore")
def test_every_region_that_botocore_knows_is_here_under_its_partition() -> None:
    """A newer botocore may know one more: generate the file again."""
    for partition, row in generate.botocore_partitions().items():
        here = {r.region: r for r in regions.provider_regions(partition)}
        assert row["regions"] == set(here)
        assert all(r.partition == partition for r in here.values())
        assert all(r.dns_suffix == row["suffix"] for r in here.values())


@pytest.mark.usefixtures("botocore")
def test_the_committed_file_is_what_the_generator_writes() -> None:
    text = generate.TARGET.read_text("utf-8")
    assert "do not edit" in text.splitlines()[1]
    made = generate.generate()
    now = f"botocore {version('botocore')} "
    assert re.sub(r"botocore [0-9.]+ ", now, text) == made


@pytest.mark.usefixtures("botocore")
def test_botocores_own_clients_call_the_catalogued_hosts() -> None:
    import botocore.session  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    session = botocore.session.Session()
    settings = Config(s3={"us_east_1_regional_endpoint": "regional"})
    for name in ("aws:us-east-1", "aws:eu-west-3", "aws-cn:cn-north-1", "aws-us-gov:us-gov-west-1"):
        check_hosts(session, regions.lookup(name), settings)
    for name in ("aws-eusc:eusc-de-east-1", "aws-iso:us-iso-east-1", "aws-iso-e:eu-isoe-west-1"):
        check_hosts(session, regions.lookup(name), settings)


def check_hosts(session: object, row: regions.Region, settings: object) -> None:
    for service in ("s3", "kms"):
        client = session.create_client(  # type: ignore[attr-defined]
            service,
            region_name=row.region,
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=settings,
        )
        assert client.meta.endpoint_url == f"https://{row.endpoint(service)}"


@pytest.mark.usefixtures("botocore")
def test_a_region_whose_country_nobody_wrote_down_stops_the_generator() -> None:
    places = {k: v for k, v in generate.PLACES.items() if k != "eu-west-3"}
    with pytest.raises(ConfigError, match="eu-west-3") as caught:
        generate.generate(places)
    assert caught.value.reason == "unmapped-region"


# --- weight --------------------------------------------------------------------------------------


def test_the_catalogue_imports_nothing_heavy_and_reads_nothing_before_it_is_asked() -> None:
    code = (
        "import sys; before = set(sys.modules); opened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(a[0]) if e == 'open' else None)\n"
        "import sovgate.regions\n"
        "data = [p for p in opened if str(p).endswith('.json')]\n"
        "third = [m for m in set(sys.modules) - before if m.split('.')[0] in "
        "{'yaml', 'click', 'cryptography', 'jsonschema', 'botocore', 'difflib'}]\n"
        "assert not data, data\nassert not third, third\n"
    )
    top = Path(regions.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=top)
