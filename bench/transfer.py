"""sovgate push and pull against what people chain together today, into one counting service.

Whole processes, start-up included, the page cache warm, no TLS on either side. The chain is
`model_signing verify`, age, `aws s3 cp`, of a folder by way of tar: as they are installed; tuned
(`AWS_CONFIG`: over plain HTTP the AWS CLI else hashes each body twice more than over TLS); and
tuned and piped, so that no encrypted copy is written. sovgate does more: it asks policy, looks for
code in the model, writes logs and a signed record, and sends a checksum over each chunk.
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

from bench._measure import Runs, in_turn, machine, once, table
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
            AWS_CONFIG_FILE=str(work / "none"),
            AWS_REGION=REGION,
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
        (folder / f"{number:05}.txt").write_text(os.urandom(2048).hex())
    return folder


# -- chains


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Programs of the chains, quoted for a shell."""

    age: str
    aws: str
    tar: str
    verify: str
    recipient: str
    identity: str

    @classmethod
    def found(cls, bench: Bench) -> Tools | None:
        try:
            peer, age = components.model_signing(), components.program("age")
            aws = components.program("aws", get="pip install awscli")
            tar = components.program("tar", get="install tar")
        except components.MissingError as error:
            print(error)
            return None
        key = bench.work / "age.key"
        if not key.exists():
            quietly([f"{age}-keygen", "-o", str(key)])
        public = str(bench.work / "keys/home.pub.pem")
        return cls(
            age=str(age),
            aws=str(aws),
            tar=str(tar),
            verify=f"{peer.cli} verify key --public_key {public}",
            recipient=key.read_text().split("public key: ")[1].split()[0],
            identity=str(key),
        )


def shell(line: str) -> list[str]:
    return ["bash", "-e", "-o", "pipefail", "-c", line]


def single(model: Path) -> Path | None:
    """The one file that a folder holds."""
    files = [path for path in model.rglob("*") if path.is_file()]
    return files[0] if len(files) == 1 else None


def pushes(bench: Bench, model: Path) -> dict[str, list[str]]:
    """Each brings the signed `model` into the service."""
    key = ("--key", str(bench.work / "keys/home.pem"))
    quietly(bench.sovgate("sign", str(model), *key))
    quietly(bench.sovgate("record", str(model), "--dataset", "public", *key))
    way = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    found = {"sovgate": bench.sovgate("push", str(model), *way)}
    tools = Tools.found(bench)
    if tools is not None:
        one = single(model)
        verify = f"{tools.verify} --signature {model}.evidence/signature.sigstore.json {model}"
        tuned = f"export AWS_CONFIG_FILE={bench.work}/aws.config; "
        read = f"cat {one}" if one else f"{tools.tar} -C {model} -cf - ."
        size = sum(path.stat().st_size for path in model.rglob("*"))
        seal = f"{tools.age} -r {tools.recipient}"
        send = f"{tools.aws} s3 cp --quiet --expected-size {size} - s3://models/churn.age"
        copy = bench.work / "copy.age"
        copied = f"{tools.aws} s3 cp --quiet {copy} s3://models/churn.age"
        steps = f"{verify}; {read} | {seal} > {copy}; {copied}"
        found["verify; age; aws s3 cp"] = shell(steps)
        found["the same, tuned"] = shell(tuned + steps)
        found["tuned and piped"] = shell(f"{tuned}{verify}; {read} | {seal} | {send}")
    return found


def pulls(bench: Bench, model: Path, out: Path) -> dict[str, list[str]]:
    """Each brings what the pushes left in the service to `out`, verified."""
    found = {"sovgate": bench.sovgate("pull", "churn/1.0.0", "--zone", "eu", "-o", str(out))}
    tools = Tools.found(bench)
    if tools is not None:
        one = single(model)
        write = f"cat > {out}/{one.name}" if one else f"{tools.tar} -C {out} -xf -"
        verify = f"{tools.verify} --signature {model}.evidence/signature.sigstore.json {out}"
        tuned = f"export AWS_CONFIG_FILE={bench.work}/aws.config; mkdir {out}; "
        get = f"{tools.aws} s3 cp --quiet s3://models/churn.age"
        unseal = f"{tools.age} -d -i {tools.identity}"
        copy = bench.work / "copy.age"
        steps = f"{get} {copy}; {unseal} {copy} | {write}; {verify}"
        found["aws s3 cp; age -d; verify"] = shell(f"mkdir {out}; {steps}")
        found["the same, tuned"] = shell(tuned + steps)
        found["tuned and piped"] = shell(f"{tuned}{get} - | {unseal} | {write}; {verify}")
    return found


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


def memory(sizes: tuple[int, ...]) -> list[list[str]]:
    """Peak of one push a size, and of the lists and keys of a model of 2 TB."""
    rows = []
    with made(keep=False) as bench:
        for mib in sizes:
            model = one_file(bench.work / "churn", mib)
            push = pushes(bench, model)["sovgate"]
            bench.reset()
            rows.append([f"push of {mib} MiB", f"{once(push).peak_mib:.0f} MiB"])
            shutil.rmtree(model)
            shutil.rmtree(bench.work / "churn.evidence")
        lists = once([sys.executable, "-m", "bench._large", str(bench.work / "keys")])
        rows.append(["lists and keys of 2 TB, made and read", f"{lists.peak_mib:.0f} MiB"])
    return rows


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
    with made(keep=True) as bench:
        model, out = one_file(bench.work / "churn", mib), bench.work / "out"
        for command in pushes(bench, model).values():
            quietly(command)

        def clean() -> None:
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(bench.work / "out.evidence", ignore_errors=True)

        runs = in_turn(pulls(bench, model, out), repeats, clean)
        rows += compared(f"pull of one file of {mib} MiB", mib * MIB / 1e9, runs)
    print(f"\nsovgate against chains of tools, medians of {repeats}, {machine()}\n")
    print(table(HEAD, rows))
    print()
    print(table(["what", "peak memory"], memory((256, 1024) if quick else (1024, 16 * 1024))))
