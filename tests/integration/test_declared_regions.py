"""A region of the project's own, `declared:NAME`, in every command: its word, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.errors import ConfigError, ResidencyMismatch
from sovgate.keys.registry import open_signer
from sovgate.records import GRADE
from sovgate.stores.registry import open_store
from tests.crossing import Crossing, make_crossing, tree
from tests.hostilecloud import Answer, Asked, serving, xml

SITE = (
    '{country: DE, operator: Bank GmbH, controlled-from: NL, source: "https://bank.example/dc", '
    "date: 2026-11-01}"
)
ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def site(crossing: Crossing, text: str = f"fra-dc1: {SITE}", zone: str = "eu") -> None:
    """Zone eu stands in a data centre of the bank's own."""
    regions = {"home": "aws:us-east-1", "eu": "aws-eusc:eusc-de-east-1"}
    crossing.edit("datasets:", f"regions:\n  {text}\ndatasets:")
    crossing.edit(f"region: {regions[zone]}", f"region: declared:{text.partition(':')[0]}")


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    made = make_crossing(tmp_path / "project")
    site(made)
    return made


def test_a_model_crosses_to_a_region_of_ones_own(crossing: Crossing) -> None:
    assert crossing.run("lint")[0] == 0
    assert crossing.json("check", "model", "--action", "transfer", "--zone", "home", "--to", "eu")
    done = crossing.push()
    assert done["to"]["provider_region"] == "declared:fra-dc1"
    assert (done["to"]["country"], done["to"]["operator"]) == ("DE", "Bank GmbH")
    assert done["to"]["grade"] == GRADE["declared"]
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    _, tree_ = crossing.run("audit", "show", "churn/1.0.0")
    assert "declared:fra-dc1" in tree_
    checks = crossing.run("doctor", "--zone", "eu")
    assert "declared:fra-dc1" in checks[1]


def test_it_sends_too_and_says_where_it_is(tmp_path: Path) -> None:
    made = make_crossing(tmp_path / "project")
    site(made, zone="home")
    assert made.push()["from"]["provider_region"] == "declared:fra-dc1"
    made.pull()


def test_data_may_stay_there_by_its_country_and_groups(crossing: Crossing) -> None:
    crossing.edit("stays-in: [US]", "stays-in: [US, EU]")
    crossing.sign("kyc")
    assert (
        crossing.run("check", "model", "--action", "transfer", "--zone", "home", "--to", "eu")[0]
        == 0
    )
    crossing.edit("country: DE", "country: CH")
    code, said = crossing.run(
        "check", "model", "--action", "transfer", "--zone", "home", "--to", "eu"
    )
    assert code == 10
    assert "EU" in said


def test_rule_15_its_location_is_never_better_known_than_declared(crossing: Crossing) -> None:
    crossing.edit("    store: eu-store", "    require: api\n    store: eu-store")
    code, said = crossing.run("lint")
    assert code == 3
    assert "by this file's own word alone" in said
    assert crossing.push(code=10)


def test_rule_15_a_server_of_ones_own_is_declared_whatever_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    def answer(asked: Asked) -> Answer:
        if "location" in asked.path:
            return xml("<LocationConstraint>us-east-1</LocationConstraint>")
        return Answer()

    with serving(answer) as cloud:
        store = open_store(f"s3://models?endpoint={cloud.url}", Path(), "declared:fra-dc1")
        assert store.location() is None  # then it is what the file declares


def test_rule_15_a_cloud_is_not_a_site_of_ones_own() -> None:
    pytest.importorskip("boto3")
    store = open_store(
        "s3://models?endpoint=https://s3.us-east-1.amazonaws.com", Path(), "declared:fra-dc1"
    )
    with pytest.raises(ResidencyMismatch) as elsewhere:
        store.location()
    assert "aws:us-east-1" in elsewhere.value.what
    assert "declared:fra-dc1" in str(elsewhere.value.why)
    with pytest.raises(ConfigError) as caught:
        open_store("s3://models", Path(), "declared:fra-dc1").location()
    assert "?endpoint=https://HOST" in str(caught.value.fix)
    with pytest.raises(ResidencyMismatch):
        open_signer(f"awskms:///{ARN}", Path(), "declared:fra-dc1")


def test_two_files_that_disagree_about_it_stop_the_pull(crossing: Crossing) -> None:
    crossing.push()
    crossing.edit("country: DE", "country: US")
    said = crossing.pull(code=11)["error"]
    assert said["reason"] == "wrong-region"
    assert "in DE, run by Bank GmbH, says the record; here it is declared in US" in said["why"]
    assert not (crossing.base / "pulled").exists()


def test_data_may_be_recorded_there_by_its_country(crossing: Crossing) -> None:
    """The key speaks for the zone, and the zone is where the file says."""
    crossing.edit("stays-in: [US]", "stays-in: [NL]")
    record = ("record", "model", "--dataset", "kyc", "--key", "keys/eu.pem")
    code, said = crossing.run(*record)
    assert code == 10
    assert "eu is in DE, EEA, EU" in said
    crossing.edit("stays-in: [NL]", "stays-in: [EU]")
    assert crossing.run(*record)[0] == 0


def test_regions_shows_it_with_source_and_date(crossing: Crossing) -> None:
    code, said = crossing.run("regions", "show", "declared:fra-dc1")
    assert code == 0
    for words in ("Bank GmbH", "DE (Germany)", "NL (Netherlands", "https://bank.example/dc"):
        assert words in said
    assert "2026-11-01" in said
    assert "`declared` at most" in said
    rows = crossing.json("regions", "list", "--provider", "declared")["regions"]
    assert [row["id"] for row in rows] == ["declared:fra-dc1"]
    everywhere = crossing.json("regions", "list", "--country", "DE")["regions"]
    assert "declared:fra-dc1" in {row["id"] for row in everywhere}


def test_without_its_project_nobody_knows_it(tmp_path: Path) -> None:
    made = make_crossing(tmp_path / "project")
    code, said = made.run("regions", "show", "declared:fra-dc1")
    assert code == 2
    assert "under regions: in sovgate.yaml" in said


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("fra-dc1", "eu", "a country or a group of countries"),
        ("fra-dc1", "eea", "a country or a group of countries"),
        ("fra-dc1", "us", "a country or a group of countries"),
        ("fra-dc1", "aws", "a provider"),
        ("fra-dc1", "declared", "a provider"),
        ("fra-dc1", "eu-west-1", "a region of the catalogue"),
        ("fra-dc1", "Fra", "use a-z, 0-9 and hyphens"),
        ("fra-dc1", "a_b", "use a-z, 0-9 and hyphens"),
        ("country: DE", "country: EU", "is a group of countries"),
        ("country: DE", "country: de", "did you mean DE?"),
        ("country: DE", "country: UK", "did you mean GB?"),
        ("country: DE", "country: ZZ", "neither a country code nor a group"),
        ("country: DE, ", "", "lacks the key 'country'"),
        ("controlled-from: NL", "controlled-from: EEA", "is a group of countries"),
        ("controlled-from: NL, ", "", "lacks the key 'controlled-from'"),
        ("operator: Bank GmbH", 'operator: ""', "must be text"),
        ("operator: Bank GmbH", 'operator: "a\\nb"', "is not one line"),
        ("date: 2026-11-01", "date: 2026-02-30", "there is no day 2026-02-30"),
        ("date: 2026-11-01", "date: yesterday", "is not a date"),
        ("operator: Bank", "partition: aws, operator: Bank", "has no key 'partition'"),
        ("region: declared:fra-dc1", "region: declared:fra-dc2", "did you mean"),
        ("region: declared:fra-dc1", "region: fra-dc1", "provider:region"),
    ],
)
def test_what_it_says_is_checked(crossing: Crossing, old: str, new: str, told: str) -> None:
    path = crossing.base / "sovgate.yaml"
    path.write_text(path.read_text().replace(old, new))
    code, said = crossing.run("lint")
    assert code == 3, said
    assert told in said
    assert "sovgate.yaml:" in said
    assert crossing.run("check", "model", "--action", "serve", "--zone", "eu")[0] == 3
