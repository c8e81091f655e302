"""Two cloud services on this machine for `make demo STORE=s3`: SeaweedFS keeps, ministack has keys.

Real servers of S3's and KMS's protocols on free ports of 127.0.0.1, started here, stopped by their
own process ids. Each side has credentials of its own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent.parent / ".cache" / "peers"
REGIONS = {"us-train": "us-east-1", "eu": "eu-central-1"}
BUCKETS = {"us-train": "kyc-us", "eu": "kyc-eu"}
#: What each side may do in the buckets: no administration, and nothing is ever deleted.
MAY = [f"{verb}:{bucket}" for verb in ("Read", "Write", "List") for bucket in BUCKETS.values()]


def credentials(side: str) -> dict[str, str]:
    """Environment of one side."""
    return {
        "AWS_ACCESS_KEY_ID": f"key-of-{side}",
        "AWS_SECRET_ACCESS_KEY": f"secret-of-{side}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class Cloud:
    """Both servers running. `stores` and `keys` are URIs: by zone, and by (zone, purpose)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self.stores: dict[str, str] = {}
        self.keys: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Cloud:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._s3, self._kms = self._seaweedfs(), self._ministack()
            for zone, bucket in BUCKETS.items():
                self._bucket(zone, bucket)
                for purpose, spec, usage in (
                    ("sign", "ECC_NIST_P256", "SIGN_VERIFY"),
                    ("encrypt", "RSA_4096", "ENCRYPT_DECRYPT"),
                ):
                    self._key(zone, purpose, spec, usage)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.send_signal(signal.SIGKILL)  # asked kindly, the store takes half a minute
            process.wait()

    def _seaweedfs(self) -> str:
        folder = self._folder / "seaweedfs"
        folder.mkdir()
        (folder / "s3.json").write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": side,
                            "actions": may,
                            "credentials": [
                                {
                                    "accessKey": credentials(side)["AWS_ACCESS_KEY_ID"],
                                    "secretKey": credentials(side)["AWS_SECRET_ACCESS_KEY"],
                                }
                            ],
                        }
                        for side, may in (("demo", ["Admin"]), ("us-train", MAY), ("eu", MAY))
                    ]
                }
            )
        )
        options = ["-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1"]
        options += ["-ip.bind=127.0.0.1", "-filer=true", "-s3", f"-s3.config={folder}/s3.json"]
        options += [
            "-volume.max=50",
            "-master.volumeSizeLimitMB=64",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        ports = _ports(8)
        for part in ("master", "volume", "filer", "s3"):
            options += [f"-{part}.port={ports[0]}", f"-{part}.port.grpc={ports[1]}"]
            port, ports = ports[0], ports[2:]
        return self._start("seaweedfs", "weed", options, port)

    def _ministack(self) -> str:
        [port] = _ports(1)
        options = ["ministack.app:app", "--bind", f"127.0.0.1:{port}"]
        options += ["--workers", "0"]  # in that one process, so that its id stops all of it
        return self._start("ministack", "hypercorn", options, port)

    def _start(self, peer: str, name: str, options: list[str], port: int) -> str:
        program = PEERS / peer / "bin" / name
        if not program.exists():
            note = PEERS / f"{peer}.skip"
            reason = note.read_text().strip() if note.exists() else "make demo STORE=s3 installs it"
            raise SystemExit(f"there is no {peer}: {reason}")
        log = self._folder / f"{peer}.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SOVGATE_"))}
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(program), *options],
                cwd=self._folder,
                env=clean,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
            )
        self._running.append(process)
        url = f"http://127.0.0.1:{port}"
        for _ in range(3000):  # a busy machine takes its time; one that ended is seen at once
            if process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                except urllib.error.HTTPError as error:
                    error.close()
                return url
            time.sleep(0.1)
        raise SystemExit(f"{peer} did not start; it said:\n{log.read_text()[-2000:]}")

    def _sdk(self, service: str, url: str, zone: str) -> Any:
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session()
        given = credentials("demo")
        session.set_credentials(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"])
        return session.create_client(
            service,
            region_name=REGIONS[zone],
            endpoint_url=url,
            config=Config(s3={"addressing_style": "path"}),
        )

    def _bucket(self, zone: str, bucket: str) -> None:
        sdk = self._sdk("s3", self._s3, zone)
        sdk.create_bucket(Bucket=bucket)
        for _ in range(600):  # a new store takes a moment until it has volumes
            with contextlib.suppress(sdk.exceptions.ClientError):
                sdk.put_object(Bucket=bucket, Key="first", Body=b"x")
                sdk.delete_object(Bucket=bucket, Key="first")
                break
            time.sleep(0.5)
        self.stores[zone] = f"s3://{bucket}?endpoint={self._s3}"

    def _key(self, zone: str, purpose: str, spec: str, usage: str) -> None:
        made = self._sdk("kms", self._kms, zone).create_key(KeySpec=spec, KeyUsage=usage)
        arn = made["KeyMetadata"]["Arn"]
        self.keys[zone, purpose] = f"awskms://{self._kms.removeprefix('http://')}/{arn}"

    def public_pem(self, zone: str, purpose: str) -> str:
        """The public half, which is all that ever crosses."""
        arn = self.keys[zone, purpose].removeprefix("awskms://").partition("/")[2]
        der = self._sdk("kms", self._kms, zone).get_public_key(KeyId=arn)["PublicKey"]
        lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"

    def objects(self, zone: str) -> list[tuple[str, bytes]]:
        """Everything in a zone's bucket, past the product: names and bytes."""
        sdk = self._sdk("s3", self._s3, zone)
        listed = sdk.list_objects_v2(Bucket=BUCKETS[zone]).get("Contents", ())
        return [
            (str(item["Key"]), sdk.get_object(Bucket=BUCKETS[zone], Key=item["Key"])["Body"].read())
            for item in listed
        ]


def _ports(count: int) -> list[int]:
    """Free ones, held together until all are known: no two are the same."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
