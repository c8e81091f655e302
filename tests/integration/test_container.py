"""The image that the Tasks run: built here by podman, the same twice, and a Task's steps in it.

Each container is as the Tasks want it: no user of the machine's, no network, no capabilities, a
root file system that cannot be written.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sovgate.stages.sbom.cyclonedx import validate
from sovgate.surface.tekton import USER
from tests import components, containers
from tests.steps import document, step

pytestmark = [pytest.mark.component, pytest.mark.container]


@pytest.fixture(scope="module")
def podman() -> containers.Podman:
    return components.found(containers.podman)


@pytest.fixture(scope="module")
def image(podman: containers.Podman) -> str:
    return containers.image(podman)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A workspace that the image's user may write, and a folder of keys beside it."""
    model = tmp_path / "source" / "build" / "churn"
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"weights" * 1000)
    (tmp_path / "keys").mkdir()
    (tmp_path / "results").mkdir()
    for path in tmp_path.rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)
    return tmp_path / "source"


def in_image(
    podman: containers.Podman, image: str, verb: str, given: dict[str, str], source: Path
) -> subprocess.CompletedProcess[str]:
    """Run a Task's step where Tekton would: its source in the workspace, keys at /keys."""
    top = source.parent
    prepared = step(document("Task", verb), given)
    script = prepared.written(top / "scripts")
    mounts = {
        source: "/workspace/source",
        top / "keys": "/keys:ro",
        top / "scripts": "/tekton/scripts:ro",
        top / "results": "/tekton/results",
    }
    return podman.run(
        image,
        mounts=mounts,
        env=prepared.env,
        workdir="/workspace/source",
        entrypoint=[f"/tekton/scripts/{script.name}"],
    )


def results(source: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (source.parent / "results").iterdir()}


def test_the_image_is_the_user_that_the_tasks_name(podman: containers.Podman, image: str) -> None:
    script = (
        "id -u; id -g; grep CapEff /proc/self/status; ls /sys/class/net; "
        "touch /opt/x /usr/x 2>&1; find / -xdev -perm -002 -type f 2>/dev/null; "
        "command -v sovgate; command -v git; sovgate --version"
    )
    done = podman.run(image, "-c", script, entrypoint=["/bin/sh"])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [str(USER), str(USER), "CapEff:\t0000000000000000", "lo"]
    assert "Read-only file system" in lines[4]
    assert "Read-only file system" in lines[5]
    assert lines[6:8] == ["/opt/sovgate/bin/sovgate", "/usr/bin/git"]
    assert lines[8].startswith("sovgate ")


def test_building_twice_gives_the_same_image(podman: containers.Podman, image: str) -> None:
    def digest() -> str:
        return podman("image", "inspect", "--format={{.Id}}", image).stdout.strip()

    before = digest()
    assert containers.image(podman, fresh=True) == image
    assert digest() == before


def test_the_image_lists_what_is_in_it(podman: containers.Podman, image: str) -> None:
    done = podman.run(image, "/opt/sovgate/sbom.cdx.json", entrypoint=["/bin/cat"])
    found = json.loads(done.stdout)
    validate(found)
    purls = {component["purl"].split("@")[0] for component in found["components"]}
    assert {"pkg:pypi/sovgate", "pkg:pypi/cryptography", "pkg:deb/debian/git"} <= purls
    script = "import importlib.metadata as m; print(len(list(m.distributions())))"
    counted = podman.run(image, "-I", "-c", script, entrypoint=["/opt/sovgate/bin/python"])
    python = [c for c in found["components"] if c["purl"].startswith("pkg:pypi/")]
    assert len(python) == int(counted.stdout)
    assert all(len(c["hashes"][0]["content"]) == 64 for c in python)


def test_a_key_of_a_cloud_finds_its_sdk(
    podman: containers.Podman, image: str, source: Path
) -> None:
    """It gets as far as the network, which is not there: the key service cannot be asked (20)."""
    key = "awskms:///arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-4000-8000-000000000000"
    done = podman.run(
        image,
        "sign",
        "build/churn",
        "--key",
        key,
        mounts={source: "/workspace/source"},
        workdir="/workspace/source",
        env={
            "HOME": "/tmp",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_MAX_ATTEMPTS": "1",
        },
    )
    assert done.returncode == 20, done.stderr
    assert "sovgate[" not in done.stderr  # else it asks to have the SDK installed
    assert not list(source.rglob("signature*"))


def test_nothing_is_installed_that_installs(podman: containers.Podman, image: str) -> None:
    script = "import importlib.util as u; print([u.find_spec(n) for n in ('pip', 'setuptools')])"
    done = podman.run(image, "-I", "-c", script, entrypoint=["/opt/sovgate/bin/python"])
    assert done.stdout.strip() == "[None, None]"
    script = (
        "import pathlib, sys; p = pathlib.Path('/opt/sovgate/lib'); "
        "print(len([f for f in p.rglob('sovgate/**/*.py')]) - "
        "len([f for f in p.rglob('sovgate/**/*.pyc')]))"
    )
    done = podman.run(image, "-I", "-c", script, entrypoint=["/opt/sovgate/bin/python"])
    assert done.stdout.strip() == "0"  # byte code of each module is there already


def test_a_tasks_steps_sign_and_verify(podman: containers.Podman, image: str, source: Path) -> None:
    made = podman.run(
        image,
        "keys",
        "generate",
        "sign",
        "-o",
        "/keys/sign.pem",
        mounts={source.parent / "keys": "/keys"},
    )
    assert made.returncode == 0, made.stderr
    given = {"model": "build/churn", "key": "file:/keys/sign.pem"}
    done = in_image(podman, image, "sign", given, source)
    assert done.returncode == 0, done.stderr
    signed = results(source)
    assert signed["manifest"].startswith("sha256:")
    signature = source / Path(signed["signature"]).relative_to("/workspace/source")
    made_by = signature.stat()
    assert (made_by.st_uid, made_by.st_gid) == (USER, USER)
    pinned = {"model": "build/churn", "key": "/keys/sign.pub.pem", "manifest": signed["manifest"]}
    done = in_image(podman, image, "verify", pinned, source)
    assert done.returncode == 0, done.stderr
    other = {**pinned, "manifest": "sha256:" + "0" * 64}
    assert in_image(podman, image, "verify", other, source).returncode == 11
