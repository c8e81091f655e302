"""What people ask for and this version does not have: each with what does the job today.

Names of commands and options, and files that other pipelines are written in. Reads the files that
are named, bounded, and nothing else.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import DOCS, SovgateError, UsageError
from sovgate.files import read_bounded

MAX_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Missing:
    """`what` is not built; `there` is what sovgate has in its place, `today` what to do, `page` of
    docs/ says more."""

    what: str
    there: str
    today: str
    page: str = "works-with.md#not-built"

    def refusal(self, asked: str) -> UsageError:
        return UsageError(
            f"{asked}: {self.what} is not built in this version",
            why=self.there,
            fix=f"{self.today} ({DOCS}/{self.page})",
            reason="not-built",
        )


_KEYLESS = Missing(
    what="an option for keyless signing (Sigstore)",
    there="the instance, its trusted root and the identity token are told by the key's URI, and no "
    "instance is the default",
    today="sign with: sovgate sign MODEL --key 'sigstore:SIGNING_CONFIG?trusted-root=FILE', and to "
    "believe a keyless signer, write an entry under trust",
    page="keyless.md#sign",
)
_IDENTITY = Missing(
    what="to name a keyless signer on the command line",
    there="who is believed stands in sovgate.yaml, whole and with the trusted root",
    today="write under trust: - {name: NAME, may: [signature], keyless: {identity: IDENTITY, "
    "issuer: ISSUER, trusted-root: FILE}}, and verify with: sovgate verify MODEL",
    page="keyless.md",
)
_REPORT = Missing(
    what="a report as a page",
    there="sovgate prints the verified story of a release as text and as JSON",
    today="write it to a file with: sovgate audit show NAME/VERSION -v > story.txt, or for a "
    "program with: sovgate audit show NAME/VERSION --format json",
)
_LIST = Missing(
    what="a list of a store",
    there="a store holds one file for each release: releases/NAME/VERSION.json",
    today="list them with: find STORE/releases -name '*.json', or in a bucket with: "
    "aws s3 ls --recursive s3://BUCKET/releases/; the story of one is told by "
    "sovgate audit show NAME/VERSION",
)
_WITHDRAW = Missing(
    what="a command that withdraws a release or a key",
    there="a release stays in the store, and a key is believed while trust in sovgate.yaml names "
    "it",
    today="roll the zone back with: sovgate rollback --zone ZONE --reason TEXT, and take a key "
    "back by marking its entry in trust with former: true and until, in the sovgate.yaml of each "
    "zone",
    page="keys.md#replace-or-take-back-a-key",
)
_ROTATE = Missing(
    what="a command that rotates keys",
    there="a zone's sovgate.yaml names its keys, and trust names the keys that it believes",
    today="make the new key with: sovgate keys generate sign -o keys/new.pem, and do the steps",
    page="keys.md#replace-or-take-back-a-key",
)
_SERVING = Missing(
    what="a storage initializer for KServe",
    there="an init container can run sovgate pull",
    today="run in it: sovgate pull NAME/VERSION@sha256:… --zone ZONE -o /mnt/models",
    page="serve.md",
)
_PIPELINE = (
    "run there, as one step of the job that may use the key: "
    "sovgate release MODEL --release NAME/VERSION --zone ZONE --to ZONE --dataset NAME"
)
_PLUG_IN = "sovgate has GitHub Actions, Tekton Tasks, an image, and one command for any other"


def _plug_in(system: str) -> Missing:
    return Missing(
        what=f"a plug-in for {system}",
        there=_PLUG_IN,
        today=_PIPELINE,
        page="works-with.md#pipelines-and-rollouts",
    )


HELM = Missing(
    what="rollout by Helm",
    there="promote commits to a kustomize overlay, which Argo CD or Flux rolls out",
    today="render the chart into the overlay's base with: helm template NAME CHART > "
    "base/rendered.yaml, and promote with: sovgate promote NAME/VERSION --zone ZONE",
    page="works-with.md#pipelines-and-rollouts",
)
_WORKFLOW = Missing(
    what="a look at workflow files (upload-artifact, hosted runners)",
    there="sovgate lint reads sovgate.yaml, data set manifests and policies; guard reads what is "
    "committed",
    today="look at workflows with: zizmor .github/workflows, and keep data and weights out of "
    "upload-artifact; then lint the project with: sovgate lint",
)

#: Words of the command line, the group first, in place of a command.
COMMANDS: dict[tuple[str, ...], Missing] = {
    ("report",): _REPORT,
    ("audit", "report"): _REPORT,
    ("audit", "export"): _REPORT,
    ("list",): _LIST,
    ("ls",): _LIST,
    ("releases",): _LIST,
    ("status",): _LIST,
    ("audit", "list"): _LIST,
    ("withdraw",): _WITHDRAW,
    ("revoke",): _WITHDRAW,
    ("recall",): _WITHDRAW,
    ("keys", "revoke"): _WITHDRAW,
    ("keys", "withdraw"): _WITHDRAW,
    ("rotate",): _ROTATE,
    ("keys", "rotate"): _ROTATE,
    ("storage-initializer",): _SERVING,
    ("helm",): HELM,
}
#: Options, on any command that lacks them.
OPTIONS: dict[str, Missing] = {
    **dict.fromkeys(
        (
            "--keyless",
            "--sigstore",
            "--identity-token",
            "--oidc-issuer",
        ),
        _KEYLESS,
    ),
    **dict.fromkeys(
        (
            "--identity",
            "--identity-provider",
            "--certificate-identity",
            "--certificate-identity-regexp",
            "--certificate-oidc-issuer",
            "--certificate-oidc-issuer-regexp",
            "--trusted-root",
            "--trust-config",
            "--custom-trusted-root",
        ),
        _IDENTITY,
    ),
    "--html": _REPORT,
    "--pdf": _REPORT,
    "--helm": HELM,
    "--gitlab": _plug_in("GitLab CI"),
    "--jenkins": _plug_in("Jenkins"),
    "--kubeflow": _plug_in("Kubeflow Pipelines"),
    "--argo": _plug_in("Argo Workflows"),
    "--argo-workflows": _plug_in("Argo Workflows"),
}

#: A file's name, or its path from the right -> the system that reads it.
_BY_NAME = {
    ".gitlab-ci.yml": "GitLab CI",
    ".gitlab-ci.yaml": "GitLab CI",
    "Jenkinsfile*": "Jenkins",
    "*.jenkinsfile": "Jenkins",
    "azure-pipelines.y*ml": "Azure Pipelines",
    "bitbucket-pipelines.yml": "Bitbucket Pipelines",
    ".circleci/config.yml": "CircleCI",
}
_HELM_NAMES = ("Chart.yaml", "helmfile.y*ml")
_WORKFLOW_NAMES = (".github/workflows/*.y*ml",)
#: What a file says of itself -> the system that reads it.
_BY_CONTENT = (
    (re.compile(rb"(?m)^\s*[\"']?apiVersion[\"']?:\s*[\"']?argoproj\.io/"), "Argo Workflows"),
    (re.compile(rb"(?m)^\s*[\"']?apiVersion[\"']?:\s*[\"']?kubeflow\.org/"), "Kubeflow"),
    (re.compile(rb"(?m)^(?:pipelineInfo:|# PIPELINE DEFINITION)"), "Kubeflow Pipelines"),
)
_ARGO_KINDS = re.compile(
    rb"(?m)^\s*[\"']?kind[\"']?:\s*[\"']?(?:Cron|Cluster)?Workflow(?:Template)?[\"']?\s*$"
)


def refuse_command(*words: str) -> None:
    """Raises UsageError, reason "not-built", where the words name a command that people look for.

    Only where there is none of that name: the caller knows the commands that there are.
    """
    if missing := COMMANDS.get(tuple(word.lower() for word in words)):
        raise missing.refusal("sovgate " + " ".join(word.lower() for word in words))


def option_refusal(name: str) -> UsageError | None:
    """The refusal of an option that no command has."""
    missing = OPTIONS.get(name.lower())
    return None if missing is None else missing.refusal(name.lower())


def of_file(path: Path) -> Missing | None:
    """What a file would need that reads it as a pipeline; None for a file of any other kind."""
    for patterns, missing in ((_HELM_NAMES, HELM), (_WORKFLOW_NAMES, _WORKFLOW)):
        if any(_named(path, pattern) for pattern in patterns):
            return missing
    for pattern, system in _BY_NAME.items():
        if _named(path, pattern):
            return _plug_in(system)
    if path.suffix not in (".yaml", ".yml", ".json"):
        return None
    try:
        text = read_bounded(path, most=MAX_BYTES, what="file")
    except SovgateError:
        return None
    for written, system in _BY_CONTENT:
        if written.search(text) and (system != "Argo Workflows" or _ARGO_KINDS.search(text)):
            return _plug_in(system)
    return None


def _named(path: Path, pattern: str) -> bool:
    parts = path.absolute().parts[-1 - pattern.count("/") :]
    return fnmatch.fnmatchcase("/".join(parts), pattern)


def refuse_files(paths: Sequence[Path]) -> None:
    """Raises UsageError, reason "not-built", naming all of these that `lint` cannot read."""
    found = [(path, missing) for path in paths if (missing := of_file(path)) is not None]
    if not found:
        return
    names = [repr(str(path)) for path, _ in found]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    refusal = found[0][1].refusal("lint " + ", ".join(names[:3]) + more)
    others = {missing.what: missing for _, missing in found[1:] if missing.what != found[0][1].what}
    refusal.details = tuple(
        f"{missing.what} is not built either: {missing.today}" for missing in others.values()
    )
    raise refusal


def pipelines_in(folder: Path) -> list[str]:
    """What lies in a folder of other systems' pipelines, a sentence each, for `init`."""
    told = []
    for pattern, system in _BY_NAME.items():
        if any(folder.glob(pattern)):
            found = next(iter(sorted(folder.glob(pattern))))
            told.append(
                f"there is {found.relative_to(folder)}, and nothing was written for {system}: "
                f"{_PIPELINE} ({DOCS}/works-with.md#pipelines-and-rollouts)"
            )
    return told
