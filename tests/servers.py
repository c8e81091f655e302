"""Starts the cloud services that tests talk to, each once a process, on a free port of 127.0.0.1.

Real servers of S3's and KMS's protocols (tests/components.py finds them). They stop by their own
process id when the session ends; `stop_all` is called by conftest.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import functools
import hmac
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests import components
from tests.pace import A_TRY, until

_running: list[tuple[subprocess.Popen[bytes], Path]] = []
_folders: list[Path] = []


#: Below the ports that Linux gives to whoever connects or binds without naming one.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port that nothing listens on, and that no other process of these tests will take."""
    # Ports are the machine's: one folder for all tests of this user, whatever their TMPDIR.
    folder = Path("/tmp") / f"sovgate-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        port = secrets.choice(_PORTS)
        claim = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(claim)
            continue
        return port  # the file stays open, and so locked, as long as this process lives


@functools.cache
def ministack() -> str:
    """KMS and S3; checks sums; its ARNs always say `aws`. The URL."""
    program = components.peer_program("ministack", "hypercorn")

    def start(_: Path, port: int) -> list[Any]:
        options = ["--workers", "0"]  # in that one process, so that its id stops all of it
        return [program, "ministack.app:app", *options, "--bind", f"127.0.0.1:{port}"]

    return _started(start)


@functools.cache
def moto() -> str:
    """KMS and S3 of all partitions; takes wrong sums, and signs digests twice hashed. The URL."""
    program = components.peer_program("moto", "moto_server")
    return _started(lambda _, port: [program, "-H", "127.0.0.1", "-p", str(port)])


@functools.cache
def seaweedfs() -> str:
    """A real object store; checks sums; names no location. The URL."""
    program = components.peer_program("seaweedfs", "weed")
    return _started(lambda folder, port: [program, *_seaweedfs_options(folder, port)])


@functools.cache
def registry() -> str:
    """Debian's registry: OCI's protocol without referrers; its tags can be moved. The URL."""
    program = components.program("docker-registry", get="scripts/peer docker-registry")

    def start(folder: Path, port: int) -> list[Any]:
        settings = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        (folder / "config.yml").write_text(json.dumps(settings))
        return [program, "serve", folder / "config.yml"]

    return _started(start)


#: Where the buckets of `fake_gcs` lie.
GCS_LOCATION = "EUROPE-WEST3"


@functools.cache
def fake_gcs() -> str:
    """Cloud Storage by its JSON API; ignores the checksums it is given. The URL."""
    program = components.fake_gcs()

    def start(_: Path, port: int) -> list[Any]:
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory"]
        options += ["-external-url", f"http://127.0.0.1:{port}", "-location", GCS_LOCATION]
        return [program, *options]

    return _started(start)


@functools.cache
def gcs_bucket(url: str) -> str:
    """A bucket there that tests share, each below a prefix of its own; its name."""
    name = f"t-{secrets.token_hex(8)}"
    body = json.dumps({"name": name}).encode()
    asked = urllib.request.Request(f"{url}/storage/v1/b?project=test", data=body)  # noqa: S310
    urllib.request.urlopen(asked, timeout=A_TRY).close()  # noqa: S310 (loopback)
    return name


#: A token of the server below that may do everything there. Of this process alone.
BAO_ROOT = secrets.token_hex(16)


@functools.cache
def openbao() -> str:
    """A whole OpenBao in memory, unsealed. The URL."""
    return _openbao("-dev")


def another_openbao() -> str:
    """One that a test may seal. The URL."""
    return _openbao("-dev")


@functools.cache
def openbao_tls() -> tuple[str, Path]:
    """Another, over TLS, and the certificate of its own CA."""
    folder = Path(tempfile.mkdtemp(prefix="server-tls-"))
    _folders.append(folder)
    url = _openbao("-dev-tls", f"-dev-tls-cert-dir={folder}")
    return url.replace("http://", "https://"), folder / "vault-ca.pem"


def _openbao(*mode: str) -> str:
    program = components.openbao()

    def start(folder: Path, port: int) -> list[Any]:
        options = [*mode, f"-dev-root-token-id={BAO_ROOT}", "-dev-no-store-token"]
        options += [f"-dev-listen-address=127.0.0.1:{port}", "-log-level=error"]
        return ["env", f"HOME={folder}", program, "server", *options]

    return _started(start)


#: An account of Azurite's, and its key, of this process alone.
AZURE_ACCOUNT = "sovgatetests"
AZURE_KEY = base64.b64encode(secrets.token_bytes(64)).decode()


@functools.cache
def azurite() -> str:
    """Blob Storage; compares MD5; knows no location. The URL."""
    program = components.azurite()

    def start(folder: Path, port: int) -> list[Any]:
        options = ["--blobHost", "127.0.0.1", "--blobPort", port, "--location", folder]
        options += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        accounts = f"AZURITE_ACCOUNTS={AZURE_ACCOUNT}:{AZURE_KEY}"
        return ["env", accounts, "node", program, *options]

    return _started(start)


@functools.cache
def azure_container(url: str) -> str:
    """A container there that tests share, each below a prefix of its own; its name."""
    name = f"t-{secrets.token_hex(8)}"
    about = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2024-08-04"}
    text = "PUT" + "\n" * 12 + "".join(f"{name}:{value}\n" for name, value in about.items())
    text += f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    mac = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256"))
    headers = {**about, "Authorization": f"SharedKey {AZURE_ACCOUNT}:{mac.decode()}"}
    there = http.client.HTTPConnection(url.removeprefix("http://"), timeout=A_TRY)
    with contextlib.closing(there):
        there.request("PUT", f"/{AZURE_ACCOUNT}/{name}?restype=container", headers=headers)
        made = there.getresponse()
        assert made.status == 201, made.read()
    return name


def _seaweedfs_options(folder: Path, port: int) -> list[str]:
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
    for part in ("master", "volume", "filer"):
        options += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
    return [*options, f"-s3.port={port}", f"-s3.port.grpc={free_port()}"]


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

    def written() -> bool:
        try:
            made.put_object(Bucket=name, Key="first", Body=b"x")
        except made.exceptions.ClientError:
            return False
        return True

    until(written, f"{url} has volumes to write to")  # a new object store has none at first
    return name


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class _Ended(Exception):
    """A server that ended instead of answering."""


def _started(command: Callable[[Path, int], Sequence[Any]]) -> str:
    """Start `command(folder, port)`, and wait until it answers there. The URL.

    A port may be taken after all, by a program that is none of ours: then by another once more.
    """
    said = ""
    for _ in range(3):
        folder, port = Path(tempfile.mkdtemp(prefix="server-")), free_port()
        process = _start(command(folder, port), folder)
        url = f"http://127.0.0.1:{port}"
        try:
            until(functools.partial(_answers, process, url), f"{process.args!r} answers")
        except _Ended:
            said = (folder / "log").read_text(errors="replace")[-2000:]
        else:
            return url
    raise AssertionError(f"it does not start: {said}")


def _start(command: Sequence[Any], folder: Path) -> subprocess.Popen[bytes]:
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
    return process


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """True once it answers. Raises _Ended where it has ended."""
    if process.poll() is not None:
        raise _Ended
    try:
        urllib.request.urlopen(url, timeout=A_TRY).close()  # noqa: S310 (loopback)
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def stop_all() -> None:
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
    while _running:
        process, folder = _running.pop()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        # What SeaweedFS makes for each of its ports, and leaves there when it is killed.
        for port in re.findall(r"port(?:\.grpc)?=([0-9]+)", " ".join(map(str, process.args))):
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink(missing_ok=True)
