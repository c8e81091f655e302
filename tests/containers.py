"""Our image, built and run by a real podman that scripts/peer unpacked into .cache/peers/podman.

Needs root. Writes below that folder, and below /run what lives as long as a container.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import components
from tests.components import ROOT
from tests.pace import until

HERE = (components.PEERS / "podman").resolve()
#: podman refuses a storage that was made under another path: a checkout may be moved.
PATH = hashlib.sha256(bytes(HERE)).hexdigest()[:8]
IMAGE = "localhost/sovgate"
BASE = "localhost/debian-python"
#: What the Tasks ask of Kubernetes, in podman's words (`LOCKED_DOWN` in sovgate/surface/tekton.py).
LOCKED_DOWN = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:rw,size=64m,mode=1777",
    "--pull=never",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Podman:
    """podman by its own settings: nothing of the machine's is read or changed."""

    driver: str

    @property
    def env(self) -> dict[str, str]:
        home = HERE / "home"
        libraries = (HERE / "usr/lib", HERE / "lib")
        folders = [str(f) for lib in libraries for f in lib.glob("*-linux-gnu")]
        return {
            "PATH": f"{HERE}/usr/bin:{HERE}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "LD_LIBRARY_PATH": os.pathsep.join(folders),
        }

    @property
    def state(self) -> Path:
        # podman takes no longer name than fifty characters for this, so it is not below HERE.
        return Path("/run") / f"sovgate-{PATH}"

    def command(self, *words: str | Path) -> list[str | Path]:
        return [
            HERE / "usr/bin/podman",
            "--root",
            HERE / f"storage-{self.driver}-{PATH}",
            "--runroot",
            self.state / self.driver,
            "--tmpdir",
            self.state / "tmp",
            "--storage-driver",
            self.driver,
            "--cgroup-manager",
            "cgroupfs",
            "--conmon",
            HERE / "home/conmon",
            "--runtime",
            HERE / "usr/sbin/runc",
            *words,
        ]

    def __call__(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, done.stderr[-4000:]
        return done

    def run(
        self,
        image: str,
        *words: str,
        mounts: Mapping[Path, str] | None = None,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        entrypoint: Sequence[str] = (),
        network: str = "none",
    ) -> subprocess.CompletedProcess[str]:
        """A container as locked down as the Tasks are; `mounts`: a folder -> "/place[:ro]".

        `network`: "host" is this machine's own, with what listens on its loopback.
        """
        options = [f"--network={network}", *LOCKED_DOWN]
        options += [f"--volume={folder}:{place}" for folder, place in (mounts or {}).items()]
        options += [f"--env={name}={value}" for name, value in (env or {}).items()]
        options += [f"--workdir={workdir}"] if workdir else []
        options += [f"--entrypoint={entrypoint[0]}"] if entrypoint else []
        return self("run", "--rm", *options, image, *entrypoint[1:], *words, check=False)

    @contextlib.contextmanager
    def service(self) -> Iterator[str]:
        """podman at a socket, as programs that know Docker want it; gives its DOCKER_HOST.

        Workers of pytest run several at once, and all see all containers: what an act that was
        killed left behind is removed by the next service that is alone.
        """
        self.state.mkdir(mode=0o700, exist_ok=True)
        socket = self.state / f"{os.getpid()}.sock"
        socket.unlink(missing_ok=True)
        words = self.command("system", "service", "--time=0", f"unix://{socket}")
        with (HERE / "service.lock").open("w") as lock:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left = self("ps", "--all", "--quiet", "--filter=name=^act-", check=False).stdout
                if left.split():
                    self("rm", "--force", "--time=0", *left.split(), check=False)
            fcntl.flock(lock, fcntl.LOCK_SH)
            with subprocess.Popen(
                words,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as server:
                try:
                    until(lambda: socket.exists() or server.poll() is not None, "podman's service")
                    assert server.poll() is None, "podman's service ended at once"
                    yield f"unix://{socket}"
                finally:
                    server.terminate()
                    server.wait()
                    socket.unlink(missing_ok=True)


@functools.cache
def podman() -> Podman:
    """The engine, with its settings written. Skips where there is no root: that is no failure."""
    if os.geteuid() != 0:
        pytest.skip("containers are built and run by root here, and this is not root")
    components.program("podman", get="scripts/peer podman")
    _write_settings()
    engine = Podman(driver="overlay")
    return engine if engine("info", check=False).returncode == 0 else Podman(driver="vfs")


@contextlib.contextmanager
def _with_base(engine: Podman) -> Iterator[None]:
    with (HERE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of pytest may come here at once
        if engine("image", "exists", BASE, check=False).returncode != 0:
            engine("import", HERE / "base.tar", BASE)
        yield


def base(engine: Podman) -> str:
    """A Debian with Python and Git: what a runner's machine has."""
    with _with_base(engine):
        return BASE


def runner(engine: Podman) -> str:
    """The base as a workflow's job takes it; skips where our wheels are for another Python."""
    found, python = base(engine), "python{}.{}".format(*sys.version_info)
    done = engine("run", "--rm", "--network=none", found, "/usr/bin/env", python, "-V", check=False)
    if done.returncode != 0:
        pytest.skip(f"the image has no {python}, and the wheels here are for that")
    return found


def of_job(image: str, volumes: Mapping[Path, str | Path], *, user: str = "") -> dict[str, Any]:
    """`container:` of a workflow's job, without capabilities; `volumes`: folder -> place[:ro]."""
    options = "--cap-drop=ALL --security-opt=no-new-privileges"
    return {
        "image": image,
        "options": f"{options} --user={user}" if user else options,
        "volumes": [f"{folder}:{place}" for folder, place in volumes.items()],
    }


@functools.cache
def image(engine: Podman, *, fresh: bool = False) -> str:
    """Our image from this checkout, on a base of Debian; built once for what it is built from."""
    with _with_base(engine):
        context = HERE / "context"
        version = engine("run", "--rm", "--network=none", BASE, "python3", "-V").stdout
        python = re.sub(r"^Python (\d+\.\d+)\..*\n", r"\1", version)
        subprocess.run(
            [sys.executable, "scripts/container.py", context, "--python", python],
            cwd=ROOT,
            check=True,
        )
        made_of = hashlib.sha256()
        for path in sorted(p for p in context.rglob("*") if p.is_file()):
            made_of.update(
                f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode()
            )
        tag = f"{IMAGE}:{made_of.hexdigest()[:16]}"
        for old in engine("images", "--quiet", "--filter", f"reference={IMAGE}").stdout.split():
            if engine("image", "inspect", "--format={{.RepoTags}}", old).stdout != f"[{tag}]\n":
                engine("image", "rm", "--force", old, check=False)
        if fresh or engine("image", "exists", tag, check=False).returncode != 0:
            engine(
                "build",
                "--network=none",
                "--pull-never",
                "--timestamp=0",
                "--layers=false",
                "--no-cache",
                f"--build-arg=BASE={BASE}",
                f"--tag={tag}",
                context,
            )
        return tag


def _write_settings() -> None:
    home = HERE / "home"
    policy = home / ".config/containers/policy.json"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    # Limits that this process may hand on: raising one takes a privilege that may be missing here.
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    processes = most if processes == resource.RLIM_INFINITY else min(processes, most)
    (home / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", '
        f'"nproc={processes}:{processes}"]\n[engine]\nevents_logger = "none"\nlock_type = "file"\n'
    )
    # conmon calls podman when a container ends, in an environment that podman empties first.
    exports = "\n".join(f"export {k}='{v}'" for k, v in Podman(driver="").env.items())
    script = home / f"conmon.{os.getpid()}"
    script.write_text(f'#!/bin/sh\n{exports}\nexec {HERE}/usr/bin/conmon "$@"\n')
    script.chmod(0o755)
    script.replace(home / "conmon")
