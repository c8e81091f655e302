"""docs/aws.md: its policies allow what push and pull ask for, and nobody to delete."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faultproxy import What, between
from tests.integration.test_cloud_crossing import cloud

PAGE = (Path(__file__).parents[2] / "docs" / "aws.md").read_text(encoding="utf-8")
BLOCKS: list[Any] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
BUCKET = "arn:aws-eusc:s3:::kyc-eu"


def role(mark: str) -> list[dict[str, Any]]:
    """Statements of the policies after `mark` on the page, up to the next role."""
    text = PAGE[PAGE.index(mark) :]
    text = text[: text.index("\n**", 3)]
    found = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    return [s for block in found for s in block.get("Statement", [block])]


def allows(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    def listed(value: str | list[str]) -> list[str]:
        return [value] if isinstance(value, str) else value

    return any(
        action in listed(s["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(s["Resource"]))
        for s in statements
        if s["Effect"] == "Allow"
    )


def asked(method: str, path: str) -> tuple[str, str]:
    """The IAM action of a request of S3's protocol, and its resource in the page's bucket."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    _, bucket, *key = parts.path.split("/", 2)
    assert bucket
    if not key or not key[0]:
        if "location" in query:
            return "s3:GetBucketLocation", BUCKET
        return ("s3:ListBucketMultipartUploads" if "uploads" in query else "s3:ListBucket"), BUCKET
    resource = f"{BUCKET}/models/{key[0].partition('/')[2]}"
    if method == "DELETE":
        return ("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"), resource
    if method in ("PUT", "POST"):
        return "s3:PutObject", resource
    if "uploadId" in query:
        return "s3:ListMultipartUploadParts", resource
    return "s3:GetObject", resource


def test_every_policy_is_json_of_one_partition() -> None:
    assert len(BLOCKS) == 9
    assert "s3:DeleteObject" not in json.dumps(role("**Whoever pushes**"))
    assert "s3:DeleteObject" not in json.dumps(role("**Whoever pulls"))


def test_a_role_of_a_job_trusts_one_environment_of_one_repository() -> None:
    trust = BLOCKS[0]["Statement"][0]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    issuer = "token.actions.githubusercontent.com"
    assert trust["Principal"]["Federated"].endswith(f":oidc-provider/{issuer}")
    asked = trust["Condition"]["StringEquals"]
    assert asked[f"{issuer}:aud"] == "sts.amazonaws.com"
    assert asked[f"{issuer}:sub"].endswith(":environment:eu")
    assert "*" not in json.dumps(trust)


def test_the_policies_allow_what_push_and_pull_ask_for(
    tmp_path: Path, seaweedfs: str, ministack: str
) -> None:
    with between(seaweedfs) as s3, between(ministack) as kms:
        crossing = cloud(tmp_path, seaweedfs, ministack, through=s3.url, recipient="RSA_4096")
        text = (crossing.base / "sovgate.yaml").read_text()
        (crossing.base / "sovgate.yaml").write_text(
            text.replace(
                f"awskms://{urlsplit(ministack).netloc}/", f"awskms://{urlsplit(kms.url).netloc}/"
            )
        )
        (crossing.model / "large.bin").write_bytes(bytes(17 * 1024 * 1024))
        crossing.sign()
        s3.fault(What.LOSE_REPLY, "PUT", "/chunks/")
        pushed = crossing.push()
        pushing, s3.seen = s3.seen, []
        kms.targets.clear()
        crossing.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
        pulling, targets = s3.seen, {t.rpartition(".")[2] for t in kms.targets}
    for mark, requests in (("**Whoever pushes**", pushing), ("**Whoever pulls", pulling)):
        statements = role(mark)
        wanted = {asked(method, path) for method, path in requests}
        assert [each for each in sorted(wanted) if not allows(statements, *each)] == []
    assert {action for action, _ in {asked(*each) for each in pushing}} == {
        "s3:GetBucketLocation",
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
    }
    kms_actions = {a for s in role("**Whoever pulls") for a in s["Action"] if a.startswith("kms:")}
    assert targets == {action.removeprefix("kms:") for action in kms_actions}
