"""The whole way as a workflow: one job in the training zone, one in the target, each its own keys.

`uses: org/sovgate/<verb>@v1` steps under the real act, over folder stores and a Git repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests import components, containers
from tests.firm import HOST, firm_in
from tests.githttp import git_server
from tests.tunnel import tunnel
from tests.workflows import Act, Log, release_tree, uses, wheels
from tests.zones import git, make_sides

pytestmark = pytest.mark.component
TOKEN = "a-token-of-some-length"
NOTHING: Mapping[str, str] = MappingProxyType({})


@pytest.fixture(scope="module")
def runner(act: Path, tmp_path_factory: pytest.TempPathFactory) -> Act:
    folder = tmp_path_factory.mktemp("act")
    return Act(act, release_tree(folder / "tree"), folder)


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    return make_sides(tmp_path)


def job(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"runs-on": "ubuntu-latest", **more, "steps": list(steps)}


def chain(sides: Path, git: Mapping[str, str] = NOTHING, **more: str) -> dict[str, Any]:
    """The job that trains hands a pinned release to the job that serves; `more`: inputs of all,
    `git`: of the step that commits."""
    us, eu = sides / "us", sides / "eu"
    model, there = str(us / "tumour-triage"), str(eu / "served")
    here = {"project": str(us), "zone": "us-train", **more}
    target = {"project": str(eu), "zone": "eu", **more}
    pinned = "tumour-triage/1.0.0@${{ steps.sign.outputs.manifest }}"
    key = f"file:{us}/keys/us-sign.pem"
    train = job(
        uses("sign", "sign", model=model, key=key, **more),
        uses(
            "record",
            "record",
            model=model,
            key=key,
            dataset="screening-public",
            project=str(us),
            **more,
        ),
        uses("check", "check", model=model, action="transfer", to="eu", release=pinned, **here),
        uses("push", "push", source=model, release=pinned, to="eu", **here),
        outputs={
            "release": "${{ steps.push.outputs.release }}",
            "manifest": "${{ steps.push.outputs.manifest }}",
        },
    )
    serve = job(
        uses("pull", "pull", release="${{ needs.train.outputs.release }}", output=there, **target),
        uses(
            "verify",
            "verify",
            model=there,
            project=str(eu),
            manifest="${{ needs.train.outputs.manifest }}",
            **more,
        ),
        uses("promote", "promote", release="${{ needs.train.outputs.release }}", **target, **git),
        needs="train",
    )
    return {"on": "push", "jobs": {"train": train, "serve": serve}}


def arrived(log: Log, sides: Path) -> None:
    """What left one zone is what the other one serves, and each step says so."""
    us, eu = sides / "us", sides / "eu"
    assert log.code == 0, str(log)
    signed = log.outputs("sign")["manifest"]
    assert log.outputs("check")["allowed"] == "true"
    assert log.outputs("push")["release"] == f"tumour-triage/1.0.0@{signed}"
    for step in ("push", "pull", "verify", "promote"):
        assert log.outputs(step)["manifest"] == signed
        assert f"{signed[:20]}" in log.summary(step)
    assert (eu / "served/weights.bin").read_bytes() == (
        us / "tumour-triage/weights.bin"
    ).read_bytes()
    commit = log.outputs("promote")["commit"]
    shown = git("show", commit, cwd=sides / "serving.git")
    assert "MODEL_KEY_URI" in shown
    assert signed in shown
    seconds = [
        log.seconds(name)
        for name in ("sign", "record", "check", "push", "pull", "verify", "promote")
    ]
    each = " ".join(f"{s:.1f}" for s in seconds)
    print(f"five steps: {sum(seconds[:5]):.1f} s, seven: {sum(seconds):.1f} s, {each}")


def test_a_model_goes_from_one_zone_to_a_commit_in_the_other(runner: Act, sides: Path) -> None:
    """The commit goes to a Git server under a CA of the firm's own, through the firm's proxy."""
    firm = firm_in(sides / "firm")
    git("config", "http.receivepack", "true", cwd=sides / "serving.git")
    with git_server(sides, TOKEN, firm.tls) as server, tunnel() as way:
        project = sides / "eu" / "sovgate.yaml"
        url = f"https://{HOST}:{server.server_port}/serving.git"
        text = project.read_text()
        project.write_text(text.replace("repo: ../serving.git", f'repo: "{url}"'))
        assert project.read_text() != text
        inputs = {"ca": str(firm.root), "proxy": way.url, "git-token": TOKEN}
        arrived(runner.run(chain(sides, inputs), sides / "repository"), sides)
        assert set(server.users) == {"x-access-token"}
        assert set(way.asked) == {f"{HOST}:{server.server_port}"}


@pytest.mark.container
def test_the_same_in_two_containers_that_share_nothing_but_a_store(
    runner: Act, sides: Path
) -> None:
    """Offline, without capabilities; neither job's container holds the other zone's folder."""
    engine = components.found(containers.podman)
    image = containers.runner(engine)
    probe = {"id": "probe", "run": f"ls /sys/class/net; ls {sides}"}
    workflow = chain(sides, python="")  # each finds the image's own
    for name, folders in (
        ("train", ("us", "store-us", "store-eu")),
        ("serve", ("eu", "store-eu", "serving.git")),
    ):
        seen = {wheels(): f"{wheels()}:ro", **{sides / f: sides / f for f in folders}}
        workflow["jobs"][name]["container"] = containers.of_job(image, seen)
        workflow["jobs"][name]["steps"].insert(0, probe)
    with engine.service() as docker:
        log = runner.run(workflow, sides / "repository", docker=docker)
    arrived(log, sides)
    train = ["lo", "repository", "store-eu", "store-us", "us"]
    serve = ["lo", "eu", "repository", "serving.git", "store-eu"]
    assert log.text("probe").split() == train + serve


def test_a_transfer_that_policy_denies_fails_the_step_with_the_line_that_denies_it(
    runner: Act, sides: Path
) -> None:
    eu = sides / "eu"
    model, key = str(eu / "tumour-triage"), f"file:{eu}/keys/eu-sign.pem"
    place = {"project": str(eu), "zone": "eu", "to": "us-train"}
    steps = job(
        uses("sign", "sign", model=model, key=key),
        uses("record", "record", model=model, key=key, dataset="clinic-eu", project=str(eu)),
        uses("push", "push", source=model, release="tumour-triage/2.0.0", **place),
        uses("check", "check", when="always()", model=model, action="transfer", **place),
    )
    log = runner.run({"on": "push", "jobs": {"train": steps}}, sides / "repository")
    assert log.result("sign") == log.result("record") == "success", str(log)
    assert log.result("push") == "failure"
    assert log.result("check") == "failure"
    assert str(log).count("exit status 10") >= 2
    said = "\n".join(log.annotations("push", "run"))
    assert "clinic-eu" in said
    assert "sovgate.yaml" in said
    assert ",line=" in said
    assert "clinic-eu" in log.summary("push")
    assert log.outputs("check", "run")["allowed"] == "false"
    assert not list((sides / "store-us").rglob("releases/*"))
