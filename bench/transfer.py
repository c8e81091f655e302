"""sovgate push and pull against what people chain together today, into one counting service.

Whole processes, start-up included, the page cache warm, no TLS on either side. The chain is
`model_signing verify`, age, `aws s3 cp`, of a folder by way of tar: as they are installed; tuned
(`AWS_CONFIG`: over plain HTTP the AWS CLI else hashes each body twice more than over TLS); and
tuned and piped, so that no encrypted copy is written. sovgate does more: it asks policy, looks for
code in the model, writes logs and a signed record, and sends a checksum over each chunk.

`python -m bench.transfer [--quick] [NAME…]` runs some of the scenarios.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bench._chains import (
    MIB,
    Bench,
    change,
    checkpoint,
    made,
    one_file,
    pulls,
    pushes,
    quietly,
    shards,
    small_files,
    tuning,
)
from bench._measure import Runs, in_turn, machine, once, table
from bench._sink import REGION
from sovgate.formats import chunk
from sovgate.formats.transfer import chunk_name
from sovgate.stages.transfer.carry import AT_ONCE
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from sovgate.work import Workers

REPEATS = 3
HEAD = ["what", "by", "time", "speed", "sovgate is faster", "spread", "CPU", "peak memory"]


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


def against_chains(title: str, write: Callable[[Path, int], Path], amount: int) -> list[list[str]]:
    with made(keep=False) as bench:
        model = write(bench.work / "churn", amount)
        size = sum(path.stat().st_size for path in model.rglob("*"))
        runs = in_turn(pushes(bench, model), REPEATS, bench.reset)
        return compared(title, size / 1e9, runs)


def pickled(mib: int) -> list[list[str]]:
    """A model that is read twice: by the judge of pickles, and to be sent."""
    with made(keep=False) as bench:
        project = bench.work / "sovgate.yaml"
        project.write_text(project.read_text() + "policy: {pickles: allow}\n")
        model = checkpoint(bench.work / "churn", mib)
        runs = in_turn(pushes(bench, model), REPEATS, bench.reset)
        return compared(f"push of a .pt of {mib} MiB", mib * MIB / 1e9, runs)


def pulled(mib: int) -> list[list[str]]:
    with made(keep=True) as bench:
        model, out = one_file(bench.work / "churn", mib), bench.work / "out"
        for command in pushes(bench, model).values():
            quietly(command)

        def clean() -> None:
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(bench.work / "out.evidence", ignore_errors=True)

        runs = in_turn(pulls(bench, model, out), REPEATS, clean)
        return compared(f"pull of one file of {mib} MiB", mib * MIB / 1e9, runs)


def zones(mib: int) -> list[list[str]]:
    """One zone against two, of a model that is read once."""
    with made(keep=False) as bench:
        one = pushes(bench, one_file(bench.work / "churn", mib))["sovgate"]
        runs = in_turn({"sovgate": one, "two zones": [*one, "--to", "ch"]}, REPEATS, bench.reset)
        return compared(f"push of {mib} MiB to one zone, to two", mib * MIB / 1e9, runs)


def reused(mib: int) -> list[list[str]]:
    """Bytes that a second release sends of which two files in a hundred are others."""
    with made(keep=False) as bench, TemporaryDirectory() as folder:
        project = bench.work / "sovgate.yaml"
        text = project.read_text()
        uri = next(line for line in text.splitlines() if "s3://models" in line)
        named = uri.split(": ", 1)[1]
        project.write_text(text.replace(uri, f"    store: {{uri: {named}, reuse: true}}"))
        key = ("-o", str(bench.work / "keys/home-own.pem"))
        quietly([sys.executable, "-m", "sovgate", "keys", "generate", "encrypt", *key])
        home = "keys: {sign: keys/home.pem}"
        own = "keys: {sign: keys/home.pem, encrypt: keys/home-own.pem}"
        project.write_text(project.read_text().replace(home, own))
        model = tuning(bench.work / "churn", mib)
        total = sum(path.stat().st_size for path in model.rglob("*"))
        state = ("--state", folder, "--format", "json")
        first = _crossed([*pushes(bench, model)["sovgate"], *state])
        change(model, mib)
        shutil.rmtree(bench.work / "churn.evidence")
        again = [*pushes(bench, model)["sovgate"], *state]
        second = _crossed([word.replace("churn/1.0.0", "churn/1.1.0") for word in again])
        return [
            [f"{title} release of {total / 1e9:.1f} GB", f"{sent / 1e9:.3f} GB sent"]
            for title, sent in (("first", first), ("second", second))
        ]


def _crossed(command: list[str]) -> int:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return int(json.loads(done.stdout)["crossed"])


def memory(sizes: tuple[int, ...]) -> list[list[str]]:
    """Peak of one push a size, of the lists and keys of a model of 2 TB, and of a pull."""
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
    with made(keep=True) as bench:
        mib = sizes[0]
        model, out = one_file(bench.work / "churn", mib), bench.work / "out"
        quietly(pushes(bench, model)["sovgate"])
        pull = pulls(bench, model, out)["sovgate"]
        rows.append([f"pull of {mib} MiB", f"{once(pull).peak_mib:.0f} MiB"])
    return rows


def far(mib: int) -> list[list[str]]:
    """What a push of 100 GB and of 1 TB takes, from its parts as they are measured here: start-up,
    bytes a second, and questions to the store a second, of which a join asks one a chunk."""
    with made(keep=False) as bench:
        least, most = [_seconds(bench, one_file(bench.work / "churn", size)) for size in (16, mib)]
        speed = (mib - 16) * MIB / (most - least)
        asks = _asks_a_second(bench)
    rows = [
        ["start-up, policy, log and record", f"{least:.1f} s"],
        ["a machine like this one", f"{speed / 1e9:.2f} GB/s"],
        ["questions to the store", f"{asks:.0f} a second"],
    ]
    for size, named in ((1e11, "100 GB"), (1e12, "1 TB")):
        for gigabits in (1, 10, 100):
            times = []
            for machines in (1, 4, 16):
                sent = size / machines / min(speed, gigabits * 1e9 / 8)
                joined = 0 if machines == 1 else least + size / chunk.SIZE / asks
                times.append(f"{least + sent + joined:,.0f} s")
            rows.append([f"{named}, {gigabits} Gbit/s a machine", ", ".join(times)])
    return rows


def _seconds(bench: Bench, model: Path) -> float:
    push = {"sovgate": pushes(bench, model)["sovgate"]}
    found = in_turn(push, REPEATS, bench.reset)["sovgate"].seconds
    bench.reset()
    shutil.rmtree(model)
    shutil.rmtree(bench.work / "churn.evidence")
    return found


def _asks_a_second(bench: Bench, times: int = 3_000) -> float:
    store = open_store(f"s3://models?endpoint={bench.url}", bench.work, f"aws:{REGION}")
    data = b"a chunk"
    name = chunk_name(hashlib.sha256(data).hexdigest())
    store.put(name, data, sha256=hashlib.sha256(data).hexdigest())
    begun = time.perf_counter()
    with Workers(AT_ONCE) as workers:
        for _ in range(times):
            workers.submit(lambda: _ask(store, name))
    return times / (time.perf_counter() - begun)


def _ask(store: Store, name: str) -> None:
    store.stat(name)


#: name -> rows of a quick run (True) or a whole one; those of `PLAIN` have two columns.
SCENARIOS: Mapping[str, Callable[[int, int], list[list[str]]]] = {
    "one": lambda mib, _: against_chains(f"push of one file of {mib} MiB", one_file, mib),
    "shards": lambda mib, _: against_chains(f"push of 40 shards, {mib} MiB", shards, mib),
    "small": lambda _, files: against_chains(f"push of {files} files of 4 KiB", small_files, files),
    "pickled": lambda mib, _: pickled(mib),
    "zones": lambda mib, _: zones(mib),
    "pull": lambda mib, _: pulled(mib),
}
PLAIN: Mapping[str, Callable[[int, int], list[list[str]]]] = {
    "reuse": lambda mib, _: reused(mib),
    "far": lambda mib, _: far(mib),
    "memory": lambda mib, _: memory((mib // 4, mib * 4)),
}


def main(quick: bool, names: tuple[str, ...] = ()) -> None:
    mib, files = (256, 1_000) if quick else (4096, 10_000)
    asked = names or (*SCENARIOS, *PLAIN)
    rows = [row for name in asked if name in SCENARIOS for row in SCENARIOS[name](mib, files)]
    if rows:
        print(f"\nsovgate against chains of tools, medians of {REPEATS}, {machine()}\n")
        print(table(HEAD, rows))
    more = [row for name in asked if name in PLAIN for row in PLAIN[name](mib, files)]
    if more:
        print()
        print(table(["what", "measured"], more))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.transfer", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the bytes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*SCENARIOS, *PLAIN)))
    arguments = parser.parse_args()
    main(arguments.quick, tuple(arguments.names))
