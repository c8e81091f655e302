"""Every way to sign is an input of `sign@v1`: the blocks of docs/actions.md, run by the real act.

A scheme of keys that has no way in tests/ways.py, or no block on the page, fails here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate.keys.registry import SCHEMES, SIGNERS
from sovgate.surface import launch
from tests import effort, ways
from tests.components import ROOT
from tests.workflows import PYTHON, Act, every_wheel, release_tree, workflow

PAGE = (ROOT / "docs" / "actions.md").read_text(encoding="utf-8")
#: Way -> where the page has it: a heading, and the number of the block below it.
BLOCKS = {
    "file": ("Key files", 0),
    "file, encrypted": ("Key files", 0),
    "awskms": ("AWS KMS", 0),
    "gcpkms": ("Google Cloud KMS", 0),
    "azurekms": ("Azure Key Vault", 0),
    "openbao": ("OpenBao and Vault", 0),
    "hashivault": ("OpenBao and Vault", 1),
    "pkcs11": ("HSMs and tokens", 0),
    "sigstore": ("Keyless", 0),
}
AWS_LOGIN = """\
name: what gives the credentials of a role; the test puts them where its outputs are read
inputs:
  role-to-assume: {required: true}
  aws-region: {required: true}
  output-credentials: {required: true}
  output-env-credentials: {required: true}
runs:
  using: composite
  steps:
    - shell: bash
      env: {ENV: "${{ inputs.output-env-credentials }}"}
      run: test "$ENV" = false
"""
#: As the real one does, with the job's own token, and with no credential in the environment.
GOOGLE_LOGIN = """\
name: what writes a file of credentials
inputs:
  workload_identity_provider: {required: true}
  service_account: {required: true}
runs:
  using: composite
  steps:
    - shell: bash
      env:
        PROVIDER: "${{ inputs.workload_identity_provider }}"
        ACCOUNT: "${{ inputs.service_account }}"
      run: |
        file="$GITHUB_WORKSPACE/gha-creds-1234.json"
        cat >"$file" <<END
        {"type": "external_account", "audience": "//iam.googleapis.com/$PROVIDER",
         "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
         "token_url": "https://sts.googleapis.com/v1/token",
         "service_account_impersonation_url":
           "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/$ACCOUNT:generateAccessToken",
         "credential_source": {
           "url": "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=https%3A%2F%2Fiam.googleapis.com",
           "headers": {"Authorization": "bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
           "format": {"type": "json", "subject_token_field_name": "value"}}}
        END
        echo "GOOGLE_APPLICATION_CREDENTIALS=$file" >>"$GITHUB_ENV"
"""


def section() -> str:
    start = PAGE.index("\n## Ways to sign\n")
    return PAGE[start : PAGE.index("\n## ", start + 4)]


def block(way: str) -> str:
    heading, number = BLOCKS[way]
    (below,) = re.findall(rf"^### {heading}\n(.*?)(?=^### |\Z)", section(), re.S | re.M)
    return re.findall(r"^```yaml\n(.*?)^```", below, re.S | re.M)[number]


def filled(text: str, place: ways.Place) -> list[dict[str, Any]]:
    """Its steps, with secrets in plain: a runner would black out one that got into the log."""

    def value(found: re.Match[str]) -> str:
        return place.values.get(found[1], found[0])

    def put(node: Any) -> Any:
        if isinstance(node, str):
            return re.sub(r"\$\{\{ ([a-zA-Z_.-]+) \}\}", value, node)
        if isinstance(node, dict):
            return {key: put(inner) for key, inner in node.items()}
        return [put(inner) for inner in node] if isinstance(node, list) else node

    steps: list[dict[str, Any]] = put(yaml.safe_load(text))
    return steps


def behind(sign: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps after it: `verify` with public halves alone, the others with what opens the key."""
    given = {k: v for k, v in sign["with"].items() if k not in ("model", "zone")}
    same = {"env": sign["env"]} if "env" in sign else {}
    model, zone = {"model": "build/churn"}, {"zone": "eu"}
    return [
        {"verify": {**model, "manifest": "${{ steps.sign.outputs.manifest }}"}},
        {"encrypt": {**model, **zone, **given, "to": "eu", "output": "sealed"}, **same},
        {"decrypt": {**zone, **given, "sealed": "sealed", "output": "opened"}, **same},
    ]


def job(way: str, place: ways.Place) -> list[dict[str, Any]]:
    steps = filled(block(way), place)
    (sign,) = (step for step in steps if step.get("id") == "sign")
    whole = place.keys and way in effort.some(list(ways.WAYS))
    for step in behind(sign) if whole else behind(sign)[:1]:
        (verb, *_) = step
        steps.append({"id": verb, "uses": f"org/sovgate/{verb}@v1", "with": step.pop(verb), **step})
    here = {"wheels": str(every_wheel()), "python": str(PYTHON), "ca": str(place.ca)}
    for step in steps:
        if step.get("uses", "").startswith("org/sovgate/"):
            step["with"] |= {**here, "proxy": place.vendor.url}
    return steps


@pytest.fixture(scope="module")
def runner(act: Path, tmp_path_factory: pytest.TempPathFactory) -> Act:
    folder = tmp_path_factory.mktemp("act")
    return Act(act, release_tree(folder / "tree"), folder)


def others(steps: list[dict[str, Any]], folder: Path) -> dict[str, Path]:
    """What stands for the actions of clouds."""
    found = {}
    for name, text in (("aws-actions/", AWS_LOGIN), ("google-github-actions/", GOOGLE_LOGIN)):
        for step in steps:
            if step.get("uses", "").startswith(name):
                made = folder / name
                made.mkdir(parents=True)
                (made / "action.yml").write_text(text)
                found[step["uses"]] = made
    return found


def test_every_scheme_has_a_way_and_every_way_stands_on_the_page() -> None:
    schemes = {way.partition(",")[0] for way in ways.WAYS}
    assert schemes == {*SCHEMES, *SIGNERS}, (
        "give the new scheme a way in tests/ways.py, and a block"
    )
    assert set(BLOCKS) == set(ways.WAYS)
    written = {(heading, number) for heading, number in BLOCKS.values()}
    there = re.findall(r"^### |^```yaml$", section(), re.M)
    assert there.count("```yaml") == len(written), "a block that no test runs"
    for scheme in schemes:
        assert f"`{scheme}:" in section()


@pytest.mark.parametrize("way", BLOCKS)
def test_what_a_block_hands_over_reaches_the_command(way: str) -> None:
    """Its inputs are the action's, and its variables are passed; else a user would debug that."""
    inputs = yaml.safe_load((ROOT / "actions/sign/action.yml").read_text())["inputs"]
    (sign,) = (step for step in yaml.safe_load(block(way)) if step.get("id") == "sign")
    assert set(sign["with"]) <= set(inputs)
    passed = sign["with"].get("pass-env", "").split()
    assert set(sign.get("env", {})) <= {*launch.CREDENTIALS, *passed}


@pytest.mark.component
@pytest.mark.parametrize("way", ways.WAYS)
def test_a_job_signs_encrypts_and_decrypts_and_shows_no_secret(
    way: str, runner: Act, tmp_path: Path
) -> None:
    with ways.set_up(way, tmp_path) as place:
        steps = job(way, place)
        document = workflow(*steps)
        document["env"] = ways.JOB
        log = runner.run(document, place.repository, others=others(steps, tmp_path / "others"))
        assert log.code == 0, str(log)
        place.opened()
    ours = [step["id"] for step in steps if step.get("uses", "").startswith("org/sovgate/")]
    assert {log.outputs(step)["manifest"] for step in ours} == {log.outputs("sign")["manifest"]}
    assert place.canaries
    said = str(log) + "".join(map(log.summary, ours))
    assert not [canary for canary in place.canaries if canary in said]
    left = [path for path in place.repository.rglob("*") if path.is_file()]
    left = [path for path in left if path.parent.name not in ("keys", "workflows")]
    for path in left:
        data = path.read_bytes() if ".git" not in path.parts else b""
        assert not [canary for canary in place.canaries if canary.encode() in data], path
