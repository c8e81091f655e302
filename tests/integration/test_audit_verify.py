"""A nightly `audit verify`: green after normal use, and never by accident."""

from __future__ import annotations

import errno
import shlex
import shutil
from pathlib import Path

import pytest

from sovgate.errors import StoreError, Terminated
from sovgate.stages import transfer
from tests.crossing import Crossing, make_crossing


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that crossed once, with the heads of both runs in a file."""
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    crossing.push("--heads", str(crossing.base / "heads.txt"))
    crossing.pull("--heads", str(crossing.base / "heads.txt"))
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    return Crossing(base=tmp_path / "project", model=tmp_path / "project/model")


def test_it_is_green_after_normal_use_and_says_what_is_not_shown(crossing: Crossing) -> None:
    code, said = crossing.run("audit", "verify")
    assert code == 0, said
    assert "all 4 entries verify" in said
    for zone in ("home", "eu"):
        assert f"zone {zone}: the last run ends without an anchor, at 20" in said
    crossing.push()  # the same once more
    assert crossing.run("audit", "verify")[0] == 0
    error = crossing.json("audit", "verify", "--strict", code=14)["error"]
    assert error["reason"] == "no-anchor"
    assert "1 of 1 run ends without an anchor" in error["why"]


def test_heads_are_kept_in_a_file_that_shows_the_end(crossing: Crossing) -> None:
    lines = (crossing.base / "heads.txt").read_text().splitlines()
    assert [line.split()[1:] for line in lines] == [["home", "push"], ["eu", "pull"]]
    code, said = crossing.run("audit", "verify", "--strict", "--heads", "heads.txt")
    assert code == 0, said
    assert "without an anchor" not in said
    # Of one zone alone the heads of the others are no cut.
    assert (
        crossing.run("audit", "verify", "--zone", "eu", "--strict", "--heads", "heads.txt")[0] == 0
    )


@pytest.mark.parametrize("log", [".sovgate/home/audit", "eu-store/audit"])
def test_rule_28_a_tail_that_was_cut_is_never_green(crossing: Crossing, log: str) -> None:
    (run,) = (crossing.base / log).iterdir()
    (run / "0001.json").unlink()
    error = crossing.json("audit", "verify", code=14)["error"]
    assert "a run has no outcome" in error["what"]
    error = crossing.json("audit", "verify", "--heads", "heads.txt", code=11)["error"]
    assert error["reason"] == "audit-cut"


def test_rule_28_a_log_of_which_nobody_else_knows_is_not_called_verified(
    crossing: Crossing,
) -> None:
    """It may have been written anew as a whole, and only ends that are known could show it."""
    for folder in ("eu-store", ".sovgate"):
        shutil.rmtree(crossing.base / folder)
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    crossing.push("--heads", "denied.txt", code=10)  # a denial, which no record outside names
    error = crossing.json("audit", "verify", code=14)["error"]
    assert error["reason"] == "no-anchor"
    # The denial's own head is known to whoever noted it, and so is its end.
    (line,) = (crossing.base / "denied.txt").read_text().splitlines()
    assert line.split()[1:] == ["home", "push"]
    assert crossing.run("audit", "verify", "--strict", "--heads", "denied.txt")[0] == 0
    error = crossing.push("--heads", "no/such/file", code=10)["error"]
    assert error["details"][-1].startswith("could not append the head of the audit log to")


@pytest.mark.parametrize(
    "text",
    ["HEAD home push", "0" * 63, f"x{'0' * 64}", f"{'g' * 64}", "\0", "see above"],
)
def test_a_file_of_heads_that_is_none_is_refused(crossing: Crossing, text: str) -> None:
    (crossing.base / "bad.txt").write_text(f"# noted by the nightly job\n\n{text}\n")
    error = crossing.json("audit", "verify", "--heads", "bad.txt", code=2)["error"]
    assert error["reason"] == "bad-head"
    assert "line 3 of 'bad.txt'" in error["what"]


def test_a_head_of_nowhere_in_the_file_is_a_cut(crossing: Crossing) -> None:
    with (crossing.base / "heads.txt").open("a") as file:
        file.write(f"{'0' * 64} home push\n")
    assert crossing.json("audit", "verify", "--heads", "heads.txt", code=11)


def test_a_command_is_done_though_its_head_cannot_be_kept(crossing: Crossing) -> None:
    code, said = crossing.run(
        "push",
        crossing.model,
        *("--release", "churn/1.0.1", "--zone", "home", "--to", "eu", "--heads", "no/such/file"),
    )
    assert code in (2, 24), said
    assert "could not append the head of the audit log" in said
    assert (crossing.base / "eu-store/releases/churn/1.0.1.json").is_file()


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (RuntimeError("a defect"), 1),
        (MemoryError(), 1),
        (OSError(errno.ENOSPC, "no space"), 24),
        (StoreError("it answers no more"), 21),
    ],
    ids=lambda told: type(told).__name__ if isinstance(told, BaseException) else None,
)
@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_run_that_was_ended_by_whatever_leaves_the_log_green(
    crossing: Crossing,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    told: BaseException,
    code: int,
) -> None:
    """A defect too, which the user reports, and not the log."""

    def end(*_: object, **__: object) -> None:
        raise told

    with monkeypatch.context() as patch:
        if command == "push":
            patch.setattr(transfer, "existing", end)
            words = ["push", crossing.model, "--release", "churn/1.0.0", "--to", "eu"]
        else:
            patch.setattr("sovgate.pipeline.move.pull.sweep", end)
            words = ["pull", "churn/1.0.0", "-o", "pulled"]
        zone = "home" if command == "push" else "eu"
        found, said = crossing.run(*words, "--zone", zone, "--heads", "heads.txt")
    assert found == code, said
    (log,) = crossing.json("audit", "verify", "--zone", zone)["logs"]
    lasts = sorted((run["last"]["kind"], run["last"]["exit"]) for run in log["runs"])
    assert lasts == [("outcome", 0), ("outcome", code)]
    words = ["--strict", "--heads", "heads.txt"]
    assert crossing.run("audit", "verify", "--zone", zone, *words)[0] == 0


def test_what_to_type_after_a_kill_is_given_whole(crossing: Crossing) -> None:
    """The healthy run after it is not in doubt, and the head is this log's own."""
    for folder in ("eu-store", ".sovgate/home"):
        (run,) = (crossing.base / folder / "audit").iterdir()
        (run / "0001.json").unlink()
    crossing.push()
    for zone in ([], ["--zone", "home"], ["--zone", "eu"]):
        error = crossing.json("audit", "verify", *zone, code=14)["error"]
        assert error["what"].startswith("a run has no outcome")
        assert len(error["details"]) == (1 if zone else 2)
        words = shlex.split(error["fix"][error["fix"].index("sovgate audit verify") :])
        assert words.count("--against") == len(error["details"])
        assert words[3:5] == zone or not zone
        assert crossing.run(*words[1:])[0] == 0
    strict = crossing.json("audit", "verify", "--zone", "home", "--strict", code=14)["error"]
    words = shlex.split(strict["fix"][strict["fix"].index("sovgate audit verify") :])
    assert "--strict" in words and words.count("--against") == 2
    assert crossing.run(*words[1:])[0] == 0


def test_a_log_by_a_zone_whose_signing_key_the_project_does_not_name_says_where_to_name_it(
    crossing: Crossing,
) -> None:
    crossing.edit("sign: keys/eu.pem, ", "")
    error = crossing.json("audit", "verify", code=11)["error"]
    assert error["reason"] == "wrong-signer"
    assert "sign-public under zones.eu.keys" in error["fix"]
    crossing.edit("encrypt-public:", "sign-public: keys/eu.pub.pem, encrypt-public:")
    assert crossing.run("audit", "verify")[0] == 0
