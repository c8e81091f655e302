"""encrypt and decrypt, killed before each of their steps, and with a disk that fills at each.

RULES 11: nothing half under a final name, no plaintext outside a private folder, and the next run
finishes and leaves nothing of the dead one.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.formats import chunk
from tests.kill import Done, Killer, every_step, visible
from tests.sealing import Desk, make_desk, tree

SECRET = b"the weights that must not be seen"
CONTENTS = {"a.bin": SECRET * 40, "sub/b.bin": b"other " + SECRET}
BASE = {"sovgate.yaml", "keys", "model", "model.evidence"}
ENCRYPT = ["encrypt", "model", "--to", "eu", "--to", "ch", "-o", "sealed"]
DECRYPT = ["decrypt", "sealed", "--zone", "eu", "-o", "got"]
#: Imported once by the server, so that a run takes a few dozen milliseconds.
IMPORTS = [
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.hpke",
    "cryptography.hazmat.primitives.kdf.hkdf",
    "cryptography.hazmat.primitives.serialization",
    "sovgate.cli.move.decrypt",
    "sovgate.cli.move.encrypt",
    "sovgate.stages.encrypt",
    "sovgate.keys.file",
    "sovgate.pipeline.move.decrypt",
    "sovgate.pipeline.move.encrypt",
    "sovgate.stages.verify",
    "yaml",
]


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer(imports=IMPORTS) as server:
        yield server


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Desk:
    return make_desk(tmp_path_factory.mktemp("desk"), CONTENTS)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, desk, killer) -> Path:
    """The same desk with an encrypted copy."""
    work = tmp_path_factory.mktemp("sealed") / "work"
    shutil.copytree(desk.base, work)
    assert killer.run(ENCRYPT, cwd=work).code == 0
    return work


class Copies:
    """Fresh work folders, the last of them only: a kill test makes hundreds."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._numbers = itertools.count()
        self._last: Path | None = None

    def __call__(self) -> Path:
        if self._last is not None:
            shutil.rmtree(self._last)
        self._last = self._folder / f"work-{next(self._numbers)}"
        shutil.copytree(self._source, self._last)
        return self._last


def assert_whole_copy(work: Path) -> None:
    for zone in ("eu", "ch"):
        assert (work / "sealed" / zone / "sealed.json").is_file()
        for path in (work / "sealed" / zone).rglob("*"):
            if path.is_file():
                assert SECRET not in path.read_bytes()


@pytest.mark.thorough
def test_rule_11_encrypt_killed_before_any_step_leaves_no_copy(tmp_path, desk, killer):
    steps = 0
    for work, steps, _ in every_step(killer, Copies(desk.base, tmp_path), lambda _: ENCRYPT):
        names = visible(work)
        assert names in (BASE, BASE | {"sealed"}), steps
        if "sealed" in names:  # killed after the one rename that makes it visible, while tidying
            assert_whole_copy(work)
            shutil.rmtree(work / "sealed")
        # Even what a killed run left holds no plaintext.
        for path in work.glob(".*.sovgate-staging/**/*"):
            assert not path.is_file() or SECRET not in path.read_bytes()
        assert killer.run(ENCRYPT, cwd=work).code == 0
        assert {item.name for item in work.iterdir()} == BASE | {"sealed"}
        assert_whole_copy(work)
    assert steps > 20


@pytest.mark.thorough
def test_rule_11_decrypt_killed_before_any_step_leaves_no_model(tmp_path, sealed, killer):
    steps = 0
    start = BASE | {"sealed"}
    for work, steps, _ in every_step(killer, Copies(sealed, tmp_path), lambda _: DECRYPT):
        names = visible(work)
        assert names <= start | {"got", "got.evidence"}
        if "got" in names:
            assert tree(work / "got") == CONTENTS
            assert tree(work / "got.evidence") == tree(work / "model.evidence")
            shutil.rmtree(work / "got")
        if "got.evidence" in names:
            assert not any(SECRET in data for data in tree(work / "got.evidence").values())
        done = killer.run(DECRYPT, cwd=work)
        assert done.code == 0, (steps, done)
        assert {item.name for item in work.iterdir()} == start | {"got", "got.evidence"}
        assert tree(work / "got") == CONTENTS
    assert steps > 10


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, desk, sealed, killer, command):
    arguments, source = (ENCRYPT, desk.base) if command == "encrypt" else (DECRYPT, sealed)
    output = "sealed" if command == "encrypt" else "got"
    before = {item.name for item in source.iterdir()}
    failed: list[Done] = []
    copies = Copies(source, tmp_path)
    for work, step, done in every_step(killer, copies, lambda _: arguments, fault=errno.ENOSPC):
        if done.code == 0:  # it failed where nothing depended on it: while tidying
            assert (work / output).exists()
            continue
        assert done.code == 24, (step, done)
        assert os.strerror(errno.ENOSPC) in done.err
        assert {item.name for item in work.iterdir()} - {"got.evidence"} == before, (step, done)
        failed.append(done)
    assert len(failed) > 10


def test_rule_09_a_run_after_a_kill_uses_no_key_of_the_dead_one(tmp_path, desk, killer):
    """What the dead run encrypted and what the next one does share no ciphertext and no IV."""
    seen: set[bytes] = set()
    copies = Copies(desk.base, tmp_path)
    for step in (24, 28, 32, 40):
        work = copies()
        killer.run(ENCRYPT, cwd=work, before=step)
        headers = [
            path.read_bytes()[: chunk.IV_SIZE]
            for path in work.glob(".*.sovgate-staging/**/chunks/sha256/*")
        ]
        assert len(set(headers)) == len(headers)
        assert not seen & set(headers)
        seen |= set(headers)
    assert seen
