"""RULES 42 against real Git and the real builder: what is committed builds, pins what it says, and
takes nothing from another model, zone or workload.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import ConfigError, GitError, SovgateError
from sovgate.formats.kustomize import Pin
from sovgate.formats.yaml12 import load
from sovgate.git import run as git_run
from sovgate.git.url import parse_remote, repository_of, same_repository
from sovgate.stages import promote
from sovgate.stages.promote import render
from tests import components
from tests.repositories import DEPLOYMENT, Repository, git

OVERLAY = "overlays/eu"
KUSTOMIZATION = f"{OVERLAY}/kustomization.yaml"
RELEASE_FILE = f"{OVERLAY}/sovgate-release.yaml"
FETCH = "      initContainers:\n        - {name: fetch, image: fetch}\n"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of a build stays on disk, whatever came of it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert [p for p in folder.rglob("*") if not p.name.startswith("sovgate-")] == []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path, ("eu", "us"))


@pytest.fixture
def builder(tmp_path: Path) -> str:
    """The program that builds overlays, where this machine has it in a fixed folder."""
    try:
        return render._builder()[0]
    except render.CannotBuildError as error:
        components.absent(components.MissingError(str(error), get="install kubectl in /usr/bin"))


@pytest.fixture
def nothing_to_build_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No kustomize and no kubectl: the folders of programs hold git alone."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(git_run.find_program(name))
    monkeypatch.setattr(render, "PROGRAM_DIRS", (str(programs),))


def pin(release: str = "churn/1.0.0", zone: str = "eu", **fields: str) -> Pin:
    digest = "".join(c for c in release if c.isdigit()).ljust(64, "a")
    fields = {"manifest": digest, "record": "b" * 64, "key_uri": "file:keys/eu.pem", **fields}
    return Pin(release=f"{release}@sha256:{digest}", zone=zone, **fields)


def target(repository: Repository, zone: str = "eu", **fields: Any) -> promote.GitTarget:
    remote = parse_remote(str(repository.path), Path("/"))
    return promote.GitTarget(zone=zone, remote=remote, **{"path": OVERLAY, **fields})


def promoted(where: promote.GitTarget, what: Pin) -> promote.Pushed:
    with promote.opened(where) as checkout:
        first = checkout.read_overlay()
        return checkout.push(what, first, promote.commit_message(what, "c" * 64), lambda: None)


def planned(where: promote.GitTarget, what: Pin | None = None) -> promote.Plan:
    with promote.opened(where) as checkout:
        return checkout.plan(what or pin())


def refused(where: promote.GitTarget, what: Pin | None = None) -> SovgateError:
    """What stops it, before anything was committed."""
    with pytest.raises((GitError, ConfigError)) as caught:
        promoted(where, what or pin())
    assert caught.value.fix
    return caught.value


def rendered(repository: Repository, kubectl: Path) -> dict[str, dict[str, Any]]:
    """The objects of the overlay at the branch's tip, by `Kind/name`."""
    done = subprocess.run(
        [str(kubectl), "kustomize", str(repository.work / OVERLAY)], capture_output=True, check=True
    )
    found = [
        load(part.encode(), "r").value
        for part in re.split(r"^---$", done.stdout.decode(), flags=re.MULTILINE)
    ]
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in found}


def variables(pod: dict[str, Any], container: str) -> dict[str, str]:
    for item in (*pod.get("initContainers", ()), *pod["containers"]):
        if item["name"] == container:
            return {e["name"]: e["value"] for e in item.get("env", ())}
    raise AssertionError(container)


def deployments(*names: str, kind: str = "Deployment", more: str = "") -> str:
    one = DEPLOYMENT.replace("kind: Deployment", f"kind: {kind}") + more
    return "---\n".join(one.replace("name: serve\n", f"name: {name}\n") for name in names)


# --- another model, zone or workload ------------------------------------------------------------


def test_rule_42_the_pin_of_another_model_is_never_replaced(repository: Repository) -> None:
    repository.person_pushes({"base/deployment.yaml": deployments("alpha", "beta")})
    promoted(target(repository, deployment="alpha"), pin("alpha/1.0.0"))
    before = repository.tip()
    error = refused(target(repository, deployment="beta"), pin("beta/1.0.0"))
    assert (error.exit_code, error.reason) == (23, "overlay-taken")
    assert "alpha/1.0.0" in str(error.why)
    assert "beta/1.0.0" in str(error.why)
    assert "into beta/overlays/eu, and write that in zones.eu.gitops.path" in str(error.fix)
    assert repository.tip() == before
    # The first one goes on as before.
    promoted(target(repository, deployment="alpha"), pin("alpha/1.1.0"))
    assert b"alpha/1.1.0" in repository.show(RELEASE_FILE)


def test_rule_42_the_pin_of_another_zone_is_never_replaced(repository: Repository) -> None:
    promoted(target(repository), pin())
    before = repository.tip()
    error = refused(target(repository, "us", path=OVERLAY), pin(zone="us"))
    assert (error.exit_code, error.reason) == (23, "overlay-taken")
    assert "zone eu" in str(error.why)
    assert "zone us" in str(error.why)
    assert "into overlays/us, and" in str(error.fix)
    assert repository.tip() == before


@pytest.mark.parametrize(
    "files",
    [
        {"overlays/us/kustomization.yaml": "resources: [../eu]\n"},
        {"overlays/us/kustomization.yaml": "components: [../../overlays/eu/]\n"},
        {
            "overlays/us/kustomization.yaml": "resources: [../../all]\n",
            "all/kustomization.yaml": "resources: [../base, ../overlays/eu]\n",
        },
        {"overlays/us/kustomization.yaml": "patches: [{path: ../eu/sovgate-release.yaml}]\n"},
        {"overlays/us/kustomization.yaml": "resources: ['REPO//overlays/eu?ref=main']\n"},
        {"overlays/us/kustomization.yaml": "resources: [../europe]\n", "overlays/europe": "eu"},
        {"overlays/us": "eu"},
    ],
)
def test_rule_42_no_other_zone_runs_what_is_promoted_in_this_one(
    repository: Repository, files: dict[str, str]
) -> None:
    for name, text in files.items():
        if text == "eu":  # a link to it
            git("rm", "-q", "-r", "--ignore-unmatch", name, cwd=repository.work)
            (repository._work / name).symlink_to(text)
            repository.person_pushes_index(add=True)
        else:
            url = f"file://{repository.path}"
            repository.person_pushes({name: text.replace("REPO", url)})
    before = repository.tip()
    with promote.opened(target(repository), {"us": "overlays/us"}) as checkout:
        first = checkout.read_overlay()
        for act in (checkout.plan, lambda what: checkout.push(what, first, "x", lambda: None)):
            with pytest.raises(GitError) as caught:
                act(pin())
            assert (caught.value.exit_code, caught.value.reason) == (23, "overlay-taken")
            assert "zone us would run this release too" in str(caught.value.why)
            assert "let overlays/us build on" in str(caught.value.fix)
    assert repository.tip() == before


@pytest.mark.parametrize(
    "text",
    [
        "resources: [../eu]\n#" + "x" * 5_000_000,
        "resources: [../eu]\nresources: [../eu]\n",
        "resources: [../eu\n",
    ],
    ids=["large", "a key twice", "cut off"],
)
def test_rule_42_an_overlay_of_another_zone_that_is_not_read_may_build_on_this_one(
    repository: Repository, text: str
) -> None:
    repository.person_pushes({"overlays/us/kustomization.yaml": text})
    with (
        promote.opened(target(repository), {"us": "overlays/us"}) as checkout,
        pytest.raises(GitError, match="cannot be told") as caught,
    ):
        checkout.plan(pin())
    assert (caught.value.exit_code, caught.value.reason) == (23, "overlay-taken")
    assert "'overlays/us' is not read" in str(caught.value.why)


def test_rule_42_other_folders_that_build_on_the_overlay_are_named(repository: Repository) -> None:
    repository.person_pushes({"clusters/a/kustomization.yaml": "resources: [../../overlays/eu]\n"})
    (note,) = (one for one in planned(target(repository)).unchecked if "clusters" in one)
    assert note == (
        "'clusters/a' builds on 'overlays/eu': what is deployed from there runs this release too"
    )
    promoted(target(repository), pin())


def test_overlays_that_share_a_base_a_part_or_a_beginning_of_the_name_are_no_obstacle(
    repository: Repository,
) -> None:
    common = "resources: [../../../base]\n"
    repository.person_pushes(
        {
            "overlays/eu/common/kustomization.yaml": common,
            "overlays/us/kustomization.yaml": "resources: [../eu/common, ../eu2, ../nowhere]\n",
            "overlays/eu2/kustomization.yaml": "resources: ['https://git.example/x//overlays/eu']",
        }
    )
    with promote.opened(target(repository), {"us": "overlays/us", "new": "none"}) as checkout:
        assert not [note for note in checkout.plan(pin()).unchecked if "builds on" in note]


def test_rule_42_a_proposal_replaces_no_other_pin_either(repository: Repository) -> None:
    promoted(target(repository), pin())
    error = refused(target(repository, via="pull-request"), pin("other/1.0.0"))
    assert error.reason == "overlay-taken"
    assert repository.tip("sovgate/eu/other-1.0.0") == ""


def test_rule_42_a_workload_that_is_pinned_stays_pinned(repository: Repository) -> None:
    repository.person_pushes({"base/deployment.yaml": deployments("serve", "canary", more=FETCH)})
    both = ("fetch", "server")
    promoted(target(repository, deployment="serve", containers=both), pin())
    before = repository.tip()
    error = refused(target(repository, deployment="canary", containers=both), pin("churn/1.1.0"))
    assert (error.exit_code, error.reason) == (23, "overlay-taken")
    assert "Deployment serve" in str(error.why)
    assert "Deployment canary" in str(error.why)
    error = refused(target(repository, deployment="serve", containers=("server",)))
    assert (error.exit_code, error.reason) == (23, "overlay-taken")
    assert "container fetch" in str(error.why)
    assert "containers: [NAME, NAME]" in str(error.fix)
    assert repository.tip() == before


def test_a_workload_that_was_renamed_or_a_container_that_is_gone_is_no_obstacle(
    repository: Repository,
) -> None:
    promoted(target(repository), pin())
    repository.person_pushes({"base/deployment.yaml": deployments("renamed")})
    promoted(target(repository), pin("churn/1.1.0"))
    assert b'name: "renamed"' in repository.show(RELEASE_FILE)
    text = repository.show("base/deployment.yaml").decode().replace("name: server", "name: triton")
    repository.person_pushes({"base/deployment.yaml": text})
    promoted(target(repository), pin("churn/1.2.0"))
    assert b'name: "triton"' in repository.show(RELEASE_FILE)


@pytest.mark.parametrize(
    "text",
    ["", "a: b\n", "# a person's own notes\n", "kind: Deployment\nmetadata: {name: serve}\n"],
)
def test_rule_42_a_file_that_is_not_ours_is_not_replaced(repository: Repository, text: str) -> None:
    repository.person_pushes({RELEASE_FILE: text})
    before = repository.tip()
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (23, "overlay-taken")
    assert "git rm overlays/eu/sovgate-release.yaml," in str(error.fix)
    assert repository.tip() == before
    git("rm", "-q", RELEASE_FILE, cwd=repository.work)
    repository.person_pushes_index()
    promoted(target(repository), pin())


# --- what is committed builds -------------------------------------------------------------------


def diamond(repository: Repository) -> None:
    files: dict[str, str | bytes] = {
        f"overlays/{n}/kustomization.yaml": f"namePrefix: {n}-\nresources: [../../base]\n"
        for n in ("a", "b")
    }
    repository.person_pushes({**files, KUSTOMIZATION: "resources: [../a, ../b]\n"})


@pytest.mark.parametrize("named", [{}, {"deployment": "serve", "containers": ("server",)}])
def test_rule_42_a_patch_that_would_match_two_objects_is_refused(
    repository: Repository, named: dict[str, Any]
) -> None:
    diamond(repository)
    before = repository.tip()
    error = refused(target(repository, **named))
    assert (error.exit_code, error.reason) == (3, "no-deployment")
    assert "2 objects" in str(error.why)
    assert "overlays/a" in str(error.why)
    assert "overlays/b" in str(error.why)
    assert repository.tip() == before


@pytest.mark.parametrize("version", ["extensions/v1beta1", "apps.example.com/v1", "apps/v1beta2"])
def test_rule_42_a_deployment_of_another_group_or_version_is_refused(
    repository: Repository, version: str
) -> None:
    repository.person_pushes({"base/deployment.yaml": DEPLOYMENT.replace("apps/v1", version)})
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (3, "no-deployment")
    assert version in str(error.why)


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize(
    ("kustomization", "said"),
    [
        (
            "resources: [../../base]\nconfigMapGenerator: [{name: m, files: [none.txt]}]\n",
            "none.txt",
        ),
        ("resources: [../../base]\npatches: [{path: none.yaml}]\n", "none.yaml"),
        ("resources: [../../base, ../../base]\n", "2 objects"),
        ("resources: [../../base]\nnamespace: [a]\n", "namespace"),
        ("resources: [../../base]\ncomponents: [../../broken]\n", "nothing-like-it"),
        ("resources: [../../base]\ncomponents: [../../folder]\n", "nothing-like-it"),
        ("resources: [../../base]\ntransformers: [none.yaml]\n", "none.yaml"),
    ],
)
def test_rule_42_an_overlay_that_does_not_build_is_refused(
    repository: Repository, kustomization: str, said: str
) -> None:
    """A component with a transformer of kustomize's own excuses nothing: it is built like all."""
    component = (
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        "transformers: [labels.yaml]\npatches:\n- path: patch.yaml\n"
    )
    label = (
        "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {a: b}\n"
        "fieldSpecs: [{path: metadata/labels, create: true}]\n"
    )
    patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: nothing-like-it}\n"
    repository.person_pushes(
        {
            KUSTOMIZATION: kustomization,
            "broken/kustomization.yaml": component,
            "broken/labels.yaml": label,
            "broken/patch.yaml": patch,
            "folder/kustomization.yaml": component.replace("labels.yaml", "steps"),
            "folder/steps/kustomization.yaml": "resources: [labels.yaml]\n",
            "folder/steps/labels.yaml": label,
            "folder/patch.yaml": patch,
        }
    )
    before = repository.tip()
    error = refused(target(repository))
    assert error.exit_code == 3
    assert error.reason in ("overlay-broken", "no-deployment")
    assert said in "\n".join((str(error.why), *error.details))
    assert repository.tip() == before


GONE = (
    "patches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n"
    "    metadata: {name: serve}\n    $patch: delete\n"
)


@pytest.mark.usefixtures("builder")
def test_a_workload_or_container_that_the_overlay_takes_away_is_told_so(
    repository: Repository,
) -> None:
    repository.person_pushes({KUSTOMIZATION: "resources: [../../base]\n" + GONE})
    error = refused(target(repository))
    assert error.reason == "overlay-broken"
    assert "no matches for Id" in str(error.why)
    assert "command failed" not in str(error.why)
    assert "takes Deployment serve away" in str(error.fix)
    renamed = (
        "patches:\n- target: {kind: Deployment}\n  patch: |-\n"
        "    - {op: replace, path: /spec/template/spec/containers/0/name, value: other}\n"
    )
    repository.person_pushes({KUSTOMIZATION: "resources: [../../base]\n" + renamed})
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (3, "pin-overridden")
    assert "renames or removes that container" in str(error.fix)
    promoted(target(repository, containers=("other",)), pin())


@pytest.mark.usefixtures("builder")
def test_a_workload_that_a_generator_of_kustomizes_own_makes_is_built_too(
    repository: Repository, kubectl: Path
) -> None:
    generator = (
        "apiVersion: builtin\nkind: ConfigMapGenerator\n"
        "metadata: {name: settings}\nliterals: [a=b]\n"
    )
    repository.person_pushes(
        {
            KUSTOMIZATION: "resources: [../../base]\ngenerators: [settings.yaml]\n",
            f"{OVERLAY}/settings.yaml": generator,
        }
    )
    where = target(repository, deployment="serve", containers=("server",))
    assert planned(where).unchecked == ()
    promoted(where, pin())
    assert any(name.startswith("ConfigMap/settings") for name in rendered(repository, kubectl))


LATER = {
    "patchesJson6902": (
        "patchesJson6902:\n- target: {group: apps, version: v1, kind: Deployment, name: serve}\n"
        "  patch: |-\n    - {op: add, path: /spec/template/spec/containers/0/env, value: "
        "[{name: MODEL_RELEASE, value: old}]}\n"
    ),
    "replacements": (
        "replacements:\n- source: {kind: Deployment, name: serve, fieldPath: metadata.name}\n"
        "  targets:\n  - select: {kind: Deployment}\n    fieldPaths: "
        "['spec.template.spec.containers.[name=server].env.[name=MODEL_RELEASE].value']\n"
    ),
    "transformers": (
        "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n"
        "  metadata: {name: p}\n  target: {kind: Deployment}\n  patch: |-\n"
        "    - {op: replace, path: /spec/template/spec/containers/0/env, value: []}\n"
    ),
    "commonAnnotations": "commonAnnotations: {sovgate.dev/release: old}\n",
}


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize("field", LATER)
@pytest.mark.parametrize("accepted", [False, True])
def test_rule_42_what_is_rendered_otherwise_is_refused_whoever_accepts_it(
    repository: Repository, field: str, accepted: bool
) -> None:
    repository.person_pushes({KUSTOMIZATION: "resources: [../../base]\n" + LATER[field]})
    before = repository.tip()
    error = refused(target(repository, accept=(field,) if accepted else ()))
    assert (error.exit_code, error.reason) == (3, "pin-overridden")
    assert f"{field} in {KUSTOMIZATION}:2 runs after" in "\n".join(error.details)
    assert field in str(error.fix)
    assert repository.tip() == before


@pytest.mark.usefixtures("builder")
def test_what_runs_later_and_changes_nothing_of_ours_is_named_and_lets_it_pass(
    repository: Repository,
) -> None:
    later = (
        "patchesJson6902:\n- target: {group: apps, version: v1, kind: Deployment, name: serve}\n"
        "  patch: |-\n    - {op: add, path: /spec/replicas, value: 3}\n"
    )
    repository.person_pushes({KUSTOMIZATION: "resources: [../../base]\n" + later})
    (note,) = planned(target(repository)).unchecked
    assert f"patchesJson6902 in {KUSTOMIZATION}:2" in note
    assert "what is rendered now is right" in note
    promoted(target(repository), pin())


def test_rule_42_what_the_overlay_says_besides_is_named(repository: Repository) -> None:
    """Who sees a release promoted may think that its image was too."""
    said = (
        "resources: [../../base]\nimages:\n- {name: nginx, newTag: '1.27'}\n"
        "replicas:\n- {name: serve, count: 2}\npatches:\n"
        "- target: {kind: Deployment}\n"
        "  patch: |-\n    - {op: add, path: /spec/paused, value: false}\n"
    )
    repository.person_pushes({KUSTOMIZATION: said})
    assert planned(target(repository)).beside == (
        f"images in {KUSTOMIZATION}:2: it stays as it is, for sovgate pins the model and no image",
        f"replicas in {KUSTOMIZATION}:4: it stays as it is",
        f"patches in {KUSTOMIZATION}:6: it stays as it is",
    )
    promoted(target(repository), pin())
    assert len(planned(target(repository)).beside) == 3


def test_a_plain_overlay_has_nothing_beside_the_pin(repository: Repository) -> None:
    promoted(target(repository), pin())
    assert planned(target(repository)).beside == ()


def test_rule_42_what_is_believed_of_a_base_elsewhere_is_said(repository: Repository) -> None:
    remote = "resources: ['https://git.example.eu/base?ref=v1']\n"
    repository.person_pushes({KUSTOMIZATION: remote})
    where = target(repository, deployment="serve", containers=("fetch", "server"))
    (note,) = [one for one in planned(where).unchecked if "taken for main containers" in one]
    assert note.startswith("fetch, server of Deployment ")
    assert "an init container would not be pinned" in note


@pytest.mark.usefixtures("nothing_to_build_with")
@pytest.mark.parametrize("field", LATER)
def test_rule_42_without_a_builder_what_runs_later_is_refused_until_the_project_accepts_it(
    repository: Repository, field: str
) -> None:
    repository.person_pushes({KUSTOMIZATION: "resources: [../../base]\n" + LATER[field]})
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (3, "pin-overridden")
    assert f"{KUSTOMIZATION}:2" in str(error.why)
    assert f"gitops.accept: [{field}]" in str(error.fix)
    notes = planned(target(repository, accept=(field,))).unchecked
    assert notes[0].startswith("the overlay was not built: no kustomize and no kubectl in ")
    assert f"{field} in {KUSTOMIZATION}:2" in notes[1]


@pytest.mark.usefixtures("nothing_to_build_with")
def test_without_a_builder_a_plain_overlay_is_promoted_and_what_was_not_checked_is_named(
    repository: Repository,
) -> None:
    (note,) = planned(target(repository)).unchecked
    assert "was not built" in note
    diamond(repository)
    assert refused(target(repository)).reason == "no-deployment"


@pytest.mark.usefixtures("builder")
def test_a_plain_overlay_leaves_nothing_unchecked(repository: Repository) -> None:
    assert planned(target(repository)).unchecked == ()


# --- the builder itself -------------------------------------------------------------------------


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("resources: [../../base, 'https://example.invalid/x']\n", "lies elsewhere"),
        ("resources: [../../base]\nhelmCharts: [{name: x}]\n", "makes resources of its own"),
        ("resources: [../../base]\ngenerators: [plugin.yaml]\n", "a program of its own"),
        ("resources: [../../base]\ngenerators: [helm.yaml]\n", "a generator runs Helm"),
        ("resources: [../../base]\ntransformers: [plugin.yaml]\n", "a program of its own"),
        (
            "resources: [../../base]\npatches: [{path: 'https://127.0.0.1:9/p.yaml'}]\n",
            "lies elsewhere",
        ),
        ("resources: [../../base]\ncrds: ['https://127.0.0.1:9/c']\n", "lies elsewhere"),
    ],
)
def test_rule_42_nothing_remote_and_no_plugin_is_built(
    repository: Repository, more: str, why: str
) -> None:
    plugin = "apiVersion: example.com/v1\nkind: Anything\nmetadata: {name: x}\n"
    helm = "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\n"
    repository.person_pushes(
        {
            KUSTOMIZATION: more,
            f"{OVERLAY}/plugin.yaml": plugin,
            f"{OVERLAY}/helm.yaml": helm,
        }
    )
    where = target(repository, deployment="serve", containers=("server",), accept=("transformers",))
    assert why in planned(where).unchecked[0]


def test_rule_42_the_builder_has_no_credentials_no_home_and_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A builder that tells its surroundings, in place of the real one."""
    programs = tmp_path / "programs"
    programs.mkdir()
    told = programs / "kustomize"
    told.write_text('#!/bin/sh\n/usr/bin/env\necho "argv: $*"\nulimit -t\n')
    told.chmod(0o755)
    monkeypatch.setattr(render, "PROGRAM_DIRS", (str(programs),))
    for name in ("SOVGATE_GIT_TOKEN", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "hunter2")
    private = tmp_path / "private"
    private.mkdir()
    said = render.build({"o/kustomization.yaml": b"{}"}, "o", private).decode().split("\n")
    names = {line.partition("=")[0] for line in said if "=" in line}
    assert "hunter2" not in "\n".join(said)
    assert names <= {
        *("PATH", "HOME", "TMPDIR", "LC_ALL", "LC_CTYPE", "PWD", "SHLVL", "_", "OLDPWD"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    }
    assert f"PATH={private / 'nothing'}" in said
    assert f"argv: build {private / 'overlay' / 'o'}" in said
    assert said[-2] == "60"
    assert list(private.iterdir()) == []


def test_a_builder_that_does_not_work_here_says_nothing_about_the_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "kubectl").write_text("#!/bin/sh\necho no such command >&2\nexit 1\n")
    (programs / "kubectl").chmod(0o755)
    monkeypatch.setattr(render, "PROGRAM_DIRS", (str(programs),))
    with pytest.raises(render.CannotBuildError, match="does not work on this machine"):
        render.build({"kustomization.yaml": b"{}"}, ".", tmp_path)


# --- every workload, and init containers --------------------------------------------------------


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_rule_42_each_workload_is_pinned_in_all_named_containers(
    repository: Repository, kubectl: Path, kind: str
) -> None:
    files: dict[str, str | bytes] = {
        "base/deployment.yaml": deployments("s", kind=kind, more=FETCH)
    }
    repository.person_pushes(files)
    promoted(target(repository, containers=("fetch", "server")), pin())
    pod = rendered(repository, kubectl)[f"{kind}/z-s"]["spec"]["template"]["spec"]
    for name in ("fetch", "server"):
        assert variables(pod, name)["MODEL_RELEASE"] == pin().release
    assert variables(pod, "server")["PORT"] == "8080"


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_rule_42_jobs_are_pinned_where_they_keep_their_pods(
    repository: Repository, kubectl: Path, kind: str
) -> None:
    pod = "{metadata: {}, spec: {restartPolicy: Never, containers: [{name: score, image: x}]}}"
    spec = f"{{template: {pod}}}"
    if kind == "CronJob":
        spec = f"{{schedule: '@daily', jobTemplate: {{spec: {spec}}}}}"
    text = f"apiVersion: batch/v1\nkind: {kind}\nmetadata: {{name: score}}\nspec: {spec}\n"
    repository.person_pushes({"base/deployment.yaml": text})
    promoted(target(repository), pin())
    made = rendered(repository, kubectl)[f"{kind}/z-score"]["spec"]
    made = made["jobTemplate"]["spec"] if kind == "CronJob" else made
    assert variables(made["template"]["spec"], "score")["MODEL_RELEASE"] == pin().release
    assert made["template"]["metadata"]["annotations"]["sovgate.dev/release"] == pin().release


def test_rule_42_a_variable_from_elsewhere_becomes_a_plain_value(
    repository: Repository, kubectl: Path
) -> None:
    """Kubernetes refuses `value` beside `valueFrom`."""
    source = "{configMapKeyRef: {name: m, key: r}}"
    names = ("MODEL_RELEASE", "MODEL_MANIFEST", "MODEL_KEY_URI", "SOVGATE_ZONE")
    env = "".join(f"            - {{name: {name}, valueFrom: {source}}}\n" for name in names)
    repository.person_pushes({"base/deployment.yaml": DEPLOYMENT + env})
    promoted(target(repository), pin())
    made = rendered(repository, kubectl)["Deployment/z-serve"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert not [e for e in container["env"] if "valueFrom" in e]
    assert variables(made["spec"]["template"]["spec"], "server")["SOVGATE_ZONE"] == "eu"


@pytest.mark.usefixtures("builder")
def test_rule_42_an_init_container_that_a_component_adds_is_judged_by_what_is_rendered(
    repository: Repository, kubectl: Path
) -> None:
    component = (
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n"
        "- target: {kind: Deployment}\n  patch: |-\n    - {op: add, path: "
        "/spec/template/spec/initContainers, value: [{name: fetch, image: fetch}]}\n"
    )
    repository.person_pushes(
        {
            "fetching/kustomization.yaml": component,
            KUSTOMIZATION: "resources: [../../base]\ncomponents: [../../fetching]\n",
        }
    )
    error = refused(target(repository, containers=("nowhere", "server")))
    assert error.reason == "no-deployment"
    assert "no container named 'nowhere'; it has fetch, server" in str(error.why)
    promoted(target(repository, containers=("fetch", "server")), pin())
    pod = rendered(repository, kubectl)["Deployment/serve"]["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert fetch["image"] == "fetch"
    assert variables(pod, "fetch")["MODEL_RELEASE"] == pin().release


# --- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{}, {"deployment": "serve", "containers": ("server",)}])
def test_an_error_in_the_overlays_own_file_is_told_as_it_is(
    repository: Repository, named: dict[str, Any]
) -> None:
    repository.person_pushes({KUSTOMIZATION: "resources: &r\n- ../../base\n"})
    error = refused(target(repository, **named))
    assert error.exit_code == 3
    assert error.what == f"{KUSTOMIZATION}: anchors are not supported"
    assert error.fix == "write the value out"


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("every commit message needs a ticket, as TICKET-123", "begin with `Promote `"),
        ("every commit message needs a ticket, as TICKET-123", "gitops.commit.message"),
        ("author sovgate@localhost is not a member of the team", "user.email"),
        ("author sovgate@localhost is not a member of the team", "gitops.commit.author"),
        ("committer email is unknown", "user.email"),
        ("commits must have verified signatures", "does not sign commits"),
        ("GH006: Protected branch update failed", "set gitops.via: pull-request"),
        ("You are not allowed to push to this branch", "let this identity push to 'main'"),
        ("the moon is full", "do what the server says"),
    ],
)
def test_the_fix_goes_by_what_the_server_said(repository: Repository, said: str, fix: str) -> None:
    repository.hook("pre-receive", f"printf 'first:\\t{said}\\nsecond line\\n' >&2; exit 1\n")
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (23, "push-refused")
    assert error.why == f"the server says: first: {said}"
    lines = [line.strip() for line in error.details]
    assert f"remote: first: {said}" in lines
    assert "remote: second line" in lines
    assert not [line for line in error.details if "\t" in line or "\n" in line]
    assert fix in str(error.fix)
    proposed = refused(target(repository, via="pull-request"))
    assert "gitops.via" not in str(proposed.fix)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://git.example.eu/ml/s.git", "https://git.example.eu:443/ml/s/", True),
        ("https://git.example.eu/ml/s.git", "git@GIT.example.eu:ml/s", True),
        ("ssh://git@git.example.eu:22/ml/s", "git@git.example.eu:ml/s.git", True),
        ("https://git.example.eu//ml/%73", "https://git.example.eu./ML/s.git", True),
        ("serving", "file:///base/serving.git", True),
        ("./x/../serving.git", "serving/", True),
        ("https://git.example.eu/ml/s", "https://git.example.eu/ml/t", False),
        ("https://git.example.eu/ml/s", "https://git.example.com/ml/s", False),
        ("ssh://git@h.example:2222/s", "ssh://git@h.example/s", False),
    ],
)
def test_two_spellings_of_one_repository_are_one(one: str, other: str, same: bool) -> None:
    base = Path("/base")
    assert (same_repository(one, base) == same_repository(other, base)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://git.example.eu/ml/s.git", "git@git.example.eu:ml/s", True),
        ("https://GIT.example.eu:443/ml/s/", "ssh://git@git.example.eu:22/ml/s.git", True),
        ("https://git.example.eu/ml/s", "https://git.example.eu/ML/s", False),
        ("https://git.example.eu/ml/s", "https://git.example.eu/ml/s2", False),
        ("https://git.example.eu/ml/s", "https://git.example.eu:8443/ml/s", False),
        ("https://git.example.eu/ml/s", "https://git.example.eu/ml%2Fs", False),
        ("alice@git.example.eu:s", "bob@git.example.eu:s", False),
        ("ssh://git@h.example:2222/s", "ssh://git@h.example/s", False),
        ("file:///base/serving", "file:///base/serving.git", False),
        ("file:///base/a/../serving", "file:///base/serving", True),
    ],
)
def test_rule_41_a_record_counts_for_one_repository_however_it_was_spelt(
    one: str, other: str, same: bool
) -> None:
    assert (repository_of(one) == repository_of(other)) is same
