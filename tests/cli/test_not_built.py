"""What is not built is refused at once, by lint and by init, and what is supported is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crossing import Crossing, make_crossing

KMS = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("store: eu-store", "store: gs://b", "no store adapter for gs: (Google Cloud Storage)"),
        ("store: eu-store", "store: az://b", "no store adapter for az:"),
        ("store: eu-store", "store: oci://b", "no store adapter for oci:"),
        ("store: eu-store", "store: ftp://b", "file:, s3:"),
        ("store: eu-store", "store: s3://My_Bucket", "is not a bucket's name"),
        ("store: eu-store", "store: s3://arn:aws:s3:x", "access point"),
        ("store: eu-store", "store: s3://bucket?endpoint=http://far.example", "http://"),
        ("store: eu-store", "store: s3://bucket?colour=red", "has an option 'colour'"),
        ("sign: keys/eu.pem", "sign: gcpkms://projects/p", "no key adapter for gcpkms:"),
        ("sign: keys/eu.pem", "sign: azurekms://v/k", "no key adapter for azurekms:"),
        ("sign: keys/eu.pem", "sign: hashivault://k", "no key adapter for hashivault:"),
        ("sign: keys/eu.pem", 'sign: "pkcs11:token=eu"', "no key adapter for pkcs11:"),
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
