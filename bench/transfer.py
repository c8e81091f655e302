"""sovgate push and pull against what people chain together today, into one counting service.

Whole processes, start-up included, the page cache warm, no TLS on either side, each side with the
fastest settings that its own documentation names. The best chain is `model_signing verify`, then
age piped into `aws s3 cp`; for a folder by way of tar. sovgate does more: it asks policy, looks for
code in the model, writes logs and a signed record, and uploads with a checksum over each chunk.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench._measure import Runs, in_turn, machine, table
from bench._sink import REGION, running
from tests import components

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024

PROJECT = """\
version: 1
model: churn
zones:
  home: {{region: "aws:us-east-1", keys: {{sign: keys/home.pem}}}}
  eu:
    region: "aws:{region}"
    store: "s3://models?endpoint={url}"
    keys: {{sign: keys/eu-sign.pem, encrypt: keys/eu.pem, encrypt-public: keys/eu.pub.pem}}
trust:
  - {{name: home, key: keys/home.pub.pem, from: home, may: [signature, provenance, transfer]}}
  - {{name: eu, key: keys/eu-sign.pub.pem, from: eu, may: [receipt]}}
datasets:
  public: {{category: public, stays-in: []}}
border:
  weights: {{allow: [home -> eu]}}
  metadata: {{allow: [home -> eu]}}
"""

#: The settings that make `aws s3 cp` fast: no second hash of a body that TLS protects.
AWS_CONFIG = f"""\
[default]
region = {REGION}
request_checksum_calculation = when_required
response_checksum_validation = when_required
s3 =
    addressing_style = path
    payload_signing_enabled = false
    max_concurrent_requests = 10
    multipart_chunksize = 16MB
"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A project with its keys in `work`, and the service at `url`."""

    work: Path
    url: str

    def sovgate(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sovgate", *words, "--project", str(self.work)]

    def reset(self) -> None:
        request = urllib.request.Request(f"{self.url}/_reset", method="POST")  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310 (an address of our own)
        shutil.rmtree(self.work / ".sovgate", ignore_errors=True)


@contextmanager
def made(keep: bool) -> Iterator[Bench]:
    """`keep`: what is sent can be read again, from memory where that has room."""
    memory = Path("/dev/shm") if keep and os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="sovgate-bench-") as name,
        tempfile.TemporaryDirectory(prefix="sovgate-bench-", dir=memory) as kept,
        running(Path(kept) if keep else None) as url,
    ):
        work = Path(name)
        (work / "sovgate.yaml").write_text(PROJECT.format(region=REGION, url=url))
        (work / "aws.config").write_text(AWS_CONFIG)
        os.environ.update(
            AWS_ACCESS_KEY_ID="bench",
            AWS_SECRET_ACCESS_KEY="not-a-secret",  # noqa: S106
            AWS_CONFIG_FILE=str(work / "aws.config"),
            AWS_ENDPOINT_URL=url,
        )
        bench = Bench(work=work, url=url)
        for kind, key in (("sign", "home"), ("sign", "eu-sign"), ("encrypt", "eu")):
            words = ("keys", "generate", kind, "-o", str(work / f"keys/{key}.pem"))
            quietly([sys.executable, "-m", "sovgate", *words])
        yield bench


def quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")


# -- models


def write_tensors(path: Path, mib: int) -> None:
    """A safetensors file of one tensor: random once, then each MiB made different."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor = {"dtype": "U8", "shape": [mib * MIB], "data_offsets": [0, mib * MIB]}
    head = json.dumps({"w": tensor}).encode()
    block = bytearray(os.urandom(MIB))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for at in range(mib):
            block[:16] = at.to_bytes(8) + os.urandom(8)
            file.write(block)


def one_file(folder: Path, mib: int) -> Path:
    write_tensors(folder / "model.safetensors", mib)
    return folder


def shards(folder: Path, mib: int, count: int = 40) -> Path:
    for number in range(1, count + 1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        write_tensors(folder / name, mib // count)
    return folder


def small_files(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05}.bin").write_bytes(os.urandom(4096))
    return folder


# -- chains


def chains(bench: Bench, model: Path) -> dict[str, str]:
    """What brings `model` into the service, and by whom: a line of shell each."""
    work = bench.work
    found: dict[str, str] = {}
    try:
        peer = components.model_signing()
        age, aws = components.program("age"), components.program("aws", get="pip install awscli")
        tar = components.program("tar", get="install tar")
    except components.MissingError as error:
        print(error)
        return found
    signature = f"{model}.evidence/signature.sigstore.json"
    key = work / "age.key"
    if not key.exists():
        quietly([f"{age}-keygen", "-o", str(key)])
    to = key.read_text().split("public key: ")[1].split()[0]
    public = str(work / "keys/home.pub.pem")
    words = [str(peer.cli), "verify", "key", "--signature", signature, "--public_key", public]
    verify = shlex.join([*words, str(model)])
    files = sorted(path for path in model.rglob("*") if path.is_file())
    read = f"cat {files[0]}" if len(files) == 1 else f"{tar} -C {model} -cf - ."
    size = sum(path.stat().st_size for path in files)
    send = f"{aws} s3 cp --quiet --expected-size {size} - s3://models/churn.age"
    found["verify | age | aws s3 cp"] = f"set -e; {verify}; {read} | {age} -r {to} | {send}"
    copy = work / "copy.age"
    found["verify, age, aws s3 cp"] = (
        f"set -e; {verify}; {read} | {age} -r {to} -o {copy}; "
        f"{aws} s3 cp --quiet {copy} s3://models/churn.age"
    )
    return found


def pushes(bench: Bench, model: Path) -> dict[str, list[str]]:
    key = ("--key", str(bench.work / "keys/home.pem"))
    quietly(bench.sovgate("sign", str(model), *key))
    quietly(bench.sovgate("record", str(model), "--dataset", "public", *key))
    ours = bench.sovgate(
        "push", str(model), "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"
    )
    return {"sovgate": ours} | {
        name: ["bash", "-o", "pipefail", "-c", line] for name, line in chains(bench, model).items()
    }


def compared(title: str, gigabytes: float, runs: Mapping[str, Runs]) -> list[list[str]]:
    ours = runs["sovgate"].seconds
    return [
        [
            title,
            name,
            f"{run.seconds:.2f} s",
            f"{gigabytes / run.seconds:.2f} GB/s",
            f"{run.seconds / ours:.2f}x",
            f"{run.spread:.0%}",
            f"{run.cpu:.1f} s",
            f"{run.peak_mib:.0f} MiB",
        ]
        for name, run in runs.items()
    ]


HEAD = ["what", "by", "time", "speed", "sovgate is faster", "spread", "CPU", "peak memory"]


def main(quick: bool) -> None:
    mib, files, repeats = (256, 1_000, 3) if quick else (4096, 10_000, 3)
    rows: list[list[str]] = []
    with made(keep=False) as bench:
        for title, write, amount in (
            (f"push of one file of {mib} MiB", one_file, mib),
            (f"push of 40 shards, {mib} MiB", shards, mib),
            (f"push of {files} files of 4 KiB", small_files, files),
        ):
            model = write(bench.work / "churn", amount)
            size = sum(path.stat().st_size for path in model.rglob("*"))
            runs = in_turn(pushes(bench, model), repeats, bench.reset)
            rows += compared(title, size / 1e9, runs)
            shutil.rmtree(model)
            shutil.rmtree(bench.work / "churn.evidence")
    print(f"\nsovgate push against chains of tools, medians of {repeats}, {machine()}\n")
    print(table(HEAD, rows))
