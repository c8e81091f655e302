"""A TaskRun as Tekton and Kubernetes make a pod of it: variables, and folders in place of volumes.

Webhooks of clouds for workloads are played, as their sources have them. Reads tekton/; starts
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.steps import Step, document, step

#: Where webhooks mount the token, and for whom it is made.
AWS_TOKEN = Path("/var/run/secrets/eks.amazonaws.com/serviceaccount")
AZURE_TOKEN = Path("/var/run/secrets/azure/tokens")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a run refers to.

    secrets, configs  name -> key -> text
    claims            name -> the folder that is the volume
    token             audience -> a token of the pod's service account
    volumes           where folders for volumes are made
    """

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    claims: Mapping[str, Path]
    token: Callable[[str], str]
    volumes: Path
    tenant: str = ""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """`mounts`: a folder -> "/place[:ro]". `volumes`: what the run binds, as a pod has them."""

    step: Step
    mounts: Mapping[Path, str]
    volumes: list[dict[str, Any]]


def run_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (one for one in documents if one["kind"] == "TaskRun")
    return found


def pod(
    documents: list[dict[str, Any]],
    cluster: Cluster,
    *,
    verb: str = "",
    params: Mapping[str, str] | None = None,
) -> Pod:
    """`verb`: another Task, which runs as this one does, with its own `params`."""
    run = run_of(documents)
    spec = run["spec"]
    task = document("Task", verb or spec["taskRef"]["name"].removeprefix("sovgate-"))
    known = {param["name"] for param in task["spec"]["params"]}
    given = {param["name"]: param["value"] for param in spec["params"]}
    if verb:
        given = {name: given[name] for name in ("secret",) if name in given and name in known}
    given |= params or {}
    made = step(task, given, secrets=cluster.secrets)
    bound = {w["name"]: w for w in spec["workspaces"]}
    places = {w["name"]: w for w in task["spec"]["workspaces"]}
    assert verb or set(bound) <= set(places), "Tekton would refuse it"
    assert {name for name, w in places.items() if not w.get("optional")} <= set(bound)
    env, mounts = dict(made.env), {}
    for name in set(bound) & set(places):
        there = places[name]
        place = there.get("mountPath", f"/workspace/{name}")
        folder = _folder(bound[name], cluster)
        closed = there.get("readOnly") or folder not in cluster.claims.values()
        mounts[folder] = f"{place}:ro" if closed else place
    for one in spec["podTemplate"].get("env", []):
        env[one["name"]] = one["value"]  # which goes before the step's own
    for name, value, folder, place in _webhooks(documents, run, cluster):
        env.setdefault(name, value)
        if folder is not None:
            mounts[folder] = f"{place}:ro"
    volumes = [{k: v for k, v in w.items() if k != "subPath"} for w in bound.values()]
    return Pod(step=replace(made, env=env), mounts=mounts, volumes=volumes)


def _folder(binding: Mapping[str, Any], cluster: Cluster) -> Path:
    if "persistentVolumeClaim" in binding:
        return cluster.claims[binding["persistentVolumeClaim"]["claimName"]]
    folder = cluster.volumes / binding["name"]
    folder.mkdir(exist_ok=True, parents=True)
    sources = binding.get("projected", {}).get("sources", [binding])
    for source in sources:
        for name, text in _files(source, cluster):
            (folder / name).write_text(text)
    return folder


def _files(source: Mapping[str, Any], cluster: Cluster) -> Iterator[tuple[str, str]]:
    if "secret" in source:
        named = source["secret"].get("secretName") or source["secret"]["name"]
        yield from cluster.secrets[named].items()
    elif "configMap" in source:
        yield from cluster.configs[source["configMap"]["name"]].items()
    else:
        told = source["serviceAccountToken"]
        yield told["path"], cluster.token(told["audience"])


def _webhooks(
    documents: list[dict[str, Any]], run: Mapping[str, Any], cluster: Cluster
) -> Iterator[tuple[str, str, Path | None, Path | None]]:
    """Variables, and the folder of a token with its place."""
    account = run["spec"].get("serviceAccountName")
    notes: dict[str, str] = {}
    for one in documents:
        if one["kind"] == "ServiceAccount" and one["metadata"]["name"] == account:
            notes = one["metadata"]["annotations"]
    if role := notes.get("eks.amazonaws.com/role-arn"):
        folder = _token(cluster, "token", "sts.amazonaws.com")
        yield "AWS_STS_REGIONAL_ENDPOINTS", "regional", None, None
        yield "AWS_DEFAULT_REGION", "eu-central-1", None, None
        yield "AWS_REGION", "eu-central-1", None, None
        yield "AWS_ROLE_ARN", role, None, None
        yield "AWS_WEB_IDENTITY_TOKEN_FILE", str(AWS_TOKEN / "token"), folder, AWS_TOKEN
    client = notes.get("azure.workload.identity/client-id")
    if client and run["metadata"].get("labels", {}).get("azure.workload.identity/use") == "true":
        name = "azure-identity-token"
        folder = _token(cluster, name, "api://AzureADTokenExchange")
        yield "AZURE_CLIENT_ID", client, None, None
        yield "AZURE_TENANT_ID", cluster.tenant, None, None
        yield "AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/", None, None
        yield "AZURE_FEDERATED_TOKEN_FILE", str(AZURE_TOKEN / name), folder, AZURE_TOKEN


def _token(cluster: Cluster, name: str, audience: str) -> Path:
    folder = cluster.volumes / name
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(cluster.token(audience))
    return folder
