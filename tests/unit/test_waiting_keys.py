"""keys kept: pushes that ended early are found, told apart and given up, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sovgate.errors import DiskError, UsageError
from sovgate.formats.resume import ENTRY_SIZE, Course
from sovgate.pipeline.move.pushing.waiting import kept
from sovgate.records import Release
from sovgate.stages.encrypt.kept import Folder, open_keys
from sovgate.stages.encrypt.waiting import waiting
from tests.effort import memory
from tests.signers import KeySigner

COURSE = Course(
    release="churn/1.0.0",
    manifest="ab" * 32,
    source="home",
    zone="eu",
    key_id="44" * 32,
    store="s3://churn-eu",
)
OTHER = replace(COURSE, release="churn/1.1.0")
SIGNER = KeySigner()
DAY = 86_400


@contextmanager
def pushing(
    base: Path, course: Course = COURSE, places: tuple[int, ...] = (0, 2)
) -> Iterator[Path]:
    """A push that is under way, and that has encrypted these chunks of five."""
    folder = Folder(base, course)
    folder.open()
    try:
        keys = open_keys(folder, 5, SIGNER, None)
        for place in places:
            key, _ = keys.take(place)
            assert keys.sealed(place, key)
        keys.close()
        yield folder.path
    finally:
        folder.close()


def ended(base: Path, course: Course = COURSE, days: int = 0) -> Path:
    """One that ended early, so long ago."""
    with pushing(base, course) as path:
        pass
    for one in (*path.iterdir(), path):
        os.utime(one, (one.stat().st_mtime - days * DAY,) * 2)
    return path


def test_what_is_kept_is_told_with_its_release_and_age(tmp_path: Path) -> None:
    young, old = ended(tmp_path), ended(tmp_path, OTHER, days=40)
    done = kept(state=tmp_path)
    assert [one.path for one in done.found] == [old, young]
    first, second = done.found
    assert (first.course, second.course) == (OTHER, COURSE)
    assert (done.age(first).days, done.age(second).days) == (40, 0)
    assert [(one.keys, one.parts, one.busy, one.safe) for one in done.found] == [
        (2, 0, False, True)
    ] * 2
    assert done.removed == ()
    assert young.exists()
    assert old.exists()


def test_only_what_is_asked_for_is_given_up(tmp_path: Path) -> None:
    young, old = ended(tmp_path), ended(tmp_path, OTHER, days=40)
    assert kept(state=tmp_path, days=41, removing=True).removed == ()
    wrong = Release.parse(f"churn/1.1.0@sha256:{'cd' * 32}")
    assert kept(wrong, state=tmp_path, removing=True).found == ()
    assert [one.path for one in kept(state=tmp_path, days=40, removing=True).removed] == [old]
    assert not old.exists()
    pinned = Release.parse(f"churn/1.0.0@sha256:{COURSE.manifest}")
    assert [one.path for one in kept(pinned, state=tmp_path, removing=True).removed] == [young]
    assert list(tmp_path.iterdir()) == []


def test_rule_9_a_push_that_is_under_way_keeps_its_keys(tmp_path: Path) -> None:
    with pushing(tmp_path) as path:
        (one,) = kept(state=tmp_path, removing=True).found
        assert one.busy
        assert {item.name for item in path.iterdir()} == {"entries", "header.json", "outbox.key"}
        assert [each.path for each in kept(state=tmp_path, removing=True).removed] == []
    assert kept(state=tmp_path, removing=True).removed != ()


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert kept(state=tmp_path / "none").found == ()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        kept(state=tmp_path / "file")
    (tmp_path / "not-a-push").mkdir()
    assert kept(state=tmp_path, removing=True).found == ()
    assert (tmp_path / "not-a-push").exists()


# -- what another step may have planted


def test_rule_31_a_link_is_not_followed_and_keeps_no_other_from_being_removed(
    tmp_path: Path,
) -> None:
    state, outside = tmp_path / "state", tmp_path / "outside"
    path = ended(state)
    ended(outside, OTHER).rename(outside / "precious")
    link = state / OTHER.name
    link.symlink_to(outside / "precious")
    one, two = sorted(kept(state=state).found, key=lambda one: one.safe)
    assert (one.path, one.safe, one.course) == (link, False, None)
    assert [each.path for each in kept(state=state, removing=True).removed] == [path]
    assert two.path == path
    assert len(list((outside / "precious").iterdir())) == 3
    assert link.is_symlink()


def test_rule_31_what_is_open_to_others_or_holds_other_files_stays(tmp_path: Path) -> None:
    path = ended(tmp_path)
    path.chmod(0o755)
    assert kept(state=tmp_path, removing=True).removed == ()
    path.chmod(0o700)
    other = ended(tmp_path, OTHER)
    (path / "thesis.txt").write_text("years of work")
    with pytest.raises(DiskError) as error:
        kept(state=tmp_path, removing=True)
    assert error.value.reason == "unsafe-state"
    assert "'thesis.txt', which no push keeps" in str(error.value.why)
    assert len(list(path.iterdir())) == 4
    assert not other.exists()


def test_rule_31_a_header_speaks_for_the_push_of_its_folder_alone(tmp_path: Path) -> None:
    path, other = ended(tmp_path), ended(tmp_path, OTHER)
    (path / "header.json").write_bytes((other / "header.json").read_bytes())
    told = {one.path: one.course for one in waiting(tmp_path)}
    assert told == {path: None, other: OTHER}
    assert kept(Release.parse("churn/1.0.0"), state=tmp_path, removing=True).removed == ()
    assert len(kept(state=tmp_path, removing=True).removed) == 2


@pytest.mark.parametrize("release", ["x; rm -rf ~", "churn/1.0.0 --remove", "\x1b[2J/1", "churn"])
def test_rule_24_a_header_with_no_name_of_a_release_says_nothing(
    tmp_path: Path, release: str
) -> None:
    """It would stand in the command that `doctor` shows as the fix."""
    ended(tmp_path, replace(COURSE, release=release))
    (one,) = waiting(tmp_path)
    assert one.course is None


@pytest.mark.parametrize("name", ["entries", "header.json", "part-001.json"])
def test_rule_31_a_huge_file_is_not_read(tmp_path: Path, name: str) -> None:
    path = ended(tmp_path)
    with (path / name).open("ab") as file:
        file.truncate(1 << 40)
    with memory(megabytes=128):
        (one,) = waiting(tmp_path)
    assert one.keys == (0 if name == "entries" else 2)
    assert kept(state=tmp_path, removing=True).removed == (one,)


def test_entries_are_counted_and_not_believed(tmp_path: Path) -> None:
    path = ended(tmp_path)
    (path / "entries").write_bytes(b"\1" * (3 * ENTRY_SIZE) + bytes(ENTRY_SIZE))
    assert waiting(tmp_path)[0].keys == 3


# -- the command


def test_the_command_tells_a_person(tmp_path: Path) -> None:
    from sovgate.cli import root

    def said(*words: object) -> str:
        arguments = ["keys", "kept", "--state", str(tmp_path / "state"), *map(str, words)]
        found = CliRunner().invoke(root, arguments, catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return " ".join(found.output.split())

    assert "no pushes keep their keys here" in said()
    path = ended(tmp_path / "state", days=3)
    told = said()
    assert "1 push keeps its keys here" in told
    assert f"churn/1.0.0 home eu 3 days 2 0 {path.name[:12]}" in told
    assert "or give it up with --remove" in told
    assert "no pushes given up" in said("--older-than", 4, "--remove")
    assert "1 push given up; its keys are gone" in said("churn/1.0.0", "--remove")
    assert not path.exists()
