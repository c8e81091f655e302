"""Safe files: names, links, whole-or-nothing writes, staging (RULES 4 and 11)."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import files, staging
from sovgate.errors import DiskError, SovgateError, Terminated, UsageError, VerificationFailed


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "a//b",
        "../a",
        "a/../b",
        "a/.",
        "a\\b",
        "C:a",
        "a\x00",
        "a\nb",
        "a\x9b",
        "con",
        "a/NUL.txt",
        "com1",
        "a.",
        "a ",
        "x" * 5000,
        "\ud800",
        "a\u202eb",
        "a/",
        "a\u200eb",
        "\u200fa",
        "a\u061cb",
    ],
)
def test_rule_04_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        files.check_name(name)
    assert caught.value.reason == "unsafe-name"


@pytest.mark.parametrize("name", ["a", "a/b.c", "é/ü", "日本/モデル", ".hidden", "a b", "-x", "~"])
def test_ordinary_names_are_fine(name: str) -> None:
    files.check_name(name)


@pytest.mark.parametrize(
    "names",
    [["a", "A"], ["é", "e\u0301"], ["ß", "SS"], ["a/b", "A/B"], ["a", "a/b"], ["A", "a/b/c"]],
)
def test_rule_04_names_that_some_system_confuses_are_refused(names: list[str]) -> None:
    with pytest.raises(VerificationFailed) as caught:
        files.check_names(names)
    assert caught.value.reason == "unsafe-name"


@given(st.text(max_size=40))
def test_any_text_is_a_safe_name_or_refused(name: str) -> None:
    try:
        files.check_name(name)
    except VerificationFailed:
        return
    assert not name.startswith("/")
    assert ".." not in name.split("/")


def test_rule_04_links_on_the_way_and_at_the_end_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    root = tmp_path / "root"
    root.mkdir()
    (root / "dir").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    os.mkfifo(root / "pipe")
    with files.opened_dir(root) as handle:
        for name in ("dir/secret", "file", "pipe", "dir", "../outside/secret"):
            with pytest.raises(VerificationFailed):
                files.open_below(handle, name)


@pytest.mark.parametrize("kind", ["link", "linked-dir", "pipe", "dangling"])
def test_rule_04_a_walk_refuses_what_is_not_a_regular_file(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "ok").write_bytes(b"x")
    {
        "link": lambda: (root / "sub" / "x").symlink_to("ok"),
        "linked-dir": lambda: (root / "x").symlink_to(tmp_path),
        "dangling": lambda: (root / "x").symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(root / "sub" / "x"),
    }[kind]()
    with files.opened_dir(root) as handle, pytest.raises(VerificationFailed) as caught:
        files.walk(handle)
    assert caught.value.reason == "not-regular"


def test_a_walk_finds_every_file_and_skips_only_at_the_root(tmp_path: Path) -> None:
    for name in ("a", ".git/config", "sub/.git/x", "sub/é"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    with files.opened_dir(tmp_path) as handle:
        found = files.walk(handle, skip=frozenset({".git"}))
    assert {e.name: e.size for e in found} == {"a": 1, "sub/.git/x": 10, "sub/é": 6}


def test_create_only_has_one_winner_whose_bytes_are_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "name"
    won: list[int] = []

    def write(n: int) -> None:
        if files.create_only(target, bytes([n]) * 100_000):
            won.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert target.read_bytes() == bytes([won[0]]) * 100_000
    assert [p.name for p in target.parent.iterdir()] == ["name"]


def test_an_atomic_write_that_fails_leaves_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "name"
    files.atomic_write(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        files.atomic_write(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["name"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device"])
def test_an_atomic_write_puts_no_file_in_the_place_of_something_else(
    tmp_path: Path, kind: str
) -> None:
    """`-o /dev/null` or `-o /dev/stdout`, as root in a container, would cost all others theirs."""
    target = tmp_path / "name"
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(os.devnull)
    before = os.lstat(target)
    with pytest.raises(UsageError, match="is not a file"):
        files.atomic_write(target, b"new")
    assert files.same_file(before, os.lstat(target))
    assert [p.name for p in tmp_path.iterdir()] == ["name"]


def test_rule_11_staging_is_private_and_gone_after_a_failure(tmp_path: Path) -> None:
    final = tmp_path / "model"
    with pytest.raises(ValueError, match="x"), staging.Staging(final) as made:
        (made.path / "m").mkdir()
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
        raise ValueError("x")
    assert list(tmp_path.iterdir()) == []


def test_rule_11_a_signal_breaks_off_no_cleaning_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, told = shutil.rmtree, iter([True])

    def interrupted(path: Path, **options: Any) -> None:
        if next(told, False):
            raise Terminated
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(Terminated), staging.Staging(tmp_path / "model") as made:
        (made.path / "plaintext").touch()
    assert list(tmp_path.iterdir()) == []


def test_rule_11_a_signal_after_the_lock_is_let_go_is_still_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, told = os.close, iter([True])

    def interrupted(descriptor: int) -> None:
        close(descriptor)
        if next(told, False):
            raise Terminated

    with pytest.raises(Terminated), staging.Staging(tmp_path / "model"):
        monkeypatch.setattr(os, "close", interrupted)
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # that closes too
    monkeypatch.undo()


def test_rule_11_a_signal_while_staging_begins_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Terminated

    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(Terminated), staging.Staging(tmp_path / "model"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_rule_11_the_next_run_sweeps_what_a_killed_run_left(tmp_path: Path) -> None:
    final = tmp_path / "model"
    dead = tmp_path / f".model.00{staging.Staging.SUFFIX}"
    (dead / "plaintext").mkdir(parents=True)
    with staging.Staging(final) as live, staging.Staging(final) as second:
        assert not dead.exists()
        assert live.path.exists()  # a lock says that its owner lives
        (second.path / "m").write_bytes(b"x")
        second.commit("m")
    assert final.read_bytes() == b"x"


def test_rule_11_many_runs_at_once_do_not_sweep_each_other(tmp_path: Path) -> None:
    def run(number: int) -> bool:
        for _ in range(30):
            with staging.Staging(tmp_path / "model") as made:
                (made.path / "m").write_bytes(b"%d" % number)
                if (made.path / "m").read_bytes() != b"%d" % number:
                    return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "dir", "dangling"])
def test_a_commit_replaces_nothing(tmp_path: Path, kind: str) -> None:
    final = tmp_path / "model"
    if kind == "file":
        final.write_bytes(b"mine")
    elif kind == "dir":
        final.mkdir()
        (final / "mine").touch()
    else:
        final.symlink_to("nowhere")
    with staging.Staging(final) as made:
        (made.path / "m").mkdir()
        with pytest.raises(UsageError, match="already exists"):
            made.commit("m")
        with pytest.raises(UsageError, match="already exists"):
            staging.require_free(final)
    assert os.path.lexists(final)


def test_a_commit_takes_an_empty_folder_in_one_step(tmp_path: Path) -> None:
    """So that no kill can leave an empty folder under the final name that stops the next run."""
    final = tmp_path / "model"
    final.mkdir()
    staging.require_free(final)
    with staging.Staging(final) as made:
        (made.path / "m").mkdir()
        (made.path / "m" / "weights").write_bytes(b"w")
        made.commit("m")
    assert (final / "weights").read_bytes() == b"w"


def test_a_read_is_bounded_and_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 11)
    with pytest.raises(VerificationFailed, match="larger than 10"):
        files.read_bounded(tmp_path / "big", most=10, what="thing")
    with pytest.raises(UsageError, match="read the thing"):
        files.read_bounded(tmp_path / "none", most=10, what="thing")
    with pytest.raises(SovgateError):
        files.read_bounded(tmp_path, most=10, what="thing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VerificationFailed, match="not a regular file"):
        files.read_bounded(tmp_path / "pipe", most=10, what="thing")
