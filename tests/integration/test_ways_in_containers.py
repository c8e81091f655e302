"""Every way to sign is there for the Task: the runs of docs/tekton.md, in the image.

Each container is as locked down as the Tasks ask, but that it shares this machine's loopback, where
the services are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from sovgate.surface import tekton
from sovgate.surface.tekton import USER
from tests import components, containers, pods, ways
from tests.azurevault import TENANT
from tests.components import ROOT

PAGE = (ROOT / "docs" / "tekton.md").read_text(encoding="utf-8")
#: Way, and what tells two runs of one way apart -> heading of the page, and number of the block.
BLOCKS = {
    ("file", ""): ("Key files", 0),
    ("file, encrypted", ""): ("Key files", 0),
    ("awskms", "account"): ("AWS KMS", 0),
    ("awskms", "secret"): ("AWS KMS", 1),
    ("gcpkms", ""): ("Google Cloud KMS", 0),
    ("azurekms", ""): ("Azure Key Vault", 0),
    ("openbao", ""): ("OpenBao and Vault", 0),
    ("hashivault", ""): ("OpenBao and Vault", 1),
    ("pkcs11", ""): ("HSMs and tokens", 0),
    ("sigstore", ""): ("Keyless", 0),
}
IDS = ["-".join(filter(None, key)) for key in BLOCKS]
#: Keys of a Secret, by what a page of Actions calls the same.
SECRET = {
    "pin": "secrets.EU_PIN",
    "VAULT_ROLE_ID": "secrets.VAULT_ROLE_ID",
    "VAULT_SECRET_ID": "secrets.VAULT_SECRET_ID",
    "AWS_ACCESS_KEY_ID": "steps.aws.outputs.aws-access-key-id",
    "AWS_SECRET_ACCESS_KEY": "steps.aws.outputs.aws-secret-access-key",
    "AWS_SESSION_TOKEN": "steps.aws.outputs.aws-session-token",
}


def section() -> str:
    return PAGE[PAGE.index("\n## Ways to sign\n") :]


def documents(heading: str, number: int) -> list[dict[str, Any]]:
    (below,) = re.findall(rf"^### {heading}\n(.*?)(?=^### |\Z)", section(), re.S | re.M)
    text = re.findall(r"^```yaml\n(.*?)^```", below, re.S | re.M)[number]
    return list(yaml.safe_load_all(text))


def google(audience: str) -> str:
    """What `gcloud iam workload-identity-pools create-cred-config` writes."""
    account = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/s@bank.example"
    told = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"https://{ways.STS}/v1/token",
        "service_account_impersonation_url": f"{account}:generateAccessToken",
        "credential_source": {"file": "/keys/token", "format": {"type": "text"}},
    }
    return json.dumps(told)


def cluster(place: ways.Place, volumes: Path) -> pods.Cluster:
    """What the page's runs refer to, and the folder `volumes/hsm-client` for a claim."""
    values, keys = place.values, {}
    if pem := values.get("secrets.EU_SIGN_KEY"):
        other = place.repository / "keys" / "eu.pem"
        keys = {"eu-sign.pem": f"{pem}\n", "eu.pem": other.read_text()}
        other.unlink()
    passphrase = values.get("secrets.EU_KEY_PASSPHRASE", "")
    firm = {"ca.crt": place.ca.read_text()}
    return pods.Cluster(
        secrets={
            "eu-keys": keys,
            "sovgate": {"key-passphrase": passphrase} if passphrase else {},
            "sovgate-sign": {key: values[name] for key, name in SECRET.items() if name in values},
        },
        configs={"google": {"google.json": google("//iam.googleapis.com/pool")}, "firm-ca": firm},
        claims={"churn": place.repository, "hsm-client": _hsm(place, volumes)},
        token=place.token,
        volumes=volumes,
        tenant=TENANT,
    )


def _hsm(place: ways.Place, volumes: Path) -> Path:
    """The HSM's client as a volume has it: of root, and named by where it will be mounted."""
    folder = volumes / "hsm-client"
    if place.hsm is None:
        folder.mkdir()
        return folder
    shutil.copytree(place.hsm, folder)
    for text in (folder / "softhsm2.conf", place.repository / "sovgate.yaml"):
        text.write_text(text.read_text().replace(str(place.hsm), "/hsm"))
    for path in (folder / "tokens", *(folder / "tokens").rglob("*")):
        os.chown(path, USER, USER)  # SoftHSM opens the files of a token for their owner alone
    return folder


class Kubelet:
    def __init__(self, place: ways.Place, folder: Path, runs: list[dict[str, Any]]) -> None:
        self.engine = components.found(containers.podman)
        self.place, self.folder, self.runs = place, folder, runs
        self.cluster = cluster(place, folder)
        firm = {"name": "ca", "configMap": {"name": "firm-ca"}}
        pods.run_of(runs)["spec"]["workspaces"].append(firm)
        for path in (place.repository, *place.repository.rglob("*")):
            os.chown(path, USER, USER)
        self.said = ""

    def run(self, verb: str, **params: str) -> dict[str, str]:
        """Results of a Task; it fails where the Task does."""
        params |= {"ca": "/ca/ca.crt", "proxy": self.place.vendor.url}
        name = "" if verb == "sign" else verb
        made = pods.pod(self.runs, self.cluster, verb=name, params=params)
        for folder in made.mounts:  # as a pod's fsGroup makes them
            if folder.parent == self.folder and folder != self.cluster.claims["hsm-client"]:
                for path in folder.iterdir():
                    path.chmod(0o640)
                    os.chown(path, 0, USER)
        results = self.folder / f"results-{verb}"
        results.mkdir()
        os.chown(results, USER, USER)
        scripts = made.step.written(self.folder / f"script-{verb}").parent
        mounts = {**made.mounts, scripts: "/tekton/scripts:ro", results: "/tekton/results"}
        done = self._in_image(mounts, made.step.env)
        assert done.returncode == 0, done.stdout + done.stderr
        self.said += done.stdout + done.stderr
        return {path.name: path.read_text() for path in results.iterdir()}

    def _in_image(
        self, mounts: Mapping[Path, str], env: Mapping[str, str]
    ) -> CompletedProcess[str]:
        return self.engine.run(
            containers.image(self.engine),
            mounts=mounts,
            env=env,
            workdir="/workspace/source",
            entrypoint=["/tekton/scripts/script"],
            network="host",
        )


def test_every_scheme_has_a_run_on_the_page() -> None:
    assert {way for way, _ in BLOCKS} == set(ways.WAYS)
    assert section().count("```yaml") == len(set(BLOCKS.values())), "a block that no test runs"
    for way in ways.WAYS:
        assert f"`{way.partition(',')[0]}:" in section()


@pytest.mark.component
def test_the_commands_of_the_page_make_what_its_runs_refer_to(
    kubectl: Path, tmp_path: Path
) -> None:
    words = " ".join(section().split())
    files = r"(?: --from-file=[\w.-]*\w)+"
    found = re.findall(rf"kubectl create ((?:secret generic|configmap) [a-z-]+{files})", words)
    assert len(found) == 3
    made = {}
    for command in found:
        for name in re.findall(r"--from-file=(\S+)", command):
            (tmp_path / name).write_text("it")
        line = [str(kubectl), "create", *command.split(), "--dry-run=client", "-o", "json"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, check=True)
        told = json.loads(done.stdout)
        made[told["metadata"]["name"]] = set(told["data"])
    assert made["eu-keys"] == {"eu-sign.pem"}
    assert made["google"] == {"google.json"}
    assert made["sovgate-sign"] <= set(tekton.SECRET_CREDENTIALS)
    written = re.findall(r"`((?:AWS|BAO|VAULT|AZURE)_[A-Z_]+)`[^.]*in the Secret", section())
    assert set(written) <= {*tekton.SECRET_CREDENTIALS, "AZURE_TENANT_ID", "AZURE_CLIENT_ID"}


@pytest.mark.component
@pytest.mark.parametrize("key", BLOCKS, ids=IDS)
def test_a_run_of_the_page_is_one_that_tekton_and_kubernetes_take(
    key: tuple[str, str], tmp_path: Path
) -> None:
    """Its pod, and what stands beside it, by Kubernetes' own schemas."""
    validate = components.found(components.package, "kubernetes_validate").validate
    runs = documents(*BLOCKS[key])
    there = {"eu-keys": {}, "sovgate": {}, "sovgate-sign": {}}
    made = pods.Cluster(
        secrets=there,
        configs={"google": {}},
        claims={"churn": tmp_path / "churn", "hsm-client": tmp_path / "hsm"},
        token=lambda audience: audience,
        volumes=tmp_path,
    )
    found = pods.pod(runs, made)
    run = pods.run_of(runs)
    assert set(run) == {"apiVersion", "kind", "metadata", "spec"}
    fields = {"taskRef", "params", "podTemplate", "workspaces", "serviceAccountName"}
    assert set(run["spec"]) <= fields
    container = {"name": "step", "image": "x", "env": run["spec"]["podTemplate"].get("env", [])}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": run["metadata"].get("labels", {})},
        "spec": {
            "containers": [container],
            "volumes": found.volumes,
            "securityContext": run["spec"]["podTemplate"]["securityContext"],
        },
    }
    for one in (pod, *(one for one in runs if one is not run)):
        validate(one, "1.32", strict=True)


@pytest.mark.component
@pytest.mark.container
@pytest.mark.parametrize("key", BLOCKS, ids=IDS)
def test_the_task_signs_encrypts_and_decrypts_in_the_image_and_shows_no_secret(
    key: tuple[str, str], tmp_path: Path
) -> None:
    model = {"model": "build/churn"}
    with ways.set_up(key[0], tmp_path) as place:
        volumes = tmp_path / "volumes"
        volumes.mkdir()
        kubelet = Kubelet(place, volumes, documents(*BLOCKS[key]))
        signed = kubelet.run("sign")
        place.opened()
        others = [kubelet.run("verify", **model, manifest=signed["manifest"])]
        if place.keys:
            others += [
                kubelet.run("encrypt", **model, zone="eu", to="eu", output="sealed"),
                kubelet.run("decrypt", sealed="sealed", zone="eu", output="opened"),
            ]
            opened = place.repository / "opened" / "weights.bin"
            before = place.repository / "build/churn/weights.bin"
            assert opened.read_bytes() == before.read_bytes()
    assert {found["manifest"] for found in others} == {signed["manifest"]}
    assert place.canaries
    said = kubelet.said + json.dumps([signed, *others])
    assert not [canary for canary in place.canaries if canary in said]
    for path in place.repository.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [canary for canary in place.canaries if canary.encode() in data], path
