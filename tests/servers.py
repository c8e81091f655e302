"""Starts the cloud services that tests talk to, each once a process, on a free port of 127.0.0.1.

Real servers of S3's and KMS's protocols (tests/components.py finds them). They stop by their own
process id when the session ends; `stop_all` is called by conftest.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import components

_running: list[tuple[subprocess.Popen[bytes], Path]] = []


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, held together until all are known: no two are the same."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port() -> int:
    return free_ports(1)[0]


@functools.cache
def ministack() -> str:
    """KMS and S3; checks sums; its ARNs always say `aws`. The URL."""
    port = free_port()
    program = components.peer_program("ministack", "hypercorn")
    options = ["--workers", "0"]  # in that one process, so that its id stops all of it
    _start([program, "ministack.app:app", *options, "--bind", f"127.0.0.1:{port}"])
    return _ready(f"http://127.0.0.1:{port}")


@functools.cache
def moto() -> str:
    """KMS and S3 of all partitions; takes wrong sums, and signs digests twice hashed. The URL."""
    port = free_port()
    program = components.peer_program("moto", "moto_server")
    _start([program, "-H", "127.0.0.1", "-p", str(port)])
    return _ready(f"http://127.0.0.1:{port}")


@functools.cache
def seaweedfs() -> str:
    """A real object store; checks sums; names no location. The URL."""
    program = components.peer_program("seaweedfs", "weed")
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    key = {"accessKey": "test", "secretKey": "testtest"}
    (folder / "s3.json").write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "test",
                        "credentials": [key],
                        "actions": ["Admin", "Read", "Write", "List"],
                    },
                ]
            }
        )
    )
    options = ["-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1"]
    options += ["-ip.bind=127.0.0.1", "-filer=true", "-s3", f"-s3.config={folder / 's3.json'}"]
    options += ["-volume.max=200", "-master.volumeSizeLimitMB=256"]
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    ports = free_ports(8)
    for part in ("master", "volume", "filer", "s3"):
        options += [f"-{part}.port={ports.pop()}", f"-{part}.port.grpc={ports.pop()}"]
        port = options[-2].partition("=")[2]
    _start([program, *options], folder)
    return _ready(f"http://127.0.0.1:{port}")


def sdk(service: str, url: str, region: str = "eu-central-1") -> Any:
    """An SDK client of the tests' own, to set things up and to look behind the product's back."""
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    session.set_credentials("test", "testtest")
    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.create_client(service, region_name=region, endpoint_url=url, config=config)


@functools.cache
def bucket(url: str, region: str = "eu-central-1") -> str:
    """A bucket there that tests share, each below a prefix of its own; its name."""
    made = sdk("s3", url, region)
    name = f"t-{secrets.token_hex(8)}"
    options = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    made.create_bucket(Bucket=name, **({} if region == "us-east-1" else options))
    for _ in range(60):  # a new object store takes a moment until it has volumes
        with contextlib.suppress(made.exceptions.ClientError):
            made.put_object(Bucket=name, Key="first", Body=b"x")
            return name
        time.sleep(0.5)
    raise AssertionError(f"nothing can be written to {url}")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _start(command: Sequence[Any], folder: Path | None = None) -> None:
    folder = folder or Path(tempfile.mkdtemp(prefix="server-"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call, no locks)
            env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
        )
    _running.append((process, folder))


def _ready(url: str) -> str:
    process, folder = _running[-1]
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, urllib.error.URLError):
            try:
                urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 (loopback)
            except urllib.error.HTTPError as error:
                error.close()
            return url
        time.sleep(0.1)
    raise AssertionError(f"{process.args!r} did not start: {(folder / 'log').read_text()[-2000:]}")


def stop_all() -> None:
    while _running:
        process, folder = _running.pop()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
