"""What jobs of generated workflows get to reach keys and stores: each step its own, and no more."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from sovgate import regions
from sovgate.pipeline.look import init, scaffold
from sovgate.surface import launch

LOGIN = "aws-actions/configure-aws-credentials"
SITE = (
    "fra-dc1: {country: DE, operator: Bank GmbH, controlled-from: DE, "
    'source: "https://bank.example/dc", date: 2026-11-01}'
)
#: name -> (pattern, where is trained, where is served, whether key files are made)
PROJECTS = {
    "two partitions": ("hybrid", "aws:us-east-1", ("eu=aws-eusc:eusc-de-east-1",), False),
    "one provider": ("central", "aws:us-east-1", ("eu=aws:eu-central-1",), False),
    "no KMS here": ("central", "ovh:gra", ("eu=aws:eu-central-1", "it=scaleway:it-mil"), False),
    "no KMS there": (
        "hybrid",
        "aws:us-east-1",
        ("fr=ovh:gra", "eu=aws-eusc:eusc-de-east-1"),
        False,
    ),
    "key files": ("hybrid", "aws:us-east-1", ("eu=aws-eusc:eusc-de-east-1",), True),
    "China": ("central", "aws-cn:cn-north-1", ("us=aws-us-gov:us-gov-west-1",), False),
    "a site": ("central", "aws:eu-west-3", ("dc1=declared:fra-dc1",), False),
}


def answers(name: str, *, local: bool = False) -> init.Answers:
    pattern, train, serve, keys = PROJECTS[name]
    sites = {"declared:fra-dc1": init.site_answer(SITE)}
    zones = [init.zone_answer(text, sites=sites) for text in serve]
    return init.Answers(
        pattern=pattern,
        model="kyc",
        train=init.zone_answer(train, suffix="-train"),
        serve=tuple(
            init.with_endpoint(zone, "https://s3.bank.example") if zone.name == "dc1" else zone
            for zone in zones
        ),
        data=(init.data_answer("kyc=EEA,FR,DE"),) if pattern == "hybrid" else (),
        gitops="https://git.example/ml/serving.git",
        keys=keys or local,
        local=local,
    )


def workflows(name: str, *, local: bool = False) -> dict[str, str]:
    made = scaffold.files(init.check(answers(name, local=local)))
    found = {
        path.rpartition("-")[2]: data.decode() for path, data in made.items() if "flows" in path
    }
    return {kind: found[f"{kind}.yml"] for kind in ("release", "rollback")}


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in workflows(name).values():
        found |= yaml.safe_load(text)["jobs"]
    return found


def ours(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if step.get("uses", "").startswith("org/sovgate/")]


def logins(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if LOGIN in step.get("uses", "")]


def runs_yours(job: dict[str, Any]) -> bool:
    return any(".sh" in step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize("name", PROJECTS)
def test_rule_23_no_job_with_your_code_can_ask_for_credentials(name: str) -> None:
    there = [job for job in jobs(name).values() if runs_yours(job)]
    assert there
    for job in there:
        assert job["permissions"] == {"contents": "read"}
        assert logins(job) == []
        assert "environment" not in job
        assert not {"secrets.", "vars."} & set(re.findall(r"secrets\.|vars\.", json.dumps(job)))


@pytest.mark.parametrize("name", PROJECTS)
def test_only_jobs_with_an_environment_ask_and_only_those_that_need_it(name: str) -> None:
    for job in jobs(name).values():
        asks = bool(logins(job))
        assert (job["permissions"].get("id-token") == "write") is asks
        assert not asks or "environment" in job
        for step in logins(job):
            assert re.fullmatch(LOGIN + "@[0-9a-f]{40}", step["uses"])
            assert step["with"]["output-credentials"] is True
            assert step["with"]["output-env-credentials"] is False, "other steps would get them"
            used = f"steps.{step['id']}.outputs."
            assert used in json.dumps([one.get("env") for one in ours(job)])
        assert "ACCESS_KEY" not in json.dumps(job.get("env", {}))


@pytest.mark.parametrize("name", PROJECTS)
def test_what_a_step_gets_is_handed_over_to_the_command(name: str) -> None:
    """An action clears the environment but for the usual names, and what `pass-env` names."""
    for job in jobs(name).values():
        for step in ours(job):
            given = {key for key in step.get("env", {}) if key.endswith(("_ID", "_KEY", "_TOKEN"))}
            named = set(step["with"].get("pass-env", "").split()) if "with" in step else set()
            assert given - set(launch.CREDENTIALS) == named
            assert not any(launch._NEVER.match(variable) for variable in named)


def test_the_names_of_every_provider_with_a_store_can_be_handed_over() -> None:
    served = {row.provider for row in regions.all_regions() if row.s3_endpoint is not None}
    assert len(served) > 5
    for provider in {*served, regions.DECLARED}:
        name = f"{provider.upper().replace('-', '_')}_ACCESS_KEY_ID"
        assert name in launch.CREDENTIALS or not launch._NEVER.match(name), name


@pytest.mark.parametrize("name", PROJECTS)
def test_each_store_and_kms_is_reached_with_credentials_of_its_own_provider(name: str) -> None:
    made = answers(name)
    zones = {zone.name: zone for zone in made.zones}
    for key, job in jobs(name).items():
        for step in ours(job):
            verb = step["uses"].split("/")[2].split("@")[0]
            given = step.get("env", {})
            if verb in ("verify", "sbom") or "zone" not in step["with"] or runs_yours(job):
                assert not given, (key, verb)
                continue
            zone = zones[step["with"]["zone"]]
            asked = (
                {zone} if verb not in ("sign", "record", "attest") or made.in_kms(zone) else set()
            )
            asked |= {zones[step["with"]["to"]]} if verb == "push" else set()
            providers = {one.region.provider.upper().replace("-", "_") for one in asked}
            assert {f"{provider}_ACCESS_KEY_ID" for provider in providers} == {
                variable for variable in given if variable.endswith("_ACCESS_KEY_ID")
            }, (key, verb)
        for step in logins(job):
            region = step["with"]["aws-region"]
            (zone,) = {zone for zone in zones.values() if zone.region.region == region}
            role = step["with"]["role-to-assume"]
            upper = zone.name.upper().replace("-", "_")
            assert role.endswith((f"vars.{upper}_ROLE }}}}", f"_TO_{upper}_ROLE }}}}"))


@pytest.mark.parametrize("name", PROJECTS)
def test_zones_with_a_kms_have_no_key_files_and_the_others_do(name: str) -> None:
    made = answers(name)
    for key, job in jobs(name).items():
        if "environment" not in job:
            continue
        zone = next(zone for zone in made.zones if zone.name in job["runs-on"])
        text = json.dumps(job)
        assert ("_SIGN_KEY" in text) is ("Forget the keys" in text) is not made.in_kms(zone), key
        # The project file alone says what a zone's key is.
        assert all("key" not in step["with"] for step in ours(job))


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("kind", ["release", "rollback"])
def test_the_head_names_each_secret_and_variable_of_each_environment(name: str, kind: str) -> None:
    text = workflows(name)[kind]
    said: dict[str, set[str]] = {}
    for line in text.partition("\nname: ")[0].splitlines():
        if found := re.fullmatch(r"#     ([a-z0-9-]+)", line):
            names = said.setdefault(found[1], set())
        elif found := re.fullmatch(r"#       (?:variable|secret) (\w+): \S.*", line):
            names.add(found[1])
    asked: dict[str, set[str]] = {}
    for job in yaml.safe_load(text)["jobs"].values():
        if "environment" in job:
            found_ = re.findall(r"(?:secrets|vars)\.(\w+)", json.dumps(job))
            asked.setdefault(job["environment"], set()).update(found_)
    assert said == asked
    assert ("aws.md#roles-for-jobs" in text) is ("vars." in text)


def test_folders_on_this_machine_need_no_credentials() -> None:
    for text in workflows("two partitions", local=True).values():
        assert "id-token" not in text
        assert "ACCESS_KEY" not in text
