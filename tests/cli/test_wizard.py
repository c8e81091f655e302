"""What `sovgate init` asks on a terminal: what cannot be is refused at once, and asked again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from sovgate.cli.look._wizard import Flags, Places, asked
from sovgate.errors import ConfigError, UsageError
from sovgate.pipeline.look.init import Answers
from tests.repositories import git

EU, US = "eu=aws-eusc:eusc-de-east-1", "aws:us-east-1"
BARE = Flags(
    pattern=None,
    model=None,
    train=None,
    serve=(),
    data=(),
    gitops=None,
    keys=True,
    scheme=None,
    places=Places((), ()),
    folder=Path("kyc"),
)


class Terminal:
    """A person with these answers; `said` is what they were asked and told, in one text."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.said = ""
        self._left: Iterator[str] = iter(answers)
        monkeypatch.setattr(click, "prompt", self._prompt)
        monkeypatch.setattr(click, "echo", self._echo)

    def _prompt(self, question: str, **_: object) -> str:
        self.said += f"{question}\n"
        try:
            return next(self._left)
        except StopIteration:
            raise click.Abort from None

    def _echo(self, text: str, **_: object) -> None:
        self.said += f"{text}\n"

    def run(self, flags: Flags = BARE) -> Answers:
        made = asked(flags, "kyc")
        assert list(self._left) == [], "an answer that nobody asked for"
        return made


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_hybrid_without_data_is_refused_at_once_and_either_may_be_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asks = Terminal(monkeypatch, "kyc", US, EU, "yes", "none", "yes", "customers=EU")
    made = asks.run()
    assert (made.pattern, [one.name for one in made.data]) == ("hybrid", ["customers"])
    told = asks.said.split("Which data may not leave?")[1]
    assert "no such data is named. name it, for example customers=EU; or choose central" in told
    assert "or none" not in told
    asks = Terminal(monkeypatch, "kyc", US, EU, "yes", "none", "no", "none")
    assert asks.run().pattern == "central"
    assert "or none" in asks.said.splitlines()[-1]


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        (["no", "customers=EU"], ["yes", "customers=EU"], "customers may not be in us-train"),
        (["yes", "customers=US"], ["yes", "customers=DE"], "customers may not be in eu"),
        (["yes", "a=EU a=DE"], ["yes", "a=EU b=DE"], "two data sets have one name"),
    ],
)
def test_data_that_no_job_may_have_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, wrong: list[str], right: list[str], told: str
) -> None:
    asks = Terminal(monkeypatch, "kyc", US, EU, *wrong, *right)
    assert asks.run().pattern == "hybrid"
    assert told in asks.said


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        ("us-train=aws-eusc:eusc-de-east-1", "two zones are called us-train"),
        ("aws:eu-central-1, de=aws:eu-west-3", "two zones are called de"),
        (f"{'z' * 40}=aws:eu-west-3", "too long when joined"),
        (",", "from 1 to 16 zones can serve"),
    ],
)
def test_zones_that_cannot_be_together_are_refused_before_the_next_question(
    monkeypatch: pytest.MonkeyPatch, serve: str, told: str
) -> None:
    asks = Terminal(monkeypatch, "a-model-with-a-long-name", US, serve, EU, "no", "none")
    assert [zone.name for zone in asks.run().serve] == ["eu"]
    assert told in asks.said.split("Is it fine-tuned")[0]


def test_what_options_contradict_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = replace(BARE, model="kyc", train=US, serve=(EU,), pattern="central")
    with pytest.raises(UsageError) as caught:
        Terminal(monkeypatch).run(replace(flags, data=("customers=EU",)))
    assert caught.value.reason == "no-zone-for-data"
    asks = Terminal(monkeypatch)
    with pytest.raises(ConfigError):
        asks.run(replace(BARE, gitops="-u"))
    assert asks.said == "", "before any question"
    # Where one of the two was answered, it is asked for again.
    asks = Terminal(monkeypatch, "none", "customers=EU")
    assert asks.run(replace(flags, pattern="hybrid")).data
    asks = Terminal(monkeypatch, "no", "yes")
    assert asks.run(replace(flags, pattern=None, data=("customers=EU",))).hybrid


def test_a_folder_that_cannot_be_is_refused_before_any_question(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    (here / "file").write_text("")
    git("init", "-q", ".", cwd=here)
    for name in ("file", "my models"):
        asks = Terminal(monkeypatch)
        with pytest.raises(UsageError):
            asks.run(replace(BARE, folder=Path(name)))
        assert asks.said == ""
    (here / "old").mkdir()
    (here / "old/sovgate.yaml").write_text("version: 1\n")
    asks = Terminal(monkeypatch)
    with pytest.raises(UsageError) as caught:
        asks.run(replace(BARE, folder=Path("old")))
    assert (caught.value.reason, asks.said) == ("output-exists", "")
    # By its options, what is missing is written, as ever.
    options = replace(BARE, folder=Path("old"), pattern="central", train=US, serve=(EU,))
    assert Terminal(monkeypatch, "kyc", "none").run(options).model == "kyc"
    asks = Terminal(monkeypatch, "vision", "kyc", US, EU, "no", "none")
    assert asks.run().model == "kyc"
    assert "'vision' cannot be the name" in asks.said
