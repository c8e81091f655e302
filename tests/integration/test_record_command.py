"""Records of models made from models, from the command line and from inside a training loop."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict, training
from sovgate.errors import ConfigError, UsageError
from sovgate.pipeline.look.keys import generate
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """`base` is a signed model, recorded with data that stays in the US; `model` will be tuned."""
    made = make_crossing(tmp_path)
    base = Crossing(base=tmp_path, model=tmp_path / "base")
    shutil.copytree(made.model, base.model)
    (base.model / "model.bin").write_bytes(b"base weights")
    base.sign("kyc")
    for path in attest.evidence_dir(made.model).glob("provenance-*"):
        path.unlink()
    return made


def record(crossing: Crossing, *more: object, code: int = 0) -> dict[str, Any]:
    return crossing.json("record", crossing.model, "--key", "keys/home.pem", *more, code=code)


def ask(crossing: Crossing) -> dict[str, str]:
    """Rule -> what it says, of those that deny the transfer to the EU."""
    _, text = crossing.run(
        "check", crossing.model, "--zone", "home", "--to", "eu", "--format", "json"
    )
    return {deny["rule"]: deny["message"] for deny in json.loads(text)["denies"]}


def predicate(crossing: Crossing, said: dict[str, Any]) -> Any:
    bundle = json.loads((crossing.base / said["record"]).read_bytes())
    return json.loads(strict.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]


@pytest.mark.parametrize("base", ["base", "base.evidence"])
def test_what_binds_the_base_binds_what_is_made_from_it(crossing: Crossing, base: str) -> None:
    record(crossing, "--dataset", "public")
    assert ask(crossing) == {}
    Crossing(base=crossing.base, model=crossing.base / "base").sbom()
    said = record(crossing, "--dataset", "public", "--base-model", base)
    assert [d["name"] for d in said["datasets"]] == ["public", "kyc"]
    assert said["base-models"][0]["records"] != []
    assert "kyc may go only to US" in ask(crossing)["weights-inherit"]


def commands(text: str) -> list[str]:
    """What `record` says how to take earlier records away."""
    return [line.split(": ", 1)[1] for line in text.splitlines() if ": rm -- " in line]


def test_of_two_records_it_says_what_counts_and_how_to_take_the_earlier_one_away(
    crossing: Crossing,
) -> None:
    asked = ("record", crossing.model, "--key", "keys/home.pem")
    code, text = crossing.run(*asked, "--dataset", "kyc")
    assert (code, commands(text)) == (0, [])
    code, text = crossing.run(*asked, "--dataset", "public")
    assert code == 0
    assert "every record that a trusted key signed counts" in text
    assert "kyc may go only to US" in ask(crossing)["weights-inherit"]
    (command,) = commands(text)
    subprocess.run(shlex.split(command), cwd=crossing.base, check=True)
    assert ask(crossing) == {}
    # What it was before it was trained again is no record of this model.
    (crossing.model / "model.bin").write_bytes(b"trained again")
    assert record(crossing, "--dataset", "public")["earlier"] == []


def test_an_earlier_draft_is_told_too(crossing: Crossing) -> None:
    draft = ("record", crossing.model, "--dataset", "public", "--parameter")
    signed = record(crossing, "--dataset", "public")
    first = crossing.json(*draft, "run=1")
    assert (signed["earlier"], first["earlier"]) == ([], [signed["record"]])
    code, text = crossing.run(*draft, "run=2")
    assert (code, "this model was recorded before" in text) == (0, True), text
    (command,) = commands(text)
    assert sorted(shlex.split(command)[2:]) == sorted([signed["record"], first["record"]])
    # Who signs them hears it too, and no more of drafts that are signed already.
    attests = ("attest", crossing.model, "--all-unsigned", "--key", "keys/home.pem")
    code, text = crossing.run(*attests)
    assert (code, "3 records of this model are there now" in text) == (0, True), text
    code, text = crossing.run(*attests)
    assert (code, "records of this model are there" in text) == (0, False), text


def test_the_same_draft_again_is_none_that_was_there_before(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Still:
            return cls(2026, 11, 28, tzinfo=tz)

    monkeypatch.setattr("sovgate.pipeline.make.record.datetime", Still)
    first, again = (
        crossing.json("record", crossing.model, "--dataset", "public") for _ in range(2)
    )
    assert first["record"] == again["record"]
    assert again["earlier"] == []


@pytest.mark.parametrize("with_base", [False, True])
def test_a_data_set_that_is_named_none_is_one(crossing: Crossing, with_base: bool) -> None:
    """What the record of a model without data says has that name too, and counts for nothing."""
    crossing.edit("kyc: {", "none: {")
    Crossing(base=crossing.base, model=crossing.base / "base").sign("none")
    more = ("--base-model", "base") if with_base else ("--dataset", "none")
    said = record(crossing, "--dataset", "public", *more)
    assert sorted(d["name"] for d in said["datasets"]) == ["none", "public"]
    assert "none may go only to US" in ask(crossing)["weights-inherit"]


def test_a_model_of_a_free_base_is_free(crossing: Crossing) -> None:
    Crossing(base=crossing.base, model=crossing.base / "base").sign("public")
    record(crossing, "--no-dataset", "--base-model", "base")
    assert ask(crossing) == {}


def denied_as_unknown(crossing: Crossing, base: str = "base") -> None:
    said = record(crossing, "--dataset", "public", "--base-model", base)
    assert said["base-models"][0]["records"] == []
    assert "weights-inherit" in ask(crossing)


def test_a_base_without_a_record_denies(crossing: Crossing) -> None:
    for path in crossing.base.glob("base.evidence/provenance-*"):
        path.unlink()
    denied_as_unknown(crossing)
    denied_as_unknown(crossing, "base.evidence")


def test_a_base_whose_record_is_only_a_draft_denies(crossing: Crossing) -> None:
    shutil.rmtree(crossing.base / "base.evidence")
    crossing.json("record", "base", "--dataset", "public")
    denied_as_unknown(crossing)


def test_a_base_whose_record_a_stranger_signed_denies(crossing: Crossing) -> None:
    generate("sign", out=crossing.base / "keys" / "other.pem", algorithm="ec-p256")
    shutil.rmtree(crossing.base / "base.evidence")
    crossing.json("record", "base", "--dataset", "public", "--key", "keys/other.pem")
    denied_as_unknown(crossing)


def test_rule_06_the_record_of_another_model_is_no_record_of_the_base(crossing: Crossing) -> None:
    (crossing.base / "base" / "model.bin").write_bytes(b"exchanged")
    denied_as_unknown(crossing)


def test_an_evidence_folder_without_a_good_signature_is_refused(crossing: Crossing) -> None:
    path = crossing.base / "base.evidence" / "signature.sigstore.json"
    path.write_bytes(path.read_bytes()[:-9])
    record(crossing, "--dataset", "public", "--base-model", "base.evidence", code=11)
    path.unlink()
    record(crossing, "--dataset", "public", "--base-model", "base.evidence", code=2)


def test_unknown_stays_unknown_along_the_chain(crossing: Crossing) -> None:
    shutil.rmtree(crossing.base / "base.evidence")
    middle = Crossing(base=crossing.base, model=crossing.base / "middle")
    shutil.copytree(crossing.model, middle.model)
    (middle.model / "model.bin").write_bytes(b"middle")
    record(middle, "--dataset", "public", "--base-model", "base")
    said = record(crossing, "--dataset", "public", "--base-model", "middle")
    assert [b["name"] for b in said["base-models"]] == ["middle", "base"]
    assert said["base-models"][0]["records"] != []
    assert "weights-inherit" in ask(crossing)


def test_a_base_does_not_free_from_naming_ones_own_data(crossing: Crossing) -> None:
    record(crossing, "--base-model", "base", code=2)


def test_a_file_says_the_rest(crossing: Crossing) -> None:
    (crossing.base / "run.yaml").write_text(
        "datasets: [public]\nbase-models: [base]\nparameters: {lr: 1e-3, depth: 4}\n"
        "metrics: {auc: 0.91}\n"
    )
    said = record(crossing, "--from", "run.yaml", "--metric", "f1=0.8")
    made = predicate(crossing, said)
    assert made["buildDefinition"]["externalParameters"]["parameters"] == {
        "lr": "1e-3",
        "depth": "4",
    }
    assert [m["name"] for m in made["runDetails"]["byproducts"]] == ["metric:auc", "metric:f1"]
    assert "weights-inherit" in ask(crossing)
    record(crossing, "--from", "run.yaml", "--metric", "auc=0.99", code=2)


def test_an_environment_is_names_and_versions_and_no_paths(crossing: Crossing) -> None:
    site = crossing.base / "venv" / "lib" / "python3.11" / "site-packages"
    info = site / "numpy-2.4.6.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.4.6\n")
    (info / "direct_url.json").write_text('{"url": "file:///home/somebody/secret"}')
    (crossing.base / "venv" / "pyvenv.cfg").write_text(f"home = {site}\nversion = 3.11.7\n")
    said = record(crossing, "--dataset", "public", "--environment", "venv")
    found = predicate(crossing, said)["buildDefinition"]["internalParameters"]
    assert found == {"environment": {"python": "3.11.7", "packages": {"numpy": "2.4.6"}}}
    assert ask(crossing) == {}


def test_the_sbom_takes_its_libraries_from_the_record(crossing: Crossing) -> None:
    (crossing.base / "run.yaml").write_text("environment: {packages: {numpy: 2.4.6}}\n")
    record(crossing, "--dataset", "public", "--from", "run.yaml")
    (crossing.base / "other").mkdir()
    crossing.json("sbom", crossing.model, "-o", "other/bom.json")
    components = json.loads((crossing.base / "other" / "bom.json").read_bytes())["components"]
    libraries = [(c["name"], c["version"]) for c in components if c["type"] == "library"]
    assert libraries == [("numpy", "2.4.6")]


# From inside the training loop


def provenance(crossing: Crossing) -> list[Path]:
    return sorted(attest.evidence_dir(crossing.model).rglob("provenance-*"))


def test_a_training_loop_records_itself(crossing: Crossing) -> None:
    import numpy as np

    with (
        contextlib.chdir(crossing.base),
        training.record("model", datasets=["public"], base="base", key="keys/home.pem") as run,
    ):
        run.parameter("lr", 1e-3)
        run.parameter("layers", np.int64(3))
        for loss in (0.5, 0.25):
            run.metric("loss", np.float64(loss))
        Path("model/model.bin").write_bytes(b"tuned")
        assert provenance(crossing) == []
    assert run.result is not None
    made = predicate(crossing, {"record": run.result.path})
    definition = made["buildDefinition"]
    assert definition["externalParameters"]["parameters"] == {"lr": "0.001", "layers": "3"}
    assert made["runDetails"]["byproducts"][0]["annotations"] == {"value": "0.25"}
    environment = definition["internalParameters"]["environment"]
    assert environment["packages"]["numpy"] == np.__version__
    assert run.result.manifest == crossing.manifest, "the record is of what the block saved"


def test_a_run_that_raises_leaves_no_record(crossing: Crossing) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        contextlib.chdir(crossing.base),
        training.record("model", datasets=["public"]) as run,
    ):
        run.metric("auc", 1 / 0)
    assert provenance(crossing) == []


def test_what_is_wrong_with_the_data_sets_is_said_before_training(crossing: Crossing) -> None:
    with pytest.raises(ConfigError):
        training.record("model", project=crossing.base, datasets=["pubic"]).__enter__()
    with pytest.raises(UsageError):
        training.record("model", project=crossing.base).__enter__()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "", [1], object(), "x" * 9999])
def test_what_is_no_value_is_not_recorded(crossing: Crossing, value: object) -> None:
    with (
        pytest.raises(UsageError),
        training.record(crossing.model, datasets=["public"], project=crossing.base) as run,
    ):
        run.metric("auc", value)
    assert provenance(crossing) == []


def test_a_base_that_is_gone_is_said_before_training(crossing: Crossing) -> None:
    run = training.record("model", datasets=["public"], base="nowhere", project=crossing.base)
    with pytest.raises(UsageError):
        run.__enter__()


def test_importing_it_costs_a_training_script_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); from sovgate import training;"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = ("click", "cryptography", "importlib.metadata", "jsonschema", "regorus", "yaml")
    assert [name for name in done.stdout.split() if name.startswith(heavy)] == []
