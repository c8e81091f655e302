"""A model that is trained again in its folder: `sign` moves what was said of the model before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sovgate.stages import attest, former
from tests.crossing import Crossing, make_crossing, tree

KEY = ("--key", "keys/home.pem")
RELEASE = ("--zone", "home", "--to", "eu", "--dataset", "public")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    crossing.json("release", "model", "--release", "churn/1.0.0", *RELEASE)
    crossing.json("sbom", "model")  # a draft, too
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made, tmp_path / "project")
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


def folder(crossing: Crossing) -> Path:
    return attest.evidence_dir(crossing.model)


def test_a_second_release_goes_on_and_sign_says_what_it_moved(crossing: Crossing) -> None:
    before, old = tree(folder(crossing)), crossing.manifest
    (crossing.model / "notes").write_bytes(b"trained again")
    code, text = crossing.run("sign", "model", *KEY)
    assert code == 0
    said = " ".join(text.split())
    assert f"evidence of what the model was before was moved to old/{old}/: " in said
    assert "signature.sigstore.json, decision-" in said
    made = tree(folder(crossing))
    assert [name for name in made if not name.startswith("old/")] == ["signature.sigstore.json"]
    assert {name.removeprefix(f"old/{old}/") for name in made if name.startswith("old/")} == set(
        before
    )
    for name, data in before.items():
        assert made[f"old/{old}/{name}"] == data, "nothing is lost"
    crossing.json("release", "model", "--release", "churn/1.0.1", *RELEASE)


def test_what_is_moved_comes_back_when_the_model_is_that_again(crossing: Crossing) -> None:
    before = tree(folder(crossing))
    (crossing.model / "notes").write_bytes(b"trained again")
    crossing.json("sign", "model", *KEY)
    (crossing.model / "notes").unlink()
    made = crossing.json("sign", "model", *KEY)
    assert set(made["moved-back"]) == set(before) - {"signature.sigstore.json"}
    after = tree(folder(crossing))
    assert {name: after[name] for name in before if name != "signature.sigstore.json"} == {
        name: data for name, data in before.items() if name != "signature.sigstore.json"
    }


def test_rule_30_what_cannot_be_read_stays_and_nothing_is_written_over_it(
    crossing: Crossing,
) -> None:
    (name,) = [path.name for path in folder(crossing).glob("provenance-*")]
    whole = (folder(crossing) / name).read_bytes()
    (crossing.model / "notes").write_bytes(b"trained again")
    crossing.json("sign", "model", *KEY)
    (folder(crossing) / name).write_bytes(b"\xff\xfe" + whole.decode().encode("utf-16-le"))
    spoilt = (folder(crossing) / name).read_bytes()
    (crossing.model / "notes").unlink()
    made = crossing.json("sign", "model", *KEY)
    assert name not in made["moved"] and name not in made["moved-back"]
    assert (folder(crossing) / name).read_bytes() == spoilt
    crossing.json("check", "model", "--zone", "home", "--to", "eu", code=10)


def test_two_files_of_one_name_are_both_kept(crossing: Crossing) -> None:
    old = crossing.manifest
    (name,) = [path.name for path in folder(crossing).glob("provenance-*")]
    taken = folder(crossing) / "old" / old / name
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody's")
    whole = (folder(crossing) / name).read_bytes()
    (crossing.model / "notes").write_bytes(b"trained again")
    crossing.json("sign", "model", *KEY)
    assert taken.read_bytes() == b"somebody's"
    assert whole in tree(folder(crossing)).values()


def test_nothing_is_moved_through_a_link(crossing: Crossing) -> None:
    outside = crossing.base / "outside"
    outside.mkdir()
    (folder(crossing) / "old").symlink_to(outside)
    (crossing.model / "notes").write_bytes(b"trained again")
    crossing.json("sign", "model", *KEY, code=11)
    assert list(outside.iterdir()) == []


def test_whatever_stands_in_the_way_is_named_at_once_with_one_command(
    crossing: Crossing,
) -> None:
    crossing.json("gate", "junit", "model", "--predictions", "none.xml", *KEY, code=2)
    names = {p.name for p in folder(crossing).glob("*-*.sigstore.json")}
    before = {name: (folder(crossing) / name).read_bytes() for name in names}
    (crossing.model / "notes").write_bytes(b"trained again")
    crossing.json("sign", "model", *KEY)
    for name, data in before.items():
        (folder(crossing) / name).write_bytes(data)
    crossing.json("record", "model", "--dataset", "public", *KEY)
    push = ("push", "model", "--release", "churn/1.0.1", "--zone", "home", "--to", "eu")
    for words in (push, ("encrypt", "model", "--to", "eu", "-o", "sealed")):
        error = crossing.json(*words, code=11)["error"]
        assert error["reason"] == "evidence-subject"
        assert "statements of the evidence are about another model" in error["what"]
        for name in names:
            if name.startswith(("provenance", "sbom")):
                assert name in error["what"]
        assert "sovgate sign MODEL --key URI" in error["fix"]
    crossing.json("sign", "model", *KEY)
    crossing.json(*push)


def test_a_signature_that_another_signer_replaces_is_kept(crossing: Crossing) -> None:
    before = attest.signature_path(crossing.model).read_bytes()
    crossing.json("sign", "model", "--key", "keys/eu.pem")
    (kept,) = folder(crossing).glob("signature-*")
    assert kept.read_bytes() == before
    assert former.about_of(before) == crossing.manifest
