"""A signal may come between any two lines: it loses a handle at most, and closes none twice.

A number that is closed twice is another file's by then, and the error of the second close would
hide that the command was told to end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from sovgate import files
from sovgate.stages import hashing
from sovgate.stages.encrypt.tree import Tree
from sovgate.staging import Staging
from sovgate.stores.file import FileStore

DEEP = "a/b/c/d"


class Told(KeyboardInterrupt):
    """What a signal raises."""


@contextmanager
def told_after_close(number: int) -> Iterator[list[int]]:
    """A signal comes just after the close of that number, from 0. Gives what was closed twice."""
    close, twice, closed, count = os.close, [], set(), 0
    opened = os.open

    def closing(descriptor: int) -> None:
        nonlocal count
        if descriptor in closed:
            twice.append(descriptor)
        closed.add(descriptor)
        close(descriptor)
        count += 1
        if count == number + 1:
            raise Told

    def opening(*words: object, **more: object) -> int:
        found: int = opened(*words, **more)  # type: ignore[arg-type]
        closed.discard(found)
        return found

    with mock.patch("os.close", closing), mock.patch("os.open", opening):
        yield twice


def _open_below(folder: Path) -> None:
    with files.opened_dir(folder) as root:
        os.close(files.open_below(root, DEEP))


def _tree(folder: Path) -> None:
    os.close(Tree(folder / "model", single=False).create(DEEP))


def _hash(folder: Path) -> None:
    with files.opened_dir(folder) as root:
        os.close(hashing._open_folder(root, "a/b/c"))


def _put(folder: Path) -> None:
    store = FileStore(folder / "store")
    store.put("x/y/z", b"1", sha256=hashlib.sha256(b"1").hexdigest())
    list(store.list("x/y/"))


def _stage(folder: Path) -> None:
    with Staging(folder / "new") as staging:
        (staging.path / "model").write_bytes(b"1")
        staging.commit("model")


def _left(folder: Path) -> list[str]:
    """What a staging folder left beside its target."""
    return [path.name for path in folder.glob(".*")]


@pytest.mark.parametrize("work", [_open_below, _tree, _hash, _put, _stage])
def test_a_signal_after_any_close_is_what_the_command_ends_with(
    tmp_path: Path, work: Callable[[Path], None]
) -> None:
    for number in range(100):
        folder = tmp_path / str(number)
        (folder / "a/b/c").mkdir(parents=True)
        (folder / DEEP).write_bytes(b"1")
        with told_after_close(number) as twice:
            try:
                work(folder)
            except Told:
                ended = False
            else:
                ended = True
        # Python's own rmtree closes twice; that it was broken off is what the command ends with.
        assert not twice or work is _stage
        assert _left(folder) == []
        if ended:
            break
    assert ended and number >= 2
