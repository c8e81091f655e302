"""The commit that drives a rollout, against real Git: nothing lost, nothing mixed, nothing run.

Every repository here is real and local. Hostile ones try what RULES 21 and 26 name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.errors import ConfigError, GitError, SovgateError
from sovgate.formats.kustomize import Pin
from sovgate.formats.yaml12 import load
from sovgate.git import repo as git_runner
from sovgate.git.url import check_branch, parse_remote
from sovgate.stages import promote
from sovgate.stages.promote import checkout as checkouts
from tests import components
from tests.pace import finish, until
from tests.repositories import KUSTOMIZATION, Repository, git

OVERLAY = "overlays/eu"
RELEASE_FILE = f"{OVERLAY}/sovgate-release.yaml"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing of a promotion stays on disk, whatever came of it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert [p for p in folder.rglob("*") if p.name != f"sovgate-{os.getuid()}"] == []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def pin(version: str = "1.0.0", zone: str = "eu") -> Pin:
    digest = version.replace(".", "").ljust(64, "a")
    return Pin(
        release=f"churn/{version}@sha256:{digest}",
        manifest=digest,
        record="b" * 64,
        key_uri="file:keys/eu.pem",
        zone=zone,
    )


def target(repository: Repository, zone: str = "eu", **fields: str) -> promote.GitTarget:
    remote = parse_remote(str(repository.path), Path("/"))
    fields.setdefault("path", f"overlays/{zone}")
    return promote.GitTarget(zone=zone, remote=remote, **fields)


def promoted(where: promote.GitTarget, what: Pin, before: object = None) -> promote.Pushed:
    with promote.opened(where) as checkout:
        first = checkout.read_overlay()
        message = promote.commit_message(what, "c" * 64)
        return checkout.push(what, first, message, before if callable(before) else lambda: None)


def refused(where: promote.GitTarget, what: Pin | None = None) -> SovgateError:
    with pytest.raises((GitError, ConfigError)) as caught:
        promoted(where, what or pin())
    assert caught.value.fix
    return caught.value


# --- what a promotion is ------------------------------------------------------------------------


def test_one_commit_pins_the_release_and_keeps_the_overlay_as_people_wrote_it(
    repository: Repository, kubectl: Path
) -> None:
    before = repository.tip()
    done = promoted(target(repository), pin())
    assert repository.tip() == done.commit
    assert (done.already, done.attempts, done.branch) == (False, 1, "main")
    assert repository.log(form="%P")[0] == before
    assert git("diff", "--name-only", before, "main", cwd=repository.path).split("\n") == [
        f"{OVERLAY}/kustomization.yaml",
        RELEASE_FILE,
    ]
    assert repository.show(f"{OVERLAY}/kustomization.yaml").decode() == (
        KUSTOMIZATION + "patches:\n- path: sovgate-release.yaml\n"
    )
    trailers = git("log", "-1", "--format=%(trailers:only)", "main", cwd=repository.path)
    assert dict(line.split(": ", 1) for line in trailers.split("\n") if line) == {
        "Sovgate-Release": pin().release,
        "Sovgate-Manifest": f"sha256:{pin().manifest}",
        "Sovgate-Record": f"sha256:{'b' * 64}",
        "Sovgate-Zone": "eu",
        "Sovgate-Audit-Head": "c" * 64,
    }
    git("fsck", "--strict", cwd=repository.path)
    rendered = subprocess.run(
        [str(kubectl), "kustomize", str(repository.work / OVERLAY)],
        capture_output=True,
        check=True,
    ).stdout
    deployment = load(rendered, "rendered").value
    assert deployment["metadata"]["name"] == "z-serve"
    notes = deployment["spec"]["template"]["metadata"]["annotations"]
    assert notes["sovgate.dev/release"] == pin().release
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/server@sha256:0000"
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "PORT": "8080",
        "MODEL_RELEASE": pin().release,
        "MODEL_MANIFEST": f"sha256:{pin().manifest}",
        "MODEL_KEY_URI": "file:keys/eu.pem",
        "SOVGATE_ZONE": "eu",
    }


def test_what_is_rendered_is_a_valid_deployment(repository: Repository, kubectl: Path) -> None:
    validate = components.found(components.package, "kubernetes_validate")
    promoted(target(repository), pin())
    rendered = subprocess.run(
        [str(kubectl), "kustomize", str(repository.work / OVERLAY)], capture_output=True, check=True
    ).stdout
    validate.validate(load(rendered, "rendered").value, "1.32", strict=True)


def test_promoting_what_is_promoted_is_success_and_no_commit(repository: Repository) -> None:
    first = promoted(target(repository), pin())
    again = promoted(target(repository), pin())
    assert (again.already, again.commit) == (True, first.commit)
    assert repository.log() == ["Promote churn/1.0.0 in eu", "Begin"]


def test_a_newer_release_replaces_only_the_pin(repository: Repository) -> None:
    promoted(target(repository), pin("1.0.0"))
    between = repository.tip()
    promoted(target(repository), pin("1.1.0"))
    changed = git("diff", "--name-only", between, "main", cwd=repository.path)
    assert changed == RELEASE_FILE
    assert pin("1.1.0").release.encode() in repository.show(RELEASE_FILE)


def test_a_plan_shows_the_difference_and_changes_nothing(repository: Repository) -> None:
    before = repository.tip()
    with promote.opened(target(repository)) as checkout:
        plan = checkout.plan(pin())
    assert "+- path: sovgate-release.yaml" in plan.diff
    assert f"+++ b/{RELEASE_FILE}" in plan.diff
    assert repository.tip() == before


def test_a_pull_request_goes_to_a_branch_of_its_own(repository: Repository) -> None:
    before = repository.tip()
    where = target(repository, via="pull-request")
    done = promoted(where, pin())
    assert done.branch == "sovgate/eu/churn-1.0.0"
    assert repository.tip() == before
    assert repository.tip(done.branch) == done.commit
    repository.person_pushes({"README.md": "main moves on\n"})
    assert promoted(where, pin()).already
    # Another manifest under the same name does not replace what a person may be reading.
    other = Pin(**{**pin().__dict__, "record": "d" * 64})
    assert refused(where, other).reason == "branch-exists"
    assert repository.tip(done.branch) == done.commit


@pytest.mark.parametrize("version", ["1..0", "1.lock", "1.", "1.0.0"])
def test_every_release_name_gives_a_branch_that_git_takes(
    repository: Repository, version: str
) -> None:
    done = promoted(target(repository, via="pull-request"), pin(version))
    assert repository.tip(done.branch) == done.commit


def test_a_repository_of_sha256_objects(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    repository = Repository(tmp_path / "other", sha256=True)
    done = promoted(target(repository), pin())
    assert len(done.commit) == 64
    assert repository.tip() == done.commit


def test_the_overlay_may_be_the_whole_repository_and_names_may_be_any_language(
    repository: Repository,
) -> None:
    repository.person_pushes(
        {
            "overlays/münchen 東京/kustomization.yaml": KUSTOMIZATION,
            "kustomization.yaml": "resources: [base]\n",
            "日本/é.txt": "é",
            os.fsdecode(b"latin-\xe9.txt"): "not UTF-8\n",
        }
    )
    before = repository.files()
    promoted(target(repository, path="overlays/münchen 東京"), pin())
    promoted(target(repository, path="."), pin("1.1.0"))
    assert set(repository.files()) == {
        *before,
        "overlays/münchen 東京/sovgate-release.yaml",
        "sovgate-release.yaml",
    }
    git("fsck", "--strict", cwd=repository.path)


def test_modes_links_and_submodules_of_others_stay_as_they_are(repository: Repository) -> None:
    work = repository.work
    (work / "overlays/eu/run.sh").write_text("#!/bin/sh\n")
    (work / "overlays/eu/run.sh").chmod(0o755)
    (work / "overlays/eu/link").symlink_to("/etc/passwd")
    (work / OVERLAY / "kustomization.yaml").chmod(0o755)
    git("add", "-A", cwd=work)
    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},overlays/sub", cwd=work)
    repository.person_pushes_index()
    before = git("ls-tree", "-r", "main", cwd=repository.path).split("\n")
    promoted(target(repository), pin())
    after = git("ls-tree", "-r", "main", cwd=repository.path).split("\n")
    kept = [line for line in before if "kustomization.yaml" not in line or "base" in line]
    assert set(kept) <= set(after)
    assert any(a.startswith("100755") and a.endswith("eu/kustomization.yaml") for a in after)


# --- races --------------------------------------------------------------------------------------


def test_a_lost_race_is_run_again_on_what_the_other_left(repository: Repository) -> None:
    races = iter(range(3))

    def other_pushes() -> None:
        if (n := next(races, None)) is not None:
            repository.person_pushes({f"overlays/us/{n}": "x"}, f"Other {n}")

    done = promoted(target(repository), pin(), other_pushes)
    assert done.attempts == 4
    assert repository.log() == [
        "Promote churn/1.0.0 in eu",
        "Other 2",
        "Other 1",
        "Other 0",
        "Begin",
    ]
    assert {"overlays/us/0", "overlays/us/1", "overlays/us/2"} < set(repository.files())


def test_rule_26_a_release_that_changed_meanwhile_stops_it(repository: Repository) -> None:
    calls: list[int] = []

    def other_promotes() -> None:
        calls.append(1)
        promoted(target(repository), pin("1.1.0"))

    with pytest.raises(GitError) as caught:
        promoted(target(repository), pin("1.2.0"), other_promotes)
    assert (caught.value.exit_code, caught.value.reason) == (23, "release-changed")
    assert pin("1.1.0").release in str(caught.value.why)
    assert pin("1.1.0").release.encode() in repository.show(RELEASE_FILE)
    assert calls == [1]


def test_a_look_that_is_out_of_date_stops_it(repository: Repository) -> None:
    with promote.opened(target(repository)) as checkout:
        first = checkout.read_overlay()
        promoted(target(repository), pin("1.1.0"))
        checkout.fetch()
        with pytest.raises(GitError, match="changed while this ran"):
            checkout.push(pin("1.2.0"), first, "m", lambda: None)


def test_the_same_promotion_by_another_run_is_success(repository: Repository) -> None:
    def other() -> None:
        promoted(target(repository), pin())

    done = promoted(target(repository), pin(), other)
    assert done.commit == repository.tip()
    assert repository.log() == ["Promote churn/1.0.0 in eu", "Begin"]


def test_a_lost_answer_is_read_back(repository: Repository) -> None:
    """The remote dies after it took the commit: what it holds decides, not what it said."""
    repository.hook("post-receive", "kill -9 $PPID\n")
    done = promoted(target(repository), pin())
    assert repository.tip() == done.commit
    assert (done.already, done.attempts) == (False, 1)


def test_a_denied_check_just_before_the_commit_leaves_nothing(repository: Repository) -> None:
    before = repository.tip()

    def deny() -> None:
        raise GitError("no longer", reason="denied")

    with pytest.raises(GitError, match="no longer"):
        promoted(target(repository), pin(), deny)
    assert repository.tip() == before


# One promotion as a process of its own: prints what became of it.
RUN = """
import json, sys
from pathlib import Path
from sovgate.errors import SovgateError
from sovgate.formats.kustomize import Pin
from sovgate.git.url import parse_remote
from sovgate.stages import promote
from sovgate.stages.promote import checkout as checkouts
repository, zone, version, digest = sys.argv[1:5]
pin = Pin(release=f"churn/{version}@sha256:{digest}", manifest=digest, record="b" * 64,
          key_uri="file:keys/eu.pem", zone=zone)
target = promote.GitTarget(zone=zone, remote=parse_remote(repository, Path("/")),
                           path=f"overlays/{zone}")
try:
    with promote.opened(target) as checkout:
        done = checkout.push(pin, checkout.read_overlay(), promote.commit_message(pin, "c" * 64),
                             lambda: None)
    print(json.dumps({"commit": done.commit, "attempts": done.attempts}))
except SovgateError as error:
    print(json.dumps({"code": int(error.exit_code), "reason": error.reason, "what": str(error),
                      "why": error.why}))
"""


def start(repository: Repository, what: Pin, *, hook: str = "") -> subprocess.Popen[bytes]:
    version = what.release.partition("@")[0].partition("/")[2]
    return subprocess.Popen(
        [sys.executable, "-c", hook + RUN, str(repository.path), what.zone, version, what.manifest],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(process: subprocess.Popen[bytes]) -> dict[str, object]:
    out, err = finish(process)
    assert not err, err.decode()
    result: dict[str, object] = json.loads(out)
    return result


@pytest.mark.thorough
def test_twenty_concurrent_promotes_lose_none_and_mix_none(tmp_path: Path) -> None:
    zones = tuple(f"zone-{n:02}" for n in range(20))
    (tmp_path / "many").mkdir()
    repository = Repository(tmp_path / "many", zones)
    pins = [pin(f"1.{n}.0", zone) for n, zone in enumerate(zones)]
    processes = [start(repository, what) for what in pins]
    results = [outcome(process) for process in processes]
    assert [r for r in results if "commit" not in r] == []
    git("fsck", "--strict", cwd=repository.path)
    log = repository.log(form="%H %P")
    assert len(log) == 21
    assert all(len(line.split()) == 2 for line in log[:-1])  # a line, no merges
    assert {r["commit"] for r in results} == {line.split()[0] for line in log[:-1]}
    for what, zone in zip(pins, zones, strict=True):
        data = repository.show(f"overlays/{zone}/sovgate-release.yaml")
        assert what.release.encode() in data
        assert f'value: "{zone}"'.encode() in data
        assert data.count(b"churn/") == 3
        kept = repository.show(f"overlays/{zone}/kustomization.yaml").decode()
        assert kept == KUSTOMIZATION + "patches:\n- path: sovgate-release.yaml\n"
    # Each commit changed one zone and no other.
    for line in log[:-1]:
        names = git("show", "--format=", "--name-only", line.split()[0], cwd=repository.path)
        assert len({name.split("/")[1] for name in names.split("\n")}) == 1


def test_two_promotes_of_one_overlay_at_once_have_one_outcome(repository: Repository) -> None:
    promoted(target(repository), pin("1.0.0"))
    for round_ in range(3):
        pins = [pin(f"2.{round_}.0"), pin(f"3.{round_}.0")]
        results = [outcome(p) for p in [start(repository, what) for what in pins]]
        won = [w for w, r in zip(pins, results, strict=True) if "commit" in r]
        assert won
        for result in results:
            assert "commit" in result or (result["code"], result["reason"]) == (
                23,
                "release-changed",
            )
        data = repository.show(RELEASE_FILE).decode()
        (last,) = [w for w in won if w.release in data]
        assert data.count(last.release) == 3
        others = [w for w in pins if w is not last]
        assert not any(w.manifest in data for w in others)


# --- death at every step ------------------------------------------------------------------------

# Ends the process just before the Nth thing that leaves a trace: files, folders, programs.
KILL = """
import os, sys
_left = [{n}]
_events = {{"subprocess.Popen", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir",
           "shutil.rmtree", "os.truncate", "os.chmod"}}
def _hook(event, args):
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_WRONLY)):
        return
    if event == "open" or event in _events:
        _left[0] -= 1
        if _left[0] == 0:
            os._exit(77)
sys.dont_write_bytecode = True
sys.addaudithook(_hook)
"""


@pytest.mark.thorough
def test_killed_before_any_step_it_leaves_old_or_new_and_the_next_run_finishes(
    tmp_path: Path, temporary: Path
) -> None:
    (tmp_path / "kill").mkdir()
    repository = Repository(tmp_path / "kill")
    promoted(target(repository), pin("1.0.0"))
    old = repository.tip()
    step, survived, news = 0, False, 0
    while not survived:
        step += 1
        assert step < 200
        git("update-ref", "refs/heads/main", old, cwd=repository.path)
        process = start(repository, pin("1.1.0"), hook=KILL.format(n=step))
        _, err = finish(process)
        assert process.returncode in (0, 77), err.decode()
        survived = process.returncode == 0
        _quiet(temporary)
        tip = repository.tip()
        if tip != old:
            news += 1
            assert repository.log(form="%P")[0] == old
            assert pin("1.1.0").release.encode() in repository.show(RELEASE_FILE)
        done = promoted(target(repository), pin("1.1.0"))
        assert done.already == (tip != old)
        assert repository.log()[:2] == ["Promote churn/1.1.0 in eu", "Promote churn/1.0.0 in eu"]
        assert [p for p in temporary.rglob("*") if p.name != f"sovgate-{os.getuid()}"] == []
    assert step > 15
    assert news > 1  # died after the push too
    git("fsck", "--strict", cwd=repository.path)


def _quiet(folder: Path) -> None:
    """Waits for the programs that a killed run left behind: they end by themselves."""

    def quiet() -> bool:
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder):
                    return False
            except OSError:
                continue
        return True

    until(quiet, "the programs of a killed run end")


def test_a_lock_that_a_killed_git_left_is_named(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkouts, "LOCKED_SECONDS", 0.0)
    left = repository.path / "refs/heads/main.lock"
    left.touch()
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (23, "git-locked")
    assert f"/{left.relative_to(repository.path)}'" in str(error.fix)
    left.unlink()
    assert promoted(target(repository), pin()).commit == repository.tip()


@pytest.mark.thorough
def test_killed_at_any_moment_with_its_programs_it_leaves_old_or_new(
    tmp_path: Path, temporary: Path
) -> None:
    (tmp_path / "kill").mkdir()
    repository = Repository(tmp_path / "kill")
    promoted(target(repository), pin("1.0.0"))
    old = repository.tip()
    for moment in range(12):
        git("update-ref", "refs/heads/main", old, cwd=repository.path)
        process = start(repository, pin("1.1.0"))
        time.sleep(0.08 + moment * 0.02)
        for child in _descendants(process.pid):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()
        _quiet(temporary)
        # The server's Git was killed too, which only a folder lets us do: it may leave its lock.
        for left in repository.path.rglob("*.lock"):
            left.unlink()
        assert repository.log(form="%P")[0] == old or repository.tip() == old
        assert promoted(target(repository), pin("1.1.0")).commit == repository.tip()
        git("fsck", cwd=repository.path)


def _descendants(parent: int) -> list[int]:
    """`parent` first, so that it starts nothing more."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int(
                (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
        except (OSError, ValueError):
            continue
    found = [parent]
    for one in found:
        found += [child for child, above in parents.items() if above == one]
    return found


# --- hostile repositories and surroundings ------------------------------------------------------


def test_rule_21_nothing_of_the_surroundings_reaches_git(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted programs, hooks, filters, settings and variables of an earlier step do not run."""
    marker = tmp_path / "marker"
    evil = tmp_path / "evil"
    (evil / "hooks").mkdir(parents=True)
    script = f"#!/bin/sh\necho $0 >> {marker}\nexit 1\n"
    names = ["git", "ssh", "sh", "askpass", "git-upload-pack", "git-receive-pack"]
    hooks = [
        "reference-transaction",
        "pre-push",
        "post-commit",
        "pre-commit",
        "commit-msg",
        "post-checkout",
        "fsmonitor-watchman",
    ]
    for name in [*names, *(f"hooks/{hook}" for hook in hooks)]:
        (evil / name).write_text(script)
        (evil / name).chmod(0o755)
    settings = f"""
[core]
    hooksPath = {evil}/hooks
    fsmonitor = {evil}/git
    sshCommand = {evil}/ssh
    askPass = {evil}/askpass
    attributesFile = {evil}/attributes
    alternateRefsCommand = {evil}/git
[filter "evil"]
    clean = {evil}/git
    smudge = {evil}/git
    process = {evil}/git
[url "ext::{evil}/git "]
    insteadOf = file://
[commit]
    gpgSign = true
[gpg]
    program = {evil}/git
[credential]
    helper = !{evil}/git
"""
    (evil / ".gitconfig").write_text(settings)
    (evil / "attributes").write_text("* filter=evil\n")
    (evil / "template").mkdir()
    (evil / "hooks").rename(evil / "template" / "hooks")
    (evil / "hooks").symlink_to(evil / "template" / "hooks")
    hostile = {
        "PATH": f"{evil}:{os.environ['PATH']}",
        "HOME": str(evil),
        "XDG_CONFIG_HOME": str(evil),
        "GIT_CONFIG_GLOBAL": str(evil / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(evil / ".gitconfig"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(evil / "hooks"),
        "GIT_CONFIG_PARAMETERS": f"'core.hooksPath'='{evil}/hooks'",
        "GIT_DIR": str(evil / "none"),
        "GIT_WORK_TREE": str(evil),
        "GIT_INDEX_FILE": str(evil / "index"),
        "GIT_EXEC_PATH": str(evil),
        "GIT_TEMPLATE_DIR": str(evil / "template"),
        "GIT_SSH": str(evil / "ssh"),
        "GIT_SSH_COMMAND": str(evil / "ssh"),
        "GIT_ASKPASS": str(evil / "askpass"),
        "SSH_ASKPASS": str(evil / "askpass"),
        "GIT_ALLOW_PROTOCOL": "ext:file",
        "GIT_EXTERNAL_DIFF": str(evil / "git"),
        "GIT_PROXY_COMMAND": str(evil / "git"),
        "GIT_TRACE": str(tmp_path / "trace"),
        "GIT_AUTHOR_NAME": "Mallory",
        "GIT_OBJECT_DIRECTORY": str(evil / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(evil / "objects"),
        "GIT_NAMESPACE": "evil",
        "GIT_SHALLOW_FILE": str(evil / "shallow"),
        "GIT_REPLACE_REF_BASE": "refs/evil/",
        "LD_PRELOAD": "",
    }
    work = repository.work
    (work / ".gitattributes").write_text(
        "* filter=evil text eol=crlf ident working-tree-encoding=UTF-16\n"
    )
    (work / "overlays/eu/.gitattributes").write_text("*.yaml filter=evil diff=evil merge=evil\n")
    (work / ".gitmodules").write_text(
        '[submodule "x"]\n\tpath = overlays/sub\n\turl = https://example.invalid/x.git\n'
    )
    (work / ".lfsconfig").write_text("[lfs]\n\turl = https://example.invalid\n")
    for name in (".gitattributes", "overlays/eu/.gitattributes", ".gitmodules", ".lfsconfig"):
        oid = git("hash-object", "-w", "--no-filters", name, cwd=work)
        git("update-index", "--add", "--cacheinfo", f"100644,{oid},{name}", cwd=work)
    repository.person_pushes_index()
    cwd = tmp_path / "cwd"
    git("init", "-q", str(cwd))
    (cwd / ".git" / "config").write_text(settings)
    with monkeypatch.context() as patch:
        for name, value in hostile.items():
            patch.setenv(name, value)
        patch.chdir(cwd)
        done = promoted(target(repository), pin())
    assert not marker.exists(), marker.read_text()
    assert not (tmp_path / "trace").exists()
    assert repository.tip() == done.commit
    assert "Mallory" not in repository.log(form="%an %cn")[0]
    assert repository.show(f"{OVERLAY}/kustomization.yaml").decode() == (
        KUSTOMIZATION + "patches:\n- path: sovgate-release.yaml\n"
    )
    assert b"\r" not in repository.show(RELEASE_FILE)


def test_rule_26_a_link_leads_nowhere(repository: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kustomization.yaml").write_text("resources: []\n")
    work = repository.work
    (work / "linked").symlink_to(outside)
    (work / "up").symlink_to("overlays")
    (work / "overlays" / "file").mkdir()
    (work / "overlays" / "file" / "kustomization.yaml").symlink_to(outside / "kustomization.yaml")
    (work / "overlays" / "pin").mkdir()
    (work / "overlays" / "pin" / "kustomization.yaml").write_text(KUSTOMIZATION)
    (work / "overlays" / "pin" / "sovgate-release.yaml").symlink_to(outside / "new")
    (work / "overlays" / "in" / "sovgate-release.yaml").mkdir(parents=True)
    (work / "overlays" / "in" / "kustomization.yaml").write_text(KUSTOMIZATION)
    (work / "overlays" / "in" / "sovgate-release.yaml" / "x").write_text("")
    git("add", "-A", cwd=work)
    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},overlays/sub", cwd=work)
    repository.person_pushes_index()
    before = repository.tip()
    for path in (
        "linked",
        "up/eu",
        "overlays/file",
        "overlays/pin",
        "overlays/sub",
        "overlays/eu/kustomization.yaml",
        "overlays/in",
    ):
        error = refused(target(repository, path=path))
        assert (error.exit_code, error.reason) == (23, "not-regular"), path
        assert error.why, path
    assert repository.tip() == before
    assert [p.name for p in outside.iterdir()] == ["kustomization.yaml"]


@pytest.mark.parametrize(
    "path",
    [
        "../..",
        "overlays/../../x",
        "/etc",
        ".git",
        "overlays/.git/hooks",
        "a//b",
        "./overlays/eu",
        "a\\b",
        "a:b",
        "a\nb",
        ".GIT",
        "overlays/eu/",
    ],
)
def test_rule_26_a_path_stays_inside_the_repository(repository: Repository, path: str) -> None:
    error = refused(target(repository, path=path))
    assert (error.exit_code, error.reason) == (3, "bad-path")


@pytest.mark.parametrize(
    "branch",
    [
        "-x",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a:b",
        "a~1",
        "@{u}",
        "x.lock",
        "a//b",
        "/a",
        "a/",
        "",
        "a\x00b",
        "a\nb",
        ".a",
        "a/.b",
        "+main",
        "refs/heads/*",
        "@",
        "a^",
    ],
)
def test_rule_26_a_branch_cannot_pass_for_anything_else(
    repository: Repository, branch: str
) -> None:
    if branch == "+main":  # a legal name, and never more than one: there is no such branch
        assert refused(target(repository, branch=branch)).reason == "no-branch"
        return
    with pytest.raises(ConfigError) as caught:
        check_branch(branch)
    assert caught.value.reason == "bad-branch"
    assert refused(target(repository, branch=branch)).reason == "bad-branch"


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "fd::17",
        "--upload-pack=touch /tmp/x",
        "-u",
        "git://example.com/x",
        "ftp://example.com/x",
        "http://example.com/x",
        "http://127.0.0.1.example.com/x",
        "ssh://-oProxyCommand=x/y",
        "ssh://host:-1/y",
        "-oProxyCommand=x:y",
        "https://example.com/x?token=y",
        "file://host/x",
        "https:/example.com/x",
        "https://exa mple.com/x",
        "a\nb",
        "",
        "x" * 3000,
    ],
)
def test_rule_26_a_url_names_a_repository_and_nothing_else(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_remote(url, Path("/base"))
    assert caught.value.reason == "bad-repo"


@pytest.mark.parametrize(
    "url",
    [
        "https://token@example.com/x",
        "https://user:secret@example.com/x",
        "ssh://git:secret@example.com/x",
        "file://user:secret@host/x",
        "http://user:secret@127.0.0.1/x",
    ],
)
def test_rule_29_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_remote(url, Path("/base"))
    error = caught.value
    assert error.reason == "secret-in-uri"
    assert "secret" not in f"{error} {error.why}".replace("secrets", "")
    assert "token@" not in f"{error} {error.why} {error.fix}"


@pytest.mark.parametrize(
    ("url", "protocol", "shown"),
    [
        ("https://git.example.eu/ml/serving.git", "https", None),
        ("ssh://git@git.example.eu:2222/ml/serving.git", "ssh", None),
        ("git@git.example.eu:ml/serving.git", "ssh", None),
        ("http://127.0.0.1:8080/x", "http", None),
        ("file:///srv/git/x.git", "file", None),
        ("../serving.git", "file", "file:///serving.git"),
        ("serving", "file", "file:///base/serving"),
    ],
)
def test_the_urls_that_people_write(url: str, protocol: str, shown: str | None) -> None:
    remote = parse_remote(url, Path("/base"))
    assert (remote.protocol, remote.url) == (protocol, shown or url)


def test_a_huge_file_beside_the_overlay_is_not_read_and_a_huge_overlay_is_refused(
    repository: Repository,
) -> None:
    repository.person_pushes({"weights.bin": bytes(64 * 1024 * 1024)})
    promoted(target(repository), pin())
    repository.person_pushes({f"{OVERLAY}/kustomization.yaml": "# " + "x" * 2_000_000})
    error = refused(target(repository), pin("1.1.0"))
    assert (error.exit_code, error.reason) == (23, "limits")


def test_hostile_yaml_in_the_repository_is_refused(repository: Repository) -> None:
    for text in ("a: &x [*x]\n", "a: " + "[" * 100_000, "a: !!python/name:os.system\n"):
        repository.person_pushes({f"{OVERLAY}/kustomization.yaml": text})
        before = repository.tip()
        error = refused(target(repository))
        assert error.exit_code == 3
        assert repository.tip() == before


# --- what goes wrong with people's repositories -------------------------------------------------


@pytest.mark.parametrize(
    "more", ["  target: {kind: Deployment, name: x}\n", "- path: other.yaml\n"]
)
def test_an_entry_by_which_another_release_would_run_is_refused(
    repository: Repository, kubectl: Path, more: str
) -> None:
    """Kustomize builds both, without a word."""
    promoted(target(repository), pin())
    other = repository.show(RELEASE_FILE).replace(pin().release.encode(), b"evil")
    text = repository.show(f"{OVERLAY}/kustomization.yaml").decode()
    files = {f"{OVERLAY}/kustomization.yaml": text + more, f"{OVERLAY}/other.yaml": other}
    repository.person_pushes(files)
    built = subprocess.run(
        [str(kubectl), "kustomize", str(repository.work / OVERLAY)], capture_output=True, check=True
    ).stdout.decode()
    assert pin().release not in built
    before = repository.tip()
    assert refused(target(repository), pin("1.1.0")).reason == "bad-overlay"
    assert repository.tip() == before


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    where = promote.GitTarget(
        zone="eu", remote=parse_remote(str(tmp_path / "none"), Path("/")), path="x"
    )
    assert (refused(where).exit_code, refused(where).reason) == (23, "no-repository")
    (tmp_path / "none").mkdir()
    assert refused(where).reason == "no-repository"


def test_a_branch_or_an_overlay_that_is_not_there(repository: Repository) -> None:
    error = refused(target(repository, branch="prod"))
    assert (error.exit_code, error.reason) == (23, "no-branch")
    assert "prod" in str(error.fix)
    error = refused(target(repository, path="overlays/us"))
    assert (error.exit_code, error.reason) == (3, "no-overlay")
    error = refused(target(repository, path="overlays"))
    assert (error.exit_code, error.reason) == (3, "bad-overlay")


def test_a_server_that_says_no_is_quoted_without_its_control_characters(
    repository: Repository,
) -> None:
    repository.hook(
        "pre-receive",
        "printf '\\033[31mno\\033[0m \\a https://user:hunter2@x.example/\\n' >&2; exit 1",
    )
    before = repository.tip()
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (23, "push-refused")
    assert "no" in str(error.why)
    assert "\x1b" not in str(error.why)
    assert "\a" not in str(error.why)
    assert "hunter2" not in str(error.why)
    assert "pull-request" in str(error.fix)
    assert repository.tip() == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_no_remote(repository: Repository) -> None:
    os.chown(repository.path, 12345, 12345)
    error = refused(target(repository))
    assert (error.exit_code, error.reason) == (23, "git-owner")


def test_a_temporary_folder_that_others_can_write_is_refused(
    repository: Repository, temporary: Path
) -> None:
    shared = temporary / f"sovgate-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(SovgateError) as caught:
        promoted(target(repository), pin())
    assert (caught.value.exit_code, caught.value.reason) == (24, "unsafe-temporary")
    shared.chmod(0o700)
    promoted(target(repository), pin())


def test_git_that_hangs_is_ended_with_all_it_started(
    repository: Repository, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    repository.hook("pre-receive", f"echo $$ > {noted}; exec sleep 600")
    remote = parse_remote(str(repository.path), Path("/"))
    with git_runner.workspace() as folder:
        runner = git_runner.Git(folder, remote)
        runner.init()
        tree = runner.run("mktree").decode().strip()
        commit = runner.run("commit-tree", tree, "-m", "x", identity=("a", "b")).decode().strip()
        push = ("push", "--", remote.url, f"{commit}:refs/heads/x")
        seconds, pid = 1, ""
        while not pid:  # else time was up before the hook had started
            seconds *= 2
            with pytest.raises(GitError) as caught:
                runner.call(*push, reaches_remote=True, seconds=seconds)
            assert caught.value.reason == "git-timeout"
            pid = noted.read_text().strip() if noted.exists() else ""

    def ended() -> bool:
        try:
            return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except OSError:
            return True

    try:
        until(ended, "the hook of a push that timed out ends")
    except BaseException:
        os.kill(int(pid), signal.SIGKILL)
        raise


def test_output_without_end_is_cut(repository: Repository) -> None:
    remote = parse_remote(str(repository.path), Path("/"))
    with git_runner.workspace() as folder:
        runner = git_runner.Git(folder, remote)
        runner.init()
        oid = runner.run("hash-object", "-w", "--stdin", stdin=bytes(5_000_000)).decode().strip()
        with pytest.raises(GitError) as caught:
            runner.run("cat-file", "blob", oid, most=1_000_000)
    assert caught.value.reason == "limits"
