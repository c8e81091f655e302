"""`sovgate regions`: what a person reads and a program parses."""

from __future__ import annotations

import json
import re

import pytest

from sovgate import regions
from sovgate.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_list_shows_every_region_once_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "regions", "list")
    assert code == 0
    everything = regions.all_regions()
    assert f"{len(everything)} regions of {len(everything)}" in out
    lines = out.splitlines()
    at = lines[1].index("country")
    for row in everything:
        (line,) = [line for line in lines if line.split("  ")[0] == row.id]
        assert line[at : at + 2] == row.country


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    code, out, _ = run(capsys, "regions", "list", "--format", "json", *arguments)
    assert code == 0
    return [row["id"] for row in json.loads(out)["regions"]]


def test_list_is_narrowed_by_provider_country_and_group(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert listed(capsys, "--provider", "aws-eusc") == ["aws-eusc:eusc-de-east-1"]
    norway = listed(capsys, "--country", "NO")
    assert set(norway) >= {"azure:norwayeast", "azure:norwaywest", "upcloud:no-svg1"}
    assert {regions.lookup(each).country for each in norway} == {"NO"}
    in_eu = listed(capsys, "--group", "EU")
    assert "outscale:eu-west-2" in in_eu
    assert not {"aws:eu-west-2", "aws:eu-central-2", "gcp:europe-west6", *norway} & set(in_eu)
    both = listed(capsys, "--group", "EU", "--provider", "gcp", "--country", "FR")
    assert both == ["gcp:europe-west9"]
    assert listed(capsys, "--country", "AQ") == []


def test_show_names_source_and_date_of_the_place_and_of_the_operator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "regions", "show", "aws-eusc:eusc-de-east-1")
    assert code == 0
    assert "aws-eusc:eusc-de-east-1 is Brandenburg, DE (Germany)" in out
    assert re.search(r"groups +DE EEA EU$", out, re.M)
    assert re.search(r"s3 +s3\.eusc-de-east-1\.amazonaws\.eu$", out, re.M)
    assert re.search(r"source +botocore ", out)
    assert re.search(r"checked +\d{4}-\d\d-\d\d$", out, re.M)
    assert re.search(r"controlled from +US \(United States\): Amazon", out)
    assert len(re.findall(r"\d{4}-\d\d-\d\d", out)) == 2


def test_show_says_who_makes_a_claim(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "regions", "show", "s3ns:u-france-east1")
    assert re.search(r"claim +SecNumCloud: 3\.2, PREMI3NS, says ANSSI$", out, re.M)


def test_show_admits_that_a_country_is_not_published(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "regions", "show", "aws-iso-e:eu-isoe-west-1")
    assert "ZZ (not published)" in out
    assert "none: no stays-in but the empty one admits it" in out


def test_every_region_can_be_shown_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    for row in regions.all_regions():
        code, out, _ = run(capsys, "regions", "show", row.id)
        assert code == 0
        assert row.source in out
        code, out, _ = run(capsys, "regions", "show", "--format", "json", row.id)
        assert json.loads(out)["region"] == row.json()


@pytest.mark.parametrize(
    ("arguments", "reason", "fix"),
    [
        (("show", "eu-west-2"), "bare-region", "write aws:eu-west-2 or outscale:eu-west-2"),
        (("show", "aws:eu-west2"), "unknown-region", "aws:eu-west-2 (London, GB)"),
        (("show", "aws:\x1b[31m"), "unknown-region", "sovgate regions list"),
        (("list", "--country", "UK"), "unknown-group", "did you mean GB?"),
        (("list", "--group", "eu"), "unknown-group", "did you mean EU?"),
        (("list", "--provider", "awz"), "unknown-provider", "did you mean aws?"),
        (("list", "--provider", "x" * 10_000), "unknown-provider", "name one of them"),
    ],
)
def test_what_is_not_there_is_a_usage_error_with_a_way_out(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str, fix: str
) -> None:
    code, out, err = run(capsys, "regions", *arguments)
    assert (code, out) == (2, "")
    assert fix in err
    assert "\x1b" not in err
    assert len(err) < 1000
    code, out, _ = run(capsys, "regions", *arguments, "--format", "json")
    assert code == 2
    assert reason in out


@pytest.mark.parametrize("arguments", [(), ("regions",)])
def test_a_group_without_a_command_prints_its_help(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: sovgate")
    assert "\\n" not in err
