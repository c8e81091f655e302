"""The overlays in patterns/ can be promoted to as they are, and then render and validate."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from sovgate.formats.kustomize import Pin
from sovgate.git.url import parse_remote
from sovgate.stages import promote
from tests import components
from tests.repositories import Repository, git

PATTERNS = Path(__file__).parents[2] / "patterns"
OVERLAYS = sorted(p.parent for p in PATTERNS.glob("*/serving/overlays/*/kustomization.yaml"))


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda p: f"{p.parts[-4]}-{p.name}")
def test_a_sample_overlay_is_promoted_to_and_renders(
    overlay: Path, tmp_path: Path, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    repository = Repository(tmp_path)
    serving = overlay.parents[1]
    files = {
        p.relative_to(serving).as_posix(): p.read_bytes() for p in serving.rglob("*") if p.is_file()
    }
    repository.person_pushes(dict(files), "Sample")
    digest = "a" * 64
    pin = Pin(
        release=f"kyc-risk/1.0.0@sha256:{digest}",
        manifest=digest,
        record="b" * 64,
        key_uri="awskms:///arn:aws-eusc:kms:eusc-de-east-1:444455556666:key/x",
        zone=overlay.name,
    )
    path = f"overlays/{overlay.name}"
    target = promote.GitTarget(
        zone=overlay.name, remote=parse_remote(str(repository.path), Path("/")), path=path
    )
    with promote.opened(target) as checkout:
        checkout.push(
            pin, checkout.read_overlay(), promote.commit_message(pin, "c" * 64), lambda: None
        )
    before = files[f"{path}/kustomization.yaml"].decode()
    after = repository.show(f"{path}/kustomization.yaml").decode()
    assert after.startswith(before), "what a person wrote stays"
    assert yaml.safe_load(after)["patches"] == [{"path": "sovgate-release.yaml"}]
    assert git("diff", "--stat", "main~1", "main", cwd=repository.path).count("|") == 2
    rendered = subprocess.run(
        [str(kubectl), "kustomize", str(repository.work / path)], capture_output=True, check=True
    ).stdout
    documents = list(yaml.safe_load_all(rendered))
    validate = components.found(components.package, "kubernetes_validate")
    for document in documents:
        validate.validate(document, "1.32", strict=True)
    (deployment,) = [d for d in documents if d["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "MODEL_RELEASE", "value": pin.release} in container["env"]
    assert container["image"].startswith("registry.example.org/")
