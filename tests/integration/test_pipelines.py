"""The Pipelines: what they refer to is there, and a model goes the whole way through them.

Each runs twice: its steps on this machine, and in containers as locked down as the Tasks ask.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate.surface.tekton import USER
from tests import components, containers, forked, pipelines
from tests.pipelines import PIPELINES, Completed, Execute, Finished, Work
from tests.signers import KeySigner
from tests.steps import read
from tests.zones import git, make_sides

ROOT = Path(__file__).resolve().parents[2]
IDS = [path.stem.removeprefix("sovgate-") for path in PIPELINES]
ZEROS = "sha256:" + "0" * 64


# --- what they say ----------------------------------------------------------------------------
@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_it_gives_each_task_what_it_wants_and_reads_what_it_has(path: Path) -> None:
    spec = read(path)["spec"]
    tasks = {entry["name"]: entry for entry in spec["tasks"]}
    specs = {
        name: pipelines.task(path, entry["taskRef"]["name"])["spec"]
        for name, entry in tasks.items()
    }
    for name, entry in tasks.items():
        given = pipelines.given(entry)
        wanted = {p["name"]: "default" not in p for p in specs[name]["params"]}
        assert set(given) <= set(wanted)
        assert {param for param, needed in wanted.items() if needed} <= set(given)
        spaces = {w["name"]: w.get("optional", False) for w in specs[name]["workspaces"]}
        bound = {w["name"] for w in entry["workspaces"]}
        assert {space for space, optional in spaces.items() if not optional} <= bound
        assert bound <= set(spaces)
        # What all Tasks of ours may need comes from the run.
        assert {"ca"} & set(spaces) <= bound
        for one in {"project", "ca", "proxy", "image"} & set(wanted):
            assert given[one] in (f"$(params.{one})", [f"$(params.{one})"])
        if "keys" in bound:
            assert given["secret"] in ("$(params.secret)", ["$(params.secret)"])
            assert "hsm" in bound
        else:  # it uses no private key, and gets no credential that could
            assert "hsm" not in bound
            assert "secret" not in wanted or given["secret"] == "sovgate-look"
        assert {w["workspace"] for w in entry["workspaces"]} <= {
            w["name"] for w in spec["workspaces"]
        }
        assert set(entry.get("runAfter", [])) <= set(tasks)
    text = path.read_text(encoding="utf-8")
    for task, result in re.findall(r"\$\(tasks\.([a-z-]+)\.results\.([a-z-]+)\)", text):
        assert result in {r["name"] for r in specs[task]["results"]}
    used = set(re.findall(r"\$\(params\.([a-z-]+)(?:\[\*\])?\)", text))
    assert used == {param["name"] for param in spec["params"]}
    assert len(pipelines.ordered(spec["tasks"])) == len(tasks)


@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_it_lies_as_the_catalogue_wants_it(path: Path) -> None:
    document = read(path)
    assert path.parts[-3] == path.stem == document["metadata"]["name"]
    assert document["metadata"]["labels"]["app.kubernetes.io/version"] == path.parts[-2]
    notes = document["metadata"]["annotations"]
    for key in ("pipelines.minVersion", "categories", "tags", "displayName", "platforms"):
        assert notes[f"tekton.dev/{key}"]
    readme = (path.parent / "README.md").read_text()
    for part in ("params", "results", "workspaces"):
        for entry in document["spec"][part]:
            assert f"| `{entry['name']}` | {entry['description']} |" in readme
    for entry in document["spec"]["tasks"]:
        assert f"`{entry['taskRef']['name']}`" in readme
        assert f"`{entry['name']}`" in readme.split("```")[0]
        assert entry["name"] in readme.split("## Service accounts")[1]


@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_its_sample_gives_what_it_wants_and_each_duty_its_account(path: Path) -> None:
    spec = read(path)["spec"]
    run = read(path.parent / "samples/run.yaml")["spec"]
    given = {param["name"]: param["value"] for param in run["params"]}
    wanted = {param["name"]: param for param in spec["params"]}
    assert set(given) <= set(wanted)
    assert {name for name, param in wanted.items() if "default" not in param} <= set(given)
    for name, value in given.items():
        assert isinstance(value, list) == (wanted[name]["type"] == "array")
    spaces = {w["name"] for w in spec["workspaces"]}
    some = {"ca", "hsm"}  # not every cluster has one of its own
    assert {w["name"] for w in run["workspaces"]} == spaces - some
    text = (path.parent / "samples/accounts.yaml").read_text()
    accounts = {a["metadata"]["name"]: a for a in yaml.safe_load_all(text)}
    assert not any(a["automountServiceAccountToken"] for a in accounts.values())
    default = run["taskRunTemplate"]["serviceAccountName"]
    named = {s["pipelineTaskName"]: s["serviceAccountName"] for s in run["taskRunSpecs"]}
    entries = [*spec["tasks"], *spec.get("finally", [])]
    assert set(named) <= {entry["name"] for entry in entries}
    assert {default, *named.values()} == set(accounts)
    duties: dict[str, set[str]] = {}
    for entry in entries:
        account = named.get(entry["name"], default)
        duties.setdefault(account, set()).add(entry.get("taskRef", entry)["name"])
        # The account that may do nothing is that of the Tasks without a key, and of no other.
        keyless = not any(w["name"] == "keys" for w in entry["workspaces"])
        assert (account in ("sovgate-look", "sovgate-train")) is keyless
    alone = ("sovgate-push", "sovgate-promote", "sovgate-release", "sovgate-pull", "train", "tune")
    for task in alone:
        assert all(tasks == {task} for tasks in duties.values() if task in tasks)


def test_each_pipeline_may_be_given_a_project_a_ca_a_proxy_and_a_secret() -> None:
    for path in PIPELINES:
        spec = read(path)["spec"]
        names = {param["name"]: param for param in spec["params"]}
        assert {names[name]["default"] for name in ("project", "ca", "proxy")} == {""}
        assert names["secret"]["default"] == "sovgate"
        assert [w["name"] for w in spec["workspaces"]] == ["source", "keys", "ca", "hsm"]
        assert all(w["optional"] for w in spec["workspaces"][1:])


@pytest.mark.parametrize("name", ["central", "hybrid-tune"])
def test_policy_is_asked_before_anything_is_trained(name: str) -> None:
    path = pipelines.path_of(name)
    tasks = {entry["name"]: entry for entry in pipelines.ordered(read(path)["spec"]["tasks"])}
    own = "train" if name == "central" else "tune"
    asked = {"action": "train", "zone": "$(params.zone)", "dataset": "$(params.dataset)"}
    assert asked.items() <= pipelines.given(tasks["check"]).items()
    assert tasks[own]["runAfter"] == ["check"]


@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_rule_25_each_task_is_held_to_a_pin(path: Path) -> None:
    """A digest from a parameter or a result: never what the workspace says by then."""
    pin = re.compile(r"^\$\((params\.(base-)?manifest|tasks\.sign\.results\.manifest)\)$")
    pinned = re.compile(r"^(\$\(params\.release\)@\$\(tasks\.sign\.results\.manifest\))$")
    signs = any(entry["name"] == "sign" for entry in read(path)["spec"]["tasks"])
    for entry in read(path)["spec"]["tasks"]:
        given = {
            name: value if isinstance(value, list) else [value]
            for name, value in pipelines.given(entry).items()
        }
        if entry["taskRef"]["name"] == "sovgate-verify":
            assert all(pin.match(value) for value in given["manifest"])
        elif "release" in given and signs and entry["name"] != "pull-base":
            assert all(pinned.match(value) for value in given["release"])
    needs_pin = [param for param in read(path)["spec"]["params"] if "@sha256" in str(param)]
    assert signs or needs_pin


@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_rule_23_the_users_own_task_sees_no_key_and_no_project_file(path: Path) -> None:
    for entry in read(path)["spec"]["tasks"]:
        if not entry["taskRef"]["name"].startswith("sovgate-"):
            assert entry["workspaces"] == [
                {"name": "source", "workspace": "source", "subPath": "build"}
            ]
            assert not {"key", "secret"} & set(pipelines.given(entry))


@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_names_are_in_kebab_case(path: Path) -> None:
    """Instead of tekton-lint, whose rule for it is off in tekton/.tektonlintrc.yaml."""
    spec = read(path)["spec"]
    named = [*spec["params"], *spec["results"], *spec["workspaces"], *spec["tasks"]]
    assert not [n["name"] for n in named if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", n["name"])]


def linted(lint: Path, top: Path, path: Path, cache: Path) -> Completed:
    """A pipeline with all that it refers to, by the .tektonlintrc.yaml of the folder `tekton`."""
    own = f"{path.relative_to(ROOT / 'tekton').parents[1]}/**/*.yaml"
    return subprocess.run(
        [lint, "--max-warnings=0", "{tasks,stepactions,samples}/**/*.yaml", own],
        cwd=top,
        env={**os.environ, "TL_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.component
@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_tekton_lint_finds_nothing(path: Path, tekton_lint: Path, tmp_path: Path) -> None:
    """In the files as they are, with their samples."""
    top = ROOT / "tekton"
    rules = yaml.safe_load((top / ".tektonlintrc.yaml").read_text())["rules"]
    assert rules == {"prefer-kebab-case": "off"}
    done = linted(tekton_lint, top, path, tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.component
@pytest.mark.parametrize("path", PIPELINES, ids=IDS)
def test_tekton_lint_would_find_something(path: Path, tekton_lint: Path, tmp_path: Path) -> None:
    top = tmp_path / "tekton"
    shutil.copytree(ROOT / "tekton", top)
    wrong = top / path.relative_to(ROOT / "tekton")
    text, times = re.subn(r"\$\(params\.zone\)", "$(params.zones)", wrong.read_text())
    assert times
    wrong.write_text(text)
    done = linted(tekton_lint, top, path, tmp_path / "cache")
    assert done.returncode == 1
    assert "no-undefined-param" in done.stdout


# --- what they do -----------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sides:
    """Two zones with a folder each, their private keys apart, and a way to run steps in one."""

    top: Path
    place: str
    start: Callable[[Path, Work], Completed]

    def run(self, side: str, pipeline: str, number: int = 1, **given: Any) -> Finished:
        more = {name: given.pop(name) for name in ("other", "look") if name in given}
        params = {name.replace("_", "-"): value for name, value in given.items()}
        execute: Execute = lambda work: self.start(self.top / side, work)  # noqa: E731
        return pipelines.run(
            pipeline,
            params,
            execute,
            self.top / "results" / f"{side}-{pipeline}-{number}",
            **more,
        )


def lay_out(top: Path, place: str) -> None:
    """`place`: where a step finds its zone's private keys. No Task sees them but by a workspace."""
    make_sides(top)
    for side in ("us", "eu"):
        keys = top / f"{side}-keys"
        keys.mkdir()
        for key in (top / side / "keys").glob("*.pem"):
            if not key.name.endswith(".pub.pem"):
                key.rename(keys / key.name)
        project = top / side / "sovgate.yaml"
        text = project.read_text()
        # What verifies has no private key, so that the public one has to be named beside it.
        place_here = place.format(side=side)
        own = f'"file:{place_here}/{side}-sign.pem", sign-public: keys/{side}-sign.pub.pem'
        text = text.replace(f'"file:keys/{side}-sign.pem"', own)
        text = text.replace(f"file:keys/{side}-sign.pem", own.replace(", ", "\n      "))
        text = text.replace(f"file:keys/{side}.pem", f"file:{place_here}/{side}.pem")
        if side == "us":  # a third zone, so that a matrix is one
            (top / side / "keys/ch.pub.pem").write_bytes(KeySigner().public_key.pem)
            text = text.replace("zones:\n", f"zones:\n  ch: {CH}\n")
            text = text.replace("{allow: [", "{allow: [us-train -> ch, ")
        project.write_text(text)
        (top / side / "build").mkdir()
    (top / "store-ch").mkdir()


def on_this_machine(top: Path) -> Sides:
    place = f"{top}/{{side}}-keys"
    lay_out(top, place)
    image = top / "image"
    image.mkdir()
    forked.SOVGATE.command(image / "sovgate")

    def start(folder: Path, work: Work) -> Completed:
        env = {
            **work.step.env,
            "PATH": f"{image}:/usr/bin:/bin",
            "TMPDIR": str(top),
            "HOME": str(top),
            "SOVGATE_RESULTS_DIR": str(work.results),
        }
        script = work.step.written(top / "scripts" / work.results.parent.name / work.name)
        return subprocess.run(
            [script],
            cwd=folder / work.workspaces["source"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return Sides(top=top, place=place, start=start)


def in_containers(top: Path) -> Sides:
    podman = components.found(containers.podman)
    image = components.found(containers.image, podman)
    lay_out(top, "/keys")
    for path in (top, *top.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)

    def start(folder: Path, work: Work) -> Completed:
        scripts = top / "scripts" / work.results.parent.name / work.name
        work.step.written(scripts)
        os.chown(work.results, USER, USER)
        mounts = {
            folder / work.workspaces["source"]: "/workspace/source",
            scripts: "/tekton/scripts:ro",
            work.results: "/tekton/results",
        }
        if "keys" in work.workspaces:
            mounts[top / f"{folder.name}-keys"] = "/keys:ro"
        if not work.workspaces["source"]:  # what sovgate.yaml names by `../`
            for name in ("store-us", "store-eu", "store-ch", "serving.git"):
                mounts[top / name] = f"/workspace/{name}"
        return podman.run(
            image,
            mounts=mounts,
            env=work.step.env,
            workdir="/workspace/source",
            entrypoint=["/tekton/scripts/script"],
        )

    return Sides(top=top, place="/keys", start=start)


@pytest.fixture(
    params=[on_this_machine, pytest.param(in_containers, marks=pytest.mark.container)],
    ids=["here", "containers"],
)
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Sides:
    made: Sides = request.param(tmp_path)
    return made


CH = (
    '{region: "aws:eu-central-2", store: "file:../store-ch", keys: '
    "{sign-public: keys/eu-sign.pub.pem, encrypt-public: keys/ch.pub.pem}}"
)
CENTRAL = {
    "model": "triage",
    "release": "tumour-triage/1.0.0",
    "dataset": "screening-public",
    "zone": "us-train",
    "to": ["eu"],
}


def fine(done: Finished) -> Finished:
    assert done.failed is None, f"{done.failed and done.failed[0]}: {done.failed}"
    return done


def own_task(name: str, script: str) -> dict[str, dict[str, Any]]:
    pipeline = pipelines.path_of("central" if name == "train" else "hybrid-tune")
    task = copy.deepcopy(pipelines.task(pipeline, name))
    task["spec"]["steps"][0]["script"] = f"#!/bin/sh\nset -eu\n{script}\n"
    return {name: task}


def tuned(sides: Sides, sent: Finished, **more: Any) -> Finished:
    return sides.run(
        "eu",
        "hybrid-tune",
        base=sent.results["release"],
        base_manifest=sent.results["manifest"],
        dataset="clinic-eu",
        zone="eu",
        **more,
    )


def head_of(sides: Sides) -> str:
    words = ("-c", "safe.directory=*", "log", "--format=%H", "-1")
    return git(*words, cwd=sides.top / "serving.git").strip()


def test_a_model_is_trained_centrally_tuned_in_the_region_and_rolled_out(sides: Sides) -> None:
    sent = fine(sides.run("us", "central", **CENTRAL))
    drafts, signed = ("record", "sbom"), ("sign", "attest", "verify", "push-0")
    assert sent.ran == ("check", "train", *drafts, *signed)
    assert sent.results["release"] == f"tumour-triage/1.0.0@{sent.results['manifest']}"
    assert not list((sides.top / "us/build").iterdir()), "weights stay in the workspace"
    made = fine(tuned(sides, sent))
    assert made.ran == (
        *("pull-base", "verify-base", "check", "tune"),
        *("sign", "verify-base-again", "record", "sbom", "attest"),
    )
    manifest = made.results["manifest"]
    assert manifest != sent.results["manifest"]
    # What was tuned stays for the run that releases it; the base does not.
    build = sides.top / "eu/build"
    assert sorted(path.name for path in build.iterdir()) == ["tuned", "tuned.evidence"]
    assert list((build / "tuned.evidence").glob("sbom-*.json")), "the draft was signed"
    # What was tuned on data that stays in the EU does not go back.
    back = {"model": "build/tuned", "release": "tumour-triage/2.0.1", "dataset": "clinic-eu"}
    stopped = sides.run("eu", "send", zone="eu", to=["us-train"], **back)
    assert stopped.failed is not None
    assert (stopped.failed[0], stopped.failed[1].returncode) == ("push-0", 10)
    before, release = head_of(sides), f"tumour-triage/2.0.0@{manifest}"
    # A run that is stopped leaves it for the next one, which need not tune again.
    wrong = {"release": release, "manifest": f"sha256:{'0' * 64}", "zone": "eu"}
    assert sides.run("eu", "hybrid-release", 2, **wrong).failed is not None
    assert sorted(path.name for path in build.iterdir()) == ["tuned", "tuned.evidence"]
    released = fine(
        sides.run("eu", "hybrid-release", release=release, manifest=manifest, zone="eu")
    )
    assert released.ran == ("verify", "check", "release")
    assert released.results["release"] == release
    assert released.results["decision"]
    assert head_of(sides) != before
    assert not list(build.iterdir()), "weights stay in the workspace"


def test_a_model_goes_to_several_zones_and_one_receives_it(sides: Sides) -> None:
    (sides.top / "us/build/triage").mkdir()
    (sides.top / "us/build/triage/weights.bin").write_bytes(b"weights")
    more = {"model": "build/triage", "to": ["ch", "eu"]}
    sent = fine(sides.run("us", "send", **{**CENTRAL, **more}))
    assert sent.ran[-2:] == ("push-0", "push-1")
    given = {"release": sent.results["release"], "manifest": sent.results["manifest"]}
    before = head_of(sides)
    only = fine(sides.run("eu", "receive", zone="eu", promote="false", **given))
    assert only.ran == ("pull", "verify")
    assert set(only.results) == {"receipt"}
    assert head_of(sides) == before
    seen: list[bytes] = []
    place = sides.top / "eu/build/model"
    got = fine(
        sides.run(
            "eu",
            "receive",
            2,
            zone="eu",
            look=lambda: seen.append((place / "weights.bin").read_bytes()),
            **given,
        )
    )
    assert head_of(sides) == got.results["commit"]
    assert got.results["receipt"]
    assert seen == [b"weights"]
    assert not place.exists()
    assert (sides.top / "store-ch/releases/tumour-triage/1.0.0.json").is_file()


def test_several_pods_send_one_release(sides: Sides) -> None:
    """Each a share of it; what the first run left is not sent again, and a part that somebody wrote
    into the workspace is not joined."""
    model = sides.top / "us/build/triage"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    of_model = {**CENTRAL, "model": "build/triage"}
    signed = fine(sides.run("us", "send", **{**of_model, "to": ["ch"]}))
    given = {
        "model": "build/triage",
        "release": signed.results["release"],
        "zone": "us-train",
        "to": "eu",
        "shards": ["1/2", "2/2"],
        "count": "2",
    }
    document = sides.top / "us/parts/part-2.json"
    document.parent.mkdir()
    document.write_text("{}")
    if sides.place == "/keys":
        for path in (document, document.parent):
            os.chown(path, USER, USER)
    refused = sides.run("us", "send-shards", **{**given, "shards": ["1/2"]})
    assert refused.failed is not None
    label, done = refused.failed
    assert (label, done.returncode) == ("join", 11)
    assert "--shard 2/2 " in done.stderr
    assert not (sides.top / "store-eu/releases").exists()
    sent = fine(sides.run("us", "send-shards", 2, **given))
    assert sent.ran == ("shard-0", "shard-1", "join")
    assert sent.results["release"] == given["release"]
    manifest = signed.results["manifest"]
    got = fine(
        sides.run(
            "eu",
            "receive",
            zone="eu",
            promote="false",
            release=sent.results["release"],
            manifest=manifest,
        )
    )
    assert got.results["receipt"]


def test_a_release_with_another_pin_is_not_received(sides: Sides) -> None:
    fine(sides.run("us", "central", **CENTRAL))
    done = sides.run(
        "eu", "receive", release=f"tumour-triage/1.0.0@{ZEROS}", manifest=ZEROS, zone="eu"
    )
    assert done.failed is not None
    assert (done.failed[0], done.failed[1].returncode) == ("pull", 11)
    assert not (sides.top / "eu/build/model").exists()


def test_data_that_may_not_be_here_stops_the_run_before_the_training(sides: Sides) -> None:
    done = sides.run("us", "central", **{**CENTRAL, "dataset": "clinic-eu"})
    assert done.failed is not None
    assert done.ran == ("check",)
    assert done.failed[1].returncode == 10, done.failed[1].stderr
    assert not list((sides.top / "us/build").iterdir())


def test_rule_25_a_tuning_that_replaces_the_base_is_stopped_before_the_record(
    sides: Sides,
) -> None:
    """Else the tuned model could take over the demands of a base that it was not made from."""
    sent = fine(sides.run("us", "central", **CENTRAL))
    tune = 'mkdir "$MODEL"; echo x >"$MODEL/weights.bin"; echo other >"$BASE/weights.bin"'
    build = sides.top / "eu/build"
    records: list[Path] = []

    def look() -> None:
        records.extend((build / "tuned.evidence").glob("provenance*"))
        assert (build / "tuned").is_dir()

    done = tuned(sides, sent, other=own_task("tune", tune), look=look)
    assert done.failed is not None
    assert (done.failed[0], done.failed[1].returncode) == ("verify-base-again", 11)
    assert not records
    assert not list(build.iterdir()), "the run failed, so the tuned model goes too"


@pytest.mark.container
def test_rule_23_training_reaches_neither_keys_nor_project_nor_network(tmp_path: Path) -> None:
    sides = in_containers(tmp_path)
    spy = (
        "ls -d /keys /workspace/store-eu /workspace/source/../sovgate.yaml >seen 2>/dev/null || :\n"
        "ls /sys/class/net >>seen; id -u >>seen; cat seen >&2\n"
        'mkdir "$MODEL"; mv seen "$MODEL"'
    )
    seen: list[str] = []
    look = lambda: seen.append((tmp_path / "us/build/triage/seen").read_text())  # noqa: E731
    fine(sides.run("us", "central", **CENTRAL, other=own_task("train", spy), look=look))
    assert seen == [f"lo\n{USER}\n"]
