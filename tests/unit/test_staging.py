"""Filling a folder that is there: whole or not at all, and a kill at any step (RULES 11)."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate.errors import UsageError, VerificationFailed
from sovgate.staging import INCOMPLETE, SUFFIX, Staging, require_free
from tests.crossing import tree

FILES = {"a.bin": b"a", "b/c.bin": b"c", "d.bin": b"d"}

#: Puts FILES into a folder, and is gone at the step of the number that it is told: no cleaning up.
FILL = (
    f"FILES = {FILES!r}"
    + """
import os, sys
from pathlib import Path
from sovgate.staging import Staging
folder, last = Path(sys.argv[1]), int(sys.argv[2])
steps = 0
def stepwise(call):
    def step(*arguments, **options):
        global steps
        steps += 1
        if steps == last:
            os._exit(9)
        return call(*arguments, **options)
    return step
for name in ("rename", "replace", "unlink", "fsync", "mkdir", "link", "rmdir"):
    setattr(os, name, stepwise(getattr(os, name)))
with Staging(folder) as made:
    for name, data in FILES.items():
        path = made.path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    made.commit("model")
print(steps)
"""
)


def run(folder: Path, last: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FILL, str(folder), str(last)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fill(folder: Path) -> None:
    with Staging(folder) as made:
        for name, data in FILES.items():
            path = made.path / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        made.commit("model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    (made / "lost+found").mkdir(parents=True)
    return made


def test_rule_11_a_folder_that_is_there_is_filled_in_place(folder: Path) -> None:
    inode = folder.stat().st_ino
    require_free(folder)
    fill(folder)
    assert tree(folder) == FILES
    assert folder.stat().st_ino == inode
    assert {path.name for path in folder.iterdir()} == {"a.bin", "b", "d.bin", "lost+found"}
    assert [path.name for path in folder.parent.iterdir()] == ["models"]


def test_rule_11_a_kill_at_every_step_leaves_what_the_next_run_repairs(folder: Path) -> None:
    whole = run(folder)
    assert whole.returncode == 0, whole.stderr
    steps = int(whole.stdout)
    assert steps > 8
    for last in range(1, steps + 1):
        place = folder.parent / f"killed-{last}"
        (place / "lost+found").mkdir(parents=True)
        assert run(place, last).returncode == 9
        visible = {n: d for n, d in tree(place).items() if SUFFIX not in n}
        if visible != FILES:  # whoever looks sees that it is not whole
            assert INCOMPLETE in visible or not visible, last
            require_free(place)
            again = run(place)
            assert again.returncode == 0, (last, again.stderr)
        else:
            with pytest.raises(UsageError, match="already exists"):
                require_free(place)
        assert {n: d for n, d in tree(place).items() if SUFFIX not in n} == FILES, last


def test_rule_11_only_what_the_list_names_is_taken_away(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"half")
    (folder / INCOMPLETE).write_text(json.dumps(["a.bin", "z.bin"]))
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(UsageError) as raised, Staging(folder):
        pass
    assert "'mine.txt'" in str(raised.value.why)
    assert tree(folder) == {"mine.txt": b"mine"}


@pytest.mark.parametrize("text", ["", "{}", '["../x"]', '["a/b"]', "[1]", '[".."]', '["a\\u0000"]'])
def test_a_list_that_cannot_be_read_takes_nothing_away(folder: Path, text: str) -> None:
    (folder.parent / "x").write_text("x")
    (folder / "a").write_text("a")
    (folder / INCOMPLETE).write_text(text)
    with pytest.raises(UsageError, match="half filled"), Staging(folder):
        pass
    assert tree(folder) == {"a": b"a", INCOMPLETE: text.encode()}
    assert (folder.parent / "x").read_text() == "x"


def test_a_list_that_is_a_link_is_not_followed(folder: Path) -> None:
    (folder.parent / "list").write_text('["a"]')
    (folder / "a").write_text("a")
    (folder / INCOMPLETE).symlink_to("../list")
    with pytest.raises(VerificationFailed), Staging(folder):
        pass
    assert (folder / "a").exists()


def test_rule_11_two_runs_do_not_fill_one_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="another run"):
        fill(folder)
    os.close(handle)
    assert tree(folder) == {}
    fill(folder)
    with pytest.raises(UsageError, match="already exists"):
        fill(folder)
    assert tree(folder) == FILES


def test_what_lies_in_a_folder_is_named(folder: Path) -> None:
    for number in range(7):
        (folder / f"file{number}").touch()
    with pytest.raises(UsageError) as raised:
        require_free(folder)
    assert raised.value.exit_code == 2
    assert "'file0'" in str(raised.value.why)
    assert "and 2 more" in str(raised.value.why)


def test_a_link_to_an_empty_folder_is_named_as_one(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    with pytest.raises(UsageError, match="is a link") as raised:
        require_free(link)
    assert str(folder) in str(raised.value.fix)


def test_a_model_that_is_one_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(UsageError, match="one file") as raised, Staging(folder) as made:
        (made.path / "model").write_bytes(b"m")
        made.commit("model")
    assert "-o" in str(raised.value.fix)
    assert tree(folder) == {}


def test_rule_11_leftovers_are_swept_whatever_their_target_was_called(folder: Path) -> None:
    for place in (folder, folder.parent):
        for name in (".other.0a", ".models.1b", ".x.y.2c"):
            (place / f"{name}{SUFFIX}" / "model").mkdir(parents=True)
            (place / f"{name}{SUFFIX}" / "model" / "w.bin").write_bytes(b"plain")
    (folder.parent / f"visible.3d{SUFFIX}").mkdir()
    with Staging(folder.parent / "new"):
        assert {
            path.name for path in folder.parent.iterdir() if not path.name.startswith(".new")
        } == {
            "models",
            f"visible.3d{SUFFIX}",
        }
    fill(folder)
    assert tree(folder) == FILES


def test_rule_11_what_another_run_holds_is_not_swept(folder: Path) -> None:
    with Staging(folder.parent / "one") as one, Staging(folder.parent / "two"):
        assert one.path.is_dir()


def test_rule_11_a_link_that_looks_like_a_leftover_is_left_alone(folder: Path) -> None:
    target = folder.parent / "target"
    target.mkdir()
    (target / "file").touch()
    (folder.parent / f".x.0a{SUFFIX}").symlink_to(target)
    with Staging(folder.parent / "new"):
        pass
    assert (target / "file").exists()


def test_rule_11_a_new_folder_appears_by_one_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then nothing has its name, and afterwards all of it is there."""
    final, seen = tmp_path / "new" / "model", []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        assert not os.path.lexists(final)
        made = rename(self, target)
        seen.append((Path(target), tree(final)))
        return made

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", watched)
        fill(final)
    assert seen == [(final, FILES)]
    assert [path.name for path in final.parent.iterdir()] == ["model"]
