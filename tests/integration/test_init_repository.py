"""`sovgate init` in a repository: what it writes is where it works, and no two projects share."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate import config
from sovgate.errors import UsageError
from sovgate.pipeline.look import init
from tests.integration.test_init import sovgate


def answers(model: str, pattern: str = "central", *data: str) -> init.Answers:
    return init.Answers(
        pattern=pattern,
        model=model,
        train=init.zone_answer("aws:us-east-1", suffix="-train"),
        serve=(init.zone_answer("eu=aws-eusc:eusc-de-east-1"),),
        data=tuple(init.data_answer(text) for text in data),
        gitops="https://git.example/ml/serving.git",
    )


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "mono"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    return folder


def workflows(top: Path) -> dict[str, dict[Any, Any]]:
    return {
        path.name: yaml.safe_load(path.read_text())
        for path in sorted((top / ".github/workflows").iterdir())
    }


@pytest.mark.parametrize("pattern", ["central", "hybrid"])
def test_workflows_and_hooks_go_to_the_root(top: Path, pattern: str) -> None:
    data = ("kyc=EU",) if pattern == "hybrid" else ()
    made = init.init(top / "services/a", answers("alpha", pattern, *data))
    assert "services/a/sovgate.yaml" in made.created
    assert not (top / "services/a/.github").exists()
    assert not (top / "services/a/.pre-commit-config.yaml").exists()
    assert (top / ".pre-commit-config.yaml").is_file()
    found = workflows(top)
    names = ["check-alpha", "guard", "release-alpha", "rollback-alpha"]
    assert list(found) == [f"sovgate-{name}.yml" for name in names]
    for name, workflow in found.items():
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                if step.get("uses", "").startswith("org/sovgate/") and "guard" not in name:
                    assert step["with"]["project"] == "services/a", (name, step)
                for text in (step.get("run", ""), step.get("with", {}).get("key", "")):
                    for word in text.split():
                        if "keys/" in word:
                            assert word.removeprefix("file:").startswith("services/a/keys/")
                if ".sh" in step.get("run", ""):
                    assert step["run"].startswith("cd services/a && ./")


def test_only_changes_of_the_project_start_its_check(top: Path) -> None:
    init.init(top / "services/a", answers("alpha"))
    check = workflows(top)["sovgate-check-alpha.yml"]
    paths = ["services/a/**", ".github/workflows/sovgate-check-alpha.yml"]
    assert check[True]["pull_request"]["paths"] == paths
    assert check[True]["push"]["paths"] == paths
    guard = workflows(top)["sovgate-guard.yml"]
    assert guard[True] == {"pull_request": None, "push": {"branches": ["main"]}}


def shared(top: Path, one: str, other: str) -> set[str]:
    """Names that two projects' workflows have in common, of those that GitHub tells apart."""

    def names(model: str) -> set[str]:
        found = set()
        for name, workflow in workflows(top).items():
            if name.endswith(f"-{model}.yml"):
                found |= {f"name: {workflow['name']}", f"group: {workflow['concurrency']['group']}"}
                found |= {
                    f"environment: {job['environment']}"
                    for job in workflow["jobs"].values()
                    if "environment" in job
                }
                found |= {
                    f"tag: {tag}" for tag in (workflow[True].get("push") or {}).get("tags", [])
                }
        return found

    return {name for name in names(one) & names(other) if "github.workflow" not in name}


def test_two_projects_share_no_name(top: Path) -> None:
    init.init(top / "services/a", answers("alpha"))
    made = init.init(top / "services/b", answers("beta"))
    assert shared(top, "alpha", "beta") == set()
    assert {".pre-commit-config.yaml", ".github/workflows/sovgate-guard.yml"} <= set(made.kept)
    assert made.differ == ()


def test_rule_42_two_projects_share_one_repository_and_no_overlay(top: Path) -> None:
    """As the pages say: `serving/` of each is copied into the root of one repository."""
    init.init(top, answers("root"))
    for name in ("alpha", "beta"):
        init.init(top / name, answers(name))
    files = [
        path.relative_to(folder / "serving").as_posix()
        for folder in (top, top / "alpha", top / "beta")
        for path in (folder / "serving").rglob("*")
        if path.is_file()
    ]
    assert len(files) == len(set(files)) == 9
    for folder, below in ((top, ""), (top / "alpha", "alpha/"), (top / "beta", "beta/")):
        gitops = config.read(folder / "sovgate.yaml").zones["eu"].gitops
        assert gitops is not None
        assert gitops.path == f"serving/{below}overlays/eu"
        assert (folder / gitops.path / "kustomization.yaml").is_file()


def test_rule_42_an_overlay_of_another_project_is_refused_and_nothing_is_written(top: Path) -> None:
    init.init(top / "a", answers("alpha"))
    file = top / "a/sovgate.yaml"
    taken = file.read_text().replace("serving/alpha/overlays/eu", "./serving/beta/overlays/eu/")
    file.write_text(taken)
    with pytest.raises(UsageError) as caught:
        init.init(top / "b", answers("beta"))
    assert caught.value.reason == "bad-name"
    assert "'serving/beta/overlays/eu' is the overlay of zone eu" in caught.value.what
    assert "zones.eu.gitops.path" in str(caught.value.fix)
    assert not (top / "b").exists()
    # Without that repository, or in another, or on another branch, it is in nobody's way.
    init.init(top / "b", replace(answers("beta"), gitops=None), dry_run=True)
    init.init(top / "b", replace(answers("beta"), gitops="https://git.example/x"), dry_run=True)
    file.write_text(taken.replace("gitops: {", "gitops: {branch: live, "))
    init.init(top / "b", answers("beta"))


def test_a_second_project_with_the_same_model_is_refused_and_nothing_is_written(top: Path) -> None:
    init.init(top / "services/a", answers("alpha"))
    with pytest.raises(UsageError) as caught:
        init.init(top / "services/b", answers("alpha"))
    assert caught.value.reason == "output-exists"
    assert not (top / "services/b").exists() or not list((top / "services/b").iterdir())


def test_a_project_at_the_root_and_one_below_it(top: Path) -> None:
    init.init(top, answers("alpha"))
    init.init(top / "b", answers("beta"))
    assert "sovgate-release.yml" in workflows(top)
    root, below = workflows(top)["sovgate-release.yml"], workflows(top)["sovgate-release-beta.yml"]
    assert root[True]["push"]["tags"] == ["v*"]
    assert below[True]["push"]["tags"] == ["beta-v[0-9]+.[0-9]+.[0-9]+*"]
    assert root["concurrency"]["group"] != below["concurrency"]["group"]


@pytest.mark.parametrize(
    ("folder", "model"), [("a b", "alpha"), ("a$(x)", "alpha"), ("${{ a }}", "alpha"), ("a", "v2")]
)
def test_what_no_workflow_can_name_is_refused(top: Path, folder: str, model: str) -> None:
    with pytest.raises(UsageError) as caught:
        init.init(top / folder, answers(model))
    assert caught.value.reason == "bad-name"
    assert [path.name for path in top.iterdir()] == [".git"]


def test_a_folder_that_the_repository_ignores_is_none_of_its_projects(top: Path) -> None:
    (top / ".gitignore").write_text("/build/\n")
    init.init(top / "build/try", answers("alpha"))
    assert (top / "build/try/.github/workflows/sovgate-release.yml").is_file()
    assert not (top / ".github").exists()


def test_the_command_says_where_they_are(top: Path) -> None:
    words = ("init", "services/a", "--model", "alpha", "--pattern", "central", "--local")
    said = str(sovgate(*words, cwd=top, text=True))
    lines = [line.split()[-1] for line in said.splitlines() if line.startswith("  new")]
    assert {line for line in lines if "github" in line or "pre-commit" in line} == {
        ".github/workflows/sovgate-check-alpha.yml",
        ".github/workflows/sovgate-guard.yml",
        ".github/workflows/sovgate-release-alpha.yml",
        ".pre-commit-config.yaml",
    }
    assert all((top / line).is_file() for line in lines)
    again = sovgate(*words, cwd=top / ".", text=False)
    assert again["created"] == []  # type: ignore[index]


# Places: no job is given data that may not be in its zone.


def test_data_that_may_not_be_where_is_trained_needs_another_pattern(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        init.init(tmp_path / "kyc", answers("kyc", "central", "customers=EU"))
    error = caught.value
    assert (error.reason, error.what) == ("no-zone-for-data", "customers may not be in us-train")
    assert "--pattern hybrid" in str(error.fix)
    assert not (tmp_path / "kyc").exists()


def test_hybrid_names_the_data_in_the_zone_where_it_may_be(tmp_path: Path) -> None:
    init.init(tmp_path / "kyc", answers("kyc", "hybrid", "customers=EU", "other=US,DE"))
    jobs = yaml.safe_load((tmp_path / "kyc/.github/workflows/sovgate-release.yml").read_text())
    text = {
        name: step["with"]["dataset"]
        for name, job in jobs["jobs"].items()
        for step in job["steps"]
        if "dataset" in step.get("with", {})
    }
    assert text == {
        "train": "public-train",
        "tune-eu": "customers\nother",
        "sign-eu": "customers\nother",
    }


def several(*data: str) -> init.Answers:
    base = answers("kyc", "hybrid", *data)
    second = init.zone_answer("ch=aws:eu-central-2")
    return init.Answers(**{**vars(base), "serve": (*base.serve, second)})


def test_each_zone_names_its_own_data_and_what_is_left_out_is_said() -> None:
    found = several("customers=EU", "konten=CH")
    assert found.tuned_on(found.serve[0]) == ("customers",)
    assert found.tuned_on(found.serve[1]) == ("konten",)
    assert found.left_out() == (
        "konten is left out in eu: it may not be there",
        "customers is left out in ch: it may not be there",
    )


@pytest.mark.parametrize("data", [("konten=FR,JP",), ("customers=EU",)])
def test_a_zone_without_data_or_data_without_a_zone_is_refused(
    tmp_path: Path, data: tuple[str, ...]
) -> None:
    found = several(*data)
    if data == ("konten=FR,JP",):
        found = init.Answers(**{**vars(found), "data": (init.data_answer("konten=JP"),)})
    with pytest.raises(UsageError) as caught:
        init.init(tmp_path / "kyc", found)
    assert caught.value.reason == "no-zone-for-data"


def test_data_that_would_keep_the_model_at_home_is_left_out_and_said(tmp_path: Path) -> None:
    found = sovgate(
        *("init", "kyc", "--pattern", "central", "--local", "--data", "staff=US"),
        *("--data", "both=US,DE"),
        cwd=tmp_path,
        text=True,
    )
    assert (
        "staff is left out of the training: it may not go to eu, and neither may a model that "
        "was trained on it" in str(found)
    )
    text = (tmp_path / "kyc/.github/workflows/sovgate-release.yml").read_text()
    assert text.count('dataset: "public-train\\nboth"') == 2


@pytest.mark.parametrize(
    ("pattern", "data"),
    [("central", ()), ("central", ("both=US,DE",)), ("hybrid", ("customers=EU",))],
)
def test_each_training_job_asks_first_and_its_own_project_allows_it(
    tmp_path: Path, pattern: str, data: tuple[str, ...]
) -> None:
    folder = tmp_path / "kyc"
    init.init(folder, answers("kyc", pattern, *data))
    workflow = yaml.safe_load((folder / ".github/workflows/sovgate-release.yml").read_text())
    asked = 0
    for name, job in workflow["jobs"].items():
        runs = [n for n, step in enumerate(job["steps"]) if ".sh" in step.get("run", "")]
        if not runs:
            continue
        (check,) = (step for step in job["steps"][: runs[0]] if "/check@" in step.get("uses", ""))
        given = check["with"]
        words = [word for one in given["dataset"].split("\n") for word in ("--dataset", one)]
        assert given["action"] == "train", name
        sovgate("check", "--action", "train", "--zone", given["zone"], *words, cwd=folder)
        asked += 1
    assert asked == (2 if pattern == "hybrid" else 1)


@pytest.mark.parametrize(
    ("first", "model", "zone"),
    [
        ("a.b", "a-b", "eu"),
        ("a-b", "a.b", "eu"),
        ("a_b", "a.b", "eu"),
        ("a-b", "a", "b-eu"),  # joined with the zone's name it is the same word
    ],
)
def test_no_two_projects_have_one_name_for_volumes_and_buckets(
    top: Path, first: str, model: str, zone: str
) -> None:
    init.init(top / "one", answers(first))
    serve = (init.zone_answer(f"{zone}=aws-eusc:eusc-de-east-1"),)
    train = init.zone_answer("home=aws:us-east-1")
    mine = replace(answers(model), serve=serve, train=train)
    with pytest.raises(UsageError) as refused:
        init.init(top / "two", mine)
    assert refused.value.reason == "bad-name"
    assert "'a-b-eu' is what a zone of the project in " in refused.value.what
    assert repr(first) in str(refused.value.why)
    assert not (top / "two").exists()
    # With a name of its own it is written, and both may be written again.
    init.init(top / "two", replace(mine, model="other"))
    init.init(top / "one", answers(first))
    init.init(top / "two", replace(mine, model="other"))
