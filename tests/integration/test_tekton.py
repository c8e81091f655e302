"""Tasks and StepActions: they fit Tekton's own schemas, and their steps do what they say.

The schemas come from TEKTON_CRDS. A step is run here as Tekton and Kubernetes would start it:
parameters put in, `$(NAME)` expanded, the script by its own interpreter.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sovgate.cli._emit import ARTIFACT_RESULT, Report, emit
from tests import forked
from tests.conformance.keys import kms_key
from tests.faultproxy import between
from tests.firm import HOST, firm_in
from tests.steps import document, read, step
from tests.tunnel import tunnel
from tests.zones import make_sides

ROOT = Path(__file__).resolve().parents[2]
TASKS = sorted((ROOT / "tekton/tasks").glob("*/*/*.yaml"))
STEPACTIONS = sorted((ROOT / "tekton/stepactions").glob("*/*/*.yaml"))
PIPELINES = sorted((ROOT / "tekton/pipelines").glob("*/*/*.yaml"))
ONE_POD = ROOT / "tekton/samples/one-pod/one-pod.yaml"
IDS = [path.stem for path in TASKS]


def closed(schema: Any) -> Any:
    """A copy that refuses fields it does not name: the API server only drops them."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and "additionalProperties" not in found:
        found["additionalProperties"] = False
    return found


def schema_of(folder: Path, kind: str, version: str) -> dict[str, Any]:
    (path,) = folder.glob(f"*-{kind}.yaml")
    for entry in read(path)["spec"]["versions"]:
        if entry["name"] == version:
            found = closed(entry["schema"]["openAPIV3Schema"])
            # `metadata` is the API server's own and is not spelled out in a CRD.
            found["properties"]["metadata"].pop("additionalProperties", None)
            found["properties"]["spec"].pop("x-kubernetes-preserve-unknown-fields", None)
            return dict(found)
    raise LookupError(version)


@pytest.fixture(scope="session")
def schemas(tekton_crds: Path) -> dict[str, jsonschema.Draft7Validator]:
    return {
        kind: jsonschema.Draft7Validator(schema_of(tekton_crds, kind.lower(), version))
        for kind, version in (("Task", "v1"), ("StepAction", "v1beta1"), ("Pipeline", "v1"))
    }


@pytest.mark.component
@pytest.mark.parametrize(
    "path",
    [*TASKS, *STEPACTIONS, *PIPELINES, ONE_POD],
    ids=lambda path: f"{path.parts[-4]}-{path.stem}",
)
def test_it_fits_tektons_own_schema(
    schemas: dict[str, jsonschema.Draft7Validator], path: Path
) -> None:
    document = read(path)
    errors = [
        f"{list(e.path)}: {e.message[:200]}"
        for e in schemas[document["kind"]].iter_errors(document)
    ]
    assert not errors


@pytest.mark.component
def test_a_field_that_tekton_does_not_know_is_noticed(
    schemas: dict[str, jsonschema.Draft7Validator],
) -> None:
    """Otherwise that nothing was found would say nothing."""
    for path, where in ((TASKS[0], ("steps", 0)), (STEPACTIONS[0], ())):
        document = copy.deepcopy(read(path))
        spec: Any = document["spec"]
        for key in where:
            spec = spec[key]
        spec["enviroment"] = []
        assert list(schemas[document["kind"]].iter_errors(document))


@pytest.mark.parametrize("path", TASKS, ids=IDS)
def test_a_task_lies_as_the_catalogue_wants_it(path: Path) -> None:
    document = read(path)
    name = document["metadata"]["name"]
    assert path.name == f"{name}.yaml"
    assert path.parts[-3] == name
    assert document["metadata"]["labels"]["app.kubernetes.io/version"] == path.parts[-2]
    notes = document["metadata"]["annotations"]
    for key in ("pipelines.minVersion", "categories", "tags", "displayName", "platforms"):
        assert notes[f"tekton.dev/{key}"]
    assert (path.parent / "README.md").is_file()
    for part in ("params", "results", "workspaces"):
        for entry in document["spec"].get(part, []):
            assert re.fullmatch(r"[a-zA-Z_][-a-zA-Z0-9_]*", entry["name"])
            assert entry["description"]


@pytest.mark.parametrize("path", TASKS, ids=IDS)
def test_the_sample_gives_a_task_what_it_wants(path: Path) -> None:
    spec = read(path)["spec"]
    run = read(path.parent / "samples" / "run.yaml")["spec"]
    given = {param["name"] for param in run["params"]}
    assert given <= {param["name"] for param in spec["params"]}
    assert {param["name"] for param in spec["params"] if "default" not in param} <= given
    bound = {w["name"] for w in run["workspaces"]}
    some = {"ca", "hsm"}  # not every cluster has one of its own
    assert bound == {w["name"] for w in spec["workspaces"]} - some


# --- what a step does -------------------------------------------------------------------------
def run(
    document: dict[str, Any], given: dict[str, str], folder: Path, **pod: str
) -> subprocess.CompletedProcess[str]:
    """Start the step of a Task or StepAction in `folder`, results going to `folder/../results`.

    `pod`: variables that the cluster sets, as credentials of a workload are.
    """
    results = folder.parent / "results"
    results.mkdir(exist_ok=True)
    if document["kind"] == "Task":  # where a StepAction's caller says where it works
        given = {name: value for name, value in given.items() if name != "working-directory"}
    prepared = step(document, given, results=str(results))
    env = {**prepared.env, "TMPDIR": str(folder.parent), "HOME": str(folder.parent)}
    if document["kind"] == "Task":  # where Tekton has /tekton/results
        env["SOVGATE_RESULTS_DIR"] = str(results)
    env |= pod
    image = folder.parent / "image"
    image.mkdir(exist_ok=True)
    forked.SOVGATE.command(image / "sovgate")
    env["PATH"] = f"{image}:/usr/bin:/bin"
    return subprocess.run(
        [prepared.written(folder.parent)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def results(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder.parent / "results").iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A workspace with a model, and a key outside it."""
    model = tmp_path / "source" / "build" / "churn"
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"weights")
    done = forked.SOVGATE.run("keys", "generate", "sign", "-o", tmp_path / "sign.pem", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return tmp_path / "source"


@pytest.mark.parametrize("kind", ["Task", "StepAction"])
def test_a_model_is_signed_and_verified_against_the_digest(kind: str, source: Path) -> None:
    where = {"working-directory": "/"}
    given = {"model": "build/churn", "key": f"file:{source.parent}/sign.pem", **where}
    done = run(document(kind, "sign"), given, source)
    assert done.returncode == 0, done.stderr
    signed = results(source)
    assert set(signed) == {r["name"] for r in document(kind, "sign")["spec"]["results"]}
    assert sum(map(len, signed.values())) < 4096
    pinned = {"model": "build/churn", "key": f"{source.parent}/sign.pub.pem", **where}
    done = run(document(kind, "verify"), {**pinned, "manifest": signed["manifest"]}, source)
    assert done.returncode == 0, done.stderr


def test_a_key_service_under_a_ca_of_ones_own_is_reached_through_a_proxy(
    source: Path, ministack: str
) -> None:
    """The workspace `ca` and the parameters `ca` and `proxy`; what the pod names is not used."""
    firm = firm_in(source.parent / "ca")
    pod = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    pod |= {"HTTPS_PROXY": "http://127.0.0.1:9", "AWS_CA_BUNDLE": str(firm.root)}
    arn = kms_key(ministack, "ECC_NIST_P256").rpartition("/arn:")[2]
    with between(ministack, firm.tls) as kms, tunnel() as way:
        key = f"awskms://{HOST}:{kms.server_port}/arn:{arn}"
        given = {"model": "build/churn", "key": key, "proxy": way.url}
        done = run(document("Task", "sign"), given, source, **pod)
        assert done.returncode == 20
        assert "--ca FILE" in done.stderr
        assert kms.seen == []
        given["ca"] = str(firm.root)
        done = run(document("Task", "sign"), given, source, **pod)
        assert done.returncode == 0, done.stderr
        assert kms.seen != []
        assert set(way.asked) == {f"{HOST}:{kms.server_port}"}


@pytest.mark.parametrize("kind", ["Task", "StepAction"])
def test_rule_25_what_a_workspace_claims_is_not_enough(kind: str, source: Path) -> None:
    """Another Task replaces the model by one that the same key signed earlier."""
    where = {"working-directory": "/"}
    given = {"model": "build/churn", "key": f"file:{source.parent}/sign.pem", **where}
    run(document(kind, "sign"), given, source)
    wanted = results(source)["manifest"]
    (source / "build/churn/weights.bin").write_bytes(b"older weights, signed by the same key")
    run(document(kind, "sign"), given, source)
    pinned = {"model": "build/churn", "key": f"{source.parent}/sign.pub.pem", **where}
    done = run(document(kind, "verify"), {**pinned, "manifest": wanted}, source)
    assert done.returncode == 11
    assert "is another model" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        """a'b"c $(touch PLANTED) `touch PLANTED` ${IFS}; touch PLANTED #""",
        "--help",
        "$(PATH)",
        "$(SOVGATE_FORMAT) $(HOME)",
        "größe-模型",
        "a\nb",
    ],
)
def test_a_hostile_value_has_no_effect_but_itself(name: str, source: Path) -> None:
    (source / "build/churn").rename(source / "build" / name)
    given = {"model": f"./build/{name}", "key": f"file:{source.parent}/sign.pem"}
    done = run(document("Task", "sign"), given, source)
    assert not list(source.parent.rglob("PLANTED"))
    assert done.returncode == 0, done.stderr
    assert results(source)["signature"].endswith(f"/build/{name}.evidence/signature.sigstore.json")
    key = f"{source.parent}/sign.pub.pem"
    for hostile in (f"{key}; touch PLANTED", "$(touch PLANTED)", '"; touch PLANTED; "'):
        given = {"model": f"./build/{name}", "key": hostile, "manifest": "sha256:" + "0" * 64}
        assert run(document("Task", "verify"), given, source).returncode != 0
    assert not list(source.parent.rglob("PLANTED"))


def test_sign_encrypt_and_push_share_one_pod(tmp_path: Path) -> None:
    """The sample's steps, one after the other, each with the results of those before it."""
    make_sides(tmp_path)
    folder = tmp_path / "us"
    (folder / "build").mkdir()
    (folder / "tumour-triage").rename(folder / "build/triage")
    spec = read(ONE_POD)["spec"]
    given = {
        "model": "build/triage",
        "release": "tumour-triage/1.0.0",
        "dataset": "screening-public",
        "zone": "us-train",
        "to": "eu",
        "key": "file:keys/us-sign.pem",
    }
    assert set(given) == {param["name"] for param in spec["params"]}
    found: dict[str, dict[str, str]] = {}

    def put(text: str) -> str:
        text = re.sub(r"\$\(params\.([a-z-]+)\)", lambda m: given[m[1]], text)
        text = text.replace("$(workspaces.source.path)", str(folder))
        return re.sub(
            r"\$\(steps\.([a-z-]+)\.results\.([a-z-]+)\)", lambda m: found[m[1]][m[2]], text
        )

    for entry in spec["steps"]:
        action = document("StepAction", entry["ref"]["name"].removeprefix("sovgate-"))
        assert {m["name"] for m in action["spec"]["volumeMounts"]} == {
            volume["name"] for volume in spec["volumes"]
        }
        params = {param["name"]: put(param["value"]) for param in entry["params"]}
        done = run(action, params, folder)
        assert done.returncode == 0, done.stderr
        found[entry["name"]] = results(folder)
    (result,) = spec["results"]
    assert put(result["value"]).startswith("tumour-triage/1.0.0@sha256:")
    assert (tmp_path / "store-eu/releases/tumour-triage/1.0.0.json").is_file()


def test_what_was_made_is_an_object_that_chains_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOVGATE_RESULTS_DIR", str(tmp_path))
    outputs = {"release": "file:///store/releases/churn/1.0.json", "manifest": "sha256:" + "0" * 64}
    report = Report(command="push", headline="pushed", outputs=outputs)
    emit(report, "tekton", artifact=("release", "manifest"))
    assert json.loads((tmp_path / ARTIFACT_RESULT).read_text()) == {
        "uri": outputs["release"],
        "digest": outputs["manifest"],
        "isBuildArtifact": "true",
    }
