"""What is not built is refused at once, by lint and by init, and what is supported is named."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from sovgate.cli import COMMANDS, root
from sovgate.errors import DOCS
from sovgate.lint import not_built
from tests.crossing import Crossing, make_crossing, tree

KMS = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("store: eu-store", "store: gcs://b", "no store adapter for gcs: (Google Cloud Storage)"),
        ("store: eu-store", "store: gs://My_Bucket", "is not a bucket's name"),
        ("store: eu-store", "store: gs://bucket?endpoint=http://far.example", "http://"),
        ("store: eu-store", "store: gs://bucket?colour=red", "has an option 'colour'"),
        ("store: eu-store", "store: az://b", "write az://ACCOUNT/CONTAINER"),
        ("store: eu-store", "store: abfs://b", "no store adapter for abfs:"),
        ("store: eu-store", "store: oci://b", "is not a repository's name"),
        ("store: eu-store", "store: ftp://b", "az:, file:, gs:, oci:, s3:"),
        ("store: eu-store", "store: s3://My_Bucket", "is not a bucket's name"),
        ("store: eu-store", "store: s3://arn:aws:s3:x", "access point"),
        ("store: eu-store", "store: s3://bucket?endpoint=http://far.example", "http://"),
        ("store: eu-store", "store: s3://bucket?colour=red", "has an option 'colour'"),
        ("sign: keys/eu.pem", "sign: gcpkms://projects/p", "names no key of Google Cloud KMS"),
        ("sign: keys/eu.pem", "sign: azurekms://v/k", "names no key of Azure Key Vault"),
        ("sign: keys/eu.pem", "sign: openbao://k", "does not say at which server"),
        ("sign: keys/eu.pem", "sign: openbao://k?address=http://bao.example", "is not https://"),
        ("sign: keys/eu.pem", 'sign: "pkcs11:token=eu"', "names no key in its token"),
        ("sign: keys/eu.pem", 'sign: "awskms:///arn:nope"', "names no KMS key"),
        ("sign: keys/eu.pem", f'sign: "awskms:///{KMS}"', "is in aws:eu-central-1"),
    ],
)
def test_lint_refuses_what_a_later_command_refuses(
    crossing: Crossing, old: str, new: str, told: str
) -> None:
    crossing.edit(old, new)
    code, said = crossing.run("lint")
    assert code == 3, said
    assert told in said
    assert "sovgate.yaml:" in said
    assert "fix:" in said


def test_a_trusted_key_is_looked_at_too(crossing: Crossing) -> None:
    entry = f'{{name: ci, key: "awskms:///{KMS}", may: [signature], from: home}}'
    crossing.edit("border:", f"trust:\n  - {entry}\nborder:")
    code, said = crossing.run("lint")
    assert code == 3
    assert "is in aws:eu-central-1" in said


@pytest.mark.parametrize("region", ["gcp:europe-west3", "azure:westeurope", "s3ns:u-france-east1"])
def test_a_region_without_such_a_store_is_named(crossing: Crossing, region: str) -> None:
    crossing.edit("store: eu-store", "store: s3://bucket")
    crossing.edit("region: aws-eusc:eusc-de-east-1", f"region: {region}")
    code, said = crossing.run("lint")
    assert code == 3
    assert f"{region} has no s3 endpoint" in said


@pytest.mark.parametrize("region", ["gcp:europe-west3", "azure:westeurope"])
def test_init_writes_nothing_for_a_zone_that_it_cannot_serve(
    crossing: Crossing, region: str
) -> None:
    answers = ("--pattern", "central", "--train", "aws:us-east-1", "--serve", f"x={region}")
    code, said = crossing.run("init", "new", *answers)
    assert code == 2
    assert region in said
    assert "--local" in said
    assert not (crossing.base / "new").exists()
    assert crossing.run("init", "new", *answers, "--local")[0] == 0
    assert crossing.run("lint", "new")[0] == 0


@pytest.mark.parametrize("region", ["scaleway:fr-par", "aws-eusc:eusc-de-east-1"])
def test_what_init_writes_passes_lint(crossing: Crossing, region: str) -> None:
    answers = ("--pattern", "central", "--train", "aws:us-east-1", "--serve", f"x={region}")
    assert crossing.run("init", "new", *answers)[0] == 0
    assert crossing.run("lint", "new")[0] == 0


def test_who_runs_a_place_is_one_text_everywhere(crossing: Crossing) -> None:
    text = "run by AWS European Sovereign Cloud GmbH, controlled from US"
    answers = ("--train", "aws:us-east-1", "--serve", "x=aws-eusc:eusc-de-east-1")
    assert crossing.run("init", "new", "--pattern", "central", *answers)[0] == 0
    assert text in (crossing.base / "new/sovgate.yaml").read_text()
    push = ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    assert text in crossing.run(*push)[1]
    said = crossing.run("pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled")[1]
    assert "run by Amazon Web Services, controlled from US" in said
    assert text in crossing.run("regions", "show", "aws-eusc:eusc-de-east-1")[1]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("models:/churn/3", "mlflow artifacts download --artifact-uri models:/churn/3"),
        ("mlflow:/x", "mlflow artifacts download --artifact-uri mlflow:/x"),
        ("runs:/abc/model", "mlflow artifacts download"),
        ("hf:org/model", "hf download org/model --local-dir build/model"),
        ("HF://org/model", "hf download org/model --local-dir build/model"),
        ("s3://bucket/m", "aws s3 cp --recursive s3://bucket/m build/m"),
        ("gs://bucket/m", "gcloud storage cp --recursive"),
        ("oci://registry/m:1", "oras pull registry/m:1"),
        ("https://me:hunter2@host/y.gguf", "curl --fail --location"),
        ("hf:org/$(touch x)", "hf download 'org/$(touch x)'"),
    ],
)
@pytest.mark.parametrize("command", ["sign", "verify", "record", "push", "check"])
def test_a_model_elsewhere_is_answered_with_how_to_get_it(
    crossing: Crossing, uri: str, told: str, command: str
) -> None:
    more = {
        "sign": ("--key", "keys/home.pem"),
        "record": ("--dataset", "public", "--key", "keys/home.pem"),
        "push": ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        "check": ("--action", "transfer", "--zone", "home", "--to", "eu"),
    }
    code, said = crossing.run(command, uri, *more.get(command, ()))
    assert code == 2, said
    assert told in said
    assert "hunter2" not in said


def test_a_folder_of_such_a_name_is_a_model(crossing: Crossing) -> None:
    crossing.model.rename(crossing.base / "hf:model")
    assert crossing.run("sign", "hf:model", "--key", "keys/home.pem")[0] == 0


# -- names and files that people try, and that this version does not have

#: What is typed -> what the answer names: what is not built, and what does the job.
ASKED = [
    (("sign", "m", "--keyless"), "keyless", "--key 'sigstore:SIGNING_CONFIG?trusted-root=FILE'"),
    (("verify", "m", "--keyless"), "keyless", "write an entry under trust"),
    (("verify", "m", "--certificate-identity=a@b.example"), "keyless", "keyless: {identity:"),
    (("verify", "m", "--trusted-root", "root.json"), "keyless", "sovgate verify MODEL"),
    (("audit", "report", "churn/1.0.0"), "report", "sovgate audit show NAME/VERSION"),
    (("report", "-o", "x.html"), "report", "sovgate audit show NAME/VERSION"),
    (("audit", "show", "churn/1.0.0", "--html"), "report", "sovgate audit show"),
    (("list",), "a list of a store", "releases/"),
    (("LS",), "a list of a store", "releases/"),
    (("withdraw", "churn/1.0.0"), "withdraws a release", "sovgate rollback --zone ZONE"),
    (("keys", "revoke"), "withdraws a release or a key", "former: true"),
    (("keys", "rotate"), "rotates keys", "sovgate keys generate sign"),
    (("rotate",), "rotates keys", "sovgate keys generate sign"),
    (("promote", "churn/1.0.0", "--helm"), "Helm", "helm template NAME CHART"),
    (("init", "--gitlab"), "GitLab CI", "sovgate release MODEL"),
]


@pytest.mark.parametrize(("line", "what", "today"), ASKED, ids=lambda v: str(v)[:40])
def test_a_name_that_is_not_built_is_answered_with_what_does_the_job(
    crossing: Crossing, line: tuple[str, ...], what: str, today: str
) -> None:
    before = tree(crossing.base)
    error = crossing.json(*line, code=2)["error"]
    assert error["reason"] == "not-built"
    assert what in error["what"]
    assert "is not built in this version" in error["what"]
    assert error["why"]
    assert today in error["fix"]
    assert f"{DOCS}/" in error["fix"]
    assert tree(crossing.base) == before


def test_each_answer_leads_to_a_heading_that_is_there() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    for missing in {*not_built.COMMANDS.values(), *not_built.OPTIONS.values()}:
        page, _, anchor = missing.page.partition("#")
        heads = re.findall(r"(?m)^#+ (.*)$", (docs / page).read_text(encoding="utf-8"))
        slugs = {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in slugs, missing.page


def test_what_is_not_built_hides_nothing_that_is() -> None:
    context = click.Context(root)
    for words in not_built.COMMANDS:
        command: click.Command | None = root
        for word in words:
            assert isinstance(command, click.Group)
            command = command.get_command(context, word)
        assert command is None, words
    known = {option for command in _commands(root) for p in command.params for option in p.opts}
    assert known & {"--key", "--zone"}
    assert not known & set(not_built.OPTIONS)
    assert not any(words[0] in COMMANDS and len(words) == 1 for words in not_built.COMMANDS)


def _commands(command: click.Command) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return [command]
    context = click.Context(command)
    below = [command.get_command(context, name) for name in command.list_commands(context)]
    return [one for each in below if each is not None for one in _commands(each)]


PIPELINES = {
    ".gitlab-ci.yml": ("build: {script: make}\n", "GitLab CI"),
    "ci/Jenkinsfile": ("pipeline {}\n", "Jenkins"),
    "Jenkinsfile.release": ("pipeline {}\n", "Jenkins"),
    "chart/Chart.yaml": ("name: churn\n", "Helm"),
    ".github/workflows/x.yml": ("on: push\n", "upload-artifact"),
    "argo.yaml": ("apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\n", "Argo Workflows"),
    "kfp.yaml": ("# PIPELINE DEFINITION\nroot: {}\n", "Kubeflow Pipelines"),
    "job.json": ('{\n  "apiVersion": "kubeflow.org/v1"\n}\n', "Kubeflow"),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_lint_says_that_it_reads_no_pipeline(crossing: Crossing, name: str) -> None:
    text, system = PIPELINES[name]
    (crossing.base / name).parent.mkdir(parents=True, exist_ok=True)
    (crossing.base / name).write_text(text)
    error = crossing.json("lint", "sovgate.yaml", name, code=2)["error"]
    assert error["reason"] == "not-built"
    assert name in error["what"]
    assert system in error["what"]
    # What only lies in the project is no fault of it.
    assert crossing.run("lint")[0] == 0


def test_lint_names_all_of_them_at_once(crossing: Crossing) -> None:
    folder = crossing.base / "ci"
    folder.mkdir()
    (folder / "Chart.yaml").write_text("name: churn\n")
    (folder / "wf.yaml").write_text(PIPELINES["argo.yaml"][0])
    error = crossing.json("lint", "ci", code=2)["error"]
    assert "Chart.yaml" in error["what"]
    assert "wf.yaml" in error["what"]
    assert any("Argo Workflows" in line for line in error["details"])


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\n",  # Argo CD is built
        "apiVersion: tekton.dev/v1\nkind: Pipeline\n",
        "a: 1\n",
    ],
)
def test_lint_passes_over_other_yaml_as_before(crossing: Crossing, text: str) -> None:
    (crossing.base / "x.yaml").write_text(text)
    assert crossing.run("lint", "x.yaml")[0] == 0


def test_init_says_for_which_pipeline_it_wrote_nothing(crossing: Crossing) -> None:
    (crossing.base / "new").mkdir()
    (crossing.base / "new/Jenkinsfile").write_text("pipeline {}\n")
    code, said = crossing.run("init", "new", "--pattern", "central", "--local")
    assert code == 0
    assert "there is Jenkinsfile, and nothing was written for Jenkins" in said
    assert "sovgate release MODEL" in said


def test_a_key_is_replaced_and_taken_back_as_the_page_says(crossing: Crossing) -> None:
    """docs/keys.md, Replace or take back a key."""
    crossing.run("keys", "generate", "sign", "-o", "keys/home-2.pem")
    may = "may: [signature, provenance, transfer], from: home"
    entry = "  - {name: NAME, key: keys/NAME.pub.pem, MAY}\n".replace("MAY", may)
    both = entry.replace("NAME", "home") + entry.replace("NAME", "home-2")
    crossing.edit("border:", f"trust:\n{both}border:")
    crossing.edit("keys: {sign: keys/home.pem}", "keys: {sign: keys/home-2.pem}")
    assert crossing.run("verify", crossing.model)[0] == 0  # by the old key
    crossing.edit(
        entry.replace("NAME", "home").strip(),
        entry.replace("NAME", "home").strip().replace("}", ', former: true, until: "2026-01-01"}'),
    )
    assert crossing.run("lint")[0] == 0
    assert crossing.run("verify", crossing.model)[0] == 11
    assert crossing.run("sign", crossing.model, "--zone", "home")[0] == 0
    assert crossing.run("verify", crossing.model)[0] == 0
