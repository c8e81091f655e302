"""The audit log against those who would change it: what an auditor can and cannot be told."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sovgate import cli, notices
from sovgate.errors import (
    Inconclusive,
    SovgateError,
    StoreError,
    Terminated,
    VerificationFailed,
)
from sovgate.formats.auditentry import MAX_SEEN, About, Ref
from sovgate.keys._api import Signer
from sovgate.pipeline.look import audit as look
from sovgate.pipeline.move import movement
from sovgate.records import Release
from sovgate.stages import audit
from sovgate.stages.audit import Log, Run
from sovgate.stages.past import Known
from sovgate.stages.trust import Trusted
from sovgate.stores.registry import open_store
from tests.conformance.stores import Fault, Faulty
from tests.effort import some
from tests.movement import Clock, make_signer, trusting
from tests.pace import HANG

ABOUT = About(
    action="push",
    model="churn",
    manifest="1" * 64,
    release=Release(model="churn", version="1.0.0"),
    source="home",
    destination="eu",
)


class World:
    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.folder = tmp / "home"
        self.store = open_store("home", tmp)
        self.signer: Signer = make_signer(tmp / "keys", "home")
        self.trusted = (trusting(self.signer, "home"),)
        self.clock = Clock()
        self.log = Log(self.store, self.signer, trusted=self.trusted, clock=self.clock)

    def push(self) -> Run:
        """Intent and outcome, as one run of push writes them."""
        run = self.log.begin()
        run.write("intent", ABOUT)
        run.write("outcome", ABOUT, exit_code=0, refs=[Ref(role="transfer", sha256="2" * 64)])
        return run

    def entry(self, run: Run, index: int) -> Path:
        return self.folder / "audit" / run.run / f"{index:04}.json"

    def verify(self, **options: Any) -> audit.Verified:
        return audit.verify(self.store, self.trusted, zone="home", **options)

    def refused(self, **options: Any) -> str:
        with pytest.raises(VerificationFailed) as caught:
            self.verify(**options)
        assert caught.value.exit_code == 11
        return caught.value.reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def conclude(found: audit.Verified, *, strict: bool = True) -> None:
    log = look.ZoneLog(zone="home", store="home", found=found)
    error = look.conclude([log], strict=strict, again=lambda zone, heads: f"{zone} {heads}")
    if error is not None:
        raise error


def head_of(run: Run) -> str:
    assert run.head is not None
    return run.head.sha256


def test_a_log_verifies_up_to_the_head_that_the_auditor_noted(world: World) -> None:
    world.push()
    last = world.push()
    found = world.verify(against=[head_of(last)])
    conclude(found)
    assert [run.entries for run in found.runs] == [2, 2]
    assert found.entries == 4
    assert not any(run.open for run in found.runs)


def test_the_intent_is_durable_before_the_first_effect(world: World) -> None:
    run = world.log.begin()
    head = run.write("intent", ABOUT)
    assert world.entry(run, 0).is_file()
    found = world.verify(against=[head])
    assert [(run.open, run.anchored) for run in found.runs] == [(True, True)]


def test_rule_28_an_intent_that_others_know_of_is_no_end(world: World) -> None:
    """A record and a later run name it while it is under way; its outcome may have been cut."""
    run = world.log.begin()
    head = run.write("intent", ABOUT)
    last = world.push()
    found = world.verify(anchors={head: "a record"}, against=[head_of(last)])
    with pytest.raises(Inconclusive):
        conclude(found)
    conclude(world.verify(against=[head, head_of(last)]))


def test_runs_remember_the_heads_of_runs_before_them(world: World) -> None:
    first = world.push()
    second = world.log.begin()
    second.write("denied", ABOUT)
    found = world.verify()
    entry = next(run.last for run in found.runs if run.run == second.run)
    assert [(head.run, head.sha256) for head in entry.seen] == [(first.run, head_of(first))]
    assert entry.exit == 10


def test_rule_28_without_an_anchor_the_answer_is_14_and_names_the_ends(world: World) -> None:
    run = world.push()
    with pytest.raises(Inconclusive) as caught:
        conclude(world.verify())
    assert caught.value.exit_code == 14
    assert head_of(run) in caught.value.details[0]
    assert f"home ['{head_of(run)}']" in (caught.value.fix or "")


def test_rule_28_an_empty_log_is_never_verified(world: World) -> None:
    with pytest.raises(Inconclusive):
        conclude(world.verify())


def test_rule_28_a_cut_tail_is_detected_by_a_later_run(world: World) -> None:
    first = world.push()
    second = world.push()
    world.entry(first, 1).unlink()
    assert world.refused() == "audit-cut"
    assert world.refused(against=[head_of(second)]) == "audit-cut"


def test_rule_28_a_run_removed_whole_is_detected_by_a_later_run(world: World) -> None:
    first = world.push()
    world.push()
    shutil.rmtree(world.folder / "audit" / first.run)
    assert world.refused() == "audit-cut"


@pytest.mark.parametrize("kind", ["anchors", "against"])
@pytest.mark.parametrize("whole", [False, True])
def test_rule_28_a_cut_tail_is_detected_by_an_anchor_from_elsewhere(
    world: World, kind: str, whole: bool
) -> None:
    world.push()
    last = world.push()
    if whole:
        shutil.rmtree(world.folder / "audit" / last.run)
    else:
        world.entry(last, 1).unlink()
    assert world.refused(**{kind: {head_of(last): "a record"}}) == "audit-cut"
    with pytest.raises(Inconclusive):
        conclude(world.verify())


def test_rule_28_a_whole_rewrite_is_never_verified(world: World) -> None:
    """Even by one who holds the zone's own key: the heads known from elsewhere betray it."""
    known = [head_of(world.push()), head_of(world.push())]
    shutil.rmtree(world.folder / "audit")
    world.push()
    world.push()
    for head in known:
        assert world.refused(against=[head]) == "audit-cut"
        assert world.refused(anchors={head: "a record"}) == "audit-cut"
    with pytest.raises(Inconclusive):
        conclude(world.verify())


def test_a_rewritten_run_is_detected_by_a_later_run(world: World) -> None:
    first = world.push()
    world.push()
    original = first.run
    rewritten = Run(world.log, original, ())
    shutil.rmtree(world.folder / "audit" / original)
    rewritten.write("intent", ABOUT)
    rewritten.write("outcome", ABOUT, exit_code=21)
    assert world.refused() == "audit-rewritten"


def test_a_gap_is_refused(world: World) -> None:
    run = world.push()
    world.entry(run, 0).unlink()
    assert world.refused() == "audit-gap"


def test_an_entry_under_another_number_is_refused(world: World) -> None:
    run = world.push()
    shutil.copy(world.entry(run, 1), world.entry(run, 2))
    assert world.refused() == "audit-number"


def test_entries_that_changed_places_are_refused(world: World) -> None:
    run = world.push()
    first, second = world.entry(run, 0), world.entry(run, 1)
    data = first.read_bytes(), second.read_bytes()
    for path in (first, second):
        path.unlink()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    assert world.refused() == "audit-number"


def test_an_entry_of_another_run_is_refused(world: World) -> None:
    first, second = world.push(), world.push()
    world.entry(second, 1).unlink()
    shutil.copy(world.entry(first, 1), world.entry(second, 1))
    assert world.refused() == "audit-foreign"


def test_a_run_copied_under_another_name_is_refused(world: World) -> None:
    run = world.push()
    shutil.copytree(world.folder / "audit" / run.run, world.folder / "audit" / ("0" * 32))
    assert world.refused() == "audit-foreign"


def test_a_run_of_another_zone_is_refused(world: World) -> None:
    other = make_signer(world.tmp / "keys", "eu")
    Log(world.store, other).begin().write("denied", ABOUT)
    world.trusted = (*world.trusted, trusting(other, "eu"))
    assert world.refused() == "audit-foreign"


def test_a_run_by_a_stranger_is_refused_and_not_remembered(world: World) -> None:
    run = world.push()
    stranger = make_signer(world.tmp / "keys", "stranger")
    planted = Log(world.store, stranger).begin()
    planted.write("denied", ABOUT)
    later = world.log.begin()
    later.write("denied", ABOUT)
    assert world.refused() == "wrong-signer"
    shutil.rmtree(world.folder / "audit" / planted.run)
    found = world.verify(against=[head_of(later)])
    conclude(found)
    assert {r.run for r in found.runs} == {run.run, later.run}


def test_rule_6_a_key_that_may_not_write_the_log_is_refused(world: World) -> None:
    world.push()
    world.trusted = (trusting(world.signer, "home", "signature", "transfer"),)
    assert world.refused() == "untrusted-role"


@pytest.mark.parametrize("name", ["notes.txt", "0" * 32 + "/1.json", "0" * 32 + "/0000.json.bak"])
def test_a_strange_name_in_the_log_is_refused(world: World, name: str) -> None:
    world.push()
    path = world.folder / "audit" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"{}")
    assert world.refused() == "audit-name"
    world.push()


def test_every_changed_byte_of_an_entry_is_refused(world: World) -> None:
    run = world.push()
    path = world.entry(run, 0)
    data = path.read_bytes()
    path.unlink()

    def refused(spoilt: bytes) -> None:
        path.write_bytes(spoilt)
        world.refused()
        path.unlink()

    for position in some(range(len(data))):
        refused(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    for position in range(0, len(data), 7):
        refused(data[:position] + data[position + 1 :])
        refused(data[:position] + b" " + data[position:])
        refused(data[:position])
    refused(data + b"\n")


def test_a_lost_reply_is_no_failure(world: World) -> None:
    world.log.store = Faulty(world.store, Fault.LOST_REPLY)
    run = world.log.begin()
    head = run.write("intent", ABOUT)
    conclude(world.verify(against=[head]))


def test_a_failed_write_is_one_and_the_run_can_go_on(world: World) -> None:
    world.log.store = Faulty(world.store, Fault.FAILED_WRITE)
    run = world.log.begin()
    with pytest.raises(StoreError):
        run.write("intent", ABOUT)
    head = run.write("intent", ABOUT)
    conclude(world.verify(against=[head]))


@pytest.mark.parametrize("fault", [Fault.TRUNCATED_READ, Fault.CORRUPT_READ])
def test_a_read_that_lies_is_never_taken_for_the_log(world: World, fault: Fault) -> None:
    head = head_of(world.push())
    with pytest.raises(VerificationFailed):
        audit.verify(Faulty(world.store, fault), world.trusted, against=[head])


def test_rule_19_a_clock_set_back_within_a_run_stops_it(world: World) -> None:
    run = world.log.begin()
    run.write("intent", ABOUT)
    world.clock.now -= timedelta(hours=1)
    with pytest.raises(Inconclusive) as caught:
        run.write("outcome", ABOUT, exit_code=0)
    assert caught.value.reason == "clock"


def test_an_entry_names_a_bounded_number_of_other_runs(world: World) -> None:
    for _ in range(MAX_SEEN + 3):
        world.log.begin().write("denied", ABOUT)
    run = world.log.begin()
    run.write("denied", ABOUT)
    found = world.verify()
    last = next(r.last for r in found.runs if r.run == run.run)
    assert len(last.seen) == MAX_SEEN


@pytest.mark.parametrize(
    "wrong",
    [
        lambda run: run.write("intent", ABOUT, exit_code=0),
        lambda run: run.write("outcome", ABOUT),
        lambda run: run.write("intent", replace(ABOUT, model="fraud")),
    ],
)
def test_what_no_reader_would_take_is_never_written(
    world: World, wrong: Callable[[Run], str]
) -> None:
    with pytest.raises(VerificationFailed):
        wrong(world.log.begin())
    assert list(world.store.list("audit/")) == []


def test_a_trusted_key_for_any_zone_may_write(world: World) -> None:
    head = head_of(world.push())
    anywhere: tuple[Trusted, ...] = (trusting(world.signer, None),)
    conclude(audit.verify(world.store, anywhere, zone="home", against=[head]))


class Signalled:
    """A store in which a signal comes before or after the write of one entry of a run."""

    def __init__(self, store: Any, index: int, *, after: bool) -> None:
        self.store, self.index, self.after = store, index, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put(self, name: str, source: bytes, *, sha256: str) -> None:
        here = name.endswith(f"/{self.index:04}.json")
        if here:
            self.index = -1
        if not here or self.after:
            self.store.put(name, source, sha256=sha256)
        if here:
            raise KeyboardInterrupt


@pytest.mark.parametrize("told", [KeyboardInterrupt, Terminated])
def test_a_run_that_a_signal_ends_writes_its_outcome(
    world: World, told: type[KeyboardInterrupt]
) -> None:
    run = world.log.begin()
    with pytest.raises(told), movement.announced(run, ABOUT, ()):
        raise told
    intent = hashlib.sha256(world.entry(run, 0).read_bytes()).hexdigest()
    found = world.verify(anchors={intent: "a record"})
    (ended,) = found.runs
    assert (ended.open, ended.last.kind) == (False, "outcome")
    assert ended.last.exit == (130 if told is KeyboardInterrupt else 143)
    conclude(found, strict=False)


@pytest.mark.parametrize(
    ("index", "after", "kinds"),
    [
        (0, False, []),  # nothing was announced
        (0, True, [("intent", None), ("outcome", 130)]),
        (1, False, [("intent", None), ("outcome", 130)]),
        (1, True, [("intent", None), ("outcome", 0)]),
    ],
)
def test_a_signal_while_an_entry_is_written_leaves_no_open_run(
    world: World, index: int, after: bool, kinds: list[tuple[str, int | None]]
) -> None:
    world.log.store = Signalled(world.store, index, after=after)  # type: ignore[assignment]
    run = world.log.begin()
    with pytest.raises(KeyboardInterrupt), movement.announced(run, ABOUT, ()):
        run.write("outcome", ABOUT, exit_code=0)
    assert [(entry.kind, entry.exit) for entry in world.verify().read] == kinds


def test_an_intent_that_cannot_be_written_has_no_outcome(world: World) -> None:
    world.log.store = Faulty(world.store, Fault.FAILED_WRITE)
    run = world.log.begin()
    with pytest.raises(SovgateError), movement.announced(run, ABOUT, ()):
        pass
    assert world.verify().read == ()


def test_a_store_that_does_not_answer_holds_nobody_who_was_told_to_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(movement, "PATIENCE", 0.01)
    run = world.log.begin()
    with pytest.raises(KeyboardInterrupt), movement.announced(run, ABOUT, ()):
        monkeypatch.setattr(run, "is_open", lambda: answered.wait() and 1 / 0)
        raise KeyboardInterrupt
    assert [entry.kind for entry in world.verify().read] == ["intent"]
    answered.set()


def test_a_second_signal_ends_the_last_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where there is all the time of the world; what ended the run first is what counts."""
    answered = threading.Event()

    def told(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notices, "wait_for", told)
    run = world.log.begin()
    with pytest.raises(Terminated), movement.announced(run, ABOUT, ()):
        monkeypatch.setattr(run, "is_open", lambda: answered.wait() and 1 / 0)
        raise Terminated
    answered.set()


def test_a_second_term_ends_the_last_words_and_breaks_nothing_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the store does not answer, and there is all the time of the world."""
    answered = threading.Event()
    monkeypatch.setattr(movement, "PATIENCE", None)
    monkeypatch.setattr(notices, "_HURRY", threading.Event())
    monkeypatch.setattr(notices, "_WAITED_FOR", [])
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    def asked() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return answered.wait() and bool(1 / 0)

    before = signal.signal(signal.SIGTERM, cli._terminate)
    try:
        run = world.log.begin()
        with pytest.raises(Terminated), movement.announced(run, ABOUT, ()):
            monkeypatch.setattr(run, "is_open", asked)
            signal.raise_signal(signal.SIGTERM)
        # What comes after that waits for nothing any more, and cleans up whole.
        notices.wait_for(threading.Event(), HANG)
        signal.raise_signal(signal.SIGTERM)
        assert codes == []
        cli._leave_signals()
        signal.raise_signal(signal.SIGTERM)
        assert codes == [143]
    finally:
        signal.signal(signal.SIGTERM, before)
        answered.set()


def test_rule_28_only_runs_without_an_outcome_are_in_doubt_in_a_log_that_is_anchored(
    world: World,
) -> None:
    """The healthy last one is not; and what to type names all of them."""
    known = head_of(world.push())
    killed = [world.log.begin(), world.log.begin()]
    for run in killed:
        run.write("intent", ABOUT)
    last = world.push()
    with pytest.raises(Inconclusive) as caught:
        conclude(world.verify(anchors={known: "a record"}), strict=False)
    heads = sorted(head_of(run) for run in killed)
    assert sorted(line[-64:] for line in caught.value.details) == heads
    assert "2 of 4 runs end with an intent" in (caught.value.why or "")
    assert head_of(last) not in (caught.value.fix or "")
    conclude(world.verify(anchors={known: "a record"}, against=heads), strict=False)
    with pytest.raises(Inconclusive) as caught:
        conclude(world.verify(anchors={known: "a record"}))
    assert len(caught.value.details) == 3  # strict: the last one too


def taken_back(world: World, tmp_path: Path, *, after: timedelta) -> tuple[Log, datetime]:
    """The log of a zone whose key was replaced and then taken back, at `after` from now."""
    old, until = world.signer, world.clock.now + after
    new = make_signer(tmp_path / "keys", "new")
    former = trusting(old, "home", name="old")
    known = Known((trusting(new, "home", name="new"),), lambda: [(former, until)])
    world.trusted = known  # type: ignore[assignment]
    return Log(world.store, new, trusted=known, clock=world.clock), until


def undated(world: World, **more: Any) -> list[str]:
    return [run.run for run in world.verify(**more).runs if run.undated]


def test_rule_07_a_former_keys_entries_are_dated_by_those_that_saw_them(
    world: World, tmp_path: Path
) -> None:
    runs = [world.push(), world.push()]
    log, _ = taken_back(world, tmp_path, after=timedelta(hours=1))
    assert sorted(undated(world)) == sorted(run.run for run in runs)
    with pytest.raises(Inconclusive) as caught:
        conclude(world.verify(anchors={head_of(runs[0]): "a record"}), strict=False)
    assert caught.value.what.startswith("a former key signed entries of the log")
    assert "2 of 2 runs" in (caught.value.why or "")
    assert all(head_of(run) in (caught.value.fix or "") for run in runs)
    # The second run saw the first, so its head, which somebody noted, is enough for both.
    assert undated(world, against=[head_of(runs[1])]) == []
    assert undated(world, against=[head_of(runs[0])]) == [runs[1].run]
    world.log = log
    last = world.push()
    assert undated(world) == []
    conclude(world.verify(anchors={head_of(last): "a record"}), strict=False)


def test_rule_07_what_is_dated_after_the_end_of_a_key_dates_nothing(
    world: World, tmp_path: Path
) -> None:
    run = world.push()
    old = world.log
    world.log, world.clock.now = taken_back(world, tmp_path, after=timedelta(hours=1))
    last = world.push()
    anchors = {head_of(last): "a record"}
    assert undated(world, anchors=anchors) == [run.run]
    with pytest.raises(Inconclusive):
        conclude(world.verify(anchors=anchors), strict=False)
    conclude(world.verify(anchors=anchors, against=[head_of(run)]), strict=False)
    with pytest.raises(Inconclusive) as caught:  # all that is in doubt is named at once
        conclude(world.verify(), strict=True)
    assert {line[-64:] for line in caught.value.details} == {head_of(run), head_of(last)}
    # Whoever has the key still, and writes with it, is found out; and so is who changes a byte.
    world.log = old
    forged = world.push()
    assert world.refused() == "former-signer"
    shutil.rmtree(world.folder / "audit" / forged.run)
    undated(world)
    world.entry(run, 1).unlink()
    assert world.refused() == "audit-cut"
