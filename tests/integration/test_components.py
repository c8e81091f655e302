"""Each real component is there and answers: a later failure is then ours, not the machine's."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests import components

pytestmark = pytest.mark.component


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_act_runs_a_step(act: Path, tmp_path: Path) -> None:
    workflow = tmp_path / ".github" / "workflows" / "hello.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(
        "on: push\njobs:\n  hello:\n    runs-on: ubuntu-latest\n"
        "    steps:\n      - run: echo it is $((40 + 2))\n"
    )
    run("git", "init", "--quiet", cwd=tmp_path)
    out = run(act, "push", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server", cwd=tmp_path)
    assert "it is 42" in out


def test_model_signing_is_the_version_that_we_compare_with(
    model_signing: components.ModelSigning,
) -> None:
    assert "1.1.1" in run(model_signing.cli, "--version")
    run(model_signing.python, "-c", "import model_signing, OpenSSL")


def test_opa_evaluates(opa: ModuleType) -> None:
    engine = opa.OpaEngine()
    engine.add_policy("p.rego", "package p\n\nrule if input.x > 1\n")
    assert engine.eval_document("p.rule", {"x": 2}) is True


def test_tink_streams_both_ways(tink: ModuleType) -> None:
    template = tink.streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_4KB
    primitive = tink.new_keyset_handle(template).primitive(tink.streaming_aead.StreamingAead)
    written = io.BytesIO()
    written.close = lambda: None  # type: ignore[method-assign]  # Tink closes what it writes to
    with primitive.new_encrypting_stream(written, b"ad") as stream:
        stream.write(b"weights")
    with primitive.new_decrypting_stream(io.BytesIO(written.getvalue()), b"ad") as stream:
        assert stream.read() == b"weights"


def test_kubectl_renders_an_overlay(kubectl: Path, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("namePrefix: eu-\nresources: [map.yaml]\n")
    (tmp_path / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: model}\ndata: {a: b}\n"
    )
    assert "name: eu-model" in run(kubectl, "kustomize", tmp_path)


@pytest.mark.parametrize("name", ["zizmor", "jactionlint", "check_jsonschema"])
def test_a_checker_of_workflows_answers(name: str, request: pytest.FixtureRequest) -> None:
    assert run(request.getfixturevalue(name), "--version").strip()


def test_age_encrypts(age: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text(run(age.with_name("age-keygen")))
    public = run(age.with_name("age-keygen"), "-y", key).strip()
    (tmp_path / "weights").write_text("weights")
    run(age, "-r", public, "-o", tmp_path / "out", tmp_path / "weights")
    assert run(age, "-d", "-i", key, tmp_path / "out") == "weights"


def test_tekton_schemas_are_there(tekton_crds: Path) -> None:
    assert list(tekton_crds.glob("*task*.yaml"))
