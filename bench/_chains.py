"""A project with two zones in one service, models to move, and the chains that move them."""

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
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
  ch:
    region: "aws:{region}"
    store: "s3://others?endpoint={url}"
    keys: {{encrypt: keys/ch.pem, encrypt-public: keys/ch.pub.pem}}
trust:
  - {{name: home, key: keys/home.pub.pem, from: home, may: [signature, provenance, transfer]}}
  - {{name: eu, key: keys/eu-sign.pub.pem, from: eu, may: [receipt]}}
datasets:
  public: {{category: public, stays-in: []}}
border:
  weights: {{allow: [home -> eu, home -> ch]}}
  metadata: {{allow: [home -> eu, home -> ch]}}
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
#: One request for all of an object: in parts, `aws s3 cp s3://… -` (1.46.3) waits for itself from
#: the seventh on, and never ends.
AWS_WHOLE = AWS_CONFIG.replace("multipart_chunksize = 16MB", "multipart_chunksize = 1TB")


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
        (work / "aws-whole.config").write_text(AWS_WHOLE)
        os.environ.update(
            AWS_ACCESS_KEY_ID="bench",
            AWS_SECRET_ACCESS_KEY="not-a-secret",  # noqa: S106
            AWS_CONFIG_FILE=str(work / "none"),
            AWS_REGION=REGION,
            AWS_ENDPOINT_URL=url,
        )
        bench = Bench(work=work, url=url)
        for kind, key in (
            ("sign", "home"),
            ("sign", "eu-sign"),
            ("encrypt", "eu"),
            ("encrypt", "ch"),
        ):
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


def checkpoint(folder: Path, mib: int) -> Path:
    """What torch.save writes of one tensor: a zip, stored, with a pickle that names it."""
    folder.mkdir()
    block = bytearray(os.urandom(MIB))
    with zipfile.ZipFile(folder / "model.pt", "w", zipfile.ZIP_STORED) as file:
        file.writestr("model/data.pkl", _state(mib * MIB))
        file.writestr("model/byteorder", "little")
        with file.open("model/data/0", "w", force_zip64=True) as member:
            for at in range(mib):
                block[:8] = at.to_bytes(8)
                member.write(block)
        file.writestr("model/version", "3\n")
    return folder


def _state(size: int) -> bytes:
    """The pickle of `{"w": a tensor of so many bytes}`, by hand, since torch is not here."""

    def text(word: str) -> bytes:
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    number = size.to_bytes(6, "little")
    long = b"\x8a" + bytes([len(number)]) + number
    ordered = b"ccollections\nOrderedDict\n)R"
    storage = b"(" + text("storage") + b"ctorch\nByteStorage\n" + text("0") + text("cpu")
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + long + b"tQK\x00"
    tensor += b"(" + long + b"t(K\x01t\x89" + ordered + b"tR"
    return b"\x80\x02" + ordered + b"(" + text("w") + tensor + b"u."


def tuning(folder: Path, mib: int) -> Path:
    """100 files of 16 MiB and more, of which `change` makes two others."""
    for number in range(100):
        write_tensors(folder / f"layer-{number:03}.safetensors", max(17, mib // 100))
    return folder


def change(folder: Path, mib: int) -> None:
    for number in (7, 42):
        write_tensors(folder / f"layer-{number:03}.safetensors", max(17, mib // 100))


# -- chains


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Programs of the chains, quoted for a shell."""

    age: str
    aws: str
    tar: str
    gpg: str | None
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
            gpg=_gpg(bench.work / "gnupg"),
            verify=f"{peer.cli} verify key --public_key {public}",
            recipient=key.read_text().split("public key: ")[1].split()[0],
            identity=str(key),
        )


def _gpg(home: Path) -> str | None:
    """gpg with keys of its own, in a home of its own; None where it is not here."""
    found = shutil.which("gpg")
    if found is None:
        return None
    gpg = f"{found} --homedir {home} --batch --yes --quiet --trust-model always"
    if not home.exists():
        home.mkdir(mode=0o700)
        make = f"{gpg} --passphrase '' --quick-generate-key bench@example.com default default never"
        quietly(shell(make))
    return gpg


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
        whole = f"{verify}; {read} | {seal} > {copy}; {copied}"
        found["verify; age; aws s3 cp"] = shell(whole)
        found["the same, tuned"] = shell(tuned + whole)
        found["tuned and piped"] = shell(f"{tuned}{verify}; {read} | {seal} | {send}")
        if one is None:
            # What a store of objects is for: each file one, as many at once as there are cores.
            folder = bench.work / "copies"
            files = f"find {model} -type f -printf '%P\\0'"
            each = f"xargs -0 -P {os.cpu_count()} -I NAME {seal} -o {folder}/NAME.age {model}/NAME"
            sent = f"{tools.aws} s3 cp --quiet --recursive {folder} s3://models/churn"
            cleared = f"rm -rf {folder}; mkdir {folder}"
            steps = f"{cleared}; {verify}; {files} | {each}; {sent}"
            found["tuned, each file an object"] = shell(tuned + steps)
        if tools.gpg is not None:
            plain, sealed = one or bench.work / "copy.tar", bench.work / "copy.gpg"
            sign = f"{tools.gpg} -o {sealed}.sig -b {plain}"
            steps = f"{sign}; {tools.gpg} -r bench@example.com -o {sealed} -e {plain}"
            made_first = "" if one else f"{read} > {plain}; "
            sent = f"{tools.aws} s3 cp --quiet {sealed} s3://models/churn.gpg"
            found["gpg; gpg; aws s3 cp"] = shell(f"{made_first}{steps}; {sent}")
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
        whole = tuned.replace("aws.config", "aws-whole.config")
        found["tuned and piped"] = shell(f"{whole}{get} - | {unseal} | {write}; {verify}")
    return found
