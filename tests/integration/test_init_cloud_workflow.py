"""The workflow of a project in two clouds, run by the real act: each step gets its own credentials.

A store at one provider with key files, and a store and a KMS at another. What GitHub and AWS would
say to a job that asks for a role is played by an action of ours under the pinned name.
"""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.keys.registry import open_public
from sovgate.pipeline.look import init
from sovgate.pipeline.look.keys import generate
from tests import servers
from tests.conformance.keys import kms_key
from tests.integration.test_init_workflow import TRAIN, prepared, run
from tests.workflows import release_tree, wheels

pytestmark = pytest.mark.component
LOGIN = "aws-actions/configure-aws-credentials@"
STUB = """\
name: credentials of a role
inputs:
  role-to-assume: {required: true}
  aws-region: {required: true}
  output-credentials: {required: false}
  output-env-credentials: {required: false}
outputs:
  aws-access-key-id: {value: "${{ steps.say.outputs.id }}"}
  aws-secret-access-key: {value: "${{ steps.say.outputs.secret }}"}
  aws-session-token: {value: ""}
runs:
  using: composite
  steps:
    - id: say
      shell: /bin/bash --noprofile --norc -eo pipefail {0}
      env: {ROLE: "${{ inputs.role-to-assume }}", ENV: "${{ inputs.output-env-credentials }}"}
      run: |
        case "$ROLE" in arn:aws:iam::111122223333:role/*) ;; *) exit 1;; esac
        test "$ENV" = false
        printf 'id=test\\nsecret=testtest\\n' >> "$GITHUB_OUTPUT"
"""


def project(folder: Path, s3: str, kms: str) -> None:
    """`init`, and then what a person fills in: keys in the KMS, public halves, and here servers."""
    answers = init.Answers(
        pattern="central",
        model="kyc",
        train=init.zone_answer("us-train=ovh:gra"),
        serve=(init.zone_answer("eu=aws:eu-central-1"),),
        data=(),
    )
    init.init(folder, answers)
    for name in ("us-train-sign", "us-train"):
        generate("sign" if "sign" in name else "encrypt", out=folder / f"keys/{name}.pem")
    sign, encrypt = kms_key(kms, "ECC_NIST_P256"), kms_key(kms, "RSA_4096")
    for uri, file in ((sign, "eu-sign"), (encrypt, "eu")):
        pem = open_public(uri, folder, "aws:eu-central-1").pem
        (folder / f"keys/{file}.pub.pem").write_bytes(pem)
    path = folder / "sovgate.yaml"
    text = re.sub(r"(?m)^      # (sign-public|encrypt-public)", r"      \1", path.read_text())
    for use, uri in (("sign", sign), ("encrypt", encrypt)):
        text, times = re.subn(f'(?m)^(      {use}:) "awskms:.*', f'\\1 "{uri}"', text)
        assert times == 1
    for zone, region in (("us-train", "gra"), ("eu", "eu-central-1")):
        store = f"s3://{servers.bucket(s3, region)}/{secrets.token_hex(8)}?endpoint={s3}"
        text = text.replace(f"s3://kyc-{zone}", f'"{store}"')
    path.write_text(text)
    (folder / "train.sh").write_text(TRAIN)
    (folder / "train.sh").chmod(0o755)


@pytest.mark.thorough  # eight steps, each of which builds its environment
def test_each_provider_gets_its_own_credentials_from_a_tag_to_the_zone(
    act: Path, seaweedfs: str, ministack: str, tmp_path: Path
) -> None:
    folder, handover = tmp_path / "kyc", tmp_path / "handover"
    project(folder, seaweedfs, ministack)
    given = {}
    for secret, name in (("SIGN_KEY", "us-train-sign"), ("DECRYPT_KEY", "us-train")):
        given[f"US_TRAIN_{secret}"] = (folder / f"keys/{name}.pem").read_text()
        (folder / f"keys/{name}.pem").unlink()
    given |= {"US_TRAIN_ACCESS_KEY_ID": "test", "US_TRAIN_SECRET_ACCESS_KEY": "testtest"}
    both = tmp_path / "wheels"
    both.mkdir()
    for wheel in (*wheels().glob("*.whl"), *wheels("aws").glob("*.whl")):
        if not (both / wheel.name).exists():
            shutil.copy(wheel, both / wheel.name)
    workflow: dict[str, Any] = prepared(folder, handover)
    (login,) = {
        step["uses"].partition(LOGIN)[2]
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if LOGIN in step.get("uses", "")
    }
    assert re.fullmatch("[0-9a-f]{40}", login)
    path = folder / ".github/workflows/sovgate-release.yml"
    path.write_text(path.read_text().replace(str(wheels()), str(both)))
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "action.yml").write_text(STUB)
    role = "arn:aws:iam::111122223333:role"
    words = ["--local-repository", f"{LOGIN}{login}={stub}"]
    words += ["--var", f"EU_ROLE={role}/eu", "--var", f"US_TRAIN_TO_EU_ROLE={role}/put"]
    tree = release_tree(tmp_path / "tree")
    log = run(act, tree, folder, given, tmp_path, more=words)
    assert log.code == 0, str(log)
    assert log.outputs("pull")["manifest"] == log.outputs("sign")["manifest"]
    assert log.outputs("verify")["manifest"] == log.outputs("sign")["manifest"]
    assert not list(handover.glob("*/*")), "weights stay on the runner"
    assert "testtest" not in str(log)
